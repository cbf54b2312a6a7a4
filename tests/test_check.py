"""Verdicts on gradients: never wrong on a right one, never silent on a wrong one.

Two collections are the witnesses. ``RIGHT`` holds gradients that are right and awkward:
kinks, ties, scales from 1e-8 to 1e8, float32 inside, saturation, cancellation. ``WRONG``
holds hand-written gradients with a mistake that people make. Each is tried at ten seeds.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.check import assert_gradients, check_gradients
from tinygrad_nn.check.line import Line
from tinygrad_nn.check.verdict import judge
from tinygrad_nn.errors import (
    GradientError,
    GradientMismatch,
    MutationError,
    OpError,
    ShapeError,
)
from tinygrad_nn.op import REGISTRY

SEEDS = range(10)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# --- right and awkward --------------------------------------------------------------


def network(activation, loss, *, outputs=4, m=32):
    """Make a case: one hidden layer, 6-8-4, a loss over m examples in rows."""

    def case(rng):
        X = rng.standard_normal((m, 6))
        Y = np.eye(outputs)[rng.integers(outputs, size=m)]

        def f(W1, b1, W2, b2):
            return loss(activation(X @ W1 + b1) @ W2 + b2, Y)

        W1, W2 = rng.standard_normal((6, 8)), rng.standard_normal((8, outputs))
        return f, (W1, 0.1 * rng.standard_normal(8), W2, np.zeros(outputs))

    return case


def cross_entropy(Z, Y):
    return -(Y * tg.log_softmax(Z, axis=1)).sum() / len(Y)


def square_error(Z, Y):
    return ((Z - Y) ** 2).mean()


def logistic(Z, Y):
    A = sigmoid(Z)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()


def relu_at(distance):
    """Make a case: some inputs of relu lie this far from its kink."""

    def case(rng):
        x = rng.standard_normal(12)
        x[:3] = distance
        x[3:5] = -distance
        weights = rng.standard_normal(12)
        return lambda x: (tg.relu(x) * weights).sum(), (x,)

    return case


def dead_rows(rng):
    """Some examples are zero and the biases too: hidden units sit on the kink."""
    X = rng.standard_normal((16, 6))
    X[::4] = 0
    Y = rng.standard_normal((16, 3))

    def f(W1, b1, W2):
        return square_error(tg.relu(X @ W1 + b1) @ W2, Y)

    return f, (rng.standard_normal((6, 5)), np.zeros(5), rng.standard_normal((5, 3)))


def relu_all_zero(rng):
    """The first layer is zero, the second is not: kinks of both signs coincide."""
    X, Y = rng.standard_normal((16, 6)), rng.standard_normal((16, 3))

    def f(W1, b1, W2):
        return square_error(tg.relu(X @ W1 + b1) @ W2, Y)

    return f, (np.zeros((6, 5)), np.zeros(5), rng.standard_normal((5, 3)))


def near_kinks(distance):
    """Make a case: a relu network, four hidden values of which are tiny."""

    def case(rng):
        X, Y = rng.standard_normal((16, 6)), rng.standard_normal((16, 3))
        W1 = rng.standard_normal((6, 5))
        b1 = -(X[0] @ W1) + distance
        return (
            lambda W1, b1, W2: square_error(tg.relu(X @ W1 + b1) @ W2, Y),
            (W1, b1, rng.standard_normal((5, 3))),
        )

    return case


def ties(rng):
    x = rng.integers(0, 3, (5, 6)).astype(float) + 1
    weights = rng.standard_normal(5)
    return lambda x: (tg.max(x, axis=1) * weights).sum(), (x,)


def maximum_ties(rng):
    x = rng.standard_normal(8)
    y = np.where(rng.random(8) < 0.5, x, rng.standard_normal(8))
    weights = rng.standard_normal(8)
    return lambda x, y: (tg.maximum(x, y) * weights).sum(), (x, y)


def batch_norm(rng):
    X, Y = rng.standard_normal((16, 3)), rng.standard_normal((16, 4))

    def f(W, b, gamma, beta):
        Z = X @ W + b
        centred = Z - Z.mean(axis=0)
        return square_error(
            centred / np.sqrt((centred**2).mean(axis=0) + 1e-5) * gamma + beta, Y
        )

    return f, (
        rng.standard_normal((3, 4)),
        rng.standard_normal(4),
        rng.standard_normal(4),
        rng.standard_normal(4),
    )


def norm_at_zero(rng):
    return lambda x, y: tg.norm(x) * y + y * y, (np.zeros(4), rng.standard_normal(()))


def absolute(*values):
    return lambda rng: (
        lambda x: (np.abs(x) * np.arange(1.0, len(values) + 1)).sum(),
        (np.array(values),),
    )


def scaled_loss(factor):
    def case(rng):
        f, arrays = network(np.tanh, cross_entropy)(rng)
        return lambda *arrays: f(*arrays) * factor, arrays

    return case


def float32_inside(rng):
    f, arrays = network(np.tanh, square_error)(rng)
    return lambda *arrays: f(*(x.astype(np.float32) for x in arrays)), arrays


def float32_with_offset(rng):
    x = rng.standard_normal(20)
    return lambda x: (np.tanh(x).astype(np.float32) + np.float32(1000)).sum(), (x,)


def bias_before_norm(rng):
    """The gradient of the bias is zero but for rounding."""
    X, Y = rng.standard_normal((16, 3)), rng.standard_normal((16, 4))

    def f(W, b):
        Z = X @ W + b
        return square_error((Z - Z.mean(axis=0)) / Z.std(axis=0), Y)

    return f, (rng.standard_normal((3, 4)), rng.standard_normal(4))


def at_the_optimum(rng):
    A = rng.standard_normal((20, 3))
    best = rng.standard_normal(3)
    return lambda w: ((A @ w - A @ best) ** 2).mean(), (best,)


def elementwise(function, low, high, size=9):
    """Make a case: a function of elements, weighted at random."""

    def case(rng):
        weights = rng.standard_normal(size)
        return lambda x: (function(x) * weights).sum(), (rng.uniform(low, high, size),)

    return case


def large_sum(rng):
    """A sum over 100,000 numbers loses digits."""
    X = rng.standard_normal((50_000, 1))
    return lambda w: np.tanh(X * w).sum(), (rng.standard_normal(2),)


def wide_range(rng):
    x = rng.choice([-1.0, 1.0], 13) * 10.0 ** np.linspace(-6, 6, 13)
    return lambda x: np.log1p(x**2).sum(), (x,)


def dropout(rng):
    mask = (rng.random((32, 8)) < 0.7) / 0.7
    X, Y = rng.standard_normal((32, 6)), rng.standard_normal((32, 4))

    def f(W1, W2):
        return square_error((np.tanh(X @ W1) * mask) @ W2, Y)

    return f, (rng.standard_normal((6, 8)), rng.standard_normal((8, 4)))


def unused_rows(rng):
    words = rng.integers(0, 5, 12)
    weights = rng.standard_normal((12, 3))
    return lambda E: (np.tanh(E[words]) * weights).sum(), (rng.standard_normal((9, 3)),)


def zero_start(rng):
    f, arrays = network(np.tanh, cross_entropy)(rng)
    return f, tuple(np.zeros_like(x) for x in arrays)


def with_zero_factor(rng):
    x = rng.standard_normal(6)
    x[2] = 0.0
    return lambda x: tg.prod(x) + x.sum(), (x,)


def saturated(rng):
    X = rng.standard_normal((20, 3)) * 30
    y = (rng.random(20) < 0.5).astype(float)

    def f(w):
        z = X @ w
        return -(y * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z))).mean()

    return f, (rng.standard_normal(3),)


def array_output(rng):
    return lambda Z: tg.softmax(Z, axis=1), (3 * rng.standard_normal((5, 4)),)


def at_both_clips(rng):
    x = rng.uniform(-2, 2, 10)
    x[:2] = 1.0, -1.0
    return lambda x: (np.clip(x, -1, 1) * np.arange(1.0, 11.0)).sum(), (x,)


def attention(rng):
    X = rng.standard_normal((6, 4))

    def f(Q, K, V):
        scores = (X @ Q) @ (X @ K).T / 2
        return (tg.softmax(scores, axis=1) @ (X @ V) * X).sum()

    return f, tuple(rng.standard_normal((4, 4)) for _ in range(3))


RIGHT = {
    "tanh, cross-entropy": network(np.tanh, cross_entropy),
    "relu, cross-entropy": network(tg.relu, cross_entropy),
    "sigmoid, logistic": network(sigmoid, logistic),
    "relu, squares": network(tg.relu, square_error),
    "relu at 0": relu_at(0.0),
    "relu at 1e-7": relu_at(1e-7),
    "relu at 1e-13": relu_at(1e-13),
    "dead rows": dead_rows,
    "relu from zero": relu_all_zero,
    "near kinks 1e-7": near_kinks(1e-7),
    "near kinks 1e-10": near_kinks(1e-10),
    "ties": ties,
    "maximum ties": maximum_ties,
    "batch norm": batch_norm,
    "norm at 0": norm_at_zero,
    "abs at 0": absolute(0.0, 1.0, -2.0, 0.0),
    "abs at 1e-8": absolute(1e-8, 1.0, -1e-8),
    "loss 1e-8": scaled_loss(1e-8),
    "loss 1e8": scaled_loss(1e8),
    "float32 inside": float32_inside,
    "float32 and 1000": float32_with_offset,
    "bias before norm": bias_before_norm,
    "optimum": at_the_optimum,
    "log at 1e-8": elementwise(np.log, 1e-8, 2e-8),
    "sqrt at 1e8": elementwise(np.sqrt, 1e8, 2e8),
    "cube at 1e8": elementwise(lambda x: x**3, 1e8, 2e8),
    "square at 1e-8": elementwise(np.square, 1e-8, 2e-8),
    "sin of 1000 x": elementwise(lambda x: np.sin(1000 * x), 0.5, 2.0),
    "exp of 20": elementwise(np.exp, 19, 21),
    "1e8 + x": elementwise(lambda x: np.tanh(x) + 1e8, -1, 1),
    "spike": elementwise(lambda x: x / (x * x + 1e-6), 1e-3, 2e-3),
    "large sum": large_sum,
    "wide range": wide_range,
    "dropout": dropout,
    "unused rows": unused_rows,
    "zero start": zero_start,
    "product with 0": with_zero_factor,
    "saturated": saturated,
    "softmax": array_output,
    "clip at its limits": at_both_clips,
    "attention": attention,
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_is_never_called_wrong(name):
    """Autograd's gradients are right here; no verdict may say otherwise."""
    for seed in SEEDS:
        f, arrays = RIGHT[name](np.random.default_rng(seed))
        report = check_gradients(f, *arrays, seed=seed)
        assert report.verdict in ("ok", "kink", "weak"), f"seed {seed}\n{report}"


# --- wrong as people are wrong --------------------------------------------------------


class Backprop:
    """A 6-8-4 network by hand, tanh, softmax cross-entropy, L2; mistakes by name."""

    m = 32
    decay = 1e-3

    def __init__(self, rng):
        self.X = rng.standard_normal((self.m, 6))
        self.Y = np.eye(4)[rng.integers(4, size=self.m)]
        self.mask = (rng.random((self.m, 8)) < 0.7) / 0.7
        self.arrays = (
            rng.standard_normal((6, 8)),
            rng.standard_normal(8),
            rng.standard_normal((8, 4)),
            rng.standard_normal(4),
        )

    def forward(self, W1, b1, W2, b2):
        Z1 = self.X @ W1 + b1
        A1 = np.tanh(Z1)
        D1 = A1 * self.mask
        Z2 = D1 @ W2 + b2
        return Z1, A1, D1, Z2

    def cost(self, W1, b1, W2, b2):
        Z2 = self.forward(W1, b1, W2, b2)[-1]
        largest = Z2.max(axis=1, keepdims=True)
        total = np.log(np.exp(Z2 - largest).sum(axis=1, keepdims=True)) + largest
        fit = -(self.Y * (Z2 - total)).sum() / self.m
        return fit + self.decay / 2 * ((W1**2).sum() + (W2**2).sum())

    def gradients(self, W1, b1, W2, b2, slip=""):  # noqa: C901, PLR0912 (a list)
        m, decay = self.m, self.decay
        Z1, A1, D1, Z2 = self.forward(W1, b1, W2, b2)
        P = np.exp(Z2 - Z2.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        dZ2 = (P - self.Y) / (1 if slip == "no 1/m" else m)
        if slip == "twice":
            dZ2 = 2 * dZ2
        if slip == "sign":
            dZ2 = -dZ2
        if slip == "1/(mC)":
            dZ2 = dZ2 / 4
        dW2 = (A1 if slip == "before dropout" else D1).T @ dZ2 + decay * W2
        db2 = dZ2.sum(axis=0)
        dD1 = dZ2 @ (np.abs(W2) if slip == "|W2|" else W2).T
        dA1 = dD1 * {
            "mask left out": 1.0,
            "mask unscaled": self.mask > 0,
        }.get(slip, self.mask)
        dZ1 = dA1 * {
            "slope 1 - z²": 1 - Z1**2,
            "slope 1 - a": 1 - A1,
            "slope of sigmoid": A1 * (1 - A1),
            "no slope": 1.0,
        }.get(slip, 1 - A1**2)
        dW1 = self.X.T @ dZ1 + decay * W1
        db1 = dZ1.sum(axis=0)
        if slip == "no L2":
            dW1, dW2 = dW1 - decay * W1, dW2 - decay * W2
        if slip == "half L2":
            dW1, dW2 = dW1 - decay / 2 * W1, dW2 - decay / 2 * W2
        if slip == "L2 of biases":
            db1, db2 = db1 + decay * b1, db2 + decay * b2
        if slip == "bias mean":
            db1 = dZ1.mean(axis=0)
        if slip == "4/m on db1":
            db1 = 4 * db1
        if slip == "dW2 doubled":
            dW2 = 2 * dW2
        if slip == "one element 1.001":
            dW1 = dW1.copy()
            place = np.unravel_index(np.abs(dW1).argmax(), dW1.shape)
            dW1[place] *= 1.001
        if slip == "one bias's sign":
            db1 = db1 * np.where(np.arange(8) == np.abs(db1).argmax(), -1, 1)
        if slip == "last row dropped":
            dW2 = dW2 * (np.arange(8) < 7)[:, None]
        if slip == "zeros":
            dW1 = np.zeros_like(dW1)
        if slip == "rows rolled":
            dW1 = np.roll(dW1, 1, axis=0)
        if slip == "last example lost":
            dW1 = self.X[:-1].T @ dZ1[:-1] + decay * W1
        if slip == "clipped":
            dW1 = np.clip(dW1, -0.01, 0.01)
        if slip == "rounded":
            dW1 = np.round(dW1, 3)
        if slip == "plus a constant":
            db2 = db2 + 1e-3
        return dW1, db1, dW2, db2


SLIPS = [
    "no 1/m",
    "twice",
    "sign",
    "1/(mC)",
    "before dropout",
    "|W2|",
    "mask left out",
    "mask unscaled",
    "slope 1 - z²",
    "slope 1 - a",
    "slope of sigmoid",
    "no slope",
    "no L2",
    "half L2",
    "L2 of biases",
    "bias mean",
    "4/m on db1",
    "dW2 doubled",
    "one element 1.001",
    "one bias's sign",
    "last row dropped",
    "zeros",
    "rows rolled",
    "last example lost",
    "clipped",
    "rounded",
    "plus a constant",
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_backprop_is_refuted(slip):
    """With the slip the formula is wrong and is blamed; without it nobody is."""
    for seed in SEEDS:
        by_hand = Backprop(np.random.default_rng(seed))
        report = check_gradients(
            by_hand.cost,
            *by_hand.arrays,
            formula=partial(by_hand.gradients, slip=slip),
            seed=seed,
        )
        assert (report.verdict, report.blame) == ("wrong", ("formula",)), str(report)


def test_backprop_without_a_slip_passes():
    """The right formula agrees with autograd and with the numbers."""
    for seed in SEEDS:
        by_hand = Backprop(np.random.default_rng(seed))
        report = check_gradients(
            by_hand.cost, *by_hand.arrays, formula=by_hand.gradients, seed=seed
        )
        assert report.verdict == "ok", str(report)
        assert report.judged == ("formula", "autograd")


def square_matrix(rng):
    return rng.standard_normal((4, 4)), rng.standard_normal((4, 4))


def w_for_its_transpose(rng):
    """dX = G @ W for Z = X @ W, which fits where W is square."""
    X, W = square_matrix(rng)
    weights = rng.standard_normal((4, 4))
    return (
        lambda X: (np.tanh(X @ W) * weights).sum(),
        (X,),
        lambda X: (weights * (1 - np.tanh(X @ W) ** 2)) @ W,
    )


def transposed(rng):
    X, W = square_matrix(rng)
    weights = rng.standard_normal((4, 4))
    return lambda W: ((X @ W) * weights).sum(), (W,), lambda W: weights.T @ X


def wrong_axis(rng):
    """db summed over the wrong axis of a square dZ."""
    X, weights = square_matrix(rng)
    return (
        lambda b: (np.tanh(X + b) * weights).sum(),
        (rng.standard_normal(4),),
        lambda b: (weights * (1 - np.tanh(X + b) ** 2)).sum(axis=1),
    )


def sigmoid_of_z(rng):
    """z (1 - z) for a (1 - a)."""
    z = rng.standard_normal(6)
    return (
        lambda z: (sigmoid(z) ** 2).sum(),
        (z,),
        lambda z: 2 * sigmoid(z) * z * (1 - z),
    )


def relu_mask_of_output(rng):
    """The mask A >= 0 is true everywhere, for A = relu(Z)."""
    X, W = rng.standard_normal((16, 6)), rng.standard_normal((6, 5))
    weights = rng.standard_normal((16, 5))

    def formula(W):
        A = np.maximum(0, X @ W)
        return X.T @ (weights * (A >= 0))

    return lambda W: (np.maximum(0, X @ W) * weights).sum(), (W,), formula


def leaky_slope_zero(rng):
    x = rng.standard_normal(9)
    return (
        lambda x: (tg.where(x > 0, x, 0.1 * x) ** 2).sum(),
        (x,),
        lambda x: 2 * x * (x > 0),
    )


def every_tie_in_full(rng):
    """Every element that ties for the maximum is given all of its gradient."""
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0])
    return lambda x: np.max(x) * 2.0, (x,), lambda x: 2.0 * (x == x.max())


def no_l2_at_zero(rng):
    """A forgotten regulariser cannot be seen where the weights are zero."""
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    return (
        lambda w: ((X @ w - y) ** 2).mean() + 1e-3 * (w**2).sum(),
        (np.zeros(3),),
        lambda w: 2 * X.T @ (X @ w - y) / 20,
    )


def tiny_loss(rng):
    x = rng.standard_normal(32)
    return (
        lambda x: 1e-8 * np.mean(np.tanh(x)),
        (x,),
        lambda x: 1e-8 * (1 - np.tanh(x) ** 2),
    )


def huge_loss(rng):
    x = rng.standard_normal(32)

    def formula(x):
        slope = 1e8 * (1 - np.tanh(x) ** 2)
        slope[np.abs(slope).argmax()] *= 1.001
        return slope

    return lambda x: 1e8 * np.sum(np.tanh(x)), (x,), formula


def float32_one_element(rng):
    x = rng.standard_normal(32)

    def formula(x):
        slope = 1 - np.tanh(x) ** 2
        slope[np.abs(slope * x).argmax()] *= 1.3
        return slope

    return lambda x: np.tanh(x).astype(np.float32).sum(), (x,), formula


def duplicates_lost(rng):
    words = np.array([0, 1, 1, 3])

    def formula(E):
        slope = np.zeros_like(E)
        slope[words] = 2 * E[words]  # += through an index adds once
        return slope

    return lambda E: (E[words] ** 2).sum(), (rng.standard_normal((5, 2)),), formula


def tied_overwritten(rng):
    X = rng.standard_normal((5, 4))

    def formula(W):
        H = np.tanh(X @ W)
        return H.T @ np.ones((5, 4))

    return lambda W: (np.tanh(X @ W) @ W).sum(), (rng.standard_normal((4, 4)),), formula


def negative_quotient(rng):
    """d(a/b)/db is -a/b², not -a/b."""
    a, b = rng.uniform(1, 2, 5), rng.uniform(2, 3, 5)
    return lambda a, b: (a / b).sum(), (a, b), lambda a, b: (1 / b, -a / b)


def exponent_without_value(rng):
    """d(x^p)/dp is x^p log x."""
    x, p = rng.uniform(1, 2, 5), rng.uniform(2, 3, 5)
    return lambda x, p: (x**p).sum(), (x, p), lambda x, p: (p * x ** (p - 1), np.log(x))


def l1_without_sign(rng):
    w = rng.standard_normal(6) - [9, 0, 0, 0, 0, 0]
    return lambda w: np.abs(w).sum() * 0.1, (w,), lambda w: np.full(6, 0.1)


def norm_without_statistics(rng):
    """The mean and deviation of a batch norm taken for constants."""
    x = rng.standard_normal(12)
    weights = rng.standard_normal(12)

    def f(x):
        return ((x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean()) * weights).sum()

    return f, (x,), lambda x: weights / x.std()


def one_of_many(rng):
    """One weight of 22,210 is off by a thousandth."""
    X = rng.standard_normal((8, 220))
    shape = (220, 100)
    place = (rng.integers(220), rng.integers(100))
    weights = rng.standard_normal((8, 100))

    def formula(W):
        slope = X.T @ (weights * (1 - np.tanh(X @ W) ** 2))
        slope[place] *= 1.001
        return slope

    W = rng.standard_normal(shape) / 15
    return lambda W: (np.tanh(X @ W) * weights).sum(), (W,), formula


WRONG = [
    w_for_its_transpose,
    transposed,
    wrong_axis,
    sigmoid_of_z,
    relu_mask_of_output,
    leaky_slope_zero,
    every_tie_in_full,
    no_l2_at_zero,
    tiny_loss,
    huge_loss,
    float32_one_element,
    duplicates_lost,
    tied_overwritten,
    negative_quotient,
    exponent_without_value,
    l1_without_sign,
    norm_without_statistics,
    one_of_many,
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.__name__)
def test_a_wrong_formula_is_refuted(case):
    """The formula has one mistake, and the report says that the formula is wrong."""
    for seed in SEEDS:
        f, arrays, formula = case(np.random.default_rng(seed))
        report = check_gradients(f, *arrays, formula=formula, seed=seed)
        assert (report.verdict, report.blame) == ("wrong", ("formula",)), str(report)


def product_with_sine(rng):
    return (
        lambda x: np.sum(np.sin(x) * x),
        (rng.standard_normal((1, 2)),),
        lambda x: (np.sin(x) + x * np.cos(x),),
    )


def logarithms(rng):
    weights = rng.uniform(0.5, 2, 3) * rng.choice([-1, 1], 3)
    return (
        lambda x: np.sum(np.log(x) * weights),
        (rng.uniform(0.5, 3, 3),),
        lambda x: (weights / x,),
    )


def small_layer(rng):
    X, Y = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))

    def formula(W, b):
        A = np.tanh(X @ W + b)
        dZ = 2 * (A - Y) * (1 - A**2) / A.size
        return X.T @ dZ, dZ.sum(axis=0)

    return (
        lambda W, b: np.mean((np.tanh(X @ W + b) - Y) ** 2),
        (rng.standard_normal((4, 3)), rng.standard_normal(3)),
        formula,
    )


def wide_layer(rng):
    X = rng.standard_normal((5, 40))
    return (
        lambda W: np.sum(np.tanh(X @ W)),
        (rng.standard_normal((40, 30)) / 6,),
        lambda W: (X.T @ (1 - np.tanh(X @ W) ** 2),),
    )


def no_tensors(f):
    """Let only the numbers judge: f in code that no Tensor can run."""

    def plain(*arrays):
        if any(isinstance(x, tg.Tensor) for x in arrays):
            raise TypeError("arrays only")
        return f(*arrays)

    return plain


def spoilt(right, factors):
    """Multiply each of the right gradients by a factor."""

    def formula(*arrays):
        return tuple(g * k for g, k in zip(right(*arrays), factors, strict=True))

    return formula


def in_float32(right, *arrays):
    return tuple(g.astype(np.float32).astype(float) for g in right(*arrays))


SMOOTH = [product_with_sine, logarithms, small_layer, wide_layer]


@pytest.mark.parametrize("tensors", [True, False], ids=["tensors", "arrays"])
@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.__name__)
def test_a_small_relative_error_is_refuted(case, tensors):
    """A parameter, or its main element, off by 3e-6 or more is wrong at every seed."""
    for seed in range(20):
        f, arrays, right = case(np.random.default_rng(seed))
        f = f if tensors else no_tensors(f)
        last = len(arrays) - 1
        largest = np.argmax(np.abs(right(*arrays)[last] * arrays[last]))
        for error in (1e-3, 1e-4, 1e-5, 3e-6):
            for one in (False, True):
                mask = np.ones(arrays[last].size, bool)
                if one:
                    mask = np.arange(mask.size) == largest
                factors = [1.0] * last + [1 + error * mask.reshape(arrays[last].shape)]
                formula = spoilt(right, factors)
                report = check_gradients(f, *arrays, formula=formula, seed=seed)
                assert report.blame == ("formula",), f"{seed} {error} {one}\n{report}"


@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.__name__)
def test_a_smooth_formula_that_is_right_is_ok_at_little_cost(case):
    """Right to rounding is ``ok`` in 60 evaluations; right to 1e-7 is ``ok`` too."""
    for seed in range(20):
        f, arrays, right = case(np.random.default_rng(seed))
        report = check_gradients(f, *arrays, formula=right, seed=seed, strict=True)
        assert report.verdict == "ok", str(report)
        assert report.evaluations <= 60
        assert report.resolution < 1e-6
        nearly = spoilt(right, [1 + 1e-7] * len(arrays))
        assert check_gradients(f, *arrays, formula=nearly, seed=seed).verdict == "ok"


def test_a_small_element_is_compared_with_a_confirmed_autograd():
    """A thousandth of the others in size, and off by 1e-5 of itself: still wrong."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        weights, x = rng.uniform(0.5, 2, 200), rng.uniform(0.5, 2, 200)
        weights[7] = 1e-3
        for error in (1e-3, 1e-4, 1e-5):
            off = 1 + error * (np.arange(200) == 7)
            report = check_gradients(
                lambda x, weights=weights: np.sum(np.log(x) * weights),
                x,
                formula=lambda x, weights=weights, off=off: weights / x * off,
                seed=seed,
            )
            assert report.blame == ("formula",), str(report)
            assert report.parameters["x"].worst.index == (7,)


def test_a_formula_in_float32_is_right():
    """Rounding a gradient to float32, 6e-8 relative, makes it nobody's mistake."""
    for seed in SEEDS:
        f, arrays, right = small_layer(np.random.default_rng(seed))
        for function in (f, no_tensors(f)):
            coarse = partial(in_float32, right)
            report = check_gradients(function, *arrays, formula=coarse, seed=seed)
            assert report.verdict == "ok", str(report)


def test_a_difference_that_is_no_kink_is_told_in_numbers():
    """The note names kinks only where there are some; else how far and where."""
    x = np.array([0.3, -0.7])
    report = check_gradients(
        lambda x: np.sum(np.sin(x) * x),
        x,
        formula=lambda x: (np.sin(x) + x * np.cos(x)) * np.array([1, 1 + 5e-7]),
    )
    assert report.verdict == "ok"
    assert report.notes == ("formula and autograd differ by 5.0e-07 relative, at x[1]",)
    report = check_gradients(
        lambda x: np.sum(np.abs(x)),
        np.array([0.0, 1.0]),
        formula=lambda x: np.where(x < 0, -1.0, 1.0),
    )
    assert report.verdict == "kink"
    assert "at kinks" in str(report)


def test_the_cause_of_a_small_error_is_readable():
    """A factor close to one is told by what it adds, and nothing else is guessed."""
    x = np.array([1.0, 2.0, 3.0])
    report = check_gradients(
        lambda x: np.sum(x**3), x, formula=lambda x: 3 * x**2 * (1 - 4e-6)
    )
    assert report.parameters["x"].cause == "a factor 1 - 4e-06"
    report = check_gradients(
        lambda x: np.sum(np.log(x + 1e-5)), x, formula=lambda x: 1 / x, strict=True
    )
    assert not report.ok
    assert "a factor" not in (report.parameters["x"].cause or "")


def test_a_gradient_of_zero_at_an_optimum_is_ok():
    """Zero is confirmed there by the slopes beside it; a slope of 1e-5 is not zero."""
    for seed in SEEDS:
        f, (best,) = at_the_optimum(np.random.default_rng(seed))
        assert check_gradients(f, best, seed=seed).verdict == "ok"
    best = np.array([1.0, -2.0, 3.0])

    def square(w):
        return np.sum((w - best) ** 2)

    for wrong in (
        lambda w: 2 * (w - best) + 1e-5,
        lambda w: 2 * (w - best) * (1 + 1e-5),
        lambda w: w - best,
        np.zeros_like,
    ):
        report = check_gradients(square, best, formula=wrong)
        assert report.blame == ("formula",), str(report)
        right = check_gradients(no_tensors(square), best, formula=wrong)
        assert right.blame == ("formula",), str(right)

    def nearly(w):
        return 2 * (w - best) * (1 + 1e-9)

    for shift in (0.0, 0.02):
        report = check_gradients(no_tensors(square), best + shift, formula=nearly)
        assert report.verdict == "ok", str(report)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1050))
def test_verdicts_hold_at_more_seeds(seed):
    """Fifty more data sets: nothing right is called wrong, nothing wrong passes."""
    for name, case in RIGHT.items():
        f, arrays = case(np.random.default_rng(seed))
        report = check_gradients(f, *arrays, seed=seed)
        assert report.verdict != "wrong", f"{name}\n{report}"
    by_hand = Backprop(np.random.default_rng(seed))
    wrong = [
        (by_hand.cost, by_hand.arrays, partial(by_hand.gradients, slip=slip))
        for slip in SLIPS
    ]
    wrong += [case(np.random.default_rng(seed)) for case in WRONG]
    for f, arrays, formula in wrong:
        report = check_gradients(f, *arrays, formula=formula, seed=seed)
        assert report.blame == ("formula",), str(report)


# --- what the report says -----------------------------------------------------------------


def test_a_report_names_parameter_index_and_both_numbers():
    """The worst element is the one that was spoilt, with the right number beside it."""
    by_hand = Backprop(np.random.default_rng(3))
    right = by_hand.gradients(*by_hand.arrays)

    def formula(*arrays):
        gradients = by_hand.gradients(*arrays)
        gradients[2][4, 1] += 0.25
        return gradients

    report = check_gradients(by_hand.cost, *by_hand.arrays, formula=formula)
    assert [n for n, p in report.parameters.items() if p.verdict == "wrong"] == ["W2"]
    worst = report.parameters["W2"].worst
    assert worst.index == (4, 1)
    assert worst.analytic == right[2][4, 1] + 0.25
    assert abs(worst.numeric - right[2][4, 1]) <= worst.bound < 1e-6
    text = str(report)
    for part in (
        "W2[4, 1]",
        f"{worst.analytic:.6g}"[:7],
        "1/32 wrong",
        "the formula is wrong",
    ):
        assert part in text, text


@pytest.mark.parametrize(
    ("slip", "parameter", "cause"),
    [
        ("no 1/m", "b2", "a factor 32"),
        ("twice", "b2", "a factor 2: counted twice"),
        ("sign", "b2", "the sign"),
        ("1/(mC)", "b2", "a factor 1/4, the length of an axis"),
        ("half L2", "W2", "a term is missing: 0.0005 · parameter"),
        ("no L2", "W1", "a term is missing: 0.001 · parameter"),
        ("L2 of biases", "b1", "a term is too much: 0.001 · parameter"),
        ("bias mean", "b1", "a factor 1/32, the length of an axis: a mean"),
        ("4/m on db1", "b1", "a factor 4"),
        ("one element 1.001", "W1", "one element alone is wrong"),
        ("one bias's sign", "b1", "one element alone is wrong"),
        ("last row dropped", "W2", "row 7 (the last) alone is wrong; it is zero there"),
        ("zeros", "W1", "all zeros"),
        ("rows rolled", "W1", "shifted by one along axis 0"),
        ("plus a constant", "b2", "a constant 0.001 is added"),
    ],
)
def test_a_simple_cause_is_named(slip, parameter, cause):
    """The mistake is told in words, from the numbers alone."""
    for seed in range(3):
        by_hand = Backprop(np.random.default_rng(seed))
        report = check_gradients(
            by_hand.cost,
            *by_hand.arrays,
            formula=partial(by_hand.gradients, slip=slip),
        )
        assert cause in (report.parameters[parameter].cause or ""), str(report)


def test_a_transposed_gradient_is_named():
    """W and its transpose have one shape where W is square."""
    f, arrays, formula = transposed(np.random.default_rng(0))
    (parameter,) = check_gradients(f, *arrays, formula=formula).parameters.values()
    assert parameter.cause == "transposed: take .T"


def test_a_smooth_right_gradient_costs_few_evaluations():
    """The median over smooth networks of any size is at most 60 evaluations of f."""
    counts = []
    for seed, hidden in enumerate((2, 8, 32, 128, 512)):
        rng = np.random.default_rng(seed)
        X, Y = rng.standard_normal((8, 20)), np.eye(3)[rng.integers(3, size=8)]
        calls = []

        def f(W1, W2, X=X, Y=Y, calls=calls):
            calls.append(isinstance(W1, np.ndarray))
            return cross_entropy(np.tanh(X @ W1) @ W2, Y)

        arrays = rng.standard_normal((20, hidden)), rng.standard_normal((hidden, 3))
        report = check_gradients(f, *arrays, seed=seed)
        assert report.verdict == "ok"
        assert report.evaluations >= sum(calls)
        counts.append(report.evaluations)
    assert np.median(counts) <= 60


def test_the_same_seed_gives_the_same_report():
    """Nothing but the seed is random."""
    f, arrays = RIGHT["ties"](np.random.default_rng(0))
    first, second, other = (str(check_gradients(f, *arrays, seed=s)) for s in (5, 5, 6))
    assert first == second
    assert first != other


# --- who is wrong ---------------------------------------------------------------------


@tg.elementwise(formula="$x^3", vjp=lambda g, _out, x: g * 2 * x**2, samples=[])
def miscubed(x):
    return x**3


del REGISTRY["miscubed"]  # no op of the library: no other law may meet it


def test_autograd_is_blamed_for_a_wrong_rule():
    """Numbers and formula agree against the rule of an op."""
    x = np.array([1.0, 2.0, 3.0])
    report = check_gradients(lambda x: miscubed(x).sum(), x, formula=lambda x: 3 * x**2)
    assert (report.verdict, report.blame) == ("wrong", ("autograd",))
    assert "a factor 0.666667" in str(report)
    assert not check_gradients(lambda x: miscubed(x).sum(), x).ok


def test_both_are_blamed_where_both_are_wrong():
    """The formula and the rule make the same mistake; the numbers know."""
    x = np.array([1.0, 2.0, 3.0])
    report = check_gradients(lambda x: miscubed(x).sum(), x, formula=lambda x: 2 * x**2)
    assert report.blame == ("autograd", "formula")


def test_plain_numpy_is_judged_by_the_numbers_alone():
    """A function that no Tensor can run still has a gradient to check."""

    def f(x):
        total = np.zeros(1)
        for value in x:
            total[0] += float(value) ** 2
        return total[0]

    x = np.array([1.0, -2.0, 3.0])
    report = check_gradients(f, x, formula=lambda x: 2 * x)
    assert (report.verdict, report.judged) == ("ok", ("formula",))
    assert "f does not run on Tensors: DetachedError" in str(report)
    assert not check_gradients(f, x, formula=lambda x: x).ok


def test_a_vjp_is_judged_for_any_output():
    """vjp takes the cotangent first; a wrong one is refuted, and one that ignores it."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((4, 3))

    def softmax(Z):
        return tg.softmax(Z, axis=1)

    def vjp(g, Z):
        S = softmax(Z)
        return S * (g - (g * S).sum(axis=1, keepdims=True))

    assert check_gradients(softmax, Z, vjp=vjp).verdict == "ok"
    assert not check_gradients(softmax, Z, vjp=lambda g, Z: g * softmax(Z)).ok
    with pytest.raises(GradientError, match="to double with g"):
        check_gradients(softmax, Z, vjp=lambda g, Z: softmax(Z))
    with pytest.raises(GradientError, match=r"shape \(4, 3\). Give vjp"):
        check_gradients(softmax, Z, formula=vjp)


def test_gradients_may_come_by_name():
    """A dictionary by parameter name, with or without the d, serves as well."""

    def f(W, b):
        return np.sum(W**2) + np.sum(b**3)

    W, b = np.array([[1.0, 2.0]]), np.array([0.5])
    for formula in (
        lambda W, b: {"dW": 2 * W, "db": 3 * b**2},
        lambda W, b: {"b": 3 * b**2, "W": 2 * W},
        lambda W, b: (2 * W, 3 * b**2),
    ):
        assert check_gradients(f, W, b, formula=formula).verdict == "ok"
    with pytest.raises(OpError, match="gradient named 'b' or 'db'"):
        check_gradients(f, W, b, formula=lambda W, b: {"W": 2 * W})
    report = check_gradients(f, W, b, names="weight bias")
    assert list(report.parameters) == ["weight", "bias"]


# --- verdicts ---------------------------------------------------------------------------


def test_a_kink_is_accepted_between_the_slopes():
    """At |0| any slope from -1 to 1 serves, and nothing beyond."""

    def f(x):
        return np.sum(np.abs(x))

    x = np.array([0.0, 1.0])
    for slope, verdict in (
        (0.0, "kink"),
        (1.0, "kink"),
        (-0.3, "kink"),
        (1.5, "wrong"),
    ):
        report = check_gradients(
            f, x, formula=lambda x, slope=slope: np.where(x == 0, slope, np.sign(x))
        )
        assert report.verdict == verdict, str(report)


def test_weak_fails_only_where_strict():
    """Where noise hides a thousandth of the gradient the verdict is weak."""
    rng = np.random.default_rng(0)
    f, arrays = float32_with_offset(rng)
    assert check_gradients(f, *arrays).verdict == "weak"
    assert check_gradients(f, *arrays).ok
    assert not check_gradients(f, *arrays, strict=True).ok


def test_assert_gradients_raises_with_the_report():
    """The error is a failed assertion, and carries the report."""
    x = np.array([1.0, 2.0])
    assert assert_gradients(lambda x: (x * x).sum(), x).ok
    with pytest.raises(GradientMismatch, match=r"x\[1\]  analytic  2") as caught:
        assert_gradients(lambda x: (x * x).sum(), x, formula=lambda x: x)
    assert isinstance(caught.value, AssertionError)
    assert not caught.value.report.ok


def test_a_gradient_that_is_nan_is_wrong():
    """An element that is no number is named, and the others are still judged."""
    x = np.array([1.0, 2.0, 3.0])
    report = check_gradients(
        lambda x: (x * x).sum(), x, formula=lambda x: np.where(x == 2, np.nan, 2 * x)
    )
    assert report.verdict == "wrong"
    assert report.parameters["x"].worst.index == (1,)
    assert report.parameters["x"].cause == "1 element is nan or infinite"


def test_the_slope_of_a_kink_is_never_a_confident_number():
    """No estimate claims a bound smaller than half of an unresolved jump."""
    one = np.ones(1)
    line = Line(lambda t: np.abs(t) * one, 0 * one, one, 1e-16 * one, 1.0)
    while not line.exhausted:
        line.extend()
    assert min(e.bound for e in line.estimates) >= 1.0


def test_a_single_estimate_accuses_nobody():
    """Where steps are all coarser than a fast oscillation, no claim is rejected."""
    one = np.ones(1)

    def fast(t):
        return np.sin(2.0**46 * t) * one

    line = Line(fast, 0 * one, one, 1e-16 * one, 1.0)
    assert judge(line, 2.0**46, 0.0, 1.0).kind != "reject"


# --- promises that must hold before a gradient can be judged --------------------------------


def test_a_random_function_is_refused():
    """Two calls with the same arrays give two values."""
    rng = np.random.default_rng(0)
    with pytest.raises(GradientError, match=r"not deterministic; got .* and"):
        check_gradients(lambda x: (x * rng.random(2)).sum(), np.ones(2))


def test_inputs_that_are_written_are_refused():
    """f and the formula must leave their inputs alone, and the error names which."""

    def writes(x, y):
        y += 1
        return (x * y).sum()

    with pytest.raises(MutationError, match="f writes into its input y"):
        check_gradients(writes, np.ones(2), np.ones(2), formula=lambda x, y: (y, x))
    with pytest.raises(MutationError, match="formula writes into its input x"):
        check_gradients(
            lambda x: (x * x).sum(), np.ones(2), formula=lambda x: np.add(x, x, out=x)
        )


def test_a_gradient_of_another_shape_is_refused():
    """The error tells both shapes and what to do."""

    def f(b):
        return (np.ones((32, 10)) * b).sum()

    with pytest.raises(
        ShapeError, match=r"in its shape \(10,\); got shape \(32, 10\)\. Sum"
    ):
        check_gradients(f, np.ones(10), formula=lambda b: np.ones((32, 10)))
    with pytest.raises(ShapeError, match="Transpose it"):
        check_gradients(
            lambda W: W.sum(), np.ones((2, 3)), formula=lambda W: np.ones((3, 2))
        )


def test_a_claim_that_is_not_refuted_is_within_the_resolution():
    """Half as much again passes as weak in a rounded function: the resolution says so."""

    def rounded(x):
        return np.round((x**2).sum(), 4)

    for x in np.random.default_rng(3).normal(size=(4, 5)):
        report = check_gradients(rounded, x, formula=lambda x: 3 * x)
        assert report.verdict == "wrong" or report.resolution > 0.3


def test_arrays_that_are_not_finite_are_refused():
    """tanh is finite at infinity, but there is no step from there."""
    with pytest.raises(GradientError, match="expected finite arrays; got x with nan"):
        check_gradients(lambda x: np.tanh(x).sum(), np.array([np.inf, 1.0]))


@pytest.mark.parametrize("given", ["abc", (x for x in "ab"), np.array([1j, 2.0])])
def test_a_gradient_that_is_no_real_numbers_is_refused(given):
    """Text, a generator or complex numbers are told by their dtype, not by a shape."""
    with pytest.raises(OpError, match="as an array of real numbers; got"):
        check_gradients(lambda x: np.sum(x**2), np.ones(2), formula=lambda x: given)


def test_a_value_that_is_not_finite_is_refused():
    """There is no slope where there is no value."""
    with pytest.raises(GradientError, match="not finite at the given arrays; got nan"):
        check_gradients(np.log, np.array([1.0, -1.0]))


def test_what_has_no_gradient_is_refused():
    """Integers, missing gradients and functions of no Tensor are told apart."""
    with pytest.raises(OpError, match="at least one array of floating numbers"):
        check_gradients(lambda x: x.sum(), np.arange(3))
    with pytest.raises(OpError, match="return a Tensor when it is given Tensors"):
        check_gradients(lambda x: np.sum(x.data), np.ones(3))
    with pytest.raises(OpError, match="gradient of x; got None"):
        check_gradients(lambda x: x.sum(), np.ones(3), formula=lambda x: (None,))
    with pytest.raises(OpError, match="expected 1 gradients, of x; got 2"):
        check_gradients(lambda x: x.sum(), np.ones(3), formula=lambda x: (x, x))


def test_integer_arrays_are_constants():
    """Labels and indices are passed on, and have no gradient."""
    labels = np.array([0, 2, 1])

    def f(Z, labels):
        return -tg.log_softmax(Z, axis=1)[np.arange(3), labels].sum()

    report = check_gradients(
        f, np.random.default_rng(0).standard_normal((3, 3)), labels
    )
    assert list(report.parameters) == ["Z"]
    assert report.verdict == "ok"


def test_the_stable_form_is_judged_where_arrays_overflow():
    """log(sigmoid(-1000)) is -inf on arrays; the recorded form is finite and right."""
    z = np.array([-1000.0, 30.0, 0.5])
    report = check_gradients(lambda z: np.log(sigmoid(z)).sum(), z)
    assert report.verdict == "ok"
    assert any("evaluated on Tensors" in note for note in report.notes)
