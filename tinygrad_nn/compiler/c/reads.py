"""Who reads what: what must be stored, for how long, and what is written in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn.compiler.c.groups import REDUCTIONS, Group, Plan, root_of
from tinygrad_nn.compiler.c.layout import is_view
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.program import Program, Value, operands

__all__ = ["ENDLESS", "Reads", "found_reads"]

ENDLESS = 1 << 60
"""The group that is never reached."""


@dataclass
class Reads:
    """What happens to every node of a program.

    Attributes
    ----------
    last : dict
        Node, if anything but its own group reads it, to the last group that does.
    results : dict
        Node to the number of the result that it is.
    lent : set
        Nodes whose memory Python reads after the call.
    direct : dict
        New values that are computed right into the leaf that they replace.
    sources : list
        Nodes in which a nan must be found (see `Program`).
    """

    last: dict[Node, int] = field(default_factory=dict)
    results: dict[Node, int] = field(default_factory=dict)
    lent: set[Node] = field(default_factory=set)
    direct: dict[Node, Node] = field(default_factory=dict)
    sources: list[Any] = field(default_factory=list)


def found_reads(program: Program, plan: Plan) -> Reads:
    """Look through the groups for what each of them reads."""
    return _Finder(program, plan).run()


class _Finder:
    def __init__(self, program: Program, plan: Plan) -> None:
        self.program = program
        self.plan = plan
        self.reads = Reads()
        self.leaves: dict[Node, dict[int, bool]] = {}  # by groups: in the same pass

    def run(self) -> Reads:
        program, reads = self.program, self.reads
        live = set(program.nodes) | set(program.places)
        reads.sources = [x for x in program.sources if x in live or x._op is None]
        for i, group in enumerate(self.plan.groups):
            for node in group.nodes:
                self._node(i, group, node)
        self._blocks()
        for x in [*program.outputs(), *reads.sources]:
            for z in self.plan.sources_of(x, views=True):
                reads.last[z] = ENDLESS
        for i, x in enumerate(program.results):
            if isinstance(x, Node) and x in self.plan.where:
                reads.results.setdefault(x, i)
        shown: list[Node] = [x for _, x in [*program.gradients, *program.writes]]
        shown += [x for x, _ in program.checks]
        reads.lent = {root_of(x) for x in shown}
        self._direct()
        return reads

    def _node(self, i: int, group: Group, node: Any) -> None:
        last, where = self.reads.last, self.plan.where
        for x in operands(node):
            found = self.plan.sources_of(x, views=True)
            straight = not any(is_view(z) for z in found)
            for z in found:
                if is_view(z) or where.get(z, i) != i:
                    last[z] = max(last.get(z, -1), i)
                elif z not in where:
                    same = group.kind == "loop" and node is not group.head
                    aligned = same and straight and z._value.shape == group.shape
                    by_group = self.leaves.setdefault(z, {})
                    by_group[i] = by_group.get(i, True) and aligned

    def _blocks(self) -> None:
        """What a region reads, it reads again for each block."""
        region, last = self.plan.region, self.reads.last
        if region is None:
            return
        for z, i in last.items():
            where = self.plan.where.get(root_of(z), -1)
            if where < region.start <= i < region.stop:
                last[z] = region.stop - 1
            inside = region.start <= where < region.stop
            if inside and i < region.stop and z in region.sums:
                last[z] = region.stop

    def _direct(self) -> None:
        program, reads = self.program, self.reads
        leaves = {place: leaf for leaf, place in program.places.items()}
        count: dict[Node, int] = {}
        for _, node in program.writes:
            count[node] = count.get(node, 0) + 1
        kept = {root_of(x) for x in program.results if isinstance(x, Node)}
        kept |= {root_of(x) for _, x in program.gradients}
        kept |= {root_of(x) for x, _ in program.checks}
        kept |= {root_of(x) for x in reads.sources}
        copied = {root_of(x) for _, x in program.writes}
        for place, node in program.writes:
            leaf = leaves.get(place)
            if leaf is None or count[node] > 1 or not kept.isdisjoint((node, leaf)):
                continue
            if leaf in copied or not self._in_pass(node, leaf):
                continue
            if _is_alone(place, program):
                reads.direct[node] = leaf

    def _in_pass(self, node: Any, leaf: Any) -> bool:
        """Whether nothing reads the old value once the new one is there."""
        where = self.plan.where.get(node)
        if where is None:
            return False
        group = self.plan.groups[where]
        if not group.update or group.kind != "loop" or node is group.head:
            return False
        old, new = leaf._value, node._value
        same = old.shape == new.shape and old.dtype == new.dtype
        if not same or node._op.name in REDUCTIONS:
            return False
        by_group = self.leaves.get(leaf, {})
        return all(i < where or (i == where and ok) for i, ok in by_group.items())


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
