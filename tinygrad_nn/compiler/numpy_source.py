"""Backend ``numpy``: a program as flat NumPy source, one assignment a line.

Every intermediate has a place in a buffer that was planned beforehand, so a step
allocates nothing but its results. The source is complete: buffers first, then the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.biases import with_ones
from tinygrad_nn.compiler.checks import Finite, refuse_nan
from tinygrad_nn.compiler.memory import Buffers, plan
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.numpy_blocks import BlockWriter
from tinygrad_nn.compiler.numpy_calls import Calls
from tinygrad_nn.compiler.schedule import Block, scheduled
from tinygrad_nn.compiler.together import together
from tinygrad_nn.compiler.trace import Rate, StateNumber, Trace
from tinygrad_nn.compiler.writer import Line, Writer
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.program import (
    Argument,
    Gradient,
    Program,
    Slot,
    Value,
    operands,
)
from tinygrad_nn.scalars import Scalar

__all__ = ["Lowered", "lower"]


@dataclass
class Lowered:
    """Source of a step, and what its names stand for.

    Attributes
    ----------
    source
        The module's text; it defines ``step`` and ``after``.
    namespace
        Objects that the text refers to: Tensors, optimisers, constants.
    lines
        Line number to the node that it computes.
    buffers
        The memory plan.
    lent
        Leaf to the name that its ``.grad`` gets, and the buffer that this lends.
    nodes
        What is computed, in order.
    """

    source: str
    namespace: dict[str, Any]
    lines: dict[int, Node]
    buffers: Buffers
    lent: dict[Any, tuple[str, str]]
    nodes: list[Any]


def lower(program: Program, trace: Trace, *, check_finite: bool, trap: bool) -> Lowered:
    """Write a program as NumPy source.

    Parameters
    ----------
    check_finite
        Look at every value, and name the op whose value is not finite.
    trap
        Raise FloatingPointError where 0 meets an infinity before anything is updated.
    """
    if not (program.exact or check_finite):
        program = together(with_ones(program))
    phases = scheduled(program)
    buffers = plan(program, phases, cautious=check_finite)
    source = _Source(program, trace, buffers, check_finite, trap)
    text = source.write(phases)
    return Lowered(
        text,
        source.w.namespace,
        source.nodes,
        source.buffers,
        source.lent,
        program.nodes,
    )


class _Source:
    """Writes the parts of the source in turn."""

    def __init__(
        self,
        program: Program,
        trace: Trace,
        buffers: Buffers,
        check_finite: bool,
        trap: bool,
    ) -> None:
        self.program = program
        self.trace = trace
        self.buffers = buffers
        self.check_finite = check_finite
        self.trap = trap
        self.w = Writer(program)
        self.w.taken.update(trace.scalars)  # whose texts are written already
        self.calls = Calls(self.w, buffers)
        self.blocks: list[str] = []
        self.sources = set(program.sources)
        self.used = {x for node in program.nodes for x in operands(node)}
        self.used |= set(program.outputs())
        self.nodes: dict[int, Node] = {}
        # Gradients that stay in their buffers until someone reads ``.grad``.
        self.lent: dict[Any, tuple[str, str]] = {}

    def write(self, phases: list[list[Any]]) -> str:
        """Return the whole text; `nodes` then says which line computes what."""
        arguments = self._arguments()
        reads = self._reads()
        parts = [self._phase(items) for items in phases]
        self._lend()
        self.calls.body = []
        results = self._results()
        self._writes()
        first, *rest = parts
        body: list[Line] = [(text, None) for text in reads]
        body += self._leaf_checks()
        body += [(text, None) for text in self._numbers()]
        if self.trap and first:
            # 0 * inf: gradients then take the careful way, as in eager.
            body.append(('with np.errstate(invalid="raise"):', None))
            first = [(f"    {text}", node) for text, node in first]
        body += first
        body += self._node_checks()
        body += [line for part in rest for line in part]
        body += self.calls.body
        body += [(text, None) for text in self._states()]
        body.append((f"return {results}", None))
        lines = [*self._preamble(), f"def step({', '.join(arguments)}):"]
        for text, node in body:
            lines.append(f"    {text}")
            if node is not None:
                self.nodes[len(lines)] = node
        lines += ["", "", "def after(code, instruction, order):"]
        lines += [f"    {text}" for text in self._after() or ["pass"]]
        return "\n".join(lines) + "\n"

    def _phase(self, items: list[Any]) -> list[Line]:
        """Write nodes and blocks in order; comments say where layer or line change."""
        body: list[Line] = []
        self.calls.body = body
        last = None
        for item in items:
            where = _place(item.nodes[0] if isinstance(item, Block) else item)
            if where != last:
                body.append((f"# {where}", None))
                last = where
            if isinstance(item, Block):
                block = BlockWriter(self.calls, item, len(self.blocks) + 1)
                body += block.write()
                self.blocks.append(block.prepared)
            else:
                self._line(item)
        return body

    def _leaf_checks(self) -> list[Line]:
        """Look at what came in, before anything is computed."""
        w = self.w
        lines: list[Line] = []
        for leaf in self.program.sources if self.trap else ():
            if self._is_leaf(leaf) and leaf in self.used:
                refuse = w.held(refuse_nan, "refuse_nan")
                lines.append((f"{refuse}({w.operand(leaf)})", leaf))
        for node, check in self.program.checks:
            if self._is_leaf(node):
                lines.append((f"{w.held(check, 'check')}({w.operand(node)})", node))
        return lines

    def _node_checks(self) -> list[Line]:
        """Look at what was computed, before anything is updated."""
        return [
            (f"{self.w.held(check, 'check')}({self.w.operand(node)})", node)
            for node, check in self.program.checks
            if not self._is_leaf(node)
        ]

    def _is_leaf(self, node: Node) -> bool:
        return node._op is None or node in self.program.places

    # --- what comes in ---

    def _arguments(self) -> list[str]:
        found = {}
        for leaf, place in self.program.places.items():
            if isinstance(place, Argument):
                found[place.index] = self.w.name(leaf)
        return [found[i] for i in sorted(found)]

    def _reads(self) -> list[str]:
        """Values that live outside are read anew at each call."""
        w = self.w
        lines = []
        rows: dict[tuple[int, int], Slot] = {}
        names: dict[tuple[int, int], dict[int, str]] = {}
        for leaf, place in self.program.places.items():
            if isinstance(place, Slot):
                key = (id(place.optimizer), place.parameter)
                rows.setdefault(key, place)
                names.setdefault(key, {})[place.index] = w.name(leaf)
                continue
            if leaf not in self.used or isinstance(place, Argument):
                continue
            tensor = self._tensor(place.tensor)
            if isinstance(place, Value):
                lines.append(f"{w.name(leaf)} = {tensor}._value")
            else:
                lines.append(f"{w.name(leaf)} = {tensor}.grad")
        for text, source in self.trace.scalars.items():
            if isinstance(source, StateNumber):
                key = (id(source.optimizer), source.parameter)
                rows.setdefault(key, Slot(source.optimizer, source.parameter, 0))
                names.setdefault(key, {})[source.index] = text
                w.taken.add(text)
        for key, slot in rows.items():
            optimizer = self._optimizer(slot.optimizer)
            count = len(slot.optimizer._states[slot.parameter])
            parts = [names[key].get(j, "_") for j in range(count)]
            tail = "," if count == 1 else ""
            lines.append(
                f"{', '.join(parts)}{tail} = {optimizer}._states[{slot.parameter}]"
            )
        return lines

    def _tensor(self, tensor: Any) -> str:
        name = graph.name(tensor) or "t"
        return self.w.held(tensor, f"{identifier(name)}_tensor")

    def _optimizer(self, optimizer: Any) -> str:
        return self.w.held(optimizer, type(optimizer).__name__.lower())

    def _numbers(self) -> list[str]:
        """Learning rates and what is computed from them."""
        w = self.w
        lines = []
        for text, source in self.trace.scalars.items():
            if isinstance(source, Rate):
                optimizer = self._optimizer(source.optimizer)
                later = f" + {source.later}" if source.later else ""
                lines.append(f"{text} = {optimizer}.rate({optimizer}.steps{later})")
        for text, name in w.numbers.items():
            if name != text:
                lines.append(f"{name} = {text}")
        for (text, _), name in w.rates.items():
            lines.append(f"{name}[()] = {w.numbers[text]}")
        return lines

    # --- one node ---

    def _line(self, node: Any) -> None:
        """Write what computes a node, and what looks at its value."""
        w, body = self.w, self.calls.body
        made = self.buffers.made.get(node)
        if made == "hoisted":
            return
        name = w.name(node)
        if made == "buffer":
            out = self._out(node)
            text = self.calls.into(node, out)
            if text is None and out != name:
                text = out
            if text is not None:
                body.append((text if out == name else f"{name} = {text}", node))
        else:
            body.append((f"{name} = {self.calls.value(node)}", node))
        if self.trap and node in self.sources:
            body.append((f"{w.held(refuse_nan, 'refuse_nan')}({name})", node))
        if self.check_finite and node._value.dtype.kind == "f":
            body.append((f"{w.held(Finite(node), 'finite')}({name})", node))

    def _out(self, node: Any) -> str:
        place = self.buffers.direct.get(node)
        if place is not None:
            return self.w.name(place)
        return self.buffers.name(node)

    # --- what goes out ---

    def _results(self) -> str:
        """Return the expression of the results: arrays that nothing else changes."""
        parts = []
        given: set[Node] = set()  # two results are two arrays, though computed once
        for x in self.program.results:
            text = self.w.operand(x)
            is_node = isinstance(x, Node)
            fresh = is_node and self.buffers.made.get(x) == "fresh" and x not in given
            if is_node:
                given.add(x)
            scalar = is_node and np.ndim(x._value) == 0 and x._op is not None
            shared = is_node and (x in self.buffers.direct or x in self.buffers.root)
            if not fresh and (shared or not scalar):
                name = self.w.unique("result")
                self.calls.body.append((f"{name} = np.array({text})", None))
                text = name
            parts.append(text)
        return ", ".join(parts) + ("," if len(parts) == 1 else "") or "()"

    def _writes(self) -> None:
        """New values that could not be computed in place are written at the end."""
        body = self.calls.body
        places = {place: leaf for leaf, place in self.program.places.items()}
        for given, node in self.program.gradients:
            if given not in self.lent:
                text = f"{self._tensor(given)}._grad = np.array({self.w.operand(node)})"
                body.append((text, node))
        written = {places.get(place) for place, _ in self.program.writes}
        sources: dict[Any, str] = {}
        for _, node in self.program.writes:
            if self.buffers.root.get(node, node) in written and node not in sources:
                # It changes in one of the writes that follow.
                sources[node] = self.w.unique("old")
                text = f"{sources[node]} = np.array({self.w.operand(node)})"
                body.append((text, node))
        for place, node in self.program.writes:
            leaf: Any = places.get(place)
            if node in self.buffers.direct and self.buffers.direct[node] is leaf:
                continue
            source = sources.get(node) or self.w.operand(node)
            known = leaf in self.used or isinstance(place, Slot)
            target = self.w.name(leaf) if known else self._place_text(place)
            body.append((f"{target}[...] = {source}", node))

    def _lend(self) -> None:
        for leaf, node in self.program.gradients:
            hoisted = self.buffers.made.get(node) == "hoisted"
            if self.trace.spent[leaf] and (hoisted or node in self.buffers.home):
                name = self.w.unique(f"{self._tensor(leaf)}_lent")
                buffer = self.w.name(node) if hoisted else self.buffers.name(node)
                self.lent[leaf] = (name, buffer)

    def _place_text(self, place: Any) -> str:
        if isinstance(place, Value):
            return f"{self._tensor(place.tensor)}._value"
        if isinstance(place, Gradient):
            return f"{self._tensor(place.tensor)}._grad"
        optimizer = self._optimizer(place.optimizer)
        return f"{optimizer}._states[{place.parameter}][{place.index}]"

    def _states(self) -> list[str]:
        """Optimisers remember the new counts; their arrays were changed in place."""
        lines = []
        w = self.w
        for (optimizer, i), state in self.trace.new_states.items():
            if not any(isinstance(part, Scalar) for part in state):
                continue
            name = self._optimizer(optimizer)
            places = {
                place.index: w.name(leaf)
                for leaf, place in self.program.places.items()
                if isinstance(place, Slot)
                and place.optimizer is optimizer
                and place.parameter == i
            }
            parts = [
                part.text
                if isinstance(part, Scalar)
                else places.get(j, w.operand(part))
                for j, part in enumerate(state)
            ]
            lines.append(f"{name}._states[{i}] = ({', '.join(parts)},)")
        for optimizer, count in self.trace.steps.items():
            lines.append(f"{self._optimizer(optimizer)}.steps += {count}")
        return lines

    def _after(self) -> list[str]:
        """What an eager step leaves behind besides numbers, for `Tensor` to read."""
        lines = []
        for place, _ in self.program.writes:
            if isinstance(place, Value):
                t = self._tensor(place.tensor)
                lines += [
                    f"{t}._order = order",
                    f"{t}._code = code",
                    f"{t}._lasti = instruction",
                    f"{t}._form = None",
                ]
        for leaf, spent in self.trace.spent.items():
            t = self._tensor(leaf)
            lines.append(f"{t}._spent = {spent}")
            if leaf in self.lent:
                lines.append(f"{t}._grad = {self.lent[leaf][0]}")
            elif spent and self.trace._gradients.get(leaf) is None:
                lines.append(f"{t}._grad = None")
        return lines

    def _preamble(self) -> list[str]:
        w = self.w
        numbered = enumerate(self.buffers.piece_kinds)
        imports = [f"from numpy import {', '.join(sorted(w.imports))}"]
        buffers = self.buffers.lines(w.name)
        return [
            '"""A compiled step: buffers, then one assignment a line."""',
            "",
            "import numpy as np",
            *(imports if w.imports else []),
            "",
            "# The last argument of a call is the array that its result is written to.",
            *w.constants,
            *buffers,
            *(
                f"_p{i} = np.empty({shape!r}, np.{kind})"
                for i, (shape, kind) in numbered
            ),
            *self.blocks,
            *(f"{name} = {text}" for text, name in w.views.items()),
            *(f"{name} = {text}" for text, name in self.buffers.bits.items()),
            *(
                f'{name} = {self.buffers.name(node)}.ravel("K")'
                for name, node in self.calls.flats
            ),
            "",
            "",
        ]


def _place(node: Node) -> str:
    """Layer, and line of the user's code, as a comment says them."""
    scope = graph.scope(node)
    line = graph.line(node)
    place = "" if line is None else f"{line.file.rpartition('/')[2]}:{line.number}"
    return " ".join(x for x in (scope, place) if x) or "constants"
