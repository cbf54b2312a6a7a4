"""Mistakes re-enacted: the backward pass of a graph with one line of it done wrongly.

A person's backward pass goes wrong in one line, in few ways: the derivative of an
activation is left out, or taken of the wrong array, a factor is forgotten, a branch is
lost. Each of these is a rule of one op replaced by a mistaken one, and the engine pulls
through it as through any other. A mistake whose gradients are the claimed ones, in
every parameter and to rounding, is what was done.
"""

from __future__ import annotations

import copy
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import algebra, autodiff, graph, recording
from tinygrad_nn.op import REGISTRY, Node, Op, constant, data_of

__all__ = ["Slip", "Slips", "recomputed"]

_VISITS = 200_000
_ARRAYS = 24
_STEP = 2.0**-20
_FALSE_SLOPES: Mapping[str, tuple[tuple[str, Callable[[Any], Any]], ...]] = {
    "tanh": (("1 - a", lambda a: 1 - a), ("a²", lambda a: a * a)),
    "sigmoid": (("a", lambda a: a), ("1 - a", lambda a: 1 - a)),
}
"""What is written for a slope, of the result a."""

_ACTIVATIONS = ("sigmoid", "tanh", "relu")

Rule = Callable[..., Any]


class Slip(NamedTuple):
    """A mistake at the nodes of one line.

    ``rule`` stands for the right rule of operand ``operand`` in each of the nodes.
    """

    what: str
    nodes: tuple[Node, ...]
    operand: int
    rule: Callable[[Rule], Rule]

    @property
    def where(self) -> str:
        """Op, layer and line: ``"tanh in `A1 = np.tanh(Z1)` (net.py:12)"``."""
        return described(self.nodes[0])

    def __str__(self) -> str:
        """Say what was done, and where."""
        return f"{self.what}; at {self.where}"


def described(node: Node) -> str:
    """Op, name, layer, and line of a node, as far as they are known."""
    op = _as_formed(node)[0]
    text = "" if op is None else op.name
    name, scope, line = graph.name(node), graph.scope(node), graph.line(node)
    if name:
        text += f" {name}"
    if scope:
        text += f" of {scope}"
    if line is not None:
        code = linecache.getline(line.file, line.number).strip()
        text += f" in `{code}` ({line})" if code else f" ({line})"
    return text


class Slips:
    """All mistakes that can be made in one line of a graph's backward pass.

    Parameters
    ----------
    output
        The node that is differentiated.
    seed
        Its cotangent, an array of its shape.
    wanted
        The nodes whose gradients are claimed.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> z = tg.Tensor([0.5, 1.0], requires_grad=True)
    >>> loss = (np.tanh(z) * 3.0).sum()
    >>> slip = Slips(loss, np.ones(()), [z]).explaining([3.0 * (1 - z.data**2)])
    >>> slip.what
    'the derivative of tanh is taken of its operand, not of its result'
    """

    def __init__(self, output: Node, seed: np.ndarray, wanted: Sequence[Node]) -> None:
        self.output = output
        self.wanted = list(wanted)
        self._seed = seed
        self.source: graph.Source = _as_formed
        self._order = graph.ancestors([output], _as_formed)
        if not set(self.wanted) <= set(self._order):
            self.source = graph.written  # something inside of a form is asked for
            self._order = graph.ancestors([output], self.source)
        self._reach = _reach(self._order, self.wanted, self.source)
        self._lengths = sorted(
            {n for node in self._order for n in np.shape(data_of(node)) if n > 1}
        )
        self.right = self._gradients(self.source)

    def _pulled(self, wanted: Sequence[Node], how: graph.Source) -> dict[Node, Any]:
        with recording.no_grad(), np.errstate(all="ignore"):
            seed = constant(np.asarray(self._seed), recording.tick())
            return autodiff.pull(self.output, seed, wanted, careful=True, how=how)

    def _gradients(self, how: graph.Source) -> list[np.ndarray]:
        """Pull the cotangent back, with the rules that ``how`` tells."""
        found = self._pulled(self.wanted, how)
        return [
            np.asarray(data_of(found[x]))
            if x in found
            else np.zeros(np.shape(data_of(x)))
            for x in self.wanted
        ]

    def cotangents(self) -> dict[Node, np.ndarray]:
        """Gradients of all nodes that lead to a wanted one, in their shapes."""
        inner = [x for x in self._order if any(self._reach[x].values())]
        found = self._pulled(inner, self.source)
        return {
            x: np.broadcast_to(data_of(g), np.shape(data_of(x)))
            for x, g in found.items()
        }

    def gradients(self, slip: Slip) -> list[np.ndarray]:
        """Gradients of the wanted nodes, by a backward pass with the mistake in it."""
        twins: dict[Op, Op] = {}
        slipped = set(slip.nodes)

        def how(node: Node) -> tuple[Op | None, tuple[Any, ...], Any]:
            op, inputs, settings = self.source(node)
            if node not in slipped or op is None:
                return op, inputs, settings
            twin = twins.get(op)
            if twin is None:
                twin = twins[op] = copy.copy(op)
                rules = list(op.rules)
                rules[slip.operand] = slip.rule(rules[slip.operand])
                twin.rules = tuple(rules)
                twin.paths = None  # of the right rule, not of this one
            return twin, inputs, settings

        return self._gradients(how)

    def wrong(
        self, claimed: Sequence[np.ndarray | None], *, within: float = 1e-7
    ) -> list[int]:
        """Return the numbers of the claims that are not the gradient."""
        return [
            i
            for i, (x, y) in enumerate(zip(claimed, self.right, strict=True))
            if x is not None and not _close(x, y, within)
        ]

    def explaining(
        self, claimed: Sequence[np.ndarray | None], *, within: float = 1e-7
    ) -> Slip | None:
        """Return the likeliest mistake that yields what is claimed, or None.

        Parameters
        ----------
        claimed
            A gradient for each wanted node; None where nothing is claimed.
        within
            How closely, relative to the largest element of each.
        """
        wrong = self.wrong(claimed, within=within)
        if not wrong or any(not np.isfinite(claimed[i]).all() for i in wrong):  # type: ignore[arg-type]
            return None
        screen = _Screen(self, claimed, wrong)
        found = self._first(self, screen, claimed, wrong, within)
        if found is None:
            return None
        # A path that is cut off says less, and as much: what is wrong in it is zero.
        cuts = self._all((_lost,))
        return self._first(cuts, screen, claimed, wrong, within) or found

    def _first(
        self,
        slips: Iterable[Slip],
        screen: _Screen,
        claimed: Sequence[np.ndarray | None],
        wrong: Sequence[int],
        within: float,
    ) -> Slip | None:
        """Return the first of some slips that yields what is claimed, or None."""
        visits = 0
        for slip in slips:
            reached: set[int] = set()
            for node in slip.nodes:
                reached |= self._reach[node].get(slip.operand, set())
            if not reached.issuperset(wrong):
                continue
            try:
                if not screen.passes(slip):
                    continue
                visits += len(self._order)
                if visits > _VISITS:
                    return None
                found = self.gradients(slip)
            except (ArithmeticError, ValueError, TypeError, IndexError):
                continue  # the mistaken rule does not fit this op
            if all(
                x is None or _close(x, y, within)
                for x, y in zip(claimed, found, strict=True)
            ):
                return slip
        return None

    def __iter__(self) -> Iterator[Slip]:
        """All slips, the likeliest first."""
        return self._all((_left_out, _of_another, _lost, _reduced, _turned, _scaled))

    def _all(self, kinds: Sequence[Callable[..., Iterator[Slip]]]) -> Iterator[Slip]:
        """All slips of some kinds: a kind after the other, the newest line first."""
        lines = self._lines()
        for kind in kinds:
            for nodes in lines:
                op = self.source(nodes[0])[0]
                if op is None or not isinstance(op.rules, tuple):
                    continue
                for operand in range(len(op.rules)):
                    if any(self._reach[node].get(operand) for node in nodes):
                        yield from kind(self, nodes, op, operand)

    def idle(self, slip: Slip) -> bool:
        """Whether a slip changes nothing by nature: the rule needs no such array."""
        rng = np.random.default_rng(0)
        for node in slip.nodes:
            op, inputs, settings = self.source(node)
            if op is None:
                continue
            rule, out = op.rules[slip.operand], data_of(node)
            values = [data_of(x) for x in inputs]
            g = rng.standard_normal(np.shape(out))
            with np.errstate(all="ignore"):
                right = data_of(rule(g, out, *values, **settings))
                given = data_of(slip.rule(rule)(g, out, *values, **settings))
            if given is None or not np.array_equal(given, right):
                return False
        return True

    def numbered(self, number: int) -> Slip:
        """Return a slip by its place; slips of a graph are in the same order again."""
        return next(islice(self, number, None))

    def _lines(self) -> list[tuple[Node, ...]]:
        """Nodes by the line that recorded them, newest first; then one by one.

        A mistake in the body of a loop is made every time around.
        """
        found: dict[Any, list[Node]] = {}
        for node in reversed(self._order):
            op = self.source(node)[0]
            if op is not None and op.differentiable:
                key = (graph.place(node), op.name)
                found.setdefault(key, []).append(node)
        groups = [tuple(nodes) for nodes in found.values()]
        single = [(node,) for group in groups if len(group) > 1 for node in group]
        return groups + single

    def arrays(self, shape: tuple[int, ...]) -> list[Node]:
        """Nodes of a shape: what a derivative can be taken of by mistake."""
        found = [x for x in self._order if np.shape(data_of(x)) == shape]
        return found[-_ARRAYS:]

    def factors(self) -> list[tuple[str, float]]:
        """Factors that are forgotten, or put in once too often."""
        found = [("2", 2.0), ("1/2", 0.5)]
        for n in self._lengths:
            if n > 2:
                found += [(f"{n}", float(n)), (f"1/{n}", 1 / n)]
        for n in self._lengths:
            if n > 1:
                found += [(f"√{n}", sqrt(n)), (f"1/√{n}", 1 / sqrt(n))]
                found += [(f"{n}/{n - 1}", n / (n - 1)), (f"{n - 1}/{n}", (n - 1) / n)]
        for x in self.constants():
            found += [(f"{x:g}", x), (f"1/{x:g}", 1 / x)]
        return found

    def constants(self) -> list[float]:
        """Numbers that the user wrote into the expression."""
        found: dict[float, None] = {}
        for node in self._order:
            for x in self.source(node)[1]:
                value = data_of(x)
                if (
                    np.ndim(value) == 0
                    and not getattr(x, "requires_grad", False)
                    and getattr(x, "_op", None) is None
                    and np.isfinite(value)
                    and abs(float(value)) not in (0.0, 0.5, 1.0, 2.0)
                ):
                    found[abs(float(value))] = None
        return list(found)[:8]


class _Screen:
    """Tells in little time that a slip at one node is not what was done.

    A slip changes the share s of one operand to s'. Along a direction v of the wrong
    parameters the gradients then change by (s' - s) · t, where t is how fast the
    operand moves along v; so that number must be v · (claimed - right).
    """

    def __init__(
        self, slips: Slips, claimed: Sequence[np.ndarray | None], wrong: Sequence[int]
    ) -> None:
        rng = np.random.default_rng(0)
        wanted = [slips.wanted[i] for i in wrong]
        steps = []
        self._missing = 0.0
        for node, i in zip(wanted, wrong, strict=True):
            x = np.asarray(data_of(node), np.float64)
            size = float(np.sqrt(np.mean(x * x))) if x.any() else 1.0
            steps.append(size * rng.choice([-1.0, 1.0], x.shape))
            off = np.asarray(claimed[i]) - slips.right[i]
            self._missing += float(np.sum(steps[-1] * off))
        before, after = (
            recomputed(
                slips.output,
                {
                    node: data_of(node) + sign * _STEP * step
                    for node, step in zip(wanted, steps, strict=True)
                },
                slips.source,
            )
            for sign in (-1.0, 1.0)
        )
        self._tangents = {
            x: (after[x] - before[x]) / (2 * _STEP)
            for x in before
            if np.asarray(before[x]).dtype.kind == "f"
        }
        self._source = slips.source
        self._cotangents = slips.cotangents()
        self._shares: dict[tuple[Node, int], np.ndarray] = {}

    def passes(self, slip: Slip) -> bool:
        """Whether the slip may be what was done; a slip at many nodes always may."""
        if len(slip.nodes) > 1:
            return True
        (node,) = slip.nodes
        op, inputs, settings = self._source(node)
        g = self._cotangents.get(node)
        tangent = self._tangents.get(inputs[slip.operand])
        if op is None or g is None or tangent is None:
            return False
        key = (node, slip.operand)
        rule = op.rules[slip.operand]
        values = [data_of(x) for x in inputs]
        out = data_of(node)
        with np.errstate(all="ignore"):
            if key not in self._shares:
                share = np.asarray(data_of(rule(g, out, *values, **settings)))
                self._shares[key] = _folded(share, tangent)
            given = slip.rule(rule)(g, out, *values, **settings)
            mistaken = np.zeros(()) if given is None else np.asarray(data_of(given))
            if given is None:
                change = -self._shares[key]
            else:
                change = _folded(mistaken, tangent) - self._shares[key]
            found = float(np.sum(change * tangent))
            size = float(np.sum(np.abs(change * tangent)))
        return abs(found - self._missing) <= 1e-4 * (size + abs(self._missing))


def _folded(share: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Sum a share over what its operand was repeated along."""
    shape = np.shape(like)
    if share.shape == shape:
        return share
    axes = tuple(range(share.ndim - len(shape)))
    axes += tuple(
        i
        for i, n in enumerate(shape, share.ndim - len(shape))
        if n == 1 != share.shape[i]
    )
    folded: np.ndarray = np.asarray(share.sum(axis=axes)).reshape(shape)
    return folded


def recomputed(
    output: Node, changed: Mapping[Node, Any], source: graph.Source
) -> dict[Node, Any]:
    """Values of all nodes of a graph if some had other values."""

    def how(node: Node) -> tuple[Op | None, tuple[Any, ...], Any]:
        return (None, (), {}) if node in changed else source(node)

    order = graph.ancestors([output], how)
    known: dict[Node, Any] = {x: data_of(x) for x in order if how(x)[0] is None}
    known.update(changed)
    with np.errstate(all="ignore"):
        for node in order:
            op, inputs, settings = how(node)
            if op is not None and op.kind == "random":
                known[node] = data_of(node)  # what was drawn stays drawn
            elif op is not None:
                values = [
                    known[x] if isinstance(x, Node) else data_of(x) for x in inputs
                ]
                known[node] = op.body(*values, **settings)
    return known


def _close(x: np.ndarray, y: np.ndarray, within: float) -> bool:
    if x.shape != y.shape or not np.isfinite(y).all():
        return False
    size = float(np.abs(y).max(initial=0.0))
    return bool(np.all(np.abs(x - y) <= within * size))


def _as_formed(node: Node) -> tuple[Op | None, tuple[Any, ...], Any]:
    """Op, operands and settings as a person thinks of them.

    ``1 / (1 + np.exp(-Z))`` is a sigmoid, whose derivative is known by heart.
    """
    op, inputs, settings = graph.written(node)
    if op is None or op.name not in ("divide", "multiply", "subtract"):
        return op, inputs, settings
    form = algebra.form_of(node)
    kind = "" if form is None else form.kind.removesuffix("(x)")
    if form is None or kind not in ("sigmoid", "tanh", "softmax"):
        return op, inputs, settings
    formed = REGISTRY[kind]
    return formed, (form.operand,), {**formed.defaults, **(form.settings or {})}


def _reach(
    order: Sequence[Node], wanted: Sequence[Node], source: graph.Source
) -> Mapping[Node, dict[int, set[int]]]:
    """For each node and operand: which of the wanted nodes it leads to."""
    below: dict[Node, set[int]] = {}
    reach: dict[Node, dict[int, set[int]]] = {}
    numbers = {x: {i} for i, x in enumerate(wanted)}
    for node in order:
        mine = set(numbers.get(node, ()))
        reach[node] = {}
        for i, x in enumerate(source(node)[1]):
            if isinstance(x, Node) and below.get(x):
                reach[node][i] = below[x]
                mine |= below[x]
        below[node] = mine
    return reach


# --- the mistakes ----------------------------------------------------------------


def _left_out(
    slips: Slips, nodes: tuple[Node, ...], op: Op, operand: int
) -> Iterator[Slip]:
    """Nothing is multiplied by where the chain rule has a factor."""
    if op.pointwise and op.name not in ("add", "subtract", "negative"):
        what = f"the derivative of {op.name} is missing"
        if op.name in ("multiply", "divide"):
            what = _factor_left_out(slips, nodes[0], op, operand)
        yield Slip(what, nodes, operand, lambda _rule: _pass)


def _factor_left_out(slips: Slips, node: Node, op: Op, operand: int) -> str:
    inputs = slips.source(node)[1]
    other: Any = data_of(inputs[1 - operand]) if len(inputs) == 2 else np.zeros(1)
    if np.ndim(other):
        return "the other operand is left out as a factor"
    over = "1/" if op.name == "divide" and operand == 0 else ""
    return f"the factor {over}{float(other):g} is left out"


def _pass(g: Any, _out: Any, *_inputs: Any, **_settings: Any) -> Any:
    return g


def _of_another(
    slips: Slips, nodes: tuple[Node, ...], op: Op, operand: int
) -> Iterator[Slip]:
    """The derivative is right, but taken of the wrong array; or is another op's."""
    name = f"the derivative of {op.name} is taken of"
    unary = op.pointwise and len(op.rules) == 1
    if op.name in ("maximum", "minimum", "relu"):
        yield Slip(
            f"the mask of {op.name} is upside down", nodes, operand, _upside_down
        )
    if op.name in ("maximum", "minimum"):
        yield Slip(
            f"{name} the gradient that arrives",
            nodes,
            operand,
            _compared_with_gradient(operand),
        )
    if unary:
        yield Slip(
            f"{name} its operand, not of its result", nodes, 0, _with_result_replaced
        )
        yield Slip(
            f"{name} its result, not of its operand", nodes, 0, _with_operand_replaced
        )
        yield Slip(f"{name} the gradient that arrives", nodes, 0, _of_gradient)
        for other in _ACTIVATIONS:
            if other != op.name and op.name in _ACTIVATIONS:
                yield Slip(
                    f"the derivative of {other} stands for that of {op.name}",
                    nodes,
                    0,
                    _of_op(REGISTRY[other].rules[0]),
                )
        for text, slope in _FALSE_SLOPES.get(op.name, ()):
            yield Slip(
                f"{text} stands for the derivative of {op.name}",
                nodes,
                0,
                _slope(slope),
            )
    if len(nodes) > 1 or not (unary or len(op.rules) == 2):
        return
    node = nodes[0]
    inputs = slips.source(node)[1]
    own_mask = op.name in ("maximum", "minimum")
    replaced = operand if unary or own_mask else 1 - operand
    own = {node, *(x for x in inputs if isinstance(x, Node))}
    for array in slips.arrays(np.shape(data_of(inputs[replaced]))):
        if array not in own:
            what = name if unary or own_mask else f"the factor in {op.name} is"
            yield Slip(
                f"{what} another array, {_title(array)}",
                nodes,
                operand,
                _taken_of(data_of(array), replaced),
            )


def _upside_down(rule: Rule) -> Rule:
    return lambda g, *values, **settings: g - rule(g, *values, **settings)


def _slope(slope: Callable[[Any], Any]) -> Callable[[Rule], Rule]:
    return lambda _rule: lambda g, out, _x, **_settings: g * slope(out)


def _of_op(other: Rule) -> Callable[[Rule], Rule]:
    return lambda _rule: other


def _title(node: Node) -> str:
    return graph.name(node) or f"that of {described(node)}"


def _with_result_replaced(rule: Rule) -> Rule:
    return lambda g, _out, x, **settings: rule(g, x, x, **settings)


def _with_operand_replaced(rule: Rule) -> Rule:
    return lambda g, out, _x, **settings: rule(g, out, out, **settings)


def _of_gradient(rule: Rule) -> Rule:
    return lambda g, _out, _x, **settings: rule(g, g, g, **settings)


def _compared_with_gradient(operand: int) -> Callable[[Rule], Rule]:
    def changed(rule: Rule) -> Rule:
        def mistaken(g: Any, _out: Any, *inputs: Any, **settings: Any) -> Any:
            others = [g if i == operand else x for i, x in enumerate(inputs)]
            return rule(g, np.maximum(*map(data_of, others)), *others, **settings)

        return mistaken

    return changed


def _taken_of(value: Any, replaced: int) -> Callable[[Rule], Rule]:
    def changed(rule: Rule) -> Rule:
        def mistaken(g: Any, out: Any, *inputs: Any, **settings: Any) -> Any:
            others = [value if i == replaced else x for i, x in enumerate(inputs)]
            return rule(g, value if len(inputs) == 1 else out, *others, **settings)

        return mistaken

    return changed


def _lost(_: Slips, nodes: tuple[Node, ...], op: Op, operand: int) -> Iterator[Slip]:
    """A branch of the graph is forgotten, overwritten, or taken for a constant."""
    place = f"operand {operand + 1} of {op.name}" if len(op.rules) > 1 else op.name
    yield Slip(
        f"nothing is propagated through {place}, "
        "as if it were constant, or overwritten",
        nodes,
        operand,
        lambda _rule: _nothing,
    )


def _nothing(*_values: Any, **_settings: Any) -> None:
    return None


def _reduced(
    slips: Slips, nodes: tuple[Node, ...], op: Op, operand: int
) -> Iterator[Slip]:
    """A broadcast operand's gradient is no sum over what it was repeated along."""
    node = nodes[0]
    inputs = slips.source(node)[1]
    value = inputs[operand]
    have, wanted = np.shape(data_of(node)), np.shape(data_of(value))
    if op.name in ("multiply", "divide") and _is_mask(inputs[1 - operand]):
        yield Slip(
            f"a mask is not scaled: {op.name} passes what it should multiply",
            nodes,
            operand,
            _unscaled(operand),
        )
    if not op.pointwise or have == wanted:
        return
    folded = int(np.prod(have) / max(np.prod(wanted), 1))
    yield Slip(
        f"a mean over {folded} where the broadcasting asks for a sum",
        nodes,
        operand,
        _times(1 / folded),
    )
    for place, word in ((0, "first"), (-1, "last")):
        yield Slip(
            f"only the {word} of what the operand was repeated along is taken",
            nodes,
            operand,
            _only(place, have, wanted),
        )


def _is_mask(x: Any) -> bool:
    """Whether an array holds zeros and one other number, as a dropout's mask does."""
    value = np.asarray(data_of(x))
    kept = value[value != 0]
    return 0 < kept.size < value.size and bool(np.all(kept == kept.flat[0]))


def _unscaled(operand: int) -> Callable[[Rule], Rule]:
    def changed(_rule: Rule) -> Rule:
        def mistaken(g: Any, _out: Any, *inputs: Any, **_settings: Any) -> Any:
            others = [x for i, x in enumerate(inputs) if i != operand]
            return g * (data_of(others[0]) != 0)

        return mistaken

    return changed


def _only(
    place: int, have: tuple[int, ...], wanted: tuple[int, ...]
) -> Callable[[Rule], Rule]:
    extra = len(have) - len(wanted)
    repeated = {*range(extra), *(i for i, n in enumerate(wanted, extra) if n == 1)}
    mask = np.zeros(have)
    mask[tuple(place if i in repeated else slice(None) for i in range(len(have)))] = 1

    def changed(rule: Rule) -> Rule:
        return lambda *values, **settings: rule(*values, **settings) * mask

    return changed


def _turned(
    slips: Slips, nodes: tuple[Node, ...], op: Op, operand: int
) -> Iterator[Slip]:
    """A product with a matrix where its transpose belongs."""
    if op.name not in ("matmul", "dot"):
        return
    node = nodes[0]
    inputs = slips.source(node)[1]
    shapes = [np.shape(data_of(x)) for x in inputs]
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        return
    other = shapes[1 - operand]
    if other[0] == other[1]:
        yield Slip(
            "a matrix is taken where its transpose belongs",
            nodes,
            operand,
            _other_turned(operand),
        )
    mine = shapes[operand]
    if mine[0] == mine[1]:
        yield Slip(
            "the transpose of the gradient is taken", nodes, operand, _share_turned
        )


def _other_turned(operand: int) -> Callable[[Rule], Rule]:
    def changed(rule: Rule) -> Rule:
        def mistaken(g: Any, out: Any, *inputs: Any, **settings: Any) -> Any:
            turned = [
                x if i == operand else np.swapaxes(data_of(x), -1, -2)
                for i, x in enumerate(inputs)
            ]
            return rule(g, out, *turned, **settings)

        return mistaken

    return changed


def _share_turned(rule: Rule) -> Rule:
    return lambda *values, **settings: rule(*values, **settings).T


def _scaled(
    slips: Slips, nodes: tuple[Node, ...], _op: Op, operand: int
) -> Iterator[Slip]:
    """A factor is forgotten, or put in once too often; or the sign is."""
    yield Slip("the sign is wrong", nodes, operand, _times(-1.0))
    for text, factor in slips.factors():
        yield Slip(f"a factor {text} too much", nodes, operand, _times(factor))


def _times(factor: float) -> Callable[[Rule], Rule]:
    def changed(rule: Rule) -> Rule:
        return lambda *values, **settings: rule(*values, **settings) * factor

    return changed
