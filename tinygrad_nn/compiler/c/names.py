"""Names in the C text: the user's, where C has not taken them."""

from __future__ import annotations

import re
from typing import Any

from tinygrad_nn.compiler.c.expressions import FUNCTIONS, HELPERS
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.op import Node

__all__ = ["Names"]

RESERVED = (
    FUNCTIONS
    | HELPERS.keys()
    | {
        *(
            "auto",
            "break",
            "case",
            "char",
            "const",
            "continue",
            "default",
            "do",
            "double",
        ),
        *(
            "else",
            "enum",
            "extern",
            "float",
            "for",
            "goto",
            "if",
            "inline",
            "int",
            "long",
        ),
        *("register", "restrict", "return", "short", "signed", "sizeof", "static"),
        *(
            "struct",
            "switch",
            "typedef",
            "union",
            "unsigned",
            "void",
            "volatile",
            "while",
        ),
        *("linux", "unix", "main", "asm", "typeof", "NAN", "INFINITY", "INT64_MIN"),
        *(
            "FE_INVALID",
            "feclearexcept",
            "fetestexcept",
            "memset",
            "memcpy",
            "copysign",
        ),
        *("arena", "scalars", "status", "step", "compute", "update", "repeat", "bad"),
        *(
            "dgemm",
            "sgemm",
            "row",
            "e",
            "i",
            "j",
            "k",
            "m",
            "p",
            "q",
            "s",
            "u",
            "v",
            "j0",
        ),
    }
)
"""Words of C, and what generated code says itself."""
NUMBERED = re.compile(r"i\d+|_\d+|(at|bad|e|s|w)_\d+(_\d+)?")
"""Names that generated code numbers itself."""


class Names:
    """Gives every node a name, and none of them twice."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)
        self._counts: dict[str, int] = {}
        self._names: dict[Node, str] = {}

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else has."""
        if NUMBERED.fullmatch(wanted):
            wanted += "_"
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
