"""Pictures of the same networks by several libraries: time, size, what is on them.

Each contender builds the network in its own terms, and draws it as SVG with the
library's own means, in a process of its own; those that are not installed are left out.
The time is that of drawing, Graphviz included, without building. Run:

    python tests/benchmarks/drawings.py --out /tmp/drawings

micrograd, mygrad, torchviz, torchview (with torch) are contenders; torchviz and
torchview ask for Graphviz's program dot. Sizes are the 2-4-1 network, and networks of
about 500 and 5,000 nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

SIZES = ("2-4-1", "500", "5000")
LAYERS = {"500": 80, "5000": 830}  # dense layers of 16 units: six nodes each
WIDTHS = {"500": (8, 8), "5000": (30, 30)}  # of scalar networks, two hidden layers
LONGEST = 180  # seconds


def ours(size):
    import numpy as np

    import tinygrad_nn as tg
    from tinygrad_nn.graph import nodes

    rng = np.random.default_rng(0)
    if size == "2-4-1":
        X, Y = rng.standard_normal((2, 50)), rng.integers(2, size=(1, 50)) * 1.0
        W1, b1 = (
            tg.Parameter(rng.standard_normal((4, 2))),
            tg.Parameter(np.zeros((4, 1))),
        )
        W2, b2 = (
            tg.Parameter(rng.standard_normal((1, 4))),
            tg.Parameter(np.zeros((1, 1))),
        )
        A1 = np.tanh(W1 @ X + b1)
        A2 = tg.sigmoid(W2 @ A1 + b2)
        loss = tg.losses.binary_cross_entropy(A2, Y)
    else:
        X, y = rng.standard_normal((32, 16)), rng.integers(16, size=32)
        layers = [
            tg.nn.Dense(16, 16, activation="relu", rng=rng) for _ in range(LAYERS[size])
        ]
        net = tg.nn.Sequential(*layers)
        loss = tg.losses.cross_entropy(net(X), y)
    return lambda: tg.draw(loss).svg(), len(nodes(loss))


def ours_unfolded(size):
    import tinygrad_nn as tg

    draw = tg.draw
    tg.draw = lambda loss: draw(loss, fold=False)
    return ours(size)


def micrograd(size):
    import graphviz
    from micrograd.engine import Value
    from micrograd.nn import MLP

    net = MLP(2, [4, 1] if size == "2-4-1" else [*WIDTHS[size], 1])
    loss = (net([Value(0.5), Value(-1.0)]) - 1.0) ** 2
    loss.backward()
    # Without recursion: the library's own walk stops at the interpreter's limit.
    found, stack = {loss: None}, [loss]
    while stack:
        for x in stack.pop()._prev:
            if x not in found:
                found[x] = None
                stack.append(x)

    def draw():  # as its notebook does: a record a value, a node an op
        picture = graphviz.Digraph(format="svg", graph_attr={"rankdir": "LR"})
        for x in found:
            label = f"{{ data {x.data:.4f} | grad {x.grad:.4f} }}"
            picture.node(str(id(x)), label=label, shape="record")
            if x._op:
                picture.node(f"{id(x)}{x._op}", label=x._op)
                picture.edge(f"{id(x)}{x._op}", str(id(x)))
            for y in x._prev:
                picture.edge(str(id(y)), f"{id(x)}{x._op}")
        return picture.pipe().decode()

    return draw, len(found)


def mygrad(size):
    import mygrad
    import numpy as np
    from mygrad.computational_graph import build_graph

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 50))
    sizes = (
        [(4, 2), (1, 4)]
        if size == "2-4-1"
        else [(16, 2)] + [(16, 16)] * (LAYERS[size] - 1)
    )
    Ws = [mygrad.tensor(rng.standard_normal(s)) for s in sizes]
    bs = [mygrad.tensor(np.zeros((s[0], 1))) for s in sizes]
    for W, b in zip(Ws, bs, strict=True):
        x = mygrad.tanh(W @ x + b)
    loss = (x**2).mean()
    names = {f"W{i}": W for i, W in enumerate(Ws)}
    return lambda: build_graph(loss, names=names).pipe("svg").decode(), 4 * len(sizes)


def _torch_net(size):
    import torch

    torch.manual_seed(0)
    if size == "2-4-1":
        layers = [
            torch.nn.Linear(2, 4),
            torch.nn.Tanh(),
            torch.nn.Linear(4, 1),
            torch.nn.Sigmoid(),
        ]
        return torch.nn.Sequential(*layers), torch.randn(50, 2)
    layers = [
        m
        for _ in range(LAYERS[size])
        for m in (torch.nn.Linear(16, 16), torch.nn.ReLU())
    ]
    return torch.nn.Sequential(*layers), torch.randn(32, 16)


def torchviz(size):
    from torchviz import make_dot

    net, x = _torch_net(size)
    loss = (net(x) ** 2).mean()
    parameters = dict(net.named_parameters())
    return lambda: make_dot(loss, params=parameters).pipe("svg").decode(), 5 * len(
        parameters
    ) // 2


def torchview(size):
    from torchview import draw_graph

    net, x = _torch_net(size)
    return lambda: draw_graph(net, x).visual_graph.pipe("svg").decode(), len(
        list(net.children())
    )


CONTENDERS = {
    "tinygrad_nn": (ours, "values, gradients, heat maps, formulas, shapes; folded"),
    "tinygrad_nn, fold=False": (ours_unfolded, "the same, every node"),
    "micrograd": (micrograd, "value and gradient of numbers, op"),
    "mygrad": (mygrad, "op, name; no gradient"),
    "torchviz": (torchviz, "name of the backward op, shapes of parameters"),
    "torchview": (torchview, "layer, shapes"),
}


def one(name, size, out):
    """Draw once, in this process; print what came of it."""
    draw, nodes = CONTENDERS[name][0](size)
    start = time.perf_counter()
    svg = draw()
    spent = time.perf_counter() - start
    width, height = (
        float(x) for x in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2]
    )
    if out:
        Path(out).mkdir(exist_ok=True)
        file = re.sub(r"\W+", "-", f"{name}-{size}") + ".svg"
        Path(out, file).write_text(svg, encoding="utf-8")
    print(
        json.dumps(
            {
                "seconds": spent,
                "kilobytes": len(svg.encode()) / 1000,
                "nodes": nodes,
                "width": width,
                "height": height,
            }
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help="a folder to keep the pictures in")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SIZE"))
    options = parser.parse_args()
    if options.one:
        one(*options.one, options.out)
        return
    if shutil.which("dot") is None:
        print("Graphviz's program dot is missing: the contenders need it")
    print("| network | drawn by | seconds | KB | points | shows |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        for name, (_, shows) in CONTENDERS.items():
            words = [sys.executable, __file__, "--one", name, size]
            words += ["--out", options.out] if options.out else []
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, timeout=LONGEST, check=False
                )
            except subprocess.TimeoutExpired:
                print(f"| {size} | {name} | more than {LONGEST} | | | {shows} |")
                continue
            if done.returncode:
                why = done.stderr.strip().splitlines()[-1][:100]
                if "No module named" not in why:
                    print(f"| {size} | {name} | failed: {why} | | | {shows} |")
                continue
            told = json.loads(done.stdout.strip().splitlines()[-1])
            print(
                f"| {size} | {name} | {told['seconds']:.2f} | {told['kilobytes']:,.0f} | "
                f"{told['width']:,.0f} x {told['height']:,.0f} | {shows} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
