"""A recorded graph as cards, arrows and groups: all that any picture of it needs.

The scene is a snapshot: it holds no Tensor and no array of the user's, so a later
change of a value does not change a picture. Cards are numbered in tape order, so the
same program gives the same scene, whatever the addresses of its objects.

`scene_of` tells everything, unfolded. What a still picture shows is `folded(scene)`:
the groups in ``scene.closed`` are then a card each.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from time import perf_counter_ns
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.drawing.formulas import readable
from tinygrad_nn.drawing.layers import Group, Plan, closed_in, plan_of
from tinygrad_nn.drawing.marks import marks_inside, marks_of
from tinygrad_nn.drawing.names import Names, leaf_kind
from tinygrad_nn.drawing.values import (
    Numbers,
    index_text,
    number,
    numbers_of,
    shortened,
)
from tinygrad_nn.errors import MutationError, TinygradError
from tinygrad_nn.op import data_of, inputs_of, settings_of
from tinygrad_nn.tensor import Parameter, Tensor, gradients

__all__ = [
    "DETAILED",
    "Arrow",
    "Card",
    "Inside",
    "Recorded",
    "Scene",
    "folded",
    "scene_of",
]

DETAILED = 2000
"""Nodes of which each is told in full; of more, those that are shown folded."""


class Inside(NamedTuple):
    """What a folded group holds.

    Attributes
    ----------
    group
        What is folded.
    enters, leaves
        Keys of the cards, in the whole scene, whose values go in and out.
    shapes
        Of what goes in, but for what is learnt.
    """

    group: Group
    enters: tuple[str, ...]
    leaves: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


class Card(NamedTuple):
    """One node, or one group that is shown as one.

    Attributes
    ----------
    key
        ``n`` and the node's place on the tape; ``n4c1`` for an array that is operand
        number 1 of n4; a group's key.
    kind
        ``"parameter"``, ``"input"`` (another leaf with a gradient), ``"data"``,
        ``"constant"``, ``"op"``, ``"output"``, ``"layer"`` (a folded layer or run) or
        ``"more"``.
    value, grad
        None where there is none: no gradient reaches it; and for the nodes of a graph
        of more than `DETAILED` nodes that are not shown, see ``told``.
    constant
        Whether it asks for no gradient.
    scope
        The layer it belongs to, from the outside in.
    group
        Key of the innermost group that it is in, or None.
    marks
        What a reader should notice: ``"2 nan"``, ``"all 0"``, ``"3 of 16 units 0"``.
    line
        ``file.py:12``, without a folder: a picture is the same wherever it is drawn.
    told
        Whether value, gradient and formula were looked at.
    inside
        For a folded group.
    turned
        Whether it is a leaf in another shape, and says nothing new: ``W.T``.
    microseconds
        Of the forward op, where times were asked for.
    """

    key: str
    kind: str
    name: str
    op: str = ""
    formula: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    value: Numbers | None = None
    grad: Numbers | None = None
    constant: bool = False
    scope: tuple[str, ...] = ()
    group: str | None = None
    marks: tuple[str, ...] = ()
    line: str = ""
    told: bool = True
    inside: Inside | None = None
    turned: bool = False
    microseconds: float | None = None

    @property
    def bad(self) -> bool:
        """Whether there is a nan or an infinity in it."""
        return any(x is not None and x.bad for x in (self.value, self.grad))


class Arrow(NamedTuple):
    """From an operand to the op that takes it.

    Attributes
    ----------
    beside
        Whether the operand stands beside its op: a leaf, or a leaf that was only
        turned, ``W.T``.
    operand
        Which operand of the op it is, from 0.
    share
        What this op adds to the operand's gradient; None where no gradient flows, or
        nobody looked.
    local, upstream
        In a circuit of numbers: the op's slope by this operand, and the gradient of
        the op's result. Their product is the share.
    times
        How many arrows one between folded groups stands for.
    microseconds
        Of the op's rule for this operand, where times were asked for.
    """

    start: str
    end: str
    beside: bool
    operand: int = 0
    share: Numbers | None = None
    local: float | None = None
    upstream: float | None = None
    times: int = 1
    microseconds: float | None = None


class Scene(NamedTuple):
    """What is drawn.

    Attributes
    ----------
    cards
        In tape order: leaves first, then ops; an array stands before its first op.
    groups
        From the outside in: a group's parent stands before it.
    closed
        Keys of the groups that a still picture shows as one.
    note
        Why there are no gradients.
    scalar
        Whether every value is one number: a circuit.
    """

    cards: tuple[Card, ...]
    arrows: tuple[Arrow, ...]
    title: str | None
    note: str | None
    scalar: bool
    groups: tuple[Group, ...] = ()
    closed: frozenset[str] = frozenset()


class Recorded(NamedTuple):
    """The nodes behind a scene by the keys of their cards, and what they are called."""

    nodes: Mapping[str, Tensor]
    names: Names


def scene_of(
    outputs: Sequence[Tensor],
    *,
    title: str | None,
    chosen: Mapping[str, Any],
    known: Mapping[int, tuple[Any, str]],
    caller: CodeType | None = None,
    classes: Mapping[str, str] | None = None,
    fold: bool | None = None,
    depth: int | None = None,
    timed: bool = False,
) -> tuple[Scene, Recorded]:
    """Tell the graph behind the outputs as cards, arrows and groups.

    Parameters
    ----------
    outputs
        Tensors.
    title
        Shown above.
    chosen, known, caller
        Where names come from, see `Names`.
    classes
        Names of layers' classes by path.
    fold, depth
        Which groups a still picture closes, see `closed_in`.
    timed
        Measure every op and rule once more.
    """
    nodes = [x for x in graph.nodes(*outputs) if isinstance(x, Tensor)]
    plan, closed = closed_in(
        plan_of(nodes, classes or {}), outputs, fold=fold, depth=depth
    )
    names = Names(nodes, chosen, known, caller)
    recorded = Recorded({f"n{i}": node for i, node in enumerate(nodes)}, names)
    told = _told(nodes, plan, closed, outputs)
    grads, note = _gradients(outputs, [x for x in nodes if x in told])
    teller = _Teller(recorded, plan, outputs, grads, told, timed=timed)
    for node in nodes:
        teller.tell(node)
    scene = Scene(
        tuple(teller.cards),
        tuple(teller.arrows),
        None if title is None else shortened(title, 120),
        note,
        teller.scalar,
        plan.groups,
        closed,
    )
    return scene, recorded


def _told(
    nodes: Sequence[Tensor],
    plan: Plan,
    closed: Collection[str],
    outputs: Sequence[Tensor],
) -> set[Tensor]:
    """Choose the nodes that are told in full: of a long graph those that show."""
    if len(nodes) <= DETAILED:
        return set(nodes)
    around = plan.around(closed)
    outer = {node: around[plan.homes[node]] for node in nodes}
    told = {node for node in nodes if outer[node] is None} | set(outputs)
    for node in nodes:  # and what leaves a folded group
        for x in inputs_of(node):
            if isinstance(x, Tensor) and outer[x] != outer[node]:
                told.add(x)
    return told


class _Teller:
    """Writes the cards and arrows of one graph."""

    def __init__(
        self,
        recorded: Recorded,
        plan: Plan,
        outputs: Sequence[Tensor],
        grads: Mapping[Tensor, np.ndarray],
        told: Collection[Tensor],
        *,
        timed: bool,
    ) -> None:
        self.names = recorded.names
        self.keys = {node: key for key, node in recorded.nodes.items()}
        self.homes = plan.homes
        self.outputs = set(outputs)
        self.grads = grads
        self.told = told
        self.timed = timed
        self.aside = _aside(recorded.nodes.values())
        self.scalar = all(node.ndim == 0 for node in recorded.nodes.values())
        self.cards: list[Card] = []
        self.arrows: list[Arrow] = []
        self.constants: dict[Any, str] = {}

    def tell(self, node: Tensor) -> None:
        """Add the card of a node, of arrays that only it takes, and its arrows."""
        key = self.keys[node]
        if self.names.is_number(node):
            self.cards.append(self.plain(node))
            return
        inputs = inputs_of(node)
        operands = []
        first = all(not isinstance(x, Tensor) or x in self.aside for x in inputs)
        shares = self.shares(node) if node in self.told else {}
        for position, x in enumerate(inputs):
            beside = not isinstance(x, Tensor) or x in self.aside
            if first and _is_data(x):
                beside = False  # the way of the data begins here
            if isinstance(x, Tensor):
                start = self.keys[x]
            else:
                # One array is one card, however often it is used; numbers are many.
                same = id(x) if isinstance(x, np.ndarray) else (node, position)
                if same not in self.constants:
                    self.constants[same] = f"{key}c{position}"
                    self.cards.append(
                        self.array(self.constants[same], x, node, outside=not beside)
                    )
                start = self.constants[same]
            if node in self.told:
                operands.append(self.called(x))
            arrow = Arrow(start, key, beside, position)
            self.arrows.append(arrow._replace(**shares.get(position, {})))
        self.cards.append(self.card(node, operands))

    def called(self, x: Any) -> str:
        """Name an operand in a formula."""
        if isinstance(x, Tensor):
            return _short(self.names.of(x))
        name = self.names.of_constant(x)
        if name is not None:
            return _short(name)
        value = np.asarray(x)
        return number(value[()]) if value.ndim == 0 else "c"

    def card(self, node: Tensor, operands: Sequence[str]) -> Card:
        """Tell one node."""
        op = node.op
        kind = leaf_kind(node) if op is None else "op"
        if op is not None and node in self.outputs:
            kind = "output"
        value = node.data
        card = Card(
            self.keys[node],
            kind,
            "",
            "" if op is None else op.name,
            shape=value.shape,
            dtype="" if value.dtype == np.float64 else str(value.dtype),
            constant=not node.requires_grad,
            scope=_scope(node),
            group=self.homes[node],
            told=False,
            turned=op is not None and node in self.aside,
        )
        if node not in self.told:
            return card
        grad = self.grads.get(node)
        where = graph.line(node) if op is not None else None
        held = numbers_of(value)
        slope = None if grad is None else numbers_of(grad)
        return card._replace(
            name=shortened(self.names.of(node)),
            formula=_formula(node, operands),
            value=held,
            grad=slope,
            marks=marks_of(node, held, grad, slope),
            line="" if where is None else f"{_file(where.file)}:{where.number}",
            told=True,
            microseconds=self.forward_time(node) if self.timed and op else None,
        )

    def plain(self, node: Tensor) -> Card:
        """Draw a number that was made a Tensor, as a seed of gradients is, as one."""
        return Card(
            self.keys[node],
            "constant",
            "",
            value=numbers_of(node.data),
            constant=True,
            group=self.homes[node],
        )

    def array(self, key: str, x: Any, node: Tensor, *, outside: bool) -> Card:
        """Tell an operand that is no node."""
        value = np.asarray(x)
        own = self.names.given(x)
        name = self.names.of_constant(x) or ""
        plain = value.dtype in (np.float64, np.int64, np.bool_)
        told = node in self.told
        return Card(
            key,
            "data" if own and value.ndim else "constant",
            shortened(name),
            shape=value.shape,
            dtype="" if plain else str(value.dtype),
            value=numbers_of(value) if told else None,
            constant=True,
            # A named array is the user's data, and no part of the layer it enters.
            scope=() if own or outside else _scope(node),
            group=None if (own or outside) and told else self.homes[node],
            told=told,
        )

    # --- what flows back along an arrow ---

    def shares(self, node: Tensor) -> dict[int, dict[str, Any]]:
        """Run the rules of one op on its numbers, for every operand by itself."""
        op = node.op
        g = self.grads.get(node)
        if op is None or g is None or not op.differentiable:
            return {}
        found: dict[int, dict[str, Any]] = {}
        inputs = inputs_of(node)
        with np.errstate(all="ignore"):
            for i, x in enumerate(inputs):
                if not isinstance(x, Tensor) or not x.requires_grad:
                    continue
                start = perf_counter_ns()
                share = _share(node, i, g)
                spent = (perf_counter_ns() - start) / 1000
                if share is None:
                    continue
                total = self.grads.get(x)
                if total is not None and np.shape(total) == share.shape:
                    # 0 · inf where no path is: the engine has no share there.
                    astray = ~np.isfinite(share) & np.isfinite(total)
                    share = np.where(astray, 0.0, share)
                facts: dict[str, Any] = {"share": numbers_of(share)}
                if self.scalar:
                    facts["upstream"] = float(g)
                    slope = _share(node, i, np.ones_like(g))
                    facts["local"] = None if slope is None else float(slope)
                if self.timed:
                    facts["microseconds"] = spent
                found[i] = facts
        return found

    def forward_time(self, node: Tensor) -> float:
        """Return how long the op's body took when it was run once more."""
        op, inputs, settings = graph.source(node)
        values = [data_of(x) for x in inputs]
        if op is None:
            return 0.0
        with np.errstate(all="ignore"):
            start = perf_counter_ns()
            op.function(*values, **settings)
            return (perf_counter_ns() - start) / 1000


def _share(node: Tensor, i: int, g: np.ndarray) -> np.ndarray | None:
    """Return what an op's rule adds to the gradient of operand ``i``, in its shape."""
    op, inputs, settings = graph.source(node)
    if op is None:
        return None
    values = [data_of(x) for x in inputs]
    out = data_of(node)
    if op.variadic:
        share = op.rules(g, out, *values, **settings)[i]
    else:
        share = op.rules[i](g, out, *values, **settings)
    if share is None:
        return None
    share, shape = np.asarray(data_of(share)), np.shape(values[i])
    if share.ndim < len(shape):  # a number that stands for an array
        share = np.broadcast_to(share, np.shape(out) if op.pointwise else shape)
    extra = share.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, size in enumerate(shape)
        if size == 1 and share.shape[extra + axis] != 1
    )
    unrepeated: np.ndarray = share.sum(axis=axes).reshape(shape)
    return unrepeated


def _scope(node: Tensor) -> tuple[str, ...]:
    path = graph.scope(node)
    return () if path is None else tuple(map(shortened, path.split(".")))


def _file(path: str) -> str:
    """Name a file without its folder; cells of a notebook have made-up names."""
    name = os.path.basename(path)  # noqa: PTH119 (no path: <stdin>)
    return "cell" if "ipykernel" in path else shortened(name)


def _is_data(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x.op is None and not isinstance(x, Parameter) and x.ndim > 0
    return np.ndim(x) > 0


def _short(name: str) -> str:
    return shortened(name, 24)


def _formula(node: Tensor, operands: Sequence[str]) -> str:
    """Write the op's formula with its operands' names, and unusual settings."""
    op = node.op
    if op is None:
        return ""
    settings = settings_of(node)
    filled = {name: shortened(str(setting), 24) for name, setting in settings.items()}
    if "index" in settings:
        filled["index"] = shortened(index_text(settings["index"]))
    if op.variadic:
        filled[op.operands[0]] = shortened(", ".join(operands), 60)
    else:
        filled.update(zip(op.operands, operands, strict=True))
    text = readable(op.formula, filled)
    if node.ndim == 0:
        text = text.replace("⊙", "·")
    if "index" in settings and "$x[" not in op.formula.template:
        filled["index"] = f"[{filled['index']}]"
    extra = [
        f"{name}={filled[name]}"
        for name, setting in settings.items()
        if f"${name}" not in op.formula.template.replace(f"_{{${name}}}", "")
        and setting is not None
        and setting is not False
        and name != "tie"
    ]
    return f"{text}  ({', '.join(extra)})" if extra else text


def _gradients(
    outputs: Sequence[Tensor], shown: Sequence[Tensor]
) -> tuple[dict[Tensor, np.ndarray], str | None]:
    """Gradients to show: what ``backward`` left, else computed for the picture alone.

    Nothing is written to any ``.grad``. A node that no gradient reaches has none.
    """
    found = {
        node: node.grad
        for node in shown
        if node.requires_grad and node.grad is not None
    }
    missing = [x for x in shown if x.requires_grad and x not in found]
    if not missing:
        return found, None
    (output, *others) = outputs
    if others:
        return found, "gradients: draw one output to see them"
    if not output.requires_grad or output.dtype.kind != "f":
        return found, None
    if output.size != 1:
        return found, "gradients: the output is not one number"
    try:
        slopes = gradients(output, missing, unused="zero")
    except TinygradError as error:
        why = shortened(str(error), 120)
        if isinstance(error, MutationError):
            # Its text names files, whose places differ from one machine to the next.
            why = "a value changed after the graph had used it"
        return found, f"gradients: {why}"
    for node, slope in zip(missing, slopes, strict=True):
        reached = slope.op is not None or bool(slope.data.any())
        if reached:
            found[node] = slope.data
    return found, None


def _aside(nodes: Collection[Tensor]) -> set[Tensor]:
    """Leaves, and leaves that were only moved into another shape."""
    found: set[Tensor] = set()
    for node in nodes:
        op = node.op
        turned = op is not None and op.kind == "movement"
        if op is None or (
            turned and all(x in found for x in inputs_of(node) if isinstance(x, Tensor))
        ):
            found.add(node)
    return found


# --- folding -----------------------------------------------------------------------


def folded(scene: Scene, closed: Collection[str] | None = None) -> Scene:
    """Show each closed group as one card; what goes in and out of it is told there.

    Parameters
    ----------
    scene
        A whole scene.
    closed
        Keys of groups, those of the scene unless given.
    """
    shut = scene.closed if closed is None else frozenset(closed)
    if not shut:
        return scene
    outer: dict[str | None, str | None] = {None: None}
    for group in scene.groups:
        above = outer[group.parent]
        outer[group.key] = group.key if above is None and group.key in shut else above
    home = {card.key: outer[card.group] for card in scene.cards}
    shown = [card for card in scene.cards if home[card.key] is None]
    place = {card.key: i for i, card in enumerate(scene.cards)}
    members: dict[str, list[Card]] = {}
    for card in scene.cards:
        key = home[card.key]
        if key is not None:
            members.setdefault(key, []).append(card)
            place[key] = place[card.key]  # where its last one stands
    gates = _gates(scene, home)
    cards = {card.key: card for card in scene.cards}
    groups = {group.key: group for group in scene.groups}
    for key, held in members.items():
        entering, leaving = gates.get(key, ({}, {}))
        inside = Inside(
            groups[key],
            tuple(entering),
            tuple(leaving),
            tuple(cards[x].shape for x in entering if cards[x].kind != "parameter"),
        )
        shown.append(_shut(inside, held, cards[next(reversed(leaving))]))
    shown.sort(key=lambda card: place[card.key])
    return scene._replace(cards=tuple(shown), arrows=_merged(scene, home))


def _gates(
    scene: Scene, home: Mapping[str, str | None]
) -> dict[str, tuple[dict[str, None], dict[str, None]]]:
    """Say for each closed group which cards' values go in, and which go out."""
    gates: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for arrow in scene.arrows:
        start, end = home[arrow.start], home[arrow.end]
        if start != end:
            for key, way in ((end, 0), (start, 1)):
                if key is not None:
                    gates.setdefault(key, ({}, {}))[way][arrow.start] = None
    for card in scene.cards:
        key = home[card.key]
        if key is not None and card.kind == "output":
            gates.setdefault(key, ({}, {}))[1][card.key] = None
    return gates


def _merged(scene: Scene, home: Mapping[str, str | None]) -> tuple[Arrow, ...]:
    """Arrows between what is shown: one, where one end is a closed group."""
    kept: dict[Any, Arrow] = {}
    for number_of_arrow, arrow in enumerate(scene.arrows):
        start, end = home[arrow.start], home[arrow.end]
        if start is None and end is None:
            kept[number_of_arrow] = arrow
        elif start != end:
            pair = (start or arrow.start, end or arrow.end)
            if pair in kept:
                kept[pair] = _together(kept[pair], arrow)
            else:
                kept[pair] = arrow._replace(start=pair[0], end=pair[1], local=None)
    return tuple(kept.values())


def _shut(inside: Inside, held: Sequence[Card], leaving: Card) -> Card:
    """Make the card of a closed group; it shows what leaves it last."""
    group = inside.group
    more = group.kind == "more"
    marks = marks_inside(card.marks for card in held)
    return Card(
        group.key,
        "more" if more else "layer",
        group.title,
        shape=leaving.shape,
        dtype=leaving.dtype,
        value=None if more else leaving.value,
        grad=None if more else leaving.grad,
        constant=leaving.constant,
        scope=tuple(group.path.split(".")[:-1]),
        group=group.parent,
        marks=marks,
        told=leaving.told,
        inside=inside,
    )


def _together(one: Arrow, other: Arrow) -> Arrow:
    """Stand for two arrows: what flows back along both is not one array."""
    return one._replace(
        beside=one.beside and other.beside, share=None, times=one.times + 1
    )
