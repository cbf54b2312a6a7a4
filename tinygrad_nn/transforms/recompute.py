"""`checkpoint`: a part of a graph that is computed again, and not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import autodiff, graph, ops, recording
from tinygrad_nn.errors import MutationError, UnsupportedError
from tinygrad_nn.op import Array, Node, Op, data_of, inputs_of, record, settings_of
from tinygrad_nn.recording import Draw
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.calling import refuse_uncallable, variable
from tinygrad_nn.transforms.structure import AS_GIVEN, joined, opened

__all__ = ["checkpoint"]


class Place(int):
    """Where an operand stands among the values of a segment."""

    __slots__ = ()


class Step(NamedTuple):
    """One op of a segment; operands are places, or constants."""

    op: Op
    operands: tuple[Any, ...]
    settings: Mapping[str, Any]
    order: int
    code: CodeType | None
    instruction: int
    scope: str | None
    draw: Draw | None


class Segment:
    """How a part of a graph was computed, without its values.

    Parameters
    ----------
    root
        The node that the part ends in.
    start
        What is older, and every leaf, is outside of the part.
    draws
        Draws of random numbers meanwhile, with the states of their generators.

    Attributes
    ----------
    outside : list
        Nodes that the part was computed from, oldest first.
    """

    def __init__(self, root: Node, start: int, draws: Sequence[Draw]) -> None:
        def inside(node: Node) -> bool:
            return node._op is not None and node._order > start

        order = graph.ancestors(
            [root], lambda x: graph.source(x) if inside(x) else (None, (), {})
        )
        self.outside = [x for x in order if not inside(x)]
        places = {x: Place(i) for i, x in enumerate(self.outside)}
        self._steps: list[Step] = []
        for node in order:
            if not inside(node):
                continue
            _refuse_changed(node)
            operands = tuple(
                places[x] if isinstance(x, Node) else x for x in inputs_of(node)
            )
            op: Op = node._op  # type: ignore[assignment]  # it is inside
            step = Step(
                op,
                operands,
                settings_of(node),
                node._order,
                *graph.place(node),
                graph.scope(node),
                _draw_of(node, draws) if op.kind == "random" else None,
            )
            places[node] = Place(len(places))
            self._steps.append(step)

    def again(self, outside: Sequence[Any]) -> Any:
        """Record the part once more, computed from ``outside``; return its root."""
        made = list(outside)
        with recording.recorded():
            for step in self._steps:
                operands, value = self._result(step, made)
                node = record(step.op, value, operands, step.settings)
                # In the place in time, and at the line, of the first: so what is
                # computed of the nodes is added in the order that it ever was.
                node._order = step.order
                node._code, node._lasti = step.code, step.instruction
                node._scope = step.scope  # None is as good as unset
                made.append(node)
        return made[-1]

    @staticmethod
    def open(node: Node, again: Node) -> None:
        """Let a checkpoint be the node that it stands for, from now on."""
        node._op, node._settings = again._op, settings_of(again)
        node._x, node._leads = again._x, again._leads
        node._order, node._code = again._order, again._code
        node._lasti, node._scope = again._lasti, again._scope
        if hasattr(again, "_y"):
            node._y = again._y
        if hasattr(again, "_sums"):
            node._sums = again._sums

    def value(self, outside: Sequence[Any]) -> Any:
        """Return the value of the part at the values of ``outside``."""
        made = list(outside)
        for step in self._steps:
            made.append(self._result(step, made)[1])
        return made[-1]

    def _result(self, step: Step, made: Sequence[Any]) -> tuple[Any, Any]:
        operands = tuple(made[x] if x.__class__ is Place else x for x in step.operands)
        settings = step.settings
        if step.draw is not None:
            settings = {**settings, "rng": step.draw.again()}
        value = step.op.body(*[data_of(x) for x in operands], **settings)
        return operands, value


def _draw_of(node: Node, draws: Sequence[Draw]) -> Draw:
    """Return the draw that made a node: the latest before it was recorded."""
    rng = settings_of(node).get("rng")
    before = [draw for draw in draws if draw.rng is rng and draw.time < node._order]
    if before:
        return before[-1]
    raise UnsupportedError(
        f"checkpoint: {node._op} draws random numbers without a word, and would draw "
        "others when it is computed again. Call recording.draws_from(rng) in its body"
    )


def _refuse_changed(node: Node) -> None:
    """Raise where the function changed what it had computed from."""
    for x in inputs_of(node):
        if isinstance(x, Node) and x._op is None and x._order > node._order:
            name = graph.name(x)
            title = "" if name is None else f" {name!r}"
            raise MutationError(
                f"checkpoint: what {node._op} at {graph.line(node)} was computed from"
                f"{title} was changed at {graph.line(x)}, and would be another value "
                "when it is computed again. Change it outside of the function"
            )


def _whole(*_sizes: Shape, segment: Any = None) -> Shape:
    return np.shape(segment.value([np.ones(size) for size in _sizes]))


def _shares(
    g: Array, _out: Array, *operands: Array, segment: Segment
) -> tuple[Array, ...]:
    """Pull through the part; the engine does so itself, on its way."""
    nodes = [variable(x) for x in operands]
    shares = autodiff.gradients(segment.again(nodes), nodes, g, "zero")
    tensors = any(isinstance(x, Node) for x in (g, *operands))
    return tuple(shares if tensors else [data_of(x) for x in shares])


def _recomputed(*operands: Array, segment: Any = None) -> Array:
    """A part of a graph as one op: what `checkpoint` leaves in the graph."""
    return segment.value(operands)


class _Everything(frozenset[int]):
    """The positions of all operands, however many there are."""

    def __contains__(self, position: object) -> bool:
        return True


# No entry of the registry: each use is another function.
_OP = Op(
    _recomputed,
    kind="checkpoint",
    formula=r"\mathrm{checkpoint}($operands)",
    vjp=_shares,
    shape=_whole,
    samples=(),
    refuses=(),
    paths=None,
    quiet=False,
    exact=None,
)
_OP.name = "checkpoint"
_OP.saved = _Everything()


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that computes ``f`` and keeps only what it returns.

    What a graph holds in memory are the values of its nodes. Of a checkpointed part
    it holds the result, and how it was computed; a backward computes the rest again
    when it comes by, and lets go of it. That costs another forward of the part, and
    with a part a layer, memory for one layer. Griewank and Walther (2000); Chen, Xu,
    Zhang and Guestrin (2016).

    Values and gradients are those of ``f``, to the bit and to any order. It is the
    recorded ops that are computed again, not the Python of ``f``, which runs once:
    dropout drops the same elements, and what ``f`` prints, counts or remembers, it
    does once. Parameters that ``f`` finds elsewhere get their gradients as well.

    In a compiled step it is ``f`` itself: there the compiler plans the memory. Forms
    such as ``log(sigmoid(z))`` are not seen across the border of a checkpoint.

    Parameters
    ----------
    f
        A function, or a model. Returns a Tensor, or a structure of Tensors.

    Raises
    ------
    MutationError
        Where ``f`` assigns to a Tensor that it had computed from.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_nn.transforms import grad
    >>> block = checkpoint(lambda x: np.exp(np.sin(x)))
    >>> grad(lambda x: block(x).sum())(np.zeros(2))
    array([1., 1.])
    """
    refuse_uncallable("checkpoint", f)

    @wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        mode = recording.current()
        if mode.trace is not None or not mode.records:
            return f(*args, **options)
        start = recording.tick()
        with recording.draws_noted() as draws:
            returned = f(*args, **options)
        found = opened(returned)
        new = [
            i
            for i, x in enumerate(found.leaves)
            if isinstance(x, Tensor) and x._op is not None and x._order > start
        ]
        if not new:
            return returned
        leaves: list[Any] = list(found.leaves)
        results = [leaves[i] for i in new]
        root = results[0] if len(results) == 1 else joined(results)
        whole = _kept(root, Segment(root, start, draws))
        if len(results) == 1:
            leaves[new[0]] = whole
        else:
            first = 0
            for i, x in zip(new, results, strict=True):
                part = ops.reshape(whole[first : first + x.size], x.shape)
                leaves[i] = part if part.dtype == x.dtype else ops.astype(part, x.dtype)
                first += x.size
        return found.closed(leaves, AS_GIVEN)

    return call


def _kept(root: Any, segment: Segment) -> Any:
    """Record the part as one node."""
    value = root._value
    if getattr(value, "base", None) is not None:
        value = value.copy()  # a view would keep what it is a view of
    node: Any = record(_OP, value, tuple(segment.outside), {"segment": segment})
    return node
