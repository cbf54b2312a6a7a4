"""Clipping: gradients kept from growing beyond a bound, between backward and step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn.optim.optimizer import checked, parameters_of
from tinygrad_nn.tensor import Tensor

__all__ = ["clip_by_norm", "clip_by_value"]


def _with_gradients(params: Any, where: str) -> list[Tensor]:
    return [
        parameter
        for _, parameter in parameters_of(params, where)
        if parameter._grad is not None and not parameter._spent
    ]


def clip_by_norm(params: Any, max_norm: float) -> float:
    """Scale all gradients together so that their common norm is at most ``max_norm``.

    Pascanu, Mikolov, Bengio (2013), "On the difficulty of training recurrent neural
    networks". Arrays that were handed out as ``.grad`` are not changed: a parameter
    gets a new one. Gradients that a step has used up do not count.

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    max_norm
        At least 0.

    Returns
    -------
    float
        The norm before. Where it is nan or infinite, nothing is changed.

    Raises
    ------
    ModelError
        As `Optimizer`.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([3.0, 4.0])
    >>> (0.5 * w * w).sum().backward()
    >>> clip_by_norm([w], 1.0), w.grad
    (5.0, array([0.6, 0.8]))
    """
    max_norm = checked("clip_by_norm", "max_norm", max_norm, 0.0)
    parameters = _with_gradients(params, "clip_by_norm")
    norm = math.hypot(*(_norm(parameter._grad) for parameter in parameters))
    if max_norm < norm < math.inf:
        for parameter in parameters:
            parameter._grad = np.asarray(parameter._grad * (max_norm / norm))
    return norm


def _norm(gradient: np.ndarray) -> float:
    """Norm in float64 whatever the dtype; squares of large elements do not overflow."""
    top = float(np.abs(gradient).max(initial=0.0))
    if top == 0 or not math.isfinite(top):
        return top
    scaled = gradient.astype(np.float64).ravel() / top
    return top * math.sqrt(float(scaled @ scaled))


def clip_by_value(params: Any, limit: float) -> None:
    """Limit every element of the gradients to ``[-limit, limit]``.

    Arrays that were handed out as ``.grad`` are not changed: a parameter gets a new
    one. Gradients that a step has used up stay as they are.

    Parameters
    ----------
    params
        A model, a list of Parameters, or a dict of them by name.
    limit
        At least 0.

    Raises
    ------
    ModelError
        As `Optimizer`.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([3.0, 0.5])
    >>> (0.5 * w * w).sum().backward()
    >>> clip_by_value([w], 1.0)
    >>> w.grad
    array([1. , 0.5])
    """
    limit = checked("clip_by_value", "limit", limit, 0.0)
    for parameter in _with_gradients(params, "clip_by_value"):
        parameter._grad = np.asarray(np.clip(parameter._grad, -limit, limit))
