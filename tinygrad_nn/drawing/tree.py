"""A scene as a text tree, for terminals: the output first, its operands below it."""

from __future__ import annotations

from tinygrad_nn.drawing.scene import Card, Scene
from tinygrad_nn.drawing.values import Numbers, shortened

__all__ = ["tree_of"]


def tree_of(scene: Scene) -> str:
    """Write a scene as an indented tree; what is used twice is told once."""
    cards = {card.key: card for card in scene.cards}
    operands: dict[str, list[str]] = {key: [] for key in cards}
    taken = set()
    for arrow in scene.arrows:
        operands[arrow.end].append(arrow.start)
        taken.add(arrow.start)
    roots = [key for key in cards if key not in taken]
    # Layers that were called twice may feed each other once they are folded.
    roots = roots or [key for key, card in cards.items() if card.kind == "output"]
    lines = [shortened(scene.title, 120)] if scene.title else []
    told: set[str] = set()
    # (key, what stands before it, what stands before its operands), newest last
    stack = [(key, "", "") for key in reversed(roots)]
    while stack:
        key, lead, below = stack.pop()
        card = cards[key]
        again = key in told and bool(operands[key])
        told.add(key)
        lines.append(lead + _line(card) + ("  (see above)" if again else ""))
        if again:
            continue
        children = operands[key]
        for i in range(len(children) - 1, -1, -1):
            last = i == len(children) - 1
            stack.append(
                (
                    children[i],
                    below + ("└─ " if last else "├─ "),
                    below + ("   " if last else "│  "),
                )
            )
    return "\n".join(lines)


def _line(card: Card) -> str:
    if card.kind == "more":
        return card.name
    value = _words(card.value)
    shape = f" {card.shape}" if card.shape else ""
    dtype = f" {card.dtype}" if card.dtype else ""
    formula = f" = {card.formula}" if card.formula not in ("", card.name) else ""
    name = card.name or "constant"
    marks = f"  ({'; '.join(card.marks)})" if card.marks else ""
    if card.inside is not None:
        count = card.inside.group.parameters
        learnt = f" {count:,} parameters" if count else ""
        formula = f" [{card.inside.group.ops:,} ops{learnt}]"
    if card.constant:
        word = "" if card.kind == "constant" and not card.name else " (constant)"
        return f"{name}{formula}{word}{shape}{dtype}: {value}{marks}"
    grad = _words(card.grad) or "none"
    return f"{name}{formula}{shape}{dtype}: {value} | grad {grad}{marks}"


def _words(numbers: Numbers | None) -> str:
    return "" if numbers is None else " ".join(numbers.lines)
