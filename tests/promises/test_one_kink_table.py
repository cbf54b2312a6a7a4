"""Promise 5: one table of kinks, and every spelling of a function agrees with it.

At a kink the derivative is the subgradient of least norm over the operands that
require a gradient. `where` is literal: it has the derivative of the branch taken.
"""

from __future__ import annotations

import operator

import numpy as np
import pytest

import tinygrad_nn as tg

inf = np.inf

# spelling, point, derivative there: of one operand that requires a gradient.
RELU = [
    ("relu", tg.relu),
    ("maximum(0, x)", lambda x: tg.maximum(0, x)),
    ("maximum(x, 0)", lambda x: tg.maximum(x, 0)),
    ("maximum(0.0, x)", lambda x: tg.maximum(0.0, x)),
    ("maximum(x, zeros)", lambda x: tg.maximum(x, np.zeros(x.shape))),
    ("maximum(x, Tensor(0))", lambda x: tg.maximum(x, tg.Tensor(0.0))),
    ("np.maximum(0, x)", lambda x: np.maximum(0, x)),
    ("np.maximum(x, 0)", lambda x: np.maximum(x, 0)),
    ("np.maximum(zeros, x)", lambda x: np.maximum(np.zeros(1), x)),
    ("clip(x, 0, None)", lambda x: tg.clip(x, 0, None)),
    ("clip(x, 0)", lambda x: tg.clip(x, 0)),
    ("clip(x, min=0)", lambda x: tg.clip(x, min=0)),
    ("clip(x, 0, inf)", lambda x: tg.clip(x, 0, inf)),
    ("np.clip(x, 0, None)", lambda x: np.clip(x, 0, None)),
    ("np.clip(x, a_min=0, a_max=None)", lambda x: np.clip(x, a_min=0, a_max=None)),
    ("np.clip(x, min=0)", lambda x: np.clip(x, min=0)),
    ("x.clip(0)", lambda x: x.clip(0)),
    ("x.clip(min=0)", lambda x: x.clip(min=0)),
    ("-minimum(0, -x)", lambda x: -tg.minimum(0, -x)),
    ("-np.minimum(-x, 0)", lambda x: -np.minimum(-x, 0)),
    ("-clip(-x, None, 0)", lambda x: -tg.clip(-x, None, 0)),
    ("x * (x > 0)", lambda x: x * (x > 0)),
    ("where(x > 0, x, 0)", lambda x: tg.where(x > 0, x, 0)),
    ("np.where(x > 0, x, 0)", lambda x: np.where(x > 0, x, 0)),
    ("where(x <= 0, 0, x)", lambda x: tg.where(x <= 0, 0, x)),
]
MINIMUM = [
    ("minimum(x, 0)", lambda x: tg.minimum(x, 0)),
    ("minimum(0, x)", lambda x: tg.minimum(0, x)),
    ("np.minimum(x, 0)", lambda x: np.minimum(x, 0)),
    ("clip(x, None, 0)", lambda x: tg.clip(x, None, 0)),
    ("np.clip(x, None, 0)", lambda x: np.clip(x, None, 0)),
    ("x.clip(max=0)", lambda x: x.clip(max=0)),
    ("-relu(-x)", lambda x: -tg.relu(-x)),
]
ABS = [
    ("abs", tg.abs),
    ("abs(x)", operator.abs),
    ("np.abs", np.abs),
    ("np.absolute", np.absolute),
    ("np.fabs", np.fabs),
    ("x * sign(x)", lambda x: x * np.sign(x)),
    ("norm of one", lambda x: tg.norm(x.reshape(-1, 1), axis=1)),
    ("norm 1 of one", lambda x: tg.norm(x.reshape(-1, 1), 1, axis=1)),
    ("norm inf of one", lambda x: tg.norm(x.reshape(-1, 1), inf, axis=1)),
    ("sqrt(x * x)", lambda x: tg.sqrt(x * x)),
    ("sqrt(square(x))", lambda x: np.sqrt(np.square(x))),
]
LITERAL_1 = [
    ("where(x >= 0, x, 0)", lambda x: tg.where(x >= 0, x, 0)),
    ("where(x < 0, 0, x)", lambda x: np.where(x < 0, 0, x)),
    ("x * (x >= 0)", lambda x: x * (x >= 0)),
]
TABLE = [
    *((name, f, 0.0, 0.0) for name, f in RELU),
    *((name, f, 0.0, 0.0) for name, f in MINIMUM),
    *((name, f, 0.0, 0.0) for name, f in ABS),
    *((name, f, 0.0, 1.0) for name, f in LITERAL_1),
    ("clip at its lower limit", lambda x: tg.clip(x, 1, 2), 1.0, 0.0),
    ("clip at its upper limit", lambda x: np.clip(x, 1, 2), 2.0, 0.0),
    ("clip to one value", lambda x: x.clip(1, 1), 1.0, 0.0),
    ("maximum(x, 3)", lambda x: tg.maximum(x, 3), 3.0, 0.0),
    ("maximum(x, x)", lambda x: tg.maximum(x, x), 5.0, 1.0),
    ("minimum(x, x)", lambda x: tg.minimum(x, x), 5.0, 1.0),
    ("maximum(x, -x)", lambda x: tg.maximum(x, -x), 0.0, 0.0),
    ("maximum(2 x, x)", lambda x: tg.maximum(2 * x, x), 0.0, 1.5),
    ("max of [x, 0]", lambda x: tg.stack([x, np.zeros(x.shape)]).max(axis=0), 0.0, 0.5),
    ("sign", lambda x: tg.sign(x) + x, 0.0, 1.0),
]


def derivatives(f, point):
    """Derivative by each of the engine's loops: quick, recorded, careful, transforms."""
    x = tg.Parameter(np.array([point]))
    f(x).sum().backward()
    yield x.grad[0]
    y = tg.Parameter(np.array([point]))
    yield tg.gradients(f(y).sum(), [y])[0].item()
    # An infinite slope before the kink sends the engine through its careful loop.
    z = tg.Parameter(np.array([point, -1.0]))
    with np.errstate(all="ignore"):
        guard = tg.where(np.array([False, True]), tg.log(f(z) - f(z).numpy()[0]), 0.0)
        (f(z).sum() + 0 * tg.where(guard > inf, guard, 0.0).sum()).backward()
    yield z.grad[0]
    yield tg.grad(lambda v: f(v.reshape(1)).sum())(point).item()
    yield tg.jvp(f, [np.array([point])], [np.ones(1)])[1].item()


@pytest.mark.parametrize(
    ("f", "point", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_every_spelling_agrees_with_the_table(f, point, wanted):
    """Each spelling has the table's derivative at the kink, in every loop and transform."""
    for found in derivatives(f, point):
        assert found == wanted


@pytest.mark.parametrize("f", [f for _, f in RELU], ids=[name for name, _ in RELU])
def test_spellings_of_relu_agree_beside_the_kink_and_under_an_infinite_slope(f):
    """Away from 0 all are relu; behind a log, at 0, none is nan but arithmetic ones."""
    x = tg.Parameter([-2.0, -0.0, 0.0, 1e-300, 3.0])
    f(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    "f",
    [f for name, f in RELU if "*" not in name],
    ids=[name for name, _ in RELU if "*" not in name],
)
def test_spellings_of_relu_agree_under_an_infinite_slope(f):
    """log(relu(x)) at 0 has no path back to x, in every spelling."""
    x = tg.Parameter([0.0, 2.0])
    with np.errstate(divide="ignore"):
        out = tg.log(f(x)).sum()
    out.backward()
    np.testing.assert_array_equal(x.grad, [0, 0.5])


@pytest.mark.parametrize(
    "choose",
    [tg.maximum, np.maximum, tg.minimum, np.minimum, lambda x, y: tg.clip(x, y, None),
     lambda x, y: tg.clip(x, None, y)],
)  # fmt: skip
def test_a_tie_is_shared_by_the_operands_that_require_a_gradient(choose):
    """Two that require one: a half each. One: 0, the least subgradient, as for relu."""
    for needs_x, needs_y, wanted in [
        (True, True, (0.5, 0.5)), (True, False, (0.0, None)), (False, True, (None, 0.0)),
    ]:  # fmt: skip
        x = tg.Tensor([1.0, 1.0], requires_grad=needs_x)
        y = tg.Tensor([1.0, 1.0], requires_grad=needs_y)
        choose(x * 1.0, y * 1.0).sum().backward()
        for leaf, share in ((x, wanted[0]), (y, wanted[1])):
            if share is None:
                assert leaf.grad is None
            else:
                np.testing.assert_array_equal(leaf.grad, [share, share])


def test_ties_of_max_and_min_share_equally():
    """k elements that tie get 1 / k each, along any axis, in every spelling."""
    data = np.array([[2.0, 2.0, 1.0], [3.0, 3.0, 3.0]])
    for take in (tg.max, np.max, np.amax, lambda x, axis: x.max(axis),
                 lambda x, axis: -tg.min(-x, axis), lambda x, axis: -np.min(-x, axis),
                 lambda x, axis: np.sort(x, axis)[:, -1], np.nanmax,
                 lambda x, axis: np.quantile(x, 1.0, axis),
                 lambda x, axis: np.partition(x, -1, axis)[:, -1],
                 lambda x, axis: tg.cummax(x, axis)[:, -1],
                 lambda x, axis: tg.topk(x, 1, axis)[0]):  # fmt: skip
        x = tg.Parameter(data)
        take(x, axis=1).sum().backward()
        np.testing.assert_array_equal(x.grad, [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    x = tg.Parameter(data)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    x = tg.Parameter([-4.0, 4.0])
    tg.norm(x, inf).backward()
    np.testing.assert_array_equal(x.grad, [-0.5, 0.5])


def test_the_tie_of_zeros_of_both_signs_is_a_tie():
    """-0.0 and 0.0 are equal: the kink has no side."""
    for zero in (0.0, -0.0):
        x, y = tg.Parameter(zero), tg.Parameter(-zero)
        tg.maximum(x, y).backward()
        assert (x.grad, y.grad) == (0.5, 0.5)


@pytest.mark.parametrize("name", ["relu", "abs", "maximum(0, x)", "clip(x, 0, None)"])
def test_there_is_no_curvature_at_a_kink(name):
    """The second derivative of a piecewise linear function is 0 everywhere."""
    f = dict(RELU + ABS)[name]
    x = tg.Parameter([-1.0, 0.0, 1.0])
    (g,) = tg.gradients((f(x) * x).sum(), [x])
    (h,) = tg.gradients(g.sum(), [x])
    slope = np.array([-1.0, 0.0, 1.0]) if name == "abs" else np.array([0.0, 0.0, 1.0])
    np.testing.assert_array_equal(h.numpy(), 2 * slope)
