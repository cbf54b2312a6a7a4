"""Arguments in structures: dicts, lists, tuples and models, taken apart and put back.

A *leaf* is what may be differentiated: an array, a Tensor or a number that is
floating, and a list of numbers, which is an array as to NumPy. A named tuple is always
a structure. Everything else, whole numbers, text, None, is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import DtypeError, OpError, ShapeError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.shapes import Shape

__all__ = ["Opened", "fitted", "flatten", "models_are", "opened"]


Replaced = Callable[[Any, Mapping[str, Any]], Any]

_models: list[tuple[type, Replaced]] = []


def models_are(cls: type, replaced: Replaced) -> None:
    """Let instances of ``cls`` be structures of their ``named_parameters()``.

    ``replaced(model, values)`` returns the model with other parameters in their places.
    """
    _models.append((cls, replaced))


class How(NamedTuple):
    """How a structure is put together again from new leaves."""

    model: Callable[[Any, dict[str, Any]], Any]
    other: Callable[[Any], Any]


AS_GIVEN = How(model=lambda model, _: model, other=lambda x: x)
"""As the argument of a function: a model is itself, for its parameters are leaves."""

AS_GRADIENT = How(model=lambda _, values: values, other=lambda _: None)
"""As a gradient: of a model a dict, and None for what was only passed on."""


def _renewed(model: Any, values: Mapping[str, Any]) -> Any:
    replaced = next(how for cls, how in _models if isinstance(model, cls))
    return replaced(model, values)


RENEWED = How(model=_renewed, other=lambda x: x)
"""As it was, with other numbers in it."""

Close = Callable[[Iterator[Any], How], Any]


class Opened(NamedTuple):
    """A structure taken apart.

    Attributes
    ----------
    leaves
        What may be differentiated, in order.
    paths
        Where each stands, as one writes it: ``['W'][0]``.
    in_model
        Whether a leaf is a parameter of a model.
    close
        Puts new leaves into the structure (see `How`).
    """

    leaves: list[Any]
    paths: list[str]
    in_model: list[bool]
    close: Close

    def closed(self, values: Sequence[Any], how: How = AS_GRADIENT) -> Any:
        """Return the structure with other leaves."""
        return self.close(iter(values), how)


def opened(x: Any, differs: Callable[[Any], bool] | None = None) -> Opened:
    """Take a structure apart. What is no structure is a leaf, whatever it is.

    ``differs`` says what else is a leaf: by default, what has a slope.
    """
    found = Opened([], [], [], _next)
    close = _open(x, "", found, differs or _is_floating, inside=False)
    return found._replace(close=close)


def _next(values: Iterator[Any], _how: How) -> Any:
    return next(values)


def _open(
    x: Any, path: str, found: Opened, differs: Callable[[Any], bool], *, inside: bool
) -> Close:
    for cls, _ in _models:
        if isinstance(x, cls):
            return _open_model(x, path, found)
    if isinstance(x, dict):
        parts = {
            key: _open(item, f"{path}[{key!r}]", found, differs, inside=True)
            for key, item in x.items()
        }
        return lambda values, how: _dict_of(x, parts, values, how)
    if isinstance(x, (list, tuple)) and not _is_data(x):
        names = getattr(x, "_fields", None)
        labels = (
            [f".{n}" for n in names] if names else [f"[{i}]" for i in range(len(x))]
        )
        items = [
            _open(item, path + label, found, differs, inside=True)
            for item, label in zip(x, labels, strict=True)
        ]

        def close(values: Iterator[Any], how: How) -> Any:
            new = [item(values, how) for item in items]
            return type(x)(*new) if names else type(x)(new)

        return close
    if inside and not differs(x):
        return lambda _, how: how.other(x)
    found.leaves.append(x)
    found.paths.append(path)
    found.in_model.append(False)
    return _next


def _open_model(model: Any, path: str, found: Opened) -> Close:
    parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    for name, parameter in parameters:
        found.leaves.append(parameter)
        found.paths.append(f"{path}[{name!r}]")
        found.in_model.append(True)
    names = [name for name, _ in parameters]
    return lambda values, how: how.model(model, {n: next(values) for n in names})


def _dict_of(
    x: dict[Any, Any], parts: Mapping[Any, Close], values: Iterator[Any], how: How
) -> Any:
    new = {key: part(values, how) for key, part in parts.items()}
    if type(x) is dict:
        return new
    copy = x.copy()  # an OrderedDict, or a defaultdict with its default
    copy.update(new)
    return copy


_NUMBERS = (int, float, np.generic)


def _is_data(x: Any) -> bool:
    """Whether a list or tuple is nothing but numbers: an array, as to NumPy."""
    if hasattr(x, "_fields"):
        return False
    for item in x:
        if isinstance(item, (list, tuple)):
            if not item or not _is_data(item):
                return False
        elif not isinstance(item, _NUMBERS):
            return False
    return True


def _is_floating(x: Any) -> bool:
    """Whether something in a structure has a slope, or is refused for trying."""
    if isinstance(x, Node):
        return bool(data_of(x).dtype.kind == "f")
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.kind in "fc"
    if isinstance(x, (list, tuple)):  # of numbers
        return bool(x) and np.asarray(x).dtype.kind in "fc"
    return isinstance(x, (float, complex))


# --- a second structure beside the first -----------------------------------------


def fitted(title: str, what: str, first: Any, second: Any) -> list[Any]:
    """Return the leaves of ``second`` that stand where those of ``first`` do.

    Raises
    ------
    OpError
        Where the structures differ.
    ShapeError
        Where a leaf has another shape: nothing is broadcast.
    """
    found: list[Any] = []
    _fit(title, what, first, second, "", found, inside=False)
    return found


def _fit(
    title: str,
    what: str,
    first: Any,
    second: Any,
    path: str,
    found: list[Any],
    *,
    inside: bool,
) -> None:
    where = f" at {path}" if path else ""
    for cls, _ in _models:
        if isinstance(first, cls):
            first = _named(first)
            second = _named(second) if isinstance(second, cls) else second
    if isinstance(first, dict):
        if not isinstance(second, Mapping) or set(second) != set(first):
            got = list(second) if isinstance(second, Mapping) else type(second).__name__
            raise OpError(
                f"{title}: expected a {what} with the keys {list(first)}{where}; "
                f"got {got}"
            )
        for key, item in first.items():
            _fit(title, what, item, second[key], f"{path}[{key!r}]", found, inside=True)
    elif isinstance(first, (list, tuple)) and not _is_data(first):
        if not isinstance(second, (list, tuple)) or len(second) != len(first):
            n = len(second) if isinstance(second, (list, tuple)) else None
            got = type(second).__name__ if n is None else f"{n}"
            raise OpError(
                f"{title}: expected a {what} with {len(first)} parts{where}; got {got}"
            )
        for i, item in enumerate(first):
            _fit(title, what, item, second[i], f"{path}[{i}]", found, inside=True)
    elif not inside or _is_floating(first):
        found.append(_like(title, f"{what}{where}", second, np.shape(data_of(first))))


def _named(model: Any) -> dict[str, Any]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def _like(title: str, what: str, x: Any, size: Shape) -> Any:
    """Refuse a tangent that would broadcast: its shape is its variable's."""
    x = x if isinstance(x, Node) else np.asarray(x)
    if np.shape(data_of(x)) != size:
        raise ShapeError(
            f"{title}: expected a {what} of shape {size}; got {np.shape(data_of(x))}"
        )
    return x


# --- one vector ------------------------------------------------------------------


def flatten(structure: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return all numbers of a structure as one vector, and the way back.

    For optimisers that want a vector, such as those of SciPy. Both ways are recorded:
    they may stand inside of a function that is differentiated.

    Parameters
    ----------
    structure
        An array, a model, or a dict, list or tuple of such, nested. Of a model, the
        parameters that require a gradient.

    Returns
    -------
    vector : array or Tensor
        Of one axis; a Tensor if a leaf is one, as the parameters of a model are.
    unflatten : callable
        From a vector of that length to the structure: shapes and dtypes as before. A
        model comes back as another model, whose parameters are the vector's numbers
        and which shares all the rest; the one given is left as it is.

    Raises
    ------
    ShapeError
        By ``unflatten``, for a vector of another length.
    DtypeError
        For what is no real number.

    Examples
    --------
    >>> vector, unflatten = flatten({"W": np.eye(2), "b": np.zeros(1)})
    >>> vector
    array([1., 0., 0., 1., 0.])
    >>> unflatten(2 * vector)["W"]
    array([[2., 0.],
           [0., 2.]])
    """
    found = opened(structure)
    leaves = [x if isinstance(x, Node) else np.asarray(x) for x in found.leaves]
    for x in leaves:
        if data_of(x).dtype.kind not in "fiub":
            raise DtypeError(
                f"flatten: expected real numbers; got dtype {data_of(x).dtype}"
            )
    kinds = [(np.shape(data_of(x)), _dtype(x)) for x in leaves]
    length = sum(int(np.prod(size)) for size, _ in kinds)

    def unflatten(vector: Any) -> Any:
        if not isinstance(vector, Node):
            vector = np.asarray(vector)
        if vector.shape != (length,):
            raise ShapeError(
                f"unflatten: expected a vector of {length} numbers; got shape "
                f"{vector.shape}"
            )
        parts = []
        start = 0
        for size, dtype in kinds:
            stop = start + int(np.prod(size))
            part = ops.reshape(vector[start:stop], size)
            cast = part.dtype != dtype or not isinstance(part, Node)
            parts.append(ops.astype(part, dtype) if cast else part)
            start = stop
        return found.closed(parts, RENEWED)

    return joined(leaves), unflatten


def _dtype(x: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = data_of(x).dtype
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def joined(leaves: Sequence[Any]) -> Any:
    """Return the numbers of all leaves in one axis."""
    if not leaves:
        return np.zeros(0)
    flat = [ops.reshape(x, (-1,)) for x in leaves]
    whole = ops.concatenate(*flat) if len(flat) > 1 else ops.astype(flat[0])
    dtype = np.result_type(*[_dtype(x) for x in leaves])
    return whole if whole.dtype == dtype else ops.astype(whole, dtype)
