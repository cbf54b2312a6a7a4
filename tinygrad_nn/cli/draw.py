"""``tinygrad-nn draw``: a picture of a saved run, or of what a function computes."""

from __future__ import annotations

import sys

from tinygrad_nn.cli.target import opened
from tinygrad_nn.drawing import draw as drawn

__all__ = ["draw"]


def draw(
    target: str,
    *,
    output: str | None = None,
    data: str | None = None,
    direction: str = "LR",
    theme: str = "auto",
    fold: bool | None = None,
    depth: int | None = None,
) -> None:
    """Draw the loss of a run, or of ``file.py:function``.

    Parameters
    ----------
    target, data
        See `opened`.
    output
        The file to write; its suffix says what: a picture, a page, data. Without one
        the graph is printed as a tree.
    direction, theme, fold, depth
        As `tinygrad_nn.draw` takes them.

    Raises
    ------
    DataError, SaveError, MissingExtraError
        One line that says what is missing.
    """
    with opened(target, data) as found:
        one = found.loss.size == 1  # of a loss there are gradients to be shown
        drawing = drawn(
            found.loss if one else found.results,
            title=found.title,
            direction=direction,
            theme=theme,
            fold=fold,
            depth=depth,
            names=found.names,
        )
        if output is None:
            sys.stdout.write(f"{drawing}\n")
        else:
            path = drawing.save(output)
            sys.stdout.write(f"{path}\n")
