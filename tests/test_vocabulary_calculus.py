"""Differences, integrals, interpolation, polynomials and convolutions at their edges.

The laws of `test_ops` hold these functions at random points; here they are held to
NumPy's values in every form of call, to torch, and to plain loops.
"""

from __future__ import annotations

import warnings

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import OpError, ShapeError, TinygradError, UnsupportedError

RNG = np.random.default_rng(11)
ARRAYS = {
    "float64": RNG.standard_normal((4, 5)),
    "float32": RNG.standard_normal((4, 5)).astype(np.float32),
    "int64": RNG.integers(-5, 5, (4, 5)),
    "bool": RNG.random((4, 5)) < 0.5,
}


def as_numpy(call, *arrays):
    """Hold a call on Tensors to the same call on arrays: value, shape and dtype."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = call(np, *arrays)
        found = [call(m, *map(tg.Tensor, arrays)) for m in (np, tg)]
        found.append(call(tg, *arrays))
    if not isinstance(wanted, tuple):
        wanted, found = (wanted,), [(x,) for x in found]
    for several in found:
        assert len(several) == len(wanted)
        for mine, theirs in zip(several, wanted, strict=True):
            mine, theirs = np.asarray(mine), np.asarray(theirs)
            assert mine.dtype == theirs.dtype
            eps = np.finfo(theirs.dtype if theirs.dtype.kind == "f" else float).eps
            size = np.max(np.abs(theirs[np.isfinite(theirs)]), initial=0.0)
            np.testing.assert_allclose(mine, theirs, 0, 6 * eps * size, strict=True)


def slopes(f, *arrays, g=None):
    """Return the gradients of <g, f(*arrays)>; of the numbers 1, 2, 3, … by default."""
    leaves = [tg.Tensor(np.asarray(a, float), requires_grad=True) for a in arrays]
    out = f(*leaves)
    g = np.arange(1.0, out.size + 1) if g is None else np.asarray(g, float)
    out.backward(g.reshape(out.shape))
    return [x.grad for x in leaves]


# --- values ------------------------------------------------------------------------

STEPS = np.array([0.0, 0.5, 2.0, 2.25, 4.0])
CALLS = [
    lambda m, x: m.diff(x),
    lambda m, x: m.diff(x, 0),
    lambda m, x: m.diff(x, 3, axis=0),
    lambda m, x: m.diff(x, 6),
    lambda m, x: m.diff(x, prepend=1, append=x[:, :2]),
    lambda m, x: m.trapezoid(x),
    lambda m, x: m.trapezoid(x, dx=0.3, axis=0),
    lambda m, x: m.trapezoid(x, STEPS),
    lambda m, x: m.trapezoid(x, x * 2, axis=0),
    lambda m, x: m.unwrap(x),
    lambda m, x: m.unwrap(x, 2.5, axis=0, period=4.0),
    lambda m, x: m.interp(x, STEPS, STEPS[::-1]),
    lambda m, x: m.interp(x, STEPS, x[0], left=-1, right=9),
    lambda m, x: m.interp(x, x[0], x[1], period=3),
    lambda m, x: m.interp(x, STEPS[:1], STEPS[:1]),
    lambda m, x: m.polyval(x[0], x),
    lambda m, x: m.polyval([1.0, 2.0, 3.0], x),
    lambda m, x: m.polyval(x[0], 2.0),
    lambda m, x: m.vander(x[0]),
    lambda m, x: m.vander(x[0], 0),
    lambda m, x: m.vander(x[0], 3, increasing=True),
]
OF_FLOATS = [
    lambda m, x: m.gradient(x),
    lambda m, x: m.gradient(x, 0.5, edge_order=2),
    lambda m, x: m.gradient(x, 2.0, STEPS),
    lambda m, x: m.gradient(x, np.arange(5) * 2, axis=1, edge_order=2),
    lambda m, x: m.gradient(x, x[0].cumsum() ** 2, axis=-1),
    lambda m, x: m.gradient(x, axis=(1, 0)),
    lambda m, x: m.ediff1d(x),
    lambda m, x: m.ediff1d(x, to_end=x[0, :2], to_begin=[1, 2]),
    lambda m, x: m.poly(x[0]),
    lambda m, x: m.polyadd(x[0], x[1, :2]),
    lambda m, x: m.polysub(x[0, :1], x[1]),
    lambda m, x: m.polymul(x[0], [0, 0, 1, 2]),
    lambda m, x: m.polymul(x[0], [0, 0]),
    lambda m, x: m.polyder(x[0], 2),
    lambda m, x: m.polyder(x[0], 9),
    lambda m, x: m.polyint(x[0], 2, [1.0, 2.0]),
    lambda m, x: m.polyint(x[0], 3, 2.0),
]


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("call", CALLS, ids=map(str, range(len(CALLS))))
def test_a_call_gives_numpys_value(call, kind):
    """`np.f(t)`, `tg.f(t)`, `tg.f(array)`: NumPy's value, shape and dtype."""
    x = ARRAYS[kind]
    as_numpy(call, np.sort(x, axis=1) if x.dtype.kind == "f" else x)


@pytest.mark.parametrize("kind", [k for k in ARRAYS if k != "bool"])
@pytest.mark.parametrize("call", OF_FLOATS, ids=map(str, range(len(OF_FLOATS))))
def test_a_call_on_numbers_gives_numpys_value(call, kind):
    """Likewise where NumPy subtracts, which it does not do to truths."""
    as_numpy(call, ARRAYS[kind] + 1)


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_what_slides_gives_numpys_value(name, mode, kind):
    """Every mode, even and odd lengths, the shorter one first and last."""
    x, y = ARRAYS[kind][:2]
    for n in range(1, 6):
        for k in range(1, 6):
            as_numpy(lambda m, a, b: getattr(m, name)(a, b, mode), x[:n], y[:k])


# --- slopes ------------------------------------------------------------------------


@pytest.mark.parametrize("edge_order", [1, 2])
def test_slopes_of_slopes_are_torchs(edge_order, torch):
    """`gradient` with positions has the values and the gradients of torch's."""
    f, g = RNG.standard_normal((2, 3, 5))
    theirs = torch.tensor(f, requires_grad=True)
    positions = torch.tensor(STEPS)
    (out,) = torch.gradient(theirs, spacing=(positions,), dim=1, edge_order=edge_order)
    out.backward(torch.tensor(g))
    call = lambda t: np.gradient(t, STEPS, axis=1, edge_order=edge_order)
    laws.close(call(f), out.detach().numpy(), 1e-14)
    laws.close(slopes(call, f, g=g)[0], theirs.grad.numpy(), 1e-14)


def test_positions_have_slopes_too():
    """Of a straight line the slope is exact, and moves with each position as it must."""
    positions = np.array([0.0, 1.0, 3.0])
    call = np.gradient
    to_f, to_x = slopes(call, 2 * positions, positions, g=[1.0, 0.0, 0.0])
    laws.identical(to_f, np.array([-1.0, 1.0, 0.0]))
    laws.identical(to_x, np.array([2.0, -2.0, 0.0]))


@pytest.mark.parametrize("mode", ["full", "valid"])
def test_a_convolution_has_torchs_slopes(mode, torch):
    """Gradients with respect to both rows are those of torch's conv1d."""
    x, k = RNG.standard_normal(6), RNG.standard_normal(3)
    a, b = (torch.tensor(v, requires_grad=True) for v in (x, k))
    padding = 2 if mode == "full" else 0
    out = torch.nn.functional.conv1d(
        a[None, None], b.flip(0)[None, None], None, 1, padding
    )
    g = np.arange(1.0, out.numel() + 1)
    out.backward(torch.tensor(g)[None, None])
    found = slopes(lambda s, t: np.convolve(s, t, mode), x, k)
    for mine, theirs in zip(found, (a, b), strict=True):
        laws.close(mine, theirs.grad.numpy(), 1e-14)


def piece_by_piece(x, xp, fp):
    """Value of an interpolation and its slopes in x, xp and fp, by the formula."""
    to_xp, to_fp = np.zeros(len(xp)), np.zeros(len(fp))
    if x < xp[0] or x >= xp[-1]:
        end = 0 if x < xp[0] else len(xp) - 1
        to_fp[end] = 1.0
        return fp[end], 0.0, to_xp, to_fp
    slopes = [0.0, *(np.diff(fp) / np.diff(xp)), 0.0]
    j = max(i for i in range(len(xp)) if xp[i] <= x)
    width = xp[j + 1] - xp[j]
    share = (x - xp[j]) / width
    slope = slopes[j + 1]
    if x == xp[j]:  # of all slopes between the two, the one of least norm
        slope = min(np.linspace(slopes[j], slope, 1001), key=abs)
        slope = 0.0 if abs(slope) < 0.1 else slope
    to_fp[j], to_fp[j + 1] = 1 - share, share
    to_xp[j], to_xp[j + 1] = -slope * (1 - share), -slope * share
    return fp[j] + share * (fp[j + 1] - fp[j]), slope, to_xp, to_fp


@pytest.mark.parametrize("x", [-1.0, 0.0, 0.25, 1.0, 1.75, 3.0, 4.0, 4.5, 5.0, 6.0])
def test_an_interpolation_has_the_slopes_of_its_piece(x):
    """Between positions, at them, at the ends and beyond: that of least norm at kinks."""
    xp, fp = np.array([0.0, 1.0, 3.0, 4.0, 5.0]), np.array([5.0, 7.0, 6.0, 4.0, 1.0])
    value, *wanted = piece_by_piece(x, xp, fp)
    found = slopes(np.interp, x, xp, fp, g=1.0)
    laws.close(np.interp(tg.Tensor(x), xp, fp).numpy(), value, 1e-15)
    for got, want in zip(found, wanted, strict=True):
        laws.close(got, np.asarray(want), 1e-15, scale=1.0)


def test_an_interpolation_is_a_clip_and_a_relu():
    """Two spellings of one function have one gradient, at their kinks as well."""
    x = [-1.0, 0.0, 3.0, 6.0, 7.0]
    for xp in ([0.0, 6.0], [0.0, 3.0, 6.0]):
        mine = slopes(lambda t: np.interp(t, xp, xp), x)[0]  # noqa: B023
        laws.identical(mine, slopes(lambda t: np.clip(t, 0, 6), x)[0])


def test_an_interpolation_keeps_numpys_values_where_pieces_are_steep():
    """Doubled positions, infinite values, nan: no other number than NumPy's."""
    nan, inf = np.nan, np.inf
    for xp, fp in (
        ([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 5.0, 6.0]),
        ([0.0, 1.0, 2.0, 2.0], [0.0, 1.0, 5.0, 6.0]),
        ([0.0, 1.0, 2.0], [0.0, inf, 2.0]),
        ([0.0, 1.0, 2.0], [inf, inf, 2.0]),
        ([0.0, 1.0, 2.0], [-inf, inf, nan]),
    ):
        x = np.array([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, nan, inf, -inf])
        wanted = np.interp(x, xp, fp)
        found = np.interp(tg.Tensor(x), xp, fp).numpy()
        laws.identical(np.isnan(found), np.isnan(wanted))
        laws.identical(np.nan_to_num(found), np.nan_to_num(wanted))


def test_the_values_beyond_the_ends_have_slopes():
    """`left` and `right` may be Tensors; what is inside does not reach them."""
    call = lambda a, b: tg.interp([-1.0, 0.5, 9.0, 8.0], [0.0, 1.0], [2.0, 4.0], a, b)
    to_left, to_right = (float(s) for s in slopes(call, -1.0, -2.0))
    assert (to_left, to_right) == (1.0, 7.0)


def test_angles_without_jumps_have_the_slope_of_angles():
    """What `unwrap` adds is constant: every cotangent comes back as it was."""
    laws.identical(slopes(np.unwrap, [0.0, 3.0, -3.0, 9.0])[0], np.arange(1.0, 5.0))


def test_a_polynomial_has_the_slope_of_its_derivative():
    """The slope of polyval in x is polyval of polyder; in p it is vander."""
    p, x = RNG.standard_normal(4), RNG.standard_normal(3)
    g = np.arange(1.0, 4.0)
    to_p, to_x = slopes(np.polyval, p, x)
    laws.close(to_x, g * np.polyval(np.polyder(p), x), 1e-14)
    laws.close(to_p, g @ np.vander(x, 4), 1e-14)


@pytest.mark.parametrize("columns", [(), (2,)])
def test_a_fit_has_the_slopes_of_the_normal_equations(columns, torch):
    """Coefficients move with positions, values and weights as (V'WV)^-1 V'Wy does."""
    x, w = RNG.standard_normal(6), RNG.random(6) + 0.5
    y, g = RNG.standard_normal((6, *columns)), RNG.standard_normal((3, *columns))
    a, b, c = (torch.tensor(v, requires_grad=True) for v in (x, y, w))
    left = torch.stack([a**2, a, a * 0 + 1], 1) * c[:, None]
    right = b * (c[:, None] if columns else c)
    torch.linalg.solve(left.T @ left, left.T @ right).backward(torch.tensor(g))
    call = lambda x, y, w: np.polyfit(x, y, 2, w=w)
    laws.close(call(*map(tg.Tensor, (x, y, w))).numpy(), call(x, y, w), 1e-13)
    for mine, theirs in zip(slopes(call, x, y, w, g=g), (a, b, c), strict=True):
        laws.close(mine, theirs.grad.numpy(), 1e-11)


def test_a_fit_gives_what_numpys_gives_beside_it():
    """Covariances, and what least squares tell, are NumPy's; few points are refused."""
    x, y = np.arange(5.0), RNG.standard_normal(5)
    for cov in (True, "unscaled"):
        for mine, theirs in zip(
            np.polyfit(tg.Tensor(x), y, 2, cov=cov),
            np.polyfit(x, y, 2, cov=cov),
            strict=True,
        ):
            laws.close(mine.numpy(), theirs, 1e-13)
    *found, condition = np.polyfit(tg.Tensor(x), y, 2, full=True)
    *wanted, theirs = np.polyfit(x, y, 2, full=True)
    assert condition == theirs
    for mine, want in zip(found, wanted, strict=True):
        laws.close(np.asarray(mine), want, 1e-13)
    with pytest.raises(ShapeError, match="more than 3 points"):
        np.polyfit(tg.Tensor(x[:3]), y[:3], 2, cov=True)
    with pytest.warns(np.exceptions.RankWarning, match="poorly conditioned"):
        np.polyfit(tg.Tensor(np.ones(5)), y, 1)


def test_a_quotient_and_its_remainder_make_the_polynomial():
    """q v + r = u for Tensors, with NumPy's coefficients and no zeros before r."""
    for u, v in (
        ([3.0, 5.0, 2.0], [2.0, 1.0]),
        ([1.0, 3.0, 2.0], [1.0, 1.0]),
        ([1.0], [2.0, 3.0]),
    ):
        found = np.polydiv(tg.Tensor(u), v)
        for mine, theirs in zip(found, np.polydiv(u, v), strict=True):
            laws.identical(np.asarray(mine), theirs)
        whole = np.polyadd(np.polymul(found[0], v), found[1])
        laws.close(np.trim_zeros(whole.numpy(), "f"), np.array(u), 1e-15)


# --- refusals ----------------------------------------------------------------------


def test_what_does_not_fit_is_refused_by_name():
    """Each refusal names the function, what was expected and what came."""
    t = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    row = tg.Tensor([1.0, 2.0, 4.0], requires_grad=True)
    for call, error, text in (
        (lambda: np.diff(t, -1), OpError, r"^np\.diff: expected an order"),
        (lambda: np.diff(tg.Tensor(1.0)), ShapeError, r"^np\.diff: .*one axis"),
        (lambda: np.gradient(t, edge_order=3), OpError, "edge_order is 1 or 2"),
        (lambda: np.gradient(t, axis=0, edge_order=2), ShapeError, "at least 3"),
        (lambda: np.gradient(t, 1.0, 2.0, 3.0), OpError, "one for each axis"),
        (lambda: np.gradient(t, [1.0], axis=1), ShapeError, "expected 3 positions"),
        (lambda: np.trapezoid(tg.Tensor(1.0)), ShapeError, "at least one axis"),
        (lambda: np.interp(row, row, row[:2]), ShapeError, "as many values"),
        (lambda: np.interp(row, row, row, period=0), OpError, "period is not zero"),
        (lambda: np.interp(0.5, row, row, period=row[0]), UnsupportedError, "constant"),
        (lambda: np.unwrap(tg.Tensor(1.0)), ShapeError, "at least one axis"),
        (lambda: np.convolve(row, row[:0]), ShapeError, r"^np\.convolve: .*two rows"),
        (lambda: np.convolve(row, row, "half"), OpError, "mode is"),
        (lambda: np.correlate(t, row), ShapeError, r"^np\.correlate"),
        (lambda: np.vander(t), ShapeError, "one axis"),
        (lambda: np.poly(t), ShapeError, "eigvals"),
        (lambda: np.polyder(row, -1), OpError, "expected an order"),
        (lambda: np.polyint(row, 3, [1.0, 2.0]), ShapeError, "one constant"),
        (lambda: np.polyadd(t, row), ShapeError, "one axis of coefficients"),
        (lambda: np.ediff1d(tg.Tensor([1, 2]), to_end=0.5), OpError, "casts to int64"),
        (lambda: np.histogram(row), UnsupportedError, r"^np\.histogram"),
    ):
        with pytest.raises(error, match=text):
            call()


# --- compiled ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: np.interp(x, np.cumsum(np.exp(y)), x * y),
        lambda x, y: np.interp(x, y, x, period=1.5),
        lambda x, y: np.gradient(x, np.cumsum(np.exp(y)), edge_order=2),
        lambda x, y: np.convolve(x, y, "same"),
        lambda x, y: np.unwrap(4 * x) * y,
        np.polyval,
        np.trapezoid,
    ],
)
def test_a_compiled_step_finds_the_pieces_of_each_call(f):
    """Pieces and jumps are found anew in each call, not those of the first."""

    def step(x, y):
        out = f(x, y)
        loss = tg.sum(out * out)
        return (loss, *tg.gradients(loss, [x, y]))

    compiled = tg.compile(step)
    for _ in range(3):
        x, y = RNG.standard_normal((2, 5))
        wanted = step(
            tg.Tensor(x, requires_grad=True), tg.Tensor(y, requires_grad=True)
        )
        for got, want in zip(compiled(x, y), wanted, strict=True):
            laws.close(np.asarray(got), want.numpy(), 1e-12)


def test_a_product_without_leading_zeros_is_not_compiled():
    """How many zeros lead is a question of one call; `convolve` asks nothing."""
    with pytest.raises(TinygradError, match=r"np\.polymul"):
        tg.compile(lambda x: np.polymul(x, x))(np.ones(3))
    assert np.array_equal(
        tg.compile(lambda x: np.convolve(x, x))(np.ones(2)), [1, 2, 1]
    )
