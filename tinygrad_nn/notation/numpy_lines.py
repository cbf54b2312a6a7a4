"""An expression of nodes as one of Python: what the ops' bodies say, put together."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.errors import OpError
from tinygrad_nn.notation import matrix_lines
from tinygrad_nn.notation.bodies import definition, expression_of
from tinygrad_nn.notation.heard import heard
from tinygrad_nn.op import Node, Op, data_of, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

__all__ = ["numpy_expression"]

_MOST = 100


def numpy_expression(node: Any, names: Callable[[Any], str | None], whole: bool) -> str:
    """Return an expression that computes a node from what has a name.

    See `tinygrad_nn.notation.written`.
    """
    done: dict[Any, ast.expr] = {}
    stack = [node]
    while stack:
        x = stack[-1]
        if not isinstance(x, Node) or x in done:
            stack.pop()
            continue
        op = x._op
        name = None if whole and x is node and op is not None else names(x)
        if name is not None or op is None:
            done[x] = _leaf(x, name)
            stack.pop()
            continue
        missing = [y for y in inputs_of(x) if isinstance(y, Node) and y not in done]
        if missing:
            stack += reversed(missing)
            continue
        operands = [_operand(y, done, names) for y in inputs_of(x)]
        done[x] = _called(x, op, operands)
        stack.pop()
    return ast.unparse(_operand(node, done, names))


def _operand(x: Any, done: Mapping[Any, ast.expr], names: Any) -> ast.expr:
    if isinstance(x, Node):
        return done[x]
    return _leaf(x, None if np.ndim(data_of(x)) == 0 else names(x))


def _leaf(x: Any, name: str | None) -> ast.expr:
    if name is not None:
        return _parsed(name)
    value = x.value if isinstance(x, Scalar) else data_of(x)
    if np.ndim(value) == 0:
        return _number(value[()] if isinstance(value, np.ndarray) else value)
    value = np.asarray(value)
    if value.size > _MOST:
        raise OpError(
            f"written: an array of shape {value.shape} has no name. Give it one"
        )
    numbers = ast.List([_number(number) for number in value.ravel()], ast.Load())
    made = _call("np.array", numbers, _parsed(f"np.{value.dtype.name}"))
    if value.ndim == 1:
        return made
    return ast.Call(
        ast.Attribute(made, "reshape", ast.Load()), [_constant(value.shape)], []
    )


def _number(x: Any) -> ast.expr:
    """Return a number to its last bit, in its dtype."""
    if isinstance(x, (bool, np.bool_)):
        return _constant(bool(x))
    if isinstance(x, (int, np.integer)):
        return _constant(int(x))
    if not np.isfinite(x):
        return _parsed("np.nan" if np.isnan(x) else "np.inf" if x > 0 else "-np.inf")
    if isinstance(x, np.floating) and x.dtype != np.float64:
        return _call(f"np.{x.dtype.name}", _constant(float(x)))
    return _constant(float(x))


def _called(node: Node, op: Op, operands: list[ast.expr]) -> ast.expr:
    special = _SPELLED.get(op.name)
    if special is not None:
        return special(node, *operands)
    template = expression_of(op.function) or _heard(op.function)
    if template is None:
        raise OpError(
            f"{op.name}: its body is not one expression of NumPy; got no line for it. "
            "Give what it computes a name"
        )
    values: dict[str, ast.expr] = {
        name: _setting(value) for name, value in settings_of(node).items()
    }
    if op.variadic:
        values[op.operands[0]] = ast.Tuple(operands, ast.Load())
    else:
        values.update(zip(op.operands, operands, strict=True))
    made: ast.expr = _Filled(values).visit(copy.deepcopy(template))
    return made


def _heard(function: Any) -> ast.expr | None:
    """Return what a body says that was written at a prompt, where no text is kept."""
    try:
        definition(function)
    except (AttributeError, ValueError):
        return heard(function)
    return None


def _setting(value: Any) -> ast.expr:
    if isinstance(value, Node):
        raise OpError("written: an index that is computed has no line of its own")
    for kinds, write in _SETTINGS:
        if isinstance(value, kinds):
            made: ast.expr = write(value)
            return made
    return _constant(value)


_SETTINGS: tuple[tuple[Any, Callable[[Any], ast.expr]], ...] = (
    (np.ndarray, lambda x: _leaf(x, None)),
    (slice, lambda x: _call("slice", *map(_constant, (x.start, x.stop, x.step)))),
    (tuple, lambda x: ast.Tuple([_setting(part) for part in x], ast.Load())),
    ((np.dtype, type), lambda x: _parsed(f"np.{np.dtype(x).name}")),
    (np.generic, _number),
)


class _Filled(ast.NodeTransformer):
    """Puts expressions where a body names its operands and settings."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """A minus of a minus is none."""
        inner = self.visit(node.operand)
        both = isinstance(node.op, ast.USub) and isinstance(inner, ast.UnaryOp)
        if both and isinstance(inner.op, ast.USub):
            return cast("ast.expr", inner.operand)
        return ast.UnaryOp(node.op, inner)


def _constant(value: Any) -> ast.expr:
    """Return a literal; a negative number, a tuple and ``...`` as Python reads them."""
    return _parsed(repr(value)) if value is not Ellipsis else _parsed("...")


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _call(function: str, *operands: ast.expr, **settings: Any) -> ast.Call:
    keywords = [ast.keyword(name, _constant(x)) for name, x in settings.items()]
    return ast.Call(_parsed(function), list(operands), keywords)


def _filled(text: str, **values: ast.expr) -> ast.expr:
    made: ast.expr = _Filled(values).visit(_parsed(text))
    return made


# --- what a person would write, where a body goes another way ---------------------


def _formula(text: str) -> Callable[..., ast.expr]:
    """Make the writer of an op from an expression in its operands x and y."""

    def write(_node: Node, x: ast.expr, y: ast.expr | None = None) -> ast.expr:
        return _filled(text, x=x, y=x if y is None else y)

    return write


def _along(text: str) -> Callable[..., ast.expr]:
    """Make the writer of an op along an axis: what is reduced keeps its axes."""

    def write(node: Node, x: ast.expr) -> ast.expr:
        axis = settings_of(node)["axis"]
        if np.ndim(data_of(node)) == 0:
            axis = None
        return _filled(text, x=x, axes=_constant(axis))

    return write


def _reduction(function: str) -> Callable[..., ast.expr]:
    def write(node: Node, x: ast.expr) -> ast.expr:
        settings = {
            name: value
            for name, value in settings_of(node).items()
            if value is not None and value is not False
        }
        if np.ndim(data_of(inputs_of(node)[0])) == 0:
            settings = {}
        elif function.endswith(".reduce"):
            settings.setdefault("axis", None)
        return _call(function, x, **settings)

    return write


def _matmul(_node: Node, x: ast.expr, y: ast.expr) -> ast.expr:
    return ast.BinOp(x, ast.MatMult(), y)


def _transpose(node: Node, x: ast.expr) -> ast.expr:
    axes = settings_of(node)["axes"]
    if axes is None:
        return ast.Attribute(x, "T", ast.Load())
    return _call("np.transpose", x, _setting(tuple(axes)))


def _getitem(node: Node, x: ast.expr) -> ast.expr:
    index = settings_of(node)["index"]
    (parts,) = inputs_of(node)
    op = parts._op if isinstance(parts, Node) else None
    if op is not None and op.kind == "decomposition":
        rows = np.shape(data_of(inputs_of(parts)[0]))[-2]
        taken = matrix_lines.piece(op.name, index, rows, x)
        if taken is not None:
            return taken
    if isinstance(x, ast.Constant):
        x = ast.Call(_parsed("np.array"), [x], [])
    return ast.Subscript(x, _setting(index), ast.Load())


def _power(_node: Node, x: ast.expr, y: ast.expr) -> ast.expr:
    return ast.BinOp(x, ast.Pow(), y)


def _square(_node: Node, x: ast.expr) -> ast.expr:
    return ast.BinOp(x, ast.Pow(), _constant(2))


def _reshape(node: Node, x: ast.expr) -> ast.expr:
    return _call("np.reshape", x, _constant(np.shape(data_of(node))))


def _broadcast(node: Node, x: ast.expr) -> ast.expr:
    return _call("np.broadcast_to", x, _constant(np.shape(data_of(node))))


def _spread(node: Node, x: ast.expr) -> ast.expr:
    settings = settings_of(node)
    shape = tuple(settings["shape"])
    kept = shapes.reduced(shape, settings["axis"], keepdims=True)
    if np.shape(data_of(inputs_of(node)[0])) not in (kept, ()):
        x = _call("np.reshape", x, _constant(kept))
    return _call("np.broadcast_to", x, _constant(shape))


def _astype(node: Node, x: ast.expr) -> ast.expr:
    return _call("np.array", x, _parsed(f"np.{np.asarray(data_of(node)).dtype.name}"))


def _einsum(node: Node, *operands: ast.expr) -> ast.expr:
    return _call("np.einsum", _constant(settings_of(node)["subscripts"]), *operands)


def _matrix(text: str) -> Callable[..., ast.expr]:
    """Make the writer of an op from an expression in its operand and its settings."""

    def write(node: Node, x: ast.expr) -> ast.expr:
        given = {name: _constant(value) for name, value in settings_of(node).items()}
        return _filled(text, x=x, **given)

    return write


def _cofactors(node: Node, *operands: ast.expr) -> ast.expr:
    shape = np.shape(data_of(node))
    if len(operands) > shape[-1]:  # of a polynomial of this degree
        return _call("np.zeros", _constant(shape))
    named = {f"x{i}": x for i, x in enumerate(operands)}
    return _filled(matrix_lines.cofactors(len(operands)), **named)


def _join(function: str) -> Callable[..., ast.expr]:
    def write(node: Node, *operands: ast.expr) -> ast.expr:
        parts = ast.Tuple(list(operands), ast.Load())
        return _call(function, parts, **settings_of(node))

    return write


def _scatter(node: Node, x: ast.expr) -> ast.expr:
    """Write what puts elements at an index as what picks them, turned round.

    Column i of the matrix that picks holds a 1 for each element put at place i.
    """
    settings = settings_of(node)
    shape = tuple(settings["shape"])
    count = int(np.prod(shape))
    places = np.arange(count).reshape(shape)[settings["index"]]
    made = _call(
        "np.bincount", _constant([int(i) for i in np.ravel(places)]),
        _call("np.ravel", x), _constant(count),
    )  # fmt: skip
    return _call("np.reshape", made, _constant(shape))


def _windows(node: Node, x: ast.expr) -> ast.expr:
    """Write windows over the last axes as NumPy's view of them."""
    return _window_view(settings_of(node), x)


def _window_view(settings: Mapping[str, Any], x: ast.expr) -> ast.expr:
    size = tuple(settings["size"])
    ones = (1,) * len(size)
    stride = tuple(settings["stride"]) or ones
    dilation = tuple(settings["dilation"]) or ones
    reach = tuple((n - 1) * gap + 1 for n, gap in zip(size, dilation, strict=True))
    index = (..., *(slice(None, None, step) for step in (*stride, *dilation)))
    last = tuple(range(-len(size), 0))
    view = _call("np.lib.stride_tricks.sliding_window_view", x, _constant(reach))
    view.args.append(_constant(last))
    picked = ast.Subscript(view, _setting(index), ast.Load())
    first = tuple(range(len(size)))
    return _call("np.moveaxis", picked, _constant(last), _constant(first))


def _overlap_add(node: Node, x: ast.expr) -> ast.expr:
    """Write what adds windows up as a count of places, weighted."""
    settings = settings_of(node)
    shape = tuple(settings["shape"])
    count = int(np.prod(shape))
    places = _call("np.reshape", _call("np.arange", _constant(count)), _constant(shape))
    made = _call(
        "np.bincount", _call("np.ravel", _window_view(settings, places)),
        _call("np.ravel", x), _constant(count),
    )  # fmt: skip
    return _call("np.reshape", made, _constant(shape))


def _last(node: Node, _x: ast.expr) -> ast.expr:
    """Write what depends on an index alone as its value."""
    value = np.asarray(data_of(node))
    return _filled(
        "np.reshape(np.array(x, dtype=bool), shape)",
        x=_constant([bool(one) for one in value.ravel()]),
        shape=_constant(value.shape),
    )  # fmt: skip


def _others(node: Node, x: ast.expr) -> ast.expr:
    """Write the product of all others, which no sign of NumPy's says."""
    shape = np.shape(data_of(node))
    axes = shapes.reduced_axes(len(shape), settings_of(node)["axis"])
    size = int(np.prod([shape[a] for a in axes]))
    kept = tuple(n for a, n in enumerate(shape) if a not in axes)
    order = tuple(a for a in range(len(shape)) if a not in axes) + axes
    rows = _filled(
        "np.reshape(np.transpose(x, order), rows)",
        x=x, order=_constant(order), rows=_constant((*kept, 1, size)),
    )  # fmt: skip
    made = _filled(
        "np.prod(np.where(np.eye(size, dtype=bool), 1.0, x), axis=-1)",
        x=rows, size=_constant(size),
    )  # fmt: skip
    moved = tuple(shape[a] for a in order)
    back = tuple(order.index(a) for a in range(len(shape)))
    return _filled(
        "np.transpose(np.reshape(x, moved), back)",
        x=made, moved=_constant(moved), back=_constant(back),
    )  # fmt: skip


_TWICE = "2 * np.sqrt(2 / np.pi)"


def _in_rows(text: str) -> Callable[..., ast.expr]:
    """Make the writer of an op along one axis, from an expression along the last."""

    def write(node: Node, *operands: ast.expr) -> ast.expr:
        settings = settings_of(node)
        size = np.shape(data_of(node))
        axis = settings["axis"] % len(size)
        rows = list(operands)
        if axis != len(size) - 1:
            rows = [
                _call("np.moveaxis", x, _constant(axis), _constant(-1)) for x in rows
            ]
        x, y = rows[0], rows[-1]
        made = _filled(text, x=x, y=y, n=_constant(size[axis]))
        if axis == len(size) - 1:
            return made
        return _call("np.moveaxis", made, _constant(-1), _constant(axis))

    return write


# Means of all x whose key y is equal: what sorts as a matrix, and its transpose.
_SORTED = "np.sort(y)[..., None] == y[..., None, :]"
_UNSORTED = "y[..., None] == np.sort(y)[..., None, :]"
_MEANS = "np.sum(({0}) * x[..., None, :], -1) / np.sum({0}, -1)"
_RANKS = (
    "np.rint(np.sum((x[..., None, :] < x[..., None]) "
    "/ np.sum(x[..., None] == x[..., None, :], -1)[..., None, :], -1)).astype(np.int64)"
)
# Row i, column j: the product of all factors behind j up to i, of later ones backwards.
_FROM, _TO = "np.arange(n)[:, None]", "np.arange(n)[:, None, None]"
_FACTORS = (
    "np.sum(np.{2}(np.prod(np.where((np.arange(n) > {0}) & (np.arange(n) <= {1}), "
    "x[..., None, None, :], 1.0), -1)) * y[..., None, :], -1)"
)
_FORWARDS = _in_rows(_FACTORS.format(_FROM, _TO, "tril"))
_BACKWARDS = _in_rows(_FACTORS.format(_TO, _FROM, "triu"))


def _recurrence(node: Node, *operands: ast.expr) -> ast.expr:
    write = _BACKWARDS if settings_of(node)["reverse"] else _FORWARDS
    return write(node, *operands)


_SUMMED = "np.logaddexp.reduce(x, axis=axes, keepdims=True)"


def _of_order(functions: str) -> Callable[..., ast.expr]:
    """Make the writer of a family: the function of the order 0, of 1, of any order."""
    names = functions.split()

    def write(node: Node, x: ast.expr) -> ast.expr:
        order = settings_of(node)["order"]
        name = names[min(order, len(names) - 1)]
        first = f"{order}, " if name == names[-1] else ""
        return _filled(f"scipy.special.{name}({first}x)", x=x)

    return write


def _exprel(node: Node, x: ast.expr) -> ast.expr:
    """Write a derivative by the one before: x f is exp(x) - 1."""
    text = "scipy.special.exprel(x)"
    for n in range(1, settings_of(node)["order"] + 1):
        found = f"(np.exp(x) - {n} * {text}) / np.where(x == 0, 1, x)"
        text = f"np.where(x == 0, {1 / (n + 1)}, {found})"
    return _filled(text, x=x)


def _sinc(node: Node, x: ast.expr) -> ast.expr:
    """Write a derivative by the one before: x f is sin(πx) / π."""
    order = settings_of(node)["order"]
    text = "np.sinc(x)"
    for n in range(1, order + 1):
        wave = ("np.sin", "np.cos", "-np.sin", "-np.cos")[n % 4]
        at_zero = 0.0 if n % 2 else (-1.0) ** (n // 2) / (n + 1) * np.pi**n
        found = f"({np.pi ** (n - 1)} * {wave}(np.pi * x) - {n} * {text})"
        text = f"np.where(x == 0, {at_zero}, {found} / np.where(x == 0, 1, x))"
    return _formula(text)(node, x)


_SPELLED: dict[str, Callable[..., ast.expr]] = {
    **{name: _matrix(text) for name, text in matrix_lines.LINES.items()},
    "cofactors": _cofactors,
    "lstsq": lambda node, *system: _filled(
        "np.linalg.lstsq(a, b, rcond)[0]",
        **dict(zip("ab", system, strict=True)),
        rcond=_constant(settings_of(node)["rcond"]),
    ),
    "solve": _formula("np.linalg.solve(x, y)"),
    "add": _formula("x + y"),
    "subtract": _formula("x - y"),
    "multiply": _formula("x * y"),
    "divide": _formula("x / y"),
    "negative": _formula("-x"),
    "reciprocal": _formula("1 / x"),
    "equal": _formula("x == y"),
    "not_equal": _formula("x != y"),
    "greater": _formula("x > y"),
    "greater_equal": _formula("x >= y"),
    "less": _formula("x < y"),
    "less_equal": _formula("x <= y"),
    "isnan": _formula("np.isnan(x)"),
    "square": _square,
    "power": _power,
    "matmul": _matmul,
    "einsum": _einsum,
    "transpose": _transpose,
    "getitem": _getitem,
    "last_at": _last,
    "scatter_add": _scatter,
    "windows": _windows,
    "overlap_add": _overlap_add,
    "reshape": _reshape,
    "broadcast_to": _broadcast,
    "spread": _spread,
    "astype": _astype,
    "concatenate": _join("np.concatenate"),
    "stack": _join("np.stack"),
    "sum": _reduction("np.sum"),
    "mean": _reduction("np.mean"),
    "max": _reduction("np.max"),
    "min": _reduction("np.min"),
    "prod": _reduction("np.prod"),
    "cumsum": _reduction("np.cumsum"),
    "logcumsumexp": _reduction("np.logaddexp.accumulate"),
    "others": _others,
    "ranks": _in_rows(_RANKS),
    "recurrence": _recurrence,
    "sorted_like": _in_rows(_MEANS.format(_SORTED)),
    "unsorted_like": _in_rows(_MEANS.format(_UNSORTED)),
    "sigmoid": _formula("1 / (1 + np.exp(-x))"),
    "sinc": _sinc,
    "hazard": _formula(
        f"{math.sqrt(2 / math.pi)} / scipy.special.erfcx({-math.sqrt(0.5)} * x)"
    ),
    "exprel": _exprel,
    "iv": _of_order("i0 i1 iv"),
    "ive": _of_order("i0e i1e ive"),
    "jv": _of_order("j0 j1 jv"),
    "polygamma": _of_order("digamma polygamma"),
    "log_sigmoid": _formula("-np.logaddexp(0.0, -x)"),
    "log1m_sigmoid": _formula("-np.logaddexp(0.0, x)"),
    "softplus": _formula("np.logaddexp(0.0, x)"),
    "log_cosh": _formula("np.logaddexp(x, -x) - np.log(2.0)"),
    "gelu_tanh": _formula(f"x / (1 + np.exp(-{_TWICE} * (x + 0.044715 * x**3)))"),
    "mish": _formula("x * np.tanh(np.logaddexp(0.0, x))"),
    "silu": _formula("x / (1 + np.exp(-x))"),
    "softsign": _formula("x / (1 + np.abs(x))"),
    "tanhshrink": _formula("x - np.tanh(x)"),
    "logistic_loss": _formula("np.logaddexp(0.0, x) - x * y"),
    "logistic_residual": _formula("1 / (1 + np.exp(-x)) - y"),
    "logsumexp": _reduction("np.logaddexp.reduce"),
    "softmax": _along(f"np.exp(x - {_SUMMED})"),
    "log_softmax": _along(f"x - {_SUMMED}"),
}
