"""Judging one claimed slope against the numbers along one line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygrad_nn.check.line import Estimate, Line

__all__ = ["NOT_A_MISTAKE", "Outcome", "judge"]

NOT_A_MISTAKE = 1e-6
"""A relative difference this small, in one element, is not called a mistake."""

_SURE = 5.0
_KINK_LEVELS = 8
_FLAT = 1e-8
_PATIENCE = 2


class Outcome(NamedTuple):
    """What the numbers say about a claim.

    ``kind`` is one of

    * ``"pass"``: agrees, to a bound that is as small as was asked for;
    * ``"limited"``: agrees, to a bound that the noise of the function does not allow
      to be smaller;
    * ``"reject"``: disagrees, beyond any doubt of the estimates;
    * ``"kink"``: slopes differ on the two sides, and the claim lies between them;
    * ``"outside"``: slopes differ on the two sides, and the claim does not lie between;
    * ``"unclear"``: the numbers allow no statement as sharp as was asked for.

    ``beyond`` is true of a rejection by more than `NOT_A_MISTAKE` of all that the claim
    is summed from: then at least one element of the gradient is wrong by that much.
    """

    kind: str
    value: float
    bound: float
    jump: float = 0.0
    beyond: bool = False


def judge(
    line: Line,
    claim: float,
    slack: float,
    target: float,
    *,
    enough: float = 0.0,
    size: float = np.inf,
) -> Outcome:
    """Compare a claimed slope with estimates from ever smaller steps.

    Parameters
    ----------
    line
        A fresh line.
    claim
        The slope that is claimed.
    slack
        What the claim may be off by its own rounding.
    target
        The bound at which agreement is good enough to stop.
    enough
        The bound at which agreement is accepted where smaller steps, which were tried,
        make it no smaller: what is off by less than this is still found where the
        function is sharp.
    size
        Of the claimed gradient. Where it is nothing beside the slopes a little further
        on, as at an optimum, a bound that is nothing beside them will do.

    Examples
    --------
    >>> one = np.ones(1)
    >>> def fresh():
    ...     return Line(lambda t: np.exp(one * t), one, one, 1e-16 * one, 1.0)
    >>> judge(fresh(), 1.0, 0.0, 1e-8).kind, judge(fresh(), 1.0001, 0.0, 1e-8).kind
    ('pass', 'reject')
    """
    while not line.exhausted:
        if not line.extend() or not line.estimates:
            continue
        newest = line.estimates[-1]
        agrees = abs(claim - newest.value) <= newest.bound + slack
        flat = max(newest.bound, size) <= _FLAT * line.spread
        if agrees and (flat or newest.bound <= target):
            return Outcome("pass", newest.value, newest.bound)
        best = line.best() or newest
        noisy = newest.bound <= 2 * line.errors[-1]
        spent = noisy or newest.last - best.last >= _PATIENCE
        if agrees and spent and _accepted(best, claim, slack, enough):
            return Outcome("pass", best.value, best.bound)
        if agrees and noisy and line.levels <= 4:
            return Outcome("limited", newest.value, newest.bound)
        if _rejected(line, claim, slack):
            return Outcome("reject", best.value, best.bound)
        if line.levels >= _KINK_LEVELS and line.kinked():
            between = _between(line, claim, slack)
            if between is not None and (between.kind == "kink" or line.exhausted):
                return between
    return _undecided(line, claim, slack, enough)


def _accepted(best: Estimate, claim: float, slack: float, enough: float) -> bool:
    return best.bound <= enough and abs(claim - best.value) <= best.bound + slack


def _rejected(line: Line, claim: float, slack: float) -> bool:
    """Whether the claim is wrong: never said on the strength of a single estimate.

    The three best estimates reject it; the best is sharp; an estimate from smaller
    steps alone rejects it too and agrees with the best; and the plain difference at
    the smallest step does not contradict the best. Each clause removed a false alarm:
    aliasing of fast oscillations, plateaus of saturated functions, kinks close by.
    """
    ranked = sorted(line.estimates, key=_by_bound)[:3]
    if len(ranked) < 3:
        return False
    best = ranked[0]
    sharp = 1e-3 * max(abs(best.value), abs(claim))
    if best.bound > max(sharp, 0.02 * abs(claim - best.value)):
        return False
    if any(not _denies(estimate, claim, slack) for estimate in ranked):
        return False
    raw, off = line.raw()
    if abs(raw - best.value) > off + best.bound:
        return False
    return any(
        estimate.first > best.last
        and _denies(estimate, claim, slack)
        and abs(estimate.value - best.value) <= estimate.bound + best.bound
        for estimate in line.all_estimates
    )


def _denies(estimate: Estimate, claim: float, slack: float) -> bool:
    return abs(claim - estimate.value) > _SURE * estimate.bound + slack


def _between(line: Line, claim: float, slack: float) -> Outcome | None:
    """Compare with the one-sided slopes."""
    left, right = line.sides()
    low, high = sorted((left.value, right.value))
    bound = left.bound + right.bound
    jump = right.value - left.value
    if bound > 1e-3 * abs(jump):
        return None
    middle = 0.5 * (low + high)
    if low - bound - slack <= claim <= high + bound + slack:
        return Outcome("kink", middle, 0.5 * abs(jump) + bound, jump)
    off = _SURE * bound + slack + 1e-3 * abs(jump)
    outside = not low - off <= claim <= high + off
    # A kink a very little beside the point is met at large steps and not at small ones:
    # what lies between the slopes of any step is not outside.
    outside = outside and not line.holds(claim, slack, jump)
    kind = "outside" if outside else "kink"
    return Outcome(kind, middle, 0.5 * abs(jump) + bound, jump)


def _undecided(line: Line, claim: float, slack: float, enough: float) -> Outcome:
    best = line.best()
    if best is None:
        return Outcome("unclear", np.nan, np.inf)
    if line.kinked():
        between = _between(line, claim, slack)
        if between is not None:
            return between
    kind = "pass" if _accepted(best, claim, slack, enough) else "unclear"
    return Outcome(kind, best.value, best.bound)


def _by_bound(estimate: Estimate) -> float:
    return estimate.bound
