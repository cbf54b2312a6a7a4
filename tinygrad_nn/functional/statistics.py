"""Averages with weights, spans, covariances, and sums by group."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import OpError, ShapeError, UnsupportedError
from tinygrad_nn.functional import reductions
from tinygrad_nn.functional.arguments import (
    as_array,
    named_axes_of,
    reduced_axes_of,
    refuse_out,
    shape_of,
)
from tinygrad_nn.functional.assigning import plain_index
from tinygrad_nn.functional.gaps import warn_where
from tinygrad_nn.functional.places import in_dtype, plain
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.shapes import Axes

__all__ = ["average", "bincount", "corrcoef", "cov", "ptp"]


def ptp(a: Array, axis: Axes = None, out: None = None, keepdims: bool = False) -> Array:
    """Peak to peak: largest minus smallest element; ties share, as in both.

    >>> ptp(np.array([3.0, 1.0, 7.0]))
    np.float64(6.0)
    """
    refuse_out("np.ptp", out)
    a = as_array(a)
    reduced_axes_of("np.ptp", a, axis)
    return reductions.max(a, axis, None, keepdims) - reductions.min(
        a, axis, None, keepdims
    )


def average(
    a: Array,
    axis: Axes = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    """Mean along ``axis``, each element with its weight.

    Parameters
    ----------
    weights
        Of the shape of ``a``, or of the axes that are averaged. May be a Tensor: the
        average has a gradient with respect to it.
    returned
        Give the sum of the weights, too.

    Raises
    ------
    OpError
        Where the weights sum to zero.

    Examples
    --------
    >>> average(np.array([1.0, 4.0]), weights=[3, 1])
    np.float64(1.75)
    """
    a = as_array(a)
    reduced_axes_of("np.average", a, axis)
    if weights is None:
        found = ops.mean(a, axis, keepdims)
        size = shape_of(found)
        many = a.size / max(int(np.prod(size)), 1)
        total = np.full(size, many, np.asarray(data_of(found)).dtype)[()]
        return (found, total) if returned else found
    weights = _fitted(as_array(weights), a, axis)
    kinds = [data_of(a).dtype, data_of(weights).dtype]
    dtype = np.result_type(*kinds, *([np.float64] if kinds[0].kind in "iub" else []))
    total = ops.sum(in_dtype(weights, dtype), axis, keepdims)
    if recording.current().trace is None and np.any(data_of(total) == 0):
        raise OpError(
            "np.average: expected weights that do not sum to zero; got weights"
            f"{shape_of(weights)}, axis={axis!r}"
        )
    weighted = in_dtype(a, dtype) * in_dtype(weights, dtype)
    found = ops.sum(weighted, axis, keepdims) / total
    if not returned:
        return found
    return found, ops.broadcast_to(total, shape_of(found))


def _fitted(weights: Array, a: Any, axis: Axes) -> Array:
    """Return the weights so that they broadcast along the averaged axes."""
    size = shape_of(weights)
    if size == a.shape:
        return weights
    if axis is None:
        raise ShapeError(
            "np.average: expected weights of the shape of a, or an axis; "
            f"got a{a.shape}, weights{size}. Name the axis"
        )
    places = named_axes_of("np.average", a, axis)
    if size != tuple(a.shape[i] for i in places):
        raise ShapeError(
            "np.average: expected weights of the shape of a, or of its averaged axes; "
            f"got a{a.shape}, weights{size}, axis={axis!r}"
        )
    weights = ops.transpose(weights, tuple(int(i) for i in np.argsort(places)))
    wanted = tuple(n if i in places else 1 for i, n in enumerate(a.shape))
    return ops.reshape(weights, wanted)


def cov(
    m: Array,
    y: Array | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Array:
    """Covariance matrix of variables, one in each row; in float64 unless asked.

    Parameters
    ----------
    m, y
        Observations: of one variable, or of several in rows.
    rowvar
        False: variables in columns.
    bias, ddof
        Divide by the number of observations, or by that less ``ddof``; by default less
        one.
    fweights, aweights
        How often, and with what weight, each observation counts: constant.

    Examples
    --------
    >>> cov(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    if ddof is not None and ddof != int(ddof):
        raise OpError(f"np.cov: ddof is an integer; got {ddof!r}")
    x = _variables("np.cov", m, y, rowvar, dtype)
    if x.shape[0] == 0:
        return np.zeros((0, 0))
    less = ddof if ddof is not None else int(not bias)
    weight = _observed(x.shape[1], fweights, aweights)
    if weight is None:
        mean = ops.mean(x, 1, True)
        freedom: Any = x.shape[1] - less
    else:
        total = np.sum(weight)
        mean = ops.sum(x * weight, 1, True) / total
        freedom = total
        if less and aweights is None:
            freedom = total - less
        elif less:
            freedom = total - less * np.sum(weight * np.asarray(aweights)) / total
    if freedom <= 0:
        warn_where(True, "Degrees of freedom <= 0 for slice")
        freedom = 0.0
    x = x - mean
    other = x if weight is None else x * weight
    found = ops.matmul(x, ops.transpose(other)) * float(np.true_divide(1, freedom))
    return ops.reshape(found, tuple(n for n in shape_of(found) if n != 1))


def _variables(title: str, m: Any, y: Any, rowvar: bool, dtype: Any) -> Any:
    given = [as_array(part) for part in (m, y) if part is not None]
    for part in given:
        if len(part.shape) > 2:
            raise ShapeError(
                f"{title}: expected two axes at most, variables and observations; "
                f"got {part.shape}"
            )
    if dtype is None:
        dtype = np.result_type(*[part.dtype for part in given], np.float64)
    rows = []
    for i, part in enumerate(given):
        size = (*[1] * (2 - len(part.shape)), *part.shape)
        x = ops.reshape(in_dtype(part, np.dtype(dtype)), size)
        in_columns = len(part.shape) != 1 if i == 0 else size[0] != 1
        rows.append(ops.transpose(x) if in_columns and not rowvar else x)
    return rows[0] if len(rows) == 1 else ops.concatenate(*rows, axis=0)


def _observed(count: int, fweights: Any, aweights: Any) -> Any:
    """Return the weight of each observation, or None."""
    product = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        if isinstance(given, Node):
            raise UnsupportedError(
                f"np.cov: {name} is constant; got a Tensor, whose gradient would be "
                f"dropped. Use {name}.numpy()"
            )
        weight = np.asarray(given, dtype=float)
        if weight.shape != (count,) or np.any(weight < 0):
            raise ShapeError(
                f"np.cov: expected {name} of at least 0 for each of {count} "
                f"observations; got {name}{weight.shape}"
            )
        if name == "fweights" and np.any(weight != np.around(weight)):
            raise OpError("np.cov: fweights count observations: integers")
        product = weight if product is None else product * weight
    return product


def corrcoef(
    x: Array, y: Array | None = None, rowvar: bool = True, *, dtype: Any = None
) -> Array:
    """Correlations of variables, one in each row; in float64 unless asked.

    >>> corrcoef(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    found = cov(x, y, rowvar, dtype=dtype)
    size = shape_of(found)
    if not size:
        return found / found  # one variable: 1, or nan where it is constant
    places = np.arange(size[0])
    deviations = ops.sqrt(ops.getitem(found, (places, places)))
    rows = ops.reshape(deviations, (-1, 1))
    found = found / rows / ops.reshape(deviations, (1, -1))
    return ops.minimum(ops.maximum(found, -1.0), 1.0)


def bincount(x: Any, /, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each small integer occurs, or the sum of its weights.

    Parameters
    ----------
    x
        Integers from 0, constant.
    weights
        What is added up for each of them, in float64; has a gradient.
    minlength
        How many sums at least.

    Examples
    --------
    >>> bincount(np.array([0, 2, 2]), weights=np.array([1.0, 2.0, 3.0]))
    array([1., 0., 5.])
    """
    places = plain(x, "np.bincount")
    if places.dtype.kind not in "biu" or np.min(places, initial=0) < 0:
        least = f", the least {np.min(places)}" if places.size else ""
        raise OpError(
            "np.bincount: expected integers from 0; got dtype "
            f"{places.dtype}{least}. Count the places of np.unique(x)"
        )
    if weights is None:
        return np.bincount(places, minlength=minlength)
    size = shape_of(weights)
    if places.ndim != 1 or size != places.shape:
        raise ShapeError(
            "np.bincount: expected a weight for each of a row of integers; "
            f"got x{places.shape}, weights{size}"
        )
    count = len(np.bincount(places, minlength=minlength))
    weights = in_dtype(as_array(weights), np.float64)
    return ops.scatter_add(weights, plain_index(places), (count,))
