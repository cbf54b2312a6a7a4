"""``tinygrad-nn predict``."""

from __future__ import annotations

import csv
import io
import os
import sys
from pathlib import Path

import numpy as np

from tinygrad_nn.cli.network import Network, read_run
from tinygrad_nn.data import read_features
from tinygrad_nn.data.dataset import Array
from tinygrad_nn.errors import DataError
from tinygrad_nn.training import complete_file

__all__ = ["predict"]


def predict(directory: str, file: str, output: str | None = None) -> None:
    """Write a prediction for each row of a CSV file, as CSV.

    Classes come with the probability of each; floats are written so that reading
    them gives the very same number.

    Parameters
    ----------
    directory : str
        Of a run.
    file : str
        The CSV file; columns are found by name, those not trained on are ignored.
    output : str, optional
        The file to write, complete or not at all; standard output unless given. UTF-8
        either way.

    Raises
    ------
    DataError, SaveError
        One line that names the file, row and column.
    """
    network = read_run(directory, np.random.default_rng(0)).network
    X = read_features(file, network.feature_names)
    try:
        text = _table(network, X)
    except DataError as error:
        raise DataError(f"{file}: {str(error).removeprefix('predict: ')}") from error
    if output is None:
        _say(text)
        return
    if Path(output).exists() and os.path.samefile(file, output):  # noqa: PTH121
        raise DataError(
            f"--output: expected another file than the one that is read; got {output!r}"
        )
    with complete_file(output) as part:
        part.write_bytes(text.encode())


def _say(text: str) -> None:
    """Write UTF-8, as the file that was read, whatever the terminal speaks."""
    binary = getattr(sys.stdout, "buffer", None)  # a replaced stdout may have none
    if binary is None:
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    binary.write(text.encode())
    binary.flush()


def _table(network: Network, X: Array) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if network.kind == "regression":
        writer.writerow(["prediction"])
        writer.writerows([number] for number in network.numbers(X).tolist())
        return text.getvalue()
    probabilities = network.probabilities(X)
    names = network.class_names
    writer.writerow(["prediction", *(f"probability_{name}" for name in names)])
    best = probabilities.argmax(axis=1).tolist()
    for index, row in zip(best, probabilities.tolist(), strict=True):
        writer.writerow([names[index], *row])
    return text.getvalue()
