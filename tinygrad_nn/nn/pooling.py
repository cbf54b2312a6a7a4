"""Pooling layers: the largest element, or the mean, of every window."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, final

from tinygrad_nn import functional
from tinygrad_nn.errors import ModelError, OpError, ShapeError
from tinygrad_nn.functional.sliding import margins, numbers
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import settings_of_windows

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "GlobalAvgPool",
    "MaxPool1d",
    "MaxPool2d",
    "Pooling",
]


class Pooling(Module):
    """What pooling layers share: settings of the windows, and errors with names."""

    rank: ClassVar[int]

    def __init__(self, size: Any, stride: Any = None, padding: Any = 0) -> None:
        title = type(self).__name__
        try:
            self.size = numbers(title, "size", size, self.rank)
            self.stride = (
                self.size
                if stride is None
                else numbers(title, "stride", stride, self.rank)
            )
            ones = (1,) * self.rank
            margins(title, padding, self.size, self.size, self.stride, ones)
        except OpError as error:
            raise ModelError(str(error)) from None
        self.padding = padding

    @abstractmethod
    def pooled(self, x: Any) -> Any:
        """Return the result of the function behind the layer."""

    def forward(self, x: Any) -> Any:
        """Return one number for each window: ``(n, c, …) -> (n, c, …)``."""
        try:
            return self.pooled(x)
        except ShapeError as error:
            raise ShapeError(f"{self._title()}: {error}") from None

    def describe(self) -> str:
        """Show the windows."""
        size = "x".join(map(str, self.size))
        more = settings_of_windows(
            stride=(self.stride, self.size), padding=(self.padding, 0)
        )
        return f"{type(self).__name__}({size}{more})"


@final
class MaxPool1d(Pooling):
    """Largest element of each window of sequences; see `max_pool1d`.

    >>> import numpy as np
    >>> MaxPool1d(2)(np.array([[[1.0, 3.0, 2.0, 5.0]]]))
    array([[[3., 5.]]])
    """

    rank = 1

    def pooled(self, x: Any) -> Any:
        """Return the largest elements."""
        return functional.max_pool1d(x, self.size, self.stride, self.padding)


@final
class MaxPool2d(Pooling):
    """Largest element of each window of images; see `max_pool2d`.

    Parameters
    ----------
    size
        Of a window: a number, or rows and columns.
    stride
        How far apart windows begin; by default ``size``.
    padding
        As of `conv2d`; what is added is never the largest.

    Raises
    ------
    ModelError
        For settings that are no such numbers.
    ShapeError
        When called with other than ``(n, c, h, w)``; names the layer.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    >>> MaxPool2d(3, stride=2, padding=1)
    MaxPool2d(3x3, stride=2, padding=1)
    """

    rank = 2

    def pooled(self, x: Any) -> Any:
        """Return the largest elements."""
        return functional.max_pool2d(x, self.size, self.stride, self.padding)


@final
class AvgPool1d(Pooling):
    """Mean of each window of sequences; see `avg_pool1d`.

    >>> import numpy as np
    >>> AvgPool1d(2)(np.array([[[1.0, 3.0, 2.0, 6.0]]]))
    array([[[2., 4.]]])
    """

    rank = 1

    def pooled(self, x: Any) -> Any:
        """Return the means."""
        return functional.avg_pool1d(x, self.size, self.stride, self.padding)


@final
class AvgPool2d(Pooling):
    """Mean of each window of images; parameters as of `MaxPool2d`, see `avg_pool2d`.

    Padding counts as elements that are 0.

    >>> import numpy as np
    >>> AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    rank = 2

    def pooled(self, x: Any) -> Any:
        """Return the means."""
        return functional.avg_pool2d(x, self.size, self.stride, self.padding)


@final
class GlobalAvgPool(Module):
    """Mean of each channel over all that follows: ``(n, c, …) -> (n, c)``.

    Between convolutions and `Dense`, for images of any size (Lin, Chen, Yan 2014).

    >>> import numpy as np
    >>> GlobalAvgPool()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """

    def forward(self, x: Any) -> Any:
        """Return the means."""
        try:
            return functional.global_avg_pool(x)
        except ShapeError as error:
            raise ShapeError(f"{self._title()}: {error}") from None
