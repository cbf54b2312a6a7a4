"""Members of differences, integrals, interpolation and statistics."""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition


def _in_its_dtype(function):
    """Return a function in the dtype of its operands: NumPy's gives float64 always."""

    def call(*arrays, **settings):
        found = function(*arrays, **settings)
        dtype = arrays[0].dtype
        return found if dtype.kind == "O" else found.astype(dtype)

    return call


def _joined(function):
    """Return a function that gives several arrays as one, no two of equal weight."""

    def call(*arrays, **settings):
        found = function(*arrays, **settings)
        if not isinstance(found, tuple):
            return found
        return np.stack([(i + 1) * x for i, x in enumerate(found)])

    return call


def _gradient(function):
    """Return the slopes, at positions that are steps added up."""

    def call(f, *steps, positions=False, **settings):
        steps = [np.cumsum(step) if positions else step for step in steps]
        return _joined(function)(f, *steps, **settings)

    return call


def _interp(function):
    """Return values between points whose positions are steps added up."""

    def call(x, steps, fp, **settings):
        return _in_its_dtype(function)(x, np.cumsum(steps) - 1.0, fp, **settings)

    return call


def _average(function):
    """Return an average, with weights or without, times their sum if it is given."""

    def call(x, *weights, **settings):
        given = {"weights": weights[0]} if weights else {}
        found = function(x, **given, **settings)
        return found[0] * found[1] if isinstance(found, tuple) else found

    return call


def _bincount(function):
    return _in_its_dtype(
        lambda weights, **settings: function(
            np.array([0, 3, 1, 3]), weights, **settings
        )
    )


_POSITIVE = ((0.3, 2.0),)

COMPOSITIONS = [
    *composition(
        "diff",
        tg.diff,
        [
            ((4,), {}),
            ((2, 3), {"axis": 0}),
            ((2, 4), {"n": 3}),
            ((3,), {"n": 0}),
            ((2,), {"n": 3}),
            (
                (2, 3),
                {"prepend": np.float32(0.5), "append": np.ones((2, 2), np.float32)},
            ),
        ],
    ),
    *composition(
        "ediff1d",
        tg.ediff1d,
        [
            ((4,), {}),
            ((2, 3), {"to_end": [1.0], "to_begin": np.float32([[1], [2]])}),
            ((), {}),
            ((0,), {}),
        ],
    ),
    *composition(
        "gradient",
        _gradient(tg.gradient),
        [
            ((4,), {}),
            ((3, 3), {}),
            ((3, 4), {"axis": -1, "edge_order": 2}),
            ((3, 3), {"axis": (1, 0)}),
            ((2,), {}),
        ],
    ),
    *composition(
        "gradient",
        _gradient(tg.gradient),
        [
            ((4,), (), {}),
            ((4,), (4,), {"positions": True}),
            ((2, 4), (4,), {"positions": True, "axis": 1, "edge_order": 2}),
        ],
        _POSITIVE,
    ),
    *composition(
        "trapezoid",
        tg.trapezoid,
        [
            ((4,), {}),
            ((2, 3), {"axis": 0, "dx": 0.5}),
            ((2, 3), (3,), {}),
            ((2, 3), (2,), {"axis": 0}),
            ((2, 3), (2, 3), {}),
            ((1,), {}),
        ],
    ),
    *composition(
        "interp",
        _interp(tg.interp),
        [
            ((3,), (4,), (4,), {}),
            ((2, 3), (3,), (3,), {}),
            ((), (2,), (2,), {}),
            ((3,), (4,), (4,), {"period": 2.5}),
            ((0,), (2,), (2,), {}),
        ],
        ((0.3, 2.0),) * 3,
    ),
    # Beside the points, where there is a jump at the first and the last.
    *composition(
        "interp",
        _interp(tg.interp),
        [((2,), (3,), (3,), {"left": -1.0, "right": 2.0})],
        ((-0.9, -0.2), (1.0, 1.1), (0.3, 2.0)),
    ),
    *composition("unwrap", tg.unwrap, [((4,), {"period": 1.1}), ((3, 2), {"axis": 0})]),
    *[
        m
        for name in ("polyadd", "polysub", "polymul")
        for m in composition(
            name,
            getattr(tg, name),
            [((2,), (4,)), ((3,), (2,)), ((2,), (2,)), ((), (3,))],
        )
    ],
    *composition(
        "polyder",
        _in_its_dtype(tg.polyder),
        [((4,), {"m": 2}), ((1,), {}), ((2,), {"m": 0})],
    ),
    *composition(
        "polyint",
        _in_its_dtype(tg.polyint),
        [((3,), {}), ((3,), {"m": 2, "k": 1.5}), ((2,), {"m": 2, "k": [1.0, 2.0]})],
    ),
    *composition(
        "polydiv",
        lambda u, v: tg.polydiv(u, v)[0],
        [((4,), (2,), {}), ((2,), (2,), {}), ((3,), (1,), {})],
        _POSITIVE * 2,
    ),
    *composition("poly", tg.poly, [((3,), {}), ((1,), {})]),
    *composition("polyval", tg.polyval, [((3,), (2, 2)), ((1,), ()), ((4,), (0,))]),
    *composition(
        "vander",
        _in_its_dtype(tg.vander),
        [((3,), {}), ((2,), {"N": 4, "increasing": True}), ((2,), {"N": 1})],
    ),
    *[
        m
        for name in ("convolve", "correlate")
        for m in composition(
            name,
            getattr(tg, name),
            [
                ((4,), (3,), {"mode": "full"}),
                ((3,), (4,), {"mode": "same"}),
                ((4,), (2,), {"mode": "valid"}),
                ((2,), (5,), {}),
            ],
        )
    ],
    *composition(
        "average",
        _average(tg.average),
        [
            ((2, 3), {}),
            ((2, 3), {"axis": (0, 1), "keepdims": True}),
            ((2, 3), {"axis": -1, "returned": True}),
            ((2, 3), (2, 3), {}),
            ((2, 3), (3,), {"axis": 1}),
            ((2, 3), (2,), {"axis": 0, "returned": True}),
            ((2, 3, 2), (2, 2), {"axis": (2, 0), "keepdims": True}),
        ],
        _POSITIVE,
    ),
    *composition(
        "cov",
        _in_its_dtype(tg.cov),
        [
            ((2, 4), {}),
            ((4, 2), {"rowvar": False, "bias": True}),
            ((4,), {}),
            ((2, 4), (4,), {}),
            ((4, 2), (4, 1), {"rowvar": False, "ddof": 0}),
            ((2, 3), {"fweights": [1, 2, 3], "aweights": [0.5, 1.0, 2.0]}),
            ((2, 3), {"aweights": [0.5, 1.0, 2.0], "ddof": 0}),
        ],
    ),
    *composition(
        "corrcoef",
        _in_its_dtype(tg.corrcoef),
        [((2, 4), {}), ((4, 2), {"rowvar": False}), ((4,), (4,), {})],
    ),
    *composition(
        "bincount", _bincount(tg.bincount), [((4,), {}), ((4,), {"minlength": 6})]
    ),
]

BY_NUMPY = {name: getattr(np, name) for name in
             ("diff", "ediff1d", "trapezoid", "unwrap", "polyval", "convolve",
              "correlate", "poly", "polyadd", "polysub", "polymul")} | {
    "polyder": _in_its_dtype(np.polyder),
    "polydiv": lambda u, v: np.polydiv(u, v)[0],
    "polyint": _in_its_dtype(np.polyint),
    "average": _average(np.average),
    "gradient": _gradient(np.gradient),
    "interp": _interp(np.interp),
    "vander": _in_its_dtype(np.vander),
    "cov": _in_its_dtype(np.cov),
    "corrcoef": _in_its_dtype(np.corrcoef),
    "bincount": _bincount(np.bincount),
}  # fmt: skip
