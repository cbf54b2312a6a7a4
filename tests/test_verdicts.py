"""The library's own gradients, judged by its own checks.

A member is anything with a gradient: every op at every sample, every composition, every
layer, every loss in every reduction, every update rule. Each is held to three verdicts
that share no line of code: numbers with a bound of their error, the adjoint test, thirty
digits. Then the verdicts are judged: gradients are broken in the ways of
`test_mutants` and of `tinygrad_nn.check.slips`, and every mistake has to be seen.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import laws
import numpy as np
import pytest
import test_layers
import test_losses
import test_nn
import test_ops
import test_tutorials
from laws import Member
from reference import explicit
from test_mutants import (
    DIFFERENTIABLE,
    SHARE_FAULTS,
    UPSTREAM_FAULTS,
    rule_mutants,
    small_sample,
)

import tinygrad_nn as tg
from tinygrad_nn import losses, optim
from tinygrad_nn.check import (
    adjoint_test,
    assert_same_graph,
    check_gradients,
    locate,
    multiprecision,
    power,
)
from tinygrad_nn.errors import GraphMismatch, TinygradError
from tinygrad_nn.op import REGISTRY

SEED = 6


class Judged(NamedTuple):
    """A function of arrays, with a point where its gradient is judged."""

    f: Callable[..., Any]
    arrays: Sequence[np.ndarray]

    @property
    def names(self) -> list[str]:
        return [f"x{i}" for i in range(len(self.arrays))]


# --- members: ops and compositions ------------------------------------------------

SAMPLED = {
    test_ops._title(member): member for member in test_ops.DIFFERENTIABLE
}  # every op and every composition: `test_ops` holds the list to the registry


def of_member(member: Member) -> Judged:
    """Return an op or a composition at one of its samples."""
    return Judged(member.value, member.sample.draw(np.random.default_rng(SEED)))


# --- members: layers --------------------------------------------------------------


def of_layer(make: Callable[[Any], Any], x: np.ndarray) -> Judged:
    """Return a layer as a function of its input, if of reals, and of its parameters."""
    layer = test_nn.shaken(make(np.float64))
    named = layer.named_parameters()
    real = x.dtype.kind == "f"

    def f(*values: Any) -> Any:
        twin = copy.deepcopy(layer)  # dropout draws the same mask again
        given, parameters = (values[0], values[1:]) if real else (x, values)
        for (name, _), value in zip(named, parameters, strict=True):
            _put(twin, name, value)
        return twin(given)

    return Judged(f, [*([x] if real else []), *(p.numpy() for _, p in named)])


def _put(layer: Any, name: str, value: Any) -> None:
    *path, last = name.split(".")
    for step in path:
        layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
    setattr(layer, last, value)


LAYERS = {
    f"layer {name}": functools.partial(of_layer, member.make, test_nn.inputs())
    for name, member in test_nn.MEMBERS.items()
} | {
    f"layer {name} of more axes": functools.partial(
        of_layer, layer.make, test_layers.inputs(layer)
    )
    for name, layer in test_layers.LAYERS.items()
}

# --- members: losses --------------------------------------------------------------


def of_loss(member: Any, reduction: str, *, weighted: bool) -> Judged:
    """Return a loss as a function of the prediction, and of a target of real numbers."""
    prediction, target = test_losses.draw(member)
    weight = np.linspace(0.5, 2.0, len(prediction)) if weighted else None
    settings = {"reduction": reduction, "sample_weight": weight}

    def f(z: Any, y: Any = target) -> Any:
        return member.loss(z, y, **settings)

    real = target.dtype.kind == "f"
    return Judged(f, [prediction, target] if real else [prediction])


def of_penalty(penalty: Callable[..., Any]) -> Judged:
    """Return a penalty as a function of two weights."""
    weights = np.random.default_rng(SEED).standard_normal((2, 3, 2))
    return Judged(lambda W, V: penalty([W, V], 0.3), list(weights))


LOSSES = {
    f"loss {name}, {reduction}{', weighted' * weighted}": functools.partial(
        of_loss, member, reduction, weighted=weighted
    )
    for name, member in test_losses.MEMBERS.items()
    for reduction in ("mean", "sum", "none")
    for weighted in (False, True)
} | {
    f"penalty {name}": functools.partial(of_penalty, getattr(losses, name))
    for name in sorted(test_losses.PENALTIES)
}

# --- members: update rules --------------------------------------------------------

RULES = {
    "sgd": (optim.sgd, 0, {}),
    "sgd, decay": (optim.sgd, 0, {"weight_decay": 0.1}),
    "sgd, momentum": (optim.sgd, 1, {"momentum": 0.9}),
    "sgd, dampening": (optim.sgd, 1, {"momentum": 0.9, "dampening": 0.1}),
    "sgd, nesterov": (optim.sgd, 1, {"momentum": 0.9, "nesterov": True}),
    "adam": (optim.adam, 2, {}),
    "adam, decay": (optim.adam, 2, {"weight_decay": 0.1}),
    "adamw": (optim.adamw, 2, {}),
    "adagrad": (optim.adagrad, 1, {"weight_decay": 0.1}),
    "rmsprop": (optim.rmsprop, 1, {"weight_decay": 0.1}),
}


def of_rule(rule: Callable[..., Any], slots: int, settings: dict[str, Any]) -> Judged:
    """Return an update rule as a function of parameter, gradient and state."""
    rng = np.random.default_rng(SEED)
    counts = (3,) if rule in (optim.adam, optim.adamw) else ()

    def f(parameter: Any, gradient: Any, *state: Any) -> Any:
        new, kept = rule(parameter, gradient, (*state, *counts), lr=0.1, **settings)
        return tg.stack([new, *kept[:slots]])

    state = [rng.uniform(0.2, 1.0, 4) for _ in range(slots)]  # squares are positive
    return Judged(f, [rng.standard_normal(4), rng.standard_normal(4), *state])


UPDATES = {
    f"rule {name}": functools.partial(of_rule, *facts) for name, facts in RULES.items()
}

# --- members: expressions ---------------------------------------------------------


def batch_norm(Z: Any, gamma: Any, beta: Any) -> Any:
    """Columns of mean 0 and variance 1, scaled and moved; Ioffe, Szegedy (2015)."""
    centred = Z - Z.mean(axis=0)
    return gamma * centred / np.sqrt((centred**2).mean(axis=0) + 1e-5) + beta


def attention(Q: Any, K: Any, V: Any) -> Any:
    """softmax(Q Kᵀ / √d) V; Vaswani et al. (2017), equation 1."""
    scores = Q @ K.T / np.sqrt(Q.shape[1])
    return tg.softmax(scores, axis=1) @ V


def softmax_cross_entropy(Z: Any) -> Any:
    """The written-out loss of one-hot rows."""
    return -(np.eye(3)[[0, 2, 1, 0]] * np.log(tg.softmax(Z, axis=1))).sum(axis=1)


def _normal(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(SEED)
    return [rng.standard_normal(shape) for shape in shapes]


EXPRESSIONS = {
    "batch norm": lambda: Judged(batch_norm, _normal((5, 3), (3,), (3,))),
    "attention": lambda: Judged(attention, _normal((4, 3), (5, 3), (5, 2))),
    "softmax cross-entropy": lambda: Judged(softmax_cross_entropy, _normal((4, 3))),
}

MEMBERS: dict[str, Callable[[], Judged]] = {
    title: functools.partial(of_member, member) for title, member in SAMPLED.items()
} | {**LAYERS, **LOSSES, **UPDATES, **EXPRESSIONS}

every_member = pytest.mark.parametrize("title", MEMBERS)


def test_every_rule_of_the_optimisers_is_a_member():
    """No update rule of `optim` is left out: all its functions but those of clipping."""
    found = {name for name, f in vars(optim).items() if inspect.isfunction(f)}
    clipping = {"clip_by_norm", "clip_by_value"}
    assert {name.split(",")[0] for name in RULES} == found - clipping


def test_every_op_layer_and_loss_is_a_member():
    """Nothing with a gradient is left out: the registry and the rooms are the lists."""
    sampled = {member.name for member in SAMPLED.values()}
    ours = [
        op
        for op in REGISTRY.values()
        if op.function.__module__.startswith("tinygrad_nn.")  # not a test's own
    ]
    assert {op.name for op in ours if op.rules} <= sampled
    makers = (*test_nn.MEMBERS.values(), *test_layers.LAYERS.values())
    made = {type(maker.make(np.float64)).__name__ for maker in makers}
    layers = {
        name
        for name, found in vars(tg.nn).items()
        if inspect.isclass(found) and issubclass(found, tg.nn.Module)
    }
    assert layers - {"Module"} == made
    named = {title.split(" ", 1)[1].split(",")[0] for title in LOSSES}
    assert set(losses.__all__) <= named


# --- three laws, for every member -------------------------------------------------


def numbers_agree(member: Judged, check: Callable[..., Any] = check_gradients) -> None:
    """Numbers, under a random cotangent and at two points, refute no gradient."""
    f = member.f
    if np.size(f(*map(tg.Tensor, member.arrays))) == 1:
        # One number has the cotangent 1, which is its own square: weigh it.
        f = lambda *arrays: member.f(*arrays) * 1.7
    report = check(f, *member.arrays, names=member.names)
    assert report.verdict in ("ok", "kink"), str(report)


def transposes(member: Judged) -> None:
    """<u, J v> = <Jᵀ u, v>: rules are linear in g, and right at second order."""
    report = adjoint_test(member.f, *member.arrays, names=member.names)
    assert report.verdict in ("ok", "kink"), str(report)


def thirty_digits(member: Judged, wanted: Sequence[str] = ("ok", "kink")) -> None:
    """On numbers of ninety digits, rules and slopes share the first thirty."""
    report = multiprecision(member.f, *member.arrays, names=member.names)
    assert report.verdict in wanted, str(report)


SIXTEEN_DIGITS = {
    # The rule of a power takes 1/3 - 1 in floats: one unit beside the float of -2/3.
    "norm-2x3[ord=3,axis=0]",
}


@every_member
def test_numbers_agree(title, gradcheck):
    """Numbers, under a random cotangent and at two points, refute no gradient."""
    numbers_agree(MEMBERS[title](), gradcheck)


@every_member
def test_adjoint(title):
    """The forward and the backward derivative are transposes, but for rounding."""
    transposes(MEMBERS[title]())


@every_member
def test_thirty_digits(title):
    """Every gradient is confirmed to thirty digits, but where a float is subtracted."""
    wanted = ("weak",) if title in SIXTEEN_DIGITS else ("ok", "kink")
    thirty_digits(MEMBERS[title](), wanted)


# --- what the laws can see: rules broken in a dozen ways --------------------------

SMALL = {op.name: of_member(laws.of_op(op, small_sample(op))) for op in DIFFERENTIABLE}
BELOW = "off by 1e-9"  # less than what numbers in float64 call a mistake


def gradients_of(member: Judged) -> list[np.ndarray]:
    """Autograd's gradients under a random cotangent."""
    tensors = laws.leaves(member.arrays)
    out = member.f(*tensors)
    g = np.random.default_rng(SEED).standard_normal(out.shape)
    variables = laws.floating(tensors)
    found = tg.gradients(out, variables, np.asarray(g), unused="zero")
    return [x.numpy() for x in found]


def kills(law: Callable[[Judged], None], member: Judged) -> bool:
    """Whether a law refuses a member; an error of the library's own counts as well."""
    try:
        law(member)
    except (AssertionError, TinygradError):
        return True
    return False


def mutants(op: Any, member: Judged) -> Iterator[tuple[str, Any, bool]]:
    """Yield what is wrong, the broken rules, and whether a gradient changes at all.

    Whether it does is told by the gradients themselves, by no law that is on trial.
    """
    right = gradients_of(member)
    whole = op.rules
    for name, rules in rule_mutants(op, len(member.arrays)):
        op.rules = rules
        try:
            found = gradients_of(member)
        except TinygradError:
            changes = True
        else:
            changes = any(
                not np.allclose(x, y, rtol=1e-13, atol=0)
                for x, y in zip(found, right, strict=True)
            )
        finally:
            op.rules = whole
        yield name, rules, changes


def in_a_graph(member: Judged) -> tg.Tensor:
    """Record an op among others: before it a product, behind it a weighted sum."""
    operands = [
        x * np.ones(x.shape) if x.requires_grad else x
        for x in laws.leaves(member.arrays)
    ]
    out = member.f(*operands)
    return tg.sum(tg.tanh(out) * np.linspace(0.5, 1.5, out.size).reshape(out.shape))


BY_NATURE = {
    ("add", "shares swapped"): "both are g",
    **{
        ("where", f"{name} [condition]"): "a condition has no share to break"
        for name in (*SHARE_FAULTS, *UPSTREAM_FAULTS)
    },
    **{
        ("ldexp", f"{name} [y]"): "a whole number has no share to break"
        for name in (*SHARE_FAULTS, *UPSTREAM_FAULTS)
    },
    **{
        (op, f"{name} [key]"): "an order has no share to break"
        for name in (*SHARE_FAULTS, *UPSTREAM_FAULTS)
        for op in ("sorted_like", "unsorted_like")
    },
}
NONLINEAR = ("squared", "multiplied by mean |g|")


def broken_rules_are_refuted(
    op: Any, member: Judged, patch: Any, located: Sequence[str] = ("",)
) -> tuple[dict[str, set[str]], list[Any]]:
    """Hold all mutants of an op to the laws, and those named to `locate` as well.

    Returns the names of the killed and of those that change nothing, and what survived.
    """
    found: dict[str, set[str]] = {"killed": set(), "equivalent": set()}
    survivors: list[Any] = []
    assert not kills(numbers_agree, member)
    assert locate(in_a_graph(member))
    for name, rules, changes in mutants(op, member):
        found["killed" if changes else "equivalent"].add(name)
        if not changes:
            continue
        on_trial = [thirty_digits if name.startswith(BELOW) else numbers_agree]
        if name.startswith(NONLINEAR):
            on_trial.append(transposes)
        with patch.context() as broken:
            broken.setattr(op, "rules", rules)
            survivors += [(law, name) for law in on_trial if not kills(law, member)]
            if name.startswith(tuple(located)) and not name.startswith(BELOW):
                named = [wrong.op for wrong in locate(in_a_graph(member)).wrong]
                survivors += [("locate", name, named)] if named != [op.name] else []
    return found, survivors


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_broken_rules_are_refuted(op, monkeypatch, record_property):
    """Numbers refute every broken rule of every op; `locate` names the op."""
    found, survivors = broken_rules_are_refuted(
        op, SMALL[op.name], monkeypatch, ["scaled by 1.001"]
    )
    assert survivors == []
    assert {(op.name, name) for name in found["equivalent"]} <= set(BY_NATURE)
    record_property("killed", len(found["killed"]))
    record_property("equivalent", len(found["equivalent"]))


@pytest.mark.slow
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_broken_rules_are_refuted_at_every_sample(op, monkeypatch, record_property):
    """Where a broken rule changes a gradient at all it is refuted, and located."""
    seen, silent = set(), set()
    for sample in op.samples:
        member = of_member(laws.of_op(op, sample))
        if not all(np.size(x) for x in (*member.arrays, member.f(*member.arrays))):
            continue  # where nothing is there is nothing to break
        found, survivors = broken_rules_are_refuted(op, member, monkeypatch)
        assert survivors == [], str(sample)
        seen |= found["killed"]
        silent |= found["equivalent"]
        record_property("killed", len(found["killed"]))
        record_property("equivalent", len(found["equivalent"]))
    assert {(op.name, name) for name in silent - seen} <= set(BY_NATURE)


# --- what the laws can see: mistakes in a line ------------------------------------


def power_of(member: Judged) -> Counter:
    """Every mistake of `power` that changes the gradient is seen; count them."""
    report = power(member.f, *member.arrays)
    assert [m.what for m in report.mutants if m.changed and not m.seen] == []
    seen = sum(m.seen for m in report.mutants)
    return Counter(killed=seen, equivalent=len(report.mutants) - seen)


WITHOUT_POWER = {
    # Softmax does not see a bias of keys: its gradient is 0, but for rounding errors.
    "layer MultiHeadAttention of more axes",
    # A mistaken step, taken six times, leaves the numbers that have a square.
    "layer RNN of more axes",
}


def elements(member):
    """Return how many numbers a member is given."""
    return sum(math.prod(shape) for shape in member.sample.shapes)


QUICK = {
    **{f"op {name}": lambda m=member: m for name, member in SMALL.items()},
    **{
        name: functools.partial(of_member, member)
        for name, member in {
            m.name: m  # at its largest sample
            for m in sorted(test_ops.COMPOSITIONS, key=elements)
            if all(0 not in shape for shape in m.sample.shapes)
        }.items()
    },
    **{k: v for k, v in LOSSES.items() if k.endswith("none, weighted")},
    **{k: v for k, v in LAYERS.items() if k not in WITHOUT_POWER},
    **UPDATES,
    **EXPRESSIONS,
}


@pytest.mark.parametrize("title", QUICK)
def test_mistakes_in_a_line_are_seen(title, record_property):
    """The check of each member would see every mistake that changes its gradient."""
    counts = power_of(QUICK[title]())
    assert counts["killed"] >= 3
    for name, value in counts.items():
        record_property(name, value)


@pytest.mark.slow
@pytest.mark.parametrize("title", [t for t in MEMBERS if t not in WITHOUT_POWER])
def test_mistakes_in_a_line_are_seen_at_every_sample(title, record_property):
    """At each sample, too, what changes a gradient is seen."""
    for name, value in power_of(MEMBERS[title]()).items():
        record_property(name, value)


# --- what the laws can see: functions that break a promise of their own -----------


def half_off_the_tape(f: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the value of f and lose half of its slope, as a stray detach would."""

    def halved(*arrays: Any) -> Any:
        out = f(*arrays)
        return 0.5 * (out + out.detach()) if isinstance(out, tg.Tensor) else out

    return halved


@pytest.mark.parametrize("title", [*LAYERS, *LOSSES, *UPDATES, *EXPRESSIONS])
def test_half_a_slope_is_refuted(title, record_property):
    """A layer, loss or rule that loses half of its gradient is refuted by both laws."""
    member = MEMBERS[title]()
    halved = member._replace(f=half_off_the_tape(member.f))
    assert kills(numbers_agree, halved)
    record_property("killed", 1)


# --- what is recorded -------------------------------------------------------------

GRAPHS = Path(__file__).parent / "graphs"

TUTORIALS = {
    "planar_flower": "planar flower",
    "one_hidden_layer": "one hidden layer",
    "sigmoid_network": "sigmoid network",
    "image_classifier_logistic": "images, logistic",
    "image_classifier_deep": "images, deep",
    "weather_network": "weather, plain",
    "weather_network_l2": "weather, L2",
    "weather_network_dropout": "weather, dropout",
}


def tutorial_loss(name: str) -> tg.Tensor:
    """Record the cost of a tutorial at its start."""
    case = test_tutorials.case(name)
    start = explicit.initialise(case.sizes, np.random.RandomState(0), "he")
    parameters = {key: tg.Parameter(W, name=key) for key, W in start.items()}
    return case.cost(parameters, np.random.RandomState(7))


def recorded(title: str) -> tg.Tensor:
    """Record an expression, a layer or a loss of the members above."""
    member = MEMBERS[title]()
    return member.f(*laws.leaves(member.arrays))


@pytest.mark.parametrize("name", TUTORIALS)
def test_graph_of_a_tutorial(name):
    """A tutorial's cost is recorded as it was when its graph was looked at."""
    assert_same_graph(tutorial_loss(TUTORIALS[name]), path=GRAPHS / f"{name}.txt")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("attention", "attention"),
        ("batch_norm", "batch norm"),
        ("dropout", "layer Dropout"),
        ("softmax_cross_entropy", "softmax cross-entropy"),
        ("cross_entropy", "loss cross_entropy, mean"),
        ("binary_cross_entropy", "loss binary_cross_entropy_with_logits, mean"),
    ],
)
def test_graph_of_an_expression(name, title):
    """An expression is recorded as it was when its graph was looked at."""
    assert_same_graph(recorded(title), path=GRAPHS / f"{name}.txt")


def test_a_graph_that_loses_its_stable_form_is_noticed(monkeypatch):
    """Without the rewriting of log, softmax cross-entropy is recorded as another graph."""
    monkeypatch.setattr(REGISTRY["log"], "rule", None)
    with pytest.raises(GraphMismatch, match="log_softmax"):
        assert_same_graph(
            recorded("softmax cross-entropy"),
            path=GRAPHS / "softmax_cross_entropy.txt",
            update=False,
        )
