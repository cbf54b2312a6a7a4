"""Backend ``jax``, the text: a program as a pure function over `jax.numpy`.

One assignment a line, in the user's names. The function takes everything that a step
reads and returns everything that it changes, so `jax.jit` and `lax.scan` take it as it
is; `runner` carries values to and fro. Nothing here needs JAX to be installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph, shapes
from tinygrad_nn.compiler.jax.bounds import bounded, read_on_host
from tinygrad_nn.compiler.jax.elsewhere import Elsewhere
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.trace import Rate, StateNumber, Trace
from tinygrad_nn.compiler.writer import Line, Writer
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node, Op, inputs_of, settings_of
from tinygrad_nn.rewriting.program import (
    Argument,
    Gradient,
    Place,
    Program,
    Slot,
    Value,
    operands,
)
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.scalars import Scalar

__all__ = ["Draw", "JaxSource", "Live", "Mask", "lower"]

_INFIX = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
    np.greater: "{} > {}",
    np.less: "{} < {}",
    np.greater_equal: "{} >= {}",
    np.less_equal: "{} <= {}",
    np.equal: "{} == {}",
    np.not_equal: "{} != {}",
}
_JOINS = ("concatenate", "stack")
_REDUCTIONS = ("sum", "max", "min", "prod")
_PLAIN = (int, float, str, bool, type(None))


class Draw(NamedTuple):
    """Random numbers that the host draws for each step."""

    rng: Any
    shape: tuple[int, ...]


class Live(NamedTuple):
    """A rate or a count that is a result: which of the numbers it is."""

    place: int


class Mask(NamedTuple):
    """Where a boolean index that is held by reference is true, along one axis."""

    array: np.ndarray
    axis: int
    size: int


@dataclass
class JaxSource:
    """The text of a step, and what its names and parameters stand for.

    Attributes
    ----------
    source
        Defines ``step(*state, *kept, *numbers, *inputs)``, which returns four tuples:
        results, the new state, gradients and checked values; and ``numbers(*scalars)``
        and ``counts(*scalars)``, plain Python for the host.
    namespace
        Objects that the text refers to.
    lines
        Line number to the node that it computes.
    state
        Places that the step writes: values of Tensors, arrays of optimisers.
    kept
        Places that it only reads.
    scalars
        Where rates and counts are read: the parameters of ``numbers``, ``counts``.
    inputs
        An `Argument`, a `Gradient`, a `Draw`, a `Mask`, or an array that is held by
        reference.
    input_facts
        Shape and dtype of each input.
    number_dtype
        What the step takes its numbers in.
    new_counts
        Where the results of ``counts`` go.
    elsewhere
        Ops that the runner must say how to call.
    results, gradients, checked
        What the step returns, besides the state; `checked` are nodes with a function
        that may refuse their value.
    finite
        Nodes that must be finite; what says so is the last thing that is returned.
    others
        What is returned besides nodes, by its place: a `Live`, or an object.
    beforehand
        Functions of the call's arrays and of functions that may refuse what they give.
    """

    source: str = ""
    namespace: dict[str, Any] = field(default_factory=dict)
    lines: dict[int, Node] = field(default_factory=dict)
    state: list[Place] = field(default_factory=list)
    kept: list[Place] = field(default_factory=list)
    scalars: list[Rate | StateNumber] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    number_dtype: Any = None
    inputs: list[Any] = field(default_factory=list)
    input_facts: list[tuple[Any, Any]] = field(default_factory=list)
    new_counts: list[StateNumber] = field(default_factory=list)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    others: dict[int, Any] = field(default_factory=dict)
    gradients: list[tuple[Any, Any]] = field(default_factory=list)
    checked: list[tuple[Any, Any]] = field(default_factory=list)
    finite: list[Any] = field(default_factory=list)
    beforehand: list[tuple[Any, Any]] = field(default_factory=list)


def lower(program: Program, trace: Trace, *, check_finite: bool = False) -> JaxSource:
    """Write a program as source over `jax.numpy`."""
    return _Source(program, trace, check_finite=check_finite).written()


class _Source:
    """Writes the source from the top down."""

    def __init__(self, program: Program, trace: Trace, *, check_finite: bool) -> None:
        self.program = program
        self.trace = trace
        self.check_finite = check_finite
        self.found = JaxSource()
        self.w = Writer(program)
        self.w.taken |= {"jnp", "numbers", "counts", *trace.scalars}
        self.constants: dict[int, str] = {}
        self.inputs: list[tuple[str, Any]] = []
        self.bounds: set[tuple[int, int]] = set()
        self.body: list[Line] = []

    def written(self) -> JaxSource:
        """Return the whole."""
        found = self.found
        found.number_dtype = self._number_dtype()
        state, kept = self._state()
        arguments = self._arguments()
        self._nodes()
        returned = self._returned(state)
        texts = list(self.w.numbers)
        found.numbers = texts
        found.inputs = [*(x for _, x in arguments), *(x for _, x in self.inputs)]
        found.input_facts = [
            _input_facts(x, program=self.program) for x in found.inputs
        ]
        parameters = [
            *(name for name, _ in [*state, *kept]),
            *(self.w.numbers[text] for text in texts),
            *(name for name, _ in [*arguments, *self.inputs]),
        ]
        lines: list[Line] = [
            ('"""A compiled step over jax.numpy: one assignment a line."""', None),
            ("", None),
            ("import jax.numpy as jnp", None),
            ("", None),
            ("", None),
            (f"def step({', '.join(parameters)}):", None),
            *((f"    {text}", node) for text, node in self.body),
            ("    return (", None),
            *((f"        {text},", None) for text in returned),
            ("    )", None),
            *((text, None) for text in self._on_the_host(texts)),
        ]
        found.namespace = self.w.namespace
        found.source = "\n".join(text for text, _ in lines) + "\n"
        found.lines = {
            i: node for i, (_, node) in enumerate(lines, start=1) if node is not None
        }
        return found

    # --- operands ---

    def operand(self, x: Any, dtype: Any = None) -> str:
        """Return how the source says an operand, converted to a dtype if it is given.

        Python's numbers take the dtype of what they meet, in JAX as in NumPy.
        """
        if isinstance(x, Scalar):
            return self._converted(self.w.number(x), self.found.number_dtype, dtype)
        if isinstance(x, (int, float)) and not isinstance(x, np.generic):
            return _number_text(x)
        if isinstance(x, Node):
            if x._op is None and x not in self.program.places:
                value = x._value
                if x._code is None and np.ndim(value) == 0:
                    value = np.asarray(value)[()]  # a number that a rule made
                return self._converted(self._constant(value), value.dtype, dtype)
            return self._converted(self.w.name(x), x._value.dtype, dtype)
        return self._converted(self._constant(x), x.dtype, dtype)

    @staticmethod
    def _converted(text: str, have: Any, wanted: Any) -> str:
        if wanted is None or np.dtype(wanted) == have:
            return text
        return f"{text}.astype(jnp.{_dtype_text(wanted)})"

    def _constant(self, value: Any) -> str:
        """Return an array's name, which is read at each call, or a number's text."""
        if isinstance(value, np.generic):
            return f"jnp.{_dtype_text(value.dtype)}({_number_text(value.item())})"
        if id(value) not in self.constants:  # it lives on, in `inputs`
            name = self.w.unique(f"constant_{len(self.constants) + 1}")
            self.constants[id(value)] = name
            self.inputs.append((name, value))
        return self.constants[id(value)]

    # --- parameters ---

    def _number_dtype(self) -> Any:
        """Return the dtype that most of the program computes in."""
        counts: dict[Any, int] = {}
        for node in self.program.nodes:
            if node._value.dtype.kind == "f":
                counts[node._value.dtype] = counts.get(node._value.dtype, 0) + 1
        return max(counts, key=counts.__getitem__, default=np.dtype(np.float64))

    def _state(self) -> tuple[list[tuple[str, Place]], list[tuple[str, Place]]]:
        """Return what is written to where it lives, and what is only read there."""
        found, program = self.found, self.program
        used = {x for node in program.nodes for x in operands(node)}
        used |= set(program.outputs())
        leaves = {
            place: leaf
            for leaf, place in program.places.items()
            if leaf in used and isinstance(place, (Value, Slot))
        }
        found.state = list(dict.fromkeys(place for place, _ in program.writes))
        found.kept = [place for place in leaves if place not in set(found.state)]
        names = [self._place_name(p, leaves) for p in [*found.state, *found.kept]]
        count = len(found.state)
        return (
            list(zip(names[:count], found.state, strict=True)),
            list(zip(names[count:], found.kept, strict=True)),
        )

    def _place_name(self, place: Any, leaves: Mapping[Any, Any]) -> str:
        leaf = leaves.get(place)
        if leaf is None:
            return self.w.unique("old")  # it is written, and never read
        if isinstance(place, Value) and graph.name(place.tensor):
            self.w.names[leaf] = self.w.unique(
                identifier(str(graph.name(place.tensor)))
            )
        return self.w.name(leaf)

    def _arguments(self) -> list[tuple[str, Any]]:
        used = {x for node in self.program.nodes for x in operands(node)}
        used |= set(self.program.outputs())
        found = []
        for leaf, place in self.program.places.items():
            if leaf in used and isinstance(place, (Argument, Gradient)):
                found.append((self.w.name(leaf), place))
        return found

    # --- lines ---

    def _nodes(self) -> None:
        last = None
        turned = self._turned()
        for node in self.program.nodes:
            where = _where(node)
            if where != last:
                self.body.append((f"# {where}", None))
                last = where
            if node._op is not None and node._op.name == "uniform":
                draw = Draw(settings_of(node)["rng"], tuple(node._value.shape))
                self.inputs.append((self.w.name(node), draw))
                continue
            if node not in turned:
                text = self._expression(node)
                self.body.append((f"{self.w.name(node)} = {text}", node))

    def _turned(self) -> set[Node]:
        """Return transposes that are written with their product, and nowhere else."""
        kept = set(self.program.outputs())
        for node in self.program.nodes:
            kept.update(operands(node)[: 1 if _turns(node) else None])
        found = {inputs_of(n)[1] for n in self.program.nodes if _turns(n)}
        return found - kept

    def _expression(self, node: Any) -> str:
        op: Op = node._op
        ufunc = ufunc_of(op)
        if ufunc is not None:
            return self._call_of(ufunc, node)
        write = getattr(self, f"_{op.name}", None)
        if write is not None:
            text: str = write(node, settings_of(node))
            return text
        if op.name in _REDUCTIONS:
            return self._reduction(node, settings_of(node))
        if op.name in _JOINS:
            return self._join(node, settings_of(node))
        return self._elsewhere(node)

    def _call_of(self, ufunc: Any, node: Any) -> str:
        """Write a ufunc by its own name, with NumPy's conversions of its operands."""
        inputs = inputs_of(node)
        loop = ufunc.resolve_dtypes((*map(_promoted, inputs), None))
        args = [self.operand(x, dtype) for x, dtype in zip(inputs, loop, strict=False)]
        if ufunc in _INFIX:
            return _INFIX[ufunc].format(*args)
        return f"jnp.{ufunc.__name__}({', '.join(args)})"

    def _where(self, node: Any, _settings: Any) -> str:
        condition, x, y = inputs_of(node)
        test = self.operand(condition, np.bool_)
        dtype = node._value.dtype
        return f"jnp.where({test}, {self.operand(x, dtype)}, {self.operand(y, dtype)})"

    def _astype(self, node: Any, _settings: Any) -> str:
        dtype = _dtype_text(node._value.dtype)
        return f"{self.operand(inputs_of(node)[0])}.astype(jnp.{dtype})"

    def _reduction(self, node: Any, settings: Any) -> str:
        (x,) = inputs_of(node)
        axes = shapes.reduced_axes(np.ndim(_value(x)), settings["axis"])
        every = len(axes) == np.ndim(_value(x))
        axis = "" if every else f", axis={axes[0] if len(axes) == 1 else axes!r}"
        keep = ", keepdims=True" if settings["keepdims"] else ""
        dtype = node._value.dtype
        adds = node._op.name in ("sum", "prod") and dtype != _value(x).dtype
        kind = f", dtype=jnp.{_dtype_text(dtype)}" if adds else ""
        return f"jnp.{node._op.name}({self.operand(x)}{axis}{keep}{kind})"

    def _matmul(self, node: Any, _settings: Any) -> str:
        dtype = node._value.dtype
        x, y = (self.operand(x, dtype) for x in inputs_of(node))
        plain = all(np.ndim(_value(x)) == 2 for x in inputs_of(node))
        if _turns(node):
            # The other way round XLA would first copy what is transposed.
            turned = self.operand(inputs_of(inputs_of(node)[1])[0], dtype)
            return f"jnp.dot({turned}, {x}.T).T"
        return f"jnp.{'dot' if plain else 'matmul'}({x}, {y})"

    def _einsum(self, node: Any, settings: Any) -> str:
        dtype = node._value.dtype
        args = ", ".join(self.operand(x, dtype) for x in inputs_of(node))
        return f"jnp.einsum({settings['subscripts']!r}, {args})"

    def _join(self, node: Any, settings: Any) -> str:
        dtype = node._value.dtype
        args = ", ".join(self.operand(x, dtype) for x in inputs_of(node))
        return f"jnp.{node._op.name}([{args}], axis={settings['axis']!r})"

    def _cumsum(self, node: Any, settings: Any) -> str:
        (x,) = inputs_of(node)
        flat = np.ndim(_value(x)) == 0 or settings["axis"] is None
        text = self.operand(x, node._value.dtype)
        return (
            f"jnp.cumsum({text})"
            if flat
            else (f"jnp.cumsum({text}, axis={settings['axis']!r})")
        )

    def _transpose(self, node: Any, settings: Any) -> str:
        x = self.operand(inputs_of(node)[0])
        axes = settings["axes"]
        return f"{x}.T" if axes is None else f"{x}.transpose({tuple(axes)!r})"

    def _reshape(self, node: Any, _settings: Any) -> str:
        x = self.operand(inputs_of(node)[0])
        return f"jnp.reshape({x}, {_shape_text(node._value.shape)})"

    def _broadcast_to(self, node: Any, _settings: Any) -> str:
        x = self.operand(inputs_of(node)[0])
        return f"jnp.broadcast_to({x}, {_shape_text(node._value.shape)})"

    def _spread(self, node: Any, settings: Any) -> str:
        (x,) = inputs_of(node)
        shape = tuple(settings["shape"])
        kept = shapes.reduced(shape, settings["axis"], keepdims=True)
        text = self.operand(x)
        if np.shape(_value(x)) != kept and np.ndim(_value(x)):
            text = f"jnp.reshape({text}, {_shape_text(kept)})"
        return f"jnp.broadcast_to({text}, {_shape_text(shape)})"

    def _getitem(self, node: Any, settings: Any) -> str:
        (x,) = inputs_of(node)
        index = self._index(node, settings["index"])
        self._bound(node)
        if any(isinstance(i, (Node, np.ndarray)) for i in _parts(settings["index"])):
            # JAX would take the nearest element where NumPy raises: nan is noticed.
            return f'{self.operand(x)}.at[{index}].get(mode="fill")'
        return f"{self.operand(x)}[{index}]"

    def _scatter_add(self, node: Any, settings: Any) -> str:
        x = self.operand(inputs_of(node)[0])
        index = self._index(node, settings["index"])
        self._bound(node)
        dtype = _dtype_text(node._value.dtype)
        zeros = f"jnp.zeros({_shape_text(node._value.shape)}, jnp.{dtype})"
        return f"{zeros}.at[{index}].add({x})"

    def _last_at(self, node: Any, settings: Any) -> str:
        index = self._index(node, settings["index"])
        self._bound(node)
        size = node._value.shape
        order = f"jnp.arange({node._value.size}).reshape({_shape_text(size)})"
        zeros = f"jnp.zeros({_shape_text(tuple(settings['shape']))}, {order}.dtype)"
        return f"({zeros}.at[{index}].max({order})[{index}] == {order})"

    def _bound(self, node: Any) -> None:
        """Let indices be checked, once for an axis's length."""
        for part, bounds in bounded(node):
            if (id(part), bounds.size) not in self.bounds:
                self.bounds.add((id(part), bounds.size))
                self._check(part, bounds)

    def _index(self, node: Any, index: Any) -> str:
        parts = [text for x in _parts(index) for text in self._part(node, x)]
        if not isinstance(index, tuple) and len(parts) == 1:
            return parts[0]
        return (", ".join(parts) + ("," if len(parts) == 1 else "")) or "()"

    def _part(self, node: Any, x: Any) -> list[str]:
        if x is None:
            return ["None"]
        if x is Ellipsis:
            return ["..."]
        if isinstance(x, slice):
            first, last = ("" if v is None else str(v) for v in (x.start, x.stop))
            step = "" if x.step is None else f":{x.step}"
            return [f"{first}:{last}{step}"]
        if isinstance(x, (int, np.integer)) and not isinstance(x, (bool, np.bool_)):
            return [str(int(x))]
        if not isinstance(x, Node):
            x = np.asarray(x)
            return self._masked(x) if x.dtype == np.bool_ else [self._constant(x)]
        if x._value.dtype == np.bool_:
            raise CompileError(
                "compile: backend 'jax' needs shapes that do not depend on values; "
                f"got a boolean index that is computed in the step, at "
                f"{graph.line(node)}. Choose with tg.where, or use backend='numpy'"
            )
        return [self.operand(x)]

    def _masked(self, mask: np.ndarray) -> list[str]:
        """Return integers that pick what a boolean array does, read anew each time."""
        if mask.ndim == 0:
            return [repr(bool(mask))]
        names = []
        for axis in range(mask.ndim):
            names.append(self.w.unique("picked"))
            self.inputs.append((names[-1], Mask(mask, axis, int(mask.sum()))))
        return names

    def _elsewhere(self, node: Any) -> str:
        op: Op = node._op
        arrays = {
            key: value
            for key, value in settings_of(node).items()
            if isinstance(value, Node)
        }
        if arrays:
            raise CompileError(
                f"{op.name}: backend 'jax' takes settings that are no results; got "
                f"{', '.join(arrays)} at {graph.line(node)}. Use backend='numpy'"
            )
        call = Elsewhere(node, dict(settings_of(node)))
        self.found.elsewhere.append(call)
        name = self.w.held(call, identifier(f"{op.name}_op"))
        args = ", ".join(
            self.operand(x, None if isinstance(x, Node) else _dtype_of(x))
            for x in inputs_of(node)
        )
        return f"{name}({args})"

    # --- what goes out ---

    def _returned(self, state: list[tuple[str, Place]]) -> list[str]:
        """Return the four tuples: results, state, gradients, what is checked."""
        found, program = self.found, self.program
        new = dict(program.writes)
        for i, x in enumerate(program.results):
            if isinstance(x, Node):
                found.results.append(x)
            elif isinstance(x, Scalar):
                self.w.number(x)
                found.others[i] = Live(list(self.w.numbers).index(x.text))
            else:
                found.others[i] = x
        found.gradients = list(program.gradients)
        for node, check in program.checks:
            self._check(node, check)
        checked = [self.operand(node) for node, _ in found.checked]
        if self.check_finite:
            checked += self._finite()
        return [
            _tuple_text([self.operand(x) for x in found.results]),
            _tuple_text(
                [
                    self.operand(new[place], _place_dtype(place))
                    if place in new
                    else name
                    for name, place in state
                ]
            ),
            _tuple_text([self.operand(node) for _, node in found.gradients]),
            _tuple_text(checked),
        ]

    def _check(self, x: Any, check: Any) -> None:
        """Let a value be checked: on the host, or where the step computes it."""
        read = read_on_host(x, self.program)
        if read is None:
            self.found.checked.append((x, check))
        else:
            self.found.beforehand.append((read, check))

    def _finite(self) -> list[str]:
        """Write which of the values that are computed are finite; moves move them."""
        nodes = [
            node
            for node in self.program.nodes
            if node._value.dtype.kind == "f"
            and node._op is not None
            and node._op.kind not in ("movement", "random")
        ]
        self.found.finite = nodes
        if not nodes:
            return []
        name = self.w.unique("finite")
        self.body.append((f"{name} = jnp.stack([", None))
        for node in nodes:
            self.body.append((f"    jnp.isfinite({self.w.name(node)}).all(),", node))
        self.body.append(("])", None))
        return [name]

    def _on_the_host(self, texts: list[str]) -> list[str]:
        """Functions of rates and counts, computed on Python's numbers."""
        found, trace = self.found, self.trace
        found.scalars = list(trace.scalars.values())
        new: list[str] = []
        for (optimizer, i), state in trace.new_states.items():
            for j, part in enumerate(state):
                if isinstance(part, Scalar):
                    found.new_counts.append(StateNumber(optimizer, i, j))
                    new.append(part.text)
        head = ", ".join(trace.scalars)
        lines = []
        for name, values in (("numbers", texts), ("counts", new)):
            lines += ["", "", f"def {name}({head}):"]
            lines += ["    return ("] if values else ["    return ()"]
            lines += [f"        {text}," for text in values]
            lines += ["    )"] if values else []
        return lines


def _value(x: Any) -> Any:
    return x._value if isinstance(x, Node) else x


def _turns(node: Any) -> bool:
    """Whether a product of one row and a transposed matrix is written turned round."""
    if node._op.name != "matmul" or np.ndim(node._value) != 2:
        return False
    x, y = inputs_of(node)
    return (
        node._value.shape[0] == 1
        and isinstance(x, Node)
        and isinstance(y, Node)
        and np.ndim(y._value) == np.ndim(x._value) == 2
        and y._op is not None
        and y._op.name == "transpose"
    )


def _promoted(x: Any) -> Any:
    """Return what NumPy's promotion looks at: a dtype, or the class of a number."""
    if isinstance(x, Scalar):
        return float
    if isinstance(x, (int, float)) and not isinstance(x, np.generic):
        return float if isinstance(x, float) else int
    return np.asarray(_value(x)).dtype


def _dtype_of(x: Any) -> Any:
    return getattr(x, "dtype", None)


def _input_facts(x: Any, program: Program) -> tuple[Any, Any]:
    if isinstance(x, Draw):
        return x.shape, np.dtype(np.float64)
    if isinstance(x, Mask):
        return (x.size,), np.dtype(np.intp)
    if isinstance(x, Gradient):
        return x.tensor.shape, x.tensor.dtype
    if isinstance(x, Argument):
        x = next(leaf._value for leaf, place in program.places.items() if place == x)
    return np.shape(x), np.asarray(x).dtype


def _place_dtype(place: Any) -> Any:
    if isinstance(place, Slot):
        return place.optimizer._states[place.parameter][place.index].dtype
    return place.tensor.dtype


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _dtype_text(dtype: Any) -> str:
    name = np.dtype(dtype).name
    return "bool_" if name == "bool" else name


def _number_text(x: Any) -> str:
    if isinstance(x, float) and not math.isfinite(x):
        return "jnp.nan" if math.isnan(x) else "jnp.inf" if x > 0 else "(-jnp.inf)"
    return f"({x!r})" if x < 0 else repr(x)


def _shape_text(shape: Any) -> str:
    return repr(tuple(int(n) for n in shape))


def _tuple_text(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _where(node: Any) -> str:
    """Return layer and line of a node, for a comment."""
    line = graph.line(node)
    place = "" if line is None else f"{line.file.rpartition('/')[2]}:{line.number}"
    return " ".join(x for x in (graph.scope(node), place) if x) or "constants"
