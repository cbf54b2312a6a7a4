"""`Trace`: runs a function once and notes what it does, on Tensors that record.

Nothing outside is changed: what the function assigns, the steps its optimisers make and
the random numbers it draws are noted and put back. The compiled program does them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinygrad_nn import autodiff, graph, ops, recording
from tinygrad_nn.compiler.checks import Blamed
from tinygrad_nn.compiler.names import assigned_name
from tinygrad_nn.errors import CompileError, DtypeError
from tinygrad_nn.op import Node, constant, inputs_of, settings_of
from tinygrad_nn.rewriting.program import (
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
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Tensor

__all__ = ["Rate", "StateNumber", "Trace"]


_SETTINGS = (float, np.random.Generator)


_AS_INDEX = (
    "To index an array with it, index a Tensor of the array: tg.Tensor(array)[index]; "
    "for one-hot rows write index[:, None] == np.arange(k). "
)
_INSTEAD = {
    "np.asarray": _AS_INDEX,
    "index": _AS_INDEX,
    ".data": "To change it, write `with tg.no_grad(): W -= lr * W.grad`. ",
}
"""What is most often meant, by how a value is read."""


class Rate(NamedTuple):
    """Where a learning rate is read: of the optimiser's step after ``later`` more."""

    optimizer: Any
    later: int


class StateNumber(NamedTuple):
    """Where a number that an optimiser remembers is read."""

    optimizer: Any
    parameter: int
    index: int  # type: ignore[assignment]  # tuple.index is not used


class _Kept(NamedTuple):
    """What a leaf was before the trace."""

    value: Any
    order: int
    code: Any
    lasti: int
    form: Any


class _Event(NamedTuple):
    """An assignment to a leaf: when, of what, and whether its array stayed the same."""

    time: int
    value: Any
    in_place: bool


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
    held_by : list
        (attributes, name, value): floating numbers and generators of modules that ran.
    hyperparameters : dict
        Optimisers that stepped, with what they were made with.
    pending : dict
        Leaves of which a gradient was asked for, and whether an unused one was there.
    shown : dict
        Leaves whose used gradient was read, and whether there was one.
    quiet : set
        Nodes recorded under `no_grad`: a gradient does not pass them.
    switched : dict
        Modules whose training flag the step sets, and to what.
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
        self.held_by: list[tuple[dict[str, Any], str, Any]] = []
        self.hyperparameters: dict[Any, dict[str, Any]] = {}
        self.pending: dict[Any, bool] = {}
        self.shown: dict[Any, bool] = {}
        self.quiet: set[Node] = set()
        self.switched: dict[Any, bool] = {}
        self.checks: list[tuple[Node, Callable[[Any], None]]] = []
        self.selects = False
        self.sources: dict[Node, None] = {}
        self.spent: dict[Any, bool] = {}
        self._gradients: dict[Any, Any] = {}
        self._states: dict[tuple[Any, int], tuple[Any, ...]] = {}
        self._assigned: dict[Node, list[_Event]] = {}
        self._kept: dict[Any, _Kept] = {}
        self._generators: dict[int, tuple[Any, Any]] = {}
        self._stand_ins: dict[int, tuple[Any, Any]] = {}
        self._drawn: list[Any] = []
        self._flags: dict[Any, Any] = {}
        self._roots: dict[Node, Node] = {}
        self._updates: list[int] = []
        self._last_backward = 0

    # --- inputs ---

    def argument(self, value: np.ndarray, index: int, name: str | None) -> Tensor:
        """Make the leaf that stands for an argument."""
        if value.dtype.kind not in "fiub":
            raise DtypeError(
                f"compile: an argument holds real numbers; got dtype {value.dtype} as "
                f"{name!r}. Convert it first: np.asarray(x, float)"
            )
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
        self.hyperparameters[optimizer] = dict(optimizer.hyperparameters)
        self.steps[optimizer] = self.steps.get(optimizer, 0) + 1

    def held(self, value: Any) -> Any:
        """Return a leaf for an array of the user's: held by reference, never folded."""
        leaf = constant_leaf(value)
        leaf._code, leaf._lasti = recording.caller()
        return leaf

    def stands_for(self, array: np.ndarray, node: Any) -> None:
        """Note that an array among settings is the value of a node."""
        if array.dtype == np.bool_ and array.ndim:
            raise CompileError(
                f"compile: t[mask] at {recording.line_of(*recording.caller())} picks "
                "as many elements as the mask has, another number in each step; got "
                "a mask that is computed. Choose with tg.where, or index outside of "
                "the step"
            )
        self._stand_ins[id(array)] = (array, self._now(node))

    def guard(self, node: Node, check: Callable[[Any], None]) -> None:
        """Make a check of a value: now, and in each run before anything is updated."""
        check(np.asarray(node._value))
        self.check(node, Blamed(check, recording.line_of(*recording.caller())))

    def check(self, node: Node, check: Callable[[Any], None]) -> None:
        """Make a check of a value in each run, before anything is updated."""
        self.checks.append((self._now(node), check))

    def check_given(self, results: list[Any], check: Callable[[Any], None]) -> None:
        """Make a check of all that the step gives: results, gradients, new values."""
        given = [*results, *self._gradients.values()]
        given += [events[-1].value for events in self._assigned.values()]
        given += [part for state in self.new_states.values() for part in state]
        for x in given:
            if isinstance(x, Node) and x._value.dtype.kind == "f":
                self.check(x, check)

    def chosen_from(self, operands: Sequence[Any]) -> None:
        """Note that the backward goes through an op that chooses among elements."""
        self.selects = True
        self.sources.update((self._now(x), None) for x in operands if _is_node(x))

    def enter(self, module: Any) -> None:
        """Note that a module runs: its training flag belongs to the signature."""
        if module not in self.switched and module not in self.modules:
            self.modules[module] = module.training
            own = vars(module)
            self.held_by += [
                (own, name, x) for name, x in own.items() if isinstance(x, _SETTINGS)
            ]

    def switch(self, module: Any, training: bool) -> None:
        """Note that the step sets the training flag of a module."""
        self._flags.setdefault(module, vars(module).get("training"))
        self.switched[module] = training

    def recorded(self, node: Node, *, gradients: bool) -> None:
        """Note a node of which something else than its value counts."""
        if not gradients:
            self.quiet.add(node)
        if node._op is not None and node._op.kind == "random":
            self._drawn.append(node)

    def through(self, how: graph.Source) -> graph.Source:
        """Return the way to a node's operands that stops where `no_grad` stopped."""
        quiet = self.quiet

        def source(node: Node) -> Any:
            return (None, (), {}) if node in quiet else how(node)

        return source

    def draws_from(self, rng: Any) -> None:
        """Remember where a generator stands, before it is drawn from."""
        if id(rng) not in self._generators:
            self._generators[id(rng)] = (rng, rng.bit_generator.state)

    # --- effects ---

    def assign(self, leaf: Any, value: Any, *, in_place: bool) -> None:
        """Note that a leaf gets a new value; from now on reading it gives that one.

        In place, the views of it that were recorded before show it as well.
        """
        if leaf._op is not None or leaf in self.places:
            raise CompileError(
                "compile: only a leaf that lives outside of the step is assigned; got "
                f"{'an argument' if leaf in self.places else leaf._op}"
            )
        if not isinstance(value, Node):
            value = self.held(value)
        if value._value.shape != leaf._value.shape:
            value = ops.broadcast_to(value, leaf._value.shape)
        if value._op is None or value._value.dtype != leaf._value.dtype:
            value = ops.astype(value, leaf._value.dtype)  # a leaf as it is by now
        if leaf not in self._kept:
            self._kept[leaf] = _Kept(
                leaf._value, leaf._order, leaf._code, leaf._lasti, leaf._form
            )
        # A single number becomes an array, which views are views of.
        new = np.asarray(value._value)
        if in_place and value._op.pointwise:  # written into an array of another layout
            new = np.empty_like(leaf._value)
            new[...] = value._value
        leaf._value = value._value = new
        leaf._form = None
        leaf._code, leaf._lasti = recording.caller()
        leaf._order = recording.changed()
        event = _Event(leaf._order, value, in_place)
        self._assigned.setdefault(leaf, []).append(event)

    def backward(self, root: Any, seed: Any, *, retain: bool) -> None:
        """Note the gradients that ``backward`` adds to its leaves."""
        if retain:
            raise CompileError(
                "compile: backward(retain_grads=True) keeps gradients of inner nodes, "
                "which a compiled step does not have. Use tg.gradients"
            )
        leaves = []
        for node in graph.ancestors([root], self.through(graph.source)):
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
            found = autodiff.pull(root, seed, leaves, careful=self.careful, quick=True)
            for leaf in leaves:
                if leaf not in found:
                    continue
                old = self._unused(leaf)
                g = found[leaf]
                if g._op is None:
                    g = ops.astype(g)  # as it is by now, whatever becomes of the leaf
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
        if leaf not in self._gradients:
            found = self._unused(leaf)
            grad = getattr(leaf, "_grad", None)
            if found is None and leaf not in self.shown:
                self.shown[leaf] = grad is not None
                if grad is not None:  # what an earlier step has used is still shown
                    found = constant_leaf(leaf._value, _prefixed("d", leaf))
                    self.places[found] = Gradient(leaf)
            self._gradients[leaf] = found
            self.spent.setdefault(leaf, True)
        return self._gradients[leaf]

    def waiting(self, leaf: Any) -> Any:
        """Return the gradient that waits for a step, as clipping takes it, or None."""
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
        if not isinstance(g, Node):
            g = self.held(g)
        self._unused(leaf)
        self._gradients[leaf] = ops.astype(g, leaf._value.dtype)
        self.spent[leaf] = False

    def forget_gradient(self, leaf: Any) -> None:
        """Note a ``zero_grad``."""
        self._unused(leaf)
        self._gradients[leaf] = None
        self.spent[leaf] = True

    def refuse_reading(self, node: Node, how: str) -> None:
        """Raise where a value would become a part of the program."""
        made = node._op is None and node._order > self.start
        if made and node not in self.places and node not in self._kept:
            return  # a constant, made inside of the step
        line = recording.line_of(*recording.caller())
        name = getattr(node, "_name", None) or assigned_name(node)
        what = f"the Tensor {name!r}" if name else "a Tensor"
        raise CompileError(
            f"compile: {how} of {what} at {line} needs a number while the step is "
            "traced, and would be the same in every later step. "
            f"{_INSTEAD.get(how, '')}Choose with tg.where, do it outside of the step, "
            "or pass a plain Python number, which becomes a part of the signature"
        )

    # --- the program ---

    def restore(self) -> None:
        """Put everything back as it was before the function ran."""
        for leaf, kept in self._kept.items():
            leaf._value, leaf._order = kept.value, kept.order
            leaf._code, leaf._lasti, leaf._form = kept.code, kept.lasti, kept.form
        for rng, state in self._generators.values():
            rng.bit_generator.state = state
        for module, training in self._flags.items():
            if training is None:
                vars(module).pop("training", None)
            else:
                module.training = training

    def let_go(self) -> None:
        """Forget everything that holds arrays, once the program is written."""
        for held in (
            self.cotangents,
            self.new_states,
            self.sources,
            self.spent,
            self._gradients,
            self._states,
            self._assigned,
            self._kept,
            self._stand_ins,
            self._roots,
        ):
            held.clear()
        self.checks.clear()
        self.quiet.clear()

    @property
    def draws(self) -> list[Any]:
        """Generators that the step draws from."""
        return [rng for rng, _ in self._generators.values()]

    def program(self, results: list[Any]) -> Program:
        """Return what was recorded, with names, and leaves read at their own time."""
        end = recording.tick()
        # What the step itself sets is a side effect, and no setting.
        self.held_by = [(own, k, x) for own, k, x in self.held_by if own.get(k) is x]
        outside = [leaf for leaf in self._assigned if self._is_outside(leaf)]
        writes: list[tuple[Place, Any]] = [
            (Value(leaf), self._assigned[leaf][-1].value)  # type: ignore[arg-type]
            for leaf in outside
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
            if isinstance(g, Node)
            and not isinstance(self.places.get(g), Gradient)
            and leaf not in self.places
            and self._is_outside(leaf)
        ]
        updates = [
            *self._updates,
            *(event.time for events in self._assigned.values() for event in events),
        ]
        first = min(updates) if updates else end
        returned = [self._seen(x, end) if _is_node(x) else x for x in results]
        outputs = [x for x in returned if isinstance(x, Node)]
        outputs += [node for _, node in [*writes, *gradients]]
        outputs += [node for node, _ in self.checks]
        outputs += self.sources
        found = self._settled(outputs)
        checks = self.checks
        unused = [node for node in self._drawn if node not in found]
        if unused:  # the next numbers are those that eager would draw
            checks = [*checks, *((node, _ignore) for node in unused)]
            found = self._settled([*outputs, *unused])
        self._refuse_shared(outside)

        def now(x: Any) -> Any:
            return found.get(x, x) if isinstance(x, Node) else x

        checked = [(now(x), check) for x, check in checks]
        _bring_forward([x for x, _ in checked], found.values(), first, end)
        return reordered(
            Program(
                nodes=[],
                places=self.places,
                results=[now(x) for x in returned],
                writes=[(place, now(x)) for place, x in writes],
                gradients=[(leaf, now(g)) for leaf, g in gradients],
                checks=checked,
                sources=[now(x) for x in self.sources],
                first_update=first if self._last_backward < first else None,
            )
        )

    def _refuse_shared(self, written: list[Any]) -> None:
        """Raise where what is written shows in another leaf: its value would change."""
        if not written:
            return
        changed = set(written)
        spans: list[Any] = []
        for leaf in {*written, *self.places}:
            if isinstance(self.places.get(leaf), (Argument, Slot, Gradient)):
                continue
            value = self._kept[leaf].value if leaf in self._kept else leaf._value
            if isinstance(value, np.ndarray) and value.size:
                spans.append((*byte_bounds(value), leaf))
        spans.sort(key=lambda span: span[:2])
        open_spans: list[Any] = []
        for low, high, leaf in spans:
            open_spans = [span for span in open_spans if span[1] > low]
            for _, _, other in open_spans:
                if (leaf in changed or other in changed) and self._overlap(leaf, other):
                    names = " and ".join(_title(x) for x in (other, leaf))
                    raise CompileError(
                        "compile: what a step changes shows in one Tensor only; got "
                        f"{names} that share memory. Use one Parameter in both places"
                    )
            open_spans.append((low, high, leaf))

    def _overlap(self, x: Any, y: Any) -> bool:
        first, second = (
            self._kept[z].value if z in self._kept else z._value for z in (x, y)
        )
        try:
            return bool(np.shares_memory(first, second, max_work=10_000))  # type: ignore[arg-type]  # NumPy's stub knows two of the numbers
        except np.exceptions.TooHardError:
            return True

    def _now(self, x: Any) -> Any:
        """Return what a node shows at this moment."""
        return self._seen(x, recording.tick())

    def _seen(self, x: Any, time: int) -> Any:
        """Return what a node shows at a time: itself, or what its leaf was assigned.

        A view shows what was written in place to the leaf that it is a view of.
        """
        if not self._assigned:
            return x
        if x._op is None:
            events = self._assigned.get(x, ())
            before = [event.value for event in events if event.time < time]
            return before[-1] if before else x
        if x._op.kind not in ("movement", "indexing"):
            return x
        leaf = self._root(x)
        value = None
        for event in self._assigned.get(leaf, ()):
            if x._order < event.time < time:
                if not event.in_place:
                    break
                value = event.value
        if value is None or not self._is_view(x, leaf):
            return x
        chain = [x]
        while inputs_of(chain[-1])[0] is not leaf:
            chain.append(inputs_of(chain[-1])[0])
        for node in reversed(chain):
            value = like(node, (value, *inputs_of(node)[1:]))
            value._order = time
        return value

    def _root(self, x: Any) -> Any:
        """Return the leaf that a node may be a view of, or what stands in the way."""
        chain = []
        while x not in self._roots:
            chain.append(x)
            op, inputs = x._op, inputs_of(x)
            if op is None or op.kind not in ("movement", "indexing"):
                break
            if not isinstance(inputs[0], Node):
                break
            x = inputs[0]
        root = self._roots.get(x, x)
        self._roots.update(dict.fromkeys(chain, root))
        return root

    def _is_view(self, x: Any, leaf: Any) -> bool:
        arrays = [event.value._value for event in self._assigned[leaf]]
        arrays.append(self._kept[leaf].value)
        return any(np.may_share_memory(x._value, array) for array in arrays)

    def _settled(self, outputs: list[Any]) -> dict[Node, Any]:
        """Copy the graph: assigned leaves resolved, indices live, names given."""
        self._entitle()
        operands: dict[Node, dict[Node, Any]] = {}
        live: dict[Node, Any] = {}
        order: list[Any] = []
        seen: set[Node] = set()
        stack = list(outputs)
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
            settings = live[node] = self._live(settings_of(node))
            needs = () if node._op.kind == "random" else inputs_of(node)
            found = operands[node] = {
                x: self._seen(x, node._order) for x in needs if _is_node(x)
            }
            stack += found.values()
            stack += [x for x in _inside(settings) if isinstance(x, Node)]
        made: dict[Node, Any] = {}
        for node in _ordered(order, operands, live):
            settings = live[node]
            index = settings.get("index")
            if isinstance(index, tuple):
                parts = tuple(made.get(x, x) if _is_node(x) else x for x in index)
                settings = {**settings, "index": parts}
            elif isinstance(index, Node):
                settings = {**settings, "index": made.get(index, index)}
            inputs = []
            if node._op.kind == "random":  # its operand gives a shape, and no value
                inputs.append(np.broadcast_to(0.0, node._value.shape))
            for x in inputs_of(node)[len(inputs) :]:
                now = operands[node][x] if _is_node(x) else x
                inputs.append(made.get(now, now) if _is_node(now) else now)
            made[node] = like(node, tuple(inputs), settings)
            made[node]._name = self._name(node)
        return made

    def _is_outside(self, leaf: Node) -> bool:
        kept = self._kept.get(leaf)
        return (leaf._order if kept is None else kept.order) < self.start

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

    def _entitle(self) -> None:
        """Find the names of new values and gradients."""
        self._titles = {
            event.value: _prefixed("new_", leaf)
            for leaf, events in self._assigned.items()
            for event in events
        }
        for leaf, g in self._gradients.items():
            if isinstance(g, Node):
                self._titles.setdefault(g, _prefixed("d", leaf))

    def _name(self, node: Node) -> str | None:
        title = self._titles.get(node)
        if title is not None:
            return title
        if node in self.cotangents:
            name = assigned_name(self.cotangents[node])
            return f"d{name}" if name else None
        return assigned_name(node)


def _bring_forward(checked: list[Any], nodes: Any, first: int, end: int) -> None:
    """Give what is checked a time before the first update; draws keep their turns."""
    late: set[Any] = set()
    stack = list(checked)
    while stack:
        node = stack.pop()
        if node._op is not None and node._order >= first and node not in late:
            late.add(node)
            stack += operands(node)
    if late:
        late.update(
            node
            for node in nodes
            if node._op and node._op.kind == "random" and node._order >= first
        )
    for node in late:
        node._order = first - 1 + (node._order - first + 1) / (end - first + 2)


def _ignore(value: Any) -> None:
    """Look at a value that nobody uses."""


def _is_node(x: Any) -> bool:
    return isinstance(x, Node)


def _prefixed(prefix: str, leaf: Node) -> str | None:
    name = graph.name(leaf)
    return f"{prefix}{name}" if name else None


def _title(leaf: Node) -> str:
    name = graph.name(leaf)
    return repr(name) if name else f"the leaf of shape {leaf._value.shape}"


def _inside(settings: Any) -> list[Any]:
    index = settings.get("index")
    return list(index) if isinstance(index, tuple) else [index]


def _ordered(order: list[Any], operands: Any, live: Any) -> list[Any]:
    """Sort nodes by time, those that stand in for a view before what reads them."""
    ready: list[Any] = []
    done: set[Node] = set()
    for start in sorted(order, key=lambda node: node._order):
        stack = [start]
        while stack:
            node = stack[-1]
            if node in done or node not in operands:
                stack.pop()
                continue
            needed = [*operands[node].values(), *_inside(live[node])]
            missing = [
                x for x in needed if _is_node(x) and x in operands and x not in done
            ]
            if missing:
                stack += missing
                continue
            done.add(node)
            ready.append(node)
            stack.pop()
    return ready
