"""Laws of losses; every loss of the module obeys each.

Whether their gradients are right is judged in `test_verdicts`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import mpmath
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph, losses
from tinygrad_nn.errors import DataError, DtypeError, ModelError, OpError, ShapeError

PENALTIES = {"l1", "l2"}
N, K = 6, 4


class Member(NamedTuple):
    """A loss with inputs that suit it, and its definition for one example."""

    loss: object
    inputs: object  # rng -> prediction, target
    one: object  # (prediction row, target row) -> float, in plain math
    classes: bool = False  # takes class_weight


def logistic(z, y):
    return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))


def entropy(a, y):
    return -(y * math.log(a) + (1 - y) * math.log(1 - a))


def softmax_entropy(row, shares):
    top = max(row)
    log_total = top + math.log(math.fsum(math.exp(z - top) for z in row))
    return math.fsum(p * (log_total - z) for z, p in zip(row, shares, strict=True))


def of_class(row, c):
    return softmax_entropy(row, [float(j == c) for j in range(len(row))])


def smoothed(row, c):
    return softmax_entropy(
        row, [0.9 * (j == c) + 0.1 / len(row) for j in range(len(row))]
    )


def bent(delta):
    def one(x, y):
        d = abs(x - y)
        return 0.5 * d * d if d <= delta else delta * (d - 0.5 * delta)

    return one


def rounded_tip(x, y):
    d = abs(x - y)
    return d * d / (2 * 0.3) if d < 0.3 else d - 0.15


def focal(row, c):
    p = math.exp(-of_class(row, c))
    return -((1 - p) ** 2) * math.log(p)


def binary_focal(z, y):
    p = 1 / (1 + math.exp(-z if y else z))
    return -((1 - p) ** 1.5) * math.log(p)


def multiclass_hinge(row, c):
    return math.fsum(max(0.0, 1 - row[c] + z) for j, z in enumerate(row) if j != c)


def divergence(log_p, shares):
    return math.fsum(
        t * (math.log(t) - x) for x, t in zip(log_p, shares, strict=True) if t
    )


def length(x, y, ord=2):
    return math.fsum(abs(a - b) ** ord for a, b in zip(x, y, strict=True)) ** (1 / ord)


def cosine(x, y):
    dot = math.fsum(a * b for a, b in zip(x, y, strict=True))
    zero = [0.0] * len(x)
    return dot / (length(x, zero) * length(y, zero))


def triplet(anchor, others):
    positive, negative = others
    return max(0.0, length(anchor, positive) - length(anchor, negative) + 1)


def swapped(anchor, others):
    positive, negative = others
    far = min(length(anchor, negative, 1), length(positive, negative, 1))
    return max(0.0, length(anchor, positive, 1) - far + 2)


def stirling(y):
    return math.lgamma(y + 1) if y <= 1 else (y * math.log(y) - y + math.log(2 * math.pi * y) / 2)  # fmt: skip


def reals(rng):
    return rng.normal(size=N), rng.normal(size=N)


def counted(rng):
    return rng.normal(size=N), np.array([0, 1, 2, 5, 0, 3])


def vectors(rng):
    return rng.normal(size=(N, K)), rng.normal(size=(N, K))


def triplets(rng):
    return rng.normal(size=(N, K)), rng.normal(size=(N, 2, K))


def classes(rng):
    return rng.normal(size=(N, K)), np.array([0, 1, 2, 3, 1, 0])


def log_rows(rng):
    z, shares = rows(rng)
    return z - np.log(np.exp(z).sum(1, keepdims=True)), shares


def of_pairs(loss, sign, **fixed):
    """A loss of pairs with one label for all, as a function of two operands."""

    def call(prediction, target, **settings):
        labels = np.full(len(prediction), sign)
        return loss(prediction, target, labels, **fixed, **settings)

    return call


def of_triplets(**fixed):
    def call(anchor, others, **settings):
        return losses.triplet_margin(
            anchor, others[:, 0], others[:, 1], **fixed, **settings
        )

    return call


def of_gaussian(**fixed):
    def call(prediction, target, **settings):
        return losses.gaussian_nll(
            prediction, target[:, 0], target[:, 1], **fixed, **settings
        )

    return call


def likelihood(m, row):
    y, v = row
    return (math.log(2 * math.pi * v) + (y - m) ** 2 / v) / 2


def rows(rng):
    shares = rng.random((N, K))
    return rng.normal(size=(N, K)), shares / shares.sum(1, keepdims=True)


def smooth(loss, **fixed):
    def call(prediction, target, **settings):
        return loss(prediction, target, **fixed, **settings)

    return call


MEMBERS = {
    "binary_cross_entropy": Member(
        losses.binary_cross_entropy,
        lambda rng: (rng.uniform(0.3, 0.7, N), rng.integers(0, 2, N)),
        entropy,
        classes=True,
    ),
    "binary_cross_entropy_with_logits": Member(
        losses.binary_cross_entropy_with_logits,
        lambda rng: (3 * rng.normal(size=N), rng.integers(0, 2, N)),
        logistic,
        classes=True,
    ),
    "binary_focal_with_logits": Member(
        smooth(losses.binary_focal_with_logits, gamma=1.5),
        lambda rng: (3 * rng.normal(size=N), rng.integers(0, 2, N)),
        binary_focal,
        classes=True,
    ),
    "cosine_embedding": Member(
        of_pairs(losses.cosine_embedding, 1), vectors, lambda x, y: 1 - cosine(x, y)
    ),
    "cosine_embedding, apart": Member(
        of_pairs(losses.cosine_embedding, -1, margin=-0.2),
        vectors,
        lambda x, y: max(0.0, cosine(x, y) + 0.2),
    ),
    "cross_entropy": Member(losses.cross_entropy, classes, of_class, classes=True),
    "cross_entropy, with a class ignored": Member(
        smooth(losses.cross_entropy, ignore_index=9), classes, of_class, classes=True
    ),
    "cross_entropy of probabilities": Member(
        losses.cross_entropy, rows, softmax_entropy, classes=True
    ),
    "cross_entropy, smoothed": Member(
        smooth(losses.cross_entropy, label_smoothing=0.1),
        lambda rng: (rng.normal(size=(N, K)), np.array([0, 1, 2, 3, 1, 0])),
        smoothed,
        classes=True,
    ),
    "focal": Member(losses.focal, classes, focal, classes=True),
    "gaussian_nll": Member(
        of_gaussian(full=True),
        lambda rng: (
            rng.normal(size=N),
            np.stack([rng.normal(size=N), rng.uniform(0.5, 2, N)], 1),
        ),
        likelihood,
    ),
    "hinge": Member(
        losses.hinge,
        # Away from the kink at y f = 1, where a difference quotient means nothing.
        lambda rng: (
            rng.choice([-2.0, 0.3, 1.7], N) + rng.uniform(0, 0.1, N),
            rng.choice([-1, 1], N),
        ),
        lambda f, y: max(0.0, 1 - y * f),
        classes=True,
    ),
    "huber": Member(losses.huber, reals, bent(1.0)),
    "huber, narrow": Member(smooth(losses.huber, delta=0.3), reals, bent(0.3)),
    "kl_divergence": Member(losses.kl_divergence, log_rows, divergence),
    "kl_divergence, of logarithms": Member(
        smooth(losses.kl_divergence, log_target=True),
        lambda rng: (log_rows(rng)[0], log_rows(rng)[0]),
        lambda x, t: divergence(x, [math.exp(z) for z in t]),
    ),
    "log_cosh": Member(losses.log_cosh, reals, lambda x, y: math.log(math.cosh(x - y))),
    "mae": Member(losses.mae, reals, lambda x, y: abs(x - y)),
    "margin_ranking": Member(
        of_pairs(losses.margin_ranking, 1, margin=0.5),
        reals,
        lambda x, y: max(0.0, 0.5 - (x - y)),
    ),
    "margin_ranking, turned": Member(
        of_pairs(losses.margin_ranking, -1), reals, lambda x, y: max(0.0, x - y)
    ),
    "mse": Member(losses.mse, reals, lambda x, y: (x - y) ** 2),
    "multiclass_hinge": Member(
        losses.multiclass_hinge, classes, multiclass_hinge, classes=True
    ),
    "nll": Member(losses.nll, classes, lambda row, c: -row[c], classes=True),
    "poisson_nll": Member(
        losses.poisson_nll, counted, lambda z, y: math.exp(z) - y * z
    ),
    "poisson_nll, of rates": Member(
        smooth(losses.poisson_nll, log_input=False, full=True),
        lambda rng: (rng.uniform(0.5, 3, N), counted(rng)[1]),
        lambda r, y: r - y * math.log(r) + stirling(y),
    ),
    "smooth_l1": Member(smooth(losses.smooth_l1, beta=0.3), reals, rounded_tip),
    "squared_hinge": Member(
        losses.squared_hinge,
        lambda rng: (2 * rng.normal(size=N), np.array([1, -1, -1, 1, 1, -1])),
        lambda f, y: max(0.0, 1 - y * f) ** 2,
        classes=True,
    ),
    "triplet_margin": Member(of_triplets(), triplets, triplet),
    "triplet_margin, swapped": Member(
        of_triplets(margin=2.0, ord=1, swap=True), triplets, swapped
    ),
}
ALL = [pytest.param(member, id=name) for name, member in MEMBERS.items()]
OF_ROWS = {
    *("cosine_embedding", "cross_entropy", "focal", "gaussian_nll", "kl_divergence"),
    *("margin_ranking", "multiclass_hinge", "nll", "triplet_margin"),
}
ELEMENTWISE = [
    pytest.param(member, id=name)
    for name, member in MEMBERS.items()
    if name.split(",")[0].split(" ")[0] not in OF_ROWS
]
CLASSED = [
    pytest.param(member, id=name) for name, member in MEMBERS.items() if member.classes
]


def draw(member, seed=0, dtype=np.float64):
    prediction, target = member.inputs(np.random.default_rng(seed))
    return prediction.astype(dtype), target


# --- laws -------------------------------------------------------------------------


def law_of_value(member):
    """Losses equal the definition, example by example, and the mean their mean."""
    prediction, target = draw(member)
    wanted = [
        member.one(*(x.tolist() for x in pair))
        for pair in zip(prediction, target, strict=True)
    ]
    each = member.loss(tg.Tensor(prediction), target, reduction="none")
    np.testing.assert_allclose(each.data, wanted, rtol=1e-14, atol=1e-15)
    mean = member.loss(tg.Tensor(prediction), target)
    assert mean.shape == ()
    assert math.isclose(mean.item(), math.fsum(wanted) / N, rel_tol=1e-14)


def law_of_arrays(member):
    """A plain array gives the numbers that a Tensor gives, as plain numbers."""
    prediction, target = draw(member)
    for reduction in ("mean", "sum", "none"):
        plain = member.loss(prediction, target, reduction=reduction)
        recorded = member.loss(tg.Tensor(prediction), target, reduction=reduction)
        assert not isinstance(plain, tg.Tensor)
        assert np.array_equal(plain, recorded.data)


def law_of_float32(member):
    """float32 predictions give float32 losses and gradients, whatever the weights."""
    prediction, target = draw(member, dtype=np.float32)
    for settings in (
        {},
        {"sample_weight": np.arange(1.0, N + 1)},
        {"reduction": "sum"},
    ):
        z = tg.Parameter(prediction)
        loss = member.loss(z, target, **settings)
        loss.backward()
        assert loss.dtype == np.float32
        assert z.grad.dtype == np.float32
        for node in graph.nodes(loss):
            assert node.dtype in (np.float32, np.bool_), node


def law_of_reductions(member):
    """Sum is the sum of the losses, mean the sum over their number."""
    prediction, target = draw(member)
    each = member.loss(prediction, target, reduction="none")
    assert each.shape == (N,)
    assert math.isclose(
        member.loss(prediction, target, reduction="sum"), each.sum(), rel_tol=1e-14
    )
    assert math.isclose(member.loss(prediction, target), each.mean(), rel_tol=1e-14)


def law_of_sample_weights(member):
    """Weight 2 counts as two examples, weight 0 as none; the mean divides by sum(w)."""
    prediction, target = draw(member)
    counts = np.array([2, 1, 0, 1, 3, 1])
    copies = np.repeat(np.arange(N), counts)
    for reduction in ("mean", "sum"):
        weighted = member.loss(
            prediction, target, reduction=reduction, sample_weight=counts
        )
        repeated = member.loss(prediction[copies], target[copies], reduction=reduction)
        assert math.isclose(weighted, repeated, rel_tol=1e-13)
    each = member.loss(prediction, target, reduction="none")
    weighted = member.loss(prediction, target, reduction="none", sample_weight=counts)
    np.testing.assert_allclose(weighted, counts * each, rtol=1e-14)


def law_of_class_weights(member):
    """A class weight is the sample weight of the class (expected, under shares)."""
    prediction, target = draw(member)
    if prediction.ndim == 2:
        by_class = np.array([0.5, 1.0, 2.0, 3.0])
        weight = by_class[target] if target.ndim == 1 else target @ by_class
        names = dict(enumerate(by_class.tolist()))
    else:
        by_class = (0.5, 3.0)
        low = min(target.min(), 0)
        weight = np.where(target == 1, 3.0, 0.5)
        names = {int(low): 0.5, 1: 3.0}
    sample = np.linspace(1.0, 2.0, N)
    for reduction in ("mean", "sum", "none"):
        wanted = member.loss(
            prediction, target, reduction=reduction, sample_weight=weight * sample
        )
        for given in (by_class, names):
            got = member.loss(
                prediction,
                target,
                reduction=reduction,
                class_weight=given,
                sample_weight=sample,
            )
            np.testing.assert_allclose(got, wanted, rtol=1e-13)
    alone = member.loss(prediction, target, class_weight=by_class)
    np.testing.assert_allclose(
        alone, member.loss(prediction, target, sample_weight=weight), rtol=1e-13
    )


def law_of_shapes(member):
    """(n, 1) against (n,) is refused both ways, and the axis is named."""
    prediction, target = draw(member)
    for shapes in (((N, 1), (N,)), ((N,), (N, 1))):
        with pytest.raises(
            ShapeError, match=r"axis 1 of size 1.*\[:, None\].*reshape"
        ) as caught:
            member.loss(prediction.reshape(shapes[0]), target.reshape(shapes[1]))
        assert f"prediction{shapes[0]}, target{shapes[1]}" in str(caught.value)


def law_of_untouched_inputs(member):
    """Nothing that is given is changed: read-only arrays will do."""
    prediction, target = draw(member)
    weight = np.ones(N)
    for array in (prediction, target, weight):
        array.flags.writeable = False
    before = prediction.copy(), target.copy()
    z = tg.Parameter(prediction)
    member.loss(z, target, sample_weight=weight).backward()
    assert np.array_equal(prediction, before[0])
    assert np.array_equal(target, before[1])


LAWS = (
    law_of_value,
    law_of_arrays,
    law_of_float32,
    law_of_reductions,
    law_of_sample_weights,
    law_of_untouched_inputs,
)


def test_every_loss_is_a_member():
    """No loss of the module is left out of the laws."""
    assert {name.split(",")[0].split(" ")[0] for name in MEMBERS} | PENALTIES == set(
        losses.__all__
    )


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("member", ALL)
def test_law(member, law):
    """Each loss obeys each law."""
    law(member)


@pytest.mark.parametrize("member", CLASSED)
def test_class_weights(member):
    """Each loss of classes obeys the law of class weights."""
    law_of_class_weights(member)


@pytest.mark.parametrize("member", ELEMENTWISE)
def test_a_loss_refuses_n_1_against_n(member):
    """Each loss of equal shapes obeys the law of shapes."""
    law_of_shapes(member)


def no_divisor(prediction, target, reduction="mean", **settings):
    return losses.mse(
        prediction,
        target,
        reduction="sum" if reduction == "mean" else reduction,
        **settings,
    )


def factor_lost(prediction, target, **settings):
    return 0.5 * losses.mse(prediction, target, **settings)


def upcasting(prediction, target, **settings):
    return losses.mse(prediction * np.ones(N), target, **settings)


def weights_over_n(prediction, target, reduction="mean", sample_weight=None):
    if sample_weight is None or reduction != "mean":
        return losses.mse(
            prediction, target, reduction=reduction, sample_weight=sample_weight
        )
    return (
        losses.mse(prediction, target, reduction="sum", sample_weight=sample_weight) / N
    )


def scribbling(prediction, target, **settings):
    data = prediction.data if isinstance(prediction, tg.Tensor) else prediction
    data[...] = np.round(data)
    return losses.mse(prediction, target, **settings)


def recorded_anyway(prediction, target, **settings):
    return losses.mse(tg.Tensor(prediction), target, **settings)


def broadcasting(prediction, target, **settings):
    return ((prediction - target) ** 2).mean()


def only_the_second_class(prediction, target, class_weight=None, **settings):
    if class_weight is not None:
        _low, high = (
            class_weight.values() if isinstance(class_weight, dict) else class_weight
        )
        class_weight = (1.0, high)
    return losses.hinge(prediction, target, class_weight=class_weight, **settings)


@pytest.mark.parametrize(
    ("law", "loss"),
    [
        (law_of_value, no_divisor),
        (law_of_value, factor_lost),
        (law_of_arrays, recorded_anyway),
        (law_of_float32, upcasting),
        (law_of_reductions, no_divisor),
        (law_of_sample_weights, weights_over_n),
        (law_of_untouched_inputs, scribbling),
        (law_of_shapes, broadcasting),
        (law_of_class_weights, only_the_second_class),
    ],
    ids=lambda x: x.__name__,
)
def test_laws_have_teeth(law, loss):
    """Each law refutes a loss that breaks it."""
    honest = MEMBERS["hinge" if law is law_of_class_weights else "mse"]
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        law(honest._replace(loss=loss))


# --- accuracy and economy ---------------------------------------------------------


SPELLINGS = {
    "with logits": losses.binary_cross_entropy_with_logits,
    "sigmoid": lambda z, y, **s: losses.binary_cross_entropy(tg.sigmoid(z), y, **s),
    "1/(1+exp(-z))": lambda z, y, **s: losses.binary_cross_entropy(
        1 / (1 + np.exp(-z)), y, **s
    ),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # the user's own
def test_binary_cross_entropy_is_accurate_for_any_logit(spelling, dtype):
    """Value and slope agree with 50 digits for logits from -1000 to 1000."""
    logits = np.array(
        [-1000, -745, -88, -30, -1, -1e-3, 0, 1e-3, 1, 30, 40, 88, 745, 1000], dtype
    )
    bound = 1e-12 if dtype is np.float64 else 1e-6
    tiny = 1e-307 if dtype is np.float64 else 1e-37
    for label in (0, 1):
        z = tg.Parameter(logits)
        y = np.full(len(logits), label)
        each = SPELLINGS[spelling](z, y, reduction="none")
        each.sum().backward()
        with mpmath.workdps(50):
            for i, x in enumerate(logits.tolist()):
                sign = -1 if label else 1
                value = mpmath.log1p(mpmath.exp(sign * mpmath.mpf(x)))
                slope = sign / (1 + mpmath.exp(-sign * mpmath.mpf(x)))
                for got, wanted in ((each.data[i], value), (z.grad[i], slope)):
                    assert (
                        abs(mpmath.mpf(float(got)) - wanted)
                        <= bound * abs(wanted) + tiny
                    ), x


def test_cross_entropy_is_finite_for_any_logit():
    """Logits of ±1000, and classes ruled out by -inf, give finite losses and slopes."""
    z = tg.Parameter(np.array([[1000.0, -1000.0, 0.0], [-np.inf, 0.0, 1.0]]))
    loss = losses.cross_entropy(z, np.array([1, 2]))
    loss.backward()
    assert math.isclose(
        loss.item(), (2000 + math.log1p(math.exp(-1))) / 2, rel_tol=1e-15
    )
    share = 1 / (1 + math.exp(-1))
    wanted = np.array([[0.5, -0.5, 0.0], [0.0, (1 - share) / 2, (share - 1) / 2]])
    np.testing.assert_allclose(z.grad, wanted, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("loss", "target", "wanted"),
    [
        (
            losses.binary_cross_entropy_with_logits,
            np.ones((3, 2)),
            ["logistic_loss", "mean"],
        ),
        (
            losses.cross_entropy,
            np.array([0, 1, 1]),
            ["log_softmax", "getitem", "negative", "mean"],
        ),
        (
            losses.cross_entropy,
            np.eye(2)[[0, 1, 1]],
            ["log_softmax", "multiply", "sum", "mean"],
        ),
        (losses.mse, np.ones((3, 2)), ["subtract", "square", "mean"]),
    ],
)
def test_a_loss_records_few_nodes(loss, target, wanted):
    """The graph of a loss is as short as it can stay stable."""
    z = tg.Parameter(np.zeros((3, 2)))
    assert [node.op.name for node in graph.nodes(loss(z, target)) if node.op] == wanted


def test_one_hot_rows_equal_classes():
    """Both ways to give classes give one loss, smoothed, weighted, or not."""
    rng = np.random.default_rng(5)
    z, classes = rng.normal(size=(N, K)), rng.integers(0, K, N)
    for settings in ({}, {"label_smoothing": 0.2}, {"class_weight": {2: 5.0}}):
        by_class = losses.cross_entropy(z, classes, **settings)
        for hot in (np.eye(K)[classes], np.eye(K, dtype=int)[classes]):
            assert math.isclose(
                losses.cross_entropy(z, hot, **settings), by_class, rel_tol=1e-14
            )


def test_targets_may_be_tensors_and_keep_their_gradient():
    """A target that requires a gradient gets one, as in distillation."""
    rng = np.random.default_rng(6)
    z, shares = rows(rng)
    p = tg.Parameter(shares)
    losses.cross_entropy(tg.Tensor(z), p, label_smoothing=0.5).backward()
    top = z.max(1, keepdims=True)
    log_shares = z - top - np.log(np.exp(z - top).sum(1, keepdims=True))
    np.testing.assert_allclose(p.grad, -0.5 * log_shares / N, rtol=1e-13)
    y = tg.Tensor(np.array([0, 1]))
    assert losses.mse(tg.Tensor([0.0, 0.0]), y).item() == 0.5


def test_weights_of_examples_reach_every_output():
    """With several outputs an example's weight holds for each; the mean is over all."""
    rng = np.random.default_rng(7)
    x, y, w = rng.normal(size=(N, 3)), rng.normal(size=(N, 3)), rng.random(N)
    wanted = ((x - y) ** 2 * w[:, None]).sum() / (3 * w.sum())
    assert math.isclose(losses.mse(x, y, sample_weight=w), wanted, rel_tol=1e-14)


def test_kinks_have_the_slope_of_least_norm():
    """At its kink a loss has slope 0: mae at equality, hinge at y f = 1."""
    x = tg.Parameter([1.0, 1.0])
    losses.mae(x, [1.0, 0.0], reduction="sum").backward()
    assert x.grad.tolist() == [0.0, 1.0]
    f = tg.Parameter([1.0, -1.0])
    losses.hinge(f, [1, -1], reduction="sum").backward()
    assert f.grad.tolist() == [0.0, 0.0]


# --- penalties --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("penalty", "value", "slope"),
    [
        (losses.l2, lambda w: 0.5 * 0.3 * (w**2).sum(), lambda w: 0.3 * w),
        (losses.l1, lambda w: 0.3 * np.abs(w).sum(), lambda w: 0.3 * np.sign(w)),
    ],
)
def test_a_penalty_takes_the_weights_of_a_model_and_no_bias(penalty, value, slope):
    """Value and slope are the formula's, over weights alone; a list counts in full."""
    net = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=0), tg.tanh, tg.nn.Dense(2, 1, rng=1))
    for parameter in net.parameters():
        parameter.data = parameter.data + 1.0
    weights = [net[0].weight, net[2].weight]
    loss = penalty(net, 0.3)
    loss.backward()
    assert math.isclose(loss.item(), sum(value(w.data) for w in weights), rel_tol=1e-14)
    for w in weights:
        np.testing.assert_allclose(w.grad, slope(w.data), rtol=1e-14)
    assert net[0].bias.grad is None
    total = sum(value(p.data) for p in net.parameters())
    assert math.isclose(penalty(net.parameters(), 0.3).item(), total, rel_tol=1e-14)
    assert math.isclose(
        penalty(weights[0], 0.3).item(), value(weights[0].data), rel_tol=1e-14
    )


def test_a_column_of_biases_is_known_by_its_name():
    """In the tutorials' layout b1 has two axes; a weight of one row counts."""

    class Columns(tg.nn.Module):
        def __init__(self):
            self.W1 = tg.Parameter(np.full((1, 4), 2.0))
            self.b1 = tg.Parameter(np.ones((4, 1)))
            self.out_bias = tg.Parameter(np.ones((4, 1)))

        def forward(self, x):
            return x

    assert losses.l2(Columns(), 1.0).item() == 8.0


def test_a_penalty_stays_float32():
    """float32 weights give a float32 penalty and slope."""
    w = tg.Parameter(np.ones(3), dtype=np.float32)
    loss = losses.l2([w], np.float64(0.1))
    loss.backward()
    assert (loss.dtype, w.grad.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("given", [[], tg.nn.ReLU()])
def test_a_penalty_of_nothing_is_refused(given):
    """A model without weights would make a silent zero."""
    with pytest.raises(
        ModelError, match=f"l2: nothing to penalise; got {type(given).__name__}"
    ):
        losses.l2(given, 0.1)


# --- refusals ---------------------------------------------------------------------

Z = np.zeros((3, 2))
V = np.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: losses.mse(V, np.zeros(4)),
            ShapeError,
            "mse: .*differ at axis 0: 3 and 4",
        ),
        (lambda: losses.mse(V, 0.0), ShapeError, r"prediction\(3,\), target\(\)"),
        (lambda: losses.mae(Z, np.zeros((1, 3, 2))), ShapeError, "2 and 3 axes"),
        (
            lambda: losses.mse([0.0], V),
            OpError,
            r"mse: the prediction .*got list.*\(prediction, target\)",
        ),
        (
            lambda: losses.mse(V, np.array(["a", "b", "c"])),
            DtypeError,
            "mse: .*got dtype <U1",
        ),
        (
            lambda: losses.mse(V, V, reduction="avg"),
            OpError,
            "mse: reduction is 'mean', 'sum' or 'none'; got 'avg'",
        ),
        (lambda: losses.huber(V, V, delta=0), OpError, "huber: delta .*got 0"),
        (
            lambda: losses.mse(Z, Z, sample_weight=[1, 2]),
            ShapeError,
            r"shape \(3,\); got sample_weight\(2,\)",
        ),
        (
            lambda: losses.mse(V, V, sample_weight=V),
            DataError,
            "mse: .*sum to 0; got 3",
        ),
        (
            lambda: losses.hinge(V, np.array([1, 0, -1])),
            DataError,
            "hinge: .*got 0 at row 1.*2 \\* target - 1",
        ),
        (
            lambda: losses.binary_cross_entropy_with_logits(
                V, V, class_weight=(1, 2, 3)
            ),
            ShapeError,
            "binary_cross_entropy_with_logits: class_weight is a pair.*got 3 numbers",
        ),
        (
            lambda: losses.binary_cross_entropy(V + 0.5, V, class_weight={2: 1.0}),
            DataError,
            "binary_cross_entropy: class_weight names classes 0 and 1; got 2",
        ),
        (
            lambda: losses.cross_entropy(V, V),
            ShapeError,
            r"logits \(n, k\).*prediction\(3,\)",
        ),
        (
            lambda: losses.cross_entropy(Z[:, :1], V),
            ShapeError,
            "at least 2 classes.*binary_cross_entropy_with_logits",
        ),
        (
            lambda: losses.cross_entropy(Z, np.zeros((3, 1), int)),
            ShapeError,
            r"target\(3, 1\).*reshape\(-1\)",
        ),
        (
            lambda: losses.cross_entropy(Z, np.zeros(4, int)),
            ShapeError,
            r"classes \(3,\) or rows \(3, 2\).*target\(4,\)",
        ),
        (
            lambda: losses.cross_entropy(Z, V),
            DtypeError,
            r"classes are integers; got dtype float64.*astype\(int\)",
        ),
        (
            lambda: losses.cross_entropy(Z, np.array(["no", "yes", "no"])),
            DtypeError,
            r"classes are integers; got dtype <U3. Pass np.unique\(target, return_inverse=True\)\[1\]$",
        ),
        (
            lambda: losses.cross_entropy(Z, np.array([0, 2, 5])),
            DataError,
            "from 0 to 1; got 2 at row 1",
        ),
        (
            lambda: losses.cross_entropy(Z, np.array([0, 1, -1])),
            DataError,
            "got -1 at row 2",
        ),
        (
            lambda: losses.cross_entropy(Z, np.zeros(3, int), label_smoothing=1),
            OpError,
            "label_smoothing .*got 1",
        ),
        (
            lambda: losses.cross_entropy(Z, np.zeros(3, int), class_weight=[1, 2, 3]),
            ShapeError,
            r"\(2,\); got class_weight\(3,\)",
        ),
        (
            lambda: losses.cross_entropy(Z, np.zeros(3, int), class_weight={7: 1}),
            DataError,
            "classes 0 and 1; got 7",
        ),
    ],
)
def test_a_refusal_says_what_was_expected_and_what_came(call, error, message):
    """Every misuse is one error that names loss, law, operands and remedy."""
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "loss", [losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits]
)
@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([1, -1, 1], r"got -1 at row 1\. Pass \(target \+ 1\) / 2$"),
        (tg.Tensor([1.0, -1.0, 1.0]), r"got -1 at row 1\. Pass \(target \+ 1\) / 2$"),
        ([1, 2, 1], r"got 2 at row 1\. Pass target == 2$"),
        ([0, 1, 255], r"got 255 at row 2\. For more .* cross_entropy; .* mse$"),
        ([0.0, -0.25, 0.5], r"got -0.25 at row 1"),
    ],
)
def test_labels_that_would_have_no_least_loss_are_refused(loss, labels, what):
    """A label outside of 0 to 1, whose loss has no lower bound, is named, with its row."""
    name = loss.__name__
    with pytest.raises(
        DataError, match=rf"^{name}: labels are 0 and 1 \(or between\); {what}"
    ):
        loss(V + 0.5, labels)
    with pytest.raises(DataError, match="at row 1"):
        loss(Z + 0.5, np.array([[0, 1], [1, -1], [0, 0]]))


@pytest.mark.parametrize(
    "loss", [losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits]
)
def test_what_a_refusal_of_labels_advises_is_accepted(loss):
    """Labels 0 to 1 in any dtype pass, with a rounding error, and so does the advice."""
    given, truth = np.array([1, -1, 1]), np.array([1, 0, 1])
    wanted = loss(V + 0.5, truth)
    for labels in (
        (given + 1) / 2,
        given == 1,
        truth.astype(np.uint8),
        truth * (1 + 2e-16),
    ):
        assert math.isclose(loss(V + 0.5, labels), wanted, rel_tol=1e-14)
    assert loss(V[:0], V[:0], reduction="sum") == 0
    names = np.array(["no", "yes", "no"])
    assert losses.cross_entropy(
        Z, np.unique(names, return_inverse=True)[1]
    ) == pytest.approx(math.log(2))


def test_looking_around_finds_losses_alone():
    """`dir` lists the public names, and no import."""
    assert dir(losses) == sorted(losses.__all__)
