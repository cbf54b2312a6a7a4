"""Special functions: SciPy's values, textbook slopes near every edge, conventions.

The ops among them are members of the laws of `test_ops`. Here all of `tg.special` is
held to SciPy's values, and its slopes of both orders to mpmath's at points that chance
does not draw.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings

import laws
import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DetachedError, MissingExtraError, OpError
from tinygrad_nn.ops.samples import reals
from tinygrad_nn.ops.scipy_room import _Later

scipy_special = pytest.importorskip("scipy.special")

mp = mpmath.mp.clone()
mp.dps = 60

FUNCTIONS = {name: getattr(tg.special, name) for name in tg.special.__all__}
UFUNCS = {
    name: getattr(scipy_special, name)
    for name in FUNCTIONS
    if isinstance(getattr(scipy_special, name, None), np.ufunc)
}
INF, NAN = np.inf, np.nan

# --- values -------------------------------------------------------------------------

ONE_SIDED = {"erfinv": (-0.9, 0.9), "ndtri": (0.1, 0.9), "logit": (0.1, 0.9)}
SPECIAL_POINTS = np.array(
    [-INF, -2.5, -1.0, -0.0, 0.0, 1e-300, 0.5, 1.0, 2.0, 30.0, INF, NAN]
)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_values_and_dtypes_are_scipys(name, dtype):
    """For Tensors, arrays and SciPy's own spelling; at infinities, zeros and nan too."""
    ufunc, ours = UFUNCS[name], FUNCTIONS[name]
    x = np.random.default_rng(1).uniform(*ONE_SIDED.get(name, (0.2, 4.0)), (2, 3))
    points = [x.astype(dtype)]
    if np.dtype(dtype).kind == "f":
        points.append(SPECIAL_POINTS.astype(dtype))
    for x in points:
        operands = (x,) if ufunc.nin == 1 else (x, x[..., ::-1])
        with np.errstate(all="ignore"):
            wanted = ufunc(*operands)
            tensors = [tg.Tensor(operands[0]), *operands[1:]]
            for found in (ours(*operands), ours(*tensors), ufunc(*tensors)):
                value = np.asarray(getattr(found, "data", found))
                assert value.dtype == wanted.dtype
                eps = np.finfo(wanted.dtype).eps
                np.testing.assert_allclose(value, wanted, 4 * eps, strict=True)


def test_what_is_no_ufunc_has_scipys_value():
    """polygamma, logsumexp, softmax, log_softmax with axes, sinc."""
    x = np.random.default_rng(2).uniform(0.3, 3.0, (3, 4))
    t = tg.Tensor(x)
    for n in range(4):
        np.testing.assert_allclose(
            tg.special.polygamma(n, t).numpy(), scipy_special.polygamma(n, x), 1e-14
        )
    for name in ("logsumexp", "softmax", "log_softmax"):
        ours, scipys = FUNCTIONS[name], getattr(scipy_special, name)
        for options in ({}, {"axis": 0}, {"axis": -1}) + (
            ({"axis": (0, 1)}, {"keepdims": True}) if name == "logsumexp" else ()
        ):
            np.testing.assert_allclose(
                ours(t, **options).numpy(), scipys(x, **options), 1e-14, strict=True
            )
        assert ours(tg.Tensor(2.0)).shape == ()
    np.testing.assert_allclose(tg.special.sinc(t).numpy(), np.sinc(x), 1e-15)
    np.testing.assert_allclose(np.i0(t).numpy(), np.i0(x), 4e-15)


# --- slopes near the edges --------------------------------------------------------------


def _bell(x):
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)


def _erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def _normal(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _probability(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _erfinv(x):
    return mp.erfinv(x)


def _quantile(x):
    return mp.findroot(lambda z: _probability(z) / x - 1, scipy_special.ndtri(float(x)))


def _exprel_slope(x):
    return mp.mpf(1) / 2 if x == 0 else (mp.exp(x) * (x - 1) + 1) / x**2


def _scaled(n):
    return lambda x: mp.diff(lambda t: mp.exp(-abs(t)) * mp.besseli(n, t), x)


SMALL = (1e-300, 1e-10, -1e-3, 0.3)
NEAR_ONE = (1e-10, 0.01, 0.3, 0.7, 1 - 1e-3, 1 - 1e-10)
POSITIVE = (1e-10, 1e-3, 0.5, 1.0, 2.5, 20.0, 1e6)
NEGATIVE = (-0.5, -1.3, -3.75, -20.1)

ONE = {
    # name: (derivative, points)
    "erf": (_bell, (0.0, *SMALL, 1.0, -5.0, 20.0)),
    "erfc": (lambda x: -_bell(x), (0.0, *SMALL, 1.0, -5.0, 20.0, 26.0)),
    "erfcx": (lambda x: 2 * x * _erfcx(x) - 2 / mp.sqrt(mp.pi), (0.0, *SMALL, -5.0, 1.0, 10.0)),
    "erfinv": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(_erfinv(x) ** 2), (*SMALL, 0.9, -0.999, 1 - 1e-10)),
    "ndtr": (_normal, (0.0, *SMALL, 1.0, -10.0, -30.0, 8.0)),
    "ndtri": (lambda x: mp.sqrt(2 * mp.pi) * mp.exp(_quantile(x) ** 2 / 2), (1e-100, *NEAR_ONE)),
    "log_ndtr": (lambda x: _normal(x) / _probability(x), (0.0, *SMALL, -1.0, -30.0, -100.0, 5.0, 30.0)),
    "logit": (lambda x: 1 / (x * (1 - x)), (1e-100, *NEAR_ONE)),
    "expit": (lambda x: 1 / (2 + mp.exp(x) + mp.exp(-x)), (0.0, *SMALL, 1.0, -40.0, -700.0)),
    "log_expit": (lambda x: 1 / (1 + mp.exp(x)), (0.0, *SMALL, 1.0, -40.0, 40.0, 700.0)),
    "gamma": (lambda x: mp.gamma(x) * mp.psi(0, x), (*POSITIVE[1:-1], *NEGATIVE, 150.0)),
    "gammaln": (lambda x: mp.psi(0, x), (*POSITIVE, *NEGATIVE)),
    "digamma": (lambda x: mp.psi(1, x), (*POSITIVE, *NEGATIVE)),
    "psi": (lambda x: mp.psi(1, x), (0.5, -0.5)),
    "entr": (lambda x: -mp.log(x) - 1, (1e-300, *POSITIVE)),
    "i0": (lambda x: mp.besseli(1, x), (0.0, *SMALL, 1.0, -5.0, 600.0)),
    "i1": (lambda x: (mp.besseli(0, x) + mp.besseli(2, x)) / 2, (0.0, *SMALL, 1.0, -5.0, 600.0)),
    "i0e": (_scaled(0), (1e-10, -1e-3, 0.3, 1.0, -5.0, 100.0)),
    "i1e": (_scaled(1), (1e-10, -1e-3, 0.3, 1.0, -5.0, 100.0)),
    "j0": (lambda x: -mp.besselj(1, x), (0.0, *SMALL, 1.0, -5.0, 100.0)),
    "j1": (lambda x: (mp.besselj(0, x) - mp.besselj(2, x)) / 2, (0.0, *SMALL, 1.0, -5.0, 100.0)),
    "exprel": (_exprel_slope, (0.0, *SMALL, 1.99, 2.01, -2.01, -50.0, 50.0, 650.0)),
}  # fmt: skip

TWO = {
    # name: (derivatives, points)
    "xlogy": (
        (lambda x, y: mp.log(y), lambda x, y: x / y),
        ((0.0, 2.0), (2.0, 1e-10), (1e-300, 3.0), (-1.0, 0.5)),
    ),
    "xlog1py": (
        (lambda x, y: mp.log1p(y), lambda x, y: x / (1 + y)),
        ((0.0, 2.0), (2.0, 1e-10), (1e-300, 3.0), (-1.0, -0.5), (1.0, -1 + 1e-10)),
    ),
    "rel_entr": (
        (lambda x, y: mp.log(x / y) + 1, lambda x, y: -x / y),
        ((1.0, 2.0), (1.0, 1 + 1e-9), (1e-10, 1.0), (1.0, 1e-10)),
    ),
    "kl_div": (
        (lambda x, y: mp.log(x / y), lambda x, y: 1 - x / y),
        ((1.0, 2.0), (1.0, 1 + 1e-9), (1e-10, 1.0), (1.0, 1e-10), (3.0, 3.0)),
    ),
    "betaln": (
        (
            lambda x, y: mp.psi(0, x) - mp.psi(0, x + y),
            lambda x, y: mp.psi(0, y) - mp.psi(0, x + y),
        ),
        ((1.0, 2.0), (1e-3, 1.0), (0.5, 100.0), (30.0, 20.0)),
    ),
}


def second(derivative, *point):
    """Return the gradient of a derivative, by differences in many digits."""
    with mp.workdps(120):
        exact = [mp.mpf(x) for x in point]
        step = mp.mpf(10) ** -40 * max(
            mp.mpf(10) ** -15, min(abs(x) for x in exact) or 1
        )
        if len(point) == 1:
            return [mp.diff(derivative, exact[0], h=step)]
        orders = ((1, 0), (0, 1))
        return [mp.diff(derivative, tuple(exact), n, h=step) for n in orders]


def slopes(name, *point):
    """Return first and second derivatives of a public function, as the engine has them."""
    tensors = [tg.Tensor(x, requires_grad=True) for x in point]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = tg.gradients(FUNCTIONS[name](*tensors), tensors, unused="zero")
        rows = [tg.gradients(g, tensors, unused="zero") for g in first]
    return [g.item() for g in first], [[h.item() for h in row] for row in rows]


@pytest.mark.parametrize(
    ("name", "x"), [(name, x) for name, (_, points) in ONE.items() for x in points]
)
def test_slopes_of_both_orders_are_right_near_every_edge(name, x):
    """To ten digits of the larger of themselves and, for second ones, of the first."""
    derivative, _ = ONE[name]
    (first,), ((curvature,),) = slopes(name, x)
    with mp.workdps(700):
        wanted = derivative(mp.mpf(x)) if name not in ("ndtri", "i0e", "i1e") else None
    if wanted is None:
        wanted = derivative(mp.mpf(x))
    assert abs(first - wanted) <= 1e-10 * abs(wanted)
    if abs(x) < 1e-50:  # the differences would need a thousand digits
        return
    (bend,) = second(derivative, x)
    scale = max(abs(bend), abs(wanted))
    assert abs(curvature - bend) <= 1e-10 * scale, (curvature, bend)


@pytest.mark.parametrize(
    ("name", "point"), [(name, p) for name, (_, points) in TWO.items() for p in points]
)
def test_slopes_in_both_operands_are_right_near_every_edge(name, point):
    """To ten digits of themselves; second ones to ten of the largest among them."""
    derivatives, _ = TWO[name]
    first, rows = slopes(name, *point)
    exact = [mp.mpf(x) for x in point]
    for got, derivative in zip(first, derivatives, strict=True):
        wanted = derivative(*exact)
        assert abs(got - wanted) <= 1e-10 * abs(wanted), (got, wanted)
    if min(point) < 1e-200:
        return
    wanted = [second(derivative, *point) for derivative in derivatives]
    scale = max(abs(h) for row in wanted for h in row)
    for row, want in zip(rows, wanted, strict=True):
        for got, h in zip(row, want, strict=True):
            assert abs(got - h) <= 1e-10 * scale, (rows, wanted)


@pytest.mark.parametrize("x", [-2.6, -0.5, 0.3, 4.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_polygamma_goes_on_below_zero(n, x):
    """Value and slope by reflection: SciPy's own has nan there."""
    t = tg.Tensor(x, requires_grad=True)
    found = tg.special.polygamma(n, t)
    (slope,) = tg.gradients(found, [t])
    for got, order in ((found, n), (slope, n + 1)):
        wanted = mp.psi(order, mp.mpf(x))
        assert abs(got.item() - wanted) <= 1e-12 * abs(wanted)


@pytest.mark.parametrize("name", ["exprel", "j0", "i0"])
@pytest.mark.parametrize("x", [0.0, 1e-9, 0.5, 3.1, -4.2])
def test_families_have_slopes_of_every_order(name, x):
    """The fifth derivative, near 0 and away from it."""
    functions = {
        "exprel": lambda t: mp.mpf(1) if t == 0 else mp.expm1(t) / t,
        "i0": lambda t: mp.besseli(0, t),
        "j0": lambda t: mp.besselj(0, t),
    }
    y = tg.Tensor(x, requires_grad=True)
    slope = FUNCTIONS[name](y)
    for _ in range(5):
        (slope,) = tg.gradients(slope, [y])
    with mp.workdps(300):
        wanted = mp.diff(functions[name], mp.mpf(x), 5)
    assert abs(slope.item() - wanted) <= 1e-11


@pytest.mark.parametrize("x", [-60.0, -71.0, -1e3, -1e5])
def test_far_left_the_second_slope_of_log_ndtr_keeps_its_digits(x):
    """It is -h (x + h) for the hazard h, which cancels to -1 + 1 / x² there."""
    _, ((curvature,),) = slopes("log_ndtr", x)
    with mp.workdps(60):
        hazard = _normal(mp.mpf(x)) / _probability(mp.mpf(x))
        wanted = -hazard * (x + hazard)
    assert abs(curvature - wanted) <= 1e-10


def test_where_arguments_differ_in_size_betaln_loses_digits():
    """Its slope is a difference of two digammas, with their error of rounding."""
    first, _ = slopes("betaln", 1e8, 1.0)
    assert abs(first[0] + 1e-8) < 1e-14


# --- conventions at the edges -------------------------------------------------------------

EDGES = [
    ("xlogy", (0.0, 0.0), (0.0, 0.0)),
    ("xlogy", (0.0, -1.0), (0.0, 0.0)),
    ("xlogy", (0.0, INF), (0.0, 0.0)),
    ("xlogy", (0.0, 2.0), (np.log(2.0), 0.0)),
    ("xlogy", (0.0, NAN), (NAN, NAN)),
    ("xlog1py", (0.0, -1.0), (0.0, 0.0)),
    ("xlog1py", (0.0, 1.0), (np.log1p(1.0), 0.0)),
    ("entr", (0.0,), (0.0,)),
    ("entr", (-1.0,), (0.0,)),
    ("entr", (1.0,), (-1.0,)),
    ("rel_entr", (0.0, 1.0), (0.0, 0.0)),
    ("rel_entr", (0.0, 0.0), (0.0, 0.0)),
    ("rel_entr", (1.0, 0.0), (INF, -INF)),
    ("kl_div", (0.0, 1.0), (0.0, 1.0)),
    ("kl_div", (1.0, 0.0), (INF, -INF)),
    ("erf", (INF,), (0.0,)),
    ("erf", (-INF,), (-0.0,)),
    ("erfc", (INF,), (0.0,)),
    ("erfinv", (1.0,), (INF,)),
    ("erfinv", (-1.0,), (INF,)),
    ("erfinv", (2.0,), (NAN,)),
    ("ndtr", (INF,), (0.0,)),
    ("ndtr", (-INF,), (0.0,)),
    ("ndtri", (0.0,), (INF,)),
    ("ndtri", (1.0,), (INF,)),
    ("log_ndtr", (INF,), (0.0,)),
    ("log_ndtr", (-INF,), (INF,)),
    ("logit", (0.0,), (INF,)),
    ("logit", (1.0,), (INF,)),
    ("expit", (INF,), (0.0,)),
    ("expit", (-INF,), (0.0,)),
    ("log_expit", (-INF,), (1.0,)),
    ("gammaln", (INF,), (INF,)),
    ("exprel", (0.0,), (0.5,)),
    ("exprel", (INF,), (INF,)),
    ("exprel", (-INF,), (0.0,)),
    ("exprel", (800.0,), (INF,)),
    ("i0", (0.0,), (0.0,)),
    ("i1", (0.0,), (0.5,)),
    ("i0e", (0.0,), (0.0,)),
    ("i1e", (0.0,), (0.5,)),
    ("j0", (0.0,), (0.0,)),
    ("j1", (0.0,), (0.5,)),
]


@pytest.mark.parametrize(("name", "point", "wanted"), EDGES)
def test_at_the_edges_slopes_are_what_is_written(name, point, wanted):
    """In both loops of the engine, in float32 too, and no backward warns."""
    for dtype in (np.float64, np.float32):
        variables = [tg.Tensor(np.array(x, dtype), requires_grad=True) for x in point]
        with np.errstate(all="ignore"):
            out = FUNCTIONS[name](*variables)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            out.backward()
            found = tg.gradients(out, variables, unused="zero")
            total = sum((g * g for g in found), tg.Tensor(np.zeros((), dtype)))
            tg.gradients(total, variables, unused="zero")
        for x, got, want in zip(variables, found, wanted, strict=True):
            assert got.dtype == dtype
            tolerance = np.finfo(dtype).eps
            np.testing.assert_allclose(got.numpy(), want, tolerance)
            np.testing.assert_allclose(x.grad, want, tolerance)


def test_a_cross_entropy_of_xlogy_is_stable():
    """-(xlogy(Y, A) + xlog1py(1 - Y, -A)) has finite values, and the slope A - Y."""
    z = tg.Tensor([-1000.0, -40.0, -1.0, 0.0, 40.0, 1000.0], requires_grad=True)
    for Y in (np.zeros(6), np.ones(6), np.full(6, 0.25)):
        for xlogy, xlog1py in (
            (tg.special.xlogy, tg.special.xlog1py),
            (scipy_special.xlogy, scipy_special.xlog1py),
        ):
            A = tg.sigmoid(z)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                cost = -(xlogy(Y, A) + xlog1py(1 - Y, -A))
                (slope,) = tg.gradients(cost.sum(), [z])
            x = z.numpy()
            wanted = Y * np.logaddexp(0, -x) + (1 - Y) * np.logaddexp(0, x)
            np.testing.assert_allclose(cost.numpy(), wanted, 1e-14)
            exact = [1 / (1 + mp.exp(-v)) - u for u, v in zip(Y, x, strict=True)]
            np.testing.assert_allclose(slope.numpy(), np.float64(exact), 1e-14, 1e-300)
    plain = tg.special.xlogy(np.zeros(2), tg.softmax(tg.Tensor([-INF, 0.0])))
    laws.identical(plain.numpy(), np.zeros(2))


# --- laws --------------------------------------------------------------------------------------

RANGES = {
    "erfinv": (-0.9, 0.9), "ndtri": (0.1, 0.9), "logit": (0.1, 0.9),
    "xlog1py": (-0.5, 2.0),
}  # fmt: skip
MEMBERS = [
    laws.Member(name, FUNCTIONS[name], FUNCTIONS[name], sample)
    for name, ufunc in UFUNCS.items()
    for sample in reals(ufunc.nin, RANGES.get(name, (0.3, 3.0)))
]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: f"{m.name}-{m.sample}")
@pytest.mark.parametrize(
    "law",
    [
        laws.adjoint, laws.loops_agree, laws.gradients_are_their_own,
        laws.layout_does_not_matter, laws.inputs_untouched, laws.dtype_stays,
        laws.mutation_noticed,
    ],
    ids=lambda law: law.__name__,
)  # fmt: skip
def test_laws(law, member):
    """What holds for every op holds for what is composed of them."""
    law(member, np.random.default_rng(3))


# --- SciPy's own functions ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_a_function_of_scipy_finds_ours(name):
    """The gradient through ``scipy.special.f(t)`` is that of ``tg.special.f(t)``."""
    x = np.array([0.25, 0.75])
    grads = []
    for function in (UFUNCS[name], FUNCTIONS[name]):
        operands = [tg.Tensor(x, requires_grad=True) for _ in range(UFUNCS[name].nin)]
        function(*operands).sum().backward()
        grads.append([t.grad for t in operands])
    for one, other in zip(*grads, strict=True):
        laws.identical(one, other)


@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_every_option_works_or_is_refused_by_name(name):
    """As for NumPy's ufuncs."""
    t = tg.Tensor([0.25, 0.75], requires_grad=True)
    operands = [t] * UFUNCS[name].nin
    title = scipys = f"scipy.special.{UFUNCS[name].__name__}"
    if name in ("cbrt", "exp2", "expm1", "log1p"):
        title = "np." + name
    for call in (UFUNCS[name], FUNCTIONS[name]):
        expected = scipys if call is UFUNCS[name] else title
        laws.unsupported(
            lambda c=call: c(*operands, out=np.zeros(2)), f"{expected}: a Tensor cannot"
        )
        laws.unsupported(
            lambda c=call: c(*operands, where=[True, False]), f"{expected}: where="
        )
        assert call(*operands, dtype=np.float32).dtype == np.float32
        assert call(*operands, dtype=np.float32).requires_grad


@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_signatures_are_scipys(name):
    """Parameters of ufuncs, which SciPy and NumPy share."""
    try:
        wanted = inspect.signature(UFUNCS[name])
    except ValueError:  # before 2.4 NumPy's ufuncs had none
        pytest.skip("NumPy has no signature here")
    assert str(inspect.signature(FUNCTIONS[name])) == str(wanted)


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax", "polygamma"])
def test_signatures_of_functions_are_scipys(name):
    """Names, order and defaults."""
    assert [
        (p.name, p.default)
        for p in inspect.signature(FUNCTIONS[name]).parameters.values()
    ] == [
        (p.name, p.default)
        for p in inspect.signature(getattr(scipy_special, name)).parameters.values()
    ]


def test_what_is_not_here_is_refused_by_name():
    """A special function without a rule, a weight, a fractional order, leaving the graph."""
    t = tg.Tensor([0.25, 0.75], requires_grad=True)
    for name in ("hyp2f1", "struve", "lambertw", "kv", "betainc"):
        ufunc = getattr(scipy_special, name)
        if not isinstance(ufunc, np.ufunc):
            continue
        laws.unsupported(
            lambda u=ufunc: u(*[t] * u.nin), f"scipy.special.{name}: no gradient rule"
        )
    laws.unsupported(lambda: tg.special.logsumexp(t, b=[1, 2]), "b= is not offered")
    laws.unsupported(
        lambda: tg.special.logsumexp(t, return_sign=True), "return_sign= is not"
    )
    for order in (0.5, -1, np.array([0, 1])):
        laws.unsupported(
            lambda n=order: tg.special.polygamma(n, t), "expected one whole order"
        )
    for function in (scipy_special.logsumexp, scipy_special.softmax):
        with pytest.raises(DetachedError):
            function(t)
    with pytest.raises(OpError, match="takes 2 operands; got 1"):
        tg.special.xlogy(t)


def test_without_scipy_the_extra_is_named(monkeypatch):
    """The library imports without it; a special function says what to install."""
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtraError, match=r"tinygrad_nn\[special\]"):
        _Later("scipy").special  # noqa: B018
    text = "import sys, tinygrad_nn as tg; tg.special.expit(0.0); print('scipy' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


# --- compiled, derived, exported ---------------------------------------------------------------


def test_a_step_with_a_special_function_is_compiled_derived_and_exported(tmp_path):
    """Compiled steps call SciPy, a derivation's and an exported module's lines name it."""
    x = np.linspace(-1.0, 1.0, 5)
    w = tg.Parameter(np.linspace(0.2, 1.0, 5), name="w")

    def loss(x):
        return tg.sum(tg.special.erf(w * x) * tg.special.gammaln(w))

    wanted = loss(tg.Tensor(x)).item()
    assert tg.compile(loss)(x).item() == pytest.approx(wanted, rel=1e-15)
    result = tg.Tensor(x, name="x")
    source = tg.derive(loss(result), wrt=[w]).numpy
    assert "import scipy" in source
    assert "scipy.special.digamma" in source
    tg.export_numpy(tmp_path / "net.py", tg.special.erf, x)
    assert "import scipy" in (tmp_path / "net.py").read_text()
