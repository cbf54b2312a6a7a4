"""Members of sorting, choosing and counting."""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition

_PLACES = np.array([[2, 0, 0], [1, 1, -1]])
_MASK = np.array([[True, False, True], [False, False, True]])


def _masked(function):
    return lambda x, **settings: function(_MASK, x, **settings)


def _first(function):
    """Return the elements of a function that gives their places too."""
    return lambda x, **settings: function(x, **settings)[0]


def _largest(x, k, axis=-1, largest=True):
    placed = np.sort(x, axis)
    if largest:
        placed = np.flip(placed, axis)
    return np.take(placed, np.arange(k), axis)


def _put(x, values, indices):
    """Put by NumPy's own function, which writes; of Tensors, what is ours."""
    if isinstance(x, tg.Tensor):
        return tg.put_along_axis(x, indices, values, 1)
    made = x.copy()
    np.put_along_axis(made, indices, values, 1)
    return made


def _selected(module):
    return lambda x, y: module.select([x > 0.5, _MASK], [x * y, y], 2.0)


def _chosen(module):
    return lambda x, y: module.choose(np.array([[0, 1, 1], [1, 0, 1]]), [x, y])


def _pieces(module):
    return lambda x: module.piecewise(
        x, [x < 0, x > 1], [lambda z: z * z, lambda z: 3 * z, 1.5]
    )


_SORTED = [
    ((4,), {}),
    ((2, 3), {"axis": 0, "kind": "stable"}),
    ((2, 3), {"axis": None, "stable": True}),
    ((2, 2, 3), {"axis": -2}),
    ((0,), {}),
]

COMPOSITIONS = [
    *composition("sort", tg.sort, _SORTED),
    *composition(
        "partition",
        tg.partition,
        [
            ((3,), {"kth": [0, 1]}),
            ((2, 2), {"kth": 0}),
            ((3, 2), {"kth": (1, -1), "axis": 0}),
        ],
    ),
    *composition(
        "topk",
        _first(tg.topk),
        [
            ((4,), {"k": 2}),
            ((2, 3), {"k": 1, "axis": 0}),
            ((2, 3), {"k": 3, "axis": 1, "largest": False}),
        ],
    ),
    *composition("unique", tg.unique, [((4,), {}), ((2, 3), {"equal_nan": False})]),
    *composition(
        "take",
        tg.take,
        [
            ((4,), {"indices": [2, 0, 2, -1]}),
            ((2, 3), {"indices": 1, "axis": 1}),
            ((2, 3), {"indices": np.array([[0, 4]]), "axis": 0, "mode": "wrap"}),
            ((2, 3), {"indices": [-7, 9], "axis": -1, "mode": "clip"}),
            ((2, 3), {"indices": [5, 0]}),
            ((), {"indices": [0, 0]}),
            ((3,), {"indices": []}),
        ],
    ),
    *composition(
        "take_along_axis",
        tg.take_along_axis,
        [
            ((2, 3), {"indices": _PLACES, "axis": 1}),
            ((2, 3), {"indices": _PLACES[:1] % 2, "axis": 0}),
            ((2, 3), {"indices": np.array([5, 0, 5]), "axis": None}),
            ((3,), {"indices": np.array([1, 1])}),
        ],
    ),
    *composition(
        "put_along_axis",
        _put,
        [
            ((2, 3), (2, 3), {"indices": _PLACES}),
            ((2, 3), (), {"indices": _PLACES[:, :1]}),
            ((2, 3), (1, 2), {"indices": _PLACES[:, 1:]}),
        ],
    ),
    *composition(
        "compress",
        lambda x, **settings: tg.compress([False, True], x, **settings),
        [((2, 3), {"axis": 0}), ((2, 3), {"axis": -1}), ((2, 3), {})],
    ),
    *composition("extract", _masked(tg.extract), [((2, 3), {})]),
    *composition("select", _selected(tg), [((2, 3), (2, 3)), ((2, 1), (3,))]),
    *composition("choose", _chosen(tg), [((2, 3), (2, 3)), ((2, 1), (3,))]),
    *composition("piecewise", _pieces(tg), [((2, 3), {}), ((), {}), ((0,), {})]),
]

BY_NUMPY = {name: getattr(np, name) for name in
             ("sort", "partition", "unique", "take", "take_along_axis")} | {
    "topk": _largest,
    "put_along_axis": _put,
    "compress": lambda x, **settings: np.compress([False, True], x, **settings),
    "extract": _masked(np.extract),
    "select": _selected(np),
    "choose": _chosen(np),
    "piecewise": _pieces(np),
}  # fmt: skip

ELSEWHERE = (
    *("intersect1d", "polyfit", "setdiff1d", "setxor1d", "union1d"),
    *("argpartition", "argsort", "argwhere", "bincount", "count_nonzero", "digitize"),
    *("flatnonzero", "isin", "nanargmax", "nanargmin", "nonzero", "searchsorted"),
)
"""What has no gradient, or asks for more than one array of points: tested by family."""
