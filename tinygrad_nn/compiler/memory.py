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
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.compiler.products import way
from tinygrad_nn.compiler.schedule import MANY, Block
from tinygrad_nn.op import Node, Op, inputs_of
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.program import Place, Program, Value, operands
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.scalars import Scalar

__all__ = ["Buffers", "plan"]

_INTO = frozenset(
    {"where", "astype", "uniform", "sum", "max", "min", "prod", "matmul", "einsum"}
    | {"concatenate", "stack", "cumsum", "getitem", "scatter_add"}
)
_COPIED = frozenset({"uniform", "astype", "where", "scatter_add", "getitem"})
_VIEWS = frozenset({"transpose", "reshape", "broadcast_to", "spread", "getitem"})


class Kind(NamedTuple):
    """What a buffer holds: a shape, a dtype, and its axes from slow to quick."""

    shape: tuple[int, ...]
    dtype: Any
    order: tuple[int, ...]

    @classmethod
    def of(cls, value: np.ndarray) -> Kind:
        """Return the kind of a buffer laid out as NumPy had laid out a value.

        Sums go through memory in its order, so another layout rounds otherwise.
        """
        axes = tuple(range(value.ndim))
        if not value.flags.c_contiguous:
            axes = tuple(sorted(axes, key=lambda axis: -abs(value.strides[axis])))
        return cls(value.shape, value.dtype, axes)

    def laid_out(self, flat: str) -> str:
        """Return source that gives memory this shape; ``flat`` makes it of a shape."""
        if self.order == tuple(range(len(self.shape))):
            return flat.format(self.shape)
        text = flat.format(tuple(self.shape[axis] for axis in self.order))
        back = tuple(self.order.index(axis) for axis in range(len(self.order)))
        return f"{text}.transpose({back!r})"


@dataclass(eq=False)
class Storage:
    """A stretch of memory: how many bytes, and what lives there in turn.

    Attributes
    ----------
    part
        Where it is a part of another node's array: that node, and the index.
    held
        Whether it is never given to anyone else: parts of it are known from outside.
    """

    number: int
    size: int
    part: tuple[Node, str] | None = None
    held: bool = False
    kinds: dict[Kind, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Buffers:
    """The plan, and the memory itself.

    Attributes
    ----------
    made : dict
        How each node comes to be (see the module).
    pieces : dict
        Nodes inside of a block to the number of the piece of memory they live in.
    within : dict
        Nodes inside of a block to that whose array they stand in before it does.
    masks : set
        Masks kept as integers 0 and 1 as wide as the numbers that they multiply: the
        bits of a number times 1 or 0 are the number or zero, at twice the speed.
    joins : dict
        Arrays that are others side by side, with what has to be copied at each call:
        (how the source says the part, operand). What is computed right there is not
        among it.
    fixed : list
        (node, index, number): parts that hold a number in every call.
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
    pieces: dict[Node, int] = field(default_factory=dict)
    within: dict[Node, Node] = field(default_factory=dict)
    piece_kinds: list[tuple[tuple[int, ...], Any]] = field(default_factory=list)
    kinds: dict[Node, Kind] = field(default_factory=dict)
    masks: set[Node] = field(default_factory=set)
    joins: dict[Node, list[tuple[str, Any]]] = field(default_factory=dict)
    fixed: list[tuple[Node, str, float]] = field(default_factory=list)
    bits: dict[str, str] = field(default_factory=dict)
    planned: int = 0
    naive: int = 0

    def name(self, node: Node) -> str:
        """Return the name of a node's buffer in the source."""
        storage = self.home[node]
        if len(storage.kinds) == 1:
            return f"_{storage.number}"
        return f"_{storage.number}_{storage.kinds[self.kind(node)]}"

    def kind(self, node: Node) -> Kind:
        """Return what is stored for a node."""
        return self.kinds.get(node) or Kind.of(node._value)

    def lines(self, name: Callable[[Node], str]) -> list[str]:
        """Source that makes the buffers and the views of them."""
        found = []
        for storage in self.storages:
            who = ", ".join(dict.fromkeys(name(node) for node in storage.nodes[:8]))
            who += ", …" if len(storage.nodes) > 8 else ""
            number = storage.number
            whole = f"np.empty({storage.size}, np.uint8)"
            if storage.part is not None:
                node, index = storage.part
                whole = f"{self.name(node)}[{index}]"
            if len(storage.kinds) == 1:
                (kind,) = storage.kinds
                made = kind.laid_out(
                    f"np.empty({{!r}}, np.{kind.dtype})"
                    if storage.part is None
                    else whole + ".reshape({!r})"
                )
                found.append(f"_{number} = {made}  # {who}")
                continue
            found.append(f"_{number} = {whole}  # {who}")
            for kind, i in storage.kinds.items():
                size = math.prod(kind.shape) * kind.dtype.itemsize
                cut = f"[:{size}]" if storage.part is None else ""
                part = f"_{number}{cut}.view(np.{kind.dtype}).reshape({{!r}})"
                found.append(f"_{number}_{i} = {kind.laid_out(part)}")
        for node, index, value in self.fixed:
            found.append(f"{self.name(node)}[{index}] = {value!r}")
        found += [f"{name(x)} = {self._view_text(x, name)}" for x in self.views]
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
        return f"{base}[{_index_text(node._settings['index'])}]"


def plan(
    program: Program, phases: list[list[Any]], *, cautious: bool = False
) -> Buffers:
    """Give every node a place in memory, in the order of the schedule.

    Parameters
    ----------
    cautious
        What is written back stays as it was until its new value is complete.
    """
    items = [item for phase in phases for item in phase]
    return _Planner(program, items, cautious=cautious).run()


class _Planner:
    def __init__(self, program: Program, items: list[Any], *, cautious: bool) -> None:
        self.program = program
        self.cautious = cautious
        self.items = items
        self.buffers = Buffers()
        self.order = [
            (node, i)
            for i, item in enumerate(items)
            for node in (item.nodes if isinstance(item, Block) else [item])
        ]
        self.position = {node: at for at, (node, _) in enumerate(self.order)}
        self.item_of = dict(self.order)
        self.blocked = {
            node for item in items if isinstance(item, Block) for node in item.nodes
        }
        self.last: dict[Node, int] = {}
        self.last_read: dict[Node, int] = {}
        self.free: list[Storage] = []
        self.filled: set[Node] = set()  # copied right to where they are joined
        self.uses: Counter[Node] = Counter()
        self.results = {x for x in program.results if isinstance(x, Node)}
        self.kept = {node for _, node in program.gradients}
        self._choose_kinds()

    def _choose_kinds(self) -> None:
        """Find masks that only ever multiply, and products computed the other way."""
        if self.program.exact:
            return
        kinds = self.buffers.kinds
        users: dict[Node, list[Any]] = {}
        for node in self.program.nodes:
            for x in operands(node):
                users.setdefault(x, []).append(node)
        outside = set(self.program.outputs())
        results = {x for x in self.program.results if isinstance(x, Node)}
        for node in self.program.nodes:
            if way(node) == "turned":
                value = node._value
                kinds[node] = Kind(value.shape, value.dtype, (1, 0))
            elif (
                node not in outside
                and _is_positive(node, self.program)
                and results.isdisjoint(users.get(node, ()))  # of no buffer
                and all(_masks_with(user, node) for user in users.get(node, ()))
            ):
                self.buffers.masks.add(node)
                source = Kind.of(inputs_of(node)[0]._value)
                width = np.dtype(f"uint{8 * source.dtype.itemsize}")
                kinds[node] = source._replace(dtype=width)

    def run(self) -> Buffers:
        program, buffers = self.program, self.buffers
        end = len(self.items)
        self._roots()
        self._last_uses(end)
        self._direct()
        self._join()
        dying: dict[int, list[Node]] = {}
        for node, at in self.last.items():
            dying.setdefault(at, []).append(node)
        for i, item in enumerate(self.items):
            ends = {x for x in dying.get(i, ()) if x in buffers.home}
            if isinstance(item, Block):
                self._pieces(item)
            for node in item.nodes if isinstance(item, Block) else [item]:
                inner = node in buffers.pieces or node in buffers.within
                how = "piece" if inner else self._how(node)
                buffers.made[node] = how
                if node in buffers.home:  # a part of another
                    continue
                if how == "buffer" and node not in buffers.direct:
                    self._place(node, set() if isinstance(item, Block) else ends)
            for x in ends | {x for x in dying.get(i, ()) if x in buffers.home}:
                storage = buffers.home[x]
                if storage.nodes[-1] is x and not storage.held:
                    insort(self.free, storage, key=lambda s: s.size)
        buffers.planned = sum(s.size for s in buffers.storages if s.part is None)
        buffers.planned += sum(
            math.prod(shape) * dtype.itemsize for shape, dtype in buffers.piece_kinds
        )
        del program
        return buffers

    def _join(self) -> None:
        """Let arrays that are put side by side be computed where they will lie."""
        if self.program.exact:
            return
        top: dict[Node, Node] = {}
        self.uses = Counter(x for n in self.program.nodes for x in operands(n))
        self.uses.update(self.program.outputs())
        for node in reversed(self.program.nodes):
            if self._is_join(node):
                self._parts(node, top)
        lasts: dict[Node, int] = {}
        for x, whole in top.items():
            latest = max(self.last[x], self.last[whole])
            lasts[whole] = max(lasts.get(whole, -1), latest)
        for x, whole in top.items():
            self.last[x] = self.last[whole] = lasts[whole]
        for x in top:
            self._reach_back(x)

    def _is_join(self, node: Any) -> bool:
        if node._op.name != "concatenate" or node._settings["axis"] is None:
            return False
        if node in self.results or node in self.buffers.direct or not node._value.ndim:
            return False
        dtypes = {getattr(x, "_value", x).dtype for x in inputs_of(node)}
        return dtypes == {node._value.dtype} and node._value.flags.c_contiguous

    def _parts(self, node: Any, top: dict[Node, Node]) -> None:
        """Place an array, and as many of its parts as can be computed in place."""
        buffers = self.buffers
        if node not in buffers.home:
            storage = Storage(len(buffers.storages), node._value.nbytes, held=True)
            self._settle(node, storage)
        axis = node._settings["axis"] % node._value.ndim
        copied = buffers.joins[node] = []
        start = 0
        for x in inputs_of(node):
            end = start + np.shape(getattr(x, "_value", x))[axis]
            index = ":, " * axis + f"{start}:{end}"
            start = end
            root = self.buffers.root.get(x, x)
            number = _fixed(x, self.program)
            if _is_filled(x):
                self.filled.add(x)
                copied.append((f"[{index}]", inputs_of(x)[0]))
            elif number is not None:
                buffers.fixed.append((node, index, number))
                self.kept.add(node)
            elif self._fits(x, root, node, axis) and root not in top:
                top[root] = top.get(node, node)
                size = root._value.nbytes
                part = (node, index)
                self._settle(
                    root, Storage(len(buffers.storages), size, part, held=True)
                )
            elif node._value.ndim == 1 and self._is_leaf_as_row(x):
                # The part gets the leaf's shape once, rather than the leaf a row's.
                (leaf,) = inputs_of(x)
                self.filled.add(x)
                shape = tuple(leaf._value.shape)
                copied.append((f"[{index}].reshape({shape!r})", leaf))
            else:
                copied.append((f"[{index}]", x))

    def _is_leaf_as_row(self, x: Any) -> bool:
        if not isinstance(x, Node) or x._op is None or x._op.name != "reshape":
            return False
        (leaf,) = inputs_of(x)
        inside = leaf._op is None and leaf in self.program.places
        return inside and self.uses[x] == 1

    def _settle(self, node: Any, storage: Storage) -> None:
        """Give a node a storage that nobody else gets."""
        self.buffers.storages.append(storage)
        self._live(node, storage)

    def _live(self, node: Any, storage: Storage) -> None:
        storage.nodes.append(node)
        storage.kinds.setdefault(self.buffers.kind(node), len(storage.kinds))
        self.buffers.home[node] = storage
        self.buffers.naive += node._value.nbytes

    def _fits(self, x: Any, root: Any, node: Any, axis: int) -> bool:
        """Whether an operand, or what it is another shape of, can lie in its part."""
        if not isinstance(root, Node) or math.prod(x._value.shape[:axis]) != 1:
            return False
        return (
            _is_reshaped(x, root)
            and self._is_free(root)
            and self.buffers.kind(root) == Kind.of(root._value)
            and root._value.flags.c_contiguous
            and self.position[root] < self.position[node]
        )

    def _is_free(self, node: Any) -> bool:
        """Whether a node is computed into a buffer that is still to be chosen."""
        buffers = self.buffers
        return (
            node in self.position
            and node not in self.results
            and node not in buffers.home
            and node not in buffers.direct
            and node not in buffers.root
            and self._how(node) == "buffer"
            and node not in self.blocked
        )

    def _reach_back(self, node: Any) -> None:
        """Let what a node is computed from in place lie where the node will lie."""
        buffers = self.buffers
        storage = buffers.home[node]
        while ufunc_of(node._op) is not None:
            at = self.item_of[node]
            found = [
                x
                for x in inputs_of(node)
                if isinstance(x, Node)
                and self.last.get(x) == at
                and self._is_free(x)
                and buffers.kind(x) == buffers.kind(node)
                and not any(buffers.root.get(y) is x for y in operands(node))
            ]
            if not found:
                return
            node = found[0]
            self._live(node, storage)

    def _pieces(self, block: Block) -> None:
        """Give the inner nodes of a block memory for a piece, reused within it."""
        buffers = self.buffers
        last = {x: i for i, node in enumerate(block.nodes) for x in operands(node)}
        self._within(block, last)
        free: dict[Any, list[int]] = {}
        for i, node in enumerate(block.nodes):
            gone = [x for x in set(operands(node)) if last[x] == i]
            for x in gone:
                if x in buffers.pieces and x in block.inner:
                    number = buffers.pieces[x]
                    free.setdefault(buffers.piece_kinds[number], []).append(number)
            if node not in block.inner or np.ndim(node._value) == 0:
                continue
            if node in buffers.direct or node in buffers.within:
                continue
            kind = ((block.rows, *block.shape[1:]), node._value.dtype)
            spare = free.get(kind)
            if spare:
                number = spare.pop()
            else:
                number = len(buffers.piece_kinds)
                buffers.piece_kinds.append(kind)
            buffers.pieces[node] = number
            buffers.naive += node._value.nbytes

    def _within(self, block: Block, last: dict[Node, int]) -> None:
        """Let what a result is computed from in place stand in the result's array.

        Its memory then comes into the cache while something slow is computed, and no
        piece is needed.
        """
        first: dict[Node, int] = {}  # where what is computed in place begins
        before: dict[Node, Node] = {}
        for i, node in enumerate(block.nodes):
            first[node] = i
            for x in operands(node):
                if (
                    x in block.inner
                    and last[x] == i
                    and x not in self.buffers.direct
                    and Kind.of(x._value) == Kind.of(node._value)
                    and first[x] < first[node]
                ):
                    first[node], before[node] = first[x], x
        for node in block.nodes:
            if node in block.inner or node in self.buffers.direct:
                continue
            at = node
            while at in before:
                at = before[at]
                self.buffers.within[at] = node
                self.buffers.naive += at._value.nbytes

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
        for at, (node, i) in enumerate(self.order):
            last.setdefault(root.get(node, node), i)
            for x in operands(node):
                last[root.get(x, x)] = i
                self.last_read[root.get(x, x)] = at
        for node in self.program.outputs():
            last[root.get(node, node)] = end
            self.last_read[root.get(node, node)] = len(self.order)

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
            read = self.last_read.get(leaf, -1)
            if read > self.position[node] or _is_shared(place, self.program):
                continue
            taken.add(node)
            self.buffers.direct[node] = leaf
            if not self.cautious:
                self._early(node, leaf, first)

    def _early(self, node: Any, leaf: Node, first: int) -> None:
        """Let what a new value is computed from stand where the old was last read.

        Memory that was just read is written to at half the price of other memory.
        """
        direct = self.buffers.direct
        while True:
            found = [
                x
                for x in inputs_of(node)
                if self._may_stand(x, node, first)
                and self.last_read.get(leaf, -1) <= self.position[x]
            ]
            if not found:
                return
            reads = [x for x in found if any(y is leaf for y in inputs_of(x))]
            node = (reads or found)[0]
            direct[node] = leaf

    def _may_stand(self, x: Any, node: Any, first: int) -> bool:
        """Whether an operand is of the update, and nothing but a step to the node."""
        return (
            isinstance(x, Node)
            and x in self.position
            and x._order >= first
            and ufunc_of(x._op) is not None
            and x not in self.buffers.direct
            and self.last_read[x] == self.position[node]
            and Kind.of(x._value) == Kind.of(node._value)
        )

    def _how(self, node: Any) -> str | None:
        op: Op = node._op
        if node in self.filled or node in self.buffers.direct:
            return "hoisted" if node in self.filled else "buffer"
        if node in self.buffers.root:
            return self._how_seen(node)
        if np.ndim(node._value) == 0:
            return None
        whole = ufunc_of(op) or op.name in _INTO - _COPIED
        # Operands are repeated in rows: of another layout only a buffer is for sure.
        whole = whole and Kind.of(node._value).order == tuple(range(node._value.ndim))
        if node in self.results and whole:
            return "fresh"
        known = ufunc_of(op) is not None or op.name in _INTO or op.name in _VIEWS
        return "buffer" if known else None

    def _how_seen(self, node: Any) -> str:
        """Say whether a view can be made before the first call."""
        buffers, op = self.buffers, node._op
        root = buffers.root[node]
        (x, *_) = inputs_of(node)
        simple = op.name == "transpose" or _is_slice(node)
        if op.name == "reshape":  # of another layout it would be a copy
            simple = buffers.kind(root) == Kind.of(root._value)
        made = x is root or buffers.made.get(x) == "hoisted"
        if root in buffers.home and simple and made:
            buffers.views.append(node)
            return "hoisted"
        return "view"

    def _place(self, node: Any, ends: set[Node]) -> None:
        """Take over a dying operand's storage, or a free one, or a new one."""
        buffers = self.buffers
        kind = buffers.kind(node)
        size = max(math.prod(kind.shape) * kind.dtype.itemsize, 1)
        buffers.naive += size
        storage = self._taken_over(node, ends)
        if storage is None:
            storage = self._free_one(size)
            if storage is None:
                storage = Storage(len(buffers.storages), size)
                buffers.storages.append(storage)
        storage.nodes.append(node)
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
            same = buffers.kind(x) == buffers.kind(node)
            if node in buffers.masks:
                # Bits of as many bytes, in place of the numbers that they are of.
                dtype = buffers.kind(node).dtype
                same = buffers.kind(x)._replace(dtype=dtype) == buffers.kind(node)
            views = [
                y for y in operands(node) if y is not x and buffers.root.get(y) is x
            ]
            if same and not views:
                return buffers.home[x]
        return None


def _is_positive(node: Any, program: Program) -> bool:
    """Whether a node says where a relu is above zero."""
    if node._op.name != "greater" or node._value.nbytes >= MANY:
        return False
    x, y = inputs_of(node)
    relu = isinstance(x, Node) and x._op is not None and x._op.name == "maximum"
    return (
        relu
        and number_of(y, program) == 0
        and x._value.shape == node._value.shape
        and x._value.dtype.itemsize in (4, 8)
        and x not in program.places
        and any(number_of(z, program) == 0 for z in inputs_of(x))
    )


def _fixed(x: Any, program: Program) -> float | None:
    """Return the number that an array of ours holds everywhere, if nobody can write."""
    if not isinstance(x, Node) or x._op is not None or x in program.places:
        return None
    value = x._value
    if value.flags.writeable or value.base is not None or not value.size:
        return None
    number = value.flat[0]
    return float(number) if (value == number).all() else None


def _is_reshaped(x: Any, root: Any) -> bool:
    """Whether a node is another, in whatever shape."""
    while x is not root and isinstance(x, Node) and x._op is not None:
        if x._op.name != "reshape":
            return False
        (x,) = inputs_of(x)
    return x is root


def _is_filled(x: Any) -> bool:
    """Whether an array is one live number repeated."""
    spread = isinstance(x, Node) and x._op is not None and x._op.name == "spread"
    return spread and isinstance(inputs_of(x)[0], Scalar)


def _is_slice(node: Any) -> bool:
    """Whether a node is a part of an array, cut the same way in every call."""
    if node._op.name != "getitem" or np.ndim(node._value) == 0:
        return False  # of a single element NumPy makes a number, which is no view
    index = node._settings["index"]
    parts = index if isinstance(index, tuple) else (index,)
    return all(type(x) in (int, slice) for x in parts)


def _index_text(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    texts = []
    for x in parts:
        if isinstance(x, int):
            texts.append(str(x))
            continue
        ends = ["" if end is None else str(end) for end in (x.start, x.stop)]
        step = "" if x.step is None else f":{x.step}"
        texts.append(f"{ends[0]}:{ends[1]}{step}")
    return ", ".join(texts) or "()"


def _masks_with(user: Any, mask: Node) -> bool:
    if user._op.name != "multiply":
        return False
    x, y = inputs_of(user)
    g = y if x is mask else x
    return (
        isinstance(g, Node)
        and g is not mask
        and g._value.dtype == inputs_of(mask)[0]._value.dtype == user._value.dtype
        and g._value.shape == mask._value.shape
    )


def _is_view(node: Any) -> bool:
    """Whether NumPy gives a view, whatever array is given."""
    op, x = node._op, inputs_of(node)[0]
    if op.name in ("transpose", "broadcast_to", "spread"):
        return True
    if op.name == "reshape":
        if node._value.size == 1:
            return True
        if x._op is not None and _is_slice(x) and x._value.ndim == 1:
            return True  # of a row, every other shape is a view
        if x._op is not None and x._op.name == "reshape":
            return _is_view(x)
        plain = x._op is None or x._op.name not in _VIEWS
        return plain and (x._op is None or x._value.flags.c_contiguous)
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
