"""Cells of recurrent networks: one step in time.

Rows are examples. Gates lie side by side along the first axis of the weights, in the
order that a cell's docstring says, which is that of PyTorch and cuDNN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_nn import ops, shapes
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.functional.arguments import as_array, shape_of
from tinygrad_nn.op import Array

__all__ = ["gru_cell", "gru_step", "lstm_cell", "lstm_step", "rnn_cell", "rnn_step"]


def rnn_cell(
    x: Array,
    h: Array,
    weight_x: Array,
    weight_h: Array,
    bias: Array | None = None,
    activation: Callable[[Any], Any] = ops.tanh,
) -> Array:
    """``activation(x @ weight_x.T + h @ weight_h.T + bias)``: Elman (1990).

    Parameters
    ----------
    x
        Input of this step, of shape ``(n, n_in)``.
    h
        State after the step before, of shape ``(n, n_out)``.
    weight_x
        Of shape ``(n_out, n_in)``.
    weight_h
        Of shape ``(n_out, n_out)``.
    bias
        Of shape ``(n_out,)``, or None.
    activation
        A function of one array.

    Returns
    -------
    Array
        The new state, of shape ``(n, n_out)``.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> rnn_cell(one, one, one, one, activation=lambda z: z)
    array([[2.]])
    """
    _check("rnn_cell", 1, x, h, weight_x, weight_h, bias)
    return rnn_step(_sums(x, weight_x, bias), h, weight_h, activation)


def rnn_step(
    sums: Array, h: Array, weight_h: Array, activation: Callable[[Any], Any]
) -> Array:
    """Return the new state, from the input's share of the sums."""
    return activation(sums + ops.matmul(h, ops.transpose(weight_h)))


def lstm_cell(
    x: Array,
    h: Array,
    c: Array,
    weight_x: Array,
    weight_h: Array,
    bias: Array | None = None,
) -> tuple[Array, Array]:
    """One step of long short-term memory: a state that is gated, never squashed.

    With ``i, f, g, o`` the four parts of ``x @ weight_x.T + h @ weight_h.T + bias``::

        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)

    Hochreiter, Schmidhuber (1997), with the forget gate of Gers, Schmidhuber, Cummins
    (2000).

    Parameters
    ----------
    x
        Input of this step, of shape ``(n, n_in)``.
    h, c
        Output and memory after the step before, of shape ``(n, n_out)``.
    weight_x
        Of shape ``(4 * n_out, n_in)``: input gate, forget gate, candidate, output gate.
    weight_h
        Of shape ``(4 * n_out, n_out)``.
    bias
        Of shape ``(4 * n_out,)``, or None.

    Returns
    -------
    h, c
        Output and memory after this step.

    Examples
    --------
    >>> import numpy as np
    >>> h, c = lstm_cell(
    ...     np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1)),
    ...     np.zeros((4, 1)), np.zeros((4, 1)),
    ... )
    >>> h.round(3), c
    (array([[0.231]]), array([[0.5]]))
    """
    _check("lstm_cell", 4, x, h, weight_x, weight_h, bias)
    if shape_of(c) != shape_of(h):
        raise ShapeError(
            "lstm_cell: expected h and c of one shape; got "
            f"{shapes.describe(['h', 'c'], [shape_of(h), shape_of(c)])}"
        )
    return lstm_step(_sums(x, weight_x, bias), h, c, weight_h)


def lstm_step(sums: Array, h: Array, c: Array, weight_h: Array) -> tuple[Array, Array]:
    """Return the new output and memory, from the input's share of the sums."""
    sums = sums + ops.matmul(h, ops.transpose(weight_h))
    enter, keep, candidate, leave = _parts(sums, 4)
    c = ops.sigmoid(keep) * c + ops.sigmoid(enter) * ops.tanh(candidate)
    return ops.sigmoid(leave) * ops.tanh(c), c


def gru_cell(
    x: Array,
    h: Array,
    weight_x: Array,
    weight_h: Array,
    bias_x: Array | None = None,
    bias_h: Array | None = None,
) -> Array:
    """One step of a gated recurrent unit.

    With the three parts of ``x @ weight_x.T + bias_x`` and of ``h @ weight_h.T +
    bias_h``::

        r = sigmoid(r_x + r_h)
        z = sigmoid(z_x + z_h)
        n = tanh(n_x + r * n_h)
        h = (1 - z) * n + z * h

    Cho and others (2014), with the reset gate after the product, as in cuDNN.

    Parameters
    ----------
    x
        Input of this step, of shape ``(n, n_in)``.
    h
        State after the step before, of shape ``(n, n_out)``.
    weight_x
        Of shape ``(3 * n_out, n_in)``: reset gate, update gate, candidate.
    weight_h
        Of shape ``(3 * n_out, n_out)``.
    bias_x, bias_h
        Of shape ``(3 * n_out,)``, or None.

    Returns
    -------
    Array
        The new state, of shape ``(n, n_out)``.

    Examples
    --------
    >>> import numpy as np
    >>> gru_cell(
    ...     np.ones((1, 1)), np.ones((1, 1)), np.zeros((3, 1)), np.zeros((3, 1))
    ... )
    array([[0.5]])
    """
    _check("gru_cell", 3, x, h, weight_x, weight_h, bias_x, bias_h)
    return gru_step(_sums(x, weight_x, bias_x), h, weight_h, bias_h)


def gru_step(sums: Array, h: Array, weight_h: Array, bias_h: Array | None) -> Array:
    """Return the new state, from the input's share of the sums."""
    reset_x, update_x, candidate_x = _parts(sums, 3)
    reset_h, update_h, candidate_h = _parts(_sums(h, weight_h, bias_h), 3)
    kept = ops.sigmoid(update_x + update_h)
    new = ops.tanh(candidate_x + ops.sigmoid(reset_x + reset_h) * candidate_h)
    return new + kept * (h - new)


def _sums(x: Array, weight: Array, bias: Array | None) -> Array:
    made = ops.matmul(as_array(x), ops.transpose(weight))
    return made if bias is None else made + bias


def _parts(x: Array, count: int) -> list[Array]:
    """Parts of equal length along the last axis."""
    n = shape_of(x)[-1] // count
    return [ops.getitem(x, (..., slice(i * n, (i + 1) * n))) for i in range(count)]


def _check(
    title: str, gates: int, x: Any, h: Any, weight_x: Any, weight_h: Any, *biases: Any
) -> None:
    names = ["x", "h", "weight_x", "weight_h"]
    sizes = [shape_of(given) for given in (x, h, weight_x, weight_h)]
    fits = min(map(len, sizes)) > 0 and len(sizes[2]) == len(sizes[3]) == 2
    if fits:
        n_in, n_out = sizes[0][-1], sizes[1][-1]
        fits = sizes[2] == (gates * n_out, n_in)
        fits = fits and sizes[3] == (gates * n_out, n_out)
        fits = fits and sizes[0][:-1] == sizes[1][:-1]
    for bias in biases:
        if bias is not None:
            names.append("bias")
            sizes.append(shape_of(bias))
            fits = fits and sizes[-1] == sizes[2][:1]
    if not fits:
        rows = "n_out" if gates == 1 else f"{gates} n_out"
        raise ShapeError(
            f"{title}: expected x(n, n_in), h(n, n_out), weight_x({rows}, n_in), "
            f"weight_h({rows}, n_out) and biases of {rows}; "
            f"got {shapes.describe(names, sizes)}"
        )
