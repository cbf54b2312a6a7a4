"""Write docs/ops.md, the word list, from the registry: python docs/make_ops.py."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import tinygrad_nn as tg
from tinygrad_nn import functional, tensor
from tinygrad_nn.op import REGISTRY, Op

PAGE = Path(__file__).parent / "ops.md"

HEAD = """\
# The word list

Written by `docs/make_ops.py` from the declarations. Every op below is a function of
`tg`: it takes Tensors, arrays and numbers. One with a rule is differentiable to any
order; one without is constant. `help(tg.softmax)` says more, and so for each.
"""

FAMILIES = {
    "elementwise": "Elementwise",
    "reduction": "Reductions",
    "accumulation": "Running sums",
    "contraction": "Contractions",
    "movement": "Movement",
    "indexing": "Indexing",
}


def formula(op: Op) -> str:
    """Return an op's formula with the names of its operands and settings."""
    names = {
        name: name if len(name) == 1 else rf"\text{{{name}}}"
        for name in (*op.operands, *op.defaults)
    }
    # A bar would end the cell of the table.
    return "$`" + op.formula.safe_substitute(names).replace("|", r"\vert ") + "`$"


def settings(op: Op) -> str:
    """Return an op's settings with their defaults."""
    return ", ".join(f"`{name}={value!r}`" for name, value in op.defaults.items())


def first_line(function: Any) -> str:
    """Return what a docstring says first."""
    return (inspect.getdoc(function) or "").partition("\n")[0].replace("``", "`")


def numpys_name(function: Any) -> str:
    """Return the name that a user calls NumPy's function by."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np')}.{function.__name__}"


def page() -> str:
    """Return the text of docs/ops.md."""
    public = [op for name, op in sorted(REGISTRY.items()) if hasattr(tg.ops, name)]
    public = [op for op in public if op.name in tg.__all__]
    composed = [name for name in sorted(functional.__all__) if name in tg.__all__]
    lines = [HEAD]
    for kind, title in FAMILIES.items():
        lines += [f"## {title}", ""]
        lines += ["| op | formula | settings | gradient | |", "|---|---|---|---|---|"]
        for op in public:
            if op.kind == kind and op.name not in composed:
                gradient = "rule" if op.differentiable else "none"
                cells = [f"`{op.name}`", formula(op), settings(op), gradient]
                lines.append(f"| {' | '.join(cells)} | {first_line(op.function)} |")
        lines.append("")
    lines += ["## Compositions", "", "Made of ops, so without rules of their own."]
    lines += ["", "| function | |", "|---|---|"]
    lines += [f"| `{name}` | {first_line(getattr(tg, name))} |" for name in composed]
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
