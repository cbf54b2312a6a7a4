"""What newcomers met: compiled steps as they are used, and what they then say."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.optim import SGD


def needs_c() -> None:
    """Skip where no C compiler is found."""
    try:
        tg.compile(lambda X: X * 2.0, backend="c")(np.ones(2))
    except tg.errors.TinygradError as error:
        pytest.skip(str(error))


# --- backend c: a product reads all of its operands ---


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_square_operands_of_a_product_are_complete_before_it(n: int) -> None:
    """A product in a loop of its own shape needs whole operands, not elements."""
    needs_c()
    V = tg.Parameter(np.eye(n))

    def f(X):
        h = np.tanh(X)
        w = h @ V + X
        return np.mean(np.tanh(w.T @ h + w))

    X = np.random.default_rng(n).normal(size=(n, n))
    compiled = tg.compile(f, backend="c")
    np.testing.assert_allclose(compiled(X).item(), f(X).item(), rtol=1e-12)


@pytest.mark.parametrize("exact", [False, True])
def test_a_recurrent_net_from_zeros_runs_in_c(exact: bool) -> None:
    """Two steps of a recurrent net, unrolled, are trained as eager trains them."""
    needs_c()
    S = np.random.default_rng(0).normal(size=(3, 2, 2))
    start = np.array([[0.5, -0.25], [0.125, 1.0]])
    V = tg.Parameter(start.copy())
    optimizer = SGD([V], lr=0.1)

    def step(S):
        h = np.zeros((3, 2))
        for t in range(2):
            h = np.tanh(S[:, t] + h @ V)
        loss = np.mean(h**2)
        optimizer.minimize(loss)
        return loss

    eager = [step(S).item() for _ in range(3)]
    V.data = start
    compiled = tg.compile(step, backend="c", exact=exact)
    found = [compiled(S).item() for _ in range(3)]
    np.testing.assert_allclose(found, eager, rtol=1e-12)
