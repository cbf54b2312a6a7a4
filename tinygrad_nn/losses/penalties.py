"""Penalties: what large weights cost."""

from __future__ import annotations

from typing import Any

from tinygrad_nn import ops
from tinygrad_nn.errors import ModelError
from tinygrad_nn.op import Node

__all__ = ["l1", "l2"]


def l2(parameters: Any, strength: float) -> Any:
    """L2 penalty ``strength / 2 * sum(W**2)``, whose gradient is ``strength * W``.

    Parameters
    ----------
    parameters
        A model, or Tensors (or one). Of a model only the weights count: left out are
        parameters of fewer than two axes, and those whose name ends in ``bias``,
        ``b`` or ``b`` and digits.
    strength
        Factor. The tutorials' ``lambda / (2 m) * sum(W**2)`` is strength lambda / m.

    Raises
    ------
    ModelError
        If there is nothing to penalise.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> l2([tg.Parameter([3.0, 4.0])], 0.1).item()
    1.25
    """
    total = _total([ops.sum(ops.square(w)) for w in _penalised(parameters, "l2")])
    return (0.5 * float(strength)) * total


def l1(parameters: Any, strength: float) -> Any:
    """L1 penalty ``strength * sum(|W|)``, which makes weights exactly 0 attractive.

    Parameters as for `l2`; the slope at 0 is 0.

    >>> import tinygrad_nn as tg
    >>> l1([tg.Parameter([3.0, -4.0])], 0.5).item()
    3.5
    """
    total = _total([ops.sum(ops.abs(w)) for w in _penalised(parameters, "l1")])
    return float(strength) * total


def _total(parts: list[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _penalised(parameters: Any, where: str) -> list[Any]:
    if isinstance(parameters, Node):
        return [parameters]
    if hasattr(parameters, "named_parameters"):
        named = parameters.named_parameters()
        chosen = [w for name, w in named if w.ndim > 1 and not _is_bias(name)]
    else:
        chosen = list(parameters)
    if not chosen:
        raise ModelError(
            f"{where}: nothing to penalise; got "
            f"{type(parameters).__name__} without weights. Pass a model, or a list of "
            "Parameters"
        )
    return chosen


def _is_bias(name: str) -> bool:
    last = name.rpartition(".")[2].lower()
    return last.endswith("bias") or last.rstrip("0123456789") == "b"
