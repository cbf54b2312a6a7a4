"""Settings of what slides: strides, paddings, dilations of convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import shape_of
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Shape

__all__ = ["fits", "margins", "numbers", "padded"]

Margins = tuple[tuple[int, int], ...]
AXES = {1: "l", 2: "h, w"}
"""What the axes that are slid along are called in errors."""


def _whole(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def numbers(title: str, what: str, given: Any, rank: int, least: int = 1) -> Shape:
    """Return one number for each axis: one given stands for all.

    >>> numbers("conv2d", "stride", 2, 2)
    (2, 2)
    """
    several = (given,) * rank if _whole(given) else given
    right = isinstance(several, (tuple, list)) and len(several) == rank
    if not right or not all(_whole(n) and n >= least for n in several):
        each = "" if rank == 1 else f" or {rank} of them"
        raise OpError(
            f"{title}: {what} is an integer of at least {least}{each}; got {given!r}"
        )
    return tuple(int(n) for n in several)


def margins(
    title: str,
    given: Any,
    size: Shape,
    window: Shape,
    stride: Shape,
    dilation: Shape,
) -> Margins:
    """Return how many elements are added before and after, along each axis.

    ``"valid"``: none. ``"same"``: as many as make ``ceil(n / stride)`` windows of ``n``
    elements; of an odd number the larger half comes after (ONNX's SAME_UPPER).

    >>> margins("conv2d", "same", (5, 5), (3, 2), (1, 1), (1, 1))
    ((1, 1), (0, 1))
    """
    rank = len(window)
    if isinstance(given, str):
        if given == "valid":
            return ((0, 0),) * rank
        if given != "same":
            raise OpError(
                f"{title}: padding is 'same', 'valid' or numbers; got {given!r}"
            )
        found = []
        for n, width, step, gap in zip(size, window, stride, dilation, strict=True):
            reach = (width - 1) * gap + 1
            missing = max((-(-n // step) - 1) * step + reach - n, 0)
            found.append((missing // 2, missing - missing // 2))
        return tuple(found)
    if isinstance(given, (tuple, list)) and any(
        isinstance(pair, (tuple, list)) for pair in given
    ):
        pairs = [numbers(title, "padding", pair, 2, 0) for pair in given]
        if len(pairs) != rank:
            raise OpError(f"{title}: padding has a pair for each axis; got {given!r}")
        return tuple((before, after) for before, after in pairs)
    return tuple((n, n) for n in numbers(title, "padding", given, rank, 0))


def padded(x: Array, edges: Margins) -> Array:
    """Return ``x`` with zeros around it, along its last axes.

    >>> padded(np.ones(2), ((1, 0),))
    array([0., 1., 1.])
    """
    if not any(before or after for before, after in edges):
        return x
    size = shape_of(x)
    lead = len(size) - len(edges)
    inner = tuple(
        slice(before, before + n)
        for (before, _), n in zip(edges, size[lead:], strict=True)
    )
    outer = tuple(
        before + n + after
        for (before, after), n in zip(edges, size[lead:], strict=True)
    )
    return ops.scatter_add(x, (..., *inner), (*size[:lead], *outer))


def fits(
    title: str, size: Sequence[int], window: Shape, dilation: Shape, edges: Margins
) -> None:
    """Refuse a window that is larger than what it slides over.

    Raises
    ------
    ShapeError
        Names the lengths, with padding, and the reach of the window.
    """
    lengths = tuple(b + n + a for (b, a), n in zip(edges, size, strict=True))
    reach = tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))
    if any(r > n for r, n in zip(reach, lengths, strict=True)):
        raise ShapeError(
            f"{title}: expected windows that fit into the input; got windows of "
            f"{reach} over {lengths}, padding included. Use a smaller window, or more "
            "padding"
        )
