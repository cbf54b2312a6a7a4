"""A model as a module of its own: recorded, written, and introduced to its reader."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from tinygrad_nn import graph, recording
from tinygrad_nn.compiler.literals import nested, plain, quoted
from tinygrad_nn.compiler.prediction import Prediction, Recorded, written
from tinygrad_nn.compiler.step import CompiledStep
from tinygrad_nn.compiler.structure import flattened, mapped
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor

__all__ = ["prediction_module"]

PROBES = (12, 18, 30, 17)
"""Numbers of examples for which a model is recorded, to see what depends on them."""


def prediction_module(
    model: Any,
    stem: str,
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
    text = _text(made, stem, _title(model), results, batch_axis or 0)
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


def _text(made: Prediction, stem: str, title: str, results: Any, axis: int) -> str:
    """Return the whole file: what it is, parameters, helpers, the function.

    Parameters
    ----------
    made
        What `written` returned.
    stem
        The file's name without ``.py``.
    title
        What is predicted with.
    results
        The structure of what the model returns.
    axis
        Which axis counts the examples.
    """
    assert made.inlined is not None  # noqa: S101 (made with the writer)
    names = [name for name, _ in made.arguments]
    given = ", ".join(names)
    said = "any number n of examples" if made.free else "these shapes"
    kinds = ", ".join(kind for _, kind in made.results if kind)
    beside = f" and {stem}.npz, which lies beside this file" if made.held else ""
    text = [
        f'"""Prediction of {plain(title)} as plain NumPy, written by tinygrad_nn.',
        "",
        f"It needs NumPy{beside}:",
        "",
        f"    from {stem} import predict",
        "",
        f"    predict({given})",
        "",
        "or, on arrays that np.save wrote:",
        "",
        f"    python {stem}.py {' '.join(f'{name}.npy' for name in names)}",
        "",
        f"Arguments, for {said}:",
        "",
        *(f"    {name} : {kind}" for name, kind in made.arguments),
        "",
        f"Returns {kinds}.",
        '"""',
        "",
        "import sys",
        *(["from pathlib import Path"] if made.held else []),
        *sorted(made.inlined.imports),
        "",
        "import numpy as np",
        "",
    ]
    if made.held:
        text.append(f'with np.load(Path(__file__).with_name("{stem}.npz")) as file:')
        for held in made.held:
            kind = f"{held.value.dtype} {held.value.shape}"
            text.append(f"    {held.name} = file[{quoted(held.key)}]  # {kind}")
        text.append("")
    text += ["", *made.inlined.lines]
    text += [f"def predict({given}):", f'    """Return the prediction: {kinds}."""']
    text += [f"    {name} = np.asarray({name})" for name in names]
    if made.counts:
        text.append(f"    {made.number} = {names[0]}.shape[{axis}]")
    text += [f"    {line}" for line in made.lines]
    texts = [result for result, _ in made.results]
    text += [f"    return {nested(results, texts)}", "", ""]
    text += ['if __name__ == "__main__":']
    text += ["    print(predict(*map(np.load, sys.argv[1:])))"]
    return "\n".join(text) + "\n"
