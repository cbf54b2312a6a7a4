"""Every law can fail: for each one, mistakes that it must notice.

The gradient rules of the whole registry are broken in a dozen ways, each of which the
high-precision law must notice; the other laws get an op, a declaration or an engine
with the one fault that they are there to find.
"""

from __future__ import annotations

import warnings

import laws
import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import ShapeError, TinygradError
from tinygrad_nn.op import REGISTRY, Node, op_of
from tinygrad_nn.ops.samples import Sample, cases, reals

SEED = 20


def noticed(law, member, *more):
    """Whether a law refuses; a refusal of the library's own counts as well."""
    try:
        law(member, np.random.default_rng(SEED), *more)
    except (AssertionError, TinygradError, RuntimeWarning):
        return True
    except ValueError as error:
        return "read-only" in str(error)  # a write that NumPy stopped
    return False


def noticed_in_words(law, op):
    """Whether a law of words refuses; so does `string.Template`, for a wrong name."""
    try:
        law(op)
    except (AssertionError, KeyError, ValueError):
        return True
    return False


# --- gradient rules, the whole registry ------------------------------------------


def _rolled(share, _g):
    """Every element's share goes to its neighbour."""
    flat = tg.reshape(share, -1)
    size = flat.shape[0]
    return tg.reshape(flat[np.roll(np.arange(size), 1)], share.shape)


def _one_wrong(share, _g):
    """A single element is off by a thousandth."""
    off = np.zeros(share.shape)
    off.flat[0] = 1e-3
    return share + off


SHARE_FAULTS = {
    "zeroed": lambda share, _g: share * 0.0,
    "negated": lambda share, _g: -share,
    "doubled": lambda share, _g: share + share,
    "scaled by 1.001": lambda share, _g: share * 1.001,
    "off by 1e-9": lambda share, _g: share * (1 + 1e-9),
    "one element wrong": _one_wrong,
    "rolled": _rolled,
    "squared": lambda share, _g: share * share,
    "multiplied by mean |g|": lambda share, g: share * tg.mean(tg.abs(g)),
}
UPSTREAM_FAULTS = {
    "upstream ignored": lambda g: g * 0.0 + 1.0,
    "upstream averaged": lambda g: g * 0.0 + tg.mean(g),
    "upstream rolled": lambda g: _rolled(g, g),
}


def _with_share_fault(rule, fault):
    def mutant(g, out, *operands, **settings):
        share = rule(g, out, *operands, **settings)
        return None if share is None else fault(share, g)

    return mutant


def _with_upstream_fault(rule, fault):
    return lambda g, out, *operands, **settings: rule(
        fault(g), out, *operands, **settings
    )


def _of_tuple(rule, i, make):
    """Break the ``i``-th share of a rule that returns them all."""

    def mutant(g, out, *operands, **settings):
        shares = list(rule(g, out, *operands, **settings))
        single = make(lambda *_, **__: shares[i])
        shares[i] = single(g, out, *operands, **settings)
        return tuple(shares)

    return mutant


def rule_mutants(op, operands):
    """Yield every broken set of rules for an op, with what is wrong with it."""
    faults = [
        (name, lambda rule, fault=fault: _with_share_fault(rule, fault))
        for name, fault in SHARE_FAULTS.items()
    ]
    if op.variadic:
        for i in range(operands):
            for name, make in faults:
                yield f"{name} [{i}]", _of_tuple(op.rules, i, make)
        for name, fault in UPSTREAM_FAULTS.items():
            yield name, _with_upstream_fault(op.rules, fault)
        if operands > 1:
            rules = op.rules
            yield "shares swapped", lambda *given, **s: tuple(rules(*given, **s))[::-1]
        return
    faults += [
        (name, lambda rule, fault=fault: _with_upstream_fault(rule, fault))
        for name, fault in UPSTREAM_FAULTS.items()
    ]
    for i, operand in enumerate(op.operands):
        for name, make in faults:
            broken = list(op.rules)
            broken[i] = make(broken[i])
            yield f"{name} [{operand}]", tuple(broken)
    if operands > 1:
        yield "shares swapped", op.rules[::-1]


def small_sample(op):
    """The largest of the small samples: a mistake of one element has to show."""

    def weight(sample):
        sizes = [int(np.prod(shape)) for shape in sample.shapes]
        arrays = sample.draw(np.random.default_rng(SEED))
        out = np.size(op.function(*arrays, **sample.settings))
        return (
            min(sizes) > 0 and sum(sizes) <= 14,
            out > 1,
            min(sizes) > 1,
            sum(sizes),
        )

    return max(op.samples, key=weight)


DIFFERENTIABLE = [
    REGISTRY[name]
    for name in sorted(REGISTRY)
    if REGISTRY[name].differentiable and hasattr(tg.ops, name)
]

EQUIVALENT = {("add", "shares swapped")}  # both are g


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=[op.name for op in DIFFERENTIABLE])
def test_broken_rules_are_noticed(op, monkeypatch, record_property):
    """Every mutant of every gradient rule of the registry is killed by the law of vjps."""
    member = laws.of_op(op, small_sample(op))
    arrays = member.sample.draw(np.random.default_rng(SEED))
    named = zip(op.operands, arrays, strict=False)
    truths = tuple(f"[{name}]" for name, array in named if array.dtype == bool)
    assert not noticed(laws.vjp, member)
    survivors = []
    killed = equivalent = 0
    for name, rules in rule_mutants(op, len(arrays)):
        if truths and ("swapped" in name or name.endswith(truths)):
            continue  # the rule of a condition gives nothing that could be broken
        with monkeypatch.context() as patch:
            patch.setattr(op, "rules", rules)
            if noticed(laws.vjp, member):
                killed += 1
            elif (op.name, name) in EQUIVALENT:
                equivalent += 1
            else:
                survivors.append(name)
    assert survivors == []
    record_property("killed", killed)
    record_property("equivalent", equivalent)


# --- one fault for every other law -----------------------------------------------


@pytest.fixture
def fresh(monkeypatch):
    """Ops declared by a test leave the registry with it."""
    monkeypatch.setattr("tinygrad_nn.op.REGISTRY", dict(REGISTRY))


def double(body=None, **facts):
    """Declare ``2 x``, with one fact or the body replaced."""

    def double(x):
        """Twice the operand.

        >>> double(np.array([1.0]))
        array([2.])
        """
        return x + x

    body = body or double
    body.__name__ = "double"
    facts = {
        "formula": "2 $x",
        "vjp": lambda g, _out, _x: g + g,
        "samples": reals(1),
        **facts,
    }
    op = op_of(tg.elementwise(**facts)(body))
    return laws.of_op(op, op.samples[2])


def total(**facts):
    """Declare the sum along an axis, with one fact replaced."""

    def total(x, axis=None):
        """Sum along an axis.

        >>> total(np.array([1.0]))
        np.float64(1.0)
        """
        return np.sum(x, axis)

    facts = {
        "kind": "reduction",
        "formula": "total $x",
        "shape": lambda size, axis: tg.shapes.reduced(size, axis, keepdims=False),
        "vjp": lambda g, _out, x, axis: tg.ops.spread(g, np.shape(x), axis),
        "samples": cases(((2, 3), {"axis": 0})),
        "refuses": cases(((2, 3), {"axis": 2})),
        **facts,
    }
    op = op_of(tg.primitive(**facts)(total))
    return laws.of_op(op, op.samples[0])


ALL = (
    *(laws.shape_rule_tells_the_truth, laws.vjp, laws.adjoint, laws.second_order),
    *(
        laws.paths,
        laws.loops_agree,
        laws.gradients_are_their_own,
        laws.inputs_untouched,
    ),
    *(laws.dtype_stays, laws.one_value, laws.saved, laws.mutation_noticed),
)


@pytest.mark.usefixtures("fresh")
def test_an_op_without_fault_passes_every_law():
    """The ops that the mutants below are made of are right before they are broken."""
    for member in (double(), total()):
        for law in ALL:
            law(member, np.random.default_rng(SEED))
        laws.formula_fills_in(member.op)
        laws.docstring_carries_a_doctest(member.op)
    laws.refuses(
        laws.of_op(total().op, total().op.refuses[0]), np.random.default_rng(SEED)
    )
    laws.constant(double(vjp=None), np.random.default_rng(SEED))


def _writes_to_its_input(x):
    x += x
    return x


def _writes_to_its_input_and_back(x):
    x *= 3.0
    out = x * (2.0 / 3.0)
    x /= 3.0
    return out


def _writes_upstream(g, _out, _x):
    g *= 2
    return g


def _writes_value(g, out, _x):
    out += 1
    return g + g


def _leaks_float64(x):
    return np.asarray(x * np.float64(2))


def _arrays_only(g, _out, _x):
    """Right on arrays, wrong on Tensors."""
    return 3 * g if isinstance(g, Node) else 2 * g


def _tensors_only(g, _out, _x):
    """Right on Tensors, wrong on arrays."""
    return 2 * g if isinstance(g, Node) else 3 * g


def _square(x):
    return x * x


def _warns(g, _out, _x):
    warnings.warn("a backward of ours warns of nothing", RuntimeWarning, stacklevel=1)
    return g + g


def _kinked(x):
    return np.maximum(x, 0.0) * 2.0


def _kink_share(g, _out, x):
    return 2.0 * g * tg.greater(x, 0.0)


NUMBERS = {
    "a nonlinear rule": (laws.adjoint, lambda: double(vjp=lambda g, _out, _x: g * g)),
    "a rule of another function of g": (
        laws.adjoint,
        lambda: double(vjp=lambda g, _out, _x: tg.abs(g) * 2),
    ),
    "a factor taken off the graph": (
        laws.second_order,
        lambda: double(_square, vjp=lambda g, _out, x: g * (2 * tg.op.data_of(x))),
    ),
    "the value taken off the graph": (
        laws.second_order,
        lambda: double(_square, vjp=lambda g, out, x: g * 2 * (tg.op.data_of(out) / x)),
    ),
    "a path too many": (
        laws.paths,
        lambda: double(
            _kinked, vjp=_kink_share, paths=(lambda x: tg.greater(x, -9.0),)
        ),
    ),
    "a path too few": (
        laws.paths,
        lambda: double(_kinked, vjp=_kink_share, paths=(lambda x: tg.greater(x, 1.0),)),
    ),
    "paths the wrong way round": (
        laws.paths,
        lambda: double(_kinked, vjp=_kink_share, paths=(lambda x: tg.less(x, 0.0),)),
    ),
    "paths that cut a gradient off": (
        laws.loops_agree,
        lambda: double(_kinked, vjp=_kink_share, paths=(lambda x: tg.less(x, 0.0),)),
    ),
    "right on arrays only": (laws.loops_agree, lambda: double(vjp=_arrays_only)),
    "right on Tensors only": (laws.loops_agree, lambda: double(vjp=_tensors_only)),
    "a rule that warns": (laws.loops_agree, lambda: double(vjp=_warns)),
    "a rule that reads memory in its own order": (
        laws.layout_does_not_matter,
        lambda: double(vjp=lambda g, _out, _x: 2 * g.ravel("K").reshape(g.shape)),
    ),
    "a body that writes to its input": (
        laws.inputs_untouched,
        lambda: double(_writes_to_its_input),
    ),
    "a body that writes and writes back": (
        laws.inputs_untouched,
        lambda: double(_writes_to_its_input_and_back),
    ),
    "a rule that writes to its upstream": (
        laws.inputs_untouched,
        lambda: double(vjp=_writes_upstream),
    ),
    "a rule that writes to the value": (
        laws.inputs_untouched,
        lambda: double(vjp=_writes_value),
    ),
    "a float64 value": (laws.dtype_stays, lambda: double(_leaks_float64)),
    "a float64 share": (
        laws.dtype_stays,
        lambda: double(vjp=lambda g, _out, _x: g * np.float64(2)),
    ),
    "a float64 mask": (
        laws.dtype_stays,
        lambda: double(_kinked, vjp=lambda g, _out, x: g * (2.0 * tg.greater(x, 0.0))),
    ),
    "an operand said to be unused": (
        laws.saved,
        lambda: double(_square, vjp=lambda g, _out, _x: 2 * g * _x),
    ),
    "a value said to be unused": (
        laws.saved,
        lambda: double(lambda x: np.exp(x), vjp=lambda g, _out, _x: g * _out),  # noqa: PLW0108 (a ufunc has no name of its own to set)
    ),
    "an operand that nobody saved": (
        laws.mutation_noticed,
        lambda: double(_square, vjp=lambda g, _out, _x: 2 * g * _x),
    ),
    "a view that nobody saved": (
        laws.mutation_noticed,
        lambda: double(lambda x: x[...], vjp=lambda g, _out, _x: g * 1.0),
    ),
    "a shape rule that keeps the axis": (
        laws.shape_rule_tells_the_truth,
        lambda: total(shape=lambda size, axis: size),
    ),
    "a shape rule that removes the other axis": (
        laws.shape_rule_tells_the_truth,
        lambda: total(shape=lambda size, axis: size[:1]),
    ),
    "a shape rule that refuses what is right": (
        laws.shape_rule_tells_the_truth,
        lambda: total(shape=_refusing),
    ),
    "a rule that forgets to repeat": (
        laws.loops_agree,
        lambda: total(vjp=lambda g, _out, x, axis: g),
    ),
}


def _refusing(*_sizes, **_settings):
    raise ShapeError("expected nothing")


@pytest.mark.parametrize("fault", NUMBERS)
@pytest.mark.usefixtures("fresh")
def test_fault_is_noticed(fault, record_property):
    """The law is broken by the fault that it is there to find."""
    law, make = NUMBERS[fault]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert noticed(law, make())
    record_property("killed", 1)


def _accepting(x, axis=None):
    return np.sum(x)


@pytest.mark.usefixtures("fresh")
def test_faults_of_refusing_are_noticed(record_property):
    """What is accepted, refused without a name, or by another error is noticed."""
    wrong = Sample(((2, 3),), ((-2.0, 2.0),), {"axis": 2})
    right = laws.of_op(op_of(tg.ops.sum), wrong)
    assert not noticed(laws.refuses, right)

    def failing(error):
        def call(*operands, **settings):
            raise error

        return call

    for call in (
        _accepting,
        failing(ShapeError("expected axis 0 or 1; got x(2, 3)")),
        failing(ShapeError("sum: expected axis 0 or 1; got something")),
        failing(ShapeError("sum: expected axis 0 or 1 of x(2, 3)")),
    ):
        assert noticed(laws.refuses, right._replace(call=call))
        record_property("killed", 1)
    with pytest.raises(ValueError, match="axis"):
        laws.refuses(
            right._replace(call=failing(ValueError("axis"))),
            np.random.default_rng(SEED),
        )
    record_property("killed", 1)


@pytest.mark.usefixtures("fresh")
def test_faults_of_words_are_noticed(record_property):
    """Formulas that do not fill in and docstrings that show nothing are noticed."""

    def undocumented(x):
        return x + x

    def without_example(x):
        """Twice the operand."""
        return x + x

    def without_sentence(x):
        """>>> double(np.array([1.0]))
        array([2.])
        """
        return x + x

    def wrong_example(x):
        """Twice the operand.

        >>> double(np.array([1.0]))
        array([3.])
        """
        return x + x

    def of_another(x):
        """Twice the operand.

        >>> np.add(1, 1)
        2
        """
        return x + x

    for formula in ("2 $y", "2 x", "2 $x_j", "2 $x $", "2 $$x", r"\frac{2 $x"):
        assert noticed_in_words(laws.formula_fills_in, double(formula=formula).op), (
            formula
        )
        record_property("killed", 1)
    bodies = (
        undocumented,
        without_example,
        without_sentence,
        wrong_example,
        of_another,
    )
    for body in bodies:
        assert noticed_in_words(laws.docstring_carries_a_doctest, double(body).op), body
        record_property("killed", 1)


@pytest.mark.usefixtures("fresh")
def test_faults_of_values_are_noticed(monkeypatch, record_property):
    """A spelling, a rewriting rule or a mode that changes the value is noticed."""
    member = double()
    assert not noticed(laws.one_value, member, [member.call])
    for spelling in (
        lambda x: member.call(x) * 1.0,
        lambda x: x + x,
        lambda x: 2 * np.asarray(x.numpy()),
        lambda x: member.call(x.astype(np.float32)),
    ):
        assert noticed(laws.one_value, member, [spelling])
        record_property("killed", 1)

    def less_exact(x):
        return tg.Tensor(x.numpy() * (2 + 1e-15))

    def only_unrecorded(x):
        if tg.recording.current().records:
            return None
        return tg.Tensor(x.numpy() * (2 + 1e-15))

    for rule in (less_exact, only_unrecorded):
        monkeypatch.setattr(member.op, "rule", rule)
        assert noticed(laws.one_value, member)
        record_property("killed", 1)


@pytest.mark.usefixtures("fresh")
def test_faults_of_constants_are_noticed(record_property):
    """A constant that asks for gradients, or is not recorded, is noticed."""
    assert noticed(laws.constant, double())
    member = double(vjp=None)
    off_the_graph = member._replace(call=lambda x: tg.Tensor(x.numpy() + x.numpy()))
    assert noticed(laws.constant, off_the_graph)
    record_property("killed", 2)


def test_faults_of_the_engine_are_noticed(monkeypatch, record_property):
    """An engine that aliases, overwrites or mixes up gradients is noticed."""
    member = laws.of_op(op_of(tg.add), small_sample(op_of(tg.add)))
    assert not noticed(laws.gradients_are_their_own, member)

    def aliased(node, g, old):
        node._grad = np.asarray(g) if old is None else np.asarray(old + g)
        aliased.latest = aliased.latest if hasattr(aliased, "latest") else node._grad
        if node._grad.shape == aliased.latest.shape:
            node._grad = aliased.latest

    def in_place(node, g, old):
        g = np.array(np.broadcast_to(g, node._value.shape))
        if old is None:
            node._grad = g
        else:
            old += g
            node._grad = old

    def forgetful(node, g, old):
        node._grad = np.array(np.broadcast_to(g, node._value.shape))

    for fault in (aliased, in_place, forgetful):
        with monkeypatch.context() as patch:
            patch.setattr("tinygrad_nn.autodiff._deposit", fault)
            assert noticed(laws.gradients_are_their_own, member), fault
            record_property("killed", 1)

    def never(nodes):
        return None

    product = laws.of_op(op_of(tg.multiply), small_sample(op_of(tg.multiply)))
    assert not noticed(laws.mutation_noticed, product)
    with monkeypatch.context() as patch:
        patch.setattr("tinygrad_nn.autodiff._refuse_changed", never)
        assert noticed(laws.mutation_noticed, product)
        record_property("killed", 1)


def test_every_law_has_a_mutant():
    """No law escapes this file: each is named where something breaks it."""
    from inspect import getmembers, isfunction
    from pathlib import Path

    text = Path(__file__).read_text(encoding="utf-8")
    _, _, broken = text.partition("NUMBERS = {")
    named = {
        name
        for name, law in getmembers(laws, isfunction)
        if law.__module__ == laws.__name__ and "member" in law.__code__.co_varnames[:1]
    } | {"formula_fills_in", "docstring_carries_a_doctest"}
    assert len(named) >= 15
    broken += "laws.vjp"  # by the rules of the whole registry, above
    assert {name for name in named if f"laws.{name}" not in broken} == set()
