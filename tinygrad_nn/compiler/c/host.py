"""The Python half of a step in C: a module of a few lines, generated for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.c.pointers import address_of
from tinygrad_nn.compiler.c.tables import Lowered
from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.compiler.trace import Rate, StateNumber, Trace
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.program import Argument, Gradient, Program, Slot, Value
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Lent

__all__ = ["HostSource"]


class HostSource:
    """Writes the functions ``call`` and ``after``."""

    def __init__(
        self, program: Program, trace: Trace, lowered: Lowered, runner: Any
    ) -> None:
        self.program = program
        self.trace = trace
        self.c = lowered
        self.runner = runner
        self.namespace: dict[str, Any] = {}
        self.held: dict[int, str] = {}
        self.taken: set[str] = {"np", "call", "after", "status", "bound"}
        self.taken |= set(trace.scalars)
        self.lines: list[str] = []
        self.numbers: dict[int, int] = {}

    def source(self) -> str:
        """Return the module's text."""
        runner, pointers = self.runner, self.runner.pointers
        self.namespace |= {
            "address_of": address_of,
            "bind": pointers.bind,
            "bound": pointers.bound,
            "compute": runner.library.compute,
            "copies": pointers.copies,
            "copy_in": pointers.copy_in,
            "copy_out": pointers.copy_out,
            "empty": np.empty,
            "failed": runner.faults.failed,
            "reference": pointers.reference,
            "run": runner.library.step,
            "scalars": pointers.scalars,
            "table": pointers.table,
            "update": runner.library.update,
        }
        self.taken |= set(self.namespace)
        self._call()
        self._latest()
        self._advance()
        self._after()
        return "\n".join(self.lines) + "\n"

    def name(self, value: Any, wanted: str) -> str:
        """Return the name of an object that the text refers to."""
        if id(value) not in self.held:
            name, count = wanted, 1
            while name in self.taken:
                name, count = f"{wanted}_{count}", count + 1
            self.taken.add(name)
            self.held[id(value)] = name
            self.namespace[name] = value
        return self.held[id(value)]

    def _tensor(self, tensor: Any) -> str:
        return self.name(tensor, f"{identifier(graph.name(tensor) or 't')}_tensor")

    def _optimizer(self, optimizer: Any) -> str:
        return self.name(optimizer, type(optimizer).__name__.lower())

    def _call(self) -> None:
        arguments = self._arguments()
        body = [*self._states_read(), *self._places(), *self._numbers()]
        results = [
            self._result(i, body.append) for i in range(len(self.program.results))
        ]
        early, late = self._checks()
        body += ["if copies:", "    copy_in()", *early]
        if self.trace.draws and self.c.trapped:
            body.append(f"{self.name(self.runner.draws.remember, 'remember_draws')}()")
        for function in ("compute", "update") if late else ("run",):
            body += [f"status = {function}(reference)"]
            body += ["if status:", "    failed(status)"]
            body += late if function == "compute" else []
        body += ["if copies:", "    copy_out()", *self._gradients(), *self._states()]
        tail = "," if len(results) == 1 else ""
        body.append(f"return ({', '.join(results)}{tail})")
        self.lines.append(f"def call({', '.join(arguments)}):")
        self.lines += [f"    {line}" for line in body]

    def _checks(self) -> tuple[list[str], list[str]]:
        """Return checks of what comes in, and of what is computed before an update."""
        early: list[str] = []
        late: list[str] = []
        for node, check in self.program.checks:
            held = self.name(check, "check")
            value = self.name(self.runner.pointers.value(node), "value")
            inside = node._op is not None and node not in self.program.places
            (late if inside else early).append(f"{held}({value}())")
        return early, late

    def _arguments(self) -> list[str]:
        found = {}
        for leaf, place in self.program.places.items():
            if isinstance(place, Argument):
                found[place.index] = f"x{place.index}"
                del leaf
        self.taken |= set(found.values())
        return [found[i] for i in sorted(found)]

    def _places(self) -> list[str]:
        lines = []
        for i, entry in enumerate(self.c.outside):
            if entry.kind != "place":
                continue
            place = self.program.places[entry.what]
            if isinstance(place, Argument):
                text = f"x{place.index}"
            elif isinstance(place, Value):
                text = f"{self._tensor(place.tensor)}._value"
            elif isinstance(place, Gradient):
                text = f"{self._tensor(place.tensor)}._grad"
                plain = self.name(_plain, "plain")
                lines.append(f"bind({i}, {plain}({text}))")
                continue
            else:
                key = self.state_names[id(place.optimizer), place.parameter]
                text = f"{key}[{place.index}]"
            lines += [f"if {text} is not bound[{i}]:", f"    bind({i}, {text})"]
        return lines

    def _states_read(self) -> list[str]:
        """Fetch what optimisers remember."""
        self.state_names: dict[tuple[int, int], str] = {}
        lines = []
        wanted: dict[tuple[int, int], tuple[Any, int]] = {}
        for entry in self.c.outside:
            if entry.kind == "place":
                place = self.program.places[entry.what]
                if isinstance(place, Slot):
                    key = (id(place.optimizer), place.parameter)
                    wanted[key] = (place.optimizer, place.parameter)
        for source in self.trace.scalars.values():
            if isinstance(source, StateNumber):
                key = (id(source.optimizer), source.parameter)
                wanted[key] = (source.optimizer, source.parameter)
        for key, (optimizer, i) in wanted.items():
            name = f"state_{len(self.state_names)}"
            self.state_names[key] = name
            lines.append(f"{name} = {self._optimizer(optimizer)}._states[{i}]")
        return lines

    def _numbers(self) -> list[str]:
        lines = []
        for text, source in self.trace.scalars.items():
            if isinstance(source, Rate):
                optimizer = self._optimizer(source.optimizer)
                later = f" + {source.later}" if source.later else ""
                lines.append(f"{text} = {optimizer}.rate({optimizer}.steps{later})")
            else:
                key = self.state_names[id(source.optimizer), source.parameter]
                lines.append(f"{text} = {key}[{source.index}]")
        lines += [f"scalars[{i}] = {text}" for i, text in enumerate(self.c.scalars)]
        return lines

    def _result(self, i: int, write: Any) -> str:
        x = self.program.results[i]
        if isinstance(x, Scalar):
            return x.text
        if not isinstance(x, Node):
            return self.name(x, "result")
        if i not in self.c.fresh:  # one number, which C leaves in its own memory
            return f"{self.name(self.runner.pointers.view(x), f'result_{i}')}[()]"
        entry = self.c.fresh[i]
        number = next(j for j, e in enumerate(self.c.outside) if e is entry)
        self.numbers[i] = number
        name = f"result_{i}"
        shape, dtype = x._value.shape, x._value.dtype
        kind = self.name(dtype, "dtype")
        write(f"bound[{number}] = {name} = empty({tuple(shape)!r}, {kind})")
        write(f"table[{number}] = address_of({name})")
        return name if shape else f"{name}[()]"

    def _lent(self) -> set[Any]:
        return {
            leaf
            for leaf, node in self.program.gradients
            if self.trace.spent[leaf] and node in self.c.views
        }

    def _states(self) -> list[str]:
        lines = []
        for (optimizer, i), state in self.trace.new_states.items():
            if not any(isinstance(part, Scalar) for part in state):
                continue
            key = self.state_names.get((id(optimizer), i))
            name = self._optimizer(optimizer)
            parts = [
                part.text if isinstance(part, Scalar) else f"{key}[{j}]"
                for j, part in enumerate(state)
            ]
            lines.append(f"{name}._states[{i}] = ({', '.join(parts)},)")
        for optimizer, count in self.trace.steps.items():
            lines.append(f"{self._optimizer(optimizer)}.steps += {count}")
        return lines

    def _latest(self) -> None:
        """Return what the last of many steps left."""
        self.lines += ["", "", "def latest():"]
        self.lines += [f"    {line}" for line in self._gradients()]
        results = []
        for i, x in enumerate(self.program.results):
            if i in self.c.fresh:
                number = self.numbers[i]
                tail = "" if np.ndim(x._value) else "[()]"
                results.append(f"bound[{number}]{tail}")
            else:
                results.append(self._result(i, None))
        tail = "," if len(results) == 1 else ""
        self.lines.append(f"    return ({', '.join(results)}{tail})")

    def _gradients(self) -> list[str]:
        """Copy gradients that are not left in C's memory."""
        lent = self._lent()
        copy = self.name(np.array, "copy")
        return [
            f"{self._tensor(leaf)}._grad = "
            f"{copy}({self.name(self.runner.pointers.view(node), 'gradient')})"
            for leaf, node in self.program.gradients
            if leaf not in lent
        ]

    def _advance(self) -> None:
        """Compute the numbers of one of many steps, and count it."""
        self.lines += ["", "", "def advance(scalars):"]
        self.lines += [f"    {line}" for line in self._states_read()]
        self.lines += [f"    {line}" for line in self._numbers()]
        self.lines += [f"    {line}" for line in self._states()]
        self.lines += ["    pass"]

    def _after(self) -> None:
        """What an eager step leaves behind besides numbers, for `Tensor` to read."""
        write = self.lines.append
        write("")
        write("")
        write("def after(code, instruction, order):")
        before = len(self.lines)
        for place, _ in self.program.writes:
            if isinstance(place, Value):
                t = self._tensor(place.tensor)
                write(f"    {t}._order = order")
                write(f"    {t}._code = code")
                write(f"    {t}._lasti = instruction")
                write(f"    {t}._form = None")
        lent = self._lent()
        nodes = dict(self.program.gradients)
        for leaf, spent in self.trace.spent.items():
            t = self._tensor(leaf)
            write(f"    {t}._spent = {spent}")
            if leaf in lent:
                buffer = self.name(
                    Lent(self.runner.pointers.view(nodes[leaf])), f"{t}_lent"
                )
                write(f"    {t}._grad = {buffer}")
            elif spent and self.trace._gradients.get(leaf) is None:
                write(f"    {t}._grad = None")
        if len(self.lines) == before:
            write("    pass")


def _plain(gradient: Any) -> Any:
    """Return a waiting gradient as an array."""
    return gradient.copied() if isinstance(gradient, Lent) else gradient
