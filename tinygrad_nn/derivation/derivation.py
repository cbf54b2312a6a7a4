"""`derive` and `Derivation`: a loss's gradients, written out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tinygrad_nn import graph, recording
from tinygrad_nn.derivation.source import source_of
from tinygrad_nn.derivation.steps import Step, Steps, steps_of
from tinygrad_nn.derivation.writing import latex_of, markdown_of, mathml_of, text_of
from tinygrad_nn.errors import MissingExtraError, NoPathError, OpError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Tensor

__all__ = ["Derivation", "Step", "derive"]


class Derivation:
    """The lines of forward and backward; shows itself in a notebook as formulas."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    @property
    def forward(self) -> tuple[Step, ...]:
        """The forward lines, in the order in which they run."""
        return self._steps.forward

    @property
    def backward(self) -> tuple[Step, ...]:
        """The gradients' lines, in the order in which they run."""
        return self._steps.backward

    @property
    def text(self) -> str:
        """The lines as plain text."""
        return text_of(self._steps)

    @property
    def latex(self) -> str:
        """The lines as LaTeX: two ``aligned`` blocks."""
        return latex_of(self._steps)

    @property
    def markdown(self) -> str:
        """The lines as Markdown, with LaTeX between ``$$``."""
        return markdown_of(self._steps)

    @property
    def numpy(self) -> str:
        """The source of a function with the same lines, which imports only NumPy."""
        return source_of(self._steps)

    @property
    def mathml(self) -> str:
        """The lines as MathML, which browsers draw.

        Raises
        ------
        MissingExtraError
            Without latex2mathml.
        """
        return mathml_of(self._steps)

    def __str__(self) -> str:
        """Return the lines as plain text."""
        return self.text

    def __repr__(self) -> str:
        """Count the lines."""
        steps = self._steps
        return (
            f"Derivation({len(steps.forward)} forward, {len(steps.backward)} backward)"
        )

    def __iter__(self) -> Iterator[Step]:
        """Go through all lines, forward first."""
        yield from self._steps.forward
        yield from self._steps.backward

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, str]:
        """Show formulas in a notebook; plain text and LaTeX without the extra."""
        del include, exclude
        bundle = {"text/plain": self.text, "text/latex": self.latex}
        with suppress(MissingExtraError):
            bundle["text/html"] = self.mathml
        return bundle


def derive(
    loss: Tensor | Callable[..., Tensor],
    *arrays: Any,
    wrt: Sequence[Tensor] | Tensor | None = None,
    names: Mapping[str, Any] | None = None,
    textbook: bool = True,
    chain: bool = False,
) -> Derivation:
    """Write out the formulas of forward and backward, in the user's own names.

    Parameters
    ----------
    loss
        A Tensor of one element, or a function that returns one for ``arrays``.
    arrays
        Arguments of the function: Tensors, or arrays, which are made Tensors that
        require a gradient.
    wrt
        The Tensors whose gradients are asked for; by default all leaves that require
        one.
    names
        Tensors, arrays or numbers by name, where the names that are found are not
        wanted, and for numbers, which have none: ``names={"λ": 0.7}``. Otherwise a
        name is the node's own ``.name``, else the caller's variable, else that of the
        statement that computed it.
    textbook
        Where the cost is a mean over m examples, leave the ``1 / m`` to the lines of
        the parameters, as textbooks do: ``dZ2 = A2 - Y``, ``dW2 = dZ2 A1ᵀ / m``. What
        is in between is then m times the gradient. False: every line is the gradient.
    chain
        Show before each gradient's line the chain rule, and the product of local
        derivatives before it is simplified.

    Returns
    -------
    Derivation
        With ``.text``, ``.latex``, ``.markdown`` and ``.numpy``.

    Raises
    ------
    OpError
        If ``loss`` is no Tensor of one element.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 1.0, 1.0]])
    >>> W, b = Tensor([[0.5]], requires_grad=True), Tensor([[0.1]], requires_grad=True)
    >>> Z = W @ X + b
    >>> A = np.tanh(Z)
    >>> cost = np.mean((A - Y) ** 2)
    >>> print(derive(cost))
    Forward
      Z = W X + b            (1, 3)
      A = tanh(Z)            (1, 3)
      cost = mean((A - Y)²)  ()
    Backward (m = 3: dA, dZ are m times the gradient, the 1 / m comes in at dW, db)
      dA = 2 (A - Y)         (1, 3)
      dZ = dA ⊙ (1 - A²)     (1, 3)
      dW = dZ Xᵀ / m         (1, 1)
      db = Σ dZ / m          (1, 1)
    """
    frame = recording.user_frame(sys._getframe(1))
    known: Mapping[int, tuple[Any, str]] = graph.known_in(frame)
    if not isinstance(loss, Node) and callable(loss):
        loss, known = _called(loss, arrays)
    if not isinstance(loss, Tensor):
        raise OpError(
            f"derive: expected a Tensor, or a function that returns one; got "
            f"{type(loss).__name__}"
        )
    if loss.size != 1:
        raise OpError(
            f"derive: expected a loss of one element; got shape {loss.shape}. Reduce "
            "it first, for example with .mean()"
        )
    if loss.op is None:
        raise OpError(
            "derive: expected a loss that was computed; got a leaf. Pass the result"
        )
    targets = _targets(loss, wrt)
    with recording.recorded():  # whatever mode the caller is in
        steps = steps_of(
            loss, targets, names or {}, known, textbook=textbook, chain=chain
        )
    return Derivation(steps)


def _called(
    function: Callable[..., Any], arrays: Sequence[Any]
) -> tuple[Any, Mapping[int, tuple[Any, str]]]:
    """Call a function on Tensors; names are those of its parameters."""
    import inspect  # noqa: PLC0415 (only for a function)

    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    made = [x if isinstance(x, Node) else Tensor(x, requires_grad=True) for x in arrays]
    with recording.recorded():
        loss = function(*made)
    known = {id(x): (x, name) for x, name in zip(made, names, strict=False)}
    return loss, known


def _targets(loss: Tensor, wrt: Sequence[Tensor] | Tensor | None) -> list[Any]:
    if wrt is None:
        found = graph.nodes(loss)
        targets = [x for x in found if x._op is None and x.requires_grad]
        if not targets:
            raise OpError(
                "derive: nothing that the loss is computed from requires a gradient. "
                "Make it with requires_grad=True, or pass wrt="
            )
        return targets
    given = [wrt] if isinstance(wrt, Node) else list(wrt)
    reached = set(graph.nodes(loss))
    for x in given:
        if not isinstance(x, Node):
            raise OpError(f"derive: wrt is Tensors; got {type(x).__name__}")
        if x not in reached:
            title = graph.name(x) or f"a Tensor of shape {x._value.shape}"
            raise NoPathError(f"derive: the loss does not depend on {title}")
    return given
