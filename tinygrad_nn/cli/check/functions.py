"""A function and its gradient, on the way to a task."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, final

import numpy as np

from tinygrad_nn.cli.check.pairs import (
    Pair,
    names_within,
    parameters,
    result_names,
    returned,
)
from tinygrad_nn.cli.check.results import bare_for, in_order, whose
from tinygrad_nn.cli.check.values import (
    DRAWN,
    Place,
    Point,
    Task,
    UnclearError,
    at,
    call,
    code_of,
    elementwise,
    floating,
    installed,
    listed,
    places_of,
    shown,
    taken,
    variables_of,
    which_number,
)
from tinygrad_nn.op import data_of

__all__ = ["FunctionPair"]

_ARRIVING = re.compile(
    r"g|ct|cotangent|upstream\w*|delta|d[A-Z]\w{0,4}|grad|grads|g_out|grad_\w+|"
    r"\w+_grad|d_?(out|output|outputs|y|z|a|x|h|l|loss|next\w*|values|upstream)"
)
_SAVED = ("cache", "caches", "ctx", "saved", "memory", "context")
_CONSTANT = re.compile(r"(?i)x|y|t|data|inputs?|labels?|targets?|\w*_true")


def _starts(name: str) -> tuple[str, ...]:
    """Names that the value of a parameter goes by, where a search starts from it."""
    ends = tuple(f"{name}{end}" for end in ("0", "_0", "_init", "_start"))
    return (*ends, f"initial_{name}", f"init_{name}", f"test_{name}")


@final
class FunctionPair:
    """A function and its gradient, on the way to a task."""

    def __init__(
        self,
        pair: Pair,
        name: str,
        first: Callable[..., Any],
        functions: Mapping[str, Any],
        values: dict[str, Any],
        seed: int,
    ) -> None:
        self.pair, self.name, self.first = pair, name, first
        self.gradient = first if pair.kind == "both" else pair.gradient
        self.values = values
        self.takes = parameters(first) or []
        self.notes: list[str] = []
        self.read = variables_of(first, values)
        self.held: tuple[str, ...] = ()
        self._drawn(seed)
        self.results = self._result(values)
        self.shape = np.shape(self._main(self.results))
        self.arrives: str | None = None
        self.by_position: dict[str, str] = {}
        self.cost: tuple[str, Callable[..., Any]] | None = None
        self.first_result: set[str] = set()
        self.slope = False
        self._functions = functions
        if pair.kind == "function":
            self._resolve()

    def tasks(self) -> list[Task]:
        """Say what is judged, and how it is called; two tasks for a slope.

        Raises
        ------
        UnclearError
            Where it is not clear whose gradients are given.
        """
        task = self._task()
        if not self.slope:
            return [task]
        slope = task.formula
        assert slope is not None  # noqa: S101 (for mypy: there is one if there is a slope)

        def of_operand(g: Any, x: Any) -> Any:
            return g * slope(x)[0]

        def of_result(g: Any, x: Any) -> Any:
            return g * slope(np.asarray(data_of(task.f(x))))[0]

        read = "read as the derivative of each element"
        takes = parameters(self.gradient)[0].name  # type: ignore[arg-type,index]
        other = f"{task.called}; {read}, taken of the result {takes} = {self.name}(…)"
        first = task._replace(
            called=f"{task.called}; {read}", formula=None, vjp=of_operand
        )
        second = first._replace(
            called=other, vjp=of_result, of_result=takes != task.names[0]
        )
        return [first, second]

    def _task(self) -> Task:
        if self.gradient is None:
            raise UnclearError("there is no gradient to judge")
        given = self._gradients(self.values, None)
        places, lacking = self._active(given)
        value = np.asarray(data_of(self._value(self.values)))
        vjp = None
        formula: Callable[..., Any] | None = None
        if self.arrives is not None:

            def vjp(g: Any, *point: Any) -> tuple[Any, ...]:
                return self._picked(places, point, g)

        elif value.size == 1:

            def formula(*point: Any) -> tuple[Any, ...]:
                return self._picked(places, point, None)

        else:
            self._refuse_many(places, value)
            self.slope = True

            def formula(*point: Any) -> tuple[Any, ...]:
                return self._picked(places, point, None)

        def f(*point: Any) -> Any:
            return self._value(at(self.values, places, point))

        return Task(
            self._called(places),
            f,
            tuple(np.asarray(taken(self.values, place)) for place in places),
            tuple(place.name for place in places),
            formula,
            vjp,
            (code_of(self.first), code_of(self.gradient)),
            lacking,
            backward=self.gradient,
        )

    # --- calling ---

    def _drawn(self, seed: int) -> None:
        """Draw an array for a function of one, which any array will do for."""
        lacking = [
            p.name
            for p in self.takes
            if p.default is p.empty and p.name not in self.values
        ]
        if not self.takes and not self.read:
            raise UnclearError(f"{self.name} takes no arrays by name")
        for name in lacking[:]:
            start = next((s for s in _starts(name) if s in self.values), None)
            if start is not None:
                self.values[name] = self.values[start]
                self.notes.append(f"{name} = {start}")
                lacking.remove(name)
        if not lacking:
            return
        needed = [p for p in self.takes if p.default is p.empty]
        runs: list[tuple[bool, int, np.ndarray]] = []
        for shape in (DRAWN, DRAWN[:1]) if len(needed) == 1 else ():
            x = np.random.default_rng([seed, 7]).standard_normal(shape)
            # Where it does not run, the user is to say what it takes.
            with suppress(Exception):
                result = self._result({**self.values, lacking[0]: x})
                plain = np.shape(data_of(self._main(result))) in ((), shape)
                runs.append((not plain, len(runs), x))
        if runs:
            self.values[lacking[0]] = min(runs)[2]
            self.notes.append("at an array drawn here")
            return
        every = ", ".join(f"'{p.name}': …" for p in needed)
        raise UnclearError(
            f"no value for {listed(lacking)} of {self.name}: set it in the file, "
            f"{lacking[0]} = …, or all of them, example = {{{every}}}"
        )

    def _result(self, values: Mapping[str, Any]) -> Any:
        return self._called_with(self.first, values)

    def _called_with(
        self, function: Callable[..., Any], known: Mapping[str, Any]
    ) -> Any:
        """Call a function; the variables of the file that are judged are set, too."""
        # Dictionaries hold what a function keeps as well, like a running mean.
        given = {name: dict(x) if type(x) is dict else x for name, x in known.items()}
        with installed(function, {name: given[name] for name in self.held}):
            return call(function, parameters(function) or [], given)

    def _main(self, result: Any) -> Any:
        """Return the function's value: the first of its results, the rest is saved."""
        if self.pair.kind == "both":
            return result[self.pair.place]
        if isinstance(result, (tuple, list)):
            result = result[0] if result else None
        if result is None or isinstance(result, Mapping):
            raise UnclearError(
                f"{self.name} returns {type(result).__name__}: expected an array or a "
                "number, or that first and then what is saved"
            )
        return result

    def _named(self, values: Mapping[str, Any], result: Any) -> dict[str, Any]:
        """Results of the forward pass under their names."""
        named: dict[str, Any] = {}
        names = returned(self.first)
        first = result
        if isinstance(result, (tuple, list)):
            if len(names) == len(result):
                named |= dict(zip(names, result, strict=True))
            for part, within in zip(result, names_within(self.first), strict=False):
                if within and isinstance(part, tuple):
                    named |= dict(zip(within, part, strict=True))
            saved = result[1] if len(result) == 2 else tuple(result[1:])
            named |= dict.fromkeys(_SAVED, saved)
            first = result[0]
        else:
            named |= dict.fromkeys(names[:1], result)
        named |= dict.fromkeys(self.first_result, first)
        for own, other in self.by_position.items():
            named[own] = values[other]
        return named

    def _value(self, values: Mapping[str, Any]) -> Any:
        result = self._result(values)
        if self.cost is None:
            return self._main(result)
        known = {**values, **self._named(values, result)}
        return self._called_with(self.cost[1], known)

    def _gradients(self, values: Mapping[str, Any], g: Any) -> Any:
        result = self._result(values)
        if self.pair.kind == "both":
            return self._of_both(result)
        known = {**values, **self._named(values, result)}
        if self.arrives is not None:
            known[self.arrives] = np.ones(self.shape) if g is None else g
        assert self.gradient is not None  # noqa: S101 (for mypy: see task)
        return self._called_with(self.gradient, known)

    def _of_both(self, result: Sequence[Any]) -> Any:
        """Take the gradients out of the results, under their names where they tell."""
        names = result_names(self.first)
        known = [*(p.name for p in self.takes), *self.read]
        which = self.pair.gradients
        named = {str(names[i]): result[i] for i in which}
        one = result[which[0]]
        of_whom = [bare_for(name, known) for name in named]
        if len(which) == 1 and (
            isinstance(one, (Mapping, tuple, list)) or of_whom[0] not in known
        ):
            return one
        return named

    def _picked(self, places: Sequence[Place], point: Point, g: Any) -> tuple[Any, ...]:
        given = self._gradients(at(self.values, places, point), g)
        return in_order(given, places, self.gradient)

    # --- what is what ---

    def _resolve(self) -> None:
        """Find a value for everything that the gradient takes."""
        takes = parameters(self.gradient) if self.gradient is not None else None
        if not takes:
            raise UnclearError(f"{self.pair.name} takes no arrays by name")
        own = {p.name for p in self.takes}
        given = set(self._named(self.values, self.results))
        needed = [p.name for p in takes if p.default is p.empty]
        for name in needed:
            if _ARRIVING.fullmatch(name) and name not in own | given:
                self.arrives = name
                break
        scalar = np.size(data_of(self._main(self.results))) == 1
        if self.arrives is None and not scalar and not self._of_elements(needed):
            self._find_cost(given)
        if self.cost is not None:
            own |= {p.name for p in parameters(self.cost[1]) or ()}
            given |= self.first_result
        known = own & set(self.values) | given | {self.arrives}
        lacking = [name for name in needed if name not in known]
        # A variable of the file will do where it cannot be a result left from before.
        lacking = [
            name
            for name in lacking
            if name not in self.values
            or (floating(self.values[name]) and not _CONSTANT.fullmatch(name))
        ]
        if lacking:
            self._match_positions(needed, lacking)

    def _of_elements(self, needed: Sequence[str]) -> bool:
        """Whether it may be the derivative of each element: of one array, as f is."""
        places = list(places_of([p.name for p in self.takes], self.values))
        if len(places) != 1 or len(needed) != 1:
            return False
        return elementwise(
            lambda x: self._value(at(self.values, places, (x,))),
            np.asarray(taken(self.values, places[0]), np.float64),
        )

    def _find_cost(self, given: set[str]) -> None:
        """Find the function that makes a number of what the forward pass returns."""
        suffix = "_with_" + self.pair.name.partition("_with_")[2]
        costs = [
            (name, function)
            for name, function in self._functions.items()
            if re.search(r"(?i)(^|_)(cost|loss)", name)
            and not re.search(r"(?i)grad|back|deriv|prime|plot", name)
            and function is not self.first
            and not inspect.isclass(function)
        ]
        costs.sort(key=lambda item: not item[0].endswith(suffix))
        for name, function in costs:
            takes = parameters(function) or []
            lacking = {
                p.name
                for p in takes
                if p.default is p.empty and p.name not in {*self.values, *given}
            }
            if not takes or lacking - {takes[0].name}:
                continue
            self.cost = (name, function)
            named = {p.name for p in takes}
            self.first_result = (
                {takes[0].name} if lacking or not given & named else set()
            )
            with suppress(Exception):
                if np.size(data_of(self._value(self.values))) == 1:
                    return
            self.cost, self.first_result = None, set()

    def _match_positions(self, needed: list[str], lacking: Sequence[str]) -> None:
        """Let a gradient with other names take what the function takes, in order."""
        needed = [name for name in needed if name != self.arrives]
        own = [p.name for p in self.takes if p.name in self.values]
        required = [p.name for p in self.takes if p.default is p.empty]
        for others in (required, own):
            if len(needed) == len(others):
                self.by_position = dict(zip(needed, others, strict=True))
                return
        raise UnclearError(
            f"{self.pair.name} takes {listed(lacking)}, which is neither taken nor "
            f"returned by {self.name}, nor a variable of the file"
        )

    def _active(self, given: Any) -> tuple[list[Place], tuple[str, ...]]:
        """Decide whose gradients the results are."""
        names = [p.name for p in self.takes]
        if self.cost is not None:
            names += [p.name for p in parameters(self.cost[1]) or ()]
        places = list(places_of(names, self.values))
        read = dict.fromkeys(self.read)
        if self.cost is not None:
            read |= dict.fromkeys(variables_of(self.cost[1], self.values))
        more = list(places_of([n for n in read if n not in names], self.values))
        if isinstance(given, Mapping):
            known = [place.name for place in (*places, *more)]
            wanted = {bare_for(str(key), known) for key in given}
            holders = {place.holder for place in more if place.name in wanted}
            places += [place for place in more if place.holder in holders]
        found = self._whose(given, places, more)
        # Variables of the file whose gradients are given are set for every call.
        self.held = tuple({p.holder for p in found[0]} & {p.holder for p in more})
        return found

    def _whose(
        self, given: Any, places: list[Place], more: Sequence[Place]
    ) -> tuple[list[Place], tuple[str, ...]]:
        """Say whose gradients are given: of parameters, or of variables as well."""
        gradient, name = self.gradient, self.pair.name
        try:
            return whose(given, places, self.values, gradient, name)
        except UnclearError as reason:
            every = [*places, *(place for place in more if place not in places)]
            try:
                return whose(given, every, self.values, gradient, name)
            except UnclearError:
                raise reason from None

    def _refuse_many(self, places: Sequence[Place], value: np.ndarray) -> None:
        """Refuse an array whose elements have no derivatives of their own."""

        def f(x: Any) -> Any:
            return self._value(at(self.values, places, (x,)))

        if len(places) == 1:
            x = np.asarray(taken(self.values, places[0]), np.float64)
            if elementwise(f, x):
                return
        raise UnclearError(which_number(self.name, value.shape))

    def _called(self, places: Sequence[Place]) -> str:
        held = ", ".join(
            shown(place.name, taken(self.values, place)) for place in places
        )
        first = f"{self.name}({', '.join(p.name for p in self.takes)})"
        if self.cost is not None:
            rest = [p.name for p in parameters(self.cost[1]) or ()]
            first = f"{self.cost[0]}({', '.join(rest)}) of {first}"
        if self.pair.kind == "both":
            text = first
        else:
            takes = ", ".join(p.name for p in parameters(self.gradient) or ())  # type: ignore[arg-type]
            name = getattr(self.gradient, "__name__", "gradient")
            text = f"{name}({takes}) against {first}"
        notes = f"; {'; '.join(self.notes)}" if self.notes else ""
        return f"{text}, by {held}{notes}"
