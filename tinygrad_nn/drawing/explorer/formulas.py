r"""Formulas of ops, with slots for names: the page fills in names, or numbers.

A formula is written once for all nodes that look alike. Slots are letters of a script
that formulas do not use (Yi), so a name never passes through LaTeX, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.drawing.values import index_text, number, shortened
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.notation import pulled, written
from tinygrad_nn.tensor import Tensor

__all__ = ["RESULT", "Formulas", "Line", "mathml", "settings_text"]

RESULT = 0xA000
"""Slots begin here: the result, its gradient, then the operands in order."""

_MANY = 12  # operands that one line can hold


class Line(NamedTuple):
    """The right-hand side of a line, as plain text and as LaTeX."""

    text: str
    latex: str


class Formulas:
    """What ops compute, and what they pass back; each kind of op is written once.

    Examples
    --------
    >>> x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    >>> formulas = Formulas()
    >>> formulas.forward(x * y).text == "\ua002 ⊙ \ua003"
    True
    >>> formulas.backward(x * y, 0).text == "\ua001 ⊙ \ua003"
    True
    """

    def __init__(self) -> None:
        self._known: dict[Any, Line | None] = {}

    def forward(self, node: Tensor) -> Line | None:
        """Return what a node is, of its operands; None where it cannot be written."""
        return self._once(node, None)

    def backward(self, node: Tensor, position: int) -> Line | None:
        """Return what a node passes back to an operand, before broadcasting is undone.

        Its own gradient stands in it, its result, and its operands.
        """
        return self._once(node, position)

    def _once(self, node: Tensor, position: int | None) -> Line | None:
        if len(node.inputs) > _MANY:
            return None
        look = _look(node)
        if look is None:
            return _written(node, position)
        if (look, position) not in self._known:
            self._known[look, position] = _written(node, position)
        return self._known[look, position]


def _look(node: Tensor) -> Any:
    """Return what a formula depends on; None where it may depend on more."""
    if any(not isinstance(x, _PLAIN) for x in node.settings.values()):
        return None
    operands = tuple(
        x.shape if isinstance(x, Tensor) or np.ndim(x) else number(np.asarray(x)[()])
        for x in node.inputs
    )
    # x · x is a square: which operands are one matters too.
    same = tuple([id(x) for x in node.inputs].index(id(x)) for x in node.inputs)
    return node.op, node.shape, operands, same, repr(sorted(node.settings.items()))


_PLAIN = (bool, int, float, str, tuple, type(None))


def _written(node: Tensor, position: int | None) -> Line | None:
    slots = {id(x): chr(RESULT + 2 + i) for i, x in reversed([*enumerate(node.inputs)])}
    slots[id(node)] = chr(RESULT)

    def name(x: Any) -> str | None:
        if isinstance(x, Tensor):
            # A rule meets an operand that is a plain array inside a Tensor.
            return slots.get(id(x)) or (slots.get(id(x.data)) if x.ndim else None)
        return slots.get(id(x)) if np.ndim(x) else None

    try:
        if position is None:
            text = written(node, name, "text")
            latex = written(node, name, "latex")
        else:
            g = chr(RESULT + 1)
            text = pulled(node, position, name, "text", g=g)
            latex = pulled(node, position, name, "latex", g=g)
            return _summed(Line(text, latex), node, position)
    except (TinygradError, TypeError, ValueError):
        return None  # a user's own rule may ask for more than shapes and operators
    return Line(text, latex)


def _summed(line: Line, node: Tensor, position: int) -> Line:
    """Add the sum that undoes broadcasting, which the engine does for every rule."""
    shape = np.shape(node.inputs[position])
    if node.op is None or not node.op.pointwise or shape == node.shape:
        return line
    extra = node.ndim - len(shape)
    axes = [*range(extra)]
    axes += [
        extra + i for i, n in enumerate(shape) if n == 1 and node.shape[extra + i] != 1
    ]
    if not axes:
        return line
    text, latex = line
    if len(text) > 1:
        text, latex = f"({text})", rf"\left({latex}\right)"
    if len(axes) == node.ndim:
        return Line(f"Σ {text}", rf"\sum {latex}")
    which = ", ".join(map(str, axes))
    return Line(
        f"Σ {text} over axis {which}", rf"\sum_{{\text{{axis {which}}}}} {latex}"
    )


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the settings that an op was called with, those that say nothing left out.

    >>> settings_text({"axis": 0, "keepdims": False, "dtype": None})
    'axis=0'
    """
    return ", ".join(
        f"{name}={shortened(index_text(x) if name == 'index' else str(x), 24)}"
        for name, x in settings.items()
        if x is not None and x is not False and name != "tie"
    )


@lru_cache(4096)
def mathml(latex: str) -> str | None:
    r"""Return LaTeX as MathML; None without ``latex2mathml``, or where it fails.

    A formula of a user's own op may be no LaTeX: then the page shows the plain text.
    """
    try:
        from latex2mathml.converter import convert  # noqa: PLC0415 (extra ``draw``)
    except ImportError:
        return None
    try:
        return str(convert(latex))
    except Exception:  # noqa: BLE001 (whatever a parser raises at a text that is none)
        return None
