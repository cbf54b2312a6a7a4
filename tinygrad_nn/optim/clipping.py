"""Clipping: gradients kept from growing beyond a bound, between backward and step."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinygrad_nn import functional, ops, recording
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
        The norm before (in a compiled step, a Tensor of it). Where it is nan or
        infinite, nothing is changed.

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
    trace = recording.current().trace
    if trace is not None:
        return _record_norm(trace, params, max_norm)
    parameters = _with_gradients(params, "clip_by_norm")
    norm = _common([_norm(parameter._grad) for parameter in parameters])
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


def _common(norms: list[float]) -> float:
    """Norm of norms, whose squares do not overflow."""
    top = max(norms, default=0.0)
    if not 0 < top < math.inf:
        return top
    total = 0.0
    for norm in norms:
        total += (norm / top) * (norm / top)
    return top * math.sqrt(total)


def _record_norm(trace: Any, params: Any, max_norm: float) -> float:
    """Tell a compiler what clipping does: the same numbers, from nodes."""
    with recording.no_grad():
        found = _traced_gradients(trace, params, "clip_by_norm")
        norm: Any = _traced_common([_traced_norm(g) for _, g in found])
        clips = _between(max_norm, norm)
        scale = ops.divide(max_norm, ops.where(clips, norm, 1.0))
        for parameter, g in found:
            clipped = ops.multiply(g, ops.astype(scale, g.dtype))
            trace.replace_gradient(parameter, ops.where(clips, clipped, g))
    return norm  # type: ignore[no-any-return] # a Tensor, which is one


def _traced_norm(g: Any) -> Any:
    top = ops.astype(ops.max(ops.abs(g)), np.dtype(np.float64))
    has_norm = _between(0.0, top)
    flat = ops.reshape(ops.astype(g, np.dtype(np.float64)), (-1,))
    scaled = ops.divide(flat, ops.where(has_norm, top, 1.0))
    return ops.where(
        has_norm, ops.multiply(top, ops.sqrt(ops.matmul(scaled, scaled))), top
    )


def _traced_common(norms: list[Any]) -> Any:
    if not norms:
        return 0.0
    top = functools.reduce(ops.maximum, norms)
    has_norm = _between(0.0, top)
    divisor = ops.where(has_norm, top, 1.0)
    shares = [ops.divide(norm, divisor) for norm in norms]
    total = functools.reduce(ops.add, [ops.multiply(x, x) for x in shares])
    return ops.where(has_norm, ops.multiply(top, ops.sqrt(total)), top)


def _between(low: float, x: Any) -> Any:
    return ops.logical_and(ops.less(low, x), ops.less(x, math.inf))


def _traced_gradients(trace: Any, params: Any, where: str) -> list[tuple[Tensor, Any]]:
    found = [(p, trace.waiting(p)) for _, p in parameters_of(params, where) if p.size]
    return [(p, g) for p, g in found if g is not None and not trace.spent.get(p, True)]


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
    trace = recording.current().trace
    if trace is not None:
        with recording.no_grad():
            for parameter, g in _traced_gradients(trace, params, "clip_by_value"):
                clipped = functional.clip(g, -limit, limit)
                trace.replace_gradient(parameter, clipped)
        return
    for parameter in _with_gradients(params, "clip_by_value"):
        parameter._grad = np.asarray(np.clip(parameter._grad, -limit, limit))
