"""The command `tinygrad-nn draw`: files, functions, runs, and what it refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tinygrad_nn.cli import main

FILE = """
import numpy as np

X = np.array([[1.0, -2.0, 0.5]])
Y = np.array([[1.0, 0.0, 1.0]])
params = {"W": np.array([[0.5], [-1.0]]), "V": np.array([[2.0, 1.0]])}

def cost(X, Y, params):
    A = np.tanh(params["W"] @ X)
    return ((params["V"] @ A - Y) ** 2).mean()

def pair(X, params):
    A = np.tanh(params["W"] @ X)
    return A, (A * A).sum()

def nothing(X):
    return 3

def lacks(X, missing):
    return X

def fails(X):
    return X @ X
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "backprop.py"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "flower"
    words = ["train", "flower", "--epochs", "1", "--layers", "3", "--quiet"]
    assert main([*words, "--out", str(out)]) == 0
    return out


def told(path):
    return json.loads(path.read_text("utf-8"))


def test_a_function_is_drawn_with_its_gradients(file, tmp_path, capsys):
    """Floats of the file become inputs, and the picture shows the slopes of the formula."""
    out = tmp_path / "x.json"
    assert main(["draw", f"{file}:cost", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    cards = {card["name"]: card for card in told(out)["cards"]}
    W, V = np.array([[0.5], [-1.0]]), np.array([[2.0, 1.0]])
    X, Y = np.array([[1.0, -2.0, 0.5]]), np.array([[1.0, 0.0, 1.0]])
    A = np.tanh(W @ X)
    d = 2 * (V @ A - Y) / 3
    np.testing.assert_allclose(cards["V"]["grad"]["cells"], d @ A.T, rtol=1e-12)
    np.testing.assert_allclose(
        cards["W"]["grad"]["cells"], (V.T @ d * (1 - A**2)) @ X.T, rtol=1e-12
    )
    assert cards["Y"]["constant"]


def test_without_a_file_the_tree_is_printed(file, capsys):
    """The tree of the picture, with the title that was typed."""
    assert main(["draw", f"{file}:cost"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("backprop.py:cost")
    assert sum("V (1, 2): [2, 1] | grad [" in line for line in lines) == 1


def test_of_several_results_the_number_is_drawn(file, capsys):
    """What has gradients to show is drawn, though it is returned last."""
    assert main(["draw", f"{file}:pair"]) == 0
    assert "sum = Σ multiply" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["dot", "mmd", "html", "json"])
def test_a_run_is_drawn_in_every_form(run, tmp_path, suffix):
    """A run's loss is computed anew, on its data or on made examples."""
    for data in ([], ["--data", "flower"]):
        out = tmp_path / f"x.{suffix}"
        assert main(["draw", str(run), *data, "--out", str(out)]) == 0
        assert out.stat().st_size > 500
        if suffix == "json":
            assert all(card["told"] for card in told(out)["cards"])


def test_a_run_shows_what_was_learnt(run, tmp_path):
    """The parameters drawn are those that were saved."""
    out = tmp_path / "x.json"
    assert main(["draw", str(run), "--out", str(out)]) == 0
    cards = {card["name"]: card for card in told(out)["cards"]}
    with np.load(run / "model.npz") as saved:
        (weight,) = [saved[x] for x in saved.files if x.endswith("layers.0.weight")]
    np.testing.assert_array_equal(cards["layers.0.weight"]["value"]["cells"], weight)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{file}"], "expected a function of it, .*:cost; got the file alone"),
        (["{file}:cots"], "got 'cots'. It has cost, .*Did you mean 'cost'"),
        (["{file}:nothing"], "returns a Tensor; got int"),
        (
            ["{file}:lacks"],
            r"no value for 'missing'\. Give it in the file: missing = …",
        ),
        (["{file}:fails"], r"expected a function that runs; got ShapeError"),
        (["{file}:X"], "expected a function or a Tensor; got ndarray"),
        (["{file}:cost", "--data", "flower"], "--data: expected none"),
        (["{file}:cost", "--out", "x.gif"], r"got 'x\.gif'"),
        (["{file}:cost", "--theme", "drak"], "did you mean 'dark'"),
        (["nowhere"], "expected the directory of a run"),
        (["nowhere.py:f"], "expected a file of Python"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(file, capsys, words, said):
    """Exit code 2, and a line that says what to do."""
    try:
        code = main(["draw", *(word.format(file=file) for word in words)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    text = capsys.readouterr().err
    assert re.search(said, text), text
    assert text.count("\n") == 1
