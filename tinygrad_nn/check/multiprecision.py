"""Derivatives confirmed to thirty digits, and how many of them a float64 gradient has.

A graph's own op bodies, and plain NumPy code, run on numbers of ninety digits. There a
central difference with a step of 1e-30 is right to sixty, so two ways to a derivative
that share no rule must agree to all digits that were asked for: no tolerance is left
to argue about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.check.precise import Precise, PreciseArray, Precision
from tinygrad_nn.check.replay import numbers, replay
from tinygrad_nn.check.site import sizes_of
from tinygrad_nn.check.subject import (
    Point,
    Subject,
    autograd,
    given_by_hand,
    ordered,
)
from tinygrad_nn.errors import GradientError, UnsupportedError
from tinygrad_nn.op import data_of
from tinygrad_nn.tensor import gradients

__all__ = ["PreciseParameter", "PrecisionReport", "multiprecision"]

_ALL = 99  # digits where two numbers are equal
_FLOAT = 13  # digits that a constant rounded to float64 leaves, but for cancellation
_BLUNT = 6  # digits that a gradient in floats has, if it is right
_FLOAT64 = 17  # what a float can have
_MANY = 64
_FEW = 16  # elements at kinks, which cost more
_BESIDE = 6
_ENOUGH = 4  # wrong elements
_ORDER = ("ok", "kink", "weak", "wrong")


@dataclass(frozen=True)
class PreciseParameter:
    """The verdict on one parameter.

    Attributes
    ----------
    verdict
        ``"ok"``, ``"kink"`` (lies between the one-sided slopes), ``"weak"`` (agrees,
        but not to all digits) or ``"wrong"``.
    digits
        To how many the derivative is confirmed.
    float64
        How many digits of the gradient in float64 are right, in its largest elements.
    index, claimed, numeric
        The most wrong element, and both derivatives there, in digits; if one is wrong.
    """

    name: str
    shape: tuple[int, ...]
    verdict: str
    digits: int
    float64: int
    index: tuple[int, ...] = ()
    claimed: str = ""
    numeric: str = ""

    def __str__(self) -> str:
        """One line of the table; three where it is wrong."""
        line = (
            f"  {self.name:<12} {self.shape!s:>12}  {self.verdict:<7}"
            f"  {self.digits:>6}  {self.float64:>7}"
        )
        if self.claimed:
            place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
            title = f"{self.name}{place}"
            line += f"\n  {title}  analytic  {self.claimed}"
            line += f"\n  {' ' * len(title)}  numeric   {self.numeric}"
        return line


@dataclass(frozen=True)
class PrecisionReport:
    """Whether a derivative is confirmed to the digits asked for.

    Attributes
    ----------
    parameters
        A `PreciseParameter` by name.
    wanted
        The digits asked for.
    judged
        Whose gradient: ``"autograd"`` or ``"formula"``.
    evaluations, seed
        How often the function was evaluated to many digits, and the seed as given.
    notes
        Sentences that a reader should know.

    Examples
    --------
    >>> W = PreciseParameter("W", (2,), "ok", digits=45, float64=16)
    >>> report = PrecisionReport({"W": W})
    >>> report.verdict, report.ok, report.digits
    ('ok', True, 45)
    """

    parameters: Mapping[str, PreciseParameter]
    wanted: int = 30
    judged: str = "autograd"
    evaluations: int = 0
    seed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"kink"``, ``"weak"`` or ``"wrong"``: the worst of all."""
        found = [p.verdict for p in self.parameters.values()]
        return max(found, key=_ORDER.index, default="ok")

    @property
    def ok(self) -> bool:
        """Whether all is confirmed, but for kinks."""
        return self.verdict in ("ok", "kink")

    @property
    def digits(self) -> int:
        """To how many digits every derivative is confirmed."""
        return min((p.digits for p in self.parameters.values()), default=_ALL)

    def __bool__(self) -> bool:
        """Whether all is confirmed, but for kinks."""
        return self.ok

    def __str__(self) -> str:
        """Write the table, and what is wrong."""
        head = f"{self.evaluations} evaluations, seed {self.seed}"
        lines = [
            f"{self.verdict}: {self.judged} to {self.wanted} digits ({head})",
            f"  {'parameter':<12} {'shape':>12}  verdict  digits  float64",
        ]
        lines += [str(p) for p in self.parameters.values()]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def multiprecision(
    f: Callable[..., Any],
    *arrays: Any,
    digits: int = 30,
    formula: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    names: Sequence[str] | str | None = None,
    seed: int = 0,
) -> PrecisionReport:
    """Confirm a gradient to many digits, at exactly the given floats.

    Parameters
    ----------
    f
        A function of the arrays with any output. Where it runs on Tensors its recorded
        graph is evaluated, and so is that of its gradients; else the plain NumPy code.
    arrays
        The point, as for `check_gradients`.
    digits
        How many the gradient and the numbers must share.
    formula, vjp
        A hand-written gradient, as for `check_gradients`; it runs on many digits too.
        By default autograd's is judged.
    names
        Of the arrays; by default the parameters of ``f``.
    seed
        Of the random directions.

    Returns
    -------
    PrecisionReport
        ``.ok``, ``.verdict`` (``"ok"``, ``"kink"``, ``"weak"`` or ``"wrong"``),
        ``.digits``, ``.parameters[name].float64`` (how many digits of the float64
        gradient are right), and a table as its text.

    Raises
    ------
    MissingExtraError
        Without mpmath.
    UnsupportedError
        Where NumPy has no function for numbers of many digits, or one is made a float.
    OpError
        If ``f`` does not run on Tensors and neither ``formula`` nor ``vjp`` is given.

    Notes
    -----
    A constant such as ``1 / 3`` was rounded to a float before it came here. Where the
    function and its gradient take the same float, no digit is lost. Where one takes the
    float and the other divides, they agree to sixteen digits; then floats are taken for
    the fractions that they round, and a note says so.

    Examples
    --------
    >>> W = np.array([[0.5, -1.0], [2.0, 0.1]])
    >>> def cost(W):
    ...     return np.sum(np.tanh(W) ** 2)
    >>> report = multiprecision(cost, W)
    >>> report.verdict, report.digits >= 30
    ('ok', True)
    >>> multiprecision(cost, W, formula=lambda W: 2 * np.tanh(W)).verdict
    'wrong'
    """
    subject = Subject(f, arrays, names, formula or vjp, "multiprecision")
    value = subject.start()
    rng = np.random.default_rng([seed, 4])
    cotangent = np.ones(1)
    if value.size != 1:
        cotangent = rng.standard_normal(value.shape)
    seeded = None if formula is not None else cotangent.reshape(subject.shape)
    by = formula or vjp
    hand = given_by_hand(subject, formula, vjp, cotangent)
    claim = autograd(subject, cotangent) if hand is None else hand
    rough = claim(subject.point)
    judges = []
    notes = []
    floor = _FLOAT
    for fractions in (False, True):
        course = _Course(
            subject, cotangent, Precision(3 * digits + 20, fractions=fractions)
        )
        try:
            sharp = course.recorded() if by is None else course.by_hand(by, seeded)
        except UnsupportedError as refused:
            if by is None:
                raise
            sharp, floor = [numbers(g, course.number.exact) for g in rough], _BLUNT
            notes = [f"the gradient was judged as floats, for {refused}"]
        judges.append(_Judge(course, sharp, rng, digits, floor))
        if judges[-1].agree or not judges[-1].agree_as_floats:
            break
    if not judges[-1].agree:
        judges = judges[:1]  # the fractions were not it
    found = judges[-1].parameters(rough)
    notes = notes or _notes(judges, found)
    return PrecisionReport(
        parameters={p.name: p for p in found},
        wanted=digits,
        judged="autograd" if formula is None and vjp is None else "formula",
        evaluations=sum(judge.course.evaluations for judge in judges),
        seed=seed,
        notes=tuple(notes),
    )


def _notes(judges: Sequence[_Judge], found: Sequence[PreciseParameter]) -> list[str]:
    """Say what constants were taken for, or why sixteen digits may be all."""
    read = judges[-1].course.number.read
    if read:
        shown = ", ".join(str(q) for q in read[:4]) + (", …" if len(read) > 4 else "")
        return [f"constants were taken for the numbers that they round: {shown}"]
    if any(p.verdict == "weak" and p.digits >= _FLOAT for p in found):
        why = "a constant was rounded to a float on one of the two ways only?"
        return [f"sixteen digits agree, and no more: {why}"]
    return []


class _Course:
    """The function ``cotangent · f``, and its gradient, on numbers of many digits."""

    def __init__(
        self, subject: Subject, cotangent: np.ndarray, number: Precision
    ) -> None:
        self.subject = subject
        self.evaluations = 0
        self.number = number
        self.point = [numbers(x, number.exact) for x in subject.point]
        self._weights = numbers(cotangent, number.exact)
        self._cotangent = cotangent
        self._variables = subject.variables(subject.point)
        self._output = subject.graph(self._variables)

    def value(self, point: Point) -> Any:
        """Evaluate the function."""
        self.evaluations += 1
        if self._output is not None:
            values = dict(zip(self._variables, point, strict=True))
            (found,) = replay([self._output], values, self.number)
        else:
            found = np.asarray(self._run(self.subject.f, self.subject.arguments(point)))
        total = self.number(0)
        for weight, y in zip(self._weights, np.ravel(found), strict=True):
            total = total + weight * y
        return total

    def recorded(self) -> Point:
        """Evaluate the graph of the gradients."""
        output = self._output
        if output is None:
            output = self.subject.recorded(self._variables)  # which says why it is none
        if not output.requires_grad:
            return [numbers(np.zeros(x.shape), self.number) for x in self.point]
        seed = self._cotangent.reshape(output.shape)
        found = gradients(output, self._variables, seed, unused="zero")
        values = dict(zip(self._variables, self.point, strict=True))
        return [
            np.asarray(g + self.number(0), object)
            for g in replay(found, values, self.number)
        ]

    def by_hand(
        self, function: Callable[..., Any], seed: np.ndarray | None = None
    ) -> Point:
        """Run a hand-written gradient, which has passed its tests on floats."""
        before = () if seed is None else (numbers(seed, self.number.exact),)
        given = self._run(function, (*before, *self.subject.arguments(self.point)))
        found = ordered(given, self.subject, "formula" if seed is None else "vjp")
        return [
            np.reshape(np.array(data_of(g) + self.number(0), object), x.shape)
            for g, x in zip(found, self.point, strict=True)
        ]

    @staticmethod
    def _run(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        try:
            with np.errstate(all="ignore"):
                return function(*[_numbers_only(x) for x in arguments])
        except UnsupportedError:
            raise
        except (TypeError, AttributeError) as error:
            raise UnsupportedError(
                "multiprecision: expected code that runs on arrays of numbers of many "
                f"digits; got {type(error).__name__}: {error}. Write it with functions "
                "that NumPy has for objects, such as np.exp, or run it on Tensors"
            ) from error


class _Slope(NamedTuple):
    """The derivative along a direction: its value, its error, both one-sided slopes."""

    value: Any
    error: Any
    left: Any
    right: Any
    kinked: bool


class _Judge:
    """The claimed gradient against slopes, from all arrays at once to the element."""

    def __init__(
        self,
        course: _Course,
        claim: Point,
        rng: np.random.Generator,
        wanted: int,
        floor: int,
    ) -> None:
        self.course = course
        self._claim = claim
        self._rng = rng
        self._wanted = wanted
        self._floor = floor
        self._step = course.number(10) ** -wanted
        self._sizes = [sizes_of(x) for x in course.subject.point]
        self._centre = course.value(course.point)
        self._direction = [
            s * rng.uniform(0.5, 1.0, s.shape) * rng.choice([-1, 1], s.shape)
            for s in self._sizes
        ]
        shares = [
            _largest(numbers(w, course.number.exact) * g)
            for w, g in zip(self._direction, claim, strict=True)
        ]
        # What is nothing beside the value itself is zero, but for rounding.
        self._least = abs(self._centre) * self._step or self._step
        self._shares = [max(share, self._least) for share in shares]
        # Fewer digits than a rounded constant leaves: of itself, and of the largest.
        self._mistake = max(self._shares, default=self._least)
        self._mistake = self._mistake * course.number(10) ** -floor
        slope = self._slope(self._direction)
        off = abs(self._claimed(self._direction) - slope.value) + slope.error
        self._digits = [_digits(off, share) for share in self._shares]
        lowest = min(self._digits, default=_ALL)
        self.agree = not slope.kinked and lowest >= wanted
        self.agree_as_floats = not slope.kinked and lowest >= floor

    def parameters(self, rough: Point) -> list[PreciseParameter]:
        """Judge every parameter; ``rough`` is its gradient in float64."""
        found = []
        for k, name in enumerate(self.course.subject.names):
            right = self._right_digits(rough[k], self._claim[k])
            if self.agree:
                shape = rough[k].shape
                found.append(
                    PreciseParameter(name, shape, "ok", self._digits[k], right)
                )
            else:
                found.append(self._alone(k, right))
        return found

    def _right_digits(self, rough: np.ndarray, sharp: np.ndarray) -> int:
        """How many digits of a float64 gradient are right, in its largest elements."""
        top = _largest(sharp)
        off = _largest(numbers(rough, self.course.number.exact) - sharp)
        if not top:
            return 0 if off else _FLOAT64
        return min(_digits(off, top), _FLOAT64)

    def _alone(self, k: int, right: int) -> PreciseParameter:
        """Judge one parameter, and its elements where it does not agree as a whole."""
        name, shape = self.course.subject.names[k], self._sizes[k].shape
        whole = self._outcome(self._only(k, self._direction[k]), self._shares[k])
        if not whole.kinked and whole.verdict != "wrong":
            return PreciseParameter(name, shape, whole.verdict, whole.digits, right)
        elements: dict[int, _Outcome] = {}
        wrong = 0
        for place in self._suspects(k, kinked=whole.kinked).tolist():
            elements[place] = self._outcome(self._only(k, self._single(k, place)))
            wrong += elements[place].verdict == "wrong"
            if wrong >= _ENOUGH or (elements[place].kinked and len(elements) >= _FEW):
                break
        smooth = [e.digits for e in elements.values() if not e.kinked]
        digits = min(smooth, default=0)
        worst = max(elements, key=lambda i: (_rank(elements[i]), -elements[i].digits))
        if elements[worst].verdict != "wrong":
            verdict = "wrong" if whole.verdict == "wrong" else elements[worst].verdict
            return PreciseParameter(name, shape, verdict, digits, right)
        size = self.course.number.exact(float(self._sizes[k].flat[worst]))
        return PreciseParameter(
            name,
            shape,
            "wrong",
            digits,
            right,
            tuple(int(i) for i in np.unravel_index(worst, shape)),
            self._claim[k].flat[worst].text(self._wanted),
            (elements[worst].slope / size).text(self._wanted),
        )

    def _only(self, k: int, step: np.ndarray) -> Point:
        """Move one parameter and leave the others."""
        return [
            step if i == k else np.zeros(s.shape) for i, s in enumerate(self._sizes)
        ]

    def _single(self, k: int, place: int) -> np.ndarray:
        """Move one element by its size."""
        step = np.zeros(self._sizes[k].shape)
        step.flat[place] = self._sizes[k].flat[place]
        return step

    def _suspects(self, k: int, *, kinked: bool) -> np.ndarray:
        """Elements to look at one by one: all, or few among which a wrong one is."""
        places = self._rng.permutation(self._sizes[k].size)
        while places.size > _MANY and not kinked:
            half = places[: places.size // 2]
            step = np.zeros(self._sizes[k].size)
            step[half] = self._sizes[k].ravel()[half]
            moved = self._only(k, step.reshape(self._sizes[k].shape))
            outcome = self._outcome(moved)
            kinked = outcome.kinked
            places = half if outcome.verdict == "wrong" else places[places.size // 2 :]
        return places[: _FEW if kinked else _MANY]

    def _outcome(self, direction: Point, share: Any = 0) -> _Outcome:
        """Compare with the numbers along a direction."""
        claim, slope = self._claimed(direction), self._slope(direction)
        difference = abs(claim - slope.value)
        scale = share or max(abs(claim), abs(slope.value), self._least)
        digits = _digits(difference + slope.error, scale)
        if slope.kinked:
            verdict = self._at_kink(claim, slope, direction)
        elif digits >= self._wanted:
            verdict = "ok"
        else:
            sure = difference > max(10 * slope.error, self._mistake)
            verdict = "wrong" if sure and digits < self._floor else "weak"
        return _Outcome(verdict, digits, slope.value, slope.kinked)

    def _at_kink(self, claim: Any, slope: _Slope, direction: Point) -> str:
        """Compare with the one-sided slopes, and with slopes beside the point.

        Where several kinks meet, as in a layer of relus whose weights are zero, the
        gradient need not lie between the slopes of this one line.
        """
        low, high = min(slope.left, slope.right), max(slope.left, slope.right)
        # A slope may be written as a float, 0.1 say, that was multiplied before.
        off = slope.error + (high - low) * self.course.number(10) ** -self._floor
        if low - off <= claim <= high + off:
            return "kink"
        near = self.course.number(10) ** -(self._wanted // 3)
        beside = []
        for _ in range(_BESIDE):
            point = [
                _moved(x, self._rng.uniform(-1, 1, s.shape) * s, near)
                for x, s in zip(self.course.point, self._sizes, strict=True)
            ]
            ahead = self._value(point, direction, self._step)
            behind = self._value(point, direction, -self._step)
            beside.append((ahead - behind) / (2 * self._step))
        scale = (high - low) / 1000
        only_two = all(min(abs(s - low), abs(s - high)) <= scale for s in beside)
        return "wrong" if only_two else "weak"

    def _claimed(self, direction: Point) -> Any:
        total = self.course.number(0)
        for g, w in zip(self._claim, direction, strict=True):
            for a, b in zip(g.ravel(), w.ravel().tolist(), strict=True):
                if b:
                    total = total + a * self.course.number.exact(b)
        return total

    def _value(self, point: Point, direction: Point, step: Any) -> Any:
        pairs = zip(point, direction, strict=True)
        return self.course.value([_moved(x, w, step) for x, w in pairs])

    def _slope(self, direction: Point) -> _Slope:
        """Central differences at two steps, and their extrapolation."""
        course = self.course
        rough = self._differences(direction, self._step)
        fine = self._differences(direction, self._step / 2)
        value = (4 * fine.middle - rough.middle) / 3
        size = abs(fine.left) + abs(fine.right)
        if not size < course.number(np.inf):
            raise GradientError(
                "multiprecision: expected a function that is finite on both sides of "
                "the given arrays; got nan. Choose another point"
            )
        last = course.number(10) ** -(course.number.digits - 5)
        rounding = (abs(self._centre) / self._step + size) * last
        error = abs(fine.middle - rough.middle) + rounding
        # A smooth function's slopes close in on each other as the step is halved.
        jumps = abs(rough.right - rough.left), abs(fine.right - fine.left)
        visible = size * course.number(10) ** -(self._wanted // 2) + rounding
        kinked = jumps[1] > visible and 4 * jumps[1] > 3 * jumps[0]
        return _Slope(value, error, fine.left, fine.right, bool(kinked))

    def _differences(self, direction: Point, step: Any) -> _Differences:
        ahead = self._value(self.course.point, direction, step)
        behind = self._value(self.course.point, direction, -step)
        return _Differences(
            (self._centre - behind) / step,
            (ahead - behind) / (2 * step),
            (ahead - self._centre) / step,
        )


class _Outcome(NamedTuple):
    """What the numbers say about a claim along a direction."""

    verdict: str
    digits: int
    slope: Any
    kinked: bool


class _Differences(NamedTuple):
    """Slopes by one step: on the left, over both sides, on the right."""

    left: Any
    middle: Any
    right: Any


def _numbers_only(x: Any) -> Any:
    """Copy an argument; an array of numbers becomes one that plain code runs on."""
    if not isinstance(x, np.ndarray):
        return x
    return x.copy().view(PreciseArray) if x.dtype == object else x.copy()


def _rank(outcome: _Outcome) -> int:
    return _ORDER.index(outcome.verdict)


def _moved(x: np.ndarray, step: np.ndarray, times: Precise) -> np.ndarray:
    """Return an object array, 0-d too."""
    found = np.empty(x.shape, object)
    for place, y in np.ndenumerate(x):
        w = float(step[place])
        found[place] = y + times * times.kind.exact(w) if w else y
    return found


def _largest(values: Any) -> Any:
    return max((abs(v) for v in np.ravel(values)), default=0)


def _digits(off: Any, scale: Any) -> int:
    """To how many digits two numbers of a size agree that are off by so much."""
    if not off:
        return _ALL
    share = off / scale
    return max(min(_ALL, int(-share.log10().rounded())), 0)
