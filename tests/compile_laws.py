"""The laws of a compiled step: each a plain function that raises where it is broken.

A law takes a function that makes a `Run` (see `compile_members`), and compares with what
the same step does eagerly. `test_compile` holds every member to them, and shows that
each can be broken.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import laws
import numpy as np
from compile_members import Run

import tinygrad_nn as tg

Make = Callable[[], Run]
TOLERANCE = {"f8": 1e-12, "f4": 1e-5, "f2": 1e-2}


# --- tools -------------------------------------------------------------------------


def flat(value: Any) -> list[Any]:
    """Return the leaves of nested dicts, lists and tuples."""
    if isinstance(value, dict):
        return [x for item in value.values() for x in flat(item)]
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in flat(item)]
    return [value]


def snapshot(watched: Any) -> list[tuple[str, Any]]:
    """Return copies of all that a step may change."""
    found: list[tuple[str, Any]] = []
    for i, x in enumerate(watched):
        if isinstance(x, tg.Tensor):
            grad = None if x.grad is None else np.array(x.grad)
            found += [(f"{i}.data", np.array(x.data)), (f"{i}.grad", grad)]
        elif isinstance(x, np.random.Generator):
            found.append((f"{i}.state", repr(x.bit_generator.state)))
        else:
            found += [(f"{i}.{name}", value) for name, value in x.state().items()]
            modules = getattr(x, "named_modules", list)()
            found += [(f"{i}.{name}.training", m.training) for name, m in modules]
    return found


def tensors(value: Any) -> Any:
    """Return arguments as eager code gets them: Tensors for arrays."""
    if isinstance(value, dict):
        return {key: tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(tensors(item) for item in value)
    return tg.Tensor(value) if isinstance(value, np.ndarray) else value


def array_of(value: Any) -> Any:
    return value.numpy() if isinstance(value, tg.Tensor) else value


def agree(got: Any, wanted: Any, *, exact: bool, where: str) -> None:
    """Hold two values to the same kind, shape, dtype and bits, or nearly so."""
    if wanted is None or isinstance(wanted, str):
        assert type(got) is type(wanted), f"{where}: {got!r} is not {wanted!r}"
        assert got == wanted, f"{where}: {got!r} is not {wanted!r}"
        return
    if not isinstance(wanted, (np.ndarray, np.generic)):
        assert isinstance(got, (int, float, np.generic, np.ndarray)), (
            f"{where}: {got!r}"
        )
        assert got == wanted or abs(got - wanted) <= 1e-12 * abs(wanted), (
            f"{where}: {got!r} is not {wanted!r}"
        )
        return
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, f"{where}: {got.shape} is not {wanted.shape}"
    assert got.dtype == wanted.dtype, f"{where}: {got.dtype} is not {wanted.dtype}"
    if exact or wanted.dtype.kind != "f":
        assert got.tobytes() == wanted.tobytes(), f"{where}: {got} is not {wanted}"
        return
    assert np.array_equal(np.isfinite(got), np.isfinite(wanted)), f"{where}: {got}"
    fine = np.isfinite(wanted)
    apart = np.abs(got.astype(float) - wanted.astype(float))[fine]
    # What is left of a difference of near numbers has few digits.
    size = max(1e-3, np.max(np.abs(wanted[fine].astype(float)), initial=0.0))
    worst = np.max(apart, initial=0.0) / size
    assert worst <= TOLERANCE[wanted.dtype.str[1:]], f"{where}: {worst} apart"


def both_agree(first: Any, second: Any, *, exact: bool, where: str) -> None:
    """Hold two lists of (name, value) to one another."""
    assert [name for name, _ in first] == [name for name, _ in second]
    for (name, got), (_, wanted) in zip(first, second, strict=True):
        agree(got, wanted, exact=exact, where=f"{where} {name}")


def begin_alike(watched: Any, as_in: Any) -> None:
    """Bring what a run may change to the state that it has in another run."""
    for x, other in zip(watched, as_in, strict=True):
        if isinstance(x, tg.Tensor):
            x.data = other.data.copy()
            x.grad = other.grad
            x._spent = other._spent
        elif isinstance(x, np.random.Generator):
            x.bit_generator.state = other.bit_generator.state
        else:
            x.load_state(other.state())


def quiet(law: Callable[..., Any]) -> Callable[..., Any]:
    """Let NumPy's warnings of a member's own 0 / 0 pass: eager says the same."""

    @functools.wraps(law)
    def held(*given: Any, **settings: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return law(*given, **settings)

    return held


# --- laws --------------------------------------------------------------------------


@quiet
def equals_eager(
    make: Make,
    *,
    exact: bool = True,
    steps: int = 5,
    interleaved: bool = False,
    **options: Any,
) -> Any:
    """Results, parameters, gradients, states and generators are those of eager steps.

    With ``exact`` to the last bit, however many steps; else every step from the same
    state, since some steps make much of a last bit.
    """
    eager, mixed = make(), make()
    compiled = tg.compile(mixed.step, exact=exact, **options)
    for i in range(steps):
        wanted = eager.step(*tensors(eager.feed(i)))
        arguments = mixed.feed(i)
        if interleaved and i % 2:
            got = mixed.step(*tensors(arguments))
        else:
            got = compiled(*arguments)
        where = f"step {i}:"
        results = [
            [(str(n), array_of(x)) for n, x in enumerate(flat(r))]
            for r in (got, wanted)
        ]
        both_agree(*results, exact=exact, where=f"{where} result")
        both_agree(
            snapshot(mixed.watched), snapshot(eager.watched), exact=exact, where=where
        )
        if not exact:
            begin_alike(mixed.watched, eager.watched)
    return compiled


@quiet
def arguments_stay(make: Make) -> None:
    """Arguments may be read-only, and are what they were afterwards."""
    run = make()
    compiled = tg.compile(run.step)
    for i in range(3):
        arguments = run.feed(i)
        arrays = [x for x in flat(arguments) if isinstance(x, np.ndarray)]
        copies = [x.copy() for x in arrays]
        for x in arrays:
            x.flags.writeable = False
        compiled(*arguments)
        for x, copy in zip(arrays, copies, strict=True):
            laws.identical(x, copy)
            x.flags.writeable = True


@quiet
def results_stay(make: Make) -> None:
    """A result shares memory with nothing, may be written to, and no step changes it."""
    run = make()
    compiled = tg.compile(run.step)
    held: list[tuple[Any, Any]] = []
    for i in range(4):
        arguments = run.feed(i)
        results = compiled(*arguments)
        outside = [x for x in flat(arguments) if isinstance(x, np.ndarray)]
        outside += [x.data for x in run.watched if isinstance(x, tg.Tensor)]
        outside += [x.grad for x in run.watched if isinstance(x, tg.Tensor)]
        own = [x.numpy() for x in flat(results) if isinstance(x, tg.Tensor)]
        for n, x in enumerate(own):
            assert x.flags.writeable, f"result {n} is read-only"
            for other in [*outside, *own[:n], *[x for x, _ in held]]:
                assert other is None or not np.shares_memory(x, other), f"result {n}"
        held += [(x, x.copy()) for x in own]
        for x, copy in held:
            laws.identical(x, copy)
    for x, _ in held:
        x[...] = 0  # and nobody minds
    compiled(*run.feed(4))


@quiet
def gradients_stay(make: Make) -> None:
    """A gradient once handed out is an array of its own that no later step changes."""
    run = make()
    compiled = tg.compile(run.step)
    leaves = [x for x in run.watched if isinstance(x, tg.Tensor)]
    handed: list[tuple[Any, Any]] = []
    for i in range(4):
        compiled(*run.feed(i))
        for leaf in leaves:
            grad = leaf.grad
            if grad is not None and not any(grad is x for x, _ in handed):
                assert type(grad) is np.ndarray
                assert grad.dtype == leaf.dtype
                assert grad.shape == leaf.shape
                assert not any(np.shares_memory(grad, x) for x, _ in handed)
                handed.append((grad, grad.copy()))
        for grad, copy in handed:
            laws.identical(grad, copy)


@quiet
def traces_once(make: Make, signatures: int = 1) -> None:
    """Calls of one signature are traced once, however many there are."""
    run = make()
    compiled = tg.compile(run.step)
    for i in range(6):
        compiled(*run.feed(i))
    assert compiled.traces == signatures, f"{compiled.traces} traces"


def laid_out(value: Any, lay: Callable[[Any], Any]) -> Any:
    """Return arguments with equal numbers in arrays of another layout."""
    if isinstance(value, dict):
        return {key: laid_out(item, lay) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(laid_out(item, lay) for item in value)
    return lay(value) if isinstance(value, np.ndarray) else value


def _scattered(array: Any) -> Any:
    """Return equal numbers, every other element of a larger array."""
    larger = np.zeros([2 * n for n in array.shape], array.dtype)
    view = larger[(*[slice(None, None, 2)] * array.ndim, ...)]
    view[...] = array
    return view


@quiet
def layouts_do_not_matter(make: Make) -> None:
    """A step traced with arrays in a row is right for turned and scattered ones."""
    lays = (np.ascontiguousarray, np.asfortranarray, laws._reversed, _scattered)
    eager, mixed = make(), make()
    compiled = tg.compile(mixed.step)
    for i, lay in enumerate((*lays, *lays)):
        wanted = eager.step(*tensors(eager.feed(i)))
        got = compiled(
            *laid_out(mixed.feed(i), lambda x, lay=lay: lay(x).reshape(x.shape))
        )
        for a, b in zip(flat(got), flat(wanted), strict=True):
            agree(array_of(a), array_of(b), exact=False, where=f"step {i}")
        both_agree(
            snapshot(mixed.watched), snapshot(eager.watched), exact=False, where=f"{i}:"
        )
        begin_alike(mixed.watched, eager.watched)


# --- ops -----------------------------------------------------------------------------


def op_equals_eager(member: laws.Member, rng: Any, *, exact: bool) -> None:
    """Value, gradients and what backward leaves are those of eager, bit for bit."""
    arrays = member.sample.draw(rng)
    eager = laws.leaves(arrays)
    out = member.value(*eager)
    where = member.name

    value = tg.compile(member.value, exact=exact)
    for _ in range(2):
        agree(value(*arrays).numpy(), out.numpy(), exact=exact, where=where)
    if not out.requires_grad:
        return
    g = laws.cotangent(rng, out)
    variables = laws.floating(eager)
    wanted = tg.gradients(out, variables, g, unused="zero")

    @tg.compile(exact=exact)
    def slopes(g, *xs):
        result = member.value(*xs)
        floats = [x for x in xs if x.dtype.kind == "f"]
        return tg.gradients(result, floats, g, unused="zero")

    out.backward(g)
    leaves = laws.leaves(arrays)

    @tg.compile(exact=exact)
    def backward(g):
        member.value(*leaves).backward(g)

    for _ in range(2):
        for got, want in zip(slopes(g, *arrays), wanted, strict=True):
            agree(got.numpy(), want.numpy(), exact=exact, where=where)
        backward(g)
        for got, want in zip(laws.floating(leaves), variables, strict=True):
            agree(got.grad, want.grad, exact=exact, where=f"{where}: .grad")
            got.zero_grad()
