"""One hidden layer of tanh, a sigmoid above it: two moons told apart.

The functions are those of the course notebook (layer_sizes, initialize_parameters,
forward_propagation, compute_cost, backward_propagation, update_parameters, nn_model,
predict); examples lie in columns.  The forward pass is plain NumPy, given Tensors, and
the notebook's backward_propagation, written by hand, becomes ``cost.backward()``.

    pip install '.[train]'    # matplotlib, for the figures
    python examples/one_hidden_layer.py --out runs/one_hidden_layer
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_nn as tg


def load_dataset(m, rng):
    """Draw two half moons with noise, X (2, m) and Y (1, m)."""
    t = np.pi * rng.rand(m // 2)
    upper = np.array([np.cos(t), np.sin(t)])
    lower = np.array([1 - np.cos(t), 0.5 - np.sin(t)])
    X = np.concatenate([upper, lower], axis=1) + 0.2 * rng.randn(2, 2 * (m // 2))
    Y = np.repeat([[0.0, 1.0]], m // 2, axis=1)
    return X, Y


def layer_sizes(X, Y, n_h=4):
    """Sizes of the input, hidden and output layer."""
    return X.shape[0], n_h, Y.shape[0]


def initialize_parameters(n_x, n_h, n_y, rng):
    """Small random weights, so that the hidden units differ; biases zero."""
    return {
        "W1": tg.Parameter(rng.randn(n_h, n_x) * 0.01, name="W1"),
        "b1": tg.Parameter(np.zeros((n_h, 1)), name="b1"),
        "W2": tg.Parameter(rng.randn(n_y, n_h) * 0.01, name="W2"),
        "b2": tg.Parameter(np.zeros((n_y, 1)), name="b2"),
    }


def tanh(z):
    """Hyperbolic tangent of every element."""
    # The tutorial prints
    #     (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))
    # which on plain arrays is inf / inf = nan from z = 710 on.  (Given a Tensor, that
    # spelling is recorded as tanh; NumPy still warns that np.exp overflows.)
    return np.tanh(z)


def sigmoid(z):
    """Squash every element into (0, 1)."""
    return 1 / (1 + np.exp(-z))


def forward_propagation(X, parameters):
    """Return the output A2, (1, m), and everything on the way to it."""
    W1, b1 = parameters["W1"], parameters["b1"]
    W2, b2 = parameters["W2"], parameters["b2"]
    Z1 = np.dot(W1, X) + b1
    A1 = tanh(Z1)
    Z2 = np.dot(W2, A1) + b2
    A2 = sigmoid(Z2)
    return A2, {"Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2}


def compute_cost(A2, Y):
    """Cross-entropy, the mean over the examples."""
    m = Y.shape[1]
    logprobs = np.multiply(np.log(A2), Y) + np.multiply(1 - Y, np.log(1 - A2))
    # The tutorial forgets the minus: its cost rises as the network learns, and its
    # dZ2 = A2 - Y is the gradient of the line below, not of the one printed.
    return -np.sum(logprobs) / m


def backward_propagation(cost, parameters):
    """Return the gradients of the cost, under the notebook's names."""
    # By hand the notebook writes
    #     dZ2 = A2 - Y
    #     dW2 = np.dot(dZ2, A1.T) / m
    #     db2 = np.sum(dZ2, axis=1, keepdims=True) / m
    #     dZ1 = np.dot(W2.T, dZ2) * (1 - np.power(A1, 2))
    #     dW1 = np.dot(dZ1, X.T) / m
    #     db1 = np.sum(dZ1, axis=1, keepdims=True) / m
    # and the recorded expression knows as much:
    cost.backward()
    return {"d" + name: parameters[name].grad for name in parameters}


def update_parameters(parameters, grads, learning_rate=1.2):
    """One step of gradient descent, in place."""
    with tg.no_grad():
        for name in parameters:
            parameters[name] -= learning_rate * grads["d" + name]
            parameters[name].grad = None  # used up: the next backward() begins anew


def nn_model(
    X, Y, n_h=4, num_iterations=5000, learning_rate=1.2, *, rng, print_cost=False
):
    """Train from small random weights; return the parameters and every step's cost."""
    parameters = initialize_parameters(*layer_sizes(X, Y, n_h), rng)
    costs = []
    for i in range(num_iterations):
        A2, _ = forward_propagation(X, parameters)
        cost = compute_cost(A2, Y)
        grads = backward_propagation(cost, parameters)
        update_parameters(parameters, grads, learning_rate)
        costs.append(cost.item())
        if print_cost and i % 1000 == 0:
            print(f"Cost after iteration {i}: {costs[-1]:.6f}")
    return parameters, costs


def predict(parameters, X):
    """Class 0 or 1 of every point, (1, m)."""
    with tg.no_grad():
        A2, _ = forward_propagation(X, parameters)
    return (A2.numpy() > 0.5).astype(int)


def save_pictures(out, costs, parameters, X, Y):
    """Save the cost curve and the decision boundary as PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(costs)
    axes.set(
        xlabel="iteration", ylabel="cost", title="One hidden layer of 4 tanh units"
    )
    figure.savefig(out / "cost.png")

    x, y = np.meshgrid(np.linspace(-2, 3, 300), np.linspace(-1.5, 2, 210))
    classes = predict(parameters, np.array([x.ravel(), y.ravel()])).reshape(x.shape)
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.contourf(x, y, classes, levels=1, cmap="Spectral", alpha=0.6)
    axes.scatter(X[0], X[1], c=Y[0], s=12, cmap="Spectral", edgecolors="black", lw=0.3)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", title="Decision boundary")
    figure.savefig(out / "boundary.png")


def main(argv=None):
    """Train, report and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("runs/one_hidden_layer"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    rng = np.random.RandomState(5)
    X, Y = load_dataset(400, rng)
    parameters, costs = nn_model(
        X, Y, num_iterations=arguments.iterations, rng=rng, print_cost=True
    )
    accuracy = np.mean(predict(parameters, X) == Y)
    print(f"Cost: {costs[0]:.4f} at first, {costs[-1]:.4f} at last")
    print(f"Accuracy: {accuracy:.4f}")
    save_pictures(arguments.out, costs, parameters, X, Y)
    print(f"Pictures: {arguments.out}/cost.png, {arguments.out}/boundary.png")
    return costs[-1], accuracy


if __name__ == "__main__":
    main()
