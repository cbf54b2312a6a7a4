"""The five tutorials' networks by explicit formula, in plain NumPy.

Nothing here imports tinygrad_nn: this is the independent witness.  Examples lie in
columns, as in the tutorials: ``X`` is (n_features, m), ``Y`` is (1, m), a layer is
``Z = W @ A + b`` with ``W`` (n_out, n_in) and ``b`` (n_out, 1).  Parameters are a
dictionary ``{"W1": ..., "b1": ..., ..., "WL": ..., "bL": ...}``; gradients have the
same keys.  Hidden activations are a list such as ``["relu", "tanh"]``; the output
layer is always a sigmoid.

The formulas, for the cost J = mean(cross-entropy) + l2 / (2 m) * sum of W**2:

    dZL = AL - Y
    dWl = dZl @ A(l-1).T / m + l2 / m * Wl
    dbl = sum of dZl over examples / m
    dZl = (W(l+1).T @ dZ(l+1)) * Dl / keep * slope(Zl)

>>> parameters = {"W1": np.array([[2.0]]), "b1": np.array([[0.0]])}
>>> X, Y = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
>>> gradients = backward(parameters, forward(parameters, X, []), Y, [])
>>> print(gradients["W1"].round(4), gradients["b1"].round(4))
[[0.4404]] [[0.1904]]
"""

from __future__ import annotations

import itertools

import numpy as np

# --- activations and their slopes -------------------------------------------------


def sigmoid(z):
    """Logistic function without overflow: only exp of a number <= 0 is taken."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def relu(z):
    return np.maximum(0.0, z)


ACTIVATIONS = {"relu": relu, "sigmoid": sigmoid, "tanh": np.tanh}

# The slope from the input Z and the value A; relu's slope at 0 is 0.
SLOPES = {
    "relu": lambda Z, A: (Z > 0).astype(Z.dtype),
    "sigmoid": lambda Z, A: A * (1.0 - A),
    "tanh": lambda Z, A: 1.0 - A**2,
}


# --- starts -----------------------------------------------------------------------

STARTS = {
    "zeros": lambda n_in: 0.0,
    "small": lambda n_in: 0.01,
    "he": lambda n_in: np.sqrt(2.0 / n_in),
    "xavier": lambda n_in: np.sqrt(1.0 / n_in),
}


def initialise(sizes, rng, start="he"):
    """Weights normal times the start's scale, drawn W1, W2, ... in turn; biases zero."""
    parameters = {}
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes), 1):
        parameters[f"W{layer}"] = rng.randn(n_out, n_in) * STARTS[start](n_in)
        parameters[f"b{layer}"] = np.zeros((n_out, 1))
    return parameters


# --- forward, cost, backward ------------------------------------------------------


def n_layers(parameters):
    return len(parameters) // 2


def forward(parameters, X, hidden, *, masks=None, keep=1.0):
    """Return the cache: Z and undropped activation of every layer, and its output.

    ``masks`` holds one 0/1 array per hidden layer; what is kept is divided by ``keep``
    (inverted dropout).
    """
    cache = {"out0": X}
    A = X
    last = n_layers(parameters)
    for layer in range(1, last + 1):
        Z = parameters[f"W{layer}"] @ A + parameters[f"b{layer}"]
        activation = sigmoid if layer == last else ACTIVATIONS[hidden[layer - 1]]
        A = activation(Z)
        cache[f"Z{layer}"], cache[f"A{layer}"] = Z, A
        if masks is not None and layer < last:
            A = A * masks[layer - 1] / keep
        cache[f"out{layer}"] = A
    return cache


def cost(Z, Y):
    """Mean cross-entropy from the logits: exact for every Z."""
    return np.mean(np.logaddexp(0.0, Z) - Y * Z)


def written_cost(A, Y):
    """The tutorials' spelling, from the probabilities: loses digits for |Z| > 15."""
    return -np.mean(Y * np.log(A) + (1.0 - Y) * np.log(1.0 - A))


def penalty(parameters, m, l2):
    """L2 regularisation, weights only: l2 / (2 m) * sum of W**2."""
    weights = (value for name, value in parameters.items() if name[0] == "W")
    return l2 / (2.0 * m) * sum(np.sum(W**2) for W in weights)


def deltas(parameters, cache, Y, hidden, *, masks=None, keep=1.0):
    """Return dZ of every layer, undivided: ``{"Z1": ..., "ZL": AL - Y}``."""
    last = n_layers(parameters)
    dZ = {f"Z{last}": cache[f"A{last}"] - Y}
    for layer in range(last - 1, 0, -1):
        dA = parameters[f"W{layer + 1}"].T @ dZ[f"Z{layer + 1}"]
        if masks is not None:
            dA = dA * masks[layer - 1] / keep
        slope = SLOPES[hidden[layer - 1]]
        dZ[f"Z{layer}"] = dA * slope(cache[f"Z{layer}"], cache[f"A{layer}"])
    return dZ


def backward(parameters, cache, Y, hidden, *, masks=None, keep=1.0, l2=0.0):
    """Gradients of mean cross-entropy plus L2 penalty, by the formulas above."""
    m = Y.shape[1]
    dZ = deltas(parameters, cache, Y, hidden, masks=masks, keep=keep)
    gradients = {}
    for layer in range(1, n_layers(parameters) + 1):
        dZl, A_below = dZ[f"Z{layer}"], cache[f"out{layer - 1}"]
        decay = l2 / m * parameters[f"W{layer}"]
        gradients[f"W{layer}"] = dZl @ A_below.T / m + decay
        gradients[f"b{layer}"] = np.sum(dZl, axis=1, keepdims=True) / m
    return gradients


def cost_and_gradients(parameters, X, Y, hidden, *, masks=None, keep=1.0, l2=0.0):
    """One forward and one backward pass: the regularised cost and the gradients."""
    cache = forward(parameters, X, hidden, masks=masks, keep=keep)
    value = cost(cache[f"Z{n_layers(parameters)}"], Y)
    value += penalty(parameters, Y.shape[1], l2)
    gradients = backward(parameters, cache, Y, hidden, masks=masks, keep=keep, l2=l2)
    return value, gradients


def predict(parameters, X, hidden):
    """Class 0 or 1 of every example, (1, m)."""
    return (forward(parameters, X, hidden)[f"A{n_layers(parameters)}"] > 0.5) * 1


def accuracy(parameters, X, Y, hidden):
    return float(np.mean(predict(parameters, X, hidden) == Y))


# --- update rules: (parameter, gradient, state, step) -> (parameter, state) --------


def gradient_descent(lr):
    def rule(W, g, state, step):
        return W - lr * g, state

    return rule


def momentum(lr, beta=0.9):
    """Exponentially weighted average of the gradients, starting at zero."""

    def rule(W, g, state, step):
        v = beta * state.get("v", 0.0) + (1.0 - beta) * g
        return W - lr * v, {"v": v}

    return rule


def rmsprop(lr, beta=0.9, epsilon=1e-8):
    def rule(W, g, state, step):
        s = beta * state.get("s", 0.0) + (1.0 - beta) * g**2
        return W - lr * g / (np.sqrt(s) + epsilon), {"s": s}

    return rule


def adam(lr, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Adam with bias correction; steps count from 1."""

    def rule(W, g, state, step):
        v = beta1 * state.get("v", 0.0) + (1.0 - beta1) * g
        s = beta2 * state.get("s", 0.0) + (1.0 - beta2) * g**2
        v_corrected = v / (1.0 - beta1**step)
        s_corrected = s / (1.0 - beta2**step)
        change = lr * v_corrected / (np.sqrt(s_corrected) + epsilon)
        return W - change, {"v": v, "s": s}

    return rule


# --- training ---------------------------------------------------------------------


def batches(m, size, rng):
    """Column indices of one epoch's mini-batches; ``size=None``: all, undrawn."""
    if size is None:
        return [slice(None)]
    order = rng.permutation(m)
    return [order[start : start + size] for start in range(0, m, size)]


def draw_masks(parameters, m, keep, rng):
    """One 0/1 mask per hidden layer, drawn in turn; ``keep=1``: none, undrawn."""
    if keep == 1.0:
        return None
    shapes = [(len(parameters[f"b{i}"]), m) for i in range(1, n_layers(parameters))]
    return [(rng.rand(*shape) < keep).astype(float) for shape in shapes]


def train(
    parameters,
    X,
    Y,
    hidden,
    rule,
    *,
    iterations,
    l2=0.0,
    keep=1.0,
    batch_size=None,
    rng=None,
):
    """Train for so many passes over the data; return the parameters and the costs.

    The cost of every step is taken before its update.  Each epoch draws its shuffle
    from ``rng``, then each step its masks, layer by layer.
    """
    parameters = dict(parameters)
    states = {name: {} for name in parameters}
    costs = []
    step = 0
    for _ in range(iterations):
        for columns in batches(X.shape[1], batch_size, rng):
            step += 1
            X_part, Y_part = X[:, columns], Y[:, columns]
            masks = draw_masks(parameters, Y_part.shape[1], keep, rng)
            value, gradients = cost_and_gradients(
                parameters, X_part, Y_part, hidden, masks=masks, keep=keep, l2=l2
            )
            costs.append(value)
            for name, g in gradients.items():
                parameters[name], states[name] = rule(
                    parameters[name], g, states[name], step
                )
    return parameters, np.array(costs)


# --- data -------------------------------------------------------------------------


def flower(rng):
    """Return the planar flower, X (2, 400) and Y (1, 400), drawn from ``rng``.

    Per class: 200 angles with noise, then the noise of the 200 radii.
    """
    points, labels = [], []
    for j in range(2):
        angle = np.linspace(3.12 * j, 3.12 * (j + 1), 200) + 0.2 * rng.randn(200)
        radius = 4.0 * np.sin(4.0 * angle) + 0.2 * rng.randn(200)
        points.append(np.stack([radius * np.sin(angle), radius * np.cos(angle)]))
        labels.append(np.full((1, 200), float(j)))
    return np.concatenate(points, axis=1), np.concatenate(labels, axis=1)


def flower_experiment(iterations=10_000, learning_rate=0.01):
    """The flower end to end: data, then W1, then W2 from one ``RandomState(1)``.

    Returns the data, the start, the trained parameters and the costs before every
    step and after the last.
    """
    rng = np.random.RandomState(1)
    X, Y = flower(rng)
    start = initialise([2, 4, 1], rng, "small")
    rule = gradient_descent(learning_rate)
    parameters, costs = train(start, X, Y, ["tanh"], rule, iterations=iterations)
    final, _ = cost_and_gradients(parameters, X, Y, ["tanh"])
    return X, Y, start, parameters, np.append(costs, final)


def images(m, rng, size=64):
    """Return ``m`` made-up colour pictures, half of them cats, and their labels.

    A cat is a bright round head with two pointed ears and dark eyes, about the middle;
    what is no cat is a field of stripes.  Colours, places, tilts and noise are drawn
    from ``rng``.  Returns (m, size, size, 3) bytes and labels (1, m).
    """
    rows, columns = np.mgrid[0:size, 0:size] / size
    pictures = np.empty((m, size, size, 3), dtype=np.uint8)
    labels = (rng.rand(1, m) < 0.5).astype(float)
    for picture, label in zip(pictures, labels[0], strict=True):
        front, back = rng.rand(2, 3)
        if label:
            y, x = 0.55 + 0.1 * rng.randn(2)
            radius = 0.22 + 0.05 * rng.rand()
            u, v = (columns - x) / radius, (rows - y) / radius
            head = u**2 + v**2 < 1.0
            ears = (np.abs(np.abs(u) - 0.6) < 0.5 * (v + 1.6)) & (v < 0) & (v > -1.6)
            eyes = (np.abs(u) - 0.4) ** 2 + (v + 0.2) ** 2 < 0.03
            shape = (head | ears) & ~eyes
            front = 0.5 + 0.5 * front
        else:
            tilt, width, shift = rng.rand(3)
            along = columns * np.cos(np.pi * tilt) + rows * np.sin(np.pi * tilt)
            shape = np.sin(2 * np.pi * (along * (3 + 5 * width) + shift)) > 0
        colour = np.where(shape[..., None], front, 0.7 * back)
        colour = colour + 0.1 * rng.randn(size, size, 3)
        picture[:] = np.clip(255 * colour, 0, 255)
    return pictures, labels
