"""Names in the C text: the user's, where C has not taken them."""

from __future__ import annotations

from typing import Any

from tinygrad_nn.compiler.c.expressions import FUNCTIONS
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.op import Node

__all__ = ["Names"]

RESERVED = FUNCTIONS.union(
    """
    auto break case char const continue default do double else enum extern float for
    goto if inline int long register restrict return short signed sizeof static struct
    switch typedef union unsigned void volatile while main linux unix
    arena scalars status step compute update repeat bad p s m q e i j k u v row
    i0 i1 i2 i3 i4 i5 i6 i7 b0 b1 b2 b3 b4 j0 tanh_of copysign memset dgemm sgemm
    feclearexcept fetestexcept FE_INVALID INT64_MIN NAN INFINITY
    """.split()
)
"""Words of C, and what generated code says itself."""


class Names:
    """Gives every node a name, and none of them twice."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)
        self._counts: dict[str, int] = {}
        self._names: dict[Node, str] = {}

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else has."""
        name, count = wanted, self._counts.get(wanted, 1)
        while name in self._taken:
            name, count = f"{wanted}_{count}", count + 1
        self._counts[wanted] = count
        self._taken.add(name)
        return name

    def of(self, node: Any) -> str:
        """Return the name of a node: the user's, or its op's."""
        known = self._names.get(node)
        if known is None:
            given = getattr(node, "_name", None)
            wanted = given or (node._op.name if node._op is not None else "c")
            word = identifier(wanted).encode("ascii", "replace").decode()
            known = self._names[node] = self.unique(word.replace("?", "_"))
        return known
