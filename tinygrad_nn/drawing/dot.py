"""A scene as DOT, the language of Graphviz, written by the ``graphviz`` package."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import graphviz

from tinygrad_nn.drawing.scene import Card, Scene
from tinygrad_nn.drawing.values import shortened

__all__ = ["dot_of"]

_INK = "#1f2933"
_GREY = "#66717d"
_LINE = "#8a94a0"
_RED = "#b3261e"
_FONT = "Helvetica"

# Border and paper by kind. Pale papers and dark borders survive a black-and-white
# printer: the borders differ in weight too.
_COLOURS = {
    "parameter": ("#2e7d32", "#eaf5ea"),
    "input": ("#2e7d32", "#eaf5ea"),
    "data": ("#1565c0", "#e8f1fb"),
    "constant": ("#9aa3ad", "#f6f7f8"),
    "op": ("#5f4b8b", "#ffffff"),
    "output": ("#b8560b", "#fff3e4"),
    "more": ("#9aa3ad", "#ffffff"),
}


def dot_of(scene: Scene, direction: str, **attributes: str) -> str:
    """Write a scene as DOT, the same text for the same scene.

    Parameters
    ----------
    direction
        ``"LR"`` or ``"TB"``, as Graphviz has it.
    attributes
        More of the whole picture, for example ``dpi``.
    """
    picture = graphviz.Digraph("graph")
    picture.attr(
        rankdir=direction,
        bgcolor="white",
        fontname=_FONT,
        nodesep="0.18",
        ranksep="0.35",
        pad="0.15",
        **attributes,
    )
    picture.attr("node", shape="plain", fontname=_FONT, fontsize="10", fontcolor=_INK)
    picture.attr("edge", color=_LINE, arrowsize="0.6", penwidth="1.1")
    caption = _caption(scene)
    if caption:
        picture.attr(label=caption, labelloc="t", labeljust="l")
    _cluster(picture, scene, scene.cards, ())
    for arrow in scene.arrows:
        # A leaf stands in the rank of the op that takes it; the way of the data is
        # straight. Without either, layers make a staircase. In a circuit of numbers
        # the leaves are the data.
        if arrow.beside and not scene.scalar:
            picture.edge(arrow.start, arrow.end, minlen="0", weight="2")
        else:
            picture.edge(arrow.start, arrow.end, weight="10")
    source: str = picture.source
    return source


def _caption(scene: Scene) -> str:
    lines = []
    if scene.title:
        lines.append(
            f'<FONT POINT-SIZE="14"><B>{_safe(shortened(scene.title, 120))}</B></FONT>'
        )
    if scene.note:
        lines.append(f'<FONT POINT-SIZE="9" COLOR="{_GREY}">{_safe(scene.note)}</FONT>')
    return f"<{'<BR/>'.join(lines)}>" if lines else ""


def _cluster(
    picture: graphviz.Digraph,
    scene: Scene,
    cards: Iterable[Card],
    path: tuple[str, ...],
) -> None:
    """Add the cards of a layer, and of the layers inside it.

    Layers nest a few deep, so this recursion is over names and never over the graph.
    """
    inner: dict[str, list[Card]] = {}
    for card in cards:
        if len(card.scope) > len(path):
            inner.setdefault(card.scope[len(path)], []).append(card)
        else:
            picture.node(card.key, label=f"<{_table(card, scene.scalar)}>")
    for name, members in inner.items():
        deeper = (*path, name)
        # Numbered by the first card inside, which is unique; names may hold anything.
        with picture.subgraph(name=f"cluster_{len(path)}_{members[0].key}") as layer:
            layer.attr(
                label=f"<<B>{_safe(shortened(name))}</B>>",
                style="rounded",
                color="#c3cad2",
                bgcolor="#fafbfc",
                fontsize="11",
                fontcolor=_GREY,
                margin="10",
            )
            _cluster(layer, scene, members, deeper)


def _table(card: Card, scalar: bool) -> str:
    if card.kind == "more":
        return f'<FONT COLOR="{_GREY}" POINT-SIZE="12">{_safe(card.name)}</FONT>'
    if card.kind == "constant":
        return _small(card)
    return _circuit(card) if scalar else _full(card)


def _opening(card: Card, padding: int, spacing: int = 0) -> str:
    border, paper = _COLOURS[card.kind]
    if card.bad:
        border = _RED
    width = 2 if card.kind == "output" or card.bad else 1
    return (
        f'<TABLE BORDER="{width}" CELLBORDER="0" CELLSPACING="{spacing}" '
        f'CELLPADDING="{padding}" COLOR="{border}" BGCOLOR="{paper}" STYLE="ROUNDED">'
    )


def _small(card: Card) -> str:
    """Lay out a constant: its name or number, and its shape."""
    rows = []
    if card.name:
        rows.append(f"<B>{_safe(card.name)}</B>")
    if card.shape:
        rows.append(_text(_shape(card), _GREY, 8))
    if not card.shape or not card.name:
        rows.append(_lines(card.value, _INK, 9))
    rows.append(_text("constant", _GREY, 7))
    body = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f"{_opening(card, 1, 2)}{body}</TABLE>"


def _circuit(card: Card) -> str:
    """Lay out a number as in a textbook's circuit: formula above ``value | grad``."""
    border, _ = _COLOURS[card.kind]
    value = f"{_text('value', _GREY, 8)} {_lines(card.value, _INK, 11)}"
    grad = f"{_text('grad', _GREY, 8)} {_grad(card, 11)}"
    value = f'<TD SIDES="TR" BORDER="1" COLOR="{border}">{value}</TD>'
    grad = f'<TD SIDES="T" BORDER="1" COLOR="{border}">{grad}</TD>'
    above = f'<TR><TD COLSPAN="2">{_heading(card)}{_beside(card)}</TD></TR>'
    return f"{_opening(card, 4)}{above}<TR>{value}{grad}</TR></TABLE>"


def _beside(card: Card) -> str:
    return f"  {_text('= ' + card.formula, _GREY, 10)}" if card.formula else ""


def _full(card: Card) -> str:
    """Lay out an array: heading, formula, shape, value and gradient, a row each."""
    border, _ = _COLOURS[card.kind]
    rows = [f'<TR><TD COLSPAN="2">{_heading(card)}</TD></TR>']
    if card.formula and card.formula != card.name:
        rows.append(f'<TR><TD COLSPAN="2">{_text(card.formula, border, 10)}</TD></TR>')
    shape = _shape(card)
    if shape:
        rows.append(f'<TR><TD COLSPAN="2">{_text(shape, _GREY, 9)}</TD></TR>')
    rows.append(_row("value", _lines(card.value, _INK, 9)))
    rows.append(_row("grad", _grad(card, 9)))
    return f"{_opening(card, 2, 2)}{''.join(rows)}</TABLE>"


def _row(title: str, cell: str) -> str:
    head = f'<TD ALIGN="RIGHT" VALIGN="TOP">{_text(title, _GREY, 8)}</TD>'
    return f'<TR>{head}<TD ALIGN="LEFT" BALIGN="LEFT">{cell}</TD></TR>'


def _heading(card: Card) -> str:
    # The op is told once: not beside a name that was made of it, nor where the
    # formula shows it.
    name = f"<B>{_safe(card.name)}</B>"
    if not card.op:
        return f"{name}  {_text(card.kind, _GREY, 9)}"
    if not card.name.startswith(card.op) and card.name != card.formula:
        return f"{name}  {_text(card.op, _GREY, 9)}"
    return name


def _grad(card: Card, size: int) -> str:
    if not card.grad:
        return _text("none", _GREY, size - 1)
    if card.grad == ("constant",):
        return _text("constant", _GREY, size - 1)
    return _lines(card.grad, _RED, size)


def _shape(card: Card) -> str:
    sizes = " \N{MULTIPLICATION SIGN} ".join(map(str, card.shape))
    if len(card.shape) == 1:
        sizes = f"{card.shape[0]},"
    shape = f"({sizes})" if card.shape else ""
    return f"{shape} {card.dtype}".strip()


def _lines(lines: Sequence[str], colour: str, size: int) -> str:
    return "<BR/>".join(_text(line, colour, size) for line in lines)


def _text(text: str, colour: str, size: int) -> str:
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{_safe(text)}</FONT>'


def _safe(text: str) -> str:
    """Escape for an HTML-like label; a backslash is Graphviz's own escape as well."""
    escaped = html.escape(text).replace("\\", "&#92;")
    return escaped or " "  # an empty element is a syntax error
