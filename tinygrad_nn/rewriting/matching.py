"""Finding an identity of the house's table in a program, whatever numbers scale it.

`algebra.IDENTITIES` says each identity as two functions of its parts. Both are recorded
once, on stand-ins, so a pattern is a graph like any other. A product is matched in any
order and with any further factors; a number in front of it never matters.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph, shapes
from tinygrad_nn.algebra import IDENTITIES, Identity
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.rewriting.forms import over, times
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["Found", "Matcher", "Parts", "Pattern", "close", "patterns", "steps"]

_MOST_FACTORS = 6
_AXIS = -1  # stands for any axis in a pattern

Bound = Mapping[Any, Any]
Parts = Callable[[Any], tuple[Any, Any]]
"""From an operand to its number and what is left of it."""


class Pattern(NamedTuple):
    """An identity, recorded.

    Attributes
    ----------
    terms
        Products that are added up: a number, and the factors.
    result
        What to write instead.
    stand_ins
        Leaves of both graphs, by operand.
    steady
        Stand-ins that must have one value along the axis.
    needs
        Ops that must be among the factors of each term, to look no further in vain.
    """

    identity: Identity
    root: str
    terms: list[tuple[float, list[Any]]]
    result: Any
    stand_ins: list[Any]
    steady: list[Any]
    needs: list[frozenset[str]]


class Found(NamedTuple):
    """A match: what the stand-ins are, the number in front, and further factors."""

    bound: Bound
    scale: Any
    rest: list[Any]


@lru_cache(maxsize=1)
def patterns() -> Mapping[str, list[Pattern]]:
    """Return the table's patterns by the op that is looked at last."""
    found: dict[str, list[Pattern]] = {}
    # In a context of its own, nothing that the user has set keeps it from recording.
    for pattern in Context().run(lambda: [_recorded(row) for row in IDENTITIES]):
        found.setdefault(pattern.root, []).append(pattern)
        if pattern.root == "add":
            found.setdefault("subtract", []).append(pattern)
    return found


def _recorded(identity: Identity) -> Pattern:
    lows = [low for low, _ in identity.operands]
    names = list(inspect.signature(identity.written).parameters)[: len(lows)]
    shape = (2, 3)
    stand_ins = [
        Tensor(np.full(shape, 0.25), name=name)
        for name, _ in zip(names, lows, strict=True)
    ]
    steady = [stand_ins[i] for i in identity.constant_along_axis]
    root: Any = identity.written(*stand_ins)
    scale, body = _pattern_parts(root)
    name: str = body._op.name
    if name in ("add", "subtract"):
        name = "add"
        x, y = inputs_of(body)
        sign = 1.0 if body._op.name == "add" else -1.0
        terms = [_product(x, scale), _product(y, sign * scale)]
    else:
        terms = [_product(body, scale)]
    needs = [
        frozenset(op.name for x in factors if (op := x._op) is not None)
        for _, factors in terms
    ]
    result = identity.instead(*stand_ins)
    return Pattern(identity, name, terms, result, stand_ins, steady, needs)


def _pattern_parts(x: Any) -> tuple[float, Any]:
    """Return the number in front of a part of a pattern, and the rest."""
    scale = 1.0
    while _is(x, "negative") or (_is(x, "multiply") and isinstance(x._x, (int, float))):
        first = x._x
        scale *= -1 if isinstance(first, Node) else first
        x = first if isinstance(first, Node) else x._y
    return scale, x


def _product(x: Any, scale: float) -> tuple[float, list[Any]]:
    factors: list[Any] = []
    stack = [x]
    while stack:
        number, part = _pattern_parts(stack.pop())
        scale *= number
        if part._op is not None and part._op.name == "multiply":
            stack += [part._y, part._x]
        else:
            factors.append(part)
    # What says most is looked for first; a bare stand-in could be anything.
    factors.sort(key=lambda part: part._op is None)
    return scale, factors


def close(x: Any, y: Any) -> bool:
    """Whether two numbers are one but for rounding; live ones by how they are made.

    >>> close(0.1 * 3, 0.3), close(1.0, -1.0)
    (True, False)
    """
    if isinstance(x, Scalar) or isinstance(y, Scalar):
        return getattr(x, "text", None) == getattr(y, "text", None)
    return math.isclose(x, y, rel_tol=1e-14)


class Matcher:
    """Looks for patterns; ``parts`` says of a node its number and its rest."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def factors(self, base: Any) -> tuple[Any, list[Any]]:
        """Return the factors of a product, and the number among them."""
        scale: Any = 1.0
        found: list[Any] = []
        stack = [base]
        while stack:
            number, part = self.parts(stack.pop())
            scale = times(scale, number)
            if part is None:
                continue
            if _is(part, "multiply"):
                stack += [part._y, part._x]
            else:
                found.append(part)
            if len(found) + len(stack) > _MOST_FACTORS:
                return 1.0, [base]
        return scale, found

    def find(self, root: str, terms: list[tuple[Any, Any]]) -> Iterator[Any]:
        """Yield every pattern with this last op that the terms are, and how."""
        wanted = patterns().get(root)
        if not wanted:
            return
        # In the table every term of a sum is a product, which is quick to see.
        if len(terms) > 1 and not all(_is(base, "multiply") for _, base in terms):
            return
        products: list[tuple[Any, list[Any]]] = []
        for scale, base in terms:
            number, factors = self.factors(base)
            products.append((times(scale, number), factors))
        names = [
            {x._op.name for x in factors if isinstance(x, Node) and x._op is not None}
            for _, factors in products
        ]
        for pattern in wanted:
            if len(pattern.terms) != len(products):
                continue
            orders = [(0, 1), (1, 0)] if len(products) == 2 else [(0,)]
            for order in orders:
                fits = all(pattern.needs[i] <= names[j] for i, j in enumerate(order))
                if not fits:
                    continue
                found = self._first(pattern, [products[j] for j in order])
                if found is not None:
                    yield pattern, found
                    break

    def _first(
        self, pattern: Pattern, products: list[tuple[Any, list[Any]]]
    ) -> Found | None:
        # The term that binds most comes first; which one that is, trying tells.
        turns = range(len(products))
        for first in turns:
            rest = [i for i in turns if i != first]
            for found in self._terms(pattern, products, [first, *rest], {}, None):
                return found
        return None

    def _terms(
        self,
        pattern: Pattern,
        products: list[tuple[Any, list[Any]]],
        order: list[int],
        bound: Bound,
        before: tuple[Any, list[Any]] | None,
    ) -> Iterator[Found]:
        if not order:
            assert before is not None  # noqa: S101 (a pattern has terms)
            if self._steady(pattern, bound):
                yield Found(bound, before[0], before[1])
            return
        i, *later = order
        number, wanted = pattern.terms[i]
        scale, factors = products[i]
        for now, ratio, rest in self._choose(wanted, factors, bound):
            share = over(times(scale, ratio), number)
            if before is not None:
                same = sorted(map(id, rest)) == sorted(map(id, before[1]))
                if not same or not close(share, before[0]):
                    continue
            yield from self._terms(pattern, products, later, now, (share, rest))

    def _choose(
        self, wanted: list[Any], factors: list[Any], bound: Bound
    ) -> Iterator[tuple[Bound, Any, list[Any]]]:
        """Assign a factor to each wanted one; what is left over is the rest."""
        if not wanted:
            yield bound, 1.0, factors
            return
        first, *later = wanted
        if first._op is None and first in bound:
            scale, base = bound[first]
            number, parts = self.factors(base)
            rest = list(factors)
            for part in parts:
                at = next((i for i, x in enumerate(rest) if x is part), None)
                if at is None:
                    return
                del rest[at]
            for now, ratio, left in self._choose(later, rest, bound):
                yield now, over(ratio, times(scale, number)), left
            return
        for i, x in enumerate(factors):
            rest = factors[:i] + factors[i + 1 :]
            for now in self._same(first, (1.0, x), bound):
                yield from self._choose(later, rest, now)

    def _same(self, wanted: Any, got: tuple[Any, Any], bound: Bound) -> Iterator[Bound]:
        """Match one part of a pattern with one operand, its number included."""
        number, part = _pattern_parts(wanted)
        scale, base = got
        if not isinstance(part, Node):  # a number
            if base is None and close(scale, number * part):
                yield bound
        elif base is None:
            return
        elif part._op is not None:
            if _is(base, part._op.name) and close(scale, number):
                yield from self._same_op(part, base, bound)
        elif part not in bound:
            yield {**bound, part: (over(scale, number), base)}
        elif bound[part][1] is base and close(scale, number * bound[part][0]):
            yield bound

    def _same_op(self, part: Any, base: Node, bound: Bound) -> Iterator[Bound]:
        now = _settings(part, base, bound)
        if now is None:
            return
        mine, theirs = inputs_of(part), inputs_of(base)
        yield from self._all(mine, theirs, now)
        if part._op.name in ("add", "multiply"):
            yield from self._all(mine, theirs[::-1], now)

    def _all(
        self, wanted: tuple[Any, ...], got: tuple[Any, ...], bound: Bound
    ) -> Iterator[Bound]:
        if not wanted:
            yield bound
            return
        for now in self._same(wanted[0], self.parts(got[0]), bound):
            yield from self._all(wanted[1:], got[1:], now)

    def _steady(self, pattern: Pattern, bound: Bound) -> bool:
        for leaf in pattern.steady:
            if leaf not in bound:
                return False
            rank, axes = bound["axis"]
            shape = np.shape(getattr(bound[leaf][1], "_value", bound[leaf][1]))
            full = (1,) * (rank - len(shape)) + shape
            if any(full[i] != 1 for i in axes):
                return False
        return True


def _is(x: Any, name: str) -> bool:
    return isinstance(x, Node) and x._op is not None and x._op.name == name


def _settings(part: Node, base: Node, bound: Bound) -> Bound | None:
    """Compare settings; the axis of a pattern is any, but always the same."""
    mine, theirs = settings_of(part), settings_of(base)
    for name, value in mine.items():
        other = theirs.get(name)
        if name == "axis":
            rank = np.ndim(getattr(inputs_of(base)[0], "_value", 0))
            try:
                axes = shapes.reduced_axes(rank, other)
            except ShapeError:
                return None  # the operand has lost the axis on its way here
            known = bound.get("axis")
            if known is not None and known != (rank, axes):
                return None
            bound = {**bound, "axis": (rank, axes)}
        elif other != value:
            return None
    return bound


def steps(pattern: Pattern) -> list[Any]:
    """Return the nodes of what is written instead, operands first."""
    return graph.ancestors([pattern.result])
