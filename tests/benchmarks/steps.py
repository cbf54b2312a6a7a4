"""One training step, forward to update: ours against the hand-written NumPy step.

    python tests/benchmarks/steps.py [--rounds 40] [--peers]

Every figure is a ratio of times taken in one process, contenders in turn, the
median over rounds; 1.00 is the hand-written step. `--peers` adds autograd, mygrad
and eager torch. Unset every OPENBLAS_* variable first: this script does so itself
and starts again, on one thread.
"""

from __future__ import annotations

import argparse
import inspect
import os
import statistics
import sys
import time
from itertools import pairwise

if __name__ == "__main__" and (
    any(
        name.startswith("OPENBLAS")
        for name in os.environ
        if name != "OPENBLAS_NUM_THREADS"
    )
    or os.environ.get("OPENBLAS_NUM_THREADS") != "1"
):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    kept.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.execve(sys.executable, [sys.executable, *sys.argv], kept)

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.ops import logistic_loss

RATE = 0.01

MODELS = {
    # name: sizes, examples, hidden activation, dtype
    "flower 2-4-1, 400": ([2, 4, 1], 400, "tanh", np.float64),
    "weather 4-5-4-3-1, 1000": ([4, 5, 4, 3, 1], 1000, "relu", np.float64),
    "weather 4-5-4-3-1, 10000": ([4, 5, 4, 3, 1], 10000, "relu", np.float64),
    "images 12288-5-5-5-3-1, 209": ([12288, 5, 5, 5, 3, 1], 209, "relu", np.float64),
    "mlp 784-256-128-1 f32, 128": ([784, 256, 128, 1], 128, "relu", np.float32),
}


def start(sizes, examples, dtype):
    """Data and first parameters, the same for every contender."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(sizes[0], examples)).astype(dtype)
    Y = (rng.random((1, examples)) < 0.5).astype(dtype)
    parameters = []
    for n_in, n_out in pairwise(sizes):
        W = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
        parameters += [W.astype(dtype), np.zeros((n_out, 1), dtype)]
    return X, Y, parameters


def hand_step(parameters, X, Y, hidden):
    """Forward, backward, update by explicit formulas: competent NumPy, no out=."""
    m = X.shape[1]
    layers = len(parameters) // 2
    values = [X]
    sums = []
    A = X
    for layer in range(layers - 1):
        Z = np.dot(parameters[2 * layer], A) + parameters[2 * layer + 1]
        A = np.tanh(Z) if hidden == "tanh" else np.maximum(Z, 0)
        sums.append(Z)
        values.append(A)
    Z = np.dot(parameters[-2], A) + parameters[-1]
    A = 1 / (1 + np.exp(-Z))
    cost = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
    dZ = (A - Y) / m
    for layer in reversed(range(layers)):
        A = values[layer]
        dW = np.dot(dZ, A.T)
        db = np.sum(dZ, axis=1, keepdims=True)
        if layer:
            dA = np.dot(parameters[2 * layer].T, dZ)
            dZ = dA * (1 - A * A) if hidden == "tanh" else dA * (sums[layer - 1] > 0)
        parameters[2 * layer] -= RATE * dW
        parameters[2 * layer + 1] -= RATE * db
    return cost


def hand(parameters, X, Y, hidden):
    parameters = [p.copy() for p in parameters]
    return lambda: hand_step(parameters, X, Y, hidden)


def ours_logits(parameters, X, Y, hidden):
    """Ours, the loss as one op of the logits."""
    W = [tg.Parameter(p.copy()) for p in parameters]
    optimizer = tg.optim.SGD(W, lr=RATE)
    layers = range(0, len(W) - 2, 2)

    def step():
        A = X
        for layer in layers:
            Z = W[layer] @ A + W[layer + 1]
            A = tg.tanh(Z) if hidden == "tanh" else tg.relu(Z)
        Z = W[-2] @ A + W[-1]
        loss = tg.mean(logistic_loss(Z, Y))
        loss.backward()
        optimizer.step()
        return loss

    return step


def written(np, W, X, Y, hidden):
    """The tutorials' own lines."""
    A = X
    for layer in range(0, len(W) - 2, 2):
        Z = np.dot(W[layer], A) + W[layer + 1]
        A = np.tanh(Z) if hidden == "tanh" else np.maximum(0, Z)
    Z = np.dot(W[-2], A) + W[-1]
    A = 1 / (1 + np.exp(-Z))
    return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))


def ours_written(parameters, X, Y, hidden):
    """Ours, the tutorials' lines through NumPy's own functions."""
    W = [tg.Parameter(p.copy()) for p in parameters]
    optimizer = tg.optim.SGD(W, lr=RATE)

    def step():
        loss = written(np, W, X, Y, hidden)
        loss.backward()
        optimizer.step()
        return loss

    return step


def autograd_written(parameters, X, Y, hidden):
    import autograd.numpy as anp
    from autograd import value_and_grad

    W = [p.copy() for p in parameters]
    both = value_and_grad(lambda W: written(anp, W, X, Y, hidden))

    def step():
        value, slopes = both(W)
        for w, g in zip(W, slopes, strict=True):
            w -= RATE * g
        return value

    return step


def autograd_logits(parameters, X, Y, hidden):
    import autograd.numpy as anp
    from autograd import value_and_grad

    W = [p.copy() for p in parameters]

    def cost(W):
        A = X
        for layer in range(0, len(W) - 2, 2):
            Z = anp.dot(W[layer], A) + W[layer + 1]
            A = anp.tanh(Z) if hidden == "tanh" else anp.maximum(Z, 0)
        Z = anp.dot(W[-2], A) + W[-1]
        return anp.mean(anp.logaddexp(0, Z) - Z * Y)

    both = value_and_grad(cost)

    def step():
        value, slopes = both(W)
        for w, g in zip(W, slopes, strict=True):
            w -= RATE * g
        return value

    return step


def _mygrad(parameters, X, Y, hidden, loss_of):
    import mygrad as mg

    W = [mg.tensor(p.copy()) for p in parameters]

    def step():
        A = X
        for layer in range(0, len(W) - 2, 2):
            Z = mg.matmul(W[layer], A) + W[layer + 1]
            A = mg.tanh(Z) if hidden == "tanh" else mg.maximum(Z, 0)
        loss = loss_of(mg, mg.matmul(W[-2], A) + W[-1])
        loss.backward()
        for w in W:
            w.data -= RATE * w.grad
        return loss

    return step


def mygrad_written(parameters, X, Y, hidden):
    def loss(mg, Z):
        A = 1 / (1 + mg.exp(-Z))
        return -mg.mean(Y * mg.log(A) + (1 - Y) * mg.log(1 - A))

    return _mygrad(parameters, X, Y, hidden, loss)


def mygrad_logits(parameters, X, Y, hidden):
    return _mygrad(
        parameters, X, Y, hidden, lambda mg, Z: mg.mean(mg.logaddexp(0, Z) - Z * Y)
    )


def _torch(parameters, X, Y, hidden, loss_of):
    import torch

    torch.set_num_threads(1)
    W = [torch.tensor(p, requires_grad=True) for p in parameters]
    X, Y = torch.tensor(X), torch.tensor(Y)
    optimizer = torch.optim.SGD(W, lr=RATE)

    def step():
        A = X
        for layer in range(0, len(W) - 2, 2):
            Z = W[layer] @ A + W[layer + 1]
            A = torch.tanh(Z) if hidden == "tanh" else torch.relu(Z)
        loss = loss_of(torch, W[-2] @ A + W[-1], Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_written(parameters, X, Y, hidden):
    def loss(torch, Z, Y):
        A = 1 / (1 + torch.exp(-Z))
        return -torch.mean(Y * torch.log(A) + (1 - Y) * torch.log(1 - A))

    return _torch(parameters, X, Y, hidden, loss)


def torch_logits(parameters, X, Y, hidden):
    return _torch(
        parameters,
        X,
        Y,
        hidden,
        lambda torch, Z, Y: torch.nn.functional.binary_cross_entropy_with_logits(Z, Y),
    )


def measure(steps, rounds):
    """Median ratio of each contender to the first, rounds interleaved."""
    names = list(steps)
    counts = {}
    for name in names:  # warm up, and find how many calls make a few milliseconds
        steps[name]()
        begin = time.perf_counter()
        steps[name]()
        counts[name] = max(1, int(0.004 / (time.perf_counter() - begin)))
    ratios = {name: [] for name in names}
    seconds = []
    for number in range(rounds):
        times = {}
        order = names[number % len(names) :] + names[: number % len(names)]
        for name in order:
            step = steps[name]
            begin = time.perf_counter()
            for _ in range(counts[name]):
                step()
            times[name] = (time.perf_counter() - begin) / counts[name]
        seconds.append(times[names[0]])
        for name in names:
            ratios[name].append(times[name] / times[names[0]])
    return {n: statistics.median(r) for n, r in ratios.items()}, statistics.median(
        seconds
    )


def calibration():
    """Microseconds of one np.tanh of 400 numbers: a yardstick for absolute times."""
    x = np.linspace(-1, 1, 400)
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        np.tanh(x)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", help="part of a model's name")
    options = parser.parse_args()

    contenders = {"hand": hand, "logits": ours_logits, "written": ours_written}
    if options.peers:
        contenders |= {
            "autograd logits": autograd_logits,
            "autograd written": autograd_written,
            "mygrad logits": mygrad_logits,
            "mygrad written": mygrad_written,
            "torch logits": torch_logits,
            "torch written": torch_written,
        }
    print(inspect.getsource(hand_step))
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, {blas()}")
    print(f"calibration: np.tanh of 400 numbers takes {calibration():.2f} us\n")
    print(f"{'model':28} {'hand us':>9}  " + "  ".join(f"{n:>16}" for n in contenders))
    table = {name: [] for name in contenders}
    for title, (sizes, examples, hidden, dtype) in MODELS.items():
        if options.only and options.only not in title:
            continue
        X, Y, parameters = start(sizes, examples, dtype)
        steps = {n: make(parameters, X, Y, hidden) for n, make in contenders.items()}
        ratios, seconds = measure(steps, options.rounds)
        for name, ratio in ratios.items():
            table[name].append(ratio)
        print(
            f"{title:28} {seconds * 1e6:9.1f}  "
            + "  ".join(f"{ratios[n]:16.2f}" for n in contenders)
        )
    print(
        f"{'geometric mean':28} {'':9}  "
        + "  ".join(f"{statistics.geometric_mean(table[n]):16.2f}" for n in contenders)
    )
    print(
        f"{'worst':28} {'':9}  "
        + "  ".join(f"{max(table[n]):16.2f}" for n in contenders)
    )


def blas():
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "BLAS kernel unknown (threadpoolctl is not installed)"
    return ", ".join(
        f"{p['internal_api']} {p.get('architecture', '')} {p['num_threads']} thread"
        for p in threadpool_info()
        if p["user_api"] == "blas"
    )


if __name__ == "__main__":
    main()
