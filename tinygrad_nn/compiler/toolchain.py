"""From C source to a loaded library: the system's compiler, and a cache by content.

The flags keep the meaning of the numbers. Loops are vectorised, also those that call
``exp``, ``log`` or ``tanh``, and yet nan stays nan, infinities and denormal numbers
stay what they are, and zeros keep their sign:

- ``-ffast-math`` is never given. It compiles ``isnan`` away, and a library that gcc
  links with it makes the processor flush denormal numbers to zero, in all of the
  process.
- ``-fno-math-errno`` and ``-fno-trapping-math`` give up what no caller of ours reads:
  ``errno``, and the moment at which a floating-point flag is raised.
- ``__FAST_MATH__`` is a macro and no more. glibc's ``<math.h>`` offers its vector
  functions (at most 4 units in the last place) to those who define it.
- A sum is not reordered unless its loop says so:
  ``#pragma omp simd reduction(+: total)``, which ``-fopenmp-simd`` reads. It starts no
  threads.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tinygrad_nn.errors import CompileError, MissingExtraError

__all__ = ["Compiler", "build", "cache_directory", "find_compiler"]

CANDIDATES = ("cc", "gcc", "clang")
REQUIRED_FLAGS = ("-O3", "-fPIC")
WANTED_FLAGS = (
    "-std=gnu11",
    "-march=native",
    "-mprefer-vector-width=512",  # gcc would take half of an AVX-512 register
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp-simd",
    "-D__FAST_MATH__=1",  # gcc's way to the vector functions of glibc
)
CLANG_FLAGS = ("-fveclib=libmvec",)  # clang's way
INSTALL = (
    "Install a C compiler (Debian, Ubuntu: apt install gcc libc6-dev; Fedora: dnf "
    "install gcc; macOS: xcode-select --install), or name yours in the environment "
    "variable CC"
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was found, and how it is called.

    Attributes
    ----------
    command : tuple of str
        The program and the arguments that belong to it (``CC="ccache gcc"``).
    flags : tuple of str
        The flags of this module that it knows.
    identity : str
        All that it says about itself, the processor and the flags (the macros that it
        defines): what is built under one identity can be used under it.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...]
    identity: str

    @property
    def version(self) -> str:
        """What the compiler calls itself, for example ``"12.2.0"``."""
        for line in self.identity.splitlines():
            if line.startswith("#define __VERSION__ "):
                return line.split(maxsplit=2)[2].strip('"')
        return "of unknown version"


def build(source: str) -> ctypes.CDLL:
    """Compile a C source to a shared library, or find it in the cache, and load it.

    The library is kept in `cache_directory` under a name made of the source, the
    compiler, its flags and the processor, and of a digest of its own bytes: a damaged
    file is found out and built again. It appears under that name complete or not at
    all, so that processes may build the same source at the same time. Equal sources
    share one library and with it every static variable: write sources without any.

    Parameters
    ----------
    source : str
        The text of one C file.

    Returns
    -------
    ctypes.CDLL
        The loaded library. The call of a function in it releases the interpreter lock.

    Raises
    ------
    MissingExtraError
        When there is no C compiler; says what to install.
    CompileError
        When the compiler refuses the source; gives its words and where the source is.

    Examples
    --------
    >>> square = build("double square(double x) { return x * x; }").square
    >>> square.argtypes, square.restype = [ctypes.c_double], ctypes.c_double
    >>> square(3.0)
    9.0
    """
    compiler = find_compiler()
    identity = [*compiler.command, *compiler.flags, compiler.identity, source]
    key = _digest("\0".join(identity).encode())
    # A directory may be missing, full, read-only, or refuse to have programs loaded.
    with suppress(OSError):
        return _load(compiler, source, key, cache_directory())
    try:
        return _load(compiler, source, key, _temporary_directory())
    except OSError as error:
        raise CompileError(
            f"{compiler.command[0]}: a library that was built must load; got {error}. "
            f"Name a directory to write to in the environment variable "
            f"TINYGRAD_NN_CACHE"
        ) from error


def cache_directory() -> Path:
    """Return the directory of the compiled libraries; it may be emptied at any time.

    It is ``$TINYGRAD_NN_CACHE``, else ``$XDG_CACHE_HOME/tinygrad_nn``, else
    ``~/.cache/tinygrad_nn``, and made when it is first needed. Where it cannot be
    written, `build` uses a directory that lasts as long as the process.
    """
    with suppress(RuntimeError):  # a user without a home
        if named := os.environ.get("TINYGRAD_NN_CACHE"):
            return Path(named).expanduser()
        if caches := os.environ.get("XDG_CACHE_HOME"):
            return Path(caches, "tinygrad_nn")
        return Path("~/.cache/tinygrad_nn").expanduser()
    return _temporary_directory()


def find_compiler() -> Compiler:
    """Return the compiler that `build` uses: of ``$CC``, cc, gcc, clang the first.

    Raises
    ------
    MissingExtraError
        When none of them runs.
    """
    named = os.environ.get("CC", "").strip()
    path = os.environ.get("PATH", "")
    commands = [shlex.split(named)] if named else [[name] for name in CANDIDATES]
    for command in commands:
        compiler = _inspect(tuple(command), path)
        if compiler is not None:
            return compiler
    tried = f"CC={named}" if named else ", ".join(CANDIDATES)
    raise MissingExtraError(
        f"the C backend needs a C compiler that runs; got none of: {tried}. {INSTALL}"
    )


@functools.cache
def _temporary_directory() -> Path:
    """Return a directory of this process, which is cleared at its end."""
    directory = Path(tempfile.mkdtemp(prefix="tinygrad_nn-"))
    atexit.register(_clear, directory)
    return directory


def _clear(directory: Path) -> None:
    """Remove a directory, unless it keeps a source that somebody wants to look at."""
    if not any(directory.glob("refused-*")):
        shutil.rmtree(directory, ignore_errors=True)


@functools.lru_cache(maxsize=8)
def _inspect(command: tuple[str, ...], path: str) -> Compiler | None:
    """Ask a compiler who it is and which flags it knows; None if it does not run.

    ``path`` is the search path, so that a changed one is not answered from memory.
    """
    program = shutil.which(command[0], path=path)
    if program is None or _macros(command, ()) is None:
        return None
    every = (*REQUIRED_FLAGS, *WANTED_FLAGS)
    for flags in (every + CLANG_FLAGS, every):
        macros = _macros(command, flags)
        if macros is not None:
            return Compiler(command, flags, macros)
    # Something is unknown to it: each is asked for alone.
    known = tuple(flag for flag in every if _macros(command, (flag,)) is not None)
    macros = _macros(command, known)
    return None if macros is None else Compiler(command, known, macros)


def _macros(command: Sequence[str], flags: Sequence[str]) -> str | None:
    """Return the macros that a compiler defines, or None if it refuses the flags."""
    try:
        done = subprocess.run(  # noqa: S603 (the user's own compiler)
            [*command, *flags, "-E", "-dM", "-x", "c", os.devnull],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _load(compiler: Compiler, source: str, key: str, directory: Path) -> ctypes.CDLL:
    """Load the library of a key, built first when no sound file of it is there.

    Raises
    ------
    OSError
        When the directory cannot be written, or nothing can be loaded from it.
    """
    for library in sorted(directory.glob(f"{key}-*.so")):
        # The digest is checked before the file is loaded: the loader notices a broken
        # header, but a file that ends too early stops the process.
        with suppress(OSError):
            if library.name == _name(key, library.read_bytes()):
                return ctypes.CDLL(str(library))
            library.unlink()
    return ctypes.CDLL(str(_compile(compiler, source, key, directory)))


def _compile(compiler: Compiler, source: str, key: str, directory: Path) -> Path:
    """Compile beside the cache and move the finished files into it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=directory) as folder:
        text, part = Path(folder, f"{key}.c"), Path(folder, f"{key}.so")
        text.write_text(source, encoding="utf-8")
        done = subprocess.run(  # noqa: S603 (the user's own compiler)
            [*compiler.command, *compiler.flags, "-shared", "-o", part, text, "-lm"],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            raise _refusal(compiler, done, text.replace(directory / f"refused-{key}.c"))
        library = directory / _name(key, part.read_bytes())
        text.replace(directory / text.name)
        return part.replace(library)


def _refusal(
    compiler: Compiler, done: subprocess.CompletedProcess[str], kept: Path
) -> CompileError:
    """Return the error of a source that was refused."""
    said = (done.stderr or done.stdout).strip() or "no message"
    return CompileError(
        f"{compiler.command[0]}: a generated source must compile; got exit status "
        f"{done.returncode} from {shlex.join(map(str, done.args))}. The source is kept "
        f"in {kept}\n{said}"
    )


def _name(key: str, content: bytes) -> str:
    """Return the name under which a library is kept: it says what it must hold."""
    return f"{key}-{_digest(content)}.so"


def _digest(content: bytes) -> str:
    """Return 128 bits that stand for these bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:32]
