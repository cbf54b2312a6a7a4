"""The planar flower: a 2-4-1 network, tanh then sigmoid, learns which petal is whose.

Examples lie in columns: X is (2, m), Y is (1, m), a layer is W @ X + b.  The forward
pass is the tutorial's NumPy, given Tensors; the gradients that the tutorial derives by
hand stand beside it as comments, and ``cost.backward()`` computes them.

    pip install '.[train]'    # matplotlib, for the figures
    python examples/planar_flower.py --out runs/planar_flower
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_nn as tg


def load_planar_dataset(rng):
    """Draw the flower: 200 points of each of two classes, X (2, 400) and Y (1, 400)."""
    N = 200  # points per class
    X = np.zeros((2, 2 * N))
    Y = np.zeros((1, 2 * N))
    for j in range(2):
        columns = slice(N * j, N * (j + 1))
        t = np.linspace(j * 3.12, (j + 1) * 3.12, N) + rng.randn(N) * 0.2  # angle
        r = 4 * np.sin(4 * t) + rng.randn(N) * 0.2  # radius
        X[:, columns] = r * np.sin(t), r * np.cos(t)
        Y[:, columns] = j
    return X, Y


def initialize_parameters(n_x, n_h, n_y, rng):
    """Small random weights, so that the hidden units differ; biases zero."""
    return {
        "W1": tg.Parameter(rng.randn(n_h, n_x) * 0.01, name="W1"),
        "b1": tg.Parameter(np.zeros((n_h, 1)), name="b1"),
        "W2": tg.Parameter(rng.randn(n_y, n_h) * 0.01, name="W2"),
        "b2": tg.Parameter(np.zeros((n_y, 1)), name="b2"),
    }


def sigmoid(Z):
    """Squash every element into (0, 1)."""
    return 1 / (1 + np.exp(-Z))


def forward_propagation(X, parameters):
    """Return the probability of class 1, (1, m), for points in columns (2, m)."""
    W1, b1 = parameters["W1"], parameters["b1"]
    W2, b2 = parameters["W2"], parameters["b2"]

    # By hand, from the bottom line up:
    #   dW1 = dZ1 @ X.T / m             db1 = dZ1.sum(axis=1, keepdims=True) / m
    Z1 = np.dot(W1, X) + b1
    #   dZ1 = (W2.T @ dZ2) * (1 - A1**2)
    A1 = np.tanh(Z1)
    #   dW2 = dZ2 @ A1.T / m            db2 = dZ2.sum(axis=1, keepdims=True) / m
    Z2 = np.dot(W2, A1) + b2
    #   dZ2 = A2 - Y
    return sigmoid(Z2)  # A2


def compute_cost(A2, Y):
    """Cross-entropy, the mean over the examples."""
    logprobs = Y * np.log(A2) + (1 - Y) * np.log(1 - A2)
    # The tutorial prints np.sum(logprobs), without the minus and the mean.  Its own
    # formulas (dZ2 = A2 - Y, the division by m) are the gradient of this line:
    return -np.mean(logprobs)


def update_parameters(parameters, learning_rate):
    """One step of gradient descent, in place."""
    with tg.no_grad():
        for name in parameters:
            parameters[name] -= learning_rate * parameters[name].grad
            parameters[name].grad = None  # used up: the next backward() begins anew


def train(X, Y, iterations=10_000, learning_rate=0.01, *, rng, report=None):
    """Train from small random weights; return the parameters and every step's cost."""
    parameters = initialize_parameters(2, 4, 1, rng)
    costs = []
    for i in range(iterations):
        A2 = forward_propagation(X, parameters)
        cost = compute_cost(A2, Y)
        cost.backward()
        update_parameters(parameters, learning_rate)
        costs.append(cost.item())
        if report and i % report == 0:
            print(f"Cost after iteration {i}: {costs[-1]:.6f}")
    return parameters, costs


def predict(X, parameters):
    """Class 0 or 1 of every point, (1, m)."""
    with tg.no_grad():
        return (forward_propagation(X, parameters).numpy() > 0.5).astype(int)


def save_pictures(out, costs, parameters, X, Y):
    """Save the cost curve and the decision boundary as PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(costs)
    axes.set(xlabel="iteration", ylabel="cost", title="Planar flower, network 2-4-1")
    figure.savefig(out / "cost.png")

    x, y = np.meshgrid(np.linspace(-5, 5, 300), np.linspace(-5, 5, 300))
    classes = predict(np.stack([x.ravel(), y.ravel()]), parameters).reshape(x.shape)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.contourf(x, y, classes, levels=1, cmap="Spectral", alpha=0.6)
    axes.scatter(X[0], X[1], c=Y[0], s=12, cmap="Spectral", edgecolors="black", lw=0.3)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", title="Decision boundary")
    figure.savefig(out / "boundary.png")


def main(argv=None):
    """Train, report and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("runs/planar_flower"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    rng = np.random.RandomState(1)
    X, Y = load_planar_dataset(rng)
    parameters, costs = train(X, Y, arguments.iterations, rng=rng, report=1000)

    accuracy = np.mean(predict(X, parameters) == Y)
    print(f"Cost: {costs[0]:.4f} at first, {costs[-1]:.4f} at last")
    print(f"Accuracy: {accuracy:.4f}")
    save_pictures(arguments.out, costs, parameters, X, Y)
    print(f"Pictures: {arguments.out}/cost.png, {arguments.out}/boundary.png")
    return costs[-1], accuracy


if __name__ == "__main__":
    main()
