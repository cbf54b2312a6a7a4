"""The explorer page: true at every step, offline, and safe whatever names and values hold."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph
from tinygrad_nn.drawing.explorer import story_of
from tinygrad_nn.drawing.explorer.field import field_of
from tinygrad_nn.drawing.explorer.layers import boxes_of
from tinygrad_nn.drawing.page import page_of

ROOT = Path(tg.__file__).parent.parent
CHROMIUM = next(
    (
        path
        for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
        if path
    ),
    None,
)
HOSTILE = '</script><img src=x onerror=window.pwned=1><!--<script> & "q" \' ` ${1} $\\frac{a}{b}$ \\input{x} [label=<<B>>] \N{PARTY POPPER}\x00\u202e]]>'


def rng(seed=0):
    return np.random.default_rng(seed)


def network():
    """Two layers and a loss; examples are columns, as in the tutorials."""
    X, Y = rng(1).standard_normal((2, 40)), (rng(2).random((1, 40)) > 0.5) * 1.0
    W1, b1 = (
        tg.Parameter(rng(3).standard_normal((4, 2)), name="W1"),
        tg.Parameter(np.zeros((4, 1)), name="b1"),
    )
    W2, b2 = (
        tg.Parameter(rng(4).standard_normal((1, 4)), name="W2"),
        tg.Parameter(np.zeros((1, 1)), name="b2"),
    )
    X, Y = tg.Tensor(X, name="X"), tg.Tensor(Y, name="Y")
    with tg.scope("hidden"):
        A1 = np.tanh(W1 @ X + b1)
    with tg.scope("out"):
        A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
    A1.name, A2.name = "A1", "A2"
    return -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).mean()


def circuit():
    """L = (a b + c) f + a: `a` is used twice."""
    a, b, c, f = (
        tg.Tensor(x, requires_grad=True, name=n)
        for x, n in ((2.0, "a"), (-3.0, "b"), (10.0, "c"), (-2.0, "f"))
    )
    e = a * b
    d = e + c
    p = d * f
    L = p + a
    for node, name in ((e, "e"), (d, "d"), (p, "p"), (L, "L")):
        node.name = name
    return L


def layered(count=100):
    """A chain of like layers, each a scope: about five ops a layer."""
    h = tg.Tensor(rng().standard_normal((8, 6)), name="X")
    for i in range(count):
        W = tg.Parameter(rng(i).standard_normal((6, 6)) / 3, name=f"W{i}")
        with tg.scope(f"Dense {i}"):
            h = np.tanh(h @ W + 0.1) + h * 0.5
    return (h * h).mean()


def neurons():
    """Numbers of many digits: a hidden layer of three, neuron by neuron."""
    draw = rng(5).standard_normal
    h = []
    for _ in range(3):
        s = tg.Parameter(draw())
        for x in (1.25, -2.75):
            s = s + tg.Parameter(draw()) * x
        h.append(np.tanh(s))
    return (h[0] * h[1] * 1e-5 + h[2] - 1.0) ** 2


def node_of(story, name):
    (node,) = [node for node in story["nodes"] if node["name"] == name]
    return node


# --- what the page is told --------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        rng().standard_normal((7, 9)),
        rng().standard_normal((3, 4, 5)) * 1e-200,
        np.array([[1.0, np.nan], [np.inf, -np.inf]]),
        np.full(30, 1.7e308) * np.array([1, -1] * 15),
        np.zeros((4, 4)),
        np.array(3.5),
        np.arange(40) % 7,
        np.arange(40) % 3 == 0,
        np.float32([1, 2, 3]),
    ],
    ids=[
        "plain",
        "tiny",
        "not finite",
        "huge",
        "zeros",
        "0-d",
        "integers",
        "booleans",
        "float32",
    ],
)
def test_the_numbers_of_a_field_are_those_of_its_array(array):
    """Range, mean, deviation, norm and counts are NumPy's, of the finite elements."""
    told = json.loads(json.dumps(field_of(array, 8), allow_nan=False))
    finite = np.asarray(array, np.longdouble)[np.isfinite(array)]
    assert told["n"] == array.size
    assert told.get("nan", 0) == np.isnan(array).sum()
    assert told.get("inf", 0) == np.isinf(array).sum()
    assert told.get("zero", 0) == (array == 0).sum()
    expected = (
        finite.min(),
        finite.max(),
        finite.mean(),
        finite.std(),
        np.sqrt((finite**2).sum()),
    )
    for key, number in zip(("lo", "hi", "mean", "std", "norm"), expected, strict=True):
        if abs(number) < np.finfo(float).max:
            assert float(told[key]) == pytest.approx(
                float(number), rel=1e-4, abs=1e-4 * float(abs(finite).max())
            ), key


def test_a_map_shows_each_element_at_its_place():
    """Read back, the signed bytes of a small map are the array, up to their resolution."""
    array = rng().standard_normal((5, 7))
    array[2, 3] = np.nan
    array[0, 0] = np.inf
    told = field_of(array, 32)
    cells = np.frombuffer(base64.b64decode(told["map"]), np.int8).reshape(
        told["rows"], told["cols"]
    )
    assert cells[2, 3] == -128
    assert cells[0, 0] == 127
    plain = np.isfinite(array)
    assert (
        np.abs(cells[plain] / 126 * told["top"] - array[plain]).max()
        < told["top"] / 200
    )


def test_ten_million_numbers_are_a_small_page():
    """A page grows with its nodes and not with the size of their values."""
    pages = []
    for size in (100, 10_000_000):
        x = tg.Tensor(np.linspace(-1, 1, size), requires_grad=True, name="x")
        pages.append(page_of([(x * x).sum()]))
    assert len(pages[1]) < len(pages[0]) + 20_000


def test_shares_of_several_uses_add_up_to_the_gradient():
    """What consumers pass back, summed, is the gradient that the engine computes."""
    x = tg.Tensor(rng().standard_normal((3, 4)), requires_grad=True, name="x")
    b = tg.Tensor(rng(1).standard_normal(4), requires_grad=True, name="b")
    loss = (np.tanh(x + b) * b + x * x + (x @ np.ones((4, 4))) * x).sum()
    story = story_of([loss])
    for leaf, uses in ((x, 5), (b, 2)):
        node = node_of(story, leaf.name)
        (slope,) = tg.gradients(loss, [leaf])
        fields = [share for _, _, share in node["from"]]
        assert len(fields) == uses
        maps = [
            np.frombuffer(base64.b64decode(f["map"]), np.int8) / 126 * f["top"]
            for f in fields
        ]
        assert np.abs(sum(maps) - slope.data.ravel()).max() < 0.02 * sum(
            f["top"] for f in fields
        )


def test_a_zero_that_is_no_path_is_no_nan_in_a_share():
    """where(x > 0, log x, 0) at 0: no share is nan, since the gradient is not."""
    x = tg.Tensor([0.0, 2.0], requires_grad=True, name="x")
    with np.errstate(divide="ignore"):
        loss = (np.where(x > 0, np.log(x), 0.0) + x).sum()
    node = node_of(story_of([loss]), "x")
    assert node["grad"]["x"] == [1, 1.5]
    assert [share["x"] for _, _, share in node["from"]] in (
        [[1, 1], [0, 0.5]],
        [[0, 0.5], [1, 1]],
    )


def test_a_story_touches_no_gradient():
    """Telling a story leaves `.grad` and the values as they were."""
    loss = network()
    leaves = [x for x in graph.nodes(loss) if x.op is None]
    story_of([loss])
    assert all(leaf.grad is None for leaf in leaves)


def test_nodes_without_a_gradient_say_why():
    """A constant, a leaf that no path leads to, and an output that is no number."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = tg.Tensor([1.0, 2.0], requires_grad=True, name="y")
    c = tg.Tensor([3.0, 4.0], name="c")
    loss = (x * c).sum() + np.sign(y).sum()
    story = story_of([loss])
    assert node_of(story, "c")["grad"] == "constant"
    assert node_of(story, "y")["grad"] is None
    assert [badge["word"] for badge in node_of(story, "y")["badges"]] == ["no gradient"]
    assert "not one number" in story_of([x * c])["note"]
    assert not story_of([x * c])["backward"]


def test_a_dead_unit_is_marked_in_either_layout():
    """A unit that is 0 for every example is dead: a column, or a row of `W @ X`."""
    X = np.abs(rng().standard_normal((6, 3)))
    W = np.ones((3, 4))
    W[:, 1] = -1
    rows = tg.relu(tg.Tensor(X) @ tg.Parameter(W))
    columns = tg.relu(tg.Parameter(W.T.copy()) @ tg.Tensor(X.T.copy()))
    for hidden in (rows, columns):
        hidden.name = "hidden"
        badges = node_of(story_of([hidden.sum()]), "hidden")["badges"]
        assert [badge["word"] for badge in badges] == ["dead 1/4"]


def test_every_op_is_in_its_layer():
    """Following the parents of its box, an op finds the path that it was recorded in."""
    paths = [
        ("net", "a"),
        ("net", "a"),
        ("net", "b", "c"),
        ("net", "b", "c"),
        (),
        ("net", "a"),
        ("net", "a"),
    ]
    boxes, homes = boxes_of(paths, "123412")
    found = []
    for home in homes:
        names = []
        while home >= 0:
            names.insert(0, boxes[home].name)
            home = boxes[home].parent
        found.append(tuple(names))
    again = ("net (2)", "a")
    assert found == [
        ("net", "a"),
        ("net", "a"),
        ("net", "b", "c"),
        ("net", "b", "c"),
        (),
        again,
        again,
    ]


@pytest.mark.parametrize("count", [60, 400, 5000])
def test_no_box_holds_more_than_a_page_can_show(count):
    """However long a graph, opened box by box, no box shows more than some seventy."""
    looks = [rng(i).integers(3) for i in range(count)]  # no pattern
    boxes, homes = boxes_of([()] * count, looks)
    inside = np.bincount(np.array([*homes, *(box.parent for box in boxes)]) + 1)
    assert inside.max() <= 72
    assert len(homes) == count


def test_runs_of_like_layers_fold():
    """A hundred like layers are one box of a hundred; one that differs stands alone."""
    paths = [(f"Dense {i}",) for i in range(101) for _ in range(2)]
    looks = [["matmul", "tanh"], ["matmul", "relu"]]
    boxes, _ = boxes_of(paths, [look for i in range(101) for look in looks[i == 100]])
    runs = [box for box in boxes if box.kind == "run"]
    assert [(run.name, run.times) for run in runs] == [("Dense 0 … Dense 99", 100)]
    alone = next(box for box in boxes if box.name == "Dense 100")
    assert alone.parent == -1


def test_layers_and_runs_say_their_class():
    """A class that is known by its path is told of the layer, and of a run of such layers."""
    paths = [(f"layers.{i}",) for i in range(60) for _ in range(2)]
    classes = {f"layers.{i}": "Dense" for i in range(60)}
    boxes, homes = boxes_of(paths, ["matmul", "tanh"] * 60, classes)
    assert boxes[homes[0]].of == "Dense"
    assert [(box.of, box.times) for box in boxes if box.kind == "run"] == [
        ("Dense", 60)
    ]


def test_a_chain_of_a_hundred_thousand_ops_is_told():
    """Without recursion, folded, and its two ends only."""
    x = tg.Tensor(0.5, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 0.99999
    story = story_of([y])
    assert len(story["nodes"]) < 6_000
    assert "left out" in " ".join(node["name"] for node in story["nodes"])
    roots = [box for box in story["boxes"] if box["in"] < 0]
    assert len(roots) < 30
    assert node_of(story, story["nodes"][story["outputs"][0]]["name"])["value"][
        "x"
    ] == [pytest.approx(0.5 * 0.99999**100_000, rel=1e-4)]


def test_the_same_program_gives_the_same_page():
    """Neither addresses nor hash seeds nor the clock leave a trace in the page."""
    program = (
        "import hashlib, sys; sys.path.insert(0, 'tests'); import test_explorer as t\n"
        "print(hashlib.sha256(t.page_of([t.layered(9)]).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_page_is_small():
    """Twenty nodes take no more than 0.7 MB, five hundred no more than 1.2 MB."""
    assert len(page_of([network()]).encode()) <= 700_000
    story = story_of([layered(100)])
    assert 500 <= len(story["nodes"]) <= 700
    assert len(page_of([layered(100)]).encode()) <= 1_200_000


def test_no_name_becomes_markup():
    """Whatever a title and names hold, the page's text has the same elements."""
    plain, hostile = (
        page_of([(tg.Tensor(2.0, requires_grad=True, name=name) * 3.0)], title=name)
        for name in ("plain", HOSTILE)
    )
    elements = re.compile(r"<[!/a-z][^>\s]*", re.IGNORECASE)
    assert elements.findall(hostile) == elements.findall(plain)


def test_a_page_names_no_address():
    """The policy forbids every address, and the page's own text holds none."""
    page = page_of([network()])
    assert "default-src 'none'" in page
    shell = re.sub(r'data-bytes="\d+">[^<]*<', "<", page)
    assert not re.search(r"https?:|src=|href=|url\(|@import", shell)


OUT_OF_REACH = "ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH"


@pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="needs node and npm",
)
def test_the_asset_is_what_its_source_builds_to(tmp_path):
    """Built anew from docs/explorer, the files in the package come out byte for byte."""
    source = ROOT / "docs" / "explorer"
    copy = tmp_path / "explorer"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("node_modules"))
    if (source / "node_modules").is_dir():
        (copy / "node_modules").symlink_to(source / "node_modules")
    built = tmp_path / "built"
    built.mkdir()
    once = {"npm_config_fetch_retries": "1", "npm_config_fetch_timeout": "60000"}
    done = subprocess.run(
        ["bash", copy / "build.sh", built],
        env={**os.environ, **once},
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode and re.search(OUT_OF_REACH, done.stderr):
        pytest.skip("the packages of docs/explorer/package.json are out of reach")
    assert done.returncode == 0, done.stderr
    for file in built.iterdir():
        assert (
            ROOT / "tinygrad_nn" / "drawing" / "explorer" / file.name
        ).read_bytes() == file.read_bytes(), file.name
    assert {file.name for file in built.iterdir()} == {
        "explorer.js",
        "elk-worker.min.js",
        "EPL-2.0.md",
    }


# --- in a browser -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page; at the end it has asked for nothing, and complained of nothing."""
    contexts = []
    faults = []

    def opened(outputs, address="", *, may_complain=False, page=None, **options):
        told = {
            key: options.pop(key)
            for key in ("title", "direction", "theme", "chosen")
            if key in options
        }
        file = tmp_path / f"page{len(contexts)}.html"
        text = page or page_of(
            outputs if isinstance(outputs, list) else [outputs], **told
        )
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, **options}
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
        if not may_complain:
            tab.on("console", lambda said: faults.append(f"console: {said.text}"))
        tab.on(
            "request",
            lambda asked: (
                faults.append(f"request: {asked.url}")
                if not asked.url.startswith(("file:", "blob:", "data:"))
                else None
            ),
        )
        tab.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        tab.goto(file.as_uri() + (f"#{address}" if address else ""))
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert not faults


def card(tab, name):
    return tab.locator(f'.card[aria-label^="{name},"]')


def at_step(tab, step):
    tab.evaluate(f"window.explorer.goto({step})")


def shown(tab, name, which):
    """Number in the value or gradient field of a card of a scalar graph."""
    text = card(tab, name).locator(f".{which} .big")
    return text.inner_html().replace("−", "-") if text.count() else None


def test_numbers_appear_as_the_play_comes_to_them(opened):
    """At each step of a circuit, the values and partial gradients of a hand-worked table."""
    tab = opened(circuit())
    # forward e d p L, seed, backward L p d e
    values = {"e": (1, "-6"), "d": (2, "4"), "p": (3, "-8"), "L": (4, "-6")}
    slopes = {
        "L": [(5, "1")],
        "p": [(6, "1")],
        "d": [(7, "-2")],
        "f": [(7, "4")],
        "e": [(8, "-2")],
        "c": [(8, "-2")],
        "a": [(6, "1"), (9, "7")],  # 1 of L, and 6 more of e
        "b": [(9, "-4")],
    }
    for step in range(10):
        at_step(tab, step)
        for name, (when, number) in values.items():
            assert shown(tab, name, "value") == (number if step >= when else None), (
                step,
                name,
            )
        for name, arrivals in slopes.items():
            now = [number for when, number in arrivals if step >= when]
            assert shown(tab, name, "grad") == (now[-1] if now else None), (step, name)


def test_lines_of_a_circuit_tell_upstream_times_local(opened):
    """Labels of the edges of L = (a b + c) f + a, once backward has passed them."""
    tab = opened(circuit())
    labels = tab.locator(".line-label:not(.hidden)").all_text_contents()
    expected = [
        "-2 × -3",
        "-2 × 2",
        "-2 × 1",
        "-2 × 1",
        "1 × -2",
        "1 × 4",
        "1 × 1",
        "1 × 1",
    ]
    assert sorted(x.replace("−", "-") for x in labels) == sorted(expected)
    at_step(tab, 4)
    assert not tab.locator(".line-label:not(.hidden)").count()


def test_every_op_has_its_step_forward_and_backward(opened):
    """The play names each op of the tape in order, and then those with a gradient, backwards."""
    loss = network()
    story = story_of([loss])
    tab = opened(loss)
    ops = [node for node in story["nodes"] if "op" in node]
    passing = [node for node in ops if isinstance(node["grad"], dict)]
    assert tab.evaluate("window.explorer.steps") == len(ops) + 1 + len(passing)
    at_step(tab, 1)
    assert tab.locator(".says .way").inner_text() == "forward"
    assert tab.locator(".now-forward").count() == 1
    at_step(tab, len(ops) + 2)
    assert tab.locator(".says .way").inner_text() == "backward"


def test_hostile_names_and_titles_stay_text(opened):
    """Every card is opened: nothing is injected, nothing runs, names are shown as they are."""
    x = tg.Tensor([[1.0, 2.0]], requires_grad=True, name=HOSTILE)
    y = tg.Tensor([[3.0, 4.0]], requires_grad=True, name="\N{PARTY POPPER}" * 10_000)
    z = tg.Tensor([[0.5, 0.5]], requires_grad=True, name="]]>" + HOSTILE)
    with tg.scope(HOSTILE.replace(".", " ")):
        h = np.tanh(x * y)
        loss = (h + z * z).sum()
    tab = opened(loss, title=HOSTILE * 40)
    assert "</script><img" in tab.locator("h1").inner_text()
    for step in range(tab.evaluate("window.explorer.steps") + 1):
        at_step(tab, step)
    for selector in (".card", ".chip", ".toggle"):
        for i in range(tab.locator(selector).count()):
            tab.locator(selector).nth(i).evaluate(
                "x => x.dispatchEvent(new MouseEvent('click', {bubbles: true}))"
            )
            tab.wait_for_timeout(30)
    tab.locator("input[type=search]").fill("</script")
    tab.wait_for_timeout(50)
    assert tab.evaluate("window.pwned === undefined")
    assert (
        tab.locator("script").count() == 5
    )  # engine, program, story, loader, and the program running
    assert not tab.locator("img:not([src^='data:image/png'])").count()
    assert not tab.locator("body *:is(iframe, object, embed, link, base, form)").count()
    svg = tab.evaluate("window.explorer.savedSvg()")
    names = {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()}
    assert names <= {
        "svg",
        "g",
        "rect",
        "path",
        "text",
        "image",
        "title",
        "style",
        "line",
    }


def test_the_policy_is_a_second_wall(opened):
    """A script, a handler or a picture from elsewhere, were one ever injected, does nothing."""
    tab = opened(circuit(), may_complain=True)
    tab.evaluate(
        """() => {
        document.body.insertAdjacentHTML("beforeend", "<img src='data:x' onerror='window.pwned=1'>");
        const script = document.createElement("script");
        script.textContent = "window.pwned = 2";
        document.body.append(script);
        const picture = document.createElement("img");
        picture.onload = () => { window.pwned = 3; };
        picture.src = "file:///favicon.ico";
        }"""
    )
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.pwned === undefined")


def test_strange_values_are_shown(opened):
    """NaN, infinities, an empty array, a number, booleans and integers: each says what it is."""
    x = tg.Tensor([[1.0, np.nan], [np.inf, -np.inf]], requires_grad=True, name="x")
    empty = tg.Tensor(np.zeros((0, 3)), requires_grad=True, name="empty")
    one = tg.Tensor(np.nan, requires_grad=True, name="one")
    mask = tg.Tensor(np.array([[True, False], [True, True]]), name="mask")
    with np.errstate(all="ignore"):
        h = np.where(mask, x, 0.0)
        h.name = "h"
        e = empty * 2.0
        e.name = "e"
        loss = h.sum() + e.sum() + one
    loss.name = "loss"
    tab = opened(loss)
    assert shown(tab, "loss", "value") == "NaN"
    assert card(tab, "h").locator(".badge-word").all_text_contents() == ["inf"]
    assert "empty" in card(tab, "e").locator(".value").inner_html()
    tab.locator('.chip[aria-label^="x,"]').click()
    assert "1 of 4 (25 %)" in tab.locator(".panel").inner_text()
    assert "NaN" in tab.locator(".panel").inner_text()
    card(tab, "mask").click()
    assert "3 of 4" in tab.locator(".panel").inner_text()


def test_shares_arrive_one_by_one(opened):
    """A gradient that two uses pass back is partial after the first, and whole after the second."""
    x = tg.Tensor(rng().standard_normal((4, 5)), name="x")
    W = tg.Parameter(rng(1).standard_normal((5, 5)), name="W")
    y = x @ W
    z = np.tanh(y)
    loss = (z * y).sum()
    y.name, z.name = "y", "z"
    tab = opened(loss)
    card(tab, "y").click()
    steps = tab.evaluate("window.explorer.steps")
    seen = []
    for step in range(steps + 1):
        at_step(tab, step)
        seen.append(card(tab, "y").locator(".grad .caption").inner_html())
    assert seen[0] == ""
    assert "1 of 2" in seen
    assert seen[-1].startswith("‖·‖")
    (slope,) = tg.gradients(loss, [y])
    assert float(seen[-1].split()[-1]) == pytest.approx(
        float(np.linalg.norm(slope.data)), rel=5e-3
    )
    assert tab.locator(".arrivals li").count() == 2


def test_the_panel_shows_formulas_and_numbers(opened):
    """Forward and each vector-Jacobian product are MathML; numbers stand in where few."""
    pytest.importorskip("latex2mathml")
    x, W = (
        tg.Tensor([[1.0, 2.0]], requires_grad=True, name="x"),
        tg.Parameter([[3.0], [4.0]], name="W"),
    )
    y = x @ W
    y.name = "y"
    tab = opened((y * y).sum())
    card(tab, "y").click()
    tab.wait_for_selector(".panel math")
    lines = [
        "".join(line.split())
        for line in tab.locator(".panel .formula").evaluate_all(
            "all => all.map(x => x.textContent)"
        )
    ]
    # dy = 2 y = 22; times 3 and 4, times 1 and 2
    assert lines == [
        "y=xW",
        "[11]=[12][34]",
        "dx=dyW⊤",
        "[6688]=[22][34]⊤",
        "dW=x⊤dy",
        "[2244]=[12]⊤[22]",
    ]
    assert "test_explorer.py" in tab.locator(".panel .source").inner_text()


def test_arrays_that_are_no_tensors_stand_in_formulas_by_name(opened):
    """A plain array among the operands has its name in the rule of the other operand."""
    Y, x = (
        np.array([[1.0, 2.0, 3.0]]),
        tg.Tensor([[1.0, 2.0, 4.0]], requires_grad=True, name="x"),
    )
    y = Y * x
    y.name = "y"
    story = story_of([y.sum()], chosen={"Y": Y})
    ((position, line),) = node_of(story, "y")["back"]
    assert position == 1
    assert story["formulas"][line][0] in ("\ua001 ⊙ \ua002", "\ua002 ⊙ \ua001")


def test_without_latex2mathml_formulas_are_plain_text(opened, monkeypatch):
    """The page needs no extra: formulas are then shown as text."""
    from tinygrad_nn.drawing.explorer import story

    monkeypatch.setattr(story, "mathml", lambda _latex: None)
    x = tg.Tensor([[1.0, 2.0]], requires_grad=True, name="x")
    h = np.tanh(x)
    h.name = "h"
    tab = opened(h.sum())
    card(tab, "h").click()
    assert (
        "".join(tab.locator(".panel .formula").first.text_content().split())
        == "h=tanh(x)"
    )


def test_layers_fold_and_the_address_remembers(opened):
    """Folding, the step and what is selected survive a reload, by the page's address."""
    tab = opened(network())
    cards = tab.locator(".card").count()
    tab.get_by_role("button", name="Fold out").click()
    tab.wait_for_selector(".card.folded")
    folded = tab.locator(".card").count()
    assert folded < cards
    at_step(tab, 3)
    card(tab, "A1").click()
    tab.wait_for_timeout(300)
    assert "step=3" in tab.url
    tab.reload()
    tab.wait_for_selector("body[data-ready]")
    assert tab.locator(".card").count() == folded
    assert tab.locator(".says .number").inner_text().startswith("3 /")
    assert tab.locator(".panel h2").inner_text() == "A1"
    tab.locator(".card.folded").click()
    tab.wait_for_selector(".card.folded", state="detached")
    assert tab.locator(".card").count() == cards


@pytest.mark.parametrize(
    ("asked", "folded", "least"),
    [
        ({"fold": True}, 1, 3),
        ({"fold": False}, 0, 30),
        ({"depth": 0}, 1, 3),
        ({"fold": False, "depth": 0}, 12, 14),
        ({"fold": False, "depth": 1}, 0, 30),
    ],
)
def test_a_page_begins_as_it_was_asked_to(opened, asked, folded, least):
    """``fold=`` and ``depth=`` of a drawing are what its page begins with."""
    loss = layered(12)
    tab = opened(loss, page=tg.draw(loss, **asked).html)
    assert tab.locator(".card.folded").count() == folded
    assert tab.locator(".card").count() >= least


def test_a_hundred_layers_begin_folded(opened):
    """Five hundred nodes are a handful of cards, until they are asked for."""
    tab = opened(layered(100))
    assert tab.locator(".card").count() < 12
    assert "×100" in tab.locator(".card.folded").first.inner_html()


def test_keys_do_what_the_help_says(opened):
    """Arrows step, space plays, slash searches, ? helps, Escape clears."""
    tab = opened(network())
    number = tab.locator(".says .number")
    tab.keyboard.press("Home")
    assert number.inner_text().startswith("0 /")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    assert number.inner_text().startswith("1 /")
    tab.keyboard.press("End")
    total = tab.evaluate("window.explorer.steps")
    assert number.inner_text() == f"{total} / {total}"
    tab.keyboard.press(" ")
    assert "Pause" in tab.locator(".playing").inner_text()
    tab.keyboard.press("Escape")
    assert "Play" in tab.locator(".playing").inner_text()
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.type") == "search"
    tab.keyboard.type("A1")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".panel h2")
    assert tab.locator(".panel h2").inner_text() == "A1"
    tab.keyboard.press("Escape")
    assert tab.locator(".panel").is_hidden()
    tab.keyboard.press("?")
    assert tab.locator("dialog").is_visible()
    tab.keyboard.press("Escape")
    assert tab.locator("dialog").is_hidden()


def test_search_opens_the_layer_that_hides_what_it_found(opened):
    """A parameter inside a folded run is found, shown and selected."""
    tab = opened(layered(100))
    tab.keyboard.press("/")
    tab.keyboard.type("W57")
    tab.wait_for_selector("[role=option]")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".chip.chosen")
    assert tab.locator(".panel h2").inner_text() == "W57"
    assert tab.locator(".chip.chosen").get_attribute("aria-label").startswith("W57,")


def test_hover_traces_what_a_node_comes_from_and_leads_to(opened):
    """Over `d` of L = (a b + c) f + a, only f is neither ancestor nor descendant."""
    tab = opened(circuit())
    card(tab, "d").hover()
    tab.wait_for_selector(".card.dim")
    dim = tab.locator(".card.dim").evaluate_all(
        "all => all.map(x => x.getAttribute('aria-label').split(',')[0])"
    )
    assert dim == ["f"]


GEOMETRY = """() => {
  const box = (x) => { const b = x.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  const cards = [...document.querySelectorAll(".card")].map((x) => box(x.querySelector(".paper:not(.under)")));
  const ways = [...document.querySelectorAll("path.way")].map((way) => {
    const length = way.getTotalLength();
    const matrix = way.getScreenCTM();
    return Array.from({ length: Math.ceil(length / 4) }, (_, i) => {
      const p = way.getPointAtLength(i * 4).matrixTransform(matrix);
      return [p.x, p.y];
    });
  });
  const words = [...document.querySelectorAll(".card")].map((x) => [...x.querySelectorAll("text")].filter((t) => t.textContent && !t.closest(".badge")).map(box));
  return { cards, ways, words };
}"""


@pytest.mark.parametrize(
    "graph", [network, circuit, neurons, lambda: layered(6), lambda: layered(40)]
)
def test_lines_run_behind_no_card_and_captions_do_not_collide(opened, graph):
    """No point of a line is inside a card, and no two texts of a card overlap."""
    tab = opened(graph())
    seen = tab.evaluate(GEOMETRY)
    assert len(seen["ways"]) >= 3
    for left, top, right, bottom in seen["cards"]:
        for way in seen["ways"]:
            inside = [
                (x, y)
                for x, y in way
                if left + 1 < x < right - 1 and top + 1 < y < bottom - 1
            ]
            assert not inside
    for (left, _, right, _), texts in zip(seen["cards"], seen["words"], strict=True):
        for i, a in enumerate(texts):
            assert a[0] >= left - 0.5
            assert a[2] <= right + 0.5
            for b in texts[:i]:
                wide, high = (
                    min(a[2], b[2]) - max(a[0], b[0]),
                    min(a[3], b[3]) - max(a[1], b[1]),
                )
                assert wide < 0.5 or high < 0.35 * min(a[3] - a[1], b[3] - b[1])


def test_light_and_dark_follow_the_system_until_switched(opened):
    """The system's preference is taken; the switch, and `theme=`, go before it."""
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = opened(circuit(), color_scheme="dark")
    light = opened(circuit(), color_scheme="light")
    fixed = opened(circuit(), color_scheme="light", theme="dark")
    assert light.evaluate(ground) != dark.evaluate(ground) == fixed.evaluate(ground)
    light.get_by_role("button", name="Light or dark").click()
    assert light.evaluate(ground) == dark.evaluate(ground)


def test_everything_that_acts_is_a_named_button(opened):
    """Each control has a role, a name and a place in the order of the keyboard."""
    tab = opened(network(), reduced_motion="reduce")
    for control in tab.locator("button, [role=button], input").all():
        if control.is_visible():
            named = control.get_attribute("aria-label") or control.inner_text()
            assert named
            assert control.evaluate("x => x.tabIndex") >= 0
    focused = card(tab, "A1")
    focused.focus()
    tab.keyboard.press("Enter")
    assert tab.locator(".panel h2").inner_text() == "A1"
    assert (
        tab.locator(".card").first.evaluate(
            "x => getComputedStyle(x).transitionDuration"
        )
        == "0s"
    )


def test_a_saved_picture_stands_alone(opened):
    """The SVG is well-formed, asks for nothing, and shows every card."""
    tab = opened(network(), title="a & b < c")
    svg = tab.evaluate("window.explorer.savedSvg()")
    root = ET.fromstring(svg)
    images = [
        value
        for x in root.iter()
        for key, value in x.attrib.items()
        if key.endswith("href")
    ]
    assert images
    assert all(href.startswith("data:image/png") for href in images)
    text = " ".join(root.itertext())
    for name in ("W1", "A1", "Y"):
        assert name in text
    assert "a & b < c" in text


def test_a_page_lays_out_where_workers_are_forbidden(opened):
    """As in some notebooks: the layout engine runs in the page then."""
    page = page_of([circuit()]).replace("worker-src blob:", "worker-src 'none'")
    tab = opened(circuit(), page=page, may_complain=True)
    assert tab.locator(".card").count() == 8


def test_a_page_works_in_a_notebooks_frame(browser, tmp_path):
    """Inside a sandboxed frame without an address of its own, it is drawn all the same."""
    import html

    file = tmp_path / "notebook.html"
    file.write_text(
        f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page_of([circuit()]))}"></iframe>',
        encoding="utf-8",
    )
    tab = browser.new_page()
    tab.goto(file.as_uri())
    frame = tab.frames[1]
    frame.wait_for_selector("body[data-ready]")
    assert frame.locator(".card").count() == 8
    tab.close()


def test_a_picture_may_run_from_top_to_bottom(opened):
    """With direction TB an op stands below what it takes."""
    tab = opened(circuit(), direction="TB")
    tops = {name: card(tab, name).bounding_box()["y"] for name in "aedpL"}
    assert tops["a"] < tops["e"] < tops["d"] < tops["p"] < tops["L"]


def test_a_drawing_is_saved_as_a_page(opened, tmp_path):
    """`tg.draw(loss).save("x.html")`: with the names of the caller's variables, and its title."""
    data = tg.Tensor(rng().standard_normal((3, 4)))
    weights = tg.Parameter(rng(1).standard_normal((4, 2)))
    hidden = np.tanh(data @ weights)
    cost = (hidden * hidden).mean()
    saved = tg.draw(cost, title="saved").save(tmp_path / "saved.html")
    tab = opened(cost, page=saved.read_text(encoding="utf-8"))
    assert tab.locator("h1").inner_text() == "saved"
    for name in ("data", "hidden", "cost"):
        assert card(tab, name).count() == 1
    assert tab.locator('.chip[aria-label^="weights,"]').count() == 1


def test_times_are_shown_where_they_were_measured(opened):
    """Seconds of forward and backward, in microseconds."""
    loss = circuit()
    tab = opened(loss, page=page_of([loss], times={loss: (2.5e-6, 4e-6)}))
    card(tab, "L").click()
    assert "forward 2.5 µs · backward 4 µs" in tab.locator(".panel").inner_text()


def test_a_number_alone_is_a_page(opened):
    """A leaf without a name, a slope or a step: one card with its value."""
    tab = opened(tg.Tensor(2.5))
    assert tab.locator(".card .value .big").text_content() == "2.5"


def test_a_very_long_chain_opens_folded(opened):
    """Of twenty thousand ops the two ends, in a few boxes, with a card between for the rest."""
    y = x = tg.Tensor(0.5, requires_grad=True, name="x")
    for i in range(20_000):
        y = y * 0.9999 if i % 7 else y + x
    tab = opened(y)
    assert tab.locator(".card").count() < 60
    assert "left out" in tab.locator(".card.more").text_content()
