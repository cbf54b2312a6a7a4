"""Backends by name: each makes a runner of a program."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np

from tinygrad_nn.compiler.execute import executed, without_copies
from tinygrad_nn.compiler.numpy_source import lower
from tinygrad_nn.compiler.resident import Resident
from tinygrad_nn.compiler.trace import Trace
from tinygrad_nn.errors import CompileError
from tinygrad_nn.rewriting.program import Program, let_go

__all__ = ["Memory", "backend_named"]


class Memory(NamedTuple):
    """Bytes of intermediates: planned, and if every one had memory of its own."""

    planned: int
    without_reuse: int


class NumpyRunner:
    """Runs a program as NumPy source."""

    traps = True  # before a backward that follows updates, too: these come at the end

    def __init__(
        self, program: Program, trace: Trace, title: str, *, check_finite: bool
    ) -> None:
        trap = trace.selects and not trace.careful
        lowered = lower(program, trace, check_finite=check_finite, trap=trap)
        self.source = lowered.source
        self.lines = lowered.lines
        self.memory = Memory(lowered.buffers.planned, lowered.buffers.naive)
        self._namespace, self.filename = executed(lowered, title)
        finalize(self, linecache.cache.pop, self.filename, None)
        self._step = self._namespace["step"]
        self.after = self._namespace["after"]
        # NumPy keeps its error state in the context: entering one that is prepared
        # costs a twentieth of `errstate`.
        self._within: Callable[..., Any] = _errors()
        self.run = partial(self._within, self._step)
        """The step, as it is called most quickly."""
        self._joins = bool(lowered.buffers.joins)
        let_go(lowered.nodes)

    def __call__(self, *arrays: Any) -> Any:
        """Run the step; nothing of ours warns."""
        return self.run(*arrays)

    def resident(self) -> tuple[Callable[..., Any], Resident] | None:
        """Return the step that keeps its parameters, and where they then are."""
        if not self._joins:
            return None
        found = without_copies(self.source, self._namespace, self.filename)
        if found is None:
            return None
        (step, *update), staying = found
        names = self._namespace
        places = [(names[tensor], names[view]) for tensor, view in staying.tensors]
        resident = Resident(places, self.after)
        if not update:
            return partial(self._within, step), resident
        within, trapped, last = self._within, _errors(invalid="raise"), update[0]
        return lambda *arrays: within(last, *trapped(step, *arrays)), resident


def _errors(**settings: Any) -> Callable[..., Any]:
    """Return what runs a function where NumPy warns of nothing, but for the settings.

    NumPy keeps its error state in the context: entering one that is prepared costs a
    twentieth of `errstate`.
    """
    context = Context()
    context.run(np.seterr, all="ignore")
    context.run(np.seterr, **settings)
    return context.run


_BACKENDS: dict[str, Callable[..., Any]] = {"numpy": NumpyRunner}


def backend_named(name: str) -> Callable[..., Any]:
    """Return what makes a runner of a program."""
    if name == "jax":  # an optional package, imported when it is asked for
        from tinygrad_nn.compiler.jax.runner import jax_runner  # noqa: PLC0415

        return jax_runner()
    if name == "c":  # nobody else pays for its import
        from tinygrad_nn.compiler.c import CRunner  # noqa: PLC0415

        return CRunner
    if name not in _BACKENDS:
        known = ", ".join(map(repr, [*_BACKENDS, "c", "jax"]))
        raise CompileError(f"compile: backend is one of {known}; got {name!r}")
    return _BACKENDS[name]
