"""The adjoint test: a forward and a backward derivative, transposes of each other.

No step is taken, so the two inner products are equal but for rounding, and how much
rounding that is they tell themselves (see `rounding`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.check.rounding import Product, measured, nearby, summed
from tinygrad_nn.check.site import sizes_of
from tinygrad_nn.check.subject import Point, Subject, by_hand
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import data_of
from tinygrad_nn.ops import multiply
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms import jvp as forward_of
from tinygrad_nn.transforms import vjp as backward_of

__all__ = ["AdjointReport", "Pairing", "adjoint_test"]

Terms = Callable[[Sequence[np.ndarray]], np.ndarray]

_BLUNT = 1e-6
_SIDES = 6


class Pairing(NamedTuple):
    """One draw of the adjoint test: ⟨u, J v⟩, ⟨Jᵀ u, v⟩, and how far they may differ.

    ``size`` is the sum of the sizes of all terms of both. ``jump`` is how far they go
    apart within a few units in the last place of the arrays, at a kink.
    """

    forward: float
    backward: float
    bound: float
    size: float
    jump: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether the two are one number but for rounding."""
        return not self._apart > self.bound

    @property
    def kinked(self) -> bool:
        """Whether they differ by no more than slopes do on the sides of a kink."""
        return not self.equal and self._apart <= self.bound + self.jump

    @property
    def wrong(self) -> bool:
        """Whether they differ by more than rounding and kinks allow."""
        return not (self.equal or self.kinked)

    @property
    def _apart(self) -> float:
        return abs(self.forward - self.backward)


@dataclass(frozen=True)
class AdjointReport:
    """Whether a forward and a backward derivative are transposes of each other.

    Attributes
    ----------
    pairings
        A `Pairing` for each draw.
    wrong
        Names of the arrays with respect to which they are not.
    judged
        Who gave the forward derivative, and who the backward one.
    seed
        As given.
    notes
        Sentences that a reader should know.

    Examples
    --------
    >>> report = AdjointReport((Pairing(2.0, 2.0, 1e-15, 4.0),))
    >>> report.verdict, report.ok
    ('ok', True)
    """

    pairings: tuple[Pairing, ...]
    wrong: tuple[str, ...] = ()
    judged: tuple[str, str] = ("tg.jvp", "tg.vjp")
    seed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"wrong"``, ``"kink"``, or ``"weak"``: rounding may hide it."""
        if self.wrong or any(p.wrong for p in self.pairings):
            return "wrong"
        if any(p.kinked for p in self.pairings):
            return "kink"
        return "weak" if self.resolution > _BLUNT else "ok"

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict != "wrong"

    @property
    def resolution(self) -> float:
        """The difference that would have been seen, relative to the terms compared."""
        shares = [p.bound / p.size if p.size else 0.0 for p in self.pairings]
        return max((np.inf if np.isnan(s) else s for s in shares), default=0.0)

    def __bool__(self) -> bool:
        """Whether nothing is wrong."""
        return self.ok

    def __str__(self) -> str:
        """Write every draw, and what is wrong."""
        who = " against ".join(self.judged)
        count = len(self.pairings)
        head = f"{who}; {count} draws, seed {self.seed}"
        titles = ("⟨u, J v⟩", "⟨Jᵀ u, v⟩", "difference", "rounding")
        lines = [
            f"{self.verdict}: adjoint test ({head}, resolution {self.resolution:.1e})",
            "  {:>22}  {:>22}  {:>10}  {:>8}".format(*titles),
        ]
        lines += [
            f"  {p.forward:>22.15g}  {p.backward:>22.15g}"
            f"  {abs(p.forward - p.backward):>10.1e}  {p.bound:>8.1e}"
            for p in self.pairings
        ]
        if self.wrong:
            lines.append(f"  no transposes with respect to {', '.join(self.wrong)}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def adjoint_test(
    f: Callable[..., Any],
    *arrays: Any,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    names: Sequence[str] | str | None = None,
    seed: int = 0,
    draws: int = 3,
) -> AdjointReport:
    """Test ⟨u, J v⟩ = ⟨Jᵀ u, v⟩ with random u and v: exact but for rounding.

    Parameters
    ----------
    f
        A function of the arrays with any output; run on Tensors for what is not given.
    arrays
        The point, as for `check_gradients`.
    jvp
        ``jvp(v, *arrays)``: the derivative along ``v``, in the shape of the output;
        ``v`` is a tuple where several arrays are checked. By default ``tg.jvp``.
    vjp
        ``vjp(g, *arrays)``: gradients with respect to the arrays, as a tuple or a
        dictionary; ``g`` has the shape of the output. By default ``tg.vjp``.
    names
        Of the arrays; by default the parameters of ``f``.
    seed
        Of u and v.
    draws
        How many pairs of u and v: a mistake hides from one with probability 0.

    Returns
    -------
    AdjointReport
        ``.ok``, ``.verdict`` (``"ok"``, ``"wrong"``, ``"kink"`` or ``"weak"``),
        ``.pairings``, ``.wrong`` (names), and a table as its text.

    Raises
    ------
    OpError
        If ``f`` does not run on Tensors and ``jvp`` or ``vjp`` is missing.
    ShapeError
        If ``jvp`` or ``vjp`` gives another shape than that of the output or arrays.

    Notes
    -----
    ``tg.jvp`` goes through the same rules as ``tg.vjp``: of the two, the test sees
    whether a rule is linear in ``g`` and is transposed rightly at second order, and
    not whether its slope is right. That it sees of a ``vjp`` or ``jvp`` by hand.

    Examples
    --------
    >>> x = np.array([1.0, -2.0, 0.5])
    >>> adjoint_test(np.tanh, x).verdict
    'ok'
    >>> report = adjoint_test(np.cumsum, x, vjp=lambda g, x: np.cumsum(g), names="x")
    >>> report.verdict, report.wrong
    ('wrong', ('x',))
    """
    subject = Subject(f, arrays, names, vjp or jvp, "adjoint_test")
    value = subject.start().reshape(subject.shape)
    rng = np.random.default_rng([seed, 2])
    sides = _Sides(subject, jvp, vjp, rng)
    pairings = []
    wrong: dict[str, None] = {}
    for _ in range(max(draws, 1)):
        u = np.asarray(rng.standard_normal(value.shape))
        v = [sizes_of(x) * rng.standard_normal(x.shape) for x in subject.point]
        pairings.append(sides.paired(u, v))
        if pairings[-1].wrong and not wrong:
            for i, name in enumerate(subject.names):
                alone = [w if j == i else 0.0 * w for j, w in enumerate(v)]
                if sides.paired(u, alone).wrong:
                    wrong[name] = None
    notes = []
    if jvp is None and vjp is None:
        notes.append(
            "both derivatives are by the same rules: a wrong slope would be in both"
        )
    return AdjointReport(
        pairings=tuple(pairings),
        wrong=tuple(wrong),
        judged=(
            "tg.jvp" if jvp is None else "jvp",
            "tg.vjp" if vjp is None else "vjp",
        ),
        seed=seed,
        notes=tuple(notes),
    )


class _Sides(NamedTuple):
    """Where the two derivatives come from."""

    subject: Subject
    jvp: Callable[..., Any] | None
    vjp: Callable[..., Any] | None
    rng: np.random.Generator

    def paired(self, u: np.ndarray, v: Point) -> Pairing:
        """Compare both products; where they differ, look for a kink."""
        point = self.subject.point
        forward, backward = self._forward(point, u, v), self._backward(point, u, v)
        bound, size = forward.bound + backward.bound, forward.size + backward.size
        pairing = Pairing(forward.value, backward.value, bound, size)
        if pairing.equal:
            return pairing
        jumps = [0.0]
        for _ in range(_SIDES):
            near = nearby(point, self.rng)
            ahead = self._forward(near, u, v, rough=True)
            behind = self._backward(near, u, v, rough=True)
            jumps.append(abs(ahead.value - forward.value))
            jumps.append(abs(behind.value - backward.value))
        # Each of the two may take another side, and a tie has more than two.
        return pairing._replace(jump=2 * max(jumps))

    def _forward(
        self, point: Point, u: np.ndarray, v: Point, *, rough: bool = False
    ) -> Product:
        if self.jvp is None:
            return _added([_recorded_forward(self.subject, point, u, v)], rough=rough)
        terms = _coded_forward(self.subject, self.jvp, u)
        if rough:
            return Product(float(np.sum(terms([*point, *v]))), 0.0, 0.0)
        return measured(terms, [*point, *v], self.rng)

    def _backward(
        self, point: Point, u: np.ndarray, v: Point, *, rough: bool = False
    ) -> Product:
        if self.vjp is None:
            return _added(_recorded_backward(self.subject, point, u, v), rough=rough)
        terms = _coded_backward(self.subject, self.vjp, v)
        if rough:
            return Product(float(np.sum(terms([*point, u]))), 0.0, 0.0)
        return measured(terms, [*point, u], self.rng)


def _added(terms: Sequence[Any], *, rough: bool) -> Product:
    """Add up recorded terms; the rounding error costs a backward more, or is left."""
    if not rough:
        return summed(terms)
    return Product(float(np.sum([np.sum(data_of(x)) for x in terms])), 0.0, 0.0)


def _recorded_forward(subject: Subject, point: Point, u: np.ndarray, v: Point) -> Any:
    """Give the terms of ⟨u, J v⟩ by ``tg.jvp``, with their graph."""
    points = [Tensor(x) for x in point]
    _, slope = forward_of(_on_tensors(subject), points, [Tensor(w) for w in v])
    return multiply(slope, u)


def _recorded_backward(
    subject: Subject, point: Point, u: np.ndarray, v: Point
) -> list[Any]:
    """Give the terms of ⟨Jᵀ u, v⟩ by ``tg.vjp``, with their graph."""
    _, pull = backward_of(_on_tensors(subject), *[Tensor(x) for x in point])
    return [multiply(g, w) for g, w in zip(pull(Tensor(u)), v, strict=True)]


def _on_tensors(subject: Subject) -> Callable[..., Any]:
    def function(*variables: Any) -> Any:
        return subject.recorded(variables, "or give both derivatives: jvp=… and vjp=…")

    return function


def _coded_forward(subject: Subject, jvp: Callable[..., Any], u: np.ndarray) -> Terms:
    """Give the terms of ⟨u, J v⟩ from the point and v, by code without a graph."""
    count = len(subject.names)

    def terms(arrays: Sequence[np.ndarray]) -> np.ndarray:
        tangents = tuple(arrays[count:])
        first = tangents[0] if count == 1 else tangents
        with np.errstate(all="ignore"):
            slope = np.asarray(data_of(jvp(first, *subject.arguments(arrays[:count]))))
        if slope.shape != u.shape:
            raise ShapeError(
                f"jvp: expected the shape of the output, {u.shape}; got {slope.shape}"
            )
        found: np.ndarray = u * slope
        return found

    return terms


def _coded_backward(subject: Subject, vjp: Callable[..., Any], v: Point) -> Terms:
    """Give the terms of ⟨Jᵀ u, v⟩ from the point and u, by code without a graph."""

    def terms(arrays: Sequence[np.ndarray]) -> np.ndarray:
        *here, cotangent = arrays
        shares = by_hand(subject, vjp, cotangent)(here)
        return np.concatenate([np.ravel(g * w) for g, w in zip(shares, v, strict=True)])

    return terms
