"""The C text of a step: its groups one after the other, and what comes after them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.blas import Blas, find_blas
from tinygrad_nn.compiler.c.curves import tails
from tinygrad_nn.compiler.c.expressions import STORED, TYPES, literal
from tinygrad_nn.compiler.c.groups import Group, planned, root_of
from tinygrad_nn.compiler.c.layout import Access, broadcast, in_order, indexed
from tinygrad_nn.compiler.c.loops import copied, looped
from tinygrad_nn.compiler.c.names import Names
from tinygrad_nn.compiler.c.places import Places
from tinygrad_nn.compiler.c.products import multiplied
from tinygrad_nn.compiler.c.reads import ENDLESS, found_reads
from tinygrad_nn.compiler.c.regions import BLOCK
from tinygrad_nn.compiler.c.tables import Call, Lowered, Slot
from tinygrad_nn.compiler.c.text import Part, assembled, laid_out
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.program import Program, Value, constant_leaf, operands
from tinygrad_nn.scalars import Scalar

__all__ = ["Source", "lower"]

LONGEST = 40
"""Groups of one C function: a compiler's time grows faster than a function."""


class Source:
    """Writes a program; the files of loops and products ask it for what they need.

    Attributes
    ----------
    names, places
        What things are called, and where they lie.
    tails : set
        Logarithms ``log1p`` of something between 0 and 1.
    numbers : dict
        Node to the status that says it is not finite.
    """

    def __init__(self, program: Program, *, check_finite: bool, trap: bool) -> None:
        self.program = program
        self.check_finite = check_finite
        self.trap = trap
        self.blas: Blas | None = find_blas()
        self.plan = planned(program, again=not check_finite)
        self.names = Names()
        self.reads = found_reads(program, self.plan)
        self.parts: list[Part] = []
        self.places = Places(program, self.plan, self.names, self.reads, self.parts)
        self.tails = tails(program)
        self.numbers = {node: i + 1 for i, node in enumerate(program.nodes)}
        self.scalars: list[str] = []
        self.calls: list[Call] = []
        self._leaves = {place: leaf for leaf, place in program.places.items()}
        self._shown: dict[Node, tuple[Slot, Access]] = {}
        self._aside: list[str] = []

    # --- what loops and products ask for ---

    def emit(self, lines: list[str]) -> None:
        """Add lines to the current part."""
        self.parts[-1].lines += lines

    def scalar(self, x: Scalar) -> str:
        """Return a number that Python computes for each call."""
        if x.text not in self.scalars:
            self.scalars.append(x.text)
        return f"scalars[{self.scalars.index(x.text)}]"

    def gemm(self, dtype: Any) -> str:
        """Return the name of the pointer to the BLAS's product."""
        assert self.blas is not None  # noqa: S101 (asked for where there is one)
        name = "sgemm" if dtype == np.float32 else "dgemm"
        address = getattr(self.blas, name)
        entry = self.places.entry("function", name, address, f"blas_{name}", None)
        return entry.name

    def operand_text(self, x: Any, dtype: Any) -> str | None:
        """Return the text of an operand that is one number, in a dtype; else None."""
        if isinstance(x, Scalar):
            text = self.scalar(x)
            return text if dtype == np.float64 else f"({TYPES[str(dtype)]}){text}"
        number = number_of(x, self.program)
        return None if number is None else literal(number, dtype)

    # --- groups in order ---

    def written(self) -> Lowered:
        """Return the whole."""
        region = self.plan.region
        count, line, updating = 0, None, False
        self._start("compute")
        for i, group in enumerate(self.plan.groups):
            self.places.now = i
            if region is not None and i == region.start:
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
                if count >= LONGEST and not self.places.in_region:
                    count = 0
                    self._start(self.parts[-1].phase)
            if region is not None and i == region.stop - 1:
                self._close_region()
            self.places.passed(i)
        self.places.now = len(self.plan.groups)
        if not updating:
            self._end_of_compute()
            self._start("update")
        self._ends()
        return self._lowered()

    def _start(self, phase: str) -> None:
        self.parts.append(Part(phase))

    def _group(self, group: Group) -> None:
        if group.kind == "loop":
            self.emit(looped(self, group))
        elif group.kind == "product":
            self.emit(multiplied(self, group.nodes[0]))
        elif group.kind == "join":
            self._joined(group.nodes[0])
        elif group.kind == "scatter":
            self._scattered(group.nodes[0])
        else:
            self._called(group.nodes[0])
        if self.check_finite and group.kind != "loop":
            (node,) = group.nodes
            if node._value.dtype.kind == "f":
                self._look(
                    self.places.store(node), "!({0} - {0} == 0)", self.numbers[node]
                )

    def _look(self, x: Access, bad: str, status: int) -> None:
        """Leave with a status if an element of an array is bad."""
        if str(x.dtype) not in TYPES:
            return  # Python computed it, and has looked
        size = math.prod(x.shape)
        self.emit(
            [
                "{",
                "    int bad = 0;",
                "    #pragma omp simd reduction(|: bad)",
                f"    for (long i = 0; i < {size}; i++)",
                f"        bad |= {bad.format(f'{x.pointer}[i]')};",
                f"    if (bad) return {status};",
                "}",
            ]
        )

    def _joined(self, node: Any) -> None:
        """Copy the parts of a concatenate or a stack side by side."""
        out = self.places.store(node)
        stacked = node._op.name == "stack"
        axis = settings_of(node)["axis"] % len(out.shape)
        start = 0
        for x in inputs_of(node):
            part = self.places.read(x)
            if stacked:
                shape = (*part.shape[:axis], 1, *part.shape[axis:])
                strides = (*part.strides[:axis], 0, *part.strides[axis:])
                part = part._replace(shape=shape, strides=strides)
            offset = out.offset + start * out.strides[axis]
            self.emit(copied(part, out._replace(offset=offset, shape=part.shape)))
            start += part.shape[axis]

    def _scattered(self, node: Any) -> None:
        """Fill with zeros, then copy to where an index points."""
        out = self.places.store(node)
        T = STORED[str(out.dtype)]
        size = math.prod(out.shape)
        self.emit([f"memset({out.pointer}, 0, {size} * sizeof({T}));"])
        target = indexed(out, settings_of(node)["index"])
        given = self.places.read(inputs_of(node)[0])
        self.emit(copied(broadcast(given, target.shape), target))

    def _called(self, node: Any) -> None:
        """Let Python compute a node; the C compiler must not look across."""
        for x in operands(node):
            self.places.read(x)
        for x in inputs_of(node):
            if isinstance(x, Scalar):
                self.scalar(x)  # Python reads it among the numbers of the call
        phase = self.parts[-1].phase
        call = Call(node, self.places.store(node), phase == "update")
        self.calls.append(call)
        name = self.names.unique(f"python_{node._op.name}")
        entry = self.places.entry("call", node, call, name, None)
        self.parts.append(Part(phase, call=entry))
        self._start(phase)

    # --- regions ---

    def _open_region(self) -> None:
        """Begin the loop over blocks; what outlives it gets its memory before."""
        region, places = self.plan.region, self.places
        inside = [
            n for g in self.plan.groups[region.start : region.stop] for n in g.nodes
        ]
        for node in inside:
            if node in region.sums or self.reads.last.get(node, -1) >= region.stop:
                places.stored(node)
        places.in_region = True
        made = set(inside)
        read = {z for n in inside for x in operands(n) for z in self.plan.sources_of(x)}
        for node in region.labels:
            if node not in made and node in read:
                places.block_of(node)
        # The loop's lines are put together aside, and follow what they set to zero.
        self._aside, self.parts[-1].lines = self.parts[-1].lines, []

    def _close_region(self) -> None:
        """End the loop over blocks."""
        places, n = self.places, self.plan.region.length
        places.in_region = False
        inside = [*places.block_head, *self.parts[-1].lines]
        self.parts[-1].lines = self._aside
        self.emit(list(dict.fromkeys(places.prologue)))
        self.emit([f"for (long j0 = 0; j0 < {n}; j0 += {BLOCK}) {{"])
        if n % BLOCK:
            self.emit([f"    const long m = {n} - j0 < {BLOCK} ? {n} - j0 : {BLOCK};"])
        self.emit([f"    {line}" for line in inside])
        self.emit(["}"])

    # --- what comes after ---

    def _end_of_compute(self) -> None:
        """Look for what the careful program must do, before anything is updated."""
        if not self.trap:
            return
        self._start("compute")
        for node in self.reads.sources:
            where = self.plan.where.get(root_of(node))
            late = where is not None and self.plan.groups[where].update
            if node._value.dtype.kind == "f" and not late:
                whole = self.places.read(root_of(node))  # at most, more than it shows
                self._look(whole, "{0} != {0}", -1)

    def _ends(self) -> None:
        """Write what could not be computed in place, and results that are views."""
        places, program = self.places, self.program
        writes = []
        for place, node in program.writes:
            if node not in self.reads.direct:
                leaf = self._leaf(place)
                writes.append((self._kept(node), leaf))
        for i, x in enumerate(program.results):
            if isinstance(x, Node) and i not in places.fresh:
                self._result(i, x)
        for _, x in program.gradients:
            if root_of(x) in places.home:
                self._show(x)
            else:  # a value from outside, as it was before it is written
                kept = self._copy_of(places.read(x), ENDLESS)
                self._shown[x] = (places.aliases[kept.pointer], kept)
        for source, leaf in writes:
            target = places.read(leaf)
            places.entries["place", leaf].written = True
            self.emit(copied(broadcast(source, target.shape), target))

    def _kept(self, node: Any) -> Access:
        """Return a value to be written, as it was before anything is."""
        source = self.places.read(node)
        if root_of(node) in self.plan.where:
            return source
        return self._copy_of(source, None)

    def _copy_of(self, source: Access, last: int | None) -> Access:
        """Copy something to memory of our own, until a group has passed."""
        kept = self.places.scratch(math.prod(source.shape), source.dtype, last)
        kept = kept._replace(shape=source.shape, strides=_natural(source.shape))
        self.emit(copied(source, kept))
        return kept

    def _result(self, i: int, x: Any) -> None:
        source = self.places.read(x)
        if not source.shape and root_of(x) in self.places.home:
            self._show(x)
            return
        name = self.names.unique(f"result_{i}")
        entry = self.places.entry("result", i, x, name, x._value.dtype)
        self.places.fresh[i] = entry
        strides = _natural(source.shape)
        target = Access(entry.name, source.dtype, 0, source.shape, strides)
        self.emit(copied(source, target))

    def _show(self, x: Any) -> None:
        """Let Python see a node, which may be a view of another."""
        access = self.places.read(x)
        self._shown[x] = (self.places.aliases[access.pointer], access)

    def _leaf(self, place: Any) -> Any:
        """Return the leaf of a place, made up if nothing reads it."""
        leaf = self._leaves.get(place)
        if leaf is None:
            if isinstance(place, Value):
                value = place.tensor._value
            else:
                value = place.optimizer._states[place.parameter][place.index]
            leaf = self._leaves[place] = constant_leaf(value, "state")
            self.program.places[leaf] = place  # type: ignore[index]
        return leaf

    def _lowered(self) -> Lowered:
        places = self.places
        arena = laid_out(places.slots)
        text = assembled(
            self.parts, places.outside, places.slots, self.blas, trap=self.trap
        )
        views = {
            node: (slot.offset, places.access[node])
            for node, slot in places.home.items()
        }
        entries = {entry.name: i for i, entry in enumerate(places.outside)}
        elsewhere = {
            node: entries[access.pointer]
            for node, access in places.access.items()
            if access.pointer in entries
        }
        views |= {x: (slot.offset, access) for x, (slot, access) in self._shown.items()}
        return Lowered(
            text,
            places.outside,
            self.scalars,
            arena,
            places.naive,
            views,
            elsewhere,
            places.fresh,
            self.calls,
            self.trap,
        )


def lower(program: Program, *, check_finite: bool, trap: bool) -> Lowered:
    """Write a program as C."""
    return Source(program, check_finite=check_finite, trap=trap).written()


def _natural(shape: tuple[int, ...]) -> tuple[int, ...]:
    return in_order(shape, tuple(range(len(shape))))


def _where(node: Any) -> str:
    scope, line = graph.scope(node), graph.line(node)
    place = "" if line is None else f"{line.file.rpartition('/')[2]}:{line.number}"
    return " ".join(x for x in (scope, place) if x) or "constants"
