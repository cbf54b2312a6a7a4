"""`locate`: which op's gradient rule is wrong, where autograd itself is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.check.gradients import check_gradients
from tinygrad_nn.check.report import GradientReport
from tinygrad_nn.check.slips import described
from tinygrad_nn.errors import GradientError, OpError, ShapeError
from tinygrad_nn.op import Node, Op, data_of
from tinygrad_nn.tensor import Tensor

__all__ = ["Location", "WrongRule", "locate"]

_ALIKE = 3
_OURS = "tinygrad_nn.ops."


@dataclass(frozen=True)
class WrongRule:
    """An op whose gradient rule is refuted at one node.

    Attributes
    ----------
    op
        Its name.
    where
        Op, layer and line.
    report
        The verdict on the rule; None where it could not even be compared.
    trouble
        What stopped the rule, in words, where something did.
    """

    op: str
    where: str
    report: GradientReport | None
    trouble: str | None = None

    def __str__(self) -> str:
        """Where, and the verdict."""
        text = self.trouble if self.report is None else str(self.report)
        return f"the rule of {self.where} is wrong\n{text}"


@dataclass(frozen=True)
class Location:
    """The rules of a graph that are wrong; true where none is.

    Attributes
    ----------
    wrong
        A `WrongRule` for each op with a wrong rule, in the order of the backward pass.
    judged
        How many nodes were looked at.
    """

    wrong: tuple[WrongRule, ...]
    judged: int

    @property
    def ok(self) -> bool:
        """Whether every rule is right."""
        return not self.wrong

    @property
    def verdict(self) -> str:
        """``"ok"`` or ``"wrong"``."""
        return "ok" if self.ok else "wrong"

    def __bool__(self) -> bool:
        """Whether every rule is right."""
        return self.ok

    def __str__(self) -> str:
        """Name what is wrong."""
        if not self.wrong:
            return f"every rule is right, at {self.judged} nodes"
        return "\n".join(map(str, self.wrong))


def locate(output: Tensor, *, seed: int = 0) -> Location:
    """Judge each op of a graph alone: its rule against its own body, by numbers.

    Parameters
    ----------
    output
        A recorded Tensor.
    seed
        Of the random cotangents and directions.

    Returns
    -------
    Location
        True where every rule is right. Nodes of one op, with operands of the same
        shapes, are looked at three times; those of ops that are not the library's own
        always.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> def slope(g, out, x):
    ...     return g * 2 * x
    >>> cube = tg.elementwise(formula="$x^3$", vjp=slope, samples=())(
    ...     lambda x: x * x * x
    ... )
    >>> x = tg.Tensor([0.5, 2.0], requires_grad=True)
    >>> location = locate(np.tanh(cube(x)).sum())
    >>> location.ok, [rule.op for rule in location.wrong]
    (False, ['<lambda>'])
    """
    if not isinstance(output, Tensor):
        raise OpError(
            f"locate: expected a recorded Tensor; got {type(output).__name__}. Pass "
            "the result of the expression"
        )
    wrong: list[WrongRule] = []
    refuted: set[Op] = set()
    seen: dict[Any, int] = {}
    judged = 0
    for node in reversed(graph.nodes(output)):
        op, inputs, settings = graph.source(node)
        if op is None or not op.differentiable or op in refuted:
            continue
        key = (op, tuple(np.shape(data_of(x)) for x in inputs), repr(settings))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > _ALIKE and op.function.__module__.startswith(_OURS):
            continue
        found = _judged(node, seed)
        judged += 1
        if found is not None:
            refuted.add(op)
            wrong.append(found)
    return Location(tuple(wrong), judged)


def _judged(node: Node, seed: int) -> WrongRule | None:
    """Judge the rule of one node's op at its operands; None where it is right."""
    op, inputs, settings = graph.source(node)
    if op is None:
        return None
    values = [data_of(x) for x in inputs]
    places = [
        i
        for i, x in enumerate(inputs)
        if isinstance(x, Node) and np.asarray(values[i]).dtype.kind == "f"
    ]
    if not places:
        return None

    def full(point: Sequence[Any]) -> list[Any]:
        every = list(values)
        for i, x in zip(places, point, strict=True):
            every[i] = x
        return every

    def body(*point: Any) -> Any:
        return op.body(*full(point), **settings)

    def rule(g: Any, *point: Any) -> Any:
        every = full(point)
        out = body(*point)
        if op.variadic:
            given = op.rules(g, out, *every, **settings)
            shares = [given[i] for i in places]
        else:
            shares = [op.rules[i](g, out, *every, **settings) for i in places]
        return tuple(
            np.zeros(np.shape(x)) if share is None else _fitted(share, g, x)
            for share, x in zip(shares, point, strict=True)
        )

    where = described(node)
    names = [op.operands[i] if not op.variadic else f"operand {i}" for i in places]
    try:
        with np.errstate(all="ignore"):
            report = check_gradients(
                body,
                *(np.asarray(values[i]) for i in places),
                vjp=rule,
                names=names,
                seed=seed,
            )
    except (GradientError, ShapeError) as error:
        if "not finite" in str(error):
            return None  # the value itself is not: nothing to compare with
        return WrongRule(op.name, where, None, str(error))
    return None if report.verdict != "wrong" else WrongRule(op.name, where, report)


def _fitted(share: Any, g: Any, x: Any) -> Any:
    """Undo an operand's broadcasting, as the engine does."""
    share = np.asarray(data_of(share))
    shape = np.shape(x)
    if share.shape == shape:
        return share
    if share.ndim == 0:
        return np.broadcast_to(share, shape)
    if share.ndim < np.ndim(g):
        share = np.broadcast_to(share, np.shape(g))
    extra = share.ndim - len(shape)
    if extra < 0:
        return share  # another shape: refused by name where it is compared
    axes = tuple(range(extra)) + tuple(
        i for i, n in enumerate(shape, extra) if n == 1 != share.shape[i]
    )
    summed = share.sum(axis=axes)
    return summed.reshape(shape) if summed.size == int(np.prod(shape)) else share
