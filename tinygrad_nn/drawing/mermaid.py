"""A scene as Mermaid, the diagrams that GitHub and many wikis draw from text."""

from __future__ import annotations

import json
from collections.abc import Collection

from tinygrad_nn.drawing.colours import THEMES
from tinygrad_nn.drawing.layers import Group
from tinygrad_nn.drawing.scene import Card, Scene
from tinygrad_nn.drawing.values import Numbers, number

__all__ = ["mermaid_of"]

# In a quoted label Mermaid knows entities by #name; or #number; and passes HTML on.
_SIGNS = {"#", '"', "&", "<", ">", "\\", "`", "*", "_", "~", "$", "{", "}", "[", "]"}


def mermaid_of(scene: Scene, direction: str, theme: str, show: Collection[str]) -> str:
    """Write a scene as a flowchart, the same text for the same scene.

    Parameters
    ----------
    scene
        Folded, where it is to be.
    direction, theme, show
        As `dot_of` takes them.
    """
    lines = [f"flowchart {direction}"]
    if scene.title:
        # A text of JSON is one of YAML as well.
        title = json.dumps(scene.title, ensure_ascii=False)
        lines.insert(0, f"---\ntitle: {title}\n---")
    inner: dict[str | None, list[Group]] = {}
    cards: dict[str | None, list[Card]] = {}
    for each in scene.groups:
        inner.setdefault(each.parent, []).append(each)
    for card in scene.cards:
        cards.setdefault(card.group, []).append(card)
    # (group, how deep); a group is closed by a line of its own
    stack: list[tuple[Group | None, str, bool]] = [(None, "  ", False)]
    while stack:
        group, lead, closing = stack.pop()
        key = None if group is None else group.key
        if closing:
            lines.append(f"{lead}end")
            continue
        inside = lead
        if group is not None and group.kind == "layer" and cards.get(group.key):
            lines.append(f"{lead}subgraph {key} [{_quoted(group.title)}]")
            stack.append((group, lead, True))
            inside = f"{lead}  "
        lines += [
            f"{inside}{card.key}[{_label(card, show)}]:::{card.kind}"
            for card in cards.get(key, ())
        ]
        stack += [(g, inside, False) for g in reversed(inner.get(key, []))]
    for arrow in scene.arrows:
        told = ""
        if (
            arrow.local is not None
            and arrow.upstream is not None
            and "gradients" in show
        ):
            slope, above = number(arrow.local, 3), number(arrow.upstream, 3)
            told = f"|{_quoted(f'{slope} × {above}')}|"  # noqa: RUF001 (a times sign)
        lines.append(f"  {arrow.start} -->{told} {arrow.end}")
    colours = THEMES[theme]
    used = {card.kind for card in scene.cards}
    lines += [
        f"  classDef {kind} fill:{paper},stroke:{border},color:{colours.ink}"
        for kind, (border, paper) in colours.kinds.items()
        if kind in used
    ]
    return "\n".join(lines) + "\n"


def _label(card: Card, show: Collection[str]) -> str:
    if card.kind == "constant" and not card.name and card.value is not None:
        return f'"{_safe(_words(card.value))}"'
    rows = [card.name]
    if card.formula and card.formula != card.name and "formulas" in show:
        rows[0] += f" = {card.formula}"
    if card.inside is not None:
        rows.append(f"{card.inside.group.ops:,} ops")
        if card.inside.group.parameters:
            rows.append(f"{card.inside.group.parameters:,} parameters")
    if card.shape and "shapes" in show:
        rows.append(str(card.shape))
    if card.value is not None and "values" in show:
        rows.append(f"value {_words(card.value)}")
    if card.kind != "more" and "gradients" in show and card.told:
        slope = "none" if card.grad is None else _words(card.grad)
        rows.append("constant" if card.constant else f"grad {slope}")
    rows += [f"⚠ {mark}" for mark in card.marks]
    return '"' + "<br/>".join(map(_safe, rows)) + '"'


def _words(numbers: Numbers) -> str:
    return " ".join(numbers.lines)


def _quoted(text: str) -> str:
    return f'"{_safe(text)}"'


def _safe(text: str) -> str:
    r"""Write what Mermaid, Markdown or HTML might read as a sign by its number.

    >>> _safe('W["a"] <b>')
    'W#91;#34;a#34;#93; #60;b#62;'
    """
    return "".join(f"#{ord(c)};" if c in _SIGNS else c for c in text) or " "
