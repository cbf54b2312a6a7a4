"""Probes of what is installed: compilers, backends, drawing programs, extras."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata, util
from pathlib import Path

from tinygrad_nn.cli.doctor.findings import (
    Deadline,
    Finding,
    absent,
    answer,
    look,
    surroundings,
)

__all__ = ["backends", "compilers", "drawing", "extras"]

COMPILERS = ("cc", "gcc", "clang")

TINY = """\
#include <math.h>
double answer(const double *x) { return 41.0 + exp(x[0]); }
"""
"""What a compiler has to make a library of: 42 for x = 0."""

EXTRAS = {
    "matplotlib": ("matplotlib", "train"),
    "scikit-learn": ("sklearn", "train"),
    "tqdm": ("tqdm", "train"),
    "threadpoolctl": ("threadpoolctl", "train"),
}
"""Optional packages: the module of each, and the extra that brings it."""

JAX = "import jax; print(jax.__version__, *jax.devices(), sep=', ')"


def compilers(
    deadline: Deadline, environment: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Find C compilers, and let each compile something; the value of one tells how.

    What the variable CC names comes first.
    """
    commands = {name: [name] for name in COMPILERS}
    if environment.get("CC", "").strip():
        commands = {"$CC": shlex.split(environment["CC"]), **commands}
    return [
        look(name, partial(_compiler, name, command, deadline))
        for name, command in commands.items()
    ]


def _compiler(name: str, command: Sequence[str], deadline: Deadline) -> Finding:
    path = shutil.which(command[0])
    if path is None or _is_stub(path, deadline):
        return absent(name)
    command = [path, *command[1:]]
    version = answer([*command, "--version"], deadline.left(1.0)).partition("\n")[0]
    value = {"path": path, "version": version, "works": True}
    try:
        _try(command, deadline)
    except Exception as error:  # noqa: BLE001 (compilers fail in ways of their own)
        text = f"{version}, does not work: {error}"
        return Finding(name, text, {**value, "works": False})
    return Finding(name, f"{version}, works", value)


def _is_stub(path: str, deadline: Deadline) -> bool:
    """Whether this is macOS's program that offers, in a window, to install one."""
    if sys.platform != "darwin" or not path.startswith("/usr/bin/"):
        return False
    tools = partial(answer, ["xcode-select", "-p"], deadline.left(1.0))
    return not look("tools", lambda: Finding("tools", "", tools())).value


def _try(command: Sequence[str], deadline: Deadline) -> None:
    """Compile a tiny library, load it, and call it.

    Raises
    ------
    RuntimeError, OSError, subprocess.TimeoutExpired
        When any of that fails.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        text, library = Path(folder, "tiny.c"), Path(folder, "tiny.so")
        text.write_text(TINY, "utf-8")
        flags = ["-O2", "-fPIC", "-shared", "-o", str(library), str(text), "-lm"]
        answer([*command, *flags], deadline.left(5.0))
        function = ctypes.CDLL(str(library)).answer
        function.restype = ctypes.c_double
        said = function(ctypes.byref(ctypes.c_double(0.0)))
    if said != 42.0:
        raise RuntimeError(f"its program says {said} instead of 42.0")


def backends(found: Sequence[Finding], deadline: Deadline) -> list[Finding]:
    """Say which backends of `tg.compile` can be used, given the compilers found."""
    return [
        Finding("numpy", "yes, always", True),
        _c(found),
        look("jax", lambda: _jax(deadline)),
    ]


def _c(found: Sequence[Finding]) -> Finding:
    for item in found:
        if item.value is not None and item.value["works"]:
            return Finding("c", f"yes, by {item.name}", item.value["path"])
    return absent("c", "(no C compiler works: install gcc or clang)")


def _jax(deadline: Deadline) -> Finding:
    if util.find_spec("jax") is None:
        return absent("jax", "(pip install 'tinygrad_nn[jax]')")
    # Another process, so that devices are let go again, and without all their memory.
    environment = surroundings(os.environ) | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    said = answer([sys.executable, "-c", JAX], deadline.left(6.0), environment)
    version, *devices = said.splitlines()[-1].split(", ")
    text = f"yes, version {version} on {', '.join(devices)}"
    return Finding("jax", text, {"version": version, "devices": devices})


def drawing(deadline: Deadline) -> list[Finding]:
    """Find what draws graphs."""
    return [
        look("dot", lambda: _dot(deadline)),
        look(
            "pygraphviz", lambda: _package("pygraphviz", "pygraphviz", "(not needed)")
        ),
    ]


def _dot(deadline: Deadline) -> Finding:
    path = shutil.which("dot")
    if path is None:
        return absent("dot", "(install Graphviz: https://graphviz.org/download)")
    version = answer([path, "-V"], deadline.left(2.0))
    return Finding("dot", version, {"path": path, "version": version})


def extras() -> list[Finding]:
    """Find the optional packages."""
    return [
        look(
            name,
            partial(_package, name, module, f"(pip install 'tinygrad_nn[{extra}]')"),
        )
        for name, (module, extra) in EXTRAS.items()
    ]


def _package(name: str, module: str, advice: str) -> Finding:
    if util.find_spec(module) is None:
        return absent(name, advice)
    version = metadata.version(name)
    return Finding(name, version, version)
