"""What a case of the corpus is, and the registers that the other files fill.

A case makes a problem from a generator of random numbers: a plain NumPy function, the
arrays at which it is looked at, and the gradient that somebody claims for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

__all__ = [
    "BUGS",
    "RIGHT",
    "Case",
    "Chain",
    "Problem",
    "bug",
    "changed_element",
    "one_element",
    "random_size",
    "right",
    "right_unless",
    "spoilt",
]

Gradients = tuple[np.ndarray, ...]


class Chain(NamedTuple):
    """A backprop with its intermediates, for checkers that walk it backwards.

    ``trace(*arrays)`` gives the intermediates by name, in the order of their
    computation, the last of them being ``"loss"``; it runs on Tensors too.
    ``claims(*arrays)`` gives gradients by hand by name: ``"dZ2"``, ``"dA1"``, ``"dW1"``.
    """

    trace: Callable[..., dict[str, Any]]
    claims: Callable[..., dict[str, np.ndarray]]


class Problem(NamedTuple):
    """A function, the point, and a claimed gradient: of one number, or of any output.

    ``formula(*arrays)`` is given where ``f`` returns one number, else
    ``vjp(g, *arrays)``. ``beside`` is how far, relative to an element and at least
    1e-150, a reference must step aside to leave a kink at the point; 0 where there is
    none. ``visible`` is where a mistake can be seen if not at the point itself.
    """

    f: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    formula: Callable[..., Gradients] | None = None
    vjp: Callable[..., Gradients] | None = None
    beside: float = 0.0
    visible: tuple[np.ndarray, ...] | None = None
    chain: Chain | None = None

    def gradients(self, arrays: Sequence[np.ndarray], g: Any = None) -> Gradients:
        """Return what is claimed at some arrays, for the cotangent ``g``."""
        if self.formula is not None:
            return self.formula(*arrays)
        return self.vjp(g, *arrays)


class Case(NamedTuple):
    """A planted bug, or a right gradient that is awkward to check.

    ``kind`` is ``"right"``, or of a bug ``"mechanical"`` (``cause`` is a pattern that
    the words of the cause should match), ``"chain"`` (``first`` is the first wrong
    intermediate on the way back) or ``"structural"``. A chain bug may have a cause too.
    """

    name: str
    kind: str
    make: Callable[[np.random.Generator], Problem]
    cause: str | None = None
    first: str | None = None

    def at(self, seed: int) -> Problem:
        """Make the problem of a seed: the same each time."""
        return self.make(np.random.default_rng([seed, crc32(self.name.encode())]))


BUGS: dict[str, Case] = {}
RIGHT: dict[str, Case] = {}


def bug(kind: str, name: str, make: Any, cause=None, first=None) -> None:
    """Enter a planted bug into the corpus."""
    assert name not in BUGS, name
    assert (kind == "mechanical") <= (cause is not None), name
    assert (kind == "chain") == (first is not None), name
    BUGS[name] = Case(name, kind, make, cause, first)


def right(name: str, make: Any) -> None:
    """Enter a right gradient into the corpus."""
    assert name not in RIGHT, name
    RIGHT[name] = Case(name, "right", make)


def random_size(rng: np.random.Generator) -> float:
    """How large a mistake is, relative: log-uniform from 1e-4 to 1."""
    return float(10 ** rng.uniform(-4, 0))


def spoilt(problem: Problem, place: int, how: Callable[[np.ndarray], Any]) -> Problem:
    """Claim something else for one of the arrays: ``how`` of its right gradient."""

    def spoil(gradients):
        gradients = list(gradients)
        gradients[place] = how(np.array(gradients[place], float))
        return tuple(gradients)

    if problem.formula is not None:
        formula = problem.formula
        return problem._replace(formula=lambda *arrays: spoil(formula(*arrays)))
    vjp = problem.vjp
    return problem._replace(vjp=lambda g, *arrays: spoil(vjp(g, *arrays)))


def one_element(problem: Problem, place: int, rng: np.random.Generator) -> tuple:
    """Index of an element whose gradient is not below a hundredth of the largest."""
    g = None
    if problem.formula is None:
        g = np.ones(np.shape(problem.f(*problem.arrays)))
    size = np.abs(problem.gradients(problem.arrays, g)[place])
    return tuple(rng.choice(np.argwhere(size >= 0.01 * size.max())))


def changed_element(
    problem: Problem, place: int, rng: np.random.Generator, factor: float
) -> Problem:
    """Claim a multiple for one element."""
    index = one_element(problem, place, rng)

    def how(g):
        g[index] *= factor
        return g

    return spoilt(problem, place, how)


def right_unless(make: Any, slip: str) -> Any:
    """Bind a slip: ``make(rng, slip)`` becomes ``make(rng)``."""
    return lambda rng: make(rng, slip)
