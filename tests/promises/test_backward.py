"""Promise 6: what backward, gradients and an optimiser's step do to `.grad`."""

from __future__ import annotations

import gc
import operator
import weakref
from functools import reduce

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph, recording
from tinygrad_nn.errors import GradientError, NoPathError, ShapeError, TinygradError


def consume(*parameters):
    """Do to gradients what an optimiser's step does, and leave the values alone."""
    for parameter in parameters:
        assert parameter.grad is not None
        parameter._spent = True


# --- shared subexpressions -----------------------------------------------------------


def diamond(y):
    return y * y + y


def late_and_early(x):
    y = x * x
    return (y * 2 + x) * y


SHARED = {
    # f, and its derivative
    "x + x": (lambda x: x + x, lambda x: 2.0),
    "x * x": (lambda x: x * x, lambda x: 2 * x),
    "x - x": (lambda x: x - x, lambda x: 0.0),
    "x / x": (lambda x: x / x, lambda x: 0.0),
    "x ** x": (lambda x: x**x, lambda x: x**x * (np.log(x) + 1)),
    "maximum(x, x)": (lambda x: tg.maximum(x, x), lambda x: 1.0),
    "x @ x": (lambda x: (x.reshape(1, 1) @ x.reshape(1, 1)).sum(), lambda x: 2 * x),
    "concatenate([x, x])": (lambda x: tg.stack([x, x, x]).sum(), lambda x: 3.0),
    "where(c, x, x)": (lambda x: tg.where(True, x, x), lambda x: 1.0),
    "einsum": (lambda x: tg.einsum(",,->", x, x, x), lambda x: 3 * x**2),
    "x + (x + x)": (lambda x: x + (x + x), lambda x: 3.0),
    "a diamond": (lambda x: diamond(x * 3), lambda x: 18 * x + 3),
    "deep and direct": (lambda x: reduce(operator.mul, [x] * 4) + x, lambda x: 4 * x**3 + 1),
    "a used late and early": (late_and_early, lambda x: 8 * x**3 + 3 * x**2),
    "twice through views": (lambda x: x.reshape(1)[0] * x.reshape(1, 1).T[0, 0], lambda x: 2 * x),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_every_use_of_a_value_counts(name):
    """A value used k times gets k shares, in both loops and under retain_grads."""
    f, slope = SHARED[name]
    x = tg.Parameter(1.5)
    f(x).backward()
    assert x.grad.item() == pytest.approx(slope(1.5), rel=1e-14)
    (g,) = tg.gradients(f(x), [x])
    assert g.item() == pytest.approx(slope(1.5), rel=1e-14)
    y = tg.Parameter(1.5)
    f(y).backward(retain_grads=True)
    assert y.grad.item() == x.grad.item()


def test_micrograds_sanity_check():
    """The expression of micrograd's README has micrograd's values and gradients."""
    a, b = tg.Parameter(-4.0), tg.Parameter(2.0)
    c = a + b
    d = a * b + b**3
    c = c + (c + 1)
    c = c + 1 + c + (-a)
    d = d + (d * 2 + tg.relu(b + a))
    d = d + (3 * d + tg.relu(b - a))
    e = c - d
    f = e**2
    g = f / 2.0
    g = g + 10.0 / f
    g.backward()
    assert g.item() == pytest.approx(24.70408163265306, rel=1e-15)
    assert a.grad.item() == pytest.approx(138.83381924198252, rel=1e-15)
    assert b.grad.item() == pytest.approx(645.5772594752186, rel=1e-15)


def test_many_consumers_of_a_wide_graph():
    """A value with a thousand consumers gets the sum of a thousand shares."""
    x = tg.Parameter([1.0, 2.0])
    y = x * 1.0
    out = reduce(operator.add, [y * float(k) for k in range(1000)])
    out.sum().backward()
    np.testing.assert_array_equal(x.grad, [499500.0, 499500.0])


# --- accumulation --------------------------------------------------------------------


def test_gradients_accumulate_over_backwards():
    """Several losses add up in .grad, as in micrograd and PyTorch."""
    w = tg.Parameter([1.0, 2.0])
    (w * 3).sum().backward()
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [3 + 2, 3 + 4])


def test_backward_twice_on_one_graph_means_what_it_says():
    """The graph is not used up: the second backward adds the same again."""
    w = tg.Parameter([1.0, 2.0])
    loss = tg.exp(w * w).sum()
    loss.backward()
    once = w.grad.copy()
    loss.backward()
    np.testing.assert_array_equal(w.grad, 2 * once)
    for _ in range(3):
        loss.backward()
    np.testing.assert_allclose(w.grad, 5 * once, rtol=1e-15)


def test_a_handed_out_array_is_never_changed_in_place():
    """A kept .grad stays what it was, whatever backward, retain or zero_grad follow."""
    w = tg.Parameter(np.ones((2, 3)))
    kept = []
    for k in range(5):
        loss = (w.T * (k + 1.0)).sum(axis=0).sum()
        loss.backward(retain_grads=k % 2 == 1)
        kept.append((w.grad, w.grad.copy()))
        if k == 2:
            consume(w)
        if k == 3:
            w.zero_grad()
    for array, then in kept:
        np.testing.assert_array_equal(array, then)
    assert len({id(array) for array, _ in kept}) == 5


SHARING = {
    "x + y": lambda x, y: x + y,
    "y - x": lambda x, y: y - x,
    "x + 0": lambda x, y: (x + 0) + (y + 0),
    "reshape": lambda x, y: x.reshape(4) + y.reshape(4),
    "transpose": lambda x, y: x.T + y.T,
    "both ways": lambda x, y: (x.T + y).T + x,
    "getitem": lambda x, y: x[:] + y[...],
    "newaxis": lambda x, y: x[None] + y[None],
    "concatenate": lambda x, y: tg.concatenate([x, y]),
    "stack": lambda x, y: tg.stack([x, y]),
    "sum": lambda x, y: x.sum() + y.sum(),
    "sum of an axis": lambda x, y: x.sum(axis=0) + y.sum(axis=0),
    "mean": lambda x, y: x.mean(axis=0, keepdims=True) + y.mean(axis=0, keepdims=True),
    "broadcast_to": lambda x, y: (
        tg.broadcast_to(x, (3, 2, 2)) + tg.broadcast_to(y, (3, 2, 2))
    ),
    "astype": lambda x, y: x.astype(np.float64) + y.astype(np.float64),
    "copy": lambda x, y: x.copy() + y.copy(),
    "where": lambda x, y: tg.where(True, x, 0.0) + tg.where(True, y, 0.0),
    "squeeze": lambda x, y: tg.squeeze(x[None]) + tg.squeeze(y[None]),
    "swapaxes": lambda x, y: tg.swapaxes(x, 0, 1) + tg.swapaxes(y, 0, 1),
    "einsum": lambda x, y: tg.einsum("ij->ij", x) + tg.einsum("ij->ij", y),
    "a constant beside": lambda x, y: x * np.ones((2, 2)) + y * np.ones((2, 2)),
    "x alone": lambda x, y: x + 0 * y,
    "leaf": lambda x, y: x,
}


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("seeded", [True, False], ids=["seed", "sum"])
@pytest.mark.parametrize("retain", [True, False], ids=["retain", "leaves"])
def test_no_two_arrays_of_gradients_are_one(name, seeded, retain):
    """Every .grad is an array of its own, writable, apart from seed, data and constants."""
    x, y = tg.Parameter(np.ones((2, 2))), tg.Parameter(np.full((2, 2), 2.0))
    out = SHARING[name](x, y)
    seed = np.ones(out.shape)
    if seeded:
        out.backward(seed, retain_grads=retain)
    else:
        out = out.sum()
        out.backward(retain_grads=retain)
    nodes = graph.nodes(out)
    constants = [c for node in nodes for c in node.inputs if isinstance(c, np.ndarray)]
    grads = [node.grad for node in nodes if node.grad is not None]
    others = [seed, *constants, *(node.data for node in nodes)]
    for i, g in enumerate(grads):
        assert isinstance(g, np.ndarray)
        assert g.flags.writeable
        for other in [*others, *grads[:i], *grads[i + 1 :]]:
            assert not np.shares_memory(g, other)


def test_a_written_gradient_changes_nothing_else():
    """Clipping .grad in place is the user's right, and reaches no other array."""
    x, y = tg.Parameter([1.0, 2.0]), tg.Parameter([3.0, 4.0])
    loss = (x + y).sum()
    loss.backward()
    x.grad[:] = 100.0
    np.testing.assert_array_equal(y.grad, [1.0, 1.0])
    loss.backward()
    np.testing.assert_array_equal(x.grad, [101.0, 101.0])


def test_grad_is_an_ndarray_or_none():
    """.grad is an ndarray of the data's shape and dtype, 0-d included, or None."""
    for data in (1.0, [1.0], np.ones((2, 0)), np.float32(2.0)):
        w = tg.Parameter(data)
        assert w.grad is None
        (w * 2).sum().backward()
        assert type(w.grad) is np.ndarray
        assert w.grad.shape == w.shape
        assert w.grad.dtype == w.dtype
        w.zero_grad()
        assert w.grad is None


def test_setting_grad_by_hand():
    """.grad takes a copy of what fits, and refuses what does not."""
    w = tg.Parameter([1.0, 2.0])
    mine = np.array([5.0, 6.0])
    w.grad = mine
    mine[:] = 0
    np.testing.assert_array_equal(w.grad, [5.0, 6.0])
    w.sum().backward()
    np.testing.assert_array_equal(w.grad, [6.0, 7.0])
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        w.grad = np.ones(3)
    w.grad = None
    assert w.grad is None


# --- gradients that an optimiser's step consumed -------------------------------------


def test_a_step_consumes_gradients():
    """.grad stays readable after a step; the next backward replaces it."""
    w = tg.Parameter([1.0, 2.0])
    (w * 3).sum().backward()
    consume(w)
    read = w.grad
    np.testing.assert_array_equal(read, [3.0, 3.0])
    (w * 5).sum().backward()
    np.testing.assert_array_equal(w.grad, [5.0, 5.0])
    np.testing.assert_array_equal(read, [3.0, 3.0])
    (w * 5).sum().backward()
    np.testing.assert_array_equal(w.grad, [10.0, 10.0])


def test_zero_grad_does_no_harm():
    """Called before, after or never, zero_grad gives the same gradients."""
    w = tg.Parameter([1.0])
    for forget in (True, False, True, True, False):
        if forget:
            w.zero_grad()
        (w * 3).sum().backward()
        (w * 4).sum().backward()
        np.testing.assert_array_equal(w.grad, [7.0])
        consume(w)


def test_a_consumed_gradient_is_replaced_even_if_set_by_hand():
    """A gradient set by hand is new, so it accumulates."""
    w = tg.Parameter([1.0])
    w.sum().backward()
    consume(w)
    w.grad = [10.0]
    w.sum().backward()
    np.testing.assert_array_equal(w.grad, [11.0])


def test_a_leaf_that_a_loss_does_not_reach_keeps_its_consumed_gradient():
    """Consumption is a matter of each parameter."""
    w, v = tg.Parameter([1.0]), tg.Parameter([1.0])
    (w * v * 2).sum().backward()
    consume(w, v)
    (w * 7).sum().backward()
    np.testing.assert_array_equal(w.grad, [7.0])
    np.testing.assert_array_equal(v.grad, [2.0])
    (w * v).sum().backward()
    np.testing.assert_array_equal(w.grad, [8.0])
    np.testing.assert_array_equal(v.grad, [1.0])


def test_steps_of_a_real_optimiser():
    """Without zero_grad a loop trains as with it; a second step in a row raises."""
    curves = []
    for forget in (True, False):
        w = tg.Parameter([5.0, -3.0], name="w")
        optimizer = tg.optim.SGD([w], lr=0.1)
        for _ in range(5):
            if forget:
                optimizer.zero_grad()
            (w * w).sum().backward()
            optimizer.step()
        curves.append(w.numpy().copy())
        np.testing.assert_allclose(w.grad, 2 * w.numpy() / 0.8)  # still readable
        with pytest.raises(GradientError, match="backward"):
            optimizer.step()
    np.testing.assert_array_equal(*curves)
    np.testing.assert_allclose(curves[0], np.array([5.0, -3.0]) * 0.8**5)


def test_two_backwards_before_one_step_accumulate():
    """Half batches add up to a whole one."""
    w = tg.Parameter([5.0])
    optimizer = tg.optim.SGD([w], lr=0.1)
    for _ in range(2):
        (w * 1.0).sum().backward()
        (w * 3.0).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(w.numpy(), [5.0 - 2 * 0.4])


# --- leaves, inner nodes, requires_grad ----------------------------------------------


def test_only_leaves_that_require_a_gradient_get_one():
    """Constants and inner nodes keep None, unless retain_grads asks."""
    w, x = tg.Parameter([1.0, 2.0]), tg.Tensor([3.0, 4.0])
    inner = w * x
    loss = (inner * inner).sum()
    loss.backward()
    assert x.grad is None
    assert inner.grad is None
    assert loss.grad is None
    np.testing.assert_array_equal(w.grad, 2 * np.array([1.0, 2.0]) * [9.0, 16.0])


def test_retain_grads_fills_inner_nodes():
    """Inner nodes get what gradients() gives for them, and it accumulates too."""
    w = tg.Parameter([1.0, 2.0])
    z = w * 3
    a = tg.tanh(z)
    loss = (a * a).mean()
    loss.backward(retain_grads=True)
    for node, g in zip(
        (w, z, a, loss), tg.gradients(loss, [w, z, a, loss]), strict=True
    ):
        np.testing.assert_allclose(node.grad, g.numpy(), rtol=1e-15)
    kept = z.grad
    before = kept.copy()
    loss.backward(retain_grads=True)
    np.testing.assert_array_equal(z.grad, 2 * before)
    np.testing.assert_array_equal(kept, before)


def test_retained_gradients_of_bypassed_nodes_are_the_plain_rules():
    """dA of a rewritten log(A) is Y/A as the textbook has it, and dZ is untouched."""
    Z, Y = np.array([0.3, -2.0]), np.array([1.0, 0.0])
    z = tg.Parameter(Z)
    A = 1 / (1 + np.exp(-z))
    loss = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum()
    loss.backward(retain_grads=True)
    a = 1 / (1 + np.exp(-Z))
    np.testing.assert_allclose(A.grad, -(Y / a - (1 - Y) / (1 - a)), rtol=1e-12)
    np.testing.assert_allclose(z.grad, a - Y, rtol=1e-12)
    dA, dz = tg.gradients(loss, [A, z])
    np.testing.assert_allclose(dA.numpy(), A.grad, rtol=1e-15)
    np.testing.assert_allclose(dz.numpy(), z.grad, rtol=1e-15)
    plain = tg.Parameter(Z)
    b = 1 / (1 + np.exp(-plain))
    (-(Y * np.log(b) + (1 - Y) * np.log(1 - b)).sum()).backward()
    np.testing.assert_array_equal(plain.grad, z.grad)


def test_nothing_that_requires_a_gradient_is_an_error():
    """backward of constants, and of what no_grad computed, says what to do."""
    w = tg.Parameter([1.0])
    with tg.no_grad():
        dead = (w * 2).sum()
    for out in (tg.Tensor([1.0]).sum(), dead, (w > 0).sum()):
        with pytest.raises(GradientError, match="requires"):
            out.backward()
    assert w.grad is None


def test_freezing_a_parameter_stops_its_gradient():
    """With requires_grad off no node leads back to it; on again, it learns again."""
    w, v = tg.Parameter([2.0]), tg.Parameter([3.0])
    w.requires_grad = False
    (w * v).sum().backward()
    assert w.grad is None
    np.testing.assert_array_equal(v.grad, [2.0])
    w.requires_grad = True
    (w * v).sum().backward()
    np.testing.assert_array_equal(w.grad, [3.0])


def test_a_result_of_no_grad_may_become_a_leaf():
    """Weights made under no_grad learn once they require a gradient."""
    with tg.no_grad():
        w = tg.Tensor([1.0, 2.0]) * 2
    w.requires_grad = True
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [4.0, 8.0])
    assert (tg.Tensor([1.0]) + w).requires_grad


def test_a_detached_tensor_stops_the_gradient():
    """detach() is a leaf: the path through it does not exist."""
    w = tg.Parameter([2.0])
    (w.detach() * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [2.0])
    with pytest.raises(NoPathError):
        tg.gradients((w.detach() * 2).sum(), [w])


def test_backward_of_a_leaf():
    """A leaf's own backward leaves the cotangent in it, and keeps a copy."""
    w = tg.Parameter([1.0, 2.0])
    seed = np.array([3.0, 4.0])
    w.backward(seed)
    seed[:] = 0
    np.testing.assert_array_equal(w.grad, [3.0, 4.0])
    v = tg.Parameter(2.0)
    v.backward()
    assert v.grad == 1.0


# --- cotangents ----------------------------------------------------------------------


def test_an_output_of_many_elements_needs_a_cotangent():
    """One element needs none, in any shape; more do, and the error says what to do."""
    w = tg.Parameter([[1.0]])
    (w * 2).backward()
    np.testing.assert_array_equal(w.grad, [[2.0]])
    v = tg.Parameter([1.0, 2.0])
    for call in ((v * 2).backward, lambda: tg.gradients(v * 2, [v])):
        with pytest.raises(GradientError, match=r"\(2,\).*sum.*grad_output"):
            call()
    with pytest.raises(GradientError, match="single number"):
        tg.Parameter(np.ones((0,))).backward()


@pytest.mark.parametrize("kind", [np.asarray, list, tg.Tensor, tg.Parameter])
def test_cotangents_of_any_kind(kind):
    """A cotangent is an array, a list or a Tensor of the output's shape."""
    w = tg.Parameter([1.0, 2.0])
    (w * w).backward(kind([10.0, 1.0]))
    np.testing.assert_array_equal(w.grad, [20.0, 4.0])
    (g,) = tg.gradients(w * w, [w], kind([10.0, 1.0]))
    np.testing.assert_array_equal(g.numpy(), [20.0, 4.0])


@pytest.mark.parametrize(
    "seed", [1.0, [1.0], [1.0] * 3, np.ones((1, 2)), np.ones((2, 1))]
)
def test_a_cotangent_of_another_shape_is_refused(seed):
    """A cotangent is not broadcast: a shape that differs is a mistake."""
    w = tg.Parameter([1.0, 2.0])
    for call in (lambda: (w * w).backward(seed), lambda: tg.gradients(w * w, [w], seed),
                 lambda: tg.gradients(w * w, [w], tg.Tensor(seed))):  # fmt: skip
        with pytest.raises(ShapeError, match=r"\(2,\)"):
            call()
    assert w.grad is None


def test_a_recorded_cotangent_is_differentiable():
    """gradients(y, x, g) is linear in g, and its gradient in g is the Jacobian's."""
    x, g = tg.Parameter([1.0, 2.0]), tg.Parameter([5.0, 7.0])
    (pulled,) = tg.gradients(x * x * x, [x], g)
    (back,) = tg.gradients(pulled.sum(), [g])
    np.testing.assert_array_equal(back.numpy(), [3.0, 12.0])
    (curvature,) = tg.gradients(pulled.sum(), [x])
    np.testing.assert_array_equal(curvature.numpy(), [30.0, 84.0])


# --- gradients of any nodes ----------------------------------------------------------


def test_gradients_takes_any_nodes():
    """Leaves, constants that require none, inner nodes, the output itself, twice over."""
    w, x = tg.Parameter([1.0, 2.0]), tg.Tensor([3.0, 4.0])
    z = w * x
    loss = (z * z).sum()
    found = tg.gradients(loss, [w, x, z, loss, w])
    wanted = [[18.0, 64.0], [6.0, 32.0], [6.0, 16.0], 1.0, [18.0, 64.0]]
    for g, value in zip(found, wanted, strict=True):
        assert isinstance(g, tg.Tensor)
        np.testing.assert_array_equal(g.numpy(), value)
    assert w.grad is None
    assert x.grad is None


def test_one_input_need_not_be_in_a_list():
    """A lone Tensor is taken for a list of one."""
    w = tg.Parameter(3.0)
    (g,) = tg.gradients(w * w, w)
    assert g.item() == 6.0


def test_gradients_are_nodes_of_any_order():
    """Derivatives of x⁵ of order 1 to 6, each taken of the one before."""
    x = tg.Parameter(2.0)
    out = x**5
    for wanted in (80.0, 160.0, 240.0, 240.0, 120.0, 0.0):
        (out,) = tg.gradients(out, [x], unused="zero")  # 120 does not depend on x
        assert out.item() == pytest.approx(wanted)


def test_a_gradient_may_be_part_of_a_loss():
    """backward goes through recorded gradients: a gradient penalty trains."""
    w, x = tg.Parameter([1.0, 2.0]), tg.Parameter([0.5, 0.25])
    out = (tg.tanh(w * x)).sum()
    (slope,) = tg.gradients(out, [x])
    penalty = ((slope * slope).sum() - 1) ** 2
    penalty.backward()

    def plain(weights):
        s = weights * (1 - np.tanh(weights * [0.5, 0.25]) ** 2)
        return ((s * s).sum() - 1) ** 2

    for i in range(2):
        step = np.zeros(2)
        step[i] = 1e-6
        numeric = (
            plain(np.array([1.0, 2.0]) + step) - plain(np.array([1.0, 2.0]) - step)
        ) / 2e-6
        assert w.grad[i] == pytest.approx(numeric, rel=1e-6)


def test_no_path_raises_unless_zeros_are_asked_for():
    """An input that the output does not depend on is named; zeros have its shape."""
    w, v = tg.Parameter([1.0]), tg.Parameter(np.ones((2, 3), np.float32), name="v")
    loss = (w * 2).sum()
    with pytest.raises(NoPathError, match=r"input 1.*'v'.*unused='zero'"):
        tg.gradients(loss, [w, v])
    _, zero = tg.gradients(loss, [w, v], unused="zero")
    assert zero.shape == (2, 3)
    assert zero.dtype == np.float32
    assert not zero.numpy().any()
    with pytest.raises(TinygradError, match="zero"):
        tg.gradients(loss, [w], unused="ignore")
    with pytest.raises(NoPathError):
        tg.gradients((w > 0) * tg.Tensor([1.0]), [w])
    with pytest.raises(NoPathError):  # a later node is not an input of an earlier one
        tg.gradients(w * 1.0, [loss])


def test_gradients_does_not_touch_grad():
    """Asking for recorded gradients fills and consumes nothing."""
    w = tg.Parameter([1.0, 2.0])
    (w * w).sum().backward()
    kept, before = w.grad, w.grad.copy()
    tg.gradients((w * w).sum(), [w])
    assert w.grad is kept
    np.testing.assert_array_equal(kept, before)


def test_gradients_refuses_what_is_no_tensor():
    """Arrays have no graph: the error names the transform for functions of arrays."""
    w = tg.Parameter([1.0])
    for call in (
        lambda: tg.gradients(np.ones(1), [w]),
        lambda: tg.gradients(w * 1.0, [np.ones(1)]),
    ):
        with pytest.raises(TinygradError, match=r"tg\.grad"):
            call()


# --- recording -----------------------------------------------------------------------


def test_every_op_records_whatever_requires_a_gradient():
    """requires_grad decides only where backward goes; no_grad decides about recording."""
    x = tg.Tensor([1.0, 2.0])
    y = x * 2
    assert y.op is not None
    assert not y.requires_grad
    (g,) = tg.gradients(y.sum(), [x])
    np.testing.assert_array_equal(g.numpy(), [2.0, 2.0])
    with tg.no_grad():
        z = x * 2
    assert z.op is None
    assert z.is_leaf
    assert z.inputs == ()


def test_no_grad_is_undone_by_an_error_and_nests():
    """Recording comes back after an exception, and after an inner no_grad."""
    w = tg.Parameter([1.0])
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        1 / 0  # noqa: B018
    assert (w * 2).op is not None
    with tg.no_grad():
        with tg.no_grad():
            pass
        assert (w * 2).op is None

    @tg.no_grad()
    def step():
        return w * 2

    assert step().op is None
    assert step().op is None
    assert (w * 2).op is not None
    assert recording.current() is recording.PLAIN


def test_values_do_not_depend_on_recording():
    """The same stable forms fire under no_grad, bit for bit."""
    z = np.array([-1000.0, -30.0, 0.1, 40.0, 1000.0])

    def loss(z, Y=(1.0, 0.0, 1.0, 0.0, 1.0)):
        Y = np.asarray(Y)
        with np.errstate(all="ignore"):
            A = 1 / (1 + np.exp(-z))
            return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)), np.log(np.sum(np.exp(z)))

    recorded = loss(tg.Parameter(z))
    with tg.no_grad():
        plain = loss(tg.Parameter(z))
    for a, b in zip(recorded, plain, strict=True):
        assert np.isfinite(a.numpy()).all()
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_no_grad_keeps_nothing_older_than_a_pattern():
    """A number kept from under no_grad does not keep the graph it was computed from."""
    w = tg.Parameter(np.ones(3))
    for make in (
        lambda h: tg.log(tg.sigmoid(h)), lambda h: tg.exp(-h), lambda h: 1 - tg.sigmoid(h),
        lambda h: tg.log(1 / (1 + tg.exp(-h))), lambda h: tg.log(tg.softmax(h)),
        lambda h: tg.log(1 + tg.exp(h)), lambda h: h * 2,
    ):  # fmt: skip
        h = tg.tanh(w * 2)
        alive = weakref.ref(h.inputs[0])
        with tg.no_grad():
            kept = make(h)
        del h
        gc.collect()
        assert alive() is None, kept
    recorded = tg.sigmoid(tg.tanh(w * 2))
    alive = weakref.ref(recorded.inputs[0])
    with tg.no_grad():
        kept = tg.log(recorded)
    del recorded
    gc.collect()
    assert alive() is None, kept
