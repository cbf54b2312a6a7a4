"""What the C text and the Python that calls it agree on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tinygrad_nn.compiler.c.layout import Access
from tinygrad_nn.op import Node

__all__ = ["Call", "Lowered", "Outside", "Slot"]


class Call(NamedTuple):
    """A node that has no C form: Python computes it, and where its value goes.

    ``update``: whether it belongs to the update of parameters.
    """

    node: Any
    out: Access
    update: bool


@dataclass(eq=False)
class Outside:
    """An entry of the pointer table that Python fills in.

    Attributes
    ----------
    kind
        ``"place"``, ``"constant"``, ``"result"``, ``"call"`` or ``"function"``.
    what
        A leaf, an array, the number of a result, a `Call`, or an address.
    """

    kind: str
    what: Any
    name: str
    dtype: Any = None
    written: bool = False


@dataclass(eq=False)
class Slot:
    """A stretch of the arena, and the nodes that live there in turn."""

    dtype: Any
    size: int
    nodes: list[str] = field(default_factory=list)
    offset: int = 0


@dataclass
class Lowered:
    """A step in C, and what Python must know of it.

    Attributes
    ----------
    text
        The C source; it defines ``compute``, ``update``, ``step`` and ``repeat``.
    outside
        The table of pointers that these take.
    scalars
        Numbers that Python computes for each call, as expressions.
    arena, naive
        Bytes of all buffers, and what they would be if nothing were reused.
    views
        Nodes that Python reads or writes in the arena: at which byte their memory
        begins, and how they lie in it.
    elsewhere
        Nodes whose memory an entry of the table points to, and which.
    fresh
        Number of a result to the entry of the array that it is written to.
    calls
        Nodes that Python computes.
    trapped
        Whether an invalid operation ends a step before its update.
    """

    text: str
    outside: list[Outside]
    scalars: list[str]
    arena: int
    naive: int
    views: dict[Node, tuple[int, Access]]
    elsewhere: dict[Node, int]
    fresh: dict[int, Outside]
    calls: list[Call]
    trapped: bool
