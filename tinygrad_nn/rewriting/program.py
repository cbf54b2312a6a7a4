"""`Program`: a recorded step, its inputs and effects; passes go from one to the next.

The program *is* the recorded graph: nodes in tape order. What is added here is where
its leaves come from, and where its results go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.op import MANY, Node, Op, data_of, inputs_of, settings_of
from tinygrad_nn.recording import tick
from tinygrad_nn.tensor import Tensor

__all__ = [
    "Argument",
    "Gradient",
    "Place",
    "Program",
    "Slot",
    "Value",
    "constant_leaf",
    "leaves",
    "let_go",
    "like",
    "node_for",
    "operands",
    "rebuilt",
    "recorded",
    "redirected",
    "reordered",
    "watched",
]


class Argument(NamedTuple):
    """The ``index``-th array among the arguments of the call."""

    index: int  # type: ignore[assignment]  # tuple.index is not used


class Value(NamedTuple):
    """The value of a Tensor that lives outside: a parameter, running statistics."""

    tensor: Tensor


class Gradient(NamedTuple):
    """A gradient that was there before the call, and is not used up yet."""

    tensor: Tensor


class Slot(NamedTuple):
    """An array that an optimiser remembers of its ``parameter``-th parameter."""

    optimizer: Any
    parameter: int
    index: int  # type: ignore[assignment]  # tuple.index is not used


Place = Argument | Value | Gradient | Slot


@dataclass(frozen=True)
class Program:
    """One step.

    Attributes
    ----------
    nodes
        The recorded ops in an order in which they can run.
    places
        Where the leaves among their operands are read, anew at each call. A leaf
        without a place is a constant.
    results
        What is returned, in order.
    writes
        What is written back, in place, after everything that reads the old value.
    gradients
        What ``.grad`` of each leaf shows afterwards.
    first_update
        Time from which nodes belong to an update, where no gradient is computed
        after it; None where updates and gradients take turns.
    checks
        Functions of values that may refuse the step before anything is updated.
    sources
        Nodes that must hold no nan, as long as something else needs them: of them the
        backward chose elements.
    exact
        Whether every bit must be as in eager: no sum in another order.
    """

    nodes: list[Tensor]
    places: Mapping[Node, Place]
    results: list[Any]
    writes: list[tuple[Place, Tensor]]
    gradients: list[tuple[Tensor, Tensor]]
    first_update: int | None
    checks: list[tuple[Node, Callable[[Any], None]]] = field(default_factory=list)
    sources: list[Any] = field(default_factory=list)
    exact: bool = True

    def outputs(self) -> list[Node]:
        """Return every node that something outside asks for."""
        wanted = [x for x in self.results if isinstance(x, Node)]
        wanted += [node for _, node in self.writes]
        wanted += [node for _, node in self.gradients]
        wanted += [node for node, _ in self.checks]
        return wanted


def operands(node: Node) -> list[Node]:
    """Return the nodes that a node is computed from, those in its settings included."""
    found = [x for x in inputs_of(node) if isinstance(x, Node)]
    index = settings_of(node).get("index")
    if isinstance(index, Node):
        found.append(index)
    elif isinstance(index, tuple):
        found += [x for x in index if isinstance(x, Node)]
    return found


def node_for(
    node: Node,
    op: Op,
    inputs: tuple[Any, ...],
    settings: Mapping[str, Any],
    value: Any,
) -> Tensor:
    """Make a node of an op for another: it has the line, layer and time of that one."""
    made = object.__new__(Tensor)
    made._value = value
    made._op = op
    made._form = None
    made._settings = settings
    made._leads = 0
    made.requires_grad = False
    made._name = None
    made._order = node._order
    made._code = node._code
    made._lasti = node._lasti
    made._scope = getattr(node, "_scope", None)
    if op.arity == MANY:
        made._x = inputs
    else:
        made._x, made._y = inputs[0], inputs[-1]
    return made


def recorded(op: Op, inputs: tuple[Any, ...], node: Node, **settings: Any) -> Tensor:
    """Make a node that stands for a part of another: its line, layer and time."""
    full = op.bind((), settings)
    with np.errstate(all="ignore"):
        value = op.function(*[data_of(x) for x in inputs], **full)
    return node_for(node, op, inputs, full, value)


def like(
    node: Tensor,
    inputs: tuple[Any, ...],
    settings: Mapping[str, Any] | None = None,
) -> Tensor:
    """Return a copy of an op node with other operands of the same values."""
    op = node._op
    assert op is not None  # noqa: S101 (leaves have no operands)
    settings = settings_of(node) if settings is None else settings
    made = node_for(node, op, inputs, settings, node._value)
    made._name = getattr(node, "_name", None)
    return made


Visit = Callable[[Tensor, tuple[Any, ...]], Any]


def rebuilt(program: Program, visit: Visit) -> Program:
    """Run ``visit(node, new operands)`` over the nodes in order; replace by the result.

    ``visit`` returns the node itself, a node that it made (with all that it records on
    the way), an earlier node, or a constant array of the node's shape and dtype.
    What nothing asks for any more is gone afterwards.
    """
    instead: dict[Any, Any] = {}

    def now(x: Any) -> Any:
        return instead.get(x, x) if isinstance(x, Node) else x

    for node in program.nodes:
        inputs = tuple(now(x) for x in inputs_of(node))
        settings = settings_of(node)
        index = settings.get("index")
        if isinstance(index, (Node, tuple)):
            moved = tuple(map(now, index)) if isinstance(index, tuple) else now(index)
            if moved is not index:
                settings = {**settings, "index": moved}
        same = all(a is b for a, b in zip(inputs, inputs_of(node), strict=True))
        given = (
            node
            if same and settings is settings_of(node)
            else like(node, inputs, settings)
        )
        made = visit(given, inputs)
        if made is not node:
            instead[node] = made
    return redirected(program, instead)


def redirected(program: Program, instead: Mapping[Any, Any]) -> Program:
    """Let what the program gives come from other nodes; find its nodes again."""
    if not instead:
        return program

    def now(x: Any) -> Any:
        return instead.get(x, x) if isinstance(x, Node) else x

    return reordered(
        replace(
            program,
            results=[now(x) for x in program.results],
            writes=[(place, now(x)) for place, x in program.writes],
            gradients=[(leaf, now(x)) for leaf, x in program.gradients],
            checks=[(now(x), check) for x, check in program.checks],
            sources=[now(x) for x in program.sources],
        )
    )


def reordered(program: Program) -> Program:
    """Find the nodes again from what is asked for, each after its operands.

    Nodes keep the place in time that they were given; no recursion.
    """
    order: list[Any] = []
    state: dict[Node, int] = {}
    for output in program.outputs():
        stack = [output]
        while stack:
            node = stack[-1]
            if node._op is None or node in program.places or state.get(node) == 2:
                stack.pop()
                continue
            if state.get(node) == 1:
                state[node] = 2
                order.append(node)
                stack.pop()
                continue
            state[node] = 1
            stack.extend(x for x in operands(node) if state.get(x) != 2)
    return replace(program, nodes=_by_time(order))


def watched(program: Program) -> Program:
    """Let what stays be looked at for a nan, in the place of sources that went.

    A backward that chooses elements may need no value of what it chose from, but the
    values that this was computed from: there the nan is, too.
    """
    here = set(program.nodes)
    found: dict[Node, None] = {}
    stack = list(reversed(program.sources))
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in here or node._op is None or node in program.places:
            found[node] = None
        else:
            stack += [x for x in operands(node) if data_of(x).dtype.kind == "f"]
    return replace(program, sources=list(found))


def _by_time(order: list[Any]) -> list[Any]:
    """Sort by time of recording, where that leaves operands before their node."""
    rank = {node: i for i, node in enumerate(order)}
    latest: dict[Node, tuple[int, int]] = {}
    for node in order:
        after = max((latest[x] for x in operands(node) if x in latest), default=(0, 0))
        latest[node] = max((node._order, rank[node]), (after[0], rank[node]))
    return sorted(order, key=latest.__getitem__)


def let_go(nodes: Iterable[Any]) -> None:
    """Forget the values of a trace: shapes and dtypes are all that is still asked.

    Views among them would lead to users' arrays.
    """
    for node in nodes:
        value = node._value
        if np.ndim(value):
            node._value = np.broadcast_to(np.zeros((), value.dtype), value.shape)


def constant_leaf(value: Any, name: str | None = None) -> Tensor:
    """Make a leaf that holds an array."""
    leaf = object.__new__(Tensor)
    leaf._value = np.asarray(value)
    leaf._op = leaf._form = leaf._code = None
    leaf._lasti = -1
    leaf._order = tick()
    leaf.requires_grad = False
    leaf._name = name
    return leaf


def leaves(program: Program) -> Iterable[Node]:
    """Return the leaves among the operands and the outputs, each once."""
    seen: dict[Node, None] = {}
    for node in [*program.nodes, None]:
        for x in program.outputs() if node is None else operands(node):
            if x._op is None or x in program.places:
                seen[x] = None
    return seen
