"""Colours of pictures, for paper and for screens in the dark, and of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["THEMES", "Theme"]


class Theme(NamedTuple):
    """Colours of one picture.

    Attributes
    ----------
    kinds
        Border and paper of a card, by its kind.
    diverging
        From the most negative number to the most positive one, zero in the middle.
    nan, inf
        Of cells that hold no number; no colour of the map is like them.
    """

    background: str
    ink: str
    grey: str
    line: str
    red: str
    warning: str
    box: str
    box_line: str
    frame: str
    kinds: Mapping[str, tuple[str, str]]
    diverging: tuple[str, ...]
    nan: str
    inf: str

    def of(self, number: float, reach: float) -> str:
        """Return the colour of a number, where magnitudes go up to ``reach``.

        >>> light = THEMES["light"]
        >>> light.of(0.0, 1.0), light.of(2.0, 1.0) == light.diverging[-1]
        ('#f7f7f7', True)
        """
        if math.isnan(number):
            return self.nan
        if math.isinf(number):
            return self.inf
        last = len(self.diverging) - 1
        place = 0.5 if reach == 0 else (number / reach + 1) / 2
        return self.diverging[min(max(round(place * last), 0), last)]


# RdBu of ColorBrewer 2.0 (Cynthia Brewer, Apache licence), blue for negative numbers.
_RD_BU = (
    *("#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0"),
    "#f7f7f7",
    *("#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"),
)

# On dark paper zero is dark, and large is bright: berlin of Fabio Crameri's Scientific
# colour maps 8 (MIT licence), at even distances.
_BERLIN = (
    *("#9eb0ff", "#6ca9e6", "#3e90bc", "#286886", "#1a4256"),
    "#11212a",
    "#190c09",
    *("#310f00", "#501803", "#7d341e", "#a85a4a", "#d2837a", "#ffadad"),
)

# Pale papers and dark borders survive a black-and-white printer: the borders differ in
# weight too.
_LIGHT = Theme(
    background="#ffffff",
    ink="#1f2933",
    grey="#66717d",
    line="#8a94a0",
    red="#b3261e",
    warning="#9a5b00",
    box="#f6f8fa",
    box_line="#cfd6dd",
    frame="#b4bcc5",
    kinds={
        "parameter": ("#2e7d32", "#eaf5ea"),
        "input": ("#2e7d32", "#eaf5ea"),
        "data": ("#1565c0", "#e8f1fb"),
        "constant": ("#9aa3ad", "#f6f7f8"),
        "op": ("#5f4b8b", "#ffffff"),
        "output": ("#b8560b", "#fff3e4"),
        "layer": ("#5f4b8b", "#f1eef8"),
        "more": ("#9aa3ad", "#ffffff"),
    },
    diverging=_RD_BU,
    nan="#000000",
    inf="#ffd400",
)

_DARK = Theme(
    background="#14181d",
    ink="#e4e8ec",
    grey="#97a3af",
    line="#6f7b87",
    red="#ff9d8f",
    warning="#f3b94d",
    box="#1a2027",
    box_line="#36414c",
    frame="#4a5662",
    kinds={
        "parameter": ("#6fbf73", "#17281b"),
        "input": ("#6fbf73", "#17281b"),
        "data": ("#6aa9ee", "#16253a"),
        "constant": ("#6b7682", "#1c2229"),
        "op": ("#a994e0", "#1e232b"),
        "output": ("#eb9a52", "#33230f"),
        "layer": ("#a994e0", "#26213a"),
        "more": ("#6b7682", "#14181d"),
    },
    diverging=_BERLIN,
    nan="#ffffff",
    inf="#ffd400",
)

THEMES = {"light": _LIGHT, "dark": _DARK}
