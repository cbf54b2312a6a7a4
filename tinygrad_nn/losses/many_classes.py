"""Losses of many classes: logits or logarithms ``(n, k)``, and a class for each row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import DataError, DtypeError, OpError, ShapeError
from tinygrad_nn.losses.targets import expect_logits, inspect, like, live, value
from tinygrad_nn.losses.two_classes import power_of
from tinygrad_nn.losses.weights import by_many_classes, expected_weight, reduced
from tinygrad_nn.op import Node
from tinygrad_nn.shapes import Shape

__all__ = ["cross_entropy", "focal", "multiclass_hinge", "nll"]


def cross_entropy(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Any:
    """Cross-entropy of classes and logits: ``-log_softmax(z)[class]``.

    Parameters
    ----------
    prediction
        Logits ``(n, k)``, before any softmax.
    target
        A class for each row, integers ``(n,)`` from 0 to k - 1; or one-hot rows or
        probabilities ``(n, k)``.
    reduction, sample_weight
        As for every loss.
    class_weight
        ``(k,)``, or a dict by class. A row of probabilities gets the weight expected
        under them.
    label_smoothing
        This share of every target, from 0 to less than 1, is spread over all classes
        evenly. Szegedy et al. (2016), "Rethinking the Inception Architecture".
    ignore_index
        Rows of this class count as if they were not there; it may be a number that is
        no class, such as -1.

    Raises
    ------
    DataError
        For a class outside of 0 to k - 1; names the first row.
    DtypeError
        For classes that are not integers.

    Examples
    --------
    >>> z = np.array([[2.0, 0.0], [0.0, 1000.0]])
    >>> cross_entropy(z, np.array([0, 0]), reduction="none").round(3)
    array([1.27e-01, 1.00e+03])
    """
    where = "cross_entropy"
    n, k = _of_logits(prediction, where)
    expect_logits(prediction, where, "softmax", "nll of their logarithms")
    if not 0 <= label_smoothing < 1:
        raise OpError(
            f"{where}: label_smoothing is a share, 0 <= share < 1; "
            f"got {label_smoothing!r}"
        )
    labels = live(target)
    scores = _log_shares(prediction)
    if labels.shape == (n, k):
        if ignore_index is not None:
            raise OpError(
                f"{where}: ignore_index is a class; got target{(n, k)} of "
                "probabilities. Leave rows out by sample_weight"
            )
        by_class = None
        if class_weight is not None:
            by_class = expected_weight(labels, class_weight, where)
        # The sign goes into the constant, where there is one: a node less.
        target = _smoothed(like(prediction, target, where), label_smoothing, k)
        losses = ops.sum(ops.multiply(scores, -target), 1)
        return reduced(losses, reduction, sample_weight, by_class, where)
    classes = _classes(labels, n, k, where, ignore_index)
    if label_smoothing:
        hot = ops.astype(_hot(classes.numbers, n, k), value(prediction, where).dtype)
        losses = ops.sum(ops.multiply(scores, -_smoothed(hot, label_smoothing, k)), 1)
    else:
        losses = ops.negative(_picked(scores, classes.numbers, n))
    return _of_classes(
        losses, classes, reduction, sample_weight, class_weight, k, where
    )


def nll(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> Any:
    """Negative logarithm of the likelihood of classes: ``-log_p[class]``.

    ``prediction`` holds logarithms of probabilities ``(n, k)``: of `tg.log_softmax`
    this is `cross_entropy`. The rest is as there.

    >>> log_p = np.log([[0.25, 0.75], [0.5, 0.5]])
    >>> nll(log_p, np.array([1, 0]), reduction="none").round(3)
    array([0.288, 0.693])
    """
    where = "nll"
    n, k = _of_logits(prediction, where, "logarithms of probabilities")
    classes = _classes(live(target), n, k, where, ignore_index)
    losses = ops.negative(_picked(prediction, classes.numbers, n))
    return _of_classes(
        losses, classes, reduction, sample_weight, class_weight, k, where
    )


def focal(
    prediction: Any,
    target: Any,
    *,
    gamma: float = 2.0,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> Any:
    """Cross-entropy of classes and logits in which easy examples count less.

    With the probability p of the true class, a softmax, it is ``-(1 - p)**gamma
    log(p)``; gamma = 0 gives `cross_entropy`. The rest is as there. Lin, Goyal,
    Girshick, He, Dollár (2017), "Focal Loss for Dense Object Detection".

    >>> z = np.array([[2.0, 0.0], [0.0, 1000.0]])
    >>> focal(z, np.array([0, 0]), reduction="none").round(5)
    array([1.8e-03, 1.0e+03])
    """
    where = "focal"
    n, k = _of_logits(prediction, where)
    classes = _classes(live(target), n, k, where, ignore_index)
    log_share = _picked(_log_shares(prediction), classes.numbers, n)
    losses = ops.negative(log_share)
    if power_of(gamma, where):
        others = ops.negative(ops.expm1(log_share))  # 1 - p, with its digits
        losses = ops.multiply(losses, ops.power(others, float(gamma)))
    return _of_classes(
        losses, classes, reduction, sample_weight, class_weight, k, where
    )


def multiclass_hinge(
    prediction: Any,
    target: Any,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
    ignore_index: int | None = None,
) -> Any:
    """Hinge loss of scores: each class that comes within ``margin`` of the true one.

    ``sum of max(0, margin - z[class] + z[j])`` over the other classes j; the slope at a
    kink is 0. Arguments are those of `cross_entropy`. Weston, Watkins (1999), "Support
    Vector Machines for Multi-Class Pattern Recognition".

    >>> z = np.array([[3.0, 2.5, 0.0], [0.0, 1.0, 2.0]])
    >>> multiclass_hinge(z, np.array([0, 0]), reduction="none")
    array([0.5, 5. ])
    """
    where = "multiclass_hinge"
    n, k = _of_logits(prediction, where, "scores")
    classes = _classes(live(target), n, k, where, ignore_index)
    true = ops.reshape(_picked(prediction, classes.numbers, n), (n, 1))
    short = ops.relu(ops.add(ops.subtract(prediction, true), float(margin)))
    losses = ops.sum(ops.where(_hot(classes.numbers, n, k), 0.0, short), 1)
    return _of_classes(
        losses, classes, reduction, sample_weight, class_weight, k, where
    )


# --- what they share --------------------------------------------------------------


class _Classes(NamedTuple):
    """A class for each row, and whether the row counts; None where all do."""

    numbers: Any
    counts: Any


def _of_logits(prediction: Any, where: str, what: str = "logits") -> Shape:
    shape: Shape = value(prediction, where).shape
    if len(shape) != 2 or shape[1] < 2:
        raise ShapeError(
            f"{where}: expected {what} (n, k) for at least 2 classes; got "
            f"prediction{shape}. For two classes by one number use "
            "binary_cross_entropy_with_logits; for more axes, .reshape(-1, k)"
        )
    return shape


def _log_shares(prediction: Any) -> Any:
    traced = recording.current().trace is not None
    return ops.log_softmax(live(prediction) if traced else prediction, 1)


def _picked(scores: Any, classes: Any, n: int) -> Any:
    """Return the score of each row's class."""
    if isinstance(classes, Node):
        return live(scores)[np.arange(n), classes]
    return ops.getitem(scores, (np.arange(n), classes))


def _hot(classes: Any, n: int, k: int) -> Any:
    """Return which class is each row's, as booleans ``(n, k)``."""
    return ops.equal(ops.reshape(classes, (n, 1)), np.arange(k))


def _smoothed(rows: Any, share: float, k: int) -> Any:
    return rows * (1 - float(share)) + float(share) / k if share else rows


def _of_classes(
    losses: Any,
    classes: _Classes,
    reduction: str,
    sample_weight: Any,
    class_weight: Any,
    k: int,
    where: str,
) -> Any:
    """Weight the losses by their classes, without those that do not count; reduce."""
    by_class = None
    with recording.no_grad():
        if class_weight is not None:
            by_class = by_many_classes(class_weight, k, where)[classes.numbers]
        if classes.counts is not None:
            counts = ops.astype(classes.counts, np.dtype(np.float64))
            by_class = counts if by_class is None else by_class * counts
    if classes.counts is not None:
        losses = ops.where(classes.counts, losses, 0.0)  # not inf times 0
    return reduced(losses, reduction, sample_weight, by_class, where)


def _classes(
    labels: Any, n: int, k: int, where: str, ignore_index: int | None
) -> _Classes:
    """Check classes, since a negative one would quietly count from the end."""
    if labels.shape != (n,):
        rows = f" or rows ({n}, {k})" if where == "cross_entropy" else ""
        advice = "Pass classes (n,)" + (", or one-hot rows (n, k)" if rows else "")
        if labels.shape == (n, 1):
            advice = "The target has an axis 1 of size 1 too many: target.reshape(-1)"
        raise ShapeError(
            f"{where}: expected classes ({n},){rows}; got "
            f"prediction({n}, {k}), target{labels.shape}. {advice}"
        )
    if labels.dtype.kind == "b":
        with recording.no_grad():
            labels = labels.astype(np.intp)
    if labels.dtype.kind not in "iu":
        number = "target.astype(int)"
        if labels.dtype.kind in "USO":  # names: they have no number of their own
            number = "np.unique(target, return_inverse=True)[1]"
        raise DtypeError(
            f"{where}: classes are integers; got dtype {labels.dtype}. Pass {number}"
        )
    if n:
        inspect(labels, lambda found: _refuse_others(found, k, where, ignore_index))
    if ignore_index is None:
        return _Classes(labels, None)
    with recording.no_grad():
        counts = ops.not_equal(labels, ignore_index)
        return _Classes(ops.where(counts, labels, 0), counts)


def _refuse_others(
    labels: np.ndarray, k: int, where: str, ignore_index: int | None
) -> None:
    if np.minimum.reduce(labels, None) >= 0 and np.maximum.reduce(labels, None) < k:
        return
    strange = (labels < 0) | (labels >= k)
    if ignore_index is not None:
        strange &= labels != ignore_index
    if strange.any():
        row = int(np.argmax(strange))
        raise DataError(
            f"{where}: classes go from 0 to {k - 1}; got {labels[row]} at row {row}. "
            "Number the classes from 0, and end the model in as many outputs"
        )
