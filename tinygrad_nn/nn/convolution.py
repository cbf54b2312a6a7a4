"""`Conv1d` and `Conv2d`: layers that look at windows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, final

import numpy as np

from tinygrad_nn import functional
from tinygrad_nn.errors import ModelError, OpError, ShapeError
from tinygrad_nn.functional.arguments import shape_of
from tinygrad_nn.functional.sliding import AXES, margins, numbers
from tinygrad_nn.nn import init as initialisers
from tinygrad_nn.nn.activations import activation as activation_of
from tinygrad_nn.nn.activations import name_of
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import (
    drawn,
    floating,
    settings_of_windows,
    told_dtype,
    whole,
)
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Parameter

__all__ = ["Conv1d", "Conv2d", "Convolution"]


class Convolution(Module):
    """What `Conv1d` and `Conv2d` share: all but the number of axes slid along."""

    rank: ClassVar[int]

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: Any,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        activation: Any = None,
        bias: bool = True,
        init: Any = None,
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        title = type(self).__name__
        self.n_in = whole(title, "n_in", n_in)
        self.n_out = whole(title, "n_out", n_out)
        self.groups = whole(title, "groups", groups)
        if self.n_in % self.groups or self.n_out % self.groups:
            raise ModelError(
                f"{title}: groups divides the numbers of channels; got "
                f"groups={groups} for {n_in} -> {n_out}"
            )
        try:
            self.size = numbers(title, "size", size, self.rank)
            self.stride = numbers(title, "stride", stride, self.rank)
            self.dilation = numbers(title, "dilation", dilation, self.rank)
            margins(title, padding, self.size, self.size, self.stride, self.dilation)
        except OpError as error:
            raise ModelError(str(error)) from None
        self.padding = padding
        self.activation = activation_of(activation)
        kind = floating(title, dtype)
        rule = (
            initialisers.for_activation(name_of(self.activation))
            if init is None
            else initialisers.named(init)
        )
        shape = (self.n_out, self.n_in // self.groups, *self.size)
        self.weight = drawn(title, rule, shape, initialisers.generator(rng), kind)
        self.bias = Parameter(np.zeros(self.n_out, kind)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the outputs: ``(n, n_in, …) -> (n, n_out, …)``."""
        size = shape_of(x)
        if len(size) != self.rank + 2 or size[1] != self.n_in:
            raise self._refusal(size)
        try:
            y = self.convolved(x)
        except ShapeError as error:
            raise ShapeError(f"{self._title()}: {error}") from None
        return y if self.activation is None else self.activation(y)

    def settings(self) -> dict[str, Any]:
        """Return what the function behind the layer takes besides arrays."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @abstractmethod
    def convolved(self, x: Any) -> Any:
        """Return the result of the function behind the layer."""

    def _refusal(self, size: Shape) -> ShapeError:
        advice = ""
        if len(size) == self.rank + 2 and size[-1] == self.n_in:
            order = "0, 2, 1" if self.rank == 1 else "0, 3, 1, 2"
            advice = f". Channels come second: pass x.transpose({order})"
        elif len(size) == self.rank + 2:
            title = type(self).__name__
            advice = f". Make this layer {title}({size[1]}, {self.n_out}, …)"
        elif len(size) == self.rank + 1 and self.n_in == 1:
            advice = ". For one channel pass x[:, None]"
        elif len(size) == self.rank + 1:
            advice = ". For one example pass x[None]"
        return ShapeError(
            f"{self._title()}: expected x(n, {self.n_in}, {AXES[self.rank]}); "
            f"got x{size}{advice}"
        )

    def describe(self) -> str:
        """Show sizes and settings."""
        text = f"{type(self).__name__}({self.n_in} -> {self.n_out}, "
        text += "x".join(map(str, self.size))
        usual = {"padding": 0, "output_padding": 0}
        text += settings_of_windows(
            **{name: (x, usual.get(name, 1)) for name, x in self.settings().items()}
        )
        if self.activation is not None:
            text += f", activation={name_of(self.activation)}"
        if self.bias is None:
            text += ", bias=False"
        text += told_dtype(self.weight)
        if self.name is not None:
            text += f", name={self.name!r}"
        return text + ")"


@final
class Conv1d(Convolution):
    """Weighted sums of windows of sequences: ``(n, n_in, l) -> (n, n_out, …)``.

    Parameters and errors are those of `Conv2d`, with one number where that has two;
    the weight is of shape ``(n_out, n_in / groups, k)``. See `conv1d`.

    >>> Conv1d(4, 8, 3, padding="same", rng=0)(np.ones((2, 4, 10))).shape
    (2, 8, 10)
    """

    rank = 1

    def convolved(self, x: Any) -> Any:
        """Return the weighted sums."""
        return functional.conv1d(x, self.weight, self.bias, **self.settings())


@final
class Conv2d(Convolution):
    """Weighted sums of windows of images, then an activation; see `conv2d`.

    Parameters
    ----------
    n_in, n_out
        Numbers of channels.
    size
        Of the kernel: a number, or rows and columns.
    stride, padding, dilation, groups
        As of `conv2d`: ``padding="same"`` keeps the size of the images.
    activation
        A name (``"relu"``), a function, a module, or None.
    bias
        Whether there is one, a number for each channel; it starts at zero.
    init
        What the weight starts from, as of `Dense`; the fan-in is the number of
        weights that meet in one output.
    rng
        A `numpy.random.Generator`, or a seed.
    dtype
        Of the parameters: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    weight : Parameter
        Of shape ``(n_out, n_in / groups, rows, columns)``.
    bias : Parameter or None
        Of shape ``(n_out,)``.

    Raises
    ------
    ModelError
        For arguments that make no layer.
    ShapeError
        When called with other than ``(n, n_in, h, w)``; names the layer.

    Examples
    --------
    >>> layer = Conv2d(1, 4, 3, padding="same", activation="relu", rng=0)
    >>> layer
    Conv2d(1 -> 4, 3x3, padding=same, activation=relu)
    >>> layer(np.ones((5, 1, 8, 8))).shape
    (5, 4, 8, 8)
    """

    rank = 2

    def convolved(self, x: Any) -> Any:
        """Return the weighted sums."""
        return functional.conv2d(x, self.weight, self.bias, **self.settings())
