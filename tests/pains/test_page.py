"""The page of reports, docs/pains.md, is what the tests of this folder say."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent.parent
MAKER = runpy.run_path(str(HOME / "docs/make_pains.py"))


def test_the_page_is_written_from_the_tests():
    """Every report stands in docs/pains.md as its test says it: docs/make_pains.py."""
    kept = (HOME / "docs/pains.md").read_text("utf-8")
    assert MAKER["page"]() == kept, "run: python docs/make_pains.py"


def test_every_pain_has_its_tests():
    """All 25 pains, and what was seen once or twice, are sections with tests in them."""
    sections = MAKER["sections"]()
    assert [s.number for s in sections if s.number] == list(range(1, 26))
    assert all(section.rows for section in sections)
    assert len([s for s in sections if not s.number]) >= 5
    names = [row.test for section in sections for row in section.rows]
    assert len(names) == len(set(names)) >= 100


def test_every_test_is_on_the_page():
    """No test of a report stands outside of a section, or is named after none."""
    listed = {row.test for section in MAKER["sections"]() for row in section.rows}
    for file in Path(__file__).parent.glob("test_*.py"):
        if file.name != Path(__file__).name:
            tree = ast.parse(file.read_text("utf-8"))
            tests = {
                n.name for n in tree.body if getattr(n, "name", "").startswith("test_")
            }
            assert tests <= listed, file.name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test_of_nothing", "It failed; here it does not."),
        ("test_nolibrary_1_sum", "It failed; here it does not."),
        ("test_pytorch_1_sum", "It works."),
        ("test_pytorch_1_sum", None),
        ("test_pytorch_1_sum", "It failed; here it does not.\n\nSee pytorch #2."),
    ],
)
def test_a_test_that_names_no_report_is_refused(name, text):
    """A name without a report, or a docstring of another form, is an error that names the test."""
    test = ast.parse(f"def {name}():\n    {text!r}\n").body[0]
    with pytest.raises(ValueError, match=name):
        MAKER["row"](test)


def test_signs_of_markdown_are_text():
    """A formula in a cell is shown as it is written, and code stays code."""
    assert MAKER["cell"]("|x| and x**2, `a*b`") == r"\|x\| and x\*\*2, `a*b`"


def test_what_is_expected_to_fail_says_so():
    """A row whose test is expected to fail says why, so the page promises nothing untrue."""
    text = '@pytest.mark.xfail(reason="no rule", strict=True)\ndef test_jax_1_sum():\n    "It failed; here it is 1."\n'
    assert MAKER["row"](ast.parse(text).body[0]).here == "it is 1. Not yet: no rule."
