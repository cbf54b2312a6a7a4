"""Long arrays in compiled steps: written where they were read, in pieces, no copies."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler import memory
from tinygrad_nn.errors import DivergedError

OPTIMIZERS = {
    "Adam": lambda W: tg.optim.Adam([W], lr=0.01),
    "AdamW": lambda W: tg.optim.AdamW([W], lr=0.01),
    "momentum": lambda W: tg.optim.SGD([W], lr=0.1, momentum=0.9),
    "Nesterov": lambda W: tg.optim.SGD([W], lr=0.1, momentum=0.9, nesterov=True),
    "RMSProp": lambda W: tg.optim.RMSProp([W], lr=0.01),
}


def made(optimizer):
    """Return a step on a parameter that is updated alone, its data, the parameter."""
    rng = np.random.default_rng(0)
    W = tg.Parameter(rng.normal(size=(80, 60)), name="W")
    update = OPTIMIZERS[optimizer](W)

    def step(X):
        loss = tg.mean((X @ W - W[0]) ** 2)
        update.minimize(loss)
        return loss

    return step, rng.normal(size=(20, 80)), W, update


def agrees(optimizer, exact):
    """Raise where ten compiled steps differ from ten eager ones."""
    step, X, W, update = made(optimizer)
    other, _, V, other_update = made(optimizer)
    compiled = tg.compile(other, exact=exact)
    tolerance = 0.0 if exact else 1e-12
    for i in range(10):
        pairs = [(step(X + i).item(), compiled(X + i).item()), (W.data, V.data)]
        states = zip(update._states[0], other_update._states[0], strict=True)
        for a, b in pairs + list(states):
            assert np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))
    return compiled


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_in_place_equal_eager(optimizer, exact):
    """Values and states are eager's, whatever is computed right where they lie."""
    agrees(optimizer, exact)


def test_an_average_shrinks_where_it_lies():
    """What is left of the old mean is written over it, and so for the mean square."""
    source = agrees("Adam", exact=False).source
    assert "multiply(number_0_9, mean_W, mean_W)" in source
    assert "multiply(number_0_999, square_W, square_W)" in source


def test_a_parameter_stays_where_its_update_is_not_finite():
    """With check_finite a parameter is written once all of its update is known."""
    step, X, W, update = made("AdamW")
    compiled = tg.compile(step, check_finite=True)
    compiled(X)
    update._states[0][1][0, 0] = np.nan
    before = W.data.copy()
    with pytest.raises(DivergedError):
        compiled(X)
    assert np.array_equal(W.data, before)


def test_a_value_that_is_overwritten_too_early_is_noticed(monkeypatch):
    """Nothing may stand in a parameter's place that is still to be read."""

    def early(self, node, leaf, first):
        for x in memory.inputs_of(node):
            if x in self.position and x not in self.buffers.direct:
                self.buffers.direct[x] = leaf

    monkeypatch.setattr(memory._Planner, "_early", early)
    with pytest.raises(AssertionError):
        agrees("momentum", exact=True)


def long(x):
    """Return a long chain's sum, which is asked for with its gradient."""
    return np.sum(np.tanh(x) * np.exp(-x * x) + np.log(1 + x * x))


def gives_its_gradient(**settings):
    """Raise where value or gradient of a chain in blocks are not those of eager."""
    x = np.random.default_rng(0).normal(size=300_001)
    step = tg.value_and_grad(long)
    wanted, given = step(x), tg.compile(step, **settings)
    for _ in range(2):
        for a, b in zip(wanted, given(x), strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert np.max(np.abs(a - b)) <= 1e-12 * np.max(np.abs(a))
    return given


@pytest.mark.parametrize("exact", [True, False])
def test_a_chain_in_blocks_equals_eager(exact):
    """What stands in a result's array for a time does not change the result."""
    assert "for cut, " in gives_its_gradient(exact=exact).source


def test_the_first_of_a_chain_stands_in_the_array_of_the_last():
    """In a block the array of the gradient holds the tangent that it begins with."""
    (line,) = (
        line for line in gives_its_gradient().source.splitlines() if "= tanh(" in line
    )
    assert line.endswith("_out)")


def test_what_is_read_again_is_not_overwritten(monkeypatch):
    """A value that stands in a result's array lives until its last reader."""

    def within(self, block, last):
        whole = next(node for node in block.nodes[::-1] if node not in block.inner)
        self.buffers.within |= dict.fromkeys(block.nodes[:4], whole)

    monkeypatch.setattr(memory._Planner, "_within", within)
    with pytest.raises(AssertionError):
        gives_its_gradient()


def test_operands_of_another_dtype_or_shape_need_no_buffer_of_numpys():
    """A row, a column, or what is to be cast is copied to memory of the step's own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 200))
    others = {
        "row": rng.normal(size=(1, 200)),
        "column": rng.normal(size=(300, 1)),
        "single": x.astype(np.float32),
        "label": rng.integers(0, 2, size=x.shape),
    }
    for other in others.values():
        step = lambda x, y: tg.sum(tg.tanh(x * y + y))
        compiled = tg.compile(step)
        for _ in range(3):
            assert np.isclose(compiled(x, other).item(), step(x, other).item(), 1e-12)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            compiled(x, other)
            assert tracemalloc.get_traced_memory()[1] - before < 10_000
        finally:
            tracemalloc.stop()
