"""An expression as a person would write it: signs, numbers and repeats in their places.

Every value is a number times factors, over factors. Numbers and signs go to the front,
like terms are added, ``(A B)ᵀ`` is ``Bᵀ Aᵀ``, what only repeats disappears where the
other factors have the shape, and what equals a named value is its name. All that is
made is recorded anew on the values at hand, so each line carries the value that it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops, recording, shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Node, Op, constant, data_of, inputs_of, op_of, settings_of

__all__ = ["Arranger", "Form", "Numbers"]


class Form(NamedTuple):
    """A value as ``number * product of above / product of below``."""

    number: float
    above: tuple[Any, ...] = ()
    below: tuple[Any, ...] = ()


class Numbers:
    """How numbers are spelled: ``0.000875`` as ``λ / m``, where letters are known.

    Parameters
    ----------
    letters
        Leaves of one number each, by the number.
    examples
        The leaf that stands for the number of examples, or None.
    digits
        How many digits of a number count: 12, and 6 in single precision.
    """

    def __init__(
        self,
        letters: Sequence[tuple[float, Any]],
        examples: Any = None,
        digits: int = 12,
    ) -> None:
        self.digits = digits
        self.letters = letters
        self.examples = examples
        self.count = None if examples is None else float(data_of(examples))

    def spelled(self, number: float) -> tuple[float, list[Any], float, list[Any]]:
        """Return a positive number as (number, letters) over (number, letters)."""
        simple = self._by_count(number, strict=True) is not None
        for value, leaf in () if simple else self.letters:
            for over in (False, True):
                ratio = number * value if over else number / value
                found = self._by_count(ratio, strict=True)
                if found is not None:
                    up, down, below = found
                    above = [] if over else [leaf]
                    return up, above, down, ([leaf] if over else []) + below
        found = self._by_count(number, strict=False)
        if found is None:
            return number, [], 1.0, []
        up, down, below = found
        return up, [], down, below

    def _by_count(
        self, number: float, *, strict: bool
    ) -> tuple[float, float, list[Any]] | None:
        """Return number, divisor and letters below it: as small numbers if strict."""
        below = [] if self.examples is None else [self.examples]
        ways: list[tuple[float, float, list[Any]]] = [
            (number, 1.0, []),
            (1.0, 1 / number, []),
        ]
        if self.count is not None:
            if self._whole(1 / number) == self.count:
                return 1.0, 1.0, below
            ways += [
                (number * self.count, 1.0, below),
                (2 * number * self.count, 2.0, below),
            ]
        found = self._fitting(ways, (self._digit,))
        if found is not None or strict:
            return found
        if len(f"{number:.12g}") <= 3:  # 0.7 is shorter than 56 / m
            return self._fitting(ways[:2], (self._whole, self._short))
        ways += [(number * d, float(d), []) for d in range(2, 10)]
        return self._fitting(ways, (self._digit, self._whole, self._short))

    def _fitting(
        self,
        ways: Sequence[tuple[float, float, list[Any]]],
        kinds: Sequence[Callable[[float], float | None]],
    ) -> tuple[float, float, list[Any]] | None:
        for fits in kinds:
            for up, down, letters in ways:
                top, bottom = fits(up), fits(down)
                beside = letters and top is not None and top >= float(self.count or 0)
                if top is not None and bottom is not None and not beside:
                    return top, bottom, letters
        return None

    def _whole(self, x: float) -> float | None:
        near = round(x) if math.isfinite(x) and abs(x) < 1e9 else 0
        least = 10.0**-self.digits * near
        return float(near) if near and abs(x - near) <= least else None

    def _digit(self, x: float) -> float | None:
        whole = self._whole(x)
        return whole if whole is not None and whole <= 9 else None

    def _short(self, x: float) -> float | None:
        """Return a number that is quickly said: 0.7, not 0.7000000000000001."""
        text = f"{x:.{self.digits}g}"
        return float(text) if len(text) <= 5 else None


class Arranger:
    """Writes expressions anew; knows the named values that it has written before.

    Parameters
    ----------
    numbers
        How numbers are spelled.
    data
        Leaves whose values are given: of labels whose rows sum to 1 the sum is not
        written.

    Attributes
    ----------
    told
        What was used that holds for the values at hand: ``"Σ Y = 1"``.
    """

    def __init__(self, numbers: Numbers, data: Sequence[Any] = ()) -> None:
        self.numbers = numbers
        self.data = set(data)
        self.told: list[str] = []
        self.known: dict[Hashable, Any] = {}  # named values by what they equal
        self._keys: dict[Any, Hashable] = {}
        self._sums: dict[Any, list[Form]] = {}
        self._ones: dict[Any, Any] = {}
        self._numbers: dict[Hashable, int] = {}

    def arranged(self, root: Any) -> Any:
        """Return the node of a tidier expression of the same value."""
        with recording.recorded(), np.errstate(all="ignore"):
            return self.built(self.form(root), np.shape(data_of(root)))

    def defines(self, node: Any, leaf: Any) -> None:
        """Let the expression that a node is be called by the name of ``leaf``."""
        if isinstance(node, Node) and node._op is not None:
            self.known.setdefault(self.key(node), leaf)

    # --- from nodes to forms ---

    def form(self, root: Any) -> Form:
        """Return the form of an expression, operands first, without recursion."""
        done: dict[Any, Form] = {}
        stack = [root]
        while stack:
            x = stack[-1]
            if not isinstance(x, Node) or x in done:
                stack.pop()
                continue
            missing = [y for y in inputs_of(x) if isinstance(y, Node) and y not in done]
            if missing:
                stack += reversed(missing)
                continue
            given = [self._of(y, done) for y in inputs_of(x)]
            done[x] = self._of_node(x, given)
            stack.pop()
        return self._of(root, done)

    def _of(self, x: Any, done: Mapping[Any, Form]) -> Form:
        if isinstance(x, Node):
            return done[x]
        if np.ndim(data_of(x)) == 0 and not isinstance(data_of(x), (bool, np.bool_)):
            return Form(float(data_of(x)))
        return Form(1.0, (x,))

    def _of_node(self, x: Node, given: list[Form]) -> Form:
        op = x._op
        if op is None:
            return self._of_leaf(x)
        rule = _RULES.get(op.name)
        if rule is not None and x._value.dtype.kind in _KINDS.get(op.name, "f"):
            found = rule(self, x, given)
            if found is not None:
                return found
        inputs = [
            self.built(form, np.shape(data_of(y)))
            for form, y in zip(given, inputs_of(x), strict=True)
        ]
        return self.form_of_made(self.made(op, inputs, **settings_of(x)))

    def _of_leaf(self, x: Any) -> Form:
        """Return a leaf as itself; one without a name as its number, repeated."""
        value = x._value
        if _is_symbol(x) or value.dtype.kind == "b" or not np.size(value):
            return Form(1.0, (x,))
        if np.ndim(value) == 0:
            return Form(float(value))
        if bool(np.all(value == value.flat[0])):
            return Form(float(value.flat[0]), (self.one(value.shape),))
        return Form(1.0, (x,))

    def form_of_made(self, node: Any) -> Form:
        """Return the form of a node that stands for itself."""
        return Form(1.0, (node,)) if isinstance(node, Node) else Form(float(node))

    def made(self, op: Op, inputs: Sequence[Any], **settings: Any) -> Any:
        """Apply an op to nodes; return the name of what that equals, if it has one."""
        if op.kind == "random" or not any(isinstance(x, Node) for x in inputs):
            inputs = [
                x if isinstance(x, Node) else constant(np.asarray(x), recording.tick())
                for x in inputs
            ]
        found = op.call(*inputs, **settings)
        known = self.known.get(self.key(found)) if isinstance(found, Node) else None
        return found if known is None else known

    # --- from forms to nodes ---

    def built(self, form: Form, shape: tuple[int, ...] | None = None) -> Any:
        """Return the node of a form, of that shape: number, factors, divisors."""
        size = abs(form.number)
        if form.number == 0 or not math.isfinite(size):
            return self._filled(form.number, form, shape)
        up, letters, down, below = self.numbers.spelled(size)
        factors = self._factors(form, shape)
        single = [x for x in [*letters, *factors] if np.ndim(data_of(x)) == 0]
        arrays = [x for x in factors if np.ndim(data_of(x)) > 0]
        node = self._product([*([] if up == 1 else [up]), *single, *arrays])
        under = [*([] if down == 1 else [down]), *below, *form.below]
        if under:
            node = self._binary(ops.divide, node, self._product(under))
        if form.number < 0:
            node = -node if not isinstance(node, Node) else self._negated(node)
        if shape not in (None, np.shape(data_of(node))):
            node = self._binary(ops.multiply, node, self.one(shape))
        return self._named(node)

    def _product(self, parts: Sequence[Any]) -> Any:
        node: Any = None
        for part in _powers(parts):
            node = part if node is None else self._binary(ops.multiply, node, part)
        return 1.0 if node is None else node

    def _named(self, node: Any) -> Any:
        if not isinstance(node, Node):
            return node
        return self.known.get(self.key(node), node)

    def _negated(self, node: Any) -> Any:
        terms = self._sums.get(node)
        if terms is not None:
            return self.total([t._replace(number=-t.number) for t in terms], None)
        return self._named(ops.negative(node))

    def _binary(self, function: Any, x: Any, y: Any) -> Any:
        if not isinstance(x, Node) and not isinstance(y, Node):
            return function(x, y)
        return self._named(function(x, y))

    def _filled(self, number: float, form: Form, shape: Any) -> Any:
        parts = [*form.above, *form.below]
        node: Any = number
        if shape is None:
            shape = np.broadcast_shapes(*[np.shape(data_of(x)) for x in parts])
        return (
            node if shape == () else self._binary(ops.multiply, node, self.one(shape))
        )

    def _factors(self, form: Form, shape: Any) -> list[Any]:
        """Return the factors, without what only repeats where the others do not."""
        factors = list(form.above)
        ones = [x for x in factors if self.is_one(x)]
        for one in ones:
            rest = [x for x in factors if x is not one]
            covered = np.broadcast_shapes(
                (), *[np.shape(data_of(x)) for x in [*rest, *form.below]]
            )
            wanted = np.broadcast_shapes(covered, np.shape(data_of(one)))
            if covered == (wanted if shape is None else shape):
                factors = rest
        return factors

    def one(self, shape: tuple[int, ...]) -> Any:
        """Return an array of ones that stands for "repeated"."""
        known = self._ones.get(shape)
        if known is None:
            known = self._ones[shape] = ops.spread(
                constant(np.float64(1.0), recording.tick()), shape
            )
        return known

    # --- sums ---

    def terms(self, form: Form) -> list[Form]:
        """Return the terms of a sum; of anything else itself."""
        if len(form.above) == 1 and not form.below:
            known = self._sums.get(form.above[0])
            if known is not None:
                return [t._replace(number=t.number * form.number) for t in known]
        return [form]

    def total(self, terms: Sequence[Form], shape: Any) -> Any:
        """Return the node of a sum: like terms added, what is positive first."""
        left = self.merged(terms, shape)
        if not left:
            return self.built(Form(0.0), shape)
        left.sort(key=lambda t: t.number < 0)
        node: Any = None
        if len(left) == 1:
            return self.built(left[0], shape)
        for term in left:
            part = self.built(term._replace(number=abs(term.number)))
            if node is None:
                node = part if term.number > 0 else self._negative_part(part)
            elif term.number > 0:
                node = self._binary(ops.add, node, part)
            else:
                node = self._binary(ops.subtract, node, part)
        if shape not in (None, np.shape(data_of(node))):
            node = self._binary(ops.multiply, node, self.one(shape))
        elif isinstance(node, Node) and node._op is not None:
            self._sums[node] = left
        return node

    def merged(self, terms: Sequence[Form], shape: Any) -> list[Form]:
        """Return the terms of a sum with like terms added."""
        found: dict[Hashable, Form] = {}
        for term in self._without_ones(list(terms), shape):
            key = (
                tuple(sorted(map(repr, map(self.key, term.above)))),
                tuple(sorted(map(repr, map(self.key, term.below)))),
            )
            old = found.get(key)
            found[key] = (
                term if old is None else old._replace(number=old.number + term.number)
            )
        return [t for t in found.values() if t.number != 0]

    def _without_ones(self, terms: list[Form], shape: Any) -> list[Form]:
        """Leave out what only repeats, where the other terms have the shape."""
        for i, term in enumerate(terms):
            rest = tuple(x for x in term.above if not self.is_one(x))
            if len(rest) == len(term.above):
                continue
            shorter = term._replace(above=rest)
            others = [*terms[:i], shorter, *terms[i + 1 :]]
            sizes = [np.shape(data_of(x)) for t in others for x in (*t.above, *t.below)]
            if np.broadcast_shapes((), *sizes) == shape:
                terms = others
        return terms

    def _negative_part(self, part: Any) -> Any:
        return -part if not isinstance(part, Node) else ops.negative(part)

    # --- what equals what ---

    def key(self, x: Any) -> Hashable:
        """Return what is equal for equal expressions of the same leaves."""
        if not isinstance(x, Node):
            value = data_of(x)
            return float(value) if np.ndim(value) == 0 else ("array", id(x))
        known = self._keys.get(x)
        if known is not None:
            return known
        stack = [x]
        while stack:
            node = stack[-1]
            if node in self._keys:
                stack.pop()
                continue
            if node._op is None:
                single = np.ndim(node._value) == 0 and not _is_symbol(node)
                self._keys[node] = float(node._value) if single else ("leaf", id(node))
                stack.pop()
                continue
            inputs = inputs_of(node)
            missing = [y for y in inputs if isinstance(y, Node) and y not in self._keys]
            if missing:
                stack += missing
                continue
            parts = [self.key(y) for y in inputs]
            if node._op.name in ("add", "multiply"):
                parts.sort(key=repr)
            # One number for each expression: keys of keys would grow without bound.
            made = (node._op.name, *parts, _settings_key(node))
            self._keys[node] = (
                "node",
                self._numbers.setdefault(made, len(self._numbers)),
            )
            stack.pop()
        return self._keys[x]

    # An == of nodes is recorded, so they are told apart by identity.

    def sums_to_one(self, x: Any, total: Any) -> bool:
        """Whether a sum is of labels that are shares: each of its elements is 1."""
        if x not in self.data or np.ndim(data_of(total)) == 0:
            return False
        if not bool(np.all(data_of(total) == 1)):
            return False
        self.tell(f"Σ {x._name} = 1 for each example")
        return True

    def writes(self, form: Form) -> str | None:
        """Return the name that a form is, if it is one."""
        if form.number != 1 or len(form.above) != 1 or form.below:
            return None
        return getattr(form.above[0], "_name", None)

    def tell(self, what: str) -> None:
        """Note what a line needs."""
        if what not in self.told:
            self.told.append(what)

    def is_one(self, x: Any) -> bool:
        """Whether a factor is an array of ones that stands for "repeated"."""
        return any(x is one for one in self._ones.values())


def _settings_key(node: Node) -> str:
    """Return what is equal for equal settings: axis -1 of a matrix is its axis 1."""
    settings = dict(settings_of(node))
    if "axis" in settings and inputs_of(node):
        rank = np.ndim(data_of(inputs_of(node)[0]))
        with suppress(ShapeError):
            settings["axis"] = shapes.reduced_axes(rank, settings["axis"])
    return repr(sorted(settings.items()))


def _is_symbol(node: Node) -> bool:
    return getattr(node, "_name", None) is not None


def _powers(parts: Sequence[Any]) -> list[Any]:
    """Return factors with those that are repeated as powers: A A as A²."""
    found: list[list[Any]] = []
    for part in parts:
        same = next((x for x in found if x[0] is part), None)
        if same is not None and isinstance(part, Node):
            same[1] += 1
        else:
            found.append([part, 1])
    return [
        x if count == 1 else ops.square(x) if count == 2 else ops.power(x, count)
        for x, count in found
    ]


_SUM, _MATMUL = op_of(ops.sum), op_of(ops.matmul)
_TRANSPOSE, _RESHAPE = op_of(ops.transpose), op_of(ops.reshape)
_WHERE = op_of(ops.where)

# --- rules -----------------------------------------------------------------------

Rule = Callable[[Arranger, Node, "list[Form]"], "Form | None"]


def _negative(_arranger: Arranger, _node: Node, given: list[Form]) -> Form:
    return given[0]._replace(number=-given[0].number)


def _multiply(arranger: Arranger, node: Node, given: list[Form]) -> Form:
    x, y = given
    above = (*x.above, *y.above)
    form = Form(x.number * y.number, above, (*x.below, *y.below))
    return _shaped(arranger, form, node)


def _divide(arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    x, y = given
    if y.number == 0:
        return None
    form = Form(x.number / y.number, (*x.above, *y.below), (*x.below, *y.above))
    return _shaped(arranger, form, node)


def _shaped(arranger: Arranger, form: Form, node: Node) -> Form:
    """Return a form that has the shape of its node."""
    shape = np.shape(node._value)
    parts = [np.shape(data_of(x)) for x in (*form.above, *form.below)]
    if np.broadcast_shapes((), *parts) == shape:
        return form
    return form._replace(above=(*form.above, arranger.one(shape)))


def _add(arranger: Arranger, node: Node, given: list[Form]) -> Form:
    x, y = given
    if node._op is not None and node._op.name == "subtract":
        y = y._replace(number=-y.number)
    terms = [*arranger.terms(x), *arranger.terms(y)]
    common = _common(terms)
    if common != 1.0:
        terms = [t._replace(number=t.number / common) for t in terms]
    shape = np.shape(node._value)
    merged = arranger.merged(terms, shape)
    if len(merged) == 1 and common != 0:
        return _shaped(
            arranger, merged[0]._replace(number=merged[0].number * common), node
        )
    total = arranger.total(terms, shape)
    if not isinstance(total, Node):
        return Form(float(total) * common)
    return Form(common, (total,))


def _common(terms: Sequence[Form]) -> float:
    """Return the number that all terms have in front, sign apart: 1 if they differ."""
    sizes = [abs(t.number) for t in terms]
    first = sizes[0]
    if not first or not math.isfinite(first):
        return 1.0
    if any(not t.above and not t.below for t in terms):
        return 1.0
    same = all(math.isclose(size, first, rel_tol=1e-13) for size in sizes)
    return first if same else 1.0


def _split(form: Form) -> tuple[Form, Form]:
    """Return what is one number for all, and the rest."""
    single = Form(
        form.number,
        tuple(x for x in form.above if np.ndim(data_of(x)) == 0),
        tuple(x for x in form.below if np.ndim(data_of(x)) == 0),
    )
    rest = Form(
        1.0,
        tuple(x for x in form.above if np.ndim(data_of(x)) > 0),
        tuple(x for x in form.below if np.ndim(data_of(x)) > 0),
    )
    return single, rest


def _times(*forms: Form) -> Form:
    number = math.prod(form.number for form in forms)
    above = tuple(x for form in forms for x in form.above)
    return Form(number, above, tuple(x for form in forms for x in form.below))


def _sum(arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    (x,) = given
    shape = np.shape(data_of(inputs_of(node)[0]))
    if not shape:
        return x
    single, rest = _split(x)
    settings = settings_of(node)
    axes = shapes.reduced_axes(len(shape), settings["axis"])
    ones = [z for z in rest.above if arranger.is_one(z)]
    if rest.below == () and len(ones) == len(rest.above):
        count = math.prod(shape[a] for a in axes)
        return _shaped(arranger, single._replace(number=single.number * count), node)
    if math.prod(shape[a] for a in axes) == 1:
        inner = arranger.built(rest, shape)
        return _times(single, _reshaped(arranger, inner, np.shape(node._value)))
    inner = arranger.built(rest, shape)
    made = arranger.made(_SUM, [inner], **_plain(settings, len(shape)))
    if arranger.sums_to_one(inner, made):
        return _shaped(arranger, single, node)
    return _times(single, arranger.form_of_made(made))


def _plain(settings: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Return the settings of a reduction as a person would give them."""
    axes = shapes.reduced_axes(rank, settings["axis"])
    axis: Any = None if len(axes) == rank else axes[0] if len(axes) == 1 else axes
    return {"axis": axis, "keepdims": settings["keepdims"]}


def _reshaped(arranger: Arranger, x: Any, shape: tuple[int, ...]) -> Form:
    have = np.shape(data_of(x))
    if have == shape:
        return arranger.form_of_made(x)
    if arranger.is_one(x):
        return Form(1.0, (arranger.one(shape),) if shape else ())
    if isinstance(x, Node) and x._op is not None and x._op.name == "sum":
        inner = inputs_of(x)[0]
        size = np.shape(data_of(inner))
        axes = settings_of(x)["axis"]
        for keepdims in (True, False):
            if shapes.reduced(size, axes, keepdims=keepdims) == shape:
                made = arranger.made(
                    x._op,
                    [inner],
                    **_plain({"axis": axes, "keepdims": keepdims}, len(size)),
                )
                return arranger.form_of_made(made)
    made = arranger.made(_RESHAPE, [x], shape=shape)
    return arranger.form_of_made(made)


def _moved(arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    """Reshape: of each factor that has the shape, or of the whole."""
    (x,) = given
    size, shape = np.shape(data_of(inputs_of(node)[0])), np.shape(node._value)
    if size == shape:
        return x
    single, rest = _split(x)
    if not rest.above and not rest.below:
        return _shaped(arranger, _kept(arranger, single, shape), node)
    inner = arranger.built(rest, size)
    return _times(single, _reshaped(arranger, inner, shape))


def _kept(arranger: Arranger, form: Form, shape: tuple[int, ...]) -> Form:
    """Let a sum of everything keep its axes, where its one number is to have some."""
    for i, x in enumerate(form.above):
        if isinstance(x, Node) and x._op is _SUM and math.prod(shape) == 1:
            made = _reshaped(arranger, x, shape)
            if not any(arranger.is_one(y) for y in made.above):
                rest = (*form.above[:i], *form.above[i + 1 :])
                return _times(form._replace(above=rest), made)
    return form


def _repeated(arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    """Repeat: what it is made of, times an array of ones."""
    (x,) = given
    shape = np.shape(node._value)
    size = np.shape(data_of(inputs_of(node)[0]))
    if size == shape:
        return x
    single, rest = _split(x)
    if not rest.above and not rest.below:
        return _shaped(arranger, single, node)
    form = rest
    settings = settings_of(node)
    if "axis" in settings:
        kept = shapes.reduced(shape, settings["axis"], keepdims=True)
        if kept != (1,) * (len(kept) - len(size)) + size:  # axes in front come alone
            form = _reshaped(arranger, arranger.built(rest, size), kept)
    return _shaped(arranger, _times(single, form), node)


def _astype(_arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    same = data_of(inputs_of(node)[0]).dtype.kind == node._value.dtype.kind
    return given[0] if same else None


def _matmul(arranger: Arranger, node: Node, given: list[Form]) -> Form:
    singles, nodes = [], []
    for form, x in zip(given, inputs_of(node), strict=True):
        single, rest = _split(form)
        singles.append(single)
        nodes.append(arranger.built(rest, np.shape(data_of(x))))
    x, y = nodes
    if all(np.shape(data_of(z)) == (1, 1) for z in nodes):
        return _times(*singles, Form(1.0, (x, y)))
    made = arranger.made(_MATMUL, [x, y])
    return _times(*singles, arranger.form_of_made(made))


def _transpose(arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    (x,) = given
    size = np.shape(data_of(inputs_of(node)[0]))
    axes = settings_of(node)["axes"]
    rank = len(size)
    if rank < 2:
        return x
    plain = axes is None or tuple(a % rank for a in axes) == tuple(range(rank))[::-1]
    if not plain:
        return None
    single, rest = _split(x)
    if all(arranger.is_one(z) for z in rest.above) and not rest.below:
        return _shaped(arranger, single, node)
    inner = arranger.built(rest, size)
    op = _TRANSPOSE
    if isinstance(inner, Node) and inner._op is not None and rank == 2:
        if inner._op is op:
            return _times(single, arranger.form_of_made(inputs_of(inner)[0]))
        if inner._op.name == "matmul":
            a, b = inputs_of(inner)
            if np.ndim(data_of(a)) == 2 and np.ndim(data_of(b)) == 2:
                turned = [_turned(arranger, b), _turned(arranger, a)]
                made = arranger.made(inner._op, turned)
                return _times(single, arranger.form_of_made(made))
    return _times(single, arranger.form_of_made(_turned(arranger, inner)))


def _turned(arranger: Arranger, x: Any) -> Any:
    op = _TRANSPOSE
    if isinstance(x, Node) and x._op is op and settings_of(x)["axes"] is None:
        return inputs_of(x)[0]
    return arranger.made(op, [x])


def _linear(arranger: Arranger, node: Node, given: list[Form]) -> Form:
    """Take numbers out of what picks, puts or adds up elements."""
    (x,) = given
    single, rest = _split(x)
    inner = arranger.built(rest, np.shape(data_of(inputs_of(node)[0])))
    made = arranger.made(node._op, [inner], **settings_of(node))  # type: ignore[arg-type]
    return _times(single, arranger.form_of_made(made))


def _where(arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    """Leave out a guard against 0 where nothing is 0, and a choice made before."""
    condition, x, y = (
        arranger.built(form, np.shape(data_of(operand)))
        for form, operand in zip(given, inputs_of(node), strict=True)
    )
    if not isinstance(condition, Node):
        return None
    if _is(x, "where") and arranger.key(inputs_of(x)[0]) == arranger.key(condition):
        made = arranger.made(_WHERE, [condition, inputs_of(x)[1], y])
        same = np.shape(data_of(made)) == np.shape(node._value)
        return arranger.form_of_made(made) if same else None
    if not _is(condition, "equal") or np.any(data_of(condition)):
        return None
    tested, zero = inputs_of(condition)
    if isinstance(zero, Node) or np.ndim(zero) or data_of(zero) != 0:
        return None
    guarded = isinstance(y, Node) and np.shape(data_of(y)) == np.shape(node._value)
    name = arranger.writes(given[2])
    if not guarded or y is not tested or name is None:
        return None
    arranger.tell(f"{name} ≠ 0")
    return given[2]


def _not_equal(_arranger: Arranger, node: Node, given: list[Form]) -> Form | None:
    """Let what is true or false stand for itself where it is compared with 0."""
    x, y = inputs_of(node)
    zero = not isinstance(y, Node) and not np.ndim(y) and data_of(y) == 0
    if not zero or not isinstance(x, Node) or x._value.dtype.kind != "b":
        return None
    same = np.shape(x._value) == np.shape(node._value)
    return given[0] if same else None


def _is(x: Any, name: str) -> bool:
    return isinstance(x, Node) and x._op is not None and x._op.name == name


_KINDS = {"not_equal": "b"}
_RULES: dict[str, Rule] = {
    "add": _add,
    "astype": _astype,
    "broadcast_to": _repeated,
    "cumsum": _linear,
    "divide": _divide,
    "getitem": _linear,
    "matmul": _matmul,
    "multiply": _multiply,
    "negative": _negative,
    "not_equal": _not_equal,
    "reshape": _moved,
    "scatter_add": _linear,
    "spread": _repeated,
    "subtract": _add,
    "sum": _sum,
    "transpose": _transpose,
    "where": _where,
}
