"""Pictures of graphs: true, the same on every run, and safe whatever names hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import graphviz
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.drawing import draw
from tinygrad_nn.errors import DataError, MissingExtraError, OpError, SaveError

has_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")

NETWORK = """
import numpy as np, tinygrad_nn as tg
from tinygrad_nn.drawing import draw
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
parameters = {"W1": tg.Parameter(rng.standard_normal((3, 4))), "b1": tg.Parameter([0.0] * 4),
              "W2": tg.Parameter(rng.standard_normal((4, 2)))}
with tg.scope("hidden"):
    A = np.tanh(X @ parameters["W1"] + parameters["b1"])
loss = ((A @ parameters["W2"] - Y) ** 2).mean()
drawing = draw(loss, title="a network")
"""


def labels(drawing):
    """Text of each node by its key, tags removed."""
    found = re.findall(r"^\s*(\w+) \[label=<(.*)>\]$", drawing.dot, re.MULTILINE)
    return {key: re.sub(r"<[^>]*>", " ", label) for key, label in found}


def edges(drawing):
    return re.findall(r"^\s*(\w+) -> (\w+)", drawing.dot, re.MULTILINE)


def label_of(drawing, name):
    (text,) = [text for text in labels(drawing).values() if text.split()[:1] == [name]]
    return " ".join(text.split())


def test_the_same_program_gives_the_same_dot():
    """Neither addresses nor hash seeds nor the process leave a trace in the text."""
    texts = [
        subprocess.run(
            [sys.executable, "-c", NETWORK + "print(drawing.dot); print(drawing)"],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(Path(tg.__file__).parent.parent),
            },
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert b"tanh" in texts[0]


def test_x_times_x_has_two_edges():
    """One edge for each use of an operand."""
    x = tg.Tensor(3.0, requires_grad=True)
    assert edges(draw(x * x)) == [("n0", "n1"), ("n0", "n1")]


def test_every_operand_has_its_edge():
    """Edges of the drawing are the operands of the recorded nodes, constants too."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = tg.relu(x) * 3.0 + x
    drawn = edges(draw(y.sum()))
    assert len(drawn) == sum(len(n.inputs) for n in tg_nodes(y.sum()))


def tg_nodes(*outputs):
    from tinygrad_nn import graph

    return graph.nodes(*outputs)


def test_a_card_shows_formula_shape_value_and_gradient():
    """Each fact stands on its node's card."""
    W = tg.Parameter([[1.0, 2.0]], name="W")
    x = np.array([3.0, 4.0])
    z = W @ x
    assert (
        label_of(draw((z * z).sum()), "z") == "z matmul W @ x (1,) value [11] grad [22]"
    )
    half = tg.Tensor(np.float32([1.0]), requires_grad=True, name="half")
    assert "float32" in label_of(draw(half.sum()), "half")
    assert (
        label_of(draw((z * z).sum()), "x") == "x data (2,) value [3, 4] grad constant"
    )


def test_numbers_are_drawn_as_a_circuit():
    """In a graph of numbers each card holds value and gradient side by side."""
    x = tg.Tensor(2.0, requires_grad=True)
    y = tg.Tensor(3.0, requires_grad=True)
    z = x * y + x
    assert label_of(draw(z), "x") == "x input value 2 grad 4"
    assert label_of(draw(z), "z") == "z add = multiply + x value 8 grad 1"


MANY = np.arange(30) % 4


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (np.s_[:, 2:], "x[:, 2:]"),
        (np.s_[:, :2], "x[:, :2]"),
        (np.s_[::-1], "x[::-1]"),
        (np.s_[..., None, 1:3:2], "x[..., None, 1:3:2]"),
        (np.s_[-1, 0], "x[-1, 0]"),
        (MANY, "x[int (30,)]"),
        ([0, 2], "x[int (2,)]"),
        (np.array([True, False, True, False]), "x[mask (4,)]"),
        ((MANY, np.int64(1)), "x[int (30,), 1]"),
    ],
)
def test_an_index_is_shown_as_it_is_written(index, shown):
    """Slices, ellipsis, None, positions and masks read alike in tree and picture."""
    x = tg.Tensor(np.ones((4, 3)), requires_grad=True)
    drawing = draw(x[index].sum())
    assert f"getitem = {shown}" in str(drawing)
    assert any(shown in text for text in labels(drawing).values())
    slope = tg.gradients(x[index].sum(), [x])[0]
    assert f"(index={shown[1:]}, shape=(4, 3))" in str(draw(slope))


def test_a_number_that_nobody_named_is_drawn_as_a_number():
    """The 1 with which a gradient begins is a 1, and no datum called data."""
    x = tg.Tensor(3.0, requires_grad=True)
    (slope,) = tg.gradients(x**2, [x])
    drawing = draw(slope)
    assert "data" not in str(drawing) + drawing.dot
    assert "1 constant" in {" ".join(t.split()) for t in labels(drawing).values()}
    assert any(line.endswith("─ constant: 1") for line in str(drawing).splitlines())
    one = tg.Tensor(1.0)
    assert "one" in str(draw(x * one))


# --- gradients ------------------------------------------------------------------------


def test_gradients_are_computed_for_the_picture_alone():
    """Without backward the picture shows gradients, and no .grad is touched."""
    x = tg.Tensor([1.0, -2.0], requires_grad=True)
    loss = (x * x).sum()
    assert "grad [2, -4]" in label_of(draw(loss), "x")
    assert x.grad is None


def test_gradients_of_backward_are_shown():
    """What backward left is what the user asks about."""
    x = tg.Tensor([1.0, -2.0], requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    loss.backward()
    assert "grad [4, -8]" in label_of(draw(loss), "x")


def test_a_missing_gradient_is_not_zero():
    """No gradient says none, a constant says constant, and only a true zero says 0."""
    condition = tg.Tensor([1.0, 0.0], requires_grad=True)
    x = tg.Tensor([-1.0, -2.0], requires_grad=True)
    fixed = tg.Tensor([5.0, 6.0])
    loss = tg.where(condition, tg.relu(x), fixed).sum()
    drawing = draw(loss)
    assert label_of(drawing, "condition").endswith("grad none")
    assert label_of(drawing, "fixed").endswith("grad constant")
    assert label_of(drawing, "x").endswith("grad [0, 0]")


def test_without_one_number_there_are_no_gradients():
    """An array has no gradient to show, and the picture says why."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    drawing = draw(x * 2)
    assert "the output is not one number" in drawing.dot
    assert label_of(drawing, "x").endswith("grad none")


def test_a_graph_whose_values_changed_is_drawn():
    """After an update gradients cannot be computed; the rest is drawn, with a note."""
    W = tg.Parameter([1.0, 2.0], name="W")
    loss = (W * W).sum()
    with tg.no_grad():
        W -= 0.1
    drawing = draw(loss)
    assert "a value changed after the graph had used it" in drawing.dot
    assert __file__ not in drawing.dot  # a picture is the same wherever it is drawn
    assert label_of(drawing, "W").endswith("grad none")


def test_a_picture_is_a_snapshot():
    """A later change of a value does not change the picture."""
    W = tg.Parameter([1.0, 2.0], name="W")
    loss = (W * W).sum()
    drawing = draw(loss)
    with tg.no_grad():
        W += 7.0
    assert "value [1, 2]" in label_of(drawing, "W")


# --- names ----------------------------------------------------------------------------


def test_names_come_from_the_callers_variables():
    """Locals, and one level of dictionaries and lists, name what has no name."""
    weights = [tg.Parameter([1.0]), tg.Parameter([2.0])]
    table = {"W": tg.Parameter([3.0])}
    offset = np.array([4.0])
    total = weights[0] * weights[1] + table["W"] - offset
    text = draw(total.sum()).dot
    for name in ("weights[0]", "weights[1]", "W", "offset", "total"):
        assert f"<B>{name}</B>" in text


def test_given_names_come_first():
    """The names argument beats .name, which beats the variable's name."""
    x = tg.Tensor(1.0, requires_grad=True, name="own")
    y = tg.Tensor(2.0, requires_grad=True, name="other")
    text = draw(x * y, names={"chosen": y}).dot
    assert "<B>own</B>" in text
    assert "<B>chosen</B>" in text
    assert "other" not in text


def test_unnamed_nodes_are_numbered_in_tape_order():
    """Two of an op are told apart; a single one needs no number."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    text = str(draw(tg.tanh(tg.tanh(x)).sum()))
    assert "tanh₂ = tanh(tanh₁)" in text
    assert "sum = Σ(tanh₂)" in text


HOSTILE = [
    '"quoted"',
    "<script>alert(1)</script>",
    "a & b &lt; c",
    "back\\slash \\N \\n \\",
    "--><!-- ]]>",
    "</TD></TABLE>>",
    "naïve 名前 🙂",
    "line\nbreak\ttab\x00\x1b",
    "\ud800 half of a pair",
    "$x ${y} % {}",
    "",
    " ",
]


@has_dot
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(name):
    """Whatever a name holds, Graphviz draws it as text, and no element is injected."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name=name)
    with tg.scope(name or "layer"):
        y = tg.tanh(x)
    drawing = draw(y.sum(), title=name)
    root = ET.fromstring(drawing.svg())
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {
        "svg",
        "g",
        "title",
        "text",
        "path",
        "polygon",
        "polyline",
        "ellipse",
    }
    words = "".join(root.itertext())
    for word in re.findall(r"[\w\\&]+", name)[:3]:
        if word.isprintable():
            assert word in words
    assert str(drawing)


def test_a_long_name_is_shortened():
    """10,000 characters do not reach the picture; both ends of them do."""
    name = "first" + "x" * 10_000 + "last"
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name=name)
    text = draw(tg.tanh(x).sum(), title=name).dot
    assert len(text) < 5000
    assert re.search("<B>firstx+…x+last</B>", text)


@has_dot
@pytest.mark.parametrize(
    "value",
    [np.nan, [np.inf, -np.inf], np.zeros((0, 3)), 1e300, np.arange(10**6), [True]],
    ids=["nan", "inf", "empty", "huge", "large", "bool"],
)
def test_any_value_is_drawn(value):
    """NaN, infinities, nothing at all and a million numbers each fit on a card."""
    x = tg.Tensor(value, name="x")
    drawing = draw(x + 0)
    assert len(drawing.dot) < 5000
    ET.fromstring(drawing.svg())


def test_what_is_not_finite_is_marked():
    """A nan gives its card a border of another colour."""
    good = draw(tg.Tensor([1.0, 2.0], name="x") + 1.0).dot
    bad = draw(tg.Tensor([1.0, np.nan], name="x") + 1.0).dot
    assert good.count('COLOR="#b3261e"') < bad.count('COLOR="#b3261e"')


# --- large graphs and layers ------------------------------------------------------------


def test_a_long_chain_is_folded_without_recursion():
    """100,000 nodes become a picture that a person can read, and that says what it lacks."""
    x = tg.Tensor(0.5, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = tg.sin(y)
    drawing = draw(y)
    assert list(labels(drawing)) == ["n0", "g0"]
    assert "sin ×100,000" in labels(drawing)["g0"]
    assert edges(drawing) == [("n0", "g0")]
    assert f"value {y.item():.4g}" in label_of(drawing, "sin")
    assert "sin ×100,000 [100,000 ops]" in str(drawing)


def test_layers_are_boxes():
    """Scopes nest as boxes, and a parameter stands in the box that uses it."""
    W = tg.Parameter([1.0, 2.0], name="W")
    with tg.scope("encoder"), tg.scope("0"):
        y = tg.tanh(W)
    text = draw(y.sum()).dot
    outer = text.index("<B>encoder</B>")
    inner = text.index("<B>encoder.0</B>")
    assert outer < inner < text.index("<B>W</B>") < text.index("}", inner)
    assert text.index("<B>sum</B>") < outer


# --- files and notebooks ----------------------------------------------------------------


@has_dot
@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".dot", b"digraph"), (".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")],
)
def test_save_follows_the_suffix(tmp_path, suffix, start):
    """Each suffix gives its format, and only the file that was asked for."""
    x = tg.Tensor(2.0, requires_grad=True)
    path = draw(x * x).save(tmp_path / f"picture{suffix}")
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_unknown_suffix_is_refused(tmp_path):
    """The error lists what can be saved, and nothing is written."""
    x = tg.Tensor(2.0, requires_grad=True)
    with pytest.raises(DataError, match=r"\.svg, .*\.html, .*; got 'x\.gif'"):
        draw(x * x).save(tmp_path / "x.gif")
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    """A file is written whole or not at all."""
    x = tg.Tensor(2.0, requires_grad=True)
    target = tmp_path / "x.dot"
    target.write_text("old")

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SaveError, match=r"cannot write '.*/x.dot': disk full"):
        draw(x * x).save(target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.dot"]


def test_a_missing_folder_is_named_as_the_user_wrote_it(tmp_path, monkeypatch):
    """The error names path and folder, and no temporary file of ours."""
    monkeypatch.chdir(tmp_path)
    x = tg.Tensor(2.0, requires_grad=True)
    with pytest.raises(
        SaveError, match=r"got 'no/x\.dot', .* no folder 'no'"
    ) as caught:
        draw(x * x).save("no/x.dot")
    assert ".part" not in str(caught.value)
    Path("taken").write_text("a file is no folder")
    with pytest.raises(SaveError, match=r"no folder 'taken'"):
        draw(x * x).save("taken/x.dot")
    Path("here.dot").mkdir()
    with pytest.raises(SaveError, match=r"cannot write 'here\.dot'"):
        draw(x * x).save("here.dot")
    assert {p.name for p in tmp_path.iterdir()} == {"taken", "here.dot"}


@pytest.fixture
def without_dot(monkeypatch):
    def missing(self, **options):
        raise graphviz.ExecutableNotFound(["dot"])

    monkeypatch.setattr(graphviz.Source, "pipe", missing)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


@pytest.mark.usefixtures("without_dot")
def test_without_graphviz_the_error_says_what_to_install(tmp_path):
    """Pictures need the program dot; DOT text and the tree do not."""
    x = tg.Tensor(2.0, requires_grad=True)
    drawing = draw(x * x)
    with pytest.raises(MissingExtraError, match=r"install 'tinygrad_nn\[draw\]'.*apt"):
        drawing.svg()
    with pytest.raises(MissingExtraError, match=r"[Oo]r save as \.dot"):
        drawing.save(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
    assert drawing.save(tmp_path / "x.dot").read_text() == drawing.dot
    assert list(drawing._repr_mimebundle_()) == ["text/plain", "text/html"]


@has_dot
def test_a_notebook_is_given_picture_and_text():
    """The bundle holds SVG and, for a terminal, the tree."""
    x = tg.Tensor(2.0, requires_grad=True)
    bundle = draw(x * x)._repr_mimebundle_()
    assert (
        bundle["text/plain"]
        == "multiply = x · x: 4 | grad 1\n├─ x: 2 | grad 4\n└─ x: 2 | grad 4"
    )
    assert bundle["image/svg+xml"].startswith("<?xml")


def test_what_is_used_twice_is_told_once():
    """The tree stays linear in the graph: 60 doublings are 61 nodes, not 2^60 lines."""
    y = tg.Tensor(1.0, requires_grad=True)
    for _ in range(60):
        y = y + y
    assert len(str(draw(y)).splitlines()) == 121


def test_what_cannot_be_drawn_is_refused():
    """An array has no graph; a direction is one of two."""
    with pytest.raises(OpError, match="expected Tensors; got ndarray"):
        draw([np.zeros(3)])
    with pytest.raises(OpError, match="expected Tensors; got ndarray"):
        draw(np.zeros(3))
    with pytest.raises(OpError, match="expected Tensors; got float"):
        draw(2.0)
    dense = tg.nn.Dense(2, 3, rng=0)
    for net in (dense, tg.nn.Sequential(dense)):
        name = type(net).__name__
        match = rf"got {name} alone.*: tg\.draw\({name}, x\), .* tg\.draw\(net\(x\)\)"
        with pytest.raises(OpError, match=match):
            draw(net)
    assert draw(t for t in [tg.Tensor(1.0)])
    with pytest.raises(OpError, match="at least one"):
        draw([])
    with pytest.raises(OpError, match="'LR' or 'TB'"):
        draw(tg.Tensor(1.0), direction="up")
