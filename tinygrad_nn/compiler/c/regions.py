"""Regions: groups that go through a long axis together, one block of it after another.

Arrays that only the groups of a region read need memory for a block, which stays in the
first-level cache. The axis is that of the examples, mostly: elementwise ops, products
with weights and sums over other axes keep it; sums over it and products that sum over
it add up block by block, and are finished when the region is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.compiler.c.groups import REDUCTIONS, Group, Plan, about, root_of
from tinygrad_nn.compiler.c.layout import Access, broadcast, in_order
from tinygrad_nn.compiler.c.ways import SMALL
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.rewriting.program import Argument, Program, operands

__all__ = ["BLOCK", "Region", "with_region"]

BLOCK = 256
"""Elements of a block."""
SHORTEST = 512
"""Elements of the shortest axis that is worth blocks."""
NARROW = 1 << 15
"""Numbers in float32 of which more are not added block by block: digits get lost."""
ROWS = 64
"""Elements of the other axes together, at most."""


@dataclass
class Region:
    """Groups ``start`` to ``stop``, which go through an axis of ``length`` in blocks.

    Attributes
    ----------
    axes
        For each group, by its place in the region, the axis of its shape, or None for
        a product that sums over it.
    labels
        Node to its axis, for what is cut into blocks.
    sums
        Nodes that are added up block by block.
    """

    length: int
    start: int = 0
    stop: int = 0
    axes: list[int | None] = field(default_factory=list)
    labels: dict[Node, int] = field(default_factory=dict)
    sums: set[Node] = field(default_factory=set)


def with_region(plan: Plan, program: Program) -> Plan:
    """Reorder groups so that those of a region follow each other."""
    lengths = {
        size
        for leaf, place in program.places.items()
        if isinstance(place, Argument)
        for size in leaf._value.shape
        if size >= SHORTEST and leaf._value.size <= size * ROWS
    }
    best: _Finder | None = None
    for length in sorted(lengths):
        finder = _Finder(plan, program, length)
        finder.run()
        if best is None or len(finder.inside) > len(best.inside):
            best = finder
    if best is None or len(best.inside) < 2:
        return plan
    return best.reordered()


class _Finder:
    """Looks which groups can go through an axis of a length in blocks."""

    def __init__(self, plan: Plan, program: Program, length: int) -> None:
        self.plan = plan
        self.program = program
        self.region = Region(length)
        self.before: list[int] = []
        self.inside: list[int] = []
        self.axes: list[int | None] = []
        self.after: list[int] = []
        self.late: set[Node] = set()  # known after the region only
        labels = self.region.labels
        for leaf, place in program.places.items():
            if isinstance(place, Argument):
                axes = [i for i, s in enumerate(leaf._value.shape) if s == length]
                if len(axes) == 1 and leaf._value.size <= length * ROWS:
                    labels[leaf] = axes[0]

    def run(self) -> None:
        """Sort the groups into those before, inside and after the region."""
        for i, group in enumerate(self.plan.groups):
            if not group.nodes:
                continue
            sources = {z for node in group.nodes for z in self._sources(node)}
            made = {z for z in sources if z in self.plan.where}
            if not made.isdisjoint(self.late):
                self._postpone(i, group)
                continue
            if not group.update and self._joins(group):
                self.inside.append(i)
                continue
            ours = set(self.inside)
            if group.update or any(self.plan.where[z] in ours for z in made):
                self._postpone(i, group)
            else:
                self.before.append(i)

    def _postpone(self, i: int, group: Group) -> None:
        self.after.append(i)
        self.late |= set(group.nodes)

    def reordered(self) -> Plan:
        """Return the plan with its groups in the new order."""
        plan, region = self.plan, self.region
        order = [*self.before, *self.inside, *self.after]
        region.start = len(self.before)
        region.stop = region.start + len(self.inside)
        region.axes = self.axes
        groups = [plan.groups[i] for i in order]
        where = {node: i for i, group in enumerate(groups) for node in group.nodes}
        return Plan(groups, where, plan.again, region)

    def _sources(self, node: Any) -> list[Any]:
        return [z for x in operands(node) for z in self.plan.sources_of(x)]

    # --- one group ---

    def _joins(self, group: Group) -> bool:
        """Add a group to the region if it fits."""
        if group.kind == "loop":
            return self._loop(group)
        if group.kind == "product":
            return self._product(group.nodes[0])
        return False

    def _loop(self, group: Group) -> bool:
        found = self._axis_of(group)
        if found is None or math.prod(group.shape) > self.region.length * ROWS:
            return False
        axis, wanted = found
        labels: dict[Node, int] = {}
        for root, place in wanted:
            if labels.setdefault(root, place) != place:
                return False
            if self.region.labels.get(root, place) != place:
                return False
            inside = root in self.plan.where and root not in self.region.labels
            if inside and self.plan.where[root] in set(self.inside):
                return False
        made = {}
        sums = set()
        for node in group.nodes:
            if node._op.name not in REDUCTIONS:
                made[node] = axis
                continue
            gone = shapes.reduced_axes(len(group.shape), settings_of(node)["axis"])
            if axis in gone:
                if not self._may_add(node):
                    return False
                sums.add(node)
            else:
                kept = settings_of(node)["keepdims"]
                made[node] = axis - (0 if kept else sum(i < axis for i in gone))
        self.region.labels |= labels | made
        self.region.sums |= sums
        self.late |= sums
        self.axes.append(axis)
        return True

    def _axis_of(self, group: Group) -> tuple[int, list[tuple[Any, int]]] | None:
        """Return the axis of a group's loop, and the labels that it needs."""
        for axis, size in enumerate(group.shape):
            if size != self.region.length:
                continue
            needed = self._needed(group, axis)
            if needed is None:
                continue
            if any(root in self.region.labels for root, _ in needed):
                return axis, needed
        return None

    def _needed(self, group: Group, axis: int) -> list[tuple[Any, int]] | None:
        needed: list[tuple[Any, int]] = []
        inside = set(group.nodes)
        for node in group.nodes:
            if node is group.head:
                x, y = inputs_of(node)
                along, other = (x, y) if axis == 0 else (y, x)
                if not self._free(other):
                    return None
                found = self._along(along, about(along), axis)
                if found is None:
                    return None
                needed += found
                continue
            for x in inputs_of(node):
                found = self._through(x, group.shape, axis, inside)
                if found is None:
                    return None
                needed += found
        return needed

    def _through(
        self, x: Any, shape: tuple[int, ...], axis: int, inside: set[Any]
    ) -> list[tuple[Any, int]] | None:
        """Return the labels with which an operand is read along an axis, or None."""
        if not isinstance(x, Node) or x in inside:
            return [] if isinstance(x, Node) or not hasattr(x, "shape") else _plain(x)
        if x in self.plan.again:
            parts = [self._through(y, shape, axis, inside) for y in inputs_of(x)]
            if any(part is None for part in parts):
                return None
            return [label for part in parts for label in part or ()]
        return self._along(x, broadcast(about(x), shape), axis)

    def _along(self, x: Any, access: Access, axis: int) -> list[tuple[Any, int]] | None:
        root = root_of(x)
        if root in self.plan.again:
            return None
        step = access.strides[axis]
        if step == 0:
            return [] if self._free(x) else None
        shape = tuple(root._value.shape)
        strides = in_order(shape, tuple(range(len(shape))))
        places = [
            i
            for i, (size, stride) in enumerate(zip(shape, strides, strict=True))
            if size == self.region.length and stride == step
        ]
        if len(places) != 1 or root._value.size > self.region.length * ROWS:
            return None
        if sum(s == step for s in access.strides) != 1:
            return None
        return [(root, places[0])]

    def _free(self, x: Any) -> bool:
        """Whether an operand is whole: no block of it is looked at."""
        root = root_of(x)
        if root in self.plan.again:
            return all(self._free(y) for y in inputs_of(root) if isinstance(y, Node))
        return root not in self.region.labels

    def _may_add(self, node: Any) -> bool:
        """Whether a sum over the axis has all its digits when its blocks are added."""
        return node._value.dtype != np.float32 or self.region.length <= NARROW

    def _product(self, node: Any) -> bool:
        """Add a product that sums over the axis, if it is one of the small ones."""
        x, y = inputs_of(node)
        if len(x._value.shape) != 2 or len(y._value.shape) != 2:
            return False
        if node._value.dtype.kind != "f" or x._value.dtype != y._value.dtype:
            return False
        (m, k), n = x._value.shape, y._value.shape[1]
        large = m >= SMALL and n >= SMALL
        if k != self.region.length or large or not self._may_add(node):
            return False
        needed = []
        for z, axis in ((x, 1), (y, 0)):
            found = self._along(z, about(z), axis)
            if not found:
                return False
            needed += found
        labels = dict(needed)
        if any(labels[root] != place for root, place in needed):
            return False
        for root, place in labels.items():
            if self.region.labels.get(root, place) != place:
                return False
            if root in self.plan.where and root not in self.region.labels:
                return False
        self.region.labels |= labels
        self.region.sums.add(node)
        self.late.add(node)
        self.axes.append(None)
        return True


def _plain(x: Any) -> list[tuple[Any, int]] | None:
    """Return no labels for a number; an array that is no node cannot be cut."""
    return [] if getattr(x, "ndim", 0) == 0 else None
