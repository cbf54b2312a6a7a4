"""What a sweep over every option of NumPy's functions found: each once, by its truth."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    DtypeError,
    ShapeError,
    TinygradError,
    UnsupportedError,
)

MASK = np.array([[True, False, True], [False, False, True]])
X = np.array([[0.3, -1.2, 0.7], [2.0, 0.1, -0.4]])


def leaf(x):
    """Return a Tensor that requires a gradient."""
    return tg.Tensor(x, requires_grad=True)


@pytest.mark.parametrize("reduce", [np.max, np.min, np.nanmax, np.nanmin])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_an_initial_tensor_that_wins_has_the_whole_gradient(reduce, axis):
    """With elements left out, too: they are no second one that wins."""
    start = 9.0 if reduce in (np.max, np.nanmax) else -9.0
    x, initial = leaf(X), leaf(np.array(start))
    out = reduce(x, axis=axis, where=MASK, initial=initial)
    tg.sum(out).backward()
    assert initial.grad == out.size
    assert not x.grad.any()
    alone = leaf(np.array(start))
    tg.sum(reduce(x.detach(), axis=axis, where=MASK, initial=alone)).backward()
    assert alone.grad == out.size


@pytest.mark.parametrize("reduce", [np.sum, np.prod, np.max, np.min, np.nanmax])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("initial", [2, 0.5, True, np.float64(1.5), np.array(2)])
def test_an_initial_value_does_not_change_the_dtype(reduce, dtype, initial):
    """It is brought to the dtype of the result, as NumPy brings it."""
    x = np.abs(X * 4).astype(dtype)
    want = reduce(x, axis=0, initial=initial)
    got = reduce(tg.Tensor(x), axis=0, initial=initial)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


@pytest.mark.parametrize("reduce", [np.sum, np.prod, np.max, np.min, np.nansum])
def test_an_initial_value_is_one_number_that_the_dtype_holds(reduce):
    """NumPy raises for a row of them, and for nan among integers."""
    with pytest.raises(ShapeError, match="initial= of one number"):
        reduce(tg.Tensor(X), axis=0, initial=[1.0, 2.0, 3.0])
    with pytest.raises(DtypeError, match="int64 can hold"):
        reduce(tg.Tensor([1, 2]), initial=np.nan)


@pytest.mark.parametrize(
    "reduce",
    [
        *(np.sum, np.prod, np.mean, np.var, np.std, np.any, np.all),
        *(np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd),
    ],
)
def test_where_is_boolean(reduce):
    """Integers are refused, as NumPy refuses them, and not taken for truths."""
    with pytest.raises(DtypeError, match="where= of booleans"):
        reduce(tg.Tensor(X), where=MASK.astype(int))


@pytest.mark.parametrize("reduce", [np.mean, np.var, np.std])
def test_a_mean_has_no_dtype_of_integers(reduce):
    """NumPy would round it: refused by the name of the function."""
    with pytest.raises(UnsupportedError, match=rf"np\.{reduce.__name__}: dtype=int64"):
        reduce(tg.Tensor(X), dtype=int)


def test_a_given_mean_broadcasts_to_the_elements():
    """One that makes them more is refused: NumPy would count the elements before."""
    with pytest.raises(ShapeError, match=r"np\.var: expected mean= that broadcasts"):
        np.var(tg.Tensor(X[0]), mean=np.zeros((2, 1)))


@pytest.mark.parametrize("order", ["K", "A"])
def test_an_order_in_memory_is_refused(order):
    """A Tensor has none: what lies transposed would be read in another order."""
    x = tg.Tensor(np.asfortranarray(X))
    for call in (np.ravel, tg.ravel, tg.Tensor.ravel, tg.Tensor.flatten):
        with pytest.raises(UnsupportedError, match=r"np\.ravel: expected order"):
            call(x, order)
    np.testing.assert_array_equal(np.ravel(x[0], order).numpy(), X[0])


@pytest.mark.parametrize("axes", [0, -1, np.int64(0), (0,), [0], None])
def test_one_axis_alone_is_an_order_of_axes(axes):
    """Forward and backward, as a function and as a method."""
    for call in (np.transpose, tg.permute_dims, tg.Tensor.transpose):
        x = leaf(X[0])
        out = call(x, axes)
        tg.sum(out * np.array([1.0, 2.0, 3.0])).backward()
        np.testing.assert_array_equal(out.numpy(), X[0])
        np.testing.assert_array_equal(x.grad, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("product", [np.dot, np.inner, tg.dot, tg.inner])
def test_a_number_of_numpy_in_a_product_has_a_dtype(product):
    """One of Python's takes that of the other operand, as in ``-1 * Z``."""
    for dtype in ("float32", "float64", "int64"):
        x = tg.Tensor(X.astype(dtype))
        for number in (np.float32(2), np.float64(2), np.array(2)):
            want = np.dot(x.numpy(), number)
            for got in (product(x, number), product(number, x)):
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got.numpy(), want)
        assert product(-1, x).dtype == product(x, -1).dtype == x.dtype


@pytest.mark.parametrize(
    "call",
    [
        *(np.sort, np.argsort, np.cumsum, np.cumprod),
        *(np.argmax, np.nanargmin, np.rollaxis),
        lambda x, axis: np.diff(x, axis=axis),
        lambda x, axis: np.trapezoid(x, axis=axis),
        lambda x, axis: np.take(x, [0], axis),
        lambda x, axis: np.repeat(x, 2, axis),
        lambda x, axis: np.delete(x, 0, axis),
        lambda x, axis: np.insert(x, 0, 1.0, axis),
        lambda x, axis: np.concatenate([x, x], axis),
        lambda x, axis: np.stack([x, x], axis),
        lambda x, axis: np.split(x, 1, axis),
        lambda x, axis: np.swapaxes(x, 0, axis),
        lambda x, axis: np.unstack(x, axis=axis),
        lambda x, axis: np.partition(x, 0, axis),
        lambda x, axis: np.apply_along_axis(np.sum, axis, x),
    ],
)
@pytest.mark.parametrize("axis", [(0, 1), "x", 0.5])
def test_an_axis_that_is_none_raises_an_error_of_the_library(call, axis):
    """Two where one is meant, text, a fraction: never an error from inside."""
    with pytest.raises((TypeError, ValueError)):
        call(X, axis)
    with pytest.raises(TinygradError):
        call(tg.Tensor(X), axis)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float32"])
def test_the_logarithm_of_a_sum_of_integers_is_not_an_integer(dtype):
    """``np.logaddexp`` gives NumPy's value, as an op and as its reduction."""
    x = np.array([1, 0, 3]).astype(dtype)
    want = np.logaddexp.reduce(x.astype(np.float64))
    for got in (tg.logsumexp(tg.Tensor(x)), np.logaddexp.reduce(tg.Tensor(x))):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
        assert got.dtype == (x.dtype if dtype == "float32" else np.float64)
    np.testing.assert_allclose(tg.logsumexp(x), want, rtol=1e-6)


def truncated(torch, x, rcond):
    """Return torch's pseudoinverse without the singular values below a part."""
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    kept = s > rcond * s.max()
    return v.mT[:, kept] @ torch.diag(1 / s[kept]) @ u.mT[kept]


MATRICES = [
    np.random.default_rng(1).standard_normal(size) for size in ((2, 3), (3, 2), (3, 3))
]


@pytest.mark.parametrize("matrix", MATRICES, ids=["2x3", "3x2", "3x3"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_cut_off_leaves_singular_values_out_that_are_not_zero(
    matrix, compiled, torch
):
    """The gradient knows of them: it is not that of a matrix of lower rank."""
    rcond = float(np.mean(np.linalg.svd(matrix)[1] / np.linalg.svd(matrix)[1][0]))
    weights = np.cos(np.arange(matrix.size)).reshape(matrix.shape[::-1])
    right = np.sin(np.arange(len(matrix)) + 1.0)
    functions = {
        "pinv": lambda x: tg.sum(np.linalg.pinv(x, rcond) * weights),
        "lstsq": lambda x: np.linalg.lstsq(x, right, rcond)[0] @ weights[:, 0],
    }
    for name, f in functions.items():

        def slope(x, f=f):
            return tg.gradients(f(x), [x])[0]

        call = tg.compile(slope) if compiled else lambda x, g=slope: g(leaf(x)).numpy()
        there = torch.tensor(matrix, requires_grad=True)
        found = truncated(torch, there, rcond)
        if name == "pinv":
            (found * torch.tensor(weights)).sum().backward()
        else:
            (found @ torch.tensor(right) @ torch.tensor(weights[:, 0])).backward()
        np.testing.assert_allclose(call(matrix), there.grad.numpy(), rtol=1e-9)


def test_a_cut_off_below_rounding_takes_a_matrix_for_one_of_lower_rank(torch):
    """Its pseudoinverse has the gradient of a matrix whose rank stays."""
    low = np.outer([1.0, 2.0, 3.0], [1.0, -1.0])
    for rcond in (1e-12, 0.3):
        x = leaf(low)
        tg.sum(np.linalg.pinv(x, rcond) * X).backward()
        there = torch.tensor(low, requires_grad=True)
        (truncated(torch, there, 0.3) * torch.tensor(X)).sum().backward()
        np.testing.assert_allclose(x.grad, there.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ufunc", [np.fabs, np.reciprocal, np.square])
def test_an_array_of_integers_has_the_value_of_numpy(ufunc):
    """What a Tensor of integers refuses, an array does as in NumPy: in its dtype."""
    call = getattr(tg, ufunc.__name__)
    for x in (np.array([1, 2, 3]), np.array([True]), [1, 2], 2, [1.5, 2.0]):
        np.testing.assert_array_equal(call(x), ufunc(x), strict=True)
    with pytest.raises(UnsupportedError, match="not recorded"):
        call(tg.Tensor([True]))
    pair = call([leaf(np.array(0.5)), 2.0])
    np.testing.assert_array_equal(pair.numpy(), ufunc([0.5, 2.0]))


@pytest.mark.parametrize("space", [np.linspace, np.logspace, np.geomspace])
def test_an_end_may_be_a_list(space):
    """Beside a Tensor, and with Tensors in it: each has its gradient."""
    ends = np.array([2.0, 3.0])
    want = space([1.0, 2.0], ends, 4)
    np.testing.assert_allclose(space([1.0, 2.0], leaf(ends), 4).numpy(), want)
    part = leaf(np.array(2.0))
    got = getattr(tg, space.__name__)([1.0, part], ends, 4)
    np.testing.assert_allclose(got.numpy(), want)
    got.sum().backward()
    step = 1e-6
    above, below = (space([1.0, 2.0 + h], ends, 4).sum() for h in (step, -step))
    np.testing.assert_allclose(part.grad, (above - below) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("p", [None, 2, -2])
def test_the_condition_of_zeros_is_infinite(p):
    """As in NumPy, which gives nan only where the matrix holds one."""
    x = np.stack([np.zeros((2, 2)), np.eye(2)])
    got = np.linalg.cond(tg.Tensor(x), p)
    np.testing.assert_array_equal(got.numpy(), np.linalg.cond(x, p))


def test_what_is_taken_from_nothing_raises_an_error_of_the_library():
    """Not the warning of a division by no elements."""
    for mode in ("wrap", "clip"):
        with pytest.raises(IndexError, match=r"np\.take: expected elements"):
            np.take(tg.Tensor(np.zeros(0)), [0], mode=mode)
    with pytest.raises(ShapeError, match="row of coefficients"):
        np.polyval(tg.Tensor(2.0), 1.0)


def test_a_tolerance_is_no_tensor_and_a_list_has_a_negative():
    """Refused by name; ``tg.negative`` takes what ``np.negative`` takes."""
    with pytest.raises(UnsupportedError, match=r"np\.isclose: rtol is constant"):
        np.isclose(X, X, rtol=tg.Tensor(1e-3))
    np.testing.assert_array_equal(tg.negative([1.0, 2.0]), [-1.0, -2.0])
    pair = tg.negative([leaf(np.array(0.5)), 2.0])
    np.testing.assert_array_equal(pair.numpy(), [-0.5, -2.0])
