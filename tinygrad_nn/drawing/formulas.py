r"""An op's formula as a line of plain text: ``\frac{$x}{$y}`` becomes ``x / y``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from string import Template

__all__ = ["readable"]

_SYMBOLS = {
    r"\odot": "⊙",
    r"\top": "ᵀ",
    r"\sigma": "σ",
    r"\sum": "Σ",
    r"\prod": "Π",
    r"\sqrt": "√",
    r"\neq": "≠",
    r"\geq": "≥",
    r"\leq": "≤",
    r"\wedge": "∧",
    r"\vee": "∨",
    r"\neg": "¬",
    r"\cdot": "·",
    r"\times": "×",
    r"\,": " ",
}
_WORD = re.compile(r"\\([A-Za-z]+|,)")
_GROUP = r"\{([^{}]*)\}"
_RULES = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\\(?:mathrm|text|operatorname)" + _GROUP, r"\1"),
        (r"\\begin\{cases\}(.*?)&(.*?)\\\\(.*?)&.*?\\end\{cases\}", r"\1 if \2 else \3"),
        (r"_" + _GROUP, ""),  # the axis: told beside the formula
        (r"_\\?[A-Za-z]+", ""),
        (r"\\frac" + _GROUP + _GROUP, r"\1 / \2"),
        (r"\\sqrt" + _GROUP, r"√\1"),
        (r"\^\{\\top\}", "ᵀ"),
        (r"\^2", "²"),
        (r"\be\^" + _GROUP, r"exp(\1)"),
        (r"\^" + _GROUP, r"^\1"),
        (_GROUP, r"\1"),
    )
)


@cache
def _plain(formula: str) -> Template:
    """Undo LaTeX from the inside out; ``$x`` are kept, so names are never parsed."""
    text = formula
    before = None
    while before != text:
        before = text
        for pattern, plain in _RULES:
            text = pattern.sub(plain, text)
    text = _WORD.sub(lambda m: _SYMBOLS.get(m.group(), m.group(1)), text)
    return Template(re.sub(r"\s+", " ", text).strip())


def readable(formula: Template, names: Mapping[str, str]) -> str:
    r"""Return a formula in words and signs, with its operands' names filled in.

    >>> readable(Template(r"\frac{$x}{$y}"), {"x": "dA", "y": "m"})
    'dA / m'
    >>> readable(Template(r"\log \sum_{$axis} e^{$x}"), {"x": "Z", "axis": "1"})
    'log Σ exp(Z)'
    >>> readable(Template(r"$x^{\top}"), {"x": "W"})
    'Wᵀ'
    """
    return _plain(formula.template).safe_substitute(names)
