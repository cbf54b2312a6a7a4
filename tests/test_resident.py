"""Parameters that stay with a compiled step: nobody can tell, except by the clock."""

from __future__ import annotations

import copy
import gc
import pickle
import threading

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler.away import array_of
from tinygrad_nn.errors import GradientError, MutationError

X = np.random.default_rng(0).normal(size=(2, 30))
Y = (X[:1] * X[1:] > 0).astype(float)


class Net:
    """A small network of two layers, and a step on it."""

    def __init__(self, lr=0.5, **settings):
        rng = np.random.default_rng(1)
        self.W1 = tg.Parameter(rng.normal(size=(4, 2)), name="W1")
        self.b1 = tg.Parameter(np.zeros((4, 1)), name="b1")
        self.W2 = tg.Parameter(rng.normal(size=(1, 4)), name="W2")
        self.b2 = tg.Parameter(np.zeros((1, 1)), name="b2")
        self.parameters = [self.W1, self.b1, self.W2, self.b2]
        self.optimizer = tg.optim.SGD(self.parameters, lr=lr, **settings)

    def logits(self, X):
        A = np.tanh(np.dot(self.W1, X) + self.b1)
        return np.dot(self.W2, A) + self.b2

    def step(self, X, Y):
        A = 1 / (1 + np.exp(-self.logits(X)))
        cost = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
        self.optimizer.minimize(cost)
        return cost


def compiled(net):
    step, optimizer = net.step, net.optimizer

    @tg.compile
    def call(X, Y):
        assert optimizer
        return step(X, Y)

    return call


def stays(call):
    resident = call._last.resident
    return resident is not None and resident.here


def after(steps, settings=None):
    """Return what eager steps arrive at."""
    net = Net(**(settings or {}))
    for _ in range(steps):
        net.step(X, Y)
    return net


def close(net, other):
    for mine, theirs in zip(net.parameters, other.parameters, strict=True):
        assert np.allclose(mine.data, theirs.data, rtol=1e-11, atol=1e-14)


def test_values_stay_until_somebody_looks():
    """A parameter's own array is old while the step has its value; reading mends it."""
    net = Net()
    call = compiled(net)
    for _ in range(5):
        call(X, Y)
    assert stays(call)
    old = array_of(net.W1).copy()
    call(X, Y)
    assert np.array_equal(array_of(net.W1), old)
    assert not np.array_equal(net.W1.data, old)
    assert not stays(call)
    close(net, after(6))


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}])
@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_looking_in_between_changes_nothing(every, settings):
    """However often values are read between steps, they are those of eager steps."""
    net, eager = Net(**settings), Net(**settings)
    call = compiled(net)
    for i in range(40):
        cost, wanted = call(X, Y), eager.step(X, Y)
        assert np.isclose(cost.item(), wanted.item(), rtol=1e-12)
        if i % every == 0:
            close(net, eager)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.step(X, Y),
        lambda net: setattr(net.W1, "data", np.ones((4, 2))),
        lambda net: net.W1.data.__setitem__((0, 0), 3.0),
        lambda net: net.optimizer.zero_grad(),
        lambda net: setattr(net.b1, "grad", np.ones((4, 1))),
        lambda net: compiled(net)(X, Y),
        lambda net: compiled(net)(X[:, :7], Y[:, :7]),
    ],
    ids=["eager step", "data", "element", "zero_grad", "grad", "compiled", "batch"],
)
def test_changes_from_outside_are_seen(change):
    """What is written to a parameter that stays with a step is what the step reads."""
    net, eager = Net(), Net()
    call = compiled(net)
    for one in (net, eager):
        for _ in range(6):
            (call if one is net else eager.step)(X, Y)
        change(one)
        for _ in range(6):
            (call if one is net else eager.step)(X, Y)
    close(net, eager)


def test_an_array_that_someone_holds_is_kept_up_to_date():
    """A parameter whose array is seen elsewhere does not stay with the step."""
    net = Net()
    held = net.W1.data
    call = compiled(net)
    for _ in range(5):
        call(X, Y)
    assert not stays(call)
    assert np.allclose(held, after(5).W1.data, rtol=1e-12)


def test_marks_come_home_too():
    """Gradients, and the time and line of the change, are as after a plain step."""
    net = Net()
    call = compiled(net)
    for _ in range(5):
        call(X, Y)
    stale = net.logits(X).sum()
    call(X, Y)
    call(X, Y)
    with pytest.raises(MutationError, match=r"test_resident\.py"):
        stale.backward()
    eager = after(7)
    for mine, theirs in zip(net.parameters, eager.parameters, strict=True):
        assert np.allclose(mine.grad, theirs.grad, rtol=1e-11)
    with pytest.raises(GradientError):
        net.optimizer.step()  # the gradients were consumed


def test_a_tensor_that_stays_is_itself():
    """Its class, its settings and its name are no others; copies hold its value."""
    net = Net()
    call = compiled(net)
    for _ in range(5):
        call(X, Y)
    assert isinstance(net.W1, tg.Parameter)
    assert (net.W1.name, net.W1.requires_grad) == ("W1", True)
    assert stays(call)
    wanted = after(5).W1.data
    assert np.allclose(copy.deepcopy(net.W1).data, wanted, rtol=1e-12)
    call(X, Y)
    assert np.allclose(pickle.loads(pickle.dumps(net.W2)).data, after(6).W2.data)


def test_freezing_a_parameter_is_noticed():
    """A parameter that needs no gradient any more is not changed by the next step."""
    net = Net()
    call = compiled(net)
    for _ in range(5):
        call(X, Y)
    net.b1.requires_grad = False
    before = net.b1.data.copy()
    call(X, Y)
    assert np.array_equal(net.b1.data, before)


def test_a_step_that_goes_leaves_values_at_home():
    """A step that is forgotten, without the garbage collector, keeps nothing."""
    net = Net()
    call = compiled(net)
    gc.disable()
    try:
        for _ in range(5):
            call(X, Y)
        assert stays(call)
        del call
        assert type(net.W1) is tg.Parameter
    finally:
        gc.enable()
    close(net, after(5))


def test_a_step_that_fails_changes_nothing():
    """An error in a call leaves the parameters as they were before it."""
    net = Net()
    call = compiled(net)
    for _ in range(5):
        call(X, Y)
    fails = []
    net.optimizer._schedule = lambda _step: fails[0]
    with pytest.raises(IndexError):
        call(X, Y)
    close(net, after(5))


def test_a_schedule_may_look_at_a_parameter():
    """What a step's own schedule brings home in the middle is written at the end."""
    net, eager = Net(), Net()
    call = compiled(net)
    for i in range(12):
        if i == 5:
            for one in (net, eager):
                rate = lambda _step, W=one.W1: 0.1 + 0.01 * W.data[0, 0]
                one.optimizer._schedule = rate
        call(X, Y)
        eager.step(X, Y)
    close(net, eager)


class Rectified(Net):
    """The same network with a relu, whose backward sets a trap."""

    def logits(self, X):
        A = np.maximum(0, np.dot(self.W1, X) + self.b1)
        return np.dot(self.W2, A) + self.b2


def test_a_trap_springs_while_values_stay():
    """Where 0 meets an infinity in such a call, it is computed as eager does it."""
    net, eager = Rectified(), Rectified()
    call = compiled(net)
    for i in range(12):
        given = X.copy()
        if i == 6:
            assert stays(call)
            given[0, 0] = np.inf
        with np.errstate(all="ignore"):
            call(given, Y)
            eager.step(given, Y)
        if i == 6:
            assert call._last.careful is not None
    for mine, theirs in zip(net.parameters, eager.parameters, strict=True):
        assert np.allclose(mine.data, theirs.data, rtol=1e-11, equal_nan=True)


def test_a_step_with_a_trap_stays():
    """Two functions do what the one with the trap does."""
    net, eager = Rectified(), Rectified()
    call = compiled(net)
    for _ in range(30):
        call(X, Y)
        eager.step(X, Y)
    assert stays(call)
    close(net, eager)


def test_two_steps_take_turns():
    """Each of two steps on the same parameters starts from what the other left."""
    net, eager = Net(), Net()
    calls = compiled(net), compiled(net)
    for i in range(60):
        calls[i // 5 % 2](X, Y)
        eager.step(X, Y)
    close(net, eager)


def test_threads_see_whole_steps():
    """A reader in another thread sees values as some number of steps left them."""
    net = Net()
    call = compiled(net)
    known = {tuple(after(k).b1.data.ravel().round(9)) for k in range(60)}
    seen = []
    done = threading.Event()

    def look():
        while not done.is_set():
            seen.append(net.b1.data.copy())

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(59):
        call(X, Y)
    done.set()
    reader.join()
    assert {tuple(b.ravel().round(9)) for b in seen} <= known


def test_who_looks_often_has_values_at_home():
    """Values move no more where they are read after every step."""
    net = Net()
    call = compiled(net)
    moves = 0
    for _ in range(100):
        call(X, Y)
        moves += stays(call)
        assert net.W1.data.shape == (4, 2)
    assert 0 < moves < 10


def test_marks_stay_on_a_device_too():
    """Gradients, lines and flags of parameters are as eager leaves them, on JAX too."""
    pytest.importorskip("jax")
    net, eager = Net(), Net()
    call = tg.compile(net.step, backend="jax")
    for i in range(12):
        stale = net.logits(X).sum() if i == 8 else None
        call(X, Y)
        eager.step(X, Y)
        if i == 5:
            assert stays(call)
            assert np.allclose(net.b1.grad, eager.b1.grad, rtol=1e-11)
            assert not stays(call)
        if i == 6:
            assert stays(call)
        if stale is not None:
            with pytest.raises(MutationError, match=r"test_resident\.py"):
                stale.backward()
    for one in (net, eager):
        one.b1.requires_grad = False
        before = one.b1.data.copy()
        (call if one is net else eager.step)(X, Y)
        assert np.array_equal(one.b1.data, before)
    close(net, eager)
