"""Object arrays of exact numbers, with the NumPy functions that objects lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["ExactArray"]


class ExactArray(np.ndarray):
    """An object array on which hand-written NumPy runs as it stands.

    NumPy has no loops over objects for a few functions, and a cast to a floating
    dtype would ask each number for its float. Here the first are spelled out, and the
    second does nothing.

    >>> from fractions import Fraction
    >>> x = np.array([Fraction(1, 3)], object).view(ExactArray)
    >>> np.isfinite(x), x.astype(np.float64)
    (array([ True]), ExactArray([Fraction(1, 3)], dtype=object))
    """

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        """Compute on plain object arrays; the result is of this class again."""
        plain = [_plain(x) for x in inputs]
        if "out" in options:
            options["out"] = tuple(_plain(x) for x in options["out"])
        compute: Callable[..., Any] = getattr(ufunc, method)
        if method == "__call__" and ufunc.__name__ in _SPELLED_OUT:
            compute = _SPELLED_OUT[ufunc.__name__]
        try:
            found = compute(*plain, **options)
        except TypeError as error:
            raise TypeError(f"{ufunc.__name__}: {error}") from None
        if isinstance(found, tuple):
            return tuple(_exact(x) for x in found)
        return _exact(found)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Any:
        """Copy; exact numbers stay what they are in every floating dtype."""
        if np.dtype(dtype).kind in "fO":
            return self.copy()
        return np.asarray(self).astype(dtype)


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, ExactArray) else x


def _exact(x: Any) -> Any:
    return x.view(ExactArray) if isinstance(x, np.ndarray) and x.dtype == object else x


def _logaddexp(x: Any, y: Any) -> Any:
    return np.log(np.exp(_objects(x)) + np.exp(_objects(y)))


def _objects(x: Any) -> Any:
    """Return floats as they are: those that meet objects are few."""
    return np.asarray(x) if isinstance(x, (int, float)) else x


def _isnan(x: Any) -> Any:
    """Say which numbers are undefined: these equal nothing, as nan does."""
    return np.not_equal(x, x)


def _isinf(x: Any) -> Any:
    return np.equal(x, np.inf) | np.equal(x, -np.inf)


_SPELLED_OUT: Mapping[str, Callable[..., Any]] = {
    "isfinite": lambda x: np.logical_not(_isnan(x) | _isinf(x)),
    "isinf": _isinf,
    "isnan": _isnan,
    "logaddexp": _logaddexp,
    "heaviside": lambda x, y: np.where(x > 0, 1, np.where(x < 0, 0, y)),
    "hypot": lambda x, y: np.sqrt(x * x + y * y),
    "reciprocal": lambda x: 1 / x,
    "positive": lambda x: x,
}
