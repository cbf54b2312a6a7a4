"""A derivation as the source of a function of NumPy alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.derivation.naming import identifier
from tinygrad_nn.derivation.steps import Step, Steps
from tinygrad_nn.notation import written
from tinygrad_nn.op import Node

__all__ = ["source_of"]


def source_of(steps: Steps) -> str:
    """Return the source: ``def gradients(X, Y, W1, b1): ...``."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    for leaf in (*steps.inputs, *steps.letters):
        names[leaf._name] = identifier(leaf._name, taken)
    if steps.examples is not None:
        names[steps.examples._name] = identifier(steps.examples._name, taken)
    for step in (*steps.forward, *steps.backward):
        names[step.name] = identifier(step.name, taken)
    needed = _needed(steps)

    def name(x: Any) -> str | None:
        own = graph.name(x) if isinstance(x, Node) else None
        return None if own is None else names.get(own, own)

    def line(step: Step) -> str:
        leaf = isinstance(step.expression, Node) and step.expression._op is None
        right = written(step.expression, name, "numpy", whole=not leaf)
        return f"    {names[step.name]} = {right}"

    used = _used(steps, needed)
    arguments = [names[x._name] for x in steps.inputs if x._name in used]
    letters = [x for x in steps.letters if x._name in used]
    if letters:
        arguments.append("*")
        arguments += [f"{names[x._name]}={float(x._value)!r}" for x in letters]
    lines = [f"def gradients({', '.join(arguments)}):"]
    results = ", ".join(
        f"{json.dumps(name)}: {names[name]}" for name in steps.results.values()
    )
    lines.append(f'    """Gradients of {_comment(steps.loss)}."""')
    if steps.examples is not None and steps.examples._name in used:
        lines.append(
            f"    {names[steps.examples._name]} = {_count(steps, names, used)}"
        )
    lines += [f"    # {_comment(what)}" for what in steps.told]
    lines += [line(step) for step in steps.forward if step.name in needed]
    lines += [line(step) for step in steps.backward]
    lines.append(f"    return {{{results}}}")
    text = "\n".join(lines)
    imports = "import numpy as np\n"
    if "scipy.special." in text:
        imports += "import scipy\n"
    return f"{imports}\n\n{text}\n"


def _comment(name: str) -> str:
    return "".join(c for c in name if c.isalnum() or c in "_ .[]'=≠")[:60]


def _names_in(expression: Any) -> set[str]:
    found = graph.ancestors([expression]) if isinstance(expression, Node) else []
    return {str(graph.name(x)) for x in found if x._op is None and graph.name(x)}


def _needed(steps: Steps) -> set[str]:
    """Return the forward lines that some gradient needs."""
    needed: set[str] = set()
    for step in steps.backward:
        needed |= _names_in(step.expression)
    for step in reversed(steps.forward):
        if step.name in needed:
            needed |= _names_in(step.expression)
    return needed


def _used(steps: Steps, needed: set[str]) -> set[str]:
    used = set(needed)
    for step in steps.forward:
        if step.name in needed:
            used |= _names_in(step.expression)
    return used


def _count(steps: Steps, names: dict[str, str], used: set[str]) -> str:
    """Return the number of examples as an expression: X.shape[1]."""
    count = float(steps.examples._value)
    for leaf in steps.inputs:
        shape = np.shape(leaf._value)
        if leaf._name in used and count in shape:
            return f"{names[leaf._name]}.shape[{shape.index(int(count))}]"
    return repr(int(count))
