"""Layers of images, sequences and attention, and those that normalise.

Each is held to its definition in loops (`members.network`), and to the laws of every
layer; what they remember is saved, resumed and compiled like what they learn.
"""

from __future__ import annotations

import copy
import pickle
import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from members import network

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import DtypeError, ModelError, OpError, ShapeError
from tinygrad_nn.nn import init


class Layer(NamedTuple):
    """A way to make a layer, the shape of its input, and its definition."""

    make: object  # dtype -> Module
    shape: tuple  # of the input; a number of rows for indices
    value: object  # (parameters, x) -> output


def _relu(x):
    return np.where(x > 0, x, 0.0)


def _read(cell, returns="outputs"):
    """Return a recurrent layer by its cell's definition, one step after another."""

    def value(p, x):
        biases = [p[name] for name in ("bias", "bias_h") if name in p]
        n_out = p["weight_h"].shape[1]
        state = np.zeros((len(x), n_out))
        memory = np.zeros((len(x), n_out))
        outputs = []
        for t in range(x.shape[1]):
            given = (p["weight_x"], p["weight_h"], *biases)
            if cell is network.lstm_cell:
                both = cell(x[:, t], state, memory, *given)
                state, memory = both[:, :n_out], both[:, n_out:]
            else:
                state = cell(x[:, t], state, *given)
            outputs.append(state)
        return outputs[-1] if returns == "last" else np.stack(outputs, 1)

    return value


def _heads(p, x):
    """Return self-attention of two heads, one head at a time."""
    q, k, v = (
        x @ p[f"{name}.weight"].T + p[f"{name}.bias"]
        for name in ("query", "key", "value")
    )
    half = x.shape[-1] // 2
    parts = [
        network.attention(*(y[..., i * half : (i + 1) * half] for y in (q, k, v)))
        for i in range(2)
    ]
    return np.concatenate(parts, -1) @ p["output.weight"].T + p["output.bias"]


LAYERS = {
    "Conv1d": Layer(
        lambda dtype: nn.Conv1d(4, 6, 3, stride=2, groups=2, rng=0, dtype=dtype),
        (2, 4, 7),
        lambda p, x: network.conv(x, p["weight"], p["bias"], 2, groups=2),
    ),
    "Conv2d": Layer(
        lambda dtype: nn.Conv2d(
            *(2, 3, (3, 2)), padding="same", activation="relu", rng=0, dtype=dtype
        ),
        (2, 2, 4, 5),
        lambda p, x: _relu(network.conv(x, p["weight"], p["bias"], 1, "same")),
    ),
    "ConvTranspose1d": Layer(
        lambda dtype: nn.ConvTranspose1d(
            *(4, 6, 3), stride=2, padding=1, groups=2, rng=0, dtype=dtype
        ),
        (2, 4, 5),
        lambda p, x: network.conv_transpose(
            *(x, p["weight"], p["bias"], 2, 1), groups=2
        ),
    ),
    "ConvTranspose2d": Layer(
        lambda dtype: nn.ConvTranspose2d(
            2, 3, (3, 2), stride=2, output_padding=(1, 0), rng=0, dtype=dtype
        ),
        (2, 2, 3, 4),
        lambda p, x: network.conv_transpose(
            x, p["weight"], p["bias"], 2, output_padding=(1, 0)
        ),
    ),
    "MaxPool1d": Layer(
        lambda dtype: nn.MaxPool1d(2), (2, 3, 5), lambda p, x: network.max_pool(x, 2)
    ),
    "MaxPool2d": Layer(
        lambda dtype: nn.MaxPool2d(3, stride=2, padding=1),
        (2, 3, 5, 4),
        lambda p, x: network.max_pool(x, 3, 2, 1),
    ),
    "AvgPool1d": Layer(
        lambda dtype: nn.AvgPool1d(2), (2, 3, 5), lambda p, x: network.avg_pool(x, 2)
    ),
    "AvgPool2d": Layer(
        lambda dtype: nn.AvgPool2d((2, 3), padding=1),
        (2, 3, 5, 4),
        lambda p, x: network.avg_pool(x, (2, 3), (2, 3), 1),
    ),
    "GlobalAvgPool": Layer(
        lambda dtype: nn.GlobalAvgPool(),
        (2, 3, 4, 2),
        lambda p, x: network.global_avg_pool(x),
    ),
    "BatchNorm": Layer(
        lambda dtype: nn.BatchNorm(3, dtype=dtype),
        (4, 3, 2),
        lambda p, x: network.batch_norm(x, p["weight"], p["bias"]),
    ),
    "GLU": Layer(
        lambda dtype: nn.GLU(1),
        (2, 6, 3),
        lambda p, x: x[:, :3] / (1 + np.exp(-x[:, 3:])),
    ),
    "PReLU": Layer(
        lambda dtype: nn.PReLU((3, 1, 1), dtype=dtype),
        (2, 3, 4, 2),
        lambda p, x: np.where(x > 0, x, p["slope"] * x),
    ),
    "LayerNorm": Layer(
        lambda dtype: nn.LayerNorm((3, 2), dtype=dtype),
        (4, 3, 2),
        lambda p, x: network.layer_norm(x, p["weight"], p["bias"], (-2, -1)),
    ),
    "RMSNorm": Layer(
        lambda dtype: nn.RMSNorm(3, dtype=dtype),
        (4, 2, 3),
        lambda p, x: network.rms_norm(x, p["weight"]),
    ),
    "GroupNorm": Layer(
        lambda dtype: nn.GroupNorm(4, 2, dtype=dtype),
        (3, 4, 3),
        lambda p, x: network.group_norm(x, 2, p["weight"], p["bias"]),
    ),
    "Embedding": Layer(
        lambda dtype: nn.Embedding(5, 3, rng=0, dtype=dtype),
        5,
        lambda p, x: network.embedding(p["weight"], x),
    ),
    "MultiHeadAttention": Layer(
        lambda dtype: nn.MultiHeadAttention(4, 2, rng=0, dtype=dtype), (2, 3, 4), _heads
    ),
    "RNN": Layer(
        lambda dtype: nn.RNN(3, 2, returns="outputs", rng=0, dtype=dtype),
        (2, 6, 3),
        _read(network.rnn_cell),
    ),
    "LSTM": Layer(
        lambda dtype: nn.LSTM(3, 2, returns="outputs", rng=0, dtype=dtype),
        (2, 6, 3),
        _read(network.lstm_cell),
    ),
    "GRU": Layer(
        lambda dtype: nn.GRU(3, 2, returns="last", rng=0, dtype=dtype),
        (2, 6, 3),
        _read(network.gru_cell, "last"),
    ),
}
ALL = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def inputs(layer, dtype=np.float64):
    """Return an input of the layer's shape, or rows to look up."""
    rng = np.random.default_rng(2)
    if isinstance(layer.shape, int):
        return rng.integers(0, layer.shape, (2, 4))
    return rng.standard_normal(layer.shape).astype(dtype)


def shaken(module):
    """Give what starts at 0 or 1 numbers that can be told apart."""
    for i, parameter in enumerate(module.parameters()):
        noise = np.random.default_rng(i).standard_normal(parameter.shape)
        parameter.data = parameter.data + 0.1 * noise.astype(parameter.dtype)
    return module


# --- laws of every layer ---------------------------------------------------------


@ALL
def test_a_layer_computes_its_definition(layer):
    """The value is that of loops over the layer's own parameters."""
    module, x = shaken(layer.make(np.float64)), inputs(layer)
    parameters = {name: p.data for name, p in module.named_parameters()}
    wanted = layer.value(parameters, x)
    found = module(tg.Tensor(x)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@ALL
def test_a_definition_with_a_slip_is_told_apart(layer):
    """The comparison has teeth: every parameter counts, and every element of x."""
    module, x = shaken(layer.make(np.float64)), inputs(layer)
    before = layer.value({n: p.data for n, p in module.named_parameters()}, x)
    if x.dtype.kind == "f":
        module.eval()
        assert not np.array_equal(module(x + 0.1), module(x))
    for name, parameter in module.named_parameters():
        if name == "key.bias":
            continue  # one number for all scores of a query, which a softmax drops
        moved = {n: p.data.copy() for n, p in module.named_parameters()}
        moved[name] = parameter.data + 0.01 * np.arange(parameter.size).reshape(
            parameter.shape
        )
        assert not np.allclose(layer.value(moved, x), before, rtol=1e-9), name


@ALL
def test_gradients_are_those_of_numbers(layer):
    """Gradients of input and parameters are within the proven bounds of differences."""
    module, x = shaken(layer.make(np.float64)), inputs(layer)
    module.momentum = 0.0  # a function of what it is given alone
    names = [name for name, _ in module.named_parameters()]
    from tinygrad_nn.nn.replaced import replaced

    def f(*given):
        parameters = given[-len(names) :] if names else ()
        twin = replaced(module, dict(zip(names, parameters, strict=True)))
        return twin(given[0] if x.dtype.kind == "f" else x)

    points = [x] if x.dtype.kind == "f" else []
    points += [p.data for p in module.parameters()]
    tg.check.check_gradients(f, *points)


@ALL
def test_float32_stays(layer):
    """float32 parameters and inputs give float32 outputs and gradients."""
    module, x = layer.make(np.float32), inputs(layer, np.float32)
    leaf = tg.Parameter(x) if x.dtype.kind == "f" else tg.Tensor(x)
    out = module(leaf)
    out.sum().backward()
    assert out.dtype == np.float32
    leaves = [leaf] if x.dtype.kind == "f" else []
    for parameter in (*leaves, *module.parameters()):
        assert parameter.grad.dtype == np.float32
    for value in module.state().values():
        assert value.dtype == np.float32


@ALL
def test_arrays_and_tensors_give_one_value(layer):
    """A layer takes plain arrays; without parameters it gives one back."""
    module, x = layer.make(np.float64), inputs(layer)
    plain, recorded = module(x), module(tg.Tensor(x))
    assert isinstance(plain, tg.Tensor) == bool(module.parameters())
    plain = plain.numpy() if isinstance(plain, tg.Tensor) else plain
    assert np.array_equal(plain, recorded.numpy())


@ALL
def test_copies_and_states_are_complete(layer):
    """Deep copies, pickles and what a state is loaded into compute the same."""
    module, x = shaken(layer.make(np.float64)), inputs(layer)
    module(x)  # running averages move
    other = layer.make(np.float64)
    other.load_state(module.state())
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), other]
    module.eval()
    wanted = np.asarray(module(tg.Tensor(x)).numpy())
    for twin in twins:
        twin.eval()
        assert np.array_equal(twin(tg.Tensor(x)).numpy(), wanted)
        assert repr(twin) == repr(module)


@ALL
def test_a_summary_knows_shapes_and_counts(layer):
    """The shape of the output, and every learnt number once; buffers are not learnt."""
    module, x = layer.make(np.float64), inputs(layer)
    table = nn.Sequential(module).summary(x.shape)
    wanted = module.eval()(tg.Tensor(x)).shape
    assert table.rows[1].output == wanted
    assert table.total == sum(p.size for p in module.parameters())


@ALL
def test_a_layer_can_be_drawn_and_derived(layer):
    """A picture with the layer as a box, and a line of text for each parameter."""
    model = nn.Sequential(layer.make(np.float64))
    loss = tg.mean(tg.square(model(tg.Tensor(inputs(layer), name="X"))))
    assert "layers.0" in tg.draw(loss).dot
    if not model.parameters():
        return
    text = tg.derive(loss, wrt=model.parameters()).text
    assert "Backward" in text
    assert "$" not in text
    assert "\\" not in text


# --- convolutions and pools ------------------------------------------------------


def test_a_convolution_starts_by_the_fans_of_its_kernel():
    """He's rule before relu: variance 2 / (channels x kernel); biases are zero."""
    layer = nn.Conv2d(16, 64, 3, activation="relu", rng=0)
    assert np.isclose(layer.weight.data.var(), 2 / (16 * 9), rtol=0.05)
    assert not np.any(layer.bias.data)
    grouped = nn.Conv1d(64, 64, 5, groups=64, bias=False, rng=0)
    turned = nn.ConvTranspose2d(6, 4, 3, groups=2, rng=0).weight.data
    plain = nn.Conv2d(6, 4, 3, groups=2, rng=0).weight.data
    for i, (rows, columns) in enumerate(((0, 3), (3, 6))):
        part = plain[2 * i : 2 * i + 2].swapaxes(0, 1)
        assert np.array_equal(turned[rows:columns], part)
    assert grouped.weight.shape == (64, 1, 5)
    assert grouped.bias is None


def test_descriptions_say_what_is_not_usual():
    """One line a layer, as `repr` and `summary` show it."""
    told = {
        nn.Conv2d(1, 8, (3, 5), stride=2, padding=1, groups=1): "Conv2d(1 -> 8, 3x5, "
        "stride=2, padding=1)",
        nn.Conv1d(
            2, 4, 3, dilation=2, groups=2, bias=False, dtype=np.float32
        ): "Conv1d(2 -> 4, 3, dilation=2, groups=2, bias=False, dtype=float32)",
        nn.MaxPool2d(3, stride=(2, 1)): "MaxPool2d(3x3, stride=(2, 1))",
        nn.AvgPool1d(2): "AvgPool1d(2)",
        nn.BatchNorm(3, momentum=0.5, epsilon=0.1, affine=False): "BatchNorm(3, "
        "momentum=0.5, epsilon=0.1, affine=False)",
        nn.LayerNorm((2, 3)): "LayerNorm((2, 3))",
        nn.GroupNorm(4, 2): "GroupNorm(4, groups=2)",
        nn.MultiHeadAttention(4, 2): "MultiHeadAttention(4, heads=2)",
        nn.LSTM(3, 2, returns="last"): "LSTM(3 -> 2, returns=last)",
        nn.RNN(3, 2, activation="relu"): "RNN(3 -> 2, activation=relu)",
    }
    for layer, text in told.items():
        assert layer.describe() == text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(0, 1, 3), "Conv2d: n_in is an integer of at least 1"),
        (
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            "groups divides the numbers of channels",
        ),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "Conv2d: size is an integer"),
        (
            lambda: nn.Conv1d(1, 1, 3, padding="full"),
            "Conv1d: padding is 'same', 'valid'",
        ),
        (lambda: nn.Conv2d(1, 1, 3, padding=(1, 2, 3)), "Conv2d: padding"),
        (lambda: nn.AvgPool2d(2, padding=-1), "AvgPool2d: padding"),
        (
            lambda: nn.ConvTranspose2d(1, 1, 3, output_padding=1),
            "ConvTranspose2d: output_padding is less than stride",
        ),
        (
            lambda: nn.ConvTranspose1d(1, 1, 3, padding="same"),
            "ConvTranspose1d: padding",
        ),
        (lambda: nn.MaxPool2d(2.5), "MaxPool2d: size"),
        (lambda: nn.BatchNorm(3, momentum=2), "momentum"),
        (lambda: nn.BatchNorm(3, epsilon=0), "epsilon is a number above 0"),
        (lambda: nn.LayerNorm(()), "LayerNorm: n is one length or more"),
        (lambda: nn.GroupNorm(3, 2), "GroupNorm: groups divides"),
        (lambda: nn.MultiHeadAttention(3, 2), "heads divides"),
        (lambda: nn.LSTM(3, 2, returns="all"), "LSTM: returns is"),
        (
            lambda: nn.Embedding(3, 2, init=lambda shape, rng: np.ones(3)),
            "Embedding: init",
        ),
    ],
)
def test_arguments_that_make_no_layer_are_refused(make, words):
    """A ModelError that names the layer and the argument, when it is made."""
    with pytest.raises(ModelError, match=words):
        make()


@pytest.mark.parametrize("name", ["Conv2d", "LSTM", "BatchNorm", "Embedding"])
def test_parameters_are_floating(name):
    """Integers cannot be learnt."""
    sizes = (3, 2, 3) if name == "Conv2d" else (3,) if name == "BatchNorm" else (3, 2)
    with pytest.raises(DtypeError, match=f"{name}: parameters have a floating dtype"):
        getattr(nn, name)(*sizes, dtype=int)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nn.Conv2d(1, 2, 3), (5, 8, 8), "x\\[:, None\\]"),
        (nn.Conv2d(3, 2, 3), (5, 8, 8, 3), "transpose\\(0, 3, 1, 2\\)"),
        (nn.Conv2d(3, 2, 3), (5, 4, 8, 8), "Conv2d\\(4, 2, …\\)"),
        (nn.Conv2d(3, 2, 3), (5, 3, 2, 2), "conv2d: expected windows that fit"),
        (nn.Conv1d(3, 2, 3), (3, 8), "x\\[None\\]"),
        (nn.MaxPool2d(2), (5, 8, 8), "max_pool2d: expected"),
        (nn.GlobalAvgPool(), (5, 8), "expected x\\(n, c, …\\)"),
        (nn.BatchNorm(3), (5, 8, 3), "Channels come second"),
        (nn.BatchNorm(3), (1, 3), "two elements of each channel"),
        (nn.LayerNorm(3), (5, 2), "expected x\\(…, 3\\)"),
        (nn.GroupNorm(4, 2), (5, 2), "expected weight"),
        (nn.MultiHeadAttention(4, 2), (5, 3), "expected query\\(batch, l, 4\\)"),
        (nn.LSTM(3, 2), (5, 3), "x\\[None\\]"),
        (nn.GRU(3, 2), (5, 0, 3), "expected x\\(n, steps, 3\\)"),
    ],
)
def test_inputs_that_do_not_fit_name_the_layer(layer, shape, words):
    """A ShapeError with the layer's kind and place, the shapes and a way out."""
    model = nn.Sequential(nn.Identity(), layer)
    title = rf"{type(layer).__name__} 'layers\.1'"
    with pytest.raises(ShapeError, match=f"{title}: .*{words}"):
        model(np.ones(shape))


def test_an_empty_batch_goes_through():
    """No example in, none out, and zero gradients."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=0), nn.MaxPool2d(2), nn.GlobalAvgPool(), nn.LayerNorm(2)
    )
    out = model(np.zeros((0, 1, 6, 6)))
    assert out.shape == (0, 2)
    out.sum().backward()
    assert all(not np.any(p.grad) for p in model.parameters())
    outputs, (h, c) = nn.LSTM(3, 2, rng=0)(np.zeros((0, 4, 3)))
    assert outputs.shape == (0, 4, 2)
    assert h.shape == c.shape == (0, 2)


# --- what follows what -----------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(8, 2, 3)], "channels.*takes 8"),
        (
            [nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.BatchNorm(3)],
            "takes 3. Make it take 4",
        ),
        ([nn.Conv2d(1, 4, 3), nn.GlobalAvgPool(), nn.Dense(3, 1)], "features.*takes 3"),
        ([nn.Embedding(9, 4), nn.LSTM(5, 2)], "layer 0: Embedding.*layer 1: LSTM"),
        ([nn.GRU(4, 3, returns="last"), nn.Dense(4, 1)], "takes 4. Make it take 3"),
        ([nn.Dense(2, 3), tg.tanh, nn.LayerNorm(4)], "takes 4"),
        ([nn.LSTM(4, 3), nn.Dense(3, 1)], "returns='last'"),
        (
            [nn.Sequential(nn.Dense(2, 3)), nn.Dense(2, 1)],
            "Make the second Dense\\(3, 1",
        ),
    ],
)
def test_layers_that_cannot_follow_are_refused(layers, words):
    """A Sequential knows channels and features, before anything is computed."""
    with pytest.raises(ModelError, match=words):
        nn.Sequential(*layers)


def test_layers_that_may_follow_are_not_refused():
    """Flatten, functions and pools of channels leave the rest to the shapes."""
    nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Dense(100, 2))
    nn.Sequential(nn.Dense(2, 4), lambda x: x[:, :3], nn.Dense(3, 2))
    nn.Sequential(nn.Dense(2, 4), nn.BatchNorm(4), nn.Dense(4, 2))
    nn.Sequential(nn.Embedding(5, 4), nn.MultiHeadAttention(4, 2), nn.RMSNorm(4))
    nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(4, 2), nn.LSTM(9, 3))


# --- batch normalisation ---------------------------------------------------------


def test_running_averages_are_pytorchs():
    """Three batches, then use: averages, outputs and the number of channels' axes."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours, theirs = nn.BatchNorm(3), torch.nn.BatchNorm2d(3, dtype=torch.float64)
    for _ in range(3):
        x = 2 + 3 * rng.standard_normal((4, 3, 2, 5))
        theirs(torch.tensor(x))
        ours(x)
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(
            getattr(ours, name).numpy(), getattr(theirs, name).numpy(), rtol=1e-13
        )
    x = rng.standard_normal((2, 3, 2, 5))
    found, wanted = ours.eval()(x).numpy(), theirs.eval()(torch.tensor(x))
    np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-12)


def test_buffers_are_remembered_and_not_learnt():
    """They are in the state, in no optimiser, and evaluation does not move them."""
    model = nn.Sequential(nn.Dense(2, 3, rng=0), nn.BatchNorm(3))
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        *("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
    ]
    assert set(model.state()) == {
        *names,
        *("layers.1.running_mean", "layers.1.running_var"),
    }
    x = np.random.default_rng(0).standard_normal((5, 2))
    model(x)
    before = model.state()
    model.eval()
    first, second = model(x).numpy(), model(x).numpy()
    assert np.array_equal(first, second)
    for name, value in model.state().items():
        assert np.array_equal(value, before[name])
    assert isinstance(model[1].running_mean, nn.Buffer)
    assert model[1].running_mean.name == "layers.1.running_mean"


def test_a_forward_between_leaves_the_backward_right():
    """Averages move in every forward; no graph has saved them, so nothing is spoilt."""
    layer = nn.BatchNorm(2)
    x = np.random.default_rng(0).standard_normal((4, 2))
    weights = np.arange(8.0).reshape(4, 2)
    loss = tg.sum(layer(x) * weights)
    layer(x + 1)
    loss.backward()
    again = nn.BatchNorm(2)
    tg.sum(again(x) * weights).backward()
    assert np.array_equal(layer.weight.grad, again.weight.grad)


def _training(make, x, y, backend=None, steps=3):
    """Train a model from one start; return losses, and its state in the end."""
    model = make()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y):
        loss = tg.losses.cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    run = step if backend is None else tg.compile(step, backend=backend)
    return [run(x, y).item() for _ in range(steps)], model


def test_training_is_resumed_bit_for_bit(tmp_path):
    """Saved in the middle and loaded into a new model, averages included."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 1, 6, 6)), rng.integers(0, 3, 6)

    def make(seed=0):
        model = _convolutional(seed)
        return model, tg.optim.Adam(model.parameters(), lr=0.01)

    def go(model, optimizer, steps):
        for _ in range(steps):
            optimizer.minimize(tg.losses.cross_entropy(model(x), y))

    whole, optimizer = make()
    go(whole, optimizer, 4)
    half, optimizer = make()
    go(half, optimizer, 2)
    tg.save(tmp_path / "half.npz", half, optimizer)
    rest, optimizer = make(seed=7)
    tg.load(tmp_path / "half.npz", rest, optimizer)
    go(rest, optimizer, 2)
    for name, value in whole.state().items():
        assert np.array_equal(rest.state()[name], value), name


# --- compiled --------------------------------------------------------------------


def _convolutional(seed=3):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", rng=rng),
        nn.BatchNorm(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 2, stride=2, activation="tanh", rng=rng),
        nn.GlobalAvgPool(),
        nn.Dense(6, 3, rng=rng),
    )


def _normalised():
    rng = np.random.default_rng(3)
    return nn.Sequential(
        *(nn.Dense(5, 8, rng=rng), nn.BatchNorm(8), nn.Tanh()),
        *(nn.LayerNorm(8), nn.GroupNorm(8, 2), nn.RMSNorm(8), nn.Dense(8, 3, rng=rng)),
    )


def _lstm():
    rng = np.random.default_rng(3)
    return nn.Sequential(
        *(nn.Embedding(7, 5, rng=rng), nn.LSTM(5, 6, returns="last", rng=rng)),
        nn.Dense(6, 3, rng=rng),
    )


def _gru():
    rng = np.random.default_rng(3)
    return nn.Sequential(
        nn.RNN(5, 4, returns="outputs", rng=rng),
        nn.GRU(4, 6, returns="last", rng=rng),
        nn.Dense(6, 3, rng=rng),
    )


class _Block(nn.Module):
    """An attention block with residuals, before norms, and a causal mask."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.table = nn.Embedding(7, 8, rng=rng)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiHeadAttention(8, 2, rng=rng)
        self.second_norm = nn.RMSNorm(8)
        self.inner = nn.Dense(8, 16, activation="relu", rng=rng)
        self.outer = nn.Dense(16, 8, rng=rng)
        self.head = nn.Dense(8, 3, rng=rng)

    def forward(self, x):
        x = self.table(x)
        x = x + self.attention(self.norm(x), is_causal=True)
        x = x + self.outer(self.inner(self.second_norm(x)))
        return self.head(tg.mean(x, axis=1))


_RNG = np.random.default_rng(0)
MODELS = {
    "convolutional": (_convolutional, _RNG.standard_normal((8, 1, 8, 8))),
    "normalised": (_normalised, _RNG.standard_normal((8, 5))),
    "lstm": (_lstm, _RNG.integers(0, 7, (8, 5))),
    "gru": (_gru, _RNG.standard_normal((8, 6, 5))),
    "attention": (_Block, _RNG.integers(0, 7, (8, 6))),
}
TARGETS = _RNG.integers(0, 3, 8)


def _needs(backend):
    if backend == "jax":
        pytest.importorskip("jax")
    if backend == "c":
        try:
            tg.compile(lambda x: x * 2.0, backend="c")(np.ones(2))
        except tg.errors.TinygradError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_step_trains_as_an_eager_one(name, backend):
    """Losses, parameters and running averages after three steps, on every backend."""
    _needs(backend)
    make, x = MODELS[name]
    wanted, eager = _training(make, x, TARGETS)
    found, compiled = _training(make, x, TARGETS, backend)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    for key, value in eager.state().items():
        np.testing.assert_allclose(
            compiled.state()[key], value, rtol=1e-11, atol=1e-13, err_msg=key
        )
    assert wanted[-1] < wanted[0]


def test_a_compiled_step_and_eager_use_share_the_averages():
    """After compiled training, eager and compiled evaluation read what it left."""
    make, x = MODELS["convolutional"]
    _, model = _training(make, x, TARGETS, "numpy")
    moved = model[1].running_mean.numpy().copy()
    assert np.any(moved)
    model.eval()
    predict = tg.compile(model.forward)
    np.testing.assert_allclose(predict(x).numpy(), model(x).numpy(), rtol=1e-12)
    model[1].running_mean.data = moved + 1
    np.testing.assert_allclose(predict(x).numpy(), model(x).numpy(), rtol=1e-12)


def test_fit_trains_layers_of_every_kind():
    """`tg.fit` takes a convolutional net as it takes any other, and its cost falls."""
    rng = np.random.default_rng(0)
    model = _convolutional()
    history = tg.fit(
        model,
        tg.losses.cross_entropy,
        tg.optim.Adam(model.parameters(), lr=0.01),
        (rng.standard_normal((16, 1, 8, 8)), rng.integers(0, 3, 16)),
        epochs=4,
        batch_size=8,
    )
    assert history["loss"][-1] < history["loss"][0]


def test_fit_looks_integers_up_and_validates():
    """Indices stay integers on the way through `tg.fit`, compiled and not."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (32, 5))
    y = x[:, 0] % 2
    for compile in (False, True):
        model = nn.Sequential(
            *(nn.Embedding(9, 4, rng=0), nn.LSTM(4, 8, returns="last", rng=1)),
            *(nn.Dropout(0.2, rng=3), nn.Dense(8, 2, rng=2)),
        )
        history = tg.fit(
            model,
            tg.losses.cross_entropy,
            tg.optim.Adam(model.parameters(), lr=0.02),
            (x, y),
            epochs=4,
            batch_size=16,
            validation_data=(x, y),
            compile=compile,
        )
        assert history["validation_loss"][-1] < history["validation_loss"][0]


# --- recurrent networks ----------------------------------------------------------


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_are_pytorchs(name):
    """Outputs, last state, and gradients of input, state and parameters."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours = shaken(getattr(nn, name)(3, 4, rng=0))
    theirs = getattr(torch.nn, name)(3, 4, batch_first=True, dtype=torch.float64)
    pairs = {"weight_ih_l0": ours.weight_x, "weight_hh_l0": ours.weight_h}
    pairs["bias_ih_l0"] = ours.bias
    with torch.no_grad():
        theirs.bias_hh_l0[...] = 0.0
        if name == "GRU":
            pairs["bias_hh_l0"] = ours.bias_h
        for key, parameter in pairs.items():
            getattr(theirs, key)[...] = torch.tensor(parameter.data)
    x, h, c = (rng.standard_normal(s) for s in ((2, 11, 3), (2, 4), (2, 4)))
    leaves = [tg.Tensor(a, requires_grad=True) for a in (x, h, c)]
    twins = [torch.tensor(a, requires_grad=True) for a in (x, h, c)]
    if name == "LSTM":
        outputs, (last, memory) = ours(leaves[0], (leaves[1], leaves[2]))
        wanted, (end, other) = theirs(twins[0], (twins[1][None], twins[2][None]))
        np.testing.assert_allclose(memory.numpy(), other[0].detach(), rtol=1e-12)
    else:
        outputs, last = ours(leaves[0], leaves[1])
        wanted, end = theirs(twins[0], twins[1][None])
    np.testing.assert_allclose(outputs.numpy(), wanted.detach(), rtol=1e-12)
    np.testing.assert_allclose(last.numpy(), end[0].detach(), rtol=1e-12)
    g = rng.standard_normal(outputs.shape)
    outputs.backward(g)
    wanted.backward(torch.tensor(g))
    for leaf, twin in zip(leaves, twins, strict=True):
        if twin.grad is not None:
            np.testing.assert_allclose(leaf.grad, twin.grad, rtol=1e-10, atol=1e-13)
    for key, parameter in pairs.items():
        np.testing.assert_allclose(
            parameter.grad, getattr(theirs, key).grad, rtol=1e-10, atol=1e-13
        )


@pytest.mark.parametrize("make", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_sequence_read_in_two_parts_is_one_sequence(make):
    """The last state of the first part is where the second begins."""
    layer, x = make(3, 2, rng=0), np.random.default_rng(0).standard_normal((2, 7, 3))
    whole, end = layer(x)
    first, state = layer(x[:, :4])
    second, last = layer(x[:, 4:], state)
    joined = np.concatenate([first.numpy(), second.numpy()], 1)
    np.testing.assert_allclose(joined, whole.numpy(), rtol=1e-13)
    ends = [state if isinstance(state, tuple) else (state,) for state in (end, last)]
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13)


def test_a_state_of_another_shape_is_refused():
    """Named with the layer, and how many arrays there are."""
    with pytest.raises(ShapeError, match=r"LSTM: expected a state \(h, c\), each"):
        nn.LSTM(3, 2)(np.ones((4, 5, 3)), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match=r"GRU: expected a state h of shape \(4, 2\)"):
        nn.GRU(3, 2)(np.ones((4, 5, 3)), np.zeros((5, 2)))


def test_recurrent_layers_start_as_the_field_starts_them():
    """Orthogonal gates of the state, Glorot's of the input, a forget gate that is open."""
    layer = nn.LSTM(40, 30, rng=0)
    for gate in np.split(layer.weight_h.data, 4):
        np.testing.assert_allclose(gate @ gate.T, np.eye(30), atol=1e-12)
    for gate in np.split(layer.weight_x.data, 4):
        assert np.isclose(gate.var(), 2 / 70, rtol=0.1)
    assert layer.bias.data.tolist() == [0.0] * 30 + [1.0] * 30 + [0.0] * 60


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (3, 2, 2)])
def test_orthogonal_numbers_are_orthonormal(shape):
    """Rows, or columns where they are fewer, have length 1 and are perpendicular."""
    found = init.orthogonal(shape, 0).reshape(shape[0], -1)
    small = found @ found.T if len(found) <= found.shape[1] else found.T @ found
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-13)
    draws = [init.orthogonal((2, 2), seed)[0, 0] for seed in range(200)]
    assert abs(np.mean(draws)) < 0.2  # either sign, equally likely


# --- attention and embedding -----------------------------------------------------


def test_multi_head_attention_is_pytorchs():
    """Self-attention and attention to others, with a mask, and all gradients."""
    torch = pytest.importorskip("torch")
    ours = shaken(nn.MultiHeadAttention(4, 2, rng=0))
    theirs = torch.nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight[...] = torch.tensor(
            np.concatenate([p.weight.data for p in parts])
        )
        theirs.in_proj_bias[...] = torch.tensor(
            np.concatenate([p.bias.data for p in parts])
        )
        theirs.out_proj.weight[...] = torch.tensor(ours.output.weight.data)
        theirs.out_proj.bias[...] = torch.tensor(ours.output.bias.data)
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((3, n, 4)) for n in (5, 6, 6))
    seen = rng.random((5, 6)) < 0.6
    seen[:, 0] = True
    found = ours(q, k, v, mask=seen)
    wanted, _ = theirs(*map(torch.tensor, (q, k, v)), attn_mask=torch.tensor(~seen))
    np.testing.assert_allclose(found.numpy(), wanted.detach(), rtol=1e-11)
    found.sum().backward()
    wanted.sum().backward()
    np.testing.assert_allclose(
        np.concatenate([p.weight.grad for p in parts]),
        theirs.in_proj_weight.grad,
        *(1e-10, 1e-12),
    )
    itself = ours(q, is_causal=True).numpy()
    assert np.array_equal(itself, ours(q, q, q, is_causal=True).numpy())


def test_an_embedding_names_itself():
    """What are no rows of the table is refused with the layer's place."""
    model = nn.Sequential(nn.Embedding(3, 2))
    with pytest.raises(OpError, match=r"Embedding 'layers\.0': embedding: indices"):
        model(np.array([3]))


# --- the examples ----------------------------------------------------------------

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_convolutional_example_learns_to_read(tmp_path):
    """Its cost falls, digits it never saw are read, and what it saves reads the same."""
    pytest.importorskip("sklearn")
    example = runpy.run_path(str(EXAMPLES / "convolutional_digits.py"))
    costs, found, same = example["main"](["--epochs", "3", "--out", str(tmp_path)])
    assert costs[-1] < costs[0] / 2
    assert found > 0.7
    assert same
    assert (tmp_path / "model.npz").exists()


def test_the_sequence_example_nears_what_can_be_known(capsys):
    """Its cost nears the entropy of its sentences, from above, and it writes words."""
    example = runpy.run_path(str(EXAMPLES / "sequence_memory.py"))
    costs, reached, text = example["main"](["--steps", "80"])
    assert costs[0] > 2
    assert example["LIMIT"] < reached < 1.15 * example["LIMIT"]
    words = {*example["FIRST"], *example["SECOND"]}
    written = text.replace(".", " ").split()
    assert np.mean([word in words for word in written]) > 0.8
    assert "No model can go below 0.3466" in capsys.readouterr().out
