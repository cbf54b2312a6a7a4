"""Promise 10: recording state is context-local; Tensors and modules pickle and copy."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph, recording

# --- threads -------------------------------------------------------------------------


def in_a_thread(function):
    """Run in a new thread; return the result, or raise what it raised."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_no_grad_in_one_thread_does_not_leak_into_another():
    """While this thread is under no_grad, in a scope, in debug, another records plainly."""
    w = tg.Parameter([1.0])
    with tg.no_grad(), tg.scope("here"), tg.debug():
        other = in_a_thread(lambda: w * 2)
        mine = w * 2
    assert other.op is not None
    assert graph.scope(other) is None
    assert mine.op is None
    assert in_a_thread(recording.current) is recording.PLAIN


def test_modes_of_two_threads_interleave():
    """Each thread keeps its mode while the other enters and leaves its own."""
    barrier = threading.Barrier(2, timeout=10)
    w = tg.Parameter([1.0])

    def quiet():
        with tg.no_grad():
            barrier.wait()  # both are inside
            first = w * 2
            barrier.wait()
        barrier.wait()
        return first, w * 2

    def named():
        with tg.scope("layer"):
            barrier.wait()
            first = w * 2
            barrier.wait()
            barrier.wait()  # the other has left no_grad
            return first, w * 2

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(quiet), pool.submit(named)
        (a, b), (c, d) = one.result(), two.result()
    assert (a.op, graph.scope(a)) == (None, None)
    assert b.op is not None
    assert graph.scope(b) is None
    assert c.op is not None
    assert graph.scope(c) == graph.scope(d) == "layer"


def train(seed, steps=60):
    """Train a small network; return its losses and parameters."""
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(16, 3)), (rng.random((16, 1)) < 0.5) * 1.0
    W1, W2 = (
        tg.Parameter(rng.normal(size=(3, 4))),
        tg.Parameter(rng.normal(size=(4, 1))),
    )
    losses = []
    for step in range(steps):
        with tg.scope(f"net{seed}"):
            A = 1 / (1 + np.exp(-(np.tanh(X @ W1) @ W2)))
            loss = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
            guarded = tg.where(W1 > 0, tg.log(tg.relu(W1) + 1e-300), 0.0).sum()
        assert graph.scope(loss) == f"net{seed}"
        (loss + 0 * guarded).backward()
        if step % 7 == 0:
            (g,) = tg.gradients(tg.square(W2).sum(), [W2])
            assert g.op is not None
        with tg.no_grad():
            for W in (W1, W2):
                W -= 0.1 * W.grad
                W.zero_grad()
        losses.append(loss.item())
    return losses, W1.numpy(), W2.numpy()


def test_eight_threads_train_as_one_after_another():
    """Eight trainings at once give bit for bit what they give in turn."""
    serial = [train(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(train, range(8)))
    for one, other in zip(serial, parallel, strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[2], other[2])


def test_threads_may_share_parameters_for_reading():
    """Gradients of one shared parameter asked for in eight threads are all the same."""
    w = tg.Parameter(np.linspace(0.1, 1.0, 50))

    def slope(_):
        (g,) = tg.gradients((tg.log(tg.sigmoid(w)) * w).sum(), [w])
        return g.numpy()

    wanted = slope(0)
    with ThreadPoolExecutor(8) as pool:
        for g in pool.map(slope, range(64)):
            np.testing.assert_array_equal(g, wanted)


def test_a_change_in_one_thread_is_noticed_in_another():
    """One clock serves all threads, so a graph spoiled elsewhere is refused here."""
    w = tg.Parameter([1.0, 2.0])
    out = (w * w).sum()

    def change():
        w.data = [3.0, 4.0]

    in_a_thread(change)
    with pytest.raises(tg.errors.MutationError):
        out.backward()


# --- contexts ------------------------------------------------------------------------


def test_async_tasks_keep_their_modes_apart():
    """A task that awaits inside no_grad does not switch recording off for the others."""
    w = tg.Parameter([1.0])

    async def quiet(inside, leave):
        with tg.no_grad():
            inside.set()
            await leave.wait()
            return w * 2

    async def main():
        inside, leave = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(quiet(inside, leave))
        await inside.wait()
        recorded = w * 2
        with tg.scope("main"):
            leave.set()
            quiet_one = await task
            scoped = w * 2
        return recorded, quiet_one, scoped

    recorded, quiet_one, scoped = asyncio.run(main())
    assert recorded.op is not None
    assert graph.scope(recorded) is None
    assert quiet_one.op is None
    assert graph.scope(scoped) == "main"


def test_a_task_inherits_the_mode_it_was_started_in():
    """asyncio copies the context: a task started under no_grad stays quiet."""
    w = tg.Parameter([1.0])

    async def double():
        await asyncio.sleep(0)
        return w * 2

    async def main():
        with tg.no_grad():
            task = asyncio.create_task(double())
        return await task

    assert asyncio.run(main()).op is None
    with tg.no_grad():
        context = contextvars.copy_context()
    assert context.run(lambda: w * 2).op is None
    assert (w * 2).op is not None


# --- pickling and copying ------------------------------------------------------------


def quiet():
    with tg.no_grad():
        return tg.sigmoid(tg.Parameter([1.0, 2.0]))


def watched():
    with tg.debug(), tg.scope("layer"):
        return tg.sigmoid(tg.Parameter([1.0, 2.0]))


COPIERS = {
    **{
        f"pickle {p}": (lambda t, p=p: pickle.loads(pickle.dumps(t, p)))
        for p in range(6)
    },
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
TENSORS = {
    "leaf": lambda: tg.Tensor([1.0, 2.0]),
    "named leaf": lambda: tg.Tensor([1.0, 2.0], name="x"),
    "integers": lambda: tg.Tensor([1, 2]),
    "float32": lambda: tg.Tensor(np.float32(2.5)),
    "0-d": lambda: tg.Tensor(3.0, requires_grad=True),
    "empty": lambda: tg.Tensor(np.ones((0, 3))),
    "parameter": lambda: tg.Parameter([[1.0, 2.0]], name="W"),
    "mask": lambda: tg.Tensor([1.0, -1.0]) > 0,
    "inner": lambda: tg.Parameter([1.0, 2.0]) * 2,
    "inner 0-d": (tg.Parameter([1.0, 2.0]) * 2).sum,
    "view": lambda: tg.Parameter([[1.0, 2.0], [3.0, 4.0]]).T,
    "broadcast": lambda: tg.broadcast_to(tg.Parameter([1.0]), (2, 3)),
    "rewritten": lambda: tg.log(tg.sigmoid(tg.Parameter([1.0, 2.0]))),
    "of no_grad": quiet,
    "of debug": watched,
}


@pytest.mark.parametrize("how", COPIERS)
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_pickle_and_copy_as_data(name, how):
    """A copy is a leaf with the same class, value, dtype, name and need of a gradient."""
    t = TENSORS[name]()
    made = COPIERS[how](t)
    assert made is not t
    assert type(made) is (type(t) if t.is_leaf else tg.Tensor)
    assert made.is_leaf
    assert made.op is None
    assert made.grad is None
    assert made.name == t.name
    assert made.requires_grad == t.requires_grad
    assert made.dtype == t.dtype
    assert made.shape == t.shape
    np.testing.assert_array_equal(made.numpy(), t.numpy())
    if made.requires_grad:
        (made * 2).sum().backward()
        assert made.grad is not None
        assert t.grad is None
    if how != "copy":
        assert not np.shares_memory(made.numpy(), t.numpy())


def test_a_pickled_node_is_as_small_as_its_value():
    """The graph stays behind: its constants and operands are not in the file."""
    big = np.ones((1000, 1000))
    out = (tg.Parameter(np.ones(1000)) @ big).sum()
    assert len(pickle.dumps(out)) < 1000


def test_a_name_travels_with_an_inner_node():
    """A result that the user named keeps the name in a copy."""
    y = tg.Parameter([1.0]) * 2
    y.name = "hidden"
    for make in COPIERS.values():
        assert make(y).name == "hidden"


def test_gradients_stay_behind():
    """A copy starts without a gradient, and the original keeps its own."""
    w = tg.Parameter([1.0, 2.0])
    (w * w).sum().backward()
    for make in COPIERS.values():
        assert make(w).grad is None
        np.testing.assert_array_equal(w.grad, [2.0, 4.0])


@pytest.mark.parametrize("how", [name for name in COPIERS if name != "copy"])
def test_what_is_shared_stays_shared(how):
    """A parameter used twice in a structure is one parameter in the copy as well."""
    w = tg.Parameter([1.0])
    made = COPIERS[how]({"a": w, "b": [w, (w, tg.Parameter([1.0]))]})
    assert made["a"] is made["b"][0]
    assert made["a"] is made["b"][1][0]
    assert made["a"] is not made["b"][1][1]
    assert made["a"] is not w


def test_a_copy_learns_apart():
    """Training the copy leaves the original's numbers alone, and the other way round."""
    w = tg.Parameter([1.0, 2.0])
    twin = copy.deepcopy(w)
    with tg.no_grad():
        twin -= 0.5
        w += 1.0
    np.testing.assert_array_equal(w.numpy(), [2.0, 3.0])
    np.testing.assert_array_equal(twin.numpy(), [0.5, 1.5])


@pytest.mark.parametrize("how", [name for name in COPIERS if name != "copy"])
def test_modules_pickle_and_copy(how):
    """A model's copy predicts the same, has parameters of its own, and trains."""
    model = tg.nn.Sequential(
        tg.nn.Dense(3, 4, rng=0),
        tg.nn.Tanh(),
        tg.nn.Dropout(0.5, rng=1),
        tg.nn.Dense(4, 1, rng=2),
    )
    model.eval()
    X = np.random.default_rng(0).normal(size=(5, 3))
    model(X).sum().backward()
    twin = COPIERS[how](model)
    assert not twin.training
    np.testing.assert_array_equal(twin(X).numpy(), model(X).numpy())
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, _ in twin.named_parameters()] == names
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p is not q
        assert type(q) is tg.Parameter
        assert not np.shares_memory(p.data, q.data)
    tg.optim.SGD(twin.parameters(), lr=0.1).minimize(twin(X).sum())
    assert not np.array_equal(twin(X).numpy(), model(X).numpy())


def test_a_subclass_of_parameter_is_restored_as_itself():
    """A user's own kind of parameter keeps its class."""
    made = pickle.loads(pickle.dumps(Weight([1.0], "w")))
    assert type(made) is Weight
    assert made.name == "w"


class Weight(tg.Parameter):
    __slots__ = ()


def test_threads_may_share_one_switch():
    """One no_grad object, entered by several threads at once, changes each alone."""
    shared = tg.no_grad()
    inside = threading.Barrier(2)
    seen = []

    def enter(first):
        with shared:
            inside.wait()
            if not first:
                inside.wait()
        seen.append((tg.Parameter(1.0) * 2.0).requires_grad)
        if first:
            inside.wait()

    threads = [threading.Thread(target=enter, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [True, True]


def test_lists_are_arrays_to_an_op():
    """Two plain lists are added as numbers, not joined."""
    np.testing.assert_array_equal(tg.add([1.0, 2.0], [3.0, 4.0]), [4.0, 6.0])
    np.testing.assert_array_equal(tg.multiply([1, 2], 2), [2, 4])


def test_unsigned_integers_do_not_wrap():
    """The sigmoid of bytes is the sigmoid of the numbers that they are."""
    x = np.array([0, 1, 3], np.uint8)
    for f in (tg.sigmoid, tg.softplus, tg.log_sigmoid, tg.softmax, tg.log_softmax):
        np.testing.assert_allclose(f(x), f(x.astype(float)), rtol=1e-3)
    assert tg.logsumexp(x) == tg.logsumexp(x.astype(float))
