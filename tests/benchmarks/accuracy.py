"""Test accuracy of ``tinygrad-nn train`` beside scikit-learn's MLPClassifier.

Both see the same splits, standardised by the training part, and have the same hidden
layers. Run:  python tests/benchmarks/accuracy.py --seeds 20
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, before NumPy is loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from tinygrad_nn.cli import main
from tinygrad_nn.cli.network import read_run
from tinygrad_nn.cli.run import split_of
from tinygrad_nn.cli.sources import examples
from tinygrad_nn.training import accuracy

ALLOWED = 0.005


def ours(name, seed, options):
    """Run the command; return its test accuracy, its split and its time."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "run"))
        start = time.perf_counter()
        words = ["train", name, "--seed", str(seed), "--out", out, "--quiet", *options]
        if main(words) != 0:
            sys.exit(f"failed: tinygrad-nn {' '.join(words)}")
        seconds = time.perf_counter() - start
        run = read_run(out, np.random.default_rng(0))
    split = split_of(examples(name, None), run.settings)
    score = accuracy(run.network.classes(split.X_test), split.y_test)
    return score, seconds, run, split


def theirs(run, split, seed):
    """Fit scikit-learn's classifier on the very same numbers."""
    start = time.perf_counter()
    classifier = MLPClassifier(
        run.settings.layers, max_iter=5000, random_state=seed
    ).fit(run.network.inputs.transform(split.X_train), split.y_train)
    seconds = time.perf_counter() - start
    score = classifier.score(run.network.inputs.transform(split.X_test), split.y_test)
    return score, seconds


def measure(name, seeds, options):
    """Print both means side by side; return whether ours is good enough."""
    rows = []
    for seed in range(seeds):
        score, seconds, run, split = ours(name, seed, options)
        other, other_seconds = theirs(run, split, seed)
        rows.append((score, other, seconds, other_seconds))
    score, other, seconds, other_seconds = np.mean(rows, axis=0)
    spread = np.std([row[0] - row[1] for row in rows], ddof=1) / len(rows) ** 0.5
    good = score >= other - ALLOWED
    layers = ",".join(map(str, run.settings.layers))
    print(
        f"{name:14} layers {layers:8} seeds {seeds:3}  "
        f"tinygrad-nn {score:.4f} ({seconds:.2f} s)  "
        f"MLPClassifier {other:.4f} ({other_seconds:.2f} s)  "
        f"difference {score - other:+.4f} ± {spread:.4f}  "
        f"{'ok' if good else f'worse by more than {ALLOWED}'}",
        flush=True,
    )
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--data", default="breast-cancer,digits")
    arguments, options = parser.parse_known_args()
    warnings.simplefilter("error", ConvergenceWarning)
    results = [
        measure(name, arguments.seeds, options) for name in arguments.data.split(",")
    ]
    sys.exit(not all(results))
