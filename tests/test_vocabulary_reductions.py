"""Reductions, running results and quantiles: values, ties, zeros, gaps, refusals.

The laws of `test_ops` hold these functions at random points; here are the points that
chance does not draw, each held to an independent reference: NumPy's values, plain
loops, fractions, mpmath, torch.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import product

import laws
import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import OpError, ShapeError, TinygradError, UnsupportedError

RNG = np.random.default_rng(3)
GAPS = np.where(RNG.random((4, 5)) < 0.3, np.nan, RNG.standard_normal((4, 5)))
GAPS[2] = np.nan
ARRAYS = {
    "float64": RNG.standard_normal((4, 5)),
    "float32": RNG.standard_normal((4, 5)).astype(np.float32),
    "int64": RNG.integers(-5, 5, (4, 5)),
    "uint8": RNG.integers(0, 5, (4, 5)).astype(np.uint8),
    "bool": RNG.random((4, 5)) < 0.5,
    "gaps": GAPS,
}
METHODS = [
    *("averaged_inverted_cdf", "closest_observation", "hazen", "higher"),
    *("interpolated_inverted_cdf", "inverted_cdf", "linear", "lower"),
    *("median_unbiased", "midpoint", "nearest", "normal_unbiased", "weibull"),
]


def numpys_value(name, *arguments, **settings):
    """Hold NumPy's function of a Tensor, and ours of both, to NumPy's of an array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = getattr(np, name)(*arguments, **settings)
        tensors = [tg.Tensor(arguments[0]), *arguments[1:]]
        for found in (
            getattr(np, name)(*tensors, **settings),
            getattr(tg, name)(*tensors, **settings),
            getattr(tg, name)(*arguments, **settings),
        ):
            assert np.asarray(found).dtype == np.asarray(wanted).dtype
            tolerance = 4 * np.finfo(np.float64).eps
            if np.asarray(wanted).dtype == np.float32:
                tolerance = 4 * np.finfo(np.float32).eps
            np.testing.assert_allclose(
                np.asarray(found), wanted, tolerance, tolerance, strict=True
            )


def slopes(f, *arrays, g=None):
    """Return the gradients of <g, f(*arrays)>; of the numbers 1, 2, 3, … by default."""
    leaves = [tg.Tensor(np.asarray(a, float), requires_grad=True) for a in arrays]
    out = f(*leaves)
    g = np.arange(1.0, out.size + 1) if g is None else np.asarray(g, float)
    out.backward(g.reshape(out.shape))
    return [x.grad for x in leaves]


# --- values ------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize(
    "name",
    [
        *("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"),
        *("median", "nanmedian", "ptp", "count_nonzero"),
    ],
)
def test_a_reduction_gives_numpys_value(name, kind, axis):
    """Value, shape and dtype are NumPy's, for floats, integers, truths and gaps."""
    if (name, kind) == ("ptp", "bool"):
        pytest.skip("NumPy does not subtract truths")
    for keepdims in (False, True):
        numpys_value(name, ARRAYS[kind], axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", ["cumprod", "nancumsum", "nancumprod"])
def test_a_running_result_gives_numpys_value(name, kind, axis):
    """Value, shape and dtype are NumPy's, along an axis and of all elements."""
    numpys_value(name, ARRAYS[kind], axis=axis)


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("method", METHODS)
def test_a_quantile_gives_numpys_value(method, kind):
    """Every method, every form of q, any axes: value, shape and dtype are NumPy's."""
    shares = (0, 1, 0.3, np.float32(0.4), [0.1, 0.25, 1.0], [[0.0, 0.5], [0.2, 0.9]])
    if kind == "bool":
        shares = (0.3,) if method in ("higher", "lower", "nearest") else ()
    for q, axis in product(shares, (None, 0, -1, (1, 0))):
        for name in ("quantile", "nanquantile"):
            numpys_value(name, ARRAYS[kind], q, axis=axis, method=method)
        if isinstance(q, float):
            for name in ("percentile", "nanpercentile"):
                numpys_value(
                    name, ARRAYS[kind], 100 * q, axis=axis, method=method, keepdims=True
                )


@pytest.mark.parametrize("kind", [k for k in ARRAYS if k != "gaps"])
def test_averages_and_covariances_are_numpys(kind):
    """Weights of every shape, what is returned, rows and columns: as NumPy has it."""
    a = ARRAYS[kind]
    weights = RNG.random((4, 5))
    for axis, given in ((None, weights), (1, weights[0]), ((1, 0), weights.T)):
        wanted = np.average(a, axis, given, returned=True)
        found = np.average(tg.Tensor(a), axis, given, returned=True)
        for mine, theirs in zip(found, wanted, strict=True):
            assert mine.dtype == theirs.dtype
            laws.close(mine, theirs, 2e-15)
    for options in ({}, {"rowvar": False}, {"ddof": 3}, {"bias": True}):
        numpys_value("cov", a, **options)
    numpys_value("cov", a, fweights=[1, 2, 1, 3, 1], aweights=np.arange(1.0, 6.0))
    numpys_value("corrcoef", a, rowvar=False)
    numpys_value("cov", a[0], a[1])


# --- running products and extremes -------------------------------------------------


def products_of_others(x, g):
    """Slopes and curvatures of <g, cumprod(x)>, as sums of products of fractions."""
    n = len(x)
    x, g = [Fraction(v) for v in x], [Fraction(v) for v in g]

    def without(k, *left_out):
        found = Fraction(1)
        for i in range(k + 1):
            if i not in left_out:
                found *= x[i]
        return found

    first = [sum(g[k] * without(k, i) for k in range(i, n)) for i in range(n)]
    second = [
        [
            sum(g[k] * without(k, i, j) for k in range(max(i, j), n)) if i != j else 0
            for j in range(n)
        ]
        for i in range(n)
    ]
    return np.array(first, float), np.array(second, float)


@pytest.mark.parametrize(
    "x",
    [
        [2.0, 3.0, 5.0, 7.0],
        [2.0, 0.0, 5.0, 7.0],
        [0.0, 3.0, 0.0, 7.0],
        [0.0, 0.0, 0.0, 2.0],
        [2.0, 3.0, 5.0, 0.0],
    ],
)
def test_a_running_product_with_zeros_has_the_slopes_of_the_others(x):
    """Nothing is divided: exact to second order, with no, one, two and three zeros."""
    g = np.array([1.0, 10.0, 100.0, 1000.0])
    first, second = products_of_others(x, g)
    leaf = tg.Tensor(x, requires_grad=True)
    (slope,) = tg.gradients(np.cumprod(leaf), [leaf], g)
    laws.identical(slope.numpy(), first)
    rows = [
        tg.gradients(slope[i], [leaf], unused="zero")[0].numpy() for i in range(len(x))
    ]
    laws.identical(np.stack(rows) + 0.0, second + 0.0)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrence_backwards_is_the_transpose(reverse):
    """As a matrix of the terms, the recurrence and its reverse are transposed."""
    x = RNG.standard_normal(5)
    ways = [tg.ops.recurrence(x, row, reverse=reverse) for row in np.eye(5)]
    back = [tg.ops.recurrence(x, row, reverse=not reverse) for row in np.eye(5)]
    laws.close(np.stack(ways), np.stack(back).T, 1e-15)
    loop = np.zeros(5)
    for i in range(5):
        loop[i] = x[i] * loop[i - 1] + 1.0 if i else 1.0
    laws.close(tg.ops.recurrence(x, np.ones(5)), loop, 1e-15)


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 1.0, 0.0, 2.0, 2.0, 1.0],
        [3.0, 3.0, 3.0],
        [-np.inf, -np.inf, 1.0],
        [np.inf, 1.0, np.inf],
        [1.0, np.nan, 2.0],
        [np.nan, 1.0],
    ],
)
@pytest.mark.parametrize("largest", [True, False])
def test_ties_so_far_share_a_running_extreme(x, largest):
    """Each result's share is split among all elements so far that are equal to it."""
    x = np.array(x) if largest else -np.array(x)
    call, ufunc = (tg.cummax, np.maximum) if largest else (tg.cummin, np.minimum)
    out = ufunc.accumulate(x)
    laws.identical(np.asarray(call(x)), out)
    wanted = np.zeros(len(x))
    for k, y in enumerate(out):
        met = [i for i in range(k + 1) if x[i] == y]
        for i in met:
            wanted[i] += (k + 1) / len(met)
    laws.close(slopes(call, x)[0], wanted, 1e-15)


def test_the_last_running_extreme_has_the_slope_of_the_extreme():
    """`cummax(x)[-1]` and `max(x)` are one function: one gradient, ties and all."""
    for x in ([1.0, 3.0, 3.0, 2.0], [2.0, 2.0, 2.0]):
        for running, whole in ((tg.cummax, np.max), (tg.cummin, np.min)):
            laws.identical(slopes(lambda t: running(t)[-1], x)[0], slopes(whole, x)[0])  # noqa: B023


def test_a_running_logarithm_of_a_sum_is_stable():
    """Values and slopes agree with mpmath's, however far apart the elements are."""
    mpmath.mp.dps = 40
    for x in (
        [1000.0, -1000.0, 1000.0, 999.0],
        [-1000.0, 0.0, -40.0, 3.0],
        [0.0, -45.0, -46.0],
        [-1e5, -1e5, 1e5],
    ):
        exact = [mpmath.mpf(v) for v in x]
        sums = [
            mpmath.fsum(mpmath.exp(v) for v in exact[: k + 1]) for k in range(len(x))
        ]
        wanted = np.array([float(mpmath.log(s)) for s in sums])
        np.testing.assert_allclose(tg.logcumsumexp(np.array(x)), wanted, 1e-15)
        slope = [
            float(
                mpmath.fsum((k + 1) * mpmath.exp(v) / sums[k] for k in range(i, len(x)))
            )
            for i, v in enumerate(exact)
        ]
        np.testing.assert_allclose(slopes(tg.logcumsumexp, x)[0], slope, 1e-13)


def test_infinities_share_a_running_logarithm_of_a_sum():
    """All of a row of equal infinities have equal shares; what is below has none."""
    inf = np.inf
    x = [-inf, -inf, 0.0, -inf]
    laws.identical(tg.logcumsumexp(np.array(x)), np.logaddexp.accumulate(x))
    laws.identical(slopes(tg.logcumsumexp, x)[0], np.array([2.0, 1.0, 7.0, 0.0]))
    x = [0.0, inf, 1.0, inf]
    laws.identical(tg.logcumsumexp(np.array(x)), np.array([0.0, inf, inf, inf]))
    laws.identical(slopes(tg.logcumsumexp, x)[0], np.array([1.0, 7.0, 0.0, 2.0]))


# --- gaps --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        *(("nansum", np.sum), ("nanprod", np.prod), ("nanmean", np.mean)),
        *(("nanmax", np.max), ("nanmin", np.min), ("nanvar", np.var)),
        *(("nanstd", np.std), ("nanmedian", np.median)),
        ("nanquantile", np.quantile),
    ],
)
def test_what_is_left_out_has_no_slope(name, plain):
    """A nan has the gradient 0; the rest has that of the function without the nan."""
    x = np.array([2.0, np.nan, -1.0, 3.0, np.nan, 3.0])
    more = (0.3,) if name == "nanquantile" else ()
    (got,) = slopes(lambda t: getattr(np, name)(t, *more), x)
    (wanted,) = slopes(lambda t: plain(t, *more), x[~np.isnan(x)])
    laws.close(got[~np.isnan(x)], wanted, 1e-15)
    laws.identical(got[np.isnan(x)], np.zeros(2))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (np.nanmax, "All-NaN slice encountered"),
        (np.nanmin, "All-NaN slice encountered"),
        (np.nanmean, "Mean of empty slice"),
        (np.nanmedian, "All-NaN slice encountered"),
        (lambda t: np.nanquantile(t, 0.3), "All-NaN slice encountered"),
        (np.nanvar, "Degrees of freedom <= 0 for slice."),
        (np.nanstd, "Degrees of freedom <= 0 for slice."),
    ],
)
def test_a_row_of_nan_alone_is_nan_with_numpys_warning(call, text):
    """The value is nan and NumPy's warning is given; no element has a gradient."""
    x = tg.Tensor([np.nan, np.nan], requires_grad=True)
    with pytest.warns(RuntimeWarning, match=text) as found:
        out = call(x)
    assert len(found) == 1
    assert found[0].filename == __file__
    assert np.isnan(out.item())
    out.backward()
    laws.identical(x.grad, np.zeros(2))


def test_an_infinite_slope_of_what_is_left_out_spoils_nothing():
    """log at 0 and sqrt at -4, left out or not chosen, leave all gradients finite."""
    with np.errstate(all="ignore"):
        for f, x, wanted in (
            (lambda t: np.nanmax(np.log(t)), [0.0, 1.0, 2.0], [0.0, 0.0, 0.5]),
            (lambda t: np.nanmax(np.sqrt(t)), [-4.0, 1.0, 4.0], [0.0, 0.0, 0.25]),
            (lambda t: np.nansum(np.sqrt(t)), [-4.0, 1.0, 4.0], [0.0, 0.5, 0.25]),
            (lambda t: tg.cummax(np.log(t)), [1.0, 0.0, 2.0], [3.0, 0.0, 1.5]),
            (lambda t: np.median(np.log(t)), [1.0, 0.0, 2.0], [1.0, 0.0, 0.0]),
        ):
            laws.identical(slopes(f, x)[0], np.array(wanted))


def test_places_of_extremes_need_a_number():
    """A row of nan alone has no largest number: refused, as NumPy does."""
    x = tg.Tensor([[1.0, np.nan], [np.nan, np.nan]])
    for call in (np.nanargmax, np.nanargmin):
        with pytest.raises(ShapeError, match=r"^np\.nanarg.*a number in every row"):
            call(x, axis=1)
        assert call(x) == 0


# --- medians and quantiles ---------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "x", "wanted"),
    [
        (np.median, [3.0, 1.0, 2.0, 10.0], [0.5, 0.0, 0.5, 0.0]),
        (np.median, [1.0, 2.0, 2.0, 3.0], [0.0, 0.5, 0.5, 0.0]),
        (np.median, [1.0, 1.0, 1.0, 5.0], [1 / 3, 1 / 3, 1 / 3, 0.0]),
        (np.ptp, [1.0, 3.0, 3.0, 1.0], [-0.5, 0.5, 0.5, -0.5]),
        (np.ptp, [2.0, 2.0], [0.0, 0.0]),
        (lambda t: np.quantile(t, 1), [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
        (lambda t: np.quantile(t, 0), [1.0, 1.0, 3.0], [0.5, 0.5, 0.0]),
        (lambda t: np.quantile(t, 0.5), [5.0, 1.0, 3.0], [0.0, 0.0, 1.0]),
        (lambda t: np.quantile(t, 0.75), [5.0, 1.0, 3.0], [0.5, 0.0, 0.5]),
        (np.median, [1.0, np.nan, 3.0], [0.0, 0.0, 0.0]),
    ],
)
def test_slopes_of_what_is_in_the_middle(f, x, wanted):
    """Even counts give halves, ties share, exact positions give all, nan nothing."""
    laws.identical(slopes(f, x)[0], np.array(wanted))


def test_quantiles_refuse_by_name_what_they_do_not_offer():
    """Weights, a share that is a Tensor, unknown methods and shares beyond 0 to 1."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    for call, error, text in (
        (lambda: np.quantile(x, x), UnsupportedError, r"^np\.quantile: q is constant"),
        (
            lambda: np.quantile(x, 0.5, weights=[1, 2], method="inverted_cdf"),
            UnsupportedError,
            r"^np\.quantile: weights= is not offered",
        ),
        (lambda: np.quantile(x, 0.5, method="best"), OpError, "method is one of"),
        (lambda: np.percentile(x, 101), OpError, "between 0 and 100"),
        (lambda: np.median(x, out=np.zeros(())), UnsupportedError, "out="),
        (
            lambda: np.median(tg.Tensor(np.zeros((0, 3))), axis=0),
            ShapeError,
            "least one",
        ),
        (lambda: np.median(x, axis=1), ShapeError, "out of range"),
    ):
        with pytest.raises(error, match=text):
            call()


# --- averages and covariances ------------------------------------------------------


def test_weights_have_slopes():
    """The slope of an average in its weights is (x - mean) / sum, by the formula."""
    x, w = RNG.standard_normal(4), RNG.random(4)
    got, to_weights = slopes(lambda a, b: np.average(a, weights=b), x, w)
    mean = np.sum(x * w) / np.sum(w)
    laws.close(got, w / np.sum(w), 1e-15)
    laws.close(to_weights, (x - mean) / np.sum(w), 1e-14)


def test_weights_that_cancel_are_refused():
    """NumPy divides by no sum that is zero, and neither does a Tensor."""
    with pytest.raises(TinygradError, match="do not sum to zero"):
        np.average(tg.Tensor([1.0, 2.0]), weights=[1.0, -1.0])
    with pytest.raises(ShapeError, match="Name the axis"):
        np.average(tg.Tensor(np.ones((2, 3))), weights=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("name", ["cov", "corrcoef"])
def test_covariances_have_torchs_slopes(name, torch):
    """Values and gradients of covariances and correlations are torch's, in float64."""
    x, g = RNG.standard_normal((3, 6)), RNG.standard_normal((3, 3))
    theirs = torch.tensor(x, requires_grad=True)
    out = getattr(torch, name)(theirs)
    out.backward(torch.tensor(g))
    laws.close(getattr(tg, name)(x), out.detach().numpy(), 1e-14)
    laws.close(slopes(getattr(np, name), x, g=g)[0], theirs.grad.numpy(), 1e-13)


def test_sums_by_group_have_the_slopes_of_their_groups():
    """Every weight has the cotangent of the sum that it went into."""
    groups = np.array([0, 3, 1, 3])
    (got,) = slopes(lambda w: np.bincount(groups, w), np.ones(4))
    laws.identical(got, np.array([1.0, 4.0, 2.0, 4.0]))
    weights = tg.Tensor(np.ones(4), requires_grad=True)
    out = np.bincount(groups, weights)
    groups[:] = 0  # too late to matter
    out.backward(np.arange(1.0, 5.0))
    laws.identical(weights.grad, np.array([1.0, 4.0, 2.0, 4.0]))
    for wrong in ([0, -1, 1, 1], [0.5, 1.0, 2.0, 3.0]):
        with pytest.raises(OpError, match="integers from 0"):
            tg.bincount(np.array(wrong), tg.Tensor(np.ones(4)))


# --- compiled ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.cumprod(x, axis=1),
        lambda x: tg.cummax(x, axis=0),
        tg.logcumsumexp,
        lambda x: np.median(x, axis=1),
        lambda x: np.quantile(x, [0.2, 0.9], axis=0),
        lambda x: np.nanmax(np.where(x > -1, x, np.nan), axis=1),
        lambda x: np.nanmean(np.where(x > 0, x, np.nan)),
        np.corrcoef,
    ],
)
def test_a_compiled_step_finds_the_order_of_each_call(f):
    """Elements and ties are found anew in each call, not those of the first."""

    def step(x):
        out = f(x)
        (slope,) = tg.gradients(tg.sum(out * out), [x])
        return out, slope

    compiled = tg.compile(step)
    for _ in range(3):
        x = RNG.standard_normal((3, 4))
        wanted = step(tg.Tensor(x, requires_grad=True))
        for got, want in zip(compiled(x), wanted, strict=True):
            laws.close(np.asarray(got), want.numpy(), 1e-13)


def test_what_depends_on_how_many_are_numbers_is_not_compiled():
    """The places of a nanquantile are numbers of one call: refused with its line."""
    with pytest.raises(TinygradError, match=r"np\.nanquantile"):
        tg.compile(lambda x: np.nanquantile(x, 0.5))(np.ones(3))
