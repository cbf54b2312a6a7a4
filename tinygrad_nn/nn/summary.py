"""A model as a table: layers, shapes of outputs, numbers of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

from tinygrad_nn.shapes import Shape

__all__ = ["Row", "Summary"]


class Row(NamedTuple):
    """One layer, or one function in a list.

    Attributes
    ----------
    path
        Where it is, dotted; ``""`` for the whole model.
    depth
        How many modules are around it.
    kind
        What it is, in one line.
    output
        Shape of its output; None where it is not known.
    parameters
        How many numbers in it are learnt, layers inside included.
    """

    path: str
    depth: int
    kind: str
    output: Shape | None
    parameters: int


@final
class Summary:
    """What `Module.summary` returns: shows itself as a table.

    Attributes
    ----------
    rows : list of Row
    total : int
        Number of learnt numbers; what is shared counts once.

    Examples
    --------
    >>> Summary([Row("", 0, "Dense(2 -> 1)", (5, 1), 3)], 3)
    layer    kind           output  parameters
    (whole)  Dense(2 -> 1)  (5, 1)           3
    total                                    3
    """

    def __init__(self, rows: Sequence[Row], total: int) -> None:
        self.rows = list(rows)
        self.total = total

    def __str__(self) -> str:
        """Return the table."""
        shown = any(row.output is not None for row in self.rows)
        table = [("layer", "kind", "output" if shown else "", "parameters")]
        for row in self.rows:
            output = "" if row.output is None else str(row.output)
            label = "  " * row.depth + (row.path or "(whole)")
            table.append((label, row.kind, output, f"{row.parameters:,}"))
        table.append(("total", "", "", f"{self.total:,}"))
        widths = [max(len(line[i]) for line in table) for i in range(4)]
        lines = []
        for *left, count in table:
            cells = [
                text.ljust(width)
                for text, width in zip(left, widths, strict=False)
                if width
            ]
            lines.append("  ".join([*cells, count.rjust(widths[3])]))
        return "\n".join(lines)

    __repr__ = __str__
