"""The graph in lines: each named value as an expression of other named values.

A named node is a *station*: its line is what lies between it and the stations below,
on stand-ins that have their values. The gradient of a station is then the sum, over
the stations that read it, of what the engine pulls back through their one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import autodiff, graph, ops, recording
from tinygrad_nn.derivation.naming import Naming, is_layer, is_mask
from tinygrad_nn.op import Node, constant, data_of, inputs_of
from tinygrad_nn.rewriting.common import common
from tinygrad_nn.rewriting.fold import fold
from tinygrad_nn.rewriting.program import Argument, Program, node_for
from tinygrad_nn.rewriting.scaling import scaled
from tinygrad_nn.tensor import Tensor

_TELLING = 8
_LONG_AGO = 1 << 60

__all__ = ["Lines", "simplified", "stand_in"]


def stand_in(value: Any, name: str | None) -> Tensor:
    """Make a leaf with a name that has a value and no past."""
    leaf = constant(value, recording.tick())
    leaf._name = name
    return leaf  # type: ignore[return-value]


class Lines:
    """Every station's line, recorded and as it was written.

    Parameters
    ----------
    found
        The nodes in tape order, those that were written and are bypassed included.
    names
        Names of stations and leaves.
    known
        What `graph.known_in` found: names of arrays.

    Attributes
    ----------
    leaves
        A stand-in for each station, leaf and array, by the node or the array's id.
    recorded, written
        For each op node: its expression on stand-ins.
    """

    def __init__(
        self,
        found: Sequence[Any],
        names: Mapping[Any, str],
        known: Mapping[int, tuple[Any, str]],
    ) -> None:
        self.names = names
        given = _drawn(found)
        self.stations = [
            x for x in found if x in names and x._op is not None and x not in given
        ]
        self._layers = self._layers_left = 1
        self.owners: dict[Any, Any] = {}
        self.leaves: dict[Any, Any] = {}
        self.arrays: dict[int, tuple[Any, Any]] = {}
        self.shown: dict[int, Any] = {}  # what the user wrote for an array, if more
        self.recorded: dict[Any, Any] = {}
        self.written: dict[Any, Any] = {}
        self.inputs: list[Any] = []  # stand-ins for leaves and arrays
        self._known = known
        self._naming = Naming(names.values())
        self._number = ""
        for node in found:
            if node in names:
                self.leaves[node] = stand_in(node._value, names[node])
                if node._op is None or node in given:
                    self.inputs.append(self.leaves[node])
            elif node._op is None and (node._value.ndim or node.requires_grad):
                self.leaves[node] = self._unnamed(node._value, "C")
        self._arrays_first(found)
        self._layers = self._layers_left = sum(map(is_layer, found))
        for node in found:
            if node in given:
                if node not in self.leaves:
                    self.leaves[node] = self._unnamed(node._value, "D")
            elif node._op is not None:
                self._add(node)

    def _arrays_first(self, found: Sequence[Any]) -> None:
        """Give the arrays that have names stand-ins, so that others can be of them."""
        for node in found:
            for x in (*inputs_of(node), *graph.written(node)[1]):
                if isinstance(x, Node) or np.ndim(x) == 0:
                    continue
                base = x if id(x) in self._known else getattr(x, "base", None)
                if isinstance(base, np.ndarray) and id(base) in self._known:
                    self._array_leaf(base, self._known[id(base)][1])

    def _array_leaf(self, array: Any, name: str) -> Any:
        if id(array) not in self.arrays:
            same = re.sub(r"\W", "_", name) if name in self.names.values() else name
            leaf = stand_in(array, self._naming.free(same))
            self.arrays[id(array)] = (array, leaf)
            self.inputs.append(leaf)
        return self.arrays[id(array)][1]

    def _unnamed(self, value: Any, letter: str) -> Any:
        number: Any = len([x for x in self.inputs if x._name.startswith(letter)]) + 1
        number = "" if letter in "XY" else self._number or number
        leaf = stand_in(value, self._naming.free(f"{letter}{number}"))
        self.inputs.append(leaf)
        return leaf

    def _add(self, node: Any) -> None:
        self._add_line(node)
        self._layers_left -= is_layer(node)

    def _add_line(self, node: Any) -> None:
        op, inputs, settings = graph.source(node)
        assert op is not None  # noqa: S101 (leaves have no line)
        number = re.search(r"\d+", self.names.get(node, ""))
        self._number = number[0] if number else ""
        made = tuple(self._operand(x, self.recorded) for x in inputs)
        self.recorded[node] = node_for(node, op, made, settings, node._value)
        self.written[node] = self.recorded[node]
        plain, operands, options = graph.written(node)
        assert plain is not None  # noqa: S101 (likewise)
        if plain.name == "add" and any(_is_zero(x) for x in operands):
            rest = [x for x in operands if not _is_zero(x)]
            if len(rest) == 1 and np.shape(data_of(rest[0])) == np.shape(node._value):
                # sum() of Python's starts with 0.
                self.written[node] = self._operand(rest[0], self.written)
                return
        if plain is not op or any(isinstance(x, Node) for x in operands):
            given = tuple(self._operand(x, self.written) for x in operands)
            line = node_for(node, plain, given, options, node._value)
            # What was written is shown where it names what the stable form skips.
            if plain is op or self._names_more(line, self.recorded[node]):
                self.written[node] = line

    def _names_more(self, line: Any, stable: Any) -> bool:
        named = [
            {id(x) for x in graph.ancestors([y]) if x._op is None and graph.name(x)}
            for y in (line, stable)
        ]
        return bool(named[0] - named[1])

    def _operand(self, x: Any, made: Mapping[Any, Any]) -> Any:
        if isinstance(x, Node):
            return self.leaves.get(x, made.get(x, x))
        if np.ndim(data_of(x)) == 0:
            return x
        if id(x) in self.arrays:
            shown = self.shown.get(id(x)) if made is self.written else None
            return self.arrays[id(x)][1] if shown is None else shown
        if id(x) in self._known:
            return self._array_leaf(x, self._known[id(x)][1])
        leaf = self._of_others(x)
        if leaf is None:
            leaf = self._unnamed(x, self._letter(x))
        _before_all([leaf, self.shown.get(id(x))])
        self.arrays[id(x)] = (x, leaf)
        return leaf

    def _letter(self, array: Any) -> str:
        """Return a textbook's letter: X goes into a layer, Y meets what comes out."""
        taken = self._naming.taken | {name for _, name in self._known.values()}
        if self._layers_left == self._layers and "X" not in taken:
            return "X"
        if not self._layers_left and "Y" not in taken:
            return "Y"
        return "D" if is_mask(array) else "C"

    def _of_others(self, array: Any) -> Any:
        """Return what NumPy computed before anything was recorded: 1 - Y, X.T.

        A transpose is told by its memory, a complement by all its elements.
        """
        base = array.base
        if isinstance(base, np.ndarray) and id(base) in self.arrays and _turned(array):
            return ops.transpose(self.arrays[id(base)][1])
        if array.dtype.kind not in "fiu" or array.size < 2 or _constant(array):
            return None  # all alike: it could be anything
        for leaf in list(self.inputs):
            found = self._of_other(array, leaf._value, leaf)
            if found is not None:
                return found
        for value, name in self._known.values():  # a loss may hold -Y, and no Y
            if isinstance(value, np.ndarray) and id(value) not in self.arrays:
                leaf = stand_in(value, name)
                found = self._of_other(array, value, leaf)
                if found is not None:
                    leaf._name = self._naming.free(name)
                    self.arrays[id(value)] = (value, leaf)
                    self.inputs.append(leaf)
                    return found
        return None

    def _of_other(self, array: Any, value: Any, leaf: Any) -> Any:
        if value.dtype.kind not in "fiu" or value.size != array.size:
            return None
        few = array.size < _TELLING  # so few may be equal by chance
        if not few and np.array_equal(value, array):
            return leaf
        if not few and np.array_equal(-1.0 * value, array):
            return ops.negative(leaf)
        if np.array_equal(1 - value, array):
            return ops.subtract(1, leaf)
        if value.ndim == 2 and np.array_equal(1 - value.T, array):
            # Turned last, so that turned back it is what others are compared with.
            self.shown[id(array)] = ops.subtract(1, ops.transpose(leaf))
            return ops.transpose(ops.subtract(1, leaf))
        turned = value.ndim == 2 and np.array_equal(value.T, array)
        return ops.transpose(leaf) if turned else None

    def _owners(self) -> dict[Any, Any]:
        if len(self.owners) != len(self.leaves):
            self.owners = {leaf: x for x, leaf in self.leaves.items()}
        return self.owners

    def read_by(self, node: Any) -> list[Any]:
        """Return the stations and leaves that a node's line is an expression of."""
        owners = self._owners()
        found: dict[Any, None] = {}
        stack = [self.recorded[node]]
        seen = set(stack)
        while stack:
            x = stack.pop()
            if x in owners:
                found[owners[x]] = None
            inputs = [y for y in inputs_of(x) if isinstance(y, Node) and y not in seen]
            seen.update(inputs)
            stack += reversed(inputs)
        return list(found)

    def pulled(
        self, node: Any, cotangent: Any, wanted: Sequence[Any]
    ) -> dict[Any, Any]:
        """Return what reaches each wanted leaf through a node's line: expressions."""
        targets = {self.leaves[x]: x for x in wanted}
        return {
            targets[leaf]: g
            for leaf, g in _pull(self.recorded[node], cotangent, list(targets)).items()
        }

    def pulled_as_written(
        self, node: Any, cotangent: Any, wanted: Sequence[Any]
    ) -> dict[Any, Any]:
        """Return the same by the plain rules, for the chain rule's page."""
        targets = {self.leaves[x]: x for x in wanted}
        return {
            targets[leaf]: g
            for leaf, g in _pull(self.written[node], cotangent, list(targets)).items()
        }


def _constant(array: Any) -> bool:
    return bool(np.all(array == array.flat[0]))


def _turned(array: Any) -> bool:
    """Whether an array is a view of its base, transposed."""
    base = array.base
    return bool(
        array.ndim == 2
        and array.shape == base.shape[::-1]
        and array.strides == base.strides[::-1]
    )


def _drawn(found: Sequence[Any]) -> set[Any]:
    """Return masks that were drawn at random, or else the random numbers: given."""
    numbers = {x for x in found if x._op is not None and x._op.kind == "random"}
    masks = {
        node
        for node in found
        if node._value.dtype.kind == "b"
        and any(x in numbers for x in inputs_of(node) if isinstance(x, Node))
    }
    compared = {x for mask in masks for x in inputs_of(mask) if isinstance(x, Node)}
    return masks | (numbers - compared)


def _before_all(found: Sequence[Any]) -> None:
    """Let nodes made now stand before those that were recorded, and now read them."""
    for node in graph.ancestors([x for x in found if x is not None]):
        if node._op is not None and node._order > 0:
            node._order -= _LONG_AGO


def _is_zero(x: Any) -> bool:
    return not isinstance(x, Node) and np.ndim(x) == 0 and data_of(x) == 0


def _pull(root: Any, cotangent: Any, wanted: list[Any]) -> dict[Any, Any]:
    """Pull back plainly; where a 0 meets an infinity, with the paths tracked."""
    with recording.recorded():
        try:
            with np.errstate(all="ignore", invalid="raise"):
                return autodiff.pull(root, cotangent, wanted)
        except FloatingPointError:
            with np.errstate(all="ignore"):
                return autodiff.pull(root, cotangent, wanted, careful=True)


def simplified(root: Any) -> Any:
    """Return an equal expression: numbers gathered, identities of the house used."""
    found = graph.ancestors([root])
    leaves = [
        x
        for x in found
        if x._op is None and (graph.name(x) is not None or np.ndim(x._value))
    ]
    program = Program(
        nodes=[x for x in found if x._op is not None],  # type: ignore[misc]
        places={leaf: Argument(i) for i, leaf in enumerate(leaves)},
        results=[root],
        writes=[],
        gradients=[],
        first_update=None,
        exact=False,
    )
    with recording.recorded(), np.errstate(all="ignore"):
        program = common(fold(program))
        program = common(fold(scaled(program)))
    return program.results[0]
