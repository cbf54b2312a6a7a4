"""Normalisations: numbers brought to mean 0 and variance 1, along other axes each."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import as_array, axes_of, shape_of
from tinygrad_nn.functional.sliding import numbers
from tinygrad_nn.op import Array
from tinygrad_nn.shapes import Axes, Shape

__all__ = [
    "batch_norm",
    "batch_normalized",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    mean: Array | None = None,
    var: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:
    """``(x - mean) / sqrt(var + epsilon) * weight + bias`` for every channel.

    In training, mean and variance are those of the batch: leave them out, and the
    gradient flows through them. In use they are running averages, which are given.
    Ioffe, Szegedy (2015).

    Parameters
    ----------
    x
        Of shape ``(n, c)``, ``(n, c, l)``, ``(n, c, h, w)`` and so on.
    weight, bias
        Of shape ``(c,)``, or None for 1 and 0.
    mean, var
        Of shape ``(c,)``; both or neither. The batch's variance divides by the number
        of elements.
    epsilon
        Added to the variance, so that constant channels give 0, not nan.

    Returns
    -------
    Array
        Of the shape of ``x``.

    Raises
    ------
    ShapeError
        For shapes that do not fit, or no elements to average.

    Examples
    --------
    >>> import numpy as np
    >>> batch_norm(np.array([[1.0, 5.0], [3.0, 5.0]])).round(3)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    if (mean is None) != (var is None):
        raise OpError("batch_norm: mean and var are given both, or neither")
    if mean is None or var is None:
        return batch_normalized(x, weight, bias, epsilon)[0]
    x = as_array(x)
    size = shape_of(x)
    _check_channels("batch_norm", size, weight=weight, bias=bias, mean=mean, var=var)
    lifted = (size[1], *[1] * (len(size) - 2))
    away = x - ops.reshape(mean, lifted)
    return _scaled(away, ops.reshape(var, lifted) + epsilon, weight, bias, lifted)


def batch_normalized(
    x: Array, weight: Array | None, bias: Array | None, epsilon: float
) -> tuple[Array, Array, Array]:
    """Return `batch_norm` in training, and the mean and variance of the batch."""
    x = as_array(x)
    size = shape_of(x)
    _check_channels("batch_norm", size, weight=weight, bias=bias)
    away, mean, var = _centred("batch_norm", x, (0, *range(2, len(size))))
    lifted = (size[1], *[1] * (len(size) - 2))
    made = _scaled(away, var + epsilon, weight, bias, lifted)
    return made, ops.reshape(mean, size[1:2]), ops.reshape(var, size[1:2])


def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    axis: Axes = -1,
    epsilon: float = 1e-5,
) -> Array:
    """Mean 0 and variance 1 for every example by itself, then ``* weight + bias``.

    Ba, Kiros, Hinton (2016).

    Parameters
    ----------
    x
        Of shape ``(…, d)``.
    weight, bias
        Of the lengths of ``x`` along ``axis``, or None for 1 and 0.
    axis
        What is normalised together; the last axis by default.
    epsilon
        Added to the variance.

    Returns
    -------
    Array
        Of the shape of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> layer_norm(np.array([[1.0, 3.0], [5.0, 9.0]])).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = as_array(x)
    axes, lifted = _axes("layer_norm", x, axis, weight=weight, bias=bias)
    away, _, var = _centred("layer_norm", x, axes)
    return _shifted(away / ops.sqrt(var + epsilon), weight, bias, lifted)


def rms_norm(
    x: Array, weight: Array | None = None, axis: Axes = -1, epsilon: float = 1e-6
) -> Array:
    """``x / sqrt(mean(x**2) + epsilon) * weight``: the size is 1, the mean stays.

    Zhang, Sennrich (2019). Parameters as of `layer_norm`, which also takes the mean
    away.

    >>> import numpy as np
    >>> rms_norm(np.array([[3.0, 4.0]]) * 5).round(3)
    array([[0.849, 1.131]])
    """
    x = as_array(x)
    axes, lifted = _axes("rms_norm", x, axis, weight=weight)
    made = x / ops.sqrt(ops.mean(ops.square(x), axes, True) + epsilon)
    return _shifted(made, weight, None, lifted)


def group_norm(
    x: Array,
    groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:
    """Mean 0 and variance 1 for each group of channels of every example.

    Wu, He (2018). Independent of the batch, as `layer_norm`.

    Parameters
    ----------
    x
        Of shape ``(n, c, …)``.
    groups
        How many, of neighbouring channels; divides ``c``. One group is `layer_norm`
        of everything but the first axis; as many as channels, `instance_norm`.
    weight, bias
        Of shape ``(c,)``, or None for 1 and 0.
    epsilon
        Added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> group_norm(np.array([[1.0, 3.0, 5.0, 9.0]]), 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    x = as_array(x)
    size = shape_of(x)
    (parts,) = numbers("group_norm", "groups", groups, 1)
    if len(size) < 2 or size[1] % parts:
        raise ShapeError(
            f"group_norm: expected x(n, c, …) with a c that {parts} groups divide; "
            f"got x{size}"
        )
    _check_channels("group_norm", size, weight=weight, bias=bias)
    together = ops.reshape(x, (size[0], parts, math.prod(size[1:]) // parts))
    away, _, var = _centred("group_norm", together, (2,))
    made = ops.reshape(away / ops.sqrt(var + epsilon), size)
    return _shifted(made, weight, bias, (size[1], *[1] * (len(size) - 2)))


def instance_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:
    """Mean 0 and variance 1 for each channel of every example.

    Ulyanov, Vedaldi, Lempitsky (2016). ``x`` is of shape ``(n, c, …)``, ``weight`` and
    ``bias`` of shape ``(c,)``.

    >>> import numpy as np
    >>> instance_norm(np.array([[[1.0, 3.0], [5.0, 9.0]]])).round(3)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    x = as_array(x)
    size = shape_of(x)
    if len(size) < 3:
        raise ShapeError(f"instance_norm: expected x(n, c, …); got x{size}")
    _check_channels("instance_norm", size, weight=weight, bias=bias)
    away, _, var = _centred("instance_norm", x, tuple(range(2, len(size))))
    lifted = (size[1], *[1] * (len(size) - 2))
    return _scaled(away, var + epsilon, weight, bias, lifted)


def _centred(title: str, x: Array, axes: Shape) -> tuple[Array, Array, Array]:
    """Return what has mean 0, and the mean and variance that it had.

    The mean is taken away before squares: of large numbers near each other no digit
    is lost.
    """
    size = shape_of(x)
    if any(size[axis] == 0 for axis in axes):
        raise ShapeError(f"{title}: expected elements to normalise; got x{size}")
    mean = ops.mean(x, axes, True)
    away = x - mean
    return away, mean, ops.mean(ops.square(away), axes, True)


def _scaled(away: Array, var: Array, weight: Any, bias: Any, shape: Shape) -> Array:
    """Divide and scale at once, by a number for each channel."""
    if weight is None:
        return _shifted(away / ops.sqrt(var), None, bias, shape)
    return _shifted(
        away * (ops.reshape(weight, shape) / ops.sqrt(var)), None, bias, shape
    )


def _shifted(made: Array, weight: Any, bias: Any, shape: Shape) -> Array:
    if weight is not None:
        made = made * ops.reshape(weight, shape)
    return made if bias is None else made + ops.reshape(bias, shape)


def _axes(title: str, x: Array, axis: Axes, **given: Any) -> tuple[Shape, Shape]:
    """Axes, and the shape in which a weight along them meets ``x``."""
    size, axes = shape_of(x), axes_of(title, x, axis)
    lengths = tuple(size[i] for i in axes)
    if not axes or 0 in lengths:
        raise ShapeError(f"{title}: expected elements to normalise; got x{size}")
    for name, value in given.items():
        if value is not None and shape_of(value) != lengths:
            raise ShapeError(
                f"{title}: expected {name}{lengths}, the lengths of x along axis "
                f"{axis!r}; got {name}{shape_of(value)} for x{size}"
            )
    return axes, tuple(n if i in axes else 1 for i, n in enumerate(size))


def _check_channels(title: str, size: Shape, **given: Any) -> None:
    if len(size) < 2:
        raise ShapeError(f"{title}: expected x(n, c, …); got x{size}")
    for name, value in given.items():
        if value is not None and shape_of(value) != size[1:2]:
            advice = ""
            if len(size) > 2 and shape_of(value) == size[-1:]:
                advice = ". Channels come second"
            raise ShapeError(
                f"{title}: expected {name}(c) with c = {size[1]}; "
                f"got {name}{shape_of(value)} for x{size}{advice}"
            )
