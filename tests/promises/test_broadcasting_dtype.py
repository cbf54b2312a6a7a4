"""Promise 2: full NumPy broadcasting, NumPy 2's promotion, gradients of their own dtype."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import ops
from tinygrad_nn.errors import DtypeError, GradientError, TinygradError
from tinygrad_nn.op import REGISTRY, op_of

SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (4, 1, 3), (0,), (2, 0)]
FITTING = [
    (a, b)
    for a, b in itertools.product(SHAPES, SHAPES)
    if all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))
]
DTYPES = [
    np.float16,
    np.float32,
    np.float64,
    np.int8,
    np.int32,
    np.int64,
    np.uint8,
    np.bool_,
]
FLOATS = [np.float16, np.float32, np.float64]
BINARY = sorted(
    name for name, op in REGISTRY.items() if op.pointwise and len(op.operands) == 2
)
DIFFERENTIABLE = [
    name
    for name in BINARY
    if REGISTRY[name].differentiable and None not in REGISTRY[name].samples[0].ranges
]
"""But for ops with an operand that is no floating number, as ldexp's exponent."""


def values(shape, seed, dtype=np.float64):
    """Draw numbers between 0.5 and 1.5: inside every op's domain."""
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 1.5, shape), dtype)


def explicit_fold(full, shape):
    """Sum what broadcasting had repeated, written without the library."""
    extra = full.ndim - len(shape)
    full = full.sum(axis=tuple(range(extra)))
    for axis, size in enumerate(shape):
        if size == 1 and full.shape[axis] != 1:
            full = full.sum(axis=axis, keepdims=True)
    return full.reshape(shape)


@pytest.mark.parametrize(("left", "right"), FITTING, ids=str)
def test_every_fitting_pair_of_shapes_broadcasts_and_its_gradients_fold_back(
    left, right
):
    """The gradient of a product is the other operand, summed where it was repeated."""
    a, b = values(left, 0), values(right, 1)
    x, y = tg.Parameter(a), tg.Parameter(b)
    product = x * y
    assert product.shape == (a * b).shape
    seed = values(product.shape, 2)
    product.backward(seed)
    np.testing.assert_allclose(x.grad, explicit_fold(seed * b, left), rtol=1e-14)
    np.testing.assert_allclose(y.grad, explicit_fold(seed * a, right), rtol=1e-14)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize(
    ("left", "right"),
    [pair for pair in FITTING if 0 not in (*pair[0], *pair[1])],
    ids=str,
)
def test_a_sum_pulls_back_the_same_as_a_cotangent_of_ones(name, left, right):
    """Reducing to a number and seeding with ones are one and the same backward."""
    a, b = values(left, 0), values(right, 1)
    call = getattr(ops, name)
    grads = []
    for reduce in (
        lambda out: out.sum().backward(),
        lambda out: out.backward(np.ones(out.shape)),
        lambda out: (out.mean() * out.size).backward(),
        lambda out: (out * 1.0).sum().backward(),
    ):
        x, y = tg.Parameter(a), tg.Parameter(b)
        reduce(call(x, y))
        assert x.grad.shape == left
        assert y.grad.shape == right
        grads.append((x.grad, y.grad))
    for found in grads[1:]:
        np.testing.assert_allclose(found[0], grads[0][0], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found[1], grads[0][1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("condition", "left", "right"),
    [((3,), (2, 3), ()), ((2, 1), (3,), (1,)), ((2, 3), (3,), (3,)), ((3,), (3,), (2, 3)),
     ((), (2, 3), (2, 1)), ((1, 3), (), (4, 1, 1)), ((2, 3), (), ())],
    ids=str,
)  # fmt: skip
def test_where_broadcasts_all_three_operands(condition, left, right):
    """An operand's gradient counts how often each of its elements was chosen."""
    mask = np.random.default_rng(0).random(condition) < 0.5
    x, y = tg.Parameter(values(left, 1)), tg.Parameter(values(right, 2))
    out = tg.where(mask, x, y)
    full = np.broadcast_to(mask, out.shape)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad, explicit_fold(full * 1.0, left))
    np.testing.assert_array_equal(y.grad, explicit_fold(~full * 1.0, right))


def test_a_rule_that_uses_one_operand_only_is_repeated_too():
    """A user's rule need not know of broadcasting, whatever operand it looks at."""
    register = dict(REGISTRY)
    try:

        @tg.elementwise(
            formula=r"\sin $x + $y",
            vjp=(lambda g, _out, x, _y: g * tg.cos(x), lambda g, _out, _x, _y: g),
            samples=(),
        )
        def sine_plus(x, y):
            return np.sin(x) + y

    finally:
        REGISTRY.clear()
        REGISTRY.update(register)
    a = values((3,), 0)
    x = tg.Parameter(a)
    sine_plus(x, np.zeros((2, 3))).sum().backward()
    np.testing.assert_allclose(x.grad, 2 * np.cos(a), rtol=1e-15)


def numpy_result(call, *operands):
    """Value that NumPy gives, or the exception that it raises."""
    try:
        with np.errstate(all="ignore"):
            return call(*operands)
    except (TypeError, ValueError) as error:
        return error


OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
    operator.lt, operator.ge, operator.eq, np.maximum, np.minimum,
]  # fmt: skip


@pytest.mark.parametrize("call", OPERATORS, ids=lambda call: call.__name__)
def test_every_pair_of_dtypes_gives_numpys_dtype_and_values(call):
    """Promotion is NumPy's own, for arrays and for 0-d values, in both orders."""
    tried = 0
    for one, two in itertools.product(DTYPES, DTYPES):
        for left, right in (((3,), (3,)), ((3,), ()), ((), ())):
            a = np.asarray([2, 1, 3], one)[: 3 if left else 1].reshape(left or ())
            b = np.asarray([1, 1, 2], two)[: 3 if right else 1].reshape(right or ())
            wanted = numpy_result(call, a, b)
            for x, y in (
                (tg.Tensor(a), tg.Tensor(b)), (tg.Tensor(a), b), (a, tg.Tensor(b)),
            ):  # fmt: skip
                if isinstance(wanted, Exception):
                    with pytest.raises(TinygradError), np.errstate(all="ignore"):
                        call(x, y)
                    continue
                found = call(x, y)
                assert isinstance(found, tg.Tensor)
                assert found.dtype == wanted.dtype, (one, two, left, right)
                np.testing.assert_array_equal(found.numpy(), wanted)
                tried += 1
    assert tried > 300


UNARY = [
    np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.square, np.reciprocal, np.sin, np.cos,
    np.tanh, np.abs, np.negative, np.sign, np.sum, np.mean, np.max, np.min, np.prod,
    np.cumsum, np.var, np.std, np.linalg.norm,
]  # fmt: skip


@pytest.mark.parametrize("call", UNARY, ids=lambda call: call.__name__)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_functions_of_one_operand_keep_numpys_dtype(call, dtype):
    """A function of a Tensor has NumPy's dtype and value; of integers, or a refusal."""
    a = np.asarray([1, 2, 3], dtype)
    wanted = numpy_result(call, a)
    whole = np.dtype(dtype).kind in "iub"
    in_integers = (call is np.reciprocal and whole) or (
        call is np.square and dtype is np.bool_
    )
    if isinstance(wanted, Exception) or in_integers:
        with pytest.raises(TinygradError):
            call(tg.Tensor(a))
        return
    found = call(tg.Tensor(a))
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(
        found.numpy().astype(float),
        np.asarray(wanted, float),
        rtol=2e-3 if dtype == np.float16 else 1e-6,
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("number", [2, 1.0, True], ids=repr)
def test_python_numbers_do_not_widen(dtype, number):
    """A Python number takes the Tensor's dtype, on either side of every operator."""
    x = tg.Parameter(np.ones(3, dtype), dtype=dtype)
    for out in (x + number, number + x, x - number, number - x, x * number, number * x,
                x / number, number / x, x**number, number**x, np.maximum(number, x),
                tg.where(x > 0, x, number), tg.clip(x, 0, number)):  # fmt: skip
        assert out.dtype == dtype


@pytest.mark.parametrize("own", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("other", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_gradient_has_its_tensors_dtype(own, other, name):
    """However wide the other operand, the gradient is as wide as the Tensor, any order."""
    a, b = np.asarray([0.5, 0.75, 1.25], own), np.asarray([1, 1, 1], other)
    for order in ((a, b), (b, a)):
        if name.startswith("logistic") and order[0] is b:
            continue  # logits are floating; labels may be of any kind
        x = tg.Parameter(a)
        operands = [x if array is a else array for array in order]
        out = getattr(ops, name)(*operands)
        if out.dtype.kind != "f":
            continue
        out.sum().backward()
        assert x.grad.dtype == own
        out.sum().backward(retain_grads=True)
        assert out.grad.dtype == out.dtype
        (recorded,) = tg.gradients((out * out).sum(), [x])
        assert recorded.dtype == own
        (second,) = tg.gradients(recorded.sum(), [x], unused="zero")
        assert second.dtype == own


def test_float32_stays_float32_through_a_network():
    """Nothing on the way of a dense float32 network is computed in float64."""
    rng = np.random.default_rng(0)
    W1, W2 = (
        tg.Parameter(rng.normal(size=s).astype(np.float32)) for s in ((4, 3), (1, 4))
    )
    b1, b2 = (tg.Parameter(np.zeros((n, 1), np.float32)) for n in (4, 1))
    X = rng.normal(size=(3, 5)).astype(np.float32)
    Y = (rng.random((1, 5)) < 0.5).astype(np.float32)
    A2 = 1 / (1 + np.exp(-(np.dot(W2, np.tanh(np.dot(W1, X) + b1)) + b2)))
    loss = -np.mean(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))
    loss.backward(retain_grads=True)
    from tinygrad_nn import graph

    for node in graph.nodes(loss):
        if node.dtype.kind == "f":
            assert node.dtype == np.float32
        if node.grad is not None:
            assert node.grad.dtype == np.float32


@pytest.mark.parametrize(
    "data", [3, [1, 2], np.array([1, 2], np.int8), np.array([True, False])], ids=repr
)
def test_integers_that_require_a_gradient_become_float64(data):
    """Integer data has no slope, so it is copied to float64 where one is required."""
    x = tg.Tensor(data, requires_grad=True)
    assert x.dtype == np.float64
    assert tg.Parameter(data).dtype == np.float64
    assert tg.Tensor(data).dtype == np.asarray(data).dtype
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 2.0 * np.asarray(data))


def test_an_integer_dtype_that_requires_a_gradient_is_refused():
    """An integer dtype asked for by name contradicts a gradient."""
    with pytest.raises(DtypeError, match="floating dtype"):
        tg.Tensor([1, 2], requires_grad=True, dtype=np.int64)


def test_an_integer_has_no_gradient():
    """Rounding to integers is flat, so no gradient passes and none is asked for."""
    x = tg.Parameter([1.5, 2.5])
    whole = x.astype(np.int64)
    assert not whole.requires_grad
    ((whole * x).sum()).backward()
    np.testing.assert_array_equal(x.grad, [1.0, 2.0])
    labels = tg.Tensor([1, 2])
    with pytest.raises(GradientError, match="float"):
        tg.gradients((labels * x).sum(), [labels])
    with pytest.raises(GradientError, match="int64"):
        whole.sum().backward()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: tg.Tensor(1j),
        lambda x: tg.Tensor(np.zeros(2, complex)),
        lambda x: tg.Tensor([1.0], dtype=complex),
        lambda x: x * 1j,
        lambda x: 1j * x,
        lambda x: np.array([1j, 2]) + x,
        lambda x: np.complex64(1j) + x,
        lambda x: tg.matmul(x, np.array([1j, 2])),
        lambda x: tg.concatenate([x, np.array([1j])]),
        lambda x: tg.where(x > 0, x, 1j),
        lambda x: x.astype(complex),
        lambda x: tg.astype(x, np.complex64),
        lambda x: x**1j,
    ],
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_complex_is_refused(make, requires_grad):
    """Complex numbers are refused at the door, by every way in, with the dtype named."""
    with pytest.raises(TinygradError, match="complex"):
        make(tg.Tensor([1.0, 2.0], requires_grad=requires_grad))


@pytest.mark.parametrize(
    "data", ["a", [1.0, None], [object()], {"a": 1}, [10**30, 1], np.array(["1"]),
             np.array("2020-01-01", "M8[D]")],
    ids=["text", "None", "object", "dict", "huge", "texts", "date"],
)  # fmt: skip
def test_values_are_never_objects_or_text(data):
    """Whatever NumPy would store as objects or text is refused."""
    with pytest.raises(DtypeError):
        tg.Tensor(data)
    with pytest.raises((TinygradError, OverflowError)):
        tg.Tensor([1.0]) * data
    with pytest.raises((TinygradError, OverflowError)):
        np.zeros(1) + tg.Tensor([1.0]) + data


@pytest.mark.parametrize("dtype", [object, str, "M8[s]"], ids=str)
def test_astype_gives_numbers_only(dtype):
    """A Tensor does not become text, objects or dates."""
    with pytest.raises(TinygradError):
        tg.Tensor([1.0, 2.0]).astype(dtype)


def test_a_wide_cotangent_does_not_widen():
    """A float64 cotangent of a float32 output gives float32 gradients."""
    x = tg.Parameter(np.ones(3, np.float32))
    out = x * 2
    out.backward(np.array([1.0, 2.0, 3.0]))
    assert x.grad.dtype == np.float32
    for seed in (np.ones(3), tg.Tensor(np.ones(3)), tg.Tensor([1, 1, 1])):
        own, given = tg.gradients(out, [out, x], seed)
        assert own.dtype == given.dtype == np.float32
        np.testing.assert_array_equal(given.numpy(), [2, 2, 2])


def test_declared_ops_know_their_own_shape():
    """Shape rules agree with NumPy for every fitting pair of shapes, and refuse others."""
    shape = op_of(ops.add).shape
    for left, right in itertools.product(SHAPES, SHAPES):
        if (left, right) in FITTING:
            assert shape(left, right) == np.broadcast_shapes(left, right)
        else:
            with pytest.raises(ValueError, match="sizes"):
                shape(left, right)


def test_cotangents_on_the_way_have_the_dtype_of_their_values():
    """A float64 constant widens a value, and its cotangent no further back than it."""
    seen = []

    def look(g, _out, _x):
        seen.append(np.asarray(g).dtype)
        return g

    register = dict(REGISTRY)
    try:

        @tg.elementwise(formula="$x", vjp=look, samples=())
        def watched(x):
            return x * 1

    finally:
        REGISTRY.clear()
        REGISTRY.update(register)
    x = tg.Parameter(np.ones(3, np.float32))
    wide = watched(watched(watched(x) * 2) * np.ones(3)) * 2
    for pull in (wide.sum().backward, lambda: wide.backward(np.ones(3))):
        seen.clear()
        pull()
        assert seen == [np.float64, np.float32, np.float32]


@pytest.mark.parametrize(
    ("source", "destination"),
    [((0, 1), (0, 0)), ((0, 0), (0, 1)), ((0,), (0, 1)), (0, (0, 1))],
)
def test_axes_move_to_places_of_their_own(source, destination):
    """Two axes cannot move to one place, nor one to two, in NumPy as here."""
    a = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"source|destination"):
        np.moveaxis(a, source, destination)
    with pytest.raises(ValueError, match="once"):
        tg.moveaxis(tg.Tensor(a), source, destination)
