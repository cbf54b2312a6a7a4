"""NumPy's ufuncs: slopes near every edge, conventions at the edges, dtypes, methods.

The laws of `test_ops` hold the ops at random points. Here they are held to textbook
derivatives in a hundred digits at points that chance does not draw, and to NumPy's own
values for every dtype, method and option.
"""

from __future__ import annotations

import inspect
import math
import operator
import warnings

import laws
import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    DetachedError,
    DtypeError,
    MutationError,
    OpError,
    ShapeError,
    UnsupportedError,
)

mp = mpmath.mp.clone()
mp.dps = 100

UFUNCS = {
    name: ufunc
    for name, ufunc in vars(np).items()
    if isinstance(ufunc, np.ufunc) and name == ufunc.__name__
}
OF_INTEGERS = {
    *("bitwise_count", "gcd", "isnat", "lcm", "left_shift", "right_shift"),
    "nextafter",
}
"""Refused by name: they have no meaning, or no slope, on real numbers."""
OF_ROWS = {"matmul", "matvec", "vecdot", "vecmat"}
ELEMENTWISE = {
    name: ufunc for name, ufunc in UFUNCS.items() if name not in OF_INTEGERS | OF_ROWS
}


def bits(got, wanted):
    """Hold to NumPy's dtype and value: to the last bits, for a few are composed."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype
    eps = np.finfo(wanted.dtype).eps if wanted.dtype.kind == "f" else 0
    np.testing.assert_allclose(got, wanted, 2 * eps, 0, strict=True)


# --- all of them --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:invalid value")
def test_every_ufunc_is_answered_or_refused_by_name():
    """Each ufunc of NumPy gives a Tensor of a Tensor, or says that it does not."""
    x = tg.Tensor(np.full((2, 2), 0.5), requires_grad=True)
    for name, ufunc in UFUNCS.items():
        operands = [x] * ufunc.nin
        if name.startswith("bitwise") or name in ("invert", "left_shift"):
            operands = [x > 0] * ufunc.nin
        if name == "ldexp":
            operands = [x, 2]
        if name in OF_INTEGERS:
            laws.unsupported(lambda u=ufunc, o=operands: u(*o), f"np.{name}")
            continue
        found = ufunc(*operands)
        for part in found if ufunc.nout > 1 else (found,):
            assert isinstance(part, tg.Tensor), name


ALIASES = {name: u for name, u in vars(np).items() if isinstance(u, np.ufunc)}


@pytest.mark.parametrize("name", sorted(set(ALIASES) - OF_INTEGERS))
def test_every_name_that_numpy_has_for_a_ufunc_is_here(name):
    """Aliases too, as ``acos`` and ``mod``: all are public, under one signature."""
    if ALIASES[name].__name__ in OF_INTEGERS:
        return
    ours = getattr(tg, name)
    assert ours.__name__ == ALIASES[name].__name__
    assert name in tg.__all__
    assert ours is getattr(tg, ours.__name__)


DTYPES = ("float64", "float32", "float16", "int64", "int8", "uint8", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_values_and_dtypes_are_numpys(name, dtype):
    """For every dtype: NumPy's value in NumPy's dtype, or a refusal by name."""
    ufunc = ELEMENTWISE[name]
    numbers = np.array([[1, 0, 2], [3, 1, 1]]).astype(dtype)
    others = np.array([2, 1, 3]).astype(dtype)
    if name == "ldexp":
        others = np.array([2, 1, 3])
    operands = (numbers, others)[: ufunc.nin]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = ufunc(*operands)
        except TypeError:
            wanted = None
        for place in range(ufunc.nin):
            given = list(operands)
            given[place] = tg.Tensor(given[place])
            for call in (ufunc, getattr(tg, name)):
                try:
                    found = call(*given)
                except (UnsupportedError, DtypeError) as refused:
                    title = str(refused).partition(":")[0]
                    assert name in title or title in "&|^~" or wanted is None
                    continue
                assert wanted is not None, f"NumPy refuses, and {found} comes out"
                pairs = zip(found, wanted, strict=True)
                for got, want in pairs if ufunc.nout > 1 else [(found, wanted)]:
                    bits(got.numpy(), want)


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_a_number_of_python_leaves_float32_alone(name):
    """Beside a float32 Tensor a Python number is weak, as NumPy has it."""
    ufunc = ELEMENTWISE[name]
    if ufunc.nin == 1 or name.startswith("bitwise"):
        return
    x = np.array([0.5, 2.0], np.float32)
    other = 2 if name == "ldexp" else 1.5
    pairs = [((x, other), (tg.Tensor(x), other))]
    if name != "ldexp":
        pairs.append(((other, x), (other, tg.Tensor(x))))
    for arrays, tensors in pairs:
        wanted, found = ufunc(*arrays), ufunc(*tensors)
        parts = zip(found, wanted, strict=True)
        for got, want in parts if ufunc.nout > 1 else [(found, wanted)]:
            bits(got.numpy(), want)


# --- slopes near the edges ------------------------------------------------------------

NEAR_ONE = (1 - 1e-3, 1 - 1e-8, 1 - 2.0**-53)
SMALL = (0.0, 1e-300, 1e-10, 1e-3, 0.3)
BOTH = (*SMALL, *[-x for x in SMALL[1:]])

ONE = {
    # name: (derivative, points)
    "tan": (lambda x: 1 / mp.cos(x) ** 2, (*BOTH, 1.5, -1.5, math.pi / 2, 1e5)),
    "arcsin": (
        lambda x: 1 / mp.sqrt((1 - x) * (1 + x)),
        (*BOTH, *NEAR_ONE, *[-x for x in NEAR_ONE]),
    ),
    "arccos": (
        lambda x: -1 / mp.sqrt((1 - x) * (1 + x)),
        (*BOTH, *NEAR_ONE, *[-x for x in NEAR_ONE]),
    ),
    "arctan": (lambda x: 1 / (1 + x * x), (*BOTH, 1.0, -20.0, 1e8, -1e70)),
    "sinh": (mp.cosh, (*BOTH, 1.0, -20.0, 700.0)),
    "cosh": (mp.sinh, (*BOTH, 1.0, -20.0, 700.0)),
    "arcsinh": (lambda x: 1 / mp.sqrt(1 + x * x), (*BOTH, 1.0, -1e8, 1e100)),
    "arccosh": (
        lambda x: 1 / mp.sqrt((x - 1) * (x + 1)),
        (1 + 2.0**-52, 1 + 1e-8, 1.001, 2.0, 1e8, 1e100),
    ),
    "arctanh": (
        lambda x: 1 / ((1 - x) * (1 + x)),
        (*BOTH, *NEAR_ONE, *[-x for x in NEAR_ONE]),
    ),
    "exp2": (lambda x: mp.log(2) * mp.mpf(2) ** x, (*BOTH, -1000.0, 1000.0)),
    "log2": (
        lambda x: 1 / (x * mp.log(2)),
        (1e-150, 1e-10, 0.5, 1.0, 1 + 1e-10, 3.0, 1e150),
    ),
    "log10": (
        lambda x: 1 / (x * mp.log(10)),
        (1e-150, 1e-10, 0.5, 1.0, 1 + 1e-10, 3.0, 1e150),
    ),
    "cbrt": (
        lambda x: 1 / (3 * mp.cbrt(abs(x)) ** 2),
        (1e-100, -1e-100, 1e-10, -0.5, 1.0, 1e300),
    ),
    "sinc": (
        lambda x: (
            mp.mpf(0)
            if x == 0
            else (mp.cos(mp.pi * x) - mp.sinc(mp.pi * x)) / x
        ),
        (1e-300, 1e-10, -1e-3, 0.1, 0.3, 0.6366, 0.6367, 1.0, -1.5, 100.25),
    ),
}  # fmt: skip

TWO = {
    # name: (derivatives, points)
    "arctan2": (
        (lambda y, x: x / (x * x + y * y), lambda y, x: -y / (x * x + y * y)),
        ((3.0, 4.0), (1.0, 1e-20), (1e-20, 1.0), (0.0, -1.0), (-1.0, 0.0), (1e-140, 2e-140), (1e+140, -1e+140), (-1e-08, 2.0)),
    ),
    "hypot": (
        (lambda x, y: x / mp.hypot(x, y), lambda x, y: y / mp.hypot(x, y)),
        ((3.0, 4.0), (1.0, 1e-08), (1e-08, -1.0), (0.0, -1.0), (1e-300, 2e-300), (1e+300, -1e+300)),
    ),
    "logaddexp": (
        (lambda x, y: 1 / (1 + mp.exp(y - x)), lambda x, y: 1 / (1 + mp.exp(x - y))),
        ((0.0, 0.0), (1e-300, 0.0), (40.0, 0.0), (0.0, 40.0), (300.0, -300.0), (-100000.0, -100000.0 + 0.001), (0.3, -1.2)),
    ),
    "logaddexp2": (
        (lambda x, y: 1 / (1 + mp.mpf(2) ** (y - x)), lambda x, y: 1 / (1 + mp.mpf(2) ** (x - y))),
        ((0.0, 0.0), (1e-300, 0.0), (40.0, 0.0), (0.0, 60.0), (300.0, -300.0)),
    ),
    "fmod": (
        (lambda x, y: mp.mpf(1), lambda x, y: -mp.sign(x / y) * mp.floor(abs(x / y))),
        ((5.3, 0.1), (1.0, 0.1), (-7.5, 2.0), (7.5, -2.0), (1e15, 0.3), (0.0, 1.0)),
    ),
    "remainder": (
        (lambda x, y: mp.mpf(1), lambda x, y: -mp.floor(x / y)),
        ((5.3, 0.1), (1.0, 0.1), (-7.5, 2.0), (7.5, -2.0), (-1e15, 0.3), (0.0, 1.0)),
    ),
    "float_power": (
        (lambda x, y: y * mp.power(x, y - 1), lambda x, y: mp.power(x, y) * mp.log(x)),
        ((2.0, 3.0), (1e-10, 2.5), (1e10, -3.0), (1.0, 1e-10)),
    ),
}  # fmt: skip


def second(derivative, *point):
    """Return the gradient of a derivative, by differences in three hundred digits."""
    with mp.workdps(900):
        exact = [mp.mpf(x) for x in point]
        orders = np.eye(len(point), dtype=int).tolist()
        return [
            mp.diff(derivative, tuple(exact), tuple(n), h=mp.mpf(10) ** -600)
            if len(point) > 1
            else mp.diff(derivative, exact[0], h=mp.mpf(10) ** -600)
            for n in orders
        ]


def slopes(name, *point):
    """Return first and second derivatives of a public function, as the engine has them."""
    tensors = [tg.Tensor(x, requires_grad=True) for x in point]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = tg.gradients(getattr(tg, name)(*tensors), tensors, unused="zero")
        rows = [
            tg.gradients(g, tensors, unused="zero")
            if g.requires_grad
            else [tg.Tensor(0.0)] * len(point)
            for g in first
        ]
    return [g.item() for g in first], [[h.item() for h in row] for row in rows]


def near(got, wanted, tolerance=1e-10):
    assert abs(mp.mpf(got) - wanted) <= tolerance * abs(wanted), (got, float(wanted))


@pytest.mark.parametrize(
    ("name", "x"), [(name, x) for name, (_, points) in ONE.items() for x in points]
)
def test_slopes_of_both_orders_are_right_near_every_edge(name, x):
    """Relative to themselves, to ten digits; second ones where floats can hold them."""
    derivative, _ = ONE[name]
    (first,), ((curvature,),) = slopes(name, x)
    with mp.workdps(900):
        wanted = derivative(mp.mpf(x))
    near(first, wanted)
    (wanted,) = second(derivative, x)
    if abs(wanted) < 1e-290:  # floats lose digits down there
        assert abs(curvature) < 1e-280
    else:
        near(curvature, wanted)


@pytest.mark.parametrize(
    ("name", "point"), [(name, p) for name, (_, points) in TWO.items() for p in points]
)
def test_slopes_in_both_operands_are_right_near_every_edge(name, point):
    """To ten digits of themselves; second ones to ten of the largest among them."""
    derivatives, _ = TWO[name]
    first, rows = slopes(name, *point)
    exact = [mp.mpf(x) for x in point]
    for got, derivative in zip(first, derivatives, strict=True):
        near(got, derivative(*exact))
    if name in ("fmod", "remainder"):
        assert rows == [[0.0, 0.0], [0.0, 0.0]]
        return
    wanted = [second(derivative, *point) for derivative in derivatives]
    scale = max(abs(h) for row in wanted for h in row)
    for row, want in zip(rows, wanted, strict=True):
        for got, h in zip(row, want, strict=True):
            assert abs(got - h) <= 1e-10 * scale, (rows, wanted)
            if name.startswith("logadd"):
                near(got, h)


@pytest.mark.parametrize("order", [3, 4, 5])
@pytest.mark.parametrize("x", [0.0, 1e-9, 0.01, 0.5, 0.9, 1.3, 2.2, -3.7])
def test_sinc_has_slopes_of_every_order(order, x):
    """Near 0 and away from it, against differences in a hundred digits."""
    y = slope = tg.Tensor(x, requires_grad=True)
    slope = tg.sinc(y)
    for _ in range(order):
        (slope,) = tg.gradients(slope, [y])
    with mp.workdps(600):
        wanted = mp.diff(lambda t: mp.sinc(mp.pi * t), mp.mpf(x), order)
    assert abs(slope.item() - wanted) <= 1e-11 * mp.pi**order


# --- conventions at the edges -----------------------------------------------------------

INF, NAN = np.inf, np.nan
EDGES = [
    # Infinite slopes of finite values are 0 by convention.
    ("sqrt", (0.0,), (0.0,)),
    ("cbrt", (0.0,), (0.0,)),
    ("arcsin", (1.0,), (0.0,)),
    ("arcsin", (-1.0,), (0.0,)),
    ("arccos", (1.0,), (0.0,)),
    ("arccos", (-1.0,), (0.0,)),
    ("arccosh", (1.0,), (0.0,)),
    ("hypot", (0.0, 0.0), (0.0, 0.0)),
    ("arctan2", (0.0, 0.0), (0.0, 0.0)),
    ("arctan2", (0.0, -0.0), (0.0, 0.0)),
    # Where the value is infinite, so is the slope.
    ("arctanh", (1.0,), (INF,)),
    ("arctanh", (-1.0,), (INF,)),
    ("log2", (0.0,), (INF,)),
    ("log10", (0.0,), (INF,)),
    ("cosh", (800.0,), (INF,)),
    ("cosh", (-800.0,), (-INF,)),
    ("sinh", (800.0,), (INF,)),
    # Outside of the domain there is none.
    ("arcsin", (2.0,), (NAN,)),
    ("arccosh", (0.5,), (NAN,)),
    # Limits at infinity.
    ("arctan", (INF,), (0.0,)),
    ("arctan", (-INF,), (0.0,)),
    ("arcsinh", (INF,), (0.0,)),
    ("arccosh", (INF,), (0.0,)),
    ("exp2", (-INF,), (0.0,)),
    ("exp2", (INF,), (INF,)),
    ("log2", (INF,), (0.0,)),
    ("log10", (INF,), (0.0,)),
    ("cbrt", (INF,), (0.0,)),
    ("tanh", (800.0,), (0.0,)),
    ("arctan2", (1.0, INF), (0.0, 0.0)),
    ("arctan2", (INF, 1.0), (0.0, 0.0)),
    ("arctan2", (INF, INF), (0.0, 0.0)),
    ("hypot", (1.0, INF), (0.0, NAN)),
    ("logaddexp", (-INF, -INF), (0.5, 0.5)),
    ("logaddexp", (INF, INF), (0.5, 0.5)),
    ("logaddexp", (-INF, 3.0), (0.0, 1.0)),
    ("logaddexp", (INF, 3.0), (1.0, 0.0)),
    ("logaddexp", (INF, -INF), (1.0, 0.0)),
    ("logaddexp2", (-INF, -INF), (0.5, 0.5)),
    ("logaddexp2", (1e308, -1e308), (1.0, 0.0)),
    # nan is no number to fmax and fmin; ties share.
    ("fmax", (NAN, 1.0), (0.0, 1.0)),
    ("fmax", (1.0, NAN), (1.0, 0.0)),
    ("fmax", (NAN, NAN), (0.0, 0.0)),
    ("fmax", (2.0, 2.0), (0.5, 0.5)),
    ("fmax", (-0.0, 0.0), (0.5, 0.5)),
    ("fmin", (NAN, 1.0), (0.0, 1.0)),
    ("fmin", (1.0, NAN), (1.0, 0.0)),
    ("fmin", (2.0, 2.0), (0.5, 0.5)),
    ("fmin", (INF, INF), (0.5, 0.5)),
    # Signs and steps.
    ("copysign", (2.0, -0.0), (-1.0, 0.0)),
    ("copysign", (-2.0, 0.0), (-1.0, 0.0)),
    ("copysign", (0.0, -1.0), (0.0, 0.0)),
    ("copysign", (-0.0, 1.0), (0.0, 0.0)),
    ("heaviside", (0.0, 0.3), (0.0, 1.0)),
    ("heaviside", (-0.0, 0.3), (0.0, 1.0)),
    ("heaviside", (2.0, 0.3), (0.0, 0.0)),
    ("heaviside", (NAN, 0.3), (0.0, 0.0)),
    ("fmod", (3.0, INF), (1.0, 0.0)),
    ("remainder", (3.0, INF), (1.0, 0.0)),
    ("fmod", (-0.0, 2.0), (1.0, 0.0)),
    ("sinc", (0.0,), (0.0,)),
    ("ldexp", (3.0, 4), (16.0, None)),
    ("absolute", (0.0,), (0.0,)),
    ("fabs", (-0.0,), (0.0,)),
    ("float_power", (0.0, 0.5), (0.0, 0.0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "point", "wanted"), EDGES)
def test_at_the_edges_slopes_are_what_is_written(name, point, wanted):
    """In both loops of the engine, in float32 too, and no backward warns."""
    for dtype in (np.float64, np.float32):
        if dtype == np.float32 and any(1e38 < abs(x) < INF for x in point):
            continue
        operands = [
            tg.Tensor(np.array(x, dtype), requires_grad=True) if w is not None else x
            for x, w in zip(point, wanted, strict=True)
        ]
        variables = [x for x in operands if isinstance(x, tg.Tensor)]
        with np.errstate(all="ignore"):  # NumPy's own, of the value
            out = getattr(tg, name)(*operands)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if out.requires_grad:
                out.backward()
            found = tg.gradients(out, variables, unused="zero")
            total = sum((g * g for g in found if g.requires_grad), tg.Tensor(0.0))
            if total.requires_grad:
                tg.gradients(total, variables, unused="zero")
        for x, got, want in zip(variables, found, wanted, strict=False):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got.numpy(), want)
            if x.grad is not None:
                np.testing.assert_array_equal(x.grad, want)


FINITE_CURVATURE = [
    *[("arcsin", (x,)) for x in (1.0, -1.0)],
    *[("arccos", (x,)) for x in (1.0, -1.0)],
    *[("cbrt", (0.0,)), ("sqrt", (0.0,)), ("arccosh", (1.0,)), ("sinc", (0.0,))],
    *[("hypot", (0.0, 0.0)), ("arctan2", (0.0, 0.0)), ("arctan2", (1.0, INF))],
    *[("logaddexp", (-INF, -INF)), ("logaddexp", (-INF, 0.0))],
]


@pytest.mark.parametrize(("name", "point"), FINITE_CURVATURE)
def test_conventions_are_finite_in_the_second_order_too(name, point):
    """Where a convention stands for a slope, the slope of that slope is a number."""
    _, rows = slopes(name, *point)
    assert np.all(np.isfinite(rows))


def test_one_operand_that_requires_a_gradient_has_none_at_a_tie():
    """fmax and fmin share ties as maximum does: with a constant the least slope is 0."""
    for name in ("fmax", "fmin"):
        x = tg.Tensor([1.0, 1.0], requires_grad=True)
        getattr(tg, name)(x, 1.0).sum().backward()
        laws.identical(x.grad, np.zeros(2))


def test_what_is_not_chosen_has_no_path():
    """An infinite slope behind the operand that fmax leaves does no harm."""
    x = tg.Tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        (slope,) = tg.gradients(tg.sum(tg.fmin(1.0 / x, 7.0)), [x])
    laws.identical(slope.numpy(), np.array([0.0, -1.0 / 16]))


# --- constants ---------------------------------------------------------------------------

CONSTANT = {
    "ceil": np.ceil, "fix": np.fix, "floor": np.floor, "isfinite": np.isfinite,
    "isinf": np.isinf, "isnan": np.isnan, "isneginf": np.isneginf,
    "isposinf": np.isposinf, "rint": np.rint, "round": np.round, "sign": np.sign,
    "signbit": np.signbit, "spacing": np.spacing, "trunc": np.trunc,
    "imag": np.imag, "iscomplex": np.iscomplex, "isreal": np.isreal, "around": np.around,
}  # fmt: skip
NUMBERS = np.array([-2.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e300, INF, -INF, NAN])


@pytest.mark.parametrize("name", sorted(CONSTANT))
def test_steps_are_constant_and_have_numpys_value(name):
    """No gradient goes through them; infinities, halves, -0.0 and nan as in NumPy."""
    numpys = CONSTANT[name]
    for numbers in (NUMBERS, NUMBERS[:8].astype(np.float32), np.array([3, -4])):
        if name in ("signbit", "spacing") and numbers.dtype.kind == "i":
            continue
        with np.errstate(all="ignore"):
            wanted = numpys(numbers)
            x = tg.Tensor(numbers)
            for found in (numpys(x), getattr(tg, name)(x), getattr(tg, name)(numbers)):
                laws.identical(np.asarray(getattr(found, "data", found)), wanted)
        if numbers.dtype.kind == "f":
            x = tg.Tensor(numbers, requires_grad=True)
            with np.errstate(all="ignore"):
                assert not getattr(tg, name)(x).requires_grad


@pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 3])
def test_round_has_numpys_decimals(decimals):
    """The function, the method, the built-in one: all round halves to even as NumPy."""
    x = np.array([12.345, -0.5, 1.5, 2.675, 1234.5])
    t = tg.Tensor(x)
    for found in (
        np.round(t, decimals), np.around(t, decimals=decimals), tg.round(t, decimals),
        t.round(decimals), round(t, decimals),
    ):  # fmt: skip
        laws.identical(found.numpy(), np.round(x, decimals))
    laws.identical(round(t).numpy(), np.round(x))
    laws.unsupported(lambda: np.round(t, out=np.zeros(5)), "np.round: out=")


def test_isclose_is_numpys():
    """Tolerances, infinities and nan; no gradient."""
    x = np.array([1.0, 1.0, INF, INF, NAN, 0.0])
    y = np.array([1.0 + 1e-6, 1.1, INF, -INF, NAN, 1e-9])
    for options in ({}, {"rtol": 0.2}, {"atol": 0.5, "rtol": 0}, {"equal_nan": True}):
        found = np.isclose(tg.Tensor(x, requires_grad=True), y, **options)
        laws.identical(found.numpy(), np.isclose(x, y, **options))
        assert not found.requires_grad


# --- results in two parts ----------------------------------------------------------------


def test_parts_of_a_number_have_the_slopes_of_calculus():
    """modf: 1 and 0; frexp: the power of two, and 0; divmod: 0, and 1 and the quotient."""
    x = tg.Tensor([-2.75, 0.3, 5.0, 1e-300], requires_grad=True)
    behind, whole = np.modf(x)
    assert not whole.requires_grad
    behind.backward(np.arange(1.0, 5.0))
    laws.identical(x.grad, np.arange(1.0, 5.0))
    x.grad = None
    mantissa, exponent = np.frexp(x)
    assert not exponent.requires_grad
    mantissa.sum().backward()
    laws.identical(x.grad, np.ldexp(1.0, -np.frexp(x.numpy())[1]))
    laws.identical((mantissa * 2.0 ** exponent.numpy()).numpy(), x.numpy())
    y = tg.Tensor(0.75, requires_grad=True)
    quotient, rest = divmod(x, y)
    assert not quotient.requires_grad
    dx, dy = tg.gradients(rest.sum(), [x, y])
    laws.identical(dx.numpy(), np.ones(4))
    laws.identical(dy.numpy(), np.asarray(-(-4.0 + 0.0 + 6.0 + 0.0)))


@pytest.mark.parametrize("name", ["modf", "frexp"])
def test_parts_are_numpys_for_every_kind_of_number(name):
    """Signed zeros, infinities, nan, denormal numbers."""
    numbers = np.array([-2.5, -0.0, 0.0, 0.25, 5e-324, 1e300, INF, -INF, NAN])
    for found, wanted in zip(
        getattr(np, name)(tg.Tensor(numbers)), getattr(np, name)(numbers), strict=True
    ):
        finite = np.isfinite(numbers) if found.dtype.kind == "i" else slice(None)
        laws.identical(found.numpy()[finite], wanted[finite])


def test_angle_and_parts_of_real_numbers():
    """The angle is 0 or π with slope 0; the real part is the Tensor, the other is 0."""
    x = tg.Tensor([2.0, -3.0, 0.0, -0.0], requires_grad=True)
    laws.identical(np.angle(x).numpy(), np.angle(x.numpy()))
    laws.identical(np.angle(x, deg=True).numpy(), np.angle(x.numpy(), deg=True))
    (slope,) = tg.gradients(np.angle(x).sum(), [x])
    np.testing.assert_array_equal(slope.numpy(), np.zeros(4))
    for same in (
        np.real(x),
        x.real,
        x.conj(),
        x.conjugate(),
        np.conj(x),
        np.positive(x),
    ):
        assert same is x
    for zeros in (np.imag(x), x.imag):
        laws.identical(zeros.numpy(), np.zeros(4))
        assert not zeros.requires_grad or tg.gradients(zeros.sum(), [x], unused="zero")


# --- operators -----------------------------------------------------------------------------

OPERATORS = {
    "%": operator.mod,
    "//": operator.floordiv,
    "divmod": divmod,
}


@pytest.mark.parametrize("sign", OPERATORS)
def test_division_with_rest_is_numpys(sign):
    """Tensors, arrays and numbers on either side, integers too."""
    apply = OPERATORS[sign]
    for x, y in (
        (np.array([-2.5, 7.0]), np.array([2.0, -2.0])),
        (np.array([-2.5, 7.0], np.float32), 2),
        (7.5, np.array([2.0, -2.0])),
        (np.array([-5, 7]), np.array([2, 3])),
    ):
        wanted = apply(np.asarray(x) if np.ndim(y) == 0 else x, y)
        for a, b in (
            (tg.Tensor(x) if np.ndim(x) else x, y),
            (x, tg.Tensor(y) if np.ndim(y) else y),
        ):
            if not isinstance(a, tg.Tensor) and not isinstance(b, tg.Tensor):
                continue
            found = apply(a, b)
            for got, want in (
                zip(found, wanted, strict=True)
                if sign == "divmod"
                else [(found, wanted)]
            ):
                bits(got.numpy(), want)


def test_exclusive_or_is_of_booleans():
    """``^`` of masks is recorded; of integers it would work on bits, and is refused."""
    x = tg.Tensor([1.0, 2.0, 3.0])
    laws.identical(((x > 1) ^ (x < 3)).numpy(), np.array([True, False, True]))
    laws.identical(
        (np.array([True] * 3) ^ (x < 3)).numpy(), np.array([False] * 2 + [True])
    )
    laws.unsupported(
        lambda: tg.Tensor([6, 1]) ^ 3, "expected booleans; got dtype int64"
    )
    laws.identical(tg.bitwise_xor(np.array([6, 1]), 3), np.array([5, 2]))


def test_rounding_functions_of_python_are_recorded():
    """math.floor, math.ceil, math.trunc and round give constant Tensors."""
    for function in (math.floor, math.ceil, math.trunc, round):
        found = function(tg.Tensor(-1.5, requires_grad=True))
        assert isinstance(found, tg.Tensor)
        assert not found.requires_grad
        assert found.item() == function(-1.5)


def test_division_in_place_follows_the_rule_of_leaves():
    """Under no_grad a leaf changes in place; otherwise it is refused, with advice."""
    w = tg.Parameter(np.array([5.0, -5.0]))
    kept = w
    with pytest.raises(MutationError, match="%="):
        w %= 3.0
    with pytest.raises(MutationError, match="//="):
        w //= 3.0
    with tg.no_grad():
        w %= 3.0
    assert w is kept
    laws.identical(w.numpy(), np.array([2.0, 1.0]))
    with tg.no_grad():
        w //= 2.0
    laws.identical(w.numpy(), np.array([1.0, 0.0]))


# --- options --------------------------------------------------------------------------------

ONE_OF_EACH = [name for name in sorted(ELEMENTWISE) if not name.startswith("bitwise")]


def _operands(name, x):
    if name == "ldexp":
        return x, 2
    if name == "invert":
        return (x > 0,)
    return (x,) * ELEMENTWISE[name].nin


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_option_works_or_is_refused_by_name(name):
    """out=, where=, casting=, order=, subok=, signature= and what there is not."""
    ufunc = ELEMENTWISE[name]
    x = tg.Tensor(np.full(2, 0.5), requires_grad=True)
    operands = _operands(name, x)
    out = np.zeros(2) if ufunc.nout == 1 else (np.zeros(2), np.zeros(2))
    for call in (ufunc, getattr(tg, name)):
        laws.unsupported(
            lambda c=call: c(*operands, out=out),
            f"np.{name}: a Tensor cannot be written",
        )
        for option, value in (
            ("where", np.array([True, False])), ("casting", "unsafe"), ("order", "C"),
            ("subok", False), ("signature", "d->d"),
        ):  # fmt: skip
            laws.unsupported(
                lambda c=call, o=option, v=value: c(*operands, **{o: v}),
                f"np.{name}: {option}= is not offered",
            )
        nothing = None if ufunc.nout == 1 else (None, None)
        plain = call(*operands, out=nothing, where=True, casting="same_kind", order="K")
        parts = plain if ufunc.nout > 1 else (plain,)
        for got, want in zip(
            parts, parts if ufunc.nout == 1 else call(*operands), strict=True
        ):
            laws.identical(got.numpy(), want.numpy())
    with pytest.raises(OpError, match=f"np.{name}: no option 'colour'"):
        getattr(tg, name)(*operands, colour=1)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_dtype_computes_in_that_dtype_or_is_refused_by_name(name):
    """``dtype=`` of a float is NumPy's computation in it; integers are refused."""
    ufunc = ELEMENTWISE[name]
    x = np.array([0.1, 0.7])
    operands = _operands(name, x)
    tensors = _operands(name, tg.Tensor(x, requires_grad=True))
    laws.unsupported(lambda: ufunc(*tensors, dtype=int), f"np.{name}: dtype=int64")
    try:
        wanted = ufunc(*operands, dtype=np.float32)
    except TypeError:
        wanted = None
    try:
        found = ufunc(*tensors, dtype=np.float32)
    except UnsupportedError as refused:
        assert name in str(refused) or str(refused)[0] == "~"  # noqa: PT017
        return
    parts = zip(found, wanted, strict=True) if ufunc.nout > 1 else [(found, wanted)]
    for got, want in parts:
        bits(got.numpy(), want)


# --- methods of ufuncs ------------------------------------------------------------------------

X = np.random.default_rng(5).uniform(0.5, 1.5, (3, 4))
TRUTHS = X > 1
REDUCED = {
    "add": X, "multiply": X, "maximum": X, "minimum": X, "logaddexp": X,
    "logical_and": TRUTHS, "logical_or": TRUTHS, "bitwise_and": TRUTHS,
    "bitwise_or": TRUTHS,
}  # fmt: skip
AXES = [
    {},
    {"axis": 1},
    {"axis": -1},
    {"axis": None},
    {"axis": (0, 1)},
    {"keepdims": True},
    {"axis": 1, "keepdims": True},
]


@pytest.mark.parametrize("options", AXES, ids=str)
@pytest.mark.parametrize("name", REDUCED)
def test_a_reduction_is_the_function_along_axis_0(name, options):
    """Values are NumPy's, for every axis; slopes are those of differences."""
    ufunc, array = getattr(np, name), REDUCED[name]
    t = tg.Tensor(array, requires_grad=array.dtype.kind == "f")
    found = ufunc.reduce(t, **options)
    wanted = ufunc.reduce(array, **options)
    np.testing.assert_allclose(
        np.asarray(getattr(found, "data", found)), wanted, 1e-15, strict=True
    )
    if array.dtype.kind != "f":
        return
    g = np.random.default_rng(1).standard_normal(np.shape(wanted))
    (slope,) = tg.gradients(found, [t], g)
    step = 1e-6
    for place in np.ndindex(array.shape):
        moved = [array.copy(), array.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (np.sum(g * ufunc.reduce(m, **options)) for m in moved)
        assert abs(slope.numpy()[place] - (up - down) / (2 * step)) < 1e-8


def test_options_of_reductions_work_or_are_refused_by_name():
    """initial=, where= and dtype= where the function has them; the rest is refused."""
    t = tg.Tensor(X)
    mask = np.array([True, False, True, True])
    for name in ("add", "multiply", "maximum", "minimum"):
        ufunc = getattr(np, name)
        for options in (
            {"initial": 0.25},
            {"where": mask, "initial": 0.9},
            {"initial": 2.0, "axis": None},
        ):
            np.testing.assert_allclose(
                ufunc.reduce(t, **options).numpy(),
                ufunc.reduce(X, **options),
                1e-15,
                strict=True,
            )
    for name in ("add", "multiply"):
        found = getattr(np, name).reduce(t, dtype=np.float32)
        np.testing.assert_allclose(
            found.numpy(),
            getattr(np, name).reduce(X, dtype=np.float32),
            1e-6,
            strict=True,
        )
    laws.identical(
        np.add.reduce(t, 1, None, None, True).numpy(),
        np.add.reduce(X, 1, None, None, True),
    )
    refused = [
        (lambda: np.maximum.reduce(t, dtype=np.float32), "np.maximum.reduce: dtype="),
        (lambda: np.logaddexp.reduce(t, initial=0.0), "np.logaddexp.reduce: initial="),
        (lambda: np.logaddexp.reduce(t, where=mask), "np.logaddexp.reduce: where="),
        (lambda: np.add.reduce(t, out=np.zeros(4)), "np.add.reduce: a Tensor cannot be written"),
        (lambda: np.subtract.reduce(t), "np.subtract.reduce: not recorded"),
        (lambda: np.divide.reduce(t), "np.divide.reduce: not recorded"),
        (lambda: np.bitwise_and.reduce(tg.Tensor([1, 2])), "np.bitwise_and.reduce: expected booleans"),
        (lambda: np.add.reduceat(t, [0, 1]), "np.add.reduceat: not recorded"),
        (lambda: np.add.at(t, [0], 1.0), "np.add.at: not recorded"),
        (lambda: np.add.at(np.zeros(4), [0], t[0, 0]), "np.add.at: not recorded"),
        (lambda: np.exp.at(t, [0]), "np.exp.at: not recorded"),
        (lambda: np.power.accumulate(t), "np.power.accumulate: not recorded"),
        (lambda: np.maximum.accumulate(t, dtype=np.float32), "np.maximum.accumulate: dtype="),
        (lambda: np.gcd.outer(tg.Tensor([1]), tg.Tensor([2])), "np.gcd.outer: not recorded"),
        (lambda: np.add.outer(t, t, where=mask), "np.add: where= is not offered"),
    ]  # fmt: skip
    for call, message in refused:
        laws.unsupported(call, message)


def test_a_reduction_of_a_number_is_the_number():
    """NumPy lets axis 0 stand for none there; empty arrays give the identity."""
    assert np.add.reduce(tg.Tensor(2.0)).item() == 2.0
    assert np.maximum.reduce(tg.Tensor(2.0)).item() == 2.0
    assert np.add.reduce(tg.Tensor(np.zeros(0))).item() == 0.0
    assert np.multiply.reduce(tg.Tensor(np.zeros(0))).item() == 1.0
    for ufunc in (np.maximum, np.minimum, np.logaddexp):
        with pytest.raises(ShapeError, match="at least one element"):
            ufunc.reduce(tg.Tensor(np.zeros(0)))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum", "logaddexp"])
def test_running_results_are_numpys(name, axis):
    """``accumulate`` along an axis, and its slopes under a random upstream."""
    ufunc = getattr(np, name)
    t = tg.Tensor(X, requires_grad=True)
    found, wanted = ufunc.accumulate(t, axis=axis), ufunc.accumulate(X, axis=axis)
    np.testing.assert_allclose(found.numpy(), wanted, 4e-16, strict=True)
    g = np.random.default_rng(1).standard_normal(X.shape)
    (slope,) = tg.gradients(found, [t], g)
    step = 1e-6
    for place in np.ndindex(X.shape):
        moved = [X.copy(), X.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (np.sum(g * ufunc.accumulate(m, axis=axis)) for m in moved)
        assert abs(slope.numpy()[place] - (up - down) / (2 * step)) < 1e-8
    laws.identical(
        ufunc.accumulate(tg.Tensor(X)).numpy(),
        ufunc.accumulate(tg.Tensor(X), 0).numpy(),
    )
    with pytest.raises(ShapeError, match="at least one axis"):
        ufunc.accumulate(tg.Tensor(1.0))


PAIRED = [name for name in sorted(ELEMENTWISE) if ELEMENTWISE[name].nin == 2]


@pytest.mark.parametrize("name", PAIRED)
def test_outer_applies_to_every_pair(name):
    """NumPy's value and shape for all ufuncs of two operands, Tensors on either side."""
    ufunc = ELEMENTWISE[name]
    x, y = X[:2, :2] + 0.6, np.array([0.75, 2.5, 1.25])
    if name.startswith("bitwise"):
        x, y = x > 1, y > 1
    if name == "ldexp":
        y = np.array([1, 2, -1])
    wanted = ufunc.outer(x, y)
    for a, b in ((tg.Tensor(x), y), (x, tg.Tensor(y)), (tg.Tensor(x), tg.Tensor(y))):
        found = ufunc.outer(a, b)
        pairs = zip(found, wanted, strict=True) if ufunc.nout > 1 else [(found, wanted)]
        for got, want in pairs:
            assert got.shape == (2, 2, 3)
            bits(got.numpy(), want)


def test_outer_has_the_slopes_of_its_pairs():
    """The gradient of an operand is summed over the axes of the other."""
    x, y = tg.Tensor(X[0], requires_grad=True), tg.Tensor(X[:, 0], requires_grad=True)
    g = np.random.default_rng(2).standard_normal((4, 3))
    np.multiply.outer(x, y).backward(g)
    np.testing.assert_allclose(x.grad, g @ y.numpy(), 1e-15)
    np.testing.assert_allclose(y.grad, g.T @ x.numpy(), 1e-15)
    assert np.hypot.outer(x, 2.0, dtype=np.float32).dtype == np.float32


# --- what a user meets ------------------------------------------------------------------------


def test_a_signature_tells_what_there_is():
    """NumPy's parameters, two outputs included."""
    assert str(inspect.signature(tg.divmod)).startswith(
        "(x1, x2, /, out=(None, None), *"
    )
    assert str(inspect.signature(tg.hypot)).startswith("(x1, x2, /, out=None, *")


def test_leaving_the_graph_is_refused_where_a_gradient_would_be_lost():
    """``math.log`` wants a float; the functions here do not."""
    t = tg.Tensor(2.0, requires_grad=True)
    with pytest.raises(DetachedError):
        math.log2(t)
    assert isinstance(np.log2(t), tg.Tensor)
