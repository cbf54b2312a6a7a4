"""Calling a function to differentiate it: which arguments, and what came of it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import autodiff, graph, ops, recording
from tinygrad_nn.errors import GradientError, OpError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.structure import AS_GIVEN, AS_GRADIENT, How, Opened, opened

__all__ = [
    "Called",
    "Wanted",
    "call",
    "each",
    "refuse_uncallable",
    "select",
    "signed",
    "variable",
]

Function = Callable[..., Any]
Numbers = int | Sequence[int] | None
Names = str | Sequence[str] | None

_live: ContextVar[tuple[Tensor, ...]] = ContextVar("tinygrad_nn_variables", default=())
"""Variables of the transforms that are calling their function at the moment."""


def signed(title: str, f: Function) -> Callable[[Function], Function]:
    """Let a function that is made of ``f`` have its signature, for names in calls."""
    refuse_uncallable(title, f)
    return wraps(f, assigned=(), updated=())


def refuse_uncallable(title: str, f: Any) -> None:
    """Raise for what is no function, a loss that was computed already above all."""
    if not callable(f):
        advice = (
            ". Gradients of what was computed are tg.gradients(loss, [W])"
            if isinstance(f, Node)
            else ""
        )
        raise OpError(
            f"{title}: expected a function to call; got {type(f).__name__}{advice}"
        )


class Wanted(NamedTuple):
    """Arguments to differentiate: positions, and names of keyword arguments.

    ``given`` puts what was found for each of them together as it was asked for.
    """

    keys: list[int | str]
    given: Callable[[Sequence[Any]], Any]


def each(count: int) -> Wanted:
    """Ask for every positional argument."""
    return Wanted(list(range(count)), tuple)


def select(
    title: str,
    f: Function,
    args: Sequence[Any],
    options: Mapping[str, Any],
    argnums: Numbers,
    argnames: Names,
) -> Wanted:
    """Find the arguments that ``argnums`` or ``argnames`` mean in this call.

    A position may have been passed by its name, and a name by its position.

    Raises
    ------
    OpError
        For an argument that was not passed, or that is asked for twice.
    """
    if argnames is None:
        one = 0 if argnums is None else argnums
        try:
            numbers, single = [operator.index(one)], True  # type: ignore[arg-type]
        except TypeError:
            numbers, single = _positions(title, one), False
        keys = [_by_number(f, args, options, i) for i in numbers]
        if not keys or None in keys or len(set(keys)) != len(keys):
            raise OpError(
                f"{title}: expected different positions of arguments that were passed; "
                f"got argnums={one} in a call with {_counted(args, options)}"
            )
        return Wanted(keys, _first if single else tuple)  # type: ignore[arg-type]
    if argnums is not None:
        raise OpError(
            f"{title}: expected argnums or argnames, not both; got "
            f"argnums={argnums} and argnames={argnames!r}. Names do for all of them"
        )
    single = isinstance(argnames, str)
    names = [argnames] if isinstance(argnames, str) else list(argnames)
    found = [_by_name(f, args, options, name) for name in names]
    if not names or None in found or len(set(found)) != len(found):
        raise OpError(
            f"{title}: expected different names of arguments that were passed; got "
            f"argnames={argnames!r} in a call with {_counted(args, options)}"
        )
    if single:
        return Wanted(found, _first)  # type: ignore[arg-type]
    return Wanted(found, lambda values: dict(zip(names, values, strict=True)))  # type: ignore[arg-type]


def _positions(title: str, argnums: Any) -> list[int]:
    try:
        return [operator.index(i) for i in argnums]
    except TypeError:
        raise OpError(
            f"{title}: expected argnums of integers; got argnums={argnums!r:.40}. Name "
            "arguments with argnames="
        ) from None


def _counted(args: Sequence[Any], options: Mapping[str, Any]) -> str:
    keywords = f" and the keywords {', '.join(options)}" if options else ""
    return f"{len(args)} positional arguments{keywords}"


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _by_number(
    f: Function, args: Sequence[Any], options: Mapping[str, Any], i: int
) -> int | str | None:
    count = len(args)
    if -count <= i < count:
        return i % count
    if i < 0 or not options:
        return None
    names = _parameters(f)
    return names[i] if i < len(names) and names[i] in options else None


def _by_name(
    f: Function, args: Sequence[Any], options: Mapping[str, Any], name: str
) -> int | str | None:
    if name in options:
        return name
    names = _parameters(f)
    return names.index(name) if name in names[: len(args)] else None


def _parameters(f: Function) -> list[str]:
    """Return the names that positional arguments of a function have."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # of a function written in C, say
        return []
    return [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]


class Called(NamedTuple):
    """What a function returned, and the variables that it was computed from.

    Attributes
    ----------
    outputs
        What was returned, taken apart: every leaf is a Tensor.
    aux
        What it returned besides.
    variables
        Leaves of the arguments that are differentiated.
    arguments
        Those arguments, taken apart.
    wanted
        Which they are.
    gives_tensors
        Whether a Tensor was among the arguments.
    """

    outputs: Opened
    aux: Any
    variables: list[Tensor]
    arguments: list[Opened]
    wanted: Wanted
    gives_tensors: bool

    @property
    def value(self) -> Tensor:
        """The one Tensor that was returned."""
        value: Tensor = self.outputs.leaves[0]
        return value

    def in_graph(self, results: Sequence[Tensor]) -> bool:
        """Whether results stay Tensors of the graph, for someone to go on with."""
        if self.gives_tensors or recording.current().trace is not None:
            return True
        outer = set(_live.get())
        return bool(outer) and not outer.isdisjoint(graph.ancestors(results))

    def give(self, results: Sequence[Any]) -> list[Any]:
        """Return results to the caller, as Tensors or as arrays of their own."""
        if recording.current().trace is not None:
            return list(results)
        if not self.in_graph(results):
            return [np.array(r.data) for r in results]
        quiet = not recording.current().records
        return [r.detach() for r in results] if quiet else list(results)

    def pull(self, seeds: Sequence[Any], *, again: bool = False) -> list[Tensor]:
        """Return the variables' gradients, a cotangent an output given.

        A graph of them is recorded only where somebody can ask for it: ``again`` says
        that the caller will.
        """
        outputs = self.outputs.leaves
        keeps = again or any(isinstance(g, Node) for g in seeds)
        with recording.recorded() if keeps else self.mode(outputs):
            return autodiff.gradients(outputs, self.variables, seeds, "zero")

    def mode(self, results: Sequence[Tensor]) -> AbstractContextManager[None]:
        """Record what is computed of results, if somebody can go on with it."""
        return recording.recorded() if self.in_graph(results) else recording.no_grad()

    def structured(self, results: Sequence[Any]) -> Any:
        """Put a result for each variable together as the arguments are."""
        rest = iter(results)
        return self.wanted.given([x.close(rest, AS_GRADIENT) for x in self.arguments])

    def give_outputs(self, values: Sequence[Any]) -> Any:
        """Return values of the outputs to the caller, put together as they were."""

        def other(x: Any) -> Any:
            return self.give([x])[0] if isinstance(x, Tensor) else x

        how = How(AS_GIVEN.model, other)
        return self.outputs.closed(self.give(values), how)

    def give_aux(self) -> Any:
        """Return what came besides, Tensors in it as other results are returned."""
        found = opened({"aux": self.aux}, _is_tensor)
        leaves = [
            x if model else self.give([x])[0]
            for x, model in zip(found.leaves, found.in_model, strict=True)
        ]
        return found.closed(leaves, AS_GIVEN)["aux"]


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


def call(
    title: str,
    f: Function,
    args: Sequence[Any],
    options: Mapping[str, Any],
    wanted: Wanted,
    *,
    has_aux: bool = False,
    structured: bool = False,
) -> Called:
    """Call the function with fresh Tensors in the place of what is differentiated.

    Parameters of a model are the variables themselves: a model is one thing, which
    the function may have got by another way too.
    """
    refuse_uncallable(title, f)
    full, named = list(args), dict(options)
    variables: list[Tensor] = []
    arguments = []
    for key in wanted.keys:
        found = opened(args[key] if isinstance(key, int) else options[key])
        new = [
            x if model else variable(x)
            for x, model in zip(found.leaves, found.in_model, strict=True)
        ]
        variables += new
        arguments.append(found)
        value = found.closed(new, AS_GIVEN)
        if isinstance(key, int):
            full[key] = value
        else:
            named[key] = value
    token = _live.set((*_live.get(), *variables))
    try:
        returned = f(*full, **named)
    finally:
        _live.reset(token)
    aux = None
    if has_aux:
        returned, aux = _with_aux(title, returned)
    outputs = _outputs(title, returned, structured=structured, has_aux=has_aux)
    others = [x for i, x in enumerate(args) if i not in wanted.keys]
    others += [x for name, x in options.items() if name not in wanted.keys]
    given = [x for found in arguments for x in found.leaves] + others
    given += opened({"others": others}).leaves if others else []
    tensors = any(isinstance(x, Node) for x in given)
    return Called(outputs, aux, variables, arguments, wanted, tensors)


def _with_aux(title: str, returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise GradientError(
            f"{title}: has_aux=True expects the function to return a pair, "
            f"(value, what comes besides); got {type(returned).__name__}"
        )
    return returned


def _outputs(title: str, returned: Any, *, structured: bool, has_aux: bool) -> Opened:
    """Take apart what a function returned: Tensors, and None."""
    found = opened(returned)
    one = isinstance(returned, Tensor)
    if not one and not structured:
        besides = isinstance(returned, tuple) and not has_aux
        advice = ". With has_aux=True it may return a pair" if besides else ""
        raise GradientError(
            f"{title}: expected the function to return a Tensor computed from its "
            f"arguments; got {type(returned).__name__}{advice}"
        )
    if not found.leaves:
        raise GradientError(
            f"{title}: expected the function to return Tensors computed from its "
            f"arguments; got {type(returned).__name__} that holds none"
        )
    for x, path in zip(found.leaves, found.paths, strict=True):
        if not isinstance(x, Tensor):
            where = f" at {path}" if path else ""
            raise GradientError(
                f"{title}: expected the function to return Tensors computed from its "
                f"arguments; got {type(x).__name__}{where}. With has_aux=True it may "
                "return more"
            )
    return found


def variable(x: Any) -> Tensor:
    """Return a Tensor to differentiate with respect to, with the value of ``x``."""
    if not isinstance(x, Node):
        return Tensor(x, requires_grad=True)
    whole = data_of(x).dtype.kind != "f"
    copy: Tensor = ops.astype(x, np.float64 if whole else None)
    copy.requires_grad = True
    return copy
