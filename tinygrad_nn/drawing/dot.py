"""A scene as DOT, the language of Graphviz, written by the ``graphviz`` package.

Labels are HTML-like tables throughout: Graphviz loses edges between nodes of the same
rank if one of them is a ``record``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Sequence

import graphviz

from tinygrad_nn.drawing.colours import THEMES, Theme
from tinygrad_nn.drawing.layers import Group
from tinygrad_nn.drawing.scene import Arrow, Card, Scene
from tinygrad_nn.drawing.values import Numbers, number, shortened

__all__ = ["SHOWN", "dot_of"]

SHOWN = ("formulas", "gradients", "pictures", "shapes", "values")
"""What can be shown of a node, beside its name."""

_FONT = "Helvetica"
_MOST_PICTURED = 100  # cards, beyond which heat maps are left out
_CELLS = 8
_CELL = 6  # points


def dot_of(
    scene: Scene,
    direction: str,
    theme: str = "light",
    show: Collection[str] = SHOWN,
    **attributes: str,
) -> str:
    """Write a scene as DOT, the same text for the same scene.

    Parameters
    ----------
    scene
        Folded, where it is to be.
    direction
        ``"LR"`` or ``"TB"``, as Graphviz has it.
    theme
        ``"light"`` or ``"dark"``.
    show
        Some of `SHOWN`.
    attributes
        More of the whole picture, for example ``dpi``.
    """
    return _Writer(scene, THEMES[theme], show).written(direction, attributes)


class _Writer:
    """Writes one picture; what all its parts ask for is at hand here."""

    def __init__(self, scene: Scene, theme: Theme, show: Collection[str]) -> None:
        self.scene = scene
        self.theme = theme
        self.groups = {group.key: group for group in scene.groups}
        self.show = set(show)
        cards = sum(card.kind != "constant" for card in scene.cards)
        self.pictures = "pictures" in self.show and cards <= _MOST_PICTURED
        self.norms = _range_of_norms(scene.arrows)

    def written(self, direction: str, attributes: dict[str, str]) -> str:
        theme = self.theme
        picture = graphviz.Digraph("graph")
        picture.attr(
            rankdir=direction,
            bgcolor=theme.background,
            fontname=_FONT,
            fontcolor=theme.ink,
            nodesep="0.18",
            ranksep="0.35",
            pad="0.15",
            **attributes,
        )
        picture.attr(
            "node", shape="plain", fontname=_FONT, fontsize="10", fontcolor=theme.ink
        )
        picture.attr(
            "edge",
            color=theme.line,
            arrowsize="0.6",
            penwidth="1.1",
            fontname=_FONT,
            fontsize="8",
            fontcolor=theme.red,
        )
        caption = self.caption()
        if caption:
            picture.attr(label=caption, labelloc="t", labeljust="l")
        inner: dict[str | None, list[Group]] = {}
        for group in self.scene.groups:
            inner.setdefault(group.parent, []).append(group)
        cards: dict[str | None, list[Card]] = {}
        for card in self.scene.cards:
            cards.setdefault(card.group, []).append(card)
        self.box(picture, None, inner, cards)
        for arrow in self.scene.arrows:
            self.edge(picture, arrow)
        source: str = picture.source
        return source

    def caption(self) -> str:
        scene, lines = self.scene, []
        if scene.title:
            title = _safe(shortened(scene.title, 120))
            lines.append(f'<FONT POINT-SIZE="14"><B>{title}</B></FONT>')
        if any(arrow.local is not None for arrow in scene.arrows):
            told = "on each arrow: local derivative × upstream gradient"  # noqa: RUF001
            if "gradients" in self.show:
                lines.append(self.text(told, self.theme.grey, 9))
        if scene.note and "gradients" in self.show:
            lines.append(self.text(scene.note, self.theme.grey, 9))
        left = '<BR ALIGN="LEFT"/>'
        return f"<{left.join(lines)}{left}>" if lines else ""

    def box(
        self,
        picture: graphviz.Digraph,
        key: str | None,
        inner: dict[str | None, list[Group]],
        cards: dict[str | None, list[Card]],
    ) -> None:
        """Add the cards of a group, and the boxes inside it.

        Groups nest a few deep: this recursion is over names, never over the graph.
        """
        for card in cards.get(key, ()):
            picture.node(card.key, label=f"<{self.table(card)}>")
        for group in inner.get(key, ()):
            if not _holds(group.key, inner, cards):
                continue
            if group.kind != "layer" or _is_list(group, inner, cards):
                self.box(picture, group.key, inner, cards)
                continue
            # Keys are ours; names may hold anything.
            with picture.subgraph(name=f"cluster_{group.key}") as layer:
                layer.attr(
                    label=f"<{self.head(group)}>",
                    style="rounded,filled",
                    color=self.theme.box_line,
                    fillcolor=self.theme.box,
                    fontsize="11",
                    fontcolor=self.theme.grey,
                    labeljust="l",
                    margin="10",
                )
                self.box(layer, group.key, inner, cards)

    def head(self, group: Group) -> str:
        name = shortened(group.name)
        told = f"<B>{_safe(name)}</B>"
        if group.path and group.path != group.name:
            told += f"  {self.text(shortened(group.path), self.theme.grey, 9)}"
        return told

    # --- arrows ---

    def edge(self, picture: graphviz.Digraph, arrow: Arrow) -> None:
        settings = {}
        if "gradients" in self.show:
            if arrow.local is not None and arrow.upstream is not None:
                slope, above = number(arrow.local, 3), number(arrow.upstream, 3)
                label = f"{slope} × {above}"  # noqa: RUF001 (a times sign)
                settings["label"] = f"<{self.text(label, self.theme.red, 8)}>"
            elif arrow.share is not None:
                settings["penwidth"] = self.width(arrow.share)
        if arrow.share is not None and arrow.share.bad and "gradients" in self.show:
            settings["color"] = self.theme.red
        if arrow.times > 1 and arrow.share is None:
            settings["penwidth"] = "1.6"
        # A leaf stands in the rank of the op that takes it; the way of the data is
        # straight. Without either, layers make a staircase. In a circuit of numbers
        # the leaves are the data.
        if arrow.beside and not self.scene.scalar:
            settings |= {"minlen": "0", "weight": "2"}
        else:
            settings["weight"] = "10"
        picture.edge(arrow.start, arrow.end, **dict(sorted(settings.items())))

    def width(self, share: Numbers) -> str:
        """Return how wide an arrow is: by the logarithm of its gradient's norm."""
        low, high = self.norms
        if not share.norm > 0:
            return "0.6"
        if high <= low:
            return "1.1"
        place = (math.log(share.norm) - low) / (high - low)
        return f"{0.8 + 2.6 * place:.2g}"

    # --- cards ---

    def table(self, card: Card) -> str:
        if card.kind == "more":
            return self.text(card.name, self.theme.grey, 12)
        if card.kind == "constant":
            return self.small(card)
        if card.inside is not None:
            return self.layer(card)
        card = self.within(card)
        if card.turned and not self.scene.scalar:
            return self.small(card)
        return self.circuit(card) if self.scene.scalar else self.full(card)

    def within(self, card: Card) -> Card:
        """Shorten names by the path of the layer's box, which says it already."""
        group = self.groups.get(card.group or "")
        while group is not None and not group.path:
            group = self.groups.get(group.parent or "")
        if group is None or group.kind != "layer":
            return card
        path = f"{group.path}."
        name = card.name.removeprefix(path)
        return card._replace(name=name, formula=card.formula.replace(path, ""))

    def opening(self, card: Card, padding: int, spacing: int = 0) -> str:
        border, paper = self.theme.kinds[card.kind]
        if card.bad:
            border = self.theme.red
        width = 2 if card.kind in ("output", "layer") or card.bad else 1
        return (
            f'<TABLE BORDER="{width}" CELLBORDER="0" CELLSPACING="{spacing}" '
            f'CELLPADDING="{padding}" COLOR="{border}" BGCOLOR="{paper}" '
            'STYLE="ROUNDED">'
        )

    def small(self, card: Card) -> str:
        """Lay out a constant: its name or number, and its shape."""
        rows = []
        if card.name:
            rows.append(f"<B>{_safe(card.name)}</B>")
        if card.shape and "shapes" in self.show:
            rows.append(self.text(_shape(card), self.theme.grey, 8))
        if card.value is not None and (not card.shape or not card.name):
            rows.append(self.lines(card.value, self.theme.ink, 9))
        if not card.turned:
            rows.append(self.text("constant", self.theme.grey, 7))
        body = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
        return f"{self.opening(card, 1, 2)}{body}</TABLE>"

    def circuit(self, card: Card) -> str:
        """Lay out a number as in a textbook's circuit: ``value | grad``."""
        border, _ = self.theme.kinds[card.kind]
        grey = self.theme.grey
        above = f'<TR><TD COLSPAN="2">{self.heading(card)}{self.beside(card)}</TD></TR>'
        cells = []
        if "values" in self.show and card.value is not None:
            value = self.lines(card.value, self.theme.ink, 11)
            cells.append(f"{self.text('value', grey, 8)} {value}")
        if "gradients" in self.show:
            cells.append(f"{self.text('grad', grey, 8)} {self.grad(card, 11)}")
        sides = ("TR", "T") if len(cells) == 2 else ("T",)
        row = "".join(
            f'<TD SIDES="{side}" BORDER="1" COLOR="{border}">{cell}</TD>'
            for side, cell in zip(sides, cells, strict=False)
        )
        below = f"<TR>{row}</TR>" if row else ""
        return f"{self.opening(card, 4)}{above}{below}{self.marks(card)}</TABLE>"

    def beside(self, card: Card) -> str:
        if not card.formula or "formulas" not in self.show:
            return ""
        return f"  {self.text('= ' + card.formula, self.theme.grey, 10)}"

    def full(self, card: Card) -> str:
        """Lay out an array: heading, formula, shape, value and gradient, a row each."""
        border, _ = self.theme.kinds[card.kind]
        rows = [_row(self.heading(card))]
        if card.formula != card.name and card.formula and "formulas" in self.show:
            rows.append(_row(self.text(card.formula, border, 10)))
        shape = _shape(card)
        if shape and "shapes" in self.show:
            rows.append(_row(self.text(shape, self.theme.grey, 9)))
        return f"{self.opening(card, 2, 2)}{''.join(rows)}{self.both(card)}</TABLE>"

    def layer(self, card: Card) -> str:
        """Lay out what is folded: what it holds, and what goes in and out."""
        inside = card.inside
        if inside is None:
            return ""
        grey, group = self.theme.grey, inside.group
        rows = [_row(f"<B>{_safe(card.name)}</B>")]
        if group.path and group.path != group.name:
            rows.append(_row(self.text(shortened(group.path), grey, 8)))
        held = f"{group.ops:,} op{'s' * (group.ops != 1)}"
        if group.parameters:
            held += f", {group.parameters:,} parameters"
        rows.append(_row(self.text(held, grey, 9)))
        if "shapes" in self.show and card.shape:
            entering = [_sizes(shape) for shape in inside.shapes if shape]
            way = " , ".join(dict.fromkeys(entering)) + " → " if entering else "→ "
            rows.append(_row(self.text(f"{way}{_shape(card)}", grey, 9)))
        return f"{self.opening(card, 3, 2)}{''.join(rows)}{self.both(card)}</TABLE>"

    def both(self, card: Card) -> str:
        """Lay out value and gradient: words, a heat map each, and what to notice."""
        words, maps = [], []
        if "values" in self.show and card.value is not None:
            words.append(("value", self.lines(card.value, self.theme.ink, 9)))
            maps.append(self.heat(card.value))
        if "gradients" in self.show and card.told:
            words.append(("grad", self.grad(card, 9)))
            maps.append("" if card.grad is None else self.heat(card.grad))
        rows = []
        for (title, cell), drawn in zip(words, maps, strict=True):
            head = f'<TD ALIGN="RIGHT">{self.text(title, self.theme.grey, 8)}</TD>'
            heat = f'<TD ALIGN="LEFT">{drawn}</TD>' if drawn else ""
            wide = "" if drawn else ' COLSPAN="2"'
            told = f'<TD ALIGN="LEFT" BALIGN="LEFT"{wide}>{cell}</TD>'
            rows.append(f"<TR>{head}{heat}{told}</TR>")
        return "".join(rows) + self.marks(card)

    def heat(self, numbers: Numbers) -> str:
        """Draw an array as coloured cells, 8 by 8 of it at most."""
        if not self.pictures or numbers.cells is None or numbers.lines[0][0] == "[":
            return ""  # where every number is told, colours tell nothing more
        cells, reach = numbers.cells, numbers.reach
        rows, columns = (min(size, _CELLS) for size in cells.shape)
        across = [_even(j, columns, cells.shape[1]) for j in range(columns)]
        body = []
        for i in range(rows):
            row = cells[_even(i, rows, cells.shape[0])]
            body.append(
                "<TR>"
                + "".join(
                    f'<TD FIXEDSIZE="TRUE" WIDTH="{_CELL}" HEIGHT="{_CELL}" '
                    f'BGCOLOR="{self.theme.of(row[j], reach)}"></TD>'
                    for j in across
                )
                + "</TR>"
            )
        return (
            f'<TABLE BORDER="1" COLOR="{self.theme.frame}" CELLBORDER="0" '
            f'CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE" '
            f'WIDTH="{columns * _CELL + 2}" HEIGHT="{rows * _CELL + 2}">'
            f"{''.join(body)}</TABLE>"
        )

    def marks(self, card: Card) -> str:
        return "".join(
            _row(self.text(f"⚠ {mark}", self.theme.warning, 8)) for mark in card.marks
        )

    def heading(self, card: Card) -> str:
        # The op is told once: not beside a name that was made of it, nor where the
        # formula shows it.
        name = f"<B>{_safe(card.name)}</B>"
        if not card.op:
            return f"{name}  {self.text(card.kind, self.theme.grey, 9)}"
        if not card.name.startswith(card.op) and card.name != card.formula:
            return f"{name}  {self.text(card.op, self.theme.grey, 9)}"
        return name

    def grad(self, card: Card, size: int) -> str:
        if card.constant:
            return self.text("constant", self.theme.grey, size - 1)
        if card.grad is None:
            return self.text("none", self.theme.grey, size - 1)
        return self.lines(card.grad, self.theme.red, size)

    def lines(self, numbers: Numbers, colour: str, size: int) -> str:
        return "<BR/>".join(self.text(line, colour, size) for line in numbers.lines)

    def text(self, text: str, colour: str, size: int) -> str:
        return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{_safe(text)}</FONT>'


def _holds(
    key: str, inner: dict[str | None, list[Group]], cards: dict[str | None, list[Card]]
) -> bool:
    """Whether a group has a card inside: what is folded away makes no box."""
    stack: list[str] = [key]
    while stack:
        key = stack.pop()
        if cards.get(key):
            return True
        stack += [group.key for group in inner.get(key, ())]
    return False


def _is_list(
    group: Group,
    inner: dict[str | None, list[Group]],
    cards: dict[str | None, list[Card]],
) -> bool:
    """Whether a layer is a list of numbered ones, whose titles say where they are."""
    within = inner.get(group.key, [])
    own = [card for card in cards.get(group.key, ()) if card.inside is None]
    numbered = [x.path.rpartition(".")[2].isdigit() for x in within]
    return not own and len(numbered) > 1 and all(numbered)


def _range_of_norms(arrows: Sequence[Arrow]) -> tuple[float, float]:
    norms = [
        math.log(arrow.share.norm)
        for arrow in arrows
        if arrow.share is not None and 0 < arrow.share.norm < math.inf
    ]
    return (min(norms), max(norms)) if norms else (0.0, 0.0)


def _even(i: int, count: int, size: int) -> int:
    """Return the i-th of ``count`` places at even distances."""
    return i * (size - 1) // (count - 1) if count > 1 else 0


def _row(cell: str) -> str:
    return f'<TR><TD COLSPAN="3">{cell}</TD></TR>'


def _shape(card: Card) -> str:
    shape = _sizes(card.shape) if card.shape else ""
    return f"{shape} {card.dtype}".strip()


def _sizes(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"({shape[0]},)"
    return f"({' × '.join(map(str, shape))})"  # noqa: RUF001 (a times sign)


def _safe(text: str) -> str:
    """Escape for an HTML-like label; a backslash is Graphviz's own escape as well."""
    escaped = html.escape(text).replace("\\", "&#92;")
    return escaped or " "  # an empty element is a syntax error
