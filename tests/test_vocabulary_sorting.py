"""Sorting, picking and choosing: values, ties, duplicates, masks and refusals.

The laws of `test_ops` hold these functions where no two elements tie; here are ties,
duplicates and conditions, held to NumPy's values, plain loops and torch.
"""

from __future__ import annotations

from itertools import pairwise, permutations

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import OpError, ShapeError, TinygradError, UnsupportedError

RNG = np.random.default_rng(7)
ARRAYS = {
    "float64": RNG.standard_normal((4, 5)),
    "float32": RNG.standard_normal((4, 5)).astype(np.float32),
    "int64": RNG.integers(-3, 3, (4, 5)),
    "uint8": RNG.integers(0, 4, (4, 5)).astype(np.uint8),
    "bool": RNG.random((4, 5)) < 0.5,
    "nan": np.where(RNG.random((4, 5)) < 0.3, np.nan, RNG.integers(0, 3, (4, 5))),
}


def as_tensor(x):
    return tg.Tensor(x) if isinstance(x, np.ndarray) else x


def same(found, wanted):
    """Hold a result, or each of several, to NumPy's: values, shapes and dtypes."""
    if not isinstance(wanted, tuple):
        found, wanted = (found,), (wanted,)
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        laws.identical(np.asarray(mine), np.asarray(theirs))


def slopes(f, *arrays):
    """Return the gradients of the elements of f weighed by 1, 2, 3, …."""
    leaves = [tg.Tensor(np.asarray(a, float), requires_grad=True) for a in arrays]
    out = f(*leaves)
    out.backward(np.arange(1.0, out.size + 1).reshape(out.shape))
    return [x.grad for x in leaves]


# --- values ------------------------------------------------------------------------

FIRST = np.array([[0, 2], [1, -1], [3, 0], [4, 4]])
ANY = [
    ("sort", {}), ("sort", {"axis": None}), ("sort", {"axis": 0, "kind": "stable"}),
    ("sort", {"axis": -2, "stable": True}), ("argsort", {"axis": 0, "kind": "stable"}),
    ("argsort", {"axis": None, "stable": True}), ("unique", {}),
    ("unique", {"return_index": True, "return_inverse": True, "return_counts": True}),
    ("unique", {"return_inverse": True}), ("unique", {"return_counts": True}),
    ("take", {"indices": FIRST}), ("take", {"indices": [2, -1], "axis": 1}),
    ("take", {"indices": [[7, -9]], "axis": 0, "mode": "wrap"}),
    ("take", {"indices": [7, -9], "axis": -1, "mode": "clip"}),
    ("take", {"indices": 3}), ("take", {"indices": [True, False]}),
    ("take_along_axis", {"indices": FIRST, "axis": 1}),
    ("take_along_axis", {"indices": FIRST[:1, :1] % 4, "axis": 0}),
    ("take_along_axis", {"indices": FIRST.ravel(), "axis": None}),
    ("count_nonzero", {}), ("count_nonzero", {"axis": 0, "keepdims": True}),
    ("nonzero", {}), ("where", {}), ("flatnonzero", {}), ("argwhere", {}),
    ("isin", {"test_elements": [0, 1]}), ("isin", {"test_elements": 2, "invert": True}),
    ("digitize", {"bins": np.array([-1.0, 0.0, 1.0])}),
    ("digitize", {"bins": np.array([1.0, 0.0, -1.0]), "right": True}),
]  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize(("name", "settings"), ANY)
def test_every_spelling_gives_numpys_value(name, settings, kind):
    """`np.f(t)`, `tg.f(t)`, `tg.f(array)`: NumPy's value and dtype, at ties and nan."""
    a = ARRAYS[kind]
    wanted = getattr(np, name)(a, **settings)
    same(getattr(np, name)(tg.Tensor(a), **settings), wanted)
    same(getattr(tg, name)(tg.Tensor(a), **settings), wanted)
    same(getattr(tg, name)(a, **settings), wanted)


@pytest.mark.parametrize("kind", [k for k in ARRAYS if k != "nan"])
def test_choices_are_numpys(kind):
    """Conditions and numbers choose the elements, and the dtype, that NumPy chooses."""
    a, b = ARRAYS[kind], ARRAYS[kind][::-1]
    which = np.array([[0, 1, 1, 0, 2]])
    mask = np.arange(20).reshape(4, 5) % 3 == 0
    for call in (
        lambda m, x: m.select([x > 1, x < 1], [x, b]),
        lambda m, x: m.select([mask], [x], 2),
        lambda m, x: m.select([mask, x > 0], [1, x], 2.5),
        lambda m, x: m.choose(which, [x, b, x]),
        lambda m, x: m.choose(which * 5 - 4, [x, b], mode="wrap"),
        lambda m, x: m.choose(which * 5 - 4, (x, b[0]), mode="clip"),
        lambda m, x: m.compress([True, False, True], x),
        lambda m, x: m.compress([0, 1, 1], x, axis=1),
        lambda m, x: m.extract(mask, x),
        lambda m, x: m.searchsorted(m.sort(x[0]), x, side="right"),
        lambda m, x: m.searchsorted(x[0], 1, sorter=np.argsort(a[0])),
    ):
        same(call(np, tg.Tensor(a)), call(np, a))
        same(call(tg, tg.Tensor(a)), call(np, a))


def test_methods_are_the_functions():
    """A Tensor's methods give what an array's do; places are plain arrays."""
    a = ARRAYS["float64"]
    t = tg.Tensor(a, requires_grad=True)
    for call in (
        lambda x: x.argsort(axis=0),
        lambda x: x.take([3, 1], axis=1),
        lambda x: x.compress([True, True], axis=0),
        lambda x: x.cumprod(axis=1),
        lambda x: x.nonzero(),
        lambda x: x[0].searchsorted([0.0]),
        lambda x: (x > 0).choose([x * 0, x]),
    ):
        found = call(t)
        same(found.detach() if isinstance(found, tg.Tensor) else found, call(a))
    for places in (t.argsort(), np.argsort(t), t.argpartition(2), np.count_nonzero(t)):
        assert not isinstance(places, tg.Tensor)
    assert isinstance(tg.argsort(t), tg.Tensor)


# --- ties --------------------------------------------------------------------------


def least_norm(x, wanted):
    """Mean of the slopes of all orders that sort x: by symmetry that of least norm."""
    orders = [
        order
        for order in permutations(range(len(x)))
        if all(x[i] <= x[j] for i, j in pairwise(order))
    ]
    total = np.zeros(len(x))
    for order in orders:
        total[list(order)] += wanted
    return total / len(orders)


@pytest.mark.parametrize(
    "x",
    [[3.0, 1.0, 2.0], [2.0, 1.0, 2.0, 1.0, 2.0], [1.0, 1.0, 1.0], [0.0, -0.0, 5.0]],
)
def test_ties_share_what_their_places_get(x):
    """The slope of a sort is the mean over all orders that sort: that of least norm."""
    g = np.arange(1.0, len(x) + 1)
    laws.close(slopes(np.sort, x)[0], least_norm(x, g), 1e-15)
    laws.close(
        slopes(lambda t: np.partition(t, range(len(x))), x)[0], least_norm(x, g), 1e-15
    )
    laws.identical(slopes(lambda t: np.sort(t)[-1], x)[0], slopes(np.max, x)[0])
    laws.identical(slopes(lambda t: np.sort(t)[0], x)[0], slopes(np.min, x)[0])


def test_ties_share_in_rows_of_their_own():
    """Equal elements of different rows, or beside a nan, share nothing."""
    x = np.array([[1.0, 1.0, 0.0], [1.0, np.nan, np.nan]])
    wanted = np.array([[2.5, 2.5, 1.0], [4.0, 5.0, 6.0]])
    laws.identical(slopes(np.sort, x)[0], wanted)
    laws.identical(slopes(lambda t: np.sort(t, axis=0), x.T)[0].T[0], [4.0, 4.0, 1.0])


def test_equal_elements_are_one_unique_element():
    """Each of k equal elements has the k-th part of the slope."""
    laws.identical(slopes(np.unique, [3.0, 1.0, 3.0, 2.0])[0], [1.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize("name", ["union1d", "intersect1d", "setdiff1d", "setxor1d"])
def test_sets_are_numpys_and_equal_elements_share(name):
    """Elements are NumPy's; each has its slope, split among all that are equal to it."""
    first, second = np.array([3.0, 1.0, 3.0, 2.0]), np.array([[2.0, 5.0], [3.0, 3.0]])
    for x, y in ((first, second), (first.astype(int), second.astype(int))):
        same(getattr(np, name)(tg.Tensor(x), y), getattr(np, name)(x, y))
        same(getattr(tg, name)(x, tg.Tensor(y)), getattr(np, name)(x, y))
    joined = (first,) if name == "setdiff1d" else (first, second)
    found = (
        slopes(getattr(np, name), first, second)
        if len(joined) == 2
        else slopes(lambda t: np.setdiff1d(t, second), first)
    )
    everything = np.concatenate([x.ravel() for x in joined])
    wanted = np.zeros(len(everything))
    for k, value in enumerate(getattr(np, name)(first, second)):
        wanted[everything == value] = (k + 1) / np.sum(everything == value)
    laws.identical(np.concatenate([x.ravel() for x in found]), wanted)


def test_places_of_common_elements_are_numpys():
    """`return_indices` gives the first places in either array, plain."""
    x, y = np.array([3.0, 1.0, 2.0]), np.array([2.0, 3.0, 3.0])
    found = np.intersect1d(tg.Tensor(x), y, return_indices=True)
    same(found, np.intersect1d(x, y, return_indices=True))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("axis", [0, -1])
def test_the_largest_are_torchs(axis, largest, torch):
    """Elements, places and slopes of `topk` are those of torch, where nothing ties."""
    x = RNG.standard_normal((4, 5))
    theirs = torch.tensor(x, requires_grad=True)
    values, places = torch.topk(theirs, 3, dim=axis, largest=largest)
    found, where = tg.topk(tg.Tensor(x), 3, axis, largest=largest)
    laws.identical(found.numpy(), values.detach().numpy())
    laws.identical(where.numpy(), places.numpy())
    g = np.arange(1.0, found.size + 1).reshape(found.shape)
    values.backward(torch.tensor(g))
    got = slopes(lambda t: tg.topk(t, 3, axis, largest=largest)[0], x)[0]
    laws.identical(got, theirs.grad.numpy())


def test_of_ties_the_first_is_named():
    """Places of `topk` are of the first of equal elements; their slope is shared."""
    x = [3.0, 1.0, 3.0, 3.0]
    for largest, places in ((True, [0, 2]), (False, [1, 0])):
        assert np.array_equal(tg.topk(np.array(x), 2, largest=largest)[1], places)
    laws.identical(slopes(lambda t: tg.topk(t, 2)[0], x)[0], [1.0, 0.0, 1.0, 1.0])
    with pytest.raises(ShapeError, match="k=5"):
        tg.topk(tg.Tensor(x), 5)


# --- picking and putting -----------------------------------------------------------


def test_a_place_named_twice_adds_both_slopes():
    """take, take_along_axis and an index add up what comes back to one element."""
    laws.identical(slopes(lambda t: np.take(t, [1, 1, 0]), [5.0, 6.0])[0], [3.0, 3.0])
    places = np.array([[0, 0], [1, 0]])
    got = slopes(lambda t: np.take_along_axis(t, places, axis=1), np.ones((2, 2)))[0]
    laws.identical(got, np.array([[3.0, 0.0], [4.0, 3.0]]))


def test_what_is_put_has_the_slope_of_its_place():
    """The last of several values stays, as in NumPy; what it replaces has no slope."""
    x, values = np.array([[1.0, 2.0, 3.0]]), np.array([[7.0, 8.0, 9.0]])
    places = np.array([[0, 0, 2]])
    wanted = x.copy()
    np.put_along_axis(wanted, places, values, 1)
    found = tg.put_along_axis(tg.Tensor(x), places, tg.Tensor(values), 1)
    laws.identical(found.numpy(), wanted)
    to_x, to_values = slopes(lambda t, v: tg.put_along_axis(t, places, v, 1), x, values)
    laws.identical(to_x, np.array([[0.0, 2.0, 0.0]]))
    laws.identical(to_values, np.array([[0.0, 1.0, 3.0]]))
    x = tg.Tensor(np.arange(4.0).reshape(2, 2))
    found = tg.put_along_axis(x, np.array([3, 0]), 9.0, None)
    laws.identical(found.numpy(), np.array([[9.0, 1.0], [2.0, 9.0]]))


def test_what_is_not_chosen_spoils_nothing():
    """An infinite slope outside of what is picked or chosen leaves the rest finite."""
    x = [1.0, 0.0, -2.0]
    with np.errstate(all="ignore"):
        for f, wanted in (
            (lambda t: np.select([t > 0], [np.log(t)], 0.0), [1.0, 0.0, 0.0]),
            (lambda t: np.choose([0, 1, 1], [np.log(t), t]), [1.0, 2.0, 3.0]),
            (lambda t: np.take(np.log(t), [0]), [1.0, 0.0, 0.0]),
            (lambda t: np.compress([True], np.log(t)), [1.0, 0.0, 0.0]),
            (lambda t: tg.put_along_axis(np.log(t), [1, 2], 0.0, 0), [1.0, 0.0, 0.0]),
            (lambda t: np.sort(np.log(t[:2]))[1:], [1.0, 0.0, 0.0]),
        ):
            laws.identical(slopes(f, x)[0], np.array(wanted))


def test_pieces_are_computed_where_they_hold():
    """A piece sees its own elements only, so a logarithm of the rest never happens."""
    seen = []

    def logarithm(z):
        seen.append(z.numpy())
        return np.log(z)

    x = np.array([-1.0, 2.0, 0.0, 4.0])
    call = lambda m, t: m.piecewise(
        t, [t > 0, t < 0], [logarithm, lambda z: z * z, 7.0]
    )
    found = call(np, tg.Tensor(x))
    laws.identical(found.numpy(), np.array([1.0, np.log(2.0), 7.0, np.log(4.0)]))
    laws.identical(seen[0], x[x > 0])
    laws.identical(slopes(lambda t: call(np, t), x)[0], [-2.0, 1.0, 0.0, 1.0])
    for conditions, functions in (
        ([x > 0, x > 3], [1, 2]), (x > 0, [1, 2]), ([x > 0], [3]),
        ([x < -5], [np.exp, 4]),
    ):  # fmt: skip
        wanted = np.piecewise(x, conditions, functions)
        same(np.piecewise(tg.Tensor(x), conditions, functions), wanted)
    scaled = np.piecewise(tg.Tensor(x), [x > 0], [lambda z, by: z * by, 0], 3.0)
    same(scaled, np.piecewise(x, [x > 0], [lambda z, by: z * by, 0], 3.0))


# --- refusals ----------------------------------------------------------------------


def test_what_does_not_fit_is_refused_by_name():
    """Each refusal names the function, what was expected and what came."""
    t = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    for call, error, text in (
        (lambda: np.sort(t, axis=2), ShapeError, "out of range"),
        (lambda: np.sort(t, order="f"), UnsupportedError, r"^np\.sort: order="),
        (lambda: tg.sort(t, kind="stable", stable=True), OpError, "got both"),
        (lambda: np.sort(tg.Tensor(1.0)), ShapeError, r"^np\.sort: expected at least"),
        (lambda: np.partition(t, 3), ShapeError, "kth"),
        (lambda: np.take(t, [0.5]), OpError, r"^np\.take: expected places"),
        (lambda: np.take(t, [6]), ShapeError, "index 6"),
        (lambda: np.take(t, 0, mode="nearest"), OpError, "mode is"),
        (lambda: np.take_along_axis(t, np.array([0]), 1), ShapeError, "as many axes"),
        (lambda: np.compress(np.ones((2, 2)), t), ShapeError, "one axis"),
        (lambda: np.select([t], [t]), OpError, "booleans"),
        (lambda: np.choose([0, 3], [t[0, :2], t[1, :2]]), ShapeError, "index 3"),
        (lambda: np.choose([-1, 0], [t[0, :2], t[1, :2]]), OpError, "numbers from 0"),
        (lambda: np.piecewise(t, [t.numpy() > 0], [1, 2, 3]), OpError, "functions"),
        (lambda: np.digitize(t, np.array([0.0, 2.0, 1.0])), OpError, "rise, or"),
        (lambda: np.unique(t, axis=0), UnsupportedError, r"^np\.unique: axis="),
        (lambda: np.put_along_axis(t, t, 0, 1), UnsupportedError, "tg.put_along_axis"),
        (lambda: np.lexsort(t), UnsupportedError, r"^np\.lexsort"),
        (lambda: np.nonzero(tg.Tensor(1.0)), ShapeError, "at least one axis"),
    ):
        with pytest.raises(error, match=text):
            call()
    for name in ("sort", "partition", "put"):
        with pytest.raises(TinygradError, match=f"{name}: not offered"):
            getattr(t, name)


# --- compiled ----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
def test_a_compiled_step_sorts_anew_in_each_call(backend):
    """Places are recorded, not kept: another order gives other slopes, at ties too."""
    if backend == "jax":
        pytest.importorskip("jax")

    def step(x, y):
        placed = np.sort(x, axis=1)
        picked = np.take_along_axis(y, tg.argsort(x, axis=1), axis=1)
        top, _ = tg.topk(x * y, 2, axis=1)
        chosen = np.choose(tg.astype(x > 0, np.int64), [x, y])
        loss = (placed * picked).sum() + (top * top).sum() + (chosen * chosen).sum()
        return (loss, *tg.gradients(loss, [x, y]))

    compiled = tg.compile(step, backend=backend)
    for _ in range(3):
        x, y = np.round(2 * RNG.standard_normal((2, 3, 4))) / 2
        leaves = [tg.Tensor(v, requires_grad=True) for v in (x, y)]
        for got, want in zip(compiled(x, y), step(*leaves), strict=True):
            laws.close(np.asarray(got), want.numpy(), 1e-13)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (np.unique, "unique"),
        (np.nonzero, "nonzero"),
        (lambda x: np.compress(x > 0, x), "compress"),
        (lambda x: np.digitize(x, x), "digitize"),
        (lambda x: tg.put_along_axis(x, tg.argsort(x), 0.0, 0), "put_along_axis"),
        (lambda x: np.take(x, tg.argsort(x), mode="clip"), "take"),
    ],
)
def test_what_depends_on_numbers_is_not_compiled(f, name):
    """How many there are, or where they go, would be that of the first call: refused."""
    with pytest.raises(TinygradError, match=name):
        tg.compile(f)(np.ones(3))
