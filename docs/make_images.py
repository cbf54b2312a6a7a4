"""Draw the pictures of the pages from the pages' own code.

    python docs/make_images.py

Each picture is kept twice: as SVG, which the page shows, and as DOT, which the
tests compare with what `tg.draw` says now.
"""

from __future__ import annotations

import doctest
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import tinygrad_nn as tg

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"

PICTURES = {
    # image: the page whose code makes it, and the variable that is drawn
    "expression": (DOCS.parent / "README.md", "z"),
    "neuron": (DOCS / "tutorial.md", "cost"),
}


def names_of(page: Path, until: str) -> dict[str, Any]:
    """Run a page's Python until a variable exists; return all its variables."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parser = doctest.DocTestParser()
    for block in re.findall(
        r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        for example in parser.get_examples(block):
            if example.exc_msg is None:  # else an error that the page shows
                with redirect_stdout(StringIO()):
                    exec(example.source, names)  # noqa: S102 (the page's own code)
        if until in names:
            return names
    raise LookupError(f"{page}: no block of Python assigns {until}")


def pictures() -> dict[str, tg.drawing.Drawing]:
    """Return the drawings by the names of their files."""
    drawings = {}
    for image, (page, variable) in PICTURES.items():
        names = names_of(page, variable)
        tensors = {k: v for k, v in names.items() if isinstance(v, tg.Tensor)}
        drawings[image] = tg.draw(names[variable], names=tensors)
    return drawings


def main() -> None:
    """Write every picture."""
    for image, drawing in pictures().items():
        for suffix in (".dot", ".svg"):
            print(drawing.save(IMAGES / f"{image}{suffix}"))


if __name__ == "__main__":
    main()
