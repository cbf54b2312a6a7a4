"""Rewriting rules: what the textbook writes, computed the way it should be.

``log(1 / (1 + exp(-z)))`` overflows at z = -1000 however carefully each op is
written, because the information is lost between the ops. So an op looks at what
its operands are known to equal (their `Form`) and records the stable op instead.

Each rule is one row of `RULES`: an op, the forms of its operands, and what comes
of it, with the reason. Two kinds of row:

* *it has a form*: the node is recorded as written, and is known to equal
  ``form(operand)``;
* *it is recorded as* a stabler op of the operand. What the user wrote is kept
  beside it (`Written`), for anyone who asks for the gradient of a bypassed node.

Rules look only at values' origin, never at whether gradients are recorded: the
same number comes out under `no_grad`, where a form keeps a bare copy of its
operand and so nothing older.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Form, Node, Op, Written, data_of, op_of, record
from tinygrad_nn.recording import PLAIN, current

__all__ = ["RULES", "Rule"]

ANY = "x"


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
    Rule("add", ("1", "exp(x)"), "1+exp(x)"),
    Rule("add", ("exp(x)", "1"), "1+exp(x)"),
    Rule("add", ("1", "exp(-x)"), "1+exp(-x)"),
    Rule("add", ("exp(-x)", "1"), "1+exp(-x)"),
    Rule("sum", ("exp(x)",), "sum(exp(x))"),
    Rule("subtract", ("exp(x)", "exp(-x)"), "exp(x)-exp(-x)"),
    Rule("add", ("exp(x)", "exp(-x)"), "exp(x)+exp(-x)"),
    Rule("add", ("exp(-x)", "exp(x)"), "exp(x)+exp(-x)"),
    # sigmoid and softmax, by name and spelled out
    Rule("sigmoid", (ANY,), "sigmoid(x)"),
    Rule("softmax", (ANY,), "softmax(x)"),
    Rule(
        "divide", ("1", "1+exp(-x)"), "sigmoid(x)", ops.sigmoid, True, _OVERFLOW
    ),
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
    Rule(
        "divide", ("exp(x)", "1+exp(x)"), "sigmoid(x)", ops.sigmoid, False, _OVERFLOW
    ),
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
        ("exp(x)", "sum(exp(x))"),
        "softmax(x)",
        ops.softmax,
        False,
        "the largest exponential overflows: inf / inf",
    ),
    Rule("subtract", ("1", "sigmoid(x)"), "1-sigmoid(x)"),
    Rule("subtract", ("1", "1-sigmoid(x)"), "sigmoid(x)"),
    Rule("negative", ("sigmoid(x)",), "-sigmoid(x)"),
    Rule("add", ("1", "-sigmoid(x)"), "1-sigmoid(x)"),
    Rule("add", ("-sigmoid(x)", "1"), "1-sigmoid(x)"),
    # logarithms
    Rule("log", ("sigmoid(x)",), None, ops.log_sigmoid, False, _DIGITS),
    Rule("log", ("1-sigmoid(x)",), None, ops.log1m_sigmoid, False, _DIGITS),
    Rule("log1p", ("-sigmoid(x)",), None, ops.log1m_sigmoid, False, _DIGITS),
    Rule("log", ("softmax(x)",), None, ops.log_softmax, False, _DIGITS),
    Rule("log", ("1+exp(x)",), None, ops.softplus, False, _OVERFLOW),
    Rule("log", ("1+exp(-x)",), None, _of_minus(ops.softplus), False, _OVERFLOW),
    Rule("log1p", ("exp(x)",), None, ops.softplus, False, _OVERFLOW),
    Rule("log1p", ("exp(-x)",), None, _of_minus(ops.softplus), False, _OVERFLOW),
    Rule("log", ("sum(exp(x))",), None, ops.logsumexp, False, _OVERFLOW),
)

_TABLE: dict[str, dict[tuple[str, ...], Rule]] = {}
for _rule in RULES:
    _TABLE.setdefault(_rule.op, {})[_rule.operands] = _rule


_NUMBERS = {1: "1", 0: "0", -1: "-1"}
_Form = partial(tuple.__new__, Form)  # a third of the time of Form(...)
_Written = partial(tuple.__new__, Written)


def _kind(x: Any) -> str:
    """Name a constant operand by the number that it is, or as anything."""
    if x.__class__ in (int, float):
        return _NUMBERS.get(x, ANY)
    return ANY if np.ndim(x) else _NUMBERS.get(data_of(x).item(), ANY)


def _unary_rule(op: Op, table: Mapping[tuple[str, ...], Rule]) -> Callable[..., Any]:
    kinds = {rule.operands[0]: rule for rule in table.values()}
    fallback = kinds.pop(ANY, None)
    name = None if fallback is None else fallback.form

    def rule(x: Node, **settings: Any) -> Form | Node | None:
        form = x._form
        if form is not None:
            found = kinds.get(form.kind)
            if found is not None:
                return _apply(found, op, (x,), settings, form)
        if name is None:
            return None
        operand = x if current() is PLAIN else _bare(x)
        return _Form((name, operand, settings or None, None))

    return rule


def _binary_rule(op: Op, table: Mapping[tuple[str, ...], Rule]) -> Callable[..., Any]:
    of_constant = any(ANY in rule.operands for rule in table.values())

    def rule(x: Any, y: Any) -> Form | Node | None:
        if isinstance(x, Node):
            left = x._form
            if isinstance(y, Node):
                right = y._form
                if left is None or right is None or not _same(left, right):
                    return None
                found = table.get((left.kind, right.kind))
                return found and _apply(found, op, (x, y), {}, right)
            if left is None and not of_constant:
                return None
            form, variable = left, x
            constant = _kind(y)
            kinds = (ANY if left is None else left.kind, constant)
            loose = (ANY, constant)
        else:
            right = y._form
            if right is None and not of_constant:
                return None
            form, variable = right, y
            constant = _kind(x)
            kinds = (constant, ANY if right is None else right.kind)
            loose = (constant, ANY)
        if constant is ANY:
            return None
        found = table.get(kinds)
        if found is not None and form is not None:
            return _apply(found, op, (x, y), {}, form)
        found = table.get(loose)
        if found is None:
            return None
        operand = variable if current() is PLAIN else _bare(variable)
        return _Form((found.form, operand, None, None))

    return rule


def _same(left: Form, right: Form) -> bool:
    """Whether both are forms of one operand: the copies kept under no_grad share it."""
    return left.operand._data is right.operand._data


def _apply(
    rule: Rule,
    op: Op,
    inputs: tuple[Any, ...],
    settings: Mapping[str, Any],
    form: Form,
) -> Form | Node | None:
    """What the rule says: a form for the node to come, or the stable node itself."""
    z = form.operand
    options = form.settings or settings
    if rule.records is None:
        return _Form((rule.form, z, options or None, None))
    if options and rule.op == "divide":
        if not options["keepdims"] and options["axis"] is not None:
            return None  # e / e.sum(axis) broadcasts along another axis than it sums
        options = {"axis": options["axis"]}
    kept = _Written((op, inputs, settings)) if current().records else None
    if rule.keeps_value:
        operand = z if rule.records is ops.sigmoid else ops.negative(z)
        value = op.body(*[data_of(x) for x in inputs])
        known = _Form((rule.form, z, None, kept))
        return record(_SIGMOID, value, (operand,), {}, known)
    node: Node = rule.records(z, **options)
    node._form = _Form((rule.form or ANY, z, options or None, kept))
    return node


_SIGMOID = op_of(ops.sigmoid)


def _bare(x: Node) -> Node:
    """Return the operand, without its past where nothing is recorded."""
    if current().records or (x._op is None and x._form is None):
        return x
    copy = type(x).__new__(type(x))
    copy._data = x._data
    copy._op = copy._form = copy._code = None
    copy._lasti = -1
    copy._order = x._order
    copy.requires_grad = False
    return copy


def _install() -> None:
    for name, table in _TABLE.items():
        op = op_of(getattr(ops, name))
        make = _unary_rule if len(next(iter(table))) == 1 else _binary_rule
        op.rule = make(op, table)


_install()
