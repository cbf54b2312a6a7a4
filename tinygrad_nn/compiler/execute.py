"""The one place where generated source becomes functions."""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from itertools import count
from typing import Any

from tinygrad_nn.compiler.numpy_source import Lowered
from tinygrad_nn.tensor import Lent

__all__ = ["executed", "run"]

_number = count(1).__next__


def executed(lowered: Lowered, title: str) -> tuple[dict[str, Any], str]:
    """Run the source of a NumPy step; return its names, and its file name."""
    namespace, filename = run(lowered.source, lowered.namespace, title)
    for name, buffer in lowered.lent.values():
        namespace[name] = Lent(namespace[buffer])
    return namespace, filename


def run(
    source: str, names: Mapping[str, Any], title: str
) -> tuple[dict[str, Any], str]:
    """Run a module's source; return its names, and the file name it is known by.

    The text is registered with `linecache`, so that debuggers step through it and
    tracebacks show it.
    """
    filename = f"<tinygrad_nn compiled {title} {_number()}>"
    linecache.cache[filename] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        filename,
    )
    namespace = dict(names)
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102
    return namespace, filename
