"""Calls a step in C: pointers that are fetched when an array changed, numbers, states.

The Python half of a step is generated as well, one line a thing: what must be looked at
in each call is looked at without a loop.
"""

from __future__ import annotations

import ctypes
import linecache
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any
from weakref import finalize

import numpy as np

from tinygrad_nn.compiler.backends import Memory
from tinygrad_nn.compiler.c.calls import Faults, called_back
from tinygrad_nn.compiler.c.curves import quotients
from tinygrad_nn.compiler.c.host import HostSource
from tinygrad_nn.compiler.c.pointers import Pointers, address_of
from tinygrad_nn.compiler.c.source import lower
from tinygrad_nn.compiler.c.tables import Lowered
from tinygrad_nn.compiler.execute import executed, run
from tinygrad_nn.compiler.numpy_source import lower as lower_numpy
from tinygrad_nn.compiler.toolchain import build
from tinygrad_nn.compiler.trace import Trace
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.rewriting.program import Gradient, Program
from tinygrad_nn.scalars import Scalar

__all__ = ["CRunner"]


class CRunner:
    """Runs a program as one C function."""

    def __init__(
        self, program: Program, trace: Trace, title: str, *, check_finite: bool
    ) -> None:
        trap = trace.selects and not trace.careful and program.first_update is not None
        program = quotients(program)
        self.program = program
        lowered = lower(program, check_finite=check_finite, trap=trap)
        self.source = lowered.text
        self.memory = Memory(lowered.arena, lowered.naive)
        self.library = build(lowered.text)
        self.pointers = Pointers(lowered)
        self.faults = Faults(program.nodes)
        self.draws = Draws(trace.draws if trap else [])
        self._kept = self._callbacks(lowered, check_finite=check_finite)
        # What is generated holds all this, and none of this holds what is generated:
        # a step that goes out of use is freed without the garbage collector.
        host = HostSource(program, trace, lowered, self)
        namespace, filename = run(host.source(), host.namespace, f"{title} (host)")
        finalize(self, linecache.cache.pop, filename, None)
        self._call, self._after, self._latest, self._advance = (
            namespace.pop(name) for name in ("call", "after", "latest", "advance")
        )
        self.after = self._after
        self._loop = self.library.repeat
        self._loop.argtypes = [ctypes.c_void_p, *[ctypes.c_long] * 2, ctypes.c_void_p]
        self._loop.restype = ctypes.c_long
        self._optimizers = list(trace.steps)
        self._may_repeat = _may_repeat(program, trace, lowered)
        self._referee = _Referee(program, trace, title) if trap else None

    def _callbacks(self, lowered: Lowered, *, check_finite: bool) -> list[Any]:
        """Let C call Python where it has no form; keep what it calls."""
        kept = []
        for i, entry in enumerate(lowered.outside):
            if entry.kind == "call":
                body = called_back(
                    entry.what,
                    self.pointers,
                    self.faults,
                    looks=check_finite,
                    traps=lowered.trapped,
                )
                function = ctypes.CFUNCTYPE(ctypes.c_int)(body)
                kept.append(function)
                # Not by `cast`, which leaves the function and what it knows in a cycle.
                address = ctypes.c_void_p.from_buffer(function).value
                self.pointers.table[i] = address
        return kept

    def __call__(self, *arrays: Any) -> Any:
        """Run the step."""
        try:
            return self._call(*arrays)
        except FloatingPointError as error:
            if isinstance(error, TinygradError) or self._referee is None:
                raise
        # A comparison with nan raises the processor's flag as well, so NumPy looks at
        # it again: either it finds an invalid operation, or its step is the step.
        self.draws.put_back()
        result = self._referee(*arrays)
        self.after = self._once
        return result

    @property
    def repeat(self) -> Callable[..., Any] | None:
        """Return what runs a step many times in one call; None if nothing does."""
        return self._repeated if self._may_repeat else None

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
        pointers = self.pointers
        rows = np.zeros((n, pointers.scalars.size))
        kept = [(o, o.steps, list(o._states)) for o in self._optimizers]
        for row in rows[: n - 1]:
            self._advance(row)
        pointers.table[1] = address_of(rows)
        if pointers.copies:
            pointers.copy_in()
        status = ctypes.c_int()
        done = self._loop(pointers.table, n - 1, rows.shape[1], ctypes.byref(status))
        pointers.table[1] = address_of(pointers.scalars)
        if pointers.copies:
            pointers.copy_out()
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
            self.faults.failed(status.value)
        return self._latest()

    def _once(self, code: Any, instruction: int, order: int) -> None:
        """Leave behind what NumPy's step leaves; the next one is C's again."""
        self.after = self._after
        assert self._referee is not None  # noqa: S101 (it has just run)
        self._referee.after(code, instruction, order)


class Draws:
    """Generators that a step draws from, for one that may be run again."""

    def __init__(self, generators: Iterable[Any]) -> None:
        self._generators = list(generators)
        self._states: list[Any] = []

    def remember(self) -> None:
        """Note where they stand."""
        self._states = [rng.bit_generator.state for rng in self._generators]

    def put_back(self) -> None:
        """Let them stand where they stood."""
        for rng, state in zip(self._generators, self._states, strict=True):
            rng.bit_generator.state = state


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
            title = f"{self._title} (numpy)"
            self._namespace, filename = executed(self._lowered, title)
            finalize(self, linecache.cache.pop, filename, None)
        return self._context.run(self._namespace["step"], *arrays)

    def after(self, code: Any, instruction: int, order: int) -> None:
        """Leave behind what the step leaves."""
        self._namespace["after"](code, instruction, order)
