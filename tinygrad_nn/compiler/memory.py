"""Where every intermediate lives: storages, reused as soon as nobody reads them.

A node is one of

* ``"hoisted"``: a view of a buffer, made once, before the first call;
* ``"view"``: a view of an array that comes from outside, made in each call;
* ``"fresh"``: a result of its own, allocated in each call;
* ``"buffer"``: computed into a planned buffer, or right into the array that it is
  written back to;
* None: a single number, or what NumPy allocates by itself.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn.compiler.primitive import ufunc_of
from tinygrad_nn.compiler.program import Place, Program, Value, operands
from tinygrad_nn.op import Node, Op, inputs_of

__all__ = ["Buffers", "plan"]

_INTO = frozenset(
    {"where", "astype", "uniform", "sum", "max", "min", "prod", "matmul", "einsum"}
    | {"concatenate", "stack", "cumsum", "getitem", "scatter_add"}
)
_VIEWS = frozenset({"transpose", "reshape", "broadcast_to", "spread", "getitem"})


@dataclass(eq=False)
class Storage:
    """A stretch of memory: how many bytes, and what lives there in turn."""

    number: int
    size: int
    kinds: dict[tuple[tuple[int, ...], Any], int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Buffers:
    """The plan, and the memory itself.

    Attributes
    ----------
    made : dict
        How each node comes to be (see the module).
    direct : dict
        Nodes computed right into the array of a leaf that they are written back to.
    planned, naive : int
        Bytes of all storages, and what they would be if nothing were reused.
    """

    made: dict[Node, str | None] = field(default_factory=dict)
    direct: dict[Node, Node] = field(default_factory=dict)
    storages: list[Storage] = field(default_factory=list)
    home: dict[Node, Storage] = field(default_factory=dict)
    root: dict[Node, Node] = field(default_factory=dict)
    arrays: dict[Node, np.ndarray] = field(default_factory=dict)
    views: list[Node] = field(default_factory=list)
    planned: int = 0
    naive: int = 0
    _memory: dict[int, np.ndarray] = field(default_factory=dict)

    def name(self, node: Node) -> str:
        """Return the name of a node's buffer in the source."""
        storage = self.home[node]
        if len(storage.kinds) == 1:
            return f"_{storage.number}"
        return f"_{storage.number}_{storage.kinds[node._value.shape, node._value.dtype]}"

    def lines(self, name: Callable[[Node], str]) -> list[str]:
        """Source that makes the buffers and the views of them."""
        found = []
        for storage in self.storages:
            who = ", ".join(dict.fromkeys(name(node) for node in storage.nodes[:8]))
            who += ", …" if len(storage.nodes) > 8 else ""
            number = storage.number
            if len(storage.kinds) == 1:
                ((shape, dtype),) = storage.kinds
                found.append(f"_{number} = np.empty({shape!r}, np.{dtype})  # {who}")
                continue
            found.append(f"_{number} = np.empty({storage.size}, np.uint8)  # {who}")
            for (shape, dtype), i in storage.kinds.items():
                size = math.prod(shape) * dtype.itemsize
                found.append(
                    f"_{number}_{i} = _{number}[:{size}].view(np.{dtype})"
                    f".reshape({shape!r})"
                )
        for node in self.views:
            found.append(f"{name(node)} = {self._view_text(node, name)}")
        return found

    def _view_text(self, node: Any, name: Callable[[Node], str]) -> str:
        (x, *_) = inputs_of(node)
        base = self.name(x) if x in self.home else name(x)
        op = node._op.name
        shape = tuple(node._value.shape)
        if op == "transpose":
            axes = node._settings["axes"]
            return f"{base}.T" if axes is None else f"{base}.transpose({axes!r})"
        if op == "reshape":
            return f"{base}.reshape({shape!r})"
        raise AssertionError(op)


def plan(program: Program) -> Buffers:
    """Give every node a place in memory."""
    return _Planner(program).run()


class _Planner:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.buffers = Buffers()
        self.position = {node: i for i, node in enumerate(program.nodes)}
        self.last: dict[Node, int] = {}
        self.free: list[Storage] = []
        self.results = {x for x in program.results if isinstance(x, Node)}
        self.kept = {node for _, node in program.gradients}

    def run(self) -> Buffers:
        program, buffers = self.program, self.buffers
        end = len(program.nodes)
        self._roots()
        self._last_uses(end)
        dying: dict[int, list[Node]] = {}
        for node, at in self.last.items():
            dying.setdefault(at, []).append(node)
        self._direct()
        for i, node in enumerate(program.nodes):
            how = self._how(node)
            buffers.made[node] = how
            ends = {x for x in dying.get(i, ()) if x in buffers.home}
            if how == "buffer" and node not in buffers.direct:
                self._place(node, ends)
            for x in ends:
                storage = buffers.home[x]
                if storage.nodes[-1] is x:
                    insort(self.free, storage, key=lambda s: s.size)
        buffers.planned = sum(storage.size for storage in buffers.storages)
        return buffers

    def _roots(self) -> None:
        """Find what each view is a view of."""
        root = self.buffers.root
        for node in self.program.nodes:
            op: Op = node._op  # type: ignore[assignment]
            x = inputs_of(node)[0] if inputs_of(node) else None
            if op.name in _VIEWS and isinstance(x, Node) and _is_view(node):
                root[node] = root.get(x, x)

    def _last_uses(self, end: int) -> None:
        last, root = self.last, self.buffers.root
        for i, node in enumerate(self.program.nodes):
            last.setdefault(root.get(node, node), i)
            for x in operands(node):
                last[root.get(x, x)] = i
        for node in self.program.outputs():
            last[root.get(node, node)] = end

    def _direct(self) -> None:
        """New values that may be computed right into the array they replace."""
        leaves = {place: leaf for leaf, place in self.program.places.items()}
        taken: set[Node] = set()
        for place, node in self.program.writes:
            leaf = leaves.get(place)
            if leaf is None or node in taken or node not in self.position:
                continue
            if node in self.results or node in self.kept or leaf in self.results:
                continue
            op: Op = node._op  # type: ignore[assignment]
            first = self.program.first_update
            if first is None or node._order < first or ufunc_of(op) is None:
                continue
            if np.ndim(node._value) == 0:
                continue
            read = self.last.get(leaf, -1)
            if read > self.position[node] or _is_shared(place, self.program):
                continue
            taken.add(node)
            self.buffers.direct[node] = leaf

    def _how(self, node: Any) -> str | None:
        op: Op = node._op
        if node in self.buffers.direct:
            return "buffer"
        root = self.buffers.root.get(node)
        if root is not None:
            inside = root in self.buffers.home
            simple = op.name in ("transpose", "reshape")
            x = inputs_of(node)[0]
            if inside and simple and (x is root or self.buffers.made.get(x) == "hoisted"):
                self.buffers.views.append(node)
                return "hoisted"
            return "view"
        if np.ndim(node._value) == 0:
            return None
        if node in self.results and (ufunc_of(op) or op.name in _INTO - {"uniform"}):
            if op.name not in ("astype", "where", "scatter_add", "getitem"):
                return "fresh"
        if ufunc_of(op) is not None or op.name in _INTO or op.name in _VIEWS:
            return "buffer"
        return None

    def _place(self, node: Any, ends: set[Node]) -> None:
        """Take over a dying operand's storage, or a free one, or a new one."""
        buffers = self.buffers
        size = max(node._value.nbytes, 1)
        buffers.naive += size
        storage = self._taken_over(node, ends)
        if storage is None:
            storage = self._free_one(size)
            if storage is None:
                storage = Storage(len(buffers.storages), size)
                buffers.storages.append(storage)
        storage.nodes.append(node)
        kind = (node._value.shape, node._value.dtype)
        storage.kinds.setdefault(kind, len(storage.kinds))
        buffers.home[node] = storage

    def _free_one(self, size: int) -> Storage | None:
        """Return the smallest free storage that fits, or the largest, made to fit."""
        if not self.free:
            return None
        place = bisect_left(self.free, size, key=lambda s: s.size)
        storage = self.free.pop(min(place, len(self.free) - 1))
        storage.size = max(storage.size, size)
        return storage

    def _taken_over(self, node: Any, ends: set[Node]) -> Storage | None:
        if ufunc_of(node._op) is None:
            return None
        buffers = self.buffers
        for x in inputs_of(node):
            if not isinstance(x, Node) or x not in ends or x in self.kept:
                continue
            same = (
                x._value.shape == node._value.shape
                and x._value.dtype == node._value.dtype
            )
            views = [
                y for y in operands(node) if y is not x and buffers.root.get(y) is x
            ]
            if same and not views:
                return buffers.home[x]
        return None


def _is_view(node: Any) -> bool:
    """Whether NumPy gives a view, whatever array is given."""
    op, x = node._op, inputs_of(node)[0]
    if op.name in ("transpose", "broadcast_to"):
        return True
    if op.name == "reshape":
        return x._op is None or x._op.name not in _VIEWS
    if op.name == "spread":
        return x._op is None or x._op.name not in _VIEWS
    index = node._settings["index"]
    parts = index if isinstance(index, tuple) else (index,)
    simple = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, simple) and not isinstance(p, bool) for p in parts)


def _is_shared(place: Place, program: Program) -> bool:
    """Whether another place that is written shows the same memory."""
    if not isinstance(place, Value):
        return False
    mine = place.tensor._value
    return any(
        isinstance(other, Value)
        and other.tensor is not place.tensor
        and np.may_share_memory(other.tensor._value, mine)
        for other in program.places.values()
    )
