"""Ops of one's own: every reading of them, at a prompt too, and mistakes told by name."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DtypeError, GradientError, OpError, ShapeError
from tinygrad_nn.op import op_of
from tinygrad_nn.ops.samples import cases, reals

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_ops_forgotten(monkeypatch):
    """Ops that a test declares leave the registry with it."""
    monkeypatch.setattr("tinygrad_nn.op.REGISTRY", dict(tg.op.REGISTRY))


# --- as they are at a prompt ------------------------------------------------------

SWISH = """
@tg.elementwise(
    formula=r"\\\\mathrm{swish}($x)",
    vjp=lambda g, out, x: g * (out + tg.sigmoid(x) * (1 - out)),
    samples=reals(1),
)
def swish(x):
    return x / (1 + np.exp(-x))
"""
MEAN = """
@tg.primitive(
    kind="reduction",
    formula=r"\\\\mathrm{mean}_{$p}($x)",
    shape=lambda size, p: size[:-1],
    vjp=lambda g, out, x, p: (
        g[..., None] * (x / out[..., None]) ** (p - 1) / x.shape[-1]
    ),
    samples=cases(((2, 3),)),
    refuses=(),
)
def power_mean(x, p=2.0):
    return np.mean(x**p, axis=-1) ** (1 / p)
"""
PROMPT = """
import numpy as np
import tinygrad_nn as tg
from tinygrad_nn.ops.samples import cases, reals
"""
READINGS = """
x = np.array([[0.5, 1.5, 2.0], [1.0, 3.0, 0.25]])
for f in (lambda x: swish(x).sum(), lambda x: power_mean(x, p=3.0).sum(),
          lambda x: (swish(power_mean(x)) ** 2).sum()):
    value, slope = tg.value_and_grad(f)(x)
    step = tg.compile(tg.value_and_grad(f), backend=backend)
    v, g = step(x)
    np.testing.assert_allclose(v.numpy(), value, rtol=1e-14)
    np.testing.assert_allclose(g.numpy(), slope, rtol=1e-14)
    assert tg.hessian(f)(x).shape == (2, 3, 2, 3)
    assert tg.check.check_gradients(f, x).verdict == "ok"
    W = tg.Parameter(x, name="W")
    loss = f(W)
    picture = str(tg.draw(loss))
    assert "swish" in picture or "mean" in picture, picture
    text = tg.derive(loss).text
    assert "dW" in text, text
    names = {}
    exec(tg.derive(loss).numpy, names)
    np.testing.assert_allclose(names["gradients"](x)["dW"], slope, rtol=1e-13)
print("all readings")
"""


@pytest.mark.parametrize(
    ("how", "backend"),
    [("exec", "numpy"), ("exec", "c"), ("-c", "numpy"), ("stdin", "numpy")],
)
def test_an_op_that_is_defined_at_a_prompt_works_in_every_reading(how, backend):
    """Eager, twice differentiated, compiled, checked, drawn and derived: no file shows it."""
    if backend == "c":
        try:
            tg.compile(lambda X: X * 2.0, backend="c")(np.ones(2))
        except tg.errors.TinygradError as error:
            pytest.skip(str(error))
    code = PROMPT + SWISH.replace("\\\\", "\\") + MEAN.replace("\\\\", "\\")
    code += f"backend = {backend!r}\n" + READINGS
    if how == "exec":
        exec(compile(code, "<a cell>", "exec"), {"__name__": "__main__"})
        return
    given = {"input": None} if how == "-c" else {"input": code}
    done = subprocess.run(
        [sys.executable, "-W", "error", *(["-c", code] if how == "-c" else ["-"])],
        capture_output=True, text=True, check=False, cwd=ROOT, **given,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "all readings\n"


def test_an_op_may_be_defined_again():
    """At a prompt one tries and tries again: the last definition counts."""
    for factor in (2.0, 3.0):

        @tg.elementwise(
            formula="$x", vjp=lambda g, _out, _x, c=factor: g * c, samples=()
        )
        def tried(x, c=factor):
            return x * c

    assert tg.grad(tried)(1.0) == 3.0
    with pytest.raises(OpError, match="tanh: there is an op of this name"):

        @tg.elementwise(formula="$x", vjp=lambda g, _out, _x: g, samples=())
        def tanh(x):
            return x


# --- every kind of op ------------------------------------------------------------


def declared():
    """Declare an op of each kind that the page shows; return them as members."""

    @tg.elementwise(
        formula=r"e^{-$k\\,$x^2}",
        vjp=lambda g, out, x, k: g * (-2 * k) * x * out,
        samples=reals(1, k=0.5),
    )
    def bell(x, k=1.0):
        return np.exp(-k * x * x)

    @tg.elementwise(
        formula="$x $y + $y^2",
        vjp=(lambda g, _out, _x, y: g * y, lambda g, _out, x, y: g * (x + 2 * y)),
        samples=reals(2),
    )
    def mixed(x, y):
        return x * y + y * y

    @tg.primitive(
        kind="contraction",
        formula="$x \\circ $x",
        shape=lambda size: (*size[:-1], size[-1], size[-1]),
        vjp=lambda g, _out, x: tg.einsum(
            "...ij,...j->...i", g + tg.swapaxes(g, -1, -2), x
        ),
        samples=cases(((2, 3),)),
        refuses=cases(((),)),
    )
    def squares(x):
        return x[..., :, None] * x[..., None, :]

    @tg.primitive(
        kind="movement",
        formula="interleave($arrays)",
        shape=lambda *sizes: (len(sizes) * sizes[0][0],),
        vjp=lambda g, _out, *arrays: tuple(
            g[i :: len(arrays)] for i in range(len(arrays))
        ),
        samples=cases(((3,), (3,))),
        refuses=(),
    )
    def interleaved(*arrays):
        return np.stack(arrays, axis=1).ravel()

    return [bell, mixed, squares, interleaved]


@pytest.mark.parametrize("i", range(4))
def test_ops_of_every_kind_pass_the_laws(i, rng):
    """The library's own laws hold for declarations outside of it."""
    op = op_of(declared()[i])
    for sample in op.samples:
        member = laws.of_op(op, sample)
        for law in (
            laws.shape_rule_tells_the_truth, laws.vjp, laws.adjoint, laws.second_order,
            laws.loops_agree, laws.gradients_are_their_own, laws.inputs_untouched,
            laws.dtype_stays, laws.saved, laws.mutation_noticed,
        ):  # fmt: skip
            law(member, rng)


def test_a_missing_path_is_declared():
    """With paths= a zero that is none survives an infinite slope, and is drawn and compiled."""

    @tg.elementwise(
        formula=r"\max($x, 0)",
        vjp=lambda g, _out, x: tg.where(x > 0, g, 0.0),
        samples=reals(1),
        paths=(lambda x: x > 0,),
    )
    def positive(x):
        return np.maximum(x, 0)

    x = np.array([0.0, 2.0, 4.0])
    f = lambda x: positive(tg.log(x)).sum()
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(tg.grad(f)(x), [0, 0.5, 0.25])
        np.testing.assert_array_equal(tg.hessian(f)(x), np.diag([0, -0.25, -1 / 16]))
        step = tg.compile(tg.grad(f))
        np.testing.assert_array_equal(step(x).numpy(), [0, 0.5, 0.25])


# --- mistakes --------------------------------------------------------------------


def op_with(vjp, body=None, **facts):
    """Declare an op of two operands and a setting with this rule; elementwise or not."""

    def mine(x, y, scale=1.0):
        return (x + y) * scale

    body = body or mine
    if "kind" in facts:
        shape = facts.pop("shape", lambda x, y, scale: np.broadcast_shapes(x, y))
        return tg.primitive(
            formula="$x + $y", vjp=vjp, shape=shape, samples=(), refuses=(), **facts
        )(body)
    return tg.elementwise(formula="$x + $y", vjp=vjp, samples=(), **facts)(body)


def right(g, _out, _x, _y, scale):
    return g * scale


RETURNS = {
    "a smaller shape": (
        lambda g, _o, _x, _y, scale: g[0] * scale, ShapeError,
        r"mine: its gradient rule for 'y' returned shape \(3,\) for an operand of shape \(2, 3\)",
    ),
    "a larger shape": (
        lambda g, _o, _x, _y, scale: g[None] * np.ones((4, 1, 1)) * scale, ShapeError,
        r"mine: .*'y' returned shape \(4, 2, 3\) for an operand of shape \(2, 3\)",
    ),
    "a number": (
        lambda g, _o, _x, _y, scale: np.float64(scale), ShapeError,
        r"mine: .*'y' returned shape \(\) for an operand of shape \(2, 3\)",
    ),
    "integers": (
        lambda g, _o, _x, _y, scale: np.ones((2, 3), int), DtypeError,
        r"mine: .*'y' returned dtype int64 for an operand of dtype float64",
    ),
    "booleans": (
        lambda g, _o, x, _y, scale: np.ones((2, 3), bool), DtypeError, r"mine: .*'y' .*bool",
    ),
    "complex": (
        lambda g, _o, _x, _y, scale: np.ones((2, 3)) * 1j, DtypeError, r"mine: .*'y' .*complex128",
    ),
    "objects": (
        lambda g, _o, _x, _y, scale: np.full((2, 3), None), DtypeError, r"mine: .*'y' .*object",
    ),
    "nothing": (
        lambda g, _o, _x, _y, scale: None, GradientError, r"mine: .*'y' returned None.*computed from g",
    ),
    "a list": (
        lambda g, _o, _x, _y, scale: [1.0], GradientError, r"mine: .*'y' returned \[1.0\]",
    ),
    "a tuple of shares": (
        lambda g, _o, _x, _y, scale: (g, g), GradientError, r"mine: .*'y' returned \(",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["elementwise", "contraction", "reduction", "movement"]
)
@pytest.mark.parametrize("name", RETURNS)
def test_what_a_rule_returns_is_refused_by_name(name, kind):
    """A wrong shape, dtype or kind: which op, which operand, expected and got."""
    rule, error, words = RETURNS[name]
    facts = {} if kind == "elementwise" else {"kind": kind}
    mine = op_with((right, rule), **facts)
    x, y = tg.Parameter(np.ones((2, 3))), tg.Parameter(np.ones((2, 3)))
    seed = np.arange(6.0).reshape(2, 3)
    calls = [
        lambda: mine(x, y).backward(seed),
        lambda: tg.gradients(mine(x, y), [y], seed),
        lambda: tg.vjp(mine, np.ones((2, 3)), np.ones((2, 3)))[1](seed),
        lambda: tg.compile(lambda x: tg.gradients(mine(x, y), [y], seed))(x.numpy()),
    ]
    for call in calls:
        with pytest.raises(error, match=words):
            call()


def test_one_operands_mistake_is_not_the_others():
    """The rule that is asked is the one that is told; another's gradient comes out."""
    mine = op_with((right, lambda g, _o, _x, _y, scale: g[0]))
    ones = np.ones((2, 3))
    np.testing.assert_array_equal(
        tg.vjp(lambda x: mine(x, ones), ones)[1](ones)[0], ones
    )


def test_a_rule_that_sums_what_was_broadcast_is_refused():
    """The engine sums over what was broadcast: a rule that does so too would do it twice."""
    mine = op_with((right, lambda g, _o, _x, _y, scale: tg.sum(g, 0) * scale))
    x, y = tg.Parameter(np.ones((2, 3))), tg.Parameter(np.ones(3))
    with pytest.raises(
        ShapeError, match=r"'y' .*\(3,\) .*result of shape \(2, 3\).*summed for you"
    ):
        (mine(x, y) * np.arange(6.0).reshape(2, 3)).sum().backward()


def test_narrow_floats_are_kept():
    """A rule may compute in float64: the gradient of a float32 operand is float32."""
    mine = op_with((right, lambda g, _o, _x, _y, scale: g * np.full((2, 3), scale)))
    y = tg.Parameter(np.ones((2, 3), np.float32))
    mine(np.ones((2, 3), np.float32), y).sum().backward()
    assert y.grad.dtype == np.float32


SHARES = {
    "too few": (lambda g, _o, *xs: (g[0],), r"several: its gradient rule returned 1 shares for 2"),
    "too many": (lambda g, _o, *xs: [g[0], g[1], g[0]], r"several: .*3 shares for 2"),
    "no tuple": (lambda g, _o, *xs: g, r"several: .*ndarray for 2"),
    "nothing": (lambda g, _o, *xs: None, r"several: .*NoneType for 2"),
    "one of them nothing": (lambda g, _o, *xs: (g[0], None), r"several: .*'xs\[1\]' returned None"),
    "one of another shape": (lambda g, _o, *xs: (g[0], g), r"several: .*'xs\[1\]' .*\(2, 3\) .*\(3,\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARES)
def test_another_number_of_shares_is_refused_by_name(name):
    """A rule of any number of operands returns a share for each."""
    rule, words = SHARES[name]

    @tg.primitive(
        kind="movement", formula="$xs", shape=lambda *sizes: (len(sizes), *sizes[0]),
        vjp=rule, samples=(), refuses=(),
    )  # fmt: skip
    def several(*xs):
        return np.stack(xs)

    x, y = tg.Parameter(np.ones(3)), tg.Parameter(np.ones(3))
    with pytest.raises((GradientError, ShapeError), match=words):
        several(x, y).sum().backward()
    with pytest.raises(
        (GradientError, ShapeError), match=words.replace("ndarray", ".*")
    ):
        tg.gradients(several(x, y).sum(), [x, y])


RULES = {
    "no out": ((lambda g, x, y: g, right), r"takes \(g, out, x, y, scale\).*\(g, x, y\)"),
    "no setting": ((lambda g, _o, _x, _y: g, right), r"takes \(g, out, x, y, scale\)"),
    "another setting": ((lambda g, _o, _x, _y, factor: g, right), r"_y, factor\)"),
    "too many": ((lambda g, _o, _x, _y, _z, scale: g, right), r"_z, scale\)"),
    "too few rules": ((right,), r"one gradient rule an operand; got 1 rules for \['x', 'y'\]"),
    "one rule": (right, r"one gradient rule an operand; got 1 rules"),
    "too many rules": ((right, right, right), r"got 3 rules"),
    "None": ((right, None), r"got None for 'y'"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rules_that_could_not_be_called_are_refused_at_once(name):
    """The declaration itself fails, and says what a rule takes."""
    vjp, words = RULES[name]
    with pytest.raises(OpError, match="mine: .*" + words):
        op_with(vjp)


def test_a_kind_that_there_is_not_is_refused_at_once():
    """A slip in the kind is no op that a missing path passes in some other way."""
    declare = tg.primitive(
        kind="reductoin", formula="$x", shape=lambda size: size,
        vjp=lambda g, _out, _x: g, samples=(), refuses=(),
    )  # fmt: skip
    with pytest.raises(OpError, match=r"mine: .*'reductoin'.* one of .*'reduction'"):

        @declare
        def mine(x):
            return x


def test_rules_may_take_their_arguments_in_other_ways():
    """Stars, defaults, keywords and callable objects are rules as well."""

    class Rule:
        def __call__(self, g, out, x, y, *, scale):
            return g * scale

    def of_keywords(g, _out, *_operands, scale):
        return g * scale

    for rule in (
        lambda g, *_rest, **settings: g * settings["scale"],
        lambda g, _out, _x, _y, scale=5.0: g * scale,
        lambda g, _out, _x, _y, scale, more=1.0: g * scale * more,
        of_keywords,
        Rule(),
        Rule().__call__,
    ):
        mine = op_with((right, rule))
        y = tg.Parameter(np.ones(2))
        mine(1.0, y, scale=3.0).sum().backward()
        np.testing.assert_array_equal(y.grad, [3.0, 3.0])


@pytest.mark.parametrize("function", [np.exp, len, np.linalg.norm.__call__])
def test_what_is_no_python_function_is_refused(function):
    """An op is declared of a function whose parameters can be read."""
    with pytest.raises(OpError, match="declared of a Python function; got"):
        tg.elementwise(formula="$x", vjp=lambda g, _o, _x: g, samples=())(function)


def test_an_op_without_operands_is_refused():
    """Parameters with defaults are settings; one at least is an operand."""

    def lonely(x=1.0):
        return np.exp(x)

    with pytest.raises(OpError, match=r"lonely: an op has operands.*\['x'\]"):
        tg.elementwise(formula="$x", vjp=lambda g, _o, x: g, samples=())(lonely)


def test_a_wrong_rule_that_fits_is_found_by_the_check():
    """What has the right shape and the wrong numbers is for check_gradients."""

    @tg.elementwise(formula="$x^2", vjp=lambda g, _o, x: g * x, samples=())
    def square_of_mine(x):
        return x * x

    report = tg.check.check_gradients(square_of_mine, np.array([0.5, 2.0]))
    assert report.verdict == "wrong"


def test_the_line_of_a_failing_rule_is_the_users(tmp_path):
    """The error comes from the user's script, and its traceback shows the backward."""
    script = tmp_path / "model.py"
    script.write_text(
        textwrap.dedent(
            """
            import numpy as np, tinygrad_nn as tg
            @tg.elementwise(formula="$x", vjp=lambda g, out, x: g[0], samples=())
            def mine(x):
                return x * 1.0
            mine(tg.Parameter(np.ones(2))).backward(np.ones(2))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert "model.py" in done.stderr
    assert (
        "ShapeError: mine: its gradient rule for 'x' returned shape ()" in done.stderr
    )
