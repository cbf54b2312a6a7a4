"""Every value is a number times a base: numbers meet, cancel, and are applied once.

The gradient of a mean is a number spread over an array, and everything after it is
linear in it: ``dW = (dZ / m) A.T = (dZ A.T) / m``. So numbers are taken out of products,
quotients, sums, reductions and moves, and run along until something needs the value
itself. Where the one multiplication then happens is a matter of cost: where the array
is smallest, or before the ways part.

On the way bases are compared with `algebra.IDENTITIES`, which therefore hold whatever
numbers are in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.compiler.passes.common import operand_key, settings_key
from tinygrad_nn.compiler.passes.expand import recorded
from tinygrad_nn.compiler.passes.fold import number_of
from tinygrad_nn.compiler.passes.matching import Found, Matcher, Pattern, close, steps
from tinygrad_nn.compiler.program import Program, reordered
from tinygrad_nn.op import Node, Op, inputs_of, op_of, settings_of
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["scaled"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_CALL = 250.0
_BYTE = 0.05
"""Nanoseconds of a NumPy call, and of each byte that it makes, as measured."""


class Form(NamedTuple):
    """A value as ``scale * base``; a base of None is an array of ones."""

    scale: Any
    base: Any
    shape: tuple[int, ...]
    dtype: Any
    origin: Any = None


def scaled(program: Program) -> Program:
    """Gather numbers, rewrite by the identities, and apply each number once.

    Run twice: the first run finds out where values are needed and what is left of the
    program, the second knows where to multiply.
    """
    scout = _Walk(program, frozenset())
    there = scout.run()
    here = _where(scout, there)
    return _Walk(program, here).run() if here else there


def _cost(value: Any) -> float:
    """Nanoseconds of one more elementwise call."""
    if np.ndim(value) == 0:
        return 60.0
    return _CALL + _BYTE * float(value.nbytes)


def _where(walk: _Walk, there: Program) -> frozenset[Node]:
    """Choose the nodes at which a number is applied, rather than further on."""
    alive = set(there.nodes)
    consumers: dict[Node, list[Node]] = {}
    wanted = set(walk.wanted)
    for node in walk.program.nodes:
        if _alive(walk.forms[node], alive):
            wanted |= walk.needs[node]
        for x in inputs_of(node):
            if isinstance(x, Node) and x in walk.forms and x not in walk.needs[node]:
                consumers.setdefault(x, []).append(node)
    later: dict[Node, float] = {}
    here = set()
    for node in reversed(walk.program.nodes):
        form = walk.forms[node]
        follow = consumers.get(node, ())
        if form.base is None or _is_one(form.scale):
            later[node] = 0.0
        elif not _alive(form, alive):
            # The node itself is gone: what it became a part of decides.
            later[node] = max((later[x] for x in follow), default=0.0)
        else:
            price = _cost(node._value)
            onward = sum(0.0 if _scales(x) else later[x] for x in follow)
            if node in wanted or (onward > price and not _is_unit(form.scale)):
                here.add(node)
                onward = price
            later[node] = onward
    return frozenset(here)


def _alive(form: Form, alive: set[Any]) -> bool:
    return isinstance(form.base, Node) and (form.base._op is None or form.base in alive)


def _scales(node: Node) -> bool:
    """Whether a node brings a number of its own, to be applied in any case."""
    op = node._op
    assert op is not None  # noqa: S101 (a program's nodes are ops)
    if op.name == "mean":
        return True
    return op.name in ("multiply", "divide") and any(
        np.ndim(x._value if isinstance(x, Node) else x) == 0 for x in inputs_of(node)
    )


def _is_one(scale: Any) -> bool:
    return not isinstance(scale, Scalar) and scale == 1


def _is_unit(scale: Any) -> bool:
    return not isinstance(scale, Scalar) and scale in (1, -1)


def _times(x: Any, y: Any) -> Any:
    """Multiply two numbers; a live one is not written out as ``(lr * 1.0)``."""
    if _is_one(x):
        return y
    return x if _is_one(y) else x * y


def _over(x: Any, y: Any) -> Any:
    """Divide two numbers."""
    return x if _is_one(y) else x / y


def _usable(scale: Any) -> bool:
    """Whether a number may be moved about without a loss."""
    if isinstance(scale, Scalar):
        return True
    return math.isfinite(scale) and 1e-30 < abs(scale) < 1e30


Rule = Callable[..., Form | None]


class _Walk:
    """One run over a program."""

    def __init__(self, program: Program, here: frozenset[Node]) -> None:
        self.program = program
        self.here = here
        self.forms: dict[Node, Form] = {}
        self.values: dict[Node, Form] = {}  # of nodes made, how they came about
        self.made: dict[Hashable, Node] = {}
        self.raws: dict[Hashable, Any] = {}
        self.arrays: dict[int, Node] = {}
        self.needs: dict[Node, set[Node]] = {}
        self.wanted: set[Node] = set()
        self.now: set[Node] = set()
        self.writing = 0  # an identity's other side
        self.node: Any = None
        self.matcher = Matcher(self.parts)

    def run(self) -> Program:
        """Return the program with numbers applied where they must be, or cost least."""
        for node in self.program.nodes:
            self.now = set()
            self.node = node
            forms = tuple(self.form_of(x) for x in inputs_of(node))
            op: Op = node._op  # type: ignore[assignment]
            settings = self._settings(node)
            form = self.apply(op, forms, settings, node, node._value)
            form = form._replace(origin=node)
            base = form.base
            name = getattr(node, "_name", None)
            if _is_one(form.scale) and isinstance(base, Node) and base is not node:
                if getattr(base, "_name", None) is None and base._op is not None:
                    base._name = name
            if node in self.here and not _is_one(form.scale):
                form = form._replace(scale=1.0, base=self.raw(form))
            self.forms[node] = form
            self.needs[node] = self.now
        program = self.program
        self.now = set()
        finished = replace(
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
        self.wanted.update(self.now)
        return reordered(finished)

    def _output(self, x: Any) -> Any:
        return self.raw(self.form_of(x)) if isinstance(x, Node) else x

    def _settings(self, node: Node) -> Any:
        settings = settings_of(node)
        index = settings.get("index")
        if isinstance(index, tuple):
            moved = tuple(self._output(x) for x in index)
            same = all(a is b for a, b in zip(moved, index, strict=True))
            return settings if same else {**settings, "index": moved}
        if isinstance(index, Node):
            return {**settings, "index": self._output(index)}
        return settings

    # --- forms and values ---

    def form_of(self, x: Any) -> Form:
        """Return an operand as a number times a base."""
        if isinstance(x, Node):
            known = self.forms.get(x) or self.values.get(x)
            if known is not None:
                return known
            number = number_of(x, self.program)
            value = x._value
            if number is not None and _plain(number):
                return Form(float(number), None, (), value.dtype, x)
            return Form(1.0, x, np.shape(value), value.dtype)
        if isinstance(x, Scalar):
            return Form(x, None, (), None, x)
        if isinstance(x, (int, float)) and not isinstance(x, bool):
            if _plain(x):
                return Form(float(x), None, (), None, x)
            return Form(1.0, x, (), None)
        if isinstance(x, np.generic) and x.dtype.kind == "f" and _plain(x):
            return Form(float(x), None, (), x.dtype, x)
        if isinstance(x, np.ndarray) and x.ndim:
            # An array held by reference: from now on a leaf, as any other.
            leaf = self.arrays.get(id(x))
            if leaf is None:
                leaf = self.arrays[id(x)] = _leaf(x)
            return Form(1.0, leaf, x.shape, x.dtype)
        return Form(1.0, x, np.shape(x), getattr(x, "dtype", None))

    def parts(self, x: Any) -> tuple[Any, Any]:
        """Return number and base of an operand, for the matcher."""
        form = self.form_of(x)
        return form.scale, form.base

    def raw(self, form: Form) -> Any:
        """Return the value itself: where a number is in front, it is applied."""
        origin = form.origin
        if origin is not None and not isinstance(origin, Node):
            return origin  # a number, as it was given
        if origin is not None and not _is_one(form.scale):
            self.now.add(origin)
        if form.base is None:
            return self._filled(form)
        if _is_one(form.scale):
            return form.base
        key = (id(form.base), _number_key(form.scale))
        known = self.raws.get(key)
        if known is None:
            known = self.raws[key] = self._multiplied(form)
            self.values[known] = form
        return known

    def _multiplied(self, form: Form) -> Node:
        """Apply a number, with as few calls as there may be."""
        scale, base, origin = form.scale, form.base, form.origin
        blame = origin if origin is not None else base
        value = base._value
        op = base._op
        turned = op is _SUBTRACT and not isinstance(scale, Scalar) and scale < 0
        if origin is not None and origin._op is not None and not turned:
            again = self._again(origin, form)
            if again is not None:
                return again
        if op is not None and op.name == "divide" and base not in self.program.places:
            over, under = inputs_of(base)
            if isinstance(over, (int, float)) and _usable(over * scale):
                return self._node(_DIVIDE, (over * scale, under), {}, blame, value)
        if turned:
            base = self._node(_SUBTRACT, inputs_of(base)[::-1], {}, blame, value)
            scale = -scale
            if scale == 1:
                return base
        if not isinstance(scale, Scalar) and scale == -1:
            return self._node(_NEGATIVE, (base,), {}, blame, value)
        made = self._node(_MULTIPLY, (scale, base), {}, blame, value)
        if origin is not None and getattr(made, "_name", None) is None:
            made._name = getattr(origin, "_name", None)
        return made

    def _again(self, origin: Node, form: Form) -> Any:
        """Write a node as it was, where it applies just this number to this base."""
        op = origin._op
        if op is None or op.name not in ("negative", "multiply", "divide"):
            return None
        inputs = []
        held = 0
        for x in inputs_of(origin):
            known = self.form_of(x)
            if known.base is None and not known.shape:
                inputs.append(x)
            elif known.base is form.base and _is_one(known.scale):
                inputs.append(form.base)
                held += 1
        if held != 1 or len(inputs) != len(inputs_of(origin)):
            return None
        return self._node(op, tuple(inputs), {}, origin, origin._value)

    def _filled(self, form: Form) -> Any:
        """Return a number, or an array of one number."""
        if isinstance(form.origin, Node) and form.origin._op is None:
            return form.origin
        key = ("filled", _number_key(form.scale), form.shape, str(form.dtype))
        known = self.raws.get(key)
        if known is None:
            number: Any = form.scale
            if form.dtype is not None and not isinstance(number, Scalar):
                number = _leaf(form.dtype.type(number))
            known = number
            if form.shape:
                value = np.broadcast_to(np.asarray(_data(number)), form.shape)
                blame = self.node if form.origin is None else form.origin
                known = self._node(
                    _SPREAD,
                    (number,),
                    {"shape": form.shape, "axis": None, "keepdims": False},
                    blame,
                    value,
                )
            self.raws[key] = known
            if isinstance(known, Node):
                self.values[known] = form
        return known

    # --- making nodes ---

    def _node(
        self, op: Op, inputs: tuple[Any, ...], settings: Any, blame: Node, value: Any
    ) -> Any:
        """Return the node of an op: one that is there, or a new one."""
        if op.name == "uniform":
            return self._new(op, inputs, settings, blame, value)
        try:
            key = (
                op.name,
                *(operand_key(x, self.program) for x in inputs),
                settings_key(settings),
            )
            known = self.made.get(key)
        except TypeError:  # a setting without a hash
            return self._new(op, inputs, settings, blame, value)
        if known is None:
            known = self.made[key] = self._new(op, inputs, settings, blame, value)
        return known

    def _new(
        self, op: Op, inputs: tuple[Any, ...], settings: Any, blame: Node, value: Any
    ) -> Any:
        theirs = settings_of(blame)
        if blame._op is op and (settings is theirs or not (settings or theirs)):
            if all(a is b for a, b in zip(inputs, inputs_of(blame), strict=True)):
                return blame
        if value is None:
            return recorded(op, inputs, blame, **dict(settings))
        made = object.__new__(Tensor)
        made._value = value
        made._op = op
        made._form = None
        made._settings = op.bind((), dict(settings)) if settings else op.defaults
        made._leads = 0
        made.requires_grad = False
        made._name = None
        if op.arity > 2:
            made._x = inputs
        else:
            made._x, made._y = inputs[0], inputs[-1]
        made._order = blame._order
        made._code = blame._code
        made._lasti = blame._lasti
        made._scope = getattr(blame, "_scope", None)
        return made

    def build(
        self,
        op: Op,
        inputs: tuple[Any, ...],
        settings: Any,
        blame: Node,
        value: Any,
        scale: Any = 1.0,
    ) -> Form:
        """Return the form of an op of bases, rewritten where an identity fits."""
        node = self._node(op, inputs, settings, blame, value)
        terms = [(1.0, node)]
        if op.name in ("add", "subtract"):
            terms = [
                (1.0, inputs[0]),
                (1.0 if op.name == "add" else -1.0, inputs[1]),
            ]
        found = self.rewritten(op.name, terms, blame, node._value)
        if found is not None and _is_zero(found):
            return found
        if found is not None:
            return found._replace(scale=_times(found.scale, scale))
        return Form(scale, node, np.shape(node._value), node._value.dtype)

    def rewritten(
        self, root: str, terms: list[tuple[Any, Any]], blame: Node, value: Any
    ) -> Form | None:
        """Return what an identity says instead, if one fits."""
        for pattern, found in self.matcher.find(root, terms):
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
        """Look into two sums, or two moves, of the same kind: f(x) + f(y) = f(x + y)."""
        (c, x), (d, y) = terms
        alike = (
            isinstance(x, Node)
            and isinstance(y, Node)
            and x._op is not None
            and x._op is y._op
            and x._op.name in ("sum", "reshape", "transpose")
            and settings_of(x) == settings_of(y)
        )
        if not alike:
            return None
        a, b = self.form_of(inputs_of(x)[0]), self.form_of(inputs_of(y)[0])
        if a.shape != b.shape or a.dtype != b.dtype or a.base is None or b.base is None:
            return None
        both = [(_times(c, a.scale), a.base), (_times(d, b.scale), b.base)]
        inner = self.rewritten(root, both, blame, inputs_of(x)[0]._value)
        if inner is None:
            return None
        return self.apply(x._op, (inner,), settings_of(x), blame, value)

    def _instead(self, pattern: Pattern, found: Found, blame: Node) -> Form | None:
        """Write a pattern's other side."""
        self.writing += 1
        try:
            return self._written(pattern, found, blame)
        finally:
            self.writing -= 1

    def _written(self, pattern: Pattern, found: Found, blame: Node) -> Form | None:
        forms: dict[Any, Form] = {}
        for leaf in pattern.stand_ins:
            if leaf in found.bound:
                scale, base = found.bound[leaf]
                value = _data(base)
                forms[leaf] = Form(scale, base, np.shape(value), _dtype(value))
        first = pattern.stand_ins[0]
        narrow = pattern.identity.loses_digits and forms[first].dtype == np.float32
        if narrow:
            forms[first] = self._cast(forms[first], np.float64, blame)
        for node in steps(pattern):
            if node._op is None:
                continue
            given = tuple(
                forms[x] if isinstance(x, Node) else self.form_of(x)
                for x in inputs_of(node)
            )
            settings = dict(settings_of(node))
            if "axis" in settings:
                _, axes = found.bound["axis"]
                settings["axis"] = axes[0] if len(axes) == 1 else axes
            if node._op.name == "multiply" and _is_nothing(given[0]):
                forms[node] = given[1]._replace(scale=0.0, base=None, origin=None)
                continue
            forms[node] = self.apply(node._op, given, settings, blame, None)
        form = forms[pattern.result]
        if narrow:
            form = self._cast(form, np.float32, blame)
        for factor in found.rest:
            form = self.apply(_MULTIPLY, (form, self.form_of(factor)), {}, blame, None)
        return form._replace(scale=_times(form.scale, found.scale), origin=None)

    def _cast(self, form: Form, dtype: Any, blame: Node) -> Form:
        settings = {"dtype": np.dtype(dtype)}
        base = self.raw(form._replace(scale=1.0, origin=None))
        made = self._node(op_of(ops.astype), (base,), settings, blame, None)
        return form._replace(base=made, dtype=np.dtype(dtype), origin=None)

    # --- rules ---

    def apply(
        self, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
    ) -> Form:
        """Return the form of an op of forms: numbers taken out where that is allowed."""
        rule = _RULES.get(op.name)
        if rule is not None:
            if value is None:
                value = _computed(op, forms, settings)
            if value.dtype in _FLOATS or value.dtype == bool:
                form = rule(self, op, forms, settings, blame, value)
                if form is not None:
                    return form
        inputs = tuple(self.raw(form) for form in forms)
        return self.build(op, inputs, settings, blame, value)


def _plain(number: Any) -> bool:
    return math.isfinite(number) and number != 0


def _number_key(scale: Any) -> Hashable:
    return scale.text if isinstance(scale, Scalar) else float(scale)


def _data(x: Any) -> Any:
    return x._value if isinstance(x, Node) else x


def _dtype(x: Any) -> Any:
    return getattr(x, "dtype", None)


def _leaf(value: Any) -> Tensor:
    leaf = object.__new__(Tensor)
    leaf._value = value
    leaf._op = leaf._form = leaf._code = None
    leaf._lasti = -1
    leaf._order = 0
    leaf.requires_grad = False
    leaf._name = None
    return leaf


def _computed(op: Op, forms: tuple[Form, ...], settings: Any) -> Any:
    """Return an array of the result's shape and dtype; its numbers mean nothing."""
    given = []
    for form in forms:
        if form.base is not None:
            given.append(_data(form.base))
        elif form.dtype is None:
            given.append(1.0)
        else:
            given.append(np.ones(form.shape, form.dtype)[()])
    with np.errstate(all="ignore"):
        return np.asarray(op.function(*given, **settings))[()]


def _fits(form: Form, value: Any) -> bool:
    """Whether a number in front of a base stays a number in front of the result."""
    if form.base is None:
        return form.dtype is None or form.dtype == value.dtype
    if form.dtype == value.dtype or form.dtype is None:
        return True
    if form.dtype == np.float32 and value.dtype == np.float64:
        return True  # out there it has more digits
    return _is_one(form.scale) and form.dtype.kind in "bi"


def _same_numbers(value: Any, *forms: Form) -> bool:
    return all(_fits(form, value) for form in forms)


def _full(scale: Any, value: Any) -> Form:
    return Form(scale, None, np.shape(value), value.dtype)


def _multiply(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    x, y = forms
    if not _same_numbers(value, x, y):
        return None
    if _is_zero(x) or _is_zero(y):
        return _full(0.0, value)
    scale = _times(x.scale, y.scale)
    if not _usable(scale):
        return None
    if x.base is None and y.base is None:
        return _full(scale, value)
    if x.base is None or y.base is None:
        other = y if x.base is None else x
        return _stretched(walk, other, scale, blame, value)
    return walk.build(op, (x.base, y.base), settings, blame, value, scale)


def _stretched(
    walk: _Walk, form: Form, scale: Any, blame: Node, value: Any
) -> Form | None:
    """Return a base of the shape that a number filled."""
    base = form.base
    if form.dtype != value.dtype or not isinstance(base, Node):
        return None
    if form.shape != np.shape(value):
        shape = {"shape": np.shape(value)}
        base = walk._node(_BROADCAST, (base,), shape, blame, value)
    return Form(scale, base, np.shape(value), value.dtype)


def _divide(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    x, y = forms
    if not _same_numbers(value, x, y) or _is_zero(y):
        return None
    if _is_zero(x):
        return _full(0.0, value)
    scale = _over(x.scale, y.scale)
    if not _usable(scale):
        return None
    if y.base is None:
        if x.base is None:
            return _full(scale, value)
        return _stretched(walk, x, scale, blame, value)
    if x.base is None:
        if y.shape != np.shape(value) or y.dtype != value.dtype:
            return None
        if _is_one(y.scale) and not _is_unit(x.scale):
            return None  # k / y is one call as it is
        return walk.build(op, (1.0, y.base), settings, blame, value, scale)
    return walk.build(op, (x.base, y.base), settings, blame, value, scale)


def _negative(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    del walk, op, settings, blame
    (x,) = forms
    if x.dtype != value.dtype:
        return None
    return x._replace(scale=-x.scale, origin=None)


def _add(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    x, y = forms
    if not _same_numbers(value, x, y):
        return None
    c, d = x.scale, y.scale if op.name == "add" else -y.scale
    shape = np.shape(value)
    if _is_zero(y) and x.shape == shape and x.dtype == value.dtype:
        return x._replace(origin=None)
    if _is_zero(x) and y.shape == shape and y.dtype == value.dtype:
        return y._replace(scale=d, origin=None)
    if x.base is None or y.base is None:
        turned = y.base is not None and _is_unit(y.scale) and y.scale == -1
        x, y = x._replace(scale=c), y._replace(scale=d)
        return _add_number(walk, x, y, blame, value, turned=turned)
    a, b = x.base, y.base
    if close(c, d):
        return walk.build(_ADD, (a, b), settings, blame, value, c)
    if close(c, -d):
        if _is_unit(c) and c == -1:
            return walk.build(_SUBTRACT, (b, a), settings, blame, value)
        return walk.build(_SUBTRACT, (a, b), settings, blame, value, c)
    found = walk.rewritten("add", [(c, a), (d, b)], blame, value)
    if found is not None:
        return found
    if _is_unit(d) and d == -1:
        return walk.build(_SUBTRACT, (walk.raw(x), b), settings, blame, value)
    if _is_unit(c) and c == -1:
        other = walk.raw(y if op.name == "add" else y._replace(scale=d))
        return walk.build(_SUBTRACT, (other, a), settings, blame, value)
    return None


def _add_number(
    walk: _Walk, x: Form, y: Form, blame: Node, value: Any, *, turned: bool
) -> Form | None:
    """Add a number and an array that are given with their signs."""
    if x.base is None and y.base is None:
        live = isinstance(x.scale, Scalar) or isinstance(y.scale, Scalar)
        if live or not _usable(x.scale + y.scale):
            return None
        return _full(x.scale + y.scale, value)
    number, array = (x, y) if x.base is None else (y, x)
    if not _is_unit(array.scale) or _is_zero(number):
        return None
    if array.shape != np.shape(value):
        return None
    k = number.scale
    if number.dtype is not None and not isinstance(k, Scalar):
        k = _leaf(number.dtype.type(k))
    if array.scale == -1:
        return walk.build(_SUBTRACT, (k, array.base), {}, blame, value)
    return walk.build(_ADD, (k, array.base), {}, blame, value) if turned else None


def _sum(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    (x,) = forms
    if x.dtype != value.dtype:
        return None
    if _is_zero(x):
        return _full(0.0, value)
    axis, keepdims = settings["axis"], settings["keepdims"]
    axes = shapes.reduced_axes(len(x.shape), axis)
    if x.base is None:
        count = math.prod(x.shape[i] for i in axes)
        scale = x.scale * count
        return _full(scale, value) if _usable(scale) else None
    if math.prod(x.shape) == math.prod(np.shape(value)):
        shape = {"shape": np.shape(value)}
        return walk.apply(op_of(ops.reshape), (x,), shape, blame, value)
    base = x.base
    # Later: until its identity is found, the sum must look like one.
    column = _column(walk, base, axes) if walk.writing else None
    if column is not None:
        form = column._replace(scale=_times(column.scale, x.scale))
        if form.shape == np.shape(value):
            return form
        shape = {"shape": np.shape(value)}
        return walk.apply(op_of(ops.reshape), (form,), shape, blame, value)
    if isinstance(base, Node) and base._op is not None:
        if base._op.name == "sum" and len(axes) == len(x.shape) and not keepdims:
            inner = walk.form_of(inputs_of(base)[0])
            if inner.base is not None and _usable(_times(x.scale, inner.scale)):
                scale = _times(x.scale, inner.scale)
                form = inner._replace(scale=scale, origin=None)
                whole = {"axis": None, "keepdims": False}
                return walk.apply(op, (form,), whole, blame, value)
    given = dict(settings)
    if not keepdims:
        # Identities say what a sum is with its axes kept.
        rows = np.empty(shapes.reduced(x.shape, axis, keepdims=True), x.dtype)
        options = {"axis": axis, "keepdims": True}
        inner = walk.values.get(base, x).base if isinstance(base, Node) else base
        if isinstance(inner, Node) and inner._op is op_of(ops.astype):
            inner = walk.form_of(inputs_of(inner)[0]).base
        kept = walk._new(op, (inner,), options, blame, rows)
        found = walk.rewritten("sum", [(1.0, kept)], blame, rows)
        if found is not None and _is_zero(found):
            return _full(0.0, value)
    return walk.build(op, (base,), given, blame, value, x.scale)


def _column(walk: _Walk, base: Any, axes: tuple[int, ...]) -> Form | None:
    """Sum over rows into which one element each was put: that element."""
    if not isinstance(base, Node) or base._op is None or axes != (1,):
        return None
    if base._op.name != "scatter_add" or np.ndim(base._value) != 2:
        return None
    index = settings_of(base)["index"]
    if not isinstance(index, tuple) or len(index) != 2:
        return None
    rows = index[0]
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu":
        return None
    count = base._value.shape[0]
    if rows.shape != (count,) or not np.array_equal(rows, np.arange(count)):
        return None
    if np.shape(inputs_of(base)[0]._value) != (count,):
        return None
    return walk.form_of(inputs_of(base)[0])


def _mean(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    (x,) = forms
    if x.dtype != value.dtype:
        return None
    axes = shapes.reduced_axes(len(x.shape), settings["axis"])
    count = math.prod(x.shape[i] for i in axes)
    form = _sum(walk, op_of(ops.sum), forms, settings, blame, value)
    if form is None or not count or not (_is_zero(form) or _usable(form.scale / count)):
        return None
    del op
    return form._replace(scale=form.scale / count, origin=None)


def _linear(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    """Take the number out of what only moves elements, or adds them up."""
    (x,) = forms
    if x.dtype != value.dtype:
        return None
    if x.base is None:
        if op.name in ("scatter_add", "cumsum") and not _is_zero(x):
            return None
        return _full(x.scale, value)
    if x.shape == np.shape(value) and op.name in ("reshape", "broadcast_to", "spread"):
        return x._replace(origin=None)
    base: Any = x.base
    if op.name == "reshape":
        while _moves_nothing(base):
            base = inputs_of(base)[0]
        if np.shape(_data(base)) == np.shape(value):
            inner = walk.form_of(base)
            scale = _times(inner.scale, x.scale)
            return inner._replace(scale=scale, origin=None) if _usable(scale) else None
        settings = {"shape": tuple(np.shape(value))}
    if op.name == "transpose" and settings["axes"] is None:
        if (
            isinstance(base, Node)
            and base._op is op
            and base not in walk.program.places
        ):
            if settings_of(base)["axes"] is None:
                inner = walk.form_of(inputs_of(base)[0])
                scale = _times(inner.scale, x.scale)
                if _usable(scale):
                    return inner._replace(scale=scale, origin=None)
    return walk.build(op, (base,), settings, blame, value, x.scale)


def _moves_nothing(base: Any) -> bool:
    """Whether a node has the elements of its operand, in their order."""
    if not isinstance(base, Node) or base._op is None:
        return False
    if base._op.name == "reshape":
        return True
    return base._op.name == "transpose" and sum(n > 1 for n in base._value.shape) < 2


def _matmul(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    x, y = forms
    if not _same_numbers(value, x, y):
        return None
    if _is_zero(x) or _is_zero(y):
        return _full(0.0, value)
    if x.shape[-1:] == (1,) and len(x.shape) == len(y.shape) == 2:
        if (1, 1) in (x.shape, y.shape):
            return walk.apply(_MULTIPLY, forms, {}, blame, value)
    if x.base is None or y.base is None or not _usable(_times(x.scale, y.scale)):
        return None
    if value.size == 1 and x.shape[-1] > 1 and len(x.shape) <= 2 and len(y.shape) <= 2:
        # One number: the sum of a product, which identities know.
        reshape = op_of(ops.reshape)
        turned = walk.apply(reshape, (y,), {"shape": x.shape}, blame, None)
        product = walk.apply(_MULTIPLY, (x, turned), {}, blame, None)
        total = walk.apply(
            op_of(ops.sum), (product,), {"axis": None, "keepdims": False}, blame, None
        )
        shape = {"shape": np.shape(value)}
        return walk.apply(reshape, (total,), shape, blame, value)
    scale = _times(x.scale, y.scale)
    return walk.build(op, (x.base, y.base), settings, blame, value, scale)


def _einsum(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    scale: Any = 1.0
    for form in forms:
        scale = _times(scale, form.scale)
    if any(form.base is None for form in forms) or not _usable(scale):
        return None
    if not _same_numbers(value, *forms):
        return None
    bases = tuple(form.base for form in forms)
    return walk.build(op, bases, settings, blame, value, scale)


def _where_rule(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    condition, x, y = forms
    if condition.base is None or not _same_numbers(value, x, y):
        return None
    nothing = [_is_nothing(form) for form in (x, y)]
    if all(nothing):
        return _full(0.0, value)
    if any(nothing):
        kept = y if nothing[0] else x
        if kept.base is None or kept.dtype != value.dtype:
            return None
        zero: Any = 0.0
        parts = (zero, kept.base) if nothing[0] else (kept.base, zero)
        inputs = (condition.base, *parts)
        if np.broadcast_shapes(condition.shape, kept.shape) != np.shape(value):
            return None
        return walk.build(op, inputs, settings, blame, value, kept.scale)
    if x.base is None or y.base is None or not close(x.scale, y.scale):
        return None
    inputs = (condition.base, x.base, y.base)
    return walk.build(op, inputs, settings, blame, value, x.scale)


def _is_zero(form: Form) -> bool:
    """Whether an identity says that this is zero; a zero of the user's is a number."""
    return form.base is None and not isinstance(form.scale, Scalar) and form.scale == 0


def _is_nothing(form: Form) -> bool:
    if _is_zero(form):
        return True
    return isinstance(form.base, (int, float)) and form.base == 0


def _positive(form: Form) -> bool:
    return not isinstance(form.scale, Scalar) and form.scale > 0


def _extreme(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    """max(c x, 0) = c max(x, 0) for c > 0."""
    x, y = forms
    array, zero = (x, y) if _is_nothing(y) else (y, x)
    if not _is_nothing(zero) or array.base is None or _is_one(array.scale):
        return None
    if not _positive(array) or not _same_numbers(value, array):
        return None
    inputs = tuple(array.base if form is array else form.base for form in forms)
    return walk.build(op, inputs, settings, blame, value, array.scale)


def _compare(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    """c x > 0 where x > 0, for c > 0."""
    x, y = forms
    array, zero = (x, y) if _is_nothing(y) else (y, x)
    if not _is_nothing(zero) or array.base is None or _is_one(array.scale):
        return None
    if not _positive(array) or array.dtype not in _FLOATS:
        return None
    inputs = tuple(array.base if form is array else form.base for form in forms)
    return walk.build(op, inputs, settings, blame, value)


def _through(change: Callable[[float], float]) -> Rule:
    """Make the rule of f(c x) = change(c) f(x), for c > 0."""

    def rule(
        walk: _Walk,
        op: Op,
        forms: tuple[Form, ...],
        settings: Any,
        blame: Node,
        value: Any,
    ) -> Form | None:
        (x,) = forms
        if x.base is None or x.dtype != value.dtype or not _positive(x):
            return None
        if _is_one(x.scale) or not _usable(change(x.scale)):
            return None
        return walk.build(op, (x.base,), settings, blame, value, change(x.scale))

    return rule


def _join(
    walk: _Walk, op: Op, forms: tuple[Form, ...], settings: Any, blame: Node, value: Any
) -> Form | None:
    if any(form.base is None or form.dtype != value.dtype for form in forms):
        return None
    scale = forms[0].scale
    if _is_one(scale) or not all(close(form.scale, scale) for form in forms):
        return None
    inputs = tuple(form.base for form in forms)
    return walk.build(op, inputs, settings, blame, value, scale)


_MULTIPLY = op_of(ops.multiply)
_DIVIDE = op_of(ops.divide)
_SUBTRACT = op_of(ops.subtract)
_ADD = op_of(ops.add)
_NEGATIVE = op_of(ops.negative)
_SPREAD = op_of(ops.spread)
_BROADCAST = op_of(ops.broadcast_to)

_RULES: dict[str, Rule] = {
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "add": _add,
    "subtract": _add,
    "sum": _sum,
    "mean": _mean,
    "matmul": _matmul,
    "einsum": _einsum,
    "where": _where_rule,
    "maximum": _extreme,
    "minimum": _extreme,
    "greater": _compare,
    "greater_equal": _compare,
    "less": _compare,
    "less_equal": _compare,
    "relu": _through(lambda c: c),
    "abs": _through(lambda c: c),
    "sqrt": _through(math.sqrt),
    "square": _through(lambda c: c * c),
    "reciprocal": _through(lambda c: 1 / c),
    "concatenate": _join,
    "stack": _join,
    "transpose": _linear,
    "reshape": _linear,
    "broadcast_to": _linear,
    "spread": _linear,
    "getitem": _linear,
    "scatter_add": _linear,
    "cumsum": _linear,
}
