"""Laws of optimisers, schedules and clipping; every optimiser of the package obeys."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import optim
from tinygrad_nn.compiler import compile
from tinygrad_nn.errors import GradientError, ModelError, MutationError
from tinygrad_nn.optim import schedules
from tinygrad_nn.optim.optimizer import Optimizer

STEPS = 50
SHAPES = ((3, 2), (2,), ())


# --- the papers, number by number -------------------------------------------------


def by_hand_sgd(lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
    def walk(w, gradients):
        v = 0.0
        for t, slope in enumerate(gradients):
            g = slope + weight_decay * w
            v = momentum * v + (dampening or 1.0) * g
            w = w - lr(t) * (g + momentum * v if nesterov else v)
        return w

    return walk


def by_hand_rmsprop(lr, decay=0.9, eps=1e-8, weight_decay=0.0):
    def walk(w, gradients):
        s = 0.0
        for t, slope in enumerate(gradients):
            g = slope + weight_decay * w
            s = decay * s + (1 - decay) * g**2
            w = w - lr(t) * g / (math.sqrt(s) + eps)
        return w

    return walk


def by_hand_adagrad(lr, eps=1e-10, weight_decay=0.0):
    def walk(w, gradients):
        past = []
        for t, g in enumerate(gradients):
            past.append(g + weight_decay * w)
            w = w - lr(t) * past[-1] / (math.sqrt(math.fsum(x * x for x in past)) + eps)
        return w

    return walk


def by_hand_adam(
    lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False
):
    def walk(w, gradients):
        m = v = 0.0
        for t, slope in enumerate(gradients):
            g = slope if decoupled else slope + weight_decay * w
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            m_hat = m / (1 - beta1 ** (t + 1))
            v_hat = v / (1 - beta2 ** (t + 1))
            shrink = weight_decay * w if decoupled else 0.0
            w = w - lr(t) * (m_hat / (math.sqrt(v_hat) + eps) + shrink)
        return w

    return walk


def by_hand_adamw(lr, weight_decay=0.01, **settings):
    return by_hand_adam(lr, weight_decay=weight_decay, decoupled=True, **settings)


BY_HAND = {
    optim.SGD: (
        by_hand_sgd,
        (
            {},
            {"momentum": 0.9},
            {"momentum": 0.9, "dampening": 0.1},
            {"momentum": 0.9, "nesterov": True},
            {"weight_decay": 0.1},
            {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
        ),
    ),
    optim.RMSProp: (
        by_hand_rmsprop,
        ({}, {"decay": 0.5, "eps": 1e-3}, {"weight_decay": 0.1}),
    ),
    optim.AdaGrad: (by_hand_adagrad, ({}, {"eps": 1e-3}, {"weight_decay": 0.1})),
    optim.Adam: (
        by_hand_adam,
        ({}, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3}, {"weight_decay": 0.1}),
    ),
    optim.AdamW: (
        by_hand_adamw,
        ({}, {"weight_decay": 0.3}, {"beta1": 0.0, "eps": 1e-3}),
    ),
}
MEMBERS = [
    pytest.param(kind, settings, id=f"{kind.__name__}-{settings}")
    for kind, (_, variants) in BY_HAND.items()
    for settings in variants
]
KINDS = [pytest.param(kind, id=kind.__name__) for kind in BY_HAND]
RATES = [
    pytest.param(0.05, id="number"),
    pytest.param(schedules.inverse_time(0.05, 0.1, every=7), id="schedule"),
]


def made(dtype=np.float64):
    rng = np.random.default_rng(3)
    return [tg.Parameter(np.asarray(rng.normal(size=shape), dtype)) for shape in SHAPES]


def drawn(steps=STEPS, dtype=np.float64):
    rng = np.random.default_rng(4)
    return [
        [np.asarray(rng.normal(size=s), dtype) for s in SHAPES] for _ in range(steps)
    ]


def give(parameters, gradients):
    """Deposit gradients the way a user does: through backward."""
    total = sum(
        (
            ((parameter * gradient).sum())
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ),
        start=0.0,
    )
    total.backward()


def law_of_the_paper(kind, settings, lr, by_hand):
    """Fifty steps equal the paper's recursion on every number, to 1e-12."""
    parameters = made()
    start = [parameter.data.copy() for parameter in parameters]
    optimizer = kind(parameters, lr, **settings)
    sequence = drawn()
    for gradients in sequence:
        give(parameters, gradients)
        optimizer.step()
    rate = lr if callable(lr) else lambda _t: lr
    walk = by_hand(rate, **settings)
    for i, parameter in enumerate(parameters):
        for at in np.ndindex(parameter.shape):
            gradients = [float(step[i][at]) for step in sequence]
            wanted = walk(float(start[i][at]), gradients)
            # 50 steps of some 10 roundings each: 1e-12 is 10 times their sum.
            assert abs(parameter.data[at] - wanted) <= 1e-12 * max(1.0, abs(wanted))


def law_of_float32(kind, settings):
    """float32 parameters and states stay float32."""
    parameters = made(np.float32)
    optimizer = kind(parameters, 0.05, **settings)
    for gradients in drawn(3, np.float32):
        give(parameters, gradients)
        optimizer.step()
    for parameter in parameters:
        assert parameter.data.dtype == np.float32
    for i, state in enumerate(optimizer._states):
        for value in state:
            if isinstance(value, (np.ndarray, np.generic)):
                assert value.dtype == np.float32
                assert value.shape == SHAPES[i]
    new, _ = optimizer.rule(
        np.ones(2, np.float32),
        np.ones(2, np.float32),
        optimizer.fresh(np.ones(2, np.float32)),
        lr=0.05,
        **optimizer.hyperparameters,
    )
    assert new.dtype == np.float32


def law_of_the_pure_rule(kind, settings):
    """A step writes in place, bit for bit, what the pure rule returns."""
    parameters = made()
    arrays = [parameter.data for parameter in parameters]
    optimizer = kind(parameters, 0.05, **settings)
    values = [array.copy() for array in arrays]
    states = [optimizer.fresh(value) for value in values]
    for gradients in drawn(5):
        give(parameters, gradients)
        optimizer.step()
        for i, g in enumerate(gradients):
            before = [values[i].copy(), g.copy()]
            new, states[i] = optimizer.rule(
                values[i], g, states[i], lr=0.05, **optimizer.hyperparameters
            )
            assert np.array_equal(values[i], before[0])  # pure: inputs untouched
            assert np.array_equal(g, before[1])
            values[i] = np.asarray(new)
    for parameter, array, value in zip(parameters, arrays, values, strict=True):
        assert parameter.data is array
        assert np.array_equal(array, value)


def law_of_tensors(kind, settings):
    """The rule runs on Tensors too, and gives the same numbers as on arrays."""
    optimizer = kind(made(), 0.05, **settings)
    w, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    state = optimizer.fresh(w)
    array, after = optimizer.rule(w, g, state, lr=0.05, **optimizer.hyperparameters)
    traced = [tg.Tensor(x) if isinstance(x, np.ndarray) else x for x in state]
    tensor, after_traced = optimizer.rule(
        tg.Tensor(w), tg.Tensor(g), tuple(traced), lr=0.05, **optimizer.hyperparameters
    )
    assert isinstance(tensor, tg.Tensor)
    assert np.array_equal(tensor.data, array)
    for x, y in zip(after, after_traced, strict=True):
        assert np.array_equal(x, y.data if isinstance(y, tg.Tensor) else y)


def law_of_resuming(kind, settings):
    """A run resumed from a saved state equals an uninterrupted one bit for bit."""
    whole, halves = made(), made()
    steady = kind(whole, 0.05, **settings)
    first = kind(halves, 0.05, **settings)
    sequence = drawn(10)
    for gradients in sequence[:5]:
        give(whole, gradients)
        steady.step()
        give(halves, gradients)
        first.step()
    saved = {key: np.array(value) for key, value in first.state().items()}
    copies = [tg.Parameter(parameter.data.copy()) for parameter in halves]
    second = kind(copies, 0.9, **settings)
    second.load_state(saved)
    assert (second.steps, second.lr) == (5, 0.05)
    for gradients in sequence[5:]:
        give(whole, gradients)
        steady.step()
        give(copies, gradients)
        second.step()
    for parameter, other in zip(whole, copies, strict=True):
        assert np.array_equal(parameter.data, other.data)
    for key, value in steady.state().items():
        assert np.array_equal(value, second.state()[key]), key


LAWS = (law_of_float32, law_of_the_pure_rule, law_of_tensors, law_of_resuming)


def test_every_optimiser_is_a_member():
    """No optimiser of the package is left out of the laws."""
    found = {
        value
        for name, value in vars(optim).items()
        if inspect.isclass(value)
        and issubclass(value, Optimizer)
        and value is not Optimizer
    }
    assert found == set(BY_HAND)
    assert {kind.__name__ for kind in found} <= set(optim.__all__)


@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize(("kind", "settings"), MEMBERS)
def test_fifty_steps_equal_the_paper(kind, settings, lr):
    """Each optimiser follows its paper's recursion, with a number or a schedule."""
    law_of_the_paper(kind, settings, lr, BY_HAND[kind][0])


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(("kind", "settings"), MEMBERS)
def test_law(kind, settings, law):
    """Each optimiser obeys each law that all share."""
    law(kind, settings)


def mutant(rule, base, **attributes):
    """Return ``base`` with another rule: what a slip would look like."""

    class Wrong(Optimizer):
        def __init__(self, params, lr, **settings):
            honest = base(params, lr, **settings)
            super().__init__(params, lr, rule, honest.slots, **honest.hyperparameters)
            self._honest = honest

        def fresh(self, value):
            return base([tg.Parameter(np.zeros(1))], 0.1, **attributes).fresh(value)

    return Wrong


def adam_with_wrong_correction(w, g, state, **settings):
    """The count is raised after its use."""
    mean, square, count = state
    new, (mean, square, count) = optim.adam(w, g, (mean, square, count + 1), **settings)
    return new, (mean, square, count - 1)


def adamw_with_decay_in_the_gradient(w, g, state, *, weight_decay, **settings):
    """L2 instead of decoupled decay."""
    return optim.adam(w, g, state, weight_decay=weight_decay, **settings)


def sgd_with_velocity_from_the_first_gradient(w, g, state, **settings):
    """Undamped first step."""
    (velocity,) = state
    if not np.any(velocity):
        return optim.sgd(w, g, state, **{**settings, "dampening": 0.0})
    return optim.sgd(w, g, state, **settings)


def rmsprop_with_eps_inside(w, g, state, *, lr, decay, eps, weight_decay):
    """Eps under the root."""
    square = decay * state[0] + (1 - decay) * g * g
    return w - lr * g / np.sqrt(square + eps), (square,)


def adagrad_that_forgets(w, g, state, **settings):
    """Sum of squares halved each step."""
    return optim.adagrad(w, g, (0.5 * state[0],), **settings)


@pytest.mark.parametrize(
    ("rule", "kind", "settings"),
    [
        (adam_with_wrong_correction, optim.Adam, {}),
        (adamw_with_decay_in_the_gradient, optim.AdamW, {}),
        (
            sgd_with_velocity_from_the_first_gradient,
            optim.SGD,
            {"momentum": 0.9, "dampening": 0.1},
        ),
        (rmsprop_with_eps_inside, optim.RMSProp, {}),
        (adagrad_that_forgets, optim.AdaGrad, {}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_the_paper_law_has_teeth(rule, kind, settings):
    """A slip in a rule is refuted."""
    with pytest.raises(AssertionError):
        law_of_the_paper(
            mutant(rule, kind, **settings), settings, 0.05, BY_HAND[kind][0]
        )


@pytest.mark.parametrize(("kind", "settings"), MEMBERS)
def test_the_mutants_differ_in_their_slip_alone(kind, settings):
    """With the honest rule, what makes the mutants obeys the law that refutes them."""
    rule = kind([tg.Parameter([1.0])], 0.1, **settings).rule
    law_of_the_paper(mutant(rule, kind, **settings), settings, 0.05, BY_HAND[kind][0])


def upcasting(w, g, state, **settings):
    new, state = optim.sgd(w, g, state, **settings)
    return new * np.float64(1.0), state


def impure(w, g, state, **settings):
    new, state = optim.sgd(w, g, state, **settings)
    w *= 1.5
    return new, state


def leaving_the_graph(w, g, state, **settings):
    plain = [x.data if isinstance(x, tg.Tensor) else x for x in (w, g)]
    return optim.sgd(*plain, state, **settings)


class Forgetful(Optimizer):
    """Says nothing of its velocity when it is saved."""

    def __init__(self, params, lr, **settings):
        super().__init__(params, lr, optim.sgd, (), **settings)

    def fresh(self, value):
        return (np.zeros_like(value),)

    def _slots_by_key(self):
        return {}

    def load_state(self, state):
        super().load_state(state)
        self._states = [self.fresh(parameter.data) for parameter in self.parameters]


@pytest.mark.parametrize(
    ("law", "kind", "settings"),
    [
        (law_of_float32, mutant(upcasting, optim.SGD), {}),
        (law_of_the_pure_rule, mutant(impure, optim.SGD), {}),
        (law_of_tensors, mutant(leaving_the_graph, optim.SGD), {}),
        (law_of_resuming, Forgetful, {"momentum": 0.9}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_laws_have_teeth(law, kind, settings):
    """Each shared law refutes an optimiser that breaks it."""
    with pytest.raises(AssertionError):
        law(kind, settings)


# --- what a step does to gradients and graphs -------------------------------------


def test_dampened_momentum_is_the_exponentially_weighted_average():
    """momentum=β, dampening=1-β is v = β v + (1-β) dW, W -= lr v, from v = 0."""
    beta, lr = 0.9, 0.1
    (w, *_) = made()
    optimizer = optim.SGD([w], lr, momentum=beta, dampening=1 - beta)
    W, v = w.data.copy(), np.zeros_like(w.data)
    for dW, *_ in drawn():
        give([w], [dW])
        optimizer.step()
        v = beta * v + (1 - beta) * dW
        W = W - lr * v
    np.testing.assert_allclose(w.data, W, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_step_without_backward_is_refused(kind):
    """Gradients are used up by a step, stay readable, and nothing moves twice."""
    parameters = made()
    optimizer = kind(parameters, 0.1)
    give(parameters, drawn(1)[0])
    optimizer.step()
    after = [parameter.data.copy() for parameter in parameters]
    assert all(parameter.grad is not None for parameter in parameters)
    with pytest.raises(
        GradientError, match=f"{kind.__name__}: .*second step.*backward"
    ):
        optimizer.step()
    assert optimizer.steps == 1
    for parameter, value in zip(parameters, after, strict=True):
        assert np.array_equal(parameter.data, value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forgotten_zero_grad_is_no_bug(kind):
    """With, without and with superfluous zero_grad the numbers are the same."""
    results = []
    for mode in ("never", "before", "after"):
        parameters = made()
        optimizer = kind(parameters, 0.1)
        for gradients in drawn(5):
            if mode == "before":
                optimizer.zero_grad()
            give(parameters, gradients)
            optimizer.step()
            if mode == "after":
                optimizer.zero_grad()
        results.append(parameters)
    for never, before, after in zip(*results, strict=True):
        assert np.array_equal(never.data, before.data)
        assert np.array_equal(never.data, after.data)


def test_backwards_before_one_step_add_up():
    """Two halves of a batch give the step of the whole."""
    whole, halves = made(), made()
    (gradients,) = drawn(1)
    give(whole, gradients)
    give(halves, [0.25 * g for g in gradients])
    give(halves, [0.75 * g for g in gradients])
    optim.SGD(whole, 0.5).step()
    optim.SGD(halves, 0.5).step()
    for one, two in zip(whole, halves, strict=True):
        np.testing.assert_allclose(two.data, one.data, rtol=1e-15, atol=1e-15)


def test_a_parameter_without_a_new_gradient_stays():
    """No gradient: no step, no decay, and its own count for Adam's correction."""
    first, second = tg.Parameter([1.0], "first"), tg.Parameter([1.0], "second")
    optimizer = optim.Adam([first, second], 0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.minimize((first * first).sum())
    assert second.data.tolist() == [1.0]
    alone = tg.Parameter([1.0])
    optim.Adam([alone], 0.1, weight_decay=0.5).minimize((alone * alone).sum())
    optimizer.minimize((second * second).sum())
    assert np.array_equal(second.data, alone.data)


def test_a_step_without_any_gradient_names_the_parameters():
    """The error lists what it looked for."""
    optimizer = optim.SGD({"W1": tg.Parameter([1.0]), "b1": tg.Parameter([1.0])}, 0.1)
    with pytest.raises(GradientError, match="needs gradients; got none for 'W1', 'b1'"):
        optimizer.step()
    nameless = optim.SGD([tg.Parameter([1.0]) for _ in range(9)], 0.1)
    with pytest.raises(GradientError, match=r"parameter 0, .*parameter 7, …"):
        nameless.step()


def test_a_step_between_forward_and_backward_is_noticed():
    """A graph that saved the old value refuses, and blames the line of the step."""
    w = tg.Parameter([2.0], "w")
    optimizer = optim.SGD([w], 0.1)
    stale = (w * w * w).sum()
    optimizer.minimize((w * w).sum())  # the line to blame
    with pytest.raises(MutationError, match=r"'w'.*test_optim\.py"):
        stale.backward()


def test_a_handed_out_gradient_is_never_changed():
    """The array that .grad gave keeps its numbers through steps and clipping."""
    parameters = made()
    optimizer = optim.SGD(parameters, 0.1, momentum=0.9)
    give(parameters, drawn(1)[0])
    held = [parameter.grad for parameter in parameters]
    copies = [g.copy() for g in held]
    optim.clip_by_norm(parameters, 0.1)
    optim.clip_by_value(parameters, 0.01)
    optimizer.step()
    give(parameters, drawn(1)[0])
    for g, copy in zip(held, copies, strict=True):
        assert np.array_equal(g, copy)


def test_the_rate_can_be_set_and_scheduled():
    """`lr` reads as the rate of the coming step, whichever way it was set."""
    w = tg.Parameter([1.0])
    optimizer = optim.SGD([w], np.float64(0.5))
    assert type(optimizer.lr) is float
    optimizer.lr = schedules.step(1.0, every=1, factor=0.5)
    seen = []
    for _ in range(3):
        seen.append(optimizer.lr)
        optimizer.minimize(w.sum())
    assert seen == [1.0, 0.5, 0.25]
    np.testing.assert_allclose(w.data, [1 - 1.75])
    assert "lr" not in optimizer.state()
    optimizer.lr = 0.125
    assert optimizer.state()["lr"] == 0.125


def test_a_model_a_dict_and_a_list_are_ways_to_give_parameters():
    """All three find the same parameters."""
    net = tg.nn.Dense(2, 1, rng=0)
    lists = [
        optim.SGD(given, 0.1).parameters
        for given in (
            net,
            net.parameters(),
            iter(net.parameters()),
            dict(net.named_parameters()),
        )
    ]
    for found in lists:
        assert [id(p) for p in found] == [id(net.weight), id(net.bias)]


W = tg.Parameter(np.ones(2), "W")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (W, r"got one Tensor. Write \[W\]"),
        ([], "expected at least one parameter; got none"),
        (3, "got int. Write model.parameters"),
        ([W, W], r"parameter 1 \('W'\) again at place 0"),
        ([np.ones(2)], "parameter 0 cannot be trained; got ndarray"),
        ([W, W * 2], "parameter 1 cannot be trained; got a result of <op multiply>"),
        ([tg.Tensor([1.0])], "requires no gradient. Make it with tg.Parameter"),
        ([tg.Parameter(np.broadcast_to(1.0, 3))], r"read-only array.*array.copy\(\)"),
    ],
)
def test_what_cannot_be_optimised_is_refused_by_name(params, message):
    """The error says which parameter, what it is, and what to write."""
    with pytest.raises(ModelError, match=f"SGD: .*{message}"):
        optim.SGD(params, 0.1)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (optim.SGD, {"lr": -1}, "SGD: expected 0 <= lr; got -1"),
        (optim.SGD, {"lr": math.nan}, "lr; got nan"),
        (optim.SGD, {"lr": math.inf}, "lr; got inf"),
        (optim.SGD, {"lr": "fast"}, "got 'fast'"),
        (optim.SGD, {"momentum": 1}, "0 <= momentum < 1; got 1"),
        (optim.SGD, {"momentum": 0.5, "dampening": 2}, "dampening <= 1; got 2"),
        (optim.SGD, {"nesterov": True}, "momentum=0, dampening=0. Set momentum > 0"),
        (optim.SGD, {"weight_decay": -0.1}, "weight_decay; got -0.1"),
        (optim.RMSProp, {"decay": 1.0}, "RMSProp: expected 0 <= decay < 1"),
        (optim.AdaGrad, {"eps": -1}, "AdaGrad: expected 0 <= eps"),
        (optim.Adam, {"beta1": 1.0}, "Adam: expected 0 <= beta1 < 1"),
        (optim.AdamW, {"beta2": -0.5}, "AdamW: expected 0 <= beta2 < 1; got -0.5"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, message):
    """The error names the optimiser, the setting, its range and the value."""
    with pytest.raises(ModelError, match=message):
        kind([W], **{"lr": 0.1, **settings})


def test_loading_a_state_that_does_not_fit_changes_nothing():
    """All faults are named, sorted, and the optimiser stays as it was."""
    w = tg.Parameter(np.ones(2))
    optimizer = optim.Adam([w], 0.1)
    optimizer.minimize((w * w).sum())
    before = optimizer.state()
    wrong = {**before, "parameters.0.mean": np.ones(3), "parameters.1.mean": 0.0}
    del wrong["parameters.0.square"]
    with pytest.raises(
        ModelError,
        match=r"Adam: .*'parameters.0.mean' has shape \(3,\), not \(2,\); "
        r"'parameters.0.square' is missing; 'parameters.1.mean' is unknown",
    ):
        optimizer.load_state(wrong)
    for key, value in optimizer.state().items():
        assert np.array_equal(value, before[key])


def test_a_state_is_a_copy():
    """What was saved does not follow later steps."""
    w = tg.Parameter(np.ones(2))
    optimizer = optim.SGD([w], 0.1, momentum=0.9)
    optimizer.minimize((w * w).sum())
    saved = optimizer.state()
    velocity = saved["parameters.0.velocity"].copy()
    optimizer.minimize((w * w).sum())
    assert saved["steps"] == 1
    assert np.array_equal(saved["parameters.0.velocity"], velocity)


def test_an_optimiser_shows_its_settings():
    """The repr names the kind, the rate and the hyperparameters."""
    assert repr(optim.RMSProp([W], 0.01)) == (
        "RMSProp(1 parameter, lr=0.01, decay=0.9, eps=1e-08, weight_decay=0.0)"
    )


# --- schedules --------------------------------------------------------------------

SCHEDULES = {
    "constant": (schedules.constant(0.3), lambda t: 0.3),
    "cosine": (
        schedules.cosine(0.3, steps=20, final=0.1),
        lambda t: 0.2 + 0.1 * math.cos(math.pi * t / 20) if t < 20 else 0.1,
    ),
    "exponential": (
        schedules.exponential(0.3, 0.5, every=4),
        lambda t: 0.3 * 2 ** (-t / 4),
    ),
    "inverse_time": (
        schedules.inverse_time(0.3, 0.25, every=5),
        lambda t: 0.3 / (1 + 0.25 * math.floor(t / 5)),
    ),
    "linear": (
        schedules.linear(0.3, steps=20, final=0.1),
        lambda t: 0.3 - 0.2 * t / 20 if t < 20 else 0.1,
    ),
    "one_cycle": (
        schedules.one_cycle(0.3, steps=40, rise=0.25, start=0.1),
        lambda t: (
            0.165 - 0.135 * math.cos(math.pi * t / 10)
            if t < 10
            else 0.15 * (1 + math.cos(math.pi * min((t - 10) / 30, 1)))
        ),
    ),
    "step": (
        schedules.step(0.3, every=10, factor=0.5),
        lambda t: 0.3 / 2 ** len(range(10, t + 1, 10)),
    ),
    "warm_up": (
        schedules.warm_up(schedules.linear(0.3, steps=10), steps=5),
        lambda t: 0.06 * (t + 1) if t < 5 else max(0.0, 0.3 * (15 - t) / 10),
    ),
}


def law_of_schedule(schedule, formula):
    """A schedule has its formula's value at every step."""
    for t in range(60):
        assert abs(schedule(t) - formula(t)) <= 1e-14, t


@pytest.mark.parametrize("name", schedules.__all__)
def test_a_schedule_equals_its_formula(name):
    """Every schedule of the module, at 60 steps; it pickles, and is never negative."""
    schedule, formula = SCHEDULES[name]
    law_of_schedule(schedule, formula)
    copy = pickle.loads(pickle.dumps(schedule))
    law_of_schedule(copy, formula)


@pytest.mark.parametrize("name", [n for n in schedules.__all__ if n != "constant"])
def test_the_schedule_law_has_teeth(name):
    """A schedule that is late by one step is refuted."""
    schedule, formula = SCHEDULES[name]
    with pytest.raises(AssertionError):
        law_of_schedule(lambda t: schedule(max(t - 1, 0)), formula)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-1), "constant: expected 0 <= lr; got -1"),
        (
            lambda: schedules.step(0.1, every=0),
            "step: every is a number of steps, at least 1; got 0",
        ),
        (lambda: schedules.cosine(0.1, steps=2.5), "cosine: steps .*got 2.5"),
        (lambda: schedules.one_cycle(0.1, 10, rise=1), "0 <= rise < 1"),
    ],
)
def test_schedules_refuse_what_makes_no_sense(make, message):
    """The error names the schedule, the setting and the value."""
    with pytest.raises(ModelError, match=message):
        make()


# --- clipping ---------------------------------------------------------------------


def with_gradients(*gradients, dtype=np.float64):
    parameters = [tg.Parameter(np.zeros(np.shape(g)), dtype=dtype) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g
    return parameters


def test_clipping_by_norm_scales_all_gradients_together():
    """The common norm becomes the bound, directions stay; below it nothing changes."""
    parameters = with_gradients([3.0, 0.0], [[4.0]], 12.0)
    assert optim.clip_by_norm(parameters, 20.0) == 13.0
    assert [p.grad.tolist() for p in parameters] == [[3.0, 0.0], [[4.0]], 12.0]
    assert optim.clip_by_norm(parameters, 6.5) == 13.0
    assert [p.grad.tolist() for p in parameters] == [[1.5, 0.0], [[2.0]], 6.0]
    assert all(isinstance(p.grad, np.ndarray) for p in parameters)


def test_clipping_by_norm_does_not_overflow():
    """Squares of large float32 gradients would: the norm is measured without them."""
    parameters = with_gradients(np.full(4, 1e30), dtype=np.float32)
    assert optim.clip_by_norm(parameters, 1.0) == pytest.approx(2e30, rel=1e-6)
    assert parameters[0].grad.dtype == np.float32
    np.testing.assert_allclose(parameters[0].grad, 0.5, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_clipping_leaves_what_is_not_finite_for_you_to_see(bad):
    """The norm says so, and no gradient is changed."""
    parameters = with_gradients([bad, 1.0], [2.0])
    assert not math.isfinite(optim.clip_by_norm(parameters, 1.0))
    assert parameters[1].grad.tolist() == [2.0]


def test_clipping_by_value_limits_every_element():
    """Elements beyond the limit are set to it; 0-d gradients stay arrays."""
    parameters = with_gradients([3.0, -0.5, -7.0], 2.0)
    optim.clip_by_value(parameters, 1.0)
    assert [p.grad.tolist() for p in parameters] == [[1.0, -0.5, -1.0], 1.0]
    assert isinstance(parameters[1].grad, np.ndarray)


def test_clipping_a_gradient_does_not_revive_it():
    """Used-up gradients are left alone: a step after clipping still asks for backward."""
    w = tg.Parameter([3.0])
    optimizer = optim.SGD([w], 0.1)
    optimizer.minimize((w * w).sum())
    used = w.grad.copy()
    assert optim.clip_by_norm([w], 0.1) == 0.0
    optim.clip_by_value([w], 0.1)
    assert np.array_equal(w.grad, used)
    with pytest.raises(GradientError, match="second step"):
        optimizer.step()


@pytest.mark.parametrize("clip", [optim.clip_by_norm, optim.clip_by_value])
def test_clipping_refuses_a_negative_bound_and_no_parameters(clip):
    """The error names the function and the value."""
    with pytest.raises(ModelError, match=f"{clip.__name__}: expected 0 <= .*got -1"):
        clip([W], -1)
    with pytest.raises(ModelError, match=f"{clip.__name__}: .*got none"):
        clip([], 1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("limit", [0.0, 0.01, 1e3, 1e-300])
@pytest.mark.parametrize("clip", [optim.clip_by_norm, optim.clip_by_value])
def test_a_compiled_step_clips_as_an_eager_one(clip, limit, dtype):
    """Norm, gradients and parameters of five steps are the same bits."""
    X = np.random.default_rng(3).normal(size=(7, 3)).astype(dtype)

    def make():
        rng = np.random.default_rng(0)
        W = tg.Parameter(rng.normal(size=(3, 4)).astype(dtype))
        b, unused = tg.Parameter(np.zeros((1, 4), dtype)), tg.Parameter([1.0])
        optimizer = optim.SGD([W, b], lr=0.1)

        def step(x):
            cost = ((x @ W + b) ** 2).mean()
            cost.backward()
            norm = clip([W, b, unused], limit)
            optimizer.step()
            return [cost] if norm is None else [cost, norm]

        return step, [W, b]

    (eager, theirs), (step, ours) = make(), make()
    compiled = compile(step, exact=True)
    for _ in range(5):
        expected = [float(x) if isinstance(x, float) else x.item() for x in eager(X)]
        assert [x.item() for x in compiled(X)] == expected
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a.data, b.data)
            assert np.array_equal(a.grad, b.grad)
            assert a.dtype == b.dtype == dtype


def test_a_compiled_step_leaves_gradients_that_are_not_finite():
    """Compiled, too, nothing is clipped where the norm is nan or infinite."""
    w = tg.Parameter([1.0, 2.0])
    optimizer = optim.SGD([w], lr=1.0)

    @compile
    def step(x):
        (w * x).sum().backward()
        norm = optim.clip_by_norm([w], 0.5)
        optimizer.step()
        return norm

    assert step(np.array([np.inf, 1.0])).item() == np.inf
    assert w.data.tolist() == [-np.inf, 1.0]
    assert step(np.array([0.0, 0.0])).item() == 0.0
