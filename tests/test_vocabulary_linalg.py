"""Linear algebra at its edges: any order and rank, equal values, one triangle.

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
from tinygrad_nn.errors import LinAlgError, TinygradError
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


def test_a_determinant_of_nan_has_a_gradient_of_nan():
    """What is unknown stays so, in its matrix alone: nothing is raised half-way."""
    x = np.array([np.eye(2), np.eye(2) * 2, [[1.0, 2.0], [2.0, 4.0]]])
    x[0, 0, 1] = np.nan
    found = slope(lambda t: np.linalg.det(t[1:]), x)[1:]
    t = leaf(x)
    with np.errstate(invalid="ignore"):  # NumPy's own, of a nan
        volume = np.linalg.det(t)
    volume.backward(np.ones(3))
    assert np.isnan(t.grad[0]).all()
    laws.close(t.grad[1:], found, 1e-15)


def test_a_determinant_beyond_all_numbers_has_a_gradient():
    """A volume of 1e400 overflows, and one of 1e-400 is 0; their slopes are numbers."""
    for size in (1e200, 1e-200):
        t = leaf(np.eye(2) * size)
        with np.errstate(over="ignore"):
            volume = np.linalg.det(t)
        volume.backward()
        laws.close(t.grad, np.eye(2) * size, 1e-15)


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
    """Of eigenvalues alone gradients are right; joined with vectors, they are finite."""
    x, _ = turned(values, rng)
    for point in (x, np.diag(values)):
        found = slope(lambda t: np.linalg.eigvalsh(t) ** 3, point)
        laws.close(found, folded(3 * point @ point), 1e-13, scale=1e-13)

        def rebuilt(t):
            w, v = np.linalg.eigh(t)
            return tg.sum((v * w) @ v.T * np.arange(9.0).reshape(3, 3))

        weights = np.arange(9.0).reshape(3, 3)
        # The matrix itself; elements between vectors of equal values are missing.
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


def test_the_nearest_orthogonal_matrix_has_a_gradient(rng):
    """U Vᵀ does not depend on the choice of vectors: at equal values it is right too."""
    q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    weights = rng.standard_normal((3, 3))

    def nearest(t):
        u, _, vh = np.linalg.svd(t)
        return u @ vh * weights

    # A change E of q turns it by the half of qᵀ E that is skew.
    skew = (q.T @ weights - weights.T @ q) / 2
    laws.close(slope(nearest, q), q @ skew, 1e-13)
    laws.close(slope(nearest, 2 * q), q @ skew / 2, 1e-13)


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
