"""What the body of a function says: its definition, or the one expression it is."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import linecache
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

__all__ = ["definition", "expression_of"]


_MODULES = {"np": "numpy", "scipy": "scipy"}
"""What a line may name."""


@functools.lru_cache(maxsize=256)
def expression_of(  # noqa: PLR0911 (a return a reason)
    function: Callable[..., Any],
) -> ast.expr | None:
    """Return the expression that a body is, where it is one of NumPy alone; or None.

    The expression is shared: whoever changes it copies it first.
    """
    if not isinstance(function, FunctionType) or function.__code__.co_freevars:
        return None
    try:
        body = definition(function).body
    except ValueError:
        return None
    lines = [x for x in body if not _is_text(x)]
    if len(lines) != 1 or not isinstance(lines[0], ast.Return):
        return None
    expression = lines[0].value
    if expression is None:
        return None
    known = {*function.__code__.co_varnames}
    for x in ast.walk(expression):
        if isinstance(x, (ast.Lambda, ast.comprehension, ast.NamedExpr)):
            return None
        if not isinstance(x, ast.Name) or x.id in known:
            continue
        module = function.__globals__.get(x.id)
        if x.id not in _MODULES or getattr(module, "__name__", "") != _MODULES[x.id]:
            return None
    return expression


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def definition(function: FunctionType) -> ast.FunctionDef:
    """Return the definition of a function, parsed: no decorators, no annotations.

    Raises
    ------
    ValueError
        Where no file shows it, or does not show which: two lambdas on a line.
    """
    code = function.__code__
    found = [
        node
        for node in _functions(code.co_filename)
        if _first_line(node) == code.co_firstlineno
        and getattr(node, "name", "<lambda>") == code.co_name
        and tuple(x.arg for x in _arguments(node)) == _parameters(code)
    ]
    if len(found) != 1:
        raise ValueError("its text is not there, or does not show which it is")
    node = copy.deepcopy(found[0])
    if isinstance(node, ast.FunctionDef):
        return _bare(node)
    made = ast.FunctionDef(
        name="function",
        args=node.args,
        body=[ast.Return(node.body)],
        decorator_list=[],
    )
    return _bare(ast.fix_missing_locations(made))


_Definition = ast.FunctionDef | ast.Lambda


def _functions(filename: str) -> list[_Definition]:
    """Return all functions that a file defines."""
    linecache.checkcache(filename)
    return _parsed("".join(linecache.getlines(filename)))


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> list[_Definition]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a cell of a notebook may hold more than Python
        return []
    return [x for x in ast.walk(tree) if isinstance(x, (ast.FunctionDef, ast.Lambda))]


def _first_line(node: _Definition) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(x.lineno for x in decorators)])


def _arguments(node: _Definition) -> list[ast.arg]:
    args = node.args
    more = [x for x in (args.vararg, args.kwarg) if x is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *more]


def _parameters(code: CodeType) -> tuple[str, ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS)
    count += bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


def _bare(found: ast.FunctionDef) -> ast.FunctionDef:
    found.decorator_list = []
    found.returns = None
    for argument in ast.walk(found.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    text = ast.get_docstring(found)
    if text:
        first = text.split("\n\n")[0].replace("\n", " ")
        found.body[0] = ast.Expr(ast.Constant(first))
    return found
