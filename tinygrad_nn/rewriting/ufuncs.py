"""What an op's body says to NumPy, found by running it on a probe.

The body of `tanh` is ``np.tanh(x)``: one call of a ufunc, so the op *is* that ufunc,
and a backend may write the call with an ``out=``, as a line of C, or for another array
namespace. Nothing about an op is stated a second time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinygrad_nn.op import REGISTRY, Op

__all__ = ["op_for", "ufunc_of"]


class _Probe(NDArrayOperatorsMixin):
    """Stands for an operand, and notes the one ufunc that is called on it."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        self.calls.append((ufunc if method == "__call__" else None, inputs))
        return _Probe(self.calls)

    def __array_function__(self, *_: Any) -> Any:
        raise _TooMuchError


class _TooMuchError(Exception):
    """The body does more than call one ufunc."""


@lru_cache(maxsize=1024)
def ufunc_of(op: Op) -> np.ufunc | None:
    """Return the ufunc that an elementwise op is, or None where it is several.

    >>> ufunc_of(REGISTRY["tanh"]), ufunc_of(REGISTRY["sigmoid"])
    (<ufunc 'tanh'>, None)
    """
    if not op.pointwise or op.variadic:
        return None
    calls: list[Any] = []
    probes = [_Probe(calls) for _ in op.operands]
    try:
        op.function(*probes)
    except Exception:  # noqa: BLE001 (a body may do anything with a probe)
        return None
    if len(calls) != 1 or len(calls[0][1]) != len(probes):
        return None
    ufunc, inputs = calls[0]
    if getattr(np, getattr(ufunc, "__name__", ""), None) is not ufunc:
        return None  # somebody else's, whom a backend does not know
    same = all(a is b for a, b in zip(inputs, probes, strict=True))
    return ufunc if same else None


@lru_cache(maxsize=1)
def _by_ufunc() -> dict[Any, Op]:
    found: dict[Any, Op] = {}
    for op in REGISTRY.values():
        if op.function.__module__.startswith("tinygrad_nn.ops."):
            ufunc = ufunc_of(op)
            if ufunc is not None:
                found.setdefault(ufunc, op)
    return found


def op_for(ufunc: Any) -> Op | None:
    """Return the op of the house that is a ufunc, or None."""
    return _by_ufunc().get(ufunc)
