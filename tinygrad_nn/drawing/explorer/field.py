"""An array as the page shows it: a small map, a histogram and a few numbers."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

__all__ = ["field_of", "finite_json", "side_of"]

_LEVELS = 126  # of one sign; 127 and -127 are the infinities, -128 is nan
_BARS = 24
_SAMPLE = 65_536
_FEW = 16
_CELLS = 260_000  # of all maps of a page together: what keeps the page small


def side_of(fields: int) -> int:
    """Return how many cells a map may have along each side, in a page of many.

    >>> side_of(20), side_of(1000), side_of(100_000)
    (32, 16, 4)
    """
    return int(min(32, max(4, (_CELLS / max(fields, 1)) ** 0.5)))


def finite_json(x: Any) -> float | int | str:
    """Return a number that JSON can hold, in five digits; nan and inf as words.

    >>> finite_json(1 / 3), finite_json(-np.inf), finite_json(np.nan), finite_json(2.0)
    (0.33333, '-inf', 'nan', 2)
    """
    number = float(x)
    if not np.isfinite(number):
        return str(number)
    short = float(f"{number:.5g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def field_of(value: Any, side: int) -> dict[str, Any]:
    """Return the statistics of an array, and a sampled map of it.

    Range, mean, norm and counts are of all elements; the map and the histogram of a
    regular sample, so ten million numbers take no more room than a thousand.

    Parameters
    ----------
    side
        The map has at most ``side`` cells each way.

    Returns
    -------
    dict
        ``n`` elements, of which ``zero``, ``nan`` and ``inf`` (each only if any);
        ``lo hi mean std norm`` of the finite ones; ``rows cols map``: signed bytes in
        base64, of which 126 is ``top``; ``bars`` of the histogram; ``x``, the numbers
        themselves, where they are few.

    Examples
    --------
    >>> field = field_of(np.array([[3.0, -4.0], [0.0, np.nan]]), 32)
    >>> field["lo"], field["hi"], field["norm"], field["nan"], field["x"]
    (-4, 3, 5, 1, [3, -4, 0, 'nan'])
    >>> np.frombuffer(base64.b64decode(field["map"]), np.int8)
    array([  94, -126,    0, -128], dtype=int8)
    """
    array = np.asarray(value)
    told: dict[str, Any] = {"n": int(array.size)}
    if not array.size:
        return told
    if array.dtype.kind == "b":
        told["true"] = int(np.count_nonzero(array))
        told["bool"] = True
    if array.size <= _FEW:
        told["x"] = [finite_json(x) for x in array.ravel()]
    with np.errstate(all="ignore"):
        told.update(_statistics(array))
        table = _table(array, side)
        finite = np.isfinite(table)
        top = float(np.abs(table[finite]).max()) if finite.any() else 0.0
        # Halves, because the greatest double has no double of twice its size.
        scaled = (table / 2) / (top / 2) if top else np.zeros(table.shape)
        cells = np.rint(np.where(finite, scaled, 0) * _LEVELS)
        cells[~finite & (table > 0)] = 127
        cells[~finite & (table < 0)] = -127
        cells[np.isnan(table)] = -128
        told["bars"] = _bars(array, told)
    told["rows"], told["cols"] = cells.shape
    told["top"] = finite_json(top)
    told["map"] = base64.b64encode(cells.astype(np.int8).tobytes()).decode("ascii")
    return told


def _statistics(array: np.ndarray) -> dict[str, Any]:
    told: dict[str, Any] = {}
    whole = np.isfinite(array) if array.dtype.kind == "f" else None
    finite = array if whole is None or whole.all() else array[whole]
    zeros = array.size - int(np.count_nonzero(array))
    if zeros:
        told["zero"] = zeros
    if finite.size < array.size:
        nans = int(np.count_nonzero(np.isnan(array)))
        others = array.size - finite.size - nans
        told.update({k: n for k, n in (("nan", nans), ("inf", others)) if n})
    if finite.size:
        low, high = finite.min(), finite.max()
        told["lo"], told["hi"] = finite_json(low), finite_json(high)
        # A scale of its own: squares and sums of extremes would overflow.
        scale = max(abs(float(low)), abs(float(high))) or 1.0
        scaled = finite.astype(np.float64).ravel() / scale
        mean = float(scaled.mean())
        told["mean"] = finite_json(mean * scale)
        told["std"] = finite_json(float(np.sqrt(((scaled - mean) ** 2).mean())) * scale)
        told["norm"] = finite_json(float(np.sqrt(scaled @ scaled)) * scale)
    return told


def _table(array: np.ndarray, side: int) -> np.ndarray:
    """Return rows and columns of a regular sample: the last axis runs to the right."""
    if array.ndim < 2:
        table = array.reshape(1, -1)
        columns = 2 * side
    else:
        table = array.reshape(-1, array.shape[-1])
        columns = side
    rows = _picked(table.shape[0], side)
    picked = table[np.ix_(rows, _picked(table.shape[1], columns))]
    return np.asarray(picked, np.float64)


def _picked(size: int, most: int) -> np.ndarray:
    if size <= most:
        return np.arange(size)
    return ((np.arange(most) + 0.5) * size / most).astype(np.int64)


def _bars(array: np.ndarray, told: dict[str, Any]) -> list[int]:
    """Return heights of a histogram from ``lo`` to ``hi``, the highest of which is 99.

    A few numbers, or one number many times, have none.
    """
    if array.size <= _FEW or "lo" not in told or told["lo"] == told["hi"]:
        return []
    flat = array.reshape(-1)
    sample = flat[:: max(1, array.size // _SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    low, high = float(told["lo"]), float(told["hi"])
    share = np.clip((sample / 2 - low / 2) / (high / 2 - low / 2), 0, 1)
    places = np.minimum((share * _BARS).astype(np.int64), _BARS - 1)
    counts = np.bincount(places, minlength=_BARS)
    heights = np.ceil(99 * counts / max(1, counts.max()))
    return [int(height) for height in heights]
