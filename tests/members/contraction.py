"""Members of products that sum."""

from __future__ import annotations

import numpy as np

import tinygrad_nn as tg
from members.rows import composition


def _of_arrays(einsum):
    """Return `einsum` as a function of its arrays, with subscripts or lists for axes."""

    def call(*arrays, subscripts=None, axes=None, result=None, **settings):
        if subscripts is not None:
            return einsum(subscripts, *arrays, **settings)
        pairs = [x for pair in zip(arrays, axes, strict=True) for x in pair]
        return einsum(*pairs, *([] if result is None else [result]))

    return call


_STEPS = [
    ((2, 3), (3, 4), (4, 2), {"subscripts": "ij,jk,kl->il", "optimize": True}),
    ((2, 3), (3, 4), (4,), {"subscripts": "ij,jk,k", "optimize": "optimal"}),
    ((2, 3, 2), (2, 2, 3), {"subscripts": "bij,bki->kjb", "optimize": "greedy"}),
    ((2, 2), (2, 3), {"subscripts": "ii,ij->ij", "optimize": True}),
    ((2, 3), (3,), (2, 1), {"subscripts": "ij,j,ik->ik", "optimize": ["einsum_path", (0, 1), (0, 1)]}),
    ((2, 3), (1, 3), {"subscripts": "...i,...i", "optimize": True}),
    ((3,), (2, 3), (3,), {"subscripts": "i,ji,i->j", "optimize": ["einsum_path", (0, 1, 2)]}),
    ((2, 3), {"subscripts": "ij->ji", "optimize": True}),
    ((0, 3), (3, 2), {"subscripts": "ij,jk->ki", "optimize": True}),
]  # fmt: skip

COMPOSITIONS = [
    *composition(
        "tensordot",
        tg.tensordot,
        [
            ((2, 3), (2, 3), {}),
            ((2, 3), (3, 2), {"axes": 1}),
            ((2,), (3,), {"axes": 0}),
            ((2, 3, 2), (2, 2, 3), {"axes": ([1, 0], [2, 1])}),
            ((2, 3), (3, 2), {"axes": (-1, 0)}),
            ((2, 0), (0, 3), {"axes": 1}),
            ((), (2,), {"axes": 0}),
        ],
    ),
    *composition(
        "inner",
        tg.inner,
        [
            ((3,), (3,), {}),
            ((2, 3), (3,), {}),
            ((2, 3), (2, 2, 3), {}),
            ((), (2, 3), {}),
            ((0,), (2, 0), {}),
        ],
    ),
    *composition(
        "outer",
        tg.outer,
        [((2,), (3,), {}), ((2, 2), (3,), {}), ((), (2,), {}), ((0,), (2,), {})],
    ),
    *composition(
        "vdot", tg.vdot, [((3,), (3,), {}), ((2, 3), (3, 2), {}), ((), (), {})]
    ),
    *composition(
        "vecdot",
        tg.vecdot,
        [
            ((3,), (3,), {}),
            ((2, 3), (3,), {}),
            ((2, 1, 3), (2, 3), {}),
            ((3, 2), (3, 2), {"axis": 0}),
            ((3, 2), (3, 2), {"axis": 0, "keepdims": True}),
            ((3, 2), (2, 3), {"axes": [0, 1]}),
            ((2, 0), (0,), {}),
        ],
    ),
    *composition(
        "matvec",
        tg.matvec,
        [
            ((2, 3), (3,), {}),
            ((2, 3), (2, 3), {}),
            ((2, 2, 3), (1, 3), {}),
            ((3, 2), (3, 2), {"axes": [(1, 0), 0, 0]}),
            ((2, 0), (0,), {}),
        ],
    ),
    *composition(
        "vecmat",
        tg.vecmat,
        [
            ((3,), (3, 2), {}),
            ((2, 3), (3, 2), {}),
            ((2, 3), (2, 3, 1), {}),
            ((0,), (0, 2), {}),
        ],
    ),
    *composition(
        "matmul",
        tg.matmul,
        [
            ((3, 2), (3, 2), {"axes": [(1, 0), (0, 1), (0, 1)]}),
            ((2, 3, 2), (3, 2), {"axes": [(0, 1), (0, 1), (-1, 0)]}),
            ((3,), (2, 3), {"axes": [0, (1, 0), 0]}),
        ],
    ),
    *composition(
        "kron",
        tg.kron,
        [
            ((2,), (3,), {}),
            ((2, 2), (1, 3), {}),
            ((2,), (2, 2), {}),
            ((2, 1, 2), (2,), {}),
            ((), (2,), {}),
            ((0, 2), (2, 2), {}),
        ],
    ),
    *composition(
        "cross",
        tg.cross,
        [
            ((3,), (3,), {}),
            ((2, 3), (3,), {}),
            ((3, 2), (2, 3), {"axisa": 0, "axisc": 0}),
            ((3, 2), (3, 2), {"axis": 0}),
            ((2, 1, 3), (2, 3), {"axisc": 1}),
            ((0, 3), (3,), {}),
        ],
    ),
    *composition(
        "einsum",
        _of_arrays(tg.einsum),
        [
            ((2, 3), (3, 2), {"subscripts": "ij,jk->ik"}),
            ((3, 3), {"subscripts": "ii"}),
            *_STEPS,
            ((2, 3), (3, 2), {"axes": [[7, 30], [30, 2]]}),
            ((2, 3), (3,), {"axes": [[..., 1], [1]], "result": [...]}),
            ((3, 3), {"axes": [[0, 0]], "result": [0]}),
        ],
    ),
]

BY_NUMPY = {
    name: getattr(np, name)
    for name in (
        *("cross", "inner", "kron", "matmul", "outer", "tensordot", "vdot", "vecdot"),
        *(name for name in ("matvec", "vecmat") if hasattr(np, name)),
    )
} | {
    "einsum": _of_arrays(np.einsum),
}

ELSEWHERE = ("einsum_path",)
"""A plain list: `test_vocabulary_contraction` has it."""
