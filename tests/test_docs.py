"""What the pages say is run: every block of Python, every table, every link."""

from __future__ import annotations

import ast
import doctest
import re
import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import algebra
from tinygrad_nn.op import REGISTRY

HOME = Path(__file__).parent.parent
PAGES = [HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
ROW = re.compile(
    r"^\| `(?P<expression>[^`]+)` \| `(?P<at>[^`]+)` \| `(?P<slope>[^`]+)` \|",
    re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block: the line of its first line, its language, its text."""

    line: int
    language: str
    text: str


def blocks(page):
    """Return the fenced blocks of a page, in order."""
    found = []
    lines = page.read_text("utf-8").splitlines()
    fence = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if fence is None:
            fence = number
        else:
            text = "\n".join(lines[fence + 1 : number]) + "\n"
            found.append(Block(fence + 1, lines[fence][3:].strip(), text))
            fence = None
    assert fence is None, f"{page.name}:{fence}: a fence is not closed"
    return found


def run(page, python):
    """Run a page's blocks in one namespace; return what went wrong, in words."""
    names = {"__name__": "__main__"}
    parser = doctest.DocTestParser()
    wrong = []
    for block in python:
        if ">>>" not in block.text:
            code = compile("\n" * block.line + block.text, str(page), "exec")
            exec(code, names)
            continue
        # Each block has a name of its own: doctest finds source lines by it.
        title = f"{page.name}:{block.line}"
        test = parser.get_doctest(block.text, names, title, str(page), block.line)
        test.globs = names
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        runner.run(test, out=wrong.append, clear_globs=False)
    return "".join(wrong)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty directory, and forget ops that a page declares."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    known = dict(REGISTRY)
    yield tmp_path
    REGISTRY.clear()
    REGISTRY.update(known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_and_print_what_they_say(page, elsewhere):
    """Every block of Python runs, in order, and prints what stands below it."""
    python = [block for block in blocks(page) if block.language == "python"]
    wrong = run(page, python)
    assert not wrong, wrong


def test_a_wrong_answer_on_a_page_is_noticed(tmp_path):
    """The runner of pages fails for an answer that is not the one printed."""
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> x = 1\n>>> x + 1\n3\n```\n", "utf-8")
    assert "Expected" in run(page, blocks(page))
    page.write_text("```python\nx = 1\n```\n\n```python\n>>> x + 1\n2\n```\n", "utf-8")
    assert not run(page, blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_of_a_known_language(page):
    """No block escapes the tests by a misspelt language."""
    known = {"python", "console", "text", ""}
    assert {block.language for block in blocks(page)} <= known


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    """A link to a file of the project, or to a heading, leads somewhere."""
    for target in LINK.findall(page.read_text("utf-8")):
        if target.startswith(("https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f"{page.name}: no such file: {target}"
        assert not anchor or anchor in anchors(place), (
            f"{page.name}: no heading {target}"
        )


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_is_found_from_the_readme(page):
    """From the README, links lead to every page."""
    found, looked = {PAGES[0].resolve()}, set()
    while found - looked:
        other = (found - looked).pop()
        looked.add(other)
        links = [
            link.partition("#")[0] for link in LINK.findall(other.read_text("utf-8"))
        ]
        found |= {
            (other.parent / link).resolve() for link in links if link.endswith(".md")
        } & {p.resolve() for p in PAGES}
    assert page.resolve() in found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_on_a_page_exist(page):
    """A path in code type, `tinygrad_nn/…` or `tests/…`, is a file or a folder."""
    path = r"(?:tinygrad_nn|tests|docs|examples|\.ci)/[\w./]*"
    found = re.findall(f"`({path})`", page.read_text("utf-8"))
    for block in blocks(page):
        if block.language == "console":
            found += re.findall(f" ({path})", block.text)
    for name in found:
        assert (HOME / name).exists(), f"{page.name}: no such file: {name}"


# --- tables that are tests -------------------------------------------------------


def rows(page):
    """Return the rows of a page's tables of slopes: expression, point, gradient."""
    return [
        pytest.param(*match.groups(), id=match["expression"] + " at " + match["at"])
        for match in ROW.finditer((HOME / "docs" / page).read_text("utf-8"))
    ]


def slopes(expression, at):
    """Return the gradient of an expression by each variable of the point, in order."""
    point = eval(f"dict({at})")
    variables = {
        name: tg.Tensor(value, requires_grad=True) for name, value in point.items()
    }
    with np.errstate(all="ignore"):  # NumPy warns of what is asked here on purpose
        known = {"np": np, "tg": tg, **variables}
        out = eval(expression, known)
        out.sum().backward()
    return [variable.grad.tolist() for variable in variables.values()]


@pytest.mark.parametrize(("expression", "at", "slope"), rows("kinks.md"))
def test_table_of_kinks_and_conventions(expression, at, slope):
    """The gradient at a kink, and at a singular point, is the one in the table."""
    assert slopes(expression, at) == ast.literal_eval(f"[{slope}]")


def test_the_table_is_read():
    """The tables of kinks have not silently gone empty."""
    assert len(rows("kinks.md")) >= 30


SPELLINGS = re.findall(
    r"^\| `([^`]+)` \| `(tg\.[^`]+)` \|$",
    (HOME / "docs" / "stability.md").read_text("utf-8"),
    re.MULTILINE,
)
LOGITS = [-1000.0, -40.0, -0.5, 0.0, 2.0, 30.0, 745.0, 1000.0]


def spelled(expression, start):
    """Return value, slope, and slope of the slope, of an expression of ``z``."""
    z = tg.Tensor(start, requires_grad=True)
    with np.errstate(all="ignore"):  # the page says what NumPy remarks
        value = eval(expression, {"np": np, "tg": tg, "z": z})
        weight = np.linspace(1.0, 2.0, value.size).reshape(value.shape)
        (slope,) = tg.gradients((value * weight).sum(), [z])
        (second,) = tg.gradients((slope * slope).sum(), [z], unused="zero")
    return value.numpy(), slope.numpy(), second.numpy()


@pytest.mark.parametrize(("written", "known"), SPELLINGS)
def test_a_recognised_spelling_is_the_op(written, known):
    """Value and two slopes are those of the op in its row, for logits up to 1000."""
    # One by one, and together, which are the sums' own rows.
    for start in (*([x] for x in LOGITS), LOGITS):
        # The slope of a slope is a difference; its last digit is the larger's.
        for got, wanted, last in zip(
            spelled(written, start),
            spelled(known, start),
            (1e-300, 1e-300, 1e-100),
            strict=True,
        ):
            assert np.isfinite(got).all()
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=last)


def test_every_rewriting_rule_is_on_the_page(monkeypatch):
    """The rows of docs/stability.md use every rule that records a stabler op."""
    rewrite = algebra._rewrite
    used = set()

    def noted(rule, *rest):
        used.add(rule)
        return rewrite(rule, *rest)

    monkeypatch.setattr(algebra, "_rewrite", noted)
    for written, _ in SPELLINGS:
        spelled(written, LOGITS)
    lacking = {rule for rule in algebra.RULES if rule.records is not None} - used
    assert not lacking, "add a row to docs/stability.md"


def test_the_word_list_is_the_registry():
    """Every op stands in docs/ops.md as it is declared: docs/make_ops.py."""
    pytest.importorskip("scipy", reason="special functions are told by their values")
    page = runpy.run_path(str(HOME / "docs/make_ops.py"))["page"]()
    kept = (HOME / "docs/ops.md").read_text("utf-8")
    assert page == kept, "run: python docs/make_ops.py"
    for name in tg.ops.__all__:
        op = REGISTRY.get(name)
        if op is not None and op.kind != "random":
            assert re.search(rf"^\| `(\w+\.)?{name}` \|", kept, re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_rows_of_a_table_have_as_many_cells_as_its_head(page):
    """A bar inside of a cell is escaped, even in code and in mathematics."""
    head, wrong = None, []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        head = None if cells is None else head or cells
        if cells != head:
            wrong.append(f"{page.name}:{number}: {line}")
    assert not wrong


def test_the_page_of_layers_names_all_layers_losses_and_optimisers():
    """Whoever looks for a layer, a loss or an update rule finds its name there."""
    text = (HOME / "docs/layers.md").read_text("utf-8")
    layers = {
        name
        for name, value in vars(tg.nn).items()
        if isinstance(value, type) and issubclass(value, tg.nn.Module)
    }
    rules = {name for name in tg.optim.__all__ if callable(getattr(tg.optim, name))}
    public = layers | set(tg.losses.__all__) | rules
    assert len(public) > 70
    named = set(re.findall(r"\w+", text))
    assert not public - named, "write them into docs/layers.md"


SOURCES = runpy.run_path(str(HOME / "docs/make_sources.py"))


@pytest.mark.parametrize("page", SOURCES["PAGES"], ids=lambda page: page.name)
def test_a_page_shows_what_its_steps_run(page, elsewhere):
    """The sources on a page are those of its compiled steps: docs/make_sources.py."""
    kept = page.read_text("utf-8")
    assert ".source" in kept
    assert SOURCES["written"](page) == kept, "run: python docs/make_sources.py"


@pytest.mark.parametrize(
    "example", sorted((HOME / "examples").glob("*.py")), ids=lambda path: path.stem
)
def test_an_example_says_what_to_install(example):
    """Where an example imports matplotlib, its docstring names the extra that has it."""
    tree = ast.parse(example.read_text("utf-8"))
    imported = {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    says = ast.get_docstring(tree) or ""
    assert ("matplotlib" in imported) == ("pip install '.[train]'" in says)


def test_the_compiled_example_trains_as_its_eager_one(tmp_path, capsys):
    """Its costs are the same bits with exact=True, and differ by rounding without."""
    example = runpy.run_path(str(HOME / "examples/compiled_training.py"))
    arguments = ["--iterations", "60", "--out", str(tmp_path)]
    same, difference, accuracy = example["main"](arguments)
    assert same
    assert difference < 1e-12
    assert 0.8 < accuracy <= 1
    assert "def step(X, Y):" in (tmp_path / "step.py").read_text("utf-8")
    assert "all costs are the same: True" in capsys.readouterr().out


# --- the map ---------------------------------------------------------------------


def test_the_map_of_the_house_is_the_contract():
    """The floors of docs/house.md are those that the import contract holds."""
    contract = (HOME / "pyproject.toml").read_text("utf-8")
    layers = re.search(r"^layers = \[\n(.*?)^\]", contract, re.MULTILINE | re.DOTALL)
    floors = [line.strip(' ",').split(" | ") for line in layers[1].splitlines()]
    text = (HOME / "docs/house.md").read_text("utf-8")
    table = text[text.index("## Floors") : text.index("## What a line may touch")]
    shown = re.findall(r"^\| ((?:`\w+` ?)+)\|", table, re.MULTILINE)
    assert [sorted(re.findall(r"\w+", row)) for row in shown] == [
        sorted(floor) for floor in floors
    ]


def test_the_declaration_on_the_page_is_the_one_in_the_code():
    """The whole `tanh` that docs/house.md shows is the text of its file."""
    (shown,) = (b.text for b in blocks(HOME / "docs/house.md") if "def tanh" in b.text)
    statement, _, _ = shown.partition('    """')
    assert statement in (HOME / "tinygrad_nn/ops/elementwise.py").read_text("utf-8")


def test_the_floors_hold(monkeypatch, capsys):
    """Every import leads downwards, as the contracts in pyproject.toml say."""
    from importlinter.cli import lint_imports

    monkeypatch.chdir(HOME)
    code = lint_imports(no_cache=True)
    assert code == 0, capsys.readouterr().out
