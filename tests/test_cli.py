"""Laws of the command line: what a run leaves, how it goes on, how it refuses."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygrad_nn
from tinygrad_nn import data
from tinygrad_nn.cli import main
from tinygrad_nn.cli.network import read_run
from tinygrad_nn.cli.run import split_of
from tinygrad_nn.cli.settings import MAKERS
from tinygrad_nn.cli.sources import NAMED, examples
from tinygrad_nn.nn import Dense
from tinygrad_nn.optim import Adam
from tinygrad_nn.recording import current
from tinygrad_nn.training import load, save

QUICK = ("--epochs", "2", "--layers", "5,4")
EVERYWHERE = {"model.npz", "history.csv", "cost.png", "graph.dot"}
EVERYWHERE |= {"graph.svg"} if shutil.which("dot") else set()


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    """Every test has its own working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictureless(monkeypatch):
    """Runs without pictures are quicker, where pictures are not looked at."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def call(capsys):
    """Run a command in this process; give exit code and both streams."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def tree():
    """Everything in the working directory, with its bytes."""
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(Path().rglob("*"))
    }


def table(path, rows, header=("a", "b", "kind")):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([header, *rows])
    return path


def plants(path="plants.csv", n=40):
    """Two numbers and a class with an awkward name."""
    rng = np.random.default_rng(0)
    kinds = ['oak, "English"', "elm", "ash\nFraxinus"]
    rows = []
    for i in range(n):
        a, b = rng.normal(size=2)
        rows.append([a + i % 3, b, kinds[i % 3]])
    return table(path, rows)


def houses(path="houses.csv", n=40):
    """Three numbers, the last of which follows from the others."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(n):
        a, b = rng.normal(size=2)
        rows.append([a, b, 1000 + 100 * a - 50 * b])
    return table(path, rows, ("a", "b", "price"))


def read(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


# --- what a run leaves ---


@pytest.mark.parametrize(
    ("words", "picture"),
    [
        (["flower"], "boundary.png"),
        (["moons"], "boundary.png"),
        (["digits"], "confusion.png"),
        (["breast-cancer"], "confusion.png"),
        (["iris"], "confusion.png"),
        (["wine"], "confusion.png"),
        (["diabetes"], "predictions.png"),
        (["plants.csv", "--target", "kind"], "boundary.png"),
        (["houses.csv", "--target", "price"], "predictions.png"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_run_leaves_complete_files(call, words, picture):
    """Model, history and pictures of every kind of data, and nothing else."""
    plants()
    houses()
    code, out, err = call("train", *words, *QUICK, "--out", "run")
    assert (code, err) == (0, "")
    assert {path.name for path in Path("run").iterdir()} == EVERYWHERE | {picture}
    for name in ("cost.png", picture):
        assert Path("run", name).read_bytes().startswith(b"\x89PNG")
    assert [row["epoch"] for row in read("run/history.csv")] == ["1", "2"]
    assert "digraph" in Path("run/graph.dot").read_text()
    if "graph.svg" in EVERYWHERE:
        assert ET.parse("run/graph.svg").getroot().tag.endswith("svg")
    load("run/model.npz")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["train", "test", "wrote"]
    measure = "R2" if picture == "predictions.png" else "accuracy"
    assert all(measure in line for line in lines[2:4])


@pytest.mark.usefixtures("pictureless")
def test_the_printed_accuracy_is_that_of_the_kept_model(call):
    """What is printed can be computed again from the files."""
    _, out, _ = call("train", "iris", *QUICK, "--out", "run", "--seed", "3")
    run = read_run("run", np.random.default_rng(0))
    split = split_of(examples("iris", None), run.settings)
    for part in ("train", "test"):
        X, y = getattr(split, f"X_{part}"), getattr(split, f"y_{part}")
        share = np.mean(run.network.classes(X) == y)
        assert f"{part:5} accuracy {share:.4f}" in out


@pytest.mark.usefixtures("pictureless")
def test_the_test_part_has_no_part_in_training(call):
    """Scales come from the training part alone; classes are split in proportion."""
    call("train", "wine", *QUICK, "--out", "run", "--quiet")
    run = read_run("run", np.random.default_rng(0))
    wine = data.wine()
    split = split_of(wine, run.settings)
    assert np.array_equal(run.network.inputs.mean, split.X_train.mean(axis=0))
    assert not np.allclose(run.network.inputs.mean, wine.X.mean(axis=0))
    shares = [np.bincount(y) / len(y) for y in (split.y_train, split.y_test)]
    np.testing.assert_allclose(*shares, atol=0.03)


@pytest.mark.usefixtures("pictureless")
def test_regression_is_measured_in_the_targets_own_units(call):
    """The error printed is that of prices, not of standardised numbers."""
    houses()
    words = ("houses.csv", "--target", "price", "--layers", "none", "--epochs", "200")
    _, out, _ = call("train", *words, "--lr", "0.05", "--out", "run")
    run = read_run("run", np.random.default_rng(0))
    split = split_of(examples("houses.csv", "price"), run.settings)
    error = np.sqrt(np.mean((run.network.numbers(split.X_test) - split.y_test) ** 2))
    assert f"root mean squared error {error:.6g}" in out
    assert error < 5


@pytest.mark.usefixtures("pictureless")
def test_a_seed_decides_everything(call):
    """Equal seeds leave equal files, another seed another model."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ("--dropout", "0.2", "--seed", seed, "--out", name, "--quiet")
        call("train", "moons", *QUICK, *words)
    for name in ("model.npz", "history.csv", "graph.dot"):
        a, b, c = (Path(run, name).read_bytes() for run in "abc")
        assert a == b
        assert a != c


@pytest.mark.usefixtures("pictureless")
def test_every_option_reaches_the_network(call):
    """Layers, activation, dropout, optimiser and the rest are what was asked for."""
    words = "--layers 7,6 --activation tanh --optimizer rmsprop --lr 0.02 --epochs 3"
    more = "--batch-size 50 --l2 0.5 --dropout 0.25 --seed 4 --test-size 0.5"
    code, out, _ = call("train", "moons", *words.split(), *more.split(), "--out", "run")
    assert code == 0
    assert "200 to train on, 200 to test on" in out
    run = read_run("run", np.random.default_rng(0))
    assert run.network.sizes == (2, 7, 6, 1)
    text = repr(run.network.model)
    assert text.count("activation=tanh") == text.count("Dropout(0.25)") == 2
    saved = load("run/model.npz")
    assert saved.step == 3
    assert saved.optimizer["lr"] == 0.02
    assert saved.optimizer["steps"] == 3 * 4


@pytest.mark.usefixtures("pictureless")
@pytest.mark.parametrize("name", MAKERS)
def test_every_optimizer_learns(call, name):
    """The usual rate of each optimiser brings the cost down."""
    words = ("--epochs", "5", "--layers", "8", "--optimizer", name, "--quiet")
    call("train", "moons", *words, "--out", "run")
    losses = [float(row["loss"]) for row in read("run/history.csv")]
    assert losses[-1] < losses[0]


@pytest.mark.usefixtures("pictureless")
@pytest.mark.parametrize(
    "words", [("iris",), ("moons", "--dropout", "0.3"), ("diabetes", "--l2", "0")]
)
def test_compiled_runs_agree_with_eager_ones(call, words):
    """The default compiles every step, and says so; models agree but for rounding."""
    models = []
    for backend in ("numpy", "eager"):
        code, out, _ = call(
            "train", *words, "--epochs", "5", "--backend", backend, "--out", backend
        )
        assert code == 0
        models.append(load(f"{backend}/model.npz"))
        told = {"numpy": "steps compiled to NumPy", "eager": "steps not compiled"}
        assert out.splitlines()[1].endswith(f", epochs 1 to 5, {told[backend]}")
        assert out.splitlines()[2].startswith("train ")
        run = read_run(backend, np.random.default_rng(0))
        assert run.settings.backend == backend
    ours, theirs = (saved.model for saved in models)
    for name, value in theirs.items():
        if "weight" in name:
            np.testing.assert_allclose(ours[name], value, rtol=1e-9, atol=1e-12)
    call("train", *words, "--epochs", "5", "--out", "default", "--quiet")
    assert tree_of("default") == tree_of("numpy")


@pytest.mark.usefixtures("pictureless")
def test_steps_that_were_not_compiled_are_told(call, monkeypatch):
    """What stands in the way of compiling is a line of the report."""
    step = Adam.step

    def own(self):
        step(self)

    monkeypatch.setattr(Adam, "step", own)
    code, out, _ = call("train", "moons", *QUICK, "--out", "run")
    assert code == 0
    line = "no steps were compiled: Adam makes its steps in a way of its own"
    assert out.splitlines()[2] == line


@pytest.mark.usefixtures("pictureless")
def test_a_backend_that_is_not_there_names_the_extra(call, monkeypatch):
    """One line tells what to install, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, "jax", None)
    code, _, err = call("train", "moons", *QUICK, "--backend", "jax", "--out", "run")
    assert_refused(code, err, "tinygrad_nn[jax]")
    assert tree() == {}


@pytest.mark.usefixtures("pictureless")
def test_l2_makes_weights_smaller(call):
    """The penalty is in the cost that is trained on."""
    norms = []
    for strength in ("0", "0.5"):
        words = ("--l2", strength, "--epochs", "30", "--layers", "8", "--lr", "0.01")
        call("train", "moons", *words, "--quiet", "--out", f"l2-{strength}")
        model = load(f"l2-{strength}/model.npz").model
        norms.append(sum(np.sum(v**2) for k, v in model.items() if "weight" in k))
    assert norms[1] < norms[0] / 2


@pytest.mark.usefixtures("pictureless")
def test_without_out_each_run_has_a_new_directory(call):
    """The same command twice makes two runs and no error."""
    for i in (1, 2):
        code, out, _ = call("train", "moons", *QUICK)
        assert code == 0
        assert f"to {Path('runs', f'moons-{i}')}\n" in out
        assert Path("runs", f"moons-{i}", "model.npz").is_file()


@pytest.mark.usefixtures("pictureless")
def test_quiet_prints_nothing(call):
    """Only errors are said."""
    assert call("train", "moons", *QUICK, "--quiet") == (0, "", "")


def test_a_run_needs_no_matplotlib(call, monkeypatch):
    """The model is there, and the extra that gives the pictures is named."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = call("train", "moons", *QUICK, "--out", "run")
    assert (code, err) == (0, "")
    assert "pip install 'tinygrad_nn[train]'" in out
    left = {path.name for path in Path("run").iterdir()}
    assert left == EVERYWHERE - {"cost.png"}


def test_a_run_needs_no_dot(call, monkeypatch):
    """Without Graphviz's program there is the text of the graph, and a line says so."""
    monkeypatch.setenv("PATH", "")
    code, out, err = call("train", "moons", *QUICK, "--out", "run")
    assert (code, err) == (0, "")
    assert "no graph.svg: it needs the program dot of Graphviz" in out
    assert Path("run/graph.dot").exists()
    assert not Path("run/graph.svg").exists()


def rooms(path="rooms.csv", n=160, values=16):
    """Two numbers, and a whole number that follows from them."""
    rng = np.random.default_rng(0)
    rows = [
        [rng.normal(), i % values + 0.1 * rng.normal(), i % values] for i in range(n)
    ]
    return table(path, rows, ("a", "b", "rooms"))


@pytest.mark.usefixtures("pictureless")
@pytest.mark.parametrize(
    ("task", "values", "first", "kind"),
    [
        (
            (),
            16,
            "16 classes (whole numbers with few values; --task regression predicts numbers)",
            "multiclass",
        ),
        (("--task", "auto"), 16, "16 classes (whole numbers", "multiclass"),
        (("--task", "classes"), 16, "16 classes;", "multiclass"),
        (("--task", "regression"), 16, "regression;", "regression"),
        (
            (),
            40,
            "regression (whole numbers with many values; --task classes",
            "regression",
        ),
        (("--task", "classes"), 40, "40 classes;", "multiclass"),
    ],
)
def test_what_a_column_is_taken_for_can_be_said(call, task, values, first, kind):
    """A guess is told with the option that overrules it, and a resumed run keeps it."""
    words = ("train", rooms(values=values), "--target", "rooms", *task)
    code, out, err = call(*words, *QUICK, "--out", "run")
    assert (code, err) == (0, "")
    assert f"rooms.csv: 160 examples, 2 features, {first}" in out.splitlines()[0]
    assert read_run("run", np.random.default_rng(0)).network.kind == kind
    again = ("train", "rooms.csv", "--resume", "--epochs", "3", "--out", "run")
    assert call(*again)[0] == 0
    run = read_run("run", np.random.default_rng(0))
    assert run.network.kind == kind
    code, _, err = call(
        *again[:-4], "--epochs", "4", "--task", "nothing", "--out", "run"
    )
    assert_refused(code, err, "unknown task 'nothing'")
    other = "classes" if kind == "regression" else "regression"
    code, _, err = call(*again[:-4], "--epochs", "4", "--task", other, "--out", "run")
    assert_refused(code, err, f"--task {other}", "where it has")


@pytest.mark.usefixtures("pictureless")
def test_text_and_fractions_are_not_explained(call):
    """Where nothing was guessed, nothing is said about it."""
    plants()
    _, out, _ = call("train", "plants.csv", "--target", "kind", *QUICK)
    assert "3 classes; 3" in out.splitlines()[0]
    _, out, _ = call("train", houses(), "--target", "price", *QUICK)
    assert "regression; 32 to train on" in out.splitlines()[0]


@pytest.mark.usefixtures("pictureless")
def test_a_share_of_no_variance_is_undefined(call):
    """One test example, or equal ones, have no R2, and the line says so."""
    words = ("--target", "price", *QUICK, "--test-size", "0.01", "--out", "run")
    code, out, err = call("train", houses(n=20), *words)
    assert (code, err) == (0, "")
    assert "\ntest  R2 undefined (all targets equal), root mean squared error" in out
    assert "\ntrain R2 -" in out or "\ntrain R2 0." in out


@pytest.mark.parametrize("values", [2, 9, 10, 16, 36, 80])
def test_the_picture_of_many_classes_has_a_key(call, values):
    """Every class has its entry in the legend, or the colours have a bar."""
    from tinygrad_nn.cli import pictures

    words = ("--target", "rooms", "--task", "classes", *QUICK, "--quiet")
    call("train", rooms(values=values), *words, "--out", "run")
    run = read_run("run", np.random.default_rng(0))
    dataset = examples("rooms.csv", "rooms", "classes")
    figure = pictures.boundary(run.network, split_of(dataset, run.settings))
    legend = figure.axes[0].get_legend()
    if values == 80:
        labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
        assert labels[0] == "0"
        assert labels[-1] == "79"
        return
    texts = [text.get_text().partition(",")[0] for text in legend.get_texts()]
    assert set(texts) == {str(i) for i in range(values)}
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0


# --- going on ---


@pytest.mark.usefixtures("pictureless")
@pytest.mark.parametrize(
    "words",
    [
        ["moons"],
        ["moons", "--dropout", "0.3", "--optimizer", "adamw"],
        ["iris", "--optimizer", "momentum", "--batch-size", "7"],
        ["houses.csv", "--target", "price", "--optimizer", "rmsprop"],
        ["moons", "--dropout", "0.3", "--backend", "eager"],
    ],
    ids=" ".join,
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(call, words):
    """Model, optimiser, generators and history are the same files to the byte."""
    houses()
    sizes = ("--layers", "6", "--quiet")
    call("train", *words, *sizes, "--epochs", "5", "--out", "whole")
    call("train", *words, *sizes, "--epochs", "2", "--out", "parts")
    for epochs in ("3", "5"):
        again = ("train", words[0], "--resume", "--epochs", epochs, "--quiet")
        assert call(*again, "--out", "parts") == (0, "", "")
    assert tree_of("parts") == tree_of("whole")


def tree_of(folder):
    # Not the pictures: their bytes are matplotlib's affair.
    files = sorted(Path(folder).iterdir())
    return {f.name: f.read_bytes() for f in files if f.suffix != ".png"}


@pytest.mark.usefixtures("pictureless")
def test_a_resume_that_fails_leaves_the_run_as_it_was(call, monkeypatch):
    """A full disk while writing the longer run keeps the shorter one."""
    call("train", "moons", *QUICK, "--out", "run")
    before = tree()
    monkeypatch.setattr(os, "replace", full_disk)
    code, _, err = call("train", "moons", "--resume", "--epochs", "3", "--out", "run")
    assert_refused(code, err, "No space left")
    assert tree() == before


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


# --- refusing ---


def assert_refused(code, err, *words, expected=2):
    assert code == expected, err
    assert err.startswith("tinygrad-nn: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for word in words:
        assert word in err


GOOD = [[1, 2, "x"], [2, 1, "y"], [3, 5, "x"], [4, 4, "y"], [2, 2, "x"], [5, 1, "y"]]


def changed(row, column, value):
    rows = [list(cells) for cells in GOOD]
    rows[row][column] = value
    return rows


FILES = {
    "good.csv": GOOD,
    "text.csv": changed(2, 1, "five"),
    "hole.csv": changed(1, 0, ""),
    "nan.csv": changed(3, 0, "nan"),
    "inf.csv": changed(3, 0, "inf"),
    "class-hole.csv": changed(4, 2, ""),
    "ragged.csv": [*GOOD[:3], [1, 2], *GOOD[3:]],
    "long.csv": [*GOOD[:3], [1, 2, "x", 9], *GOOD[3:]],
    "one-class.csv": [[*row[:2], "x"] for row in GOOD],
    "one-row.csv": GOOD[:1],
    "two-rows.csv": GOOD[:2],
    "singles.csv": [[1, 2, "x"], [2, 1, "y"], [3, 5, "z"]],
    "huge-target.csv": [[i, 1e200 * (i + 0.5), i] for i in range(6)],
    "huge-feature.csv": changed(4, 0, 1e200),
    "numbers.csv": [[i, i + 0.5, i] for i in range(6)],
    "no-rows.csv": [],
}
CSV = ("--target", "kind")
BAD_TRAINING = {
    "missing file": (["none.csv", *CSV], ["none.csv", "neither a file"]),
    "misspelt name": (["digit"], ["digit", "Did you mean digits"]),
    "directory": (["folder", *CSV], ["folder", "directory"]),
    "empty file": (["empty.csv", *CSV], ["empty.csv", "empty file"]),
    "only a header": (["no-rows.csv", *CSV], ["no-rows.csv", "none"]),
    "one row": (["one-row.csv", *CSV], ["one-row.csv"]),
    "no target": (["good.csv"], ["good.csv", "--target", "'kind'"]),
    "unknown column": (["good.csv", "--target", "knd"], ["'knd'", "'kind'"]),
    "target of a named set": (["iris", *CSV], ["--target", "iris"]),
    "text cell": (["text.csv", *CSV], ["row 4", "column 'b'", "'five'"]),
    "empty cell": (["hole.csv", *CSV], ["row 3", "column 'a'", "empty"]),
    "nan": (["nan.csv", *CSV], ["row 5", "column 'a'", "nan"]),
    "infinity": (["inf.csv", *CSV], ["row 5", "column 'a'", "infinite"]),
    "empty class": (["class-hole.csv", *CSV], ["row 6", "column 'kind'"]),
    "short row": (["ragged.csv", *CSV], ["row 5", "'kind'", "3 cells", "got 2"]),
    "long row": (["long.csv", *CSV], ["row 5", "column 4"]),
    "one class": (["one-class.csv", *CSV], ["'kind'", "'x'"]),
    "not UTF-8": (["latin.csv", *CSV], ["latin.csv", "row 2", "UTF-8"]),
    "no layers": (["moons", "--layers", ""], ["--layers"]),
    "text layers": (["moons", "--layers", "64,big"], ["--layers", "'64,big'"]),
    "empty layer": (["moons", "--layers", "64,0"], ["--layers", "'64,0'"]),
    "negative layer": (["moons", "--layers=-4"], ["--layers", "'-4'"]),
    "activation": (
        ["moons", "--activation", "rulu"],
        ["'rulu'", "did you mean 'relu'"],
    ),
    "optimizer": (["moons", "--optimizer", "Adm"], ["'Adm'", "did you mean 'adam'"]),
    "negative rate": (["moons", "--lr", "-1"], ["--lr", "above 0", "'-1'"]),
    "no rate": (["moons", "--lr", "0"], ["--lr", "above 0"]),
    "nan rate": (["moons", "--lr", "nan"], ["--lr", "'nan'"]),
    "infinite rate": (["moons", "--lr", "inf"], ["--lr", "'inf'"]),
    "no epochs": (["moons", "--epochs", "0"], ["--epochs", "at least 1"]),
    "half epochs": (["moons", "--epochs", "1.5"], ["--epochs", "whole", "'1.5'"]),
    "no batch": (["moons", "--batch-size", "0"], ["--batch-size", "at least 1"]),
    "negative l2": (["moons", "--l2", "-0.1"], ["--l2", "at least 0"]),
    "all dropped": (["moons", "--dropout", "1"], ["--dropout", "below 1"]),
    "seed": (["moons", "--seed", "-1"], ["--seed", "at least 0"]),
    "task": (["good.csv", *CSV, "--task", "class"], ["'class'", "did you mean"]),
    "task of a data set": (["iris", "--task", "regression"], ["--task", "iris"]),
    "text as numbers": (
        ["good.csv", *CSV, "--task", "regression"],
        ["good.csv, row 2, column 'kind'", "'x'"],
    ),
    "two rows": (["two-rows.csv", *CSV], ["two-rows.csv", "three rows", "got 2"]),
    "single classes": (
        ["singles.csv", *CSV],
        ["singles.csv, column 'kind'", "3 classes of one example each", "--target"],
    ),
    "huge target": (
        ["huge-target.csv", "--target", "b"],
        ["huge-target.csv, column 'b'", "e+200"],
    ),
    "huge feature": (
        ["huge-feature.csv", *CSV],
        ["huge-feature.csv, column 'a'", "1e+200"],
    ),
    "nearly all tested": (
        ["numbers.csv", "--target", "b", "--test-size", "0.999"],
        ["--test-size", "0.999", "leaves 1 of 6"],
    ),
    "backend": (["moons", "--backend", "nmpy"], ["'nmpy'", "did you mean 'numpy'"]),
    "resume on another backend": (
        ["moons", "--resume", "--epochs", "9", "--backend", "eager", "--out", "run"],
        ["--backend eager", "numpy"],
    ),
    "no test part": (["moons", "--test-size", "0"], ["--test-size", "above 0"]),
    "all tested": (["moons", "--test-size", "1"], ["--test-size", "below 1"]),
    "unknown option": (["moons", "--epoch", "5"], ["--epoch"]),
    "no data": ([], ["DATA"]),
    "out is a file": (["moons", "--out", "good.csv"], ["--out", "good.csv"]),
    "out in a file": (["moons", "--out", "good.csv/run"], ["--out", "good.csv"]),
    "out in /proc": (["moons", "--out", "/proc/run", *QUICK], ["--out", "/proc/run"]),
    "out holds a run": (["moons", "--out", "run"], ["run", "model.npz", "--resume"]),
    "out holds a part": (["moons", "--out", "part"], ["part", "history.csv"]),
    "resume nothing": (["moons", "--resume", "--out", "new"], ["new", "no such"]),
    "resume nowhere": (["moons", "--resume"], ["--resume", "--out"]),
    "resume no run": (
        ["moons", "--resume", "--epochs", "9", "--out", "part"],
        ["model.npz", "no such file"],
    ),
    "resume done": (
        ["moons", "--resume", "--epochs", "2", "--out", "run"],
        ["--epochs 2", "more than the 2"],
    ),
    "resume no further": (["moons", "--resume", "--out", "run"], ["no --epochs"]),
    "resume otherwise": (
        ["moons", "--resume", "--epochs", "9", "--lr", "0.5", "--out", "run"],
        ["--lr 0.5", "0.001"],
    ),
    "resume other data": (
        ["flower", "--resume", "--epochs", "9", "--out", "run"],
        ["--resume", "flower"],
    ),
    "resume damaged": (
        ["moons", "--resume", "--epochs", "9", "--out", "damaged"],
        ["damaged", "model.npz"],
    ),
    "resume another's": (
        ["moons", "--resume", "--epochs", "9", "--out", "foreign"],
        ["foreign", "another program"],
    ),
    "newline in a name": (["no\nsuch.csv", *CSV], ["no such.csv"]),
}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Good and bad files, and directories that hold whole and damaged runs."""
    folder = tmp_path_factory.mktemp("material")
    for name, rows in FILES.items():
        table(folder / name, rows)
    Path(folder, "empty.csv").touch()
    Path(folder, "latin.csv").write_bytes(b"a,b,kind\n1,2,\xfcber\n2,3,x\n")
    for name in ("folder", "part", "foreign"):
        Path(folder, name).mkdir()
    Path(folder, "part", "history.csv").touch()
    save(folder / "foreign" / "model.npz", Dense(2, 1, rng=0), extra={"a": 1})
    for name, words in (("run", ["moons"]), ("csv-run", [folder / "good.csv", *CSV])):
        source, *more = map(str, words)
        assert (
            main(
                ["train", source, *more, *QUICK, "--out", str(folder / name), "--quiet"]
            )
            == 0
        )
    shutil.copytree(folder / "run", folder / "damaged")
    content = bytearray(Path(folder, "run", "model.npz").read_bytes())
    content[len(content) // 2] ^= 1
    Path(folder, "damaged", "model.npz").write_bytes(content)
    return folder


@pytest.mark.parametrize("case", BAD_TRAINING)
def test_bad_input_is_one_line_and_nothing_is_written(
    call, material, monkeypatch, case
):
    """Exit code 2, one line that names the place, and not one byte changed."""
    monkeypatch.chdir(material)
    words, parts = BAD_TRAINING[case]
    before = tree()
    code, out, err = call("train", *words)
    assert_refused(code, err, *parts)
    assert out == ""
    assert tree() == before


BAD_PREDICTION = {
    "no run": (["nowhere", "good.csv"], ["nowhere", "no such directory"]),
    "a file": (["good.csv", "good.csv"], ["good.csv", "a file"]),
    "no model": (["part", "good.csv"], ["model.npz", "no such file"]),
    "damaged": (["damaged", "good.csv"], ["damaged", "checksum"]),
    "another's": (["foreign", "good.csv"], ["foreign", "another program"]),
    "missing file": (["csv-run", "none.csv"], ["none.csv"]),
    "missing columns": (["run", "good.csv"], ["good.csv", "'x', 'y'"]),
    "empty": (["csv-run", "empty.csv"], ["empty.csv"]),
    "text": (["csv-run", "text.csv"], ["row 4", "column 'b'"]),
    "ragged": (["csv-run", "ragged.csv"], ["row 5"]),
    "no header": (["csv-run", "headless.csv"], ["headless.csv", "'1', '2'"]),
    "huge": (["csv-run", "huge.csv"], ["huge.csv: ", "too large", "example"]),
    "no folder": (
        ["csv-run", "good.csv", "--output", "none/p.csv"],
        ["none", "No such file"],
    ),
    "onto itself": (["csv-run", "good.csv", "--output", "./good.csv"], ["--output"]),
    "onto a folder": (["csv-run", "good.csv", "--output", "folder"], ["directory"]),
    "nothing": ([], ["DIR", "FILE"]),
}


@pytest.mark.parametrize("case", BAD_PREDICTION)
def test_bad_input_of_predict_is_one_line(call, material, monkeypatch, case):
    """Exit code 2, one line, no output and not one byte changed."""
    monkeypatch.chdir(material)
    Path("headless.csv").write_text("1,2\n3,4\n")
    Path("huge.csv").write_text("a,b\n1,2\n1.7e308,-1.7e308\n1.7e308,1.7e308\n")
    words, parts = BAD_PREDICTION[case]
    before = tree()
    code, out, err = call("predict", *words)
    assert_refused(code, err, *parts)
    assert out == ""
    assert tree() == before


def test_without_a_command_there_is_one_line(call):
    """A bare program and an unknown command say what there is."""
    for words in ((), ("trian",)):
        code, out, err = call(*words)
        assert_refused(code, err, "--help")
        assert out == ""


def test_data_of_scikit_learn_without_it_names_the_extra(call, monkeypatch):
    """One line tells what to install."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, _, err = call("train", "digits", *QUICK)
    assert_refused(code, err, "tinygrad_nn[train]")
    assert tree() == {}


@pytest.mark.parametrize("words", [["--lr", "1e150"], ["--lr", "1e300"]])
def test_diverged_training_is_one_line_and_exit_1(call, words):
    """A loss that is not finite ends the run without a warning and without a file."""
    more = ("--optimizer", "sgd", "--epochs", "30", "--activation", "identity")
    code, _, err = call("train", "moons", *words, *more)
    assert_refused(code, err, "train: ", "finite", "epoch ", "Lower --lr", expected=1)
    assert "fit" not in err
    assert "max_norm" not in err
    assert tree() == {}


def test_a_full_disk_leaves_no_directory(call, monkeypatch):
    """A run that cannot be kept leaves nothing behind."""
    monkeypatch.setattr(os, "replace", full_disk)
    code, _, err = call("train", "moons", *QUICK, "--out", "run")
    assert_refused(code, err, "model.npz", "No space left")
    assert tree() == {}


def test_ctrl_c_is_exit_130_with_a_line(call, monkeypatch):
    """An interrupted run writes nothing."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_nn.cli.run.fit", interrupted)
    code, _, err = call("train", "moons", *QUICK)
    assert (code, err) == (130, "tinygrad-nn: interrupted\n")
    assert tree() == {}


def command(*words, variables=None, **settings):
    """Start the program as a user does."""
    root = str(Path(tinygrad_nn.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "tinygrad_nn", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": root, **(variables or {})},
        **settings,
    )


STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def stopped(monkeypatch, number, calls):
    """Let a signal come at the so-many-th step or validation.

    Steps are compiled, and a loss that counts would not be: it is counted around them.
    A text is a number of steps, the signal comes within the next one.
    """
    from tinygrad_nn.training import engine, loop

    if isinstance(calls, str):
        rate = Adam.rate

        def rate_with_a_signal(self, step):
            if self.steps == int(calls) and current().trace is None:
                os.kill(os.getpid(), number)
            return rate(self, step)

        monkeypatch.setattr(Adam, "rate", rate_with_a_signal)
        return
    left = [calls]

    def counted(function):
        def with_a_signal(*given, **settings):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), number)
            return function(*given, **settings)

        return with_a_signal

    monkeypatch.setattr(engine.Engine, "__call__", counted(engine.Engine.__call__))
    monkeypatch.setattr(loop, "evaluate", counted(loop.evaluate))


@pytest.mark.usefixtures("pictureless")
@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("calls", "dropout"),
    [(9, "0.2"), (10, "0"), (11, "0.2"), (12, "0"), ("7", "0.2"), ("8", "0")],
)
@pytest.mark.parametrize("backend", ["numpy", "eager"])
def test_an_interrupted_run_goes_on_bit_for_bit(
    call, monkeypatch, number, calls, dropout, backend
):
    """Within an epoch or its validation, the last whole epoch is what is kept."""
    # An epoch of iris in batches of 50 makes 3 steps, and one validation.
    words = ("--dropout", dropout, "--batch-size", "50", "--layers", "6", "--quiet")
    words += ("--backend", backend)
    call("train", "iris", *words, "--epochs", "6", "--out", "whole")
    call("train", "iris", *words, "--epochs", "2", "--out", "two")
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        stopped(patch, number, calls)
        code, out, err = call("train", "iris", *words, "--epochs", "6", "--out", "run")
    assert (code, out) == (STOPS[number], "")
    assert err == (
        "tinygrad-nn: interrupted after epoch 2; go on with --resume --out run\n"
    )
    assert signal.getsignal(number) is handler
    assert {path.name for path in Path("run").iterdir()} == {
        "model.npz",
        "history.csv",
    }
    assert Path("run/history.csv").read_text() == Path("two/history.csv").read_text()
    # Up to the epochs that were planned, without a word about them.
    assert call("train", "iris", "--resume", "--quiet", "--out", "run") == (0, "", "")
    assert tree_of("run") == tree_of("whole")


@pytest.mark.usefixtures("pictureless")
@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_run_interrupted_in_its_first_epoch_leaves_nothing(call, monkeypatch, number):
    """No whole epoch, no file and no directory; a resumed run stays what it was."""
    words = ("train", "iris", "--quiet", "--layers", "4", "--out", "run")
    # A context, not undo(): that would also leave the test's own directory.
    with monkeypatch.context() as patch:
        stopped(patch, number, 2)
        code, _, err = call(*words)
    assert (code, err) == (STOPS[number], "tinygrad-nn: interrupted\n")
    assert tree() == {}
    call(*words, "--epochs", "1")
    before = tree()
    stopped(monkeypatch, number, 2)
    code, _, err = call("train", "iris", "--resume", "--epochs", "9", "--out", "run")
    assert (code, err) == (STOPS[number], "tinygrad-nn: interrupted\n")
    assert tree() == before


@pytest.mark.usefixtures("pictureless")
def test_the_history_kept_is_that_of_the_model_kept(call, monkeypatch):
    """An epoch that is in the history, but of which no state is had, goes again."""

    def tell(self, epoch, row):
        if epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinygrad_nn.training.loop.Progress.tell", tell)
        code, _, err = call("train", "iris", "--layers", "4", "--out", "run")
    assert (code, "after epoch 2;" in err) == (130, True)
    assert len(read("run/history.csv")) == load("run/model.npz").step == 2
    assert len(read_run("run", np.random.default_rng(0)).history) == 2


@pytest.mark.usefixtures("pictureless")
def test_a_run_of_before_there_were_tasks_goes_on(call):
    """Settings without a task or a backend mean what was done then."""
    call("train", rooms(), "--target", "rooms", *QUICK, "--quiet", "--out", "run")
    run = read_run("run", np.random.default_rng(0))
    values = run.settings.to_json()
    assert values.pop("task") == "auto"
    assert values.pop("backend") == "numpy"
    again = type(run.settings).from_json(values)
    assert again == replace(run.settings, backend="eager")


@pytest.mark.usefixtures("pictureless")
def test_a_run_interrupted_while_drawing_has_its_model(call, monkeypatch):
    """All epochs are kept, and the line says what is missing."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_nn.cli.report.draw", interrupted)
    code, _, err = call("train", "iris", *QUICK, "--out", "run")
    assert code == 130
    assert err.startswith("tinygrad-nn: interrupted after epoch 2; the model is in run")
    assert call("predict", "run", table("x.csv", [], ("a",)))[0] == 2
    assert load("run/model.npz").step == 2
    assert len(read("run/history.csv")) == 2


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_real_signal_ends_a_real_run(number):
    """Whenever it comes: one line, the exit code, and what the line says is there."""
    words = ("--epochs", "1000000", "--layers", "4", "--out", "run")
    process = command("train", "moons", *words)
    process.stdout.readline()
    process.stdout.readline()  # what is trained is said just before training
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()  # a run that heard nothing would go on for days
    assert (process.returncode, out) == (STOPS[number], "")
    if err == "tinygrad-nn: interrupted\n":
        assert tree() == {}
    else:
        epoch = load("run/model.npz").step
        assert err.startswith(f"tinygrad-nn: interrupted after epoch {epoch}; go on")
        assert len(read("run/history.csv")) == epoch


def test_nobody_reading_is_no_traceback(material):
    """A closed pipe, as after head, ends quietly."""
    process = command("predict", str(material / "csv-run"), str(material / "good.csv"))
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


# --- predicting ---


@pytest.mark.usefixtures("pictureless")
def test_predictions_are_those_of_the_model_in_process(call):
    """Every probability written is the model's to the bit, every class its name."""
    call("train", plants(), "--target", "kind", *QUICK, "--out", "run")
    code, out, err = call("predict", "run", "plants.csv")
    assert (code, err) == (0, "")
    rows = list(csv.reader(io.StringIO(out)))
    network = read_run("run", np.random.default_rng(5)).network
    table_read = data.read_csv("plants.csv").numbers(["a", "b"])
    probabilities = network.probabilities(table_read)
    names = network.class_names
    assert rows[0] == ["prediction", *(f"probability_{name}" for name in names)]
    assert [
        [float(cell) for cell in row[1:]] for row in rows[1:]
    ] == probabilities.tolist()
    assert [row[0] for row in rows[1:]] == [
        names[i] for i in probabilities.argmax(axis=1)
    ]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.usefixtures("pictureless")
def test_predictions_are_utf_8_whatever_the_terminal_speaks(call):
    """Greek class names reach a pipe of another encoding as they reach a file."""
    rows = [[1, 2, "δ"], [2, 1, "β"], [3, 5, "δ"], [4, 4, "β"], [2, 2, "δ"]]
    table("gr-ε.csv", rows)
    for name, encoding in (("a", "ascii"), ("b", "cp1252")):
        code = {"PYTHONIOENCODING": encoding}
        words = ("gr-ε.csv", "--target", "kind", *QUICK, "--out", name)
        process = command("train", *words, variables=code)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("gr-\\u03b5.csv: 5 examples")
        process = command("predict", name, "gr-ε.csv", variables=code)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        call("predict", name, "gr-ε.csv", "--output", "p.csv")
        assert out == Path("p.csv").read_text(encoding="utf-8")
        assert out.startswith("prediction,probability_β,probability_δ\n")


@pytest.mark.usefixtures("pictureless")
def test_two_classes_have_two_probabilities(call):
    """A network with one logit still names both classes, and they add up."""
    call("train", "moons", "--epochs", "20", "--out", "run")
    rows = [["1.0", "-0.5"], ["0.0", "1.0"]]
    call("predict", "run", table("new.csv", rows, ("x", "y")), "--output", "p.csv")
    first, second = read("p.csv")
    assert list(first) == ["prediction", "probability_upper", "probability_lower"]
    assert (first["prediction"], second["prediction"]) == ("lower", "upper")
    for row in (first, second):
        both = [float(row[f"probability_{name}"]) for name in ("upper", "lower")]
        assert sum(both) == pytest.approx(1, abs=1e-12)
        assert max(both) == float(row[f"probability_{row['prediction']}"])


@pytest.mark.usefixtures("pictureless")
def test_numbers_are_predicted_in_their_own_units(call):
    """Regression writes one column, near the prices."""
    words = ("--target", "price", "--layers", "none", "--lr", "0.05", "--epochs", "200")
    call("train", houses(), *words, "--out", "run")
    call("predict", "run", "houses.csv", "--output", "p.csv")
    predicted = [float(row["prediction"]) for row in read("p.csv")]
    truth = [float(row["price"]) for row in read("houses.csv")]
    np.testing.assert_allclose(predicted, truth, atol=5)


@pytest.mark.usefixtures("pictureless")
def test_columns_are_found_by_name(call):
    """Order and further columns, text and holes included, do not matter."""
    call("train", plants(), "--target", "kind", *QUICK, "--out", "run")
    rows = [[row["b"], "a note", "", row["a"]] for row in read("plants.csv")]
    table("other.csv", rows, ("b", "note", "kind", "a"))
    assert call("predict", "run", "other.csv") == call("predict", "run", "plants.csv")


def test_output_is_complete_or_absent(call, material, monkeypatch):
    """A failing move leaves the old predictions as they were."""
    Path("p.csv").write_text("old")
    words = (
        "predict",
        material / "csv-run",
        material / "good.csv",
        "--output",
        "p.csv",
    )
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_disk)
        code, _, err = call(*words)
    assert_refused(code, err, "No space left")
    assert tree() == {"p.csv": b"old"}
    assert call(*words) == (0, "", "")
    assert Path("p.csv").read_text().startswith("prediction,")


# --- help ---


def test_help_shows_examples_that_parse(call):
    """Each example of the help is a command that the parser takes."""
    from tinygrad_nn.cli.arguments import parser

    code, out, _ = call("--help")
    assert code == 0
    for name in ("train", "predict"):
        assert name in out
        code, text, _ = call(name, "--help")
        assert code == 0
        lines = [line.split() for line in text.partition("examples:")[2].splitlines()]
        commands = [words[1:] for words in lines if words]
        assert len(commands) >= 2
        for words in commands:
            parser().parse_args(words)
    for name in NAMED:
        assert name in call("train", "--help")[1]


def test_version_is_that_of_the_package(call):
    """--version says the version and nothing else."""
    assert call("--version") == (0, f"tinygrad-nn {tinygrad_nn.__version__}\n", "")


def test_python_m_is_the_same_program():
    """``python -m tinygrad_nn`` runs the command line."""
    process = command("--version")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out == f"tinygrad-nn {tinygrad_nn.__version__}\n"


def test_help_is_quick_to_load():
    """The parser alone loads neither the layers nor any optional package."""
    code = (
        "import sys; from tinygrad_nn.cli.arguments import parser; parser();"
        "sys.exit(any(name in sys.modules for name in"
        " ('tinygrad_nn.nn', 'sklearn', 'matplotlib', 'tqdm')))"
    )
    root = str(Path(tinygrad_nn.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    assert done.returncode == 0
