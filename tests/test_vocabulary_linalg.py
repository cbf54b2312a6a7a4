"""Linear algebra at its edges: singular and repeated, empty and of one element, refusals.

Values are held to mpmath and to NumPy, slopes to definitions in fifty digits, to exact
fractions, and to PyTorch, whose convention for symmetric matrices is another.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import laws
import mpmath
import numpy as np
import pytest
from numbers_reference import Number, precise, rounded

import tinygrad_nn as tg
from tinygrad_nn.errors import (
    LinAlgError,
    ShapeError,
    TinygradError,
    UnsupportedError,
)
from tinygrad_nn.ops import definitions

inf = np.inf
MP = mpmath.mp.clone()
MP.dps = 50


def leaf(x):
    return tg.Tensor(np.array(x, float), requires_grad=True)


def slope(f, x):
    """Return the gradient of a sum, by both loops, with every warning an error."""
    t = leaf(x)
    total = tg.sum(f(t))
    with np.errstate(all="raise"):
        total.backward()
    (found,) = tg.gradients(total, [t])
    laws.close(t.grad, found.numpy(), 1e-13, scale=1e-13)
    return t.grad


def spd(n, rng):
    x = rng.standard_normal((n, n))
    return x @ x.T + n * np.eye(n)


# --- the definitions -----------------------------------------------------------------


def of_mpmath(x):
    """Return an array of mpmath's numbers or matrices as floats."""
    if isinstance(x, MP.matrix):
        return np.array([[float(e) for e in row] for row in x.tolist()])
    return float(x)


def column(x):
    return of_mpmath(x)[:, 0]


MPMATHS = {
    "inv": lambda a: of_mpmath(MP.inverse(a)),
    "det": lambda a: of_mpmath(MP.det(a)),
    "slogdet": lambda a: np.array([MP.sign(MP.det(a)), MP.log(abs(MP.det(a)))], float),
    "cholesky": lambda a: of_mpmath(MP.cholesky(a)),
    "eigvalsh": lambda a: column(MP.eigsy(a, eigvals_only=True)),
    "svdvals": lambda a: column(MP.svd_r(a, compute_uv=False)),
    "pinv": lambda a: of_mpmath(MP.inverse(a.T * a) * a.T),
    "cofactors": lambda a: of_mpmath(MP.det(a) * MP.inverse(a).T),
}


@pytest.mark.parametrize("name", MPMATHS)
def test_an_op_is_what_mpmath_says_it_is(name, rng):
    """NumPy's value, and the definition at fifty digits, are mpmath's."""
    x = spd(4, rng)
    wanted = MPMATHS[name](MP.matrix(x.tolist()))
    laws.close(getattr(tg.ops, name)(x), wanted, 1e-13)
    exact = getattr(definitions, name)(precise(x))
    laws.close(rounded(np.asarray(exact, object)), wanted, 1e-15)


@pytest.mark.parametrize("name", ["eigh", "svd", "qr"])
@pytest.mark.parametrize("size", [(3, 3), (4, 2), (2, 4)])
def test_the_parts_of_a_definition_make_the_matrix(name, size, rng):
    """To forty digits the parts multiply to the matrix, and vectors are orthonormal."""
    x = rng.standard_normal(size)
    if name == "eigh":
        x = x[:, : size[0]] @ x[:, : size[0]].T
    m, (rows, columns) = precise(x), x.shape
    found = getattr(definitions, name)(m)
    if name == "eigh":
        left = right = found[1:]
        middle = found[0]
    else:
        left, right = found[:rows], found[-columns:]
        middle = found[rows] if name == "svd" else np.full(min(size), Number(1))
    off = np.dot(left * middle, right.T) - m
    off = [*off.ravel(), *(np.dot(left.T, left) - np.eye(left.shape[1])).ravel()]
    assert max(abs(e) for e in off) < 1e-40


CALLS = {
    "inv": tg.linalg.inv,
    "solve": lambda x: tg.linalg.solve(x, x[:, :2] ** 2),
    "det": tg.linalg.det,
    "slogdet": lambda x: tg.linalg.slogdet(x).logabsdet,
    "pinv": lambda x: tg.linalg.pinv(x[:, :2]),
    "lstsq": lambda x: tg.linalg.lstsq(x[:, :2], x[:, 2])[0],
    "cholesky": tg.linalg.cholesky,
    "qr": lambda x: tg.concatenate(tg.linalg.qr(x)),
    "wide qr": lambda x: tg.linalg.qr(x[:2]).R,
    "eigh": lambda x: tg.linalg.eigh(x).eigenvectors,
    "eigvalsh": tg.linalg.eigvalsh,
    "svd": lambda x: tg.linalg.svd(x[:, :2], full_matrices=False).U,
    "svdvals": tg.linalg.svdvals,
    "nuclear": lambda x: tg.linalg.norm(x, "nuc"),
}


def _lstsq(x):
    return np.dot(definitions.pinv(x[:, :2]), x[:, 2])


DEFINED = {
    "inv": definitions.inv,
    "solve": lambda x: definitions.solve(x, x[:, :2] * x[:, :2]),
    "det": definitions.det,
    "slogdet": lambda x: definitions.slogdet(x)[1],
    "pinv": lambda x: definitions.pinv(x[:, :2]),
    "lstsq": _lstsq,
    "cholesky": definitions.cholesky,
    "qr": lambda x: np.concatenate([(q := definitions.qr(x))[:3], q[3:].T]),
    "wide qr": lambda x: definitions.qr(x[:2])[2:].T,
    "eigh": lambda x: definitions.eigh(x)[1:],
    "eigvalsh": definitions.eigvalsh,
    "svd": lambda x: definitions.svd(x[:, :2])[:3],
    "svdvals": definitions.svdvals,
    "nuclear": lambda x: np.sum(definitions.svdvals(x)),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_third_derivative_is_that_of_the_definition(name, rng):
    """Along a line, gradients of gradients of gradients agree with fifty digits."""
    x, way = spd(3, rng) + np.diag([1.0, 3.0, 6.0]), rng.standard_normal((3, 3))
    t = leaf(0.0)
    value = CALLS[name](x + t * way)
    weights = rng.standard_normal(value.shape)
    found = tg.sum(value * weights)
    for _ in range(3):
        (found,) = tg.gradients(found, [t])
    step = Number("1e-9")

    def at(k):
        made = DEFINED[name](precise(x) + precise(way) * (step * k))
        return np.sum(np.asarray(made, object) * precise(weights))

    wanted = (at(2) - at(1) * 2 + at(-1) * 2 - at(-2)) / (step * step * step * 2)
    laws.close(found.item(), float(wanted), 1e-10)


# --- determinants of singular matrices -----------------------------------------------


def leibniz(x):
    """Return the determinant of a matrix of fractions."""
    n = len(x)
    total = Fraction(0)
    for places in itertools.permutations(range(n)):
        swaps = sum(a > b for i, a in enumerate(places) for b in places[i + 1 :])
        term = Fraction(-1) ** swaps
        for i, j in enumerate(places):
            term *= x[i][j]
        total += term
    return total


def mixed(x, places):
    """Differentiate along elements: each stands alone in a term, so differences do."""
    total = Fraction(0)
    for signs in itertools.product((0, 1), repeat=len(places)):
        moved = [[Fraction(e) for e in row] for row in x]
        for sign, (i, j) in zip(signs, places, strict=True):
            moved[i][j] += sign
        total += (-1) ** (len(places) - sum(signs)) * leibniz(moved)
    return float(total)


SINGULAR = {
    "rank 2 of 3": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
    "rank 1 of 3": [[1, 2, 3], [2, 4, 6], [-1, -2, -3]],
    "rank 0 of 3": [[0, 0, 0]] * 3,
    "rank 1 of 2": [[1, 2], [2, 4]],
    "rank 2 of 4": [[1, 0, 2, 1], [0, 1, 1, 3], [1, 1, 3, 4], [2, 0, 4, 2]],
    "identity": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("name", SINGULAR)
def test_a_determinants_derivatives_are_right_at_any_rank(name):
    """Gradient, Hessian and one third derivative are those of the polynomial."""
    x = SINGULAR[name]
    size = float(np.max(np.abs(x), initial=1)) ** len(x)  # of terms that cancel
    places = list(np.ndindex(len(x), len(x)))
    wanted = [mixed(x, [p]) for p in places]
    t = leaf(x)
    (first,) = tg.gradients(np.linalg.det(t), [t])
    laws.close(first.numpy().ravel(), wanted, 1e-15, scale=size)
    rows = [tg.gradients(first[p], [t], unused="zero")[0] for p in places]
    # An element meets itself and its row in no term.
    pairs = [
        [0.0 if p[0] == q[0] or p[1] == q[1] else mixed(x, [p, q]) for q in places]
        for p in places
    ]
    hessian = [row.numpy().ravel() for row in rows]
    laws.close(hessian, pairs, 1e-15, scale=size)
    (third,) = tg.gradients(rows[0][1, 1], [t], unused="zero")
    if len(x) > 2:
        laws.close(third.numpy()[2, 2], mixed(x, [(0, 0), (1, 1), (2, 2)]), 1e-15, size)


# --- what has no inverse, or no root -------------------------------------------------

REFUSED = {
    "inv": np.linalg.inv,
    "solve": lambda x: np.linalg.solve(x, np.ones(3)),
    "tensorinv": lambda x: np.linalg.tensorinv(x, 1),
    "matrix_power": lambda x: np.linalg.matrix_power(x, -2),
    "cholesky": lambda x: np.linalg.cholesky(-x),
    "cond": lambda x: np.linalg.cond(x, 1),
}
BACKENDS = ["numpy", "c", "jax"]
ONES = np.ones((3, 3))


@pytest.mark.parametrize("name", REFUSED)
def test_a_singular_matrix_is_refused_by_name(name):
    """The error is NumPy's LinAlgError and ours, and names the op and the shape."""
    with pytest.raises(LinAlgError, match=r"^\w+: .*; got .*\(3, 3\)") as caught:
        REFUSED[name](leaf(ONES))
    assert isinstance(caught.value, np.linalg.LinAlgError)
    assert isinstance(caught.value, TinygradError)


def test_a_gradient_of_the_logarithm_of_no_volume_is_refused_by_name():
    """A singular matrix has the values that NumPy gives it, and no gradient."""
    x = leaf(ONES)
    found = np.linalg.slogdet(x)
    assert (found.sign.item(), found.logabsdet.item()) == (0.0, -inf)
    for pull in (
        found.logabsdet.backward,
        lambda: tg.gradients(found.logabsdet, [x]),
    ):
        with pytest.raises(LinAlgError, match=r"inv: Singular matrix; got x\(3, 3\)"):
            pull()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_step_refuses_a_singular_matrix_too(backend):
    """A step raises as an eager one does, and leaves parameters as they were."""
    if backend == "jax":
        pytest.importorskip("jax")
    w = tg.Parameter(np.eye(3), name="w")
    optimizer = tg.optim.SGD([w], lr=0.01)

    @tg.compile(backend=backend)
    def step(x):
        loss = tg.sum(np.linalg.solve(x @ w, np.ones(3)) ** 2) + np.linalg.det(w)
        optimizer.minimize(loss)
        return loss

    step(np.eye(3))
    before = w.numpy().copy()
    with pytest.raises(LinAlgError, match=r"solve: Singular matrix"):
        step(ONES)
    assert np.array_equal(w.numpy(), before)
    step(np.eye(3))
    assert not np.array_equal(w.numpy(), before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_compiled_step_has_the_eager_gradient(name, backend, rng):
    """Value and gradient of each function are the eager ones, on every backend."""
    if backend == "jax":
        pytest.importorskip("jax")
    x = spd(3, rng)

    def step(t):
        value = CALLS[name](t)
        weights = np.cos(np.arange(value.size)).reshape(value.shape)
        return value, tg.gradients(tg.sum(value * weights), [t])[0]

    compiled = tg.compile(step, backend=backend)
    for point in (x, x + np.eye(3)):
        found = compiled(point)
        wanted = step(leaf(point))
        for got, want in zip(found, wanted, strict=True):
            laws.close(got.numpy(), want.numpy(), 1e-12)


# --- equal eigenvalues and singular values -------------------------------------------


def turned(values, rng):
    """Return a symmetric matrix with these eigenvalues, and its vectors."""
    q = np.linalg.qr(rng.standard_normal((len(values),) * 2))[0]
    return q @ np.diag(values) @ q.T, q


def folded(share):
    """Return the gradient of what reads the lower triangle, from a symmetric one."""
    return np.tril(share + share.T) - np.diag(np.diag(share))


@pytest.mark.parametrize("values", [[1.0, 1.0, 2.0], [1.0, 1.0, 1.0], [0.0, 0.0, 3.0]])
def test_equal_eigenvalues_leave_gradients_that_do_not_ask_for_them(values, rng):
    """Of functions of the matrix alone, gradients are finite and right."""
    x, _ = turned(values, rng)
    for point in (x, np.diag(values)):
        found = slope(lambda t: np.linalg.eigvalsh(t) ** 3, point)
        laws.close(found, folded(3 * point @ point), 1e-13, scale=1e-13)

        def rebuilt(t):
            w, v = np.linalg.eigh(t)
            return tg.sum((v * w) @ v.T * np.arange(9.0).reshape(3, 3))

        weights = np.arange(9.0).reshape(3, 3)
        # The matrix itself: of equal values the rest of the path goes through w.
        found = slope(rebuilt, point)
        assert np.isfinite(found).all()
        if len(set(values)) == 3:
            laws.close(found, folded((weights + weights.T) / 2), 1e-12)


def test_a_plane_of_equal_eigenvalues_has_a_gradient(rng):
    """The projection on both vectors does not depend on which: its gradient is right."""
    x, q = turned([1.0, 1.0, 4.0], rng)
    weights = rng.standard_normal((3, 3))
    weights = weights + weights.T

    def projected(t):
        v = np.linalg.eigh(t).eigenvectors[:, :2]
        return tg.sum(v @ v.T * weights)

    # Of P = 1 - u uᵀ: a change E turns u towards the plane by (P E u) / (4 - 1).
    u = q[:, 2:]
    plane = np.eye(3) - u @ u.T
    share = -2 * plane @ weights @ u @ u.T / 3
    laws.close(slope(projected, x), folded((share + share.T) / 2), 1e-12)


def test_equal_singular_values_leave_gradients_that_do_not_ask_for_them(rng):
    """The nuclear norm of an orthogonal matrix has itself for a gradient."""
    q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    laws.close(slope(lambda t: np.linalg.norm(t, "nuc"), q), q, 1e-14)
    laws.close(slope(lambda t: np.linalg.svdvals(t) ** 2, q), 2 * q, 1e-14)


def test_the_curvature_of_the_largest_value_ignores_others_that_are_equal():
    """The largest of 3, 1, 1 is smooth, to second order too."""
    x, way = np.diag([3.0, 1.0, 1.0]), np.arange(9.0).reshape(3, 3) / 9
    for f in (lambda t: np.linalg.norm(t, 2), lambda t: np.linalg.eigvalsh(t)[-1]):
        t = leaf(x)
        (first,) = tg.gradients(f(t), [t])
        (second,) = tg.gradients(tg.sum(first * way), [t])

        def near(step, f=f):
            return slope(f, x + step * way)

        wanted = (near(1e-5) - near(-1e-5)) / 2e-5
        laws.close(second.numpy(), wanted, 1e-8)


# --- symmetric matrices --------------------------------------------------------------


@pytest.mark.parametrize("name", ["cholesky", "upper", "eigh", "eigh U", "eigvalsh"])
def test_the_triangle_that_is_read_has_the_gradient(name, rng):
    """Differences of NumPy's own function: the other triangle changes nothing."""
    functions = {
        "cholesky": np.linalg.cholesky,
        "upper": lambda a: np.linalg.cholesky(a, upper=True),
        "eigh": lambda a: np.linalg.eigh(a)[1],
        "eigh U": lambda a: np.linalg.eigh(a, "U")[1],
        "eigvalsh": np.linalg.eigvalsh,
    }
    f = functions[name]
    x = spd(3, rng) + np.diag([0.0, 3.0, 9.0])
    g = rng.standard_normal(f(x).shape)
    wanted = np.empty((3, 3))
    for place in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[place] = 1e-6
        wanted[place] = np.sum(g * (f(x + step) - f(x - step))) / 2e-6
    found = slope(lambda t: f(t) * g, x)
    laws.close(found, wanted, 1e-8)
    other = np.triu(found, 1) if name not in ("upper", "eigh U") else np.tril(found, -1)
    assert not other.any()


@pytest.mark.parametrize("name", ["cholesky", "eigh", "eigvalsh"])
def test_pytorchs_symmetric_gradient_is_ours_unfolded(name, rng):
    """PyTorch gives half of an element below the diagonal to its mirror image."""
    torch = pytest.importorskip("torch")
    x = spd(4, rng) + np.diag([0.0, 3.0, 9.0, 20.0])
    pick = {"eigh": lambda found: found[1] ** 2}.get(name, lambda found: found)
    value = pick(getattr(np.linalg, name)(x))
    g = rng.standard_normal(value.shape)
    found = slope(lambda t: pick(getattr(np.linalg, name)(t)) * g, x)
    there = torch.tensor(x, requires_grad=True)
    (pick(getattr(torch.linalg, name)(there)) * torch.tensor(g)).sum().backward()
    laws.close(found, folded(there.grad.numpy()), 1e-11)


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (3, 5), (2, 4, 3)])
@pytest.mark.parametrize(
    "name", ["svd", "qr", "pinv", "inv", "det", "slogdet", "solve", "lstsq"]
)
def test_pytorch_has_the_same_gradient(name, size, rng):
    """Gradients of larger matrices, square, tall, wide and stacked, are PyTorch's."""
    torch = pytest.importorskip("torch")
    if name in ("inv", "det", "slogdet", "solve") and size[-1] != size[-2]:
        size = (*size[:-2], 4, 4)
    if name == "lstsq":
        size = size[-2:]
    x = rng.standard_normal(size)
    b = rng.standard_normal(size[-2])
    calls = {
        "svd": lambda m, a, _: tuple(part**2 for part in m.svd(a, full_matrices=False)),
        "qr": lambda m, a, _: tuple(part**2 for part in m.qr(a)),
        "slogdet": lambda m, a, _: (m.slogdet(a)[1],),
        "solve": lambda m, a, b: (m.solve(a, b),),
        "lstsq": lambda m, a, b: (
            (m.lstsq(a, b)[0],) if m is np.linalg else (m.pinv(a) @ b,)
        ),
    }
    call = calls.get(name, lambda m, a, _: (getattr(m, name)(a),))
    if name == "qr" and size == (3, 5):
        ours, theirs = leaf(x), torch.tensor(x, requires_grad=True)
        total = tg.sum(np.linalg.qr(ours).R ** 3)
        # PyTorch refuses this one: R is Qᵀ times the matrix, Q that of its left part.
        q = torch.linalg.qr(theirs[:, :3]).Q
        ((q.T @ theirs).triu() ** 3).sum().backward()
        total.backward()
        laws.close(ours.grad, theirs.grad.numpy(), 1e-11)
        return
    ours, theirs = leaf(x), torch.tensor(x, requires_grad=True)
    values = call(np.linalg, ours, b)
    weights = [rng.standard_normal(v.shape) for v in values]
    sum_ours = sum(tg.sum(v * w) for v, w in zip(values, weights, strict=True))
    found = call(torch.linalg, theirs, torch.tensor(b))
    pairs = zip(found, weights, strict=True)
    sum(torch.sum(v * torch.tensor(w)) for v, w in pairs).backward()
    sum_ours.backward()
    laws.close(ours.grad, theirs.grad.numpy(), 1e-10)


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
