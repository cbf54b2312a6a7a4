"""Tables of a user's own, from CSV files; every refusal names row and column."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final, overload

import numpy as np
import numpy.typing as npt

from tinygrad_nn.data.csv_rows import cell_place, read_rows
from tinygrad_nn.data.dataset import Dataset
from tinygrad_nn.data.targets import target_kind
from tinygrad_nn.errors import DataError

__all__ = ["Table", "features_and_target", "read_csv", "read_features"]

Numbers = npt.NDArray[np.float64]
MISSING = frozenset({"", "?", "n/a", "na", "nan", "null"})


@final
@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A CSV file: its numeric columns as an array, the others as text.

    A column is numeric when every cell of it is a finite number.

    Attributes
    ----------
    path : str
        The file.
    columns : tuple of str
        Every column name, in the order of the file.
    numeric : tuple of str
        The names of the numeric columns.
    values : ndarray (n_rows, len(numeric))
        The numeric columns, float64.
    text : dict of lists of str
        The cells of every other column.
    lines : tuple of int
        The line of the file, counted from 1, on which each row starts.
    """

    path: str
    columns: tuple[str, ...]
    numeric: tuple[str, ...]
    values: Numbers
    text: dict[str, list[str]]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        return f"Table({self.path!r}: {len(self)} rows, {_listed(self.columns)})"

    def require(self, columns: Sequence[str]) -> None:
        """Raise a `DataError` that names those of ``columns`` that are not there."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            guesses = [_closest(name, self.columns) for name in missing]
            meant = _listed([guess for guess in guesses if guess])
            hint = f"Did you mean {meant}? " if any(guesses) else ""
            noun = "column" if len(missing) == 1 else "columns"
            raise DataError(
                f"{self.path}: expected the {noun} {_listed(missing)}; got "
                f"{_listed(self.columns)}. {hint}Names must agree exactly"
            )

    def numbers(self, columns: Sequence[str]) -> Numbers:
        """Columns as an array (n_rows, len(columns)), all of which must be numeric.

        Raises
        ------
        DataError
            On an unknown column, and on the first cell that is not a finite number.
        """
        self.require(columns)
        for name in columns:
            if name in self.text:
                self._refuse(name)
        position = {name: i for i, name in enumerate(self.numeric)}
        return self.values[:, [position[name] for name in columns]]

    def _refuse(self, column: str) -> None:
        """Name the first cell of a column of text that keeps it from being numeric."""
        for line, cell in zip(self.lines, self.text[column], strict=True):
            if not np.isfinite(_number(cell)):
                got, advice = _complaint(cell)
                raise DataError(
                    f"{cell_place(self.path, line, column)}: expected a number; got "
                    f"{got}. {advice}"
                )

    def _labels(self, column: str) -> list[str]:
        """Cells of a target column as class names, once they can be that."""
        cells = self.text[column]
        numbers = sum(bool(np.isfinite(_number(cell))) for cell in cells)
        if 2 * numbers > len(cells):  # a column of numbers with a slip in it
            self._refuse(column)
        for line, cell in zip(self.lines, cells, strict=True):
            if cell.lower() in MISSING:
                got, advice = _complaint(cell)
                raise DataError(
                    f"{cell_place(self.path, line, column)}: expected a class; got "
                    f"{got}. {advice}"
                )
        count = len(set(cells))
        if count > 20 and 2 * count > len(cells):
            raise DataError(
                f"{self.path}, column {column!r}: expected classes that occur again "
                f"and again; got {count} different texts in {len(cells)} rows, such as "
                f"{_short(cells[0])}. Choose another target"
            )
        return cells


@overload
def read_csv(path: str | os.PathLike[str], target: None = None) -> Table: ...
@overload
def read_csv(path: str | os.PathLike[str], target: str) -> Dataset: ...
def read_csv(
    path: str | os.PathLike[str], target: str | None = None
) -> Table | Dataset:
    """Read a CSV file: as a table, or as examples with the named target.

    The file is UTF-8 text with a header; comma, semicolon or tab separate cells.

    Parameters
    ----------
    path : str or path
    target : str, optional
        The column to predict from all others; see `features_and_target`.

    Returns
    -------
    Table, or Dataset when there is a target

    Raises
    ------
    DataError
        One line that names the file, the row (its line, counted from 1) and the
        column.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "plants.csv")
    >>> rows = ["height,width,kind", "3,1,oak", "1,2.5,elm", "4,1,oak"]
    >>> _ = path.write_text(chr(10).join(rows))
    >>> table = read_csv(path)
    >>> table.numeric, table.text
    (('height', 'width'), {'kind': ['oak', 'elm', 'oak']})
    >>> table.values.tolist()
    [[3.0, 1.0], [1.0, 2.5], [4.0, 1.0]]
    >>> X, y = read_csv(path, target="kind")
    >>> X.shape, y.tolist()
    ((3, 2), [1, 0, 1])
    >>> folder.cleanup()
    """
    if target is not None:
        return features_and_target(path, target)
    rows = read_rows(path)
    text: dict[str, list[str]] = {}
    numeric: dict[str, Numbers] = {}
    for name, cells in zip(rows.header, zip(*rows.cells, strict=True), strict=True):
        numbers = _column(cells)
        if numbers is None:
            text[name] = list(cells)
        else:
            numeric[name] = numbers
    values = np.empty((len(rows.cells), len(numeric)))
    for position, numbers in enumerate(numeric.values()):
        values[:, position] = numbers
    return Table(
        rows.path, rows.header, tuple(numeric), values, text, tuple(rows.lines)
    )


def features_and_target(
    path: str | os.PathLike[str],
    target: str,
    kind: Literal["auto", "classes", "regression"] = "auto",
) -> Dataset:
    """Read a CSV file as examples: every column but the target is a feature.

    Parameters
    ----------
    path : str or path
    target : str
        The column to predict. Text, and whole numbers that look like labels, are
        classes, numbered in sorted order; other numbers are predicted as numbers.
    kind : 'auto', 'classes' or 'regression'
        Overrules what `target_kind` takes the target for.

    Returns
    -------
    Dataset
        With the columns as ``feature_names``, the class names as ``target_names``
        (none for regression) and the name of the file as ``name``.

    Raises
    ------
    DataError
        One line that names the file, the row and the column: on what `read_csv`
        refuses, an unknown target, no other column, a feature or target cell that is
        empty or not a finite number, and a target of one value only.
    """
    table = read_csv(path)
    table.require([target])
    features = tuple(name for name in table.columns if name != target)
    if not features:
        raise DataError(
            f"{table.path}: expected columns to predict {target!r} from; got that "
            "column only. Add a column of numbers for each feature"
        )
    X = table.numbers(features)
    where = f"{table.path}, column {target!r}"
    if target in table.text and kind != "regression":
        labels: list[str] | Numbers = table._labels(target)  # noqa: SLF001 (same file)
    else:
        labels = table.numbers([target])[:, 0]
    found = target_kind(labels, where)
    if kind == "regression" or (kind == "auto" and found == "regression"):
        y: npt.NDArray[np.generic] = np.asarray(labels, dtype=np.float64)
        names: tuple[str, ...] = ()
    else:
        classes, y = np.unique(np.asarray(labels), return_inverse=True)
        names = tuple(_class_name(item) for item in classes)
    return Dataset(X, y, features, names, Path(table.path).name)


def read_features(
    path: str | os.PathLike[str], feature_names: Sequence[str]
) -> Numbers:
    """Read the named columns of a CSV file, in the order of the names.

    For prediction: the columns of the training come back in their order, whatever
    the order in this file; other columns are ignored, whatever they hold.

    Returns
    -------
    ndarray (n_rows, len(feature_names))

    Raises
    ------
    DataError
        On a missing column, and on a cell of these columns that is not a finite
        number.
    """
    return read_csv(path).numbers(tuple(feature_names))


def _number(cell: str) -> float:
    """Value of a cell; nan when it is not a number."""
    try:
        # Python reads 1_000 as a number, other programs do not.
        return float(cell) if "_" not in cell else np.nan
    except ValueError:
        return np.nan


def _column(cells: Sequence[str]) -> Numbers | None:
    """Return a column as numbers, or None when a cell is not a finite number."""
    try:
        numbers = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        return None
    if not np.isfinite(numbers).all() or any("_" in cell for cell in cells):
        return None
    return numbers


def _complaint(cell: str) -> tuple[str, str]:
    """Say what a cell holds, in a message's words, and what to do about it."""
    fill = "Fill it in or remove the row"
    if not cell:
        return "an empty cell", fill
    if cell.lower() in MISSING:
        return f"{_short(cell)}, a missing value", fill
    if np.isinf(_number(cell)):
        return f"{_short(cell)}, which is infinite", "Correct it or remove the row"
    if cell.count(",") == 1 and np.isfinite(_number(cell.replace(",", "."))):
        return _short(cell), "Write decimals with a point"
    return _short(cell), "Correct it, remove the column, or code text as numbers"


def _short(text: str, limit: int = 40) -> str:
    """Text in quotes on one line, cut where it would fill the screen."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _listed(names: Sequence[str], limit: int = 12) -> str:
    """Column names in a message, a few of them where there are many."""
    shown = ", ".join(_short(name) for name in names[:limit])
    return shown + (f", … ({len(names)} in all)" if len(names) > limit else "")


def _closest(name: str, columns: Sequence[str]) -> str | None:
    """Find the column whose name is most like ``name``, if one is."""
    folded = {column.casefold().strip(): column for column in reversed(columns)}
    matches = difflib.get_close_matches(name.casefold().strip(), folded, n=1)
    return folded[matches[0]] if matches else None


def _class_name(label: np.str_ | np.float64) -> str:
    """Name of a class: text as it is, whole numbers without a point."""
    if isinstance(label, np.floating):
        return np.format_float_positional(label, trim="-")
    return str(label)
