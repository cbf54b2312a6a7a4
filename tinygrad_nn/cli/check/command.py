"""``tinygrad-nn check``: from files to a table and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tinygrad_nn.cli.check.grading import (
    NOT_JUDGED,
    FileGrades,
    Grade,
    Row,
    Way,
    graded,
    in_their_passes,
)
from tinygrad_nn.cli.check.loading import Home, loaded
from tinygrad_nn.cli.check.page import as_json, table
from tinygrad_nn.cli.check.pairs import CONVENTIONS, found
from tinygrad_nn.errors import DataError
from tinygrad_nn.training import complete_file

__all__ = ["check"]


def check(
    files: Sequence[str],
    *,
    data: str | None = None,
    function: str | None = None,
    seed: int = 0,
    mode: str = "auto",
    strict: bool = False,
    json_file: str | None = None,
) -> int:
    """Grade files; print the table; return the exit code.

    Returns
    -------
    int
        1 where something is wrong; else 2 where something could not be judged, or there
        was nothing to judge; else 0.

    Raises
    ------
    DataError
        Where the file with the data does not run, or the only file to grade.
    """
    way = Way(seed, mode, strict)
    if data is None:
        every = [_graded(Path(file), None, function, way) for file in files]
    else:
        with loaded(Path(data)) as beside:
            every = [_graded(Path(file), beside, function, way) for file in files]
    if len(every) == 1 and every[0].trouble is not None:
        raise DataError(every[0].trouble)
    sys.stdout.write(table(every))
    if json_file is not None:
        with complete_file(Path(json_file)) as part:
            text = json.dumps(as_json(every), indent=2, ensure_ascii=False)
            Path(part).write_text(f"{text}\n", encoding="utf-8")
    found_all = [grade for one in every for grade in one.grades]
    if any(grade.ok is False for grade in found_all):
        return 1
    unclear = any(grade.ok is None for grade in found_all)
    troubled = any(one.trouble is not None for one in every)
    return 2 if unclear or troubled else 0


def _graded(
    path: Path, beside: Home | None, function: str | None, way: Way
) -> FileGrades:
    try:
        with loaded(path) as home:
            pairs, lonely = found(home, {} if beside is None else beside.defined)
            if function is not None:
                chosen = [pair for pair in pairs if pair.says(function)]
                if not chosen:
                    trouble = _unknown(path, function, home, pairs, lonely)
                    return FileGrades(path, (), trouble)
                pairs, lonely = chosen, []
            if not pairs and not lonely:
                return FileGrades(path, (), _nothing(path, home))
            each = [graded(pair, home, beside, way) for pair in pairs]
            grades = in_their_passes(each, pairs, home)
            return FileGrades(path, grades + tuple(map(_alone, lonely)), None)
    except DataError as error:
        return FileGrades(path, (), str(error))


def _alone(name: str) -> Grade:
    reason = "called like a gradient, but no function is found that it belongs to"
    if "." in name:
        reason = (
            "a method that gives gradients, of a class without a forward pass: write "
            "CHECK = [(loss, gradient, arrays…)]"
        )
    row = Row((), NOT_JUDGED, reason)
    return Grade(name, NOT_JUDGED, None, (row,))


def _nothing(path: Path, home: Home) -> str:
    names = ", ".join(home.defined) or "no function"
    return (
        f"{path}: expected a function and its gradient; got {names}. What is found: "
        f"{CONVENTIONS}"
    )


def _unknown(
    path: Path, name: str, home: Home, pairs: Sequence[object], lonely: Sequence[str]
) -> str:
    known = [getattr(pair, "title", "") for pair in pairs] + list(lonely)
    got = f"pairs {'; '.join(known)}" if known else "no pair"
    if name not in home.defined:
        return f"{path}: expected a function {name!r}; got {got}. Check the name"
    return (
        f"{path}: expected {name!r} to have a gradient, or be one; got {got}. What is "
        f"found: {CONVENTIONS}"
    )
