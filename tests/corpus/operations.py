"""Planted bugs in gradient rules of ops and layers: `vjp(g, *arrays)` of any output.

Each function makes one op; `slip` names the mistake in its rule, `""` is the right rule.
"""

from __future__ import annotations

import numpy as np

from corpus.case import Problem, bug, random_size, right, right_unless
from corpus.networks import DERIVATIVE, FACTOR, called, sigmoid


def plant(make, title, slips):
    """Enter the right rule of an op, and every mistake in it."""
    right(title, right_unless(make, ""))
    for slip, cause in slips.items():
        kind = "mechanical" if cause else "structural"
        bug(kind, f"{title}: {slip}", right_unless(make, slip), cause)


def matmul(rng, slip):
    arrays = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))

    def vjp(g, X, W):
        dX = g @ (W if slip == "W for W.T" else W.T)
        dW = X.T @ g
        if slip == "dW transposed":
            dW = g.T @ X
        return dX, dW

    return Problem(lambda X, W: X @ W, arrays, vjp=vjp)


plant(matmul, "matmul", {"W for W.T": None, "dW transposed": "(?i)transpose"})


def broadcast(rng, slip):
    """A row and a column are multiplied into a matrix, and an array is added."""
    arrays = (
        rng.standard_normal((6, 1)),
        rng.standard_normal(4),
        rng.standard_normal((6, 4)),
    )

    def vjp(g, column, row, x):
        dcolumn = (g * row).sum(axis=1, keepdims=True)
        drow = (g * column).sum(axis=0)
        if slip == "mean over the broadcast axis":
            dcolumn = dcolumn / 4
        if slip == "not summed over the broadcast axis":
            drow = g * column
        if slip == "summed over both axes":
            drow = np.full(4, (g * column).sum())
        return dcolumn, drow, g

    return Problem(lambda column, row, x: column * row + x, arrays, vjp=vjp)


plant(
    broadcast,
    "broadcast",
    {
        "mean over the broadcast axis": FACTOR.format("1/4"),
        "not summed over the broadcast axis": "(?i)not summed|sum over the broadcast",
        "summed over both axes": None,
    },
)


def divide(rng, slip):
    arrays = rng.standard_normal((3, 4)), rng.uniform(0.5, 3, (3, 4))
    power = 1 if slip == "-a/b" else 2
    sign = 1 if slip == "sign of the quotient rule" else -1
    return Problem(
        lambda a, b: a / b, arrays, vjp=lambda g, a, b: (g / b, sign * g * a / b**power)
    )


plant(
    divide,
    "divide",
    {"-a/b": None, "sign of the quotient rule": r"\bsign\b|factor -1\b"},
)


def power(rng, slip):
    arrays = rng.uniform(0.5, 3, (3, 4)), rng.uniform(-2, 3, (3, 4))

    def vjp(g, x, p):
        out = x**p
        dx = g * p * x ** (p if slip == "exponent not lowered" else p - 1)
        dp = g * np.log(x) * (1 if slip == "without the value" else out)
        return dx, dp

    return Problem(lambda x, p: x**p, arrays, vjp=vjp)


plant(power, "power", {"exponent not lowered": None, "without the value": None})


def softmax(rng, slip):
    def f(Z):
        E = np.exp(Z - np.max(Z, axis=1, keepdims=True))
        return E / np.sum(E, axis=1, keepdims=True)

    def vjp(g, Z):
        S = f(Z)
        total = (g * S).sum(axis=0 if slip == "sum over axis 0" else 1, keepdims=True)
        if slip == "the diagonal alone":
            return (g * S * (1 - S),)
        return (S * (g - total),)

    return Problem(f, (2 * rng.standard_normal((5, 5)),), vjp=vjp)


plant(softmax, "softmax", {"the diagonal alone": None, "sum over axis 0": None})


def log_softmax(rng, slip):
    def f(Z):
        top = np.max(Z, axis=1, keepdims=True)
        return Z - top - np.log(np.sum(np.exp(Z - top), axis=1, keepdims=True))

    def vjp(g, Z):
        total = g.sum(axis=1, keepdims=True)
        if slip == "taken for one-hot":
            total = 1.0
        return (g - np.exp(f(Z)) * total,)

    return Problem(f, (2 * rng.standard_normal((5, 4)),), vjp=vjp)


plant(log_softmax, "log softmax", {"taken for one-hot": None})


def mean(rng, slip):
    length = 24 if slip == "divided by the size" else 1 if slip == "a sum" else 6

    def vjp(g, x):
        return (np.repeat(g[None, :], 6, axis=0) / length,)

    return Problem(
        lambda x: np.mean(x, axis=0), (rng.standard_normal((6, 4)),), vjp=vjp
    )


plant(
    mean,
    "mean",
    {"divided by the size": FACTOR.format("1/4"), "a sum": FACTOR.format("6")},
)


def variance(rng, slip):
    """Of columns, without Bessel's correction."""

    def vjp(g, x):
        centred = x if slip == "not centred" else x - x.mean(axis=0)
        m = 8 if slip != "m - 1" else 7
        two = 1 if slip == "without the 2" else 2
        return (two * g * centred / m,)

    x = rng.standard_normal((8, 3)) + 0.5
    return Problem(
        lambda x: np.mean((x - np.mean(x, axis=0)) ** 2, axis=0), (x,), vjp=vjp
    )


plant(
    variance,
    "variance",
    {
        "not centred": None,
        "m - 1": r"\bfactor\b",
        "without the 2": FACTOR.format("1/2"),
    },
)


def maximum_of_rows(rng, slip):
    """Rows with ties: a subgradient's weights add up to one."""
    x = rng.integers(0, 3, (5, 6)).astype(float)

    def vjp(g, x):
        top = (x == x.max(axis=1, keepdims=True)) * 1.0
        if slip != "every tie in full":
            top /= top.sum(axis=1, keepdims=True)
        return (g[:, None] * top,)

    x[0, :2] = 3.0
    return Problem(lambda x: np.max(x, axis=1), (x,), vjp=vjp, beside=1e-12)


plant(maximum_of_rows, "max with ties", {"every tie in full": None})


def embedding(rng, slip):
    words = rng.integers(0, 5, 12)
    words[:2] = 1

    def vjp(g, E):
        dE = np.zeros_like(E)
        if slip == "duplicates lost":
            dE[words] += g
        elif slip == "scattered one row on":
            np.add.at(dE, words + 1, g)
        else:
            np.add.at(dE, words, g)
        return (dE,)

    return Problem(lambda E: E[words], (rng.standard_normal((7, 3)),), vjp=vjp)


plant(
    embedding,
    "embedding",
    {"duplicates lost": None, "scattered one row on": "(?i)shifted|order"},
)


def cumulative(rng, slip):
    def vjp(g, x):
        if slip == "not reversed":
            return (np.cumsum(g, axis=1),)
        if slip == "own element forgotten":
            return (np.cumsum(g[:, ::-1], axis=1)[:, ::-1] - g,)
        return (np.cumsum(g[:, ::-1], axis=1)[:, ::-1],)

    return Problem(
        lambda x: np.cumsum(x, axis=1), (rng.standard_normal((3, 7)),), vjp=vjp
    )


plant(cumulative, "cumsum", {"not reversed": None, "own element forgotten": None})


def sort(rng, slip):
    def vjp(g, x):
        order = np.argsort(x)
        if slip == "order for its inverse":
            return (g[order],)
        dx = np.zeros_like(x)
        dx[order] = g
        return (dx,)

    x = rng.permutation(9) + 0.1 * rng.standard_normal(9)
    x[:4] = np.sort(x[:4])[[1, 2, 3, 0]]  # no permutation that is its own inverse
    return Problem(lambda x: np.sort(x), (x,), vjp=vjp)  # noqa: PLW0108 (looked up late)


plant(sort, "sort", {"order for its inverse": "(?i)order"})


def roll(rng, slip):
    back = 2 if slip == "forth for back" else -2
    return Problem(
        lambda x: np.roll(x, 2, axis=0),
        (rng.standard_normal((5, 3)),),
        vjp=lambda g, x: (np.roll(g, back, axis=0),),
    )


plant(roll, "roll", {"forth for back": None})


def einsum(rng, slip):
    arrays = rng.standard_normal((2, 4, 4)), rng.standard_normal((2, 4, 4))

    def vjp(g, A, B):
        pattern = "bik,bkj->bij" if slip == "indices of B" else "bik,bjk->bij"
        dA = np.einsum(pattern, g, B)
        dB = np.einsum("bji,bjk->bik", A, g)
        if slip == "summed over the batch":
            dB = dB.sum(axis=0, keepdims=True) + 0 * dB
        return dA, dB

    return Problem(lambda A, B: np.einsum("bij,bjk->bik", A, B), arrays, vjp=vjp)


plant(einsum, "einsum", {"indices of B": None, "summed over the batch": None})


def convolution(rng, slip):
    """Valid correlation of (examples, length) with one kernel of 3, and a bias."""
    arrays = rng.standard_normal((4, 9)), rng.standard_normal(3), rng.standard_normal(1)

    def f(x, k, b):
        return sum(x[:, i : i + 7] * k[i] for i in range(3)) + b

    def vjp(g, x, k, b):
        kernel = k[::-1] if slip == "kernel flipped" else k
        dx = np.zeros_like(x)
        for i in range(3):
            dx[:, i : i + 7] += g * kernel[i]
        last = 6 if slip == "last position dropped" else 7
        dk = np.array([(g[:, :last] * x[:, i : i + last]).sum() for i in range(3)])
        db = g.sum() / (4 if slip == "bias over the examples a mean" else 1)
        return dx, dk, np.array([db])

    return Problem(f, arrays, vjp=vjp)


plant(
    convolution,
    "convolution",
    {
        "kernel flipped": None,
        "last position dropped": None,
        "bias over the examples a mean": FACTOR.format("(1/4|0.25)"),
    },
)


def pooling(rng, slip):
    """Maxima and averages of windows of 4."""

    def f(x):
        windows = np.reshape(x, (5, 4))
        return np.max(windows, axis=1) + np.mean(windows, axis=1)

    def vjp(g, x):
        windows = x.reshape(5, 4)
        place = windows.argmax(axis=1)
        if slip == "first for largest":
            place = 0 * place
        dx = np.zeros((5, 4))
        dx[np.arange(5), place] = g
        dx += g[:, None] / (2 if slip == "average by the wrong length" else 4)
        return (dx.reshape(20),)

    x = rng.standard_normal(20)
    x[0] = x[1] - 1  # the first is not the largest everywhere
    return Problem(f, (x,), vjp=vjp)


plant(
    pooling, "pooling", {"first for largest": None, "average by the wrong length": None}
)


def batch_norm(rng, slip):
    size = random_size(rng)
    eps = 0.3 * size if slip == "without eps" else 1e-5
    arrays = (
        rng.standard_normal((16, 4)) * 2 + 1,
        rng.uniform(0.5, 2, 4),
        rng.standard_normal(4),
    )

    def parts(x):
        centred = x - np.mean(x, axis=0)
        return centred, np.sqrt(np.mean(centred**2, axis=0) + eps)

    def f(x, gamma, beta):
        centred, deviation = parts(x)
        return centred / deviation * gamma + beta

    def vjp(g, x, gamma, beta):
        centred, deviation = parts(x)
        if slip == "without eps":
            deviation = np.sqrt(deviation**2 - eps)
        hat = centred / deviation
        m = 15 if slip == "m - 1" else 16
        dhat = g * gamma
        inner = dhat - dhat.sum(axis=0) / m - hat * (dhat * hat).sum(axis=0) / m
        if slip == "statistics constant":
            inner = dhat
        if slip == "variance constant":
            inner = dhat - dhat.mean(axis=0)
        if slip == "gamma forgotten":
            inner = inner / gamma
        if slip == "factor 2 in the variance":
            inner = inner - hat * (dhat * hat).mean(axis=0)
        dx = inner / deviation
        return dx, (g * hat).sum(axis=0), g.sum(axis=0)

    return Problem(f, arrays, vjp=vjp)


plant(
    batch_norm,
    "batch norm",
    dict.fromkeys(
        (
            "without eps",
            "m - 1",
            "statistics constant",
            "variance constant",
            "gamma forgotten",
            "factor 2 in the variance",
        )
    ),
)


def layer_norm(rng, slip):
    def parts(x, axis=1):
        centred = x - np.mean(x, axis=axis, keepdims=True)
        return centred / np.sqrt(np.mean(centred**2, axis=axis, keepdims=True) + 1e-5)

    def f(x, gamma):
        return parts(x) * gamma

    def vjp(g, x, gamma):
        axis = 0 if slip == "other axis" else 1
        centred = x - x.mean(axis=axis, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=axis, keepdims=True) + 1e-5)
        hat = centred / deviation
        dhat = g * gamma
        inner = dhat - dhat.mean(axis=axis, keepdims=True)
        if slip != "term of the variance":
            inner = inner - hat * (dhat * hat).mean(axis=axis, keepdims=True)
        return inner / deviation, (g * parts(x)).sum(axis=0)

    return Problem(f, (rng.standard_normal((6, 6)), rng.uniform(0.5, 2, 6)), vjp=vjp)


plant(layer_norm, "layer norm", {"other axis": None, "term of the variance": None})


def activation(function, slope, wrong, low=-3.0, high=3.0):
    """Make an op of one array, with its right slope and a wrong one."""
    function = called(function)

    def make(rng, slip):
        size = random_size(rng)
        used = (lambda x: wrong(x, size)) if slip else slope
        x = rng.uniform(low, high, 12)
        return Problem(function, (x,), vjp=lambda g, x: (g * used(x),))

    return make


ROOT = np.sqrt(2 / np.pi)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(ROOT * (x + 0.044715 * x**3)))


def gelu_slope(x, three=3.0):
    inner = np.tanh(ROOT * (x + 0.044715 * x**3))
    return 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * ROOT * (
        1 + three * 0.044715 * x**2
    )


for title, slip, cause, make in (
    (
        "gelu",
        "factor 3 off",
        None,
        activation(gelu, gelu_slope, lambda x, s: gelu_slope(x, 3 - 2 * s)),
    ),
    (
        "leaky relu",
        "slope of another leak",
        None,
        activation(
            lambda x: np.where(x > 0, x, 0.2 * x),
            lambda x: np.where(x > 0, 1, 0.2),
            lambda x, s: np.where(x > 0, 1, 0.2 * (1 + s)),
        ),
    ),
    (
        "elu",
        "without alpha",
        None,
        activation(
            lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1)),
            lambda x: np.where(x > 0, 1, 0.7 * np.exp(x)),
            lambda x, s: np.where(x > 0, 1, np.exp(x)),
        ),
    ),
    (
        "softplus",
        "sigmoid of -x",
        None,
        activation(lambda x: np.log(1 + np.exp(x)), sigmoid, lambda x, s: sigmoid(-x)),
    ),
    (
        "swish",
        "second term off",
        None,
        activation(
            lambda x: x * sigmoid(x),
            lambda x: sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)),
            lambda x, s: sigmoid(x) + (1 - s) * x * sigmoid(x) * (1 - sigmoid(x)),
        ),
    ),
    (
        "tanh",
        "derivative of z for a",
        DERIVATIVE,
        activation("tanh", lambda x: 1 - np.tanh(x) ** 2, lambda x, s: 1 - x**2),
    ),
    (
        "sigmoid",
        "derivative of z for a",
        DERIVATIVE,
        activation(
            sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)), lambda x, s: x * (1 - x)
        ),
    ),
    (
        "sqrt",
        "1/2 sqrt for 1/(2 sqrt)",
        None,
        activation(
            "sqrt",
            lambda x: 0.5 / np.sqrt(x),
            lambda x, s: 0.5 * np.sqrt(x),
            low=0.2,
        ),
    ),
    (
        "sine of 30 x",
        "inner derivative off",
        r"\bfactor\b",
        activation(
            lambda x: np.sin(30 * x),
            lambda x: 30 * np.cos(30 * x),
            lambda x, s: 30 * (1 - s / 2) * np.cos(30 * x),
        ),
    ),
    (
        "log of 1 + x squared",
        "without the 2",
        FACTOR.format("1/2"),
        activation(
            lambda x: np.log(1 + x**2),
            lambda x: 2 * x / (1 + x**2),
            lambda x, s: x / (1 + x**2),
        ),
    ),
    (
        "huber",
        "not clipped",
        None,
        activation(
            lambda x: np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5),
            lambda x: np.clip(x, -1, 1),
            lambda x, s: x,
        ),
    ),
    (
        "arctan",
        "one element off",
        "one element|\\balone\\b|only element",
        activation(
            "arctan",
            lambda x: 1 / (1 + x**2),
            lambda x, s: (1 + s * (np.arange(12) == 5)) / (1 + x**2),
        ),
    ),
):
    plant(make, title, {slip: cause})


def vector_norm(rng, slip):
    divisor = 2 if slip == "divided by the square" else 1
    return Problem(
        lambda x: np.sqrt(np.sum(x**2, axis=1)),
        (rng.standard_normal((4, 5)) + 0.5,),
        vjp=lambda g, x: (
            g[:, None] * x / np.sqrt((x**2).sum(axis=1, keepdims=True)) ** divisor,
        ),
    )


plant(vector_norm, "norm", {"divided by the square": None})


def soft_maximum(rng, slip):
    beta = 1 + random_size(rng)

    def vjp(g, x):
        E = np.exp(beta * x)
        dx = g[:, None] * E / E.sum(axis=1, keepdims=True)
        return (dx * (beta if slip == "without 1/beta" else 1),)

    return Problem(
        lambda x: np.log(np.sum(np.exp(beta * x), axis=1)) / beta,
        (rng.standard_normal((4, 5)),),
        vjp=vjp,
    )


plant(soft_maximum, "logsumexp with beta", {"without 1/beta": r"\bfactor\b"})


def inverse(rng, slip):
    """Of a matrix near the identity, by Neumann's series: plain products."""

    def f(A):
        term = total = np.eye(4)
        for _ in range(60):
            term = term @ (np.eye(4) - A)
            total = total + term
        return total

    def vjp(g, A):
        B = f(A)
        if slip == "not transposed":
            return (-B @ g @ B,)
        return (-B.T @ g @ B.T,)

    return Problem(f, (np.eye(4) + 0.15 * rng.standard_normal((4, 4)),), vjp=vjp)


plant(inverse, "inverse", {"not transposed": None})


def attention(rng, slip):
    """One head, 6 words of 4 numbers, scores by the root of 4."""
    X = rng.standard_normal((6, 4))
    arrays = tuple(rng.standard_normal((4, 4)) / 2 for _ in range(3))

    def weights_of(Q, K):
        S = (X @ Q) @ (X @ K).T / np.sqrt(4)
        E = np.exp(S - np.max(S, axis=1, keepdims=True))
        return E / np.sum(E, axis=1, keepdims=True)

    def f(Q, K, V):
        return weights_of(Q, K) @ (X @ V)

    def vjp(g, Q, K, V):
        P = weights_of(Q, K)
        dP = g @ (X @ V).T
        total = (dP * P).sum(axis=1, keepdims=True)
        dS = P * (dP - (0 if slip == "softmax without its sum" else total))
        dS = dS / (1 if slip == "no root of d" else np.sqrt(4))
        if slip == "mask of the future in the backward":
            dS = np.tril(dS)
        dK = X.T @ (dS if slip == "dS for dS.T" else dS.T) @ (X @ Q)
        return X.T @ dS @ (X @ K), dK, X.T @ P.T @ g

    return Problem(f, arrays, vjp=vjp)


plant(
    attention,
    "attention",
    {
        "softmax without its sum": None,
        "no root of d": FACTOR.format(2),
        "mask of the future in the backward": None,
        "dS for dS.T": None,
    },
)


def lstm(rng, slip):
    """Four steps of a cell of 3 values on inputs of 2, the loss on the last state."""
    steps, n, h = 4, 2, 3
    X = rng.standard_normal((steps, n))
    target = rng.standard_normal(h)
    size = random_size(rng)
    arrays = (
        0.7 * rng.standard_normal((n + h, 4 * h)),
        0.3 * rng.standard_normal(4 * h),
    )

    def run(W, b):
        state, cell, tape = np.zeros(h), np.zeros(h), []
        for x in X:
            before = np.concatenate([x, state])
            Z = before @ W + b
            i, o = sigmoid(Z[:h]), sigmoid(Z[2 * h : 3 * h])
            forget, c = sigmoid(Z[h : 2 * h]), np.tanh(Z[3 * h :])
            old, cell = cell, forget * cell + i * c
            state = o * np.tanh(cell)
            tape.append((before, i, forget, o, c, old, cell))
        return state, tape

    def f(W, b):
        return np.sum((run(W, b)[0] - target) ** 2)

    def formula(W, b):
        state, tape = run(W, b)
        dW, db = np.zeros_like(W), np.zeros_like(b)
        dstate, dcell = 2 * (state - target), np.zeros(h)
        for before, i, forget, o, c, old, cell in reversed(tape):
            t = np.tanh(cell)
            do = dstate * t
            if slip == "state to cell not added":
                dcell = dstate * o * (1 - t**2)
            else:
                dcell = dcell + dstate * o * (1 - t**2)
            dforget = dcell * (cell if slip == "new cell for the old" else old)
            dc_slope = 1 - c**2 if slip != "slope of the candidate" else c * (1 - c)
            dZ = np.concatenate(
                [
                    dcell * c * i * (1 - i),
                    dforget * forget * (1 - forget),
                    do * o * (1 - o) * (1 + size if slip == "output gate off" else 1),
                    dcell * i * dc_slope,
                ]
            )
            dW += np.outer(before, dZ)
            db += dZ
            dstate = W[n:] @ dZ
            dcell = dcell * (i if slip == "i for f on the way back" else forget)
            if slip == "truncated":
                break
        return dW, db

    return Problem(f, arrays, formula)


plant(
    lstm,
    "lstm",
    dict.fromkeys(
        (
            "state to cell not added",
            "new cell for the old",
            "slope of the candidate",
            "output gate off",
            "i for f on the way back",
            "truncated",
        )
    ),
)


def recurrent(rng, slip):
    """Backprop through five steps of a tanh network with tied output weights."""
    X = rng.standard_normal((5, 3))
    target = rng.standard_normal((5, 3))
    arrays = 0.5 * rng.standard_normal((3, 3)), 0.3 * rng.standard_normal(3)

    def f(W, b):
        state, loss = np.zeros(3), 0.0
        for x, y in zip(X, target, strict=True):
            state = np.tanh(x + state @ W + b)
            loss = loss + np.sum((state @ W - y) ** 2)
        return loss

    def formula(W, b):
        states = [np.zeros(3)]
        for x in X:
            states.append(np.tanh(x + states[-1] @ W + b))
        dW, db, dstate = np.zeros_like(W), np.zeros_like(b), np.zeros(3)
        for k in range(5, 0, -1):
            dout = 2 * (states[k] @ W - target[k - 1])
            if slip != "tied weight of the output forgotten":
                dW += np.outer(states[k], dout)
            dZ = (dstate + dout @ W.T) * (1 - states[k] ** 2)
            if slip == "tied weight overwritten":
                dW = np.outer(states[k - 1], dZ)
            else:
                dW += np.outer(states[k - 1], dZ)
            db = dZ if slip == "bias of the first step alone" else db + dZ
            dstate = 0 * dZ if slip == "no way back in time" else dZ @ W.T
        return dW, db

    return Problem(f, arrays, formula)


plant(
    recurrent,
    "recurrent",
    dict.fromkeys(
        (
            "tied weight of the output forgotten",
            "tied weight overwritten",
            "bias of the first step alone",
            "no way back in time",
        )
    ),
)


def cosine(rng, slip):
    arrays = rng.standard_normal(5), rng.standard_normal(5)

    def f(x, y):
        return np.sum(x * y) / np.sqrt(np.sum(x**2) * np.sum(y**2))

    def formula(x, y):
        nx, ny = np.sqrt((x**2).sum()), np.sqrt((y**2).sum())
        similarity = (x * y).sum() / (nx * ny)
        bent = 0 if slip == "norms constant" else similarity
        return y / (nx * ny) - bent * x / nx**2, x / (nx * ny) - bent * y / ny**2

    return Problem(f, arrays, formula)


plant(cosine, "cosine similarity", {"norms constant": None})


def gaussian(rng, slip):
    """Negative log-likelihood with the logarithm of the variance."""
    y = rng.standard_normal(8)
    arrays = rng.standard_normal(8), 0.5 * rng.standard_normal(8)
    half = 1.0 if slip == "half of the log variance" else 0.5

    def f(mu, s):
        return np.sum(0.5 * s + 0.5 * (y - mu) ** 2 * np.exp(-s))

    def formula(mu, s):
        return (mu - y) * np.exp(-s), half - 0.5 * (y - mu) ** 2 * np.exp(-s)

    return Problem(f, arrays, formula)


plant(gaussian, "gaussian likelihood", {"half of the log variance": r"\bconstant\b"})


def focal(rng, slip):
    y = (rng.random(16) < 0.5) * 1.0

    def f(z):
        p = sigmoid(z * (2 * y - 1))
        return -np.mean((1 - p) ** 2 * np.log(p))

    def formula(z):
        sign = 2 * y - 1
        p = sigmoid(z * sign)
        dp = 2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p
        if slip == "weight constant":
            dp = -((1 - p) ** 2) / p
        return (dp * p * (1 - p) * sign / 16,)

    return Problem(f, (rng.standard_normal(16),), formula)


plant(focal, "focal loss", {"weight constant": None})


def hinge(rng, slip):
    X, y = rng.standard_normal((20, 4)), rng.choice([-1.0, 1.0], 20)

    def f(w, b):
        return np.mean(np.maximum(0, 1 - y * (X @ w + b)))

    def formula(w, b):
        margin = y * (X @ w + b)
        on = margin < (0 if slip == "margin 0 for 1" else 1)
        dz = -y * on / 20
        return X.T @ dz, dz.sum()

    w = rng.standard_normal(4) / 4
    return Problem(f, (w, np.zeros(())), formula)


plant(hinge, "hinge loss", {"margin 0 for 1": None})


def ignored(rng, slip):
    """Cross-entropy over the words that are not padding."""
    words = rng.integers(0, 4, 12)
    words[[2, 5]] = -1
    known = words >= 0
    Y = np.eye(4)[words] * known[:, None]

    def log_probabilities(Z):
        top = np.max(Z, axis=1, keepdims=True)
        return Z - top - np.log(np.sum(np.exp(Z - top), axis=1, keepdims=True))

    def f(Z):
        return -np.sum(Y * log_probabilities(Z)) / 10

    def formula(Z):
        dZ = (np.exp(log_probabilities(Z)) - Y) * known[:, None]
        if slip == "padding not masked":
            dZ = np.exp(log_probabilities(Z)) - Y
        return (dZ / (12 if slip == "divided by all words" else 10),)

    return Problem(f, (rng.standard_normal((12, 4)),), formula)


plant(
    ignored,
    "cross-entropy with padding",
    {"padding not masked": None, "divided by all words": r"\bfactor\b"},
)


def smoothed(rng, slip):
    """Cross-entropy with smoothed labels; the slip forgets the smoothing."""
    size = random_size(rng)
    one_hot = np.eye(4)[rng.integers(4, size=10)]
    Y = (1 - size) * one_hot + size / 4

    def f(Z):
        return -np.sum(Y * (Z - np.log(np.sum(np.exp(Z), axis=1, keepdims=True)))) / 10

    def formula(Z):
        P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
        return ((P - (one_hot if slip else Y)) / 10,)

    return Problem(f, (rng.standard_normal((10, 4)),), formula)


plant(smoothed, "smoothed labels", {"smoothing forgotten": None})


def residual(rng, slip):
    X = rng.standard_normal((8, 4))
    weights = rng.standard_normal((8, 4))
    arrays = rng.standard_normal((4, 4)) / 2, rng.standard_normal((4, 4)) / 2

    def f(W1, W2):
        H = X + np.tanh(X @ W1)
        return np.sum((H + np.tanh(H @ W2)) * weights)

    def formula(W1, W2):
        A1 = np.tanh(X @ W1)
        H = X + A1
        dZ2 = weights * (1 - np.tanh(H @ W2) ** 2)
        dH = dZ2 @ W2.T + (0 if slip == "the way past it forgotten" else weights)
        return X.T @ (dH * (1 - A1**2)), H.T @ dZ2

    return Problem(f, arrays, formula)


plant(residual, "residual layer", {"the way past it forgotten": None})


def weight_norm(rng, slip):
    X, weights = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))

    def f(V, s):
        return np.sum(np.tanh(X @ (V / np.sqrt(np.sum(V**2, axis=0)) * s)) * weights)

    def formula(V, s):
        length = np.sqrt((V**2).sum(axis=0))
        U = V / length
        dW = X.T @ (weights * (1 - np.tanh(X @ (U * s)) ** 2))
        ds = (dW * U).sum(axis=0)
        dV = s / length * (dW - (0 if slip == "not projected" else U * ds))
        return dV, ds

    return Problem(f, (rng.standard_normal((4, 3)), rng.uniform(0.5, 2, 3)), formula)


plant(weight_norm, "weight norm", {"not projected": None})


def where(rng, slip):
    mask = rng.random(12) < 0.5
    mask[:2] = True, False
    used = ~mask if slip == "mask upside down" else mask
    return Problem(
        lambda x, y: np.where(mask, np.sin(x), y**2),
        (rng.standard_normal(12), rng.standard_normal(12)),
        vjp=lambda g, x, y: (g * used * np.cos(x), g * ~used * 2 * y),
    )


plant(where, "where", {"mask upside down": None})


def product(rng, slip):
    """Product of rows, one element of which is zero."""
    x = rng.uniform(0.5, 2, (3, 4)) * rng.choice([-1, 1], (3, 4))
    x[1, 2] = 0.0

    def vjp(g, x):
        dx = np.empty_like(x)
        for k in range(4):
            dx[:, k] = g * np.prod(np.delete(x, k, axis=1), axis=1)
        if slip == "zero where an element is zero":
            dx[x == 0] = 0.0
        return (dx,)

    return Problem(lambda x: np.prod(x, axis=1), (x,), vjp=vjp)


plant(product, "product with a zero", {"zero where an element is zero": None})
