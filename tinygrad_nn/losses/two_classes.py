"""Losses of two classes: labels 0 and 1, or -1 and 1, and one number for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import DataError, OpError
from tinygrad_nn.losses.targets import (
    computed,
    expect_logits,
    inspect,
    like,
    place,
    refuse_unsigned,
)
from tinygrad_nn.losses.weights import by_two_classes, reduced

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal_with_logits",
    "hinge",
    "squared_hinge",
]


def binary_cross_entropy_with_logits(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """Cross-entropy of labels and logits: ``log(1 + exp(z)) - y z``, in two nodes.

    Accurate for logits of any size; labels are 0 and 1, or probabilities between, else
    `DataError` names the first that is neither.

    >>> z, y = np.array([0.0, 1000.0]), np.array([1, 0])
    >>> binary_cross_entropy_with_logits(z, y, reduction="none").round(3)
    array([6.93e-01, 1.00e+03])
    """
    where = "binary_cross_entropy_with_logits"
    target = like(prediction, target, where)
    expect_logits(prediction, where, "sigmoid", "binary_cross_entropy")
    _inspect_labels(target, where)
    losses = ops.logistic_loss(prediction, target)
    if reduction == "mean" and sample_weight is None and class_weight is None:
        return ops.mean(losses)
    by_class = by_two_classes(target, class_weight, where, (0, 1))
    return reduced(losses, reduction, sample_weight, by_class, where)


def binary_cross_entropy(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """Cross-entropy of labels and probabilities: ``-(y log a + (1 - y) log(1 - a))``.

    Of a prediction that came from a sigmoid, in any spelling, the logarithms record
    the stable form, so this equals `binary_cross_entropy_with_logits` of its input. Of
    other predictions that are exactly 0 or 1 it is 0 where they are right, since
    ``0 log 0`` is 0, and else infinite. `DataError` names the first label outside of 0
    to 1.

    >>> a, y = np.array([0.5, 0.25]), np.array([1, 0])
    >>> binary_cross_entropy(a, y, reduction="none").round(3)
    array([0.693, 0.288])
    """
    where = "binary_cross_entropy"
    y = like(prediction, target, where)
    _inspect_labels(y, where)
    a = prediction
    positive = _times_log(y, a)
    negative = _times_log(1 - y, ops.subtract(1, a))
    losses = ops.negative(ops.add(positive, negative))
    by_class = by_two_classes(y, class_weight, where, (0, 1))
    return reduced(losses, reduction, sample_weight, by_class, where)


def _times_log(y: Any, a: Any) -> Any:
    """Return ``y log a``, and 0 where y is 0, though a may be as well."""
    logs = ops.log(a)
    with np.errstate(invalid="ignore"):  # 0 times -inf, which is not chosen
        product = ops.multiply(y, logs)
    # The logarithm of a sigmoid is finite; and by y, the slope at 0 is log a.
    op = getattr(logs, "op", None)
    if computed(y) or (op is not None and op.name != "log"):
        return product
    return ops.where(ops.equal(y, 0), 0.0, product)


def _inspect_labels(target: Any, where: str) -> None:
    if not computed(target):
        inspect(target, lambda labels: _refuse_other_labels(labels, where))


def _refuse_other_labels(labels: np.ndarray, where: str) -> None:
    """Check labels, since the loss of one outside of 0 to 1 has no lower bound."""
    if not labels.size:
        return
    low, high = np.minimum.reduce(labels, None), np.maximum.reduce(labels, None)
    if not (low < 0 or high > 1):
        return
    # Mixed labels, share * y + (1 - share) * y, may miss 1 by a rounding.
    slack = 4 * np.finfo(labels.dtype).eps if labels.dtype.kind == "f" else 0
    strange = (labels < -slack) | (labels > 1 + slack)
    if not strange.any():
        return
    at, row = place(strange)
    found = np.unique(labels)
    if found.tolist() == [-1, 1]:
        advice = "Pass (target + 1) / 2"
    elif len(found) == 2:
        advice = f"Pass target == {found[1]:g}"
    else:
        advice = "For more than two classes use cross_entropy; for other numbers, mse"
    raise DataError(
        f"{where}: labels are 0 and 1 (or between); got {labels[at]:g} at row {row}. "
        f"{advice}"
    )


def binary_focal_with_logits(
    prediction: Any,
    target: Any,
    *,
    gamma: float = 2.0,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """Cross-entropy in which examples count less, the better they are predicted.

    With the probability p of the true class it is ``-(1 - p)**gamma log(p)``, accurate
    for logits of any size; gamma = 0 gives `binary_cross_entropy_with_logits`. The
    alpha of the paper is ``class_weight=(1 - alpha, alpha)``. Lin, Goyal, Girshick, He,
    Dollár (2017), "Focal Loss for Dense Object Detection", equation 4.

    Raises
    ------
    DataError
        For labels other than 0 and 1; names the first.

    Examples
    --------
    >>> z, y = np.array([0.0, 3.0, 1000.0]), np.array([1, 1, 0])
    >>> binary_focal_with_logits(z, y, reduction="none").round(5)
    array([1.7329e-01, 1.1000e-04, 1.0000e+03])
    """
    where = "binary_focal_with_logits"
    y = like(prediction, target, where)
    inspect(y, lambda labels: _refuse_shares(labels, where))
    signed = ops.multiply(prediction, 2 * y - 1)  # the logit of the true class
    losses = ops.negative(ops.log_sigmoid(signed))
    if power_of(gamma, where):
        # (1 - p)**gamma by its logarithm: 1 - p is the sigmoid of minus the logit.
        others = ops.log_sigmoid(ops.negative(signed))
        losses = ops.multiply(losses, ops.exp(ops.multiply(others, float(gamma))))
    by_class = by_two_classes(y, class_weight, where, (0, 1))
    return reduced(losses, reduction, sample_weight, by_class, where)


def power_of(gamma: float, where: str) -> bool:
    """Whether there is a power to raise to; refuse what is none.

    Raises
    ------
    OpError
        For a gamma below 0, or nan.
    """
    if not gamma >= 0:
        raise OpError(f"{where}: gamma is a power >= 0; got {gamma!r}")
    return gamma > 0


def _refuse_shares(labels: np.ndarray, where: str) -> None:
    strange = (labels != 0) & (labels != 1)
    if strange.any():
        at, row = place(strange)
        raise DataError(
            f"{where}: labels are 0 and 1; got {labels[at]:g} at row {row}. "
            "For probabilities use binary_cross_entropy_with_logits"
        )


def hinge(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """Hinge loss ``max(0, 1 - y f)`` of labels -1 and 1 and scores ``f``.

    Its slope at the kink is 0. Cortes, Vapnik (1995), "Support-Vector Networks".

    Raises
    ------
    DataError
        For labels other than -1 and 1; names the first.

    Examples
    --------
    >>> hinge(np.array([2.0, 0.5]), np.array([1, -1]), reduction="none")
    array([0. , 1.5])
    """
    where = "hinge"
    y = like(prediction, target, where)
    _inspect_signs(y, where)
    losses = ops.relu(ops.subtract(1, ops.multiply(y, prediction)))
    by_class = by_two_classes(y, class_weight, where, (-1, 1))
    return reduced(losses, reduction, sample_weight, by_class, where)


def squared_hinge(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
) -> Any:
    """Square of the `hinge` loss, ``max(0, 1 - y f)**2``, which has no kink.

    Chang, Hsieh, Lin (2008), "Coordinate Descent Method for Large-scale L2-loss Linear
    Support Vector Machines".

    >>> squared_hinge(np.array([2.0, 0.5]), np.array([1, -1]), reduction="none")
    array([0.  , 2.25])
    """
    where = "squared_hinge"
    y = like(prediction, target, where)
    _inspect_signs(y, where)
    losses = ops.square(ops.relu(ops.subtract(1, ops.multiply(y, prediction))))
    by_class = by_two_classes(y, class_weight, where, (-1, 1))
    return reduced(losses, reduction, sample_weight, by_class, where)


def _inspect_signs(target: Any, where: str) -> None:
    if not computed(target):
        inspect(target, refuse_unsigned(where))
