"""A recorded graph as cards, arrows and groups: all that any picture of it needs.

The scene is a snapshot: it holds no Tensor and no array of the user's, so a later
change of a value does not change a picture. Cards are numbered in tape order, so the
same program gives the same scene, whatever the addresses of its objects.

`scene_of` tells everything, unfolded. What a still picture shows is `folded(scene)`:
the groups in ``scene.closed`` are then a card each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_nn.drawing.layers import Group
from tinygrad_nn.drawing.marks import marks_inside
from tinygrad_nn.drawing.values import Numbers

__all__ = ["Arrow", "Card", "Inside", "Scene", "folded"]


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
    """

    start: str
    end: str
    beside: bool
    operand: int = 0
    share: Numbers | None = None
    local: float | None = None
    upstream: float | None = None
    times: int = 1


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
