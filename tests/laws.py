"""The laws of an op: each one plain function that raises where the law is broken.

A law takes a `Member`: one way to call an op, or a composition of ops, and draws its
numbers from ``rng``. `test_ops` holds every member to every law; `test_mutants` shows
that every law can be broken.
"""

from __future__ import annotations

import doctest
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numbers_reference import gradients, second_gradients

import tinygrad_nn as tg
from tinygrad_nn import autodiff
from tinygrad_nn.errors import MutationError, ShapeError, UnsupportedError
from tinygrad_nn.op import Op
from tinygrad_nn.ops.samples import Sample

Rng = np.random.Generator


class Member(NamedTuple):
    """One way to call an op, or a composition of ops."""

    name: str
    call: Callable[..., Any]
    body: Callable[..., Any]
    sample: Sample
    op: Op | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """All settings, defaults filled in, as a rule and a shape rule take them."""
        if self.op is None:
            return self.sample.settings
        return self.op.bind((), self.sample.settings)

    def value(self, *operands: Any) -> Any:
        """Call the public function."""
        return self.call(*operands, **self.sample.settings)

    def plain(self, *operands: Any) -> Any:
        """Call the plain NumPy body."""
        return self.body(*operands, **self.sample.settings)

    def defined(self, *operands: Any) -> Any:
        """Call what defines the op, on numbers of many digits: its body, if it can."""
        exact = None if self.op is None else self.op.exact
        try:
            value = self.plain(*operands)
        except TypeError:  # NumPy has no loop over objects for it
            if exact is None:
                raise
            return exact(*operands, **self.settings)
        if exact is not None and np.asarray(value).dtype.kind == "f":
            return exact(*operands, **self.settings)  # it rounded them all to floats
        return value

    def shares(self, g: Any, out: Any, operands: Sequence[Any]) -> list[Any]:
        """Apply every gradient rule of the op, outside of the engine."""
        if self.op.variadic:
            return list(self.op.rules(g, out, *operands, **self.settings))
        return [rule(g, out, *operands, **self.settings) for rule in self.op.rules]


def of_op(op: Op, sample: Sample) -> Member:
    """Return the op as a member, at one of its samples."""
    return Member(op.name, op.call, op.function, sample, op)


# --- tools -----------------------------------------------------------------------


def leaves(arrays: Sequence[np.ndarray]) -> list[tg.Tensor]:
    """Return a Tensor for each array; floating ones require a gradient."""
    return [tg.Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]


def floating(tensors: Sequence[tg.Tensor]) -> list[tg.Tensor]:
    """Return those that require a gradient."""
    return [t for t in tensors if t.requires_grad]


def cotangent(rng: Rng, out: Any) -> np.ndarray:
    """Draw a random upstream gradient for a result, in its dtype."""
    return np.asarray(rng.standard_normal(np.shape(out))).astype(out.dtype)


def close(got: Any, wanted: Any, tolerance: float, scale: float = 0.0) -> None:
    """Hold max|got - wanted| to ``tolerance`` times max|wanted| (or ``scale``)."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, f"shape {got.shape} is not {wanted.shape}"
    assert np.all(np.isfinite(got)), f"not finite: {got}"
    size = max(np.max(np.abs(wanted), initial=0.0), scale)
    worst = np.max(np.abs(got - wanted), initial=0.0)
    assert worst <= tolerance * size, f"{worst} apart of {size}: {got} is not {wanted}"


def identical(got: Any, wanted: Any) -> None:
    """Hold two arrays to the same shape, dtype and bits."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, f"shape {got.shape} is not {wanted.shape}"
    assert got.dtype == wanted.dtype, f"dtype {got.dtype} is not {wanted.dtype}"
    assert got.tobytes() == wanted.tobytes(), f"{got} is not {wanted}"


# --- shapes ----------------------------------------------------------------------


def shape_rule_tells_the_truth(member: Member, rng: Rng) -> None:
    """The shape rule says what the body makes of the sample's shapes."""
    arrays = member.sample.draw(rng)
    said = member.op.shape(*[a.shape for a in arrays], **member.settings)
    made = np.shape(member.plain(*arrays))
    assert said == made, f"the rule says {said}, the body makes {made}"


def refuses(member: Member, rng: Rng) -> None:
    """What does not fit is a ShapeError that names the op and the operands' shapes."""
    arrays = member.sample.draw(rng)
    for operands in (leaves(arrays), [*leaves(arrays[:1]), *arrays[1:]]):
        try:
            member.value(*operands)
        except ShapeError as error:
            message = str(error)
        else:
            raise AssertionError("accepted what it should refuse")
        assert message.startswith(f"{member.name}: "), message
        _, _, got = message.partition("; got ")
        for array in arrays:
            assert str(array.shape) in got, message


# --- derivatives -----------------------------------------------------------------


def vjp(member: Member, rng: Rng) -> None:
    """Gradients under a random upstream are those of the body at fifty digits."""
    arrays = member.sample.draw(rng)
    tensors = leaves(arrays)
    out = member.value(*tensors)
    g = cotangent(rng, out)
    found = tg.gradients(out, floating(tensors), g, unused="zero")
    wanted = [w for w in gradients(member.defined, arrays, g) if w is not None]
    for got, want in zip(found, wanted, strict=True):
        close(got.numpy(), want, 1e-12)


def adjoint(member: Member, rng: Rng) -> None:
    """<u, J v> = <Jᵀ u, v>: the forward and the backward derivative are one map."""
    arrays = member.sample.draw(rng)
    constants = [None if a.dtype.kind == "f" else a for a in arrays]
    points = [a for a in arrays if a.dtype.kind == "f"]

    def f(*operands: Any) -> Any:
        rest = iter(operands)
        return member.value(*[next(rest) if c is None else c for c in constants])

    ways = [rng.standard_normal(a.shape) for a in points]
    value, slope = tg.jvp(f, points, ways)
    u = cotangent(rng, value)
    _, pull = tg.vjp(f, *points)
    pulled = pull(u)
    forward = np.sum(u * slope)
    terms = [np.sum(p * w) for p, w in zip(pulled, ways, strict=True)]
    size = max(np.sum(np.abs(u * slope)), *[np.sum(np.abs(p * w)) for p, w in zip(pulled, ways, strict=True)], 0.0)  # fmt: skip
    close(forward, sum(terms), 1e-12, size)


def second_order(member: Member, rng: Rng) -> None:
    """Gradients of the gradients are those of the body at fifty digits."""
    arrays = member.sample.draw(rng)
    tensors = leaves(arrays)
    out = member.value(*tensors)
    g = cotangent(rng, out)
    seed = tg.Tensor(g, requires_grad=True)
    variables = floating(tensors)
    first = tg.gradients(out, variables, seed, unused="zero")
    ways = [
        rng.standard_normal(a.shape) if a.dtype.kind == "f" else None for a in arrays
    ]
    total = tg.Tensor(0.0)
    for got, way in zip(first, [w for w in ways if w is not None], strict=True):
        total = total + tg.sum(got * way)
    *found, to_seed = tg.gradients(total, [*variables, seed], unused="zero")
    wanted, tangent = second_gradients(member.defined, arrays, g, ways)
    wanted = [w for w in wanted if w is not None]
    for got, want in zip(found, wanted, strict=True):
        close(got.numpy(), want, 1e-12, scale=1.0)
    close(to_seed.numpy(), tangent, 1e-12)


def paths(member: Member, rng: Rng) -> None:
    """Where a declared path is missing, the operand changes nothing; else it does."""
    arrays = member.sample.draw(rng)
    out = member.plain(*arrays)
    for path, array, i in zip(member.op.paths or (), arrays, range(9), strict=False):
        if path is None:
            continue
        size = np.shape(out) if member.op.pointwise else np.shape(array)
        reached = np.broadcast_to(path(*arrays, **member.settings), size)
        assert reached.dtype == bool
        moved = list(arrays)
        if member.op.pointwise:
            moved[i] = array + 1e-6
            changed = np.asarray(member.plain(*moved) != out)
        else:
            changed = np.zeros(size, bool)
            for place in np.ndindex(size):
                moved[i] = array.copy()
                moved[i][place] += 1e-6
                changed[place] = np.any(member.plain(*moved) != out)
        assert np.array_equal(changed, reached), f"operand {i}: {changed}, {reached}"


# --- the engine ------------------------------------------------------------------


def loops_agree(member: Member, rng: Rng) -> None:
    """The quick loop, the recording loop and the careful loop give one gradient."""
    arrays = member.sample.draw(rng)
    tensors = leaves(arrays)
    variables = floating(tensors)
    out = member.value(*tensors)
    g = cotangent(rng, out)
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        out.backward(g)
        recorded = tg.gradients(out, variables, g)
        careful = autodiff.pull(out, tg.Tensor(g), variables, careful=True)
        # The cotangent of a sum is one number that stands for an array of it.
        total = tg.sum(member.value(*tensors))
        summed = tg.gradients(total, variables)
        first = [x.grad for x in variables]
        for x in variables:
            x.grad = None
        total.backward()
    for x, want in zip(variables, recorded, strict=True):
        close(careful[x].numpy(), want.numpy(), 1e-14)
    for got, want in zip(first, recorded, strict=True):
        close(got, want.numpy(), 1e-14)
    for x, want in zip(variables, summed, strict=True):
        close(x.grad, want.numpy(), 1e-14, scale=1.0)


def gradients_are_their_own(member: Member, rng: Rng) -> None:
    """A leaf's gradient shares memory with nothing, accumulates, and once handed out stays."""
    arrays = member.sample.draw(rng)
    tensors = leaves(arrays)
    variables = floating(tensors)
    out = member.value(*tensors)
    g = cotangent(rng, out)
    out.backward(g)
    others = [g, out.numpy(), *arrays]
    for x in variables:
        assert type(x.grad) is np.ndarray
        assert x.grad.flags.writeable
        assert not any(np.shares_memory(x.grad, other) for other in others)
        others.append(x.grad)
    before = [(x.grad, x.grad.copy()) for x in variables]
    out.backward(g)
    for x, (handed_out, copy) in zip(variables, before, strict=True):
        identical(x.grad, copy + copy)
        identical(handed_out, copy)


def _reversed(array: np.ndarray) -> np.ndarray:
    """Return equal numbers, laid out backwards along every axis."""
    turn = (*[slice(None, None, -1)] * array.ndim, ...)  # ... keeps 0-d an array
    return array[turn].copy()[turn]


def _strided(array: np.ndarray) -> np.ndarray:
    """Return equal numbers, every other element of a larger array."""
    larger = np.full([2 * n for n in array.shape], -1, array.dtype)
    view = larger[(*[slice(None, None, 2)] * array.ndim, ...)]
    view[...] = array
    return view


def layout_does_not_matter(member: Member, rng: Rng) -> None:
    """Fortran order, reversed and strided views give what contiguous arrays give."""
    arrays = member.sample.draw(rng)
    g = cotangent(rng, member.plain(*arrays))
    results = []
    for lay in (np.ascontiguousarray, np.asfortranarray, _reversed, _strided):
        tensors = leaves([lay(a).reshape(a.shape) for a in arrays])
        out = member.value(*tensors)
        out.backward(lay(g).reshape(g.shape))
        results.append([out.numpy(), *[x.grad for x in floating(tensors)]])
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            close(got, want, 1e-14)


def inputs_untouched(member: Member, rng: Rng) -> None:
    """Neither the forward nor a gradient rule writes to what it was given."""
    arrays = member.sample.draw(rng)
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    tensors = leaves(arrays)
    out = member.value(*tensors)
    g = cotangent(rng, out)
    upstream = g.copy()
    upstream.flags.writeable = False
    if out.requires_grad:
        value = out.numpy().copy()
        out.backward(upstream)
        tg.gradients(out, floating(tensors), upstream)
        identical(out.numpy(), value)
    if member.op is not None and member.op.differentiable:
        value = np.array(out.numpy())
        value.flags.writeable = False
        member.shares(upstream, value, arrays)
    identical(upstream, g)
    for a, b in zip(arrays, before, strict=True):
        identical(a, b)


def dtype_stays(member: Member, rng: Rng) -> None:
    """float32 in, float32 out: value, every rule's share, both orders; so float64."""
    for dtype in (np.float32, np.float64):
        arrays = member.sample.draw(rng, dtype)
        tensors = leaves(arrays)
        variables = floating(tensors)
        out = member.value(*tensors)
        if out.dtype.kind != "f":
            return
        assert out.dtype == dtype, f"value: {out.dtype}"
        if not out.requires_grad:
            continue
        g = cotangent(rng, out)
        if member.op is not None:
            for share in member.shares(g, out.numpy(), arrays):
                assert share is None or share.dtype == dtype, f"rule: {share.dtype}"
        out.backward(g)
        seed = tg.Tensor(g, requires_grad=True)
        first = tg.gradients(out, variables, seed)
        total = sum(
            (tg.sum(got * got) for got in first), tg.Tensor(np.zeros((), dtype))
        )
        second = tg.gradients(total, [*variables, seed], unused="zero")
        for x, got in zip(variables, first, strict=True):
            assert x.grad.dtype == dtype, f"backward: {x.grad.dtype}"
            assert got.dtype == dtype, f"gradients: {got.dtype}"
        for got in second:
            assert got.dtype == dtype, f"second order: {got.dtype}"


def constant(member: Member, rng: Rng) -> None:
    """An op without a rule gives a constant, and is recorded all the same."""
    out = member.value(*leaves(member.sample.draw(rng)))
    assert not out.requires_grad
    assert out.op is member.op


def one_value(
    member: Member, rng: Rng, spellings: Sequence[Callable[..., Any]] = ()
) -> None:
    """Arrays, Tensors, Tensors under no_grad and NumPy's spellings give one value."""
    arrays = member.sample.draw(rng)
    wanted = member.value(*arrays)
    tensors = leaves(arrays)
    out = member.value(*tensors)
    assert isinstance(out, tg.Tensor)
    identical(out.numpy(), wanted)
    with tg.no_grad():
        quiet = member.value(*tensors)
    assert quiet.op is None
    assert not quiet.requires_grad
    identical(quiet.numpy(), wanted)
    for spelling in spellings:
        spelled = spelling(*tensors, **member.sample.settings)
        assert isinstance(spelled, tg.Tensor)
        assert spelled.op is out.op
        identical(spelled.numpy(), wanted)
        if len(tensors) > 1:
            for mixed in ([tensors[0], *arrays[1:]], [*arrays[:-1], tensors[-1]]):
                spelled = spelling(*mixed, **member.sample.settings)
                assert isinstance(spelled, tg.Tensor)
                identical(spelled.numpy(), wanted)


def saved(member: Member, rng: Rng) -> None:
    """A rule does not look at what it names with an underscore; the rest is saved."""
    op = member.op
    arrays = member.sample.draw(rng)
    out = np.asarray(member.plain(*arrays))
    g = cotangent(rng, out)
    used = set()
    for rule in (op.rules,) if op.variadic else op.rules:
        code = inspect.unwrap(rule).__code__
        _, of_out, *names = code.co_varnames[: 2 + len(arrays)]
        if op.variadic:
            several = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
            of_out, names = code.co_varnames[1], [several] * len(arrays)
        # Position -1 is the op's own value.
        used.update(i for i, n in enumerate([of_out, *names], -1) if n[0] != "_")
        wanted = rule(g, out, *arrays, **member.settings)
        given = [
            _spoiled(value) if name.startswith("_") else value
            for name, value in zip([of_out, *names], [out, *arrays], strict=True)
        ]
        got = rule(g, *given, **member.settings)
        if not op.variadic:
            wanted, got = (wanted,), (got,)
        for want, share in zip(wanted, got, strict=True):
            if want is not None:
                identical(share, want)
    positions = set(range(-1, len(arrays)))
    assert op.saved & positions == used, f"saved {set(op.saved)}, used {used}"


def _spoiled(value: np.ndarray) -> np.ndarray:
    return ~value if value.dtype == bool else np.full_like(value, np.nan)


def mutation_noticed(member: Member, rng: Rng) -> None:
    """A leaf changed between forward and backward is an error, or does no harm."""
    arrays = member.sample.draw(rng)
    tensors = leaves(arrays)
    variables = floating(tensors)
    wanted = tg.gradients(tg.sum(tg.square(member.value(*tensors))), variables)
    for i, x in enumerate(variables):
        before = x.numpy().copy()
        loss = tg.sum(tg.square(member.value(*tensors)))
        with tg.no_grad():
            x += 1.0  # in place, on purpose
        try:
            found = tg.gradients(loss, variables)
        except MutationError as error:
            assert "test" in str(error) or "laws.py" in str(error)  # noqa: PT017
        else:
            for got, want in zip(found, wanted, strict=True):
                identical(got.numpy(), want.numpy())
        x.numpy()[...] = before
        variables[i] = x


# --- words -----------------------------------------------------------------------


def formula_fills_in(op: Op) -> None:
    """The formula takes every operand, and nothing that the op does not have."""
    names = [*op.operands, *op.defaults]
    filled = op.formula.substitute({name: f"<{name}>" for name in names})
    assert "$" not in filled
    for name in op.operands:
        assert f"<{name}>" in filled, f"{name} does not appear in {filled}"
    bare = Template(filled)
    assert bare.template.count("{") == bare.template.count("}"), filled


def docstring_carries_a_doctest(op: Op) -> None:
    """The docstring says what, and shows it by a call of the op that passes."""
    first, _, _ = op.doc.partition("\n")
    assert first.endswith("."), f"no sentence: {first!r}"
    examples = doctest.DocTestParser().get_examples(op.doc)
    assert any(f"{op.name}(" in e.source and e.want for e in examples)
    test = doctest.DocTest(
        examples, {op.name: op.call, "np": np}, op.name, None, None, op.doc
    )
    report = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


def unsupported(call: Callable[[], Any], name: str) -> None:
    """What cannot be recorded is refused by name."""
    try:
        call()
    except UnsupportedError as error:
        assert name in str(error), error  # noqa: PT017
    else:
        raise AssertionError("accepted")
