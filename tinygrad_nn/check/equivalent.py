"""Are two expressions the same function? Decided exactly, at random points of fields.

`check_gradients` compares numbers with rounding, and can tell a wrong gradient from a
right one as far as the rounding allows. This compares *functions*: autograd's gradient
and a textbook's formula, a layer and its faster form. What is proved here is equal at
every point, at the sizes that the report names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from fractions import Fraction
from typing import Any

import numpy as np

from tinygrad_nn.check import points
from tinygrad_nn.check.fields import (
    CHAIN,
    Constants,
    Field,
    Number,
    Resample,
    TooDeep,
)
from tinygrad_nn.check.points import Argument
from tinygrad_nn.check.side import Outputs, Side, Stopped, Trial
from tinygrad_nn.check.subject import argument_names
from tinygrad_nn.check.witness import PLAIN, Search, Witness
from tinygrad_nn.errors import OpError
from tinygrad_nn.shapes import Shape

__all__ = ["Equivalence", "Witness", "equivalent"]

_POINTS_WITHOUT_SIGNS = 2
_POINTS_WITH_SIGNS = 41
_POINTS_WITH_ALL_SIGNS = {0: 41, 1: 41, 2: 99, 3: 213}  # of so many comparisons
_TRIES = 1500
_DIFFER = "its exact values differ"
_SLIGHT = 1e-12  # relative to all the results, where exact values differ too
_MOST_NUMBERS = 3000


@dataclass(frozen=True)
class Equivalence:
    """The answer, and what it rests on.

    Attributes
    ----------
    verdict
        ``"proved"``: the same function, off the kinks. ``"different"``: not the same,
        see the `witness`; if there are `points` too, then only where the given arrays
        are, at a kink perhaps. ``"cannot say"``: see `stopped_by`.
    outputs
        The results that were compared.
    sizes
        The shape of each argument in the proof.
    kept
        What was not left free: ``"Y: one 1 along axis 0"``.
    constants
        The numbers that floats were taken for: ``"0.1 is 1/10"``.
    points
        At how many random points the functions agree exactly.
    signs
        Whether a comparison, maximum or absolute value was met: then the points differ
        in what these give.
    all_signs
        Whether there are so few comparisons that all their answers were met.
    probability
        Of an error, at most; None unless it is proved. Without `all_signs`, of
        overlooking a difference that half of the answers show.
    witness
        Where they differ; None unless they do.
    stopped_by
        The op that has no exact form, or the result whose exact values differ though
        no floats do; None unless it cannot be said.
    """

    verdict: str
    outputs: tuple[str, ...] = ()
    sizes: Mapping[str, Shape] = attribute(default_factory=dict)
    kept: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    points: int = 0
    signs: bool = False
    all_signs: bool = True
    probability: float | None = None
    witness: Witness | None = None
    stopped_by: str | None = None

    @property
    def ok(self) -> bool:
        """Whether they are proved to be equal."""
        return self.verdict == "proved"

    def __str__(self) -> str:
        """Tell the answer first, then what it rests on."""
        lines = [f"{self.verdict}{self._headline()}"]
        if self.sizes:
            sizes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
            lines.append(f"  sizes: {sizes}")
        if self.kept:
            lines.append(f"  kept: {'; '.join(self.kept)}")
        if self.constants:
            lines.append(f"  constants: {', '.join(self.constants)}")
        if self.ok:
            signs = ", with other signs at each" if self.signs else ""
            of = "an error"
            if not self.all_signs:
                of = "overlooking what half of the signs show"
            lines.append(
                f"  {self.points} points{signs}; "
                f"probability of {of} at most {self.probability:.0e}"
            )
        return "\n".join(lines)

    def _headline(self) -> str:
        if self.witness is not None:
            place = list(self.witness.index) if self.witness.index else ""
            elsewhere = "; at other points they are proved equal" * bool(self.points)
            return (
                f": {self.witness.output}{place} is {self.witness.first} by f and "
                f"{self.witness.second} by g{elsewhere}"
            )
        if self.stopped_by is not None:
            return f": {self.stopped_by}"
        named = [name for name in self.outputs if name != "the result"]
        where = " off the kinks" if self.signs else ""
        return f": f and g are equal{where}{': ' if named else ''}{', '.join(named)}"


def equivalent(
    f: Callable[..., Any],
    g: Callable[..., Any],
    *arrays: Any,
    names: Sequence[str] | str | None = None,
    hold: Sequence[str] | str = (),
    seed: int = 0,
) -> Equivalence:
    r"""Decide whether two functions of the same arrays are equal.

    Parameters
    ----------
    f, g
        Each returns a number, an array or a Tensor, or a tuple or dictionary of them.
        One may be ours (it is given Tensors, and its recorded graph is read; gradients
        by `tg.grad` and `tg.gradients` are part of a graph), the other plain NumPy (it
        is given object arrays of exact numbers). Parts of dictionaries are compared by
        name, and ``"dW"`` is the gradient named ``"W"``.
    arrays
        Arrays, or shapes. Their values do not matter: the functions are compared for
        all values. Only an array with a single 1 in each row stays such an array,
        integers are drawn again below their largest, and booleans are drawn again.
    names
        Of the arrays; by default the parameters of ``f`` or ``g``.
    hold
        Names of arrays that keep their value: the functions are equal for these.
    seed
        Draws the points.

    Returns
    -------
    `Equivalence`: ``"proved"``, ``"different"`` with a witness, or ``"cannot say"``.

    Notes
    -----
    Both are evaluated exactly at random points, as `tinygrad_nn.check.fields` says,
    and told from each other by a point in floats. The sizes are made small, different
    sizes staying different, so that a transposed matrix does not fit; if the functions
    do not run at the small sizes, those of the given arrays are taken. What is proved
    at small sizes is compared at the given ones too, in floats: 2 / n is 1 where n is
    2. Two axes that have one size stay so: give shapes without chance equalities.

    Where a function chooses by values (an ``if``), the graph that one choice records is
    not believed, and the function runs on exact numbers or is left open.

    The probability of an error has two parts. Rational functions of degree d, in k
    results, that differ agree at a random point with probability :math:`k d / p` at
    most (the Schwartz-Zippel lemma); d is bounded operation by operation and p is the
    least prime in use, above :math:`2^{88}`. If there are comparisons, the functions
    are such a rational function for each pattern of signs, and a point meets one
    pattern. Of up to 3 comparisons all patterns are met, each with probability
    :math:`1 - 2^{-41}` at least. Of more, a difference that half of the patterns show
    (one wrong mask, one wrong branch, one kink more) is overlooked at all of 41 points
    with probability :math:`2^{-41}`. A difference that needs r signs at once shows in
    :math:`2^{-r}` of the patterns, and escapes with :math:`(1 - 2^{-r})^{41}` in each
    of its places, but a network's arrays have many of these.

    Functions are equal *off the kinks*: at x = 0, relu may have any slope. And where
    both are defined: x / x is 1.

    Raises
    ------
    OpError
        If the functions run on no floats of these shapes, or return different parts.

    Examples
    --------
    >>> def softmax(z):
    ...     e = np.exp(z - z.max(axis=1, keepdims=True))
    ...     return e / e.sum(axis=1, keepdims=True)
    >>> print(equivalent(softmax, lambda z: softmax(z + 1), (5, 3)))
    proved: f and g are equal off the kinks
      sizes: z (3, 2)
      213 points, with other signs at each; probability of an error at most 4e-13
    >>> answer = equivalent(np.tanh, lambda z: 2 / (1 + np.exp(-z)) - 1, (3,))
    >>> answer.verdict, answer.witness.output
    ('different', 'the result')
    """
    given = points.arguments(
        arrays, argument_names(names, len(arrays), f, g, "equivalent")
    )
    given = [_held(x, array, hold) for x, array in zip(given, arrays, strict=True)]
    comparison = _Comparison(Side(f, "f"), Side(g, "g"), given, seed)
    return comparison.answer()


class _Comparison:
    """Two functions at given arguments, on the way to an answer."""

    def __init__(self, f: Side, g: Side, given: list[Argument], seed: int) -> None:
        self.f = f
        self.g = g
        self.given = given
        self.seed = seed

    def answer(self) -> Equivalence:
        shrunk = points.small(self.given)
        candidates = [self.given] if shrunk == self.given else [shrunk, self.given]
        refuted: tuple[Search, Witness] | None = None
        error: Exception | None = None
        for given in candidates:
            search = Search(self.f, self.g, given, self.seed)
            try:
                witness = search.witness()
            except Exception as raised:  # noqa: BLE001 (not at these sizes)
                error = raised
                continue
            if witness is None:
                # A size that a function knows by heart may break the small ones only.
                return self._but(self._proof(given, search), search)
            if np.isinf(witness.share):
                return _said("different", search, witness=witness)
            refuted = refuted or (search, witness)
        if refuted is None:
            raise OpError(
                "equivalent: expected functions that run on floats of the given "
                f"shapes; got {type(error).__name__}: {error}"
            ) from error
        return self._confirmed(*refuted)

    def _confirmed(self, search: Search, witness: Witness) -> Equivalence:
        """Believe a witness if exact values differ as well, or if it is plain.

        Where all of a result is saturated or cancels, its floats are rounding alone.
        """
        answer = self._proof(list(search.given), search)
        if answer.ok:
            return answer
        differ = answer.stopped_by is not None and _DIFFER in answer.stopped_by
        beyond = witness.share > (_SLIGHT if differ else PLAIN)
        if beyond and search.survives(witness):
            return _said("different", search, witness=witness)
        return answer

    def _but(self, answer: Equivalence, search: Search) -> Equivalence:
        """Look for a witness again, knowing what to expect.

        After a proof the given arrays may be an exception. Where exact values differ,
        a witness may be rare.
        """
        if answer.ok:
            whole = Search(self.f, self.g, self.given, self.seed)
            if list(search.given) != self.given:
                # Small sizes may agree by chance: 2 / n is 1 where n is 2.
                witness = whole.plain()
                if witness is not None:
                    return _said("different", whole, witness=witness)
            witness = whole.exception()
        else:
            witness = search.further()
            if witness is not None and not search.survives(witness):
                return answer
        if witness is None:
            return answer
        return replace(answer, verdict="different", witness=witness, stopped_by=None)

    # --- exact ------------------------------------------------------------------

    def _proof(self, given: list[Argument], search: Search) -> Equivalence:
        if points.count(given) > _MOST_NUMBERS:
            why = (
                f"{points.count(given)} numbers are too many to compute with exactly. "
                "The functions do not run at smaller sizes: take sizes from the arrays"
            )
            return _said("cannot say", search, stopped_by=why)
        known = _Known()
        self._probe(search)
        agreed, degree = 0, 0
        rng = np.random.default_rng([self.seed, len(points.DRAWS)])
        point = [x.drawn(rng, search.draw) for x in given]
        for run in range(_TRIES):
            exact = known.field(self._seed(run))
            values = [x.exact(exact, old) for x, old in zip(given, point, strict=True)]
            try:
                reason, found = self._agree(Trial(point, exact, values), search.pairs)
            except Resample:
                continue  # what was recorded serves the next try
            except TooDeep:
                known.height += 1
                if known.height <= len(CHAIN):
                    continue
                reason = f"exp: more than {len(CHAIN)} of them stand inside each other"
            point = [x.drawn(rng, search.draw) for x in given]
            if known.corrected(exact):
                agreed = 0
                continue
            if reason is not None:
                return _said(
                    "cannot say", search, stopped_by=reason, constants=known.recovered
                )
            degree = max(degree, found)
            agreed += 1
            if agreed == known.points:
                break
        else:
            reason = "sqrt: no point was found at which every root exists"
            return _said("cannot say", search, stopped_by=reason)
        probability = float(Fraction(degree, min(exact.primes)))
        if known.signs:
            probability += known.overlooked**agreed
        return _said(
            "proved",
            search,
            points=agreed,
            signs=known.signs,
            all_signs=known.all_signs,
            constants=known.recovered,
            probability=probability,
        )

    def _probe(self, search: Search) -> None:
        for side in (self.f, self.g):
            side.probe(search.near_and_far())

    def _seed(self, run: int) -> int:
        return int(np.random.SeedSequence([self.seed, run]).generate_state(1)[0])

    def _agree(
        self, trial: Trial, pairs: Sequence[tuple[str, str, str]]
    ) -> tuple[str | None, int]:
        """Return why they do not agree at a point, or None; and the degree in sum."""
        reason: str | None = None
        seconds = _Remembered(self.g.readings(trial))
        for first in self.f.readings(trial):
            if isinstance(first, Stopped):
                reason = reason or str(first)
                continue
            for second in seconds:
                if isinstance(second, Stopped):
                    reason = reason or str(second)
                    continue
                differs, degree = _same(first, second, pairs, trial.field)
                if differs is None:
                    return None, degree
                reason = differs
        return reason, 0


def _same(
    first: Outputs,
    second: Outputs,
    pairs: Sequence[tuple[str, str, str]],
    exact: Field,
) -> tuple[str | None, int]:
    """Return what differs, or None; and the degree in sum."""
    degree = 0
    for title, one, other in pairs:
        a, b = first[one], second[other]
        if a.shape != b.shape:
            return f"{title}: its shape depends on values", 0
        for place in np.ndindex(a.shape):
            x, y = _element(exact, a[place]), _element(exact, b[place])
            name = f"{title}{list(place) if place else ''}"
            if not x.levels or not y.levels:
                if exact.undefined:
                    raise Resample("a root that does not exist")
                return f"{name} is infinite or undefined", 0
            if x.levels[0] != y.levels[0]:
                met = ", ".join(sorted(exact.used))
                law = f"; a law of {met} may be missing" if met else ""
                return f"{name}: {_DIFFER}, its floats hardly do{law}", 0
            degree += x.degree + y.degree
    return None, degree


def _said(
    verdict: str,
    search: Search,
    *,
    constants: Mapping[float, str] | None = None,
    **facts: Any,
) -> Equivalence:
    given = search.given
    return Equivalence(
        verdict,
        outputs=tuple(title for title, _, _ in search.pairs),
        sizes={x.name: x.shape for x in given if x.kind != "held"},
        kept=tuple(told for x in given if (told := _kept(x))),
        constants=tuple(f"{x!r} is {told}" for x, told in (constants or {}).items()),
        **facts,
    )


class _Known:
    """What the points so far have taught about the next ones.

    Where signs are asked for, the first two points are scouts: numbers that have one
    value at both are constants, and their signs no random bits.
    """

    def __init__(self) -> None:
        self.height = 1
        self.signs = False
        self.questions = 0
        self.recovered: dict[float, str] = {}
        self._top = 0
        self._scout: tuple[set[int], set[int]] | None = None
        self._constants: Constants | None = None
        self._seen: set[int] = set()

    def field(self, seed: int) -> Field:
        """Return a new point."""
        return Field(
            seed,
            self.height,
            top=self._top,
            constants=self._constants,
            branches=self.signs,
        )

    @property
    def points(self) -> int:
        """How many points are enough."""
        if not self.signs:
            return _POINTS_WITHOUT_SIGNS
        return _POINTS_WITH_ALL_SIGNS.get(self.questions, _POINTS_WITH_SIGNS)

    @property
    def all_signs(self) -> bool:
        """Whether each pattern of signs is met at these points."""
        return not self.signs or self.questions in _POINTS_WITH_ALL_SIGNS

    @property
    def overlooked(self) -> float:
        """How likely a point does not show a difference that depends on signs."""
        if self.all_signs:  # it may need all of them at once
            return float(1 - 2.0 ** -max(self.questions, 1))
        return 0.5

    def corrected(self, exact: Field) -> bool:
        """Learn from a point; return whether the signs at it may have been wrong."""
        self.recovered |= exact.recovered
        self.signs = self.signs or "sign" in exact.used
        if not self.signs:
            return False
        if exact.irregular and exact.regular:
            self._top = exact.regular_top()
            self._scout, self._constants, self._seen = None, None, set()
            return True
        met = set(exact.signs)
        if self._constants is None:
            now = met, exact.differences()
            if self._scout is not None:
                self._constants = Constants({}, set())
                again = [a & b for a, b in zip(self._scout, now, strict=True)]
                self._constants.learn(again[0], again[1], exact.top)
            self._scout = now
            return True
        free = [x for x in met if not self._constants.signs.get(x)]
        self.questions = max(self.questions, len(free) // 2)
        again_met = self._seen & met - self._constants.signs.keys()
        self._constants.learn(again_met, set(), exact.top)
        self._seen |= met
        return bool(again_met)


class _Remembered:
    """What an iterator gives, kept so that it can be gone through again."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._known: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        """Give what is known, then what the source has left."""
        yield from self._known
        for x in self._source:
            self._known.append(x)
            yield x


def _element(exact: Field, x: Any) -> Number:
    if isinstance(x, Number):
        return x
    if isinstance(x, np.generic):
        x = x.item()
    return exact.number(x) if isinstance(x, float) else exact.constant(int(x))


def _kept(x: Argument) -> str:
    words = {
        "one-hot": f"a single 1 along axis {x.axis}",
        "index": f"integers below {x.bound}",
        "mask": "booleans",
        "held": "its value",
    }
    return f"{x.name}: {words[x.kind]}" if x.kind in words else ""


def _held(x: Argument, array: Any, hold: Sequence[str] | str) -> Argument:
    held = hold.replace(",", " ").split() if isinstance(hold, str) else hold
    if x.name not in held:
        return x
    value = np.asarray(array)
    return Argument(x.name, "held", value.shape, value)
