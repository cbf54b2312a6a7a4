"""What a column of targets asks for: classes or numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinygrad_nn.data.dataset import Kind
from tinygrad_nn.errors import DataError

__all__ = ["MOST_INTEGER_CLASSES", "target_kind"]

MOST_INTEGER_CLASSES = 20


def target_kind(y: npt.ArrayLike, where: str = "target") -> Kind:
    """Tell what there is to predict from the targets themselves.

    Text and booleans are classes. So are whole numbers (floats that are all whole
    included) with at most 20 different values, if they look like labels: there are
    two values, or the values run without a gap (0 to 9), or each occurs twice or
    more on average. Everything else is regression: 18 house prices are whole
    numbers, but no labels.

    Parameters
    ----------
    y : array (n,)
        Targets, numbers or text.
    where : str
        What messages call them.

    Returns
    -------
    'binary', 'multiclass' or 'regression'

    Raises
    ------
    DataError
        When all targets are the same, or one is nan or infinite.

    Examples
    --------
    >>> target_kind(["yes", "no", "yes"]), target_kind([0.0, 1.0, 2.0, 1.0])
    ('binary', 'multiclass')
    >>> target_kind([0.5, 1.0, 1.5]), target_kind([120, 300, 250])
    ('regression', 'regression')
    """
    array = np.asarray(y)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biufUSOT":
        raise DataError(
            f"{where}: expected one number or text for each example, y(n,); got "
            f"y{array.shape} of {array.dtype}. Pass a column"
        )
    numeric = array.dtype.kind in "iuf"
    if numeric and not np.isfinite(array).all():
        at = int(np.argmin(np.isfinite(array)))
        raise DataError(
            f"{where}: expected finite numbers; got {array[at]} at {[at]}. "
            "Remove or replace the example"
        )
    distinct = set(array.tolist())
    if len(distinct) == 1:
        raise DataError(
            f"{where}: expected at least two different values; got "
            f"{distinct.pop()!r} in all {array.size} rows. There is nothing to learn"
        )
    if numeric and not _are_labels(distinct, array.size):
        return "regression"
    return "binary" if len(distinct) == 2 else "multiclass"


def _are_labels(distinct: set[float], n: int) -> bool:
    """Whether numbers are labels, by the rule of `target_kind`."""
    count = len(distinct)
    if count > MOST_INTEGER_CLASSES or any(value % 1 for value in distinct):
        return False
    without_gap = max(distinct) - min(distinct) == count - 1
    return count == 2 or without_gap or n >= 2 * count
