"""Gradients of each example are those of the loss of each example alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import DataError, OpError, ShapeError
from tinygrad_nn.transforms import per_example

N = 7
rng = np.random.default_rng(0)
X, V = rng.normal(size=(N, 4)), rng.normal(size=(N, 2))
LABELS = rng.integers(0, 3, N)
SIGNS = np.where(LABELS > 0, 1.0, 0.0)


@pytest.fixture
def ways(monkeypatch):
    """Note whether the examples went together, True, or one by one."""
    noted = []
    together = per_example._together

    def watched(*args, **settings):
        found = together(*args, **settings)
        noted.append(found is not None)
        return found

    monkeypatch.setattr(per_example, "_together", watched)
    return noted


def net(*sizes, activation="tanh"):
    seed = np.random.default_rng(1)
    return nn.Sequential(
        *[
            nn.Dense(n, m, activation=activation, rng=seed)
            for n, m in pairwise(sizes[:-1])
        ],
        nn.Dense(sizes[-2], sizes[-1], rng=seed),
    )


def leaves(gradient):
    return [tg.op.data_of(x) for x in tg.transforms.structure.opened(gradient).leaves]


def held_to_singles(loss, p, *batch, **options):
    """Hold the stacked gradients to those of a loop, written out."""
    found = leaves(tg.per_example_grad(loss)(p, *batch, **options))
    for i in range(len(tg.op.data_of(batch[0]))):
        one = leaves(tg.grad(loss)(p, *[x[i : i + 1] for x in batch], **options))
        assert len(one) == len(found)
        for whole, part in zip(found, one, strict=True):
            assert whole.shape == (len(batch[0]), *part.shape)
            assert whole.dtype == part.dtype
            np.testing.assert_allclose(whole[i], part, rtol=1e-12, atol=1e-14)
    return found


L = tg.losses
TOGETHER = {
    "mse": lambda m, x, y: L.mse(m(x), y),
    "cross entropy of classes": lambda m, x, y: L.cross_entropy(m(x), y),
    "binary cross entropy": lambda m, x, y: L.binary_cross_entropy_with_logits(
        m(x)[:, 0], y
    ),
    "huber": lambda m, x, y: L.huber(m(x), y),
    "written out": lambda m, x, y: np.mean((np.tanh(m(x)) - y) ** 2),
    "softmax": lambda m, x, y: -(tg.log_softmax(m(x), 1) * y).sum(),
    "norms and products": lambda m, x, y: tg.norm(m(x)) * tg.prod(y + 2.0) * tg.max(m(x)),
    "einsum and joints": lambda m, x, y: tg.einsum(
        "ij,kj->", tg.concatenate([m(x), m(x) * y], axis=1), np.ones((2, 6))
    ),
    "columns and turns": lambda m, x, y: (m(x).T[1:, :] * y.T[:-1]).sum() ** 2,
}  # fmt: skip
TARGETS = {
    "cross entropy of classes": LABELS,
    "binary cross entropy": SIGNS,
}


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("name", TOGETHER)
def test_a_network_of_dense_layers_needs_no_loop(name, activation, ways):
    """For every loss on a net of Dense layers all examples go together, and are right."""
    model = net(4, 5, 3, activation=activation)
    y = TARGETS.get(name, rng.normal(size=(N, 3)))
    held_to_singles(TOGETHER[name], model, X, y)
    assert ways == [True]


def test_their_mean_is_the_gradient_of_the_mean_loss():
    """Over the examples of a batch the gradients average to the batch's."""
    model = net(4, 5, 3)
    loss = TOGETHER["cross entropy of classes"]
    each = tg.per_example_grad(loss)(model, X, LABELS)
    whole = tg.grad(loss)(model, X, LABELS)
    for name, g in whole.items():
        np.testing.assert_allclose(each[name].numpy().mean(0), g.numpy(), rtol=1e-12)


BY_HAND = {
    "a dict of arrays": (
        {"w": np.ones(4), "n": 3, "b": 0.5},
        lambda p, x, y: ((x @ p["w"] + p["b"] - y) ** 2).sum(),
    ),
    "a vector": (np.ones(4), lambda w, x, y: tg.exp(x @ w * 0.1).sum() * y.sum()),
    "a matrix": (np.ones((4, 4)), lambda W, x, y: ((x @ W @ x.T) * y).sum()),
    "float32": (
        np.ones(4, np.float32),
        lambda w, x, y: (w * x.astype(np.float32)).sum(),
    ),
    "unused": ({"w": np.ones(2), "v": np.ones((2, 3))}, lambda p, x, y: (p["w"] * x[:, :2]).sum()),
    "of no example": (np.ones(3), lambda w, x, y: (w * w).sum()),
    "a row": (np.ones(4), lambda w, x, y: (x[0] * w) @ w),
    "sorted by an op": (np.ones(4), lambda w, x, y: (tg.sort(x * w) * np.arange(4.0)).sum()),
    "running sums": (np.ones(4), lambda w, x, y: (tg.cumsum(x * w, 1) ** 2).sum()),
    "a quadratic form": (np.ones((4, 4)), lambda W, x, y: tg.exp(x @ W @ x.T * 0.1).sum()),
    "products of each one's matrices": (
        np.eye(2) + 0.5,
        lambda W, x, y: tg.tanh((x.reshape(2, 2) @ W) @ (W @ x.reshape(2, 2).T)).sum(),
    ),
    "products with vectors": (
        np.eye(4) + 0.5,
        lambda W, x, y: tg.tanh(x[0] @ W) @ tg.tanh(W @ x[0]) * tg.exp(x[0] @ x[0] * 0.1 * W[0, 0]),
    ),
    "stacks of matrices": (
        np.ones((3, 2, 2)),
        lambda W, x, y: tg.tanh(W @ x.reshape(2, 2)).sum() * tg.einsum("kij,lj->", W, x.reshape(2, 2)),
    ),
    "picked": (np.ones((3, 4)), lambda W, x, y: (W[[0, 2]] * x).sum() + W[1, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_functions_of_arrays(name, ways):
    """Arrays and structures of them: op by op together, whatever the op."""
    p, loss = BY_HAND[name]
    held_to_singles(loss, p, X, SIGNS)
    assert ways == [True]


def reads(w, x, y):
    scale = 2.0 if x.sum() > 0 else 1.0
    return (x @ w).sum() * scale


def leaves_the_graph(w, x, y):
    onehot = np.eye(3)[np.asarray(y).astype(int)]
    return (onehot @ w[:3]).sum()


def hides_what_it_reads(w, x, y):
    """Catch all errors of reading a number, and go on with another."""
    try:
        scale = float(x.sum())
    except Exception:  # noqa: BLE001 (as such functions do)
        scale = 1.0
    return (w * x[0]).sum() * scale


LOOPS = {
    "what only arrays can": (
        np.ones(4),
        lambda w, x, y: (x @ w).sum() * np.bincount(y.astype(int), minlength=3).argmax(),
    ),
    "a number read in a try": (np.ones(4), hides_what_it_reads),
    "a branch on numbers": (np.ones(4), reads),
    "NumPy on labels": (np.ones(4), leaves_the_graph),
    "an item": (np.ones(4), lambda w, x, y: w.sum() * (1 + float(y[0]))),
    "a mask of another size each": (np.ones(4), lambda w, x, y: (w * x[0])[x[0] > 0].sum()),
    "a gradient inside": (
        np.ones(4),
        lambda w, x, y: tg.grad(lambda v: (v**3 * w).sum())(x[0]).sum() * 1.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_what_may_differ_from_example_to_example_is_a_loop(name, ways):
    """Where a function looks at an example's numbers each one is called by itself."""
    p, loss = LOOPS[name]
    held_to_singles(loss, p, X, SIGNS)
    assert ways == [False]


def test_each_example_has_random_numbers_of_its_own(ways):
    """With dropout the loss is called once an example, in order."""
    drop = nn.Dropout(0.5, rng=0)
    loss = lambda w, x: (drop(x * w) ** 2).sum()
    found = tg.per_example_grad(loss)(np.ones(4), X)
    again = np.random.default_rng(0)
    for i in range(N):
        kept = (again.random((1, 4)) >= 0.5) * 2.0
        np.testing.assert_allclose(found[i], (2 * (X[i] * kept) ** 2)[0], rtol=1e-14)
    assert ways == [False]


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_what_was_not_chosen_spoils_no_example(bad):
    """where(x > 0, log(x), 0) has the gradient 0 where x is not positive, for each."""
    data = np.array([[1.0, 2.0], [bad, 3.0], [4.0, bad]])

    def loss(w, x):
        z = x * w
        return tg.where(z > 0, tg.log(z), 0.0).sum()

    with np.errstate(all="ignore"):
        found = tg.per_example_grad(loss)(np.ones(2), data)
    np.testing.assert_array_equal(found, [[1, 1], [0, 1], [1, 0]])


def test_labels_of_every_example_are_looked_at():
    """A label that is none is refused, wherever in the batch it stands."""
    model = net(4, 5, 3)
    loss = TOGETHER["cross entropy of classes"]
    wrong = LABELS.copy()
    wrong[-1] = 3
    with pytest.raises(DataError):
        tg.per_example_grad(loss)(model, X, wrong)


def test_arguments():
    """argnums and argnames as in grad; keywords are whole; others may be anything."""
    loss = lambda a, x, b, note, *, scale: (a * x.sum() * b * scale.sum()).sum()
    scale = np.array([1.0, 2.0])
    a, b = np.ones(2), np.full(2, 3.0)
    sums = X.sum(1)
    da, db = tg.per_example_grad(loss, (0, 2))(a, X, b, "text", scale=scale)
    np.testing.assert_allclose(da, 9 * sums[:, None] * np.ones(2))
    np.testing.assert_allclose(db, 3 * sums[:, None] * np.ones(2))
    named = tg.per_example_grad(loss, argnames=["b", "scale"])(
        1.0, X, b=b, note=None, scale=scale
    )
    np.testing.assert_allclose(named["b"], 3 * sums[:, None] * np.ones(2))
    np.testing.assert_allclose(named["scale"], 6 * sums[:, None] * np.ones(2))
    batch = {"x": X, "y": [SIGNS, 5]}
    f = lambda w, d: (d["x"] @ w).sum() * d["y"][0].sum() * d["y"][1]
    found = tg.per_example_grad(f)(np.ones(4), batch)
    np.testing.assert_allclose(found, 5 * X * SIGNS[:, None])


def test_a_model_that_is_not_differentiated_is_no_batch():
    """Gradients by something else leave a model whole."""
    model = net(4, 5, 3)
    loss = lambda m, scale, x: (m(x) * scale).sum()
    found = tg.per_example_grad(loss, 1)(model, 2.0, X)
    np.testing.assert_allclose(found.numpy(), model(X).numpy().sum(1), rtol=1e-14)


def test_no_examples_and_one():
    """An empty batch gives gradients of no examples, in the right shapes."""
    loss = lambda p, x: (x @ p["w"]).sum() + p["b"].sum()
    p = {"w": np.ones(4, np.float32), "b": np.ones((2, 3)), "n": 3}
    none = tg.per_example_grad(loss)(p, X[:0])
    assert none["w"].shape == (0, 4)
    assert none["w"].dtype == np.float32
    assert none["b"].shape == (0, 2, 3)
    assert none["n"] is None
    one = tg.per_example_grad(loss)(p, X[:1])
    assert one["b"].shape == (1, 2, 3)


def test_batches_that_do_not_fit_are_refused():
    """Different numbers of examples, and none at all, are told."""
    loss = lambda w, x, y: (x @ w * y).sum()
    with pytest.raises(ShapeError, match=r"per_example_grad.*3 and 7.*keyword"):
        tg.per_example_grad(loss)(np.ones(4), X, SIGNS[:3])
    with pytest.raises(OpError, match="got none"):
        tg.per_example_grad(lambda w: w.sum())(np.ones(4))
    with pytest.raises(OpError, match="got none"):
        tg.per_example_grad(lambda w, scale: w.sum() * scale)(np.ones(4), 2.0)
    with pytest.raises(tg.errors.GradientError, match="one number"):
        tg.per_example_grad(lambda w, x: x * w)(np.ones(4), X)


def test_they_are_differentiated_again(ways):
    """Tensors in, Tensors of the graph out; inside of another transform as well."""
    w0 = np.linspace(0.5, 1.0, 4)
    loss = lambda w, x: (x @ w**2).sum()
    each = tg.per_example_grad(loss)(tg.Parameter(w0), X)
    assert isinstance(each, tg.Tensor)
    penalty = lambda w: (tg.per_example_grad(loss)(w, X) ** 2).sum()
    np.testing.assert_allclose(tg.grad(penalty)(w0), 8 * w0 * (X**2).sum(0), rtol=1e-13)
    assert ways == [True, True]
    with tg.no_grad():
        quiet = tg.per_example_grad(loss)(tg.Parameter(w0), X)
    assert quiet.op is None
    np.testing.assert_allclose(quiet.numpy(), 2 * w0 * X)


def test_results_are_arrays_of_their_own():
    """What comes back is writable and shares nothing."""
    data = X.copy()
    data.setflags(write=False)
    found = tg.per_example_grad(lambda w, x: (x * w).sum())(np.ones(4), data)
    assert found.flags.writeable
    assert not np.shares_memory(found, data)
    np.testing.assert_array_equal(found, X)


def test_compiled_it_is_the_same():
    """In a compiled step examples go one by one, and come out as they do eagerly."""
    loss = lambda w, x: (tg.tanh(x @ w) ** 2).sum()
    step = tg.compile(tg.per_example_grad(loss))
    w0 = np.linspace(0.5, 1.0, 4)
    np.testing.assert_allclose(
        step(w0, X).numpy(), tg.per_example_grad(loss)(w0, X), rtol=1e-13
    )


def test_large_batches_go_in_turns(monkeypatch):
    """What would not fit at once is done in parts, and put together."""
    monkeypatch.setattr(tg.transforms.batching, "_AT_ONCE", 20)
    held_to_singles(TOGETHER["mse"], net(4, 5, 3), X, rng.normal(size=(N, 3)))
    J = tg.jacobian(lambda x: tg.tanh(X @ x))(np.ones(4))
    wanted = X * (1 - np.tanh(X.sum(1)) ** 2)[:, None]
    np.testing.assert_allclose(J, wanted, rtol=1e-13)
