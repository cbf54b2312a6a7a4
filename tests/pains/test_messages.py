"""Reports of an hour lost: shapes that broadcast, errors without names, nan, checks that do not say why."""

from __future__ import annotations

import re
import sys
import warnings

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    DivergedError,
    GradientError,
    GradientMismatch,
    LikelyMistake,
    ModelError,
    ShapeError,
)

losses = tg.losses


def line_here(offset=0):
    """Return the line of the caller, as errors write it."""
    return f"test_messages.py:{sys._getframe(1).f_lineno + offset}"


# --- 4. (n, 1) against (n,) ---


def test_pytorch_4938_loss_of_other_axes():
    """The loss of (2, 1) against (2, 1, 1, 1) was 1, and by its own formula 1.5; here it is refused, with both shapes."""
    output, target = (
        tg.Parameter([1.0, 2.0]).reshape(2, 1),
        np.array([0.0, 1.0]).reshape(2, 1, 1, 1),
    )
    with pytest.raises(ShapeError, match=r"prediction\(2, 1\), target\(2, 1, 1, 1\)"):
        losses.mse(output, target)
    assert np.mean((output - target) ** 2).item() == 1.5


def test_pytorch_16045_regression_to_the_mean():
    """A column of 100 predictions against 100 targets trained to nonsense, silently; here it is refused with the way out, and then the regression finds its numbers.

    Also pytorch #16413, pytorch #18349.
    """
    rng = np.random.default_rng(0)
    x, eps = rng.normal(size=(100, 2)), rng.normal(size=100)
    y = 10 + 9 * x[:, 0] - 2 * x[:, 1] + eps
    model = tg.nn.Dense(2, 1, rng=0)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ShapeError, match=r"combine all pairs: pass target\[:, None\]"):
        losses.mse(model(x), y)
    for _epoch in range(200):
        optimizer.minimize(losses.mse(model(x), y[:, None]))
    solution, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(100)]), y)
    found = [*model.weight.data[0], model.bias.data[0]]
    np.testing.assert_allclose(found, solution, rtol=1e-10)


@pytest.mark.parametrize(
    "loss",
    [
        losses.mse,
        losses.mae,
        losses.huber,
        losses.binary_cross_entropy,
        losses.binary_cross_entropy_with_logits,
        losses.hinge,
    ],
)
@pytest.mark.parametrize(
    ("prediction", "target"),
    [((100, 1), (100,)), ((100,), (100, 1)), ((10, 1), (1, 1)), ((64, 1), (64, 4))],
)
def test_pytorch_19699_other_loss_for_other_shape(loss, prediction, target):
    """One loss had two values, by the shape of the target, or a warning at most; here every loss refuses what would broadcast.

    Also xlstm #4.
    """
    with pytest.raises(
        ShapeError, match=re.escape(f"prediction{prediction}, target{target}")
    ):
        loss(np.full(prediction, 0.5), np.ones(target))


def test_pytorch_26551_broadcast_on_purpose():
    """Who broadcasts in a loss on purpose could not silence the warning; here the written-out formula broadcasts, and nothing warns."""
    a, b = tg.Parameter(np.arange(20.0).reshape(5, 4)), np.ones((5, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = np.mean((a - b) ** 2)
        loss.backward()
    np.testing.assert_allclose(a.grad, 2 * (a.data - 1) / 20, rtol=1e-15)


# --- 9. Shape errors without names ---


def test_comfyui_515_product_of_matrices():
    """A product said "mat1 and mat2 shapes cannot be multiplied (512x768 and 4096x1536)"; here it says which is which by name.

    Also ComfyUI #5836, ComfyUI #6256, CatVTON #114.
    """
    hidden, weight = (
        tg.Parameter(np.ones((512, 768)), name="hidden"),
        tg.Parameter(np.ones((4096, 1536)), name="weight"),
    )
    with pytest.raises(
        ShapeError,
        match=re.escape(
            "x(n, k) and y(k, m); got x=hidden(512, 768), y=weight(4096, 1536)"
        ),
    ):
        hidden @ weight


def test_comfyui_7122_layers_that_do_not_fit():
    """Layers of other sizes met when data ran through, deep in a model; here they meet when it is built, or the error names the layer and what to change."""
    with pytest.raises(
        ModelError,
        match=r"layer 0: Dense\(577 -> 1024\) before layer 1: Dense\(1152 -> 12288\)",
    ):
        tg.nn.Sequential(tg.nn.Dense(577, 1024), tg.nn.Dense(1152, 12288))

    class Net(tg.nn.Module):
        def __init__(self):
            self.encoder = tg.nn.Dense(784, 128, rng=0)
            self.head = tg.nn.Dense(64, 10, rng=1)

        def forward(self, x):
            return self.head(self.encoder(x))

    with pytest.raises(
        ShapeError,
        match=r"Dense 'head' \(64 -> 10\).*got x\(5, 128\). Make this layer Dense\(128, 10\)",
    ):
        Net()(np.ones((5, 784)))


def test_tinygrad_1364_vector_times_matrix():
    """A vector of 3 times a (1, 3) matrix gave three numbers; here it is refused, as in NumPy."""
    with pytest.raises(ShapeError, match=r"x\(3,\), y\(1, 3\)"):
        tg.Tensor([2.0, 0.0, -2.0]) @ tg.Tensor([[2.0, 0.0, -3.0]])


# --- 10. Where nan came from ---


def test_pytorch_1274_nan_as_an_error():
    """A global setting that makes nan an error, as NumPy has it, was asked for; here NumPy's own has effect, on the op's line."""
    x = tg.Parameter(np.ones(2))
    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError, match="divide by zero"):
            x / 0
        with pytest.raises(
            FloatingPointError, match="invalid value encountered in log"
        ):
            np.log(-x)


def test_pytorch_143658_which_op_and_which_line():
    """The search for nan names only an op, after a second and slow run; here a checked step names the op, the line, and the argument that was not finite to begin with.

    Also pytorch #160016, pytorch #86362, tinygrad #4497, jax #475.
    """
    born = line_here(+3)

    def step(X, Y):
        return np.mean(np.log(X) * Y)

    checked = tg.compile(step, check_finite=True)
    assert checked(np.ones(3), np.ones(3)) == 0.0
    with np.errstate(all="ignore"):
        with pytest.raises(DivergedError, match=f"^log: .*{re.escape(born)}"):
            checked(np.array([1.0, 0.0, 2.0]), np.ones(3))
        with pytest.raises(DivergedError, match="Not finite to begin with: 'Y'"):
            checked(np.ones(3), np.array([1.0, np.nan, 2.0]))


def test_pytorch_43405_nan_in_a_second_derivative():
    """The trace of a nan in the backward of a backward led into the library; here it leads to the user's line."""
    born = line_here(+3)

    def second(x, y):
        z = x / y
        (gy,) = tg.gradients(z, [y])
        return tg.gradients(gy, [x, y])

    checked = tg.compile(second, check_finite=True)
    by_x, by_y = checked(np.array(0.4), np.array(2.0))  # of -x / y²
    np.testing.assert_allclose([by_x, by_y], [-1 / 4, 0.8 / 8], rtol=1e-15)
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match=born):
        checked(np.array(0.4), np.array(0.0))


def test_pytorch_160016_without_a_second_run():
    """To find nan the model had to run again in a slow mode; here the graph at hand shows where it was born, and how many elements it has."""
    x = tg.Parameter([1.0, 0.0, -1.0], name="x")
    with np.errstate(all="ignore"):
        y = np.log(x)
        L = np.sum(2 * y)
    told = str(tg.draw(L)).splitlines()
    (born,) = (line for line in told if "y = log(x)" in line)
    assert "1 nan" in born
    assert "1 inf" in born
    (given,) = (line for line in told if re.search(r"─ x \(3,\)", line))
    assert "1 nan" not in given


def test_mxnet_8816_nan_in_training():
    """A training loop went on over nan for hours; here it ends in the batch that made it, and names it.

    Also chainer #457.
    """
    X = np.array([[1.0, 2.0], [3.0, np.nan], [1.0, 1.0], [2.0, 2.0]])
    net = tg.nn.Dense(2, 1, rng=0)
    with pytest.raises(DivergedError, match=r"got nan in epoch 1, batch [12]"):
        tg.fit(
            net,
            losses.mse,
            tg.optim.SGD(net.parameters(), lr=0.1),
            (X, np.zeros((4, 1))),
            batch_size=2,
            epochs=1,
            rng=0,
        )


# --- 11. Softmax twice ---


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: losses.cross_entropy(tg.softmax(z, 1), np.zeros(3, int)),
        lambda z: losses.binary_cross_entropy_with_logits(
            tg.sigmoid(z), np.zeros((3, 2))
        ),
    ],
)
def test_pytorch_55902_softmax_before_cross_entropy(loss):
    """Probabilities in the place of logits train badly, and silently; here the loss says so.

    Also tflearn #562, conx #93, Transformer-GCN-QA #32, tensorflow_cookbook #86.
    """
    z = tg.Parameter(np.zeros((3, 2)))
    with pytest.warns(LikelyMistake, match=r"softmax|sigmoid"):
        loss(z)


def test_pytorch_55902_probabilities_in_the_place_of_logits():
    """Whether a loss wants logits or probabilities is a matter of its name; here both losses give the same number, each of its own."""
    z, y = (
        tg.Parameter([[-30.0, 2.0], [0.5, 800.0]]),
        np.array([[0.0, 1.0], [1.0, 1.0]]),
    )
    by_logits = losses.binary_cross_entropy_with_logits(z, y)
    by_probability = losses.binary_cross_entropy(tg.sigmoid(z), y)
    np.testing.assert_allclose(by_logits.item(), by_probability.item(), rtol=1e-15)
    first, second = (
        tg.gradients(loss, [z])[0].numpy() for loss in (by_logits, by_probability)
    )
    np.testing.assert_allclose(first, second, rtol=1e-14, atol=1e-300)


# --- 12. A gradient check that does not say why ---


def test_pytorch_5351_check_in_single_precision():
    """A right gradient failed the check because its data were float32; here it is accepted, and judged to thirteen digits.

    Also pytorch #8649, pytorch #8659, pytorch #8175.
    """
    layer = tg.nn.Dense(2, 1, rng=123, dtype=np.float32)
    x = np.random.default_rng(123).random((1, 2)).astype(np.float32)
    report = tg.check.check_gradients(lambda x: np.sum(layer(x)), x)
    assert report.verdict == "ok"
    assert report.parameters["x"].resolution < 1e-11


def test_chainer_3425_says_what_is_wrong():
    """A failed check printed two matrices; here it names the element, its two values, the slip, and the line."""
    x = np.random.default_rng(0).random((3, 2))

    def f(x):
        return np.sum(x * x)

    with pytest.raises(GradientMismatch) as told:
        tg.check.assert_gradients(f, x, formula=lambda x: {"dx": x})
    text = str(told.value)
    assert re.search(r"x\[\d, \d\]  analytic", text)
    assert "a factor 1/2: the 2 of a square's derivative is missing" in text
    assert "the formula is wrong" in text


def test_pytorch_59615_mostly_zero_jacobian():
    """A quick check let a wholly wrong rule pass, since most of its Jacobian is zero; here one wrong element among 8,000 is found."""
    rng = np.random.default_rng(0)
    x, scale = rng.normal(size=8000), rng.normal(size=8000)

    def formula(x):
        dx = scale * np.cos(x)
        dx[1234] *= 1.01
        return {"dx": dx}

    report = tg.check.check_gradients(
        lambda x: np.sum(scale * np.sin(x)), x, formula=formula
    )
    assert report.verdict == "wrong"
    assert report.parameters["x"].worst.index == (1234,)


@pytest.mark.parametrize(("size", "verdict"), [(200, "ok"), (8000, "weak")])
def test_pytorch_57166_step_across_an_order(size, verdict):
    """A check of `sort` failed, or passed, by whether its step changed the order of the elements; here a right rule is not refuted, and "weak" where 8,000 neighbours leave no room for a step, and a wrong rule is refuted.

    Also pytorch #54480.
    """
    x, weight = np.random.default_rng(0).normal(size=size), np.linspace(1.0, 2.0, size)

    def f(x):
        return np.sum(np.sort(x) * weight)

    right = tg.check.check_gradients(f, x, points=1)
    assert (right.ok, right.verdict) == (True, verdict)
    wrong = tg.check.check_gradients(f, x, formula=lambda x: {"dx": weight}, points=1)
    assert (wrong.ok, wrong.verdict) == (False, "wrong")


def test_pytorch_56275_second_order_check():
    """The quick check of a second derivative of `cumprod` failed where the slow one passed; here there is one check, and it passes, with a zero too."""
    for x in (np.array([0.5, -1.5, 2.0, 3.0]), np.array([0.5, 0.0, 2.0, 3.0])):
        report = tg.check.check_gradients(
            lambda x: np.sum(np.square(tg.grad(lambda x: np.sum(np.cumprod(x)))(x))), x
        )
        assert report.verdict == "ok"


def test_chainer_6947_check_of_what_is_not_finite():
    """A check compared nan with nan, and said nothing of use; here it says that the function is not finite there."""
    with (
        np.errstate(all="ignore"),
        pytest.raises(GradientError, match="not finite at the given arrays; got nan"),
    ):
        tg.check.check_gradients(lambda x: np.sum(np.log(x)), np.array([1.0, -1.0]))
