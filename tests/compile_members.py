"""What the laws of compiled steps are held for: training steps of every kind.

A member makes a fresh `Run` each time it is called: a step, everything that the step may
change, and the arguments of its ``i``-th call. Two runs of one member start alike.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import losses, nn, optim
from tinygrad_nn.optim import schedules

EXAMPLES = Path(__file__).parent.parent / "examples"


class Run(NamedTuple):
    """A step, what it may change, and the arguments of its calls."""

    step: Callable[..., Any]
    watched: Sequence[Any]
    feed: Callable[[int], tuple[Any, ...]]


STEPS: dict[str, Callable[[], Run]] = {}


def member(make):
    """Add a member under its function's name."""
    STEPS[make.__name__] = make
    return make


def normal(shape, seed=1, dtype=np.float64):
    return np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def parameter(shape, seed=1, name=None, dtype=np.float64):
    return tg.Parameter(normal(shape, seed, dtype), name=name)


def rows(i):
    """The ``i``-th batch: (5, 3)."""
    return (normal((5, 3), i),)


def tracing():
    return tg.recording.current().trace is not None


def new_value(leaf, value):
    """Assign a result to a leaf, as eager code must write it, and as a step may."""
    leaf.data = value if tracing() else np.array(value.numpy())


# --- gradients ---------------------------------------------------------------------


@member
def detached():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        cost = (w * x * w.detach()).sum()
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer], rows)


@member
def no_grad_inside():
    w, v = parameter(3), parameter(3, 2)
    optimizer = optim.SGD([w, v], 0.1)

    def step(x):
        with tg.no_grad():
            target = (w * x).sum(0)
        cost = ((v - target) ** 2).sum() + (w * w).sum()
        optimizer.minimize(cost)
        return cost, target

    return Run(step, [w, v, optimizer], rows)


@member
def gradients_that_accumulate():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        h = w * x
        first, second = h.sum() ** 2, (h * h).sum()
        first.backward()
        second.backward()
        optimizer.step()
        return first, second

    return Run(step, [w, optimizer], rows)


@member
def gradients_from_earlier_calls():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x, last):
        cost = (w * x).sum() ** 2
        cost.backward()
        if last:
            optimizer.step()
        return cost

    return Run(step, [w, optimizer], lambda i: (*rows(i), i % 3 == 2))


@member
def gradients_set_by_hand():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        w.grad = None
        cost = (w * x).sum() ** 2
        cost.backward()
        w.grad = w.grad * 0.5
        optimizer.step()
        return cost, w.grad

    return Run(step, [w, optimizer], rows)


@member
def gradient_of_the_step_before():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        before = w.grad
        cost = (w * x).sum() ** 2
        if before is not None:
            cost = cost + (w * before).sum()
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer], rows)


@member
def gradients_that_are_parameters():
    w, v = parameter((3, 2)), parameter((2, 3), 4)
    optimizer = optim.SGD([w, v], 0.1)

    def step(x):
        cost = (w * v.T).sum()
        optimizer.minimize(cost)
        return cost, w.grad, v.grad

    return Run(step, [w, v, optimizer], rows)


@member
def cotangent_as_argument():
    w = parameter(3)

    def step(x, g):
        out = w * x
        out.backward(g)
        return out

    return Run(step, [w], lambda i: (*rows(i), normal((5, 3), i + 9)))


@member
def cotangent_held_outside():
    w = parameter(3)
    g = normal((5, 3), 7).astype(np.float32)

    def step(x):
        out = w * x
        out.backward(g)
        return out, *tg.gradients(out, [x], g)

    def feed(i):
        g[0] = i
        return rows(i)

    return Run(step, [w], feed)


@member
def penalty_on_a_gradient():
    w = parameter((3, 2))
    optimizer = optim.SGD([w], 0.01)

    def step(x):
        cost = (tg.tanh(x @ w) ** 2).sum()
        dW, dx = tg.gradients(cost, [w, x])
        total = cost + (dW * dW).sum() + (dx * dx).sum()
        optimizer.minimize(total)
        return cost, total, dx

    return Run(step, [w, optimizer], rows)


@member
def gradient_of_a_bypassed_node():
    w = parameter(3)

    def step(x):
        A = 1 / (1 + np.exp(-x * w * 3))
        Y = x > 0
        cost = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()
        return cost, *tg.gradients(cost, [A, w])

    return Run(step, [w], rows)


@member
def transforms():
    def f(y):
        return (tg.tanh(y) ** 3).sum()

    def step(x):
        return {
            "value and gradient": tg.value_and_grad(f)(x),
            "hvp": tg.hvp(f, x, x * 0.5),
            "jacobian": tg.jacobian(lambda y: tg.tanh(y).sum(0))(x),
            "hessian": tg.hessian(f)(x[0]),
            "jvp": tg.jvp(lambda y: tg.tanh(y).sum(0), [x], [x * 2.0]),
        }

    return Run(step, [], rows)


# --- updates -----------------------------------------------------------------------


@member
def update_by_hand():
    w = [parameter(3)]

    def step(x):
        cost = ((w[0] * x) ** 2).mean()
        cost.backward()
        with tg.no_grad():
            w[0] -= 0.1 * w[0].grad
        w[0].zero_grad()
        return cost

    return Run(step, w, rows)


@member
def update_from_gradients():
    w = parameter(3)

    def step(x):
        cost = ((w * x) ** 2).mean()
        (dw,) = tg.gradients(cost, [w])
        with tg.no_grad():
            new_value(w, w - 0.1 * dw)
        return cost

    return Run(step, [w], rows)


@member
def assignments_in_turn():
    w = [parameter(3)]

    def step(x):
        before = (w[0] * x).sum()
        with tg.no_grad():
            w[0] += 1.0
            twice = w[0] * 2
            w[0] *= 0.5
        return before, twice, w[0] * 3

    return Run(step, w, rows)


@member
def values_that_change_places():
    w, v = parameter(3), parameter(3, 5)

    def step(x):
        with tg.no_grad():
            a, b = w * 1.0, v * 1.0
            new_value(w, b)
            new_value(v, a)
        return (w * x).sum()

    return Run(step, [w, v], rows)


@member
def running_mean():
    mean, w = tg.Tensor(np.zeros(3)), parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        with tg.no_grad():
            new_value(mean, 0.9 * mean + 0.1 * x.mean(0))
        cost = (w * (x - mean)).sum() ** 2
        optimizer.minimize(cost)
        return cost

    return Run(step, [mean, w, optimizer], rows)


@member
def two_steps_in_one_call():
    w = parameter(3)
    optimizer = optim.Adam([w], 0.1)

    def step(x):
        first = (w * x).sum() ** 2
        optimizer.minimize(first)
        second = (w * x).mean() ** 2
        optimizer.minimize(second)
        return first, second

    return Run(step, [w, optimizer], rows)


@member
def two_optimisers():
    g, d = parameter(3), parameter(3, 2)
    of_g, of_d = optim.Adam([g], 0.01), optim.SGD([d], 0.1, momentum=0.9)

    def step(x):
        real, fake = (x * d).sum(1), ((x * g).detach() * d).sum(1)
        cost_d = -(tg.log(tg.sigmoid(real)) + tg.log(1 - tg.sigmoid(fake))).mean()
        of_d.minimize(cost_d)
        cost_g = -tg.log(tg.sigmoid((x * g * d).sum(1))).mean()
        of_g.zero_grad()
        of_g.minimize(cost_g)
        return cost_d, cost_g

    return Run(step, [g, d, of_g, of_d], rows)


@member
def a_parameter_without_gradient():
    w, unused = parameter(3), parameter(2)
    optimizer = optim.Adam([w, unused], 0.01)

    def step(x):
        cost = (w * x).sum() ** 2
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, unused, optimizer], rows)


@member
def clipped_by_norm():
    w, b = parameter(3), parameter((), 5)
    optimizer = optim.SGD([w, b], 0.1)

    def step(x):
        cost = (w * x * b).sum() ** 2
        cost.backward()
        norm = optim.clip_by_norm([w, b], 0.5)
        optimizer.step()
        return cost, norm

    # Some gradients are below the bound.
    return Run(
        step, [w, b, optimizer], lambda i: (rows(i)[0] * (1 if i % 2 else 0.01),)
    )


@member
def clipped_by_value():
    w, b = parameter(3), parameter((), 5)

    def step(x):
        cost = (w * x * b).sum() ** 2
        cost.backward()
        optim.clip_by_value([w, b], 0.5)
        return cost

    return Run(step, [w, b], rows)


@member
def rate_set_between_steps():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1, momentum=0.9, nesterov=True, weight_decay=0.1)

    def step(x):
        cost = (w * x).sum() ** 2
        optimizer.minimize(cost)
        return cost

    def feed(i):
        optimizer.lr = 0.1 / (i + 1)
        return rows(i)

    return Run(step, [w, optimizer], feed)


@member
def rate_read_in_a_step():
    w = parameter(3)
    optimizer = optim.Adam([w], schedules.cosine(0.1, 10))

    def step(x):
        cost = (w * x).sum() ** 2 * (1.0 + optimizer.lr)
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer], rows)


@member
def state_loaded_between_steps():
    w = parameter(3)
    optimizer = optim.Adam([w], 0.1)
    saved = {}

    def step(x):
        cost = (w * x).sum() ** 2
        optimizer.minimize(cost)
        return cost

    def feed(i):
        if i == 1:
            saved.update(optimizer.state())
        if i == 3:
            optimizer.load_state(saved)
        return rows(i)

    return Run(step, [w, optimizer], feed)


@member
def parameter_replaced_between_steps():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1, momentum=0.9)

    def step(x):
        cost = (w * x).sum() ** 2
        optimizer.minimize(cost)
        return cost

    def feed(i):
        if i == 2:
            w.data = np.ones(3)
        return rows(i)

    return Run(step, [w, optimizer], feed)


# --- data --------------------------------------------------------------------------


@member
def results_of_every_kind():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        cost, h = (w * x).sum() ** 2, w * x
        view, copy = w[1:], w * 1.0
        optimizer.minimize(cost)
        return {
            "a parameter": w,
            "an argument": x,
            "views": [x.T, h[1:], (x * x).T[::2], w.reshape(3, 1)],
            "the same twice": (cost, cost),
            "of before": [view, copy],
            "a gradient": w.grad,
            "plain": [1, "two", None, 3.0],
            "constant": tg.Tensor(np.arange(3.0)),
        }

    return Run(step, [w, optimizer], rows)


@member
def views_that_follow_their_parameter():
    w = parameter((2, 3))
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        turned = w.T
        first = (x @ turned).sum() ** 2
        optimizer.minimize(first)
        return first, (x @ turned).mean(), turned

    return Run(step, [w, optimizer], rows)


@member
def parts_of_what_was_computed():
    """Single elements are numbers, rows are views; both are other ones in each call."""
    w, b = parameter((3, 3)), parameter((), 2)
    optimizer = optim.SGD([w, b], 0.01)

    def step(x):
        h = tg.tanh(x @ w)
        element, row, last = h[0, 1] * b, h[1], h[-1][2]
        pair = tg.stack([b, b * 2])
        cost = (h[2:4] * row).sum() ** 2 + element * last + pair[0] * pair[1]
        cost = cost + tg.concatenate([row, h[0, 1:]]).sum() * h[..., ::2][3, 1]
        optimizer.minimize(cost + h.sum(0)[1] ** 2)
        return cost, element, row, last, h[1:2, 1:2], pair[1]

    return Run(step, [w, b, optimizer], rows)


@member
def indices_as_arguments():
    w = parameter((4, 3))
    optimizer = optim.SGD([w], 0.1)

    def step(i, j, x):
        h = w[3 - i]
        cost = (
            (h * x).sum() ** 2 + (w[i, 1:] ** 2).sum() + w[:, j].sum() + w[i, j].sum()
        )
        optimizer.minimize(cost)
        return cost, h

    def feed(n):
        rng = np.random.default_rng(n)
        return rng.integers(0, 4, 5), rng.integers(0, 3, 5), rng.normal(size=(5, 3))

    return Run(step, [w, optimizer], feed)


@member
def indices_held_outside():
    w = parameter((4, 3))
    optimizer = optim.SGD([w], 0.1)
    array, tensor = np.array([0, 1, 1]), tg.Tensor(np.array([2, 0]))

    def step(x):
        cost = (w[array] * x[:3]).sum() ** 2 + w[tensor].sum() ** 2
        optimizer.minimize(cost)
        return cost

    def feed(i):
        array[0] = i % 4
        tensor.data = np.array([i % 3, 1])
        return rows(i)

    return Run(step, [w, optimizer], feed)


@member
def data_held_outside():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)
    array, tensor = np.ones((5, 3)), tg.Tensor(np.ones((5, 3)))

    def step(x):
        cost = (w * x * array * tensor).sum() ** 2
        optimizer.minimize(cost)
        return cost, tensor

    def feed(i):
        array[0] = i
        tensor.data = np.full((5, 3), i + 1.0)
        return rows(i)

    return Run(step, [w, optimizer], feed)


@member
def arguments_of_every_kind():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.01)

    def step(batch, factor, *, name, scale=2):
        x, (y, mask) = batch["x"], batch["y"]
        cost = (tg.where(mask, x * w, y) * factor * scale).sum() ** 2
        optimizer.minimize(cost if name == "a" else cost * 2)
        return {"cost": cost, "mask": ~mask, "whole": y * 2, "count": mask.sum()}

    def feed(i):
        rng = np.random.default_rng(i)
        batch = {"x": rng.normal(size=(5, 3)), "y": [rng.integers(0, 9, (5, 3)), rng.random((5, 3)) < 0.5]}  # fmt: skip
        return batch, np.asarray(float(i)), {"name": "ab"[i % 2], "scale": 2 + i % 2}

    return Run(lambda batch, factor, options: step(batch, factor, **options), [w, optimizer], feed)  # fmt: skip


@member
def layouts():
    base = normal((6, 8), 3)
    w = tg.Parameter(base[::2, ::-4])
    optimizer = optim.Adam([w], 0.01)

    def step(x):
        h = x @ w
        cost = (h**2).mean() + (x.reshape(15) ** 2).sum() * w.sum()
        cost = cost + (tg.tanh(h.T).reshape(-1) * (w.T.reshape(-1)).sum()).sum()
        optimizer.minimize(cost)
        wide = tg.tanh(x + x[:, :1]) + x.sum(1, keepdims=True)
        return cost, x.reshape(-1), tg.exp(x.T), h.T, wide, wide.mean(), wide.std()

    return Run(step, [w, optimizer], lambda i: (normal((3, 5), i).T,))


@member
def sums_in_columns():
    """A sum goes through memory in its order: a result laid out in columns, too."""

    def step(x):
        turned = x + x[:, :1]
        return turned, turned.sum(), turned.mean(), (turned * turned).sum()

    return Run(step, [], lambda i: (normal((70, 50), i).T,))


@member
def empty_arrays():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        cost = (x * w).sum() + (w * w).sum()
        optimizer.minimize(cost)
        return cost, x * w

    return Run(step, [w, optimizer], lambda _: (np.zeros((0, 3)),))


@member
def mixed_dtypes():
    w, v = parameter(3, dtype=np.float32), parameter(3, dtype=np.float16)
    optimizer = optim.SGD([w, v], 0.01, momentum=0.5)

    def step(x, n):
        cost = ((w * x).sum() + (v * n).sum()) ** 2
        optimizer.minimize(cost)
        return cost, w * x, v * n, w + v, n / 2

    return Run(step, [w, v, optimizer], lambda i: (*rows(i), np.arange(3) + i))


@member
def no_path_is_not_a_zero_path():
    w = tg.Parameter(np.array([0.5, 1.0, 2.0]))
    optimizer = optim.SGD([w], 0.01)

    def step(x):
        h = x * w
        cost = tg.where(h > 0, tg.log(h), 0.0).sum() + tg.sqrt(tg.relu(h)).sum()
        optimizer.minimize(cost)
        return cost

    # Zeros come with the second call: log and sqrt have no slope there.
    return Run(step, [w, optimizer], lambda i: (np.abs(rows(i)[0]) * (i != 1),))


@member
def kinks_and_ties():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.01)

    def step(x):
        h = np.maximum(0, x * w)
        cost = h.max() + (x * w).max(0).sum() + tg.abs(x * w).min() + (x * w).std()
        cost = (
            cost + tg.norm(w) + np.clip(x * w, -0.5, 0.5).sum() + tg.maximum(h, x).sum()
        )
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer], lambda i: (np.round(rows(i)[0]),))


@member
def powers():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.001)

    def step(x):
        base = w * w + 1
        cost = sum((base**p).sum() for p in (0.5, -1, 1.5, 3, 2)) + (2.0**w).sum()
        cost = cost + (base ** x.mean()).sum() + (w**2).sum()
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer], rows)


@member
def textbook_spellings():
    w = parameter(3)
    optimizer = optim.SGD([w], 0.001)

    def step(x):
        Z = x * w * 3
        A = 1 / (1 + np.exp(-Z))
        Y = x > 0
        cost = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()
        e = np.exp(Z)
        p = e / np.sum(e, axis=1, keepdims=True)
        cost = cost + np.log(1 + np.exp(Z)).mean() - np.log(p)[:, 0].mean()
        cost = cost + ((np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))).mean()
        optimizer.minimize(cost)
        return cost, A, p

    return Run(step, [w, optimizer], rows)


@member
def large_arrays():
    """Long chains run in pieces, products in chunks."""
    w, b = parameter((40, 3)), parameter(40, 2)
    optimizer = optim.Adam([w, b], 0.01)

    def step(x):
        h = tg.tanh(x @ w.T + b)
        z = tg.log(1 + tg.exp(h * 0.5 + h * h)) - tg.relu(h) * 0.25
        cost = z.mean() + (z * h).sum() / z.size
        optimizer.minimize(cost)
        return cost, z.sum(0)

    return Run(step, [w, b, optimizer], lambda i: (normal((4000, 3), i),))


# --- layers, losses, optimisers ------------------------------------------------------


def _layer(make, width):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(3, width, rng=rng), make(width, rng))
    optimizer = optim.SGD(model, 0.1, momentum=0.9)

    def step(x):
        out = model(x)
        cost = (out * out).mean()
        optimizer.minimize(cost)
        return cost, out

    return Run(step, [model, optimizer, rng], rows)


LAYERS: dict[str, Any] = {
    "CELU": lambda *_: nn.CELU(0.5),
    "Dense": lambda n, rng: nn.Dense(n, 2, activation="tanh", rng=rng),
    "Dense without bias": lambda n, rng: nn.Dense(n, 2, bias=False, rng=rng),
    "Dropout": lambda _, rng: nn.Dropout(0.4, rng=rng),
    "ELU": lambda *_: nn.ELU(2.0),
    "Flatten": lambda *_: nn.Flatten(),
    "GELU": lambda *_: nn.GELU(),
    "GLU": lambda *_: nn.GLU(),
    "Hardshrink": lambda *_: nn.Hardshrink(),
    "Hardsigmoid": lambda *_: nn.Hardsigmoid(),
    "Hardswish": lambda *_: nn.Hardswish(),
    "Hardtanh": lambda *_: nn.Hardtanh(),
    "Identity": lambda *_: nn.Identity(),
    "LeakyReLU": lambda *_: nn.LeakyReLU(0.2),
    "LogSigmoid": lambda *_: nn.LogSigmoid(),
    "LogSoftmax": lambda *_: nn.LogSoftmax(),
    "Mish": lambda *_: nn.Mish(),
    "PReLU": lambda n, _: nn.PReLU((n,)),
    "ReLU": lambda *_: nn.ReLU(),
    "ReLU6": lambda *_: nn.ReLU6(),
    "SELU": lambda *_: nn.SELU(),
    "Sequential": lambda n, rng: nn.Sequential(nn.Dense(n, 2, rng=rng), nn.Tanh()),
    "SiLU": lambda *_: nn.SiLU(),
    "Sigmoid": lambda *_: nn.Sigmoid(),
    "Softmax": lambda *_: nn.Softmax(axis=0),
    "Softmin": lambda *_: nn.Softmin(),
    "Softplus": lambda *_: nn.Softplus(),
    "Softshrink": lambda *_: nn.Softshrink(),
    "Softsign": lambda *_: nn.Softsign(),
    "Tanh": lambda *_: nn.Tanh(),
    "Tanhshrink": lambda *_: nn.Tanhshrink(),
    "Threshold": lambda *_: nn.Threshold(0.1, -1.0),
}
STEPS |= {
    f"layer {name}": functools.partial(_layer, make, 4) for name, make in LAYERS.items()
}


@member
def modes_between_steps():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(3, 8, rng=rng), nn.Dropout(0.3, rng=rng))
    optimizer = optim.SGD(model, 0.1)

    def step(x):
        cost = (model(x) ** 2).mean()
        optimizer.minimize(cost)
        return cost

    def feed(i):
        model.train(bool(i % 3))
        return rows(i)

    return Run(step, [model, optimizer, rng], feed)


@member
def modes_inside_of_a_step():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(3, 8, rng=rng), nn.Dropout(0.3, rng=rng))
    optimizer = optim.SGD(model, 0.1)

    def step(x):
        model.train()
        cost = (model(x) ** 2).mean()
        optimizer.minimize(cost)
        model.eval()
        return cost, model(x)

    return Run(step, [model, optimizer, rng], rows)


@member
def random_numbers_that_nothing_needs():
    rng = np.random.default_rng(0)
    drop, w = nn.Dropout(0.3, rng=rng), parameter(3)
    optimizer = optim.SGD([w], 0.1)

    def step(x):
        drop(x[:2])
        cost = (drop(x) * w).sum() ** 2
        drop(w)
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer, rng], rows)


@member
def tied_weights():
    w = parameter((3, 3))
    optimizer = optim.Adam([w], 0.01)

    def step(x):
        cost = (((x @ w) @ w.T - x) ** 2).mean()
        optimizer.minimize(cost)
        return cost

    return Run(step, [w, optimizer], rows)


OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "SGD, decay": lambda p: optim.SGD(p, 0.1, weight_decay=0.1),
    "SGD, momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "SGD, damped": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.1),
    "SGD, Nesterov": lambda p: optim.SGD(
        p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "SGD, schedule": lambda p: optim.SGD(p, lambda step: 0.1 / (1 + step)),
    "Adam": lambda p: optim.Adam(p, 0.1),
    "Adam, schedule": lambda p: optim.Adam(p, schedules.cosine(0.1, 10)),
    "Adam, decay": lambda p: optim.Adam(p, 0.1, beta1=0.0, eps=1e-3, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, 0.1),
    "RMSProp": lambda p: optim.RMSProp(p, 0.01),
    "AdaGrad": lambda p: optim.AdaGrad(p, 0.1),
}


def _optimised(make, dtype):
    parameters = [parameter(s, 3, f"p{len(s)}", dtype) for s in ((3, 2), (2,), ())]
    w, b, c = parameters
    optimizer = make(parameters)

    def step(x):
        cost = (tg.tanh(x @ w + b) * c).mean() ** 2
        optimizer.minimize(cost)
        return cost

    return Run(step, [*parameters, optimizer], lambda i: (normal((5, 3), i, dtype),))


STEPS |= {
    f"{name}, {np.dtype(dtype).name}": functools.partial(_optimised, make, dtype)
    for name, make in OPTIMISERS.items()
    for dtype in (np.float64, np.float32, np.float16)
}

N, K = 6, 4


def _hot(rng):
    return np.eye(K, dtype=int)[rng.integers(0, K, N)]


def _shares(rng):
    shares = rng.random((N, K))
    return shares / shares.sum(1, keepdims=True)


def _of_probabilities(z, y, **settings):
    return losses.binary_cross_entropy(
        tg.clip(0.1 * z + 0.5, 0.01, 0.99), y, **settings
    )


def _of_sigmoid(z, y, **settings):
    return losses.binary_cross_entropy(tg.sigmoid(z), y, **settings)


_TWO = {
    "integers": lambda rng: rng.integers(0, 2, N),
    "booleans": lambda rng: rng.random(N) < 0.5,
    "shares": lambda rng: rng.random(N),
}
_MANY = {
    "classes": lambda rng: rng.integers(0, K, N),
    "small classes": lambda rng: rng.integers(0, K, N).astype(np.uint8),
    "one-hot": _hot,
    "shares": _shares,
}
_CLASSES = {"classes": _MANY["classes"]}
_SOME = {"classes, some left out": lambda rng: rng.integers(-1, K, N)}
_REAL = {"numbers": lambda rng: rng.normal(size=N)}
_COUNTS = {"counts": lambda rng: rng.integers(0, 4, N)}
_SIGNS = {"signs": lambda rng: rng.choice([-1, 1], N)}


def _pairs(loss, **fixed):
    """A loss of pairs: scores against others, made of them backwards."""
    return lambda x, y, **settings: loss(x, x[::-1] + 0.5, y, **fixed, **settings)


def _triplets(x, y, **settings):
    return losses.triplet_margin(x, x[::-1] + y, y, swap=True, **settings)


LOSSES: dict[str, Any] = {
    "binary_cross_entropy": (_of_sigmoid, _TWO, (0, 1)),
    "binary_cross_entropy of probabilities": (_of_probabilities, _TWO, (0, 1)),
    "binary_cross_entropy_with_logits": (
        losses.binary_cross_entropy_with_logits,
        _TWO,
        (0, 1),
    ),
    "binary_focal_with_logits": (
        functools.partial(losses.binary_focal_with_logits, gamma=1.5),
        {"integers": _TWO["integers"]},
        (0, 1),
    ),
    "cosine_embedding": (_pairs(losses.cosine_embedding), _SIGNS, ()),
    "cross_entropy": (losses.cross_entropy, _MANY, range(K)),
    "cross_entropy, ignoring": (
        functools.partial(losses.cross_entropy, ignore_index=-1),
        _SOME,
        range(K),
    ),
    "cross_entropy, smoothed": (
        functools.partial(losses.cross_entropy, label_smoothing=0.1),
        _MANY,
        range(K),
    ),
    "focal": (losses.focal, _CLASSES, range(K)),
    "gaussian_nll": (
        lambda x, y, **s: losses.gaussian_nll(x, y, tg.softplus(x) + 0.1, **s),
        _REAL,
        (),
    ),
    "hinge": (losses.hinge, _SIGNS, (-1, 1)),
    "huber": (functools.partial(losses.huber, delta=0.7), _REAL, ()),
    "kl_divergence": (
        lambda x, y, **s: losses.kl_divergence(tg.log_softmax(x), y, **s),
        {"shares": _shares},
        (),
    ),
    "log_cosh": (losses.log_cosh, _REAL, ()),
    "mae": (losses.mae, _REAL, ()),
    "margin_ranking": (_pairs(losses.margin_ranking, margin=0.3), _SIGNS, ()),
    "mse": (losses.mse, _REAL, ()),
    "multiclass_hinge": (losses.multiclass_hinge, _CLASSES, range(K)),
    "nll": (
        lambda x, y, **s: losses.nll(tg.log_softmax(x), y, **s),
        _CLASSES,
        range(K),
    ),
    "poisson_nll": (losses.poisson_nll, _COUNTS, ()),
    "poisson_nll of rates": (
        lambda x, y, **s: losses.poisson_nll(
            tg.exp(x), y, log_input=False, full=True, **s
        ),
        _COUNTS,
        (),
    ),
    "smooth_l1": (functools.partial(losses.smooth_l1, beta=0.7), _REAL, ()),
    "squared_hinge": (losses.squared_hinge, _SIGNS, (-1, 1)),
    "triplet_margin": (_triplets, {"vectors": lambda rng: rng.normal(size=(N, K))}, ()),
}


def _of_loss(loss, draw, wide, dtype, where, settings, weighted):
    """A step with a loss; its targets are arguments, computed, or held outside."""
    w = parameter((3, K) if wide else (3,), 1, "w", dtype)
    optimizer = optim.SGD([w], 0.1)
    held, weights = draw(np.random.default_rng(0)), np.ones(N)

    def step(x, y, s):
        options = {"sample_weight": s} if weighted else {}
        if where == "held outside":
            y, options = held, {"sample_weight": weights} if weighted else {}
        if where == "computed":
            y = y[::-1]
            options = {"sample_weight": s * 2} if weighted else {}
        cost = loss(x @ w, y, **settings, **options)
        optimizer.minimize(cost if cost.ndim == 0 else cost.sum())
        return cost

    def feed(i):
        rng = np.random.default_rng(100 + i)
        held[...] = draw(rng)
        weights[...] = rng.random(N)
        return rng.normal(size=(N, 3)).astype(dtype), draw(rng), rng.random(N)

    return Run(step, [w, optimizer], feed)


_WIDE = {
    *("cosine_embedding", "cross_entropy", "focal", "kl_divergence"),
    *("multiclass_hinge", "nll", "triplet_margin"),
}


def _loss_members():
    """Every form of target in every place, with settings that take turns."""
    found = {}
    count = 0
    for name, (loss, targets, classes) in LOSSES.items():
        weights: list[Any] = [None]
        if classes:
            weights += [0.7 * np.arange(1, len(classes) + 1), {classes[0]: 2.0}]
        for kind, draw in targets.items():
            for where in ("an argument", "computed", "held outside"):
                for reduction in ("mean", "sum", "none"):
                    by_class = weights[count % len(weights)]
                    settings = {"reduction": reduction}
                    if by_class is not None:
                        settings["class_weight"] = by_class
                    dtype = (np.float64, np.float32)[count % 2]
                    title = f"{name} of {kind}, {where}, {reduction}"
                    wide = name.split(",")[0] in _WIDE
                    found[title] = functools.partial(
                        _of_loss,
                        loss,
                        draw,
                        wide,
                        dtype,
                        where,
                        settings,
                        count % 5 > 1,
                    )
                    count += 1
    return found


STEPS |= _loss_members()


@member
def penalties():
    model = nn.Dense(3, 2, rng=0)
    optimizer = optim.SGD(model, 0.1)

    def step(x):
        cost = (model(x) ** 2).mean() + losses.l2(model, 0.1) + losses.l1(model, 0.01)
        optimizer.minimize(cost)
        return cost

    return Run(step, [model, optimizer], rows)


# --- the examples ----------------------------------------------------------------------


@functools.cache
def _example(name):
    path = EXAMPLES / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _descent(parameters, cost_of, X, Y, rate):
    """The tutorials' step: forward, backward, and gradient descent by hand."""

    def step(X, Y):
        cost = cost_of(X, Y)
        cost.backward()
        with tg.no_grad():
            for name in parameters:
                parameters[name] -= rate * parameters[name].grad
                parameters[name].grad = None
        return cost

    return Run(step, list(parameters.values()), lambda _: (X, Y))


def _flower():
    module, rng = _example("planar_flower"), np.random.RandomState(1)
    X, Y = module.load_planar_dataset(rng)
    p = module.initialize_parameters(2, 4, 1, rng)
    return _descent(
        p,
        lambda X, Y: module.compute_cost(module.forward_propagation(X, p), Y),
        X,
        Y,
        0.5,
    )


def _one_hidden_layer():
    module, rng = _example("one_hidden_layer"), np.random.RandomState(5)
    X, Y = module.load_dataset(400, rng)
    p = module.initialize_parameters(2, 4, 1, rng)

    def cost(X, Y):
        return module.compute_cost(module.forward_propagation(X, p)[0], Y)

    return _descent(p, cost, X, Y, 1.2)


def _sigmoid_network():
    module, rng = _example("sigmoid_network"), np.random.RandomState(2)
    X, Y = module.load_data(500, rng)
    p = module.init_params(module.LAYER_DIMS, rng)

    def step(X, Y):
        cost = module.cost_function(module.forward_prop(X, p), Y)
        module.update_parameters(p, module.backprop(cost, p), 0.7)
        return cost

    return Run(step, list(p.values()), lambda _: (X, Y))


@functools.cache
def _images():
    module = _example("image_classifier")
    images, Y = module.load_images(40, np.random.RandomState(1), size=16)
    return module.flatten(images), Y


def _image_classifier(model, sizes):
    module, (X, Y) = _example("image_classifier"), _images()
    if sizes:
        p = module.initialize_layers([len(X), *sizes], np.random.RandomState(1))
    else:
        p = module.initialize_logistic(len(X))

    def cost(X, Y):
        return module.compute_cost(getattr(module, model)(X, p), Y)

    return _descent(p, cost, X, Y, 0.0075)


def _weather(title):
    """The example's own momentum, RMSProp and Adam follow the step."""
    module, rng = _example("weather_network"), np.random.RandomState(3)
    settings = module.IMPROVEMENTS[title]
    X, Y = module.load_weather(200, np.random.RandomState(1))
    X, _ = module.standardize(X, X)
    p = module.initialize_parameters(module.ARCHITECTURE, rng)
    states = {name: {} for name in p}
    l2 = settings.get("l2", 0.0)
    rule = settings.get("optimizer", "gradient descent")
    rate = settings.get("learning_rate", 0.1)

    def step(X, Y):
        cost = module.compute_cost(module.L_model_forward(X, p), Y, p, l2)
        cost.backward()
        return cost

    def feed(i):
        if i:
            module.update_parameters(p, states, rule, rate, i)
        return X, Y

    return Run(step, list(p.values()), feed)


def _digits(dtype, make, dropout):
    """A classifier with batches, in the dtype of images."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(20, 16, activation="relu", rng=rng, dtype=dtype),
        nn.Dropout(dropout, rng=rng),
        nn.Dense(16, 5, rng=rng, dtype=dtype),
    )
    optimizer = make(model)

    def step(X, y):
        scores = model(X)
        cost = losses.cross_entropy(scores, y)
        optimizer.minimize(cost)
        return cost, scores

    def feed(i):
        rng = np.random.default_rng(i)
        return rng.normal(size=(32, 20)).astype(dtype), rng.integers(0, 5, 32)

    return Run(step, [model, optimizer, rng], feed)


WHOLE: dict[str, Callable[[], Run]] = {
    "planar flower": _flower,
    "one hidden layer": _one_hidden_layer,
    "sigmoid network": _sigmoid_network,
    "images, logistic": functools.partial(_image_classifier, "logistic_regression", ()),
    "images, one hidden layer": functools.partial(
        _image_classifier, "one_hidden_layer", (7, 1)
    ),
    "images, deep": functools.partial(
        _image_classifier, "deep_network", (5, 5, 5, 3, 1)
    ),
    "digits, Adam": functools.partial(
        _digits, np.float32, lambda m: optim.Adam(m, 0.001), 0.0
    ),
    "digits, dropout": functools.partial(
        _digits, np.float64, lambda m: optim.SGD(m, 0.1, momentum=0.9), 0.3
    ),
} | {
    f"weather, {title}": functools.partial(_weather, title)
    for title in ("plain", "L2", "momentum", "RMSProp", "Adam")
}
