"""Losses of numbers: functions of the distance between prediction and target."""

from __future__ import annotations

from typing import Any

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError
from tinygrad_nn.losses.targets import like
from tinygrad_nn.losses.weights import reduced

__all__ = ["huber", "log_cosh", "mae", "mse", "smooth_l1"]


def mse(
    prediction: Any, target: Any, *, reduction: str = "mean", sample_weight: Any = None
) -> Any:
    """Mean squared error: ``(prediction - target)**2``.

    >>> import numpy as np
    >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    target = like(prediction, target, "mse")
    losses = ops.square(ops.subtract(prediction, target))
    return reduced(losses, reduction, sample_weight, None, "mse")


def mae(
    prediction: Any, target: Any, *, reduction: str = "mean", sample_weight: Any = None
) -> Any:
    """Mean absolute error: ``|prediction - target|``; its slope at 0 is 0.

    >>> import numpy as np
    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(1.0)
    """
    target = like(prediction, target, "mae")
    losses = ops.abs(ops.subtract(prediction, target))
    return reduced(losses, reduction, sample_weight, None, "mae")


def log_cosh(
    prediction: Any, target: Any, *, reduction: str = "mean", sample_weight: Any = None
) -> Any:
    """Logarithm of the hyperbolic cosine of the distance.

    Close to ``d**2 / 2`` near 0 and to ``|d| - log 2`` far from it, smooth between, and
    accurate for distances of any size.

    >>> import numpy as np
    >>> log_cosh(np.array([1e-4, 1000.0]), np.array([0.0, 0.0]), reduction="none")
    array([4.99999999e-09, 9.99306853e+02])
    """
    target = like(prediction, target, "log_cosh")
    losses = ops.log_cosh(ops.subtract(prediction, target))
    return reduced(losses, reduction, sample_weight, None, "log_cosh")


def huber(
    prediction: Any,
    target: Any,
    *,
    delta: float = 1.0,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Huber's loss: ``d**2 / 2`` up to a distance of ``delta``, then a straight line.

    Beyond it is ``delta * (|d| - delta / 2)``, so value and slope are continuous and
    outliers pull with a force of ``delta`` at most. Huber (1964), "Robust Estimation
    of a Location Parameter".

    >>> import numpy as np
    >>> huber(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    if not delta > 0:
        raise OpError(f"huber: delta is a distance > 0; got {delta!r}")
    delta = float(delta)
    target = like(prediction, target, "huber")
    error = ops.subtract(prediction, target)
    distance = ops.abs(error)
    losses = ops.where(
        ops.less_equal(distance, delta),
        0.5 * ops.square(error),  # not of the distance, which has a kink at 0
        delta * (distance - 0.5 * delta),
    )
    return reduced(losses, reduction, sample_weight, None, "huber")


def smooth_l1(
    prediction: Any,
    target: Any,
    *,
    beta: float = 1.0,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Mean absolute error with a rounded tip: ``d**2 / (2 beta)`` within ``beta``.

    Beyond it is ``|d| - beta / 2``: the `huber` loss of delta = beta, divided by beta.
    With beta = 0 it is `mae`. Girshick (2015), "Fast R-CNN", equation 3, with beta = 1.

    >>> import numpy as np
    >>> smooth_l1(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    if not beta >= 0:
        raise OpError(f"smooth_l1: beta is a distance >= 0; got {beta!r}")
    beta = float(beta)
    target = like(prediction, target, "smooth_l1")
    error = ops.subtract(prediction, target)
    losses = distance = ops.abs(error)
    if beta:
        losses = ops.where(
            ops.less(distance, beta),
            (0.5 / beta) * ops.square(error),
            distance - 0.5 * beta,
        )
    return reduced(losses, reduction, sample_weight, None, "smooth_l1")
