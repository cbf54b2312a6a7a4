"""Losses of distributions: how likely, or how far from another one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import DataError, ShapeError
from tinygrad_nn.losses.targets import computed, inspect, like, place, value
from tinygrad_nn.losses.weights import reduced
from tinygrad_nn.op import Node, data_of

__all__ = ["gaussian_nll", "kl_divergence", "poisson_nll"]


def kl_divergence(
    prediction: Any,
    target: Any,
    *,
    log_target: bool = False,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Kullback-Leibler divergence of the target from the prediction, a number a row.

    ``sum of t (log t - log_p)`` over the last axis: KL(target ‖ prediction), what is
    lost if the prediction is taken for the truth. Outcomes without probability in the
    target count 0, whatever was predicted. The mean is over rows. Kullback, Leibler
    (1951), "On Information and Sufficiency".

    Parameters
    ----------
    prediction
        Logarithms of probabilities ``(n, …, k)``, as of `tg.log_softmax`.
    target
        Probabilities of the same shape; or, with ``log_target``, their logarithms.
    log_target, reduction, sample_weight
        As said above and for every loss.

    Raises
    ------
    DataError
        For a probability outside of 0 to 1; names the first.

    Examples
    --------
    >>> log_p = np.log([[0.5, 0.5], [0.25, 0.75]])
    >>> kl_divergence(log_p, np.array([[1.0, 0.0], [0.25, 0.75]]), reduction="none")
    array([0.69314718, 0.        ])
    """
    where = "kl_divergence"
    shape = value(prediction, where).shape
    if len(shape) < 2:
        raise ShapeError(
            f"{where}: expected logarithms of probabilities (n, k), rows of k; got "
            f"prediction{shape}. Of one row pass prediction[None], target[None]"
        )
    t = like(prediction, target, where)
    if log_target:
        impossible = ops.equal(t, -np.inf)
        share, log_share = ops.exp(t), ops.where(impossible, 0.0, t)
    else:
        if not computed(t):
            inspect(t, lambda rows: _refuse_other_shares(rows, where))
        impossible = ops.equal(t, 0)
        share, log_share = t, ops.log(ops.where(impossible, 1.0, t))
    # A prediction of -inf beside no probability must not meet it: 0 * inf.
    far = ops.subtract(log_share, ops.where(impossible, 0.0, prediction))
    losses = ops.sum(ops.where(impossible, 0.0, ops.multiply(share, far)), -1)
    return reduced(losses, reduction, sample_weight, None, where)


def _refuse_other_shares(rows: np.ndarray, where: str) -> None:
    slack = 4 * np.finfo(rows.dtype).eps if rows.dtype.kind == "f" else 0
    strange = (rows < 0) | (rows > 1 + slack)
    if strange.any():
        at, row = place(strange)
        raise DataError(
            f"{where}: probabilities are from 0 to 1; got {rows[at]:g} at row {row}. "
            "Of their logarithms say log_target=True"
        )


def poisson_nll(
    prediction: Any,
    target: Any,
    *,
    log_input: bool = True,
    full: bool = False,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Negative logarithm of the likelihood of counts under Poisson rates.

    Parameters
    ----------
    prediction
        Logarithms of rates, for ``exp(z) - y z``; with ``log_input=False`` the rates
        themselves, for ``r - y log(r)``, which a count of 0 makes ``r``.
    target
        Counts of the same shape, 0 or more.
    full
        Add log(y!), by Stirling's formula for y > 1, which no gradient depends on.
    log_input, reduction, sample_weight
        As said above and for every loss.

    Raises
    ------
    DataError
        For a count below 0, whose loss has no lower bound; names the first.

    Examples
    --------
    >>> poisson_nll(np.array([0.0, -1000.0]), np.array([2, 0]), reduction="none")
    array([1., 0.])
    """
    where = "poisson_nll"
    y = like(prediction, target, where)
    if not computed(y):
        inspect(y, _refuse_negative)
    if log_input:
        losses = ops.subtract(ops.exp(prediction), ops.multiply(y, prediction))
    else:
        losses = ops.subtract(prediction, _weighted_log(y, prediction))
    if full:
        many = ops.greater(y, 1)
        n = ops.where(many, y, 1.0)
        stirling = n * ops.log(n) - n + 0.5 * ops.log(2 * math.pi * n)
        losses = ops.add(losses, ops.where(many, stirling, 0.0))
    return reduced(losses, reduction, sample_weight, None, where)


def _weighted_log(y: Any, x: Any) -> Any:
    """Return ``y log(x)``, which is 0 where y is, also for x = 0."""
    nothing = ops.equal(y, 0)
    log = ops.log(ops.where(nothing, 1.0, x))
    return ops.where(nothing, 0.0, ops.multiply(y, log))


def _refuse_negative(counts: np.ndarray) -> None:
    strange = counts < 0
    if strange.any():
        at, row = place(strange)
        raise DataError(
            f"poisson_nll: counts are 0 or more; got {counts[at]:g} at row {row}"
        )


def gaussian_nll(
    prediction: Any,
    target: Any,
    variance: Any,
    *,
    full: bool = False,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Negative logarithm of the likelihood of numbers under normal distributions.

    ``(log v + (y - m)**2 / v) / 2`` for means m and variances v > 0, which may both be
    predicted. Nix, Weigend (1994), "Estimating the mean and variance of the target
    probability distribution".

    Parameters
    ----------
    prediction
        Means.
    target
        Numbers of the same shape.
    variance
        Of the same shape, or one number. A model that predicts it should end in
        something above 0, such as ``tg.softplus(z) + 1e-6``.
    full
        Add the constant ``log(2 pi) / 2``.
    reduction, sample_weight
        As for every loss.

    Examples
    --------
    >>> m, y, v = np.array([0.0, 0.0]), np.array([1.0, 3.0]), np.array([1.0, 9.0])
    >>> gaussian_nll(m, y, v, reduction="none").round(3)
    array([0.5  , 1.599])
    """
    where = "gaussian_nll"
    target = like(prediction, target, where)
    if np.ndim(data_of(variance)):
        variance = like(prediction, variance, where, ("prediction", "variance"))
    elif not isinstance(variance, Node):
        variance = float(variance)
    error = ops.subtract(prediction, target)
    losses = 0.5 * ops.add(ops.log(variance), ops.divide(ops.square(error), variance))
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction, sample_weight, None, where)
