"""What in a file is a gradient, and of which function: by declaration, or by name."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_nn.cli.check.loading import Home

__all__ = [
    "CONVENTIONS",
    "Pair",
    "backward_of",
    "forward_of",
    "found",
    "is_general",
    "names_within",
    "parameters",
    "result_names",
    "returned",
]

CONVENTIONS = (
    "forward/backward, cost/gradients, f/f_grad, f/grad_f, f/df, f/f_backward, f/f_vjp "
    "or f/f_prime, a class with forward and backward, a function that returns "
    "cost, grads or loss, dW, db, f.gradient = …, or CHECK = [(f, gradient, arrays…)]"
)

_SUFFIXES = (
    "_grad|_grads|_gradient|_gradients|_backward|_backprop|_bwd|_vjp|_prime|"
    "_derivative|_deriv|_der"
)
_PREFIXES = (
    "grad_|grads_|gradient_of_|gradients_of_|gradient_|gradients_|derivative_of_|"
    "derivative_|backward_|backprop_|vjp_|d_|d"
)
_GRADIENTS = (
    "grad",
    "grads",
    "gradient",
    "gradients",
    "compute_grad",
    "compute_grads",
    "compute_gradient",
    "compute_gradients",
    "get_gradients",
    "backward",
    "backward_pass",
    "backprop",
    "backpropagation",
    "back_propagation",
    "backward_propagation",
    "vjp",
    "derivative",
    "jac",
    "jacobian",
    "fprime",
    "der",
)
_COSTS = (
    "cost",
    "loss",
    "compute_cost",
    "compute_loss",
    "cost_function",
    "loss_function",
    "objective",
    "fun",
    "func",
    "J",
    "f",
)
_FORWARDS = (
    "forward",
    "forward_pass",
    "forward_propagation",
    "forward_prop",
    "forwardprop",
    "feedforward",
    "model",
    "f",
)
_OTHERS = re.compile(
    r"(^|_)((check|numer|descent|clip|update|test|finite|approx|apply|plot|print|zero)"
    r"\w*|norm$)"
)
"""What is about gradients and none itself; batch_norm_backward is a gradient."""
_VALUE = re.compile(r"(?i)(cost|loss|f|fx|fval|val|value|obj\w*|J|L|E|energy|total)")
_A_COST = re.compile(r"(?i)(\w+_)?(cost|loss|objective)(_function)?")
_METHODS = ("forward", "forward_propagation", "forward_pass", "forward_prop")
_BACK = ("backward", "backward_propagation", "backward_pass", "backprop")
_GRADIENT = re.compile(r"(grads?|gradients?|g|d[A-Za-z]\w{0,4}|grad_\w+|\w+_grad)")


class Pair(NamedTuple):
    """A gradient, and what it may be the gradient of.

    ``firsts`` are functions by name, the likeliest first; ``gradient`` is None where
    autograd's is meant. ``kind`` is ``"function"``, ``"layer"`` (``firsts`` holds a
    class), ``"both"`` (one function returns its value at ``place``, and among the other
    results the ``gradients``) or ``"declared"`` (at ``arrays``).
    """

    title: str
    kind: str
    firsts: tuple[tuple[str, Any], ...]
    gradient: Callable[..., Any] | None = None
    arrays: tuple[Any, ...] = ()
    place: int = 0
    gradients: tuple[int, ...] = ()
    name: str = ""

    def says(self, name: str) -> bool:
        """Whether somebody who writes a name means this pair."""
        return name in {self.name, self.title, *(first for first, _ in self.firsts)}


def found(home: Home, beside: Mapping[str, Any]) -> tuple[list[Pair], list[str]]:
    """Find the gradients of a file.

    Parameters
    ----------
    home
        The file.
    beside
        Functions of another file, for those that this one lacks.

    Returns
    -------
    tuple
        The pairs, and the names of functions that are called like gradients of what
        is not there.
    """
    functions = {**beside, **home.defined}
    pairs = list(_declared(home))
    mentioned = {id(pair.gradient) for pair in pairs}
    lonely = []
    for name, thing in home.defined.items():
        if inspect.isclass(thing):
            layer = _layer(name, thing)
            pairs += layer
            if not layer:
                lonely += [f"{name}.{method}" for method in _not_judged_in(thing)]
            continue
        if id(thing) in mentioned or _OTHERS.search(name):
            continue
        firsts = [
            (other, functions[other])
            for other in dict.fromkeys(_meant(name))
            if other in functions
            and other != name
            and not inspect.isclass(functions[other])
        ]
        if name in _GRADIENTS:
            firsts = _left_for(thing, firsts, functions)
        if firsts:
            title = f"{firsts[0][0]} / {name}"
            pairs.append(Pair(title, "function", tuple(firsts), thing, name=name))
        elif (both := _both(thing)) is not None:
            place, which = both
            first = ((name, thing),)
            pairs.append(Pair(name, "both", first, None, (), place, which, name))
        elif _called_a_gradient(name):
            costs = [other for other in home.defined if _A_COST.fullmatch(other)]
            if name in _GRADIENTS and len(costs) == 1:
                first = ((costs[0], functions[costs[0]]),)
                title = f"{costs[0]} / {name}"
                pairs.append(Pair(title, "function", first, thing, name=name))
            else:
                lonely.append(name)
    return pairs, lonely


def is_general(name: str) -> bool:
    """Whether a name says that it is a gradient, and not of what."""
    return name in _GRADIENTS


def _left_for(
    gradient: Any, firsts: Sequence[tuple[str, Any]], functions: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """Leave those that have no gradient of their own; the like parameters go before."""
    taken = {
        meant
        for name in functions
        if name not in _GRADIENTS and not _OTHERS.search(name)
        for meant in _meant(name)
        if meant != name
    }
    left = [
        (name, first)
        for name, first in firsts
        if name not in taken and _both(first) is None
    ]
    wanted = {p.name for p in parameters(gradient) or ()}
    left.sort(key=lambda row: {p.name for p in parameters(row[1]) or ()} != wanted)
    return left or list(firsts)


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return what a function takes, without ``*`` and ``**``; None if nobody knows.

    >>> [p.name for p in parameters(lambda W, b, *rest: 0)]
    ['W', 'b']
    """
    try:
        every = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in every if p.kind not in several]


def returned(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names in a function's last return statement: ``return dW, db``.

    Empty where there are other things than names.
    """
    names = [name for name in result_names(function) if name is not None]
    return tuple(names) if len(names) == len(result_names(function)) else ()


def result_names(function: Callable[..., Any]) -> list[str | None]:
    """Return what stands in the last return statement, None for what is no name."""
    return [
        part.id if isinstance(part, ast.Name) else None for part in _results(function)
    ]


def names_within(function: Callable[..., Any]) -> list[tuple[str, ...]]:
    """Return for each result the names of a tuple there: ``return A, (Z, H)``."""
    return [
        tuple(x.id if isinstance(x, ast.Name) else "" for x in part.elts)
        if isinstance(part, ast.Tuple)
        else ()
        for part in _results(function)
    ]


def _results(function: Callable[..., Any]) -> list[ast.expr]:
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return []
    values = [node.value for node in _statements(tree) if isinstance(node, ast.Return)]
    if not values or values[-1] is None:
        return []
    last = values[-1]
    return last.elts if isinstance(last, (ast.Tuple, ast.List)) else [last]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Go through a function's own statements, not those of functions within."""
    waiting = list(ast.iter_child_nodes(node))[::-1]
    while waiting:
        here = waiting.pop()
        if isinstance(here, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        yield here
        waiting += list(ast.iter_child_nodes(here))[::-1]


def _declared(home: Home) -> Iterator[Pair]:
    given = home.names.get("CHECK", ())
    if isinstance(given, tuple) and given and callable(given[0]):
        given = [given]
    for number, row in enumerate(given):
        if not isinstance(row, Sequence) or len(row) < 2 or not callable(row[0]):
            title = f"CHECK[{number}]"
            yield Pair(title, "malformed", (), name=title)
            continue
        f, gradient, *arrays = row
        names = [getattr(f, "__name__", "f")]
        if gradient is not None:
            names.append(getattr(gradient, "__name__", "gradient"))
        title = " / ".join(names)
        first = ((names[0], f),)
        yield Pair(title, "declared", first, gradient, tuple(arrays), name=names[-1])
    for name, f in home.defined.items():
        for attribute in ("gradient", "vjp"):
            gradient = getattr(f, attribute, None)
            if callable(gradient) and not inspect.isclass(f):
                title = f"{name} / {name}.{attribute}"
                own = f"{name}.{attribute}"
                yield Pair(title, "function", ((name, f),), gradient, name=own)


def _layer(name: str, kind: Any) -> list[Pair]:
    back = backward_of(kind)
    if forward_of(kind) is None or back is None:
        return []
    return [Pair(name, "layer", ((name, kind),), name=name)]


def forward_of(kind: type) -> str | None:
    """Name a class's forward pass: a method like ``forward``, or else ``__call__``.

    Every class can be called itself, so that ``hasattr`` says nothing of the second.

    >>> class Layer:
    ...     def __call__(self, x): ...
    >>> forward_of(Layer), forward_of(dict)
    ('__call__', None)
    """
    known = next((name for name in _METHODS if hasattr(kind, name)), None)
    if known is None and any("__call__" in vars(one) for one in kind.__mro__):
        known = "__call__"
    return known


def backward_of(kind: type) -> str | None:
    """Name a class's backward pass, if it has one that is no mere promise."""
    for name in _BACK:
        method = getattr(kind, name, None)
        if method is not None and not getattr(method, "__isabstractmethod__", False):
            return name
    return None


def _not_judged_in(kind: type) -> list[str]:
    """Methods of a class that is no layer, which give gradients for all that."""
    return [
        name
        for name, method in vars(kind).items()
        if inspect.isfunction(method)
        and (name == backward_of(kind) or _both(method) is not None)
    ]


def _meant(name: str) -> Iterator[str]:
    """Names of the function that a gradient of this name may belong to."""
    # backward_propagation_with_dropout is the gradient of either forward pass.
    for short in (name, re.sub(r"_with_\w+$", "", name)):
        for old, new in (
            ("backward", "forward"),
            ("backprop", "forward"),
            ("backprop", "forwardprop"),
            ("backprop", "forward_prop"),
            ("backprop", "forward_propagation"),
            ("back_prop", "forward_prop"),
            ("bwd", "fwd"),
        ):
            if old in short:
                yield short.replace(old, new, 1)
        for pattern in (rf"^(\w+?)(?:{_SUFFIXES})$", rf"^(?:{_PREFIXES})(\w+)$"):
            match = re.match(pattern, short)
            if match:
                core = match[1]
                yield from (core, f"{core}_forward", f"forward_{core}", f"{core}_fwd")
        if short in _GRADIENTS:
            back = short.startswith("back")
            yield from (_FORWARDS + _COSTS) if back else (_COSTS + _FORWARDS)


def _called_a_gradient(name: str) -> bool:
    long = re.fullmatch(rf"\w+(?:{_SUFFIXES})|(?:{_PREFIXES})(?<!^d)(?<!^d_)\w+", name)
    return name in _GRADIENTS or long is not None


def _both(function: Callable[..., Any]) -> tuple[int, tuple[int, ...]] | None:
    """Tell which result is the value, and which are gradients; None if unclear."""
    names = [name or "" for name in result_names(function)]
    own = {p.name for p in parameters(function) or ()}
    values = [i for i, name in enumerate(names) if _VALUE.fullmatch(name)]
    gradients = [i for i, name in enumerate(names) if _GRADIENT.fullmatch(name)]
    if own & set(names) or len(values) != 1 or not gradients:
        return None
    return values[0], tuple(gradients)
