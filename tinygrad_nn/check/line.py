"""Numeric slopes along one line, each with a bound of its own error.

Differences over steps that shrink fourfold are extrapolated to step 0 (Richardson,
Neville). A bound adds up what can be wrong with an estimate: the last corrections of
the extrapolation, the measured noise divided by the step, and half of the jump of the
one-sided slopes, because a kink that the steps have not resolved can bias a central
difference by that much and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["LEVELS", "Estimate", "Line"]

LEVELS = 18
_FIRST = 2.0**-5
_ORDERS = 5
_EPS = float(np.finfo(np.float64).eps)
_COARSE = 1e3 * _EPS

# Powers of the step that each column of a table removes: h^2, h^4, ... from a central
# difference; h, h^3, ... from the jump; h, h^2, ... from a one-sided difference.
_CENTRAL = [16.0**j for j in range(1, _ORDERS + 1)]
_JUMP = [4.0 ** (2 * j - 1) for j in range(1, _ORDERS + 1)]
_SIDE = [4.0**j for j in range(1, _ORDERS + 1)]


class Estimate(NamedTuple):
    """A slope, a bound of its error, and the levels of steps it was made from."""

    value: float
    bound: float
    first: int
    last: int


class Line:
    """The slope of ``cotangent · f`` along a line, estimated level by level.

    Parameters
    ----------
    along
        Outputs of ``f`` at a distance along the line, shape ``(outputs,)``; None where
        ``f`` is not finite.
    centre
        Outputs at distance 0.
    cotangent
        Weights of the outputs.
    noise
        Noise of each output.
    scale
        What the slope is expected to be at most: rounding of the inputs costs
        ``eps * scale`` in the value.

    Examples
    --------
    >>> one = np.ones(1)
    >>> line = Line(lambda t: np.exp(one * t), one, one, 1e-16 * one, 1.0)
    >>> all(line.extend() for _ in range(4))
    True
    >>> abs(line.estimates[-1].value - 1) < line.estimates[-1].bound < 1e-11
    True
    """

    def __init__(
        self,
        along: Callable[[float], np.ndarray | None],
        centre: np.ndarray,
        cotangent: np.ndarray,
        noise: np.ndarray,
        scale: float,
    ) -> None:
        self._along = along
        self._centre = centre
        self._cotangent = cotangent
        self._noise = cotangent * noise
        self._scale = scale
        # An output that does not move does not depend on the line, and adds no noise;
        # unless it is so coarse that it may just not have moved yet.
        self._moved = noise > _COARSE * np.abs(centre)
        self._stairs = np.zeros(centre.shape)
        self._level = 0
        self._central: list[list[float]] = []
        self._jump: list[list[float]] = []
        self._sides: tuple[list[list[float]], list[list[float]]] = ([], [])
        self.errors: list[float] = []
        self.estimates: list[Estimate] = []
        self.all_estimates: list[Estimate] = []

    @property
    def exhausted(self) -> bool:
        """Whether the smallest step was taken."""
        return self._level >= LEVELS

    @property
    def levels(self) -> int:
        """Number of steps that gave finite values."""
        return len(self._central)

    @property
    def spread(self) -> float:
        """How far the two one-sided slopes are apart at the largest step.

        The size of slopes a little beside the point: what a slope that is zero at the
        point itself, as at the bottom of a square, can be compared with.
        """
        return abs(self._jump[0][0]) if self._jump else 0.0

    def extend(self) -> bool:
        """Take the next smaller step; False where the function is not finite there."""
        h = _FIRST * 0.25**self._level
        self._level += 1
        plus = self._along(h)
        minus = None if plus is None else self._along(-h)
        if plus is None or minus is None:
            return False
        # Difference first and sum afterwards: outputs that do not depend on the line
        # cancel exactly, however large they are.
        difference = plus - minus
        self._moved |= (difference != 0) | (plus != self._centre)
        slope = float(self._cotangent @ difference) / (2 * h)
        right = float(self._cotangent @ (plus - self._centre)) / h
        left = float(self._cotangent @ (self._centre - minus)) / h
        moving = self._noise[self._moved]
        error = 3 * float(np.sqrt(moving @ moving)) / h
        error += 2 * _EPS * max(abs(slope), self._scale if moving.size else 0.0) / h
        # An output that moved and now stands still goes in stairs: it says nothing.
        standing = self._cotangent * np.where(difference == 0, self._stairs, 0.0)
        error += float(np.sqrt(standing @ standing))
        moves = np.abs(difference) / (2 * h)
        self._stairs = np.where(difference == 0, self._stairs, moves)
        self.errors.append(error)
        _append(self._central, slope, _CENTRAL)
        _append(self._jump, right - left, _JUMP)
        _append(self._sides[0], left, _SIDE)
        _append(self._sides[1], right, _SIDE)
        self._estimate(error)
        return True

    def _estimate(self, error: float) -> None:
        row, jumps = self._central[-1], self._jump[-1]
        last = len(self._central) - 1
        found = [
            Estimate(
                row[j],
                2 * _corrections(row, j) + 1.1 * error + 0.5 * abs(jumps[j]),
                last - j,
                last,
            )
            for j in range(1, len(row))
        ]
        self.all_estimates += found
        if found:
            self.estimates.append(min(found, key=_by_bound))

    def best(self) -> Estimate | None:
        """Return the estimate with the smallest bound, if there is one."""
        return min(self.estimates, key=_by_bound, default=None)

    def raw(self) -> tuple[float, float]:
        """Return the plain difference at the smallest step, and what it can be off."""
        jump = abs(self._jump[-1][0])
        return self._central[-1][0], 5 * self.errors[-1] + 0.5 * jump

    def sides(self) -> tuple[Estimate, Estimate]:
        """Slopes to the left and to the right of the point."""
        left, right = (self._side(table) for table in self._sides)
        return left, right

    def holds(self, claim: float, slack: float, jump: float) -> bool:
        """Whether a claim lies between the one-sided slopes at some one step.

        Steps whose noise is not small beside the ``jump`` of the slopes say nothing.
        """
        for left, right, error in zip(*self._sides, self.errors, strict=True):
            low, high = sorted((left[0], right[0]))
            off = slack + 1e-3 * abs(jump) + 2 * error
            if off <= slack + 0.05 * abs(jump) and low - off <= claim <= high + off:
                return True
        return False

    def _side(self, table: Sequence[Sequence[float]]) -> Estimate:
        found = [
            Estimate(
                row[j],
                2 * _corrections(row, j) + 2.2 * self.errors[i],
                i - j,
                i,
            )
            for i, row in enumerate(table)
            for j in range(1, len(row))
        ]
        return min(found, key=_by_bound, default=Estimate(0.0, np.inf, 0, 0))

    def kinked(self) -> bool:
        """Whether the slope differs on the two sides, beyond their bounds."""
        left, right = self.sides()
        return abs(right.value - left.value) > 5 * (left.bound + right.bound)


def _by_bound(estimate: Estimate) -> float:
    return estimate.bound


def _append(table: list[list[float]], value: float, factors: Sequence[float]) -> None:
    """Add a row to a Neville table."""
    row = [value]
    if table:
        for factor, older in zip(factors, table[-1], strict=False):
            row.append(row[-1] + (row[-1] - older) / (factor - 1))
    table.append(row)


def _corrections(row: Sequence[float], j: int) -> float:
    last = abs(row[j] - row[j - 1])
    return last if j < 2 else max(last, abs(row[j - 1] - row[j - 2]))
