"""Norms, least squares, ranks and shapes: NumPy's values at every edge, and refusals."""

from __future__ import annotations

import itertools

import laws
import numpy as np
import pytest
from test_vocabulary_linalg import BACKENDS, CALLS, inf, leaf, slope, spd

import tinygrad_nn as tg
from tinygrad_nn.errors import LinAlgError, ShapeError, UnsupportedError

# --- norms ---------------------------------------------------------------------------

VECTOR = [None, 0, 1, 2, 3, 0.5, -1, -2.5, inf, -inf]
MATRIX = [None, "fro", "f", "nuc", 1, -1, 2, -2, inf, -inf]
AXES = [(0, 1), (2, 0), (-1, 1)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, int])
def test_norms_are_numpys(dtype, rng):
    """Every order, axis and keepdims gives NumPy's value, in NumPy's dtype."""
    x = (rng.standard_normal((3, 2, 4)) * 9).astype(dtype)
    x = x + (x == 0)  # NumPy itself warns of 0 to a negative power
    tolerance = 1e-6 if dtype == np.float32 else 4e-15
    cases = [(None, None)]
    cases += [(order, axis) for order in VECTOR for axis in (0, -1, (1,))]
    cases += [(order, axis) for order in MATRIX for axis in AXES]
    for (order, axis), keepdims in itertools.product(cases, (False, True)):
        wanted = np.linalg.norm(x, order, axis, keepdims)
        found = np.linalg.norm(tg.Tensor(x), order, axis, keepdims).numpy()
        assert found.dtype == wanted.dtype
        laws.close(found, wanted, tolerance)
    for order in VECTOR[1:]:
        for axis in (None, 1, (0, 2), (2, 0, 1)):
            for keepdims in (False, True):
                options = {"ord": order, "axis": axis, "keepdims": keepdims}
                wanted = np.linalg.vector_norm(x, **options)
                found = np.linalg.vector_norm(tg.Tensor(x), **options).numpy()
                laws.close(found, wanted, tolerance)


@pytest.mark.parametrize("order", VECTOR)
def test_a_norm_of_a_zero_vector_has_the_gradient_zero(order):
    """At 0 every order has the subgradient of least norm."""
    if order == 0:
        found = np.linalg.norm(leaf(np.zeros(3)), 0)
        assert found.item() == 0
        assert not found.requires_grad
        return
    x = leaf(np.zeros(3))
    found = np.linalg.norm(x, order)  # without a warning, unlike NumPy
    with np.errstate(divide="ignore"):
        assert found.item() == np.linalg.norm(np.zeros(3), order)
    found.backward()
    assert np.array_equal(x.grad, np.zeros(3))


@pytest.mark.parametrize("order", MATRIX)
def test_a_norm_of_a_zero_matrix_has_the_gradient_zero(order):
    """At 0 every order has the subgradient of least norm; of nothing, none is needed."""
    found = slope(lambda t: np.linalg.norm(t, order, (0, 1)), np.zeros((3, 2)))
    assert np.array_equal(found, np.zeros((3, 2)))


def test_the_largest_share_a_norms_gradient():
    """Where rows, columns, elements or singular values tie, they share equally."""
    half = np.eye(2) / 2
    for order in (1, inf, 2, -1, -inf, -2):
        laws.close(
            slope(lambda t, o=order: np.linalg.norm(t, o), np.eye(2)), half, 1e-15
        )
    found = slope(lambda t: np.linalg.norm(t, inf), [1.0, -1.0, 0.5])
    assert np.array_equal(found, [0.5, -0.5, 0.0])


def test_norms_of_nothing_are_numpys():
    """Of empty vectors and matrices the largest is 0, and the least is refused."""
    for order in (None, 1, inf, "fro", "nuc", 2):
        x = np.ones((0, 2))
        found = np.linalg.norm(leaf(x), order, (0, 1))
        assert found.item() == np.linalg.norm(x, order, (0, 1)) == 0
        found.backward()
    for order in (-inf, -1, -2):
        with pytest.raises(ShapeError):
            np.linalg.norm(leaf(np.ones((0, 0))), order)


def test_norms_that_do_not_exist_are_refused_by_name():
    """No order of that name, and more axes than an order has."""
    x = leaf(np.ones((2, 2, 2)))
    for call in (
        lambda: np.linalg.norm(x[0], 3),
        lambda: np.linalg.norm(x[0, 0], "fro"),
        lambda: np.linalg.norm(x[0], "frob"),
    ):
        with pytest.raises(UnsupportedError, match=r"^norm: no such order"):
            call()
    with pytest.raises(ShapeError, match=r"norm: expected one axis .*x\(2, 2, 2\)"):
        np.linalg.norm(x, 2)
    for axis in ((0, 0), 3):
        with pytest.raises(ShapeError):
            np.linalg.norm(x, 1, axis)


# --- least squares, ranks, powers ----------------------------------------------------


@pytest.mark.parametrize("columns", [(), (2,)])
@pytest.mark.parametrize("size", [(4, 2), (2, 4), (3, 3), (0, 2), (3, 0)])
def test_least_squares_are_numpys(size, columns, rng):
    """Solution, squares, rank and singular values, for vectors and matrices."""
    a = rng.standard_normal(size)
    b = rng.standard_normal((size[0], *columns))
    wanted = np.linalg.lstsq(a, b)
    found = np.linalg.lstsq(leaf(a), leaf(b))
    for got, want in zip(found, wanted, strict=True):
        got = got.numpy() if isinstance(got, tg.Tensor) else got
        laws.close(got, want, 1e-13)


def test_least_squares_of_less_than_full_rank_are_the_shortest(rng):
    """Squares are empty, the rank is told, and the gradient keeps to that rank."""
    a = rng.standard_normal((4, 1)) @ rng.standard_normal((1, 3))
    b = rng.standard_normal(4)
    t = leaf(a)
    x, squares, rank, _ = np.linalg.lstsq(t, b)
    assert (squares.shape, int(rank.numpy())) == ((0,), 1)
    assert not rank.requires_grad
    laws.close(x.numpy(), np.linalg.lstsq(a, b)[0], 1e-14)
    (share,) = tg.gradients(tg.sum(x), [t])
    # Along a change that keeps the rank: of one factor of the two.
    way = rng.standard_normal((4, 1)) @ np.linalg.svd(a)[2][:1]
    near = [np.linalg.lstsq(a + h * way, b)[0].sum() for h in (1e-6, -1e-6)]
    laws.close(np.sum(share.numpy() * way), (near[0] - near[1]) / 2e-6, 1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_least_squares_are_compiled(backend, rng):
    """In a step the squares are there, as for a matrix of full rank."""
    if backend == "jax":
        pytest.importorskip("jax")
    a, b = rng.standard_normal((4, 2)), rng.standard_normal(4)

    @tg.compile(backend=backend)
    def step(a, b):
        x, squares, rank, _ = np.linalg.lstsq(a, b)
        return x, squares, rank, tg.gradients(tg.sum(x * x) + squares[0], [a])[0]

    # Traced with a matrix of rank 1: the program is that of full rank all the same.
    step(np.ones((4, 2)), b)
    found = step(a, b)
    t = leaf(a)
    x, squares, rank, _ = np.linalg.lstsq(t, b)
    wanted = (x, squares, rank, tg.gradients(tg.sum(x * x) + squares[0], [t])[0])
    for got, want in zip(found, wanted, strict=True):
        laws.close(got.numpy(), want.numpy(), 1e-12)


def test_ranks_are_numpys_and_constant(rng):
    """With any limit, of stacks and vectors; a rank has no gradient."""
    x = rng.standard_normal((2, 3, 3))
    x[0, 2] = x[0, 1]
    limits = np.array([0.5, 2.0])
    for a in (x, x[0], x[0, 0], np.zeros(3), np.zeros((3, 2)), np.zeros((0, 3))):
        assert np.array_equal(tg.linalg.matrix_rank(a), np.linalg.matrix_rank(a))
        assert np.array_equal(
            np.linalg.matrix_rank(leaf(a)).numpy(), np.linalg.matrix_rank(a)
        )
    for options in ({"tol": 0.5}, {"tol": limits}, {"rtol": 0.5}, {"rtol": limits / 4}):
        found = np.linalg.matrix_rank(leaf(x), **options)
        assert np.array_equal(found.numpy(), np.linalg.matrix_rank(x, **options))
        assert not found.requires_grad
    with pytest.raises(ShapeError, match="matrix_rank: expected one of"):
        np.linalg.matrix_rank(leaf(x), tol=1.0, rtol=1.0)


def test_small_powers_of_matrices(rng):
    """The power 0 is constant in the matrix, 1 is the matrix, and integers stay whole."""
    x = rng.standard_normal((2, 3, 3))
    t = leaf(x)
    assert np.linalg.matrix_power(t, 1) is t
    zeroth = np.linalg.matrix_power(t, 0)
    assert np.array_equal(zeroth.numpy(), np.linalg.matrix_power(x, 0))
    assert not tg.gradients(tg.sum(zeroth), [t])[0].numpy().any()
    whole = tg.Tensor(np.array([[1, 1], [0, 1]]))
    assert np.linalg.matrix_power(whole, 5).numpy().tolist() == [[1, 5], [0, 1]]
    with pytest.raises(
        UnsupportedError, match=r"^matrix_power: expected a whole number; got n=0\.5"
    ):
        np.linalg.matrix_power(t, 0.5)
    with pytest.raises(ShapeError, match=r"matrix_power: .*a\(3,\)"):
        np.linalg.matrix_power(t[0, 0], 2)


def test_a_compiled_condition_of_zeros_is_numpys():
    """What it is does not depend on the numbers that a step was recorded with."""
    step = tg.compile(tg.linalg.cond)
    step(np.eye(2))
    assert step(np.zeros((2, 2))).item() == inf == np.linalg.cond(np.zeros((2, 2)))
    assert step(np.diag([2.0, 4.0])).item() == 2.0


def test_condition_numbers_at_the_edges():
    """Of a singular matrix infinite, as in NumPy; of none, refused."""
    x = np.diag([1.0, 0.0])
    assert np.linalg.cond(leaf(x)).item() == inf == np.linalg.cond(x)
    assert np.linalg.cond(leaf(x), -2).item() == 0.0
    with pytest.raises(LinAlgError, match="cond: of an empty matrix"):
        np.linalg.cond(leaf(np.ones((0, 0))))


# --- shapes, dtypes, spellings, refusals ---------------------------------------------

EMPTY = {
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "cholesky": np.linalg.cholesky,
    "eigh": lambda x: np.linalg.eigh(x)[1],
    "eigvalsh": np.linalg.eigvalsh,
    "svd": lambda x: np.linalg.svd(x)[0],
    "qr": lambda x: np.linalg.qr(x)[1],
    "pinv": np.linalg.pinv,
    "slogdet": lambda x: np.linalg.slogdet(x)[1],
    "solve": lambda x: np.linalg.solve(x, np.ones((0, 2))),
    "matrix_power": lambda x: np.linalg.matrix_power(x, 3),
}


@pytest.mark.parametrize("name", EMPTY)
def test_matrices_of_nothing(name):
    """A (0, 0) matrix has NumPy's value, and a gradient of its shape."""
    x = np.ones((0, 0))
    found = EMPTY[name](leaf(x))
    assert np.array_equal(found.numpy(), EMPTY[name](x))
    assert slope(EMPTY[name], x).shape == (0, 0)


@pytest.mark.parametrize("name", CALLS)
def test_single_precision_stays(name, rng):
    """float32 in, float32 out: values and gradients of both orders."""
    x = tg.Tensor(spd(3, rng).astype(np.float32), requires_grad=True)
    value = CALLS[name](x)
    (first,) = tg.gradients(tg.sum(value * value), [x])
    (second,) = tg.gradients(tg.sum(first * first), [x])
    assert value.dtype == first.dtype == second.dtype == np.float32


def test_integers_are_computed_as_numpy_does():
    """Whole numbers give floats, and have no gradient."""
    x = np.array([[2, 1], [1, 3]])
    for name in ("inv", "det", "cholesky", "eigvalsh", "svdvals", "pinv"):
        found = getattr(np.linalg, name)(tg.Tensor(x))
        wanted = getattr(np.linalg, name)(x)
        laws.identical(found.numpy(), wanted)
        assert not found.requires_grad


def test_right_hand_sides_are_vectors_only_of_one_axis(rng):
    """As since NumPy 2: what has two axes or more is a stack of matrices."""
    a, b = rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3))
    laws.identical(np.linalg.solve(leaf(a), b[0]).numpy(), np.linalg.solve(a, b[0]))
    with pytest.raises(ShapeError, match=r"solve: .*\(2, 3, 3\).*\(2, 3\)"):
        np.linalg.solve(leaf(a), b)
    for wrong in (np.ones(2), np.ones(()), np.ones((2, 1))):
        with pytest.raises(ShapeError, match="solve: expected"):
            np.linalg.solve(leaf(a), wrong)


def test_numpys_other_spellings(rng):
    """``np.linalg`` has names for what lies elsewhere: along the last two axes."""
    x, y = rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3, 3))
    calls = [
        np.linalg.matmul,
        lambda x, y: np.linalg.tensordot(x, y, axes=([1, 0], [2, 0])),
        lambda x, y: np.linalg.vecdot(x, y, axis=0),
        lambda x, y: np.linalg.cross(x, y, axis=1),
        lambda x, y: np.linalg.outer(x[0, 0], y[1, 1]),
        lambda x, _: np.linalg.trace(x, offset=1),
        lambda x, _: np.linalg.diagonal(x, offset=-1),
        lambda x, _: np.linalg.matrix_transpose(x),
    ]
    for call in calls:
        laws.identical(call(leaf(x), leaf(y)).numpy(), call(x, y))
    with pytest.raises(ShapeError, match=r"linalg\.outer: expected two vectors"):
        np.linalg.outer(leaf(x), y)
    with pytest.raises(ShapeError, match="matrix_transpose"):
        np.linalg.matrix_transpose(leaf(x)[0, 0])


def test_results_have_numpys_names(rng):
    """Parts are read by NumPy's names, and taken apart by position."""
    x = spd(3, rng)
    t = leaf(x)
    for name in ("eigh", "qr", "svd", "slogdet"):
        ours, numpys = getattr(np.linalg, name)(t), getattr(np.linalg, name)(x)
        assert ours._fields == numpys._fields
        for got, want in zip(ours, numpys, strict=True):
            laws.identical(got.numpy(), want)
    laws.close(np.linalg.qr(t, "r").numpy(), np.linalg.qr(x, "r"), 1e-15)
    laws.close(np.linalg.svd(t, compute_uv=False).numpy(), np.linalg.svdvals(x), 1e-15)


NOT_OFFERED = {
    "eig": (np.linalg.eig, "complex numbers"),
    "eigvals": (np.linalg.eigvals, "complex numbers"),
    "svd": (np.linalg.svd, "full_matrices=False"),
    "qr": (lambda t: np.linalg.qr(t, "complete"), "mode='reduced'"),
    "raw": (lambda t: np.linalg.qr(t, "raw"), "'reduced', 'complete' or 'r'"),
    "hermitian": (lambda t: np.linalg.pinv(t, hermitian=True), "hermitian="),
    "rank": (lambda t: np.linalg.matrix_rank(t, hermitian=True), "hermitian="),
    "UPLO": (lambda t: np.linalg.eigh(t, "X"), "UPLO is 'L' or 'U'"),
    "out": (lambda t: np.linalg.multi_dot([t, t.T], out=np.ones((4, 4))), "out="),
}


@pytest.mark.parametrize("name", NOT_OFFERED)
def test_what_is_not_offered_is_refused_by_name(name, rng):
    """The message names the function, and what to do instead."""
    call, words = NOT_OFFERED[name]
    with pytest.raises(UnsupportedError, match=r"^np\.linalg\.\w+: ") as caught:
        call(leaf(rng.standard_normal((4, 3))))
    assert words in str(caught.value)


def test_plain_arrays_have_all_that_numpy_has(rng):
    """Without a Tensor nothing is refused for want of a gradient."""
    x = rng.standard_normal((4, 3))
    assert tg.linalg.svd(x).U.shape == (4, 4)
    assert tg.linalg.qr(x, "complete").Q.shape == (4, 4)
    assert tg.linalg.eigvals(x[:3]).shape == (3,)


@pytest.mark.parametrize(
    "call",
    [
        np.linalg.inv,
        lambda t: np.linalg.det(t[0]),
        np.linalg.cholesky,
        np.linalg.eigh,
        lambda t: np.linalg.qr(t[0]),
        lambda t: np.linalg.svd(t[0]),
        lambda t: np.linalg.pinv(t[0]),
        lambda t: np.linalg.lstsq(t, np.ones(4)),
        lambda t: np.linalg.tensorinv(t, 1),
        lambda t: np.linalg.tensorinv(t, 0),
        lambda t: np.linalg.tensorsolve(t, np.ones(3)),
        lambda t: np.linalg.multi_dot([t]),
        lambda t: np.linalg.multi_dot([t, t[None], t]),
        lambda t: np.linalg.cond(t[0]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call):
    """A matrix that is none, or is not square, is a ShapeError with its shape."""
    with pytest.raises(ShapeError, match="expected"):
        call(leaf(np.ones((2, 3))))


@pytest.mark.parametrize("count", range(2, 7))
def test_a_chain_is_multiplied_in_the_cheapest_order(count, rng):
    """As many multiplications as the best of all ways to put parentheses."""
    edges = rng.integers(1, 9, count + 1)
    chain = [leaf(rng.standard_normal(s)) for s in itertools.pairwise(edges)]

    def least(i, j):
        if i == j:
            return 0
        ways = range(i, j)
        return min(least(i, k) + least(k + 1, j) + edges[i] * edges[k + 1] * edges[j + 1] for k in ways)  # fmt: skip

    spent, stack = 0, [np.linalg.multi_dot(chain)]
    while stack:
        node = stack.pop()
        if node.op is not None:
            x, y = node.inputs
            spent += x.shape[0] * x.shape[1] * y.shape[1]
            stack += [x, y]
    assert spent == least(0, count - 1)


DERIVED = {
    "eigh": lambda a: tg.sum(np.linalg.eigh(a).eigenvectors ** 3),
    "svd": lambda a: tg.sum(np.linalg.svd(a).U * np.linalg.svd(a).Vh.T),
    "qr": lambda a: tg.sum(np.linalg.qr(a).R ** 2 * np.linalg.qr(a).Q),
    "slogdet": lambda a: np.exp(np.linalg.slogdet(a).logabsdet),
    "solve": lambda a: tg.sum(np.linalg.solve(a, a + 1.0)),
    "lstsq": lambda a: tg.sum(np.linalg.lstsq(a, a + 1.0)[0]),
}


@pytest.mark.parametrize("name", DERIVED)
def test_a_derivation_calls_numpy_as_people_do(name, rng):
    """Its lines take parts as NumPy hands them out, and compute the gradient."""
    a = tg.Parameter(spd(2, rng) + np.diag([0.0, 3.0]), name="a")
    loss = DERIVED[name](a)
    text = tg.derive(loss, wrt=[a]).numpy
    assert "np.concatenate" not in text
    assert f"np.linalg.{name}(" in text or name == "slogdet"
    namespace = {}
    exec(text, namespace)
    found = namespace["gradients"](a.numpy())["da"]
    (wanted,) = tg.gradients(loss, [a])
    laws.close(found, wanted.numpy(), 1e-11)
