"""Promise 9: a node knows its line, its layer and its name; errors say them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import graph
from tinygrad_nn.errors import ShapeError, TinygradError, UnsupportedError

W = tg.Parameter(np.ones((4, 3)), name="W")
x = tg.Parameter(np.ones(3))
B = np.ones((2, 3))


def here():
    """Number of the line that calls this."""
    return sys._getframe(1).f_lineno


def helper(value):
    """A user's own function: its line is the one that recorded."""
    return value * value


HELPER = here() - 3

RECORDED = {
    "+": lambda: (x + 1, here()),
    "1 +": lambda: (1 + x, here()),
    "ndarray +": lambda: (B + x, here()),
    "np.float64 *": lambda: (np.float64(2) * x, here()),
    "**": lambda: (x**2, here()),
    "2 **": lambda: (2**x, here()),
    "@": lambda: (W @ x, here()),
    "ndarray @": lambda: (B @ x, here()),
    "list @": lambda: ([[1.0, 2.0, 3.0]] @ x, here()),
    "unary -": lambda: (-x, here()),
    "abs()": lambda: (abs(x), here()),
    ">": lambda: (x > 0, here()),
    "0 <": lambda: (x > 0, here()),
    "&": lambda: ((x > 0) & (x < 5), here()),
    "~": lambda: (~(x > 0), here()),
    "[i]": lambda: (x[1], here()),
    "[mask]": lambda: (x[x > 0], here()),
    "iteration": lambda: (next(iter(x)), here()),
    ".T": lambda: (W.T, here()),
    ".sum()": lambda: (x.sum(), here()),
    ".mean(axis)": lambda: (W.mean(axis=0, keepdims=True), here()),
    ".reshape()": lambda: (x.reshape(3, 1), here()),
    ".var()": lambda: (x.var(), here()),
    ".std()": lambda: (x.std(), here()),
    ".clip()": lambda: (x.clip(0, 1), here()),
    ".dot()": lambda: (W.dot(x), here()),
    ".swapaxes()": lambda: (W.swapaxes(0, 1), here()),
    ".astype()": lambda: (x.astype(np.float32), here()),
    ".copy()": lambda: (x.copy(), here()),
    "np.exp": lambda: (np.exp(x), here()),
    "np.add": lambda: (np.add(1, x), here()),
    "np.maximum": lambda: (np.maximum(0, x), here()),
    "np.sum": lambda: (np.sum(W, axis=1, keepdims=True), here()),
    "np.dot": lambda: (np.dot(W, x), here()),
    "np.linalg.norm": lambda: (np.linalg.norm(x), here()),
    "np.where": lambda: (np.where(x > 0, x, 0), here()),
    "np.concatenate": lambda: (np.concatenate([x, x]), here()),
    "np.einsum": lambda: (np.einsum("ij,j->i", W, x), here()),
    "np.clip": lambda: (np.clip(x, 0, 1), here()),
    "np.std": lambda: (np.std(x), here()),
    "np.squeeze": lambda: (np.squeeze(x[None]), here()),
    "tg.exp": lambda: (tg.exp(x), here()),
    "tg.maximum": lambda: (tg.maximum(x, 0), here()),
    "tg.softmax": lambda: (tg.softmax(x), here()),
    "tg.norm": lambda: (tg.norm(x, 3), here()),
    "tg.stack": lambda: (tg.stack([x, x]), here()),
    "tg.einsum": lambda: (tg.einsum("i,i->", x, x), here()),
    "a rewritten log": lambda: (tg.log(tg.sigmoid(x)), here()),
    "a rewritten quotient": lambda: (1 / (1 + np.exp(-x)), here()),
    "tg.gradients": lambda: (tg.gradients((x * x).sum(), [x])[0], here()),
    "map": lambda: (next(map(tg.exp, [x])), here()),
    "a comprehension": lambda: ([v * 2 for v in [x, x]][-1], here()),
    "a leaf": lambda: (tg.Tensor([1.0]), here()),
    "a parameter": lambda: (tg.Parameter([1.0]), here()),
    "detach": lambda: (x.detach(), here()),
    "a user's function": lambda: (helper(x), HELPER),
    "a layer": lambda: (tg.nn.Dense(3, 2, rng=0)(np.ones((1, 3))), here()),
    "a loss": lambda: (tg.losses.mse(x, np.ones(3)), here()),
    "under no_grad scope": lambda: (scoped(), HELPER + SCOPED),
}


def scoped():
    with tg.scope("layer"):
        return x * 2


SCOPED = here() - 3 - HELPER


@pytest.mark.parametrize("name", RECORDED)
def test_a_node_knows_the_users_line(name):
    """File and line are of the user's code, whatever door the operation came in by."""
    node, number = RECORDED[name]()
    line = graph.line(node)
    assert line is not None
    assert (line.file, line.number) == (__file__, number)
    assert str(line) == f"{__file__}:{number}"
    for inner in graph.nodes(node):  # and so do all that it was composed of
        seed = (
            inner.is_leaf and graph.line(inner) is None
        )  # of gradients, not the user's
        assert seed or graph.line(inner).file == __file__


def test_lines_of_an_expression_over_several_lines():
    """Each op of a long expression has a line of that expression."""
    begin = here()
    # fmt: off
    out = (
        tg.exp(
            x
            * 2
        )
        + tg.log(
            x + 1
        )
    )
    # fmt: on
    numbers = {
        graph.line(node).number for node in graph.nodes(out) if node.op is not None
    }
    assert numbers <= set(range(begin + 1, here() - 1))
    assert len(numbers) > 2


def test_a_folder_whose_name_begins_like_ours_is_the_users(tmp_path):
    """Only our own files are skipped: a neighbour such as tinygrad_nn_models is not."""
    package = Path(tg.__file__).parent
    (tmp_path / "tinygrad_nn").symlink_to(package)
    neighbour = tmp_path / "tinygrad_nn_models"
    neighbour.mkdir()
    (neighbour / "__init__.py").write_text(
        "import tinygrad_nn as tg\nfrom tinygrad_nn import graph\n"
        "def f():\n    return graph.line(tg.Tensor(1.0) * 2)\n"
    )
    code = "import tinygrad_nn_models; print(tinygrad_nn_models.f())"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ).stdout  # fmt: skip
    assert told.strip().endswith("tinygrad_nn_models/__init__.py:4")


def test_code_without_a_file_has_a_line_too():
    """Nodes recorded by exec or in a notebook's cell say so."""
    space = {"tg": tg, "x": x}
    exec(compile("\n\ny = tg.exp(x)", "<cell 3>", "exec"), space)
    assert str(graph.line(space["y"])) == "<cell 3>:3"
    assert graph.line(space["y"]).function == "<module>"


# --- names and layers ----------------------------------------------------------------


def test_names_come_from_the_user():
    """name= and the settable .name; results have none of their own."""
    t = tg.Tensor([1.0], name="t")
    assert t.name == "t"
    y = t * 2
    assert y.name is None
    y.name = "y"
    assert y.name == "y"
    y.name = None
    assert y.name is None
    assert tg.Parameter([1.0], "w").name == "w"
    assert tg.Parameter([1.0]).name is None
    assert t.detach().name == "t"
    assert "name='t'" in repr(t)


def test_a_node_knows_its_layer():
    """Scopes nest, end with their block, and follow an error out."""
    with tg.scope("encoder"), tg.scope("0"):
        inner = x * 2
    with pytest.raises(ZeroDivisionError), tg.scope("lost"):
        1 / 0  # noqa: B018
    assert graph.scope(inner) == "encoder.0"
    assert graph.scope(x * 2) is None
    with tg.scope("a"):
        for node in (tg.maximum(x, 0), tg.stack([x, x]), x.sum(), x + 1, tg.exp(x)):
            assert graph.scope(node) == "a"
        with tg.no_grad():
            assert graph.scope(x * 2) in (None, "a")


# --- errors --------------------------------------------------------------------------

MISSHAPEN = {
    # call, and what the message must hold
    "@": (lambda: W @ np.ones((2, 5)), ["matmul", "W", "(4, 3)", "(2, 5)"]),
    "ndarray @": (lambda: np.ones((2, 5)) @ W, ["matmul", "W", "(4, 3)", "(2, 5)"]),
    "np.dot": (lambda: np.dot(W, np.ones(4)), ["matmul", "W", "(4, 3)", "(4,)"]),
    "+": (lambda: W + np.ones((4, 2)), ["add", "W", "(4, 3)", "(4, 2)", "3 and 2"]),
    "ndarray -": (lambda: np.ones(4) - W, ["subtract", "W", "(4, 3)", "(4,)"]),
    "named result": (lambda: named() * np.ones(7), ["multiply", "hidden", "(4, 3)", "(7,)"]),
    "unnamed": (lambda: x * np.ones(7), ["multiply", "x(3,)", "y(7,)"]),
    "reshape": (lambda: W.reshape(5, 5), ["reshape", "W", "(4, 3)", "(5, 5)"]),
    "sum": (lambda: W.sum(axis=2), ["sum", "W", "(4, 3)", "axis"]),
    "np.sum": (lambda: np.sum(W, axis=(0, 0)), ["sum", "W", "(4, 3)"]),
    "max": (lambda: tg.Tensor(np.ones((0, 3)), name="E").max(axis=0), ["max", "E", "(0, 3)"]),
    "concatenate": (lambda: tg.concatenate([W, np.ones((4, 2))]), ["concatenate", "W", "(4, 3)", "(4, 2)"]),
    "stack": (lambda: tg.stack([W, x]), ["stack", "W", "(4, 3)", "(3,)"]),
    "where": (lambda: tg.where(np.ones(2, bool), W, 0.0), ["where", "W", "(4, 3)", "(2,)"]),
    "einsum": (lambda: tg.einsum("ij,jk->ik", W, np.ones((2, 2))), ["einsum", "W", "(4, 3)", "(2, 2)", "ij,jk->ik"]),
    "[i]": (lambda: W[7], ["getitem", "W", "(4, 3)", "7"]),
    "[i, j, k]": (lambda: W[0, 0, 0], ["getitem", "W", "(4, 3)"]),
    "squeeze": (lambda: tg.squeeze(W, 0), ["squeeze", "(4, 3)"]),
    "transpose": (lambda: W.transpose(0, 0), ["transpose", "W", "(4, 3)", "(0, 0)"]),
    "broadcast_to": (lambda: tg.broadcast_to(W, (2, 3)), ["broadcast_to", "W", "(4, 3)", "(2, 3)"]),
    "a layer": (lambda: tg.nn.Dense(3, 2, rng=0)(np.ones((4, 5))), ["(4, 5)", "3"]),
}  # fmt: skip


def named():
    hidden = W * 2
    hidden.name = "hidden"
    return hidden


@pytest.mark.parametrize("name", MISSHAPEN)
def test_a_shape_error_names_the_op_the_operands_and_their_shapes(name):
    """The message needs no debugger: what was expected, of what, and what came."""
    call, wanted = MISSHAPEN[name]
    with pytest.raises(ShapeError) as caught:
        call()
    told = str(caught.value)
    for part in wanted:
        assert part in told, told
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TinygradError)
    assert caught.value.__cause__ is None  # NumPy's own words are not in the way


def test_a_shape_error_names_the_layer():
    """Inside a scope the message says where in the model it happened."""
    with (
        tg.scope("encoder"),
        tg.scope("1"),
        pytest.raises(ShapeError, match=r"encoder\.1"),
    ):
        W @ np.ones((2, 5))


def test_the_traceback_ends_near_the_users_line():
    """The user's line is in the traceback, with a frame or two of ours behind it."""
    with pytest.raises(ShapeError) as caught:
        W @ np.ones((2, 5))
    frames = [entry.path for entry in caught.traceback]
    assert str(frames[0]) == __file__
    assert len(frames) <= 3


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda: x + "a", "add.*str"),
        (lambda: x * None, "multiply.*NoneType"),
        (lambda: x * {"a": 1}, "multiply.*dict"),
        (lambda: tg.exp(x, 3), "exp"),
        (lambda: x.sum(axes=0), "axes"),
        (lambda: tg.sum(x, axes=0), "sum.*axes"),
        (lambda: tg.maximum(x), "maximum|argument"),
        (lambda: tg.where(x > 0, x), "where.*both"),
        (lambda: x.sum(axis="rows"), "sum.*rows"),
        (lambda: x[0.5], "getitem|t\\[i\\]|index"),
        (lambda: tg.concatenate(x), "concatenate"),
        (lambda: tg.einsum(x, x), "einsum.*axes"),
        (lambda: tg.norm(W, "big"), "norm.*big"),
    ],
)
def test_a_wrong_argument_is_named(call, wanted):
    """A wrong kind of operand or setting is refused in one line that says which."""
    with pytest.raises((TypeError, ValueError, IndexError)) as caught:
        call()
    assert re.search(wanted, str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ShapeError, UnsupportedError])
def test_errors_of_the_tree_are_caught_by_its_root(error):
    """One except clause catches all of ours."""
    with pytest.raises(TinygradError):
        raise error("anything")


def test_a_wrong_gradient_rule_is_refused_by_name():
    """A user's op whose rule returns another shape is named, in each loop."""
    from tinygrad_nn.op import REGISTRY

    register = dict(REGISTRY)
    try:

        @tg.elementwise(formula="f($x)", vjp=lambda g, _out, _x: np.ones(5), samples=())
        def crooked(x):
            return x * 2

    finally:
        REGISTRY.clear()
        REGISTRY.update(register)
    t = tg.Parameter([1.0, 2.0])
    out = crooked(t)
    for call in (lambda: out.backward(np.ones(2)), lambda: out.sum().backward(),
                 lambda: tg.gradients(out, [t], np.ones(2))):  # fmt: skip
        with pytest.raises(ShapeError, match=r"crooked.*\(5,\).*\(2,\)"):
            call()


def test_the_pictures_of_a_script_do_not_change_its_lines(tmp_path):
    """A line number is found when it is asked for, so recording costs no look-up."""
    script = tmp_path / "model.py"
    script.write_text(
        textwrap.dedent("""
        import tinygrad_nn as tg
        w = tg.Parameter([1.0, 2.0], name="w")

        loss = (w * w).sum()
        w.data = [0.0, 0.0]
        loss.backward()
    """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"multiply at {script}:5" in last
    assert f"changed at {script}:6" in last
