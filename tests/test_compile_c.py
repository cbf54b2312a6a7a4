"""Backend c: every op, whole steps, and what numbers mean, held to eager."""

from __future__ import annotations

import gc
import itertools
import linecache
import threading
import weakref

import numpy as np
import pytest
import test_ops
from members.rows import READS_VALUES

import tinygrad_nn as tg
from tinygrad_nn.compiler.blas import Blas
from tinygrad_nn.compiler.c import groups
from tinygrad_nn.compiler.c.layout import is_view
from tinygrad_nn.compiler.optimise import optimised
from tinygrad_nn.compiler.toolchain import find_compiler
from tinygrad_nn.errors import (
    CompileError,
    DivergedError,
    MissingExtraError,
)
from tinygrad_nn.op import REGISTRY
from tinygrad_nn.rewriting.program import operands


def _compiler_is_missing():
    try:
        find_compiler()
    except MissingExtraError:
        return True
    return False


pytestmark = pytest.mark.skipif(
    _compiler_is_missing(), reason="the C backend needs a C compiler; none was found"
)

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}


def in_c(function, **options):
    return tg.compile(function, backend="c", **options)


def close(got, wanted, tolerance=None):
    """Hold a value to another: nan at the same places, infinities the same."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    if wanted.dtype.kind != "f":
        assert np.array_equal(got, wanted)
        return
    finite = np.isfinite(wanted)
    assert np.array_equal(np.isnan(got), np.isnan(wanted))
    assert np.array_equal(got[~finite], wanted[~finite], equal_nan=True)
    scale = np.max(np.abs(wanted[finite]), initial=0.0) or 1.0
    worst = np.max(np.abs(got[finite] - wanted[finite]), initial=0.0)
    allowed = TOLERANCE.get(wanted.dtype, 1e-2) if tolerance is None else tolerance
    assert worst <= allowed * scale, f"{worst / scale} apart: {got} is not {wanted}"


def value_of(x):
    return x.numpy() if isinstance(x, tg.Tensor) else np.asarray(x)


# --- every op --------------------------------------------------------------------


def _chunks(members, count):
    return [members[i::count] for i in range(count)]


def _sampled(member, rng, dtype):
    arrays = [
        a.astype(dtype) if a.dtype == np.float64 else a for a in member.sample.draw(rng)
    ]
    found = np.asarray(member.plain(*arrays))
    g = rng.standard_normal(found.shape)
    kind = found.dtype if found.dtype.kind == "f" else dtype
    return arrays, np.asarray(g, kind)


def _both_ways(members, rng, dtype):
    """Return a function of all members' operands: values and gradients of each."""
    drawn = [_sampled(member, rng, dtype) for member in members]
    flat = [array for arrays, _ in drawn for array in arrays]

    def function(*given):
        rest = list(given)
        out = []
        for member, (arrays, g) in zip(members, drawn, strict=True):
            here, rest = rest[: len(arrays)], rest[len(arrays) :]

            def scalar(*operands, member=member, g=g):
                y = member.value(*operands)
                return tg.sum(y * g)

            y = member.value(*here)
            out.append(y)
            floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
            differentiable = member.op is None or member.op.differentiable
            if floats and differentiable:
                out += list(tg.grad(scalar, argnums=tuple(floats))(*here))
        return out

    return function, flat


MEMBERS = [m for m in test_ops.MEMBERS if m.name not in {"uniform", *READS_VALUES}]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("part", range(6))
def test_ops(part, dtype, rng):
    """Values and gradients of every op at every sample are those of eager."""
    members = MEMBERS[part::6]
    function, arrays = _both_ways(members, rng, dtype)
    step = in_c(function)
    tensors = [tg.Tensor(a) for a in arrays]
    wanted = function(*tensors)
    for _ in range(2):
        found = step(*arrays)
        assert len(found) == len(wanted)
        for got, want in zip(found, wanted, strict=True):
            close(value_of(got), value_of(want))


def test_members():
    """All ops of the registry are among the members, but for random numbers."""
    ours = {name for name in REGISTRY if hasattr(tg.ops, name)}
    assert ours - {m.name for m in MEMBERS} == {"uniform"}


# --- whole steps -----------------------------------------------------------------


def twins(make):
    """Return an eager step and a compiled one, with their parameters and optimisers."""
    eager, compiled = make(), make()
    return eager, (in_c(compiled[0]), *compiled[1:])


def hold(make, arguments, steps=20, tolerance=None, *, in_c_alone=True):
    """Hold each of some steps to eager: results, parameters, gradients, states."""
    (f, parameters, optimizer), (g, ours, other) = twins(make)
    for i in range(steps):
        want, got = f(*arguments()), g(*arguments())
        if i == 0 and in_c_alone:
            assert "(*)(void)" not in g.source, "Python computes a part of it"
        close(value_of(got), value_of(want), tolerance)
        same_state(ours, parameters, other, optimizer, tolerance)
    return g


def same_state(ours, theirs, other, optimizer, tolerance=None):
    for a, b in zip(ours, theirs, strict=True):
        close(a.data, b.data, tolerance)
        if b.grad is None:
            assert a.grad is None
        else:
            close(a.grad, b.grad, tolerance)
    assert other.steps == optimizer.steps
    for a, b in zip(other._states, optimizer._states, strict=True):
        for x, y in zip(a, b, strict=True):
            close(x, y, tolerance)


def columns(sizes, hidden, seed=0, lr=0.1):
    """Return a maker of the tutorials' network, examples in columns."""

    def make():
        rng = np.random.default_rng(seed)
        parameters = []
        for i, (n, m) in enumerate(itertools.pairwise(sizes)):
            W = rng.standard_normal((m, n)) / np.sqrt(n)
            parameters += [
                tg.Parameter(W, name=f"W{i}"),
                tg.Parameter(np.full((m, 1), 0.1), name=f"b{i}"),
            ]
        optimizer = tg.optim.SGD(parameters, lr=lr)

        def step(X, Y):
            A = X
            for i in range(0, len(parameters), 2):
                Z = np.dot(parameters[i], A) + parameters[i + 1]
                A = hidden(Z) if i < len(parameters) - 2 else 1 / (1 + np.exp(-Z))
            cost = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
            optimizer.minimize(cost)
            return cost

        return step, parameters, optimizer

    return make


def labelled(n, features, seed=1, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((features, n)).astype(dtype)
    Y = (rng.random((1, n)) < 0.5).astype(dtype)
    return X, Y


@pytest.mark.parametrize("n", [1, 3, 400, 1000])
def test_flower(n):
    """A tanh network with examples in columns, at sizes below and above a block."""
    X, Y = labelled(n, 2)
    hold(columns((2, 4, 1), np.tanh), lambda: (X, Y))


@pytest.mark.parametrize("sizes", [(4, 5, 4, 3, 1), (3, 17, 9, 1), (300, 5, 1)])
def test_weather(sizes):
    """A relu network, also with layers wider than a tile and features beyond a cache."""
    X, Y = labelled(777, sizes[0])
    hold(columns(sizes, lambda Z: np.maximum(0, Z), lr=0.02), lambda: (X, Y))


def rows(sizes, optimizer, dtype=np.float64, dropout=0.0):
    """Return a maker of a softmax network of layers, examples in rows."""

    def make():
        rng = np.random.default_rng(3)
        layers = []
        for n, m in itertools.pairwise(sizes):
            layers += [tg.nn.Dense(n, m, rng=rng), tg.nn.ReLU()]
            if dropout:
                layers.append(tg.nn.Dropout(dropout, rng=np.random.default_rng(5)))
        model = tg.nn.Sequential(*layers[: -2 if dropout else -1])
        parameters = list(model.parameters())
        for p in parameters:
            p.data = p.data.astype(dtype)
        opt = optimizer(parameters)

        def step(X, Y):
            loss = tg.losses.cross_entropy(model(X), Y)
            opt.minimize(loss)
            return loss

        return step, parameters, opt

    return make


def classes(n, features, k, dtype=np.float64, one_hot=True):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, features)).astype(dtype)
    labels = rng.integers(k, size=n)
    return X, np.eye(k, dtype=dtype)[labels] if one_hot else labels


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("sizes", [(20, 40, 32, 10), (5, 3, 4)])
def test_softmax_adam(sizes, one_hot):
    """Softmax, Adam and float32, with products in loops and in the BLAS."""
    X, Y = classes(64, sizes[0], sizes[-1], np.float32, one_hot)
    make = rows(sizes, lambda p: tg.optim.Adam(p, lr=0.01), np.float32)
    hold(make, lambda: (X, Y), 5, 1e-4, in_c_alone=one_hot)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: tg.optim.SGD(
            p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
        ),
        lambda p: tg.optim.AdamW(p, lr=0.01),
        lambda p: tg.optim.RMSProp(p, lr=0.01),
        lambda p: tg.optim.Adam(p, lr=lambda step: 0.1 / (1 + step)),
    ],
)
def test_optimisers(optimizer):
    """States, counts and schedules advance as they do eagerly."""
    X, Y = classes(50, 6, 3)
    hold(rows((6, 7, 3), optimizer), lambda: (X, Y))


def test_dropout():
    """Random numbers come from the same generator, drawn by Python."""
    X, Y = classes(30, 6, 3)
    make = rows((6, 8, 3), lambda p: tg.optim.SGD(p, lr=0.1), dropout=0.4)
    hold(make, lambda: (X, Y), in_c_alone=False)


def test_arguments_of_any_layout():
    """Strided, reversed, read-only and unaligned arguments, new ones at each call."""
    X, Y = labelled(60, 2)
    plain = np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(np.float64)
    unaligned = plain.reshape(X.shape)
    assert not unaligned.flags.aligned
    locked = X.copy()
    locked.flags.writeable = False
    shapes = [np.asfortranarray(X), X[:, ::-1][:, ::-1], unaligned, locked]
    shapes.append(np.repeat(X, 2, axis=1)[:, ::2])
    turn = iter(shapes * 4)
    current = []

    def arguments():
        if not current:
            current.extend([next(turn)] * 2)
        return current.pop(), Y

    hold(columns((2, 4, 1), np.tanh), arguments, steps=10)


def test_parameters_of_any_layout():
    """A parameter in Fortran order, a view, or rebound between calls is written to."""

    def make():
        rng = np.random.default_rng(0)
        W = tg.Parameter(np.asfortranarray(rng.standard_normal((3, 4))), name="W")
        base = rng.standard_normal((4, 6))
        v = tg.Parameter(base[:, ::2], name="v")
        v.data = base[:, ::2]
        optimizer = tg.optim.SGD([W, v], lr=0.1)

        def step(x):
            loss = tg.sum((x @ W @ v) ** 2)
            optimizer.minimize(loss)
            return loss

        return step, [W, v], optimizer

    x = np.random.default_rng(1).standard_normal((5, 3))
    (f, theirs, a), (g, ours, b) = twins(make)
    for i in range(6):
        if i == 3:
            for p in (theirs[0], ours[0]):
                p.data = np.array(p.data, order="C") * 2
        array = ours[1].data
        close(value_of(g(x)), value_of(f(x)))
        assert ours[1].data is array
        same_state(ours, theirs, b, a)


def test_interleaved():
    """Eager and compiled steps take turns on one model."""
    X, Y = labelled(40, 2)
    (f, theirs, a), _ = twins(columns((2, 4, 1), np.tanh))
    step, ours, b = columns((2, 4, 1), np.tanh)()
    compiled = in_c(step)
    for i in range(12):
        close(value_of((compiled if i % 3 else step)(X, Y)), value_of(f(X, Y)))
        same_state(ours, theirs, b, a)


def test_learning_rate_is_read_anew():
    """A learning rate that was changed is the one of the next step."""
    X, Y = labelled(40, 2)
    (f, theirs, a), (g, ours, b) = twins(columns((2, 4, 1), np.tanh))
    for lr in (0.1, 0.5, 0.0, 0.01):
        a.lr = b.lr = lr
        close(value_of(g(X, Y)), value_of(f(X, Y)))
        same_state(ours, theirs, b, a)


def test_results_are_fresh():
    """A result is an array of its own, also one that is a parameter or an argument."""
    w = tg.Parameter([1.0, 2.0, 3.0], name="w")
    step = in_c(lambda x: (w * 1.0, w, x, x.T[::-1], w + x))
    x = np.arange(3.0)
    first, second = step(x), step(x)
    for a, b in zip(first, second, strict=True):
        assert not np.shares_memory(value_of(a), value_of(b))
        assert not np.shares_memory(value_of(a), w.data)
        assert not np.shares_memory(value_of(a), x)
        close(value_of(a), value_of(b))
    close(value_of(first[3]), x[::-1])


def test_swap():
    """Values that replace each other are read before they are written."""
    a = tg.Parameter([1.0, 2.0], name="a")
    b = tg.Parameter([3.0, 4.0], name="b")

    def step(x):
        with tg.no_grad():
            old = a * 1
            a.data = b + 0 * x
            b.data = old
        return x

    in_c(step)(np.zeros(2))
    close(a.data, np.array([3.0, 4.0]))
    close(b.data, np.array([1.0, 2.0]))


# --- what numbers mean -----------------------------------------------------------


def test_nan_and_inf():
    """nan, infinities, denormal numbers and signs of zero go through as in NumPy."""
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-310, 1e308, -2.0] * 3)
    y = np.roll(x, 4)

    def f(x, y):
        return [
            *[tg.maximum(x, y), tg.minimum(x, y), tg.maximum(x, 0), tg.minimum(0.5, x)],
            *[tg.relu(x), abs(x), -x, x * y, x + y, x / y, tg.sign(x), tg.sqrt(x)],
            *[tg.exp(x), tg.log(x), tg.tanh(x), tg.log1p(x), tg.expm1(x), tg.sin(x)],
            *[tg.where(x > y, x, y), x > y, x <= y, tg.equal(x, y), tg.isnan(x)],
            *[tg.logical_and(x, y), tg.sigmoid(x), tg.softplus(x), x**y, x * (y > 0)],
            *[tg.max(x), tg.min(y), tg.max(x.reshape(3, 9), 0), tg.sum(x[4:9])],
            *[tg.min(x.reshape(3, 9), 1), tg.prod(x[3:8]), tg.astype(x > 0, float)],
        ]

    with np.errstate(all="ignore"):
        wanted = f(tg.Tensor(x), tg.Tensor(y))
        step = in_c(f)
        found = step(x, y)
    for i, (got, want) in enumerate(zip(found, wanted, strict=True)):
        got, want = value_of(got), value_of(want)
        close(got, want)
        if i not in (12, 17, 24, 25, 26) and want.dtype.kind == "f":  # signs of zeros
            assert np.array_equal(
                np.signbit(got[want == 0]), np.signbit(want[want == 0])
            )


def test_denormals_stay():
    """Loading the library flushes nothing to zero, here or in NumPy."""
    step = in_c(lambda x: x * 0.5)
    assert value_of(step(np.full(9, 1e-323)))[0] == 5e-324
    assert np.array([1e-323])[0] * 0.5 == 5e-324


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64", "bool"])
def test_whole_numbers(dtype):
    """Whole numbers wrap, promote and compare as in NumPy."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2 if dtype == "bool" else 120, (4, 5)).astype(dtype)
    y = rng.integers(0, 2 if dtype == "bool" else 120, (4, 5)).astype(dtype)

    def f(x, y):
        out = [x + y, x * y, tg.maximum(x, y), x > y, tg.equal(x, y), tg.sum(x)]
        out += [tg.sum(x, 0), x / (y + 1), tg.exp(x), x @ y.T, tg.where(x > y, x, y)]
        out += [tg.astype(x, np.float32), tg.astype(x * 1.5, np.int32), tg.max(x, 0)]
        if dtype != "bool":
            out += [x - y, -x, abs(x), x * 2, x**2, tg.prod(x, 0), tg.sign(x)]
        return out

    with np.errstate(all="ignore"):
        wanted = f(tg.Tensor(x), tg.Tensor(y))
        found = in_c(f)(x, y)
    for got, want in zip(found, wanted, strict=True):
        close(value_of(got), value_of(want))


def test_half():
    """float16 is left to Python, and is as it is eagerly."""
    x = np.linspace(-2, 2, 12, dtype=np.float16).reshape(3, 4)
    f = lambda x: [tg.exp(x) * 2, tg.sum(x * x, 1), x @ x.T, tg.where(x > 0, x, 0)]
    for got, want in zip(in_c(f)(x), f(tg.Tensor(x)), strict=True):
        close(value_of(got), value_of(want))


def test_long_sums():
    """A sum of many numbers of float32 keeps its digits, however they round."""
    random = np.random.default_rng(0).random(1_000_003, np.float32)
    alike = np.full(1_000_003, 0.1, np.float32)  # each rounds to the same side
    step = in_c(lambda x: [tg.sum(x), tg.mean(x), tg.sum(x * x)])
    for x in (random, alike):
        wide = x.astype(np.float64)
        truths = np.sum(wide), np.mean(wide), np.sum((x * x).astype(np.float64))
        for got, truth in zip(step(x), truths, strict=True):
            close(value_of(got).astype(float), truth, 1e-6)


def test_tails_have_all_their_digits():
    """A tanh, a sigmoid and its logarithm are right to a few last places, anywhere."""
    rng = np.random.default_rng(0)
    small = rng.choice([-1, 1], 500) * 10.0 ** rng.uniform(-300, 0, 500)
    ends = [0.0, -0.0, 5e-324, 700.0, -700.0, 1000.0, -1000.0, np.inf, -np.inf, np.nan]
    z = np.concatenate(
        [ends, small, rng.normal(0, 1, 500), rng.uniform(-700, 700, 500)]
    )
    step = in_c(lambda z: [tg.tanh(z), tg.sigmoid(z), tg.log_sigmoid(z)])
    with np.errstate(all="ignore"):
        found = [value_of(x) for x in step(z)]
        wide = z.astype(np.longdouble)
        sigmoid = np.where(z < 0, np.exp(wide), 1) / (1 + np.exp(-np.abs(wide)))
        log_sigmoid = np.minimum(wide, 0) - np.log1p(np.exp(-np.abs(wide)))
    for got, truth in zip(found, [np.tanh(wide), sigmoid, log_sigmoid], strict=True):
        rounded = truth.astype(float)
        finite = np.isfinite(rounded)
        assert np.array_equal(got[~finite], rounded[~finite], equal_nan=True)
        apart = np.abs(got[finite] - truth[finite])
        assert np.all(apart <= 8 * np.spacing(np.abs(rounded[finite])))
    assert np.array_equal(np.signbit(found[0][z == 0]), np.signbit(z[z == 0]))


def test_a_sigmoid_beside_its_logarithm_costs_no_exponential():
    """Where exp(-|z|) is there, the sigmoid is a quotient, and its logarithm short."""
    source = step_source(lambda z: [tg.sigmoid(z), tg.log_sigmoid(z)])
    assert source.count("= exp(") == 1
    assert "= log1p_of(" in source
    assert "= log1p(" in step_source(tg.log1p)  # of anything, all of the line


def test_what_looks_like_a_sigmoid_is_none():
    """A quotient stands for a sigmoid of one number, not for one of two."""

    def f(x, y):
        odds = np.exp(np.minimum(x, 0) - np.maximum(y, 0))
        rest = np.log1p(odds * 1.0)  # what is recorded is not taken for a softplus
        return [rest, np.exp(np.minimum(x, 0) - rest)]

    x, y = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1.0, -3.0, 0.5, -2.0])
    for got, want in zip(in_c(f)(x, y), f(x, y), strict=True):
        close(value_of(got), want)


def step_source(f):
    """Return the C text of a function of five numbers."""
    return in_c(f).trace(np.linspace(0, 1, 5)).source


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [7, 1200])
@pytest.mark.parametrize("m", [1, 5, 9])
def test_sums_beside_a_product(m, n, dtype, rng):
    """Sums of what a product's loop goes on with are kept in it, over any axes."""
    W, X = (rng.standard_normal(shape).astype(dtype) for shape in [(m, 3), (3, n)])

    def f(W, X):
        A = tg.tanh(W @ X)
        B = tg.tanh(X.T @ W.T)  # examples are rows
        kept = [tg.sum(A, 1), tg.sum(A, 0), tg.sum(A), tg.sum(A * A, 1, keepdims=True)]
        return [*kept, tg.sum(B, 0), tg.sum(B, 1), tg.sum(B), tg.max(A, 1), A, B]

    step = in_c(f)
    for _ in range(2):
        for got, want in zip(step(W, X), f(tg.Tensor(W), tg.Tensor(X)), strict=True):
            close(value_of(got), value_of(want), 1e-5 if dtype == np.float32 else 1e-12)


# --- checks, blame, careful ways -------------------------------------------------


def test_careful():
    """Where 0 meets an infinity, gradients are those of eager, and so are parameters."""

    def make():
        w = tg.Parameter([0.0, 1.0, 2.0], name="w")
        optimizer = tg.optim.SGD([w], lr=0.1)

        def step(x):
            loss = tg.sum(tg.where(x > 0, tg.log(x * w), 0.0))
            optimizer.minimize(loss)
            return loss

        return step, [w], optimizer

    with np.errstate(all="ignore"):
        hold(make, lambda: (np.array([-1.0, 1.0, 2.0]),), 3)
        hold(make, lambda: (np.array([0.0, 1.0, 2.0]),), 3)


def test_nan_that_hides():
    """A nan among what relu chose from goes the careful way, as in eager."""

    def make():
        w = tg.Parameter([0.5, 1.0, -2.0], name="w")
        optimizer = tg.optim.SGD([w], lr=0.1)

        def step(x):
            loss = tg.sum(tg.relu(w * x))
            optimizer.minimize(loss)
            return loss

        return step, [w], optimizer

    with np.errstate(all="ignore"):
        hold(make, lambda: (np.array([np.nan, np.inf, 1.0]),), 2)


@pytest.mark.parametrize("computed", [True, False])
@pytest.mark.parametrize("name", ["where", "getitem", "max"])
def test_a_nan_that_nobody_chose(name, computed):
    """A nan that was not picked goes the careful way, though no operation is invalid."""

    def make():
        w = tg.Parameter([0.5, 1.0, -2.0], name="w")
        v = tg.Parameter([0.5, np.nan, -2.0], name="v")
        optimizer = tg.optim.SGD([w, v], lr=0.1)
        choose = {
            "where": lambda y, mask: tg.where(mask, y, 0.0),
            "getitem": lambda y, mask: y[::2],
            "max": lambda y, mask: tg.max(y[::2]),
        }[name]

        def step(x, mask):
            y = w * x if computed else v
            loss = tg.sum(choose(y, mask)) + tg.sum(w) + tg.sum(v * mask)
            optimizer.minimize(loss)
            return loss

        return step, [w, v], optimizer

    with np.errstate(all="ignore"):
        arguments = np.array([1.0, np.nan, 3.0]), np.array([True, False, True])
        hold(make, lambda: arguments, 3, in_c_alone=False)


def test_no_needless_care():
    """Ordinary numbers never set the flag that leads to the careful program."""
    X, Y = labelled(777, 4)
    step = hold(columns((4, 5, 4, 3, 1), lambda Z: np.maximum(0, Z)), lambda: (X, Y), 5)
    assert step._last.selects
    assert step._last.careful is None


def test_check_finite():
    """The node that first gave an infinity is named, with its line."""
    w = tg.Parameter([1.0, 2.0], name="w")

    def f(x):
        y = w * x
        z = np.exp(y)  # here
        return tg.sum(z * 0.5)

    step = in_c(f, check_finite=True)
    step(np.ones(2))
    with pytest.raises(DivergedError, match=r"exp.*test_compile_c"):
        step(np.array([1.0, 1e6]))
    with pytest.raises(DivergedError, match="multiply"):
        step(np.array([1.0, np.nan]))


def test_check_finite_of_a_small_product():
    """A product and what follows from its elements are checked, each by its name."""
    W = tg.Parameter(np.ones((3, 1)), name="W")

    def f(x):
        return tg.sum(np.exp(tg.matmul(x, W) + 1.0))

    step = in_c(f, check_finite=True)
    step(np.ones((20, 3)))
    with pytest.raises(DivergedError, match=r"matmul.*test_compile_c"):
        step(np.full((20, 3), np.inf))
    with pytest.raises(DivergedError, match="exp"):
        step(np.full((20, 3), 1e3))


def test_check_refuses_before_the_update():
    """A check of labels raises, and leaves the model as it was."""
    step, parameters, optimizer = rows((4, 3), lambda p: tg.optim.SGD(p, lr=0.1))()
    X, labels = classes(10, 4, 3, one_hot=False)
    compiled = in_c(step)
    compiled(X, labels)
    before = [p.data.copy() for p in parameters]
    with pytest.raises(Exception, match="class"):
        compiled(X, labels + 5)
    assert optimizer.steps == 1
    for p, b in zip(parameters, before, strict=True):
        assert np.array_equal(p.data, b)


def test_blame():
    """An op that Python computes is named with its line when it fails."""
    step = in_c(lambda x, i: x[i])
    x = np.arange(5.0)
    close(value_of(step(x, np.array([0, 3]))), x[[0, 3]])
    with pytest.raises(Exception, match=r"getitem.*test_compile_c"):
        step(x, np.array([0, 9]))


def test_unknown_backend():
    """Backends that exist are named."""
    with pytest.raises(CompileError, match="'c'"):
        tg.compile(lambda x: x, backend="d")


# --- the library -----------------------------------------------------------------


def test_cached(tmp_path, monkeypatch):
    """The same program in another process, or again in this one, is not built again."""
    monkeypatch.setenv("TINYGRAD_NN_CACHE", str(tmp_path))
    X, Y = labelled(33, 2)
    for _ in range(2):
        step, _, _ = columns((2, 4, 1), np.tanh)()
        in_c(step)(X, Y)
        assert len(list(tmp_path.glob("*.so"))) == 1


def test_source_names_the_user():
    """The source is C, with the user's names and lines."""
    X, Y = labelled(33, 2)
    step, _, _ = columns((2, 4, 1), np.tanh)()
    compiled = in_c(step)
    compiled(X, Y)
    assert "W0" in compiled.source
    assert "test_compile_c.py:" in compiled.source
    assert "#pragma omp simd" in compiled.source


def test_without_blas(monkeypatch):
    """Where there is no BLAS, loops multiply."""
    from tinygrad_nn.compiler.c import source

    monkeypatch.setattr(source, "find_blas", lambda: None)
    X, Y = classes(64, 20, 18)
    step = hold(
        rows((20, 40, 18), lambda p: tg.optim.SGD(p, lr=0.1)), lambda: (X, Y), 3
    )
    assert "gemm" not in step.source


def test_blas_is_called():
    """Products whose sizes are all large go to the BLAS."""
    X, Y = classes(64, 20, 18)
    step = hold(
        rows((20, 40, 18), lambda p: tg.optim.SGD(p, lr=0.1)), lambda: (X, Y), 3
    )
    assert "blas_dgemm(" in step.source


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(68, 64, 128), (70, 130, 250), (97, 71, 505)]
)
def test_products_by_tiles(m, k, n, dtype, rng, monkeypatch):
    """A product of middling matrices is numpy's, whichever operands are transposed."""
    monkeypatch.setattr(Blas, "threads", 1)
    shapes = [(m, k), (k, m), (k, n), (n, k)]
    given = [rng.standard_normal(shape).astype(dtype) for shape in shapes]

    def f(x, xt, y, yt):
        products = [x @ y, xt.T @ y, x @ yt.T, xt.T @ yt.T]
        return [*products, x[3:, 1:] @ y[1:, 2:], tg.maximum(x @ y + 1, 0)]

    step = in_c(f)
    wide = "__AVX512F__" in find_compiler().identity
    for _ in range(2):
        for got, want in zip(step(*given), f(*given), strict=True):
            close(value_of(got), value_of(want))
    assert ("panel_" in step.source) == wide
    given[0][5, 7], given[2][9, 11] = np.nan, np.inf
    with np.errstate(all="ignore"):
        for got, want in zip(step(*given), f(*given), strict=True):
            close(value_of(got), value_of(want))


def test_many_threads_multiply_by_the_blas(monkeypatch):
    """Where the BLAS has several threads, large products are its own."""
    x = np.ones((128, 128))
    for threads, by_blas in ((1, False), (2, True), (None, True)):
        monkeypatch.setattr(Blas, "threads", threads)
        source = in_c(lambda x: x @ x).trace(x).source
        wide = "__AVX512F__" in find_compiler().identity
        assert ("panel_" in source) == (wide and not by_blas)


def test_threads():
    """Two models step at the same time in two threads."""
    X, Y = labelled(400, 2)
    expected, parameters, _ = columns((2, 4, 1), np.tanh)()
    for _ in range(50):
        expected(X, Y)
    made = [columns((2, 4, 1), np.tanh)() for _ in range(2)]

    def run(step):
        compiled = in_c(step)
        for _ in range(50):
            compiled(X, Y)

    threads = [threading.Thread(target=run, args=(step,)) for step, _, _ in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for _, ours, _ in made:
        for a, b in zip(ours, parameters, strict=True):
            close(a.data, b.data)


def test_overlapping_argument():
    """An argument that shows a parameter is read as it was before the step."""
    (f, theirs, a), (g, ours, b) = twins(columns((2, 4, 1), np.tanh))
    _, Y = labelled(4, 2)
    for _ in range(3):
        X1, X2 = theirs[0].data.T, ours[0].data.T
        close(value_of(g(X2, Y)), value_of(f(X1.copy(), Y)))
        same_state(ours, theirs, b, a)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize(
    "make",
    [
        columns((2, 4, 1), np.tanh),
        columns((2, 4, 1), np.tanh, lr=lambda step: 0.5 / (1 + step)),
        columns((2, 4, 1), lambda Z: np.maximum(0, Z)),
        rows((2, 5, 3), lambda p: tg.optim.Adam(p, lr=0.01)),
        rows((2, 5, 3), lambda p: tg.optim.SGD(p, lr=0.01), dropout=0.5),
    ],
)
def test_repeat(make, n):
    """n steps in one call are n steps: parameters, states, counts, rates, gradients."""
    X, Y = labelled(40, 2)
    (f, theirs, a), (g, ours, b) = twins(make)
    if theirs[0].data.shape == (5, 2):
        X, Y = classes(30, 2, 3)
    for _ in range(2):
        for _ in range(n):
            want = f(X, Y)
        close(value_of(g.repeat(n, X, Y)), value_of(want))
        same_state(ours, theirs, b, a)
    close(value_of(g(X, Y)), value_of(f(X, Y)))
    same_state(ours, theirs, b, a)


def test_repeat_goes_the_careful_way():
    """Where an infinity is met after some steps, NumPy has another look at the rest."""

    def make():
        w = tg.Parameter([1.0, 1.0, 2.0], name="w")
        rate = lambda step: 1.7e308 if step == 3 else 0.1
        optimizer = tg.optim.SGD([w], lr=rate)

        def step(x):
            loss = tg.sum(tg.relu(w * w * x))
            optimizer.minimize(loss)
            return loss

        return step, [w], optimizer

    x = np.array([3.0, 1.0, -2.0])
    with np.errstate(all="ignore"):
        (f, theirs, a), (g, ours, b) = twins(make)
        g.repeat(3, x)
        assert not g._last.runner._referee._namespace
        g.repeat(5, x)
        for _ in range(8):
            f(x)
        assert g._last.runner._referee._namespace
        assert np.isinf(ours[0].data).any() or np.isnan(ours[0].data).any()
        same_state(ours, theirs, b, a)


def test_names_that_c_has_taken():
    """Users may call their variables what C, or the generated code, calls its own."""
    taken = [
        "double",
        "exp",
        "e0",
        "e_0",
        "s_0_1",
        "i0",
        "_3",
        "w_1_0",
        "at_0",
        "j0",
        "m",
    ]
    taken += ["arena", "b1", "s1", "bad_3", "step", "memset", "größe", "x y", "2"]

    def make():
        rng = np.random.default_rng(0)
        parameters = [tg.Parameter(rng.standard_normal((3, 3)), name=t) for t in taken]
        optimizer = tg.optim.SGD(parameters, lr=0.01)

        def step(x):
            for p in parameters:
                x = np.tanh(p @ x) + p[:, :1]
            loss = tg.mean(x * x)
            optimizer.minimize(loss)
            return loss

        return step, parameters, optimizer

    x = np.random.default_rng(1).standard_normal((3, 600))
    hold(make, lambda: (x,), 3)


def test_overlap_is_found_in_any_order():
    """What is read first is copied as well where a parameter shows it."""
    (f, theirs, a), (g, ours, b) = twins(columns((2, 4, 1), np.tanh))
    X, Y = labelled(4, 2)
    f(X, Y), g(X, Y)
    for _ in range(2):
        old = [p.data for p in ours]
        for p, q in zip(ours, theirs, strict=True):
            p.data, q.data = p.data.copy(), q.data.copy()
        X2 = ours[0].data.T
        close(value_of(g(X2, Y)), value_of(f(theirs[0].data.T.copy(), Y)))
        close(value_of(g(X, Y)), value_of(f(X, Y)))
        same_state(ours, theirs, b, a)
        del old


def test_a_gradient_that_is_a_parameter():
    """The gradient of w²/2 is w: as it was before the step, not after."""

    def make():
        w = tg.Parameter([1.0, -2.0], name="w")
        v = tg.Parameter([[3.0, 4.0]], name="v")
        optimizer = tg.optim.SGD([w, v], lr=0.1)

        def step(x):
            loss = tg.mean(w * w) + tg.sum(v * v) * 0.5 + tg.sum(x) * 0
            optimizer.minimize(loss)
            return loss

        return step, [w, v], optimizer

    hold(make, lambda: (np.ones(2),), 4)


def test_waiting_gradients():
    """Gradients that no optimiser takes add up from call to call."""

    def make():
        w = tg.Parameter([1.0, -2.0], name="w")
        optimizer = tg.optim.SGD([w], lr=0.1)

        def step(x):
            loss = tg.sum(w * w * x)
            loss.backward()
            return loss

        return step, [w], optimizer

    hold(make, lambda: (np.array([1.0, 3.0]),), 4)


def test_an_old_value_is_read_before_it_is_replaced():
    """An update that reads what an earlier one replaced sees the old value."""

    def make():
        a = tg.Parameter([1.0, 2.0, 3.0], name="a")
        b = tg.Parameter([10.0, 20.0, 30.0], name="b")
        c = tg.Parameter([0.0, 0.0, 0.0], name="c")

        def step(x):
            turned = a[::-1]
            with tg.no_grad():
                c.data = c + x
                a.data = a * 0.5 + x
                b.data = b + turned
            return x * 1

        return step, [a, b, c], tg.optim.SGD([a, b], lr=0.1)

    hold(make, lambda: (np.ones(3),), 3)


def test_what_blocks_read_stays_for_all_of_them():
    """What was computed before a loop over blocks keeps its memory until its end."""

    def make():
        rng = np.random.default_rng(0)
        W = tg.Parameter(rng.standard_normal((5, 4)) / 4, name="W")
        v = tg.Parameter(rng.standard_normal((1, 5)) / 8, name="v")
        K = np.linspace(-1, 0, 20).reshape(5, 4)
        optimizer = tg.optim.SGD([W, v], lr=0.01)

        def step(X, Y):
            A = np.tanh((W + np.exp(K)) @ X)
            loss = np.mean((np.tanh(v) @ A - Y) ** 2)
            optimizer.minimize(loss)
            return loss

        return step, [W, v], optimizer

    X, Y = labelled(1500, 4)
    step = hold(make, lambda: (X, Y), 3)
    assert "j0 += 256" in step.source


# --- what is left ------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("kind", ["plain", "called back", "chosen", "many"])
def test_a_step_that_goes_out_of_use_is_freed_at_once(backend, kind):
    """Nothing of a step waits for the garbage collector: it is in no cycle."""

    def make():
        W = tg.Parameter(np.ones((3, 2)))
        optimizer = tg.optim.Adam([W], lr=0.1)

        def step(X, rows):
            found = X @ W
            if kind == "called back":
                found = found[rows]
            if kind == "chosen":
                found = tg.where(found > 0, found, 0.0)
            loss = (found * found).mean()
            optimizer.minimize(loss)
            return loss

        return tg.compile(step, backend=backend), W, optimizer

    X, rows = np.linspace(-1.0, 1.0, 12).reshape(4, 3), np.array([0, 1, 3])
    files = len(linecache.cache)
    compiled, W, optimizer = make()
    gc.collect()
    gc.disable()
    try:
        if kind == "many":
            compiled.repeat(3, X, rows)
        for _ in range(2):
            compiled(X, rows)
        (made,) = compiled._known[next(iter(compiled._known))]
        inside = [compiled, made, made.runner, made.program, W, optimizer]
        left = [(type(x).__name__, weakref.ref(x)) for x in inside]
        del compiled, made, inside, W, optimizer
        assert [name for name, x in left if x() is not None] == []
    finally:
        gc.enable()
    assert len(linecache.cache) == files, "the text of a step that is gone is kept"


# --- what comes first ----------------------------------------------------------------


def _in_order(plan):
    """Raise where a group reads what is not there yet."""
    for i, group in enumerate(plan.groups):
        there = set()
        for node in group.nodes:
            for x in operands(node):
                for z in plan.sources_of(x):
                    where = plan.where.get(z, -1)
                    # In its own loop an op reads the element that was just made.
                    beside = where == i and z in there and z._value.shape == group.shape
                    beside = beside and node is not group.head and not is_view(x)
                    assert where < i or beside, f"{node._op.name} reads {z._op.name}"
            there.add(node)


SQUARE = [
    lambda x, y, z: x @ y,
    lambda x, y, z: x.T @ y + z,
    lambda x, y, z: tg.tanh(x + y),
    lambda x, y, z: x * y - z,
    lambda x, y, z: x * tg.sum(y, 0) + z,
    lambda x, y, z: tg.exp(-x * x) + y.T,
    lambda x, y, z: (x @ z) * y[::-1],
]


def _square_lines(rng, n, count):
    """Make a step of products, views and elementwise ops of square matrices."""
    V = [tg.Parameter(rng.normal(size=(n, n)) / n) for _ in range(2)]
    lines = rng.integers(0, len(SQUARE), size=(count, 4))

    def step(X, Y):
        known = [X, Y, *V, X[:1] + Y]
        for kind, *places in lines:
            x, y, z = (known[-1 - k % min(len(known), 5)] for k in places)
            made = SQUARE[kind](x, y, z)
            known.append(made)
        loss = tg.mean(tg.tanh(known[-1]) * known[-2])
        return loss, tg.gradients(loss, V, unused="zero"), known[-3]

    return step


def _planned_in_order(seed, *, exact, again):
    rng = np.random.default_rng(seed)
    n = int(rng.choice([2, 3, 5, 8, 17]))
    step = _square_lines(rng, n, int(rng.integers(2, 15)))
    with np.errstate(all="ignore"):
        given = np.ones((n, n)), np.eye(n)
        _, program, _ = tg.compile(step)._recorded(given, {}, careful=False)
        program = optimised(program, exact=exact)
    _in_order(groups.planned(program, again=again))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_groups_read_what_earlier_groups_made(exact, again):
    """However loops of one shape are joined, a product's operands are whole before."""
    for seed in range(40):
        _planned_in_order(seed, exact=exact, again=again)


def _anything_joins(patch):
    whole = groups._Planner._join

    def join(self, node, number):
        head = self.plan.groups[number].head
        self.plan.groups[number].head = None  # as if its operands were elements
        whole(self, node, number)
        self.plan.groups[number].head = head

    patch.setattr(groups._Planner, "_join", join)


def test_a_product_that_is_taken_for_elementwise_is_noticed(monkeypatch):
    """The mutant that moves operands of a product behind it breaks the law above."""
    _anything_joins(monkeypatch)
    with pytest.raises(AssertionError, match="matmul reads"):
        test_groups_read_what_earlier_groups_made(exact=True, again=True)
