"""Products that sum: NumPy's values, PyTorch's gradients, refusals."""

from __future__ import annotations

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph
from tinygrad_nn.errors import DtypeError, OpError, ShapeError, UnsupportedError


def leaf(x):
    return tg.Tensor(np.array(x, float), requires_grad=True)


def drawn(rng, *sizes):
    return [rng.standard_normal(size) for size in sizes]


# --- NumPy's values ------------------------------------------------------------------

CALLS = [
    # shapes, call on a module that has NumPy's names
    (((2, 3, 4), (4, 3, 5)), lambda m, x, y: m.tensordot(x, y, ([1, 2], [1, 0]))),
    (((2, 3, 4), (3, 4, 5)), lambda m, x, y: m.tensordot(x, y)),
    (((2, 3), (4,)), lambda m, x, y: m.tensordot(x, y, 0)),
    (((2, 3), (3, 2)), lambda m, x, y: m.tensordot(x, y, (-1, 0))),
    (((2, 3), (2, 3)), lambda m, x, y: m.tensordot(x, y, [(0, 1), (0, 1)])),
    (((5, 3), (2, 4, 3)), lambda m, x, y: m.inner(x, y)),
    (((3,), (3,)), lambda m, x, y: m.inner(x, y)),
    (((), (2, 3)), lambda m, x, y: m.inner(x, y)),
    (((2, 3), (4,)), lambda m, x, y: m.outer(x, y)),
    (((2, 3), (3, 2)), lambda m, x, y: m.vdot(x, y)),
    (((2, 1, 7), (3, 7)), lambda m, x, y: m.vecdot(x, y)),
    (((7, 2), (7, 2)), lambda m, x, y: m.vecdot(x, y, axis=0)),
    (((7, 2), (7, 2)), lambda m, x, y: m.vecdot(x, y, axis=0, keepdims=True)),
    (((7, 2), (2, 7)), lambda m, x, y: m.vecdot(x, y, axes=[0, 1, ()])),
    (((4, 2, 3), (3, 5)), lambda m, x, y: m.matmul(x, y, dtype=np.float64)),
    (
        ((3, 2, 4), (3, 5)),
        lambda m, x, y: m.matmul(x, y, axes=[(1, 0), (0, 1), (0, 1)]),
    ),
    (((3,), (5, 3)), lambda m, x, y: m.matmul(x, y, axes=[0, (1, 0), 0])),
    (((2, 3, 4), (5, 4)), lambda m, x, y: m.dot(x, y.T)),
    (((2, 3), (4, 3, 5)), lambda m, x, y: m.dot(x, y)),
    (((2, 3), (4, 1, 5)), lambda m, x, y: m.kron(x, y)),
    (((2,), (3, 2)), lambda m, x, y: m.kron(x, y)),
    (((), ()), lambda m, x, y: m.kron(x, y)),
    (((4, 3), (3,)), lambda m, x, y: m.cross(x, y)),
    (((3, 4), (4, 3)), lambda m, x, y: m.cross(x, y, axisa=0)),
    (((3, 4), (4, 3)), lambda m, x, y: m.cross(x, y, 0, -1, 0)),
    (((3, 4), (3, 4)), lambda m, x, y: m.cross(x, y, axis=0)),
    (((2, 3), (3, 4)), lambda m, x, y: m.einsum("ij,jk", x, y)),
    (((2, 3), (3, 4)), lambda m, x, y: m.einsum(" i j , j k -> k i", x, y)),
    (((2, 3, 3), (3,)), lambda m, x, y: m.einsum("...ii,i->...", x, y)),
    (((2, 3), (4, 1, 3)), lambda m, x, y: m.einsum("...i,...i", x, y)),
    (((3, 3), (2,)), lambda m, x, y: m.einsum("ii,j->", x, y)),
    (((2, 3), (3, 4)), lambda m, x, y: m.einsum(x, [0, 1], y, [1, 2])),
    (((2, 3), (3, 4)), lambda m, x, y: m.einsum(x, [30, 1], y, [1, 2], [2, 30])),
    (((2, 3), (3,)), lambda m, x, y: m.einsum(x, [..., 0], y, [0], [...])),
]
NEW = [
    (((4, 2, 3), (3,)), lambda m, x, y: m.matvec(x, y)),
    (((2, 3), (5, 1, 3)), lambda m, x, y: m.matvec(x, y)),
    (((3, 2), (3, 4)), lambda m, x, y: m.matvec(x, y, axes=[(1, 0), 0, 0])),
    (((3,), (4, 3, 2)), lambda m, x, y: m.vecmat(x, y)),
    (((5, 3), (3, 2)), lambda m, x, y: m.vecmat(x, y)),
]
ALL = CALLS + (NEW if hasattr(np, "matvec") else [])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
@pytest.mark.parametrize("place", range(len(ALL)))
def test_values_are_numpys(place, dtype, rng):
    """In every dtype, to the order of a sum, for Tensors, one of two, and arrays."""
    sizes, call = ALL[place]
    x, y = ((3 * a).astype(dtype) for a in drawn(rng, *sizes))
    try:
        wanted = call(np, x, y)
    except TypeError:  # NumPy subtracts no truths, and casts none by default
        with pytest.raises((TypeError, UnsupportedError)):
            call(np, tg.Tensor(x), tg.Tensor(y))
        return
    floats = wanted.dtype.kind == "f"
    for module, *operands in (
        (np, tg.Tensor(x), tg.Tensor(y)),
        (np, tg.Tensor(x), y),
        (tg, x, tg.Tensor(y)),
    ):
        found = call(module, *operands)
        assert found.dtype == wanted.dtype
        if floats:
            laws.close(found.numpy(), wanted, 4 * np.finfo(wanted.dtype).eps)
        else:
            laws.identical(found.numpy(), wanted)
    laws.identical(call(tg, x, y), found.numpy())


@pytest.mark.parametrize("place", range(len(ALL)))
def test_gradients_are_those_of_a_sum_of_products(place, rng):
    """A product is linear in each operand: ⟨g, f(x + d, y) - f(x, y)⟩ is its slope."""
    sizes, call = ALL[place]
    x, y = drawn(rng, *sizes)
    ours = leaf(x), leaf(y)
    value = call(np, *ours)
    g = rng.standard_normal(value.shape)
    value.backward(g)
    for i, (t, size) in enumerate(zip(ours, sizes, strict=True)):
        wanted = np.empty(size)
        for index in np.ndindex(size):
            one = np.zeros(size)
            one[index] = 1.0
            wanted[index] = np.sum(g * call(np, *((one, y) if i == 0 else (x, one))))
        laws.close(t.grad, wanted, 1e-14)


# --- einsum --------------------------------------------------------------------------


def subscripts(rng):
    """Draw operands' subscripts, a result, and a size for each letter."""
    sizes = dict(zip("abcde", rng.integers(1, 4, 5).tolist(), strict=True))
    count = rng.integers(1, 5)
    terms = ["".join(rng.choice([*sizes], rng.integers(0, 4))) for _ in range(count)]
    letters = sorted(set("".join(terms)))
    kept = [c for c in letters if rng.random() < 0.4]
    result = "".join(rng.permutation(kept)) if kept else ""
    return ",".join(terms) + "->" + result, [tuple(sizes[c] for c in t) for t in terms]


@pytest.mark.parametrize("optimize", [False, True, "greedy", "optimal"])
def test_random_subscripts_have_pytorchs_gradients(optimize, rng):
    """Repeated letters, letters alone, numbers, in one step or several."""
    torch = pytest.importorskip("torch")
    tried = 0
    while tried < 60:
        text, sizes = subscripts(rng)
        arrays = drawn(rng, *sizes)
        ours = [leaf(x) for x in arrays]
        value = np.einsum(text, *ours, optimize=optimize)
        laws.close(value.numpy(), np.einsum(text, *arrays), 1e-12, scale=1e-2)
        g = rng.standard_normal(value.shape)
        value.backward(g)
        theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
        # PyTorch takes no letter twice in one operand: by diagonals, as it advises.
        terms = text.partition("->")[0].split(",")
        plain, parts = [], []
        for term, x in zip(terms, theirs, strict=True):
            letters, part = term, x
            for c in sorted(set(term)):
                while letters.count(c) > 1:
                    i = letters.index(c)
                    j = letters.index(c, i + 1)
                    part = torch.diagonal(part, dim1=i, dim2=j)
                    letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + c
            plain.append(letters)
            parts.append(part)
        result = text.partition("->")[2]
        there = torch.einsum(f"{','.join(plain)}->{result}", *parts)
        there.backward(torch.tensor(g))
        for x, y in zip(ours, theirs, strict=True):
            laws.close(x.grad, y.grad.numpy(), 1e-12, scale=1e-2)
        tried += 1


def operations(output):
    """Return the names of all ops that an output was made by."""
    return [node.op.name for node in graph.nodes(output) if node.op is not None]


def test_steps_are_products_of_two_matrices(rng):
    """Told to optimise, three matrices are two products, forward and backward."""
    x = [leaf(a) for a in drawn(rng, (2, 9), (9, 9), (9, 3))]
    value = np.einsum("ij,jk,kl->il", *x, optimize=True)
    assert set(operations(value)) == {"matmul"}
    found = tg.gradients(tg.sum(value), x)
    assert all("einsum" not in operations(g) for g in found)
    together = np.einsum("ij,jk,kl->il", *x)
    assert operations(together) == ["einsum"]
    pair = np.einsum("ij,kj->ik", x[0], x[1])
    for g in tg.gradients(tg.sum(pair), x[:2]):
        assert "matmul" in operations(g)
    laws.close(value.numpy(), together.numpy(), 1e-14)


def test_a_path_is_numpys(rng):
    """The order of steps depends on shapes alone; it may be handed on."""
    x = [leaf(a) for a in drawn(rng, (2, 9), (9, 9), (9, 3))]
    arrays = [t.numpy() for t in x]
    for how in ("greedy", "optimal", ("greedy", 30), False):
        wanted = np.einsum_path("ij,jk,kl->il", *arrays, optimize=how)
        assert np.einsum_path("ij,jk,kl->il", *x, optimize=how) == wanted
    path = ["einsum_path", (0, 1), (0, 1)]
    value = np.einsum("ij,jk,kl->il", *x, optimize=path)
    laws.close(value.numpy(), np.einsum("ij,jk,kl->il", *arrays, optimize=path), 1e-14)


def test_einsum_computes_in_the_dtype_that_is_asked_for(rng):
    """As in NumPy: what casts safely is cast, the rest is refused, or told to."""
    x = rng.standard_normal((2, 3)).astype(np.float32)
    t = tg.Tensor(x, requires_grad=True)
    value = np.einsum("ij->j", t, dtype=np.float64)
    laws.identical(value.numpy(), np.einsum("ij->j", x, dtype=np.float64))
    value.backward(np.ones(3))
    assert t.grad.dtype == np.float32
    with pytest.raises(DtypeError, match="by the rule 'safe'; got float64"):
        np.einsum("ij->j", leaf(x), dtype=np.float32)
    narrow = np.einsum("ij->j", leaf(x), dtype=np.float32, casting="same_kind")
    assert narrow.dtype == np.float32


# --- refusals ------------------------------------------------------------------------

MISFITS = {
    "tensordot": np.tensordot,
    "tensordot of axes that are not there": lambda x, y: np.tensordot(x, y, ([5], [0])),
    "tensordot of an axis twice": lambda x, y: np.tensordot(x, x, ([0, 0], [0, 0])),
    "tensordot of more axes": lambda x, y: np.tensordot(x, y, ([0, 1], [0])),
    "inner": np.inner,
    "vdot": np.vdot,
    "vecdot": np.vecdot,
    "vecdot of a number": lambda x, y: np.vecdot(x, 3.0),
    "cross": np.cross,
    "dot": lambda x, y: np.dot(x, y[None]),
    "einsum": lambda x, y: np.einsum("ij,jk", x, y),
    "einsum in steps": lambda x, y: np.einsum("ij,jk", x, y, optimize=True),
    "einsum of nothing": lambda x, y: tg.einsum(),
    "matmul": lambda x, y: np.matmul(x, y, axes=[(0, 1), (0, 2), (0, 1)]),
}


@pytest.mark.parametrize("name", MISFITS)
def test_shapes_that_do_not_fit_are_refused(name):
    """The error names the function, the law and the shapes."""
    with pytest.raises(ShapeError, match=r"expected|out of range"):
        MISFITS[name](leaf(np.ones((2, 3))), leaf(np.ones((2, 4))))


def test_axes_are_refused_where_numpy_has_none():
    """axis= and keepdims= are for what leaves no axis, as vecdot; the rest has axes=."""
    x = leaf(np.ones((2, 2)))
    with pytest.raises(UnsupportedError, match=r"np\.matmul: axis= .*Use axes="):
        np.matmul(x, x, axis=0)
    with pytest.raises(UnsupportedError, match=r"np\.matmul: keepdims= "):
        np.matmul(x, x, keepdims=True)
    with pytest.raises(ShapeError, match=r"np\.matmul: expected \[2, 2, 2\] axes"):
        np.matmul(x, x, axes=[0, 0, 0])


def test_vectors_of_two_dimensions_have_no_cross_product_here():
    """NumPy gives them up, and so they are refused, with what to write instead."""
    x = leaf(np.ones((4, 2)))
    with pytest.raises(UnsupportedError, match=r"cross: vectors of two dimensions"):
        np.cross(x, x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, out: np.dot(x, x, out=out),
        lambda x, out: np.outer(x, x, out=out),
        lambda x, out: np.einsum("ij,jk", x, x, out=out),
        lambda x, out: np.vecdot(x, x, out=out),
        lambda x, out: np.matmul(x, x, out=out),
    ],
)
def test_nothing_is_written_into_arrays(call):
    """out= is refused by name: an ndarray holds no gradient."""
    with pytest.raises(UnsupportedError, match="out="):
        call(leaf(np.eye(2)), np.empty((2, 2)))


def test_what_einsum_does_not_know_is_refused():
    """An unknown option, and axes that no letter names."""
    x = leaf(np.eye(2))
    with pytest.raises((UnsupportedError, OpError), match="optimise="):
        np.einsum("ij", x, optimise=True)
    with pytest.raises(ShapeError, match="0 to 51"):
        np.einsum(x, [0, 99])


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
def test_products_are_compiled(backend, rng):
    """A step with every kind of product has the eager value and gradients."""
    if backend == "jax":
        pytest.importorskip("jax")
    x, y = drawn(rng, (3, 3), (3, 3))

    def step(x, y):
        parts = [
            np.tensordot(x, y, 1),
            np.inner(x, y),
            np.kron(x, y),
            np.cross(x, y),
            np.vecdot(x, y, axis=0),
            np.einsum("ij,jk,kl->il", x, y, x, optimize=True),
            np.einsum("ii,ij->j", x, y),
            np.outer(x, y),
        ]
        total = sum((tg.sum(p * p) for p in parts), tg.Tensor(0.0))
        return total, *tg.gradients(total, [x, y])

    found = tg.compile(step, backend=backend)(x, y)
    for got, want in zip(found, step(leaf(x), leaf(y)), strict=True):
        laws.close(got.numpy(), want.numpy(), 1e-12)


def test_a_product_of_products_is_differentiated_thrice(rng):
    """A cubic has its constant third derivative, through every order of the rules."""
    a, b = drawn(rng, (3, 3), (3, 3))
    t = leaf(0.0)
    x = a + t * b
    found = np.einsum("ij,jk,ki->", x, x, x)
    for _ in range(3):
        (found,) = tg.gradients(found, [t])
    laws.close(found.item(), 6 * np.trace(b @ b @ b), 1e-13)
