"""What an op is, how one is declared, and what a recorded node holds.

An op is one decorated NumPy function. Called with plain arrays it runs its body;
called with at least one node it runs the body on the values and records a node.
This file knows nothing of `Tensor`: that class says what results are made of
(`results_are`), and the algebra says how an op looks at the nodes it is applied
to (`Op.rule`).
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import CO_VARARGS, CO_VARKEYWORDS
from string import Template
from types import CodeType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from tinygrad_nn import recording, shapes
from tinygrad_nn.errors import (
    DtypeError,
    GradientError,
    LinAlgError,
    OpError,
    ShapeError,
    UnsupportedError,
)
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.shapes import Shape

__all__ = [
    "KINDS",
    "MANY",
    "REGISTRY",
    "Array",
    "Form",
    "Node",
    "Op",
    "Written",
    "checksums",
    "constant",
    "data_of",
    "elementwise",
    "forms_are_kept_as",
    "inputs_of",
    "inside_rules",
    "op_of",
    "primitive",
    "record",
    "results_are",
    "settings_of",
]

Array = Any
"""An array, a NumPy scalar, a Python number or, inside rules, a Tensor."""

Rule = Callable[..., Any]
P = ParamSpec("P")
R = TypeVar("R")

KINDS = (
    "elementwise", "reduction", "movement", "indexing", "accumulation", "contraction",
    "decomposition", "random", "checkpoint",
)  # fmt: skip
"""What an op may be: how a missing path passes it, see `primitive`."""

MANY = 3
"""The arity of an op whose operands are kept in a tuple: three and more, or any number.
"""

_NO_SETTINGS: Mapping[str, Any] = {}
_getframe = sys._getframe
_current = recording.current
_tick = recording.tick
_OURS = recording.OURS
_PLAIN = recording.PLAIN
_new = object.__new__
_ndarray = np.ndarray


class Node:
    """A value and how it came about; `Tensor` gives it its behaviour.

    Flat slots, because a graph of a million nodes is a million of these: one
    object a node for the garbage collector to walk. Slots that most nodes never
    use (``_grad``, ``_name``, ``_scope``, ``_spent``, ``_sums``) stay unset.
    """

    __slots__ = (
        "__weakref__",
        "_code",  # the user's line: code object and instruction
        "_form",  # what the value is known to equal (a Form), or None
        "_grad",
        "_lasti",
        "_leads",  # a bit for each operand that requires a gradient
        "_name",
        "_op",  # the op that made it; None for a leaf
        "_order",  # time of recording; for a leaf, of its latest change
        "_scope",
        "_settings",
        "_spent",  # leaf: its gradient was consumed by an optimiser's step
        "_sums",  # debug mode: checksums of the saved values
        "_value",  # the value: an ndarray, or a NumPy scalar for 0-d results
        "_x",  # first operand; all of them, in a tuple, where there are three or more
        "_y",  # second operand
        "requires_grad",
    )

    _code: CodeType | None
    _value: Any
    _form: Form | None
    _grad: Any
    _lasti: int
    _leads: int
    _name: str | None
    _op: Op | None
    _order: int
    _scope: str | None
    _settings: Mapping[str, Any]
    _spent: bool
    _sums: tuple[int, ...]
    _x: Any
    _y: Any
    requires_grad: bool


class Written(NamedTuple):
    """The operation that the user wrote, where a stabler one was recorded."""

    op: Op
    inputs: tuple[Any, ...]
    settings: Mapping[str, Any]


class Form(NamedTuple):
    """What a node's value is known to equal: ``kind`` of ``operand``.

    Found when a rewriting op asks, from the forms of the operands, no deeper than
    the longest pattern (`algebra.form_of`); kept from the start under `no_grad`.
    """

    kind: str
    operand: Node
    settings: Any = None
    written: Written | None = None


class Op:
    """Everything there is to know about one operation."""

    __slots__ = (
        "arity",
        "body",
        "call",
        "chooses",
        "defaults",
        "differentiable",
        "doc",
        "edges",
        "exact",
        "form",
        "formula",
        "function",
        "kind",
        "name",
        "operands",
        "paths",
        "pointwise",
        "quiet",
        "refuses",
        "rule",
        "rules",
        "samples",
        "saved",
        "shape",
        "variadic",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        kind: str,
        formula: str,
        vjp: Rule | Sequence[Rule] | None,
        shape: Callable[..., Shape],
        samples: Sequence[Any],
        refuses: Sequence[Any],
        paths: Sequence[Rule | None] | None,
        quiet: bool,
        exact: Callable[..., Any] | None,
        edges: Sequence[Any] = (),
    ) -> None:
        self.name = function.__name__
        if kind not in KINDS:
            raise OpError(
                f"{self.name}: expected a kind of op, which says how a missing path "
                f"passes it; got {kind!r}. Take one of {', '.join(map(repr, KINDS))}"
            )
        self.doc = function.__doc__ or ""
        self.function = function
        self.kind = kind
        self.pointwise = kind == "elementwise"
        self.formula = Template(formula)
        self.shape = shape
        self.samples = tuple(samples)
        self.refuses = tuple(refuses)
        self.paths = None if paths is None else tuple(paths)
        self.quiet = quiet
        self.exact = exact
        self.edges = tuple(edges)
        self.rule: Callable[..., Any] | None = None
        self.form: Callable[..., Form | None] | None = None
        self.operands, self.defaults, self.variadic = _read_signature(function)
        self.arity = MANY if self.variadic else min(len(self.operands), MANY)
        self.chooses = kind == "indexing" or (
            self.paths is not None and _hides_nan(function)
        )
        self.differentiable = vjp is not None
        self.rules: Any = vjp
        if vjp is not None and not self.variadic:
            self.rules = (vjp,) if callable(vjp) else tuple(vjp)
            if len(self.rules) != len(self.operands):
                raise OpError(
                    f"{self.name}: one gradient rule an operand; got "
                    f"{len(self.rules)} rules for {list(self.operands)}"
                )
        self.saved = _saved(self.rules, self.operands)
        if not _of_the_house(function):
            self.rules = _checked(self, self.rules)
        self.body = _quieted(function, exact) if quiet else function
        self.call: Callable[..., Any] = function

    def __repr__(self) -> str:
        """Name the op."""
        return f"<op {self.name}>"

    def bind(
        self, values: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Settings from positional and keyword arguments, defaults filled in.

        Raises
        ------
        OpError
            For a setting that the op does not have, naming the closest one.
        """
        if not values and not keywords:
            return self.defaults
        names = list(self.defaults)
        if len(values) > len(names):
            raise OpError(
                f"{self.name}: takes {len(self.operands)} operands and settings "
                f"{names}; got {len(values)} more positional arguments"
            )
        bound = dict(self.defaults)
        bound.update(zip(names, values, strict=False))
        for name, value in keywords.items():
            if name not in bound:
                raise OpError(
                    f"{self.name}: no setting {name!r}; it takes {names or 'none'}."
                    f"{_suggestion(name, names)}"
                )
            bound[name] = value
        if bound.get("axis").__class__ is list:
            bound["axis"] = tuple(bound["axis"])
        return bound

    def explain(
        self, error: Exception, inputs: Sequence[Any], settings: Mapping[str, Any]
    ) -> Exception:
        """Turn NumPy's error into one that names the law, the operands and the line."""
        place = _current().scope
        title = self.name if place is None else f"{self.name} in {place}"
        names = [_named(name, x) for name, x in zip(self._names(inputs), inputs)]  # noqa: B905
        sizes = [np.shape(data_of(x)) for x in inputs]
        got = shapes.describe(names, sizes)
        if settings:
            got += "".join(f", {name}={value!r}" for name, value in settings.items())
        try:
            self.shape(*sizes, **settings)
        except ShapeError as refused:
            return type(refused)(f"{title}: {refused}; got {got}")
        except TypeError as wrong:  # a setting of another kind, as in axis="rows"
            return UnsupportedError(f"{title}: {wrong}; got {got}")
        if isinstance(error, TypeError):
            return UnsupportedError(f"{title}: {error}; got {got}")
        if isinstance(error, np.linalg.LinAlgError):
            return LinAlgError(f"{title}: {error}".rstrip(".") + f"; got {got}")
        return OpError(f"{title}: {error}; got {got}")

    def _names(self, inputs: Sequence[Any]) -> Sequence[str]:
        if len(self.operands) == len(inputs):
            return self.operands
        return [f"{self.operands[0]}[{i}]" for i in range(len(inputs))]


REGISTRY: dict[str, Op] = {}
"""Every declared op by name; tests, docs, drawing and compiler read this."""

_result: type[Node] = Node


def results_are(cls: type[Node]) -> None:
    """Let recorded results be instances of ``cls``; called once, by `tensor`."""
    global _result  # noqa: PLW0603 (the one place that says it)
    _result = cls


_bare: Callable[[Node], Node]


def forms_are_kept_as(bare: Callable[[Node], Node]) -> None:
    """Let ``bare`` cut a form's operand from its past; called once, by `algebra`."""
    global _bare  # noqa: PLW0603 (the one place that says it)
    _bare = bare


def op_of(function: Callable[..., Any]) -> Op:
    """Return the op behind a declared function.

    >>> from tinygrad_nn import ops
    >>> op_of(ops.tanh)
    <op tanh>
    """
    op: Op = function.op  # type: ignore[attr-defined]
    return op


def data_of(value: Any) -> Any:
    """Return the plain value of an operand: a node's data, or the constant itself."""
    if isinstance(value, Node):
        return value._value
    return value.value if value.__class__ is Scalar else value


def inputs_of(node: Node) -> tuple[Any, ...]:
    """Return the operands of a node, constants included; none for a leaf."""
    if node._op is None:
        return ()
    if node._op.arity == 1:
        return (node._x,)
    if node._op.arity == 2:
        return (node._x, node._y)
    return tuple(node._x)


def settings_of(node: Node) -> Mapping[str, Any]:
    """Return the settings of a node, for example ``{"axis": 0, "keepdims": True}``."""
    if node._op is None or not node._op.defaults:
        return _NO_SETTINGS
    return node._settings


# --- declaring -------------------------------------------------------------------


def elementwise(
    *,
    formula: str,
    vjp: Rule | Sequence[Rule] | None,
    samples: Sequence[Any],
    paths: Sequence[Rule | None] | None = None,
    quiet: bool = False,
    exact: Callable[..., Any] | None = None,
    edges: Sequence[Any] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    r"""Declare an op that works element by element and broadcasts its operands.

    Parameters
    ----------
    formula
        LaTeX with ``$name`` for each operand: ``r"\tanh $x"``.
    vjp
        Vector-Jacobian product: a rule ``(g, out, *operands, **settings)`` for each
        operand, pure mathematics in operators and sibling ops, without regard for
        broadcasting. An argument that a rule does not use starts with an underscore,
        so that the value need not be kept. None: constant, no gradient.
    samples
        Where every test law may try the op (see `tinygrad_nn.ops.samples`).
    paths
        For each operand that reaches only some elements of the result: a rule
        ``(*operands) -> bool`` that is true where it does.
    quiet
        The body may overflow on its way to a right result.
    exact
        The definition, in NumPy's functions, where the body computes something equal
        for the sake of rounding or overflow: by cases, or with a shift. Numbers that
        do not round are computed by it (see `tinygrad_nn.check.replay`).
    edges
        Where the op has a kink, or its domain ends, besides at 0: numbers, or a tuple
        for each point of several operands. The word list tells what it does there, and
        a law holds it to one-sided derivatives (see `tinygrad_nn.check.edges`).
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        return _declare(
            function,
            kind="elementwise",
            formula=formula,
            vjp=vjp,
            shape=_elementwise_shape,
            samples=samples,
            refuses=(),
            paths=paths,
            quiet=quiet,
            exact=exact,
            edges=edges,
        )

    return declare


def primitive(
    *,
    kind: str,
    formula: str,
    shape: Callable[..., Shape],
    vjp: Rule | Sequence[Rule] | None,
    samples: Sequence[Any],
    refuses: Sequence[Any],
    paths: Sequence[Rule | None] | None = None,
    exact: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare an op of any other kind.

    Parameters
    ----------
    kind
        ``"movement"``, ``"indexing"``, ``"accumulation"`` (running sums),
        ``"reduction"`` or ``"contraction"``: how a missing path passes it. It does not
        pass a contraction, nor a ``"decomposition"``, which knows no complex numbers.
    formula, vjp, samples, paths, exact
        As for `elementwise`. An op with ``*operands`` has one rule that returns a
        tuple, a share for each operand.
    shape
        ``(*shapes, **settings) -> shape`` of the result, or a `ShapeError` that says
        what was expected: it is the op's check of its operands.
    refuses
        Inputs that must be refused with a `ShapeError`.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        return _declare(
            function,
            kind=kind,
            formula=formula,
            vjp=vjp,
            shape=shape,
            samples=samples,
            refuses=refuses,
            paths=paths,
            quiet=False,
            exact=exact,
            edges=(),
        )

    return declare


def _declare(function: Callable[P, R], **facts: Any) -> Callable[P, R]:
    op = Op(function, **facts)
    call = _recorder(op)
    call.__name__ = op.name
    call.__qualname__ = op.name
    call.__doc__ = function.__doc__
    call.__module__ = function.__module__
    call.__wrapped__ = function  # type: ignore[attr-defined]
    call.op = op  # type: ignore[attr-defined]
    op.call = call
    known = REGISTRY.get(op.name)
    if known is not None and _of_the_house(known.function):
        raise OpError(f"{op.name}: there is an op of this name. Give yours another")
    REGISTRY[op.name] = op
    return call


def _elementwise_shape(*sizes: Shape, **_settings: Any) -> Shape:
    return shapes.broadcast(*sizes)


def _read_signature(
    function: Callable[..., Any],
) -> tuple[tuple[str, ...], dict[str, Any], bool]:
    """Operands (parameters without default), settings, and whether any number."""
    code = getattr(function, "__code__", None)
    if code is None:
        raise OpError(
            "an op is declared of a Python function; got "
            f"{getattr(function, '__name__', function)!r:.60}. Write def my_op(x): …"
        )
    positional = code.co_varnames[: code.co_argcount]
    given = function.__defaults__ or ()
    first = len(positional) - len(given)
    defaults = dict(zip(positional[first:], given, strict=True))
    named = code.co_argcount + code.co_kwonlyargcount
    defaults.update(function.__kwdefaults__ or {})
    operands = positional[:first]
    variadic = bool(code.co_flags & CO_VARARGS)
    if variadic:
        operands = (*operands, code.co_varnames[named])
    if not operands:
        raise OpError(
            f"{function.__name__}: an op has operands, parameters without a default; "
            f"got none, and the settings {list(defaults)}"
        )
    return operands, defaults, variadic


def _saved(rules: Any, operands: Sequence[str]) -> frozenset[int]:
    """Positions of the operands whose values some rule uses; -1 for the result's.

    A rule says by an underscore that it leaves a value alone. One that looks at a
    shape only says so too, unless the result may be a view of the operand.
    """
    used: set[int] = set()
    for rule in () if rules is None else (rules,) if callable(rules) else rules:
        code = getattr(rule, "__code__", None)
        if code is None:  # some other callable: it may use everything
            return frozenset(range(-1, 64))
        names = dict(enumerate(code.co_varnames[1 : 2 + len(operands)], start=-1))
        if rule is rules:
            several = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
            names.update(dict.fromkeys(range(64), several))
        used.update(i for i, name in names.items() if not name.startswith("_"))
    return frozenset(used)


def _checked(op: Op, rules: Any) -> Any:
    """Make rules from outside the house say what is wrong with what they return."""
    if rules is None:
        return None
    if op.variadic:
        _refuse_signature(op, rules)
        return _checked_together(op, rules)
    for name, rule in zip(op.operands, rules, strict=True):
        if not callable(rule):
            raise OpError(
                f"{op.name}: one gradient rule an operand; got {rule!r:.40} for "
                f"{name!r}. What has no gradient is a setting: give it a default"
            )
        _refuse_signature(op, rule)
    return tuple(_checked_alone(op, rule, i) for i, rule in enumerate(rules))


def _checked_alone(op: Op, rule: Rule, i: int) -> Rule:
    name = op.operands[i]

    @wraps(rule)
    def checked(g: Any, out: Any, *operands: Any, **settings: Any) -> Any:
        share = rule(g, out, *operands, **settings)
        _refuse_share(op, share, name, g, out, operands[i])
        return share

    return checked


def _checked_together(op: Op, rule: Rule) -> Rule:
    @wraps(rule)
    def checked(g: Any, out: Any, *operands: Any, **settings: Any) -> Any:
        shares = rule(g, out, *operands, **settings)
        listed = isinstance(shares, (tuple, list))
        if not listed or len(shares) != len(operands):
            got = f"{len(shares)} shares" if listed else type(shares).__name__
            raise GradientError(
                f"{op.name}: its gradient rule returned {got} for {len(operands)} "
                "operands. Return a tuple, with a share for each"
            )
        for i, (share, x) in enumerate(zip(shares, operands, strict=True)):
            _refuse_share(op, share, f"{op.operands[0]}[{i}]", g, out, x)
        return tuple(shares)

    return checked


def _refuse_share(op: Op, share: Any, name: str, g: Any, out: Any, x: Any) -> None:
    """Raise for what is no gradient of an operand: of another kind, dtype or shape.

    An elementwise rule is without regard for broadcasting, so its share has the
    result's shape, or one that g has where a number stands for an array.
    """
    title = f"{op.name}: its gradient rule for {name!r} returned"
    if not isinstance(share, (np.ndarray, np.generic, Node)):
        raise GradientError(
            f"{title} {share!r:.60}; expected an array of the operand's shape, "
            "computed from g"
        )
    value, operand = data_of(share), data_of(x)
    if value.dtype.kind != "f":
        kind = getattr(operand, "dtype", np.dtype(np.float64))
        raise DtypeError(
            f"{title} dtype {value.dtype} for an operand of dtype {kind}. Compute it "
            "from g, in real floating numbers"
        )
    have, wanted = value.shape, np.shape(operand)
    if not op.pointwise:
        if have != wanted:
            raise ShapeError(
                f"{title} shape {have} for an operand of shape {wanted}. Return one "
                "number for each element of the operand"
            )
        return
    size = np.shape(data_of(out))
    try:
        fits = np.broadcast_shapes(have, size) == size
        fits = fits and np.broadcast_shapes(have, np.shape(data_of(g))) == have
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{title} shape {have} for an operand of shape {wanted} in a result of "
            f"shape {size}. Return g times a slope, of the result's shape: what was "
            "broadcast is summed for you"
        )


def _refuse_signature(op: Op, rule: Rule) -> None:
    """Raise at once where a rule could not be called."""
    code = getattr(rule, "__code__", None)
    if code is None or getattr(rule, "__self__", None) is not None:
        return
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    several, keywords = code.co_flags & CO_VARARGS, code.co_flags & CO_VARKEYWORDS
    needed = 2 if op.variadic else 2 + len(op.operands)
    fits = several or (count >= needed and not op.variadic)
    rest = set(names[needed:count]) | set(names[count:])
    free = set(names[count - len(getattr(rule, "__defaults__", None) or ()) : count])
    free |= set(getattr(rule, "__kwdefaults__", None) or ())
    if not fits or rest - free - set(op.defaults):
        fits = False
    if not keywords and set(op.defaults) - set(names[min(needed, count) :]):
        fits = False
    if not fits:
        operands = ", ".join(("*" if op.variadic else "") + x for x in op.operands)
        settings = "".join(f", {name}" for name in op.defaults)
        raise OpError(
            f"{op.name}: a gradient rule takes (g, out, {operands}{settings}); got a "
            f"rule of ({', '.join(names)})"
        )


def _of_the_house(function: Callable[..., Any]) -> bool:
    """Whether a body is one of ours; one made by exec may have no module at all."""
    return (function.__module__ or "").startswith("tinygrad_nn.ops.")


def _hides_nan(function: Callable[..., Any]) -> bool:
    """Whether an operand may be nan and the result not, as of `where` and `fmax`.

    Then the backward looks for one: a share of 0 times an infinite slope is no path.
    """
    code = function.__code__
    if not _of_the_house(function):
        return True  # the body of somebody's own op is not run before it is called
    count = code.co_argcount - len(function.__defaults__ or ())
    if code.co_flags & CO_VARARGS or count != 2:
        return count != 1
    with np.errstate(invalid="ignore"):
        return not bool(np.isnan(function(np.nan, 1.0) + function(1.0, np.nan)))


def _quieted(
    function: Callable[..., Any], exact: Callable[..., Any] | None
) -> Callable[..., Any]:
    def body(*operands: Any, **settings: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*operands, **settings)

    if exact is None:
        return body

    def by_kind(*operands: Any, **settings: Any) -> Any:
        # What keeps floats from overflowing is an `if` to numbers that cannot.
        if any(isinstance(x, np.ndarray) and x.dtype.kind == "O" for x in operands):
            return exact(*operands, **settings)
        return body(*operands, **settings)

    return by_kind


def inside_rules(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a quiet op for use in gradient rules: the backward silences it already."""
    body = op_of(function).function

    def call(*operands: Any) -> Any:
        for x in operands:
            if isinstance(x, Node):
                return function(*operands)
        return body(*operands)

    return call


def _suggestion(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 (only on an error)

    close = get_close_matches(name, names, 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _named(operand: str, value: Any) -> str:
    name = getattr(value, "_name", None) if isinstance(value, Node) else None
    return operand if name is None else f"{operand}={name}"


# --- recording -------------------------------------------------------------------

_NUMBERS = (float, int, bool, Scalar)
_SEQUENCES = (list, tuple)  # whose own + and * mean something else


def _constant(value: Any, op: Op) -> Any:
    """Check an operand that is not a node; return it as NumPy takes it."""
    if value.__class__ in _NUMBERS:
        return value
    if value.__class__ is not np.ndarray and not isinstance(value, np.generic):
        # Of a subclass only the numbers: the * of np.matrix is another product.
        masked = hasattr(value, "mask")  # np.ma itself would be a slow import
        if masked or value is None or isinstance(value, (str, bytes, dict, set)):
            raise UnsupportedError(
                f"{op.name}: an operand is a Tensor, an array or a number; "
                f"got {type(value).__name__}"
            )
        value = np.asarray(value)
    if value.dtype.kind not in "fiub":
        what = "complex numbers are" if value.dtype.kind == "c" else "this dtype is"
        raise DtypeError(
            f"{op.name}: {what} not supported; got dtype {value.dtype}. "
            "Use a real floating dtype."
        )
    return value


def record(
    op: Op,
    value: Any,
    inputs: tuple[Any, ...],
    settings: Mapping[str, Any],
    form: Form | None = None,
) -> Node:
    """Make the node of an op of any arity, in any mode.

    The quick recorders do the same inline, outside of every ``with``.
    """
    node = _new(_result)
    node._value = value
    node._form = form
    node._order = _tick()
    mode = _current()
    if not mode.records and mode.trace is None:
        if form is None and op.form is not None:
            # There is no graph to find a form from later: it is kept from the start.
            found = op.form(inputs[0], inputs[1] if op.arity == 2 else settings)
            if found is not None:
                node._form = found._replace(operand=_bare(found.operand))
        node.requires_grad = False
        node._op = node._code = None
        node._lasti = -1
        return node
    node._op = op
    node._settings = settings
    leads = 0
    if op.differentiable and value.dtype.kind == "f" and mode.records:
        for i, x in enumerate(inputs):
            if isinstance(x, Node) and x.requires_grad:
                leads |= 1 << i
    if op.arity == MANY:
        node._x = inputs
    else:
        node._x = inputs[0]
        node._y = inputs[-1]
    node._leads = leads
    node.requires_grad = leads != 0
    frame = _getframe(2)
    code = frame.f_code
    while code.co_filename in _OURS and frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
    node._code = code
    node._lasti = frame.f_lasti
    if mode is not _PLAIN:
        if mode.scope is not None:
            node._scope = mode.scope
        if mode.checksums:
            node._sums = checksums(op, inputs, value)
        if mode.trace is not None:
            mode.trace.recorded(node, gradients=mode.records)
    return node


def constant(value: Any, order: int) -> Node:
    """Make a node that was computed from nothing and needs no gradient."""
    node = _new(_result)
    node._value = value
    node._op = node._form = node._code = None
    node._lasti = -1
    node._order = order
    node.requires_grad = False
    return node


def checksums(op: Op, inputs: Sequence[Any], value: Any) -> tuple[int, ...]:
    """Return a checksum of each value that the op's rules use."""
    values = [data_of(x) for i, x in enumerate(inputs) if i in op.saved]
    if -1 in op.saved:
        values.append(value)
    return tuple(zlib.crc32(np.ascontiguousarray(x).tobytes()) for x in values)


def _recorder(op: Op) -> Callable[..., Any]:
    """Make the function that users call, for the op's arity: no ``*args`` on the way.

    Speed is why there are several; each does what `record` says.
    """
    if op.arity == 1:
        return _unary_with_settings(op) if op.defaults else _unary(op)
    if op.arity == 2:
        return _binary_with_settings(op) if op.defaults else _binary(op)
    return _nary(op)


def _unary(op: Op) -> Callable[..., Any]:
    body = op.body
    differentiable = op.differentiable

    def call(x: Any) -> Any:
        if not isinstance(x, Node):
            return body(x)
        if op.rule is not None:
            stable = op.rule(x)
            if stable is not None:
                return stable
        try:
            value = body(x._value)
        except (TypeError, ValueError, IndexError) as error:
            raise op.explain(error, (x,), _NO_SETTINGS) from None
        if _current() is not _PLAIN:
            return record(op, value, (x,), _NO_SETTINGS)
        node = _new(_result)
        node._value = value
        node._op = op
        node._x = x
        node._form = None
        node._leads = node.requires_grad = differentiable and x.requires_grad
        node._order = _tick()
        frame = _getframe(1)
        code = frame.f_code
        while code.co_filename in _OURS and frame.f_back is not None:
            frame = frame.f_back
            code = frame.f_code
        node._code = code
        node._lasti = frame.f_lasti
        return node

    return call


def _binary(op: Op) -> Callable[..., Any]:
    body = op.body
    differentiable = op.differentiable

    def call(x: Any, y: Any) -> Any:
        if isinstance(x, Node):
            left = x._value
            leads: int = x.requires_grad
            if isinstance(y, Node):
                right = y._value
                if y.requires_grad:
                    leads += 2
            else:
                # The usual constants are let through here, the rest is looked at.
                right = y
                if y.__class__ is not _ndarray or y.dtype.kind != "f":
                    y = _constant(y, op)
                    # To NumPy a subclass of float is no weak number, but a float64.
                    right = y.value if y.__class__ is Scalar else y
        elif isinstance(y, Node):
            left = x
            if x.__class__ is not _ndarray or x.dtype.kind != "f":
                x = _constant(x, op)
                left = x.value if x.__class__ is Scalar else x
            right = y._value
            leads = y.requires_grad + y.requires_grad
        else:
            if isinstance(x, _SEQUENCES) or isinstance(y, _SEQUENCES):
                x, y = np.asarray(x), np.asarray(y)
            return body(x, y)
        if op.rule is not None:
            stable = op.rule(x, y)
            if stable is not None:
                return stable
        try:
            value = body(left, right)
        except (TypeError, ValueError, IndexError) as error:
            raise op.explain(error, (x, y), _NO_SETTINGS) from None
        if _current() is not _PLAIN:
            return record(op, value, (x, y), _NO_SETTINGS)
        node = _new(_result)
        node._value = value
        node._op = op
        node._x = x
        node._y = y
        node._form = None
        node._leads = leads
        node.requires_grad = differentiable and leads > 0
        node._order = _tick()
        frame = _getframe(1)
        code = frame.f_code
        while code.co_filename in _OURS and frame.f_back is not None:
            frame = frame.f_back
            code = frame.f_code
        node._code = code
        node._lasti = frame.f_lasti
        return node

    return call


def _unary_with_settings(op: Op) -> Callable[..., Any]:
    body = op.body
    defaults = op.defaults
    differentiable = op.differentiable

    def call(x: Any, *values: Any, **keywords: Any) -> Any:
        settings = op.bind(values, keywords) if values or keywords else defaults
        if not isinstance(x, Node):
            return body(x, **settings)
        try:
            value = body(x._value, **settings)
        except (TypeError, ValueError, IndexError) as error:
            raise op.explain(error, (x,), settings) from None
        if _current() is not _PLAIN:
            return record(op, value, (x,), settings)
        node = _new(_result)
        node._value = value
        node._op = op
        node._x = x
        node._settings = settings
        node._form = None
        # Rounded to integers it is flat, and has no gradient.
        needs = differentiable and x.requires_grad and value.dtype.kind == "f"
        node._leads = node.requires_grad = needs
        node._order = _tick()
        frame = _getframe(1)
        code = frame.f_code
        while code.co_filename in _OURS and frame.f_back is not None:
            frame = frame.f_back
            code = frame.f_code
        node._code = code
        node._lasti = frame.f_lasti
        return node

    return call


def _binary_with_settings(op: Op) -> Callable[..., Any]:
    body = op.body

    def call(x: Any, y: Any, *values: Any, **keywords: Any) -> Any:
        settings = op.bind(values, keywords)
        if not isinstance(x, Node):
            if not isinstance(y, Node):
                return body(x, y, **settings)
            x = _constant(x, op)
        elif not isinstance(y, Node):
            y = _constant(y, op)
        try:
            value = body(data_of(x), data_of(y), **settings)
        except (TypeError, ValueError, IndexError) as error:
            raise op.explain(error, (x, y), settings) from None
        return record(op, value, (x, y), settings)

    return call


def _nary(op: Op) -> Callable[..., Any]:
    body = op.body
    variadic = op.variadic
    operands = len(op.operands)

    def call(*inputs: Any, **keywords: Any) -> Any:
        values: tuple[Any, ...] = ()
        if not variadic:
            inputs, values = inputs[:operands], inputs[operands:]
            if len(inputs) < operands:
                raise OpError(
                    f"{op.name}: takes {operands} operands {list(op.operands)}; "
                    f"got {len(inputs)}"
                )
        settings = op.bind(values, keywords)
        for x in inputs:
            if isinstance(x, Node):
                break
        else:
            return body(*inputs, **settings)
        inputs = tuple(x if isinstance(x, Node) else _constant(x, op) for x in inputs)
        try:
            value = body(*[data_of(x) for x in inputs], **settings)
        except (TypeError, ValueError, IndexError) as error:
            raise op.explain(error, inputs, settings) from None
        return record(op, value, inputs, settings)

    return call
