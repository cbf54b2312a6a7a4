"""What transforms cost beside one gradient: time as ratios in one run, and memory.

    python tests/benchmarks/transforms.py [--rounds 30]

Each figure is a ratio of times taken in one process on one core, contenders in turn,
the median over rounds. "One gradient" is forward and ``backward()`` of the same loss,
the quickest way there is to one. Unset every OPENBLAS_* variable first: this script
does so itself and starts again, on one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import tracemalloc
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
from tinygrad_nn import nn


def medians(rounds, **contenders):
    """Time the contenders in turn; return the median seconds of each."""
    times = {name: [] for name in contenders}
    for _ in range(rounds + 2):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[2:]) for name, found in times.items()}


def mlp(*sizes, dtype=np.float64, activation="relu"):
    rng = np.random.default_rng(0)
    inner = [
        nn.Dense(n, m, activation=activation, rng=rng, dtype=dtype)
        for n, m in pairwise(sizes[:-1])
    ]
    return nn.Sequential(*inner, nn.Dense(*sizes[-2:], rng=rng, dtype=dtype))


def backward(model, loss):
    """Return one gradient as a training step takes it."""
    parameters = model.parameters()

    def run():
        loss(model).backward()
        for parameter in parameters:
            parameter.grad = None

    return run


# --- second order ----------------------------------------------------------------


def second_order(rounds):
    """Hessian-vector products of the 784-256-128-1 loss, by the ways there are."""
    print("784-256-128-1, binary cross-entropy; time over that of one gradient")
    for rows, dtype in ((128, np.float32), (128, np.float64), (512, np.float32)):
        rng = np.random.default_rng(1)
        model = mlp(784, 256, 128, 1, dtype=dtype)
        X = rng.normal(size=(rows, 784)).astype(dtype)
        Y = (rng.random((rows, 1)) < 0.5).astype(dtype)

        def loss(m, X=X, Y=Y):
            return tg.losses.binary_cross_entropy_with_logits(m(X), Y)

        way = {
            name: rng.normal(size=p.shape).astype(dtype)
            for name, p in model.named_parameters()
        }

        def slope_along(m, loss=loss, way=way):
            slopes = tg.grad(loss)(m)
            return sum((slopes[name] * v).sum() for name, v in way.items())

        start, unflatten = tg.flatten(model)
        start, flat_way = start.numpy(), tg.flatten(way)[0]

        def flat(v, loss=loss, unflatten=unflatten):
            return loss(unflatten(v))

        times = medians(
            rounds,
            one=backward(model, loss),
            grad=lambda m=model, f=loss: tg.grad(f)(m),
            hvp=lambda m=model, f=loss, v=way: tg.hvp(f, m, v),
            twice=lambda m=model, f=slope_along: tg.grad(f)(m),
            flat_grad=lambda f=flat, x=start: tg.grad(f)(x),
            flat_hvp=lambda f=flat, x=start, v=flat_way: tg.hvp(f, x, v),
        )
        one = times["one"]
        title = f"  {rows:4} rows, {np.dtype(dtype).name}"
        print(
            f"{title}: tg.grad {times['grad'] / one:.2f}, tg.hvp "
            f"{times['hvp'] / one:.2f}, grad of <grad, v> {times['twice'] / one:.2f}; "
            f"of one vector, over its own gradient: tg.hvp "
            f"{times['flat_hvp'] / times['flat_grad']:.2f}"
        )


# --- all at once -----------------------------------------------------------------


def jacobians(rounds):
    """Jacobians of a small network by its input, against a pull for each row."""
    print("jacobian; time over that of a loop of pulls, one for each result")
    for sizes in (
        (20, 30, 10),
        (50, 100, 50),
        (10, 30, 40),
        (4, 30, 1000),
        (100, 30, 4),
    ):
        model = mlp(*sizes, activation="tanh")
        x = np.random.default_rng(0).normal(size=sizes[0])

        def rows(model=model, x=x):
            value, pull = tg.vjp(model, x)
            return np.stack([pull(e)[0] for e in np.eye(value.size)])

        np.testing.assert_allclose(tg.jacobian(model)(x), rows(), atol=1e-13)
        times = medians(
            rounds,
            rows=rows,
            **{
                mode: lambda m=model, x=x, mode=mode: tg.jacobian(m, mode=mode)(x)
                for mode in ("auto", "reverse", "forward")
            },
        )
        shown = ", ".join(
            f"{mode} {times[mode] / times['rows']:.3f}"
            for mode in ("auto", "reverse", "forward")
        )
        print(f"  {sizes[0]:3} in, {sizes[-1]:3} out: {shown}")


def examples(rounds):
    """Gradients of each example, together and one by one."""
    print("per_example_grad, 64 examples; time over that of one gradient of the batch")
    for sizes in ((64, 64, 10), (784, 256, 128, 10)):
        model = mlp(*sizes)
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(64, sizes[0])), rng.integers(0, 10, 64)

        def loss(m, X, y):
            return tg.losses.cross_entropy(m(X), y)

        def together(model=model, X=X, y=y):
            with tg.no_grad():
                return tg.per_example_grad(loss)(model, X, y)

        def one_by_one(model=model, X=X, y=y):
            each = [tg.grad(loss)(model, X[i : i + 1], y[i : i + 1]) for i in range(64)]
            return {k: np.stack([g[k].numpy() for g in each]) for k in each[0]}

        times = medians(
            max(rounds // 3, 3),
            one=backward(model, lambda m, X=X, y=y: loss(m, X, y)),
            together=together,
            loop=one_by_one,
        )
        print(
            f"  {'-'.join(map(str, sizes))}: together "
            f"{times['together'] / times['one']:.1f}, a loop of tg.grad "
            f"{times['loop'] / times['one']:.1f}"
        )


# --- memory ----------------------------------------------------------------------


def checkpoints(rounds):
    """A network of twelve layers, each a checkpoint or none of them."""
    print("checkpoint, 12 layers of tanh(x W + b) * x, (1000, 64) float64")
    layers = [nn.Dense(64, 64, activation="tanh", rng=i) for i in range(12)]
    X = np.random.default_rng(0).normal(size=(1000, 64))

    def loss(wrap):
        h = tg.Tensor(X)
        for layer in layers:
            h = wrap(lambda x, layer=layer: layer(x) * x)(h)
        return (h * h).mean()

    def step(wrap):
        loss(wrap).backward()
        for layer in layers:
            layer.zero_grad()

    def plain(f):
        return f

    times = medians(
        rounds, plain=lambda: step(plain), checkpoint=lambda: step(tg.checkpoint)
    )
    for title, wrap in (("plain", plain), ("checkpoint", tg.checkpoint)):
        tracemalloc.start()
        made = loss(wrap)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        made.backward()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(
            f"  {title:10}: the graph holds {held / 1e6:5.1f} MB, backward "
            f"{peak / 1e6:5.1f} MB at most, time {times[title] / times['plain']:.2f}"
        )
        for layer in layers:
            layer.zero_grad()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    for part in (second_order, jacobians, examples, checkpoints):
        part(chosen.rounds)
