"""Planted bugs, and right gradients that are awkward to check.

Committed before the checker was tuned on them; no case was taken away since. `case`
says what a case is, `networks` and `operations` plant the bugs, `awkward` holds the
right ones, `generator` makes as many more of both as one likes.
"""

from __future__ import annotations

from corpus import awkward, networks, operations
from corpus.case import BUGS, RIGHT, Case, Chain, Problem

__all__ = [
    "BUGS",
    "RIGHT",
    "Case",
    "Chain",
    "Problem",
    "awkward",
    "networks",
    "operations",
]
