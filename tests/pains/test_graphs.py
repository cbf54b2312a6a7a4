"""Reports about graphs: values changed in place, gradients that are None, memory, depth."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import sys
import weakref

import numpy as np
import pytest

import tinygrad_nn as tg
from pains.asking import slopes
from tinygrad_nn.errors import (
    DetachedError,
    GradientError,
    MutationError,
    NoPathError,
    TinygradError,
)


def line_here(offset=0):
    """Return the line of the caller, as errors write it."""
    return f"test_graphs.py:{sys._getframe(1).f_lineno + offset}"


# --- 5. A saved array changed in place ---


def test_pytorch_39141_step_before_the_other_backward():
    """Of an update between forward and backward the error gave version numbers, not a line; here it names the parameter, the op, and both lines.

    Also pytorch #38480, SRGAN #89, DTFD-MIL #8.
    """
    artist = tg.nn.Sequential(
        tg.nn.Dense(5, 128, activation="relu", rng=0), tg.nn.Dense(128, 15, rng=1)
    )
    critic = tg.nn.Sequential(
        tg.nn.Dense(15, 128, activation="relu", rng=2), tg.nn.Dense(128, 1, rng=3)
    )
    of_artist = tg.optim.Adam(artist.parameters(), lr=1e-4)
    of_critic = tg.optim.Adam(critic.parameters(), lr=1e-4)
    rng = np.random.default_rng(0)
    real = np.sin(np.linspace(-1, 1, 15) * np.pi) + 0.02 * rng.normal(size=(64, 15))

    def losses():
        right, forged = (
            tg.sigmoid(critic(real)),
            tg.sigmoid(critic(artist(rng.normal(size=(64, 5))))),
        )
        return -np.mean(np.log(right) + np.log(1 - forged)), np.mean(np.log(1 - forged))

    of_critic_loss, of_artist_loss = losses()
    of_critic_loss.backward()
    changed = line_here(+1)
    of_critic.step()
    with pytest.raises(
        MutationError, match=r"matmul at .*'layers\.\d\.weight'"
    ) as told:
        of_artist_loss.backward()
    assert changed in str(told.value)

    of_critic_loss, of_artist_loss = losses()  # the order that the thread arrives at
    of_critic_loss.backward()
    of_artist_loss.backward()
    of_critic.step()
    of_artist.step()


def test_pytorch_24853_assignment_under_a_mask():
    """An assignment under a mask broke the backward, in one version and not in the one before; here it is refused on its own line, and `where` says it.

    Also pytorch #96265.
    """
    a = np.array([1.0, 0.0, 0.0])
    bb = tg.Parameter(np.zeros(3)) + 1
    with pytest.raises(MutationError, match=r"tg\.where"):
        bb[a != 0] = np.ones(1)

    def chosen(b, c):
        return np.where(a != 0, np.minimum(b + 1, c), b + 1)

    b, c = slopes(chosen, np.zeros(3), np.ones(3))  # b + 1 ties with c, and shares
    assert (b.tolist(), c.tolist()) == ([0.5, 1.0, 1.0], [0.5, 0.0, 0.0])


def test_hips_58_block_of_an_array():
    """Writing a traced value into an array raised "float() argument must be a string or a number"; here the refusal names the value and what to do, and joining blocks works.

    Also HIPS #177, HIPS #556, HIPS #559.
    """
    A, B = tg.Parameter(np.ones((2, 2)), name="A"), np.zeros((4, 4))
    with pytest.raises(DetachedError, match=r"Tensor 'A'.*\.numpy\(\)"):
        B[:2, :2] = A
    assert not B.any()

    def joined(A):
        top = np.concatenate([A, np.zeros((2, 2))], axis=1)
        return np.concatenate([top, np.zeros((2, 4))]).sum()

    assert slopes(joined, np.ones((2, 2))).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_hips_181_filled_in_a_loop():
    """linspace by a loop of assignments raised about a FloatNode; here NumPy's error has a cause that names the value, and the formula differentiates."""
    start, end = tg.Parameter(1.0, name="start"), tg.Parameter(3.0)
    filled = np.zeros(5)
    with pytest.raises(ValueError, match="array element") as told:
        filled[0] = start
    assert isinstance(told.value.__cause__, DetachedError)
    assert "'start'" in str(told.value.__cause__)
    by_start, by_end = slopes(
        lambda s, e: s + np.arange(5) * (e - s) / 4, start.data, end.data
    )
    assert (by_start, by_end) == (2.5, 2.5)


def test_hips_515_jacobian_of_blocks():
    """The jacobian of a matrix put together by assignment raised "setting an array element with a sequence"; here it is put together by hstack, and right."""
    mat = np.diag([4.0, 6.0, 6.0, 3.0])

    def func(x):
        return np.dot(np.hstack([np.diag(x), np.diag(x)]) @ mat, np.hstack((x, x)))

    found = tg.jacobian(func)(np.array([1.0, 2.0]))  # of [10 x0², 9 x1²]
    np.testing.assert_allclose(found, [[20.0, 0.0], [0.0, 36.0]], rtol=1e-15)


# --- 6. `grad` is None, and losses that need no gradient ---


def test_pytorch_91851_gradient_of_a_product():
    """A tensor times 0.1 had no gradient, without a word; here the leaf has it, and that of the product is there for the asking.

    Also pytorch #30531.
    """
    leaf, b = tg.Parameter(5.0), tg.Parameter(2.0)
    a = leaf * 0.1
    c = a + b
    c.backward()
    assert (leaf.grad, a.grad, b.grad) == (0.1, None, 1.0)
    assert tg.gradients(c, [a])[0].item() == 1.0
    c.backward(retain_grads=True)
    assert a.grad == 1.0


def test_pytorch_10065_gradient_through_a_cast():
    """Integers that require a gradient, cast to float, got none; here they are floats from the start, and a cast leads back.

    Also pytorch #12627, pytorch #2362.
    """
    w = tg.Tensor([1, 2, 3], requires_grad=True)
    np.mean(w.astype(np.float32)).backward()
    np.testing.assert_allclose(w.grad, [1 / 3] * 3, rtol=1e-6)
    assert w.dtype == w.grad.dtype == np.float64


def test_arcface_56_loss_that_requires_no_gradient():
    """`loss.requires_grad = True` silenced the error of a loss without a graph, and nothing was learned; here the step raises, and names what got no gradient.

    Also RetinaFace_Pytorch #6.
    """
    w = tg.Parameter([1.0, 2.0], name="w")
    optimizer = tg.optim.SGD([w], lr=0.1)
    with tg.no_grad():
        loss = np.mean(w * w)
    with pytest.raises(
        GradientError, match=r"nothing here requires a gradient.*no_grad"
    ):
        loss.backward()
    loss.requires_grad = True
    loss.backward()
    with pytest.raises(GradientError, match="got none for 'w'"):
        optimizer.step()


def test_pytorch_19778_not_in_the_graph():
    """Asked for the gradient by something that the output does not depend on, None came back; here the error names it, and zeros come for the asking."""
    x, other = tg.Parameter(1.0, name="x"), tg.Parameter(np.ones(2), name="other")
    y = 2 * x
    with pytest.raises(NoPathError, match=r"'other'.*unused='zero'"):
        tg.gradients(y, [other])
    assert tg.gradients(y, [other], unused="zero")[0].numpy().tolist() == [0.0, 0.0]


# --- 7. A second backward ---


def test_zero_to_hero_31_backward_of_an_old_loss():
    """A second backward of one forward died of freed buffers; here it adds the same gradient again, unless a weight was changed since, which is said."""
    rng = np.random.default_rng(0)
    xenc, ys = np.eye(27)[[0, 5, 13, 13, 1]], np.array([5, 13, 13, 1, 0])
    W = tg.Parameter(rng.normal(size=(27, 27)), name="W")
    counts = np.exp(xenc @ W)
    prob = counts / counts.sum(1, keepdims=True)
    loss = -np.mean(np.log(prob[np.arange(5), ys]))
    loss.backward()
    first = W.grad
    loss.backward()
    np.testing.assert_array_equal(W.grad, 2 * first)
    changed = line_here(+1)
    W.data = W.data - 0.1 * first
    with pytest.raises(MutationError, match=re.escape(changed)):
        loss.backward()


def test_pytorch_tutorial_57_state_of_the_last_sequence():
    """A recurrent state kept from the last step raised about a second backward, and `retain_graph=True` leaked; here the error says what was changed, and `detach` cuts."""
    W, U = (
        tg.Parameter(np.full((1, 1), 0.5), name="W"),
        tg.Parameter(np.full((1, 1), 0.3), name="U"),
    )
    optimizer = tg.optim.SGD([W, U], lr=0.1)
    x = np.ones((1, 1))

    def train(state, cut):
        for _step in range(3):
            state = np.tanh(x @ W + state @ U)
            optimizer.minimize(np.sum(state**2))
            state = state.detach() if cut else state

    with pytest.raises(MutationError, match="'U', which was changed at"):
        train(tg.Tensor(np.zeros((1, 1))), cut=False)
    train(tg.Tensor(np.zeros((1, 1))), cut=True)


def test_micrograd_91_shared_nodes():
    """A recursion that visits children without an order counts shared nodes wrongly; here the report's expressions have the right gradients.

    Also micrograd #64, micrograd #68, micrograd #21.
    """

    def shared(a):
        b = a + a
        return b + b

    def diamond(a, b):
        c, d = a + b, a * b
        e, f = c + d, c * d
        return e + f

    assert slopes(shared, 1.0) == 4.0
    by_a, by_b = slopes(diamond, 2.0, 3.0)  # 1 + b + (b c + d), with a and b exchanged
    assert (by_a, by_b) == (1 + 3 + 3 * 5 + 6, 1 + 2 + 2 * 5 + 6)


# --- 8. A forgotten zero_grad ---


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_pytorch_47175_forgotten_zero_grad(kind):
    """Without `zero_grad` gradients of all former steps added up; here a step uses them up, and training is the same bit for bit with and without.

    Also tutorials #156, chainer #4695.
    """
    X, y = tg.data.moons(40, rng=0)

    def train(forgets):
        net = tg.nn.Dense(2, 1, rng=0)
        optimizer = getattr(tg.optim, kind)(net.parameters(), lr=0.1)
        for _step in range(10):
            if not forgets:
                optimizer.zero_grad()
            loss = tg.losses.binary_cross_entropy_with_logits(net(X), y[:, None])
            loss.backward()
            optimizer.step()
        return net.weight.data

    np.testing.assert_array_equal(train(forgets=True), train(forgets=False))


def test_opacus_93_gradients_of_several_batches():
    """`zero_grad` in the wrong place erased what was accumulated on purpose; here backwards before one step add up without it."""
    X, y = tg.data.moons(40, rng=0)
    net = tg.nn.Dense(2, 1, rng=0)
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    for _step in range(2):
        for rows in (slice(0, 20), slice(20, 40)):
            loss = tg.losses.binary_cross_entropy_with_logits(
                net(X[rows]), y[rows, None], reduction="sum"
            )
            loss.backward()
        summed = net.weight.grad
        whole = tg.losses.binary_cross_entropy_with_logits(
            net(X), y[:, None], reduction="sum"
        )
        np.testing.assert_allclose(
            summed, tg.gradients(whole, [net.weight])[0].numpy(), rtol=1e-12
        )
        optimizer.step()
    with pytest.raises(GradientError, match="without a backward"):
        optimizer.step()


def test_micrograd_25_gradients_of_inner_nodes():
    """Whether inner nodes have to be zeroed too was asked again and again; here a new forward makes new ones, and a second round equals the first."""
    w = tg.Parameter([1.0, -2.0])
    optimizer = tg.optim.SGD([w], lr=0.0)
    found = []
    for _round in range(2):
        h = w * 3
        np.sum(h * h).backward(retain_grads=True)
        found.append((h.grad.tolist(), w.grad.tolist()))
        optimizer.step()
    assert found[0] == found[1] == ([6.0, -12.0], [18.0, -36.0])


# --- 13. Deep graphs ---


def test_pytorch_5534_freeing_a_deep_graph():
    """Freeing a chain of 65,461 steps overflowed the stack; here 80,000 steps are built twice, differentiated, and freed.

    Also pytorch #6873, pytorch #116761, pytorch #115506, pytorch #155322, micrograd #90.
    """
    for _loop in range(2):
        x = tg.Parameter(np.arange(9.0))
        y = x
        for _step in range(80_000):
            y = y + y * 1e-6
        np.sum(y).backward()
        np.testing.assert_allclose(x.grad, (1 + 1e-6) ** 80_000, rtol=1e-10)
        inner = weakref.ref(y.inputs[0].data)
        del y
        assert inner() is None


def test_pytorchviz_57_drawing_a_deep_graph():
    """Drawing a deep graph ended in RecursionError; here 3,000 steps print, folded."""
    y = tg.Parameter(1.0, name="x")
    for _step in range(3_000):
        y = y + y * 1e-6
    text = str(tg.draw(y))
    assert "x" in text
    assert len(text.splitlines()) < 200


def test_tinygrad_7293_copying_a_deep_graph():
    """Walks by recursion ended at a thousand nodes; here a result 20,000 deep is copied, pickled, differentiated twice, and named in an error."""
    x = tg.Parameter(2.0)
    y = x
    for _step in range(20_000):
        y = y * 1.0
    assert copy.deepcopy(y).item() == pickle.loads(pickle.dumps(y)).item() == 2.0
    (slope,) = tg.gradients(y * y, [x])
    (curvature,) = tg.gradients(slope, [x])
    assert (slope.item(), curvature.item()) == (4.0, 2.0)
    with pytest.raises(TinygradError, match="matmul"):
        y @ y


# --- 14. Graphs kept alive by logging ---


@pytest.fixture
def _no_collector():
    """Nothing may wait for the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(
    "logged",
    [lambda loss: loss.item(), lambda loss: loss.detach(), lambda loss: loss.numpy()],
)
def test_pytorch_17568_logging_a_loss(logged):
    """A sum of losses, kept for a log, kept every step's graph; here `.item()`, `.detach()` and `.numpy()` keep none, and the rest is freed at once.

    Also pytorch #6017, YOLO #83, labelmodels #4, brax #152, horovod #641.
    """
    w, total, hidden = tg.Parameter(np.ones(1000)), 0.0, []
    for _step in range(5):
        h = np.tanh(w * 2)
        hidden.append(weakref.ref(h.data))
        loss = np.mean(h * h)
        loss.backward()
        total = total + logged(loss)
        del h, loss
        assert hidden[-1]() is None
    np.testing.assert_allclose(
        float(total if isinstance(total, float) else np.asarray(total)),
        5 * np.tanh(2.0) ** 2,
        rtol=1e-12,
    )


def test_pytorch_6017_float_of_a_loss():
    """What the advice `total += float(loss)` does to a gradient is silent; here `float` is refused, and names `.item()`."""
    loss = np.sum(tg.Parameter([1.0, 2.0]))
    with pytest.raises(DetachedError, match=r"\.item\(\)"):
        float(loss)


@pytest.mark.usefixtures("_no_collector")
def test_pytorch_64586_gradients_in_a_loop():
    """Memory grew with every epoch that computed gradients; here each epoch's graph, and that of the gradients of its gradients, is freed at once."""
    w = tg.Parameter(np.ones(1000))
    for _epoch in range(5):
        h = np.tanh(w)
        (slope,) = tg.gradients(np.sum(h), [w])
        (curvature,) = tg.gradients(np.sum(slope), [w])
        kept = [weakref.ref(t.data) for t in (h, slope, curvature)]
        del h, slope, curvature
        assert [array() for array in kept] == [None] * 3


def test_mi_prometheus_111_history_holds_numbers():
    """A training loop that kept its losses kept their graphs; here the history of `fit` holds Python numbers."""
    net = tg.nn.Dense(2, 1, rng=0)
    history = tg.fit(
        net,
        tg.losses.mse,
        tg.optim.SGD(net.parameters(), lr=0.1),
        (np.ones((8, 2)), np.zeros((8, 1))),
        epochs=3,
        rng=0,
    )
    assert {type(row["loss"]) for row in history.rows} == {float}
