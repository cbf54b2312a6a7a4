"""From a recorded loss to steps: the forward lines, then one line for each gradient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nn import autodiff, graph, ops, recording
from tinygrad_nn.derivation.arranging import Arranger, Form, Numbers
from tinygrad_nn.derivation.lines import Lines, simplified, stand_in
from tinygrad_nn.derivation.naming import Naming, letters_of_layers, named_nodes
from tinygrad_nn.op import Node, constant, data_of, inputs_of
from tinygrad_nn.recording import Line
from tinygrad_nn.rewriting.program import node_for

__all__ = ["Step", "Steps", "steps_of"]


@dataclass(frozen=True)
class Step:
    """One line of a derivation.

    Attributes
    ----------
    name
        What is computed: ``"Z1"``, ``"dW1"``.
    expression
        The node of the right-hand side: leaves with names are the other steps.
    shape
        Of the value.
    line
        The user's line that computed it; for a gradient, that of what it belongs to.
    chain
        For a gradient: the names along which it came, the loss first; empty where it
        came along several ways.
    unsimplified
        For a gradient: the product of local derivatives by the plain rules.
    """

    name: str
    expression: Any
    shape: tuple[int, ...]
    line: Line | None
    chain: tuple[str, ...] = ()
    unsimplified: Any = None


@dataclass(frozen=True)
class Steps:
    """A derivation as data.

    Attributes
    ----------
    loss
        Its name.
    forward, backward
        Lines in the order in which they run.
    results
        Names of the gradients that were asked for, by what they belong to.
    inputs
        Stand-ins for everything that is given: data and parameters.
    letters
        Stand-ins for numbers that have a letter.
    examples
        The stand-in for the number of examples, or None.
    scaled
        Whether gradients of what has an axis of examples are so many times larger.
    told
        What the lines need of the values at hand: ``"Σ Y = 1 for each example"``.
    renamed
        Names of layers' parameters, ``"layers.0.weight"``, by their letters here.
    """

    loss: str
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    results: Mapping[str, str]
    inputs: tuple[Any, ...]
    letters: tuple[Any, ...]
    examples: Any
    scaled: bool
    told: tuple[str, ...]
    renamed: Mapping[str, str]


def steps_of(
    loss: Node,
    wrt: Sequence[Node],
    chosen: Mapping[str, Any],
    known: Mapping[int, tuple[Any, str]],
    *,
    textbook: bool,
    chain: bool,
) -> Steps:
    """Derive the lines. See `tinygrad_nn.derive`."""
    return _Deriving(loss, wrt, chosen, known, textbook=textbook, chain=chain).steps()


def _both(node: Node) -> tuple[Any, tuple[Any, ...], Any]:
    """Op and operands, as recorded and as written: a walk reaches what is bypassed."""
    op, inputs, settings = graph.source(node)
    return op, (*inputs, *graph.written(node)[1]), settings


class _Deriving:
    def __init__(
        self,
        loss: Node,
        wrt: Sequence[Node],
        chosen: Mapping[str, Any],
        known: Mapping[int, tuple[Any, str]],
        *,
        textbook: bool,
        chain: bool,
    ) -> None:
        found = graph.ancestors([loss], _both)
        self.found = [x for x in found if x._op is None] + [
            x for x in found if x._op is not None
        ]
        self.loss = loss
        self.wrt = dict.fromkeys(wrt)  # in order; an == of nodes is recorded
        self.chain = chain
        nodes = {name: x for name, x in chosen.items() if isinstance(x, Node)}
        known = {
            **known,
            **{
                id(x): (x, name)
                for name, x in chosen.items()
                if isinstance(x, np.ndarray) and x.ndim
            },
        }
        self.names = named_nodes(self.found, loss, nodes, known)
        for i, leaf in enumerate(self.wrt, 1):
            self.names.setdefault(leaf, f"w{i}")
        self.renamed = {
            self.names[x]: str(graph.name(x))
            for x in letters_of_layers(self.found)
            if self.names[x] != graph.name(x)
        }
        self.lines = Lines(self.found, self.names, known)
        taken = {x._name for x in self.lines.inputs} | set(self.names.values())
        self.letters = [
            (abs(float(data_of(x))), stand_in(np.float64(data_of(x)), name))
            for name, x in chosen.items()
            if _is_number(x) and float(data_of(x)) not in (0.0, 1.0)
        ]
        self.is_mean = False  # whether the loss is a mean over examples
        self.examples = self._examples(taken)
        self.count = 1.0
        if self.examples is not None:
            self.count = float(self.examples._value)
        self.scaled = textbook and self.is_mean
        asked = {self.lines.leaves.get(w) for w in self.wrt}
        data = [x for x in self.lines.inputs if x not in asked]
        self.arranger = Arranger(
            Numbers(
                self.letters, self.examples, 12 if loss._value.dtype.itemsize > 4 else 6
            ),
            data,
        )
        self.naming = Naming(taken)
        self.gradient_names: dict[Any, str] = {}
        self.readers: dict[Any, list[Any]] = {}
        self.scales: dict[Any, float] = {}
        self.cotangents: dict[Any, Any] = {}

    # --- the number of examples ---

    def _examples(self, taken: set[str]) -> Any:
        """Return a stand-in for the number over which the loss is a mean, or None."""
        axes = {
            n
            for x in self.lines.inputs
            if x not in {self.lines.leaves.get(w) for w in self.wrt}
            for n in np.shape(x._value)
        }
        scalars = [x for x in self.lines.stations if np.size(x._value) == 1]
        for station in [self.loss, *reversed(scalars), *reversed(self.lines.stations)]:
            for node in reversed(graph.ancestors([self.lines.recorded[station]])):
                count = _count(node)
                if count is None or count < 2:
                    continue
                self.is_mean = np.size(station._value) == 1 and count in axes
                if count in axes:
                    name = next(x for x in ("m", "M", "m_") if x not in taken)
                    return stand_in(np.float64(count), name)
                if node._op is not None and node._op.name == "mean":
                    name = next(x for x in ("N", "n", "N_") if x not in taken)
                    return stand_in(np.float64(count), name)
        return None

    # --- steps ---

    def steps(self) -> Steps:
        reached, forward = self._stations()
        for node in self.lines.stations:
            made = self.arranger.arranged(simplified(self.lines.recorded[node]))
            self.arranger.defines(made, self.lines.leaves[node])
            self.arranger.defines(self.lines.recorded[node], self.lines.leaves[node])
        backward = self._backward(reached)
        results = {
            self.names[x]: self.gradient_names[x]
            for x in self.wrt
            if x in self.cotangents
        }
        return Steps(
            loss=self.names[self.loss],
            forward=tuple(forward),
            backward=tuple(backward),
            results=results,
            inputs=self._inputs(forward),
            letters=tuple(leaf for _, leaf in self.letters),
            examples=self.examples,
            scaled=any(scale != 1 for scale in self.scales.values()),
            told=tuple(self.arranger.told),
            renamed=self.renamed,
        )

    def _inputs(self, forward: Sequence[Step]) -> tuple[Any, ...]:
        """Return what is given in the order in which it is read: data, parameters."""
        read: dict[Any, int] = {}
        for step in forward:
            stack = [step.expression]
            while stack:
                x = stack.pop()
                if x._op is None:
                    read.setdefault(x, len(read))
                stack += [y for y in reversed(inputs_of(x)) if isinstance(y, Node)]
        asked = {self.lines.leaves[x] for x in self.wrt if x in self.lines.leaves}
        return tuple(
            sorted(
                self.lines.inputs, key=lambda x: (x in asked, read.get(x, len(read)))
            )
        )

    def _stations(self) -> tuple[list[Any], list[Step]]:
        """Return the stations that a gradient passes, and the forward lines."""
        leads = set(self.wrt)
        for node in self.found:
            reads = any(isinstance(x, Node) and x in leads for x in inputs_of(node))
            if reads and node._value.dtype.kind == "f":
                leads.add(node)
        reached = [x for x in self.lines.stations if x in leads]
        forward = []
        for node in self.lines.stations:
            shown = self._spelled(self.lines.written[node], node)
            forward.append(
                Step(self.names[node], shown, np.shape(node._value), graph.line(node))
            )
        return reached, forward

    def _spelled(self, root: Any, station: Any) -> Any:
        """Return a line with its numbers spelled: 400 as m, 0.000875 as λ / m."""
        if np.size(station._value) != 1 and not self.letters:
            return root
        instead: dict[Any, Any] = {}
        for node in graph.ancestors([root]):
            if node._op is None:
                continue
            inputs = tuple(
                instead.get(x, x) if isinstance(x, Node) else x for x in inputs_of(node)
            )
            if node._op.name in ("multiply", "divide"):
                inputs = tuple(
                    self._letters(x, single=np.size(station._value) == 1)
                    for x in inputs
                )
            if any(a is not b for a, b in zip(inputs, inputs_of(node), strict=True)):
                settings = graph.source(node)[2]
                instead[node] = node_for(node, node._op, inputs, settings, node._value)
        return instead.get(root, root)

    def _letters(self, x: Any, *, single: bool) -> Any:
        if isinstance(x, Node) or not _is_number(x):
            return x
        number = float(data_of(x))
        if not math.isfinite(number) or number == 0:
            return x
        for value, leaf in self.letters:
            if number == value:
                return leaf
        if not single or self.examples is None:
            return x
        if number == self.count:
            return self.examples
        with recording.recorded():
            made = self.arranger.built(Form(number))
        named = isinstance(made, Node) and self.examples in graph.ancestors([made])
        return made if named else x

    # --- backward ---

    def _backward(self, reached: Sequence[Any]) -> list[Step]:
        wanted = [*reached, *self.wrt]
        true = self._true(wanted)
        shares: dict[Any, list[tuple[Any, float, float]]] = {x: [] for x in wanted}
        order = list(reversed(reached))
        reads = {
            node: [x for x in self.lines.read_by(node) if x in shares] for node in order
        }
        left = Counter(x for node in order for x in reads[node])
        steps: list[Step] = []
        for node in order:
            if node is self.loss:
                self.cotangents[node] = _seed(node)
                self.scales[node] = 1.0
            elif not shares[node]:
                continue  # what is bypassed gets nothing
            else:
                steps += self._steps(node, shares, true)
            found = self.lines.pulled(node, self.cotangents[node], reads[node])
            size = float(np.max(np.abs(data_of(self.cotangents[node])), initial=0.0))
            for x, g in found.items():
                shares[x].append((g, self.scales[node], size))
            left.subtract(reads[node])
            for x in reads[node]:
                if x._op is None and left[x] == 0:
                    steps += self._steps(x, shares, true)
        for x in self.wrt:
            steps += self._steps(x, shares, true)
        return steps

    def _steps(self, node: Any, shares: Mapping[Any, Any], true: Any) -> list[Step]:
        """Return the step of a node, if it has one and has not had it."""
        if node in self.cotangents or not shares[node]:
            return []
        step = self._step(node, shares[node], true[node])
        return [] if step is None else [step]

    def _true(self, wanted: Sequence[Any]) -> dict[Any, Any]:
        """Return the gradients by the engine, on the graph that was recorded."""
        seed = constant(np.ones_like(self.loss._value), recording.tick())
        with recording.recorded():
            try:
                with np.errstate(all="ignore", invalid="raise"):
                    found = autodiff.pull(self.loss, seed, set(wanted))
            except FloatingPointError:
                with np.errstate(all="ignore"):
                    found = autodiff.pull(self.loss, seed, set(wanted), careful=True)
        return {
            x: data_of(found[x]) if x in found else np.zeros(np.shape(x._value))
            for x in wanted
        }

    def _step(self, node: Any, shares: Sequence[Any], true: Any) -> Step | None:
        name = self._gradient_name(node)
        scale = 1.0
        inner = self.scaled and node not in self.wrt and node is not self.loss
        if inner and self.count in np.shape(node._value):
            scale = self.count
        total: Any = None
        with recording.recorded(), np.errstate(all="ignore"):
            for g, above, _ in reversed(shares):  # what is nearest comes first
                factor = scale / above
                part = g if factor == 1 else ops.multiply(g, factor)
                total = part if total is None else ops.add(total, part)
        wanted = np.asarray(true, np.float64) * scale
        shape = np.shape(node._value)
        upstream = max(size for _, _, size in shares)
        expression = self._right(total, wanted, shape, upstream)
        self.scales[node] = scale
        if node not in self.wrt and self._says_nothing(expression):
            # A number, the same for all: what follows is shorter with it put in.
            self.cotangents[node] = total
            return None
        leaf = stand_in(np.asarray(true * np.asarray(true).dtype.type(scale))[()], name)
        self.cotangents[node] = leaf
        chain: tuple[str, ...] = ()
        plain = None
        if self.chain:
            chain, plain = self._chain(node, expression)
        return Step(name, expression, shape, graph.line(node), chain, plain)

    def _gradient_name(self, node: Any) -> str:
        """Return dW for W; where the user has a dW of another kind, dW'."""
        if node not in self.gradient_names:
            name = self.naming.free(f"d{self.names[node]}")
            self.gradient_names[node] = name
        return self.gradient_names[node]

    def _says_nothing(self, expression: Any) -> bool:
        """Whether a gradient depends on nothing but the number of examples."""
        if not isinstance(expression, Node):
            return True
        leaves = [x for x in graph.ancestors([expression]) if x._op is None]
        known = {self.examples, *(leaf for _, leaf in self.letters)}
        return all(x in known or graph.name(x) is None for x in leaves)

    def _right(
        self, total: Any, wanted: Any, shape: tuple[int, ...], upstream: float
    ) -> Any:
        """Return the tidiest expression that has the value: never a wrong one."""
        right = []
        for tidy in (simplified, _as_it_is):
            try:
                found = self.arranger.arranged(tidy(total))
            except (ArithmeticError, LookupError, TypeError, ValueError):
                continue
            if _agrees(found, wanted, shape, upstream, self.loss._value.dtype):
                right.append(found)
        return min(right, key=_length, default=total)

    # --- the chain rule ---

    def _chain(self, node: Any, line: Any) -> tuple[tuple[str, ...], Any]:
        """Return the names from the loss to a node, and the product of slopes.

        Slopes are those of the plain rules, of what was written: through A2, where the
        gradient itself takes the stable way past it.
        """
        path = [node]
        while path[-1] is not self.loss:
            above = self._written_readers(path[-1])
            if len(above) != 1:
                return (), None
            path.append(above[0])
        if len(path) == 2:  # a slope of the loss itself
            return (), None
        names = tuple(self.names[x] for x in reversed(path))
        known = next(i for i in range(1, len(path)) if path[i] in self.scales)
        g = self.cotangents[path[known]]
        factor = self.scales[node] / self.scales[path[known]]
        for i in range(known, 0, -1):
            found = self.lines.pulled_as_written(path[i], g, [path[i - 1]])
            g = found.get(path[i - 1])
            if g is None:
                return names, None
        with recording.recorded(), np.errstate(all="ignore"):
            plain = self.arranger.arranged(
                g if factor == 1 else ops.multiply(g, factor)
            )
        same = self.arranger.key(plain) == self.arranger.key(line)
        return names, None if same else plain

    def _written_readers(self, node: Any) -> list[Any]:
        """Return the stations in whose written lines a node stands."""
        if not self.readers:
            owners = {leaf: x for x, leaf in self.lines.leaves.items()}
            for station in self.lines.stations:
                for leaf in graph.ancestors([self.lines.written[station]]):
                    if leaf in owners:
                        self.readers.setdefault(owners[leaf], []).append(station)
        return self.readers.get(node, [])


def _length(expression: Any) -> int:
    """Count the ops that are to be read, each as often as it is written.

    A transpose is no more than a sign on a letter.
    """
    if not isinstance(expression, Node):
        return 0
    found = graph.ancestors([expression])
    sizes: dict[Any, int] = {}
    for node in found:
        inputs = [x for x in inputs_of(node) if isinstance(x, Node)]
        counts = node._op is not None and node._op.name != "transpose"
        sizes[node] = counts + sum(sizes.get(x, 0) for x in inputs)
    return sizes[expression]


def _as_it_is(expression: Any) -> Any:
    return expression


def _is_number(x: Any) -> bool:
    return not isinstance(x, Node) and np.ndim(x) == 0 and not isinstance(x, str)


def _count(node: Any) -> int | None:
    """Return the whole number of examples by which a node divides, if it does.

    A number that is written out counts examples, or twice as many, where it is the
    length of an axis that is summed; a lone 2 is a half, as in ``0.5 * sum(r**2)``,
    unless nothing else is summed.
    """
    if node._op is None:
        return None
    inputs = inputs_of(node)
    name = node._op.name
    if name == "mean":
        size = np.size(data_of(inputs[0]))
        return size // max(np.size(node._value), 1)
    if name not in ("divide", "multiply"):
        return None
    for x in inputs[1:] if name == "divide" else inputs:
        if isinstance(x, Node) or not _is_number(x):
            continue
        number = abs(float(data_of(x)))
        if name == "multiply" and number:
            number = 1 / number
        if number > 1 and math.isfinite(number):
            near = round(number)
            if abs(near - number) > 1e-9 * number:
                continue
            lengths = {*np.shape(node._value)} - {1} or _summed(node) - {1}
            if near in lengths and (near > 2 or lengths == {2}):
                return near
            return near // 2 if near % 2 == 0 and near // 2 in lengths else None
    return None


def _summed(node: Any) -> set[int]:
    """Return the lengths of the axes over which a number was summed.

    They are those of its sums; without a sum, those of a product of matrices.
    """
    lengths: set[int] = set()
    products: set[int] = set()
    stack, seen = [node], set()
    while stack:
        x = stack.pop()
        if x in seen or x._op is None:
            continue
        seen.add(x)
        shape = np.shape(x._value)
        inputs = inputs_of(x)
        if x._op.kind == "contraction":
            products |= {n for y in inputs for n in np.shape(data_of(y))} - {*shape}
            continue
        if x._op.kind == "reduction":
            lengths |= {*np.shape(data_of(inputs[0]))} - {*shape}
        stack += [y for y in inputs if isinstance(y, Node)]
    return lengths or products


def _seed(loss: Any) -> Any:
    one = constant(loss._value.dtype.type(1), recording.tick())
    shape = np.shape(loss._value)
    if not shape:
        return one
    with recording.recorded():
        return ops.reshape(one, shape)


def _agrees(
    found: Any, wanted: Any, shape: tuple[int, ...], upstream: float, dtype: Any
) -> bool:
    """Whether a line has the value it must have, but for rounding.

    Where all cancels, what is left is as large as the rounding of what came in.
    """
    value = data_of(found)
    if np.shape(value) != shape:
        return False
    got = np.asarray(value, np.float64)
    coarse = dtype.itemsize < 8
    size = np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0)
    least = upstream if math.isfinite(upstream) else 0.0
    tolerance = 1e-3 * size + 1e-5 * least if coarse else 1e-9 * size + 1e-14 * least
    return bool(np.allclose(got, wanted, rtol=0, atol=tolerance, equal_nan=True))
