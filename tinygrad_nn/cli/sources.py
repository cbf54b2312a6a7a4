"""Where examples come from: a name, or a file."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from tinygrad_nn import data
from tinygrad_nn.cli.settings import Task
from tinygrad_nn.data import Dataset
from tinygrad_nn.errors import DataError

__all__ = ["NAMED", "examples"]

NAMED = ("flower", "moons", "digits", "breast-cancer", "iris", "wine", "diabetes")


def examples(source: str, target: str | None, task: Task = "auto") -> Dataset:
    """Load a named data set, or a CSV file with its target column.

    A name is a name before it is a file: for a file called ``digits`` write
    ``./digits``.

    Raises
    ------
    DataError
        One line that names file, row and column.

    Examples
    --------
    >>> examples("moons", None)
    Dataset('moons': X(400, 2), y(400,), 2 classes: 'upper', 'lower')
    """
    if source in NAMED:
        if target is not None:
            raise DataError(
                f"--target: expected none for {source}, whose target is known; got "
                f"{target!r}. Leave it out"
            )
        if task != "auto":
            raise DataError(
                f"--task: expected auto for {source}, whose task is known; got {task}. "
                "Leave it out"
            )
        load = getattr(data, source.replace("-", "_"))
        dataset: Dataset = load()
        return dataset
    if not Path(source).exists():
        close = get_close_matches(source.lower(), NAMED, 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise DataError(
            f"{source}: expected a CSV file or a data set; got neither a file nor one "
            f"of {', '.join(NAMED)}. {hint}Check the path"
        )
    if target is None:
        columns = data.read_csv(source).columns
        raise DataError(
            f"{source}: expected --target with a CSV file; got none. It is one of the "
            f"columns {', '.join(map(repr, columns[:12]))}{', …' * (len(columns) > 12)}"
        )
    return data.features_and_target(source, target, task)
