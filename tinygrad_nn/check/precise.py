"""Real numbers of many digits that NumPy's functions take, over mpmath.

In an object array they run an op's own body and plain NumPy code: operators are
Python's, and ``np.exp`` calls each element's ``exp``. As floats they go on where
Python raises: 1 / 0 is infinite and log(-1) is nan.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tinygrad_nn.errors import MissingExtraError, UnsupportedError

__all__ = ["Precise", "PreciseArray", "Precision"]

_LARGEST_DENOMINATOR = 10**6


class Precision:
    """How many digits; called with a float, it makes the number of exactly its value.

    Parameters
    ----------
    digits
        Of every number and result.
    fractions
        Take a float such as 0.002 for the fraction that it rounds, 1/500, where there
        is one with a small denominator, and one such as ``np.pi`` or ``np.log(2)`` for
        the constant. Not in numbers made by `exact`.

    Raises
    ------
    MissingExtraError
        Where mpmath is not installed.

    Examples
    --------
    >>> thirty = Precision(30)
    >>> np.exp(np.array([thirty(1.0)]))
    array([2.71828182845904523536028747135], dtype=object)
    >>> thirty(0.1), Precision(30, fractions=True)(0.1)
    (0.100000000000000005551115123126, 0.100000000000000000000000000000)
    """

    __slots__ = ("_known", "context", "digits", "fractions")

    def __init__(self, digits: int, *, fractions: bool = False) -> None:
        try:
            import mpmath  # noqa: PLC0415 (an optional extra)
        except ImportError:
            raise MissingExtraError(
                "multiprecision needs mpmath: pip install 'tinygrad_nn[check]'"
            ) from None
        self.context = mpmath.mp.clone()
        self.context.dps = digits
        self.digits = digits
        self.fractions = fractions
        self._known: dict[float, Any] = {}

    def __call__(self, x: float) -> Precise:
        """Make the number of a constant."""
        return Precise(self.context.mpf(self.constant(x)), self)

    def exact(self, x: float) -> Precise:
        """Make the number of exactly this value."""
        return Precise(self.context.mpf(x), self)

    def constant(self, x: float) -> Any:
        """Return a float as mpmath takes it: itself, or the fraction that it rounds."""
        if not self.fractions or not isinstance(x, float) or not math.isfinite(x):
            return x
        found = self._known.get(x)
        if found is None:
            found = x
            near = Fraction(x).limit_denominator(_LARGEST_DENOMINATOR)
            if float(near) == x != near:
                found = self.context.mpf(near.numerator) / near.denominator
            elif abs(x) in _CONSTANTS:
                found = _CONSTANTS[abs(x)][1](self.context) * (1 if x > 0 else -1)
            self._known[x] = found
        return found

    @property
    def read(self) -> list[Fraction | str]:
        """Return what floats were taken for, without signs: fractions, then names."""
        read = [abs(x) for x, taken in self._known.items() if taken is not x]
        names = sorted({_CONSTANTS[x][0] for x in read if x in _CONSTANTS})
        found = {
            Fraction(x).limit_denominator(_LARGEST_DENOMINATOR)
            for x in read
            if x not in _CONSTANTS
        }
        return [*sorted(found, key=lambda q: (q.denominator, q.numerator)), *names]


_Constant = tuple[str, Callable[[Any], Any]]
_CONSTANTS: Mapping[float, _Constant] = {
    math.pi: ("pi", lambda context: +context.pi),
    1 / math.pi: ("1 / pi", lambda context: 1 / context.pi),
    math.pi / 180: ("pi / 180", lambda context: context.pi / 180),
    180 / math.pi: ("180 / pi", lambda context: 180 / context.pi),
    math.log(2): ("log(2)", lambda context: context.log(2)),
    1 / math.log(2): ("1 / log(2)", lambda context: 1 / context.log(2)),
    1 / math.log(10): ("1 / log(10)", lambda context: 1 / context.log(10)),
    math.sqrt(2): ("sqrt(2)", lambda context: context.sqrt(2)),
    math.sqrt(0.5): ("sqrt(1 / 2)", lambda context: 1 / context.sqrt(2)),
    2 / math.sqrt(math.pi): (
        "2 / sqrt(pi)",
        lambda context: 2 / context.sqrt(context.pi),
    ),
    math.sqrt(math.pi) / 2: (
        "sqrt(pi) / 2",
        lambda context: context.sqrt(context.pi) / 2,
    ),
    math.sqrt(2 * math.pi): (
        "sqrt(2 pi)",
        lambda context: context.sqrt(2 * context.pi),
    ),
    math.sqrt(2 / math.pi): (
        "sqrt(2 / pi)",
        lambda context: context.sqrt(2 / context.pi),
    ),
}
"""Numbers of analysis that stand in code as floats, and how they are written."""


def _operand(self: Precise, other: Any) -> Any:
    """Return the other operand as mpmath takes it, or None."""
    if other.__class__ is Precise:
        return other.value
    if isinstance(other, (np.number, np.bool_)):
        other = other.item()
    if isinstance(other, float):
        return self.kind.constant(other)
    return other if isinstance(other, int) else None


def _binary(function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def forward(self: Precise, other: Any) -> Any:
        other = other.value if other.__class__ is Precise else _operand(self, other)
        if other is None:
            return NotImplemented
        return Precise(function(self.value, other), self.kind)

    forward.__doc__ = function.__doc__

    def backward(self: Precise, other: Any) -> Any:
        other = _operand(self, other)
        if other is None:
            return NotImplemented
        return Precise(function(other, self.value), self.kind)

    return forward, backward


def _divided(x: Any, y: Any) -> Any:
    try:
        return x / y
    except ZeroDivisionError:
        context = (x if hasattr(x, "context") else y).context
        if x == 0 or x != x:  # noqa: PLR0124 (only nan differs from itself)
            return context.nan
        return context.inf if x > 0 else -context.inf


def _raised(x: Any, y: Any) -> Any:
    context = (x if hasattr(x, "context") else y).context
    try:
        found = x**y
    except ZeroDivisionError:
        return context.inf
    return found if isinstance(found, context.mpf) else context.nan


def _context(x: Any, y: Any) -> Any:
    return (x if hasattr(x, "context") else y).context


def _whole_quotient(x: Any, y: Any) -> Any:
    quotient = _divided(x, y)
    context = _context(x, y)
    return context.floor(quotient) if context.isfinite(quotient) else context.nan


def _remainder(x: Any, y: Any) -> Any:
    return x - _whole_quotient(x, y) * y


def _remainder_of_truncation(x: Any, y: Any) -> Any:
    """Rest of a division that rounds toward zero: ``numpy.fmod``."""
    rest = _remainder(abs(x), abs(y))
    return -rest if x < 0 else rest


def _angle(x: Any, y: Any) -> Any:
    """Angle of the vector of two numbers: ``numpy.arctan2``."""
    return _context(x, y).atan2(x, y)


def _length(x: Any, y: Any) -> Any:
    """Length of the vector of two numbers: ``numpy.hypot``."""
    return _context(x, y).hypot(x, y)


def _comparison(function: Callable[[Any, Any], bool]) -> Any:
    def compare(self: Precise, other: Any) -> Any:
        other = _operand(self, other)
        return NotImplemented if other is None else bool(function(self.value, other))

    return compare


def _function(name: str) -> Any:
    def apply(self: Precise) -> Precise:
        context = self.kind.context
        try:
            found = getattr(context, name)(self.value)
        except (ValueError, ZeroDivisionError):
            found = context.nan
        # What left the real numbers is nan, as with floats.
        real = isinstance(found, context.mpf)
        return Precise(found if real else context.nan, self.kind)

    apply.__doc__ = f"``numpy.{name}`` of the number."
    return apply


def _made_a_float() -> UnsupportedError:
    return UnsupportedError(
        "multiprecision: a number of many digits was made a float: by float(), math, "
        ".astype(…) or by writing it into an array of floats. Compute with NumPy's "
        "functions on arrays"
    )


class Precise:
    """A real number of many digits."""

    __slots__ = ("kind", "value")

    def __init__(self, value: Any, kind: Precision) -> None:
        self.value = value
        self.kind = kind

    __add__, __radd__ = _binary(operator.add)
    __sub__, __rsub__ = _binary(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul)
    __truediv__, __rtruediv__ = _binary(_divided)
    __pow__, __rpow__ = _binary(_raised)

    __mod__, __rmod__ = _binary(_remainder)
    __floordiv__, __rfloordiv__ = _binary(_whole_quotient)
    arctan2, _ = _binary(_angle)
    fmod, _ = _binary(_remainder_of_truncation)
    hypot, _ = _binary(_length)

    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __eq__ = _comparison(operator.eq)
    __ne__ = _comparison(operator.ne)
    __hash__ = None  # type: ignore[assignment]

    arccos = _function("acos")
    arccosh = _function("acosh")
    arcsin = _function("asin")
    arcsinh = _function("asinh")
    arctan = _function("atan")
    arctanh = _function("atanh")
    ceil = _function("ceil")
    cos = _function("cos")
    cosh = _function("cosh")
    digamma = _function("digamma")
    erf = _function("erf")
    erfc = _function("erfc")
    erfinv = _function("erfinv")
    exp = _function("exp")
    expm1 = _function("expm1")
    floor = _function("floor")
    gamma = _function("gamma")
    log = _function("log")
    log10 = _function("log10")
    log1p = _function("log1p")
    rint = _function("nint")
    sin = _function("sin")
    sinh = _function("sinh")
    sqrt = _function("sqrt")
    tan = _function("tan")
    tanh = _function("tanh")

    def gammaln(self) -> Precise:
        """Logarithm of the absolute value of the gamma function."""
        return abs(self.gamma()).log()  # type: ignore[no-any-return]

    def polygamma(self, order: int) -> Precise:
        """Derivative of digamma of this order."""
        return Precise(self.kind.context.psi(order, self.value), self.kind)

    def besseli(self, order: int) -> Precise:
        """Modified Bessel function of the first kind."""
        return Precise(self.kind.context.besseli(order, self.value), self.kind)

    def besselj(self, order: int) -> Precise:
        """Bessel function of the first kind."""
        return Precise(self.kind.context.besselj(order, self.value), self.kind)

    def log2(self) -> Precise:
        """``numpy.log2`` of the number."""
        return Precise(self.kind.context.log(self.value, 2), self.kind)

    def cbrt(self) -> Precise:
        """``numpy.cbrt`` of the number: the real root, of negative numbers too."""
        root = self.kind.context.cbrt(abs(self.value))
        return Precise(-root if self.value < 0 else root, self.kind)

    def trunc(self) -> Precise:
        """``numpy.trunc`` of the number."""
        whole: Precise = abs(self).floor()
        return -whole if self.value < 0 else whole

    def exp2(self) -> Precise:
        """``numpy.exp2`` of the number."""
        return Precise(2**self.value, self.kind)

    def __neg__(self) -> Precise:
        return Precise(-self.value, self.kind)

    def __pos__(self) -> Precise:
        return self

    def __abs__(self) -> Precise:
        return Precise(abs(self.value), self.kind)

    def __bool__(self) -> bool:
        return bool(self.value != 0)

    def __floor__(self) -> Any:
        return self.floor()

    def __trunc__(self) -> Any:
        return self.trunc()

    def __ceil__(self) -> Any:
        return self.ceil()

    def conjugate(self) -> Precise:
        """Itself: it is real."""
        return self

    def __float__(self) -> float:
        """Refuse: a float in the middle of a computation would end its digits."""
        raise _made_a_float()

    def __int__(self) -> int:
        """Refuse, as for `__float__`."""
        return int(self.__float__())

    def rounded(self) -> float:
        """Return the nearest float."""
        return float(self.value)

    def text(self, digits: int) -> str:
        """Write so many digits."""
        return str(self.kind.context.nstr(self.value, digits))

    def __repr__(self) -> str:
        """Write all digits."""
        context = self.kind.context
        return str(context.nstr(self.value, context.dps, strip_zeros=False))


class PreciseArray(np.ndarray):
    """An object array of `Precise` numbers on which plain NumPy code runs as it stands.

    A few functions of NumPy have no loop over objects and are spelled out; floats that
    came to stand among the numbers, as by ``np.where``, are made numbers when a
    function needs them to be.

    >>> ten = Precision(10)
    >>> x = np.array([ten(0.0), ten(1.0)]).view(PreciseArray)
    >>> np.logaddexp(np.where([True, False], x, -1.0), 0.0)
    PreciseArray([0.6931471806, 0.3132616875], dtype=object)
    """

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        """Compute on plain object arrays; the result is of this class again."""
        plain = [_plain(x) for x in inputs]
        if "out" in options:
            options["out"] = tuple(_plain(x) for x in options["out"])
        compute: Callable[..., Any] = getattr(ufunc, method)
        if method == "__call__":
            compute = _SPELLED_OUT.get(ufunc, compute)
        try:
            found = compute(*plain, **options)
        except TypeError:
            numbers = _only_numbers(plain)
            if numbers is None:
                raise
            found = compute(*numbers, **options)
        return _own(found)

    def __array_function__(
        self, func: Callable[..., Any], *call: Any, **options: Any
    ) -> Any:
        """Stay of this class, also where NumPy would forget it."""
        return _own(super().__array_function__(func, *call, **options))

    def astype(self, dtype: Any, *_order: Any, **_options: Any) -> Any:
        """Copy; a cast to float64 is none, any other is refused."""
        if np.dtype(dtype) not in (np.dtype(np.float64), np.dtype(object)):
            raise _made_a_float()
        return self.copy()


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, PreciseArray) else x


def _own(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(_own(y) for y in x)
    objects = isinstance(x, np.ndarray) and x.dtype == object
    return x.view(PreciseArray) if objects else x


def _only_numbers(operands: list[Any]) -> list[Any] | None:
    """Make floats among numbers numbers; None where there is nothing to do."""
    arrays = [np.asarray(x) for x in operands]
    flat = [y for x in arrays if x.dtype == object for y in x.ravel().tolist()]
    kinds = [y.kind for y in flat if isinstance(y, Precise)]
    if not kinds:
        return None
    made = []
    for x in arrays:
        array = np.empty(x.shape, object)
        for place in np.ndindex(x.shape):
            y = x[place]
            array[place] = y if isinstance(y, Precise) else kinds[0](float(y))
        made.append(array)
    return made


def _logaddexp2(x: Any, y: Any) -> Any:
    return np.log2(np.exp2(x) + np.exp2(y))


def _logaddexp(x: Any, y: Any) -> Any:
    top, rest = np.maximum(x, y), np.minimum(x, y)
    return top + np.log1p(np.exp(rest - top))


def _is_finite(x: Any) -> Any:
    return np.equal(x - x, 0)


_SPELLED_OUT: dict[np.ufunc, Callable[..., Any]] = {
    np.heaviside: lambda x, y: np.where(x == 0, y, x > 0),
    np.isfinite: _is_finite,
    np.isinf: lambda x: ~_is_finite(x) & np.equal(x, x),
    np.isnan: lambda x: np.not_equal(x, x),
    np.logaddexp: _logaddexp,
    np.logaddexp2: _logaddexp2,
    np.reciprocal: lambda x: 1 / x,
}
