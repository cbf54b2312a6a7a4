"""Cat or no cat: logistic regression, one relu layer, then a deep network, on images.

An image of 64 x 64 pixels and 3 colours is flattened into a column of 12288 numbers;
X is (12288, m), Y is (1, m).  Each forward pass is the tutorial's NumPy, given Tensors,
with the gradients it derives by hand as comments.  The images are made up, so that this
file needs no download: cats are heads with ears, the rest is stripes.

    pip install '.[train]'    # matplotlib, for the figures
    python examples/image_classifier.py --out runs/image_classifier
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_nn as tg

HIDDEN_DIMS = [12288, 7, 1]
DEEP_DIMS = [12288, 5, 5, 5, 3, 1]


def load_images(m, rng, size=64):
    """Draw m images (m, 64, 64, 3) of bytes and their labels (1, m): 1 is a cat."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    images = np.empty((m, size, size, 3), dtype=np.uint8)
    labels = (rng.rand(1, m) < 0.5).astype(float)
    for image, label in zip(images, labels[0], strict=True):
        front, back = rng.rand(2, 3)
        if label:  # a bright head with two ears, dark at the eyes, somewhere central
            y, x = 0.55 + 0.1 * rng.randn(2)
            radius = 0.22 + 0.05 * rng.rand()
            u, v = (columns - x) / radius, (rows - y) / radius
            head = u**2 + v**2 < 1.0
            ears = (np.abs(np.abs(u) - 0.6) < 0.5 * (v + 1.6)) & (v < 0) & (v > -1.6)
            eyes = (np.abs(u) - 0.4) ** 2 + (v + 0.2) ** 2 < 0.03
            shape = (head | ears) & ~eyes
            front = 0.5 + 0.5 * front
        else:  # stripes of any tilt, width and phase
            tilt, width, shift = rng.rand(3)
            along = columns * np.cos(np.pi * tilt) + rows * np.sin(np.pi * tilt)
            shape = np.sin(2 * np.pi * (along * (3 + 5 * width) + shift)) > 0
        colour = np.where(shape[..., None], front, 0.7 * back)
        noisy = colour + 0.1 * rng.randn(size, size, 3)
        image[:] = np.clip(255 * noisy, 0, 255)
    return images, labels


def flatten(images):
    """One column per image, scaled to 0..1: (12288, m)."""
    return images.reshape(len(images), -1).T / 255


def sigmoid(Z):
    """Squash every element into (0, 1)."""
    return 1 / (1 + np.exp(-Z))


def relu(Z):
    """Cut off what is negative."""
    # The tutorial takes Z >= 0 for the slope, which is 1 at Z = 0.  relu has a kink
    # there and any slope from 0 to 1 serves; here it is 0, as from Z > 0.
    return np.maximum(0, Z)


def compute_cost(A, Y):
    """Cross-entropy, the mean over the examples."""
    # The tutorial has the two cases the wrong way round,
    #     -np.mean((1 - Y) * np.log(A) + Y * np.log(1 - A))
    # whose gradient is A - (1 - Y).  A - Y belongs to this:
    return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))


def logistic_regression(X, parameters):
    """One sigmoid unit, with its weights w in a column (12288, 1)."""
    w, b = parameters["w"], parameters["b"]
    #   dw = np.dot(X, (A - Y).T) / m       db = np.sum(A - Y) / m
    return sigmoid(np.dot(w.T, X) + b)


def one_hidden_layer(X, parameters):
    """Relu units, then a sigmoid unit."""
    W1, b1 = parameters["W1"], parameters["b1"]
    W2, b2 = parameters["W2"], parameters["b2"]
    #   dW1 = dZ1 @ X.T / m                 db1 = dZ1.sum(axis=1, keepdims=True) / m
    Z1 = np.dot(W1, X) + b1
    #   dZ1 = (W2.T @ dZ2) * (Z1 > 0)
    A1 = relu(Z1)
    #   dW2 = dZ2 @ A1.T / m                db2 = dZ2.sum(axis=1, keepdims=True) / m
    Z2 = np.dot(W2, A1) + b2
    #   dZ2 = A2 - Y
    return sigmoid(Z2)


def deep_network(X, parameters):
    """L - 1 layers of relu units, then a sigmoid unit."""
    A = X
    L = len(parameters) // 2
    for l in range(1, L + 1):
        A_prev = A
        # The tutorial pairs dZ of this layer with the A of another, and its shapes
        # (5, 5, 5) let that pass.  The A that this layer read is the one:
        #   dW[l] = dZ[l] @ A_prev.T / m    db[l] = dZ[l].sum(axis=1, keepdims=True) / m
        Z = np.dot(parameters[f"W{l}"], A_prev) + parameters[f"b{l}"]
        # It also forgets relu's slope, the last factor of
        #   dZ[l] = (W[l + 1].T @ dZ[l + 1]) * (Z[l] > 0)
        # At the last layer dZ[L] = A[L] - Y.
        A = relu(Z) if l < L else sigmoid(Z)
    return A


def initialize_logistic(n_x):
    """Zeros: with one unit there is no symmetry to break."""
    return {
        "w": tg.Parameter(np.zeros((n_x, 1)), name="w"),
        "b": tg.Parameter(0.0, name="b"),
    }


def initialize_layers(layer_dims, rng):
    """Draw normal weights over the square root of the layer's inputs; biases zero."""
    parameters = {}
    for l, (n_in, n_out) in enumerate(pairwise(layer_dims), 1):
        W = rng.randn(n_out, n_in) / np.sqrt(n_in)
        parameters[f"W{l}"] = tg.Parameter(W, name=f"W{l}")
        parameters[f"b{l}"] = tg.Parameter(np.zeros((n_out, 1)), name=f"b{l}")
    return parameters


def train(model, parameters, X, Y, *, iterations, learning_rate, report=None):
    """Gradient descent on the parameters, in place; return every step's cost."""
    costs = []
    for i in range(iterations):
        cost = compute_cost(model(X, parameters), Y)
        cost.backward()
        with tg.no_grad():
            for name in parameters:
                parameters[name] -= learning_rate * parameters[name].grad
                parameters[name].grad = None  # used up: backward() begins anew
        costs.append(cost.item())
        if report and i % report == 0:
            print(f"Cost after iteration {i}: {costs[-1]:.6f}")
    return costs


def predict(model, parameters, X):
    """Class 0 or 1 of every image, (1, m)."""
    with tg.no_grad():
        return (model(X, parameters).numpy() > 0.5).astype(int)


def save_pictures(out, curves, images, predictions):
    """Save the cost curves, and test images with what the deep network says, as PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for title, costs in curves.items():
        axes.plot(costs, label=title)
    axes.set(xlabel="iteration", ylabel="cost", title="Cat or no cat")
    axes.legend()
    figure.savefig(out / "cost.png")

    figure = Figure(figsize=(8, 4.4), layout="constrained")
    shown = zip(figure.subplots(3, 6).flat, images, predictions[0], strict=False)
    for axes, image, prediction in shown:
        axes.imshow(image)
        axes.set_title("cat" if prediction else "no cat", fontsize=9)
        axes.axis("off")
    figure.savefig(out / "predictions.png")


def main(argv=None):
    """Train the three models, report and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("runs/image_classifier"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    rng = np.random.RandomState(1)
    train_images, Y = load_images(209, rng)
    test_images, Y_test = load_images(50, rng)
    X, X_test = flatten(train_images), flatten(test_images)
    zeros = initialize_logistic(len(X))
    shallow = initialize_layers(HIDDEN_DIMS, np.random.RandomState(1))
    deep = initialize_layers(DEEP_DIMS, np.random.RandomState(1))
    models = {
        "logistic regression": (logistic_regression, zeros, 0.005),
        "12288-7-1": (one_hidden_layer, shallow, 0.0075),
        "12288-5-5-5-3-1": (deep_network, deep, 0.0075),
    }
    curves, accuracies = {}, {}
    for title, (model, parameters, learning_rate) in models.items():
        print(title)
        curves[title] = costs = train(
            model,
            parameters,
            X,
            Y,
            iterations=arguments.iterations,
            learning_rate=learning_rate,
            report=200,
        )
        print(f"Cost: {costs[0]:.4f} at first, {costs[-1]:.4f} at last")
        predictions = predict(model, parameters, X_test)
        accuracies[title] = np.mean(predictions == Y_test)
        print(f"Train accuracy: {np.mean(predict(model, parameters, X) == Y):.4f}")
        print(f"Test accuracy: {accuracies[title]:.4f}")
    save_pictures(arguments.out, curves, test_images, predictions)
    print(f"Pictures: {arguments.out}/cost.png, {arguments.out}/predictions.png")
    return {title: costs[-1] for title, costs in curves.items()}, accuracies


if __name__ == "__main__":
    main()
