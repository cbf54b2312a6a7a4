"""A user's file as a module, for a while; what is in it, in the order of the file."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.errors import DataError
from tinygrad_nn.tensor import Tensor

__all__ = ["Home", "hushed", "loaded", "trouble_of"]


class Home(NamedTuple):
    """A file's names: what it defines itself, and all that it knows."""

    path: Path
    names: dict[str, Any]
    defined: dict[str, Any]
    """Functions and classes of the file's own, in its order."""

    @property
    def values(self) -> dict[str, Any]:
        """Arrays, numbers, dictionaries: what is not called and not imported."""
        return {
            name: value
            for name, value in self.names.items()
            if not name.startswith("__")
            and not callable(value)
            and not isinstance(value, ModuleType)
        }


def _number(*x: Any) -> Any:
    """Do what ``float`` does, and leave a recorded number recorded."""
    if len(x) == 1 and isinstance(x[0], Tensor) and x[0].size == 1:
        return x[0].reshape(())
    return float(*x)


def _calls_float_alone(path: Path) -> bool:
    """Whether ``float`` is called wherever it stands, and no type, ``dtype=float``."""
    with suppress(SyntaxError, ValueError, UnicodeDecodeError):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        named = [x for x in nodes if isinstance(x, ast.Name) and x.id == "float"]
        called = {id(x.func) for x in nodes if isinstance(x, ast.Call)}
        return bool(named) and all(id(x) in called for x in named)
    return False


@contextmanager
def loaded(path: Path) -> Iterator[Home]:
    """Run a file as a module; forget it, and what it imported beside it, afterwards.

    Its folder is searched first while it runs, and nothing is written there.

    Raises
    ------
    DataError
        Where there is no such file of Python, or it does not run. What Python says of
        it stands on standard error by then, as it would without this program.
    """
    _refuse_unreadable(path)
    folder = str(path.resolve().parent)
    name = path.stem if path.stem not in sys.modules else f"{path.stem} (checked)"
    before, wrote = set(sys.modules), sys.dont_write_bytecode
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: expected a file of Python; got another. Name it x.py")
    module = importlib.util.module_from_spec(spec)
    if _calls_float_alone(path):
        # A cost often ends with float(cost), which would not be recorded.
        vars(module)["float"] = _number
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    sys.modules[name] = module
    # A figure of the user's is not to wait for somebody to close it.
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        try:
            with redirect_stdout(sys.stderr):  # standard output is the verdict's
                spec.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _show(error, path)
            raise DataError(
                f"{path}: expected a file that runs; got {trouble_of(error, path)}. "
                "It is run before it is judged: what trains or plots belongs below "
                "if __name__ == '__main__'"
            ) from error
        yield _home(path, module)
    finally:
        sys.path.remove(folder)
        sys.dont_write_bytecode = wrote
        for other in set(sys.modules) - before:
            file = getattr(sys.modules[other], "__file__", None) or ""
            if other == name or file.startswith(folder + os.sep):
                del sys.modules[other]


@contextmanager
def hushed() -> Iterator[None]:
    """Let a user's function print and warn to nobody: it is called a hundred times."""
    with redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        yield


def trouble_of(error: BaseException, path: Path) -> str:
    """Say an error in one line, with the user's own line if it was raised in one.

    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     trouble_of(error, Path("student.py"))
    'ZeroDivisionError: division by zero'
    """
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}{f': {text}' if text else ''}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path.resolve()
    ]
    if isinstance(error, SyntaxError) or not lines:
        return said
    return f"{said} (line {lines[-1]})"


def _refuse_unreadable(path: Path) -> None:
    if path.suffix == ".ipynb":
        raise DataError(
            f"{path}: expected a file of Python; got a notebook. Write it as one: "
            f"jupyter nbconvert --to script {path.name}"
        )
    if not path.is_file() or path.suffix != ".py":
        got = "a directory" if path.is_dir() else "another" if path.exists() else "none"
        raise DataError(
            f"{path}: expected a file of Python, x.py; got {got}. Check the path"
        )


def _home(path: Path, module: ModuleType) -> Home:
    names = dict(vars(module))
    defined = {
        name: value
        for name, value in names.items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
    return Home(path, names, defined)


def _show(error: BaseException, path: Path) -> None:
    """Print the traceback as Python would have: from the user's file on."""
    lines = error.__traceback__
    while lines is not None and Path(lines.tb_frame.f_code.co_filename) != (
        path.resolve()
    ):
        lines = lines.tb_next
    traceback.print_exception(type(error), error, lines, file=sys.stderr)
