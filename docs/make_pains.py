"""Write docs/pains.md, what users report, from tests: python docs/make_pains.py.

The page is read off the tests in tests/pains, without running them. A comment begins a
section, ``# --- 1. NaN from … ---``. A test is named after a report,
``test_pytorch_18287_where_nan``, and its docstring is the rest of its row: ``<what was
reported>; here <what is right>.``, and ``Also … #1, … #2.`` for others that report it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

HOME = Path(__file__).parent.parent
TESTS = HOME / "tests" / "pains"
PAGE = HOME / "docs" / "pains.md"

HEAD = """\
# What users report

Written by `docs/make_pains.py` from the tests in `tests/pains`. Each row is what a user
of another library reported, and a test, with the case of the report, of what happens
here. {count} tests answer {reports} reports. Libraries change: a report says what was
met on its day, not what that library does now.
"""

LIBRARIES = {
    "arcface": "arcface-pytorch",
    "candle": "candle",
    "chainer": "chainer",
    "cntk": "CNTK",
    "comfyui": "ComfyUI",
    "cs249r": "cs249r_book",
    "e3nn": "e3nn",
    "hips": "HIPS",
    "jax": "jax",
    "keras": "keras",
    "mi_prometheus": "mi-prometheus",
    "micrograd": "micrograd",
    "minitorch": "minitorch",
    "mlx": "mlx",
    "mmcv": "mmcv",
    "mmd": "mmd",
    "mmf": "mmf",
    "monai": "MONAI",
    "mxnet": "mxnet",
    "mygrad": "MyGrad",
    "opacus": "opacus",
    "pick": "PICK-pytorch",
    "pocket_tts": "pocket-tts",
    "pytorch": "pytorch",
    "pytorch_tutorial": "PyTorch-Tutorial",
    "pytorchviz": "pytorchviz",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow",
    "theano": "Theano",
    "tinygrad": "tinygrad",
    "torchvista": "torchvista",
    "zero_to_hero": "nn-zero-to-hero",
}
"""What a library's reports are called on the page, by the word in a test's name."""

SECTION = re.compile(r"^# --- (?:(\d+)\. )?(.+?) ---$", re.MULTILINE)
NAME = re.compile(r"test_([a-z0-9_]+?)_(\d+)_\w+")
REPORT = re.compile(r"[\w./-]+ #\d+")


class Row(NamedTuple):
    """A test of a report: what was reported, where, what happens here, its name."""

    pain: str
    reports: list[str]
    here: str
    test: str


class Section(NamedTuple):
    """Rows of one kind; without a number they come last."""

    number: int | None
    title: str
    file: str
    rows: list[Row]


def row(test: ast.FunctionDef) -> Row:
    """Read a test: its name, its docstring, and whether it is expected to fail.

    Raises
    ------
    ValueError
        If name or docstring do not have the form; says which test.
    """
    named = NAME.fullmatch(test.name)
    first, _, others = (ast.get_docstring(test) or "").partition("\n\n")
    pain, turn, here = first.partition("; here ")
    if named is None or named[1] not in LIBRARIES or not turn or "\n" in first:
        raise ValueError(f"{test.name}: no report in its name, or in its docstring")
    reports = [f"{LIBRARIES[named[1]]} #{named[2]}"]
    if others:
        if not re.fullmatch(rf"Also {REPORT.pattern}(, {REPORT.pattern})*\.", others):
            raise ValueError(f"{test.name}: 'Also' is followed by reports")
        reports += REPORT.findall(others)
    for decorator in test.decorator_list:
        reason = re.search(r"xfail\(reason='([^']+)'", ast.unparse(decorator))
        if reason:
            here += f" Not yet: {reason[1]}."
    return Row(pain, reports, here, test.name)


def sections() -> list[Section]:
    """Return the sections of all files, in the order of their numbers."""
    found = []
    for file in sorted(TESTS.glob("test_*.py")):
        text = file.read_text("utf-8")
        tests = [
            (text.index(f"\ndef {node.name}("), row(node))
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and NAME.fullmatch(node.name)
        ]
        heads = list(SECTION.finditer(text))
        for i, head in enumerate(heads):
            stop = heads[i + 1].start() if i + 1 < len(heads) else len(text)
            rows = [row for start, row in tests if head.start() < start < stop]
            number = int(head[1]) if head[1] else None
            found.append(Section(number, head[2], file.name, rows))
    return sorted(found, key=lambda section: section.number or 1_000)


def cell(text: str) -> str:
    """Return text for a cell of a table: signs of Markdown outside of code are text."""
    parts = text.replace("|", r"\|").split("`")
    plain = [re.sub(r"([*_<\[\]])", r"\\\1", part) for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]]
    return "".join(a + b for a, b in zip(plain, [*code, ""], strict=True))


def page() -> str:
    """Return the text of docs/pains.md."""
    every = sections()
    rows = [row for section in every for row in section.rows]
    reports = {report for row in rows for report in row.reports}
    lines = [HEAD.format(count=len(rows), reports=len(reports))]
    lines += ["| reported | as | here | test |", "|---|---|---|---|"]
    for section in every:
        title = (
            f"{section.number}. {section.title}" if section.number else section.title
        )
        lines.append(f"| **{cell(title)}** | | | `tests/pains/{section.file}` |")
        for row in section.rows:
            here = cell(row.here)
            texts = [
                cell(row.pain),
                ", ".join(map(cell, row.reports)),
                here[0].upper() + here[1:],
            ]
            lines.append(f"| {' | '.join(texts)} | `{row.test}` |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
