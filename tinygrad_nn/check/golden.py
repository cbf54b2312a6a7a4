"""Golden graphs: what was recorded, as text, against a committed file.

A rewriting rule that stops to fire, a composition that records ten nodes where it
recorded one: values stay the same, and no test of values notices.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.errors import GraphMismatch, OpError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.tensor import Tensor

__all__ = ["assert_same_graph", "graph_text"]

_NUMBER = re.compile(r"%\d+")


def graph_text(*outputs: Tensor) -> str:
    """Write a recorded graph as text: a line for each node, in tape order.

    A line tells number, op, operands and settings, shape, dtype, layer and name; no
    values, no line numbers and no times, so that it changes only with the graph.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> W = tg.Parameter(np.ones((2, 3)), name="W")
    >>> print(graph_text(np.tanh(W @ np.ones((3, 4))).sum()))
    %0 = leaf                    (2, 3) float64 requires_grad W
    %1 = matmul(%0, (3, 4))      (2, 4) float64
    %2 = tanh(%1)                (2, 4) float64
    %3 = sum(%2)                 () float64
    output %3
    """
    for output in outputs:
        if not isinstance(output, Tensor):
            raise OpError(
                f"graph_text: expected recorded Tensors; got {type(output).__name__}"
            )
    numbers: dict[Node, int] = {}
    lines = []
    for node in graph.nodes(*outputs):
        numbers[node] = len(numbers)
        op, inputs, settings = graph.source(node)
        made = "leaf"
        if op is not None:
            given = [_operand(x, numbers) for x in inputs]
            given += [
                f"{name}={_setting(value)}"
                for name, value in settings.items()
                if name not in op.defaults or not _same(value, op.defaults[name])
            ]
            made = f"{op.name}({', '.join(given)})"
        value = np.asarray(data_of(node))
        told = [
            "requires_grad" if op is None and node.requires_grad else "",
            f"in {graph.scope(node)}" if graph.scope(node) else "",
            graph.name(node) or "",
        ]
        words = " ".join(word for word in told if word)
        line = f"%{numbers[node]} = {made:<22}  {value.shape} {value.dtype} {words}"
        lines.append(line.rstrip())
    lines.append("output " + ", ".join(f"%{numbers[output]}" for output in outputs))
    return "\n".join(lines)


def _operand(x: Any, numbers: dict[Node, int]) -> str:
    if isinstance(x, Node):
        return f"%{numbers[x]}"
    value = data_of(x)
    if np.ndim(value):
        return str(np.shape(value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _setting(value: Any) -> str:
    """Write a setting without the numbers of an array or the place of an object."""
    if isinstance(value, np.ndarray):
        return f"array{value.shape}"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.random.Generator):
        return type(value.bit_generator).__name__
    if value.__class__ in (tuple, list):
        inside = ", ".join(map(_setting, value))
        comma = "," if value.__class__ is tuple and len(value) == 1 else ""
        return f"({inside}{comma})" if value.__class__ is tuple else f"[{inside}]"
    return getattr(value, "__qualname__", None) or repr(value)


def _same(x: Any, y: Any) -> bool:
    return x is y or (not isinstance(x, np.ndarray) and bool(np.all(x == y)))


def assert_same_graph(*outputs: Tensor, path: Any, update: bool | None = None) -> None:
    """Compare a recorded graph with its text in a file.

    Parameters
    ----------
    outputs
        Recorded Tensors.
    path
        The file, to be committed. One that does not exist is written, and the test
        fails once, so that it is looked at.
    update
        Write it anew. By default pytest's ``--update-graphs``.

    Raises
    ------
    GraphMismatch
        With the lines that differ.

    Examples
    --------
    >>> import tempfile, tinygrad_nn as tg
    >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
    >>> path = Path(tempfile.mkdtemp()) / "square.txt"
    >>> assert_same_graph((x * x).sum(), path=path, update=True)
    >>> assert_same_graph((x * x).sum(), path=path)
    """
    __tracebackhide__ = True
    file = Path(path)
    text = graph_text(*outputs) + "\n"
    if _updating() if update is None else update:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    if not file.exists():
        raise GraphMismatch(
            f"graph: expected its text in {file}; got no such file. Look at it, and "
            f"write it with pytest --update-graphs:\n{text}"
        )
    before = file.read_text(encoding="utf-8")
    if before == text:
        return
    difference = difflib.unified_diff(
        _renumbered(before.splitlines(), text.splitlines()),
        text.splitlines(),
        str(file),
        "recorded",
        lineterm="",
        n=1,
    )
    raise GraphMismatch(
        f"graph: expected what {file} holds; got another. If it is meant so: pytest "
        "--update-graphs\n" + "\n".join(difference)
    )


def _renumbered(before: list[str], now: list[str]) -> list[str]:
    """Write a graph with the numbers that its nodes have now.

    One node more at the beginning moves the numbers of all; only what differs else is
    a difference. A node that is no more has a number with a dash.
    """
    ops = [[_NUMBER.sub("%", line) for line in lines] for lines in (before, now)]
    numbers: dict[str, str] = {}
    matcher = difflib.SequenceMatcher(a=ops[0], b=ops[1], autojunk=False)
    for _, low, high, first, last in matcher.get_opcodes():
        for i in range(low, high):
            j = first + i - low
            numbers[f"%{i}"] = f"%{j}" if j < last else f"%-{i}"
    return [_NUMBER.sub(lambda found: numbers[found[0]], line) for line in before]


def _updating() -> bool:
    """Whether the running pytest was asked to update graphs (see `plugin`)."""
    return os.environ.get("TINYGRAD_NN_UPDATE_GRAPHS") == "1"
