"""Whether, where and when nodes are recorded.

Three things live here and nowhere else: the recording mode (context-local, so
threads and async tasks never disturb each other), the clock that orders nodes
and changes of values, and the way to find the user's own line.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from itertools import count
from types import CodeType, FrameType
from typing import Any, NamedTuple

from tinygrad_nn.errors import UnsupportedError

__all__ = [
    "OURS",
    "PLAIN",
    "Draw",
    "Line",
    "Mode",
    "caller",
    "changed",
    "current",
    "debug",
    "draws_from",
    "draws_noted",
    "line_of",
    "no_grad",
    "recorded",
    "scope",
    "tick",
    "traced",
    "user_frame",
    "warn",
]

_HOME = os.path.dirname(__file__)  # noqa: PTH120 (pathlib would cost an import)
OURS = frozenset(
    os.path.join(folder, name)  # noqa: PTH118
    for folder, _, names in os.walk(_HOME)
    for name in names
    if name.endswith(".py")
)
"""Our own files: the first frame outside of them is the user's line."""


class Mode(NamedTuple):
    """How operations are recorded in the current context."""

    records: bool = True
    scope: str | None = None
    checksums: bool = False
    trace: Any = None
    """The compiler's trace of the function that is running, or None."""

    @property
    def keeps_graph(self) -> bool:
        """Whether results keep what they were computed from."""
        return self.records or self.trace is not None


PLAIN = Mode()
"""The mode outside of every ``with``; recognised by identity on the quick path."""

_mode: ContextVar[Mode] = ContextVar("tinygrad_nn_mode", default=PLAIN)
_outer: ContextVar[Any] = ContextVar("tinygrad_nn_outer", default=None)
current = _mode.get

# Nodes and changes of values take their numbers from one clock: a node's inputs are
# older than the node, unless a value was changed after the node had used it.
tick = count(1).__next__

latest_change = 0
"""When a leaf's value last changed; no graph younger than this need be checked."""

checks_sums = False
"""Whether `debug` was ever entered: only then can nodes carry checksums."""


def changed() -> int:
    """Note that a value changed now; return the time."""
    global latest_change  # noqa: PLW0603 (the one writer)
    latest_change = tick()
    return latest_change


class Line(NamedTuple):
    """A line of the user's code."""

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        """Say where, the way a traceback does."""
        return f"{self.file}:{self.number}"


def user_frame(frame: FrameType) -> FrameType:
    """Return the nearest frame, from ``frame`` outwards, that is not ours."""
    while frame.f_code.co_filename in OURS and frame.f_back is not None:
        frame = frame.f_back
    return frame


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the user's line; a function that is traced is told nothing.

    A compiled step does not look at its values, nor at its mode, at every call.
    """
    if current().trace is not None:
        return
    level, frame = 1, sys._getframe()
    while frame.f_code.co_filename in OURS and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def caller() -> tuple[CodeType, int]:
    """Return code and instruction of the user's line that led here."""
    frame = user_frame(sys._getframe(1))
    return frame.f_code, frame.f_lasti


def line_of(code: CodeType | None, instruction: int) -> Line | None:
    """Return file, line number and function of an instruction, or None."""
    if code is None:
        return None
    number = code.co_firstlineno
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            number = line
            break
    return Line(code.co_filename, number, code.co_name)


_IN_PIECES = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


class _Switch(ContextDecorator):
    """A change of mode: ``with`` it, or decorate a function with it."""

    __slots__ = ("_change",)

    def __init__(self, change: Callable[[Mode], Mode]) -> None:
        self._change = change

    def __call__(self, function: Any) -> Any:
        """Decorate a function; one that runs in pieces, a generator, is refused."""
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _IN_PIECES:
            raise UnsupportedError(
                "no_grad: decorates no generator or coroutine. Write `with` inside it"
            )
        return super().__call__(function)

    def __enter__(self) -> None:
        """Switch the mode of this context."""
        mode = _mode.get()
        _outer.set((mode, _outer.get()))
        _mode.set(self._change(mode))

    def __exit__(self, *_exception: object) -> None:
        """Switch back. The context remembers to what, so threads may share a switch."""
        mode, outer = _outer.get()
        _mode.set(mode)
        _outer.set(outer)


def _without_records(mode: Mode) -> Mode:
    return Mode(False, mode.scope, mode.checksums, mode.trace)


def _with_records(mode: Mode) -> Mode:
    return mode if mode.records else mode._replace(records=True)


def _with_checksums(mode: Mode) -> Mode:
    return mode._replace(checksums=True)


def no_grad() -> _Switch:
    """Compute without recording: results carry no graph and need no gradient.

    Values do not depend on it: the same stable forms are used, and nothing
    older than the longest pattern is kept.

    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([1.0, 2.0])
    >>> with tg.no_grad():
    ...     (w * 2).requires_grad
    False
    """
    return _Switch(_without_records)


def recorded() -> _Switch:
    """Record, under `no_grad` too: a transform needs a graph of its own."""
    return _Switch(_with_records)


def scope(name: str) -> _Switch:
    """Mark the nodes recorded inside as belonging to the layer ``name``.

    Scopes nest: ``with scope("encoder"), scope("0")`` records ``encoder.0``.
    """

    def inside(mode: Mode) -> Mode:
        path = name if mode.scope is None else f"{mode.scope}.{name}"
        return Mode(mode.records, path, mode.checksums, mode.trace)

    return _Switch(inside)


def traced(trace: Any) -> _Switch:
    """Tell ``trace`` what has an effect: backward, steps, assignments, draws."""

    def inside(mode: Mode) -> Mode:
        return Mode(mode.records, None, False, trace)

    return _Switch(inside)


class Draw(NamedTuple):
    """A draw of random numbers: when, from which generator, and in which state."""

    time: int
    rng: Any
    state: Any

    def again(self) -> Any:
        """Return a generator that draws the same."""
        bits = type(self.rng.bit_generator)(0)
        bits.state = self.state
        return type(self.rng)(bits)


_noted: ContextVar[list[Draw] | None] = ContextVar("tinygrad_nn_draws", default=None)


@contextmanager
def draws_noted() -> Iterator[list[Draw]]:
    """Note the draws of random numbers meanwhile."""
    draws: list[Draw] = []
    token = _noted.set(draws)
    try:
        yield draws
    finally:
        _noted.reset(token)


def draws_from(rng: Any) -> None:
    """Say that random numbers are about to be drawn: a trace puts them back."""
    noted = _noted.get()
    if noted is not None:
        noted.append(Draw(tick(), rng, rng.bit_generator.state))
    trace = _mode.get().trace
    if trace is not None:
        trace.draws_from(rng)


def debug() -> _Switch:
    """Notice writes to a saved array that go through an alias.

    Assignment to ``.data`` is always noticed. Inside ``debug()`` each node also
    keeps a checksum of the arrays it saved, and ``backward`` compares: slower,
    but ``t.data[0] = 3`` or a write to the array given to ``Tensor(array)``
    between forward and backward becomes an error that names the op.
    """
    global checks_sums  # noqa: PLW0603 (the one writer)
    checks_sums = True
    return _Switch(_with_checksums)
