"""A loop over pieces of long arrays: see `schedule`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn.compiler.numpy_calls import Calls
from tinygrad_nn.compiler.schedule import Block
from tinygrad_nn.compiler.writer import Line
from tinygrad_nn.op import Node, inputs_of
from tinygrad_nn.rewriting.program import operands

__all__ = ["BlockWriter"]


class BlockWriter:
    """Writes one block: the loop, and before the step the pieces it walks through.

    Arrays of ours are cut beforehand; what comes from outside is cut in the loop.

    Attributes
    ----------
    prepared : str
        The line that makes the list of pieces, once `write` has run.
    """

    def __init__(self, calls: Calls, block: Block, number: int) -> None:
        self.calls = calls
        self.w = calls.w
        self.buffers = calls.buffers
        self.block = block
        self.name = f"block_{number}"
        self.prepared = ""
        self.members = set(block.nodes)
        self.columns: dict[str, str] = {}  # name in the loop -> what is cut for it
        self.cuts: list[str] = []
        self.outs: dict[Node, str] = {}
        self.whole: dict[Node, str] = {}  # names outside of the loop

    def write(self) -> list[Line]:
        """Return the lines of the loop, and of what comes before and after it."""
        before, after = self._frame()
        body, self.calls.body = self.calls.body, []
        self.calls.in_block = True
        for node in self.block.nodes:
            self._line(node)
        self.calls.in_block = False
        inside, self.calls.body = self.calls.body, body
        self.prepared = self._pieces()
        names = ["cut", *self.columns]
        for node, name in self.whole.items():
            self.w.names[node] = name  # of a held array too: it is the constant's
        return [
            *before,
            (f"for {', '.join(names)}, in {self.name}:", None),
            *((f"    {text}", None) for text in self.cuts),
            *((f"    {text}", node) for text, node in inside),
            *after,
        ]

    def _frame(self) -> tuple[list[Line], list[Line]]:
        """Cut what is read and what is written; name it for the time of the loop."""
        before: list[Line] = []
        after: list[Line] = []
        for x in self._read():
            self._cut(x)
        within = self.buffers.within
        for node in (x for x in self.block.nodes if x not in within):
            if node in self.buffers.pieces:
                piece = f"_p{self.buffers.pieces[node]}"
                self.columns[piece] = f"{piece}[: cut.stop - cut.start]"
                self.outs[node] = piece
            elif np.ndim(node._value) == 0:
                before.append((f"{self.w.name(node)} = 0.0", node))
            elif node in self.buffers.direct:
                leaf = self.buffers.direct[node]
                if leaf not in self.whole:
                    self._cut(leaf)
                self.outs[node] = self.w.names[leaf]
                inside = node in self.block.inner
                self._rename(node, [] if inside else after, self.whole[leaf])
            elif self.buffers.made[node] == "fresh":
                name = self.w.name(node)
                shape, dtype = node._value.shape, node._value.dtype
                before.append((f"{name} = np.empty({shape!r}, np.{dtype})", node))
                self.outs[node] = self.w.unique(f"{name}_out")
                self.cuts.append(f"{self.outs[node]} = {name}[cut]")
                self._rename(node, [], name)
            else:
                buffer = self.buffers.name(node)
                self.outs[node] = self.w.unique(f"{self.w.name(node)}_out")
                self.columns[self.outs[node]] = f"{buffer}[cut]"
                self._rename(node, after, buffer)
        places = {x: self.outs[within[x]] for x in self.block.nodes if x in within}
        self.outs |= places
        return before, after

    def _read(self) -> list[Any]:
        """Return arrays from outside whose first axis is the one that is cut."""
        size, rank = self.block.shape[0], len(self.block.shape)
        found: dict[Any, None] = {}
        for node in self.block.nodes:
            for x in operands(node):
                if x in self.members or np.ndim(x._value) != rank:
                    continue
                if x._value.shape[0] == size:
                    found[x] = None
        return list(found)

    def _cut(self, x: Any) -> None:
        name = self.w.operand(x)
        self.whole[x] = name
        part = self.w.unique(f"{name}_part")
        if x in self.buffers.home:
            self.columns[part] = f"{self.buffers.name(x)}[cut]"
        else:
            self.cuts.append(f"{part} = {name}[cut]")
        self.w.names[x] = part

    def _rename(self, node: Any, after: list[Line], whole: str) -> None:
        """Give the piece of a node a name, and the node its own after the loop."""
        name = self.whole[node] = self.w.name(node)
        self.w.names[node] = self.w.unique(f"{name}_part")
        if name != whole:
            after.append((f"{name} = {whole}", node))

    def _line(self, node: Any) -> None:
        w = self.w
        name = w.name(node)
        if np.ndim(node._value) == 0:
            x = w.operand(inputs_of(node)[0])
            flat = x if len(self.block.shape) == 1 else f"{x}.reshape(-1)"
            self.calls.body.append((f"{name} += {w.dot()}({flat}, ones_part)", node))
            return
        text = self.calls.value(node, self.outs[node])
        self.calls.body.append((f"{name} = {text}", node))

    def _pieces(self) -> str:
        """Return the line that cuts everything of ours, piece by piece."""
        block = self.block
        size = block.shape[0]
        if any(np.ndim(node._value) == 0 for node in block.nodes):
            row = max(1, math.prod(block.shape[1:]))
            ones = self.w.full(1.0, (block.rows * row,), np.dtype(np.float64))
            self.columns["ones_part"] = f"{ones}[: (cut.stop - cut.start) * {row}]"
        cuts = (
            f"[slice(i, min(i + {block.rows}, {size})) "
            f"for i in range(0, {size}, {block.rows})]"
        )
        parts = ", ".join(["cut", *self.columns.values()])
        return f"{self.name} = [({parts},) for cut in {cuts}]"
