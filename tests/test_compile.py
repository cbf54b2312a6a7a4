"""`tg.compile`: a compiled step is the eager step, with less around it."""

from __future__ import annotations

import gc
import linecache
import pickle
import re
import threading
import tracemalloc
from dataclasses import replace
from typing import NamedTuple

import compile_laws
import compile_members
import laws
import numpy as np
import pytest
from compile_members import STEPS, WHOLE
from members.rows import READS_VALUES
from test_ops import MEMBERS

import tinygrad_nn as tg
from tinygrad_nn import autodiff
from tinygrad_nn.compiler import backends, memory
from tinygrad_nn.compiler import step as step_module
from tinygrad_nn.compiler.trace import Trace
from tinygrad_nn.errors import (
    CompileError,
    DataError,
    DivergedError,
    GradientError,
    MutationError,
    ShapeError,
    TinygradError,
)
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting import common, fold
from tinygrad_nn.tensor import Lent


def _title(member):
    return f"{member.name}-{'_'.join(str(member.sample).split())}"


every_step = pytest.mark.parametrize("name", STEPS)
every_whole = pytest.mark.parametrize("name", WHOLE)
both_ways = pytest.mark.parametrize("exact", [True, False], ids=["exact", "optimised"])


# --- equal results -------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    "member", [m for m in MEMBERS if m.name not in READS_VALUES], ids=_title
)
def test_ops_and_compositions_equal_eager(member, rng, exact):
    """Every op at every sample: value and gradients, bit for bit or to 12 digits."""
    compile_laws.op_equals_eager(member, rng, exact=exact)


@pytest.mark.parametrize("name", sorted(READS_VALUES))
def test_what_reads_values_is_refused(name, rng):
    """A function that looks at numbers would do the same in every later step."""
    member = next(m for m in MEMBERS if m.name == name)
    with pytest.raises(CompileError, match=rf"{name} of .* needs a number"):
        tg.compile(member.value)(*member.sample.draw(rng))


@both_ways
@every_step
def test_steps_equal_eager(name, exact):
    """Five steps from one state leave what five eager steps leave."""
    compile_laws.equals_eager(STEPS[name], exact=exact)


@both_ways
@every_step
def test_steps_may_be_interleaved(name, exact):
    """Compiled and eager steps in turn on one model do what eager steps do."""
    compile_laws.equals_eager(STEPS[name], exact=exact, interleaved=True, steps=4)


@both_ways
@every_whole
def test_examples_equal_eager(name, exact):
    """Every example and tutorial network, five steps."""
    compile_laws.equals_eager(WHOLE[name], exact=exact)


@pytest.mark.slow
@pytest.mark.parametrize("interleaved", [False, True])
@both_ways
@pytest.mark.parametrize("name", [*WHOLE, *STEPS])
def test_two_hundred_steps_equal_eager(name, exact, interleaved):
    """Two hundred steps from one state, bit for bit or to 12 digits."""
    make = WHOLE.get(name) or STEPS[name]
    compile_laws.equals_eager(make, exact=exact, interleaved=interleaved, steps=200)


# --- what a step leaves alone ----------------------------------------------------------

SOME = [
    name
    for name in STEPS
    if " of " not in name or name.endswith(("an argument, mean", "an argument, none"))
]
some_steps = pytest.mark.parametrize("name", SOME)


@some_steps
def test_arguments_stay(name):
    """Arguments may be read-only, and are what they were afterwards."""
    compile_laws.arguments_stay(STEPS[name])


@some_steps
def test_layouts_of_arguments_do_not_matter(name):
    """Traced with arrays in a row, a step is right for turned and scattered ones."""
    compile_laws.layouts_do_not_matter(STEPS[name])


@some_steps
def test_results_stay(name):
    """A result shares memory with nothing, may be written to, and no step changes it."""
    compile_laws.results_stay(STEPS[name])


@some_steps
def test_gradients_stay(name):
    """A gradient once handed out is an array of its own that no later step changes."""
    compile_laws.gradients_stay(STEPS[name])


SIGNATURES = {
    "arguments_of_every_kind": 2,  # two sets of static arguments
    "gradient_of_the_step_before": 2,  # with and without one
    "gradients_from_earlier_calls": 3,  # nothing waits, something does, and a step
    "two_optimisers": 2,  # the second cost leaves gradients of the first's parameters
    "modes_between_steps": 2,
    "cotangent_as_argument": 2,  # gradients wait, or not
    "cotangent_held_outside": 2,
    "clipped_by_value": 2,
}


@some_steps
def test_calls_of_one_signature_are_traced_once(name):
    """However often a step is called, each of its signatures is traced once."""
    compile_laws.traces_once(STEPS[name], SIGNATURES.get(name, 1))


# --- signatures --------------------------------------------------------------------------


def weighted(seed=1, rate=0.1):
    """A step that moves ``w``, (3,), and what it moves."""
    w = tg.Parameter(np.random.default_rng(seed).normal(size=3), name="w")
    optimizer = tg.optim.SGD([w], lr=rate)

    def step(x, scale=1.0):
        cost = ((w * x * scale) ** 2).mean()
        optimizer.minimize(cost)
        return cost

    return w, optimizer, step


@pytest.mark.parametrize(
    "other",
    [
        ((np.ones((4, 3)),), {}),
        ((np.ones((5, 3), np.float32),), {}),
        ((np.ones((5, 3), int),), {}),
        ((np.ones((5, 3)), 2.0), {}),
        ((np.ones((5, 3)), 1), {}),
        ((np.ones((5, 3)),), {"scale": 2.0}),
        ((np.ones((5, 3)), np.ones(3)), {}),
        ((tg.Tensor(np.ones((5, 3))),), {}),
    ],
    ids=["shape", "float32", "integer", "static", "kind", "keyword", "array", "Tensor"],
)
def test_a_new_signature_is_traced_and_an_old_one_is_not(other):
    """Shapes, dtypes and Python values are a part of the signature; each is right."""
    w, _, step = weighted()
    twin, _, eager = weighted()
    compiled = tg.compile(step, exact=True)
    calls = [((np.ones((5, 3)),), {}), other] * 3
    for args, keywords in calls:
        got = compiled(*args, **keywords)
        laws.identical(got.numpy(), eager(*map(tg.Tensor, args), **keywords).numpy())
        laws.identical(w.data, twin.data)
    assert compiled.traces == 2


SETTINGS = {
    "momentum": lambda drop, sgd, adam: sgd.hyperparameters.update(momentum=0.5),
    "weight decay": lambda drop, sgd, adam: sgd.hyperparameters.update(
        weight_decay=0.1
    ),
    "all at once": lambda drop, sgd, adam: setattr(
        sgd, "hyperparameters", {**sgd.hyperparameters, "momentum": 0.25}
    ),
    "eps": lambda drop, sgd, adam: adam.hyperparameters.update(eps=0.1),
    "beta1": lambda drop, sgd, adam: adam.hyperparameters.update(beta1=0.5),
    "rate": lambda drop, sgd, adam: setattr(drop, "rate", 0.25),
    "generator": lambda drop, sgd, adam: setattr(drop, "rng", np.random.default_rng(7)),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_are_seen(name):
    """What an optimiser or a Dropout is set to between two calls counts in the next."""

    def make():
        W, V = tg.Parameter(np.ones((2, 20))), tg.Parameter(np.ones(20))
        drop = tg.nn.Dropout(0.5, rng=0)
        sgd = tg.optim.SGD([W], 0.1, momentum=0.9, weight_decay=0.01)
        adam = tg.optim.Adam([V], 0.1)

        def step(x):
            cost = (drop(x @ W) * V).mean()
            cost.backward()
            sgd.step()
            adam.step()
            return cost

        return (W, V), (drop, sgd, adam), step

    x = np.arange(6.0).reshape(3, 2)
    (wanted, theirs, eager), (got, ours, step) = make(), make()
    compiled = tg.compile(step, exact=True)
    for i in range(6):
        if i == 3:
            SETTINGS[name](*theirs)
            SETTINGS[name](*ours)
        laws.identical(compiled(x).numpy(), eager(tg.Tensor(x)).numpy())
        for mine, other in zip(got, wanted, strict=True):
            laws.identical(mine.data, other.data)
    assert compiled.traces == 2


def test_what_a_step_sets_itself_is_no_setting():
    """A number that a module keeps while it runs makes no program a call."""

    class Counts(tg.nn.Module):
        def __init__(self):
            self.last = 0.0

        def forward(self, x):
            self.last += 1.5
            return x * 2

    model = Counts()
    step = tg.compile(lambda x: model(x).sum())
    for _ in range(3):
        step(np.ones(3))
    assert step.traces == 1


def test_a_step_under_no_grad_is_another_one():
    """What may not be differentiated is refused there, and only there."""
    w, _, step = weighted()
    compiled = tg.compile(step)
    compiled(np.ones((5, 3)))
    before = w.data.copy()
    with tg.no_grad(), pytest.raises(GradientError, match="no_grad"):
        compiled(np.ones((5, 3)))
    laws.identical(w.data, before)
    predict = tg.compile(lambda x: (x * w).sum(1))
    with tg.no_grad():
        quiet = predict(np.ones((5, 3)))
    laws.identical(quiet.numpy(), predict(np.ones((5, 3))).numpy())


def test_a_compiled_step_inside_of_another_becomes_a_part_of_it():
    """It is traced through, not run once."""
    w, _, step = weighted()
    twin, _, eager = weighted()
    inner = tg.compile(step)
    outer = tg.compile(lambda x: (inner(x), inner(x * 0.5)), exact=True)
    for i in range(3):
        outer(np.full((5, 3), i + 1.0))
        eager(tg.Tensor(np.full((5, 3), i + 1.0)))
        eager(tg.Tensor(np.full((5, 3), i + 1.0) * 0.5))
        laws.identical(w.data, twin.data)
    assert inner.traces == 0


def test_decorators_take_settings():
    """With and without brackets, `compile` keeps the name and the docstring."""

    @tg.compile
    def plain(x):
        """Twice."""
        return x * 2

    @tg.compile(exact=True)
    def exact(x):
        return x * 2

    assert (plain.__name__, plain.__doc__, exact.__name__) == (
        "plain",
        "Twice.",
        "exact",
    )
    assert plain(np.ones(2)).tolist() == exact(np.ones(2)).tolist() == [2.0, 2.0]


def test_results_have_the_structure_of_the_function():
    """Dicts, lists, tuples, named tuples, nothing at all; Tensors without a past."""

    class Pair(NamedTuple):
        cost: object
        name: str

    compiled = tg.compile(lambda x: {"a": [x * 1, (x,)], "b": Pair(x.sum(), "sum")})
    found = compiled(np.arange(3.0))
    assert type(found) is dict
    assert type(found["a"]) is list
    assert type(found["a"][1]) is tuple
    assert type(found["b"]) is Pair
    assert found["b"].name == "sum"
    assert found["b"].cost.item() == 3.0
    assert found["a"][0].op is None
    assert not found["a"][0].requires_grad
    assert tg.compile(lambda x: None)(np.ones(2)) is None
    assert tg.compile(lambda x: ())(np.ones(2)) == ()


def test_keywords_may_come_in_any_order():
    """Arrays by keyword are told apart by their names."""
    compiled = tg.compile(lambda x, y, *, z: (x - y) * z)
    x, y, z = np.arange(9.0).reshape(3, 3)
    for _ in range(2):
        wanted = ((x - y) * z).tolist()
        assert (
            compiled(x, y, z=z).tolist() == compiled(z=z, y=y, x=x).tolist() == wanted
        )
        assert compiled(x, z=z, y=y).tolist() == wanted
        x, y = y, x
    assert compiled.traces == 3


@pytest.mark.parametrize("of_parameter", ["w", "lr", "_0", "count", "add", "rng"])
@pytest.mark.parametrize(
    "of_argument", ["x", "lr", "n", "np", "_0", "two", "float", "range"]
)
def test_names_of_the_user_s_do_not_meet_those_of_the_source(of_parameter, of_argument):
    """Whatever parameters and arguments are called, the step is the same."""
    found = []
    for compiles in (False, True):
        w = tg.Parameter(np.arange(3.0) + 1, name=of_parameter)
        optimizer = tg.optim.Adam([w], 0.1)
        names = {"w": w, "optimizer": optimizer}
        exec(
            f"def step({of_argument}, scale):\n"
            f"    cost = (({of_argument} * w) ** 2).sum() * scale\n"
            "    optimizer.minimize(cost)\n"
            "    return cost\n",
            names,
        )
        step = tg.compile(names["step"], exact=True) if compiles else names["step"]
        for i in range(3):
            step(tg.Tensor(np.full(3, i + 1.0)), tg.Tensor(2.0))
        found.append(w.data)
    laws.identical(*found)


def test_repeat_makes_as_many_steps():
    """One call of `repeat` leaves what as many calls leave, and returns the last result."""
    w, optimizer, step = weighted()
    twin, _, eager = weighted()
    x = np.random.default_rng(0).normal(size=(5, 3))
    compiled = tg.compile(step, exact=True)
    got = compiled.repeat(7, x)
    for _ in range(7):
        wanted = eager(tg.Tensor(x))
    laws.identical(got.numpy(), wanted.numpy())
    laws.identical(w.data, twin.data)
    laws.identical(w.grad, twin.grad)
    assert optimizer.steps == 7
    for n in (0, -1, 2.0):
        with pytest.raises(CompileError, match="at least 1"):
            compiled.repeat(n, x)


def test_two_compiled_steps_share_a_model():
    """Each sees what the other has done, gradients of the other's buffers included."""
    model = tg.nn.Dense(3, 2, rng=0)
    optimizer = tg.optim.Adam(model, 0.1)
    twin = tg.nn.Dense(3, 2, rng=0)
    own = tg.optim.Adam(twin, 0.1)

    def training(model, optimizer, power):
        def step(x):
            cost = (model(x) ** power).mean()
            optimizer.minimize(cost)
            return cost

        return step

    x = np.random.default_rng(0).normal(size=(5, 3))
    steps = [tg.compile(training(model, optimizer, p), exact=True) for p in (2, 4)]
    eager = [training(twin, own, p) for p in (2, 4)]
    for i in (0, 1, 1, 0, 1):
        steps[i](x)
        eager[i](tg.Tensor(x))
        if i:
            laws.identical(model.weight.grad, twin.weight.grad)
        laws.identical(model.weight.data, twin.weight.data)
        laws.identical(model.bias.grad, twin.bias.grad)
    copy = pickle.loads(pickle.dumps(model))
    laws.identical(copy.weight.data, model.weight.data)


def test_numbers_that_are_not_finite_are_found_where_they_arise():
    """With check_finite the error names op, layer and line, and nothing is changed."""
    model = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=0), tg.nn.Tanh())
    optimizer = tg.optim.SGD(model, 0.1)

    def step(x):
        cost = tg.log(model(x)).sum()
        optimizer.minimize(cost)
        return cost

    compiled = tg.compile(step, check_finite=True)
    before = model.state()
    found = pytest.raises(DivergedError, match=r"^log.* nan .*test_compile\.py:\d+")
    with np.errstate(invalid="ignore"), found:
        compiled(np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]]))
    for name, value in model.state().items():
        laws.identical(value, before[name])
    assert optimizer.steps == 0


def test_an_error_of_a_schedule_is_its_own():
    """What the user's function raises arrives as it was raised."""

    def rate(step):
        if step == 2:
            raise LookupError("no rate for step 2")
        return 0.1

    w = tg.Parameter(np.ones(3))
    optimizer = tg.optim.SGD([w], rate)
    compiled = tg.compile(lambda x: optimizer.minimize(((w * x) ** 2).sum()))
    compiled(np.ones(3))
    compiled(np.ones(3))
    before = w.data.copy()
    with pytest.raises(LookupError, match=r"^no rate for step 2$"):
        compiled(np.ones(3))
    laws.identical(w.data, before)


# --- what a step refuses -------------------------------------------------------------------


READINGS = {
    "if": lambda x: 1 if x.sum() > 0 else 2,
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "data": lambda x: x.data,
    "asarray": lambda x: np.asarray(x),  # noqa: PLW0108 (the line is looked for)
    "argmax": lambda x: int(x.argmax()),
    "all": lambda x: 1 if (x > 0).all() else 2,
    "any": lambda x: 1 if np.any(x > 0) else 2,
    "in": lambda x: 1.0 in x,
    "array_equal": lambda x: np.array_equal(x, x),
    "max of Python": lambda x: max(x),  # noqa: PLW0108 (the line is looked for)
    "range": lambda x: list(range(x.astype(int).sum())),
    "while": lambda x: [1 for _ in iter(lambda: bool(x.sum() > 9), True)],
    "Tensor": lambda x: tg.Tensor(x),  # noqa: PLW0108 (the line is looked for)
}


@pytest.mark.parametrize("how", READINGS)
def test_control_flow_on_a_traced_value_names_its_line(how):
    """What would be frozen is an error that names line and remedy."""
    read = READINGS[how]
    line = read.__code__.co_firstlineno
    with pytest.raises(CompileError, match=r"^compile: .* tg\.where") as caught:
        tg.compile(lambda x: read(x * 2))(np.ones(3))
    assert f"test_compile.py:{line}" in str(caught.value)


def test_values_of_parameters_are_not_frozen_either():
    """A parameter's value is another one at the next step."""
    w, _, _ = weighted()
    with pytest.raises(
        CompileError, match=r"'w' .*test_compile\.py:\d+ needs a number"
    ):
        tg.compile(lambda x: x * w.numpy())(np.ones(3))


def test_constants_made_in_a_step_may_be_read():
    """A Tensor that the step makes itself is the same at every call."""
    compiled = tg.compile(lambda x: x * float(tg.Tensor(2.0)))
    assert compiled(np.ones(2)).tolist() == [2.0, 2.0]


def mistake_old_graph():
    w, _, _ = weighted()
    cost = (w * w).sum()
    return lambda x: cost.backward()


def mistake_optimiser_inside():
    w, _, _ = weighted()
    return lambda x: tg.optim.SGD([w], 0.1)


def mistake_rate_inside():
    _, optimizer, _ = weighted()
    return lambda x: setattr(optimizer, "lr", 0.5)


def mistake_retained_gradients():
    w, _, _ = weighted()
    return lambda x: (w * x).sum().backward(retain_grads=True)


def mistake_computed_mask():
    w, _, _ = weighted()
    return lambda x: w[x > 0].sum()


def mistake_shared_memory():
    base = np.ones(4)
    w, v = tg.Parameter(base[:3], name="w"), tg.Parameter(base[1:], name="v")
    optimizer = tg.optim.SGD([w, v], 0.1)
    return lambda x: optimizer.minimize((w * v).sum())


def mistake_assigned_argument():
    return lambda x: setattr(x, "data", x * 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (mistake_old_graph, "before the step, requires a gradient"),
        (mistake_optimiser_inside, "made once, outside of the step"),
        (mistake_rate_inside, "lr is read anew in each step"),
        (mistake_retained_gradients, "retain_grads=True"),
        (mistake_computed_mask, "Choose with tg.where"),
        (mistake_shared_memory, "'w' and 'v' that share memory"),
        (mistake_assigned_argument, "got an argument"),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_words(make, words):
    """Each refusal says what is wrong, where that is not the eager error."""
    with pytest.raises(CompileError, match=words):
        tg.compile(make())(np.ones(3))


def test_arguments_are_data():
    """Parameters are closed over; what cannot be compared is no argument."""
    w, _, step = weighted()
    compiled = tg.compile(step)
    with pytest.raises(CompileError, match="'w' that does"):
        compiled(w)
    with pytest.raises(CompileError, match="got set"):
        compiled(np.ones(3), scale={1})
    with pytest.raises(CompileError, match="was called"):
        compiled.source  # noqa: B018


def test_eager_errors_are_the_same_while_tracing():
    """A wrong shape is the ShapeError that eager raises."""
    _, _, step = weighted()
    for call in (step, tg.compile(step)):
        with pytest.raises(ShapeError, match="multiply: "):
            call(tg.Tensor(np.ones((5, 4))))


BAD_LABELS = {
    "binary_cross_entropy_with_logits": (np.array([0, 1, 1]), np.array([0, 1, 2])),
    "binary_cross_entropy": (np.array([0.0, 1.0, 0.5]), np.array([0.0, -1.0, 1.0])),
    "hinge": (np.array([1, -1, 1]), np.array([1, 0, 1])),
    "cross_entropy": (np.array([0, 1, 2]), np.array([0, 3, 1])),
    "cross_entropy, computed": (np.array([0, 1, 2]), np.array([0, -1, 1])),
    "weights": (np.array([1.0, 0.0, 0.5]), np.array([1.0, 0.0, -1.0])),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused_at_every_call(name, dtype):
    """A later call with such labels raises what eager raises, and changes nothing."""
    good, bad = BAD_LABELS[name]
    wide = name.startswith("cross")
    w = tg.Parameter(np.ones((2, 3) if wide else 2, dtype), name="w")
    optimizer = tg.optim.Adam([w], 0.1)

    def step(x, y):
        z = x @ w
        if name == "binary_cross_entropy":
            cost = tg.losses.binary_cross_entropy(tg.sigmoid(z), y)
        elif name == "cross_entropy, computed":
            cost = tg.losses.cross_entropy(z, y.reshape(3, 1)[:, 0])
        elif name == "weights":
            cost = tg.losses.mse(z, x[:, 0], sample_weight=y)
        else:
            cost = getattr(tg.losses, name)(z, y)
        optimizer.minimize(cost)
        return cost

    x = np.arange(6.0).reshape(3, 2).astype(dtype)
    compiled = tg.compile(step)
    with pytest.raises(DataError) as first:
        compiled(x, bad)  # while it is traced
    compiled(x, good)
    before = compile_laws.snapshot([w, optimizer])
    with pytest.raises(DataError) as later:
        compiled(x, bad)
    with pytest.raises(DataError) as eager:
        step(tg.Tensor(x), tg.Tensor(bad))
    assert str(first.value) == str(eager.value)
    words, _, line = str(later.value).partition(" (recorded at ")
    assert words == str(eager.value)
    assert re.fullmatch(r".*test_compile\.py:\d+\)", line)
    after = compile_laws.snapshot([w, optimizer])
    compile_laws.both_agree(after, before, exact=True, where="after")
    compiled(x, good)


SHARING = {
    "read before the update": lambda W, X, move: [(X * W).sum(), move()][:1],
    "read after the update": lambda W, X, move: [move(), (X * 2).sum()][1:],
    "read after a second": lambda W, X, move: [move(), (X * W).sum(), move()][1:2],
    "shown afterwards": lambda W, X, move: [X.T, move()][:1],
}


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("how", ["whole", "a view", "a part", "another"])
@both_ways
def test_an_argument_that_shares_memory_with_a_parameter(name, how, exact):
    """What shares memory with a parameter gives what eager gives, or is refused."""

    def make():
        memory = np.arange(8.0).reshape(2, 4)
        W = tg.Parameter(memory[:, :3], name="W")
        optimizer = tg.optim.SGD([W], 0.1)
        X = {"whole": W.data, "a view": W.data[:, ::-1], "a part": W.data[:1]}
        argument = X.get(how, memory[:, 3:])

        def step(X):
            return SHARING[name](W, X, lambda: optimizer.minimize((W * W * W).sum()))

        return step, argument, W

    (eager, theirs, wanted), (step, ours, got) = make(), make()
    compiled = tg.compile(step, exact=exact)
    safe = how == "another" or name == "read before the update"
    if not safe:
        with pytest.raises(CompileError, match="shares memory with 'W'"):
            compiled(ours)
        laws.identical(got.data, wanted.data)
        laws.identical(compiled(ours.copy())[0].shape, eager(theirs)[0].shape)
        return
    for _ in range(3):
        (x,), (y,) = compiled(ours), eager(tg.Tensor(theirs))
        assert np.allclose(x.numpy(), y.numpy(), 1e-12)
        assert np.allclose(got.data, wanted.data, 1e-12)


# --- what lives outside ----------------------------------------------------------------------


def test_a_failed_trace_leaves_everything_as_it_was():
    """Parameters, gradients, states, flags and generators, whatever had happened."""
    rng = np.random.default_rng(0)
    model = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=rng), tg.nn.Dropout(0.5, rng=rng))
    optimizer = tg.optim.Adam(model, 0.1)
    mean = tg.Tensor(np.zeros(2), name="mean")
    fails = True

    def step(x):
        model.train()
        out = model(x)
        optimizer.minimize((out**2).mean())
        mean.data = out.mean(0)
        model[0].bias.grad = None
        model.eval()
        if fails:
            raise KeyboardInterrupt
        return out

    watched = [model, *model.parameters(), optimizer, mean, rng]
    (model(tg.Tensor(np.ones((4, 3)))) ** 2).mean().backward()
    before = compile_laws.snapshot(watched)
    compiled = tg.compile(step)
    with pytest.raises(KeyboardInterrupt):
        compiled(np.ones((4, 3)))
    after = compile_laws.snapshot(watched)
    compile_laws.both_agree(after, before, exact=True, where="after")
    assert compiled.traces == 0
    fails = False
    compiled.trace(np.ones((4, 3)))  # nor does a trace that succeeds
    after = compile_laws.snapshot(watched)
    compile_laws.both_agree(after, before, exact=True, where="after")
    compiled(np.ones((4, 3)))
    assert compiled.traces == 1


def test_an_eager_graph_of_before_is_stale_afterwards():
    """Promise 8: the error names op, parameter and the line of the compiled call."""
    w, _, step = weighted()
    compiled = tg.compile(step)
    for _ in range(2):
        cost = (w * w).sum()
        compiled(np.ones((5, 3)))
        with pytest.raises(MutationError, match=r"multiply .*'w'.*test_compile\.py"):
            cost.backward()
    fresh = (w * w).sum()
    fresh.backward()  # w has a gradient that a step has used: this one replaces it
    laws.identical(w.grad, 2 * w.data)


def test_a_step_that_changes_nothing_leaves_graphs_valid():
    """Prediction writes to nothing."""
    w, _, _ = weighted()
    predict = tg.compile(lambda x: (x * w).sum(1))
    cost = (w * w).sum()
    predict(np.ones((5, 3)))
    cost.backward()


def test_rebinding_a_name_is_not_seen():
    """What a name stood for while the step was traced is held; its array is read."""
    data = np.ones(3)
    compiled = tg.compile(lambda x: x * data)
    assert compiled(np.ones(3)).tolist() == [1.0, 1.0, 1.0]
    data[0] = 5.0
    assert compiled(np.ones(3)).tolist() == [5.0, 1.0, 1.0]
    data = np.zeros(3)
    assert compiled(np.ones(3)).tolist() == [5.0, 1.0, 1.0]


def test_arrays_are_written_in_place():
    """The array behind a parameter stays the same one, as with eager optimisers."""
    w, optimizer, _ = weighted()
    array = w.data
    state = tg.optim.Adam([w], 0.1)
    arrays = state._states[0][:2]

    def step(x):
        state.minimize(((w * x) ** 2).sum())

    compiled = tg.compile(step)
    for _ in range(3):
        compiled(np.ones(3))
    assert w.data is array
    assert all(a is b for a, b in zip(state._states[0], arrays, strict=False))
    assert optimizer.steps == 0
    assert state.steps == 3
    assert state._states[0][2] == 3


def test_a_generator_set_back_repeats_the_step():
    """Random numbers come from the layer's own generator, at each call."""
    rng = np.random.default_rng(0)
    drop = tg.nn.Dropout(0.5, rng=rng)
    compiled = tg.compile(drop.forward)
    state = rng.bit_generator.state
    first, second = (compiled(np.ones(20)).tolist() for _ in range(2))
    rng.bit_generator.state = state
    again = [compiled(np.ones(20)).tolist() for _ in range(2)]
    assert again == [first, second]
    assert first != second


def test_threads_take_turns():
    """One compiled step called from many threads makes every step once."""
    w, optimizer, step = weighted()
    twin, _, eager = weighted()
    compiled = tg.compile(step, exact=True)
    x = np.random.default_rng(0).normal(size=(5, 3))

    def run():
        for _ in range(20):
            compiled(x)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(80):
        eager(tg.Tensor(x))
    assert optimizer.steps == 80
    laws.identical(w.data, twin.data)


# --- memory ------------------------------------------------------------------------------------


def _network(rows):
    rng = np.random.default_rng(0)
    model = tg.nn.Sequential(
        tg.nn.Dense(64, 128, activation="relu", rng=rng, dtype=np.float32),
        tg.nn.Dense(128, 128, activation="tanh", rng=rng, dtype=np.float32),
        tg.nn.Dense(128, 10, rng=rng, dtype=np.float32),
    )
    optimizer = tg.optim.Adam(model, 0.001)

    def step(X, y):
        cost = tg.losses.cross_entropy(model(X), y)
        optimizer.minimize(cost)
        return cost

    X = rng.normal(size=(rows, 64)).astype(np.float32)
    return step, X, rng.integers(0, 10, rows)


def allocated(call):
    """Return the most bytes that were in use during a call, above those before."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del result
    return peak - before


def test_a_steady_step_allocates_no_array():
    """All that a call allocates is what NumPy itself needs for a moment, however many rows.

    The smallest array of the step takes 160 kB, and the buffers of a ufunc 64.
    """
    step, X, y = _network(rows=4096)
    compiled = tg.compile(step)
    assert allocated(lambda: compiled(X, y)) < 80_000
    X, y = tg.Tensor(X), tg.Tensor(y)
    assert allocated(lambda: step(X, y)) > 10_000_000


def test_a_plan_needs_less_than_half_of_the_memory():
    """Buffers are used again, and hold less than half of what eager allocates."""
    step, X, y = _network(rows=256)
    compiled = tg.compile(step)
    compiled(X, y)
    planned, without_reuse = compiled.memory
    assert 0 < planned <= 0.5 * without_reuse
    _, X, y = _network(rows=512)
    compiled(X, y)
    assert compiled.memory.planned > planned


def test_the_source_is_shown_in_tracebacks():
    """The text is complete, and registered with linecache under its file's name."""
    _, _, step = weighted()
    compiled = tg.compile(step)
    compiled(np.ones((5, 3)))
    filename = compiled._last.runner.filename
    assert "".join(linecache.getlines(filename)) == compiled.source
    assert "test_compile.py:" in compiled.source
    compile(compiled.source, filename, "exec")


# --- random programs ------------------------------------------------------------------------------


def random_run(seed):
    """A random program over parameters and arguments of random shapes and layouts."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice([np.float64, np.float64, np.float32])
    n, m = rng.integers(2, 5, 2)
    shapes = [(), (1,), (m,), (n, m), (1, m), (n, 1), (n,), (m, n)]
    chosen = [shapes[i] for i in rng.integers(0, len(shapes), 6)]
    layouts = rng.integers(0, 3, 6)
    plan = rng.integers(0, 2**31, rng.integers(6, 30))
    make = list(compile_members.OPTIMISERS.values())[rng.integers(0, 8)]

    def draw(i, seed):
        array = compile_members.normal(chosen[i], seed, dtype)
        if array.ndim < 2 or layouts[i] == 0:
            return array
        return laws._strided(array) if layouts[i] == 1 else np.asfortranarray(array)

    def run():
        parameters = [tg.Parameter(draw(i, 10 + i), name=f"p{i}") for i in range(3)]
        optimizer = make(parameters)
        generator = np.random.default_rng(5)
        drop = tg.nn.Dropout(0.3, rng=generator)

        def step(*arguments):
            pool = [*parameters, *arguments]
            for number in plan:
                rng = np.random.default_rng(number)
                x = pool[-1] if rng.random() < 0.5 else pool[rng.integers(len(pool))]
                y = pool[rng.integers(len(pool))]
                op = RANDOM_OPS[rng.integers(len(RANDOM_OPS))]
                try:
                    made = drop(x) if op is None else op(x, y)
                except (TinygradError, IndexError):
                    continue  # the shapes do not fit
                if made.ndim < 4:
                    # Squeezed, so that nothing grows without bound.
                    pool.append(tg.tanh(0.3 * made))
            cost = sum((x * x).mean() for x in [*pool[-4:], *parameters])
            optimizer.minimize(cost)
            picked = np.random.default_rng(seed).integers(0, len(pool), 3)
            return cost, [pool[i] for i in picked]

        return compile_members.Run(
            step,
            [*parameters, optimizer, generator],
            lambda n: tuple(draw(i, 100 * n + i) for i in (3, 4, 5)),
        )

    return run


RANDOM_OPS = [
    None,
    lambda x, _: tg.sigmoid(x),
    lambda x, _: tg.relu(x),
    lambda x, _: np.maximum(0, x) * 2,
    lambda x, _: tg.softplus(x),
    lambda x, _: tg.abs(x) + 1,
    lambda x, _: -x,
    lambda x, _: x.T,
    lambda x, _: x.reshape(-1),
    lambda x, _: x.sum(),
    lambda x, _: x.sum(0),
    lambda x, _: x.sum(-1, keepdims=True),
    lambda x, _: x.mean(0, keepdims=True),
    lambda x, _: x.max(-1, keepdims=True),
    lambda x, _: tg.softmax(x, axis=-1),
    lambda x, _: tg.log_softmax(x, axis=0),
    lambda x, _: x.cumsum(0),
    lambda x, _: x[::2],
    lambda x, _: x[..., ::-1],
    lambda x, _: x[:, 0],
    lambda x, _: x[0],
    lambda x, _: x[-1] * x[0],
    lambda x, _: x[np.array([0, 0, 1])],
    lambda x, _: 1 / (1 + np.exp(-x)),
    lambda x, _: np.log(1 + np.exp(x)),
    lambda x, _: tg.log(tg.sigmoid(x)),
    lambda x, _: x.std(0),
    lambda x, _: x - x.mean(),
    lambda x, _: (x * 2) * 0.5 + 0.25 * x,
    lambda x, y: x + y,
    lambda x, y: x * y,
    lambda x, y: x - y,
    lambda x, y: x / (1 + tg.abs(y)),
    tg.maximum,
    lambda x, y: tg.where(x > y, x, 0.5 * y),
    lambda x, y: x @ y,
    lambda x, y: x @ y.T,
    lambda x, y: x.T @ y,
    np.dot,
    lambda x, y: tg.concatenate([x, y]),
    lambda x, y: tg.stack([x, y]),
    lambda x, y: x.detach() * y,
    lambda x, y: x**2 + y * 3 - x / 2,
]


@both_ways
@pytest.mark.parametrize("seed", range(40))
def test_random_programs_equal_eager(seed, exact):
    """Programs that nobody would write are no different."""
    compile_laws.equals_eager(random_run(seed), exact=exact, steps=3)


@pytest.mark.slow
@both_ways
def test_many_random_programs_equal_eager(exact):
    """A thousand of them."""
    for seed in range(1000):
        compile_laws.equals_eager(random_run(seed), exact=exact, steps=2)


# --- every law can be broken -----------------------------------------------------------------


def in_source(edit):
    """A mutant whose generated source was edited, line by line."""

    def break_it(patch):
        whole = backends.executed

        def executed(lowered, title):
            lines = lowered.source.split("\n")
            kept = [edit(line) for line in lines]
            assert kept != lines, "the mutant is no different"
            return whole(replace(lowered, source="\n".join(kept)), title)

        patch.setattr(backends, "executed", executed)

    return break_it


def _passed(line, found):
    return re.sub(r"\S.*", "pass", line) if found else line


def _no_step_count(line):
    return _passed(line, ".steps += " in line)


def _no_states(line):
    return _passed(line, re.search(r"_states\[\d+\] = ", line))


def _no_write(line):
    """A parameter is computed, and not written."""
    return re.sub(r"(new_p2 = .*), p2\)", r"\1)", line)


def _no_order(line):
    return _passed(line, "._order = " in line)


def _frozen_rate(line):
    return re.sub(r"lr = \w+\.rate\(.*\)", "lr = 0.05", line)


def _frozen_draws(line):
    return re.sub(r"rng\.random\(out=(.*)\)", r"\1.fill(0.5)", line)


def _shared_results(line):
    return line.replace("np.array(", "np.asarray(") if "result" in line else line


def _frozen_parameter(line):
    return re.sub(r"= (\w+_tensor)\._value$", r"= \1._value.copy()", line)


def _writes_to_an_argument(line):
    return re.sub(r"(\w+ = multiply\(\w+, x), \w+\)", r"\1, x)", line)


def _one_storage(patch):
    """Whatever was computed may be overwritten at once."""
    whole = memory._Planner._last_uses

    def last_uses(self, end):
        whole(self, end)
        self.last = dict(self.order)

    patch.setattr(memory._Planner, "_last_uses", last_uses)


def _all_numbers_are_one(patch):
    """Common subexpressions do not look at constants."""
    whole = common._operand_key

    def operand_key(x, program):
        return whole(x, program) if isinstance(x, Node) else "number"

    patch.setattr(common, "_operand_key", operand_key)


def _arguments_are_constants(patch):
    whole = fold.number_of

    def number_of(x, program):
        if isinstance(x, Node) and x in program.places and np.ndim(x._value) == 0:
            return x._value[()]
        return whole(x, program)

    patch.setattr(fold, "number_of", number_of)


def _flags_do_not_count(patch):
    patch.setattr(step_module._Specialised, "fits", lambda _: True)


def _lent_is_given(patch):
    patch.setattr(Lent, "copied", lambda self: self._buffer)


def in_trace(name, instead):
    """A mutant with another method of `Trace`."""
    return lambda patch: patch.setattr(Trace, name, instead)


def _seeds_are_constants(patch):
    patch.setattr(autodiff, "_live_seed", lambda _, g, root: tg.Tensor(np.array(g)))


def _equal(name, **settings):
    return lambda: compile_laws.equals_eager(STEPS[name], **settings)


def _refused():
    test_bad_labels_are_refused_at_every_call("hinge", np.float64)


MUTANTS = {
    "steps are not counted": (
        in_source(_no_step_count),
        _equal("SGD, schedule, float64"),
    ),
    "states are forgotten": (in_source(_no_states), _equal("Adam, float64")),
    "a parameter is not written": (in_source(_no_write), _equal("SGD, float32")),
    "the rate is frozen": (in_source(_frozen_rate), _equal("rate_set_between_steps")),
    "the mask is frozen": (in_source(_frozen_draws), _equal("layer Dropout")),
    "parameters are copied": (in_source(_frozen_parameter), _equal("two_optimisers")),
    "buffers overlap": (_one_storage, _equal("textbook_spellings")),
    "constants are confused": (_all_numbers_are_one, _equal("powers")),
    "arguments are folded": (
        _arguments_are_constants,
        _equal("arguments_of_every_kind"),
    ),
    "flags are not looked at": (_flags_do_not_count, _equal("modes_between_steps")),
    "waiting gradients are not looked at": (
        _flags_do_not_count,
        _equal("gradients_from_earlier_calls"),
    ),
    "no_grad is not seen": (
        in_trace("through", lambda _, how: how),
        _equal("no_grad_inside"),
    ),
    "draws that nothing needs are dropped": (
        in_trace("recorded", lambda *_, **__: None),
        _equal("random_numbers_that_nothing_needs"),
    ),
    "a cotangent is frozen": (_seeds_are_constants, _equal("cotangent_as_argument")),
    "an index is frozen": (
        in_trace("stands_for", lambda *_: None),
        _equal("indices_as_arguments"),
    ),
    "views do not follow": (
        in_trace("_is_view", lambda *_: False),
        _equal("views_that_follow_their_parameter"),
    ),
    "labels are checked once": (
        in_trace("guard", lambda _, node, check: check(np.asarray(node._value))),
        _refused,
    ),
    "an argument is written to": (
        in_source(_writes_to_an_argument),
        lambda: compile_laws.arguments_stay(STEPS["rate_set_between_steps"]),
    ),
    "results are no copies": (
        in_source(_shared_results),
        lambda: compile_laws.results_stay(STEPS["results_of_every_kind"]),
    ),
    "a gradient is the buffer": (
        _lent_is_given,
        lambda: compile_laws.gradients_stay(STEPS["SGD, float64"]),
    ),
    "nothing fits": (
        lambda patch: patch.setattr(step_module._Specialised, "fits", lambda _: False),
        lambda: compile_laws.traces_once(STEPS["SGD, float64"]),
    ),
    "a trace is not undone": (
        in_trace("restore", lambda _: None),
        test_a_failed_trace_leaves_everything_as_it_was,
    ),
    "changes have no time": (
        in_source(_no_order),
        test_an_eager_graph_of_before_is_stale_afterwards,
    ),
    "an op is another": (
        in_source(lambda line: line.replace("tanh(", "sinh(")),
        _equal("SGD, float64"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_noticed(name, monkeypatch):
    """Each mistake of trace, passes, plan or source is noticed by the law that names it."""
    break_it, law = MUTANTS[name]
    law()
    with monkeypatch.context() as patch:
        break_it(patch)
        with pytest.raises(BaseException) as noticed:  # noqa: PT011 (however it shows)
            law()
    assert "the mutant is no different" not in str(noticed.value)
    assert not isinstance(noticed.value, (NameError, SyntaxError)), noticed.value
