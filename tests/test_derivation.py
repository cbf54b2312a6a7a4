"""Derivations: the tutorials' own lines, and never a line that is wrong.

``reference.explicit`` is the witness of the tutorials; the functions that derivations
write are run, and held to ``backward()``.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from xml.dom import minidom

import numpy as np
import pytest
from reference import explicit
from test_notation import HOSTILE, MEMBERS, balanced
from test_tutorials import cats, example

import tinygrad_nn as tg
from tinygrad_nn import graph, losses, nn
from tinygrad_nn.derivation import arranging
from tinygrad_nn.derivation.naming import identifier
from tinygrad_nn.errors import OpError

ROOT = Path(tg.__file__).parent.parent

# --- tools ---------------------------------------------------------------------------


def function_of(derivation):
    """Run the source that a derivation gives; it imports NumPy alone.

    And SciPy, where a line says a special function.
    """
    tree = ast.parse(derivation.numpy)
    imported = [
        x for x in ast.walk(tree) if isinstance(x, (ast.Import, ast.ImportFrom))
    ]
    allowed = ["import numpy as np"]
    if "scipy.special." in derivation.numpy:
        allowed.append("import scipy")
    assert [ast.unparse(x) for x in imported] == allowed
    space = {}
    exec(compile(tree, "<derivation>", "exec"), space)
    return space["gradients"]


def run(derivation):
    """Call the function on the values from which the lines were derived."""
    function = function_of(derivation)
    taken = set()
    values = {identifier(x._name, taken): x._value for x in derivation._steps.inputs}
    wanted = inspect.signature(function).parameters
    return function(**{name: values[name] for name in wanted if name in values})


def agree(got, wanted, tolerance=1e-12):
    """Hold max|got - wanted| to the tolerance times max|wanted|."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    size = np.max(np.abs(wanted), initial=0.0)
    assert np.max(np.abs(got - wanted), initial=0.0) <= tolerance * max(size, 1e-300)


def hold(loss, derivation, parameters, tolerance=1e-12):
    """The function's gradients are those of ``backward()``; each line has its value."""
    loss.backward()
    found = run(derivation)
    assert len(found) == len(parameters)
    for got, p in zip(found.values(), parameters, strict=True):
        agree(got, p.grad, tolerance)


def lines(derivation, part="backward"):
    """Return the right-hand sides as text, by name."""
    text = derivation.text
    found = re.findall(r"^  (\S+) = (.*?)(?:  +\([\d, ]*\))?$", text, re.MULTILINE)
    names = {step.name for step in getattr(derivation, part)}
    return {name: right for name, right in found if name in names}


def leaves_of(loss):
    return [x for x in graph.nodes(loss) if x.op is None and x.requires_grad]


# --- the five tutorials --------------------------------------------------------------


def spread_out(parameters, rng, scale=0.5):
    """Move weights away from a start at which sums cancel to a millionth."""
    for p in parameters.values():
        p.data = p.data + scale * rng.standard_normal(p.shape)


def columns(sizes, hidden, last="A{L}", drop=False, decay=False):
    """Return the tutorial's lines for a network, as it would print them."""
    L = len(sizes) - 1
    made = {f"dZ{L}": f"{last.format(L=L)} - Y"}
    for l in range(L, 0, -1):
        below = "X" if l == 1 else f"A{l - 1}'" if drop else f"A{l - 1}"
        made[f"dW{l}"] = f"dZ{l} {below}ᵀ / m" + (f" + λ W{l} / m" if decay else "")
        made[f"db{l}"] = f"Σ dZ{l} / m"
        if l > 1:
            made[f"d{below}"] = f"W{l}ᵀ dZ{l}"
            if drop:
                made[f"dA{l - 1}"] = f"dA{l - 1}' ⊙ D{l - 1} / keep"
            made[f"dZ{l - 1}"] = hidden.format(l=l - 1)
    return made


def flower():
    module = example("planar_flower")
    rng = np.random.RandomState(1)
    X, Y = module.load_planar_dataset(rng)
    parameters = module.initialize_parameters(2, 4, 1, rng)
    spread_out(parameters, np.random.default_rng(0))
    A2 = module.forward_propagation(X, parameters)
    cost = module.compute_cost(A2, Y)
    wanted = columns([2, 4, 1], hidden="dA{l} ⊙ (1 - A{l}²)")
    return cost, tg.derive(cost), parameters, wanted, (X, Y, ["tanh"], {})


def one_hidden_layer():
    module = example("one_hidden_layer")
    rng = np.random.RandomState(5)
    X, Y = module.load_dataset(400, rng)
    parameters = module.initialize_parameters(2, 4, 1, rng)
    spread_out(parameters, np.random.default_rng(0))
    A2, _ = module.forward_propagation(X, parameters)
    cost = module.compute_cost(A2, Y)
    wanted = columns([2, 4, 1], hidden="dA{l} ⊙ (1 - A{l}²)")
    return cost, tg.derive(cost), parameters, wanted, (X, Y, ["tanh"], {})


def sigmoid_network():
    module = example("sigmoid_network")
    rng = np.random.RandomState(2)
    X, Y = module.load_data(500, rng)
    parameters = module.init_params(module.LAYER_DIMS, rng)
    A = module.forward_prop(X, parameters)
    cost = module.cost_function(A, Y)
    wanted = columns([2, 5, 3, 1], hidden="dA{l} ⊙ A{l} ⊙ (1 - A{l})")
    return cost, tg.derive(cost), parameters, wanted, (X, Y, ["sigmoid"] * 2, {})


def logistic_regression():
    module = example("image_classifier")
    X, Y = cats()
    own = module.initialize_logistic(len(X))
    own["w"].data = np.random.default_rng(0).standard_normal(own["w"].shape) / 100
    A = module.logistic_regression(X, own)
    cost = module.compute_cost(A, Y)
    wanted = {"dZ": "A - Y", "dw": "X dZᵀ / m", "db": "Σ dZ / m"}
    return cost, tg.derive(cost), own, wanted, None


def cat_network(dims, model):
    module = example("image_classifier")
    X, Y = cats()
    dims = getattr(module, dims)
    parameters = module.initialize_layers(dims, np.random.RandomState(1))
    A = getattr(module, model)(X, parameters)
    cost = module.compute_cost(A, Y)
    wanted = columns(dims, hidden="dA{l} ⊙ (Z{l} > 0)")
    hidden = ["relu"] * (len(dims) - 2)
    return cost, tg.derive(cost), parameters, wanted, (X, Y, hidden, {})


def weather(l2=0.0, keep=1.0):
    module = example("weather_network")
    X, Y = module.load_weather(300, np.random.RandomState(1))
    X, _ = module.standardize(X, X)
    rng = np.random.RandomState(3)
    parameters = module.initialize_parameters(module.ARCHITECTURE, rng)
    masks = np.random.RandomState(4)
    AL = module.L_model_forward(X, parameters, keep=keep, rng=masks)
    cost = module.compute_cost(AL, Y, parameters, l2)
    names = {"λ": l2, "keep": keep}
    again = np.random.RandomState(4)
    drawn = [(again.rand(n, 300) < keep) * 1.0 for n in (5, 4, 3)]
    options = {"masks": drawn, "keep": keep, "l2": l2}
    wanted = columns(
        [4, 5, 4, 3, 1], last="AL", hidden="dA{l} ⊙ (Z{l} > 0)",
        drop=keep < 1, decay=bool(l2),
    )  # fmt: skip
    witness = (X, Y, ["relu"] * 3, options)
    return cost, tg.derive(cost, names=names), parameters, wanted, witness


TUTORIALS = {
    "flower": flower,
    "one hidden layer": one_hidden_layer,
    "sigmoid network": sigmoid_network,
    "logistic regression": logistic_regression,
    "12288-7-1": lambda: cat_network("HIDDEN_DIMS", "one_hidden_layer"),
    "12288-5-5-5-3-1": lambda: cat_network("DEEP_DIMS", "deep_network"),
    "weather": weather,
    "weather, L2": lambda: weather(l2=0.7),
    "weather, dropout": lambda: weather(keep=0.9),
}


@pytest.mark.parametrize(
    ("cost", "written", "slope"),
    [
        (lambda r, _: 0.5 * np.sum(r**2), "0.5 Σ r²", "r"),
        (lambda r, _: np.sum(0.5 * r**2), "Σ 0.5 r²", "r"),
        (lambda r, _: np.sum(r**2) / 2, "Σ r² / 2", "r"),
        (lambda r, _: np.sum(r**2) / 80, "Σ r² / m", "2 r"),
        (lambda r, _: 1 / 160 * np.sum(r**2), "(1 / (2 m)) Σ r²", "r"),
        (
            lambda r, w: 0.5 * np.mean(r**2) + 0.3 * np.sum(w**2),
            "0.5 mean(r²) + 0.3 Σ w²",
            "r",
        ),
    ],
)
def test_a_half_is_no_number_of_examples(cost, written, slope):
    """With two features 0.5 is not 1 / m, nor with 80 examples 0.3 24 / m."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 2)), rng.normal(size=80)
    w = tg.Parameter([0.1, 0.2], name="w")
    r = X @ w - y
    derivation = tg.derive(cost(r, w))
    assert lines(derivation)["dr"] == slope
    assert written in lines(derivation, "forward").values()


@pytest.mark.parametrize("name", TUTORIALS)
def test_the_lines_are_the_tutorials_own(name):
    """dZ2 = A2 - Y, dW2 = dZ2 A1ᵀ / m, ...: every line, in every variant, and no other."""
    _, derivation, _, wanted, _ = TUTORIALS[name]()
    assert lines(derivation) == wanted


@pytest.mark.parametrize("name", TUTORIALS)
def test_the_tutorials_numpy_equals_backward(name):
    """The function that a derivation writes gives backward()'s gradients to 1e-12."""
    loss, derivation, parameters, _, witness = TUTORIALS[name]()
    found = run(derivation)
    loss.backward()
    assert set(found) == {f"d{name}" for name in parameters}
    for key, p in parameters.items():
        agree(found[f"d{key}"], p.grad)
    if witness is None:
        return
    X, Y, hidden, options = witness
    plain = {key: p.data for key, p in parameters.items()}
    drop = {k: v for k, v in options.items() if k != "l2"}
    cache = explicit.forward(plain, X, hidden, **drop)
    expected = explicit.backward(plain, cache, Y, hidden, **options)
    for key, value in expected.items():
        agree(found[f"d{key}"], value)


PAGE = Path(__file__).parent.parent / "docs" / "derivations.md"
SOURCES = {
    "flower": "planar_flower.py",
    "one hidden layer": "one_hidden_layer.py",
    "sigmoid network": "sigmoid_network.py",
    "logistic regression": "image_classifier.py",
    "12288-7-1": "image_classifier.py",
    "12288-5-5-5-3-1": "image_classifier.py",
    "weather": "weather_network.py",
    "weather, L2": "weather_network.py",
    "weather, dropout": "weather_network.py",
}


def page():
    """Return docs/derivations.md: what derivations of the tutorials say, whole."""
    made = [
        "# The five tutorials, derived",
        (
            "What [`tg.derive`](derive.md) writes for the networks in "
            "[examples](../examples): the lines are the tutorials' own.\nThe tests hold "
            "them to these, and the functions of NumPy to `backward()`, to 1e-12."
        ),
    ]
    for name, make in TUTORIALS.items():
        derivation = make()[1]
        file = SOURCES[name]
        made += [
            f"## {name[0].upper()}{name[1:]}",
            f"[{file}](../examples/{file})",
            f"```text\n{derivation}\n```",
        ]
    return "\n\n".join(made) + "\n"


def test_the_page_of_the_tutorials_is_theirs():
    """docs/derivations.md is what derivations say now."""
    assert PAGE.read_text("utf-8") == page(), "run: python tests/test_derivation.py"


def test_a_wrong_line_is_noticed():
    """The laws above can fail: a slip in one line of the function changes a gradient."""
    loss, derivation, _, _, _ = flower()
    loss.backward()
    for right, wrong in [
        ("1.0 - A1 ** 2", "1.0 - A1"),
        ("A2 - Y", "Y - A2"),
        ("dZ2 @ A1.T / m", "dZ2 @ A1.T"),
        ("W2.T @ dZ2", "2 * W2.T @ dZ2"),
    ]:
        assert right in derivation.numpy

        class Slipped:
            numpy = derivation.numpy.replace(right, wrong)
            _steps = derivation._steps

        found = run(Slipped)
        apart = [
            np.max(np.abs(found[f"d{p.name}"] - p.grad)) / np.max(np.abs(p.grad))
            for p in leaves_of(loss)
        ]
        assert max(apart) > 1e-3, right


def test_forward_lines_are_what_was_written():
    """Names, formulas and shapes of the forward lines, and the user's lines."""
    _, derivation, _, _, _ = flower()
    assert lines(derivation, "forward") == {
        "Z1": "W1 X + b1",
        "A1": "tanh(Z1)",
        "Z2": "W2 A1 + b2",
        "A2": "σ(Z2)",
        "logprobs": "Y ⊙ log(A2) + (1 - Y) ⊙ log(1 - A2)",
        "cost": "-mean(logprobs)",
    }
    assert [step.shape for step in derivation.forward][:3] == [(4, 400)] * 2 + [
        (1, 400)
    ]
    where = derivation.forward[0].line
    assert where.file.endswith("planar_flower.py")
    assert where.function == "forward_propagation"
    assert "m = 400" in derivation.text


# --- other networks ------------------------------------------------------------------


def network_in_rows(labels="one-hot"):
    rng = np.random.default_rng(0)
    X, t = rng.standard_normal((30, 4)), rng.integers(3, size=30)
    Y = np.eye(3)[t] if labels == "one-hot" else rng.random((30, 3))
    W1, b1, W2, b2 = (
        tg.Parameter(rng.standard_normal(s)) for s in [(4, 5), (5,), (5, 3), (3,)]
    )
    Z1 = X @ W1 + b1
    A1 = np.tanh(Z1)
    Z2 = A1 @ W2 + b2
    A2 = tg.softmax(Z2)
    cost = -np.mean(np.sum(Y * np.log(A2), axis=1))
    return cost, tg.derive(cost), [W2, b2, W1, b1]


def test_softmax_in_rows():
    """Cross-entropy of a softmax gives dZ2 = A2 - Y, where the labels sum to 1."""
    cost, derivation, parameters = network_in_rows()
    hold(cost, derivation, parameters[2:] + parameters[:2])
    assert lines(derivation) == {
        "dZ2": "A2 - Y",
        "dW2": "A1ᵀ dZ2 / m",
        "db2": "Σ dZ2 / m",
        "dA1": "dZ2 W2ᵀ",
        "dZ1": "dA1 ⊙ (1 - A1²)",
        "dW1": "Xᵀ dZ1 / m",
        "db1": "Σ dZ1 / m",
    }
    assert "Σ Y = 1" in derivation.text


def test_labels_that_are_no_shares_keep_their_sum():
    """Where rows of Y do not sum to 1 the line says so: A2 ⊙ Σ Y - Y."""
    cost, derivation, parameters = network_in_rows("any")
    hold(cost, derivation, parameters[2:] + parameters[:2])
    assert lines(derivation)["dZ2"] == "A2 ⊙ Σ Y - Y"


def test_batch_norm():
    """Mean, variance and both their gradients, each a line of the user's names."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((30, 4)), requires_grad=True)
    g = rng.standard_normal((30, 4))
    gamma, beta = tg.Parameter(rng.random(4) + 0.5), tg.Parameter(np.zeros(4))
    mu = x.mean(axis=0)
    xc = x - mu
    var = (xc**2).mean(axis=0)
    sigma = tg.sqrt(var + 1e-5)
    xhat = xc / sigma
    out = gamma * xhat + beta
    loss = (out * g).sum()
    derivation = tg.derive(loss)
    assert lines(derivation) == {
        "dout": "g",
        "dgamma": "Σ (dout ⊙ xhat)",
        "dbeta": "Σ dout",
        "dxhat": "dout ⊙ gamma",
        "dsigma": "-Σ (dxhat ⊙ xc / sigma²)",
        "dvar": "dsigma / (2 sigma)",
        "dxc": "2 dvar ⊙ xc / m + dxhat / sigma",
        "dmu": "-Σ dxc",
        "dx": "dmu / m + dxc",
    }
    assert "sigma ≠ 0" in derivation.text
    hold(loss, derivation, [x, gamma, beta])


def test_lstm_cell():
    """Gates keep the user's names; what they are activations of is Z_f, Z_i, ..."""
    rng = np.random.default_rng(0)
    x, h, c, G = (rng.standard_normal((3, 8)) for _ in range(4))
    Wf, Wi, Wo, Wc = (tg.Parameter(rng.standard_normal((3, 6))) for _ in range(4))
    bf, bi, bo, bc = (tg.Parameter(rng.standard_normal((3, 1))) for _ in range(4))
    v = tg.concatenate([tg.Tensor(x), tg.Tensor(h)])
    f = tg.sigmoid(Wf @ v + bf)
    i = tg.sigmoid(Wi @ v + bi)
    o = tg.sigmoid(Wo @ v + bo)
    cc = np.tanh(Wc @ v + bc)
    c_next = f * c + i * cc
    h_next = o * np.tanh(c_next)
    loss = (h_next * G).sum()
    derivation = tg.derive(loss)
    found = lines(derivation)
    assert found["dc_next"] == "dh_next ⊙ o ⊙ (1 - tanh(c_next)²)"
    assert found["dZ_f"] == "df ⊙ f ⊙ (1 - f)"
    assert found["dWf"] == "dZ_f vᵀ"
    gradients = run(derivation)
    loss.backward()
    named = {
        "Wf": Wf,
        "Wi": Wi,
        "Wo": Wo,
        "Wc": Wc,
        "bf": bf,
        "bi": bi,
        "bo": bo,
        "bc": bc,
    }
    for name, p in named.items():
        agree(gradients[f"d{name}"], p.grad)


def test_attention():
    """softmax(Q Kᵀ / 2) V: five lines, and the gradient of a softmax in words."""
    rng = np.random.default_rng(0)
    Q, K, V = (tg.Parameter(rng.standard_normal((5, 4))) for _ in range(3))
    S = Q @ K.T / 2.0
    P = tg.softmax(S)
    O = P @ V
    L = (O * O).mean()
    derivation = tg.derive(L)
    assert lines(derivation) == {
        "dO": "2 O / N",
        "dV": "Pᵀ dO",
        "dP": "dO Vᵀ",
        "dS": "P ⊙ (dP - Σ (dP ⊙ P))",
        "dQ": "dS K / 2",
        "dK": "dSᵀ Q / 2",
    }
    hold(L, derivation, [Q, K, V])


def test_layers_and_losses():
    """A network of layers has a textbook's letters, and says whose they are."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Dense(4, 5, rng=rng), nn.ReLU(), nn.Dense(5, 3, rng=rng))
    X, y = rng.standard_normal((30, 4)), rng.integers(3, size=30)
    loss = losses.cross_entropy(net(X), y)
    derivation = tg.derive(loss)
    found = lines(derivation)
    assert found["dW1"] == "dZ1ᵀ X / m"
    assert found["dZ1"] == "dA1 ⊙ (Z1 > 0)"
    assert found["dZ2"] == "softmax(Z2) - onehot"
    assert "W1: " in derivation.text
    gradients = run(derivation)
    loss.backward()
    named = dict(zip(("W1", "b1", "W2", "b2"), net.parameters(), strict=True))
    for name, p in named.items():
        agree(gradients[f"d{name}"], p.grad)


def test_mean_squared_error():
    """The 2 of the square and the 1/m of the mean are where a textbook has them."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 1))
    w, b = tg.Parameter(rng.standard_normal((4, 1))), tg.Parameter(0.3)
    prediction = X @ w + b
    loss = ((prediction - y) ** 2).mean()
    assert lines(tg.derive(loss)) == {
        "dprediction": "2 (prediction - y)",
        "dw": "Xᵀ dprediction / m",
        "db": "Σ dprediction / m",
    }
    true = tg.derive(loss, textbook=False)
    assert lines(true) == {
        "dprediction": "2 (prediction - y) / m",
        "dw": "Xᵀ dprediction",
        "db": "Σ dprediction",
    }
    assert "times the gradient" not in true.text
    hold(loss, true, [w, b])


def test_single_precision():
    """In float32 numbers are spelled as well, and the function stays in float32."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((5, 3)).astype(np.float32), requires_grad=True)
    h = np.tanh(x)
    L = (h * h).mean()
    derivation = tg.derive(L)
    assert lines(derivation) == {"dh": "2 h / N", "dx": "dh ⊙ (1 - h²)"}
    found = run(derivation)["dx"]
    L.backward()
    assert found.dtype == np.float32
    agree(found, x.grad, 1e-6)


def test_a_loop_on_one_line():
    """What one instruction computes in turn is numbered; a residual's ways are added."""
    x = tg.Tensor(np.ones((2, 2)), requires_grad=True)
    h = x
    for _ in range(3): h = h + np.tanh(h)  # fmt: skip  # noqa: E701 (one line)
    L = h.sum()
    derivation = tg.derive(L)
    found = lines(derivation)
    assert list(found) == ["dh2", "dh1", "dx"]
    assert found["dh1"] == "dh2 + dh2 ⊙ (1 - tanh(h1)²)"
    hold(L, derivation, [x])


def test_layers_that_drop():
    """A mask that a layer drew is given to the function: D1, and no new draw."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Dense(3, 4, rng=rng), nn.Dropout(0.5, rng=rng), nn.Dense(4, 1, rng=rng)
    )
    X, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 1))
    loss = losses.mse(net(X), y)
    derivation = tg.derive(loss)
    assert lines(derivation)["dZ1"] == "2 dZ2 W2 ⊙ D1"
    gradients = run(derivation)
    loss.backward()
    named = dict(zip(("W1", "b1", "W2", "b2"), net.parameters(), strict=True))
    for name, p in named.items():
        agree(gradients[f"d{name}"], p.grad)


def test_letters_that_python_reads_alike():
    """Names that Python takes for one, the ligature and its letters, stay two."""
    a, b = tg.Parameter([1.0, 2.0], name="\ufb01"), tg.Parameter([3.0, 5.0], name="fi")
    loss = (a * b * b).sum()
    hold(loss, tg.derive(loss), [a, b])


def test_a_name_that_is_taken():
    """Where the user has a dW, the gradient of W is dW', and not confused with it."""
    W = tg.Parameter([[1.0, 2.0], [3.0, 4.0]])
    dW = W * 2
    loss = (dW @ dW).sum()
    derivation = tg.derive(loss)
    assert [step.name for step in derivation.backward] == ["ddW", "dW'"]
    hold(loss, derivation, [W])


def test_zero_where_there_is_no_path():
    """log(x) where x > 0: the gradient is 0 at x = 0, and not nan."""
    x = tg.Tensor([0.0, 1.0, 2.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        y = np.where(x > 0, np.log(x), 0.0)
    loss = y.sum()
    derivation = tg.derive(loss)
    with np.errstate(all="ignore"):
        found = run(derivation)["dx"]
    assert np.array_equal(found, [0.0, 1.0, 0.5])


def test_a_scalar_circuit():
    """The circuit of the first lesson: each line one product."""
    a, b = tg.Tensor(2.0, requires_grad=True), tg.Tensor(-3.0, requires_grad=True)
    c, f = tg.Tensor(10.0, requires_grad=True), tg.Tensor(-2.0, requires_grad=True)
    e = a * b
    d = e + c
    L = d * f
    derivation = tg.derive(L)
    assert lines(derivation) == {
        "dd": "f", "df": "d", "de": "dd", "dc": "dd", "da": "de b", "db": "de a",
    }  # fmt: skip
    hold(L, derivation, [a, b, c, f])


# --- every op ------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
@pytest.mark.parametrize("textbook", [True, False])
def test_no_ops_line_is_wrong(op, sample, textbook):
    """For every op and every sample the function gives backward()'s gradients."""
    if not op.differentiable:
        pytest.skip("constant")
    rng = np.random.default_rng(0)
    arrays = sample.draw(rng)
    x = [tg.Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    out = op.call(*x, **sample.settings)
    weights = rng.standard_normal(out.shape)
    if out.size == 0:
        pytest.skip("nothing to reduce")
    loss = (out * weights + out**2).mean()
    derivation = tg.derive(loss, textbook=textbook)
    with np.errstate(all="ignore"):
        found = run(derivation)
    loss.backward()
    wanted = [a for a in x if a.requires_grad]
    assert len(found) == len(wanted)
    assert balanced(derivation.latex)
    for leaf in wanted:
        name = derivation._steps.results[graph_name(derivation, leaf)]
        agree(found[name], leaf.grad, 1e-9)


def graph_name(derivation, leaf):
    (found,) = [
        x._name
        for x in derivation._steps.inputs
        if x._value is leaf._value and x._name in derivation._steps.results
    ]
    return found


@pytest.mark.parametrize("textbook", [True, False])
def test_every_line_has_its_value(textbook):
    """Each gradient's line has the engine's gradient, times m where the page says so."""
    cost, _, _ = network_in_rows()
    derivation = tg.derive(cost, textbook=textbook)
    values = {step.name: step.expression.numpy() for step in derivation.backward}
    nodes = [x for x in graph.nodes(cost) if x.dtype.kind == "f"]
    inner = {name: value for name, value in values.items() if name[1] in "AZ"}
    assert len(inner) == 3
    for name, value in inner.items():
        shape = value.shape
        matches = 0
        for node in nodes:
            if node.shape != shape or node.op is None:
                continue
            (g,) = tg.gradients(cost, [node], unused="zero")
            scale = 30.0 if textbook else 1.0
            matches += np.allclose(value, scale * g.numpy(), rtol=1e-9, atol=1e-12)
        assert matches >= 1, name


@pytest.mark.parametrize("rule", ["multiply", "sum", "transpose"])
def test_a_line_that_came_out_wrong_is_not_shown(rule, monkeypatch):
    """With a mistake in the algebra of lines they are less tidy, and stay right."""
    right = arranging._RULES[rule]

    def wrong(arranger, node, given):
        form = right(arranger, node, given)
        return None if form is None else form._replace(number=form.number * 1.5)

    tidy = flower()[1].text
    monkeypatch.setitem(arranging._RULES, rule, wrong)
    loss, derivation, parameters, _, _ = flower()
    found = run(derivation)
    loss.backward()
    for name, p in parameters.items():
        agree(found[f"d{name}"], p.grad)
    assert derivation.text != tidy


# --- the chain rule ------------------------------------------------------------------


def test_the_chain_rule_is_shown():
    """dcost/dZ1 as a product of slopes, then the product, then what it comes to."""
    cost, _, _, _, _ = flower()
    text = tg.derive(cost, chain=True).text
    chain = "dcost/dlogprobs · dlogprobs/dA2 · dA2/dZ2"
    assert f"dcost/dZ2 = {chain}" in text
    assert f"dcost/dZ1 = {chain} · dZ2/dA1 · dA1/dZ1" in text
    assert (
        "dZ2 = ((1 - Y) / (1 - A2) - Y / A2) ⊙ A2 ⊙ (1 - A2)\n  dZ2 = A2 - Y " in text
    )


def test_the_unsimplified_product_has_the_lines_value():
    """Before and after simplifying, a line has one value."""
    cost, _, _, _, _ = flower()
    derivation = tg.derive(cost, chain=True)
    compared = 0
    for step in derivation.backward:
        if step.unsimplified is not None:
            agree(step.unsimplified.numpy(), step.expression.numpy(), 1e-9)
            compared += 1
    assert compared


# --- the page ------------------------------------------------------------------------


def test_latex_markdown_and_mathml():
    """LaTeX is balanced, Markdown holds it, MathML is XML: for each tutorial."""
    for make in TUTORIALS.values():
        _, derivation, _, _, _ = make()
        assert balanced(derivation.latex)
        assert derivation.latex.count(r"\begin{aligned}") == 2
        assert derivation.markdown.count("$$") == 4
        minidom.parseString(f"<page>{derivation.mathml}</page>")
        bundle = derivation._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "text/latex", "text/html"}
    _, derivation, _, _, _ = flower()
    assert r"dZ_{2} &= A_{2} - Y" in derivation.latex
    assert r"dW_{2} &= \frac{dZ_{2}\, A_{1}^{\top}}{m}" in derivation.latex


def test_without_the_extra_a_notebook_shows_latex(monkeypatch):
    """Without latex2mathml there is text and LaTeX, and `.mathml` names the extra."""
    _, derivation, _, _, _ = flower()
    monkeypatch.setitem(sys.modules, "latex2mathml", None)
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    assert set(derivation._repr_mimebundle_()) == {"text/plain", "text/latex"}
    with pytest.raises(tg.errors.MissingExtraError, match=r"tinygrad_nn\[draw\]"):
        derivation.mathml  # noqa: B018


def test_the_same_program_gives_the_same_text():
    """Derived twice, every form of the text is the same, byte for byte."""
    made = [flower()[1] for _ in range(2)]
    for form in ("text", "latex", "markdown", "numpy", "mathml"):
        assert getattr(made[0], form) == getattr(made[1], form)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_break_nothing(name):
    """Whatever names are: the source runs, the MathML is sound, nothing is injected."""
    W = tg.Parameter([[0.5, 1.0]], name=name or None)
    X = tg.Tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]], name=name + "2")
    Z = W @ X
    loss = (Z * Z).mean()
    derivation = tg.derive(loss, names={name * 2 or "q": Z})
    hold(loss, derivation, [W])
    page = derivation.mathml
    assert "<script" not in page
    assert "<script" not in derivation.markdown
    assert page.count("<b>") == 2  # the two headings
    minidom.parseString(f"<page>{page}</page>")


def test_a_function_is_derived():
    """A function of arrays is called on Tensors, and its parameters name them."""

    def cost(W, b, x):
        z = W @ x + b
        return (z * z).sum()

    arrays = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]), np.ones(2), np.ones(3)
    derivation = tg.derive(cost, *arrays)
    assert lines(derivation)["dz"] == "2 z"
    z = arrays[0] @ arrays[2] + arrays[1]
    found = run(derivation)
    agree(found["dW"], np.outer(2 * z, arrays[2]))
    agree(found["db"], 2 * z)
    agree(found["dx"], 2 * arrays[0].T @ z)
    assert "def gradients(W, x, b)" in derivation.numpy


def test_what_is_asked_for():
    """`wrt` limits the gradients; lines that they do not need are left out."""
    _, _, parameters, _, _ = flower()
    cost, _, parameters, _, _ = flower()
    derivation = tg.derive(cost, wrt=parameters["W2"])
    assert [step.name for step in derivation.backward] == ["dZ2", "dW2"]
    cost.backward()
    agree(run(derivation)["dW2"], parameters["W2"].grad)
    assert parameters["W2"].grad is not None
    assert repr(derivation) == "Derivation(6 forward, 2 backward)"


def test_a_value_on_the_way_may_be_asked_for():
    """`wrt` takes a value that was computed: its line is then the true gradient."""
    x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    h = np.tanh(x)
    loss = (h * h).mean()
    with tg.no_grad():
        derivation = tg.derive(loss, wrt=[h])
    (expected,) = tg.gradients(loss, [h])
    agree(run(derivation)["dh"], expected.numpy())
    assert [step.name for step in derivation.backward] == ["dh"]


def test_deriving_changes_nothing():
    """No gradient is left behind, and no value is touched."""
    cost, _, parameters, _, _ = flower()
    before = {k: p.data.copy() for k, p in parameters.items()}
    tg.derive(cost, chain=True)
    for key, p in parameters.items():
        assert p.grad is None
        assert np.array_equal(p.data, before[key])


def test_long_chains_are_cut_into_lines():
    """10,000 ops in one statement become lines that can be read, without recursion."""
    x = tg.Tensor([0.1, 0.2], requires_grad=True)
    made = [x]
    while len(made) < 5_000:
        made.append(np.tanh(made[-1]) + 1.0)
    loss = made[-1].sum()
    made.clear()
    derivation = tg.derive(loss)
    assert len(derivation.forward) > 50
    hold(loss, derivation, [x])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tg.derive(3.0), "expected a Tensor"),
        (
            lambda: tg.derive(tg.Parameter([1.0, 2.0]) * 2),
            r"one element; got shape \(2,\)",
        ),
        (lambda: tg.derive(tg.Tensor(2.0) * 2), "requires_grad"),
        (lambda: tg.derive(tg.Parameter(2.0) * 2, wrt=[3.0]), "wrt is Tensors"),
        (lambda: tg.derive(tg.Parameter(2.0)), "got a leaf"),
    ],
)
def test_what_cannot_be_derived_is_refused(call, message):
    """Wrong input is refused with a sentence."""
    with pytest.raises(OpError, match=message):
        call()


def test_the_page_shows_what_is_written():
    """The formulas in docs/derive.md are those of the code above them."""
    page = (ROOT / "docs" / "derive.md").read_text("utf-8")
    first = re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    names = {}
    exec(first, names)
    assert tg.derive(names["cost"], names=names_of(names)).markdown.rstrip() in page


def names_of(names):
    return {
        name: x for name, x in names.items() if isinstance(x, (tg.Tensor, np.ndarray))
    }


# --- the command line ----------------------------------------------------------------

FILE = """
import numpy as np
rng = np.random.default_rng(0)
X = rng.standard_normal((2, 6))
Y = (X[:1] * X[1:] > 0) * 1.0
W, b = rng.standard_normal((1, 2)), np.zeros((1, 1))

def cost(X, Y, W, b):
    Z = W @ X + b
    A = 1 / (1 + np.exp(-Z))
    return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
"""


def command(*words):
    from tinygrad_nn.cli import main

    return main(["derive", *map(str, words)])


def test_the_command_derives_a_function_of_a_file(tmp_path, capsys):
    """``derive file.py:function`` prints the lines; --out writes each form whole."""
    file = tmp_path / "backprop.py"
    file.write_text(FILE, encoding="utf-8")
    assert command(f"{file}:cost") == 0
    printed = capsys.readouterr().out
    for line in ("dZ = A - Y", "dW = dZ Xᵀ / m", "db = Σ dZ / m"):
        assert line in printed
    assert "dX" not in printed
    for suffix, sign in [
        ("txt", "dZ = A - Y"), ("tex", r"\begin{aligned}"), ("md", "**Backward**"),
        ("html", "<math"), ("py", "def gradients("),
    ]:  # fmt: skip
        out = tmp_path / f"lines.{suffix}"
        assert command(f"{file}:cost", "--out", out) == 0
        assert sign in out.read_text(encoding="utf-8")
    space = {}
    exec((tmp_path / "lines.py").read_text(encoding="utf-8"), space)
    assert list(inspect.signature(space["gradients"]).parameters) == [
        "X",
        "Y",
        "W",
        "b",
    ]
    assert command(f"{file}:cost", "--wrt", "X", "--chain", "--true") == 0
    asked = capsys.readouterr().out
    assert "dX = Wᵀ dZ" in asked
    assert "dL/dZ = dL/dA · dA/dZ" in asked
    assert "dZ = (A - Y) / m" in asked


def test_the_command_derives_a_run(tmp_path, capsys):
    """``derive`` on a run's directory writes its network's lines."""
    from tinygrad_nn.cli import main

    run = tmp_path / "run"
    assert main(["train", "flower", "--quiet", "--epochs", "1", "--out", str(run)]) == 0
    assert command(run, "--data", "flower") == 0
    printed = capsys.readouterr().out
    assert "W1: layers.0.weight" in printed
    assert "(Z3) - Y" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--wrt", "W9"), "got 'W9'"),
        (("--out", "x.xyz"), "ends in .txt"),
        (("--letter", "keep"), "keep=0.8"),
    ],
)
def test_the_command_refuses_in_one_line(words, message, tmp_path, capsys):
    """What is wrong is one line on standard error, and the exit code is 2."""
    file = tmp_path / "backprop.py"
    file.write_text(FILE, encoding="utf-8")
    try:
        code = command(f"{file}:cost", *words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# --- programs at random --------------------------------------------------------------


def random_loss(seed):
    """Return the loss of a random program, some of whose values have names."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 5, 2)
    shapes = {"P": (n, m), "Q": (m, n), "b": (n, 1), "s": ()}
    P, Q, b, s = (
        tg.Tensor(rng.uniform(0.5, 1.5, shape), requires_grad=True, name=name)
        for name, shape in shapes.items()
    )
    data = rng.uniform(0.5, 1.5, (n, m))
    ways = [
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: x * y,
        lambda x, y: x / (1 + y * y),
        lambda x, y: np.tanh(x),
        lambda x, y: tg.sigmoid(x),
        lambda x, y: tg.relu(x - 1),
        lambda x, y: x + b,
        lambda x, y: x * s,
        lambda x, y: (P @ Q) @ x,
        lambda x, y: x - x.mean(axis=1, keepdims=True),
        lambda x, y: tg.softmax(x, axis=0),
        lambda x, y: np.where(x > 1, x, 2 * y),
        lambda x, y: x * data,
        lambda x, y: np.exp(-x),
        lambda x, y: np.log(1 + x * x),
        np.maximum,
        lambda x, y: x.T.reshape(x.shape),
        lambda x, y: np.sqrt(x * x + 1),
        lambda x, y: x / np.sum(x * x + 1, axis=0),
        lambda x, y: tg.concatenate([x[:1], y[1:]]),
        lambda x, y: np.log(tg.sigmoid(x)),
        lambda x, y: -x * 3,
        lambda x, y: x**3 / 7,
    ]
    pool = [P, P * b]
    for i in range(rng.integers(2, 9)):
        x, y = (pool[rng.integers(len(pool))] for _ in range(2))
        made = ways[rng.integers(len(ways))](x, y)
        if rng.random() < 0.5:
            made.name = f"v{i}"
        pool.append(made)
    out = pool[-1]
    losses_ = [
        out.mean,
        lambda: (out * out).sum() / m,
        lambda: np.sum(out * data) / n,
        lambda: ((out - data) ** 2).mean() + 0.35 * np.sum(Q**2),
    ]
    return losses_[rng.integers(4)](), [P, Q, b, s]


@pytest.mark.parametrize("seed", range(80))
def test_random_programs_are_derived_right(seed):
    """Whatever is computed, named or not: the function gives backward()'s gradients."""
    loss, leaves = random_loss(seed)
    derivation = tg.derive(loss, textbook=seed % 3 > 0, chain=seed % 5 == 0)
    assert balanced(derivation.latex)
    found = run(derivation)
    loss.backward()
    for leaf in leaves:
        name = f"d{leaf.name}"
        assert (name in found) == (leaf.grad is not None)
        if (
            leaf.grad is not None and np.max(np.abs(leaf.grad)) > 1e-12
        ):  # not all cancels
            agree(found[name], leaf.grad, 1e-9)


def test_no_path_is_refused():
    """A Tensor that the loss does not depend on is refused, as `gradients` does."""
    with pytest.raises(tg.errors.NoPathError, match="does not depend on W"):
        tg.derive(tg.Parameter(2.0) * 2, wrt=tg.Parameter(1.0, name="W"))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
