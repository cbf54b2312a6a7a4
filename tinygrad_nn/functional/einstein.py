"""Sums of products by Einstein's convention, as NumPy takes them.

With ``optimize=``, operands are contracted two by two, in the order that NumPy's
`einsum_path` finds, and each two by `matmul` where they can be. Without, the value is
NumPy's to the last bit; the backward takes products of matrices all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import DtypeError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, cast, refuse_out, shape_of
from tinygrad_nn.op import Array, op_of
from tinygrad_nn.ops.contraction import contracted, explicit

__all__ = ["einsum", "einsum_path"]


def _letters(axes: Sequence[Any]) -> str:
    """Spell a list of numbers, which stand for axes, as NumPy does."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    try:
        return "".join("..." if i is Ellipsis else letters[i] for i in axes)
    except (IndexError, TypeError):
        raise ShapeError(
            f"einsum: expected axes named by 0 to 51, or by ...; got {list(axes)}"
        ) from None


def _read(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return subscripts and arrays, however they were given."""
    if not operands:
        raise ShapeError("einsum: expected subscripts and arrays; got nothing")
    if isinstance(operands[0], str):
        return operands[0], list(operands[1:])
    arrays, axes = operands[::2], operands[1::2]
    output = ""
    if len(arrays) > len(axes):  # the last list is that of the result
        output = "->" + _letters(arrays[-1])
        arrays = arrays[:-1]
    return ",".join(map(_letters, axes)) + output, list(arrays)


def einsum(
    *operands: Any, out: None = None, optimize: Any = False, **kwargs: Any
) -> Array:
    """Sum of products by Einstein's convention.

    Parameters
    ----------
    operands
        Subscripts such as ``"ij,jk->ik"`` and the arrays; or each array with a list of
        numbers for its axes, and maybe one more for those of the result.
    optimize
        False: all at once, as it stands. Otherwise as NumPy takes it: two at a time,
        in an order that is found, or given.
    kwargs
        ``dtype`` and ``casting``, as in NumPy.

    Examples
    --------
    >>> einsum("ij,j->i", np.eye(2), np.array([1.0, 2.0]))
    array([1., 2.])
    >>> einsum(np.eye(2), [0, 1], np.array([1.0, 2.0]), [1], [0])
    array([1., 2.])
    """
    refuse_out("np.einsum", out)
    subscripts, arrays = _read(operands)
    arrays = _cast([as_array(x) for x in arrays], **kwargs)
    if optimize is False or len(arrays) < 2:
        return ops.einsum(*arrays, subscripts=subscripts)
    return _in_steps(subscripts, arrays, optimize)


def _cast(
    arrays: list[Any],
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
    **unknown: Any,
) -> list[Any]:
    if unknown:
        raise UnsupportedError(
            "np.einsum: expected optimize, dtype, order and casting alone; got "
            f"{', '.join(unknown)}=. Leave it out"
        )
    del order  # a recorded value has no layout of its own
    for x in arrays:
        if dtype is not None and not np.can_cast(x.dtype, dtype, casting):  # type: ignore[arg-type]
            raise DtypeError(
                f"np.einsum: expected operands that cast to {np.dtype(dtype)} by the "
                f"rule {casting!r}; got {x.dtype}. Cast them, with .astype()"
            )
    return [cast(x, dtype) for x in arrays]


def einsum_path(
    *operands: Any, optimize: Any = "greedy", einsum_call: bool = False
) -> Any:
    """Order in which to contract two at a time: NumPy's, of shapes alone.

    >>> einsum_path("ij,jk,k->i", np.eye(2), np.eye(2), np.ones(2))[0]
    ['einsum_path', (1, 2), (0, 1)]
    """
    subscripts, arrays = _read(operands)
    stand_ins = [np.broadcast_to(0.0, shape_of(x)) for x in arrays]
    find: Any = np.einsum_path
    return find(subscripts, *stand_ins, optimize=optimize, einsum_call=einsum_call)


def _in_steps(subscripts: str, arrays: list[Any], optimize: Any) -> Array:
    sizes = [x.shape for x in arrays]
    try:
        op_of(ops.einsum).shape(*sizes, subscripts=subscripts)
    except ShapeError as refused:
        names = [f"operands[{i}]" for i in range(len(sizes))]
        got = shapes.describe(names, sizes)
        raise ShapeError(f"einsum: {refused}; got {got}, {subscripts!r}") from None
    terms, output = explicit(subscripts, tuple(x.ndim for x in arrays))
    path, _ = einsum_path(f"{','.join(terms)}->{output}", *arrays, optimize=optimize)
    for places in path[1:]:
        chosen = sorted(places, reverse=True)
        parts = [(terms.pop(i), arrays.pop(i)) for i in chosen][::-1]
        wanted = set("".join([*terms, output]))
        here = dict.fromkeys("".join(term for term, _ in parts))
        left = "".join(c for c in here if c in wanted) if terms else output
        arrays.append(contracted(parts, left))
        terms.append(left)
    return arrays[0]
