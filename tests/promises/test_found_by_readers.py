"""Breaks of a promise that a second reader found, one test each."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DtypeError, MutationError, OpError, UnsupportedError

MASK = np.array([False, True])


def test_a_change_is_noticed_through_a_view_of_a_constant():
    """A transpose shows the memory of what it was taken of."""
    constant = tg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    w = tg.Parameter(np.ones((2, 2)))
    for view in (constant.T, constant.reshape(4).reshape(2, 2), constant[:]):
        out = (w * view).sum()
        constant.data -= 1.0
        with pytest.raises(MutationError, match="multiply"):
            out.backward()


def test_a_bypassed_node_behind_a_where_has_its_gradient():
    """The plain gradient of A is 0 where A has no path, and asking for it is no error."""
    z = tg.Parameter([-1000.0, 1.0])
    x = tg.Parameter([-1.0, 4.0])
    A = tg.sigmoid(z)
    with np.errstate(invalid="ignore"):
        loss = tg.where(MASK, np.log(A) * np.sqrt(x), 0.0).sum()
    (asked,) = tg.gradients(loss, [A])
    loss.backward(retain_grads=True)
    wanted = [0.0, 2.0 * (1 + np.exp(-1.0))]
    np.testing.assert_allclose(asked.numpy(), wanted, rtol=1e-14)
    np.testing.assert_allclose(A.grad, wanted, rtol=1e-14)


def test_no_path_passes_running_sums_and_softmaxes():
    """A sum that was not chosen has no path, nor has the row of a softmax."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = tg.Parameter([1.0, 2.0, 0.0])
        tg.where([True, True, False], np.cumsum(np.log(x)), 0.0).sum().backward()
        np.testing.assert_allclose(x.grad, [2.0, 0.5, 0.0])
        x = tg.Parameter([[1.0, 2.0], [0.0, 1.0]])
        rows = np.array([[True], [False]])
        tg.where(rows, tg.log_softmax(np.log(x)), 0.0)[:, 0].sum().backward()
    np.testing.assert_allclose(x.grad, [[2 / 3, -1 / 3], [0.0, 0.0]], rtol=1e-14)


def test_an_index_that_changes_afterwards_does_no_harm():
    """The gradient goes back to the elements that were picked."""
    index = np.array([0, 0])
    x = tg.Parameter([1.0, 2.0, 3.0])
    out = (x[index] * 2.0).sum()
    index[:] = 2
    out.backward()
    np.testing.assert_array_equal(x.grad, [4.0, 0.0, 0.0])


def test_a_detached_value_survives_a_step():
    """An optimiser changes the parameter in place, not what was detached from it."""
    W, x = tg.Parameter([1.0, 2.0]), tg.Parameter([1.0, 1.0])
    out = (x * W.detach()).sum()
    (W * 1.0).sum().backward()
    tg.optim.SGD([W], lr=1.0).step()
    out.backward()
    np.testing.assert_array_equal(x.grad, [1.0, 2.0])


@pytest.mark.parametrize("shape", [(2, 2), (2,)])
def test_a_softmax_over_the_columns_is_stable(shape):
    """Sums over leading axes broadcast back without keepdims: examples in columns."""
    z = tg.Parameter(np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])[: len(shape), :2])
    z = tg.Parameter(z.numpy()[0]) if len(shape) == 1 else z
    with np.errstate(over="ignore"):
        e = np.exp(z)
        loss = -np.log(e / np.sum(e, axis=0)).sum()
    loss.backward()
    assert loss.item() == 2000.0 * len(shape)
    np.testing.assert_array_equal(np.abs(z.grad), np.ones(shape))


def test_a_rewrite_reads_no_view_that_changed():
    """The exponential was taken before the change, so its logarithm is too."""
    W = tg.Parameter([1.0, 2.0])
    s = 1 + np.exp(W.reshape(2))
    wanted = np.log(s.data)
    with tg.no_grad():
        W -= 5.0
    np.testing.assert_allclose(np.log(s).data, wanted, rtol=1e-15)


def test_a_generator_is_not_decorated_in_vain():
    """no_grad around a function that runs in pieces would end before it begins."""
    with pytest.raises(UnsupportedError, match="generator"):

        @tg.no_grad()
        def pieces():
            yield 1


def test_a_wider_scalar_is_more_than_its_number():
    """A rewrite keeps the dtype that NumPy gives what was written."""
    z = tg.Tensor(np.float32([0.5]))
    out = np.log(np.float64(1) - tg.sigmoid(z))
    assert out.dtype == np.float64


def test_half_precision_adds_up_as_numpy():
    """NumPy's mean of many halves is exact, not an overflow."""
    assert np.mean(tg.Tensor(np.full(100_000, 1.0, np.float16))).item() == 1.0


def test_an_infinite_sum_of_exponentials_is_infinite():
    """A recognised logsumexp says what NumPy says."""
    assert np.log(np.sum(np.exp(tg.Tensor([np.inf, 0.0])))).item() == np.inf


def test_what_is_not_about_shapes_is_not_called_so():
    """An integer power that NumPy refuses is an OpError with the line's operands."""
    with pytest.raises(OpError, match="negative integer powers"):
        tg.Tensor([2, 3]) ** -1


def test_a_result_of_no_grad_can_become_a_leaf_of_its_own():
    """A 0-d result is a number inside, and an array to whoever changes it."""
    with tg.no_grad():
        w = tg.Tensor(2.0) * 3.0
    w.requires_grad = True
    with tg.no_grad():
        w -= 0.5
    assert w.item() == 5.5


def test_nonsense_is_refused_with_the_name_of_the_operation():
    """Neither -= nor backward hands NumPy's own riddles on."""
    W = tg.Parameter([1.0, 2.0])
    with tg.no_grad(), pytest.raises(DtypeError, match="-="):
        W -= None
    with pytest.raises(DtypeError, match="grad_output"):
        (W * 2.0).backward("a")


def test_our_ops_keep_their_names():
    """A user's op of the same name would replace ours in every reading of a graph."""
    with pytest.raises(OpError, match="exp"):

        @tg.elementwise(formula="$x", vjp=lambda g, _out, _x: g, samples=())
        def exp(x):
            return x


def test_a_masked_array_drops_no_gradient():
    """NumPy's masked arrays look into an operand; they find no array there."""
    x = tg.Parameter([1.0, 2.0])
    with pytest.raises((UnsupportedError, TypeError, ValueError)):
        np.ma.masked_array([1.0, 2.0], [0, 1]) * x
