"""Cost of a node: a chain of small ops, forward and backward; import time; memory.

    python tests/benchmarks/chain.py

Microseconds a node beside a calibration op, with the garbage collector on, at 10^4
to 10^6 nodes; memory over 20,000 training steps with the collector off; import time
over NumPy's.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
import tracemalloc

import numpy as np

import tinygrad_nn as tg


def chain(length):
    """Seconds a node for building and back-propagating a chain of + and *."""
    x = tg.Tensor(np.array([0.1, 0.2, 0.3]), requires_grad=True)
    scale = np.array([0.999, 1.0, 1.001])
    shift = np.array([0.001, 0.0, -0.001])
    gc.collect()
    begin = time.perf_counter()
    y = x
    for _ in range(length // 2):
        y = y * scale + shift
    y.backward(np.ones(3))
    return (time.perf_counter() - begin) / length


def calibration():
    x = np.array([0.1, 0.2, 0.3])
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        for _ in range(100):
            x * x
        times.append((time.perf_counter() - begin) / 100)
    return statistics.median(times)


def memory(steps=20_000):
    """Bytes held after 1,000 and after all training steps, collector off."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    W = tg.Parameter(rng.normal(size=(3, 1)))
    optimizer = tg.optim.SGD([W], lr=0.01)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    held = []
    for number in range(steps):
        loss = tg.mean(tg.square(tg.tanh(X @ W) - Y))
        loss.backward()
        optimizer.step()
        if number in (1_000, steps - 1):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    gc.enable()
    return held


def imports(module):
    """Milliseconds to import a module in a fresh interpreter, best of many."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, check=True, text=True
            ).stdout
        )
        for _ in range(15)
    ]
    return statistics.median(times) * 1e3


def main():
    print(f"calibration: product of 3 numbers takes {calibration() * 1e6:.2f} us")
    for length, repeats in ((10_000, 15), (100_000, 7), (1_000_000, 3)):
        times = [chain(length) for _ in range(repeats)]
        print(f"{length:>9} nodes: {statistics.median(times) * 1e6:.2f} us a node")
    first, last = memory()
    print(
        f"memory: {first} bytes after 1,000 steps, {last} after 20,000 (collector off)"
    )
    alone, both = imports("numpy"), imports("numpy, tinygrad_nn")
    print(
        f"import: numpy {alone:.1f} ms, with tinygrad_nn {both:.1f} ms: + {both - alone:.1f}"
    )


if __name__ == "__main__":
    main()
