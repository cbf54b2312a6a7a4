"""Pictures of graphs: true, the same on every run, and safe whatever names hold."""

from __future__ import annotations

import json
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
from tinygrad_nn import graph
from tinygrad_nn.drawing import draw
from tinygrad_nn.drawing.colours import THEMES
from tinygrad_nn.drawing.engines import rendered
from tinygrad_nn.drawing.slopes import times_of
from tinygrad_nn.drawing.values import shortened
from tinygrad_nn.errors import (
    DataError,
    MissingExtraError,
    MutationError,
    OpError,
    SaveError,
)

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
    assert len(drawn) == sum(len(n.inputs) for n in graph.nodes(y.sum()))


def test_a_card_shows_formula_shape_value_and_gradient():
    """Each fact stands on its node's card."""
    W = tg.Parameter([[1.0, 2.0]], name="W")
    x = np.array([3.0, 4.0])
    z = W @ x
    assert (
        label_of(draw((z * z).sum()), "z") == "z matmul W x (1,) value [11] grad [22]"
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


def test_a_product_of_words_has_a_sign():
    """Letters stand side by side, as in a book; words have a sign between them."""
    W = tg.Parameter(np.ones((2, 2)), name="W")
    weight = tg.Parameter(np.ones((2, 2)), name="weight")
    x = np.ones((2, 3))
    assert "matmul = W x" in str(draw((W @ x).sum()))
    assert "matmul = weight @ x" in str(draw((weight @ x).sum()))
    assert "multiply = W ⊙ weight" in str(draw((W * weight).sum()))


def test_unnamed_nodes_are_numbered_in_tape_order():
    """Two of an op are told apart; a single one needs no number."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    text = str(draw(tg.tanh(tg.tanh(x)).sum()))
    assert "tanh₂ = tanh(tanh₁)" in text
    assert "sum = Σ tanh₂" in text


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


def test_a_deep_network_is_folded_unasked():
    """Fourteen layers are a card or two wide, six are shown each; nobody has to ask."""
    deep, few = (
        tg.nn.Sequential(
            *[tg.nn.Dense(4, 4, activation="relu", rng=i) for i in range(n)]
        )
        for n in (14, 6)
    )
    x = np.ones((2, 4))
    assert (
        len(draw(deep, x).dot)
        < len(draw(few, x).dot)
        < len(draw(deep, x, fold=False).dot)
    )


def test_what_is_used_twice_is_told_once():
    """The tree stays linear in the graph: 60 doublings are 61 nodes, not 2^60 lines."""
    y = tg.Tensor(1.0, requires_grad=True)
    for _ in range(60):
        y = y + y
    assert len(str(draw(y, fold=False)).splitlines()) == 121


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


# --- functions and models ---------------------------------------------------------------


def cards_of(drawing):
    """Cards of the whole graph by name, as the JSON tells them."""
    return {card["name"]: card for card in json.loads(drawing.json)["cards"]}


def test_a_function_is_drawn_on_arrays():
    """Floating arrays become inputs with a gradient, called as its parameters are."""
    a, b, k = np.array([1.0, 2.0]), np.float64(3.0), np.array([1, 0])
    drawing = draw(lambda a, b, k: (a * b * k).sum(), a, b, k)
    cards = cards_of(drawing)
    assert cards["a"]["grad"]["cells"] == [[3.0, 0.0]]
    assert cards["b"]["grad"]["mean"] == 1.0
    assert cards["k"]["constant"] if "k" in cards else "k" not in cards
    again = draw(lambda *rest: rest[0] @ rest[1], a, a)
    assert "input₁ @ input₂" in again.dot


def test_arrays_in_dictionaries_and_lists_are_inputs_too():
    """Entries have their key, or their place, for a name."""
    drawing = draw(
        lambda params, scales: (params["W"] * scales[1]).sum(),
        {"W": np.array([1.0, 2.0])},
        [np.ones(2), np.array([3.0, 4.0])],
    )
    cards = cards_of(drawing)
    assert cards["W"]["grad"]["cells"] == [[3.0, 4.0]]
    assert cards["scales[1]"]["grad"]["cells"] == [[1.0, 2.0]]


def test_names_within_a_function_are_its_own():
    """What a statement of the function computes has the name that it gave."""

    def cost(W, X):
        Z1 = W @ X
        A1 = np.tanh(Z1)
        return (A1 * A1).mean()

    text = str(draw(cost, np.ones((2, 3)), np.ones((3, 4))))
    assert "A1 = tanh(Z1)" in text
    assert "Z1 = W X" in text


def test_a_models_data_are_constant():
    """A model is differentiated by its parameters, and its layers have their class."""
    net = tg.nn.Sequential(tg.nn.Dense(2, 3, rng=0), tg.nn.Dense(3, 1, rng=0))
    drawing = draw(net, np.ones((4, 2)))
    assert cards_of(drawing)["x"]["constant"]
    assert "<B>Dense</B>" in drawing.dot
    with pytest.raises(OpError, match="got int from <lambda>"):
        draw(lambda x: 3, np.ones(2))
    with pytest.raises(OpError, match="expected a function or a model before arrays"):
        draw(net(np.ones((4, 2))), np.ones(2))


# --- what flows along an arrow ----------------------------------------------------------


def arrows_of(drawing):
    return json.loads(drawing.json)["arrows"]


def test_shares_add_up_to_the_gradient():
    """What arrives from every consumer sums to the gradient, broadcasting undone."""
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((4, 3)), requires_grad=True, name="x")
    row = tg.Tensor(rng.standard_normal((1, 3)), requires_grad=True, name="row")
    y = tg.tanh(x * row) + tg.exp(row) - x / (1 + row**2)
    z = tg.concatenate([x, y]).sum(axis=0) @ (x.T @ y).sum(axis=1)
    loss = tg.where(y > 0, y * row, x).mean() + z + x.max()
    drawing = draw(loss)
    x_key, row_key = (cards_of(drawing)[name]["key"] for name in ("x", "row"))
    loss.backward()
    for key, grad in ((x_key, x.grad), (row_key, row.grad)):
        shares = [arrow["share"]["cells"] for arrow in arrows_of(drawing) if arrow["start"] == key and arrow["share"]]  # fmt: skip
        assert len(shares) >= 4
        np.testing.assert_allclose(np.sum(shares, axis=0), grad, rtol=1e-12)


def test_arrows_of_a_circuit_tell_local_slope_times_upstream():
    """Local derivatives are slopes of the op alone; their products sum to the gradient."""
    a, b = 0.7, -1.3
    x = tg.Tensor(a, requires_grad=True, name="x")
    y = tg.Tensor(b, requires_grad=True, name="y")
    drawing = draw(tg.tanh(x * y) * x)
    keys = {card["key"]: card for card in json.loads(drawing.json)["cards"]}
    told = {
        (keys[arrow["start"]]["name"], keys[arrow["end"]]["name"]): arrow
        for arrow in arrows_of(drawing)
    }
    t = np.tanh(a * b)
    wanted = {
        ("x", "multiply₁"): (b, a * (1 - t * t)),
        ("y", "multiply₁"): (a, a * (1 - t * t)),
        ("multiply₁", "tanh"): (1 - t * t, a),
        ("tanh", "multiply₂"): (a, 1.0),
        ("x", "multiply₂"): (t, 1.0),
    }
    assert told.keys() == wanted.keys()
    for pair, (local, upstream) in wanted.items():
        assert told[pair]["local"] == pytest.approx(local, rel=1e-12)
        assert told[pair]["upstream"] == pytest.approx(upstream, rel=1e-12)
    assert "-1.3 × 0.336" in re.sub(r"<[^>]*>", "", drawing.dot)


def test_a_share_where_no_path_is_is_no_nan():
    """0 · inf on the branch that was not chosen is a zero, as it is in the gradient."""
    x = tg.Tensor([0.0, 2.0], requires_grad=True, name="x")
    with np.errstate(divide="ignore"):
        drawing = draw(tg.where(x > 0, tg.log(x), 0.0).sum())
    assert cards_of(drawing)["x"]["grad"]["cells"] == [[0.0, 0.5]]
    shares = [a["share"] for a in arrows_of(drawing) if a["share"]]
    assert shares
    assert sum(share["nans"] + share["infs"] for share in shares) == 0


def test_wider_arrows_carry_larger_gradients():
    """Width grows with the norm of what flows back."""
    x = tg.Tensor(np.ones(9), requires_grad=True, name="x")
    y = tg.Tensor(np.ones(9), requires_grad=True, name="y")
    drawing = draw((x * 100.0 + y * 0.01).sum())
    widths = {
        line.split()[0]: float(re.search(r"penwidth=([\d.]+)", line).group(1))
        for line in drawing.dot.splitlines()
        if "penwidth" in line and "->" in line
    }
    keys = {name: card["key"] for name, card in cards_of(drawing).items()}
    assert widths[keys["x"]] > widths[keys["y"]]


# --- heat maps and marks ----------------------------------------------------------------


def colours_of(drawing, name):
    """Colours of the cells on a card, by map and row."""
    key = cards_of(drawing)[name]["key"]
    (label,) = re.findall(rf"^\s*{key} \[label=<(.*)>\]$", drawing.dot, re.MULTILINE)
    tables = re.findall(r"<TABLE [^>]*FIXEDSIZE.*?</TABLE>", label)
    return [
        [re.findall(r'BGCOLOR="(.*?)"', row) for row in table.split("<TR>")[1:]]
        for table in tables
    ]


def test_a_heat_map_is_symmetric_about_zero():
    """Zero has the middle colour, magnitudes alike have colours at equal distance."""
    x = tg.Tensor(
        np.array([[-2.0, 0.0, 1.0], [2.0, np.nan, np.inf], [-1.0, 0.4, -0.4]]), name="x"
    )
    with np.errstate(invalid="ignore"):
        ((top, middle, bottom),) = colours_of(draw(x * 1.0), "x")
    scale = THEMES["light"].diverging
    assert top == [scale[0], scale[5], scale[8]]
    assert middle == [scale[10], THEMES["light"].nan, THEMES["light"].inf]
    assert [scale.index(c) - 5 for c in bottom] == [-3, 1, -1]


def test_large_arrays_are_sampled():
    """Ten million elements are 64 cells, the corners among them, and a short text."""
    big = np.zeros((1000, 10_000))
    big[0, 0], big[-1, -1] = -1.0, 1.0
    x = tg.Tensor(big, name="x")
    drawing = draw(tg.relu(x), names={"x": x})
    (cells,) = colours_of(drawing, "x")
    assert [len(row) for row in cells] == [8] * 8
    scale = THEMES["light"].diverging
    assert (cells[0][0], cells[7][7], cells[3][3]) == (scale[0], scale[10], scale[5])
    assert len(drawing.dot) < 30_000
    assert len(drawing.json) < 30_000


@pytest.mark.parametrize(
    "show", [["values"], ["shapes"], ["formulas", "gradients"], []]
)
def test_what_is_shown_can_be_chosen(show):
    """Each word of show brings its part, and nothing else does."""
    W = tg.Parameter(np.arange(12.0).reshape(3, 4), name="W")
    x = np.ones(4)
    text = draw(((W @ x) ** 2).sum(), show=show).dot
    assert ("0 … 11" in text) == ("values" in show)
    assert ("(3 × 4)" in text) == ("shapes" in show)
    assert ("W x" in text) == ("formulas" in show)
    assert (">grad</FONT>" in text) == ("gradients" in show)
    assert "FIXEDSIZE" not in text
    with pytest.raises(OpError, match="each of show"):
        draw(W.sum(), show=["colours"])


def test_dead_units_are_marked():
    """A unit that is 0 for every example is counted; one that rests for some is not."""
    rows = np.array([[-1.0, 1.0, -1.0], [-2.0, -1.0, -3.0]])
    drawing = draw(tg.relu(tg.Tensor(rows, requires_grad=True, name="z")).sum())
    assert cards_of(drawing)["relu"]["marks"] == ["2 of 3 units dead"]
    assert "⚠ 2 of 3 units dead" in drawing.dot
    W = tg.Parameter(np.eye(3), name="W")
    columns = tg.relu(W @ rows.T)  # units are rows, where the weight stood left
    assert cards_of(draw(columns.sum()))["columns"]["marks"] == ["2 of 3 units dead"]
    alone = tg.relu(tg.Tensor(rows[:1], requires_grad=True))
    assert cards_of(draw(alone.sum()))["alone"]["marks"] == []
    dead = tg.relu(tg.Tensor(-np.ones((4, 2)), requires_grad=True, name="z"))
    cards = cards_of(draw(dead.sum()))
    assert cards["dead"]["marks"] == ["0 everywhere: dead"]


def test_a_parameter_that_nothing_moves_is_marked():
    """Rows, columns or all of a gradient that are 0 are told, and nan is counted."""
    W = tg.Parameter(np.ones((3, 2)), name="W")
    x = np.array([[1.0, 0.0]])
    assert cards_of(draw((x @ W.T).sum()))["W"]["marks"] == [
        "gradient 0 in 1 of 2 columns"
    ]
    assert cards_of(draw((0.0 * W).sum()))["W"]["marks"] == ["gradient 0 everywhere"]
    assert cards_of(draw((1.0 * W).sum()))["W"]["marks"] == []
    with np.errstate(invalid="ignore"):
        bad = draw((np.array([np.nan, np.inf, 1.0]) @ W).sum())
    assert cards_of(bad)["W"]["marks"] == ["2 nan in grad", "2 inf in grad"]


# --- folding ----------------------------------------------------------------------------


class Block(tg.nn.Module):
    def __init__(self, rng):
        self.inner = tg.nn.Dense(4, 4, activation="tanh", rng=rng)

    def forward(self, x):
        return x + self.inner(x)


def deep(blocks):
    rng = np.random.default_rng(0)
    net = tg.nn.Sequential(
        tg.nn.Dense(3, 4, rng=rng), *(Block(rng) for _ in range(blocks))
    )
    return net, rng.standard_normal((5, 3))


def test_layers_that_are_alike_fold_to_one_card():
    """A run says how many there are, of what, with how many parameters, and its shapes."""
    net, X = deep(12)
    drawing = draw(net, X, fold=True)
    (text,) = [" ".join(t.split()) for t in labels(drawing).values() if "×12" in t]
    assert text.startswith("Block ×12 layers.1 … layers.12 60 ops, 240 parameters")
    assert "(5 × 4) → (5 × 4)" in text
    assert text.endswith("grad none")
    total = sum(p.size for p in net.parameters())
    shown = sum(
        int(count.replace(",", ""))
        for t in labels(drawing).values()
        for count in re.findall(r"([\d,]+) parameters", t)
    )
    assert shown + net.layers[0].weight.size + net.layers[0].bias.size == total


def test_a_folded_card_counts_what_is_unusual_inside():
    """A nan inside a folded layer is told on its card."""
    x = tg.Tensor([1.0, -1.0], requires_grad=True, name="x")
    with tg.scope("bad"), np.errstate(invalid="ignore"):
        y = tg.relu(tg.log(x))
    (text,) = [t for t in labels(draw(y.sum(), depth=0)).values() if "2 ops" in t]
    assert "⚠ nan in 2 nodes" in text


def test_three_alike_are_no_run():
    """Four make a run; fewer, or what differs in shape, do not."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    three = tg.sin(tg.sin(tg.sin(x)))
    assert "×3" not in draw(three, fold=True).dot
    assert "sin ×4" in draw(tg.sin(three), fold=True).dot
    assert "×" not in draw(tg.sin(three), fold=False).dot


def test_a_sequence_of_ops_that_repeats_is_a_run():
    """A recurrent net's loop is one card, its shared weights inside."""
    rng = np.random.default_rng(0)
    W = tg.Parameter(rng.standard_normal((5, 5)), name="W")
    X = tg.Tensor(rng.standard_normal((7, 2, 5)), name="X")
    h = tg.Tensor(np.zeros((2, 5)), name="h0")
    for t in range(7):
        h = tg.tanh(X[t] + h @ W)
    drawing = draw(h, fold=True)
    assert "×7 [28 ops 25 parameters]" in str(drawing)
    assert "├─ X" in str(drawing) or "└─ X" in str(drawing)


def reachable(pairs):
    """All (a, b) with a way from a to b."""
    onward = {}
    for a, b in pairs:
        onward.setdefault(a, set()).add(b)
    found = set()
    for start in onward:
        stack = [start]
        while stack:
            for b in onward.get(stack.pop(), ()):
                if (start, b) not in found:
                    found.add((start, b))
                    stack.append(b)
    return found


@pytest.mark.parametrize("settings", [{"fold": True}, {"depth": 0}, {"depth": 1}])
def test_folding_keeps_every_way(settings):
    """An arrow of the folded picture is an arrow between its parts, and none is lost."""
    net, X = deep(6)
    loss = (net(X) ** 2).mean()
    whole = json.loads(draw(loss, fold=False).json)
    folded = draw(loss, **settings)
    told = json.loads(folded.json)
    parents = {group["key"]: group["parent"] for group in told["groups"]}
    closed = set(told["closed"])
    assert closed

    def shown(card):
        outer, key = card["key"], card["group"]
        while key is not None:
            outer = key if key in closed else outer
            key = parents[key]
        return outer

    part_of = {card["key"]: shown(card) for card in told["cards"]}
    wanted = {
        (part_of[a["start"]], part_of[a["end"]])
        for a in whole["arrows"]
        if part_of[a["start"]] != part_of[a["end"]]
    }
    assert set(edges(folded)) == wanted
    assert len(edges(folded)) < len(whole["arrows"])


def test_depth_says_how_deep_to_look():
    """Depth 0 shows the outermost layers as cards, depth 1 opens these."""
    W = tg.Parameter([1.0, 2.0], name="W")
    with tg.scope("encoder"):
        y = tg.tanh(W)
        with tg.scope("head"):
            y = tg.exp(y)
    loss = y.sum()
    closed = labels(draw(loss, depth=0))
    assert [" ".join(t.split())[:7] for t in closed.values()] == ["encoder", "loss su"]
    opened = draw(loss, depth=1)
    assert "tanh(W)" in opened.dot
    assert "exp" not in opened.dot
    assert "exp" in draw(loss, depth=2).dot


def test_a_large_graph_is_readable_by_default():
    """Thousands of ops, alike or not, leave a picture of at most 120 cards of ops."""
    net, X = deep(200)
    assert len(labels(draw(net, X))) < 20
    rng = np.random.default_rng(1)
    values = [tg.Tensor(v, requires_grad=True) for v in (0.5, 0.6, 0.7)]
    for _ in range(3000):
        a, b = (values[-1 - i] for i in rng.integers(3, size=2))
        values.append([a * b, a + b, tg.sin(a), a - b][rng.integers(4)])
    drawing = draw(values[-1])
    assert len(labels(drawing)) < 150
    assert "more" in str(drawing)


def test_a_layer_that_was_called_twice_is_one_card():
    """Folded layers may feed each other; picture and tree show it and end."""
    rng = np.random.default_rng(0)
    net = tg.nn.Sequential(tg.nn.Dense(3, 3, rng=rng), tg.nn.Dense(3, 3, rng=rng))
    y = net(net(np.ones((2, 3))))
    drawing = draw(y, depth=1)
    assert len([t for t in labels(drawing).values() if "parameters" in t]) == 2
    assert "parameters]" in str(drawing)


# --- other forms ------------------------------------------------------------------------


def test_dark_differs_in_colours_alone():
    """A theme changes colours, and no word or edge."""
    net, X = deep(2)
    light, dark = draw(net, X), draw(net, X, theme="dark")
    assert light.dot != dark.dot
    assert re.sub(r"#[0-9a-f]{6}", "", light.dot) == re.sub(
        r"#[0-9a-f]{6}", "", dark.dot
    )
    with pytest.raises(
        OpError, match="theme is 'auto' or 'light' or 'dark'; got 'blue'"
    ):
        draw(net, X, theme="blue")


@pytest.mark.parametrize("name", [*HOSTILE, "</iframe>" * 1000, "#34; %% --> subgraph"])
def test_other_forms_hold_hostile_names_as_text(name):
    """JSON is strict, Mermaid's labels hold no sign of its own, a page no markup."""
    x = tg.Tensor([np.nan, np.inf], requires_grad=True, name=name)
    with tg.scope(name or "layer"), np.errstate(invalid="ignore"):
        y = tg.tanh(x)
    drawing = draw(y.sum(), title=name)
    told = json.loads(drawing.json, parse_constant=pytest.fail)
    assert any(card["name"] in (shortened(name), "x") for card in told["cards"])
    _, _, body = drawing.mermaid.partition("flowchart")
    for label in re.findall(r'\["(.*)"\]', body):
        assert not set(re.sub(r"#\d+;|<br/>", "", label)) & set('"<>&[]{}\\`')
    assert body.count("subgraph ") == body.count("  end\n") <= 1
    page = drawing.html
    assert page.count("<script") == draw(tg.Tensor(1.0) * 2).html.count("<script")
    assert "<iframe" not in page
    bundle = drawing._repr_mimebundle_()
    assert bundle["text/html"].count("<") == 2


def test_mermaid_has_every_card_and_arrow():
    """The flowchart is the same graph as the DOT."""
    net, X = deep(3)
    drawing = draw(net, X)
    found = re.findall(r"^  (\w+) -->(?:\|.*\|)? (\w+)$", drawing.mermaid, re.MULTILINE)
    assert sorted(found) == sorted(edges(drawing))
    assert set(re.findall(r"^ +(\w+)\[\"", drawing.mermaid, re.MULTILINE)) == set(
        labels(drawing)
    )


def test_the_page_is_of_the_values_that_were_drawn():
    """A page after a change would show another graph: it is refused."""
    W = tg.Parameter([1.0, 2.0], name="W")
    drawing = draw((W * W).sum())
    with tg.no_grad():
        W += 7.0
    with pytest.raises(MutationError, match="a value changed since"):
        drawing.html  # noqa: B018
    assert "text/html" not in drawing._repr_mimebundle_()
    assert "value [1, 2]" in label_of(drawing, "W")


def test_times_are_measured_where_they_are_asked_for():
    """Each op has two times, of its body and of its rules; leaves have none."""
    x = tg.Tensor(np.ones((50, 50)), requires_grad=True)
    y = tg.tanh(x @ x)
    found = times_of(graph.nodes(y.sum()))
    assert [node.op.name for node in found] == ["matmul", "tanh", "sum"]
    assert all(forward > 0 and backward > 0 for forward, backward in found.values())
    assert len(draw(y.sum(), times=True).html) > len(draw(y.sum()).html)


def test_every_form_is_the_same_on_every_run():
    """Mermaid, JSON and page have no trace of addresses, hash seeds or time."""
    texts = [
        subprocess.run(
            [sys.executable, "-c", NETWORK + "print(drawing.mermaid, drawing.json, drawing.html)"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(tg.__file__).parent.parent)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert texts[0] == texts[1]
    assert b"flowchart" in texts[0]


def test_no_form_recurses_over_the_graph():
    """A chain far longer than the interpreter's stack is drawn in every form."""
    rng = np.random.default_rng(0)
    y = tg.Tensor(0.5, requires_grad=True, name="x")
    for kind in rng.integers(3, size=3000):
        y = (tg.sin, tg.tanh, lambda v: v * 0.9)[kind](y)
    limit = sys.getrecursionlimit()
    drawing = draw(y, fold=False)
    sys.setrecursionlimit(250)
    try:
        forms = [drawing.dot, drawing.mermaid, str(drawing), drawing.json]
    finally:
        sys.setrecursionlimit(limit)
    assert all(len(form) > 3000 for form in forms)
    assert len(labels(drawing)) > 3000


def test_pygraphviz_draws_where_the_program_is_missing(monkeypatch):
    """The second engine draws the same words at as many places."""
    pytest.importorskip("pygraphviz")
    net, X = deep(1)
    drawing = draw(net, X, title="α < β")

    def missing(self, **options):
        raise graphviz.ExecutableNotFound(["dot"])

    monkeypatch.setattr(graphviz.Source, "pipe", missing)
    root = ET.fromstring(drawing.svg())
    words = "".join(root.itertext())
    assert "α < β" in words
    assert "Dense" in words
    titles = [e.text for e in root.iter() if e.tag.endswith("title")]
    assert set(labels(drawing)) <= set(titles)
    assert rendered(drawing.dot, "pdf").startswith(b"%PDF")
    assert rendered(drawing.dot, "png").startswith(b"\x89PNG")
