"""Planted bugs in hand-written backprop of dense networks, examples in columns.

`network` is the tutorials' network, 5 inputs, 7 hidden values, 3 outputs, 32 examples;
every slip is one that people make. `deep` is the chain with all its intermediates.
"""

from __future__ import annotations

import numpy as np

from corpus.case import (
    Chain,
    Problem,
    bug,
    changed_element,
    one_element,
    random_size,
    right,
    right_unless,
    spoilt,
)

M, N, H, C = 32, 5, 7, 3
KEEP = 0.8

FACTOR = r"factor -?{}\b"


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def called(function):
    """Look a function of NumPy up by its name when it is called, so that others can run."""
    if isinstance(function, str):
        return lambda x: getattr(np, function)(x)  # noqa: PLW0108 (`np` is looked up late)
    return function


def softmax(Z):
    """Softmax of every column."""
    E = np.exp(Z - Z.max(axis=0, keepdims=True))
    return E / E.sum(axis=0, keepdims=True)


def cross_entropy(Z, Y):
    """Softmax cross-entropy of every column, one number a column."""
    top = np.max(Z, axis=0, keepdims=True)
    total = np.log(np.sum(np.exp(Z - top), axis=0, keepdims=True)) + top
    return -np.sum(Y * (Z - total), axis=0)


def network(rng, slip="", *, m=M, n=N, h=H, c=C):  # noqa: C901 (a list)
    """W2 tanh(W1 X + b1) + b2, dropout, softmax cross-entropy, L2 of both weights."""
    X = rng.standard_normal((n, m))
    Y = np.eye(c)[:, rng.integers(c, size=m)]
    mask = (rng.random((h, m)) < KEEP) / KEEP
    other = (rng.random((h, m)) < KEEP) / KEEP
    weight = rng.uniform(0.5, 2, m)
    size = random_size(rng)
    decay = {"small decay": 1e-2 * size}.get(slip, 0.01)
    uses_weight = slip in {"weights forgotten", "weights in the divisor"}
    arrays = (
        rng.standard_normal((h, n)) / np.sqrt(n),
        0.1 * rng.standard_normal((h, 1)),
        rng.standard_normal((c, h)) / np.sqrt(h),
        0.1 * rng.standard_normal((c, 1)),
    )

    def f(W1, b1, W2, b2):
        A1 = np.tanh(W1 @ X + b1) * mask
        each = cross_entropy(W2 @ A1 + b2, Y)
        if uses_weight:
            each = each * weight
        return np.sum(each) / m + decay / 2 * (np.sum(W1**2) + np.sum(W2**2))

    def formula(W1, b1, W2, b2):  # noqa: C901 (a list)
        T = np.tanh(W1 @ X + b1)
        A1 = T * mask
        dZ2 = softmax(W2 @ A1 + b2) - Y
        if uses_weight and slip != "weights forgotten":
            dZ2 = dZ2 * weight
        dZ2 = dZ2 / (weight.sum() if slip == "weights in the divisor" else m)
        dW2 = dZ2 @ A1.T + decay * W2
        db2 = dZ2.sum(axis=1, keepdims=True)
        dA1 = W2.T @ dZ2
        dT = dA1 * {
            "mask unscaled": mask > 0,
            "mask forgotten": 1.0,
            "another mask": other,
        }.get(slip, mask)
        dZ1 = dT * (1 - T**2)
        dW1 = dZ1 @ X.T + decay * W1
        db1 = dZ1.sum(axis=1, keepdims=True)
        if slip in {"no decay", "small decay"}:
            dW1, dW2 = dW1 - decay * W1, dW2 - decay * W2
        if slip == "half decay":
            dW1, dW2 = dW1 - decay / 2 * W1, dW2 - decay / 2 * W2
        if slip == "decay over m":
            dW1, dW2 = dW1 + (1 / m - 1) * decay * W1, dW2 + (1 / m - 1) * decay * W2
        if slip == "decay of biases":
            db1, db2 = db1 + decay * size * b1, db2 + decay * size * b2
        if slip == "bias not summed":
            db1 = dZ1
        if slip == "bias over the wrong axis":
            db1 = dZ1.sum(axis=0).reshape(h, 1)
        if slip == "last example lost":
            dW1 = dZ1[:, :-1] @ X[:, :-1].T + decay * W1
        if slip == "dW1 of a batch of yesterday":
            dW1 = dZ1 @ np.roll(X, 1, axis=1).T + decay * W1
        if slip == "activations before dropout":
            dW2 = dZ2 @ T.T + decay * W2
        return dW1, db1, dW2, db2

    return Problem(f, arrays, formula)


def plain(rng, *, m=M, n=N, h=H, c=C):
    """The network without regularisers or dropout, for slips that are factors."""
    X = rng.standard_normal((n, m))
    Y = np.eye(c)[:, rng.integers(c, size=m)]
    arrays = (
        rng.standard_normal((h, n)) / np.sqrt(n),
        0.1 * rng.standard_normal((h, 1)),
        rng.standard_normal((c, h)) / np.sqrt(h),
        0.1 * rng.standard_normal((c, 1)),
    )

    def f(W1, b1, W2, b2):
        return np.sum(cross_entropy(W2 @ np.tanh(W1 @ X + b1) + b2, Y)) / m

    def formula(W1, b1, W2, b2):
        A1 = np.tanh(W1 @ X + b1)
        dZ2 = (softmax(W2 @ A1 + b2) - Y) / m
        dZ1 = W2.T @ dZ2 * (1 - A1**2)
        return (
            dZ1 @ X.T,
            dZ1.sum(axis=1, keepdims=True),
            dZ2 @ A1.T,
            dZ2.sum(axis=1, keepdims=True),
        )

    return Problem(f, arrays, formula)


def every(problem, how):
    """Spoil the gradients of all arrays in the same way."""
    for place in range(len(problem.arrays)):
        problem = spoilt(problem, place, how)
    return problem


for slip, kind, cause in (
    ("no decay", "mechanical", "regulari[sz]er|decay"),
    ("small decay", "mechanical", "regulari[sz]er|decay"),
    ("half decay", "mechanical", "regulari[sz]er|decay"),
    ("decay over m", "mechanical", "regulari[sz]er|decay"),
    ("decay of biases", "mechanical", "regulari[sz]er|decay"),
    ("bias not summed", "mechanical", "(?i)not summed|sum over the broadcast"),
    ("mask unscaled", "structural", None),
    ("mask forgotten", "structural", None),
    ("another mask", "structural", None),
    ("weights forgotten", "structural", None),
    ("weights in the divisor", "structural", None),
    ("last example lost", "structural", None),
    ("dW1 of a batch of yesterday", "structural", None),
    ("activations before dropout", "structural", None),
):
    bug(kind, f"network: {slip}", right_unless(network, slip), cause)

bug(
    "structural",
    "network: bias over the wrong axis",
    lambda rng: network(rng, "bias over the wrong axis", m=7),
)
bug(
    "mechanical",
    "no 1/m",
    lambda rng: every(plain(rng), lambda g: g * M),
    FACTOR.format(M),
)
bug(
    "mechanical",
    "1/m twice",
    lambda rng: every(plain(rng), lambda g: g / M),
    FACTOR.format(f"1/{M}"),
)
bug(
    "mechanical",
    "1/m in dW1 twice",
    lambda rng: spoilt(plain(rng), 0, lambda g: g / M),
    FACTOR.format(f"1/{M}"),
)
bug(
    "mechanical",
    "divided by the classes too",
    lambda rng: every(plain(rng), lambda g: g / C),
    FACTOR.format(f"1/{C}"),
)
bug(
    "mechanical",
    "dW2 counted twice",
    lambda rng: spoilt(plain(rng), 2, lambda g: 2 * g),
    FACTOR.format(2),
)
bug(
    "mechanical",
    "4/m on db1",
    lambda rng: spoilt(plain(rng), 1, lambda g: 4 * g),
    FACTOR.format(4),
)
bug(
    "mechanical",
    "sum for mean in a bias",
    lambda rng: spoilt(plain(rng), 3, lambda g: M * g),
    FACTOR.format(M),
)
bug(
    "mechanical",
    "mean for sum in a bias",
    lambda rng: spoilt(plain(rng), 1, lambda g: g / M),
    FACTOR.format(f"1/{M}"),
)
bug(
    "mechanical",
    "sign of everything",
    lambda rng: every(plain(rng), lambda g: -g),
    r"\bsign\b|factor -1\b",
)
bug(
    "mechanical",
    "sign of db2",
    lambda rng: spoilt(plain(rng), 3, lambda g: -g),
    r"\bsign\b|factor -1\b",
)
bug(
    "mechanical",
    "dW1 transposed",
    lambda rng: spoilt(plain(rng, h=N), 0, lambda g: g.T),
    "(?i)transpose",
)
bug(
    "mechanical",
    "dW1 transposed, not square",
    lambda rng: spoilt(plain(rng), 0, lambda g: g.T),
    "(?i)transpose",
)
bug(
    "mechanical",
    "dW2 zeros",
    lambda rng: spoilt(plain(rng), 2, lambda g: 0 * g),
    r"\bzeros?\b",
)
bug(
    "mechanical",
    "dW1 reversed",
    lambda rng: spoilt(plain(rng), 0, lambda g: g[::-1]),
    "(?i)reversed|order",
)
bug(
    "mechanical",
    "dW1 reshaped for transposed",
    lambda rng: spoilt(plain(rng), 0, lambda g: g.T.reshape(g.shape)),
    "(?i)order|transpose|reshape",
)


def one_weight(place, factor):
    """Make a bug: one element of an array has another factor, `factor(size)`."""

    def make(rng):
        problem = plain(rng)
        return changed_element(problem, place, rng, factor(random_size(rng)))

    return make


ONE = r"one element|\balone\b|only element"

bug("mechanical", "one weight of dW1", one_weight(0, lambda s: 1 + s), ONE)
bug("mechanical", "one weight of dW2, smaller", one_weight(2, lambda s: 1 - s), ONE)
bug("mechanical", "sign of one bias", one_weight(1, lambda s: -1.0), ONE)


def one_row(rng):
    problem = plain(rng)
    row = one_element(problem, 0, rng)[0]
    size = random_size(rng)

    def how(g):
        g[row] *= 1 + size
        return g

    return spoilt(problem, 0, how)


def last_column(rng):
    def how(g):
        g[:, -1] = 0
        return g

    return spoilt(plain(rng), 2, how)


def factor_of_random_size(rng):
    size = random_size(rng)
    return every(plain(rng), lambda g: (1 + size) * g)


def constant_added(rng):
    problem = plain(rng)
    mean = np.abs(problem.gradients(problem.arrays)[2]).mean()
    added = random_size(rng) * mean
    return spoilt(problem, 2, lambda g: g + added)


def clipped(rng):
    problem = plain(rng)
    largest = np.abs(problem.gradients(problem.arrays)[0]).max()
    limit = largest * (1 - 0.9 * random_size(rng))
    return spoilt(problem, 0, lambda g: np.clip(g, -limit, limit))


def half_precision(rng):
    return every(plain(rng), lambda g: g.astype("float16").astype(float))


def unscaled_dropout_alone(rng):
    """Inverted dropout of the inputs of the one layer: the gradient lacks 1/keep."""
    X = rng.standard_normal((M, N))
    y = rng.standard_normal(M)
    mask = (rng.random(N) < 0.5) * 1.0
    mask[rng.integers(N)] = 1.0
    hidden = np.arange(N) >= 0

    def f(w):
        return np.sum(np.tanh(X @ (w * mask / KEEP)) * y)

    def formula(w):
        slope = X.T @ (y * (1 - np.tanh(X @ (w * mask / KEEP)) ** 2))
        return (slope * mask * hidden,)

    return Problem(f, (rng.standard_normal(N),), formula)


bug("mechanical", "one row of dW1", one_row, r"\brow\b")
bug("mechanical", "last column of dW2 dropped", last_column, r"\bcolumn\b")
bug("mechanical", "factor of random size", factor_of_random_size, r"\bfactor\b")
bug("mechanical", "constant added to dW2", constant_added, r"\bconstant\b")
bug("structural", "clipped by value", clipped)
bug("structural", "rounded to half precision", half_precision)
bug(
    "mechanical",
    "dropout unscaled in the backward",
    unscaled_dropout_alone,
    r"factor 0\.8\b|1 ?- ?p|\bmask\b|keep|dropout",
)


def regression(rng, slip):
    """Squares of a linear layer, examples in rows; mistakes of the loss."""
    X, Y = rng.standard_normal((M, N)), rng.standard_normal((M, 2))

    def f(W, b):
        return np.mean((X @ W + b - Y) ** 2)

    def formula(W, b):
        R = X @ W + b - Y
        dZ = R * {"the 2 of a square": 1 / (2 * M), "all but m": 1 / M}[slip]
        return X.T @ dZ, dZ.sum(axis=0)

    return Problem(f, (rng.standard_normal((N, 2)), rng.standard_normal(2)), formula)


bug(
    "mechanical",
    "regression: the 2 of a square",
    right_unless(regression, "the 2 of a square"),
    FACTOR.format("1/2"),
)
# 2/(2m) for a mean over 2m numbers is 1/m: that one is right.
right("regression: a mean over both axes", right_unless(regression, "all but m"))


def one_of_22210(rng):
    """A 100-200-10 network, 16 examples: one weight of 22,210 is off by a thousandth."""
    return changed_element(plain(rng, m=16, n=100, h=200, c=10), 0, rng, 1.001)


def scaled(factor, slip):
    """Make a bug in a network whose loss is very small or very large."""

    def make(rng):
        inner = plain(rng)
        problem = Problem(
            lambda W1, b1, W2, b2: factor * inner.f(W1, b1, W2, b2),
            inner.arrays,
            lambda *arrays: tuple(factor * g for g in inner.formula(*arrays)),
        )
        if slip == "no 1/m":
            return every(problem, lambda g: g * M)
        return changed_element(problem, 2, rng, 1 + random_size(rng))

    return make


def no_decay_at_zero(rng):
    """Logistic regression from zero: the forgotten regulariser is not seen at w = 0."""
    X = rng.standard_normal((M, N))
    y = (rng.random(M) < 0.5) * 1.0
    decay = 0.1 * random_size(rng)

    def f(w, b):
        z = X @ w + b
        fit = np.sum(np.logaddexp(0, z) - y * z) / M
        return fit + decay / 2 * np.sum(w**2)

    def formula(w, b):
        dz = (sigmoid(X @ w + b) - y) / M
        return X.T @ dz, dz.sum()

    return Problem(
        f,
        (np.zeros(N), np.zeros(())),
        formula,
        visible=(0.1 * rng.standard_normal(N), np.zeros(())),
    )


def single(x):
    """Compute in single precision from here on."""
    return x.astype(np.float32)


def float32_inside(rng):
    """The network computes in single precision; one element is a tenth too large."""
    inner = plain(rng)
    problem = Problem(
        lambda W1, b1, W2, b2: inner.f(single(W1), single(b1), single(W2), single(b2)),
        inner.arrays,
        inner.formula,
    )
    return changed_element(problem, 0, rng, 1.1)


def lasso(rng, slip):
    X, y = rng.standard_normal((M, N)), rng.standard_normal(M)
    k = 0.1 * random_size(rng)

    def f(w):
        return np.mean((X @ w - y) ** 2) + k * np.sum(np.abs(w))

    def formula(w):
        term = {"without sign": k, "forgotten": 0.0, "of squares": k * w}[slip]
        return (2 / M * X.T @ (X @ w - y) + term,)

    w = rng.standard_normal(N)
    w[0] = -np.abs(w[0]) - 0.1
    return Problem(f, (w,), formula)


bug("structural", "L1 without sign", right_unless(lasso, "without sign"))
bug("structural", "L1 as if it were L2", right_unless(lasso, "of squares"))
bug(
    "mechanical",
    "L1 forgotten",
    right_unless(lasso, "forgotten"),
    "regulari[sz]er|decay|sign\\(parameter",
)
bug("mechanical", "one weight of 22,210", one_of_22210, ONE)
bug("mechanical", "loss 1e-8, no 1/m", scaled(1e-8, "no 1/m"), FACTOR.format(M))
bug("mechanical", "loss 1e8, one element", scaled(1e8, "one element"), ONE)
bug("mechanical", "no decay at zero", no_decay_at_zero, "regulari[sz]er|decay")
bug("structural", "float32 inside, one element", float32_inside)


# --- the chain --------------------------------------------------------------------


def deep(rng, slip=""):  # noqa: C901, PLR0915 (a list)
    """Three layers, n = h = 6 in the middle so that W and W.T fit alike."""
    X = rng.standard_normal((N, M))
    Y = (rng.random((1, M)) < 0.5) * 1.0
    W1, W2, W3 = (
        rng.standard_normal(shape) / np.sqrt(shape[1])
        for shape in ((6, N), (6, 6), (1, 6))
    )
    b1, b2, b3 = (0.1 * rng.standard_normal((k, 1)) for k in (6, 6, 1))
    size = random_size(rng)
    stale = [1 + size * rng.uniform(0.5, 1, W.shape) for W in (W1, W2, W3)]

    def trace(W1, b1, W2, b2, W3, b3):
        Z1 = W1 @ X + b1
        A1 = np.tanh(Z1)
        Z2 = W2 @ A1 + b2
        A2 = np.maximum(0, Z2)
        Z3 = W3 @ A2 + b3
        A3 = 1 / (1 + np.exp(-Z3))
        loss = -np.sum(Y * np.log(A3) + (1 - Y) * np.log(1 - A3)) / M
        return {
            "Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2, "Z3": Z3, "A3": A3, "loss": loss
        }  # fmt: skip

    def claims(W1, b1, W2, b2, W3, b3):  # noqa: C901, PLR0912 (a list)
        t = trace(W1, b1, W2, b2, W3, b3)
        Z1, A1, Z2, A2, A3 = (t[k] for k in ("Z1", "A1", "Z2", "A2", "A3"))
        dA3 = -(Y / A3 - (1 - Y) / (1 - A3)) / M
        if slip == "dA3 without 1/m":
            dA3 = dA3 * M
        if slip == "dA3 with a sign":
            dA3 = -dA3
        if slip == "dA3 with + for -":
            dA3 = -(Y / A3 + (1 - Y) / (1 - A3)) / M
        dZ3 = dA3 * {
            "sigmoid' of z": t["Z3"] * (1 - t["Z3"]),
            "no sigmoid'": 1.0,
            "tanh' for sigmoid'": 1 - A3**2,
            "sigmoid' off": A3 * (1 - A3) * (1 + size),
        }.get(slip, A3 * (1 - A3))
        dW3 = dZ3 @ A2.T
        if slip == "dW3 of A1":
            dW3 = dZ3 @ A1.T
        db3 = dZ3.sum(axis=1, keepdims=True)
        if slip == "db3 a mean":
            db3 = db3 / M
        dA2 = (W3 * stale[2] if slip == "stale W3" else W3).T @ dZ3
        if slip == "one column of dA2":
            dA2 = dA2 * (1 + size * (np.arange(M) == 3))
        dZ2 = dA2 * {
            "mask of A >= 0": A2 >= 0,
            "mask of Z1": Z1 > 0,
            "no relu'": 1.0,
            "mask upside down": Z2 < 0,
            "leaky for relu": np.where(Z2 > 0, 1, size),
        }.get(slip, Z2 > 0)
        dW2 = dZ2 @ A1.T
        if slip == "dW2 of Z1":
            dW2 = dZ2 @ Z1.T
        if slip == "dW2 transposed":
            dW2 = dW2.T
        db2 = dZ2.sum(axis=1, keepdims=True)
        if slip == "db2 one element":
            k = int(np.abs(db2).argmax())
            db2 = db2 * (1 + size * (np.arange(6) == k)[:, None])
        dA1 = {
            "W2 for W2.T": W2,
            "W3 for W2": np.repeat(W3, 6, axis=0).T,
            "stale W2": (W2 * stale[1]).T,
        }.get(slip, W2.T) @ dZ2
        if slip == "dA1 a factor":
            dA1 = (1 + size) * dA1
        if slip == "dA1 of dA2":
            dA1 = W2.T @ dA2
        dZ1 = dA1 * {
            "tanh' of z": 1 - Z1**2,
            "tanh' without square": 1 - A1,
            "no tanh'": 1.0,
            "sigmoid' for tanh'": A1 * (1 - A1),
            "tanh' of A2": 1 - A2**2,
        }.get(slip, 1 - A1**2)
        dW1 = dZ1 @ X.T
        if slip == "dW1 one row":
            dW1 = dW1 * (1 + size * (np.arange(6) == 2)[:, None])
        db1 = dZ1.sum(axis=1, keepdims=True)
        if slip == "db1 of Z2":
            db1 = dZ2.sum(axis=1, keepdims=True)
        return {
            "dA3": dA3, "dZ3": dZ3, "dW3": dW3, "db3": db3, "dA2": dA2, "dZ2": dZ2,
            "dW2": dW2, "db2": db2, "dA1": dA1, "dZ1": dZ1, "dW1": dW1, "db1": db1,
        }  # fmt: skip

    def formula(*arrays):
        found = claims(*arrays)
        return tuple(found[k] for k in ("dW1", "db1", "dW2", "db2", "dW3", "db3"))

    return Problem(
        lambda W1, b1, W2, b2, W3, b3: trace(W1, b1, W2, b2, W3, b3)["loss"],
        (W1, b1, W2, b2, W3, b3),
        formula,
        chain=Chain(trace, claims),
    )


DERIVATIVE = r"(?i)derivative|slope"

for slip, first, cause in (
    ("dA3 without 1/m", "dA3", rf"factor -?{M}\b|factor 1/{M} is (left out|missing)"),
    ("dA3 with a sign", "dA3", r"\bsign\b|factor -1\b"),
    ("dA3 with + for -", "dA3", None),
    ("sigmoid' of z", "dZ3", DERIVATIVE),
    ("no sigmoid'", "dZ3", DERIVATIVE),
    ("tanh' for sigmoid'", "dZ3", None),
    ("sigmoid' off", "dZ3", r"\bfactor\b"),
    ("dW3 of A1", "dW3", None),
    ("db3 a mean", "db3", rf"factor -?1/{M}\b|a mean over {M}\b"),
    ("stale W3", "dA2", None),
    ("one column of dA2", "dA2", r"\bcolumn\b"),
    ("mask of A >= 0", "dZ2", r"(?i)mask|relu|derivative"),
    ("mask of Z1", "dZ2", r"(?i)mask|relu|derivative"),
    ("no relu'", "dZ2", r"(?i)mask|relu|derivative"),
    ("mask upside down", "dZ2", r"(?i)mask|relu|derivative"),
    ("leaky for relu", "dZ2", None),
    ("dW2 of Z1", "dW2", None),
    ("dW2 transposed", "dW2", "(?i)transpose"),
    ("db2 one element", "db2", ONE),
    ("W2 for W2.T", "dA1", r"(?i)transpose|\.T\b"),
    ("W3 for W2", "dA1", None),
    ("stale W2", "dA1", None),
    ("dA1 a factor", "dA1", r"\bfactor\b"),
    ("dA1 of dA2", "dA1", None),
    ("tanh' of z", "dZ1", DERIVATIVE),
    ("tanh' without square", "dZ1", None),
    ("no tanh'", "dZ1", DERIVATIVE),
    ("sigmoid' for tanh'", "dZ1", None),
    ("tanh' of A2", "dZ1", None),
    ("dW1 one row", "dW1", r"\brow\b"),
    ("db1 of Z2", "db1", None),
):
    bug("chain", f"chain: {slip}", right_unless(deep, slip), cause, first)

right("network, dropout and decay", network)
right("chain of three layers", deep)
right("network of 22,210 weights", lambda rng: plain(rng, m=16, n=100, h=200, c=10))
