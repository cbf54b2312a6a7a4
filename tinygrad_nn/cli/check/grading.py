"""Judging the pairs of a file, and where a hand-written backward pass goes wrong."""

from __future__ import annotations

import ast
import linecache
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.check import GradientReport, check_formula, check_gradients
from tinygrad_nn.cli.check.loading import Home, hushed, trouble_of
from tinygrad_nn.cli.check.mending import mended_line
from tinygrad_nn.cli.check.pairs import Pair, is_general
from tinygrad_nn.cli.check.preparing import prepared
from tinygrad_nn.cli.check.values import Task, UnclearError
from tinygrad_nn.errors import GradientError, MutationError, ShapeError, TinygradError
from tinygrad_nn.op import data_of
from tinygrad_nn.tensor import Tensor

__all__ = [
    "NOT_JUDGED",
    "WHERE",
    "FileGrades",
    "Grade",
    "Row",
    "Way",
    "graded",
    "in_their_passes",
]

NOT_JUDGED = "not judged"
WHERE = "; at "
"""Between a mistake and the line of the forward pass that it belongs to."""


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
    divided
        The number of examples, where it is right but for a division by that.
    """

    title: str
    verdict: str
    ok: bool | None
    rows: tuple[Row, ...]
    called: str = ""
    line: tuple[int, str] | None = None
    report: GradientReport | None = None
    notes: tuple[str, ...] = field(default=())
    divided: int = 0


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
            if grade.ok is not False:
                return grade
            if is_general(pair.name) and len(pair.firsts) > 1:
                return _of_another(grade, pair, home, beside, way)
            if len(tasks) > 1:
                grade = _other_reading(grade, pair, tasks[1], home, way)
            elif pair.kind == "function" and tasks[0].vjp:
                grade = _of_a_mean(grade, tasks[0], way)
            return grade
    except UnclearError as reason:
        return _unjudged(pair, str(reason))
    except TinygradError as error:
        return _unjudged(pair, " ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 (the user's code may fail in any way)
        return _unjudged(pair, f"it raises {trouble_of(error, home.path)}")


def _of_another(
    grade: Grade, pair: Pair, home: Home, beside: Home | None, way: Way
) -> Grade:
    """Take it for the gradient of another function, if it is right as that."""
    for number, first in enumerate(pair.firsts):
        single = pair._replace(firsts=(first,))
        other = graded(single, home, beside, way)
        if other.ok or not number:
            grade = other
        if grade.ok:
            break
    return grade


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


def _of_a_mean(grade: Grade, task: Task, way: Way) -> Grade:
    """Leave open what is divided by the number of examples, and else right.

    Courses write dZ for m times the gradient of a mean, and divide where a parameter's
    gradient is made: ``dW = dZ @ A.T / m``. Of a line alone nobody can know.
    """
    report, vjp = grade.report, task.vjp
    if report is None or vjp is None:
        return grade
    wrong = {name for name, p in report.parameters.items() if p.verdict == "wrong"}
    for m, shared in _shared(task):
        if wrong != shared:
            continue

        def whole(g: Any, *arrays: Any, m: int = m) -> tuple[Any, ...]:
            given = vjp(g, *arrays)
            return tuple(
                np.asarray(x) * m if name in wrong else x
                for name, x in zip(task.names, given, strict=True)
            )

        other = check_gradients(
            task.f, *task.arrays, vjp=whole, names=list(task.names), seed=way.seed
        )
        if "formula" not in other.blame:
            cause = (
                f"divided by {m}: right where what arrives is {m} times the gradient "
                "of a mean, as dZ = A - Y is; judge the whole backward pass"
            )
            rows = [Row(tuple(sorted(wrong)), NOT_JUDGED, cause)]
            rows += [row for row in grade.rows if row.verdict != "wrong"]
            return replace(
                grade,
                verdict=NOT_JUDGED,
                ok=None,
                rows=tuple(rows),
                line=None,
                notes=grade.notes[grade.line is not None :],
                divided=m,
            )
    return grade


def _shared(task: Task) -> Iterator[tuple[int, set[str]]]:
    """For each axis of the result that may be the examples': which arrays all share.

    What belongs to an example alone, as A does to its columns of W @ A, moves nothing
    in the results of the others; all of them depend on W and b, whatever the lengths.
    """
    start = np.asarray(data_of(task.f(*task.arrays)))
    for there, m in enumerate(start.shape):
        if m < 2:
            continue
        shared = set()
        for i, (name, x) in enumerate(zip(task.names, task.arrays, strict=True)):
            own = False
            for here in (axis for axis, n in enumerate(np.shape(x)) if n == m):
                moved = np.array(x)
                first = (slice(None),) * here + (0,)
                moved[first] += 0.01 * (1 + np.abs(moved[first]))
                arrays = [*task.arrays[:i], moved, *task.arrays[i + 1 :]]
                now = np.asarray(data_of(task.f(*arrays)))
                other = np.moveaxis(now != start, there, 0)
                own |= bool(other[0].any() and not other[1:].any())
            if not own:
                shared.add(name)
        yield m, shared


def in_their_passes(
    grades: Sequence[Grade], pairs: Sequence[Pair], home: Home
) -> tuple[Grade, ...]:
    """Accept a division by the number of examples where a right pass calls for it."""
    right = {
        name
        for grade, pair in zip(grades, pairs, strict=True)
        if grade.ok and not grade.divided
        for name in _called_by(pair.gradient, home)
    }
    settled = []
    for grade in grades:
        if grade.divided and grade.title in right:
            note = f"divided by {grade.divided}, as the whole pass that is right needs"
            names = tuple(name for row in grade.rows for name in row.parameters)
            grade = replace(  # noqa: PLW2901 (the same grade, settled)
                grade,
                verdict="ok",
                ok=True,
                rows=(Row(names, "ok"),),
                notes=(note, *grade.notes),
            )
        settled.append(grade)
    return tuple(settled)


def _called_by(function: Any, home: Home) -> set[str]:
    """Names of the file's functions that a function calls, and that those call."""
    found: set[str] = set()
    waiting = [function]
    while waiting:
        code = getattr(waiting.pop(), "__code__", None)
        if code is None:
            continue
        new = (set(code.co_names) & set(home.defined)) - found
        found |= new
        waiting += [home.defined[name] for name in new]
    return found


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
        code = task.codes[1]
        line = None if code is None else _line(code, f"d{mistake[0]}")
        notes = [] if line is None else [_said(line, home)]
        return Grade(
            pair.name, "wrong", False, (row,), task.called, line, None, tuple(notes)
        )
    by_hand = task.formula is not None or task.vjp is not None
    wrong = "formula" in report.blame if by_hand else bool(report.blame)
    notes = [_shortened(note) for note in report.notes]
    if by_hand and report.blame and not wrong:
        notes.append("autograd's gradient of it is refuted; the one by hand is right")
    line, cause = _first_wrong(task) if wrong and by_hand else (None, None)
    cause = report.cause or cause
    if line is not None:
        notes.insert(0, _said(line, home))
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


def _said(line: tuple[int, str], home: Home) -> str:
    return f"first wrong line: {home.path.name}:{line[0]}: {line[1]}"


def _shortened(note: str) -> str:
    """Leave out what a note advises those who call the check from Python."""
    note = note.partition(". ")[0]
    what, said, _ = note.partition("does not run on Tensors")
    return what + said


def _rows(report: GradientReport, cause: str | None, home: Home) -> Iterator[Row]:
    """One row where one mistake explains all that is wrong; else one for each cause."""
    folder = f"{home.path.resolve().parent}{os.sep}"
    good: dict[str, list[str]] = {}
    wrong: dict[str | None, list[str]] = {}
    own = {p.cause for p in report.parameters.values() if p.verdict == "wrong"}
    if len(own) == 1 and None not in own and cause is not None:
        # A cause of the numbers says more than a factor does, and a slip says where.
        where = cause.partition(WHERE)[2]
        cause = f"{own.pop()}{WHERE}{where}" if where else own.pop()
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
    """Find the line where a backward pass goes wrong, and the cause.

    The line that mends all, were it right, is where; else the first wrong intermediate
    by its local name: the forward pass runs on Tensors, the backward pass on arrays,
    and what each calls Z1 and dZ1 in itself is held together.
    """
    forward, backward = task.codes
    if backward is None:
        return None, None
    # Both are a help only: the verdict stands without them.
    line, by_name, cause = None, None, None
    with suppress(Exception):
        number = mended_line(task)
        if number is not None:
            line = number, linecache.getline(backward.co_filename, number).strip()
    with suppress(Exception):
        if forward is not None and forward is not backward:
            chain, loss, taken = _chain(task, forward, backward)
            report = check_formula(loss, chain)
            if report.first is not None and report.blame == ("formula",):
                cause = report.cause
                by_name = _line(backward, taken.get(report.first, report.first))
    return line or by_name, cause


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
