"""Names of values: what the user's own line assigns them to.

The instruction after the one that recorded a node stores it in a variable, more often
than not; that variable's name is what a person would call the value.
"""

from __future__ import annotations

import dis
import keyword
import re
from functools import lru_cache
from types import CodeType

from tinygrad_nn.op import Node
from tinygrad_nn.recording import OURS

__all__ = ["assigned_name", "identifier"]


@lru_cache(maxsize=512)
def _stores(code: CodeType) -> dict[int, str]:
    """Offsets of instructions whose result goes straight into a variable."""
    found = {}
    before = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("CACHE", "EXTENDED_ARG", "NOP"):
            continue
        stored = instruction.opname in ("STORE_FAST", "STORE_NAME", "STORE_DEREF")
        if stored and before is not None and isinstance(instruction.argval, str):
            found[before] = instruction.argval
        before = instruction.offset
    return found


def assigned_name(node: Node) -> str | None:
    """Return the variable that the user's line puts a node into, if it does."""
    name: str | None = getattr(node, "_name", None)
    if name is not None:
        return name
    if node._code is None or node._code.co_filename in OURS:
        return None
    return _stores(node._code).get(node._lasti)


def identifier(name: str) -> str:
    """Make a Python name of any text.

    >>> identifier("layers.0.weight"), identifier("2x"), identifier("lambda")
    ('layers_0_weight', '_2x', 'lambda_')
    """
    word = re.sub(r"\W", "_", name)[:60] or "_"
    if word[0].isdigit():
        word = "_" + word
    return word + "_" if keyword.iskeyword(word) else word
