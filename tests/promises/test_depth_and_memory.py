"""Promise 7: no recursion over a graph, no reference cycles, flat memory."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from contextlib import contextmanager, suppress

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph
from tinygrad_nn.op import Node

DEEP = 100_000


@contextmanager
def shallow_stack(more=40):
    """Leave room for a few calls only: any recursion over a graph would fail."""
    depth = 0
    frame = sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + more)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextmanager
def no_collector():
    """Leave freeing to reference counts."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def nodes_alive():
    return sum(issubclass(type(x), Node) for x in gc.get_objects())


def chain(x, length):
    """Repeat y = y * 0.5 + 1: a fixed point at 2, derivative 0.5 a pair of ops."""
    y = x
    for _ in range(length // 2):
        y = y * 0.5 + 1.0
    return y


CHAINS = {
    "a * b + c": chain,
    "unary": lambda x, n: _repeat(tg.tanh, x, n),
    "minus": lambda x, n: _repeat(tg.negative, x, n),  # a form of a form of a form
    "movement": lambda x, n: _repeat(lambda y: y.reshape(-1), x, n),
    "indexing": lambda x, n: _repeat(lambda y: y[:], x, n),
    "many operands": lambda x, n: _repeat(lambda y: tg.where(True, y, 0.0), x, n),
    "variadic": lambda x, n: _repeat(lambda y: tg.concatenate([y]), x, n),
    "rewritten": lambda x, n: _repeat(
        lambda y: tg.log(1 / (1 + tg.exp(-y))), x, n // 4
    ),
    "side branches": lambda x, n: _repeat(lambda y: y + x, x, n),
    "names and scopes": lambda x, n: _repeat(_named, x, n),
}


def _named(y):
    y = y + 0.0
    y.name = "y"
    return y


def _repeat(f, x, length):
    y = x
    for _ in range(length):
        y = f(y)
    return y


@pytest.mark.parametrize("name", CHAINS)
def test_a_deep_graph_is_built_walked_back_and_freed(name):
    """A hundred thousand nodes in a row, on a stack of a few dozen calls."""
    length = DEEP if name == "a * b + c" else DEEP // 5
    x = tg.Parameter([0.5, 1.5])
    with no_collector():
        before = nodes_alive()
        with shallow_stack():
            y = CHAINS[name](x, length).sum()
            y.backward()
        assert np.isfinite(x.grad).all()
        with shallow_stack():
            y.backward(retain_grads=True)
            (g,) = tg.gradients(y, [x])
            assert len(graph.nodes(y)) > length // 5
            copied = pickle.loads(pickle.dumps(y))
            deep = copy.deepcopy(y)
            assert copied.item() == deep.item() == y.item()
            repr(y)
            del y, g, copied, deep
        assert nodes_alive() == before  # freed by reference counts alone


def test_the_derivative_of_a_deep_graph_is_deep_too():
    """A second order gradient of a deep chain goes through without recursion."""
    x = tg.Parameter(0.5)
    with shallow_stack():
        y = x
        for _ in range(2_000):
            y = tg.sin(y)
        (g,) = tg.gradients(y, [x])
        (h,) = tg.gradients(g, [x])
        del y, g
    assert np.isfinite(h.item())


def test_a_deep_branch_that_is_not_taken():
    """The careful loop is a loop as well."""
    x = tg.Parameter([0.0, 2.0])
    with shallow_stack(60), np.errstate(divide="ignore"):
        y = tg.log(x)
        for _ in range(5_000):
            y = y + 1.0
        tg.where(x > 0, y, 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.5])


def test_a_million_node_chain():
    """A million nodes are built, back-propagated, pickled as data and freed."""
    x = tg.Parameter([0.5, 1.5])
    with no_collector():
        before = nodes_alive()
        with shallow_stack():
            y = chain(x, 1_000_000)
            y.backward(np.ones(2))
            assert len(graph.nodes(y)) == 1_000_001
            np.testing.assert_array_equal(
                pickle.loads(pickle.dumps(y)).numpy(), y.numpy()
            )
            np.testing.assert_array_equal(copy.deepcopy(y).numpy(), y.numpy())
            del y
        assert nodes_alive() == before
    np.testing.assert_array_equal(x.grad, [0.0, 0.0])


def test_a_dropped_graph_is_freed_at_once():
    """When the last name of a loss goes, its whole graph goes, the leaves stay."""
    w = tg.Parameter(np.ones((3, 2)))
    with no_collector():
        inner = tg.tanh(np.ones((4, 3)) @ w)
        alive = weakref.ref(inner)
        loss = (inner * inner).sum()
        loss.backward(retain_grads=True)
        del inner
        assert alive() is not None
        del loss
        assert alive() is None


def cross_entropy(A, Y):
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()


STEPS = {
    "dense": lambda W, X, Y: tg.square(tg.tanh(X @ W) - Y).mean(),
    "written out": lambda W, X, Y: cross_entropy(1 / (1 + np.exp(-(X @ W))), Y),
    "softmax": lambda W, X, Y: (
        -(tg.log(tg.softmax(X @ np.ones((1, 3)) * W)) * Y).mean()
    ),
    "guarded": lambda W, X, Y: tg.where(X * W > 0, tg.log(X * W), 0.0).mean(),
    "everything": lambda W, X, Y: (
        tg.concatenate(
            [tg.einsum("ij,jk->ik", X, W), tg.stack([W[0], W[0] * 2]), tg.maximum(W, 0)]
        ).max()
        + tg.norm(W)
        + tg.std(X * W)
    ),
}


def one_step(W, X, Y, name):
    with np.errstate(all="ignore"):
        loss = STEPS[name](W, X, Y)
    loss.backward()
    with tg.no_grad():
        W -= 0.01 * W.grad
    W.zero_grad()
    return loss.item()


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_leaves_no_garbage(name):
    """No reference cycle is made: the collector finds nothing, and no node stays."""
    rng = np.random.default_rng(0)
    W, X, Y = tg.Parameter([[0.5]]), rng.normal(size=(4, 1)), rng.random((4, 1))
    one_step(W, X, Y, name)
    with no_collector():
        before = nodes_alive()
        for _ in range(20):
            one_step(W, X, Y, name)
        assert nodes_alive() == before
        assert gc.collect() == 0


def test_higher_orders_transforms_and_errors_leave_no_garbage():
    """Recorded gradients, transforms, debug mode and refused ops make no cycle either."""
    x = tg.Parameter([1.0, 2.0])

    def work():
        (g,) = tg.gradients((x * x * x).sum(), [x])
        (g * g).sum().backward()
        tg.hessian(lambda v: (v**3).sum())(np.ones(2))
        tg.jvp(tg.sin, [np.ones(2)], [np.ones(2)])
        with tg.debug(), tg.scope("layer"):
            tg.exp(x).sum().backward()
        x.zero_grad()
        pickle.loads(pickle.dumps(x))
        copy.deepcopy(x)

    def refused():
        with suppress(ValueError):
            x @ np.ones(3)

    work()
    refused()
    with no_collector():
        before = nodes_alive()
        for _ in range(5):
            work()
            refused()
        assert nodes_alive() == before
        assert gc.collect() == 0


def test_memory_is_flat_over_twenty_thousand_steps():
    """With the collector off, the last steps hold as many objects as the first."""
    rng = np.random.default_rng(0)
    W, X, Y = tg.Parameter([[0.5]]), rng.normal(size=(4, 1)), rng.random((4, 1))
    with no_collector():
        for _ in range(100):
            one_step(W, X, Y, "written out")
        objects, blocks = len(gc.get_objects()), sys.getallocatedblocks()
        for _ in range(20_000):
            one_step(W, X, Y, "written out")
        assert len(gc.get_objects()) - objects < 20
        assert sys.getallocatedblocks() - blocks < 200


def test_an_optimisers_steps_are_flat_too():
    """Adam's state is as large after a thousand steps as after one."""
    w = tg.Parameter(np.ones(3), name="w")
    optimizer = tg.optim.Adam([w], lr=0.01)
    with no_collector():
        for _ in range(50):
            optimizer.minimize((w * w).sum())
        blocks = sys.getallocatedblocks()
        for _ in range(1000):
            optimizer.minimize((w * w).sum())
        assert sys.getallocatedblocks() - blocks < 100
        assert gc.collect() == 0


def test_long_loops_under_no_grad_hold_nothing():
    """A value updated a hundred thousand times under no_grad has no past."""
    with no_collector(), tg.no_grad():
        y = tg.Tensor([0.5])
        y = tg.sigmoid(-y)
        before = nodes_alive()
        for _ in range(2_000):
            y = 1 - tg.sigmoid(-y)
            y = tg.log(1 + tg.exp(-y))
            y = tg.negative(-y)
        assert nodes_alive() <= before + 4
