"""Reports of wrong numbers: unstable formulas, lost precision, zeros and kinks."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from pains.asking import slopes

losses = tg.losses


def sigmoids(z):
    """Return sigmoid, its slope, log(sigmoid) and its slope, to 40 digits, rounded."""
    with mpmath.workdps(40):
        e = [mpmath.exp(-mpmath.mpf(float(x))) for x in np.ravel(z)]
        return (
            np.array([float(1 / (1 + x)) for x in e]),
            np.array([float(x / (1 + x) ** 2) for x in e]),
            np.array([float(-mpmath.log1p(x)) for x in e]),
            np.array([float(x / (1 + x)) for x in e]),
        )


# --- 3. Textbook formulas that overflow ---


@pytest.mark.parametrize(
    "z", [-1000.0, -800.0, -100.0, -30.0, -1.0, 0.0, 1.0, 30.0, 800.0]
)
def test_tinygrad_1113_sigmoid_of_negative_numbers(z):
    """The gradient of a written-out sigmoid was nan for most negative numbers, and so that of tanh; here both are right, to the last digits where the sigmoid is small.

    Also cs249r_book #2048, burn #1140.
    """
    _, slope, _, _ = sigmoids(z)
    for f in (tg.sigmoid, lambda x: 1 / (1 + np.exp(-x))):
        np.testing.assert_allclose(
            slopes(f, z), slope[0], rtol=2e-15, atol=1e-16 * (z > 0)
        )
    with mpmath.workdps(40):
        tanh = float(1 / mpmath.cosh(mpmath.mpf(z)) ** 2)
    for f in (np.tanh, lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))):
        np.testing.assert_allclose(slopes(f, z), tanh, rtol=1e-10, atol=1e-16)


def test_candle_1722_sigmoid_in_single_precision():
    """Of fifteen numbers up to ±548 the two most negative had a nan gradient; here all fifteen agree with 40 digits."""
    half = [548.3162, 201.7132, 74.2032, 27.2899, 10.0179, 3.6269, 1.1752]
    z = np.array([-x for x in half] + [0.0] + half[::-1], np.float32)
    found = slopes(tg.sigmoid, z, dtype=np.float32)
    np.testing.assert_allclose(found, sigmoids(z)[1], rtol=1e-4, atol=2e-8)


def test_pytorch_2211_log_of_sigmoid():
    """log(sigmoid(-300)) was -inf in single precision; here it is -300 and its slope 1, in every spelling.

    Also tensorflow #3719.
    """
    spellings = (
        tg.log_sigmoid,
        lambda z: np.log(tg.sigmoid(z)),
        lambda z: np.log(1 / (1 + np.exp(-z))),
        lambda z: -np.log(1 + np.exp(-z)),
    )
    z = np.array([-800.0, -300.0, -1.0, 0.0, 2.0, 800.0])
    _, _, value, slope = sigmoids(z)
    for f in spellings:
        with np.errstate(over="ignore"):
            assert f(tg.Parameter(np.float32(-300.0))).item() == -300.0
            np.testing.assert_allclose(f(tg.Parameter(z)).numpy(), value, rtol=1e-15)
        np.testing.assert_allclose(slopes(f, z), slope, rtol=1e-15, atol=1e-300)


def test_pytorch_1620_log_of_softmax():
    """log(softmax(W x)) of x = [0, 50, -50] sometimes gave a nan gradient in training; here a thousand starts are finite, and equal log_softmax."""
    rng = np.random.default_rng(0)
    x = np.array([[0.0, 50.0, -50.0]])
    for W in rng.uniform(-20, 20, (1000, 3, 3)):
        written = slopes(lambda W: -np.log(tg.softmax(x @ W.T, 1))[0, 1], W)
        assert np.isfinite(written).all()
        Z = x @ W.T
        p = np.exp(Z - Z.max()) / np.exp(Z - Z.max()).sum()
        np.testing.assert_allclose(
            written, (p - [[0, 1, 0]]).T * x, rtol=1e-12, atol=1e-12
        )


def test_theano_3162_softmax_and_cross_entropy():
    """Cross-entropy over a softmax of logits up to exp(10) had nan gradients; here the textbook's lines give softmax - target."""
    rng = np.random.default_rng(0)
    a, b = np.exp(10 * rng.random((5, 10))), rng.integers(0, 10, 5)
    hot = np.eye(10)[b]

    def written(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return -np.mean(np.sum(hot * np.log(p), axis=1))

    shifted = np.exp(a - a.max(axis=1, keepdims=True))
    wanted = (shifted / shifted.sum(axis=1, keepdims=True) - hot) / 5
    by_loss = slopes(lambda z: losses.cross_entropy(z, b), a)
    np.testing.assert_allclose(slopes(written, a), wanted, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(by_loss, wanted, rtol=1e-12, atol=1e-300)


def test_pytorch_103316_cross_entropy_of_large_logits():
    """Cross-entropy of sigmoid(-50) lost its gradient, -0.125 became -2e-11; here it is that of the written-out mean, and right."""
    x = [-50.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0, 10.0]
    wanted = -sigmoids(x)[3] / 8
    for f in (
        lambda x: -np.log(tg.sigmoid(x)).mean(),
        lambda x: losses.binary_cross_entropy(tg.sigmoid(x), np.ones(8)),
        lambda x: losses.binary_cross_entropy_with_logits(x, np.ones(8)),
    ):
        np.testing.assert_allclose(slopes(f, x), wanted, rtol=1e-14)


@pytest.mark.parametrize("z", [-1000.0, -101.0, -88.0, 0.0, 50.0, 101.0, 1000.0])
@pytest.mark.parametrize("y", [0.0, 0.25, 1.0])
def test_pytorch_24933_cross_entropy_by_two_ways(z, y):
    """The loss of sigmoid(z) was clamped at 100 and that of z was not; here neither is, and they agree.

    Also pytorch #102894, pytorch #163975.
    """
    with mpmath.workdps(1000):
        wanted = mpmath.log1p(mpmath.exp(mpmath.mpf(z))) - mpmath.mpf(y) * z
    target = np.array([y])
    for f in (
        lambda z: losses.binary_cross_entropy_with_logits(z, target),
        lambda z: losses.binary_cross_entropy(tg.sigmoid(z), target),
        lambda z: (
            -np.mean(
                target * np.log(tg.sigmoid(z))
                + (1 - target) * np.log(1 - tg.sigmoid(z))
            )
        ),
    ):
        value = f(tg.Parameter([z])).item()
        np.testing.assert_allclose(value, float(wanted), rtol=1e-14, atol=1e-300)
        np.testing.assert_allclose(
            slopes(f, [z]), sigmoids(z)[0] - y, rtol=1e-12, atol=1e-16
        )


def test_pytorch_4867_no_hidden_epsilon():
    """The loss of a certain and wrong prediction was 27.631, an epsilon's logarithm; here it is what the formula says, and 8e7 for a logit of 8e7."""
    with np.errstate(divide="ignore", invalid="ignore"):
        certain = losses.binary_cross_entropy(
            np.array([1.0, 0.0]), np.array([0.5, 0.5])
        )
    assert certain == np.inf
    logits = tg.Parameter([8e7, 8e7])
    assert losses.binary_cross_entropy_with_logits(logits, np.zeros(2)).item() == 8e7


def test_mlx_1280_certain_and_right():
    """The loss of probabilities that are exactly 0 or 1, and right, was nan; here it is 0, as 0 log 0 is.

    Also pytorch #31453.
    """
    a = np.array([0.0, 1e-59, 1 - 1e-59, 1.0])
    y = np.array([0.0, 0.0, 1.0, 1.0])
    for dtype in (np.float32, np.float64):
        prediction = tg.Parameter(a.astype(dtype))
        with np.errstate(divide="ignore"):  # what NumPy says of log(0)
            found = losses.binary_cross_entropy(prediction, y, reduction="none")
            arrays = losses.binary_cross_entropy(prediction.data, y, reduction="none")
        np.testing.assert_array_equal(found.numpy(), [0.0] * 4)
        np.testing.assert_array_equal(arrays, [0.0] * 4)
        np.sum(found).backward()  # -y / a + (1 - y) / (1 - a)
        np.testing.assert_array_equal(prediction.grad, [1.0, 1.0, -1.0, -1.0])
    with np.errstate(divide="ignore"):  # and of certain ones that are wrong
        wrong = losses.binary_cross_entropy(
            np.array([0.0, 1.0]), 1 - y[1:3], reduction="none"
        )
    assert wrong.tolist() == [np.inf, np.inf]


def test_pytorch_2298_slope_at_a_logit_of_zero():
    """The gradient of the loss at the logit 0 was 0, by the slope of an absolute value; here it is 0.5."""
    assert (
        slopes(
            lambda w: losses.binary_cross_entropy_with_logits(
                w * np.ones(1), np.zeros(1)
            ),
            [0.0],
        )
        == 0.5
    )


def test_pytorch_2221_sign_of_the_shift():
    """The loss of the logit -100 and the label 0 was infinite, by a missing sign; here it is exp(-100)."""
    found = losses.binary_cross_entropy_with_logits(np.array([-100.0]), np.zeros(1))
    np.testing.assert_allclose(found, np.exp(-100.0), rtol=1e-14)


# --- 15. Single precision in, double precision out ---


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x**2),
        lambda x: np.sum(np.max(x, 1)),
        lambda x: np.mean(x),  # noqa: PLW0108 (one of a kind)
        lambda x: np.std(x),  # noqa: PLW0108 (likewise)
        lambda x: np.sum(x * 0.2),
        lambda x: np.sum(np.where(x > 0, x, 0.0)) / x.size,
        lambda x: np.mean(np.exp(-(x**2) / 2) / (2 * np.pi) ** 0.5),
        lambda x: sum(x[i].sum() for i in range(3)),
        lambda x: sum([x.sum()]) + 1,
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_hips_163_float32_stays_float32(f, dtype):
    """A gradient by float32 data came back as float64, from `mean`, `max`, `std` and others; here value and gradient have the data's type.

    Also HIPS #199, AutoGrad.jl #69, dlsyscourse/hw1 #20, dlsyscourse/hw2 #11, tinygrad #3613.
    """
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)
    assert f(tg.Parameter(x)).dtype == dtype
    assert slopes(f, x, dtype=dtype).dtype == dtype


def test_hips_163_double_constants_do_not_spread():
    """A float64 array among float32 data carried its type into the gradient; here the value is float64, as in NumPy, and the gradient has the parameter's type all the same."""
    w = tg.Parameter(np.ones(3, np.float32))
    loss = np.mean(w * np.arange(3.0))
    loss.backward()
    assert (loss.dtype, w.grad.dtype) == (np.float64, np.float32)


# --- 16. Products with a zero in them ---


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        ([0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
        ([0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
        ([0.0], [1.0]),
        ([0.0, 1.0], [1.0, 0.0]),
    ],
)
def test_hips_378_product_with_zeros(x, wanted):
    """The gradient of a product was nan at its zeros; here it is the product of the others.

    Also HIPS #93, pytorch #773, tinygrad #17404.
    """
    assert slopes(np.prod, x).tolist() == wanted


def test_mxnet_18078_product_along_an_axis():
    """prod([[4, 0]], axis=1) had the gradient [[0, nan]]; here it is [[0, 4]]."""
    assert slopes(lambda x: np.prod(x, axis=1), [[4.0, 0.0]]).tolist() == [[0.0, 4.0]]


def test_pytorch_194699_product_of_large_numbers():
    """With three zeros among products that overflow, an entry was inf * 0; here all entries are the exact zeros."""
    x = np.tril(np.full((3, 3), 1e13))
    np.testing.assert_array_equal(
        slopes(np.prod, x, dtype=np.float32), np.zeros((3, 3))
    )


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        ([0.0], [1.0]),
        ([0.0, 2.0, 3.0], [9.0, 0.0, 0.0]),
        ([2.0, 3.0, 0.0], [4.0, 2.0, 6.0]),
        ([2.0, 0.0, 0.0, 3.0], [1.0, 2.0, 0.0, 0.0]),
        ([2.0, 0.0, 3.0, 4.0], [1.0, 32.0, 0.0, 0.0]),
    ],
)
def test_tensorflow_119430_running_product_with_zeros(x, wanted):
    """The gradient of a running product divided by its zeros, and was nan or 0; here it is the sum of the products of the others.

    Also tensorflow #3862, pytensor #1911, burn #5141.
    """
    assert slopes(np.cumprod, x).tolist() == wanted


def test_theano_5197_square_of_a_running_product():
    """Σ cumprod([1, 0])² had the gradient [2, nan]; here it is [2, 0], and [10, 4] at [1, 2]."""
    for x, wanted in (([1.0, 2.0], [10.0, 4.0]), ([1.0, 0.0], [2.0, 0.0])):
        assert slopes(lambda x: np.cumprod(x) ** 2, x).tolist() == wanted


# --- 17. Kinks that differ by spelling ---


def test_pytorch_184572_spellings_of_relu():
    """At 0 relu had the slope 0, `maximum` 0.5 and `clamp` 1; here every spelling of max(x, 0) has 0.

    Also pytorch #7002, torch7 #734.
    """
    for f in (
        tg.relu,
        lambda x: np.maximum(x, 0),
        lambda x: np.maximum(0.0, x),
        lambda x: np.maximum(x, np.zeros(())),
        lambda x: np.clip(x, 0, None),
        lambda x: x.clip(0),
        lambda x: np.where(x > 0, x, 0.0),
        lambda x: x * (x > 0),
    ):
        assert slopes(f, 0.0) == 0.0
        assert slopes(f, [-2.0, 0.5]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("x", [0.0, 1e-45, -1e-45, 1e-10, -1e-10, 1.0, -1.0])
def test_jax_37821_maximum_near_zero(x):
    """In single precision max(x, 0) had the slope 0.5 at 0 and at subnormal numbers; here it is 1 above 0, and else 0, as `where` has."""
    wanted = 1.0 if x > 0 else 0.0
    for f in (
        lambda x: np.maximum(x, np.float32(0)),
        lambda x: np.where(x > 0, x, np.float32(0)),
    ):
        assert slopes(f, x, dtype=np.float32) == wanted


def test_hips_141_ties_of_a_maximum():
    """Which of equal elements gets the gradient of a maximum was left to chance; here they share it, in every spelling."""
    x = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    wanted = [[0.0, 0.5, 0.5], [1 / 3] * 3]
    for f in (
        lambda x: np.max(x, axis=1),
        lambda x: x.max(1),
        lambda x: -np.min(-x, axis=1),
    ):
        np.testing.assert_allclose(slopes(f, x), wanted, rtol=1e-15)
    assert [g.item() for g in slopes(np.maximum, 1.0, 1.0)] == [0.5, 0.5]


def test_pytorch_41779_ties_of_the_infinity_norm():
    """Of three elements with the largest magnitude, which one the norm follows was undefined; here each has a third, by its sign."""
    a = np.array([[9.0, 2.0, 9.0], [-2.0, -3.0, -4.0], [7.0, 8.0, -9.0]])
    found = slopes(lambda a: np.linalg.norm(a.ravel(), np.inf), a)
    np.testing.assert_allclose(found, np.sign(a) * (np.abs(a) == 9) / 3, rtol=1e-15)


def test_jax_10515_absolute_value_at_zero():
    """|x| had the slope 1 at 0, sqrt(x²) nan and norm(x) nan; here all have 0."""
    for f in (
        np.abs,
        np.fabs,
        lambda x: np.sqrt(x * x),
        lambda x: np.maximum(x, -x),
        np.linalg.norm,
    ):
        assert slopes(f, 0.0) == 0.0
