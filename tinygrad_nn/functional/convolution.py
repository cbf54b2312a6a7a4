"""Convolutions: windows of the input times one matrix of weights.

As everywhere in the field, a convolution here does not turn its kernel around: it is a
cross-correlation. Layout: examples, channels, then what is slid along.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional.arguments import as_array, shape_of
from tinygrad_nn.functional.sliding import AXES, fits, margins, numbers, padded
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Shape

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]


def conv1d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Convolution along one axis; see `conv2d`.

    Parameters
    ----------
    x
        Of shape ``(n, c_in, l)``.
    weight
        Of shape ``(c_out, c_in / groups, k)``.
    bias
        Of shape ``(c_out,)``, or None.
    stride, padding, dilation, groups
        As of `conv2d`, with one number where that has two.

    Returns
    -------
    Array
        Of shape ``(n, c_out, (l + padding - dilation * (k - 1) - 1) // stride + 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> conv1d(np.array([[[1.0, 2.0, 4.0, 8.0]]]), np.array([[[-1.0, 1.0]]]))
    array([[[1., 2., 4.]]])
    """
    return _convolved("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Weighted sums of what lies under a kernel that slides over images.

    ``y[n, o, r, s] = bias[o] + sum of weight[o, c, i, j] * x[n, c, r * stride + i *
    dilation - padding, …]``, a cross-correlation. The windows are laid out as one
    matrix, which is multiplied by the weights (Chellapilla, Puri, Simard 2006): quick,
    and as much memory as ``kh * kw / stride**2`` inputs.

    Parameters
    ----------
    x
        Of shape ``(n, c_in, h, w)``.
    weight
        Of shape ``(c_out, c_in / groups, kh, kw)``.
    bias
        Of shape ``(c_out,)``, or None.
    stride
        How far apart windows begin: a number, or one for each axis.
    padding
        Zeros around the input: a number, one for each axis, a pair (before, after) for
        each axis, ``"valid"`` for none, or ``"same"`` for as many as make ``ceil(h /
        stride)`` rows; of an odd number one more comes after.
    dilation
        Distance of the elements under the kernel.
    groups
        Channels are cut into so many groups, each with its own part of the outputs.

    Returns
    -------
    Array
        Of shape ``(n, c_out, rows, columns)``.

    Raises
    ------
    ShapeError
        For shapes that do not fit, or a kernel larger than the padded input.
    OpError
        For settings that are no such numbers.

    Examples
    --------
    >>> import numpy as np
    >>> conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding="same")[0, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    return _convolved("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def _convolved(
    title: str,
    rank: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Array:
    x, weight = as_array(x), as_array(weight)
    size, kernel = shape_of(x), shape_of(weight)
    (parts,) = numbers(title, "groups", groups, 1)
    law = f"x(n, c_in, {AXES[rank]}) and weight(c_out, c_in / groups, "
    law += "k)" if rank == 1 else "kh, kw)"
    if len(size) != rank + 2 or len(kernel) != rank + 2:
        raise _refusal(title, f"expected {law}", x, weight, _missing_axis(size, rank))
    _check_channels(title, law, x, weight, parts)
    n_out, inner, *window = kernel
    _check_bias(title, bias, n_out)
    field = tuple(window)
    steps = numbers(title, "stride", stride, rank)
    gaps = numbers(title, "dilation", dilation, rank)
    edges = margins(title, padding, size[2:], field, steps, gaps)
    fits(title, size[2:], field, gaps, edges)
    # Channels first: then windows are rows of a matrix without another copy.
    channels = ops.transpose(padded(x, edges), (1, 0, *range(2, rank + 2)))
    seen = ops.windows(channels, size=field, stride=steps, dilation=gaps)
    counts = shape_of(seen)[rank + 1 :]
    row = math.prod(counts)
    depth = math.prod(field) * inner
    if parts == 1:
        rows = ops.reshape(seen, (depth, row))
    else:
        split = ops.reshape(seen, (math.prod(field), parts, inner, row))
        rows = ops.reshape(ops.transpose(split, (1, 0, 2, 3)), (parts, depth, row))
    matrix = ops.transpose(weight, (0, *range(2, rank + 2), 1))
    groups_first = (n_out, depth) if parts == 1 else (parts, n_out // parts, depth)
    made = ops.matmul(ops.reshape(matrix, groups_first), rows)
    made = ops.reshape(made, (n_out, *counts))
    if bias is not None:
        made = made + ops.reshape(bias, (n_out, *[1] * len(counts)))
    return ops.transpose(made, (1, 0, *range(2, rank + 2)))


def conv_transpose1d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Transpose of `conv1d`; see `conv_transpose2d`.

    >>> import numpy as np
    >>> conv_transpose1d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 2., 2.]]])
    """
    return _transposed(
        "conv_transpose1d", 1,
        x, weight, bias, stride, padding, output_padding, dilation, groups,
    )  # fmt: skip


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Transpose of `conv2d`: each element paints a kernel, and what overlaps adds up.

    What `conv2d` of the same settings does to a gradient; it makes images larger by
    ``stride`` (Zeiler, Krishnan, Taylor, Fergus 2010).

    Parameters
    ----------
    x
        Of shape ``(n, c_in, h, w)``.
    weight
        Of shape ``(c_in, c_out / groups, kh, kw)``.
    bias
        Of shape ``(c_out,)``, or None.
    stride, dilation, groups
        As of `conv2d`.
    padding
        How much is cut off around the result: a number, or one for each axis.
    output_padding
        How much larger the result is at its end, less than ``stride``: as many lengths
        go with one number of windows.

    Returns
    -------
    Array
        Of shape ``(n, c_out, …)`` with ``(h - 1) * stride - 2 * padding + dilation *
        (kh - 1) + output_padding + 1`` rows.

    Raises
    ------
    ShapeError
        For shapes that do not fit.
    OpError
        For settings that are no such numbers.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    return _transposed(
        "conv_transpose2d", 2,
        x, weight, bias, stride, padding, output_padding, dilation, groups,
    )  # fmt: skip


def _transposed(
    title: str,
    rank: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: Any,
) -> Array:
    x, weight = as_array(x), as_array(weight)
    size, kernel = shape_of(x), shape_of(weight)
    (parts,) = numbers(title, "groups", groups, 1)
    law = f"x(n, c_in, {AXES[rank]}) and weight(c_in, c_out / groups, "
    law += "k)" if rank == 1 else "kh, kw)"
    if len(size) != rank + 2 or len(kernel) != rank + 2:
        raise _refusal(title, f"expected {law}", x, weight, _missing_axis(size, rank))
    if size[1] != kernel[0] or kernel[0] % parts:
        raise _refusal(title, f"expected {law} with groups={parts}", x, weight, "")
    n_in, outer, *window = kernel
    n_out, field = outer * parts, tuple(window)
    _check_bias(title, bias, n_out)
    steps = numbers(title, "stride", stride, rank)
    gaps = numbers(title, "dilation", dilation, rank)
    cut = numbers(title, "padding", padding, rank, 0)
    extra = numbers(title, "output_padding", output_padding, rank, 0)
    whole = tuple(
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(size[2:], steps, gaps, field, extra, strict=True)
    )
    if any(e >= s for e, s in zip(extra, steps, strict=True)):
        raise ShapeError(
            f"{title}: expected output_padding less than stride; got {extra}, {steps}"
        )
    if min(size[2:]) < 1 or any(n <= 2 * p for n, p in zip(whole, cut, strict=True)):
        raise _refusal(
            title, f"expected a result; padding cuts off {cut}", x, weight, ""
        )
    row = size[0] * math.prod(size[2:])
    columns = ops.reshape(
        ops.transpose(x, (1, 0, *range(2, rank + 2))), (parts, n_in // parts, row)
    )
    # (groups, c_in, c_out, k…) to (groups, k… * c_out, c_in)
    split = ops.reshape(weight, (parts, n_in // parts, outer, *field))
    order = (0, *range(3, rank + 3), 2, 1)
    depth = math.prod(field) * outer
    matrix = ops.reshape(ops.transpose(split, order), (parts, depth, n_in // parts))
    painted = ops.reshape(
        ops.matmul(matrix, columns), (parts, *field, outer, size[0], *size[2:])
    )
    order = (*range(1, rank + 1), 0, *range(rank + 1, 2 * rank + 3))
    painted = ops.reshape(
        ops.transpose(painted, order), (*field, n_out, size[0], *size[2:])
    )
    made = ops.overlap_add(
        painted, size=field, stride=steps, dilation=gaps, shape=(n_out, size[0], *whole)
    )
    if any(cut):
        inner = (slice(p, n - p) for p, n in zip(cut, whole, strict=True))
        made = ops.getitem(made, (..., *inner))
    if bias is not None:
        made = made + ops.reshape(bias, (n_out, *[1] * (rank + 1)))
    return ops.transpose(made, (1, 0, *range(2, rank + 2)))


# --- refusals --------------------------------------------------------------------


def _check_channels(title: str, law: str, x: Any, weight: Any, groups: int) -> None:
    n_in, (n_out, inner, *_) = shape_of(x)[1], shape_of(weight)
    if n_in % groups or n_out % groups:
        law = f"expected channels that {groups} groups divide: {law}"
        raise _refusal(title, law, x, weight, "")
    if n_in != inner * groups:
        advice = ""
        if shape_of(x)[-1] == inner * groups:
            order = "x.transpose(0, 2, 1)" if x.ndim == 3 else "x.transpose(0, 3, 1, 2)"
            advice = f". Channels come second: pass {order}"
        law = f"expected {law}" + (f" with groups={groups}" if groups > 1 else "")
        raise _refusal(title, law, x, weight, advice)


def _check_bias(title: str, bias: Any, n_out: int) -> None:
    if bias is not None and shape_of(bias) != (n_out,):
        raise ShapeError(
            f"{title}: expected bias(c_out) with c_out = {n_out}; "
            f"got bias{shape_of(bias)}"
        )


def _missing_axis(size: Shape, rank: int) -> str:
    if len(size) != rank + 1:
        return ""
    what = "sequence" if rank == 1 else "image"
    return f". For one {what} pass x[None]; for one channel x[:, None]"


def _refusal(title: str, law: str, x: Any, weight: Any, advice: str) -> ShapeError:
    got = shapes.describe(["x", "weight"], [shape_of(x), shape_of(weight)])
    return ShapeError(f"{title}: {law}; got {got}{advice}")
