"""The C text of a step: what its pointers are, and its groups one after the other."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.blas import Blas, find_blas
from tinygrad_nn.compiler.c.calls import Call
from tinygrad_nn.compiler.c.expressions import FUNCTIONS, PREAMBLE, TYPES, literal
from tinygrad_nn.compiler.c.groups import REDUCTIONS, Group, planned, root_of
from tinygrad_nn.compiler.c.layout import (
    Access,
    Length,
    broadcast,
    in_order,
    is_view,
    seen,
)
from tinygrad_nn.compiler.c.loops import copied, looped
from tinygrad_nn.compiler.c.products import multiplied
from tinygrad_nn.compiler.c.regions import BLOCK
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.passes.fold import number_of
from tinygrad_nn.compiler.program import Program, Value, operands
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

__all__ = ["Lowered", "Outside", "Source", "lower"]

C_WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for "
    "goto if inline int long register restrict return short signed sizeof static struct "
    "switch typedef union unsigned void volatile while main p s m i j k o u v x y e "
    "arena scalars status step compute update bad NAN INFINITY tanh_of copysign memset "
    "dgemm sgemm feclearexcept fetestexcept FE_INVALID INT64_MIN i0 i1 i2 i3 i4 i5 "
    "linux unix b0 b1 b2 b3 b4".split()
)
PROTECTED = """\
// libc has a function `step` as well: without this, it would be called.
#pragma GCC visibility push(protected)"""
REPEAT = """
// Steps with the numbers of each in a row; returns how many were made.
long repeat(void **p, long n, long width, int *status)
{
    double *const numbers = p[1];
    long i = 0;
    for (; i < n; i++) {
        p[1] = numbers + i * width;
        if ((*status = step(p))) break;
    }
    p[1] = numbers;
    return i;
}
"""
ENDLESS = 1 << 60
LONGEST = 40
"""Groups of one C function: a compiler's time grows faster than a function."""


@dataclass(eq=False)
class Outside:
    """An entry of the pointer table that Python fills in.

    Attributes
    ----------
    kind
        ``"place"``, ``"constant"``, ``"result"``, ``"call"`` or ``"function"``.
    what
        A leaf, an array, the number of a result, a `Call`, or an address.
    """

    kind: str
    what: Any
    name: str
    dtype: Any = None
    written: bool = False


@dataclass(eq=False)
class Slot:
    """A stretch of the arena, and the nodes that live there in turn."""

    dtype: Any
    size: int
    nodes: list[str] = field(default_factory=list)
    offset: int = 0


@dataclass
class Lowered:
    """A step in C, and what Python must know of it."""

    text: str
    outside: list[Outside]
    scalars: list[str]
    arena: int
    naive: int
    views: dict[Node, tuple[int, Access]]
    fresh: dict[int, Outside]
    split: bool
    calls: list[Call]
    trapped: bool


class Source:
    """Writes the C text of a program."""

    def __init__(
        self, program: Program, *, check_finite: bool, trap: bool, split: bool
    ) -> None:
        self.program = program
        self.check_finite = check_finite
        self.trap = trap
        self.split = split
        self.blas: Blas | None = find_blas()
        self.plan = planned(program, again=not check_finite)
        live = set(program.nodes) | set(program.places)
        self.sources = [x for x in program.sources if x in live or x._op is None]
        self.taken: set[str] = set(C_WORDS | FUNCTIONS)
        self.counts: dict[str, int] = {}
        self.names: dict[Node, str] = {}
        self.outside: list[Outside] = [
            Outside("arena", None, "arena"),
            Outside("scalars", None, "scalars"),
        ]
        self.entries: dict[Any, Outside] = {}
        self.scalars: list[str] = []
        self.slots: list[Slot] = []
        self.free: dict[Any, list[Slot]] = {}
        self.home: dict[Node, Slot | Outside] = {}
        self.access: dict[Node, Access] = {}
        self.copies: dict[Node, Access] = {}
        self.aliases: dict[str, Any] = {}
        self.array_names: dict[int, str] = {}
        self.lines: list[str] = []
        self.parts: list[tuple[str, list[str]]] = []
        self.calls: list[Call] = []
        self.numbers = {node: i + 1 for i, node in enumerate(program.nodes)}
        self.naive = 0
        self.shown: dict[Node, tuple[Slot, Access]] = {}
        self.region = self.plan.region
        self.in_region = False
        self.prologue: list[str] = []
        self.blocks: dict[Node, Access] = {}
        self.block_head: list[str] = []
        self.last = self._last_reads()
        self.direct = self._direct()
        self.fresh: dict[int, Outside] = {}

    # --- names ---

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else has."""
        name, count = wanted, self.counts.get(wanted, 1)
        while name in self.taken:
            name, count = f"{wanted}_{count}", count + 1
        self.counts[wanted] = count
        self.taken.add(name)
        return name

    def name(self, node: Any) -> str:
        """Return the name of a node: the user's, or its op's."""
        known = self.names.get(node)
        if known is None:
            given = getattr(node, "_name", None)
            wanted = given or (node._op.name if node._op is not None else "c")
            word = identifier(wanted).encode("ascii", "replace").decode()
            known = self.names[node] = self.unique(word.replace("?", "_"))
        return known

    def scalar(self, x: Scalar) -> str:
        """Return a number that Python computes for each call."""
        if x.text not in self.scalars:
            self.scalars.append(x.text)
        return f"scalars[{self.scalars.index(x.text)}]"

    # --- memory ---

    def entry(self, kind: str, key: Any, what: Any, name: str, dtype: Any) -> Outside:
        """Return the entry of the pointer table for something outside."""
        known = self.entries.get((kind, key))
        if known is None:
            known = Outside(kind, what, name, dtype)
            self.entries[kind, key] = known
            self.outside.append(known)
        return known

    def read(self, x: Any) -> Access:
        """Return where the elements of an operand lie; copy it there if need be."""
        if not isinstance(x, Node):
            value = np.asarray(x)
            name = self.array_names.setdefault(id(x), "") or self.unique("c")
            self.array_names[id(x)] = name
            entry = self.entry("constant", id(x), x, name, value.dtype)
            return _whole(entry.name, value)
        if x in self.copies:
            return self.copies[x]
        if self.in_region and x in self.region.labels:
            return self._block_of(x)
        if is_view(x):
            base = self.read(inputs_of(x)[0])
            shown = seen(x, base)
            return self._copied(x, base) if shown is None else shown
        known = self.access.get(x)
        if known is None:
            kind = "place" if x in self.program.places else "constant"
            what = x if kind == "place" else x._value
            inside = x._op is not None and kind == "constant"
            assert not inside, "read before it is computed"  # noqa: S101 (a bug)
            entry = self.entry(kind, x, what, self.name(x), x._value.dtype)
            known = self.access[x] = _whole(entry.name, x._value)
        return known

    def _copied(self, x: Any, base: Access) -> Access:
        """Copy what no strides can show."""
        shape = inputs_of(x)[0]._value.shape
        whole = self.scratch(math.prod(shape), base.dtype, self.last.get(x, ENDLESS))
        whole = whole._replace(
            shape=shape, strides=in_order(shape, tuple(range(len(shape))))
        )
        self.emit(copied(base, whole))
        shown = seen(x, whole)
        assert shown is not None  # noqa: S101 (without gaps any shape fits)
        self.copies[x] = shown
        return shown

    def scratch(self, size: int, dtype: Any, last: int | None = None) -> Access:
        """Return memory that is free again after the current group, or a later one."""
        name = self.unique("packed")
        slot = self._slot(dtype, size, name)
        self.dying.setdefault(self.now if last is None else last, []).append(slot)
        return Access(name, dtype, 0, (size,), (1,))

    def _slot(self, dtype: Any, size: int, name: str) -> Slot:
        size = max(size, 1)
        self.naive += size * dtype.itemsize
        free = self.free.setdefault(dtype, [])
        fits = [slot for slot in free if slot.size >= size]
        if fits:
            slot = min(fits, key=lambda s: s.size)
            free.remove(slot)
        elif free:
            slot = max(free, key=lambda s: s.size)
            free.remove(slot)
            slot.size = size
        else:
            slot = Slot(dtype, size)
            self.slots.append(slot)
        slot.nodes.append(name)
        self.aliases[name] = slot
        return slot

    def store(self, node: Any, order: tuple[int, ...] | None = None) -> Access:
        """Return where a node is written: a result, a parameter, or a buffer."""
        if self.in_region and node in self.region.labels:
            return self._block_of(node)
        return self._stored(node, order)

    def _stored(self, node: Any, order: tuple[int, ...] | None = None) -> Access:
        known = self.access.get(node)
        if known is not None:
            return known
        shape, dtype = tuple(node._value.shape), node._value.dtype
        natural = tuple(range(len(shape)))
        leaf = self.direct.get(node)
        if leaf is not None:
            found = self.read(leaf)
            self.entries["place", leaf].written = True
        elif node in self.results and shape and node not in self.lent:
            number = self.results[node]
            entry = self.entry("result", number, node, self.name(node), dtype)
            self.fresh[number] = entry
            found = Access(entry.name, dtype, 0, shape, in_order(shape, natural))
        else:
            if self.last.get(node, 0) >= ENDLESS or order is None:
                order = natural
            slot = self._slot(dtype, math.prod(shape), self.name(node))
            self.home[node] = slot
            self.dying.setdefault(self.last.get(node, self.now), []).append(slot)
            found = Access(self.name(node), dtype, 0, shape, in_order(shape, order))
        self.access[node] = found
        return found

    def is_stored(self, node: Any) -> bool:
        """Return whether anything but its own group reads a node."""
        return node in self.last

    def _sources(self, x: Any) -> list[Any]:
        """Return what an operand is read from, and whether as it lies."""
        if not isinstance(x, Node):
            return []
        root = root_of(x)
        found = [x] if root is not x else []
        if root in self.plan.again:
            for y in inputs_of(root):
                found += self._sources(y)
            return found
        while is_view(x):
            x = inputs_of(x)[0]
            if is_view(x):
                found.append(x)
        return [*found, root]

    def _last_reads(self) -> dict[Node, int]:
        last: dict[Node, int] = {}
        self.leaf_reads: dict[Node, dict[int, bool]] = {}
        plan = self.plan
        for i, group in enumerate(plan.groups):
            for node in group.nodes:
                for x in operands(node):
                    for z in self._sources(x):
                        if is_view(z):
                            last[z] = max(last.get(z, -1), i)
                        elif z in plan.where:
                            if plan.where[z] != i:
                                last[z] = max(last.get(z, -1), i)
                        else:
                            aligned = (
                                group.kind == "loop"
                                and node is not group.head
                                and z._value.shape == group.shape
                                and not any(is_view(w) for w in self._sources(x))
                            )
                            reads = self.leaf_reads.setdefault(z, {})
                            reads[i] = reads.get(i, True) and aligned
        region = plan.region
        if region is not None:  # what it reads is read again for each block
            for z, i in last.items():
                where = plan.where.get(root_of(z), -1)
                if where < region.start <= i < region.stop:
                    last[z] = region.stop - 1
                inside = region.start <= where < region.stop
                if inside and i < region.stop and z in region.sums:
                    last[z] = region.stop
        for x in [*self.program.outputs(), *self.sources]:
            for z in self._sources(x):
                last[z] = ENDLESS
        self.results: dict[Node, int] = {}
        for i, x in enumerate(self.program.results):
            if isinstance(x, Node) and x in plan.where:
                self.results.setdefault(x, i)
        self.lent = {root_of(x) for _, x in self.program.gradients}
        self.lent |= {root_of(x) for _, x in self.program.writes}
        self.lent |= {root_of(x) for x, _ in self.program.checks}
        return last

    def _direct(self) -> dict[Node, Node]:
        """Return new values that are computed right into what they replace."""
        found: dict[Node, Node] = {}
        leaves = {place: leaf for leaf, place in self.program.places.items()}
        seen_nodes: dict[Node, int] = {}
        for _, node in self.program.writes:
            seen_nodes[node] = seen_nodes.get(node, 0) + 1
        kept = {root_of(x) for x in self.program.results if isinstance(x, Node)}
        kept |= {root_of(x) for _, x in self.program.gradients}
        kept |= {root_of(x) for x, _ in self.program.checks}
        kept |= {root_of(x) for x in self.sources}
        for place, node in self.program.writes:
            leaf = leaves.get(place)
            where = self.plan.where.get(node)
            if leaf is None or where is None or seen_nodes[node] > 1 or node in kept:
                continue
            group = self.plan.groups[where]
            if leaf in kept or not group.update or group.kind != "loop":
                continue
            if node._op.name in REDUCTIONS or node is group.head:
                continue
            value = leaf._value
            if value.shape != node._value.shape or value.dtype != node._value.dtype:
                continue
            reads = self.leaf_reads.get(leaf, {})
            late = any(i > where or (i == where and not ok) for i, ok in reads.items())
            copied_later = any(root_of(x) is leaf for _, x in self.program.writes)
            if not late and not copied_later and _is_alone(place, self.program):
                found[node] = leaf
        return found

    # --- blocks ---

    def block_axis(self) -> int | None:
        """Return the axis that the current group goes through in blocks."""
        if not self.in_region:
            return None
        axis: int | None = self.region.axes[self.now - self.region.start]
        return axis

    def block_shape(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        """Return a shape whose axis has the length of a block."""
        length = self.region.length
        m = BLOCK if length % BLOCK == 0 else Length(length)
        return (*shape[:axis], m, *shape[axis + 1 :])

    def extent(self, node: Any) -> int:
        """Return how many elements the memory of a node has."""
        size = math.prod(node._value.shape)
        if self.in_region and node in self.region.labels:
            return size // self.region.length * BLOCK
        return size

    def adds(self, node: Any) -> bool:
        """Return whether a node is added up block by block."""
        return self.in_region and node in self.region.sums

    def _block_of(self, node: Any) -> Access:
        """Return a block of an array: its own memory, or a part of the whole."""
        known = self.blocks.get(node)
        if known is not None:
            return known
        shape, dtype = tuple(node._value.shape), node._value.dtype
        axis = self.region.labels[node]
        where = self.plan.where.get(node, -1)
        inside = self.region.start <= where < self.region.stop
        others = tuple(i for i in range(len(shape)) if i != axis)
        small = tuple(BLOCK if i == axis else s for i, s in enumerate(shape))
        strides = in_order(small, (*others, axis))
        size = math.prod(small)
        if inside and self.last.get(node, -1) < self.region.stop:
            slot = self._slot(dtype, size, self.name(node))
            self.dying.setdefault(self.last.get(node, self.now), []).append(slot)
            found = Access(self.name(node), dtype, 0, shape, strides)
        else:
            whole = self._stored(node) if inside else self._outer(node)
            step = whole.strides[axis]
            shift = "j0" if step == 1 else f"{step} * j0"
            T = TYPES[str(dtype)]
            name = self.unique(f"{whole.pointer}_j")
            const = "" if inside else "const "
            head = f"{const}{T} *const {name} = {whole.pointer} + {shift};"
            self.block_head.append(head)
            found = whole._replace(pointer=name)
            if step != 1 and not inside:  # laid along the axis, for this block
                kept = Access(self.unique(f"{whole.pointer}_block"), dtype, 0, shape, strides)
                slot = self._slot(dtype, size, kept.pointer)
                self.dying.setdefault(self.region.stop, []).append(slot)
                m = self.block_shape(shape, axis)
                self.block_head += copied(
                    found._replace(shape=m), kept._replace(shape=m)
                )
                found = kept
        self.blocks[node] = found
        return found

    def _outer(self, node: Any) -> Access:
        self.in_region = False
        found = self.read(node)
        self.in_region = True
        return found

    def _open_region(self) -> None:
        """Begin the loop over blocks; what outlives it gets its memory before."""
        region = self.region
        for group in self.plan.groups[region.start : region.stop]:
            for node in group.nodes:
                if node in region.sums or self.last.get(node, -1) >= region.stop:
                    self._stored(node)
        # What comes from outside and must be laid out anew has memory of its own, too.
        self.in_region = True
        for node in region.labels:
            where = self.plan.where.get(node, -1)
            inside = region.start <= where < region.stop
            if not inside and node in self._read_inside():
                self._block_of(node)
        self.outer_lines, self.lines = self.lines, []

    def _read_inside(self) -> set[Node]:
        if not hasattr(self, "_inside"):
            region = self.region
            self._inside = {
                root_of(z)
                for group in self.plan.groups[region.start : region.stop]
                for node in group.nodes
                for x in operands(node)
                for z in self._sources(x)
            }
        return self._inside

    def _close_region(self) -> None:
        """End the loop over blocks."""
        region, inside = self.region, self.lines
        self.in_region = False
        self.lines = self.outer_lines
        for text in dict.fromkeys(self.prologue):
            start, size, pointer = text.split()
            self.emit([f"for (long i = 0; i < {size}; i++) {pointer}[i] = {start};"])
        n = region.length
        self.emit([f"for (long j0 = 0; j0 < {n}; j0 += {BLOCK}) {{"])
        if n % BLOCK:
            self.emit([f"    const long m = {n} - j0 < {BLOCK} ? {n} - j0 : {BLOCK};"])
        self.emit([f"    {line}" for line in self.block_head + inside])
        self.emit(["}"])

    # --- text ---

    def emit(self, lines: list[str]) -> None:
        """Add lines to the current part."""
        self.lines += lines

    def written(self) -> Lowered:
        """Return the whole."""
        groups = self.plan.groups
        self.dying: dict[int, list[Slot]] = {}
        self.now = 0
        count = 0
        line = None
        self._start("compute")
        updating = False
        for i, group in enumerate(groups):
            self.now = i
            if self.region is not None and i == self.region.start:
                self._open_region()
            if group.nodes:
                if group.update and not updating:
                    self._end_of_compute()
                    updating, count = True, 0
                    self._start("update")
                where = _where(group.nodes[-1])
                if where != line:
                    self.emit([f"// {where}"])
                    line = where
                self._group(group)
                count += 1
                if count >= LONGEST and not self.in_region:
                    count = 0
                    self._start("update" if updating else "compute")
            if self.region is not None and i == self.region.stop - 1:
                self._close_region()
            for slot in self.dying.pop(i, ()):
                self.free[slot.dtype].append(slot)
        self.now = len(groups)
        if not updating:
            self._end_of_compute()
            self._start("update")
        self._ends()
        return self._assembled()

    def _start(self, phase: str) -> None:
        self.lines = []
        self.parts.append((phase, self.lines))

    def _group(self, group: Group) -> None:
        if group.kind == "loop":
            self.emit(looped(self, group))
        elif group.kind == "product":
            (node,) = group.nodes
            self.emit(multiplied(self, node))
        elif group.kind == "join":
            self._joined(group.nodes[0])
        elif group.kind == "scatter":
            self._scattered(group.nodes[0])
        else:
            self._called(group)
        if self.check_finite and group.kind not in ("loop", "call"):
            for node in group.nodes:
                self.emit(self._finite(node))

    def _finite(self, node: Any) -> list[str]:
        if node._value.dtype.kind != "f":
            return []
        x = self.store(node)
        size = math.prod(x.shape)
        return [
            "{",
            "    int bad = 0;",
            "    #pragma omp simd reduction(|: bad)",
            f"    for (long i = 0; i < {size}; i++)",
            f"        bad |= !({x.pointer}[i] - {x.pointer}[i] == 0);",
            f"    if (bad) return {self.numbers[node]};",
            "}",
        ]

    def _joined(self, node: Any) -> None:
        """Copy the parts of a concatenate or a stack side by side."""
        out = self.store(node)
        stacked = node._op.name == "stack"
        axis = settings_of(node)["axis"] % len(out.shape)
        start = 0
        for x in inputs_of(node):
            part = self.read(x)
            size = 1 if stacked else part.shape[axis]
            if stacked:
                shape = (*part.shape[:axis], 1, *part.shape[axis:])
                strides = (*part.strides[:axis], 0, *part.strides[axis:])
                part = part._replace(shape=shape, strides=strides)
            target = out._replace(
                offset=out.offset + start * out.strides[axis], shape=part.shape
            )
            self.emit(copied(part, target))
            start += size

    def _scattered(self, node: Any) -> None:
        """Fill with zeros, then copy to where an index points."""
        out = self.store(node)
        size = math.prod(out.shape)
        T = TYPES[str(out.dtype)]
        self.emit([f"memset({out.pointer}, 0, {size} * sizeof({T}));"])
        given = inputs_of(node)[0]
        index = settings_of(node)["index"]
        from tinygrad_nn.compiler.c.layout import _indexed  # noqa: PLC0415

        target = _indexed(out, index)
        self.emit(copied(broadcast(self.read(given), target.shape), target))

    def _called(self, group: Group) -> None:
        """Let Python compute a node; the C compiler must not look across."""
        (node,) = group.nodes
        for x in operands(node):
            self.read(x)
        for x in inputs_of(node):
            if isinstance(x, Scalar):
                self.scalar(x)  # Python reads it among the numbers of the call
        out = self.store(node)
        phase = self.parts[-1][0]
        call = Call(node, out)
        self.calls.append(call)
        called = self.unique(f"python_{node._op.name}")
        entry = self.entry("call", node, call, called, None)
        self._start(phase + " call")
        self.emit([f"if (((int (*)(void)){entry.name})()) return -2;"])
        self._start(phase)
        if self.check_finite:
            self.emit(self._finite(node))

    def _end_of_compute(self) -> None:
        """Look for what the careful program must do, before anything is updated."""
        if not self.trap:
            return
        self._start("compute")
        for node in self.sources:
            where = self.plan.where.get(root_of(node))
            late = where is not None and self.plan.groups[where].update
            if node._value.dtype.kind != "f" or late:
                continue
            whole = self.read(root_of(node))  # more than a view shows, at most
            size = math.prod(whole.shape)
            self.emit(
                [
                    "{",
                    "    int bad = 0;",
                    "    #pragma omp simd reduction(|: bad)",
                    f"    for (long i = 0; i < {size}; i++)",
                    f"        bad |= {whole.pointer}[i] != {whole.pointer}[i];",
                    "    if (bad) return -1;",
                    "}",
                ]
            )

    def _ends(self) -> None:
        """Write what could not be computed in place, and results that are views."""
        writes = []
        for place, node in self.program.writes:
            if node in self.direct:
                continue
            leaf = self._leaf(place)
            source = self.read(node)
            if root_of(node) not in self.plan.where:  # may be written itself
                kept = self.scratch(math.prod(source.shape), source.dtype)
                natural = tuple(range(len(source.shape)))
                kept = kept._replace(
                    shape=source.shape, strides=in_order(source.shape, natural)
                )
                self.emit(copied(source, kept))
                source = kept
            writes.append((source, leaf))
        for i, x in enumerate(self.program.results):
            if isinstance(x, Node) and i not in self.fresh:
                source = self.read(x)
                if not source.shape and root_of(x) in self.home:
                    self.shown[x] = self._shown(x)
                    continue
                entry = self.entry(
                    "result", i, x, self.unique(f"result_{i}"), x._value.dtype
                )
                natural = tuple(range(len(source.shape)))
                target = Access(
                    entry.name,
                    source.dtype,
                    0,
                    source.shape,
                    in_order(source.shape, natural),
                )
                self.fresh[i] = entry
                self.emit(copied(source, target))
        for _, x in self.program.gradients:
            if root_of(x) in self.home:
                self.shown[x] = self._shown(x)
        for source, leaf in writes:
            target = self.read(leaf)
            self.entries["place", leaf].written = True
            self.emit(copied(broadcast(source, target.shape), target))

    def _shown(self, x: Any) -> tuple[Slot, Access]:
        """Return where Python finds a node, which may be a view of another."""
        access = self.read(x)
        slot = self.aliases[access.pointer]
        return slot, access

    def _leaf(self, place: Any) -> Any:
        """Return the leaf of a place, made up if nothing reads it."""
        if not hasattr(self, "leaves"):
            self.leaves = {place: leaf for leaf, place in self.program.places.items()}
        leaf = self.leaves.get(place)
        if leaf is None:
            from tinygrad_nn.compiler.program import constant_leaf  # noqa: PLC0415

            if isinstance(place, Value):
                value = place.tensor._value
            else:
                value = place.optimizer._states[place.parameter][place.index]
            leaf = self.leaves[place] = constant_leaf(value, "state")
            self.program.places[leaf] = place  # type: ignore[index]
        return leaf

    def _assembled(self) -> Lowered:
        offset = 0
        for slot in self.slots:
            slot.offset = offset
            offset += -(-slot.size * slot.dtype.itemsize // 64) * 64
        bodies = {phase: [] for phase in ("compute", "update")}  # type: ignore[var-annotated]
        functions: list[str] = []
        for phase, lines in self.parts:
            kind = phase.split()[0]
            text = "\n".join(lines)
            if not text.strip():
                continue
            if phase.endswith("call"):
                bodies[kind] += self._call_lines(lines)
                continue
            name = f"{kind}_{sum(f.count(f'int {kind}_') for f in functions) + 1}"
            functions.append(self._function(name, lines))
            bodies[kind].append(f"if ((status = {name}(p))) return status;")
        trap = self.trap
        mains = []
        names = ["compute", "update"]
        for kind in names:
            body = ["int status;", *bodies[kind]]
            if kind == "compute" and trap:
                body = [
                    "int status;",
                    "feclearexcept(FE_INVALID);",
                    *bodies[kind],
                    "if (fetestexcept(FE_INVALID)) return -1;",
                ]
            mains.append(
                "\n".join(
                    [
                        f"int {kind}(void *const *p)",
                        "{",
                        *(f"    {line}" for line in body),
                        "    (void)status;",
                        "    return 0;",
                        "}",
                    ]
                )
            )
        mains.append(
            "int step(void *const *p)\n{\n    int status = compute(p);\n"
            "    return status ? status : update(p);\n}"
        )
        mains.append(REPEAT.strip())
        parts = [PREAMBLE.rstrip(), *self._gemm(), *functions, PROTECTED, *mains]
        text = "\n\n".join(parts) + "\n"
        views = {
            node: (slot.offset, self.access[node])
            for node, slot in self.home.items()
            if isinstance(slot, Slot)
        }
        views |= {x: (slot.offset, access) for x, (slot, access) in self.shown.items()}
        return Lowered(
            text,
            self.outside,
            self.scalars,
            offset,
            self.naive,
            views,
            self.fresh,
            self.split,
            self.calls,
            trap,
        )

    def _call_lines(self, lines: list[str]) -> list[str]:
        found = []
        for line in lines:
            for i, entry in enumerate(self.outside):
                if entry.kind == "call" and re.search(rf"\b{entry.name}\b", line):
                    found.append(re.sub(rf"\b{entry.name}\b", f"p[{i}]", line))
        if self.trap:
            return [
                "if (fetestexcept(FE_INVALID)) return -1;",
                *found,
                "feclearexcept(FE_INVALID);",
            ]
        return found

    def _gemm(self) -> list[str]:
        if self.blas is None:
            return []
        integer = f"int{self.blas.integer_bits}_t"
        return [
            "\n".join(
                f"typedef void {name}(int, int, int, {integer}, {integer}, {integer}, "
                f"{T}, const {T} *, {integer}, const {T} *, {integer}, {T}, {T} *, "
                f"{integer});"
                for name, T in (("dgemm", "double"), ("sgemm", "float"))
            )
        ]

    def _function(self, name: str, lines: list[str]) -> str:
        words = set(re.findall(r"[A-Za-z_]\w*", "\n".join(lines)))
        heads = []
        for i, entry in enumerate(self.outside):
            if entry.name not in words or entry.kind == "arena":
                continue
            if entry.kind == "scalars":
                heads.append("const double *restrict const scalars = p[1];")
            elif entry.kind == "function":
                T = entry.name.rsplit("_", 1)[-1]
                heads.append(f"{T} *const {entry.name} = ({T} *)p[{i}];")
            else:
                T = TYPES[str(entry.dtype)]
                const = "" if entry.written or entry.kind == "result" else "const "
                heads.append(f"{const}{T} *restrict const {entry.name} = p[{i}];")
        inside: list[str] = []
        for number, slot in enumerate(self.slots):
            names = [n for n in dict.fromkeys(slot.nodes) if n in words]
            if not names:
                continue
            T = TYPES[str(slot.dtype)]
            first = names[0] if len(names) == 1 else f"_{number}"
            inside.append(
                f"{T} *restrict const {first} = ({T} *)(arena + {slot.offset});"
            )
            if len(names) > 1:
                inside += [f"{T} *const {other} = {first};" for other in names]
        if inside:
            heads.append("char *const arena = p[0];")
        heads += inside
        return "\n".join(
            [
                f"static __attribute__((noinline)) int {name}(void *const *p)",
                "{",
                *(f"    {line}" for line in heads),
                *(f"    {line}" if line.strip() else "" for line in lines),
                "    return 0;",
                "}",
            ]
        )

    def gemm(self, dtype: Any) -> str:
        """Return the name of the pointer to the BLAS's product."""
        assert self.blas is not None  # noqa: S101 (asked for where there is one)
        name = "sgemm" if dtype == np.float32 else "dgemm"
        address = getattr(self.blas, name)
        return self.entry("function", name, address, f"blas_{name}", None).name

    def operand_text(self, x: Any, dtype: Any) -> str | None:
        """Return the text of an operand that is one number, in a dtype; else None."""
        if isinstance(x, Scalar):
            text = self.scalar(x)
            return text if dtype == np.float64 else f"({TYPES[str(dtype)]}){text}"
        number = number_of(x, self.program)
        if number is None:
            return None
        return literal(number, dtype)


def lower(program: Program, *, check_finite: bool, trap: bool, split: bool) -> Lowered:
    """Write a program as C."""
    source = Source(program, check_finite=check_finite, trap=trap, split=split)
    return source.written()


def _whole(name: str, value: Any) -> Access:
    shape = tuple(np.shape(value))
    dtype = value.dtype
    return Access(name, dtype, 0, shape, in_order(shape, tuple(range(len(shape)))))


def _where(node: Any) -> str:
    scope, line = graph.scope(node), graph.line(node)
    place = "" if line is None else f"{line.file.rpartition('/')[2]}:{line.number}"
    return " ".join(x for x in (scope, place) if x) or "constants"


def _is_alone(place: Any, program: Program) -> bool:
    """Whether no other leaf may show the array of a place."""
    if not isinstance(place, Value):
        return True
    array = place.tensor._value
    others = [
        other.tensor._value
        for other in program.places.values()
        if isinstance(other, Value) and other is not place
    ]
    return not any(
        other is not array and np.may_share_memory(array, other) for other in others
    )
