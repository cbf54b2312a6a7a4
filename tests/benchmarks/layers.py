"""Layers, forward and backward: ours, eager, against eager torch on one thread.

    python tests/benchmarks/layers.py [--rounds 15] [--only conv]

Every figure is a ratio of times taken in one process, contenders in turn, the median
over rounds; 1.00 is torch. Training steps of a small convolutional net and of an LSTM
are timed eager and compiled, on every backend there is. Layers compute torch's value,
which is checked.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time

if __name__ == "__main__" and os.environ.get("OPENBLAS_NUM_THREADS") != "1":
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    kept.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.execve(sys.executable, [sys.executable, *sys.argv], kept)

import numpy as np
import torch

import tinygrad_nn as tg

F = torch.nn.functional
torch.set_num_threads(1)


def convolution(n, c_in, side, c_out, kernel):
    shapes = ((n, c_in, side, side), (c_out, c_in, kernel, kernel), (c_out,))
    half = kernel // 2
    return (
        shapes,
        lambda *given: tg.conv2d(*given, padding=half),
        lambda *given: F.conv2d(*given, padding=half),
    )


def lstm(x, h, c, weight_x, weight_h, bias):
    layer = tg.nn.LSTM(x.shape[-1], h.shape[-1], returns="outputs")
    layer.weight_x, layer.weight_h, layer.bias = weight_x, weight_h, bias
    return layer(x, (h, c))


def torch_lstm(x, h, c, weight_x, weight_h, bias):
    weights = [weight_x, weight_h, bias, torch.zeros_like(bias)]
    return torch.lstm(x, (h[None], c[None]), weights, True, 1, 0.0, True, False, True)[
        0
    ]


CASES = {
    "conv 32 x 1 x 28 x 28, 8 of 3x3": convolution(32, 1, 28, 8, 3),
    "conv 32 x 8 x 28 x 28, 16 of 3x3": convolution(32, 8, 28, 16, 3),
    "conv 16 x 32 x 14 x 14, 64 of 3x3": convolution(16, 32, 14, 64, 3),
    "conv 64 x 3 x 32 x 32, 32 of 5x5": convolution(64, 3, 32, 32, 5),
    "max_pool 32 x 16 x 28 x 28, 2x2": (
        ((32, 16, 28, 28),),
        lambda x: tg.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 2),
    ),
    "avg_pool 32 x 16 x 28 x 28, 2x2": (
        ((32, 16, 28, 28),),
        lambda x: tg.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
    ),
    "batch_norm 32 x 16 x 28 x 28": (
        ((32, 16, 28, 28), (16,), (16,)),
        tg.batch_norm,
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    ),
    "layer_norm 512 x 256": (
        ((512, 256), (256,), (256,)),
        tg.layer_norm,
        lambda x, w, b: F.layer_norm(x, (256,), w, b),
    ),
    "attention 8 x 4 x 64 x 32, causal": (
        ((8, 4, 64, 32),) * 3,
        lambda *given: tg.scaled_dot_product_attention(*given, is_causal=True),
        lambda *given: F.scaled_dot_product_attention(*given, is_causal=True),
    ),
    "lstm 32 x 32 x 32, 64": (
        ((32, 32, 32), (32, 64), (32, 64), (256, 32), (256, 64), (256,)),
        lstm,
        torch_lstm,
    ),
}


def compared(case, dtype, rounds):
    """Median ratio of times, ours over torch's, and both in milliseconds."""
    shapes, ours, theirs = case
    rng = np.random.default_rng(0)
    arrays = [0.1 * rng.standard_normal(shape).astype(dtype) for shape in shapes]
    leaves = [tg.Tensor(a, requires_grad=True) for a in arrays]
    twins = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*leaves), theirs(*twins)
    error = np.abs(y.numpy() - z.detach().numpy()).max() / np.abs(y.numpy()).max()
    assert error < (1e-5 if dtype == np.float32 else 1e-12), error
    g = rng.standard_normal(y.shape).astype(dtype)
    twin_g = torch.tensor(g)

    def run_ours():
        ours(*leaves).backward(g)
        for leaf in leaves:
            leaf.grad = None

    def run_theirs():
        theirs(*twins).backward(twin_g)
        for twin in twins:
            twin.grad = None

    return ratio(run_ours, run_theirs, rounds)


def ratio(first, second, rounds):
    """Median of the ratio of their times, taken in turn, and their medians."""
    times = ([], [])
    for number in range(rounds + 2):
        for contender, spent in zip((first, second), times, strict=True):
            begin = time.perf_counter()
            contender()
            if number > 1:
                spent.append(time.perf_counter() - begin)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    return statistics.median(ratios), *(1e3 * statistics.median(t) for t in times)


def our_net(x, y, backend):
    rng = np.random.default_rng(0)
    nn, kind = tg.nn, x.dtype
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same", activation="relu", rng=rng, dtype=kind),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding="same", activation="relu", rng=rng, dtype=kind),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dense(16 * (x.shape[-1] // 4) ** 2, 10, rng=rng, dtype=kind),
    )
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01)

    def step(x, y):
        loss = tg.losses.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    run = step if backend == "eager" else tg.compile(step, backend=backend)
    return lambda: run(x, y)


def torch_net(x, y):
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same"),
        *(nn.ReLU(), nn.MaxPool2d(2)),
        nn.Conv2d(8, 16, 3, padding="same"),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        nn.Linear(16 * (x.shape[-1] // 4) ** 2, 10),
    ).to(torch.tensor(x).dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.tensor(x), torch.tensor(y)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def our_reader(x, y, backend):
    nn, kind = tg.nn, x.dtype
    model = nn.Sequential(
        nn.LSTM(x.shape[-1], 64, returns="last", rng=0, dtype=kind),
        nn.Dense(64, 10, rng=1, dtype=kind),
    )
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01)

    def step(x, y):
        loss = tg.losses.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    run = step if backend == "eager" else tg.compile(step, backend=backend)
    return lambda: run(x, y)


def torch_reader(x, y):
    kind = torch.tensor(x).dtype
    layer = torch.nn.LSTM(x.shape[-1], 64, batch_first=True, dtype=kind)
    head = torch.nn.Linear(64, 10, dtype=kind)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    x, y = torch.tensor(x), torch.tensor(y)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(head(layer(x)[0][:, -1]), y).backward()
        optimizer.step()

    return step


STEPS = {
    "net step": ((64, 1, 28, 28), our_net, torch_net),
    "lstm step": ((32, 20, 32), our_reader, torch_reader),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="names that contain this")
    arguments = parser.parse_args()
    print(f"{'forward and backward':40}  ratio     ours    torch  (ms)")
    for name, case in CASES.items():
        for dtype in (np.float32, np.float64):
            if arguments.only in name:
                found = compared(case, dtype, arguments.rounds)
                shown = "{:6.2f} {:8.2f} {:8.2f}".format(*found)
                print(f"{name + ' ' + dtype.__name__[5:]:40} {shown}")
    rng = np.random.default_rng(0)
    every = itertools.product(
        STEPS.items(), (np.float32, np.float64), ("eager", "numpy", "c", "jax")
    )
    for (title, (shape, make, make_twin)), dtype, backend in every:
        name = f"{title} {backend} {dtype.__name__[5:]}"
        if arguments.only not in name:
            continue
        x = rng.standard_normal(shape).astype(dtype)
        y = rng.integers(0, 10, len(x))
        try:
            ours = make(x, y, backend)
            ours()
        except tg.errors.TinygradError as error:
            print(f"{name:40} {str(error)[:60]}")
            continue
        found = ratio(ours, make_twin(x, y), arguments.rounds)
        print(f"{name:40} " + "{:6.2f} {:8.2f} {:8.2f}".format(*found), flush=True)


if __name__ == "__main__":
    main()
