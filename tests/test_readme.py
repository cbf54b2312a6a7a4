"""The README keeps its word: its first screen, its two commands, its picture."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text("utf-8")
COMMAND = re.compile(
    r"^python3 -m venv \.venv && \.venv/bin/pip install '\.\[(?P<extra>\w+)\]'"
    r" && \.venv/bin/(?P<program>\S+) (?P<rest>.+)$",
    re.MULTILINE,
)
COMMANDS = [match.groupdict() for match in COMMAND.finditer(README)]


@pytest.fixture(scope="module")
def project():
    """Return pyproject.toml; its reader came with Python 3.11."""
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))


def test_the_first_screen_shows_an_answer():
    """By line 15: an expression, its gradient and the printed answer."""
    screen = README.splitlines()[:15]
    for line in (">>> z = x * y + x", ">>> z.backward()", "(8.0, 4.0, 2.0)"):
        assert line in screen, line


def test_two_commands_install_into_a_virtual_environment_of_their_own():
    """One command trains, one tests; neither touches the system's packages (PEP 668)."""
    assert [command["program"] for command in COMMANDS] == ["tinygrad-nn", "python"]
    installs = re.findall(r"\S*pip install \S+", README)
    outside = [line for line in installs if not line.startswith(".venv/bin/pip")]
    assert outside in ([], ["`pip install .`,"]), outside


def test_commands_name_what_the_project_has(project):
    """Extras and the console script that the README names are declared."""
    extras = project["project"]["optional-dependencies"]
    assert {command["extra"] for command in COMMANDS} <= set(extras)
    module, _, name = project["project"]["scripts"]["tinygrad-nn"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))
    assert project["project"]["requires-python"] == ">=3.10"
    assert "Python 3.10 or newer" in README


def test_the_training_command_is_understood():
    """The program accepts the words that the README gives it."""
    from tinygrad_nn.cli.arguments import parser

    for words in (COMMANDS[0]["rest"], "train table.csv --target price"):
        assert words.removeprefix("train ") in README
        parser().parse_args(words.split())


@pytest.mark.parametrize("image", ["expression", "neuron"])
def test_pictures_are_drawn_from_the_pages(image):
    """Each picture is what `tg.draw` makes of its page now: docs/make_images.py."""
    drawn = runpy.run_path(str(HOME / "docs/make_images.py"))["pictures"]()
    assert set(drawn) == {path.stem for path in (HOME / "docs/images").iterdir()}
    kept = (HOME / f"docs/images/{image}.dot").read_text("utf-8")
    assert drawn[image].dot == kept, "run: python docs/make_images.py"


def test_pictures_show_what_their_dot_says():
    """The SVG beside each DOT holds the same words."""
    for path in (HOME / "docs/images").glob("*.dot"):
        words = re.findall(r">([^<>\]\s][^<>]*)</", path.read_text("utf-8"))
        shown = path.with_suffix(".svg").read_text("utf-8")
        shown = shown.replace("&#45;", "-").replace("&#160;", " ")
        assert words
        assert [word for word in words if word.strip() not in shown] == [], path.name
