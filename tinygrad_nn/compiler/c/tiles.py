"""Products of middling matrices on one thread, where the processor has AVX-512.

A BLAS copies both operands before it multiplies. Where sizes and strides are literals,
a tile of six rows needs no copy of them: the rows are read where they lie, and 24
registers hold six times four vectors of the result. Columns are copied, a panel of four
vectors at a time, which stays in the second-level cache.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_nn.compiler.c.expressions import TYPES
from tinygrad_nn.compiler.c.layout import Access
from tinygrad_nn.compiler.toolchain import find_compiler

__all__ = ["TILES", "by_tiles", "suits"]

ROWS = 6
BYTES = 256
"""Of a row of a tile: four vectors."""
LEAST = 64
"""Rows for which a copy of the columns pays."""
FULL = 1.1
"""By how much the panels may be wider than what they hold."""
DEEPEST = 1024
"""The longest sum: its panel must fit the second-level cache."""
LARGEST = 1 << 22
"""Bytes of the matrix whose rows are read again for every panel.

All as measured, float32 and float64, against OpenBLAS on one core.
"""

_TEXT = """\
// A tile of a product: some rows of x times a panel of y, which lies side by side.
typedef {T} lanes_{T} __attribute__((vector_size(64), aligned({size}), may_alias));

static inline __attribute__((always_inline)) void tile_{T}(
    const long rows, const long k, const {T} *x, const long down, const long right,
    const {T} *y, {T} *out, const long step)
{{
    lanes_{T} s[6][4];
    #pragma GCC unroll 6
    for (long i = 0; i < rows; i++)
        #pragma GCC unroll 4
        for (long j = 0; j < 4; j++) s[i][j] = (lanes_{T}){{0}};
    for (long q = 0; q < k; q++) {{
        lanes_{T} e[4];
        #pragma GCC unroll 4
        for (long j = 0; j < 4; j++)
            e[j] = *(const lanes_{T} *)(y + {width} * q + {lanes} * j);
        #pragma GCC unroll 6
        for (long i = 0; i < rows; i++)
            #pragma GCC unroll 4
            for (long j = 0; j < 4; j++) s[i][j] += x[down * i + right * q] * e[j];
    }}
    #pragma GCC unroll 6
    for (long i = 0; i < rows; i++)
        #pragma GCC unroll 4
        for (long j = 0; j < 4; j++)
            *(lanes_{T} *)(out + step * i + {lanes} * j) = s[i][j];
}}

// One panel: all rows of x, six at a time; the rest is fewer. What is left of the
// columns at the end goes by way of a tile of its own.
static inline __attribute__((always_inline)) void panel_{T}(
    const long m, const long columns, const long k, const {T} *x, const long down,
    const long right, const long next, const {T} *y, {T} *out, const long step)
{{
    {T} apart[6 * {width}];
    for (long i = 0; i < m / 6 * 6; i += 6) {{
        {T} *const to = columns < {width} ? apart : out + step * i;
        const long wide = columns < {width} ? {width} : step;
        tile_{T}(6, k, x + next * (i / 6), down, right, y, to, wide);
        if (columns < {width})
            for (long u = 0; u < 6; u++)
                memcpy(out + step * (i + u), apart + {width} * u, {size} * columns);
    }}
    const long i = m / 6 * 6;
    if (m > i) {{
        tile_{T}(m - i, k, x + next * (i / 6), down, right, y, apart, {width});
        for (long u = 0; u < m - i; u++)
            memcpy(out + step * (i + u), apart + {width} * u, {size} * columns);
    }}
}}
"""


def _text(T: str, size: int) -> str:
    width = BYTES // size
    return _TEXT.format(T=T, size=size, width=width, lanes=width // 4)


TILES = {"panel_float": _text("float", 4), "panel_double": _text("double", 8)}
"""Functions that products call, by name."""


def suits(source: Any, x: Access, y: Access, out: Access) -> bool:
    """Whether a product is quicker by tiles than by the BLAS."""
    (m, k), n = x.shape, y.shape[1]
    if source.blas is not None and source.blas.threads != 1:
        return False
    if 1 not in x.strides or 1 not in y.strides:
        return False
    if out.strides[1] != 1 or out.strides[0] < n:
        return False
    width = BYTES // x.dtype.itemsize
    panels = -(-n // width)
    fewest = 2 if x.strides[1] == 1 else 4  # more, where copies of x must pay
    large = m >= LEAST and k >= width and n >= fewest * width
    full = panels * width <= FULL * n
    fits = k <= DEEPEST and m * k * x.dtype.itemsize <= LARGEST
    return large and full and fits and "__AVX512F__" in find_compiler().identity


def by_tiles(source: Any, x: Access, y: Access, out: Access) -> list[str]:
    """Return loops over panels of columns."""
    (m, k), n = x.shape, y.shape[1]
    T = TYPES[str(x.dtype)]
    width = BYTES // x.dtype.itemsize
    panel = source.places.scratch(k * width, x.dtype).pointer
    lines: list[str] = []
    start = f"{x.pointer} + {x.offset}" if x.offset else x.pointer
    down, right, following = x.strides[0], x.strides[1], ROWS * x.strides[0]
    if right != 1:  # columns of x: laid out six by six, as they are read
        packed = source.places.scratch(math.ceil(m / ROWS) * ROWS * k, x.dtype).pointer
        lines += _sixes(start, packed, m, k, right)
        start, down, right, following = packed, 1, ROWS, ROWS * k

    def block(j: str, columns: int) -> list[str]:
        call = (
            f"panel_{T}({m}, {columns}, {k}, {start}, {down}, {right}, {following}, "
            f"{panel}, {out.pointer} + {out.offset} + {j}, {out.strides[0]});"
        )
        return [*_panel(y, panel, k, width, columns, j), call]

    whole = n // width * width
    lines.append(f"for (long j = 0; j < {whole}; j += {width}) {{")
    lines += [f"    {line}" for line in block("j", width)]
    lines.append("}")
    if n > whole:
        lines += block(str(whole), n - whole)
    return lines


def _panel(
    y: Access, panel: str, k: int, width: int, columns: int, j: str
) -> list[str]:
    """Return a copy of some columns of y, side by side.

    Where they are fewer, columns of the panel before stay beside them: numbers that are
    multiplied anyway, so that no operation is invalid for them alone.
    """
    s, t = y.strides
    start = f"{y.pointer} + {y.offset}" if y.offset else y.pointer
    if t == 1:
        return [
            f"for (long q = 0; q < {k}; q++)",
            "    #pragma omp simd",
            f"    for (long t = 0; t < {columns}; t++)",
            f"        {panel}[{width} * q + t] = ({start})[{s} * q + {j} + t];",
        ]
    return [  # sixteen rows at a time stay in the first-level cache
        f"for (long p = 0; p < {k}; p += 16)",
        f"    for (long t = 0; t < {columns}; t++)",
        f"        for (long q = p; q < p + 16 && q < {k}; q++)",
        f"            {panel}[{width} * q + t] = ({start})[q + {t} * ({j} + t)];",
    ]


def _sixes(start: str, packed: str, m: int, k: int, step: int) -> list[str]:
    """Return a copy of x, whose columns lie along memory, six rows side by side.

    Forty-eight at a time are three or six lines of the cache, each of them read once.
    """
    to = f"{packed}[{k} * i + 6 * q + t]"
    whole = m // 48 * 48
    lines = [
        f"for (long u = 0; u < {whole}; u += 48)",
        f"    for (long q = 0; q < {k}; q++)",
        "        for (long i = u; i < u + 48; i += 6)",
        "            for (long t = 0; t < 6; t++)",
        f"                {to} = ({start})[{step} * q + i + t];",
    ]
    if m > whole:
        lines += [
            f"for (long q = 0; q < {k}; q++)",
            f"    for (long i = {whole}; i < {m}; i += 6)",
            f"        for (long t = 0; t < 6 && i + t < {m}; t++)",
            f"            {to} = ({start})[{step} * q + i + t];",
        ]
    return lines
