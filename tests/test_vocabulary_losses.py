"""Losses at their edges: tails, kinks, what is left out, refusals; PyTorch beside them.

Values and slopes in the tails are held to fifty digits of mpmath. That every loss is
its definition, with weights and reductions, is tested in `test_losses`.
"""

from __future__ import annotations

import contextlib
import math
import warnings

import mpmath as mp
import numpy as np
import pytest
import test_losses

import tinygrad_nn as tg
from tinygrad_nn import losses
from tinygrad_nn.errors import DataError, DtypeError, OpError, ShapeError

inf = np.inf
CONTEXT = mp.mp.clone()
CONTEXT.dps = 60
N, K = test_losses.N, test_losses.K


def pulled(loss, x):
    """Value, first and second derivative of each loss; every warning is an error."""
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        point = tg.Tensor(x, requires_grad=True)
        out = loss(point)
        (slope,) = tg.gradients(out.sum(), [point])
        (bend,) = tg.gradients(slope.sum(), [point], unused="zero")
    return out.numpy(), slope.numpy(), bend.numpy()


def close(got, wanted, bound):
    assert abs(CONTEXT.mpf(float(got)) - wanted) <= bound, (got, wanted)


# --- second order -----------------------------------------------------------------


@pytest.mark.parametrize("member", test_losses.ALL)
def test_the_second_derivative_is_the_slope_of_the_first(member):
    """A Hessian times a direction is the gradient's change along it, by differences."""
    prediction, target = test_losses.draw(member)
    direction = np.random.default_rng(1).standard_normal(prediction.shape)

    def slope(z):
        z = tg.Tensor(z, requires_grad=True)
        (g,) = tg.gradients(member.loss(z, target), [z])
        return z, g

    z, g = slope(prediction)
    found = np.zeros_like(prediction)
    if g.requires_grad:
        (found,) = tg.gradients((g * direction).sum(), [z], unused="zero")
        found = found.numpy()
    h = 1e-3
    near, far = (
        slope(prediction + t * direction)[1].numpy()
        - slope(prediction - t * direction)[1].numpy()
        for t in (h, 2 * h)
    )
    wanted = (8 * near - far) / (12 * h)
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=2e-9)


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (losses.huber, 1.0),
        (losses.log_cosh, 1.0),
        (lambda x, y, **s: losses.smooth_l1(x, y, beta=0.5, **s), 2.0),
        (losses.mse, 2.0),
        (losses.mae, 0.0),
    ],
)
def test_losses_of_numbers_bend_at_their_minimum(loss, wanted):
    """At a distance of exactly 0 the second derivative is the parabola's."""
    for reduction in ("sum", "none"):
        _, slope, bend = pulled(
            lambda x, r=reduction: loss(x, np.zeros(2), reduction=r), np.zeros(2)
        )
        assert slope.tolist() == [0.0, 0.0]
        assert bend.tolist() == [wanted, wanted]


# --- tails ------------------------------------------------------------------------

LOGITS = [-1000.0, -745.0, -88.0, -30.0, -3.0, -1e-3, 0.0, 1e-3, 2.0, 40.0, 88.0, 745.0, 1000.0]  # fmt: skip


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("label", [0, 1])
def test_focal_losses_are_accurate_for_any_logit(gamma, label):
    """Of one number or of two, value and slope agree with sixty digits, unwarned."""
    z = np.array(LOGITS)

    def wanted(x):
        m = x if label else -x
        return -((1 / (1 + CONTEXT.exp(m))) ** gamma) * -CONTEXT.log1p(CONTEXT.exp(-m))

    value, slope, _ = pulled(
        lambda z: losses.binary_focal_with_logits(
            z, np.full(len(LOGITS), label), gamma=gamma, reduction="none"
        ),
        z,
    )
    rows = np.stack([np.zeros(len(z)), z], 1)
    both, slopes, _ = pulled(
        lambda rows: losses.focal(
            rows, np.full(len(LOGITS), label), gamma=gamma, reduction="none"
        ),
        rows,
    )
    for i, x in enumerate(LOGITS):
        truth = CONTEXT.taylor(wanted, CONTEXT.mpf(x), 1, chop=False)
        for got, want in ((value[i], truth[0]), (slope[i], truth[1])):
            close(got, want, 4e-13 * abs(want) + 1e-300)
        for got, want in ((both[i], truth[0]), (slopes[i, 1], truth[1])):
            close(got, want, 1e-13 * max(abs(want), 1e-2 if gamma >= 1 else 1e2))


def test_log_cosh_is_accurate_for_any_distance():
    """From 1e-8 to 1e300 value and slope agree with sixty digits, unwarned."""
    d = np.array([s * x for x in (1e-8, 1e-4, 0.3, 1.0, 5.0, 30.0, 800.0, 1e300) for s in (1, -1)])  # fmt: skip
    value, slope, bend = pulled(
        lambda x: losses.log_cosh(x, np.zeros(len(d)), reduction="none"), d
    )
    for i, x in enumerate(d.tolist()):
        size = abs(CONTEXT.mpf(x))
        log_cosh = size + CONTEXT.log1p(CONTEXT.exp(-2 * size)) - CONTEXT.log(2)
        close(value[i], log_cosh, 1e-15 * log_cosh)
        tanh = CONTEXT.tanh(x)
        close(slope[i], tanh, 1e-15 * abs(tanh))
        close(bend[i], 1 - tanh**2, 1e-15)


def test_a_divergence_leaves_out_what_cannot_happen():
    """No probability beside a prediction of -inf costs 0, and has no gradient."""
    shares = np.array([[0.0, 1.0], [0.5, 0.5]])
    log_p = np.array([[-inf, 0.0], [math.log(0.25), math.log(0.75)]])
    wanted = [0.0, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)]
    for target, settings in (
        (shares, {}),
        (np.array([[-inf, 0.0], [math.log(0.5)] * 2]), {"log_target": True}),
    ):
        value, slope, _ = pulled(
            lambda z, t=target, s=settings: losses.kl_divergence(
                z, t, reduction="none", **s
            ),
            log_p,
        )
        np.testing.assert_allclose(value, wanted, rtol=1e-15)
        np.testing.assert_allclose(slope, -shares, rtol=1e-15)
    assert losses.kl_divergence(
        np.array([[-inf, 0.0]]), shares[1:], reduction="sum"
    ) == pytest.approx(inf)
    p = tg.Tensor(shares, requires_grad=True)
    losses.kl_divergence(np.log([[0.5, 0.5], [0.25, 0.75]]), p).backward()
    assert p.grad[0, 0] == 0.0
    assert p.grad[0, 1] == pytest.approx((1 + math.log(2)) / 2)


def test_a_divergence_goes_from_the_target_to_the_prediction():
    """KL(t ‖ p), not KL(p ‖ t): certainty taken for doubt costs log 2, not infinity."""
    certain, doubt = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    assert losses.kl_divergence(np.log(doubt), certain) == pytest.approx(math.log(2))
    with np.errstate(divide="ignore"):
        log_certain = np.log(certain)
    assert losses.kl_divergence(log_certain, doubt) == inf


def test_a_count_of_zero_asks_nothing_of_the_logarithm():
    """At rate 0 and count 0 the loss is 0 with slope 1; log rates of -1000 are rates 0."""
    value, slope, _ = pulled(
        lambda r: losses.poisson_nll(
            r, np.array([0, 3]), log_input=False, reduction="none"
        ),
        np.array([0.0, 3.0]),
    )
    np.testing.assert_allclose(value, [0.0, 3 - 3 * math.log(3)], rtol=1e-15)
    np.testing.assert_allclose(slope, [1.0, 0.0], atol=1e-15)
    value, slope, _ = pulled(
        lambda z: losses.poisson_nll(z, np.array([0, 2]), reduction="none"),
        np.array([-1000.0, -1000.0]),
    )
    assert value.tolist() == [0.0, 2000.0]
    assert slope.tolist() == [0.0, -2.0]


def test_nearly_parallel_vectors_keep_their_distance():
    """1 - cos of vectors an angle of 1e-9 apart is 5e-19, which 1 - cos rounds to 0."""
    angle = 1e-9
    x, y = np.array([[1.0, 0.0]]), np.array([[math.cos(angle), math.sin(angle)]])
    z = tg.Tensor(x, requires_grad=True)
    loss = losses.cosine_embedding(z, y, np.array([1]))
    loss.backward()
    assert loss.item() == pytest.approx(angle**2 / 2, rel=1e-12)
    np.testing.assert_allclose(z.grad, [[0.0, -angle]], rtol=1e-9, atol=1e-18)


def test_kinks_of_pairs_have_the_slope_of_least_norm():
    """At its margin, and at distance 0, a loss has slope 0."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    losses.margin_ranking(x, np.array([0.5, 2.5]), [1, -1], margin=0.5, reduction="sum").backward()  # fmt: skip
    assert x.grad.tolist() == [0.0, 0.0]
    a = tg.Tensor([[0.0, 0.0]], requires_grad=True)
    losses.triplet_margin(a, np.zeros((1, 2)), np.array([[1.0, 0.0]]), margin=2.0).backward()  # fmt: skip
    assert a.grad.tolist() == [[1.0, 0.0]]  # away from the negative alone
    z = tg.Tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    losses.multiclass_hinge(z, np.array([0])).backward()
    assert z.grad.tolist() == [[0.0, 0.0, 0.0]]
    nothing = tg.Tensor([[0.0, 0.0]], requires_grad=True)
    for sign in (1, -1):
        losses.cosine_embedding(nothing, np.ones((1, 2)), [sign]).backward()
    assert nothing.grad.tolist() == [[0.0, 0.0]]


# --- rows that are left out -------------------------------------------------------

OF_CLASSES = {
    "cross_entropy": losses.cross_entropy,
    "cross_entropy, smoothed": lambda z, y, **s: losses.cross_entropy(
        z, y, label_smoothing=0.2, **s
    ),
    "focal": losses.focal,
    "multiclass_hinge": losses.multiclass_hinge,
    "nll": losses.nll,
}


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("ignored", [-1, 2, 255])
def test_ignored_rows_count_as_if_they_were_not_there(name, ignored):
    """Loss and gradient are those of the other rows; even nan in the ignored is none."""
    loss = OF_CLASSES[name]
    rng = np.random.default_rng(0)
    z = rng.standard_normal((N, K))
    classes = np.array([0, ignored, 1, 3, ignored, 0])
    kept = classes != ignored
    weights = np.arange(1.0, N + 1)
    spoilt = np.where(kept[:, None], z, np.nan)
    for settings in (
        {},
        {"reduction": "sum"},
        {"class_weight": [1.0, 2.0, 3.0, 4.0]},
        {"sample_weight": weights},
    ):
        wanted_settings = dict(settings)
        if "sample_weight" in settings:
            wanted_settings["sample_weight"] = weights[kept]
        part = tg.Tensor(z[kept], requires_grad=True)
        wanted = loss(part, classes[kept], **wanted_settings)
        wanted.backward()
        for given in (z, spoilt):
            whole = tg.Tensor(given, requires_grad=True)
            found = loss(whole, classes, ignore_index=ignored, **settings)
            assert found.item() == pytest.approx(wanted.item(), rel=1e-14)
            with np.errstate(invalid="ignore"):
                found.backward()
            np.testing.assert_allclose(whole.grad[kept], part.grad, rtol=1e-13)
            assert not whole.grad[~kept].any()
    each = loss(z, classes, ignore_index=ignored, reduction="none")
    assert not each[~kept].any()
    np.testing.assert_allclose(
        each[kept], loss(z[kept], classes[kept], reduction="none")
    )


def test_a_mean_of_nothing_but_ignored_rows_is_refused():
    """It would be 0 / 0; the sum is 0."""
    z, classes = np.zeros((2, 3)), np.array([-1, -1])
    with pytest.raises(DataError, match=r"cross_entropy: a weighted mean .*sum to 0"):
        losses.cross_entropy(z, classes, ignore_index=-1)
    assert losses.cross_entropy(z, classes, ignore_index=-1, reduction="sum") == 0


def test_the_negative_likelihood_of_log_softmax_is_cross_entropy():
    """nll(log_softmax(z)) and cross_entropy(z) are one loss, with every setting."""
    rng = np.random.default_rng(1)
    z, y = rng.standard_normal((N, K)), rng.integers(0, K, N)
    for settings in ({}, {"class_weight": {1: 3.0}}, {"ignore_index": 0}):
        assert losses.nll(tg.log_softmax(z), y, **settings) == pytest.approx(
            losses.cross_entropy(z, y, **settings), rel=1e-15
        )
        assert losses.focal(z, y, gamma=0, **settings) == pytest.approx(
            losses.cross_entropy(z, y, **settings), rel=1e-15
        )


# --- PyTorch ----------------------------------------------------------------------

torch = None
with contextlib.suppress(ImportError):  # a peer, not a requirement
    import torch
with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


def _sign(rng):
    return rng.choice([-1, 1], N)


def _classes(rng):
    return np.array([0, 1, 2, 3, 1, 0])


def _shares(rng):
    shares = rng.random((N, K))
    return shares / shares.sum(1, keepdims=True)


def _wide(rng):
    return rng.standard_normal((N, K))


def _narrow(rng):
    return rng.standard_normal(N)


def _positive(rng):
    return rng.uniform(0.5, 3.0, N)


def _counts(rng):
    return rng.integers(0, 6, N).astype(float)


def _truths(rng):
    return rng.integers(0, 2, N).astype(float)


def _focal_of_torch(F, z, y):
    p = torch.sigmoid(z)
    right = p * y + (1 - p) * (1 - y)
    cross = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    return ((0.7 * y + 0.3 * (1 - y)) * cross * (1 - right) ** 2).sum()


def _cosine_of_torch(F, x, y, t):  # its own loss adds 1e-12 to squares
    cosine = F.cosine_similarity(x, y)
    return torch.where(t > 0, 1 - cosine, F.relu(cosine - 0.1)).mean()


# name: draws of the operands, ours, torch's; gradients of all that are real numbers.
PEERS = {
    "cross_entropy": ((_wide, _classes), losses.cross_entropy,
        lambda F, z, y: F.cross_entropy(z, y)),
    "cross_entropy, weighted, ignoring": ((_wide, _classes),
        lambda z, y: losses.cross_entropy(z, y, class_weight=[1, 2, 3, 4], ignore_index=1),
        lambda F, z, y: F.cross_entropy(z, y, torch.tensor([1.0, 2, 3, 4]).double(), ignore_index=1)),
    "cross_entropy, smoothed, ignoring": ((_wide, _classes),
        lambda z, y: losses.cross_entropy(z, y, label_smoothing=0.1, ignore_index=0),
        lambda F, z, y: F.cross_entropy(z, y, label_smoothing=0.1, ignore_index=0)),
    "cross_entropy of shares": ((_wide, _shares), losses.cross_entropy,
        lambda F, z, y: F.cross_entropy(z, y)),
    "nll": ((_wide, _classes), lambda z, y: losses.nll(z, y, class_weight=[1, 2, 3, 4]),
        lambda F, z, y: F.nll_loss(z, y, torch.tensor([1.0, 2, 3, 4]).double())),
    "binary_focal_with_logits": ((_narrow, _truths),
        lambda z, y: losses.binary_focal_with_logits(z, y, class_weight=(0.3, 0.7), reduction="sum"),
        _focal_of_torch),
    "kl_divergence": ((_wide, _shares), losses.kl_divergence,
        lambda F, z, y: F.kl_div(z, y, reduction="batchmean")),
    "kl_divergence, logarithms": ((_wide, _wide), lambda z, y: losses.kl_divergence(z, y, log_target=True),
        lambda F, z, y: F.kl_div(z, y, reduction="batchmean", log_target=True)),
    "multiclass_hinge": ((_wide, _classes), lambda z, y: losses.multiclass_hinge(z, y, margin=0.7),
        lambda F, z, y: F.multi_margin_loss(z, y, margin=0.7) * K),
    "cosine_embedding": ((_wide, _wide, _sign), lambda x, y, t: losses.cosine_embedding(x, y, t, margin=0.1),
        _cosine_of_torch),
    "margin_ranking": ((_narrow, _narrow, _sign), lambda x, y, t: losses.margin_ranking(x, y, t, margin=0.1),
        lambda F, x, y, t: F.margin_ranking_loss(x, y, t, margin=0.1)),
    "triplet_margin": ((_wide, _wide, _wide), lambda a, p, n: losses.triplet_margin(a, p, n, ord=3, swap=True),
        lambda F, a, p, n: F.triplet_margin_loss(a, p, n, p=3, swap=True, eps=0)),
    "poisson_nll": ((_narrow, _counts), lambda z, y: losses.poisson_nll(z, y, full=True),
        lambda F, z, y: F.poisson_nll_loss(z, y, full=True)),
    "poisson_nll of rates": ((_positive, _counts), lambda z, y: losses.poisson_nll(z, y, log_input=False),
        lambda F, z, y: F.poisson_nll_loss(z, y, log_input=False, eps=0)),
    "gaussian_nll": ((_narrow, _narrow, _positive), lambda m, y, v: losses.gaussian_nll(m, y, v, full=True),
        lambda F, m, y, v: F.gaussian_nll_loss(m, y, v, full=True)),
    "smooth_l1": ((_narrow, _narrow), lambda x, y: losses.smooth_l1(x, y, beta=0.4),
        lambda F, x, y: F.smooth_l1_loss(x, y, beta=0.4)),
    "huber": ((_narrow, _narrow), lambda x, y: losses.huber(x, y, delta=0.4),
        lambda F, x, y: F.huber_loss(x, y, delta=0.4)),
}  # fmt: skip


@with_torch
@pytest.mark.parametrize("name", PEERS)
def test_pytorch_agrees(name):
    """Value, gradients and Hessians are those of torch in double precision."""
    draws, ours, theirs = PEERS[name]
    rng = np.random.default_rng(5)
    arrays = [draw(rng) for draw in draws]
    real = [a.dtype.kind == "f" and draw not in (_truths, _counts)
            for a, draw in zip(arrays, draws, strict=True)]  # fmt: skip
    mine = [tg.Tensor(a, requires_grad=r) for a, r in zip(arrays, real, strict=True)]
    other = [
        torch.tensor(a, requires_grad=r) for a, r in zip(arrays, real, strict=True)
    ]
    F = torch.nn.functional
    leaves = [x for x in mine if x.requires_grad]
    peers = [x for x in other if x.requires_grad]
    out = ours(*mine)
    assert out.item() == ours(*arrays)
    wanted = theirs(F, *other)
    np.testing.assert_allclose(out.item(), wanted.item(), rtol=1e-13)
    slopes = tg.gradients(out, leaves)
    truths = torch.autograd.grad(wanted, peers, create_graph=True)
    ways = [rng.standard_normal(x.shape) for x in leaves]
    total = sum((s * w).sum() for s, w in zip(slopes, ways, strict=True))
    true = sum((s * torch.tensor(w)).sum() for s, w in zip(truths, ways, strict=True))
    bends = [np.zeros(x.shape) for x in leaves]
    if total.requires_grad:
        found = tg.gradients(total, leaves, unused="zero")
        bends = [b.numpy() for b in found]
    curved = [None] * len(peers)
    if true.requires_grad and name != "multiclass_hinge":  # it has no second there
        curved = torch.autograd.grad(true, peers, allow_unused=True)
    for slope, truth, bend, curve in zip(slopes, truths, bends, curved, strict=True):
        np.testing.assert_allclose(
            slope.numpy(), truth.detach().numpy(), rtol=1e-12, atol=1e-15
        )
        curve = np.zeros(bend.shape) if curve is None else curve.numpy()
        np.testing.assert_allclose(bend, curve, rtol=1e-11, atol=1e-14)


# --- refusals ---------------------------------------------------------------------

V, Z, C = np.zeros(3), np.zeros((3, 2)), np.zeros(3, int)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.focal(Z, C, gamma=-1), OpError, "focal: gamma is a power >= 0; got -1"),
        (lambda: losses.binary_focal_with_logits(V, V, gamma=np.nan), OpError, "gamma .* got nan"),
        (lambda: losses.binary_focal_with_logits(V, V + 0.5), DataError, "labels are 0 and 1; got 0.5 at row 0"),
        (lambda: losses.squared_hinge(V, V), DataError, r"squared_hinge: labels are -1 and 1; got 0 at row 0.*2 \* target - 1"),
        (lambda: losses.nll(Z, np.array([0, 2, 1])), DataError, "nll: classes go from 0 to 1; got 2 at row 1"),
        (lambda: losses.nll(Z, np.array([0, 2, -1]), ignore_index=-1), DataError, "nll: .*got 2 at row 1"),
        (lambda: losses.nll(Z, Z), ShapeError, r"nll: expected classes \(3,\); got .*target\(3, 2\)"),
        (lambda: losses.focal(V, C), ShapeError, r"focal: expected logits \(n, k\).*prediction\(3,\)"),
        (lambda: losses.multiclass_hinge(Z, V), DtypeError, "multiclass_hinge: classes are integers"),
        (lambda: losses.focal(Z, C, class_weight=[1]), ShapeError, r"focal: expected a weight for each class"),
        (lambda: losses.cross_entropy(Z, Z + 0.5, ignore_index=0), OpError, "cross_entropy: ignore_index is a class"),
        (lambda: losses.kl_divergence(V, V), ShapeError, r"kl_divergence: expected .*rows of k; got prediction\(3,\)"),
        (lambda: losses.kl_divergence(Z, Z - 1), DataError, "kl_divergence: probabilities .* got -1 at row 0.*log_target=True"),
        (lambda: losses.kl_divergence(Z, V), ShapeError, "kl_divergence: expected prediction and target of one shape"),
        (lambda: losses.poisson_nll(V, V - 2), DataError, "poisson_nll: counts are 0 or more; got -2 at row 0"),
        (lambda: losses.gaussian_nll(V, V, Z), ShapeError, "gaussian_nll: expected prediction and variance of one shape"),
        (lambda: losses.smooth_l1(V, V, beta=-1), OpError, "smooth_l1: beta is a distance >= 0; got -1"),
        (lambda: losses.margin_ranking(V, V, V), DataError, "margin_ranking: labels are -1 and 1; got 0"),
        (lambda: losses.margin_ranking(V, V[:, None], V), ShapeError, r"margin_ranking: expected prediction and other.*other\(3, 1\)"),
        (lambda: losses.margin_ranking(V[:, None], V[:, None], V + 1), ShapeError, r"prediction\(3, 1\), target\(3,\).*\[:, None\]"),
        (lambda: losses.cosine_embedding(V, V, V), ShapeError, r"cosine_embedding: expected vectors \(n, d\).*prediction\(3,\)"),
        (lambda: losses.cosine_embedding(Z, Z, Z[:, :1] + 1), ShapeError, r"pairs\(3,\), target\(3, 1\).*axis 1 of size 1"),
        (lambda: losses.cosine_embedding(Z, Z, V), DataError, "cosine_embedding: labels are -1 and 1; got 0 at row 0"),
        (lambda: losses.triplet_margin(Z, Z, V), ShapeError, "triplet_margin: expected anchor and negative of one shape"),
        (lambda: losses.triplet_margin([[0.0]], Z, Z), OpError, "triplet_margin: the anchor is a Tensor or an array; got list"),
        (lambda: losses.log_cosh(V, V[:, None]), ShapeError, r"log_cosh: .*prediction\(3,\), target\(3, 1\)"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_expected_and_what_came(call, error, message):
    """Every misuse is one error that names loss, law, operands and remedy."""
    with pytest.raises(error, match=message):
        call()


def test_a_compiled_step_refuses_at_each_call_what_eager_refuses():
    """Counts, probabilities and signs that are arguments are looked at anew."""
    cases = [
        (losses.poisson_nll, V, V, V - 1, "counts are 0 or more"),
        (losses.kl_divergence, Z, Z + 0.5, Z - 1, "probabilities are from 0 to 1"),
        (losses.squared_hinge, V, V + 1, V, "labels are -1 and 1"),
        (losses.nll, Z, C, C + 2, "classes go from 0 to 1"),
    ]
    for loss, x, right, wrong, message in cases:
        step = tg.compile(lambda x, y, loss=loss: loss(x, y))
        assert step(x, right).item() == pytest.approx(loss(x, right))
        with pytest.raises(DataError, match=message):
            step(x, wrong)


def test_a_variance_may_be_one_number_that_is_learned():
    """One variance for all: its gradient is the sum over the examples."""
    m, y = np.array([0.0, 1.0]), np.array([1.0, 3.0])
    v = tg.Tensor(2.0, requires_grad=True)
    losses.gaussian_nll(m, y, v, reduction="sum").backward()
    assert v.grad == pytest.approx(sum((1 / 2 - d**2 / 4) / 2 for d in (1, 2)))
    assert losses.gaussian_nll(m, y, 2, reduction="sum") == pytest.approx(
        sum((math.log(2) + d**2 / 2) / 2 for d in (1, 2))
    )
