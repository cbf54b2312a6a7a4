"""Functions that move elements: NumPy's value bit for bit, and the map's transpose."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    DtypeError,
    MutationError,
    OpError,
    ShapeError,
    UnsupportedError,
)

# --- every call, on every kind of operand -----------------------------------------

MATRIX, CUBE, VECTOR, NUMBER = (3, 4), (2, 3, 4), (5,), ()
EMPTY = (0, 3)


def _windows(module):
    if module is np:
        return np.lib.stride_tricks.sliding_window_view
    return module.sliding_window_view


def _outer(module):
    """Return a function of a vector that gives a matrix."""
    return lambda row: module.stack([row, 2 * row])


def _turned(module):
    """Return a function that keeps the axes."""
    return lambda x, axis: module.flip(x, axis)


CALLS = [
    # name, shapes, call on a module that has NumPy's names
    ("flip", [MATRIX, CUBE, VECTOR, NUMBER, EMPTY], lambda m, x: m.flip(x)),
    ("flip", [MATRIX, CUBE], lambda m, x: m.flip(x, (0, -1))),
    ("fliplr", [MATRIX, CUBE, EMPTY], lambda m, x: m.fliplr(x)),
    ("flipud", [MATRIX, VECTOR, EMPTY], lambda m, x: m.flipud(x)),
    ("roll", [MATRIX, CUBE, VECTOR, NUMBER, EMPTY], lambda m, x: m.roll(x, 2)),
    ("roll", [MATRIX, CUBE, EMPTY], lambda m, x: m.roll(x, -7, axis=-1)),
    ("roll", [MATRIX, CUBE], lambda m, x: m.roll(x, (1, 2), axis=(0, 1))),
    ("roll", [MATRIX, CUBE], lambda m, x: m.roll(x, (1, 2), axis=0)),
    ("roll", [MATRIX, CUBE], lambda m, x: m.roll(x, 1, axis=(0, 0, -1))),
    ("rollaxis", [CUBE], lambda m, x: m.rollaxis(x, 2)),
    ("rollaxis", [CUBE], lambda m, x: m.rollaxis(x, 0, 3)),
    ("rollaxis", [CUBE], lambda m, x: m.rollaxis(x, -3, -1)),
    *[
        ("rot90", [MATRIX, CUBE, EMPTY], lambda m, x, k=k: m.rot90(x, k))
        for k in range(-1, 5)
    ],
    ("rot90", [CUBE], lambda m, x: m.rot90(x, 1, (2, 0))),
    ("tile", [MATRIX, VECTOR, NUMBER, EMPTY], lambda m, x: m.tile(x, 2)),
    ("tile", [MATRIX, VECTOR, NUMBER], lambda m, x: m.tile(x, (2, 1, 3))),
    ("tile", [MATRIX, VECTOR, NUMBER], lambda m, x: m.tile(x, ())),
    ("tile", [MATRIX, VECTOR], lambda m, x: m.tile(x, (0,))),
    ("repeat", [MATRIX, VECTOR, NUMBER, EMPTY], lambda m, x: m.repeat(x, 2)),
    ("repeat", [MATRIX, CUBE, EMPTY], lambda m, x: m.repeat(x, 2, axis=-1)),
    ("repeat", [MATRIX], lambda m, x: m.repeat(x, [1, 0, 3], axis=0)),
    ("repeat", [MATRIX], lambda m, x: m.repeat(x, [2], axis=0)),
    ("repeat", [MATRIX], lambda m, x: m.repeat(x, np.arange(12))),
    ("repeat", [MATRIX, EMPTY], lambda m, x: m.repeat(x, 0, axis=1)),
    ("resize", [MATRIX, VECTOR, NUMBER, EMPTY], lambda m, x: m.resize(x, (2, 7))),
    ("resize", [MATRIX, VECTOR], lambda m, x: m.resize(x, 3)),
    ("resize", [MATRIX, VECTOR, EMPTY], lambda m, x: m.resize(x, (0, 2))),
    ("delete", [MATRIX, CUBE], lambda m, x: m.delete(x, 1, axis=1)),
    ("delete", [MATRIX, VECTOR], lambda m, x: m.delete(x, [0, -1])),
    ("delete", [MATRIX, VECTOR], lambda m, x: m.delete(x, [0, 2, 2, 4])),
    ("delete", [MATRIX, VECTOR], lambda m, x: m.delete(x, slice(None, None, 2))),
    ("delete", [MATRIX], lambda m, x: m.delete(x, [True, False, True], axis=0)),
    ("delete", [MATRIX, VECTOR], lambda m, x: m.delete(x, slice(None))),
    ("delete", [MATRIX, VECTOR, EMPTY], lambda m, x: m.delete(x, [])),
    ("delete", [VECTOR], lambda m, x: m.delete(x, 0)),
    ("delete", [VECTOR], lambda m, x: m.delete(x, -1)),
    ("insert", [MATRIX, VECTOR, NUMBER], lambda m, x: m.insert(x, 0, 7)),
    ("insert", [MATRIX], lambda m, x: m.insert(x, 1, [7, 8, 9, 1], axis=0)),
    ("insert", [MATRIX], lambda m, x: m.insert(x, [1], [[7], [8], [9]], axis=1)),
    ("insert", [MATRIX], lambda m, x: m.insert(x, [0, -1, 0], 5, axis=-1)),
    ("insert", [VECTOR], lambda m, x: m.insert(x, [4, 1, 1], [7, 8, 9])),
    ("insert", [VECTOR], lambda m, x: m.insert(x, slice(1, 3), [7, 8])),
    ("insert", [VECTOR], lambda m, x: m.insert(x, np.array([1, 0, 1, 0, 0], bool), 7)),
    ("insert", [VECTOR], lambda m, x: m.insert(x, 2, 3.7)),
    ("insert", [VECTOR], lambda m, x: m.insert(x, [], [])),
    ("insert", [MATRIX], lambda m, x: m.insert(x, 1, x[0], axis=0)),
    ("append", [MATRIX, VECTOR, NUMBER], lambda m, x: m.append(x, [1, 2])),
    ("append", [MATRIX], lambda m, x: m.append(x, x[:1], axis=0)),
    ("split", [MATRIX, CUBE], lambda m, x: m.split(x, 2, axis=-1)),
    ("split", [MATRIX, VECTOR, EMPTY], lambda m, x: m.split(x, [1, 3, 9])),
    ("split", [VECTOR], lambda m, x: m.split(x, [3, 1, -1])),
    ("array_split", [MATRIX, VECTOR, EMPTY], lambda m, x: m.array_split(x, 3)),
    ("array_split", [MATRIX, CUBE], lambda m, x: m.array_split(x, 3, axis=-1)),
    ("hsplit", [MATRIX, CUBE], lambda m, x: m.hsplit(x, [1, 2])),
    ("hsplit", [VECTOR], lambda m, x: m.hsplit(x, 5)),
    ("vsplit", [MATRIX, CUBE], lambda m, x: m.vsplit(x, [1])),
    ("dsplit", [CUBE], lambda m, x: m.dsplit(x, 2)),
    ("unstack", [MATRIX, VECTOR], lambda m, x: m.unstack(x)),
    ("unstack", [MATRIX, CUBE], lambda m, x: m.unstack(x, axis=-1)),
    ("concat", [MATRIX], lambda m, x: m.concat([x, x], axis=-1)),
    ("concatenate", [MATRIX], lambda m, x: m.concatenate(x)),
    ("concatenate", [MATRIX], lambda m, x: m.concatenate((x, x[:, :1]), 1)),
    ("concatenate", [MATRIX, NUMBER], lambda m, x: m.concatenate((x, x), None)),
    ("stack", [MATRIX, NUMBER], lambda m, x: m.stack([x, x], axis=-1)),
    ("stack", [MATRIX], lambda m, x: m.stack(x)),
    ("vstack", [MATRIX, VECTOR, NUMBER, EMPTY], lambda m, x: m.vstack([x, x])),
    ("hstack", [MATRIX, VECTOR, NUMBER, EMPTY], lambda m, x: m.hstack((x, x))),
    ("dstack", [MATRIX, VECTOR, NUMBER, CUBE], lambda m, x: m.dstack([x, x])),
    ("column_stack", [MATRIX, VECTOR, NUMBER], lambda m, x: m.column_stack([x, x])),
    ("column_stack", [MATRIX], lambda m, x: m.column_stack([x, x[:, 0], [1, 2, 3]])),
    ("block", [MATRIX], lambda m, x: m.block([[x, x], [x[:1], x[1:2]]])),
    ("block", [MATRIX, NUMBER, VECTOR], lambda m, x: m.block([x, x])),
    ("block", [MATRIX], lambda m, x: m.block([[[x], [x]]])),
    ("block", [CUBE], lambda m, x: m.block([[x, 2 * x]])),
    ("block", [NUMBER], lambda m, x: m.block([[x, 1], [2, x]])),
    ("atleast_1d", [MATRIX, VECTOR, NUMBER], lambda m, x: m.atleast_1d(x)),
    ("atleast_2d", [CUBE, VECTOR, NUMBER, EMPTY], lambda m, x: m.atleast_2d(x)),
    ("atleast_3d", [CUBE, MATRIX, VECTOR, NUMBER], lambda m, x: m.atleast_3d(x)),
    ("atleast_2d", [VECTOR], lambda m, x: m.atleast_2d(x, x[0])),
    ("broadcast_arrays", [MATRIX], lambda m, x: m.broadcast_arrays(x, x[:, :1], 1)),
    ("permute_dims", [CUBE], lambda m, x: m.permute_dims(x, (1, 2, 0))),
    ("permute_dims", [CUBE, NUMBER], lambda m, x: m.permute_dims(x)),
    ("matrix_transpose", [MATRIX, CUBE], lambda m, x: m.matrix_transpose(x)),
    ("diag", [MATRIX, VECTOR, EMPTY], lambda m, x: m.diag(x)),
    *[
        ("diag", [MATRIX, (4, 3), VECTOR, EMPTY], lambda m, x, k=k: m.diag(x, k))
        for k in (-4, -2, -1, 1, 2, 4)
    ],
    ("diagflat", [MATRIX, NUMBER, VECTOR], lambda m, x: m.diagflat(x, -1)),
    ("diagonal", [MATRIX, CUBE], lambda m, x: m.diagonal(x, 1)),
    ("diagonal", [CUBE], lambda m, x: m.diagonal(x, -1, 2, 0)),
    ("trace", [MATRIX, CUBE, (20, 30)], lambda m, x: m.trace(x)),
    ("trace", [CUBE], lambda m, x: m.trace(x, 1, -1, 0)),
    ("trace", [CUBE], lambda m, x: m.trace(x, dtype=np.float32)),
    *[
        (name, [MATRIX, CUBE, VECTOR, EMPTY], lambda m, x, n=name, k=k: getattr(m, n)(x, k))
        for name in ("tril", "triu")
        for k in (-2, 0, 1)
    ],
    ("meshgrid", [VECTOR, NUMBER], lambda m, x: m.meshgrid(x, [1, 2], x)),
    ("meshgrid", [VECTOR], lambda m, x: m.meshgrid(x, [1, 2], indexing="ij")),
    ("meshgrid", [VECTOR], lambda m, x: m.meshgrid(x, x, sparse=True)),
    ("meshgrid", [VECTOR], lambda m, x: m.meshgrid(x)),
    ("full_like", [MATRIX], lambda m, x: m.full_like(x, x[0, 1])),
    ("apply_along_axis", [MATRIX], lambda m, x: m.apply_along_axis(lambda a: a[::-1], 0, x)),
    ("apply_along_axis", [CUBE], lambda m, x: m.apply_along_axis(lambda a: a[1], -1, x)),
    ("apply_along_axis", [CUBE], lambda m, x: m.apply_along_axis(_outer(m), 1, x)),
    ("apply_over_axes", [CUBE], lambda m, x: m.apply_over_axes(m.sum, x, (0, -1))),
    ("apply_over_axes", [CUBE], lambda m, x: m.apply_over_axes(_turned(m), x, 1)),
    ("nan_to_num", [MATRIX, NUMBER], lambda m, x: m.nan_to_num(x)),
    ("real_if_close", [MATRIX], lambda m, x: 1 * m.real_if_close(x)),
    ("sliding_window_view", [CUBE], lambda m, x: _windows(m)(x, (2, 1, 3))),
    ("sliding_window_view", [CUBE], lambda m, x: _windows(m)(x, (2, 3), (-1, 1))),
    ("sliding_window_view", [MATRIX], lambda m, x: _windows(m)(x, (2, 2), (1, 1))),
    ("sliding_window_view", [MATRIX], lambda m, x: _windows(m)(x, 0, 1)),
    ("sliding_window_view", [VECTOR], lambda m, x: _windows(m)(x, 5)),
    ("full_like", [MATRIX], lambda m, x: m.full_like(x, x[0], shape=(2, 4))),
]  # fmt: skip

DTYPES = [np.float64, np.float32, np.int64, np.uint8, np.bool_]


def _several(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _rows(calls):
    return [
        pytest.param(call, size, id=f"{i}-{name}-{'x'.join(map(str, size))}")
        for i, (name, sizes, call) in enumerate(calls)
        for size in sizes
    ]


def _numbers(size, dtype, rng):
    x = np.asarray(rng.integers(0, 9, size) * (1.25 if dtype in DTYPES[:2] else 1))
    return x.astype(dtype) if dtype is not np.bool_ else np.asarray(x > 4)


def _same(found, wanted):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    laws.identical(found, wanted)


@pytest.mark.parametrize(("call", "size"), _rows(CALLS))
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_the_value_is_numpys(call, size, dtype, rng):
    """Of floats, integers and truths, by both names, for arrays and for Tensors."""
    x = _numbers(size, dtype, rng)
    wanted = call(np, x)
    t = tg.Tensor(x)
    for found in (call(tg, x), call(tg, t), call(np, t)):
        assert type(found) is type(wanted) or not isinstance(wanted, (list, tuple))
        for got, want in zip(_several(found), _several(wanted), strict=True):
            _same(tg.op.data_of(got), want)
    assert any(isinstance(got, tg.Tensor) for got in _several(call(np, t)))


def affine_gradient(f, x, gs):
    """Transpose of an affine map, from its values at the unit vectors."""
    origin = _several(f(np.zeros_like(x)))
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1.0
        for got, base, g in zip(_several(f(unit)), origin, gs, strict=True):
            found[place] += np.sum((np.asarray(got) - base) * g)
    return found


def check_gradient(call, x, rng):
    """Compare both loops of the engine with the transpose."""
    t = tg.Tensor(x, requires_grad=True)
    outs = [tg.op.data_of(out) for out in _several(call(np, x))]
    gs = [rng.integers(-4, 5, np.shape(out)).astype(x.dtype) for out in outs]
    total = tg.Tensor(np.zeros((), x.dtype))
    for out, g in zip(_several(call(np, t)), gs, strict=True):
        if isinstance(out, tg.Tensor):
            total = total + tg.sum(out * g)
    wanted = affine_gradient(lambda a: call(np, a), x, gs)
    (recorded,) = tg.gradients(total, [t], unused="zero")
    laws.close(recorded.numpy(), wanted, 1e-13, scale=1.0)
    assert recorded.dtype == x.dtype
    if total.requires_grad:
        total.backward()
        laws.close(t.grad, wanted, 1e-13, scale=1.0)


@pytest.mark.parametrize(("call", "size"), _rows(CALLS))
def test_the_gradient_is_the_transpose(call, size, rng):
    """The gradient is what the values at all unit vectors say, in both loops."""
    if size == (20, 30):
        size = (6, 9)
    check_gradient(call, _numbers(size, np.float64, rng), rng)


# --- padding ----------------------------------------------------------------------

WIDTHS = [0, 1, 2, 7, (1, 3), (0, 2), [(2, 1)], ((1, 0), (0, 4)), ((9, 0), (3, 11))]
MODES = [
    ("constant", {}),
    ("constant", {"constant_values": -0.0}),
    ("constant", {"constant_values": 3}),
    ("constant", {"constant_values": ((1, 2), (3, 4))}),
    ("constant", {"constant_values": (5, 6)}),
    ("constant", {"constant_values": ((5,), (6,))}),
    ("edge", {}),
    ("linear_ramp", {}),
    ("linear_ramp", {"end_values": ((1, -2), (3, 4))}),
    ("mean", {}),
    ("mean", {"stat_length": 2}),
    ("mean", {"stat_length": ((1, 2), (3, 9))}),
    ("reflect", {}),
    ("reflect", {"reflect_type": "odd"}),
    ("symmetric", {}),
    ("symmetric", {"reflect_type": "odd"}),
    ("wrap", {}),
]
EXTREMES = [
    ("maximum", {}),
    ("maximum", {"stat_length": 2}),
    ("minimum", {"stat_length": (1, 2)}),
    ("median", {}),
    ("median", {"stat_length": ((3, 2), (2, 3))}),
]


def _padded(mode, width, options):
    return lambda m, x: m.pad(x, width, mode, **options)


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize(("mode", "options"), MODES + EXTREMES, ids=str)
def test_every_mode_of_padding_is_numpys(mode, options, width, rng):
    """Of every dtype and shape, the smallest too, edges are those of NumPy."""
    for size in ((3, 4), (1, 2), (2, 1)):
        for dtype in DTYPES:
            if dtype is np.bool_ and "odd" in options.values():
                continue  # a difference of truths, which NumPy wraps around
            x = _numbers(size, dtype, rng)
            call = _padded(mode, width, options)
            wanted = call(np, x)
            for found in (call(tg, x), call(np, tg.Tensor(x)).numpy()):
                _same(found, wanted)


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize(("mode", "options"), MODES, ids=str)
def test_every_affine_mode_of_padding_has_the_gradient_of_its_values(
    mode, options, width, rng
):
    """The gradient is what NumPy's values at all unit vectors say."""
    for size in ((3, 2), (1, 2)):
        check_gradient(
            _padded(mode, width, options), _numbers(size, np.float64, rng), rng
        )


def test_padding_of_other_ranks(rng):
    """Vectors, cubes, numbers, dicts of axes, empty axes."""
    for size, width in (
        ((4,), (2, 1)),
        ((), 3),
        ((2, 2, 2), 1),
        ((2, 3), {-1: (1, 2)}),
        ((2, 3), {0: 2}),
    ):
        for mode, options in (("edge", {}), ("reflect", {}), ("constant", {})):
            x = _numbers(size, np.float64, rng)
            _same(tg.pad(tg.Tensor(x), width, mode, **options).numpy(), np.pad(x, width, mode, **options))  # fmt: skip
    empty = tg.Tensor(np.zeros((0, 2)))
    for mode in ("constant", "edge", "mean"):
        _same(tg.pad(empty, ((0, 0), (1, 2)), mode).numpy(), np.zeros((0, 5)))
    _same(tg.pad(empty, 1, constant_values=2.0).numpy(), np.pad(empty.numpy(), 1, constant_values=2.0))  # fmt: skip
    for mode in ("edge", "wrap", "maximum"):
        with pytest.raises(ShapeError, match="pad: expected elements along axis 0"):
            tg.pad(empty, 1, mode)


def test_values_of_padding_have_gradients():
    """Constants and ends of ramps may be Tensors: each gets the sum over its edge."""
    x = np.zeros((2, 3))
    value = tg.Tensor(2.0, requires_grad=True)
    tg.sum(tg.pad(x, 1, constant_values=value)).backward()
    assert value.grad == 20 - 6
    sides = tg.Tensor([1.0, 2.0], requires_grad=True)
    tg.sum(tg.pad(np.zeros(3), (2, 5), constant_values=sides)).backward()
    laws.identical(sides.grad, np.array([2.0, 5.0]))
    one, two = tg.Tensor(1.0, requires_grad=True), tg.Tensor(2.0, requires_grad=True)
    tg.sum(tg.pad(np.zeros(3), (2, 5), constant_values=(one, two))).backward()
    assert (one.grad, two.grad) == (2.0, 5.0)
    end = tg.Tensor(8.0, requires_grad=True)
    out = tg.pad(np.zeros(1), (4, 0), "linear_ramp", end_values=end)
    laws.identical(out.numpy(), np.array([8.0, 6.0, 4.0, 2.0, 0.0]))
    tg.sum(out).backward()
    assert end.grad == 1.0 + 0.75 + 0.5 + 0.25
