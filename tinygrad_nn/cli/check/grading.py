"""Judging the pairs of a file, and where a hand-written backward pass goes wrong."""

from __future__ import annotations

import ast
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.check import GradientReport, check_formula, check_gradients
from tinygrad_nn.cli.check.loading import Home, hushed, trouble_of
from tinygrad_nn.cli.check.pairs import Pair
from tinygrad_nn.cli.check.preparing import prepared
from tinygrad_nn.cli.check.values import Task, UnclearError
from tinygrad_nn.errors import GradientError, MutationError, ShapeError, TinygradError
from tinygrad_nn.op import data_of
from tinygrad_nn.tensor import Tensor

__all__ = ["FileGrades", "Grade", "Row", "Way", "graded"]

NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Row:
    """A line of the table: parameters with one verdict, and one cause."""

    parameters: tuple[str, ...]
    verdict: str
    cause: str | None = None


@dataclass(frozen=True)
class Grade:
    """The verdict on one pair.

    Attributes
    ----------
    title
        Its functions.
    verdict
        ``"ok"``, ``"kink"``, ``"weak"``, ``"wrong"``, or ``"not judged"``.
    ok
        Whether it may be trusted; None where it was not judged.
    rows
        What the table shows.
    called
        What was compared with what, and with respect to which arrays.
    line
        The user's line that is wrong first, where it was found: ``(number, text)``.
    report
        The numbers; None where there are none.
    """

    title: str
    verdict: str
    ok: bool | None
    rows: tuple[Row, ...]
    called: str = ""
    line: tuple[int, str] | None = None
    report: GradientReport | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Way:
    """How to judge: the options of the command."""

    seed: int = 0
    mode: str = "auto"
    strict: bool = False


class FileGrades(NamedTuple):
    """What was found in a file; ``trouble`` where nothing could be."""

    path: Path
    grades: tuple[Grade, ...] = ()
    trouble: str | None = None
    lonely: tuple[str, ...] = ()


def graded(pair: Pair, home: Home, beside: Home | None, way: Way) -> Grade:
    """Judge a pair; what stops that is in its grade.

    Whatever a user's functions raise is the reason why they are not judged.
    """
    try:
        with hushed():
            tasks = prepared(pair, home, beside, way.seed)
            grade = _judged(pair, tasks[0], home, way)
            if grade.ok is False and len(tasks) > 1:
                return _other_reading(grade, pair, tasks[1], home, way)
            return grade
    except UnclearError as reason:
        return _unjudged(pair, str(reason))
    except TinygradError as error:
        return _unjudged(pair, " ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 (the user's code may fail in any way)
        return _unjudged(pair, f"it raises {trouble_of(error, home.path)}")


def _other_reading(grade: Grade, pair: Pair, task: Task, home: Home, way: Way) -> Grade:
    """Take a slope for one of the result, ``1 - a**2``, if it is right as that."""
    other = _judged(pair, task, home, way)
    if not other.ok:
        return grade
    if task.of_result:
        return other
    (row, *rest) = grade.rows
    cause = "it is right of the result, not of the operand that it is called to take"
    return replace(grade, rows=(replace(row, cause=cause), *rest))


def _unjudged(pair: Pair, reason: str) -> Grade:
    reason = reason.removeprefix("check_gradients: ")
    return Grade(pair.name, NOT_JUDGED, None, (Row((), NOT_JUDGED, reason),))


def _judged(pair: Pair, task: Task, home: Home, way: Way) -> Grade:
    try:
        report = check_gradients(
            task.f,
            *task.arrays,
            formula=task.formula,
            vjp=task.vjp,
            names=list(task.names),
            seed=way.seed,
            mode=way.mode,
            strict=way.strict,
        )
    except MutationError:
        raise
    except (ShapeError, GradientError) as error:
        mistake = _mistake(str(error))
        if mistake is None:
            raise
        row = Row(mistake[:1], "wrong", mistake[1])
        return Grade(pair.name, "wrong", ok=False, rows=(row,), called=task.called)
    by_hand = task.formula is not None or task.vjp is not None
    wrong = "formula" in report.blame if by_hand else bool(report.blame)
    notes = list(report.notes)
    if by_hand and report.blame and not wrong:
        notes.append("autograd's gradient of it is refuted; the one by hand is right")
    line, cause = _first_wrong(task) if wrong else (None, None)
    cause = report.cause or cause
    if line is not None:
        notes.insert(0, f"first wrong line: {home.path.name}:{line[0]}: {line[1]}")
    rows = tuple(_rows(report, cause, home)) if wrong else ()
    verdict = "wrong" if wrong else report.verdict
    if report.blame and not wrong:
        verdict = "ok"
    rows = rows or (Row(tuple(report.parameters), verdict, None),)
    ok: bool | None = not wrong and (report.ok or bool(report.blame))
    if task.lacking:
        reason = "no gradient of it is returned"
        rows += (Row(task.lacking, NOT_JUDGED, reason),)
        if ok:
            verdict, ok = NOT_JUDGED, None
    return Grade(pair.name, verdict, ok, rows, task.called, line, report, tuple(notes))


def _rows(report: GradientReport, cause: str | None, home: Home) -> Iterator[Row]:
    """One row where one mistake explains all that is wrong; else one for each cause."""
    folder = f"{home.path.resolve().parent}{os.sep}"
    good: dict[str, list[str]] = {}
    wrong: dict[str | None, list[str]] = {}
    for name, p in report.parameters.items():
        if p.verdict == "wrong":
            why = cause or p.cause
            why = None if why is None else why.replace(folder, "")
            wrong.setdefault(why, []).append(name)
        else:
            good.setdefault(p.verdict, []).append(name)
    for why, names in wrong.items():
        yield Row(tuple(names), "wrong", why)
    for verdict, names in good.items():
        yield Row(tuple(names), verdict)


def _mistake(text: str) -> tuple[str, str] | None:
    """Return parameter and mistake, where an error tells one of the gradient's."""
    title, _, said = text.partition(": ")
    if title not in ("formula", "vjp"):
        return None
    words = said.split()
    name = words[words.index("of") + 1].rstrip(";") if "of" in words else ""
    return name, said


# --- the first wrong line ------------------------------------------------------------


def _first_wrong(task: Task) -> tuple[tuple[int, str] | None, str | None]:
    """Find the first wrong intermediate of a backward pass, by its local names.

    The forward pass runs on Tensors, the backward pass on arrays, and what each calls
    Z1 and dZ1 in itself is held together.
    """
    forward, backward = task.codes
    if forward is None or backward is None or forward is backward:
        return None, None
    try:
        chain, loss, taken = _chain(task, forward, backward)
        report = check_formula(loss, chain)
    except Exception:  # noqa: BLE001 (a help only: the verdict stands without it)
        return None, None
    if report.first is None or report.blame != ("formula",):
        return None, None
    return _line(backward, taken.get(report.first, report.first)), report.cause


def _chain(
    task: Task, forward: CodeType, backward: CodeType
) -> tuple[dict[Any, np.ndarray], Tensor, dict[str, str]]:
    variables = [
        Tensor(np.array(x, np.float64), requires_grad=True, name=name)
        for name, x in zip(task.names, task.arrays, strict=True)
    ]
    with np.errstate(all="ignore"):
        with _locals_of(forward) as there:
            output = task.f(*variables)
        g = np.random.default_rng(1).standard_normal(np.shape(data_of(output)))
        arrays = [np.array(x, np.float64) for x in task.arrays]
        with _locals_of(backward) as here:
            if task.formula is not None:
                task.formula(*arrays)
            elif task.vjp is not None:
                task.vjp(g, *arrays)
    loss = output if task.formula is not None else (output * g).sum()
    nodes = dict(zip(task.names, variables, strict=True))
    for name, value in there.items():
        if isinstance(value, Tensor):
            nodes.setdefault(name, value)
    chain: dict[Any, np.ndarray] = {}
    taken: dict[str, str] = {}
    for name, value in here.items():
        node = nodes.get(name.removeprefix("d").removeprefix("_"))
        if not name.startswith("d") or node is None or node in chain:
            continue
        if np.shape(value) == node.shape and np.asarray(value).dtype.kind == "f":
            if node.name is None:
                node.name = name.removeprefix("d").removeprefix("_")
            chain[node] = np.asarray(value)
            taken[f"d{node.name}"] = name
    return chain, loss, taken


@contextmanager
def _locals_of(code: CodeType) -> Iterator[dict[str, Any]]:
    """Hold the local names that a function has when it returns."""
    found: dict[str, Any] = {}

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            found.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _line(code: CodeType, name: str) -> tuple[int, str] | None:
    """Return the last statement of a function that assigns a name."""
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return None
    found = None
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.lineno < code.co_firstlineno:
            continue
        if node.name != code.co_name or found is not None:
            continue
        for inner in ast.walk(node):
            if isinstance(inner, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
                targets = (
                    inner.targets if isinstance(inner, ast.Assign) else [inner.target]
                )
                names = {
                    x.id
                    for t in targets
                    for x in ast.walk(t)
                    if isinstance(x, ast.Name)
                }
                if name in names and (found is None or inner.lineno > found):
                    found = inner.lineno
    if found is None:
        return None
    return found, lines[found - 1].strip()
