"""A recorded graph as the page is told of it: numbers and text, ready for JSON."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.drawing.explorer.field import field_of, finite_json, side_of
from tinygrad_nn.drawing.explorer.formulas import (
    Formulas,
    Line,
    mathml,
    settings_text,
)
from tinygrad_nn.drawing.explorer.layers import boxes_of
from tinygrad_nn.drawing.names import Names, leaf_kind
from tinygrad_nn.drawing.slopes import share_of
from tinygrad_nn.drawing.values import number, shortened
from tinygrad_nn.errors import MutationError, TinygradError
from tinygrad_nn.recording import Line as SourceLine
from tinygrad_nn.tensor import Parameter, Tensor, gradients

__all__ = ["story_of"]

_MOST = 5_000  # ops on a page; of more, the first and the last of them
_NAME = 200
_ARRIVALS = 24  # shares of one gradient that are told one by one


def story_of(
    outputs: Sequence[Tensor],
    *,
    title: str | None = None,
    chosen: Mapping[str, Any] | None = None,
    known: Mapping[int, tuple[Any, str]] | None = None,
    direction: str = "LR",
    times: Mapping[Tensor, tuple[float, float]] | None = None,
    classes: Mapping[str, str] | None = None,
    fold: bool | None = None,
    depth: int | None = None,
) -> dict[str, Any]:
    """Tell of the graph behind the outputs all that the page shows.

    The story is a snapshot: it holds no Tensor and no array.

    Parameters
    ----------
    outputs
        Tensors; where there is one, of one element, its backward is told as well.
    title
        Shown above.
    chosen, known
        Where names come from, see `Names`.
    direction
        ``"LR"`` or ``"TB"``.
    times
        Seconds of each node's forward and backward, where they were measured.
    classes
        Names of layers' classes by path, where they are known.
    fold, depth
        What the page begins with: whether runs of alike are folded, and how many
        layers deep it is open. None: as much as is easy to read.

    Returns
    -------
    dict
        Plain data for JSON; docs/explorer/README.md describes it.

    Examples
    --------
    >>> x = Tensor(2.0, requires_grad=True, name="x")
    >>> y = x * x
    >>> story = story_of([y], chosen={"y": y})
    >>> [(node["name"], node["in"]) for node in story["nodes"]]
    [('x', []), ('y', [0, 0])]
    >>> story["nodes"][0]["grad"]["x"]
    [4]
    >>> [share[:2] for share in story["nodes"][0]["from"]]
    [[1, 0], [1, 1]]
    """
    every = [x for x in graph.nodes(*outputs) if isinstance(x, Tensor)]
    nodes = _shown(every, outputs)
    left_out = len(every) - len(nodes)
    names = Names(every, chosen or {}, known or {})
    slopes, note, whole = _slopes(outputs, nodes)
    told = _Story(names, side_of(2 * len(nodes)), slopes, set(outputs), times or {})
    if left_out:
        told.leave_out(left_out)
    told.tell(nodes)
    ops = [(i, node) for node, i in told.ids.items() if node.op is not None]
    ops.sort(key=lambda pair: pair[0])
    paths = [_path(node) for _, node in ops]
    looks = [f"{node.op.name}|{node.shape}" for _, node in ops if node.op is not None]
    boxes, homes = boxes_of(paths, looks, classes or {})
    for (i, _), home in zip(ops, homes, strict=True):
        told.nodes[i]["box"] = home
    scalar = all(node.ndim == 0 for node in nodes)
    if whole:
        told.share(nodes, scalar)
    return {
        "title": None if title is None else shortened(title, _NAME),
        "note": note,
        "direction": direction,
        "fold": fold,
        "depth": depth,
        "scalar": scalar,
        "outputs": [told.ids[x] for x in dict.fromkeys(outputs)],
        "backward": whole,
        "nodes": told.nodes,
        "boxes": [
            {
                "name": shortened(box.name, _NAME),
                "of": shortened(box.of, _NAME),
                "in": box.parent,
                "kind": box.kind,
                "times": box.times,
            }
            for box in boxes
        ],
        "formulas": [[line.text, mathml(line.latex)] for line in told.lines],
    }


class _Story:
    """The nodes told so far."""

    def __init__(
        self,
        names: Names,
        side: int,
        slopes: Mapping[Tensor, np.ndarray],
        outputs: set[Tensor],
        times: Mapping[Tensor, tuple[float, float]],
    ) -> None:
        self._names = names
        self._side = side
        self._slopes = slopes
        self._outputs = outputs
        self._times = times
        self._arrays: dict[int, int] = {}
        self._formulas = Formulas()
        self._lines: dict[Line, int] = {}
        self._more = 0
        self.nodes: list[dict[str, Any]] = []
        self.ids: dict[Tensor, int] = {}

    @property
    def lines(self) -> list[Line]:
        """The formulas that nodes name by number."""
        return list(self._lines)

    def leave_out(self, count: int) -> None:
        """Say that nodes are missing."""
        self._more = len(self.nodes)
        self.nodes.append(
            {"name": f"… {count:,} nodes left out", "kind": "more", "in": []}
        )

    def tell(self, nodes: Iterable[Tensor]) -> None:
        """Tell of all nodes, operands before the ops that take them."""
        for node in nodes:
            if self._names.is_number(node) and node not in self._outputs:
                continue  # told where it is used
            operands = [self._operand(x) for x in node.inputs]
            self.ids[node] = len(self.nodes)
            self.nodes.append(self._node(node, operands))

    def _operand(self, x: Any) -> int | dict[str, str]:
        """Return the number of an operand's node, or a plain number as text."""
        if isinstance(x, Tensor):
            if self._names.is_number(x):
                return {"number": number(x.data[()])}
            return self.ids.get(x, self._more)  # told before, or left out
        array = np.asarray(x)
        name = self._names.of_constant(x)
        if array.ndim == 0 and name is None:
            return {"number": number(array[()])}
        if id(x) not in self._arrays:
            self._arrays[id(x)] = len(self.nodes)
            self.nodes.append(
                {
                    "name": shortened(name or "constant", _NAME),
                    "kind": "data" if self._names.given(x) else "constant",
                    "in": [],
                    **self._array(array),
                    "grad": "constant",
                }
            )
        return self._arrays[id(x)]

    def _array(self, value: np.ndarray) -> dict[str, Any]:
        return {
            "shape": list(value.shape),
            "dtype": str(value.dtype),
            "value": field_of(value, self._side),
        }

    def _node(self, node: Tensor, operands: list[Any]) -> dict[str, Any]:
        slope = self._slopes.get(node)
        told: dict[str, Any] = {
            "name": shortened(self._names.of(node), _NAME),
            "kind": _kind(node, self._outputs),
            "in": operands,
            **self._array(node.data),
            "grad": None if slope is None else field_of(slope, self._side),
        }
        if slope is None and not node.requires_grad:
            told["grad"] = "constant"
        if node.op is not None:
            told["op"] = node.op.name
            self._write(node, told)
            settings = settings_text(node.settings)
            if settings:
                told["settings"] = settings
        badges = _badges(node, slope, finished=bool(self._slopes))
        if badges:
            told["badges"] = badges
        line = graph.line(node)
        if line is not None:
            told["line"] = [
                PurePath(line.file).name,
                line.number,
                line.function,
                shortened(_code_at(line), _NAME),
            ]
        if node in self._times:
            told["times"] = [finite_json(seconds) for seconds in self._times[node]]
        return told

    def _write(self, node: Tensor, told: dict[str, Any]) -> None:
        """Write what a node computes, and what it passes back to each operand."""
        line = self._formulas.forward(node)
        if line is not None:
            told["formula"] = self._lines.setdefault(line, len(self._lines))
        if node.op is None or not node.op.differentiable or not node.requires_grad:
            return
        back = []
        for i, x in enumerate(node.inputs):
            if isinstance(x, Tensor) and x.requires_grad:
                line = self._formulas.backward(node, i)
                if line is not None:
                    back.append([i, self._lines.setdefault(line, len(self._lines))])
        if back:
            told["back"] = back

    def share(self, nodes: Sequence[Tensor], scalar: bool) -> None:
        """Tell what each consumer contributes to the gradients of its operands."""
        uses: dict[Tensor, list[tuple[Tensor, int]]] = {}
        for node in reversed(nodes):  # as backward meets them
            if node.op is None or not node.op.differentiable:
                continue
            if node in self._slopes:
                for i, x in enumerate(node.inputs):
                    if isinstance(x, Tensor) and x in self._slopes and x in self.ids:
                        uses.setdefault(x, []).append((node, i))
        for x, takers in uses.items():
            shares = [None] * len(takers)
            if scalar or 1 < len(takers) <= _ARRIVALS:
                shares = self._shares(x, takers)
            self.nodes[self.ids[x]]["from"] = [
                [self.ids[taker], i, share]
                for (taker, i), share in zip(takers, shares, strict=True)
            ]

    def _shares(self, x: Tensor, takers: Sequence[tuple[Tensor, int]]) -> list[Any]:
        total = self._slopes[x]
        shares = []
        for taker, i in takers:
            try:
                with np.errstate(all="ignore"):
                    share = share_of(taker, i, self._slopes[taker])
            except (TinygradError, TypeError, ValueError):
                share = None  # a user's own rule may read more than arrays
            if share is None:
                return [None] * len(takers)
            # A zero that means "no path" is told from 0 * inf by the engine alone.
            shares.append(np.where(np.isnan(share) & ~np.isnan(total), 0, share))
        with np.errstate(all="ignore"):
            found = np.sum(shares, axis=0)
        if not np.allclose(found, total, rtol=1e-3, atol=1e-12, equal_nan=True):
            return [None] * len(takers)  # rather nothing than what is not so
        return [field_of(share, self._side) for share in shares]


def _shown(nodes: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the nodes that are told: of a very long graph its two ends."""
    ops = [node for node in nodes if node.op is not None]
    if len(ops) <= _MOST:
        return list(nodes)
    kept = {*ops[: _MOST // 2], *ops[-(_MOST // 2) :], *outputs}
    kept.update(
        x
        for node in ops
        if node in kept
        for x in node.inputs
        if isinstance(x, Tensor) and x.op is None
    )
    return [node for node in nodes if node in kept]


def _path(node: Tensor) -> tuple[str, ...]:
    path = graph.scope(node)
    return () if path is None else tuple(path.split("."))


def _code_at(line: SourceLine) -> str:
    try:
        return linecache.getline(line.file, line.number).strip()
    except Exception:  # noqa: BLE001 (whatever the loader of that file raises)
        return ""


def _kind(node: Tensor, outputs: set[Tensor]) -> str:
    if node in outputs:
        return "output"
    return leaf_kind(node) if node.op is None else "op"


def _slopes(
    outputs: Sequence[Tensor], shown: Sequence[Tensor]
) -> tuple[dict[Tensor, np.ndarray], str | None, bool]:
    """Gradients, why there are none, and whether they are of one whole backward.

    They are computed for the page, and no ``.grad`` is touched: the shares of one
    backward add up, where ``.grad`` may hold the sum of many.
    """
    left = {
        node: np.asarray(node.grad)
        for node in shown
        if node.requires_grad and node.grad is not None
    }
    (output, *others) = dict.fromkeys(outputs)
    if others:
        return left, "Draw one output to see how its gradients come about.", False
    if not output.requires_grad or output.dtype.kind != "f":
        return left, None, False
    if output.size != 1:
        return left, "No backward: the output is not one number.", False
    wanted = [x for x in shown if x.requires_grad and x.dtype.kind == "f"]
    try:
        found = gradients(output, wanted, unused="zero")
    except TinygradError as error:
        why = shortened(str(error), _NAME)
        if isinstance(error, MutationError):
            # Its text names files, whose places differ from one machine to the next.
            why = "a value changed after the graph had used it"
        return left, f"No backward: {why}.", False
    reached = {
        node: np.asarray(slope.data)
        for node, slope in zip(wanted, found, strict=True)
        if slope.op is not None or bool(slope.data.any())
    }
    return reached, None, True


def _badges(
    node: Tensor, slope: np.ndarray | None, *, finished: bool
) -> list[dict[str, str]]:
    """Return what is wrong with a node, in a word and in a sentence."""
    found = []
    for array, what in ((node.data, "value"), (slope, "gradient")):
        if array is None or array.dtype.kind != "f" or not array.size:
            continue
        count = int(np.count_nonzero(np.isnan(array)))
        if count:
            found.append(
                {
                    "is": "bad",
                    "word": "NaN",
                    "why": f"{count:,} of {array.size:,} numbers of its {what} are NaN",
                }
            )
        count = int(np.count_nonzero(np.isinf(array)))
        if count:
            found.append(
                {
                    "is": "bad",
                    "word": "inf",
                    "why": f"{count:,} of {array.size:,} numbers of its {what} "
                    "are infinite",
                }
            )
    if finished and node.requires_grad and slope is None:
        found.append(
            {
                "is": "odd",
                "word": "no gradient",
                "why": "it asks for a gradient, and no path leads to it",
            }
        )
    dead, units = _dead(node)
    if dead:
        found.append(
            {
                "is": "odd",
                "word": f"dead {dead}/{units}",
                "why": f"{dead} of {units} units are 0 for every example: "
                "no gradient passes",
            }
        )
    return found


def _dead(node: Tensor) -> tuple[int, int]:
    """Return how many units of a relu are 0 for every example, of how many."""
    if node.op is None or node.op.name not in ("relu", "maximum"):
        return 0, 0
    if node.ndim != 2 or min(node.shape) < 2:
        return 0, 0
    examples = 1 if _in_columns(node) else 0
    lives = node.data.any(axis=examples)
    if not (node.data >= 0).all():
        return 0, 0  # a maximum of something else
    return int(np.count_nonzero(~lives)), int(lives.size)


def _in_columns(node: Tensor) -> bool:
    """Whether the examples are columns: ``W @ X``, parameters on the left."""
    seen = 0
    while node.op is not None and seen < 6:
        seen += 1
        tensors = [x for x in node.inputs if isinstance(x, Tensor)]
        if node.op.name == "matmul":
            return _is_weight(node.inputs[0]) and not _is_weight(node.inputs[1])
        inner = [x for x in tensors if x.op is not None]
        if not inner:
            return False
        node = inner[0]
    return False


def _is_weight(x: Any) -> bool:
    if not isinstance(x, Tensor):
        return False
    if x.op is not None and x.op.kind == "movement":
        x = x.inputs[0]
    leaf = isinstance(x, Tensor) and x.op is None
    return leaf and (isinstance(x, Parameter) or bool(x.requires_grad))
