r"""Exact numbers for deciding whether two expressions are the same function.

A number is evaluated at a random point of a large prime field, where no rounding
hides a difference and none pretends one (Schwartz 1980, Zippel 1979). Exponentials
need a second field, as in Mirage (Wu et al. 2025, arXiv 2405.05751): where :math:`q`
divides :math:`p - 1`, the powers of an element :math:`\omega` of order :math:`q`
satisfy :math:`\omega^{a+b} = \omega^a \omega^b` modulo :math:`p` for :math:`a, b`
modulo :math:`q`. Mirage's pair (value mod p, value mod q) allows one exponential on
the way; here a value is known modulo a whole chain of primes, each of which divides
the next less one, and an exponential moves every value one prime up:

=================  ==================================================================
``+ - * /``        modulo each prime
exp                :math:`\omega^x` modulo a prime, :math:`x` modulo the one below it;
                   sinh, cosh, tanh, sigmoid and softmax are made of it
log                a free variable for each argument, but log(exp(x)) = x, products
                   and quotients of known arguments are sums and differences, and
                   exp(log(x)) = x
sqrt, ``x ** r``   roots modulo each prime, at points where they exist; products of
                   roots are roots of products, and sqrt(x * x) = abs(x)
``>``, max, abs …  whether x - y is a square modulo the largest prime: a random bit,
                   and yet -x < 0 where x > 0, x y > 0 where both are, exp(x) > 0 and
                   2 x > 0 where x > 0, for squares behave like positive numbers here
sin, cos           a random point of the circle for each argument, even and odd
floats             the rational that was meant: 0.1 is 1/10 (`recovered`)
=================  ==================================================================

**Why agreement proves.** Everything that is not a rational function (an exponential,
a logarithm, a root, a sine) is replaced by free variables that satisfy *some* of the
laws of the real function, and equal arguments have equal variables. What is equal for
all values of the variables is equal for the real functions as well. A law that is
missing here costs a proof, and never proves what is wrong.

**How sure.** Two different rational functions of degree d in the variables agree at a
random point with a probability of at most d / p. `Number.degree` bounds d: a sum or
product has at most the degrees of both. The least prime has 89 bits, the largest
258. Two assumptions are left. Powers of :math:`\omega` whose exponents no
rational relation binds are taken for independent elements, which is Mirage's
assumption too (unconditionally, its theorem 2 allows a share of 1 - 1/k for k
exponentials; so every run draws another :math:`\omega`). And no constant of the
expressions was chosen with these primes in view. A predicate takes both of its values
in different runs, see `tinygrad_nn.check.equivalent`.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "CHAIN",
    "TOPS",
    "Constants",
    "Field",
    "Number",
    "Resample",
    "TooDeep",
    "recovered",
    "small_fraction",
]

_FACTORS = (
    10258, 4442, 25322, 3722, 6362, 1922, 2042, 3482, 4682, 7082, 3842,
)  # fmt: skip
_LAST_FACTORS = (
    1640746922, 2178470522, 2331391682, 3113348762, 3913323242, 4312305122,
    4567100402, 8533682282, 9118025522, 9853460522, 9960359042, 10433869442,
    10542852002, 11646301442, 11672571362, 12343750922,
)  # fmt: skip


def _chain() -> tuple[int, ...]:
    primes = [2**89 - 1]
    for factor in _FACTORS:
        primes.append(factor * primes[-1] + 1)
    return tuple(primes)


CHAIN = _chain()
"""Each prime divides the next less one, and is 3 modulo 4.

So -1 is no square, and a square has a root that is a power of it. 2, 3, 5 and 7 are
squares modulo each but the first.
"""

TOPS = tuple(factor * CHAIN[-1] + 1 for factor in _LAST_FACTORS)
"""Primes that end the chain; every prime up to 71 is a square modulo each of them."""


class Resample(ArithmeticError):  # noqa: N818 (bad luck, not a mistake)
    """A root does not exist at this point: try another one."""


class TooDeep(ArithmeticError):  # noqa: N818 (a bound, not a mistake)
    """More exponentials inside each other than primes are in use."""


class Constants(NamedTuple):
    """What is the same at every point, though it is no constant in the expressions.

    Modulo the largest prime: ``signs`` has the sign of each number whose sign was
    asked for (0 where it is not known), and ``steps`` the positive distances of two.
    """

    signs: dict[int, int]
    steps: set[int]

    def learn(self, values: set[int], distances: set[int], top: int) -> None:
        """Take in what was met at two points."""
        for value in values:
            constant = small_fraction(value, top)
            known = 0 if constant is None else 1 if constant > 0 else -1
            self.signs[value], self.signs[top - value] = known, -known
        for distance in distances:
            step = small_fraction(distance, top)
            if step is not None:
                self.steps.add(distance if step > 0 else top - distance)


class Field:
    """One random point: the primes in use, and what is known about free variables.

    Parameters
    ----------
    seed
        The same seed draws the same point.
    height
        How many exponentials may stand inside each other.
    top
        Which of `TOPS` ends the chain. A sign says whether a value is a square modulo
        it, and for some constants with a prime factor above 71 that is not their sign
        (then the field is `irregular`). From ``len(TOPS)`` on, signs are random bits.
    constants
        What other points have shown to be the same at every point.
    branches
        Whether signs were asked for at other points. Then the root of a negative
        number is `undefined`, as in NumPy: ``where(x > 0, sqrt(x), 0)`` leaves it out.
        Without it, such a point is given up at once.
    """

    def __init__(
        self,
        seed: int,
        height: int,
        *,
        top: int = 0,
        constants: Constants | None = None,
        branches: bool = False,
    ) -> None:
        self.branches = branches
        self.undefined = False
        self.regular = top < len(TOPS)
        self.top = TOPS[top % len(TOPS)]
        self.primes = (self.top, *CHAIN[: -height - 1 : -1])
        self.constants = Constants({}, set()) if constants is None else constants
        self.random = random.Random(seed)  # noqa: S311 (no secret)
        self.roots = [
            self._root(p, q) for p, q in zip(self.primes, self.primes[1:], strict=False)
        ]
        self.recovered: dict[float, str] = {}
        self.irregular = False
        self.lost = False
        self.used: set[str] = set()
        self.signs: dict[int, int] = {}
        self.asked: set[int] = set()
        self.exponentials: dict[tuple[int, ...], Number] = {}
        self._floats: dict[float, Number] = {}
        self._constants: dict[Fraction | int, Number] = {}
        self._logarithms: dict[int, Number] = {}
        self._atoms: dict[int, Number] = {}
        self._variables: dict[tuple[str, int], Number] = {}

    def _root(self, p: int, q: int) -> int:
        """Return a random element of order ``q`` modulo ``p``."""
        while True:
            root = pow(self.random.randrange(2, p - 1), (p - 1) // q, p)
            if root != 1:
                return root

    def variable(self) -> Number:
        """Return a free variable: random modulo each prime."""
        return Number(self, tuple(map(self.random.randrange, self.primes)), degree=1)

    def number(self, x: float) -> Number:
        """Return the number that a float stands for."""
        known = self._floats.get(x)
        if known is None:
            if not math.isfinite(x):
                return Number(self, (), x)
            value, root = recovered(x)
            known = self.constant(value)
            if root and self.square(known.levels[0]) < 0:  # no such root here
                known = self.constant(Fraction(x))
            elif root:
                known = known.sqrt()
                self.recovered[x] = f"sqrt({value})"
            elif value != x:
                self.recovered[x] = str(value)
            self._floats[x] = known
        return known

    def constant(self, value: Fraction | float) -> Number:
        """Return a known rational."""
        if isinstance(value, float):  # infinite, or nan
            return Number(self, (), value)
        known = self._constants.get(value)
        if known is None:
            value = Fraction(value)
            levels = tuple(_modulo(value, p) for p in self.primes)
            known = self._constants[value] = Number(self, levels, value)
            if value and _square(levels[0], self.top) != (value > 0):
                self.irregular = True
        return known

    def square(self, x: int) -> int:
        """Legendre's symbol modulo the largest prime: 1 for a square, else -1."""
        return 1 if _square(x, self.top) else -1

    def sign(self, x: Number) -> int:
        """Return -1, 0 or 1; consistently, but at random, where x is not constant."""
        if x.fraction is not None:
            return int(x.fraction > 0) - int(x.fraction < 0)
        if not x.levels:
            if self.undefined:
                raise Resample("a comparison of a root that does not exist")
            raise TypeError("a comparison of what is infinite or undefined")
        value = x.levels[0]
        if not value:
            return 0
        minus = self.top - value
        self.asked.add(min(value, minus))
        if value in self.signs:
            return self.signs[value]
        self.used.add("sign")
        sign = self.constants.signs.get(value) or self._implied(value)
        if not sign and self.regular and value not in self.constants.signs:
            sign = self.square(value)
        elif not sign:
            sign = self.random.choice((-1, 1))
        self.signs[value], self.signs[minus] = sign, -sign
        return sign

    def _implied(self, value: int) -> int:
        """Return the sign that the order of the numbers implies, or 0.

        x + 1 > 0 where x > 0, and x + y > 0 where x > 0 and y > 0: so the bits that
        clip, or the sorting of three numbers, ask for do not contradict each other.
        """
        top, signs = self.top, self.signs
        for step in self.constants.steps:
            if signs.get((value - step) % top) == 1:
                return 1
            if signs.get((value + step) % top) == -1:
                return -1
        for known, sign in signs.items():
            if signs.get((value - known) % top) == sign:
                return sign
        return 0

    def differences(self) -> set[int]:
        """Return how far apart the numbers are whose signs were asked for."""
        values = list(self.signs)[-_LATEST:]
        found = ((x - y) % self.top for x in values for y in values)
        return {min(x, self.top - x) for x in found if x}

    def regular_top(self) -> int:
        """Return which of `TOPS` gives the constants of this field their own signs.

        The number of tops, if none of them does.
        """
        known = [x.fraction for x in self._constants.values() if x.fraction]
        for i, top in enumerate(TOPS):
            if all(_square(_modulo(x, top), top) == (x > 0) for x in known):
                return i
        return len(TOPS)

    # --- free variables ---------------------------------------------------------

    def logarithm(self, x: Number) -> Number:
        """Return log(x): known, by the known, or a free variable."""
        value, top = x.levels[0], self.top
        known = self._logarithms.get(value)
        if known is not None:
            return known
        double = self._logarithms.get(value * value % top)
        if double is not None:
            return double * Fraction(1, 2)
        for factor, summand in list(self._logarithms.items()):
            # With each argument its inverse is known: this divides as well.
            other = self._logarithms.get(value * factor % top)
            if other is not None:
                return other - summand
        self.used.add("log")
        found = self.variable()
        found.powers = {value: Fraction(1)}
        self._atoms[value] = x
        self.remember(x, found)
        return found

    def remember(self, x: Number, logarithm: Number) -> None:
        """Keep a logarithm, and that of the inverse."""
        value = x.levels[0]
        if value:
            self._logarithms[value] = logarithm
            self._logarithms[pow(value, -1, self.top)] = -logarithm

    def atom(self, key: int) -> tuple[Number, Number]:
        """Return an argument and the free variable that is its logarithm."""
        return self._atoms[key], self._logarithms[key]

    def function(self, name: str, x: Number) -> Number:
        """Return the free variable that stands for a function of an argument."""
        key = (name, x.levels[0])
        if key not in self._variables:
            self.used.add(name)
            self._variables[key] = self.variable()
        return self._variables[key]


_Operator = Callable[["Number", Any], "Number"]


def _square(x: int, p: int) -> bool:
    return pow(x, p >> 1, p) == 1


@functools.lru_cache(maxsize=1 << 14)
def _modulo(x: Fraction, p: int) -> int:
    return x.numerator * pow(x.denominator, -1, p) % p


def _binary(
    compute: Callable[[Number, Number], Number],
) -> tuple[_Operator, _Operator]:
    """Make an operator and its mirror image."""

    def left(self: Number, other: Any) -> Number:
        if other.__class__ is not Number:
            other = _number(self.field, other)
            if other is NotImplemented:
                refused: Number = other
                return refused
        return compute(self, other)

    def right(self: Number, other: Any) -> Number:
        number: Number = _number(self.field, other)
        return number if number is NotImplemented else compute(number, self)

    return left, right


def _number(field: Field, x: Any) -> Any:
    """Return any real number as an exact one, or NotImplemented."""
    if isinstance(x, Number):
        return x
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, float):
        return field.number(x)
    if isinstance(x, (int, Fraction)):
        return field.constant(int(x) if isinstance(x, bool) else x)
    return NotImplemented


def _comparison(holds: Callable[[int], bool]) -> Callable[[Number, Any], Any]:
    def compare(self: Number, other: Any) -> Any:
        other = _number(self.field, other)
        if other is NotImplemented:
            return other
        for x, sign in ((other, -1), (self, 1)):
            if isinstance(x.fraction, float):  # beyond all numbers, or nan
                if x.fraction != x.fraction:
                    return False
                if self.fraction == other.fraction:
                    return holds(0)
                return holds(sign if x.fraction > 0 else -sign)
        return holds(self.field.sign(self - other))

    return compare


def _add(x: Number, y: Number) -> Number:
    if x.fraction is not None:
        if y.fraction is not None:
            return x.field.constant(x.fraction + y.fraction)
        if not x.fraction:
            return y
    elif y.fraction is not None and not y.fraction:
        return x
    found = Number(
        x.field,
        tuple(
            [
                (a + b) % p
                for a, b, p in zip(x.levels, y.levels, x.field.primes, strict=False)
            ]
        ),
        None,
        x.degree + y.degree,
    )
    if x.powers or y.powers:
        powers = dict(x.powers)
        for key, power in y.powers.items():
            powers[key] = powers.get(key, Fraction()) + power
        found.powers = {key: power for key, power in powers.items() if power}
    return found


def _multiply(x: Number, y: Number) -> Number:
    if x.fraction is not None:
        if y.fraction is not None:
            return x.field.constant(x.fraction * y.fraction)
        if x.fraction == 1:
            return y
        if not x.fraction and y.levels:
            return x
    elif y.fraction is not None:
        if y.fraction == 1:
            return x
        if not y.fraction and x.levels:
            return y
    found = Number(
        x.field,
        tuple(
            [
                a * b % p
                for a, b, p in zip(x.levels, y.levels, x.field.primes, strict=False)
            ]
        ),
        None,
        x.degree + y.degree,
    )
    for many, one in ((x, y), (y, x)):
        if many.powers and isinstance(one.fraction, Fraction):
            found.powers = {k: n * one.fraction for k, n in many.powers.items()}
    return found


def _inverse(x: Number) -> Number:
    if x.fraction is not None:
        if isinstance(x.fraction, float):
            return x.field.constant(0 if math.isinf(x.fraction) else x.fraction)
        return x.field.constant(1 / x.fraction if x.fraction else math.inf)
    if not x.levels or not x.levels[0]:
        return Number(x.field, ())
    try:
        levels = tuple(
            [pow(a, -1, p) for a, p in zip(x.levels, x.field.primes, strict=False)]
        )
    except ValueError:
        raise Resample("division by zero modulo a lower prime") from None
    return Number(x.field, levels, None, x.degree)


def _subtract(x: Number, y: Number) -> Number:
    return _add(x, -y)


def _divide(x: Number, y: Number) -> Number:
    return _multiply(x, _inverse(y))


def _power(x: Number, y: Number) -> Number:
    exponent = y.fraction
    if not isinstance(exponent, Fraction):
        return (y * x.log()).exp()
    if exponent.denominator == 1:
        return _whole_power(x, int(exponent))
    root = _root_of(x, exponent)
    return (y * x.log()).exp() if root is None else root


def _whole_power(x: Number, n: int) -> Number:
    if n == 0:
        return x.field.constant(1)
    if n < 0:
        return _whole_power(_inverse(x), -n)
    if isinstance(x.fraction, Fraction):
        return x.field.constant(x.fraction**n)
    levels = tuple(
        [pow(a, n, p) for a, p in zip(x.levels, x.field.primes, strict=False)]
    )
    return Number(x.field, levels, None, n * x.degree)


def _root_of(x: Number, exponent: Fraction) -> Number | None:
    """Return a rational power, the same for equal products; None where it is unknown.

    Raises
    ------
    Resample
        For an even root of what is no square, where no branch may leave it out.
    """
    field = x.field
    if not x.levels:
        return x
    if isinstance(x.fraction, Fraction):
        exact = _exact_root(x.fraction, exponent)
        if exact is not None:
            return field.constant(exact)
    halvings, odd = 0, exponent.denominator
    while odd % 2 == 0:
        halvings, odd = halvings + 1, odd // 2
    if halvings and field.square(x.levels[0]) < 0:
        if not field.branches:
            raise Resample("a root that does not exist")
        field.undefined = True
        return Number(field, ())
    levels = []
    for a, p in zip(x.levels, field.primes, strict=False):
        if math.gcd(odd, p - 1) > 1:
            return None
        if halvings and pow(a, p >> 1, p) != 1:
            field.lost = True
            break
        power = exponent.numerator * pow(odd, -1, p - 1)
        power *= pow((p + 1) // 4, halvings, p - 1)
        levels.append(pow(a, power % (p - 1), p))
    # A root is a variable bound to its square.
    degree = (1 + x.degree) * (abs(exponent.numerator) + exponent.denominator)
    return Number(field, tuple(levels), None, degree)


def _exact_root(x: Fraction, exponent: Fraction) -> Fraction | None:
    """Return a rational root of a rational, if there is one, of square roots only."""
    if exponent.denominator != 2 or x <= 0:
        return None
    n, d = math.isqrt(x.numerator), math.isqrt(x.denominator)
    if n * n != x.numerator or d * d != x.denominator:
        return None
    return Fraction(n, d) ** exponent.numerator


def _free(name: str) -> Callable[[Number], Number]:
    def apply(self: Number) -> Number:
        return self.field.function(name, self) if self.levels else self

    apply.__doc__ = f"Free variable for the {name} of each number."
    return apply


class Number:
    """An exact value at a random point.

    Parameters
    ----------
    field
        The point.
    levels
        The value modulo each prime, the largest first. Each exponential loses one, and
        none is left of what is infinite or undefined.
    fraction
        The value itself, where it is a known rational (or an infinity).
    degree
        Bounds the degree of the rational function of the free variables that it is.
    """

    __slots__ = ("degree", "field", "fraction", "levels", "powers")

    def __init__(
        self,
        field: Field,
        levels: tuple[int, ...],
        fraction: Any = None,
        degree: int = 0,
    ) -> None:
        self.field = field
        self.levels = levels
        self.fraction = fraction
        self.degree = degree
        self.powers: dict[int, Fraction] = _NONE

    def __repr__(self) -> str:
        """Show a constant, or enough of the value to tell it from another."""
        if self.fraction is not None:
            return f"Number({self.fraction})"
        return f"Number(…{self.levels[0] % 10**6})" if self.levels else "Number(?)"

    __add__, __radd__ = _binary(_add)
    __sub__, __rsub__ = _binary(_subtract)
    __mul__, __rmul__ = _binary(_multiply)
    __truediv__, __rtruediv__ = _binary(_divide)
    __pow__, __rpow__ = _binary(_power)

    __lt__ = _comparison(lambda sign: sign < 0)
    __le__ = _comparison(lambda sign: sign <= 0)
    __gt__ = _comparison(lambda sign: sign > 0)
    __ge__ = _comparison(lambda sign: sign >= 0)

    def __eq__(self, other: object) -> Any:
        number = _number(self.field, other)
        if number is NotImplemented:
            return number
        if not self.levels or not number.levels:
            return self.fraction is not None and self.fraction == number.fraction
        return self.levels[0] == number.levels[0]

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return not self.levels or self.levels[0] != 0

    def __neg__(self) -> Number:
        if self.fraction is not None:
            return self.field.constant(-self.fraction)
        levels = tuple(
            [
                p - a if a else 0
                for a, p in zip(self.levels, self.field.primes, strict=False)
            ]
        )
        found = Number(self.field, levels, None, self.degree)
        if self.powers:
            found.powers = {key: -power for key, power in self.powers.items()}
        return found

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return -self if self.field.sign(self) < 0 else self

    def __float__(self) -> float:
        if self.fraction is not None:
            return float(self.fraction)
        raise TypeError("an exact number has no float: keep the array's own dtype")

    def conjugate(self) -> Number:
        """Return the number itself: it is real."""
        return self

    def exp(self) -> Number:
        """Exponential: one prime up.

        Raises
        ------
        TooDeep, Resample
            If no prime is left below it.
        """
        field = self.field
        if isinstance(self.fraction, float) or not self.levels:
            zero = self.fraction == -math.inf
            return field.constant(0) if zero else Number(field, (), self.fraction)
        if self.fraction == 0:
            return field.constant(1)
        rest, factor = self, None
        for key, power in self.powers.items():
            argument, logarithm = field.atom(key)
            if power.denominator == 1:
                part: Number | None = _whole_power(argument, int(power))
            else:
                part = _root_of(argument, power)
            if part is None:  # then it is the exponential of its logarithm
                continue
            rest -= logarithm * power
            factor = part if factor is None else factor * part
        if factor is not None and not any(rest.levels):
            return factor
        known = field.exponentials.get(rest.levels)
        if known is not None:
            return known if factor is None else known * factor
        if len(rest.levels) < 2:
            if field.lost:
                raise Resample("the exponential of a root that does not exist")
            raise TooDeep
        levels = tuple(
            [
                pow(w, a, p)
                for w, a, p in zip(
                    field.roots, rest.levels[1:], field.primes, strict=False
                )
            ]
        )
        found = Number(field, levels, None, 1)
        field.exponentials[rest.levels] = found
        field.remember(found, rest)
        return found if factor is None else found * factor

    def log(self) -> Number:
        """Natural logarithm: a free variable, bound to those of products."""
        if isinstance(self.fraction, float) or not self.levels:
            return Number(self.field, (), self.fraction)
        if self.fraction is not None and self.fraction <= 0:
            value = math.nan if self.fraction else -math.inf
            return Number(self.field, (), value)
        if self.fraction == 1:
            return self.field.constant(0)
        return self.field.logarithm(self)

    def sqrt(self) -> Number:
        """Square root, at points where there is one."""
        return self ** Fraction(1, 2) if self.fraction != 0 else self

    def expm1(self) -> Number:
        """Exponential less one."""
        return self.exp() - 1

    def log1p(self) -> Number:
        """Logarithm of one more."""
        return (self + 1).log()

    def exp2(self) -> Number:
        """Power of two."""
        return (self * self.field.constant(2).log()).exp()

    def log2(self) -> Number:
        """Logarithm to base 2."""
        return self.log() / self.field.constant(2).log()

    def log10(self) -> Number:
        """Logarithm to base 10."""
        return self.log() / self.field.constant(10).log()

    def sinh(self) -> Number:
        """Hyperbolic sine."""
        e = self.exp()
        return (e - 1 / e) / 2

    def cosh(self) -> Number:
        """Hyperbolic cosine."""
        e = self.exp()
        return (e + 1 / e) / 2

    def tanh(self) -> Number:
        """Hyperbolic tangent."""
        if isinstance(self.fraction, float):
            return self.field.constant((self.fraction > 0) - (self.fraction < 0))
        return 1 - 2 / ((2 * self).exp() + 1)

    def sin(self) -> Number:
        """Sine: of a random point of the circle."""
        t = self._half_tangent()
        return 2 * t / (1 + t * t)

    def cos(self) -> Number:
        """Cosine: of a random point of the circle."""
        t = self._half_tangent()
        return (1 - t * t) / (1 + t * t)

    def _half_tangent(self) -> Number:
        if not self.levels or self.fraction == 0:
            return self
        if self.levels[0] > self.field.top // 2:  # odd in its argument
            return -self.field.function("sin", -self)
        return self.field.function("sin", self)

    arccos = _free("arccos")
    arccosh = _free("arccosh")
    arcsin = _free("arcsin")
    arcsinh = _free("arcsinh")
    arctan = _free("arctan")
    arctanh = _free("arctanh")


_LATEST = 400

_NONE: dict[int, Fraction] = {}
"""No logarithm is part of most numbers; never written to."""


@functools.lru_cache(maxsize=1 << 12)
def recovered(x: float) -> tuple[Fraction, bool]:
    """Return the rational that a float was written for, and whether its root was meant.

    A simple fraction, a decimal of up to 12 digits or the inverse of a whole number,
    if it rounds to just this float; or else the float's own value, a fraction of a
    power of two. Also of the float's square, for constants such as ``1 / np.sqrt(3)``.

    >>> recovered(1 / 3), recovered(1e-8), recovered(0.5 ** 0.5)
    ((Fraction(1, 3), False), (Fraction(1, 100000000), False), (Fraction(1, 2), True))
    """
    value = Fraction(x)
    if value.denominator <= 1024:
        return value, False
    simple = [value.limit_denominator(10**4), Fraction(repr(x))]
    digits = repr(abs(x)).partition("e")[0].replace(".", "").strip("0")
    if len(digits) > 12:
        simple.pop()
    simple.append(value.limit_denominator(10**6))
    if abs(value) < 1:
        simple.append(Fraction(1, round(1 / value)))
    for fraction in simple:
        if fraction.numerator / fraction.denominator == x:
            return fraction, False
    square = Fraction(x * x).limit_denominator(1000)
    if x > 0 and 0 < square.numerator <= 1000:
        ratio = square.numerator / square.denominator
        if x in (math.sqrt(ratio), 1 / math.sqrt(1 / ratio)):
            return square, True
    return value, False


def small_fraction(x: int, p: int) -> Fraction | None:
    """Return the fraction of 100-bit numbers that ``x`` is modulo p, if there is one.

    Wang's reconstruction. A value that does not come from such a constant has one
    with a probability of 2^-54.
    """
    bound = 1 << 100
    before, now = p, x
    steps_before, steps = 0, 1
    while now >= bound:
        quotient = before // now
        before, now = now, before - quotient * now
        steps_before, steps = steps, steps_before - quotient * steps
    return Fraction(now, steps) if steps and abs(steps) < bound else None
