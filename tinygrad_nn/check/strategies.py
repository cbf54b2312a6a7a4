"""Hypothesis strategies for gradient checks: arrays on which numbers are worth asking.

No subnormals, nothing below ``smallest``, no kinks and no ties unless they are asked
for: a property that fails on them fails for a reason of its own. Needs the extra
``check`` (Hypothesis).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_nn.errors import MissingExtraError, OpError
from tinygrad_nn.shapes import Shape

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError:
    raise MissingExtraError(
        "tinygrad_nn.check.strategies: needs Hypothesis: "
        "pip install 'tinygrad_nn[check]'"
    ) from None

__all__ = ["DOMAINS", "arrays", "axes", "broadcastable", "indices", "shapes"]

DOMAINS: dict[str, tuple[float, float]] = {
    "real": (-1e3, 1e3),
    "positive": (1e-3, 1e3),
    "unit": (1e-3, 1 - 1e-3),
    "open": (-1 + 1e-3, 1 - 1e-3),
    "small": (-3.0, 3.0),
    "above one": (1 + 1e-3, 1e3),
}
"""Intervals by name, each inside the domain of the functions that need it."""


def shapes(
    *, least: int = 0, most: int = 3, side: int = 4, empty: bool = False
) -> st.SearchStrategy[Shape]:
    """Shapes with ``least`` to ``most`` axes, each up to ``side`` long.

    Examples
    --------
    >>> shapes(least=1, most=2).example()  # doctest: +SKIP
    (3, 1)
    """
    return hnp.array_shapes(
        min_dims=least, max_dims=most, min_side=0 if empty else 1, max_side=side
    )


@st.composite
def arrays(
    draw: Any,
    /,
    shape: Any = None,
    domain: str | tuple[float, float] = "small",
    *,
    smallest: float = 1e-6,
    away_from: Sequence[float] = (),
    margin: float = 1e-2,
    distinct: bool = False,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Floating arrays that are safe to differentiate.

    Parameters
    ----------
    shape
        A shape, or a strategy of shapes; `shapes` by default.
    domain
        A name in `DOMAINS`, or an interval.
    smallest
        No element but 0 is smaller than this.
    away_from, margin
        Numbers, as those of kinks, to which no element is nearer than ``margin``.
    distinct
        No two elements are nearer to each other than ``margin``: no ties of a maximum,
        no neighbours that change places in a sort.
    dtype
        Of the array.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(arrays((2, 3), "positive"))
    ... def test(x):
    ...     assert x.shape == (2, 3) and (x > 0).all()
    >>> test()
    """
    low, high = _interval(domain)
    if shape is None:
        shape = shapes()
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    count = int(np.prod(shape))
    steps = int((high - low) / margin) if distinct else 0
    if distinct and steps < 4 * count:
        raise OpError(
            f"arrays: expected room for {count} distinct elements; got an interval of "
            f"{high - low:g} with margin {margin:g}. Make the margin smaller"
        )
    if distinct:
        places = draw(
            st.lists(
                st.integers(0, steps - 1), min_size=count, max_size=count, unique=True
            )
        )
        offset = draw(st.floats(0, 0.5))
        values = low + (np.array(places, float) + offset) * (high - low) / steps
    else:
        element = st.floats(low, high, allow_nan=False, allow_subnormal=False)
        values = np.array(draw(st.lists(element, min_size=count, max_size=count)))
    values = values.reshape(shape)
    values[np.abs(values) < smallest] = 0.0
    if not low <= 0.0 <= high:
        values[values == 0.0] = low if abs(low) >= smallest else high
    for kink in away_from:
        near = np.abs(values - kink) < margin
        above = kink + margin if kink + margin <= high else kink - margin
        values[near] = above
    made: np.ndarray = values.astype(dtype)
    return made


@st.composite
def broadcastable(
    draw: Any, /, count: int = 2, domain: Any = "small", **settings: Any
) -> tuple[np.ndarray, ...]:
    """Tuples of arrays whose shapes broadcast together, 0-d and stretched ones too.

    Parameters
    ----------
    count
        How many.
    domain, settings
        As for `arrays`.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(broadcastable())
    ... def test(xy):
    ...     x, y = xy
    ...     assert np.broadcast_shapes(x.shape, y.shape) == (x + y).shape
    >>> test()
    """
    found = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=4)
    )
    return tuple(
        draw(arrays(shape, domain, **settings)) for shape in found.input_shapes
    )


def axes(ndim: int) -> st.SearchStrategy[Any]:
    """What ``axis=`` can be for an array of ``ndim`` axes: None, one, or several.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(axes(2))
    ... def test(axis):
    ...     np.sum(np.ones((2, 3)), axis=axis)
    >>> test()
    """
    if not ndim:
        return st.none()
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(
        one, min_size=1, max_size=ndim, unique_by=lambda axis: axis % ndim
    ).map(tuple)
    return st.one_of(st.none(), one, several)


def indices(shape: Shape) -> st.SearchStrategy[Any]:
    """What an array of a shape can be indexed with: slices, integers, arrays, masks.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(indices((4, 3)))
    ... def test(index):
    ...     np.ones((4, 3))[index]
    >>> test()
    """
    kinds: list[st.SearchStrategy[Any]] = [
        hnp.basic_indices(shape, allow_newaxis=True),
        hnp.arrays(bool, shape),
    ]
    if shape and all(shape):
        kinds.append(hnp.integer_array_indices(shape))
    return st.one_of(kinds)


def _interval(domain: str | tuple[float, float]) -> tuple[float, float]:
    if isinstance(domain, str):
        if domain not in DOMAINS:
            raise OpError(
                f"arrays: domain is an interval, or one of {', '.join(DOMAINS)}; "
                f"got {domain!r}"
            )
        return DOMAINS[domain]
    low, high = domain
    return float(low), float(high)
