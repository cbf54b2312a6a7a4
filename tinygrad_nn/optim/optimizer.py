"""`Optimizer`: what all update rules share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.errors import CompileError, GradientError, ModelError
from tinygrad_nn.tensor import Parameter, Tensor

__all__ = ["Optimizer", "Rule", "Schedule", "State", "checked", "parameters_of"]

Schedule = Callable[[int], float]
"""Learning rate of a step, counted from 0."""

State = tuple[Any, ...]
"""What a rule remembers of one parameter: arrays of its shape, and counts."""

Rule = Callable[..., tuple[Any, State]]
"""``(parameter, gradient, state, *, lr, …) -> (parameter, state)``: pure, in ops."""


class Optimizer(ABC):
    """Changes parameters by their gradients: the one writer of their data.

    A concrete optimiser chooses a rule and says what state it starts from. The rule
    is a pure function in operators and ops, so it runs on arrays (here) and on Tensors.

    ``step()`` consumes gradients: ``.grad`` stays readable, and the next ``backward``
    replaces it, so a forgotten `zero_grad` is no bug. Several backwards before one
    step add up. A parameter that no gradient reached stays as it is.

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    lr
        Learning rate: a number, or a schedule ``step -> number`` (see `schedules`).
    rule
        The update rule.
    slots
        Names of what its state holds, for `state`.
    hyperparameters
        Further keyword arguments of the rule.

    Attributes
    ----------
    parameters : list of Tensor
    rule, slots, hyperparameters
        As given: a compiler traces them.
    steps : int
        Steps made so far.

    Raises
    ------
    ModelError
        For no parameters, a parameter given twice, something that cannot be trained,
        or a setting out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Schedule,
        rule: Rule,
        slots: Sequence[str],
        **hyperparameters: Any,
    ) -> None:
        if recording.current().trace is not None:
            raise CompileError(
                f"{type(self).__name__}: an optimiser is made once, outside of the "
                "step; got one inside of a compiled step, which would start anew each "
                "time. Make it before, or write W = W - lr * dW"
            )
        named = parameters_of(params, type(self).__name__)
        self.parameters = [parameter for _, parameter in named]
        self.rule = rule
        self.slots = tuple(slots)
        self.hyperparameters: Mapping[str, Any] = hyperparameters
        self.steps = 0
        self.lr = lr
        self._names = [name for name, _ in named]
        self._states = [self.fresh(parameter.data) for parameter in self.parameters]

    @abstractmethod
    def fresh(self, value: np.ndarray) -> State:
        """Return the state of a parameter before its first step."""

    @property
    def lr(self) -> float:
        """Learning rate of the next step; set it to a number or a schedule."""
        trace = recording.current().trace
        if trace is not None:
            return trace.rate(self)  # type: ignore[no-any-return]
        return self.rate(self.steps)

    @lr.setter
    def lr(self, value: float | Schedule) -> None:
        if recording.current().trace is not None:
            raise CompileError(
                f"{type(self).__name__}: lr is read anew in each step, and set outside "
                f"of a compiled one; got lr = {value!r} inside. Set it between the "
                "steps, or give the optimiser a schedule"
            )
        self._schedule = value if callable(value) else None
        if self._schedule is None:
            # A Python number, which leaves float32 as it is.
            self._lr = checked(type(self).__name__, "lr", value, 0.0)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if self._schedule is None:
            return self._lr
        return float(self._schedule(step))

    def step(self) -> None:
        """Change every parameter that has a new gradient.

        Raises
        ------
        GradientError
            If there is none: without a backward since the last step.
        """
        trace = recording.current().trace
        if trace is not None:
            self._record_step(trace)
            return
        lr = self.lr
        update = self._update
        code, instruction = recording.caller()
        order = recording.changed()
        moved = False
        for i, parameter in enumerate(self.parameters):
            gradient = parameter._grad
            if gradient is None or parameter._spent:
                continue
            update(i, parameter._value, gradient, lr)
            parameter._spent = True
            # Graphs that saved the value notice the change, and blame this line.
            parameter._form = None
            parameter._code = code
            parameter._lasti = instruction
            parameter._order = order
            moved = True
        if not moved:
            raise self._nothing_new()
        self.steps += 1

    def _record_step(self, trace: Any) -> None:
        """Tell a compiler what a step does: the rule, on nodes."""
        lr = trace.rate(self)
        moved = False
        with recording.no_grad(), recording.scope(type(self).__name__):
            for i, parameter in enumerate(self.parameters):
                gradient = trace.used_up(parameter)
                if gradient is None:
                    continue
                state = trace.state(self, i)
                new, state = self.rule(
                    parameter, gradient, state, lr=lr, **self.hyperparameters
                )
                trace.assign(parameter, new, in_place=True)
                trace.keep_state(self, i, state)
                moved = True
        if not moved:
            raise self._nothing_new()
        trace.count_step(self)

    def _update(self, i: int, value: Any, gradient: Any, lr: float) -> None:
        """Write the new value of parameter ``i`` in place."""
        new, state = self.rule(
            value, gradient, self._states[i], lr=lr, **self.hyperparameters
        )
        value[...] = new
        if value.ndim == 0:  # of which NumPy makes numbers, that nothing is written to
            state = tuple(
                np.asarray(part) if isinstance(part, np.generic) else part
                for part in state
            )
        self._states[i] = state

    def _nothing_new(self) -> GradientError:
        where = type(self).__name__
        if any(parameter._grad is not None for parameter in self.parameters):
            return GradientError(
                f"{where}: a step uses up the gradients; got a second step without a "
                "backward in between. Call loss.backward() before every step"
            )
        names = ", ".join(self._title(i) for i in range(min(len(self._names), 8)))
        more = ", …" if len(self._names) > 8 else ""
        return GradientError(
            f"{where}: a step needs gradients; got none for {names}{more}. Call "
            "loss.backward() first, on a loss that was computed from these"
        )

    def _title(self, i: int) -> str:
        name = self.parameters[i].name or self._names[i]
        return repr(name) if name else f"parameter {i}"

    def zero_grad(self) -> None:
        """Forget all gradients; never needed, does no harm."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def minimize(self, loss: Tensor) -> None:
        """Run ``loss.backward()``, then a step."""
        loss.backward()
        self.step()

    # --- state ---

    def state(self) -> dict[str, Any]:
        """Return copies of all that changes: steps, rate, and what the rule remembers.

        Keys are ``steps``, ``lr`` (unless a schedule gives it), and
        ``parameters.0.velocity`` and the like, by position.
        """
        state: dict[str, Any] = {"steps": self.steps}
        if self._schedule is None:
            state["lr"] = self._lr
        state.update(
            (key, np.array(value) if isinstance(value, np.ndarray) else value)
            for key, value in self._slots_by_key().items()
        )
        return state

    def _slots_by_key(self) -> dict[str, Any]:
        return {
            f"parameters.{i}.{slot}": value
            for i, state in enumerate(self._states)
            for slot, value in zip(self.slots, state, strict=True)
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` had returned: all of it is set, or nothing.

        A saved ``lr`` replaces a number, not a schedule.

        Raises
        ------
        ModelError
            If names are missing or unknown, or shapes differ; names them all.
        """
        wanted = self._slots_by_key()
        known = {*wanted, "steps", "lr"}
        needed = (*wanted, "steps")
        faults = [f"{key!r} is missing" for key in needed if key not in state]
        faults += [f"{key!r} is unknown" for key in state if key not in known]
        new = {}
        for key in wanted.keys() & state.keys():
            old, value = wanted[key], np.asarray(state[key])
            if value.shape != np.shape(old):
                faults.append(f"{key!r} has shape {value.shape}, not {np.shape(old)}")
            elif isinstance(old, np.ndarray):
                new[key] = np.array(value, old.dtype)
            else:
                new[key] = type(old)(value)
        if faults:
            raise ModelError(
                f"{type(self).__name__}: the state must fit the optimiser; got a state "
                f"where {'; '.join(sorted(faults))}. Build the optimiser as it was "
                "when saved"
            )
        self._states = [
            tuple(new[f"parameters.{i}.{slot}"] for slot in self.slots)
            for i in range(len(self.parameters))
        ]
        self.steps = int(state["steps"])
        if self._schedule is None and "lr" in state:
            self.lr = float(state["lr"])

    def __repr__(self) -> str:
        """Show the settings."""
        rate = f"{self._lr:g}" if self._schedule is None else repr(self._schedule)
        settings = [f"{name}={value!r}" for name, value in self.hyperparameters.items()]
        count = len(self.parameters)
        what = f"{count} parameter{'s' if count != 1 else ''}"
        return f"{type(self).__name__}({', '.join([what, f'lr={rate}', *settings])})"


def checked(
    where: str, name: str, value: Any, low: float, below: float = math.inf
) -> float:
    """Return a setting as a Python float, if ``low <= value < below``.

    >>> checked("SGD", "momentum", 1, 0.0, 1.0)
    Traceback (most recent call last):
    ...
    tinygrad_nn.errors.ModelError: SGD: expected 0 <= momentum < 1; got 1
    """
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number < below:
        upper = "" if below == math.inf else f" < {below:g}"
        law = f"{low:g} <= {name}{upper}"
        raise ModelError(f"{where}: expected {law}; got {value!r}")
    return number


def parameters_of(params: Any, where: str) -> list[tuple[str, Tensor]]:
    """Return parameters and their names ("" for none), from any way to give them.

    Raises
    ------
    ModelError
        As `Optimizer`.
    """
    if isinstance(params, Tensor):
        raise ModelError(
            f"{where}: expected a model or a list of Parameters; got one Tensor. "
            "Write [W]"
        )
    named: list[tuple[str, Any]]
    if hasattr(params, "named_parameters"):
        named = list(params.named_parameters())
    elif isinstance(params, Mapping):
        named = [(str(name), parameter) for name, parameter in params.items()]
    elif isinstance(params, Iterable):
        named = [(getattr(item, "name", None) or "", item) for item in params]
    else:
        raise ModelError(
            f"{where}: expected a model or a list of Parameters; got "
            f"{type(params).__name__}. Write model.parameters() or [W, b]"
        )
    if not named:
        raise ModelError(
            f"{where}: expected at least one parameter; got none. A model finds "
            "Parameters in attributes, lists, tuples and dicts"
        )
    places: dict[int, int] = {}
    for i, (name, parameter) in enumerate(named):
        title = f"parameter {i}" + (f" ({name!r})" if name else "")
        _refuse_untrainable(parameter, title, where)
        if id(parameter) in places:
            raise ModelError(
                f"{where}: expected every parameter once; got {title} again at place "
                f"{places[id(parameter)]}. Give it once: it is shared anyway"
            )
        places[id(parameter)] = i
    return named


def _refuse_untrainable(parameter: Any, title: str, where: str) -> None:
    if not isinstance(parameter, Tensor):
        got, advice = type(parameter).__name__, "Make it with tg.Parameter(array)"
    elif not parameter.is_leaf:
        got = f"a result of {parameter.op}"
        advice = "Give the leaves that it was computed from"
    elif not parameter.requires_grad and not isinstance(parameter, Parameter):
        got = "a Tensor that requires no gradient"
        advice = "Make it with tg.Parameter(array)"
    elif not parameter._value.flags.writeable:
        got, advice = "a read-only array", "Make it with tg.Parameter(array.copy())"
    else:
        return
    raise ModelError(f"{where}: {title} cannot be trained; got {got}. {advice}")
