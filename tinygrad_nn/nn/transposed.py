"""`ConvTranspose1d` and `ConvTranspose2d`: convolutions that make images larger."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import functional
from tinygrad_nn.errors import ModelError, OpError
from tinygrad_nn.functional.sliding import numbers
from tinygrad_nn.nn.convolution import Convolution
from tinygrad_nn.tensor import Parameter

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "TransposedConvolution"]


class TransposedConvolution(Convolution):
    """What `ConvTranspose1d` and `ConvTranspose2d` share."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: Any,
        *,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        activation: Any = None,
        bias: bool = True,
        init: Any = None,
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        super().__init__(
            n_in,
            n_out,
            size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            activation=activation,
            bias=bias,
            init=init,
            rng=rng,
            dtype=dtype,
            name=name,
        )
        title = type(self).__name__
        try:
            self.padding = numbers(title, "padding", padding, self.rank, 0)
            extra = numbers(title, "output_padding", output_padding, self.rank, 0)
        except OpError as error:
            raise ModelError(str(error)) from None
        if any(e >= s for e, s in zip(extra, self.stride, strict=True)):
            raise ModelError(
                f"{title}: output_padding is less than stride; got "
                f"output_padding={output_padding!r}, stride={stride!r}"
            )
        self.output_padding = extra
        # What is drawn as of a convolution is turned round, each group by itself.
        inner, outer = self.n_in // self.groups, self.n_out // self.groups
        drawn = self.weight.data.reshape(self.groups, outer, inner, *self.size)
        turned = np.ascontiguousarray(drawn.swapaxes(1, 2))
        self.weight = Parameter(turned.reshape(self.n_in, outer, *self.size))

    def settings(self) -> dict[str, Any]:
        """Return what the function behind the layer takes besides arrays."""
        return {**super().settings(), "output_padding": self.output_padding}


@final
class ConvTranspose1d(TransposedConvolution):
    """Transpose of `Conv1d`; parameters are those of `ConvTranspose2d`.

    >>> ConvTranspose1d(4, 2, 3, stride=2, padding=1, rng=0)(np.ones((1, 4, 5))).shape
    (1, 2, 9)
    """

    rank = 1

    def convolved(self, x: Any) -> Any:
        """Return the sums of what every element paints."""
        settings = self.settings()
        return functional.conv_transpose1d(x, self.weight, self.bias, **settings)


@final
class ConvTranspose2d(TransposedConvolution):
    """Every element paints a kernel, and what overlaps adds up; see `conv_transpose2d`.

    The transpose of `Conv2d` with the same settings: it makes images larger by
    ``stride``.

    Parameters
    ----------
    n_in, n_out
        Numbers of channels.
    size, stride, dilation, groups, activation, bias, rng, dtype, name
        As of `Conv2d`.
    padding
        How much is cut off around the result: a number, or one for each axis.
    output_padding
        How much larger the result is at its end, less than ``stride``.
    init
        As of `Conv2d`, for a weight of that layer's shape; it is turned round.

    Attributes
    ----------
    weight : Parameter
        Of shape ``(n_in, n_out / groups, rows, columns)``.
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
    >>> layer = ConvTranspose2d(8, 4, 4, stride=2, padding=1, rng=0)
    >>> layer
    ConvTranspose2d(8 -> 4, 4x4, stride=2, padding=1)
    >>> layer(np.ones((5, 8, 7, 7))).shape
    (5, 4, 14, 14)
    """

    rank = 2

    def convolved(self, x: Any) -> Any:
        """Return the sums of what every element paints."""
        settings = self.settings()
        return functional.conv_transpose2d(x, self.weight, self.bias, **settings)
