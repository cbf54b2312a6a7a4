"""Laws of training: what fit does to a model, what it measures, when it stops."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_nn import data, losses, nn, ops, optim, recording
from tinygrad_nn.compiler.toolchain import find_compiler
from tinygrad_nn.errors import (
    CompileError,
    DataError,
    DivergedError,
    MissingExtraError,
    ModelError,
    ShapeError,
)
from tinygrad_nn.losses import binary_cross_entropy_with_logits, cross_entropy, mse
from tinygrad_nn.tensor import Parameter, Tensor
from tinygrad_nn.training import (
    Checkpoint,
    EarlyStopping,
    History,
    accuracy,
    confusion_matrix,
    evaluate,
    fit,
    load,
    predicted_classes,
    r2,
)
from tinygrad_nn.training import engine as engines
from tinygrad_nn.training.interrupt import WholeSteps
from tinygrad_nn.training.surroundings import Surroundings

X = np.random.default_rng(0).normal(size=(50, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]]) + 0.1


def network(seed=0, rate=0.0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Dense(3, 4, activation="tanh", rng=rng),
        nn.Dropout(rate, rng=rng),
        nn.Dense(4, 1, rng=rng),
    )


def adam(model, lr=0.01):
    return optim.Adam(model.parameters(), lr=lr)


class Witness(nn.Module):
    """A linear model that remembers what it saw, and in which mode."""

    def __init__(self):
        self.weight = Parameter(np.zeros((3, 1)))
        self.inner = nn.Dropout(0.0, rng=0)
        self.seen = []

    def forward(self, x):
        self.seen.append((np.array(x), self.training, self.inner.training))
        return x @ self.weight


# --- the loop ---


@pytest.mark.parametrize("size", [7, 50, 64])
def test_every_epoch_sees_every_example_once(size):
    """Mini-batches cover the data, the last and smaller one included."""
    model = Witness()
    fit(model, mse, adam(model), (X, Y), epochs=2, batch_size=size, rng=0)
    epochs = np.split(np.concatenate([seen[0] for seen in model.seen]), 2)
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch, axis=0), np.sort(X, axis=0))
    assert not np.array_equal(*epochs)


def test_without_a_batch_size_a_step_takes_all_examples_in_their_order():
    """Full-batch gradient descent is that of the tutorials, to the bit."""
    model = Witness()
    fit(model, mse, adam(model), (X, Y), epochs=3)
    assert len(model.seen) == 3
    assert all(np.array_equal(seen[0], X) for seen in model.seen)


def test_fit_is_the_loop_one_would_write():
    """Parameters after fit equal those of backward and step by hand, bit for bit."""
    model, by_hand = network(), network()
    history = fit(model, mse, adam(model), (X, Y), epochs=3, batch_size=16, rng=5)
    optimizer, rng = adam(by_hand), np.random.default_rng(5)
    costs = []
    for _ in range(3):
        total = 0.0
        for X_batch, y_batch in data.batches(X, Y, 16, rng):
            loss = mse(by_hand(X_batch), y_batch)
            optimizer.minimize(loss)
            total += loss.item() * len(y_batch)
        costs.append(total / 50)
    assert history["loss"].tolist() == costs
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_the_loss_is_the_mean_over_examples():
    """A small last batch weighs by its examples, not as a batch."""
    model = Witness()
    history = fit(
        model,
        mse,
        optim.SGD(model.parameters(), lr=0.0),
        (X, Y),
        epochs=1,
        batch_size=49,
        rng=0,
    )
    np.testing.assert_allclose(history["loss"][0], np.mean(Y**2), rtol=1e-12)


def test_modes_are_switched_and_given_back():
    """Training mode for batches, evaluation mode for validation, then as before."""
    model = Witness()
    model.training, model.inner.training = True, False
    fit(model, mse, adam(model), (X, Y), epochs=2, validation_data=(X[:9], Y[:9]))
    modes = [(len(x), outer, inner) for x, outer, inner in model.seen]
    assert modes == [(50, True, True), (9, False, False)] * 2
    assert (model.training, model.inner.training) == (True, False)


def test_modes_are_given_back_after_an_error():
    """A model that fails in training is not left in another mode."""
    model = network().eval()
    with pytest.raises(ShapeError):
        fit(model, mse, adam(model), (X[:, :2], Y), epochs=1)
    assert not any(module.training for _, module in model.named_modules())


def test_validation_changes_nothing():
    """With and without validation, the parameters are the same bits."""
    plain, watched = network(rate=0.5), network(rate=0.5)
    fit(plain, mse, adam(plain), (X, Y), epochs=3, batch_size=8, rng=1)
    fit(
        watched,
        mse,
        adam(watched),
        (X, Y),
        epochs=3,
        batch_size=8,
        rng=1,
        validation_data=(X, Y),
        metrics=[r2],
    )
    for name, value in plain.state().items():
        assert np.array_equal(value, watched.state()[name])


def test_validation_measures_without_dropout_and_without_a_graph():
    """The validation loss is that of the model in use, averaged over examples."""
    model = network(rate=0.5)
    graphs = []

    def loss(prediction, target):
        value = mse(prediction, target)
        graphs.append(value.requires_grad)
        return value

    history = fit(
        model,
        loss,
        optim.SGD(model.parameters(), lr=0.0),
        (X, Y),
        epochs=1,
        validation_data=[(X[:20], Y[:20]), (X[20:], Y[20:])],
        metrics={"fit": r2},
    )
    predicted = model.eval()(X).numpy()
    np.testing.assert_allclose(
        history["validation_loss"][0], np.mean((predicted - Y) ** 2), rtol=1e-12
    )
    np.testing.assert_allclose(history["validation_fit"][0], r2(predicted, Y))
    assert graphs == [True, False, False]
    assert history["loss"][0] != history["validation_loss"][0]


def test_metrics_see_the_whole_epoch():
    """A metric is computed on all predictions at once, not averaged over batches."""
    seen = []

    def count(prediction, target):
        seen.append((prediction.shape, target.shape))
        return len(target)

    model = network()
    history = fit(
        model, mse, adam(model), (X, Y), epochs=1, batch_size=8, metrics=[count]
    )
    assert seen == [((50, 1), (50, 1))]
    assert history["count"].tolist() == [50]


@pytest.mark.parametrize(
    "make",
    [
        lambda: (X, Y),
        lambda: data.Dataset(X, Y[:, 0]),
        lambda: data.batches(X, Y, 10, 0),
        lambda: [(X[:30], Y[:30]), (X[30:], Y[30:])],
    ],
    ids=["pair", "Dataset", "batches", "list"],
)
def test_data_may_come_in_many_forms(make):
    """A pair, a Dataset and any iterable of batches train a model."""

    def loss(prediction, target):
        return mse(prediction[:, 0], np.ravel(target))

    model = network()
    history = fit(model, loss, adam(model, 0.05), make(), epochs=30)
    assert history["loss"][-1] < history["loss"][0] / 2


def test_several_inputs_are_several_arguments():
    """A tuple of inputs reaches the model as arguments, batch by batch."""

    class Sum(nn.Module):
        def __init__(self):
            self.w = Parameter(np.zeros((3, 1)))

        def forward(self, a, b):
            assert a.shape == b.shape
            return (a + b) @ self.w

    model = Sum()
    history = fit(
        model, mse, adam(model, 0.1), ((X, X), Y), epochs=20, batch_size=9, rng=0
    )
    assert history["loss"][-1] < history["loss"][0] / 2


def test_a_generator_of_batches_is_refused_when_it_is_empty():
    """What gives batches only once is named in the second epoch, not trained on air."""
    model = network()
    batches = ((X[i : i + 10], Y[i : i + 10]) for i in range(0, 50, 10))
    with pytest.raises(DataError, match=r"epoch 2; got none.*generator"):
        fit(model, mse, adam(model), batches, epochs=2)


def test_a_batch_size_for_batches_is_refused():
    """Data that comes in batches has its size."""
    model = network()
    with pytest.raises(DataError, match="batch_size"):
        fit(model, mse, adam(model), [(X, Y)], epochs=1, batch_size=3)


def test_a_loss_that_is_not_finite_stops_training_by_epoch_and_batch():
    """The error names the place, and no step was made with that loss."""
    model, by_hand = network(), network()
    parts = [(X[:10], Y[:10]), (X[10:], np.full((40, 1), 1e200))]
    with (
        np.errstate(all="ignore"),
        pytest.raises(DivergedError, match=r"inf in epoch 1, batch 2\. Use a smaller"),
    ):
        fit(model, mse, adam(model), parts, epochs=3)
    fit(by_hand, mse, adam(by_hand), parts[:1], epochs=1)
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_a_loss_of_many_numbers_is_refused():
    """A loss that was not reduced is named, with its shape."""
    model = network()
    with pytest.raises(ShapeError, match=r"one number; got loss\(50, 1\)"):
        fit(model, lambda p, t: (p - t) ** 2, adam(model), (X, Y), epochs=1)


def test_gradients_are_clipped_to_a_norm():
    """max_norm is clip_by_norm between backward and step."""
    model, by_hand = network(), network()
    sgd = optim.SGD(model.parameters(), lr=1.0)
    fit(model, mse, sgd, (X, Y), epochs=1, max_norm=0.01)
    optimizer = optim.SGD(by_hand.parameters(), lr=1.0)
    mse(by_hand(X), Y).backward()
    optim.clip_by_norm(by_hand.parameters(), 0.01)
    optimizer.step()
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_a_schedule_is_recorded_and_followed():
    """The history keeps the rate of each epoch's first step."""
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=lambda step: 0.1 / (1 + step))
    history = fit(model, mse, optimizer, (X, Y), epochs=3)
    assert history["lr"].tolist() == [0.1, 0.05, 0.1 / 3]


def test_evaluate_leaves_the_model_alone():
    """Nothing of a model changes by being measured, its mode included."""
    model = network(rate=0.5)
    before = model.state()
    first = evaluate(model, mse, (X, Y), metrics=[r2])
    assert evaluate(model, mse, (X, Y), metrics=[r2]) == first
    assert all(np.array_equal(before[k], v) for k, v in model.state().items())
    assert model.training


# --- going on ---


def make_training(path=None):
    model = network(rate=0.3)
    optimizer = optim.AdamW(model.parameters(), lr=lambda step: 0.1 / (1 + step))
    rng = np.random.default_rng(3)
    settings = {
        "batch_size": 8,
        "rng": rng,
        "validation_data": (X, Y),
        "metrics": [r2],
        "callbacks": [] if path is None else [Checkpoint(path, every=2)],
    }
    return model, optimizer, rng, settings


def test_a_checkpointed_training_goes_on_bit_for_bit(tmp_path):
    """Weights, moments, shuffle, dropout and history are those of one long training."""
    model, optimizer, _, settings = make_training()
    whole = fit(model, mse, optimizer, (X, Y), epochs=7, **settings)

    part, part_optimizer, _, settings = make_training(tmp_path / "{epoch}.npz")
    fit(part, mse, part_optimizer, (X, Y), epochs=5, **settings)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2.npz", "4.npz"]

    again, again_optimizer, rng, settings = make_training()
    saved = load(tmp_path / "4.npz", again, again_optimizer, rng)
    history = History(saved.extra["history"])
    result = fit(
        again, mse, again_optimizer, (X, Y), epochs=7, history=history, **settings
    )
    assert saved.step == 4
    assert result.rows == whole.rows
    for name, value in model.state().items():
        assert np.array_equal(value, again.state()[name]), name
    for name, value in optimizer.state().items():
        assert np.array_equal(value, again_optimizer.state()[name]), name


def test_epochs_that_are_done_are_not_done_again():
    """epochs is the number of the last epoch, not of further ones."""
    model = network()
    history = fit(model, mse, adam(model), (X, Y), epochs=3)
    before = model.state()
    assert fit(model, mse, adam(model), (X, Y), epochs=3, history=history) is history
    assert len(history) == 3
    assert np.array_equal(before["layers.0.weight"], model[0].weight.data)


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"loss": "mse"}, r"as loss; got 'mse'\. Pass tg\.losses\.mse$"),
        ({"loss": "l7"}, r"as loss; got 'l7'\. Pass one of tg\.losses"),
        ({"loss": None}, r"as loss; got an object of NoneType"),
        ({"optimizer": "adam"}, r"got 'adam'\. Pass tg\.optim\.Adam\(model"),
        ({"optimizer": "sgd"}, r"got 'sgd'\. Pass tg\.optim\.SGD\(model"),
        ({"optimizer": optim.Adam}, r"got the class Adam\. Make one: Adam\(model"),
        ({"optimizer": mse}, r"got the function mse\. The order is"),
        ({"loss": adam, "optimizer": mse}, r"as loss; got the optimiser Adam"),
        ({"model": "net"}, r"as model; got 'net'"),
        ({"model": nn.Dense}, r"got the class Dense\. Make one of that class"),
        ({"metrics": ["accuracy"]}, r"in metrics; got 'accuracy'"),
        ({"metrics": "accuracy"}, r"in metrics; got 'accuracy'"),
        ({"metrics": {"a": 3}}, r"in metrics; got an object of int"),
        ({"callbacks": [EarlyStopping]}, r"in callbacks; got the class EarlyStopping"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_before_anything_runs(change, law):
    """The line says what was expected, what came, and what to pass."""
    model = Witness()
    given = {"model": model, "loss": mse, "optimizer": adam(model), **change}
    if given["loss"] is adam:
        given["loss"] = adam(model)
    names = ("model", "loss", "optimizer")
    first = [given.pop(name) for name in names]
    with pytest.raises(ModelError, match=f"^fit: expected .*{law}"):
        fit(*first, (X, Y), epochs=1, **given)
    assert model.seen == []


def test_one_metric_needs_no_list():
    """A single function of metrics is taken for a list of one."""
    model = Witness()
    assert "r2" in fit(model, mse, adam(model), (X, Y), epochs=1, metrics=r2)
    with pytest.raises(ModelError, match=r"^evaluate: expected .* loss; got 'mse'"):
        evaluate(model, "mse", (X, Y))


# --- compiled steps ---


@pytest.fixture
def at_once(monkeypatch):
    """Compile after the first step of a kind, however few there are."""
    monkeypatch.setattr(engines, "ENOUGH", 1)


LABELS = np.random.default_rng(1).integers(4, size=50)
TARGETS = {
    "mse": (mse, Y),
    "huber": (losses.huber, Y),
    "mae": (losses.mae, Y),
    "logits": (binary_cross_entropy_with_logits, (Y > 0) * 1.0),
    "probabilities": (
        lambda p, t: losses.binary_cross_entropy(ops.sigmoid(p), t),
        (Y > 0) * 1,
    ),
    "hinge": (losses.hinge, np.sign(Y)),
    "one-hot": (cross_entropy, np.eye(4)[LABELS]),
    "classes": (cross_entropy, LABELS),
}
MAKERS = {
    "SGD": lambda parameters: optim.SGD(parameters, 0.05),
    "momentum": lambda parameters: optim.SGD(parameters, 0.01, momentum=0.9),
    "decay": lambda parameters: optim.SGD(parameters, 0.01, weight_decay=0.1),
    "Adam": lambda parameters: optim.Adam(parameters, 0.01),
    "AdamW": lambda parameters: optim.AdamW(parameters, lambda i: 0.1 / (1 + i)),
    "RMSProp": lambda parameters: optim.RMSProp(parameters, 0.01),
    "AdaGrad": lambda parameters: optim.AdaGrad(parameters, 0.01),
}
OPTIONS = {
    "full batch": {"batch_size": None},
    "last smaller": {"batch_size": 16, "rng": 3},
    "clipped": {"batch_size": 16, "rng": 3, "max_norm": 0.1},
    "measured": {"batch_size": 25, "rng": 3, "metrics": [len], "validation_data": True},
}


def trained(compile, loss="mse", optimizer="Adam", rate=0.0, **options):
    """Train a small network; return the history, the model and the optimiser."""
    function, y = TARGETS[loss]
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(3, 6, activation="tanh", rng=rng),
        nn.Dropout(rate, rng=rng),
        nn.Dense(6, 4 if y.shape != (50, 1) else 1, rng=rng),
    )
    if options.get("metrics"):
        options["metrics"] = {"mean": lambda p, t: p.mean() + len(t)}
    if options.get("validation_data"):
        options["validation_data"] = (X[:9], y[:9])
    maker = MAKERS[optimizer](model.parameters())
    history = fit(model, function, maker, (X, y), compile=compile, **options)
    return history, model, maker


def assert_same(ours, theirs):
    """History, model, generators, gradients, names and optimiser: the same bits."""
    (history, model, optimizer), (expected, its_model, its_optimizer) = ours, theirs
    assert history.rows == expected.rows
    for made, wanted in (
        (model.state(), its_model.state()),
        (optimizer.state(), its_optimizer.state()),
    ):
        assert made.keys() == wanted.keys()
        assert all(np.array_equal(made[name], wanted[name]) for name in wanted)
    for a, b in zip(model.parameters(), its_model.parameters(), strict=True):
        assert np.array_equal(a.grad, b.grad)
        assert a.name == b.name


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_compiled_steps_leave_the_same_bits(options, rate):
    """By default nothing but the time tells whether steps were compiled."""
    settings = {"epochs": 6, "rate": rate, **OPTIONS[options]}
    ours = trained(True, **settings)
    assert_same(ours, trained(False, **settings))
    assert (ours[0].engine, ours[0].reason) == ("numpy", None)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [(loss, "Adam") for loss in TARGETS] + [("mse", maker) for maker in MAKERS],
)
def test_compiled_steps_agree_with_eager_ones(loss, optimizer):
    """To the bit by default, and in 200 steps of a backend by name to 1e-12."""
    settings = {"loss": loss, "optimizer": optimizer, "epochs": 50, "batch_size": 13}
    eager = trained(False, rng=3, **settings)
    assert_same(trained(True, rng=3, **settings), eager)
    history, model, _ = trained("numpy", rng=3, **settings)
    assert (history.engine, history.reason) == ("numpy", None)
    for a, b in zip(model.parameters(), eager[1].parameters(), strict=True):
        assert np.abs(a.data - b.data).max() <= 1e-12 * np.abs(b.data).max()
    np.testing.assert_allclose(history["loss"], eager[0]["loss"], rtol=1e-12)


def needs(backend):
    """Skip where a backend is not installed."""
    if backend == "jax":
        pytest.importorskip("jax")
    if backend == "c":
        try:
            find_compiler()
        except MissingExtraError:
            pytest.skip("no C compiler")


@pytest.mark.parametrize("backend", ["c", "jax"])
@pytest.mark.parametrize(
    ("loss", "rate"), [("classes", 0.3), ("logits", 0.0), ("huber", 0.0)]
)
def test_other_backends_agree_with_eager_steps(backend, loss, rate):
    """C and JAX train a model as eager steps do, but for rounding."""
    needs(backend)
    settings = {"loss": loss, "epochs": 9, "batch_size": 13, "max_norm": 0.5}
    settings |= {"rate": rate, "metrics": [len], "validation_data": True}
    history, model, _ = trained(backend, rng=3, **settings)
    expected, its_model, _ = trained(False, rng=3, **settings)
    assert (history.engine, history.reason) == (backend, None)
    for a, b in zip(model.parameters(), its_model.parameters(), strict=True):
        assert np.abs(a.data - b.data).max() <= 1e-11 * np.abs(b.data).max()
    for column in ("loss", "mean", "validation_loss", "validation_mean"):
        np.testing.assert_allclose(history[column], expected[column], rtol=1e-11)
    made, wanted = model.state(), its_model.state()
    for name in wanted:
        if "rng" in name:
            assert np.array_equal(made[name], wanted[name])


def test_few_steps_are_not_compiled():
    """What would take longer to compile than to run is run, and the reason told."""
    history, _, _ = trained(True, epochs=engines.ENOUGH)
    assert history.engine == "eager"
    assert history.reason == "150 steps are worth it, and there are 150"
    history, _, _ = trained(True, epochs=engines.ENOUGH + 1)
    assert (history.engine, history.reason) == ("numpy", None)
    history, _, _ = trained(False, epochs=1)
    assert (history.engine, history.reason) == ("eager", "compile=False")


class Plain(nn.Module):
    """A linear model, to which others add a peculiarity."""

    def __init__(self):
        self.weight = Parameter(np.zeros((3, 1)))
        self.calls, self.seen, self.total = 0, [], np.zeros(1)
        self.rng = np.random.default_rng(5)
        self.scale = 1.0

    def forward(self, x):
        return x @ self.weight


class Branching(Plain):
    def forward(self, x):
        z = x @ self.weight
        return z * 2 if z.sum() > 0 else z


class Reading(Plain):
    def forward(self, x):
        return x @ self.weight * float(np.asarray(x).max())


class Drawing(Plain):
    def forward(self, x):
        return x @ self.weight + np.random.normal(size=(len(x), 1))  # noqa: NPY002


class DrawingItself(Plain):
    def forward(self, x):
        return x @ self.weight + self.rng.normal(size=(len(x), 1))


class Counting(Plain):
    def forward(self, x):
        self.calls += 1
        return x @ self.weight / self.calls


class Collecting(Plain):
    def forward(self, x):
        self.seen.append(x.shape)
        return x @ self.weight / len(self.seen)


class Summing(Plain):
    def forward(self, x):
        self.total *= 0.9
        self.total += x[0, 0].item() if isinstance(x, Tensor) else x[0, 0]
        return x @ self.weight + self.total


class Remembering(Plain):
    def forward(self, x):
        self.latest = x @ self.weight
        return self.latest


class Looking(Plain):
    def forward(self, x):
        return (x / 10 if isinstance(x, np.ndarray) else x) @ self.weight


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("compile", [True, "numpy"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Branching, r"^bool of a Tensor at .*test_training\.py:\d+ needs a number"),
        (Reading, r"asarray|__array__"),
        (Drawing, r"each step changes np\.random$"),
        (DrawingItself, r"each step changes model\.rng$"),
        (Counting, r"each step changes model\.calls$"),
        (Collecting, r"each step changes model\.seen$"),
        (Summing, r"each step changes model\.total$"),
        (Remembering, r"each step changes model\.latest$"),
        (Looking, r"its loss differs where the inputs are Tensors"),
    ],
)
def test_models_that_cannot_be_compiled_train_as_ever(kind, reason, compile):
    """The same bits as eagerly, nothing run that shows, and the history says why."""
    if kind is Looking and compile == "numpy":
        pytest.skip("asking for a backend, one asks for Tensors")
    results = []
    for choice in (compile, False):
        np.random.seed(3)  # noqa: NPY002 (that of a user)
        model, optimizer = kind(), None
        optimizer = adam(model, 0.1)
        history = fit(
            model,
            mse,
            optimizer,
            (X, Y),
            epochs=4,
            batch_size=20,
            rng=1,
            compile=choice,
        )
        own = (model.calls, model.seen, model.total.tolist(), np.random.random())  # noqa: NPY002
        results.append((history, model, optimizer, own))
    assert_same(results[0][:3], results[1][:3])
    assert results[0][3] == results[1][3]
    assert results[0][0].engine == "eager"
    assert re.search(reason, results[0][0].reason)


@pytest.mark.usefixtures("at_once")
def test_a_loss_that_collects_is_run_each_time():
    """What a function of the user notes in a list is noted at each step, once."""
    seen = []

    def loss(prediction, target):
        value = mse(prediction, target)
        seen.append(value.requires_grad)
        return value

    model = network()
    history = fit(model, loss, adam(model), (X, Y), epochs=5)
    assert seen == [True] * 5
    assert history.reason == "each step changes loss: seen"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("compile", [True, "numpy"])
def test_an_optimiser_of_ones_own_makes_its_own_steps(compile):
    """What only has step(), or overrides how a parameter changes, is not replaced."""

    class Own:
        def __init__(self, parameters):
            self.parameters, self.calls = parameters, 0

        def step(self):
            self.calls += 1
            for parameter in self.parameters:
                parameter.data -= 0.01 * self.calls * parameter.grad
                parameter.zero_grad()

    class Halved(optim.SGD):
        def _update(self, i, value, gradient, lr):
            super()._update(i, value, gradient, lr / 2)

    for make in (Own, lambda parameters: Halved(parameters, lr=0.1)):
        models = network(), network()
        for model, choice in zip(models, (compile, False), strict=True):
            optimizer = make(model.parameters())
            history = fit(model, mse, optimizer, (X, Y), epochs=5, compile=choice)
        for a, b in zip(*(model.parameters() for model in models), strict=True):
            assert np.array_equal(a.data, b.data)
        model = network()
        history = fit(model, mse, make(model.parameters()), (X, Y), epochs=5)
        assert (history.engine, "a way of its own" in history.reason) == ("eager", True)


strength = 0.5


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("compile", [True, "numpy"])
@pytest.mark.parametrize("where", ["attribute", "closure", "global", "flag", "frozen"])
def test_what_a_callback_changes_is_followed(where, compile):
    """Attributes, closures, globals and flags that steps are made of may change."""
    results = []
    for choice in (compile, False):
        model, free = Plain(), 0.5
        model.scale, globals()["strength"] = 0.5, 0.5
        model.shift = Parameter(0.1)

        def loss(prediction, target, model=model):
            weight = {"closure": free, "global": strength}.get(where, model.scale)  # noqa: B023
            return mse(weight * prediction + model.shift, target)

        def change(state, model=model):
            nonlocal free
            if state.epoch == 4:
                model.scale, free, globals()["strength"] = 2.0, 2.0, 2.0
                if where == "flag":
                    model.shift.requires_grad = False
                if where == "frozen":
                    state.optimizer.hyperparameters = {
                        **state.optimizer.hyperparameters,
                        "momentum": 0.1,
                    }

        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        history = fit(
            model, loss, optimizer, (X, Y), epochs=9, callbacks=[change], compile=choice
        )
        results.append((history, model, optimizer))
    assert results[0][0].engine == "numpy"
    if compile is True:
        assert_same(*results)
    else:
        losses_seen = [history["loss"] for history, _, _ in results]
        np.testing.assert_allclose(*losses_seen, rtol=1e-12)


@pytest.mark.parametrize("compile", [True, "numpy", "c", "jax"])
def test_a_compiled_training_goes_on_bit_for_bit(tmp_path, monkeypatch, compile):
    """Interrupted between epochs, with dropout and a smaller last batch, or not."""
    needs(compile)
    monkeypatch.setattr(engines, "ENOUGH", 9)
    model, optimizer, _, settings = make_training()
    whole = fit(model, mse, optimizer, (X, Y), epochs=7, compile=compile, **settings)
    backend = "numpy" if compile is True else compile
    assert (whole.engine, whole.reason) == (backend, None)
    part, part_optimizer, _, settings = make_training(tmp_path / "{epoch}.npz")
    fit(part, mse, part_optimizer, (X, Y), epochs=5, compile=compile, **settings)
    again, again_optimizer, rng, settings = make_training()
    saved = load(tmp_path / "4.npz", again, again_optimizer, rng)
    history = History(saved.extra["history"])
    fit(
        again,
        mse,
        again_optimizer,
        (X, Y),
        epochs=7,
        history=history,
        compile=compile,
        **settings,
    )
    assert_same((history, again, again_optimizer), (whole, model, optimizer))


def test_batches_of_many_sizes_are_not_compiled_for_ever():
    """The first kinds of batches have programs, the others are trained on eagerly."""
    parts = [(X[:n], Y[:n]) for n in range(5, 5 + 2 * engines.MOST_PROGRAMS)]
    models = network(), network()
    optimizers = [adam(model) for model in models]
    ours = fit(models[0], mse, optimizers[0], parts, epochs=3, compile="numpy")
    assert ours.engine == "numpy"
    assert ours.reason == "more than 8 programs would be needed"
    theirs = fit(models[1], mse, optimizers[1], parts, epochs=3, compile=False)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-12)


@pytest.mark.usefixtures("at_once")
def test_compiled_steps_take_data_in_many_forms():
    """Tuples of inputs, Datasets, Tensors, dicts and lists, each as eagerly."""

    class Rows(np.ndarray):
        def __new__(cls, rows):
            return rows.view(cls)

    class Sum(nn.Module):
        def __init__(self):
            self.w = Parameter(np.zeros((3, 1)))

        def forward(self, a, b=0.5):
            if isinstance(a, dict):
                a, b = a["a"], a["b"]
            return (a + b) @ self.w

    def loss(prediction, target):
        return mse(prediction, ops.reshape(target, prediction.shape))

    rows = [slice(0, 30), slice(30, 50), slice(0, 20)]
    for make, compiled in (
        (lambda: ((X, X), Y), True),
        (lambda: data.Dataset(X, Y[:, 0]), True),
        (lambda: data.batches(X, Y, 20, 0), True),
        (lambda: [({"a": X[i], "b": X[i]}, Y[i]) for i in rows], True),
        (lambda: [(Tensor(X[i]), Tensor(Y[i])) for i in rows], True),
        (lambda: [(X[i], Y[i].astype(np.float32)) for i in rows], True),
        (lambda: [(Rows(X[i]), Y[i]) for i in rows], False),
    ):
        results = []
        for choice in (True, False):
            model = Sum()
            optimizer = adam(model, 0.1)
            history = fit(model, loss, optimizer, make(), epochs=9, compile=choice)
            results.append((history, model, optimizer))
        assert_same(*results)
        assert results[0][0].engine == ("numpy" if compiled else "eager")


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("compile", [True, "numpy"])
def test_a_compiled_step_refuses_a_loss_that_is_not_finite(compile):
    """Epoch and batch are named, and the model is as before that batch."""
    model, by_hand = network(rate=0.5), network(rate=0.5)
    y = Y.copy()
    parts = [(X[:25], y[:25]), (X[25:], y[25:])]

    def spoil(state):
        if state.epoch == 3:
            y[30] = 1e200

    optimizer = adam(model)
    with (
        np.errstate(all="ignore"),
        pytest.raises(DivergedError, match=r"^fit: .*got inf in epoch 4, batch 2\."),
    ):
        fit(model, mse, optimizer, parts, epochs=9, callbacks=[spoil], compile=compile)
    assert optimizer.steps == 7
    parts = [(X[:25], Y[:25]), (X[25:], Y[25:])]
    its = adam(by_hand)
    fit(by_hand, mse, its, parts, epochs=3, compile=compile)
    fit(by_hand, mse, its, parts[:1], epochs=1, compile=compile)
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("compile", [True, "numpy"])
def test_ctrl_c_waits_for_the_end_of_a_compiled_step(compile):
    """All parameters have made the same number of steps when training is left."""
    model, by_hand = network(), network()

    def rate(step):
        if step == 5 and optimizer.steps == 5 and recording.current().trace is None:
            calls.append(step)
            if len(calls) == 2:  # the first is for the history
                os.kill(os.getpid(), signal.SIGINT)
        return 0.1

    calls = []
    optimizer = optim.Adam(model.parameters(), lr=rate)
    with pytest.raises(KeyboardInterrupt):
        fit(model, mse, optimizer, (X, Y), epochs=9, compile=compile)
    assert optimizer.steps == 6
    its = optim.Adam(by_hand.parameters(), lr=0.1)
    fit(by_hand, mse, its, (X, Y), epochs=6, compile=compile)
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("compile", [True, "numpy"])
def test_gradients_from_before_count_in_the_first_step(compile):
    """What was in .grad when training began is added to, as eagerly."""
    results = []
    for choice in (compile, False):
        model = network()
        optimizer = adam(model)
        (3 * mse(model(X), Y)).backward()
        history = fit(model, mse, optimizer, (X, Y), epochs=4, compile=choice)
        results.append((history, model, optimizer))
    np.testing.assert_allclose(*(h["loss"] for h, _, _ in results), rtol=1e-12)
    assert results[0][0]["loss"][1] != results[0][0]["loss"][0]
    assert results[0][0].engine == "numpy"


@pytest.mark.usefixtures("at_once")
def test_under_debug_steps_are_eager():
    """debug() watches eager steps; fit does not take them away."""
    with recording.debug():
        history, _, _ = trained(True, epochs=5)
    assert history.engine == "eager"
    assert "debug" in history.reason


def test_an_unknown_backend_is_refused_before_anything_runs():
    """The error names the backends there are."""
    model = Witness()
    with pytest.raises(CompileError, match=r"'numpy'.*got 'nmpy'"):
        fit(model, mse, adam(model), (X, Y), epochs=1, compile="nmpy")
    assert model.seen == []


@pytest.mark.usefixtures("at_once")
def test_a_mistake_in_a_loss_is_told_as_eagerly():
    """Compiled or not, a loss of many numbers is refused with its shape."""
    for compile in (True, "numpy", False):
        model = network()
        with pytest.raises(ShapeError, match=r"one number; got loss\(50, 1\)"):
            fit(
                model,
                lambda p, t: (p - t) ** 2,
                adam(model),
                (X, Y),
                epochs=3,
                compile=compile,
            )


def test_surroundings_are_seen_and_put_back():
    """Attributes that come, go and change, lists, sets, arrays and generators."""

    class Thing:
        pass

    thing = Thing()
    thing.kept, thing.bag, thing.array = [1, 2], {3}, np.arange(3.0)
    thing.rng, thing.gone = np.random.default_rng(0), "here"
    thing.old = np.random.RandomState(0)

    changes = {
        "thing.new": lambda: setattr(thing, "new", 1),
        "thing.gone": lambda: delattr(thing, "gone"),
        "thing.kept": lambda: thing.kept.append(3),
        "thing.bag": lambda: thing.bag.add(4),
        "thing.array": lambda: thing.array.__setitem__(1, 7.0),
        "thing.rng": thing.rng.random,
        "thing.old": thing.old.rand,
        "np.random": np.random.rand,
        "random": random.random,
    }
    before = thing.rng.bit_generator.state
    for name, change in changes.items():
        around = Surroundings({"thing": thing})
        assert around.changed() is None
        change()
        assert around.changed() == name
        around.restore()
        assert around.changed() is None
    assert (thing.kept, thing.bag, thing.gone) == ([1, 2], {3}, "here")
    assert thing.array.tolist() == [0.0, 1.0, 2.0]
    assert thing.rng.bit_generator.state == before
    thing.rng.random()
    assert around.changed() == "thing.rng"
    assert around.changed(by_others=True) is None


# --- callbacks ---


def test_callbacks_see_each_epoch_and_may_stop():
    """A plain function is a callback; a stop ends training after its epoch."""
    seen = []

    def callback(state):
        seen.append((state.epoch, state.row["loss"], state.model, state.optimizer))
        if state.epoch == 4:
            state.stop("enough")

    model = network()
    optimizer = adam(model)
    history = fit(model, mse, optimizer, (X, Y), epochs=9, callbacks=[callback])
    assert [item[0] for item in seen] == [1, 2, 3, 4]
    assert [item[1] for item in seen] == history["loss"].tolist()
    assert all(item[2] is model and item[3] is optimizer for item in seen)


def scripted(values, **settings):
    """Train a model whose validation loss is what the script says."""
    model = Witness()
    states = []

    def replace(state):
        state.row["validation_loss"] = values[state.epoch - 1]
        states.append(state.model.state()["weight"])

    stopping = EarlyStopping(**settings)
    history = fit(
        model,
        mse,
        adam(model),
        (X, Y),
        epochs=len(values),
        callbacks=[replace, stopping],
    )
    return model, stopping, history, states


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "epochs", "best"),
    [
        ([5, 4, 3, 3, 3, 3, 3], 2, 0.0, 5, 3),
        ([5, 4, 4.5, 3, 6, 6, 6, 6], 3, 0.0, 7, 4),
        ([5, 4.9, 4.8, 4.7, 4.6], 2, 0.5, 3, 1),
        ([5, 4.9, 4.8, 4.4, 4.3], 3, 0.5, 5, 4),
        ([1, 2, 3], 9, 0.0, 3, 1),
        ([3, 2, 1], 1, 0.0, 3, 3),
        ([3, np.nan, np.nan, 1], 2, 0.0, 3, 1),
    ],
)
def test_early_stopping_waits_and_brings_the_best_back(
    values, patience, min_delta, epochs, best
):
    """Training ends after patience epochs in vain, with the best epoch's weights."""
    model, stopping, history, states = scripted(
        values, patience=patience, min_delta=min_delta
    )
    assert (len(history), stopping.best_epoch) == (epochs, best)
    assert np.array_equal(model.weight.data, states[best - 1])


def test_early_stopping_may_keep_the_last():
    """Without restore_best the model is that of the last epoch."""
    model, _, _, states = scripted([1, 2, 3], patience=9, restore_best=False)
    assert np.array_equal(model.weight.data, states[-1])


def test_early_stopping_takes_accuracy_for_better_when_larger():
    """What is called accuracy is monitored upwards."""
    model = network()
    stopping = EarlyStopping(patience=2, monitor="accuracy")
    script = iter([0.5, 0.6, 0.6, 0.6, 0.9])

    def set_accuracy(state):
        state.row["accuracy"] = next(script)

    history = fit(
        model, mse, adam(model), (X, Y), epochs=5, callbacks=[set_accuracy, stopping]
    )
    assert (len(history), stopping.best, stopping.best_epoch) == (4, 0.6, 2)


def test_early_stopping_can_be_used_again():
    """A second training starts with a new best."""
    stopping = EarlyStopping(patience=2)
    for _ in range(2):
        model = network()
        fit(
            model,
            mse,
            optim.SGD(model.parameters(), lr=0.0),
            (X, Y),
            epochs=9,
            callbacks=[stopping],
        )
        assert stopping.best_epoch == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: EarlyStopping(patience=0),
        lambda: EarlyStopping(min_delta=-1),
        lambda: EarlyStopping(min_delta=np.nan),
        lambda: Checkpoint("m.npz", every=0),
    ],
)
def test_settings_out_of_range_are_refused(make):
    """A callback that could not work is refused when it is made."""
    with pytest.raises(DataError, match="expected"):
        make()


def test_an_unknown_measure_is_refused_by_name():
    """Early stopping on a measure that is not there names those that are."""
    model = network()
    with pytest.raises(DataError, match=r"'acuracy'.*'loss'"):
        fit(
            model,
            mse,
            adam(model),
            (X, Y),
            epochs=1,
            callbacks=[EarlyStopping(monitor="acuracy")],
        )


# --- Ctrl-C ---


def test_ctrl_c_waits_for_the_end_of_a_step():
    """All parameters have made the same number of steps when training is left."""
    model = network()

    class Interrupted(optim.SGD):
        def _update(self, i, value, gradient, lr):
            if self.steps == 3 and i == 1:
                os.kill(os.getpid(), signal.SIGINT)
            super()._update(i, value, gradient, lr)

    optimizer = Interrupted(model.parameters(), lr=0.01)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(model, mse, optimizer, (X, Y), epochs=9)
    assert optimizer.steps == 4
    assert signal.getsignal(signal.SIGINT) is handler
    by_hand = network()
    fit(by_hand, mse, optim.SGD(by_hand.parameters(), lr=0.01), (X, Y), epochs=4)
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_ctrl_c_outside_of_a_step_is_at_once():
    """A loss that takes long can be left; a second Ctrl-C ends a step that hangs."""
    with WholeSteps() as steps:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        steps.begin()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_program_that_handles_ctrl_c_keeps_its_handler():
    """fit does not take the signal from a program that has its own way."""
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        model = network()
        fit(
            model,
            mse,
            adam(model),
            (X, Y),
            epochs=2,
            callbacks=[lambda _: os.kill(os.getpid(), signal.SIGINT)],
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1, 1]


# --- progress ---


def test_nothing_is_printed_where_nobody_looks(capfd):
    """Without a terminal, the default leaves both streams empty."""
    model = network()
    fit(model, mse, adam(model), (X, Y), epochs=2)
    assert capfd.readouterr() == ("", "")


class Terminal:
    """What tqdm takes for a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_on_a_terminal_if_asked_for(monkeypatch, progress):
    """A terminal gets a bar with epoch and loss, unless progress=False."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    model = network()
    parts = [(X[:25], Y[:25]), (X[25:], Y[25:])]
    fit(model, mse, adam(model), parts, epochs=3, progress=progress)
    fit(model, mse, adam(model), Unnumbered(parts), epochs=3, progress=progress)
    assert ("/6" in terminal.text) == progress
    assert ("step" in terminal.text) == progress
    assert not progress or terminal.text.endswith("\r")


class Unnumbered:
    """Batches whose number nobody knows."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)


def test_training_needs_no_tqdm(monkeypatch):
    """Without tqdm there is no bar and no error."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model = network()
    assert len(fit(model, mse, adam(model), (X, Y), epochs=2)) == 2
    assert sys.stderr.text == ""


# --- history ---


def history():
    return History(
        [
            {"epoch": 1, "loss": 0.1 + 0.2, "accuracy": 0.5},
            {"epoch": 2, "loss": 1e-17, "accuracy": 1.0},
        ]
    )


def test_a_history_is_a_table():
    """Columns by name, rows by epoch, in the order of appearance."""
    table = history()
    assert table.columns == ("epoch", "loss", "accuracy")
    assert len(table) == 2
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert "loss" in table
    assert "lost" not in table
    with pytest.raises(DataError, match=r"'lost'.*'loss'"):
        table["lost"]


def test_a_measure_that_comes_later_is_nan_before():
    """Rows of different measures make one table."""
    table = History([{"a": 1.0}, {"b": 2.0}])
    np.testing.assert_array_equal(table["b"], [np.nan, 2.0])


def test_a_history_survives_the_csv(tmp_path):
    """Numbers read from the file are the very same floats."""
    history().to_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == history().rows


def test_a_history_csv_is_complete_or_absent(tmp_path, monkeypatch):
    """A failing move leaves the old file and no other."""
    path = tmp_path / "history.csv"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        history().to_csv(path)
    with pytest.raises(OSError, match="No space"):
        history().plot(path.with_suffix(".png"))
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]
    assert path.read_text() == "old"


def test_a_notebook_shows_the_first_and_last_epochs():
    """The table of a long training is short, and escapes names."""
    table = History([{"epoch": i, "<b>": 0.5} for i in range(100)])
    text = table._repr_html_()
    assert "&lt;b&gt;" in text
    assert text.count("<tr>") == 22
    assert "<td>99</td>" in text
    rows = History([{"a": 1.0}, {"b": 2.0}])._repr_html_()
    assert "<tr><td>1</td><td></td></tr><tr><td></td><td>2</td></tr>" in rows


def test_a_history_draws_itself(tmp_path):
    """A picture appears at exactly the path, with a line for each measure."""
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = tmp_path / f"cost{suffix}"
        figure = history().plot(path)
        assert path.read_bytes().startswith(start)
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert len(History([]).plot().axes) == 1


def test_a_learning_rate_has_a_panel_of_its_own_if_it_changes():
    """A rate of 0.001 is no line at the bottom of the accuracies."""
    for rates, panels in (((0.1, 0.1), 1), ((0.1, 0.01), 2)):
        table = History([{"epoch": 1, "lr": rate, "loss": 1.0} for rate in rates])
        assert len(table.plot().axes) == panels


def test_drawing_touches_no_global_figure():
    """matplotlib.pyplot, with its state and its windows, is not even imported."""
    code = (
        "import sys; from tinygrad_nn.training import History;"
        "History([{'epoch': 1, 'loss': 2.0}]).plot();"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


def test_drawing_without_matplotlib_names_the_extra(monkeypatch):
    """The error tells what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"tinygrad_nn\[train\]"):
        history().plot()


# --- metrics ---


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn(seed):
    """Accuracy, confusion matrix and R squared are scikit-learn's."""
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(40, 4)), rng.integers(4, size=40)
    assert accuracy(z, y) == metrics.accuracy_score(y, z.argmax(axis=1))
    assert accuracy(z, np.eye(4)[y]) == accuracy(z, y)
    expected = metrics.confusion_matrix(y, z.argmax(axis=1), labels=range(4))
    assert np.array_equal(confusion_matrix(z, y, 4), expected)
    target = rng.normal(size=(40, 4))
    np.testing.assert_allclose(r2(z, target), metrics.r2_score(target, z), rtol=1e-12)
    column = z[:, :1]
    binary = y[:, None] % 2
    expected = metrics.accuracy_score(binary[:, 0], column[:, 0] >= 0)
    for prediction in (column, column[:, 0]):
        for true in (binary, binary[:, 0], binary.astype(float)):
            assert accuracy(prediction, true) == expected
    probability = 1 / (1 + np.exp(-column))
    assert accuracy(probability, binary) == expected


def test_the_threshold_can_be_named():
    """Logits that all lie between 0 and 1 are class 1 if one says so."""
    z = np.array([0.1, 0.4])
    assert predicted_classes(z).tolist() == [0, 0]
    assert predicted_classes(z, threshold=0.0).tolist() == [1, 1]
    assert accuracy(z, [1, 1], threshold=0.0) == 1.0
    assert confusion_matrix(z, [1, 1], threshold=0.0).tolist() == [[0, 0], [0, 2]]


def test_labels_are_their_own_prediction():
    """Integers and booleans are classes, not logits."""
    assert accuracy(np.array([2, 0, 1]), [2, 0, 0]) == 2 / 3
    assert accuracy(np.array([True, False]), [1, 0]) == 1.0


def test_equal_targets_have_a_written_down_r2():
    """Of a constant target it is 1 when it is met and 0 when not."""
    assert r2([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert r2([2.0, 2.1], [2.0, 2.0]) == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: r2(np.zeros((3, 1)), np.zeros(3)),
        lambda: r2(np.zeros(0), np.zeros(0)),
        lambda: accuracy(np.zeros((3, 2)), [0, 1]),
        lambda: accuracy(np.zeros((0, 2)), np.zeros(0, int)),
        lambda: accuracy(np.zeros((2, 2, 2)), [0, 1]),
        lambda: confusion_matrix(np.zeros((3, 2)), [0, 1]),
    ],
)
def test_shapes_that_would_broadcast_are_refused(call):
    """No metric compares every prediction with every target."""
    with pytest.raises(ShapeError, match="expected"):
        call()


def test_a_class_beyond_the_matrix_is_refused():
    """No class falls out of the count."""
    with pytest.raises(DataError, match="Raise n_classes"):
        confusion_matrix(np.array([0, 3]), [0, 1], n_classes=3)
    with pytest.raises(DataError, match="expected classes"):
        confusion_matrix(np.array([0, -1]), [0, 1])


# --- the whole, once ---


def test_a_network_learns_the_moons_and_the_digits_of_a_table():
    """Binary and many classes are learnt to what a linear model cannot reach."""
    moons = data.moons(300, noise=0.1)
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Dense(2, 16, activation="relu", rng=rng), nn.Dense(16, 1, rng=rng)
    )
    fit(
        model,
        binary_cross_entropy_with_logits,
        adam(model, 0.05),
        (moons.X, moons.y[:, None]),
        epochs=60,
        batch_size=32,
        rng=rng,
    )
    assert accuracy(model(moons.X), moons.y) > 0.98
    spirals = data.spirals(300, rng=0)
    classes = len(spirals.target_names)
    model = nn.Sequential(
        nn.Dense(2, 32, activation="relu", rng=rng), nn.Dense(32, classes, rng=rng)
    )
    fit(
        model,
        cross_entropy,
        adam(model, 0.05),
        spirals,
        epochs=150,
        batch_size=32,
        rng=rng,
    )
    assert accuracy(model(spirals.X), spirals.y) > 0.9
