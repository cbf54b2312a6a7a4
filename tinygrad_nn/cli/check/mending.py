"""The line of a backward pass that, if it alone were right, would make all right.

Each value that the pass assigns or returns is replaced in turn by a gradient that the
recorded forward pass has, in the order in which they are computed. The first whose
replacement makes every result right is where the mistake is made: what comes before
does not help, and what comes after is computed from it. No names are compared.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, NamedTuple, final

import numpy as np

from tinygrad_nn import autodiff, graph, recording
from tinygrad_nn.cli.check.values import Task
from tinygrad_nn.compiler import execute
from tinygrad_nn.op import data_of
from tinygrad_nn.tensor import Tensor

__all__ = ["mended_line"]

_HOOK = "__mended"
_TRIALS = 600
_CLOSE = 1e-7


class _Part(NamedTuple):
    """A number or an array that a statement computed."""

    line: int
    value: np.ndarray


def mended_line(task: Task) -> int | None:
    """Return the line whose value is wrong first; None where no one line is.

    The forward pass has to run on Tensors. What fails on the way is no answer either.
    """
    backward = _plain(task.backward)
    if not isinstance(backward, FunctionType) or backward.__name__ == "<lambda>":
        return None
    arrays = [np.array(x, np.float64) for x in task.arrays]
    g, right, known = _truth(task)

    def results() -> tuple[Any, ...]:
        if task.vjp is not None:
            return tuple(task.vjp(g, *(x.copy() for x in arrays)))
        assert task.formula is not None  # noqa: S101 (for mypy: one of both is there)
        return tuple(task.formula(*(x.copy() for x in arrays)))

    tape = _Tape()
    with _hooked(backward, tape):
        given = results()
        if _agree(given, right):
            return None
        trials = list(_trials(tuple(tape.parts), known))
        for place, gradient, custom in trials[:_TRIALS]:
            tape.rewind(place, gradient)
            now = results()
            if not custom and not _agree(now, right):
                # It may be a multiple here, which what comes after divides out.
                factor = _factor(now, right)
                if not np.isfinite(factor) or factor == 0:
                    continue
                tape.rewind(place, gradient / factor)
                now = results()
            if _agree(now, right):
                return tape.line
    return None


def _truth(task: Task) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Cotangent, gradients of the arrays, and of all that the forward pass records."""
    variables = [
        Tensor(np.array(x, np.float64), requires_grad=True) for x in task.arrays
    ]
    with np.errstate(all="ignore"):
        output = task.f(*variables)
        g = np.random.default_rng(1).standard_normal(np.shape(data_of(output)))
        loss = output.sum() if task.vjp is None else (output * g).sum()
    nodes = [
        node
        for node in graph.ancestors([loss], graph.written)
        if isinstance(node, Tensor) and node.requires_grad
    ]
    with recording.no_grad():
        found = autodiff.gradients(loss, [*variables, *nodes], unused="zero")
    numbers = [np.asarray(data_of(x), np.float64) for x in found]
    return g, numbers[: len(variables)], numbers


def _agree(given: Sequence[Any], right: Sequence[np.ndarray]) -> bool:
    return all(map(_close, given, right))


def _close(given: Any, right: np.ndarray) -> bool:
    given = np.asarray(data_of(given))
    size = float(np.abs(right).max(initial=0.0))
    return given.shape == right.shape and bool(
        np.all(np.abs(given - right) <= _CLOSE * (np.abs(right) + size))
    )


def _factor(given: Sequence[Any], right: Sequence[np.ndarray]) -> float:
    """What the first wrong result is a multiple of the right one by, if it is one."""
    for one, other in zip(given, right, strict=True):
        if not _close(one, other) and np.shape(one) == other.shape:
            return _multiple(np.asarray(one), other)
    return np.nan


def _multiple(value: np.ndarray, gradient: np.ndarray) -> float:
    size = float(np.sum(gradient * gradient))
    factor = float(np.sum(value * gradient)) / size if size else np.nan
    return factor if _close(value, factor * gradient) else np.nan


def _trials(
    parts: Sequence[_Part], known: Sequence[np.ndarray]
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """What to try, in the order of the pass.

    What equals a gradient is right. What is a multiple of one, as dZ = A - Y is by m,
    may be divided by that later: only the gradient itself is tried in its place.
    """
    for place, part in enumerate(parts):
        seen: list[np.ndarray] = []
        for gradient in known:
            if gradient.shape != part.value.shape or not gradient.any():
                continue
            if _close(part.value, gradient) or any(_close(gradient, x) for x in seen):
                continue
            seen.append(gradient)
            yield place, gradient, _multiple(part.value, gradient) > 0


@final
class _Tape:
    """What a pass computes, in order; one of it is replaced."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.line: int | None = None
        self._place: int | None = None
        self._instead: np.ndarray | None = None

    def rewind(self, place: int, instead: np.ndarray) -> None:
        """Start again, and give something instead at a place."""
        self.parts, self.line = [], None
        self._place, self._instead = place, instead

    def __call__(self, line: int, value: Any) -> Any:
        """Take down what a line computed, and return it or what is given instead."""
        if type(value) is tuple:
            return tuple(self(line, x) for x in value)
        if type(value) is dict:
            return {key: self(line, x) for key, x in value.items()}
        if not isinstance(value, (np.ndarray, np.floating, float)):
            return value
        array = np.asarray(value)
        if array.dtype.kind != "f":
            return value
        self.parts.append(_Part(line, array.copy()))
        if len(self.parts) - 1 != self._place:
            return value
        self.line = line
        return np.array(self._instead)


# --- the pass, with what it computes handed over -------------------------------------


@contextmanager
def _hooked(function: FunctionType, tape: _Tape) -> Iterator[None]:
    """Let a function hand over what it assigns and returns, for a while."""
    code, known = function.__code__, function.__globals__
    function.__code__ = _handing_over(code)
    known[_HOOK] = tape
    try:
        yield
    finally:
        function.__code__ = code
        known.pop(_HOOK, None)


def _handing_over(code: CodeType) -> CodeType:
    """Compile a function anew, so that every statement hands over its value.

    Raises
    ------
    ValueError
        Where the text of the function is not found.
    """
    tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    own = next(
        (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            and node.name == code.co_name
            and code.co_firstlineno
            == min([node.lineno, *(d.lineno for d in node.decorator_list)])
        ),
        None,
    )
    if own is None:
        raise ValueError(code.co_name)
    own.decorator_list = []
    own.body = [new for old in own.body for new in _statements(old)]
    # A closure's cells are kept: the new code names the same variables.
    outer = ast.parse("def outer(): pass").body[0]
    assert isinstance(outer, ast.FunctionDef)  # noqa: S101 (for mypy: just parsed)
    outer.body = [own]
    if code.co_freevars:
        names: list[ast.expr] = [
            ast.Name(name, ast.Store()) for name in code.co_freevars
        ]
        outer.body = [ast.Assign(names, ast.Constant(None)), own]
    module = ast.fix_missing_locations(ast.Module([outer], []))
    known, _ = execute.run("", {}, code.co_name, module)
    waiting: list[CodeType] = [known["outer"].__code__]
    while waiting:
        here = waiting.pop()
        if here.co_name == code.co_name:
            return here
        waiting += [x for x in here.co_consts if inspect.iscode(x)]
    raise ValueError(code.co_name)


def _statements(node: ast.stmt) -> list[ast.stmt]:
    """Return a statement whose value is handed over, and those within it."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node]
    for block in ("body", "orelse", "finalbody"):
        inner = getattr(node, block, None)
        if isinstance(inner, list):
            new = [x for old in inner for x in _statements(old)]
            setattr(node, block, new)
    if isinstance(node, (ast.Assign, ast.Return, ast.AnnAssign)):
        value = node.value
        if value is not None and not _is_part(node):
            node.value = _handed(node.lineno, value)
            return [node]
    if isinstance(node, (ast.Assign, ast.AugAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        while isinstance(target, ast.Subscript):
            target = target.value
        if isinstance(target, (ast.Name, ast.Attribute)):
            again = ast.parse(f"{ast.unparse(target)} = 0").body[0]
            assert isinstance(again, ast.Assign)  # noqa: S101 (for mypy: just parsed)
            now = ast.parse(ast.unparse(target), mode="eval").body
            again.value = _handed(node.lineno, now)
            return [node, ast.copy_location(again, node)]
    return [node]


def _is_part(node: ast.stmt) -> bool:
    """Whether a statement sets a part of an array or a dictionary: ``dZ[i] = 0``."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)


def _handed(line: int, value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(_HOOK, ast.Load()), [ast.Constant(line), value], [])


def _plain(function: Any) -> Any:
    """Return the function of Python behind a method or a decorator."""
    plain = inspect.unwrap(function) if callable(function) else function
    return getattr(plain, "__func__", plain)
