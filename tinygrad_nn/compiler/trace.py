"""`Trace`: runs a function once and notes what it does, on Tensors that record.

Nothing outside is changed: what the function assigns, the steps its optimisers make and
the random numbers it draws are noted and put back. The compiled program does them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import autodiff, graph, ops, recording
from tinygrad_nn.compiler.names import assigned_name
from tinygrad_nn.compiler.program import (
    Argument,
    Gradient,
    Place,
    Program,
    Slot,
    Value,
    constant_leaf,
    like,
    operands,
    reordered,
)
from tinygrad_nn.errors import CompileError, GradientError
from tinygrad_nn.op import Node, constant, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["Rate", "StateNumber", "Trace"]


class Rate(NamedTuple):
    """Where a learning rate is read: of the optimiser's step after ``later`` more."""

    optimizer: Any
    later: int


class StateNumber(NamedTuple):
    """Where a number that an optimiser remembers is read."""

    optimizer: Any
    parameter: int
    index: int


class _Kept(NamedTuple):
    """What a leaf was before the trace."""

    value: Any
    order: int
    code: Any
    lasti: int
    form: Any


class Trace:
    """What a function did while it ran once.

    Parameters
    ----------
    careful
        Gradients keep track of missing paths everywhere (see `autodiff.pull`).

    Attributes
    ----------
    places : dict
        Leaf to where it is read.
    scalars : dict
        Name of a live number to where it is read.
    new_states : dict
        (optimiser, parameter) to the state after the step.
    steps : dict
        Optimiser to how many steps it made.
    modules : dict
        Modules that ran, with their training flags.
    pending : dict
        Leaves of which a gradient was asked for, and whether an unused one was there.
    checks : list
        (node, function): checks of values, to be made anew at each call.
    selects : bool
        Whether an op of the backward leaves elements without a path, so that 0 * inf
        may be met where eager gradients take the careful way.
    sources : dict
        Nodes of which such an op chose; a nan among them raises no flag.
    """

    def __init__(self, *, careful: bool = False) -> None:
        self.careful = careful
        self.start = recording.tick()
        self.places: dict[Node, Place] = {}
        self.cotangents: dict[Node, Node] = {}
        self.scalars: dict[str, Rate | StateNumber] = {}
        self.new_states: dict[tuple[Any, int], tuple[Any, ...]] = {}
        self.steps: dict[Any, int] = {}
        self.modules: dict[Any, bool] = {}
        self.pending: dict[Any, bool] = {}
        self.checks: list[tuple[Node, Callable[[Any], None]]] = []
        self.selects = False
        self.sources: dict[Node, None] = {}
        self.spent: dict[Tensor, bool] = {}
        self._gradients: dict[Any, Any] = {}
        self._states: dict[tuple[Any, int], tuple[Any, ...]] = {}
        self._assigned: dict[Node, list[tuple[int, Any]]] = {}
        self._kept: dict[Any, _Kept] = {}
        self._generators: dict[int, tuple[Any, Any]] = {}
        self._stand_ins: dict[int, tuple[Any, Any]] = {}
        self._updates: list[int] = []
        self._last_backward = 0

    # --- inputs ---

    def argument(self, value: np.ndarray, index: int, name: str | None) -> Tensor:
        """Make the leaf that stands for an argument."""
        leaf = constant_leaf(value, name)
        self.places[leaf] = Argument(index)
        return leaf

    def rate(self, optimizer: Any) -> Scalar:
        """Return the learning rate of an optimiser's next step."""
        later = self.steps.get(optimizer, 0)
        source = Rate(optimizer, later)
        return self._scalar(source, optimizer.rate(optimizer.steps + later), "lr")

    def _scalar(self, source: Any, value: float, name: str) -> Scalar:
        for known, place in self.scalars.items():
            if place == source:
                return Scalar(value, known)
        name = f"{name}_{len(self.scalars)}" if self.scalars else name
        self.scalars[name] = source
        return Scalar(value, name)

    def state(self, optimizer: Any, i: int) -> tuple[Any, ...]:
        """Return what an optimiser remembers of a parameter: leaves and numbers."""
        key = (optimizer, i)
        if key not in self._states:
            parts: list[Any] = []
            for j, part in enumerate(optimizer._states[i]):
                if isinstance(part, np.ndarray):
                    name = f"{optimizer.slots[j]}_{optimizer.parameters[i].name or i}"
                    leaf = constant_leaf(part, name)
                    self.places[leaf] = Slot(optimizer, i, j)
                    parts.append(leaf)
                elif isinstance(part, (int, float)) and not isinstance(part, bool):
                    source = StateNumber(optimizer, i, j)
                    parts.append(self._scalar(source, part, optimizer.slots[j]))
                else:
                    parts.append(part)
            self._states[key] = tuple(parts)
        return self._states[key]

    def keep_state(self, optimizer: Any, i: int, state: tuple[Any, ...]) -> None:
        """Note what an optimiser remembers after its step."""
        self._states[optimizer, i] = self.new_states[optimizer, i] = state

    def count_step(self, optimizer: Any) -> None:
        """Note that an optimiser made a step."""
        self.steps[optimizer] = self.steps.get(optimizer, 0) + 1

    def stands_for(self, array: np.ndarray, node: Node) -> None:
        """Note that an array among settings is the value of a node."""
        self._stand_ins[id(array)] = (array, node)

    def guard(self, node: Node, check: Callable[[Any], None]) -> None:
        """Note a check of a value: made in each run, before anything is updated."""
        self.checks.append((node, check))

    check = guard

    def chosen_from(self, operands: Sequence[Any]) -> None:
        """Note that the backward goes through an op that chooses among elements."""
        self.selects = True
        self.sources.update((x, None) for x in operands if isinstance(x, Node))

    def enter(self, module: Any) -> None:
        """Note that a module runs: its training flag belongs to the signature."""
        self.modules.setdefault(module, module.training)

    def draws_from(self, rng: Any) -> None:
        """Remember where a generator stands, before it is drawn from."""
        if id(rng) not in self._generators:
            self._generators[id(rng)] = (rng, rng.bit_generator.state)

    # --- effects ---

    def assign(self, leaf: Any, value: Any) -> None:
        """Note that a leaf gets a new value; from now on reading it gives that one."""
        if leaf._op is not None or leaf in self.places:
            raise CompileError(
                "compile: only a leaf that lives outside of the step is assigned; got "
                f"{'an argument' if leaf in self.places else leaf._op}"
            )
        if value._value.shape != leaf._value.shape:
            value = ops.broadcast_to(value, leaf._value.shape)
        if value._value.dtype != leaf._value.dtype:
            value = ops.astype(value, leaf._value.dtype)
        if leaf not in self._kept:
            self._kept[leaf] = _Kept(
                leaf._value, leaf._order, leaf._code, leaf._lasti, leaf._form
            )
        leaf._value = np.asarray(value._value)
        leaf._form = None
        leaf._code, leaf._lasti = recording.caller()
        leaf._order = recording.changed()
        self._assigned.setdefault(leaf, []).append((leaf._order, value))

    def backward(self, root: Any, seed: Any, *, retain: bool) -> None:
        """Note the gradients that ``backward`` adds to its leaves."""
        if retain:
            raise CompileError(
                "compile: backward(retain_grads=True) keeps gradients of inner nodes, "
                "which a compiled step does not have. Use tg.gradients"
            )
        leaves = []
        for node in graph.ancestors([root]):
            if not node.requires_grad:
                continue
            if node._op is None:
                leaves.append(node)
            elif node._order < self.start:
                raise CompileError(
                    f"compile: the graph recorded at {graph.line(node)}, before the "
                    "step, requires a gradient. Compute it inside of the step, or "
                    ".detach() it"
                )
        if not isinstance(seed, Node):
            seed = constant(seed, recording.tick())
        with recording.no_grad(), np.errstate(all="ignore"):
            found = autodiff.pull(root, seed, leaves, careful=self.careful)
            for leaf in leaves:
                if leaf not in found:
                    continue
                old = self._unused(leaf)
                g = found[leaf]
                self._gradients[leaf] = g if old is None else ops.add(old, g)
                self.spent[leaf] = False
        self._last_backward = recording.tick()

    def _unused(self, leaf: Any) -> Any:
        """Return the gradient that the next one is added to, or that a step takes."""
        if leaf in self.spent:
            return None if self.spent[leaf] else self._gradients[leaf]
        if leaf not in self.pending:
            grad = getattr(leaf, "_grad", None)
            there = grad is not None and not getattr(leaf, "_spent", False)
            self.pending[leaf] = there
            if there:
                old = constant_leaf(grad, f"d{leaf.name}" if leaf.name else None)
                self.places[old] = Gradient(leaf)
                self._gradients[leaf] = old
                self.spent[leaf] = False
                return old
        return None

    def gradient(self, leaf: Any) -> Any:
        """Return what ``.grad`` shows in the step: a node."""
        if leaf in self._gradients:
            return self._gradients[leaf]
        return self._unused(leaf)

    def used_up(self, leaf: Any) -> Any:
        """Return the gradient that an optimiser takes, and mark it as used."""
        g = self._unused(leaf)
        if g is not None:
            self.spent[leaf] = True
            self._updates.append(recording.tick())
        return g

    def replace_gradient(self, leaf: Any, g: Any) -> None:
        """Let ``.grad`` of a leaf be another node, as clipping does."""
        self._gradients[leaf] = g

    def forget_gradient(self, leaf: Any) -> None:
        """Note a ``zero_grad``."""
        self._unused(leaf)
        self._gradients[leaf] = None
        self.spent[leaf] = True

    def refuse_reading(self, node: Node, how: str) -> None:
        """Raise where a value would become a part of the program."""
        if node._op is None and node._order > self.start and node not in self.places:
            if node not in self._kept:
                return  # a constant, made inside of the step
        line = recording.line_of(*recording.caller())
        name = getattr(node, "_name", None) or assigned_name(node)
        what = f"the Tensor {name!r}" if name else "a Tensor"
        raise CompileError(
            f"compile: {how} of {what} at {line} needs a number while the step is "
            "traced, and would be the same in every later step. Choose with tg.where, "
            "do it outside of the step, or pass a plain Python number, which becomes a "
            "part of the signature"
        )

    # --- the program ---

    def restore(self) -> None:
        """Put everything back as it was before the function ran."""
        for leaf, kept in self._kept.items():
            leaf._value, leaf._order = kept.value, kept.order
            leaf._code, leaf._lasti, leaf._form = kept.code, kept.lasti, kept.form
        for rng, state in self._generators.values():
            rng.bit_generator.state = state

    @property
    def draws(self) -> list[Any]:
        """Generators that the step draws from."""
        return [rng for rng, _ in self._generators.values()]

    def program(self, results: list[Any]) -> Program:
        """Return what was recorded, with names, and leaves read at their own time."""
        writes: list[tuple[Place, Any]] = [
            (Value(leaf), events[-1][1]) for leaf, events in self._assigned.items()
        ]
        for (optimizer, i), state in self.new_states.items():
            writes += [
                (Slot(optimizer, i, j), part)
                for j, part in enumerate(state)
                if isinstance(part, Node)
            ]
        gradients = [
            (leaf, g)
            for leaf, g in self._gradients.items()
            if isinstance(g, Node) and not isinstance(self.places.get(g), Gradient)
        ]
        updates = [*self._updates, *(t for e in self._assigned.values() for t, _ in e)]
        first = min(updates) if updates else recording.tick()
        outputs = [x for x in results if isinstance(x, Node)]
        outputs += [node for _, node in [*writes, *gradients]]
        outputs += [node for node, _ in self.checks]
        outputs += self.sources
        found = self._settled(outputs)

        def now(x: Any) -> Any:
            return found.get(x, x) if isinstance(x, Node) else x

        # A leaf that is returned is read after all that was assigned to it.
        end = recording.tick()
        return reordered(
            Program(
                nodes=[],
                places=self.places,
                results=[now(self._at(x, end)) for x in results],
                writes=[(place, now(self._at(x, end))) for place, x in writes],
                gradients=[(leaf, now(self._at(g, end))) for leaf, g in gradients],
                checks=[(now(self._at(x, x._order)), f) for x, f in self.checks],
                sources=[now(self._at(x, x._order)) for x in self.sources],
                first_update=first if self._last_backward < first else None,
            )
        )

    def _at(self, x: Any, time: int) -> Any:
        """Return what a leaf was at a time: itself, or what it was assigned."""
        if isinstance(x, Node) and x in self._assigned:
            before = [node for t, node in self._assigned[x] if t < time]
            return before[-1] if before else x
        return x

    def _settled(self, outputs: list[Any]) -> dict[Node, Any]:
        """Copy the graph: assigned leaves resolved, indices live, names given."""
        end = recording.tick()
        order: list[Any] = []
        seen: set[Node] = set()
        stack = [self._at(x, end) for x in outputs]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node._op is None or node._order < self.start:
                if node not in self.places and self._is_outside(node):
                    self.places[node] = Value(node)
                continue
            order.append(node)
            settings = self._live(settings_of(node))
            stack += [
                self._at(x, node._order)
                for x in [*inputs_of(node), *_inside(settings)]
                if isinstance(x, Node)
            ]
        order.sort(key=lambda node: node._order)
        found: dict[Node, Any] = {}
        for node in order:
            time = node._order

            def now(x: Any, time: int = time) -> Any:
                x = self._at(x, time)
                return found.get(x, x) if isinstance(x, Node) else x

            settings = self._live(settings_of(node))
            index = settings.get("index")
            if isinstance(index, tuple):
                settings = {**settings, "index": tuple(map(now, index))}
            elif isinstance(index, Node):
                settings = {**settings, "index": now(index)}
            made = like(node, tuple(map(now, inputs_of(node))), settings)
            made._name = self._name(node)
            found[node] = made
        return found

    def _is_outside(self, leaf: Node) -> bool:
        return leaf._order < self.start or leaf in self._kept

    def _live(self, settings: Any) -> Any:
        """Return settings in which arrays that stand for nodes are those nodes."""
        index = settings.get("index")
        if isinstance(index, np.ndarray) and id(index) in self._stand_ins:
            return {**settings, "index": self._stand_ins[id(index)][1]}
        if isinstance(index, tuple) and any(id(x) in self._stand_ins for x in index):
            parts = tuple(
                self._stand_ins[id(x)][1] if id(x) in self._stand_ins else x
                for x in index
            )
            return {**settings, "index": parts}
        return settings

    def _name(self, node: Node) -> str | None:
        for leaf, events in self._assigned.items():
            if any(value is node for _, value in events):
                return f"new_{graph.name(leaf)}" if graph.name(leaf) else None
        for leaf, g in self._gradients.items():
            if g is node and graph.name(leaf):
                return f"d{graph.name(leaf)}"
        if node in self.cotangents:
            name = assigned_name(self.cotangents[node])
            return f"d{name}" if name else None
        return assigned_name(node)


def _inside(settings: Any) -> list[Any]:
    index = settings.get("index")
    return list(index) if isinstance(index, tuple) else [index]


def refuse_gradient(message: str) -> None:
    """Raise the error of a step that has nothing to differentiate."""
    raise GradientError(message)


def nodes_among(values: list[Any]) -> list[Node]:
    """Return the nodes among values."""
    return [x for x in values if isinstance(x, Node)]


_ = operands
