"""What training measured, epoch by epoch."""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from tinygrad_nn.errors import DataError, MissingExtraError
from tinygrad_nn.training.files import complete_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]

Row = dict[str, float]


@final
class History:
    """A table with one row an epoch and one named column a measure.

    Parameters
    ----------
    rows : mappings from names to numbers, optional
        To go on from: the ``rows`` of an earlier history.

    Attributes
    ----------
    rows : list of dict
        The epochs.
    engine : str or None
        What made the steps of the last epoch: ``"eager"``, or the backend of
        `tg.compile` that made compiled ones.
    reason : str or None
        Why some or all steps were made eagerly.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.7}, {"epoch": 2, "loss": 0.5}])
    >>> len(history), history.columns
    (2, ('epoch', 'loss'))
    >>> history["loss"].tolist()
    [0.7, 0.5]
    >>> history
    History(2 epochs: loss 0.7 -> 0.5)
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows: list[Row] = []
        self.engine: str | None = None
        self.reason: str | None = None
        for row in rows:
            self.append(row)

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch; a measure it lacks, or adds, is nan where it is missing."""
        self.rows.append(dict(row))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every measure, in the order of its first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, column: str) -> npt.NDArray[np.float64]:
        """Return a measure over the epochs, an array (n_epochs,)."""
        if column not in self.columns:
            names = ", ".join(map(repr, self.columns)) or "none yet"
            raise DataError(
                f"history: expected a column; got {column!r}. It has {names}"
            )
        return np.array([row.get(column, np.nan) for row in self.rows])

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no epochs)"
        first, last = self.rows[0], self.rows[-1]
        changes = [
            f"{name} {first.get(name, np.nan):.4g} -> {last[name]:.4g}"
            for name in last
            if name != "epoch"
        ]
        noun = "epoch" if len(self) == 1 else "epochs"
        return f"History({len(self)} {noun}: {', '.join(changes)})"

    def _repr_html_(self) -> str:
        """Table for a notebook: the first and the last epochs."""
        shown = self.rows if len(self) <= 20 else [*self.rows[:5], {}, *self.rows[-15:]]
        columns = self.columns
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        lines = [
            "".join(f"<td>{_cell(row.get(name))}</td>" for name in columns)
            if row
            else f'<td colspan="{len(columns)}">…</td>'
            for row in shown
        ]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row an epoch; the file appears complete or not at all.

        Numbers are written so that reading them gives the very same floats.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow([row.get(name, "") for name in self.columns])
        with complete_file(path) as part:
            part.write_bytes(text.getvalue().encode())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the losses, the other measures, and the learning rate if it changes.

        Parameters
        ----------
        path : str or path, optional
            Where to save the picture, complete or not at all; its suffix says the
            format (``.png``, ``.svg``, ``.pdf``).

        Returns
        -------
        matplotlib.figure.Figure
            Which shows itself in a notebook. No window and no other figure is touched.

        Raises
        ------
        MissingExtraError
            Without matplotlib.
        """
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415 (optional: extra train)
            from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError(
                "History.plot needs matplotlib: pip install 'tinygrad_nn[train]'"
            ) from error
        groups = self._panels()
        figure = Figure(figsize=(6.4, 3.6 * max(len(groups), 1)), layout="constrained")
        panels = figure.subplots(max(len(groups), 1), 1, squeeze=False)[:, 0]
        epochs = self["epoch"] if "epoch" in self else np.arange(1, len(self) + 1)
        # A single epoch is a point, which a line does not show.
        point = "." if len(self) == 1 else ""
        for axes, group in zip(panels, groups, strict=False):
            for name in group:
                label = name.replace("_", " ")
                axes.plot(epochs, self[name], label=label, marker=point)
            axes.legend(frameon=False)
            axes.grid(alpha=0.3)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[-1].set_xlabel("epoch")
        if path is not None:
            with complete_file(path) as part:
                figure.savefig(part, dpi=150)
        return figure

    def _panels(self) -> list[list[str]]:
        """Measures that are drawn together, as they have one scale."""
        names = [name for name in self.columns if name not in ("epoch", "lr")]
        losses = [name for name in names if name.endswith("loss")]
        others = [name for name in names if name not in losses]
        rate = ["lr"] if "lr" in self and len(set(self["lr"].tolist())) > 1 else []
        return [group for group in (losses, others, rate) if group]


def _cell(number: float | None) -> str:
    if number is None:
        return ""
    return str(number) if isinstance(number, int) else f"{number:.6g}"
