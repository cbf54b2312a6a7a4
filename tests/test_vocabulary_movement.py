"""Functions that move elements: NumPy's value bit for bit, and the map's transpose."""

from __future__ import annotations

import re

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    DetachedError,
    DtypeError,
    MissingExtraError,
    MutationError,
    OpError,
    PlaceError,
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
    return module.flip


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
        ("diag", [MATRIX, (6, 2), VECTOR, EMPTY], lambda m, x, k=k: m.diag(x, k))
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
        if hasattr(np, name) or name == "sliding_window_view"
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


@pytest.mark.parametrize("trim", ["fb", "f", "B"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_zeros_are_trimmed_as_numpy_does(trim, axis, rng):
    """Of matrices with zeros at all ends, and of zeros alone; the rest has a gradient."""
    x = np.zeros((5, 6))
    for size in ((2, 3), (0, 0)):
        x[1 : 1 + size[0], 2 : 2 + size[1]] = 1.0 + rng.random(size)
        t = tg.Tensor(x, requires_grad=True)
        wanted = np.trim_zeros(x, trim, axis)
        _same(np.trim_zeros(t, trim, axis).numpy(), wanted)
        tg.sum(tg.trim_zeros(t, trim, axis)).backward()
        assert t.grad.sum() == wanted.size
        x = np.zeros((5, 6))


# --- evenly spaced ----------------------------------------------------------------

SPACED = [
    ("linspace", lambda m, x, y: m.linspace(x, y)),
    ("linspace", lambda m, x, y: m.linspace(x, y, 7, endpoint=False)),
    ("linspace", lambda m, x, y: m.linspace(x, y, 1)),
    ("linspace", lambda m, x, y: m.linspace(x, y, 0)),
    ("linspace", lambda m, x, y: m.linspace(x, y, 5, retstep=True)),
    ("linspace", lambda m, x, y: m.linspace(x, y, 5, axis=-1)),
    ("linspace", lambda m, x, y: m.linspace(x, 3, 5, dtype=np.float32)),
    ("linspace", lambda m, x, y: m.linspace(-x, y, 6, dtype=np.int64)),
    ("linspace", lambda m, x, y: m.linspace(x, x, 4)),
    ("linspace", lambda m, x, y: m.linspace(x, x + 5e-324 * 3, 4)),
    ("logspace", lambda m, x, y: m.logspace(x, y, 5)),
    ("logspace", lambda m, x, y: m.logspace(x, 1, 5, base=2.0, axis=-1)),
    ("logspace", lambda m, x, y: m.logspace(0, 1, 5, base=y)),
    ("logspace", lambda m, x, y: m.logspace(x, y, 3, False, np.e, np.float32)),
    ("geomspace", lambda m, x, y: m.geomspace(x, y, 5)),
    ("geomspace", lambda m, x, y: m.geomspace(-x, -y, 5, endpoint=False)),
    ("geomspace", lambda m, x, y: m.geomspace(x, 3, 1, axis=-1)),
    ("geomspace", lambda m, x, y: m.geomspace(x, y, 0)),
]


@pytest.mark.parametrize("size", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("row", range(len(SPACED)))
def test_evenly_spaced_numbers_are_numpys(row, dtype, size, rng):
    """Of numbers, vectors and matrices, of every dtype: values, steps and dtypes."""
    _, call = SPACED[row]
    x = np.asarray(rng.uniform(1.0, 3.0, size) * 2).astype(dtype)
    y = np.asarray(rng.uniform(4.0, 9.0, ())).astype(dtype)
    wanted = call(np, x, y)
    for found in (
        call(tg, tg.Tensor(x), tg.Tensor(y)),
        call(tg, tg.Tensor(x), y),
        call(np, x, tg.Tensor(y)),
        call(tg, x, y),
    ):
        for got, want in zip(_several(found), _several(wanted), strict=True):
            got = tg.op.data_of(got)
            assert np.shape(got) == np.shape(want)
            assert np.asarray(got).dtype == np.asarray(want).dtype
            laws.close(
                got, want, 4e-7 if np.asarray(want).dtype == np.float32 else 1e-15
            )


def test_ends_of_evenly_spaced_numbers_share_the_gradient():
    """Number k of n gives k / (n - 1) of its gradient to one end, the rest to the other."""
    start, stop = (tg.Tensor(v, requires_grad=True) for v in (1.0, 5.0))
    g = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
    tg.sum(np.linspace(start, stop, 5) * g).backward()
    part = np.arange(5) / 4
    laws.close(start.grad, np.sum(g * (1 - part)), 1e-15)
    laws.close(stop.grad, np.sum(g * part), 1e-15)
    start.zero_grad()
    tg.sum(np.geomspace(start, 16.0, 3)).backward()  # the middle is sqrt(16 start)
    laws.close(start.grad, 1.0 + 2.0, 1e-15)


def test_ends_of_a_geometric_sequence_are_of_one_sign():
    """Between others there are no real numbers in equal ratios."""
    for start, stop in ((1.0, -2.0), (0.0, 2.0), (-1.0, 0.0)):
        with pytest.raises(OpError, match="geomspace: expected ends of one sign"):
            tg.geomspace(tg.Tensor(start), stop)


def test_a_filled_array_sums_the_gradient():
    """`full` and `full_like` of a Tensor repeat it; of a number they are plain."""
    value = tg.Tensor(2.0, requires_grad=True)
    made = tg.full((2, 3), value) + np.full_like(tg.Tensor(np.ones((2, 3))), value)
    tg.sum(made).backward()
    assert value.grad == 12.0
    assert tg.full(2, value, np.float32).dtype == np.float32
    assert type(np.full_like(tg.Tensor(np.ones(2)), 3.0)) is np.ndarray
    assert type(tg.full((2,), 3)) is np.ndarray


# --- picking and setting ----------------------------------------------------------

CUBE_INDICES = [
    *([], [0, 1], [[0, 1], [1, 0]], ([0, 1], [1, 2]), [True, False], (0, True)),
    *(None, ..., (..., None, 0), (), True, False, np.int64(1), np.array(1), range(2)),
    *(slice(None, None, -2), (slice(None), [0, 2], None, -1), np.ix_([0, 1], [1, 2])),
    *((slice(None), 0, [3, 3]), (0, slice(None), [3, 0, 3]), ((0, 1),), slice(5, 1)),
    *(np.array([1, 0], np.uint8), np.ones((2, 3), bool), np.zeros((2, 3, 4), bool)),
    *((np.ones(2, bool), slice(1), [0]), (..., [True, False, True, False])),
    *((slice(None), [0, 2], [1, 1]), (slice(np.int64(0), np.int64(1)),)),
]


@pytest.mark.parametrize("index", CUBE_INDICES, ids=repr)
def test_every_index_picks_what_numpy_picks(index, rng):
    """Value, gradient (duplicates add), set and add: all as NumPy's own."""
    x = rng.standard_normal((2, 3, 4))
    t = tg.Tensor(x, requires_grad=True)
    wanted = x[index]
    g = rng.standard_normal(wanted.shape)
    picked = t[index]
    _same(picked.numpy(), wanted)
    tg.sum(picked * g).backward()
    gathered = np.zeros_like(x)
    np.add.at(gathered, index, g)
    laws.close(t.grad, gathered, 1e-15, scale=1.0)
    _same(t.at[index].get().numpy(), wanted)
    changed = x.copy()
    changed[index] = g
    _same(t.at[index].set(g).numpy(), changed)
    laws.close(t.at[index].add(g).numpy(), x + gathered, 1e-15, scale=1.0)


def test_tensors_index_as_arrays_do(rng):
    """Integers and booleans, alone, in tuples, in slices and in ix_."""
    x = rng.standard_normal((3, 4))
    t = tg.Tensor(x)
    rows, columns = tg.Tensor([2, 0]), tg.Tensor([1, 3])
    mask = tg.Tensor(x) > 0
    _same(t[rows].numpy(), x[[2, 0]])
    _same(t[rows, columns].numpy(), x[[2, 0], [1, 3]])
    _same(t[np.ix_(rows, columns)].numpy(), x[np.ix_([2, 0], [1, 3])])
    _same(t[np.ix_(mask[:, 0], columns)].numpy(), x[np.ix_(x[:, 0] > 0, [1, 3])])
    _same(t[mask].numpy(), x[x > 0])
    _same(t[tg.Tensor(1)].numpy(), x[1])
    _same(t[tg.Tensor(1) : tg.Tensor(3)].numpy(), x[1:3])
    _same(t.at[mask].set(0.0).numpy(), np.where(x > 0, 0.0, x))


@pytest.mark.parametrize(
    ("index", "what"),
    [
        (5, "out of bounds"), ([0, 9], "out of bounds"), ((0, 0, 0), "too many indices"),
        (1.0, "valid indices"), ("a", "valid indices"), ((..., ...), "ellipsis"),
        (np.array([True]), "boolean index did not match"), ([None], "integer"),
    ],
    ids=str,
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused(index, what):
    """The error says what NumPy says, with the shape of the Tensor."""
    t = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(PlaceError, match=rf"getitem: .*{what}.*x\(2, 3\)"):
        t[index]
    with pytest.raises(IndexError, match=rf"x\.at\[i\]\.set: .*{what}.*x\(2, 3\)"):
        t.at[index].set(0.0)


def test_setting_has_the_gradient_of_an_assignment(rng):
    """What is replaced gets none; of values at one place only the last gets one."""
    x = tg.Tensor(rng.standard_normal((3, 2)), requires_grad=True)
    values = tg.Tensor(rng.standard_normal((4, 2)), requires_grad=True)
    index = np.array([0, 2, 0, 2])
    none = np.zeros(2)
    g = rng.standard_normal((3, 2))
    for retry in (False, True):
        out = x.at[index].set(values)
        if retry:
            to_x, to_values = tg.gradients(tg.sum(out * g), [x, values])
            to_x, to_values = to_x.numpy(), to_values.numpy()
        else:
            tg.sum(out * g).backward()
            to_x, to_values = x.grad, values.grad
        laws.identical(to_x, np.stack([none, g[1], none]))
        laws.identical(to_values, np.stack([none, none, g[0], g[2]]))
    row = tg.Tensor(rng.standard_normal(2), requires_grad=True)
    tg.sum(x.at[1:].set(row) * g).backward()
    laws.identical(row.grad, g[1] + g[2])
    both = tg.Tensor(2.0, requires_grad=True)
    tg.sum(x.at[[0, 0], 1].add(both) * g).backward()
    laws.identical(both.grad, g[0, 1] + g[0, 1])


def test_what_was_replaced_has_no_path():
    """An infinite slope, or a nan, of what was set anew does no harm, in both orders."""
    for make in (np.log, np.sqrt, np.reciprocal):
        x = tg.Tensor([0.0, 4.0, -1.0], requires_grad=True)
        with np.errstate(all="ignore"):
            y = make(x)
        out = tg.sum(y.at[[0, 2]].set(1.0) ** 2)
        out.backward()
        assert np.isfinite(x.grad).all(), make
        assert (x.grad[[0, 2]] == 0).all(), make
        (slope,) = tg.gradients(out, [x])
        (bend,) = tg.gradients(tg.sum(slope), [x])
        assert np.isfinite(bend.numpy()).all(), make
        with np.errstate(all="ignore"):
            lost = make(x).at[[1, 1]].set(make(x)[:2])  # the first value is no more
        tg.sum(lost[1:2]).backward()
        assert np.isfinite(x.grad).all(), make


def test_values_that_do_not_fit_are_refused():
    """Shapes that do not broadcast, and dtypes that would lose numbers."""
    t = tg.Tensor(np.ones((2, 3)))
    for call in (t.at[0].set, t.at[0].add):
        with pytest.raises(ShapeError, match=r"x\.at\[i\].*broadcast to \(3,\)"):
            call(np.ones(2))
    with pytest.raises(DtypeError, match=r"expected values that int64 can hold"):
        tg.Tensor([1, 2]).at[0].set(0.5)
    _same(tg.Tensor(np.ones(2, np.float32)).at[0].set(0.1).numpy(), np.array([0.1, 1], np.float32))  # fmt: skip
    _same(t.at[0].set(np.ones((1, 1, 3)) * 2).numpy()[0], np.full(3, 2.0))


def test_setting_at_places_of_a_compiled_step(rng):
    """Which places, and which value is the last there, is found anew in each call."""

    def step(x, index, values):
        def loss(x, values):
            return tg.sum(x.at[index].set(values) ** 2 * np.arange(1.0, 6.0))

        return tg.value_and_grad(loss, argnums=(0, 1))(x, values)

    compiled = tg.compile(step)
    for _ in range(3):
        given = rng.standard_normal(5), rng.integers(0, 5, 4), rng.standard_normal(4)
        value, slopes = step(*given)
        got, found = compiled(*given)
        laws.close(tg.op.data_of(got), tg.op.data_of(value), 1e-15)
        for mine, theirs in zip(found, slopes, strict=True):
            laws.identical(tg.op.data_of(mine), tg.op.data_of(theirs))


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
def test_an_index_that_a_step_closes_over_is_read_anew(backend):
    """A mask and places that change between calls change what a compiled step sets."""
    if backend == "jax":
        pytest.importorskip("jax")
    mask, places = np.array([True, False, True, False]), np.array([0, 0, 2])

    def step(x):
        return [
            x.at[mask].set(9.0), x.at[mask].set(np.array([5.0, 6.0])),
            x.at[places].set(np.array([1.0, 2.0, 3.0])), x.at[mask].add(1.0),
            x.at[places].add(np.array([1.0, 2.0, 3.0])),
        ]  # fmt: skip

    compiled = tg.compile(step, backend=backend)
    x = np.arange(4.0)
    try:
        compiled(x)
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    for truths, at in (
        ([1, 0, 1, 0], [0, 0, 2]),
        ([0, 1, 1, 0], [1, 3, 3]),
        ([0, 0, 1, 1], [2, 1, 2]),
    ):
        mask[:], places[:] = truths, at
        for found, wanted in zip(compiled(x), step(tg.Tensor(x)), strict=True):
            _same(tg.op.data_of(found), wanted.numpy())


def _at_random(rng, shape):
    """Return an index of slices, numbers, vectors and masks; some do not fit."""
    parts = []
    for n in shape:
        kind = rng.integers(0, 6)
        several = rng.integers(-n, n, (int(rng.integers(1, 4)), 60)[rng.integers(2) :])
        parts.append(
            [
                slice(None, None, int(rng.choice([-1, 1, 2]))), int(rng.integers(-n, n)),
                np.asfortranarray(several), several[-1:], rng.random(n) < 0.5, None,
            ][kind]
        )  # fmt: skip
    return tuple(parts)


def test_scatter_add_is_add_at_bit_for_bit(rng):
    """Quick ways and the plain one add the same numbers in the same order."""
    compared = 0
    while compared < 300:
        shape = tuple(rng.integers(1, 30, rng.integers(1, 4)).tolist())
        index = _at_random(rng, shape)
        try:
            size = np.broadcast_to(0.0, shape)[index].shape
        except IndexError:
            continue
        compared += 1
        x = rng.standard_normal(size).astype(rng.choice([np.float32, np.float64]))
        if any(isinstance(part, np.ndarray) for part in index):
            x = np.where(rng.random(size) < 0.2, x.dtype.type(-0.0), x)
        wanted = np.zeros(shape, x.dtype)
        np.add.at(wanted, index, x)
        _same(tg.scatter_add(x, index, shape), wanted)


# --- what is refused, and what is answered plainly --------------------------------


def test_attributes_that_are_not_offered_say_what_to_do():
    """Everything that an ndarray has is there, or is refused by name with advice."""
    t = tg.Tensor(np.ones((2, 2)))
    absent = [
        name
        for name in dir(np.ndarray)
        if not name.startswith("__") and not hasattr(t, name)
    ]
    for name in absent:
        with pytest.raises(
            AttributeError, match=rf"Tensor\.{name}: .*(Write|Use|Leave|To)"
        ):
            getattr(t, name)
        with pytest.raises(UnsupportedError):
            getattr(t, name)
    assert {"put", "fill", "sort", "resize", "view", "flat", "tobytes"} <= set(absent)
    assert (t.nbytes, t.itemsize, t.device) == (32, 8, "cpu")


def test_methods_are_the_functions(rng):
    """repeat, diagonal, trace, mT: of a Tensor as of an array."""
    x = rng.standard_normal((2, 3, 3))
    t = tg.Tensor(x)
    _same(t.repeat(2).numpy(), x.repeat(2))
    _same(t.repeat([1, 0, 2], 1).numpy(), x.repeat([1, 0, 2], 1))
    _same(t.diagonal(1, 1, 2).numpy(), x.diagonal(1, 1, 2))
    _same(t.trace(axis1=1, axis2=2).numpy(), x.trace(axis1=1, axis2=2))
    _same(t.mT.numpy(), x.mT)


REFUSED = {
    "np.fill_diagonal": (lambda t: np.fill_diagonal(t, 0.0), "np.eye"),
    "np.put": (lambda t: np.put(t, [0], 1.0), r"x\.at\[index\]"),
    "np.place": (lambda t: np.place(t, t.numpy() > 0, 1.0), r"x\.at\[mask\]"),
    "np.putmask": (lambda t: np.putmask(t, t.numpy() > 0, 1.0), "tg.where"),
    "np.copyto": (lambda t: np.copyto(np.ones((2, 2)), t), "tg.where"),
    "np.put_along_axis": (
        lambda t: np.put_along_axis(t, np.zeros((1, 2), int), 0.0, 0),
        "tg.put_along_axis",
    ),
    "pad: a mode": (lambda t: tg.pad(t, 1, "empty"), "concatenate"),
    "pad: a mode is one of": (lambda t: np.pad(t, 1, lambda *_: None), "function"),
    "np.reshape": (lambda t: np.reshape(t, 4, order="A"), "order"),
    "np.block": (lambda t: tg.block([(t, t)]), "list"),
    "np.nan_to_num": (lambda t: np.nan_to_num(t, copy=False), "copy"),
    "sliding_window_view": (
        lambda t: _windows(np)(t, 1, 0, writeable=True),
        "writeable",
    ),
    "np.broadcast_arrays": (lambda t: np.broadcast_arrays(t, subok=True), "subok"),
    "np.concatenate": (lambda t: np.concatenate([t], out=np.ones((2, 2))), "out="),
    "np.vstack": (lambda t: np.vstack([t], dtype=complex), "real dtype"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_offered_is_refused_by_name(name):
    """The refusal names the function and what to write instead."""
    call, advice = REFUSED[name]
    with pytest.raises(UnsupportedError, match=rf"(?s){name}.*{advice}"):
        call(tg.Tensor(np.ones((2, 2)), requires_grad=True))


WRONG = [
    lambda m, x: m.expand_dims(x, 4),
    lambda m, x: m.trim_zeros(x, "x"),
    lambda m, x: m.trim_zeros(x, axis=2),
    lambda m, x: m.squeeze(x, 0),
    lambda m, x: m.squeeze(x, 3),
    lambda m, x: m.swapaxes(x, 0, 2),
    lambda m, x: m.moveaxis(x, 0, 2),
    lambda m, x: m.transpose(x, (0, 0)),
    lambda m, x: m.reshape(x, (4,)),
    lambda m, x: m.broadcast_to(x, (3, 2)),
    lambda m, x: m.concatenate([x, x], axis=2),
    lambda m, x: m.stack([x, x[0]]),
    lambda m, x: m.fliplr(x[0]),
    lambda m, x: m.flipud(x[0, 0]),
    lambda m, x: m.roll(x, 1, axis=2),
    lambda m, x: m.rot90(x, 1, (0, 0)),
    lambda m, x: m.rollaxis(x, 0, 5),
    lambda m, x: m.matrix_transpose(x[0]),
    lambda m, x: m.broadcast_arrays(x, x[:, :2]),
    lambda m, x: m.split(x, 2, axis=1),
    lambda m, x: m.array_split(x, 0),
    lambda m, x: m.vsplit(x[0], 1),
    lambda m, x: m.hsplit(x[0, 0], 1),
    lambda m, x: m.dsplit(x, 1),
    lambda m, x: m.unstack(x[0, 0]),
    lambda m, x: m.vstack([x, x[:, :2]]),
    lambda m, x: m.hstack([x, x[:1]]),
    lambda m, x: m.block([[x], x]),
    lambda m, x: m.block([x, []]),
    lambda m, x: m.append(x, x[0], axis=0),
    lambda m, x: m.repeat(x, [1, 2], axis=1),
    lambda m, x: m.repeat(x, -1),
    lambda m, x: m.resize(x, (-1, 2)),
    lambda m, x: m.delete(x, 7, axis=0),
    lambda m, x: m.insert(x, 9, 0.0, axis=0),
    lambda m, x: m.insert(x, 0, [1.0, 2.0], axis=0),
    lambda m, x: m.diag(x[None]),
    lambda m, x: m.diagonal(x[0]),
    lambda m, x: m.diagonal(x, 0, 1, 1),
    lambda m, x: m.trace(x[0]),
    lambda m, x: m.tril(x[0, 0]),
    lambda m, x: m.pad(x, ((1, 2), (3, 4), (5, 6))),
    lambda m, x: m.pad(x, -1),
    lambda m, x: m.pad(x, 1.5),
    lambda m, x: m.pad(x, 1, "edge", constant_values=3),
    lambda m, x: m.pad(x, 1, "no such"),
    lambda m, x: m.pad(x, 1, "maximum", stat_length=0),
    lambda m, x: m.meshgrid(x[0], indexing="no"),
    lambda m, x: m.ix_(x),
    lambda m, x: m.linspace(x, 1.0, -1),
    lambda m, x: m.apply_along_axis(lambda a: a, 1, x[:0]),
    lambda m, x: _windows(m)(x, (9, 1)),
    lambda m, x: _windows(m)(x, 1),
]


@pytest.mark.parametrize("row", range(len(WRONG)))
def test_what_numpy_refuses_is_refused(row):
    """An error of ours, that says what was expected and what was given."""
    x = np.ones((2, 3))
    with pytest.raises((ValueError, TypeError, IndexError, AttributeError)):
        WRONG[row](np, x)
    for module in (tg, np):
        with pytest.raises((ShapeError, OpError, UnsupportedError)) as caught:
            WRONG[row](module, tg.Tensor(x))
        assert re.match(r"[\w.\[\]]+: .+", str(caught.value))


def test_questions_have_plain_answers():
    """Truths, types, memory and text of Tensors are those of their arrays."""
    x, y = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3) + 1e-12
    t, u = tg.Tensor(x, requires_grad=True), tg.Tensor(y)
    for call in (
        np.allclose,
        lambda a, b: np.allclose(a, b, rtol=0, atol=0),
        np.array_equal,
        lambda a, b: np.array_equal(a * np.nan, a * np.nan, equal_nan=True),
        lambda a, b: np.array_equiv(a, b[:1]),
        lambda a, _: np.iscomplexobj(a),
        lambda a, _: np.isrealobj(a),
        lambda a, b: np.result_type(a, b.astype(np.float32)),
        lambda a, _: np.can_cast(a, np.float32),
        np.common_type,
        lambda a, _: np.shares_memory(a, a),
        np.may_share_memory,
        lambda a, _: np.array_str(a),
        lambda a, _: np.array_repr(a),
        lambda a, _: np.array2string(a, precision=1),
        lambda _, b: np.min_scalar_type(b[0, 0]),
    ):
        found, wanted = call(t, u), call(x, y)
        assert type(found) is type(wanted)
        assert found == wanted
    for function in (np.tril_indices_from, np.triu_indices_from):
        laws.identical(np.stack(function(t, 1)), np.stack(function(x, 1)))
    square = tg.Tensor(np.ones((2, 2)))
    laws.identical(np.stack(np.diag_indices_from(square)), np.stack(np.diag_indices(2)))
    places = tg.Tensor([3, 5])
    laws.identical(
        np.stack(np.unravel_index(places, (2, 3))), np.array([[1, 1], [0, 2]])
    )
    laws.identical(np.ravel_multi_index((tg.Tensor([1]), tg.Tensor([2])), (2, 3)), np.array([5]))  # fmt: skip


def test_numbers_instead_of_nan_have_no_path():
    """What was nan or infinite has the gradient 0; what stands instead may have one."""
    x = tg.Tensor([np.nan, np.inf, -np.inf, 2.0], requires_grad=True)
    instead = tg.Tensor(7.0, requires_grad=True)
    out = np.nan_to_num(x, nan=instead, posinf=1.0)
    _same(out.numpy(), np.nan_to_num(x.numpy(), nan=7.0, posinf=1.0))
    tg.sum(out * np.array([0.5, 0.25, 0.125, 0.0625])).backward()
    laws.identical(x.grad, np.array([0.0, 0.0, 0.0, 0.0625]))
    assert instead.grad == 0.5
    for dtype in (np.float32, np.float64):
        extreme = np.array([np.inf, -np.inf, np.nan], dtype)
        _same(np.nan_to_num(tg.Tensor(extreme)).numpy(), np.nan_to_num(extreme))


def test_a_leaf_is_not_assigned_to():
    """The refusal of t[i] = v names what to write."""
    t = tg.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(MutationError, match=r"t = t\.at\[i\]\.set\(v\)"):
        t[0] = 2.0


def test_a_list_of_tensors_is_an_operand():
    """Wherever NumPy makes an array of a list, a list that holds Tensors is stacked."""
    x, y = tg.Tensor(2.0, requires_grad=True), tg.Tensor(3.0, requires_grad=True)
    for function, wanted in (
        (lambda: tg.append([1.0], [x, y]), [1.0, 2.0, 3.0]),
        (lambda: tg.insert(np.zeros(2), 1, [x, y]), [0.0, 2.0, 3.0, 0.0]),
        (lambda: tg.tile([x, y], 2), [2.0, 3.0, 2.0, 3.0]),
        (lambda: tg.vstack([[x, y], [y, 1.0]]), [[2.0, 3.0], [3.0, 1.0]]),
        (lambda: tg.diag([[x, 1.0], (0.0, y)]), [2.0, 3.0]),
        (lambda: tg.pad([x, y], 1), [0.0, 2.0, 3.0, 0.0]),
    ):
        out = function()
        laws.identical(out.numpy(), np.array(wanted))
        assert out.requires_grad
    with pytest.raises(DetachedError, match=r"tg\.stack.*\.numpy"):
        np.array([x, y])
