"""Loop nests: elementwise nodes and reductions of one group, in one pass.

The body of a loop is written once, with marks where elements are read and written;
what an index is called is put in when the loops are known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn import shapes
from tinygrad_nn.compiler.c.expressions import (
    TYPES,
    converted,
    expression,
    kind_of,
    loop_dtypes,
)
from tinygrad_nn.compiler.c.groups import REDUCTIONS, Group
from tinygrad_nn.compiler.c.layout import Access, Length, broadcast
from tinygrad_nn.compiler.c.ways import WIDE
from tinygrad_nn.op import Node, inputs_of, settings_of

__all__ = [
    "Body",
    "chosen_order",
    "copied",
    "filling",
    "looped",
    "merged",
    "nested",
    "started",
]

MARK = re.compile("⟦(\\d+)⟧")


@dataclass(eq=False)
class Reduction:
    """A sum or the like: what is added, and where the result goes."""

    node: Any
    name: str
    text: str
    out: Access
    T: str
    adds: bool

    @property
    def is_extreme(self) -> bool:
        """Whether it is a maximum or a minimum, in which a nan must not be lost."""
        return self.node._op.name in ("max", "min")


@dataclass
class Body:
    """The body of a loop nest with marks for accesses, and ``§`` after names."""

    lines: list[str] = field(default_factory=list)
    stores: list[str] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)
    finite: list[tuple[str, int]] = field(default_factory=list)

    def mark(self, access: Access) -> str:
        """Return the mark of an element."""
        if access not in self.accesses:
            self.accesses.append(access)
        return f"⟦{self.accesses.index(access)}⟧"

    def placed(
        self, lines: list[str], index: Callable[[Access], str], suffix: str = ""
    ) -> list[str]:
        """Return lines with indices put in."""
        texts = [f"{a.pointer}[{index(a)}]" for a in self.accesses]
        return [
            MARK.sub(lambda m: texts[int(m[1])], line).replace("§", suffix)
            for line in lines
        ]


def looped(source: Any, group: Group) -> list[str]:
    """Return the text of a loop group."""
    if group.head is not None:
        from tinygrad_nn.compiler.c.products import headed  # noqa: PLC0415

        return headed(source, group)
    axis = source.places.block_axis()
    if axis is None:
        order, shape = chosen_order(source, group), group.shape
    else:  # the axis that is cut into blocks lies along memory
        order = (*(i for i in range(len(group.shape)) if i != axis), axis)
        shape = source.places.block_shape(group.shape, axis)
    body = filled(source, group, order, {})
    return nested(body, shape, order)


def chosen_order(source: Any, group: Group) -> tuple[int, ...]:
    """Return the order of axes that most of what is read has in memory."""
    natural = tuple(range(len(group.shape)))
    votes: dict[tuple[int, ...], int] = {natural: 1}
    for z in group.reads:
        inside = z in source.plan.where and z not in source.places.access
        if z._value.shape == group.shape and len(natural) > 1 and not inside:
            access = source.places.read(z)
            order = tuple(sorted(natural, key=lambda i: -abs(access.strides[i])))
            if sorted(access.strides, reverse=True) == list(access.strides):
                order = natural
            votes[order] = votes.get(order, 0) + 2
    return max(votes, key=lambda order: votes[order])


def filled(
    source: Any, group: Group, order: tuple[int, ...], known: dict[Node, str]
) -> Body:
    """Write the body of a group; ``known`` holds elements computed before it."""
    body = Body()
    names = dict(known)
    for node in group.nodes:
        if node is group.head:
            continue
        if node._op.name in REDUCTIONS:
            _reduced(source, group, node, body, names)
        else:
            _element(source, group, node, body, names)
    for node in group.nodes:
        if node._op.name in REDUCTIONS:
            continue
        if source.places.is_stored(node):
            out = source.places.store(node, order)
            body.stores.append(f"{body.mark(out)} = {names[node]};")
        if source.check_finite and node._value.dtype.kind == "f":
            body.finite.append((names[node], source.numbers[node]))
    return body


def _element(
    source: Any, group: Group, node: Any, body: Body, names: dict[Node, str]
) -> None:
    operands = [
        element(source, group, x, dtype, body, names)
        for x, dtype in zip(inputs_of(node), loop_dtypes(node), strict=True)
    ]
    name = source.names.unique(f"{source.names.of(node)}_i")
    dtype = node._value.dtype
    T = "_Bool" if dtype == np.bool_ else TYPES[str(dtype)]
    text = expression(node, operands, bounded=node in source.tails)
    body.lines.append(f"const {T} {name}§ = {text};")
    names[node] = f"{name}§"


def element(
    source: Any, group: Group, x: Any, dtype: Any, body: Body, names: dict[Node, str]
) -> str:
    """Return one element of an operand in a dtype."""
    text: str | None = source.operand_text(x, dtype)
    if text is not None:
        return text
    have = np.dtype(kind_of(x))
    if isinstance(x, Node) and x in names:
        return converted(names[x], have, dtype)
    if isinstance(x, Node) and x in source.plan.again:
        _element(source, group, x, body, names)
        return converted(names[x], have, dtype)
    access = broadcast(source.places.read(x), group.shape)
    return converted(body.mark(access), have, dtype)


def _reduced(
    source: Any, group: Group, node: Any, body: Body, names: dict[Node, str]
) -> None:
    (x,) = inputs_of(node)
    dtype = node._value.dtype
    settings = settings_of(node)
    gone = shapes.reduced_axes(len(group.shape), settings["axis"])
    out = source.places.store(node)
    strides = list(out.strides)
    if not settings["keepdims"]:
        for axis in sorted(gone):
            strides.insert(axis, 0)
    strides = [0 if i in gone else s for i, s in enumerate(strides)]
    whole = out._replace(shape=group.shape, strides=tuple(strides))
    body.mark(whole)
    text = element(source, group, x, dtype, body, names)
    many = math.prod(group.shape[i] for i in gone) > WIDE
    wide = dtype == np.float32 and many and node._op.name == "sum"
    T = "double" if wide else TYPES[str(dtype)]
    name = source.names.unique(f"{source.names.of(node)}_s")
    adds = source.places.adds(node)
    if adds:
        extent = math.prod(out.shape)
        source.places.prologue.append(filling(out.pointer, extent, node._op.name))
    body.reductions.append(Reduction(node, name, text, whole, T, adds))


# --- nests ---------------------------------------------------------------------------


def merged(
    shape: tuple[int, ...], order: tuple[int, ...], accesses: list[Access]
) -> list[tuple[int, int]]:
    """Return loops as (length, axis): neighbours that step alike everywhere are one."""
    loops: list[tuple[int, int]] = []
    for axis in order:
        size = shape[axis]
        if size == 1:
            continue
        if loops and not isinstance(size, Length):
            length, outer = loops[-1]
            if all(a.strides[outer] == a.strides[axis] * size for a in accesses):
                loops[-1] = (length * size, axis)
                continue
        loops.append((size, axis))
    return loops


def _index_in(
    loops: list[tuple[int, int]], names: list[str]
) -> Callable[[Access], str]:
    """Return how an access is indexed inside of loops."""

    def index(access: Access) -> str:
        terms = [] if access.offset == 0 else [str(access.offset)]
        for (_, axis), name in zip(loops, names, strict=True):
            stride = access.strides[axis]
            if stride:
                plain = name.isalnum()
                text = name if plain or stride == 1 else f"({name})"
                terms.append(text if stride == 1 else f"{stride} * {text}")
        return " + ".join(terms) or "0"

    return index


_START = {"sum": "0", "prod": "1", "max": "-INFINITY", "min": "INFINITY"}
_SIGN = {"sum": "+", "prod": "*", "max": "max", "min": "min"}


def filling(pointer: str, extent: int, name: str) -> str:
    """Return a loop that sets what is added up to its start."""
    return f"for (long i = 0; i < {extent}; i++) {pointer}[i] = {_START[name]};"


def started(r: Reduction, shape: tuple[int, ...]) -> list[str]:
    """Return loops that set all that a reduction over a shape gives to its start."""
    body = Body()
    body.stores.append(f"{body.mark(r.out)} = {_START[r.node._op.name]};")
    strides = r.out.strides
    kept = tuple(s if t else 1 for s, t in zip(shape, strides, strict=True))
    order = sorted(range(len(kept)), key=lambda axis: -abs(strides[axis]))
    return nested(body, kept, tuple(order))


def _step(r: Reduction, target: str, text: str) -> str:
    name = r.node._op.name
    if name == "sum":
        return f"{target} += {text};"
    if name == "prod":
        return f"{target} *= {text};"
    sign = ">" if name == "max" else "<"
    return f"{target} = ({text}) {sign} {target} ? {text} : {target};"


def nested(body: Body, shape: tuple[int, ...], order: tuple[int, ...]) -> list[str]:
    """Return a loop nest around a body."""
    return _Nest(body, shape, order).written()


class _Nest:
    """Writes loops: a sum has a scalar where only axes that it sums lie inside."""

    def __init__(
        self, body: Body, shape: tuple[int, ...], order: tuple[int, ...]
    ) -> None:
        self.body = body
        self.shape = shape
        self.loops = merged(shape, order, body.accesses)
        self.depth = len(self.loops)
        many = self.depth > 1
        self.names = [f"i{k}" if many else "i" for k in range(self.depth)]
        self.index = _index_in(self.loops, self.names)
        self.flags = [f"bad_{number}" for _, number in body.finite]
        self.lines: list[str] = []
        self.pad = ""
        self.levels = [(self._level(r), r) for r in body.reductions]

    def _level(self, r: Reduction) -> int:
        """Return the loop before which a sum begins; the depth if it has no scalar."""
        level = self.depth
        while level > 0 and self._sums(r, level - 1):
            level -= 1
        return level

    def _sums(self, r: Reduction, k: int) -> bool:
        return r.out.strides[self.loops[k][1]] == 0

    def _adds(self, r: Reduction, level: int) -> bool:
        """Whether what a level gives is added to what lies in memory."""
        return r.adds or any(self._sums(r, k) for k in range(level))

    def _has_scalar(self, level: int) -> bool:
        return level < self.depth or not self.depth

    def write(self, *lines: str) -> None:
        """Add lines, indented."""
        self.lines += [self.pad + line for line in lines]

    def written(self) -> list[str]:
        """Return the whole."""
        for level, r in self.levels:
            if self._adds(r, level) and not r.adds:
                self.write(*started(r, self.shape))
        first = any(level == 0 for level, _ in self.levels)
        braces = not self.depth or bool(self.flags) or first
        if braces:
            self.write("{")
            self.pad += "    "
        if self.flags:
            self.write(f"int {', '.join(f'{flag} = 0' for flag in self.flags)};")
        for k in range(self.depth):
            self._begin(k)
            self._open(k)
        if not self.depth:
            self._begin(0)
        self._inside()
        for k in reversed(range(self.depth)):
            self.pad = self.pad[:-4]
            self.write("}")
            self._end(k)
        if not self.depth:
            self._end(0)
        self.write(*(f"if ({flag}) return {flag[4:]};" for flag in self.flags))
        if braces:
            self.pad = self.pad[:-4]
            self.write("}")
        return self.lines

    def _begin(self, k: int) -> None:
        """Declare the scalars of a level."""
        for level, r in self.levels:
            if level == k:
                self.write(f"{r.T} {r.name} = {_START[r.node._op.name]};")
                if r.is_extreme:
                    self.write(f"int {r.name}_nan = 0;")

    def _open(self, k: int) -> None:
        name, (size, _) = self.names[k], self.loops[k]
        if k == self.depth - 1:
            self.write(f"#pragma omp simd{self._clauses()}")
        self.write(f"for (long {name} = 0; {name} < {size}; {name}++) {{")
        self.pad += "    "

    def _clauses(self) -> str:
        """Say which scalars the lanes of the innermost loop have each for itself."""
        inner = [r for level, r in self.levels if level < self.depth]
        found: dict[str, list[str]] = {}
        for r in inner:
            found.setdefault(_SIGN[r.node._op.name], []).append(r.name)
        flags = [f"{r.name}_nan" for r in inner if r.is_extreme] + self.flags
        if flags:
            found["|"] = flags
        return "".join(
            f" reduction({sign}: {', '.join(names)})" for sign, names in found.items()
        )

    def _inside(self) -> None:
        body = self.body
        self.write(*body.placed(body.lines, self.index))
        for level, r in self.levels:
            (text,) = body.placed([r.text], self.index)
            if not self._has_scalar(level):
                self._keep(r, level, text)
                continue
            if r.is_extreme:
                self.write(f"{r.name}_nan |= {text} != {text};")
            self.write(_step(r, r.name, text))
        self.write(*body.placed(body.stores, self.index))
        for text, number in body.finite:
            name = text.replace("§", "")
            self.write(f"bad_{number} |= !({name} - {name} == 0);")

    def _keep(self, r: Reduction, level: int, text: str) -> None:
        """Write what a level gives to memory, or add it there."""
        place = f"{r.out.pointer}[{self.index(r.out)}]"
        if self._adds(r, level):
            self.write(_into_memory(r, place, text))
        else:
            self.write(f"{place} = {text};")

    def _end(self, k: int) -> None:
        for level, r in self.levels:
            if level == k:
                value = f"({r.name}_nan ? NAN : {r.name})" if r.is_extreme else r.name
                self._keep(r, level, value)


def _into_memory(r: Reduction, place: str, text: str) -> str:
    """Add to what lies in memory; a nan goes through `max` and `min`."""
    name = r.node._op.name
    if name in ("sum", "prod"):
        return _step(r, place, text)
    sign = ">" if name == "max" else "<"
    keep = f"({text}) {sign} {place} | ({text}) != ({text})"
    return f"{place} = ({keep}) ? {text} : {place};"


def copied(x: Access, out: Access) -> list[str]:
    """Return a loop that copies elements."""
    body = Body()
    body.stores.append(f"{body.mark(out)} = {body.mark(x)};")
    natural = tuple(range(len(out.shape)))
    by = x if math.prod(x.shape) and 0 not in x.strides else out
    order = tuple(sorted(natural, key=lambda i: -abs(by.strides[i])))
    if sorted(by.strides, reverse=True) == list(by.strides):
        order = natural
    return nested(body, out.shape, order)
