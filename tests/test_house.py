"""The house of the design: floors, front door, names, and what an import costs."""

from __future__ import annotations

import ast
import importlib
import inspect
import operator
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_nn as tg
from tinygrad_nn import errors
from tinygrad_nn.op import REGISTRY

HOUSE = Path(tg.__file__).parent
ROOT = HOUSE.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(HOUSE)], "tinygrad_nn.")
    if not module.name.endswith("__main__")
)
OPTIONAL = [
    "graphviz", "jax", "latex2mathml", "matplotlib", "pandas", "scipy", "sklearn", "threadpoolctl", "tqdm",
]  # fmt: skip
RUNS_SOURCE = "tinygrad_nn.compiler.execute"
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def python(code, cwd, **environment):
    """Run a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(cwd), **environment},
    )  # fmt: skip


def source(module):
    return Path(importlib.import_module(module).__file__).read_text(encoding="utf-8")


# --- floors --------------------------------------------------------------------------


def test_each_floor_imports_only_from_below():
    """The import-linter contracts of pyproject.toml hold."""
    done = python(LINT, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


@pytest.mark.parametrize(
    ("floor", "line"),
    [
        ("shapes", "from tinygrad_nn import tensor"),
        ("op", "from tinygrad_nn import algebra"),
        ("ops/arithmetic", "from tinygrad_nn import autodiff"),
        ("losses/pairs", "import tinygrad_nn.nn"),
        ("functional", "import torch"),
    ],
)
def test_an_import_upwards_breaks_a_contract(floor, line, tmp_path):
    """The contracts see a mutant on every kind of floor: they are not vacuous."""
    shutil.copytree(
        HOUSE, tmp_path / "tinygrad_nn", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "tinygrad_nn" / f"{floor}.py").open("a", encoding="utf-8") as file:
        file.write(f"\nif False:\n    {line}\n")
    done = python(LINT, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* broken", done.stdout)


# --- names ---------------------------------------------------------------------------


def rank(name):
    """Order of names: constants, classes, then the rest; log2 stands before log10."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    parts = re.findall(r"\d+|\D", name)
    return kind, [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


@pytest.mark.parametrize("name", ["tinygrad_nn", *MODULES])
def test_all_is_true_and_sorted(name):
    """__all__ lists existing names once each, in order, and every public function."""
    module = importlib.import_module(name)
    names = list(module.__all__)
    assert names == sorted(set(names), key=rank)
    for item in names:
        assert getattr(module, item, None) is not None
        assert item in dir(module)
    tree = ast.parse(source(name))
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert defined <= set(names) | shared_within_its_room(name, defined)


def shared_within_its_room(name, defined):
    """Definitions that are used by a sibling of the same package, though not offered."""
    room = name.rpartition(".")[0]
    if room in ("", "tinygrad_nn"):
        return set()
    siblings = [
        other for other in MODULES if other.startswith(f"{room}.") and other != name
    ]
    return {
        d for d in defined if any(re.search(rf"\b{d}\b", source(s)) for s in siblings)
    }


@pytest.mark.parametrize("name", ["tinygrad_nn", *MODULES])
def test_what_is_public_has_a_docstring(name):
    """Every public function, class and method says what it does."""
    module = importlib.import_module(name)
    assert module.__doc__
    for item in module.__all__:
        thing = getattr(module, item)
        if not (inspect.isfunction(thing) or inspect.isclass(thing)):
            continue
        assert inspect.getdoc(thing), item
        if not inspect.isclass(thing) or not thing.__module__.startswith("tinygrad_nn"):
            continue
        for method, function in vars(thing).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                assert inspect.getdoc(getattr(thing, method)), f"{item}.{method}"


def test_every_op_carries_a_doctest():
    """The docstring of each op holds the independent witness of its value."""
    assert len(REGISTRY) > 50
    for name, op in REGISTRY.items():
        if op.function.__module__.startswith("tinygrad_nn."):  # not a test's own
            assert ">>> " in op.doc, name


FRONT_DOOR = {
    "": """Tensor Parameter no_grad gradients grad value_and_grad vjp jvp jacobian hessian hvp
        elementwise primitive exp log tanh sigmoid relu softmax matmul where concatenate
        nn losses optim data fit draw derive check save load errors debug scope
        add subtract multiply divide power negative abs expm1 log1p sqrt square reciprocal
        sin cos softplus maximum minimum clip sum mean max min var std prod logsumexp
        log_softmax cumsum norm reshape transpose swapaxes moveaxis squeeze expand_dims
        broadcast_to stack einsum dot compile""",
    "Tensor": """data grad shape dtype ndim size T name op inputs backward item numpy detach
        sum mean max min var std prod cumsum reshape transpose swapaxes squeeze ravel
        flatten clip dot astype copy argmax argmin any all""",
    "nn": "Module Parameter Dense Sequential Dropout init",
    "nn.init": "zeros normal uniform he_normal xavier_normal lecun_normal",
    "losses": "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy mse",
    "optim": "SGD Adam AdamW RMSProp",
    "data": "flower moons digits breast_cancer one_hot batches",
    "check": "check_gradients",
}


@pytest.mark.parametrize("room", FRONT_DOOR)
def test_the_front_door_opens_to_the_designs_names(room):
    """The names that examples, docs and users agree on are there."""
    place = tg
    for part in filter(None, room.split(".")):
        place = getattr(place, part)
    missing = [name for name in FRONT_DOOR[room].split() if not hasattr(place, name)]
    assert not missing
    if room in ("", "nn", "losses", "optim", "data", "check"):
        assert set(FRONT_DOOR[room].split()) <= set(place.__all__)


def test_no_package_shares_the_name_of_a_public_function():
    """`tg.draw` is a function and `drawing` a room: no import can hide the one by the other."""
    rooms = {name.split(".")[1] for name in MODULES}
    for name in rooms & set(dir(tg)):
        assert inspect.ismodule(getattr(tg, name)), name


def test_an_unknown_name_is_an_attribute_error():
    """The front door refuses what it does not have, by name."""
    with pytest.raises(AttributeError, match="no_such_name"):
        tg.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", ["tinygrad_nn", *MODULES])
def test_style_that_a_linter_does_not_see(name):
    """No star imports, no utils, no Base classes; source becomes code in one file only."""
    # The pass of this name finds what the field calls common subexpressions.
    vague = r"util|helper|misc|(?<!rewriting\.)common"
    assert not re.search(vague, name)
    allowed = {"exec", "compile"} if name == RUNS_SOURCE else set()
    for node in ast.walk(ast.parse(source(name))):
        if isinstance(node, ast.ImportFrom):
            assert "*" not in [alias.name for alias in node.names]
        if isinstance(node, ast.ClassDef):
            assert not re.match(r"_?(Base|Abstract)|.*Mixin$", node.name), node.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            runs = {node.func.id} & {"exec", "eval", "compile"}
            assert runs <= allowed, f"line {node.lineno}"


def test_the_error_tree_is_the_one_drawn():
    """The docstring's tree names every error, under its parent, with its built-in."""
    drawn = re.findall(r"── (\w+) +(?:\((\w+)\))?", errors.__doc__)
    names = {name for name, _ in drawn} | {"TinygradError"}
    warnings = {n for n in errors.__all__ if issubclass(getattr(errors, n), Warning)}
    assert names == set(errors.__all__) - warnings
    for name, builtin in drawn:
        error = getattr(errors, name)
        assert issubclass(error, errors.TinygradError)
        if builtin:
            assert any(base.__name__ == builtin for base in error.__mro__[1:]), name


# --- imports -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    ["import tinygrad_nn", *[f"import tinygrad_nn.{room}" for room in
     ("nn", "losses", "optim", "data", "check", "compiler", "derivation", "training", "cli")]],
)  # fmt: skip
def test_an_import_needs_no_optional_package(statement):
    """Optional packages are imported by the feature that uses them, not before."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = python(code, ROOT)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & set(OPTIONAL)


def test_the_front_door_opens_without_the_rooms_behind_it():
    """`import tinygrad_nn` leaves layers, data, drawing and the command line closed."""
    code = "import sys, numpy; before = set(sys.modules); import tinygrad_nn; print(*set(sys.modules) - before)"
    loaded = set(python(code, ROOT).stdout.split())
    assert not loaded & {
        f"tinygrad_nn.{room}"
        for room in (
            "cli",
            "compiler",
            "derivation",
            "drawing",
            "check",
            "training",
            "data",
        )
    }
    assert not loaded & {
        "argparse",
        "csv",
        "zipfile",
        "asyncio",
        "unittest",
        "doctest",
        "pydoc",
    }


def test_an_import_prints_and_warns_of_nothing():
    """An import is silent, with every warning an error."""
    code = "import warnings; warnings.simplefilter('error'); import tinygrad_nn as tg; [getattr(tg, n) for n in tg.__all__]"
    done = python(code, ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_missing_extra_is_named():
    """Without matplotlib, tqdm or scikit-learn the feature says which extra to install."""
    code = """
import sys
for name in ("matplotlib", "sklearn", "tqdm"):
    sys.modules[name] = None
import tinygrad_nn as tg
try:
    tg.data.digits()
except tg.errors.MissingExtraError as error:
    print(isinstance(error, ImportError), error)
"""
    done = python(code, ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True")
    assert "tinygrad_nn[train]" in done.stdout


# --- the package ---------------------------------------------------------------------


def listed(key):
    """Read a list of strings in pyproject.toml (tomllib came after Python 3.10)."""
    (inside,) = re.findall(rf"^{key} = \[([^\]]*)\]", PYPROJECT, re.MULTILINE)
    return re.findall(r'"([^"]+)"', inside)


def test_the_version_is_one():
    """pyproject.toml and the package name the same version."""
    (version,) = re.findall(r'^version = "([^"]+)"', PYPROJECT, re.MULTILINE)
    assert tg.__version__ == version
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_the_core_depends_on_numpy_and_graphviz_only():
    """Everything more is an extra."""
    names = [
        re.match(r"[\w-]+", requirement).group()
        for requirement in listed("dependencies")
    ]
    assert names == ["graphviz", "numpy"]
    assert 'requires-python = ">=3.10"' in PYPROJECT
    assert "numpy>=2.0" in listed("dependencies")


def test_the_package_is_typed():
    """py.typed is there for other people's type checkers."""
    assert (HOUSE / "py.typed").exists()


def test_every_module_is_of_a_floor():
    """What is imported by nothing and imports nothing is no part of the house."""
    assert {name.split(".")[1] for name in MODULES} >= {
        "errors", "shapes", "op", "ops", "graph", "autodiff", "algebra", "tensor", "functional",
        "transforms", "nn", "losses", "optim", "data", "training", "drawing", "check", "cli",
        "compiler", "derivation", "notation", "rewriting", "recording", "scalars",
    }  # fmt: skip


@pytest.mark.parametrize("room", [tg, tg.nn], ids=["tg", "tg.nn"])
def test_names_of_other_libraries_say_what_is_written_here(room):
    """The error of such a name shows names that there are, and no own name is one."""
    for name, hint in room._ELSEWHERE.items():
        assert name not in room.__all__
        with pytest.raises(AttributeError, match=f"{name!r}. Write ") as told:
            getattr(room, name)
        found = re.findall(r"\btg((?:\.\w+)+)", str(told.value))
        assert found or name == "stop_gradient", hint
        for path in found:
            operator.attrgetter(path[1:])(tg)
    with pytest.raises(AttributeError, match=r"has no attribute 'Lniear'$"):
        room.Lniear  # noqa: B018 (asked for on purpose)
