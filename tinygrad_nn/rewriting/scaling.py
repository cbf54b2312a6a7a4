"""Every value is a number times a base: numbers meet, cancel, and are applied once.

The gradient of a mean is a number spread over an array, and all that follows is linear
in it: ``dW = (dZ / m) A.T = (dZ A.T) / m``. So numbers are taken out of products,
quotients, sums, reductions and moves (see `linear`), and run along until something
needs the value itself. Where the one multiplication then happens is a matter of cost:
where the array is smallest, or before the ways part.

On the way bases are compared with `algebra.IDENTITIES`, which therefore hold whatever
numbers are in front.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Node, Op, inputs_of, op_of, settings_of
from tinygrad_nn.rewriting.common import expression_key
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.forms import (
    FLOATS,
    Form,
    array_leaf,
    data,
    is_nothing,
    is_one,
    is_unit,
    is_zero,
    number_key,
    number_leaf,
    times,
    usable,
)
from tinygrad_nn.rewriting.linear import LINEAR, Call
from tinygrad_nn.rewriting.matching import Found, Matcher, Pattern, steps
from tinygrad_nn.rewriting.program import Program, node_for, recorded, reordered
from tinygrad_nn.scalars import Scalar

__all__ = ["scaled"]

_CALL, _NUMBER, _BYTE = 250.0, 60.0, 0.05
"""Nanoseconds of a NumPy call, of one on a single number, of a byte, as measured."""


def scaled(program: Program) -> Program:
    """Gather numbers, rewrite by the identities, and apply each number once.

    The first walk finds out where values are needed and what is left of the program;
    the second, where there is a choice, knows where to multiply.
    """
    scout = _Walk(program, frozenset())
    there = scout.run()
    here = _where(scout, there)
    return _Walk(program, here).run() if here else there


# --- where numbers are applied ---


def _where(walk: _Walk, there: Program) -> frozenset[Node]:
    """Choose the nodes at which a number is applied, rather than further on."""
    alive = set(there.nodes)
    wanted = set(walk.wanted)
    consumers: dict[Node, list[Node]] = {}
    for node in walk.program.nodes:
        if _is_left(walk.forms[node], alive):
            wanted |= walk.needs[node]
        for x in inputs_of(node):
            if isinstance(x, Node) and x in walk.forms and x not in walk.needs[node]:
                consumers.setdefault(x, []).append(node)
    later: dict[Node, float] = {}
    here = set()
    for node in reversed(walk.program.nodes):
        form = walk.forms[node]
        follow = consumers.get(node, [])
        if form.base is None or is_one(form.scale):
            later[node] = 0.0
        elif not _is_left(form, alive):
            # The node itself is gone: what it became a part of decides.
            later[node] = max((later[x] for x in follow), default=0.0)
        else:
            price = _price(node._value)
            onward = sum([later[x] for x in follow if not _brings_a_number(x)])
            if node in wanted or (onward > price and not is_unit(form.scale)):
                here.add(node)
                onward = price
            later[node] = onward
    return frozenset(here)


def _is_left(form: Form, alive: set[Any]) -> bool:
    base = form.base
    return isinstance(base, Node) and (base._op is None or base in alive)


def _price(value: Any) -> float:
    """Return the nanoseconds of one more multiplication."""
    return _CALL + _BYTE * float(value.nbytes) if np.ndim(value) else _NUMBER


def _brings_a_number(node: Node) -> bool:
    """Whether a node has a number of its own, to be applied in any case."""
    op = node._op
    assert op is not None  # noqa: S101 (a program's nodes are ops)
    if op.name == "mean":
        return True
    single = [np.ndim(data(x)) == 0 for x in inputs_of(node)]
    return op.name in ("multiply", "divide") and any(single)


# --- the walk ---


class _Walk:
    """One run over a program; `here` are the nodes at which numbers are applied."""

    def __init__(self, program: Program, here: frozenset[Node]) -> None:
        self.program = program
        self.here = here
        self.forms: dict[Node, Form] = {}  # of the program's nodes
        self.values: dict[Node, Form] = {}  # of nodes made: what they are products of
        self.needs: dict[Node, set[Node]] = {}  # whose values a node asked for
        self.wanted: set[Node] = set()  # whose values the outputs ask for
        self.writing = 0  # within the other side of an identity
        self._now: set[Node] = set()
        self._at: Any = None
        self._made: dict[Hashable, Any] = {}
        self._raws: dict[Hashable, Any] = {}
        self._arrays: dict[int, Node] = {}
        self._matcher = Matcher(lambda x: self.form_of(x)[:2])

    def run(self) -> Program:
        """Return the program with numbers applied where they must be, or cost least."""
        program = self.program
        for node in program.nodes:
            self._now = self.needs[node] = set()
            self._at = node
            forms = tuple(self.form_of(x) for x in inputs_of(node))
            op: Op = node._op  # type: ignore[assignment]
            call = Call(op, forms, self._live(settings_of(node)), node, node._value)
            form = self.apply(call)._replace(origin=node)
            if node in self.here and not is_one(form.scale):
                form = form._replace(scale=1.0, base=self.raw(form))
            if is_one(form.scale) and isinstance(form.base, Node):
                _name(form.base, node)
            self.forms[node] = form
        self._now = self.wanted
        found = reordered(
            replace(
                program,
                results=[self._output(x) for x in program.results],
                writes=[(place, self._output(x)) for place, x in program.writes],
                gradients=[(leaf, self._output(x)) for leaf, x in program.gradients],
                checks=[(self._output(x), check) for x, check in program.checks],
                # A number in front makes no nan.
                sources=[
                    form.base
                    for form in map(self.form_of, program.sources)
                    if isinstance(form.base, Node)
                ],
            )
        )
        del self._matcher  # which leads back here: nothing is left to the collector
        return found

    def _output(self, x: Any) -> Any:
        return self.raw(self.form_of(x)) if isinstance(x, Node) else x

    def _live(self, settings: Any) -> Any:
        """Return settings with the nodes among them as they are now."""
        index = settings.get("index")
        if isinstance(index, Node):
            return {**settings, "index": self._output(index)}
        if not isinstance(index, tuple):
            return settings
        moved = tuple(self._output(x) for x in index)
        same = all(a is b for a, b in zip(moved, index, strict=True))
        return settings if same else {**settings, "index": moved}

    # --- forms and values ---

    def form_of(self, x: Any) -> Form:
        """Return an operand as a number times a base."""
        if isinstance(x, Node):
            return self.forms.get(x) or self.values.get(x) or self._leaf(x)
        if isinstance(x, Scalar):
            return Form(x, None, (), None, x)
        dtype = getattr(x, "dtype", None)
        if isinstance(x, np.ndarray):
            # An array held by reference: from now on a leaf, as any other.
            leaf = self._arrays.get(id(x))
            if leaf is None:
                leaf = self._arrays[id(x)] = array_leaf(x)
            return Form(1.0, leaf, x.shape, dtype)
        number = isinstance(x, (int, float)) or (
            dtype is not None and dtype.kind == "f"
        )
        if number and not isinstance(x, bool) and _is_plain(x):
            return Form(float(x), None, (), dtype, x)
        return Form(1.0, x, np.shape(x), dtype)

    def _leaf(self, x: Node) -> Form:
        number = number_of(x, self.program)
        if number is not None and _is_plain(number):
            return Form(float(number), None, (), x._value.dtype, x)
        return Form(1.0, x, np.shape(x._value), x._value.dtype)

    def raw(self, form: Form) -> Any:
        """Return the value itself: where a number is in front, it is applied."""
        origin = form.origin
        if origin is not None and not isinstance(origin, Node):
            return origin  # a number, as it was given
        if origin is not None and not is_one(form.scale):
            self._now.add(origin)
        if form.base is None:
            return self._filled(form)
        if is_one(form.scale):
            return form.base
        key = (id(form.base), number_key(form.scale))
        known = self._raws.get(key)
        if known is None:
            known = self._raws[key] = self._multiplied(form)
            self.values[known] = form
            if isinstance(origin, Node):
                _name(known, origin)
        return known

    def _multiplied(self, form: Form) -> Any:
        """Apply a number, with as few calls as there may be."""
        scale, base, origin = form.scale, form.base, form.origin
        call = Call(_MULTIPLY, (), {}, base if origin is None else origin, base._value)
        live = isinstance(scale, Scalar)
        if base._op is _SUBTRACT and not live and scale < 0:
            call = call._replace(op=_SUBTRACT)
            base, scale = self.node(call, inputs_of(base)[::-1]), -scale
            return base if scale == 1 else self.node(_times(call), (scale, base))
        again = self._again(origin, form)
        if again is not None:
            return again
        if base._op is _DIVIDE:
            number, divisor = inputs_of(base)
            if isinstance(number, (int, float)) and usable(times(number, scale)):
                call = call._replace(op=_DIVIDE)
                return self.node(call, (times(number, scale), divisor))
        if not live and scale == -1:
            return self.node(call._replace(op=_NEGATIVE), (base,))
        return self.node(call, (scale, base))

    def _again(self, origin: Any, form: Form) -> Any:
        """Write a node as it was, where it applies just this number to this base."""
        if not isinstance(origin, Node):
            return None
        op = origin._op
        if op not in (_NEGATIVE, _MULTIPLY, _DIVIDE):
            return None
        inputs = []
        held = 0
        for x in inputs_of(origin):
            known = self.form_of(x)
            if known.base is None and not known.shape:
                inputs.append(x)
            elif known.base is form.base and is_one(known.scale):
                inputs.append(form.base)
                held += 1
        if held != 1 or len(inputs) != len(inputs_of(origin)):
            return None
        return self.node(Call(op, (), {}, origin, origin._value), tuple(inputs))

    def _filled(self, form: Form) -> Any:
        """Return a number, or an array of one number."""
        if isinstance(form.origin, Node) and form.origin._op is None:
            return form.origin
        key = ("filled", number_key(form.scale), form.shape, str(form.dtype))
        known = self._raws.get(key)
        if known is not None:
            return known
        known = form.scale
        if form.dtype is not None and not isinstance(known, Scalar):
            known = number_leaf(form.dtype.type(known))
        if form.shape:
            value = np.broadcast_to(np.asarray(data(known), form.dtype), form.shape)
            settings = {"shape": form.shape, "axis": None, "keepdims": False}
            blame = self._at if form.origin is None else form.origin
            known = self.node(Call(_SPREAD, (), settings, blame, value), (known,))
        self._raws[key] = known
        if isinstance(known, Node):
            self.values[known] = form
        return known

    # --- making nodes ---

    def node(self, call: Call, inputs: tuple[Any, ...]) -> Any:
        """Return the node of an op: one that is there, or a new one."""
        if call.op.name == "uniform":
            return _new(call, inputs)
        key = expression_key(call.op, inputs, call.settings, self.program)
        try:
            known = self._made.get(key)
        except TypeError:  # a setting without a hash
            return _new(call, inputs)
        if known is None:
            known = self._made[key] = _new(call, inputs)
        return known

    def apply(self, call: Call) -> Form:
        """Return the form of an op of forms, numbers taken out where that is right."""
        rule = LINEAR.get(call.op.name)
        if rule is not None:
            if call.value is None:
                call = call._replace(value=_sample(call))
            if call.value.dtype in FLOATS or call.value.dtype == bool:
                form = rule(self, call)
                if form is not None:
                    return form
        return self.build(call, tuple(self.raw(form) for form in call.forms))

    def build(
        self, call: Call, inputs: tuple[Any, ...], scale: Any = 1.0, op: Any = None
    ) -> Form:
        """Return the form of an op of bases, rewritten where an identity fits."""
        if op is not None and op is not call.op:
            call = call._replace(op=op, settings=call.settings if op is _SUM else {})
        node = self.node(call, inputs)
        terms = [(1.0, node)]
        if call.op in (_ADD, _SUBTRACT):
            terms = [(1.0, inputs[0]), (1.0 if call.op is _ADD else -1.0, inputs[1])]
        found = self.rewritten(call.op.name, terms, call.blame, node._value)
        if found is None:
            return Form(scale, node, np.shape(node._value), node._value.dtype)
        if is_zero(found):
            return found
        return found._replace(scale=times(found.scale, scale))

    # --- identities ---

    def rewritten(
        self, root: str, terms: list[tuple[Any, Any]], blame: Node, value: Any
    ) -> Form | None:
        """Return what an identity says instead, if one fits."""
        if value.dtype not in FLOATS:
            return None
        for pattern, found in self._matcher.find(root, terms):
            form = self._instead(pattern, found, blame)
            if form is None:
                continue
            if form.shape == np.shape(value) and form.dtype == value.dtype:
                return form
        if len(terms) == 2:
            return self._inside(root, terms, blame, value)
        return None

    def _inside(
        self, root: str, terms: list[tuple[Any, Any]], blame: Node, value: Any
    ) -> Form | None:
        """Look into two sums, or two moves, of one kind: f(x) + f(y) = f(x + y)."""
        (c, x), (d, y) = terms
        if not isinstance(x, Node) or not isinstance(y, Node):
            return None
        op = x._op
        if op is None or op is not y._op or op not in (_SUM, _RESHAPE, _TRANSPOSE):
            return None
        if settings_of(x) != settings_of(y):
            return None
        a, b = self.form_of(inputs_of(x)[0]), self.form_of(inputs_of(y)[0])
        if a.shape != b.shape or a.dtype != b.dtype or a.base is None or b.base is None:
            return None
        both = [(times(c, a.scale), a.base), (times(d, b.scale), b.base)]
        inner = self.rewritten(root, both, blame, data(inputs_of(x)[0]))
        if inner is None:
            return None
        return self.apply(Call(op, (inner,), settings_of(x), blame, value))

    def _instead(self, pattern: Pattern, found: Found, blame: Node) -> Form | None:
        """Write the other side of an identity; None where an operand lacks its axis."""
        self.writing += 1
        try:
            form = self._written(pattern, found, blame)
        finally:
            self.writing -= 1
        if form is None:
            return None
        for factor in found.rest:
            forms = (form, self.form_of(factor))
            form = self.apply(Call(_MULTIPLY, forms, {}, blame, None))
        return form._replace(scale=times(form.scale, found.scale), origin=None)

    def _written(self, pattern: Pattern, found: Found, blame: Node) -> Form | None:
        forms: dict[Any, Form] = {}
        for leaf in pattern.stand_ins:
            scale, base = found.bound[leaf]
            value = data(base)
            dtype = getattr(value, "dtype", None)  # a number of the user's has none
            forms[leaf] = Form(scale, base, np.shape(value), dtype)
        first = pattern.stand_ins[0]
        narrow = pattern.identity.loses_digits and forms[first].dtype == np.float32
        if narrow:
            forms[first] = self._cast(forms[first], np.float64, blame)
        for node in steps(pattern):
            op = node._op
            if op is None:
                continue
            given = tuple(
                forms[x] if isinstance(x, Node) else self.form_of(x)
                for x in inputs_of(node)
            )
            if op is _MULTIPLY and is_nothing(given[0]):
                forms[node] = given[1]._replace(scale=0.0, base=None, origin=None)
                continue
            settings = dict(settings_of(node))
            if "axis" in settings:
                rank, axes = found.bound["axis"]
                if len(given[0].shape) != rank:
                    return None
                settings["axis"] = axes[0] if len(axes) == 1 else axes
            forms[node] = self.apply(Call(op, given, settings, blame, None))
        form = forms[pattern.result]
        return self._cast(form, np.float32, blame) if narrow else form

    def _cast(self, form: Form, dtype: Any, blame: Node) -> Form:
        """Return a form in another dtype, its number still in front."""
        settings = {"dtype": np.dtype(dtype)}
        base = self.raw(form._replace(scale=1.0, origin=None))
        made = self.node(Call(_ASTYPE, (), settings, blame, None), (base,))
        return form._replace(base=made, dtype=np.dtype(dtype), origin=None)


def _is_plain(number: Any) -> bool:
    """Whether a number can be multiplied by, and divided by."""
    return bool(math.isfinite(number) and number != 0)


def _times(call: Call) -> Call:
    return call._replace(op=_MULTIPLY)


def _name(made: Node, node: Node) -> None:
    """Let a value keep its name, whatever it is computed by now."""
    new = made is not node and made._op is not None
    if new and getattr(made, "_name", None) is None:
        made._name = getattr(node, "_name", None)


def _new(call: Call, inputs: tuple[Any, ...]) -> Any:
    """Return the node that stood there, if it is the same, or make one."""
    op, blame, settings = call.op, call.blame, call.settings
    theirs = settings_of(blame)
    same = blame._op is op and (settings is theirs or not (settings or theirs))
    if same and all(map(operator.is_, inputs, inputs_of(blame))):
        return blame
    if call.value is None:
        return recorded(op, inputs, blame, **dict(settings))
    full = op.bind((), dict(settings))
    return node_for(blame, op, inputs, full, call.value)


def _sample(call: Call) -> Any:
    """Return an array of the result's shape and dtype."""
    given = []
    for form in call.forms:
        if form.base is not None:
            given.append(data(form.base))
        else:
            given.append(1.0 if form.dtype is None else np.ones(form.shape, form.dtype))
    with np.errstate(all="ignore"):
        return np.asarray(call.op.function(*given, **call.settings))[()]


_ADD, _SUBTRACT = op_of(ops.add), op_of(ops.subtract)
_MULTIPLY, _DIVIDE = op_of(ops.multiply), op_of(ops.divide)
_NEGATIVE, _SUM = op_of(ops.negative), op_of(ops.sum)
_RESHAPE, _TRANSPOSE = op_of(ops.reshape), op_of(ops.transpose)
_SPREAD, _ASTYPE = op_of(ops.spread), op_of(ops.astype)
