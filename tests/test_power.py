"""What a check could see, shown by mistakes; and which op's rule is wrong."""

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.test_check import Backprop
from tinygrad_nn.check import locate, power
from tinygrad_nn.errors import GradientError, OpError
from tinygrad_nn.op import REGISTRY

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 3))


def normalised(x, scale):
    mean = x.mean(axis=0)
    variance = ((x - mean) ** 2).mean(axis=0)
    return scale * (x - mean) / np.sqrt(variance + 1e-5)


@pytest.mark.parametrize(
    ("f", "arrays"),
    [
        (tg.softmax, [X]),
        (normalised, [X, np.ones(3)]),
        (lambda x, y: x @ y.T, [X, RNG.standard_normal((2, 3))]),
        (Backprop(np.random.default_rng(0)).cost, None),
    ],
    ids=["softmax", "batch norm", "matmul", "network"],
)
def test_a_check_under_a_random_cotangent_sees_every_mistake(f, arrays):
    """Whatever changes the gradient is seen: by a thousandth, in one element, in one line."""
    arrays = f.__self__.arrays if arrays is None else arrays
    report = power(f, *arrays)
    assert report, str(report)
    assert len(report.mutants) >= 6
    assert report.share > 0.9
    assert not report.warnings


@pytest.mark.parametrize(
    ("f", "arrays", "warning"),
    [
        (lambda x: tg.softmax(x).sum(), [X], "the gradient is zero here"),
        (lambda x: normalised(x, 1.0).sum(), [X], "the gradient is zero here"),
        (
            lambda x, scale: normalised(x, scale).sum(),
            [X, np.ones(3)],
            "f ends in a sum",
        ),
    ],
    ids=["softmax", "batch norm", "batch norm with scale"],
)
def test_a_check_without_power_is_told_so(f, arrays, warning):
    """A sum hides a normalisation's mistakes: they are listed, and the reason."""
    report = power(f, *arrays)
    assert not report
    assert report.unseen
    assert any(text.startswith(warning) for text in report.warnings), str(report)
    assert "NOT SEEN" in str(report)


def test_a_sum_is_blamed_for_what_it_hides_alone():
    """What no cotangent could show, a branch that nobody takes, is no fault of a mean."""
    report = power(lambda z: tg.losses.huber(z, np.zeros((4, 3)), delta=9.0), X)
    assert report.unseen
    assert report, str(report)
    assert not report.warnings


def test_at_an_optimum_the_second_point_has_the_power():
    """Where the gradient is zero the point beside sees what this one cannot."""
    report = power(lambda x: (x * x).sum(), np.zeros(3))
    assert report.warnings[0].startswith("the gradient is zero here")
    assert "the sign" not in report.unseen


def test_where_there_is_no_element_nothing_in_f_can_be_seen():
    """An f whose result is empty is checked without power, and that is told."""
    for f, arrays in ((np.tanh, [np.ones((2, 0))]), (np.add, [np.ones(0), np.ones(1)])):
        report = power(f, *arrays)
        assert not report
        assert report.warnings[0].startswith("the gradient is zero here")
        assert not any(" at " in mutant.what for mutant in report.mutants)


def test_a_gradient_that_is_wrong_has_no_power_to_tell():
    """What is refuted already is refused."""
    cube = wrong_cube()
    with pytest.raises(GradientError, match="numbers refute"):
        power(cube, X)


def wrong_cube():
    @tg.elementwise(formula="$x^3$", vjp=lambda g, _out, x: g * 2 * x, samples=())
    def cube(x):
        return x * x * x

    REGISTRY.pop("cube", None)
    return cube


def test_the_op_with_the_wrong_rule_is_located():
    """Op and line of the wrong rule are told, and no other op is."""
    cube = wrong_cube()
    x, b = tg.Parameter(X), tg.Parameter(np.ones(3))
    y = np.tanh(cube(x) + b)
    loss = tg.log_softmax(y @ y.T).mean()
    location = locate(loss)
    assert not location
    (rule,) = location.wrong
    assert rule.op == "cube"
    assert "y = np.tanh(cube(x) + b)" in rule.where
    assert rule.report.verdict == "wrong"
    assert "the rule of cube" in str(location)


def test_a_rule_of_the_wrong_shape_is_located():
    """A rule that cannot even be compared is named too."""

    @tg.primitive(
        kind="contraction",
        formula="$x$",
        shape=lambda x: x,
        vjp=lambda g, _out, _x: g[:1],
        samples=(),
        refuses=(),
    )
    def copied(x):
        return x + 0.0

    REGISTRY.pop("copied", None)
    location = locate(copied(tg.Parameter(X)).sum())
    assert [rule.op for rule in location.wrong] == ["copied"]


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "matmul", "softmax", "maximum"])
def test_a_mutated_rule_of_the_library_is_located(name, monkeypatch):
    """One rule off by a thousandth is found among all the others of a network."""
    rng = np.random.default_rng(2)
    W, V = (
        tg.Parameter(rng.standard_normal((3, 5))),
        tg.Parameter(rng.standard_normal((5, 4))),
    )
    hidden = tg.maximum(tg.tanh(tg.Tensor(X) @ W), tg.sigmoid(tg.Tensor(X) @ W))
    loss = (tg.softmax(hidden @ V) * rng.standard_normal((4, 4))).sum()
    assert locate(loss)
    op = REGISTRY[name]
    right = op.rules[0]
    off = (lambda *a, **k: right(*a, **k) * 1.001, *op.rules[1:])
    monkeypatch.setattr(op, "rules", off)
    assert [rule.op for rule in locate(loss).wrong] == [name]


def test_only_tensors_have_ops_to_locate():
    """An array has no past."""
    with pytest.raises(OpError, match="recorded Tensor; got ndarray"):
        locate(X)
