"""A recorded forward pass as NumPy that a person would write, for any batch size.

No buffers here, and no arrays for numbers: one assignment a line of the user's, with
operators. The text of an op is its own body, so values are those of the model, bit for
bit. What depends on the number of examples is found by recording the model for several
numbers of them: a size that differs is a formula of that number.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tinygrad_nn import graph, shapes
from tinygrad_nn.compiler.inlined import Inlined
from tinygrad_nn.compiler.literals import literal, unique
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.op_text import (
    calling,
    filled,
    parsed,
    spelled,
    takes_part,
    variable,
    whole,
)
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node, Op, data_of, inputs_of, settings_of
from tinygrad_nn.recording import Line
from tinygrad_nn.rewriting.program import Argument, Program, Value, operands

__all__ = ["Held", "Prediction", "Recorded", "written"]

LONG = 60
"""Characters up to which an expression goes into a longer one."""


@dataclass(frozen=True)
class Recorded:
    """A model recorded for one number of examples.

    Attributes
    ----------
    n
        How many; None where it is not known to matter.
    program
        What was recorded, as it was recorded.
    results
        Nested results: nodes of the program stand where the model returned Tensors.
    """

    n: int | None
    program: Program
    results: Any


@dataclass(frozen=True)
class Held:
    """An array that the text reads by name."""

    key: str
    name: str
    value: np.ndarray


@dataclass
class Prediction:
    """The text of a forward pass and what it needs.

    Attributes
    ----------
    arguments
        Names and descriptions of the arguments.
    lines
        Body of the function, without its ``return``.
    results
        An expression for each leaf of the results, and what it is.
    held
        Parameters and constants, in the order in which they are met.
    number
        What the number of examples is called.
    counts
        Whether the lines speak of it.
    free
        Whether the function takes any number of examples.
    inlined
        Functions that the lines call.
    """

    arguments: list[tuple[str, str]]
    lines: list[str] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    number: str = ""
    counts: bool = False
    free: bool = False
    inlined: Inlined | None = None


def written(
    variants: Sequence[Recorded],
    names: Mapping[int, str],
    outside: Line | None,
) -> Prediction:
    """Write a forward pass.

    Parameters
    ----------
    variants
        The model recorded for several numbers of examples, or once.
    names
        Names of arrays and Tensors by id, where the user has some.
    outside
        The line that asked for this: it is not where anything was computed.

    Raises
    ------
    CompileError
        Where the model does something else for another number of examples, draws
        random numbers, or computes with what is not NumPy.
    """
    first = variants[0].program
    for other in variants[1:]:
        if len(other.program.nodes) != len(first.nodes):
            raise _differs(first.nodes[-1] if first.nodes else None)
    return _Writer(variants, names, outside).run()


class _Writer:
    def __init__(
        self,
        variants: Sequence[Recorded],
        names: Mapping[int, str],
        outside: Line | None,
    ) -> None:
        self.variants = variants
        self.programs = [variant.program for variant in variants]
        self.sizes = [variant.n for variant in variants]
        self.given = names
        self.taken = taken = {"np", "sys", "Path", "file", "predict"}
        self.outside = outside
        free = len(variants) > 1
        self.number = unique("n", taken) if free else ""
        self.expressions: dict[Node, ast.expr] = {}
        self.known: dict[int, Held] = {}
        self.keys: set[str] = set()
        self.uses: dict[Node, int] = {}
        self.users: dict[Node, Node] = {}
        self.pairs: dict[Node, tuple[Node, ...]] = {}
        inlined = Inlined(taken, self._hold)
        self.made = Prediction([], number=self.number, free=free, inlined=inlined)

    def run(self) -> Prediction:
        made, program = self.made, self.programs[0]
        self._arguments()
        for nodes in zip(*(p.nodes for p in self.programs), strict=True):
            self.pairs[nodes[0]] = nodes
            for x in operands(nodes[0]):
                self.uses[x] = self.uses.get(x, 0) + 1
                self.users[x] = nodes[0]
        for x in program.results:
            if isinstance(x, Node):
                self.uses[x] = self.uses.get(x, 0) + 2
        place = None
        for node in program.nodes:
            expression = self._expression(node)
            if self._is_part(node, expression):
                self.expressions[node] = expression
                continue
            here = self._place(node)
            if here and here != place:
                made.lines.append(f"# {here}")
            place = here or place
            name = unique(self._wanted(node), self.taken)
            made.lines.append(f"{name} = {ast.unparse(expression)}")
            self.expressions[node] = variable(name)
        for found in zip(*(p.results for p in self.programs), strict=True):
            kind = "" if not isinstance(found[0], Node) else self.described(found)
            made.results.append((ast.unparse(self._operand(found)), kind))
        made.counts = bool(self.number) and any(
            isinstance(x, ast.Name) and x.id == self.number
            for line in [*made.lines, *(text for text, _ in made.results)]
            for x in ast.walk(ast.parse(line))
        )
        return made

    # --- what comes in ---

    def _arguments(self) -> None:
        leaves: list[dict[int, Node]] = [
            {
                place.index: leaf
                for leaf, place in program.places.items()
                if isinstance(place, Argument)
            }
            for program in self.programs
        ]
        for i in sorted(leaves[0]):
            found = tuple(leaf[i] for leaf in leaves)
            wanted = identifier(graph.name(found[0]) or f"x{i}")
            name = unique(wanted, self.taken)
            self.expressions[found[0]] = variable(name)
            self.made.arguments.append((name, self.described(found)))

    def described(self, nodes: Sequence[Any]) -> str:
        """Return dtype and shape, with the number of examples as a letter."""
        sizes = zip(*(np.shape(node._value) for node in nodes), strict=True)
        found = [self._size(size) for size in sizes]
        parts = ["?" if text is None else text for text in found]
        shape = f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        return f"{nodes[0]._value.dtype} {shape}"

    def _hold(self, value: Any, wanted: str) -> str:
        """Return the name of an array that is kept in the file beside the text."""
        known = self.known.get(id(value))
        if known is None:
            if value.dtype.hasobject:
                raise CompileError(
                    "export_numpy: an exported module holds numbers; got an array of "
                    f"objects, {wanted!r}. Make it an array of floats"
                )
            key = unique(self.given.get(id(value), wanted), self.keys)
            name = unique(identifier(key), self.taken)
            known = self.known[id(value)] = Held(key, name, value)
            self.made.held.append(known)
        return known.name

    def _leaf(self, nodes: Sequence[Any]) -> ast.expr:
        node = nodes[0]
        place = self.programs[0].places.get(node)
        if isinstance(place, Value):
            tensor = place.tensor
            wanted = graph.name(tensor) or self.given.get(id(tensor)) or "array"
            return variable(self._hold(np.asarray(tensor.numpy()), wanted))
        return self._constant([x._value for x in nodes], node)

    # --- one node ---

    def _operand(self, found: Sequence[Any]) -> ast.expr:
        """Return an expression for an operand, given as it is in every variant."""
        x = found[0]
        if isinstance(x, Node):
            known = self.expressions.get(x)
            if known is not None:
                return copy.deepcopy(known)
            self.expressions[x] = made = self._leaf(found)
            return made
        return self._constant(found, None)

    def _constant(self, found: Sequence[Any], node: Any) -> ast.expr:
        value = found[0]
        if isinstance(value, np.ndarray):
            return self._array(found, node)
        if all(_equal(value, other) for other in found[1:]):
            text = literal(value)
            if text is not None:
                return parsed(text)
            raise CompileError(
                "export_numpy: an exported module computes with numbers and arrays; "
                f"got {type(value).__name__}{_at(node)}"
            )
        return self._number(found, node)

    def _array(self, found: Sequence[Any], node: Any) -> ast.expr:
        """Return an array of the user's: held, or made for the number of examples."""
        value = found[0]
        if all(x is value or _equal(x, value) for x in found[1:]):
            text = literal(value) if id(value) not in self.given else None
            return parsed(text) if text else variable(self._hold(value, "constant"))
        plain_kind = value.dtype in (np.float64, np.int64, np.bool_)
        kinds = [] if plain_kind else [parsed(f"np.{value.dtype}")]
        sizes = list(zip(*(np.shape(x) for x in found), strict=True))
        filled = [x.flat[0] for x in found]
        if all(np.all(x == x.flat[0]) for x in found):
            shape = ast.Tuple([self._number(s, node) for s in sizes], ast.Load())
            fill = self._constant([x.item() for x in filled], node)
            return calling("np.full", shape, fill, *kinds)
        if all(x.ndim == 1 and _equal(x, np.arange(len(x))) for x in found):
            return calling("np.arange", self._number(sizes[0], node))
        raise _differs(node)

    def _number(self, found: Sequence[Any], node: Any) -> ast.expr:
        """Return a formula of the number of examples that gives all of these."""
        text = self._size(found)
        if text is None:
            raise _differs(node)
        return parsed(text)

    def _size(self, found: Sequence[Any]) -> str | None:
        if all(_equal(x, found[0]) for x in found[1:]):
            return literal(found[0])
        sizes = [n for n in self.sizes if n is not None]
        return _formula(found, sizes, self.number)

    def _setting(self, found: Sequence[Any], node: Any) -> ast.expr:
        """Return an expression for a setting of an op."""
        value = found[0]
        if isinstance(value, Node):
            return self._operand(found)
        if isinstance(value, tuple) and len({len(x) for x in found}) == 1:
            parts = zip(*found, strict=True)
            return ast.Tuple([self._setting(part, node) for part in parts], ast.Load())
        if isinstance(value, slice):
            parts = zip(*((x.start, x.stop, x.step) for x in found), strict=True)
            return ast.Slice(
                *[
                    None if part[0] is None else self._setting(part, node)
                    for part in parts
                ]
            )
        if isinstance(value, np.integer):
            return self._setting([int(x) for x in found], node)
        return self._constant(found, node)

    def _expression(self, node: Any) -> ast.expr:
        """Return what computes a node: the body of its op, with operands put in."""
        nodes = self.pairs[node]
        op: Op = node._op
        if any(other._op is not op for other in nodes):
            raise _differs(node)
        if op.name == "uniform":
            raise CompileError(
                "export_numpy: a prediction is a function of its arguments; got random "
                f"numbers{_at(node)}. Pass them as an argument, or export a step"
            )
        columns = list(zip(*(inputs_of(x) for x in nodes), strict=True))
        inputs = [self._operand(column) for column in columns]
        settings = {
            name: self._setting([settings_of(x)[name] for x in nodes], node)
            for name in settings_of(node)
        }
        if op.name == "astype" and settings_of(node)["dtype"] is not None:
            kind = np.dtype(settings_of(node)["dtype"]).type
            settings = {"dtype": parsed(literal(kind) or "None")}
        if op.name == "spread":
            return self._spread(inputs[0], nodes)
        ranks = [np.ndim(data_of(x)) for x in inputs_of(node)]
        made = spelled(op, inputs, settings, ranks) or filled(op, inputs, settings)
        return made if made is not None else self._called(op, inputs, settings)

    def _called(
        self, op: Op, inputs: Sequence[ast.expr], settings: Mapping[str, ast.expr]
    ) -> ast.expr:
        """Call the body of an op, which comes along as a function."""
        assert self.made.inlined is not None  # noqa: S101 (made with the writer)
        name = self.made.inlined.function(op.call, op.name, f"the op {op.name!r}")
        call = calling(name, *inputs)
        defaults = {key: literal(value) for key, value in op.defaults.items()}
        call.keywords = [
            ast.keyword(key, whole(value))
            for key, value in settings.items()
            if ast.unparse(value) != defaults[key]
        ]
        return call

    def _spread(self, x: ast.expr, nodes: Sequence[Any]) -> ast.expr:
        shape, kept = [], []
        for node in nodes:
            settings = settings_of(node)
            shape.append(tuple(settings["shape"]))
            kept.append(shapes.reduced(shape[-1], settings["axis"], keepdims=True))
        x = calling("np.reshape", x, self._setting(kept, nodes[0]))
        return calling("np.broadcast_to", x, self._setting(shape, nodes[0]))

    # --- lines ---

    def _is_part(self, node: Any, expression: ast.expr) -> bool:
        """Whether the expression goes into the line that alone needs it."""
        if self.uses.get(node) != 1 or getattr(node, "_name", None):
            return False
        user = self.users[node]
        if not takes_part(user, node):
            return False
        inner = getattr(expression, "value", None)
        if isinstance(expression, ast.Attribute) and isinstance(inner, ast.Name):
            return True  # W.T
        same = graph.scope(user) == graph.scope(node)
        line = graph.line(user) == graph.line(node)
        return same and line and len(ast.unparse(expression)) <= LONG

    def _wanted(self, node: Any) -> str:
        name = getattr(node, "_name", None)
        if name:
            return identifier(name)
        scope = graph.scope(node)
        return identifier(scope) if scope else f"{node._op.name}_1"

    def _place(self, node: Node) -> str:
        """Return layer, file and line, without the way to the file."""
        line = graph.line(node)
        at = ""
        if line is not None and line != self.outside:
            at = f"{line.file.replace(chr(92), '/').rpartition('/')[2]}:{line.number}"
        return " ".join(x for x in (graph.scope(node), at) if x)


def _formula(found: Sequence[Any], sizes: Sequence[int], n: str) -> str | None:
    """Return a formula of ``n`` that gives these numbers for those sizes."""
    if all(type(x) is int for x in found):
        slope = Fraction(found[1] - found[0], sizes[1] - sizes[0])
        start = found[0] - slope * sizes[0]
        exact = all(
            slope.numerator * m // slope.denominator + start == x
            for x, m in zip(found, sizes, strict=True)
        )
        if not exact or start.denominator != 1 or slope == 0:
            return None
        text = n if slope.numerator == 1 else f"{slope.numerator} * {n}"
        text += "" if slope.denominator == 1 else f" // {slope.denominator}"
        return text if start == 0 else f"{text} {'+-'[start < 0]} {abs(start)}"
    if all(type(x) is float for x in found):
        for over in _numbers_near(found[0] * sizes[0]):
            if all(over / m == x for x, m in zip(found, sizes, strict=True)):
                return f"{over!r} / {n}"
        for factor in _numbers_near(found[0] / sizes[0]):
            if all(float(factor * m) == x for x, m in zip(found, sizes, strict=True)):
                return f"{float(factor)!r} * {n}"
    return None


def _numbers_near(x: float) -> list[float]:
    """Return what a person may have written, of which rounding made this number."""
    short = float(f"{x:.14g}")
    return [int(short), short, x] if short.is_integer() else [short, x]


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        same = type(x) is type(y) and x.dtype == y.dtype and x.shape == y.shape
        return bool(same and x.tobytes() == y.tobytes())
    return type(x) is type(y) and repr(x) == repr(y)


def _at(node: Any) -> str:
    line = None if node is None else graph.line(node)
    return "" if line is None else f" at {line}"


def _differs(node: Any) -> CompileError:
    return CompileError(
        "export_numpy: a model does the same for any number of examples; got one that "
        f"depends on it in a way that is no formula{_at(node)}. Pass "
        "batch_axis=None to export it for the shapes of the example alone"
    )
