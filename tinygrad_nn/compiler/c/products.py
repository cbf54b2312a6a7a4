"""Products of matrices: by loops over vectors where a side is short, else by the BLAS.

The loops are two. Where one side of the result is long, it is the vector, and eight
rows or columns of the result are computed at a time. Where the sum is long, it is the
vector, and five times five elements are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn.compiler.blas import NO_TRANSPOSE, ROW_MAJOR, TRANSPOSE
from tinygrad_nn.compiler.c.expressions import TYPES, converted
from tinygrad_nn.compiler.c.groups import Group, sizes_of
from tinygrad_nn.compiler.c.layout import Access, Length, broadcast, in_order
from tinygrad_nn.compiler.c.loops import Body, copied, filled, filling, started
from tinygrad_nn.compiler.c.tiles import by_tiles, suits
from tinygrad_nn.compiler.c.ways import (
    FEW,
    SMALL,
    UNROLLED,
    WIDE,
    is_large,
    vector_axis,
)
from tinygrad_nn.op import inputs_of

__all__ = ["headed", "multiplied"]

ROWS = 8
TILE = 5
PAGE = 1 << 10
"""Elements of a long row."""
AHEAD = 1 << 14
"""Bytes between what is read and what is asked for."""


def _index(access: Access, names: list[str]) -> str:
    """Return the text of an index, from the texts for each axis."""
    terms = [] if access.offset == 0 else [str(access.offset)]
    for stride, name in zip(access.strides, names, strict=True):
        if stride == 0 or name == "0":
            continue
        text = name if name.isalnum() or stride == 1 else f"({name})"
        terms.append(text if stride == 1 else f"{stride} * {text}")
    return " + ".join(terms) or "0"


def _element(access: Access, *names: str) -> str:
    return f"{access.pointer}[{_index(access, list(names))}]"


def headed(source: Any, group: Group) -> list[str]:
    """Return the loops of a small product and of what is computed from its elements."""
    node = group.head
    m, n, k = sizes_of(node)
    x, y = (source.places.read(z) for z in inputs_of(node))
    axis = source.places.block_axis()
    lines: list[str] = []
    if axis is None:
        axis, lines, x, y = _arranged(source, x, y, sums=False)
    else:
        m, n = source.places.block_shape((m, n), axis)
    order = (1, 0) if axis == 0 else (0, 1)
    name = source.names.unique(f"{source.names.of(node)}_i")
    body = filled(source, group, order, {node: f"{name}§"})
    T = TYPES[str(node._value.dtype)]
    epilogue = _Epilogue(body, axis, (m, n))
    loops = epilogue.begun() + _by_vectors((m, n, k), axis, x, y, T, name, epilogue)
    flags = epilogue.flags
    if flags:
        lines.append("{")
        lines.append(f"    int {', '.join(f'{flag} = 0' for flag in flags)};")
        lines += [f"    {line}" for line in loops]
        lines += [f"    if ({flag}) return {flag[4:]};" for flag in flags]
        return [*lines, "}"]
    return [*lines, *loops]


class _Epilogue:
    """What follows each element of a product: the body of its group, and sums.

    Parameters
    ----------
    body
        The lines, in which the element is known.
    axis
        The axis that is the vector: over it a sum has a scalar for each row.
    shape
        Rows and columns that the loop goes over.
    """

    def __init__(self, body: Body, axis: int, shape: tuple[int, int]) -> None:
        self.body = body
        self.axis = axis
        self.shape = shape
        rows = shape[1 - axis]
        self.flags = [f"bad_{number}" for _, number in body.finite]
        along = [r.out.strides[axis] == 0 for r in body.reductions]
        across = [r.out.strides[1 - axis] == 0 for r in body.reductions]
        # Adds to memory what no scalar holds from the first to the last row.
        self.adds = [
            r.adds or not held or (summed and rows > 1)
            for r, held, summed in zip(body.reductions, along, across, strict=True)
        ]
        self.scalars = [
            r for r, held in zip(body.reductions, along, strict=True) if held
        ]

    def begun(self) -> list[str]:
        """Set to zero what is added to."""
        return [
            line
            for r, adds in zip(self.body.reductions, self.adds, strict=True)
            if adds and not r.adds
            for line in started(r, self.shape)
        ]

    def opened(self, suffixes: list[str]) -> list[str]:
        """Declare the scalars of some rows, before the loop over the vector."""
        return [
            f"{r.T} {', '.join(f'{r.name}{suffix} = 0' for suffix in suffixes)};"
            for r in self.scalars
        ]

    def clauses(self, suffixes: list[str]) -> str:
        """Say which of them every lane has for itself."""
        names = [f"{r.name}{suffix}" for r in self.scalars for suffix in suffixes]
        text = f" reduction(+: {', '.join(names)})" if names else ""
        return text + (f" reduction(|: {', '.join(self.flags)})" if self.flags else "")

    def inside(self, u: str, v: str, suffix: str) -> list[str]:
        """Return what is done with an element of row ``u``."""
        body, at = self.body, self._at(u, v)
        found = body.placed(body.lines + body.stores, at, suffix)
        for r in body.reductions:
            (text,) = body.placed([r.text], at, suffix)
            held = r in self.scalars
            target = f"{r.name}{suffix}" if held else f"{r.out.pointer}[{at(r.out)}]"
            found.append(f"{target} += {text};")
        for text, number in body.finite:
            element = text.replace("§", "") + suffix
            found.append(f"bad_{number} |= !({element} - {element} == 0);")
        return found

    def closed(self, u: str, suffix: str) -> list[str]:
        """Return what is done with the scalars of row ``u``, after the loop."""
        at = self._at(u, "0")
        return [
            f"{r.out.pointer}[{at(r.out)}] {'+=' if adds else '='} {r.name}{suffix};"
            for r, adds in zip(self.body.reductions, self.adds, strict=True)
            if r in self.scalars
        ]

    def _at(self, u: str, v: str) -> Callable[[Access], str]:
        names = [v, u] if self.axis == 0 else [u, v]
        return lambda access: _index(access, names)


def _arranged(
    source: Any, x: Access, y: Access, *, sums: bool
) -> tuple[int, list[str], Access, Access]:
    """Choose the axis that is the vector; pack what does not lie along it."""
    axis = vector_axis(x, y, sums=sums)
    lines: list[str] = []
    if axis != 1 and x.strides[0 if axis == 0 else 1] != 1:
        x = _packed(source, x, (1, 0) if axis == 0 else (0, 1), lines)
    if axis != 0 and y.strides[1 if axis == 1 else 0] != 1:
        y = _packed(source, y, (0, 1) if axis == 1 else (1, 0), lines)
    return axis, lines, x, y


def _packed(source: Any, x: Access, order: tuple[int, ...], lines: list[str]) -> Access:
    """Return a copy of a matrix whose last axis in the order lies along memory."""
    kept: Access = source.places.scratch(math.prod(x.shape), x.dtype)
    kept = kept._replace(shape=x.shape, strides=in_order(x.shape, order))
    lines += copied(x, kept)
    return kept


def _by_vectors(
    sizes: tuple[int, int, int],
    axis: int,
    x: Access,
    y: Access,
    T: str,
    name: str,
    epilogue: _Epilogue,
) -> list[str]:
    """Return loops in which rows (axis 0) or columns (axis 1) are the vector."""
    m, n, k = sizes
    count, length = (n, m) if axis == 0 else (m, n)

    def tile(first: str, rows: int) -> list[str]:
        at = [_plus(first, i) for i in range(rows)]
        suffixes = [f"_{i}" for i in range(rows)] if rows > 1 else [""]
        sums = [f"{name}{suffix}" for suffix in suffixes]
        if axis == 0:
            vector = _element(x, "v", "k")
            scalars = [_element(y, "k", u) for u in at]
        else:
            vector = _element(y, "k", "v")
            scalars = [_element(x, u, "k") for u in at]
        lines = [
            *epilogue.opened(suffixes),
            f"#pragma omp simd{epilogue.clauses(suffixes)}",
            f"for (long v = 0; v < {length}; v++) {{",
        ]
        if k <= UNROLLED:
            lines += _unrolled(k, T, vector, scalars, sums)
        else:
            lines += [
                f"    {T} {', '.join(f'{s} = 0' for s in sums)};",
                f"    for (long k = 0; k < {k}; k++) {{",
                f"        const {T} e = {vector};",
                *(
                    f"        {s} += {scalar} * e;"
                    for s, scalar in zip(sums, scalars, strict=True)
                ),
                "    }",
            ]
        for u, suffix in zip(at, suffixes, strict=True):
            lines += [f"    {line}" for line in epilogue.inside(u, "v", suffix)]
        lines.append("}")
        for u, suffix in zip(at, suffixes, strict=True):
            lines += epilogue.closed(u, suffix)
        return (
            ["{", *(f"    {line}" for line in lines), "}"]
            if epilogue.scalars
            else lines
        )

    # Rows that are a page apart fall into the same few lines of the first-level cache;
    # those of a block are not.
    near = isinstance(length, Length) or length < PAGE
    return _tiled("u", count, ROWS if near else ROWS // 2, tile)


def _tiled(
    name: str, count: int, size: int, tile: Callable[[str, int], list[str]]
) -> list[str]:
    """Return a loop over whole tiles, and the rest, whose length is known, after it."""
    whole = count // size * size
    lines: list[str] = []
    if whole > size:
        lines.append(f"for (long {name} = 0; {name} < {whole}; {name} += {size}) {{")
        lines += [f"    {line}" for line in tile(name, size)]
        lines.append("}")
    elif whole:
        lines += tile("0", size)
    if count > whole:
        lines += tile(str(whole), count - whole)
    return lines


def _unrolled(
    k: int, T: str, vector: str, scalars: list[str], sums: list[str]
) -> list[str]:
    """Return sums written out."""
    at = [_with_number(vector, i) for i in range(k)]
    lines = [f"    const {T} e_{i} = {text};" for i, text in enumerate(at)]
    for s, scalar in zip(sums, scalars, strict=True):
        terms = [f"{_with_number(scalar, i)} * e_{i}" for i in range(k)]
        lines.append(f"    const {T} {s} = {' + '.join(terms)};")
    return lines


def _with_number(text: str, i: int) -> str:
    """Put a number where an element is indexed by ``k``."""
    return re.sub(r"\bk\b", str(i), text)


def _plus(first: str, i: int) -> str:
    if first.isdigit():
        return str(int(first) + i)
    return f"{first} + {i}" if i else first


# --- products that stand alone --------------------------------------------------------


def multiplied(source: Any, node: Any) -> list[str]:
    """Return the text of a product of matrices or of stacks of them."""
    m, n, _ = sizes_of(node)
    x, y = (source.places.read(z) for z in inputs_of(node))
    rows, columns = len(x.shape) > 1, len(y.shape) > 1
    order = None
    if len(x.shape) == len(y.shape) == 2 and m > 4 * n and n < SMALL:
        # Rows that are long and columns that are few: the other way round in memory.
        order = (1, 0) if x.strides[0] == 1 else None
    out = source.places.store(node, order)
    if not rows:
        x = _with_axis(x, 0)
        out = _with_axis(out, len(out.shape) - columns)
    if not columns:
        y = _with_axis(y, 1)
        out = _with_axis(out, len(out.shape))
    batch = out.shape[:-2]
    if not math.prod(out.shape):
        return []
    if not batch:
        return _matrix(source, x, y, out)
    x = broadcast(x, (*batch, *x.shape[-2:]))
    y = broadcast(y, (*batch, *y.shape[-2:]))
    return _stacked(source, x, y, out)


def _stacked(source: Any, x: Access, y: Access, out: Access) -> list[str]:
    """Return loops over stacks of matrices."""
    batch = out.shape[:-2]
    names = [f"at_{i}" for i in range(len(batch))]
    inside, matrices = [], []
    for access in (x, y, out):
        local = source.names.unique(f"{access.pointer}_b")
        const = "" if access is out else "const "
        shift = _index(access._replace(strides=access.strides[:-2]), names)
        T = TYPES[str(access.dtype)]
        inside.append(f"{const}{T} *const {local} = {access.pointer} + {shift};")
        shape, strides = access.shape[-2:], access.strides[-2:]
        matrices.append(Access(local, access.dtype, 0, shape, strides))
    inside += _matrix(source, *matrices)
    lines: list[str] = []
    pad = ""
    for name, size in zip(names, batch, strict=True):
        lines.append(f"{pad}for (long {name} = 0; {name} < {size}; {name}++) {{")
        pad += "    "
    lines += [pad + line for line in inside]
    for _ in names:
        pad = pad[:-4]
        lines.append(f"{pad}}}")
    return lines


def _with_axis(x: Access, place: int) -> Access:
    return x._replace(
        shape=(*x.shape[:place], 1, *x.shape[place:]),
        strides=(*x.strides[:place], 0, *x.strides[place:]),
    )


def _matrix(source: Any, x: Access, y: Access, out: Access) -> list[str]:
    """Return one product, the way that suits its sizes."""
    (m, k), n = x.shape, y.shape[1]
    same = x.dtype == y.dtype == out.dtype and out.dtype.kind == "f"
    if not same or k == 0:
        return _plainly(x, y, out)
    if source.places.in_region:
        zeros = filling(out.pointer, math.prod(out.shape), "sum")
        source.places.prologue.append(zeros)
        return _by_sums(x, y, out, block=source.places.block_shape((k,), 0)[0])
    if suits(source, x, y, out):
        return by_tiles(source, x, y, out)
    if min(m, n, k) >= SMALL and source.blas is not None and out.strides[1] == 1:
        return _by_blas(source, x, y, out)
    axis, lines, x, y = _arranged(source, x, y, sums=True)
    if axis == 2:
        return lines + _summed(x, y, out)
    if axis == 0:  # as its transpose
        x, y, out = (access.reordered((1, 0)) for access in (y, x, out))
    return lines + _along_columns(source, x, y, out)


def _summed(x: Access, y: Access, out: Access) -> list[str]:
    """Return a product in which the sum is the vector."""
    if x.shape[0] < SMALL and is_large(y):
        return _stream_of_sums(x, y, out)
    if y.shape[1] < SMALL and is_large(x):
        x, y, out = (access.reordered((1, 0)) for access in (y, x, out))
        return _stream_of_sums(x, y, out)
    return _by_sums(x, y, out)


def _along_columns(source: Any, x: Access, y: Access, out: Access) -> list[str]:
    """Return a product in which a row of the result is the vector."""
    (m, k), n = x.shape, y.shape[1]
    if m >= SMALL or k < FEW or not is_large(y):
        body = Body()
        body.stores.append(f"{body.mark(out)} = s§;")
        T = TYPES[str(out.dtype)]
        return _by_vectors((m, n, k), 1, x, y, T, "s", _Epilogue(body, 1, (m, n)))
    if out.strides[1] == 1:
        return _stream_of_rows(x, y, out)
    along: Access = source.places.scratch(m * n, out.dtype)
    along = along._replace(shape=(m, n), strides=(n, 1))
    return _stream_of_rows(x, y, along) + copied(along, out)


def _plainly(x: Access, y: Access, out: Access) -> list[str]:
    """Return three loops: for whole numbers and masks, and sums of nothing."""
    (m, k), n = x.shape, y.shape[1]
    T = TYPES[str(out.dtype)]
    a = converted(_element(x, "u", "k"), x.dtype, out.dtype)
    b = converted(_element(y, "k", "v"), y.dtype, out.dtype)
    step = f"s |= {a} & {b};" if out.dtype == np.bool_ else f"s += {a} * {b};"
    return [
        f"for (long u = 0; u < {m}; u++)",
        f"    for (long v = 0; v < {n}; v++) {{",
        f"        {T} s = 0;",
        f"        for (long k = 0; k < {k}; k++) {step}",
        f"        {_element(out, 'u', 'v')} = s;",
        "    }",
    ]


def _by_sums(x: Access, y: Access, out: Access, block: int | None = None) -> list[str]:
    """Return tiles of five times five sums along the vector; of a block they add up."""
    (m, k), n = x.shape, y.shape[1]
    T = _summed_in(out.dtype, k)
    k, sign = (k, "=") if block is None else (block, "+=")

    def tile(first: str, rows: int, second: str, columns: int) -> list[str]:
        us = [_plus(first, i) for i in range(rows)]
        vs = [_plus(second, j) for j in range(columns)]
        names = [[f"s_{i}_{j}" for j in range(columns)] for i in range(rows)]
        flat = [name for row in names for name in row]
        found = [
            "{",
            f"    {T} {', '.join(f'{name} = 0' for name in flat)};",
            f"    #pragma omp simd reduction(+: {', '.join(flat)})",
            f"    for (long k = 0; k < {k}; k++) {{",
        ]
        for i, u in enumerate(us):
            terms = [
                f"{names[i][j]} += {_element(x, u, 'k')} * {_element(y, 'k', v)};"
                for j, v in enumerate(vs)
            ]
            found.append(f"        {' '.join(terms)}")
        found.append("    }")
        found += [
            f"    {_element(out, u, v)} {sign} {names[i][j]};"
            for i, u in enumerate(us)
            for j, v in enumerate(vs)
        ]
        return [*found, "}"]

    def row(first: str, rows: int) -> list[str]:
        return _tiled("v", n, TILE, lambda v, columns: tile(first, rows, v, columns))

    return _tiled("u", m, TILE, row)


def _summed_in(dtype: Any, k: int) -> str:
    """Return the type of a sum of that many products."""
    return "double" if dtype == np.float32 and k > WIDE else TYPES[str(dtype)]


def _ahead(x: Access, row: str, length: int) -> str:
    """Return a loop that asks for memory some kilobytes before it is read."""
    line = 64 // x.dtype.itemsize
    far = AHEAD // x.dtype.itemsize
    return (
        f"for (long q = 0; q < {length}; q += {line}) "
        f"__builtin_prefetch({row} + {far} + q);"
    )


def _stream_of_rows(x: Access, y: Access, out: Access) -> list[str]:
    """Return ``out = x y`` for a large y: two of its rows at a time are added."""
    (m, k), n = x.shape, y.shape[1]
    T = TYPES[str(out.dtype)]
    step = y.strides[0]
    rows = [_plus("0", i) for i in range(m)]
    lines = ["#pragma omp simd", f"for (long v = 0; v < {n}; v++) {{"]
    lines += [f"    {_element(out, u, 'v')} = 0;" for u in rows]
    lines.append("}")

    def added(first: str, count: int) -> list[str]:
        found = [
            f"const {T} *restrict const row = {y.pointer} + {_index(y, [first, '0'])};"
        ]
        found.append(_ahead(y, "row", count * n))
        for u in rows:
            weights = [
                f"w_{u}_{j} = {_element(x, u, _plus(first, j))}" for j in range(count)
            ]
            found.append(f"const {T} {', '.join(weights)};")
        found += ["#pragma omp simd", f"for (long v = 0; v < {n}; v++) {{"]
        parts = [f"e_{j} = row[{_plus(str(step * j), 0)} + v]" for j in range(count)]
        found.append(f"    const {T} {', '.join(parts)};")
        for u in rows:
            terms = " + ".join(f"w_{u}_{j} * e_{j}" for j in range(count))
            found.append(f"    {_element(out, u, 'v')} += {terms};")
        return [*found, "}"]

    even = k // 2 * 2
    lines.append(f"for (long k = 0; k < {even}; k += 2) {{")
    lines += [f"    {line}" for line in added("k", 2)]
    lines.append("}")
    if k > even:
        lines += ["{", *(f"    {line}" for line in added(str(even), 1)), "}"]
    return lines


def _stream_of_sums(x: Access, y: Access, out: Access) -> list[str]:
    """Return ``out = x y`` for a large y of columns along memory, one at a time."""
    (m, k), n = x.shape, y.shape[1]
    T = TYPES[str(out.dtype)]
    wide = _summed_in(out.dtype, k)
    sums = [f"s_{i}" for i in range(m)]
    return [
        f"for (long v = 0; v < {n}; v++) {{",
        f"    const {T} *restrict const row = {y.pointer} + {_index(y, ['0', 'v'])};",
        f"    {_ahead(y, 'row', k)}",
        f"    {wide} {', '.join(f'{s} = 0' for s in sums)};",
        f"    #pragma omp simd reduction(+: {', '.join(sums)})",
        f"    for (long k = 0; k < {k}; k++) {{",
        f"        const {T} e = row[k];",
        *(
            f"        {s} += {_element(x, str(i), 'k')} * e;"
            for i, s in enumerate(sums)
        ),
        "    }",
        *(f"    {_element(out, str(i), 'v')} = {s};" for i, s in enumerate(sums)),
        "}",
    ]


def _by_blas(source: Any, x: Access, y: Access, out: Access) -> list[str]:
    """Return a call of the BLAS; a transposed operand is a flag, never a copy."""
    (m, k), n = x.shape, y.shape[1]
    lines: list[str] = []
    sides = []
    for access in (x, y):
        rows, columns = access.shape
        s, t = access.strides
        if t == 1 and s >= columns:
            sides.append((access, NO_TRANSPOSE, s))
        elif s == 1 and t >= rows:
            sides.append((access, TRANSPOSE, t))
        else:
            packed = _packed(source, access, (0, 1), lines)
            sides.append((packed, NO_TRANSPOSE, columns))
    texts = [
        f"{a.pointer} + {a.offset}" if a.offset else a.pointer for a, _, _ in sides
    ]
    target = f"{out.pointer} + {out.offset}" if out.offset else out.pointer
    (_, flag_x, step_x), (_, flag_y, step_y) = sides
    gemm = source.gemm(out.dtype)
    lines.append(
        f"{gemm}({ROW_MAJOR}, {flag_x}, {flag_y}, {m}, {n}, {k}, 1, {texts[0]}, "
        f"{step_x}, {texts[1]}, {step_y}, 0, {target}, {out.strides[0]});"
    )
    return lines
