"""The network of a run, with all that turns a table's row into a prediction."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tinygrad_nn import losses, nn, ops
from tinygrad_nn.cli.settings import Settings
from tinygrad_nn.data import Standardizer
from tinygrad_nn.data.dataset import Kind
from tinygrad_nn.errors import DataError, SaveError
from tinygrad_nn.recording import no_grad
from tinygrad_nn.training import History, Saved, load

__all__ = ["MODEL", "Network", "Run", "read_run"]

Array = npt.NDArray[Any]
MODEL = "model.npz"


@final
@dataclass(frozen=True, eq=False)
class Network:
    """A model between the units of its inputs and those of its predictions.

    Attributes
    ----------
    model : Sequential
        From standardised features (n, n_features) to logits (n, n_classes), to one
        logit (n, 1) for two classes, or to a standardised number (n, 1).
    kind : 'binary', 'multiclass' or 'regression'
    feature_names, class_names : tuple of str
        Columns of the inputs; classes by number (none for regression).
    inputs : Standardizer
        Fitted on the features of the training part.
    outputs : Standardizer or None
        Fitted on the targets (n, 1) of the training part, for regression.
    """

    model: nn.Sequential
    kind: Kind
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    inputs: Standardizer
    outputs: Standardizer | None

    @classmethod
    def build(
        cls,
        settings: Settings,
        rng: np.random.Generator,
        *,
        kind: Kind,
        feature_names: Sequence[str],
        class_names: Sequence[str],
        inputs: Standardizer,
        outputs: Standardizer | None,
    ) -> Network:
        """Make an untrained network; layers draw their start from ``rng`` in turn."""
        sizes = (len(feature_names), *settings.layers)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers.append(
                nn.Dense(n_in, n_out, activation=settings.activation, rng=rng)
            )
            if settings.dropout:
                layers.append(nn.Dropout(settings.dropout, rng=rng))
        n_out = len(class_names) if kind == "multiclass" else 1
        layers.append(nn.Dense(sizes[-1], n_out, rng=rng))
        return cls(
            nn.Sequential(*layers),
            kind,
            tuple(feature_names),
            tuple(class_names),
            inputs,
            outputs,
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, the inputs first."""
        dense = [layer for layer in self.model if isinstance(layer, nn.Dense)]
        return (dense[0].n_in, *(layer.n_out for layer in dense))

    def targets(self, y: Array) -> Array:
        """Bring targets (n,) into the form that the loss compares with."""
        if self.kind == "multiclass":
            return y
        column = y.reshape(-1, 1)
        if self.outputs is not None:
            return self.outputs.transform(column)
        return column.astype(np.float64)

    def loss(self, prediction: Any, target: Any) -> Any:
        """Mean over the examples of the loss that suits the target."""
        if self.kind == "multiclass":
            return losses.cross_entropy(prediction, target)
        if self.kind == "binary":
            return losses.binary_cross_entropy_with_logits(prediction, target)
        return losses.mse(prediction, target)

    def outcome(self, X: Array) -> Array:
        """Compute what the model returns for features in their own units, (n, …)."""
        self.model.eval()
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            result: Array = self.model(self.inputs.transform(X)).numpy()
        wrong = ~np.isfinite(result).all(axis=1)
        if wrong.any():
            raise DataError(
                "predict: expected features like those trained on; got numbers too "
                f"large to compute with in example {int(np.argmax(wrong)) + 1}"
            )
        return result

    def probabilities(self, X: Array) -> Array:
        """Compute the probability of each class, (n, n_classes)."""
        z = self.outcome(X)
        if self.kind == "multiclass":
            return np.asarray(ops.softmax(z, axis=-1))
        p = np.asarray(ops.sigmoid(z))
        return np.concatenate([np.asarray(ops.sigmoid(-z)), p], axis=1)

    def classes(self, X: Array) -> Array:
        """Return the number of the most probable class, (n,)."""
        return np.asarray(self.probabilities(X).argmax(axis=1))

    def numbers(self, X: Array) -> Array:
        """Predict numbers in their own units, (n,): for regression."""
        if self.outputs is None:
            raise DataError(f"predict: expected regression; got {self.kind}")
        return self.outputs.inverse_transform(self.outcome(X))[:, 0]

    def to_json(self) -> dict[str, Any]:
        """All but the layers, for `tg.save`'s ``extra``."""
        return {
            "kind": self.kind,
            "feature_names": self.feature_names,
            "class_names": self.class_names,
            "inputs": _scales(self.inputs),
            "outputs": None if self.outputs is None else _scales(self.outputs),
        }


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A run as its directory keeps it.

    ``planned`` is the number of epochs that an interrupted run was to have.
    """

    network: Network
    settings: Settings
    history: History
    fingerprint: str
    rng: np.random.Generator
    planned: int | None = None


def read_run(directory: str | os.PathLike[str], rng: np.random.Generator) -> Run:
    """Read the network that training left in a directory.

    Parameters
    ----------
    directory : str or path
    rng : numpy.random.Generator
        For the layers to share; `load` gives it the state in which training left it.

    Raises
    ------
    SaveError
        One line that names the file.
    """
    if not Path(directory).is_dir():
        raise SaveError(
            f"{os.fspath(directory)}: expected the directory of a run; got "
            f"{'a file' if Path(directory).exists() else 'no such directory'}. Train "
            "with --out first"
        )
    path = Path(directory, MODEL)
    saved = load(path)
    described = _described(saved)
    network = Network.build(
        described["settings"],
        rng,
        kind=described["kind"],
        feature_names=described["feature_names"],
        class_names=described["class_names"],
        inputs=_standardizer(described["inputs"]),
        outputs=described["outputs"] and _standardizer(described["outputs"]),
    )
    load(path, network.model, rng=rng)
    return Run(
        network,
        described["settings"],
        History(described["history"]),
        described["fingerprint"],
        rng,
        described.get("planned"),
    )


def _described(saved: Saved) -> dict[str, Any]:
    try:
        extra = dict(saved.extra)
        if extra["program"] != "tinygrad-nn train":
            raise KeyError("program")  # noqa: TRY301 (the same refusal)
        return {**extra, "settings": Settings.from_json(extra["settings"])}
    except (KeyError, TypeError, ValueError):
        raise SaveError(
            f"{saved.path}: expected a run of tinygrad-nn train; got a model saved by "
            "another program. Load it with tg.load"
        ) from None


def _scales(standardizer: Standardizer) -> dict[str, list[float]]:
    return {
        "mean": standardizer.mean.tolist(),
        "scale": standardizer.scale.tolist(),
    }


def _standardizer(scales: Mapping[str, Sequence[float]]) -> Standardizer:
    return Standardizer(scales["mean"], scales["scale"])
