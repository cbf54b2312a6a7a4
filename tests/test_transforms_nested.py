"""Transforms nested in any order, on polynomials whose derivatives are known exactly."""

from __future__ import annotations

from collections import defaultdict

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.op import REGISTRY

# --- polynomials, by formal rules ------------------------------------------------

AT = np.array([2.0, -1.0, 3.0])


def polynomial(rng):
    """Draw whole coefficients by exponents: degree 5 at most in three variables."""
    found = defaultdict(int)
    for _ in range(5):
        exponents = [0, 0, 0]
        for i in rng.integers(0, 3, size=rng.integers(2, 6)):
            exponents[i] += 1
        found[tuple(exponents)] += int(rng.integers(-3, 4))
    return dict(found)


def along(p, v):
    """Return the derivative of a polynomial along v, as school has it."""
    found = defaultdict(int)
    for exponents, c in p.items():
        for i, n in enumerate(exponents):
            if n:
                lower = (*exponents[:i], n - 1, *exponents[i + 1 :])
                found[lower] += c * n * int(v[i])
    return dict(found)


def value(p, x):
    """Return the value of a polynomial at whole numbers, in whole numbers."""
    x = [int(n) for n in x]
    return sum(c * x[0] ** a * x[1] ** b * x[2] ** d for (a, b, d), c in p.items())


def function(p):
    """Return a polynomial as a function to differentiate: products and sums alone."""

    def f(x):
        total = 0.0 * x[0]
        for exponents, c in p.items():
            term = float(c)
            for i, n in enumerate(exponents):
                for _ in range(n):
                    term = term * x[i]
            total = total + term
        return total

    return f


# --- transforms, each a directional derivative -----------------------------------


def by_dict(f, v):
    """Differentiate by a dict of a number and a vector."""

    def parts(d):
        return f(tg.concatenate([tg.reshape(d["first"], (1,)), d["rest"][0]]))

    def g(x):
        slopes = tg.grad(parts)({"first": x[0], "rest": (x[1:], 7, None)})
        return slopes["first"] * v[0] + tg.sum(slopes["rest"][0] * v[1:])

    return g


def by_flat(f, v):
    """Differentiate by one vector of two arguments."""
    _, unflatten = tg.flatten((np.zeros(1), np.zeros(2)))
    return lambda x: tg.grad(lambda y: f(tg.concatenate(unflatten(y))))(x) @ v


def by_name(f, v):
    return lambda x: tg.grad(lambda *, y: f(y), argnames="y")(y=x) @ v


def by_examples(f, v):
    """Differentiate for each example, the sum of two that are weighted 3 and -2."""

    def weighted(x, w):
        return f(x) * w.sum()

    def g(x):
        return tg.sum(tg.per_example_grad(weighted)(x, np.array([3.0, -2.0])), 0) @ v

    return g


ONCE = {
    "grad": lambda f, v: lambda x: tg.grad(f)(x) @ v,
    "value_and_grad": lambda f, v: lambda x: tg.value_and_grad(f)(x)[1] @ v,
    "vjp": lambda f, v: lambda x: tg.vjp(f, x)[1](1.0)[0] @ v,
    "jvp": lambda f, v: lambda x: tg.jvp(f, [x], [v])[1],
    "jacobian, reverse": lambda f, v: lambda x: tg.jacobian(f, mode="reverse")(x) @ v,
    "jacobian, forward": lambda f, v: lambda x: tg.jacobian(f, mode="forward")(x) @ v,
    "by a dict": by_dict,
    "by one vector": by_flat,
    "by name": by_name,
    "by examples": by_examples,
}
TWICE = {
    "hessian": lambda f, v, w: lambda x: v @ (tg.hessian(f)(x) @ w),
    "hvp": lambda f, v, w: lambda x: tg.hvp(f, x, v) @ w,
    "jvp of grad": lambda f, v, w: lambda x: tg.jvp(tg.grad(f), [x], [v])[1] @ w,
    "grad of jvp": lambda f, v, w: (
        lambda x: tg.grad(lambda y: tg.jvp(f, [y], [v])[1])(x) @ w
    ),
    "jacobian of grad": lambda f, v, w: (
        lambda x: w @ (tg.jacobian(tg.grad(f), mode="forward")(x) @ v)
    ),
}


def nested(f, p, rng):
    """Nest two to four transforms, checkpoints between; return f, p and the story."""
    story = []
    order = 0
    wanted = int(rng.integers(2, 5))
    while order < wanted:
        if rng.random() < 0.3:
            f = tg.checkpoint(f)
            story.append("checkpoint")
            continue
        v, w = rng.integers(-2, 3, size=(2, 3)).astype(float)
        if rng.random() < 0.6:
            name = str(rng.choice(list(ONCE)))
            f, p = ONCE[name](f, v), along(p, v)
            order += 1
        else:
            name = str(rng.choice(list(TWICE)))
            f, p = TWICE[name](f, v, w), along(along(p, v), w)
            order += 2
        story.append(name)
    return f, p, story


@pytest.mark.parametrize("seed", range(80))
def test_any_nesting_of_transforms_is_the_formal_derivative(seed):
    """Transforms in any order give the derivative that school has, to the last unit.

    All numbers are whole and small, so there is nothing to round.
    """
    rng = np.random.default_rng(seed)
    p = polynomial(rng)
    f, p, story = nested(function(p), p, rng)
    found = f(AT)
    assert isinstance(found, (np.ndarray, np.generic)), story
    assert found == value(p, AT), story
    again = f(tg.Tensor(AT, requires_grad=True))
    assert isinstance(again, tg.Tensor), story
    assert again.item() == value(p, AT), story


@pytest.mark.parametrize("name", [*ONCE, *TWICE])
def test_each_transform_alone_is_the_formal_derivative(name):
    """Each way is right by itself, at the outermost and inside of grad."""
    rng = np.random.default_rng(0)
    p = polynomial(rng)
    v, w = np.array([1.0, -2.0, 1.0]), np.array([0.0, 1.0, 2.0])
    if name in ONCE:
        f, wanted = ONCE[name](function(p), v), along(p, v)
    else:
        f, wanted = TWICE[name](function(p), v, w), along(along(p, v), w)
    assert f(AT) == value(wanted, AT)
    assert tg.grad(f)(AT) @ w == value(along(wanted, w), AT)


# --- every op --------------------------------------------------------------------

SAMPLED = [
    pytest.param(laws.of_op(op, sample), id=f"{name}-{i}")
    for name, op in sorted(REGISTRY.items())
    if op.differentiable and op.function.__module__.startswith("tinygrad_nn.")
    for i, sample in enumerate(op.samples[:3])
]


def called(member, rng):
    """Return the op as a function of its floating operands, and their arrays."""
    arrays = member.sample.draw(rng)
    floating = [a.dtype.kind == "f" for a in arrays]

    def f(*points):
        rest = iter(points)
        return member.value(
            *[next(rest) if m else a for a, m in zip(arrays, floating, strict=True)]
        )

    return f, [a for a, m in zip(arrays, floating, strict=True) if m]


@pytest.mark.parametrize("member", SAMPLED)
def test_forward_and_reverse_jacobians_of_every_op_agree(member, rng):
    """Both modes, where all unit vectors go at once, give the rows of single pulls."""
    f, points = called(member, rng)
    if not points:
        pytest.skip("no floating operand")
    every = tuple(range(len(points)))
    outputs, pull = tg.vjp(f, *points)
    rows = [
        pull(e.reshape(outputs.shape))
        for e in np.eye(outputs.size, dtype=outputs.dtype)
    ]
    for mode in ("forward", "reverse"):
        blocks = tg.jacobian(f, every, mode=mode)(*points)
        for i, (block, x) in enumerate(zip(blocks, points, strict=True)):
            assert block.shape == outputs.shape + x.shape
            assert block.dtype == x.dtype
            wanted = np.array([row[i] for row in rows]).reshape(block.shape)
            laws.close(block, wanted, 1e-12)


@pytest.mark.parametrize("member", SAMPLED)
def test_a_checkpoint_of_every_op_is_the_op(member, rng):
    """Value, gradient and second derivative are those without one, to the bit."""
    f, points = called(member, rng)
    if not points:
        pytest.skip("no floating operand")
    every = tuple(range(len(points)))
    ways = [rng.standard_normal(x.shape) for x in points]

    def slopes(f):
        def total(*points):
            y = f(*points)
            return tg.sum(y * y * np.arange(1.0, y.size + 1).reshape(y.shape))

        def slope(*points):
            found = tg.grad(total, every)(*points)
            return sum(tg.sum(g * v) for g, v in zip(found, ways, strict=True))

        return [*tg.grad(total, every)(*points), *tg.grad(slope, every)(*points)]

    for got, want in zip(slopes(tg.checkpoint(f)), slopes(f), strict=True):
        laws.identical(got, want)


FIRST = [each for each in SAMPLED if each.id.endswith("-0")]


@pytest.mark.parametrize("member", FIRST)
def test_second_derivatives_of_every_op_do_not_depend_on_the_order(member, rng):
    """jvp of grad, grad of jvp, jvp of jvp and hvp are one product, for every op."""
    f, points = called(member, rng)
    if not points:
        pytest.skip("no floating operand")
    every = tuple(range(len(points)))
    v = [rng.standard_normal(x.shape) for x in points]

    def total(*points):
        y = f(*points)
        return tg.sum(y * y * np.arange(1.0, y.size + 1).reshape(y.shape))

    def along(*points):
        return tg.jvp(total, points, v)[1]

    wanted = tg.hvp(lambda p: total(*p), [*points, 0], [*v, 0])[:-1]
    pushed = tg.jvp(tg.grad(total, every), points, v)[1]
    pulled = tg.grad(along, every)(*points)
    scale = max([1.0, *(np.max(np.abs(w), initial=0.0) for w in wanted)])
    for want, *found in zip(wanted, pushed, pulled, strict=True):
        for got in found:
            laws.close(got, want, 1e-12, scale)
    twice = tg.jvp(along, points, v)[1]
    product = sum(np.sum(w * d) for w, d in zip(wanted, v, strict=True))
    size = sum(np.sum(np.abs(w * d)) for w, d in zip(wanted, v, strict=True))
    laws.close(twice, product, 1e-11, size)
