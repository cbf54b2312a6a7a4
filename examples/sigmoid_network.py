"""An L-layer network of sigmoids, built from ``layer_dims``: points inside a circle.

Examples lie in columns, parameters are a dictionary W1, b1, ..., WL, bL.  The forward
pass and the cost are the tutorial's lines, given Tensors; its caches and its chain of
one_layer_backward calls are what ``cost.backward()`` does.

    pip install '.[train]'    # matplotlib, for the figures
    python examples/sigmoid_network.py --out runs/sigmoid_network
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_nn as tg

LAYER_DIMS = [2, 5, 3, 1]


def load_data(m, rng):
    """Draw points of a square, X (2, m); class 1, in Y (1, m), lies in a circle."""
    X = rng.uniform(-1, 1, size=(2, m))
    Y = (np.sum(X**2, axis=0, keepdims=True) < 0.5).astype(float)
    return X, Y


def init_params(layer_dims, rng):
    """Draw normal weights over the square root of the layer's inputs; biases zero."""
    params = {}
    for l in range(1, len(layer_dims)):
        W = rng.randn(layer_dims[l], layer_dims[l - 1]) * np.sqrt(1 / layer_dims[l - 1])
        params["W" + str(l)] = tg.Parameter(W, name="W" + str(l))
        b = np.zeros((layer_dims[l], 1))
        params["b" + str(l)] = tg.Parameter(b, name="b" + str(l))
    return params


def sigmoid(Z):
    """Squash every element into (0, 1)."""
    # The tutorial returns a pair here, (A, cache), and its backward pass then writes
    # dA * sigmoid(Z) * (1 - sigmoid(Z)), with the pair.  One value is returned:
    return 1 / (1 + np.exp(np.dot(-1, Z)))


def forward_prop(X, params):
    """Return the last layer's output, (1, m)."""
    A = X  # the input of the first layer
    L = len(params) // 2  # the number of layers
    for l in range(1, L + 1):
        A_prev = A
        # By hand, with dZ for layer l and m examples:
        #   dW = np.dot(dZ, A_prev.T) / m
        #   db = np.sum(dZ, axis=1, keepdims=True) / m
        #   dA_prev = np.dot(W.T, dZ)
        Z = np.dot(params["W" + str(l)], A_prev) + params["b" + str(l)]
        #   dZ = dA * A * (1 - A); at the last layer this is A - Y
        A = sigmoid(Z)
    return A


def cost_function(A, Y):
    """Cross-entropy, the mean over the examples: one number."""
    m = Y.shape[1]
    cost = (-1 / m) * (np.dot(np.log(A), Y.T) + np.dot(np.log(1 - A), 1 - Y.T))
    # The tutorial returns the (1, 1) array that the two products make.  A cost is a
    # number:
    return np.squeeze(cost)


def backprop(cost, params):
    """Return the gradients dW1, db1, ..., dWL, dbL."""
    # The tutorial files the last layer's gradients under L-1, where the next layer's
    # overwrite them, so that the last layer never learns:
    #     grads["dW" + str(L - 1)], grads["db" + str(L - 1)] = one_layer_backward(...)
    # Layer l's gradients belong under l:
    cost.backward()
    return {"d" + name: params[name].grad for name in params}


def update_parameters(params, grads, learning_rate):
    """One step of gradient descent, in place."""
    L = len(params) // 2
    with tg.no_grad():
        for l in range(1, L + 1):
            params["W" + str(l)] -= learning_rate * grads["dW" + str(l)]
            params["b" + str(l)] -= learning_rate * grads["db" + str(l)]
    for p in params.values():
        p.grad = None  # used up: the next backward() begins anew


def train(X, Y, layer_dims, epochs=5000, lr=0.7, *, rng, report=None):
    """Train; return the parameters and every epoch's cost."""
    params = init_params(layer_dims, rng)
    cost_history = []
    for i in range(epochs):
        Y_hat = forward_prop(X, params)
        cost = cost_function(Y_hat, Y)
        grads = backprop(cost, params)
        update_parameters(params, grads, lr)
        cost_history.append(cost.item())
        if report and i % report == 0:
            print(f"Epoch {i}: cost {cost_history[-1]:.6f}")
    return params, cost_history


def predict(X, params):
    """Class 0 or 1 of every point, (1, m)."""
    with tg.no_grad():
        return (forward_prop(X, params).numpy() > 0.5).astype(int)


def save_pictures(out, cost_history, params, X, Y):
    """Save the cost curve and the decision boundary as PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(cost_history)
    axes.set(xlabel="epoch", ylabel="cost", title="Sigmoid network 2-5-3-1")
    figure.savefig(out / "cost.png")

    x, y = np.meshgrid(np.linspace(-1.1, 1.1, 300), np.linspace(-1.1, 1.1, 300))
    classes = predict(np.array([x.ravel(), y.ravel()]), params).reshape(x.shape)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.contourf(x, y, classes, levels=1, cmap="Spectral", alpha=0.6)
    axes.scatter(X[0], X[1], c=Y[0], s=12, cmap="Spectral", edgecolors="black", lw=0.3)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", title="Decision boundary")
    figure.savefig(out / "boundary.png")


def main(argv=None):
    """Train, report and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("runs/sigmoid_network"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    rng = np.random.RandomState(2)
    X, Y = load_data(500, rng)
    params, costs = train(X, Y, LAYER_DIMS, arguments.iterations, rng=rng, report=1000)
    accuracy = np.mean(predict(X, params) == Y)
    print(f"Cost: {costs[0]:.4f} at first, {costs[-1]:.4f} at last")
    print(f"Accuracy: {accuracy:.4f}")
    save_pictures(arguments.out, costs, params, X, Y)
    print(f"Pictures: {arguments.out}/cost.png, {arguments.out}/boundary.png")
    return costs[-1], accuracy


if __name__ == "__main__":
    main()
