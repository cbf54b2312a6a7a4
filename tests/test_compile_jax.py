"""Backend ``jax``: the same numbers, the same effects, and nobody sees where values are."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import compile_laws
import numpy as np
import pytest
from compile_members import STEPS, WHOLE

import tinygrad_nn as tg
from tinygrad_nn import recording
from tinygrad_nn.compiler import away, backends
from tinygrad_nn.compiler.jax.state import Residence
from tinygrad_nn.errors import (
    CompileError,
    DivergedError,
    MissingExtraError,
)
from tinygrad_nn.op import REGISTRY
from tinygrad_nn.ops.samples import reals

jax = pytest.importorskip("jax")


def flower(seed=1, make=tg.optim.SGD, **settings):
    """The tutorials' 2-4-1 network, and its parameters and optimiser."""
    rng = np.random.default_rng(seed)
    W1 = tg.Parameter(rng.normal(size=(4, 2)), name="W1")
    b1 = tg.Parameter(np.zeros((4, 1)), name="b1")
    W2 = tg.Parameter(rng.normal(size=(1, 4)), name="W2")
    b2 = tg.Parameter(np.zeros((1, 1)), name="b2")
    optimizer = make([W1, b1, W2, b2], **({"lr": 0.5} | settings))

    def step(X, Y):
        A1 = np.tanh(np.dot(W1, X) + b1)
        A2 = 1 / (1 + np.exp(-(np.dot(W2, A1) + b2)))
        cost = -np.mean(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))
        optimizer.minimize(cost)
        return cost

    return step, optimizer


def petals(columns=60):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, columns)), (rng.random((1, columns)) < 0.5).astype(float)


def classifier(seed=1, dtype=np.float64, dropout=0.0, make=tg.optim.Adam, **settings):
    """Rows of six numbers in three classes, through dense layers."""
    rng = np.random.default_rng(seed)
    layers = [tg.nn.Dense(6, 8, rng=rng), tg.nn.ReLU()]
    if dropout:
        layers.append(tg.nn.Dropout(dropout, rng=np.random.default_rng(7)))
    model = tg.nn.Sequential(*layers, tg.nn.Dense(8, 3, rng=rng))
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(dtype)
        parameter._value = parameter._value.astype(dtype)
    optimizer = make(model, **settings)

    def step(X, labels):
        loss = tg.losses.cross_entropy(model(X), labels)
        optimizer.minimize(loss)
        return loss

    return step, optimizer


def rows(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 6)).astype(dtype), rng.integers(3, size=20)


def close(a, b, tolerance):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert np.max(np.abs(a - b), initial=0) <= tolerance * max(
        1, np.max(np.abs(b), initial=0)
    )


def same(one, other, tolerance=1e-10):
    """Two optimisers have come to the same parameters, gradients and states."""
    for p, q in zip(one.parameters, other.parameters, strict=True):
        close(p.data, q.data, tolerance)
        close(p.grad, q.grad, tolerance)
    mine, yours = one.state(), other.state()
    assert mine.keys() == yours.keys()
    for key, value in mine.items():
        close(value, yours[key], tolerance)


def steps_agree(make, data, tolerance, count=5):
    eager, one = make()
    step, other = make()
    compiled = tg.compile(step, backend="jax")
    for _ in range(count):
        close(compiled(*data).numpy(), eager(*data).numpy(), tolerance)
    same(other, one, tolerance)


# --- the same numbers ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", sorted(n for n, op in REGISTRY.items() if op.samples))
def test_every_op_agrees_with_its_body(name, dtype):
    """Over XLA every op gives NumPy's shapes, dtypes and numbers, for all its samples."""
    op = REGISTRY[name]
    groups = [s.draw(np.random.default_rng(1), dtype) for s in op.samples]

    def apply(groups):
        pairs = zip(groups, op.samples, strict=True)
        return [op.call(*arrays, **sample.settings) for arrays, sample in pairs]

    found = tg.compile(apply, backend="jax")([list(arrays) for arrays in groups])
    for arrays, sample, value in zip(groups, op.samples, found, strict=True):
        expected = op.function(*arrays, **sample.settings)
        np.testing.assert_allclose(
            value.numpy(),
            expected,
            rtol=1e-5 if dtype == np.float32 else 1e-12,
            atol=1e-6 if dtype == np.float32 else 1e-14,
        )
        assert value.dtype == np.asarray(expected).dtype
        assert value.shape == np.shape(expected)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (tg.optim.SGD, {}),
        (tg.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (tg.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
        (tg.optim.AdamW, {"lr": 0.01}),
        (tg.optim.RMSProp, {"lr": 0.01}),
        (tg.optim.SGD, {"lr": tg.optim.schedules.step(0.5, every=2)}),
    ],
)
def test_a_network_learns_as_it_does_eagerly(make, settings):
    """Five steps of float64 end in the same parameters, gradients and states."""
    steps_agree(lambda: flower(make=make, **settings), petals(), 1e-10)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)]
)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_classifier_learns_as_it_does_eagerly(dtype, tolerance, dropout):
    """Softmax, Adam and dropout, whose masks are drawn on the host, in both dtypes."""
    steps_agree(
        lambda: classifier(dtype=dtype, dropout=dropout, lr=0.01),
        rows(dtype),
        tolerance,
    )


NAMED = [name for name in STEPS if name.replace("_", "a").isidentifier()]
OTHERS = [
    pytest.param(name, marks=pytest.mark.slow) for name in STEPS if name not in NAMED
]


@pytest.mark.parametrize("name", [*NAMED, *WHOLE, *OTHERS])
def test_steps_equal_eager(name, monkeypatch):
    """Steps of every kind, eager and over XLA in turn, do what eager steps do."""
    make = (STEPS | WHOLE)[name]
    tolerance = {"f8": 1e-10, "f4": 1e-4, "f2": 2e-2}
    monkeypatch.setattr(compile_laws, "TOLERANCE", tolerance)
    compile_laws.equals_eager(
        make, exact=False, steps=4, interleaved=True, backend="jax"
    )


@pytest.mark.parametrize(
    "law",
    [
        compile_laws.arguments_stay,
        compile_laws.results_stay,
        compile_laws.gradients_stay,
        compile_laws.traces_once,
    ],
)
@pytest.mark.parametrize("name", ["planar flower", "digits, dropout"])
def test_what_is_handed_out_stays(law, name, monkeypatch):
    """Arguments, results and gradients are what they were, however many steps follow."""
    monkeypatch.setattr(tg, "compile", functools.partial(tg.compile, backend="jax"))
    law(WHOLE[name])


def test_missing_paths_are_no_zero_paths():
    """where(x > 0, log(x), 0) has gradient 0 at x = 0, though XLA raises no flag."""

    @tg.compile(backend="jax")
    def slope(x):
        return tg.grad(lambda x: tg.where(x > 0, tg.log(x), 0.0).sum())(x)

    slope(np.array([1.0, 2.0]))  # NumPy warns of a trace at 0, and is right
    assert slope(np.array([0.0, 2.0])).tolist() == [0.0, 0.5]


# --- the same effects ----------------------------------------------------------------


def test_eager_and_compiled_steps_take_turns():
    """Steps on one model may be run in any way, in any order."""
    eager, one = flower(make=tg.optim.Adam, lr=0.05)
    step, other = flower(make=tg.optim.Adam, lr=0.05)
    ways = [tg.compile(step, backend="jax"), step, tg.compile(step)]
    for i in [0, 1, 0, 0, 2, 0, 1, 1, 2, 0]:
        close(ways[i](*petals()).numpy(), eager(*petals()).numpy(), 1e-10)
    same(other, one)


def test_two_signatures_share_one_model():
    """A last batch of another size goes on from where the others came to."""
    eager, one = classifier(lr=0.01)
    step, other = classifier(lr=0.01)
    compiled = tg.compile(step, backend="jax")
    X, labels = rows()
    for size in (20, 20, 7, 20, 7, 7, 20):
        batch = X[:size], labels[:size]
        close(compiled(*batch).numpy(), eager(*batch).numpy(), 1e-10)
    assert compiled.traces == 2
    same(other, one)


def changes_are_seen(change):
    """What a user does to values between steps has its effect."""
    eager, one = flower(make=tg.optim.SGD, lr=0.1, momentum=0.9)
    step, other = flower(make=tg.optim.SGD, lr=0.1, momentum=0.9)
    compiled = tg.compile(step, backend="jax")
    for run, optimizer in ((eager, one), (compiled, other)):
        run(*petals())
        run(*petals())
        change(optimizer)
        run(*petals())
        run(*petals())
    same(other, one)


def assigned(optimizer):
    optimizer.parameters[0].data = np.ones((4, 2))


def written_through_data(optimizer):
    optimizer.parameters[2].data[0, 1] = 3.0


def written_in_place(optimizer):
    with tg.no_grad():
        W = optimizer.parameters[0]
        W -= 0.5 * W


def loaded(optimizer):
    state = optimizer.state()
    state["parameters.0.velocity"] = state["parameters.0.velocity"] * 2
    optimizer.load_state(state)


def slowed_down(optimizer):
    optimizer.lr = 0.01


CHANGES = [assigned, written_through_data, written_in_place, loaded, slowed_down]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_between_steps_are_seen(change):
    """Values, states and rates are read live, wherever they were before."""
    changes_are_seen(change)


def held_arrays_follow():
    """An array that the user holds has the new values after every call."""
    array = np.array([3.0, 4.0])
    whole = np.zeros((2, 2))
    w, v = tg.Parameter(array, name="w"), tg.Parameter(whole[1], name="v")
    u = tg.Parameter([1.0, 1.0], name="u")
    optimizer = tg.optim.SGD([u, v, w], lr=0.25)

    @tg.compile(backend="jax")
    def step(x):
        loss = ((w - x) ** 2 + (v - x) ** 2 + (u - x) ** 2).sum()
        optimizer.minimize(loss)
        return loss

    late = None
    for expected in ([1.5, 2.0], [0.75, 1.0], [0.375, 0.5]):
        step(np.zeros(2))
        if late is None:
            late = u.data
            before = late.copy()
        assert array.tolist() == expected
        assert whole.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert late.tolist() == (before / 4).tolist()
    array[:] = 8.0
    step(np.zeros(2))
    assert array.tolist() == [4.0, 4.0]
    whole[1] = 2.0
    step(np.zeros(2))
    assert whole.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_held_arrays_follow():
    """An array that someone holds, given or got, is live in both directions."""
    held_arrays_follow()


def test_values_stay_on_the_device_until_they_are_read():
    """Between steps nothing is copied: a parameter that nobody sees stays away."""
    step, optimizer = flower(make=tg.optim.Adam, lr=0.01)
    W, *_, b2 = optimizer.parameters
    compiled = tg.compile(step, backend="jax")
    compiled(*petals())
    runner = compiled._last.runner.residence
    array = away.array_of(W)
    before = array.copy()
    del array
    compiled(*petals())
    assert away.is_away(W, runner)
    assert np.array_equal(away.array_of(W), before)
    assert not np.array_equal(W.data, before)
    assert not away.is_away(W, runner)
    assert away.is_away(b2, runner)
    compiled(*petals())
    assert away.is_away(W, runner)


def test_a_parameter_that_is_away_is_itself():
    """Kind, copies, pickles and text of a parameter do not say where its value is."""
    step, optimizer = flower()
    W = optimizer.parameters[0]
    compiled = tg.compile(step, backend="jax")

    def gone():
        compiled(*petals())
        assert away.is_away(W, compiled._last.runner.residence)
        return W

    assert isinstance(gone(), tg.Parameter)
    assert type(gone()).__name__ == "Parameter"
    copied = copy.deepcopy(gone())
    assert type(copied) is tg.Parameter
    assert np.array_equal(copied.data, W.data)
    loaded = pickle.loads(pickle.dumps(gone()))
    assert type(loaded) is tg.Parameter
    assert np.array_equal(loaded.data, W.data)
    assert repr(gone()) == repr(tg.Parameter(W.data.copy(), "W1"))
    assert gone().shape == (4, 2)
    gone()
    twin = copy.deepcopy(optimizer)
    assert np.array_equal(twin.parameters[1].data, optimizer.parameters[1].data)


def test_what_an_optimiser_remembers_comes_home():
    """Copies, pickles and `state` have the averages of the last step."""
    eager, one = flower(make=tg.optim.Adam, lr=0.01)
    step, other = flower(make=tg.optim.Adam, lr=0.01)
    compiled = tg.compile(step, backend="jax")
    for look in (
        tg.optim.Adam.state,
        copy.deepcopy,
        lambda o: pickle.loads(pickle.dumps(o)),
    ):
        eager(*petals()), compiled(*petals())
        twin = look(other)
        state = twin if isinstance(twin, dict) else twin.state()
        for key, value in one.state().items():
            close(state[key], value, 1e-10)
        same(other, one)


def test_an_eager_graph_becomes_stale():
    """A backward through values that a compiled step replaced is refused."""
    step, optimizer = flower()
    compiled = tg.compile(step, backend="jax")
    W = optimizer.parameters[0]
    loss = (W * W).sum()
    compiled(*petals())
    with pytest.raises(tg.errors.MutationError):
        loss.backward()


def test_gradients_wait_for_a_step_that_comes_later():
    """A compiled backward adds to what is there, as the eager one does."""
    w, v = tg.Parameter([1.0, 2.0]), tg.Parameter([1.0, 2.0])

    def backward(w):
        def run(x):
            loss = (w * x).sum()
            loss.backward()
            return loss

        return run

    eager, compiled = backward(w), tg.compile(backward(v), backend="jax")
    for x in (np.ones(2), np.array([2.0, 3.0]), np.ones(2)):
        eager(x), compiled(x)
        assert v.grad.tolist() == w.grad.tolist()
    held = v.grad
    compiled(np.ones(2))
    assert held.tolist() == w.grad.tolist()


def test_results_are_arrays_of_their_own():
    """A result can be written to, and no later call changes it."""
    step = tg.compile(lambda x: (x * 2, x, x.sum()), backend="jax")
    x = np.arange(3.0)
    twice, once, total = (r.numpy() for r in step(x))
    step(x + 1)
    assert twice.tolist() == [0.0, 2.0, 4.0]
    assert total == 3.0
    once[:] = 7
    twice[:] = 7
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_arrays_that_a_function_closes_over_are_read_anew():
    """A constant, an index and a mask of the user's are held by reference."""
    scale, index = np.array([1.0, 2.0, 3.0]), np.array([0, 2])
    mask = np.array([True, False, True])
    step = tg.compile(
        lambda x: ((x * scale)[index].sum(), x[mask].sum()), backend="jax"
    )
    x = np.array([1.0, 10.0, 100.0])
    assert [r.item() for r in step(x)] == [301.0, 101.0]
    scale[:] = 1
    index[:] = 1
    mask[:] = [False, True, True]
    assert [r.item() for r in step(x)] == [20.0, 110.0]
    mask[:] = True
    with pytest.raises(CompileError, match="picks 3"):
        step(x)


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_arrays_of_jax_are_arguments(backend):
    """An array that JAX has already is taken as it is, in the same program."""
    step = tg.compile(lambda x, y: (x * y).sum(), backend=backend)
    x, y = np.arange(3.0), np.ones(3)
    there = jax.numpy.asarray(x.astype(np.float32))
    x, y = x.astype(np.float32), y.astype(np.float32)
    for first in (x, there, there, x):
        assert step(first, y).item() == 3.0
    assert step.traces == 1


def test_an_argument_that_is_written_to_is_another():
    """What an array holds counts, not which array it is; signs and nan included."""
    step = tg.compile(lambda x: 1 / x, backend="jax")
    x = np.full(3, 2.0)
    for value in (2.0, 2.0, 4.0, 4.0, 4.0, np.inf, -np.inf, np.nan, 2.0):
        x[1] = value
        for _ in range(2):
            assert step(x).numpy().tobytes() == (1 / x).tobytes()


# --- rates, repeats ------------------------------------------------------------------


def test_a_new_learning_rate_compiles_nothing():
    """Rates and counts are inputs of the program: XLA compiles it once."""
    step, optimizer = flower(make=tg.optim.Adam, lr=0.1)
    compiled = tg.compile(step, backend="jax")
    for rate in (0.1, 0.01, 0.5):
        optimizer.lr = rate
        compiled(*petals())
        compiled(*petals())
    assert compiled.traces == 1
    assert compiled._last.runner.compilations == 1


def repeats_are_steps(n=6):
    """repeat(n) is n calls: rates, counts, random numbers and state advance."""
    settings = {
        "make": tg.optim.Adam,
        "lr": lambda step: 0.1 / (1 + step),
        "dropout": 0.5,
    }
    step, one = classifier(**settings)
    other_step, other = classifier(**settings)
    single = tg.compile(step, backend="jax")
    several = tg.compile(other_step, backend="jax")
    single(*rows())
    several(*rows())
    for _ in range(n):
        last = single(*rows())
    close(several.repeat(n, *rows()).numpy(), last.numpy(), 1e-10)
    same(other, one)
    close(several(*rows()).numpy(), single(*rows()).numpy(), 1e-10)
    same(other, one)


def test_repeats_are_steps():
    """repeat(n) is n calls, and the next call goes on from there."""
    repeats_are_steps()


@pytest.mark.parametrize("name", ["planar flower", "digits, dropout", "weather, Adam"])
def test_repeats_of_whole_networks_are_steps(name):
    """repeat(3) leaves what three eager steps leave, and returns what the last does."""
    eager, other = WHOLE[name](), WHOLE[name]()
    compiled = tg.compile(other.step, backend="jax")
    arguments = eager.feed(0)
    for _ in range(3):
        wanted = eager.step(*compile_laws.tensors(arguments))
    got = compiled.repeat(3, *arguments)
    for a, b in zip(compile_laws.flat(got), compile_laws.flat(wanted), strict=True):
        close(a.numpy(), b.numpy(), 1e-9)
    for (_, a), (_, b) in zip(
        *map(compile_laws.snapshot, (other.watched, eager.watched)), strict=True
    ):
        if isinstance(b, (np.ndarray, float)):
            close(a, b, 1e-9)
        else:
            assert type(a) is type(b)
            assert a == b


def test_repeats_of_many_random_numbers_come_in_pieces(monkeypatch):
    """Random numbers are drawn for as many steps as memory allows, and no more."""
    from tinygrad_nn.compiler.jax import runner

    monkeypatch.setattr(runner, "TABLE", 8 * 20 * 8 * 4)
    repeats_are_steps()


def test_repeats_with_checks_are_steps():
    """A step that may be refused is repeated one by one."""
    step, one = flower()
    other_step, other = flower()
    single = tg.compile(step, backend="jax")
    several = tg.compile(other_step, backend="jax", check_finite=True)
    for _ in range(3):
        single(*petals())
    several.repeat(3, *petals())
    same(other, one)


# --- what is refused -----------------------------------------------------------------


def test_a_missing_jax_is_an_error_that_names_the_extra(monkeypatch):
    """Without JAX the backend says how to get it, when it is asked for."""
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tinygrad_nn\[jax\]'"):
        tg.compile(lambda x: x + 1, backend="jax")


def test_nan_is_refused_before_anything_changes():
    """check_finite names op and line, and leaves parameters and states as they were."""
    w = tg.Parameter([1.0, 2.0], name="w")
    optimizer = tg.optim.Adam([w], lr=0.1)

    @tg.compile(backend="jax", check_finite=True)
    def step(x):
        loss = tg.log(w * x).sum()
        optimizer.minimize(loss)
        return loss

    step(np.ones(2))
    before, state = w.data.copy(), optimizer.state()
    with pytest.raises(DivergedError, match=r"^log.*test_compile_jax"):
        step(-np.ones(2))
    assert np.array_equal(w.data, before)
    assert optimizer.state().keys() == state.keys()
    for key, value in optimizer.state().items():
        assert np.array_equal(value, state[key])
    step(np.ones(2))
    assert not np.array_equal(w.data, before)


def test_shapes_that_depend_on_values_are_refused():
    """A boolean index that is computed names the line and what to do."""
    step = tg.compile(lambda x: x[x > 0].sum(), backend="jax")
    with pytest.raises(CompileError, match=r"test_compile_jax.*tg\.where"):
        step(np.array([1.0, -1.0]))


def test_checks_of_values_come_before_any_change():
    """A check that a trace noted is made at each call, of arguments and of results."""
    w = tg.Parameter([1.0, 2.0], name="w")
    optimizer = tg.optim.SGD([w], lr=0.1)

    def small(value):
        if np.max(value) > 5:
            raise tg.errors.DataError("expected small numbers")

    def stepping(check):
        @tg.compile(backend="jax")
        def step(x):
            recording.current().trace.guard(check(x), small)
            loss = (w * x).sum()
            optimizer.minimize(loss)
            return loss

        return step

    for check in (lambda x: x, lambda x: x * 1.5):
        step = stepping(check)
        step(np.ones(2))
        before = w.data.copy()
        for run in (step, lambda x, step=step: step.repeat(2, x)):
            with pytest.raises(tg.errors.DataError):
                run(np.array([0.0, 6.0]))
        assert np.array_equal(w.data, before)
        step.repeat(2, np.ones(2))
        assert not np.array_equal(w.data, before)


# --- ops of other people's, and JAX's own state ----------------------------------------


def test_an_op_of_plain_numpy_calls_runs_on_the_device():
    """A body that JAX's namespace can run is compiled; one that looks is called back."""

    @tg.elementwise(
        formula="$x", vjp=lambda g, _out, x: g * (1 + np.cos(x)), samples=reals(1)
    )
    def swirled(x):
        return np.add(x, np.sin(x), dtype=x.dtype)

    @tg.elementwise(formula="$x", vjp=lambda g, _out, x: g * 2, samples=reals(1))
    def looked_at(x):
        return 2 * x if np.asarray(x).any() else x

    try:
        x = np.linspace(-1, 1, 5)
        step = tg.compile(lambda x: (swirled(x), looked_at(x)), backend="jax")
        a, b = step(x)
        close(a.numpy(), x + np.sin(x), 1e-12)
        close(b.numpy(), 2 * x, 1e-12)
    finally:
        del REGISTRY["swirled"], REGISTRY["looked_at"]


def test_a_body_that_refuses_changes_nothing():
    """An error of an op that is called back comes out, and values are as they were."""

    @tg.elementwise(formula="$x", vjp=lambda g, _out, _x: g, samples=reals(1))
    def careful(x):
        if (np.asarray(x) > 5).any():
            raise ValueError("too large")
        return x + 0

    w = tg.Parameter([1.0, 2.0], name="w")
    optimizer = tg.optim.Adam([w], lr=0.1)

    @tg.compile(backend="jax")
    def step(x):
        loss = careful(w * x).sum()
        optimizer.minimize(loss)
        return loss

    try:
        step(np.ones(2))
        before, state = w.data.copy(), optimizer.state()
        step(np.ones(2))
        after = w.data.copy()
        assert not np.array_equal(after, before)
        for run in (step, lambda x: step.repeat(2, x)):
            with pytest.raises(Exception, match="too large"):
                run(np.array([1.0, 9.0]))
            assert np.array_equal(w.data, after)
            assert optimizer.steps == state["steps"] + 1
        step(np.ones(2))
        assert not np.array_equal(w.data, after)
    finally:
        del REGISTRY["careful"]


def test_the_settings_of_jax_stay_as_they_are():
    """float64 is a matter of each call, not of the process."""
    before = jax.config.jax_enable_x64
    step = tg.compile(lambda x: x / 3, backend="jax")
    assert step(np.ones(2)).dtype == np.float64
    assert step(np.ones(2, np.float32)).dtype == np.float32
    assert jax.config.jax_enable_x64 is before


def test_a_value_can_be_read_while_steps_run():
    """Another thread sees the parameters of one step or the next, and no error."""
    step, optimizer = flower()
    compiled = tg.compile(step, backend="jax")
    compiled(*petals())
    W = optimizer.parameters[0]
    faults = []

    def read():
        try:
            for _ in range(200):
                assert np.isfinite(W.data).all()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a fault)
            faults.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(200):
        compiled(*petals())
    thread.join()
    assert not faults


def test_the_source_is_python_over_jax():
    """The text is a module: the user's names, a function of all that it reads."""
    step, _ = flower()
    compiled = tg.compile(step, backend="jax")
    compiled(*petals())
    assert "def step(W1, b1, W2, b2, lr, X, Y):" in compiled.source
    assert "A1 = jnp.tanh(" in compiled.source
    assert "test_compile_jax.py:" in compiled.source
    names = {}
    exec(compiled.source, names)
    assert compiled.memory.planned < compiled.memory.without_reuse


SHARED = """
import sys
sys.path[:0] = [{tests!r}]
import jax, numpy as np
import tinygrad_nn as tg
import test_compile_jax as t
from jax.sharding import Mesh, NamedSharding, PartitionSpec
mesh = Mesh(np.array(jax.devices()), ("data",))
parts = NamedSharding(mesh, PartitionSpec("data"))
eager, one = t.classifier(lr=0.01)
step, other = t.classifier(lr=0.01)
compiled = tg.compile(step, backend="jax")
X, labels = t.rows()
with t.wide():
    there = jax.device_put(X, parts), jax.device_put(labels, parts)
for arguments in (there, there, (X, labels), there):
    eager(X, labels), compiled(*arguments)
t.same(other, one)
assert len(compiled._last.runner.residence._vector.devices()) == len(jax.devices()) == 2
"""


def wide():
    """float64 for arrays of JAX's."""
    from tinygrad_nn.compiler.jax import runner

    return runner._wide(jax)(True)


@pytest.mark.slow
def test_a_batch_in_parts_is_worked_on_by_several_devices():
    """A batch that JAX has spread over devices is one step, on all of them."""
    tests = str(Path(__file__).parent)
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(tg.__file__).parent.parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", SHARED.format(tests=tests)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- mutants -------------------------------------------------------------------------


def test_the_law_of_held_arrays_notices_a_blind_eye(monkeypatch):
    """If every array were thought unseen, the user's would fall behind."""
    from tinygrad_nn.compiler.jax import state

    monkeypatch.setattr(state, "is_unseen", lambda _array: True)
    with pytest.raises(AssertionError):
        held_arrays_follow()


def test_the_law_of_changes_notices_a_value_that_is_left_behind(monkeypatch):
    """If a value that came home were not taken to the device again, it would be lost."""
    plain = Residence.bring_home

    def forgetful(self, *args):
        before = set(self._home)
        plain(self, *args)
        if len(self._vector):
            self._home = before

    monkeypatch.setattr(Residence, "bring_home", forgetful)
    with pytest.raises(AssertionError):
        changes_are_seen(written_through_data)


def test_the_law_of_repeats_notices_frozen_numbers(monkeypatch):
    """If every step of a repeat had the first one's rate, it would be noticed."""
    runner = backends.backend_named("jax")
    plain = runner._scalars
    monkeypatch.setattr(runner, "_scalars", lambda self, *_: plain(self))
    with pytest.raises(AssertionError):
        repeats_are_steps()
