"""How much a function's values jitter by rounding: measured, not assumed.

The difference table of a smooth function at tiny, equal steps shrinks with every
order; what does not shrink is noise. Moré and Wild, "Estimating computational noise",
SIAM J. Sci. Comput. 33 (2011).
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, sqrt

import numpy as np

__all__ = ["POINTS", "from_table", "measure", "stairs"]

POINTS = 9
"""Values in one difference table: the centre and eight neighbours on one side.

One side only: a kink exactly at the centre, as with relu at 0, is then not met.
"""

_EPS = float(np.finfo(np.float64).eps)
_SPACING = 2.0**14 * _EPS
_WIDER = 2.0**10
_TRIES = 4


def from_table(values: np.ndarray) -> np.ndarray:
    """Noise of each output: the standard deviation of its rounding errors.

    Parameters
    ----------
    values
        Shape ``(POINTS, outputs)``: the outputs at equal, tiny steps.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> line = np.linspace(0.0, 1e-6, POINTS)[:, None]
    >>> noise = from_table(line + 1e-9 * rng.standard_normal((POINTS, 1000)))
    >>> bool(0.8e-9 < noise.mean() < 1.2e-9)
    True
    """
    sizes = []
    differences = values
    for order in range(1, 6):
        differences = differences[1:] - differences[:-1]
        if order >= 3:
            scale = sqrt(factorial(order) ** 2 / factorial(2 * order))
            sizes.append(scale * np.sqrt(np.mean(differences**2, axis=0)))
    # Eight differences are few: the largest of the three orders errs on the safe side.
    noise: np.ndarray = np.max(sizes, axis=0)
    return noise


def measure(
    along: Callable[[float], np.ndarray | None], centre: np.ndarray
) -> np.ndarray:
    """Noise of each output of a function near a point.

    Parameters
    ----------
    along
        Outputs at a distance, relative to the size of the inputs, in some direction;
        None where the function is not finite.
    centre
        The outputs at distance 0, of shape ``(outputs,)``.

    Returns
    -------
    numpy.ndarray
        Shape ``(outputs,)``; at least one rounding of each output.

    Notes
    -----
    Outputs that stand still or move in a few large stairs were computed in a coarser
    type than float64 somewhere inside: then the steps are widened.
    """
    least: np.ndarray = _EPS * np.abs(centre)
    spacing = _SPACING
    noise: np.ndarray = least
    for _ in range(_TRIES):
        rows = [centre]
        for i in range(1, POINTS):
            row = along(i * spacing)
            if row is not None:
                rows.append(row)
        if len(rows) < POINTS:
            noise = np.maximum(noise, 4 * least)
            break
        table = np.array(rows)
        noise = np.maximum(from_table(table), least)
        ordered = np.sort(table, axis=0)
        steps = np.count_nonzero(ordered[1:] != ordered[:-1], axis=0)
        moving = steps > 0
        if moving.any() and np.mean(steps[moving] == POINTS - 1) >= 0.3:
            break
        spacing *= _WIDER
    return noise


def stairs(
    along: Callable[[float], np.ndarray | None], centre: np.ndarray
) -> np.ndarray:
    """Height of the stairs in which each output goes; 0 where it goes smoothly.

    Equal steps can fall in with the grid of a coarser type and then see no noise at
    all. This looks for the smallest step that moves an output, from below.

    Examples
    --------
    >>> def coarse(t):
    ...     return np.array([np.float32(0.5 + t), 0.5 + t], float)
    >>> stairs(coarse, np.array([0.5, 0.5])) > 1e-9
    array([ True, False])
    """
    height = np.zeros(centre.shape)
    still = np.ones(centre.shape, bool)
    for exponent in range(-39, -3, 3):
        value = along(2.0**exponent)
        if value is None:
            break
        moved = still & (value != centre)
        height[moved] = np.abs(value - centre)[moved]
        still &= ~moved
        if exponent == -39:
            height[moved] = 0.0
        if not still.any():
            break
    return height
