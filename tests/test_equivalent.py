"""Two expressions are one function: proved, refuted with a witness, or left open.

The witness of arithmetic in prime fields is Python's own integers and fractions; that
of the laws of exp and log is their definition; that of a proof is a derivation by hand
(`reference.explicit`, textbooks) and, the other way round, formulas with known mistakes.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from corpus import BUGS
from numbers_reference import Number as Digits
from numbers_reference import rounded
from reference import explicit

import tinygrad_nn as tg
from tinygrad_nn.check import equivalent, fields, replay
from tinygrad_nn.check.equivalent import _POINTS_WITH_ALL_SIGNS
from tinygrad_nn.check.fields import (
    CHAIN,
    TOPS,
    Constants,
    Field,
    Resample,
    TooDeep,
    recovered,
)
from tinygrad_nn.check.points import arguments, small
from tinygrad_nn.check.replay import numbers
from tinygrad_nn.errors import OpError, UnsupportedError
from tinygrad_nn.op import REGISTRY

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name):
    """Import one file of examples/, which is no package."""
    specification = importlib.util.spec_from_file_location(
        name, EXAMPLES / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# --- the primes ----------------------------------------------------------------------


def lucas_lehmer(n):
    """Say whether 2^n - 1 is prime, for an odd prime n."""
    s, m = 4, 2**n - 1
    for _ in range(n - 2):
        s = (s * s - 2) % m
    return s == 0


def pocklington(n, q):
    """Prove n prime by a prime factor q of n - 1 that is above its root."""
    assert (n - 1) % q == 0
    assert q * q > n
    return any(
        pow(a, n - 1, n) == 1 and math.gcd(pow(a, (n - 1) // q, n) - 1, n) == 1
        for a in (2, 3, 5)
    )


def test_the_chain_is_of_primes():
    """The first is a Mersenne prime, and each proves the next one prime."""
    assert CHAIN[0] == 2**89 - 1
    assert lucas_lehmer(89)
    assert not lucas_lehmer(83)
    for q, p in itertools.pairwise(CHAIN):
        assert pocklington(p, q)
        assert not pocklington(p + 2 * q, q)
    assert len(set(TOPS)) == len(TOPS) >= 16
    assert all(pocklington(p, CHAIN[-1]) for p in TOPS)


def test_small_primes_are_squares_and_minus_one_is_none():
    """So the square symbol gives constants of small primes their own sign."""
    for top in range(len(TOPS)):
        field = Field(0, 1, top=top)
        assert field.square(field.top - 1) == -1
        for n in (2, 3, 5, 7, 11, 47, 71, Fraction(3, 400), 10**8, Fraction(1, 209)):
            field.constant(n)
        assert not field.irregular
    for p in CHAIN[1:]:
        assert all(pow(n, p // 2, p) == 1 for n in (2, 3, 5, 7))
        assert p % 4 == 3


# --- arithmetic ----------------------------------------------------------------------


def some(field, count):
    return [field.variable() for _ in range(count)]


def test_arithmetic_is_that_of_python_modulo_each_prime():
    """Sum, difference, product, quotient and power agree with integers and inverses."""
    field = Field(3, 2)
    x, y = some(field, 2)
    for i, p in enumerate(field.primes):
        a, b = x.levels[i], y.levels[i]
        assert (x + y).levels[i] == (a + b) % p
        assert (x - y).levels[i] == (a - b) % p
        assert (x * y).levels[i] == a * b % p
        assert (x / y).levels[i] * b % p == a
        assert (x**5).levels[i] == pow(a, 5, p)
        assert (x**-2).levels[i] * a * a % p == 1
        assert (-x).levels[i] == p - a
        assert (x + Fraction(2, 3)).levels[i] * 3 % p == (3 * a + 2) % p
    assert (3 - x) + x == 3
    assert 1 / (1 / x) == x
    assert x - x == 0
    assert x != y


def test_constants_stay_fractions():
    """What is computed of constants alone is their exact value."""
    field = Field(0, 1)
    x = (field.number(0.1) * 3 + field.number(0.7)) ** 2
    assert x.fraction == 1
    assert float(field.number(0.25)) == 0.25
    assert field.constant(4).sqrt().fraction == 2
    assert math.isinf(field.number(math.inf).fraction)
    assert not (1 / field.constant(0)).levels


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0.1, "1/10"),
        (1e-8, "1/100000000"),
        (0.999, "999/1000"),
        (-1 / 7, "-1/7"),
        (1 / 22210, "1/22210"),
        (1 / 12345678, "1/12345678"),
        (0.044715, "8943/200000"),
        (3.0, "3"),
        (0.5**20, "1/1048576"),
        (0.01 / 7, "1/700"),
        (1e22, "10000000000000000000000"),
    ],
)
def test_a_float_stands_for_the_rational_that_was_meant(written, meant):
    """Decimals and fractions are recovered, and only what rounds to the very float."""
    value, root = recovered(written)
    assert value == Fraction(meant)
    assert not root
    assert value.numerator / value.denominator == written


def test_a_float_of_no_meaning_stands_for_itself():
    """One unit in the last place beside 1/3 is no third, and pi is no fraction."""
    for x in (np.nextafter(1 / 3, 1).item(), math.pi, 0.1 + 0.2, math.e / 1e5):
        assert recovered(x) == (Fraction(x), False)


def test_roots_of_small_fractions_are_recovered():
    """1 / np.sqrt(3) is the root of 1/3, so its square is 1/3 exactly."""
    assert recovered((1 / np.sqrt(3)).item()) == (Fraction(1, 3), True)
    field = Field(0, 1)
    assert field.number(math.sqrt(2)) ** 2 == 2
    assert list(field.recovered.values()) == ["sqrt(2)"]


# --- laws ----------------------------------------------------------------------------

LAWS = {
    "exp of a sum": lambda x, y: ((x + y).exp(), x.exp() * y.exp()),
    "exp of a difference": lambda x, y: ((x - y).exp(), x.exp() / y.exp()),
    "exp of a fraction": lambda x, y: ((x / 3).exp() ** 3, x.exp()),
    "exp of exp": lambda x, y: (
        (x.exp() * (-x).exp() + y.exp()).exp(),
        (1 + y.exp()).exp(),
    ),
    "tanh by exp": lambda x, y: (
        x.tanh(),
        (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    ),
    "tanh by sigmoid": lambda x, y: (x.tanh(), 2 / (1 + (-2 * x).exp()) - 1),
    "log of exp": lambda x, y: (x.exp().log(), x),
    "exp of log": lambda x, y: (x.log().exp(), x),
    "exp of a sum of logs": lambda x, y: ((x.log() + 2 * y.log()).exp(), x * y * y),
    "log of a product": lambda x, y: ((x * y).log(), x.log() + y.log()),
    "log of a quotient": lambda x, y: ((x / y).log(), x.log() - y.log()),
    "log of a factor, later": lambda x, y: (x.log() + (y / x).log(), y.log()),
    "log of a square": lambda x, y: ((x * x).log(), 2 * x.log()),
    "log of a sigmoid": lambda x, y: (
        (1 / (1 + (-x).exp())).log(),
        x - (1 + x.exp()).log(),
    ),
    "log of its complement": lambda x, y: (
        (1 - 1 / (1 + (-x).exp())).log(),
        -(1 + x.exp()).log(),
    ),
    "log1p and expm1": lambda x, y: (x.expm1().log1p(), x),
    "a third root": lambda x, y: ((x.exp() ** Fraction(1, 3)) ** 3, x.exp()),
    "powers of tenths": lambda x, y: (
        x.exp() ** Fraction(3, 10) * x.exp() ** Fraction(7, 10),
        x.exp(),
    ),
    "root of a square": lambda x, y: ((x * x).sqrt(), abs(x)),
    "root of exp": lambda x, y: (x.exp().sqrt(), (x / 2).exp()),
    "root of a product": lambda x, y: (
        (x * x * y.exp()).sqrt(),
        abs(x) * (y / 2).exp(),
    ),
    "sin and cos": lambda x, y: (x.sin() ** 2 + x.cos() ** 2, x.field.constant(1)),
    "sin is odd": lambda x, y: ((x - y).sin(), -(y - x).sin()),
    "cos is even": lambda x, y: ((x - y).cos(), (y - x).cos()),
    "abs is even": lambda x, y: (abs(x - y), abs(y - x)),
    "max and min": lambda x, y: (
        np.maximum(np.array([x], object), y)[0] + np.minimum(np.array([x], object), y)[0],
        x + y,
    ),
}  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
def test_laws_of_the_real_functions_hold_exactly(law):
    """At every random point, whichever of the laws' sides is computed first."""
    for seed in range(6):
        for flip in (False, True):
            field = Field(seed, 4, top=seed)
            x, y = some(field, 2)
            if flip:
                x, y = y, x
            left, right = LAWS[law](x, y)
            assert left.levels[0] == right.levels[0]


WRONG = {
    "exp of a product": lambda x, y: ((x * y).exp(), x.exp() * y.exp()),
    "exp of a sum": lambda x, y: ((x + y).exp(), x.exp() + y.exp()),
    "exp twice": lambda x, y: (x.exp().exp(), x.exp()),
    "log of a sum": lambda x, y: ((x + y).log(), x.log() + y.log()),
    "log of a product": lambda x, y: ((x * y).log(), x.log() * y.log()),
    "tanh of a sum": lambda x, y: ((x + y).tanh(), x.tanh() + y.tanh()),
    "tanh and sigmoid": lambda x, y: (x.tanh(), 1 / (1 + (-x).exp())),
    "sin and cos": lambda x, y: (x.sin(), x.cos()),
    "sin of two": lambda x, y: (x.sin(), y.sin()),
    "arctan and tanh": lambda x, y: (x.arctan(), x.tanh()),
    "one part in 1e15": lambda x, y: (x * (1 + Fraction(1, 10**15)), x),
    "a square and a cube": lambda x, y: (x * x, x * x * x),
}


@pytest.mark.parametrize("law", WRONG)
def test_what_is_no_law_does_not_hold(law):
    """Different functions have different values at every one of the points tried."""
    for seed in range(6):
        left, right = WRONG[law](*some(Field(seed, 4), 2))
        assert left.levels[0] != right.levels[0]


def test_signs_are_consistent_and_take_both_values():
    """-x < 0 where x > 0; products, exponentials and small factors keep to the rules."""
    met = set()
    for seed in range(40):
        field = Field(seed, 2)
        x, y = some(field, 2)
        met.add((x > 0, y > 0))
        assert (x > 0) == (-x < 0) == (2 * x > 0) == (x / 7 > 0) != (x < 0)
        assert (x > y) == (y < x) == (x - y > 0) == (x - y >= 0)
        assert (x * y > 0) == ((x > 0) == (y > 0))
        assert x.exp() > 0
        assert -x.exp() < 0
        assert x * x > 0
        assert x == x  # noqa: PLR0124 (the law)
        assert x >= x  # noqa: PLR0124 (the law)
        assert not x > x  # noqa: PLR0124 (the law)
        assert x < math.inf > -x
        assert x > -math.inf
        assert np.sign(np.array([x], object))[0] == (1 if x > 0 else -1)
    assert met == set(itertools.product([False, True], repeat=2))


def test_signs_follow_the_order_of_the_numbers():
    """No x is below -1 and above 1, and three numbers have an order."""
    met = set()
    for seed in range(60):
        field = Field(seed, 1, constants=Constants({}, {2}))
        x, y, z = some(field, 3)
        inside = (x > -1, x > 1)
        assert inside != (False, True)
        met.add(inside)
        assert len({x > y, y > z, z > x}) == 2
    assert met == {(False, False), (True, False), (True, True)}


def test_constants_have_their_own_sign_even_in_disguise():
    """53 as a difference is positive, though it is no square modulo some prime."""
    wrong = 0
    for top in range(len(TOPS)):
        for number in (73, 79, 83, 89, 97):
            field = Field(top, 1, top=top)
            wrong += field.square(number) < 0
            known = Constants({}, set())
            known.learn({number, field.top - number}, set(), field.top)
            field = Field(top, 1, top=top, constants=known)
            x = field.variable()
            assert (x + number) - x > 0
            assert x - (x + number) < 0
    assert wrong

    def disguised(x, c):
        return np.where((x + c) - x > 0, x, 0.0)

    for c in (73.0, 79.0, 83.0, 89.0, 97.0, 53.7):
        different(lambda x, c=c: disguised(x, c), lambda x: 0 * x, (2,))
        proved(lambda x, c=c: disguised(x, c), lambda x: x, (2,))
        different(lambda x, c=c: disguised(-x, -c), lambda x: -x, (2,))


def test_an_irregular_constant_is_noticed():
    """A constant that the square symbol gets wrong makes its field irregular."""
    for top in range(len(TOPS)):
        for number in (73, 79, 83, 89, 97):
            field = Field(0, 1, top=top)
            field.constant(number)
            assert field.irregular == (pow(number, field.top // 2, field.top) != 1)
            other = Field(0, 1, top=field.regular_top())
            other.constant(number)
            assert not other.irregular


def test_what_cannot_be_computed_says_so():
    """No prime below, no root, no comparison of the undefined, no float."""
    field = Field(0, 1)
    x = field.variable()
    with pytest.raises(TooDeep):
        x.exp().exp()
    loss = x if field.square(x.levels[0]) < 0 else -x
    with pytest.raises(Resample):
        loss.sqrt()
    with pytest.raises(TypeError, match="undefined"):
        assert x / (x - x) > 0
    with pytest.raises(TypeError, match="no float"):
        float(x)


# --- replay --------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_and_its_gradient_are_replayed(name, exact):
    """At fifty digits an op and its gradients are what floats say, to rounding."""
    op = REGISTRY[name]
    if op.function.__module__.startswith("tinygrad_nn.") and op.kind != "random":
        rng = np.random.default_rng(0)
        for sample in op.samples:
            arrays = sample.draw(rng)
            leaves = [tg.Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
            out = op.call(*leaves, **sample.settings)
            outputs = [out]
            if out.requires_grad:
                wanted = [x for x in leaves if x.requires_grad]
                g = rng.standard_normal(out.shape)
                outputs += tg.gradients(out, wanted, g, unused="zero")
            values = {x: numbers(x.numpy(), Digits) for x in leaves}
            found = replay(outputs, values, Digits, exact=exact)
            for output, array in zip(outputs, found, strict=True):
                assert array.shape == output.shape
                got = rounded(array) if array.dtype == object else array
                np.testing.assert_allclose(got, output.numpy(), rtol=1e-12, atol=1e-12)


def test_replay_takes_inner_nodes_and_constants():
    """A value may stand for an inner node; what lies behind it is not computed."""
    x = tg.Tensor([2.0, 3.0])
    y = np.log(x)
    z = (y * 0.5 + np.array([1.0, 2.0])).sum()
    (found,) = replay([z], {y: numbers([1.0, 4.0], Fraction)}, Fraction)
    assert found[()] == Fraction(11, 2)


def test_replay_walks_long_graphs():
    """A chain of 100,000 nodes is no recursion."""
    x = y = tg.Tensor(0.0)
    for _ in range(100_000):
        y = y + 1.0
    (found,) = replay([y], {x: numbers(0.5, Fraction)}, Fraction)
    assert found[()] == Fraction(200_001, 2)


def test_replay_names_what_it_cannot_compute():
    """Op and line stand in the error."""
    y = np.tanh(tg.Tensor([1.0]))
    x = y.inputs[0]
    with pytest.raises(UnsupportedError, match=r"tanh at .*test_equivalent.py:\d+"):
        replay([y], {x: numbers([1.0], Fraction)}, Fraction)


# --- proofs --------------------------------------------------------------------------


def proved(*arguments, **options):
    answer = equivalent(*arguments, **options)
    assert answer.verdict == "proved", str(answer)
    assert answer.ok
    assert 0 <= answer.probability <= 1e-12
    assert answer.witness is None
    return answer


def different(*arguments, **options):
    answer = equivalent(*arguments, **options)
    assert answer.verdict == "different", str(answer)
    assert not answer.ok
    return answer


def dense(rows, hidden):
    """Parameters, their names and activations of a network with examples in columns."""
    names = [f"{kind}{i}" for i in range(1, len(rows)) for kind in "Wb"]
    shapes = [
        shape
        for n_in, n_out in itertools.pairwise(rows)
        for shape in ((n_out, n_in), (n_out, 1))
    ]
    return names, shapes, hidden


def logistic_regression(module, X, p):
    own = {"w": p["W1"].T, "b": p["b1"].reshape(())}
    return module.logistic_regression(X, own)


TUTORIALS = {
    "planar flower": (
        lambda: example("planar_flower"),
        lambda m, X, Y, p: m.compute_cost(m.forward_propagation(X, p), Y),
        dense([2, 4, 1], ["tanh"]),
        0.0,
    ),
    "one hidden layer": (
        lambda: example("one_hidden_layer"),
        lambda m, X, Y, p: m.compute_cost(m.forward_propagation(X, p)[0], Y),
        dense([2, 4, 1], ["tanh"]),
        0.0,
    ),
    "sigmoid network": (
        lambda: example("sigmoid_network"),
        lambda m, X, Y, p: m.cost_function(m.forward_prop(X, p), Y),
        dense([2, 5, 3, 1], ["sigmoid", "sigmoid"]),
        0.0,
    ),
    "images, logistic": (
        lambda: example("image_classifier"),
        lambda m, X, Y, p: m.compute_cost(logistic_regression(m, X, p), Y),
        dense([12288, 1], []),
        0.0,
    ),
    "images, one hidden layer": (
        lambda: example("image_classifier"),
        lambda m, X, Y, p: m.compute_cost(m.one_hidden_layer(X, p), Y),
        dense([12288, 7, 1], ["relu"]),
        0.0,
    ),
    "images, deep": (
        lambda: example("image_classifier"),
        lambda m, X, Y, p: m.compute_cost(m.deep_network(X, p), Y),
        dense([12288, 6, 5, 4, 3, 1], ["relu"] * 4),
        0.0,
    ),
    "weather, L2": (
        lambda: example("weather_network"),
        lambda m, X, Y, p: m.compute_cost(m.L_model_forward(X, p), Y, p, 0.7),
        dense([4, 6, 5, 3, 1], ["relu"] * 3),
        0.7,
    ),
}


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_formula_of_a_tutorial_is_proved(name):
    """dW and db of each layer, by autograd and by the explicit formulas, are equal."""
    load, cost, (names, shapes, hidden), l2 = TUTORIALS[name]
    module = load()

    def autograd(X, Y, *rest):
        p = dict(zip(names, rest, strict=True))
        return dict(zip(names, tg.gradients(cost(module, X, Y, p), rest), strict=True))

    def formulas(X, Y, *rest):
        p = dict(zip(names, rest, strict=True))
        cache = explicit.forward(p, X, hidden)
        return explicit.backward(p, cache, Y, hidden, l2=l2)

    n = shapes[0][1]
    sizes = [(n, 400), (1, 400), *shapes]
    answer = proved(autograd, formulas, *sizes, names=["X", "Y", *names])
    assert set(answer.outputs) == set(names)
    assert all(max(size) <= 8 for size in answer.sizes.values())


@pytest.mark.parametrize("name", [name for name in TUTORIALS if name != "weather, L2"])
def test_every_intermediate_formula_is_proved(name):
    """DZ of each layer, a gradient of the cost with respect to Z, is the chain rule's."""
    _, _, (names, shapes, hidden), _ = TUTORIALS[name]

    def autograd(X, Y, *rest):
        cache = explicit.forward(dict(zip(names, rest, strict=True)), X, hidden)
        A, Z = X, {}
        for layer in range(1, len(hidden) + 2):
            Z[f"Z{layer}"] = tg.matmul(rest[2 * layer - 2], A) + rest[2 * layer - 1]
            act = "sigmoid" if layer > len(hidden) else hidden[layer - 1]
            A = {"relu": tg.relu, "tanh": tg.tanh, "sigmoid": tg.sigmoid}[act](
                Z[f"Z{layer}"]
            )
        loss = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum()
        assert cache
        return dict(zip(Z, tg.gradients(loss, list(Z.values())), strict=True))

    def formulas(X, Y, *rest):
        p = dict(zip(names, rest, strict=True))
        return explicit.deltas(p, explicit.forward(p, X, hidden), Y, hidden)

    n = shapes[0][1]
    sizes = [(n, 400), (1, 400), *shapes]
    proved(autograd, formulas, *sizes, names=["X", "Y", *names])


def test_dropout_of_the_weather_tutorial_is_proved():
    """Masks are arrays of zeros and ones, or any numbers: the formula is the same."""
    names, shapes, hidden = dense([4, 5, 3, 1], ["relu"] * 2)

    def autograd(X, Y, D1, D2, *rest):
        W1, b1, W2, b2, W3, b3 = rest
        A1 = tg.relu(W1 @ X + b1) * D1 / 0.8
        A2 = tg.relu(W2 @ A1 + b2) * D2 / 0.8
        A3 = tg.sigmoid(W3 @ A2 + b3)
        cost = -np.mean(Y * np.log(A3) + (1 - Y) * np.log(1 - A3))
        return dict(zip(names, tg.gradients(cost, rest), strict=True))

    def formulas(X, Y, D1, D2, *rest):
        p = dict(zip(names, rest, strict=True))
        options = {"masks": [D1, D2], "keep": 0.8}
        cache = explicit.forward(p, X, hidden, **options)
        return explicit.backward(p, cache, Y, hidden, **options)

    sizes = [(4, 9), (1, 9), (5, 9), (3, 9), *shapes]
    answer = proved(autograd, formulas, *sizes, names=["X", "Y", "D1", "D2", *names])
    assert "0.8 is 4/5" in answer.constants


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def batch_norm(x, gamma, beta):
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + beta


def batch_norm_by_hand(g, x, gamma, beta, *, slip=""):
    m = x.shape[0]
    inverse = 1 / np.sqrt(x.var(axis=0) + 1e-5)
    normal = (x - x.mean(axis=0)) * inverse
    dn = g * gamma
    last = 0 if slip == "term" else normal * (dn * normal).sum(axis=0)
    dx = inverse / m * (m * dn - dn.sum(axis=0) - last)
    return dx, (g * normal).sum(axis=0), g.sum(axis=0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm(X, W, b, h, c):
    n = h.shape[1]
    for x in X:
        z = np.concatenate([x, h], axis=1) @ W + b
        i, f, o, u = (z[:, k * n : (k + 1) * n] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        h = sigmoid(o) * np.tanh(c)
    return h


def lstm_by_hand(X, W, b, h, c, g, *, slip=""):
    n, k, steps = h.shape[1], X.shape[2], []
    for x in X:
        v = np.concatenate([x, h], axis=1)
        z = v @ W + b
        i, f, o = (sigmoid(z[:, j * n : (j + 1) * n]) for j in range(3))
        u, old = np.tanh(z[:, 3 * n :]), c
        c = f * old + i * u
        h = o * np.tanh(c)
        steps.append((v, i, f, o, u, old, c))
    dh, dc, dW, db, dX = g, 0, np.zeros_like(W), np.zeros_like(b), []
    for v, i, f, o, u, old, c in reversed(steps):
        a = np.tanh(c)
        dc = dc + dh * o * (1 - (c if slip == "tanh' of c" else a) ** 2)
        gates = [dc * u * i * (1 - i), dc * old * f * (1 - f), dh * a * o * (1 - o)]
        dz = np.concatenate([*gates, dc * i * (1 - u * u)], axis=1)
        dW, db, dv = dW + v.T @ dz, db + dz.sum(axis=0), dz @ W.T
        dX.insert(0, dv[:, :k])
        dh, dc = dv[:, k:], dc * f
    return np.stack(dX), dW, db, dh, dc


BATCH = [(5, 3), (5, 3), (3,), (3,)]
STEPS = [(3, 2, 4), (6, 8), (8,), (2, 2), (2, 2), (2, 2)]


def test_softmax_does_not_change_with_a_shift():
    """softmax(z + c) = softmax(z), a number or a number a row; not a number a column."""
    proved(softmax, lambda z: softmax(z + 1.5), (5, 3))
    proved(softmax, tg.softmax, (5, 3))
    rows = proved(lambda z, c: softmax(z), lambda z, c: softmax(z + c), (5, 3), (5, 1))
    assert rows.signs
    assert rows.points == _POINTS_WITH_ALL_SIGNS[3]  # a comparison a row
    different(lambda z, c: softmax(z), lambda z, c: softmax(z + c), (5, 3), (3,))


def test_softmax_cross_entropy_is_proved():
    """(p - Y) / m, for labels as one-hot rows and as integers, of logits or by log."""
    Y, y = np.eye(3)[[0, 2, 1, 1, 0]], np.array([0, 2, 1, 1, 0])
    loss = tg.losses.cross_entropy

    def by_rows(z, Y):
        return (softmax(z) - Y) / len(z)

    def by_labels(z, y):
        p = softmax(z).copy()
        p[np.arange(len(z)), y] -= 1
        return p / len(z)

    answer = proved(tg.grad(loss), by_rows, (5, 3), Y, names="z Y")
    assert answer.kept == ("Y: a single 1 along axis 1",)
    proved(tg.grad(loss), by_labels, (5, 3), y, names="z y")

    def written(z, Y):
        return -(Y * np.log(tg.softmax(z))).sum() / z.shape[0]

    proved(tg.grad(written), by_rows, (5, 3), Y)
    different(tg.grad(written), lambda z, Y: softmax(z) - Y, (5, 3), Y)


def test_batch_norm_is_proved():
    """The short form of its gradient is the chain rule's; without its last term not."""

    def autograd(g, x, gamma, beta):
        return tg.gradients(batch_norm(x, gamma, beta), [x, gamma, beta], g)

    answer = proved(autograd, batch_norm_by_hand, *BATCH)
    assert answer.constants == ("1e-05 is 1/100000",)
    different(autograd, lambda *a: batch_norm_by_hand(*a, slip="term"), *BATCH)


def test_the_gradient_of_an_lstm_is_proved():
    """Backpropagation through time, three steps of six nested exponentials and more."""

    def autograd(X, W, b, h, c, g):
        return tg.gradients(lstm(X, W, b, h, c), [X, W, b, h, c], g)

    proved(autograd, lstm_by_hand, *STEPS)
    different(autograd, lambda *a: lstm_by_hand(*a, slip="tanh' of c"), *STEPS)


PAIRS = {
    "relu by where": (tg.relu, lambda x: np.where(x > 0, x, 0), [(3,)]),
    "relu by abs": (tg.relu, lambda x: (x + np.abs(x)) / 2, [(3,)]),
    "clip": (
        tg.grad(lambda x: tg.clip(x, -1, 1).sum()),
        lambda x: ((x > -1) & (x < 1)) * 1.0,
        [(9,)],
    ),
    "in place": (
        tg.grad(lambda x: (tg.relu(x) ** 2).sum()),
        lambda x: _with_zeros(2 * x, x < 0),
        [(4,)],
    ),
    "logaddexp": (
        tg.softplus,
        lambda z: np.logaddexp(0.0, z),
        [(4,)],
    ),
    "a stable sigmoid": (tg.sigmoid, explicit.sigmoid, [(4,)]),
    "norm": (
        tg.grad(tg.norm),
        lambda x: x / np.sqrt((x * x).sum()),
        [(4,)],
    ),
    "power": (
        tg.grad(lambda x: (x**0.3).sum()),
        lambda x: 0.3 * x**-0.7,
        [(3,)],
    ),
    "max": (
        tg.grad(lambda x: x.max(axis=1).sum()),
        lambda x: (x == x.max(axis=1, keepdims=True)) * 1.0,
        [(4, 3)],
    ),
    "a second derivative": (
        tg.grad(lambda x: tg.grad(lambda z: np.tanh(z).sum())(x).sum()),
        lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
        [(3,)],
    ),
    "attention's scale": (
        lambda q, k: tg.softmax(q @ k.T / np.sqrt(q.shape[1])),
        lambda q, k: softmax((q @ k.T) * q.shape[1] ** -0.5),
        [(4, 5), (3, 5)],
    ),
    "layer norm, then softmax": (
        lambda x: tg.softmax((x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)),
        lambda x: softmax((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)),
        [(2, 3)],
    ),
}  # fmt: skip


def _with_zeros(x, where):
    x[where] = 0
    return x


@pytest.mark.parametrize("name", PAIRS)
def test_two_spellings_are_one_function(name):
    """Plain NumPy of all kinds is proved equal to ours."""
    f, g, sizes = PAIRS[name]
    proved(f, g, *sizes)
    different(f, lambda *a: g(*a) * 1.0001, *sizes)


# --- refutations ---------------------------------------------------------------------


def network(X, Y, W1, b1, W2, b2):
    A1 = np.tanh(W1 @ X + b1)
    A2 = sigmoid(W2 @ A1 + b2)
    m = X.shape[1]
    cost = -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / m
    cost = cost + 0.1 / (2 * m) * ((W1**2).sum() + (W2**2).sum())
    return tg.gradients(cost, [W1, b1, W2, b2])


def by_hand(X, Y, W1, b1, W2, b2, *, slip=""):
    m = X.shape[1]
    Z1 = W1 @ X + b1
    A1 = np.tanh(Z1)
    dZ2 = sigmoid(W2 @ A1 + b2) - Y
    if slip == "sign":
        dZ2 = -dZ2
    slope = 1 - (Z1 if slip == "tanh' of z" else A1) ** 2
    if slip == "no slope":
        slope = 1
    dZ1 = W2.T @ dZ2 * slope
    decay = 0.05 if slip == "half a regulariser" else 0.1
    last = m - 1 if slip == "m - 1" else 1 if slip == "no 1/m" else m
    dW2 = dZ2 @ A1.T / last + decay * W2 / m
    db1 = (
        dZ1.mean() if slip == "mean" else dZ1.sum(axis=1, keepdims=True)
    ) / m + 0 * b1
    dW1 = dZ1 @ X.T / m + decay * W1 / m
    if slip == "reshaped, not transposed":
        dW1 = (X @ dZ1.T).reshape(W1.shape) / m + decay * W1 / m
    if slip == "transposed":
        dW1 = dW1.T
    return dW1, db1, dW2, dZ2.sum(axis=1, keepdims=True) / m


NETWORK = [(2, 9), (1, 9), (4, 2), (4, 1), (1, 4), (1, 1)]
SLIPS = (
    "sign", "tanh' of z", "no slope", "half a regulariser", "m - 1", "no 1/m", "mean",
    "reshaped, not transposed", "transposed",
)  # fmt: skip


def test_the_network_by_hand_is_proved():
    """Without a slip the formulas are autograd's."""
    proved(network, by_hand, *NETWORK)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_refuted_with_a_witness(slip):
    """The witness's arrays, put in, give the numbers that the witness names."""
    answer = different(network, lambda *a: by_hand(*a, slip=slip), *NETWORK)
    witness = answer.witness
    place = int(witness.output.strip("[]"))
    arrays = list(witness.arrays.values())
    theirs = by_hand(*arrays, slip=slip)[place]
    if slip == "transposed":
        assert (witness.first, witness.second) == ((3, 2), (2, 3))
    else:
        ours = network(*[tg.Tensor(x, requires_grad=True) for x in arrays])[place]
        assert witness.first == ours.numpy()[witness.index]
        assert witness.second == theirs[witness.index]
        assert abs(witness.first - witness.second) > 1e-6


def test_a_mask_of_the_wrong_array_is_refuted():
    """The mask of relu taken from A2 or X in place of Z1 is another function."""

    def ours(X, W1, W2):
        return tg.gradients(tg.relu(W2 @ tg.relu(W1 @ X)).sum(), [W1])[0]

    def formula(X, W1, W2, mask="Z1"):
        Z1 = W1 @ X
        Z2 = W2 @ np.maximum(Z1, 0)
        dZ1 = W2.T @ (Z2 > 0)
        dZ1[{"Z1": Z1, "-Z1": -Z1, "dZ1": dZ1}[mask] <= 0] = 0
        return dZ1 @ X.T

    sizes = [(2, 5), (4, 2), (3, 4)]
    proved(ours, formula, *sizes)
    for mask in ("-Z1", "dZ1"):
        different(ours, lambda *a, m=mask: formula(*a, mask=m), *sizes)


@pytest.mark.parametrize("name", sorted(BUGS))
def test_no_planted_bug_is_proved(name):
    """Every wrong gradient of the corpus is refuted, or at worst left open."""
    problem = BUGS[name].at(0)
    floating = [i for i, a in enumerate(problem.arrays) if a.dtype.kind == "f"]
    given = list(problem.arrays)

    def ours(*arrays):
        *arrays, g = arrays
        out = problem.f(*arrays)
        seed = None if problem.formula is not None else g
        inputs = [arrays[i] for i in floating]
        return tuple(tg.gradients(out, inputs, seed, unused="zero"))

    def claimed(*arrays):
        *arrays, g = arrays
        return tuple(problem.gradients(arrays, g))

    g = np.random.default_rng(0).standard_normal(np.shape(problem.f(*given)))
    try:
        answer = equivalent(ours, claimed, *given, g)
    except OpError as refused:  # functions that no Tensor records: sort, roll, arctan
        assert "expected functions that run" in str(refused)  # noqa: PT017 (either way)
    else:
        assert answer.verdict in ("different", "cannot say")
        assert answer.verdict == "different" or "exact" in answer.stopped_by


# --- what it cannot say, and what it says ---------------------------------------------


def test_an_unknown_law_is_left_open():
    """sin(2 x) = 2 sin x cos x is true, not known, and not refuted either."""
    answer = equivalent(
        lambda x: 2 * np.sin(x) * np.cos(x), lambda x: np.sin(2 * x), (3,)
    )
    assert answer.verdict == "cannot say"
    assert "sin" in answer.stopped_by
    assert str(answer).startswith("cannot say: the result[0]")


def test_a_difference_below_the_floats_is_left_open():
    """One part in 1e13 is no witness, and no proof either."""
    answer = equivalent(lambda x: x * (1 + 1e-13), lambda x: x, (3,))
    assert answer.verdict == "cannot say"


def test_the_op_without_an_exact_form_is_named():
    """np.floor has none: the line is named."""
    answer = equivalent(lambda x: np.floor(2 * x), lambda x: np.floor(x + x), (3,))
    assert answer.verdict == "cannot say"
    assert "floor" in answer.stopped_by
    assert "test_equivalent.py" in answer.stopped_by


def test_gradients_outside_of_the_graph_are_explained():
    """What backward() leaves in .grad is numbers, and no function of the arguments."""

    def f(x):
        x = tg.Parameter(x)
        (x * x).sum().backward()
        return x.grad

    answer = equivalent(f, lambda x: 2 * x, (3,))
    assert answer.verdict == "cannot say"
    assert "tg.gradients" in answer.stopped_by or "dtype" in answer.stopped_by


def test_a_difference_in_a_single_branch_is_found():
    """Points differ in the signs they give: a wrong slope for negative x is no proof."""

    def leaky(x):
        return np.where(x > 0, x, 0.01 * x)

    proved(leaky, lambda x: np.maximum(x, 0.01 * x), ())
    different(leaky, lambda x: np.where(x > 0, x, 0.02 * x), ())
    different(
        leaky, lambda x: np.where(x > 1, x, leaky(x) + 0.0 * (x > 1)) * (x < 1), ()
    )


def test_a_difference_at_the_given_arrays_alone_is_told():
    """relu's slope at 0 may be 0 or 1: elsewhere they are proved equal."""

    def ones(x):
        return (x >= 0) * 1.0

    slope = tg.grad(lambda x: tg.relu(x).sum())
    proved(slope, ones, (3,))
    answer = different(slope, ones, np.array([-1.0, 0.0, 2.0]))
    assert (answer.witness.index, answer.witness.first, answer.witness.second) == (
        (1,),
        0.0,
        1.0,
    )
    assert "at other points they are proved equal" in str(answer)


def test_a_size_known_by_heart_is_kept():
    """A formula that divides by 9 is right at 9 examples, where it was written."""
    ours = tg.grad(lambda x: (x * x).mean())
    answer = proved(ours, lambda x: 2 * x / 9, np.zeros(9) + 0.5)
    assert answer.sizes == {"x": (9,)}
    assert different(ours, lambda x: 2 * x / 8, np.zeros(9) + 0.5).sizes == {"x": (2,)}


def test_equal_at_small_sizes_alone_is_no_proof():
    """2 / n is 1 where n is 2: the given sizes are looked at as well."""

    def ours(A, Y):
        return 2 * (A - Y) / A.size

    for sizes in ([(10, 1)] * 2, [np.linspace(0, 1, 10)[:, None], np.ones((10, 1))]):
        answer = different(ours, lambda A, Y: A - Y, *sizes)
        assert answer.sizes == {"A": (10, 1), "Y": (10, 1)}
    different(lambda x: x.mean(), lambda x: x.sum() / 2, (10,))


def clipped(x):
    """Choose by the values, in NumPy."""
    return x * (30 / x.sum()) if x.sum() > 30 else x * 1.0


def clipped_by_data(x):
    """Choose by the values, on Tensors alone."""
    return 2 * tg.tanh(x) if x.data.sum() > 30 else 1 * tg.tanh(x)


def clipped_rarely(x):
    """Choose where no float is drawn."""
    return 2 * x if x.sum() > 1e9 else 1 * x


@pytest.mark.parametrize("f", [clipped, clipped_by_data, clipped_rarely])
def test_the_graph_of_one_branch_proves_nothing(f):
    """An ``if`` on values leaves no trace in a graph: the other branch counts too."""
    one = tg.tanh if f is clipped_by_data else np.positive
    for seed in range(3):
        answer = equivalent(f, lambda x: 1 * one(x), (3,), seed=seed)
        assert answer.verdict != "proved"


@pytest.mark.parametrize("seed", range(8))
def test_a_difference_in_one_pattern_of_few_signs_is_no_proof(seed):
    """Three comparisons have eight answers; of more, the report says what it rests on."""
    answer = equivalent(
        lambda a, b, c: np.where((a > 1e9) & (b > 1e9) & (c > 1e9), 0, a),
        lambda a, b, c: 1 * a,
        *[()] * 3,
        seed=seed,
    )
    assert answer.verdict == "cannot say"
    few = proved(lambda x: np.maximum(x, -x), np.abs, (), seed=seed)
    assert few.all_signs
    assert "probability of an error at most" in str(few)
    many = proved(lambda x: np.maximum(x, -x), np.abs, (3, 2, 4), seed=seed)
    assert not many.all_signs
    assert "what half of the signs show at most 5e-13" in str(many)


def test_the_careful_way_of_gradients_is_no_choice():
    """Far away softmax is zero, and gradients are recorded with care: nobody's branch."""
    labels = np.array([0, 1, 2, 3, 0, 1])

    def ours(z, y):
        def loss(z):
            return -np.log(tg.softmax(z)[np.arange(len(y)), y]).mean()

        return tg.grad(loss)(z)

    def formula(z, y):
        hot = np.arange(z.shape[1]) == y[:, None]
        return (softmax(z) - hot) / len(y)

    proved(ours, formula, (6, 4), labels)


def test_what_a_root_is_not_defined_for_is_looked_at():
    """The other branch of ``where(x > 0, sqrt(x), …)`` is compared as well."""

    def f(x):
        return np.where(x > 0, np.sqrt(x), x)

    def g(x):
        return np.where(x > 0, np.sqrt(x), np.where(x < -1e3, 0, x))

    def skips(x):
        return np.where(np.isnan(np.sqrt(x)), x, np.sqrt(x))

    assert equivalent(f, g, (3,)).verdict == "cannot say"
    assert equivalent(skips, g, (3,)).verdict == "cannot say"
    proved(f, lambda x: np.where(x <= 0, x, x**0.5), (3,))
    proved(f, skips, (3,))


def test_rounding_is_no_witness():
    """1 - cos(x) cancels for small x: no law is known, and the floats mean nothing."""
    answer = equivalent(
        lambda x: (1 - np.cos(1e-8 * x)) * 1e16,
        lambda x: 2 * np.sin(0.5e-8 * x) ** 2 * 1e16,
        (3,),
    )
    if np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant:
        assert answer.verdict == "cannot say"


def test_a_root_of_a_maximum_is_computed():
    """The integer 0 among exact numbers is one of them."""
    proved(
        lambda x: np.sqrt(np.maximum(x, 0)),
        lambda x: np.where(x > 0, np.sqrt(abs(x)), 0),
        (2,),
    )


def test_results_are_paired_by_name():
    """A dictionary in the order of a backward pass meets a tuple in that of arguments."""

    def ours(W, b):
        return tg.gradients((W * W).sum() + (b**3).sum(), [W, b])

    proved(ours, lambda W, b: {"db": 3 * b**2, "dW": 2 * W}, (2, 3), (4,))
    proved(
        lambda W, b: {"W": 2 * W, "b": b},
        lambda W, b: {"db": b, "dW": W + W},
        (2, 3),
        (4,),
    )
    with pytest.raises(OpError, match="as many results"):
        equivalent(lambda x: (x, x), lambda x: x, (3,))
    with pytest.raises(OpError, match="the same names"):
        equivalent(lambda x: {"a": x}, lambda x: {"b": x}, (3,))


def test_functions_that_run_nowhere_are_refused():
    """The functions' own error is told."""
    with pytest.raises(OpError, match=r"expected functions that run.*matmul"):
        equivalent(lambda x: x @ x, lambda x: x, np.zeros((2, 3)))


def test_what_is_held_keeps_its_value():
    """Equal for one value only."""
    f, g = (lambda x, y: x * y), (lambda x, y: 2 * x)
    different(f, g, (3,), (3,))
    answer = proved(f, g, (3,), np.full(3, 2.0), hold="y")
    assert answer.kept == ("y: its value",)


def test_different_sizes_stay_different():
    """Sizes shrink in their order, and one stays one."""
    shapes = [
        x.shape for x in small(arguments([(12288, 209), (7, 12288), (7, 1)], "abc"))
    ]
    assert shapes == [(4, 3), (2, 4), (2, 1)]


# --- mutants -------------------------------------------------------------------------


def exp_without_a_lower_prime(self):
    """Exponent taken modulo the same prime: no homomorphism."""
    field = self.field
    levels = tuple(
        pow(w, a, p)
        for w, a, p in zip(field.roots, self.levels, field.primes, strict=False)
    )
    return fields.Number(field, levels, None, 1)


def wrong_order(self, p, q):
    return self.random.randrange(2, p - 1)


def always(_field, _x):
    return 1


MUTANTS = {
    "exp of the same level": ("Number", "exp", exp_without_a_lower_prime, "softmax"),
    "a root of another order": ("Field", "_root", wrong_order, "softmax"),
    "log as a random number": ("Field", "logarithm", lambda self, x: self.variable(), "log"),
    "abs is the number": ("Number", "__abs__", lambda self: self, "abs"),
    "sin for cos": ("Number", "cos", lambda self: self.sin(), "circle"),
}  # fmt: skip

TRUTHS = {
    "softmax": lambda: equivalent(
        lambda z, c: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        lambda z, c: np.exp(z + c) / np.exp(z + c).sum(axis=1, keepdims=True),
        (3, 2),
        (3, 1),
    ),
    "log": lambda: equivalent(
        lambda z: np.log(np.exp(z) * np.exp(z)), lambda z: 2 * z, (2,)
    ),
    "abs": lambda: equivalent(np.abs, lambda z: np.abs(-z), (2,)),
    "circle": lambda: equivalent(
        lambda z: np.sin(z) ** 2 + np.cos(z) ** 2, lambda z: z * 0 + 1, (2,)
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_truth_is_not_proved_by_wrong_arithmetic(mutant, monkeypatch):
    """Each law of the numbers is needed for some proof."""
    kind, method, broken, truth = MUTANTS[mutant]
    assert TRUTHS[truth]().ok
    monkeypatch.setattr(getattr(fields, kind), method, broken)
    assert not TRUTHS[truth]().ok


def test_signs_that_are_always_positive_prove_too_much(monkeypatch):
    """The random bits are what tells one branch from another where floats do not."""
    f, g = (lambda x: np.where(x > -1e9, x, 0.0)), (lambda x: x * 1.0)
    assert equivalent(f, g, (3,)).verdict == "cannot say"
    monkeypatch.setattr(fields.Field, "sign", always)
    assert equivalent(f, g, (3,)).verdict == "proved"


def test_exact_values_tell_what_floats_do_not(monkeypatch):
    """A number class that rounds to zero would prove what is wrong."""
    f, g = (lambda x: x + 1e-13 * x**2), (lambda x: x)
    assert equivalent(f, g, (3,)).verdict == "cannot say"
    monkeypatch.setattr(fields, "_multiply", None)
    monkeypatch.setattr(fields.Number, "__mul__", lambda self, other: self)
    monkeypatch.setattr(
        fields.Number, "__rmul__", lambda self, other: self.field.constant(0)
    )
    assert equivalent(f, g, (3,)).verdict == "proved"
