"""What newcomers met: compiled steps as they are used, and what they then say."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.cli import main
from tinygrad_nn.errors import CompileError
from tinygrad_nn.optim import SGD


def needs_c() -> None:
    """Skip where no C compiler is found."""
    try:
        tg.compile(lambda X: X * 2.0, backend="c")(np.ones(2))
    except tg.errors.TinygradError as error:
        pytest.skip(str(error))


# --- backend c: a product reads all of its operands ---


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_square_operands_of_a_product_are_complete_before_it(n: int) -> None:
    """A product in a loop of its own shape needs whole operands, not elements."""
    needs_c()
    V = tg.Parameter(np.eye(n))

    def f(X):
        h = np.tanh(X)
        w = h @ V + X
        return np.mean(np.tanh(w.T @ h + w))

    X = np.random.default_rng(n).normal(size=(n, n))
    compiled = tg.compile(f, backend="c")
    np.testing.assert_allclose(compiled(X).item(), f(X).item(), rtol=1e-12)


@pytest.mark.parametrize("exact", [False, True])
def test_a_recurrent_net_from_zeros_runs_in_c(exact: bool) -> None:
    """Two steps of a recurrent net, unrolled, are trained as eager trains them."""
    needs_c()
    S = np.random.default_rng(0).normal(size=(3, 2, 2))
    start = np.array([[0.5, -0.25], [0.125, 1.0]])
    V = tg.Parameter(start.copy())
    optimizer = SGD([V], lr=0.1)

    def step(S):
        h = np.zeros((3, 2))
        for t in range(2):
            h = np.tanh(S[:, t] + h @ V)
        loss = np.mean(h**2)
        optimizer.minimize(loss)
        return loss

    eager = [step(S).item() for _ in range(3)]
    V.data = start
    compiled = tg.compile(step, backend="c", exact=exact)
    found = [compiled(S).item() for _ in range(3)]
    np.testing.assert_allclose(found, eager, rtol=1e-12)


# --- an index out of bounds ---

BACKENDS = ["numpy", "c", "jax"]


def needs(backend: str) -> None:
    """Skip where a backend is not installed."""
    if backend == "c":
        needs_c()
    elif backend == "jax":
        pytest.importorskip("jax")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "picked",
    [
        lambda E, i: E[i],
        lambda E, i: E.T[:, i],
        lambda E, i: E[i + 0],
        lambda E, i: E[None, ..., i, :],
        lambda E, i: E[(i + 0 * E.detach().sum()).astype(int)],
        lambda E, i: E.reshape(-1)[i],
    ],
)
def test_an_index_out_of_bounds_changes_nothing(backend: str, picked) -> None:
    """An index that is out of bounds in a later call is refused before the update."""
    needs(backend)
    E = tg.Parameter(np.arange(15.0).reshape(5, 3), name="E")
    optimizer = SGD([E], lr=0.1)

    @tg.compile(backend=backend)
    def step(i):
        loss = (picked(E, i) ** 2).sum()
        optimizer.minimize(loss)
        return loss

    step(np.array([0, 1]))
    before = E.data.copy()
    with pytest.raises(tg.errors.ShapeError, match=r"getitem.*out of bounds.*\.py:"):
        step(np.array([0, 99]))
    with pytest.raises(tg.errors.ShapeError, match="out of bounds"):
        step.repeat(2, np.array([0, -99]))
    assert np.array_equal(E.data, before)
    assert np.isfinite(step(np.array([-3, 4])).item())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_held_index_that_went_out_of_bounds_is_refused(backend: str) -> None:
    """An index that the function sees is read, and looked at, in each call."""
    needs(backend)
    E = tg.Parameter(np.ones((5, 3)))
    i = np.array([0, 1])
    step = tg.compile(lambda X: (E[i] * X).sum(), backend=backend)
    step(np.ones(3))
    i[1] = 5
    with pytest.raises(tg.errors.ShapeError, match="index 5 is out of bounds"):
        step(np.ones(3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bad_index_is_blamed_without_the_numbers_of_the_trace(backend: str) -> None:
    """The message names the index; it does not show what it was when traced."""
    needs(backend)
    E = tg.Parameter(np.ones((5, 3)))
    step = tg.compile(lambda i: E[i].sum(), backend=backend)
    step(np.array([3, 3]))
    with pytest.raises(tg.errors.ShapeError, match=r"index=i\(2,\)") as caught:
        step(np.array([0, 7]))
    assert "3, 3" not in str(caught.value)


# --- arrays that the function sees ---


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "function",
    [
        lambda X, s: (X * s).sum(),
        lambda X, s: np.mean(s * (X + 1)),
        lambda X, s: -(X / s) * 2,
        lambda X, s: (X * s) @ np.ones(3),
        lambda X, s: (X * tg.Tensor(s)).sum(),
    ],
)
def test_a_single_number_in_an_array_is_held_by_reference(backend, function) -> None:
    """An array without axes is read at each call, as every other array is."""
    needs(backend)
    s = np.array(0.5)
    step = tg.compile(lambda X: function(X, s), backend=backend)
    X = np.arange(3.0)
    step(X)
    s[()] = 2.0
    expected = function(tg.Tensor(X), s).numpy()
    np.testing.assert_allclose(step(X).numpy(), expected, rtol=1e-12)


# --- exported files ---


def line_through(W):
    """Return a model of one product."""

    def model(X):
        return X @ W

    return model


def test_an_export_leaves_a_checkpoint_alone(tmp_path) -> None:
    """A file that was not exported is replaced only where that is asked for."""
    net = tg.nn.Dense(2, 1, rng=0)
    model = line_through(tg.Parameter(np.ones((2, 1))))
    X = np.zeros((4, 2))
    tg.save(tmp_path / "net.npz", net)
    saved = (tmp_path / "net.npz").read_bytes()
    with pytest.raises(tg.errors.SaveError, match=r"net\.npz.*overwrite=True"):
        tg.export_numpy(tmp_path / "net.py", model, X)
    assert (tmp_path / "net.npz").read_bytes() == saved
    assert not (tmp_path / "net.py").exists()
    tg.export_numpy(tmp_path / "net.py", model, X, overwrite=True)
    assert (tmp_path / "net.npz").read_bytes() != saved
    tg.export_numpy(tmp_path / "net.py", model, X)  # what it wrote itself
    tg.save(tmp_path / "net.npz", net)
    with pytest.raises(tg.errors.SaveError, match="was not exported"):
        tg.export_numpy(tmp_path / "net.py", model, X)


def test_an_export_leaves_a_module_alone(tmp_path) -> None:
    """A module of the user's is not replaced."""
    model = line_through(tg.Parameter(np.ones((2, 1))))
    (tmp_path / "mine.py").write_text("x = 1\n", "utf-8")
    with pytest.raises(tg.errors.SaveError, match=r"mine\.py"):
        tg.export_numpy(tmp_path / "mine.py", model, np.zeros((4, 2)))
    assert (tmp_path / "mine.py").read_text("utf-8") == "x = 1\n"


def test_an_exported_step_that_saved_is_exported_again(tmp_path) -> None:
    """What an exported step has saved is known by the module beside it."""
    W = tg.Parameter(np.ones((2, 1)), name="W")
    optimizer = SGD([W], lr=0.1)

    @tg.compile
    def step(X):
        loss = (X @ W).sum()
        optimizer.minimize(loss)
        return loss

    step(np.ones((4, 2)))
    tg.export_numpy(tmp_path / "training.py", step)
    runpy.run_path(str(tmp_path / "training.py"))["save"]()
    tg.export_numpy(tmp_path / "training.py", step)


# --- what would be frozen ---


def frozen_steps():
    """Return steps that do something else in every call, and what the error names."""
    W = tg.Parameter(np.ones(3), name="W")
    rng = np.random.default_rng(0)
    average = {"loss": 0.0}
    count = [0]

    class Running(tg.nn.Module):
        def __init__(self):
            self.m = np.zeros(3)

        def forward(self, X):
            self.m = 0.9 * self.m + 0.1 * X
            return (X * W - self.m).sum()

    def noisy(X):
        return (X * W + rng.normal(size=3)).sum()

    def averaged(X):
        loss = (X * W).sum()
        average["loss"] = 0.9 * average["loss"] + 0.1 * loss
        return average["loss"]

    def counting(X):
        count[0] += 1
        return (X * W).sum() / count[0]

    def counted(X):
        count[0] += 1
        return (X * W).sum(), count[0]

    return {
        "noise": (noisy, r"other numbers in an array \(3,\)"),
        "average": (averaged, "instead of"),
        "count": (counting, r"value 2(\.0)? instead of the value 1"),
        "result": (counted, "value 2 instead of the value 1 as result 1"),
        "module": (Running(), "instead of"),
    }


@pytest.mark.parametrize("name", ["noise", "average", "count", "result", "module"])
def test_what_would_be_frozen_is_an_error(name: str) -> None:
    """A step that does something else when it is traced again is refused, with why."""
    step, what = frozen_steps()[name]
    with pytest.raises(tg.errors.CompileError, match=what):
        tg.compile(step)(np.ones(3))


def test_a_cache_that_is_filled_by_the_first_call_is_fine() -> None:
    """What a step makes once, and finds again, is the same both times."""
    cache = {}

    @tg.compile
    def step(X):
        if "mask" not in cache:
            cache["mask"] = np.tril(np.ones((3, 3)))
        return (X @ cache["mask"]).sum()

    assert step(np.ones((2, 3))).item() == 12.0


def test_later_signatures_are_traced_once() -> None:
    """Only the first signature is traced twice: a step is its code, not its shapes."""
    calls = []

    @tg.compile
    def step(X):
        calls.append(len(X))
        return X.sum()

    for n in (2, 3, 2, 4):
        step(np.ones(n))
    assert calls == [2, 2, 3, 4]


# --- what has no gradient ---

FLAT = {
    "argmax": lambda A: np.argmax(A, 1),
    "argmax of all": lambda A: A.argmax(),
    "argmin": lambda A: np.argmin(A, axis=-2),
    "any": lambda A: np.any(A > 1, 1),
    "any of all": lambda A: (A > 5).any(),
    "all": lambda A: np.all(A, axis=0),
    "all of all": lambda A: (A > -9).all(),
    "of truths": lambda A: np.argmax(A > 1, 1),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FLAT)
def test_flat_functions_are_computed_anew(backend: str, name: str) -> None:
    """Places and truths are computed in each call, ties and nan as in NumPy."""
    needs(backend)
    rng = np.random.default_rng(1)
    step = tg.compile(FLAT[name], backend=backend)
    for i in range(4):
        A = rng.integers(-2, 3, (4, 6)).astype(float)
        if i == 3:
            A[1, 2] = A[1, 4] = np.nan
        found = step(A)
        expected = FLAT[name](A)
        assert np.array_equal(found.numpy(), expected)
        assert found.dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("backend", BACKENDS)
def test_accuracy_is_computed_in_the_step(backend: str) -> None:
    """A step may return how many examples were right, beside its loss."""
    needs(backend)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
    W = tg.Parameter(rng.normal(size=(3, 4)))
    optimizer = SGD([W], lr=0.5)

    @tg.compile(backend=backend)
    def step(X, y):
        logits = X @ W
        loss = tg.losses.cross_entropy(logits, y)
        optimizer.minimize(loss)
        return loss, np.mean(np.argmax(logits, 1) == y)

    for _ in range(5):
        right = np.mean(np.argmax(X @ W.data, 1) == y)
        assert step(X, y)[1].item() == pytest.approx(right, rel=1e-12)


def test_a_classifier_is_exported(tmp_path) -> None:
    """A prediction may end in a class."""
    W = tg.Parameter(np.random.default_rng(0).normal(size=(3, 4)))
    X = np.random.default_rng(1).normal(size=(9, 3))
    path = tmp_path / "classes.py"
    tg.export_numpy(path, lambda X: np.argmax(X @ W, axis=1), X[:4])
    predict = runpy.run_path(str(path))["predict"]
    assert np.array_equal(predict(X), np.argmax(X @ W.data, 1))


def test_what_python_reduces_lies_in_memory() -> None:
    """Backend c calls Python for the largest of integers, which were cheap to make."""
    needs_c()
    step = tg.compile(
        lambda X: np.max((X > 0).astype(int) * 2 + 1, axis=1), backend="c"
    )
    assert step(np.array([[-1.0, 2.0], [-3.0, -4.0]])).numpy().tolist() == [3, 1]


# --- what errors say ---


def said(step, *args) -> str:
    """Return what the error says that a compiled step raises."""
    with pytest.raises(tg.errors.TinygradError) as caught:
        tg.compile(step)(*args)
    return str(caught.value)


def test_indexing_an_array_with_an_argument_is_advised() -> None:
    """An argument is a Tensor: what it indexes is a Tensor of the array."""
    rows, i = np.ones((5, 3)), np.array([0, 2])
    assert "tg.Tensor(array)[index]" in said(lambda i: rows[i], i)
    assert "np.arange(k)" in said(lambda i: np.eye(3)[i], i)
    held = tg.Tensor(rows)
    assert tg.compile(lambda i: held[i])(i).shape == (2, 3)
    hot = tg.compile(lambda i: (i[:, None] == np.arange(3)) * 1.0)
    assert np.array_equal(hot(i).numpy(), np.eye(3)[i])


def test_operators_without_a_rule_are_refused_by_name() -> None:
    """What a Tensor does not record is an error of ours, with what to do instead."""
    y = np.array([3, 4])
    for function in (np.bitwise_count, np.fft.fft, lambda y: np.left_shift(y, 1)):
        assert "outside of the compiled step" in said(function, y)
        with pytest.raises(tg.errors.UnsupportedError, match=r"\.numpy\(\)"):
            function(tg.Tensor(y))


def test_an_update_of_data_is_advised() -> None:
    """Where ``.data`` is read in order to be written, the way to write is named."""
    W = tg.Parameter(np.ones(3))

    def step(X):
        (W * X).sum().backward()
        W.data -= 0.1 * W.grad

    assert "with tg.no_grad(): W -=" in said(step, np.ones(3))


def test_a_live_rate_is_printed_and_refused_by_name() -> None:
    """A learning rate may be printed in a step; NumPy's functions do not take it."""
    optimizer = SGD([tg.Parameter(np.ones(2))], lr=0.125)
    texts = []

    def step(X):
        texts.append(f"{optimizer.lr:.3f}")
        return X.sum()

    tg.compile(step)(np.ones(2))
    assert set(texts) == {"0.125"}
    assert "np.exp of the live number lr" in said(
        lambda X: X * np.exp(optimizer.lr), np.ones(2)
    )
    scaled = tg.compile(lambda X: np.multiply(X, optimizer.lr))
    assert scaled(np.ones(2)).numpy().tolist() == [0.125, 0.125]


def test_an_array_of_objects_is_refused() -> None:
    """Arguments hold real numbers."""
    with pytest.raises(tg.errors.DtypeError, match="dtype object as 'X'"):
        tg.compile(lambda X: X.sum())(np.array([1, 2.5], object))


def test_a_step_says_what_it_is() -> None:
    """Its name, its backend, its programs; and what comes first in ``repeat``."""

    @tg.compile
    def step(X):
        return X.sum()

    step(np.ones(3))
    assert repr(step) == "<compiled step 'step', numpy, 1 program>"
    with pytest.raises(tg.errors.CompileError, match=r"comes first.*got ndarray\."):
        step.repeat(np.ones(1000), 3)


def test_an_unknown_backend_of_the_command_line_is_one_sentence(capsys) -> None:
    """Without a close name the list of names follows in the same sentence."""
    with pytest.raises(SystemExit):
        main(["train", "moons", "--backend", "torch"])
    assert "unknown backend 'torch'; it is one of numpy, c" in capsys.readouterr().err


# --- numbers that are not finite ---


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_finite_on_the_way_may_pass(backend: str) -> None:
    """With check_finite a step whose results, slopes and updates are finite is right."""
    needs(backend)
    W = tg.Parameter(np.ones(2), name="W")
    optimizer = SGD([W], lr=0.5)

    def step(X):
        chosen = np.where(X > 0, np.log(X), 0.0).sum()
        loss = chosen + (W / (1 + np.exp(-X))).sum()
        optimizer.minimize(loss)
        return loss

    X = np.array([-1000.0, 1.0])
    checked = tg.compile(step, backend=backend, check_finite=True)
    with np.errstate(all="ignore"):
        expected = [step(X).item(), W.data.copy()]
        W.data = np.ones(2)
        assert checked(X).item() == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(W.data, expected[1], rtol=1e-12)
        checked.repeat(3, X)
        assert optimizer.steps == 5
        for _ in range(4):  # the quick way, from which the slow one is taken
            checked(np.ones(2))
        start = W.data.copy()
        for _ in range(3):
            checked(np.ones(2))
        checked(X)
        found = W.data.copy()
        W.data = start
        for given in (np.ones(2),) * 3 + (X,):
            step(given)
        np.testing.assert_allclose(found, W.data, rtol=1e-12)
        optimizer.steps = 5
        before = W.data.copy()
        with pytest.raises(tg.errors.DivergedError, match="begin with: 'X'") as caught:
            checked(np.array([np.nan, 1.0]))
    assert type(caught.value) is tg.errors.DivergedError
    assert np.array_equal(W.data, before)
    assert optimizer.steps == 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_is_not_finite_is_refused(backend: str) -> None:
    """A finite loss whose gradient overflows changes nothing, and names the op."""
    needs(backend)
    W = tg.Parameter(np.full(2, 1e-200), name="W")
    optimizer = SGD([W], lr=0.5)

    @tg.compile(backend=backend, check_finite=True)
    def step(X):
        loss = (X / W).sum()
        optimizer.minimize(loss)
        return loss

    with np.errstate(all="ignore"), pytest.raises(tg.errors.DivergedError):
        step(np.ones(2))
    assert np.array_equal(W.data, np.full(2, 1e-200))
    assert optimizer.steps == 0


# --- memory that has two names ---

ANOTHER_NAME = {
    "whole": lambda W: W.data,
    "turned": lambda W: W.data[::-1],
    "beside it": lambda W: np.asarray(W.data.base)[4:],
    "a copy": lambda W: W.data.copy(),
}


def two_names(how: str, kind: str):
    """Make a step on a parameter whose memory is known by another name as well."""
    W = tg.Parameter((np.arange(1.0, 9.0) / 4)[:4], name="W")
    optimizer, array = SGD([W], lr=0.1), ANOTHER_NAME[how](W)

    def step(X, Y):
        other = array if kind == "closed over" else X
        loss = ((W * other - Y * W) ** 2).sum()
        optimizer.minimize(loss)
        return loss

    return step, array if kind == "an argument" else np.ones(4), W


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
@pytest.mark.parametrize("kind", ["an argument", "closed over"])
@pytest.mark.parametrize("how", ANOTHER_NAME)
def test_what_a_repeated_step_changes_the_next_one_reads(backend, kind, how) -> None:
    """An array in a parameter's memory is read anew by each of many steps."""
    if backend == "c":
        needs_c()
    if backend == "jax":
        pytest.importorskip("jax")
    step, X, W = two_names(how, kind)
    Y = np.linspace(0.2, 0.8, 4)
    wanted = [step(tg.Tensor(X), tg.Tensor(Y)) for _ in range(5)][-1]
    other, X, V = two_names(how, kind)
    got = tg.compile(other, backend=backend).repeat(5, X, Y)
    np.testing.assert_allclose(got.item(), wanted.item(), rtol=1e-12)
    np.testing.assert_allclose(V.data, W.data, rtol=1e-12)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", ANOTHER_NAME)
def test_an_array_in_the_memory_of_a_parameter_is_not_read_after_its_update(
    how, late
) -> None:
    """A step is refused that would have to read what it has just changed."""
    W = tg.Parameter((np.arange(1.0, 9.0) / 4)[:4], name="W")
    optimizer, array = SGD([W], lr=0.1), ANOTHER_NAME[how](W)

    def step(X):
        early = (array * X).sum()
        optimizer.minimize((W * X).sum())
        return (array * X).sum() if late else early

    compiled = tg.compile(step)
    if late and how in ("whole", "turned"):
        with pytest.raises(CompileError, match=r"an array outside .* with 'W'"):
            compiled(np.ones(4))
    else:
        wanted = array.sum()
        assert compiled(np.ones(4)).item() == pytest.approx(wanted, rel=1e-12)


# --- what changes by itself ---


def fails_again(count: int) -> int:
    if count > 1:
        raise KeyError("the key was taken out")
    return count


CHANGING = {
    "a number": (lambda X, n: X.sum() * n, "the value 2 instead of the value 1"),
    "an array": (lambda X, n: (X * np.full(3, n)).sum(), "other numbers in an array"),
    "an op": (lambda X, n: [tg.sin, tg.cos][n - 1](X), "cos instead of sin"),
    "how many": (lambda X, n: sum([X.sum()] * n, X), "3 ops instead of 2"),
    "a result": (lambda X, n: (X.sum(), n), "value 2 instead of the value 1 as result"),
    "many results": (lambda X, n: [X.sum()] * n, "other results"),
    "a structure": (lambda X, n: [[X], (X,)][n - 1], "results like"),
    "an error": (lambda X, n: X * fails_again(n), "KeyError: 'the key was taken out'"),
    "a setting": (lambda X, n: X[n:] * X[:-n], "other settings of getitem"),
}


def refused(what: str) -> None:
    """Raise where a step that does something else each time is not refused."""
    change, words = CHANGING[what]
    count = iter(range(1, 9))
    with pytest.raises(CompileError, match=f"traced twice.*{words}.* the second time"):
        tg.compile(lambda X: change(X, next(count)))(np.ones(3))


@pytest.mark.parametrize("what", CHANGING)
def test_what_changes_by_itself_is_refused_in_words(what) -> None:
    """A step that is another one when it is traced again would be frozen."""
    refused(what)


@pytest.mark.parametrize("what", CHANGING)
def test_a_step_that_is_traced_once_shows_nothing(what, monkeypatch) -> None:
    """The mutant that does not run the function again breaks the law above."""
    nothing = lambda *_, **__: None
    monkeypatch.setattr(tg.compiler.step.CompiledStep, "_refuse_change", nothing)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        refused(what)
