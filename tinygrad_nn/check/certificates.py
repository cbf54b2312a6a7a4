"""The complex step: slopes without a difference, exact but for rounding.

A gradient is compared with them to the rounding error of both, which is computed (see
`rounding`) and not chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nn.check import analytic
from tinygrad_nn.check.report import ParameterReport, Worst, worst_verdict
from tinygrad_nn.check.rounding import measured, summed
from tinygrad_nn.check.site import sizes_of
from tinygrad_nn.check.subject import Claim, Point, Subject, autograd, given_by_hand
from tinygrad_nn.errors import GradientError
from tinygrad_nn.op import Node
from tinygrad_nn.ops import multiply
from tinygrad_nn.tensor import gradients

__all__ = ["ComplexStepReport", "complex_step"]

_EPS = float(np.finfo(np.float64).eps)
_BLUNT = 1e-6
_MANY = 600
# A complex product is four real ones, a quotient more; and the two ways round apart.
_BOTH_WAYS = 16.0


@dataclass(frozen=True)
class ComplexStepReport:
    """How a gradient compares with slopes that are exact but for rounding.

    Attributes
    ----------
    parameters
        A `ParameterReport` by name; ``resolution`` is relative to its gradient.
    judged
        Whose gradient: ``"autograd"`` or ``"formula"``.
    evaluations
        How often the function was evaluated on complex arrays.
    seed
        As given.

    Examples
    --------
    >>> report = ComplexStepReport({"W": ParameterReport("W", (2,), "ok")})
    >>> report.verdict, report.ok
    ('ok', True)
    """

    parameters: Mapping[str, ParameterReport]
    judged: str = "autograd"
    evaluations: int = 0
    seed: int = 0

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"wrong"``, or ``"weak"`` where rounding would hide a mistake."""
        return worst_verdict(*(p.verdict for p in self.parameters.values()))

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict != "wrong"

    def __bool__(self) -> bool:
        """Whether nothing is wrong."""
        return self.ok

    def __str__(self) -> str:
        """Write the table, and what is wrong."""
        head = f"{self.evaluations} evaluations, seed {self.seed}"
        lines = [
            f"{self.verdict}: {self.judged} against the complex step ({head})",
            f"  {'parameter':<12} {'shape':>12}  {'verdict':<14} kinks  resolution",
        ]
        lines += [str(p) for p in self.parameters.values()]
        lines += [text for p in self.parameters.values() if (text := p.details())]
        return "\n".join(lines)


def complex_step(
    f: Callable[..., Any],
    *arrays: Any,
    formula: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    names: Sequence[str] | str | None = None,
    seed: int = 0,
) -> ComplexStepReport:
    """Compare a gradient with Im f(x + i h v) / h, h = 1e-200, to rounding.

    Nothing is subtracted, so there is no step to choose and no digit to lose. For
    analytic functions only: absolute values, maxima, comparisons and casts are
    refused by name.

    Parameters
    ----------
    f
        A function of the arrays with any output. Where it runs on Tensors its recorded
        graph is evaluated, else the plain NumPy code itself.
    arrays
        The point, as for `check_gradients`.
    formula, vjp
        A hand-written gradient, as for `check_gradients`. By default autograd's.
    names
        Of the arrays; by default the parameters of ``f``.
    seed
        Of the random directions.

    Returns
    -------
    ComplexStepReport
        ``.ok``, ``.verdict`` (``"ok"``, ``"wrong"`` or ``"weak"``),
        ``.parameters[name].worst``, and a table as its text.

    Raises
    ------
    UnsupportedError
        At what is not analytic, by its name, and its line where a graph was recorded.
    OpError
        If ``f`` does not run on Tensors and neither ``formula`` nor ``vjp`` is given.

    References
    ----------
    W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real
    functions", SIAM Review 40 (1998).

    Examples
    --------
    >>> W = np.array([[0.5, -1.0], [2.0, 0.1]])
    >>> def cost(W):
    ...     return np.sum(np.tanh(W) ** 2)
    >>> complex_step(cost, W).verdict
    'ok'
    >>> report = complex_step(cost, W, formula=lambda W: 2 * np.tanh(W))
    >>> report.verdict, report.parameters["W"].wrong
    ('wrong', 4)
    """
    subject = Subject(f, arrays, names, formula or vjp, "complex_step")
    value = subject.start()
    rng = np.random.default_rng([seed, 3])
    cotangent = np.ones(1)
    if value.size != 1:
        cotangent = rng.standard_normal(value.shape)
    claim = given_by_hand(subject, formula, vjp, cotangent)
    slopes = _Slopes(subject, cotangent, rng)
    reports = _compared(slopes, claim)
    return ComplexStepReport(
        parameters={report.name: report for report in reports},
        judged="autograd" if claim is None else "formula",
        evaluations=slopes.evaluations,
        seed=seed,
    )


class _Slopes:
    """Slopes of ``cotangent · f`` along any direction, by the complex step."""

    def __init__(
        self, subject: Subject, cotangent: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.subject = subject
        self.cotangent = cotangent
        self.rng = rng
        self.evaluations = 0
        self._variables = subject.variables(subject.point)
        self._output = subject.graph(self._variables)

    def along(self, direction: Point, point: Point | None = None) -> float:
        """Slope in a direction, at the given arrays or others nearby."""
        self.evaluations += 1
        around = self.subject.point if point is None else point
        moved = [
            np.asarray(x + 1j * analytic.STEP * w)
            for x, w in zip(around, direction, strict=True)
        ]
        if self._output is not None:
            values: dict[Node, np.ndarray] = {}
            values.update(zip(self._variables, moved, strict=True))
            value = analytic.of_graph(self._output, values)
        else:
            value = analytic.of_code(self.subject.f, self.subject.arguments(moved))
        slope = float(self.cotangent @ np.imag(value).ravel()) / analytic.STEP
        if not np.isfinite(slope):
            raise GradientError(
                f"complex_step: expected finite slopes at the given arrays; got {slope}"
                ". Choose another point"
            )
        return slope

    def gradients(self) -> Point:
        """Give what autograd says."""
        return autograd(self.subject, self.cotangent)(self.subject.point)

    def rounding(self, direction: Point, claim: Claim | None) -> float:
        """How far a slope and the claimed one may differ by rounding."""
        bound = 0.0
        if self._output is not None:
            seed = self.cotangent.reshape(self._output.shape)
            with np.errstate(all="ignore"):
                found = gradients(self._output, self._variables, seed, unused="zero")
            terms = [multiply(g, w) for g, w in zip(found, direction, strict=True)]
            bound += _BOTH_WAYS * summed(terms).bound
        else:

            def along(near: Point) -> np.ndarray:
                return np.array([self.along(direction, near)])

            bound += measured(along, self.subject.point, self.rng).bound
        if claim is not None:

            def claimed(near: Point) -> np.ndarray:
                pairs = zip(claim(near), direction, strict=True)
                return np.concatenate([np.ravel(g * w) for g, w in pairs])

            bound += measured(claimed, self.subject.point, self.rng).bound
        return bound


def _compared(slopes: _Slopes, claim: Claim | None) -> list[ParameterReport]:
    """Compare all arrays at once, then one by one, then element by element."""
    subject = slopes.subject
    found = slopes.gradients() if claim is None else claim(subject.point)
    sizes = [sizes_of(x) for x in subject.point]
    bound = 0.0
    agree = True
    for _ in range(2):
        direction = [
            s
            * slopes.rng.uniform(0.5, 1.0, s.shape)
            * slopes.rng.choice([-1, 1], s.shape)
            for s in sizes
        ]
        bound = max(bound, _allowed(slopes, claim, found, direction))
        off = abs(_inner(found, direction) - slopes.along(direction))
        agree = agree and off <= bound
    reports = []
    for i, name in enumerate(subject.names):
        share = float(np.linalg.norm(found[i] * sizes[i]))
        alone = [w if j == i else 0.0 * w for j, w in enumerate(direction)]
        allowed, off = bound, 0.0
        if not agree or bound > _BLUNT * share:
            allowed = _allowed(slopes, claim, found, alone)
            off = abs(_inner(found, alone) - slopes.along(alone))
        resolution = allowed / share if share else 0.0
        if off > allowed:
            reports.append(_located(slopes, i, found[i], sizes[i], allowed))
        else:
            verdict = "weak" if resolution > _BLUNT else "ok"
            shape = found[i].shape
            report = ParameterReport(name, shape, verdict, resolution=resolution)
            reports.append(report)
    return reports


def _inner(gradients: Point, direction: Point) -> float:
    parts = [np.sum(g * w) for g, w in zip(gradients, direction, strict=True)]
    return float(np.sum(parts))


def _allowed(
    slopes: _Slopes, claim: Claim | None, found: Point, direction: Point
) -> float:
    """Rounding error of both sides, and of the sum that is compared."""
    sizes = [
        np.sum(np.abs(g * w)) for g, w in zip(found, direction, strict=True) if g.size
    ]
    own = 32 * _EPS * float(np.sum(sizes))
    return own + slopes.rounding(direction, claim)


def _located(
    slopes: _Slopes, i: int, found: np.ndarray, sizes: np.ndarray, allowed: float
) -> ParameterReport:
    """Name the wrong elements of an array: all of them, where it is not large."""
    still = [np.zeros(x.shape) for x in slopes.subject.point]

    def along(chosen: np.ndarray) -> tuple[float, float]:
        """Slope, claimed and found, where only some elements move."""
        step = np.zeros(found.size)
        step[chosen] = sizes.ravel()[chosen]
        direction = [*still[:i], step.reshape(found.shape), *still[i + 1 :]]
        return _inner([found], direction[i : i + 1]), slopes.along(direction)

    places = np.arange(found.size)
    while places.size > _MANY:
        half = slopes.rng.permutation(places)
        first, second = half[: half.size // 2], half[half.size // 2 :]
        claimed, numeric = along(first)
        places = first if abs(claimed - numeric) > 0.5 * allowed else second
    off = np.zeros(found.size)
    numbers = np.zeros(found.size)
    for place in places:
        claimed, numeric = along(np.array([place]))
        off[place] = abs(claimed - numeric)
        numbers[place] = numeric / sizes.flat[place]
    worst = int(off.argmax())
    return ParameterReport(
        slopes.subject.names[i],
        found.shape,
        "wrong",
        wrong=max(int(np.count_nonzero(off > allowed)), 1),
        checked=places.size,
        resolution=allowed / float(np.linalg.norm(found * sizes) or 1.0),
        worst=Worst(
            tuple(int(k) for k in np.unravel_index(worst, found.shape)),
            float(found.flat[worst]),
            float(numbers[worst]),
            allowed / float(sizes.flat[worst]),
        ),
    )
