"""Activations as small modules, and the functions behind their names.

What each computes, its slope at kinks and its source stand with the function of that
name in `tinygrad_nn`. Those with settings are in `parametric`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from tinygrad_nn import functional, ops
from tinygrad_nn.errors import ModelError
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.names import lookup
from tinygrad_nn.nn.parametric import (
    CELU,
    ELU,
    GELU,
    Hardshrink,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    Softmax,
    Softmin,
    Softshrink,
    Threshold,
)

__all__ = [
    "ACTIVATIONS",
    "KEEP_SIZE",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LogSigmoid",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "activation",
    "name_of",
]


@final
class Hardsigmoid(Module):
    """Three straight pieces for a sigmoid; the slope at their ends is 0.

    >>> import numpy as np
    >>> Hardsigmoid()(np.array([-4.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75])
    """

    def forward(self, x: Any) -> Any:
        """Return ``x / 6 + 1/2``, limited to 0 and 1."""
        return functional.hardsigmoid(x)


@final
class Hardswish(Module):
    """``x`` times its hard sigmoid: 0 below -3, ``x`` above 3.

    >>> import numpy as np
    >>> Hardswish()(np.array([0.0, 3.0, 4.0]))
    array([0., 3., 4.])
    """

    def forward(self, x: Any) -> Any:
        """Return the hard swish of ``x``."""
        return functional.hardswish(x)


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
class LogSigmoid(Module):
    """Logarithm of the sigmoid, for logits of any size.

    >>> import numpy as np
    >>> LogSigmoid()(np.array([-1000.0, 0.0])).round(3)
    array([-1.00e+03, -6.93e-01])
    """

    def forward(self, x: Any) -> Any:
        """Return the logarithm of the sigmoid of ``x``."""
        return ops.log_sigmoid(x)


@final
class Mish(Module):
    """``x`` times the hyperbolic tangent of its softplus; Misra (2019).

    >>> import numpy as np
    >>> Mish()(np.array([0.0, 1.0])).round(3)
    array([0.   , 0.865])
    """

    def forward(self, x: Any) -> Any:
        """Return the mish of ``x``."""
        return ops.mish(x)


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
class ReLU6(Module):
    """Relu that ends at 6; its slope at 0 and at 6 is 0.

    >>> import numpy as np
    >>> ReLU6()(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """

    def forward(self, x: Any) -> Any:
        """Return ``min(max(x, 0), 6)``."""
        return functional.relu6(x)


@final
class SELU(Module):
    """Elu that keeps mean 0 and variance 1; Klambauer et al. (2017).

    >>> import numpy as np
    >>> SELU()(np.array([-1000.0, 0.0, 1.0])).round(3)
    array([-1.758,  0.   ,  1.051])
    """

    def forward(self, x: Any) -> Any:
        """Return the selu of ``x``."""
        return functional.selu(x)


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
class SiLU(Module):
    """``x`` times its sigmoid, also called swish.

    >>> import numpy as np
    >>> SiLU()(np.array([0.0, 1.0])).round(3)
    array([0.   , 0.731])
    """

    def forward(self, x: Any) -> Any:
        """Return ``x`` times its sigmoid."""
        return ops.silu(x)


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
class Softsign(Module):
    """``x / (1 + |x|)``: a sigmoid from -1 to 1 with slow tails.

    >>> import numpy as np
    >>> Softsign()(np.array([-1.0, 0.0, 3.0]))
    array([-0.5 ,  0.  ,  0.75])
    """

    def forward(self, x: Any) -> Any:
        """Return the softsign of ``x``."""
        return ops.softsign(x)


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
class Tanhshrink(Module):
    """``x - tanh(x)``.

    >>> import numpy as np
    >>> Tanhshrink()(np.array([0.0, 1.0])).round(3)
    array([0.   , 0.238])
    """

    def forward(self, x: Any) -> Any:
        """Return ``x - tanh(x)``."""
        return ops.tanhshrink(x)


def _identity(x: Any) -> Any:
    return x


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "celu": functional.celu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "hardshrink": functional.hardshrink,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "identity": _identity,
    "leaky_relu": functional.leaky_relu,
    "log_sigmoid": ops.log_sigmoid,
    "log_softmax": ops.log_softmax,
    "mish": ops.mish,
    "relu": ops.relu,
    "relu6": functional.relu6,
    "selu": functional.selu,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "softmax": ops.softmax,
    "softmin": functional.softmin,
    "softplus": ops.softplus,
    "softshrink": functional.softshrink,
    "softsign": ops.softsign,
    "swish": ops.silu,
    "tanh": ops.tanh,
    "tanhshrink": ops.tanhshrink,
}
"""Functions that a name stands for, as in ``Dense(…, activation="relu")``."""

_NAMES: dict[type[Module], str] = {
    CELU: "celu",
    ELU: "elu",
    GELU: "gelu",
    Hardshrink: "hardshrink",
    Hardsigmoid: "hardsigmoid",
    Hardswish: "hardswish",
    Hardtanh: "hardtanh",
    Identity: "identity",
    LeakyReLU: "leaky_relu",
    LogSigmoid: "log_sigmoid",
    LogSoftmax: "log_softmax",
    Mish: "mish",
    PReLU: "prelu",
    ReLU: "relu",
    ReLU6: "relu6",
    SELU: "selu",
    SiLU: "silu",
    Sigmoid: "sigmoid",
    Softmax: "softmax",
    Softmin: "softmin",
    Softplus: "softplus",
    Softshrink: "softshrink",
    Softsign: "softsign",
    Tanh: "tanh",
    Tanhshrink: "tanhshrink",
    Threshold: "threshold",
}
KEEP_SIZE = tuple(_NAMES)
"""Layers that give as many numbers as they take."""


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
        if given == "prelu":
            raise ModelError(
                "activation: prelu has a slope to learn, so it is a module of its own; "
                "got its name. Write activation=nn.PReLU()"
            )
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
