"""Exported modules: the same numbers with NumPy alone, readable, whole or not at all.

The laws are plain functions; `MUTANTS` at the end breaks the exporter in ways that each
of them must notice.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

import graphviz
import numpy as np
import pytest
from laws import close, identical

import tinygrad_nn as tg
from tinygrad_nn.compiler import export, export_step, inlined, prediction
from tinygrad_nn.errors import CompileError, SaveError
from tinygrad_nn.notation import bodies
from tinygrad_nn.op import REGISTRY

S = tg.optim.schedules
ISOLATED = """
import sys
sys.path[:] = [p for p in sys.path if "site-packages" not in p]
sys.path[:0] = [{home!r}, {packages!r}]
sys.modules["tinygrad_nn"] = None
try:
    import tinygrad_nn
except ImportError:
    pass
else:
    raise SystemExit("tinygrad_nn can be imported: this shows nothing")
import numpy as np
"""


def load(path):
    """Import a file under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def isolated(folder, code):
    """Run code where there is NumPy, the folder, and no tinygrad_nn."""
    packages = str(Path(np.__file__).parent.parent)
    head = ISOLATED.format(home=str(folder), packages=packages)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", head + code],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(results):
    """Return every array among nested results, Tensors or not."""
    if isinstance(results, dict):
        return [x for key in results for x in numbers(results[key])]
    if isinstance(results, (list, tuple)):
        return [x for item in results for x in numbers(item)]
    return [results.numpy() if isinstance(results, tg.Tensor) else np.asarray(results)]


def assert_same(got, wanted):
    got, wanted = numbers(got), numbers(wanted)
    assert len(got) == len(wanted)
    for x, y in zip(got, wanted, strict=True):
        identical(x, y)


# --- models --------------------------------------------------------------------------


def dense(dtype=np.float64):
    nn = tg.nn
    return nn.Sequential(
        nn.Dense(6, 5, activation="relu", rng=0, dtype=dtype),
        nn.Dropout(0.4, rng=1),
        nn.Dense(5, 4, activation="tanh", rng=2, dtype=dtype),
        nn.Sequential(nn.Dense(4, 3, activation="sigmoid", rng=3, dtype=dtype)),
    )


def images():
    return tg.nn.Sequential(
        tg.nn.Flatten(), tg.nn.Dense(6, 3, rng=0), partial(tg.softmax, axis=-1)
    )


class Own(tg.nn.Module):
    """Two inputs, a dict of results, constants of its own, sizes read from the input."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.W = tg.Parameter(rng.normal(size=(6, 3)), name="W")
        self.scale = rng.normal(size=(9, 3))
        self.shift = tg.Tensor(np.array(0.5))

    def forward(self, X, extra):
        n = X.shape[0]
        Z = X @ self.W * self.scale[0] + self.shift
        A = tg.log_softmax(Z, axis=1)
        best = A[np.arange(n), 1]
        half = tg.reshape(A, (3 * n,))[: n // 2 + 1]
        ones = np.ones((n, 1)) * extra
        return {"best": best, "parts": (half / n, ones - A.mean(axis=0) * (1 / n))}


def columns():
    rng = np.random.default_rng(2)
    W1 = tg.Parameter(rng.normal(size=(4, 2)), name="W1")
    b1 = tg.Parameter(np.zeros((4, 1)), name="b1")
    W2 = tg.Parameter(rng.normal(size=(1, 4)), name="W2")

    def forward(X):
        Z1 = np.dot(W1, X) + b1
        A1 = np.tanh(Z1)
        Z2 = np.dot(W2, A1)
        A2 = 1 / (1 + np.exp(-Z2))
        return A2  # noqa: RET504 (the tutorials' lines)

    return forward


def shaped(*shape):
    return lambda n, dtype: [
        np.random.default_rng(n).normal(size=(n, *shape)).astype(dtype)
    ]


MODELS = {
    "dense": (dense, shaped(6), 0, np.float64),
    "float32": (lambda: dense(np.float32), shaped(6), 0, np.float32),
    "images": (images, shaped(2, 3), 0, np.float64),
    "own": (Own, lambda n, _: [*shaped(6)(n, float), *shaped(1)(n, float)], 0, float),
    "columns": (columns, lambda n, _: [shaped(2)(n, float)[0].T], 1, float),
}


def predicts_the_same_bits(make, examples, axis, dtype, folder):
    """predict(X) of the file has the bits of model(X), for any number of examples."""
    model = make()
    tg.export_numpy(folder / "net.py", model, *examples(8, dtype), batch_axis=axis)
    predict = load(folder / "net.py").predict
    if hasattr(model, "eval"):
        model.eval()
    for n in (1, 2, 3, 8, 33):
        given = examples(n, dtype)
        assert_same(predict(*given), model(*given))


@pytest.mark.parametrize("name", MODELS)
def test_prediction_has_the_bits_of_the_model_for_any_number_of_examples(
    name, tmp_path
):
    """An exported prediction equals model(X) bit for bit; its batch size is free."""
    predicts_the_same_bits(*MODELS[name], tmp_path)


OPS = [
    pytest.param(op, sample, id=f"{op.name}-{i}")
    for op in REGISTRY.values()
    for i, sample in enumerate(op.samples)
]


def op_has_the_same_bits(op, sample, folder):
    for dtype in (np.float64, np.float32):
        arrays = sample.draw(np.random.default_rng(3))
        arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]

        def model(*operands):
            return op.call(*operands, **sample.settings)

        tg.export_numpy(folder / "net.py", model, *arrays, batch_axis=None)
        got = load(folder / "net.py").predict(*arrays)
        identical(got, model(*map(tg.Tensor, arrays)).numpy())


@pytest.mark.parametrize(("op", "sample"), OPS)
def test_every_op_has_the_same_bits(op, sample, tmp_path):
    """The text of every op of the registry, at every sample, gives the op's bits."""
    op_has_the_same_bits(op, sample, tmp_path)


def test_exports_in_evaluation_mode_and_leaves_the_flags(tmp_path):
    """Dropout is off in the file; training flags are what they were, after errors too."""
    net = dense()
    net.layers[1].training = False
    flags = [module.training for _, module in net.named_modules()]
    assert any(flags)
    tg.export_numpy(tmp_path / "net.py", net, np.ones((3, 6)))
    assert [module.training for _, module in net.named_modules()] == flags
    assert "random" not in (tmp_path / "net.py").read_text()
    with pytest.raises(CompileError, match="refuses 18"):
        tg.export_numpy(tmp_path / "net.py", only_a_dozen, np.ones((3, 6)))
    assert [module.training for _, module in net.named_modules()] == flags


def only_a_dozen(X):
    if X.shape[0] > 12:
        raise ValueError("too many")
    return tg.tanh(X)


def test_the_text_is_what_a_person_would_write(tmp_path):
    """The user's names, an expression a line, line and layer comments: this very text."""
    tg.export_numpy(tmp_path / "net.py", columns(), np.ones((2, 5)), batch_axis=1)
    text = (tmp_path / "net.py").read_text()
    start = columns.__code__.co_firstlineno + 6
    body = text[text.index("    X = np.asarray(X)") : text.index("    return A2")]
    assert (
        body
        == f"""\
    X = np.asarray(X)
    # test_export.py:{start + 1}
    Z1 = np.dot(W1, X) + b1
    # test_export.py:{start + 2}
    A1 = np.tanh(Z1)
    # test_export.py:{start + 3}
    Z2 = np.dot(W2, A1)
    # test_export.py:{start + 4}
    A2 = sigmoid(Z2)
"""
    )
    net = dense()
    tg.export_numpy(tmp_path / "net.py", net, np.ones((3, 6)))
    text = (tmp_path / "net.py").read_text()
    assert "    # layers.0\n    layers_0 = np.maximum(np.dot(x, " in text
    assert '    layers_0_weight = file["layers.0.weight"]  # float64 (5, 6)\n' in text
    assert '"""Prediction of Sequential as plain NumPy' in text
    assert "\n    x : float64 (n, 6)\n" in text
    assert "\nReturns float64 (n, 3).\n" in text


def test_the_parameters_go_back_into_a_model(tmp_path):
    """The .npz holds the parameters under the names of the model's own state."""
    net = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=0), tg.nn.Dense(2, 1, rng=1))
    tg.export_numpy(tmp_path / "net.py", net, np.ones((2, 3)))
    other = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=5), tg.nn.Dense(2, 1, rng=6))
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        other.load_state(dict(file))
    assert_same(other(np.eye(3)), net(np.eye(3)))


def test_sizes_are_formulas_of_the_number_of_examples(tmp_path):
    """What depends on n is said by n; what cannot be is refused by name and line."""

    def model(X):
        n = X.shape[0]
        rows = tg.reshape(X, (2 * n,))[n // 2 : n + 3]
        return rows * (3 / n) + 0.1 * n

    tg.export_numpy(tmp_path / "net.py", model, np.ones((4, 2)))
    text = (tmp_path / "net.py").read_text()
    for part in ("n = X.shape[0]", "(2 * n,)", "[n // 2:n + 3]", "(3 / n)"):
        assert part in text, text
    predict = load(tmp_path / "net.py").predict
    for n in (3, 4, 5, 50):
        X = np.random.default_rng(n).normal(size=(n, 2))
        identical(predict(X), model(tg.Tensor(X)).numpy())

    def rounded_up(X):
        return X[: (X.shape[0] + 1) // 2]

    def squared(X):
        return X * float(X.shape[0] ** 2)

    def other(X):
        return tg.tanh(X) if X.shape[0] > 15 else X

    ones = np.ones((4, 2))
    for refused in (rounded_up, squared, other):
        with pytest.raises(CompileError, match="batch_axis=None"):
            tg.export_numpy(tmp_path / "no.py", refused, ones)
        tg.export_numpy(tmp_path / "no.py", refused, ones, batch_axis=None)
        predict = load(tmp_path / "no.py").predict
        identical(predict(ones), refused(tg.Tensor(ones)).numpy())


# --- ops of one's own ----------------------------------------------------------------

BIG = 30.0
TABLE = np.linspace(-1, 1, 50)


def _log1p_exp(x, power=BIG):
    if math_is_fine(x):
        return np.log1p(np.exp(-np.abs(x))) * (power / BIG)
    raise tg.errors.ShapeError("never")


def math_is_fine(x):
    return np.size(x) >= 0


@tg.elementwise(
    formula="s($x)", vjp=lambda g, _out, x: g * tg.sigmoid(x), samples=(), quiet=True
)
def soft(x):
    """Soft relu, with helpers."""
    # A comment, a loop, a global array and a constant: all come along.
    total = np.maximum(x, 0)
    for _ in range(1):
        total = total + _log1p_exp(x)
    return np.where(x > BIG, x, total) + 0 * TABLE[0]


def test_ops_of_ones_own_come_along_with_their_helpers(tmp_path):
    """A body in plain NumPy is inlined with helpers, constants, arrays and errors."""
    W = tg.Parameter(np.random.default_rng(0).normal(size=(3, 2)), name="W")
    X = np.random.default_rng(1).normal(size=(4, 3))

    def model(X):
        return soft(X @ W)

    tg.export_numpy(tmp_path / "net.py", model, X)
    text = (tmp_path / "net.py").read_text()
    assert "def _log1p_exp(x, power=30.0):" in text
    assert "raise ValueError('never')" in text
    assert '@np.errstate(over="ignore")\ndef soft(x):' in text
    identical(load(tmp_path / "net.py").predict(X), model(X).numpy())


def opaque(function):
    """Make an op of a body that looks at nothing but its argument."""
    rule = lambda g, _out, _x: g
    return tg.elementwise(formula="o($x)", vjp=rule, samples=())(function)


class Scaler:
    factor = 2.0


scaler = Scaler()


@opaque
def with_an_object(x):
    return np.abs(x) * scaler.factor + 0.0


@opaque
def with_a_library(x):
    return np.abs(x) + 0.0 * len(graphviz.Digraph("G").source)


@opaque
def with_a_file(x):
    return np.abs(x) + 0.0 * len(tg.__file__)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (with_an_object, "'with_an_object' that needs 'Scaler'"),
        (with_a_library, "'with_a_library' that needs the class Digraph"),
        (with_a_file, "that needs tinygrad_nn.__file__"),
        (opaque(eval("lambda x: np.abs(x) + 1.0")), "its text is not there"),
    ],
)
def test_what_is_more_than_numpy_is_refused_by_name(op, words, tmp_path):
    """An op whose body needs an object or another library is refused by its name."""
    with pytest.raises(CompileError, match=words) as caught:
        tg.export_numpy(tmp_path / "net.py", op, np.ones((2, 2)))
    assert str(caught.value).startswith("export_numpy: ")
    assert not list(tmp_path.iterdir())


def test_what_a_body_closes_over_is_written_as_it_is(tmp_path):
    """A body inside of a function comes along, with the values that it closes over."""
    factor, pair = 3.0, {"a": (1, 2.5)}

    @opaque
    def scaled(x):
        y = np.abs(x)
        return y * factor + pair["a"][1]

    tg.export_numpy(tmp_path / "net.py", scaled, np.ones((2, 2)))
    X = np.random.default_rng(0).normal(size=(3, 2))
    identical(load(tmp_path / "net.py").predict(X), np.abs(X) * 3.0 + 2.5)


# --- steps ---------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda p: tg.optim.SGD(p, 0.1),
    "momentum": lambda p: tg.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: tg.optim.SGD(
        p, S.cosine(0.1, 20), momentum=0.9, nesterov=True
    ),
    "Adam": lambda p: tg.optim.Adam(p, 0.01),
    "AdamW": lambda p: tg.optim.AdamW(p, S.warm_up(S.step(0.1, 3), 2)),
    "RMSProp": lambda p: tg.optim.RMSProp(p, 0.01),
    "AdaGrad": lambda p: tg.optim.AdaGrad(p, lambda step: 0.1 / (1 + step)),
}


def training(optimizer, dtype=np.float64, **options):
    """Return a compiled step, its model, its optimiser and a source of batches."""
    net = dense(dtype)
    chosen = OPTIMIZERS[optimizer](net.parameters())

    def step(X, Y):
        cost = tg.losses.cross_entropy(net(X), Y)
        cost.backward()
        tg.optim.clip_by_norm(net.parameters(), 0.5)
        chosen.step()
        return {"cost": cost, "classes": 3}

    rng = np.random.default_rng(7)

    def batch():
        return rng.normal(size=(20, 6)).astype(dtype), rng.integers(0, 3, 20)

    return tg.compile(step, **options), net, chosen, batch


def assert_in_step(module, net, optimizer):
    """Parameters, states and counts of a module are those of the model."""
    for name, parameter in net.named_parameters():
        identical(module.parameters[name], parameter.data)
    theirs = getattr(module, type(optimizer).__name__.lower())
    assert theirs.steps == optimizer.steps
    state = optimizer.state()
    for i, mine in enumerate(theirs.states):
        for slot, x in zip(optimizer.slots, mine, strict=True):
            wanted = state[f"parameters.{i}.{slot}"]
            assert type(x) is type(wanted)
            identical(x, wanted)


def steps_alike(optimizer, dtype, folder, **options):
    """The module makes the steps that the compiled step makes, and resumes from a file."""
    step, net, chosen, batch = training(optimizer, dtype, **options)
    for _ in range(3):
        step(*batch())
    tg.export_numpy(folder / "step.py", step)
    module = load(folder / "step.py")
    for i in range(6):
        if i == 3:
            module.save()
            module = load(folder / "step.py")
        given = batch()
        assert_same(module.step(*given), step(*given))
        assert_in_step(module, net, chosen)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_exported_step_is_the_compiled_step(optimizer, dtype, tmp_path):
    """Costs, parameters, optimiser states, dropout: bit for bit, across a save."""
    steps_alike(optimizer, dtype, tmp_path)


def test_an_exact_step_too(tmp_path):
    """A step compiled with exact=True is exported with its bits."""
    steps_alike("Adam", np.float64, tmp_path, exact=True)


def test_runs_where_tinygrad_nn_cannot_be_imported(tmp_path):
    """A prediction and a step run, and save, in a Python that has NumPy alone."""
    step, net, chosen, batch = training("Adam")
    step(*batch())
    tg.export_numpy(tmp_path / "step.py", step)
    tg.export_numpy(tmp_path / "net.py", net, np.ones((2, 6)))
    batches = [batch() for _ in range(4)]
    for i, (X, Y) in enumerate(batches):
        np.savez(tmp_path / f"batch{i}.npz", X=X, Y=Y)
    start = {name: p.data.copy() for name, p in net.named_parameters()}
    net.eval()
    X = batches[0][0]
    predicted = net(X).numpy()
    net.train()
    costs = [step(*given)["cost"].item() for given in batches]
    told = isolated(tmp_path, """
import net, step
X = np.load("batch0.npz")["X"]
np.save("predicted.npy", net.predict(X))
costs = []
for i in range(4):
    if i == 2:
        step.save()
        del sys.modules["step"]
        import step
    batch = np.load(f"batch{i}.npz")
    costs.append(step.step(batch["X"], batch["Y"])["cost"].item())
step.save()
print(costs)
print([name for name in sys.modules if "tinygrad" in name and sys.modules[name]])
""")  # fmt: skip
    assert told == f"{costs}\n[]\n"
    identical(np.load(tmp_path / "predicted.npy"), predicted)
    assert_in_step(load(tmp_path / "step.py"), net, chosen)
    assert not any(np.array_equal(start[k], p.data) for k, p in net.named_parameters())


def test_a_prediction_is_a_command(tmp_path):
    """python net.py X.npy prints the prediction, as the file says."""
    model = columns()
    X = np.random.default_rng(0).normal(size=(2, 3))
    tg.export_numpy(tmp_path / "net.py", model, X, batch_axis=1)
    np.save(tmp_path / "X.npy", X)
    done = subprocess.run(
        [sys.executable, "net.py", "X.npy"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{model(X).numpy()}\n"
    assert "python net.py X.npy" in (tmp_path / "net.py").read_text()


def test_a_step_in_c_is_exported_as_numpy(tmp_path):
    """A step of another backend is recorded anew, and agrees to rounding."""
    try:
        step, net, _, batch = training("Adam", backend="c")
        step(*batch())
    except CompileError as error:
        pytest.skip(str(error))
    tg.export_numpy(tmp_path / "step.py", step)
    module = load(tmp_path / "step.py")
    for _ in range(3):
        given = batch()
        got, wanted = module.step(*given)["cost"], step(*given)["cost"].item()
        assert abs(got - wanted) <= 1e-12 * abs(wanted)
        for name, parameter in net.named_parameters():
            close(module.parameters[name], parameter.data, 1e-11)


def linear(**options):
    """Return a compiled step of two parameters with names that are in the way."""
    rng = np.random.default_rng(0)
    W = tg.Parameter(rng.normal(size=(4, 1)), name="save")
    b = tg.Parameter(np.zeros(1), name='b "1"\\/ω')
    optimizer = tg.optim.SGD([W, b], 0.1)

    @tg.compile(**options)
    def step(X, data):
        parameters = X @ W + b
        file = parameters - data
        stored = file**2
        save = stored.mean()
        optimizer.minimize(save)
        return [save, (file,), "text", None]

    return step, W, b, (rng.normal(size=(9, 4)), rng.normal(size=(9, 1)))


def test_the_users_names_are_not_in_the_way(tmp_path):
    """Variables and parameters may be called like parts of the module."""
    step, W, b, given = linear()
    step(*given)
    tg.export_numpy(tmp_path / "step.py", step)
    module = load(tmp_path / "step.py")
    got, wanted = module.step(*given), step(*given)
    assert got[2:] == ["text", None]
    assert_same(got[:2], wanted[:2])
    module.save()
    for name, tensor in (("save", W), ('b "1"\\/ω', b)):
        identical(load(tmp_path / "step.py").parameters[name], tensor.data)


def test_the_learning_rate_is_a_variable(tmp_path):
    """Setting the rate of the module does what setting the optimiser's does, and lasts."""
    step, net, chosen, batch = training("Adam")
    step(*batch())
    tg.export_numpy(tmp_path / "step.py", step)
    module = load(tmp_path / "step.py")
    module.adam.lr = chosen.lr = 0.2
    for _ in range(2):
        given = batch()
        assert_same(module.step(*given), step(*given))
        assert_in_step(module, net, chosen)
        module.save()
        module = load(tmp_path / "step.py")
        assert module.adam.lr == 0.2


def test_other_arguments_are_refused(tmp_path):
    """Buffers have the shapes that were exported: another shape or dtype is refused."""
    step, _, _, (X, Y) = linear()
    step(X, Y)
    tg.export_numpy(tmp_path / "step.py", step)
    module = load(tmp_path / "step.py")
    before = {key: value.copy() for key, value in module.parameters.items()}
    for x, y in ((X[:5], Y[:5]), (X, Y[:1]), (X.astype(np.float32), Y)):
        with pytest.raises(ValueError, match=r"expected float64 \(9, [14]\); got"):
            module.step(x, y)
    for key, value in before.items():
        identical(module.parameters[key], value)
    module.step(X.tolist(), Y)


def test_arguments_may_be_given_instead_of_a_call(tmp_path):
    """A step that was not called is exported for the arguments, without a step made."""
    step, W, _, given = linear()
    start = W.data.copy()
    tg.export_numpy(tmp_path / "step.py", step, *given)
    identical(W.data, start)
    assert_same(load(tmp_path / "step.py").step(*given)[:2], step(*given)[:2])


CLOSED = np.random.default_rng(8).normal(size=(30, 4))


def full_batch():
    W = tg.Parameter(np.ones(4), name="W")
    mean = tg.Tensor(np.zeros(()), name="mean")
    optimizer = tg.optim.Adam([W], 0.05)

    def step():
        Z = CLOSED @ W
        mean.data = 0.9 * mean + 0.1 * Z.mean()
        cost = ((Z - mean - 1) ** 2).mean()
        optimizer.minimize(cost)
        return cost

    return step, ()


def by_hand():
    W = tg.Parameter(np.ones((4, 1)), name="W")

    def step(X):
        cost = ((X @ W) ** 2).mean()
        (g,) = tg.gradients(cost, [W])
        with tg.no_grad():
            W.data = W - 0.1 * g
        return cost, g

    return step, (CLOSED,)


def accumulating():
    W = tg.Parameter(np.ones((4, 1)), name="W")

    def step(X):
        cost = (soft(X @ W) ** 2).mean()
        cost.backward()
        return cost, W.grad * 1.0

    return step, (CLOSED,)


def large():
    a = tg.Parameter(np.linspace(-1, 1, 150_000), name="a")

    def step(x):
        y = (tg.tanh(a * x) * a + tg.exp(-x * x)).sum()
        return y, tg.gradients(y, [a])[0]

    return step, (np.linspace(0, 1, 150_000),)


def with_zeros():
    w = tg.Parameter(np.zeros(5), name="w")
    optimizer = tg.optim.SGD([w], 0.1)

    def step(x):
        with np.errstate(divide="ignore", invalid="ignore"):
            cost = tg.where(x > 0, tg.log(x * (1 + w)), 0.0).sum()
        optimizer.minimize(cost)
        return cost

    return step, (np.array([0.0, 1.0, 2.0, 0.0, 3.0]),)


def two_optimizers():
    V = tg.Parameter(np.ones(4), name="W")
    W = tg.Parameter(np.ones(4), name="W")
    first, second = tg.optim.SGD([W], 0.1, momentum=0.5), tg.optim.SGD([V], 0.2)

    def step(X):
        one, two = ((X @ W) ** 2).mean(), ((X @ V - 1) ** 2).mean()
        first.minimize(one)
        second.minimize(two)
        return one, two

    return step, (CLOSED,)


def generator(kind):
    def make():
        W = tg.Parameter(np.ones((4, 1)), name="W")
        optimizer = tg.optim.SGD([W], 0.1)
        drop = tg.nn.Dropout(0.3, rng=np.random.Generator(kind(3)))

        def step(X):
            cost = ((drop(X) @ W - 1) ** 2).mean()
            optimizer.minimize(cost)
            return cost

        return step, (CLOSED,)

    return make


STEPS = {
    "full batch": full_batch,
    "by hand": by_hand,
    "accumulating": accumulating,
    "large": large,
    "with zeros": with_zeros,
    "two optimizers": two_optimizers,
    "MT19937": generator(np.random.MT19937),
    "Philox": generator(np.random.Philox),
    "SFC64": generator(np.random.SFC64),
}


def results_alike(make, folder):
    function, given = make()
    step = tg.compile(function)
    for _ in range(2):
        step(*given)
    tg.export_numpy(folder / "step.py", step)
    module = load(folder / "step.py")
    for i in range(4):
        if i == 2 and hasattr(module, "save"):
            module.save()
            module = load(folder / "step.py")
        assert_same(module.step(*given), step(*given))


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", STEPS)
def test_steps_of_every_kind(name, tmp_path):
    """Results equal the compiled step's, call after call, across a save."""
    results_alike(STEPS[name], tmp_path)


def test_a_number_that_is_not_finite_is_named(tmp_path):
    """check_finite is exported, and names op and line without the way to the file."""
    step, _, _, (X, Y) = linear(check_finite=True)
    step(X, Y)
    tg.export_numpy(tmp_path / "step.py", step)
    module = load(tmp_path / "step.py")
    before = module.parameters["save"].copy()
    with pytest.raises(FloatingPointError, match=r"^matmul at test_export.py:\d+: exp"):
        module.step(X * np.inf, Y)
    identical(module.parameters["save"], before)


def test_labels_are_looked_at(tmp_path):
    """A check that a loss makes at each call is in the file."""
    step, _, _, batch = training("SGD")
    X, Y = batch()
    step(X, Y)
    tg.export_numpy(tmp_path / "step.py", step)
    with pytest.raises(ValueError, match="classes go from 0 to 2; got 3 at row 4"):
        load(tmp_path / "step.py").step(X, np.where(np.arange(20) == 4, 3, Y))


# --- refusals ------------------------------------------------------------------------


def net_and_X():
    return tg.nn.Dense(3, 2, rng=0), np.ones((4, 3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.txt", r"ends in \.py; got '.*net\.txt'\. Write '.*net\.py'"),
        ("net", r"ends in \.py"),
        ("my-net.py", r"named like a module .*; got 'my-net.py'\. Write 'net\.py'"),
        ("class.py", "named like a module"),
        ("numpy.py", "named like a module"),
        ("away/net.py", r"a directory that is there; got .*\. Make '.*away' first"),
    ],
)
def test_paths_that_cannot_be(name, message, tmp_path):
    """A path is a module in a directory that is there; else the error says what to do."""
    net, X = net_and_X()
    with pytest.raises(SaveError, match=message) as caught:
        tg.export_numpy(tmp_path / name, net, X)
    assert str(caught.value).startswith("export_numpy: ")
    assert not list(tmp_path.iterdir())


def reads_a_value(X):
    return X * 2 if float(tg.sum(X)) > 0 else X


def draws(X):
    return tg.where(tg.ops.uniform(X, np.random.default_rng(0)) > 0.5, X, 0.0)


KEPT = tg.Parameter(np.ones(3), name="kept")
KEEPER = tg.optim.SGD([KEPT], 0.1)


def trains(X):
    cost = (X @ KEPT).sum()
    KEEPER.minimize(cost)
    return cost


X43 = np.ones((4, 3))


def share_memory():
    a = np.ones((4, 1))
    W, V = tg.Parameter(a, name="W"), tg.Tensor(a, name="V")
    return tg.compile(lambda X: (X @ W + X @ V).sum())


def waits():
    W = tg.Parameter(np.ones(3), name="W")
    step = tg.compile(lambda X: (X @ W).sum().backward())
    step(X43)
    return step


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (lambda: reads_a_value, (X43,), r"^compile: .*test_export.py"),
        (lambda: draws, (X43,), "random numbers at .*test_export.py"),
        (lambda: trains, (X43,), r"got a function that changes kept\. Export the step"),
        (lambda: tg.nn.Dense(3, 2, rng=0), (), r"got no array\. Pass one"),
        (lambda: 3, (X43,), "expected a model, a function of arrays, or a compiled"),
        (lambda: tg.tanh, (np.ones(()),), "axis 0 that is not empty"),
        (lambda: tg.tanh, (np.ones((0, 2)),), "axis 0 that is not empty"),
        (lambda: tg.compile(tg.tanh), (), r"got one that was not\. Call it, or pass"),
        (share_memory, (np.ones((2, 4)),), "which share memory"),
        (waits, (), "another when the gradient of 'W' waits"),
    ],
)
def test_models_that_cannot_be_exported(make, given, message, tmp_path):
    """What cannot be exported is refused by name, and nothing is written."""
    with pytest.raises(CompileError, match=message):
        tg.export_numpy(tmp_path / "net.py", make(), *given)
    assert not list(tmp_path.iterdir())
    identical(KEPT.data, np.ones(3))


def test_no_machine_paths(tmp_path):
    """Neither where it was written nor where the code lies is in the files."""
    step, net, _, batch = training("Adam", check_finite=True)
    step(*batch())
    tg.export_numpy(tmp_path / "step.py", step)
    tg.export_numpy(tmp_path / "net.py", net, np.ones((2, 6)))
    homes = {str(tmp_path), str(Path(__file__).parent), str(Path(tg.__file__).parent)}
    for name in ("step.py", "step.npz", "net.py", "net.npz"):
        content = (tmp_path / name).read_bytes()
        for home in homes:
            assert home.encode() not in content, name
    for name in ("step.py", "net.py"):
        text = (tmp_path / name).read_text()
        assert "import tinygrad" not in text
        assert "test_export.py:" in text or name == "net.py"
        compile(text, name, "exec")


@pytest.mark.parametrize("broken", ["write_array", "replace"])
def test_nothing_half_written(broken, tmp_path, monkeypatch):
    """When writing fails, both files are what they were and nothing is left over."""
    net, X = net_and_X()
    tg.export_numpy(tmp_path / "net.py", net, X)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["net.npz", "net.py"]
    net.weight.data = net.weight.data + 1

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    if broken == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(SaveError, match="No space left on device"):
        tg.export_numpy(tmp_path / "net.py", net, X)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_arrays_are_there_before_the_text(tmp_path, monkeypatch):
    """Whoever imports the new text finds the new arrays: the .npz is moved first."""
    moved = []
    replace = Path.replace

    def noted(part, place):
        moved.append(place.suffix)
        return replace(part, place)

    monkeypatch.setattr(Path, "replace", noted)
    tg.export_numpy(tmp_path / "net.py", *net_and_X())
    assert moved == [".npz", ".py"]


def test_equal_models_make_equal_files(tmp_path):
    """Exporting twice gives the same bytes: no times, no counters, no addresses."""
    files = []
    for _ in range(2):
        tg.export_numpy(tmp_path / "net.py", dense(), np.ones((2, 6)))
        files.append([(tmp_path / n).read_bytes() for n in ("net.py", "net.npz")])
    assert files[0] == files[1]


# --- mutants -------------------------------------------------------------------------


def _swapped(function):
    def spelled(op, inputs, settings, ranks):
        if op.name == "matmul" and len(inputs) == 2:
            inputs = inputs[::-1]
        return function(op, inputs, settings, ranks)

    return spelled


def _in_float32(function):
    return lambda file, arrays: function(
        file, {k: np.asarray(v).astype(np.float32) for k, v in arrays.items()}
    )


def _without(word):
    """Leave the lines with a word out of a text."""

    def change(function):
        def lines(*args):
            return [line for line in function(*args) if word not in line]

        return lines

    return change


def _fixed(_function):
    return lambda found, _sizes, _n: repr(found[0])


def _other_signs(function):
    def write(self, value, wanted, who):
        name = function(self, value, wanted, who)
        self.lines = [line.replace("x - ", "x + ") for line in self.lines]
        return name

    return write


Step = export_step._Module
MUTANTS = {
    "operands swapped": (
        prediction, "spelled", _swapped,
        lambda d: predicts_the_same_bits(*MODELS["dense"], d),
    ),
    "arrays rounded": (
        export, "_pack", _in_float32,
        lambda d: predicts_the_same_bits(*MODELS["dense"], d),
    ),
    "sizes frozen": (
        prediction, "_formula", _fixed,
        lambda d: predicts_the_same_bits(*MODELS["own"], d),
    ),
    "a helper changed": (
        inlined.Inlined, "function", _other_signs,
        lambda d: op_has_the_same_bits(REGISTRY["softmax"], REGISTRY["softmax"].samples[1], d),
    ),
    "counts not saved": (
        Step, "_save", _without("steps"),
        lambda d: steps_alike("Adam", np.float64, d),
    ),
    "states not saved": (
        Step, "_save", _without("{slot}"),
        lambda d: steps_alike("momentum", np.float64, d),
    ),
    "random numbers not saved": (
        Step, "_save", _without("json"),
        lambda d: steps_alike("SGD", np.float64, d),
    ),
    "parameters not saved": (
        Step, "_save", _without('{key}"] = x'),
        lambda d: steps_alike("SGD", np.float64, d),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_noticed(name, tmp_path, monkeypatch):
    """An exporter with one fault breaks a law."""
    owner, attribute, change, law = MUTANTS[name]
    law(tmp_path)
    monkeypatch.setattr(owner, attribute, change(getattr(owner, attribute)))
    bodies.expression_of.cache_clear()
    with pytest.raises((AssertionError, LookupError, ValueError, SyntaxError)):
        law(tmp_path)
