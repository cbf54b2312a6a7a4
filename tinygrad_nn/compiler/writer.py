"""Names in a generated source: of values, of constants, of objects it refers to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_nn.compiler.names import identifier
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.program import Program
from tinygrad_nn.scalars import Scalar

__all__ = ["Line", "Writer"]

Line = tuple[str, Node | None]
"""A line of source, and the node that it computes."""

_NUMBER_NAMES = {0.0: "zero", 0.5: "half", 1.0: "one", 2.0: "two", -1.0: "minus_one"}
_FUNCTIONS = {name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
_RESERVED = _FUNCTIONS | {"np", "step", "after", "dot", "sum", "max", "min", "cut"}
_RESERVED |= {"float", "i", "locals", "module", "range", "slice"}


@dataclass
class Writer:
    """What a source has named so far.

    Attributes
    ----------
    namespace
        Objects that the source refers to, by name.
    names
        The variable of each node.
    constants
        Lines that make constants, before the step.
    numbers
        Text of a live number to the variable that holds it in a call.
    views
        Text of a view of a buffer to its name; made after the buffers.
    rates
        (text, dtype) of a live number to the array of no axes that holds it.
    """

    program: Program
    namespace: dict[str, Any] = field(default_factory=dict)
    names: dict[Node, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    rates: dict[tuple[str, str], str] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=lambda: set(_RESERVED))
    views: dict[str, str] = field(default_factory=dict)
    _objects: dict[int, str] = field(default_factory=dict)
    _prepared: dict[Any, str] = field(default_factory=dict)
    _fills: dict[Any, str] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else has."""
        if wanted.startswith("_"):  # as buffers are called
            wanted = f"v{wanted}"
        name = wanted
        count = self._counts.get(wanted, 1)
        while name in self.taken:
            name = f"{wanted}_{count}"
            count += 1
        self._counts[wanted] = count
        self.taken.add(name)
        return name

    def held(self, value: Any, wanted: str) -> str:
        """Return the name of an object that the source refers to."""
        known = self._objects.get(id(value))
        if known is None:
            known = self._objects[id(value)] = self.unique(wanted)
            self.namespace[known] = value
        return known

    def name(self, node: Node, prefix: str = "") -> str:
        """Return the variable that holds a node."""
        known = self.names.get(node)
        if known is None:
            given = getattr(node, "_name", None)
            wanted = given or (node._op.name if node._op is not None else "x")
            known = self.names[node] = self.unique(prefix + identifier(wanted))
        return known

    def operand(self, x: Any) -> str:
        """Return how the source says an operand."""
        if isinstance(x, Node):
            held = x._op is None and x not in self.program.places
            if held and x not in self.names:  # in a block it has the name of its piece
                return self.constant(x._value)
            return self.name(x)
        if isinstance(x, Scalar):
            return self.number(x)
        if isinstance(x, (int, float)) and not isinstance(x, np.generic):
            return repr(x) if math.isfinite(x) else f"float({str(x)!r})"
        return self.constant(x)

    def constant(self, value: Any) -> str:
        """Return the name of an array that is held by reference."""
        self._kept.append(value)  # an id is good for as long as the object lives
        return self.held(value, f"c{len(self._objects)}")

    def filled(self, value: Any, dtype: Any) -> str:
        """Return the name of an array of no axes: half the cost of a Python number."""
        number = np.array(value, dtype)
        key = (str(number.dtype), number.tobytes())
        known = self._fills.get(key)
        if known is None:
            plain = value.item() if isinstance(value, np.generic) else value
            text = repr(float(plain) if number.dtype.kind == "f" else plain)
            digits = re.sub(r"\W", "_", text.replace("-", "minus_"))
            word = _NUMBER_NAMES.get(float(value)) or f"number_{digits}"
            known = self._fills[key] = self.unique(word)
            kind = "" if number.dtype == np.float64 else f", np.{number.dtype}"
            text = text if np.isfinite(number) else f"float({text!r})"
            self.constants.append(f"{known} = np.array({text}{kind})")
        return known

    def full(self, value: float, shape: tuple[int, ...], dtype: Any) -> str:
        """Return the name of an array filled with 0 or 1."""
        word = {0.0: "zeros", 1.0: "ones"}[value]
        return self.prepared(word, f"np.{word}({shape!r}, np.{dtype})")

    def dot(self) -> str:
        """The method of arrays: NumPy's function costs twice as much a call."""
        if not self.constants or not self.constants[0].startswith("dot ="):
            self.constants.insert(0, "dot = np.ndarray.dot")
        return "dot"

    def imported(self, function: Any) -> str:
        """Return the name under which a function of NumPy is imported."""
        name = getattr(function, "__name__", "")
        if getattr(np, name, None) is not function:
            return self.held(function, identifier(name) or "function")
        self.imports.add(name)
        return name

    def prepared(self, wanted: str, text: str, use: int = 0) -> str:
        """Return the name of what the module makes before the first call.

        Equal texts share one name, if their ``use`` is equal as well.
        """
        key = (text, use)
        known = self._prepared.get(key)
        if known is None:
            known = self._prepared[key] = self.unique(wanted)
            self.constants.append(f"{known} = {text}")
        return known

    def prepared_view(self, text: str, wanted: str) -> str:
        """Return the name of a view of a buffer."""
        if text not in self.views:
            self.views[text] = self.unique(wanted)
        return self.views[text]

    def rate(self, x: Scalar, dtype: Any) -> str:
        """Return an array of no axes that is filled with a live number in each call."""
        key = (x.text, str(dtype))
        if key not in self.rates:
            base = self.number(x)
            name = self.rates[key] = self.unique(f"{base}_")
            kind = "" if dtype == np.float64 else f", np.{dtype}"
            self.constants.append(f"{name} = np.array(0.0{kind})")
        return self.rates[key]

    def number(self, x: Scalar) -> str:
        """Return the variable of a number that is computed once a call."""
        if x.text.isidentifier():
            return self.numbers.setdefault(x.text, x.text)
        if x.text not in self.numbers:
            self.numbers[x.text] = self.unique("n")
        return self.numbers[x.text]
