r"""Names and numbers as LaTeX: ``dZ2`` becomes ``dZ_{2}``, and nothing is injected."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import numpy as np

__all__ = ["latex_name", "latex_number", "text_number"]

_LONGEST = 60
_GREEK = tuple(
    x.strip()
    for x in """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho
    sigma tau upsilon phi chi psi omega""".replace("\n", " ").split(" ")
    if x.strip()
)
_LETTERS = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.replace('lambda', 'lamda')}"): name
    for name in _GREEK
}
_PLAIN = re.compile(r"(d?)([^\W\d_]+?)_?(\d*|_[^\W_]+)('*)", re.ASCII)
_ESCAPED = {
    "\\": r"\backslash ",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\hat{}",
    "~": r"\sim ",
    "<": r"\lt ",
    ">": r"\gt ",
}


def latex_name(name: str) -> str:
    r"""Return a name as LaTeX: letters and their index, or upright text.

    >>> latex_name("dZ2"), latex_name("A_prev"), latex_name("cost")
    ('dZ_{2}', 'A_{\\mathrm{prev}}', '\\mathrm{cost}')
    >>> latex_name("lambda"), latex_name("λ"), latex_name("x & y_1")
    ('\\lambda', '\\lambda', '\\text{x }\\&\\text{ y}\\_\\text{1}')
    """
    turned = name.endswith("ᵀ")
    if turned:
        return latex_name(name[:-1]) + r"^{\top}"
    found = _PLAIN.fullmatch(name)
    if found is None:
        whole = _LETTERS.get(name)
        return _upright(name) if whole is None else rf"\{whole}"
    d, letters, index, primes = found.groups()
    if d and not letters:
        d, letters = "", d
    if d and (len(letters) > 1 and not letters.isupper()) and letters not in _GREEK:
        d, letters = "", d + letters
    if letters in _GREEK:
        letters = rf"\{letters}"
    elif len(letters) > 1:
        letters = rf"\mathrm{{{letters}}}"
    if index:
        index = index.lstrip("_")
        index = index if index.isdigit() else rf"\mathrm{{{index}}}"
        index = f"_{{{index}}}"
    space = " " if d and letters[0] == "\\" else ""
    made = d + space + letters + index
    # A prime is an exponent: in a group of its own another one may follow.
    return f"{{{made}{primes}}}" if primes else made


def _upright(name: str) -> str:
    r"""Return any characters as text: what means something to LaTeX is escaped."""
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 20]}…{name[-19:]}"
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    parts = re.split(r"([\\{}$&#%_^~<>])", name)
    made = [_ESCAPED.get(x, rf"\text{{{x}}}") for x in parts if x]
    return "".join(made) or r"\text{ }"


def text_number(x: Any) -> str:
    """Return a number in a few digits, the same on every run.

    >>> text_number(2.0), text_number(1 / 3), text_number(-1e-12), text_number(True)
    ('2', '0.333333', '-1e-12', '1')
    """
    if isinstance(x, (bool, np.bool_)):
        return str(int(x))
    if isinstance(x, (int, np.integer)):
        return str(int(x)) if abs(int(x)) < 10**9 else f"{int(x):.6g}"
    value = float(x)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:.6g}"
    found = re.fullmatch(r"(.*)e([+-])0*(\d+)", text)
    if found is not None:
        sign = "-" if found[2] == "-" else ""
        text = f"{found[1]}e{sign}{found[3]}"
    return "0" if text == "-0" else text


def latex_number(x: Any) -> str:
    r"""Return a number as LaTeX.

    >>> latex_number(0.5), latex_number(1e-7), latex_number(float("nan"))
    ('0.5', '10^{-7}', '\\mathrm{nan}')
    """
    text = text_number(x)
    if text == "nan":
        return r"\mathrm{nan}"
    text = text.replace("∞", r"\infty")
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    power = f"10^{{{exponent}}}"
    if mantissa in ("1", "-1"):
        return mantissa[:-1] + power
    return rf"{mantissa} \cdot {power}"
