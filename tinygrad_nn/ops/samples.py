"""Where the test laws may try an op: shapes, settings and ranges of its operands.

A sample belongs to the op's declaration, so that a new op is tested by existing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn.shapes import Shape

__all__ = ["Sample", "cases", "reals"]

Range = tuple[float, float]

_SHAPES: Mapping[int, Sequence[tuple[Shape, ...]]] = {
    1: [((),), ((3,),), ((2, 3),), ((2, 1, 3),), ((0,),), ((2, 0),)],
    2: [
        ((), ()),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((3,), (2, 1)),
        ((), (2, 3)),
        ((0,), (1,)),
    ],
    3: [
        ((), (), ()),
        ((3,), (3,), (3,)),
        ((2, 1), (3,), ()),
        ((2, 3), (2, 3), (1, 3)),
        ((0,), (1,), ()),
    ],
}


@dataclass(frozen=True)
class Sample:
    """One way to call an op: shapes of the operands, their ranges, and settings.

    A range is ``(low, high)``; ``None`` stands for booleans. Where ``diagonal`` is a
    number d, then d, 2 d, 3 d … are added along the diagonals of the first operand's
    matrices, so that they are far from singular and have no two eigenvalues alike.
    """

    shapes: tuple[Shape, ...]
    ranges: tuple[Range | None, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    diagonal: float = 0.0

    def draw(
        self, rng: np.random.Generator, dtype: Any = np.float64
    ) -> tuple[np.ndarray, ...]:
        """Draw operands: uniform in their range and pairwise distinct.

        No two numbers of one range tie, and none lies closer to a neighbour than
        a tenth of the mean distance: a law never meets a kink by chance.
        """
        total = sum(int(np.prod(shape)) for shape in self.shapes)
        places = iter(rng.permutation(max(total, 1)))
        arrays = []
        for shape, limits in zip(self.shapes, self.ranges, strict=True):
            size = int(np.prod(shape))
            if limits is None:
                arrays.append(np.asarray(rng.random(shape) < 0.5))
                continue
            cells = np.array([next(places) for _ in range(size)]).reshape(shape)
            inside = (cells + rng.uniform(0.1, 0.9, shape)) / max(total, 1)
            low, high = limits
            arrays.append(np.asarray(low + (high - low) * inside, dtype=dtype))
        if self.diagonal:
            m, n = self.shapes[0][-2:]
            arrays[0] += np.diag(self.diagonal * np.arange(1, max(m, n) + 1))[:m, :n]
        return tuple(arrays)

    def __str__(self) -> str:
        """Return a short test id."""
        sizes = "-".join("x".join(map(str, s)) or "scalar" for s in self.shapes)
        options = ",".join(f"{k}={v}" for k, v in self.settings.items())
        return f"{sizes}[{options}]" if options else sizes


def _ranges(limits: Sequence[Range | None], count: int) -> tuple[Range | None, ...]:
    return tuple(limits) if len(limits) == count else (limits[0],) * count


def reals(count: int, *limits: Range | None, **settings: Any) -> tuple[Sample, ...]:
    """Samples of an elementwise op: 0-d, empty, and every kind of broadcasting.

    >>> [str(sample) for sample in reals(1, (0.0, 1.0))][:3]
    ['scalar', '3', '2x3']
    """
    ranges = _ranges(limits or [(-2.0, 2.0)], count)
    return tuple(Sample(shapes, ranges, settings) for shapes in _SHAPES[count])


def cases(
    *rows: tuple[Any, ...],
    limits: Sequence[Range | None] = ((-2.0, 2.0),),
    diagonal: float = 0.0,
) -> tuple[Sample, ...]:
    """Samples from rows of ``shape, shape, …, settings`` (settings may be left out).

    What ``diagonal`` adds to the first operand, `Sample` says.

    >>> str(cases(((2, 3), {"axis": 0}))[0])
    '2x3[axis=0]'
    """
    samples = []
    for row in rows:
        settings = row[-1] if isinstance(row[-1], dict) else {}
        shapes = row[:-1] if isinstance(row[-1], dict) else row
        ranges = _ranges(limits, len(shapes))
        samples.append(Sample(tuple(shapes), ranges, settings, diagonal))
    return tuple(samples)
