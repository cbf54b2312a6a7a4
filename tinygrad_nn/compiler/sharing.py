"""An argument, or an array outside, that lies in the memory of what the step changes.

Eagerly it changes with the update, and what is read of it afterwards is new. A program
reads all of them as they came. So where a program may read one after a write, such a
call is refused; where all is read before, it is right, and nobody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.away import array_of
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.program import Argument, Program, Value, operands

__all__ = ["arrays_of", "read_late", "refuse_shared", "shared"]


def read_late(program: Program) -> tuple[list[int], list[np.ndarray]]:
    """Return what is read, or shown, after something was written.

    These are arguments, by number, and arrays that the function sees.
    """
    if not any(isinstance(place, Value) for place, _ in program.writes):
        return [], []
    arrays = _arrays_by_leaf(program)
    seen = {leaf: {leaf} for leaf in arrays}
    for leaf, place in program.places.items():
        if isinstance(place, Argument):
            seen[leaf] = {leaf}
    first = program.first_update
    late: set[Node] = set()
    for node in program.nodes:
        found = [seen[x] for x in operands(node) if x in seen]
        if found and (first is None or node._order >= first):
            late.update(*found)
        if found and node._op is not None and node._op.kind in _VIEWS:
            seen[node] = set().union(*found)
    for shown in program.outputs():
        late |= seen.get(shown, set())
    numbers = sorted(
        place.index
        for leaf, place in program.places.items()
        if leaf in late and isinstance(place, Argument)
    )
    return numbers, [array for leaf, array in arrays.items() if leaf in late]


def arrays_of(program: Program) -> list[np.ndarray]:
    """Return the arrays that a function sees, and that are no values of Tensors."""
    return list(_arrays_by_leaf(program).values())


def _arrays_by_leaf(program: Program) -> dict[Node, np.ndarray]:
    """Return the constants of a program, which are held by reference."""
    nodes = [x for node in program.nodes for x in operands(node)]
    return {
        x: x._value
        for x in [*nodes, *program.outputs()]
        if x._op is None and x not in program.places
    }


_VIEWS = ("movement", "indexing")


def refuse_shared(
    arrays: Sequence[Any], written: Sequence[Any], what: str = "argument"
) -> None:
    """Raise where what is read late lies in the memory of a Tensor that is written."""
    tensor = shared(arrays, written)
    if tensor is not None:
        name = graph.name(tensor)
        raise CompileError(
            f"compile: an {what} that is read after an update is no memory that the "
            "update changes; got one that shares memory with "
            f"{repr(name) if name else 'a parameter'}. Pass a copy of it"
        )


def shared(arrays: Sequence[Any], written: Sequence[Any]) -> Any:
    """Return a Tensor that is written in the memory of one of some arrays, or None."""
    for array in arrays:
        for tensor in written:
            if isinstance(array, np.ndarray) and _overlap(array, array_of(tensor)):
                return tensor
    return None


def _overlap(array: np.ndarray, other: np.ndarray) -> bool:
    if not np.may_share_memory(array, other):
        return False
    try:
        return bool(np.shares_memory(array, other, max_work=10_000))  # type: ignore[arg-type]  # NumPy's stub knows two of the numbers
    except np.exceptions.TooHardError:
        return True
