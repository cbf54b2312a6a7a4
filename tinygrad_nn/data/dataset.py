"""What every source of data returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from tinygrad_nn.errors import DataError

__all__ = ["Array", "Dataset", "Kind"]

Array = npt.NDArray[Any]
Kind = Literal["binary", "multiclass", "regression"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples with their targets; unpacks like the pair ``X, y``.

    Parameters
    ----------
    X : ndarray (n_examples, n_features)
        One example a row.
    y : ndarray (n_examples,)
        Class numbers 0, 1, ... (int64), or the numbers to predict (float64).
    feature_names : tuple of str
        One name a column of ``X``.
    target_names : tuple of str
        One name a class, so that ``target_names[y[i]]`` names the class of example
        ``i``; empty for regression.
    name : str
        What the data is called, in titles and messages.

    Raises
    ------
    DataError
        When the parts do not fit together, or there is one class only.

    Examples
    --------
    >>> data = Dataset(np.eye(3), np.array([0, 1, 1]), target_names=("no", "yes"))
    >>> data
    Dataset('data': X(3, 3), y(3,), 2 classes: 'no', 'yes')
    >>> X, y = data
    >>> X.shape, y.shape, data.kind
    ((3, 3), (3,), 'binary')
    """

    X: Array
    y: Array
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    name: str = "data"

    def __post_init__(self) -> None:
        shapes = f"X{np.shape(self.X)}, y{np.shape(self.y)}"
        if np.ndim(self.X) < 1 or np.shape(self.X)[:1] != np.shape(self.y)[:1]:
            raise DataError(
                f"{self.name}: expected as many targets as examples; got {shapes}. "
                "Rows of X are examples"
            )
        if self.feature_names and np.shape(self.X)[1:] != (len(self.feature_names),):
            raise DataError(
                f"{self.name}: expected one feature name for each column of X; got "
                f"{len(self.feature_names)} names, {shapes}. Leave them out or name all"
            )
        if len(self.target_names) == 1:
            raise DataError(
                f"{self.name}: expected at least two classes; got "
                f"{self.target_names[0]!r} only. Regression has no target names"
            )

    def __iter__(self) -> Iterator[Array]:
        return iter((self.X, self.y))

    @property
    def kind(self) -> Kind:
        """What there is to predict: 'binary', 'multiclass' or 'regression'."""
        if not self.target_names:
            return "regression"
        return "binary" if len(self.target_names) == 2 else "multiclass"

    def __repr__(self) -> str:
        classes = len(self.target_names)
        shown = ", ".join(repr(name) for name in self.target_names[:10])
        more = ", …" if classes > 10 else ""
        target = f"{classes} classes: {shown}{more}" if classes else "regression"
        shapes = f"X{np.shape(self.X)}, y{np.shape(self.y)}"
        return f"Dataset({self.name!r}: {shapes}, {target})"
