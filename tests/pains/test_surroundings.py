"""Reports about what is around: NumPy beside Tensors, NumPy's releases, size, pictures."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from pains.asking import slopes
from tinygrad_nn.errors import DetachedError, MissingExtraError, TinygradError

HOUSE = Path(tg.__file__).parent
MODULES = sorted(HOUSE.rglob("*.py"))

# --- 18. NumPy and Tensors in one expression ---


@pytest.mark.parametrize("scalar", [np.float32(2.0), np.float64(2.0), np.int64(2), 2.0])
def test_pytorch_9468_numpy_scalars(scalar):
    """A tensor times a NumPy number worked in one of four orders and types; here it works in all, with NumPy's own result and type."""
    data = np.ones(2, np.float32)
    tensor = tg.Parameter(data)
    for product, plain in (
        (tensor * scalar, data * scalar),
        (scalar * tensor, scalar * data),
    ):
        assert product.requires_grad
        assert product.dtype == plain.dtype
        assert product.numpy().tolist() == [2.0, 2.0]


def test_pytorch_59237_array_times_tensor():
    """Whether NumPy or the library multiplied was up to the order of operands; here every order records, and has a gradient.

    Also pytorch #46829, pytorch #9651, numpy #8155.
    """
    a, t = np.arange(10.0), np.arange(10.0) + 1
    for f in (
        lambda t: a * t,
        lambda t: t * a,
        lambda t: np.multiply(a, t),
        lambda t: np.multiply(t, a),
    ):
        assert slopes(f, t).tolist() == a.tolist()
    t = tg.Parameter(np.arange(3.0))
    assert (
        (t + -np.arange(3.0)).tolist()
        == (-np.arange(3.0) + t).tolist()
        == [0.0, 0.0, 0.0]
    )
    assert isinstance(np.diag([1.0, 1.0, -1.0]) @ t, tg.Tensor)
    assert slopes(lambda t: np.diag([1.0, 1.0, -1.0]) @ t, t.data).tolist() == [
        1.0,
        1.0,
        -1.0,
    ]


def test_tinygrad_4179_array_of_no_axes():
    """np.array(3) times a tensor of shape (3, 3) had the shape (3, 3, 0); here it has (3, 3)."""
    product = np.array(3) * tg.Parameter(np.ones((3, 3)))
    assert product.shape == (3, 3)
    assert (product.numpy() == 3).all()


def test_hips_416_plain_numpy():
    """With the plain `import numpy`, `'ArrayBox' object has no attribute 'exp'`; here it is the only one there is."""
    sigmoid = tg.grad(lambda x: 1.0 / (1.0 + np.exp(-x)))
    np.testing.assert_allclose(sigmoid(0.5), 1 / (2 + 2 * np.cosh(0.5)), rtol=1e-15)


def test_hips_362_values_leave_the_graph():
    """How to get a plain array out, for a plot, was asked again and again; here `.numpy()` gives it at once, and what would drop a gradient unasked says so.

    Also HIPS #427, pytorch #48628.
    """
    x = tg.Parameter([1.0, 2.0])
    y = x * x
    assert type(y.numpy()) is np.ndarray
    assert y.numpy().tolist() == [1.0, 4.0]
    with pytest.raises(DetachedError, match=r"\.numpy\(\)"):
        np.asarray(y)
    assert np.asarray(y.detach()).tolist() == [1.0, 4.0]


def test_pytorch_48628_indexing_by_each_other():
    """Which of array[tensor] and tensor[array] work was written nowhere; here both do, for integers and for masks."""
    a, t = np.array([10.0, 20.0, 30.0]), tg.Tensor([1.0, 2.0, 3.0])
    i = np.array([2, 0])
    assert t[i].tolist() == t[tg.Tensor(i)].tolist() == [3.0, 1.0]
    assert t[t > 1].tolist() == t[np.array([False, True, True])].tolist() == [2.0, 3.0]
    assert a[tg.Tensor(i)].tolist() == [30.0, 10.0]
    assert a[np.asarray(t > 1)].tolist() == [20.0, 30.0]


# --- 23. Releases of NumPy ---


def walk(tree):
    """Walk a module's tree, past what stands under ``if hasattr(np, …)`` that is not so."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        asked = isinstance(node, ast.If) and re.fullmatch(
            r"hasattr\(np, '(\w+)'\)", ast.unparse(node.test)
        )
        waiting += (
            node.orelse
            if asked and not hasattr(np, asked[1])
            else ast.iter_child_nodes(node)
        )


def uses_of_numpy(module):
    """Return every dotted name of NumPy that a module uses, as ``numpy.linalg.norm``."""
    used = set()
    for node in walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            used |= {name for name in names if name.split(".")[0] == "numpy"}
        elif (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").split(".")[0] == "numpy"
        ):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if re.fullmatch(r"np(\.\w+)+", name):
                used.add(name.replace("np", "numpy", 1))
    return used


PUBLIC = {
    *("dtypes", "exceptions", "fft", "linalg", "polynomial", "random", "strings"),
    *("testing", "typing", "lib", "lib.array_utils", "lib.format", "lib.introspect"),
    *("lib.mixins", "lib.npyio", "lib.stride_tricks"),
}
"""Public modules of NumPy; ``numpy.core`` and whatever begins with a line are not."""


def test_hips_622_only_what_numpy_promises():
    """A name that NumPy had never promised was gone in its next release, and the import died; here every name in use is a public and undeprecated one.

    Also HIPS #625, HIPS #618, HIPS #658, pymoo #606, reliability #50, meep #2857, pyerrors #191.
    """
    assert len(MODULES) > 100
    for module in MODULES:
        for name in uses_of_numpy(module):
            parts = name.split(".")[1:]
            assert not [part for part in parts if re.match(r"_(?!_\w+__$)", part)], (
                f"{module}: {name}"
            )
            found = np
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                for depth, part in enumerate(parts, start=1):
                    found = getattr(found, part)
                    if isinstance(found, type(np)):
                        inner = ".".join(parts[:depth])
                        assert inner in PUBLIC, f"{module}: {name}"


def test_hips_658_no_upper_bound():
    """Libraries pinned NumPy below its next major release, and so did all that use them; here there is no upper bound."""
    project = (HOUSE.parent / "pyproject.toml").read_text("utf-8")
    (dependencies,) = re.findall(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)
    assert re.search(r'"numpy>=\d+\.\d+"', dependencies)


# --- 24. The weight of the alternative ---

TRAINS = """
import sys
for extra in "tqdm sklearn scipy matplotlib jax threadpoolctl pygraphviz mpmath".split():
    sys.modules[extra] = None  # as if it were not installed
import tinygrad_nn as tg
X, y = tg.data.moons(40, rng=0)
net = tg.nn.Sequential(tg.nn.Dense(2, 8, activation="tanh", rng=0), tg.nn.Dense(8, 2, rng=1))
tg.fit(net, tg.losses.cross_entropy, tg.optim.Adam(net, lr=0.1), (X, y), epochs=60, rng=0)
print(tg.training.accuracy(net(X).numpy(), y) > 0.8)
print("tanh" in str(tg.draw(net, X)))
for name, module in sorted(sys.modules.items()):
    place = getattr(module, "__file__", None) or ""
    if "." not in name and "site-packages" in place:  # what else it found
        print(name)
"""


def test_pytorch_26340_numpy_is_enough(tmp_path):
    """A library for small networks came with gigabytes, or a compiler that had to be there; here training needs NumPy and no program, and drawing `graphviz`.

    Also pytorch #17621, pytorch #12609, pytorch #478, pocket-tts #219.
    """
    environment = {
        "PYTHONPATH": str(HOUSE.parent),
        "PATH": "",
        "HOME": str(tmp_path),
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", TRAINS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    right, drawn, *modules = done.stdout.split()
    assert (right, drawn) == ("True", "True")
    assert {name for name in modules if not name.startswith("_")} <= {
        "numpy",
        "graphviz",
        "tinygrad_nn",
    }


def test_pocket_tts_219_less_than_two_megabytes():
    """The wheels of a library for CPUs had 3 GB; here all files together, compressed, have less than two MB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in HOUSE.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                wheel.write(file, file.relative_to(HOUSE))
    assert 100_000 < len(packed.getvalue()) < 2_000_000


# --- 25. Pictures ---


def neuron():
    """Return the expression of the lecture, L = (a b + c) f."""
    a, b = tg.Parameter(2.0, name="a"), tg.Parameter(-3.0, name="b")
    c, f = tg.Parameter(10.0, name="c"), tg.Parameter(-2.0, name="f")
    e = a * b
    d = e + c
    return d * f


def test_cntk_2197_no_graphviz_program(tmp_path, monkeypatch):
    """Where the program `dot` was missing there was no picture, and an error from deep inside; here five forms need no program, and the others say what to install.

    Also ibis #4837, eo-learn #676, pytorchviz #89, MyGrad #69, graphviz #68.
    """
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    drawing = tg.draw(neuron())
    assert "multiply" in str(drawing)
    for suffix in ("html", "dot", "mmd", "json"):
        assert drawing.save(tmp_path / f"L.{suffix}").stat().st_size > 100
    for suffix in ("svg", "png", "pdf"):
        with pytest.raises(
            (MissingExtraError, TinygradError), match=r"tinygrad_nn\[draw\]"
        ):
            drawing.save(tmp_path / f"L.{suffix}")
        assert not (tmp_path / f"L.{suffix}").exists()


def test_zero_to_hero_80_drawn_before_backward():
    """Students drew before `backward`, and saw gradients that are all zero; here the gradients are computed for the picture, and no `.grad` is touched.

    Also nn-zero-to-hero #40, nn-zero-to-hero #81.
    """
    L = neuron()
    told = str(tg.draw(L))
    for name, value, grad in (("a", 2, 6), ("b", -3, -4), ("c", 10, -2), ("f", -2, 4)):
        assert re.search(rf"─ {name}: {value} \| grad {grad}$", told, re.MULTILINE), (
            told
        )
    assert L.inputs[1].grad is None


def test_pytorchviz_71_a_large_graph():
    """A recurrent network was drawn as thousands of boxes, larger than any screen; here what repeats is one card, unless asked.

    Also torchlens #24, torchview #19.
    """
    W, U = tg.Parameter(np.eye(3) / 2, name="W"), tg.Parameter(np.eye(3) / 3, name="U")
    state = np.zeros(3)
    for x in np.ones((500, 3)):
        state = np.tanh(W @ x + U @ state)
    drawing = tg.draw(np.sum(state))
    assert (
        drawing.dot.count("\n")
        < 1_000
        < tg.draw(np.sum(state), fold=False).dot.count("\n")
    )
    assert "W" in str(drawing)


def test_torchvista_3_depth_of_layers():
    """How deep a model is unfolded could not be chosen; here `depth=` says it, from one card for each part to every op.

    Also torchview #97, torchview #103.
    """
    block = [
        tg.nn.Sequential(
            tg.nn.Dense(4, 4, activation="tanh", rng=i), tg.nn.Dense(4, 4, rng=9)
        )
        for i in range(3)
    ]
    net, x = tg.nn.Sequential(*block), np.ones((2, 4))
    lines = [len(str(tg.draw(net, x, depth=depth)).splitlines()) for depth in (0, 1, 2)]
    lines.append(len(str(tg.draw(net, x, fold=False)).splitlines()))
    assert lines[0] < lines[1] <= lines[2] <= lines[3]
    assert lines[0] < lines[3]


def test_pytorchviz_21_parameters_without_a_name():
    """A parameter that the picture had no name for was a KeyError; here a layer's parameters are named by their places, and the rest by the variable."""
    h1 = tg.nn.Dense(1, 1, rng=0)
    inputs = tg.Parameter(np.zeros((1, 1)))
    inputs.data = np.ones((1, 1))
    told = str(tg.draw(h1(inputs)))
    assert "weight" in told
    assert "inputs" in told


def test_micrograd_105_backward_as_a_film(tmp_path):
    """A backward pass to watch, node by node, was asked for and never came; here it is one offline page, with every node, value and gradient in it."""
    drawing = tg.draw(neuron())
    page = drawing.save(tmp_path / "L.html").read_text("utf-8")
    assert "default-src 'none'" in page  # it asks no address for anything
    assert "<script" in page
    cards = json.loads(drawing.json)["cards"]
    shown = {
        card["name"]: (card["value"]["mean"], card["grad"]["mean"]) for card in cards
    }
    assert {
        "a": (2, 6),
        "b": (-3, -4),
        "c": (10, -2),
        "f": (-2, 4),
    }.items() <= shown.items()
    assert sorted(card["op"] for card in cards if card["op"]) == [
        "add",
        "multiply",
        "multiply",
    ]
