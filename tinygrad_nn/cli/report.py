"""What a run says and leaves behind."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, final

import numpy as np

from tinygrad_nn.cli import pictures
from tinygrad_nn.cli.network import MODEL, Network, Run
from tinygrad_nn.cli.settings import Settings
from tinygrad_nn.data import Dataset
from tinygrad_nn.data.dataset import Array
from tinygrad_nn.drawing import draw
from tinygrad_nn.errors import DivergedError, MissingExtraError
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.training import accuracy, complete_file, r2

__all__ = ["FILES", "HISTORY", "Report", "Split", "lower"]

HISTORY, COST = "history.csv", "cost.png"
DOT, SVG = "graph.dot", "graph.svg"
BOUNDARY, CONFUSION, NUMBERS = "boundary.png", "confusion.png", "predictions.png"
FILES = (MODEL, HISTORY, COST, BOUNDARY, CONFUSION, NUMBERS, DOT, SVG)
"""Everything a run may leave behind."""

DRAWN_EXAMPLES = 4
_LANGUAGES = {"numpy": "NumPy", "c": "C", "jax": "JAX"}

A = TypeVar("A")


class Split(NamedTuple, Generic[A]):
    """Data in two parts, in their own units."""

    X_train: A
    X_test: A
    y_train: A
    y_test: A


@final
class Report:
    """Speaks on standard output, unless quiet, and writes the files of a run."""

    def __init__(self, directory: Path, *, quiet: bool) -> None:
        self._directory, self._quiet = directory, quiet

    def begin(self, dataset: Dataset, split: Split[Array], run: Run) -> None:
        """Say what is trained on what."""
        n, width = dataset.X.shape
        kind = _task(dataset, run)
        self._say(
            f"{dataset.name}: {n} examples, {width} {_plural('feature', width)}, "
            f"{kind}; {len(split.y_train)} to train on, {len(split.y_test)} to test on"
        )
        settings, network = run.settings, run.network
        parameters = sum(item.size for item in network.model.parameters())
        self._say(
            f"network {'-'.join(map(str, network.sizes))}, {settings.activation}, "
            f"{parameters:,} parameters; {settings.optimizer}, "
            f"learning rate {settings.lr:g}, epochs {len(run.history) + 1} to "
            f"{settings.epochs}, {_engine(settings)}"
        )

    def measure(self, run: Run, split: Split[Array]) -> None:
        """Say how good the network is on either part.

        Raises
        ------
        DivergedError
            When the very last steps left the finite numbers.
        """
        if not all(map(math.isfinite, run.history.rows[-1].values())):
            row = run.history.rows[-1]
            wrong = [f"{k} {v}" for k, v in row.items() if not math.isfinite(v)]
            raise DivergedError(
                f"train: expected finite results; got {', '.join(wrong)} in epoch "
                f"{row['epoch']}. {lower(run.settings)}"
            )
        history, wanted = run.history, run.settings.backend
        if wanted != "eager" and (history.engine != wanted or history.reason):
            some = "no" if history.engine == "eager" else "not all"
            self._say(f"{some} steps were compiled: {history.reason}")
        for part, X, y in (
            ("train", split.X_train, split.y_train),
            ("test", split.X_test, split.y_test),
        ):
            self._say(f"{part:5} {_quality(run.network, X, y)}")

    def end(self, run: Run, split: Split[Array]) -> None:
        """Write all files but the model, and name them."""
        written = [MODEL]
        run.history.to_csv(self._directory / HISTORY)
        written.append(HISTORY)
        drawn = _graph(self._directory, run.network, split)
        written += drawn
        if SVG not in drawn:
            self._say(
                f"no {SVG}: it needs the program dot of Graphviz (https://graphviz.org)"
            )
        try:
            run.history.plot(self._directory / COST)
            written.append(COST)
            written.append(_result(self._directory, run.network, split))
        except MissingExtraError:
            self._say(
                "no cost curve and no picture of the result: they need matplotlib, "
                "pip install 'tinygrad_nn[train]'"
            )
        self._say(f"wrote {', '.join(written)} to {self._directory}")

    def _say(self, text: str) -> None:
        if not self._quiet:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def lower(settings: Settings) -> str:
    """Advise what to do when training left the finite numbers."""
    return f"Lower --lr (it is {settings.lr:g})"


def _engine(settings: Settings) -> str:
    if settings.backend == "eager":
        return "steps not compiled"
    return f"steps compiled to {_LANGUAGES[settings.backend]}"


def _task(dataset: Dataset, run: Run) -> str:
    """Say what is predicted, and how to have it otherwise where that was guessed."""
    names = dataset.target_names
    task = f"{len(names)} classes" if names else "regression"
    if run.settings.target is None or run.settings.task != "auto":
        return task
    few, other = "many", "classes tells them apart"
    # A column of numbers only is numeric, so classes called by numbers were guessed.
    if names and all(map(_is_number, names)):
        few, other = "few", "regression predicts numbers"
    elif names or (dataset.y % 1).any():
        return task
    return f"{task} (whole numbers with {few} values; --task {other})"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plural(noun: str, n: int) -> str:
    return noun if n == 1 else f"{noun}s"


def _quality(network: Network, X: Array, y: Array) -> str:
    if network.kind == "regression":
        numbers = network.numbers(X)
        error = math.sqrt(float(np.mean((numbers - y) ** 2)))
        # Without a variance there is no share of it that is explained.
        share = "undefined (all targets equal)"
        if (y != y[0]).any():
            share = f"{r2(numbers, y):.4f}"
        return f"R2 {share}, root mean squared error {error:.6g}"
    return f"accuracy {accuracy(network.classes(X), y):.4f}"


def _graph(directory: Path, network: Network, split: Split[Array]) -> list[str]:
    """Draw how the loss of a few examples is computed."""
    few = slice(DRAWN_EXAMPLES)
    X = Tensor(network.inputs.transform(split.X_train[few]), name="X")
    loss: Any = network.loss(network.model(X), network.targets(split.y_train[few]))
    drawing = draw(loss)
    names = [DOT, SVG] if shutil.which("dot") else [DOT]
    for name in names:
        with complete_file(directory / name) as part:
            drawing.save(part)
    return names


def _result(directory: Path, network: Network, split: Split[Array]) -> str:
    """Draw what suits the network; return the picture's name."""
    if network.kind == "regression":
        name, figure = NUMBERS, pictures.numbers(network, split)
    elif len(network.feature_names) == 2:
        name, figure = BOUNDARY, pictures.boundary(network, split)
    else:
        name, figure = CONFUSION, pictures.confusion(network, split)
    with complete_file(directory / name) as part:
        figure.savefig(part, dpi=150)
    return name
