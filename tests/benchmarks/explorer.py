"""Explorer pages: their size, when they are first drawn, and what a step of the play takes.

    python tests/benchmarks/explorer.py

Needs Chromium and ``pip install playwright``. Times are wall times of a headless browser,
GPU off, each page opened anew; beside them stands a calibration: a million additions in
the same browser. "first drawn" counts from the beginning of the navigation to the first
frame that shows the graph: unpacking, starting the layout engine, layout and painting.
"of it, program" is the part from the start of the page's own program.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import tinygrad_nn as tg
from tinygrad_nn import graph
from tinygrad_nn.drawing.page import page_of

ROUNDS = 9
STEPS = """() => {
  const times = [];
  for (let i = 0; i <= window.explorer.steps; i += 1) {
    const begun = performance.now();
    window.explorer.goto(i);
    document.body.getBoundingClientRect(); // style and layout, as a frame would
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  return [times[times.length >> 1], times[Math.floor(0.99 * times.length)], times.at(-1)];
}"""
CALIBRATION = """() => {
  const begun = performance.now();
  let sum = 0;
  for (let i = 0; i < 1e6; i += 1) sum += Math.sqrt(i);
  return [performance.now() - begun, sum][0];
}"""


def twenty():
    """A network of two layers and its loss: some twenty nodes."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 400)), (rng.random((1, 400)) > 0.5) * 1.0
    W1, b1 = (
        tg.Parameter(rng.standard_normal((4, 2)), name="W1"),
        tg.Parameter(np.zeros((4, 1)), name="b1"),
    )
    W2, b2 = (
        tg.Parameter(rng.standard_normal((1, 4)), name="W2"),
        tg.Parameter(np.zeros((1, 1)), name="b2"),
    )
    A1 = np.tanh(W1 @ X + b1)
    A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).mean()


def five_hundred(count=83):
    """Dense layers of 32 units, each with its activation: six nodes a layer."""
    rng = np.random.default_rng(0)
    layers = [
        layer for _ in range(count) for layer in (tg.nn.Dense(32, 32), tg.nn.Tanh())
    ]
    network = tg.nn.Sequential(*layers, tg.nn.Dense(32, 10))
    return tg.losses.cross_entropy(
        network(tg.Tensor(rng.standard_normal((32, 32)), name="X")),
        rng.integers(0, 10, 32),
    )


def measured(browser, file):
    """First drawn, steps, requests and errors of one page."""
    drawn, faults = [], []
    for _ in range(ROUNDS):
        tab = browser.new_page(viewport={"width": 1440, "height": 860})
        tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
        tab.on(
            "request",
            lambda asked: (
                faults.append(asked.url)
                if not asked.url.startswith(("file:", "blob:", "data:"))
                else None
            ),
        )
        tab.goto(file.as_uri())
        tab.wait_for_selector("body[data-ready]")
        drawn.append(tab.evaluate("[window.explorer.drawn, window.explorer.started]"))
        steps = tab.evaluate(STEPS)
        calibration = tab.evaluate(CALIBRATION)
        tab.close()
    return drawn, steps, calibration, faults


def main():
    """Print a line for each page."""
    chromium = shutil.which("chromium") or sys.exit("needs chromium")
    print(
        "page, nodes | made s | KB | first drawn ms: median, best | of it, program | step ms: median, 99 %, most | 10^6 sqrt ms | faults"
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        for name, make in (("network", twenty), ("84 layers, folded", five_hundred)):
            loss = make()
            page_of([loss])  # programs are packed once a process
            begun = time.perf_counter()
            page = page_of([loss], title=name)
            made = time.perf_counter() - begun
            file = Path(folder, "page.html")
            file.write_text(page, encoding="utf-8")
            drawn, steps, calibration, faults = measured(browser, file)
            whole, own = [a for a, _ in drawn], [a - b for a, b in drawn]
            nodes = len(list(graph.nodes(loss)))
            print(
                f"{name}, {nodes} | {made:.2f} | {len(page.encode()) / 1000:.0f} | {statistics.median(whole):.0f}, {min(whole):.0f} | {statistics.median(own):.0f}, {min(own):.0f} | {steps[0]:.2f}, {steps[1]:.2f}, {steps[2]:.2f} | {calibration:.1f} | {len(faults)}"
            )
        browser.close()


if __name__ == "__main__":
    main()
