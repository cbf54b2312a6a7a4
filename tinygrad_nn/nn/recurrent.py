"""`RNN`, `LSTM` and `GRU`: layers that read a sequence step by step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, final

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import ModelError, ShapeError
from tinygrad_nn.functional.arguments import shape_of
from tinygrad_nn.functional.recurrent import gru_step, lstm_step, rnn_step
from tinygrad_nn.nn import init as initialisers
from tinygrad_nn.nn.activations import activation as activation_of
from tinygrad_nn.nn.activations import name_of
from tinygrad_nn.nn.module import Module
from tinygrad_nn.nn.parameters import floating, told_dtype, whole
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Parameter

__all__ = ["GRU", "LSTM", "RNN", "Recurrent"]

RETURNS = ("both", "outputs", "last")


class Recurrent(Module):
    """What `RNN`, `LSTM` and `GRU` share: all but the step itself."""

    gates: ClassVar[int]

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        returns: str = "both",
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.name = name
        title = type(self).__name__
        self.n_in = whole(title, "n_in", n_in)
        self.n_out = whole(title, "n_out", n_out)
        if returns not in RETURNS:
            raise ModelError(
                f"{title}: returns is 'both' (outputs and state), 'outputs' or 'last' "
                f"(the last output); got {returns!r}"
            )
        self.returns = returns
        rng = initialisers.generator(rng)
        kind = floating(title, dtype)
        inward = [(self.n_out, self.n_in)] * self.gates
        across = [(self.n_out, self.n_out)] * self.gates
        rows = [initialisers.glorot_uniform(shape, rng) for shape in inward]
        self.weight_x = Parameter(np.concatenate(rows).astype(kind))
        rows = [initialisers.orthogonal(shape, rng) for shape in across]
        self.weight_h = Parameter(np.concatenate(rows).astype(kind))
        self.bias = Parameter(self._first_bias().astype(kind))

    def forward(self, x: Any, state: Any = None) -> Any:
        """Read sequences, ``(n, steps, n_in)``, from a state; zeros where left out.

        Returns
        -------
        outputs, state
            Outputs after every step, of shape ``(n, steps, n_out)``, and the last
            state, to be passed on. Only the outputs, or the last of them, of shape
            ``(n, n_out)``, where the layer was made so.
        """
        size = shape_of(x)
        if len(size) != 3 or size[2] != self.n_in or not size[1]:
            advice = ""
            if len(size) == 2 and size[1] == self.n_in:
                advice = ". For one sequence pass x[None]"
            raise ShapeError(
                f"{self._title()}: expected x(n, steps, {self.n_in}); "
                f"got x{size}{advice}"
            )
        state = self._checked(state, size[0])
        # All inputs are weighed at once; what is left for a step is its own state.
        turned = ops.transpose(x, (1, 0, 2))
        sums = ops.matmul(turned, ops.transpose(self.weight_x)) + self.bias
        outputs = []
        for part in _steps(sums):
            state = self.step(part, state)
            outputs.append(state[0])
        if self.returns == "last":
            return outputs[-1]
        together = ops.stack(*outputs, axis=1)
        if self.returns == "outputs":
            return together
        return together, state if len(state) > 1 else state[0]

    @abstractmethod
    def step(self, sums: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the state after a step, its output first."""

    def _first_bias(self) -> np.ndarray:
        return np.zeros(self.gates * self.n_out)

    def _parts(self) -> int:
        """How many arrays a state consists of."""
        return 1

    def _checked(self, state: Any, n: int) -> tuple[Any, ...]:
        wanted = (n, self.n_out)
        if state is None:
            return (np.zeros(wanted, self.weight_h.dtype),) * self._parts()
        parts = state if isinstance(state, (tuple, list)) else (state,)
        sizes = [shape_of(part) for part in parts]
        if sizes != [wanted] * self._parts():
            names = "h" if self._parts() == 1 else "(h, c), each"
            raise ShapeError(
                f"{self._title()}: expected a state {names} of shape {wanted}; "
                f"got {sizes[0] if len(sizes) == 1 else sizes}"
            )
        return tuple(parts)

    def describe(self) -> str:
        """Show sizes and what is returned."""
        text = f"{type(self).__name__}({self.n_in} -> {self.n_out}"
        text += self._more()
        if self.returns != "both":
            text += f", returns={self.returns}"
        return text + told_dtype(self.weight_x) + ")"

    def _more(self) -> str:
        return ""


def _steps(x: Any) -> list[Any]:
    """Return the parts along the first axis, by halves where a gradient goes back.

    Each part's gradient comes back as an array of the whole: by halves that is a work
    of ``n log n``, one by one of ``n ** 2``.
    """
    n = shape_of(x)[0]
    whole_is_short = n <= 4 or not (isinstance(x, Node) and x.requires_grad)
    if whole_is_short:
        return [ops.getitem(x, i) for i in range(n)]
    half = n // 2
    return [
        *_steps(ops.getitem(x, slice(0, half))),
        *_steps(ops.getitem(x, slice(half, n))),
    ]


@final
class RNN(Recurrent):
    """Elman's network: ``h = tanh(x @ weight_x.T + h @ weight_h.T + bias)``.

    Parameters are those of `LSTM`, and ``activation``, of the state. See `rnn_cell`.

    Attributes
    ----------
    weight_x, weight_h, bias : Parameter
        Of shapes ``(n_out, n_in)``, ``(n_out, n_out)`` and ``(n_out,)``.

    Examples
    --------
    >>> outputs, h = RNN(3, 2, rng=0)(np.ones((4, 5, 3)))
    >>> outputs.shape, h.shape
    ((4, 5, 2), (4, 2))
    """

    gates = 1

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: Any = "tanh",
        returns: str = "both",
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        self.activation = activation_of(activation)
        super().__init__(n_in, n_out, returns=returns, rng=rng, dtype=dtype, name=name)

    def step(self, sums: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the new state."""
        activation = self.activation or (lambda z: z)
        return (rnn_step(sums, state[0], self.weight_h, activation),)

    def _more(self) -> str:
        name = name_of(self.activation)
        return "" if name == "tanh" else f", activation={name}"


@final
class LSTM(Recurrent):
    """Long short-term memory, over whole sequences; see `lstm_cell`.

    Parameters
    ----------
    n_in, n_out
        Numbers of features of an input and of an output.
    returns
        ``"both"``: outputs of all steps and the last state; ``"outputs"``: only these;
        ``"last"``: only the last output, as a `Dense` after it wants.
    rng
        A `numpy.random.Generator`, or a seed.
    dtype
        Of the parameters: float64 by default.
    name
        Shown in errors.

    Attributes
    ----------
    weight_x : Parameter
        Of shape ``(4 * n_out, n_in)``, by Glorot's rule for each gate.
    weight_h : Parameter
        Of shape ``(4 * n_out, n_out)``, orthogonal for each gate.
    bias : Parameter
        Of shape ``(4 * n_out,)``: 1 for the forget gate, so that the memory lasts from
        the start (Jozefowicz, Zaremba, Sutskever 2015), else 0.

    Raises
    ------
    ModelError
        For arguments that make no layer.
    ShapeError
        When called with other than ``(n, steps, n_in)``, or a state of another shape;
        names the layer.

    Examples
    --------
    >>> layer = LSTM(3, 2, rng=0)
    >>> outputs, (h, c) = layer(np.ones((4, 5, 3)))
    >>> outputs.shape, h.shape, c.shape
    ((4, 5, 2), (4, 2), (4, 2))
    >>> outputs, state = layer(np.ones((4, 1, 3)), (h, c))
    """

    gates = 4

    def step(self, sums: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the new output and memory."""
        h, c = state
        return lstm_step(sums, h, c, self.weight_h)

    def _parts(self) -> int:
        return 2

    def _first_bias(self) -> np.ndarray:
        bias = np.zeros((4, self.n_out))
        bias[1] = 1.0
        return bias.ravel()


@final
class GRU(Recurrent):
    """Gated recurrent units, over whole sequences; see `gru_cell`.

    Parameters are those of `LSTM`.

    Attributes
    ----------
    weight_x, weight_h : Parameter
        Of shapes ``(3 * n_out, n_in)`` and ``(3 * n_out, n_out)``.
    bias, bias_h : Parameter
        Of shape ``(3 * n_out,)``: the one of the input, the other of the state.

    Examples
    --------
    >>> outputs, h = GRU(3, 2, rng=0)(np.ones((4, 5, 3)))
    >>> outputs.shape, h.shape
    ((4, 5, 2), (4, 2))
    """

    gates = 3

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        returns: str = "both",
        rng: Any = None,
        dtype: Any = np.float64,
        name: str | None = None,
    ) -> None:
        super().__init__(n_in, n_out, returns=returns, rng=rng, dtype=dtype, name=name)
        self.bias_h = Parameter(np.zeros_like(self.bias.data))

    def step(self, sums: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the new state."""
        return (gru_step(sums, state[0], self.weight_h, self.bias_h),)
