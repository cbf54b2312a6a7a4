"""Right gradients that are awkward to check: no checker may call one of them wrong.

At a kink, every value between the one-sided slopes is right.
"""

from __future__ import annotations

import numpy as np

from corpus.case import Problem, right
from corpus.networks import called, cross_entropy, plain, sigmoid, single
from corpus.networks import softmax as softmax_of_columns

SURE = 1e-12


def elements(function, slope, points, *, beside=0.0):
    """Make a case: a function of every element, weighted at random and summed.

    ``points`` gives the array from a generator; ``slope`` the right derivative.
    """
    function = called(function)

    def make(rng):
        x = np.array(points(rng), float)
        weights = rng.standard_normal(x.shape)
        return Problem(
            lambda x: np.sum(function(x) * weights),
            (x,),
            lambda x: (slope(x) * weights,),
            beside=beside,
        )

    return make


def between(low, high, size=9):
    """Make points drawn from an interval."""
    return lambda rng: rng.uniform(low, high, size)


def among(*values):
    """Make points at the given places, among others of size one."""

    def points(rng):
        x = rng.standard_normal(12)
        x[: len(values)] = values
        return x

    return points


def relu(x):
    return np.maximum(0, x)


def heaviside(value):
    """Slope of relu with a convention at 0."""
    return lambda x: np.where(x == 0, value, x > 0)


# --- kinks of one element -------------------------------------------------------------

for value in (0.0, 0.5, 1.0):
    right(
        f"relu at 0, slope {value}",
        elements(relu, heaviside(value), among(0, 0, 0), beside=SURE),
    )
for distance in (1e-5, 1e-7, 1e-9, 1e-13):
    right(
        f"relu {distance} from its kink",
        elements(
            relu, heaviside(0.0), among(distance, -distance, distance, -2 * distance)
        ),
    )
for value in (-1.0, 0.0, 1.0):
    right(
        f"abs at 0, slope {value}",
        elements(
            "abs",
            lambda x, value=value: np.where(x == 0, value, np.sign(x)),
            among(0, 0),
            beside=SURE,
        ),
    )
right("abs at 1e-9", elements("abs", np.sign, among(1e-9, -1e-9, 3e-9)))
right(
    "leaky relu at 0",
    elements(
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x: np.where(x > 0, 1, 0.1),
        among(0, 0, 1e-9),
        beside=SURE,
    ),
)
for value in (0.0, 1.0):
    right(
        f"clip at both limits, slope {value}",
        elements(
            lambda x: np.clip(x, -1, 1),
            lambda x, value=value: np.where(np.abs(x) == 1, value, np.abs(x) < 1),
            among(1, -1, 1, 2, -2),
            beside=SURE,
        ),
    )
right(
    "huber at its threshold",
    elements(
        lambda x: np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5),
        lambda x: np.clip(x, -1, 1),
        among(1, -1, 1 + 1e-9, 1 - 1e-9),
    ),
)
right(
    "hinge on its margin",
    elements(lambda x: relu(1 - x), lambda x: -1.0 * (x < 1), among(1, 1), beside=SURE),
)
right(
    "relu squared at 0",
    elements(lambda x: relu(x) ** 2, lambda x: 2 * relu(x), among(0, 1e-9, -1e-9)),
)
right(
    "soft threshold at its edges",
    elements(
        lambda x: np.where(np.abs(x) > 0.5, x - 0.5 * np.sign(x), 0 * x),
        lambda x: 1.0 * (np.abs(x) > 0.5),
        among(0.5, -0.5, 0.5 + 1e-9),
        beside=SURE,
    ),
)
right(
    "a step between two kinks 1e-6 apart",
    elements(
        lambda x: relu(x) - relu(x - 1e-6),
        lambda x: 1.0 * ((x > 0) & (x < 1e-6)),
        among(5e-7, 2e-7, 3e-6),
    ),
)
right(
    "floor and rounding",
    elements(lambda x: np.floor(3 * x) + np.round(x) + x, np.ones_like, between(-2, 2)),
)
right(
    "sign of x",
    elements(lambda x: np.sign(x) * x**2, lambda x: 2 * np.abs(x), among(1e-9)),
)


# --- ties -----------------------------------------------------------------------------


def ties(convention, gap=0.0):
    """Make the largest of rows that hold it twice, or nearly so."""

    def make(rng):
        x = rng.standard_normal((4, 5))
        x[:, 3] = 3.0
        x[:, 1] = 3.0 + gap
        weights = rng.standard_normal(4)

        def formula(x):
            top = (x == x.max(axis=1, keepdims=True)) * 1.0
            if convention == "first":
                top *= np.cumsum(top, axis=1) <= 1
            return (weights[:, None] * top / top.sum(axis=1, keepdims=True),)

        beside = SURE if gap == 0 else 0.0
        return Problem(
            lambda x: np.sum(np.max(x, axis=1) * weights), (x,), formula, beside=beside
        )

    return make


def maximum_of_two(first):
    def make(rng):
        x = rng.standard_normal(8)
        y = np.where(np.arange(8) < 3, x, rng.standard_normal(8))
        y[3] = x[3] + 1e-9
        return Problem(
            lambda x, y: np.maximum(x, y),  # noqa: PLW0108 (looked up late)
            (x, y),
            vjp=lambda g, x, y: (
                g * np.where(x == y, first, x > y),
                g * np.where(x == y, 1 - first, y > x),
            ),
            beside=SURE,
        )

    return make


def sorted_ties(rng):
    x = rng.integers(0, 4, 9).astype(float)
    x[:2] = 2.0
    weights = np.arange(9.0)

    def formula(x):
        slope = np.empty(9)
        slope[np.argsort(x, kind="stable")] = weights
        return (slope,)

    return Problem(lambda x: np.sum(np.sort(x) * weights), (x,), formula, beside=SURE)


def pooled_zeros(rng):
    """Max pooling of relu: whole windows tie at zero."""
    x = rng.standard_normal(24)
    x[:8] = -np.abs(x[:8])
    weights = rng.standard_normal(6)

    def formula(x):
        A = np.maximum(0, x).reshape(6, 4)
        dA = np.zeros((6, 4))
        dA[np.arange(6), A.argmax(axis=1)] = weights
        return ((dA * (A > 0)).reshape(24),)

    return Problem(
        lambda x: np.sum(np.max(np.reshape(relu(x), (6, 4)), axis=1) * weights),
        (x,),
        formula,
    )


right("max, ties share", ties("share"))
right("max, the first of ties", ties("first"))
right("max, 1e-9 from a tie", ties("share", 1e-9))
right("maximum, ties share", maximum_of_two(0.5))
right("maximum, the first takes all", maximum_of_two(1.0))
right("sort with ties", sorted_ties)
right("max pooling of zeros", pooled_zeros)


# --- networks on kinks and at zero ----------------------------------------------------


def relu_network(rng, arrays, X, beside=0.0):
    """W2 relu(W1 X + b1) + b2 and squares, examples in columns."""
    Y = rng.standard_normal((2, X.shape[1]))

    def f(W1, b1, W2, b2):
        return np.mean((W2 @ relu(W1 @ X + b1) + b2 - Y) ** 2)

    def formula(W1, b1, W2, b2):
        Z1 = W1 @ X + b1
        A1 = np.maximum(0, Z1)
        dZ2 = 2 * (W2 @ A1 + b2 - Y) / Y.size
        dZ1 = W2.T @ dZ2 * (Z1 > 0)
        return (
            dZ1 @ X.T,
            dZ1.sum(axis=1, keepdims=True),
            dZ2 @ A1.T,
            dZ2.sum(axis=1, keepdims=True),
        )

    return Problem(f, arrays, formula, beside=beside)


def weights(rng, n=5, h=7, c=2):
    return (
        rng.standard_normal((h, n)),
        0.1 * rng.standard_normal((h, 1)),
        rng.standard_normal((c, h)),
        np.zeros((c, 1)),
    )


def relu_generic(rng):
    return relu_network(rng, weights(rng), rng.standard_normal((5, 32)))


def dead_examples(rng):
    X = rng.standard_normal((5, 16))
    X[:, ::4] = 0
    W1, _, W2, b2 = weights(rng)
    return relu_network(rng, (W1, np.zeros((7, 1)), W2, b2), X, beside=SURE)


def dead_units(rng):
    W1, b1, W2, b2 = weights(rng)
    b1[:3] = -100
    return relu_network(rng, (W1, b1, W2, b2), rng.standard_normal((5, 16)))


def near_kinks(distance):
    def make(rng):
        W1, _, W2, b2 = weights(rng)
        X = rng.standard_normal((5, 16))
        b1 = distance - (W1 @ X)[:, :1]
        return relu_network(rng, (W1, b1, W2, b2), X)

    return make


def zeros(rng):
    """All parameters of a tanh network are zero: all gradients but one are, too."""
    problem = plain(rng)
    return problem._replace(arrays=tuple(0 * x for x in problem.arrays))


def half_zero(rng):
    """The second layer is zero, as some initialise it: the first has no gradient."""
    problem = plain(rng)
    W1, b1, W2, b2 = problem.arrays
    return problem._replace(arrays=(W1, b1, 0 * W2, 0 * b2))


def first_layer_zero(rng):
    """Units of relu that all sit on the kink, first layer and bias zero."""
    W1, b1, W2, b2 = weights(rng)
    return relu_network(
        rng, (0 * W1, 0 * b1, W2, b2), rng.standard_normal((5, 16)), beside=SURE
    )


right("relu network", relu_generic)
right("relu network, examples that are zero", dead_examples)
right("relu network, dead units", dead_units)
right("relu network, 1e-7 from kinks", near_kinks(1e-7))
right("relu network, 1e-10 from kinks", near_kinks(1e-10))
right("relu network, first layer zero", first_layer_zero)
right("network from zero", zeros)
right("network, second layer zero", half_zero)


# --- scales ---------------------------------------------------------------------------


def rescaled(loss=1.0, shift=0.0, parameters=1.0):
    """Make the network with a loss, or with parameters, of another scale."""

    def make(rng):
        inner = plain(rng)
        k = parameters
        return Problem(
            lambda W1, b1, W2, b2: (
                loss * inner.f(W1 / k, b1 / k, W2 / k, b2 / k) + shift
            ),
            tuple(k * x for x in inner.arrays),
            lambda *arrays: tuple(
                loss * g / k for g in inner.formula(*(x / k for x in arrays))
            ),
        )

    return make


for name, make in (
    ("loss 1e-8", rescaled(loss=1e-8)),
    ("loss 1e8", rescaled(loss=1e8)),
    ("loss plus 1e8", rescaled(shift=1e8)),
    ("loss plus 1e4", rescaled(shift=1e4)),
    ("parameters 1e8", rescaled(parameters=1e8)),
    ("parameters 1e-8", rescaled(parameters=1e-8)),
):
    right(f"network, {name}", make)

right("cube at 1e8", elements(lambda x: x**3, lambda x: 3 * x**2, between(1e8, 2e8)))
right("square at 1e-8", elements(lambda x: x**2, lambda x: 2 * x, between(-2e-8, 2e-8)))
right("sqrt at 1e8", elements("sqrt", lambda x: 0.5 / np.sqrt(x), between(1e8, 2e8)))
right("sqrt at 1e-8", elements("sqrt", lambda x: 0.5 / np.sqrt(x), between(1e-9, 1e-8)))
right("log at 1e-8", elements("log", lambda x: 1 / x, between(1e-8, 2e-8)))
right(
    "reciprocal at 1e-8",
    elements(lambda x: 1 / x, lambda x: -(x**-2), between(1e-8, 3e-8)),
)
right("exp at 20", elements("exp", np.exp, between(19, 21)))
right(
    "one array from 1e-6 to 1e6",
    elements(
        lambda x: np.log(1 + x**2),
        lambda x: 2 * x / (1 + x**2),
        lambda rng: rng.choice([-1, 1], 13) * 10.0 ** np.linspace(-6, 6, 13),
    ),
)


def two_scales(rng):
    """One parameter counts a million times more than the other."""
    X, y = rng.standard_normal((20, 2)), rng.standard_normal(20)

    def f(u, v):
        return np.sum((X @ u - y) ** 2) + 1e-6 * np.sum(np.tanh(v))

    return Problem(
        f,
        (1e3 * rng.standard_normal(2), 1e-3 * rng.standard_normal(4)),
        lambda u, v: (2 * X.T @ (X @ u - y), 1e-6 * (1 - np.tanh(v) ** 2)),
    )


right("two parameters, scales 1e9 apart", two_scales)


# --- noise: single precision, large sums, cancellation --------------------------------


def single_inside(rng):
    inner = plain(rng)
    return Problem(
        lambda W1, b1, W2, b2: inner.f(single(W1), single(b1), single(W2), single(b2)),
        inner.arrays,
        inner.formula,
    )


def single_inputs(rng):
    inner = plain(rng)
    arrays = tuple(x.astype("float32") for x in inner.arrays)
    return inner._replace(arrays=arrays)


def single_with_offset(rng):
    weights = rng.standard_normal(20)
    return Problem(
        lambda x: np.sum(single(np.tanh(x) * weights) + 1000),
        (rng.standard_normal(20),),
        lambda x: ((1 - np.tanh(x) ** 2) * weights,),
    )


def single_relu(rng):
    problem = relu_generic(rng)
    f = problem.f
    return problem._replace(
        f=lambda W1, b1, W2, b2: f(single(W1), single(b1), single(W2), single(b2))
    )


def large_sum(rng):
    X = rng.standard_normal((200_000, 1))
    return Problem(
        lambda w: np.sum(np.tanh(X * w)),
        (rng.standard_normal(2),),
        lambda w: ((X * (1 - np.tanh(X * w) ** 2)).sum(axis=0),),
    )


def alternating_sum(rng):
    """A hundred thousand terms that cancel: the sum is far smaller than each."""
    signs = (-1.0) ** np.arange(100_000)
    X = rng.uniform(1, 2, 100_000)
    return Problem(
        lambda w: np.sum(1e4 * signs * np.cos(X * w)),
        (rng.uniform(0.5, 1, 1),),
        lambda w: (np.array([(-1e4 * signs * np.sin(X * w) * X).sum()]),),
    )


right("single precision inside", single_inside)
right("single precision inside, relu", single_relu)
right("single precision parameters", single_inputs)
right("single precision beside 1000", single_with_offset)
right("sum of 200,000", large_sum)
right("alternating sum", alternating_sum)
right(
    "difference of equals, (1 - cos x) / x²",
    elements(
        lambda x: (1 - np.cos(x)) / x**2,
        lambda x: (x * np.sin(x) - 2 * (1 - np.cos(x))) / x**3,
        between(0.01, 0.02),
    ),
)
right(
    "1e8 + tanh x",
    elements(lambda x: 1e8 + np.tanh(x), lambda x: 1 - np.tanh(x) ** 2, between(-1, 1)),
)


# --- gradients that nearly vanish -----------------------------------------------------


def saturated(rng):
    """Logistic loss from logits, some of them far on the right side."""
    X, y = 30 * rng.standard_normal((20, 3)), (rng.random(20) < 0.5) * 1.0
    return Problem(
        lambda w: np.mean(np.logaddexp(0, X @ w) - y * (X @ w)),
        (rng.standard_normal(3),),
        lambda w: (X.T @ (sigmoid(X @ w) - y) / 20,),
    )


def large_logits(rng):
    Y = np.eye(4)[:, rng.integers(4, size=6)]
    return Problem(
        lambda Z: np.sum(cross_entropy(Z, Y)),
        (1e3 * rng.standard_normal((4, 6)),),
        lambda Z: (softmax_of_columns(Z) - Y,),
    )


def optimum(rng):
    A, best = rng.standard_normal((20, 3)), rng.standard_normal(3)
    y = A @ best
    return Problem(
        lambda w: np.mean((A @ w - y) ** 2),
        (best,),
        lambda w: (2 / 20 * A.T @ (A @ w - y),),
    )


def bias_before_norm(rng):
    """The gradient of a bias before batch norm is zero but for rounding."""
    X, weights = rng.standard_normal((16, 3)), rng.standard_normal((16, 4))

    def f(W, b):
        Z = X @ W + b
        centred = Z - np.mean(Z, axis=0)
        return np.sum(centred / np.sqrt(np.mean(centred**2, axis=0)) * weights)

    def formula(W, b):
        Z = X @ W + b
        deviation = Z.std(axis=0)
        hat = (Z - Z.mean(axis=0)) / deviation
        inner = weights - weights.mean(axis=0) - hat * (weights * hat).mean(axis=0)
        dZ = inner / deviation
        return X.T @ dZ, dZ.sum(axis=0)

    return Problem(f, (rng.standard_normal((3, 4)), rng.standard_normal(4)), formula)


def sum_of_softmax(rng):
    """A constant in disguise: its gradient is zero."""
    return Problem(
        lambda Z: np.sum(np.exp(Z) / np.sum(np.exp(Z), axis=1, keepdims=True)),
        (rng.standard_normal((5, 4)),),
        lambda Z: (np.zeros_like(Z),),
    )


def unused(rng):
    return Problem(
        lambda x, y: np.sum(np.sin(x)) + 0 * np.sum(y),
        (rng.standard_normal(4), rng.standard_normal((2, 3))),
        lambda x, y: (np.cos(x), np.zeros_like(y)),
    )


def unused_rows(rng):
    words = rng.integers(0, 5, 12)
    weights = rng.standard_normal((12, 3))

    def formula(E):
        dE = np.zeros_like(E)
        np.add.at(dE, words, weights * (1 - np.tanh(E[words]) ** 2))
        return (dE,)

    return Problem(
        lambda E: np.sum(np.tanh(E[words]) * weights),
        (rng.standard_normal((9, 3)),),
        formula,
    )


def vanishing(rng):
    """Thirty layers of tanh: the first has a gradient of about 1e-9."""
    layers = 30
    arrays = tuple(0.5 * rng.standard_normal((3, 3)) / 3**0.5 for _ in range(layers))
    x = rng.standard_normal(3)

    def f(*Ws):
        a = x
        for W in Ws:
            a = np.tanh(a @ W)
        return np.sum(a)

    def formula(*Ws):
        states = [x]
        for W in Ws:
            states.append(np.tanh(states[-1] @ W))
        g, found = np.ones(3), []
        for W, before, after in zip(
            Ws[::-1], states[-2::-1], states[:0:-1], strict=True
        ):
            dZ = g * (1 - after**2)
            found.append(np.outer(before, dZ))
            g = W @ dZ
        return tuple(found[::-1])

    return Problem(f, arrays, formula)


def batch_of_equals(rng):
    """Batch norm of a column that hardly varies: the slope is steep."""
    weights = rng.standard_normal(8)

    def f(x):
        centred = x - np.mean(x)
        return np.sum(centred / np.sqrt(np.mean(centred**2) + 1e-5) * weights)

    def formula(x):
        centred = x - x.mean()
        deviation = np.sqrt((centred**2).mean() + 1e-5)
        hat = centred / deviation
        inner = weights - weights.mean() - hat * (weights * hat).mean()
        return (inner / deviation,)

    return Problem(f, (1 + 1e-3 * rng.standard_normal(8),), formula)


right("logistic loss, saturated", saturated)
right("cross-entropy of logits 1e3", large_logits)
right(
    "sigmoid at -20",
    elements(sigmoid, lambda x: sigmoid(x) * sigmoid(-x), between(-22, -18)),
)
right("tanh at 12", elements("tanh", lambda x: 1 / np.cosh(x) ** 2, between(11, 13)))
right(
    "tanh of 200, flat",
    elements("tanh", lambda x: 1 / np.cosh(x) ** 2, between(190, 210)),
)
right("at the optimum", optimum)
right("bias before batch norm", bias_before_norm)
right("sum of softmax", sum_of_softmax)
right("a parameter that is not used", unused)
right("embedding, rows not used", unused_rows)
right("thirty layers, vanishing", vanishing)
right("batch norm of near equals", batch_of_equals)


# --- stiff, oscillating, nearly singular ----------------------------------------------


def rosenbrock(rng):
    def formula(x):
        dx = np.zeros_like(x)
        inner = x[1:] - x[:-1] ** 2
        dx[1:] += 2e4 * inner
        dx[:-1] += -4e4 * x[:-1] * inner - 2 * (1 - x[:-1])
        return (dx,)

    return Problem(
        lambda x: np.sum(1e4 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
        (1 + 0.01 * rng.standard_normal(6),),
        formula,
    )


def hilbert(rng):
    i = np.arange(8.0)
    A = 1 / (i[:, None] + i + 1)
    return Problem(
        lambda x: 0.5 * np.sum(x * (A @ x)),
        (rng.standard_normal(8),),
        lambda x: (A @ x,),
    )


def stiff(rng):
    """Fifty explicit steps of a decay, rates from 1 to 1000."""
    rates, h = np.array([1.0, 30.0, 1000.0]), 1e-3

    def f(x):
        for _ in range(50):
            x = x - h * rates * x + h * np.sin(x)
        return np.sum(x)

    def formula(x):
        slope = np.ones_like(x)
        for _ in range(50):
            slope = slope * (1 - h * rates + h * np.cos(x))
            x = x - h * rates * x + h * np.sin(x)
        return (slope,)

    return Problem(f, (rng.uniform(0.5, 2, 3),), formula)


def chaos(rng):
    """Twelve steps of the logistic map."""

    def f(x):
        for _ in range(12):
            x = 3.9 * x * (1 - x)
        return np.sum(x)

    def formula(x):
        slope = np.ones_like(x)
        for _ in range(12):
            slope = slope * 3.9 * (1 - 2 * x)
            x = 3.9 * x * (1 - x)
        return (slope,)

    return Problem(f, (rng.uniform(0.1, 0.9, 3),), formula)


def norm_of(scale):
    def make(rng):
        x = scale * rng.standard_normal(4)

        def formula(x):
            length = np.sqrt((x**2).sum())
            return (x / length if length else x,)

        return Problem(
            lambda x: np.sqrt(np.sum(x**2)),
            (x,),
            formula,
            beside=0.0 if scale else SURE,
        )

    return make


def masked_softmax(filling):
    """Make softmax with entries that are masked by a large negative number."""

    def make(rng):
        mask = rng.random((4, 5)) < 0.4
        mask[:, 0] = False

        def f(Z):
            E = np.exp(np.where(mask, filling, Z - np.max(Z, axis=1, keepdims=True)))
            return E / np.sum(E, axis=1, keepdims=True)

        def vjp(g, Z):
            S = f(Z)
            return (S * (g - (g * S).sum(axis=1, keepdims=True)),)

        return Problem(f, (rng.standard_normal((4, 5)),), vjp=vjp)

    return make


def tiny_determinant(rng):
    """a d - b c of a matrix that is nearly singular."""
    a, b = rng.uniform(1, 2, 2)
    return Problem(
        lambda A: np.log((A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]) ** 2),
        (np.array([[a, b], [a, b * (1 + 1e-4)]]),),
        lambda A: (
            2
            * np.array([[A[1, 1], -A[1, 0]], [-A[0, 1], A[0, 0]]])
            / (A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]),
        ),
    )


def long_recurrence(rng):
    """A hundred steps of one weight, and a running sum of all states."""
    X = rng.standard_normal(100)

    def f(w, u):
        state, total = 0.0, 0.0
        for x in X:
            state = np.tanh(w * state + u * x)
            total = total + state
        return total

    def formula(w, u):
        states = [0.0]
        for x in X:
            states.append(np.tanh(w * states[-1] + u * x))
        g = dw = du = 0.0
        for k in range(100, 0, -1):
            dz = (g + 1) * (1 - states[k] ** 2)
            dw, du, g = dw + dz * states[k - 1], du + dz * X[k - 1], dz * w
        return np.asarray(dw), np.asarray(du)

    return Problem(f, (np.array(1.2), np.array(0.8)), formula)


def labels_too(rng):
    """Indices among the arguments, which have no gradient."""
    labels = rng.integers(0, 3, 6)

    def f(Z):
        total = np.log(np.sum(np.exp(Z), axis=1))
        return np.mean(total - Z[np.arange(6), labels])

    def formula(Z):
        P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
        return ((P - np.eye(3)[labels]) / 6,)

    return Problem(f, (rng.standard_normal((6, 3)),), formula)


def oscillating_network(rng):
    """Sines of large frequencies as hidden values."""
    frequencies = 10.0 ** rng.uniform(0, 3, 8)
    X, y = rng.standard_normal(16), rng.standard_normal(16)

    def f(w, v):
        return np.mean((np.sin(X[:, None] * frequencies + w) @ v - y) ** 2)

    def formula(w, v):
        inner = X[:, None] * frequencies + w
        dz = 2 / 16 * (np.sin(inner) @ v - y)
        return (dz[:, None] * np.cos(inner) * v).sum(axis=0), np.sin(inner).T @ dz

    return Problem(f, (rng.standard_normal(8), rng.standard_normal(8)), formula)


right("rosenbrock, stiff", rosenbrock)
right("hilbert's matrix", hilbert)
right("stiff steps", stiff)
right("logistic map", chaos)
right("norm at 0", norm_of(0.0))
right("norm at 1e-7", norm_of(1e-7))
right("masked softmax, -1e9", masked_softmax(-1e9))
right("masked softmax, -inf", masked_softmax(-np.inf))
right("nearly singular", tiny_determinant)
right("long recurrence", long_recurrence)
right("cross-entropy by labels", labels_too)
right("network of sines", oscillating_network)
right(
    "sine of 1000 x",
    elements(
        lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x), between(0.5, 2)
    ),
)
right(
    "sine of 1e5 x",
    elements(
        lambda x: np.sin(1e5 * x), lambda x: 1e5 * np.cos(1e5 * x), between(0.5, 2)
    ),
)
right(
    "sine of 1/x at 0.01",
    elements(
        lambda x: np.sin(1 / x), lambda x: -np.cos(1 / x) / x**2, between(0.01, 0.02)
    ),
)
right(
    "spike",
    elements(
        lambda x: x / (x**2 + 1e-6),
        lambda x: (1e-6 - x**2) / (x**2 + 1e-6) ** 2,
        between(1e-3, 2e-3),
    ),
)
right(
    "steep sigmoid",
    elements(
        lambda x: sigmoid(1e4 * x),
        lambda x: 1e4 * sigmoid(1e4 * x) * sigmoid(-1e4 * x),
        between(-1e-3, 1e-3),
    ),
)
right(
    "x^x", elements(lambda x: x**x, lambda x: x**x * (1 + np.log(x)), between(0.1, 5))
)
right(
    "gaussian far out",
    elements(
        lambda x: np.exp(-(x**2)), lambda x: -2 * x * np.exp(-(x**2)), between(4, 6)
    ),
)
right(
    "arcsine near 1",
    elements("arcsin", lambda x: 1 / np.sqrt(1 - x**2), between(0.999, 0.99999)),
)
right(
    "arccosine within 1e-9 of its end",
    elements(
        "arccos", lambda x: -1 / np.sqrt((1 - x) * (1 + x)), between(1 - 2e-9, 1 - 1e-9)
    ),
)
right(
    "x log x at 1e-9",
    elements(lambda x: x * np.log(x), lambda x: 1 + np.log(x), between(1e-9, 1e-8)),
)
