"""A checkpointed part of a graph holds less, and is the same in everything else."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import MutationError
from tinygrad_nn.op import REGISTRY

x0 = np.array([0.3, -0.7, 1.1])
W = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.5, -1.0, 4.0]])


def identical(found, wanted):
    assert len(found) == len(wanted)
    for x, y in zip(found, wanted, strict=True):
        x, y = np.asarray(tg.op.data_of(x)), np.asarray(tg.op.data_of(y))
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        assert x.tobytes() == y.tobytes(), f"{x} is not {y}"


class Deep:
    """Layers one after another, each a checkpoint or none of them."""

    def __init__(self, checkpointed, *, width=64, depth=12, rows=1000, rate=0.3):
        self.layers = [
            nn.Dense(width, width, activation="tanh", rng=i) for i in range(depth)
        ]
        self.drops = [nn.Dropout(rate, rng=100 + i) for i in range(depth)]
        self.X = np.random.default_rng(1).normal(size=(rows, width))
        self.wrap = tg.checkpoint if checkpointed else (lambda f: f)
        self.runs = 0

    def block(self, i):
        def run(h):
            self.runs += 1
            return self.drops[i](tg.relu(self.layers[i](h)) * h + tg.sin(h))

        return self.wrap(run)

    def loss(self, x=None):
        h = tg.Tensor(self.X) if x is None else x
        for i in range(len(self.layers)):
            h = self.block(i)(h)
        return (h * h).mean()

    @property
    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]


# --- the same numbers ------------------------------------------------------------


def test_backward_gives_the_same_bits():
    """Loss, gradients and the generators afterwards are those without checkpoints.

    Dropout among them draws the same numbers when it is computed again.
    """
    made = []
    for checkpointed in (False, True):
        deep = Deep(checkpointed, rows=50)
        loss = deep.loss()
        loss.backward()
        after = [drop.rng.random() for drop in deep.drops]
        made.append([loss, *[p.grad for p in deep.parameters], np.array(after)])
        assert deep.runs == 12
    identical(*made)


def test_transforms_give_the_same_bits():
    """Gradients by arrays and by Parameters in the closure, with the draws of dropout."""
    made = []
    for checkpointed in (False, True):
        deep = Deep(checkpointed, rows=20, width=8, depth=4)
        value, slope = tg.value_and_grad(deep.loss)(deep.X)
        every = tg.gradients(deep.loss(), deep.parameters)
        loss = deep.loss()
        with tg.no_grad():
            quiet = tg.gradients(loss, deep.parameters)
        made.append([value, slope, *every, *quiet])
    identical(*made)


def test_a_second_order_step_gives_the_same_bits():
    """Hessian-vector products and gradients of gradients go through checkpoints."""
    made = []
    for checkpointed in (False, True):
        deep = Deep(checkpointed, rows=10, width=6, depth=3, rate=0.0)
        way = np.random.default_rng(2).normal(size=deep.X.shape)
        product = tg.hvp(deep.loss, deep.X, way)
        first = tg.gradients(deep.loss(), deep.parameters)
        total = sum((g * g).sum() for g in first)
        total.backward()
        made.append([product, *[p.grad for p in deep.parameters]])
    identical(*made)


def f(x):
    return tg.sin(tg.Tensor(W) @ x) * x + tg.exp(-x * x)


ORDERS = {
    "grad": lambda f: tg.grad(lambda x: f(x).sum())(x0),
    "jacobian": lambda f: tg.jacobian(f)(x0),
    "jacobian forward": lambda f: tg.jacobian(f, mode="forward")(x0),
    "jvp": lambda f: tg.jvp(f, [x0], [x0])[1],
    "hessian": lambda f: tg.hessian(lambda x: (f(x) ** 2).sum())(x0),
    "hvp": lambda f: tg.hvp(lambda x: (f(x) ** 3).sum(), x0, x0),
    "third": lambda f: tg.jacobian(tg.hessian(lambda x: (f(x) ** 2).sum()))(x0),
    "grad of jvp": lambda f: tg.grad(
        lambda x: (tg.jvp(f, [x], [np.ones(3)])[1] ** 2).sum()
    )(x0),
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_any_order_gives_the_same_bits(name, depth):
    """Derivatives of every kind, through checkpoints in checkpoints in checkpoints."""
    plain = checked = f
    for _ in range(depth - 1):
        plain = lambda x, g=plain: g(g(x)) * 0.5
        inner = tg.checkpoint(checked)
        checked = lambda x, g=inner: g(g(x)) * 0.5
    identical([ORDERS[name](tg.checkpoint(checked))], [ORDERS[name](plain)])


def test_it_works_as_a_decorator_with_keywords_and_structures():
    """Arguments of every kind are passed on; dicts of Tensors come back."""

    @tg.checkpoint
    def block(x, *, scale, note):
        assert note == "text"
        y = tg.exp(x["x"]) * scale
        return {"y": y, "rest": (y.sum(), None, 3), "same": x["x"]}

    assert block.__name__ == "block"
    x = tg.Parameter(x0)
    found = block({"x": x}, scale=2.0, note="text")
    assert found["rest"][1:] == (None, 3)
    assert found["same"] is x
    np.testing.assert_allclose(found["y"].numpy(), 2 * np.exp(x0))
    (found["y"].sum() + 3 * found["rest"][0]).backward()
    np.testing.assert_allclose(x.grad, 8 * np.exp(x0), rtol=1e-15)


def test_results_of_several_dtypes_keep_them():
    """What returns float32 beside float64 returns them still, and their gradients."""

    @tg.checkpoint
    def block(x, y):
        return tg.sin(x), tg.cos(y)

    x, y = tg.Parameter(np.float32(x0)), tg.Parameter(x0)
    s, c = block(x, y)
    assert (s.dtype, c.dtype) == (np.float32, np.float64)
    (s.sum() + c.sum()).backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    identical([x.grad, y.grad], [np.cos(np.float32(x0)), -np.sin(x0)])


def test_what_is_no_part_of_a_graph_is_returned_as_it_is():
    """Arrays in, arrays out; an argument or a constant is no part that was computed."""
    assert type(tg.checkpoint(np.sin)(x0)) is np.ndarray
    t = tg.Parameter(x0)
    assert tg.checkpoint(lambda x: x)(t) is t
    assert tg.checkpoint(lambda x: None)(t) is None
    with tg.no_grad():
        y = tg.checkpoint(tg.sin)(t)
    assert y.op is None


def test_a_view_is_no_view_of_a_parameter_that_changes():
    """A result that shows another's memory has its own: values are those of their time."""
    t = tg.Parameter(np.arange(6.0).reshape(2, 3))
    y = tg.checkpoint(lambda x: x.T)(t)
    t.data[0, 0] = 9.0
    assert y.numpy()[0, 0] == 0.0


def test_kinks_missing_paths_and_gradients_of_inner_nodes():
    """The careful way, where a 0 meets an infinity, goes through a checkpoint as well."""
    log = tg.checkpoint(lambda x: tg.where(x > 0, tg.log(x), 0.0))
    at = np.array([0.0, 2.0])
    t = tg.Parameter(at)
    with np.errstate(divide="ignore"):
        log(t).sum().backward()
        identical([t.grad], [np.array([0.0, 0.5])])
        identical([tg.grad(lambda x: log(x).sum())(at)], [np.array([0.0, 0.5])])
        found = tg.hessian(lambda x: log(x).sum())(at)
    np.testing.assert_array_equal(found, np.diag([0.0, -0.25]))


def test_gradients_of_nodes_around_a_checkpoint():
    """Any node outside can be asked for, whether or not it requires a gradient."""
    a = tg.Tensor(x0)
    b = tg.sin(a)
    y = tg.checkpoint(lambda x: x * b)(a)
    by_a, by_b, by_y = tg.gradients(y.sum(), [a, b, y])
    np.testing.assert_allclose(by_b.numpy(), x0)
    np.testing.assert_allclose(by_y.numpy(), np.ones(3))
    np.testing.assert_allclose(by_a.numpy(), np.sin(x0) + x0 * np.cos(x0))


def test_retained_gradients_are_of_the_nodes_that_are_there():
    """retain_grads fills the checkpoint's own result."""
    t = tg.Parameter(x0)
    y = tg.checkpoint(tg.sin)(t)
    (y * y).sum().backward(retain_grads=True)
    np.testing.assert_allclose(y.grad, 2 * np.sin(x0))


def test_random_numbers_of_any_generator():
    """Several draws from several generators, one of them elsewhere too, come again."""
    first, second = np.random.default_rng(0), np.random.Generator(np.random.MT19937(1))
    drops = [nn.Dropout(0.5, rng=first), nn.Dropout(0.5, rng=second)]

    def block(x):
        y = drops[0](x * x)
        drops[1](x)  # drawn, and not used
        return drops[1](y) + drops[0](x)

    big = np.linspace(1.0, 2.0, 50)
    made = []
    for wrap in (tg.checkpoint, lambda f: f):
        for drop, seed in zip(drops, (0, 1), strict=True):
            drop.rng.bit_generator.state = type(drop.rng.bit_generator)(seed).state
        t = tg.Parameter(big)
        y = wrap(block)(t)
        first.random()
        y.sum().backward()
        made.append([y, t.grad])
    identical(*made)


# --- less memory -----------------------------------------------------------------


def held(checkpointed, how):
    """Return what a loss holds, and the most while its gradient is computed, in bytes."""
    deep = Deep(checkpointed)
    gc.collect()
    tracemalloc.start()
    try:
        loss = deep.loss() if how == "backward" else None
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        if how == "backward":
            loss.backward()
        else:
            tg.value_and_grad(deep.loss)(deep.X)
        return after, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_one_layer():
    """A graph of twelve layers holds their results; a backward, one layer more."""
    plain, peak = held(False, "backward")
    checked, low = held(True, "backward")
    one = 1000 * 64 * 8
    assert plain > 100 * one
    assert checked < 14 * one
    assert low < 35 * one < peak / 3


def test_a_gradient_by_arrays_lets_go_as_well():
    """value_and_grad keeps no graph of the gradient that nobody can ask for."""
    _, peak = held(False, "value_and_grad")
    _, low = held(True, "value_and_grad")
    assert low < peak / 3


def test_nothing_is_left_behind():
    """Checkpoints make no cycle: with the collector off, memory goes back at once."""
    deep = Deep(True, rows=10, width=4, depth=3)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(5):
            deep.loss().backward()
            tg.hvp(deep.loss, deep.X, deep.X)
        assert gc.collect() == 0
        assert len(gc.get_objects()) < before + 500
    finally:
        gc.enable()


# --- other readings --------------------------------------------------------------


def test_a_compiled_step_computes_what_it_would_without():
    """In a step that is compiled a checkpoint is the function itself."""
    V = tg.Parameter(W, name="V")

    def step(f):
        def run(x):
            loss = (f(x) ** 2).sum()
            return loss, *tg.gradients(loss, [V])

        return run

    g = lambda x: tg.sin(V @ x) * x
    compiled = tg.compile(step(tg.checkpoint(g)), exact=True)
    identical(compiled(x0), step(g)(x0))
    assert "checkpoint(" not in compiled.source


def test_pictures_and_derivations_show_what_is_inside():
    """Who reads a graph sees the ops, computed again if need be."""
    V = tg.Parameter(W, name="V")
    block = lambda x: tg.sin(V @ x)
    made = []
    for wrap in (tg.checkpoint, lambda f: f):
        loss = (wrap(block)(tg.Tensor(x0, name="x")) ** 2).sum()
        made.append((str(tg.draw(loss)), tg.derive(loss, wrt=[V]).text))
    assert made[0] == made[1]
    assert "cos" in made[0][1]


def test_a_check_goes_through():
    """check_gradients finds checkpointed gradients right."""
    report = tg.check.check_gradients(lambda x: tg.checkpoint(f)(x).sum(), x0)
    assert report.verdict == "ok"


def test_it_is_no_word_of_the_vocabulary():
    """A checkpoint is another function each time: no op that the registry lists."""
    tg.checkpoint(tg.sin)(tg.Parameter(x0))
    assert "checkpoint" not in REGISTRY


def test_a_layer_may_be_a_checkpoint():
    """A model is a function: checkpoint(model) is the model, its Parameters found."""
    layer = nn.Dense(3, 2, activation="tanh", rng=0)
    made = []
    for call in (layer, tg.checkpoint(layer)):
        for p in layer.parameters():
            p.grad = None
        (call(x0[None]) ** 2).sum().backward()
        made.append([p.grad for p in layer.parameters()])
    identical(*made)


# --- changes in between ----------------------------------------------------------


def test_a_parameter_that_changed_before_the_backward_is_told():
    """Computed again with other numbers it would be another gradient."""
    t, V = tg.Parameter(x0), tg.Parameter(x0, name="V")
    y = tg.checkpoint(lambda x: tg.sin(x) + V)(t)  # V is not saved, but needed again
    V.data = V.numpy() * 2
    with pytest.raises(MutationError, match=r"checkpoint .*'V'"):
        y.sum().backward()


def test_the_last_of_many_parameters_is_watched_too():
    """However many Tensors a part is computed from, none changes unnoticed."""
    many = [tg.Parameter(1.0, name=f"p{i}") for i in range(80)]
    y = tg.checkpoint(lambda: sum((p * p for p in many), 0.0))()
    many[-1].data = np.array(2.0)
    with pytest.raises(MutationError, match="'p79'"):
        y.backward()


def test_a_change_inside_of_the_function_is_told():
    """What the function assigns to after it computed with it is named at once."""
    V = tg.Parameter(x0, name="V")

    def block(x):
        y = x * V
        V.data = V.numpy() + 1
        return y

    with pytest.raises(MutationError, match=r"checkpoint.*'V'.*outside"):
        tg.checkpoint(block)(tg.Parameter(x0))


def test_backward_twice_means_what_it_says():
    """A second backward computes the part once more, and adds."""
    t = tg.Parameter(x0)
    y = tg.checkpoint(tg.sin)(t).sum()
    y.backward()
    y.backward()
    np.testing.assert_allclose(t.grad, 2 * np.cos(x0))


def test_an_error_inside_is_the_functions_own():
    """A function that fails fails as it would, and leaves no trace."""
    with pytest.raises(ZeroDivisionError):
        tg.checkpoint(lambda x: 1 / 0)(tg.Parameter(x0))
    assert tg.recording._noted.get() is None
