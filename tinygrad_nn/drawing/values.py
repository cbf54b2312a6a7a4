"""Numbers and names as a card shows them: short, and the same on every run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "CELLS",
    "Numbers",
    "index_text",
    "number",
    "numbers_of",
    "shortened",
    "summary",
]

CELLS = 16
"""Rows and columns of which a heat map has at most so many."""

_BINS = 16
_ROUNDING = 1e-12
_FEW = 6
_LONGEST = 40


class Numbers(NamedTuple):
    """What is told of an array: a few words and a small picture, never all of it.

    Attributes
    ----------
    lines
        Its numbers where they are few, else range and mean.
    cells
        Heat map, (rows, columns), each at most `CELLS`: the array itself where it is
        small, else elements at even distances. Of more than two axes, the last one is
        that of the columns. None for a single number, and for an empty array.
    low, high, mean, std, norm
        Of the finite elements; nan where there are none.
    counts
        Histogram of the finite elements between low and high; empty for one value.
    zeros, nans, infs
        How many elements are so.
    size
        How many there are.
    """

    lines: tuple[str, ...]
    cells: np.ndarray | None
    low: float
    high: float
    mean: float
    std: float
    norm: float
    counts: tuple[int, ...]
    zeros: int
    nans: int
    infs: int
    size: int

    @property
    def bad(self) -> bool:
        """Whether there is a nan or an infinity in it."""
        return bool(self.nans or self.infs)

    @property
    def reach(self) -> float:
        """Largest magnitude of a finite element: colours run from -reach to reach."""
        return (
            max(abs(self.low), abs(self.high))
            if self.size > self.nans + self.infs
            else 0.0
        )


def numbers_of(value: Any) -> Numbers:
    """Return what is told of an array; the array is read and not kept.

    >>> x = numbers_of(np.array([[3.0, -4.0], [0.0, np.nan]]))
    >>> x.norm, x.low, x.high, x.zeros, x.nans, x.bad
    (5.0, -4.0, 3.0, 1, 1, True)
    >>> numbers_of(np.ones((1000, 300))).cells.shape
    (16, 16)
    """
    array = np.asarray(value)
    flat = array.reshape(-1)
    finite = flat
    if flat.dtype.kind == "f":
        held = np.isfinite(flat)
        if not held.all():
            finite = flat[held]
    nan = float("nan")
    low = high = mean = std = norm = nan
    counts: tuple[int, ...] = ()
    zeros = 0
    if finite.size:
        numbers = finite.astype(np.float64)
        low, high = float(numbers.min()), float(numbers.max())
        # Squares and sums may overflow; they are computed of what is at most 1.
        reach = max(abs(low), abs(high)) or 1.0
        numbers /= reach
        middle = float(numbers.mean())
        mean = middle * reach
        square = float(numbers @ numbers)
        norm = square**0.5 * reach
        numbers -= middle
        std = (float(numbers @ numbers) / numbers.size) ** 0.5 * reach
        zeros = int(finite.size - np.count_nonzero(finite))
        if high > low:
            numbers += middle - low / reach
            numbers *= _BINS / (high / reach - low / reach)
            bins = np.minimum(numbers.astype(np.intp), _BINS - 1)
            counts = tuple(np.bincount(bins, minlength=_BINS).tolist())
    nans = int(np.count_nonzero(np.isnan(flat))) if finite.size < flat.size else 0
    return Numbers(
        tuple(summary(array)),
        _cells(array),
        low,
        high,
        mean,
        std,
        norm,
        counts,
        zeros,
        nans,
        flat.size - finite.size - nans,
        flat.size,
    )


def _cells(array: np.ndarray) -> np.ndarray | None:
    if array.ndim == 0 or array.size <= 1:
        return None
    table = array.reshape(-1, array.shape[-1]) if array.ndim != 2 else array
    for axis in (0, 1):
        if table.shape[axis] > CELLS:
            table = np.take(table, _even(table.shape[axis], CELLS), axis)
    return table.astype(np.float64)


def _even(size: int, count: int) -> np.ndarray:
    """Places at even distances, the first and the last among them."""
    return np.arange(count) * (size - 1) // (count - 1)


def number(x: Any, digits: int = 4) -> str:
    """Return one number in a few digits.

    >>> number(1 / 3), number(-0.0), number(12345678.0), number(True), number(7)
    ('0.3333', '0', '1.235e+07', 'True', '7')
    """
    if isinstance(x, (bool, np.bool_)):
        return str(bool(x))
    if isinstance(x, (int, np.integer)):
        return str(int(x)) if abs(int(x)) < 10**6 else f"{int(x):.4g}"
    text = f"{float(x):.{digits}g}"
    return "0" if text == "-0" else text


def summary(value: Any) -> list[str]:
    """Lines that tell what is in an array: its numbers where they are few.

    >>> summary(np.array([1.0, -2.5]))
    ['[1, -2.5]']
    >>> summary(np.arange(12.0).reshape(3, 4))
    ['0 … 11', 'mean 5.5']
    >>> summary(np.array([[1.0, np.nan]] * 4))
    ['all 1', '4 nan']
    >>> summary(np.zeros((0, 3)))
    ['empty']
    """
    array = np.asarray(value)
    if array.ndim == 0:
        return [number(array[()])]
    if not array.size:
        return ["empty"]
    if array.ndim <= 2 and array.size <= _FEW:
        rows = np.atleast_2d(array)
        lines = ["[" + ", ".join(number(x, 3) for x in row) + "]" for row in rows]
        if max(map(len, lines)) <= _LONGEST:
            return lines
    if array.dtype.kind == "b":
        return [f"{np.count_nonzero(array)} of {array.size} true"]
    lines = []
    finite = array if array.dtype.kind in "iu" else array[np.isfinite(array)]
    if finite.size:
        # A mean of extremes may overflow; it is computed of halves.
        mean = 2 * float(np.mean(finite.astype(np.float64) / 2))
        if abs(mean) < _ROUNDING * max(
            abs(float(finite.min())), abs(float(finite.max()))
        ):
            mean = 0.0  # a sum of rounding errors, another one on another machine
        low, high = number(finite.min(), 3), number(finite.max(), 3)
        lines = [f"{low} … {high}", f"mean {number(mean, 3)}"]
        if low == high:
            lines = [f"all {low}"]
    if finite.size < array.size:
        nans = int(np.count_nonzero(np.isnan(array)))
        others = array.size - finite.size - nans
        lines += [
            f"{count} {word}"
            for count, word in ((nans, "nan"), (others, "inf"))
            if count
        ]
    return lines


def index_text(index: Any) -> str:
    """Return what stands in the brackets of ``x[...]``, as its user wrote it.

    >>> index_text((slice(None), slice(2, None)))
    ':, 2:'
    >>> index_text((..., None, slice(None, None, -1), 3))
    '..., None, ::-1, 3'
    >>> index_text(np.arange(30)), index_text((np.arange(30) > 3, 0))
    ('int (30,)', 'mask (30,), 0')
    """
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(_part_of_index(part) for part in parts) or "()"


def _part_of_index(part: Any) -> str:
    if part is None:
        return "None"
    if part is Ellipsis:
        return "..."
    if isinstance(part, slice):
        start, stop = ("" if x is None else str(x) for x in (part.start, part.stop))
        step = "" if part.step is None else f":{part.step}"
        return f"{start}:{stop}{step}"
    array = np.asarray(part)
    if array.ndim == 0:
        return number(array[()])
    kind = "mask" if array.dtype.kind == "b" else "int"
    return f"{kind} {array.shape}"


def shortened(name: str, longest: int = _LONGEST) -> str:
    """Return a name that fits, without characters that no picture can hold.

    >>> shortened("W1"), shortened("a" * 10_000, 9)
    ('W1', 'aaaaa…aaa')
    """
    if len(name) > longest:
        tail = longest // 3
        name = f"{name[: longest - tail - 1]}…{name[-tail:]}"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
