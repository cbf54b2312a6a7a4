"""What a body says where no file shows it: heard by running it on names.

An op that was declared at a prompt has no text to read. Its body is NumPy on its
arguments, so it is called once with stand-ins for them, which note what is done.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["heard"]

_SIGNS: dict[Any, type[ast.operator]] = {
    np.add: ast.Add,
    np.subtract: ast.Sub,
    np.multiply: ast.Mult,
    np.divide: ast.Div,
    np.floor_divide: ast.FloorDiv,
    np.remainder: ast.Mod,
    np.power: ast.Pow,
    np.matmul: ast.MatMult,
}
_ROOMS = {"np": np, "np.linalg": np.linalg}


class _UnheardError(Exception):
    """A body does something that is no expression."""


class _Name(NDArrayOperatorsMixin):
    """Stands for an array, or a setting, in a body; holds the expression of it."""

    def __init__(self, expression: ast.expr) -> None:
        self.expression = expression

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **options: Any
    ) -> _Name:
        if method != "__call__" or options:
            raise _UnheardError
        operands = [_said(x) for x in inputs]
        if ufunc in _SIGNS:
            return _Name(ast.BinOp(operands[0], _SIGNS[ufunc](), operands[1]))
        if ufunc is np.negative:
            return _Name(ast.UnaryOp(ast.USub(), operands[0]))
        return _Name(ast.Call(_place(ufunc, ufunc.__name__), operands, []))

    def __array_function__(
        self, function: Any, _types: Any, args: Any, options: Any
    ) -> _Name:
        keywords = [ast.keyword(name, _said(x)) for name, x in options.items()]
        place = _place(function, function.__name__)
        return _Name(ast.Call(place, [_said(x) for x in args], keywords))

    def __getitem__(self, index: Any) -> _Name:
        return _Name(ast.Subscript(self.expression, _said(index), ast.Load()))

    @property
    def T(self) -> _Name:
        return _Name(ast.Attribute(self.expression, "T", ast.Load()))

    def _unheard(self, *_: Any) -> Any:
        raise _UnheardError

    __bool__ = __len__ = __iter__ = __float__ = __int__ = __index__ = _unheard
    __array__ = _unheard

    def __getattr__(self, name: str) -> Any:
        """Refuse what depends on the array: its shape, its size."""
        raise _UnheardError(name)


def _place(function: Any, name: str) -> ast.expr:
    """Return where NumPy has a function."""
    for room, module in _ROOMS.items():
        if getattr(module, name, None) is function:
            return ast.parse(f"{room}.{name}", mode="eval").body
    raise _UnheardError


def _said(x: Any) -> ast.expr:
    """Return the expression of an argument: a stand-in, or a constant."""
    if isinstance(x, _Name):
        return x.expression
    if isinstance(x, (tuple, list)):
        kind = ast.Tuple if isinstance(x, tuple) else ast.List
        return kind([_said(part) for part in x], ast.Load())
    if isinstance(x, slice):
        parts = (None if p is None else _said(p) for p in (x.start, x.stop, x.step))
        return ast.Slice(*parts)
    if isinstance(x, np.generic):
        x = x.item()
    if x is Ellipsis or x is None or isinstance(x, (bool, int, float, str)):
        finite = not isinstance(x, float) or np.isfinite(x)
        return ast.parse(
            repr(x) if finite else f"np.{x}".replace("np.-", "-np."), mode="eval"
        ).body
    raise _UnheardError


def heard(function: Callable[..., Any]) -> ast.expr | None:
    """Return the expression that a body is in the names of its parameters, or None.

    >>> def bell(x, k=1.0):
    ...     half = -k / 2
    ...     return np.exp(half * x * x)
    >>> ast.unparse(heard(bell))
    'np.exp(-k / 2 * x * x)'
    """
    if not isinstance(function, FunctionType):
        return None
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if code.co_flags & (CO_VARARGS | CO_VARKEYWORDS):  # how many there are is open
        return None
    stand_ins = {name: _Name(ast.Name(name, ast.Load())) for name in names}
    try:
        made = function(**stand_ins)
    except Exception:  # noqa: BLE001 (whatever it is: the body says no expression)
        return None
    return made.expression if isinstance(made, _Name) else None
