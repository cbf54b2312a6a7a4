"""Promise 1: NumPy code runs unchanged on Tensors, and nothing drops a gradient silently."""

from __future__ import annotations

import builtins
import math
import operator
import warnings

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    DetachedError,
    MutationError,
    TinygradError,
    UnsupportedError,
)

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 7))
W = rng.normal(size=(4, 3))
b = rng.normal(size=(4, 1))
Y = (rng.random((4, 7)) < 0.5) * 1.0
m = 7


def relative(found, wanted):
    """Largest difference over the largest value."""
    return np.max(np.abs(np.asarray(found) - wanted)) / np.max(np.abs(wanted))


def gradients_of(expression, *arrays):
    """Value of a hand-written expression given Tensors, and the gradients it leaves."""
    tensors = [tg.Parameter(a) for a in arrays]
    out = expression(*tensors)
    assert isinstance(out, tg.Tensor)
    # NumPy's norm sums in BLAS, in an order that depends on the processor; and a
    # recognised spelling is computed in its stable form. Else they are equal.
    np.testing.assert_array_max_ulp(out.numpy(), np.asarray(expression(*arrays)), 4)
    out.backward()
    return [t.grad for t in tensors]


# --- the tutorials' own lines, beside their explicit formulas ------------------------

SIGMOIDS = {
    "1 / (1 + np.exp(-Z))": lambda Z: 1 / (1 + np.exp(-Z)),
    "1. / (1. + np.exp(-Z))": lambda Z: 1.0 / (1.0 + np.exp(-Z)),
    "1/(1+np.exp(np.dot(-1, Z)))": lambda Z: 1 / (1 + np.exp(np.dot(-1, Z))),
    "np.exp(Z) / (1 + np.exp(Z))": lambda Z: np.exp(Z) / (1 + np.exp(Z)),
    "np.divide(1, np.add(1, np.exp(np.negative(Z))))": lambda Z: np.divide(
        1, np.add(1, np.exp(np.negative(Z)))
    ),
    "(1 + np.exp(-Z)) ** -1": lambda Z: (1 + np.exp(-Z)) ** -1.0,
    "np.power(1 + np.exp(-1 * Z), -1)": lambda Z: np.power(1 + np.exp(-1 * Z), -1.0),
    "np.reciprocal(1 + np.exp(-Z))": lambda Z: np.reciprocal(1 + np.exp(-Z)),
}
TANHS = {
    "np.tanh(Z)": np.tanh,
    "(e^z - e^-z) / (e^z + e^-z)": lambda Z: (
        (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))
    ),
    "2 sigmoid(2 Z) - 1": lambda Z: 2 / (1 + np.exp(-2 * Z)) - 1,
}


@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_logistic_regression_written_out_has_the_textbooks_gradients(spelling):
    """dZ = A - Y, dW = dZ Xᵀ / m, db = sum(dZ) / m, in every spelling of the sigmoid."""
    sigmoid = SIGMOIDS[spelling]
    weights, bias, inputs = tg.Parameter(W), tg.Parameter(b), tg.Parameter(X)
    A = sigmoid(np.dot(weights, inputs) + bias)
    cost = (
        -1 / m * np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A), axis=1, keepdims=True)
    )
    np.squeeze(np.sum(cost)).backward()
    dZ = 1 / (1 + np.exp(-(W @ X + b))) - Y
    assert relative(weights.grad, dZ @ X.T / m) < 1e-12
    assert relative(bias.grad, dZ.sum(axis=1, keepdims=True) / m) < 1e-12
    assert relative(inputs.grad, W.T @ dZ / m) < 1e-12


@pytest.mark.parametrize("spelling", TANHS)
def test_a_tanh_layer_written_out_has_the_textbooks_gradients(spelling):
    """dZ1 = (W2ᵀ dZ2) (1 - A1²), in every spelling of the tanh."""
    tanh = TANHS[spelling]
    W2, target = rng.normal(size=(1, 4)), Y[:1]
    first, second = tg.Parameter(W), tg.Parameter(W2)
    A1 = tanh(np.matmul(first, X) + b)
    A2 = 1 / (1 + np.exp(-np.dot(second, A1)))
    logs = np.multiply(np.log(A2), target) + np.multiply(np.log(1 - A2), 1 - target)
    (-np.sum(logs) / m).backward()
    a1 = np.tanh(W @ X + b)
    dZ2 = 1 / (1 + np.exp(-(W2 @ a1))) - target
    dZ1 = (W2.T @ dZ2) * (1 - np.power(a1, 2))
    assert relative(second.grad, dZ2 @ a1.T / m) < 1e-12
    assert relative(first.grad, dZ1 @ X.T / m) < 1e-12


def test_a_relu_layer_written_out_has_the_textbooks_gradients():
    """dZ is g where Z > 0 and 0 elsewhere, for np.maximum(0, Z) and Z * (Z > 0)."""
    for relu in (lambda Z: np.maximum(0, Z), lambda Z: np.maximum(Z, 0.0),
                 lambda Z: Z * (Z > 0), lambda Z: np.where(Z > 0, Z, 0)):  # fmt: skip
        (dW, dX) = gradients_of(
            lambda w, x, relu=relu: np.sum(np.square(relu(w @ x))), W, X
        )
        dZ = 2 * np.maximum(0, W @ X)
        assert relative(dW, dZ @ X.T) < 1e-14
        assert relative(dX, W.T @ dZ) < 1e-14


LINES = {
    # expression of x, and its explicit gradient
    "np.sum": (np.sum, np.ones_like),
    "np.mean": (np.mean, lambda x: np.full_like(x, 1 / x.size)),
    "np.sum(x, 1)": (lambda x: np.sum(np.sum(x, 1) ** 2), lambda x: 2 * x.sum(1)[:, None] + 0 * x),
    "keepdims": (
        lambda x: np.sum(np.power(np.sum(x, axis=1, keepdims=True), 2)),
        lambda x: 2 * x.sum(1, keepdims=True) + 0 * x,
    ),
    "np.mean(axis)": (lambda x: np.sum(np.mean(x, axis=0) ** 2), lambda x: 2 * x.mean(0) / len(x) + 0 * x),
    "np.power(x, 2)": (lambda x: np.sum(np.power(x, 2)), lambda x: 2 * x),
    "x ** 3": (lambda x: np.sum(x**3), lambda x: 3 * x**2),
    "np.square": (lambda x: np.square(x).mean(), lambda x: 2 * x / x.size),
    "np.exp": (lambda x: np.exp(x).sum(), np.exp),
    "np.log": (lambda x: np.log(np.exp(x) + 1).sum(), lambda x: 1 / (1 + np.exp(-x))),
    "np.sqrt": (lambda x: np.sum(np.sqrt(x * x + 1)), lambda x: x / np.sqrt(x * x + 1)),
    "np.abs": (lambda x: np.sum(np.abs(x)), np.sign),
    "abs": (lambda x: abs(x).sum(), np.sign),
    "np.linalg.norm": (np.linalg.norm, lambda x: x / np.linalg.norm(x)),
    "np.linalg.norm(axis)": (
        lambda x: np.linalg.norm(x, axis=1, keepdims=True).sum(),
        lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
    ),
    "np.linalg.norm(ord=1)": (lambda x: np.sum(np.linalg.norm(x, 1, axis=0)), np.sign),
    "np.max": (np.max, lambda x: (x == x.max()) * 1.0),
    "np.amax(axis)": (lambda x: np.amax(x, axis=1).sum(), lambda x: (x == x.max(1, keepdims=True)) * 1.0),
    "np.min": (lambda x: np.min(x, axis=0, keepdims=True).sum(), lambda x: (x == x.min(0)) * 1.0),
    "np.where": (lambda x: np.sum(np.where(x > 0, x, 0.1 * x)), lambda x: np.where(x > 0, 1, 0.1)),
    "np.clip": (lambda x: np.sum(np.clip(x, -0.5, 0.5)), lambda x: (np.abs(x) < 0.5) * 1.0),
    "x.T": (lambda x: np.sum(x.T[0] ** 2), lambda x: 2 * x * (np.arange(x.shape[1]) == 0)),
    "np.transpose": (lambda x: np.sum(np.transpose(x)[0] ** 2), lambda x: 2 * x * (np.arange(x.shape[1]) == 0)),
    "np.reshape": (lambda x: np.sum(np.reshape(x, -1)[2] ** 2), lambda x: 2 * x * (np.arange(x.size) == 2).reshape(x.shape)),
    "x.reshape(a, b)": (lambda x: np.dot(x.reshape(1, -1), x.reshape(-1, 1)).sum(), lambda x: 2 * x),
    "x.flatten()": (lambda x: np.dot(x.flatten(), x.ravel()), lambda x: 2 * x),
    "np.dot(v, v)": (lambda x: np.dot(x[0], x[0]), lambda x: 2 * x * (np.arange(len(x)) == 0)[:, None]),
    "x @ x.T": (lambda x: np.sum(x @ x.T), lambda x: 2 * x.sum(0) + 0 * x),
    "np.einsum": (lambda x: np.einsum("ij,ij->", x, x), lambda x: 2 * x),
    "np.expand_dims": (lambda x: np.sum(np.expand_dims(x, 0) * x), lambda x: 2 * x),
    "np.concatenate": (lambda x: np.sum(np.concatenate([x, x * 2], axis=1)), lambda x: 3 + 0 * x),
    "np.stack": (lambda x: np.sum(np.stack((x, x * 2)) ** 2), lambda x: 10 * x),
    "np.var": (np.var, lambda x: 2 * (x - x.mean()) / x.size),
    "np.std": (np.std, lambda x: (x - x.mean()) / x.size / x.std()),
    "np.prod": (lambda x: np.prod(x[0, :2]), lambda x: np.array([[x[0, 1], x[0, 0]] + [0] * (x.shape[1] - 2)] + [[0] * x.shape[1]] * (len(x) - 1))),
    "np.cumsum": (lambda x: np.cumsum(x)[-1] + np.cumsum(x, axis=1)[0, 0], lambda x: 1.0 + (np.arange(x.size) == 0).reshape(x.shape)),
    "np.flip": (lambda x: np.sum(np.flip(x, 0) * np.arange(len(x))[:, None]), lambda x: (len(x) - 1.0 - np.arange(len(x)))[:, None] + 0 * x),
    "np.squeeze": (lambda x: np.squeeze(np.sum(x, keepdims=True)), np.ones_like),
    "x.mean()": (lambda x: x.mean(), lambda x: np.full_like(x, 1 / x.size)),
    "x.sum(axis=0)": (lambda x: (x.sum(axis=0) * x.shape[1]).sum(), lambda x: x.shape[1] + 0 * x),
    "builtins": (lambda x: builtins.sum([abs(v) for v in x[0]]), lambda x: np.sign(x) * (np.arange(len(x)) == 0)[:, None]),
    "np.zeros_like": (lambda x: np.sum(x + np.zeros_like(x) + np.ones_like(x)), np.ones_like),
    "np.full_like": (lambda x: np.sum(x * np.full_like(x, 2.0)), lambda x: 2 + 0 * x),
    "np.copy": (lambda x: np.sum(np.copy(x) * x.copy()), lambda x: 2 * x),
    "np.sin": (lambda x: np.sum(np.sin(x) + np.cos(x)), lambda x: np.cos(x) - np.sin(x)),
    "np.expm1": (lambda x: np.sum(np.expm1(x) + np.log1p(x * x)), lambda x: np.exp(x) + 2 * x / (1 + x * x)),
    "swap": (lambda x: np.sum(np.swapaxes(x, 0, 1)[1] + np.moveaxis(x, 0, 1)[0]), lambda x: 0 * x + (np.arange(x.shape[1]) < 2)),
    "np.broadcast_to": (lambda x: np.sum(np.broadcast_to(x, (2, *x.shape))), lambda x: 2 + 0 * x),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_numpy_gives_numpys_value_and_the_formulas_gradient(name):
    """The line gives bit for bit what NumPy gives, and the explicit gradient."""
    expression, formula = LINES[name]
    x = rng.normal(size=(4, 5))
    (found,) = gradients_of(expression, x)
    assert found.shape == x.shape
    np.testing.assert_allclose(found, formula(x), rtol=1e-12, atol=1e-14)


def test_numpy_s_positional_arguments_mean_what_they_mean_in_numpy():
    """A positional dtype, out or ddof is not taken for keepdims."""
    x = tg.Parameter(X)
    for found, wanted in [
        (np.sum(x, 0, None, None, True), np.sum(X, 0, None, None, True)),
        (np.mean(x, 1, None, None, True), np.mean(X, 1, None, None, True)),
        (np.max(x, 0, None, True), np.max(X, 0, None, True)),
        (np.min(x, 0, None, True), np.min(X, 0, None, True)),
        (np.prod(x, 0, None, None, True), np.prod(X, 0, None, None, True)),
        (np.var(x, 0, None, None, 1, True), np.var(X, 0, None, None, 1, True)),
        (np.std(x, 0, None, None, 1), np.std(X, 0, None, None, 1)),
        (np.cumsum(x, 1, None), np.cumsum(X, 1, None)),
        (np.clip(x, None, 0.5), np.clip(X, None, 0.5)),
        (np.clip(x, min=0.5), np.clip(X, 0.5, None)),
        (np.reshape(x, (7, 3)), np.reshape(X, (7, 3))),
        (np.transpose(x, (1, 0)), X.T),
        (np.linalg.norm(x, None, 0, True), np.linalg.norm(X, None, 0, True)),
    ]:
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-14)
        assert found.shape == wanted.shape


def test_shapes_and_counts_are_plain():
    """What has no gradient is a plain number: the shape, the size, the winner's place."""
    x = tg.Parameter(X)
    assert x.shape[1] == np.shape(x)[1] == 7
    assert np.size(x) == x.size == 21
    assert np.ndim(x) == x.ndim == 2
    assert len(x) == 3
    assert np.argmax(x) == X.argmax()
    np.testing.assert_array_equal(np.argmin(x, 1), X.argmin(1))
    assert np.any(x > 0)
    assert not np.all(x > 0)


# --- both orders, all operators ------------------------------------------------------

OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip
PARTNERS = {
    "ndarray": np.array([[0.5, 1.0, 2.0]]),
    "0-d ndarray": np.array(2.0),
    "np.float64": np.float64(2.0),
    "np.float32": np.float32(2.0),
    "np.int64": np.int64(2),
    "np.bool_": np.bool_(True),
    "float": 2.0,
    "int": 2,
    "bool": True,
    "list": [0.5, 1.0, 2.0],
}


@pytest.mark.parametrize("name", PARTNERS)
@pytest.mark.parametrize("call", OPERATORS, ids=lambda call: call.__name__)
@pytest.mark.parametrize("left", ["Tensor left", "Tensor right"])
@pytest.mark.parametrize("shape", [(3,), ()], ids=str)
def test_every_operator_takes_every_partner_in_both_orders(name, call, left, shape):
    """The result is a Tensor with NumPy's value and dtype, and recorded."""
    a = np.array([1.0, 2.0, 0.25])[: 3 if shape else 1].reshape(shape)
    partner = PARTNERS[name]
    x = tg.Parameter(a)
    operands = (x, partner) if left == "Tensor left" else (partner, x)
    plain = (a, partner) if left == "Tensor left" else (partner, a)
    found, wanted = call(*operands), call(*plain)
    assert isinstance(found, tg.Tensor)
    assert found.op is not None
    assert any(y is x for y in found.inputs)
    assert found.dtype == np.asarray(wanted).dtype
    np.testing.assert_array_equal(found.numpy(), wanted)
    if found.dtype == bool:
        assert not found.requires_grad
    else:
        found.backward(np.ones(found.shape))
        assert x.grad.shape == shape


@pytest.mark.parametrize(
    "matrix", [np.ones((2, 3)), [[1.0, 2.0, 3.0]], np.ones((4, 2, 3))]
)
def test_matrix_products_in_both_orders(matrix):
    """An ndarray or a list @ a Tensor, and the other way round, is a Tensor."""
    x = tg.Parameter(np.ones((3, 3)))
    for found, wanted in [(matrix @ x, np.matmul(matrix, np.ones((3, 3)))),
                          (x @ np.swapaxes(matrix, -1, -2), np.matmul(np.ones((3, 3)), np.swapaxes(matrix, -1, -2)))]:  # fmt: skip
        assert isinstance(found, tg.Tensor)
        np.testing.assert_allclose(found.numpy(), wanted)
        found.sum().backward()


@pytest.mark.parametrize("number", [3, 3.0, np.float64(3), tg.Tensor(3.0)])
def test_numbers_have_no_matrix_product(number):
    """A number beside @ is refused by name, in both orders."""
    x = tg.Parameter(np.ones((3, 3)))
    for call in (lambda: x @ number, lambda: number @ x, lambda: np.matmul(x, number)):
        with pytest.raises(TinygradError, match="matmul"):
            call()


def test_np_float64_comes_first_without_unpacking():
    """A NumPy scalar on the left gives one Tensor, never an array of Tensors."""
    x = tg.Parameter(np.ones((2, 2)))
    for call in OPERATORS[:5]:
        found = call(np.float64(2), x)
        assert isinstance(found, tg.Tensor)
        assert found.dtype == np.float64
        assert found.shape == (2, 2)


# --- comparisons ---------------------------------------------------------------------


def test_comparisons_are_recorded_boolean_and_constant():
    """A mask is a node of the graph, boolean, and no gradient passes it."""
    x = tg.Parameter([-1.0, 0.0, 2.0])
    for mask, wanted in [
        (x > 0, [False, False, True]), (x >= 0, [False, True, True]),
        (x < 0, [True, False, False]), (x <= 0, [True, True, False]),
        (x == 0, [False, True, False]), (x != 0, [True, False, True]),
        (np.isnan(x), [False] * 3), (np.greater(x, 0), [False, False, True]),
        (~(x > 0), [True, True, False]), ((x > 0) | (x < 0), [True, False, True]),
        ((x > -2) & (x < 1), [True, True, False]),
        (np.array([True, False, True]) & (x > 0), [False, False, True]),
        ((x > 0) | np.array([True, False, True]), [True, False, True]),
        (np.logical_or(x > 0, x < 0), [True, False, True]),
        (True & (x > 0), [False, False, True]),
        (np.logical_not(x), [False, True, False]),
    ]:  # fmt: skip
        assert isinstance(mask, tg.Tensor)
        assert mask.dtype == bool
        assert mask.op is not None
        assert not mask.requires_grad
        np.testing.assert_array_equal(mask.numpy(), wanted)
        np.testing.assert_array_equal(np.asarray(mask), wanted)  # nothing to lose
    (np.where(x > 0, x, 0) * (x > 0)).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1])


def test_a_mask_may_index_an_ndarray():
    """X[Z > 0] and X[np.argmax(Z)] work: a mask carries no gradient."""
    x = tg.Parameter([-1.0, 0.0, 2.0])
    a = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(a[np.asarray(x > 0)], [3.0])
    np.testing.assert_array_equal(a[x > 0], [3.0])
    assert a[np.argmax(x)] == 3.0
    assert a[tg.Tensor(1)] == 2.0
    np.testing.assert_array_equal(x[x > 0].numpy(), [2.0])


def test_bits_of_integers_are_not_taken_for_truth():
    """6 & 3 is 2 in NumPy: what is no mask is refused, not answered with True."""
    for call in (lambda i: i & 3, lambda i: 3 & i, lambda i: i | 1, lambda i: ~i,
                 lambda i: np.bitwise_and(i, 3), lambda i: np.array([3]) | i):  # fmt: skip
        with pytest.raises(UnsupportedError):
            call(tg.Tensor([6]))


# --- refusals ------------------------------------------------------------------------

REFUSED = {
    "np.fft.fft": np.fft.fft,
    "np.linalg.eig": np.linalg.eig,
    "np.add.at": lambda t: np.add.at(np.zeros(2), [0], t),
    "np.add.reduceat": lambda t: np.add.reduceat(t, [0, 1]),
    "np.exp: .*out=": lambda t: np.exp(t, out=np.zeros((2, 2))),
    "np.exp: where=": lambda t: np.exp(t, where=np.ones((2, 2), bool)),
    "np.exp: dtype=": lambda t: np.exp(t, dtype=np.int64),
    "np.exp: casting=": lambda t: np.exp(t, casting="unsafe"),
    "np.greater: gives bool": lambda t: np.greater(t, 0, dtype=np.float64),
    "np.add: .*out=": lambda t: np.add(np.ones((2, 2)), t, np.ones((2, 2))),
    "np.sum: out=": lambda t: np.sum(t, 0, None, np.zeros(2)),
    "np.max: out=": lambda t: np.max(t, 0, np.zeros(2)),
    "the ufunc clip: no": lambda t: np.ones((2, 2)).clip(t, 3),
    "np.clip: .*out": lambda t: np.clip(t, 0, 1, out=np.zeros((2, 2))),
    "np.concatenate: .*out": lambda t: np.concatenate([t, t], out=np.zeros((4, 2))),
    "np.reshape: copy=": lambda t: np.reshape(t, 4, copy=False),
    "np.copyto": lambda t: np.copyto(np.zeros((2, 2)), t),
    "np.reciprocal": lambda t: np.reciprocal(tg.Tensor([2])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name):
    """The refusal says which function, and for a setting which one."""
    with pytest.raises(UnsupportedError, match=f"^{name}"):
        REFUSED[name](tg.Parameter(np.ones((2, 2))))


@pytest.mark.parametrize("method", ["tofile", "setfield", "newbyteorder"])
def test_a_method_that_is_not_offered_is_no_attribute(method):
    """A method without a rule does not exist, rather than work on the plain values."""
    with pytest.raises(AttributeError, match=method):
        getattr(tg.Parameter([1.0, 2.0]), method)


@pytest.mark.parametrize(
    "call",
    [lambda t: t << 1, lambda t: 1 >> t, lambda t: t ^ 1, lambda t: t.sum(0, None, t)],
)  # fmt: skip
def test_operators_without_a_rule_are_refused(call):
    """What works on bits, or writes into an array, is refused."""
    with pytest.raises(TypeError):
        call(tg.Parameter([1.0, 2.0]))


# --- nothing drops a gradient silently -----------------------------------------------

LEAVING = {
    "np.asarray": np.asarray,
    "np.array": np.array,
    "np.array([t, t])": lambda t: np.array([t, t]),
    "np.array([t[0], 1])": lambda t: np.array([t.sum(), 1.0]),
    "np.asarray(dtype)": lambda t: np.asarray(t, np.float32),
    "np.float64(t)": lambda t: np.float64(t.sum()),
    "np.asanyarray": np.asanyarray,
    "np.ascontiguousarray": np.ascontiguousarray,
    "np.full": lambda t: np.full((2,), t),
    "float": lambda t: float(t.sum()),
    "int": lambda t: int(t.sum()),
    "complex": lambda t: complex(t.sum()),
    "index": lambda t: [1, 2, 3][t.sum()],
    "range": lambda t: range(t.sum()),
    "math.exp": lambda t: math.exp(t.sum()),
    "math.sqrt": lambda t: math.sqrt(t.sum()),
    "math.log": lambda t: math.log(t.sum()),
    "%f": lambda t: operator.mod("%f", t.sum()),
    "Tensor([t])": lambda t: tg.Tensor([t, t]),
    "Tensor(t)": tg.Tensor,
    "Parameter(t)": lambda t: tg.Parameter(t * 2),
    "ndarray.dot": lambda t: np.ones((3, 2)).dot(t),
    "np.sum([t, t])": lambda t: np.sum([t, t]),
    "np.random.normal": lambda t: np.random.default_rng(0).normal(t, 1.0),
}


@pytest.mark.parametrize("name", LEAVING)
def test_leaving_the_graph_is_refused_while_a_gradient_would_be_lost(name):
    """Every way out names .numpy(), .item() or .detach(), the ways on purpose."""
    with pytest.raises(DetachedError, match=r"\.numpy\(\)|\.item\(\)|\.detach\(\)"):
        LEAVING[name](tg.Parameter([1.0, 2.0], name="W"))


def write(target, index, value):
    target[index] = value


WRITING = {
    "a[:] = t": lambda a, t: write(a, slice(None), t),
    "a[0:2] = t": lambda a, t: write(a, slice(0, 2), t),
    "a[[0, 1]] = t": lambda a, t: write(a, [0, 1], t),
    "a[mask] = t": lambda a, t: write(a, np.ones(2, bool), t),
    "a[0] = t[0]": lambda a, t: write(a, 0, t[0]),
    "a[...] = t": lambda a, t: write(a, ..., t),
    "a.flat = t": lambda a, t: setattr(a, "flat", t),
    "a.fill(t)": lambda a, t: a.fill(t[0]),
    "a += t": operator.iadd,
    "a -= t": operator.isub,
    "a *= t": operator.imul,
    "a /= t": operator.itruediv,
    "a **= t": operator.ipow,
    "a @= t": lambda a, t: operator.imatmul(
        np.ones((2, 2)), tg.Parameter(np.ones((2, 2)))
    ),
    "np.add(a, t, out=a)": lambda a, t: np.add(a, t, out=a),
    "np.put": lambda a, t: np.put(a, [0, 1], t),
    "np.place": lambda a, t: np.place(a, np.ones(2, bool), t),
    "np.copyto": np.copyto,
    "np.putmask": lambda a, t: np.putmask(a, np.ones(2, bool), t),
    "np.fill_diagonal": lambda a, t: np.fill_diagonal(np.ones((2, 2)), t),
    "np.put_along_axis": lambda a, t: np.put_along_axis(a, np.array([0, 1]), t, 0),
}


@pytest.mark.parametrize("name", WRITING)
def test_writing_into_an_ndarray_is_refused(name):
    """An ndarray cannot hold a gradient: it stays as it was, and the error says why."""
    a = np.ones(2)
    with pytest.raises((TinygradError, ValueError)) as caught:
        WRITING[name](a, tg.Parameter([3.0, 4.0]))
    # NumPy puts a ValueError of its own in front of a refused single item.
    told = [caught.value, caught.value.__cause__]
    assert any(isinstance(error, TinygradError) for error in told)
    assert a.dtype == np.float64
    np.testing.assert_array_equal(a, [1.0, 1.0])


def test_a_tensor_without_a_gradient_leaves_freely():
    """Where nothing is lost, NumPy may take the values."""
    t = tg.Tensor([4.0, 9.0])
    np.testing.assert_array_equal(np.asarray(t), [4.0, 9.0])
    np.testing.assert_array_equal(np.array([t, t]), [[4.0, 9.0], [4.0, 9.0]])
    assert float(t[0]) == int(t[0]) == 4
    assert math.sqrt(t[1]) == 3.0
    a = np.zeros(2)
    a[:] = t
    a[0] = t[1]
    np.testing.assert_array_equal(a, [9.0, 9.0])
    copied = np.array(t)
    copied[0] = 7
    assert t.numpy()[0] == 4.0


def test_leaving_on_purpose():
    """.numpy(), .item() and .detach() give the values, whatever requires a gradient."""
    t = tg.Parameter([4.0, 9.0])
    np.testing.assert_array_equal(t.numpy(), [4.0, 9.0])
    assert t.sum().item() == 13.0
    assert type(t.sum().item()) is float
    assert t.tolist() == [4.0, 9.0]
    assert not t.detach().requires_grad
    assert f"{t.sum():.1f}" == "13.0"


def test_results_are_never_arrays_of_objects():
    """No spelling gives an ndarray whose elements are Tensors."""
    t, a = tg.Parameter([1.0, 2.0]), np.ones(2)
    for call in (lambda: a * t, lambda: a @ t, lambda: np.float64(1) * t, lambda: a < t,
                 lambda: np.multiply(a, t), lambda: [1.0, 2.0] * t, lambda: operator.add((1.0, 2.0), t),
                 lambda: np.dot(a, t), lambda: np.where(a > 0, t, a)):  # fmt: skip
        found = call()
        assert isinstance(found, tg.Tensor)
        assert found.dtype != object
    with pytest.raises(DetachedError):
        np.array([t, a], dtype=object)[0].dtype  # noqa: B018 (np.array is what raises)


def test_subclasses_of_ndarray_are_taken_for_their_numbers():
    """The * of np.matrix is another product: a Tensor's is elementwise, on ndarrays."""
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    matrix = a.view(np.matrix)
    t = tg.Parameter(a)
    for found in (t * matrix, tg.multiply(matrix, t), tg.Tensor(matrix) * t):
        assert type(found.data) is np.ndarray
        np.testing.assert_array_equal(found.numpy(), a * a)


def test_masked_arrays_are_refused():
    """What lies under a mask is no number: dropping the mask would invent data."""
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    t = tg.Parameter([1.0, 2.0])
    for call in (
        lambda: tg.Tensor(masked),
        lambda: t * masked,
        lambda: tg.add(masked, t),
    ):
        with pytest.raises(TinygradError, match=r"masked|MaskedArray"):
            call()


def test_functions_take_lists_as_numpy_does():
    """tg.f of a list is np.f of it: an array, for nothing was recorded."""
    rows = [[3.0, 4.0]]
    for found, wanted in [
        (tg.exp(rows), np.exp(rows)), (tg.sum(rows, 1), np.sum(rows, 1)),
        (tg.norm(rows), np.linalg.norm(rows)), (tg.squeeze(rows), np.squeeze(rows)),
        (tg.swapaxes(rows, 0, 1), np.swapaxes(rows, 0, 1)), (tg.flip(rows), np.flip(rows)),
        (tg.expand_dims(rows, 0), np.expand_dims(rows, 0)), (tg.relu(rows), np.maximum(rows, 0)),
        (tg.moveaxis(rows, 0, 1), np.moveaxis(rows, 0, 1)), (tg.matmul(rows, [1.0, 2.0]), rows @ np.array([1.0, 2.0])),
        (tg.maximum(rows, [5.0, 0.0]), np.maximum(rows, [5.0, 0.0])), (tg.concatenate([rows, rows]), np.concatenate([rows, rows])),
        (tg.clip(rows, 3.5, None), np.clip(rows, 3.5, None)), (tg.dot(rows, [1.0, 2.0]), np.dot(rows, [1.0, 2.0])),
    ]:  # fmt: skip
        assert not isinstance(found, tg.Tensor)
        np.testing.assert_array_equal(found, wanted)


def test_numpy_warns_of_what_the_user_wrote():
    """np.exp(1000) overflows as loudly on a Tensor as on an array."""
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.exp(tg.Tensor([1000.0]))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        1 / tg.Tensor([0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.Parameter([1.0, 2.0]).sum().backward()


def test_an_item_of_a_tensor_is_not_assigned():
    """t[i] = v is refused, and the refusal names what to use."""
    t = tg.Parameter([1.0, 2.0])
    for call in (lambda: write(t, 0, 3.0), lambda: write(t * 2, slice(None), 3.0)):
        with pytest.raises(MutationError, match=r"where.*put_along_axis"):
            call()
