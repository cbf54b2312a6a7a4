"""Promise 8: a value changed between forward and backward is an error, or does no harm."""

from __future__ import annotations

import operator
import re
import sys

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import MutationError, ShapeError, TinygradError

HERE = __file__


def here():
    """Number of the line that calls this."""
    return sys._getframe(1).f_lineno


def assign(w):
    w.data = w.data + 1.0
    return here() - 1


def subtract_from_data(w):
    w.data -= 1.0
    return here() - 1


def multiply_data(w):
    w.data *= 2.0
    return here() - 1


def step_under_no_grad(w):
    with tg.no_grad():
        w -= 0.5
        return here() - 1


def scale_under_no_grad(w):
    with tg.no_grad():
        w *= 0.5
        return here() - 1


def divide_under_no_grad(w):
    with tg.no_grad():
        w /= 2.0
        return here() - 1


def power_under_no_grad(w):
    with tg.no_grad():
        w **= 2.0
        return here() - 1


def optimise(w):
    optimizer = tg.optim.SGD([w], lr=0.1)
    w.grad = np.ones(w.shape)
    optimizer.step()
    return here() - 1


CHANGES = [assign, subtract_from_data, multiply_data, step_under_no_grad,
           scale_under_no_grad, divide_under_no_grad, power_under_no_grad, optimise]  # fmt: skip


def saved_by_multiply(w):
    return w * w, "multiply", here()


def saved_by_exp_before(w):
    return tg.log(w) * 2.0, "log", here()


def saved_by_matmul(w):
    return tg.matmul(np.ones((2, 2)), w * np.ones((2, 2))) * w, "multiply", here()


def saved_by_power(w):
    return w**3, "power", here()


def saved_by_numpy(w):
    return np.square(w), "square", here()


def saved_by_a_method(w):
    return w.prod(), "prod", here()


def saved_by_where(w):
    return tg.where(w > 0, w, 2.0) * w, "multiply", here()


def saved_as_the_second_operand(w):
    return 1.0 / w / w, "divide", here()


def saved_through_a_view(w):
    out = np.ones(2) @ (w.reshape(2, 1) * 1.0) + w.T @ w
    return out, "matmul|reshape|transpose", here() - 1


def saved_among_many(w):
    return tg.einsum("i,i,i->", w, w, w), "einsum", here()


USES = [saved_by_multiply, saved_by_exp_before, saved_by_matmul, saved_by_power,
        saved_by_numpy, saved_by_a_method, saved_by_where, saved_as_the_second_operand,
        saved_through_a_view, saved_among_many]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("use", USES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("backward", ["backward", "gradients"])
def test_a_saved_value_that_changed_is_an_error_naming_op_and_both_lines(
    use, change, backward
):
    """The error names the op, the line that recorded it and the line of the change."""
    w = tg.Parameter([1.0, 2.0], name="w")
    out, op, recorded = use(w)
    out = out.sum()
    changed = change(w)
    walk = {"backward": out.backward, "gradients": lambda: tg.gradients(out, [w])}
    with pytest.raises(MutationError) as caught:
        walk[backward]()
    told = str(caught.value)
    assert re.search(rf"\b({op})\b", told)
    assert "'w'" in told
    assert f"{HERE}:{recorded}" in told
    assert f"{HERE}:{changed}" in told
    assert told.index(f"{HERE}:{recorded}") < told.index(f"{HERE}:{changed}")


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_nothing_is_deposited_by_a_backward_that_was_refused(change):
    """An error leaves every .grad as it was."""
    w, v = tg.Parameter([1.0, 2.0]), tg.Parameter([1.0, 1.0])
    out = (w * w * v).sum()
    change(w)
    before = None if w.grad is None else w.grad.copy()
    with pytest.raises(MutationError):
        out.backward()
    assert v.grad is None
    if before is None:
        assert w.grad is None
    else:
        np.testing.assert_array_equal(w.grad, before)


HARMLESS = {
    # expression whose rules do not look at b's value, and its gradient in b
    "a bias": lambda b: (np.ones((3, 2)) * 2.0 + b).sum(),
    "x - b": lambda b: (np.ones((3, 2)) - b).sum() * -1.0,
    "a negative": lambda b: (tg.negative(-b) * 3.0).sum(),
    "a sum": lambda b: b.sum() * 3.0,
    "a mean": lambda b: b.mean() * 6.0,
    "concatenated": lambda b: (tg.concatenate([b, b, b]) * 1.0).sum(),
    "stacked": lambda b: (tg.stack([b, b, b]) * 1.0).sum(),
    "cumulated": lambda b: tg.cumsum(b)[-1] * 3.0,
    "copied": lambda b: (b.copy() * 3.0).sum(),
    "compared": lambda b: ((b > 0) * 0.0 + b + b + b).sum(),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", HARMLESS)
def test_an_operand_that_no_rule_looks_at_may_change(name, change):
    """A bias may be updated before the backward: its gradient does not depend on it."""
    b = tg.Parameter([1.0, 2.0])
    out = HARMLESS[name](b)
    change(b)
    b.zero_grad()
    out.backward()
    np.testing.assert_array_equal(b.grad, [3.0, 3.0])


def test_a_cautious_refusal_still_tells_no_falsehood():
    """w * 3 need not know w for its gradient: right, or refused by name, never wrong."""
    w = tg.Parameter([1.0, 2.0])
    out = (w * 3.0).sum()
    assign(w)
    try:
        out.backward()
    except MutationError as error:
        assert "multiply" in str(error)  # noqa: PT017 (either is allowed)
    else:
        np.testing.assert_array_equal(w.grad, [3.0, 3.0])


def test_a_change_before_the_forward_or_after_the_backward_is_fine():
    """The usual loop: forward, backward, update, again."""
    w = tg.Parameter([4.0])
    for _ in range(3):
        loss = (w * w).sum()
        loss.backward()
        with tg.no_grad():
            w -= 0.25 * w.grad
        w.zero_grad()
    np.testing.assert_allclose(w.numpy(), [0.5])


def test_a_change_of_one_parameter_leaves_other_graphs_alone():
    """Only graphs that saved the changed value are spoiled."""
    w, v = tg.Parameter([1.0, 2.0]), tg.Parameter([3.0, 4.0])
    spoiled, sound = (w * w).sum(), (v * v).sum()
    assign(w)
    sound.backward()
    np.testing.assert_array_equal(v.grad, [6.0, 8.0])
    with pytest.raises(MutationError):
        spoiled.backward()


def test_a_constant_without_gradient_is_watched_as_well():
    """x in w * x is saved for w's sake, though x needs no gradient of its own."""
    w, x = tg.Parameter([1.0, 2.0]), tg.Tensor([3.0, 4.0], name="x")
    out = (w * x).sum()
    x.data = [0.0, 0.0]
    with pytest.raises(MutationError, match="'x'"):
        out.backward()


def test_a_change_between_two_ops_gives_the_second_the_new_value():
    """Values are what they were when each op ran, rewriting rules or not."""
    w = tg.Parameter([0.3, -2.0])
    A = tg.sigmoid(w)
    wanted = np.log(A.numpy())
    with tg.no_grad():
        w += 5.0
    np.testing.assert_allclose(tg.log(A).numpy(), wanted, rtol=1e-14)
    with tg.no_grad():
        A = 1 / (1 + tg.exp(-w))
        wanted = np.log(A.numpy())
        w -= 3.0
        np.testing.assert_allclose(tg.log(A).numpy(), wanted, rtol=1e-14)
    e = tg.exp(w)
    with tg.no_grad():
        w += 1.0
    total = np.log(1 + e.numpy())
    np.testing.assert_allclose(tg.log(1 + e).numpy(), total, rtol=1e-14)


def test_a_higher_order_backward_notices_too():
    """A recorded gradient saved the value as the forward did."""
    w = tg.Parameter([1.0, 2.0])
    (g,) = tg.gradients((w * w * w).sum(), [w])
    assign(w)
    with pytest.raises(MutationError):
        g.sum().backward()


# --- writes through an alias, in debug mode ------------------------------------------

ALIASED = {
    # what the forward is, and whose array is written to
    "data[i] of a leaf": (lambda w, a: (w * w).sum(), lambda w, a: w.data),
    "the array given to Tensor": (lambda w, a: (w * w).sum(), lambda w, a: a),
    "numpy()": (lambda w, a: tg.square(w).sum(), lambda w, a: w.numpy()),
    "a constant": (lambda w, a: (w * CONSTANT).sum(), lambda w, a: CONSTANT),
    "a constant of matmul": (lambda w, a: CONSTANT @ w, lambda w, a: CONSTANT),
    "a mask": (lambda w, a: tg.where(MASK, w, 0.0).sum(), lambda w, a: MASK),
    "the last row of a big one": (lambda w, a: (w * BIG).sum(), lambda w, a: BIG[-1]),
    "through a view": (lambda w, a: (w.reshape(1, 2) @ w).sum(), lambda w, a: a),
}
CONSTANT = np.array([3.0, 4.0])
MASK = np.array([1.0, 0.0])
BIG = np.ones((1000, 2))


@pytest.mark.parametrize("name", ALIASED)
def test_a_write_through_an_alias_is_noticed_in_debug_mode(name):
    """The checksum differs: the error names the op and its line."""
    forward, target = ALIASED[name]
    array = np.array([1.0, 2.0])
    w = tg.Parameter(array)
    with tg.debug():
        out = forward(w, array)
    written = target(w, array)
    before = written.copy()
    try:
        written[0] = 7.0
        with pytest.raises(MutationError, match=rf"\w+ at {re.escape(HERE)}:\d+"):
            out.backward()
        with pytest.raises(MutationError):
            tg.gradients(out, [w])
    finally:
        written[...] = before
    out.backward()  # as it was: nothing to complain about
    assert w.grad is not None


def test_a_result_written_to_is_noticed_in_debug_mode():
    """exp's rule looks at its own value, so a write to that is noticed as well."""
    w = tg.Parameter([1.0, 2.0])
    with tg.debug():
        y = tg.exp(w)
    y.data[0] = 0.0
    with pytest.raises(MutationError, match="exp"):
        y.backward(np.ones(2))


def test_debug_mode_has_nothing_to_say_of_what_no_rule_looks_at():
    """A bias written through an alias is as harmless as one assigned."""
    b = tg.Parameter([1.0, 2.0])
    with tg.debug():
        out = (np.ones((3, 2)) + b).sum()
    b.data[0] = 9.0
    out.backward()
    np.testing.assert_array_equal(b.grad, [3.0, 3.0])


def test_without_debug_mode_an_alias_goes_unnoticed():
    """The price of a checksum is only paid inside tg.debug(), and outside again not."""
    array = np.array([1.0, 2.0])
    w = tg.Parameter(array)
    with tg.debug():
        pass
    out = (w * w).sum()
    array[:] = 5.0
    out.backward()
    np.testing.assert_array_equal(w.grad, [10.0, 10.0])


# --- data ----------------------------------------------------------------------------


def test_a_tensor_shares_its_array():
    """Tensor(a) is a view of a, both ways; integers that need a gradient are copied."""
    a = np.array([1.0, 2.0])
    t = tg.Tensor(a)
    w = tg.Parameter(a)
    assert np.shares_memory(t.data, a)
    assert np.shares_memory(w.numpy(), a)
    assert t.data is t.data
    a[0] = 9.0
    assert t.data[0] == w.data[0] == 9.0
    with tg.no_grad():
        w -= 1.0
    np.testing.assert_array_equal(a, [8.0, 1.0])
    whole = np.array([1, 2])
    assert not np.shares_memory(tg.Parameter(whole).data, whole)
    assert np.shares_memory(tg.Tensor(whole).data, whole)


@pytest.mark.parametrize("data", [np.float64(2.0), 2.0, np.array(2.0)], ids=repr)
def test_data_is_an_ndarray_even_without_axes(data):
    """.data of a 0-d leaf or result is a 0-d ndarray, the same one each time."""
    w = tg.Parameter(data)
    for t in (w, w * 2, (w * 2).sum()):
        assert type(t.data) is np.ndarray
        assert t.data.shape == ()
        assert t.data is t.data
    with tg.no_grad():
        w -= 0.5
    assert w.item() == 1.5
    w.data = 7.0
    assert w.item() == 7.0


def test_assigned_data_keeps_shape_and_dtype():
    """.data takes what fits, in the Tensor's dtype, and refuses another shape or kind."""
    w = tg.Parameter(np.ones(2, np.float32))
    w.data = [3.0, 4.0]
    assert w.dtype == np.float32
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        w.data = np.ones(3)
    with pytest.raises(ShapeError):
        w.data = 1.0
    with pytest.raises(TinygradError, match="complex"):
        w.data = [1j, 2]
    np.testing.assert_array_equal(w.numpy(), [3.0, 4.0])


def test_the_value_of_a_result_is_not_assigned():
    """A computed value is refused assignment, naming its op and line."""
    w = tg.Parameter([1.0, 2.0])
    y = tg.exp(w)
    with pytest.raises(MutationError, match=rf"exp.*{re.escape(HERE)}:{here() - 1}"):
        y.data = [0.0, 0.0]


# --- in place ------------------------------------------------------------------------

IN_PLACE = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul,
    "/=": operator.itruediv, "**=": operator.ipow, "@=": operator.imatmul,
}  # fmt: skip


@pytest.mark.parametrize("sign", IN_PLACE)
def test_in_place_on_a_leaf_works_under_no_grad_and_otherwise_advises(sign):
    """Under no_grad the leaf itself changes; outside, the error says how to do it."""
    data = np.array([[1.0, 2.0], [3.0, 4.0]])
    other = np.array([[2.0, 1.0], [1.0, 3.0]])
    w = tg.Parameter(data.copy(), name="w")
    array = w.data
    with pytest.raises(MutationError, match=r"'w'.*no_grad.*optimiser"):
        IN_PLACE[sign](w, other)
    np.testing.assert_array_equal(w.numpy(), data)
    with tg.no_grad():
        same = IN_PLACE[sign](w, other)
    assert same is w
    assert w.requires_grad
    assert w.is_leaf
    assert w.data is array
    np.testing.assert_array_equal(w.numpy(), IN_PLACE[sign](data.copy(), other))


@pytest.mark.parametrize("sign", IN_PLACE)
def test_in_place_on_an_inner_node_rebinds(sign):
    """y -= 1 makes a new node, as Python does, and what used y keeps its value."""
    w = tg.Parameter([[1.0, 2.0], [3.0, 4.0]])
    y = first = w * 2.0
    used = (y * y).sum()
    y = IN_PLACE[sign](y, np.array([[2.0, 1.0], [1.0, 3.0]]))
    assert y is not first
    assert y.op is not None
    np.testing.assert_array_equal(first.numpy(), 2 * w.numpy())
    used.backward()
    np.testing.assert_array_equal(w.grad, 8 * w.numpy())
    y.sum().backward()


def test_in_place_on_a_constant_rebinds():
    """A Tensor without a gradient and a graph is rebound, not written to."""
    a = np.array([1.0, 2.0])
    t = first = tg.Tensor(a)
    t -= 1.0
    assert t is not first
    np.testing.assert_array_equal(a, [1.0, 2.0])


def test_in_place_keeps_dtype_and_shape():
    """A leaf stays as it is: float32, and no broadcasting to something larger."""
    w = tg.Parameter(np.ones(2, np.float32), name="w")
    with tg.no_grad():
        w -= np.ones(2) * 0.25
        assert w.dtype == np.float32
        w -= tg.Tensor([0.25, 0.25])
        w -= 0.25
        with pytest.raises(ShapeError, match=r"-=.*\(2,\).*'w'.*\(3, 2\)"):
            w -= np.ones((3, 2))
        with pytest.raises(ShapeError):
            w += np.ones(3)
        with pytest.raises(TypeError):
            w -= np.ones(2) * 1j
    np.testing.assert_array_equal(w.numpy(), [0.25, 0.25])


def test_a_read_only_array_is_not_written_to():
    """A leaf over a broadcast or frozen array says that it must be copied first."""
    for array in (np.broadcast_to(np.ones(2), (3, 2)), np.ones(2)):
        array.flags.writeable = False
        w = tg.Parameter(array, name="w")
        (w * w).sum().backward()
        with (
            tg.no_grad(),
            pytest.raises(MutationError, match=r"-=.*read-only.*'w'.*copy"),
        ):
            w -= 1.0


def test_gradient_descent_as_the_tutorials_write_it():
    """W = W - lr * dW rebinds to a node; W -= lr * dW outside no_grad says what to do."""
    W = tg.Parameter([1.0, 2.0], name="W")
    (W * W).sum().backward()
    dW = W.grad
    with pytest.raises(MutationError, match="no_grad"):
        W -= 0.1 * dW
    new = W - 0.1 * dW
    assert new is not W
    np.testing.assert_allclose(new.numpy(), [0.8, 1.6])
    np.testing.assert_array_equal(W.numpy(), [1.0, 2.0])
    with tg.no_grad():
        W -= 0.1 * dW
    np.testing.assert_allclose(W.numpy(), [0.8, 1.6])


def test_an_optimisers_step_spoils_graphs_from_before_it():
    """Two losses of one forward: the second backward after the step is refused."""
    w = tg.Parameter([1.0, 2.0], name="w")
    hidden = w * w
    first, second = hidden.sum(), (hidden * hidden).sum()
    optimizer = tg.optim.SGD([w], lr=0.1)
    first.backward()
    optimizer.step()
    line = rf"{re.escape(HERE)}:{here() - 1}"
    with pytest.raises(MutationError, match=rf"multiply.*'w'.*{line}"):
        second.backward()
