"""`pulled`: what an op's own gradient rule makes of a cotangent, written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.errors import GradientError
from tinygrad_nn.notation.writing import Names, written
from tinygrad_nn.op import Node, constant, data_of, inputs_of, settings_of

__all__ = ["pulled", "share_of"]


def share_of(node: Node, g: Node, position: int) -> Any:
    """Return what a node's rule makes of ``g`` for one operand: nodes, or None.

    The operands in it are the node's own, and its result is the node. Broadcasting is
    not undone: a rule knows nothing of it.
    """
    op = node._op
    if op is None or not op.differentiable:
        return None
    inputs = inputs_of(node)
    # An array among the operands is wrapped, so that what is done to it is recorded.
    wrapped = tuple(
        x if isinstance(x, Node) or np.ndim(x) == 0 else _stand_in(x) for x in inputs
    )
    with recording.recorded(), np.errstate(all="ignore"):
        if op.variadic:
            return op.rules(g, node, *wrapped, **settings_of(node))[position]
        return op.rules[position](g, node, *wrapped, **settings_of(node))


def _stand_in(array: Any) -> Node:
    return constant(np.asarray(array), recording.tick())


def pulled(
    node: Node, position: int, names: Names, style: str = "text", *, g: str = "g"
) -> str:
    r"""Return the vector-Jacobian product of one operand of a node, as one line.

    The op's rule is run on Tensors that stand for the cotangent, the result and the
    operands, so a rule that a user declared is written as well.

    Parameters
    ----------
    node
        A node with an op.
    position
        Which of its operands, from 0.
    names
        As for `written`; the node itself and its operands should have names.
    style
        As for `written`.
    g
        What to call the cotangent of the node: ``"dA1"``.

    Raises
    ------
    GradientError
        If the operand has no gradient.

    Examples
    --------
    >>> from tinygrad_nn import ops
    >>> from tinygrad_nn.tensor import Tensor
    >>> Z = Tensor(np.ones((2, 3)), requires_grad=True, name="Z")
    >>> A = ops.tanh(Z)
    >>> A.name = "A"
    >>> own = lambda x: getattr(x, "name", None)
    >>> pulled(A, 0, own, g="dA")
    'dA ⊙ (1 - A²)'
    >>> pulled(A, 0, own, "latex", g="dA")
    'dA \\odot \\left(1 - A^{2}\\right)'
    """
    cotangent = constant(np.ones(np.shape(data_of(node))), recording.tick())
    share = share_of(node, cotangent, position)
    if share is None:
        op = node._op
        title = "a leaf" if op is None else op.name
        raise GradientError(f"{title}: operand {position} has no gradient")

    def name(x: Any) -> str | None:
        return g if x is cotangent else names(x)

    return written(
        share, name, style, whole=share is not cotangent and share is not node
    )
