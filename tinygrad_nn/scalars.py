"""Numbers that a compiled step computes anew: a learning rate, a count of steps."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

__all__ = ["Scalar"]


def _told(x: Any) -> str:
    return x.text if isinstance(x, Scalar) else repr(x)


def _binary(sign: str, compute: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Make an operator and its mirror image."""

    def left(self: Scalar, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        value = compute(float(self), float(other))
        return Scalar(value, f"({self.text} {sign} {_told(other)})")

    def right(self: Scalar, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        value = compute(float(other), float(self))
        return Scalar(value, f"({_told(other)} {sign} {self.text})")

    return left, right


class Scalar(float):
    """A Python number that remembers how it was computed.

    While a step is traced, an optimiser's rule is given its learning rate and its
    counts as these. Ops compute with the plain numbers that they are, so float32
    stays float32; the compiled step computes them again, on plain numbers.

    >>> rate = Scalar(0.5, "lr")
    >>> (rate / (1 - 0.5 ** Scalar(1.0, "count"))).text
    '(lr / (1 - (0.5 ** count)))'
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, value: float, text: str) -> Scalar:
        """Make a number whose value is computed by a line of Python."""
        scalar = float.__new__(cls, value)
        scalar.text = text
        return scalar

    __add__, __radd__ = _binary("+", operator.add)
    __sub__, __rsub__ = _binary("-", operator.sub)
    __mul__, __rmul__ = _binary("*", operator.mul)
    __truediv__, __rtruediv__ = _binary("/", operator.truediv)
    __pow__, __rpow__ = _binary("**", operator.pow)

    def __neg__(self) -> Scalar:
        """Return minus the number."""
        return Scalar(-float(self), f"(-{self.text})")
