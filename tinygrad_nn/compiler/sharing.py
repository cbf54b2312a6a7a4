"""An argument that shares its memory with what the step changes.

Eagerly it changes with the update, and what is read of it afterwards is new. A program
reads its arguments as they came. So where a program may read one after a write, such a
call is refused; where all is read before, it is right, and nobody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.program import Argument, Program, Value, operands
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node

__all__ = ["read_late", "refuse_shared"]


def read_late(program: Program) -> list[int]:
    """Return the arguments that are read, or shown, after something was written."""
    if not any(isinstance(place, Value) for place, _ in program.writes):
        return []
    seen: dict[Any, set[int]] = {
        leaf: {place.index}
        for leaf, place in program.places.items()
        if isinstance(place, Argument)
    }
    first = program.first_update
    late: set[int] = set()
    for node in program.nodes:
        found = [seen[x] for x in operands(node) if x in seen]
        if found and (first is None or node._order >= first):
            late.update(*found)
        if found and node._op is not None and node._op.kind in _VIEWS:
            seen[node] = set().union(*found)
    for shown in program.outputs():
        late |= seen.get(shown, set())
    return sorted(late)


_VIEWS = ("movement", "indexing")


def refuse_shared(
    arrays: Sequence[Any], late: Sequence[int], written: Sequence[Any]
) -> None:
    """Raise where an argument lies in the memory of a Tensor that is written."""
    for i in late:
        array = arrays[i]
        for tensor in written:
            if np.may_share_memory(array, tensor._value) and _overlap(array, tensor):
                name = graph.name(tensor)
                raise CompileError(
                    "compile: an argument that is read after an update is no memory "
                    "that the update changes; got one that shares memory with "
                    f"{repr(name) if name else 'a parameter'}. Pass a copy of it"
                )


def _overlap(array: Any, tensor: Node) -> bool:
    try:
        return bool(np.shares_memory(array, tensor._value, max_work=10_000))  # type: ignore[arg-type]  # NumPy's stub knows two of the numbers
    except np.exceptions.TooHardError:
        return True
