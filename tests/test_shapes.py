"""Arithmetic on shapes, and every shape rule, held to NumPy on all small shapes."""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations, product
from operator import getitem

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import op_of

SHAPES = [s for rank in range(4) for s in product((0, 1, 2), repeat=rank)]
AXES = [
    None,
    *range(-4, 4),
    (),
    (0,),
    (-1,),
    (0, 1),
    (1, 0),
    (0, -1),
    (-2, 1),
    (0, 0),
    (0, 1, 2),
]


def _made(function, *arguments, **settings):
    """Result of a call, or the word for a refusal."""
    try:
        return function(*arguments, **settings)
    except (ValueError, TypeError, IndexError):
        return "refused"


def _shape(function, *arguments, **settings):
    """Shape of the result of a call, or the word for a refusal."""
    made = _made(function, *arguments, **settings)
    return made if isinstance(made, str) else _shape_of(made)


def _shape_of(made):
    return made.shape if isinstance(made, tg.Tensor) else np.shape(made)


def _said(rule, *sizes, **settings):
    """What a shape rule says; it refuses by ShapeError alone."""
    try:
        return rule(*sizes, **settings)
    except ShapeError:
        return "refused"


@pytest.mark.parametrize("count", [1, 2])
def test_broadcast_is_numpys(count):
    """Every pair of shapes broadcasts, or is refused, as NumPy has it."""
    assert shapes.broadcast() == ()
    for sizes in product(SHAPES, repeat=count):
        wanted = _made(np.broadcast_shapes, *sizes)
        assert _said(shapes.broadcast, *sizes) == wanted, sizes


def test_broadcast_of_three_is_numpys():
    """Three shapes broadcast together, in any order."""
    few = [(), (1,), (3,), (2, 1), (2, 3), (0, 1), (1, 1, 3), (2,)]
    for sizes in combinations_with_replacement(few, 3):
        for order in permutations(sizes):
            wanted = _made(np.broadcast_shapes, *order)
            assert _said(shapes.broadcast, *order) == wanted


def test_normalized_axes_are_numpys():
    """Axes count from both ends, repeat nowhere, and are in range, as in NumPy."""
    from numpy.lib.array_utils import normalize_axis_tuple

    for rank in range(4):
        for axis in AXES[1:]:
            wanted = _made(normalize_axis_tuple, axis, rank)
            if wanted != "refused":
                wanted = tuple(sorted(wanted))
            assert _said(shapes.normalize_axes, rank, axis) == wanted
        assert shapes.normalize_axes(rank, None) == tuple(range(rank))
    assert shapes.normalize_axes(3, [np.int64(-1), 0]) == (0, 2)


REDUCTIONS = ("sum", "prod", "mean", "max", "min", "logsumexp")


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_accept_what_numpy_accepts(name):
    """Shape rule, body and NumPy agree on every shape, axis and keepdims."""
    function = getattr(ops, name)
    rule = op_of(function).shape
    by_numpy = getattr(np, "max" if name in ("logsumexp", "mean") else name)
    for size, axis, keepdims in product(SHAPES, AXES, (False, True)):
        case = f"{size}, axis={axis}, keepdims={keepdims}"
        settings = {"axis": axis, "keepdims": keepdims}
        x = np.ones(size)
        wanted = _shape(by_numpy, x, **settings)
        assert _said(rule, size, **settings) == wanted, case
        assert _shape(function, x, **settings) == wanted, case


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "others"])
def test_what_keeps_its_shape_refuses_what_sum_refuses(name):
    """Rule and body agree; what is refused is a bad axis, or no element to compare."""
    function = getattr(ops, name)
    like = np.sum if name == "others" else np.max
    for size, axis in product(SHAPES, AXES):
        x = np.ones(size)
        kept = _shape(like, x, axis=axis, keepdims=True)
        wanted = kept if kept == "refused" else size
        assert _said(op_of(function).shape, size, axis=axis) == wanted
        assert _shape(function, x, axis=axis) == wanted, (size, axis)


def test_cumsum_accepts_what_numpy_accepts():
    """Shape rule and body agree with NumPy on every shape and axis."""
    rule = op_of(ops.cumsum).shape
    for size, axis in product(SHAPES, [None, *range(-4, 4)]):
        x = np.ones(size)
        wanted = _shape(np.cumsum, x, axis)
        assert _said(rule, size, axis=axis) == wanted, (size, axis)


def test_matmul_accepts_what_numpy_accepts():
    """Shape rule and body agree with NumPy on every pair of shapes."""
    rule = op_of(ops.matmul).shape
    for x, y in product(SHAPES, repeat=2):
        wanted = _shape(np.matmul, np.ones(x), np.ones(y))
        assert _said(rule, x, y) == wanted, (x, y)
        made = _shape(ops.matmul, np.ones(x), np.ones(y))
        assert made == wanted, (x, y)


def test_dot_accepts_what_numpy_accepts():
    """tg.dot has NumPy's shapes for every pair of ranks."""
    for x, y in product(SHAPES, repeat=2):
        a, b = np.ones(x), np.ones(y)
        wanted = _shape(np.dot, a, b)
        made = _shape(tg.dot, tg.Tensor(a), b)
        assert made == wanted, (x, y)


def test_movements_accept_what_numpy_accepts():
    """reshape, broadcast_to and transpose agree with NumPy on every pair of shapes."""
    for size, wanted_shape in product(
        SHAPES, [*SHAPES, (-1,), (2, -1), (-1, -1), 2, -1, (3, -1)]
    ):
        x = np.ones(size)
        for name in ("reshape", "broadcast_to"):
            wanted = _shape(getattr(np, name), x, wanted_shape)
            rule = op_of(getattr(ops, name)).shape
            said = _said(rule, size, shape=wanted_shape)
            assert said == wanted, (name, size, wanted_shape)
    for size in SHAPES:
        x = np.ones(size)
        for axes in [None, *product(range(-3, 3), repeat=len(size))]:
            wanted = _shape(np.transpose, x, axes)
            said = _said(op_of(ops.transpose).shape, size, axes=axes)
            assert said == wanted, (size, axes)


def test_joins_accept_what_numpy_accepts():
    """Concatenate and stack agree with NumPy on every pair of shapes and every axis."""
    few = [s for s in SHAPES if len(s) < 3]
    for x, y, axis in product(few, few, [None, *range(-3, 3)]):
        arrays = np.ones(x), np.ones(y)
        wanted = _shape(np.concatenate, arrays, axis)
        said = _said(op_of(ops.concatenate).shape, x, y, axis=axis)
        assert said == wanted, (x, y, axis)
        if axis is not None:
            wanted = _shape(np.stack, arrays, axis)
            said = _said(op_of(ops.stack).shape, x, y, axis=axis)
            assert said == wanted, (x, y, axis)
    for function in (ops.concatenate, ops.stack):
        assert _said(op_of(function).shape) == "refused"


REARRANGED = [
    *[("swapaxes", pair) for pair in product(range(-3, 3), repeat=2)],
    *[("moveaxis", pair) for pair in product(range(-3, 3), repeat=2)],
    ("moveaxis", ((0, 1), (1, 0))),
    ("moveaxis", ((0, 0), (1, 0))),
    ("moveaxis", ((0, 1), (1,))),
    *[("squeeze", (axis,)) for axis in (None, *range(-3, 3), (0, 1), (0, -1), ())],
    *[("expand_dims", (axis,)) for axis in (*range(-4, 4), (0, 1), (0, -1), (0, 0))],
    *[("flip", (axis,)) for axis in (None, *range(-3, 3), (0, 1), (0, 0))],
]


def test_rearrangements_are_numpys():
    """Values and refusals of the rearranging functions are NumPy's, on every shape."""
    for name, arguments in REARRANGED:
        for size in SHAPES:
            x = np.arange(float(np.prod(size))).reshape(size)
            wanted = _made(getattr(np, name), x, *arguments)
            made = _made(getattr(tg, name), tg.Tensor(x), *arguments)
            case = (name, arguments, size)
            if isinstance(wanted, str) or isinstance(made, str):
                assert isinstance(wanted, str), case
                assert isinstance(made, str), case
            else:
                assert np.array_equal(made.numpy(), wanted), case


EINSUMS = (
    *("ij->ji", "ii", "ii->i", "ij->", "ij", "ji", "i->", "...->...", "i...->...i"),
    *("...i", "ij,jk", "ij,jk->ik", "ij,ij->i", "i,j->ij", "i,i", "...i,...i->..."),
    *("...ij,...jk->...ik", "i...,i->...", "ij,k->", "ij->iij", "ij->k", "ij,jk,k->i"),
    *("i,i,i->", " ij , jk -> ik", "...,...", "i...j->j...i"),
)


@pytest.mark.parametrize("subscripts", EINSUMS)
def test_einsum_accepts_what_numpy_accepts(subscripts):
    """Shape rule and NumPy agree for every shape of up to two axes a term."""
    few = [s for rank in range(4) for s in product((1, 2), repeat=rank)]
    terms = subscripts.count(",") + 1
    if terms == 3:
        few = [(), (1,), (2,), (2, 2), (1, 2)]
    rule = op_of(ops.einsum).shape
    for sizes in product(few, repeat=terms):
        arrays = [np.ones(size) for size in sizes]
        wanted = _shape(np.einsum, subscripts, *arrays)
        assert _said(rule, *sizes, subscripts=subscripts) == wanted, sizes


def test_indexing_is_numpys():
    """The rule of indexing and of its way back agree with NumPy, refusals too."""
    indices = [
        *(0, -1, 2, 5, slice(None), slice(3, 0, -1), None, ..., (), (0, 1), (..., 0)),
        *([0, 1], [0, -1, 0], (slice(None), [1, 0]), ([0, 1], [1, 0]), ([0], None, 0)),
        *((0, slice(None), [0, 1]), (..., None), (None, 0), (slice(None), None), True),
        *([[True, False], [False, True]], [True, False], (..., ...), 1.5, "x"),
    ]
    for size in SHAPES:
        x = np.arange(float(np.prod(size))).reshape(size)
        for index in indices:
            where = np.asarray(index) if isinstance(index, list) else index
            wanted = _shape(getitem, x, where)
            said = _said(op_of(ops.getitem).shape, size, index=where)
            assert said == wanted, (size, index)
            if wanted == "refused":
                continue
            back = op_of(ops.scatter_add).shape
            assert back(wanted, index=where, shape=size) == size
            assert _said(back, (*wanted, 7), index=where, shape=size) == "refused"
            ones = ops.scatter_add(np.ones(wanted), where, size)
            assert ones.shape == size
            assert ones.sum() == np.prod(wanted)
