"""The table of edges: what ops are at kinks, ends of domains, infinities and nan."""

from __future__ import annotations

import numpy as np
import pytest
from numbers_reference import Number, context, precise

import tinygrad_nn as tg
from tinygrad_nn.check.edges import domain, edges, points
from tinygrad_nn.errors import OpError
from tinygrad_nn.op import REGISTRY

OPS = [
    op
    for name, op in sorted(REGISTRY.items())
    if op.pointwise
    and op.differentiable
    and hasattr(tg.ops, name)
    and op.function.__module__.startswith("tinygrad_nn.")
]
UNARY = [op for op in OPS if len(op.operands) == 1 and op.name != "astype"]
# Of ldexp one operand is a whole number; betaln has poles beside its domain.
BINARY = [
    op for op in OPS if len(op.operands) == 2 and op.name not in ("betaln", "ldexp")
]
STEP = Number("1e-20")
HUGE = 1e300


def _value(op, at):
    """The op's definition at a point, to fifty digits; nan where it has no value."""
    operands = [
        precise(np.array(x)) if not isinstance(x, Number) else _cell(x) for x in at
    ]
    for body in (op.function, op.exact):
        if body is None:
            continue
        try:
            found = np.asarray(body(*operands, **op.defaults), object)[()]
            return found if isinstance(found, Number) else Number(found)
        except TypeError:
            continue  # NumPy has no loop over objects for it, or it left the reals
        except AttributeError:
            continue  # it asks for a dtype, which these numbers have none of
        except (ValueError, ZeroDivisionError):
            return None
    return None


def _cell(x):
    array = np.empty((), object)
    array[()] = x
    return array


def _side(op, at, i, sign):
    """The one-sided derivative in operand i: a float, inf where steep, or None."""
    here = _value(op, at)
    moved = [Number(x) for x in at]
    slopes = []
    for step in (STEP, STEP * STEP):
        moved[i] = Number(at[i]) + step * sign
        there = _value(op, moved)
        if here is None or there is None:
            return None
        slopes.append(float((there - here) / (step * sign)))
    if abs(slopes[1]) > 2 * abs(slopes[0]) + 1:
        return np.inf  # steeper and steeper
    return slopes[1]


def _wanted(left, right):
    """The slope that the convention asks for, from the two sides."""
    sides = [s for s in (left, right) if s is not None]
    if not sides:
        return None
    if any(np.isinf(s) for s in sides):
        return 0.0
    low, high = min(sides), max(sides)
    if low <= 0 <= high and high - low > 1e-9:
        return 0.0
    return low if abs(low) <= abs(high) else high


def _agrees(slope, wanted):
    return abs(slope - wanted) <= 1e-9 * max(1.0, abs(wanted))


def _each(rows):
    return pytest.mark.parametrize(
        ("op", "at"), rows, ids=[f"{op.name}-{at}" for op, at in rows]
    )


@_each([(op, at) for op in UNARY for at in points(op) if np.isfinite(at[0])])
def test_at_a_point_the_slope_is_that_of_its_sides(op, at):
    """Where both sides agree it is theirs; at a kink the least; where steep, 0."""
    (edge,) = [e for e in edges(op) if e.at == at]
    value = _value(op, at)
    if not np.isfinite(edge.value):
        assert value is None or abs(value.value) == context.inf or np.isnan(edge.value)
        return
    if value is None:  # no definition in these numbers: its own tests hold it
        assert np.isfinite(edge.slopes[0])
        return
    assert _agrees(edge.value, float(value))
    wanted = _wanted(*[_side(op, at, 0, sign) for sign in (-1, 1)])
    assert _agrees(edge.slopes[0], wanted), (edge, wanted)


@_each([(op, at) for op in BINARY for at in points(op) if np.all(np.isfinite(at))])
def test_at_a_point_of_two_the_slopes_are_those_of_their_sides(op, at):
    """For two operands likewise, one after the other; at a tie of both, a half each."""
    (edge,) = [e for e in edges(op) if e.at == at]
    if not np.isfinite(edge.value):
        return
    for i, slope in enumerate(edge.slopes):
        if slope is None:
            continue
        sides = [_side(op, at, i, sign) for sign in (-1, 1)]
        finite = [s for s in sides if s is not None]
        if not finite:
            assert np.isnan(slope) or slope == 0, edge  # no value beside the point
        elif not _agrees(edge.value, float(_value(op, at))):
            assert np.isfinite(slope), edge  # a zero of either sign: floats alone know
        elif op.name in TIED and len(set(at)) == 1:
            assert slope == 0.5
        else:
            # With two operands the least norm is over both; each lies between its sides.
            low, high = min(finite), max(finite)
            inside = np.isinf([low, high]).any() or low - 1e-9 <= slope <= high + 1e-9
            assert np.isfinite(slope), edge
            assert inside, (edge, sides)


TIED = {"maximum", "minimum"}


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_slope_that_dies_out_is_0_at_infinity(op, sign):
    """Where the slope tends to 0, it is 0 at infinity: not nan, as 0 times infinity is."""
    slopes = []
    for x in (1e3 + 0.3, 1e6 + 0.3, 1e12 + 0.3):  # between poles
        with np.errstate(all="ignore"):
            t = tg.Tensor(sign * x, requires_grad=True)
            out = op.call(t)
            (g,) = tg.gradients(out, [t])
        if np.isnan(out.item()):
            return
        slopes.append(abs(g.item()))
    assert not np.isnan(slopes).any()
    edge = {e.at[0]: e for e in edges(op)}[sign * np.inf]
    if np.isnan(edge.value):  # NumPy knows no value there either
        return
    if slopes[2] < 1e-5 and slopes[0] >= slopes[1] >= slopes[2]:
        assert edge.slopes[0] == 0, edge
    elif np.allclose(slopes, slopes[-1]):
        assert edge.slopes[0] == pytest.approx(sign * slopes[-1]) or abs(
            edge.slopes[0]
        ) == pytest.approx(slopes[-1])


RELATIVE = 1e-10
ABSOLUTE = {
    "hazard": 1e-12
}  # far left it takes sqrt(1/2) for a number, not for its float
TAIL = 1e-14  # of tails: 1 - tanh(x)² is a difference of numbers near 1


def _near_edges(op):
    """Points that come close to every edge, and ones that go far away."""
    inner = [at for (at,) in points(op) if np.isfinite(at)]
    close = [
        edge + sign * 10.0**-k
        for edge in inner
        for k in (1, 2, 4, 6, 8, 10, 12, 15)
        for sign in (-1, 1)
    ]
    far = [sign * x for x in (3.3, 10.7, 30.1, 100.3, 600.9) for sign in (-1, 1)]
    return sorted({x for x in [*close, *far] if x not in inner})


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_close_to_an_edge_slopes_of_both_orders_are_right(op):
    """A step of 1e-15 from an edge, first and second slope are those of 120 digits."""
    for x in _near_edges(op):
        with context.workdps(120):
            here = Number(x)
            step = abs(here) * Number("1e-30")
            below, value, above = (_value(op, [here + step * i]) for i in (-1, 0, 1))
            if value is None or below is None or above is None:
                continue
            wanted = [
                float((above - below) / (step * 2)),
                float((above - value * 2 + below) / (step * step)),
            ]
        with np.errstate(all="ignore"):
            t = tg.Tensor(x, requires_grad=True)
            out = op.call(t)
            if not np.isfinite(out.item()):
                continue  # outside of the domain, or beyond the largest float
            (first,) = tg.gradients(out, [t])
            (second,) = tg.gradients(first, [t], unused="zero") if first.requires_grad else [t * 0]  # fmt: skip
        for slope, want in zip((first.item(), second.item()), wanted, strict=True):
            if abs(want) < 1e300:
                off = abs(slope - want)
                floor = ABSOLUTE.get(op.name, TAIL)
                assert off <= RELATIVE * abs(want) + floor, (x, slope, want)


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_nan_stays_nan(op):
    """The value at nan is nan; nothing hides that a number is missing."""
    assert np.isnan(edges(op)[-1].value)


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_the_domain_is_where_values_are(op):
    """Random numbers have a value inside of the domain that is told, and only there."""
    rng = np.random.default_rng(0)
    intervals = domain(op).split(" or ")
    for x in rng.uniform(-4, 4, 200):
        inside = any(_holds(interval, x) for interval in intervals)
        with np.errstate(all="ignore"):
            assert np.isnan(op.function(np.array(x))) != inside, (x, domain(op))


def _holds(interval, x):
    low, high = interval[1:-1].replace("∞", "inf").split(", ")
    return float(low) < x < float(high)


def test_a_wrong_convention_is_noticed(monkeypatch):
    """A slope of 1 for |x| at 0, or an infinite one for the root of 0, is told."""
    op = REGISTRY["abs"]
    monkeypatch.setattr(op, "rules", (lambda g, _out, x: g * (2.0 * (x >= 0) - 1),))
    with pytest.raises(AssertionError):
        test_at_a_point_the_slope_is_that_of_its_sides(op, (0.0,))
    op = REGISTRY["sqrt"]
    monkeypatch.setattr(op, "rules", (lambda g, out, _x: g / (2 * out),))
    with np.errstate(divide="ignore"), pytest.raises(AssertionError):
        test_at_a_point_the_slope_is_that_of_its_sides(op, (0.0,))


def test_what_has_no_table_is_refused_by_name():
    """A reduction, or a name that is no op, has no table of edges."""
    with pytest.raises(OpError, match="elementwise"):
        edges("sum")
    with pytest.raises(OpError, match="swirl"):
        edges("swirl")
