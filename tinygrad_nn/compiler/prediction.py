"""A recorded forward pass as NumPy that a person would write, for any batch size.

No buffers here, and no arrays for numbers: one assignment a line of the user's, with
operators. The text of an op is its own body, so values are those of the model, bit for
bit. What depends on the number of examples is found by recording the model for several
numbers of them: a size that differs is a formula of that number.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from types import FunctionType
from typing import Any

import numpy as np

from tinygrad_nn import graph, shapes
from tinygrad_nn.compiler.inlined import Inlined, definition, literal, unique
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.program import Argument, Program, Value, operands
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node, Op, data_of, inputs_of, settings_of
from tinygrad_nn.recording import Line

__all__ = [
    "Held",
    "Prediction",
    "Recorded",
    "module_text",
    "nested",
    "plain",
    "quoted",
    "written",
]

LONG = 60
"""Characters up to which an expression goes into a longer one."""

_REDUCTIONS = ("sum", "max", "min", "prod", "mean")


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


def module_text(
    made: Prediction, stem: str, title: str, results: Any, axis: int
) -> str:
    """Return the whole file: what it is, parameters, helpers, the function.

    Parameters
    ----------
    made
        What `written` returned.
    stem
        The file's name without ``.py``.
    title
        What is predicted with.
    results
        The structure of what the model returns.
    axis
        Which axis counts the examples.
    """
    assert made.inlined is not None  # noqa: S101 (made with the writer)
    names = [name for name, _ in made.arguments]
    given = ", ".join(names)
    said = "any number n of examples" if made.free else "these shapes"
    kinds = ", ".join(kind for _, kind in made.results if kind)
    beside = f" and {stem}.npz, which lies beside this file" if made.held else ""
    text = [
        f'"""Prediction of {plain(title)} as plain NumPy, written by tinygrad_nn.',
        "",
        f"It needs NumPy{beside}:",
        "",
        f"    from {stem} import predict",
        "",
        f"    predict({given})",
        "",
        "or, on arrays that np.save wrote:",
        "",
        f"    python {stem}.py {' '.join(f'{name}.npy' for name in names)}",
        "",
        f"Arguments, for {said}:",
        "",
        *(f"    {name} : {kind}" for name, kind in made.arguments),
        "",
        f"Returns {kinds}.",
        '"""',
        "",
        "import sys",
        *(["from pathlib import Path"] if made.held else []),
        *sorted(made.inlined.imports),
        "",
        "import numpy as np",
        "",
    ]
    if made.held:
        text.append(f'with np.load(Path(__file__).with_name("{stem}.npz")) as file:')
        for held in made.held:
            kind = f"{held.value.dtype} {held.value.shape}"
            text.append(f"    {held.name} = file[{quoted(held.key)}]  # {kind}")
        text.append("")
    text += ["", *made.inlined.lines]
    text += [f"def predict({given}):", f'    """Return the prediction: {kinds}."""']
    text += [f"    {name} = np.asarray({name})" for name in names]
    if made.counts:
        text.append(f"    {made.number} = {names[0]}.shape[{axis}]")
    text += [f"    {line}" for line in made.lines]
    texts = [result for result, _ in made.results]
    text += [f"    return {nested(results, texts)}", "", ""]
    text += ['if __name__ == "__main__":']
    text += ["    print(predict(*map(np.load, sys.argv[1:])))"]
    return "\n".join(text) + "\n"


def plain(text: str) -> str:
    """Return text that may stand in a docstring, on one line."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())


def quoted(text: str) -> str:
    """Return text as Python says it, in double quotes.

    >>> print(quoted("W1"), quoted("it's"))
    "W1" "it's"
    """
    return json.dumps(text, ensure_ascii=not text.isprintable())


def nested(structure: Any, texts: Sequence[str]) -> str:
    """Return an expression of nested dicts, lists and tuples with these leaves.

    >>> nested({"a": 1, "b": (2,)}, ["x", "y"])
    '{"a": x, "b": (y,)}'
    """
    found = iter(texts)

    def said(value: Any) -> str:
        kind = type(value)
        if kind is dict:
            return f"{{{', '.join(f'{_key(k)}: {said(x)}' for k, x in value.items())}}}"
        if kind is list:
            return f"[{', '.join(map(said, value))}]"
        if isinstance(value, tuple):
            parts = [said(x) for x in value]
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        return next(found)

    return said(structure)


def _key(key: Any) -> str:
    return quoted(key) if isinstance(key, str) else repr(key)


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
            self.expressions[node] = _name(name)
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
            self.expressions[found[0]] = _name(name)
            self.made.arguments.append((name, self.described(found)))

    def described(self, nodes: Sequence[Any]) -> str:
        """Return dtype and shape, with the number of examples as a letter."""
        sizes = zip(*(np.shape(node._value) for node in nodes), strict=True)
        parts = [ast.unparse(self._number(size, nodes[0])) for size in sizes]
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
            return _name(self._hold(tensor._value, wanted))
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
                return _parsed(text)
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
            return _parsed(text) if text else _name(self._hold(value, "constant"))
        plain_kind = value.dtype in (np.float64, np.int64, np.bool_)
        kinds = [] if plain_kind else [_parsed(f"np.{value.dtype}")]
        sizes = list(zip(*(np.shape(x) for x in found), strict=True))
        filled = [x.flat[0] for x in found]
        if all(np.all(x == x.flat[0]) for x in found):
            shape = ast.Tuple([self._number(s, node) for s in sizes], ast.Load())
            fill = self._constant([x.item() for x in filled], node)
            return _call("np.full", shape, fill, *kinds)
        if all(x.ndim == 1 and _equal(x, np.arange(len(x))) for x in found):
            return _call("np.arange", self._number(sizes[0], node))
        raise _differs(node)

    def _number(self, found: Sequence[Any], node: Any) -> ast.expr:
        """Return a formula of the number of examples that gives all of these."""
        if all(_equal(x, found[0]) for x in found[1:]):
            return _parsed(literal(found[0]) or "None")
        sizes = [n for n in self.sizes if n is not None]
        if len(sizes) == len(found) and self.number:
            text = _formula(found, sizes, self.number)
            if text is not None:
                return _parsed(text)
        raise _differs(node)

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
        if op.name == "spread":
            return self._spread(inputs[0], nodes)
        ranks = [np.ndim(data_of(x)) for x in inputs_of(node)]
        made = _spelled(op, inputs, settings, ranks) or _filled(op, inputs, settings)
        return made if made is not None else self._called(op, inputs, settings)

    def _called(
        self, op: Op, inputs: Sequence[ast.expr], settings: Mapping[str, ast.expr]
    ) -> ast.expr:
        """Call the body of an op, which comes along as a function."""
        assert self.made.inlined is not None  # noqa: S101 (made with the writer)
        name = self.made.inlined.function(op.call, op.name, f"the op {op.name!r}")
        call = _call(name, *inputs)
        defaults = {key: literal(value) for key, value in op.defaults.items()}
        call.keywords = [
            ast.keyword(key, _whole(value))
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
        x = _call("np.reshape", x, self._setting(kept, nodes[0]))
        return _call("np.broadcast_to", x, self._setting(shape, nodes[0]))

    # --- lines ---

    def _is_part(self, node: Any, expression: ast.expr) -> bool:
        """Whether the expression goes into the line that alone needs it."""
        if self.uses.get(node) != 1 or getattr(node, "_name", None):
            return False
        user = self.users[node]
        if not _takes_part(user, node):
            return False
        if isinstance(expression, ast.Attribute):
            if isinstance(expression.value, ast.Name):  # W.T
                return True
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
        for whole in (round(found[0] * sizes[0]), found[0] * sizes[0]):
            if all(whole / m == x for x, m in zip(found, sizes, strict=True)):
                return f"{whole!r} / {n}"
        for factor in (round(found[0] / sizes[0]), found[0] / sizes[0]):
            if all(float(factor * m) == x for x, m in zip(found, sizes, strict=True)):
                return f"float({factor!r} * {n})"
    return None


# --- ops as text ---


@lru_cache(maxsize=256)
def _template(op: Op) -> ast.expr | None:  # noqa: PLR0911 (many ways to be more)
    """Return the expression that a body is, where it is one of NumPy alone."""
    function = op.function
    if op.quiet or not isinstance(function, FunctionType):
        return None
    if function.__code__.co_freevars:
        return None
    try:
        body = definition(function).body
    except ValueError:
        return None
    lines = [x for x in body if not _is_text(x)]
    if len(lines) != 1 or not isinstance(lines[0], ast.Return):
        return None
    expression = lines[0].value
    if expression is None:
        return None
    known = {*function.__code__.co_varnames}
    for x in ast.walk(expression):
        if isinstance(x, (ast.Lambda, ast.comprehension, ast.NamedExpr)):
            return None
        if not isinstance(x, ast.Name) or x.id in known:
            continue
        if x.id != "np" or function.__globals__.get("np") is not np:
            return None
    return expression


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


class _Filled(ast.NodeTransformer):
    """Puts expressions where a body names its operands and settings."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values
        self.counts: dict[str, int] = {}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.values:
            return node
        self.counts[node.id] = self.counts.get(node.id, 0) + 1
        return copy.deepcopy(self.values[node.id])


def _filled(
    op: Op, inputs: Sequence[ast.expr], settings: Mapping[str, ast.expr]
) -> ast.expr | None:
    template = _template(op)
    if template is None:
        return None
    values = {key: _whole(value) for key, value in settings.items()}
    if op.variadic:
        values[op.operands[0]] = ast.Tuple(list(inputs), ast.Load())
    else:
        values.update(zip(op.operands, inputs, strict=True))
    filled = _Filled(values)
    made: ast.expr = filled.visit(copy.deepcopy(template))
    return made


def _takes_part(user: Any, node: Any) -> bool:
    """Whether an operand may stand in the text of its user: it is said once."""
    op: Op = user._op
    template = _template(op)
    if template is None or op.variadic:
        return True
    names = [
        name for name, x in zip(op.operands, inputs_of(user), strict=True) if x is node
    ]
    said = [x.id for x in ast.walk(template) if isinstance(x, ast.Name)]
    return sum(said.count(name) for name in names) <= 1


def _spelled(  # noqa: PLR0911 (a table of ops)
    op: Op,
    inputs: Sequence[ast.expr],
    settings: Mapping[str, ast.expr],
    ranks: Sequence[int],
) -> ast.expr | None:
    """Return what a person would write, where a body takes a quicker way."""
    if op.name == "matmul":
        if list(ranks) == [2, 2]:
            return _call("np.dot", *inputs)
        return ast.BinOp(inputs[0], ast.MatMult(), inputs[1])
    if op.name == "transpose" and ast.unparse(settings["axes"]) == "None":
        return ast.Attribute(inputs[0], "T", ast.Load())
    if op.name == "getitem":
        return ast.Subscript(inputs[0], settings["index"], ast.Load())
    if op.name == "einsum":
        return _call("np.einsum", settings["subscripts"], *inputs)
    if op.name == "astype":
        kind = ast.unparse(settings["dtype"]).removeprefix("np.dtype('")
        short = f"np.{kind.removesuffix(chr(39) + ')')}"
        return _call("np.array", inputs[0], _parsed(short))
    if op.name in _REDUCTIONS and ranks[0] > 0:
        call = _call(f"np.{op.name}", *inputs)
        for key, default in (("axis", "None"), ("keepdims", "False")):
            value = _whole(settings[key])
            if ast.unparse(value) != default:
                call.keywords.append(ast.keyword(key, value))
        return call
    return None


def _whole(value: ast.expr) -> ast.expr:
    """Return a setting outside of brackets: slices spelled as calls."""

    class Spelled(ast.NodeTransformer):
        def visit_Slice(self, node: ast.Slice) -> ast.expr:
            parts = (node.lower, node.upper, node.step)
            return _call("slice", *[x or ast.Constant(None) for x in parts])

    made: ast.expr = Spelled().visit(copy.deepcopy(value))
    return made


def _call(function: str, *args: ast.expr) -> ast.Call:
    return ast.Call(_parsed(function), list(args), [])


def _name(text: str) -> ast.expr:
    return ast.Name(text, ast.Load())


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


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
