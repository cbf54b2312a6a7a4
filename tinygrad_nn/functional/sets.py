"""Sets of numbers, in ascending order; equal elements share the gradient equally.

How many there are depends on the numbers, so none of these is for a compiled step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.functional.arguments import as_array, refuse
from tinygrad_nn.functional.places import picked, plain
from tinygrad_nn.op import Array

__all__ = ["intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique"]


def isin(
    element: Array,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> np.ndarray:
    """Whether each element is among others; plain.

    >>> isin(np.array([1.0, 2.0]), [2.0, 3.0])
    array([False,  True])
    """
    among = plain(test_elements, "np.isin")
    return np.isin(
        plain(element, "np.isin"),
        among,
        assume_unique=assume_unique,
        invert=invert,
        kind=kind,
    )


def unique(
    ar: Array,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """Different elements, in ascending order; equal ones share the gradient equally.

    Not in a compiled step: how many there are depends on the numbers.

    Parameters
    ----------
    return_index, return_inverse, return_counts
        Give the places of first occurrence, those from which the array can be made
        again, and how often each occurs: plain arrays.
    axis
        Refused: elements are numbers here.

    Examples
    --------
    >>> unique(np.array([3.0, 1.0, 3.0]))
    array([1., 3.])
    """
    del sorted  # they always are
    refuse("np.unique", "Rows are compared on .numpy()", axis=(axis, None))
    ar = as_array(ar)
    numpys: Any = np.unique
    _, first, *inverse, counts = numpys(
        plain(ar, "np.unique"), True, return_inverse, True, equal_nan=equal_nan
    )
    starts = np.cumsum(counts) - counts
    values = picked(ops.sort(ops.reshape(ar, (-1,))), starts)
    more = [first] if return_index else []
    more += inverse
    more += [counts] if return_counts else []
    return (values, *more) if more else values


def _joined(ar1: Any, ar2: Any) -> Array:
    return ops.concatenate(as_array(ar1), as_array(ar2), axis=None)


def union1d(ar1: Array, ar2: Array) -> Array:
    """Different elements of both arrays.

    >>> union1d(np.array([3.0, 1.0]), np.array([2.0, 3.0]))
    array([1., 2., 3.])
    """
    union: Array = unique(_joined(ar1, ar2))
    return union


def intersect1d(
    ar1: Array, ar2: Array, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """Different elements that both arrays have; their gradient is shared by all equal.

    Parameters
    ----------
    assume_unique
        A permission that is not needed.
    return_indices
        Give the first places in either array, too.

    Examples
    --------
    >>> intersect1d(np.array([3.0, 1.0]), np.array([2.0, 3.0]))
    array([3.])
    """
    del assume_unique
    first, second = (plain(x, "np.intersect1d").ravel() for x in (ar1, ar2))
    numpys: Any = np.intersect1d
    both, *places = numpys(first, second, return_indices=True)
    union = np.unique(np.concatenate([first, second]))
    found = picked(union1d(ar1, ar2), np.searchsorted(union, both))
    return (found, *places) if return_indices else found


def setdiff1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    """Different elements of the first array that the second has not.

    >>> setdiff1d(np.array([3.0, 1.0]), np.array([2.0, 3.0]))
    array([1.])
    """
    ar1 = ops.reshape(as_array(ar1), (-1,)) if assume_unique else unique(ar1)
    left = np.isin(plain(ar1, "np.setdiff1d"), plain(ar2, "np.setdiff1d"), invert=True)
    return picked(ar1, np.flatnonzero(left))


def setxor1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    """Different elements that only one of the arrays has.

    >>> setxor1d(np.array([3.0, 1.0]), np.array([2.0, 3.0]))
    array([1., 2.])
    """
    del assume_unique
    union = union1d(ar1, ar2)
    there = plain(union, "np.setxor1d")
    both = np.isin(there, plain(ar1, "np.setxor1d")) & np.isin(
        there, plain(ar2, "np.setxor1d")
    )
    return picked(union, np.flatnonzero(~both))
