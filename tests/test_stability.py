"""Promise 3: textbook expressions are stable, in every spelling, from -1000 to 1000.

Values and slopes are held elementwise to a reference of fifty digits: 1e-12 relative
plus 1e-307 absolute in float64, 1e-6 relative plus the smallest normal number in
float32, where the reference takes the float32 logits as exact.
"""

from __future__ import annotations

import gc
import warnings
from functools import cache

import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import algebra
from tinygrad_nn.op import Node, op_of

mp = mpmath.mp.clone()
mp.dps = 50

GRID = np.unique(
    np.concatenate(
        [
            np.linspace(-1000, 1000, 161),
            np.linspace(-50, 50, 81),
            np.linspace(-2, 2, 21),
            [s * z for z in np.arange(700, 761, 4) for s in (-1, 1)],
            [s * z for z in (36, 37, 40, 87, 88, 89, 103, 104, 746) for s in (-1, 1)],
            [s * z for z in (1e-300, 1e-30, 1e-16, 1e-8, 1e-4) for s in (-1, 1)],
            [0.0],
        ]
    )
)
FEW = np.array([-1000.0, -800.0, -40.0, -1.5, 1e-8, 0.5, 37.0, 40.0, 750.0, 1000.0])
BOUNDS = {np.float64: (1e-12, 1e-307), np.float32: (1e-6, 1.2e-38)}
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def hold(got, wanted, dtype=np.float64, slack=0.0):
    """Hold numbers to references, one by one; ``slack`` is absolute and for slopes."""
    relative, absolute = BOUNDS[dtype]
    assert got.dtype == dtype
    assert np.all(np.isfinite(got))
    for number, want in zip(got.ravel().tolist(), wanted, strict=True):
        error = abs(mp.mpf(number) - want)
        assert error <= relative * abs(want) + absolute + slack, f"{number}, {want}"


@cache
def sigmoid(z):
    return 1 / (1 + mp.exp(-mp.mpf(z)))


@cache
def softplus(z):
    return mp.log1p(mp.exp(mp.mpf(z)))


@cache
def tanh(z):
    return mp.tanh(mp.mpf(z))


def minus(function):
    """The reference at -z, with the sign of what is built from it."""
    return lambda z: -function(-z)


def computed(expression, grid, dtype):
    """Value and slope of an elementwise expression; what it wrote may overflow in exp."""
    z = tg.Tensor(grid.astype(dtype), requires_grad=True)
    with np.errstate(over="ignore"):
        out = expression(z)
    out.backward(np.ones(grid.shape, dtype))
    return out.numpy(), z.grad


# --- spellings -------------------------------------------------------------------

SIGMOIDS = {
    "tg.sigmoid(Z)": tg.sigmoid,
    "1/(1+np.exp(-Z))": lambda Z: 1 / (1 + np.exp(-Z)),
    "1.0/(1.0+np.exp(-1.0*Z))": lambda Z: 1.0 / (1.0 + np.exp(-1.0 * Z)),
    "1/(1+np.exp(np.dot(-1,Z)))": lambda Z: 1 / (1 + np.exp(np.dot(-1, Z))),
    "1/(1+np.exp(Z*-1))": lambda Z: 1 / (1 + np.exp(Z * -1)),
    "1/(1+np.exp(0-Z))": lambda Z: 1 / (1 + np.exp(0 - Z)),
    "1/(np.exp(-Z)+1)": lambda Z: 1 / (np.exp(-Z) + 1),
    "(1+np.exp(-Z))**-1": lambda Z: (1 + np.exp(-Z)) ** -1,
    "np.power(1+np.exp(-Z),-1.0)": lambda Z: np.power(1 + np.exp(-Z), -1.0),
    "np.reciprocal(1+np.exp(-Z))": lambda Z: np.reciprocal(1 + np.exp(-Z)),
    "np.divide(1,np.add(1,np.exp(np.negative(Z))))": lambda Z: np.divide(
        1, np.add(1, np.exp(np.negative(Z)))
    ),
    "np.exp(Z)/(1+np.exp(Z))": lambda Z: np.exp(Z) / (1 + np.exp(Z)),
    "np.exp(Z)/(np.exp(Z)+1)": lambda Z: np.exp(Z) / (np.exp(Z) + 1),
}
COMPLEMENTS = {
    "1/(1+np.exp(Z))": lambda Z: 1 / (1 + np.exp(Z)),
    "1/(np.exp(Z)+1)": lambda Z: 1 / (np.exp(Z) + 1),
}
TANHS = {
    "np.tanh(z)": np.tanh,
    "np.sinh(z)/np.cosh(z)": lambda z: np.sinh(z) / np.cosh(z),
    "(e^z-e^-z)/(e^z+e^-z)": lambda z: (
        (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))
    ),
    "(e^z-e^-z)/(e^-z+e^z)": lambda z: (
        (np.exp(z) - np.exp(-z)) / (np.exp(-z) + np.exp(z))
    ),
}
LOGS = {
    "np.log(A)": (np.log, minus(softplus), lambda z: sigmoid(-z)),
    "np.log(1-(1-A))": (
        lambda A: np.log(1 - (1 - A)),
        minus(softplus),
        lambda z: sigmoid(-z),
    ),
    "np.log(1-A)": (
        lambda A: np.log(1 - A),
        lambda z: -softplus(z),
        lambda z: -sigmoid(z),
    ),
    "np.log(1+-A)": (
        lambda A: np.log(1 + -A),
        lambda z: -softplus(z),
        lambda z: -sigmoid(z),
    ),
    "np.log(-A+1)": (
        lambda A: np.log(-A + 1),
        lambda z: -softplus(z),
        lambda z: -sigmoid(z),
    ),
    "np.log1p(-A)": (
        lambda A: np.log1p(-A),
        lambda z: -softplus(z),
        lambda z: -sigmoid(z),
    ),
}
SOFT = {
    "tg.softplus(z)": tg.softplus,
    "np.log(1+np.e**z)": lambda z: np.log(1 + np.e**z),
    "np.log(1+np.exp(z))": lambda z: np.log(1 + np.exp(z)),
    "np.log(np.exp(z)+1)": lambda z: np.log(np.exp(z) + 1),
    "np.log1p(np.exp(z))": lambda z: np.log1p(np.exp(z)),
    "-np.log(tg.sigmoid(-z))": lambda z: -np.log(tg.sigmoid(-z)),
}
SOFT_OF_MINUS = {
    "np.log(1+np.e**-z)": lambda z: np.log(1 + np.e**-z),
    "np.log(1+np.exp(-z))": lambda z: np.log(1 + np.exp(-z)),
    "np.log(np.exp(-z)+1)": lambda z: np.log(np.exp(-z) + 1),
    "np.log1p(np.exp(-z))": lambda z: np.log1p(np.exp(-z)),
}


@DTYPES
@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_sigmoid(spelling, dtype):
    """The value is accurate everywhere; the slope A (1 - A) is off by rounding of A."""
    value, slope = computed(SIGMOIDS[spelling], GRID, dtype)
    z = GRID.astype(dtype).tolist()
    hold(value, map(sigmoid, z), dtype)
    eps = float(np.finfo(dtype).eps)
    hold(slope, (sigmoid(t) * sigmoid(-t) for t in z), dtype, slack=2 * eps)


@DTYPES
@pytest.mark.parametrize("spelling", TANHS)
def test_tanh(spelling, dtype):
    """The value is accurate everywhere; the slope 1 - A² is off by rounding of A."""
    value, slope = computed(TANHS[spelling], GRID, dtype)
    z = GRID.astype(dtype).tolist()
    hold(value, map(tanh, z), dtype)
    eps = float(np.finfo(dtype).eps)
    hold(slope, (mp.sech(t) ** 2 for t in z), dtype, slack=4 * eps)


@DTYPES
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_log_of_sigmoid(spelling, log, dtype):
    """Logarithms of A and of 1 - A, values and slopes, in every spelling of both."""
    of_A, value, slope = LOGS[log]
    got = computed(lambda Z: of_A(SIGMOIDS[spelling](Z)), GRID, dtype)
    z = GRID.astype(dtype).tolist()
    hold(got[0], map(value, z), dtype)
    hold(got[1], map(slope, z), dtype)


@DTYPES
@pytest.mark.parametrize("spelling", COMPLEMENTS)
def test_log_of_complement(spelling, dtype):
    """1/(1+exp(z)) is one minus the sigmoid, and its logarithms are as accurate."""
    z = GRID.astype(dtype).tolist()
    got = computed(lambda Z: np.log(COMPLEMENTS[spelling](Z)), GRID, dtype)
    hold(got[0], (-softplus(t) for t in z), dtype)
    hold(got[1], (-sigmoid(t) for t in z), dtype)
    got = computed(lambda Z: np.log(1 - COMPLEMENTS[spelling](Z)), GRID, dtype)
    hold(got[0], (-softplus(-t) for t in z), dtype)
    hold(got[1], (sigmoid(-t) for t in z), dtype)


@DTYPES
@pytest.mark.parametrize("spelling", [*SOFT, *SOFT_OF_MINUS])
def test_log_of_one_plus_exp(spelling, dtype):
    """The softplus of z and of -z, values and slopes, in every spelling."""
    sign = 1 if spelling in SOFT else -1
    z = (sign * GRID.astype(dtype)).tolist()
    value, slope = computed({**SOFT, **SOFT_OF_MINUS}[spelling], GRID, dtype)
    hold(value, map(softplus, z), dtype)
    hold(slope, (sign * sigmoid(t) for t in z), dtype)


@pytest.mark.parametrize("z", [-1000.0, -40.0, 0.0, 40.0, 1000.0])
@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_single_numbers_are_as_stable(spelling, z):
    """0-d Tensors, whose values are NumPy scalars, take the stable path too."""
    for of_A, value, slope in LOGS.values():
        got = computed(
            lambda Z, f=of_A: f(SIGMOIDS[spelling](Z)), np.array(z), np.float64
        )
        hold(np.asarray(got[0]), [value(z)])
        hold(got[1], [slope(z)])


@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_logits_that_are_integers(spelling):
    """Constant integer logits give the values of the same floating ones."""
    z = [-1000, -40, -1, 0, 1, 40, 1000]
    with np.errstate(over="ignore"):
        A = SIGMOIDS[spelling](tg.Tensor(z))
    hold(np.log(A).numpy(), (-softplus(-t) for t in z))
    hold(np.log(1 - A).numpy(), (-softplus(t) for t in z))


# --- the written-out cross-entropy -----------------------------------------------

COSTS = {
    "-(Y*np.log(A)+(1-Y)*np.log(1-A)).mean()": lambda A, Y: (
        -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()
    ),
    "-1/m*np.sum(Y*np.log(A)+(1-Y)*np.log(1-A))": lambda A, Y: (
        -1 / Y.size * np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A))
    ),
    "np.sum(-Y*np.log(A)-(1-Y)*np.log(1-A))/m": lambda A, Y: (
        np.sum(-Y * np.log(A) - (1 - Y) * np.log(1 - A)) / Y.size
    ),
    "np.multiply, then np.sum": lambda A, Y: (
        -np.sum(np.multiply(np.log(A), Y) + np.multiply(1 - Y, np.log(1 - A))) / Y.size
    ),
    "np.dot of rows": lambda A, Y: (
        -(
            np.dot(Y.reshape(1, -1), np.log(A).reshape(1, -1).T)
            + np.dot((1 - Y).reshape(1, -1), np.log(1 - A).reshape(1, -1).T)
        )
        / Y.size
    ),
    "np.where of the label": lambda A, Y: (
        -np.mean(np.where(Y == 1, np.log(A), np.log(1 - A)))
    ),
    "np.log of the chosen": lambda A, Y: (
        -np.mean(np.where(Y == 1, np.log(A), np.log1p(-A)))
    ),
}


@DTYPES
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_cross_entropy_of_each(spelling, label, dtype):
    """-(Y log A + (1-Y) log(1-A)), value and slope, one by one."""
    Y = np.full(GRID.shape, label, dtype)

    def loss(Z):
        A = SIGMOIDS[spelling](Z)
        return -(Y * np.log(A) + (1 - Y) * np.log(1 - A))

    value, slope = computed(loss, GRID, dtype)
    z = GRID.astype(dtype).tolist()
    hold(value, (softplus(-t if label else t) for t in z), dtype)
    hold(slope, (-sigmoid(-t) if label else sigmoid(t) for t in z), dtype)


@DTYPES
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_cost(spelling, cost, dtype):
    """The mean over mixed labels: dZ = (A - Y) / m, one by one, and its value."""
    m = 128
    z = np.resize(GRID[::3], m).astype(dtype)
    Y = (np.arange(m) % 2).astype(dtype)
    Z = tg.Tensor(z, requires_grad=True)
    with np.errstate(over="ignore"):
        out = COSTS[cost](SIGMOIDS[spelling](Z), Y)
    out.backward()
    pairs = list(zip(z.tolist(), Y.tolist(), strict=True))
    total = mp.fsum(softplus(-t if y else t) for t, y in pairs)
    hold(out.numpy(), [total / m], dtype)
    hold(Z.grad, ((-sigmoid(-t) if y else sigmoid(t)) / m for t, y in pairs), dtype)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_second_slope_of_the_cross_entropy(spelling, label):
    """The curvature A (1 - A) is finite and positive-or-zero, and accurate for |z| < 700."""
    Z = tg.Tensor(GRID, requires_grad=True)
    with np.errstate(over="ignore"):
        A = SIGMOIDS[spelling](Z)
        loss = -(label * np.log(A) + (1 - label) * np.log(1 - A))
    (slope,) = tg.gradients(loss, [Z], np.ones(GRID.shape))
    (curvature,) = tg.gradients(slope, [Z], np.ones(GRID.shape))
    hold(curvature.numpy(), (sigmoid(t) * sigmoid(-t) for t in GRID.tolist()))


# --- softmax ---------------------------------------------------------------------


def rows(dtype):
    """Return rows of logits: one large, two large, ties, all alike, and spread."""
    z = GRID[::4]
    zero = np.zeros_like(z)
    columns = [
        (z, zero, zero - 3),
        (z, z, zero),
        (zero, z, -z),
        (z, z / 2, z / 4),
        (z, z, z),
        (zero - 1000, z, zero + 1000),
    ]
    return np.concatenate([np.stack(c, axis=1) for c in columns]).astype(dtype)


LOG_SOFTMAXES = {
    "tg.log_softmax(z)": tg.log_softmax,
    "np.log(tg.softmax(z))": lambda z: np.log(tg.softmax(z)),
    "np.log(tg.softmax(z,axis=1))": lambda z: np.log(tg.softmax(z, axis=1)),
    "e/np.sum(e,axis=1,keepdims=True)": lambda z: np.log(
        np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
    ),
    "e=np.exp(z);e/e.sum(-1,keepdims=True)": lambda z: _log_of_ratio(np.exp(z)),
    "z.T, columns": lambda z: np.log(tg.softmax(z.T, axis=0)).T,
    "e=np.exp(z.T);e/e.sum(0), columns": lambda z: _log_of_columns(np.exp(z.T)).T,
}
LOG_SUMS = {
    "tg.logsumexp(z,axis=1)": lambda z: tg.logsumexp(z, axis=1),
    "np.log(np.sum(np.exp(z),axis=1))": lambda z: np.log(np.sum(np.exp(z), axis=1)),
    "np.log(np.exp(z).sum(axis=-1))": lambda z: np.log(np.exp(z).sum(axis=-1)),
    "np.log(np.sum(np.exp(z),axis=1,keepdims=True))": lambda z: np.log(
        np.sum(np.exp(z), axis=1, keepdims=True)
    ).reshape(-1),
    "np.log(sum(np.exp(z.T)))": lambda z: np.log(np.sum(np.exp(z.T), axis=0)),
}


def _log_of_ratio(e):
    return np.log(e / e.sum(axis=-1, keepdims=True))


def _log_of_columns(e):
    return np.log(e / np.sum(e, axis=0, keepdims=True))


@cache
def _weights(row):
    """Exponentials of a row's distances from its largest; the largest; its place."""
    row = [mp.mpf(t) for t in row]
    top = max(row)
    return [mp.exp(t - top) for t in row], top, row.index(top)


def _beyond_largest(row):
    """How far the log of the sum of exponentials lies above the largest logit."""
    weights, _, place = _weights(row)
    return mp.log1p(mp.fsum(w for i, w in enumerate(weights) if i != place))


def _log_sum(row):
    return max(row) + _beyond_largest(row)


def _log_chance(row, i):
    return (mp.mpf(row[i]) - max(row)) - _beyond_largest(row)


def _chance(row, i):
    weights, _, _ = _weights(row)
    return weights[i] / mp.fsum(weights)


def _other_chances(row, i):
    """1 - p, without taking p from 1."""
    weights, _, _ = _weights(row)
    return mp.fsum(w for j, w in enumerate(weights) if j != i) / mp.fsum(weights)


@DTYPES
@pytest.mark.parametrize("spelling", LOG_SOFTMAXES)
def test_log_of_softmax(spelling, dtype):
    """Values, and slopes for each single label, in every spelling."""
    data = rows(dtype)
    table = [tuple(row) for row in data.tolist()]
    z = tg.Tensor(data, requires_grad=True)
    with np.errstate(over="ignore"):
        out = LOG_SOFTMAXES[spelling](z)
    hold(out.numpy(), (_log_chance(row, i) for row in table for i in range(3)), dtype)
    for label in range(3):
        picked = np.zeros_like(data)
        picked[:, label] = 1
        (slope,) = tg.gradients(out, [z], picked)
        wanted = (
            _other_chances(row, i) if i == label else -_chance(row, i)
            for row in table
            for i in range(3)
        )
        hold(slope.numpy(), wanted, dtype)


@DTYPES
@pytest.mark.parametrize("spelling", LOG_SUMS)
def test_log_of_sum_of_exp(spelling, dtype):
    """Values and slopes of the soft maximum, in every spelling."""
    data = rows(dtype)
    table = [tuple(row) for row in data.tolist()]
    z = tg.Tensor(data, requires_grad=True)
    with np.errstate(over="ignore"):
        out = LOG_SUMS[spelling](z)
    hold(out.numpy(), map(_log_sum, table), dtype)
    out.backward(np.ones(len(table), dtype))
    hold(z.grad, (_chance(row, i) for row in table for i in range(3)), dtype)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_softmax_of_any_axis(axis):
    """Along columns, rows or everything, the written-out softmax is the named one."""
    data = np.array([[1000.0, -1000.0, 0.0], [999.0, 1.0, -5.0]])
    z = tg.Tensor(data, requires_grad=True)
    keepdims = axis is not None
    with np.errstate(over="ignore"):
        spelled = np.exp(z) / np.sum(np.exp(z), axis=axis, keepdims=keepdims)
    assert spelled.op.name == "softmax"
    assert spelled.numpy().tobytes() == tg.softmax(data, axis=axis).tobytes()


def test_a_ratio_that_broadcasts_along_another_axis_stays_as_written():
    """e / e.sum(axis=1) of a square matrix divides columns by sums of rows."""
    data = np.array([[1.0, 2.0], [3.0, 5.0]])
    e = np.exp(tg.Tensor(data, requires_grad=True))
    ratio = e / np.sum(e, axis=1)
    assert ratio.op.name == "divide"
    assert np.array_equal(ratio.numpy(), np.exp(data) / np.exp(data).sum(axis=1))


# --- what is not the pattern stays as written ------------------------------------


def test_patterns_of_two_operands_stay_as_written():
    """exp(x) and exp(y) do not meet in one sigmoid, tanh or softmax, even of one array."""
    data = np.array([0.5, -1.0])
    x = tg.Tensor(data, requires_grad=True)
    for y in (tg.Tensor(data, requires_grad=True), x.detach()):
        for written in (
            np.exp(x) / (1 + np.exp(y)),
            (np.exp(x) - np.exp(-y)) / (np.exp(x) + np.exp(-y)),
            np.exp(x) / np.sum(np.exp(y)),
        ):
            assert written.op.name == "divide"
    (slope,) = tg.gradients(np.sum(np.exp(x) / np.sum(np.exp(x.detach()))), [x])
    e = np.exp(data)
    np.testing.assert_allclose(slope.numpy(), e / e.sum(), rtol=1e-15)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_logarithm_has_no_form_of_its_own(recorded):
    """exp(-log(A)) is 1/A, not the exponential of what A was made of."""
    z = np.array([0.5, -2.0])
    A = 1 / (1 + np.exp(-z))
    with tg.scope("recorded") if recorded else tg.no_grad():
        L = np.log(tg.sigmoid(tg.Tensor(z)))
        for opposite in (-L, -1 * L, 0 - L, np.dot(-1, L)):
            np.testing.assert_allclose(np.exp(opposite).numpy(), 1 / A, rtol=1e-14)
            np.testing.assert_allclose(
                np.log(1 + np.exp(opposite)).numpy(), np.log(1 + 1 / A), rtol=1e-14
            )


@pytest.mark.parametrize("recorded", [True, False])
def test_a_leaf_that_changed_is_not_read_again(recorded):
    """log(A) after the logits' leaf has changed is the logarithm of the A of then."""
    z = tg.Parameter([0.5, -2.0])
    with tg.scope("recorded") if recorded else tg.no_grad():
        e, A = np.exp(z), tg.sigmoid(z)
        spelled, more = 1 / (1 + np.exp(-z)), 1 + e
        np.log(more)
        with tg.no_grad():
            z -= 3.0
        for late, then in (
            (np.log(A), np.log(A.numpy())),
            (np.log(1 - spelled), np.log(1 - A.numpy())),
            (np.log(more), np.log(more.numpy())),
            (np.log(1 + e), np.log(more.numpy())),
            (e / (1 + np.exp(z)), e.numpy() / (1 + np.exp(z.numpy()))),
        ):
            np.testing.assert_allclose(late.numpy(), then, rtol=1e-14)


CHAINS = {
    "-x": lambda x: -x,
    "1-x": lambda x: 1 - x,
    "1+x": lambda x: 1 + x,
    "np.exp(0*x)": lambda x: np.exp(0 * x),
    "np.sum(x)": lambda x: np.sum(x, axis=0, keepdims=True),
    "x*1": lambda x: x * np.ones(1),
    "x+x": lambda x: x + x,
}


@pytest.mark.parametrize("chain", CHAINS)
def test_forms_of_a_deep_graph_are_found_without_recursion(chain):
    """A logarithm at the end of twenty thousand nodes looks down as far as it must."""
    step = CHAINS[chain]
    x = tg.Parameter([1e-9])
    y = x
    with np.errstate(over="ignore"):
        for _ in range(20_000):
            y = step(y)
    with np.errstate(all="ignore"):
        assert np.log(y).op is not None
        assert np.log(tg.sigmoid(y)).op.name == "log_sigmoid"


# --- values do not depend on recording -------------------------------------------

EVERY = {
    **SIGMOIDS,
    **COMPLEMENTS,
    **TANHS,
    **SOFT,
    **SOFT_OF_MINUS,
    **{
        f"{log} of {name}": lambda Z, s=spelled, f=LOGS[log][0]: f(s(Z))
        for name, spelled in SIGMOIDS.items()
        for log in LOGS
    },
    **{
        f"log of {name}": lambda Z, s=spelled: np.log(s(Z))
        for name, spelled in COMPLEMENTS.items()
    },
}
EVERY_OF_ROWS = {**LOG_SOFTMAXES, **LOG_SUMS}


@DTYPES
@pytest.mark.parametrize("spelling", [*EVERY, *EVERY_OF_ROWS])
def test_values_do_not_depend_on_recording(spelling, dtype):
    """Recorded, constant and under no_grad: the same value, bit for bit."""
    expression = {**EVERY, **EVERY_OF_ROWS}[spelling]
    data = rows(dtype) if spelling in EVERY_OF_ROWS else GRID.astype(dtype)
    with np.errstate(over="ignore"):
        recorded = expression(tg.Tensor(data, requires_grad=True))
        constant = expression(tg.Tensor(data))
        inner = expression(tg.Tensor(data, requires_grad=True) * dtype(1))
        with tg.no_grad():
            quiet = expression(tg.Tensor(data, requires_grad=True))
            quiet_inner = expression(tg.Tensor(data) * dtype(1))
    assert quiet.op is None
    assert quiet.inputs == ()
    assert not quiet.requires_grad
    for other in (constant, inner, quiet, quiet_inner):
        assert other.numpy().tobytes() == recorded.numpy().tobytes()


def _kept_by(x):
    """Count the nodes that a node keeps alive, itself included."""
    seen = {id(x): x}
    stack = [x]
    while stack:
        for other in gc.get_referents(stack.pop()):
            if isinstance(other, (Node, tuple, dict)) and id(other) not in seen:
                seen[id(other)] = other
                stack.append(other)
    return sum(isinstance(other, Node) for other in seen.values())


STEPS = {
    **SIGMOIDS,
    **TANHS,
    **SOFT,
    "1-x": lambda x: 1 - x,
    "-x": lambda x: -x,
    "np.log(A)": lambda x: np.log(tg.sigmoid(x)),
    "np.log(1-A)": lambda x: np.log(1 - tg.sigmoid(x)),
    "logsumexp": lambda x: np.log(np.sum(np.exp(x), axis=0, keepdims=True)),
    "log_softmax": lambda x: np.log(np.exp(x) / np.sum(np.exp(x))),
}


@pytest.mark.parametrize("step", STEPS)
def test_no_grad_keeps_nothing_older_than_the_longest_pattern(step):
    """A long loop under no_grad holds a handful of nodes, not its past."""
    step = STEPS[step]
    x = tg.Parameter([0.5])
    with tg.no_grad():
        for _ in range(1000):
            x = step(x)
    assert _kept_by(x) <= 4


def test_no_grad_keeps_nothing_in_a_very_long_loop():
    """Ten thousand sigmoids of sigmoids under no_grad leave the last one's few nodes."""

    def nodes():
        gc.collect()
        return sum(issubclass(type(x), Node) for x in gc.get_objects())

    before = nodes()
    x = tg.Parameter([0.5, -3.0])
    with tg.no_grad():
        for _ in range(10_000):
            x = 1 / (1 + np.exp(-x))
    assert nodes() - before <= 4
    assert _kept_by(x) <= 2
    np.testing.assert_allclose(x.numpy(), 0.6590460684074066, rtol=1e-15)


# --- gradients of what was bypassed ----------------------------------------------

CALM = np.array([[-3.0, -0.5, 0.0, 1e-3, 2.0, 7.0]])
LABELS = np.array([[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]])


def _cost(A):
    return -np.mean(LABELS * np.log(A) + (1 - LABELS) * np.log(1 - A))


@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_a_bypassed_node_has_the_plain_gradient(spelling):
    """dA = (-(Y/A) + (1-Y)/(1-A)) / m when it is asked for, by either way of asking."""
    Z = tg.Tensor(CALM, requires_grad=True)
    A = SIGMOIDS[spelling](Z)
    loss = _cost(A)
    value = A.numpy()
    plain = (-(LABELS / value) + (1 - LABELS) / (1 - value)) / CALM.size
    (asked,) = tg.gradients(loss, [A])
    np.testing.assert_allclose(asked.numpy(), plain, rtol=1e-14)
    loss.backward(retain_grads=True)
    np.testing.assert_allclose(A.grad, plain, rtol=1e-14)


@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_asking_for_it_does_not_change_dZ(spelling):
    """dZ has the same bits whether or not dA, or anything between, is asked for."""
    data = FEW.reshape(2, 5)
    Y = np.array([[0.0, 1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0, 0.0]])

    def run():
        Z = tg.Tensor(data, requires_grad=True)
        with np.errstate(over="ignore"):
            A = SIGMOIDS[spelling](Z)
            loss = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
        return Z, A, loss

    Z, A, loss = run()
    (alone,) = tg.gradients(loss, [Z])
    together = tg.gradients(loss, [A, Z])[1]
    assert alone.numpy().tobytes() == together.numpy().tobytes()
    loss.backward()
    without = Z.grad
    Z, A, loss = run()
    loss.backward(retain_grads=True)
    assert Z.grad.tobytes() == without.tobytes()
    assert A.grad is not None
    np.testing.assert_allclose(without, alone.numpy(), rtol=1e-15)


def test_every_node_between_has_the_plain_gradient():
    """Of 1/(1+exp(-Z)) the gradients of exp(-Z) and 1+exp(-Z) follow the chain rule."""
    Z = tg.Tensor(CALM, requires_grad=True)
    e = np.exp(-Z)
    d = 1 + e
    A = 1 / d
    loss = _cost(A)
    dA, dd, de = (g.numpy() for g in tg.gradients(loss, [A, d, e]))
    np.testing.assert_allclose(dd, dA * -(A.numpy() ** 2), rtol=1e-13)
    np.testing.assert_allclose(de, dd, rtol=1e-13)
    (dZ,) = tg.gradients(loss, [Z])
    np.testing.assert_allclose(de * -e.numpy(), dZ.numpy(), rtol=1e-12, atol=1e-16)


def test_a_bypassed_softmax_has_the_plain_gradient():
    """d(-mean(Y log P)) / dP = -Y / P / m, and dZ = (P - Y) / m all the same."""
    data = np.array([[1.0, -2.0, 0.5], [3.0, 3.0, -1.0]])
    Y = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    Z = tg.Tensor(data, requires_grad=True)
    P = np.exp(Z) / np.sum(np.exp(Z), axis=1, keepdims=True)
    loss = -np.sum(Y * np.log(P)) / 2
    dP, dZ = (g.numpy() for g in tg.gradients(loss, [P, Z]))
    np.testing.assert_allclose(dP, -Y / P.numpy() / 2, rtol=1e-14)
    np.testing.assert_allclose(dZ, (P.numpy() - Y) / 2, rtol=1e-13)


# --- warnings --------------------------------------------------------------------


def _warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(w.message) for w in caught]


@pytest.mark.parametrize("spelling", [*EVERY, *EVERY_OF_ROWS])
def test_numpys_warning_about_what_was_written_stays(spelling):
    """np.exp(1000) warns, as NumPy does; nothing else does, and no backward."""
    expression = {**EVERY, **EVERY_OF_ROWS}[spelling]
    data = rows(np.float64) if spelling in EVERY_OF_ROWS else FEW
    z = tg.Tensor(data, requires_grad=True)
    out, messages = _warned(lambda: expression(z))
    assert set(messages) <= {
        "overflow encountered in exp",
        "overflow encountered in power",
        "overflow encountered in sinh",
        "overflow encountered in cosh",
    }
    writes_exp = any(way in spelling for way in ("exp", "e^", "e/", "np.e", "sinh"))
    assert bool(messages) == (writes_exp and "tg.logsumexp" not in spelling) or (
        "written out" in spelling
    )
    _, messages = _warned(lambda: out.backward(np.ones(out.shape)))
    assert messages == []
    _, messages = _warned(lambda: tg.gradients(out, [z], np.ones(out.shape)))
    assert messages == []


@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_no_backward_warns_even_where_the_plain_gradient_is_infinite(spelling):
    """Asked for dA where A is 0 or 1, the backward gives inf or nan, and no warning."""
    z = tg.Tensor(FEW, requires_grad=True)
    with np.errstate(over="ignore"):
        A = SIGMOIDS[spelling](z)
        loss = -np.sum(np.log(A) + np.log(1 - A))
    _, messages = _warned(lambda: loss.backward(retain_grads=True))
    assert messages == []
    assert np.all(np.isfinite(z.grad))
    _, messages = _warned(lambda: tg.gradients(loss, [A, z]))
    assert messages == []


# --- every rewriting rule is needed ----------------------------------------------

CASES = [
    *[
        (lambda Z, s=s, f=f: f(s(Z)), value, slope)
        for s in SIGMOIDS.values()
        for f, value, slope in LOGS.values()
    ],
    *[
        (lambda Z, s=s: np.log(s(Z)), lambda z: -softplus(z), lambda z: -sigmoid(z))
        for s in COMPLEMENTS.values()
    ],
    *[(s, softplus, sigmoid) for s in SOFT.values()],
    *[
        (s, lambda z: softplus(-z), lambda z: -sigmoid(-z))
        for s in SOFT_OF_MINUS.values()
    ],
    *[(s, tanh, None) for s in TANHS.values()],
    (SIGMOIDS["np.exp(Z)/(1+np.exp(Z))"], sigmoid, None),
    (
        lambda Z: np.log(np.sum(np.exp(Z.reshape(-1, 1)), axis=1)),
        mp.mpf,
        lambda z: mp.mpf(1),
    ),
    (
        lambda Z: np.log(np.exp(Z) / np.sum(np.exp(Z))),
        lambda z: _log_chance(tuple(FEW.tolist()), FEW.tolist().index(z)),
        None,
    ),
    (
        lambda Z: np.log(tg.softmax(Z)),
        lambda z: _log_chance(tuple(FEW.tolist()), FEW.tolist().index(z)),
        None,
    ),
]


def _all_stable():
    with np.errstate(all="ignore"):
        for expression, value, slope in CASES:
            Z = tg.Tensor(FEW, requires_grad=True)
            out = expression(Z)
            hold(out.numpy(), map(value, FEW.tolist()))
            out.backward(np.ones(out.shape))
            assert np.all(np.isfinite(Z.grad))
            if slope is not None:
                hold(Z.grad, map(slope, FEW.tolist()))


def test_all_cases_are_stable():
    """The cases that the next test breaks hold while all rules are there."""
    _all_stable()


@pytest.mark.parametrize(
    "rule", algebra.RULES, ids=lambda rule: f"{rule.op}({', '.join(rule.operands)})"
)
def test_every_rewriting_rule_is_needed(rule, monkeypatch, record_property):
    """Without any one row of the table some textbook expression breaks."""
    tables = algebra._FORMS if rule.records is None else algebra._REWRITES
    table = {k: r for k, r in tables[rule.op].items() if k != rule.operands}
    op = op_of(getattr(tg.ops, rule.op))
    if rule.records is None:
        make = algebra._unary_form if op.arity == 1 else algebra._binary_form
        monkeypatch.setattr(op, "form", make(table) if table else None)
    else:
        make = algebra._unary_rule if op.arity == 1 else algebra._binary_rule
        monkeypatch.setattr(op, "rule", make(op, table) if table else None)
    with pytest.raises(AssertionError):
        _all_stable()
    record_property("killed", 1)


def test_faults_of_the_algebra_are_noticed(monkeypatch, record_property):
    """Rules that hold on to the past, ask for recording or hide a node are noticed."""
    spelling = "1/(1+np.exp(-Z))"
    log = f"np.log(1-A) of {spelling}"
    rewrite = algebra._rewrite

    def only_recorded(*given):
        return rewrite(*given) if tg.recording.current().records else None

    def into_plain_numbers(*given):
        node = rewrite(*given)
        node._form = node._form._replace(written=None)
        return node

    faults = [
        (
            "op._bare",
            lambda x: x,
            test_no_grad_keeps_nothing_older_than_the_longest_pattern,
            ["-x"],
        ),
        (
            "algebra._rewrite",
            only_recorded,
            test_values_do_not_depend_on_recording,
            [log, np.float64],
        ),
        (
            "algebra._rewrite",
            into_plain_numbers,
            test_a_bypassed_node_has_the_plain_gradient,
            [spelling],
        ),
    ]
    for name, fault, test, given in faults:
        test(*given)
        with monkeypatch.context() as patch:
            patch.setattr(f"tinygrad_nn.{name}", fault)
            # A warning is an error here: log(0) was computed after all.
            with pytest.raises((AssertionError, tg.errors.NoPathError, RuntimeWarning)):
                test(*given)
        record_property("killed", 1)
