"""Gradients by hand along the chain: the first wrong one is named, and its mistake."""

import re
from functools import partial

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.test_check import Backprop
from tinygrad_nn.check import FormulaReport, check_formula, check_gradients
from tinygrad_nn.check.slips import Slips
from tinygrad_nn.errors import GradientError, OpError, ShapeError

M = 30


class Network:
    """Three layers in columns, tanh, relu, sigmoid, with the lines of a textbook."""

    def __init__(self, seed=0, *, l2=0.01):
        rng = np.random.default_rng(seed)
        self.l2 = l2
        self.X = rng.standard_normal((4, M))
        self.Y = (rng.random((1, M)) < 0.5) * 1.0
        self.arrays = [
            rng.standard_normal(shape)
            for shape in ((5, 4), (5, 1), (3, 5), (3, 1), (1, 3), (1, 1))
        ]

    def cost(self, W1, b1, W2, b2, W3, b3):
        Z1 = np.dot(W1, self.X) + b1
        A1 = np.tanh(Z1)
        Z2 = np.dot(W2, A1) + b2
        A2 = np.maximum(0, Z2)
        Z3 = np.dot(W3, A2) + b3
        A3 = 1 / (1 + np.exp(-Z3))
        fit = -np.sum(self.Y * np.log(A3) + (1 - self.Y) * np.log(1 - A3)) / M
        return fit + self.l2 / (2 * M) * (np.sum(W1**2) + np.sum(W2**2))

    def recorded(self):
        return self.cost(
            *(
                tg.Tensor(x.copy(), requires_grad=True, name=name)
                for x, name in zip(
                    self.arrays, ("W1", "b1", "W2", "b2", "W3", "b3"), strict=True
                )
            )
        )

    def by_hand(self, slip=""):
        """The explicit formulas, with dZ as a multiple of m as in the textbooks."""
        W1, b1, W2, b2, W3, b3 = self.arrays
        X, Y = self.X, self.Y
        Z1 = W1 @ X + b1
        A1 = np.tanh(Z1)
        Z2 = W2 @ A1 + b2
        A2 = np.maximum(0, Z2)
        A3 = 1 / (1 + np.exp(-(W3 @ A2 + b3)))
        dZ3 = (Y - A3) if slip == "dZ3 sign" else (A3 - Y)
        dW3 = dZ3 @ (Z2 if slip == "dW3 of Z2" else A2).T / M
        db3 = dZ3.sum(axis=1, keepdims=True) / (1 if slip == "db3 without m" else M)
        if slip == "db3 of one example":
            db3 = dZ3[:, :1] / M
        dA2 = W3.T @ dZ3
        dZ2 = dA2 * {
            "dZ2 unmasked": 1.0,
            "dZ2 mask of dA2": dA2 > 0,
        }.get(slip, Z2 > 0)
        dW2 = dZ2 @ A1.T / M
        if slip != "dW2 without l2":
            dW2 = dW2 + self.l2 / M * W2
        db2 = dZ2.sum(axis=1, keepdims=True) / M
        dA1 = W2.T @ dZ2
        dZ1 = dA1 * {
            "dZ1 of Z1": 1 - Z1**2,
            "dZ1 as sigmoid": A1 * (1 - A1),
        }.get(slip, 1 - A1**2)
        halved = 2 if slip == "dW1 half l2" else 1
        dW1 = dZ1 @ X.T / M + self.l2 / M / halved * W1
        db1 = dZ1.sum(axis=1, keepdims=True) / M
        return {
            name: value
            for name, value in locals().items()
            if re.fullmatch(r"d[WbZA]\d", name)
        }


CHAIN = ["dZ3", "db3", "dW3", "dA2", "dZ2", "db2", "dW2", "dA1", "dZ1", "db1", "dW1"]

SLIPS = {
    "dZ3 sign": "the sign is wrong",
    "dW3 of Z2": "the factor in matmul is another array",
    "db3 without m": "a factor 30",
    "dZ2 unmasked": "the derivative of maximum is missing",
    "dZ2 mask of dA2": "the derivative of maximum is taken of the gradient that arrives",
    "dW2 without l2": "0.0003333 · parameter|nothing is propagated",
    "dZ1 of Z1": "the derivative of tanh is taken of its operand",
    "dZ1 as sigmoid": "the derivative of sigmoid stands for that of tanh",
    "dW1 half l2": "factor 1/2",
    "db3 of one example": "only the first",
}


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_without_a_slip_is_right(seed):
    """The textbook's formulas pass, dZ as m times the gradient included."""
    network = Network(seed)
    report = check_formula(network.recorded(), network.by_hand())
    assert report, str(report)
    assert [step.name for step in report.steps] == CHAIN
    factors = {step.name: step.factor for step in report.steps}
    assert factors == {name: 30.0 if name[1] in "ZA" else 1.0 for name in CHAIN}, (
        factors
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slip", SLIPS)
def test_the_first_wrong_gradient_is_named_and_its_cause(slip, seed):
    """Of all that a slip makes wrong the first is named, and how it was made."""
    network = Network(seed)
    report = check_formula(network.recorded(), network.by_hand(slip))
    assert report.first == slip.split()[0], str(report)
    assert re.search(SLIPS[slip], report.cause or ""), str(report)
    later = CHAIN[CHAIN.index(report.first) + 1 :]
    verdicts = {step.name: step.verdict for step in report.steps}
    assert all(verdicts[name] == "not judged" for name in later)
    assert report.first in str(report)


def test_a_division_forgotten_everywhere_is_no_custom():
    """Where the parameters are multiples too, dZ is wrong: 1/m is missing."""
    network = Network(l2=0.0)
    multiples = {
        name: g if name[1] in "ZA" else M * g for name, g in network.by_hand().items()
    }
    report = check_formula(network.recorded(), multiples)
    assert report.first == "dZ3", str(report)
    assert "30" in report.cause


def test_a_chain_that_divides_at_once_is_right():
    """dZ may be the gradient itself."""
    network = Network()
    divided = {
        name: g / M if name[1] in "ZA" else g for name, g in network.by_hand().items()
    }
    report = check_formula(network.recorded(), divided)
    assert report
    assert {step.factor for step in report.steps} == {1.0}


def test_names_come_from_tensors_callers_and_statements():
    """A Tensor, its name, the caller's variable, and the recording statement will do."""
    W = tg.Parameter(np.array([0.5, -1.0]), name="weight")
    V = W * W
    loss = (V * V).sum()
    right = 4 * W.data**3
    assert check_formula(loss, {W: right})
    assert check_formula(loss, {"weight": right, "dV": 2 * V.data})
    assert check_formula(loss, {"dweight": right, "V": 2 * V.data})
    assert not check_formula(loss, {"V": V.data})


def test_a_name_that_nobody_has_is_refused_with_those_there_are():
    """The names that are known are listed."""
    network = Network()
    with pytest.raises(OpError, match=r"no Tensor .* 'dZ7'; got names .*Z3"):
        check_formula(network.recorded(), {"dZ7": np.zeros((1, M))})


def looped(A):
    """Three turns of one statement; the variables are gone with the call."""
    for i in range(3):
        B = A * float(i + 2)
        A = np.tanh(B)
    return A


def test_a_name_of_several_tensors_is_refused():
    """A loop's variable has many values; which of them is meant must be said."""
    first = tg.Tensor([0.1, 0.2], requires_grad=True)
    loss = looped(first).sum()
    with pytest.raises(OpError, match="of 3 Tensors"):
        check_formula(loss, {"dB": np.zeros(2)})
    assert check_formula(loss, {first: tg.gradients(loss, [first])[0].data})


def test_gradients_of_other_shapes_are_refused():
    """The shape of the Tensor is told, and what to do."""
    network = Network()
    with pytest.raises(ShapeError, match=r"dW2 in the shape \(3, 5\).*Transpose"):
        check_formula(network.recorded(), {"dW2": np.zeros((5, 3))})


def test_what_is_no_loss_is_refused():
    """A loss is one recorded number."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GradientError, match="one number"):
        check_formula(x * x, {"x": x.data})
    with pytest.raises(OpError, match="recorded Tensor; got float64"):
        check_formula(np.float64(1.0), {"x": x.data})
    with pytest.raises(OpError, match="no part of the loss's graph"):
        check_formula((x * x).sum(), {tg.Tensor([1.0]): np.ones(1)})
    with pytest.raises(OpError, match="dictionary"):
        check_formula((x * x).sum(), 2 * x.data)


def test_a_kink_may_be_answered_in_several_ways():
    """At relu's kink every slope between 0 and 1 is a gradient; none beyond is."""
    x = tg.Tensor([0.0, 1.0, -1.0], requires_grad=True)
    loss = tg.relu(x).sum()
    for slope, verdict in ((0.0, "ok"), (1.0, "kink"), (0.3, "kink"), (1.5, "wrong")):
        report = check_formula(loss, {"x": np.array([slope, 1.0, 0.0])})
        assert report.verdict == verdict, str(report)


def test_a_wrong_rule_of_autograd_is_blamed():
    """Numbers are the third vote: a right formula stands against a wrong rule."""

    @tg.elementwise(
        formula=r"\mathrm{cube} $x",
        vjp=lambda g, _out, x: g * 2.0 * x * x,
        samples=(),
    )
    def cube(x):
        return x * x * x

    x = tg.Tensor([0.5, 2.0], requires_grad=True)
    report = check_formula(cube(x).sum(), {"x": 3 * x.data**2})
    assert report.blame == ("autograd",)
    assert report.verdict == "wrong"
    assert report.first is None
    assert "autograd is wrong" in str(report)


def test_the_written_activation_has_a_gradient_of_its_own():
    """A = sigmoid(Z) inside a stabilised loss is judged by the plain rule."""
    network = Network()
    A3 = 1 / (1 + np.exp(-network.recorded().item()))
    assert 0 < A3 < 1
    x = tg.Tensor([0.3, -1.2], requires_grad=True)
    A = 1 / (1 + np.exp(-x))
    loss = -np.log(A).sum()
    assert check_formula(loss, {"dA": -1 / A.data, "dx": A.data - 1})
    report = check_formula(loss, {"dA": 1 / A.data})
    assert report.first == "dA"
    assert report.blame == ("formula",)


# --- mistakes, re-enacted ------------------------------------------------------------

WHOLE = {
    "no slope": r"the derivative of tanh is missing; at tanh in `A1 = np.tanh\(Z1\)`",
    "slope 1 - z²": "the derivative of tanh is taken of its operand",
    "slope of sigmoid": "the derivative of sigmoid stands for that of tanh",
    "before dropout": "the factor in matmul is another array, that of tanh",
    "mask unscaled": "a mask is not scaled",
    "mask left out": "left out as a factor; at multiply in `D1 = A1",
    "no 1/m": "the factor 1/32 is left out; at divide",
    "bias mean": "a mean over 32 where the broadcasting asks for a sum",
    "half L2": "a factor 1/2",
}


@pytest.mark.parametrize("slip", WHOLE)
def test_one_mistake_that_explains_all_is_named(slip):
    """The line of f whose derivative was done wrongly is told, and how."""
    by_hand = Backprop(np.random.default_rng(3))
    report = check_gradients(
        by_hand.cost, *by_hand.arrays, formula=partial(by_hand.gradients, slip=slip)
    )
    assert re.search(WHOLE[slip], report.cause or ""), str(report)


def test_what_a_path_cut_off_explains_is_called_so():
    """A spread taken for constant is that, not a derivative that cancels in the end."""
    rng = np.random.default_rng(0)

    def normal(x):
        mean = x.mean(axis=0)
        return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=0) + 1e-5)

    def by_hand(g, x):
        return ((g - g.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5),)

    report = check_gradients(normal, rng.normal(size=(6, 4)), vjp=by_hand)
    assert report.verdict == "wrong"
    assert "nothing is propagated through operand 2 of divide" in str(report)


def test_what_no_slip_explains_is_not_explained():
    """A gradient that no single mistake makes has no cause by re-enactment."""
    by_hand = Backprop(np.random.default_rng(3))
    variables = [tg.Tensor(x, requires_grad=True) for x in by_hand.arrays]
    slips = Slips(by_hand.cost(*variables), np.ones(()), variables)
    gradients = by_hand.gradients(*by_hand.arrays)
    assert slips.explaining(gradients) is None  # right
    rng = np.random.default_rng(0)
    assert slips.explaining([g * rng.uniform(1, 2, g.shape) for g in gradients]) is None


def test_a_slip_changes_what_lies_behind_it_and_nothing_else():
    """Re-enacted at W2's product, a slip leaves b2 alone, and W1 as it was."""
    by_hand = Backprop(np.random.default_rng(1))
    variables = [tg.Tensor(x, requires_grad=True) for x in by_hand.arrays]
    slips = Slips(by_hand.cost(*variables), np.ones(()), variables)
    seen = 0
    for slip in slips:
        if "Z2 = D1 @ W2" in slip.where and slip.nodes[0].op.name == "matmul":
            W1, _, W2, b2 = slips.gradients(slip)
            changed = W2 if slip.operand == 1 else W1
            kept = W1 if slip.operand == 1 else W2
            right = slips.right
            assert np.array_equal(b2, right[3])
            assert np.array_equal(kept, right[0] if slip.operand == 1 else right[2])
            different = right[2] if slip.operand == 1 else right[0]
            assert not np.array_equal(changed, different)
            seen += 1
    assert seen > 10


def test_a_mistake_in_a_loop_is_made_every_time_around():
    """Truncation in every step of a recurrence is one mistake, on one line."""
    x = np.array([0.3, -0.2, 0.7])

    def f(w):
        h = w * 0.0
        for t in range(3):
            h = np.tanh(w * h + x[t])
        return h.sum()

    def formula(w):
        hs, h = [0 * w], 0 * w
        for t in range(3):
            h = np.tanh(w * h + x[t])
            hs.append(h)
        g, dw = np.ones_like(w), 0.0
        for t in (2, 1, 0):
            dw = dw + g * hs[t]
            g = g * w  # the slope of tanh is forgotten
        return (dw,)

    report = check_gradients(f, np.array([0.8, -0.5]), formula=formula)
    assert report.cause.startswith("the derivative of tanh is missing"), str(report)


# --- how thoroughly ------------------------------------------------------------------


def test_full_mode_looks_at_every_element():
    """Every element has been judged, whether or not directions give a reason to."""
    W = np.linspace(-1, 1, 12).reshape(3, 4)
    f = lambda W: np.sum(np.tanh(W) ** 2)
    report = check_gradients(f, W, mode="full")
    assert report.verdict == "ok"
    assert report.parameters["W"].checked == 12
    assert check_gradients(f, W).parameters["W"].checked == 0

    def formula(W):
        g = 2 * np.tanh(W) * (1 - np.tanh(W) ** 2)
        g[1, 2] *= 1.01
        return g

    report = check_gradients(f, W, mode="full", formula=formula)
    assert report.parameters["W"].wrong == 1
    assert report.parameters["W"].worst.index == (1, 2)


def test_one_point_cannot_see_a_regulariser_at_zero():
    """A second point sees what vanishes at the first; points=1 asks for one only."""
    f = lambda W: np.sum(np.cos(W)) + 0.1 * np.sum(W**2)
    formula = lambda W: -np.sin(W)
    W = np.zeros(4)
    assert check_gradients(f, W, formula=formula, points=1).verdict == "ok"
    assert check_gradients(f, W, formula=formula).verdict == "wrong"


def test_kinks_can_be_forbidden_or_skipped():
    """A kink passes, fails, or is left alone, as asked for."""
    x = np.array([0.0, 1.0])
    f = lambda x: np.sum(np.abs(x))
    inside, outside = (lambda x, k=k: np.array([k, 1.0]) for k in (0.5, 1.5))
    for formula, kinks, ok in (
        (inside, "bracket", True),
        (inside, "forbid", False),
        (inside, "skip", True),
        (outside, "bracket", False),
        (outside, "skip", True),
    ):
        report = check_gradients(f, x, formula=formula, kinks=kinks, points=1)
        assert bool(report) is ok, (kinks, str(report))


@pytest.mark.parametrize(
    ("setting", "value"), [("mode", "slow"), ("kinks", "ok"), ("points", 0)]
)
def test_a_setting_that_does_not_exist_is_refused(setting, value):
    """What may be asked for is told."""
    with pytest.raises(OpError, match=setting):
        check_gradients(lambda x: x * x, 3.0, **{setting: value})


def test_reports_of_formulas_are_true_where_right():
    """An assertion on a report reads as it should."""
    assert FormulaReport(())
    assert not FormulaReport((), blame=("autograd",))
