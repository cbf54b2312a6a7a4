"""A training step twice: recorded anew each time, and compiled to flat NumPy.

The flower's network 2-4-1, trained by Adam from one start, by the same function.  A
step compiled with ``exact=True`` leaves the same bits.  Without, the compiler may
rearrange what it adds and multiplies, and the costs differ by rounding; as training
goes on, Adam makes more of a rounding, whoever made it.  The source is written to a
file, to be read.

    python examples/compiled_training.py --out runs/compiled_training
    python examples/compiled_training.py --backend c    # needs a C compiler
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import tinygrad_nn as tg


def make_step(lr=0.02):
    """Return a training step, and the parameters that it changes."""
    rng = np.random.default_rng(1)
    W1 = tg.Parameter(rng.normal(size=(4, 2)), name="W1")
    b1 = tg.Parameter(np.zeros((4, 1)), name="b1")
    W2 = tg.Parameter(rng.normal(size=(1, 4)), name="W2")
    b2 = tg.Parameter(np.zeros((1, 1)), name="b2")
    optimizer = tg.optim.Adam([W1, b1, W2, b2], lr=lr)

    def step(X, Y):
        A1 = np.tanh(np.dot(W1, X) + b1)
        A2 = 1 / (1 + np.exp(-(np.dot(W2, A1) + b2)))
        cost = -np.mean(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))
        optimizer.minimize(cost)
        return cost

    return step, [W1, b1, W2, b2]


def train(step, X, Y, iterations):
    """Return the cost of every step, and microseconds a step after the first."""
    costs = [step(X, Y).item()]  # a compiled step is traced in its first call
    start = time.process_time()
    costs += [step(X, Y).item() for _ in range(iterations - 1)]
    spent = time.process_time() - start
    return np.array(costs), 1e6 * spent / max(iterations - 1, 1)


def accuracy(parameters, X, Y):
    """Share of points on the right side."""
    W1, b1, W2, b2 = (parameter.data for parameter in parameters)
    return float(np.mean((np.dot(W2, np.tanh(np.dot(W1, X) + b1)) + b2 > 0) == Y))


def main(argv=None):
    """Train twice, compare, and write the source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=3_000)
    parser.add_argument("--backend", default="numpy", help="numpy, c or jax")
    parser.add_argument("--out", type=Path, default=Path("runs/compiled_training"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    points, labels = tg.data.flower()
    X, Y = points.T, labels[None, :].astype(float)

    eager, parameters = make_step()
    expected, eager_time = train(eager, X, Y, arguments.iterations)
    print(f"recorded anew: cost {expected[-1]:.4f}, {eager_time:.0f} us a step")

    step = tg.compile(make_step()[0], exact=True)
    costs, exact_time = train(step, X, Y, arguments.iterations)
    same = bool(np.all(costs == expected))
    print(f"exact=True:    cost {costs[-1]:.4f}, {exact_time:.0f} us a step")

    function, parameters = make_step()
    step = tg.compile(function, backend=arguments.backend)
    costs, quick_time = train(step, X, Y, arguments.iterations)
    print(f"compiled:      cost {costs[-1]:.4f}, {quick_time:.0f} us a step")

    early = slice(0, 200)
    difference = np.max(np.abs(costs - expected)[early] / expected[early])
    right = accuracy(parameters, X, Y)
    print(f"With exact=True all costs are the same: {same}")
    print(f"Without, the first 200 differ by {difference:.1e} at most")
    print(f"Accuracy: {right:.4f}; buffers: {step.memory.planned:,} bytes")
    suffix = "c" if arguments.backend == "c" else "py"
    source = arguments.out / f"step.{suffix}"
    source.write_text(step.source, "utf-8")
    print(f"Source: {source}")
    return same, float(difference), right


if __name__ == "__main__":
    main()
