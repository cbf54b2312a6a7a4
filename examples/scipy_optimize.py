"""Optimisers of SciPy on models of tinygrad_nn: L-BFGS-B, bounds, and trust-ncg.

``scipy.optimize.minimize`` wants one vector, and functions of it. ``tg.flatten`` makes
the vector and the way back; ``tg.value_and_grad`` is its ``jac=True``, ``tg.hvp`` its
``hessp``. Nothing is derived by hand, the products with the Hessian included.

    pip install '.[special]'    # scipy
    python examples/scipy_optimize.py
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

import tinygrad_nn as tg


def of_vector(loss, start):
    """Return SciPy's view of a loss of any structure: start, value and slope, H p."""
    vector, unflatten = tg.flatten(start)

    def f(v):
        return loss(unflatten(v))

    def hessp(v, p):
        return tg.hvp(f, v, p)

    # A vector of arrays is an array; that of a model's Parameters is a Tensor.
    x0 = vector.numpy() if isinstance(vector, tg.Tensor) else vector
    return x0, tg.value_and_grad(f), hessp, unflatten


def logistic_regression(X, y):
    """Fit weights and offset as a dict; then once more with no weight below 0."""

    def loss(p):
        logits = X @ p["w"] + p["b"]
        fit = tg.losses.binary_cross_entropy_with_logits(logits, y)
        return fit + 0.01 * (p["w"] ** 2).sum()

    start = {"w": np.zeros(X.shape[1]), "b": np.zeros(())}
    x0, fun, _, unflatten = of_vector(loss, start)
    free = minimize(fun, x0, jac=True, method="L-BFGS-B")

    # Bounds are of the same structure, made flat in the same order.
    low, _ = tg.flatten({"w": np.zeros(X.shape[1]), "b": np.full((), -np.inf)})
    bounded = minimize(
        fun, x0, jac=True, method="L-BFGS-B", bounds=[(n, None) for n in low]
    )
    return unflatten(free.x), unflatten(bounded.x), free, bounded


def network(X, y, seed=0):
    """Train one hidden layer: first L-BFGS-B, then Newton's steps in a trust region."""
    rng = np.random.default_rng(seed)
    net = tg.nn.Sequential(
        tg.nn.Dense(2, 8, activation="tanh", rng=rng), tg.nn.Dense(8, 1, rng=rng)
    )

    def loss(model):
        logits = model(X)[:, 0]
        penalty = sum((p * p).sum() for p in model.parameters())
        return tg.losses.binary_cross_entropy_with_logits(logits, y) + 1e-3 * penalty

    x0, fun, hessp, unflatten = of_vector(loss, net)
    first = minimize(fun, x0, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    last = minimize(
        fun, first.x, jac=True, hessp=hessp, method="trust-ncg", options={"gtol": 1e-8}
    )
    return unflatten(last.x), first, last


def main():
    """Fit both, and say how far each came."""
    X, labels = tg.data.moons(200, rng=0)
    y = labels.astype(float)

    free, bounded, line, fenced = logistic_regression(X, y)
    print(f"logistic regression  {line.fun:.4f} after {line.nit} iterations")
    print(f"  weights {free['w'].round(2)}, and {bounded['w'].round(2)} of at least 0")

    model, first, last = network(X, y)
    right = np.mean((model(X).numpy()[:, 0] > 0) == (y > 0))
    print(f"network, L-BFGS-B    {first.fun:.6f} after {first.nit} iterations")
    print(f"network, trust-ncg   {last.fun:.6f}, slope {np.abs(last.jac).max():.0e}")
    print(f"  {right:.0%} of the points on the right side")
    return line, fenced, first, last, right


if __name__ == "__main__":
    main()
