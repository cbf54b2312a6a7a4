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
from tinygrad_nn.op import Node, inputs_of, settings_of

__all__ = [
    "Body",
    "chosen_order",
    "copied",
    "filling",
    "indexed",
    "looped",
    "merged",
    "nested",
]

MARK = re.compile("⟦(\\d+)⟧")


@dataclass
class Reduction:
    """A sum or the like: what is added, and where the result goes."""

    node: Any
    name: str
    text: str
    out: Access
    T: str
    extent: int
    adds: bool


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
    body.lines.append(f"const {T} {name}§ = {expression(node, operands)};")
    names[node] = f"{name}§"


def element(
    source: Any, group: Group, x: Any, dtype: Any, body: Body, names: dict[Node, str]
) -> str:
    """Return one element of an operand in a dtype."""
    text = source.operand_text(x, dtype)
    if text is not None:
        return text
    have = np.dtype(kind_of(x))
    if x in names if isinstance(x, Node) else False:
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
    many = math.prod(group.shape[i] for i in gone) > 4096
    wide = dtype == np.float32 and many and node._op.name == "sum"
    T = "double" if wide else TYPES[str(dtype)]
    name = source.names.unique(f"{source.names.of(node)}_s")
    extent, adds = source.places.extent(node), source.places.adds(node)
    if adds:
        source.places.prologue.append(filling(out.pointer, extent, node._op.name))
    body.reductions.append(Reduction(node, name, text, whole, T, extent, adds))


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
    loops = merged(shape, order, body.accesses)
    names = [f"i{k}" if len(loops) > 1 else "i" for k in range(len(loops))]
    index = _index_in(loops, names)
    depth = len(loops)
    inner: dict[int, list[Reduction]] = {}  # by the depth of their scalar
    lines: list[str] = []
    fills: list[str] = []
    for r in body.reductions:
        d = depth
        while d > 0 and r.out.strides[loops[d - 1][1]] == 0:
            d -= 1
        inner.setdefault(d, []).append(r)
        outer_reduced = any(r.out.strides[axis] == 0 for _, axis in loops[:d])
        if outer_reduced and not r.adds:
            fills.append(filling(r.out.pointer, r.extent, r.node._op.name))
    simd = [r for d, rs in inner.items() if d < depth for r in rs]
    lines += fills
    flags = [f"bad_{number}" for _, number in body.finite]
    pad = ""
    if not depth:
        lines.append("{")
        pad = "    "
    for k in range(depth + 1):
        if k == 0 and flags:
            if depth:
                lines.append("{")
                pad = "    "
            lines.append(f"{pad}int {', '.join(f'{flag} = 0' for flag in flags)};")
        if k < depth or not depth:
            for r in inner.get(k, []):
                start = _START[r.node._op.name]
                if not pad and k == 0 and depth and not flags:
                    lines.append("{")
                    pad = "    "
                lines.append(f"{pad}{r.T} {r.name} = {start};")
                if r.node._op.name in ("max", "min"):
                    lines.append(f"{pad}int {r.name}_nan = 0;")
        if k == depth:
            break
        if k == depth - 1:
            clause = "".join(
                f" reduction({sign}: {', '.join(found)})"
                for sign in ("+", "*", "max", "min")
                if (found := [r.name for r in simd if _SIGN[r.node._op.name] == sign])
            )
            flagged = [
                f"{r.name}_nan" for r in simd if r.node._op.name in ("max", "min")
            ]
            flagged += flags
            if flagged:
                clause += f" reduction(|: {', '.join(flagged)})"
            lines.append(f"{pad}#pragma omp simd{clause}")
        size, _ = loops[k]
        lines.append(
            f"{pad}for (long {names[k]} = 0; {names[k]} < {size}; {names[k]}++) {{"
        )
        pad += "    "
    lines += [f"{pad}{line}" for line in body.placed(body.lines, index)]
    for r in body.reductions:
        (text,) = body.placed([r.text], index)
        place = f"{r.out.pointer}[{index(r.out)}]"
        extreme = r.node._op.name in ("max", "min")
        if depth and any(r is x for x in inner.get(depth, [])):
            if r.adds or any(r.out.strides[axis] == 0 for _, axis in loops):
                lines.append(pad + _into_memory(r, place, text))
            else:
                lines.append(f"{pad}{place} = {text};")
            continue
        if extreme:
            lines.append(f"{pad}{r.name}_nan |= {text} != {text};")
        lines.append(pad + _step(r, r.name, text))
    lines += [f"{pad}{line}" for line in body.placed(body.stores, index)]
    for text, number in body.finite:
        name = text.replace("§", "")
        lines.append(f"{pad}bad_{number} |= !({name} - {name} == 0);")
    for k in range(depth, -1, -1):
        if k < depth or not depth:
            for r in inner.get(k, []):
                place = f"{r.out.pointer}[{index(r.out)}]"
                value = r.name
                if r.node._op.name in ("max", "min"):
                    value = f"{r.name}_nan ? NAN : {r.name}"
                if r.adds or any(r.out.strides[axis] == 0 for _, axis in loops[:k]):
                    lines.append(pad + _into_memory(r, place, f"({value})"))
                else:
                    lines.append(f"{pad}{place} = {value};")
            if k == 0:
                lines += [
                    f"{pad}if ({flag}) return {flag.removeprefix('bad_')};"
                    for flag in flags
                ]
        if k > 0:
            pad = pad[:-4]
            lines.append(f"{pad}}}")
    if pad:
        lines.append("}")
    return lines


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
