"""Backend ``numpy``: a program as flat NumPy source, one assignment a line.

Every intermediate has a place in a buffer that was planned beforehand, so a step
allocates nothing but its results. The source is complete: buffers first, then the step.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn import graph, recording, shapes
from tinygrad_nn.compiler.memory import Buffers, plan
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.passes.fold import number_of
from tinygrad_nn.compiler.primitive import ufunc_of
from tinygrad_nn.compiler.products import chunk_of, way
from tinygrad_nn.compiler.program import (
    Argument,
    Gradient,
    Program,
    Slot,
    Value,
    operands,
)
from tinygrad_nn.compiler.schedule import Block, scheduled
from tinygrad_nn.compiler.trace import Rate, StateNumber, Trace
from tinygrad_nn.op import Node, Op, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

__all__ = ["Lowered", "lower"]

_OPERATORS = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
}
_NUMBER_NAMES = {0.0: "zero", 0.5: "half", 1.0: "one", 2.0: "two", -1.0: "minus_one"}
_FUNCTIONS = {name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
_RESERVED = _FUNCTIONS | {"np", "step", "after", "dot", "sum", "max", "min"}
FEW = 30_000
"""Elements up to which a filled scratch array beats an operand that is repeated."""
_REDUCE = {
    "sum": "np.add.reduce",
    "max": "np.maximum.reduce",
    "min": "np.minimum.reduce",
    "prod": "np.multiply.reduce",
}


@dataclass
class Lowered:
    """Source of a step, and what its names stand for.

    Attributes
    ----------
    source
        The module's text; it defines ``step`` and ``after``.
    namespace
        Objects that the text refers to: Tensors, optimisers, constants.
    lines
        Line number to the node that it computes.
    buffers
        The memory plan.
    lent
        Leaf to the name that its ``.grad`` gets, and the buffer that this lends.
    """

    source: str
    namespace: dict[str, Any]
    lines: dict[int, Node]
    buffers: Buffers
    lent: dict[Any, tuple[str, str]]


@dataclass
class _Writer:
    program: Program
    trace: Trace
    buffers: Buffers
    check_finite: bool
    lines: list[str] = field(default_factory=list)
    nodes: dict[int, Node] = field(default_factory=dict)
    namespace: dict[str, Any] = field(default_factory=dict)
    names: dict[Node, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: set(_RESERVED))
    objects: dict[int, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    rates: dict[tuple[str, str], str] = field(default_factory=dict)
    fills: dict[Any, str] = field(default_factory=dict)
    fulls: dict[Any, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    scratch: dict[Any, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    indent: str = ""

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else has."""
        name = wanted
        count = self.counts.get(wanted, 1)
        while name in self.taken:
            name = f"{wanted}_{count}"
            count += 1
        self.counts[wanted] = count
        self.taken.add(name)
        return name

    def held(self, value: Any, wanted: str) -> str:
        """Return the name of an object that the source refers to."""
        known = self.objects.get(id(value))
        if known is None:
            known = self.objects[id(value)] = self.unique(wanted)
            self.namespace[known] = value
        return known

    def write(self, text: str = "", node: Node | None = None) -> None:
        """Add a line, indented; note which node it computes."""
        self.lines.append(f"{self.indent}{text}" if text else "")
        if node is not None:
            self.nodes[len(self.lines)] = node

    def name(self, node: Node, prefix: str = "") -> str:
        """Return the variable that holds a node."""
        known = self.names.get(node)
        if known is None:
            given = getattr(node, "_name", None)
            wanted = given or (node._op.name if node._op is not None else "x")
            known = self.names[node] = self.unique(prefix + identifier(wanted))
        return known

    def operand(self, x: Any) -> str:
        """Return how the source says an operand."""
        if isinstance(x, Node):
            if x._op is None and x not in self.program.places:
                return self.constant(x._value)
            return self.name(x)
        if isinstance(x, Scalar):
            return self.number(x)
        if isinstance(x, (int, float)) and not isinstance(x, np.generic):
            return repr(x) if math.isfinite(x) else f"float({str(x)!r})"
        return self.constant(x)

    def constant(self, value: Any) -> str:
        """Return the name of an array that is held by reference."""
        self.kept.append(value)  # an id is good for as long as the object lives
        return self.held(value, f"c{len(self.objects)}")

    def filled(self, value: Any, dtype: Any) -> str:
        """Return the name of an array of no axes: half the cost of a Python number."""
        number = np.array(value, dtype)
        key = (str(number.dtype), number.tobytes())
        known = self.fills.get(key)
        if known is None:
            text = repr(value.item() if isinstance(value, np.generic) else value)
            digits = re.sub(r"\W", "_", text.replace("-", "minus_"))
            word = _NUMBER_NAMES.get(float(value)) or f"number_{digits}"
            known = self.fills[key] = self.unique(word)
            kind = "" if number.dtype == np.float64 else f", np.{number.dtype}"
            text = text if np.isfinite(number) else f"float({text!r})"
            self.constants.append(f"{known} = np.array({text}{kind})")
        return known

    def full(self, value: float, shape: tuple[int, ...], dtype: Any) -> str:
        """Return the name of an array filled with a number."""
        key = (value, shape, str(dtype))
        known = self.fulls.get(key)
        if known is None:
            word = {0.0: "zeros", 1.0: "ones"}[value]
            known = self.fulls[key] = self.unique(word)
            self.constants.append(f"{known} = np.{word}({shape!r}, np.{dtype})")
        return known

    def imported(self, function: Any) -> str:
        """Return the name under which a function of NumPy is imported."""
        name = getattr(function, "__name__", "")
        if getattr(np, name, None) is not function:
            return self.held(function, identifier(name) or "function")
        if name not in self.imports:
            self.imports[name] = name
        return self.imports[name]

    def prepared(self, wanted: str, text: str) -> str:
        """Return the name of something that the module makes before the first call."""
        known = self.scratch.get(text)
        if known is None:
            known = self.scratch[text] = self.unique(wanted)
            self.constants.append(f"{known} = {text}")
        return known

    def rate(self, x: Scalar, dtype: Any) -> str:
        """Return an array of no axes that is filled with a live number in each call."""
        key = (x.text, str(dtype))
        if key not in self.rates:
            base = self.number(x)
            name = self.rates[key] = self.unique(f"{base}_")
            kind = "" if dtype == np.float64 else f", np.{dtype}"
            self.constants.append(f"{name} = np.array(0.0{kind})")
        return self.rates[key]

    def number(self, x: Scalar) -> str:
        """Return the variable of a number that is computed once a call."""
        if x.text.isidentifier():
            return self.numbers.setdefault(x.text, x.text)
        if x.text not in self.numbers:
            self.numbers[x.text] = self.unique("n")
        return self.numbers[x.text]


def lower(program: Program, trace: Trace, *, check_finite: bool, trap: bool) -> Lowered:
    """Write a program as NumPy source."""
    phases = scheduled(program)
    buffers = plan(program, phases)
    writer = _Writer(program, trace, buffers, check_finite)
    source = _Source(writer, phases, trap=trap)
    source.write()
    text = "\n".join(writer.lines) + "\n"
    return Lowered(text, writer.namespace, writer.nodes, buffers, source.lent)


class _Source:
    """Writes the parts of the source in turn."""

    def __init__(
        self, writer: _Writer, phases: list[list[Any]], *, trap: bool
    ) -> None:
        self.phases = phases
        self.blocks: list[str] = []
        self.piece: dict[str, str] | None = None
        self.w = writer
        self.program = writer.program
        self.buffers = writer.buffers
        self.trap = trap
        self.body: list[tuple[str, Node | None]] = []
        self.sources = set(self.program.sources)
        self.flats: list[tuple[str, Any]] = []
        # Gradients that stay in their buffers until someone reads ``.grad``.
        self.lent: dict[Any, tuple[str, str]] = {}

    def write(self) -> None:
        w = self.w
        program = self.program
        arguments = self._arguments()
        reads = self._reads()
        header, w.lines = w.lines, []
        parts: list[list[tuple[str, Node | None]]] = []
        for items in self.phases:
            self.body = []
            last = None
            for item in items:
                where = self._where(item.nodes[0] if isinstance(item, Block) else item)
                if where != last:
                    self.body.append((f"# {where}", None))
                    last = where
                if isinstance(item, Block):
                    self._block(item)
                else:
                    self._line(item)
            parts.append(self.body)
        self.body = []
        self._lend()
        results = self._results()
        self._writes()
        copies = self.body
        w.lines = header
        self._preamble()
        w.write(f"def step({', '.join(arguments)}):")
        w.indent = "    "
        for line in reads:
            w.write(line)
        if self.trap:
            for leaf in program.sources:
                if leaf._op is None or leaf in program.places:
                    refuse = w.held(_refuse_nan, "refuse_nan")
                    w.write(f"{refuse}({w.operand(leaf)})", leaf)
        for line in self._numbers():
            w.write(line)
        for node, check in program.checks:
            if node._op is None or node in program.places:
                w.write(f"{w.held(check, 'check')}({w.operand(node)})", node)
        for i, part in enumerate(parts):
            if i == 0 and part and self.trap:
                # 0 * inf: gradients then take the careful way, as in eager.
                w.write('with np.errstate(invalid="raise"):')
                w.indent = "        "
            for text, node in part:
                w.write(text, node)
            w.indent = "    "
            if i == 0:
                for node, check in program.checks:
                    if node._op is not None and node not in program.places:
                        w.write(f"{w.held(check, 'check')}({w.operand(node)})", node)
        for text, node in copies:
            w.write(text, node)
        for line in self._states():
            w.write(line)
        w.write(f"return {results}")
        w.indent = ""
        self._after()
        del program

    # --- what comes in ---

    def _arguments(self) -> list[str]:
        found = {}
        for leaf, place in self.program.places.items():
            if isinstance(place, Argument):
                found[place.index] = self.w.name(leaf)
        return [found[i] for i in sorted(found)]

    def _reads(self) -> list[str]:
        """Values that live outside are read anew at each call."""
        w = self.w
        used = self._used()
        lines = []
        rows: dict[tuple[int, int], Slot] = {}
        names: dict[tuple[int, int], dict[int, str]] = {}
        for leaf, place in self.program.places.items():
            if isinstance(place, Slot):
                key = (id(place.optimizer), place.parameter)
                rows.setdefault(key, place)
                names.setdefault(key, {})[place.index] = w.name(leaf)
                continue
            if leaf not in used or isinstance(place, Argument):
                continue
            tensor = self._tensor(place.tensor)
            if isinstance(place, Value):
                lines.append(f"{w.name(leaf)} = {tensor}._value")
            else:
                lines.append(f"{w.name(leaf)} = {tensor}.grad")
        for text, source in w.trace.scalars.items():
            if isinstance(source, StateNumber):
                key = (id(source.optimizer), source.parameter)
                rows.setdefault(key, Slot(source.optimizer, source.parameter, 0))
                names.setdefault(key, {})[source.index] = text
                w.taken.add(text)
        for key, slot in rows.items():
            optimizer = self._optimizer(slot.optimizer)
            count = len(slot.optimizer._states[slot.parameter])
            parts = [names[key].get(j, "_") for j in range(count)]
            tail = "," if count == 1 else ""
            lines.append(
                f"{', '.join(parts)}{tail} = {optimizer}._states[{slot.parameter}]"
            )
        return lines

    def _used(self) -> set[Node]:
        used = {x for node in self.program.nodes for x in operands(node)}
        return used | set(self.program.outputs())

    def _tensor(self, tensor: Any) -> str:
        name = graph.name(tensor) or "t"
        return self.w.held(tensor, f"{identifier(name)}_tensor")

    def _optimizer(self, optimizer: Any) -> str:
        return self.w.held(optimizer, type(optimizer).__name__.lower())

    def _numbers(self) -> list[str]:
        """Learning rates and what is computed from them."""
        w = self.w
        lines = []
        for text, source in w.trace.scalars.items():
            if isinstance(source, Rate):
                optimizer = self._optimizer(source.optimizer)
                later = f" + {source.later}" if source.later else ""
                lines.append(f"{text} = {optimizer}.rate({optimizer}.steps{later})")
        lines += [f"{name} = {text}" for text, name in w.numbers.items() if name != text]
        lines += [f"{name}[()] = {w.numbers[text]}" for (text, _), name in w.rates.items()]
        return lines

    @staticmethod
    def _where(node: Node) -> str:
        scope = graph.scope(node)
        line = graph.line(node)
        place = "" if line is None else f"{line.file.rpartition('/')[2]}:{line.number}"
        return " ".join(x for x in (scope, place) if x) or "constants"

    # --- one node ---

    def _line(self, node: Any) -> None:
        w = self.w
        made = self.buffers.made.get(node)
        if made == "hoisted":
            return
        if node in self.buffers.banked:
            bank = self.buffers.banked[node]
            w.names[node] = self.buffers.name(node)
            if not bank.written:
                bank.written = True
                rate = next(x for x in inputs_of(node) if isinstance(x, Scalar))
                call = w.imported(np.multiply)
                args = f"{w.rate(rate, bank.dtype)}, {bank.name}, {bank.scaled}"
                self.body.append((f"{call}({args})", node))
            return
        name = w.name(node)
        if made is None or made == "view" or made == "fresh":
            text = self._expression(node, None)
            self.body.append((f"{name} = {text}", node))
        else:
            out = self._out(node)
            *first, last = self._into(node, out)
            self.body += [(text, node) for text in first]
            if out != name:
                call = not _is_statement(last)
                self.body.append((f"{name} = {last}" if call else last, node))
                if not call:
                    self.body.append((f"{name} = {out}", node))
            else:
                self.body.append((last, node))
        if self.trap and node in self.sources:
            self.body.append((f"{w.held(_refuse_nan, 'refuse_nan')}({name})", node))
        if w.check_finite and node._value.dtype.kind == "f":
            check = w.held(_Finite(node), "finite")
            self.body.append((f"{check}({name})", node))

    def _block(self, block: Block) -> None:
        """A loop over pieces; arrays of ours are cut beforehand."""
        w = self.w
        number = len(self.blocks) + 1
        known = dict(w.names)
        size = block.shape[0]
        columns: dict[str, str] = {}  # name in the loop -> what is cut for it
        inside: list[str] = []
        before = self.body
        self.body = []
        made = self.buffers.made
        seen: set[Node] = set()
        for node in block.nodes:
            if node in self.buffers.pieces:
                piece = self.buffers.pieces[node]
                columns[f"_p{piece}"] = f"_p{piece}[: cut.stop - cut.start]"
            for x in operands(node):
                cut = np.ndim(x._value) == len(block.shape) and (
                    x._value.shape[0] == size and x not in seen
                )
                outside = x not in block.inner and not any(x is n for n in block.nodes)
                if not cut or not outside:
                    continue
                seen.add(x)
                name = w.operand(x)
                part = w.unique(f"{name}_part")
                if x in self.buffers.home:
                    columns[part] = f"{self.buffers.name(x)}[cut]"
                else:
                    inside.append(f"{part} = {name}[cut]")
                w.names[x] = part
        outputs: list[str] = []
        for node in block.nodes:
            if np.ndim(node._value) == 0:
                before.append((f"{w.name(node)} = 0.0", node))
            elif made[node] == "fresh":
                name = w.name(node)
                shape, dtype = node._value.shape, node._value.dtype
                before.append((f"{name} = np.empty({shape!r}, np.{dtype})", node))
                part = w.unique(f"{name}_part")
                inside.append(f"{part} = {name}[cut]")
                w.names[node] = part
                known[node] = name
            elif node in self.buffers.direct:
                leaf = self.buffers.direct[node]
                full = known.get(leaf) or w.name(leaf)
                if w.names.get(leaf) == full:
                    part = w.unique(f"{full}_part")
                    inside.append(f"{part} = {full}[cut]")
                    w.names[leaf] = part
                    known[leaf] = full
                outputs.append(f"{w.unique(w.name(node))} = {full}")
                known[node] = full
            elif node in self.buffers.home:
                part = w.unique(f"{w.name(node)}_out")
                columns[part] = f"{self.buffers.name(node)}[cut]"
                known[node] = w.name(node)
                w.names[node] = w.unique(f"{w.name(node)}_part")
                outputs.append(f"{known[node]} = {self.buffers.name(node)}")
        self.piece = {}
        for node in block.nodes:
            self._block_line(node, block, columns)
        self.piece = None
        lines, self.body = self.body, before
        names = list(columns)
        if any(np.ndim(n._value) == 0 for n in block.nodes):
            count = block.rows * max(1, math.prod(block.shape[1:]))
            ones = w.full(1.0, (count,), np.dtype(np.float64))
            row = max(1, math.prod(block.shape[1:]))
            columns["ones_part"] = f"{ones}[: (cut.stop - cut.start) * {row}]"
            names.append("ones_part")
        cuts = (
            f"slice(i, min(i + {block.rows}, {size})) "
            f"for i in range(0, {size}, {block.rows})"
        )
        self.blocks.append(
            f"block_{number} = [({', '.join(['cut', *columns.values()])},) for cut in "
            f"({cuts})]"
        )
        self.body.append(
            (f"for {', '.join(['cut', *names])}, in block_{number}:", None)
        )
        self.body += [(f"    {text}", None) for text in inside]
        self.body += [(f"    {text}", node) for text, node in lines]
        self.body += [(text, None) for text in outputs]
        for node in [*block.nodes, *seen]:
            if node in known:
                w.names[node] = known[node]
        for leaf in self.buffers.direct.values():
            if leaf in known:
                w.names[leaf] = known[leaf]

    def _block_line(self, node: Any, block: Block, columns: dict[str, str]) -> None:
        w = self.w
        if np.ndim(node._value) == 0:
            x = w.operand(inputs_of(node)[0])
            flat = x if len(block.shape) == 1 else f"{x}.reshape(-1)"
            self.body.append((f"{w.name(node)} += {self._dot()}({flat}, ones_part)", node))
            return
        name = w.name(node)
        if node in self.buffers.pieces:
            out = f"_p{self.buffers.pieces[node]}"
        elif node in self.buffers.direct:
            out = w.names[self.buffers.direct[node]]
        elif self.buffers.made[node] == "fresh":
            out = name
        else:
            buffer = f"{self.buffers.name(node)}[cut]"
            out = next(k for k, v in columns.items() if v == buffer and "_out" in k)
        text = self._expression(node, out)
        self.body.append((text if out == name else f"{name} = {text}", node))

    def _out(self, node: Any) -> str:
        place = self.buffers.direct.get(node)
        if place is not None:
            return self.w.name(place)
        return self.buffers.name(node)

    def _args(self, node: Any) -> list[str]:
        return [self.w.operand(x) for x in inputs_of(node)]

    def _into(self, node: Any, out: str) -> list[str]:
        """Lines that compute a node into a buffer."""
        op: Op = node._op
        if node in self.buffers.masks:
            (x, _) = inputs_of(node)
            return [f"{self.w.imported(np.sign)}({self._bits(x)}, {out})"]
        if op.name == "multiply":
            nodes = [x for x in inputs_of(node) if isinstance(x, Node)]
            masks = [x for x in nodes if x in self.buffers.masks]
            if masks:
                return [self._masked(node, masks[0])]
        args = self._args(node)
        how = None if self.program.exact else way(node)
        if how is not None:
            return self._in_chunks(node, args, out, how)
        if op.name == "where":
            condition, x, y = args
            if np.asarray(self._value(node, 0)).dtype != np.bool_:
                condition = f"np.not_equal({condition}, 0)"
            lines = [f"np.copyto({out}, {x}, where={condition})"]
            if y != out:
                lines.insert(0, f"{out}[...] = {y}")
            return lines
        if op.name == "astype":
            return [f'np.copyto({out}, {args[0]}, casting="unsafe")']
        if op.name == "uniform":
            rng = self.w.held(node._settings["rng"], "rng")
            return [f"{rng}.random(out={out})"]
        if op.name == "scatter_add":
            index = self._index(node._settings["index"])
            basic = _is_basic(node._settings["index"])
            put = (
                f"{out}[{index}] = {args[0]}"
                if basic
                else f"np.add.at({out}, np.s_[{index}], {args[0]})"
            )
            return [f"{out}.fill(0)", put]
        if op.name == "getitem" or op.kind == "movement" and op.name not in _JOINS:
            return [f"{out}[...] = {self._expression(node, None)}"]
        return [self._expression(node, out)]

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

    def _in_chunks(self, node: Any, args: list[str], out: str, how: str) -> list[str]:
        left, right = args
        length, chunk = chunk_of(node)
        cuts = self.w.prepared(
            "cuts",
            f"[slice(i, i + {chunk}) for i in range(0, {length}, {chunk})]",
        )
        dtype = node._value.dtype
        (m, n), k = node._value.shape, np.shape(self._value(node, 0))[1]
        if how == "rows":
            return [
                f"for cut in {cuts}:",
                f"    {self._dot()}({left}[cut], {right}, {out}[cut])",
            ]
        if how == "sum":
            part = self.w.prepared("part", f"np.empty({(m, n)!r}, np.{dtype})")
            add, matmul = self.w.imported(np.add), self.w.imported(np.matmul)
            return [
                f"{out}.fill(0)",
                f"for cut in {cuts}:",
                f"    {matmul}({left}[:, cut], {right}[cut], {part})",
                f"    {add}({out}, {part}, {out})",
            ]
        part = self.w.prepared("turned", f"np.empty({(k, m)!r}, np.{dtype})")
        # Backwards: what was read last is still in the cache.
        return [
            f"{part}[...] = {left}.T",
            f"for cut in reversed({cuts}):",
            f"    {self._dot()}({right}.T[cut], {part}, {out}.T[cut])",
        ]

    def _value(self, node: Any, i: int) -> Any:
        x = inputs_of(node)[i]
        return x._value if isinstance(x, Node) else x

    def _expression(self, node: Any, out: str | None) -> str:
        """Return a call that gives a node's value, into a buffer if there is one."""
        op: Op = node._op
        args = self._args(node)
        settings = settings_of(node)
        tail = "" if out is None else f", out={out}"
        ufunc = ufunc_of(op)
        if ufunc is not None:
            if node._value.ndim == 0 and out is None and ufunc in _OPERATORS:
                return _OPERATORS[ufunc].format(*args)
            if node._value.ndim:
                args = self._operands(node, ufunc)
            if out is not None and ufunc not in (np.maximum, np.minimum):
                tail = f", {out}"
            return f"{self.w.imported(ufunc)}({', '.join(args)}{tail})"
        if op.name == "sum" and not self.program.exact and self._by_product(node):
            return self._product_sum(node, args[0], out)
        if op.name in _REDUCE:
            keep = ", keepdims=True" if settings["keepdims"] else ""
            axis = settings["axis"]
            return f"{_REDUCE[op.name]}({args[0]}, axis={axis!r}{keep}{tail})"
        if op.name == "matmul":
            ranks = [np.ndim(self._value(node, i)) for i in (0, 1)]
            if ranks == [2, 2]:
                tail = "" if out is None else f", {out}"
                return f"{self._dot()}({', '.join(args)}{tail})"
            return f"np.matmul({', '.join(args)}{tail})"
        if op.name == "einsum":
            return f"np.einsum({settings['subscripts']!r}, {', '.join(args)}{tail})"
        if op.name in _JOINS:
            axis = settings["axis"]
            return f"np.{op.name}(({', '.join(args)},), axis={axis!r}{tail})"
        if op.name == "cumsum":
            return f"np.cumsum({args[0]}, axis={settings['axis']!r}{tail})"
        if op.name == "transpose":
            axes = settings["axes"]
            return f"{args[0]}.T" if axes is None else f"{args[0]}.transpose({axes!r})"
        if op.name == "reshape":
            return f"np.reshape({args[0]}, {tuple(node._value.shape)!r})"
        if op.name == "broadcast_to":
            return f"np.broadcast_to({args[0]}, {tuple(node._value.shape)!r})"
        if op.name == "spread":
            shape = tuple(settings["shape"])
            kept = shapes.reduced(shape, settings["axis"], keepdims=True)
            return f"np.broadcast_to(np.reshape({args[0]}, {kept!r}), {shape!r})"
        if op.name == "getitem":
            return f"{args[0]}[{self._index(settings['index'])}]"
        if op.name == "where":
            return f"np.where({', '.join(args)})"
        body = self.w.held(op.body, identifier(op.name) + "_body")
        given = [f"{key}={self._setting(value)}" for key, value in settings.items()]
        return f"{body}({', '.join([*args, *given])})"

    def _dot(self) -> str:
        """The method of arrays: NumPy's function costs twice as much a call."""
        if "dot" not in self.w.fulls:
            self.w.fulls["dot"] = "dot"
            self.w.constants.insert(0, f"{self.w.fulls['dot']} = np.ndarray.dot")
        return self.w.fulls["dot"]

    def _operands(self, node: Any, ufunc: Any) -> list[str]:
        """Operands of a ufunc as arrays of the loop's own dtypes.

        A number as an array of no axes, and a row or column repeated into a scratch
        array of the full shape: either costs half a call otherwise.
        """
        inputs = inputs_of(node)
        kinds = tuple(_kind(x) for x in inputs)
        dtypes = ufunc.resolve_dtypes((*kinds, *([None] * ufunc.nout)))
        found = []
        shape, size = node._value.shape, node._value.size
        whole = self.piece is None
        for i, (x, dtype) in enumerate(zip(inputs, dtypes, strict=False)):
            number = number_of(x, self.program)
            if isinstance(x, Scalar):
                found.append(self.w.rate(x, dtype))
            elif number is not None:
                zeros = ufunc is np.maximum and number == 0 and dtype.kind == "f"
                zeros = zeros and whole
                found.append(
                    self.w.full(0.0, shape, dtype)
                    if zeros
                    else self.w.filled(number, dtype)
                )
            elif (
                isinstance(x, Node)
                and np.ndim(x._value)
                and x._value.shape != shape
                and size <= FEW
                and x._value.dtype == dtype
            ):
                found.append(self._repeated(x, i, shape, dtype))
            else:
                found.append(self.w.operand(x))
        return found

    def _repeated(self, x: Any, i: int, shape: Any, dtype: Any) -> str:
        key = ("repeated", i, shape, str(dtype))
        name = self.w.scratch.get(key)
        if name is None:
            name = self.w.scratch[key] = self.w.unique("repeated")
            self.w.constants.append(f"{name} = np.empty({shape!r}, np.{dtype})")
        self.body.append((f"{name}[...] = {self.w.operand(x)}", None))
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
        dot = self._dot()
        tail = "" if out is None else f", {out}"
        if len(axes) == value.ndim:
            ones = self.w.full(1.0, (value.size,), value.dtype)
            flat = x if value.ndim == 1 else self._flat(source, x)
            if out is not None:
                return f"{dot}({flat}, {ones}, {out}.reshape(()))"
            return f"{dot}({flat}, {ones})"
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

    # --- what goes out ---

    def _results(self) -> str:
        """Return the expression of the results: arrays that nothing else changes."""
        parts = []
        for x in self.program.results:
            text = self.w.operand(x)
            is_node = isinstance(x, Node)
            fresh = is_node and self.buffers.made.get(x) == "fresh"
            scalar = is_node and np.ndim(x._value) == 0 and x._op is not None
            if not fresh and not (scalar and x not in self.buffers.direct):
                name = self.w.unique("result")
                self.body.append((f"{name} = np.array({text})", None))
                text = name
            parts.append(text)
        return ", ".join(parts) + ("," if len(parts) == 1 else "") or "()"

    def _writes(self) -> None:
        """New values that could not be computed in place are written at the end."""
        places = {place: leaf for leaf, place in self.program.places.items()}
        for leaf, node in self.program.gradients:
            if leaf not in self.lent:
                tensor = self._tensor(leaf)
                self.body.append(
                    (f"{tensor}._grad = np.array({self.w.operand(node)})", node)
                )
        written = {places.get(place) for place, _ in self.program.writes}
        sources: dict[Node, str] = {}
        for _, node in self.program.writes:
            if self.buffers.root.get(node, node) in written and node not in sources:
                # It changes in one of the writes that follow.
                sources[node] = self.w.unique("old")
                text = f"{sources[node]} = np.array({self.w.operand(node)})"
                self.body.append((text, node))
        for place, node in self.program.writes:
            leaf = places.get(place)
            if node in self.buffers.direct and self.buffers.direct[node] is leaf:
                continue
            source = sources.get(node) or self.w.operand(node)
            if leaf is None:
                leaf = _leaf_of(place)
                self.w.names[leaf] = self._place_text(place)
            target = self.w.name(leaf)
            if self._used_or_read(leaf):
                self.body.append((f"np.copyto({target}, {source})", node))
            else:
                text = self._place_text(place)
                self.body.append((f"np.copyto({text}, {source})", node))

    def _lend(self) -> None:
        for leaf, node in self.program.gradients:
            hoisted = self.buffers.made.get(node) == "hoisted"
            if self.w.trace.spent[leaf] and (hoisted or node in self.buffers.home):
                name = self.w.unique(f"{self._tensor(leaf)}_lent")
                buffer = self.w.name(node) if hoisted else self.buffers.name(node)
                self.lent[leaf] = (name, buffer)

    def _used_or_read(self, leaf: Any) -> bool:
        if not hasattr(self, "_read"):
            self._read = self._used()
        place = self.program.places.get(leaf)
        return leaf in self._read or isinstance(place, Slot)

    def _place_text(self, place: Any) -> str:
        if isinstance(place, Value):
            return f"{self._tensor(place.tensor)}._value"
        if isinstance(place, Gradient):
            return f"{self._tensor(place.tensor)}._grad"
        optimizer = self._optimizer(place.optimizer)
        return f"{optimizer}._states[{place.parameter}][{place.index}]"

    def _states(self) -> list[str]:
        """Optimisers remember the new counts; their arrays were changed in place."""
        lines = []
        w = self.w
        for (optimizer, i), state in w.trace.new_states.items():
            if not any(isinstance(part, Scalar) for part in state):
                continue
            name = self._optimizer(optimizer)
            places = {
                place.index: w.name(leaf)
                for leaf, place in self.program.places.items()
                if isinstance(place, Slot)
                and place.optimizer is optimizer
                and place.parameter == i
            }
            parts = [
                part.text
                if isinstance(part, Scalar)
                else places.get(j, w.operand(part))
                for j, part in enumerate(state)
            ]
            lines.append(f"{name}._states[{i}] = ({', '.join(parts)},)")
        for optimizer, count in w.trace.steps.items():
            lines.append(f"{self._optimizer(optimizer)}.steps += {count}")
        return lines

    def _after(self) -> None:
        """What an eager step leaves behind besides numbers, for `Tensor` to read."""
        w = self.w
        w.write()
        w.write()
        w.write("def after(code, instruction, order):")
        w.indent = "    "
        before = len(w.lines)
        for place, _ in self.program.writes:
            if isinstance(place, Value):
                t = self._tensor(place.tensor)
                w.write(f"{t}._order = order")
                w.write(f"{t}._code = code")
                w.write(f"{t}._lasti = instruction")
                w.write(f"{t}._form = None")
        for leaf, spent in w.trace.spent.items():
            t = self._tensor(leaf)
            w.write(f"{t}._spent = {spent}")
            if leaf in self.lent:
                w.write(f"{t}._grad = {self.lent[leaf][0]}")
            elif spent and w.trace._gradients.get(leaf) is None:
                w.write(f"{t}._grad = None")
        if len(w.lines) == before:
            w.write("pass")
        w.indent = ""

    def _preamble(self) -> None:
        w = self.w
        w.write('"""A compiled step: buffers, then one assignment a line."""')
        w.write()
        w.write("import numpy as np")
        if w.imports:
            w.write(f"from numpy import {', '.join(sorted(w.imports))}")
        w.write()
        w.write("# The last argument of a call is the array that its result is written to.")
        for text in w.constants:
            w.write(text)
        for text in self.buffers.lines(w.name):
            w.write(text)
        for i, (shape, dtype) in enumerate(self.buffers.piece_kinds):
            w.write(f"_p{i} = np.empty({shape!r}, np.{dtype})")
        for text in self.blocks:
            w.write(text)
        for text, name in self.buffers.bits.items():
            w.write(f"{name} = {text}")
        for name, node in self.flats:
            w.write(f'{name} = {self.buffers.name(node)}.ravel("K")')
        w.write()
        w.write()


_JOINS = ("concatenate", "stack")


def _is_statement(text: str) -> bool:
    """Whether a line writes by itself, and gives no value that is wanted."""
    starts = ("np.copyto", "np.add.at", "    ", "for ", "sign(")
    return (
        text.startswith(starts)
        or "] = " in text
        or ".random(" in text
        or text.endswith("_bits)")
        or ".view(np.uint" in text
    )


def _kind(x: Any) -> Any:
    """What `ufunc.resolve_dtypes` takes for an operand: a dtype, or a Python type."""
    if isinstance(x, Node):
        return x._value.dtype
    if isinstance(x, bool):
        return np.dtype(bool)
    if isinstance(x, float) and not isinstance(x, np.generic):
        return float
    if isinstance(x, int):
        return int
    return np.asarray(x).dtype


def _refuse_nan(value: Any) -> None:
    """Take the careful way where the backward chose among values with a nan."""
    total = np.add.reduce(value, axis=None)
    if total != total:  # noqa: PLR0124 (only a nan differs from itself)
        raise FloatingPointError


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    simple = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, simple) and not isinstance(p, bool) for p in parts)


def _leaf_of(place: Any) -> Any:
    leaf = object.__new__(Node)
    leaf._op = None
    return leaf


class _Finite:
    """Raises where a value is not finite, and says whose it is."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __call__(self, value: Any) -> None:
        from tinygrad_nn.errors import DivergedError  # noqa: PLC0415

        if not np.isfinite(value).all():
            node = self.node
            assert node._op is not None  # noqa: S101
            scope = graph.scope(node)
            place = f" in {scope}" if scope else ""
            raise DivergedError(
                f"{node._op.name}{place}: expected finite numbers; got nan or inf at "
                f"{graph.line(node)}. Look at its operands, or lower the learning rate"
            )


_ = recording
