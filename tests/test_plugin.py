"""The pytest plugin, golden graphs, and the strategies, as a project would use them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_nn as tg
from tinygrad_nn.check import assert_same_graph, check_gradients, graph_text, strategies
from tinygrad_nn.errors import GraphMismatch, OpError

ROOT = Path(__file__).resolve().parents[1]

TESTS = """
import numpy as np
import pytest
import tinygrad_nn as tg
from tinygrad_nn.check import assert_same_graph

W = np.array([[0.5, -1.0], [2.0, 0.1]])

def cost(W):
    return np.sum(np.tanh(W) ** 2)

def test_right(gradcheck):
    assert gradcheck(cost, W).verdict == "ok"

def test_slipped(gradcheck):
    gradcheck(cost, W, formula=lambda W: 2 * np.tanh(W))

def test_chain(gradcheck):
    x = tg.Tensor(W, requires_grad=True, name="x")
    gradcheck.formula((x * x).sum(), {"dx": 2 * W})

@pytest.mark.gradcheck(kinks="forbid", points=1)
def test_forbidden(gradcheck):
    gradcheck(lambda x: np.abs(x).sum(), np.zeros(2), formula=lambda x: x + 0.5)

def test_kink(gradcheck):
    report = gradcheck(lambda x: np.abs(x).sum(), np.zeros(2), formula=lambda x: x + .5,
                       points=1)
    assert report.verdict == "kink"

@pytest.mark.gradcheck(mode="full")
def test_full(gradcheck):
    assert gradcheck(cost, W).parameters["W"].checked == 4

@pytest.mark.gradcheck(rtol=1e-3)
def test_misspelt(gradcheck):
    pass

def test_seeds(gradcheck):
    print("seed", gradcheck.seed)

def test_graph():
    x = tg.Tensor(W, requires_grad=True)
    assert_same_graph(np.tanh(x).sum(), path="graphs/tanh.txt")
"""


def run(folder, *options):
    """Run pytest in a process of its own; return its output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["-p", "tinygrad_nn.check.plugin", "-q", *options]
    found = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout + found.stderr


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


def test_the_fixture_judges_marks_and_sums_up(folder):
    """Right passes, wrong fails with the report and how to run it again; one line sums up."""
    text = run(folder, "-rA")
    passed = set(re.findall(r"^PASSED test_it.py::(\w+)", text, re.MULTILINE))
    failed = set(re.findall(r"^(?:FAILED|ERROR) test_it.py::(\w+)", text, re.MULTILINE))
    assert passed == {
        "test_right",
        "test_chain",
        "test_kink",
        "test_full",
        "test_seeds",
    }
    assert failed == {"test_slipped", "test_forbidden", "test_misspelt", "test_graph"}
    assert "the formula is wrong" in text
    assert "again: pytest test_it.py::test_slipped" in text
    assert "tinygrad_nn/check/gradients.py" not in text  # the user's line, not ours
    assert (
        "marker gradcheck: takes mode, kinks, strict, points by name; got rtol" in text
    )
    (line,) = re.findall(r"^gradcheck: .*$", text, re.MULTILINE)
    assert re.match(
        r"gradcheck: 6 checks, [\d,]+ evaluations, worst resolution \S+, "
        r"2 kinks, 0 weak, 2 failed$",
        line,
    ), line


def test_a_failed_check_can_be_pasted(folder):
    """What is told to be run by hand runs, and gives the same verdict and numbers."""
    (folder / "test_it.py").write_text(TESTS + PASTED)
    text = run(folder, "-k", "pasted")
    code = text.split("by hand:\n")[1].split("gradcheck: ")[0]
    assert "from test_it import backprop" in code
    assert "np.array([[0.5, -1.0], [2.0, 0.1]]" in code
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    table = found.stdout.splitlines()[1:5]
    assert table
    for line in table:
        assert line.strip() in text


PASTED = """
def backprop(W):
    return 2 * np.tanh(W)

def test_pasted(gradcheck):
    gradcheck(cost, W, formula=backprop)
"""

REFUSED = """
def broken(W):
    raise_it = np.ones(3)
    return raise_it

def test_shape(gradcheck):
    gradcheck(cost, W, formula=broken)

def plain(W):
    return np.array([float(x) for x in W.ravel()])

def test_detached(gradcheck):
    gradcheck(plain, W)

def test_assertion():
    from tinygrad_nn.check import check_gradients
    assert check_gradients(cost, W, formula=lambda W: W)
"""


def test_what_a_check_refuses_is_shown_at_the_users_lines(folder):
    """No frame of the library stands between the test and what is wrong with it."""
    (folder / "test_it.py").write_text(TESTS + REFUSED)
    text = run(folder, "-k", "shape or detached", "--tb=short")
    assert "ShapeError: formula: expected the gradient of W" in text
    assert "in plain" in text  # the line that leaves the graph
    assert "tinygrad_nn/" not in text


def test_an_assertion_shows_the_verdict_in_one_line(folder):
    """Assertion rewriting prints a report as its verdicts, not as its fields."""
    (folder / "test_it.py").write_text(TESTS + REFUSED)
    text = run(folder, "-k", "assertion")
    assert "assert <GradientReport wrong: W 4/4 wrong; the formula is wrong>" in text


def test_a_forbidden_kink_is_told(folder):
    """A gradient that is not wrong and yet fails says why, and what to do."""
    text = run(folder, "-k", "forbidden")
    assert "fails for kinks='forbid'" in text


def test_the_resolution_is_that_of_smooth_checks(folder):
    """At a kink nothing is resolved: it does not count as the worst."""
    text = run(folder, "-k", "right or kink")
    worst = re.search(r"worst resolution (\S+),", text)[1]
    assert 0 < float(worst) < 1e-8


def test_the_summary_is_one_for_all_processes(folder):
    """With pytest-xdist the counts of the workers are added up."""
    pytest.importorskip("xdist")
    alone, together = run(folder), run(folder, "-n", "2")
    lines = [
        re.findall(r"^gradcheck: .*$", text, re.MULTILINE) for text in (alone, together)
    ]
    assert len(lines[1]) == 1
    assert lines[0] == lines[1]


def test_the_seed_is_the_tests_own(folder):
    """The same test has the same seed in every run, alone or not."""
    seeds = [
        re.search(r"seed (\d+)", run(folder, "-s", "-k", which))[1]
        for which in ("seeds", "seeds or chain")
    ]
    assert seeds[0] == seeds[1]


def test_checks_can_be_left_out(folder):
    """--gradcheck=off skips the tests that check gradients, and only those."""
    text = run(folder, "--gradcheck=off", "--update-graphs")
    assert "1 passed, 8 skipped" in text
    assert "gradcheck:" not in text


def test_full_mode_holds_for_a_whole_run(folder):
    """--gradcheck=full looks at every element, in every test."""
    counts = [
        int(re.search(r"gradcheck: .*?([\d,]+) evaluations", text)[1].replace(",", ""))
        for text in (
            run(folder, "-k", "right"),
            run(folder, "-k", "right", "--gradcheck=full"),
        )
    ]
    assert counts[1] > counts[0]


def test_a_golden_graph_is_written_on_demand_and_compared(folder):
    """Without its file a graph fails; --update-graphs writes it; then it passes."""
    path = folder / "graphs" / "tanh.txt"
    assert "1 failed" in run(folder, "-k", "graph")
    assert not path.exists()
    assert "1 passed" in run(folder, "-k", "graph", "--update-graphs")
    assert "tanh(%0)" in path.read_text()
    assert "1 passed" in run(folder, "-k", "graph")
    path.write_text(path.read_text().replace("tanh", "sigmoid"))
    text = run(folder, "-k", "graph")
    assert "1 failed" in text
    assert "-%1 = sigmoid(%0)" in text
    assert "+%1 = tanh(%0)" in text


# --- golden graphs -------------------------------------------------------------------


def test_the_text_of_a_graph_tells_what_was_recorded():
    """Ops, operands, settings that are no defaults, shapes, layers and names."""
    net = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=0), tg.nn.Tanh())
    X = tg.Tensor(np.ones((4, 3)), name="X")
    text = graph_text(net(X).mean(axis=0, keepdims=True))
    assert "matmul(%2, %3)          (4, 2) float64 in layers.0" in text, text
    assert re.search(r"mean\(%\d+, axis=0, keepdims=True\)", text)
    assert text.splitlines()[-1].startswith("output %")
    assert re.search(r"leaf +\(2, 3\) float64 requires_grad", text)


def test_the_text_has_no_values_and_no_times():
    """Other numbers, indices, generators, another line: the same text."""

    def drawn(k):
        x = tg.Tensor(np.full(3, k), requires_grad=True)
        picked = x[np.array([k, 0]).astype(int),] * np.full(2, k)
        return tg.nn.Dropout(0.5, rng=int(k))(picked).sum()

    texts = [graph_text(drawn(1.0)), graph_text(drawn(2.0))]
    assert texts[0] == texts[1]
    assert "index=(array(2,),)" in texts[0]
    assert "rng=PCG64" in texts[0]


def test_a_graph_that_differs_is_shown(tmp_path):
    """The lines that differ are in the error."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    path = tmp_path / "g.txt"
    assert_same_graph((x * x).sum(), path=path, update=True)
    with pytest.raises(GraphMismatch, match=r"(?s)-.*multiply.*\+.*square|power"):
        assert_same_graph((x**2).sum(), path=path)
    with pytest.raises(OpError, match="recorded Tensors; got ndarray"):
        graph_text(np.ones(2))


# --- strategies ----------------------------------------------------------------------


@settings(max_examples=60)
@given(strategies.broadcastable(domain="positive"))
def test_strategies_broadcast_and_stay_in_their_domain(xy):
    """Drawn arrays broadcast, lie in the domain, and have right gradients there."""
    x, y = xy
    for array in xy:
        assert ((array >= 1e-3) & (array <= 1e3)).all()
    assert (x * y).shape == np.broadcast_shapes(x.shape, y.shape)
    report = check_gradients(lambda x, y: np.log(x) * np.sqrt(y), x, y)
    assert report.verdict in ("ok", "weak"), str(report)


@settings(max_examples=60)
@given(strategies.arrays(strategies.shapes(least=1), distinct=True, away_from=[0.0]))
def test_distinct_arrays_have_no_ties_and_no_kinks(x):
    """Neighbours of the sorted array are apart, and none is near the kink."""
    flat = np.sort(x, axis=None)
    assert (np.diff(flat) > 0).all()
    assert (np.abs(x) >= 1e-2 - 1e-12).all()


@settings(max_examples=100)
@given(strategies.arrays())
def test_nothing_drawn_is_subnormal_or_tiny(x):
    """An element is 0, or of a size that steps can be taken from."""
    assert (np.abs(x[x != 0]) >= 1e-6).all()


@settings(max_examples=100)
@given(strategies.indices((4, 3)), strategies.axes(2))
def test_indices_and_axes_are_numpys(index, axis):
    """Whatever is drawn NumPy accepts, and our gradient agrees with a scatter."""
    x = np.arange(12.0).reshape(4, 3)
    t = tg.Tensor(x, requires_grad=True)
    t[index].sum().backward()
    counts = np.zeros((4, 3))
    np.add.at(counts, index, 1.0)
    got = np.zeros((4, 3)) if t.grad is None else t.grad
    assert np.array_equal(got, counts)
    assert np.array_equal(t.sum(axis=axis).numpy(), x.sum(axis=axis))


def test_a_domain_that_does_not_exist_is_refused():
    """The names there are, are told."""
    with pytest.raises(OpError, match="positive"):
        drawn_from("negative")


def drawn_from(domain):
    @settings(max_examples=1)
    @given(strategies.arrays(domain=domain))
    def draw(x):
        assert x is not None

    draw()
