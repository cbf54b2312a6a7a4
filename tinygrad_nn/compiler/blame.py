"""What an error inside of compiled code says: the op, what it got, the user's line."""

from __future__ import annotations

from typing import Any

from tinygrad_nn import graph
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Node, inputs_of, settings_of

__all__ = ["explained"]


def explained(error: Exception, node: Any) -> Exception:
    """Return an error that says whose line computes what went wrong.

    What a setting is computed from is told by name and shape: the numbers it had when
    the step was traced are not those that went wrong.
    """
    settings = settings_of(node)
    fixed = {name: value for name, value in settings.items() if not _is_live(value)}
    made = node._op.explain(error, inputs_of(node), fixed)
    kind = ShapeError if isinstance(error, IndexError) else type(made)
    live = "".join(
        f", {name}={_shown(value)}"
        for name, value in settings.items()
        if name not in fixed
    )
    return kind(f"{made}{live} (recorded at {graph.line(node)})")


def _is_live(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(part, Node) for part in parts)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    if not isinstance(value, Node):
        return repr(value)
    return f"{graph.name(value) or 'a Tensor'}{value._value.shape}"
