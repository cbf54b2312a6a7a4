"""One point: what the function does there, what is claimed there, and who is right.

Random directions over all parameters at once come first; they cost the same for ten
elements and for ten million. Only where they disagree are parameters judged one by
one, then elements, found by bisection where there are many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_nn.check import noise
from tinygrad_nn.check.line import Line
from tinygrad_nn.check.report import worst_verdict
from tinygrad_nn.check.subject import Claim, Point, Subject
from tinygrad_nn.check.verdict import NOT_A_MISTAKE, Outcome, judge

__all__ = ["Agreement", "Element", "Finding", "Site", "sizes_of"]

_EPS = float(np.finfo(np.float64).eps)
_TINY = 1e-150
_MANY = 600
_BUDGET = 3000
_SAMPLE = 48
_NEAR = 2.0**-20
_LOOKS = 8
_WHOLE = 5e-4
_BENT = 2.0**-9  # of the slopes' spread over a large step: as much within `_NEAR`
_ENOUGH = 3  # wrong elements of a parameter, after which the others need no second look
_WEAK = 1e-3
_SHARP = 1e-2  # of what would be enough: the bound that is asked for first

Direction = Mapping[int, np.ndarray]
"""By number of the parameter: how far each element moves in a step of 1."""


class Element(NamedTuple):
    """What was found about one element of a parameter; slopes are per unit."""

    verdict: str
    numeric: float
    bound: float


class Finding(NamedTuple):
    """What was found about one parameter."""

    verdict: str
    resolution: float
    elements: Mapping[int, Element]
    cause: str | None = None


class Agreement(NamedTuple):
    """How all parameters together compare with the numbers.

    ``kind`` and ``beyond`` are those of the outcome; ``bound`` is of the slope in a
    step of the elements' sizes, ``resolution`` relative to the smallest parameter.
    """

    kind: str
    bound: float
    resolution: float
    beyond: bool = False


def sizes_of(x: np.ndarray) -> np.ndarray:
    """Size of every element, as the unit of its steps; zeros take the array's.

    >>> sizes_of(np.array([3.0, 0.0, -4.0])).round(3)
    array([3.   , 2.887, 4.   ])
    """
    size: np.ndarray = np.abs(x)
    if not x.size:
        return size
    largest = float(size.max())
    if largest < _TINY:
        return np.ones(x.shape)
    mean = largest * float(np.sqrt(np.mean((size / largest) ** 2)))
    return np.where(size < _TINY, mean, size)


class Site:
    """A point, the outputs and the claimed gradients there."""

    def __init__(
        self,
        subject: Subject,
        claim: Claim,
        cotangent: np.ndarray,
        point: Point,
        rng: np.random.Generator,
        *,
        skip: bool = False,
    ) -> None:
        self._subject = subject
        self._skip = skip
        self._cotangent = cotangent
        self.point = point
        self._rng = rng
        centre = subject.at(point)
        self.finite = centre is not None
        self.centre = np.zeros(cotangent.shape) if centre is None else centre
        self.gradients = claim(point)
        self._scales = self._both_scales()
        self.open = [
            p
            for p, g in enumerate(self.gradients)
            if g.size and np.isfinite(g).all() and self.finite
        ]
        # The size of each parameter's part in a change of the output.
        self.shares = [
            float(np.linalg.norm(g * s)) if p in self.open else 0.0
            for p, (g, s) in enumerate(
                zip(self.gradients, self._scales[0], strict=True)
            )
        ]
        self._noise = np.zeros(self.centre.shape)
        self._floor = 0.0
        self._confirmed = 0
        self.rounding: list[np.ndarray] = []
        if self.open:
            self._measure(claim)

    def _both_scales(self) -> tuple[Point, Point]:
        first = [sizes_of(x) for x in self.point]
        second = []
        for s in first:
            mean = float(np.sqrt(np.mean(s * s))) if s.size else 0.0
            second.append(np.maximum(s, 0.1 * mean))
        return first, second

    def _measure(self, claim: Claim) -> None:
        """Noise of the function, and rounding errors of the claimed gradients."""
        everything = self._direction(self.open)
        self._noise = noise.measure(self._along(everything), self.centre)
        self._floor = float(np.linalg.norm(self._cotangent * self._noise))
        changes = [np.zeros(x.shape) for x in self.point]
        for _ in range(3):
            near = [
                np.asarray(x + 4 * _EPS * x * self._rng.choice([-1.0, 1.0], x.shape))
                for x in self.point
            ]
            for p, (g, other) in enumerate(
                zip(self.gradients, claim(near), strict=True)
            ):
                if p in self.open:
                    change = np.asarray(np.abs(other - g))
                    # A jump is no rounding: a mask has switched, the point is a kink.
                    largest = float(np.abs(g * self._scales[0][p]).max())
                    jump = change * self._scales[0][p] > 1e-5 * largest
                    change[jump | ~np.isfinite(change)] = 0.0
                    changes[p] = np.maximum(changes[p], change)
        size = float(np.abs(self._cotangent) @ np.abs(self.centre))
        self.rounding = [
            4 * c * s
            + (8 * float(np.median(c * s)) if c.size else 0.0)
            + 4 * _EPS * np.abs(g * s)
            + 16 * _EPS * size
            for c, s, g in zip(changes, self._scales[0], self.gradients, strict=True)
        ]

    # --- moving along lines ---

    def _direction(
        self,
        parameters: Sequence[int],
        scale: int = 0,
        only: np.ndarray | None = None,
    ) -> dict[int, np.ndarray]:
        """Move every element by a random share of its size; or only some of one."""
        found = {}
        for p in parameters:
            s = self._scales[scale][p]
            step = s * self._rng.uniform(0.5, 1.0, s.shape)
            step = step * self._rng.choice([-1.0, 1.0], s.shape)
            if only is not None:
                step = np.where(only, step, 0.0)
            found[p] = np.asarray(step)
        return found

    def _along(self, direction: Direction, base: Point | None = None) -> _Path:
        return _Path(self._subject, base or self.point, direction)

    def _judge(
        self,
        direction: Direction,
        target: float,
        enough: float = 0.0,
        *,
        flat: bool = False,
    ) -> Outcome:
        claim = slack = share = terms = 0.0
        for p, step in direction.items():
            parts = self.gradients[p] * step
            claim += float(np.sum(parts))
            terms += float(np.sum(np.abs(parts)))
            part = self.rounding[p] * (step != 0)
            slack += float(np.sum(part * part))
            share = max(share, float(np.linalg.norm(parts)))
        along = self._along(direction)
        scale = max(share, abs(claim))

        def judged(off: np.ndarray) -> tuple[Outcome, float]:
            line = Line(along, self.centre, self._cotangent, off, scale)
            size = share if flat else np.inf
            rounding = float(np.sqrt(slack))
            found = judge(line, claim, rounding, target, enough=enough, size=size)
            return found, line.spread

        outcome, spread = judged(self._noise)
        convicted = self._confirmed >= _ENOUGH
        if outcome.kind in ("reject", "outside") and not convicted:
            # Before an accusation: is the function noisier along just this line?
            here = np.maximum(
                noise.measure(along, self.centre), noise.stairs(along, self.centre)
            )
            if np.any(np.abs(self._cotangent) * here > 3 * self._floor):
                outcome, spread = judged(np.maximum(here, self._noise))
            missed = abs(claim - outcome.value)
            # A difference that accuses nobody needs no defence either.
            if outcome.kind == "reject" and missed > NOT_A_MISTAKE * terms:
                off = max(0.1 * missed, 1e-3 * scale) + _BENT * spread
                if not self._steady(direction, outcome.value, off):
                    outcome = outcome._replace(kind="outside")
            self._confirmed += outcome.kind == "reject"
        if outcome.kind == "reject":
            surely = abs(claim - outcome.value) - outcome.bound - float(np.sqrt(slack))
            outcome = outcome._replace(beyond=surely > NOT_A_MISTAKE * terms)
        if outcome.kind == "outside" and (
            self._skip
            or not self._same_signed(
                direction,
                outcome.jump,
                abs(claim - outcome.value) - 0.5 * abs(outcome.jump),
            )
        ):
            return outcome._replace(kind="kink")
        return outcome

    def _steady(self, direction: Direction, slope: float, off: float) -> bool:
        """Whether the slope is the same beside the point, but for ``off``.

        Kinks of both signs can coincide and hide each other exactly, as in a network
        of relus whose weights are zero; but only at that one point.
        """
        step = 2.0**-26
        off += 8 * self._floor / step
        for attempt in range(6):
            along = self._along(direction, self._neighbour(attempt % 2))
            plus, minus = along(step), along(-step)
            if plus is None or minus is None:
                continue
            beside = float(self._cotangent @ (plus - minus)) / (2 * step)
            if abs(beside - slope) > off:
                return False
        return True

    def _neighbour(self, scale: int) -> Point:
        """Move the point a very little, where coinciding kinks part."""
        steps = self._direction(range(len(self.point)), scale).values()
        return [
            np.asarray(x + _NEAR * step * 8.0 ** self._rng.uniform(-1, 1, x.shape))
            for x, step in zip(self.point, steps, strict=True)
        ]

    def _same_signed(self, direction: Direction, jump: float, excess: float) -> bool:
        """Whether all kinks met here along a direction bend the same way.

        Only then must a gradient lie between the one-sided slopes: the kinks of a sum
        of relus of both signs can hide each other. From a place beside the point the
        kinks are met one after the other, so each bend is seen; and all of them were
        met only where they add up to the whole ``jump`` of the slopes. What bends the
        other way must be nothing beside the ``excess`` of the claim.
        """
        steps = _NEAR * 2.0 ** np.arange(-5, 7, 0.5)
        grid = np.concatenate([-steps[::-1], steps])
        widths = np.diff(grid)
        off = 8 * self._floor * (1 / widths[1:] + 1 / widths[:-1])
        complete = 0
        for attempt in range(_LOOKS):
            along = self._along(direction, self._neighbour(attempt % 2))
            values = [v for t in grid if (v := along(float(t))) is not None]
            if len(values) < len(grid):
                return False
            heights = np.array([float(self._cotangent @ v) for v in values])
            slopes = np.diff(heights) / widths
            bends = np.diff(slopes)
            against = bends * np.sign(jump) < -off
            if float(np.abs(bends[against]).sum()) > 0.5 * excess:
                return False
            met = float(slopes[-1] - slopes[0])
            noise = off[0] + off[-1]
            complete += abs(met - jump) <= _WHOLE * abs(jump) + noise
        return complete >= 2

    # --- judging, from the whole to the element ---

    def agrees(self, directions: int) -> Agreement:
        """Judge all parameters at once."""
        seen = [g for p, g in enumerate(self.shares) if p in self.open]
        whole = float(np.linalg.norm(seen))
        counted = [share for share in seen if share > 100 * self._floor]
        enough = min(1e-8 * whole, NOT_A_MISTAKE * min(counted, default=whole))
        worst = 0.0
        for scale in range(directions):
            direction = self._direction(self.open, scale % 2)
            outcome = self._judge(direction, _SHARP * enough, enough)
            if outcome.kind != "pass":
                return Agreement(outcome.kind, np.inf, np.inf, beyond=outcome.beyond)
            worst = max(worst, outcome.bound)
        smallest = min(counted, default=whole)
        return Agreement("pass", worst, worst / smallest if smallest else 0.0)

    def examine(
        self, parameter: int, *, thorough: bool = True, suspect: bool = False
    ) -> Finding:
        """Judge one parameter.

        Parameters
        ----------
        parameter
            Its number.
        thorough
            Look at elements also where directions give no reason to.
        suspect
            All parameters at once were rejected: then a direction in which no two
            terms cancel is tried too, and nothing is ``ok`` on a blunt test.
        """
        size = self.gradients[parameter].size
        share = self.shares[parameter]
        enough = 1e-4 * share / np.sqrt(size)
        target = _SHARP * NOT_A_MISTAKE * share / np.sqrt(size)
        resolution = 0.0
        limited = False
        for attempt in range(3 if suspect else 2):
            direction = self._direction([parameter], attempt % 2)
            if attempt == 2:
                signs = np.where(self.gradients[parameter] < 0, -1.0, 1.0)
                direction = {parameter: np.abs(direction[parameter]) * signs}
            outcome = self._judge(direction, target, enough, flat=True)
            if outcome.kind == "limited":
                limited = True
            elif outcome.kind != "pass":
                break
            resolution = max(resolution, outcome.bound)
        else:
            relative = float(resolution * np.sqrt(size) / share) if share else 0.0
            vanishing = share <= 100 * self._floor
            blunt = relative > NOT_A_MISTAKE if suspect else relative > _WEAK
            weak = (limited or suspect) and blunt and not vanishing
            return Finding("weak" if weak else "ok", 0.0 if vanishing else relative, {})
        if not thorough and outcome.kind not in ("reject", "outside"):
            return Finding("ok", 0.0, {})
        finding = self._look_closer(parameter, rejected=outcome.kind == "reject")
        if finding.verdict == "ok" and (suspect or outcome.kind == "reject"):
            return self._doubted(finding, size, beyond=outcome.beyond)
        if outcome.kind != "unclear" and finding.verdict == "kink":
            tied = outcome.kind == "outside" or self._ties_exceeded(parameter)
            if tied:
                cause = (
                    "at a tie it exceeds every one-sided slope: more than all of it is "
                    "shared out"
                )
                return finding._replace(verdict="wrong", cause=cause)
        return finding

    def every(self, parameter: int) -> Finding:
        """Judge every element of one parameter."""
        size = self.gradients[parameter].size
        return self._settled(
            parameter, {i: self._element(parameter, i) for i in range(size)}
        )

    def convict(self, parameter: int) -> Finding:
        """Look for wrong elements where all parameters at once were surely wrong."""
        finding = self._look_closer(parameter, rejected=True)
        if finding.verdict not in ("ok", "weak"):
            return finding
        return self._doubted(finding, self.gradients[parameter].size, beyond=True)

    @staticmethod
    def _doubted(finding: Finding, size: int, *, beyond: bool) -> Finding:
        """Settle a contradiction: rejected as a whole, but no element is wrong.

        What was surely rejected is wrong unless every element was confirmed sharply:
        then kinks close by, which small elements do not reach, bend the whole alone.
        """
        sharp = finding.resolution <= NOT_A_MISTAKE
        if beyond and not (sharp and len(finding.elements) == size):
            return finding._replace(verdict="wrong")
        if beyond or not sharp:
            return finding._replace(verdict="weak")
        return finding

    def _ties_exceeded(self, parameter: int) -> bool:
        """Try more directions at a kink: each one alone sees only some of the ties.

        Where every element grows, the whole of each tie is more than their largest.
        """
        for growing in (True, True, True, False, False, False, False):
            direction = self._direction([parameter])
            if growing:
                direction = {parameter: np.abs(direction[parameter])}
            outcome = self._judge(direction, 0.0)
            if outcome.kind == "outside":
                return True
        return False

    def _look_closer(self, parameter: int, *, rejected: bool) -> Finding:
        size = self.gradients[parameter].size
        if size <= _MANY:
            chosen = self._rng.permutation(size)
        else:
            chosen = self._rng.choice(size, _SAMPLE, replace=False)
            if rejected:
                chosen = np.concatenate([self._bisect(parameter), chosen])
        start = self._subject.evaluations
        self._confirmed = 0
        elements: dict[int, Element] = {}
        refuted = False
        for i in chosen.tolist():
            if i not in elements:
                elements[i] = self._element(parameter, i)
                refuted = refuted or elements[i].verdict == "wrong"
            spent = self._subject.evaluations - start
            if spent > (3 * _BUDGET if rejected or refuted else _BUDGET):
                break
        self._confirmed = 0
        return self._settled(parameter, elements)

    def _settled(self, parameter: int, elements: Mapping[int, Element]) -> Finding:
        size = self.gradients[parameter].size
        verdict = worst_verdict(*(e.verdict for e in elements.values()))
        mean = self.shares[parameter] / np.sqrt(size)
        flat = self._scales[0][parameter].ravel()
        claims = self.gradients[parameter].ravel()
        # A claim that is off and not refuted shows how blunt the numbers are.
        unseen = {
            i: max(e.bound, abs(claims[i] - e.numeric))
            if e.verdict == "weak"
            else e.bound
            for i, e in elements.items()
        }
        off = max((bound * flat[i] for i, bound in unseen.items()), default=0.0)
        resolution = float(off / mean) if mean else 0.0
        return Finding(verdict, resolution, elements)

    def _bisect(self, parameter: int) -> np.ndarray:
        """Elements among which a wrong one lies: few, or one."""
        shape = self.gradients[parameter].shape
        suspects = np.arange(self.gradients[parameter].size)
        while suspects.size > 1:
            self._rng.shuffle(suspects)
            half = suspects.size // 2
            for part in (suspects[:half], suspects[half:]):
                mask = np.zeros(shape, bool)
                mask.flat[part] = True
                outcome = self._judge(self._direction([parameter], 0, mask), 0.0)
                if outcome.kind == "reject":
                    suspects = part
                    break
            else:
                break
        return suspects[:_SAMPLE]

    def _element(self, parameter: int, i: int) -> Element:
        gradient = float(self.gradients[parameter].flat[i])
        mean = self.shares[parameter] / np.sqrt(self.gradients[parameter].size)
        largest = float(
            np.abs(self.gradients[parameter] * self._scales[0][parameter]).max()
        )
        found = []
        steps = {float(scale[parameter].flat[i]) for scale in self._scales}
        for step in sorted(steps):
            direction = np.zeros(self.gradients[parameter].shape)
            direction.flat[i] = step
            enough = NOT_A_MISTAKE * largest
            target = _SHARP * NOT_A_MISTAKE * max(abs(gradient) * step, 1e-3 * mean)
            outcome = self._judge({parameter: direction}, min(target, enough), enough)
            verdict = self._verdict(outcome, gradient * step, mean)
            element = Element(verdict, outcome.value / step, outcome.bound / step)
            if verdict == "ok":
                return element
            found.append(element)
            if verdict != "weak":
                break
        return found[-1]

    def _verdict(self, outcome: Outcome, claim: float, mean: float) -> str:
        difference = abs(claim - outcome.value)
        size = max(abs(outcome.value), mean)
        if outcome.kind == "reject":
            close = NOT_A_MISTAKE * abs(outcome.value) + 1e-9 * mean
            return "ok" if difference <= close else "wrong"
        if outcome.kind == "outside":
            return "wrong"
        if outcome.kind == "kink":
            return "kink"
        if outcome.kind == "pass" or outcome.bound <= _WEAK * size:
            close = difference <= outcome.bound + NOT_A_MISTAKE * size
            return "ok" if close else "weak"
        vanishing = size <= 100 * self._floor and difference <= outcome.bound
        return "ok" if vanishing else "weak"


class _Path:
    """Outputs at a distance from a point in a direction; None out of the domain."""

    def __init__(self, subject: Subject, base: Point, direction: Direction) -> None:
        self._subject = subject
        self._base = base
        self._direction = direction

    def __call__(self, distance: float) -> np.ndarray | None:
        point = [
            np.asarray(x + distance * self._direction[p])
            if p in self._direction
            else x.copy()
            for p, x in enumerate(self._base)
        ]
        return self._subject.at(point)
