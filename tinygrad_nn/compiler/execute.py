"""The one place where generated source becomes functions."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from tinygrad_nn.compiler.numpy_source import Lowered
from tinygrad_nn.compiler.resident import Staying, staying
from tinygrad_nn.tensor import Lent

__all__ = ["executed", "run", "without_copies"]

_number = count(1).__next__


def executed(lowered: Lowered, title: str) -> tuple[dict[str, Any], str]:
    """Run the source of a NumPy step; return its names, and its file name.

    The module is run as the body of a function: what it defines are then closures,
    whose names are found at once, where a module's are looked up at every use.
    """
    lent = {name: Lent() for name, _ in lowered.lent.values()}
    given = {**lowered.namespace, **lent}
    tree = ast.parse(lowered.source)
    wrapped = ast.parse(f"def module({', '.join(given)}): return locals()")
    function = wrapped.body[0]
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 (it was just written)
    function.body[:0] = tree.body
    namespace, filename = run(lowered.source, {}, title, wrapped)
    module = namespace.pop("module")  # it would hold itself
    namespace = module(**given)
    for name, buffer in lowered.lent.values():
        lent[name].lend(namespace[buffer])
    return namespace, filename


def without_copies(
    source: str, namespace: Mapping[str, Any], filename: str
) -> tuple[list[Callable[..., Any]], Staying] | None:
    """Return the step of a source that was run, without the lines that copy.

    It is one function, or two (see `Staying`). Their lines are those of the source, for
    debuggers and tracebacks.
    """
    found = staying(ast.parse(source), namespace)
    if found is None:
        return None
    made = ", ".join(part.name for part in found.parts)
    tree = ast.parse(f"def module({', '.join(found.names)}): return [{made}]")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 (it was just written)
    function.body[:0] = found.parts
    names: dict[str, Any] = {}
    exec(compile(tree, filename, "exec"), names)  # noqa: S102 (the one place)
    given = {name: namespace[name] for name in found.names}
    return names["module"](**given), found


def run(
    source: str, names: Mapping[str, Any], title: str, tree: ast.Module | None = None
) -> tuple[dict[str, Any], str]:
    """Run a module's source; return its names, and the file name it is known by.

    Where a ``tree`` is given, it is what runs; its lines are the text's.

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
    code = compile(source if tree is None else tree, filename, "exec")
    exec(code, namespace)  # noqa: S102 (the one place)
    return namespace, filename
