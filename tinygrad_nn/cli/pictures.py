"""Pictures of what a network has learned (matplotlib).

Figures are made without pyplot: no window opens and no global state is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_nn.cli.network import Network
from tinygrad_nn.data.dataset import Array
from tinygrad_nn.errors import MissingExtraError
from tinygrad_nn.training import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinygrad_nn.cli.report import Split

__all__ = ["boundary", "confusion", "numbers"]

GRID = 300
MARGIN = 0.08
LEGEND_ROWS = 18
MOST_IN_A_LEGEND = 2 * LEGEND_ROWS
BOTH_MARKERS = 9
TABLEAU = ("blue", "orange", "green", "red", "purple", "brown", "pink", "gray")
"""Colours that have a softer twin in matplotlib."""


def boundary(network: Network, split: Split[Array]) -> Figure:
    """Draw the class predicted everywhere, and the examples of both parts."""
    figure, axes = _panel()
    X = np.concatenate([split.X_train, split.X_test])
    low, high = X.min(axis=0), X.max(axis=0)
    pad = MARGIN * np.where(high > low, high - low, 1.0)
    ticks = np.linspace(low - pad, high + pad, GRID)
    across, up = np.meshgrid(ticks[:, 0], ticks[:, 1])
    points = np.column_stack([across.ravel(), up.ravel()])
    classes = network.classes(points).reshape(across.shape)
    colours = _colours(network.class_names)
    edges = np.arange(len(colours) + 1) - 0.5
    axes.contourf(across, up, classes, levels=edges, colors=colours, alpha=0.25)
    for part, marker, size in (("train", "o", 12), ("test", "^", 26)):
        X, y = getattr(split, f"X_{part}"), getattr(split, f"y_{part}")
        for number, name in enumerate(network.class_names):
            axes.scatter(
                *X[y == number].T,
                s=size,
                marker=marker,
                color=colours[number],
                edgecolors="white",
                linewidths=0.4,
                label=f"{name}, {part}",
            )
    axes.set_xlabel(network.feature_names[0])
    axes.set_ylabel(network.feature_names[1])
    axes.set_title("Classes predicted")
    _key(figure, axes, network.class_names, colours)
    return figure


def confusion(network: Network, split: Split[Array]) -> Figure:
    """Draw how many test examples of each class are predicted as which."""
    figure, axes = _panel()
    names = network.class_names
    counts = confusion_matrix(network.classes(split.X_test), split.y_test, len(names))
    # Shares of a class, so that a rare class is not pale; a class may lack examples.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 20:
        for (i, j), number in np.ndenumerate(counts):
            if number:
                shade = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(number), ha="center", va="center", color=shade)
        steep = max(map(len, names)) > 4
        axes.set_xticks(
            range(len(names)),
            names,
            rotation=45 if steep else 0,
            ha="right" if steep else "center",
        )
        axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(
        f"{np.trace(counts)} of {counts.sum()} test examples predicted rightly"
    )
    return figure


def numbers(network: Network, split: Split[Array]) -> Figure:
    """Draw predictions against targets; on the line they agree."""
    figure, axes = _panel()
    for part, alpha in (("train", 0.35), ("test", 0.9)):
        X, y = getattr(split, f"X_{part}"), getattr(split, f"y_{part}")
        axes.scatter(y, network.numbers(X), s=12, alpha=alpha, label=part)
    everything = np.concatenate([split.y_train, split.y_test])
    axes.axline(
        (everything.min(),) * 2, (everything.max(),) * 2, color="gray", linewidth=0.8
    )
    axes.set_xlabel("target")
    axes.set_ylabel("prediction")
    axes.legend(frameon=False)
    return figure


def _panel() -> tuple[Figure, Any]:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (optional: extra train)
    except ImportError as error:
        raise MissingExtraError(
            "pictures need matplotlib: pip install 'tinygrad_nn[train]'"
        ) from error
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    return figure, figure.subplots()


def _key(figure: Figure, axes: Any, names: Sequence[str], colours: list[Any]) -> None:
    """Say which colour is which class, however many there are."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 (optional: extra train)
    from matplotlib.colors import BoundaryNorm, ListedColormap  # noqa: PLC0415

    n = len(names)
    if n > MOST_IN_A_LEGEND:
        edges = np.arange(n + 1) - 0.5
        shades = ScalarMappable(BoundaryNorm(edges, n), ListedColormap(colours))
        ticks = np.unique(np.linspace(0, n - 1, LEGEND_ROWS).round().astype(int))
        bar = figure.colorbar(shades, ax=axes, ticks=ticks)
        bar.set_ticklabels([_cut(names[tick]) for tick in ticks])
        return
    handles, labels = axes.get_legend_handles_labels()
    if n > BOTH_MARKERS:  # not both markers of every class
        handles, labels = handles[:n], [*map(_cut, names)]
    axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1, 1),
        frameon=False,
        ncols=-(-len(labels) // LEGEND_ROWS),
        title="o train, △ test" if n > BOTH_MARKERS else None,
    )


def _cut(name: str, limit: int = 16) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _colours(names: Sequence[str]) -> list[Any]:
    """Choose one colour a class: its own where classes are called by colours."""
    from matplotlib import colormaps  # noqa: PLC0415 (optional: extra train)
    from matplotlib.colors import CSS4_COLORS  # noqa: PLC0415

    n = len(names)
    if all(name in CSS4_COLORS for name in names):
        return [f"tab:{name}" if name in TABLEAU else name for name in names]
    if n <= 10:
        return list(colormaps["tab10"](range(n)))
    return list(colormaps["turbo"](np.linspace(0, 1, n)))
