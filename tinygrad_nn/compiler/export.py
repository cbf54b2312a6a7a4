"""`export_numpy`: a model, or a whole training step, as a file that needs NumPy alone.

A prediction is written for people: the user's lines again, for any number of examples
(see `prediction`). A step is the source that the compiled step runs, with its buffers;
what it says of Tensors and optimisers is put in the words of plain dictionaries.
"""

from __future__ import annotations

import keyword
import os
import secrets
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.compiler.export_prediction import prediction_module
from tinygrad_nn.compiler.export_step import step_module
from tinygrad_nn.compiler.step import CompiledStep
from tinygrad_nn.errors import SaveError

__all__ = ["export_numpy"]

MARK = b"tinygrad_nn export_numpy"
"""Comment of an ``.npz`` that was exported."""
HEADING = "written by tinygrad_nn."
"""What the first line of an exported module ends with."""
_IMPORTED = frozenset({"functools", "json", "numpy", "os", "pathlib", "sys", "types"})


def export_numpy(
    path: str | os.PathLike[str],
    model: Any,
    /,
    *arguments: Any,
    batch_axis: int | None = 0,
    overwrite: bool = False,
    **settings: Any,
) -> None:
    r"""Write a model, or a compiled step, as a Python file that needs NumPy alone.

    Beside ``net.py`` a file ``net.npz`` is written, which holds its parameters.
    Both appear complete, or nothing is changed.

    A model becomes the function ``predict`` of any number of examples: its forward
    pass in evaluation mode, with the bits of ``model(X)``. A compiled step becomes
    ``step``, with the shapes of its last call, or of the arguments given here: forward,
    backward and update in place, as in `CompiledStep.source`, from where training
    stands; ``save()`` writes where it stands then. Each file says how it is used.

    Parameters
    ----------
    path
        The file, ``*.py``, named like a module.
    model
        A `Module`, a function of arrays, or a step made by `compile`.
    *arguments
        Examples of the arguments, as arrays: they give shapes and dtypes.
    batch_axis
        Which axis of the arguments of a model counts the examples, 1 where they are
        columns; None where their number is fixed.
    overwrite
        Replace files of these names that were not exported, a saved model say.
        What was exported before is replaced in any case.
    **settings
        Further arguments of the model or step; those of a model are fixed.

    Raises
    ------
    SaveError
        For a path that does not end in ``.py`` or cannot be written, and where one of
        the files is there and something else than an export.
    CompileError
        For a model that cannot be compiled, or does not fit another number of
        examples, and for ops that are more than NumPy.

    Examples
    --------
    >>> import tempfile
    >>> import tinygrad_nn as tg
    >>> folder = tempfile.TemporaryDirectory()
    >>> W = tg.Parameter([[0.5, -1.0]], name="W")
    >>> def model(X):
    ...     Z = np.dot(X, W.T)
    ...     return np.tanh(Z)
    >>> tg.export_numpy(Path(folder.name, "net.py"), model, np.zeros((4, 2)))
    >>> text = Path(folder.name, "net.py").read_text()
    >>> for line in text[text.index("def predict") :].splitlines()[2:7]:
    ...     print(line)  # doctest: +ELLIPSIS
        X = np.asarray(X)
        # ...:2
        Z = np.dot(X, W.T)
        # ...:3
        tanh_1 = np.tanh(Z)
    >>> folder.cleanup()
    """
    target = _target(path)
    if not overwrite:
        _refuse_others(target)
    if isinstance(model, CompiledStep):
        text, arrays = step_module(model, target.stem, arguments, settings)
    else:
        outside = recording.line_of(*recording.caller())
        text, arrays = prediction_module(
            model, target.stem, arguments, settings, batch_axis, outside
        )
    _write(target, text, arrays)


# --- the two files ---


def _target(path: str | os.PathLike[str]) -> Path:
    place = Path(os.fspath(path))
    if place.suffix != ".py":
        raise SaveError(
            "export_numpy: expected a path that ends in .py; got "
            f"{os.fspath(path)!r}. Write {os.fspath(place.with_suffix('.py'))!r}"
        )
    name = place.stem
    if not name.isidentifier() or keyword.iskeyword(name) or name in _IMPORTED:
        raise SaveError(
            "export_numpy: expected a file named like a module that can be imported; "
            f"got {place.name!r}. Write 'net.py'"
        )
    if not place.parent.is_dir():
        raise SaveError(
            f"export_numpy: expected a directory that is there; got {os.fspath(path)!r}"
            f". Make {os.fspath(place.parent)!r} first"
        )
    return place


def _write(target: Path, text: str, arrays: Mapping[str, Any]) -> None:
    """Write both files under other names, then move them: the arrays first."""
    beside = target.with_suffix(".npz")
    mark = secrets.token_hex(8)
    parts = {beside: Path(f"{beside}.{mark}"), target: Path(f"{target}.{mark}")}
    try:
        _refuse_directories(beside, target)
        with parts[beside].open("xb") as file:
            _pack(file, arrays)
            file.flush()
            os.fsync(file.fileno())
        with parts[target].open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        for place, part in parts.items():
            part.replace(place)
    except OSError as error:
        raise SaveError(
            "export_numpy: expected files that can be written; got "
            f"{os.fspath(target)!r}: {error.strerror or error}. Check the directory, "
            "its permissions and the space on the disk"
        ) from error
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink()


def _refuse_others(target: Path) -> None:
    """Leave alone what somebody else wrote, a checkpoint beside the file say."""
    beside = target.with_suffix(".npz")
    exported = _begins(target, HEADING)
    strange = target if target.is_file() and not exported else None
    if strange is None and beside.is_file():
        comment = _comment(beside)
        # The exported step saves without a comment.
        ours = comment == MARK or (comment == b"" and exported)
        strange = None if ours else beside
    if strange is not None:
        raise SaveError(
            f"export_numpy: expected to write {target.name} and {beside.name}; got "
            f"{os.fspath(strange)!r}, which is there and was not exported. Choose "
            "another name, or pass overwrite=True"
        )


def _begins(place: Path, text: str) -> bool:
    """Whether a text stands in the first line of a file."""
    try:
        with place.open(encoding="utf-8") as file:
            return text in file.readline()
    except (OSError, UnicodeDecodeError):
        return False


def _comment(place: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(place) as archive:
            return archive.comment
    except (OSError, zipfile.BadZipFile):
        return None


def _refuse_directories(*places: Path) -> None:
    for place in places:
        if place.is_dir():
            raise IsADirectoryError(f"{place.name} is a directory")


def _pack(file: Any, arrays: Mapping[str, Any]) -> None:
    """Write an ``.npz``; equal contents make equal files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = MARK
        for name, value in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                array = np.asarray(value)
                np.lib.format.write_array(member, array, allow_pickle=False)
