"""Members of the functions that make forms of their own of NumPy's few."""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition, of_list

_ROWS = (
    ((2, 3), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": -1, "keepdims": True}),
    ((2, 3, 2), {"axis": (0, -1)}),
    ((2, 1, 3), {"axis": [2, 0], "keepdims": True}),
    ((0, 3), {"axis": 1}),
)
_PAIRS = (((), ()), ((3,), (3,)), ((2, 1), (3,)), ((), (2, 3)), ((0,), (1,)))

COMPOSITIONS = [
    *composition("var", tg.var, _ROWS),
    *composition(
        "var", tg.var, [((2, 3), {"ddof": 1}), ((2, 3), {"axis": 0, "ddof": 0.5})]
    ),
    *composition("std", tg.std, _ROWS),
    *composition("std", tg.std, [((4,), {"ddof": 1})]),
    *composition("norm", tg.norm, _ROWS),
    *composition(
        "norm",
        tg.norm,
        [
            ((4,), {"ord": 1}),
            ((2, 3), {"ord": 2, "axis": 1}),
            ((2, 3), {"ord": np.inf, "axis": -1, "keepdims": True}),
            ((2, 3), {"ord": -np.inf, "axis": 0}),
            ((2, 3), {"ord": 3, "axis": 0}),
            ((2, 3), {"ord": 2.5, "axis": (1,)}),
            ((2, 3), {"ord": "fro"}),
        ],
    ),
    *composition(
        "clip",
        tg.clip,
        [
            ((), {"min": 0.1}),
            ((2, 3), {"min": -1, "max": 1}),
            ((3,), {"max": 0.5}),
            ((2, 3), {"min": np.array([-1.0, 0.3, 0.2], np.float32)}),
            ((0,), {"min": 0}),
        ],
    ),
    *composition("maximum", tg.maximum, _PAIRS),
    *composition("minimum", tg.minimum, _PAIRS),
    *composition(
        "dot",
        tg.dot,
        [
            ((), (2, 3)),
            ((2, 3), ()),
            ((3,), (3,)),
            ((2, 3), (3, 2)),
            ((2, 3), (3,)),
            ((2, 2, 3), (3,)),
            ((3,), (2, 3, 2)),
            ((2, 2, 3), (3, 2)),
            ((2, 3), (2, 3, 2)),
            ((2, 1, 3), (2, 3, 2)),
            ((0, 3), (3, 0)),
        ],
    ),
    *composition(
        "concatenate",
        of_list(tg.concatenate),
        [((2,), (3,)), ((2, 3), (2, 1), {"axis": -1}), ((2, 2), (), {"axis": None})],
    ),
    *composition(
        "stack",
        of_list(tg.stack),
        [((2,), (2,)), ((2, 3), (2, 3), {"axis": -2}), ((), ())],
    ),
    *composition(
        "swapaxes",
        tg.swapaxes,
        [((2, 3), {"axis1": 0, "axis2": 1}), ((2, 3, 1), {"axis1": -1, "axis2": 0})],
    ),
    *composition(
        "moveaxis",
        tg.moveaxis,
        [
            ((2, 3, 1), {"source": 0, "destination": -1}),
            ((2, 3, 1), {"source": (0, -1), "destination": [1, 0]}),
        ],
    ),
    *composition(
        "squeeze",
        tg.squeeze,
        [
            ((2, 1, 3, 1), {}),
            ((2, 1, 3, 1), {"axis": -1}),
            ((1, 3, 1), {"axis": (0, 2)}),
            ((1, 1), {}),
        ],
    ),
    *composition(
        "expand_dims",
        tg.expand_dims,
        [((3,), {"axis": 0}), ((2, 3), {"axis": (0, -1)}), ((), {"axis": -1})],
    ),
    *composition(
        "flip",
        tg.flip,
        [((3,), {}), ((2, 3), {"axis": -1}), ((2, 3), {"axis": (0, 1)}), ((), {})],
    ),
    *composition("ravel", tg.ravel, [((2, 3), {}), ((), {}), ((0, 2), {})]),
]

BY_NUMPY = {name: getattr(np, name) for name in
             ("var", "std", "clip", "maximum", "minimum", "dot", "swapaxes", "moveaxis",
              "squeeze", "expand_dims", "flip", "ravel")} | {
    "norm": np.linalg.norm,
    "concatenate": of_list(np.concatenate),
    "stack": of_list(np.stack),
}  # fmt: skip
