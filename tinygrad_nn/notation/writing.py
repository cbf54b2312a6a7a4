"""`written`: an expression of nodes as a line, with the parentheses that it needs.

What an op looks like is said by its ``formula=``. Said here is only what depends on
shapes and settings: a number stands before what it multiplies, a matrix product is no
product of elements, a sum names its axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.errors import OpError
from tinygrad_nn.notation.formulas import Level, layout
from tinygrad_nn.notation.names import latex_name, latex_number, text_number
from tinygrad_nn.notation.numpy_lines import numpy_expression
from tinygrad_nn.op import Node, Op, data_of, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

__all__ = ["Names", "Piece", "index_text", "written"]

Names = Callable[[Any], "str | None"]
"""From a node or an array to its name; None: it is written out."""

_LONGEST = 20_000
_TIMES = "\N{MULTIPLICATION SIGN}"
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
STYLES = ("text", "latex", "numpy")


class Piece(NamedTuple):
    """Written text, and how strongly its outermost sign binds."""

    text: str
    level: Level


def written(node: Any, names: Names, style: str = "text", *, whole: bool = True) -> str:
    """Return an expression as one line.

    Parameters
    ----------
    node
        What to write: a node, an array or a number.
    names
        Called with each node and array: its name, or None to write it out. A node
        below a named one is not looked at.
    style
        ``"text"``, ``"latex"``, or ``"numpy"``: an expression of Python, in which
        NumPy is ``np``.
    whole
        Whether ``node`` itself is written out even if it has a name: the right-hand
        side of its own line.

    Raises
    ------
    OpError
        For another style, or for an op whose body is not one expression of NumPy, in
        the style ``"numpy"``.

    Examples
    --------
    >>> from tinygrad_nn.tensor import Tensor
    >>> W, A = Tensor(np.ones((2, 3)), name="W"), Tensor(np.ones((3, 4)), name="A")
    >>> own = lambda x: getattr(x, "name", None)
    >>> written((W @ (1 - A * A)).T / 4.0, own)
    '(W (1 - A²))ᵀ / 4'
    >>> written((W @ (1 - A * A)).T / 4.0, own, "numpy")
    '(W @ (1 - A * A)).T / 4.0'
    """
    if style not in STYLES:
        raise OpError(f"written: style is one of {STYLES}; got {style!r}")
    if style == "numpy":
        return numpy_expression(node, names, whole)
    done: dict[Any, Piece] = {}
    stack = [node]
    while stack:
        x = stack[-1]
        if not isinstance(x, Node) or x in done:
            stack.pop()
            continue
        name = None if whole and x is node else names(x)
        if name is not None or x._op is None:
            done[x] = _leaf(x, name if name is not None else names(x), style)
            stack.pop()
            continue
        inputs = inputs_of(x)
        missing = [y for y in inputs if isinstance(y, Node) and y not in done]
        if missing:
            stack += reversed(missing)
            continue
        pieces = [_operand(y, done, names, style) for y in inputs]
        done[x] = _shortened(_op_piece(x, pieces, style), style)
        stack.pop()
    return _operand(node, done, names, style).text


def _operand(x: Any, done: Mapping[Any, Piece], names: Names, style: str) -> Piece:
    if isinstance(x, Node):
        return done[x]
    return _leaf(x, None if np.ndim(data_of(x)) == 0 else names(x), style)


def _leaf(x: Any, name: str | None, style: str) -> Piece:
    """Write what has no operands: a name, a number, or an array without a name."""
    if name is not None:
        return Piece(latex_name(name) if style == "latex" else name, _name_level(name))
    value = data_of(x)
    if np.ndim(value) == 0:
        number = value if isinstance(value, (bool, int, float)) else value[()]
        if isinstance(value, Scalar):
            number = value.value
        return _number_piece(number, style)
    return _array_piece(np.asarray(value), style)


def _name_level(name: str) -> Level:
    return Level.POWER if name.endswith("ᵀ") else Level.ATOM


def _number_piece(x: Any, style: str) -> Piece:
    """Write a number; a negative one binds no better than a difference."""
    text = latex_number(x) if style == "latex" else text_number(x)
    level = Level.ATOM
    if text.startswith("-"):
        level = Level.SUM
    elif "^" in text or "cdot" in text:
        level = Level.PRODUCT if "cdot" in text else Level.POWER
    return Piece(text, level)


def _array_piece(value: np.ndarray, style: str) -> Piece:
    first = value.ravel()[:1]
    if value.size and bool(np.all(value == first)):
        return _number_piece(first[0], style)
    shape = _TIMES.join(map(str, value.shape))
    if style == "latex":
        shape = r" \times ".join(map(str, value.shape))
        return Piece(rf"\left[{shape}\right]", Level.ATOM)
    return Piece(f"[{shape}]", Level.ATOM)


def _shortened(piece: Piece, style: str) -> Piece:
    """Return what a page can hold: what is shared is written again and again."""
    if len(piece.text) <= _LONGEST:
        return piece
    return Piece(r"\ldots" if style == "latex" else "…", Level.ATOM)


def _within(piece: Piece, need: Level, style: str) -> str:
    """Return the text of a piece, in parentheses where it binds less than it must."""
    if piece.level >= need:
        return piece.text
    return rf"\left({piece.text}\right)" if style == "latex" else f"({piece.text})"


# --- ops -------------------------------------------------------------------------


def _op_piece(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    op: Op = node._op  # type: ignore[assignment]
    special = _SPECIAL.get(op.name)
    if special is not None:
        made: Piece | None = special(node, pieces, style)
        if made is not None:
            return made
    return _by_formula(op, node, pieces, style)


def _by_formula(op: Op, node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    """Fill in the op's own formula."""
    found = layout(op.formula.template, style)
    values: dict[str, str] = {}
    if op.variadic:
        values[op.operands[0]] = ", ".join(p.text for p in pieces)
    else:
        for name, piece in zip(op.operands, pieces, strict=True):
            need = found.needs.get(name, Level.CHOICE)
            text = _within(piece, need, style)
            # tanh(x), and not tanh((x)), where the formula has the brackets
            values[name] = text
    for name, value in settings_of(node).items():
        values[name] = _setting(name, value, style)
    text = found.template.safe_substitute(values)
    return Piece(text.replace("_{}", ""), found.level)


def _setting(name: str, value: Any, style: str) -> str:
    if name == "axis":
        if value is None:
            return ""
        axes = value if isinstance(value, tuple) else (value,)
        shown = ", ".join(map(str, axes))
        return rf"\text{{axis }}{shown}" if style == "latex" else shown
    shown = index_text(value) if name == "index" else str(value)
    if style == "latex":
        return (
            rf"\text{{{shown}}}".replace("_", r"\_")
            .replace(">", r"}\to\text{")
            .replace("-}", "}")
        )
    return shown


def index_text(index: Any) -> str:
    """Return what stands in the brackets of ``x[...]``, as its user wrote it.

    >>> index_text((slice(None), slice(2, None))), index_text((..., None, 3))
    (':, 2:', '..., None, 3')
    """
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(_part_of_index(part) for part in parts) or "()"


def _part_of_index(part: Any) -> str:
    if part is None or part is Ellipsis:
        return "None" if part is None else "..."
    if isinstance(part, slice):
        start, stop = ("" if x is None else str(x) for x in (part.start, part.stop))
        step = "" if part.step is None else f":{part.step}"
        return f"{start}:{stop}{step}"
    array = np.asarray(data_of(part))
    if array.ndim == 0:
        return text_number(array[()])
    kind = "mask" if array.dtype.kind == "b" else "rows"
    return f"{kind} {_TIMES.join(map(str, array.shape))}"


def _single(x: Any) -> bool:
    """Whether an operand is one number, whatever its rank."""
    return np.ndim(data_of(x)) == 0


def _add(_node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    x, y = pieces
    left, right = _within(x, Level.SUM, style), _within(y, Level.SUM, style)
    if right.startswith("-"):
        return Piece(f"{left} - {right[1:]}", Level.SUM)
    return Piece(f"{left} + {right}", Level.SUM)


def _multiply(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    x, y = inputs_of(node)
    left, right = pieces
    if x is y or (left == right and not _is_number(x)):
        return _raised(left, "2", style)
    for one, text, other in ((x, left.text, right), (y, right.text, left)):
        if text == "1" and np.ndim(data_of(one)) > 0 and other.text != "1":
            return other  # an array of ones repeats, and no more
    if (_single(y) and not _single(x)) or (_is_number(y) and not _is_number(x)):
        (x, y), (left, right) = (y, x), (right, left)
    first = _within(left, Level.PRODUCT, style)
    if left.text.startswith("-") and _is_number(x):
        # -2 x needs no brackets in front; its sign makes it a sum.
        made = _joined(left.text, right, y, style)
        return Piece(made, Level.SUM)
    if _single(x):
        if left.level < Level.JOINED:
            first = _within(left, Level.JOINED, style)
        return Piece(_joined(first, right, y, style), Level.JOINED)
    sign = r" \odot " if style == "latex" else " ⊙ "
    # A quotient on the right would be read as the whole's: it is one number for each.
    return Piece(first + sign + _within(right, Level.PRODUCT, style), Level.PRODUCT)


def _is_negative(x: Any) -> bool:
    return isinstance(x, Node) and x._op is not None and x._op.name == "negative"


def _is_number(x: Any) -> bool:
    if isinstance(x, Node):
        return False
    return np.ndim(data_of(x)) == 0


def _joined(first: str, right: Piece, y: Any, style: str) -> str:
    second = _within(right, Level.JOINED, style)
    digit = second[:1].isdigit() or _is_number(y)
    if style == "latex":
        return first + (r" \cdot " if digit else r"\, ") + second
    return first + (" · " if digit else " ") + second


def _divide(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    x, y = pieces
    if style == "latex":
        return Piece(rf"\frac{{{x.text}}}{{{y.text}}}", Level.PRODUCT)
    second = _within(y, Level.FUNCTION, style)
    if _is_negative(inputs_of(node)[0]):  # -x / y is both (-x) / y and -(x / y)
        return Piece(f"{x.text} / {second}", Level.SUM)
    return Piece(f"{_within(x, Level.PRODUCT, style)} / {second}", Level.PRODUCT)


def _matmul(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    x, y = (
        _whole_array(piece, operand, style)
        for piece, operand in zip(pieces, inputs_of(node), strict=True)
    )
    space = r"\, " if style == "latex" else " "
    left = _within(x, Level.JOINED, style)
    return Piece(f"{left}{space}{_within(y, Level.FUNCTION, style)}", Level.JOINED)


def _whole_array(piece: Piece, operand: Any, style: str) -> Piece:
    """Write an array of ones as an array, where a product sums over it."""
    if piece.text != "1":
        return piece
    shape = np.shape(data_of(operand))
    if style == "latex":
        size = r" \times ".join(map(str, shape))
        return Piece(rf"\mathbf{{1}}_{{{size}}}", Level.ATOM)
    return Piece(f"ones({', '.join(map(str, shape))})", Level.ATOM)


def _raised(base: Piece, exponent: str, style: str) -> Piece:
    bottom = _within(base, Level.ATOM, style)
    if style == "latex":
        return Piece(f"{bottom}^{{{exponent}}}", Level.POWER)
    if exponent.isdigit() and len(exponent) == 1:
        return Piece(bottom + exponent.translate(_RAISED), Level.POWER)
    inner = exponent if exponent.isalnum() else f"({exponent})"
    return Piece(f"{bottom}^{inner}", Level.POWER)


def _power(_node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    return _raised(pieces[0], pieces[1].text, style)


def _square(_node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    return _raised(pieces[0], "2", style)


def _negative(_node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    return Piece("-" + _within(pieces[0], Level.PRODUCT, style), Level.SUM)


def _transpose(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    axes = settings_of(node)["axes"]
    base = _within(pieces[0], Level.ATOM, style)
    rank = np.ndim(data_of(node))
    plain = axes is None or tuple(a % rank for a in axes) == tuple(range(rank))[::-1]
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if plain or (rank > 2 and tuple(a % rank for a in axes) == swapped):
        top = r"^{\top}" if style == "latex" else "ᵀ"
        return Piece(base + top, Level.POWER)
    shown = ", ".join(map(str, axes))
    if style == "latex":
        return Piece(rf"{base}^{{\top({shown})}}", Level.POWER)
    return Piece(f"{base}ᵀ({shown})", Level.POWER)


def _getitem(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
    base = _within(pieces[0], Level.ATOM, style)
    shown = index_text(settings_of(node)["index"])
    if style == "latex":
        return Piece(rf"{base}[\text{{{shown}}}]", Level.POWER)
    return Piece(f"{base}[{shown}]", Level.POWER)


def _scatter(node: Node, pieces: Sequence[Piece], style: str) -> Piece | None:
    """Write a one in each row, at the place of its label, as what it is called."""
    index = settings_of(node)["index"]
    if pieces[0].text != "1" or not isinstance(index, tuple) or len(index) != 2:
        return None
    rows = index[0]
    count = np.shape(data_of(node))[0]
    if not isinstance(rows, np.ndarray) or not np.array_equal(rows, np.arange(count)):
        return None
    word = r"\operatorname{onehot}" if style == "latex" else "onehot"
    return Piece(word, Level.ATOM)


def _reduction(text: str, latex: str) -> Callable[..., Piece]:
    def write(node: Node, pieces: Sequence[Piece], style: str) -> Piece:
        need = Level.JOINED
        axis = _setting("axis", settings_of(node)["axis"], style)
        if style == "latex":
            under = f"_{{{axis}}}" if axis else ""
            return Piece(
                rf"{latex}{under} {_within(pieces[0], need, style)}", Level.FUNCTION
            )
        if text == "Σ":
            return Piece(f"Σ {_within(pieces[0], need, style)}", Level.JOINED)
        return Piece(f"{text}({pieces[0].text})", Level.FUNCTION)

    return write


def _reshape(node: Node, pieces: Sequence[Piece], _style: str) -> Piece | None:
    """Write one number in another shape as the number."""
    return pieces[0] if np.size(data_of(node)) == 1 else None


def _copied(_node: Node, pieces: Sequence[Piece], _style: str) -> Piece:
    """Write what only repeats, or changes the dtype, as what it repeats."""
    return pieces[0]


_SPECIAL: dict[str, Callable[[Node, Sequence[Piece], str], Piece | None]] = {
    "add": _add,
    "astype": _copied,
    "broadcast_to": _copied,
    "divide": _divide,
    "getitem": _getitem,
    "matmul": _matmul,
    "mean": _reduction("mean", r"\operatorname{mean}"),
    "multiply": _multiply,
    "negative": _negative,
    "power": _power,
    "reshape": _reshape,
    "scatter_add": _scatter,
    "spread": _copied,
    "square": _square,
    "sum": _reduction("Σ", r"\sum"),
    "transpose": _transpose,
}
