"""Laws of `tinygrad-nn check`: what it finds, how it judges, and what it refuses."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tinygrad_nn.cli import main
from tinygrad_nn.cli.check.pairs import parameters, returned
from tinygrad_nn.cli.check.results import bare

HOME = Path(__file__).parent.parent
EXAMPLE = HOME / "examples/graded"


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    """Every test has its own working directory, and a terminal of one width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "88")


@pytest.fixture
def call(capsys):
    """Run the command in this process; give exit code and both streams."""

    def run(*words):
        try:
            code = main(["check", *map(str, words)])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def grade(call):
    """Grade a text; give exit code and the pairs of the JSON file by their names."""

    def run(text, *words, name="hand_in.py"):
        Path(name).write_text("import numpy as np\n" + dedent(text), "utf-8")
        code, out, err = call(name, "--json", "grades.json", *words)
        (file,) = json.loads(Path("grades.json").read_text("utf-8"))["files"]
        return code, {pair["functions"]: pair for pair in file["pairs"]}, out + err

    return run


DATA = """
rng = np.random.default_rng(0)
x, w, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
X, W, Y = rng.normal(size=(3, 6)), rng.normal(size=(2, 3)), rng.normal(size=(2, 6))
"""

# Conventions: a right text, and a change that makes it wrong.
CONVENTIONS = {
    "cost and gradients": (
        DATA
        + """
def cost(W, X, Y):
    return np.mean((W @ X - Y) ** 2)
def gradients(W, X, Y):
    return {"dW": 2 * (W @ X - Y) @ X.T / Y.size}
""",
        ("2 * (W", "(W"),
        "a factor 1/2",
    ),
    "f and f_grad": (
        DATA
        + """
def energy(W):
    return np.sum(np.exp(W))
def energy_grad(W):
    return np.exp(W)
""",
        ("return np.exp(W)", "return -np.exp(W)"),
        "the sign",
    ),
    "f and grad_f": (
        DATA
        + """
def energy(W):
    return np.sum(W**3)
def grad_energy(W):
    return 3 * W**2
""",
        ("3 * W**2", "W**2"),
        "a factor 1/3",
    ),
    "f and df": (
        "def f(x):\n    return np.sin(x)\ndef df(x):\n    return np.cos(x)\n",
        ("np.cos(x)", "-np.cos(x)"),
        "the sign",
    ),
    "f and f_vjp": (
        DATA
        + """
def layer(x, w):
    return np.tanh(x @ w)
def layer_vjp(g, x, w):
    dz = g * (1 - np.tanh(x @ w) ** 2)
    return dz @ w.T, x.T @ dz
""",
        ("(1 - np.tanh(x @ w) ** 2)", "(1 - (x @ w) ** 2)"),
        "the derivative of tanh",
    ),
    "f_forward and f_backward with a cache": (
        DATA
        + """
def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)
def affine_backward(dout, cache):
    x, w, b = cache
    dx, dw, db = dout @ w.T, x.T @ dout, dout.sum(axis=0)
    return dx, dw, db
""",
        ("dout.sum(axis=0)", "dout.mean(axis=0)"),
        "a mean",
    ),
    "forward, cost and backward": (
        DATA
        + """
parameters = {"W1": rng.normal(size=(4, 3)), "W2": rng.normal(size=(2, 4))}
def forward(X, parameters):
    H = np.tanh(parameters["W1"] @ X)
    A = parameters["W2"] @ H
    return A, {"H": H}
def compute_loss(A, Y):
    return np.sum((A - Y) ** 2) / 6
def backward(parameters, cache, X, Y):
    H = cache["H"]
    dA = 2 * (parameters["W2"] @ H - Y) / 6
    dW2 = dA @ H.T
    dH = parameters["W2"].T @ dA
    dW1 = (dH * (1 - H**2)) @ X.T
    return {"dW1": dW1, "dW2": dW2}
""",
        ("(dH * (1 - H**2))", "dH"),
        "the derivative of tanh is missing",
    ),
    "a class": (
        DATA
        + """
class Dense:
    def __init__(self, n_in=3, n_out=2):
        self.W, self.b = np.ones((n_in, n_out)), np.zeros(n_out)
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T
""",
        ("dout.sum(axis=0)", "dout.sum(axis=0) * 2"),
        "a factor 2",
    ),
    "a class with dictionaries": (
        """
class Scale:
    example = (np.arange(6.0).reshape(2, 3),)
    def __init__(self):
        self.params, self.grads = {"k": np.array([1.0, 2.0, 3.0])}, {}
    def __call__(self, x):
        self.x = x
        return x * self.params["k"]
    def backward(self, g):
        self.grads["k"] = (g * self.x).sum(axis=0)
        return g * self.params["k"]
""",
        (".sum(axis=0)\n", ".sum(axis=0) * 3\n"),
        "a factor 3",
    ),
    "one function for both": (
        DATA
        + """
def propagate(w, b, x):
    A = x @ w + b
    cost = np.sum(A**2)
    grads = {"dw": 2 * x.T @ A, "db": 2 * A.sum(axis=0)}
    return grads, cost
""",
        ("2 * A.sum(axis=0)", "A.sum(axis=0)"),
        "a factor 1/2",
    ),
    "a declared gradient": (
        DATA
        + """
def energy(W):
    return np.sum(W**2)
energy.gradient = lambda W: 2 * W
""",
        ("2 * W\n", "4 * W\n"),
        "a factor 2",
    ),
    "a table CHECK": (
        DATA
        + """
CHECK = [(lambda v: np.tanh(v), lambda g, v: g * (1 - np.tanh(v) ** 2), W)]
""",
        ("** 2", "** 3"),
        None,
    ),
    "autograd of an own function": (
        DATA + "def f(W):\n    return (W**2).sum()\nCHECK = [(f, None, W)]\n",
        None,
        None,
    ),
    "names of its own, in the same order": (
        DATA
        + """
def quadratic(W, X):
    return np.sum((W @ X) ** 2)
def gradient_of_quadratic(weights, inputs):
    dW = 2 * weights @ inputs @ inputs.T
    return dW
""",
        ("return dW", "return 2 * dW"),
        None,
    ),
    "an example of the function's own": (
        """
def area(r, h):
    return np.sum(r**2 * h)
area.example = (np.array([1.0, 2.0, 4.0]), np.array([3.0, 0.5, 1.0]))
def area_grad(r, h):
    return 2 * r * h, r**2
""",
        ("r**2\n", "r**2 + 1\n"),
        "a constant 1",
    ),
    "an example for the file": (
        """
def example():
    return {"r": np.array([1.0, 2.0, 4.0])}
def area(r, scale=2.0):
    return scale * np.sum(r**2)
def area_prime(r, scale=2.0):
    return 2 * scale * r
""",
        ("2 * scale", "scale"),
        "a factor 1/2",
    ),
}


CONVENTIONS |= {
    "results beside the loss, of variables": (
        DATA
        + """
def loss_function(inputs, targets):
    H = np.tanh(W @ inputs)
    loss = np.sum((H - targets) ** 2)
    dW = np.zeros_like(W)
    dH = 2 * (H - targets)
    dW += (dH * (1 - H**2)) @ inputs.T
    return loss, dW, H[:, -1]
inputs, targets = X, Y
""",
        ("dH = 2 * (H", "dH = (H"),
        "a factor 1/2",
    ),
    "scipy's names": (
        """
x0 = np.array([0.5, 1.5, -1.0])
def fun(x, k=3.0):
    return k * np.sum(x[1:] * x[:-1])
def jac(x, k=3.0):
    g = np.zeros_like(x)
    g[1:] += x[:-1]
    g[:-1] += x[1:]
    return k * g
""",
        ("return k * g", "return g"),
        "a factor 1/3",
    ),
    "the gradient of the only cost": (
        DATA
        + """
def ridge_cost(W):
    return np.sum(W**2)
def compute_gradient(W):
    return 2 * W
""",
        ("2 * W", "W"),
        "a factor 1/2",
    ),
    "a layer that leaves all in itself": (
        """
inputs = np.random.default_rng(0).normal(size=(5, 3))
class Dense:
    def __init__(self):
        self.weights, self.biases = np.eye(3) + 1, np.ones((1, 3))
    def forward(self, inputs):
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases
    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues
        self.dbiases = dvalues.sum(axis=0, keepdims=True)
        self.dinputs = dvalues @ self.weights.T
""",
        ("self.weights.T", "self.weights.T * 2"),
        "a factor 2",
    ),
    "a layer that steps itself": (
        """
input_data = np.random.default_rng(0).normal(size=(1, 3))
class Dense:
    def __init__(self):
        self.weights = np.eye(3) + 1
    def forward_propagation(self, input_data):
        self.input = input_data
        return input_data @ self.weights
    def backward_propagation(self, output_error, learning_rate):
        input_error = output_error @ self.weights.T
        self.weights -= learning_rate * (self.input.T @ output_error)
        return input_error
""",
        ("self.input.T @", "2 * self.input.T @"),
        "a factor 2",
    ),
    "a weight's gradient that is returned as well": (
        DATA
        + """
class Dense:
    def __init__(self):
        self.W = np.ones((3, 2))
    def forward(self, x):
        self.x = x
        return x @ self.W
    def backward(self, dout):
        self.dW = self.x.T @ dout
        return self.dW
""",
        ("self.x.T @ dout", "-self.x.T @ dout"),
        "the sign",
    ),
    "a forward pass that keeps a running mean": (
        DATA
        + """
gamma = np.array([1.0, 2.0, 0.5])
bn_param = {"mode": "train", "running_mean": np.zeros(3)}
def batch_norm_forward(x, gamma, bn_param):
    mu = x.mean(axis=0)
    bn_param["running_mean"] = 0.9 * bn_param["running_mean"] + 0.1 * mu
    bn_param["steps"] = np.ones(3)
    return gamma * (x - mu), (x - mu, gamma)
def batch_norm_backward(dout, cache):
    centred, gamma = cache
    dgamma = np.sum(dout * centred, axis=0)
    return gamma * (dout - dout.mean(axis=0)), dgamma
""",
        ("dout.mean(axis=0)", "dout.sum(axis=0)"),
        None,
    ),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_right_gradient_of_each_convention_is_right(convention, grade):
    """A pair written in any of the conventions is found, and right ones are right."""
    text, _, _ = CONVENTIONS[convention]
    code, pairs, told = grade(text)
    assert code == 0, told
    assert [pair["verdict"] for pair in pairs.values()] == ["ok"], told
    assert "1 right" in told


@pytest.mark.parametrize(
    "convention", [name for name, row in CONVENTIONS.items() if row[1]]
)
def test_a_wrong_gradient_of_each_convention_is_wrong(convention, grade):
    """One change makes it wrong, which the exit code tells, and the cause is named."""
    text, (old, new), cause = CONVENTIONS[convention]
    assert text.count(old) == 1
    code, pairs, told = grade(text.replace(old, new))
    assert code == 1, told
    (pair,) = pairs.values()
    assert pair["verdict"] == "wrong"
    assert cause is None or any(cause in (r["cause"] or "") for r in pair["rows"]), told


COURSE = """
np.random.seed(1)
X = np.random.randn(5, 6)
Y = (np.random.rand(1, 6) > 0.5).astype(int)
A, W, b = np.random.randn(3, 2), np.random.randn(1, 3), np.random.randn(1, 1)
parameters = {}
for l, (n, k) in enumerate([(4, 5), (3, 4), (1, 3)], 1):
    parameters["W" + str(l)] = np.random.randn(n, k)
    parameters["b" + str(l)] = np.random.randn(n, 1)

def sigmoid(Z):
    A = 1 / (1 + np.exp(-Z))
    return A, Z
def relu(Z):
    A = np.maximum(0, Z)
    assert A.shape == Z.shape
    return A, Z
def relu_backward(dA, cache):
    dZ = np.array(dA, copy=True)
    dZ[cache <= 0] = 0
    return dZ
def sigmoid_backward(dA, cache):
    s = 1 / (1 + np.exp(-cache))
    return dA * s * (1 - s)
def linear_forward(A, W, b):
    return np.dot(W, A) + b, (A, W, b)
def L_model_forward(X, parameters):
    caches, A, L = [], X, len(parameters) // 2
    for l in range(1, L + 1):
        Z, linear = linear_forward(A, parameters["W" + str(l)], parameters["b" + str(l)])
        A, saved = sigmoid(Z) if l == L else relu(Z)
        caches.append((linear, saved))
    return A, caches
def compute_cost(AL, Y):
    m = Y.shape[1]
    cost = -1 / m * (np.dot(Y, np.log(AL).T) + np.dot(1 - Y, np.log(1 - AL).T))
    return float(np.squeeze(cost))
def linear_backward(dZ, cache):
    A_prev, W, b = cache
    m = A_prev.shape[1]
    dA_prev = np.dot(W.T, dZ)
    return dA_prev, np.dot(dZ, A_prev.T) / m, np.sum(dZ, axis=1, keepdims=True) / m
def L_model_backward(AL, Y, caches):
    grads, L = {}, len(caches)
    dA = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))
    for l in reversed(range(L)):
        linear, saved = caches[l]
        dZ = sigmoid_backward(dA, saved) if l == L - 1 else relu_backward(dA, saved)
        dA, grads["dW" + str(l + 1)], grads["db" + str(l + 1)] = linear_backward(
            dZ, linear
        )
    return grads
"""


def test_a_course_with_helpers_is_right_as_a_whole(grade):
    """What is divided by m in a helper is right where the whole backward pass is."""
    code, pairs, told = grade(COURSE)
    assert code == 0, told
    assert set(pairs) == {
        "relu_backward", "sigmoid_backward", "linear_backward", "L_model_backward",
    }  # fmt: skip
    assert set(pairs["L_model_backward"]["parameters"]) == {
        f"{kind}{layer}" for kind in "Wb" for layer in (1, 2, 3)
    }
    assert "divided by 2" in pairs["linear_backward"]["notes"][0]


def test_a_division_by_m_alone_is_left_open(grade):
    """Of a helper alone nobody knows whether dividing by m is right: not judged."""
    text = COURSE.partition("def L_model_backward")[0]
    code, pairs, told = grade(text)
    assert code == 2, told
    assert pairs["linear_backward"]["verdict"] == "not judged"
    assert "divided by 2" in told


def test_a_wrong_helper_makes_the_whole_wrong(grade):
    """A pass that is wrong vouches for nothing that it calls."""
    code, pairs, told = grade(COURSE.replace("dA * s * (1 - s)", "dA * s * (1 + s)"))
    assert code == 1, told
    verdicts = {name: pair["verdict"] for name, pair in pairs.items()}
    assert verdicts == {
        "relu_backward": "ok",
        "sigmoid_backward": "wrong",
        "linear_backward": "not judged",
        "L_model_backward": "wrong",
    }


def test_a_suffix_chooses_cost_and_forward_pass(grade):
    """The gradient `…_with_decay` belongs to the cost and the forward pass of that name."""
    text = (
        DATA
        + """
lambd = 0.5
parameters = {"W": W}
def forward_propagation(X, parameters):
    A = parameters["W"] @ X
    return A, ()
def compute_cost(A, Y):
    return np.sum((A - Y) ** 2)
def compute_cost_with_decay(A, Y, parameters, lambd):
    return compute_cost(A, Y) + lambd * np.sum(parameters["W"] ** 2)
def backward_propagation(X, Y, parameters):
    return {"dW": 2 * (parameters["W"] @ X - Y) @ X.T}
def backward_propagation_with_decay(X, Y, parameters, lambd):
    W = parameters["W"]
    return {"dW": 2 * (W @ X - Y) @ X.T + 2 * lambd * W}
"""
    )
    code, pairs, told = grade(text)
    assert code == 0, told
    assert (
        "compute_cost_with_decay(" in pairs["backward_propagation_with_decay"]["judged"]
    )
    assert "compute_cost(" in pairs["backward_propagation"]["judged"]


def test_a_slope_of_the_result_is_read_as_that(grade):
    """`dtanh(a)`, 1 - a**2, is right of the result a; called with z it is wrong of z."""
    text = (
        "def tanh(z):\n    return np.tanh(z)\ndef dtanh({0}):\n    return 1 - {0}**2\n"
    )
    code, pairs, told = grade(text.format("a"))
    assert (code, pairs["dtanh"]["verdict"]) == (0, "ok"), told
    assert "taken of the result a = tanh(…)" in pairs["dtanh"]["judged"]
    code, pairs, told = grade(text.format("z"))
    assert (code, pairs["dtanh"]["verdict"]) == (1, "wrong"), told
    assert "right of the result" in pairs["dtanh"]["rows"][0]["cause"]


def test_the_first_wrong_line_is_told(grade):
    """Of a wrong chain the table names the statement by hand that is wrong first."""
    text, (old, new), _ = CONVENTIONS["f and f_vjp"]
    _, pairs, told = grade(text.replace(old, new))
    line = pairs["layer_vjp"]["line"]
    assert line["text"] == "dz = g * (1 - (x @ w) ** 2)"
    source = Path("hand_in.py").read_text("utf-8").splitlines()
    assert source[line["number"] - 1].strip() == line["text"]
    assert f"first wrong line: hand_in.py:{line['number']}: dz = " in told


# A right text, what is replaced in it, and the line that is wrong then.
LINES = {
    "a helper in a loop": (
        COURSE,
        "dZ = sigmoid_backward(dA, saved) if",
        "dZ = -sigmoid_backward(dA, saved) if",
        "L_model_backward",
    ),
    "a line in between": (
        CONVENTIONS["forward, cost and backward"][0],
        'dH = parameters["W2"].T @ dA',
        'dH = 1.5 * parameters["W2"].T @ dA',
        "backward",
    ),
    "an attribute of a layer": (
        CONVENTIONS["a layer that leaves all in itself"][0],
        "self.dweights = self.inputs.T @ dvalues",
        "self.dweights = self.inputs.T @ dvalues / 3",
        "Dense",
    ),
    "what is returned at once": (
        CONVENTIONS["scipy's names"][0],
        "return k * g",
        "return k * g * 5",
        "jac",
    ),
    "a part of an array": (
        CONVENTIONS["scipy's names"][0],
        "g[:-1] += x[1:]",
        "g[:-1] += 2 * x[1:]",
        "jac",
    ),
    "a wrong shape": (
        CONVENTIONS["f_forward and f_backward with a cache"][0],
        "dx, dw, db = dout @ w.T, x.T @ dout, dout.sum(axis=0)",
        "dx, dw, db = dout @ w.T, x.T @ dout, dout.sum(axis=1)",
        "affine_backward",
    ),
}


@pytest.mark.parametrize("what", LINES)
def test_the_line_is_the_one_that_was_changed(what, grade):
    """Whatever its names are, the line that was made wrong is told, and no other."""
    text, old, new, name = LINES[what]
    assert text.count(old) == 1
    _, pairs, told = grade(text.replace(old, new))
    number = pairs[name]["line"]["number"]
    assert new in Path("hand_in.py").read_text("utf-8").splitlines()[number - 1], told
    assert pairs[name]["verdict"] == "wrong"


def test_float_of_a_cost_is_recorded(grade):
    """`float(cost)` hides nothing: the cause is named."""
    text = CONVENTIONS["forward, cost and backward"][0]
    text = text.replace(
        "return np.sum((A - Y) ** 2) / 6",
        "return float(np.sum((A - Y) ** 2) / 6)",
    )
    code, pairs, told = grade(text)
    assert code == 0, told
    assert not pairs["backward"]["notes"]
    _, pairs, told = grade(text.replace("(dH * (1 - H**2))", "dH"))
    assert "tanh is missing" in pairs["backward"]["rows"][0]["cause"], told


def test_a_gradient_of_its_own_is_nobody_elses(grade):
    """`jac` is the gradient of the function without one, not of the first in the list."""
    text = """
    x = np.array([1.0, 2.0, 3.0])
    def fun(x):
        f = np.sum(x**4)
        g = 4 * x**3
        return f, g
    def cost(x):
        return np.sum(x**2)
    def cost_grad(x):
        return 2 * x
    def func(x):
        return 2 * np.sum(x)
    def jac(x):
        return 2 + 0 * x
    """
    code, pairs, told = grade(text)
    assert code == 0, told
    assert set(pairs) == {"fun", "cost_grad", "jac"}
    code, pairs, told = grade(text.replace("return 2 + 0", "return 3 + 0"))
    assert code == 1, told
    assert "func(x)" in pairs["jac"]["judged"]


def test_variables_are_as_they_were(grade):
    """What is judged is set for a call only: a later pair sees the file's own values."""
    text = """
    W = np.array([1.0, 2.0])
    before = W
    def loss_one():
        loss = np.sum(W**2)
        dW = 2 * W
        return loss, dW
    def f(x):
        assert W is before
        return np.sum(x)
    def df(x):
        return np.ones_like(x)
    """
    code, pairs, told = grade(text)
    assert code == 0, told
    assert list(pairs["loss_one"]["parameters"]) == ["W"]


def test_results_may_stand_in_any_order(grade):
    """`return dq, dp`: names tell whose gradients they are, not places or shapes."""
    text = """
    p, q = np.array([1.0, 2.0, 3.0]), np.array([0.5, 4.0, -1.0])
    def f(p, q):
        return np.sum(p**2 * q)
    def f_grad(p, q):
        dp, dq = 2 * p * q, p**2
        return dq, dp
    """
    code, _, told = grade(text)
    assert code == 0, told
    code, _, told = grade(
        text.replace("dp, dq = 2 * p * q, p**2", "dq, dp = 2 * p * q, p**2")
    )
    assert code == 1, told


def test_a_function_of_a_vector_has_one_drawn(grade):
    """Where no value is known, an array is drawn that makes a number of the function."""
    text = """
    def rosen(x):
        return sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    def rosen_der(x):
        g = np.zeros_like(x)
        g[1:] += 200 * (x[1:] - x[:-1] ** 2)
        g[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
        return g
    """
    code, pairs, told = grade(text)
    assert code == 0, told
    assert "at an array drawn here" in pairs["rosen_der"]["judged"]
    code, _, told = grade(text.replace("-400", "-200"))
    assert code == 1, told


def test_what_a_pass_keeps_in_a_dictionary_does_not_count(grade):
    """Every call starts from the dictionary of the file: a counter changes nothing."""
    text = """
    x, state = np.array([1.0, 2.0, 3.0]), {"calls": 0}
    def f(x, state):
        state["calls"] += 1
        return np.sum(x**2) * state["calls"]
    def f_grad(x, state):
        return 2 * x
    """
    code, pairs, told = grade(text)
    assert (code, pairs["f_grad"]["verdict"]) == (0, "ok"), told


def test_a_tuple_within_the_results_tells_its_names(grade):
    """`return A, (Z, H)`: backward(dA, Z, H) takes what the forward pass saved so."""
    text = """
    x = np.array([0.5, -1.0, 2.0])
    def f_forward(x):
        Z = x * 3
        H = np.tanh(Z)
        return H * 2, (Z, H)
    def f_backward(dout, Z, H):
        assert np.array_equal(np.tanh(Z), H)
        return 6 * dout * (1 - H**2)
    """
    code, pairs, told = grade(text)
    assert (code, pairs["f_backward"]["verdict"]) == (0, "ok"), told


def test_a_mean_is_left_open_for_what_all_examples_share_alone(grade):
    """Divided by m: db beside dW is open, db alone is wrong, whatever the lengths."""
    text = """
    rng = np.random.default_rng(0)
    X, W, b = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), rng.normal(size=(4, 1))
    def linear_forward(X, W, b):
        return W @ X + b, (X, W, b)
    def linear_backward(dZ, cache):
        X, W, b = cache
        return W.T @ dZ, dZ @ X.T / 4, dZ.sum(axis=1, keepdims=True) / 4
    """
    code, pairs, told = grade(text)
    assert (code, pairs["linear_backward"]["verdict"]) == (2, "not judged"), told
    code, pairs, told = grade(text.replace("X.T / 4", "X.T"))
    assert (code, pairs["linear_backward"]["verdict"]) == (1, "wrong"), told


# What cannot be judged: a text, and a part of the reason.
UNCLEAR = {
    "no partner": ("def cube_grad(x):\n    return 3 * x**2\n", "no function is found"),
    "no value": (
        "def cost(w, x):\n    return np.sum(w @ x)\ndef gradients(w, x):\n    return x\n",
        "'w', 'x' of cost: set it in the file, w = …, or all of them, example = {'w': …",
    ),
    "no number": (
        DATA
        + """
def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)
def softmax_grad(x):
    return softmax(x) * (1 - softmax(x))
""",
        "softmax returns an array (5, 3)",
    ),
    "not deterministic": (
        DATA
        + "def f(W):\n    return np.sum(W * np.random.rand())\n"
        + "def f_grad(W):\n    return W\n",
        "not deterministic",
    ),
    "raises": (
        DATA
        + "def f(W):\n    return np.sum(W)\n"
        + "def f_grad(W):\n    return W @ W\n",
        "it raises ValueError",
    ),
    "of nothing": (
        DATA
        + "def f(W):\n    return np.sum(W)\n"
        + "def f_grad(W):\n    return {'dV': W}\n",
        "none is the gradient of 'W'",
    ),
    "a gradient is lacking": (
        DATA
        + "p = {'u': x, 'v': w}\ndef f(p):\n    return p['u'].sum() + p['v'].sum()\n"
        + "def f_grad(p):\n    return {'du': np.ones((5, 3))}\n",
        "no gradient of it is returned",
    ),
    "which of two": (
        (
            "p, q = np.ones(3), np.ones(3)\n"
            "def f(p, q):\n    return np.sum(p * q)\n"
            "def f_grad(p, q):\n    return 1 * p\n"
        ),
        "returns 1 gradient for 'p', 'q'",
    ),
    "left from before": (
        DATA
        + "H = np.tanh(W)\ndef f(W):\n    return np.sum(np.tanh(W))\n"
        + "def f_grad(H, S):\n    return 1 - H**2\nS = H\n",
        "'H', 'S', which is neither taken nor returned",
    ),
    "a malformed table": ("CHECK = [np.exp]\n", "expected (f, gradient, arrays…)"),
    "a table without arrays": ("CHECK = [(np.exp, np.exp)]\n", "CHECK holds no arrays"),
    "of another function than forward": (
        DATA
        + """
class Model:
    def forward(self, x):
        self.out = 2 * x
        return self.out
    def backward(self, Y):
        return 2 * (self.out - Y)
""",
        "Model.backward takes 'Y', and Model.forward does not",
    ),
    "a method for both": (
        DATA
        + """
class Net:
    def loss(self, X):
        loss = np.sum(X**2)
        grads = {"X": 2 * X}
        return loss, grads
""",
        "a method that gives gradients",
    ),
    "a class that needs more": (
        (
            "class Layer:\n    def __init__(self, n):\n        pass\n"
            "    def forward(self, x):\n        return x\n"
            "    def backward(self, g):\n        return g\n"
        ),
        "no Layer to judge: it takes 'n'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNCLEAR)
def test_what_cannot_be_judged_is_listed_with_its_reason(what, grade):
    """No certainty where there is none: the reason is told, and the exit code is 2."""
    text, reason = UNCLEAR[what]
    code, pairs, told = grade(text)
    assert code == 2, told
    assert [pair["verdict"] for pair in pairs.values()] == ["not judged"]
    causes = [row["cause"] or "" for pair in pairs.values() for row in pair["rows"]]
    assert any(reason in cause for cause in causes), told
    assert "1 not judged" in told


def test_a_wrong_pair_outweighs_one_that_cannot_be_judged(grade):
    """Exit code 1 where something is wrong, whatever else could not be judged."""
    text, (old, new), _ = CONVENTIONS["f and f_grad"]
    code, pairs, _ = grade(text.replace(old, new) + "def cube_grad(x):\n    return x\n")
    assert {pair["verdict"] for pair in pairs.values()} == {"wrong", "not judged"}
    assert code == 1


def test_a_wrong_shape_is_a_mistake(grade):
    """A gradient that was not summed over the broadcast axis is wrong, with the remedy."""
    text, _, _ = CONVENTIONS["f_forward and f_backward with a cache"]
    code, _, told = grade(text.replace("dout.sum(axis=0)", "dout"))
    assert code == 1
    assert "axis=0" in told
    assert "expected the gradient of b" in " ".join(told.split())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = undefined_name\n", "NameError"),
        ("def f(:\n    pass\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
        ("raise KeyError('k')\n", "KeyError"),
    ],
)
def test_an_error_of_the_users_file_is_shown_as_the_users(text, word, call):
    """Exit code 2, Python's own words from the user's file on, and one line of ours."""
    Path("broken.py").write_text(text, "utf-8")
    code, out, err = call("broken.py")
    assert (code, out) == (2, "")
    assert word in err
    assert "broken.py" in err
    assert err.splitlines()[-1].startswith("tinygrad-nn: error: broken.py: expected")
    assert "tinygrad_nn/cli" not in err
    assert "importlib" not in err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.py", "expected a file of Python, x.py; got none"),
        ("book.ipynb", "jupyter nbconvert"),
        (".", "got a directory"),
    ],
)
def test_a_file_that_is_none_is_refused(name, reason, call):
    """A path that is no file of Python is one line on standard error, exit code 2."""
    code, out, err = call(name)
    assert (code, out) == (2, "")
    assert reason in err


def test_a_file_without_pairs_says_what_is_found(call):
    """Nothing to judge is bad input: the conventions are told."""
    Path("empty.py").write_text("def train(X):\n    return X\n", "utf-8")
    code, _, err = call("empty.py")
    assert code == 2
    assert "got train" in err
    assert "CHECK = [(f, gradient, arrays…)]" in err


@pytest.mark.parametrize(
    "name",
    ["gradient_descent", "check_gradients", "numerical_gradient", "clip_gradients"],
)
def test_functions_about_gradients_are_no_gradients(name, grade):
    """What descends, checks, clips or approximates is not asked for its function."""
    text, _, _ = CONVENTIONS["f and f_grad"]
    code, pairs, told = grade(text + f"def {name}(x):\n    return x\n")
    assert (code, list(pairs)) == (0, ["energy_grad"]), told


def test_one_function_is_chosen(grade):
    """--function judges one pair, by the name of either function; others are no pair."""
    text = CONVENTIONS["f and f_grad"][0] + CONVENTIONS["f and df"][0]
    for name, judged in (("energy", "energy_grad"), ("df", "df")):
        code, pairs, told = grade(text, "--function", name)
        assert (code, list(pairs)) == (0, [judged]), told


def test_an_unknown_function_is_refused(call):
    """--function names a pair, or is told which there are."""
    text = CONVENTIONS["f and f_grad"][0]
    Path("a.py").write_text(f"import numpy as np\n{text}", "utf-8")
    code, _, err = call("a.py", "--function", "enrgy")
    assert code == 2
    assert "expected a function 'enrgy'; got pairs energy / energy_grad" in err


def test_a_weak_verdict_fails_where_it_is_strict(grade):
    """float32 within leaves a weak verdict: it passes, and fails with --strict."""
    text = """
    x = np.random.default_rng(0).normal(size=9)
    def f(x):
        return np.sum(np.sin(x.astype(np.float32) + np.float32(300)))
    def f_grad(x):
        return np.cos(x.astype(np.float32) + np.float32(300))
    """
    code, pairs, told = grade(text)
    assert (code, pairs["f_grad"]["verdict"]) == (0, "weak"), told
    assert grade(text, "--strict")[0] == 1


def test_full_mode_looks_at_every_element(grade):
    """--mode full costs evaluations for each element; --seed repeats a run exactly."""
    text = CONVENTIONS["f and f_grad"][0]
    counts = [
        grade(text, "--mode", mode)[1]["energy_grad"]["evaluations"]
        for mode in ("auto", "full")
    ]
    assert counts[1] > counts[0] + 6
    assert grade(text, "--seed", 5)[1] == grade(text, "--seed", 5)[1]


def test_what_the_file_prints_is_not_in_the_table(grade):
    """The user's own prints go to standard error, or nowhere: the table stays clean."""
    text, _, _ = CONVENTIONS["f and f_grad"]
    noisy = text.replace(
        "    return np.exp(W)", "    print('noise')\n    return np.exp(W)"
    )
    Path("n.py").write_text(f"import numpy as np\nprint('at import'){noisy}", "utf-8")
    code, _, told = grade(f"print('at import')\n{noisy}")
    assert code == 0
    assert "noise" not in told


def test_a_file_leaves_nothing_behind(call):
    """No module, no path, no __pycache__: two folders may have files of one name."""
    for folder, factor in (("one", 2), ("two", 3)):
        Path(folder).mkdir()
        Path(folder, "shared.py").write_text(f"factor = {factor}\n", "utf-8")
        Path(folder, "hand_in.py").write_text(
            dedent(
                """
                import numpy as np
                from shared import factor
                W = np.arange(3.0)
                def f(W): return np.sum(W**2)
                def f_grad(W): return factor * W
                """
            ),
            "utf-8",
        )
    before, path = set(sys.modules), list(sys.path)
    code, out, _ = call("one/hand_in.py", "two/hand_in.py")
    assert code == 1
    assert out.index("ok") < out.index("wrong"), out
    assert "shared" not in sys.modules
    assert "hand_in" not in sys.modules
    assert sys.path == path
    assert not {name for name in set(sys.modules) - before if "hand_in" in name}
    assert not list(Path().rglob("__pycache__"))


def test_data_of_another_file_fills_what_is_lacking(call):
    """--data gives values and functions; with them a bare backward pass is judged."""
    for name in ("assignment.py", "hand_in_ada.py"):
        shutil.copy(EXAMPLE / name, name)
    code, out, _ = call("hand_in_ada.py")
    assert code == 2
    assert "no function is found" in " ".join(out.split())
    code, out, _ = call("hand_in_ada.py", "--data", "assignment.py")
    assert (code, "1 right" in out) == (0, True)


GRADES = {
    "ada": (None, None),
    "ben": (
        "the derivative of tanh is taken of its operand",
        "dZ1 = dA1 * (1 - Z1**2)",
    ),
    "cem": ("a factor 12, the length of an axis: a sum where a mean belongs", "db2 ="),
    "dora": ("a term is missing: 0.008333 · parameter", "dW1 ="),
    "emil": ("a term is missing: 0.004167 · parameter", "dW2 ="),
    "fay": ("the sign", "dA1 = -W2.T @ dZ2"),
}


def test_the_teachers_example_grades_five_mistakes(call):
    """Each hand-in of examples/graded has its own grade: cause, and first wrong line."""
    files = sorted(EXAMPLE.glob("hand_in_*.py"))
    assert [file.stem.removeprefix("hand_in_") for file in files] == sorted(GRADES)
    words = ["--data", EXAMPLE / "assignment.py", "--json", "grades.json"]
    code, out, _ = call(*files, *words)
    assert code == 1
    assert "5 wrong, 1 right" in out
    graded = json.loads(Path("grades.json").read_text("utf-8"))["files"]
    for one, (name, (cause, line)) in zip(graded, GRADES.items(), strict=True):
        (pair,) = one["pairs"]
        assert name in one["path"]
        assert pair["ok"] is (cause is None)
        if cause is not None:
            assert pair["rows"][0]["cause"].startswith(cause), (name, pair)
            assert pair["line"]["text"].startswith(line), (name, pair)


def test_the_teachers_example_runs(capsys):
    """examples/graded_backprop.py prints the grades, as its docstring says."""
    example = runpy.run_path(str(HOME / "examples/graded_backprop.py"))
    assert example["main"]() == 1
    assert "5 wrong, 1 right" in capsys.readouterr().out


def test_lines_of_the_table_are_of_the_terminals_width(call, monkeypatch):
    """Long causes and names wrap at any width, and no shape is broken in two."""
    files = sorted(EXAMPLE.glob("hand_in_*.py"))[:3]
    for width in (80, 88, 100, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        _, out, _ = call(*files, "--data", EXAMPLE / "assignment.py")
        body = [line for line in out.splitlines() if not line.endswith(".py")]
        assert max(map(len, body)) <= width
        for shape in ("W1 (4, 2)", "b1 (4, 1)", "W2 (1, 4)", "b2 (1, 1)"):
            assert out.replace("\n      ", " ").count(shape) == 3
            assert out.count(shape.partition(" ")[2]) == 3


def test_words_for_a_gradient_are_taken_off():
    """dW, grad_W and W_grad are W's; words that begin with d are themselves."""
    taken = {
        name: bare(name)
        for name in ("dW1", "db", "dw", "grad_W", "W_grad", "dA_prev", "data", "depth")
    }
    assert taken == {
        "dW1": "W1", "db": "b", "dw": "w", "grad_W": "W", "W_grad": "W",
        "dA_prev": "A_prev", "data": "data", "depth": "depth",
    }  # fmt: skip


def test_a_return_statement_tells_its_names():
    """Names are those of the last return of the function itself, if all are names."""

    def outer(W):
        def inner():
            return W

        a = b = inner()
        return a, b

    assert returned(outer) == ("a", "b")
    assert returned(lambda W: W + 1) == ()
    assert returned(np.exp) == ()
    assert [p.name for p in parameters(outer)] == ["W"]
