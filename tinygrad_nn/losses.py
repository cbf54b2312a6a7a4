"""Losses: how far predictions are from targets, as one number to be made small.

Every loss is a function ``(prediction, target, *, reduction="mean", …)``. The
prediction is a Tensor or an array, rows are examples; the target has the same shape
(in `cross_entropy` it may also be a class for each row) and takes its dtype.

``reduction``
    ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.
``sample_weight``
    A number for each example, of shape ``(n,)``.
``class_weight``
    A number for each class: an array, a dict by class (a class left out has 1), or a
    pair for two classes. An example gets the weight of its class; both multiply.

With weights the mean is the weighted mean, ``sum(w * loss) / sum(w)``, the sum is
``sum(w * loss)``, and ``"none"`` gives ``w * loss``.

Raises, all of them: `ShapeError` for shapes that differ, ``(n, 1)`` against ``(n,)``
above all, which NumPy would broadcast to ``(n, n)``; `OpError` for an unknown
reduction or a prediction that is no array; `DataError` for weights that sum to zero.
Values are not inspected, except for labels: a label that is none would make a loss
that training drives to minus infinity, and a class is used as a position. In a
compiled step the labels of every call are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_nn import ops, recording
from tinygrad_nn.errors import DataError, DtypeError, ModelError, OpError, ShapeError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.shapes import Shape

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge",
    "huber",
    "l1",
    "l2",
    "mae",
    "mse",
]


def __dir__() -> list[str]:
    """List the losses alone, for those who look around with tab."""
    return __all__


# --- two classes -----------------------------------------------------------------


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
    target = _like(prediction, target, where)
    _inspect_labels(target, where)
    losses = ops.logistic_loss(prediction, target)
    if reduction == "mean" and sample_weight is None and class_weight is None:
        return ops.mean(losses)
    by_class = _by_two_classes(target, class_weight, where, (0, 1))
    return _reduced(losses, reduction, sample_weight, by_class, where)


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
    other predictions that are exactly 0 or 1 it gives inf or nan, as the formula does.
    `DataError` names the first label outside of 0 to 1.

    >>> a, y = np.array([0.5, 0.25]), np.array([1, 0])
    >>> binary_cross_entropy(a, y, reduction="none").round(3)
    array([0.693, 0.288])
    """
    where = "binary_cross_entropy"
    y = _like(prediction, target, where)
    _inspect_labels(y, where)
    a = prediction
    positive = ops.multiply(y, ops.log(a))
    negative = ops.multiply(1 - y, ops.log(ops.subtract(1, a)))
    losses = ops.negative(ops.add(positive, negative))
    by_class = _by_two_classes(y, class_weight, where, (0, 1))
    return _reduced(losses, reduction, sample_weight, by_class, where)


def _inspect_labels(target: Any, where: str) -> None:
    if isinstance(target, Node) and target.requires_grad:
        return  # it is computed, and no label of the user's
    _inspect(target, lambda labels: _refuse_other_labels(labels, where))


def _refuse_other_labels(labels: np.ndarray, where: str) -> None:
    """Check labels, since the loss of one outside of 0 to 1 has no lower bound."""
    if not labels.size:
        return
    low, high = np.minimum.reduce(labels, None), np.maximum.reduce(labels, None)
    if not (low < 0 or high > 1):
        return
    # Mixed labels, share * y + (1 - share) * y, may miss 1 by a rounding.
    slack = 4 * np.finfo(labels.dtype).eps if labels.dtype.kind == "f" else 0
    strange = np.argwhere((labels < -slack) | (labels > 1 + slack))
    if not len(strange):
        return
    at = tuple(int(i) for i in strange[0])
    found = np.unique(labels)
    if found.tolist() == [-1, 1]:
        advice = "Pass (target + 1) / 2"
    elif len(found) == 2:
        advice = f"Pass target == {found[1]:g}"
    else:
        advice = "For more than two classes use cross_entropy; for other numbers, mse"
    raise DataError(
        f"{where}: labels are 0 and 1 (or between); got {labels[at]:g} at row "
        f"{at[0] if at else 0}. {advice}"
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
    y = _like(prediction, target, where)
    _inspect(y, _refuse_unsigned)
    losses = ops.relu(ops.subtract(1, ops.multiply(y, prediction)))
    by_class = _by_two_classes(y, class_weight, where, (-1, 1))
    return _reduced(losses, reduction, sample_weight, by_class, where)


def _refuse_unsigned(labels: np.ndarray) -> None:
    strange = np.argwhere(np.abs(labels) != 1)
    if len(strange):
        at = tuple(int(i) for i in strange[0])
        raise DataError(
            f"hinge: labels are -1 and 1; got {labels[at]:g} at row "
            f"{at[0] if at else 0}. For labels 0 and 1 pass 2 * target - 1"
        )


# --- many classes ----------------------------------------------------------------


def cross_entropy(
    prediction: Any,
    target: Any,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
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
    value = _value(prediction, where)
    if len(value.shape) != 2 or value.shape[1] < 2:
        raise ShapeError(
            f"{where}: expected logits (n, k) for at least 2 classes; got "
            f"prediction{value.shape}. For two classes by one number use "
            "binary_cross_entropy_with_logits; for more axes, .reshape(-1, k)"
        )
    if not 0 <= label_smoothing < 1:
        raise OpError(
            f"{where}: label_smoothing is a share, 0 <= share < 1; "
            f"got {label_smoothing!r}"
        )
    n, k = value.shape
    labels = _live(target)
    traced = recording.current().trace is not None
    scores = ops.log_softmax(_live(prediction) if traced else prediction, 1)
    by_class = None
    if labels.shape == (n, k):
        if class_weight is not None:
            by_class = _expected_weight(labels, class_weight, k)
        # The sign goes into the constant, where there is one: a node less.
        target = _smoothed(_like(prediction, target, where), label_smoothing, k)
        losses = ops.sum(ops.multiply(scores, -target), 1)
    else:
        classes = _classes(labels, n, k)
        if class_weight is not None:
            with recording.no_grad():
                by_class = _per_class(class_weight, k)[classes]
        if label_smoothing:
            hot = ops.equal(ops.reshape(classes, (n, 1)), np.arange(k))
            hot = _smoothed(ops.astype(hot, value.dtype), label_smoothing, k)
            losses = ops.sum(ops.multiply(scores, -hot), 1)
        elif isinstance(classes, Node):
            losses = ops.negative(scores[np.arange(n), classes])
        else:
            losses = ops.negative(ops.getitem(scores, (np.arange(n), classes)))
    return _reduced(losses, reduction, sample_weight, by_class, where)


# --- numbers ---------------------------------------------------------------------


def mse(
    prediction: Any, target: Any, *, reduction: str = "mean", sample_weight: Any = None
) -> Any:
    """Mean squared error: ``(prediction - target)**2``.

    >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    target = _like(prediction, target, "mse")
    losses = ops.square(ops.subtract(prediction, target))
    return _reduced(losses, reduction, sample_weight, None, "mse")


def mae(
    prediction: Any, target: Any, *, reduction: str = "mean", sample_weight: Any = None
) -> Any:
    """Mean absolute error: ``|prediction - target|``; its slope at 0 is 0.

    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(1.0)
    """
    target = _like(prediction, target, "mae")
    losses = ops.abs(ops.subtract(prediction, target))
    return _reduced(losses, reduction, sample_weight, None, "mae")


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

    >>> huber(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    if not delta > 0:
        raise OpError(f"huber: delta is a distance > 0; got {delta!r}")
    delta = float(delta)
    target = _like(prediction, target, "huber")
    distance = ops.abs(ops.subtract(prediction, target))
    losses = ops.where(
        ops.less_equal(distance, delta),
        0.5 * ops.square(distance),
        delta * (distance - 0.5 * delta),
    )
    return _reduced(losses, reduction, sample_weight, None, "huber")


# --- penalties -------------------------------------------------------------------


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


# --- what they share -------------------------------------------------------------


def _value(prediction: Any, where: str) -> Any:
    if isinstance(prediction, (Node, np.ndarray, np.generic)):
        return data_of(prediction)
    raise OpError(
        f"{where}: the prediction is a Tensor or an array; got "
        f"{type(prediction).__name__}. The order is (prediction, target)"
    )


def _like(prediction: Any, target: Any, where: str) -> Any:
    """Return the target in the dtype of the prediction, if it has its shape."""
    value = _value(prediction, where)
    if not isinstance(target, Node):
        target = _live(np.asarray(target))
    labels = data_of(target)
    if labels.shape != value.shape:
        raise _misfit(value.shape, labels.shape, where)
    if labels.dtype != value.dtype:
        if labels.dtype.kind not in "fiub":
            raise DtypeError(
                f"{where}: the target holds real numbers; got dtype {labels.dtype}"
            )
        if value.dtype.kind == "f":
            node = isinstance(target, Node)
            dtype = value.dtype
            return ops.astype(target, dtype) if node else labels.astype(dtype)
    return target


def _misfit(have: Shape, wanted: Shape, where: str) -> ShapeError:
    """Say which axis is to blame, and how to make the shapes one."""
    got = f"got prediction{have}, target{wanted}"
    longer, shorter = sorted((have, wanted), key=len, reverse=True)
    if longer[:-1] == shorter and longer[-1:] == (1,):
        axis = len(shorter)
        new = "[:, None]" if axis == 1 else "[..., None]"
        has, lacks = ("prediction", "target")
        if longer is wanted:
            has, lacks = lacks, has
        advice = (
            f"The {has} has an axis {axis} of size 1 that the {lacks} lacks, and NumPy "
            f"would combine all pairs: pass {lacks}{new}, or {has}.reshape({shorter})"
        )
    elif len(have) == len(wanted):
        pairs = zip(have, wanted, strict=True)
        axis = next(i for i, (m, n) in enumerate(pairs) if m != n)
        advice = f"They differ at axis {axis}: {have[axis]} and {wanted[axis]}"
    else:
        advice = f"They have {len(have)} and {len(wanted)} axes; use .reshape"
    return ShapeError(
        f"{where}: expected prediction and target of one shape; {got}. {advice}"
    )


def _reduced(
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
    _inspect(total, refuse_nothing)
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


def _by_two_classes(
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


def _per_class(class_weight: Any, k: int) -> Any:
    """Weights ``(k,)`` from an array or a dict."""
    if isinstance(class_weight, Mapping):
        _refuse_unknown(class_weight, range(k), "cross_entropy")
        weights = np.ones(k)
        for number, weight in class_weight.items():
            weights[int(number)] = weight
        return _live(weights)
    weights = _weights(class_weight)
    if weights.shape != (k,):
        raise ShapeError(
            f"cross_entropy: expected a weight for each class, shape ({k},); got "
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


def _expected_weight(rows: Any, class_weight: Any, k: int) -> Any:
    with recording.no_grad():
        return ops.matmul(rows, _per_class(class_weight, k))


def _smoothed(rows: Any, share: float, k: int) -> Any:
    return rows * (1 - float(share)) + float(share) / k if share else rows


def _classes(labels: Any, n: int, k: int) -> Any:
    """Check classes, since a negative one would quietly count from the end."""
    if labels.shape != (n,):
        advice = "Pass classes (n,), or one-hot rows (n, k)"
        if labels.shape == (n, 1):
            advice = "The target has an axis 1 of size 1 too many: target.reshape(-1)"
        raise ShapeError(
            f"cross_entropy: expected classes ({n},) or rows ({n}, {k}); got "
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
            f"cross_entropy: classes are integers; got dtype {labels.dtype}. "
            f"Pass {number}"
        )
    if n:
        _inspect(labels, lambda classes: _refuse_other_classes(classes, k))
    return labels


def _refuse_other_classes(labels: np.ndarray, k: int) -> None:
    if np.minimum.reduce(labels, None) < 0 or np.maximum.reduce(labels, None) >= k:
        row = int(np.argmax((labels < 0) | (labels >= k)))
        raise DataError(
            f"cross_entropy: classes go from 0 to {k - 1}; got {labels[row]} at row "
            f"{row}. Number the classes from 0, and end the model in as many outputs"
        )


# --- values that a compiled step reads anew at each call --------------------------


def _inspect(values: Any, check: Callable[[np.ndarray], None]) -> None:
    """Check values that are given: now, and in a compiled step at each call."""
    trace = recording.current().trace
    if trace is None:
        check(np.asarray(data_of(values)))
    elif isinstance(values, Node):
        trace.guard(values, check)
    else:
        trace.guard(trace.held(values), check)


def _live(x: Any) -> Any:
    """Return data as an array; in a compiled step, as what is read anew each time."""
    trace = recording.current().trace
    if trace is None:
        return x if x.__class__ is np.ndarray else np.asarray(data_of(x))
    return x if isinstance(x, Node) else trace.held(np.asarray(x))


def _numbers(x: Any) -> Any:
    """Return data as float64."""
    x = _live(x)
    return x if x.dtype == np.float64 else x.astype(np.float64)


def _weights(given: Any) -> Any:
    """Return weights as float64; those that are to be learned are refused."""
    if recording.current().trace is None:
        return np.asarray(given, np.float64)
    with recording.no_grad():
        return _numbers(given)
