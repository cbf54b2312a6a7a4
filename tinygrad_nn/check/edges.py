"""What an op does where it is hard: at kinks, at the ends of its domain, at infinity.

The table is computed from the op itself, so it cannot say anything else than the op
does; the word list prints it, and the tests hold every row to one-sided derivatives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import functional
from tinygrad_nn.errors import OpError
from tinygrad_nn.op import REGISTRY, Op
from tinygrad_nn.tensor import Tensor, gradients

__all__ = ["Edge", "domain", "edges"]

_PAIRS = (
    *((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, -1.0)),
    *((np.inf, 1.0), (1.0, np.inf), (np.inf, np.inf), (np.nan, 1.0), (1.0, np.nan)),
)


class Edge(NamedTuple):
    """A point, the value there, and the slope with respect to every operand."""

    at: tuple[float, ...]
    value: float
    slopes: tuple[float | None, ...]
    """None for an operand without a gradient."""

    def __str__(self) -> str:
        """Write the point, the value and the slopes on one line."""
        at = ", ".join(f"{x:.6g}" for x in self.at)
        slopes = ", ".join("-" if s is None else f"{s:.6g}" for s in self.slopes)
        return f"({at}): {self.value:.6g}, slope {slopes}"


def _op(of: Any) -> Op:
    op = of if isinstance(of, Op) else getattr(of, "op", None)
    if op is None:
        op = REGISTRY.get(of if isinstance(of, str) else getattr(of, "__name__", ""))
    if not isinstance(op, Op) or not op.pointwise:
        raise OpError(
            f"edges: expected an elementwise op, or its name; got {of!r:.40}. "
            f"docs/ops.md lists them"
        )
    return op


def points(op: Op) -> list[tuple[float, ...]]:
    """Return the points that the table has for an op."""
    if len(op.operands) == 1:
        inner = sorted({0.0, *map(float, op.edges)})
        return [(x,) for x in (-np.inf, *inner, np.inf, np.nan)]
    if len(op.operands) == 2:
        return [*_PAIRS, *(p for p in op.edges if p not in _PAIRS)]
    return [tuple(p) for p in op.edges]


def edges(of: Callable[..., Any] | str, **settings: Any) -> list[Edge]:
    """Tell what an elementwise op and its gradient are where they are hard.

    Parameters
    ----------
    of
        An op of `tg`, or its name.
    **settings
        Of the op, as in ``maximum(x, y, tie=0.5)``.

    Returns
    -------
    list of Edge
        For one operand: at both infinities, at 0, wherever the op says that it has an
        edge, and at nan. For two: at zeros, at ties, at signs, infinities and nan.

    Raises
    ------
    OpError
        If it is no elementwise op.

    Examples
    --------
    >>> from tinygrad_nn import ops
    >>> for edge in edges(ops.relu):
    ...     print(edge)
    (-inf): 0, slope 0
    (0): 0, slope 0
    (inf): inf, slope 1
    (nan): nan, slope 0
    """
    op = _op(of)
    # What users call may choose settings itself, as `maximum` does at ties.
    call = op.call if settings else getattr(functional, op.name, op.call)
    return [_edge(op, call, at, settings) for at in points(op)]


def _edge(
    op: Op, call: Callable[..., Any], at: tuple[float, ...], settings: dict[str, Any]
) -> Edge:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        operands = [Tensor(x, requires_grad=True) for x in at]
        out = call(*operands, **settings)
        value = float(out.numpy())
        if not out.requires_grad:
            return Edge(at, value, (None,) * len(at))
        found = gradients(out, operands, unused="zero")
        rules = op.rules if isinstance(op.rules, tuple) else (op.rules,) * len(at)
        slopes = tuple(
            None if rule is None else float(g.numpy())
            for rule, g in zip(rules, found, strict=True)
        )
    return Edge(at, value, slopes)


def domain(of: Callable[..., Any] | str) -> str:
    """Write where an op of one operand has values, from what it computes.

    >>> from tinygrad_nn import ops
    >>> domain(ops.log), domain(ops.tanh)
    ('(0, ∞)', '(-∞, ∞)')
    """
    op = _op(of)
    if len(op.operands) != 1:
        raise OpError(f"domain: expected an op of one operand; got {op.name}")
    places = sorted({0.0, *map(float, op.edges)})
    bounds = [-np.inf, *places, np.inf]
    pieces: list[list[Any]] = []  # low, whether it belongs, high, whether it belongs
    with np.errstate(all="ignore"):
        for low, high in pairwise(bounds):
            inside = _between(low, high)
            if np.isnan(op.function(np.array(inside))):
                continue
            ends = [
                bool(np.isfinite(x) and np.isfinite(op.function(np.array(x))))
                for x in (low, high)
            ]
            if pieces and pieces[-1][2] == low and pieces[-1][3] and ends[0]:
                pieces[-1][2:] = [high, ends[1]]
            else:
                pieces.append([low, ends[0], high, ends[1]])
    return " or ".join(_interval(*piece) for piece in pieces)


def _between(low: float, high: float) -> float:
    if np.isinf(low):
        return high - 1.37  # between the poles of gamma functions, too
    return low + 1.37 if np.isinf(high) else (low + high) / 2


def _interval(low: float, closed_low: bool, high: float, closed_high: bool) -> str:
    first, last = (f"{x:g}".replace("inf", "∞") for x in (low, high))
    opening, closing = "[" if closed_low else "(", "]" if closed_high else ")"
    return f"{opening}{first}, {last}{closing}"
