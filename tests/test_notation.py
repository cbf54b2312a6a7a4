"""How expressions are written: every op, every style, every pair of parentheses.

What is written as NumPy is run, and what is written for the eye is read again by a
small reader of its own (`Reader`), which knows precedence and nothing of the library.
"""

from __future__ import annotations

import re

import latex2mathml.converter
import numpy as np
import pytest
import scipy

import tinygrad_nn as tg
from tinygrad_nn import graph, ops
from tinygrad_nn.errors import GradientError, OpError
from tinygrad_nn.notation import latex_name, pulled, writing, written
from tinygrad_nn.op import REGISTRY

MEMBERS = [
    pytest.param(op, sample, id=f"{op.name}-{i}")
    for op in list(REGISTRY.values())
    if op.function.__module__.startswith("tinygrad_nn.ops.")
    for i, sample in enumerate(op.samples)
]
HOSTILE = [
    "</script><b>", "a & b", "50%", r"\frac{1}", "x_1^2", "{", "}}", "$z$", "#", "~",
    "🌸", 'quote"', "a" * 10_000, "", " ", "new\nline", "\\", "_", "^", "d", "d_", "''",
]  # fmt: skip


def own(x):
    return graph.name(x) if isinstance(x, tg.Tensor) else None


def recorded(op, sample, rng):
    """Apply an op to named leaves; return the node and the values by name."""
    arrays = sample.draw(rng)
    names = [f"x{i}" for i in range(len(arrays))]
    leaves = [
        tg.Tensor(a, requires_grad=a.dtype.kind == "f", name=name)
        for a, name in zip(arrays, names, strict=True)
    ]
    node = op.call(*leaves, **sample.settings)
    return node, leaves, dict(zip(names, arrays, strict=True))


def balanced(latex):
    """Whether braces close in the order in which they open; escaped ones are text."""
    depth = 0
    for brace in re.findall(r"\\\\|\\[{}]|[{}]", latex):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0 and latex.count(r"\left") == latex.count(r"\right")


def well_formed(latex):
    """The LaTeX is balanced, and latex2mathml makes MathML of it that is XML."""
    from xml.dom import minidom

    assert balanced(latex), latex
    mathml = latex2mathml.converter.convert(latex)
    minidom.parseString(mathml)
    return mathml


def evaluate(line, values):
    with np.errstate(all="ignore"):
        return eval(line, {"np": np, "scipy": scipy}, dict(values))


def same(got, wanted, tolerance=1e-12):
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


# --- every op ------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_the_numpy_line_of_an_op_gives_its_value(op, sample):
    """What is written as NumPy computes what the op computed, in its shape."""
    node, _, values = recorded(op, sample, np.random.default_rng(0))
    line = written(node, own, "numpy")
    assert "\n" not in line
    same(evaluate(line, values), node.numpy())


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_the_latex_of_an_op_is_well_formed(op, sample):
    """LaTeX of every op, alone and within others, has balanced braces and converts."""
    node, _, _ = recorded(op, sample, np.random.default_rng(0))
    well_formed(written(node, own, "latex"))
    text = written(node, own)
    assert text
    assert "\\" not in text
    assert "$" not in text
    if node.dtype.kind == "f":
        for around in (-(node * node), (1 - node) / (2 + node), (node + 1) ** 3):
            well_formed(written(around, own, "latex"))


@pytest.mark.parametrize(("op", "sample"), MEMBERS)
def test_a_rule_is_written_from_the_rule(op, sample):
    """What `pulled` writes as NumPy is what the op's rule returns for that cotangent."""
    if not op.differentiable:
        pytest.skip("constant")
    rng = np.random.default_rng(0)
    node, leaves, values = recorded(op, sample, rng)
    node.name = "out"
    for i, leaf in enumerate(leaves):
        if not leaf.requires_grad:
            continue
        well_formed(pulled(node, i, own, "latex", g="dout"))
        text = pulled(node, i, own, g="dout")
        assert "dout" in text or op.name == "multiply", text
        g = np.asarray(rng.standard_normal(node.shape))
        line = pulled(node, i, own, "numpy", g="dout")
        settings = op.bind((), sample.settings)
        arrays = list(values.values())
        shares = (
            op.rules(g, node.numpy(), *arrays, **settings)[i]
            if op.variadic
            else op.rules[i](g, node.numpy(), *arrays, **settings)
        )
        got = evaluate(line, {**values, "out": node.numpy(), "dout": g})
        np.testing.assert_allclose(
            *np.broadcast_arrays(got, shares), rtol=1e-9, atol=1e-9
        )


# --- parentheses ---------------------------------------------------------------------


class Reader:
    """Reads a line of numbers, names, + - ⊙ /, powers, and juxtaposition; evaluates it.

    Loosest first: sum, product (⊙ and /), juxtaposition, power. Written here anew, from
    what a mathematician expects, so that it shares no table with the library.
    """

    TOKEN = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*|\d+(?:\.\d+)?|[-+⊙/()·^²³⁴]|Σ)|\s*$")

    def __init__(self, text, values):
        self.tokens = [t for t in self.TOKEN.findall(text) if t]
        assert "".join(self.tokens) == text.replace(" ", ""), text
        self.values = values
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def read(self):
        value = self.sum()
        assert self.peek() is None, self.tokens[self.at :]
        return value

    def sum(self):
        value = (
            -self.product() if self.peek() == "-" and self.take() else self.product()
        )
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.product()
            value = value + term if sign == "+" else value - term
        return value

    def product(self):
        value = self.joined()
        while self.peek() in ("⊙", "/"):
            sign = self.take()
            factor = self.joined()
            value = value * factor if sign == "⊙" else value / factor
        return value

    def joined(self):
        value = self.power()
        while self.peek() is not None and re.match(r"[A-Za-z\d(·]", self.peek()):
            if self.peek() == "·":
                self.take()
            value = value * self.power()
        return value

    def power(self):
        value = self.atom()
        while self.peek() is not None and self.peek() in "²³⁴^":
            sign = self.take()
            value = value ** (self.atom() if sign == "^" else "²³⁴".index(sign) + 2)
        return value

    def atom(self):
        token = self.take()
        if token == "(":
            value = self.sum()
            assert self.take() == ")"
            return value
        return self.values[token] if token[0].isalpha() else float(token)


def combined(kind, x, y):
    """Return one of seven ways to make something of two expressions."""
    ways = [
        lambda: x + y,
        lambda: x - y,
        lambda: x * y,
        lambda: y - x,
        lambda: -x,
        lambda: x / (y * y + 1.0),
        lambda: ops.power(x, 2.0),
    ]
    return ways[kind]()


def random_expression(rng, leaves, size):
    """Return a random expression of sums, products, quotients, signs and powers."""
    made = [*leaves, 2.0, 3.0]
    for _ in range(size):
        x, y = (made[rng.integers(len(made))] for _ in range(2))
        kind = rng.integers(7)
        if not isinstance(x, tg.Tensor):
            x = leaves[rng.integers(len(leaves))]
        made.append(combined(kind, x, y))
    return made[-1]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("shape", [(3,), ()])
def test_parentheses_say_what_was_computed(seed, shape):
    """A random expression, written for the eye and read again, has its own value."""
    rng = np.random.default_rng(seed)
    leaves = [tg.Tensor(rng.uniform(0.5, 1.5, shape), name=name) for name in "abc"]
    node = random_expression(rng, leaves, 7)
    values = {x.name: x.numpy() for x in leaves}
    same(Reader(written(node, own), values).read(), node.numpy(), 1e-9)
    same(evaluate(written(node, own, "numpy"), values), node.numpy())


def test_a_missing_parenthesis_is_noticed():
    """The reader is no friend of the writer: a dropped bracket changes the value."""
    values = {"a": 2.0, "b": 3.0, "c": 5.0}
    assert Reader("a - (b - c)", values).read() == 4.0
    assert Reader("a - b - c", values).read() == -6.0
    assert Reader("a / (b c)", values).read() == 2 / 15
    assert Reader("2 a² ⊙ c", values).read() == 40.0


def found_out(seed):
    try:
        test_parentheses_say_what_was_computed((3,), seed)
    except (AssertionError, ValueError):  # another value, or none at all
        return True
    return False


def test_the_law_of_parentheses_can_fail(monkeypatch):
    """A writer that forgets its parentheses is found out by random expressions."""
    monkeypatch.setattr(writing, "_within", lambda piece, need, style: piece.text)
    wrong = sum(found_out(seed) for seed in range(60))
    assert wrong > 10


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda W, A, s: W @ A, "W A"),
        (lambda W, A, s: W @ (A + 1), "W (A + 1)"),
        (lambda W, A, s: (W * 2) @ A, "2 W A"),
        (lambda W, A, s: (W @ A) * (1 - A * A), "W A ⊙ (1 - A²)"),
        (lambda W, A, s: W @ (A * A), "W A²"),
        (lambda W, A, s: -(W @ A), "-W A"),
        (lambda W, A, s: s * A, "s A"),
        (lambda W, A, s: (W @ A).T, "(W A)ᵀ"),
        (lambda W, A, s: tg.tanh(A) ** 2, "tanh(A)²"),
        (lambda W, A, s: tg.sum(A * A) / 3, "Σ A² / 3"),
        (lambda W, A, s: tg.sum(W * A), "Σ (W ⊙ A)"),
        (lambda W, A, s: tg.exp(-A), "exp(-A)"),
        (lambda W, A, s: A * -2.0, "-2 A"),
        (lambda W, A, s: A - -2.0, "A - (-2)"),
        (lambda W, A, s: A > 0, "A > 0"),
        (lambda W, A, s: A * (A > 0), "A ⊙ (A > 0)"),
    ],
)
def test_lines_look_as_a_person_writes_them(make, text):
    """Known expressions are written as in a textbook."""
    W, A = (tg.Tensor(np.eye(2) + 0.5, name=name) for name in "WA")
    assert written(make(W, A, tg.Tensor(2.0, name="s")), own) == text


# --- names, size, refusals -----------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text(name):
    """Whatever is in a name stays text: LaTeX is balanced, and MathML is sound XML."""
    latex = latex_name(name)
    mathml = well_formed(latex)
    assert "<script" not in mathml
    assert "<b>" not in mathml
    x = tg.Tensor(np.ones(2), name=name or "empty")
    well_formed(written(x * x + 1.0, own, "latex"))


def test_a_long_chain_is_written_without_recursion():
    """100,000 ops are written, shortened, and a name below is the end of the line."""
    x = tg.Tensor(np.ones(2), name="x")
    y = x
    for _ in range(100_000):
        y = y + 1.0
    assert len(written(y, own)) < 50_000
    assert written(y * 2, lambda n: "y" if n is y else own(n)) == "2 y"


def test_the_same_program_gives_the_same_text():
    """Two builds of one program are written alike, byte for byte."""

    def build():
        W, X = tg.Tensor(np.eye(3), name="W"), tg.Tensor(np.ones((3, 4)), name="X")
        y = tg.softmax(W @ X, axis=0) / 3
        return [written(y, own, style) for style in ("text", "latex", "numpy")]

    assert build() == build()


def test_what_cannot_be_written_is_refused():
    """Another style, a gradient that is not there, and an array too long without a name."""
    x = tg.Tensor(np.ones(2), name="x")
    with pytest.raises(OpError, match="style"):
        written(x, own, "html")
    with pytest.raises(GradientError, match="greater: operand 0"):
        pulled(x > 0, 0, own)
    with pytest.raises(OpError, match="no name"):
        written(tg.Tensor(np.ones(1000)) + x[0], own, "numpy")
    assert written(x * 0 + np.inf, own, "numpy").endswith("np.inf")


def test_an_op_that_a_user_declares_is_written():
    """Its formula, its rule and its body are read; nothing is asked twice."""

    @tg.elementwise(
        formula=r"\mathrm{cube}($x)", vjp=lambda g, out, x: g * 3 * x * x, samples=()
    )
    def cube(x):
        """Third power."""
        return x * x * x

    try:
        x = tg.Tensor(np.arange(3.0), requires_grad=True, name="x")
        y = cube(x)
        assert written(y, own) == "cube(x)"
        assert written(y, own, "numpy") == "x * x * x"
        assert pulled(y, 0, own, g="dy") == "3 dy ⊙ x ⊙ x"
        well_formed(pulled(y, 0, own, "latex", g="dy"))
    finally:
        del REGISTRY["cube"]


def test_a_minus_of_a_minus_is_none():
    """Two minuses that meet where an op is written out cancel, and the value stays."""
    x = tg.Tensor(np.array([0.5, -2.0]), name="x")
    text = written(tg.sigmoid(-x), lambda x: getattr(x, "name", None), "numpy")
    assert text == "1 / (1 + np.exp(x))"
    value = eval(text, {"np": np, "x": x.data})
    np.testing.assert_allclose(value, tg.sigmoid(-x).data, rtol=1e-15)
