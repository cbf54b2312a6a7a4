"""Naming the mistake behind a wrong gradient, where it is one that people make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isclose, sqrt
from typing import NamedTuple

import numpy as np

__all__ = ["Evidence", "name_cause"]


class Evidence(NamedTuple):
    """A wrong gradient beside the numbers, element by element.

    ``known`` marks the elements whose number was computed; ``bound`` is its error.
    ``sizes`` are lengths of axes that a factor may come from.
    """

    claimed: np.ndarray
    numeric: np.ndarray
    bound: np.ndarray
    known: np.ndarray
    wrong: np.ndarray
    parameter: np.ndarray
    sizes: tuple[int, ...]


def name_cause(evidence: Evidence) -> str | None:
    """Say what was probably done wrong, or None where no simple mistake explains it.

    Examples
    --------
    >>> right = np.arange(1.0, 7.0).reshape(2, 3)
    >>> every = np.full(right.shape, True)
    >>> off = np.full(right.shape, 1e-12)
    >>> W = np.ones((2, 3))
    >>> name_cause(Evidence(-right, right, off, every, every, W, (2, 3)))
    'the sign: it is the negative of the gradient'
    >>> name_cause(Evidence(right * 3, right, off, every, every, W, (2, 3)))
    'a factor 3, the length of an axis: a sum where a mean belongs, or 1/3 is missing'
    """
    for look in _LOOKS:
        cause = look(evidence)
        if cause is not None:
            return cause
    return None


def _equal(evidence: Evidence, guess: np.ndarray) -> bool:
    """Whether a corrected claim agrees with every number, and not by being vague."""
    known = evidence.known
    numeric, bound = evidence.numeric[known], evidence.bound[known]
    size = np.abs(numeric).max(initial=0.0)
    # A guess explains nothing if what it corrects was already as close.
    off = float(np.abs(evidence.claimed[known] - numeric).max(initial=0.0))
    vague = np.minimum(1e-5 * np.abs(numeric), 0.1 * off)
    allowed = 3 * bound + vague + 1e-9 * size
    return bool(np.all(np.abs(guess[known] - numeric) <= allowed))


def _not_finite(evidence: Evidence) -> str | None:
    bad = np.count_nonzero(~np.isfinite(evidence.claimed))
    if not bad:
        return None
    return f"{bad} element{'s are' if bad > 1 else ' is'} nan or infinite"


def _zeros(evidence: Evidence) -> str | None:
    if not evidence.claimed.any():
        return "all zeros: nothing was propagated"
    return None


def _sign(evidence: Evidence) -> str | None:
    if _equal(evidence, -evidence.claimed):
        return "the sign: it is the negative of the gradient"
    return None


def _factor(evidence: Evidence) -> str | None:
    known = evidence.known & (np.abs(evidence.numeric) > 30 * evidence.bound)
    claimed, numeric = evidence.claimed[known], evidence.numeric[known]
    if numeric.size < min(2, evidence.claimed.size) or not numeric.any():
        return None
    factor = float(claimed @ numeric / (numeric @ numeric))
    if factor == 0 or not _equal(evidence, evidence.claimed / factor):
        return None
    for text, value in _factors(evidence.sizes):
        if isclose(abs(factor), value, rel_tol=1e-4):
            sign = "-" if factor < 0 else ""
            return f"a factor {sign}{text}"
    for value, over in ((factor, ""), (1 / factor, "1/")):
        whole = round(value)
        if 1 < abs(whole) < 10**7 and isclose(value, whole, rel_tol=1e-5):
            sign = "-" if whole < 0 else ""
            return (
                f"a factor {sign}{over}{abs(whole)}, a whole number: the number of "
                "examples?"
            )
    if abs(factor - 1) < 1e-3:
        return f"a factor 1 {'-' if factor < 1 else '+'} {abs(factor - 1):.2g}"
    return f"a factor {factor:.6g}"


def _factors(sizes: Iterable[int]) -> list[tuple[str, float]]:
    """Factors that have a meaning, the likeliest first."""
    found = [
        ("2: counted twice", 2.0),
        ("1/2: the 2 of a square's derivative is missing", 0.5),
    ]
    lengths = sorted({n for n in sizes if n > 2})
    for n in lengths:
        belongs = f"the length of an axis: a sum where a mean belongs, or 1/{n} is"
        found.append((f"{n}, {belongs} missing", float(n)))
        over = "the length of an axis: a mean where a sum belongs, or divided by it"
        found.append((f"1/{n}, {over} once too often", 1 / n))
    for n in lengths:
        found.append((f"√{n}, the root of the length of an axis", sqrt(n)))
        found.append((f"1/√{n}, the root of the length of an axis", 1 / sqrt(n)))
    for i, n in enumerate(lengths):
        for k in lengths[i:]:
            found.append((f"{n * k} = {n}·{k}, lengths of axes", float(n * k)))
            found.append((f"1/{n * k} = 1/({n}·{k}), lengths of axes", 1 / (n * k)))
    return found


def _transposed(evidence: Evidence) -> str | None:
    x = evidence.claimed
    if x.ndim >= 2 and x.shape[-1] == x.shape[-2]:
        turned = np.swapaxes(x, -1, -2)
        if _equal(evidence, turned):
            return "transposed: take .T"
    return None


def _regulariser(evidence: Evidence) -> str | None:
    known = evidence.known
    missing = evidence.numeric[known] - evidence.claimed[known]
    x = evidence.parameter[known]
    for text, basis in (("parameter", x), ("sign(parameter)", np.sign(x))):
        length = float(basis @ basis)
        if basis.size < 3 or length == 0:
            continue
        k = float(basis @ missing) / length
        corrected = evidence.claimed.copy()
        corrected[known] += k * basis
        rest = np.abs(missing - k * basis)
        sharp = rest <= 3 * evidence.bound[known] + 1e-4 * np.abs(k * basis)
        if k != 0 and sharp.all() and _equal(evidence, corrected):
            what = "a term is missing" if k > 0 else "a term is too much"
            return f"{what}: {abs(k):.4g} · {text} (a regulariser?)"
    return None


def _constant(evidence: Evidence) -> str | None:
    known = evidence.known
    missing = evidence.claimed[known] - evidence.numeric[known]
    if missing.size < 3:
        return None
    k = float(missing.mean())
    rest = np.abs(missing - k)
    if k != 0 and np.all(rest <= 3 * evidence.bound[known] + 1e-4 * abs(k)):
        return f"a constant {k:.4g} is added to every element"
    return None


def _rearranged(evidence: Evidence) -> str | None:
    if not evidence.known.all() or evidence.claimed.size < 3:
        return None
    numeric, claimed = evidence.numeric, evidence.claimed
    for axis in range(claimed.ndim):
        if claimed.shape[axis] > 1 and _equal(evidence, np.flip(claimed, axis)):
            return f"reversed along axis {axis}"
        for step in (1, -1):
            if claimed.shape[axis] > 2 and _equal(
                evidence, np.roll(claimed, step, axis)
            ):
                return f"shifted by one along axis {axis}"
    if np.allclose(np.sort(claimed, axis=None), np.sort(numeric, axis=None), 1e-6, 0):
        return "the right numbers in another order: a reshape for a transpose?"
    return None


def _part(evidence: Evidence) -> str | None:
    """Only some elements are wrong: one, a row, a column."""
    wrong, claimed = evidence.wrong, evidence.claimed
    if not evidence.known.all() or wrong.all() or not wrong.any():
        return None
    empty = "; it is zero there" if not claimed[wrong].any() else ""
    places = np.argwhere(wrong)
    if len(places) == 1:
        if claimed.size < 3:
            return None
        return f"one element alone is wrong{empty}"
    for axis in range(claimed.ndim):
        here = np.unique(places[:, axis])
        if claimed.ndim > 1 and len(here) == 1 < claimed.shape[axis]:
            word = (
                ("row", "column")[axis] if claimed.ndim == 2 else f"axis-{axis} slice"
            )
            place = int(here[0])
            last = " (the last)" if place == claimed.shape[axis] - 1 else ""
            return f"{word} {place}{last} alone is wrong{empty}"
    if empty:
        return f"{len(places)} elements are zero that should not be"
    return None


_LOOKS: tuple[Callable[[Evidence], str | None], ...] = (
    _not_finite,
    _zeros,
    _sign,
    _transposed,
    _factor,
    _constant,
    _regulariser,
    _rearranged,
    _part,
)
