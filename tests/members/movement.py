"""Members of functions that put elements elsewhere."""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition, of_list


def _parts(function):
    """Return a function that gives several arrays as one of all their elements.

    Each element is weighed, so that no two parts can be exchanged unnoticed.
    """

    def call(*arrays, **settings):
        several = function(*arrays, **settings)
        weighed = [(i + 1) * x for i, x in enumerate(several)]
        return np.concatenate([np.reshape(x, (-1,)) for x in weighed])

    return call


def _reversed_rows(module):
    return lambda x, axis: module.apply_along_axis(lambda row: row[::-1] * row, axis, x)


def _summed(module):
    return lambda x, axes: module.apply_over_axes(module.sum, x, axes)


def _placed(function):
    return lambda x, values, obj, **settings: function(x, obj, values, **settings)


def _geomspace(module):
    """Return NumPy's, which makes float64 of everything unless a dtype is given."""
    return lambda x, y, **settings: module.geomspace(x, y, dtype=x.dtype, **settings)


def _full_like(module):
    return lambda x, shape: module.full_like(np.zeros(shape, x.dtype), x)


def _block(module):
    return lambda x, y: module.block([[x, y], [y, x]])


_ONE = {
    "fliplr": [((2, 3), {}), ((0, 2, 2), {})],
    "flipud": [((3,), {}), ((2, 3), {})],
    "roll": [
        ((4,), {"shift": 1}),
        ((2, 3), {"shift": -2}),
        ((2, 3), {"shift": (1, 4), "axis": (0, -1)}),
        ((0, 3), {"shift": 2, "axis": 1}),
        ((), {"shift": 1}),
    ],
    "rollaxis": [((2, 3, 1), {"axis": 2}), ((2, 3, 1), {"axis": 0, "start": 2})],
    "rot90": [((2, 3), {"k": k}) for k in range(4)]
    + [((2, 1, 3), {"k": 1, "axes": (2, 0)})],
    "permute_dims": [((2, 3, 1), {"axes": (1, -1, 0)}), ((2, 3), {})],
    "matrix_transpose": [((2, 3), {}), ((2, 0, 3), {})],
    "atleast_1d": [((), {})],
    "atleast_2d": [((), {}), ((3,), {}), ((0,), {})],
    "atleast_3d": [((), {}), ((3,), {}), ((2, 3), {})],
    "tile": [((2, 3), {"reps": 2}), ((3,), {"reps": (2, 2)}), ((), {"reps": 3})],
    "repeat": [
        ((3,), {"repeats": 2}),
        ((2, 3), {"repeats": 2, "axis": -1}),
        ((2, 3), {"repeats": np.array([2, 0, 1]), "axis": 1}),
        ((0, 3), {"repeats": 2, "axis": 0}),
    ],
    "resize": [
        ((2, 3), {"new_shape": (2, 2)}),
        ((3,), {"new_shape": (2, 4)}),
        ((0,), {"new_shape": (2,)}),
    ],
    "delete": [
        ((4,), {"obj": 1}),
        ((2, 3), {"obj": [0, -1], "axis": 1}),
        ((5,), {"obj": [1, 3]}),
        ((2, 3), {"obj": slice(0, 1)}),
    ],
    "diag": [((3,), {}), ((2,), {"k": -1}), ((2, 3), {"k": 1}), ((3, 2), {"k": -2})],
    "diagflat": [((2, 2), {}), ((), {"k": 1}), ((0,), {})],
    "diagonal": [((2, 3), {}), ((2, 3, 2), {"offset": 1, "axis1": 2, "axis2": 0})],
    "trace": [((3, 3), {}), ((2, 3, 3), {"offset": -1, "axis1": 1, "axis2": 2})],
    "tril": [((3, 3), {}), ((2, 2, 3), {"k": 1}), ((0, 2), {})],
    "triu": [((3, 3), {}), ((2, 2, 3), {"k": -1}), ((3,), {})],
    "trim_zeros": [((4,), {}), ((2, 3), {"trim": "f", "axis": 0})],
    "nan_to_num": [((2, 3), {}), ((), {})],
    "pad": [
        ((3,), {"pad_width": 1}),
        ((2, 3), {"pad_width": ((1, 0), (0, 2))}),
        ((2, 3), {"pad_width": 1, "constant_values": ((1, 2), (3, 4))}),
        ((0, 2), {"pad_width": 1}),
        ((2, 3), {"pad_width": (1, 2), "mode": "edge"}),
        ((2, 3), {"pad_width": (1, 2), "mode": "linear_ramp", "end_values": 2}),
        ((2, 3), {"pad_width": (1, 2), "mode": "maximum"}),
        ((2, 3), {"pad_width": 1, "mode": "minimum", "stat_length": 2}),
        ((2, 3), {"pad_width": 1, "mode": "mean", "stat_length": (1, 2)}),
        ((2, 3), {"pad_width": (1, 4), "mode": "reflect"}),
        ((2, 3), {"pad_width": (1, 4), "mode": "reflect", "reflect_type": "odd"}),
        ((2, 3), {"pad_width": (5, 0), "mode": "symmetric"}),
        ((2, 3), {"pad_width": (5, 0), "mode": "symmetric", "reflect_type": "odd"}),
        ((2, 3), {"pad_width": (1, 4), "mode": "wrap"}),
    ],
}

_LISTS = {
    "concat": [((2,), (3,)), ((2, 3), (2, 1), {"axis": -1})],
    "vstack": [((3,), (2, 3)), ((), ())],
    "hstack": [((2,), (3,)), ((2, 3), (2, 1)), ((), (2,))],
    "dstack": [((2, 1), (2, 1)), ((3,), (3,)), ((), ())],
    "column_stack": [((2,), (2, 3)), ((), ())],
}

_SEVERAL = {
    "split": [((4,), {"indices_or_sections": 2}), ((2, 3), {"indices_or_sections": [1], "axis": -1})],
    "array_split": [((5,), {"indices_or_sections": 3})],
    "hsplit": [((2, 4), {"indices_or_sections": 2})],
    "vsplit": [((4, 2), {"indices_or_sections": [1, 3]})],
    "dsplit": [((1, 2, 4), {"indices_or_sections": 2})],
    "unstack": [((2, 3), {}), ((2, 3), {"axis": 1})],
    "broadcast_arrays": [((2, 1), (3,)), ((), (2,))],
    "meshgrid": [((2,), (3,)), ((2,), (3,), {"indexing": "ij"}), ((2,), (3,), {"sparse": True})],
    "ix_": [((2,), (3,))],
}  # fmt: skip

_OTHERS = {
    "append": [((2, 2), (3,)), ((2, 2), (1, 2), {"axis": 0})],
    "linspace": [
        ((), (), {"num": 4}),
        ((2,), (), {"num": 3, "endpoint": False, "axis": -1}),
        ((2,), (3, 1), {"num": 3, "axis": 1}),
        ((), (), {"num": 1}),
        ((), (), {"num": 0}),
    ],
    "logspace": [((), (), {"num": 4}), ((2,), (), {"num": 3, "base": 2.0, "axis": 1})],
}
_GEOMETRIC = [
    ((), (), {"num": 4}),
    ((2,), (), {"num": 3, "endpoint": False, "axis": 1}),
    ((), (), {"num": 1}),
]
_INSERTED = [
    ((3,), (), {"obj": 1}),
    ((2, 3), (2,), {"obj": 1, "axis": 1}),
    ((2, 3), (2, 2), {"obj": [0, 2], "axis": 1}),
    ((3,), (2,), {"obj": slice(0, 2)}),
]

COMPOSITIONS = [
    *[m for name, rows in (_ONE | _OTHERS).items() for m in composition(name, getattr(tg, name), rows)],
    *composition("geomspace", _geomspace(tg), _GEOMETRIC, limits=((0.5, 2.0),)),
    *[m for name, rows in _LISTS.items() for m in composition(name, of_list(getattr(tg, name)), rows)],
    *[m for name, rows in _SEVERAL.items() for m in composition(name, _parts(getattr(tg, name)), rows)],
    *composition("insert", _placed(tg.insert), _INSERTED),
    *composition("block", _block(tg), [((2, 3), (2, 1)), ((), (2,))]),
    *composition("full", lambda x, shape: tg.full(shape, x), [((), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)})]),
]  # fmt: skip

COMPOSITIONS += composition(
    "full_like", _full_like(tg), [((), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)})]
)

COMPOSITIONS += composition(
    "sliding_window_view",
    tg.sliding_window_view,
    [
        ((4,), {"window_shape": 2}),
        ((3, 4), {"window_shape": (2, 3), "axis": (1, 0)}),
        ((4,), {"window_shape": (2, 2), "axis": (0, 0)}),
    ],
)
COMPOSITIONS += composition(
    "apply_along_axis", _reversed_rows(tg), [((2, 3), {"axis": 0}), ((3,), {"axis": 0})]
)
COMPOSITIONS += composition(
    "apply_over_axes", _summed(tg), [((2, 3, 2), {"axes": (0, -1)})]
)

COMPOSITIONS += composition(
    "real_if_close", lambda x: 1 * tg.real_if_close(x), [((2, 3), {})]
)

PLAIN = [
    *("allclose", "array2string", "array_equal", "array_equiv", "array_repr"),
    *("array_str", "can_cast", "common_type", "diag_indices_from", "iscomplexobj"),
    *("isrealobj", "may_share_memory", "min_scalar_type", "ravel_multi_index"),
    *("result_type", "shares_memory", "tril_indices_from", "triu_indices_from"),
    *("unravel_index",),
]
"""NumPy's functions that a Tensor answers plainly."""

BY_NUMPY = {
    **{name: getattr(np, name) for name in (*_ONE, *_OTHERS)},
    **{name: of_list(getattr(np, name)) for name in _LISTS},
    **{name: _parts(getattr(np, name, getattr(tg, name))) for name in _SEVERAL},
    "sliding_window_view": np.lib.stride_tricks.sliding_window_view,
    "apply_along_axis": _reversed_rows(np),
    "apply_over_axes": _summed(np),
    "real_if_close": lambda x: 1 * np.real_if_close(x),
    "geomspace": _geomspace(np),
    "insert": _placed(np.insert),
    "block": _block(np),
    "full_like": np.broadcast_to,
    "full": np.broadcast_to,
}  # fmt: skip
