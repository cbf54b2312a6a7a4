r"""An op's formula as a template of a style, and where in it parentheses are needed.

An op says its formula once, in LaTeX: ``\frac{$x}{$y}``. Here it becomes plain text,
``$x / $y``, and both are looked over: an operand within brackets can be anything, one
beside a sign needs parentheses where its own sign binds less.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from string import Template
from typing import NamedTuple

__all__ = ["Layout", "Level", "layout", "plain"]


class Level(IntEnum):
    """How strongly the outermost sign of an expression binds."""

    CHOICE = 0
    LOGIC = 1
    SUM = 2
    PRODUCT = 3
    JOINED = 4
    FUNCTION = 5
    POWER = 6
    ATOM = 7


class Layout(NamedTuple):
    """A formula to fill in: its text, how it binds, and what each operand must."""

    template: Template
    level: Level
    needs: Mapping[str, Level]


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
        (r"\$\{(\w+)\}", r"$\1"),
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
        (r"\be\^" + _GROUP, r"exp(\1)"),
        (r"\^" + _GROUP, r"^\1"),
        (_GROUP, r"\1"),
    )
)


@cache
def plain(formula: str) -> str:
    r"""Return a formula without LaTeX; ``$x`` stay, so names are never parsed.

    >>> plain(r"\frac{$x}{$y}"), plain(r"\log \sum_{$axis} e^{$x}")
    ('$x / $y', 'log Σ exp($x)')
    """
    text = formula
    before = None
    while before != text:
        before = text
        for pattern, instead in _RULES:
            text = pattern.sub(instead, text)
    text = _WORD.sub(lambda m: _SYMBOLS.get(m.group(), m.group(1)), text)
    text = re.sub(r"\s+", " ", text).strip()
    # tanh x is clear for a letter, and unclear for a longer name.
    return re.sub(r"(?<![$\w])(?!if |else )([A-Za-z]+) (\$\w+)$", r"\1(\2)", text)


_OPEN, _CLOSE = "([{", ")]}"
_PARTS = re.compile(
    r"""(?P<operand>\$\w+|\$\{\w+\})
    |(?P<choice>\bif\b|\belse\b)
    |(?P<apart>\\begin\{cases\}|\\end\{cases\}|\\\\|&|,)
    |(?P<logic>\\neq|\\geq|\\leq|\\wedge|\\vee|[<>=≠≥≤∧]|\N{LOGICAL OR})
    |(?P<sum>[+-])
    |(?P<product>\\odot|\\times|\\cdot|\\frac|⊙|/|·|\N{MULTIPLICATION SIGN})
    |(?P<joined>\\,)
    |(?P<raise>\^|²|³|ᵀ)
    |(?P<space>\s+)
    |(?P<open>\\left|[(\[{])
    |(?P<close>\\right|[)\]}])
    |(?P<bar>\|)
    |(?P<lower>_)
    |(?P<word>\\[A-Za-z]+|[^\W\d_]+|¬|Σ|Π|√)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<other>.)""",
    re.VERBOSE,
)


class _Part(NamedTuple):
    kind: str
    text: str
    depth: int


def _parts(text: str) -> list[_Part]:
    found = []
    depth = 0
    inside_bars = False
    for match in _PARTS.finditer(text):
        kind = str(match.lastgroup)
        if kind == "space" or match.group() in ("\\left", "\\right"):
            continue
        if kind == "bar":
            kind = "close" if inside_bars else "open"
            inside_bars = not inside_bars
        if kind == "apart" and match.group().startswith("\\begin"):
            kind = "open"
        if kind == "apart" and match.group().startswith("\\end"):
            kind = "close"
        depth -= kind == "close"
        found.append(_Part(kind, match.group(), depth))
        depth += kind == "open"
    return found


_LEVELS = {
    "choice": Level.CHOICE,
    "logic": Level.LOGIC,
    "sum": Level.SUM,
    "product": Level.PRODUCT,
    "joined": Level.JOINED,
    "raise": Level.POWER,
}


@cache
def layout(formula: str, style: str) -> Layout:
    r"""Return a formula as the template of a style, with what its operands need.

    >>> made = layout(r"\tanh $x", "text")
    >>> made.template.template, made.level.name
    ('tanh($x)', 'ATOM')
    >>> layout("$x - $y", "latex").needs
    {'x': <Level.SUM: 2>, 'y': <Level.PRODUCT: 3>}
    >>> layout("[$x > $y]", "text").template.template
    '$x > $y'
    """
    text = formula if style == "latex" else plain(formula)
    if (bracketed := re.fullmatch(r"\[(.*)\]", text)) is not None:
        # [x > y], a number, needs its brackets only where something is done to it.
        return layout(bracketed[1], style)
    parts = _parts(text)
    needs: dict[str, Level] = {}
    for i, part in enumerate(parts):
        if part.kind != "operand":
            continue
        name = part.text.strip("${}")
        needs[name] = max(needs.get(name, Level.CHOICE), _need(parts, i))
    if style == "latex":  # x_0 has an index already: {x_0}_j
        text = re.sub(r"(\$\w+|\$\{\w+\})(?=[_^])", r"{\1}", text)
    return Layout(Template(text), _level(parts), needs)


_BEFORE = {
    "logic": Level.SUM,
    "choice": Level.SUM,
    "sum": Level.PRODUCT,
    "product": Level.PRODUCT,
    "joined": Level.FUNCTION,
    "operand": Level.FUNCTION,
    "number": Level.FUNCTION,
    "raise": Level.ATOM,
    "word": Level.ATOM,
    # \sum_{axis} x: an argument after an index, or a factor after a bracket
    "close": Level.FUNCTION,
}
_AFTER = {
    "logic": Level.SUM,
    "choice": Level.SUM,
    "sum": Level.SUM,
    "product": Level.PRODUCT,
    "joined": Level.JOINED,
    "operand": Level.FUNCTION,
    "number": Level.FUNCTION,
    "word": Level.FUNCTION,
    "raise": Level.ATOM,
    "lower": Level.ATOM,
}


def _need(parts: list[_Part], i: int) -> Level:
    """Return how strongly an operand must bind at its place."""
    need = Level.CHOICE
    if i + 1 < len(parts):
        after = parts[i + 1]
        index = after.text == "["
        need = Level.ATOM if index else _AFTER.get(after.kind, need)
    if i:
        before = parts[i - 1]
        if before.text == "+":
            return max(need, Level.SUM)
        if before.text == "/":
            return max(need, Level.JOINED)
        need = max(need, _BEFORE.get(before.kind, Level.CHOICE))
    return need


def _level(parts: list[_Part]) -> Level:
    """Return how strongly what is outside of all brackets binds."""
    found = [_LEVELS[p.kind] for p in parts if p.depth == 0 and p.kind in _LEVELS]
    outside = [p for p in parts if p.depth == 0 and p.kind not in ("open", "close")]
    operands = [p for p in outside if p.kind == "operand"]
    words = [p for p in outside if p.kind == "word"]
    if len(operands) > 1 and not found:
        found.append(Level.JOINED)
    called = len(words) == 1 and not operands and len(outside) == 1
    if words and not (called and words[0].text[-1].isalpha()):
        found.append(Level.FUNCTION)
    if parts and parts[0].text.startswith("\\begin"):
        found.append(Level.CHOICE)
    return min(found, default=Level.ATOM)
