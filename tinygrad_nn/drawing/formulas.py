r"""An op's formula as a line of plain text: ``\frac{$x}{$y}`` becomes ``x / y``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from string import Template

__all__ = ["readable"]

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SYMBOLS = {
    r"\odot": "⊙",
    r"\top": "ᵀ",
    r"\sigma": "\N{GREEK SMALL LETTER SIGMA}",
    r"\sum": "Σ",
    r"\prod": "Π",
    r"\sqrt": "√",
    r"\neq": "≠",
    r"\geq": "≥",
    r"\leq": "≤",
    r"\wedge": "∧",
    r"\vee": "\N{LOGICAL OR}",
    r"\cdot": "·",
    r"\times": "\N{MULTIPLICATION SIGN}",
    r"\,": " ",
}
_WORD = re.compile(r"\\([A-Za-z]+|,)")
_GROUP = r"\{([^{}]*)\}"
_RULES = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\\(?:mathrm|text|operatorname)" + _GROUP, r"\1"),
        (
            r"\\begin\{cases\}(.*?)&(.*?)\\\\(.*?)&.*?\\end\{cases\}",
            r"\1 if \2 else \3",
        ),
        (r"_" + _GROUP, ""),  # the axis: told beside the formula
        (r"_\\?[A-Za-z]+", ""),
        (r"\\frac" + _GROUP + _GROUP, r"\1 / \2"),
        (r"\\sqrt" + _GROUP, r"√(\1)"),
        (r"\^\{\\top\}", "ᵀ"),
        (r"\\neg ", "¬"),
        (r"\^2", "²"),
        (r"(\$x)\\, (\$y)$", r"\1 @ \2"),
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
    text = re.sub(r"\s+", " ", text).strip()
    # tanh x is clear for a letter, and unclear for a longer name.
    text = re.sub(r"(?<![$\w])(?!if |else )([A-Za-zΣΠ]+) (\$\w+)$", r"\1(\2)", text)
    return Template(re.sub(r"(\$\w+) (\$\w+)$", r"\1 · \2", text))


def readable(formula: Template, names: Mapping[str, str]) -> str:
    r"""Return a formula in words and signs, with its operands' names filled in.

    >>> readable(Template(r"\frac{$x}{$y}"), {"x": "dA", "y": "m"})
    'dA / m'
    >>> readable(Template(r"\log \sum_{$axis} e^{$x}"), {"x": "Z", "axis": "1"})
    'log Σ exp(Z)'
    >>> readable(Template(r"$x^{\top}"), {"x": "W"})
    'Wᵀ'
    """
    text = _plain(formula.template).safe_substitute(names)
    return re.sub(r"\^(\d)$", lambda m: m.group(1).translate(_RAISED), text)
