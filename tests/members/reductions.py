"""Members of reductions and running totals."""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition

_ALONG = (
    ((3,), {}),
    ((2, 3), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3, 2), {"axis": -2}),
    ((), {}),
    ((0, 2), {"axis": 1}),
)
_ROWS = (
    ((2, 3), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": -1, "keepdims": True}),
    ((2, 3, 2), {"axis": (0, -1)}),
    ((), {}),
    ((0, 3), {"axis": 1}),
)
_NANS = ("nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanvar", "nanstd")
_RUNNING = ("cumprod", "nancumsum", "nancumprod")
_CUMULATIVE = (
    ((3,), {}),
    ((2, 3), {"axis": 1, "include_initial": True}),
    ((2, 3), {"axis": 0}),
    ((), {}),
)


def _accumulated(ufunc):
    """Return NumPy's spelling of a running result, which has no flattened form."""

    def call(a, axis=None):
        if axis is None:
            a, axis = np.ravel(a), 0
        return ufunc.accumulate(a, axis)

    return call


_OURS = {"cummax": np.maximum, "cummin": np.minimum, "logcumsumexp": np.logaddexp}
_QUANTILES = ("quantile", "percentile", "nanquantile", "nanpercentile")
_METHODS = (
    *("averaged_inverted_cdf", "closest_observation", "hazen", "higher"),
    *("interpolated_inverted_cdf", "inverted_cdf", "linear", "lower"),
    *("median_unbiased", "midpoint", "nearest", "normal_unbiased", "weibull"),
)


def _with_shares(name):
    """Return rows of a quantile: every method once, and every form of q."""
    whole = 100 if name.endswith("percentile") else 1
    return [
        *[((5,), {"q": 0.3 * whole, "method": method}) for method in _METHODS],
        ((2, 3), {"q": 0.6 * whole}),
        ((2, 3), {"q": 0.6 * whole, "axis": 0, "keepdims": True}),
        ((2, 2, 3), {"q": [0.1 * whole, 0.5 * whole], "axis": (0, -1)}),
        ((2, 3), {"q": [[0.1 * whole], [1.0 * whole]], "axis": 1}),
        ((3,), {"q": 0 * whole}),
        ((), {"q": 0.2 * whole}),
        ((0, 3), {"q": 0.5 * whole, "axis": 1}),
    ]


def _each(names, rows, call=lambda name: getattr(tg, name)):
    return [m for name in names for m in composition(name, call(name), rows)]


def _shared_dtype(module, name):
    """Return a quantile whose array of shares is no wider than the data."""
    function = getattr(module, name)

    def call(a, q, **settings):
        return function(a, np.asarray(q, a.dtype) if np.ndim(q) else q, **settings)

    return call


COMPOSITIONS = [
    *_each(_RUNNING, _ALONG),
    *_each(("cumulative_sum", "cumulative_prod"), _CUMULATIVE),
    *_each(_OURS, [((2, 3), {}), ((2, 3), {"axis": 0}), ((), {})]),
    *_each(_NANS[:-2], _ROWS),
    *_each(_NANS[-2:], [*_ROWS[:4], _ROWS[5]]),
    *_each(("ptp",), [*_ROWS[:4], _ROWS[5]]),
    *_each(("median", "nanmedian"), [*_ROWS, ((4,), {}), ((2, 5), {"axis": 1})]),
    *[
        m
        for name in _QUANTILES
        for m in composition(name, _shared_dtype(tg, name), _with_shares(name))
    ],
]

BY_NUMPY = (
    {name: getattr(np, name) for name in
     (*_NANS, *_RUNNING, "cumulative_sum", "cumulative_prod", "ptp",
      "median", "nanmedian")}
    | {name: _accumulated(ufunc) for name, ufunc in _OURS.items()}
    | {name: _shared_dtype(np, name) for name in _QUANTILES}
)  # fmt: skip
