"""`Dense`: every output is a weighted sum of every input."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import DtypeError, ModelError, ShapeError
from tinygrad_nn.nn import init as initialisers
from tinygrad_nn.nn.activations import activation as activation_of
from tinygrad_nn.nn.activations import name_of
from tinygrad_nn.nn.module import Module
from tinygrad_nn.op import Node
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Parameter

__all__ = ["Dense"]


@final
class Dense(Module):
    """``x @ weight.T + bias``, then an activation; rows of ``x`` are examples.

    Parameters
    ----------
    n_in, n_out
        Numbers of inputs and outputs of one example.
    activation
        A name (``"relu"``), a function, a module, or None.
    bias
        Whether there is one; it starts at zero.
    init
        What the weight starts from: a function ``(shape, rng) -> array`` or a name of
        `nn.init`. By default the one that suits the activation: He's for relu,
        Glorot's (Xavier) with the activation's gain otherwise.
    rng
        A `numpy.random.Generator`, from which layers draw in turn, or a seed.
    dtype
        Of the parameters: float64 by default.
    name
        Shown in errors; the place in the model where left out.

    Attributes
    ----------
    weight : Parameter
        Of shape ``(n_out, n_in)``.
    bias : Parameter or None
        Of shape ``(n_out,)``.

    Raises
    ------
    ModelError
        For sizes that are not positive integers, an unknown activation or
        initialiser, an initialiser that gives another shape.
    ShapeError
        When called with other than ``n_in`` inputs; names the layer.

    Examples
    --------
    >>> layer = Dense(3, 2, activation="relu", rng=0)
    >>> layer
    Dense(3 -> 2, activation=relu)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: Any = None,
        bias: bool = True,
        init: Any = None,
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        self.n_in = _size("n_in", n_in)
        self.n_out = _size("n_out", n_out)
        self.activation = activation_of(activation)
        kind = np.dtype(dtype)
        if kind.kind != "f":
            raise DtypeError(
                f"{self._title()}: parameters have a floating dtype; got dtype={kind}"
            )
        chosen = (
            initialisers.for_activation(name_of(self.activation))
            if init is None
            else initialisers.named(init)
        )
        shape = (self.n_out, self.n_in)
        values = np.asarray(chosen(shape, initialisers.generator(rng)))
        if values.shape != shape:
            raise ModelError(
                f"{self._title()}: init returns the shape that it is given, {shape}; "
                f"got {values.shape}"
            )
        # A copy, so that an initialiser that returns its own array keeps it unchanged.
        self.weight = Parameter(np.array(values, kind))
        self.bias = Parameter(np.zeros(self.n_out, kind)) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the outputs: ``(…, n_in) -> (…, n_out)``."""
        shape: Shape = x._value.shape if isinstance(x, Node) else np.shape(x)  # noqa: SLF001 (no call)
        if not shape or shape[-1] != self.n_in:
            raise self._refusal(shape)
        y = ops.matmul(x, ops.transpose(self.weight))
        if self.bias is not None:
            y = y + self.bias
        return y if self.activation is None else self.activation(y)

    def _title(self) -> str:
        return f"{super()._title()} ({self.n_in} -> {self.n_out})"

    def _refusal(self, shape: Shape) -> ShapeError:
        if len(shape) > 1 and shape[0] == self.n_in:
            advice = "Rows are examples: pass x.T"
        elif shape and shape[-1:] != (1,):
            advice = (
                f"Make this layer Dense({shape[-1]}, {self.n_out}), or the one before "
                f"it end in {self.n_in}"
            )
        else:
            advice = f"Give every example {self.n_in} numbers, along the last axis"
        if len(shape) > 2:
            advice += "; nn.Flatten() makes examples of more axes flat"
        return ShapeError(
            f"{self._title()}: expected x(n, {self.n_in}); got x{shape}. {advice}"
        )

    def describe(self) -> str:
        """Show sizes and settings."""
        text = f"Dense({self.n_in} -> {self.n_out}"
        if self.activation is not None:
            text += f", activation={name_of(self.activation)}"
        if self.bias is None:
            text += ", bias=False"
        if self.weight.dtype != np.float64:
            text += f", dtype={self.weight.dtype}"
        if self.name is not None:
            text += f", name={self.name!r}"
        return text + ")"


def _size(what: str, number: Any) -> int:
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < 1:
        raise ModelError(
            f"Dense: {what} is an integer of at least 1; got {number!r}. "
            "Write Dense(n_in, n_out)"
        )
    return int(number)
