"""Parameters that stay in the buffers of a step until somebody looks at them.

A small parameter is copied to where a step multiplies and updates it, and its new value
is copied back: a third of the calls of a small step. Between two calls of one step
nobody needs that. So while no one else can see the array of any of its parameters (see
`away`), the step keeps their values, and its own marks on them. A Tensor that is looked
at in between, or changed, has all of them brought home first.

There are no copies of lines: what runs meanwhile is the same source without the lines
that copy.
"""

from __future__ import annotations

import ast
import copy
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, final
from weakref import ref

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.compiler.away import MARKS, array_of, is_unseen, looked_at

__all__ = ["Resident", "Staying", "staying"]

BRIEF = 16
"""Ticks of the clock, two a call: a shorter stay does not earn the move."""
PATIENCE = 255
"""The most calls before the next try."""


class Staying(NamedTuple):
    """The step without copies, and what it does without.

    Attributes
    ----------
    parts : list of ast.FunctionDef
        One function; or two, where a trap is set in the first only, which then gives
        the second its arguments. Their lines are those of the whole step.
    names : list of str
        What it takes from the module.
    tensors : list of (str, str)
        The name of each Tensor, and that of the view where its value stays.
    """

    parts: list[ast.FunctionDef]
    names: list[str]
    tensors: list[tuple[str, str]]


class _Copies(NamedTuple):
    """The three lines on a parameter's array: it is read, copied in, copied back."""

    tensor: str
    read: ast.stmt
    target: str
    copied: ast.stmt
    source: str
    written: ast.stmt


def staying(module: ast.Module, namespace: Mapping[str, Any]) -> Staying | None:
    """Return the step without copies, if it asks for nothing else of any Tensor.

    Parameters
    ----------
    module
        The module of a step.
    namespace
        What its names stand for, once it was run.
    """
    step = next(
        x for x in module.body if isinstance(x, ast.FunctionDef) and x.name == "step"
    )
    found = list(_copies(step))
    asked = sum(
        isinstance(x, ast.Attribute) and x.attr in ("_value", "grad", "_grad")
        for x in ast.walk(step)
    )
    same = all(
        _is_same(namespace.get(x.target), namespace.get(x.source)) for x in found
    )
    if not found or asked != len(found) or not same:
        return None
    gone = {id(line) for x in found for line in (x.read, x.copied, x.written)}
    # The nodes of the tree are told by identity, so they are marked, not copied first.
    for x in ast.walk(step):
        if id(x) in gone:
            x.is_copy = True  # type: ignore[attr-defined]
    without = _Without().visit(copy.deepcopy(step))
    names = {x.id for x in _names(without, ast.Load)}
    return Staying(
        _parted(without),
        sorted(names & set(namespace)),
        [(x.tensor, x.source) for x in found],
    )


def _copies(step: ast.FunctionDef) -> Iterator[_Copies]:
    """Find the arrays that are read, copied in and copied back, and nothing else."""
    uses = Counter(x.id for x in ast.walk(step) if isinstance(x, ast.Name))
    read: dict[str, tuple[ast.stmt, str]] = {}
    copied: dict[str, tuple[ast.stmt, str]] = {}
    written: dict[str, tuple[ast.stmt, str]] = {}
    for line in ast.walk(step):
        match line:
            case ast.Assign(
                [ast.Name(name)], ast.Attribute(ast.Name(tensor), "_value")
            ):
                read[name] = line, tensor
            case ast.Assign(
                [ast.Subscript(ast.Name(target), ast.Constant(value=x))],
                ast.Name(source),
            ) if x is ...:
                copied[source] = line, target
                written[target] = line, source
    for name, (line, tensor) in read.items():
        if uses[name] == 3 and name in copied and name in written:
            yield _Copies(
                tensor, line, copied[name][1], copied[name][0], *written[name][::-1]
            )


class _Without(ast.NodeTransformer):
    """Leaves out the lines that copy."""

    def visit(self, node: ast.AST) -> Any:
        """Return the node, or nothing."""
        return None if hasattr(node, "is_copy") else self.generic_visit(node)


def _parted(step: ast.FunctionDef) -> list[ast.FunctionDef]:
    """Part a step where its trap ends: a prepared context costs less than a `with`."""
    at = next((i for i, x in enumerate(step.body) if isinstance(x, ast.With)), None)
    if at is None:
        return [step]
    trap = step.body[at]
    assert isinstance(trap, ast.With)  # noqa: S101 (it was just found)
    first, rest = [*step.body[:at], *trap.body], step.body[at + 1 :]
    given = {x.arg for x in step.args.args}
    known = {x.id for line in first for x in _names(line, ast.Store)} | given
    needed = {x.id for line in rest for x in _names(line, ast.Load)}
    passed = sorted(known & needed)
    text = ", ".join([*passed, ""]) or "()"
    parts = ast.parse(
        f"def step(): return {text}\ndef update({', '.join(passed)}): pass"
    )
    until, after = parts.body
    assert isinstance(until, ast.FunctionDef)  # noqa: S101 (just written)
    assert isinstance(after, ast.FunctionDef)  # noqa: S101 (just written)
    until.args = step.args
    until.body[:0] = first
    after.body = rest
    return [until, after]


def _names(line: ast.stmt, how: type) -> Iterator[ast.Name]:
    for x in ast.walk(line):
        if isinstance(x, ast.Name) and isinstance(x.ctx, how):
            yield x


def _is_same(x: Any, y: Any) -> bool:
    """Whether two views show the same memory in the same way."""
    if x is None or y is None:  # made in the step
        return False
    mine, other = x.__array_interface__, y.__array_interface__
    alike = (x.strides, x.shape, x.dtype) == (y.strides, y.shape, y.dtype)
    return alike and mine["data"] == other["data"]


@final
class Resident:
    """Where the parameters of one step are: with it, or at home.

    Parameters
    ----------
    places
        Tensors, and the views in which the step leaves their values.
    after
        Leaves the marks of a step on Tensors.

    Attributes
    ----------
    here : bool
        Whether values and marks are with the step.
    lock : RLock
        Of the step: nobody looks at a value while it changes.
    mark : tuple
        Who called last: code, instruction, and the time, for those who ask a Tensor.
    tensors : frozenset
        Whose values these are, by identity.
    """

    def __init__(
        self, places: list[tuple[Any, np.ndarray]], after: Callable[..., None]
    ) -> None:
        self.here = False
        self.lock = threading.RLock()
        self.tensors = frozenset(id(tensor) for tensor, _ in places)
        self._places = places
        self._after = after
        self.mark: tuple[Any, int, int] = (None, 0, 0)
        self._since = 0
        self._wait = 0
        self._patience = 0

    def share(self, lock: Any) -> None:
        """Use the lock of the step."""
        self.lock = lock

    def settle(self) -> bool:
        """Keep values after a call that has copied them back, if nobody sees them."""
        if self._wait:
            self._wait -= 1
            return False
        for tensor, _ in self._places:
            if hasattr(type(tensor), "_home") or not is_unseen(array_of(tensor)):
                self._wait = PATIENCE
                return False
        me = ref(self)
        for tensor, view in self._places:
            view[...] = array_of(tensor)
            tensor._x = (me, None)  # a leaf has no operand
            kind: Any = type(tensor)
            tensor.__class__ = _resident(kind)
        self._since = recording.latest_change
        self.mark = None, 0, self._since
        self.here = True
        return True

    def write_home(self) -> None:
        """Put there what a step has left that itself made somebody look."""
        for tensor, view in self._places:
            tensor._value[...] = view
        self._after(*self.mark)

    def come_home(self) -> None:
        """Put values and marks where everybody looks for them."""
        with self.lock:
            if not self.here:
                return
            self.here = False
            for tensor, view in self._places:
                array_of(tensor)[...] = view
                del tensor._x
                tensor.__class__ = type(tensor)._home
            self._after(*self.mark)
            brief = self.mark[2] - self._since < BRIEF
            # Who looks after every few steps is not worth the moves.
            self._patience = min(2 * self._patience + 1, PATIENCE) if brief else 0
            self._wait = self._patience

    def __del__(self) -> None:
        """Leave nothing behind in buffers that go."""
        self.come_home()


def _come_home(tensor: Any) -> None:
    where = getattr(tensor, "_x", None)
    resident = None if where is None else where[0]()
    if resident is not None:
        resident.come_home()


def _reduced(tensor: Any) -> Any:
    _come_home(tensor)
    return tensor.__reduce__()


@lru_cache(maxsize=256)
def _resident(cls: Any) -> type:
    """Return the class of a leaf of ``cls`` while a step has its value."""
    return type(
        cls.__name__,
        (cls,),
        {
            "__slots__": (),
            "__module__": cls.__module__,
            "__doc__": cls.__doc__,
            "__reduce__": _reduced,
            "_home": cls,
            "requires_grad": looked_at("requires_grad", _come_home, known=True),
            **{name: looked_at(name, _come_home) for name in ("_value", *MARKS)},
        },
    )
