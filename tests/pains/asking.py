"""How the tests of this folder ask for gradients: of both loops of the engine."""

from __future__ import annotations

import warnings

import numpy as np

import tinygrad_nn as tg


def slopes(f, *points, dtype=np.float64):
    """Return the gradient of sum(f(x, …)) by each point; one alone is not in a list.

    What NumPy remarks on the user's own forward is no business of ours; a backward
    warns of nothing. `backward` and `tg.gradients` are two loops, and agree.
    """
    xs = [tg.Parameter(np.array(point, dtype)) for point in points]
    with np.errstate(all="ignore"):
        out = f(*xs)
        out = out.sum() if out.ndim else out
    with np.errstate(all="warn"), warnings.catch_warnings():
        warnings.simplefilter("error")
        out.backward()
        again = tg.gradients(out, xs, unused="zero")
    found = []
    for x, other in zip(xs, again, strict=True):
        grad = np.zeros_like(x.data) if x.grad is None else x.grad
        assert grad.dtype == x.dtype
        np.testing.assert_allclose(grad, other.numpy(), rtol=1e-6, atol=0)
        found.append(grad)
    return found[0] if len(found) == 1 else found


def orders(f, x, count):
    """Return f(x) and its derivatives up to an order, for a function of elements."""
    x = tg.Parameter(x)
    out = f(x)
    found = [out.numpy()]
    for _order in range(count):
        (out,) = tg.gradients(out.sum(), [x], unused="zero")
        found.append(out.numpy())
    return found
