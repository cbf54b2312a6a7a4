"""How a batch becomes a step: compiled where that is right and pays, else eagerly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, Protocol, final

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.compiler import CompiledStep
from tinygrad_nn.compiler.structure import mapped
from tinygrad_nn.compiler.trace import Trace
from tinygrad_nn.errors import (
    CompileError,
    DivergedError,
    MissingExtraError,
    ShapeError,
    TinygradError,
)
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.optim import Optimizer, clip_by_norm
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.training.interrupt import WholeSteps
from tinygrad_nn.training.surroundings import Surroundings

__all__ = ["Engine", "Loss", "Steps", "outcome"]

Loss = Callable[[Any, Any], Tensor]

ENOUGH = 150
"""Steps in which a compiled program earns what it costs to make, with room to spare."""

MOST_PROGRAMS = 8
"""Programs that a backend asked for by name is given for one model."""

TOLERANCE = 1e-3
"""A backend's loss differs by rounding alone, in float32 too."""

EAGER = "eager"


class Steps(Protocol):
    """What `fit` asks of an optimiser."""

    parameters: list[Tensor]

    def step(self) -> None:
        """Change the parameters by their gradients."""


@final
class Engine:
    """Makes the steps of `fit`, and knows which engine made them.

    With ``compile=True`` a compiled step does what the eager one does, to the bit, so
    it may take over, or not, at any time. It does so where enough steps of one kind
    were made, or lie ahead, and only if one step, traced and made eagerly, has the
    same loss. With the name of a backend, steps are compiled from the first on, with
    all that the compiler knows; which batches are is then decided by what they are and
    not by when they come, so that a resumed training does the same as a whole one (as
    long as `MOST_PROGRAMS` are enough, or its batches come in the same order).

    Parameters
    ----------
    model, loss, optimizer, max_norm, compile
        As for `fit`.
    keeps
        Whether predictions are asked for.
    ahead
        Number of steps to come; 0 where it is not known.
    steps
        Told when a step begins and when it is whole.

    Attributes
    ----------
    name : str
        ``"eager"``, or the backend that made steps.
    """

    def __init__(
        self,
        model: Any,
        loss: Loss,
        optimizer: Any,
        steps: WholeSteps,
        *,
        compile: bool | str,
        max_norm: float | None,
        keeps: bool,
        ahead: int,
    ) -> None:
        self.name = EAGER
        self._reason: str | None = None
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._steps = steps
        self._max_norm, self._keeps, self._ahead = max_norm, keeps, ahead
        self._exact = compile is True
        self._backend = "numpy" if compile is True else compile
        self._at = (0, 0)
        self._traced_cost: Any = None
        self._tries = False
        self._program = self._new_program()
        self._ready: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._seen: Counter[Hashable] = Counter()
        self._made = 0
        self._around: Surroundings | None = None

    def __call__(self, X: Any, y: Any, epoch: int, number: int) -> tuple[float, Any]:
        """Make a step on a batch; return its loss, and its prediction if asked for.

        Raises
        ------
        DivergedError
            When the loss is not finite; nothing has changed.
        ShapeError
            When it is not one number.
        """
        self._at = (epoch, number)
        if self._program is None:
            return self._eagerly(X, y)
        key = (_signature(X), _signature(y))
        if key in self._ready:
            return self._compiled(key, X, y)
        self._seen[key] += 1
        prepared = self._is_due(key) and self._prepared(key, X, y)
        if prepared and not self._exact:
            return self._compiled(key, X, y)
        traced = self._traced_cost
        value, prediction = self._eagerly(X, y)
        if prepared and not _is_same(traced, value):
            self._refuse(key, "its loss differs where the inputs are Tensors")
        return value, prediction

    @property
    def reason(self) -> str | None:
        """Say why some or all steps were made eagerly."""
        if self._reason is None and self.name == EAGER:
            return f"{ENOUGH} steps of one kind are worth it, and there were fewer"
        return self._reason

    def look_around(self) -> None:
        """Begin anew if something changed that the programs were made of."""
        if self._around is None or self._around.changed(by_others=True) is None:
            return
        self._program = self._new_program()
        self._ready.clear()
        self._refused.clear()
        self._seen.clear()
        self._around, self._ahead = None, 0

    # --- what a step is ---

    def _step(self, X: Any, y: Any) -> Any:
        """Forward, backward, update: run eagerly, or once by the compiler's trace."""
        trace = recording.current().trace
        prediction = outcome(self._model, X)
        cost = self._loss(prediction, y)
        if cost.size != 1:
            raise ShapeError(
                f"fit: expected a loss of one number; got loss{cost.shape}. Take its "
                "mean, over the examples"
            )
        if trace is None:
            self._check(cost.item())
        else:
            self._traced_cost = data_of(cost)
            trace.check(cost, self._check)
        cost.backward()
        if trace is None:
            self._steps.begin()
        if self._max_norm is not None:
            clip_by_norm(self._optimizer.parameters, self._max_norm)
        self._optimizer.step()
        if trace is None:
            self._steps.end()
        return (cost, prediction) if self._keeps else cost

    def _check(self, value: Any) -> None:
        """Refuse a loss that is not finite, before anything is changed by it."""
        value = value.item() if isinstance(value, (np.ndarray, np.generic)) else value
        if self._tries:
            raise _Tried(value)
        # Not math.isfinite: a loss that is no real number is the loss's own error.
        if not value - value == 0:  # noqa: SIM201 (nan is unequal, too)
            epoch, number = self._at
            raise DivergedError(
                f"fit: expected a finite loss; got {value} in epoch {epoch}, batch "
                f"{number}. Use a smaller learning rate, standardise the data, or clip "
                "the gradients (max_norm=)"
            )

    def _eagerly(self, X: Any, y: Any) -> tuple[float, Any]:
        return _read(self._step(X, y))

    def _compiled(self, key: Hashable, X: Any, y: Any) -> tuple[float, Any]:
        program: Any = self._program
        self._steps.begin()
        try:
            found = program(X, y)
        except CompileError as error:  # it was to be traced anew: nothing has changed
            self._refuse(key, _told(error))
            return self._eagerly(X, y)
        self._steps.end()
        self.name = str(self._backend)
        return _read(found)

    # --- which steps are compiled ---

    def _new_program(self) -> CompiledStep | None:
        obstacle = self._obstacle()
        if obstacle is not None:
            self._reason = obstacle
            return None
        return CompiledStep(
            self._step, str(self._backend), exact=self._exact, twice=True
        )

    def _obstacle(self) -> str | None:
        """Say what is known to stand in the way before anything is traced."""
        mode = recording.current()
        kind = type(self._optimizer)
        if self._backend is False:
            return "compile=False"
        if self._exact and 0 < self._ahead <= ENOUGH:
            return f"{ENOUGH} steps are worth it, and there are {self._ahead}"
        if not mode.records or mode.checksums or mode.trace is not None:
            return "fit was called inside of no_grad, debug or another trace"
        if not isinstance(self._optimizer, Optimizer) or not _is_ours(
            kind.step,
            kind._update,  # noqa: SLF001 (what a compiled step replaces)
        ):
            return f"{kind.__name__} makes its steps in a way of its own"
        return None

    def _is_due(self, key: Hashable) -> bool:
        if None in key or key in self._refused:  # type: ignore[operator]
            return False
        if any(
            parameter._grad is not None and not parameter._spent  # noqa: SLF001
            for parameter in self._optimizer.parameters
        ):
            return False  # the first step adds to gradients that were there before
        if not self._exact:
            if self._made < MOST_PROGRAMS:
                return True
            self._reason = f"more than {MOST_PROGRAMS} programs would be needed"
            return False
        # The first step of its kind is eager: what is made when first used is there
        # then, and the user's mistakes are told as ever.
        ahead = self._ahead if len(self._seen) == 1 else 0
        return self._seen[key] > (1 if ahead > ENOUGH else ENOUGH)

    def _prepared(self, key: Hashable, X: Any, y: Any) -> bool:
        """Make a program for such batches, unless the user's code does not allow it."""
        around = Surroundings(
            {"model": self._model, "loss": self._loss, "optimizer": self._optimizer}
        )
        self._made += 1
        try:
            with np.errstate(all="ignore"):
                reason = self._objection(X, y, around)
        except MissingExtraError:
            raise
        except Exception as error:  # noqa: BLE001 (eagerly it is the user's, or none)
            changed = around.changed()
            reason = _told(error) if changed is None else f"each step changes {changed}"
        finally:
            around.restore()
        if reason is not None:
            self._refuse(key, reason)
            return False
        self._ready.add(key)
        self._around = around
        return True

    def _objection(self, X: Any, y: Any, around: Surroundings) -> str | None:
        program: Any = self._program
        program.trace(X, y)
        cost, changed = self._traced_cost, around.changed()
        if changed is not None:
            return f"each step changes {changed}"
        if not self._agrees(X, y):
            return "something of a batch became a part of the program"
        self._traced_cost = cost
        return None

    def _agrees(self, X: Any, y: Any) -> bool:
        """Whether the program has the loss that Python has, of another batch.

        What a batch was, labels that were read as plain numbers for example, must not
        have become a part of the program. Nothing is updated.
        """
        X, y = mapped(lambda x: _moved(x, -1), X), mapped(lambda x: _moved(x, 1), y)
        trace = Trace()
        places = count()
        batch = mapped(lambda x: trace.argument(data_of(x), next(places), None), (X, y))
        try:
            with recording.traced(trace):
                self._step(*batch)
        finally:
            trace.restore()
        expected = np.asarray(self._traced_cost).item()
        states = [(rng, rng.bit_generator.state) for rng in trace.draws]
        self._tries = True
        try:
            program: Any = self._program
            program(X, y)
        except _Tried as tried:
            found = tried.value
        finally:
            self._tries = False
            for rng, state in states:
                rng.bit_generator.state = state
        if self._exact:
            return bool(_is_same(expected, found) or not np.isfinite(expected))
        return bool(np.isclose(found, expected, TOLERANCE, TOLERANCE, equal_nan=True))

    def _refuse(self, key: Hashable, reason: str) -> None:
        self._ready.discard(key)
        self._refused.add(key)
        self._reason = reason


@final
class _Tried(TinygradError):  # noqa: N818 (nothing is wrong: it ends a trial)
    """A program has come to the value of its loss, and shall not go on."""

    def __init__(self, value: float) -> None:
        super().__init__(value)
        self.value = value


def outcome(model: Any, X: Any) -> Any:
    """Return a model's prediction; a tuple of inputs is passed as several arguments."""
    return model(*X) if isinstance(X, tuple) else model(X)


def _is_ours(*functions: Any) -> bool:
    return all(
        function.__code__.co_filename in recording.OURS for function in functions
    )


def _read(found: Any) -> tuple[float, Any]:
    if found.__class__ is tuple:
        cost, prediction = found
        return cost.item(), prediction
    return found.item(), None


def _signature(x: Any) -> Hashable:
    """Return shapes and dtypes, None of what is not made of arrays of numbers."""
    if x.__class__ is np.ndarray:
        return (x.shape, x.dtype) if x.dtype.kind in "fiub" else None
    if isinstance(x, Node):
        return (Tensor, x._value.shape, x._value.dtype)  # noqa: SLF001
    if x.__class__ is dict:
        parts = [(key, _signature(item)) for key, item in x.items()]
        return None if any(part is None for _, part in parts) else tuple(parts)
    if isinstance(x, (tuple, list)) and x:
        items = tuple(map(_signature, x))
        return None if None in items else (type(x), items)
    return None


def _moved(x: Any, places: int) -> Any:
    """Return examples in another order."""
    rows = data_of(x)
    rows = np.roll(rows, places, axis=0) if np.ndim(rows) else rows
    return Tensor(rows) if isinstance(x, Node) else rows


def _is_same(traced: Any, value: float) -> bool:
    number = np.asarray(traced).item()
    return bool(number == value)


def _told(error: Exception) -> str:
    text = str(error)
    if isinstance(error, TinygradError):
        return text.removeprefix("compile: ").partition(". ")[0]
    return f"{type(error).__name__}: {text}"
