"""Transforms against closed forms, alone and nested in several orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DtypeError, GradientError, OpError, ShapeError

A = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.5, -1.0, 4.0]])
S = A + A.T
x0 = np.array([0.3, -0.7, 1.1])
y0 = np.array([1.5, 0.5, 2.0])
v0 = np.array([1.0, -2.0, 0.5])


def spread_of(p):
    """Covariance of a choice with probabilities p: the Jacobian of the softmax."""
    return np.diag(p) - np.outer(p, p)


# f of a vector to a number, with gradient and Hessian in closed form
SCALARS = {
    "quadratic": (lambda x: 0.5 * (x @ S @ x), lambda x: S @ x, lambda x: S),
    "cubic": (lambda x: (x**3).sum(), lambda x: 3 * x**2, lambda x: np.diag(6 * x)),
    "linear": (lambda x: (x * v0).sum(), lambda x: v0, lambda x: np.zeros((3, 3))),
    "product": (
        tg.prod,
        lambda x: np.prod(x) / x,
        lambda x: np.prod(x) * (np.outer(1 / x, 1 / x) - np.diag(1 / x**2)),
    ),
    "logsumexp": (
        tg.logsumexp,
        lambda x: np.exp(x) / np.exp(x).sum(),
        lambda x: spread_of(np.exp(x) / np.exp(x).sum()),
    ),
    "squared norm of a product": (
        lambda x: ((A @ x) ** 2).sum(),
        lambda x: 2 * A.T @ A @ x,
        lambda x: 2 * A.T @ A,
    ),
    "exp of a form": (
        lambda x: tg.exp(x @ v0),
        lambda x: v0 * np.exp(x @ v0),
        lambda x: np.outer(v0, v0) * np.exp(x @ v0),
    ),
    "norm": (
        tg.norm,
        lambda x: x / np.linalg.norm(x),
        lambda x: (np.eye(3) - np.outer(x, x) / (x @ x)) / np.linalg.norm(x),
    ),
    "numpy's own": (
        lambda x: np.sum(np.sin(x) * np.cos(x)),
        lambda x: np.cos(2 * x),
        lambda x: np.diag(-2 * np.sin(2 * x)),
    ),
    "a log of a sigmoid": (
        lambda x: np.sum(np.log(1 / (1 + np.exp(-x)))),
        lambda x: 1 / (1 + np.exp(x)),
        lambda x: np.diag(-1 / (1 + np.exp(x)) / (1 + np.exp(-x))),
    ),
}
# f of a vector to a vector, with its Jacobian in closed form
VECTORS = {
    "linear": (lambda x: A @ x, lambda x: A),
    "elementwise": (tg.tanh, lambda x: np.diag(1 - np.tanh(x) ** 2)),
    "outer": (lambda x: x[:, None] * x, lambda x: np.einsum("ik,j->ijk", np.eye(3), x) + np.einsum("jk,i->ijk", np.eye(3), x)),
    "softmax": (tg.softmax, lambda x: spread_of(np.exp(x) / np.exp(x).sum())),
    "a number": (lambda x: (x * x).sum(), lambda x: 2 * x),
    "picked": (lambda x: x[[2, 2]], lambda x: np.eye(3)[[2, 2]]),
    "cumsum": (tg.cumsum, lambda x: np.tril(np.ones((3, 3)))),
}  # fmt: skip


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SCALARS)
def test_grad_is_the_closed_form(name):
    """grad and value_and_grad give the explicit gradient, as an array of the same shape."""
    f, gradient, _ = SCALARS[name]
    g = tg.grad(f)(x0)
    assert type(g) is np.ndarray
    close(g, gradient(x0))
    value, again = tg.value_and_grad(f)(x0)
    assert type(value) is np.ndarray
    close(value, f(tg.Tensor(x0)).item())
    np.testing.assert_array_equal(again, g)


def gradients_twice(f):
    def hessian(x):
        x = tg.Parameter(x)
        (g,) = tg.gradients(f(x), [x])
        rows = [tg.gradients(g, [x], e, unused="zero")[0].numpy() for e in np.eye(3)]
        return np.stack(rows)

    return hessian


HESSIANS = {
    "hessian": tg.hessian,
    "jacobian of grad": lambda f: tg.jacobian(tg.grad(f)),
    "grads of rows": lambda f: (
        lambda x: np.stack(
            [tg.grad(lambda y, i=i: tg.grad(f)(y)[i])(x) for i in range(3)]
        )
    ),
    "vjps of grad": lambda f: (
        lambda x: np.stack([tg.vjp(tg.grad(f), x)[1](e)[0] for e in np.eye(3)])
    ),
    "jvps of grad": lambda f: (
        lambda x: np.stack([tg.jvp(tg.grad(f), [x], [e])[1] for e in np.eye(3)], axis=1)
    ),
    "grads of jvps": lambda f: (
        lambda x: np.stack(
            [tg.grad(lambda y, e=e: tg.jvp(f, [y], [e])[1])(x) for e in np.eye(3)]
        )
    ),
    "jvps of jvps": lambda f: (
        lambda x: np.array(
            [
                [
                    tg.jvp(lambda y, e=e: tg.jvp(f, [y], [e])[1], [x], [d])[1]
                    for d in np.eye(3)
                ]
                for e in np.eye(3)
            ]
        )
    ),
    "hvps": lambda f: lambda x: np.stack([tg.hvp(f, x, e) for e in np.eye(3)]),
    "jacobian of a vjp": lambda f: tg.jacobian(lambda y: tg.vjp(f, y)[1](1.0)[0]),
    "gradients twice": gradients_twice,
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("how", HESSIANS)
def test_every_way_to_the_hessian_arrives(how, name):
    """Second derivatives do not depend on which transforms are nested, in which order."""
    f, _, hessian = SCALARS[name]
    close(HESSIANS[how](f)(x0), hessian(x0))


@pytest.mark.parametrize("name", VECTORS)
def test_jacobians_forwards_and_backwards(name):
    """jacobian, rows of vjp and columns of jvp are one matrix, the explicit one."""
    f, jacobian = VECTORS[name]
    wanted = jacobian(x0)
    close(tg.jacobian(f)(x0), wanted)
    value, pull = tg.vjp(f, x0)
    rows = [pull(e.reshape(value.shape))[0] for e in np.eye(value.size)]
    close(np.reshape(rows, wanted.shape), wanted)
    columns = []
    for e in np.eye(3):
        again, column = tg.jvp(f, [x0], [e])
        np.testing.assert_array_equal(again, value)
        columns.append(column)
    close(np.stack(columns, axis=-1), wanted)


@pytest.mark.parametrize("name", VECTORS)
def test_forward_and_backward_are_adjoint(name):
    """<u, J v> is <Jᵀ u, v> for any u and v."""
    f, _ = VECTORS[name]
    rng = np.random.default_rng(0)
    value, pull = tg.vjp(f, x0)
    u, v = rng.normal(size=value.shape), rng.normal(size=3)
    _, pushed = tg.jvp(f, [x0], [v])
    assert np.sum(u * pushed) == pytest.approx(np.sum(pull(u)[0] * v), rel=1e-12)


def test_third_and_fourth_derivatives():
    """grad nests as often as it is asked to."""
    f = tg.sin
    for wanted in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin):
        f = tg.grad(f)
        close(f(0.7), wanted(0.7))
    close(tg.jacobian(tg.hessian(lambda x: (x**4).sum()))(x0)[1, 1, 1], 24 * x0[1])


def test_hvp_is_the_hessian_times_the_vector():
    """hvp never forms the matrix, and agrees with it for vectors and matrices."""
    for f, _, hessian in SCALARS.values():
        close(tg.hvp(f, x0, v0), hessian(x0) @ v0)
    M = np.arange(6.0).reshape(2, 3)
    close(tg.hvp(lambda m: (m**3).sum(), M, np.ones((2, 3))), 6 * M)


# --- nesting over different variables ------------------------------------------------


def test_an_inner_transform_sees_the_outer_variable():
    """d/dx of x · d/dy (x y²) at y = 1 is 4 x: the inner result depends on x."""
    one = np.ones(1)
    for inner in (
        lambda x: tg.grad(lambda y: (x * y * y).sum())(one),
        lambda x: tg.value_and_grad(lambda y: (x * y * y).sum())(one)[1],
        lambda x: tg.jacobian(lambda y: x * y * y)(one)[0],
        lambda x: tg.vjp(lambda y: x * y * y, one)[1](one)[0],
        lambda x: tg.jvp(lambda y: x * y * y, [one], [one])[1],
        lambda x: tg.hessian(lambda y: (x * y**3).sum() / 3)(one)[0],
        lambda x: tg.hvp(lambda y: (x * y**3).sum() / 3, one, one),
        lambda x: tg.grad(lambda y, z: (z * y * y).sum())(one, x),
        lambda x: tg.grad(lambda y, z: (z * y * y).sum())(one, z=x),
    ):
        x = np.array([3.0])
        close(tg.grad(lambda x, inner=inner: (x * inner(x)).sum())(x), [12.0])
        close(tg.jvp(lambda x, inner=inner: x * inner(x), [x], [one])[1], [12.0])
        close(tg.jacobian(lambda x, inner=inner: x * inner(x))(x), [[12.0]])


def test_perturbations_are_not_confused():
    """d/dx (x · d/dy (x + y)) is 1, as each variable is its own."""
    f = tg.grad(lambda x: x * tg.grad(lambda y: x + y)(1.0))
    close(f(5.0), 1.0)
    g = tg.jvp(lambda x: x * tg.jvp(lambda y: x + y, [1.0], [1.0])[1], [5.0], [1.0])
    close(g[1], 1.0)


def test_an_inner_transform_of_something_else_stays_an_array():
    """Inside of another transform, what does not depend on its variables is an array."""
    kept = []

    def f(x):
        kept.append(tg.grad(lambda y: (y * y).sum())(y0))
        return (x * kept[0]).sum()

    close(tg.grad(f)(x0), 2 * y0)
    assert type(kept[0]) is np.ndarray


def test_a_failing_function_leaves_no_trace():
    """After an error inside, the next transform gives arrays again."""
    with pytest.raises(ZeroDivisionError):
        tg.grad(lambda x: 1 / 0)(x0)
    assert type(tg.grad(lambda x: (x * x).sum())(x0)) is np.ndarray


# --- arguments -----------------------------------------------------------------------


def weighted(x, y, *, p=2, scale=1.0):
    return (scale * x**p * y).sum()


def test_argnums():
    """A position gives its gradient; several give a tuple, in the order asked for."""
    dx, dy = 2 * x0 * y0, x0**2
    close(tg.grad(weighted)(x0, y0), dx)
    close(tg.grad(weighted, 1)(x0, y0), dy)
    close(tg.grad(weighted, -1)(x0, y0), dy)
    close(tg.grad(weighted, np.int64(1))(x0, y0), dy)
    for argnums, wanted in [((0, 1), (dx, dy)), ([1, 0], (dy, dx)), ((1,), (dy,))]:
        found = tg.grad(weighted, argnums)(x0, y0)
        assert type(found) is tuple
        assert len(found) == len(wanted)
        for g, w in zip(found, wanted, strict=True):
            close(g, w)
    value, (gx, gy) = tg.value_and_grad(weighted, (0, 1))(x0, y0)
    close(value, (x0**2 * y0).sum())
    close(gx, dx)
    close(gy, dy)
    close(tg.jacobian(lambda x, y: x * y, 1)(x0, y0), np.diag(x0))
    close(tg.hessian(weighted, 0)(x0, y0), np.diag(2 * y0))


def test_argnums_that_are_names_are_refused():
    """A name among argnums is refused by name, and argnames are told of."""
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    with pytest.raises(OpError, match=r"^grad: .* got argnums='x'\. Name .* argnames="):
        tg.grad(weighted, "x")(x, y)


@pytest.mark.parametrize("argnums", [2, -3, (0, 2), (0, 0), (0, -2), ()], ids=str)
def test_wrong_argnums_are_refused(argnums):
    """Positions that are not there, or named twice, are an error that counts them."""
    with pytest.raises(OpError, match="2 positional"):
        tg.grad(weighted, argnums)(x0, y0)
    if np.ndim(argnums) == 0:
        with pytest.raises(OpError, match="2 positional"):
            tg.jacobian(weighted, argnums)(x0, y0)


def test_keywords_are_passed_on():
    """Keyword arguments reach the function and are not differentiated."""
    close(tg.grad(weighted)(x0, y0, p=3, scale=2.0), 6 * x0**2 * y0)
    close(tg.jacobian(weighted)(x0, y0, p=1), y0)
    close(tg.hessian(weighted)(x0, y=y0, p=3), np.diag(6 * x0 * y0))


def test_other_arguments_may_be_anything():
    """What is not differentiated is passed as it is."""

    def f(x, how, table):
        assert how == "twice"
        return (table["a"] * x).sum()

    close(tg.grad(f)(x0, "twice", {"a": v0}), v0)


@pytest.mark.parametrize(
    "given", [[0.3, -0.7, 1.1], (0.3, -0.7, 1.1), x0, np.float32(x0)], ids=type
)
def test_arguments_of_every_kind(given):
    """Lists and arrays, float32 and whole numbers are taken as NumPy takes them."""
    g = tg.grad(lambda x: (x * x).sum())(given)
    np.testing.assert_allclose(g, 2 * x0, rtol=1e-6)
    assert g.dtype == (
        np.float32 if np.asarray(given).dtype == np.float32 else np.float64
    )


def test_whole_numbers_become_float64():
    """An integer has no slope, so it is differentiated as a float64."""
    for three in (3, np.array(3), tg.Tensor(3)):
        g = tg.grad(lambda x: x**2)(three)
        assert g.dtype == np.float64
        assert g.item() == 6.0
    for wrong in ("abc", 1j, None):
        with pytest.raises(DtypeError):
            tg.grad(lambda x: x)(wrong)


# --- Tensors in, Tensors out ---------------------------------------------------------


def test_tensors_in_tensors_out():
    """Any Tensor among the arguments makes the results Tensors of the graph."""
    W = tg.Parameter(x0)
    f = weighted
    results = [
        tg.grad(f)(W, y0), tg.grad(f)(x0, tg.Tensor(y0)), tg.grad(f, 1)(W, y0),
        tg.grad(f)(x0, y=tg.Tensor(y0)), *tg.value_and_grad(f)(W, y0),
        *tg.grad(f, (0, 1))(W, y0), tg.jacobian(f)(W, y0), tg.hessian(f)(W, y0),
        *tg.jvp(f, [W, y0], [v0, v0]), *tg.jvp(f, [x0, y0], [tg.Tensor(v0), v0]),
        tg.vjp(f, W, y0)[0], *tg.vjp(f, W, y0)[1](1.0), *tg.vjp(f, x0, y0)[1](tg.Tensor(1.0)),
        tg.hvp(lambda x: (x**3).sum(), W, v0), tg.hvp(lambda x: (x**3).sum(), x0, tg.Tensor(v0)),
    ]  # fmt: skip
    for result in results:
        assert isinstance(result, tg.Tensor)
    assert W.grad is None


def test_a_loss_made_of_a_gradient_trains():
    """backward goes through a transform's result to the parameter it was given."""
    W = tg.Parameter(x0)
    g = tg.grad(lambda x: (x**3).sum())(W)
    (g * g).sum().backward()
    close(W.grad, 2 * 3 * x0**2 * 6 * x0)


def test_results_given_arrays_are_arrays_of_their_own():
    """What comes back is writable, shares nothing, and leaves arguments as they were."""
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    seed = np.ones((2, 2))
    x.setflags(write=False)
    seed.setflags(write=False)
    results = [
        tg.grad(tg.sum)(x),
        tg.grad(lambda a: a.sum(axis=0).sum())(x),
        *tg.value_and_grad(lambda a: a.T[0, 0])(x),
        tg.vjp(lambda a: a.reshape(4), x)[0],
        tg.vjp(lambda a: a, x)[0],
        *tg.vjp(lambda a: a.T, x)[1](seed),
        *tg.vjp(lambda a: a + 0, x)[1](seed),
        *tg.jvp(lambda a: a, [x], [seed]),
        tg.jacobian(lambda a: a)(x),
        tg.hessian(tg.sum)(x),
    ]
    for result in results:
        assert type(result) is np.ndarray
        assert result.flags.writeable
        assert not np.shares_memory(result, x)
        assert not np.shares_memory(result, seed)


def test_transforms_work_under_no_grad():
    """no_grad says that the caller needs no graph, not that slopes are 0."""
    f = SCALARS["cubic"][0]
    with tg.no_grad():
        close(tg.grad(f)(x0), 3 * x0**2)
        close(tg.hessian(f)(x0), np.diag(6 * x0))
        close(tg.jvp(f, [x0], [v0])[1], 3 * x0**2 @ v0)
        close(tg.vjp(f, x0)[1](1.0)[0], 3 * x0**2)
        close(tg.hvp(f, x0, v0), 6 * x0 * v0)
        quiet = tg.grad(f)(tg.Parameter(x0))
        assert quiet.op is None
        assert not quiet.requires_grad
        close(quiet.numpy(), 3 * x0**2)
        assert (tg.Parameter(x0) * 2).op is None


def test_a_model_in_the_closure_is_a_constant():
    """Parameters that are not arguments get no gradient and stay as they are."""
    W = tg.Parameter(A)
    g = tg.grad(lambda x: ((W @ x) ** 2).sum())(x0)
    assert type(g) is np.ndarray
    close(g, 2 * A.T @ A @ x0)
    assert W.grad is None
    np.testing.assert_array_equal(W.numpy(), A)


# --- edges and refusals --------------------------------------------------------------


def test_no_dependence_gives_zeros_of_the_right_kind():
    """Where there is no path, a transform returns zeros of the argument's shape and dtype."""
    x = np.ones((2, 3), np.float32)
    constant = tg.Tensor([1.0, 2.0])
    for found, shape in [
        (tg.grad(lambda x: tg.Tensor(1.0))(x), (2, 3)),
        (tg.grad(lambda x: (x > 0).sum() * 1.0)(x), (2, 3)),
        (tg.jacobian(lambda x: constant)(x), (2, 2, 3)),
        (tg.hessian(lambda x: x.sum())(x), (2, 3, 2, 3)),
        (tg.vjp(lambda x: constant, x)[1](np.ones(2))[0], (2, 3)),
        (tg.hvp(lambda x: x.sum(), x, x), (2, 3)),
        (tg.jvp(lambda x: constant, [x], [x])[1], (2,)),
    ]:
        assert found.shape == shape
        assert not found.any()
    assert tg.grad(lambda x: tg.Tensor(1.0))(x).dtype == np.float32


def test_empty_shapes():
    """No elements in, none out, in the right shapes and dtype."""
    none = np.ones((0, 2), np.float32)
    assert tg.jacobian(lambda x: x * 2)(none).shape == (0, 2, 0, 2)
    assert tg.jacobian(lambda x: x[:0])(x0).shape == (0, 3)
    assert tg.jacobian(lambda x: x * 2)(none).dtype == np.float32
    assert tg.grad(lambda x: x.sum())(none).shape == (0, 2)
    assert isinstance(tg.jacobian(lambda x: x[:0])(tg.Tensor(x0)), tg.Tensor)


def test_float32_stays_float32():
    """Every transform of float32 arrays gives float32."""
    x = np.float32(x0)
    f = SCALARS["cubic"][0]
    results = [
        tg.grad(f)(x), *tg.value_and_grad(f)(x), tg.jacobian(f)(x), tg.hessian(f)(x),
        tg.hvp(f, x, np.float32(v0)), *tg.jvp(f, [x], [v0]), *tg.vjp(f, x)[1](1.0),
    ]  # fmt: skip
    for result in results:
        assert result.dtype == np.float32


NO_TENSOR = [
    lambda x: 1.0,
    lambda x: x.numpy(),
    lambda x: None,
    lambda x: ((x * x).sum(), 2.0),
]


@pytest.mark.parametrize("f", NO_TENSOR)
@pytest.mark.parametrize(
    "call",
    [lambda f: tg.grad(f)(x0), lambda f: tg.jacobian(f)(x0), lambda f: tg.hessian(f)(x0),
     lambda f: tg.vjp(f, x0), lambda f: tg.jvp(f, [x0], [v0]), lambda f: tg.hvp(f, x0, v0)],
    ids=["grad", "jacobian", "hessian", "vjp", "jvp", "hvp"],
)  # fmt: skip
def test_a_function_that_returns_no_tensor_is_refused(f, call):
    """What was returned is named, for the function dropped its gradient."""
    with pytest.raises(GradientError, match=r"got (float|ndarray|NoneType|tuple)"):
        call(f)


def test_more_than_one_number_has_no_gradient():
    """grad of a vector names the shape and the transform for it; one element will do."""
    with pytest.raises(GradientError, match=r"\(3,\).*jacobian"):
        tg.grad(lambda x: x * 2)(x0)
    close(tg.grad(lambda x: (x * x).sum(keepdims=True))(x0), 2 * x0)


def test_tangents_and_cotangents_of_another_shape_are_refused():
    """Nothing is broadcast: a shape that differs is a mistake."""
    for wrong in (np.ones(2), np.ones((1, 3)), np.ones((3, 1)), 1.0, np.ones((2, 3))):
        for call in (
            lambda w: tg.jvp(lambda x: x * x, [x0], [w]),
            tg.vjp(lambda x: x * x, x0)[1],
            lambda w: tg.hvp(lambda x: (x**3).sum(), x0, w),
        ):
            with pytest.raises(ShapeError, match=r"\(3,\)"):
                call(wrong)
    with pytest.raises(OpError, match="one tangent"):
        tg.jvp(lambda x, y: x * y, [x0, y0], [v0])
    with pytest.raises(OpError, match="list"):
        tg.jvp(lambda x: x * x, x0, v0)


def test_a_vjp_may_be_pulled_many_times():
    """The pull is linear and keeps its graph: any number of cotangents, in any order."""
    _, pull = tg.vjp(lambda x, y: x * y, x0, y0)
    for u in (v0, 2 * v0, np.zeros(3), v0):
        gx, gy = pull(u)
        close(gx, u * y0)
        close(gy, u * x0)


def test_jvp_of_several_arguments_is_the_sum():
    """The directional derivative adds what each tangent contributes."""
    tangents = [v0, np.array([0.1, 0.2, 0.3])]
    _, slope = tg.jvp(lambda x, y: x * y, [x0, y0], tangents)
    close(slope, tangents[0] * y0 + x0 * tangents[1])


def test_mixed_partials_commute():
    """∂²/∂x∂y and ∂²/∂y∂x of one function are transposes of each other."""
    matrices = {}
    f = lambda x, y: tg.sin(x @ A @ y)
    for first, second in itertools.permutations((0, 1)):
        matrices[first] = tg.jacobian(tg.grad(f, first), second)(x0, y0)
    close(matrices[0], matrices[1].T)
    assert np.abs(matrices[0]).max() > 0.1


def test_what_asks_for_no_gradient_gets_none_from_a_transform_inside_of_a_loss() -> (
    None
):
    """A transform differentiates by a Tensor of its own; a backward stops there."""
    W, R = tg.Parameter(np.array(0.5)), tg.Tensor(np.ones(3))
    slope = tg.grad(lambda y, z: (W * y * tg.tanh(z)).sum(), argnums=(0, 1))(R, R)[0]
    (slope * slope).sum().backward()
    assert W.grad is not None
    assert R.grad is None
