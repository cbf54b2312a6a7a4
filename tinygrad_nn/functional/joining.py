"""Arrays put together and taken apart, with NumPy's names and signatures."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import DtypeError, ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, axis_of, refuse_out
from tinygrad_nn.functional.movement import atleast_1d, atleast_2d, atleast_3d
from tinygrad_nn.op import Array, Node, data_of
from tinygrad_nn.ops import getitem

__all__ = [
    "append",
    "array_split",
    "block",
    "column_stack",
    "concat",
    "concatenate",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "split",
    "stack",
    "unstack",
    "vsplit",
    "vstack",
]


def _parts(title: str, arrays: Any, dtype: Any, casting: str) -> list[Any]:
    """Return the arrays, cast to a dtype where one is asked for."""
    if isinstance(arrays, Node):
        parts = [getitem(arrays, i) for i in range(len(_sized(title, arrays)))]
    else:
        parts = [as_array(x) for x in arrays]
    if dtype is None:
        return parts
    wanted = np.dtype(dtype)
    if wanted.kind not in "fiub":
        raise UnsupportedError(f"{title}: expected a real dtype; got {dtype!r}")
    for x in parts:
        if not np.can_cast(x.dtype, wanted, casting):  # type: ignore[arg-type]
            raise DtypeError(
                f"{title}: expected a dtype that {x.dtype} casts to by the rule "
                f"{casting!r}; got {wanted}. Cast first, with .astype()"
            )
    return [ops.astype(x, wanted) for x in parts]


def _sized(title: str, x: Any) -> tuple[int, ...]:
    """Return one entry for each element of the first axis."""
    if not x.shape:
        raise ShapeError(f"{title}: expected a sequence of arrays; got x()")
    return (0,) * int(x.shape[0])


def concatenate(
    arrays: Sequence[Array],
    /,
    axis: int | None = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    """Arrays joined along an axis that they have.

    >>> concatenate([np.array([1.0]), np.array([2.0, 3.0])])
    array([1., 2., 3.])
    """
    refuse_out("np.concatenate", out)
    return ops.concatenate(*_parts("np.concatenate", arrays, dtype, casting), axis=axis)


concat = concatenate


def stack(
    arrays: Sequence[Array],
    axis: int = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    """Arrays of one shape joined along a new axis.

    >>> stack([np.array([1.0]), np.array([2.0])]).shape
    (2, 1)
    """
    refuse_out("np.stack", out)
    return ops.stack(*_parts("np.stack", arrays, dtype, casting), axis=axis)


def vstack(
    tup: Sequence[Array], *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """Rows, or matrices, one below the other.

    >>> vstack([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    array([[1., 2.],
           [3., 4.]])
    """
    rows = [atleast_2d(x) for x in _parts("np.vstack", tup, dtype, casting)]
    return ops.concatenate(*rows, axis=0)


def hstack(
    tup: Sequence[Array], *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """Arrays side by side: along the second axis, or the only one.

    >>> hstack([np.array([1.0, 2.0]), 3.0])
    array([1., 2., 3.])
    """
    parts = [atleast_1d(x) for x in _parts("np.hstack", tup, dtype, casting)]
    flat = bool(parts) and len(parts[0].shape) == 1
    return ops.concatenate(*parts, axis=0 if flat else 1)


def dstack(tup: Sequence[Array]) -> Array:
    """Arrays one behind the other, along the third axis.

    >>> dstack([np.array([1.0, 2.0]), np.array([3.0, 4.0])]).shape
    (1, 2, 2)
    """
    parts = [atleast_3d(x) for x in _parts("np.dstack", tup, None, "same_kind")]
    return ops.concatenate(*parts, axis=2)


def column_stack(tup: Sequence[Array]) -> Array:
    """Vectors as columns of a matrix; matrices as they are.

    >>> column_stack([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    array([[1., 3.],
           [2., 4.]])
    """
    parts = _parts("np.column_stack", tup, None, "same_kind")
    columns = [
        x if len(x.shape) > 1 else ops.reshape(x, (int(np.prod(x.shape)), 1))
        for x in parts
    ]
    return ops.concatenate(*columns, axis=1)


def append(arr: Array, values: Array, axis: int | None = None) -> Array:
    """Values put behind an array; without an axis both are flattened.

    >>> append(np.array([1.0, 2.0]), 3.0)
    array([1., 2., 3.])
    """
    return ops.concatenate(as_array(arr), as_array(values), axis=axis)


def block(arrays: Any) -> Array:
    """Array put together from nested lists of blocks, the innermost side by side.

    >>> block([[np.eye(2), np.zeros((2, 1))], [np.ones((1, 3))]])
    array([[1., 0., 0.],
           [0., 1., 0.],
           [1., 1., 1.]])
    """
    depth, blocks = _read_blocks(arrays, ())
    rank = max([depth, *[len(x.shape) for x in blocks]])
    return _joined_blocks(arrays, rank, rank - depth)


def _read_blocks(arrays: Any, place: tuple[int, ...]) -> tuple[int, list[Any]]:
    """Return how deep lists are nested, everywhere alike, and what they hold."""
    if isinstance(arrays, tuple):
        raise UnsupportedError(
            f"np.block: expected lists, for a tuple could be an array; got a tuple at "
            f"arrays{list(place) or ''}. Write a list"
        )
    if not isinstance(arrays, list):
        return 0, [as_array(arrays)]
    if not arrays:
        raise ShapeError(
            f"np.block: expected lists of at least one block; got an empty list at "
            f"arrays{list(place) or ''}"
        )
    depths = set()
    blocks = []
    for i, part in enumerate(arrays):
        depth, found = _read_blocks(part, (*place, i))
        depths.add(depth)
        blocks += found
    if len(depths) > 1:
        raise ShapeError(
            f"np.block: expected lists that are nested equally deep; got depths "
            f"{sorted(depths)} in arrays{list(place) or ''}"
        )
    return depths.pop() + 1, blocks


def _joined_blocks(arrays: Any, rank: int, axis: int) -> Any:
    if isinstance(arrays, list):
        parts = [_joined_blocks(part, rank, axis + 1) for part in arrays]
        return ops.concatenate(*parts, axis=axis)
    x = as_array(arrays)
    return ops.reshape(x, (*(1,) * (rank - len(x.shape)), *x.shape))


# --- taken apart -----------------------------------------------------------------


def array_split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Parts along an axis: so many, of nearly one size, or cut at places.

    >>> array_split(np.arange(5.0), 2)
    [array([0., 1., 2.]), array([3., 4.])]
    """
    ary = as_array(ary)
    axis = axis_of("array_split", ary, axis)
    n = ary.shape[axis]
    cuts = _cuts(indices_or_sections, n)
    lead = (slice(None),) * axis
    ends = zip([0, *cuts], [*cuts, n], strict=True)
    return [getitem(ary, (*lead, slice(start, stop))) for start, stop in ends]


def _cuts(given: Any, n: int) -> list[int]:
    """Return where one part ends and the next begins."""
    given = data_of(given)
    if np.ndim(given):
        return [operator.index(i) for i in given]
    sections = int(given)
    if sections <= 0:
        raise ShapeError(f"array_split: expected at least one section; got {sections}")
    each, more = divmod(n, sections)
    return [i * each + min(i, more) for i in range(1, sections)]


def split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Equal parts along an axis, or parts cut at places.

    >>> split(np.arange(4.0), [1, 3])
    [array([0.]), array([1., 2.]), array([3.])]
    """
    ary = as_array(ary)
    axis = axis_of("split", ary, axis)
    given = data_of(indices_or_sections)
    if np.ndim(given) == 0 and (int(given) == 0 or ary.shape[axis] % int(given)):
        raise ShapeError(
            f"split: expected a number of parts that divides {ary.shape[axis]}, the "
            f"size of axis {axis}; got {given}. Use array_split for unequal parts"
        )
    return array_split(ary, given, axis)


def hsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    """Parts along the second axis, or along the only one.

    >>> [x.shape for x in hsplit(np.ones((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    return _split_at("hsplit", ary, indices_or_sections, 1)


def vsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    """Parts along the first axis, of at least two.

    >>> [x.shape for x in vsplit(np.ones((2, 4)), 2)]
    [(1, 4), (1, 4)]
    """
    return _split_at("vsplit", ary, indices_or_sections, 2)


def dsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    """Parts along the third axis.

    >>> [x.shape for x in dsplit(np.ones((2, 3, 4)), 2)]
    [(2, 3, 2), (2, 3, 2)]
    """
    return _split_at("dsplit", ary, indices_or_sections, 3)


def _split_at(title: str, ary: Any, places: Any, least: int) -> list[Array]:
    ary = as_array(ary)
    rank = len(ary.shape)
    if rank < least:
        raise ShapeError(f"{title}: expected at least {least} axes; got ary{ary.shape}")
    axis = {"hsplit": min(rank - 1, 1), "vsplit": 0, "dsplit": 2}[title]
    return split(ary, places, axis)


def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Every element along an axis, which is dropped.

    >>> unstack(np.array([[1.0, 2.0], [3.0, 4.0]]))
    (array([1., 2.]), array([3., 4.]))
    """
    x = as_array(x)
    if not x.shape:
        raise ShapeError("unstack: expected at least one axis; got x()")
    axis = axis_of("unstack", x, axis)
    lead = (slice(None),) * axis
    return tuple(getitem(x, (*lead, i)) for i in range(x.shape[axis]))
