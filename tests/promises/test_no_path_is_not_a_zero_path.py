"""Promise 4: what was not chosen has gradient 0, at every order, whatever it holds."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler import compile

where = tg.where
POINTS = np.array([-1.0, 0.0, 2.0])  # outside, at the edge, inside of log's domain


@pytest.fixture(autouse=True)
def _numpys_forward_warnings():
    """What the user wrote may warn on its way forward; a backward may not."""
    with np.errstate(all="ignore"):
        yield


def orders(f, x, count=3):
    """Derivatives of sum(f(x)) of order 1, 2, …, each the gradient of the one before."""
    x = tg.Parameter(x)
    out = f(x).sum()
    found = []
    for _order in range(count):
        (g,) = tg.gradients(out, [x], unused="zero")
        found.append(g.numpy())
        out = g.sum()
    return found


def quick(f, x):
    """First derivative by backward, the engine's other loop, with warnings as errors."""
    x = tg.Parameter(x)
    out = f(x).sum()
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        out.backward()
    return x.grad


# Each function is f(x) where x > 0 and 0 elsewhere, f = log or what is named.
def log(x):
    return [1 / x, -1 / x**2, 2 / x**3]


def shared(x, y):
    return 0.5 * (where(x > 0, y, 0.0) + where(x > 0, y, 1.0))


SPELLINGS = {
    "np.where": lambda x: np.where(x > 0, np.log(x), 0),
    "tg.where": lambda x: where(x > 0, tg.log(x), 0.0),
    "turned round": lambda x: where(x <= 0, 0.0, tg.log(x)),
    "a constant mask": lambda x: where(np.array([False, False, True]), tg.log(x), 0.0),
    "a mask of numbers": lambda x: where(np.array([0.0, 0.0, 3.0]), tg.log(x), 0.0),
    "both sides require": lambda x: where(x > 0, tg.log(x), tg.Parameter(np.zeros(3))),
    "nested inside": lambda x: where(x > 0, where(x > -5, tg.log(x), x), 0.0),
    "nested outside": lambda x: where(x > -5, where(x > 0, tg.log(x), 0.0), tg.sqrt(x)),
    "nested twice": lambda x: where(x > -5, where(x > -3, where(x > 0, tg.log(x), 0.0), 0.0), 0.0),
    "deeper": lambda x: where(x > 0, tg.log(tg.exp(tg.log(x) * 2.0)) / 2.0, 0.0),
    "deeper still": lambda x: where(x > 0, tg.log(tg.sqrt(x)) + tg.log(tg.sqrt(x)), 0.0),
    "over reciprocal": lambda x: where(x > 0, -tg.log(1 / x), 0.0),
    "over x ** -1": lambda x: where(x > 0, -tg.log(x**-1.0), 0.0),
    "over softplus": lambda x: where(x > 0, tg.log(tg.exp(tg.log(x))), 0.0),
    "reshape": lambda x: where((x > 0).reshape(3, 1), tg.log(x.reshape(3, 1)), 0.0),
    "reshape between": lambda x: where(x > 0, tg.log(x.reshape(1, 3)).reshape(3), 0.0),
    "transpose": lambda x: where((x > 0).reshape(3, 1), tg.log(x.reshape(1, 3)).T, 0.0),
    "slice": lambda x: where(x[::-1] > 0, tg.log(x[::-1]), 0.0),
    "slice between": lambda x: where(x[::-1] > 0, tg.log(x)[::-1], 0.0),
    "integers": lambda x: where(x[[2, 0, 1]] > 0, tg.log(x)[[2, 0, 1]], 0.0),
    "booleans": lambda x: where((x > -9)[x > -9] & (x > 0), tg.log(x)[x > -9], 0.0),
    "duplicates": lambda x: where(x[[0, 1, 2, 2]] > 0, tg.log(x)[[0, 1, 2, 2]], 0.0) / np.array([1.0, 1.0, 2.0, 2.0]),
    "newaxis": lambda x: where((x > 0)[:, None], tg.log(x)[:, None], 0.0),
    "concatenate": lambda x: tg.concatenate([where(x > 0, tg.log(x), 0.0), np.ones(2)]),
    "concatenate between": lambda x: where(np.array([True, True, False, False, True]), tg.concatenate([np.ones(2), tg.log(x)]), 0.0),
    "stack": lambda x: tg.stack([where(x > 0, tg.log(x), 0.0), np.ones(3)]),
    "stack between": lambda x: where(np.array([[True] * 3, [False, False, True]]), tg.stack([np.ones(3), tg.log(x)]), 0.0),
    "broadcast": lambda x: where(x > 0, tg.log(x), np.zeros((2, 3))) / 2.0,
    "broadcast between": lambda x: where(x > 0, tg.log(x) + np.zeros((2, 3)), 0.0) / 2.0,
    "broadcast the mask": lambda x: where(np.array([[True], [False]]), where(x > 0, tg.log(x), 0.0), np.ones((2, 3))),
    "broadcast_to": lambda x: where(x > 0, tg.broadcast_to(tg.log(x), (4, 3)), 0.0) / 4.0,
    "sum": lambda x: where(x > 0, tg.log(x), 0.0).sum(),
    "mean": lambda x: where(x > 0, tg.log(x), 0.0).mean() * 3.0,
    "sum of an axis": lambda x: where((x > 0)[None], tg.log(x)[None], 0.0).sum(axis=1, keepdims=True),
    "sum between": lambda x: where(x > 0, tg.log(x)[:, None].sum(axis=1), 0.0),
    "mean between": lambda x: where(x > 0, (tg.log(x)[:, None] * np.ones(4)).mean(axis=1), 0.0),
    "max between": lambda x: where(x > 0, tg.log(x)[:, None].max(axis=1), 0.0),
    "max after": lambda x: where(x > 0, tg.log(x), -9.0).max(),
    "cumsum": lambda x: where(x > 0, tg.log(x), 0.0).cumsum(),
    "matmul": lambda x: where(x > 0, tg.log(x), 0.0) @ np.array([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]),
    "np.dot": lambda x: np.dot(np.ones((1, 3)), where(x > 0, tg.log(x), 0.0)),
    "einsum": lambda x: tg.einsum("i,i->", where(x > 0, tg.log(x), 0.0), np.ones(3)),
    "maximum": lambda x: tg.maximum(where(x > 0, tg.log(x), 0.0), -99.0),
    "relu": lambda x: tg.relu(where(x > 0, tg.log(x), 0.0)),
    "clip": lambda x: tg.clip(where(x > 0, tg.log(x), 0.0), -99.0, 99.0),
    "abs": lambda x: tg.abs(where(x > 0, tg.log(x), 0.0)),
    "used twice": lambda x: 0.5 * (where(x > 0, tg.log(x), 0.0) + where(x > 0, tg.log(x), 0.0)),
    "shared": lambda x: shared(x, tg.log(x)),
    "nan as the other": lambda x: where(x > 0, tg.log(x), np.nan * 0 + 1.0),
    "isnan": lambda x: where(tg.isnan(tg.log(x)) | (x == 0), 0.0, tg.log(x)),
    "float32": lambda x: where(x > 0, tg.log(x.astype(np.float32)), 0.0),
    "0-d": lambda x: tg.stack([where(v > 0, tg.log(v), 0.0) for v in x]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_where_does_not_poison(name):
    """log where x > 0 and a constant elsewhere: derivatives of every order are 0 there."""
    f = SPELLINGS[name]
    tolerance = 1e-6 if name == "float32" else 1e-12
    wanted = [np.array([0.0, 0.0, d]) for d in log(2.0)]
    np.testing.assert_allclose(quick(f, POINTS), wanted[0], rtol=tolerance)
    for found, derivative in zip(orders(f, POINTS), wanted, strict=True):
        np.testing.assert_allclose(found, derivative, rtol=tolerance)


BRANCHES = {
    "sqrt": (tg.sqrt, lambda x: x**0.5, [lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5]),
    "1/x": (lambda x: 1 / x, None, [lambda x: -1 / x**2, lambda x: 2 / x**3]),
    "reciprocal": (tg.reciprocal, None, [lambda x: -1 / x**2, lambda x: 2 / x**3]),
    "x ** -1": (lambda x: x**-1.0, None, [lambda x: -1 / x**2, lambda x: 2 / x**3]),
    "x ** -1.5": (lambda x: x**-1.5, None, [lambda x: -1.5 * x**-2.5, lambda x: 3.75 * x**-3.5]),
    "x ** 0.5": (lambda x: x**0.5, None, [lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5]),
    "x ** Tensor": (lambda x: x ** tg.Tensor(-2.0), None, [lambda x: -2 * x**-3, lambda x: 6 * x**-4]),
    "x log x": (lambda x: x * tg.log(x), None, [lambda x: np.log(x) + 1, lambda x: 1 / x]),
    "exp(-1/x)": (lambda x: tg.exp(-1 / x), None, [lambda x: np.exp(-1 / x) / x**2, lambda x: np.exp(-1 / x) * (1 - 2 * x) / x**4]),
    "tanh(1/x)": (lambda x: tg.tanh(1 / x), None, [lambda x: -1 / (x * np.cosh(1 / x)) ** 2, None]),
    "sin(x)/x": (lambda x: tg.sin(x) / x, None, [lambda x: np.cos(x) / x - np.sin(x) / x**2, None]),
    "x / |x|": (lambda x: x / tg.abs(x), None, [lambda x: 0.0, lambda x: 0.0]),
    "log1p(-1/x)": (lambda x: tg.log1p(1 / x), None, [lambda x: -1 / (x * (x + 1)), lambda x: (2 * x + 1) / (x * (x + 1)) ** 2]),
    "exp overflow": (lambda x: tg.exp(800.0 - 400.0 * x) * x, None, [lambda x: 1.0 - 800.0, None]),
}  # fmt: skip


@pytest.mark.parametrize("name", BRANCHES)
def test_no_branch_poisons(name):
    """Infinities and nans of a branch not taken never reach a gradient, at two orders."""
    f, _same, derivatives = BRANCHES[name]

    def chosen(x):
        return where(x > 0, f(x), 0.0)

    first = derivatives[0](2.0)
    np.testing.assert_allclose(quick(chosen, POINTS), [0.0, 0.0, first], rtol=1e-12)
    found = orders(chosen, POINTS, 2)
    np.testing.assert_allclose(found[0], [0.0, 0.0, first], rtol=1e-12)
    assert np.isfinite(found[1]).all()
    assert (found[1][:2] == 0).all()
    if derivatives[1] is not None:
        np.testing.assert_allclose(found[1][2], derivatives[1](2.0), rtol=1e-12)


def test_the_other_branch_keeps_its_gradient():
    """Where log is not taken, the branch that is has its own derivative, at each order."""
    found = orders(lambda x: where(x > 0, tg.log(x), x * x * x), POINTS)
    np.testing.assert_allclose(found[0], [3.0, 0.0, 0.5])
    np.testing.assert_allclose(found[1], [-6.0, 0.0, -0.25])
    np.testing.assert_allclose(found[2], [6.0, 6.0, 0.25])


def test_a_second_derivative_by_transforms_survives_too():
    """The Hessian and the Jacobian of a guarded log are 0 outside of the guard."""

    def f(x):
        return where(x > 0, tg.log(x) * tg.sqrt(x), 0.0).sum()

    inside = 2.0**-1.5 * (-np.log(2.0) / 4)
    np.testing.assert_allclose(
        tg.hessian(f)(POINTS), np.diag([0, 0, inside]), atol=1e-15
    )
    for call in (
        tg.grad(f),
        tg.jacobian(f),
        lambda x: tg.jvp(f, [x], [np.ones(3)])[1],
    ):
        assert np.isfinite(call(POINTS)).all()


def test_the_whole_chain_behind_a_branch_not_taken_is_spared():
    """A parameter that only feeds the branch not taken gets 0, through a matmul too."""
    W = tg.Parameter(np.array([[0.0, 1.0], [0.0, 1.0]]))
    z = np.array([[1.0, 1.0]]) @ W  # (0, 2)
    out = where(z > 0, tg.log(z), 0.0).sum()
    out.backward()
    np.testing.assert_array_equal(W.grad, [[0.0, 0.5], [0.0, 0.5]])


def test_a_path_by_any_of_several_ways_is_a_path():
    """What one where leaves out another may take: the union of the paths counts."""
    x = np.array([0.0, 0.5, 2.0])
    for f in (
        lambda y: where(y > 0.1, y, 0.0).sum() + where(x == 0.5, y, 0.0).sum(),
        lambda y: where(x == 0.5, y, 0.0).sum() + where(x > 1, y, 0.0).sum(),
        lambda y: where(x > 1, y, 0.0).sum() + where(x == 0.5, y, 0.0).sum(),
        lambda y: where(x > 1, y, 0.0).sum() + y[1],
        lambda y: y[1] + where(x > 1, y, 0.0).sum(),
    ):

        def g(v, f=f):
            return f(tg.log(v))

        np.testing.assert_array_equal(quick(g, x), [0, 2, 0.5])
        first, second = orders(g, x, 2)
        np.testing.assert_array_equal(first, [0, 2, 0.5])
        np.testing.assert_array_equal(second, [0, -4, -0.25])

    def trap():
        """Send the engine through its careful loop, for a variable of its own."""
        u = tg.Parameter(np.zeros(1))
        return where(u > 0, tg.log(u), 0.0).sum()

    for f in (
        lambda y: where(x > 1, y, 0.0).sum() + y.sum(),
        lambda y: y.sum() + where(x > 1, y, 0.0).sum(),
    ):

        def both(v, f=f):
            return f(tg.log(v + 1)) + trap()

        np.testing.assert_allclose(quick(both, x), [1, 1 / 1.5, 2 / 3])


def test_an_upstream_nan_stops_at_a_branch_not_taken():
    """What a later op makes of the other branch's value is no gradient of this one."""
    for f in (
        lambda x: tg.sqrt(where(x > 0, x, -1.0)),
        lambda x: tg.sqrt(where(x <= 0, -1.0, x)),
        lambda x: tg.log(where(x > 0, x, 0.0)) * np.array([1.0, 1.0, 0.25**0.75]),
    ):
        found = quick(f, POINTS)
        np.testing.assert_array_equal(found[:2], [0, 0])
        assert found[2] > 0


def test_a_mask_times_x_means_what_it_says():
    """0 * inf is nan in arithmetic, and so are gradients and derivatives of it."""
    for f in (
        lambda x: (x > 0) * tg.log(x),
        lambda x: tg.log(x) * (x > 0).astype(float),
    ):
        assert np.isnan(quick(f, POINTS)[1])
        for found in orders(f, POINTS, 2):
            assert np.isnan(found[1])
            assert np.isfinite(found[2])
    poisoned = quick(lambda x: where(x > 0, tg.log(x), 0.0) + 0 * tg.log(x), POINTS)
    assert np.isnan(poisoned[1])


def test_a_nan_that_was_chosen_stays():
    """A gradient through the branch taken is not laundered."""
    assert np.isnan(quick(lambda x: where(x < 0, tg.sqrt(x), 0.0), POINTS)[0])
    assert np.isinf(quick(lambda x: where(x == 0, tg.log(x), 0.0), POINTS)[1])
    assert np.isnan(quick(tg.sqrt, POINTS)[0])


def test_elements_picked_or_limited_away_have_no_path_either():
    """Indexing, clip, maximum and relu leave elements out as where does."""
    for f in (
        lambda x: tg.log(x)[2:],
        lambda x: tg.log(x)[x > 0],
        lambda x: tg.concatenate([tg.log(x), np.ones(1)])[2:],
        lambda x: tg.log(x).reshape(3, 1)[2],
        lambda x: tg.clip(tg.log(tg.relu(x)), -50.0, None),
        lambda x: tg.maximum(tg.log(tg.relu(x)), -50.0),
        lambda x: tg.relu(tg.log(tg.relu(x)) + 50.0),
        lambda x: -tg.minimum(-tg.log(tg.relu(x)), 50.0),
        lambda x: tg.max(tg.log(tg.relu(x))),
        lambda x: -tg.min(-tg.log(tg.relu(x))),
    ):
        np.testing.assert_array_equal(quick(f, POINTS), [0, 0, 0.5])
        found = orders(f, POINTS, 2)
        np.testing.assert_array_equal(found[0], [0, 0, 0.5])
        np.testing.assert_array_equal(found[1], [0, 0, -0.25])


@pytest.mark.parametrize("extreme", [tg.max, lambda x, **row: -tg.min(-x, **row)])
def test_the_losers_of_an_extreme_have_no_path(extreme):
    """An element that is not the largest of its row may hold an infinite slope."""
    x = np.array([[0.0, 2.0], [4.0, 0.0]])
    for f in (
        lambda x: extreme(tg.log(x), axis=1),
        lambda x: extreme(tg.log(x), axis=1, keepdims=True) * np.ones((1, 3)) / 3.0,
        lambda x: where([True, True], extreme(tg.log(x), axis=1), 0.0),
    ):
        np.testing.assert_allclose(quick(f, x), [[0, 0.5], [0.25, 0]])
        first, second = orders(f, x, 2)
        np.testing.assert_allclose(first, [[0, 0.5], [0.25, 0]])
        np.testing.assert_allclose(second, [[0, -0.25], [-0.0625, 0]])
    whole = quick(lambda x: extreme(tg.log(x)), x)
    np.testing.assert_allclose(whole, [[0, 0], [0.25, 0]])


def test_elements_picked_away_are_spared_their_nan():
    """A nan outside of the slice is as far away as one behind a where."""
    for f in (lambda x: tg.sqrt(x)[1:], lambda x: tg.sqrt(x)[x > -0.5]):
        np.testing.assert_array_equal(quick(f, POINTS), [0, 0, 0.5 / np.sqrt(2)])
        np.testing.assert_array_equal(orders(f, POINTS, 1)[0], [0, 0, 0.5 / np.sqrt(2)])


# --- the written-down conventions at 0 -----------------------------------------------

AT_ZERO = {
    "sqrt": tg.sqrt,
    "sqrt(x * x)": lambda x: tg.sqrt(x * x),
    "norm": tg.norm,
    "np.linalg.norm": np.linalg.norm,
    "norm of an axis": lambda x: tg.norm(x.reshape(1, -1), axis=1),
    "norm 1": lambda x: tg.norm(x, 1),
    "norm 3": lambda x: tg.norm(x, 3),
    "norm inf": lambda x: tg.norm(x, np.inf),
    "std": tg.std,
    "std of an axis": lambda x: tg.std(x.reshape(1, -1), axis=1),
    "var": tg.var,
    "x ** 0.5": lambda x: x**0.5,
    "x ** 0": lambda x: x**0,
    "x ** 1": lambda x: x**1,
    "x ** 1.5": lambda x: x**1.5,
    "x ** 2": lambda x: x**2,
    "x ** Tensor(0.5)": lambda x: x ** tg.Tensor(0.5),
    "x ** Tensor(0)": lambda x: x ** tg.Tensor(0.0),
    "x ** Tensor(2)": lambda x: x ** tg.Tensor(2.0),
    "x ** x": lambda x: x**x,
    "|x| ** 0.3": lambda x: tg.abs(x) ** 0.3,
    "x |x|": lambda x: x * tg.abs(x),
    "prod": tg.prod,
}


@pytest.mark.parametrize("name", AT_ZERO)
@pytest.mark.parametrize("size", [1, 3])
def test_gradients_at_zero_are_finite_at_every_order(name, size):
    """Where a slope is infinite or missing at 0, the convention is finite: 0."""
    f = AT_ZERO[name]
    x = np.zeros(size)
    first = quick(f, x)
    assert np.isfinite(first).all()
    for found in orders(f, x):
        assert np.isfinite(found).all()
    slope = {"x ** 1": 1.0, "prod": float(size == 1)}.get(name, 0.0)
    np.testing.assert_array_equal(first, np.full(size, slope))


def test_conventions_hold_next_to_ordinary_elements():
    """A zero among the operands spoils nothing beside it."""
    x = np.array([0.0, 4.0])
    np.testing.assert_allclose(quick(tg.sqrt, x), [0.0, 0.25])
    np.testing.assert_allclose(orders(tg.sqrt, x, 2)[1], [0.0, -1 / 32])
    np.testing.assert_allclose(quick(lambda v: v**0.5, x), [0.0, 0.25])
    np.testing.assert_allclose(quick(tg.norm, x), [0.0, 1.0])
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(
        quick(lambda v: tg.norm(v, axis=1), rows), [[0, 0], [0.6, 0.8]]
    )
    np.testing.assert_allclose(
        quick(lambda v: tg.std(v, axis=1), rows), [[0, 0], [-0.5, 0.5]]
    )


def test_sqrt_of_a_variance_of_constants_has_no_infinite_curvature():
    """A batch norm of constant data: values and two orders are finite."""

    def normalised(x):
        centred = x - x.mean()
        return (centred / (x.std() + 1e-5)).sum()

    for found in orders(normalised, np.full(4, 3.0), 2):
        assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_backward_warns_of_nothing(dtype):
    """Overflow, division by 0 and nan in a backward are results, not warnings."""
    big = np.asarray([np.finfo(dtype).max, 0.0, -1.0, np.inf, np.nan, 1e-30], dtype)
    for f in (tg.log, tg.sqrt, tg.exp, tg.square, tg.reciprocal, tg.tanh, tg.sigmoid,
              tg.softplus, tg.log1p, tg.softmax, tg.logsumexp, tg.norm, tg.std, tg.prod,
              lambda x: x**3, lambda x: x**-2.0, lambda x: x**x, lambda x: x / x,
              lambda x: where(x > 0, 1 / x, x * 1e30), lambda x: x @ x, tg.cumsum):  # fmt: skip
        x = tg.Parameter(big)
        out = f(x)
        with warnings.catch_warnings(), np.errstate(all="warn"):
            warnings.simplefilter("error")
            out.backward(np.full(out.shape, np.finfo(dtype).max), retain_grads=True)
            out.backward(np.full(out.shape, np.finfo(dtype).max))
            (g,) = tg.gradients(out, [x], np.full(out.shape, 2.0))
            tg.gradients(g, [x], np.full(g.shape, 2.0), unused="zero")
        assert x.grad.dtype == dtype


def test_the_users_error_state_is_left_alone():
    """A backward neither raises nor changes what the user told NumPy to do."""
    x = tg.Parameter(POINTS)
    out = where(x > 0, tg.log(x), 0.0).sum()
    with np.errstate(all="raise"):
        before = np.geterr()
        out.backward()
        tg.gradients(out, [x])
        assert np.geterr() == before
    np.testing.assert_array_equal(x.grad, [0, 0, 0.5])


@pytest.mark.parametrize("exact", [True, False])
def test_a_compiled_step_tracks_paths_that_its_labels_choose(exact):
    """Which elements are chosen is read anew; .grad is that of the careful program."""

    def make():
        w = tg.Parameter([[0.0, 0.5, 0.2], [0.3, 0.0, 0.4]])
        optimizer = tg.optim.SGD([w], lr=0.01)

        def step(labels):
            loss = np.log(w)[np.arange(2), labels].sum()
            loss.backward()
            optimizer.step()
            return loss

        return step, w

    (eager, theirs), (step, ours) = make(), make()
    compiled = compile(step, exact=exact)
    for labels in ([1, 0], [2, 2], [1, 2]):
        expected = eager(np.array(labels)).item()
        assert compiled(np.array(labels)).item() == pytest.approx(expected, rel=1e-15)
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-15)
        np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-15)
        assert (ours.grad == 0).sum() == 4


@pytest.mark.parametrize("choose", [np.fmax, np.fmin])
def test_a_nan_that_fmax_leaves_out_has_no_gradient(choose):
    """What fmax and fmin do not take has no path, though its own slope is nan."""
    x = tg.Tensor([-1.0, 4.0], requires_grad=True)
    other = np.array([-1.0, -1.0 if choose is np.fmax else 9.0])
    with np.errstate(invalid="ignore"):
        choose(np.sqrt(x), other).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: tg.where(tg.isnan(x), 0.0, x * x).sum(),
        lambda x: tg.fmax(tg.sqrt(x), -1.0).sum(),
    ],
    ids=["where", "fmax"],
)
def test_a_nan_that_is_left_out_has_no_gradient_when_compiled(f, backend):
    """So it is in a compiled step, also where the value itself is not computed."""
    if backend == "jax":
        pytest.importorskip("jax")
    if backend == "c" and shutil.which("cc") is None:
        pytest.skip("no compiler")
    step = tg.compile(tg.grad(f), backend=backend)
    for x in ([1.0, np.nan, 3.0], [-1.0, 4.0, 2.0]):
        x = np.array(x)
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(step(x).numpy(), tg.grad(f)(x), rtol=1e-15)
            assert not np.isnan(tg.grad(f)(np.where(np.isnan(x), 1.0, x))).any()
