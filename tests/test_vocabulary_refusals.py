"""What a function refuses, it refuses by its name, with what it was given."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional
from tinygrad_nn.functional import linalg

_SHAPE = (3, 4)
_SAME = {"amax": "max", "amin": "min"}
_NO_AXIS = {"matmul", "matvec", "vecmat"}  # they refuse axis= as such


def _operands(call: Any) -> list[tg.Tensor] | None:
    """Return a matrix for each array; None where something else is wanted, too."""
    needed = [
        name
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_KEYWORD
    ]
    arrays = {"a", "arr", "x", "x1", "x2", "y", "ary", "m", "f", "b", "filt"}
    if not needed or not {*needed} <= arrays:
        return None
    rng = np.random.default_rng(0)
    return [tg.Tensor(rng.normal(size=_SHAPE), requires_grad=True) for _ in needed]


_ALONG = [
    (name, call)
    for room in (functional, linalg)
    for name in room.__all__
    if name not in _NO_AXIS
    and inspect.isroutine(call := getattr(room, name))
    and "axis" in inspect.signature(call).parameters
    and _operands(call) is not None
]


@pytest.mark.parametrize("axis", [9, "rows"])
@pytest.mark.parametrize(("name", "call"), _ALONG)
def test_a_wrong_axis_is_refused_by_name(name: str, call: Any, axis: Any) -> None:
    """Whichever function hears of an axis that is none says its name and the shape."""
    with pytest.raises((ValueError, TypeError)) as refused:
        call(*_operands(call), axis=axis)
    assert isinstance(refused.value, tg.errors.TinygradError)
    assert re.match(
        rf"(np\.|np\.linalg\.)?{_SAME.get(name, name)}: ", str(refused.value)
    )
    assert f"{_SHAPE}" in str(refused.value).partition("; got ")[2]


def test_two_names_of_one_limit_are_refused() -> None:
    """NumPy forbids a_min beside min, and so does a Tensor."""
    x = tg.Tensor([1.0, 2.0])
    with pytest.raises(tg.errors.OpError, match=r"a_min and min .*; got both"):
        np.clip(x, 0, 1, min=0.5)
    with pytest.raises(tg.errors.OpError, match=r"a_max and max .*; got both"):
        np.clip(x, 0, 1, max=0.5)


def test_counts_of_what_is_no_integer_are_refused_with_what_was_given() -> None:
    """The error of bincount says which dtype, and which number is too small."""
    with pytest.raises(tg.errors.OpError, match="got dtype float64"):
        tg.bincount(tg.Tensor([0.5]))
    with pytest.raises(tg.errors.OpError, match="got dtype int64, the least -1"):
        tg.bincount(np.array([-1, 2]))
