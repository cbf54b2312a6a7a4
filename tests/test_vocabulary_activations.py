"""Activations and vectors at their edges: kinks, tails, infinities, refusals.

Values and slopes are held to fifty digits of mpmath, and to PyTorch's where it is
installed; at kinks to the rule of least norm, written here a second time as intervals.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
import warnings

import mpmath as mp
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import (
    DtypeError,
    MissingExtraError,
    ModelError,
    OpError,
    ShapeError,
)
from tinygrad_nn.ops import scipy_room

inf = np.inf
CONTEXT = mp.mp.clone()
CONTEXT.dps = 60


def m(text):
    return CONTEXT.mpf(text)


def sigmoid(x):
    return 1 / (1 + CONTEXT.exp(-x))


def elu(alpha):
    return lambda x: x if x > 0 else m(alpha) * CONTEXT.expm1(x)


def celu(alpha):
    return lambda x: x if x > 0 else m(alpha) * CONTEXT.expm1(x / m(alpha))


def selu(x):
    scale = m("1.0507009873554804934193349852946")
    return scale * elu("1.6732632423543772848170429916717")(x)


def gelu(x):
    u = CONTEXT.sqrt(2 / CONTEXT.pi) * (x + m("0.044715") * x**3)
    return x * sigmoid(2 * u)


def mish(x):
    return x * CONTEXT.tanh(CONTEXT.log1p(CONTEXT.exp(x)))


def limited(x, low, high):
    return min(max(x, low), high)


def hardswish(x):
    return x * limited((x + 3) / 6, m(0), m(1))


def shrunk(x, size):
    return (abs(x) - size) * CONTEXT.sign(x) if abs(x) > size else m(0)


# name: function, definition, value and slope at -inf, at inf.
CURVES = {
    "celu": (tg.celu, celu(1), (-1, 0), (inf, 1)),
    "celu, narrow": (lambda x: tg.celu(x, 0.01), celu(0.01), (-0.01, 0), (inf, 1)),
    "elu": (tg.elu, elu(1), (-1, 0), (inf, 1)),
    "elu, steep": (lambda x: tg.elu(x, 3.0), elu(3), (-3, 0), (inf, 1)),
    "elu, turned": (lambda x: tg.elu(x, -0.5), elu(-0.5), (0.5, 0), (inf, 1)),
    "gelu": (tg.gelu, gelu, (0, 0), (inf, 1)),
    "gelu, exact": (lambda x: tg.gelu(x, "none"), lambda x: x * CONTEXT.ncdf(x), (0, 0), (inf, 1)),
    "hardshrink": (tg.hardshrink, lambda x: x if abs(x) > 0.5 else m(0), (-inf, 1), (inf, 1)),
    "hardsigmoid": (tg.hardsigmoid, lambda x: limited((x + 3) / 6, m(0), m(1)), (0, 0), (1, 0)),
    "hardswish": (tg.hardswish, hardswish, (0, 0), (inf, 1)),
    "hardtanh": (tg.hardtanh, lambda x: limited(x, m(-1), m(1)), (-1, 0), (1, 0)),
    "leaky_relu": (tg.leaky_relu, lambda x: x if x > 0 else m(0.01) * x, (-inf, 0.01), (inf, 1)),
    "leaky_relu, flat": (lambda x: tg.leaky_relu(x, 0), lambda x: max(x, m(0)), (0, 0), (inf, 1)),
    "mish": (tg.mish, mish, (0, 0), (inf, 1)),
    "relu6": (tg.relu6, lambda x: limited(x, m(0), m(6)), (0, 0), (6, 0)),
    "selu": (tg.selu, selu, (-1.7580993408473766, 0), (inf, 1.0507009873554805)),
    "silu": (tg.silu, lambda x: x * sigmoid(x), (0, 0), (inf, 1)),
    "softshrink": (tg.softshrink, lambda x: shrunk(x, m(0.5)), (-inf, 1), (inf, 1)),
    "softsign": (tg.softsign, lambda x: x / (1 + abs(x)), (-1, 0), (1, 0)),
    "tanhshrink": (tg.tanhshrink, lambda x: x - CONTEXT.tanh(x), (-inf, 1), (inf, 1)),
    "threshold": (lambda x: tg.threshold(x, 0.1, -2.0), lambda x: x if x > 0.1 else m(-2), (-2, 0), (inf, 1)),
}  # fmt: skip
each_curve = pytest.mark.parametrize("name", CURVES)
SIZES = (1e-8, 1e-5, 1e-3, 0.03, 0.4, 0.9, 1.5, 2.9, 3.1, 5.7, 13.0, 33.0, 90.0, 700.0)
SIZES += (1000.0, 1e5)


def pulled(f, x):
    """Value, first and second derivative, by the engine; every warning is an error."""
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        point = tg.Tensor(x, requires_grad=True)
        out = f(point)
        (slope,) = tg.gradients(out, [point], np.ones(np.shape(x)))
        bend = np.zeros(np.shape(x))
        if slope.requires_grad:
            (found,) = tg.gradients(slope.sum(), [point], unused="zero")
            bend = found.numpy()
        out.backward(np.ones(np.shape(x)))
    np.testing.assert_array_equal(point.grad, slope.numpy())
    return out.numpy(), slope.numpy(), bend


@each_curve
def test_values_and_two_derivatives_are_right_from_1e_8_to_1e5(name):
    """Value, slope and curvature agree with sixty digits, in both tails, unwarned."""
    f, wanted, *_ = CURVES[name]
    x = np.array([sign * size for size in SIZES for sign in (1, -1)])
    value, slope, bend = pulled(f, x)
    for i, at in enumerate(x.tolist()):
        truth = CONTEXT.taylor(wanted, m(at), 2, chop=False)
        # Where the exponent is large, its rounding is that of e^x: |x| times as much.
        slack = 4e-16 * max(8, 3 * abs(at) if abs(at) < 50 else 0)
        for got, want, scale in (
            (value[i], truth[0], 0.0),
            (slope[i], truth[1], 1.0),
            (bend[i], 2 * truth[2], 1.0),
        ):
            bound = slack * max(abs(want), m(scale)) + m("1e-307")
            if name.startswith("gelu"):
                bound *= 1 + abs(at) ** 3  # of the exponent, a square or a cubic
            if name == "celu, narrow":
                bound *= 100  # curvature is in units of 1 / alpha
            assert abs(m(float(got)) - want) <= bound, (at, got, want)


@each_curve
def test_limits_at_infinity(name):
    """At both infinities value and slope are the limits, and nan stays nan, unwarned."""
    f, _, below, above = CURVES[name]
    value, slope, bend = pulled(f, np.array([-inf, inf]))
    np.testing.assert_allclose(value, [below[0], above[0]], rtol=1e-15)
    np.testing.assert_allclose(slope, [below[1], above[1]], rtol=1e-15)
    np.testing.assert_array_equal(bend, [0, 0])
    with np.errstate(all="ignore"):
        assert np.isnan(f(tg.Tensor([np.nan])).numpy()).all()


@each_curve
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_numbers_overflow_nowhere(name, dtype):
    """At the largest numbers of a dtype values and slopes are their limits, unwarned."""
    f, _, below, above = CURVES[name]
    huge = np.finfo(dtype).max / 2
    value, slope, _ = pulled(f, np.array([-huge, huge], dtype))
    assert value.dtype == slope.dtype == dtype
    for got, (limit, steep), at in zip(
        value, (below, above), (-huge, huge), strict=True
    ):
        wanted = limit if np.isfinite(limit) else at * dtype(steep)
        assert got == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_allclose(slope, [below[1], above[1]], rtol=1e-6)


@each_curve
def test_integers_and_booleans_are_numbers(name):
    """Integers and truths give what floats of the same values give."""
    f, *_ = CURVES[name]
    for x in (np.arange(-2, 3), np.arange(3, dtype=np.uint8), np.array([True, False])):
        wanted = f(x.astype(float))
        np.testing.assert_allclose(f(x), wanted, rtol=1e-15)
        np.testing.assert_allclose(f(tg.Tensor(x)).numpy(), wanted, rtol=1e-15)


# --- kinks ------------------------------------------------------------------------


def least(*slopes):
    """The number of least size between the slopes on both sides."""
    low, high = min(slopes), max(slopes)
    return min(max(0.0, low), high)


KINKS = [
    ("leaky_relu", tg.leaky_relu, 0.0, (0.01, 1)),
    ("leaky_relu of slope 2", lambda x: tg.leaky_relu(x, 2), 0.0, (2, 1)),
    ("leaky_relu of slope -1", lambda x: tg.leaky_relu(x, -1), 0.0, (-1, 1)),
    ("leaky_relu of slope 0", lambda x: tg.leaky_relu(x, 0), 0.0, (0, 1)),
    ("prelu", lambda x: tg.prelu(x, 0.25), 0.0, (0.25, 1)),
    ("prelu by an array", lambda x: tg.prelu(x, np.array([2.0])), 0.0, (2, 1)),
    ("prelu by a Tensor", lambda x: tg.prelu(x, tg.Tensor([-3.0])), 0.0, (-3, 1)),
    ("elu", tg.elu, 0.0, (1, 1)),
    ("elu of alpha 0.5", lambda x: tg.elu(x, 0.5), 0.0, (0.5, 1)),
    ("elu of alpha 2", lambda x: tg.elu(x, 2), 0.0, (2, 1)),
    ("elu of alpha -2", lambda x: tg.elu(x, -2), 0.0, (-2, 1)),
    ("selu", tg.selu, 0.0, (1.7580993408473766, 1.0507009873554805)),
    ("celu", lambda x: tg.celu(x, 3), 0.0, (1, 1)),
    ("relu6 at 0", tg.relu6, 0.0, (0, 1)),
    ("relu6 at 6", tg.relu6, 6.0, (1, 0)),
    ("hardtanh at -1", tg.hardtanh, -1.0, (0, 1)),
    ("hardtanh at 1", tg.hardtanh, 1.0, (1, 0)),
    ("hardsigmoid at -3", tg.hardsigmoid, -3.0, (0, 1 / 6)),
    ("hardsigmoid at 3", tg.hardsigmoid, 3.0, (1 / 6, 0)),
    ("hardswish at -3", tg.hardswish, -3.0, (0, -0.5)),
    ("hardswish at 3", tg.hardswish, 3.0, (1.5, 1)),
    ("softshrink at -0.5", tg.softshrink, -0.5, (1, 0)),
    ("softshrink at 0.5", tg.softshrink, 0.5, (0, 1)),
    ("softshrink by nothing", lambda x: tg.softshrink(x, 0), 0.0, (1, 1)),
    ("hardshrink by nothing", lambda x: tg.hardshrink(x, 0), 0.0, (1, 1)),
    ("hardshrink at its jump", tg.hardshrink, 0.5, (0, 0)),
    ("threshold at its jump", lambda x: tg.threshold(x, 2, 7), 2.0, (0, 0)),
    ("softsign", tg.softsign, 0.0, (1, 1)),
]


@pytest.mark.parametrize(
    ("f", "at", "sides"), [row[1:] for row in KINKS], ids=[row[0] for row in KINKS]
)
def test_the_slope_at_a_kink_is_the_least(f, at, sides):
    """Between the slopes on both sides the one nearest to 0 is taken, in every loop."""
    _, slope, bend = pulled(f, np.array([at]))
    assert slope[0] == pytest.approx(least(*sides), rel=1e-15)
    assert tg.jvp(f, [np.array([at])], [np.ones(1)])[1] == pytest.approx(slope)
    assert np.isfinite(bend).all()


def test_a_learned_slope_has_a_gradient_below_zero_only():
    """The slope of prelu gets x where x is below 0, and has no path elsewhere."""
    x = tg.Tensor([-2.0, 0.0, 3.0, inf], requires_grad=True)
    slope = tg.Tensor([0.5, 0.5, 0.5, 0.0], requires_grad=True)
    with np.errstate(all="raise"):
        tg.prelu(x, slope).backward(np.array([1.0, 2.0, 3.0, 4.0]))
    assert slope.grad.tolist() == [-2.0, 0.0, 0.0, 0.0]
    assert x.grad.tolist() == [0.5, 1.0, 3.0, 4.0]
    z = tg.Tensor([1.0, -1.0], requires_grad=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        steep = tg.log(tg.Tensor([0.0, 1.0], requires_grad=True))
        tg.prelu(z, steep).sum().backward()
    assert z.grad.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_mutant_that_limits_at_the_kink_is_seen(alpha):
    """An elu whose branch is limited at 0, the obvious spelling, has slope 0 there."""
    x = tg.Tensor([0.0], requires_grad=True)
    mutant = tg.where(x > 0, x, alpha * tg.expm1(tg.minimum(x, 0.0)))
    (slope,) = tg.gradients(mutant.sum(), [x])
    assert slope.numpy()[0] == 0.0
    assert pulled(lambda x: tg.elu(x, alpha), np.array([0.0]))[1][0] == alpha


# --- peers ------------------------------------------------------------------------

torch = None
with contextlib.suppress(ImportError):  # a peer, not a requirement
    import torch
with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
PEERS = [
    ("leaky_relu", tg.leaky_relu, {"negative_slope": 0.2}, {}),
    ("elu", tg.elu, {"alpha": 0.7}, {}),
    ("celu", tg.celu, {"alpha": 0.5}, {}),
    ("selu", tg.selu, {}, {}),
    ("gelu", tg.gelu, {"approximate": "tanh"}, {}),
    ("gelu", tg.gelu, {"approximate": "none"}, {}),
    ("silu", tg.silu, {}, {}),
    ("mish", tg.mish, {}, {}),
    ("softsign", tg.softsign, {}, {}),
    ("hardtanh", tg.hardtanh, {"low": -0.5, "high": 2}, {"min_val": -0.5, "max_val": 2}),
    ("hardsigmoid", tg.hardsigmoid, {}, {}),
    ("hardswish", tg.hardswish, {}, {}),
    ("relu6", tg.relu6, {}, {}),
    ("glu", tg.glu, {"axis": 0}, {"dim": 0}),
    ("threshold", tg.threshold, {"threshold": 0.3, "value": 9.0}, {}),
    ("softshrink", tg.softshrink, {"threshold": 0.3}, {"lambd": 0.3}),
    ("hardshrink", tg.hardshrink, {"threshold": 0.3}, {"lambd": 0.3}),
    ("tanhshrink", tg.tanhshrink, {}, {}),
    ("softmin", tg.softmin, {"axis": 1}, {"dim": 1}),
    ("normalize", tg.normalize, {"axis": 0}, {"dim": 0}),
    ("normalize", tg.normalize, {"ord": 3, "axis": 1}, {"p": 3, "dim": 1}),
]  # fmt: skip


@with_torch
@pytest.mark.parametrize(
    ("name", "f", "ours", "theirs"), PEERS, ids=[f"{r[0]} {r[2]}" for r in PEERS]
)
def test_pytorch_agrees(name, f, ours, theirs):
    """Value and gradient are those of torch.nn.functional in double precision."""
    x = 4 * np.random.default_rng(0).standard_normal((6, 4))
    weights = np.random.default_rng(1).standard_normal(np.shape(f(x, **ours)))
    mine = tg.Tensor(x, requires_grad=True)
    f(mine, **ours).backward(weights)
    theirs = theirs or ours
    other = torch.tensor(x, requires_grad=True)
    wanted = getattr(torch.nn.functional, name)(other, **theirs)
    wanted.backward(torch.tensor(weights))
    np.testing.assert_allclose(
        f(x, **ours), wanted.detach().numpy(), rtol=1e-12, atol=1e-15
    )
    # There 1/6 is a number of single precision.
    rtol = 1e-7 if name == "hardsigmoid" else 1e-11
    np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=rtol, atol=1e-14)


@with_torch
def test_pytorch_agrees_about_vectors():
    """Cosines and distances, and their gradients, are torch's in double precision."""
    x, y = np.random.default_rng(2).standard_normal((2, 5, 3))
    for ours, theirs in (
        (tg.cosine_similarity, torch.nn.functional.cosine_similarity),
        (
            lambda a, b: tg.pairwise_distance(a, b, 3),
            lambda a, b: torch.nn.functional.pairwise_distance(a, b, 3, eps=0),
        ),
    ):
        a, b = tg.Tensor(x, requires_grad=True), tg.Tensor(y, requires_grad=True)
        c, d = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
        mine, wanted = ours(a, b), theirs(c, d)
        mine.sum().backward()
        wanted.sum().backward()
        np.testing.assert_allclose(mine.numpy(), wanted.detach().numpy(), rtol=1e-13)
        np.testing.assert_allclose(a.grad, c.grad.numpy(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(b.grad, d.grad.numpy(), rtol=1e-12, atol=1e-15)


# --- vectors ----------------------------------------------------------------------


@pytest.mark.parametrize("length", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_directions_of_vectors_of_any_length(length):
    """(3, 4) times anything has the direction (0.6, 0.8), and its gradient's scale."""
    x = tg.Tensor(length * np.array([3.0, 4.0]), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        out = tg.normalize(x)
        out.backward(np.array([1.0, 0.0]))
        cosine = tg.cosine_similarity(x, np.array([length, 0.0]))
    np.testing.assert_allclose(out.numpy(), [0.6, 0.8], rtol=1e-15)
    np.testing.assert_allclose(x.grad * length, np.array([0.64, -0.48]) / 5, rtol=1e-14)
    assert cosine.item() == pytest.approx(0.6, rel=1e-15)


def test_a_vector_of_zeros_has_no_direction_and_no_gradient():
    """Zeros stay zeros, with gradients of 0, and neighbours are not harmed."""
    x = tg.Tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    y = tg.Tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    tg.cosine_similarity(x, y).sum().backward()
    assert tg.normalize(x).numpy().tolist() == [[0.0, 0.0], [0.6, 0.8]]
    assert x.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert y.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    z = tg.Tensor([[1.0, 1.0]], requires_grad=True)
    tg.pairwise_distance(z, z * 1.0).sum().backward()
    assert z.grad.tolist() == [[0.0, 0.0]]


def test_parallel_and_opposite_vectors_are_within_a_rounding_of_their_cosines():
    """A vector and itself have cosine 1, and its opposite -1, whatever the numbers."""
    x = np.random.default_rng(3).standard_normal((100, 7))
    np.testing.assert_allclose(tg.cosine_similarity(x, 3 * x), 1.0, rtol=1e-15)
    np.testing.assert_allclose(tg.cosine_similarity(x, -x), -1.0, rtol=1e-15)


def test_one_hot_is_the_rows_of_a_unit_matrix():
    """Labels of any shape and integer dtype become rows of np.eye, as a constant."""
    labels = np.array([[0, 2], [1, 1]])
    for given in (labels, labels.astype(np.uint8), tg.Tensor(labels)):
        found = tg.one_hot(given, 3, dtype=np.float32)
        assert found.dtype == np.float32
        assert np.array_equal(getattr(found, "data", found), np.eye(3)[labels])
    assert (
        tg.one_hot([], 3).shape == (0, 3) if np.asarray([]).dtype.kind == "i" else True
    )
    assert tg.one_hot(np.zeros(0, int), 3).shape == (0, 3)
    assert tg.one_hot(2, 3).tolist() == [0, 0, 1]


def test_a_compiled_step_makes_one_hot_rows_anew_and_checks_them():
    """Labels that are arguments or held outside are read, and refused, at each call."""
    step = tg.compile(lambda labels: tg.one_hot(labels, 3) * 2.0)
    assert step(np.array([0, 2])).tolist() == [[2, 0, 0], [0, 0, 2]]
    assert step(np.array([1, 1])).tolist() == [[0, 2, 0], [0, 2, 0]]
    with pytest.raises(OpError, match="one_hot: labels go from 0 to 2; got 0 to 3"):
        step(np.array([0, 3]))


# --- dropout ----------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_the_layer_draws_the_same():
    """A share is dropped, the rest scaled; seed for seed the layer does likewise."""
    x = np.ones(100_000)
    out = tg.dropout(x, 0.3, np.random.default_rng(0))
    assert set(np.unique(out)) == {0.0, 1 / 0.7}
    assert np.mean(out == 0) == pytest.approx(0.3, abs=5e-3)
    layer = nn.Dropout(0.3, rng=0)
    assert np.array_equal(layer(x), out)
    t = tg.Tensor(x, requires_grad=True)
    kept = tg.dropout(t, 0.3, 0)
    kept.sum().backward()
    np.testing.assert_array_equal(t.grad, kept.numpy())
    assert tg.dropout(t, 0.3, 0, training=False) is t
    assert tg.dropout(t, 0.0, 0) is t


def test_a_generator_goes_on_and_a_seed_begins_anew():
    """Two draws of one generator differ; two of one seed are the same."""
    x, rng = np.ones(50), np.random.default_rng(0)
    first = tg.dropout(x, 0.5, rng)
    assert not np.array_equal(first, tg.dropout(x, 0.5, rng))
    assert np.array_equal(tg.dropout(x, 0.5, 3), tg.dropout(x, 0.5, 3))


# --- refusals ---------------------------------------------------------------------

V = np.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tg.glu(V), ShapeError, r"glu: expected an even size along axis 0.*x\(3,\)"),
        (lambda: tg.glu(np.zeros((2, 3)), axis=2), ShapeError, "axis 2"),
        (lambda: tg.celu(V, 0), OpError, "celu: alpha is a number > 0; got 0"),
        (lambda: tg.celu(V, np.nan), OpError, "celu: alpha .* got nan"),
        (lambda: tg.hardtanh(V, 1, 1), OpError, "hardtanh: low is less than high; got 1"),
        (lambda: tg.softshrink(V, -1), OpError, "softshrink: threshold is .* got -1"),
        (lambda: tg.hardshrink(V, -1), OpError, "hardshrink: threshold is .* got -1"),
        (lambda: tg.gelu(V, "erf"), OpError, "gelu: approximate is 'tanh' or 'none'; got 'erf'"),
        (lambda: tg.dropout(V, 1), OpError, "dropout: rate .* got 1"),
        (lambda: tg.one_hot([0.5], 2), DtypeError, "one_hot: labels are integers; got dtype float64"),
        (lambda: tg.one_hot([0, -1], 2), OpError, "one_hot: labels go from 0 to 1; got -1 to 0"),
        (lambda: tg.prelu(tg.Tensor(V), np.ones(2)), ShapeError, r"prelu: .*x\(3,\), slope\(2,\)"),
        (lambda: tg.cosine_similarity(V, np.ones(2)), (ShapeError, ValueError), "."),
        (lambda: nn.Dense(2, 2, activation="prelu"), ModelError, r"prelu .*nn\.PReLU\(\)"),
        (lambda: nn.Dense(2, 2, activation="gleu"), ModelError, "Did you mean 'gelu'"),
        (lambda: nn.CELU(-1), OpError, "celu: alpha .* got -1"),
        (lambda: nn.GELU("exact"), OpError, "gelu: approximate"),
        (lambda: nn.PReLU(slope="a"), ModelError, "PReLU: slope is a number.*got str"),
        (lambda: nn.PReLU((2, 3))(V), ShapeError, r"PReLU.*slope\(2, 3\), x\(3,\)"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_expected_and_what_came(call, error, message):
    """Every misuse is one error that names function or layer, law and operands."""
    with pytest.raises(error, match=message):
        call()


def test_the_definition_of_gelu_asks_for_its_extra(monkeypatch):
    """Without SciPy gelu(approximate="none") names the extra; the formula needs none."""
    monkeypatch.delattr(scipy_room.scipy, "special", raising=False)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtraError, match=r"tinygrad_nn\[special\]"):
        tg.gelu(V, approximate="none")
    assert tg.gelu(V).tolist() == [0, 0, 0]


# --- proofs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "by_hand"),
    [
        (tg.silu, lambda x: x / (1 + np.exp(-x))),
        (lambda x: tg.silu(x), lambda x: x * tg.sigmoid(x)),  # noqa: PLW0108 (recorded)
        (tg.mish, lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
        (tg.tanhshrink, lambda x: x - np.tanh(x)),
        (tg.softsign, lambda x: x / (1 + np.abs(x))),
        (tg.elu, lambda x: np.where(x > 0, x, np.exp(x) - 1)),
        (lambda x: tg.leaky_relu(x, 0.25), lambda x: np.maximum(x, x / 4)),
    ],
)
def test_an_activation_is_proved_to_be_its_formula(f, by_hand):
    """In exact arithmetic it is what its paper writes; twice the exponent is not."""
    x = np.random.default_rng(0).standard_normal((4, 3))
    assert tg.check.equivalent(f, by_hand, x).verdict == "proved"
    assert tg.check.equivalent(f, lambda x: by_hand(2 * x), x).verdict == "different"


# --- layers -----------------------------------------------------------------------


def test_a_half_is_gated_in_a_network():
    """GLU halves the features: the Dense after it takes half as many."""
    net = nn.Sequential(nn.Dense(3, 8, rng=0), nn.GLU(), nn.Dense(4, 1, rng=1))
    assert net(np.ones((5, 3))).shape == (5, 1)
    x = np.random.default_rng(0).standard_normal((2, 6))
    wanted = x[:, :3] / (1 + np.exp(-x[:, 3:]))
    np.testing.assert_allclose(nn.GLU()(x), wanted, rtol=1e-15)


def test_settings_are_shown_where_they_are_unusual():
    """The line of a layer in a summary has its settings, unless they are usual."""
    shown = {
        nn.LeakyReLU(): "LeakyReLU",
        nn.LeakyReLU(0.2): "LeakyReLU(negative_slope=0.2)",
        nn.ELU(2.0): "ELU(alpha=2.0)",
        nn.Hardtanh(0, 1): "Hardtanh(low=0)",
        nn.GLU(0): "GLU(axis=0)",
        nn.PReLU(): "PReLU",
        nn.PReLU((4,)): "PReLU((4,))",
        nn.Threshold(1, 2): "Threshold(1, 2)",
        nn.Softmin(): "Softmin",
        nn.GELU(): "GELU",
    }
    for layer, text in shown.items():
        assert repr(layer) == text
    assert repr(nn.Dense(2, 3, activation="gelu")) == "Dense(2 -> 3, activation=gelu)"


EXPORTED = {
    name: lambda name=name: [nn.Dense(3, 4, activation=name, rng=0)]
    for name in nn.ACTIVATIONS
}
EXPORTED |= {
    "PReLU": lambda: [nn.Dense(3, 4, rng=0), nn.PReLU((4,))],
    "GLU": lambda: [nn.Dense(3, 8, rng=0), nn.GLU()],
    "GELU, exact": lambda: [nn.Dense(3, 4, rng=0), nn.GELU("none")],
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_network_predicts_the_same_bits(name, tmp_path):
    """A file of NumPy (of SciPy, for erf) computes what the model does, tails and all."""
    net = nn.Sequential(*EXPORTED[name](), nn.Dense(4, 1, rng=1))
    x = np.random.default_rng(0).standard_normal((6, 3))
    tg.export_numpy(tmp_path / "net.py", net, x)
    spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    for scale in (1.0, 50.0):
        assert np.array_equal(written.predict(scale * x), net(scale * x).numpy())


@pytest.mark.parametrize("name", sorted(nn.ACTIVATIONS))
def test_a_network_of_each_activation_learns_is_compiled_and_saved(name, tmp_path):
    """By its name: losses fall, a compiled step takes the same steps, a file keeps it."""
    rng = np.random.default_rng(5)
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))

    def built():
        rng = np.random.default_rng(6)
        net = nn.Sequential(
            nn.Dense(3, 8, activation=name, rng=rng), nn.Dense(8, 1, rng=rng)
        )
        return net, tg.optim.Adam(net, lr=0.02)

    def trained(compiled):
        net, optimizer = built()

        def step(x, y):
            loss = tg.losses.mse(net(x), y)
            optimizer.minimize(loss)
            return loss

        run = tg.compile(step) if compiled else step
        return net, [run(X, Y).item() for _ in range(40)]

    net, eager = trained(compiled=False)
    _, compiled = trained(compiled=True)
    assert eager[-1] < eager[0]
    np.testing.assert_allclose(compiled, eager, rtol=1e-9)
    tg.save(tmp_path / "net.npz", net)
    other, _ = built()
    tg.load(tmp_path / "net.npz", other)
    assert np.array_equal(other(X).numpy(), net(X).numpy())


def test_learned_slopes_are_parameters_that_are_saved(tmp_path):
    """PReLU's slopes are named, trained and loaded like any parameter."""
    net = nn.Sequential(nn.Dense(2, 4, rng=0), nn.PReLU((4,)), nn.Dense(4, 1, rng=1))
    assert "layers.1.slope" in dict(net.named_parameters())
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    optimizer = tg.optim.SGD(net, lr=0.1)
    for _ in range(3):
        optimizer.minimize(tg.losses.mse(net(X), Y))
    assert not np.any(net[1].slope.numpy() == 0.25)
    tg.save(tmp_path / "net.npz", net)
    other = nn.Sequential(nn.Dense(2, 4, rng=3), nn.PReLU((4,)), nn.Dense(4, 1, rng=4))
    tg.load(tmp_path / "net.npz", other)
    assert np.array_equal(other(X).numpy(), net(X).numpy())
    assert math.isfinite(tg.losses.mse(other(X), Y).item())
