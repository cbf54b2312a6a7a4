"""Will it rain tomorrow?  An L-layer network from an architecture list, 4-5-4-3-1.

Examples lie in columns: X is (4, m), Y is (1, m).  Hidden layers are relu, the output
is a sigmoid.  The forward pass is the tutorial's NumPy, given Tensors, with the
gradients it derives by hand as comments.  Then come its further improvements: L2,
dropout, mini-batches, momentum, RMSProp, Adam, and other starts.

    pip install '.[train]'    # matplotlib, for the figures
    python examples/weather_network.py --out runs/weather_network
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_nn as tg

ARCHITECTURE = [
    {"layer_size": 4, "activation": "none"},  # the input
    {"layer_size": 5, "activation": "relu"},
    {"layer_size": 4, "activation": "relu"},
    {"layer_size": 3, "activation": "relu"},
    {"layer_size": 1, "activation": "sigmoid"},
]


def load_weather(m, rng):
    """Draw temperature, humidity, pressure and wind, (4, m), and rain or none, (1, m).

    Damp air under low pressure rains, more so together and at mild temperatures.
    """
    temperature = 20 + 8 * rng.randn(m)
    humidity = np.clip(60 + 20 * rng.randn(m), 5, 100)
    pressure = 1013 + 8 * rng.randn(m)
    wind = 30 * rng.rand(m) ** 2
    damp, low = (humidity - 60) / 20, (1013 - pressure) / 8
    score = 2.5 * damp + 2.5 * low + 2 * damp * low + 0.05 * wind
    score = score - 0.8 * ((temperature - 20) / 8) ** 2
    rain = (score + 0.5 * rng.randn(m) > 0.8).astype(float)
    return np.stack([temperature, humidity, pressure, wind]), rain[np.newaxis]


def standardize(X_train, X_test):
    """Subtract the training part's mean and divide by its standard deviation."""
    mean = X_train.mean(axis=1, keepdims=True)
    deviation = X_train.std(axis=1, keepdims=True)
    return (X_train - mean) / deviation, (X_test - mean) / deviation


def start_scale(start, n_in):
    """Return the standard deviation of the first weights of a layer of n_in inputs."""
    return {
        "he": np.sqrt(2 / n_in),  # for relu: keeps the size of the signal
        "xavier": np.sqrt(1 / n_in),  # likewise for tanh
        "small": 0.01,  # too small for four layers: they hardly learn
        "zeros": 0.0,  # all units stay alike: they never learn
    }[start]


def initialize_parameters(architecture, rng, start="he"):
    """Draw W1, ..., WL at the start's scale; biases zero."""
    parameters = {}
    for l in range(1, len(architecture)):
        n_in, n_out = architecture[l - 1]["layer_size"], architecture[l]["layer_size"]
        W = rng.randn(n_out, n_in) * start_scale(start, n_in)
        parameters[f"W{l}"] = tg.Parameter(W, name=f"W{l}")
        parameters[f"b{l}"] = tg.Parameter(np.zeros((n_out, 1)), name=f"b{l}")
    return parameters


def activate(Z, activation):
    """Apply a layer's activation."""
    if activation == "relu":
        return np.maximum(0, Z)  # slope 0 at Z = 0
    return 1 / (1 + np.exp(-Z))


def L_model_forward(X, parameters, architecture=ARCHITECTURE, keep=1.0, rng=None):
    """Return the probability of rain, (1, m); ``keep < 1`` drops hidden units."""
    A = X
    L = len(architecture) - 1
    for l in range(1, L + 1):
        A_prev = A
        #   dW[l] = dZ[l] @ A_prev.T / m    db[l] = dZ[l].sum(axis=1, keepdims=True) / m
        Z = np.dot(parameters[f"W{l}"], A_prev) + parameters[f"b{l}"]
        #   dZ[l] = (W[l + 1].T @ dZ[l + 1]) * D[l] / keep * (Z[l] > 0)
        #   dZ[L] = A[L] - Y
        A = activate(Z, architecture[l]["activation"])
        if keep < 1 and l < L:
            D = rng.rand(*A.shape) < keep  # inverted dropout: what stays is scaled up,
            A = A * D / keep  # so that prediction needs no change
    return A


def compute_cost(AL, Y, parameters, l2=0.0):
    """Cross-entropy, the mean over the examples, plus the L2 penalty on the weights."""
    m = Y.shape[1]
    cost = -np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)) / m
    if l2:
        L = len(parameters) // 2  # the penalty adds l2 / m * W[l] to dW[l]
        squares = sum(np.sum(parameters[f"W{l}"] ** 2) for l in range(1, L + 1))
        cost = cost + l2 / (2 * m) * squares
    return cost


def change(optimizer, g, state, t):
    """Return what ``g`` changes per unit of learning rate, at step t = 1, 2, ..."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    if optimizer == "momentum":  # an exponentially weighted average, from zero
        state["v"] = beta1 * state.get("v", 0.0) + (1 - beta1) * g
        return state["v"]
    if optimizer == "rmsprop":
        state["s"] = beta1 * state.get("s", 0.0) + (1 - beta1) * g**2
        return g / (np.sqrt(state["s"]) + epsilon)
    if optimizer == "adam":  # both averages, corrected for their start at zero
        state["v"] = beta1 * state.get("v", 0.0) + (1 - beta1) * g
        state["s"] = beta2 * state.get("s", 0.0) + (1 - beta2) * g**2
        v_corrected = state["v"] / (1 - beta1**t)
        s_corrected = state["s"] / (1 - beta2**t)
        return v_corrected / (np.sqrt(s_corrected) + epsilon)
    return g  # gradient descent


def update_parameters(parameters, states, optimizer, learning_rate, t):
    """One step of the optimizer, in place."""
    L = len(parameters) // 2
    # The tutorial counts layers from the architecture list, which holds the input too,
    #     for l in range(1, len(architecture) + 1)
    # and so asks for dW5 of a network with four layers.  They end at L:
    with tg.no_grad():
        for l in range(1, L + 1):
            for name in (f"W{l}", f"b{l}"):
                g = parameters[name].grad
                step = learning_rate * change(optimizer, g, states[name], t)
                parameters[name] -= step
                parameters[name].grad = None  # used up: backward() begins anew


def train(
    X,
    Y,
    architecture=ARCHITECTURE,
    *,
    iterations=1000,
    learning_rate=0.1,
    start="he",
    optimizer="gradient descent",
    batch_size=None,
    l2=0.0,
    keep=1.0,
    rng,
    report=None,
):
    """Train for so many passes over X; return the parameters and every step's cost."""
    m = X.shape[1]
    parameters = initialize_parameters(architecture, rng, start)
    states = {name: {} for name in parameters}
    costs = []
    for i in range(iterations):
        order = np.arange(m) if batch_size is None else rng.permutation(m)
        for first in range(0, m, batch_size or m):
            columns = order[first : first + (batch_size or m)]
            AL = L_model_forward(X[:, columns], parameters, architecture, keep, rng)
            cost = compute_cost(AL, Y[:, columns], parameters, l2)
            cost.backward()
            costs.append(cost.item())
            update_parameters(parameters, states, optimizer, learning_rate, len(costs))
        if report and i % report == 0:
            print(f"Cost after iteration {i}: {costs[-1]:.6f}")
    return parameters, costs


def predict(X, parameters, architecture=ARCHITECTURE):
    """Rain (1) or none (0) of every example, (1, m)."""
    with tg.no_grad():
        return (L_model_forward(X, parameters, architecture).numpy() > 0.5).astype(int)


IMPROVEMENTS = {
    "plain": {},
    "L2": {"l2": 0.7},
    "dropout": {"keep": 0.9},
    "mini-batches": {"batch_size": 80},
    "momentum": {"optimizer": "momentum"},
    "RMSProp": {"optimizer": "rmsprop", "learning_rate": 0.01},
    "Adam": {"optimizer": "adam", "learning_rate": 0.01},
    "Xavier start": {"start": "xavier"},
    "small random start": {"start": "small"},
    "zero start": {"start": "zeros"},
}


PANELS = {
    "regularisation and batches": ["mini-batches", "dropout", "plain", "L2"],
    "optimizers": ["plain", "momentum", "RMSProp", "Adam"],
    "starts": ["plain", "Xavier start", "small random start", "zero start"],
}


def save_picture(out, curves):
    """Save the cost curves as PNG, each improvement beside the plain network."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (panel, titles) in zip(panels, PANELS.items(), strict=True):
        for title in titles:
            axes.plot(curves[title], label=title, lw=1, alpha=0.8)
        axes.set(xlabel="step", title=panel)
        axes.legend(loc="upper right", fontsize=8)
    panels[0].set_ylabel("cost")
    figure.savefig(out / "cost.png")


def main(argv=None):
    """Train plainly, then with each improvement; report and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runs/weather_network"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    X, Y = load_weather(1000, np.random.RandomState(1))
    Y, Y_test = Y[:, :800], Y[:, 800:]
    X, X_test = standardize(X[:, :800], X[:, 800:])
    curves, accuracies = {}, {}
    for title, settings in IMPROVEMENTS.items():
        passes = arguments.iterations
        if "batch_size" in settings:  # ten steps a pass: a tenth of the passes
            passes = max(1, passes // 10)
        parameters, costs = train(
            X,
            Y,
            iterations=passes,
            **settings,
            rng=np.random.RandomState(3),
            report=100 if title == "plain" else None,
        )
        curves[title] = costs
        accuracies[title] = np.mean(predict(X_test, parameters) == Y_test)
        print(
            f"{title:>18}: cost {costs[0]:.4f} at first, {costs[-1]:.4f} at last, "
            f"test accuracy {accuracies[title]:.4f}"
        )
    save_picture(arguments.out, curves)
    print(f"Picture: {arguments.out}/cost.png")
    return {title: costs[-1] for title, costs in curves.items()}, accuracies


if __name__ == "__main__":
    main()
