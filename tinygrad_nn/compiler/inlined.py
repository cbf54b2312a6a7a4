"""Functions as text that runs with NumPy alone, each after the functions it calls.

The body of an op is plain NumPy, so its own text is what an exported module says; the
helpers that it calls come along. Nothing is copied by hand.
"""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from tinygrad_nn.compiler.checks import Blamed
from tinygrad_nn.compiler.literals import literal, unique
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.errors import CompileError, TinygradError
from tinygrad_nn.notation.bodies import definition
from tinygrad_nn.op import Op

__all__ = ["Inlined"]

_HOUSE = __name__.partition(".")[0]


def _globals(code: CodeType) -> Iterator[str]:
    """Names that a function looks up outside of itself."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner)


class Inlined:
    """Collects what functions say, and the imports and constants that they need.

    Parameters
    ----------
    taken
        Names that are not free; those that are given away join them.
    hold
        Called with an array and a wanted name; returns the name under which the
        module has it.

    Attributes
    ----------
    imports : list of str
        Lines, such as ``import math``.
    lines : list of str
        Constants and functions in an order in which they can run.
    """

    def __init__(self, taken: set[str], hold: Callable[[Any, str], str]) -> None:
        self.imports: list[str] = []
        self.lines: list[str] = []
        self.taken = taken
        self._hold = hold
        self._known: dict[int, str] = {}
        self._kept: list[Any] = []

    def text(self, value: Any, wanted: str, who: str) -> str:
        """Return an expression that gives the value in the module.

        Raises
        ------
        CompileError
            For what is not plain NumPy; names ``who`` needs it.
        """
        if isinstance(value, Blamed):
            value = value.check
        known = self._known.get(id(value))
        if known is not None:
            return known
        found = _numpy_name(value) or literal(value)
        if found is not None:
            return found
        if isinstance(value, np.ndarray):
            found = self._hold(value, wanted)
        elif isinstance(value, functools.partial):
            return self._partial(value, wanted, who)
        elif isinstance(value, ModuleType):
            found = self._module(value, who)
        elif isinstance(value, type):
            found = self._class(value, who)
        elif _is_standard(value):
            found = self._imported(value)
        else:
            return self.function(value, wanted, who)
        return self._remember(value, found)

    def function(self, value: Any, wanted: str, who: str) -> str:
        """Write the definition of a function; return its name."""
        op = getattr(value, "op", None)
        quiet = isinstance(op, Op) and op.quiet
        plain = op.function if isinstance(op, Op) else value
        known = self._known.get(id(plain))
        if known is not None:
            return known
        if isinstance(plain, functools._lru_cache_wrapper):
            plain = plain.__wrapped__
        if not isinstance(plain, FunctionType):
            raise _refused(who, f"{_title(value)}, which is no function of Python")
        try:
            tree = definition(plain)
        except ValueError as error:
            raise _refused(who, f"{_title(value)}: {error}") from None
        name = unique(identifier(wanted), self.taken)
        self._remember(value, name)
        self._remember(plain, name)
        tree.name = name
        self._defaults(tree, plain, who)
        tree = self._resolved(tree, plain, _title(value))
        if quiet:
            self.lines.append('@np.errstate(over="ignore")')
        self.lines += [*ast.unparse(tree).splitlines(), "", ""]
        return name

    # --- what a function refers to ---

    def _resolved(
        self, tree: ast.FunctionDef, function: FunctionType, who: str
    ) -> ast.FunctionDef:
        """Let every name that is looked up outside stand for what the module has."""
        names = {
            name: function.__globals__[name]
            for name in _globals(function.__code__)
            if name in function.__globals__
        }
        # What it closes over is written as it is now.
        closed = zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        )
        names.update((name, cell.cell_contents) for name, cell in closed)
        missing = [
            name
            for name in _globals(function.__code__)
            if name not in names and not hasattr(builtins, name)
        ]
        if missing:
            raise _refused(who, f"{missing[0]!r}, which is not defined")
        local = set(function.__code__.co_varnames)
        made = _Renamed(names, lambda value, name: self.text(value, name, who))
        tree.body = [made.visit(line) for line in tree.body]
        clash = local & {name.partition(".")[0] for name in made.given}
        if clash:
            raise _refused(
                who, f"a variable {clash.pop()!r}, which is also what it calls"
            )
        return ast.fix_missing_locations(tree)

    def _defaults(self, tree: Any, function: FunctionType, who: str) -> None:
        """Write default values as they are now."""
        values = function.__defaults__ or ()
        texts = [self.text(value, "default", who) for value in values]
        tree.args.defaults = [_expression(text) for text in texts]
        keywords: Mapping[str, Any] = function.__kwdefaults__ or {}
        tree.args.kw_defaults = [
            _expression(self.text(keywords[a.arg], "default", who))
            if a.arg in keywords
            else None
            for a in tree.args.kwonlyargs
        ]

    def _partial(self, value: Any, wanted: str, who: str) -> str:
        if value.func is functools.partial or not callable(value.func):
            raise _refused(who, _title(value))
        name = getattr(value.func, "__name__", wanted)
        parts = [self.text(value.func, name, who)]
        parts += [self.text(x, wanted, who) for x in value.args]
        parts += [f"{k}={self.text(x, k, who)}" for k, x in value.keywords.items()]
        self._import("from functools import partial")
        return f"partial({', '.join(parts)})"

    def _module(self, value: ModuleType, who: str) -> str:
        if value.__name__ == "numpy" or value.__name__.startswith("numpy."):
            return "np" + value.__name__[len("numpy") :]
        if not _is_kept(value):
            raise _refused(who, f"the module {value.__name__}, which is not NumPy")
        self._import(f"import {value.__name__}")
        return value.__name__

    def _class(self, value: type, who: str) -> str:
        if issubclass(value, TinygradError):
            plain = [x for x in value.__mro__ if x.__module__ == "builtins"]
            return plain[0].__name__
        if _is_standard(value):
            return self._imported(value)
        raise _refused(who, f"the class {value.__name__}")

    def _imported(self, value: Any) -> str:
        name = str(value.__name__)
        module = value.__module__ if value.__module__ != "_operator" else "operator"
        self._import(f"from {module} import {name}")
        self.taken.add(name)
        return name

    def _import(self, line: str) -> None:
        if line not in self.imports:
            self.imports.append(line)

    def _remember(self, value: Any, name: str) -> str:
        self._kept.append(value)  # an id is good for as long as the object lives
        self._known[id(value)] = name
        return name


class _Renamed(ast.NodeTransformer):
    """Replaces names looked up outside, and what is looked up in our modules."""

    def __init__(
        self, names: Mapping[str, Any], text: Callable[[Any, str], str]
    ) -> None:
        self.names = names
        self.text = text
        self.given: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        value = self._of_module(node)
        if value is _NOTHING:
            return self.generic_visit(node)
        return self._made(value, node.attr)

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id not in self.names:
            return node
        if isinstance(node.ctx, ast.Store):
            raise _refused("a function", f"the variable {node.id!r} of another one")
        return self._made(self.names[node.id], node.id)

    def _made(self, value: Any, name: str) -> ast.expr:
        text = self.text(value, name)
        if text.isidentifier():
            self.given.add(text)
        return _expression(text)

    def _of_module(self, node: ast.expr) -> Any:
        """Return what ``module.name`` is, for a module that is not there any more."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, _NOTHING)
        if not isinstance(node, ast.Attribute):
            return _NOTHING
        base = self._of_module(node.value)
        if not isinstance(base, ModuleType) or _is_kept(base):
            return _NOTHING
        if node.attr.startswith("__"):
            raise _refused("a function", f"{base.__name__}.{node.attr}")
        return getattr(base, node.attr, _NOTHING)


_NOTHING = object()


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _numpy_name(value: Any) -> str | None:
    """Return ``np.name`` for what NumPy has under its own name."""
    name = getattr(value, "__name__", None)
    if isinstance(value, ModuleType) or not isinstance(name, str):
        return None
    if getattr(np, name, None) is value:
        return f"np.{name}"
    for owner in ("linalg", "fft"):
        if getattr(getattr(np, owner), name, None) is value:
            return f"np.{owner}.{name}"
    return None


def _is_kept(module: ModuleType) -> bool:
    """Whether an exported module may import it; SciPy, for its special functions."""
    name = module.__name__.partition(".")[0]
    return name in ("numpy", "scipy") or name in sys.stdlib_module_names


def _is_standard(value: Any) -> bool:
    """Whether the standard library has it under its own name."""
    name, module = getattr(value, "__name__", ""), getattr(value, "__module__", "")
    if not name or not module or module.startswith(_HOUSE):
        return False
    home = sys.modules.get(module if module != "_operator" else "operator")
    known = module.partition(".")[0] in sys.stdlib_module_names
    return known and module != "__main__" and getattr(home, name, None) is value


def _title(value: Any) -> str:
    name = getattr(value, "__name__", None) or type(value).__name__
    return f"{name!r}"


def _refused(who: str, what: str) -> CompileError:
    return CompileError(
        f"export_numpy: an exported module says everything in plain NumPy; got {who} "
        f"that needs {what}. Write it as a top-level function of arrays in a file"
    )
