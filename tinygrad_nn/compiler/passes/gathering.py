"""Terms of a sum that are alike become one, and a factor that they share is taken out.

``a x + a x - b x`` is five calls, ``(2 a - b) x`` three. Gradients of elementwise
expressions are full of such sums: every path to x brings a term of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.op import Node, inputs_of, op_of
from tinygrad_nn.rewriting.fold import number_of
from tinygrad_nn.rewriting.forms import FLOATS, usable
from tinygrad_nn.rewriting.program import Program, operands, rebuilt, recorded
from tinygrad_nn.tensor import Tensor

__all__ = ["gathered"]

_MOST = 8
"""Most terms of a sum, and factors of a product, that are looked at together."""


class _Term(NamedTuple):
    """A number times factors; and the calls that it takes now."""

    number: float
    factors: tuple[Any, ...]
    calls: int

    @property
    def cost(self) -> int:
        """Return the calls that it would take: products, and a number but for signs."""
        return len(self.factors) - 1 + (abs(self.number) != 1)


class _Group(NamedTuple):
    """A factor times a sum of terms."""

    number: float
    factor: Any
    terms: tuple[_Term, ...]

    @property
    def cost(self) -> int:
        """Return the calls that it takes."""
        inner = sum(term.cost for term in self.terms) + len(self.terms) - 1
        return inner + 1 + (abs(self.number) != 1)


def gathered(program: Program) -> Program:
    """Write sums of products anew where that takes fewer calls."""
    finder = _Finder(program)
    plans = finder.plans()
    if not plans:
        return program
    now: dict[Any, Any] = {}
    before = iter(program.nodes)

    def visit(node: Tensor, _inputs: tuple[Any, ...]) -> Any:
        original = next(before)
        plan = plans.get(original)
        made = node if plan is None else _written(plan, node, now)
        if np.shape(made._value) != np.shape(node._value):
            made = node
        now[original] = made
        if made is not node and getattr(made, "_name", None) is None:
            made._name = getattr(node, "_name", None)
        return made

    return rebuilt(program, visit)


class _Finder:
    """Finds sums that are cheaper in another form."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.uses = Counter(x for node in program.nodes for x in operands(node))
        self.uses.update(program.outputs())

    def plans(self) -> dict[Node, list[_Term | _Group]]:
        """Return, by the last node of a sum, how to write it."""
        found: dict[Node, list[_Term | _Group]] = {}
        inside: set[Node] = set()
        for node in reversed(self.program.nodes):
            if node in inside or not _is_sum(node) or node._value.dtype not in FLOATS:
                continue
            terms, adds = self._terms(node)
            inside.update(adds)
            before = len(adds) + sum({id(x): t.calls for x, t in terms}.values())
            plan = _plan([term for _, term in terms])
            if plan is not None and _cost(plan) < before:
                found[node] = plan
        return found

    def _terms(self, root: Node) -> tuple[list[tuple[Any, _Term]], list[Node]]:
        """Return the terms of a sum, in order, and the nodes that add them up."""
        flat: list[tuple[int, Any]] = []
        adds = [root]
        stack: list[tuple[int, Any]] = _signed(root, 1)[::-1]
        while stack:
            sign, x = stack.pop()
            alone = _is_sum(x) and self.uses[x] == 1
            if alone and _alike(x, root) and len(flat) + len(stack) < _MOST - 1:
                adds.append(x)
                stack += _signed(x, sign)[::-1]
            else:
                flat.append((sign, x))
        times = Counter(id(x) for _, x in flat)
        return [(x, self._product(sign, x, times[id(x)])) for sign, x in flat], adds

    def _product(self, sign: int, x: Any, uses: int) -> _Term:
        """Take a term apart, if nothing but this sum needs it."""
        number: float = sign
        factors: list[Any] = []
        calls = 0
        stack = [(x, uses)]
        while stack:
            y, mine = stack.pop()
            value = number_of(y, self.program)
            if value is not None and usable(value):
                number *= float(value)
                continue
            parts = inputs_of(y) if isinstance(y, Node) else ()
            small = len(factors) + len(stack) < _MOST - 1
            if _is(y, "multiply") and self.uses[y] == mine and small:
                calls += 1
                stack += [(part, 1) for part in parts[::-1]]
            elif _is(y, "negative") and self.uses[y] == mine:
                calls += 1
                number = -number
                stack.append((parts[0], 1))
            else:
                factors.append(y)
        whole = all(
            isinstance(y, Node) and y._value.dtype == x._value.dtype for y in factors
        )
        if not factors or not whole or not usable(number):
            return _Term(sign, (x,), 0)
        return _Term(number, tuple(factors), calls)


def _signed(node: Any, sign: int) -> list[tuple[int, Any]]:
    x, y = inputs_of(node)
    return [(sign, x), (sign if _is(node, "add") else -sign, y)]


def _is(x: Any, name: str) -> bool:
    return isinstance(x, Node) and x._op is not None and x._op.name == name


def _is_sum(x: Any) -> bool:
    """Whether a node adds or subtracts two arrays."""
    if not (_is(x, "add") or _is(x, "subtract")) or not x._value.ndim:
        return False
    return all(isinstance(y, Node) and np.ndim(y._value) for y in inputs_of(x))


def _alike(x: Node, y: Node) -> bool:
    return bool(x._value.shape == y._value.shape and x._value.dtype == y._value.dtype)


# --- the other form ---


def _cost(plan: list[_Term | _Group]) -> int:
    signs = all(item.number < 0 for item in plan)
    return sum(item.cost for item in plan) + len(plan) - 1 + signs


def _plan(terms: list[_Term]) -> list[_Term | _Group] | None:
    """Add up what is alike, and take the factor out that most have in common."""
    merged: dict[Hashable, _Term] = {}
    for term in terms:
        key = tuple(sorted(map(id, term.factors)))
        known = merged.get(key)
        number = term.number + (known.number if known else 0)
        merged[key] = (known or term)._replace(number=number)
    rest = list(merged.values())
    if not all(usable(term.number) for term in rest):
        return None  # they cancel, and nan - nan is not 0
    counts = Counter(
        id(x) for term in rest if len(term.factors) > 1 for x in set(term.factors)
    )
    shared, count = max(counts.items(), key=lambda item: item[1], default=(0, 0))
    if count < 2:
        return list(rest)
    plan: list[_Term | _Group] = []
    inner = []
    factor: Any = None
    for term in rest:
        at = [i for i, x in enumerate(term.factors) if id(x) == shared]
        if not at or len(term.factors) < 2:
            plan.append(term)
            continue
        factor = term.factors[at[0]]
        others = tuple(x for i, x in enumerate(term.factors) if i != at[0])
        inner.append(_Term(term.number, others, 0))
        if len(inner) == 1:
            plan.append(term)  # its place
            place = len(plan) - 1
    pulled = inner[0].number
    if any(abs(term.number) != abs(pulled) for term in inner):
        pulled = -1.0 if all(term.number < 0 for term in inner) else 1.0
    inner = [term._replace(number=term.number / pulled) for term in inner]
    plan[place] = _Group(pulled, factor, tuple(inner))
    return plan


# --- writing it ---


def _written(plan: Any, node: Node, now: dict[Any, Any]) -> Any:
    """Record a plan; ``now`` says what became of the program's nodes."""
    total: Any = None
    # A positive term first: a difference is one call, a sign in front one more.
    for item in sorted(plan, key=lambda item: item.number < 0):
        if isinstance(item, _Group):
            inner = _written(item.terms, node, now)
            made = recorded(_MULTIPLY, (now.get(item.factor, item.factor), inner), node)
        else:
            first, *others = (now.get(x, x) for x in item.factors)
            made = first
            for x in others:
                made = recorded(_MULTIPLY, (made, x), node)
        if abs(item.number) != 1:
            made = recorded(_MULTIPLY, (abs(item.number), made), node)
        if total is None:
            negative = item.number < 0
            total = recorded(_NEGATIVE, (made,), node) if negative else made
        else:
            op = _SUBTRACT if item.number < 0 else _ADD
            total = recorded(op, (total, made), node)
    return total


_ADD, _SUBTRACT = op_of(ops.add), op_of(ops.subtract)
_MULTIPLY, _NEGATIVE = op_of(ops.multiply), op_of(ops.negative)
