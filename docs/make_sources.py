"""Write what compiled steps run into the pages that show it.

    python docs/make_sources.py

Where a pass, or the backend, changes what a step runs, these pages change. Each is run
from its first line, and the answer to a line that reads ``.source`` is written anew.
"""

from __future__ import annotations

import doctest
import os
import re
import tempfile
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGES = (DOCS.parent / "README.md", DOCS / "compile.md", DOCS / "tutorial.md")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FEW = 2
"""Buffers that a page shows of a program."""


def written(page: Path) -> str:
    """Return a page's text with the sources that its steps have now."""
    text = page.read_text("utf-8")
    lines = text.splitlines(keepends=True)
    names: dict[str, Any] = {"__name__": "__main__"}
    changes: list[tuple[int, int, str]] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        if ">>>" not in block[1]:
            code = compile("\n" * first + block[1], str(page), "exec")
            exec(code, names)  # noqa: S102 (the page's own code)
            continue
        for example in doctest.DocTestParser().get_examples(block[1]):
            out = _output(example, names, page)
            if ".source" in example.source and example.want:
                start = first + example.lineno + example.source.count("\n")
                changes.append((start, start + example.want.count("\n"), _shown(out)))
    for start, stop, shown in reversed(changes):
        lines[start:stop] = [shown]
    return "".join(lines)


def _output(example: doctest.Example, names: dict[str, Any], page: Path) -> str:
    """Run an example; return what it prints. Errors that a page shows are passed by."""
    code = compile(example.source, f"<doctest {page.name}>", "single")
    errors = Exception if example.exc_msg else ()
    with redirect_stdout(StringIO()) as out, suppress(errors):
        exec(code, names)  # noqa: S102 (the page's own code)
    return out.getvalue()


def _shown(source: str) -> str:
    """Return a program without most of its first lines, and without its last."""
    lines = source.splitlines()
    if "def step" not in source:
        return source
    start = next(i for i, line in enumerate(lines) if line.startswith("def step"))
    stop = next(i for i, line in enumerate(lines) if line.startswith("    return"))
    buffers = [i for i in range(start) if re.match(r"_\d+ = np\.empty", lines[i])]
    found = []
    last = -1
    for i in (0, *buffers[:FEW], *range(start, stop + 1)):
        found += [lines[i]] if i == last + 1 else ["...", lines[i]]
        last = i
    return "\n".join([*found, "...", ""])


def main() -> None:
    """Write every page."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the pages write files
        try:
            for page in PAGES:
                page.write_text(written(page), "utf-8")
                print(page)
        finally:
            os.chdir(here)


if __name__ == "__main__":
    main()
