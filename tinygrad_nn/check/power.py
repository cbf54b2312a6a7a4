"""`power`: which mistakes a gradient check could see, shown by making them.

A check that passes says little if it would have passed a wrong gradient too. So the
gradient is made wrong in the ways people make it wrong, and the check is run on each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.check.gradients import check_gradients
from tinygrad_nn.check.site import Site
from tinygrad_nn.check.slips import Slip, Slips
from tinygrad_nn.check.subject import Claim, Point, Subject, autograd
from tinygrad_nn.errors import GradientError
from tinygrad_nn.op import data_of

__all__ = ["Mutant", "PowerReport", "power"]

_SLIPS = 40
_SMALL = 1e-3

Mutation = Callable[[Point, Point], Point]
"""``(gradients, point)`` to gradients with a mistake in them."""


class _Test(NamedTuple):
    """What is checked."""

    f: Callable[..., Any]
    arrays: Sequence[Any]
    subject: Subject
    cotangent: np.ndarray
    right: Point
    seed: int


@dataclass(frozen=True)
class Mutant:
    """A mistake, and whether the check sees it.

    Attributes
    ----------
    what
        The mistake in words.
    seen
        Whether the check calls it wrong.
    changed
        Whether it changes the gradient at all, at the given point.
    """

    what: str
    seen: bool
    changed: bool

    def __str__(self) -> str:
        """One line of the table."""
        note = "" if self.changed or self.seen else "  (it changes nothing here)"
        return f"  {'seen' if self.seen else 'NOT SEEN':<9} {self.what}{note}"


@dataclass(frozen=True)
class PowerReport:
    """Which mistakes a check could see; true where it sees all that change anything.

    Attributes
    ----------
    mutants
        A `Mutant` for each mistake that was made.
    warnings
        Why a check may be blind, in sentences.
    """

    mutants: tuple[Mutant, ...]
    warnings: tuple[str, ...] = ()

    @property
    def unseen(self) -> tuple[str, ...]:
        """Mistakes that the check does not see."""
        return tuple(m.what for m in self.mutants if not m.seen)

    @property
    def share(self) -> float:
        """Part of the mistakes that is seen, from 0 to 1."""
        count = len(self.mutants)
        return sum(m.seen for m in self.mutants) / count if count else 0.0

    def __bool__(self) -> bool:
        """Whether every mistake that changes the gradient is seen."""
        seen = any(m.seen for m in self.mutants)
        blind = self.warnings and self.unseen
        changing = all(m.seen or not m.changed for m in self.mutants)
        return seen and changing and not blind

    def __str__(self) -> str:
        """Write the table; what is not seen first."""
        seen = sum(m.seen for m in self.mutants)
        lines = [f"{seen} of {len(self.mutants)} mistakes would be seen"]
        lines += [f"  warning: {text}" for text in self.warnings]
        lines += [str(m) for m in sorted(self.mutants, key=lambda m: m.seen)]
        return "\n".join(lines)


def power(f: Callable[..., Any], *arrays: Any, seed: int = 0) -> PowerReport:
    """Make mistakes in the gradient of ``f``, and tell which of them a check would see.

    Parameters
    ----------
    f, arrays
        As for `check_gradients`; ``f`` runs on Tensors.
    seed
        Of the check.

    Returns
    -------
    PowerReport
        ``.unseen``, ``.share``, ``.warnings``; true where every mistake that changes
        the gradient is seen. The mistakes are: all of it scaled by 1.001, another sign,
        one element off by a thousandth, a transpose, a row of zeros, a needless
        regulariser, and, for each line of ``f``, a derivative that is left out, taken
        of the wrong array, lost or transposed (`tinygrad_nn.check.slips`).

    Raises
    ------
    GradientError, OpError
        As `check_gradients`.

    Examples
    --------
    A sum hides what a normalisation does: its gradient is zero whatever happens.

    >>> x = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, -0.4]])
    >>> import tinygrad_nn as tg
    >>> report = power(lambda x: tg.softmax(x).sum(), x)
    >>> bool(report), report.warnings[0][:42]
    (False, 'the gradient is zero here: no wrong factor')
    >>> bool(power(lambda x: tg.softmax(x), x))
    True
    """
    subject = Subject(f, arrays, None, None, "power")
    value = subject.start()
    cotangent = np.ones(1)
    if value.size != 1:
        # The very cotangent of the check: slips are made under it.
        cotangent = np.random.default_rng([seed, 1]).standard_normal(value.shape)
    claim = autograd(subject, cotangent, otherwise="")
    right = claim(subject.point)
    right_verdict = check_gradients(f, *arrays, seed=seed).verdict
    if right_verdict == "wrong":
        raise GradientError(
            "power: expected a gradient that is right; got one that numbers refute. "
            "See check_gradients(f, …), and tg.check.locate"
        )
    test = _Test(f, arrays, subject, cotangent, right, seed)
    tried = []
    for what, mutation in _mutations(right):

        def wrong(point: Point, m: Mutation = mutation) -> Point:
            return m(claim(point), point)

        tried.append(_tried(test, wrong, what))
    unseen = []
    for number, what in _lines(subject, cotangent):

        def slipped(point: Point, n: int = number) -> Point:
            slips = _slips(subject, cotangent, point)
            return slips.gradients(slips.numbered(n))

        tried.append(_tried(test, slipped, what))
        if tried[-1] is not None and not tried[-1].seen:
            unseen.append(number)
    mutants = [mutant for mutant in tried if mutant is not None]
    warnings = tuple(_warnings(subject, value, right, unseen))
    return PowerReport(tuple(mutants), warnings)


def _tried(
    test: _Test,
    wrong: Claim,
    what: str,
) -> Mutant | None:
    try:
        given = wrong(test.subject.point)
    except (ArithmeticError, ValueError, TypeError, IndexError):
        return None  # the mistaken rule does not fit this op
    changed = any(
        not np.allclose(x, y, rtol=1e-12, atol=0)
        for x, y in zip(given, test.right, strict=True)
    )
    rng = np.random.default_rng(test.seed)
    site = Site(test.subject, wrong, test.cotangent, test.subject.point, rng)
    together = site.agrees(2)
    if together.kind == "reject" and together.beyond:
        return Mutant(what, seen=True, changed=changed)

    def picked(*every: Any) -> Point:
        return wrong([np.asarray(every[i], np.float64) for i in test.subject.places])

    if test.cotangent.size != 1:
        report = check_gradients(
            test.f,
            *test.arrays,
            seed=test.seed,
            vjp=lambda g, *every: _scaled(picked, g, every, test.cotangent),
        )
    else:
        report = check_gradients(test.f, *test.arrays, seed=test.seed, formula=picked)
    return Mutant(what, "formula" in report.blame, changed)


def _scaled(
    picked: Callable[..., Point], g: np.ndarray, every: Any, own: np.ndarray
) -> Point:
    """Gradients for a multiple of the check's own cotangent."""
    size = float(own @ own)
    factor = float(g.ravel() @ own) / size if size else 0.0  # of no element: zeros
    return [factor * x for x in picked(*every)]


def _mutations(right: Point) -> Iterator[tuple[str, Mutation]]:
    """Mistakes in the numbers of one parameter."""
    yield "all of it is too large by a thousandth", _each(lambda g, _x: g * 1.001)
    yield "the sign", _each(lambda g, _x: -g)
    yield "a term 0.001 · parameter is too much", _each(lambda g, x: g + _SMALL * x)
    for p, g in enumerate(right):
        of = f" of array {p + 1}" if len(right) > 1 else ""
        if g.size > 1:
            yield (
                f"the largest element{of} is too large by a thousandth",
                _one(p, _largest_off),
            )
        if g.ndim == 2 and g.shape[0] == g.shape[1] and g.size > 1:
            yield f"the transpose{of}", _one(p, lambda g: g.T.copy())
        if g.ndim >= 1 and g.shape[0] > 1:
            yield f"the last row{of} is zero", _one(p, _without_last)


def _each(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Mutation:
    return lambda gradients, point: [
        np.asarray(change(g, x)) for g, x in zip(gradients, point, strict=True)
    ]


def _one(p: int, change: Callable[[np.ndarray], np.ndarray]) -> Mutation:
    return lambda gradients, _point: [
        change(g) if i == p else g for i, g in enumerate(gradients)
    ]


def _largest_off(g: np.ndarray) -> np.ndarray:
    g = g.copy()
    g.flat[int(np.abs(g).argmax())] *= 1 + _SMALL
    return g


def _without_last(g: np.ndarray) -> np.ndarray:
    g = g.copy()
    g[-1] = 0.0
    return g


def _slips(subject: Subject, cotangent: np.ndarray, point: Sequence[Any]) -> Slips:
    variables = subject.variables(point)
    output = subject.recorded(variables)
    return Slips(output, cotangent.reshape(output.shape), variables)


def _lines(subject: Subject, cotangent: np.ndarray) -> list[tuple[int, str]]:
    """Mistakes in lines of f, one of a kind for each line: (number, words)."""
    if not cotangent.size:
        return []  # no element, nothing to be mistaken about
    found: dict[tuple[str, str], tuple[int, str]] = {}
    slips = _slips(subject, cotangent, subject.point)
    for number, slip in enumerate(slips):
        kind = slip.what.split(",")[0]
        if "another array" in kind:
            kind = "another array"
        if kind.startswith("a factor") or (kind, slip.where) in found:
            continue
        if not _idle(slips, slip):
            found.setdefault((kind, slip.where), (number, str(slip)))
    chosen = list(found.values())
    return chosen[:: max(1, -(-len(chosen) // _SLIPS))]


def _idle(slips: Slips, slip: Slip) -> bool:
    try:
        return slips.idle(slip)
    except (ArithmeticError, ValueError, TypeError, IndexError):
        return True  # the mistaken rule does not fit this op


def _warnings(
    subject: Subject, value: np.ndarray, right: Point, unseen: Sequence[int]
) -> Iterator[str]:
    """Say why a check may be blind."""
    size = float(np.abs(value).max(initial=0.0))
    moves = [
        float(np.abs(g * x).max(initial=0.0))
        for g, x in zip(right, subject.point, strict=True)
    ]
    if max(moves, default=0.0) <= 1e-12 * size or not any(map(np.any, right)):
        yield (
            "the gradient is zero here: no wrong factor can be seen at this point, but "
            "perhaps beside it. Return the array itself instead of a sum of it, or "
            "choose another point"
        )
    for name, g in zip(subject.names, right, strict=True):
        if not g.any() and any(map(np.any, right)):
            yield f"the gradient of {name} is zero here: choose another point"
    slips = _slips(subject, np.ones(value.size), subject.point)
    op = graph.source(slips.output)[0]
    if op is not None and op.name in ("sum", "mean") and _hidden(slips, unseen):
        yield (
            f"f ends in a {op.name}, where every element counts alike: what leaves it "
            "as it is cannot be seen. Return the array: it gets a random cotangent"
        )


def _hidden(slips: Slips, unseen: Sequence[int]) -> bool:
    """Whether a mistake that is not seen would be, were the array itself returned."""
    last = slips.output
    (array,) = graph.source(last)[1]
    cotangent = np.random.default_rng(0).standard_normal(np.shape(data_of(array)))
    inner = Slips(array, cotangent, slips.wanted)
    for slip in map(slips.numbered, unseen):
        inside = all(node is not last for node in slip.nodes)
        if inside and inner.wrong(inner.gradients(slip)):
            return True
    return False
