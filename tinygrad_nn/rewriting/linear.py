"""How a number in front of an operand comes to stand in front of the result.

A rule takes a `Call` whose operands are forms, and returns the form of the result, or
None where numbers do not pass: then the op is applied to the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.op import Node, Op, inputs_of, op_of, settings_of
from tinygrad_nn.rewriting.forms import (
    FLOATS,
    Form,
    data,
    filled,
    is_live,
    is_nothing,
    is_one,
    is_unit,
    is_zero,
    number_leaf,
    over,
    times,
    usable,
)
from tinygrad_nn.rewriting.matching import close

__all__ = ["LINEAR", "Call", "Walk"]


class Call(NamedTuple):
    """An op that is about to be applied.

    Attributes
    ----------
    op, forms, settings
        What is applied to what.
    blame
        The node of the program in whose place this stands.
    value
        An array of the result's shape and dtype; its elements mean nothing.
    """

    op: Op
    forms: tuple[Form, ...]
    settings: Mapping[str, Any]
    blame: Node
    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the result."""
        return np.shape(self.value)


class Walk(Protocol):
    """What a rule may ask of the walk over a program (see `scaling`)."""

    values: dict[Node, Form]
    writing: int

    def apply(self, call: Call) -> Form:
        """Return the form of an op of forms."""

    def build(
        self, call: Call, inputs: tuple[Any, ...], scale: Any = 1.0, op: Any = None
    ) -> Form:
        """Return the form of an op of bases, with a number in front."""

    def node(self, call: Call, inputs: tuple[Any, ...]) -> Any:
        """Return the node of an op, as it is."""

    def form_of(self, x: Any) -> Form:
        """Return an operand as a number times a base."""

    def raw(self, form: Form) -> Any:
        """Return the value itself."""

    def rewritten(
        self, root: str, terms: list[tuple[Any, Any]], blame: Node, value: Any
    ) -> Form | None:
        """Return what an identity says instead, if one fits."""


Rule = Callable[[Walk, Call], Form | None]


def _fits(form: Form, value: Any) -> bool:
    """Whether a number in front of a base stays a number in front of the result."""
    # A mask has no number in front; that of a float32 operand gains digits.
    return form.dtype is None or form.dtype == value.dtype or form.base is not None


def _all_fit(call: Call) -> bool:
    return all(_fits(form, call.value) for form in call.forms)


def _is(x: Any, op: Op) -> bool:
    return isinstance(x, Node) and x._op is op


# --- arithmetic ---


def _negative(_walk: Walk, call: Call) -> Form | None:
    (x,) = call.forms
    if x.dtype != call.value.dtype:
        return None
    return x._replace(scale=-x.scale, origin=None)


def _multiply(walk: Walk, call: Call) -> Form | None:
    x, y = call.forms
    if not _all_fit(call):
        return None
    if is_zero(x) or is_zero(y):
        return filled(0.0, call.value)
    scale = times(x.scale, y.scale)
    if not usable(scale):
        return None
    if x.base is None and y.base is None:
        return filled(scale, call.value)
    if x.base is None or y.base is None:
        return _stretched(walk, call, y if x.base is None else x, scale)
    return walk.build(call, (x.base, y.base), scale)


def _divide(walk: Walk, call: Call) -> Form | None:
    x, y = call.forms
    if not _all_fit(call) or is_zero(y):
        return None
    if is_zero(x):
        return filled(0.0, call.value)
    scale = over(x.scale, y.scale)
    if not usable(scale):
        return None
    if y.base is None:
        stays = x.base is None
        return filled(scale, call.value) if stays else _stretched(walk, call, x, scale)
    if x.base is not None:
        return walk.build(call, (x.base, y.base), scale)
    return _divided(walk, call, scale)


def _divided(walk: Walk, call: Call, scale: Any) -> Form | None:
    """Divide a number by an array."""
    x, y = call.forms
    if y.shape != call.shape or y.dtype != call.value.dtype:
        return None
    # k / y is one call as it is.
    once = is_one(y.scale) and not is_unit(x.scale)
    return None if once else walk.build(call, (1.0, y.base), scale)


def _stretched(walk: Walk, call: Call, form: Form, scale: Any) -> Form | None:
    """Multiply by a number that fills an array: what it meets takes that shape."""
    base = form.base
    if form.dtype != call.value.dtype or not isinstance(base, Node):
        return None
    if form.shape != call.shape:
        wider = call._replace(op=_BROADCAST, settings={"shape": call.shape})
        base = walk.node(wider, (base,))
    return Form(scale, base, call.shape, call.value.dtype)


def _add(walk: Walk, call: Call) -> Form | None:
    x, y = call.forms
    if not _all_fit(call):
        return None
    if call.op is _SUBTRACT:
        y = y._replace(scale=-y.scale)
    for form, other in ((x, y), (y, x)):
        if is_zero(other) and form.shape == call.shape:
            same = form.dtype == call.value.dtype
            return form._replace(origin=None) if same else None
    if x.base is None or y.base is None:
        return _add_number(walk, call, x, y)
    return _add_arrays(walk, call, x, y)


def _add_arrays(walk: Walk, call: Call, x: Form, y: Form) -> Form | None:
    """Add two arrays that are given with their signs."""
    if close(x.scale, y.scale):
        return walk.build(call, (x.base, y.base), x.scale, op=_ADD)
    if close(x.scale, -y.scale):
        if is_unit(x.scale) and x.scale == -1:
            x, y = y, x
        return walk.build(call, (x.base, y.base), x.scale, op=_SUBTRACT)
    terms = [(x.scale, x.base), (y.scale, y.base)]
    found = walk.rewritten("add", terms, call.blame, call.value)
    if found is not None:
        return found
    if call.op is _SUBTRACT:
        y = y._replace(origin=None)  # the sign is not that of the operand
    for first, second in ((x, y), (y, x)):
        if is_unit(second.scale) and second.scale == -1:
            return walk.build(call, (walk.raw(first), second.base), op=_SUBTRACT)
    return None


def _add_number(walk: Walk, call: Call, x: Form, y: Form) -> Form | None:
    """Add a number and an array that are given with their signs."""
    if x.base is None and y.base is None:
        if is_live(x.scale) or is_live(y.scale) or not usable(x.scale + y.scale):
            return None
        return filled(x.scale + y.scale, call.value)
    number, array = (x, y) if x.base is None else (y, x)
    fits = is_unit(array.scale) and array.shape == call.shape
    if not fits or is_zero(number):
        return None
    k = number.scale
    if number.dtype is not None and not is_live(k):
        k = number_leaf(number.dtype.type(k))
    if array.scale == -1:
        return walk.build(call, (k, array.base), op=_SUBTRACT)
    if array is y and call.op is _SUBTRACT:  # k - (-x)
        return walk.build(call, (k, array.base), op=_ADD)
    return None


def _through(change: Callable[[float], float]) -> Rule:
    """Make the rule of f(c x) = change(c) f(x), for c > 0."""

    def rule(walk: Walk, call: Call) -> Form | None:
        (x,) = call.forms
        if x.base is None or x.dtype != call.value.dtype or not _positive(x):
            return None
        scale = change(x.scale)
        return walk.build(call, (x.base,), scale) if usable(scale) else None

    return rule


def _positive(form: Form) -> bool:
    """Whether there is a number above zero, other than one."""
    return not is_live(form.scale) and form.scale > 0 and form.scale != 1


# --- choices ---


def _where(walk: Walk, call: Call) -> Form | None:
    condition, x, y = call.forms
    if condition.base is None or not (_fits(x, call.value) and _fits(y, call.value)):
        return None
    if is_nothing(x) and is_nothing(y):
        return filled(0.0, call.value)
    if is_nothing(x) or is_nothing(y):
        return _where_or_zero(walk, call)
    if x.base is None or y.base is None or not close(x.scale, y.scale):
        return None
    return walk.build(call, (condition.base, x.base, y.base), x.scale)


def _where_or_zero(walk: Walk, call: Call) -> Form | None:
    condition, x, y = call.forms
    kept = y if is_nothing(x) else x
    if kept.base is None or kept.dtype != call.value.dtype:
        return None
    if np.broadcast_shapes(condition.shape, kept.shape) != call.shape:
        return None
    zero: Any = 0.0
    parts = (zero, kept.base) if is_nothing(x) else (kept.base, zero)
    return walk.build(call, (condition.base, *parts), kept.scale)


def _against_zero(walk: Walk, call: Call) -> Form | None:
    """max(c x, 0) = c max(x, 0), and c x > 0 where x > 0: for c > 0."""
    x, y = call.forms
    array, zero = (x, y) if is_nothing(y) else (y, x)
    if not is_nothing(zero) or array.base is None or not _positive(array):
        return None
    if array.dtype not in FLOATS or array.dtype != call.value.dtype != bool:
        return None
    inputs = tuple(array.base if form is array else form.base for form in call.forms)
    scale = 1.0 if call.value.dtype == bool else array.scale
    return walk.build(call, inputs, scale)


# --- sums ---


def _sum(walk: Walk, call: Call) -> Form | None:
    (x,) = call.forms
    if x.dtype != call.value.dtype:
        return None
    if is_zero(x):
        return filled(0.0, call.value)
    axes = shapes.reduced_axes(len(x.shape), call.settings["axis"])
    if x.base is None:
        scale = x.scale * math.prod(x.shape[i] for i in axes)
        return filled(scale, call.value) if usable(scale) else None
    if math.prod(x.shape) == math.prod(call.shape):
        return _reshaped(walk, call, x)
    for shorter in (_column, _sum_of_sums, _nothing_left):
        found = shorter(walk, call, axes)
        if found is not None:
            return found
    return walk.build(call, (x.base,), x.scale, op=_SUM)


def _reshaped(walk: Walk, call: Call, form: Form) -> Form:
    if form.shape == call.shape:
        return form
    settings = {"shape": call.shape}
    return walk.apply(call._replace(op=_RESHAPE, forms=(form,), settings=settings))


def _column(walk: Walk, call: Call, axes: tuple[int, ...]) -> Form | None:
    """Sum over rows into which one element each was put: that element.

    Not before its identity is found: until then the sum must look like one.
    """
    (x,) = call.forms
    if not walk.writing or axes != (1,) or not _is(x.base, _SCATTER_ADD):
        return None
    index = settings_of(x.base)["index"]
    rows = index[0] if isinstance(index, tuple) and len(index) == 2 else None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu":
        return None
    count = x.shape[0]
    (put,) = inputs_of(x.base)
    if np.shape(data(put)) != (count,) or not np.array_equal(rows, np.arange(count)):
        return None
    form = walk.form_of(put)
    return _reshaped(walk, call, form._replace(scale=times(form.scale, x.scale)))


def _sum_of_sums(walk: Walk, call: Call, axes: tuple[int, ...]) -> Form | None:
    """Sum everything at once, where all that a sum left is summed."""
    (x,) = call.forms
    if not _is(x.base, _SUM) or len(axes) < len(x.shape) or call.shape != ():
        return None
    inner = walk.form_of(inputs_of(x.base)[0])
    scale = times(x.scale, inner.scale)
    if inner.base is None or not usable(scale):
        return None
    form = inner._replace(scale=scale, origin=None)
    everything = {"axis": None, "keepdims": False}
    return walk.apply(call._replace(op=_SUM, forms=(form,), settings=everything))


def _nothing_left(walk: Walk, call: Call, axes: tuple[int, ...]) -> Form | None:
    """Return zero where an identity of a sum, which keeps its axes, says so."""
    (x,) = call.forms
    base = walk.values.get(x.base, x).base if isinstance(x.base, Node) else x.base
    if _is(base, _ASTYPE):
        base = walk.form_of(inputs_of(base)[0]).base
    settings = {"axis": axes, "keepdims": True}
    rows = np.empty(shapes.reduced(x.shape, axes, keepdims=True), x.dtype)
    kept = walk.node(call._replace(op=_SUM, settings=settings, value=rows), (base,))
    found = walk.rewritten("sum", [(1.0, kept)], call.blame, rows)
    if found is None or not is_zero(found):
        return None
    return filled(0.0, call.value)


def _mean(walk: Walk, call: Call) -> Form | None:
    (x,) = call.forms
    axes = shapes.reduced_axes(len(x.shape), call.settings["axis"])
    count = math.prod(x.shape[i] for i in axes)
    form = _sum(walk, call._replace(op=_SUM))
    if form is None or not count:
        return None
    scale = form.scale / count
    if not is_zero(form) and not usable(scale):
        return None
    return form._replace(scale=scale, origin=None)


# --- moves ---


def _move(walk: Walk, call: Call) -> Form | None:
    """Take the number out of what only moves elements, or adds them up."""
    (x,) = call.forms
    if x.dtype != call.value.dtype:
        return None
    if x.base is None:
        adds = call.op.name in ("scatter_add", "cumsum")
        return None if adds and not is_zero(x) else filled(x.scale, call.value)
    if call.op.name in ("reshape", "broadcast_to", "spread") and x.shape == call.shape:
        return x._replace(origin=None)
    undone = _undone(x.base, call)
    if undone is not None:
        inner = walk.form_of(undone)
        scale = times(inner.scale, x.scale)
        if inner.shape == call.shape and usable(scale):
            return inner._replace(scale=scale, origin=None)
    if call.op is _RESHAPE:
        call = call._replace(settings={"shape": call.shape})
    return walk.build(call, (x.base,), x.scale)


def _undone(base: Any, call: Call) -> Any:
    """Return what was moved to and fro, or None."""
    if call.op is _TRANSPOSE and _is(base, _TRANSPOSE):
        both = (call.settings["axes"], settings_of(base)["axes"])
        return inputs_of(base)[0] if both == (None, None) else None
    if call.op is not _RESHAPE:
        return None
    found = None
    while _keeps_order(base):
        found = base = inputs_of(base)[0]
    return found


def _keeps_order(base: Any) -> bool:
    """Whether a node has the elements of its operand, in their order."""
    if _is(base, _TRANSPOSE):
        return [n > 1 for n in base._value.shape].count(True) < 2
    return _is(base, _RESHAPE)


def _join(walk: Walk, call: Call) -> Form | None:
    first = call.forms[0].scale
    if is_one(first) or not all(close(form.scale, first) for form in call.forms):
        return None
    if any(form.base is None or form.dtype != call.value.dtype for form in call.forms):
        return None
    return walk.build(call, tuple(form.base for form in call.forms), first)


# --- products ---


def _matmul(walk: Walk, call: Call) -> Form | None:
    x, y = call.forms
    if not _all_fit(call):
        return None
    if is_zero(x) or is_zero(y):
        return filled(0.0, call.value)
    flat = len(x.shape) <= 2 and len(y.shape) <= 2
    if len(x.shape) == len(y.shape) and (1, 1) in (x.shape, y.shape):
        return walk.apply(call._replace(op=_MULTIPLY, settings={}))
    scale = times(x.scale, y.scale)
    if x.base is None or y.base is None or not usable(scale):
        return None
    if flat and call.value.size == 1 and x.shape[-1] > 1:
        return _dot(walk, call)
    return walk.build(call, (x.base, y.base), scale)


def _dot(walk: Walk, call: Call) -> Form:
    """Write one number as the sum of a product, which identities know."""
    x, y = call.forms
    turned = _reshaped(
        walk, call._replace(value=np.empty(x.shape, call.value.dtype)), y
    )
    product = Call(
        _MULTIPLY, (x, turned), {}, call.blame, np.empty(x.shape, call.value.dtype)
    )
    everything = {"axis": None, "keepdims": False}
    one = np.empty((), call.value.dtype)
    total = Call(_SUM, (walk.apply(product),), everything, call.blame, one)
    return _reshaped(walk, call, walk.apply(total))


def _einsum(walk: Walk, call: Call) -> Form | None:
    scale: Any = 1.0
    for form in call.forms:
        scale = times(scale, form.scale)
    if any(form.base is None for form in call.forms) or not _all_fit(call):
        return None
    if not usable(scale):
        return None
    return walk.build(call, tuple(form.base for form in call.forms), scale)


_ADD, _SUBTRACT = op_of(ops.add), op_of(ops.subtract)
_MULTIPLY, _SUM = op_of(ops.multiply), op_of(ops.sum)
_RESHAPE, _TRANSPOSE = op_of(ops.reshape), op_of(ops.transpose)
_BROADCAST, _ASTYPE = op_of(ops.broadcast_to), op_of(ops.astype)
_SCATTER_ADD = op_of(ops.scatter_add)

LINEAR: dict[str, Rule] = {
    "add": _add,
    "subtract": _add,
    "negative": _negative,
    "multiply": _multiply,
    "divide": _divide,
    "abs": _through(lambda c: c),
    "relu": _through(lambda c: c),
    "sqrt": _through(math.sqrt),
    "square": _through(lambda c: c * c),
    "where": _where,
    "maximum": _against_zero,
    "minimum": _against_zero,
    "greater": _against_zero,
    "greater_equal": _against_zero,
    "less": _against_zero,
    "less_equal": _against_zero,
    "sum": _sum,
    "mean": _mean,
    "matmul": _matmul,
    "einsum": _einsum,
    "concatenate": _join,
    "stack": _join,
    "transpose": _move,
    "reshape": _move,
    "broadcast_to": _move,
    "spread": _move,
    "getitem": _move,
    "scatter_add": _move,
    "cumsum": _move,
}
"""By op, the rule by which numbers pass it."""
