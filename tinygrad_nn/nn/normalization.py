"""Normalising layers: `BatchNorm`, `LayerNorm`, `RMSNorm` and `GroupNorm`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinygrad_nn import functional, recording
from tinygrad_nn.errors import ModelError, ShapeError
from tinygrad_nn.functional.arguments import shape_of
from tinygrad_nn.functional.normalization import batch_normalized
from tinygrad_nn.nn.buffer import Buffer
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import floating, told_dtype, whole
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Parameter

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm"]


@final
class BatchNorm(Module):
    """Every channel brought to mean 0 and variance 1, then scaled and shifted.

    In training with mean and variance of the batch, whose running averages are
    remembered; after ``eval()`` with these. Ioffe, Szegedy (2015); see `batch_norm`.

    Parameters
    ----------
    n
        Number of channels: the second axis of ``(n, c)``, ``(n, c, l)``, ``(n, c, h,
        w)`` and so on.
    momentum
        How much of a running average a batch replaces, from 0 to 1.
    epsilon
        Added to variances.
    affine
        Whether it scales and shifts in the end.
    dtype
        Of the parameters and averages: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    weight, bias : Parameter or None
        Of shape ``(n,)``; they start at 1 and 0.
    running_mean, running_var : Buffer
        Of shape ``(n,)``: a part of the state that is saved, not learnt. The variance
        divides by one less than the number of elements, as that of PyTorch does.

    Raises
    ------
    ModelError
        For arguments that make no layer.
    ShapeError
        When called with other channels, or in training with fewer than two elements
        a channel; names the layer.

    Examples
    --------
    >>> layer = BatchNorm(2)
    >>> layer(np.array([[1.0, 5.0], [3.0, 5.0]])).numpy().round(3)
    array([[-1.,  0.],
           [ 1.,  0.]])
    >>> layer.running_mean
    Buffer([0.2, 0.5], name='running_mean')
    >>> layer.eval()
    BatchNorm(2)
    """

    def __init__(
        self,
        n: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        affine: bool = True,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.n = whole("BatchNorm", "n", n)
        if isinstance(momentum, (bool, str)) or not 0 <= momentum <= 1:
            raise ModelError(
                "BatchNorm: momentum is how much of an average a batch replaces, from "
                f"0 to 1; got {momentum!r}"
            )
        self.momentum = float(momentum)
        self.epsilon = _positive("BatchNorm", epsilon)
        kind = floating("BatchNorm", dtype)
        self.weight = Parameter(np.ones(self.n, kind)) if affine else None
        self.bias = Parameter(np.zeros(self.n, kind)) if affine else None
        self.running_mean = Buffer(np.zeros(self.n, kind))
        self.running_var = Buffer(np.ones(self.n, kind))

    def forward(self, x: Any) -> Any:
        """Return ``x`` normalised; in training, remember its mean and variance."""
        size = shape_of(x)
        if len(size) < 2 or size[1] != self.n:
            advice = ""
            if len(size) > 2 and size[-1] == self.n:
                advice = ". Channels come second"
            raise ShapeError(
                f"{self._title()}: expected x(n, {self.n}, …); got x{size}{advice}"
            )
        if not self.in_training():
            mean, var = self.running_mean, self.running_var
            return functional.batch_norm(
                x, self.weight, self.bias, mean, var, self.epsilon
            )
        count = math.prod(size) // self.n
        if count < 2:
            raise ShapeError(
                f"{self._title()}: expected two elements of each channel in training, "
                f"or more; got x{size}. Use larger batches, or eval()"
            )
        y, mean, var = batch_normalized(x, self.weight, self.bias, self.epsilon)
        with recording.no_grad():
            self._remember(self.running_mean, mean)
            self._remember(self.running_var, var * (count / (count - 1)))
        return y

    def _remember(self, average: Buffer, new: Any) -> None:
        average.data = average + (new - average) * self.momentum

    def describe(self) -> str:
        """Show the number of channels."""
        text = f"BatchNorm({self.n}"
        if self.momentum != 0.1:
            text += f", momentum={self.momentum:g}"
        if self.epsilon != 1e-5:
            text += f", epsilon={self.epsilon:g}"
        if self.weight is None:
            text += ", affine=False"
        return text + told_dtype(self.weight) + ")"


@final
class LayerNorm(Module):
    """Mean 0 and variance 1 for every example by itself; see `layer_norm`.

    Parameters
    ----------
    n
        Length of the last axis, or lengths of the last axes, that are normalised.
    epsilon
        Added to variances.
    bias
        Whether it shifts in the end.
    dtype
        Of the parameters: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    weight : Parameter
        Of the lengths; starts at 1.
    bias : Parameter or None
        Of the lengths; starts at 0.

    Examples
    --------
    >>> LayerNorm(2)(np.array([[1.0, 3.0], [5.0, 9.0]])).numpy().round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    def __init__(
        self,
        n: int | Sequence[int],
        *,
        epsilon: float = 1e-5,
        bias: bool = True,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.lengths = _lengths("LayerNorm", n)
        self.epsilon = _positive("LayerNorm", epsilon)
        kind = floating("LayerNorm", dtype)
        self.weight = Parameter(np.ones(self.lengths, kind))
        self.bias = Parameter(np.zeros(self.lengths, kind)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return ``x`` normalised along its last axes."""
        axes = _last(self, x, self.lengths)
        return functional.layer_norm(x, self.weight, self.bias, axes, self.epsilon)

    def describe(self) -> str:
        """Show the lengths."""
        return f"LayerNorm({_told(self.lengths)}{told_dtype(self.weight)})"


@final
class RMSNorm(Module):
    """Root mean square 1 for every example by itself; see `rms_norm`.

    Parameters and attributes are those of `LayerNorm`, without a bias.

    >>> RMSNorm(2)(np.array([[3.0, 4.0]]) * 5).numpy().round(3)
    array([[0.849, 1.131]])
    """

    def __init__(
        self,
        n: int | Sequence[int],
        *,
        epsilon: float = 1e-6,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.lengths = _lengths("RMSNorm", n)
        self.epsilon = _positive("RMSNorm", epsilon)
        self.weight = Parameter(np.ones(self.lengths, floating("RMSNorm", dtype)))

    def forward(self, x: Any) -> Any:
        """Return ``x`` with the root mean square 1 along its last axes."""
        axes = _last(self, x, self.lengths)
        return functional.rms_norm(x, self.weight, axes, self.epsilon)

    def describe(self) -> str:
        """Show the lengths."""
        return f"RMSNorm({_told(self.lengths)}{told_dtype(self.weight)})"


@final
class GroupNorm(Module):
    """Mean 0 and variance 1 for each group of channels; see `group_norm`.

    Parameters
    ----------
    n
        Number of channels, the second axis.
    groups
        How many groups they are cut into; divides ``n``.
    epsilon
        Added to variances.
    dtype
        Of the parameters: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    weight, bias : Parameter
        Of shape ``(n,)``; they start at 1 and 0.

    Examples
    --------
    >>> GroupNorm(4, 2)(np.array([[1.0, 3.0, 5.0, 9.0]])).numpy().round(3)
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        n: int,
        groups: int,
        *,
        epsilon: float = 1e-5,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.n = whole("GroupNorm", "n", n)
        self.groups = whole("GroupNorm", "groups", groups)
        if self.n % self.groups:
            raise ModelError(
                "GroupNorm: groups divides the number of channels; got "
                f"groups={groups} for {n}"
            )
        self.epsilon = _positive("GroupNorm", epsilon)
        kind = floating("GroupNorm", dtype)
        self.weight = Parameter(np.ones(self.n, kind))
        self.bias = Parameter(np.zeros(self.n, kind))

    def forward(self, x: Any) -> Any:
        """Return ``x`` normalised in groups."""
        try:
            return functional.group_norm(
                x, self.groups, self.weight, self.bias, self.epsilon
            )
        except ShapeError as error:
            raise ShapeError(f"{self._title()}: {error}") from None

    def describe(self) -> str:
        """Show channels and groups."""
        return f"GroupNorm({self.n}, groups={self.groups}{told_dtype(self.weight)})"


def _positive(title: str, epsilon: Any) -> float:
    if isinstance(epsilon, (bool, str)) or not epsilon > 0:
        raise ModelError(f"{title}: epsilon is a number above 0; got {epsilon!r}")
    return float(epsilon)


def _lengths(title: str, n: Any) -> Shape:
    several = tuple(n) if isinstance(n, (tuple, list)) else (n,)
    if not several:
        raise ModelError(f"{title}: n is one length or more; got {n!r}")
    return tuple(whole(title, "n", length) for length in several)


def _last(layer: Module, x: Any, lengths: Shape) -> Shape:
    """The last axes, as many as there are lengths; or a refusal."""
    size = shape_of(x)
    if size[-len(lengths) :] != lengths:
        raise ShapeError(
            f"{layer._title()}: expected x(…, {', '.join(map(str, lengths))}); "  # noqa: SLF001 (a sibling)
            f"got x{size}"
        )
    return tuple(range(-len(lengths), 0))


def _told(lengths: Shape) -> str:
    return str(lengths[0]) if len(lengths) == 1 else str(lengths)
