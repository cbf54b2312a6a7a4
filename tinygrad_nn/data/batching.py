"""Mini-batches: the data in parts, in a new order each epoch."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Generic, TypeVar, cast, final, overload

import numpy as np
import numpy.typing as npt

from tinygrad_nn.data.dataset import Array
from tinygrad_nn.errors import DataError

__all__ = ["Batches", "batches"]

Examples = TypeVar("Examples", Array, tuple[Array, ...])


@final
class Batches(Generic[Examples]):
    """What `batches` returns: iterate over it once an epoch.

    Attributes
    ----------
    rng : numpy.random.Generator
        The generator of the shuffle. Its state (``rng.bit_generator.state``) is all
        that must be kept between epochs to go on exactly where one stopped.
    n : int
        Number of examples.
    """

    def __init__(
        self,
        X: tuple[Array, ...],
        y: Array,
        size: int,
        rng: np.random.Generator,
        *,
        several: bool,
        shuffle: bool,
        drop_last: bool,
    ) -> None:
        self.rng = rng
        self.n = len(y)
        self._X, self._y, self._size = X, y, size
        self._several, self._shuffle, self._drop_last = several, shuffle, drop_last

    def __len__(self) -> int:
        whole, rest = divmod(self.n, self._size)
        return whole if self._drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[tuple[Examples, Array]]:
        # The epoch's only draw happens here and not at the first batch, so that the
        # generator's state is the same however many batches are then taken.
        order = self.rng.permutation(self.n) if self._shuffle else None
        return self._epoch(order)

    def _epoch(
        self, order: npt.NDArray[np.int64] | None
    ) -> Iterator[tuple[Examples, Array]]:
        for number in range(len(self)):
            part = slice(number * self._size, (number + 1) * self._size)
            rows = part if order is None else order[part]
            X = tuple(array[rows] for array in self._X)
            yield cast("Examples", X if self._several else X[0]), self._y[rows]

    def __repr__(self) -> str:
        return (
            f"Batches({len(self)} of {self._size} from {self.n} examples, "
            f"shuffle={self._shuffle}, drop_last={self._drop_last})"
        )


@overload
def batches(
    X: tuple[npt.ArrayLike, ...],
    y: npt.ArrayLike,
    size: int,
    rng: int | np.random.Generator | None = None,
    *,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Batches[tuple[Array, ...]]: ...
@overload
def batches(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    size: int,
    rng: int | np.random.Generator | None = None,
    *,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Batches[Array]: ...
def batches(
    X: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    y: npt.ArrayLike,
    size: int,
    rng: int | np.random.Generator | None = None,
    *,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Batches[Array] | Batches[tuple[Array, ...]]:
    """Cut the data into mini-batches ``(X_batch, y_batch)``, anew every epoch.

    Parameters
    ----------
    X : array (n, ...), or a tuple of such arrays
        The inputs; a tuple gives tuples of batches, for models with several inputs.
    y : array (n, ...)
        The targets.
    size : int
        Examples in a batch; the last batch of an epoch may be smaller.
    rng : int, numpy.random.Generator or None
        A seed, a generator, or None for another order at every run. Each epoch draws
        exactly one ``rng.permutation(n)``, when its iteration starts.
    shuffle : bool
        False keeps the order, draws nothing, and gives views instead of copies.
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Returns
    -------
    Batches
        Its ``len`` is the number of batches; each iteration is an epoch.

    Raises
    ------
    DataError
        When the lengths differ, there are no examples, or no batch would be left.

    Examples
    --------
    >>> X, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> epoch = batches(X, y, 2, rng=0)
    >>> len(epoch)
    3
    >>> [y_batch.tolist() for X_batch, y_batch in epoch]
    [[2, 4], [3, 0], [1]]
    >>> [y_batch.tolist() for X_batch, y_batch in epoch]
    [[4, 1], [2, 0], [3]]
    """
    several = isinstance(X, tuple)
    inputs = tuple(np.asarray(array) for array in (X if isinstance(X, tuple) else (X,)))
    targets = np.asarray(y)
    n = _examples(inputs, targets, several=several)
    return Batches(
        inputs,
        targets,
        _batch_size(size, n, drop_last=drop_last),
        np.random.default_rng(rng),
        several=several,
        shuffle=shuffle,
        drop_last=drop_last,
    )


def _examples(inputs: tuple[Array, ...], targets: Array, *, several: bool) -> int:
    """Count the examples, on which all arrays must agree."""
    lengths = {array.shape[:1] for array in (*inputs, targets)}
    if not inputs or len(lengths) != 1 or lengths <= {(), (0,)}:
        named = [
            f"X[{i}]{array.shape}" if several else f"X{array.shape}"
            for i, array in enumerate(inputs)
        ]
        raise DataError(
            "batches: expected X and y with as many rows as each other, at least one; "
            f"got {', '.join([*named, f'y{targets.shape}'])}. Rows are examples"
        )
    return len(targets)


def _batch_size(size: int, n: int, *, drop_last: bool) -> int:
    """Return the size once it is known to make a batch."""
    try:
        number = operator.index(size)
    except TypeError:
        number = 0
    if number < 1:
        raise DataError(
            f"batches: expected a whole size of at least 1; got {size!r}. "
            "32 to 256 are usual"
        )
    if drop_last and number > n:
        raise DataError(
            f"batches: expected at least one whole batch; got size {number} for {n} "
            "examples with drop_last. Choose a smaller size"
        )
    return number
