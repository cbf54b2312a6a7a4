"""How good predictions are, in words people use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_nn.errors import DataError, ShapeError
from tinygrad_nn.tensor import Tensor

__all__ = ["accuracy", "confusion_matrix", "predicted_classes", "r2"]

Array = npt.NDArray[Any]


def accuracy(
    prediction: Any, target: npt.ArrayLike, *, threshold: float | None = None
) -> float:
    """Share of the examples whose class is predicted rightly.

    Parameters
    ----------
    prediction : array or Tensor (n,), (n, 1) or (n, n_classes)
        Logits, probabilities or class numbers; see `predicted_classes`.
    target : array (n,), (n, 1), or one-hot (n, n_classes)
    threshold : float, optional
        Where class 1 begins, for two classes in one column.

    Raises
    ------
    ShapeError
        When there are not as many predictions as targets.

    Examples
    --------
    >>> accuracy([[-2.0], [0.5], [3.0], [1.0]], [[0], [1], [1], [0]])  # logits
    0.75
    >>> accuracy([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]], [1, 0])
    0.5
    """
    predicted, true = _labels("accuracy", prediction, target, threshold)
    return float(np.mean(predicted == true))


def confusion_matrix(
    prediction: Any,
    target: npt.ArrayLike,
    n_classes: int | None = None,
    *,
    threshold: float | None = None,
) -> npt.NDArray[np.int64]:
    """Count the examples of class i (row) that are predicted as class j (column).

    Parameters
    ----------
    prediction, target, threshold
        As for `accuracy`.
    n_classes : int, optional
        One more than the largest class of either unless given.

    Returns
    -------
    ndarray (n_classes, n_classes)

    Examples
    --------
    >>> confusion_matrix(np.array([0, 1, 1, 1]), [0, 0, 1, 1]).tolist()
    [[1, 1], [0, 2]]
    """
    predicted, true = _labels("confusion_matrix", prediction, target, threshold)
    least = int(max(predicted.max(), true.max())) + 1
    size = least if n_classes is None else n_classes
    if size < least or min(predicted.min(), true.min()) < 0:
        raise DataError(
            f"confusion_matrix: expected classes from 0 to {size - 1}; got "
            f"{min(predicted.min(), true.min())} to {least - 1}. Raise n_classes"
        )
    counts = np.bincount(true * size + predicted, minlength=size * size)
    return counts.reshape(size, size).astype(np.int64)


def r2(prediction: Any, target: npt.ArrayLike) -> float:
    """Share of the targets' variance that the predictions explain (R squared).

    1 is perfect, 0 is no better than the mean, less than 0 is worse. Of targets that
    are all equal it is 1 if they are met exactly, else 0. Several columns are averaged.

    Parameters
    ----------
    prediction, target : array or Tensor (n,) or (n, n_outputs), of one shape

    Raises
    ------
    ShapeError
        When the shapes differ: ``(n, 1)`` against ``(n,)`` would compare every
        prediction with every target.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).__round__(4)
    0.7857
    """
    predicted, true = _array(prediction), _array(target)
    if predicted.shape != true.shape or not predicted.size:
        raise ShapeError(
            "r2: expected one prediction for each target; got "
            f"prediction{predicted.shape}, target{true.shape}. Reshape one of them"
        )
    left = np.sum((true - predicted) ** 2, axis=0)
    total = np.sum((true - true.mean(axis=0)) ** 2, axis=0)
    unexplained = np.where(total > 0, left / np.where(total > 0, total, 1.0), left > 0)
    return float(np.mean(1.0 - unexplained))


def predicted_classes(
    prediction: Any, *, threshold: float | None = None
) -> npt.NDArray[np.int64]:
    """Read class numbers from what a model returns.

    Parameters
    ----------
    prediction : array or Tensor
        ``(n, n_classes)``: the class of the largest logit or probability. ``(n,)`` or
        ``(n, 1)`` of floats: class 1 from the threshold on. Of integers or booleans:
        the classes themselves.
    threshold : float, optional
        Where class 1 begins. Left out, it is 0.5 if every number lies between 0 and 1
        (probabilities), else 0 (logits). Name it where logits might all lie there.

    Returns
    -------
    ndarray (n,) of int64

    Examples
    --------
    >>> predicted_classes([-1.0, 0.4]).tolist(), predicted_classes([0.1, 0.7]).tolist()
    ([0, 1], [0, 1])
    """
    array = _array(prediction)
    if array.ndim == 2 and array.shape[1] > 1:
        return np.asarray(array.argmax(axis=1), np.int64)
    column = array.reshape(len(array)) if array.ndim == 2 else array
    if column.ndim != 1:
        raise ShapeError(
            "predicted_classes: expected (n,), (n, 1) or (n, n_classes); got "
            f"{array.shape}. Rows are examples"
        )
    if column.dtype.kind != "f":
        return column.astype(np.int64)
    if threshold is None:
        inside = bool(np.all((column >= 0) & (column <= 1)))
        threshold = 0.5 if inside else 0.0
    return (column >= threshold).astype(np.int64)


def _labels(
    where: str, prediction: Any, target: npt.ArrayLike, threshold: float | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    predicted = predicted_classes(prediction, threshold=threshold)
    true = predicted_classes(target, threshold=0.5)  # 0.0 and 1.0 as floats, one-hot
    if predicted.shape != true.shape or not predicted.size:
        raise ShapeError(
            f"{where}: expected one prediction for each target; got "
            f"prediction{_array(prediction).shape}, target{_array(target).shape}"
        )
    return predicted, true


def _array(values: Any) -> Array:
    return np.asarray(values.numpy() if isinstance(values, Tensor) else values)
