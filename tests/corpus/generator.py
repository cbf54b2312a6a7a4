"""As many cases as one likes: random functions, their gradients, and mistakes in them.

The right gradient is autograd's (HIPS); nothing here knows of the checker. A number
makes a case, the same each time. Functions are random expressions and random networks
with random activations, losses, regularisers, scales and points, on kinks too. A bug is
a mistake in the gradients, or one in the backward of some value in the middle; its size
is log-uniform from 1e-4 to 1.

A claim is a bug if an element of it is off by more than 1e-6 of itself, and by more than
1e-8 of what the whole function amounts to: nobody's numbers could tell less from
rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import autograd.numpy as recorded
import numpy as np
from autograd import make_vjp
from autograd.extend import defvjp, primitive

from corpus.case import Case, Problem, random_size

__all__ = ["case", "cast", "found", "keep", "true_gradients"]

WIDEST = 1e4


class Draw(NamedTuple):
    """A random function: ``forward(xp, tap, *arrays)``, and where it is looked at.

    ``xp`` is NumPy, or a library of its name-sakes. Every value in the middle goes
    through ``tap``.
    """

    forward: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    single: bool = False
    on_kinks: bool = False


# --- mistakes in the middle -----------------------------------------------------------


@primitive
def bent(x, bend):
    """Give x itself, and a wrong gradient: ``bend`` of the right one."""
    return x


defvjp(bent, lambda out, x, bend: bend, argnums=(0,))


class Tap:
    """Counts the values that go through it, and bends the gradient of one of them."""

    def __init__(self, place: int = -1, bend: Callable[..., Any] | None = None) -> None:
        self.place, self.bend, self.count = place, bend, 0

    def __call__(self, x):
        self.count += 1
        return bent(x, self.bend) if self.count - 1 == self.place else x


def keep(x):
    """Let a value pass as it is."""
    return x


def bends(rng):
    """Draw what may be done to the gradient of a value in the middle."""
    size = random_size(rng)
    kind = rng.choice(["factor", "sign", "part", "roll", "lost", "power", "noise"])
    seed = int(rng.integers(2**32))

    def part(g):
        share = np.random.default_rng(seed).random(np.shape(g)) < 0.3
        return g * (1 + size * share)

    def lost(g):
        share = np.random.default_rng(seed).random(np.shape(g)) < 0.3
        return g * ~share

    def noise(g):
        return g * (1 + size * np.random.default_rng(seed).standard_normal(np.shape(g)))

    return {
        "factor": lambda g: g * (1 + size),
        "sign": lambda g: -g,
        "part": part,
        "roll": lambda g: np.roll(g, 1, axis=-1) if np.ndim(g) else 2 * g,
        "lost": lost,
        "power": lambda g: g * float(rng_choice_of_factors(seed)),
        "noise": noise,
    }[kind]


def rng_choice_of_factors(seed):
    """Draw a factor that people forget or repeat."""
    return np.random.default_rng(seed).choice([2, 0.5, 3, 1 / 3, 16, 1 / 16, 0.8])


def spoils(rng, arrays, true, *, of_one_number):
    """Draw what may be done to the gradients in the end: a function of all of them.

    Clipping is a mistake for large gradients alone, so it is left out where the
    gradient's size is the checker's choice.
    """
    size = random_size(rng)
    place = int(rng.integers(len(arrays)))
    shares = [np.abs(t) for t in true]
    large = np.argwhere(shares[place] >= 0.01 * shares[place].max())
    index = tuple(rng.choice(large)) if large.size or shares[place].ndim == 0 else ()
    x = arrays[place]
    mean = np.abs(true[place]).mean()
    noise = rng.standard_normal(x.shape)
    kinds = [
        "all", "array", "element", "row", "sign", "turned", "rolled", "zero", "constant",
        "parameter", "noise", "clipped", "twice", "negated element",
    ]  # fmt: skip
    kind = rng.choice([k for k in kinds if k != "clipped" or of_one_number])

    def one(how):
        return lambda gs: [how(g) if k == place else g for k, g in enumerate(gs)]

    def at(where, factor):
        def how(g):
            g = np.array(g, float)
            g[where] = factor * g[where]
            return g

        return one(how)

    limit = (1 - 0.9 * size) * np.abs(true[place]).max()
    row = index[:1]
    return {
        "all": lambda gs: [(1 + size) * g for g in gs],
        "array": one(lambda g: (1 - size / 2) * g),
        "element": at(index, 1 + size),
        "row": at(row, 1 - size),
        "sign": one(lambda g: -g),
        "turned": one(
            lambda g: (
                g.T
                if g.ndim == 2 and g.shape[0] == g.shape[1]
                else g[::-1]
                if g.ndim
                else -g
            )
        ),
        "rolled": one(lambda g: np.roll(g, 1, axis=0) if g.ndim else 2 * g),
        "zero": one(lambda g: 0 * g),
        "constant": one(lambda g: g + size * mean),
        "parameter": one(lambda g: g + size * mean * x / (np.abs(x).mean() or 1)),
        "noise": one(lambda g: g * (1 + size * noise)),
        "clipped": one(lambda g: np.clip(g, -limit, limit)),
        "twice": one(lambda g: 2 * g),
        "negated element": at(index, -1),
    }[kind]


# --- random networks ------------------------------------------------------------------


def sigmoid(xp, x):
    return 0.5 * (1 + xp.tanh(0.5 * x))


def softplus(xp, x):
    return xp.maximum(x, 0) + xp.log(1 + xp.exp(-xp.abs(x)))


SMOOTH = {
    "tanh": lambda xp, x: xp.tanh(x),
    "sigmoid": sigmoid,
    "sine": lambda xp, x: xp.sin(3 * x),
    "swish": lambda xp, x: x * sigmoid(xp, x),
    "square": lambda xp, x: x**2 / (1 + xp.sqrt(1 + x**2)),
    "gaussian": lambda xp, x: xp.exp(-(x**2)),
    "softsign": lambda xp, x: x / xp.sqrt(1 + x**2),
    "log": lambda xp, x: xp.log(1 + x**2),
    "identity": lambda xp, x: x,
}
KINKED = {
    "relu": lambda xp, x: xp.maximum(0, x),
    "leaky": lambda xp, x: xp.maximum(0.1 * x, x),
    "abs": lambda xp, x: xp.abs(x),
    "hard": lambda xp, x: xp.minimum(0.777, xp.maximum(-0.777, x)),
    "elu": lambda xp, x: xp.maximum(0, x) + xp.exp(xp.minimum(0, x)) - 1,
}


def normalised(xp, Z, axis):
    centred = Z - xp.mean(Z, axis=axis, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred**2, axis=axis, keepdims=True) + 1e-3)


def loss_of(rng, m, c):
    """Draw a loss of outputs of shape (m, c)."""
    Y = rng.standard_normal((m, c))
    one_hot = np.eye(c)[rng.integers(c, size=m)]
    binary = (rng.random((m, c)) < 0.5) * 1.0
    signs = 2 * binary - 1

    def entropy(xp, Z):
        top = xp.max(Z, axis=1, keepdims=True)
        total = xp.log(xp.sum(xp.exp(Z - top), axis=1, keepdims=True)) + top
        return -xp.sum(one_hot * (Z - total)) / m

    losses = {
        "squares": lambda xp, Z: xp.mean((Z - Y) ** 2),
        "entropy": entropy,
        "logistic": lambda xp, Z: xp.mean(softplus(xp, Z) - binary * Z),
        "distance": lambda xp, Z: xp.mean(xp.abs(Z - Y)),
        "hinge": lambda xp, Z: xp.mean(xp.maximum(0, 1 - signs * Z)),
        "huber": lambda xp, Z: xp.mean(xp.sqrt(1 + (Z - Y) ** 2)),
        "sum": lambda xp, Z: xp.sum(Z * Y),
        "poisson": lambda xp, Z: xp.mean(xp.exp(xp.tanh(Z)) - binary * Z),
    }
    return losses[rng.choice(list(losses))]


def network(rng):  # noqa: C901 (much is drawn)
    """Draw a network of one to four layers, examples in rows, and a loss."""
    m, n, c = (int(rng.integers(*ends)) for ends in ((1, 20), (1, 8), (1, 5)))
    widths = [n, *(int(rng.integers(1, 9)) for _ in range(rng.integers(0, 4))), c]
    X = rng.standard_normal((m, n)) * 10 ** (
        2 * rng.uniform(-1, 1) * (rng.random() < 0.3)
    )
    if rng.random() < 0.15:
        X[rng.random(m) < 0.3] = 0.0
    biased = rng.random() < 0.8
    names = list(SMOOTH) if rng.random() < 0.5 else [*SMOOTH, *KINKED]
    activations = [
        (SMOOTH | KINKED)[name] for name in rng.choice(names, len(widths) - 2)
    ]
    norms = rng.choice([-1, -1, -1, 0, 1], len(widths) - 2)
    masks = [
        (rng.random((m, w)) < 0.7) / 0.7 if rng.random() < 0.2 else None
        for w in widths[1:-1]
    ]
    residual = rng.random() < 0.3
    decay = 10 ** rng.uniform(-4, 0) if rng.random() < 0.4 else 0.0
    lasso = rng.random() < 0.2
    scale = 10 ** rng.uniform(-8, 8) if rng.random() < 0.3 else 1.0
    shift = 10 ** rng.uniform(0, 4) if rng.random() < 0.1 else 0.0
    loss = loss_of(rng, m, c)
    wide = 10 ** rng.uniform(-1, 1) if rng.random() < 0.3 else 1.0
    arrays = []
    for before, after in pairwise(widths):
        arrays.append(wide * rng.standard_normal((before, after)) / np.sqrt(before))
        if biased:
            arrays.append(0.3 * rng.standard_normal(after))
    each = 2 if biased else 1

    def forward(xp, tap, *arrays):
        A = X
        for k in range(len(widths) - 1):
            Z = A @ arrays[each * k]
            if biased:
                Z = Z + arrays[each * k + 1]
            Z = tap(Z)
            if k == len(widths) - 2:
                break
            if norms[k] >= 0:
                Z = tap(normalised(xp, Z, int(norms[k])))
            Z = tap(activations[k](xp, Z))
            if masks[k] is not None:
                Z = Z * masks[k]
            A = Z + A if residual and Z.shape == A.shape else Z
        value = tap(loss(xp, Z))
        if decay:
            for W in arrays[::each]:
                value = value + decay * xp.sum(xp.abs(W) if lasso else W**2) / 2
        return scale * value + scale * shift

    return forward, arrays


def recurrent(rng):
    """Draw a recurrence of a few steps with one activation, and a loss."""
    steps, n, h = (int(rng.integers(*ends)) for ends in ((2, 12), (1, 4), (1, 6)))
    X = rng.standard_normal((steps, n))
    activation = (SMOOTH | KINKED)[rng.choice([*SMOOTH, *KINKED])]
    gated = rng.random() < 0.5
    weights = rng.standard_normal((steps, h))
    last = rng.random() < 0.5
    arrays = [
        0.7 * rng.standard_normal((n, h)),
        rng.uniform(0.2, 0.9) * rng.standard_normal((h, h)) / np.sqrt(h),
        0.3 * rng.standard_normal(h),
    ]

    def forward(xp, tap, U, W, b):
        state, total = np.zeros(h), 0.0
        for k in range(steps):
            new = tap(activation(xp, X[k] @ U + state @ W + b))
            if gated:
                gate = sigmoid(xp, new)
                new = tap(gate * new + (1 - gate) * state)
            state = new
            if k == steps - 1 or not last:
                total = total + xp.sum(xp.tanh(state) * weights[k])
        return total

    return forward, arrays


# --- random expressions ---------------------------------------------------------------


def unary(rng, x):
    """Draw a function of one array that is sane for such values."""
    shape, axis = x.shape, int(rng.integers(max(x.ndim, 1)))
    largest = np.abs(x).max(initial=0.0)
    constant = rng.standard_normal(shape)
    choices = [
        *SMOOTH.values(),
        *KINKED.values(),
        lambda xp, x: x * constant,
        lambda xp, x: xp.maximum(x, constant),
        lambda xp, x: xp.where(constant > 0, x, 2 * xp.sin(x)),
        softplus,
        lambda xp, x: 1 / (1 + x**2),
        lambda xp, x: (1 + x**2) ** 0.3,
        lambda xp, x: xp.arctan(x),
        lambda xp, x: xp.sum(x) * constant,
        lambda xp, x: xp.log(xp.sum(xp.exp(xp.tanh(x)))) + x,
    ]
    if largest < 5:
        choices.append(lambda xp, x: xp.exp(x))
        choices.append(lambda xp, x: xp.sinh(x))
    if x.ndim:
        k = shape[axis]
        picked = rng.integers(0, k, k + 1)
        choices += [
            lambda xp, x: xp.cumsum(x, axis=axis),
            lambda xp, x: xp.sum(x, axis=axis, keepdims=True),
            lambda xp, x: xp.mean(x, axis=axis, keepdims=True),
            lambda xp, x: x - xp.mean(x, axis=axis, keepdims=True),
            lambda xp, x: xp.max(x, axis=axis, keepdims=True),
            lambda xp, x: x[..., ::-1],
            lambda xp, x: x.T,
            lambda xp, x: xp.reshape(x, (-1,)),
            lambda xp, x: normalised(xp, x, axis),
            lambda xp, x: (
                xp.exp(xp.tanh(x))
                / xp.sum(xp.exp(xp.tanh(x)), axis=axis, keepdims=True)
            ),
            lambda xp, x: x[picked] if axis == 0 else x,
        ]
        W = rng.standard_normal((shape[-1], int(rng.integers(1, 5))))
        choices.append(lambda xp, x: x @ W)
    return choices[rng.integers(len(choices))]


def binary(rng, x, y):
    """Draw a function of two arrays; None where their shapes do not fit."""
    choices = []
    if x.ndim and y.ndim == 2 and x.shape[-1] == y.shape[0]:
        choices += 3 * [lambda xp, x, y: x @ y]
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        shape = None
    if shape is not None and int(np.prod(shape)) <= 60:
        mask = rng.random(shape) < 0.5
        choices += [
            lambda xp, x, y: x + y,
            lambda xp, x, y: x - y,
            lambda xp, x, y: x * y,
            lambda xp, x, y: x / (1 + y**2),
            lambda xp, x, y: xp.maximum(x, y),
            lambda xp, x, y: xp.minimum(x, y),
            lambda xp, x, y: xp.sqrt(x**2 + y**2 + 0.01),
            lambda xp, x, y: xp.where(mask, x + 0 * y, y + 0 * x),
            lambda xp, x, y: (1 + x**2) ** xp.tanh(y),
            lambda xp, x, y: xp.tanh(x) * xp.cos(y),
        ]
    if x.ndim == 1 and y.ndim == 1:
        choices.append(lambda xp, x, y: xp.concatenate([x, y]))
        if x.size * y.size <= 60:
            choices.append(lambda xp, x, y: xp.reshape(x, (-1, 1)) * y)
    return choices[rng.integers(len(choices))] if choices else None


def expression(rng):
    """Draw an expression of three to twelve steps over one to three arrays."""
    n, k = (int(i) for i in rng.integers(1, 5, 2))
    shapes = [(n,), (k,), (n, k), (n, 1), (1, k), (k, n), (), (2, n, k), (n, n)]
    scale = 10 ** rng.uniform(-8, 8) if rng.random() < 0.2 else 1.0
    arrays = [
        rng.standard_normal(shapes[rng.integers(len(shapes))])
        for _ in range(rng.integers(1, 4))
    ]
    values, steps = list(arrays), []
    for _ in range(int(rng.integers(3, 13))):
        # Mostly what was made last, so that the expression is deep.
        i = len(values) - 1 if rng.random() < 0.6 else int(rng.integers(len(values)))
        j = int(rng.integers(len(values)))
        two = binary(rng, values[i], values[j]) if rng.random() < 0.5 else None
        function = two or unary(rng, values[i])
        places = (i, j) if two else (i,)
        value = np.asarray(function(np, *(values[p] for p in places)))
        if value.size > 60 or np.abs(value).max(initial=0.0) > WIDEST:
            continue
        values.append(value)
        steps.append((function, places))
    used = len(values) - len(arrays)
    weights = [rng.standard_normal(v.shape) for v in values[: len(arrays)]]
    total = rng.random() < 0.5
    output = rng.standard_normal(values[-1].shape)

    def forward(xp, tap, *arrays):
        found = list(arrays)
        for function, places in steps:
            found.append(tap(function(xp, *(found[p] for p in places))))
        # Every array has a part in it, be it a small one.
        rest = sum(xp.sum(xp.sin(x) * w) for x, w in zip(arrays, weights, strict=True))
        last = found[-1] if used else xp.sin(found[-1])
        value = xp.sum(last * output) if total else last
        return scale * (value + 0.1 * rest)

    return forward, arrays


# --- cases ----------------------------------------------------------------------------


def draw(rng):
    """Draw a function and a point."""
    kind = rng.choice(["network", "network", "recurrent", "expression", "expression"])
    forward, arrays = globals()[kind](rng)
    point = rng.choice(
        ["generic", "rounded", "zero", "scaled"], p=[0.75, 0.1, 0.05, 0.1]
    )
    if point == "rounded":
        arrays = [np.round(x) / 2 for x in arrays]
    if point == "zero":
        k = int(rng.integers(len(arrays)))
        arrays[k] = 0 * arrays[k]
    if point == "scaled":
        k = int(rng.integers(len(arrays)))
        factor = 10 ** rng.uniform(-8, 8)
        arrays[k] = arrays[k] * factor
        whole = forward
        forward = lambda xp, tap, *xs: whole(
            xp, tap, *(x / factor if i == k else x for i, x in enumerate(xs))
        )
    single = bool(rng.random() < 0.03)
    arrays = tuple(np.asarray(x, float) for x in arrays)
    return Draw(forward, arrays, single, on_kinks=point in {"rounded", "zero"})


def cast(drawn, arrays):
    """Round to single precision where the draw says so."""
    if not drawn.single:
        return tuple(arrays)
    return tuple(x.astype(np.float32).astype(float) for x in arrays)


def value_of(drawn, *arrays):
    """Evaluate with NumPy, in single precision where the draw says so."""
    if drawn.single:
        arrays = tuple(x.astype(np.float32) for x in arrays)
    return drawn.forward(np, keep, *arrays)


def true_gradients(drawn, arrays, g, tap=keep):
    """Gradients of g · f by HIPS autograd.

    A function that casts its arrays to single precision is looked at where they are
    then: a weight that was rounded changes the gradients of the others, in a deep
    network by more than the resolution.
    """
    arrays = cast(drawn, arrays)
    with np.errstate(all="ignore"):
        pull, value = make_vjp(lambda xs: drawn.forward(recorded, tap, *xs))(
            tuple(arrays)
        )
        return [
            np.asarray(x) for x in pull(np.asarray(g, float).reshape(np.shape(value)))
        ]


def scale_of(x):
    mean = np.sqrt(np.mean(np.square(x))) if x.size else 0.0
    return np.where(x == 0, mean or 1.0, np.abs(x))


def between_slopes(drawn, g, claim, rng):
    """Whether claims lie between the slopes on both sides, along axes and at random."""
    arrays = drawn.arrays
    count = sum(x.size for x in arrays)
    ends = np.cumsum([x.size for x in arrays])[:-1]
    flat = np.concatenate([c.ravel() for c in claim])
    scale = np.concatenate([scale_of(x).ravel() for x in arrays])
    largest = np.max(np.abs(flat) * scale, initial=0.0)
    axes = np.eye(count)[rng.permutation(count)[:30]]
    for way in (*axes, *rng.uniform(-1, 1, (8, count))):
        parts = np.split(way * scale, ends)
        slopes = []
        for sign in (-1e-9, 1e-9):
            moved = [
                x + sign * p.reshape(x.shape)
                for x, p in zip(arrays, parts, strict=True)
            ]
            found = true_gradients(drawn, moved, g)
            slopes.append(np.concatenate([t.ravel() for t in found]) @ (way * scale))
        room = 1e-6 * max(np.abs(slopes)) + 1e-8 * largest
        if not min(slopes) - room <= flat @ (way * scale) <= max(slopes) + room:
            return False
    return True


def wrong_enough(drawn, claim, true, size):
    """Whether a claim is a bug, in the sense of the head of this file."""
    shares = [np.abs(t) * scale_of(x) for t, x in zip(true, drawn.arrays, strict=True)]
    largest = max(np.max(s, initial=0.0) for s in shares)
    relative, absolute = (0.1, 0.1) if drawn.single else (1e-6, 1e-8)
    for c, t, x in zip(claim, true, drawn.arrays, strict=True):
        off = np.abs(c - t)
        least = absolute * max(size, largest)
        if np.any((off > relative * np.abs(t)) & (off * scale_of(x) > least)):
            return True
    return False


def sane(drawn, g, value, true):
    """Whether there is something to judge: finite, and not everywhere flat."""
    if not np.isfinite(value).all() or not all(np.isfinite(t).all() for t in true):
        return False
    size = np.sum(np.abs(value * g))
    shares = [np.max(np.abs(t) * scale_of(x), initial=0.0)
              for t, x in zip(true, drawn.arrays, strict=True)]  # fmt: skip
    return max(shares) > 1e-6 * size


def attempt(rng, *, wrong):
    """Draw a function, a cotangent and a problem; None where the draw is no good."""
    drawn = draw(rng)
    with np.errstate(all="ignore"):
        value = np.asarray(value_of(drawn, *drawn.arrays))
    g = rng.standard_normal(value.shape) if value.ndim else np.ones(())
    true = true_gradients(drawn, drawn.arrays, g)
    if not sane(drawn, g, value, true):
        return None
    if drawn.on_kinks and not between_slopes(drawn, g, true, rng):
        return None

    def claim(g, arrays):
        return true_gradients(drawn, arrays, g)

    if wrong:
        if rng.random() < 0.5:
            bend, counted = bends(rng), Tap()
            drawn.forward(np, counted, *drawn.arrays)
            place = int(rng.integers(counted.count))
            claim = lambda g, arrays: true_gradients(drawn, arrays, g, Tap(place, bend))
        else:
            spoil = spoils(rng, drawn.arrays, true, of_one_number=not value.ndim)
            claim = lambda g, arrays: spoil(true_gradients(drawn, arrays, g))
        claims = claim(g, drawn.arrays)
        size = float(np.sum(np.abs(value * g)))
        if not wrong_enough(drawn, claims, true, size):
            return None
    f = lambda *arrays: value_of(drawn, *arrays)
    problem = Problem(f, drawn.arrays, vjp=lambda g, *arrays: tuple(claim(g, arrays)))
    if not value.ndim:
        one = np.ones(())
        problem = Problem(f, drawn.arrays, lambda *arrays: tuple(claim(one, arrays)))
    return drawn, g, problem


def found(number: int, *, wrong: bool) -> tuple[Draw, np.ndarray, Problem]:
    """Draw until a draw is good."""
    for trial in range(1000):
        rng = np.random.default_rng([number, wrong, trial])
        good = attempt(rng, wrong=wrong)
        if good is not None:
            return good
    raise AssertionError(number)


def case(number: int, *, wrong: bool) -> Case:
    """Make the case of a number: a bug or a right gradient, the same each time."""
    kind = "structural" if wrong else "right"
    return Case(
        f"generated {number}, {'a bug' if wrong else 'right'}",
        kind,
        lambda rng: found(number, wrong=wrong)[2],
    )
