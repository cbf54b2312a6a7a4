"""How far off a computed number may be by rounding: a bound, read off its graph.

Every op leaves its result off by a few roundings. What these do to one number at the
end is told by its gradient with respect to every node, and one backward finds them all:
S. Linnainmaa, "Taylor expansion of the accumulated rounding error", BIT 16 (1976).
Where there is no graph, only code, the bound is measured instead: `measured`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import autodiff, graph, recording
from tinygrad_nn.check.site import sizes_of
from tinygrad_nn.op import Op, data_of
from tinygrad_nn.ops import sum
from tinygrad_nn.ops.reduction import count
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.tensor import Tensor

__all__ = ["Product", "measured", "nearby", "rounding_bound", "summed"]

_EPS = float(np.finfo(np.float64).eps)
_JUMP = 1e-6  # of the terms: more than any rounding
_SECOND_ORDER = 2.0  # products of errors, which the gradient does not know of

_UNITS_OF_A_UFUNC = 4  # for its functions NumPy's own tests allow four
# By how many units of its last place an op's result may be off, where it is another
# number: choices are exact, and arithmetic is rounded once.
_UNITS = {
    **dict.fromkeys(("abs", "getitem", "maximum", "minimum", "negative"), 0),
    **dict.fromkeys(("relu", "sign", "where"), 0),
    **dict.fromkeys(("add", "astype", "divide", "multiply", "reciprocal"), 1),
    **dict.fromkeys(("sqrt", "square", "subtract"), 1),
}
_SUMS = frozenset({"cumsum", "einsum", "matmul", "scatter_add", "sum"})
_AVERAGES = frozenset({"mean", "others", "prod"})


class Product(NamedTuple):
    """An inner product: its value, its rounding error, and the size of its terms."""

    value: float
    bound: float
    size: float


def summed(terms: Sequence[Any]) -> Product:
    """Add up all elements of recorded arrays, and say how far off that is.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> found = summed([x * 3.0, -x])
    >>> found.value, found.size, found.bound < 1e-13
    (6.0, 12.0, True)
    """
    total = Tensor(0.0)
    size = 0.0
    for term in terms:
        total = total + sum(term)
        size += float(np.sum(np.abs(data_of(term))))
    return Product(total.item(), rounding_bound(total), size)


def rounding_bound(total: Tensor) -> float:
    """Bound of the rounding error in one number: twice what it is to first order.

    Parameters
    ----------
    total
        One number, in float64, with its graph.

    Examples
    --------
    The sum of 1e8 and -1e8 is as far off as its terms are large:

    >>> x = Tensor([1e8, -1e8, 1.0], requires_grad=True)
    >>> 1e-8 < rounding_bound((x * 1.1).sum()) < 1e-6
    True
    >>> rounding_bound((x[2:] * 1.1).sum()) < 1e-14
    True
    """
    nodes = [node for node in graph.nodes(total) if data_of(node).dtype.kind == "f"]
    with recording.no_grad(), np.errstate(all="ignore"):
        found = autodiff.pull(total, Tensor(np.ones(total.shape)), nodes, careful=True)
        bound = 0.0
        for node in nodes:
            op, inputs, settings = graph.source(node)
            if op is not None and node in found:
                weight = np.abs(np.asarray(data_of(found[node])))
                values = [np.asarray(data_of(x)) for x in inputs]
                out = np.asarray(data_of(node))
                bound += _local(op, out, values, settings, weight)
    return _SECOND_ORDER * bound


def _local(
    op: Op,
    out: np.ndarray,
    values: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    weight: np.ndarray,
) -> float:
    """Give what the roundings of one op do to the number at the end.

    ``weight`` is the size of the number's derivative with respect to each element.
    """
    if op.kind == "movement" or not out.size:
        return 0.0
    own = _paired(weight, np.abs(out))
    units = _UNITS.get(op.name)
    if units is None and ufunc_of(op) is not None:
        units = _UNITS_OF_A_UFUNC
    if units is not None:
        return units * float(np.finfo(out.dtype).eps) * own
    if op.name in _SUMS:
        # Each of k terms takes part in at most k additions, after one product.
        sizes = op.body(*[np.abs(x) for x in values], **settings)
        terms = op.body(*[np.ones(x.shape) for x in values], **settings)
        return _EPS * _paired(weight, sizes * (terms + 1))
    length = 0
    if not op.pointwise:
        shape = values[0].shape
        length = (
            count(shape, settings["axis"]) if "axis" in settings else values[0].size
        )
    if op.name in _AVERAGES:
        sizes = op.body(np.abs(values[0]), **settings)
        return _EPS * (length + 1) * _paired(weight, sizes)
    # A few roundings on the way: a result off by some units, of operands off by some.
    through = _through(op, out, values, settings, weight)
    return (4 + length) * _EPS * (own + through)


def _through(
    op: Op,
    out: np.ndarray,
    values: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    weight: np.ndarray,
) -> float:
    """What operands off by one relative unit each do to the number at the end."""
    if not op.differentiable:
        return 0.0
    if op.variadic:
        shares = op.rules(weight, out, *values, **settings)
    else:
        shares = [rule(weight, out, *values, **settings) for rule in op.rules]
    total = 0.0
    for share, x in zip(shares, values, strict=True):
        if share is not None:
            # Rows are shifted by their largest element on the way; an infinity, as of a
            # score that is masked, stays what it is.
            largest = np.abs(x[np.isfinite(x)]).max(initial=0.0)
            size = np.abs(x) if op.pointwise else 2 * largest + 1
            total += _paired(np.abs(data_of(share)), size)
    return total


def _paired(weight: np.ndarray, sizes: Any) -> float:
    """Add up weighted sizes; what has no weight may be infinite."""
    return float(np.sum(np.where(weight == 0, 0.0, weight * sizes)))


def measured(
    terms: Callable[[list[np.ndarray]], np.ndarray],
    arrays: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Product:
    """Add up what code without a graph gives; its rounding error is measured.

    A stable computation is as far off as if its inputs were off by a few units in the
    last place, so that is done to them, three times. Where it jumps, it is no rounding.

    Parameters
    ----------
    terms
        From arrays to the terms of the sum.
    arrays
        Where.
    rng
        Draws the signs.

    Examples
    --------
    >>> def difference(arrays):
    ...     return arrays[0] * np.array([1e8, -1e8])
    >>> rng = np.random.default_rng(0)
    >>> found = measured(difference, [np.array([1.1, 1.3])], rng)
    >>> 1e-8 < found.bound < 1e-5
    True
    """
    centre = np.asarray(terms([x.copy() for x in arrays]))
    total, size = float(np.sum(centre)), float(np.sum(np.abs(centre)))
    largest = 0.0
    for _ in range(3):
        change = abs(float(np.sum(terms(nearby(arrays, rng)))) - total)
        if change <= _JUMP * size:
            largest = max(largest, change)
    # NumPy adds in pairs: each term passes as many additions as the sum is deep.
    own = (16 + float(np.log2(centre.size + 1))) * _EPS * size
    return Product(total, own + 4 * largest, size)


def nearby(arrays: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Move every element by a few units in the last place; zeros by the array's.

    >>> (x,) = nearby([np.array([1.0, 0.0])], np.random.default_rng(0))
    >>> bool(0 < abs(x - [1.0, 0.0]).min() < abs(x - [1.0, 0.0]).max() < 1e-15)
    True
    """
    signs = [rng.choice([-1.0, 1.0], x.shape) for x in arrays]
    return [
        np.asarray(x + 4 * _EPS * sizes_of(x) * sign)
        for x, sign in zip(arrays, signs, strict=True)
    ]
