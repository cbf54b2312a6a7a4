"""Numbers that a compiled step computes anew: a learning rate, a count of steps."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

from tinygrad_nn.errors import CompileError

__all__ = ["Scalar"]


def _told(x: Any) -> str:
    return x.text if isinstance(x, Scalar) else repr(x)


def _number(x: Any) -> Any:
    """Return the plain number of an operand, or None where it is none."""
    if isinstance(x, Scalar):
        return x.value
    if isinstance(x, (int, float)) and type(x).__module__ == "builtins":
        return float(x)
    if hasattr(x, "dtype") and not hasattr(x, "requires_grad"):  # NumPy's
        raise CompileError(
            "compile: a live number, such as a learning rate, meets Tensors and Python "
            f"numbers; got {type(x).__name__}. Write float(x), or tg.Tensor(x)"
        )
    return None


def _binary(sign: str, compute: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Make an operator and its mirror image."""

    def left(self: Scalar, other: Any) -> Any:
        number = _number(other)
        if number is None:
            return NotImplemented
        return Scalar(
            compute(self.value, number), f"({self.text} {sign} {_told(other)})"
        )

    def right(self: Scalar, other: Any) -> Any:
        number = _number(other)
        if number is None:
            return NotImplemented
        return Scalar(
            compute(number, self.value), f"({_told(other)} {sign} {self.text})"
        )

    return left, right


def _refused(what: str) -> Callable[..., NoReturn]:
    """Make a method that says why a number is not known yet."""

    def method(self: Scalar, *_: object) -> NoReturn:
        raise CompileError(
            f"compile: {what} of the live number {self.text} would be the same in "
            "every later step. Use + - * / and **, as in lr ** 0.5, or tg.where on "
            "Tensors; or compute it outside of the step"
        )

    return method


class Scalar:
    """A Python number that remembers how it was computed.

    While a step is traced, an optimiser's rule is given its learning rate and its
    counts as these. Ops compute with the plain numbers that they stand for, so float32
    stays float32; the compiled step computes them again, on plain numbers. It is no
    float: what would make one of it, a comparison or ``math.sqrt``, is refused.

    >>> rate = Scalar(0.5, "lr")
    >>> (rate / (1 - 0.5 ** Scalar(1.0, "count"))).text
    '(lr / (1 - (0.5 ** count)))'
    """

    __slots__ = ("text", "value")

    def __init__(self, value: float, text: str) -> None:
        self.value = float(value)
        self.text = text

    def __repr__(self) -> str:
        """Show how it is computed."""
        return f"Scalar({self.text})"

    def __format__(self, spec: str) -> str:
        """Format the number as it is while the step is traced, to be printed then."""
        return format(self.value, spec) if spec else repr(self)

    def __array_ufunc__(
        self, ufunc: Any, _method: str, *inputs: Any, **_options: Any
    ) -> Any:
        """Leave Tensors to themselves; refuse arrays, and NumPy's functions."""
        if any(hasattr(x, "requires_grad") for x in inputs):
            return NotImplemented
        for x in inputs:
            _number(x)
        return _refused(f"np.{ufunc.__name__}")(self)

    __add__, __radd__ = _binary("+", operator.add)
    __sub__, __rsub__ = _binary("-", operator.sub)
    __mul__, __rmul__ = _binary("*", operator.mul)
    __truediv__, __rtruediv__ = _binary("/", operator.truediv)
    __pow__, __rpow__ = _binary("**", operator.pow)

    def __neg__(self) -> Scalar:
        """Return minus the number."""
        return Scalar(-self.value, f"(-{self.text})")

    def __pos__(self) -> Scalar:
        """Return the number."""
        return self

    def __abs__(self) -> Scalar:
        """Return its size."""
        return Scalar(abs(self.value), f"abs({self.text})")

    __hash__ = object.__hash__
    __eq__ = _refused("a comparison")
    __ne__ = _refused("a comparison")
    __lt__ = _refused("a comparison")
    __le__ = _refused("a comparison")
    __gt__ = _refused("a comparison")
    __ge__ = _refused("a comparison")
    __bool__ = _refused("bool")
    __float__ = _refused("float")
    __int__ = _refused("int")
    __index__ = _refused("an index")
    __round__ = _refused("round")
    __mod__ = __rmod__ = _refused("%")
    __floordiv__ = __rfloordiv__ = _refused("//")
