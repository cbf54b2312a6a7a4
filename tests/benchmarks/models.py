"""Seven models, each as hand-written NumPy, as peers write it, and as ours.

The hand-written steps are what a competent person writes without `out=`: straight
lines, `A * A` and `A - Y`, nothing computed twice, parameters changed in place. Every
contender starts from the same parameters and data, and says what it arrived at, so
that `compiled.py` can hold them to each other before it times them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import tinygrad_nn as tg

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class Model(NamedTuple):
    """What is computed: a network of `sizes`, or an expression where there are none.

    `rows`: examples are rows, and the loss is softmax cross-entropy on one-hot rows;
    else they are columns, as in the tutorials, and it is sigmoid cross-entropy.
    """

    title: str
    hand: Callable[..., Any]
    sizes: tuple[int, ...]
    examples: int
    hidden: str = "relu"
    rate: float = 0.01
    update: str = "sgd"
    dtype: type = np.float64

    @property
    def rows(self):
        return self.sizes[-1:] == (10,)


class Contender(NamedTuple):
    """A step to be timed, and a reader of what it arrived at.

    `outcome` takes what `step` returned and gives arrays: the loss, and every
    parameter after the step (or the gradient, where there are none).
    """

    step: Callable[[], Any]
    outcome: Callable[[Any], list[Any]]


class Start(NamedTuple):
    """Data and first parameters `W1, b1, W2, …`; a contender copies what it changes."""

    X: np.ndarray
    Y: np.ndarray
    parameters: list[np.ndarray]

    def copies(self):
        return [parameter.copy() for parameter in self.parameters]


def start(model):
    """Return data and first parameters, the same for every contender."""
    rng = np.random.default_rng(0)
    if not model.sizes:
        return Start(rng.normal(size=model.examples), np.empty(0), [])
    n_in, n_out = model.sizes[0], model.sizes[-1]
    parameters = []
    for before, after in pairwise(model.sizes):
        shape = (before, after) if model.rows else (after, before)
        W = rng.normal(size=shape) * math.sqrt(2 / before)
        # Not zero: a comparison relative to a bias that has barely left zero would be
        # one of roundings, and of which float32 sums fall on which side of relu's kink.
        b = 0.1 * rng.normal(size=(1, after) if model.rows else (after, 1))
        parameters += [W.astype(model.dtype), b.astype(model.dtype)]
    if model.rows:
        X = rng.normal(size=(model.examples, n_in))
        Y = np.eye(n_out)[rng.integers(n_out, size=model.examples)]
    else:
        X = rng.normal(size=(n_in, model.examples))
        Y = rng.random((1, model.examples)) < 0.5
    return Start(X.astype(model.dtype), Y.astype(model.dtype), parameters)


# --- by hand ---------------------------------------------------------------------


def hand_flower(parameters, X, Y, rate):
    """2-4-1: tanh, sigmoid, cross-entropy, gradient descent."""
    W1, b1, W2, b2 = parameters
    m = X.shape[1]

    A1 = np.tanh(np.dot(W1, X) + b1)
    A2 = 1 / (1 + np.exp(-(np.dot(W2, A1) + b2)))
    cost = -np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)) / m

    dZ2 = (A2 - Y) / m
    dW2 = np.dot(dZ2, A1.T)
    db2 = np.sum(dZ2, axis=1, keepdims=True)
    dZ1 = np.dot(W2.T, dZ2) * (1 - A1 * A1)
    dW1 = np.dot(dZ1, X.T)
    db1 = np.sum(dZ1, axis=1, keepdims=True)

    W1 -= rate * dW1
    b1 -= rate * db1
    W2 -= rate * dW2
    b2 -= rate * db2
    return cost


def hand_weather(parameters, X, Y, rate):
    """4-5-4-3-1: three relu layers, sigmoid, cross-entropy, gradient descent."""
    W1, b1, W2, b2, W3, b3, W4, b4 = parameters
    m = X.shape[1]

    A1 = np.maximum(np.dot(W1, X) + b1, 0)
    A2 = np.maximum(np.dot(W2, A1) + b2, 0)
    A3 = np.maximum(np.dot(W3, A2) + b3, 0)
    A4 = 1 / (1 + np.exp(-(np.dot(W4, A3) + b4)))
    cost = -np.sum(Y * np.log(A4) + (1 - Y) * np.log(1 - A4)) / m

    dZ4 = (A4 - Y) / m
    dW4 = np.dot(dZ4, A3.T)
    db4 = np.sum(dZ4, axis=1, keepdims=True)
    dZ3 = np.dot(W4.T, dZ4) * (A3 > 0)
    dW3 = np.dot(dZ3, A2.T)
    db3 = np.sum(dZ3, axis=1, keepdims=True)
    dZ2 = np.dot(W3.T, dZ3) * (A2 > 0)
    dW2 = np.dot(dZ2, A1.T)
    db2 = np.sum(dZ2, axis=1, keepdims=True)
    dZ1 = np.dot(W2.T, dZ2) * (A1 > 0)
    dW1 = np.dot(dZ1, X.T)
    db1 = np.sum(dZ1, axis=1, keepdims=True)

    W1 -= rate * dW1
    b1 -= rate * db1
    W2 -= rate * dW2
    b2 -= rate * db2
    W3 -= rate * dW3
    b3 -= rate * db3
    W4 -= rate * dW4
    b4 -= rate * db4
    return cost


def hand_images(parameters, X, Y, rate):
    """12288-5-5-5-3-1: four relu layers, sigmoid, cross-entropy, gradient descent."""
    W1, b1, W2, b2, W3, b3, W4, b4, W5, b5 = parameters
    m = X.shape[1]

    A1 = np.maximum(np.dot(W1, X) + b1, 0)
    A2 = np.maximum(np.dot(W2, A1) + b2, 0)
    A3 = np.maximum(np.dot(W3, A2) + b3, 0)
    A4 = np.maximum(np.dot(W4, A3) + b4, 0)
    A5 = 1 / (1 + np.exp(-(np.dot(W5, A4) + b5)))
    cost = -np.sum(Y * np.log(A5) + (1 - Y) * np.log(1 - A5)) / m

    dZ5 = (A5 - Y) / m
    dW5 = np.dot(dZ5, A4.T)
    db5 = np.sum(dZ5, axis=1, keepdims=True)
    dZ4 = np.dot(W5.T, dZ5) * (A4 > 0)
    dW4 = np.dot(dZ4, A3.T)
    db4 = np.sum(dZ4, axis=1, keepdims=True)
    dZ3 = np.dot(W4.T, dZ4) * (A3 > 0)
    dW3 = np.dot(dZ3, A2.T)
    db3 = np.sum(dZ3, axis=1, keepdims=True)
    dZ2 = np.dot(W3.T, dZ3) * (A2 > 0)
    dW2 = np.dot(dZ2, A1.T)
    db2 = np.sum(dZ2, axis=1, keepdims=True)
    dZ1 = np.dot(W2.T, dZ2) * (A1 > 0)
    dW1 = np.dot(dZ1, X.T)
    db1 = np.sum(dZ1, axis=1, keepdims=True)

    W1 -= rate * dW1
    b1 -= rate * db1
    W2 -= rate * dW2
    b2 -= rate * db2
    W3 -= rate * dW3
    b3 -= rate * db3
    W4 -= rate * dW4
    b4 -= rate * db4
    W5 -= rate * dW5
    b5 -= rate * db5
    return cost


def hand_digits(parameters, X, Y):
    """784-h-h-10, rows are examples: two relu layers, softmax cross-entropy."""
    W1, b1, W2, b2, W3, b3 = parameters
    m = X.shape[0]

    A1 = np.maximum(np.dot(X, W1) + b1, 0)
    A2 = np.maximum(np.dot(A1, W2) + b2, 0)
    Z3 = np.dot(A2, W3) + b3
    Z3 -= np.max(Z3, axis=1, keepdims=True)
    E = np.exp(Z3)
    total = np.sum(E, axis=1, keepdims=True)
    cost = (np.sum(np.log(total)) - np.sum(Y * Z3)) / m

    dZ3 = (E / total - Y) / m
    dW3 = np.dot(A2.T, dZ3)
    db3 = np.sum(dZ3, axis=0, keepdims=True)
    dZ2 = np.dot(dZ3, W3.T) * (A2 > 0)
    dW2 = np.dot(A1.T, dZ2)
    db2 = np.sum(dZ2, axis=0, keepdims=True)
    dZ1 = np.dot(dZ2, W2.T) * (A1 > 0)
    dW1 = np.dot(X.T, dZ1)
    db1 = np.sum(dZ1, axis=0, keepdims=True)
    return cost, (dW1, db1, dW2, db2, dW3, db3)


def hand_sgd(parameters, gradients, rate):
    """Gradient descent."""
    for W, dW in zip(parameters, gradients, strict=True):
        W -= rate * dW


def hand_adam(parameters, gradients, state, rate):
    """Adam, its corrections folded into the rate: twelve calls a parameter."""
    state["count"] += 1
    scale = math.sqrt(1 - BETA2 ** state["count"])
    rate = rate * scale / (1 - BETA1 ** state["count"])
    eps = EPS * scale
    for W, dW, mean, square in zip(
        parameters, gradients, state["mean"], state["square"], strict=True
    ):
        mean *= BETA1
        mean += (1 - BETA1) * dW
        square *= BETA2
        square += (1 - BETA2) * (dW * dW)
        W -= rate * mean / (np.sqrt(square) + eps)


def hand_expression(x):
    """sum(tanh(x) exp(-x²) + log(1 + x²)) and its gradient."""
    square = x * x
    t = np.tanh(x)
    e = np.exp(-square)
    u = 1 + square
    p = t * e
    value = np.sum(p + np.log(u))
    gradient = e - t * p + 2 * x * (1 / u - p)
    return value, gradient


def adam_state(parameters):
    """Return averages of zero, over no steps."""
    return {
        "count": 0,
        "mean": [np.zeros_like(parameter) for parameter in parameters],
        "square": [np.zeros_like(parameter) for parameter in parameters],
    }


def hand_updater(model, parameters):
    """Return the update of a contender that brings no optimiser, of gradients."""
    if model.update == "adam":
        state = adam_state(parameters)
        return lambda gradients: hand_adam(parameters, gradients, state, model.rate)
    return lambda gradients: hand_sgd(parameters, gradients, model.rate)


def hand(model):
    """Hand-written NumPy."""
    begin = start(model)
    X, Y, parameters, rate = begin.X, begin.Y, begin.copies(), model.rate
    if not model.sizes:
        return Contender(lambda: hand_expression(X), list)
    if not model.rows:
        call = model.hand
        step = lambda: call(parameters, X, Y, rate)
    elif model.update == "adam":
        state = adam_state(parameters)

        def step():
            cost, gradients = hand_digits(parameters, X, Y)
            hand_adam(parameters, gradients, state, rate)
            return cost
    else:

        def step():
            cost, gradients = hand_digits(parameters, X, Y)
            hand_sgd(parameters, gradients, rate)
            return cost

    return Contender(step, lambda cost: [cost, *parameters])


MODELS = [
    Model("flower 2-4-1, 400", hand_flower, (2, 4, 1), 400, "tanh", 0.1),
    Model("weather 4-5-4-3-1, 1000", hand_weather, (4, 5, 4, 3, 1), 1000),
    Model("weather 4-5-4-3-1, 10000", hand_weather, (4, 5, 4, 3, 1), 10_000),
    Model("images 12288-5-5-5-3-1, 209", hand_images, (12288, 5, 5, 5, 3, 1), 209),
    Model(
        "784-256-128-10 Adam f32, 128",
        hand_digits,
        (784, 256, 128, 10),
        128,
        rate=0.001,
        update="adam",
        dtype=np.float32,
    ),
    Model(
        "784-1024-1024-10 f32, 512",
        hand_digits,
        (784, 1024, 1024, 10),
        512,
        rate=0.1,
        dtype=np.float32,
    ),
    Model("elementwise, 10^6", hand_expression, (), 1_000_000),
]


def products(model):
    """Return a function of the model's matrix products alone, by np.dot: the limit."""
    rng = np.random.default_rng(1)
    made = lambda *shape: rng.normal(size=shape).astype(model.dtype)
    m = model.examples
    pairs = []
    for layer, (before, after) in enumerate(pairwise(model.sizes)):
        if model.rows:
            W, A, dZ = made(before, after), made(m, before), made(m, after)
            pairs += [(A, W), (A.T, dZ)] + [(dZ, W.T)] * bool(layer)
        else:
            W, A, dZ = made(after, before), made(before, m), made(after, m)
            pairs += [(W, A), (dZ, A.T)] + [(W.T, dZ)] * bool(layer)

    def step():
        for a, b in pairs:
            np.dot(a, b)

    return step


# --- the textbook's lines, over any array library ---------------------------------


def logits(model, parameters, X, dot, hidden):
    """Return the last layer's sums."""
    A = X
    last = len(parameters) - 2
    for k in range(0, len(parameters), 2):
        W, b = parameters[k], parameters[k + 1]
        Z = dot(A, W) + b if model.rows else dot(W, A) + b
        A = Z if k == last else hidden(Z)
    return A


def written_cost(np, Z, Y):
    """Return the tutorials' sigmoid and cross-entropy."""
    A = 1 / (1 + np.exp(-Z))
    return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))


def logits_cost(np, Z, Y):
    """Return the same from logits, as a peer is fastest that has no rule for it."""
    return np.mean(np.logaddexp(0, Z) - Y * Z)


def expression(np, x):
    """Return the elementwise expression."""
    return np.sum(np.tanh(x) * np.exp(-x * x) + np.log(1 + x * x))


# --- ours ------------------------------------------------------------------------


def our_step(model):
    """Return a step as a user writes it, its arguments, and its parameters."""
    begin = start(model)
    if not model.sizes:
        value_and_gradient = tg.value_and_grad(lambda x: expression(np, x))

        def step(x):
            return value_and_gradient(x)

        return step, (begin.X,), []
    names = [f"{letter}{k + 1}" for k in range(len(model.sizes) - 1) for letter in "Wb"]
    parameters = [
        tg.Parameter(value, name=name)
        for value, name in zip(begin.copies(), names, strict=True)
    ]
    if model.update == "adam":
        optimizer = tg.optim.Adam(
            parameters, lr=model.rate, beta1=BETA1, beta2=BETA2, eps=EPS
        )
    else:
        optimizer = tg.optim.SGD(parameters, lr=model.rate)
    hidden = np.tanh if model.hidden == "tanh" else lambda Z: np.maximum(0, Z)

    def step(X, Y):
        Z = logits(model, parameters, X, np.dot, hidden)
        loss = tg.losses.cross_entropy(Z, Y) if model.rows else written_cost(np, Z, Y)
        optimizer.minimize(loss)
        return loss

    return step, (begin.X, begin.Y), parameters


def ours_of(model, step, arguments, parameters):
    """Return a contender of ours, recorded or compiled."""

    def outcome(result):
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        arrays = [r.numpy() if isinstance(r, tg.Tensor) else r for r in results]
        return arrays + [parameter.data for parameter in parameters]

    return Contender(lambda: step(*arguments), outcome)


def ours_eager(model):
    """Ours, recorded at every step."""
    return ours_of(model, *our_step(model))


def ours_compiled(backend):
    """Return the maker of ours, compiled for a backend."""

    def make(model):
        step, arguments, parameters = our_step(model)
        if backend == "jax":  # data on the device, as the step by hand has it
            import jax.numpy as jnp
            from jax import enable_x64

            with enable_x64(True):
                arguments = tuple(map(jnp.asarray, arguments))
        return ours_of(model, tg.compile(step, backend=backend), arguments, parameters)

    return make


# --- peers -----------------------------------------------------------------------


def autograd(model):
    """Autograd, updates by hand."""
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.tracer import getval

    begin = start(model)
    X, Y, parameters = begin.X, begin.Y, begin.copies()
    if not model.sizes:
        both = value_and_grad(lambda x: expression(anp, x))
        return Contender(lambda: both(X), list)
    # maximum(Z, 0) would halve the gradient of a tie, and costs more.
    hidden = anp.tanh if model.hidden == "tanh" else lambda Z: Z * (getval(Z) > 0)

    def cost(parameters):
        Z = logits(model, parameters, X, anp.dot, hidden)
        if not model.rows:
            return logits_cost(anp, Z, Y)
        Z = Z - np.max(getval(Z), axis=1, keepdims=True)
        return (
            anp.sum(anp.log(anp.sum(anp.exp(Z), axis=1))) - anp.sum(Y * Z)
        ) / X.shape[0]

    both = value_and_grad(cost)
    update = hand_updater(model, parameters)

    def step():
        value, gradients = both(parameters)
        update(gradients)
        return value

    return Contender(step, lambda value: [value, *parameters])


def mygrad(model):
    """Mygrad, updates by hand."""
    import mygrad as mg
    from mygrad.nnet import relu, softmax_crossentropy

    begin = start(model)
    X, Y = begin.X, begin.Y
    if not model.sizes:
        x = mg.tensor(X.copy())

        def value():
            out = expression(mg, x)
            out.backward()
            return out

        return Contender(value, lambda out: [out.data, x.grad])
    parameters = [mg.tensor(parameter) for parameter in begin.copies()]
    labels = np.argmax(Y, axis=1)
    hidden = mg.tanh if model.hidden == "tanh" else relu
    update = hand_updater(model, [parameter.data for parameter in parameters])

    def step():
        Z = logits(model, parameters, X, mg.matmul, hidden)
        loss = softmax_crossentropy(Z, labels) if model.rows else logits_cost(mg, Z, Y)
        loss.backward()
        update([parameter.grad for parameter in parameters])
        return loss

    return Contender(step, lambda loss: [loss.data, *(p.data for p in parameters)])


def torch_parts(model):
    """Return torch, its data and parameters, and the cost as a function of them."""
    import torch

    torch.set_num_threads(1)
    begin = start(model)
    X, Y = torch.from_numpy(begin.X), torch.from_numpy(begin.Y)
    parameters = [
        torch.from_numpy(parameter).requires_grad_() for parameter in begin.copies()
    ]
    hidden = torch.tanh if model.hidden == "tanh" else torch.relu
    functional = torch.nn.functional
    if model.rows:
        Y, of = torch.argmax(Y, dim=1), functional.cross_entropy
    else:
        of = functional.binary_cross_entropy_with_logits

    def cost(parameters, X, Y):
        return of(logits(model, parameters, X, torch.matmul, hidden), Y)

    return torch, X, Y, parameters, cost


def torch_eager(model):
    """Eager torch; `SGD.step` costs more than its two lines, so these are written."""
    torch, X, Y, parameters, cost = torch_parts(model)
    if not model.sizes:
        return torch_expression(torch, X, lambda x: expression(torch, x))
    if model.update == "adam":
        adam = torch.optim.Adam(parameters, lr=model.rate, fused=True)

        def step():
            adam.zero_grad()
            loss = cost(parameters, X, Y)
            loss.backward()
            adam.step()
            return loss
    else:

        def step():
            loss = cost(parameters, X, Y)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for W, dW in zip(parameters, gradients, strict=True):
                    W.sub_(dW, alpha=model.rate)
            return loss

    return Contender(
        step,
        lambda loss: [loss.detach().numpy(), *(p.detach().numpy() for p in parameters)],
    )


def torch_compiled(model):
    """torch.compile of the whole step: faster than of the cost, then an optimiser."""
    torch, X, Y, parameters, cost = torch_parts(model)
    if not model.sizes:
        compiled = torch.compile(lambda x: expression(torch, x), fullgraph=True)
        return torch_expression(torch, X, compiled)
    parameters = [parameter.detach() for parameter in parameters]
    if model.update == "adam":
        state = [
            [torch.zeros_like(parameter) for parameter in parameters],
            [torch.zeros_like(parameter) for parameter in parameters],
            torch.zeros((), dtype=torch.float64),
        ]
    else:
        state = []

    def sgd(parameters, gradients):
        for W, dW in zip(parameters, gradients, strict=True):
            W.sub_(dW, alpha=model.rate)

    def adam(parameters, gradients, means, squares, count):
        scale = torch.sqrt(1 - BETA2**count)
        rate = (model.rate * scale / (1 - BETA1**count)).to(torch.float32)
        eps = (EPS * scale).to(torch.float32)
        for W, dW, mean, square in zip(
            parameters, gradients, means, squares, strict=True
        ):
            mean.mul_(BETA1).add_(dW, alpha=1 - BETA1)
            square.mul_(BETA2).addcmul_(dW, dW, value=1 - BETA2)
            W.sub_(rate * mean / (torch.sqrt(square) + eps))

    update = adam if model.update == "adam" else sgd

    def whole(parameters, state, X, Y):
        gradients, loss = torch.func.grad_and_value(cost)(parameters, X, Y)
        update(parameters, gradients, *state)
        return loss

    compiled = torch.compile(whole, fullgraph=True)

    def step():
        with torch.no_grad():
            if state:
                state[2].add_(1)  # inside of the compiled step it gave nan
            return compiled(parameters, state, X, Y)

    return Contender(
        step, lambda loss: [loss.numpy(), *(p.numpy() for p in parameters)]
    )


def torch_expression(torch, X, of):
    """Return value and gradient of the expression."""
    X.requires_grad_()

    def value():
        out = of(X)
        return out, torch.autograd.grad(out, X)[0]

    return Contender(value, lambda both: [both[0].detach().numpy(), both[1].numpy()])


def jax_jit(model):
    """jax.jit of the whole step, all that it changes donated.

    On one core, asynchronous dispatch costs a change of threads at every step (.96
    instead of 1.45 on the flower), and this cost is a third faster than `softplus`.
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    begin = start(model)
    X, Y = jnp.asarray(begin.X), jnp.asarray(begin.Y)
    if not model.sizes:
        both = jax.jit(jax.value_and_grad(lambda x: expression(jnp, x)))
        return Contender(lambda: jax.block_until_ready(both(X)), list)
    hidden = jnp.tanh if model.hidden == "tanh" else jax.nn.relu

    def cost(parameters, X, Y):
        Z = logits(model, parameters, X, jnp.dot, hidden)
        if model.rows:
            return -jnp.sum(Y * jax.nn.log_softmax(Z)) / X.shape[0]
        losses = jnp.maximum(Z, 0) - Y * Z + jnp.log1p(jnp.exp(-jnp.abs(Z)))
        return jnp.mean(losses)

    def sgd(state, gradients):
        return [
            [W - model.rate * dW for W, dW in zip(state[0], gradients, strict=True)]
        ]

    def adam(state, gradients):
        parameters, means, squares, count = state
        count = count + 1
        scale = jnp.sqrt(1 - BETA2**count)
        rate = (model.rate * scale / (1 - BETA1**count)).astype(model.dtype)
        eps = (EPS * scale).astype(model.dtype)
        means = [
            BETA1 * m + (1 - BETA1) * g for m, g in zip(means, gradients, strict=True)
        ]
        squares = [
            BETA2 * s + (1 - BETA2) * g * g
            for s, g in zip(squares, gradients, strict=True)
        ]
        parameters = [
            W - rate * m / (jnp.sqrt(s) + eps)
            for W, m, s in zip(parameters, means, squares, strict=True)
        ]
        return [parameters, means, squares, count]

    def whole(state, X, Y):
        loss, gradients = jax.value_and_grad(cost)(state[0], X, Y)
        update = adam if model.update == "adam" else sgd
        return loss, update(state, gradients)

    compiled = jax.jit(whole, donate_argnums=0)
    state = [[jnp.array(parameter) for parameter in begin.copies()]]
    if model.update == "adam":
        zeros = lambda: [jnp.zeros_like(parameter) for parameter in state[0]]
        state += [zeros(), zeros(), jnp.asarray(0)]

    def step():
        nonlocal state
        loss, state = compiled(state, X, Y)
        return jax.block_until_ready(loss)

    return Contender(step, lambda loss: [loss, *state[0]])


CONTENDERS = {
    "hand": hand,
    "torch": torch_eager,
    "torch.compile": torch_compiled,
    "jax.jit": jax_jit,
    "autograd": autograd,
    "mygrad": mygrad,
    "ours eager": ours_eager,
    "ours numpy": ours_compiled("numpy"),
    "ours c": ours_compiled("c"),
    "ours jax": ours_compiled("jax"),
}
