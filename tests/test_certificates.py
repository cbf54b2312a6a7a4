"""Certificates: the adjoint test, the complex step, and what they are derived from."""

from __future__ import annotations

import numpy as np
import pytest
from numbers_reference import precise, rounded
from numbers_reference import Number as FiftyDigits

import tinygrad_nn as tg
from tinygrad_nn.check import adjoint_test, complex_step, replay
from tinygrad_nn.check.analytic import STEP, of_code
from tinygrad_nn.check.rounding import rounding_bound, summed
from tinygrad_nn.errors import (
    GradientError,
    MutationError,
    OpError,
    ShapeError,
    UnsupportedError,
)
from tinygrad_nn.op import REGISTRY

MEMBERS = [
    pytest.param(op, sample, id=f"{op.name}-{sample}")
    for op in REGISTRY.values()
    if op.differentiable
    for sample in op.samples
    if any(limits is not None for limits in sample.ranges)
]
NOT_ANALYTIC = {"abs", "max", "maximum", "min", "minimum", "relu"}
SMOOTH = [op for op in REGISTRY.values() if op.differentiable and op.name not in NOT_ANALYTIC]  # fmt: skip


def called(op, sample):
    """Return the op as a function of its operands alone."""
    return lambda *operands: op.call(*operands, **sample.settings)


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


# --- the complex step ----------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_every_analytic_op_has_the_slopes_of_the_complex_step(op, sample, rng):
    """A rule agrees to rounding with its op's body on complex numbers, or is refused."""
    arrays = sample.draw(rng)
    try:
        report = complex_step(called(op, sample), *arrays, names=names(arrays))
    except UnsupportedError as refused:
        assert f"got {op.name}." in str(refused)
        assert op.name in NOT_ANALYTIC
    else:
        assert op.name not in NOT_ANALYTIC
        assert report.verdict == "ok"
        assert max(p.resolution for p in report.parameters.values()) < 1e-9


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_a_rule_off_by_a_billionth_is_refuted(op, monkeypatch, rng):
    """The complex step sees a relative error of 1e-9 in any op's gradient rule."""
    monkeypatch.setattr(op, "rules", scaled(op.rules, 1 + 1e-9))
    sample = next(s for s in op.samples if all(0 not in size for size in s.shapes))
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
