"""Where everything lies: in the arena, outside, or for a block of a region.

Memory is given out group by group, and again when the last reader has passed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn.compiler.c.expressions import STORED
from tinygrad_nn.compiler.c.groups import Plan
from tinygrad_nn.compiler.c.layout import Access, Length, in_order, is_view, seen
from tinygrad_nn.compiler.c.loops import copied
from tinygrad_nn.compiler.c.names import Names
from tinygrad_nn.compiler.c.reads import ENDLESS, Reads
from tinygrad_nn.compiler.c.regions import BLOCK
from tinygrad_nn.compiler.c.tables import Outside, Slot
from tinygrad_nn.compiler.c.text import Part
from tinygrad_nn.op import Node, inputs_of
from tinygrad_nn.rewriting.program import Program

__all__ = ["Places"]


class Places:
    """Gives every node a place when it is first asked for.

    Attributes
    ----------
    now : int
        The group that is being written.
    in_region : bool
        Whether it is one of those that go through an axis in blocks.
    """

    def __init__(
        self,
        program: Program,
        plan: Plan,
        names: Names,
        reads: Reads,
        parts: list[Part],
    ) -> None:
        self.program = program
        self.plan = plan
        self.names = names
        self.reads = reads
        self._parts = parts
        self.region = plan.region
        self.now = 0
        self.in_region = False
        self.outside = [Outside("arena", None, "arena")]
        self.outside.append(Outside("scalars", None, "scalars"))
        self.entries: dict[Any, Outside] = {}
        self.slots: list[Slot] = []
        self.home: dict[Node, Slot] = {}
        self.access: dict[Node, Access] = {}
        self.naive = 0
        self.fresh: dict[int, Outside] = {}
        self.prologue: list[str] = []  # what is set to zero before the blocks
        self.block_head: list[str] = []  # pointers to the parts of a block
        self.aliases: dict[str, Slot] = {}
        self._free: dict[Any, list[Slot]] = {}
        self._dying: dict[int, list[Slot]] = {}
        self._copies: dict[Node, Access] = {}
        self._array_names: dict[int, str] = {}
        self._blocks: dict[Node, Access] = {}

    def passed(self, i: int) -> None:
        """Free the memory that nothing after a group reads."""
        for slot in self._dying.pop(i, ()):
            self._free[slot.dtype].append(slot)

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
            name = self._array_names.setdefault(id(x), "") or self.names.unique("c")
            self._array_names[id(x)] = name
            entry = self.entry("constant", id(x), x, name, value.dtype)
            return _whole(entry.name, value)
        if x in self._copies:
            return self._copies[x]
        if self.in_region and x in self.region.labels:
            return self.block_of(x)
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
            entry = self.entry(kind, x, what, self.names.of(x), x._value.dtype)
            known = self.access[x] = _whole(entry.name, x._value)
        return known

    def _emit(self, lines: list[str]) -> None:
        self._parts[-1].lines += lines

    def _copied(self, x: Any, base: Access) -> Access:
        """Copy what no strides can show."""
        shape = inputs_of(x)[0]._value.shape
        whole = self.scratch(
            math.prod(shape), base.dtype, self.reads.last.get(x, ENDLESS)
        )
        whole = whole._replace(
            shape=shape, strides=in_order(shape, tuple(range(len(shape))))
        )
        self._emit(copied(base, whole))
        shown = seen(x, whole)
        assert shown is not None  # noqa: S101 (without gaps any shape fits)
        self._copies[x] = shown
        return shown

    def scratch(self, size: int, dtype: Any, last: int | None = None) -> Access:
        """Return memory that is free again after the current group, or a later one."""
        name = self.names.unique("packed")
        slot = self._slot(dtype, size, name)
        self._dying.setdefault(self.now if last is None else last, []).append(slot)
        return Access(name, dtype, 0, (size,), (1,))

    def _slot(self, dtype: Any, size: int, name: str) -> Slot:
        size = max(size, 1)
        self.naive += size * dtype.itemsize
        free = self._free.setdefault(dtype, [])
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
            return self.block_of(node)
        return self.stored(node, order)

    def stored(self, node: Any, order: tuple[int, ...] | None = None) -> Access:
        """Return where the whole of a node lies."""
        known = self.access.get(node)
        if known is not None:
            return known
        shape, dtype = tuple(node._value.shape), node._value.dtype
        natural = tuple(range(len(shape)))
        leaf = self.reads.direct.get(node)
        if leaf is not None:
            found = self.read(leaf)
            self.entries["place", leaf].written = True
        elif node in self.reads.results and shape and node not in self.reads.lent:
            number = self.reads.results[node]
            entry = self.entry("result", number, node, self.names.of(node), dtype)
            self.fresh[number] = entry
            found = Access(entry.name, dtype, 0, shape, in_order(shape, natural))
        else:
            if self.reads.last.get(node, 0) >= ENDLESS or order is None:
                order = natural
            slot = self._slot(dtype, math.prod(shape), self.names.of(node))
            self.home[node] = slot
            self._dying.setdefault(self.reads.last.get(node, self.now), []).append(slot)
            found = Access(self.names.of(node), dtype, 0, shape, in_order(shape, order))
        self.access[node] = found
        return found

    def is_stored(self, node: Any) -> bool:
        """Return whether anything but its own group reads a node."""
        return node in self.reads.last

    def block_axis(self) -> int | None:
        """Return the axis that the current group goes through in blocks."""
        if not self.in_region:
            return None
        axis: int | None = self.region.axes[self.now - self.region.start]
        return axis

    def block_shape(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        """Return a shape whose axis has the length of a block."""
        length: int = self.region.length
        m = BLOCK if length % BLOCK == 0 else Length(length)
        return (*shape[:axis], m, *shape[axis + 1 :])

    def adds(self, node: Any) -> bool:
        """Return whether a node is added up block by block."""
        return self.in_region and node in self.region.sums

    def block_of(self, node: Any) -> Access:
        """Return a block of an array: its own memory, or a part of the whole."""
        known = self._blocks.get(node)
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
        if inside and self.reads.last.get(node, -1) < self.region.stop:
            slot = self._slot(dtype, size, self.names.of(node))
            self._dying.setdefault(self.reads.last.get(node, self.now), []).append(slot)
            found = Access(self.names.of(node), dtype, 0, shape, strides)
        else:
            whole = self.stored(node) if inside else self._outer(node)
            step = whole.strides[axis]
            shift = "j0" if step == 1 else f"{step} * j0"
            T = STORED[str(dtype)]
            name = self.names.unique(f"{whole.pointer}_j")
            const = "" if inside else "const "
            head = f"{const}{T} *const {name} = {whole.pointer} + {shift};"
            self.block_head.append(head)
            found = whole._replace(pointer=name)
            if step != 1 and not inside:  # laid along the axis, for this block
                kept = Access(
                    self.names.unique(f"{whole.pointer}_block"),
                    dtype,
                    0,
                    shape,
                    strides,
                )
                slot = self._slot(dtype, size, kept.pointer)
                self._dying.setdefault(self.region.stop, []).append(slot)
                m = self.block_shape(shape, axis)
                self.block_head += copied(
                    found._replace(shape=m), kept._replace(shape=m)
                )
                found = kept
        self._blocks[node] = found
        return found

    def _outer(self, node: Any) -> Access:
        self.in_region = False
        found = self.read(node)
        self.in_region = True
        return found


def _whole(name: str, value: Any) -> Access:
    shape = tuple(np.shape(value))
    dtype = value.dtype
    return Access(name, dtype, 0, shape, in_order(shape, tuple(range(len(shape)))))
