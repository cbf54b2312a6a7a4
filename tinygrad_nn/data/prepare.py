"""Between the data and the model: scaling, coding of labels, splitting."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from tinygrad_nn.data.dataset import Array
from tinygrad_nn.errors import DataError

__all__ = [
    "Standardizer",
    "class_weights",
    "flatten_images",
    "one_hot",
    "standardize",
    "train_test_split",
]


@final
class Standardizer:
    """Gives every feature mean 0 and standard deviation 1, as the training part has it.

    Fit it on the training part alone, then transform every part with it: a test part
    that took part in the fit would leak into training. A constant feature becomes 0
    (its ``scale`` is 1). float32 stays float32; everything else becomes float64.

    Parameters
    ----------
    mean, scale : array of the shape of one example, optional
        The attributes of an earlier fit, to use it again, for example from a file.

    Raises
    ------
    DataError
        On nan and infinity, on another number of features than at the fit, and when
        asked to transform before a fit.

    Examples
    --------
    >>> train, test = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[4.0, 6.0]])
    >>> standardizer = Standardizer().fit(train)
    >>> standardizer.transform(train).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> standardizer.transform(test).tolist()
    [[2.0, 1.0]]
    >>> standardizer.mean.tolist(), standardizer.scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """

    def __init__(
        self, mean: npt.ArrayLike | None = None, scale: npt.ArrayLike | None = None
    ) -> None:
        self._fitted: tuple[Array, Array] | None = None
        if mean is not None or scale is not None:
            mean = _finite("Standardizer: mean", np.asarray(mean, dtype=np.float64))
            scale = _finite("Standardizer: scale", np.asarray(scale, dtype=np.float64))
            if mean.shape != scale.shape or not np.all(scale > 0):
                raise DataError(
                    "Standardizer: expected a mean and a positive scale for each "
                    f"feature; got mean{mean.shape}, scale{scale.shape}. Pass the "
                    "attributes of a fitted Standardizer"
                )
            self._fitted = mean, scale

    @property
    def mean(self) -> Array:
        """Mean of each feature over the training part, float64."""
        return self._fit()[0]

    @property
    def scale(self) -> Array:
        """Standard deviation of each feature (1 where it is constant), float64."""
        return self._fit()[1]

    def fit(self, X: npt.ArrayLike) -> Standardizer:
        """Measure ``X`` (n_examples, n_features) and return the object itself."""
        values = _numbers("Standardizer.fit", X).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = values.mean(axis=0), values.std(axis=0)
        # Exact comparison: the rounded mean of a constant column need not equal it,
        # and dividing by what rounding left would turn nothing into +-1.
        constant = values.min(axis=0) == values.max(axis=0)
        mean = np.where(constant, values[0], mean)
        scale = np.where(constant | (deviation == 0), 1.0, deviation)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            raise DataError(
                "Standardizer.fit: expected numbers whose squares can be summed; got "
                f"numbers up to {np.abs(values).max():g}. Rescale the feature"
            )
        self._fitted = mean, scale
        return self

    def transform(self, X: npt.ArrayLike) -> Array:
        """``(X - mean) / scale``, of the shape of ``X``."""
        values, (mean, scale) = self._checked("Standardizer.transform", X)
        result: Array = ((values - mean) / scale).astype(values.dtype)
        return result

    def fit_transform(self, X: npt.ArrayLike) -> Array:
        """Fit on ``X``, then transform it: for the training part."""
        return self.fit(X).transform(X)

    def inverse_transform(self, X: npt.ArrayLike) -> Array:
        """``X * scale + mean``: standardised values in their own units again."""
        values, (mean, scale) = self._checked("Standardizer.inverse_transform", X)
        result: Array = (values * scale + mean).astype(values.dtype)
        return result

    def __repr__(self) -> str:
        if self._fitted is None:
            return "Standardizer(not fitted)"
        return f"Standardizer(mean={self.mean}, scale={self.scale})"

    def _fit(self) -> tuple[Array, Array]:
        if self._fitted is None:
            raise DataError(
                "Standardizer: expected a fit before its use; got none. "
                "Call fit(X) with the training part"
            )
        return self._fitted

    def _checked(
        self, where: str, X: npt.ArrayLike
    ) -> tuple[Array, tuple[Array, Array]]:
        mean, scale = self._fit()
        values = _numbers(where, X)
        if values.shape[1:] != mean.shape:
            raise DataError(
                f"{where}: expected the features of the fit, X(n, "
                f"{', '.join(map(str, mean.shape))}); got X{values.shape}. "
                "Pass the same columns in the same order"
            )
        return values, (mean, scale)


def standardize(X: npt.ArrayLike) -> Array:
    """Give every feature of ``X`` (n_examples, n_features) mean 0 and deviation 1.

    Right for a look at one data set; where a test part is kept apart, fit a
    `Standardizer` on the training part instead.

    >>> standardize([[1.0, 7.0], [3.0, 7.0]]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    return Standardizer().fit_transform(X)


def one_hot(
    labels: npt.ArrayLike,
    n_classes: int | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Write class numbers as rows with a single 1.

    Parameters
    ----------
    labels : array of integers of any shape, from 0 to n_classes - 1
        Floats are accepted where they are whole numbers.
    n_classes : int, optional
        One more than the largest label unless given.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray (*labels.shape, n_classes)

    Raises
    ------
    DataError
        On a label that is not a class number.

    Examples
    --------
    >>> one_hot([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    numbers = _labels("one_hot", labels, n_classes)
    width = _width(numbers, n_classes)
    result: Array = np.zeros((*numbers.shape, width), dtype=dtype)
    np.put_along_axis(result, numbers[..., None], 1, axis=-1)
    return result


def class_weights(y: npt.ArrayLike, n_classes: int | None = None) -> Array:
    """Find the weights that make every class count the same: ``n / (k * count)``.

    Parameters
    ----------
    y : array of integers (n,), from 0 to n_classes - 1
    n_classes : int, optional
        One more than the largest label unless given.

    Returns
    -------
    ndarray (n_classes,)
        The weights of the examples add up to n. A class without an example has
        weight 0 and does not count towards k.

    Examples
    --------
    >>> class_weights([0, 0, 0, 1]).round(3).tolist()
    [0.667, 2.0]
    """
    numbers = _labels("class_weights", y, n_classes).ravel()
    counts = np.bincount(numbers, minlength=_width(numbers, n_classes))
    present = counts > 0
    weights: Array = np.zeros(counts.shape)
    weights[present] = numbers.size / (present.sum() * counts[present])
    return weights


def flatten_images(images: npt.ArrayLike) -> Array:
    """Lay out images (n, height, width, ...) as rows (n, height * width * ...).

    >>> flatten_images(np.zeros((209, 64, 64, 3))).shape
    (209, 12288)
    """
    array = np.asarray(images)
    if array.ndim < 2:
        raise DataError(
            "flatten_images: expected images(n, height, width, ...); got "
            f"images{array.shape}. The first axis numbers the images"
        )
    # Not reshape(n, -1), which cannot tell the width when there is no image.
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def train_test_split(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    test_size: float = 0.2,
    rng: int | np.random.Generator = 0,
    stratify: npt.ArrayLike | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Split at random into a part to train on and a part to test on.

    Parameters
    ----------
    X : array (n, ...)
    y : array (n, ...)
    test_size : float between 0 and 1, or int
        The share of the test part (rounded to whole examples, at least one in either
        part), or its number of examples.
    rng : int or numpy.random.Generator
        A seed, or a generator; exactly one permutation of n is drawn.
    stratify : array (n,), optional
        Classes, usually ``y``: each class is then split in the same proportion. A
        class with two or more members is in both parts, even where that makes the
        test part larger or smaller than asked for; a single member is trained on.

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarrays

    Raises
    ------
    DataError
        When the lengths differ or a part would be empty.

    Examples
    --------
    >>> X, y = np.arange(10.0)[:, None], np.arange(10) % 2
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, 0.4, stratify=y)
    >>> np.bincount(y_train).tolist(), np.bincount(y_test).tolist()
    ([3, 3], [2, 2])
    """
    examples, targets = np.asarray(X), np.asarray(y)
    n = _common_length("train_test_split", {"X": examples, "y": targets})
    n_test = _test_count(n, test_size)
    order = np.random.default_rng(rng).permutation(n)
    if stratify is None:
        in_test = np.arange(n) < n_test
    else:
        classes = np.asarray(stratify)
        _common_length("train_test_split", {"X": examples, "stratify": classes})
        if classes.ndim != 1:
            raise DataError(
                "train_test_split: expected one class for each example, stratify(n,); "
                f"got stratify{classes.shape}. Pass class labels"
            )
        in_test = _stratified(classes[order], n_test)
    train, test = order[~in_test], order[in_test]
    return examples[train], examples[test], targets[train], targets[test]


def _test_count(n: int, test_size: float) -> int:
    """Turn ``test_size`` into a number of examples, from 1 to n - 1."""
    if n < 2:
        raise DataError(
            f"train_test_split: expected at least two examples; got {n}. "
            "There is nothing to split"
        )
    if isinstance(test_size, int | np.integer) and not isinstance(test_size, bool):
        if 1 <= test_size < n:
            return int(test_size)
    elif 0 < test_size < 1:
        return min(max(round(n * test_size), 1), n - 1)
    raise DataError(
        "train_test_split: expected a test_size between 0 and 1, or a number of "
        f"examples from 1 to {n - 1}; got {test_size!r}. 0.2 keeps a fifth for testing"
    )


def _stratified(classes: Array, n_test: int) -> npt.NDArray[np.bool_]:
    """Mark the test examples, class by class the first ones of each.

    The shares are rounded down or up so that they add up to ``n_test``, the largest
    remainders first, within bounds that keep a class of two or more in both parts.
    """
    _, numbers, counts = np.unique(classes, return_inverse=True, return_counts=True)
    least = np.where(counts >= 2, 1, 0)
    most = np.where(counts >= 2, counts - 1, 0)
    if not most.any():
        raise DataError(
            "train_test_split: expected a class with two or more examples; got "
            f"{len(counts)} classes of one example each. Leave out stratify"
        )
    wanted = counts * (n_test / len(classes))
    taken = np.clip(np.floor(wanted).astype(int), least, most)
    while taken.sum() < n_test and (taken < most).any():
        taken[np.argmax(np.where(taken < most, wanted - taken, -np.inf))] += 1
    while taken.sum() > n_test and (taken > least).any():
        taken[np.argmax(np.where(taken > least, taken - wanted, -np.inf))] -= 1
    # A stable sort lists each class in its present order, so the rank of an example
    # within its class is its place in the sorted list minus where the class starts.
    order = np.argsort(numbers, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(classes), dtype=int)
    rank[order] = np.arange(len(classes)) - starts[numbers[order]]
    marked: npt.NDArray[np.bool_] = rank < taken[numbers]
    return marked


def _common_length(where: str, arrays: dict[str, Array]) -> int:
    """Return the first size of the arrays, which they must share."""
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or lengths == {()}:
        shown = ", ".join(f"{name}{array.shape}" for name, array in arrays.items())
        raise DataError(
            f"{where}: expected arrays with as many rows as each other; got {shown}. "
            "Rows are examples"
        )
    return int(lengths.pop()[0])


def _width(numbers: npt.NDArray[np.int64], n_classes: int | None) -> int:
    return int(numbers.max()) + 1 if n_classes is None else int(n_classes)


def _labels(
    where: str, labels: npt.ArrayLike, n_classes: int | None
) -> npt.NDArray[np.int64]:
    """Return labels as int64, once each is known to be a class number."""
    array = np.asarray(labels)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: expected class numbers 0, 1, ...; got {array.dtype} values. "
            "np.unique(labels, return_inverse=True) numbers them"
        )
    if n_classes is None and not array.size:
        raise DataError(
            f"{where}: expected at least one label; got none. Pass n_classes"
        )
    # A label of billions is a mistake that would ask for as many columns.
    limit = 2**31 if n_classes is None else n_classes
    # The negation refuses nan as well, which compares as False with everything.
    wrong = ~((array >= 0) & (array < limit) & (array == np.trunc(array * 1.0)))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        top = "" if n_classes is None else f" to {n_classes - 1}"
        raise DataError(
            f"{where}: expected whole class numbers from 0{top}; got {array[at]!s} at "
            f"{list(at)}. np.unique(labels, return_inverse=True) numbers any labels"
        )
    return array.astype(np.int64)


def _numbers(where: str, X: npt.ArrayLike) -> Array:
    """Return rows of finite numbers; float32 as it is, everything else as float64."""
    array = np.asarray(X)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: expected numbers; got X of {array.dtype}. "
            "Turn text into numbers first"
        )
    if array.ndim < 1 or not len(array):
        raise DataError(
            f"{where}: expected at least one row; got X{array.shape}. Rows are examples"
        )
    dtype = np.float32 if array.dtype == np.float32 else np.float64
    return _finite(where, array.astype(dtype, copy=False))


def _finite(where: str, array: Array) -> Array:
    wrong = ~np.isfinite(array)
    if wrong.any():
        at = [int(i) for i in np.argwhere(wrong)[0]]
        raise DataError(
            f"{where}: expected finite numbers; got {array[tuple(at)]} at {at}. "
            "Remove or replace the example"
        )
    return array
