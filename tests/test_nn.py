"""Laws of layers, initialisers and models; every layer of the package obeys.

Whether their gradients are right is judged in `test_verdicts`.
"""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph, nn
from tinygrad_nn.errors import DtypeError, ModelError, ShapeError
from tinygrad_nn.nn import init

N, N_IN = 5, 3


class Member(NamedTuple):
    """A way to make a layer, and what it computes, by loops over Python numbers."""

    make: object  # dtype -> Module
    value: object  # (parameters, row) -> row


def dense_row(parameters, row, then=lambda z: z):
    weight, bias = parameters["weight"], parameters.get("bias")
    out = []
    for j, weights in enumerate(weight):
        z = math.fsum(w * x for w, x in zip(weights, row, strict=True))
        out.append(then(z + (0.0 if bias is None else bias[j])))
    return out


def each(function):
    return lambda _parameters, row: [function(x) for x in row]


def softmax_row(_parameters, row):
    total = math.fsum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def log_softmax_row(_parameters, row):
    return [math.log(p) for p in softmax_row(None, row)]


def two_layers_row(parameters, row):
    inner = {name: parameters[f"layers.0.{name}"] for name in ("weight", "bias")}
    outer = {name: parameters[f"layers.2.{name}"] for name in ("weight", "bias")}
    return dense_row(outer, dense_row(inner, row, math.tanh))


def elu(x, alpha=1.0):
    return x if x > 0 else alpha * math.expm1(x)


def gelu(x):
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x / 2 * (1 + math.tanh(u))


def limited(x, low, high):
    return min(max(x, low), high)


def shrunk(x, size):
    return math.copysign(max(abs(x) - size, 0.0), x)


def leaky_row(parameters, row):
    slopes = np.broadcast_to(parameters["slope"], len(row)).tolist()
    return [x if x > 0 else a * x for x, a in zip(row, slopes, strict=True)]


def dropped_row(_parameters, _row):
    raise NotImplementedError  # random: it has a law of its own


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


MEMBERS = {
    "CELU": Member(lambda dtype: nn.CELU(), each(elu)),
    "CELU, narrow": Member(
        lambda dtype: nn.CELU(0.5), each(lambda x: 0.5 * elu(2 * x))
    ),
    "Dense": Member(lambda dtype: nn.Dense(N_IN, 2, rng=0, dtype=dtype), dense_row),
    "Dense, no bias": Member(
        lambda dtype: nn.Dense(
            N_IN, 2, bias=False, activation=np.tanh, rng=0, dtype=dtype
        ),
        lambda p, row: dense_row(p, row, math.tanh),
    ),
    "Dense, relu": Member(
        lambda dtype: nn.Dense(N_IN, 4, activation=nn.ReLU(), rng=1, dtype=dtype),
        lambda p, row: dense_row(p, row, lambda z: max(z, 0.0)),
    ),
    "Dropout": Member(lambda dtype: nn.Dropout(0.4, rng=0), dropped_row),
    "ELU": Member(lambda dtype: nn.ELU(), each(elu)),
    "ELU, steep": Member(lambda dtype: nn.ELU(2.0), each(lambda x: elu(x, 2.0))),
    "Flatten": Member(lambda dtype: nn.Flatten(), each(lambda x: x)),
    "GELU": Member(lambda dtype: nn.GELU(), each(gelu)),
    "Hardshrink": Member(
        lambda dtype: nn.Hardshrink(0.2), each(lambda x: x if abs(x) > 0.2 else 0.0)
    ),
    "Hardsigmoid": Member(
        lambda dtype: nn.Hardsigmoid(), each(lambda x: limited((x + 3) / 6, 0, 1))
    ),
    "Hardswish": Member(
        lambda dtype: nn.Hardswish(), each(lambda x: x * limited((x + 3) / 6, 0, 1))
    ),
    "Hardtanh": Member(
        lambda dtype: nn.Hardtanh(-0.2, 1), each(lambda x: limited(x, -0.2, 1))
    ),
    "Identity": Member(lambda dtype: nn.Identity(), each(lambda x: x)),
    "LeakyReLU": Member(
        lambda dtype: nn.LeakyReLU(0.1), each(lambda x: x if x > 0 else 0.1 * x)
    ),
    "LogSigmoid": Member(
        lambda dtype: nn.LogSigmoid(), each(lambda x: math.log(sigmoid(x)))
    ),
    "LogSoftmax": Member(lambda dtype: nn.LogSoftmax(), log_softmax_row),
    "Mish": Member(
        lambda dtype: nn.Mish(),
        each(lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    ),
    "PReLU": Member(lambda dtype: nn.PReLU(dtype=dtype), leaky_row),
    "PReLU, of features": Member(
        lambda dtype: nn.PReLU((N_IN,), 0.5, dtype), leaky_row
    ),
    "ReLU": Member(lambda dtype: nn.ReLU(), each(lambda x: max(x, 0.0))),
    "ReLU6": Member(lambda dtype: nn.ReLU6(), each(lambda x: limited(x, 0.0, 6.0))),
    "SELU": Member(
        lambda dtype: nn.SELU(),
        each(lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    ),
    "Sequential": Member(
        lambda dtype: nn.Sequential(
            nn.Dense(N_IN, 4, rng=0, dtype=dtype),
            tg.tanh,
            nn.Dense(4, 2, rng=1, dtype=dtype),
        ),
        two_layers_row,
    ),
    "Sigmoid": Member(lambda dtype: nn.Sigmoid(), each(sigmoid)),
    "SiLU": Member(lambda dtype: nn.SiLU(), each(lambda x: x * sigmoid(x))),
    "Softmax": Member(lambda dtype: nn.Softmax(), softmax_row),
    "Softmin": Member(
        lambda dtype: nn.Softmin(),
        lambda _, row: softmax_row(None, [-x for x in row]),
    ),
    "Softplus": Member(
        lambda dtype: nn.Softplus(), each(lambda x: math.log1p(math.exp(x)))
    ),
    "Softshrink": Member(
        lambda dtype: nn.Softshrink(0.2), each(lambda x: shrunk(x, 0.2))
    ),
    "Softsign": Member(lambda dtype: nn.Softsign(), each(lambda x: x / (1 + abs(x)))),
    "Tanh": Member(lambda dtype: nn.Tanh(), each(math.tanh)),
    "Tanhshrink": Member(
        lambda dtype: nn.Tanhshrink(), each(lambda x: x - math.tanh(x))
    ),
    "Threshold": Member(
        lambda dtype: nn.Threshold(0.3, -1.0), each(lambda x: x if x > 0.3 else -1.0)
    ),
}
ALL = [pytest.param(member, id=name) for name, member in MEMBERS.items()]
CERTAIN = [
    pytest.param(member, id=name)
    for name, member in MEMBERS.items()
    if name != "Dropout"
]


def inputs(dtype=np.float64):
    return np.random.default_rng(2).normal(size=(N, N_IN)).astype(dtype)


def shaken(layer):
    """Give biases, which start at zero, numbers that can be told apart."""
    for i, parameter in enumerate(layer.parameters()):
        noise = np.random.default_rng(i).normal(size=parameter.shape)
        parameter.data = parameter.data + 0.1 * noise.astype(parameter.dtype)
    return layer


# --- laws -------------------------------------------------------------------------


def law_of_value(member):
    """A layer computes its definition, for every example alone."""
    layer = shaken(member.make(np.float64))
    x = inputs()
    numbers = {name: p.tolist() for name, p in layer.named_parameters()}
    wanted = [member.value(numbers, row) for row in x.tolist()]
    np.testing.assert_allclose(layer(tg.Tensor(x)).data, wanted, rtol=1e-14, atol=1e-15)


def law_of_float32(member):
    """float32 parameters and inputs give float32 outputs and gradients."""
    layer = member.make(np.float32)
    x = tg.Parameter(inputs(np.float32))
    out = layer(x)
    out.sum().backward()
    assert out.dtype == np.float32
    for leaf in (x, *layer.parameters()):
        assert leaf.dtype == np.float32
        assert leaf.grad.dtype == np.float32
    for node in graph.nodes(out):
        # Which elements are dropped is drawn in float64, whatever they are.
        drawn = node.op is not None and node.op.name == "uniform"
        assert drawn or node.dtype in (np.float32, np.bool_)


def law_of_arrays(member):
    """A layer takes a plain array; without parameters it gives one back."""
    layer = member.make(np.float64)
    draws = layer.state()
    recorded = layer(tg.Tensor(inputs()))
    layer.load_state(draws)
    plain = layer(inputs())
    assert isinstance(plain, tg.Tensor) == bool(layer.parameters())
    assert np.array_equal(plain.data if layer.parameters() else plain, recorded.data)


def law_of_copies(member):
    """Deep copies and pickles compute the same, and share nothing."""
    layer = shaken(member.make(np.float64))
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    wanted = layer(tg.Tensor(inputs())).data
    for twin in twins:
        assert np.array_equal(twin(tg.Tensor(inputs())).data, wanted)
        assert repr(twin) == repr(layer)
        for parameter in twin.parameters():
            parameter.data[...] = 0
    layer_again = layer.eval()(tg.Tensor(inputs())).data
    assert np.array_equal(layer_again, copy.deepcopy(layer)(tg.Tensor(inputs())).data)
    assert all(np.any(parameter.data) for parameter in layer.parameters())


def law_of_state(member):
    """State goes into a layer made alike, and its copies do not follow."""
    layer, other = shaken(member.make(np.float64)), member.make(np.float64)
    saved = layer.state()
    other.load_state(saved)
    for name, value in other.state().items():
        assert np.array_equal(value, saved[name])
    wanted = layer(tg.Tensor(inputs())).data
    assert np.array_equal(other(tg.Tensor(inputs())).data, wanted)
    for value in saved.values():
        value[...] = 0
    for parameter in (*layer.parameters(), *other.parameters()):
        assert np.any(parameter.data)


LAWS = (law_of_float32, law_of_arrays, law_of_copies, law_of_state)


def test_every_layer_is_a_member():
    """No layer of the package is left out of the laws."""
    found = {
        name
        for name, value in vars(nn).items()
        if inspect.isclass(value)
        and issubclass(value, nn.Module)
        and value is not nn.Module
    }
    from test_layers import LAYERS  # whose inputs have other shapes

    assert {name.split(",")[0] for name in (*MEMBERS, *LAYERS)} == found
    assert found <= set(nn.__all__)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("member", ALL)
def test_law(member, law):
    """Each layer obeys each law."""
    law(member)


@pytest.mark.parametrize("member", CERTAIN)
def test_a_layer_computes_its_definition(member):
    """Each layer without chance equals loops over Python numbers."""
    law_of_value(member)


class Mutant(nn.Module):
    """A dense layer with one slip."""

    def __init__(self, slip):
        self.slip = slip
        self.weight = tg.Parameter(np.random.default_rng(0).normal(size=(2, N_IN)))
        self.bias = tg.Parameter(np.ones(2))

    def forward(self, x):
        y = x @ self.weight.T + self.bias
        if self.slip == "value":
            return y + 1e-9
        if self.slip == "array":
            return y.data
        return y

    def state(self):
        found = super().state()
        return {"bias": found["bias"]} if self.slip == "state" else found

    def load_state(self, state):
        super().load_state({**super().state(), **state})

    def __deepcopy__(self, memo):
        return self if self.slip == "copy" else copy.copy(self)


@pytest.mark.parametrize(
    ("law", "slip"),
    [
        (law_of_value, "value"),
        (law_of_float32, "float64"),
        (law_of_arrays, "array"),
        (law_of_copies, "copy"),
        (law_of_state, "state"),
    ],
)
def test_laws_have_teeth(law, slip):
    """Each law refutes a layer that breaks it, and that layer without the slip passes."""
    if slip not in ("float64", "copy"):
        law(Member(lambda dtype: Mutant(None), dense_row))
    with pytest.raises(AssertionError):
        law(Member(lambda dtype: Mutant(slip), dense_row))


# --- models -----------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        self.hidden = nn.Dense(N_IN, 4, activation="relu", rng=0)
        self.drop = nn.Dropout(0.5, rng=1)

    def forward(self, x):
        return self.drop(self.hidden(x))


class Net(nn.Module):
    """Parameters in attributes, lists, tuples, dicts; a shared layer; a cycle."""

    def __init__(self):
        self.block = Block()
        self.heads = [nn.Dense(4, 1, rng=2), nn.Dense(4, 1, rng=3)]
        self.scales = {"a": tg.Parameter(2.0), "more": (tg.Parameter([1.0]), 7)}
        self.plain = tg.Tensor(np.ones(2), requires_grad=True)
        self.constant = tg.Tensor(np.ones(2))
        self.again = self.block.hidden
        self.block.owner = self

    def forward(self, x):
        h = self.block(x)
        return self.heads[0](h) * self.scales["a"] + self.heads[1](h)


NAMES = [
    "block.hidden.weight",
    "block.hidden.bias",
    "heads.0.weight",
    "heads.0.bias",
    "heads.1.weight",
    "heads.1.bias",
    "scales.a",
    "scales.more.0",
    "plain",
]


def test_parameters_are_found_wherever_they_are_kept():
    """Attributes, lists, tuples, dicts, nested; shared ones once; cycles end."""
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert len({id(p) for p in net.parameters()}) == len(NAMES)
    assert [p.name for p in net.parameters()] == NAMES
    assert [name for name, _ in net.named_modules()] == [
        "", "block", "block.hidden", "block.drop", "heads.0", "heads.1",
    ]  # fmt: skip


def test_an_attribute_set_later_counts():
    """A layer added to a finished model is found, named and trained."""
    net = nn.Sequential(nn.Dense(2, 2, rng=0))
    net(np.ones((1, 2)))
    net.layers.append(nn.Dense(2, 1, rng=1))
    net.temperature = tg.Parameter(1.0)
    names = [name for name, _ in net.named_parameters()]
    assert names[2:] == ["layers.1.weight", "layers.1.bias", "temperature"]
    assert net.layers[1].weight.name == "layers.1.weight"


def test_a_name_given_by_the_user_stays():
    """Only nameless parameters, and those named from inside, take their place's name."""
    layer = nn.Dense(2, 2, rng=0)
    layer.bias.name = "offset"
    layer(np.ones((1, 2)))
    assert layer.weight.name == "weight"
    nn.Sequential(layer).parameters()
    assert (layer.weight.name, layer.bias.name) == ("layers.0.weight", "offset")


def test_nodes_know_their_layer():
    """What a layer records carries its path, however it is called."""
    net = Net()
    out = net(np.ones((N, N_IN)))
    scopes = {graph.scope(node) for node in graph.nodes(out) if node.op}
    assert scopes == {None, "block.hidden", "block.drop", "heads.0", "heads.1"}
    direct = net.block.hidden(np.ones((N, N_IN)))
    assert graph.scope(direct) == "block.hidden"
    with tg.scope("outer"):
        assert graph.scope(net.block(np.ones((N, N_IN)))) == "outer.block.drop"


def test_shared_layers_share():
    """One layer used twice has one set of parameters, whose gradients add up."""
    layer = nn.Dense(2, 2, bias=False, rng=0)
    net = nn.Sequential(layer, layer)
    assert len(net.parameters()) == 1
    x = np.ones((1, 2))
    net(x).sum().backward()
    W = layer.weight.data
    ones = np.ones((1, 2))
    np.testing.assert_allclose(
        layer.weight.grad, ones.T @ (x @ W.T) + (ones @ W).T @ x, rtol=1e-14
    )
    twin = pickle.loads(pickle.dumps(net))
    assert twin[0] is twin[1]


def test_two_things_of_one_name_are_refused():
    """A state could hold only one of them."""

    class Twins(Block):
        def __init__(self):
            self.a = {"b.c": tg.Parameter(1.0), "b": {"c": tg.Parameter(2.0)}}

    with pytest.raises(ModelError, match=r"Twins: .*two things named 'a\.b\.c'"):
        Twins().parameters()


def test_a_set_of_modules_is_refused():
    """It has no order, so its parameters would have no lasting names."""
    net = Block()
    net.layers = {nn.Dense(1, 1)}
    with pytest.raises(ModelError, match=r"layers: .*got a set\. Use a list"):
        net.parameters()


def test_a_deep_model_needs_no_recursion():
    """A chain of 5,000 modules is walked, named and switched."""

    class Link(nn.Module):
        def __init__(self, inner):
            self.inner = inner

        def forward(self, x):
            return x

    chain = nn.Dense(1, 1, rng=0)
    for _ in range(5000):
        chain = Link(chain)
    assert len(chain.parameters()) == 2
    assert not chain.eval().named_modules()[-1][1].training


def test_train_and_eval_reach_every_layer():
    """Both return the model, and set the mode of all that is inside."""
    net = Net()
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    assert net.train() is net
    assert all(module.training for _, module in net.named_modules())


def test_state_is_copied_and_restored_with_its_generators():
    """A restored model goes on bit for bit, dropout masks included."""
    net, x = Net(), np.ones((N, N_IN))
    net(x)
    saved = net.state()
    assert list(saved) == [
        "block.hidden.weight",
        "block.hidden.bias",
        "block.drop.rng",
        *NAMES[2:],
    ]
    wanted = [net(x).data, net(x).data]
    other = Net()
    for parameter in other.parameters():
        parameter.data = np.zeros(parameter.shape)
    other.load_state(saved)
    assert all(np.array_equal(other(x).data, value) for value in wanted)


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_generator_can_be_restored(kind):
    """The state of every bit generator of NumPy survives as an array."""
    first, second = (
        nn.Dropout(0.5, np.random.Generator(kind(1))),
        nn.Dropout(0.5, np.random.Generator(kind(2))),
    )
    first(np.ones(7))
    second.load_state(first.state())
    assert np.array_equal(first(np.ones(50)), second(np.ones(50)))
    with pytest.raises(ModelError, match="'rng' is no state of a PCG64 generator"):
        nn.Dropout(0.5).load_state(first.state())


def test_loading_a_state_that_does_not_fit_changes_nothing():
    """All faults are named in one error, and the model stays as it was."""
    net = nn.Sequential(
        nn.Dense(2, 3, rng=0), nn.Dropout(0.5, rng=0), nn.Dense(3, 1, rng=1), name="net"
    )
    before = net.state()
    wrong = {
        "layers.0.weight": np.zeros((3, 2)),
        "layers.0.bias": np.zeros(2),
        "layers.1.rng": np.zeros(4, np.uint8),
        "layers.2.weight": np.array([["a", "b", "c"]]),
        "extra": 0,
    }
    with pytest.raises(
        ModelError,
        match=r"Sequential 'net': .*'extra' is unknown; "
        r"'layers.0.bias' has shape \(2,\), expected \(3,\); "
        r"'layers.1.rng' is no state of a PCG64 generator; "
        r"'layers.2.bias' is missing; 'layers.2.weight' has dtype <U1",
    ):
        net.load_state(wrong)
    for name, value in net.state().items():
        assert np.array_equal(value, before[name])


def test_loading_forgets_gradients_and_keeps_the_dtype():
    """A gradient of other numbers would be applied to the loaded ones."""
    layer = nn.Dense(2, 1, rng=0, dtype=np.float32)
    layer(np.ones((1, 2))).sum().backward()
    layer.load_state({"weight": np.zeros((1, 2)), "bias": np.zeros(1)})
    assert layer.weight.grad is None
    assert layer.weight.dtype == np.float32


def test_repr_shows_the_tree():
    """One line a layer, with its settings; what is shared says so."""
    assert (
        repr(Net())
        == """\
Net
  block: Block
    hidden: Dense(3 -> 4, activation=relu)
    drop: Dropout(0.5)
    owner: Net (shared: the whole)
  heads.0: Dense(4 -> 1)
  heads.1: Dense(4 -> 1)
  again: Dense(3 -> 4, activation=relu) (shared: block.hidden)"""
    )
    layer = nn.Dense(2, 1, bias=False, dtype=np.float32, name="out")
    assert repr(layer) == "Dense(2 -> 1, bias=False, dtype=float32, name='out')"
    assert repr(nn.Sequential(nn.Softmax(axis=0), nn.LogSoftmax(axis=1), abs)) == (
        "Sequential\n  layers.0: Softmax(axis=0)\n  layers.1: LogSoftmax(axis=1)\n  layers.2: abs"
    )


def test_summary_counts_parameters_and_shows_shapes():
    """Counts add up, shared ones once; a run on zeros leaves no trace."""
    net = nn.Sequential(
        nn.Flatten(),
        nn.Dense(64, 16, rng=0),
        tg.relu,
        nn.Dropout(0.5, rng=0),
        nn.Dense(16, 10, rng=1),
    )
    before = net.state()
    summary = net.summary((7, 8, 8))
    assert summary.total == 64 * 16 + 16 + 16 * 10 + 10
    assert [(row.path, row.output, row.parameters) for row in summary.rows] == [
        ("", (7, 10), 1210),
        ("layers.0", (7, 64), 0),
        ("layers.1", (7, 16), 1040),
        ("layers.2", (7, 16), 0),
        ("layers.3", (7, 16), 0),
        ("layers.4", (7, 10), 170),
    ]
    assert str(summary).splitlines()[-1].split() == ["total", "1,210"]
    assert net.training
    assert all(
        np.array_equal(value, before[name]) for name, value in net.state().items()
    )
    assert [row.output for row in net.summary().rows] == [None] * 6
    assert "output" not in str(net.summary())
    shared = nn.Dense(2, 2)
    assert nn.Sequential(shared, shared).summary().total == 6
    with pytest.raises(ShapeError, match=r"Dense 'layers.1' \(64 -> 16\)"):
        net.summary((7, 9))
    assert net.training


def test_summary_takes_an_input_in_the_place_of_its_shape():
    """Shapes are those of the input itself, whose numbers the model may look up."""
    net = nn.Sequential(nn.Embedding(5, 3, rng=0), nn.Dense(3, 2, rng=1))
    tokens = np.full((4, 6), 4)
    expected = [row.output for row in net.summary((4, 6)).rows]
    assert expected[0] == (4, 6, 2)
    for given in (tokens, tg.Tensor(tokens)):
        assert [row.output for row in net.summary(given).rows] == expected


def test_summary_of_a_model_with_an_embedding_and_parameters_of_its_own():
    """What a model of layers holds itself says nothing of what its input is."""

    class Reader(nn.Module):
        def __init__(self):
            self.tokens = nn.Embedding(5, 3, rng=0)
            self.places = nn.Parameter(np.zeros((6, 3)))

        def forward(self, tokens):
            return self.tokens(tokens) + self.places

    assert Reader().summary((4, 6)).rows[0].output == (4, 6, 3)


def test_a_summary_of_a_part_knows_its_shapes():
    """A module inside of a model summarises as well as alone, and keeps its name."""
    net = Net()
    net.parameters()
    rows = net.block.summary((2, N_IN)).rows
    assert rows[0].output == rows[1].output == (2, 4)
    with pytest.raises(ShapeError, match=r"Dense 'block\.hidden'"):
        net(np.ones((2, 7)))


def test_zero_grad_of_a_model_forgets():
    """All gradients are gone."""
    layer = nn.Dense(2, 1, rng=0)
    layer(np.ones((1, 2))).sum().backward()
    layer.zero_grad()
    assert [p.grad for p in layer.parameters()] == [None, None]


# --- Dense ------------------------------------------------------------------------


def test_layers_of_one_generator_differ():
    """One generator gives every layer its own numbers; a seed starts anew."""
    rng = np.random.default_rng(0)
    first, second = nn.Dense(4, 4, rng=rng), nn.Dense(4, 4, rng=rng)
    assert not np.any(first.weight.data == second.weight.data)
    assert np.array_equal(
        nn.Dense(4, 4, rng=7).weight.data, nn.Dense(4, 4, rng=7).weight.data
    )
    assert not np.any(nn.Dense(4, 4).weight.data == nn.Dense(4, 4).weight.data)


def test_rows_and_columns_agree():
    """x @ weight.T + bias is the transpose of the tutorials' W @ X + b."""
    layer = shaken(nn.Dense(3, 2, rng=0))
    X = np.random.default_rng(1).normal(size=(3, 5))
    W, b = layer.weight.data, layer.bias.data[:, None]
    np.testing.assert_allclose(layer(X.T).data.T, W @ X + b, rtol=1e-14)


def test_dense_takes_one_example_and_stacks_of_them():
    """The last axis holds an example's numbers; the others stay."""
    layer = nn.Dense(3, 2, rng=0)
    assert layer(np.ones(3)).shape == (2,)
    assert layer(np.ones((4, 5, 3))).shape == (4, 5, 2)
    assert layer([[1, 2, 3]]).shape == (1, 2)


def test_an_initialiser_keeps_its_array():
    """The layer has a copy: training does not write into the user's numbers."""
    numbers = np.ones((1, 2))
    layer = nn.Dense(2, 1, init=lambda shape, rng: numbers)
    layer.weight.data[...] = 5
    assert numbers.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nn.Dense(128, 10, name="hidden2")(np.ones((32, 64))),
            ShapeError,
            r"^Dense 'hidden2' \(128 -> 10\): expected x\(n, 128\); got x\(32, 64\)\. Make this layer Dense\(64, 10\), or the one before it end in 128$",
        ),
        (
            lambda: nn.Dense(3, 1)(np.ones((3, 9))),
            ShapeError,
            r"Dense \(3 -> 1\): .*pass x\.T",
        ),
        (
            lambda: nn.Dense(64, 1)(np.ones((2, 8, 8))),
            ShapeError,
            r"got x\(2, 8, 8\).*nn\.Flatten",
        ),
        (
            lambda: nn.Dense(3, 1)(2.0),
            ShapeError,
            r"got x\(\)\. Give every example 3 numbers",
        ),
        (
            lambda: nn.Sequential(nn.Dense(2, 3), abs, nn.Dense(4, 1))(np.ones((5, 2))),
            ShapeError,
            r"Dense 'layers\.2' \(4 -> 1\): expected x\(n, 4\); got x\(5, 3\)",
        ),
        (
            lambda: nn.Dense(0, 1),
            ModelError,
            "Dense: n_in is an integer of at least 1; got 0",
        ),
        (lambda: nn.Dense(1, 2.5), ModelError, "n_out .*got 2.5"),
        (lambda: nn.Dense(1, True), ModelError, "n_out .*got True"),
        (
            lambda: nn.Dense(1, 1, activation="rleu"),
            ModelError,
            "got 'rleu'. Did you mean 'relu'",
        ),
        (
            lambda: nn.Dense(1, 1, activation=nn.ReLU),
            ModelError,
            r"got the class ReLU.*ReLU\(\)",
        ),
        (lambda: nn.Dense(1, 1, activation=3), ModelError, "activation: .*got int"),
        (
            lambda: nn.Dense(1, 1, init="he_norml"),
            ModelError,
            "init: .*Did you mean 'he_normal'",
        ),
        (
            lambda: nn.Dense(1, 1, init=0.1),
            ModelError,
            r"init: .*got float.*constant\(0\.1\)",
        ),
        (
            lambda: nn.Dense(2, 1, init=lambda s, r: np.ones(3)),
            ModelError,
            r"\(1, 2\); got \(3,\)",
        ),
        (lambda: nn.Dense(1, 1, rng="seed"), ModelError, "rng: .*got 'seed'"),
        (lambda: nn.Dense(1, 1, rng=-1), ModelError, "rng: .*got -1"),
        (lambda: nn.Dense(1, 1, dtype=int), DtypeError, "dtype=int64"),
        (lambda: nn.Dropout(1.0), ModelError, "Dropout: rate .*0 <= rate < 1; got 1.0"),
        (lambda: nn.Dropout(-0.1), ModelError, "got -0.1"),
        (
            lambda: nn.Dropout(0.5, np.random.RandomState(0)),
            ModelError,
            "got RandomState",
        ),
        (lambda: nn.Flatten()(1.0), ShapeError, "Flatten: expected x"),
        (
            lambda: nn.Sequential([nn.ReLU()]),
            ModelError,
            r"layer 0 .*got list\. Write Sequential\(\*layers\)",
        ),
        (lambda: nn.Sequential(nn.ReLU(), 3), ModelError, "layer 1 .*got int"),
        (lambda: nn.Sequential(nn.ReLU), ModelError, "layer 0 .*got the class ReLU"),
        (
            lambda: nn.Sequential(
                nn.Dense(2, 3, name="in"),
                tg.relu,
                nn.Dropout(0.5),
                nn.Dense(4, 1, name="out"),
            ),
            ModelError,
            r"layer 0: Dense\(2 -> 3, name='in'\) before layer 3: Dense\(4 -> 1, name='out'\)",
        ),
        (
            lambda: nn.Sequential(
                nn.Sequential(nn.Dense(2, 3)), tg.softmax, nn.Sequential(nn.Dense(4, 1))
            ),
            ModelError,
            r"layer 0\.0: Dense\(2 -> 3\) before layer 2\.0: Dense\(4 -> 1\)",
        ),
    ],
)
def test_a_refusal_says_what_was_expected_and_what_came(call, error, message):
    """Every misuse is one error that names layer, law, operands and remedy."""
    with pytest.raises(error, match=message):
        call()


# --- Sequential -------------------------------------------------------------------


def test_sequential_is_a_sequence():
    """It has a length, positions, slices that share, and can be walked."""
    first, last = nn.Dense(2, 3, rng=0), nn.Dense(3, 1, rng=1)
    net = nn.Sequential(first, tg.tanh, last)
    assert len(net) == 3
    assert (net[0], net[1], net[-1]) == (first, tg.tanh, last)
    assert list(net) == [first, tg.tanh, last]
    head = net[:2]
    assert isinstance(head, nn.Sequential)
    assert head[0] is first
    with pytest.raises(IndexError):
        net[3]
    x = np.ones((1, 2))
    assert np.array_equal(nn.Sequential()(x), x)
    assert np.array_equal(net(x).data, last(np.tanh(first(x))).data)


def test_an_unknown_function_between_layers_may_change_sizes():
    """Only what is known to keep the size is held to it."""
    net = nn.Sequential(
        nn.Dense(2, 3, rng=0), lambda x: x[:, :2], nn.Dense(2, 1, rng=1)
    )
    assert net(np.ones((4, 2))).shape == (4, 1)


# --- Dropout ----------------------------------------------------------------------


def test_dropout_keeps_the_expected_value():
    """What stays is scaled by 1 / (1 - rate); about a share of `rate` is dropped."""
    x = np.full(100_000, 3.0)
    out = nn.Dropout(0.4, rng=0)(x)
    assert set(np.unique(out)) == {0.0, 3.0 / 0.6}
    # Standard error of the share: sqrt(.24 / 1e5) = .0015; five of them.
    assert abs((out == 0).mean() - 0.4) < 0.008


def test_dropout_draws_a_mask_for_each_call_from_its_generator():
    """Calls differ, seeds repeat, and the gradient has the same mask."""
    first, second = nn.Dropout(0.5, rng=3), nn.Dropout(0.5, rng=3)
    x = tg.Parameter(np.ones(100))
    one, two = first(x), first(x)
    assert not np.array_equal(one.data, two.data)
    assert np.array_equal(one.data, second(x).data)
    one.sum().backward()
    assert np.array_equal(x.grad, one.data)
    mask = one.inputs[1]
    assert not mask.requires_grad  # a constant of the graph


def test_dropout_is_the_identity_in_eval_and_at_rate_0():
    """Nothing is recorded and nothing drawn."""
    x = tg.Parameter(np.ones(3))
    drop = nn.Dropout(0.5, rng=0).eval()
    before = drop.state()["rng"]
    assert drop(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert np.array_equal(drop.state()["rng"], before)


def test_dropout_of_integers_scales_too():
    """A mask in an integer dtype would lose the factor 1 / (1 - rate)."""
    assert set(nn.Dropout(0.2, rng=0)(np.ones(50, int)).tolist()) == {0.0, 1.25}


# --- initialisers -----------------------------------------------------------------

ROOT2 = math.sqrt(2)
SCALED = {
    # rule: (variance for n_in = 300, n_out = 100; bounded by sqrt(3 variance)?)
    "he_normal": (2 / 300, False),
    "he_uniform": (2 / 300, True),
    "lecun_normal": (1 / 300, False),
    "lecun_uniform": (1 / 300, True),
    "xavier_normal": (2 / 400, False),
    "xavier_uniform": (2 / 400, True),
}
ALIASES = {
    "glorot_normal": "xavier_normal",
    "glorot_uniform": "xavier_uniform",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
}


def law_of_spread(initialiser, variance, *, bounded):
    """Mean 0 and the published variance, within five standard errors of 30,000 draws."""
    draws = initialiser((100, 300), 0)
    assert draws.shape == (100, 300)
    assert draws.dtype == np.float64
    assert abs(draws.mean()) < 5 * math.sqrt(variance / 30_000)
    # Variance of a squared draw: 2 v**2 for a normal, 0.8 v**2 for a uniform.
    assert abs(draws.var() / variance - 1) < 5 * math.sqrt(
        (0.8 if bounded else 2) / 30_000
    )
    assert (np.abs(draws).max() <= math.sqrt(3 * variance)) == bounded
    assert np.array_equal(draws, initialiser((100, 300), np.random.default_rng(0)))


@pytest.mark.parametrize("name", SCALED)
def test_a_scaled_initialiser_has_its_published_variance(name):
    """Each rule that is scaled by the layer's sizes obeys the law of spread."""
    variance, bounded = SCALED[name]
    law_of_spread(getattr(init, name), variance, bounded=bounded)


def test_every_initialiser_is_covered():
    """No rule of the table is left out."""
    # What is orthogonal is tested with the layers that start so.
    assert {*SCALED, *ALIASES, "ones", "orthogonal", "zeros"} == set(init.INITIALISERS)
    for alias, name in ALIASES.items():
        assert getattr(init, alias) is getattr(init, name) is init.INITIALISERS[alias]


@pytest.mark.parametrize("name", SCALED)
def test_the_law_of_spread_has_teeth(name):
    """A rule with fan-in and fan-out exchanged, or 5 % too wide, is refuted."""
    variance, bounded = SCALED[name]
    rule = getattr(init, name)
    wide = lambda shape, rng: 1.05 * rule(shape, rng)
    with pytest.raises(AssertionError):
        law_of_spread(wide, variance, bounded=bounded)
    if "xavier" not in name:
        turned = lambda shape, rng: rule(shape[::-1], rng).T
        with pytest.raises(AssertionError):
            law_of_spread(turned, variance, bounded=bounded)


def test_plain_initialisers_have_their_numbers():
    """Zeros, ones, a constant, and normal and uniform of a given scale."""
    assert init.zeros((2,)).tolist() == [0, 0]
    assert init.ones((2,)).tolist() == [1, 1]
    assert init.constant(0.5)((1, 1), None).tolist() == [[0.5]]
    law_of_spread(init.normal(0.01), 1e-4, bounded=False)
    law_of_spread(init.uniform(0.3), 0.03, bounded=True)
    tutorial = np.random.RandomState(1).standard_normal((2, 3)) * 0.01
    assert np.array_equal(init.normal(0.01)((2, 3), np.random.RandomState(1)), tutorial)


def test_the_initialiser_suits_the_activation():
    """He before relu; Glorot with the activation's gain otherwise."""
    cases = {
        "relu": ("he_normal", {}),
        "softplus": ("he_normal", {"gain": ROOT2}),
        "tanh": ("xavier_uniform", {"gain": 5 / 3}),
        "sigmoid": ("xavier_uniform", {}),
        "selu": ("lecun_normal", {}),
        "gelu": ("he_normal", {"gain": init.gain("gelu")}),
        "leaky_relu": ("he_normal", {"gain": math.sqrt(2 / 1.0001)}),
        nn.PReLU(): ("he_normal", {"gain": math.sqrt(2 / 1.0625)}),
        nn.LeakyReLU(): ("he_normal", {"gain": math.sqrt(2 / 1.0001)}),
        tg.silu: ("he_normal", {"gain": init.gain("swish")}),
        "softsign": ("xavier_uniform", {}),
        None: ("xavier_uniform", {}),
    }
    for activation, (rule, gain) in cases.items():
        weight = nn.Dense(30, 10, activation=activation, rng=0).weight.data
        assert np.array_equal(weight, getattr(init, rule)((10, 30), 0, **gain)), (
            activation
        )
    by_module = nn.Dense(30, 10, activation=nn.ReLU(), rng=0).weight.data
    by_function = nn.Dense(30, 10, activation=tg.relu, rng=0).weight.data
    assert np.array_equal(by_module, by_function)
    assert np.array_equal(by_module, init.he_normal((10, 30), 0))


def test_every_activation_has_a_gain():
    """The tables of activations and gains list the same names."""
    assert set(init.GAINS) == set(nn.ACTIVATIONS)
    assert init.gain("relu") == ROOT2
    with pytest.raises(ModelError, match=r"gain: .*Did you mean 'sigmoid'"):
        init.gain("sigmod")


LIKE_RELU = ("celu", "elu", "gelu", "hardswish", "leaky_relu", "mish", "relu", "relu6",
             "selu", "silu", "swish")  # fmt: skip


@pytest.mark.parametrize("name", LIKE_RELU)
def test_gains_make_up_for_what_is_lost_of_a_normal_signal(name):
    """The gain is one over the root of E f(z)², by quadrature over a normal z."""
    z = np.linspace(-12, 12, 2_000_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    moment = np.trapezoid(nn.ACTIVATIONS[name](z) ** 2 * density, z)
    assert init.gain(name) == pytest.approx(moment**-0.5, rel=1e-9)


@pytest.mark.parametrize(
    "name", sorted({*LIKE_RELU} - {"gelu", "hardswish", "silu", "swish"})
)
def test_gains_keep_a_signal_alive(name):
    """Through 20 layers of a relu the size of a signal stays within a factor of 3.

    Left out are those that pass a larger share of a larger signal: no gain can do it.
    """
    rng = np.random.default_rng(0)
    layers = [nn.Dense(200, 200, activation=name, rng=rng) for _ in range(20)]
    x = rng.normal(size=(50, 200))
    with tg.no_grad():
        out = nn.Sequential(*layers)(x)
    assert 1 / 3 < np.sqrt((out.data**2).mean() / (x**2).mean()) < 3


def test_scaled_initialisers_need_two_axes():
    """A bias has no fan-in: the error names the rule and the shape."""
    with pytest.raises(
        ShapeError, match=r"he_normal: expected shape \(n_out, n_in\); got \(3,\)"
    ):
        init.he_normal((3,), 0)


# --- together ---------------------------------------------------------------------


def test_a_network_learns_and_resumes_bit_for_bit():
    """Dropout, momentum and all: saved half way and resumed equals uninterrupted."""
    X, Y = _circles()

    def build(seed):
        rng = np.random.default_rng(seed)
        net = nn.Sequential(
            nn.Dense(2, 16, activation="tanh", rng=rng),
            nn.Dropout(0.1, rng=rng),
            nn.Dense(16, 1, rng=rng),
        )
        return net, tg.optim.Adam(net, lr=0.05)

    def train(net, optimizer, steps):
        for _ in range(steps):
            loss = tg.losses.binary_cross_entropy_with_logits(net(X), Y)
            optimizer.minimize(loss)
        return loss.item()

    net, optimizer = build(0)
    first = train(net, optimizer, 1)
    train(net, optimizer, 99)
    model_state, optimizer_state = net.state(), optimizer.state()
    last = train(net, optimizer, 100)
    other, resumed = build(1)
    other.load_state(model_state)
    resumed.load_state(optimizer_state)
    assert train(other, resumed, 100) == last
    assert last < 0.3 * first
    assert ((net.eval()(X).data > 0) == (Y > 0.5)).mean() > 0.95


def _circles():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 80)
    radius = np.where(np.arange(80) < 40, 0.5, 1.5) + 0.1 * rng.normal(size=80)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points, (radius > 1).astype(float)[:, None]
