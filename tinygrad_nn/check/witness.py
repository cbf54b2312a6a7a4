"""A point in floats at which two functions differ by more than rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nn.check.points import DRAWS, Argument
from tinygrad_nn.check.side import Side, paired
from tinygrad_nn.errors import OpError

__all__ = ["PLAIN", "Search", "Witness"]

_TRIES = 3
_FURTHER = 60
_RELATIVE = 1e-9
_SCALES = (1.0, 1.0, 1.0, 1.0, 0.01, 0.1, 5.0, 10.0, 30.0, 100.0, 1e3, 1e4)
PLAIN = 1e-9
"""A difference relative to all the results that needs no exact values to believe."""


@dataclass(frozen=True)
class Witness:
    """A point at which two functions differ, in floats.

    Attributes
    ----------
    arrays
        The arguments by name.
    output, index
        Which of the results, and where in it, they differ most.
    first, second
        What f and g give there; their shapes, where those differ.
    share
        How large the difference is, relative to the largest of all the results.
    """

    arrays: Mapping[str, Any]
    output: str
    index: tuple[int, ...]
    first: Any
    second: Any
    share: float


class Search:
    """A search for a witness, at arguments of certain sizes.

    Parameters
    ----------
    f, g
        The functions.
    given
        Their arguments.
    seed
        Draws the points.

    Attributes
    ----------
    draw
        Which of `DRAWS` both functions are finite on.
    pairs
        What is compared: a title, and the names in both results.
    """

    def __init__(self, f: Side, g: Side, given: Sequence[Argument], seed: int) -> None:
        self.f = f
        self.g = g
        self.given = given
        self.seed = seed
        self.draw = 0
        self.pairs: list[tuple[str, str, str]] = []

    def witness(self) -> Witness | None:
        """Return a random point at which they differ, or None.

        Raises
        ------
        Exception
            Of the functions, where they run or are finite nowhere.
        """
        error: Exception = OpError("they are not finite at any point")
        for self.draw in range(len(DRAWS)):
            rng = np.random.default_rng([self.seed, self.draw])
            try:
                tries = [self._random(rng) for _ in range(_TRIES)]
            except FloatingPointError:
                continue
            except (ArithmeticError, TypeError, ValueError, IndexError) as raised:
                error = raised
                continue
            return next((found for found in tries if found is not None), None)
        raise error

    def further(self) -> Witness | None:
        """Look at many more points, near and far, for what shows in few of them."""
        rng = np.random.default_rng([self.seed, len(DRAWS) + 1])
        for _ in range(_FURTHER):
            try:
                found = self._random(rng, 10 ** rng.uniform(-1, 1.5))
            except Exception:  # noqa: BLE001, S112 (not defined there)
                continue
            if found is not None:
                return found
        return None

    def exception(self) -> Witness | None:
        """Return the given arrays, if the functions differ just there; or None.

        So they do at a kink where they take different slopes, while they agree in a
        neighbourhood.
        """
        values = [x.value for x in self.given]
        if any(value is None for value in values):
            return None
        rng = np.random.default_rng([self.seed, len(DRAWS)])
        try:
            found = self._compared(values, values)
            beside = [self._compared(p, p) for p in self._neighbours(values, rng)]
        except Exception:  # noqa: BLE001 (not defined at the given arrays)
            return None
        return None if any(beside) else found

    def survives(self, witness: Witness) -> bool:
        """Whether a difference stays where it is computed to more digits.

        What cancels, ``1 - cos(x)`` say, can differ by rounding alone. Where NumPy has
        no wider floats, or the functions do not take them, a difference stands.
        """
        names = {title: (one, other) for title, one, other in self.pairs}
        one, other = names[witness.output]
        point = [
            witness.arrays[x.name].astype(np.longdouble)
            if x.kind == "free"
            else witness.arrays[x.name]
            for x in self.given
        ]
        try:
            first = self.f.floats(point)[one][witness.index]
            second = self.g.floats(point)[other][witness.index]
        except Exception:  # noqa: BLE001 (they do not run on wider floats)
            return True
        before = abs(float(witness.first) - float(witness.second))
        return not abs(first - second) < before / 2

    def plain(self) -> Witness | None:
        """Return a random point at which they differ by far more than rounding."""
        try:
            found = self.witness()
        except Exception:  # noqa: BLE001 (they may run nowhere at these sizes)
            return None
        return None if found is None or found.share <= PLAIN else found

    def near_and_far(self) -> list[list[Any]]:
        """Return one point at many scales: what is no free array stays the same."""
        rng = np.random.default_rng([self.seed, len(DRAWS) + 2])
        first = [x.drawn(rng, self.draw) for x in self.given]
        return [
            [
                np.asarray(x.drawn(rng, self.draw) * scale)
                if x.kind == "free"
                else kept
                for x, kept in zip(self.given, first, strict=True)
            ]
            for scale in _SCALES
        ]

    def _neighbours(
        self, values: Sequence[Any], rng: np.random.Generator
    ) -> list[list[Any]]:
        def moved(argument: Argument, x: Any) -> Any:
            if argument.kind != "free":
                return x
            size = np.sqrt(np.mean(np.square(x))) if np.size(x) else 0.0
            step = 1e-3 * (size or 1.0) * rng.standard_normal(np.shape(x))
            return np.asarray(x + step)

        return [
            [moved(a, x) for a, x in zip(self.given, values, strict=True)]
            for _ in range(_TRIES)
        ]

    def _random(self, rng: np.random.Generator, scale: float = 1.0) -> Witness | None:
        point = [
            np.asarray(x.drawn(rng, self.draw) * scale)
            if x.kind == "free" and self.draw == 0
            else x.drawn(rng, self.draw)
            for x in self.given
        ]
        near = [
            np.asarray(x * (1 + 1e-13 * rng.standard_normal(x.shape)))
            if a.kind == "free"
            else x
            for a, x in zip(self.given, point, strict=True)
        ]
        return self._compared(point, near)

    def _compared(self, point: Sequence[Any], near: Sequence[Any]) -> Witness | None:
        """Compare at a point; what moves on the way to a near one is rounding."""
        first, second = self.f.floats(point), self.g.floats(point)
        names = [x.name for x in self.given]
        self.pairs = paired(list(first), list(second), names)
        moved = self.f.floats(near), self.g.floats(near)
        parts = [*first.values(), *second.values()]
        largest = max(np.abs(x).max(initial=0.0).item() for x in parts)
        worst, most = None, 0.0
        for title, one, other in self.pairs:
            a, b = first[one], second[other]
            if a.shape != b.shape:
                index: tuple[int, ...] = ()
                values: tuple[Any, Any] = a.shape, b.shape
                beyond = share = np.inf
            elif a.size:
                noise = _change(a, moved[0][one]) + _change(b, moved[1][other])
                index, beyond = _furthest(a, b, noise)
                values = a[index].item(), b[index].item()
                share = abs(float(values[0]) - float(values[1])) / (largest or 1.0)
            else:
                continue
            if beyond > most:
                most = beyond
                arrays = dict(zip(names, point, strict=True))
                worst = Witness(arrays, title, index, *values, share)
        return worst


def _change(x: np.ndarray, moved: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # what is infinite is refused further on
        return np.abs(moved.astype(np.float64) - x.astype(np.float64))


def _furthest(
    a: np.ndarray, b: np.ndarray, noise: np.ndarray
) -> tuple[tuple[int, ...], float]:
    """Return where two arrays differ most, and by how much beyond rounding."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise FloatingPointError
    size = max(np.abs(a).max(), np.abs(b).max())
    beyond = np.abs(a - b) - 1e3 * noise - _RELATIVE * size
    index = np.unravel_index(int(beyond.argmax()), beyond.shape)
    return tuple(int(i) for i in index), float(beyond[index])
