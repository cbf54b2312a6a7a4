"""Calls a step in C: pointers that are fetched when an array changed, numbers, states.

The Python half of a step is generated as well, one line a thing: what must be looked at
in each call is looked at without a loop.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextvars import Context
from typing import Any

import numpy as np

from tinygrad_nn.compiler.backends import Memory
from tinygrad_nn.compiler.blame import explained
from tinygrad_nn.compiler.c.curves import quotients
from tinygrad_nn.compiler.c.host import HostSource
from tinygrad_nn.compiler.c.layout import is_view
from tinygrad_nn.compiler.c.source import lower
from tinygrad_nn.compiler.c.tables import Lowered
from tinygrad_nn.compiler.checks import Finite
from tinygrad_nn.compiler.execute import executed, run
from tinygrad_nn.compiler.numpy_source import lower as lower_numpy
from tinygrad_nn.compiler.program import Gradient, Program
from tinygrad_nn.compiler.toolchain import build
from tinygrad_nn.compiler.trace import Trace
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.op import Node, data_of, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

__all__ = ["CRunner"]


def _address_of(array: np.ndarray) -> int:
    """Return where the data of an array is: the first field of the object."""
    found = ctypes.c_void_p.from_address(id(array) + _HEADER).value
    return found or 0


_HEADER = object.__basicsize__


def _plain_address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def _address_function() -> Callable[[np.ndarray], int]:
    """Return the quick way to an address where it is right."""
    try:
        probes = [np.zeros(3), np.zeros((4, 4))[1:]]
        right = all(_address_of(a) == _plain_address(a) for a in probes)
    except (ValueError, AttributeError):
        return _plain_address
    return _address_of if right else _plain_address


address_of = _address_function()


class CRunner:
    """Runs a program as one C function."""

    def __init__(
        self, program: Program, trace: Trace, title: str, *, check_finite: bool
    ) -> None:
        trap = trace.selects and not trace.careful and program.first_update is not None
        program = quotients(program)
        self.program = program
        lowered = lower(program, check_finite=check_finite, trap=trap)
        self.lowered = lowered
        self._check_finite = check_finite
        self.source = lowered.text
        self.memory = Memory(lowered.arena, lowered.naive)
        self._library = build(lowered.text)
        self._arena = _aligned(lowered.arena)
        self._scalars = np.zeros(max(len(lowered.scalars), 1))
        self._table = (ctypes.c_void_p * len(lowered.outside))()
        self._reference = ctypes.byref(self._table)
        self._bound: list[Any] = [None] * len(lowered.outside)
        self._copies: dict[int, tuple[np.ndarray, bool]] = {}
        self._error: BaseException | None = None
        self._kept: list[Any] = []
        self._values: dict[Any, Callable[[], Any]] = {}
        self._draws = list(trace.draws) if trap else []
        self._drawn: list[Any] = []
        self._fill_table()
        host = HostSource(program, trace, lowered, self)
        namespace, _ = run(host.source(), host.namespace, f"{title} (host)")
        self._call = namespace["call"]
        self.after = self._after = namespace["after"]
        self._latest, self._advance = namespace["latest"], namespace["advance"]
        self._loop = self._library.repeat
        self._loop.argtypes = [ctypes.c_void_p, *[ctypes.c_long] * 2, ctypes.c_void_p]
        self._loop.restype = ctypes.c_long
        self._optimizers = list(trace.steps)
        if _may_repeat(program, trace, lowered):
            self.repeat = self._repeated
        self._referee = _Referee(program, trace, title) if trap else None

    def __call__(self, *arrays: Any) -> Any:
        """Run the step."""
        try:
            return self._call(*arrays)
        except FloatingPointError as error:
            if isinstance(error, TinygradError) or self._referee is None:
                raise
        # A comparison with nan raises the processor's flag as well, so NumPy looks at
        # it again: either it finds an invalid operation, or its step is the step.
        for rng, state in zip(self._draws, self._drawn, strict=True):
            rng.bit_generator.state = state
        result = self._referee(*arrays)
        self.after = self._once
        return result

    def _repeated(self, n: int, *arrays: Any) -> Any:
        """Run the step ``n`` times; the numbers of all steps are computed beforehand.

        Raises
        ------
        FloatingPointError
            Where a step must go the careful way; its ``done`` says how many did not.
        """
        result = self._call(*arrays)  # binds the pointers, and is the first step
        if n == 1:
            return result
        rows = np.zeros((n, self._scalars.size))
        kept = [(o, o.steps, list(o._states)) for o in self._optimizers]
        for row in rows[: n - 1]:
            self._advance(row)
        self._table[1] = address_of(rows)
        if self._copies:
            self.copy_in()
        status = ctypes.c_int()
        done = self._loop(self._table, n - 1, rows.shape[1], ctypes.byref(status))
        self._table[1] = address_of(self._scalars)
        if self._copies:
            self.copy_out()
        if status.value:
            for optimizer, steps, states in kept:
                optimizer.steps = steps
                for i, state in enumerate(states):
                    optimizer._states[i] = state
            for _ in range(done):
                self._advance(rows[-1])
            if status.value == -1:
                error = FloatingPointError()
                error.done = done + 1  # type: ignore[attr-defined]
                raise error
            self.failed(status.value)
        return self._latest()

    def _once(self, code: Any, instruction: int, order: int) -> None:
        """Leave behind what NumPy's step leaves; the next one is C's again."""
        self.after = self._after
        assert self._referee is not None  # noqa: S101 (it has just run)
        self._referee.after(code, instruction, order)

    def remember_draws(self) -> None:
        """Note where generators stand, for a step that is run again."""
        self._drawn = [rng.bit_generator.state for rng in self._draws]

    # --- the table of pointers ---

    def _fill_table(self) -> None:
        table = self._table
        for i, entry in enumerate(self.lowered.outside):
            if entry.kind == "arena":
                table[i] = address_of(self._arena)
            elif entry.kind == "scalars":
                table[i] = address_of(self._scalars)
            elif entry.kind == "function":
                table[i] = entry.what
            elif entry.kind == "constant":
                self.bind(i, entry.what)
            elif entry.kind == "call":
                function = ctypes.CFUNCTYPE(ctypes.c_int)(self._python(entry.what))
                self._kept.append(function)
                table[i] = ctypes.cast(function, ctypes.c_void_p).value

    def bind(self, i: int, array: Any) -> None:
        """Let an entry point to an array, or to a copy that C can read."""
        entry = self.lowered.outside[i]
        self._bound[i] = array
        self._copies.pop(i, None)
        shared = entry.written or self._meets_what_is_written(i, array)
        is_array = type(array) is np.ndarray
        plain = is_array and array.flags.c_contiguous and array.flags.aligned
        if plain and (not shared or (entry.written and array.flags.writeable)):
            self._table[i] = address_of(array)
        else:
            copy = np.array(array, entry.dtype, order="C")
            self._copies[i] = (copy, entry.written)
            self._table[i] = address_of(copy)
        if entry.written:
            self._separate(i, array)

    def _separate(self, i: int, array: Any) -> None:
        """Let what is only read be copied where it shows an array that is written."""
        for j, entry in enumerate(self.lowered.outside):
            other = self._bound[j]
            read = entry.kind in ("place", "constant") and not entry.written
            apart = j == i or j in self._copies or other is None
            if read and not apart and np.may_share_memory(array, other):
                self.bind(j, other)

    def _meets_what_is_written(self, i: int, array: Any) -> bool:
        """Return whether an array shares memory with what the step changes."""
        if not isinstance(array, np.ndarray):
            return False
        return any(
            entry.written
            and j != i
            and isinstance(other, np.ndarray)
            and np.may_share_memory(array, other)
            for j, (entry, other) in enumerate(
                zip(self.lowered.outside, self._bound, strict=True)
            )
        )

    def copy_in(self) -> None:
        """Bring copies up to date, before C reads them."""
        for i, (copy, _) in self._copies.items():
            np.copyto(copy, self._bound[i])

    def copy_out(self) -> None:
        """Write what C wrote to copies to the arrays themselves."""
        for i, (copy, written) in self._copies.items():
            if written:
                np.copyto(self._bound[i], copy)

    def view(self, node: Any) -> np.ndarray:
        """Return what C computes a node into, as an array."""
        offset, access = self.lowered.views[node]
        size = access.dtype.itemsize
        found: np.ndarray = np.ndarray(
            access.shape,
            access.dtype,
            self._arena,
            offset + access.offset * size,
            tuple(size * stride for stride in access.strides),
        )
        return found

    # --- what Python computes ---

    def value(self, x: Any) -> Callable[[], Any]:
        """Return a function that gives an operand as NumPy sees it."""
        if not isinstance(x, Node):
            if hasattr(x, "text"):
                where = self.lowered.scalars.index(x.text)
                return lambda: float(self._scalars[where])
            return lambda: x
        if x not in self._values:
            self._values[x] = self._value(x)
        return self._values[x]

    def _value(self, x: Any) -> Callable[[], Any]:
        where = self.lowered.elsewhere.get(x)
        if where is not None:
            return lambda: self._current(where)
        if x in self.lowered.views:
            view = self.view(x)
            return lambda: view
        if x._op is None:
            return lambda: x._value
        assert is_view(x)  # noqa: S101 (all else that is read is stored)
        function, settings = x._op.function, settings_of(x)
        inner = self.value(inputs_of(x)[0])
        return lambda: function(inner(), **settings)

    def _current(self, i: int) -> Any:
        copy = self._copies.get(i)
        return self._bound[i] if copy is None else copy[0]

    def _python(self, call: Any) -> Callable[[], int]:
        node = call.node
        inputs = [self.value(x) for x in inputs_of(node)]
        settings = dict(settings_of(node))
        index = settings.get("index")
        live = isinstance(index, (Node, tuple))
        out = self.view(node) if node in self.lowered.views else None
        where = None if out is not None else self.value(node)
        body = node._op.body
        looks = self._check_finite and node._value.dtype.kind == "f"
        trapped = self.lowered.trapped and not call.update
        raises: Any = "raise" if trapped else "ignore"
        get = (
            [self.value(x) for x in index]
            if isinstance(index, tuple)
            else [self.value(index)]
        )

        def run() -> int:
            try:
                if live:
                    parts = [g() for g in get]
                    settings["index"] = (
                        tuple(parts) if isinstance(index, tuple) else parts[0]
                    )
                with np.errstate(all="ignore", invalid=raises):
                    found = body(*[data_of(x()) for x in inputs], **settings)
                if looks and not np.isfinite(found).all():
                    Finite(node)(found)
                target: Any = out if where is None else where()
                np.copyto(target, found, casting="unsafe")
            except BaseException as error:  # noqa: BLE001 (goes on above the C frame)
                self._error = error
                if isinstance(error, FloatingPointError):
                    return 1
                self._error = self._explained(error, node)
                return 1
            return 0

        return run

    @staticmethod
    def _explained(error: BaseException, node: Any) -> BaseException:
        if not isinstance(error, Exception) or isinstance(error, TinygradError):
            return error
        return explained(error, node)

    def failed(self, status: int) -> None:
        """Raise what a status other than 0 stands for."""
        if status == -1:
            raise FloatingPointError
        if status == -2:
            error, self._error = self._error, None
            assert error is not None  # noqa: S101 (the callback left it)
            raise error
        Finite(self.program.nodes[status - 1])(np.nan)


def _may_repeat(program: Program, trace: Trace, lowered: Lowered) -> bool:
    """Whether nothing but numbers changes from one step to the next."""
    places = program.places.values()
    return (
        not program.checks
        and not lowered.calls
        and not any(isinstance(place, Gradient) for place in places)
        and all(trace.spent.values())
        and not any(isinstance(x, Scalar) for x in program.results)
    )


class _Referee:
    """Runs the same step as NumPy source, made when it is first needed."""

    def __init__(self, program: Program, trace: Trace, title: str) -> None:
        self._lowered = lower_numpy(program, trace, check_finite=False, trap=True)
        self._lowered.lines = {}
        self._title = title
        self._namespace: dict[str, Any] = {}
        self._context = Context()
        self._context.run(np.seterr, all="ignore")

    def __call__(self, *arrays: Any) -> Any:
        """Run the step."""
        if not self._namespace:
            self._namespace, _ = executed(self._lowered, f"{self._title} (numpy)")
        return self._context.run(self._namespace["step"], *arrays)

    def after(self, code: Any, instruction: int, order: int) -> None:
        """Leave behind what the step leaves."""
        self._namespace["after"](code, instruction, order)


def _aligned(size: int) -> np.ndarray:
    """Return memory that begins at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + max(size, 1)]
