"""A scene as a text tree, for terminals: the output first, its operands below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tinygrad_nn.drawing.scene import Card, Scene
from tinygrad_nn.drawing.values import Numbers

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
    lines = [scene.title] if scene.title else []
    told: set[str] = set()
    lines += _below(roots, cards, operands, told)
    # Layers that were called twice feed each other once they are folded.
    for key in reversed(cards):
        if key not in told:
            lines += _below([key], cards, operands, told)
    return "\n".join(lines)


def _below(
    roots: Sequence[str],
    cards: Mapping[str, Card],
    operands: Mapping[str, Sequence[str]],
    told: set[str],
) -> Iterator[str]:
    """Yield the lines of some cards and of all that they were computed from."""
    # (key, what stands before it, what stands before its operands), newest last
    stack = [(key, "", "") for key in reversed(roots)]
    while stack:
        key, lead, below = stack.pop()
        again = key in told and bool(operands[key])
        told.add(key)
        yield lead + _line(cards[key]) + ("  (see above)" if again else "")
        if again:
            continue
        children = operands[key]
        for i in range(len(children) - 1, -1, -1):
            last = i == len(children) - 1
            branch = below + ("└─ " if last else "├─ ")
            stack.append((children[i], branch, below + ("   " if last else "│  ")))


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
