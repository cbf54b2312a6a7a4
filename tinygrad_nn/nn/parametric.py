"""Activations with settings, or with a slope to learn.

What each computes, its slope at kinks and its source stand with the function of that
name in `tinygrad_nn`.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import functional, ops
from tinygrad_nn.errors import ModelError, ShapeError
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import floating
from tinygrad_nn.op import data_of
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardtanh",
    "LeakyReLU",
    "LogSoftmax",
    "PReLU",
    "Softmax",
    "Softmin",
    "Softshrink",
    "Threshold",
]


def _told(layer: Module, **defaults: Any) -> str:
    """Return the name of a layer, and its settings where they are unusual."""
    shown = [
        f"{name}={getattr(layer, name)!r}"
        for name, usual in defaults.items()
        if getattr(layer, name) != usual
    ]
    name = type(layer).__name__
    return f"{name}({', '.join(shown)})" if shown else name


@final
class CELU(Module):
    """Elu that is smooth for every ``alpha`` > 0; Barron (2017).

    >>> CELU(2.0)(np.array([-1000.0, 2.0]))
    array([-2.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha
        self.forward(np.zeros(0))  # refuses what the function refuses

    def forward(self, x: Any) -> Any:
        """Return the celu of ``x``."""
        return functional.celu(x, self.alpha)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, alpha=1.0)


@final
class ELU(Module):
    """``x`` above 0, ``alpha (exp(x) - 1)`` below; Clevert et al. (2016).

    >>> ELU()(np.array([-1000.0, 2.0]))
    array([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Return the elu of ``x``."""
        return functional.elu(x, self.alpha)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, alpha=1.0)


@final
class GELU(Module):
    """Gaussian error linear unit; ``approximate="none"`` needs SciPy.

    >>> GELU()(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.8412])
    """

    def __init__(self, approximate: str = "tanh") -> None:
        self.approximate = approximate
        self.forward(np.zeros(0))  # refuses what the function refuses

    def forward(self, x: Any) -> Any:
        """Return the gelu of ``x``."""
        return functional.gelu(x, self.approximate)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, approximate="tanh")


@final
class GLU(Module):
    """The first half along ``axis`` times the sigmoid of the second.

    >>> GLU()(np.array([[2.0, 3.0, 0.0, 1000.0]]))
    array([[1., 3.]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return half as many numbers as ``x``."""
        return functional.glu(x, self.axis)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, axis=-1)


@final
class Hardshrink(Module):
    """``x`` where it is further from 0 than ``threshold``, else 0.

    >>> Hardshrink()(np.array([-2.0, 0.25]))
    array([-2.,  0.])
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self.forward(np.zeros(0))  # refuses what the function refuses

    def forward(self, x: Any) -> Any:
        """Return the hard shrinkage of ``x``."""
        return functional.hardshrink(x, self.threshold)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, threshold=0.5)


@final
class Hardtanh(Module):
    """``x`` limited to ``low`` and ``high``.

    >>> Hardtanh()(np.array([-2.0, 0.5]))
    array([-1. ,  0.5])
    """

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        self.low = low
        self.high = high
        self.forward(np.zeros(0))  # refuses what the function refuses

    def forward(self, x: Any) -> Any:
        """Return ``min(max(x, low), high)``."""
        return functional.hardtanh(x, self.low, self.high)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, low=-1.0, high=1.0)


@final
class LeakyReLU(Module):
    """Relu that goes on below 0, with a small slope; Maas et al. (2013).

    >>> LeakyReLU(0.1)(np.array([-1.0, 2.0]))
    array([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """Return the leaky relu of ``x``."""
        return functional.leaky_relu(x, self.negative_slope)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, negative_slope=0.01)


@final
class LogSoftmax(Module):
    """Logarithm of the softmax along ``axis``, the last by default.

    >>> LogSoftmax()(np.array([[0.0, 0.0]])).round(3)
    array([[-0.693, -0.693]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return the logarithm of the softmax of ``x``."""
        return ops.log_softmax(x, axis=self.axis)

    def describe(self) -> str:
        """Show the axis where it is not the last."""
        return "LogSoftmax" if self.axis == -1 else f"LogSoftmax(axis={self.axis})"


@final
class PReLU(Module):
    """Relu that goes on below 0, with a slope that is learned; He et al. (2015).

    Parameters
    ----------
    shape
        Of the slopes, which are broadcast against the input: ``()`` for one slope,
        ``(n,)`` for one for each feature, ``(c, 1, 1)`` for each channel of images.
    slope
        What they start from.
    dtype
        Of the slopes: float64 by default.

    Attributes
    ----------
    slope : Parameter
        Weight decay would draw it to 0: leave it out there.

    Raises
    ------
    ModelError
        For a slope to start from that is no number.
    ShapeError
        When called with what the slopes do not fit.

    Examples
    --------
    >>> layer = PReLU((2,))
    >>> layer(np.array([[-1.0, -2.0], [1.0, 2.0]])).numpy()
    array([[-0.25, -0.5 ],
           [ 1.  ,  2.  ]])
    """

    def __init__(
        self, shape: Shape = (), slope: float = 0.25, dtype: Any = np.float64
    ) -> None:
        if not isinstance(slope, (int, float)):
            raise ModelError(
                "PReLU: slope is a number, that all slopes start from; got "
                f"{type(slope).__name__}. Write PReLU((n,)) for n slopes"
            )
        self.slope = Parameter(np.full(shape, slope, floating("PReLU", dtype)))

    def forward(self, x: Any) -> Any:
        """Return the relu with the slopes."""
        shape = np.shape(data_of(x))
        out = ops.prelu(x, self.slope)
        if out.shape != shape:
            raise ShapeError(
                f"{self._title()}: expected slopes that fit x; got "
                f"slope{self.slope.shape}, x{shape}"
            )
        return out

    def describe(self) -> str:
        """Show the shape of the slopes, if there are several."""
        return f"PReLU({self.slope.shape})" if self.slope.shape else "PReLU"


@final
class Softmax(Module):
    """Exponentials scaled to sum to one along ``axis``, the last by default.

    >>> Softmax()(np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return the softmax of ``x``."""
        return ops.softmax(x, axis=self.axis)

    def describe(self) -> str:
        """Show the axis where it is not the last."""
        return "Softmax" if self.axis == -1 else f"Softmax(axis={self.axis})"


@final
class Softmin(Module):
    """Softmax of ``-x`` along ``axis``, the last by default.

    >>> Softmin()(np.array([[0.0, 1000.0]]))
    array([[1., 0.]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return the softmin of ``x``."""
        return functional.softmin(x, axis=self.axis)

    def describe(self) -> str:
        """Show the axis where it is not the last."""
        return "Softmin" if self.axis == -1 else f"Softmin(axis={self.axis})"


@final
class Softshrink(Module):
    """``x`` moved towards 0 by ``threshold``.

    >>> Softshrink()(np.array([-2.0, 0.25]))
    array([-1.5,  0. ])
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self.forward(np.zeros(0))  # refuses what the function refuses

    def forward(self, x: Any) -> Any:
        """Return the soft shrinkage of ``x``."""
        return functional.softshrink(x, self.threshold)

    def describe(self) -> str:
        """Show settings that are not the usual ones."""
        return _told(self, threshold=0.5)


@final
class Threshold(Module):
    """``x`` where it is above ``threshold``, else ``value``.

    >>> Threshold(1.0, 0.0)(np.array([0.5, 1.5]))
    array([0. , 1.5])
    """

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold = threshold
        self.value = value

    def forward(self, x: Any) -> Any:
        """Return ``x``, or the value."""
        return functional.threshold(x, self.threshold, self.value)

    def describe(self) -> str:
        """Show the settings."""
        return f"Threshold({self.threshold!r}, {self.value!r})"
