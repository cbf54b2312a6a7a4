"""Every law of `laws`, for every op at every sample, and for every composition."""

from __future__ import annotations

import inspect

import laws
import numpy as np
import pytest
from members import (
    activations,
    calculus,
    contraction,
    first,
    linalg,
    movement,
    network,
    reductions,
    sorting,
    special,
    ufuncs,
)
from members.rows import of_list as _of_list

import tinygrad_nn as tg
from tinygrad_nn.errors import ShapeError
from tinygrad_nn.op import REGISTRY
from tinygrad_nn.ops.samples import cases, reals

FAMILIES = [
    *(activations, calculus, contraction, first, linalg, movement, network),
    *(reductions, sorting, special, ufuncs),
]
"""Files of members; a new one is added here."""

# --- members ---------------------------------------------------------------------

OPS = [REGISTRY[name] for name in sorted(REGISTRY) if hasattr(tg.ops, name)]
OP_MEMBERS = [laws.of_op(op, sample) for op in OPS for sample in op.samples]
REFUSED = [laws.of_op(op, sample) for op in OPS for sample in op.refuses]
REFUSED += [
    laws.of_op(op, sample)
    for op in OPS
    if op.pointwise and len(op.operands) > 1
    for sample in reals(len(op.operands))[:1]
    for sample in cases(((2, 3), (4,), (3,))[: len(op.operands)])
]


COMPOSITIONS = [m for family in FAMILIES for m in family.COMPOSITIONS]
_BY_NUMPY = {
    name: function for family in FAMILIES for name, function in family.BY_NUMPY.items()
}

MEMBERS = OP_MEMBERS + COMPOSITIONS


def _title(member):
    return f"{member.name}-{'_'.join(str(member.sample).split())}"


def _each(members):
    return pytest.mark.parametrize("member", members, ids=_title)


def _each_op(ops):
    return pytest.mark.parametrize("op", ops, ids=[op.name for op in ops])


DIFFERENTIABLE = [m for m in MEMBERS if m.op is None or m.op.differentiable]
WITH_RULES = [m for m in OP_MEMBERS if m.op.differentiable]
CONSTANT = [m for m in OP_MEMBERS if not m.op.differentiable]

# --- every law, for every member -------------------------------------------------


@_each(OP_MEMBERS)
def test_shape(member, rng):
    """The shape rule says what the body makes of the sample's shapes."""
    laws.shape_rule_tells_the_truth(member, rng)


@_each(REFUSED)
def test_refuses(member, rng):
    """What does not fit is a ShapeError that names the op and the operands' shapes."""
    laws.refuses(member, rng)


@_each(DIFFERENTIABLE)
def test_vjp(member, rng):
    """Gradients under a random upstream are those of the body at fifty digits."""
    laws.vjp(member, rng)


@_each(DIFFERENTIABLE)
def test_adjoint(member, rng):
    """<u, J v> = <Jᵀ u, v>."""
    laws.adjoint(member, rng)


@_each(DIFFERENTIABLE)
def test_second_order(member, rng):
    """Gradients of the gradients are those of the body at fifty digits."""
    laws.second_order(member, rng)


@_each([m for m in WITH_RULES if m.op.paths])
def test_paths(member, rng):
    """Where a declared path is missing, the operand changes nothing; else it does."""
    laws.paths(member, rng)


@_each(DIFFERENTIABLE)
def test_loops(member, rng):
    """The three loops of the engine give one gradient, and warn of nothing."""
    laws.loops_agree(member, rng)


@_each(DIFFERENTIABLE)
def test_own(member, rng):
    """A leaf's gradient shares memory with nothing, and once handed out it stays."""
    laws.gradients_are_their_own(member, rng)


@_each(DIFFERENTIABLE)
def test_layout(member, rng):
    """Fortran order, reversed and strided views give what contiguous arrays give."""
    laws.layout_does_not_matter(member, rng)


@_each(MEMBERS)
def test_untouched(member, rng):
    """Neither the forward nor a gradient rule writes to what it was given."""
    laws.inputs_untouched(member, rng)


@_each(DIFFERENTIABLE)
def test_dtype(member, rng):
    """float32 in, float32 out: value, rules, gradients of both orders; so float64."""
    laws.dtype_stays(member, rng)


@_each(CONSTANT)
def test_constant(member, rng):
    """An op without a rule gives a constant, and is recorded all the same."""
    laws.constant(member, rng)


@_each(WITH_RULES)
def test_saved(member, rng):
    """A rule does not look at what it names with an underscore; the rest is saved."""
    laws.saved(member, rng)


@_each(DIFFERENTIABLE)
def test_mutation(member, rng):
    """A leaf changed between forward and backward is an error, or does no harm."""
    laws.mutation_noticed(member, rng)


@_each_op(OPS)
def test_formula(op):
    """The formula takes every operand, and nothing that the op does not have."""
    laws.formula_fills_in(op)


@_each_op(OPS)
def test_doctest(op):
    """The docstring says what, and shows it by a call of the op that passes."""
    laws.docstring_carries_a_doctest(op)


# --- one value in every spelling -------------------------------------------------

_SAME_CALL = (
    *("abs", "cos", "equal", "exp", "expm1", "greater", "greater_equal", "isnan"),
    *("less", "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or"),
    *("add", "divide", "matmul", "multiply", "negative", "not_equal", "power"),
    *("reciprocal", "sign", "sin", "sqrt", "square", "subtract", "tanh", "where"),
    *("max", "mean", "min", "prod", "sum", "cumsum"),
    *("reshape", "transpose", "broadcast_to"),
)
SPELLINGS = {name: [getattr(np, name)] for name in _SAME_CALL}
SPELLINGS["abs"] += [np.absolute, np.fabs, abs]
SPELLINGS["concatenate"] = [_of_list(np.concatenate)]
SPELLINGS["stack"] = [_of_list(np.stack)]
SPELLINGS["einsum"] = [_BY_NUMPY["einsum"]]
SPELLINGS["getitem"] = [lambda x, index: x[index]]
SPELLINGS["add"].append(lambda x, y: x + y)
SPELLINGS["subtract"].append(lambda x, y: x - y)
SPELLINGS["multiply"].append(lambda x, y: x * y)
SPELLINGS["divide"] += [np.true_divide, lambda x, y: x / y]
SPELLINGS["power"].append(lambda x, y: x**y)
SPELLINGS["matmul"].append(lambda x, y: x @ y)
SPELLINGS["negative"].append(lambda x: -x)
SPELLINGS["equal"].append(lambda x, y: x == y)
SPELLINGS["not_equal"].append(lambda x, y: x != y)
SPELLINGS["greater"].append(lambda x, y: x > y)
SPELLINGS["greater_equal"].append(lambda x, y: x >= y)
SPELLINGS["less"].append(lambda x, y: x < y)
SPELLINGS["less_equal"].append(lambda x, y: x <= y)
SPELLINGS["logical_and"] += [np.bitwise_and, lambda x, y: x & y]
SPELLINGS["logical_or"] += [np.bitwise_or, lambda x, y: x | y]
SPELLINGS["logical_not"] += [np.invert, lambda x: ~x]
SPELLINGS["max"].append(np.amax)
SPELLINGS["min"].append(np.amin)
SPELLINGS["astype"] = [lambda x: x.copy(), np.copy]
SPELLINGS["reshape"].append(
    lambda x, shape: x.reshape(*shape) if isinstance(shape, tuple) else x.reshape(shape)
)
SPELLINGS["transpose"].append(lambda x, axes=None: x.transpose(*(axes or ())))
for _family in FAMILIES:
    SPELLINGS |= getattr(_family, "SPELLINGS", {})
for _name in set(SPELLINGS) & set(tg.functional.__all__) - {
    *("astype", "concatenate", "einsum", "stack"),
}:
    SPELLINGS[_name].append(getattr(tg, _name))
for _name in ("sum", "mean", "max", "min", "prod", "cumsum"):
    SPELLINGS[_name].append(
        lambda x, _name=_name, **settings: getattr(x, _name)(**settings)
    )


@_each(MEMBERS)
def test_value(member, rng):
    """Arrays, Tensors, no_grad and NumPy's spellings give one value, bit for bit."""
    spellings = SPELLINGS.get(member.name, ()) if member.op is not None else ()
    laws.one_value(member, rng, spellings)


@_each(COMPOSITIONS)
def test_numpy(member, rng):
    """A composition gives what NumPy's function of that name gives, for Tensors too."""
    arrays = member.sample.draw(rng)
    settings = dict(member.sample.settings)
    if isinstance(settings.get("axis"), list) and member.name != "expand_dims":
        settings["axis"] = tuple(settings["axis"])  # NumPy wants a tuple here
    function = _BY_NUMPY[member.name]
    if member.name == "norm" and isinstance(settings.get("axis"), tuple):
        axis = settings.pop("axis")
        if len(axis) == 1:
            settings["axis"] = axis[0]
        else:
            settings["axis"] = axis
            settings.setdefault("ord", "fro")
    if member.name == "norm" and arrays[0].size == 0:
        settings["axis"] = 1
    wanted = function(*arrays, **settings)
    laws.close(member.value(*arrays), wanted, 1e-15)
    if member.name not in ("concatenate", "stack", "einsum"):
        out = function(*laws.leaves(arrays), **member.sample.settings)
        assert isinstance(out, tg.Tensor)
        laws.identical(out.numpy(), member.value(*arrays))


WITHOUT_GRADIENT = ("all", "any", "argmax", "argmin")
_TIES = np.array([[1.0, 3.0, 3.0], [0.0, -1.0, np.nan], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_what_has_no_gradient_gives_numpys_value(name, axis):
    """Places and truths are NumPy's: at ties, at nan, of integers and of truths."""
    from tinygrad_nn import functional

    ours, numpys = getattr(functional, name), getattr(np, name)
    for x in (_TIES, _TIES[:1], _TIES > 0, np.arange(6).reshape(2, 3) % 4):
        found = ours(x, axis=axis)
        assert np.array_equal(found, numpys(x, axis=axis))
        assert np.asarray(found).dtype == np.asarray(numpys(x, axis=axis)).dtype


# --- completeness ----------------------------------------------------------------

LINALG = [name for name in tg.linalg.__all__ if name[0].islower()]


def _ours(name):
    return getattr(tg, name, getattr(tg.linalg, name, None))


ELSEWHERE = {n for family in FAMILIES for n in getattr(family, "ELSEWHERE", ())}
"""What the laws have no members for; the tests of its family do."""


def test_every_composition_has_members():
    """No function of `functional` escapes the laws."""
    from tinygrad_nn import functional

    members = {m.name for m in COMPOSITIONS} | set(WITHOUT_GRADIENT) | ELSEWHERE
    names = {*functional.__all__, *LINALG} - {"linalg"}
    ops = {name for name in names if hasattr(_ours(name), "op")} | set(SPELLINGS)
    ops |= {"copy", "positive"}
    called = {_ours(name) for name in members | ops}
    assert members - names == set()
    assert {name for name in names - ops if _ours(name) not in called} == set()


def test_every_op_has_its_numpy_spelling_tested():
    """Every NumPy function that a Tensor answers with an op stands in a table here."""
    from tinygrad_nn import tensor

    handled = {f.__name__ for f in (*tensor._UFUNCS, *tensor._FUNCTIONS)}
    tested = (
        set(SPELLINGS)
        | set(_BY_NUMPY)
        | ELSEWHERE
        | {"absolute", "fabs", "copy", "positive"}
    )
    tested |= {"bitwise_and", "bitwise_or", "bitwise_xor", "invert", "amax", "amin"}
    tested |= {
        "astype",
        "i0",
    }  # of the special functions, which have tests of their own
    plain = {"all", "any", "argmax", "argmin", "array_equal", "ndim", "shape", "size"}
    plain |= {"ones_like", "zeros_like", "full_like", "empty_like", *movement.PLAIN}
    assert handled - tested - plain == set()


# --- signatures ------------------------------------------------------------------

FUNCTIONS = sorted(set(tg.functional.__all__) - {"linalg"})
_NO_VALUE = inspect.signature(np.sum).parameters["keepdims"].default


def _numpys(name):
    for module in (np, np.linalg):
        function = getattr(module, name, None)
        if callable(function):
            return function
    return None


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if _numpys(n) is not None])
def test_a_function_has_numpys_signature(name):
    """Names, order, kinds and defaults of the parameters are NumPy's."""
    same_parameters(getattr(tg, name), _numpys(name))


@pytest.mark.parametrize("name", LINALG)
def test_a_function_of_linear_algebra_has_numpys_signature(name):
    """Names, order, kinds and defaults are those of ``np.linalg``."""
    same_parameters(getattr(tg.linalg, name), getattr(np.linalg, name))


def same_parameters(our, numpy):
    ours = list(inspect.signature(our).parameters.values())
    try:
        numpys = list(inspect.signature(numpy).parameters.values())
    except ValueError:  # before 2.4 NumPy's ufuncs had none
        pytest.skip("NumPy has no signature here")
    assert [(p.name, p.kind) for p in ours] == [(p.name, p.kind) for p in numpys]
    for mine, theirs in zip(ours, numpys, strict=True):
        if theirs.default is not _NO_VALUE:
            assert mine.default == theirs.default, mine.name


_METHODS = [
    name
    for name in dir(np.ndarray)
    if not name.startswith("_")
    and callable(getattr(np.ndarray, name))
    and callable(getattr(tg.Tensor, name, None))
]


@pytest.mark.parametrize("name", _METHODS)
def test_a_method_has_numpys_signature(name):
    """A method takes what the method of an array takes, and maybe more by name."""
    try:
        numpys = inspect.signature(getattr(np.ndarray, name)).parameters.values()
    except ValueError:
        pytest.skip("NumPy has no signature here")
    ours = inspect.signature(getattr(tg.Tensor, name)).parameters
    wanted = [p for p in numpys if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    in_order = [p.name for p in wanted if p.kind is not p.KEYWORD_ONLY]
    mine = [p for p in ours.values() if p.name != "self"]
    assert [p.name for p in mine][: len(in_order)] == in_order
    for theirs in wanted:
        if theirs.default is not _NO_VALUE:
            assert ours[theirs.name].default == theirs.default, theirs.name


@_each_op(OPS)
def test_samples_cover_the_corners(op):
    """Elementwise ops are tried at 0-d, empty, size-1 and broadcast operands."""
    if not op.pointwise:
        return
    shapes = [shape for sample in op.samples for shape in sample.shapes]
    assert () in shapes
    assert any(0 in shape for shape in shapes)
    assert any(1 in shape for shape in shapes)
    if len(op.operands) > 1:
        assert any(len(set(sample.shapes)) > 1 for sample in op.samples)


# --- values that samples do not draw ---------------------------------------------


def test_prod_with_zeros_has_the_gradient_of_the_others():
    """No zero, one zero, two zeros in a row: the gradient is the others' product."""
    x = tg.Tensor(
        [[2.0, 3.0, 5.0], [2.0, 0.0, 5.0], [0.0, 3.0, 0.0]], requires_grad=True
    )
    (slope,) = tg.gradients(tg.sum(tg.prod(x, axis=1)), [x])
    laws.identical(
        slope.numpy(), np.array([[15.0, 10.0, 6.0], [0.0, 10.0, 0.0], [0.0, 0.0, 0.0]])
    )
    weights = np.arange(9.0).reshape(3, 3)
    (curvature,) = tg.gradients(tg.sum(slope * weights), [x])
    wanted = np.zeros((3, 3))
    for row, i, j in np.ndindex(3, 3, 3):
        if i != j:
            (k,) = {0, 1, 2} - {i, j}
            wanted[row, i] += weights[row, j] * x.numpy()[row, k]
    laws.identical(curvature.numpy(), wanted)


def test_duplicate_indices_accumulate():
    """An element picked three times gets three shares, in both loops."""
    x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    picked = x[np.array([0, 2, 2, -1])]
    picked.backward(np.array([1.0, 10.0, 100.0, 1000.0]))
    laws.identical(x.grad, np.array([1.0, 0.0, 1110.0]))
    mask = np.array([True, False, True])
    (slope,) = tg.gradients(tg.sum(x[mask] * x[mask]), [x])
    laws.identical(slope.numpy(), np.array([2.0, 0.0, 6.0]))


def test_operators_of_truth_refuse_integers():
    """NumPy's & of integers combines bits, which logic does not: refused by name."""
    x = tg.Tensor([6, 1])
    for call in (lambda: x & 3, lambda: np.array([3, 1]) | x, lambda: ~x):
        laws.unsupported(call, "expected booleans; got dtype int64")


def test_a_custom_gradient_of_a_wrong_shape_is_refused_by_name(monkeypatch):
    """A user's own op whose rule forgets an axis is named, with both shapes."""
    monkeypatch.setattr("tinygrad_nn.op.REGISTRY", {})

    @tg.primitive(
        kind="reduction",
        formula="total $x",
        shape=lambda size: (),
        vjp=lambda g, _out, x: tg.sum(x, axis=0) * g,
        samples=cases(((2, 3),)),
        refuses=(),
    )
    def total(x):
        """Sum of squares."""
        return np.sum(x * x) / 2

    x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    for pull in (lambda out: out.backward(), lambda out: tg.gradients(out, [x])):
        with pytest.raises(ShapeError, match=r"total: .*\(3,\).*\(2, 3\)"):
            pull(total(x))
