"""Losses of pairs and triplets: what should be near, far, or in order."""

from __future__ import annotations

from typing import Any

from tinygrad_nn import ops
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional import minimum, normalize, pairwise_distance
from tinygrad_nn.losses.targets import computed, inspect, like, refuse_unsigned, value
from tinygrad_nn.losses.weights import reduced
from tinygrad_nn.op import data_of

__all__ = ["cosine_embedding", "margin_ranking", "triplet_margin"]


def cosine_embedding(
    prediction: Any,
    other: Any,
    target: Any,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Make vectors point the same way (1), or not within a margin of it (-1).

    ``1 - cos`` for a target of 1, ``max(0, cos - margin)`` for -1, with the cosine of
    `tg.cosine_similarity`; at the kink the slope is 0. The first is computed as half
    the square of the directions' distance, which keeps its digits where they agree.

    Parameters
    ----------
    prediction, other
        Vectors ``(n, d)``.
    target
        1 or -1 for each pair, ``(n,)``.
    margin
        A cosine, from -1 to 1.
    reduction, sample_weight
        As for every loss.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 4.0]])
    >>> cosine_embedding(x, y, np.array([1, -1]), reduction="none").round(3)
    array([1. , 0.6])
    """
    where = "cosine_embedding"
    _vectors(prediction, where, "prediction")
    first = normalize(prediction)
    second = normalize(like(prediction, other, where, ("prediction", "other")))
    cosine = ops.sum(ops.multiply(first, second), -1)
    apart = 0.5 * ops.sum(ops.square(ops.subtract(first, second)), -1)
    y = like(cosine, target, where, ("pairs", "target"))
    if not computed(y):
        inspect(y, refuse_unsigned(where))
    far = ops.relu(ops.subtract(cosine, float(margin)))
    losses = ops.where(ops.greater(y, 0), apart, far)
    return reduced(losses, reduction, sample_weight, None, where)


def margin_ranking(
    prediction: Any,
    other: Any,
    target: Any,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Put scores in order: ``max(0, margin - y (prediction - other))``.

    A target y of 1 says that the prediction is to be the larger, -1 the other; at the
    kink the slope is 0. All three have one shape. Herbrich, Graepel, Obermayer (2000),
    "Large Margin Rank Boundaries for Ordinal Regression".

    >>> import numpy as np
    >>> x, y = np.array([3.0, 1.0]), np.array([1.0, 2.0])
    >>> margin_ranking(x, y, np.array([1, 1]), margin=0.5, reduction="none")
    array([0. , 1.5])
    """
    where = "margin_ranking"
    other = like(prediction, other, where, ("prediction", "other"))
    y = like(prediction, target, where)
    if not computed(y):
        inspect(y, refuse_unsigned(where))
    ahead = ops.multiply(y, ops.subtract(prediction, other))
    losses = ops.relu(ops.subtract(float(margin), ahead))
    return reduced(losses, reduction, sample_weight, None, where)


def triplet_margin(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float = 1.0,
    ord: float = 2,
    swap: bool = False,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """Bring an anchor nearer to what is like it than to what is not, by ``margin``.

    ``max(0, d(anchor, positive) - d(anchor, negative) + margin)``. Slopes at the kink,
    and at distance 0, are 0. Schroff, Kalenichenko, Philbin (2015), "FaceNet", with
    distances instead of their squares.

    Parameters
    ----------
    anchor, positive, negative
        Vectors ``(n, d)``.
    margin
        By how much nearer.
    ord
        Of the distance, as in `tg.norm`.
    swap
        Take the negative's distance to the positive instead, where it is the smaller.
        Balntas, Riba, Ponsa, Mikolajczyk (2016), "Learning local feature descriptors
        with triplets and shallow convolutional neural networks".
    reduction, sample_weight
        As for every loss.

    Examples
    --------
    >>> import numpy as np
    >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 5.5]])
    >>> triplet_margin(a, p, n)
    np.float64(0.5)
    """
    where = "triplet_margin"
    _vectors(anchor, where, "anchor")
    positive = like(anchor, positive, where, ("anchor", "positive"))
    negative = like(anchor, negative, where, ("anchor", "negative"))
    near = pairwise_distance(anchor, positive, ord)
    far = pairwise_distance(anchor, negative, ord)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, ord))
    losses = ops.relu(ops.add(ops.subtract(near, far), float(margin)))
    return reduced(losses, reduction, sample_weight, None, where)


def _vectors(x: Any, where: str, name: str) -> None:
    shape = data_of(value(x, where, name)).shape
    if len(shape) < 2:
        raise ShapeError(
            f"{where}: expected vectors (n, d), one a row; got {name}{shape}. "
            "Of one vector pass x[None]"
        )
