"""Laws of the NumPy that a compiled step becomes: small layers, shared updates."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler import backends, biases, memory, numpy_calls, together
from tinygrad_nn.compiler import step as step_module
from tinygrad_nn.tensor import Lent

ACTIVATIONS = {
    "tanh": tg.tanh,
    "relu": tg.relu,
    "sigmoid": tg.sigmoid,
    "none": lambda Z: Z,
}
OPTIMIZERS = {
    "SGD": lambda p: tg.optim.SGD(p, lr=0.02),
    "momentum": lambda p: tg.optim.SGD(p, lr=0.02, momentum=0.9),
    "Adam": lambda p: tg.optim.Adam(p, lr=0.01),
}


class Net:
    """A network, example by column, of layers ``W @ A + b``."""

    def __init__(
        self, sizes=(3, 5, 4, 1), activation="tanh", optimizer="SGD", dtype=np.float64
    ):
        rng = np.random.default_rng(4)
        draw = lambda *shape: rng.normal(size=shape).astype(dtype)
        self.parameters = [
            tg.Parameter(made, name=f"{letter}{i}")
            for i, (before, size) in enumerate(pairwise(sizes), 1)
            for letter, made in (
                ("W", draw(size, before) / np.sqrt(before).astype(dtype)),
                ("b", draw(size, 1)),
            )
        ]
        self.activation = ACTIVATIONS[activation]
        self.optimizer = OPTIMIZERS[optimizer](self.parameters)
        self.data = (draw(sizes[0], 30), draw(sizes[-1], 30))

    def loss(self, X, Y):
        A = X
        for W, b in zip(self.parameters[::2], self.parameters[1::2], strict=True):
            A = self.activation(W @ A + b)
        return tg.mean((A - Y) ** 2)

    def step(self, X, Y):
        loss = self.loss(X, Y)
        self.optimizer.minimize(loss)
        return loss


class SharedWeight(Net):
    """One weight stands in two layers."""

    def __init__(self):
        super().__init__((4, 4, 4))
        self.parameters[2].data = self.parameters[0].data.copy()

    def loss(self, X, Y):
        W, b, _, c = self.parameters
        return tg.mean((tg.tanh(W @ tg.tanh(W @ X + b) + c) - Y) ** 2)

    def step(self, X, Y):
        loss = self.loss(X, Y)
        loss.backward()
        with tg.no_grad():
            for p in (*self.parameters[:2], self.parameters[3]):
                p -= 0.1 * p.grad
                p.zero_grad()
        return loss


class PunishedBias(Net):
    """The loss asks for the bias a second time."""

    def loss(self, X, Y):
        return super().loss(X, Y) + 0.1 * tg.sum(self.parameters[1] ** 2)


class Clipped(Net):
    """The length of all gradients decides on the step."""

    def step(self, X, Y):
        loss = self.loss(X, Y)
        loss.backward()
        total = sum(tg.sum(p.grad**2) for p in self.parameters)
        with tg.no_grad():
            for p in self.parameters:
                p -= 0.1 * p.grad / (1 + total)
                p.zero_grad()
        return loss


class Shows(Net):
    """The step returns what lies above a row of ones."""

    def step(self, X, Y):
        W, b, V, c = self.parameters[:4]
        A = tg.relu(W @ X + b)
        loss = tg.mean((V @ A + c) ** 2)
        self.optimizer.minimize(loss)
        return loss, A


class OneBias(Net):
    """A layer's gradient is asked for, that of its bias is not."""

    def step(self, X, Y):
        loss = self.loss(X, Y)
        W = self.parameters[0]
        (dW,) = tg.gradients(loss, [W])
        with tg.no_grad():
            W -= 0.1 * dW
        return loss


NETS = {
    **{
        f"{activation}, {optimizer}": (
            lambda a=activation, o=optimizer: Net(activation=a, optimizer=o)
        )
        for activation in ACTIVATIONS
        for optimizer in OPTIMIZERS
    },
    "one layer": lambda: Net((3, 2)),
    "single precision": lambda: Net(dtype=np.float32),
    "a layer that is not small": lambda: Net((3, 80, 60, 2)),
    "an input that is not small": lambda: Net((2300, 5, 2)),
    "a weight in two layers": SharedWeight,
    "a bias in the loss": PunishedBias,
    "clipped": Clipped,
    "what is returned": Shows,
    "a bias that stays": OneBias,
}


def equal(x, y):
    tolerance = 2e-5 if x.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def agrees_with_eager(make, steps=12):
    """Raise where losses, parameters or gradients differ from those of eager."""
    eager, net = make(), make()
    compiled = tg.compile(net.step)
    for i in range(steps):
        X, Y = (np.roll(x, i, axis=1) + 0.1 * i for x in net.data)
        theirs, ours = eager.step(X, Y), compiled(X, Y)
        several = isinstance(theirs, tuple)
        for a, b in zip(
            *((theirs, ours) if several else ((theirs,), (ours,))), strict=True
        ):
            equal(a.data, b.data)
        for p, q in zip(eager.parameters, net.parameters, strict=True):
            equal(p.data, q.data)
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                equal(p.grad, q.grad)
    return compiled


@pytest.mark.parametrize("name", NETS)
def test_small_layers_equal_eager(name):
    """Losses, parameters and gradients of a rewritten layer are those of eager."""
    agrees_with_eager(NETS[name])


def test_a_small_layer_is_one_product_each_way():
    """The bias is neither added nor summed, and all parameters change in one call."""
    net = Net()
    compiled = tg.compile(net.step)
    compiled(*net.data)
    source = compiled.source
    assert source.count("dot(W") == 3
    assert " add(" not in source
    assert source.count("subtract(all_") == 1


def test_adam_takes_one_root_for_all_small_parameters():
    """What small parameters do alike is done in one call, in their states as well."""
    net = Net(optimizer="Adam")
    compiled = tg.compile(net.step)
    compiled(*net.data)
    assert compiled.source.count("= sqrt(") == 1


def test_parameters_may_have_counts_of_their_own():
    """Adam corrects each parameter by its own count, also where all are one array."""
    eager, net = Net(optimizer="Adam"), Net(optimizer="Adam")
    for each in (eager, net):
        for _ in range(3):
            loss = tg.sum(each.parameters[0] ** 2) + tg.sum(each.parameters[5])
            each.optimizer.minimize(loss)
    compiled = tg.compile(net.step)
    for _ in range(3):
        equal(eager.step(*net.data).data, compiled(*net.data).data)
    assert len({state[-1] for state in net.optimizer._states}) == 2
    for p, q in zip(eager.parameters, net.parameters, strict=True):
        equal(p.data, q.data)


@pytest.mark.parametrize("optimizer", ["SGD", "momentum"])
def test_exact_changes_no_sum(optimizer):
    """With exact=True nothing is rewritten, and every bit is that of eager."""
    eager, net = Net(optimizer=optimizer), Net(optimizer=optimizer)
    compiled = tg.compile(net.step, exact=True)
    for _ in range(5):
        assert eager.step(*net.data).item() == compiled(*net.data).item()
    assert "all_" not in compiled.source
    for p, q in zip(eager.parameters, net.parameters, strict=True):
        assert np.array_equal(p.data, q.data)


def test_parameters_stay_where_they_are():
    """A view of a parameter that was made before sees every update."""
    net = Net()
    compiled = tg.compile(net.step)
    views = [p.data.view() for p in net.parameters]
    before = [view.copy() for view in views]
    for _ in range(3):
        compiled(*net.data)
    for p, view, old in zip(net.parameters, views, before, strict=True):
        assert np.shares_memory(p.data, view)
        assert np.array_equal(p.data, view)
        assert not np.array_equal(view, old)


def test_a_gradient_that_was_read_stays():
    """What .grad gave is not changed by the steps that follow."""
    net = Net()
    compiled = tg.compile(net.step)
    compiled(*net.data)
    read = [p.grad for p in net.parameters]
    kept = [np.array(x) for x in read]
    compiled(net.data[0] + 1, net.data[1])
    for x, y in zip(read, kept, strict=True):
        assert np.array_equal(x, y)


def test_a_new_array_of_a_parameter_is_used():
    """A parameter's array may be replaced between two steps."""
    eager, net = Net(), Net()
    compiled = tg.compile(net.step)
    compiled(*net.data)
    eager.step(*net.data)
    for each in (eager, net):
        each.parameters[2].data = np.full((4, 5), 0.25)
    equal(eager.step(*net.data).data, compiled(*net.data).data)
    equal(eager.parameters[2].data, net.parameters[2].data)


def test_what_is_joined_by_the_user_equals_eager():
    """Arrays computed where they will lie are whole, whoever reads them, and when."""

    def step(x, y):
        a = tg.exp(x)
        b = tg.tanh(y * 2)
        joined = tg.concatenate([a, b, x])
        total = tg.sum(tg.exp(b + 1.0))
        return joined * 2, tg.exp(joined), a + 1, total, joined + 0.5

    x, y = np.linspace(0, 1, 6).reshape(3, 2), np.ones((2, 2))
    compiled = tg.compile(step)
    for i in range(3):
        for a, b in zip(step(x + i, y - i), compiled(x + i, y - i), strict=True):
            equal(np.asarray(a), b.numpy())


def test_relu_is_eagers_at_its_edges():
    """Zeros of both signs, infinities and nan take the way through a relu of eager."""
    row = np.array([[-0.0, 0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, -np.nan]])

    def step(x):
        return tg.value_and_grad(lambda x: tg.sum(tg.relu(tg.relu(x * 1.0)) * 3))(x)

    value, gradient = tg.compile(step)(row)
    expected, wanted = step(row)
    np.testing.assert_array_equal(value.numpy(), np.asarray(expected))
    finite = ~np.isnan(row)
    np.testing.assert_array_equal(gradient.numpy()[finite], np.asarray(wanted)[finite])


def test_a_held_array_is_cut_with_the_block_that_reads_it():
    """In a loop over pieces a long array of the user's is read piece by piece."""
    rows = 60_000
    y = np.random.default_rng(0).normal(size=(rows, 3))

    def step(x):
        return tg.sum(tg.tanh(x - y) * tg.exp(-x * x) + x)

    compiled = tg.compile(step)
    x = np.random.default_rng(1).normal(size=(rows, 3))
    wanted = step(tg.Tensor(x)).item()
    assert abs(compiled(x).item() - wanted) <= 1e-12 * abs(wanted)
    assert "for cut, " in compiled.source


def test_equal_results_are_two_arrays():
    """What two results share is computed once, and given twice."""
    compiled = tg.compile(lambda x: (np.exp(x) * 2, np.exp(x) * 2))
    first, second = compiled(np.ones(3))
    assert not np.shares_memory(first.numpy(), second.numpy())
    assert np.array_equal(first.numpy(), second.numpy())


# --- each law can be broken --------------------------------------------------------


def in_source(edit):
    """Make a mutant whose generated source was edited, line by line."""

    def mutant(monkeypatch):
        whole = backends.executed

        def executed(lowered, title):
            lines = lowered.source.split("\n")
            kept = [edit(line) for line in lines]
            assert kept != lines, "the mutant is no different"
            return whole(replace(lowered, source="\n".join(kept)), title)

        monkeypatch.setattr(backends, "executed", executed)

    return mutant


@in_source
def written_elsewhere(line):
    return re.sub(
        r"(\w+)\[\.\.\.\] = (new_\w+)", r"\1_tensor._value = np.array(\2)", line
    )


@in_source
def the_first_array(line):
    line = line.replace("# The last argument", "first = {}  #")
    return re.sub(r"= ((\w+)_tensor\._value)$", r"= first.setdefault('\2', \1)", line)


@in_source
def slope_at_zero(line):
    return line.replace("import greater,", "import greater_equal as greater,")


@in_source
def the_same_piece(line):
    return line.replace("c0[cut]", "c0[:len(x_part)]")


@in_source
def no_copies(line):
    return line.replace("= np.array(multiply", "= np.asarray(multiply")


def never_exact(monkeypatch):
    monkeypatch.setattr(
        step_module,
        "optimised",
        lambda program, whole=step_module.optimised, **settings: whole(
            program, **{**settings, "exact": False}
        ),
    )


def lent_is_given(monkeypatch):
    monkeypatch.setattr(Lent, "copied", lambda self: self._buffer)


def each_alone(monkeypatch):
    monkeypatch.setattr(together, "_updates", lambda program: [])


def wrong_ones(monkeypatch):
    monkeypatch.setattr(memory, "_fixed", _zero)


def _zero(x, program):
    leaf = isinstance(x, tg.Tensor) and x._op is None and x not in program.places
    return 0.0 if leaf and np.ndim(x._value) == 2 else None


def no_layer_is_whole(monkeypatch):
    monkeypatch.setattr(biases, "_gradients", lambda product, users: None)


def wrong_order(monkeypatch):
    monkeypatch.setattr(
        together,
        "_cut",
        lambda row, cell, start, last, cut=together._cut: cut(row, cell, 0, last),
    )


def one_count(monkeypatch):
    monkeypatch.setattr(
        together, "_number", lambda cells, j, last: cells[0].updates[0].numbers[j]
    )


def nothing_copied(monkeypatch):
    monkeypatch.setattr(numpy_calls.Calls, "_join", lambda self, node, out: None)


def short_lives(monkeypatch):
    def parts(self, node, top, parts=memory._Planner._parts):
        parts(self, node, {})

    monkeypatch.setattr(memory._Planner, "_parts", parts)


def agree():
    agrees_with_eager(Net)


def stay_exact():
    test_exact_changes_no_sum("SGD")


MUTANTS = [
    (wrong_ones, agree),
    (wrong_order, agree),
    (nothing_copied, agree),
    (no_layer_is_whole, test_a_small_layer_is_one_product_each_way),
    (each_alone, test_adam_takes_one_root_for_all_small_parameters),
    (one_count, test_parameters_may_have_counts_of_their_own),
    (never_exact, stay_exact),
    (written_elsewhere, test_parameters_stay_where_they_are),
    (lent_is_given, test_a_gradient_that_was_read_stays),
    (the_first_array, test_a_new_array_of_a_parameter_is_used),
    (short_lives, test_what_is_joined_by_the_user_equals_eager),
    (slope_at_zero, test_relu_is_eagers_at_its_edges),
    (the_same_piece, test_a_held_array_is_cut_with_the_block_that_reads_it),
    (no_copies, test_equal_results_are_two_arrays),
]


@pytest.mark.parametrize(("mutant", "law"), MUTANTS)
def test_mutants_are_noticed(mutant, law, monkeypatch):
    """Each mistake of a plan or a source is noticed by the law that names it."""
    law()
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)) as noticed:
        law()
    assert "the mutant is no different" not in str(noticed.value)
