"""`export_numpy`: a model, or a whole training step, as a file that needs NumPy alone.

A prediction is written for people: the user's lines again, for any number of examples
(see `prediction`). A step is the source that the compiled step runs, with its buffers;
what it says of Tensors and optimisers is put in the words of plain dictionaries.
"""

from __future__ import annotations

import inspect
import keyword
import os
import secrets
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from tinygrad_nn import graph, recording
from tinygrad_nn.compiler.export_step import step_module
from tinygrad_nn.compiler.prediction import Recorded, module_text, written
from tinygrad_nn.compiler.step import CompiledStep
from tinygrad_nn.compiler.structure import flattened, mapped
from tinygrad_nn.errors import CompileError, SaveError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor

__all__ = ["export_numpy"]

PROBES = (12, 18, 30, 17)
"""Numbers of examples for which a model is recorded, to see what depends on them."""

_IMPORTED = frozenset({"functools", "json", "numpy", "os", "pathlib", "sys", "types"})


def export_numpy(
    path: str | os.PathLike[str],
    model: Any,
    /,
    *arguments: Any,
    batch_axis: int | None = 0,
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
    **settings
        Further arguments of the model or step; those of a model are fixed.

    Raises
    ------
    SaveError
        For a path that does not end in ``.py`` or cannot be written.
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
    if isinstance(model, CompiledStep):
        text, arrays = step_module(model, target.stem, arguments, settings)
    else:
        outside = recording.line_of(*recording.caller())
        text, arrays = _prediction(
            model, target, arguments, settings, batch_axis, outside
        )
    _write(target, text, arrays)


# --- prediction ---


def _prediction(
    model: Any,
    target: Path,
    arguments: tuple[Any, ...],
    settings: Mapping[str, Any],
    batch_axis: int | None,
    outside: recording.Line | None,
) -> tuple[str, dict[str, Any]]:
    """Record a model in evaluation mode, for several numbers of examples."""
    if not callable(model):
        raise CompileError(
            "export_numpy: expected a model, a function of arrays, or a compiled step; "
            f"got {type(model).__name__}"
        )
    arrays = [x for x in flattened(arguments) if isinstance(x, (Node, np.ndarray))]
    if not arrays:
        raise CompileError(
            "export_numpy: a model is recorded as it runs on an example; got no array. "
            'Pass one: tg.export_numpy("net.py", model, X)'
        )
    call = _call_of(model)
    trace, program, results = _recorded(call, arguments, settings)
    flags = {module: module.training for module in trace.modules}
    try:
        for module in flags:
            module.training = False
        if any(flags.values()):
            trace, program, results = _recorded(call, arguments, settings)
        _refuse_effects(trace, program, _title(model))
        variants = [Recorded(None, program, results)]
        if batch_axis is not None:
            first = arrays[0]
            variants = _for_other_sizes(call, arguments, settings, batch_axis, first)
    finally:
        for module, training in flags.items():
            module.training = training
    names = _names(model, trace)
    made = written(variants, names, outside)
    text = module_text(made, target.stem, _title(model), results, batch_axis or 0)
    return text, {held.key: held.value for held in made.held}


def _recorded(call: Any, arguments: Any, settings: Any) -> tuple[Any, Any, Any]:
    found: tuple[Any, Any, Any] = CompiledStep(call)._recorded(
        arguments, dict(settings), careful=False
    )
    return found


def _call_of(model: Any) -> Any:
    """Return a function that calls the model, with the names of its arguments."""

    def predict(*arguments: Any, **settings: Any) -> Any:
        return model(*arguments, **settings)

    with suppress(TypeError, ValueError):
        plain = getattr(model, "forward", model)
        predict.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]
    return predict


def _title(model: Any) -> str:
    name = getattr(model, "__name__", None) or getattr(model, "name", None)
    return name if isinstance(name, str) else type(model).__name__


def _refuse_effects(trace: Any, program: Any, title: str) -> None:
    changed = [graph.name(place[0]) or "a Tensor" for place, _ in program.writes]
    changed += [f"the gradient of {graph.name(t)}" for t, _ in program.gradients]
    if changed or trace.steps:
        raise CompileError(
            "export_numpy: a prediction changes nothing; got a function that changes "
            f"{changed[0] if changed else 'an optimiser'}. Export the step: "
            f'tg.export_numpy("step.py", tg.compile({title}), …)'
        )


def _for_other_sizes(
    call: Any, arguments: Any, settings: Any, axis: int, first: Any
) -> list[Recorded]:
    """Record the model for the numbers of examples in `PROBES`."""
    shape = np.shape(first._value if isinstance(first, Node) else first)
    if not -len(shape) <= axis < len(shape) or shape[axis] == 0:
        raise CompileError(
            f"export_numpy: expected an example with axis {axis} that is not empty; "
            f"got shape {shape}. Say which axis counts the examples: batch_axis="
        )
    count = shape[axis]

    def resized(x: Any, n: int) -> Any:
        value = x._value if isinstance(x, Node) else x
        if not isinstance(value, np.ndarray):
            return x
        if not -value.ndim <= axis < value.ndim or value.shape[axis] != count:
            return x
        value = np.take(value, np.arange(n) % count, axis)
        return Tensor(value) if isinstance(x, Node) else value

    found = []
    for n in PROBES:
        probe = mapped(partial(resized, n=n), arguments)
        try:
            _, program, results = _recorded(call, probe, settings)
        except Exception as error:
            raise CompileError(
                "export_numpy: a model takes any number of examples; got one that "
                f"refuses {n} along axis {axis}: {error}. Pass batch_axis=1 where "
                "examples are columns, or batch_axis=None to export it for the shapes "
                "of the example alone"
            ) from error
        found.append(Recorded(n, program, results))
    return found


def _names(model: Any, trace: Any) -> dict[int, str]:
    """Return what the user calls arrays and Tensors, by id."""
    found: dict[int, str] = {}

    def note(names: Mapping[str, Any], before: str = "") -> None:
        for name, value in names.items():
            if isinstance(value, (np.ndarray, Tensor)):
                found.setdefault(id(value), before + name)

    for module in trace.modules:
        path = getattr(module, "_path", None)
        note(vars(module), f"{path}." if path else "")
    function = getattr(model, "__func__", model)
    if isinstance(function, FunctionType):
        closed = inspect.getclosurevars(function)
        note(closed.nonlocals)
        note(closed.globals)
    return found


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


def _refuse_directories(*places: Path) -> None:
    for place in places:
        if place.is_dir():
            raise IsADirectoryError(f"{place.name} is a directory")


def _pack(file: Any, arrays: Mapping[str, Any]) -> None:
    """Write an ``.npz``; equal contents make equal files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, value in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                array = np.asarray(value)
                np.lib.format.write_array(member, array, allow_pickle=False)
