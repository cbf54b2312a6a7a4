"""The grades as a table, and as an object for programs."""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tinygrad_nn.cli.check.grading import WHERE, FileGrades, Grade

__all__ = ["as_json", "table"]

_HEAD = ("function", "verdict", "parameter", "cause")
_WIDEST = (24, 10, 16)


def table(files: Sequence[FileGrades]) -> str:
    """Write a table: a row for each function, with its parameters and the cause."""
    width = max(72, min(100, shutil.get_terminal_size((88, 24)).columns))
    rows = [row for one in files for grade in one.grades for row in _rows(grade)]
    every = [_HEAD, *rows]
    columns = [
        min(most, max(len(row[i]) for row in every)) for i, most in enumerate(_WIDEST)
    ]
    lines: list[str] = []
    for one in files:
        if len(files) > 1 or one.trouble is None:
            lines.append(_near(one.path))
        if one.trouble is not None:
            lines += _wrapped(f"error: {one.trouble}", "  ", width)
        if one.grades:
            lines += _line(_HEAD, columns, width)
        for grade in one.grades:
            for row in _rows(grade):
                lines += _line(row, columns, width)
            lines += _told(grade, width)
        lines.append("")
    lines.append(_count(files))
    return "\n".join(lines) + "\n"


def _near(path: Path) -> str:
    """Write a path from the working directory, where it is below that."""
    full, here = path.resolve(), Path.cwd().resolve()
    return str(full.relative_to(here) if here in full.parents else path)


def _rows(grade: Grade) -> Iterator[tuple[str, str, str, str]]:
    for number, row in enumerate(grade.rows):
        title = grade.title if not number else ""
        cause, _, _ = (row.cause or "").partition(WHERE)
        yield title, row.verdict, ", ".join(row.parameters), cause


def _line(row: Sequence[str], columns: Sequence[int], width: int) -> list[str]:
    """Write a row: a long cell goes on below itself, a long name stands above."""
    above: list[str] = []
    if len(row[0]) > columns[0]:
        above, row = [f"  {row[0]}"], ("", *row[1:])
    rest = max(28, width - sum(columns) - 2 * len(columns) - 2)
    widths = [*columns, rest]
    cells = [
        textwrap.wrap(cell, w, break_on_hyphens=False) or [""]
        for cell, w in zip(row, widths, strict=True)
    ]
    height = max(map(len, cells))
    return above + [
        "  "
        + "  ".join(
            (cell[k] if k < len(cell) else "").ljust(w)
            for cell, w in zip(cells, widths, strict=True)
        ).rstrip()
        for k in range(height)
    ]


def _told(grade: Grade, width: int) -> list[str]:
    """Write what stands below a row: where the mistake is, and what was judged."""
    told = list(grade.notes)
    places = (row.cause.partition(WHERE)[2] for row in grade.rows if row.cause)
    first = grade.line is not None
    told[first:first] = dict.fromkeys(f"forward: {place}" for place in places if place)
    if grade.called:
        told.append(f"judged: {grade.called}")
    return [line for text in told for line in _wrapped(text, "    ", width)]


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    # Shapes stay in one piece: no line breaks at such a space.
    whole = re.sub(r"\([\d, ]+\)", lambda shape: shape[0].replace(" ", "\xa0"), text)
    lines = textwrap.wrap(
        whole,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


def _count(files: Sequence[FileGrades]) -> str:
    grades = [grade for one in files for grade in one.grades]
    troubles = sum(one.trouble is not None for one in files)
    counts = [
        (sum(g.ok is False for g in grades), "wrong"),
        (sum(g.ok is True for g in grades), "right"),
        (sum(g.ok is None for g in grades), "not judged"),
        (troubles, "file not judged" if troubles == 1 else "files not judged"),
    ]
    return ", ".join(f"{n} {word}" for n, word in counts if n) or "nothing judged"


def as_json(files: Sequence[FileGrades]) -> dict[str, Any]:
    """Make an object of what was found, for programs: see docs/checks.md."""
    return {
        "files": [
            {
                "path": str(one.path),
                "error": one.trouble,
                "pairs": [_object(grade) for grade in one.grades],
            }
            for one in files
        ]
    }


def _object(grade: Grade) -> dict[str, Any]:
    report = grade.report
    parameters = {}
    if report is not None:
        parameters = {
            name: {
                "verdict": p.verdict,
                "shape": list(p.shape),
                "wrong": p.wrong,
                "resolution": p.resolution,
                "cause": p.cause,
                "worst": None if p.worst is None else dataclasses.asdict(p.worst),
            }
            for name, p in report.parameters.items()
        }
    return {
        "functions": grade.title,
        "verdict": grade.verdict,
        "ok": grade.ok,
        "judged": grade.called or None,
        "rows": [
            {
                "parameters": list(row.parameters),
                "verdict": row.verdict,
                "cause": row.cause,
            }
            for row in grade.rows
        ],
        "line": None
        if grade.line is None
        else {"number": grade.line[0], "text": grade.line[1]},
        "parameters": parameters,
        "evaluations": 0 if report is None else report.evaluations,
        "notes": list(grade.notes),
    }
