"""How NumPy is told to compute a node: into a buffer, or as a value of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.compiler.memory import Buffers
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.products import chunk_of, way
from tinygrad_nn.compiler.writer import Line, Writer
from tinygrad_nn.op import Node, Op, inputs_of, settings_of
from tinygrad_nn.ops.indexing import is_basic
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.scalars import Scalar

__all__ = ["Calls"]

FEW = 30_000
"""Elements up to which a filled scratch array beats an operand that is repeated."""
MANY = 1 << 17
"""The same where rows are short: NumPy would allocate a buffer to repeat them in."""
LONG = 4_096
"""Elements of a row from which it is repeated at no cost."""

_OPERATORS = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
}
_REDUCE = {
    "sum": "np.add.reduce",
    "max": "np.maximum.reduce",
    "min": "np.minimum.reduce",
    "prod": "np.multiply.reduce",
}
_OWN = ("where", "astype", "uniform", "scatter_add")
_JOINS = ("concatenate", "stack")


class Calls:
    """Writes what computes a node.

    Attributes
    ----------
    body : list of Line
        Where lines go that have to run first.
    flats : list
        (name, node): buffers that are needed as one row.
    in_block : bool
        Whether operands are pieces of arrays at the moment.
    """

    def __init__(self, writer: Writer, buffers: Buffers) -> None:
        self.w = writer
        self.program = writer.program
        self.buffers = buffers
        self.body: list[Line] = []
        self.flats: list[tuple[str, Any]] = []
        self.in_block = False

    def into(self, node: Any, out: str) -> str | None:
        """Write what computes a node into a buffer.

        Returns
        -------
        str or None
            A call that does the last of it and gives the buffer back; None where all
            is written.
        """
        op: Op = node._op
        mask = self._mask_among(node)
        if node in self.buffers.masks:
            (x, _) = inputs_of(node)
            self._say(f"{self.w.imported(np.sign)}({self._bits(x)}, {out})", node)
        elif mask is not None:
            self._say(self._masked(node, mask), node)
        elif not self.program.exact and way(node) is not None:
            self._in_chunks(node, out)
        elif node in self.buffers.joins:
            self._join(node, out)
        elif op.name in _OWN:
            getattr(self, f"_{op.name}")(node, out)
        elif op.name == "getitem" or (op.kind == "movement" and op.name not in _JOINS):
            self._say(f"{out}[...] = {self.value(node)}", node)
        else:
            return self.value(node, out)
        return None

    def _say(self, text: str, node: Node | None = None) -> None:
        self.body.append((text, node))

    def _args(self, node: Any) -> list[str]:
        return [self.w.operand(x) for x in inputs_of(node)]

    # --- into a buffer ---

    def _mask_among(self, node: Any) -> Node | None:
        if node._op.name != "multiply":
            return None
        nodes = [x for x in inputs_of(node) if isinstance(x, Node)]
        return next((x for x in nodes if x in self.buffers.masks), None)

    def _masked(self, node: Any, mask: Node) -> str:
        x, y = inputs_of(node)
        g = self._bits(y if x is mask else x)
        call = self.w.imported(np.multiply)
        return f"{call}({g}, {self.w.name(mask)}, {self._bits(node)})"

    def _bits(self, node: Any) -> str:
        """Return the numbers of a node seen as integers of the same width."""
        buffers = self.buffers
        dtype = f"np.uint{8 * node._value.dtype.itemsize}"
        if node in buffers.home:
            name = buffers.name(node)
            return buffers.bits.setdefault(f"{name}.view({dtype})", f"{name}_bits")
        return f"{self.w.operand(node)}.view({dtype})"

    def _in_chunks(self, node: Any, out: str) -> None:
        left, right = self._args(node)
        length, chunk = chunk_of(node)
        cuts = self.w.prepared(
            "cuts", f"[slice(i, i + {chunk}) for i in range(0, {length}, {chunk})]"
        )
        dtype = node._value.dtype
        (m, n), k = node._value.shape, np.shape(self._value(node, 0))[1]
        how = way(node)
        if how == "rows":
            self._say(f"for cut in {cuts}:")
            self._say(f"    {self.w.dot()}({left}[cut], {right}, {out}[cut])", node)
        elif how == "sum":
            part = self.w.prepared("part", f"np.empty({(m, n)!r}, np.{dtype})")
            add, matmul = self.w.imported(np.add), self.w.imported(np.matmul)
            self._say(f"{out}.fill(0)", node)
            self._say(f"for cut in {cuts}:")
            self._say(f"    {matmul}({left}[:, cut], {right}[cut], {part})", node)
            self._say(f"    {add}({out}, {part}, {out})", node)
        else:
            part = self.w.prepared("turned", f"np.empty({(k, m)!r}, np.{dtype})")
            self._say(f"{part}[...] = {left}.T", node)
            # Backwards: what was read last is still in the cache.
            self._say(f"for cut in reversed({cuts}):")
            call = f"{self.w.dot()}({right}.T[cut], {part}, {out}.T[cut])"
            self._say(f"    {call}", node)

    def _join(self, node: Any, out: str) -> None:
        """Copy the parts that were not computed where they lie."""
        for where, x in self.buffers.joins[node]:
            part = self.w.prepared_view(f"{out}{where}", "part")
            self._say(f"{part}[...] = {self.w.operand(x)}", node)

    def _astype(self, node: Any, out: str) -> None:
        (x,) = self._args(node)
        self._say(f'np.copyto({out}, {x}, casting="unsafe")', node)

    def _uniform(self, node: Any, out: str) -> None:
        rng = self.w.held(node._settings["rng"], "rng")
        self._say(f"{rng}.random(out={out})", node)

    def _where(self, node: Any, out: str) -> None:
        condition, x, y = self._args(node)
        if np.asarray(self._value(node, 0)).dtype != np.bool_:
            condition = f"np.not_equal({condition}, 0)"
        if y != out:
            self._say(f"{out}[...] = {y}", node)
        self._say(f"np.copyto({out}, {x}, where={condition})", node)

    def _scatter_add(self, node: Any, out: str) -> None:
        (x,) = self._args(node)
        index = self._index(node._settings["index"])
        self._say(f"{out}.fill(0)", node)
        if is_basic(node._settings["index"]):
            self._say(f"{out}[{index}] = {x}", node)
        else:
            self._say(f"np.add.at({out}, np.s_[{index}], {x})", node)

    # --- as a call ---

    def value(self, node: Any, out: str | None = None) -> str:
        """Return a call that gives a node's value, into a buffer if there is one."""
        op: Op = node._op
        args = self._args(node)
        settings = settings_of(node)
        tail = "" if out is None else f", out={out}"
        ufunc = ufunc_of(op)
        if ufunc is not None:
            return self._called(node, ufunc, args, out)
        if op.name == "sum" and not self.program.exact and self._by_product(node):
            return self._product_sum(node, args[0], out)
        if op.name in _REDUCE:
            keep = ", keepdims=True" if settings["keepdims"] else ""
            axis = settings["axis"]
            return f"{_REDUCE[op.name]}({args[0]}, axis={axis!r}{keep}{tail})"
        if op.name == "matmul":
            ranks = [np.ndim(self._value(node, i)) for i in (0, 1)]
            inner = ranks == [1, 1] and out is None and not self.program.exact
            if ranks == [2, 2] or inner:
                tail = "" if out is None else f", {out}"
                return f"{self.w.dot()}({', '.join(args)}{tail})"
            return f"np.matmul({', '.join(args)}{tail})"
        if op.name == "einsum":
            return self._einsum(node, args, tail)
        if op.name in _JOINS:
            axis = settings["axis"]
            return f"np.{op.name}(({', '.join(args)},), axis={axis!r}{tail})"
        if op.name == "cumsum":
            return f"np.cumsum({args[0]}, axis={settings['axis']!r}{tail})"
        if op.name in ("where", "getitem") or op.kind == "movement":
            return self._moved(node, args)
        body = self.w.held(op.body, identifier(op.name) + "_body")
        given = [f"{key}={self._setting(value)}" for key, value in settings.items()]
        return f"{body}({', '.join([*args, *given])})"

    def _einsum(self, node: Any, args: list[str], tail: str) -> str:
        text = f"np.einsum({settings_of(node)['subscripts']!r}, {', '.join(args)}"
        letters, _, output = settings_of(node)["subscripts"].partition("->")
        summed = (
            set(letters) - set(output) if output else len(set(letters)) < len(letters)
        )
        if len(args) > 1 or node._value.dtype.kind != "f" or summed:
            return f"{text}{tail})"
        # Of one operand, without a sum, NumPy gives a view; with out= it adds to zeros,
        # where -0.0 becomes 0.0.
        return f"np.positive({text}){tail})" if tail else f"np.array({text}))"

    def _called(self, node: Any, ufunc: Any, args: list[str], out: str | None) -> str:
        if node._value.ndim == 0 and out is None and ufunc in _OPERATORS:
            return _OPERATORS[ufunc].format(*args)
        if node._value.ndim:
            args = self._operands(node, ufunc)
        if out is not None:
            # NumPy wants these two to name it.
            named = ufunc in (np.maximum, np.minimum)
            args = [*args, f"out={out}" if named else out]
        return f"{self.w.imported(ufunc)}({', '.join(args)})"

    def _moved(self, node: Any, args: list[str]) -> str:
        """A view where NumPy gives one, else an array of its own."""
        settings = settings_of(node)
        name = node._op.name
        shape = tuple(node._value.shape)
        if name == "transpose":
            axes = settings["axes"]
            return f"{args[0]}.T" if axes is None else f"{args[0]}.transpose({axes!r})"
        if name == "reshape":
            return f"np.reshape({args[0]}, {shape!r})"
        if name == "broadcast_to":
            return f"np.broadcast_to({args[0]}, {shape!r})"
        if name == "spread":
            kept = shapes.reduced(shape, settings["axis"], keepdims=True)
            return f"np.broadcast_to(np.reshape({args[0]}, {kept!r}), {shape!r})"
        if name == "getitem":
            return f"{args[0]}[{self._index(settings['index'])}]"
        return f"np.where({', '.join(args)})"

    def _operands(self, node: Any, ufunc: Any) -> list[str]:
        """Operands of a ufunc as arrays of the loop's own dtypes.

        A number as an array of no axes, and a row or column, or what has another
        dtype, copied into a scratch array of the full shape: either costs half a call
        otherwise, and NumPy would allocate a buffer.
        """
        inputs = inputs_of(node)
        kinds = tuple(_kind(x) for x in inputs)
        dtypes = ufunc.resolve_dtypes((*kinds, *([None] * ufunc.nout)))
        found = []
        shape, size = node._value.shape, node._value.size
        for i, (x, dtype) in enumerate(zip(inputs, dtypes, strict=False)):
            number = number_of(x, self.program)
            if isinstance(x, Scalar):
                found.append(self.w.rate(x, dtype))
            elif number is not None:
                found.append(self._number(number, ufunc, node._value, dtype))
            elif (
                isinstance(x, Node)
                and np.ndim(x._value)
                and size <= (MANY if shape[-1] < LONG else FEW)
                and (x._value.shape, x._value.dtype) != (shape, dtype)
            ):
                found.append(self._repeated(x, i, shape, dtype))
            else:
                found.append(self.w.operand(x))
        return found

    def _number(self, number: Any, ufunc: Any, value: Any, dtype: Any) -> str:
        """A number as an array of no axes; where NumPy is slow with those, zeros."""
        slow = ufunc in (np.maximum, np.minimum) and dtype.kind == "f"
        if not slow or number != 0 or np.signbit(number) or self.in_block:
            return self.w.filled(number, dtype)
        shape = value.shape
        if value.ndim > 1 and shape[-1] >= LONG:
            shape = shape[-1:]
        return self.w.full(0.0, shape, dtype)

    def _repeated(self, x: Any, i: int, shape: Any, dtype: Any) -> str:
        name = self.w.prepared("repeated", f"np.empty({shape!r}, np.{dtype})", i)
        self._say(f"{name}[...] = {self.w.operand(x)}")
        return name

    def _by_product(self, node: Any) -> bool:
        """Whether a sum is computed as a product with ones: a third of the time."""
        x = inputs_of(node)[0]._value
        axes = shapes.reduced_axes(x.ndim, node._settings["axis"])
        if x.dtype.kind != "f" or x.dtype.itemsize < 4 or x.size == 0:
            return False
        if x.dtype.itemsize == 4 and x.size // max(node._value.size, 1) > 4096:
            return False  # NumPy adds in pairs, which is more accurate
        if len(axes) == x.ndim:
            return inputs_of(node)[0] in self.buffers.home
        return x.ndim == 2 and len(axes) == 1

    def _product_sum(self, node: Any, x: str, out: str | None) -> str:
        source = inputs_of(node)[0]
        value = source._value
        axes = shapes.reduced_axes(value.ndim, node._settings["axis"])
        dot = self.w.dot()
        tail = "" if out is None else f", {out}"
        if len(axes) == value.ndim:
            ones = self.w.full(1.0, (value.size,), value.dtype)
            flat = x if value.ndim == 1 else self._flat(source, x)
            kept = f".reshape({node._value.shape!r})" if node._value.ndim else ""
            if out is not None:
                return f"{dot}({flat}, {ones}, {out}.reshape(())){kept}"
            return f"{dot}({flat}, {ones}){kept}"
        rows, columns = value.shape
        kept = node._settings["keepdims"]
        if axes[0] == 1:
            ones = self.w.full(1.0, (columns, 1) if kept else (columns,), value.dtype)
            return f"{dot}({x}, {ones}{tail})"
        ones = self.w.full(1.0, (1, rows) if kept else (rows,), value.dtype)
        return f"{dot}({ones}, {x}{tail})"

    def _flat(self, node: Any, x: str) -> str:
        """Return the name of a buffer seen as one row, made before the first call."""
        name = self.w.unique(f"{x}_flat")
        self.flats.append((name, node))
        return name

    def _value(self, node: Any, i: int) -> Any:
        x = inputs_of(node)[i]
        return x._value if isinstance(x, Node) else x

    # --- settings ---

    def _setting(self, value: Any) -> str:
        plain = (int, float, str, bool, type(None))
        if isinstance(value, plain) and not isinstance(value, np.generic):
            return repr(value)
        if isinstance(value, tuple) and all(isinstance(x, plain) for x in value):
            return repr(value)
        if isinstance(value, (Node, tuple)):
            return f"({self._index(value)})"
        return self.w.held(value, "setting")

    def _index(self, index: Any) -> str:
        if isinstance(index, tuple):
            parts = [self._part(x) for x in index]
            return ", ".join(parts) + ("," if len(parts) == 1 else "") or "()"
        return self._part(index)

    def _part(self, x: Any) -> str:
        if x is None:
            return "None"
        if x is Ellipsis:
            return "..."
        if isinstance(x, slice):
            parts = ["" if v is None else str(v) for v in (x.start, x.stop)]
            step = "" if x.step is None else f":{x.step}"
            return f"{parts[0]}:{parts[1]}{step}"
        if isinstance(x, Node):
            return self.w.operand(x)
        if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
            return str(int(x))
        return self.w.held(x, "index")


def _kind(x: Any) -> Any:
    """What `ufunc.resolve_dtypes` takes for an operand: a dtype, or a Python type."""
    if isinstance(x, Node):
        return x._value.dtype
    if isinstance(x, bool):
        return np.dtype(bool)
    plain = isinstance(x, float) and not isinstance(x, np.generic)
    if plain or isinstance(x, Scalar):
        return float
    if isinstance(x, int):
        return int
    return np.asarray(x).dtype
