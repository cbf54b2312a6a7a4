"""Write docs/ops.md, the word list, from the registry: python docs/make_ops.py."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import check, functional, tensor
from tinygrad_nn.check.edges import Edge
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.notation import pulled
from tinygrad_nn.op import REGISTRY, Op

PAGE = Path(__file__).parent / "ops.md"

HEAD = """\
# The word list

Written by `docs/make_ops.py` from the declarations. Every op below is a function of
`tg`, or of the part of it that stands before the dot: `tg.linalg`, `tg.special`, and
`tg.ops` for those that others are made of. It takes Tensors, arrays and numbers. One
with a rule is differentiable to any order; one without is constant. `help(tg.softmax)`
says more, and so for each. The
gradient of an op is its own rule, written out: $`g`$ is the upstream gradient and
$`y`$ the result (`z`, where an operand is called y). What ops do at kinks, at the
ends of their domains, at infinity and at nan is [told below](#edges), as they
compute it.
"""

EDGES = """\
## Edges

Value and slope where an elementwise op is hard, computed by the op itself when this
page is written. `tests/test_edges.py` holds every row to one-sided derivatives of
fifty digits: where both exist and agree, the slope is theirs; at a kink it is the one
of least norm between them; where a finite value is reached infinitely steeply, the
slope is 0 by convention. `tg.check.edges(op)` gives the same table.
"""

OF_TWO = """\
### Of two operands

"""

OF_ROWS = """\
### Of rows

Value and gradient of what reduces a row. Ties share equally; what is not offered of an
empty row is refused.
"""

ROWS = (
    [],
    [1.0, 1.0, 0.0],
    [0.0, 2.0, 3.0],
    [0.0, 0.0, 3.0],
    [1.0, np.nan, 3.0],
    [1.0, np.inf, 3.0],
)

LONGEST = 160

FAMILIES = {
    "elementwise": "Elementwise",
    "reduction": "Reductions",
    "accumulation": "Running sums",
    "contraction": "Contractions",
    "decomposition": "Decompositions",
    "movement": "Movement",
    "indexing": "Indexing",
}


ROOMS = (("", tg), ("linalg.", tg.linalg), ("special.", tg.special), ("ops.", tg.ops))


def spelling(op: Op) -> str:
    """Return how a user calls an op: the first of the rooms that has its name."""
    return next(room + op.name for room, has in ROOMS if op.name in has.__all__)


def formula(op: Op) -> str:
    """Return an op's formula with the names of its operands and settings."""
    names = {
        name: name if len(name) == 1 else rf"\text{{{name}}}"
        for name in (*op.operands, *op.defaults)
    }
    # A bar would end the cell of the table.
    return "$`" + op.formula.safe_substitute(names).replace("|", r"\vert ") + "`$"


def rule(op: Op) -> str:
    """Return what an op's rules make of g, as the rules themselves say."""
    if not op.differentiable:
        return "none"
    rng = np.random.default_rng(0)
    samples = sorted(
        op.samples, key=lambda s: (len(s.settings), -sum(map(len, s.shapes)))
    )
    samples = [s for s in samples if not any(0 in shape for shape in s.shapes)]
    parts = []
    try:
        arrays = samples[0].draw(rng)
        names = (
            op.operands if not op.variadic else [f"x_{i}" for i in range(len(arrays))]
        )
        leaves = [
            tg.Tensor(a, requires_grad=a.dtype.kind == "f", name=name)
            for a, name in zip(arrays, names, strict=True)
        ]
        out = op.call(*leaves, **samples[0].settings)
        out.name = "y" if "y" not in names else "z"
        for i, leaf in enumerate(leaves):
            if leaf.requires_grad:
                parts.append(
                    pulled(out, i, lambda x: getattr(x, "name", None), "latex")
                )
    except (TinygradError, TypeError, ValueError, IndexError):
        return "rule"
    text = ", \\;".join(parts).replace("|", r"\vert ")
    # A rule that is long is read in the code.
    return f"$`{text}`$" if len(text) <= LONGEST else "rule"


def number(x: float | None) -> str:
    """Return a number as it stands in a cell."""
    return "-" if x is None else f"{x + 0.0:.4g}".replace("inf", "∞")  # no -0


def cell(edge: Edge) -> str:
    """Return the value and the slopes at an edge."""
    slopes = ", ".join(number(s) for s in edge.slopes)
    return f"{number(edge.value)}, slope {slopes}"


def edge_tables(public: list[Op]) -> list[str]:
    """Return the lines of the tables of edges."""
    pointwise = [op for op in public if op.pointwise and op.differentiable]
    # Of ldexp one operand is a whole number; betaln has poles beside its domain.
    untold = ("astype", "betaln", "ldexp")
    pointwise = [op for op in pointwise if op.name not in untold]
    lines = [EDGES, "| op | domain | -∞ | 0 | elsewhere | ∞ | nan |", "|" + "---|" * 7]
    for op in (op for op in pointwise if len(op.operands) == 1):
        *places, at_nan = check.edges(op)
        by_place = {edge.at[0]: edge for edge in places}
        others = [e for x, e in by_place.items() if np.isfinite(x) and x != 0]
        cells = [f"`{spelling(op)}`", check.domain(op), cell(by_place[-np.inf])]
        cells.append(cell(by_place[0.0]))
        cells.append(
            "; ".join(f"at {number(e.at[0])}: {cell(e)}" for e in others) or "-"
        )
        cells += [cell(by_place[np.inf]), cell(at_nan)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", OF_TWO]
    for op in (op for op in pointwise if len(op.operands) == 2):
        lines += [f"`{spelling(op)}`", "", "| at | value | slopes |", "|---|---|---|"]
        for edge in check.edges(op):
            at = ", ".join(number(x) for x in edge.at)
            slopes = ", ".join(number(s) for s in edge.slopes)
            lines.append(f"| ({at}) | {number(edge.value)} | {slopes} |")
        lines.append("")
    titles = ("[" + ", ".join(map(number, row)) + "]" for row in ROWS)
    lines += [OF_ROWS, "| op | " + " | ".join(titles) + " |"]
    lines.append("|" + "---|" * (len(ROWS) + 1))
    for op in public:
        rows = op.kind in ("reduction", "accumulation") and len(op.operands) == 1
        if rows and op.differentiable:
            cells = [row_cell(op, row) for row in ROWS]
            lines.append(f"| `{spelling(op)}` | {' | '.join(cells)} |")
    return [*lines, ""]


def row_cell(op: Op, row: list[float]) -> str:
    """Return the value and the gradient of a reduction, at one row."""
    x = tg.Tensor(row, requires_grad=True, dtype=float)
    try:
        with np.errstate(all="ignore"):
            out = op.call(x)
            (slope,) = tg.gradients(tg.sum(out), [x], unused="zero")
    except TinygradError:
        return "refused"
    values = ", ".join(number(v) for v in np.ravel(out.numpy()))
    return f"{values}; slope [{', '.join(number(v) for v in slope.numpy())}]"


def settings(op: Op) -> str:
    """Return an op's settings with their defaults."""
    return ", ".join(f"`{name}={value!r}`" for name, value in op.defaults.items())


def first_line(function: Any) -> str:
    """Return what a docstring says first, for a cell: a bar would end it."""
    said = (inspect.getdoc(function) or "").partition("\n")[0]
    return said.replace("``", "`").replace("|", r"\|")


def numpys_name(function: Any) -> str:
    """Return the name that a user calls NumPy's function by."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np')}.{function.__name__}"


def page() -> str:
    """Return the text of docs/ops.md."""
    public = [op for name, op in sorted(REGISTRY.items()) if name in tg.ops.__all__]
    names = {op.name for op in public}
    composed = {
        room + name: getattr(has, name)
        for room, has in ROOMS[:-1]
        for name in sorted(has.__all__ if room else functional.__all__)
        if (room or name in tg.__all__)
        and name not in names
        and callable(getattr(has, name))
        and not isinstance(getattr(has, name), type)
    }
    lines = [HEAD]
    for kind, title in FAMILIES.items():
        lines += [f"## {title}", ""]
        lines += ["| op | formula | settings | gradient | |", "|---|---|---|---|---|"]
        for op in public:
            if op.kind == kind:
                cells = [f"`{spelling(op)}`", formula(op), settings(op), rule(op)]
                lines.append(f"| {' | '.join(cells)} | {first_line(op.function)} |")
        lines.append("")
    lines += edge_tables(public)
    lines += ["## Compositions", "", "Made of ops, so without rules of their own."]
    lines += ["", "| function | |", "|---|---|"]
    lines += [f"| `{name}` | {first_line(call)} |" for name, call in composed.items()]
    lines += ["", "## NumPy functions that take Tensors", ""]
    lines += ["Every other one is refused by name.", ""]
    for known in (tensor._UFUNCS, tensor._FUNCTIONS):  # noqa: SLF001 (what is answered)
        lines += [
            ", ".join(f"`{name}`" for name in sorted(map(numpys_name, known))),
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
