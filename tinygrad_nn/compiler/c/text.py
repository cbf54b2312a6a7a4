"""The C text around the groups: functions, their pointers, and who calls whom."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tinygrad_nn.compiler.blas import Blas
from tinygrad_nn.compiler.c.expressions import HELPERS, PREAMBLE, STORED
from tinygrad_nn.compiler.c.tables import Outside, Slot
from tinygrad_nn.compiler.c.tiles import TILES

__all__ = ["Part", "assembled", "laid_out"]

ENDS = """\
// libc has a function `step` as well: without this, it would be called.
#pragma GCC visibility push(protected)

{compute}

{update}

int step(void *const *p)
{{
    int status = compute(p);
    return status ? status : update(p);
}}

// Steps with the numbers of each in a row; returns how many were made.
long repeat(void **p, long n, long width, int *status)
{{
    double *const numbers = p[1];
    long i = 0;
    for (; i < n; i++) {{
        p[1] = numbers + i * width;
        if ((*status = step(p))) break;
    }}
    p[1] = numbers;
    return i;
}}
"""


@dataclass
class Part:
    """Groups that make one C function, or the call of one that Python has.

    Attributes
    ----------
    phase
        ``"compute"`` or ``"update"``.
    call
        The entry of the table with the function of Python, if there is one.
    """

    phase: str
    lines: list[str] = field(default_factory=list)
    call: Outside | None = None


def laid_out(slots: list[Slot]) -> int:
    """Put the slots one after the other; return the bytes of all."""
    offset = 0
    for slot in slots:
        slot.offset = offset
        offset += -(-slot.size * slot.dtype.itemsize // 64) * 64
    return offset


def assembled(
    parts: list[Part],
    outside: list[Outside],
    slots: list[Slot],
    blas: Blas | None,
    *,
    trap: bool,
) -> str:
    """Return the whole text."""
    written = "\n".join(line for part in parts for line in part.lines)
    known = HELPERS | TILES
    helpers = [text for name, text in known.items() if f"{name}(" in written]
    functions = [*(text.rstrip() for text in helpers), *_products(blas)]
    bodies: dict[str, list[str]] = {"compute": [], "update": []}
    for part in parts:
        body = bodies[part.phase]
        if part.call is not None:
            trapped = trap and part.phase == "compute"
            body += _call(outside.index(part.call), trap=trapped)
        elif any(line.strip() for line in part.lines):
            name = f"{part.phase}_{len(body) + 1}"
            functions.append(_function(name, part.lines, outside, slots))
            body.append(f"if ((status = {name}(p))) return status;")
    if trap:
        bodies["compute"].insert(0, "feclearexcept(FE_INVALID);")
        bodies["compute"].append("if (fetestexcept(FE_INVALID)) return -1;")
    mains = {kind: _main(kind, body) for kind, body in bodies.items()}
    return "\n\n".join([PREAMBLE.rstrip(), *functions, ENDS.format(**mains)])


def _call(entry: int, *, trap: bool) -> list[str]:
    call = f"if (((int (*)(void))p[{entry}])()) return -2;"
    if not trap:
        return [call]
    return [  # NumPy clears the flag
        "if (fetestexcept(FE_INVALID)) return -1;",
        call,
        "feclearexcept(FE_INVALID);",
    ]


def _main(name: str, body: list[str]) -> str:
    lines = ["int status = 0;", *body, "return status;"]
    inside = "\n".join(f"    {line}" for line in lines)
    return f"int {name}(void *const *p)\n{{\n{inside}\n}}"


def _products(blas: Blas | None) -> list[str]:
    """Declare the products of the BLAS, which come as pointers."""
    if blas is None:
        return []
    integer = f"int{blas.integer_bits}_t"
    return [
        "\n".join(
            f"typedef void {name}(int, int, int, {integer}, {integer}, {integer},\n"
            f"    {T}, const {T} *, {integer}, const {T} *, {integer}, "
            f"{T}, {T} *, {integer});"
            for name, T in (("dgemm", "double"), ("sgemm", "float"))
        )
    ]


def _function(
    name: str, lines: list[str], outside: list[Outside], slots: list[Slot]
) -> str:
    """Return a function that fetches the pointers it needs."""
    words = set(re.findall(r"[A-Za-z_]\w*", "\n".join(lines)))
    heads = []
    for i, entry in enumerate(outside):
        if entry.name not in words or entry.kind == "arena":
            continue
        if entry.kind == "scalars":
            heads.append("const double *restrict const scalars = p[1];")
        elif entry.kind == "function":
            T = entry.name.rsplit("_", 1)[-1]
            heads.append(f"{T} *const {entry.name} = ({T} *)p[{i}];")
        else:
            T = STORED[str(entry.dtype)]
            const = "" if entry.written or entry.kind == "result" else "const "
            heads.append(f"{const}{T} *restrict const {entry.name} = p[{i}];")
    buffers = _buffers(slots, words)
    if buffers:
        heads.append("char *const arena = p[0];")
    body = [*heads, *buffers, *lines, "return 0;"]
    return "\n".join(
        [
            f"static __attribute__((noinline)) int {name}(void *const *p)",
            "{",
            *(f"    {line}" if line.strip() else "" for line in body),
            "}",
        ]
    )


def _buffers(slots: list[Slot], words: set[str]) -> list[str]:
    """Name stretches of the arena; no two that are restrict lie over each other."""
    lines: list[str] = []
    for number, slot in enumerate(slots):
        names = [name for name in dict.fromkeys(slot.nodes) if name in words]
        if not names:
            continue
        T = STORED[str(slot.dtype)]
        first = names[0] if len(names) == 1 else f"_{number}"
        lines.append(f"{T} *restrict const {first} = ({T} *)(arena + {slot.offset});")
        if len(names) > 1:
            lines += [f"{T} *const {other} = {first};" for other in names]
    return lines
