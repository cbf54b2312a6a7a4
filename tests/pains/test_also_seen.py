"""Reports seen once or twice: higher orders, structures, integers, shapes of gradients."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

import tinygrad_nn as tg
from pains.asking import orders, slopes
from tinygrad_nn.errors import DtypeError, ShapeError
from tinygrad_nn.ops.samples import reals

# --- Also seen: higher orders ---


def test_mygrad_442_higher_orders():
    """Second derivatives were answered with "nope, use another library"; here a gradient is a graph, and its gradient the next.

    Also micrograd #3, tinygrad #5858, chainer #388.
    """
    assert [d.item() for d in orders(lambda x: x**3, 3.0, 3)] == [27.0, 27.0, 18.0, 6.0]
    hessian = tg.hessian(lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)
    x, y = 0.5, -1.5
    wanted = [[1200 * x**2 - 400 * y + 2, -400 * x], [-400 * x, 200.0]]  # Rosenbrock's
    np.testing.assert_allclose(hessian(np.array([x, y])), wanted, rtol=1e-14)


def test_pytorch_1483_gradient_penalty():
    """The penalty on a network's gradient, an expression of gradients, could not be differentiated; here it is, and agrees with its closed form."""
    rng = np.random.default_rng(0)
    W, v, x = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(5, 3))

    def penalty(W, v):
        inputs = tg.Parameter(x)
        (slope,) = tg.gradients(np.sum(np.tanh(inputs @ W.T) @ v), [inputs])
        return np.mean((np.linalg.norm(slope, axis=1) - 1) ** 2)

    def closed(W, v):
        slope = (v * (1 - np.tanh(x @ W.T) ** 2)) @ W
        return np.mean((np.sqrt(np.sum(slope**2, axis=1)) - 1) ** 2)

    for found, wanted in zip(slopes(penalty, W, v), slopes(closed, W, v), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)
    assert tg.check.check_gradients(penalty, W, v).ok


def test_hips_84_product_with_the_hessian():
    """A Hessian was computed to be multiplied by a vector, and that was most of the time; here the product is there without the matrix, and agrees."""
    rng = np.random.default_rng(0)
    A, x, v = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5)

    def f(x):
        return np.sum(np.exp(A @ x / 5)) + np.prod(x)

    hessian = tg.hessian(f)(x)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
    np.testing.assert_allclose(tg.hvp(f, x, v), hessian @ v, rtol=1e-12)


# --- Also seen: structures of parameters ---


def layers(rng, sizes):
    return [
        (0.1 * rng.normal(size=(m, n)), 0.1 * rng.normal(size=n))
        for m, n in itertools.pairwise(sizes)
    ]


def net_loss(theta, X, y):
    for W, b in theta:
        outputs = np.dot(X, W) + b
        X = np.tanh(outputs)
    return np.square(outputs - y).mean()


def test_hips_413_hessian_of_a_network():
    """The Hessian by a list of weights and biases was an error; here gradient and Hessian have the list's form, and agree with those of the flat vector.

    Also HIPS #454, jax #173.
    """
    rng = np.random.default_rng(0)
    theta, X, y = (
        layers(rng, [3, 2, 1]),
        rng.normal(size=(4, 3)),
        rng.normal(size=(4, 1)),
    )
    gradient = tg.grad(net_loss)(theta, X, y)
    assert [(W.shape, b.shape) for W, b in gradient] == [
        (W.shape, b.shape) for W, b in theta
    ]
    blocks = tg.hessian(net_loss)(theta, X, y)
    vector, unflatten = tg.transforms.flatten(theta)
    flat = tg.hessian(lambda v: net_loss(unflatten(v), X, y))(vector)
    np.testing.assert_allclose(
        blocks[0][0][0][0].reshape(6, 6), flat[:6, :6], rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(
        blocks[0][0][1][0].reshape(6, 2), flat[:6, 8:10], rtol=1e-12, atol=1e-15
    )


def test_hips_198_through_steps_of_descent():
    """A gradient through steps of descent worked for arrays, and not for a list of them; here it does for both, and they agree."""
    rng = np.random.default_rng(0)
    start, offset, y = (
        rng.normal(size=(1, 3)),
        rng.normal(size=1),
        rng.normal(size=(3, 1)),
    )

    def descended(objective, x, y):
        for _step in range(5):
            slope = tg.grad(objective, argnums=1)(y, x)
            x = [a - 0.1 * s for a, s in zip(x, slope, strict=True)]
        return objective(y, x)

    found = tg.grad(
        lambda y: descended(
            lambda y, x: np.sum(np.dot(x[0], y) + x[1]), [start, offset], y
        )
    )(y)
    # x moves by -0.1 y, five times: the result is (start - 0.5 y') y + offset - 0.5.
    np.testing.assert_allclose(found, start.T - y, rtol=1e-14)


def test_hips_458_minimising_over_a_structure():
    """Optimisers of SciPy take flat vectors only; here a dict of parameters goes in and out through `flatten`, with gradient and Hessian products.

    Also scipy #7620, pytorch #55279, HIPS #358.
    """
    minimize = pytest.importorskip("scipy.optimize").minimize
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    y = X @ [1.0, -2.0, 3.0] + 0.5

    def cost(p, scale):
        return scale * np.mean((X @ p["w"] + p["b"] - y) ** 2)

    vector, unflatten = tg.transforms.flatten({"w": np.zeros(3), "b": np.zeros(())})

    def flat(v, scale):
        return cost(unflatten(v), scale)

    found = minimize(
        tg.value_and_grad(flat), vector, args=(2.0,), jac=True, method="Newton-CG",
        hessp=lambda v, p, scale: tg.hvp(flat, v, p, scale), options={"xtol": 1e-12},
    )  # fmt: skip
    p = unflatten(found.x)
    np.testing.assert_allclose([*p["w"], p["b"]], [1.0, -2.0, 3.0, 0.5], rtol=1e-8)


def test_hips_336_arguments_by_name():
    """An argument passed by its name was not traced, and the gradient an IndexError or zero; here it counts like any other.

    Also HIPS #69, mlx #1072.
    """
    assert tg.grad(lambda x: tg.logsumexp(x=np.array([1.0]) * x))(0.0) == 1.0
    assert tg.grad(lambda x, y: x * y)(x=2.0, y=3.0) == 3.0
    assert tg.grad(lambda x, y: x * y, argnames="y")(2.0, y=3.0) == 2.0


# --- Also seen: complex numbers and integers ---


def test_jax_9110_complex_numbers():
    """Of the gradient by a complex number two libraries return conjugates of each other; here complex is refused by name, and two real parts have no convention.

    Also jax #4891, jax #15872, pytorch #41857.
    """
    with pytest.raises(
        DtypeError, match=r"complex.*real and imaginary part in two Tensors"
    ):
        tg.grad(lambda z: np.abs(z) ** 2)(np.array(3.0 + 4.0j))
    x, y = slopes(lambda x, y: x**2 + y**2, 3.0, 4.0)
    assert (x, y) == (6.0, 8.0)


def test_pytorch_53466_integers_that_require_a_gradient():
    """`tensor([1], requires_grad=True)`, from the documentation, was an error; here integers that require a gradient are float64, and integer data stays integer.

    Also pytorch #7034, pytorch #54506, HIPS #229, tinygrad #9723.
    """
    x = tg.Tensor([1], requires_grad=True)
    np.sum(x * 2).backward()
    assert (x.dtype, x.grad.tolist()) == (np.float64, [2.0])
    assert tg.Tensor([1]).dtype == np.int64
    assert tg.grad(np.sum)(np.arange(4)).tolist() == [1.0] * 4
    with pytest.raises(DtypeError, match="int64"):
        tg.Tensor([1], requires_grad=True, dtype=np.int64)


def test_pytorch_37680_positions_have_no_gradient():
    """A position found by `argmax` said that it requires a gradient, and failed later; here it is a constant from the start."""
    t = tg.Parameter([0.5, 2.0, 1.0])
    place = np.argmax(t)
    assert int(place) == 1
    assert not getattr(place, "requires_grad", False)
    assert slopes(lambda t: t * 3.0 + np.argmax(t), t.data).tolist() == [3.0] * 3


# --- Also seen: the cost of small operations ---


def calls(f):
    """Return how many functions of Python a call of ``f`` calls, itself not counted."""
    counted = []
    sys.setprofile(lambda _frame, event, _arg: counted.append(event == "call"))
    try:
        f()
    finally:
        sys.setprofile(None)
    return sum(counted) - 1


def test_pytorch_2518_calls_of_a_small_operation():
    """Operations of a few numbers cost more in bookkeeping than in arithmetic; here recording one takes three calls of Python functions at most, and in a compiled step none.

    Also pytorch #41383, HIPS #157, HIPS #255.
    """
    x, y = tg.Parameter(np.ones(3)), tg.Parameter(np.ones(3))
    assert calls(lambda: x * y) <= 3
    assert calls(lambda: np.exp(x)) <= 3 + 2  # and NumPy's way to it
    short = tg.compile(lambda a, b: a * b)
    long = tg.compile(lambda a, b: np.exp(a * b + a) * b + np.tanh(a))
    counted = [
        [calls(lambda step=step: step(x.data, y.data)) for _ in range(3)][-1]
        for step in (short, long)
    ]
    assert counted[0] == counted[1]


def test_hips_136_repeated_places():
    """Adding up the gradients of repeated places was slow, or lost all but the last; here they add up, in every kind of index.

    Also numpy #5922.
    """
    rng = np.random.default_rng(0)
    places, weight = rng.integers(0, 50, 1000), rng.normal(size=(1000, 2))
    found = slopes(lambda x: x[places] * weight, rng.normal(size=(50, 2)))
    wanted = np.zeros((50, 2))
    for place, row in zip(places, weight, strict=True):
        wanted[place] += row
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert slopes(lambda x: x[[0, 0, 2], [1, 1, 0]], np.ones((3, 2))).tolist() == [
        [0, 2],
        [0, 0],
        [1, 0],
    ]


# --- Also seen: gradients of a wrong shape ---


@pytest.fixture
def _own_ops_forgotten(monkeypatch):
    monkeypatch.setattr(tg.op, "REGISTRY", dict(tg.op.REGISTRY))


@pytest.mark.usefixtures("_own_ops_forgotten")
def test_pytorch_65244_custom_gradient_of_a_wrong_shape():
    """An own op whose rule returns (4, 3) for an operand of (3,) had the sum taken, [4, 4, 4]; here it is refused, with both shapes.

    Also pytorch #17893, SAN #3.
    """

    @tg.primitive(
        kind="reduction",
        formula="1",
        shape=lambda x: (),
        vjp=lambda _g, _out, _x: np.ones((4, 3)),
        samples=[],
        refuses=[],
    )
    def one(x):
        return np.float64(1.0)

    y = tg.Parameter(np.ones(3))
    with pytest.raises(
        ShapeError, match=r"one: .*\(4, 3\) for an operand of shape \(3,\)"
    ):
        one(y).backward()
    with pytest.raises(
        ShapeError, match=r"one: .*\(4, 3\) for an operand of shape \(3,\)"
    ):
        tg.gradients(one(y), [y])


@pytest.mark.usefixtures("_own_ops_forgotten")
def test_pytorch_65244_elementwise_gradient_of_a_wrong_shape():
    """Nor was it refused for an op of elements; here it is, with both shapes."""

    @tg.elementwise(
        formula="$x", vjp=lambda _g, _out, _x: np.ones((4, 3)), samples=reals(1)
    )
    def same(x):
        return x * 1.0

    y = tg.Parameter(np.ones(3))
    with pytest.raises(
        ShapeError, match=r"same: .*\(4, 3\) for an operand of shape \(3,\)"
    ):
        np.sum(same(y)).backward()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1,), (1, 2)),
        ((1,), (5, 4)),
        ((4, 1), (1, 4)),
        ((), (2, 3)),
        ((2, 1), (2, 3)),
        ((2, 1, 4, 6), (2, 1, 4, 1)),
    ],
)
def test_minitorch_1_broadcast_is_undone(first, second):
    """How a gradient gets back the shape of what was broadcast kept students for two days; here it has that shape, and the sum over the copies.

    Also minitorch/Module-2 #14, pytorch #1787, pytorch #144228, tt-metal #40008.
    """
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=first), rng.normal(size=second)
    by_a, by_b = slopes(lambda a, b: a * b, a, b)
    whole = np.broadcast_shapes(first, second)
    for found, own, other in ((by_a, a, b), (by_b, b, a)):
        wanted = np.zeros(own.shape)
        places = np.broadcast_to(np.arange(own.size).reshape(own.shape), whole)
        np.add.at(wanted.ravel(), places.ravel(), np.broadcast_to(other, whole).ravel())
        assert found.shape == own.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((3, 4), (4,)),
        ((4,), (4, 3)),
        ((4,), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((4, 4), (4,)),
    ],
)
def test_cs249r_1781_products_with_a_vector(first, second):
    """The gradient of a matrix times a vector had a wrong shape, or was a number, silently, for a square matrix; here it is the sum of outer products.

    Also candle #273, CrypTen #140, pytorch #3303, joey00072/Tinytorch #3.
    """
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=first), rng.normal(size=second)
    g = rng.normal(size=np.shape(A @ b))
    by_A, by_b = slopes(lambda A, b: (A @ b) * g, A, b)
    assert (by_A.shape, by_b.shape) == (A.shape, b.shape)
    for found, own, f in ((by_A, A, lambda A: A @ b), (by_b, b, lambda b: A @ b)):
        basis = np.eye(own.size).reshape(own.size, *own.shape)
        wanted = [np.sum(g * f(e)) for e in basis]  # the product is linear in each
        np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-12, atol=1e-14)


def test_cs249r_1867_mean_over_several_axes():
    """The gradient of a mean over axes (1, 2) was spread in a wrong shape; here it is the upstream over 12, for every spelling of the axes."""
    for axis in ((1, 2), (2, 1), (-1, -2)):
        found = slopes(
            lambda t, axis=axis: np.mean(t, axis=axis) * [1.0, 10.0], np.ones((2, 3, 4))
        )
        np.testing.assert_allclose(
            found, np.full((2, 3, 4), 1 / 12) * [[[1.0]], [[10.0]]], rtol=1e-15
        )


def test_hips_384_broadcast_to_new_axes():
    """`broadcast_to` a shape of more axes had a gradient of a wrong shape; here it has that of its operand."""
    found = slopes(lambda x: np.broadcast_to(x, (4, 2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(found, np.full((2, 3), 4.0))


@pytest.mark.parametrize("size", [(3, 5), (5, 3), (2, 3), (4, 4)])
def test_pytorch_4538_diagonal_of_a_rectangle(size):
    """The gradient of the diagonal of a rectangle was a square; here it has the rectangle's shape, and ones on the diagonal.

    Also pytorch #4299, HIPS #372.
    """
    x = np.random.default_rng(0).normal(size=size)
    for f in (np.diag, np.diagonal):
        np.testing.assert_array_equal(slopes(f, x), np.eye(*size))
    np.testing.assert_array_equal(
        slopes(lambda x: np.diag(x, 1), x), np.eye(*size, k=1)
    )
    found = slopes(lambda x: np.diag(tg.log_softmax(x, 1), 1), x)
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    above = np.eye(*size, k=1)
    wanted = above - p * above.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_pytorch_171704_trace_of_a_tall_matrix():
    """The gradient of the trace of a (4, 2) matrix had a third 1, off the diagonal; here it has two, on it.

    Also pytorch #174040, pytorch #175068.
    """
    for size in ((4, 2), (5, 2), (7, 3), (4, 1), (1, 5), (2, 5)):
        np.testing.assert_array_equal(slopes(np.trace, np.zeros(size)), np.eye(*size))


# --- Also seen: what a ready-made network does not let do ---


def test_sklearn_9113_weights_of_classes():
    """For eight years a ready-made network took no weights of classes or examples; here every loss does, and a weight of 3 is the example three times.

    Also scikit-learn #11723, scikit-learn #25326, scikit-learn #25646.
    """
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(6, 3)), np.array([0, 1, 2, 2, 0, 1])
    weight = np.array([1, 3, 2, 1, 2, 1])
    weighted = slopes(lambda z: tg.losses.cross_entropy(z, y, sample_weight=weight), z)
    repeated = slopes(
        lambda z: tg.losses.cross_entropy(
            z[np.repeat(np.arange(6), weight)], np.repeat(y, weight)
        ),
        z,
    )
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)
    by_class = tg.losses.cross_entropy(z, y, class_weight={1: 3.0, 2: 2.0})
    by_example = tg.losses.cross_entropy(
        z, y, sample_weight=np.array([1.0, 3.0, 2.0])[y]
    )
    np.testing.assert_allclose(by_class, by_example, rtol=1e-14)


def test_sklearn_10097_activation_of_each_layer():
    """An activation for each layer was asked for and closed, as were the outputs of hidden layers; here a layer has its own, and any node can be read and differentiated.

    Also scikit-learn #9468, scikit-learn #11791.
    """
    first, second = (
        tg.nn.Dense(4, 5, activation="tanh", rng=0),
        tg.nn.Dense(5, 1, activation="sigmoid", rng=1),
    )
    X = np.random.default_rng(0).normal(size=(3, 4))
    hidden = first(X)
    output = second(hidden)
    np.testing.assert_allclose(
        hidden.numpy(), np.tanh(X @ first.weight.data.T), rtol=1e-14
    )
    (slope,) = tg.gradients(np.sum(output), [hidden])
    a = output.numpy()
    np.testing.assert_allclose(
        slope.numpy(), a * (1 - a) * second.weight.data, rtol=1e-12
    )


def test_pytorch_53445_gradients_of_each_example():
    """A gradient for each example took a loop, or an API of its own with restrictions; here it is a jacobian of the losses, and the loop agrees.

    Also pytorch #156616, pytorch #132378, functorch #381.
    """
    rng = np.random.default_rng(0)
    W, X = rng.normal(size=(1, 16)), rng.normal(size=(5, 16))
    found = tg.jacobian(lambda W: np.sum((X @ W.T) ** 2, axis=1))(W)
    assert found.shape == (5, 1, 16)
    for x, gradient in zip(X, found, strict=True):
        np.testing.assert_allclose(gradient, 2 * (x @ W.T) * x[None], rtol=1e-13)
