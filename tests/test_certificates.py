"""Certificates: adjoint test, complex step, thirty digits, and what they are derived from."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from corpus import BUGS, RIGHT
from numbers_reference import Number as FiftyDigits
from numbers_reference import precise, rounded
from reference import explicit
from test_tutorials import example

import tinygrad_nn as tg
from tinygrad_nn.check import (
    adjoint_test,
    check_gradients,
    complex_step,
    multiprecision,
    power,
    replay,
)
from tinygrad_nn.check.analytic import _BY_ELEMENTS, _BY_ORDER, STEP, of_code
from tinygrad_nn.check.rounding import rounding_bound, summed
from tinygrad_nn.errors import (
    GradientError,
    MissingExtraError,
    MutationError,
    OpError,
    ShapeError,
    TinygradError,
    UnsupportedError,
)
from tinygrad_nn.op import REGISTRY

QUICK = 4
MEMBERS = [
    pytest.param(
        op,
        sample,
        id=f"{op.name}-{sample}",
        marks=() if i < QUICK else pytest.mark.slow,
    )
    for op in REGISTRY.values()
    if op.differentiable
    for i, sample in enumerate(op.samples)
]
NOT_ANALYTIC = {
    "elu",
    *("abs", "max", "maximum", "min", "minimum", "prelu", "relu", "softsign"),
}  # fmt: skip
NOT_ANALYTIC |= {op.name for op in REGISTRY.values() if op.kind == "decomposition"}
NOT_ANALYTIC |= {"fmax", "fmin", "fmod", "remainder"}
NOT_ANALYTIC |= _BY_ELEMENTS | _BY_ORDER
SMOOTH = [op for op in REGISTRY.values() if op.differentiable and op.name not in NOT_ANALYTIC]  # fmt: skip


def called(op, sample):
    """Return the op as a function of its operands alone."""
    return lambda *operands: op.call(*operands, **sample.settings)


def largest_sample(op):
    """Return the sample of an op with the most numbers."""
    return max(op.samples, key=lambda s: min(int(np.prod(size)) for size in s.shapes))


def names(arrays):
    return [f"x{i}" for i in range(len(arrays))]


def scaled(rules, factor):
    """Return gradient rules that are all off by one factor."""
    if callable(rules):

        def rule(*operands, **settings):
            shares = rules(*operands, **settings)
            if isinstance(shares, tuple):
                return tuple(share * factor for share in shares)
            return None if shares is None else shares * factor

        return rule
    return tuple(scaled(rule, factor) for rule in rules)


def network(rng, width=4):
    """Return a cost of a small network and its parameters."""
    X, Y = rng.standard_normal((12, 3)), (rng.random((12, 1)) < 0.5) * 1.0
    W1, b1 = rng.standard_normal((3, width)), rng.standard_normal(width)
    W2, b2 = rng.standard_normal((width, 1)), rng.standard_normal(1)

    def cost(W1, b1, W2, b2):
        A = 1 / (1 + np.exp(-(np.tanh(X @ W1 + b1) @ W2 + b2)))
        return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))

    def formula(W1, b1, W2, b2):
        A1 = np.tanh(X @ W1 + b1)
        dZ2 = (1 / (1 + np.exp(-(A1 @ W2 + b2))) - Y) / len(X)
        dZ1 = dZ2 @ W2.T * (1 - A1**2)
        return {
            "W1": X.T @ dZ1,
            "b1": dZ1.sum(axis=0),
            "W2": A1.T @ dZ2,
            "b2": dZ2.sum(axis=0),
        }

    return cost, formula, (W1, b1, W2, b2)


# --- the rounding bound --------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_the_bound_holds_what_rounding_does(op, sample, rng):
    """What a weighted sum is off from its value at fifty digits is within the bound."""
    arrays = sample.draw(rng)
    variables = [tg.Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    out = called(op, sample)(*variables)
    total = tg.sum(out * rng.standard_normal(out.shape))
    bound = rounding_bound(total)
    values = {x: precise(a) for x, a in zip(variables, arrays, strict=True)}
    (exact,) = replay([total], values, FiftyDigits)
    off = abs(float(exact[()] - FiftyDigits(total.item())))
    assert off <= bound
    size = summed([tg.abs(out)]).size
    assert bound <= 1e-12 * (1 + size)


def test_the_bound_grows_with_what_cancels():
    """Terms that cancel leave an error of their size, and the bound says so."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e4, 1e8):
        x = tg.Tensor(rng.standard_normal(50) * scale, requires_grad=True)
        total = tg.sum(tg.exp(x / scale) * x) - tg.sum(tg.exp(x / scale) * x) + tg.sum(x / scale)  # fmt: skip
        (exact,) = replay([total], {x: precise(x.data)}, FiftyDigits)
        off = abs(rounded(exact) - total.item())
        assert off <= rounding_bound(total)
        assert 1e-15 * scale < rounding_bound(total) < 1e-11 * scale


# --- the adjoint test ----------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_every_op_is_its_own_adjoint_to_rounding(op, sample, rng):
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ for every op, and a part in a billion would be seen."""
    arrays = sample.draw(rng)
    report = adjoint_test(called(op, sample), *arrays, names=names(arrays))
    assert report.verdict == "ok"
    assert report.resolution < 1e-9


def test_one_entry_off_by_a_billionth_is_seen():
    """Of a linear map by hand, one of 1200 entries off by 1e-9 is refuted at once."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((30, 40))
    transposed = A.T.copy()
    x = rng.standard_normal(40)
    call = {"jvp": lambda v, x: A @ v, "vjp": lambda g, x: transposed @ g}
    assert adjoint_test(lambda x: A @ x, x, **call)
    transposed[3, 4] *= 1 + 1e-9
    report = adjoint_test(lambda x: A @ x, x, **call)
    assert report.verdict == "wrong"
    assert report.wrong == ("x",)
    assert report.judged == ("jvp", "vjp")
    assert "x" in str(report).splitlines()[-1]


def test_a_gradient_by_hand_is_held_against_the_forward_derivative():
    """The array whose share is wrong is named, the others are not."""
    rng = np.random.default_rng(2)
    cost, formula, arrays = network(rng)

    def right(g, *arrays):
        return {name: g * share for name, share in formula(*arrays).items()}

    def wrong(g, *arrays):
        return {**right(g, *arrays), "b1": right(g, *arrays)["b1"] / 12}

    assert adjoint_test(cost, *arrays, vjp=right).verdict == "ok"
    report = adjoint_test(cost, *arrays, vjp=wrong)
    assert report.wrong == ("b1",)
    assert not report


def test_a_rule_that_is_not_linear_is_seen(monkeypatch):
    """A rule that bends its cotangent has no transpose, whatever its slope."""
    op = REGISTRY["tanh"]
    bent = lambda g, out, _x: tg.abs(g) * (1.0 - out * out)
    monkeypatch.setattr(op, "rules", (bent,))
    assert adjoint_test(tg.tanh, np.linspace(-1, 1, 7)).verdict == "wrong"


def test_a_derivative_by_hand_in_another_shape_is_refused():
    """What jvp returns has the output's shape, what vjp returns the arrays'."""
    x = np.ones(3)
    with pytest.raises(ShapeError, match=r"jvp: .*\(3,\); got \(1,\)"):
        adjoint_test(np.tanh, x, jvp=lambda v, x: v[:1], names="x")
    with pytest.raises(ShapeError, match="vjp"):
        adjoint_test(np.tanh, x, vjp=lambda g, x: g[:1], names="x")
    with pytest.raises(OpError, match="jvp=… and vjp=…"):
        adjoint_test(lambda x: np.asarray(x.tolist()), x)


def test_the_same_seed_gives_the_same_report():
    """A report is a function of its arguments."""
    cost, _, arrays = network(np.random.default_rng(3))
    assert adjoint_test(cost, *arrays, seed=5) == adjoint_test(cost, *arrays, seed=5)
    assert complex_step(cost, *arrays) == complex_step(cost, *arrays)


def test_another_subgradient_at_a_kink_is_no_mistake():
    """At 0 any slope of relu between 0 and 1 will do; beside it only the right one."""

    def half(g, x):
        return g * np.where(np.abs(x) < 1e-9, 0.5, 1.0 * (x > 0))

    report = adjoint_test(tg.relu, np.array([1.0, 0.0, -1.0]), vjp=half)
    assert report.verdict == "kink"
    assert report.ok
    assert adjoint_test(tg.relu, np.array([1.0, 1e-10, -1.0]), vjp=half).verdict == "wrong"  # fmt: skip


def test_infinities_that_have_no_weight_do_no_harm():
    """Masked by -inf, a softmax has its adjoint, and the bound is a number."""
    mask = np.where(np.eye(4) > 0, -np.inf, 0.0)
    x = np.random.default_rng(11).standard_normal((4, 4))
    report = adjoint_test(lambda x: tg.exp(x + mask), x)
    assert report.verdict == "ok"
    assert adjoint_test(lambda x: tg.softmax(x + mask), x)


# --- the complex step ----------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_every_analytic_op_has_the_slopes_of_the_complex_step(op, sample, rng):
    """A rule agrees to rounding with its op's body on complex numbers, or is refused."""
    arrays = sample.draw(rng)
    call = lambda: complex_step(called(op, sample), *arrays, names=names(arrays))
    if op.name in NOT_ANALYTIC:
        with pytest.raises(UnsupportedError, match=rf"got {op.name}\."):
            call()
    else:
        report = call()
        assert report.verdict == "ok"
        assert max(p.resolution for p in report.parameters.values()) < 1e-9


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_a_rule_off_by_a_billionth_is_refuted(op, monkeypatch, rng):
    """The complex step sees a relative error of 1e-9 in any op's gradient rule."""
    monkeypatch.setattr(op, "rules", scaled(op.rules, 1 + 1e-9))
    sample = largest_sample(op)
    arrays = sample.draw(rng)
    report = complex_step(called(op, sample), *arrays, names=names(arrays))
    assert report.verdict == "wrong"


def test_a_formula_by_hand_is_judged_element_by_element():
    """Plain NumPy code runs on complex numbers; a wrong element is named."""
    rng = np.random.default_rng(4)
    cost, formula, arrays = network(rng)
    assert complex_step(cost, *arrays, formula=formula).verdict == "ok"

    def off(*arrays):
        found = formula(*arrays)
        found["W1"][2, 1] *= 1.000001
        return found

    report = complex_step(cost, *arrays, formula=off)
    assert report.judged == "formula"
    assert [p.verdict for p in report.parameters.values()] == [
        "wrong",
        "ok",
        "ok",
        "ok",
    ]
    worst = report.parameters["W1"].worst
    assert worst.index == (2, 1)
    assert worst.analytic / worst.numeric == pytest.approx(1.000001, abs=1e-12)
    assert "W1[2, 1]" in str(report)


def test_code_that_only_numpy_runs_is_judged_too():
    """A function that no Tensor can run is evaluated on complex arrays itself."""

    def cost(x):
        total = np.zeros_like(x)
        total[...] = np.sinh(x)
        return np.sum(total)

    x = np.linspace(-1, 1, 5)
    assert complex_step(cost, x, formula=np.cosh).verdict == "ok"
    assert complex_step(cost, x, formula=np.sinh).verdict == "wrong"
    with pytest.raises(TypeError):
        complex_step(cost, x)


def test_a_large_array_is_searched_by_halves():
    """One wrong element of 5,000 is found without looking at all of them."""
    x = np.random.default_rng(5).standard_normal(5000)

    def formula(x):
        slope = np.cos(x)
        slope[1234] += 1e-6
        return slope

    report = complex_step(lambda x: np.sum(np.sin(x)), x, formula=formula)
    assert report.parameters["x"].worst.index == (1234,)
    assert report.evaluations < 1000


@pytest.mark.parametrize(
    "op",
    ["sigmoid", "log_sigmoid", "log1m_sigmoid", "softplus", "tanh", "logistic_loss"],
)
def test_tails_have_slopes_too(op):
    """At ±800, where exponentials overflow, slopes are those of the stable rule."""
    z = np.array([-800.0, -40.0, -1e-9, 0.0, 1e-9, 40.0, 800.0])
    rest = (np.array([0.0, 1.0, 0.3, 0.5, 0.7, 1.0, 1.0]),) if "loss" in op else ()
    weights = np.random.default_rng(6).standard_normal(7)
    report = complex_step(lambda *x: np.sum(weights * getattr(tg, op, REGISTRY[op].call)(*x)), z, *rest)  # fmt: skip
    assert report.verdict == "ok"


REFUSED = {
    "absolute": np.abs,
    "maximum": lambda x: np.maximum(x, 0.0),
    "greater": lambda x: np.where(x > 0, x, 0.0),
    "less": lambda x: x * (x < 1),
    "sort": np.sort,
    ".sort": lambda x: x.copy().sort(),
    "numpy.maximum": lambda x: x.max(),
    "numpy.max": np.max,
    "numpy.var": np.var,
    "conjugate": np.conj,
    "sign": np.sign,
    "floor": np.floor,
    "clip": lambda x: np.clip(x, 0.2, 0.4),
    ".real": lambda x: x.real,
    "numpy.real": np.real,
    "a cast to int64": lambda x: x.astype(int),
    "a cast to float32": lambda x: x.astype(np.float32),
    "a cast to real numbers": lambda x: np.array(x, float),
    "float of it": lambda x: float(x[0]),
    "numpy.linalg.norm": np.linalg.norm,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_analytic_is_refused_by_name(what):
    """Plain code that would make the complex step silently wrong is refused."""
    z = np.array([0.1, -0.5, 0.3]) + 1j * STEP
    name = what.removeprefix("numpy.linalg.")
    with pytest.raises(UnsupportedError, match=name.replace(".", r"\.")):
        of_code(REFUSED[what], [z])


def test_a_real_buffer_that_drops_slopes_is_refused():
    """Writing into an array of floats would lose the slopes."""

    def cost(x):
        buffer = np.zeros(3)
        buffer[:] = x
        return np.sum(buffer * buffer)

    with pytest.raises(UnsupportedError, match="a cast to real numbers"):
        complex_step(cost, np.ones(3), formula=lambda x: 2 * x)


def test_a_graph_names_the_line_that_is_not_analytic():
    """A relu in a recorded graph is refused with the line that recorded it."""
    with pytest.raises(UnsupportedError, match=r"got relu\..*test_certificates\.py"):
        complex_step(lambda x: tg.sum(tg.relu(x)), np.ones(3))


def test_zero_is_refused_only_where_it_has_no_slope():
    """A root at 0 has no derivative; a cube and log(1 + x) have; in graphs and code."""
    x = np.array([0.0, 1.0])
    rooted = (np.sqrt, lambda x: x**0.5, lambda x: x**-1.0, np.log)
    for function in rooted:
        with pytest.raises(UnsupportedError, match="at 0"):
            of_code(function, [x + 1j * STEP])
    for function in (lambda x: x**0.5, np.sqrt):
        with pytest.raises(UnsupportedError, match="at 0"):
            complex_step(lambda x: np.sum(function(x) + 1.0), x)  # noqa: B023
    for function in (np.log1p, lambda x: x**3, lambda x: x**2.0):
        slope = of_code(function, [x + 1j * STEP]).imag / STEP
        near = (function(x + 1e-7) - function(x)) / 1e-7
        np.testing.assert_allclose(slope, near, atol=1e-5)
        assert complex_step(lambda x: np.sum(function(x)), x)  # noqa: B023


def test_masks_that_are_data_are_constant():
    """A dropout mask, chosen before, is no comparison of the inputs."""
    mask = np.array([True, False, True])
    x = np.array([1.0, 2.0, 3.0])
    assert complex_step(lambda x: np.sum(np.where(mask, x * x, 0.0)), x)
    assert complex_step(
        lambda x: np.sum(mask * x / 0.5), x, formula=lambda x: mask / 0.5
    )


@pytest.mark.parametrize(
    "check", [adjoint_test, check_gradients, complex_step, multiprecision, power]
)
def test_errors_name_the_check_that_was_called(check):
    """Whatever is refused before a verdict, the message begins with the caller's name."""
    x = np.ones(3)
    rng = np.random.default_rng(0)

    def writes(x):
        x += 1.0
        return x

    trials = [
        (x, x),
        (np.sum, "text"),
        (np.sum, [1 + 2j]),
        (np.sum, np.ones(3, int)),
        (lambda _: None, x),
        (lambda x: x + 1j, x),
        (lambda x: x * rng.random(3), x),
        (lambda x: np.log(x - 1.0), x),
        (writes, x),
        (lambda x: np.array([float(v) for v in x]), x),
        (lambda x: np.array(x.tolist()), x),
    ]
    for f, argument in trials:
        with pytest.raises(TinygradError, match=rf"^{check.__name__}: ") as found:
            check(f, argument)
        if check is power:  # which takes no formula
            assert "formula=" not in str(found.value)
    if check is not power:
        with pytest.raises(OpError, match=rf"^{check.__name__}: expected 1 different"):
            check(np.tanh, x, names="a b")


def test_what_spoils_any_check_has_its_error():
    """A formula of an array, a gradient that writes, two gradients: each is refused."""
    x = np.ones(3)
    with pytest.raises(GradientError, match="gives the gradient of one number"):
        complex_step(np.tanh, x, formula=lambda x: x, names="x")
    with pytest.raises(OpError, match="got both"):
        complex_step(np.sum, x, formula=lambda x: x, vjp=lambda g, x: x)

    def writes(x):
        x += 1
        return x

    with pytest.raises(MutationError, match="writes into its input"):
        complex_step(lambda x: np.sum(x * x), x, formula=writes)


# --- thirty digits -------------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_every_ops_derivative_is_confirmed_to_thirty_digits(op, sample, rng):
    """The rule on many digits agrees with the body on many digits, for every op."""
    arrays = sample.draw(rng)
    report = multiprecision(called(op, sample), *arrays, names=names(arrays))
    assert report.verdict == "ok", report
    assert report.digits >= 30
    assert min(p.float64 for p in report.parameters.values()) >= 12


@pytest.mark.parametrize(
    "op", [op for op in REGISTRY.values() if op.differentiable], ids=lambda op: op.name
)
def test_a_rule_off_in_the_eleventh_digit_is_refuted(op, monkeypatch, rng):
    """A relative error of 1e-11 in any op's rule is seen, and told from a rounding."""
    monkeypatch.setattr(op, "rules", scaled(op.rules, 1 + 2.0**-36))
    sample = largest_sample(op)
    arrays = sample.draw(rng)
    report = multiprecision(called(op, sample), *arrays, names=names(arrays))
    assert report.verdict == "wrong"
    assert 9 <= report.digits <= 11


@pytest.mark.parametrize("digits", [16, 30, 50])
def test_as_many_digits_as_are_asked_for(digits):
    """Any number of digits can be confirmed, here of a network."""
    cost, formula, arrays = network(np.random.default_rng(7))
    for by_hand in (None, formula):
        report = multiprecision(cost, *arrays, digits=digits, formula=by_hand)
        assert report.verdict == "ok"
        assert report.digits >= digits
        assert report.wanted == digits


def test_digits_of_the_float_gradient_are_counted():
    """A formula that cancels loses digits in float64, and none beyond: both are said."""
    x = np.array([1e-6])

    def cancels(x):
        return (np.exp(x) - np.exp(-x)) / 2

    report = multiprecision(lambda x: np.sum(np.cosh(x)), x, formula=cancels)
    assert report.verdict == "ok"
    exact = float(np.sinh(1e-6))
    lost = -np.log10(abs(cancels(x)[0] - exact) / exact)
    assert report.parameters["x"].float64 == pytest.approx(lost, abs=1)
    assert 8 <= report.parameters["x"].float64 <= 12


def test_a_wrong_element_is_named_with_its_digits():
    """A wrong element is found, and both derivatives are printed in digits."""
    W = np.arange(1.0, 7.0).reshape(2, 3)

    def formula(W):
        slope = 3 * W**2
        slope[1, 2] = slope[1, 2] * (1 + 2.0**-20)
        return slope

    report = multiprecision(lambda W: np.sum(W**3), W, formula=formula)
    found = report.parameters["W"]
    assert (found.verdict, found.index, found.digits) == ("wrong", (1, 2), 6)
    assert found.numeric == "108.0"
    assert found.claimed == "108.000102996826171875"  # 108 (1 + 2**-20), exactly
    assert "W[1, 2]  analytic  108.0001" in str(report)
    assert not report


def test_a_large_parameter_is_searched_by_halves():
    """One wrong element of 300 is found in a few evaluations."""
    x = np.random.default_rng(8).standard_normal(300)
    mask = np.arange(300) == 222

    def formula(x):
        return 2 * x + mask * 1e-9

    report = multiprecision(lambda x: np.sum(x * x), x, formula=formula)
    assert report.parameters["x"].index == (222,)
    assert report.evaluations < 400


def test_fractions_are_recovered_where_a_float_stood_for_one():
    """1/m rounded on one side and divided on the other is no mistake, and is said."""
    X = np.random.default_rng(9).standard_normal((7, 3))

    def cost(w):
        return np.mean((X @ w) ** 2)

    report = multiprecision(cost, np.ones(3), formula=lambda w: 2 / 7 * (X.T @ (X @ w)))  # fmt: skip
    assert report.verdict == "ok"
    assert "2/7" in report.notes[0]


def test_a_constant_that_no_fraction_explains_is_weak():
    """One float of pi here and its neighbour there: sixteen digits, and no more."""
    report = multiprecision(
        lambda w: np.sum(w * w * w) * np.pi / 3,
        np.ones(3),
        formula=lambda w: w * w * float(np.nextafter(np.pi, 4)),
    )
    assert report.verdict == "weak"
    assert not report
    assert 15 <= report.digits <= 16
    assert "sixteen digits agree" in str(report)


KINKS = {
    "relu": (lambda x: tg.sum(tg.relu(x)), [1.0, 0.0, -1.0]),
    "abs": (lambda x: tg.sum(tg.abs(x)), [1.0, 0.0, -1.0]),
    "max": (tg.max, [3.0, 3.0, 1.0]),
    "maximum": (lambda x: tg.sum(tg.maximum(x[:2], x[1:])), [2.0, 2.0, 1.0]),
    "clip": (lambda x: tg.sum(tg.clip(x, 0.0, 1.0)), [1.0, 0.5, 0.0]),
    "both signs": (lambda x: tg.sum(tg.relu(x) * np.array([1.0, -1.0])), [0.0, 0.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_named(name):
    """At a kink the rule's subgradient lies between the one-sided slopes: "kink"."""
    f, point = KINKS[name]
    report = multiprecision(f, np.array(point))
    assert report.verdict == "kink"
    assert report.ok


def test_a_value_outside_of_the_one_sided_slopes_is_wrong():
    """At 0 the slopes of relu are 0 and 1: a claim of 1.5 is none of them."""
    report = multiprecision(
        lambda x: np.sum(np.maximum(x, 0)),
        np.array([0.0, 1.0]),
        formula=lambda x: np.where(x == 0, 1.5, 1.0 * (x > 0)),
    )
    assert report.verdict == "wrong"
    assert report.parameters["x"].index == (0,)


def test_beside_a_kink_all_is_smooth():
    """A millionth of a millionth beside the kink there is none, to thirty digits."""
    report = multiprecision(lambda x: tg.sum(tg.relu(x)), np.array([1e-12, -1e-12]))
    assert report.verdict == "ok"


def test_a_layer_of_relus_that_begins_at_zero_is_no_mistake():
    """Where kinks of both signs meet in one bias, nothing right is called wrong."""
    rng = np.random.default_rng(10)
    X, v = rng.standard_normal((6, 2)), rng.standard_normal((3, 6)).T

    def cost(W, b):
        return tg.sum(tg.relu(X @ W + b) * v)

    report = multiprecision(cost, np.zeros((2, 3)), np.zeros(3))
    assert report.verdict in ("kink", "weak")


def test_numbers_refuse_to_become_floats():
    """A cast in the middle would end the digits: it is refused by name."""
    x = np.linspace(0.1, 1, 3)

    def casts(x):
        return np.array([float(v) for v in x])

    with pytest.raises(UnsupportedError, match="made a float"):
        multiprecision(lambda x: np.sum(casts(x) ** 2), x, formula=lambda x: 2 * x)
    with pytest.raises(UnsupportedError, match="svd"):
        multiprecision(
            lambda x: np.sum(np.linalg.svd(x[None])[1]), x, formula=lambda x: x
        )


def test_a_formula_that_ends_its_digits_is_judged_as_floats():
    """A formula that casts cannot have thirty digits; it can be wrong all the same."""
    x = np.linspace(0.1, 1, 3)
    for factor, verdict in ((3, "weak"), (3.001, "wrong")):
        report = multiprecision(
            lambda x: np.sum(x**3),
            x,
            formula=lambda x: factor * np.array([float(v) for v in x]) ** 2,  # noqa: B023
        )
        assert report.verdict == verdict
        assert "judged as floats" in report.notes[0]
        assert not report


PLAIN = {
    "logaddexp": (
        lambda x: np.sum(np.logaddexp(0.0, x)),
        lambda x: 1 / (1 + np.exp(-x)),
    ),
    "select with a float": (
        lambda x: np.sum(np.exp(np.where(x > 0, x, -1e9))),
        lambda x: np.where(x > 0, np.exp(x), 0.0),
    ),
    "cast to float64": (
        lambda x: np.sum(np.sinh(x.astype(np.float64))),
        lambda x: np.cosh(x) * np.isfinite(x),
    ),
    "hypot": (
        lambda x: np.sum(np.hypot(x, 2.0)),
        lambda x: x / np.hypot(x, 2.0),
    ),
    "buffers": (
        lambda x: np.sum(np.cumsum(np.sinh(x), out=np.zeros_like(x))),
        lambda x: np.cosh(x) * np.arange(len(x), 0, -1),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_code_keeps_its_digits(name):
    """What only NumPy runs has thirty digits too, through selects and casts."""
    f, formula = PLAIN[name]
    report = multiprecision(f, np.array([0.5, -1.0, 2.0]), formula=formula)
    assert report.verdict == "ok"
    assert report.digits >= 30


def test_a_gradient_that_is_zero_is_confirmed():
    """A softmax's sum does not move: what is left of it is rounding, and no kink."""
    x = np.random.default_rng(12).standard_normal((3, 4))
    report = multiprecision(lambda x: tg.sum(tg.softmax(x)), x)
    assert report.verdict == "ok"


def test_a_border_of_the_domain_is_refused():
    """At 0 the square root has a value on one side only."""
    with pytest.raises(GradientError, match="finite on both sides"):
        multiprecision(lambda x: tg.sum(tg.sqrt(x)), np.array([0.0, 1.0]))


def test_without_mpmath_the_extra_is_named(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "mpmath", None)
    with pytest.raises(MissingExtraError, match=r"tinygrad_nn\[check\]"):
        multiprecision(np.sum, np.ones(2))


# --- the corpus ----------------------------------------------------------------------

LARGE = {"network of 22,210 weights", "sum of 200,000", "alternating sum"}
UNSEEN = {"no decay at zero"}  # the gradient is right at the point itself


def certified(certificate, case):
    """Judge a case's gradient: its verdict, or the kind of error that refused it."""
    problem = case.at(0)
    by_hand = {"formula": problem.formula} if problem.formula else {"vjp": problem.vjp}
    if certificate is adjoint_test and problem.formula:
        by_hand = {"vjp": lambda g, *x: tuple(g * s for s in problem.formula(*x))}
    try:
        with np.errstate(all="ignore"):
            return certificate(problem.f, *problem.arrays, **by_hand).verdict
    except (UnsupportedError, ShapeError, GradientError) as refused:
        return type(refused).__name__


@pytest.mark.parametrize("certificate", [adjoint_test, complex_step])
def test_no_awkward_gradient_is_called_wrong(certificate):
    """Of the corpus's right gradients none is wrong, and most are confirmed."""
    verdicts = [certified(certificate, case) for case in RIGHT.values()]
    assert "wrong" not in verdicts
    assert verdicts.count("ok") > len(verdicts) / 3


@pytest.mark.parametrize(
    "certificate",
    [pytest.param(adjoint_test, marks=pytest.mark.slow), complex_step],
)
def test_no_planted_bug_is_called_right(certificate):
    """Of the corpus's wrong gradients each is refuted, or its function refused."""
    for name, case in BUGS.items():
        verdict = certified(certificate, case)
        assert name in UNSEEN or verdict not in ("ok", "weak"), name


@pytest.mark.slow
def test_thirty_digits_tell_the_corpus_apart():
    """No right gradient is wrong to thirty digits, and no wrong one confirmed."""
    for name, case in RIGHT.items():
        if name not in LARGE:
            assert certified(multiprecision, case) != "wrong", name
    for name, case in BUGS.items():
        if name not in UNSEEN and "22,210" not in name:
            assert certified(multiprecision, case) != "ok", name


# --- the five tutorials --------------------------------------------------------------


def tutorial(name, count):
    """Return a tutorial's cost and formula, for so many examples, and parameters."""
    module = example(name)
    rng = np.random.RandomState(2)
    hidden, l2, start = ["tanh"], 0.0, [2, 4, 1]
    if name == "planar_flower":
        X, Y = module.load_planar_dataset(rng)
        cost = lambda p: module.compute_cost(module.forward_propagation(X, p), Y)
    elif name == "one_hidden_layer":
        X, Y = module.load_dataset(400, rng)
        cost = lambda p: module.compute_cost(module.forward_propagation(X, p)[0], Y)
    elif name == "sigmoid_network":
        X, Y = module.load_data(500, rng)
        hidden, start = ["sigmoid"] * 2, [2, 5, 3, 1]
        cost = lambda p: module.cost_function(module.forward_prop(X, p), Y)
    elif name == "weather_network":
        X, Y = module.load_weather(800, rng)
        X = X / np.std(X, axis=1, keepdims=True)
        hidden, start, l2 = ["relu"] * 3, [4, 5, 4, 3, 1], 0.7
        cost = lambda p: module.compute_cost(
            module.L_model_forward(X, p, keep=1.0, rng=rng), Y, p, l2
        )
    else:
        images, Y = module.load_images(20, rng)
        X = module.flatten(images)[: 12288 if count > 40 else 48]
        hidden, start = ["relu"] * 4, [len(X), 5, 5, 5, 3, 1]
        count = min(count, 5)
        cost = lambda p: module.compute_cost(module.deep_network(X, p), Y)
    X, Y = X[:, :count], Y[:, :count]
    parameters = explicit.initialise(start, rng, "xavier")
    arrays = [
        np.asarray(p + 0.1 * rng.randn(*p.shape)) for p in parameters.values()
    ]  # biases of 0 would put dead relus on their kinks

    def formula(*arrays):
        own = dict(zip(parameters, arrays, strict=True))
        cache = explicit.forward(own, X, hidden)
        return explicit.backward(own, cache, Y, hidden, l2=l2)

    def total(*arrays):
        return cost(dict(zip(parameters, arrays, strict=True)))

    return total, formula, arrays, list(parameters)


TUTORIALS = [
    "planar_flower",
    "one_hidden_layer",
    "sigmoid_network",
    "image_classifier",
    "weather_network",
]


def confirm(name, count):
    total, formula, arrays, names = tutorial(name, count)
    for by_hand in (None, formula):
        report = multiprecision(total, *arrays, formula=by_hand, names=names)
        assert report.verdict == "ok", report
        assert report.digits >= 30
        assert min(p.float64 for p in report.parameters.values()) >= 12
    assert adjoint_test(total, *arrays, names=names).verdict == "ok"


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorials_loss_is_confirmed_to_thirty_digits(name):
    """On thirty examples autograd and the tutorial's formulas have thirty digits."""
    confirm(name, 30)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorials_whole_loss_is_confirmed_to_thirty_digits(name):
    """And on all examples; of the images, on five with all their pixels."""
    confirm(name, 800)
