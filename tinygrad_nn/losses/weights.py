"""Losses of many examples, weighted and made one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import DataError, OpError, ShapeError
from tinygrad_nn.losses.targets import inspect, live
from tinygrad_nn.shapes import Shape

__all__ = ["by_many_classes", "by_two_classes", "expected_weight", "reduced"]


def reduced(
    losses: Any, reduction: str, sample_weight: Any, by_class: Any, where: str
) -> Any:
    """Weight the losses and make them one number, or leave them a loss each."""
    if reduction not in ("mean", "sum", "none"):
        raise OpError(
            f"{where}: reduction is 'mean', 'sum' or 'none'; got {reduction!r}"
        )
    weight = by_class
    if sample_weight is not None:
        weight = _per_sample(sample_weight, losses.shape, where)
    if weight is not None:
        with recording.no_grad():
            if sample_weight is not None and by_class is not None:
                weight = weight * by_class
            if reduction == "mean":
                weight = weight / _total_weight(weight, losses.size, where)
            weight = weight.astype(losses.dtype)
        losses = ops.multiply(losses, weight)
    if reduction == "none":
        return losses
    if reduction == "sum" or weight is not None:
        return ops.sum(losses)
    return ops.mean(losses)


def _total_weight(weight: Any, count: int, where: str) -> Any:
    """Sum of the weights of as many losses, which a mean is divided by."""
    size = weight.size

    def refuse_nothing(total: np.ndarray) -> None:
        if total == 0:
            raise DataError(
                f"{where}: a weighted mean needs weights that do not sum to 0; got "
                f"{size} that do. Leave such batches out, or use reduction='sum'"
            )

    total = weight.sum() * (count / max(size, 1))
    inspect(total, refuse_nothing)
    return total


def _per_sample(sample_weight: Any, shape: Shape, where: str) -> Any:
    """Weights ``(n,)`` with as many axes as the losses."""
    weight = _weights(sample_weight)
    if weight.shape != shape[:1]:
        raise ShapeError(
            f"{where}: expected a weight for each example, shape {shape[:1]}; got "
            f"sample_weight{weight.shape}"
        )
    return weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))


def by_two_classes(
    target: Any, class_weight: Any, where: str, classes: tuple[int, int]
) -> Any:
    """Weight of every label: between the two for a label between the classes."""
    if class_weight is None:
        return None
    low, high = classes
    if isinstance(class_weight, Mapping):
        _refuse_unknown(class_weight, classes, where)
        pair: Any = [float(class_weight.get(label, 1.0)) for label in classes]
    else:
        pair = _weights(class_weight).reshape(-1)
        if len(pair) != 2:
            raise ShapeError(
                f"{where}: class_weight is a pair, for class {low} and class {high}; "
                f"got {len(pair)} numbers"
            )
    with recording.no_grad():
        share = (_numbers(target) - low) / (high - low)
        return pair[0] * (1 - share) + pair[1] * share


def by_many_classes(class_weight: Any, k: int, where: str) -> Any:
    """Weights ``(k,)`` from an array or a dict."""
    if isinstance(class_weight, Mapping):
        _refuse_unknown(class_weight, range(k), where)
        weights = np.ones(k)
        for number, weight in class_weight.items():
            weights[int(number)] = weight
        return live(weights)
    weights = _weights(class_weight)
    if weights.shape != (k,):
        raise ShapeError(
            f"{where}: expected a weight for each class, shape ({k},); got "
            f"class_weight{weights.shape}"
        )
    return weights


def _refuse_unknown(given: Mapping[Any, Any], classes: Any, where: str) -> None:
    for number in given:
        if number not in classes:
            raise DataError(
                f"{where}: class_weight names classes {_few(classes)}; got {number!r}"
            )


def _few(classes: Any) -> str:
    numbers = list(classes)
    if len(numbers) == 2:
        return f"{numbers[0]} and {numbers[1]}"
    return f"{numbers[0]} to {numbers[-1]}"


def expected_weight(rows: Any, class_weight: Any, where: str) -> Any:
    """Weight of every row of probabilities: that of its class, on average."""
    with recording.no_grad():
        return ops.matmul(rows, by_many_classes(class_weight, rows.shape[1], where))


def _numbers(x: Any) -> Any:
    """Return data as float64."""
    x = live(x)
    return x if x.dtype == np.float64 else x.astype(np.float64)


def _weights(given: Any) -> Any:
    """Return weights as float64; those that are to be learned are refused."""
    if recording.current().trace is None:
        return np.asarray(given, np.float64)
    with recording.no_grad():
        return _numbers(given)
