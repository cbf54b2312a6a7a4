"""Rewriting rules: what the textbook writes, computed the way it should be.

``log(1 / (1 + exp(-z)))`` overflows at z = -1000 however carefully each op is
written, because the information is lost between the ops. So an op looks at what
its operands are known to equal (their `Form`) and records the stable op instead. Forms
are looked for only by the few ops that can use one, and a form is found from the
forms of the operands, so nothing is searched.

Each rule is one row of `RULES`: an op, the forms of its operands, and what comes
of it, with the reason. Two kinds of row:

* *it has a form*: the node is recorded as written, and is known to equal
  ``form(operand)``;
* *it is recorded as* a stabler op of the operand. What the user wrote is kept
  beside it (`Written`), for anyone who asks for the gradient of a bypassed node.

Rules look only at values' origin, never at whether gradients are recorded: the
same number comes out under `no_grad`, where a form keeps a bare copy of its
operand and so nothing older.

A second table, `IDENTITIES`, holds what is *not* done while recording: two ways to
write one thing, of which the second is cheaper or easier to read. The compiler rewrites
by them, unless every bit must stay; a derivation may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph, ops, shapes
from tinygrad_nn.op import (
    Form,
    Node,
    Op,
    Written,
    constant,
    data_of,
    forms_are_kept_as,
    op_of,
    record,
)
from tinygrad_nn.recording import current
from tinygrad_nn.scalars import Scalar

__all__ = ["IDENTITIES", "RULES", "Identity", "Rule", "form_of"]

ANY = "x"
NONE = ""  # no known form; what was written may be kept all the same


class Rule(NamedTuple):
    """One row: ``op`` of operands with these forms has a form, or is recorded anew.

    Attributes
    ----------
    op
        Name of the op that is about to be recorded.
    operands
        The form of each operand: a kind, a number, or ``"x"`` for anything. Two
        operands with forms must have one and the same operand themselves.
    form
        What the result is known to equal.
    records
        Makes the stable node from the operand (and the form's settings); None
        records what was written.
    keeps_value
        The value as written is right, only its gradient is not: keep it, so that
        NumPy code gives bit for bit what it gave.
    reason
        Why the rule exists.
    """

    op: str
    operands: tuple[str, ...]
    form: str | None
    records: Callable[..., Any] | None = None
    keeps_value: bool = False
    reason: str = ""


def _of_minus(stable: Callable[..., Any]) -> Callable[..., Any]:
    return lambda z: stable(ops.negative(z))


_OVERFLOW = "exp overflows in one tail; the slope would be 0 * inf"
_DIGITS = "the sigmoid rounds to 0 or 1 in the tails, and the log then loses all"

RULES = (
    # building blocks
    Rule("negative", (ANY,), "-x"),
    Rule("multiply", ("-1", ANY), "-x"),
    Rule("multiply", (ANY, "-1"), "-x"),
    Rule("subtract", ("0", ANY), "-x"),
    Rule("exp", (ANY,), "exp(x)"),
    Rule("exp", ("-x",), "exp(-x)"),
    Rule("power", ("e", ANY), "exp(x)"),
    Rule("add", ("1", "exp(x)"), "1+exp(x)"),
    Rule("add", ("exp(x)", "1"), "1+exp(x)"),
    Rule("add", ("1", "exp(-x)"), "1+exp(-x)"),
    Rule("add", ("exp(-x)", "1"), "1+exp(-x)"),
    Rule("sum", ("exp(x)",), "sum(exp(x))"),
    Rule("subtract", ("exp(x)", "exp(-x)"), "exp(x)-exp(-x)"),
    Rule("add", ("exp(x)", "exp(-x)"), "exp(x)+exp(-x)"),
    Rule("add", ("exp(-x)", "exp(x)"), "exp(x)+exp(-x)"),
    Rule("sinh", (ANY,), "sinh(x)"),
    Rule("cosh", (ANY,), "cosh(x)"),
    # sigmoid and softmax, by name and spelled out
    Rule("sigmoid", (ANY,), "sigmoid(x)"),
    Rule("softmax", (ANY,), "softmax(x)"),
    Rule("divide", ("1", "1+exp(-x)"), "sigmoid(x)", ops.sigmoid, True, _OVERFLOW),
    Rule("reciprocal", ("1+exp(-x)",), "sigmoid(x)", ops.sigmoid, True, _OVERFLOW),
    Rule("power", ("1+exp(-x)", "-1"), "sigmoid(x)", ops.sigmoid, True, _OVERFLOW),
    Rule(
        "divide",
        ("1", "1+exp(x)"),
        "1-sigmoid(x)",
        _of_minus(ops.sigmoid),
        True,
        _OVERFLOW,
    ),
    Rule("divide", ("exp(x)", "1+exp(x)"), "sigmoid(x)", ops.sigmoid, False, _OVERFLOW),
    Rule(
        "divide",
        ("exp(x)-exp(-x)", "exp(x)+exp(-x)"),
        "tanh(x)",
        ops.tanh,
        False,
        "both exponentials overflow: inf / inf",
    ),
    Rule(
        "divide",
        ("sinh(x)", "cosh(x)"),
        "tanh(x)",
        ops.tanh,
        False,
        "both overflow: inf / inf",
    ),
    Rule(
        "divide",
        ("exp(x)", "sum(exp(x))"),
        "softmax(x)",
        ops.softmax,
        False,
        "the largest exponential overflows: inf / inf",
    ),
    Rule("subtract", ("1", "sigmoid(x)"), "1-sigmoid(x)"),
    Rule("subtract", ("1", "1-sigmoid(x)"), "1-(1-sigmoid(x))"),
    Rule("negative", ("sigmoid(x)",), "-sigmoid(x)"),
    Rule("add", ("1", "-sigmoid(x)"), "1-sigmoid(x)"),
    Rule("add", ("-sigmoid(x)", "1"), "1-sigmoid(x)"),
    # logarithms
    Rule("log", ("sigmoid(x)",), None, ops.log_sigmoid, False, _DIGITS),
    Rule("log", ("1-(1-sigmoid(x))",), None, ops.log_sigmoid, False, _DIGITS),
    Rule("log", ("1-sigmoid(x)",), None, ops.log1m_sigmoid, False, _DIGITS),
    Rule("log1p", ("-sigmoid(x)",), None, ops.log1m_sigmoid, False, _DIGITS),
    Rule("log", ("softmax(x)",), None, ops.log_softmax, False, _DIGITS),
    Rule("log", ("1+exp(x)",), None, ops.softplus, False, _OVERFLOW),
    Rule("log", ("1+exp(-x)",), None, _of_minus(ops.softplus), False, _OVERFLOW),
    Rule("log1p", ("exp(x)",), None, ops.softplus, False, _OVERFLOW),
    Rule("log1p", ("exp(-x)",), None, _of_minus(ops.softplus), False, _OVERFLOW),
    Rule("log", ("sum(exp(x))",), None, ops.logsumexp, False, _OVERFLOW),
)


class Identity(NamedTuple):
    """One row: two ways to write one thing, as functions of its parts.

    Attributes
    ----------
    name
        What it says.
    written, instead
        Functions of the same operands, in operators and ops. Where they take an
        ``axis``, it may be any, the same in all of their ops.
    reason
        What is gained, and what may be lost.
    operands
        Where a test may try it: lowest and highest value of each operand.
    constant_along_axis
        Positions of operands that must have one value along ``axis``.
    loses_digits
        The second way rounds before it takes a difference: in float32 it is to be
        computed in float64.
    """

    name: str
    written: Callable[..., Any]
    instead: Callable[..., Any]
    reason: str
    operands: tuple[tuple[float, float], ...]
    constant_along_axis: tuple[int, ...] = ()
    loses_digits: bool = False


_LOGIT = (-6.0, 6.0)
_SHARE = (0.0, 1.0)
_REAL = (-2.0, 2.0)
_LESS_DIGITS = (
    "cheaper; where the prediction is close to the label, as many digits are lost as "
    "the two have in common"
)

IDENTITIES = (
    # What the gradient rules of the stable logarithms hold of the sigmoid.
    Identity(
        "e^(log sigmoid(z)) - 1 = -sigmoid(-z)",
        lambda z: ops.expm1(ops.log_sigmoid(z)),
        lambda z: -ops.sigmoid(-z),
        "shorter: what it multiplies is a term of sigmoid(z) - y",
        (_LOGIT,),
    ),
    Identity(
        "e^(log(1 - sigmoid(z))) - 1 = -sigmoid(z)",
        lambda z: ops.expm1(ops.log1m_sigmoid(z)),
        lambda z: -ops.sigmoid(z),
        "shorter: no logarithm is needed for the gradient",
        (_LOGIT,),
    ),
    Identity(
        "e^(-softplus(z)) - 1 = -sigmoid(z)",
        lambda z: ops.expm1(-ops.softplus(z)),
        lambda z: -ops.sigmoid(z),
        "shorter: no logarithm is needed for the gradient",
        (_LOGIT,),
    ),
    # Cross-entropy of a sigmoid.
    Identity(
        "y log sigmoid(z) + (1 - y) log(1 - sigmoid(z)) = -logistic_loss(z, y)",
        lambda z, y: y * ops.log_sigmoid(z) + (1 - y) * ops.log1m_sigmoid(z),
        lambda z, y: -ops.logistic_loss(z, y),
        "cheaper: one logarithm",
        (_LOGIT, _SHARE),
    ),
    Identity(
        "(1 - y) sigmoid(z) - y sigmoid(-z) = sigmoid(z) - y",
        lambda z, y: (1 - y) * ops.sigmoid(z) - y * ops.sigmoid(-z),
        lambda z, y: ops.sigmoid(z) - y,
        _LESS_DIGITS,
        (_LOGIT, _SHARE),
        loses_digits=True,
    ),
    Identity(
        "logistic_residual(z, y) = sigmoid(z) - y",
        ops.logistic_residual,
        lambda z, y: ops.sigmoid(z) - y,
        _LESS_DIGITS,
        (_LOGIT, _SHARE),
        loses_digits=True,
    ),
    Identity(
        "(1 - y) a - y (1 - a) = a - y",
        lambda a, y: (1 - y) * a - y * (1 - a),
        lambda a, y: a - y,
        "cheaper",
        (_SHARE, _SHARE),
    ),
    Identity(
        "-(y / a - (1 - y) / (1 - a)) a (1 - a) = a - y",
        lambda a, y: -(y / a - (1 - y) / (1 - a)) * (a * (1 - a)),
        lambda a, y: a - y,
        "cheaper, and finite where a is 0 or 1",
        ((0.1, 0.9), _SHARE),
    ),
    # Cross-entropy of a softmax.
    Identity(
        "softmax(x - t) = softmax(x)",
        lambda x, t, axis=-1: ops.softmax(x - t, axis),
        lambda x, t, axis=-1: ops.softmax(x, axis),  # noqa: ARG005 (it is gone)
        "cheaper: the op takes the largest away itself",
        (_REAL, _REAL),
        constant_along_axis=(1,),
    ),
    Identity(
        "log softmax(x - t) = log softmax(x)",
        lambda x, t, axis=-1: ops.log_softmax(x - t, axis),
        lambda x, t, axis=-1: ops.log_softmax(x, axis),  # noqa: ARG005 (it is gone)
        "cheaper: the op takes the largest away itself",
        (_REAL, _REAL),
        constant_along_axis=(1,),
    ),
    Identity(
        "(1 - p) g - p (the others' g) = g - p (all of g), p = softmax(x)",
        lambda x, g, axis=-1: (
            -g * ops.expm1(ops.log_softmax(x, axis))
            - ops.softmax(x, axis) * (ops.sum(g, axis, True) - g)
        ),
        lambda x, g, axis=-1: g - ops.softmax(x, axis) * ops.sum(g, axis, True),
        _LESS_DIGITS,
        (_REAL, _REAL),
        loses_digits=True,
    ),
    Identity(
        "the sum of g - p (all of g) is 0, p = softmax(x)",
        lambda x, g, axis=-1: ops.sum(
            g - ops.softmax(x, axis) * ops.sum(g, axis, True), axis, True
        ),
        lambda x, g, axis=-1: 0.0 * ops.sum(g, axis, True),  # noqa: ARG005
        "cheaper: what was subtracted from all of x has no gradient",
        (_REAL, _REAL),
    ),
)

Table = dict[tuple[str, ...], Rule]
_NUMBERS: dict[float, str] = {1: "1", 0: "0", -1: "-1", math.e: "e"}
_Form = partial(tuple.__new__, Form)  # a third of the time of Form(...)
_Written = partial(tuple.__new__, Written)
_SIGMOID = op_of(ops.sigmoid)
_NO_SETTINGS: Mapping[str, Any] = {}
_LONGEST = 5
"""Ops in the longest pattern, below the op that asks: 1 - 1 / (1 + exp(-z))."""


def _number(x: Any, y: Node) -> str:
    """Name a constant operand by the number that it is, or as anything.

    A NumPy scalar of a wider dtype than the other operand's is more than its number.
    """
    if x.__class__ in (int, float, bool):
        return _NUMBERS.get(x, ANY)
    if x.__class__ is Scalar:
        return ANY  # another number at the next step
    if isinstance(x, np.ndarray) and current().trace is not None:
        return ANY  # an array is read anew at each step, one of a single number too
    if np.ndim(x) or np.result_type(x, y._value) != y._value.dtype:
        return ANY
    return _NUMBERS.get(x.item(), ANY)


def form_of(node: Node, depth: int = _LONGEST) -> Form | None:
    """What a node is known to equal: kept with it, or found from its operands.

    Under `no_grad` there are no operands to ask, so forms are kept from the start.
    Asking goes no deeper than the longest pattern. A form of a leaf that has changed
    since, or of a view of one, holds no longer.
    """
    form = node._form
    if form is None:
        op = node._op
        if op is None or op.form is None or depth == 0:
            return None
        if op.arity == 2:
            form = op.form(node._x, node._y, depth - 1)
        else:
            form = op.form(node._x, node._settings if op.defaults else None, depth - 1)
        if form is None:
            return None
        if depth == _LONGEST:
            node._form = form
    operand = form.operand
    if form.kind is NONE or operand._order > node._order:
        return None
    op = operand._op
    if op is None or op.pointwise or graph.owner(operand)._order <= node._order:
        return form
    return None


def _unary_form(table: Table) -> Callable[..., Any]:
    """Make the function from an operand to the form of the op applied to it."""
    of_forms = {rule.operands[0]: rule.form for rule in table.values()}
    of_any = of_forms.pop(ANY, None)

    def find(
        x: Node, settings: Mapping[str, Any] | None, depth: int = _LONGEST
    ) -> Form | None:
        if of_forms:
            form = form_of(x, depth)
            if form is not None:
                kind = of_forms.get(form.kind)
                if kind is not None:
                    options = form.settings or settings or None
                    return _Form((kind, form.operand, options, None))
        if of_any is None:
            return None
        return _Form((of_any, x, settings or None, None))

    return find


def _binary_form(table: Table) -> Callable[..., Any]:
    """Make the function from two operands to the form of the op applied to them."""
    of_any = any(ANY in operands for operands in table)

    def find(x: Any, y: Any, depth: int = _LONGEST) -> Form | None:
        found, form = _match(table, x, y, depth)
        if found is not None:
            assert form is not None  # noqa: S101 (found by its kind)
            return _Form((found.form, form.operand, form.settings, None))
        if of_any:
            first = isinstance(x, Node)
            if not (first and isinstance(y, Node)):
                number = _number(y, x) if first else _number(x, y)
                found = table.get((ANY, number) if first else (number, ANY))
                if found is not None:
                    return _Form((found.form, x if first else y, None, None))
        return None

    return find


def _match(
    table: Table, x: Any, y: Any, depth: int = _LONGEST
) -> tuple[Rule | None, Form | None]:
    """Rule for two operands of these forms, and the form that names their operand."""
    if isinstance(x, Node) and isinstance(y, Node):
        form = form_of(y, depth)
        left = None if form is None else form_of(x, depth)
        # Under no_grad each form has a copy of its operand; they share the time.
        if form is None or left is None or left.operand._order != form.operand._order:
            return None, None
        return table.get((left.kind, form.kind)), form
    first = isinstance(x, Node)
    number = _number(y, x) if first else _number(x, y)
    if number is ANY:
        return None, None
    form = form_of(x if first else y, depth)
    if form is None:
        return None, None
    return table.get((form.kind, number) if first else (number, form.kind)), form


def _unary_rule(op: Op, table: Table) -> Callable[..., Any]:
    """Make the function that an op asks before it records: the stable node, or None."""
    of_forms = {rule.operands[0]: rule for rule in table.values()}

    def rule(x: Node) -> Node | None:
        form = form_of(x)
        found = None if form is None else of_forms.get(form.kind)
        return None if found is None else _rewrite(found, op, (x,), form)

    return rule


def _binary_rule(op: Op, table: Table) -> Callable[..., Any]:
    """Make the function that an op asks before it records: the stable node, or None."""

    def rule(x: Any, y: Any) -> Node | None:
        found, form = _match(table, x, y)
        return None if found is None else _rewrite(found, op, (x, y), form)

    return rule


def _rewrite(rule: Rule, op: Op, inputs: tuple[Any, ...], form: Any) -> Node | None:
    z = form.operand
    options = form.settings
    if options and rule.op == "divide":
        gone = shapes.reduced_axes(z._value.ndim, options["axis"])
        if not options["keepdims"] and gone != tuple(range(len(gone))):
            return None  # e / e.sum(axis) broadcasts along another axis than it sums
        options = {"axis": options["axis"]}
    records = rule.records
    assert records is not None  # noqa: S101 (that is what makes it a rewriting rule)
    kept = None
    known = z
    if current().keeps_graph:
        kept = _Written((op, inputs, _NO_SETTINGS))
    else:
        known = _bare(z)
    if rule.keeps_value:
        operand = z if records is ops.sigmoid else ops.negative(z)
        value = op.body(*[data_of(x) for x in inputs])
        form = _Form((rule.form, known, None, kept))
        return record(_SIGMOID, value, (operand,), _NO_SETTINGS, form)
    node: Node = records(z, **options) if options else records(z)
    node._form = _Form((rule.form or NONE, known, options, kept))
    return node


def _bare(x: Node) -> Node:
    """Return the operand, without its past where nothing is recorded."""
    if current().keeps_graph or (x._op is None and x._form is None):
        return x
    return constant(x._value, x._order)


_FORMS: dict[str, Table] = {}
_REWRITES: dict[str, Table] = {}


def _install() -> None:
    for rule in RULES:
        tables = _FORMS if rule.records is None else _REWRITES
        tables.setdefault(rule.op, {})[rule.operands] = rule
    for name, table in _FORMS.items():
        op = op_of(getattr(ops, name))
        op.form = (_unary_form if op.arity == 1 else _binary_form)(table)
    for name, table in _REWRITES.items():
        op = op_of(getattr(ops, name))
        op.rule = (_unary_rule if op.arity == 1 else _binary_rule)(op, table)


_install()
forms_are_kept_as(_bare)
