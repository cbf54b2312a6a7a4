"""Passes that change values: what each removes, and that results stay equal."""

from __future__ import annotations

import inspect
from collections import Counter

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.algebra import IDENTITIES
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}
DTYPES = [np.float64, np.float32]
NAMES = [identity.name for identity in IDENTITIES]


def compiled(function, *arguments, exact=False):
    """Compile a function by a first call; return it and the ops of its program."""
    step = tg.compile(function, exact=exact)
    with np.errstate(over="ignore"):  # NumPy's warning of what the user wrote
        step(*arguments)
    return step, ops_of(step)


def ops_of(step):
    return Counter(node._op.name for node in step._last.program.nodes)


def program_of(step):
    return step._last.program


def difference(ours, truth):
    """Largest relative difference, as the design defines it."""
    ours, truth = np.asarray(ours, np.float64), np.asarray(truth, np.float64)
    assert ours.shape == truth.shape
    if not truth.size:
        return 0.0
    return float(np.max(np.abs(ours - truth)) / (np.max(np.abs(truth)) or 1.0))


def agree(function, *arguments):
    """Compare compiled with eager; return the ops with every bit kept, and without."""
    with np.errstate(all="ignore"):
        truth = function(*map(tg.Tensor, arguments))
    _, before = compiled(function, *arguments, exact=True)
    step, after = compiled(function, *arguments)
    found = step(*arguments)
    truth = truth if isinstance(truth, (list, tuple)) else [truth]
    found = found if isinstance(found, (list, tuple)) else [found]
    for a, b in zip(found, truth, strict=True):
        assert a.dtype == b.dtype
        assert difference(a.numpy(), b.numpy()) <= TOLERANCE[b.dtype.type]
    return before, after


# --- the house's identities ----------------------------------------------------------


def operands(identity, dtype=np.float64, shape=(4, 3), seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for i, (low, high) in enumerate(identity.operands):
        size = (shape[0], 1) if i in identity.constant_along_axis else shape
        found.append(rng.uniform(low, high, size).astype(dtype))
    return found


@pytest.mark.parametrize("identity", IDENTITIES, ids=NAMES)
def test_both_sides_of_an_identity_are_equal(identity):
    """What is written and what is written instead are one function."""
    arrays = operands(identity)
    instead = np.asarray(identity.instead(*map(tg.Tensor, arrays)).numpy())
    written = np.asarray(identity.written(*map(tg.Tensor, arrays)).numpy())
    assert written.shape == instead.shape
    np.testing.assert_allclose(written, instead, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("identity", IDENTITIES, ids=NAMES)
def test_an_identity_is_found_in_a_program(identity):
    """What is written compiles to what is written instead, and not with exact=True."""
    arrays = operands(identity)
    _, written = compiled(identity.written, *arrays)
    _, exact = compiled(identity.written, *arrays, exact=True)
    _, instead = compiled(identity.instead, *arrays)
    if "is 0" in identity.name:
        assert not written.keys() & {"exp", "divide", "max"}
    else:
        assert written == instead
    assert exact.keys() - written.keys() or exact.total() > written.total()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("identity", IDENTITIES, ids=NAMES)
def test_an_identity_holds_with_anything_in_front(identity, dtype):
    """Numbers, signs and further factors do not hide it, nor change its value."""
    arrays = operands(identity, dtype)
    factor = np.linspace(0.5, 1.5, 12, dtype=dtype).reshape(4, 3)
    if "is 0" in identity.name:
        factor = factor[:, :1]

    def around(*parts):
        return 2.0 * -(factor * identity.written(*parts)) / 8 + 1

    _, plain = compiled(identity.written, *arrays)
    before, after = agree(around, *arrays)
    assert after.total() <= plain.total() + 4
    assert after != before


@pytest.mark.parametrize("axis", [0, 1, (0, 1), None])
def test_identities_of_softmax_hold_along_any_axis(axis):
    """An identity with an axis holds for every axis, if it is one and the same."""
    for identity in IDENTITIES:
        if "axis" not in inspect.signature(identity.written).parameters:
            continue
        if identity.constant_along_axis:
            continue
        arrays = operands(identity)
        around = lambda *parts, row=identity: 1 + row.written(*parts, axis=axis)
        before, after = agree(around, *arrays)
        assert after.total() < before.total(), identity.name


def test_an_identity_with_two_axes_is_none():
    """The softmax of rows and the sums of columns have nothing to do with each other."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))

    def mixed(x, g):
        p = tg.softmax(x, 1)
        return -g * np.expm1(np.log(p)) - p * (np.sum(g, 0, keepdims=True) - g)

    _, after = agree(mixed, x, g)
    assert after["expm1"] == 1


def test_a_shift_that_varies_is_no_shift():
    """Of softmax(x - t) only a t that is constant along the axis may go."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(3, 4)), rng.normal(size=4)
    _, along = agree(lambda x, t: tg.softmax(x - t, 0), x, t)
    _, across = agree(lambda x, t: tg.softmax(x - t, 1), x, t)
    assert across["subtract"] == along["subtract"] + 1


def test_recording_knows_nothing_of_identities():
    """They are for compiler and derivation: eager keeps every digit of a residual."""
    z = tg.Tensor(np.array([40.0]), requires_grad=True)
    loss = tg.losses.binary_cross_entropy_with_logits(z, np.array([1.0]))
    (slope,) = tg.gradients(loss, [z])
    assert slope.numpy()[0] == pytest.approx(-np.exp(-40.0), rel=1e-12)


# --- cross-entropy over a sigmoid ----------------------------------------------------


def written(Z, Y, m):
    A = 1 / (1 + np.exp(-Z))
    return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))


def with_products(Z, Y, m):
    A = 1 / (1 + np.exp(-Z))
    if Z.ndim == 1:
        return -(np.dot(Y, np.log(A)) + np.dot(1 - Y, np.log(1 - A))) / m
    if Z.shape[0] == 1:
        cost = np.dot(Y, np.log(A).T) + np.dot(1 - Y, np.log(1 - A).T)
    else:
        cost = np.dot(Y.T, np.log(A)) + np.dot((1 - Y).T, np.log(1 - A))
    return np.squeeze(-(1 / m) * cost)


def with_two_sums(Z, Y, m):
    A = 1 / (1 + np.exp(np.dot(-1, Z)))
    positive = np.sum(np.multiply(Y, np.log(A)))
    return -(positive + np.sum(np.multiply(1 - Y, np.log(1 - A)))) / m


def with_negatives(Z, Y, m):
    A = tg.sigmoid(Z)
    return (1.0 / m) * np.sum(-Y * np.log(A) - (1 - Y) * np.log(1 - A))


def by_name(Z, Y, m):
    return tg.losses.binary_cross_entropy(tg.sigmoid(Z), Y)


def of_logits(Z, Y, m):
    return tg.losses.binary_cross_entropy_with_logits(Z, Y)


BINARY = [written, with_products, with_two_sums, with_negatives, by_name, of_logits]
HIDDEN = {"tanh": np.tanh, "relu": lambda Z: np.maximum(0, Z), "sigmoid": tg.sigmoid}


class Net:
    """A network of one hidden layer, its data and its step."""

    def __init__(self, loss, layout, dtype, *, size=1.0, hidden="tanh", k=1, m=8):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(m, 3)) * size
        Y = np.eye(max(k, 2))[rng.integers(0, max(k, 2), m)]
        Y = Y if k > 1 else Y[:, :1]
        parameters = [
            rng.normal(size=(3, 4)),
            0.1 * rng.normal(size=(1, 4)),
            rng.normal(size=(4, k)),
            np.zeros((1, k)),
        ]
        if layout == "columns":
            X, Y, *parameters = (x.T for x in (X, Y, *parameters))
        if layout == "flat":
            Y = Y[:, 0]
            parameters[2:] = parameters[2][:, 0], parameters[3][0]
        self.X, self.Y = np.array(X, dtype), np.array(Y, dtype)
        names = ["W1", "b1", "W2", "b2"]
        self.parameters = [
            tg.Parameter(np.array(p, dtype), name=name)
            for p, name in zip(parameters, names, strict=True)
        ]
        W1, b1, W2, b2 = self.parameters
        self.optimizer = tg.optim.SGD(self.parameters, lr=0.1)
        activation = HIDDEN[hidden]

        def logits(X):
            if layout == "columns":
                return np.dot(W2, activation(np.dot(W1, X) + b1)) + b2
            return np.dot(activation(np.dot(X, W1) + b1), W2) + b2

        def step(X, Y):
            cost = loss(logits(X), Y, m)
            self.optimizer.minimize(cost)
            return cost

        def silent(X, Y):
            self.optimizer.minimize(loss(logits(X), Y, m))

        self.step, self.silent = step, silent


def trained(loss, layout, dtype, *, steps=3, **options):
    """Take steps compiled and not, from the same state; return worst and ops."""
    eager = Net(loss, layout, dtype, **options)
    ours = Net(loss, layout, dtype, **options)
    step = tg.compile(ours.step)
    worst = 0.0
    for _ in range(steps):
        with np.errstate(over="ignore"):
            cost = eager.step(eager.X, eager.Y)
            found = step(ours.X, ours.Y)
        worst = max(worst, difference(found.numpy(), cost.numpy()))
        for p, q in zip(ours.parameters, eager.parameters, strict=True):
            assert p.grad.dtype == q.grad.dtype == dtype
            worst = max(worst, difference(p.grad, q.grad), difference(p.data, q.data))
            p.data = q.data.copy()
    return worst, ops_of(step)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["rows", "columns", "flat"])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("loss", BINARY)
def test_cross_entropy_of_a_sigmoid_is_one_logarithm(loss, hidden, layout, dtype):
    """However it is written, dZ is (A - Y) / m, and the cost one softplus less Y Z."""
    worst, after = trained(loss, layout, dtype, hidden=hidden)
    assert worst <= TOLERANCE[dtype]
    assert after["log1p"] == 1
    assert not after.keys() & {"expm1", "log", "abs", "log_sigmoid"}
    assert after["exp"] == 2 + (hidden == "sigmoid")


@pytest.mark.parametrize("loss", BINARY)
def test_no_other_way_to_write_it_costs_more(loss):
    """All spellings compile to the same ops, views and the way to divide aside."""
    found = []
    for spelling in (of_logits, loss):
        _, after = trained(spelling, "columns", np.float64, steps=1)
        after["multiply"] += after.pop("divide", 0)
        found.append({k: after[k] for k in after.keys() - {"reshape", "transpose"}})
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", BINARY)
def test_tails_of_the_sigmoid_stay(loss, dtype):
    """Logits of -1000 to 1000, right and wrong: finite, and equal to eager."""
    Z = np.array([[-1000.0, -1000.0, -40.0, -1.0, 0.0, 2.0, 40.0, 1000.0, 1000.0]])
    Y = np.array([[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]])

    def both(Z, Y):
        with np.errstate(over="ignore"):
            cost = loss(Z, Y, 9)
        return [cost, *tg.gradients(cost, [Z])]

    before, after = agree(both, Z.astype(dtype), Y.astype(dtype))
    assert after.total() < before.total()
    step = tg.compile(both)
    assert all(np.isfinite(x.numpy()).all() for x in step(*map(dtype, (Z, Y))))


@pytest.mark.parametrize("loss", [of_logits, written])
def test_small_gradients_in_single_precision_keep_their_digits(loss):
    """In float32 the probability less its label is taken in float64."""
    Z = np.linspace(8, 12, 20, dtype=np.float32).reshape(1, 20)
    Y = np.ones_like(Z)
    agree(lambda Z, Y: tg.gradients(loss(Z, Y, 20), [Z]), Z, Y)


def test_a_cost_that_nobody_asks_for_is_not_computed():
    """A step that returns nothing has no logarithm, and the sigmoid is the plain one."""
    net = Net(written, "columns", np.float64)
    _, after = compiled(net.silent, net.X, net.Y)
    assert not after.keys() & {"log1p", "log", "maximum", "minimum", "mean"}
    assert after["exp"] == 1


def test_weights_of_examples_stay_in_front():
    """Factors of every example do not hide the residual."""
    w = np.linspace(0.5, 2, 8).reshape(8, 1)

    def weighted(Z, Y, m):
        A = tg.sigmoid(Z)
        return -np.sum(w * (Y * np.log(A) + (1 - Y) * np.log(1 - A))) / m

    worst, after = trained(weighted, "rows", np.float64)
    assert worst <= 1e-12
    assert not after.keys() & {"expm1", "abs"}


# --- cross-entropy over a softmax ----------------------------------------------------


def one_hot(Z, Y, m):
    return tg.losses.cross_entropy(Z, Y)


def of_classes(Z, Y, m):
    return tg.losses.cross_entropy(Z, np.arange(m) % 3)


def spelled_out(Z, Y, m):
    E = np.exp(Z)
    return -np.sum(Y * np.log(E / np.sum(E, axis=1, keepdims=True))) / m


def shifted(Z, Y, m):
    E = np.exp(Z - np.max(Z, axis=1, keepdims=True))
    return -np.sum(Y * np.log(E / np.sum(E, axis=1, keepdims=True))) / m


def in_columns(Z, Y, m):
    E = np.exp(Z - np.max(Z, axis=0, keepdims=True))
    return -np.sum(Y * np.log(E / np.sum(E, axis=0, keepdims=True))) / m


def by_rows(Z, Y, m):
    return -np.mean(np.sum(Y * np.log(tg.softmax(Z)), axis=1))


def of_log_sum(Z, Y, m):
    return np.mean(np.log(np.sum(np.exp(Z), axis=1)) - np.sum(Y * Z, axis=1))


def smoothed(Z, Y, m):
    return tg.losses.cross_entropy(Z, np.arange(m) % 3, label_smoothing=0.1)


SOFT = [one_hot, of_classes, spelled_out, shifted, by_rows, smoothed, in_columns]


@pytest.mark.parametrize("size", [1.0, 300.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [*SOFT, of_log_sum])
def test_cross_entropy_of_a_softmax_shares_its_exponentials(loss, dtype, size):
    """One maximum, one exponential and one logarithm serve loss and gradient."""
    layout = "columns" if loss is in_columns else "rows"
    worst, after = trained(loss, layout, dtype, k=3, size=size)
    assert worst <= TOLERANCE[dtype]
    assert after["max"] == after["exp"] == after["log"] == 1
    assert not after.keys() & {"expm1", "log1p", "where"}
    assert after["equal"] == (loss is smoothed)  # that is where classes become labels


@pytest.mark.parametrize("loss", SOFT)
def test_the_gradient_of_a_softmax_is_a_difference(loss):
    """One array of logits less: no product of the label with what the others get."""
    layout = "columns" if loss is in_columns else "rows"
    net = Net(loss, layout, np.float64, k=3)
    _, before = compiled(net.silent, net.X, net.Y, exact=True)
    _, after = compiled(net.silent, net.X, net.Y)
    assert after.total() <= before.total() - 10
    assert after["log"] == 0


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 1, 0], [0, 0, 1]])
def test_an_element_of_each_row_is_one_of_each_row(rows):
    """Rows that are chosen in another order, or twice, share as they are chosen."""
    z = np.random.default_rng(0).normal(size=(3, 4))
    index = (np.array(rows), np.array([3, 0, 0]))
    weights = np.array([1.0, 2.0, 4.0])

    def slope(z):
        loss = np.sum(np.log(tg.softmax(z))[index] * weights)
        return tg.gradients(loss, [z])

    before, after = agree(slope, z)
    assert after.total() < before.total()


def test_labels_need_not_sum_to_one():
    """A row of targets with another sum is what it is: nothing is assumed of it."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))

    def both(z, y):
        cost = tg.losses.cross_entropy(z, y)
        return [cost, *tg.gradients(cost, [z])]

    agree(both, z, y)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_infinite_logits_mean_what_they_do(axis):
    """Minus infinity has no share; a row of them has the logarithm minus infinity."""
    x = np.array([[0.0, -np.inf, 2.0], [1.0, 3.0, 4.0]])
    agree(lambda x: tg.softmax(x, axis), x)
    rows = np.array([[-np.inf, -np.inf], [np.inf, 1.0], [0.5, 1000.0]])
    for values in (rows, x):
        step = tg.compile(lambda x: np.log(np.sum(np.exp(x), axis=axis)))
        with np.errstate(all="ignore"):
            truth = np.logaddexp.reduce(values, axis=axis)
            found = step(values).numpy()
        np.testing.assert_allclose(found, truth, rtol=1e-14)


# --- numbers in front ----------------------------------------------------------------

A = np.random.default_rng(5).normal(size=(6, 5))
B = np.random.default_rng(6).normal(size=(6, 5))


@pytest.mark.parametrize(
    ("function", "ops"),
    [
        (lambda a, b: (-1 * -a) * b, {"multiply": 1}),
        (lambda a, b: a + (-b), {"subtract": 1}),
        (lambda a, b: a - (-b), {"add": 1}),
        (lambda a, b: -a + b, {"subtract": 1}),
        (lambda a, b: a * -1 + b, {"subtract": 1}),
        (lambda a, b: -(a - b), {"subtract": 1}),
        (lambda a, b: 2 * (a * 3) / 4 * b, {"multiply": 2}),
        (lambda a, b: (a / 2) / (b / 2), {"divide": 1}),
        (lambda a, b: 3 * a + 3 * b, {"add": 1, "multiply": 1}),
        (lambda a, b: 3 * a - b * 3, {"subtract": 1, "multiply": 1}),
        (lambda a, b: 1 - (-a), {"add": 1}),
        (lambda a, b: 5 + (-1 * a), {"subtract": 1}),
        (lambda a, b: ((a * 2).T * 3).T, {"multiply": 1}),
        (lambda a, b: 6 / (2 * b), {"divide": 1}),
        (lambda a, b: np.sqrt(4 * (a * a)), {"multiply": 2, "sqrt": 1}),
        (lambda a, b: np.maximum(2 * a, 0) / 2, {"maximum": 1}),
        (lambda a, b: np.where(a > 0, 2 * a, 2 * b) / 2, {"greater": 1, "where": 1}),
        (lambda a, b: a.T.T, {}),
    ],
)
def test_numbers_meet_and_cancel(function, ops):
    """Signs, factors and divisors become one number, and one that is 1 is gone."""
    before, after = agree(lambda a, b: np.sin(function(a, b)), A, B)
    assert before.total() >= after.total()
    assert after == Counter(ops) + Counter(sin=1)


def test_the_divisor_of_a_mean_joins_the_others():
    """A mean of a mean, halved, is one sum and one number."""
    _, after = agree(lambda a: np.mean(np.mean(np.tanh(a), axis=0)) / 2, A)
    assert after == {"tanh": 1, "sum": 1, "multiply": 1}


def test_a_number_goes_to_the_smallest_array():
    """Pixels by 255, times weights: the product is divided, not the pixels."""
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(1000, 50)), rng.normal(size=(50, 2))
    step, _ = compiled(lambda X, W: np.tanh(np.dot(X / 255, W)), X, W)
    sizes = [
        node._value.size
        for node in program_of(step).nodes
        if node._op.name in ("multiply", "divide")
    ]
    assert sizes == [2000]
    agree(lambda X, W: np.tanh(np.dot(X / 255, W)), X, W)


@pytest.mark.parametrize(("m", "where"), [(50, "dZ"), (200_000, "gradients")])
def test_a_number_is_applied_where_it_costs_least(m, where):
    """Once to a short dZ, rather than to each gradient; to these where dZ is long."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, m)), rng.normal(size=(1, m))
    W = tg.Parameter(rng.normal(size=(1, 2)), name="W")
    b = tg.Parameter(np.zeros((1, 1)), name="b")

    def slopes(X, Y):
        cost = np.mean((np.dot(W, X) + b - Y) ** 2)
        return tg.gradients(cost, [W, b])

    step, _ = compiled(slopes, X, Y)
    sizes = sorted(
        node._value.size
        for node in program_of(step).nodes
        if node._op.name == "multiply"
    )
    assert sizes == ([m] if where == "dZ" else [1, 2])


def test_live_numbers_stay_live():
    """A learning rate is read at every step, and never becomes a part of the program."""
    w = tg.Parameter(np.ones(3), name="w")
    optimizer = tg.optim.SGD([w], lr=0.5)

    @tg.compile
    def step(x):
        optimizer.minimize(np.sum(w * x) * 3 / 6)

    step(np.ones(3))
    optimizer.lr = 1.0
    step(np.ones(3))
    np.testing.assert_allclose(w.data, 1 - 0.25 - 0.5)


def test_numbers_of_an_optimiser_are_computed_as_numbers():
    """Adam's corrections are lines of Python, and twelve array operations are left."""
    rng = np.random.default_rng(0)
    w = tg.Parameter(rng.normal(size=(4, 3)), name="w")
    optimizer = tg.optim.Adam([w], lr=0.1)

    def step(x):
        optimizer.minimize(np.sum(w * x))

    found, _ = compiled(step, rng.normal(size=(4, 3)))
    program = program_of(found)
    arrays = [n for n in program.nodes if n._value.ndim]
    assert all(n._value.ndim for n in program.nodes)
    live = [x for n in arrays for x in inputs_of(n) if isinstance(x, Scalar)]
    assert len(live) == 2
    assert len(arrays) == 12


def test_numbers_too_large_to_move_stay():
    """A factor of 1e200 twice would overflow: it is applied as it is written."""
    agree(lambda a: a * 1e-200 * 1e-200 * 1e200 * 1e200, A)
    agree(lambda a: np.sum(a * 1e-200) * 1e200, A)


def test_zero_is_a_number_that_stays():
    """0 * inf is nan, and 0 * x is 0: a zero of the user's is not moved about."""
    x = np.array([1.0, np.inf])
    with np.errstate(invalid="ignore"):
        assert np.isnan(tg.compile(lambda x: np.sum(0 * x))(x).numpy())


# --- sums of products ----------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: np.sum(a * b),
        lambda a, b: np.mean(a * np.tanh(b)),
        lambda a, b: np.sum(a * b, keepdims=True),
        lambda a, b: np.sum(a * b[0], axis=1),
        lambda a, b: np.sum(a * b[:, :1], axis=0, keepdims=True),
    ],
)
def test_a_sum_of_a_product_is_a_dot_product(function):
    """The product of the elements is never written down."""
    before, after = agree(function, A, B)
    assert before["multiply"] >= 1
    assert after["matmul"] == 1
    assert after["sum"] == 0
    assert after["multiply"] <= 1  # one number by another, for a mean


def test_a_product_with_other_readers_stays():
    """What is needed anyway is summed as it is."""
    _, after = agree(lambda a, b: [np.sum(a * b), a * b], A, B)
    assert after == {"multiply": 1, "sum": 1}


def test_no_path_is_not_a_zero_path_in_a_sum_of_a_product():
    """Where elements were chosen, 0 * inf is noticed in a dot product as elsewhere."""
    s = tg.Parameter(np.array(2.0), name="s")
    x, chosen = np.array([1.0, np.inf, 3.0]), np.array([True, False, True])

    def slope(x, chosen):
        return tg.gradients(np.sum(tg.where(chosen, s * x, 0.0)), [s])[0]

    assert tg.compile(slope)(x, chosen).item() == 4.0


def test_half_precision_is_left_as_it_is():
    """Its numbers have too few exponents to be moved about, and BLAS has no product."""

    def half(a, b):
        loss = np.mean(np.tanh(a) * b) / 8
        return [loss, *tg.gradients(loss, [a])]

    exactly = tg.compile(half, exact=True)(A.astype(np.float16), B.astype(np.float16))
    found = tg.compile(half)(A.astype(np.float16), B.astype(np.float16))
    for x, y in zip(found, exactly, strict=True):
        assert x.dtype == np.float16
        assert np.array_equal(x.numpy(), y.numpy())


def test_an_array_in_another_order_is_not_copied():
    """A transposed operand does not lie as it is read: no dot product of flat arrays."""
    _, after = agree(lambda a, b: np.sum(a * b.T), A, B.T.copy())
    assert after["matmul"] == 0


def test_a_number_a_row_joins_the_divisor():
    """(E / total) * r is E * (r / total): one pass over the array, not two."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 10)), rng.normal(size=(6, 10))
    step, _ = compiled(lambda x, y: tg.gradients(one_hot(x, y, 6), [x]), x, y)
    large = [n._op.name for n in program_of(step).nodes if n._value.size == 60]
    assert sorted(large) == ["exp", "multiply", "multiply", "subtract", "subtract"]


# --- sums of terms -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "ops"),
    [
        (lambda a, b: a + a + a + b, {"multiply": 1, "add": 1}),
        (lambda a, b: a + a + b, {"add": 2}),
        (lambda a, b: b - a * b - 2 * (a * b), {"multiply": 2, "subtract": 1}),
        (lambda a, b: a * b + a * a, {"add": 1, "multiply": 1}),
        (lambda a, b: 3 * a * b - 3 * a * a, {"subtract": 1, "multiply": 2}),
        (lambda a, b: -(a * b) - a * a + a, {"subtract": 1, "multiply": 1, "add": 1}),
    ],
)
def test_terms_that_are_alike_become_one(function, ops):
    """Like terms are added up, and a factor of several is taken out."""
    before, after = agree(lambda a, b: np.sin(function(a, b)), A, B)
    assert after.total() <= before.total()
    assert after == Counter(ops) + Counter(sin=1)


def test_a_term_with_other_readers_stays():
    """A product that is needed anyway is no cheaper in another form."""
    _, after = agree(lambda a, b: [np.sin(a * b + a * a), a * b, a * a], A, B)
    assert after == {"multiply": 2, "add": 1, "sin": 1}


def test_terms_that_cancel_stay():
    """x - x is no zero that is known beforehand: it may be nan."""
    x = np.array([1.0, np.inf])
    with np.errstate(invalid="ignore"):
        step = tg.compile(lambda x: x * x + x - x * x)
        assert np.isnan(step(x).numpy()[1])


def test_an_elementwise_gradient_is_as_short_as_by_hand():
    """Tanh, exponential and logarithm, each once, and one term for each path to x."""

    def both(x):
        value = np.sum(np.tanh(x) * np.exp(-x * x) + np.log(1 + x * x))
        return [value, *tg.gradients(value, [x])]

    before, after = agree(both, A)
    assert after.total() == 17
    assert before.total() >= 22


# --- what is repeated, or turned round -----------------------------------------------


def test_two_orders_of_a_product_are_one():
    """a * b and b * a have the same elements; with every bit kept they stay two."""
    before, after = agree(lambda a, b: [np.tanh(a * b), np.exp(b * a)], A, B)
    assert (before["multiply"], after["multiply"]) == (2, 1)


def test_what_is_the_same_for_a_row_is_computed_once_a_row():
    """The gradient of a mean of rows is not repeated before it has to be."""

    def slope(a):
        rows = np.tanh(np.sum(np.exp(a), axis=1))
        return tg.gradients(np.sum(rows * rows * rows), [a])

    _, after = agree(slope, A)
    found, _ = compiled(slope, A)
    full = [n for n in program_of(found).nodes if n._value.size == A.size]
    assert [n._op.name for n in full if n._op.name != "broadcast_to"] == [
        "exp",
        "multiply",
    ]
    assert not after.keys() & {"spread"}
    agree(lambda a: np.sum((a * 0 + 1) * np.mean(a, axis=0)), A)
    agree(lambda a: [(a - a) + np.broadcast_to(a[:1] * a[:1], a.shape) * 2], A)


# --- what is left --------------------------------------------------------------------


@pytest.mark.parametrize("loss", [written, one_hot])
def test_what_was_rewritten_is_gone(loss):
    """A program holds what its outputs are computed from, and nothing else."""
    k = 1 if loss is written else 3
    net = Net(loss, "rows", np.float64, k=k)
    step, _ = compiled(net.step, net.X, net.Y)
    program = program_of(step)
    seen, stack = set(), list(program.outputs())
    while stack:
        node = stack.pop()
        if node in seen or node._op is None:
            continue
        seen.add(node)
        index = settings_of(node).get("index", ())
        stack += [x for x in (*inputs_of(node), *index) if isinstance(x, Node)]
    assert seen == set(program.nodes)


def test_names_stay_where_the_value_is():
    """A gradient is found under its name, however it came to be computed."""
    net = Net(written, "columns", np.float64)
    step, _ = compiled(net.step, net.X, net.Y)
    names = {getattr(node, "_name", None) for node in program_of(step).nodes}
    assert {"dW1", "db1", "dW2", "db2", "new_W1"} <= names


def random_expression(rng, leaves, depth):
    """Return an expression of many ops, for which no rule was made."""
    if depth == 0 or rng.random() < 0.12:
        return leaves[rng.integers(len(leaves))]
    a = lambda: random_expression(rng, leaves, depth - 1)
    number = float(np.round(rng.normal(), 2)) or 1.0
    choices = [
        lambda: a() + a(),
        lambda: a() - a(),
        lambda: a() * a(),
        lambda: number * a(),
        lambda: a() / number,
        lambda: -a(),
        lambda: a() / (1.5 + a() ** 2),
        lambda: np.tanh(a()),
        lambda: tg.sigmoid(a()),
        lambda: 1 - a(),
        lambda: a() * (1 - a()),
        lambda: np.maximum(a(), 0),
        lambda: a() + a().mean(),
        lambda: a() - a().mean(axis=0),
        lambda: tg.softmax(a(), 1),
        lambda: np.log(tg.sigmoid(a())),
        lambda: a() * np.log(1 - tg.sigmoid(a())),
        lambda: np.exp(-np.abs(a())),
        lambda: a() * a().sum(axis=1, keepdims=True),
        lambda: (a() @ a().T) @ a() / number,
        lambda: np.log(tg.softmax(a(), 0)),
        lambda: np.where(a() > 0, number * a(), 0.0),
        lambda: np.sqrt(a() ** 2 * 4.0 + 1),
    ]
    return choices[rng.integers(len(choices))]()


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_are_equal(seed):
    """Whatever rules fire in a random expression, value and gradients stay."""
    rng = np.random.default_rng(seed)
    X, Y, W, B = (rng.normal(size=(3, 4)) for _ in range(4))
    losses = [one_hot, of_logits, lambda out, *_: out.mean()]

    def both(X, Y, W, B):
        chance = np.random.default_rng(seed + 1000)
        out = random_expression(chance, [W, B, X, Y], 4)
        loss = losses[chance.integers(3)](out, abs(np.sign(Y)), 3)
        return [out, loss, *tg.gradients(loss, [W, B], unused="zero")]

    with np.errstate(all="ignore"):
        truth = both(*map(tg.Tensor, (X, Y, W, B)))
    found = tg.compile(both)(X, Y, W, B)
    same = tg.compile(both, exact=True)(X, Y, W, B)
    for a, b, c in zip(found, truth, same, strict=True):
        b = b.numpy()
        # A gradient that is zero but for rounding has no digits to compare.
        size = max(np.max(np.abs(b)), 1e-3)
        assert np.max(np.abs(a.numpy() - b)) <= 1e-12 * size
        assert np.array_equal(c.numpy(), b)


# --- passes that change no bit -------------------------------------------------------


def exactly(function, *arguments):
    """Compile with every bit kept; return the ops, and check that no bit changed."""
    with np.errstate(all="ignore"):
        truth = function(*map(tg.Tensor, arguments))
    step, after = compiled(function, *arguments, exact=True)
    found = step(*arguments)
    truth = truth if isinstance(truth, list) else [truth]
    found = found if isinstance(found, list) else [found]
    for a, b in zip(found, truth, strict=True):
        assert np.array_equal(a.numpy(), b.numpy(), equal_nan=True)
    return after


def test_what_nothing_asks_for_is_not_computed():
    """Dead code: neither forward nor the gradients of what is not returned."""

    def step(a, b):
        np.exp(a)  # never used
        loss = np.sum(np.tanh(a) * b)
        return tg.gradients(loss, [a, b])[1]

    assert exactly(step, A, B) == {"tanh": 1}


def test_equal_expressions_are_computed_once():
    """Common subexpressions, however far apart, and the same settings written anew."""

    def step(a, b):
        first = np.tanh(a * b).sum(axis=0)
        return [first + 1, np.tanh(a * b).sum(axis=(0,)) + 1, np.tanh(b * a)]

    after = exactly(step, A, B)
    assert after["add"] == 1
    assert after["tanh"] == 2  # b * a is another product, as far as bits go


def test_equal_settings_make_equal_expressions():
    """Another axis is another sum."""
    after = exactly(lambda a: [np.sum(a, axis=0), np.sum(a, axis=1)], A)
    assert after["sum"] == 2


def test_random_numbers_are_never_common():
    """Two masks are two masks."""
    rng = np.random.default_rng(0)
    drop = tg.nn.Dropout(0.5, rng=rng)
    step = tg.compile(lambda a: [drop(a), drop(a)])
    first, second = step(np.ones((50, 50)))
    assert not np.array_equal(first.numpy(), second.numpy())


def test_numbers_known_beforehand_are_computed_once():
    """Constant folding: the seed of a backward and what is made of numbers alone."""

    def step(a):
        (slope,) = tg.gradients(np.mean(np.tanh(a)), [a])
        return slope

    after = exactly(step, A)
    assert after == {"tanh": 1, "multiply": 2, "subtract": 1}


def test_a_repeated_number_is_not_repeated():
    """What NumPy would broadcast itself is not spread out before."""

    def step(a):
        return tg.gradients(np.sum(np.sum(a * a, axis=0) ** 2), [a])[0]

    after = exactly(step, A)
    assert not after.keys() & {"spread", "broadcast_to"}


def test_the_mask_of_a_relu_is_read_off_its_result():
    """Nothing but the relu itself reads what goes into it."""

    def step(a, b):
        return tg.gradients(np.sum(np.maximum(a * b, 0) ** 2), [a])[0]

    found, _ = compiled(step, A, B, exact=True)
    program = program_of(found)
    (product,) = [
        x
        for node in program.nodes
        if node._op.name == "maximum"
        for x in inputs_of(node)
        if isinstance(x, Node)
    ]
    readers = [n for n in program.nodes if any(x is product for x in inputs_of(n))]
    assert [node._op.name for node in readers] == ["maximum"]
    exactly(step, A, B)
    x = np.array([np.nan, -0.0, 0.0, 1e-300, -np.inf, np.inf])
    exactly(lambda x: [np.maximum(x, 0) > 0, np.maximum(x, 0)], x)
    exactly(lambda x: [x > 0, np.maximum(x, 1), np.maximum(x, 0)], x)


def test_two_transposes_are_none():
    """(x.T).T is x, and minus minus x too."""
    assert exactly(lambda a: np.exp(a.T.T), A) == {"exp": 1}
    assert exactly(lambda a: np.exp(np.negative(-a)), A) == {"exp": 1}
