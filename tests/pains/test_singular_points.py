"""Reports of nan: from the branch that was not taken, and from a root of zero."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from pains.asking import orders, slopes

# --- 1. NaN from the branch that was not taken ---


def test_pytorch_18287_where_nan():
    """The cosine of infinity, which `where` did not choose, made the gradient nan; here it is 0."""
    found = slopes(
        lambda x: np.where(x < 1, np.cos(x), np.zeros_like(x)), [0.0, np.inf]
    )
    assert found.tolist() == [0.0, 0.0]


def test_pytorch_23395_where_of_two_functions():
    """The infinite slope of the root that was not chosen replaced that of x / 2; here each element has the slope of its branch."""
    found = slopes(lambda x: np.where(x == 0, x / 2, np.sqrt(x) + 1), [16.0, 0.0])
    assert found.tolist() == [0.125, 0.5]


def test_pytorch_36923_where_path_not_taken():
    """A branch of 0 * (x / 0) that was never taken made the gradient nan; here it is 1."""
    t = 0.0
    assert slopes(lambda x: np.where(x >= t, x, t * (x / t)), 1.0) == 1.0


def test_pytorch_52248_where_constant_condition():
    """Even under a constant False, a / 0 made the gradient nan; here there is no path, and it is 0."""
    assert slopes(lambda a: np.where(np.array(False), a / 0, np.ones(())), 0.3) == 0.0


def test_pytorch_68425_where_exp():
    """exp(100) overflows in float32, where it was not chosen, and the gradient was nan; here it is that of 1 + a."""
    found = slopes(
        lambda a: np.where(a <= 0, np.exp(a), 1 + a), 100.0, dtype=np.float32
    )
    assert found == 1.0


def test_pytorch_108618_where_log2():
    """The logarithm of 0 in the branch not taken made the gradient nan; here it is that of the formula chosen."""
    found = slopes(lambda x: np.where(x > 2, np.log2(x), 2 * x), [0.0, 2.0, 3.0])
    np.testing.assert_allclose(found, [2, 2, 1 / (3 * np.log(2))], rtol=1e-15)


def test_pytorch_156212_where_nan_data():
    """A nan in the data, masked out by its comparison, made its gradient nan; here it is 0, as is that of 1e10, whose exponential overflows."""
    found = slopes(lambda x: np.where(x <= 10, np.exp(x), 1.0), [1.0, np.nan, 1e10])
    np.testing.assert_allclose(found, [np.e, 0, 0], rtol=1e-15)


def test_pytorch_187297_where_sqrt_of_negative():
    """A root of negative numbers that no element had chosen made all gradients nan; here they are 1.

    Also tinygrad #15806.
    """
    found = slopes(
        lambda x: np.where(x > 0, np.sqrt(x), x), [-1.0, -4.0], dtype=np.float32
    )
    assert found.tolist() == [1.0, 1.0]


def test_jax_347_where_norm_of_rows():
    """A row of zeros, whose norm `where` had replaced by 1, made the gradient nan; here that row's is 0."""

    def f(x):
        length = np.sqrt(np.sum(x**2, axis=1))
        return np.where(length > 0.5, length, np.ones_like(length))

    x = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    wanted = np.array([[1, 2] / np.sqrt(5), [0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(slopes(f, x), wanted, rtol=1e-15)


def test_pytorch_17455_overwritten_value():
    """A value whose slope is nan stayed nan after it had been replaced by 0; here what is replaced has gradient 0, and log(exp(x) + 1) has no nan to begin with."""
    x = np.array([0.0, 100.0])

    def replaced(x):
        f = np.log(np.exp(x) + 1)
        return np.where(np.array([False, False]), f, 0.0)

    assert slopes(replaced, x, dtype=np.float32).tolist() == [0.0, 0.0]
    found = slopes(lambda x: np.log(np.exp(x) + 1), x, dtype=np.float32)
    np.testing.assert_allclose(found, [0.5, 1.0], rtol=1e-6)


def test_pytorch_4132_selected_by_a_mask():
    """A division by 0 that a boolean index left out made the gradient nan; here it is 0."""
    divisor = np.array([0.0, 1.0])
    assert slopes(lambda x: (x / divisor)[divisor != 0], [1.0, 1.0]).tolist() == [
        0.0,
        1.0,
    ]


def test_pytorch_10729_clip_of_infinity():
    """exp(x) clipped at 1 had a nan gradient where exp overflows; here it is 0 from the limit on, exp(x) below."""
    x = np.array([-10.0, -5, 0, 5, 10, 50, 60, 70, 80, 90, 100], np.float32)
    found = slopes(lambda x: np.clip(np.exp(x), None, 1), x, dtype=np.float32)
    np.testing.assert_allclose(found[:2], [np.exp(-10.0), np.exp(-5.0)], rtol=1e-6)
    assert found[2:].tolist() == [0.0] * 9


def test_pytorch_23156_pruned_infinity():
    """A product with an infinite constant, set to 0 afterwards, left a nan gradient; here it is 0."""
    a = np.array([np.inf, 1.0])

    def f(b):
        y = a * b
        return np.where(np.abs(y) < np.inf, y, 0.0)

    assert slopes(f, [2.0, 3.0]).tolist() == [0.0, 1.0]


def test_mlx_3668_maximum_over_a_root():
    """max(sqrt(x² + y²), 1e-10) had a nan gradient at the origin; here it is 0, and the unit vector elsewhere."""
    xy = np.array([[0.0, 0.0], [3.0, 4.0]])

    def f(xy):
        x, y = xy[..., 0], xy[..., 1]
        return np.maximum(np.sqrt(x * x + y * y), 1e-10)

    np.testing.assert_allclose(slopes(f, xy), [[0, 0], [0.6, 0.8]], rtol=1e-15)


# --- 2. Norm, root, deviation and power at zero ---


def test_hips_151_norm_of_zeros():
    """The gradient of a norm at 0 was nan; here it is 0, its subgradient of least norm.

    Also HIPS #393, pytorch #2421, pytorch #2721, jax #3058.
    """
    assert tg.grad(np.linalg.norm)(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert slopes(np.linalg.norm, np.zeros(1), dtype=np.float32).tolist() == [0.0]


def test_hips_183_exp_of_norm():
    """exp(-norm(x)²) had a nan gradient at 0 and exp(-Σx²) none; here both are 0."""
    x = np.zeros((2, 1))
    by_norm = slopes(lambda x: np.exp(-1.0 * np.linalg.norm(x) ** 2), x)
    by_sum = slopes(lambda x: np.exp(-1.0 * np.sum(x**2)), x)
    np.testing.assert_array_equal(by_norm, np.zeros((2, 1)))
    np.testing.assert_array_equal(by_sum, by_norm)


def test_hips_268_value_and_gradient_of_a_norm():
    """Value and gradient of a norm at 0 came with two warnings and a nan; here they are 0 and 0, and silent."""
    value, gradient = tg.value_and_grad(np.linalg.norm)(np.zeros(1))
    assert (value, gradient.tolist()) == (0.0, [0.0])


@pytest.mark.parametrize(
    "x", [np.array([[0.0, 0.0]]), np.zeros(3), np.ones((2, 2)), np.array(0.0)]
)
def test_hips_617_squared_norm(x):
    """norm(x)² has the slope 2x everywhere, and was nan at 0; here it is 2x.

    Also HIPS #570, HIPS #586, jax #4177, jax #21723.
    """
    found = slopes(lambda x: np.linalg.norm(x, axis=-1 if x.ndim else None) ** 2, x)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-15)


def test_hips_570_square_of_a_root():
    """sqrt(x)² raised ZeroDivisionError at 0; here the root's convention makes it 0 there, and it is 1 elsewhere.

    Also tensorflow #5562.
    """
    assert slopes(lambda x: np.sqrt(x) ** 2, 0.0) == 0.0
    np.testing.assert_allclose(
        slopes(lambda x: np.sqrt(x) ** 2, [0.25, 3.0]), 1, rtol=1e-15
    )
    assert tg.grad(lambda x: np.sqrt(x) ** 2)(0.0) == 0.0


def test_pytorch_6394_root_of_a_square():
    """sqrt((x - 1)²) had a nan gradient at 1 and |x - 1| had 0; here both have 0."""
    for f in (
        lambda x: np.sqrt((x - 1) ** 2),
        lambda x: np.abs(x - 1),
        lambda x: np.linalg.norm(x - 1),
    ):
        assert slopes(f, [1.0]).tolist() == [0.0]


def test_pytorch_3264_normalised_by_norm_one():
    """Division by the norm of order 1 gave nan for the elements that are 0; here they have 1 / norm, the subgradient of |x| at 0 being 0."""
    x = np.array([[0.0, 0.0, 0.0, 0.0, 0.1996]])
    found = slopes(lambda x: x / np.linalg.norm(x, 1, axis=1, keepdims=True), x)
    np.testing.assert_allclose(
        found, [[1 / 0.1996] * 4 + [0.0]], rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_pytorch_4320_deviation_of_equal_numbers(fill):
    """The standard deviation of equal numbers, zeros or ones, had a nan gradient; here it is 0."""
    a = np.full((16, 3, 4, 4), fill)
    np.testing.assert_array_equal(slopes(lambda a: np.std(a, axis=0).mean(), a), 0 * a)


def test_jax_11716_deviation_of_a_pair():
    """std([1, 1]) had a nan gradient, though the variance had none; here both are 0."""
    assert tg.grad(np.std)(np.array([1.0, 1.0])).tolist() == [0.0, 0.0]
    assert tg.grad(np.var)(np.array([1.0, 1.0])).tolist() == [0.0, 0.0]


def test_pytorch_65599_spellings_of_frobenius():
    """norm(x) had the gradient 0 at a matrix of zeros, and norm(x, 'fro') nan; here both have 0."""
    x = np.zeros((3, 3))
    for f in (
        np.linalg.norm,
        lambda x: np.linalg.norm(x, "fro"),
        lambda x: np.linalg.norm(x, axis=(0, 1)),
    ):
        np.testing.assert_array_equal(slopes(f, x), x)


def test_jax_26248_scaled_norm():
    """norm(a x) had a nan slope by a at x = 0, where |a| norm(x) has 0; here both have 0."""
    x = np.zeros(2)
    assert slopes(lambda a: np.linalg.norm(a * x), 1.3) == 0.0
    assert slopes(lambda a: np.abs(a) * np.linalg.norm(x), 1.3) == 0.0


def test_tensorflow_12071_norm_of_tiny_numbers():
    """In float32 a norm of 0 had a nan slope and one of 1e-19 an infinite one; here they are 0 and 1."""
    x = np.array([[1.0], [0.0], [1e-16], [1e-19]])
    found = slopes(lambda x: np.linalg.norm(x, axis=1), x, dtype=np.float32)
    np.testing.assert_allclose(found, [[1], [0], [1], [1]], rtol=1e-6)


def test_hips_581_spellings_of_a_power():
    """x**1.5 had the slope 0 at 0, and x * x**0.5 nan with warnings; here both have 0, and the same elsewhere."""
    for f in (lambda x: x**1.5, lambda x: x * x**0.5, lambda x: x * np.sqrt(x)):
        found = slopes(f, [0.0, 2.0])
        np.testing.assert_allclose(found, [0.0, 1.5 * np.sqrt(2)], rtol=1e-15)


def test_hips_149_power_at_zero():
    """The slope of x**y by y divided by zero at x = 0; here all six of the report are finite.

    Also mlx #504, HIPS #472.
    """
    points = [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
    assert [tg.grad(np.power, 0)(x, y).item() for x, y in points] == [0.0, 1.0, 0.0]
    assert [tg.grad(np.power, 1)(x, y).item() for x, y in points] == [0.0, 0.0, 0.0]
    assert slopes(lambda y: (y - 3.0) ** 2, [3.0, 5.0]).tolist() == [0.0, 4.0]


def test_mlx_628_power_of_a_difference():
    """(a - b)**b at a = b = 1 had a nan slope by b; here it is -1, as 0**1 log 0 is 0."""
    a, b = tg.Parameter(np.ones(2)), tg.Parameter(np.ones(2))
    ((a - b) ** b).backward(np.full(2, 123.0))
    assert (a.grad.tolist(), b.grad.tolist()) == ([123.0, 123.0], [-123.0, -123.0])


def test_hips_116_orders_of_a_square():
    """The third derivative of exp(-x**2) was nan at 0, and that of exp(-x * x) was not; here both are 0, -2, 0, 12."""
    for f in (lambda x: np.exp(-(x**2)), lambda x: np.exp(-(x * x))):
        assert [float(d) for d in orders(f, 0.0, 4)] == [1.0, 0.0, -2.0, 0.0, 12.0]


@pytest.mark.parametrize("powers", [[4], [1, 2, 3, 4]])
def test_tensorflow_35011_orders_of_a_polynomial(powers):
    """The fifth derivative of x**4, and the second of a sum of powers, were nan at 0; here all are the polynomial's."""
    points = np.array([-1.0, 0.0, 1.0])
    polynomial = np.polynomial.Polynomial([float(k in powers) for k in range(5)])
    found = orders(lambda x: sum(x**k for k in powers), points, 5)
    for order, values in enumerate(found):
        derivative = polynomial.deriv(order) if order else polynomial
        np.testing.assert_allclose(values, derivative(points), rtol=1e-15)


@pytest.mark.parametrize("order", [None, 1, 2, 3, np.inf])
def test_mygrad_378_norms_along_an_axis(order):
    """Norms along an axis had nan for a row of zeros, whatever the order; here that row has 0."""
    x = np.array([[0.0, 0.0], [3.0, -4.0]])
    found = slopes(lambda x: np.linalg.norm(x, order, axis=1), x)
    p = 2 if order is None else order
    row = (
        [0.0, -1.0]
        if p == np.inf
        else np.array([3.0, -4.0]) * np.array([3.0, 4.0]) ** (p - 2)
    )
    size = 1.0 if p == np.inf else float(mpmath.root(3**p + 4**p, p)) ** (p - 1)
    np.testing.assert_allclose(found, [[0.0, 0.0], np.divide(row, size)], rtol=1e-15)


def test_hips_393_hypot_at_the_origin():
    """hypot(0, 0) had the slopes nan and nan, as the norm of a vector had; here they are 0 and 0."""
    found = slopes(np.hypot, [0.0, 3.0, 0.0], [0.0, 4.0, -2.0])
    np.testing.assert_allclose(found, [[0, 0.6, 0], [0, 0.8, -1]], rtol=1e-15)


def test_jax_1722_sinc_at_zero():
    """The slope of sin(πx) / πx at 0 was 0 / 0; here it is 0, and the curvature -π² / 3."""
    _, slope, curvature = orders(np.sinc, np.array([0.0]), 2)
    assert slope.tolist() == [0.0]
    np.testing.assert_allclose(curvature, [-(np.pi**2) / 3], rtol=1e-13)
