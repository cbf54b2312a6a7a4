"""``tinygrad-nn derive``: formulas of a saved run, or of what a function computes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_nn import graph
from tinygrad_nn.cli.target import Target, opened
from tinygrad_nn.derivation import Derivation
from tinygrad_nn.derivation import derive as derived
from tinygrad_nn.errors import DataError
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.training import complete_file

__all__ = ["FORMS", "derive"]

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Derivation</title>
<style>body {{ font-family: sans-serif; margin: 2em }} math {{ margin: 5px }}</style>
{}
</html>
"""

FORMS: dict[str, Callable[[Derivation], str]] = {
    ".txt": lambda made: f"{made.text}\n",
    ".tex": lambda made: f"{made.latex}\n",
    ".md": lambda made: made.markdown,
    ".py": lambda made: made.numpy,
    ".html": lambda made: _PAGE.format(made.mathml),
}
"""What is written, by the suffix of the file."""


def derive(
    target: str,
    *,
    output: str | None = None,
    data: str | None = None,
    wrt: Sequence[str] = (),
    letters: Mapping[str, float] | None = None,
    chain: bool = False,
    textbook: bool = True,
) -> None:
    """Write out the gradients of a run's loss, or of ``file.py:function``.

    Parameters
    ----------
    target, data
        See `tinygrad_nn.cli.target.opened`.
    output
        The file to write; its suffix says what. Without one the lines are printed.
    wrt
        Names of what gradients are asked of; unless given all inputs that have one,
        but for the data ``X``.
    letters
        Numbers by name, as ``{"keep": 0.8}``.
    chain, textbook
        As `tinygrad_nn.derive` takes them.

    Raises
    ------
    DataError, SaveError, MissingExtraError
        One line that says what is missing.
    """
    suffix = ".txt" if output is None else Path(output).suffix.lower()
    if suffix not in FORMS:
        raise DataError(
            f"--out: expected a name that ends in {', '.join(FORMS)}; got {output!r}"
        )
    with opened(target, data) as found:
        made = derived(
            found.loss,
            wrt=_asked(found, wrt),
            names={**found.names, **(letters or {})},
            chain=chain,
            textbook=textbook,
        )
    text = FORMS[suffix](made)
    if output is None:
        sys.stdout.write(text)
        return
    with complete_file(output) as part:
        part.write_bytes(text.encode())
    sys.stdout.write(f"{output}\n")


def _asked(found: Target, wrt: Sequence[str]) -> list[Any] | None:
    """Return the Tensors of these names; those of parameters where there are none."""
    leaves = [
        x
        for x in graph.nodes(found.loss)
        if isinstance(x, Tensor) and x.op is None and x.requires_grad
    ]
    own = {id(x): name for name, x in found.names.items()}
    names = {own.get(id(x)) or graph.name(x) or "": x for x in leaves}
    if not wrt:
        parameters = [x for name, x in names.items() if name not in ("X", "x")]
        return parameters or None
    known: dict[str, Any] = {
        **{name: x for name, x in found.names.items() if isinstance(x, Tensor)},
        **names,
    }
    missing = [name for name in wrt if name not in known]
    if missing:
        raise DataError(
            f"--wrt: expected names of inputs that have a gradient, "
            f"{', '.join(filter(None, names)) or 'of which there are none'}; got "
            f"{missing[0]!r}"
        )
    return [known[name] for name in wrt]
