"""One op as an expression: its own body, with operands and settings put in."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_nn.notation.bodies import expression_of
from tinygrad_nn.op import Op, inputs_of

__all__ = [
    "calling",
    "filled",
    "parsed",
    "spelled",
    "takes_part",
    "variable",
    "whole",
]

_REDUCTIONS = ("sum", "max", "min", "prod", "mean")


def _template(op: Op) -> ast.expr | None:
    """Return the expression of NumPy that a body is; None for more, or if it warns."""
    expression = None if op.quiet else expression_of(op.function)
    if expression is None or any(_is_of_scipy(x) for x in ast.walk(expression)):
        return None
    return expression


def _is_of_scipy(x: ast.AST) -> bool:
    """Whether a name is SciPy's: a file that is written has to import it."""
    return isinstance(x, ast.Name) and x.id == "scipy"


class _Filled(ast.NodeTransformer):
    """Puts expressions where a body names its operands and settings."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values
        self.counts: dict[str, int] = {}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.values:
            return node
        self.counts[node.id] = self.counts.get(node.id, 0) + 1
        return copy.deepcopy(self.values[node.id])


def filled(
    op: Op, inputs: Sequence[ast.expr], settings: Mapping[str, ast.expr]
) -> ast.expr | None:
    """Return a body with operands and settings put in; None where it is more."""
    template = _template(op)
    if template is None:
        return None
    values = {key: whole(value) for key, value in settings.items()}
    if op.variadic:
        values[op.operands[0]] = ast.Tuple(list(inputs), ast.Load())
    else:
        values.update(zip(op.operands, inputs, strict=True))
    filled = _Filled(values)
    made: ast.expr = filled.visit(copy.deepcopy(template))
    return made


def takes_part(user: Any, node: Any) -> bool:
    """Whether an operand may stand in the text of its user: it is said once."""
    op: Op = user._op
    template = _template(op)
    if template is None or op.variadic:
        return True
    names = [
        name for name, x in zip(op.operands, inputs_of(user), strict=True) if x is node
    ]
    said = [x.id for x in ast.walk(template) if isinstance(x, ast.Name)]
    return sum(said.count(name) for name in names) <= 1


def spelled(
    op: Op,
    inputs: Sequence[ast.expr],
    settings: Mapping[str, ast.expr],
    ranks: Sequence[int],
) -> ast.expr | None:
    """Return what a person would write, where a body takes a quicker way."""
    if op.name == "matmul":
        if list(ranks) == [2, 2]:
            return calling("np.dot", *inputs)
        return ast.BinOp(inputs[0], ast.MatMult(), inputs[1])
    if op.name == "transpose" and ast.unparse(settings["axes"]) == "None":
        return ast.Attribute(inputs[0], "T", ast.Load())
    if op.name == "getitem":
        return ast.Subscript(inputs[0], settings["index"], ast.Load())
    if op.name == "einsum":
        return calling("np.einsum", settings["subscripts"], *inputs)
    if op.name == "astype":
        return calling("np.array", inputs[0], whole(settings["dtype"]))
    if op.name in _REDUCTIONS and ranks[0] > 0:
        call = calling(f"np.{op.name}", *inputs)
        for key, default in (("axis", "None"), ("keepdims", "False")):
            value = whole(settings[key])
            if ast.unparse(value) != default:
                call.keywords.append(ast.keyword(key, value))
        return call
    return None


def whole(value: ast.expr) -> ast.expr:
    """Return a setting outside of brackets: slices spelled as calls."""

    class Spelled(ast.NodeTransformer):
        def visit_Slice(self, node: ast.Slice) -> ast.expr:
            parts = (node.lower, node.upper, node.step)
            return calling("slice", *[x or ast.Constant(None) for x in parts])

    made: ast.expr = Spelled().visit(copy.deepcopy(value))
    return made


def calling(function: str, *args: ast.expr) -> ast.Call:
    """Return a call of the function with a name."""
    return ast.Call(parsed(function), list(args), [])


def variable(text: str) -> ast.expr:
    """Return a name that is read."""
    return ast.Name(text, ast.Load())


def parsed(text: str) -> ast.expr:
    """Return the expression that a text is."""
    return ast.parse(text, mode="eval").body
