"""Activations as small modules, and the functions behind their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from tinygrad_nn import ops
from tinygrad_nn.errors import ModelError
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.names import lookup

__all__ = [
    "ACTIVATIONS",
    "Identity",
    "LogSoftmax",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "activation",
    "name_of",
]


@final
class Identity(Module):
    """Return the input itself.

    >>> Identity()(3.0)
    3.0
    """

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x


@final
class ReLU(Module):
    """Positive part, element by element; its slope at 0 is 0.

    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def forward(self, x: Any) -> Any:
        """Return ``max(x, 0)``."""
        return ops.relu(x)


@final
class Sigmoid(Module):
    """Logistic function ``1 / (1 + exp(-x))``.

    >>> import numpy as np
    >>> Sigmoid()(np.array([0.0]))
    array([0.5])
    """

    def forward(self, x: Any) -> Any:
        """Return the sigmoid of ``x``."""
        return ops.sigmoid(x)


@final
class Tanh(Module):
    """Hyperbolic tangent.

    >>> import numpy as np
    >>> Tanh()(np.array([0.0]))
    array([0.])
    """

    def forward(self, x: Any) -> Any:
        """Return the hyperbolic tangent of ``x``."""
        return ops.tanh(x)


@final
class Softplus(Module):
    """Smooth relu: ``log(1 + exp(x))``.

    >>> import numpy as np
    >>> Softplus()(np.array([0.0])).round(3)
    array([0.693])
    """

    def forward(self, x: Any) -> Any:
        """Return the softplus of ``x``."""
        return ops.softplus(x)


@final
class Softmax(Module):
    """Exponentials scaled to sum to one along ``axis``, the last by default.

    >>> import numpy as np
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
class LogSoftmax(Module):
    """Logarithm of the softmax along ``axis``, the last by default.

    >>> import numpy as np
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


def _identity(x: Any) -> Any:
    return x


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": _identity,
    "log_softmax": ops.log_softmax,
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "softmax": ops.softmax,
    "softplus": ops.softplus,
    "tanh": ops.tanh,
}
"""Functions that a name stands for, as in ``Dense(…, activation="relu")``."""

_NAMES: dict[type[Module], str] = {
    Identity: "identity",
    LogSoftmax: "log_softmax",
    ReLU: "relu",
    Sigmoid: "sigmoid",
    Softmax: "softmax",
    Softplus: "softplus",
    Tanh: "tanh",
}


def activation(given: Any) -> Callable[[Any], Any] | None:
    """Return the function for a name, a function, a module, or None for none.

    Raises
    ------
    ModelError
        For an unknown name, with the closest one; for a class; for anything else.

    Examples
    --------
    >>> activation("relu") is ops.relu
    True
    """
    if isinstance(given, str):
        return None if given == "identity" else lookup("activation", given, ACTIVATIONS)
    if isinstance(given, type):
        raise ModelError(
            f"activation: expected a function or a module; got the class "
            f"{given.__name__}. Make one of it: {given.__name__}()"
        )
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]
    raise ModelError(
        "activation: expected a name, a function or a module; got "
        f"{type(given).__name__}. Write activation='relu'"
    )


def name_of(function: Any) -> str:
    """Return the name of an activation: what initialisers and errors know it by.

    >>> name_of(ReLU()), name_of(ops.tanh), name_of(None)
    ('relu', 'tanh', 'identity')
    """
    if function is None:
        return "identity"
    if isinstance(function, Module):
        return _NAMES.get(type(function), type(function).__name__)
    return getattr(function, "__name__", None) or type(function).__name__
