"""Random training steps, compiled, do what they do eagerly; and what fell out of them."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import fuzz_compiled
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DataError, ShapeError

both_ways = pytest.mark.parametrize("exact", [True, False], ids=["exact", "optimised"])


def hold(seed, backend, *, exact):
    case = fuzz_compiled.made(seed, exact=exact, backend=backend)
    found = fuzz_compiled.differs(case)
    assert found is None, f"{found}\n{case.report()}"


@both_ways
@pytest.mark.parametrize("part", range(4))
def test_some_random_steps_equal_eager(part, exact):
    """Whatever a random step computes and changes, compiled it does the same."""
    for seed in range(5 * part, 5 * part + 5):
        hold(seed, "numpy", exact=exact)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
@pytest.mark.parametrize("part", range(10))
def test_many_random_steps_equal_eager(part, backend):
    """Whatever a random step computes and changes, compiled it does the same."""
    if backend == "jax":
        pytest.importorskip("jax")
    count = {"numpy": 40, "c": 8, "jax": 3}[backend]
    for seed in range(1000 * part, 1000 * part + count):
        hold(seed, backend, exact=backend == "numpy" and bool(seed % 2))


def test_a_case_that_differs_is_found_and_made_smaller(monkeypatch):
    """The search is not vacuous: a sine that is compiled to a cosine is reported."""
    case = fuzz_compiled.Case(
        seed=0,
        setup=("W0 = tg.Parameter(np.ones(3))", "W1 = tg.Parameter(np.ones(2))"),
        body=("v0 = W1 * 2", "v1 = tg.sin(W0)", "v2 = v1 + 1"),
        results=("v0", "v2", "None"),
        actions=(("call", 0, 4), ("call", 1, 4)),
    )
    assert fuzz_compiled.differs(case) is None
    step = tg.compiler.step.CompiledStep
    run = step.__call__
    wrong = lambda self, *args: [x if i != 1 else x + 1 for i, x in enumerate(run(self, *args))]  # fmt: skip
    monkeypatch.setattr(step, "__call__", wrong)
    found = fuzz_compiled.differs(fuzz_compiled.replace(case, results=("v0", "v2")))
    assert found is not None


# --- what fell out -------------------------------------------------------------------


def same(make, calls=3, *, exact=True, feed=lambda i: ()):
    """Hold a step to its eager twin: results, and everything that it closes over."""
    (eager, watched), (step, mixed) = make(), make()
    compiled = tg.compile(step, exact=exact)
    for i in range(calls):
        wanted = eager(*map(tg.Tensor, feed(i)))
        got = compiled(*feed(i))
        for x, y in [*zip(got, wanted, strict=True), *zip(mixed, watched, strict=True)]:
            x, y = (
                z.numpy() if isinstance(z, tg.Tensor) else np.asarray(z) for z in (x, y)
            )
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            assert x.tobytes() == y.tobytes() if exact else np.allclose(x, y, 1e-11)
    return compiled


def moved(*shapes, **settings):
    """Parameters of ones and twos, and an optimiser of them."""
    parameters = [
        tg.Parameter(np.arange(1.0, 1 + np.prod(shape)).reshape(shape))
        for shape in shapes
    ]
    return *parameters, tg.optim.SGD(parameters, 0.1, **settings)


@both_ways
def test_a_check_after_an_update(exact):
    """What is checked is computed before anything is updated, wherever it stands."""

    def make():
        W, optimizer = moved(3)

        def step(y):
            optimizer.minimize((W * W).sum())
            return (tg.losses.hinge(W, 2 * y - 1),)

        return step, [W]

    compiled = same(make, exact=exact, feed=lambda i: (np.array([1, 0, i % 2]),))
    step, (W,) = make()
    compiled = tg.compile(step, exact=exact)
    compiled(np.array([1, 0, 1]))
    before = W.data.copy()
    with pytest.raises(DataError):
        compiled(np.array([1, 0, 3]))
    assert W.data.tolist() == before.tolist()


@both_ways
def test_a_draw_that_nothing_needs_after_an_update(exact):
    """Generators give the numbers that eager draws, in its order."""

    def make():
        W, optimizer = moved(3)
        drop = tg.nn.Dropout(0.5, rng=np.random.default_rng(0))

        def step():
            drop(W)
            h = drop(W * 2)
            optimizer.minimize((h * h).sum())
            late = drop(W * 3)
            drop(W)
            return h, late

        return step, [W]

    same(make, exact=exact)


@both_ways
@pytest.mark.parametrize("shape", [(1, 1), (1,), ()])
def test_a_result_of_one_number_is_no_view_of_its_parameter(shape, exact):
    """A mean over one element is what it was, whatever becomes of the parameter."""

    def make():
        W, optimizer = moved(shape)

        def step():
            cost = W.mean(axis=-1, keepdims=True).mean() if shape else W.mean()
            optimizer.minimize(cost)
            return (cost,)

        return step, [W]

    same(make, exact=exact)


def test_a_view_of_one_number_follows_its_parameter():
    """A view of a parameter () shows what an update wrote into it."""

    def make():
        W, optimizer = moved(())

        def step():
            optimizer.minimize(W * W)
            view = W.reshape(1, -1)
            optimizer.minimize((view * view).sum())
            return view, view * 2

        return step, [W]

    same(make)


@both_ways
def test_a_rate_that_is_repeated(exact):
    """The gradient of a mean of one number is a number, and so is its step."""

    def make():
        W = tg.Parameter(np.ones((1, 1)))
        optimizer = tg.optim.RMSProp([W], 0.1)

        def step():
            optimizer.minimize(0.1 * np.mean(W).sum())
            return ()

        return step, [W]

    same(make, exact=exact)


@pytest.mark.parametrize("subscripts", ["ij->ji", "ii->i", "...i->i...", "ij", "ij->j"])
def test_einsum_of_one_operand_is_an_array_of_its_own(subscripts):
    """Where NumPy gives a view: -0.0 stays, and no update or later call shows."""

    def make():
        W, optimizer = moved((2, 2))
        W.data[0, 0] = -0.0

        def step():
            h = np.einsum(subscripts, W)
            fresh = np.einsum(subscripts, W * 2)
            optimizer.minimize((W * W).sum())
            return h, fresh, h - 0.0

        return step, [W]

    compiled = same(make)
    (_, held, _) = compiled()
    before = held.numpy().copy()
    compiled()
    assert held.numpy().tolist() == before.tolist()


def test_a_gradient_after_an_update_takes_the_careful_way_too():
    """0 times an infinity of a branch that is not taken is 0 in every backward."""

    def make():
        W, V, optimizer = moved(3, 3)

        def step(x):
            optimizer.minimize((V * V).sum())
            h = W * x
            with np.errstate(divide="ignore", invalid="ignore"):
                tg.where(h > 0, tg.log(h), 0.0).sum().backward()
            return (tg.Tensor(W.grad) if isinstance(W.grad, np.ndarray) else W.grad,)

        return step, [W, V]

    same(make, feed=lambda i: (np.array([1.0, 0.0, -1.0]) * (i != 0) + (i == 0),))


def test_a_sum_after_an_update_goes_through_memory_as_in_eager():
    """A parameter keeps the order of its axes when it is updated in place."""

    def make():
        rng = np.random.default_rng(0)
        W = tg.Parameter(rng.normal(size=(2, 3, 5)).T)
        x = tg.Tensor(rng.normal(size=(5, 3, 2)))
        optimizer = tg.optim.SGD([W], 0.1)

        def step():
            optimizer.minimize((W * x).sum())
            return (tg.tanh(W).sum(),)

        return step, [W]

    same(make, 10)


def test_an_index_beyond_the_end_is_the_error_of_eager():
    """At a later call, too, it is a ShapeError, and nothing is updated."""
    W, optimizer = moved(2)

    def step(i):
        cost = (W[i] ** 2).sum()
        optimizer.minimize(cost)
        return cost

    compiled = tg.compile(step)
    compiled(np.array([0, 1]))
    before = W.data.copy()
    with pytest.raises(ShapeError, match=r"out of bounds.*recorded at"):
        compiled(np.array([0, 2]))
    assert W.data.tolist() == before.tolist()


@both_ways
def test_a_step_that_fails_draws_nothing(exact):
    """Generators stand where they stood, though the draw came before the error."""
    rng = np.random.default_rng(0)
    drop = tg.nn.Dropout(0.5, rng=rng)
    compiled = tg.compile(lambda x, i: drop(x)[i], exact=exact)
    compiled(np.ones(3), np.array([0]))
    before = repr(rng.bit_generator.state)
    with pytest.raises(ShapeError):
        compiled(np.ones(3), np.array([3]))
    assert repr(rng.bit_generator.state) == before


def test_a_number_less_a_column_in_a_softmax():
    """An identity is not tried on an operand that lacks the axis it names."""

    def make():
        W, V, optimizer = moved((2, 1), ())

        def step():
            h = np.log(tg.softmax(V * 3 - W))
            optimizer.minimize((h * h).sum() + (tg.exp(-h * h) * V).sum())
            return (h,)

        return step, [W, V]

    same(make, exact=False)


@both_ways
def test_a_gradient_after_an_update_passes_what_no_grad_read_before(exact):
    """What `no_grad` recorded has no graph, and is not stale."""

    def make():
        W, V, optimizer = moved((3,), (3,))

        def step():
            with tg.no_grad():
                low = tg.min(W)
            optimizer.minimize((W * W).sum())
            return tg.gradients((V.detach() * low * V.detach() * tg.exp(x)).sum(), [x])

        x = tg.Tensor(np.ones(3))
        return step, [W, V]

    same(make, exact=exact)


@pytest.mark.parametrize("axis", [0, -2, -1])
def test_a_softmax_keeps_the_order_of_axes(axis):
    """Sums of what it gives go through memory as they do in eager."""

    def make():
        def step(x):
            return tg.log_softmax(x, axis).mean(), tg.softmax(x, axis).sum((0, 1))

        return step, []

    def columns(i):
        return (np.random.default_rng(i).normal(size=(5, 3, 4)).T,)

    same(make, 20, feed=columns)


def test_an_argument_in_another_order_is_another_signature_where_bits_count():
    """Rows and columns of one shape are summed in their own order."""

    def make():
        W = tg.Parameter(np.array([0.3, -0.7]))

        def step(x):
            return (tg.logsumexp(W.mean() * tg.tanh(x)), (x * 0.1).sum())

        return step, [W]

    def feed(i):
        x = np.random.default_rng(i).normal(size=(40, 2))
        return (np.asfortranarray(x) if i % 2 else x,)

    assert same(make, 10, feed=feed).traces == 2
    assert same(make, 10, feed=feed, exact=False).traces == 1


# --- memory --------------------------------------------------------------------------


NUMBERS = {
    "a multiple": lambda v, b: (v * 3).sum(),
    "a mean turned over": lambda v, b: (-(v * 0.3)).mean(),
    "two numbers": lambda v, b: (v * 3).sum() + (v * 2).mean(),
    "another axis first": lambda v, b: (-v).sum(0).sum(),
    "a turn": lambda v, b: (-(v * 2).T).sum(),
    "a column": lambda v, b: (-(v * 2 + b)).sum(),
    "another dtype": lambda v, b: (tg.astype(v, np.float64) * 3).sum(),
    "another dtype and a column": lambda v, b: tg.astype(v * 2 + b, np.float64).sum(),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_gradient_of_one_number_has_no_layout(name):
    """A number that stands for an array leaves the other's order of axes to a sum."""

    def make():
        rng = np.random.default_rng(5)
        W, b, c = (
            tg.Parameter(rng.normal(size=size).T.astype("f4"))
            for size in ((7, 13), (1, 13), (1,))
        )

        def step():
            v = W * W + c
            cost = NUMBERS[name](v * 1.0, b) + (v * v * v).std()
            cost.backward()
            return ()

        return step, [W, b, c]

    (eager, (*_, wanted)), (step, (*_, got)) = make(), make()
    compiled = tg.compile(step, exact=True)
    for scale in 1.0, 1.1, 1.2, 1.3:
        for run, c in (eager, wanted), (compiled, got):
            c.data = np.array([scale], "f4")
            c.zero_grad()
            run()
        assert got.grad.tobytes() == wanted.grad.tobytes()


def test_a_gradient_of_one_number_that_is_read_lies_in_rows():
    """What ``.grad`` shows of a mean is an array in NumPy's own order."""

    def make():
        rng = np.random.default_rng(3)
        W = tg.Parameter(rng.normal(size=(7, 13)).T.astype("f4"))
        V = tg.Parameter(rng.normal(size=(7, 13)).astype("f4"))

        def step(scale):
            W.zero_grad()
            V.zero_grad()
            ((W * 0.1).mean() + (V.T * (W * 0.5).sum()).sum()).backward()
            w, v = W * scale, V * scale
            return (w * W.grad).sum(), (v * V.grad).sum(), (w * V.grad.T).sum()

        return step, []

    same(make, 20, feed=lambda i: (np.array(1 + i / 7, "f4"),))


def test_a_mean_along_no_axis_has_no_negative_zero():
    """A sum of one number begins at 0, so -0.0 becomes 0.0."""
    same(lambda: (lambda x: (np.mean(x * 0.0, axis=(), keepdims=True) * 1,), []), feed=lambda i: (np.array([-1.0, 2.0]),))  # fmt: skip


def test_nothing_less_than_a_parameter():
    """An identity is tried on a number of the user's as well."""

    def make():
        W = tg.Parameter(np.arange(6.0).reshape(2, 3))

        def step():
            v = tg.log_softmax(W - 0, 0)
            ((v - v.mean()).std() + v.sum()).backward()
            return (W.grad,)

        return step, []

    (eager, _), (step, _) = make(), make()
    (wanted,), (got,) = eager(), tg.compile(step)()
    assert np.allclose(got.numpy(), wanted, 1e-12)


@both_ways
def test_a_result_that_a_mask_multiplies_keeps_its_dtype(exact):
    """Whole numbers that stand for a mask make no float64 of float32."""

    def make():
        W = tg.Parameter(np.array([[0.5, -0.25]], "f4"))

        def step():
            tg.relu(tg.relu(W) - 0.125).mean().backward()
            return (W.grad,)

        return step, []

    same(make, exact=exact)


def test_einsum_of_an_operand_that_is_repeated():
    """What is repeated in eager is repeated compiled: einsum sums it in another way."""

    def make():
        rng = np.random.default_rng(1)
        W = tg.Parameter(rng.normal(size=(3, 1, 1)))
        V = tg.Parameter(rng.normal(size=(3, 1, 2)))

        def step(scale):
            v = np.einsum("...i,...i", W * scale, V)
            (g,) = tg.gradients((v**2).mean(), [W])
            (g**2).sum().backward()
            return W.grad * 1, V.grad * 1

        return step, []

    same(make, 30, feed=lambda i: (np.array(0.3 + i / 7),))


def test_three_hundred_calls_leave_nothing_behind():
    """Memory in use after many calls is what it was after a few."""
    case = fuzz_compiled.made(4)
    twin = fuzz_compiled.Twin(case, exact=True, backend="numpy")
    action = ("call", 0, fuzz_compiled.BATCH)
    for _ in range(5):
        twin.do(action)
    gc.collect()
    tracemalloc.start()
    for _ in range(20):
        twin.do(action)
    first, _ = tracemalloc.get_traced_memory()
    for _ in range(300):
        twin.do(action)
    gc.collect()
    last, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last - first < 20_000


def test_a_dropped_step_is_freed():
    """Nothing holds a compiled step, or the arrays that it closed over."""

    def made():
        W, optimizer = moved((50, 50))

        def step(x):
            cost = ((x @ W) ** 2).mean()
            optimizer.minimize(cost)
            return cost

        compiled = tg.compile(step)
        compiled(np.ones((3, 50)))
        runner = next(iter(compiled._known.values()))[0].runner
        return [weakref.ref(x) for x in (compiled, runner, W)]

    gone = made()
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


@both_ways
def test_compiling_leaves_nothing_to_the_collector(exact):
    """A step that is dropped is gone at once: no references go in a circle."""

    def made():
        W, optimizer = moved((5, 5))
        model = tg.nn.Sequential(
            tg.nn.Dense(5, 4, activation="relu", rng=0),
            tg.nn.Dropout(0.5, rng=0),
            tg.nn.Dense(4, 3, rng=0),
        )

        def step(x, y):
            cost = tg.losses.cross_entropy(model(x @ W), y)
            optimizer.minimize(cost + ((x @ W) ** 2).mean())
            return cost

        compiled = tg.compile(step, exact=exact)
        for _ in range(3):
            compiled(np.ones((3, 5)), np.array([0, 1, 2]))
        return [weakref.ref(x) for x in (compiled, W)]

    made()
    gc.collect()
    gc.disable()
    try:
        gone = [ref() for ref in made()]
        left = gc.collect()
    finally:
        gc.enable()
    assert gone == [None, None]
    assert left == 0
