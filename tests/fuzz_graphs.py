"""Random graphs, differentiated here and by torch: every gradient, and some second ones.

A `Program` is data: leaves, and instructions that name a word, its operands and its
settings. It is drawn by hypothesis; one that fails is made smaller. Every instruction that
would stand at a kink, at a tie or outside of a domain is left out by the rule of its
word (`fits`), as are values that grow beyond bounds. What differs from torch by more
than rounding is judged at forty digits (`tg.check.multiprecision`). From the root:

    python tests/fuzz_graphs.py --count 20000 --seed 0

Leaves are 0-d, empty, broadcastable, of two floating dtypes, integers and booleans. In
float32 the dtypes and shapes of all gradients are held; numbers are compared in float64.
"""

from __future__ import annotations

# ruff: noqa: C901, PLR0915 (the words stand in one list), PLW0108 (in one form)
import argparse
import collections
import itertools
import re
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

import tinygrad_nn as tg

MARGIN = 1e-4  # how far from a kink or a tie an operand stays
LARGEST = 1e3
LONGEST = 60  # ops in a graph
MOST_FAILURES = 20
SHAPES = [
    (),
    (1,),
    (3,),
    (4,),
    (2, 3),
    (3, 3),
    (1, 3),
    (3, 1),
    (4, 3),
    (2, 3, 3),
    (0, 3),
]
SHAPES += [(3, 4), (2, 1, 3)]


class Word(NamedTuple):
    """An operation in both languages, and where it may be tried."""

    arity: int
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    fits: Callable[..., Any]
    """``(k, *values) -> settings``, a tuple, or None: ``k`` is a random integer."""


class Instruction(NamedTuple):
    """A word applied to earlier values."""

    word: str
    operands: tuple[int, ...]
    settings: tuple[Any, ...]


class Program(NamedTuple):
    """Leaves, and what is computed from them."""

    leaves: tuple[np.ndarray, ...]
    instructions: tuple[Instruction, ...]

    def __str__(self) -> str:
        """Write it as lines of code."""
        lines = [
            f"v{i} = np.array({leaf.tolist()!r}, {leaf.dtype.name!r})"
            f"  # shape {leaf.shape}"
            for i, leaf in enumerate(self.leaves)
        ]
        for i, step in enumerate(self.instructions, len(self.leaves)):
            names = ", ".join(f"v{j}" for j in step.operands)
            rest = "".join(f", {s!r}" for s in step.settings)
            lines.append(f"v{i} = {step.word}({names}{rest})")
        return "\n".join(lines)


# --- where words may be tried --------------------------------------------------------


def _anywhere(_k: int, *_values: Any) -> tuple[Any, ...]:
    return ()


def _inside(low: float, high: float) -> Callable[..., Any]:
    """All elements in an open interval."""
    return lambda _k, x: () if np.all((x > low) & (x < high)) else None


def _off(*places: float) -> Callable[..., Any]:
    """No element near one of the places."""

    def fits(_k: int, x: Any) -> Any:
        near = any(np.any(np.abs(x - p) < MARGIN) for p in places)
        return None if near else ()

    return fits


def _broadcasts(fits: Callable[..., Any] = _anywhere) -> Callable[..., Any]:
    def both(k: int, x: Any, y: Any) -> Any:
        try:
            shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        except ValueError:
            return None
        return None if len(shape) > 3 else fits(k, x, y)

    return both


def _apart(_k: int, x: Any, y: Any) -> Any:
    return None if np.any(np.abs(x - y) < MARGIN) else ()


def _axis(least: int = 0) -> Callable[..., Any]:
    """An axis with at least so many elements; or all axes, in a third of the cases."""

    def fits(k: int, x: Any) -> Any:
        if least and np.size(x) == 0:
            return None
        if np.ndim(x) == 0 or k % 3 == 0:
            return (None,) if np.size(x) >= least else None
        axis = k % np.ndim(x)
        return (axis,) if np.shape(x)[axis] >= least else None

    return fits


def _one_axis(least: int = 1, distinct: bool = False) -> Callable[..., Any]:
    def fits(k: int, x: Any) -> Any:
        if np.ndim(x) == 0:
            return None
        axis = k % np.ndim(x)
        if np.shape(x)[axis] < least:
            return None
        return None if distinct and _tied(x, axis) else (axis,)

    return fits


def _tied(x: Any, axis: int | None) -> bool:
    gaps = np.diff(np.sort(np.ravel(x) if axis is None else x, axis=axis or 0))
    if axis is not None:
        gaps = np.diff(np.sort(x, axis=axis), axis=axis)
    return bool(np.any(gaps < MARGIN))


def _distinct(least: int = 1) -> Callable[..., Any]:
    inner = _axis(least)

    def fits(k: int, x: Any) -> Any:
        found = inner(k, x)
        return None if found is None or _tied(x, found[0]) else found

    return fits


def _spread_out(k: int, x: Any) -> Any:
    found = _axis(2)(k, x)
    if found is None or np.any(np.var(x, axis=found[0]) < 1e-2):
        return None
    return found


def _long(k: int, x: Any) -> Any:
    found = _axis(1)(k, x)
    if found is None or np.any(np.sum(x * x, axis=found[0]) < 1e-2):
        return None
    return found


def _square(_k: int, x: Any) -> Any:
    if np.ndim(x) < 2 or np.shape(x)[-1] != np.shape(x)[-2] or 0 in np.shape(x):
        return None
    return ()


def _regular(k: int, x: Any) -> Any:
    if _square(k, x) is None:
        return None
    return () if np.all(np.linalg.cond(x) < 50) else None


def _products(_k: int, x: Any, y: Any) -> Any:
    try:
        np.matmul(x, y)
    except ValueError:
        return None
    return ()


def _base(k: int, x: Any, y: Any) -> Any:
    fine = np.all(x > 0.1) and np.all(np.abs(y) < 4)
    return _broadcasts()(k, x, y) if fine else None


def _divisor(_k: int, _x: Any, y: Any) -> Any:
    return None if np.any(np.abs(y) < 0.1) else ()


def _no_jump(_k: int, x: Any, y: Any) -> Any:
    if np.any(np.abs(y) < 0.1):
        return None
    quotient = np.divide(x, y)
    return None if np.any(np.abs(quotient - np.rint(quotient)) < 1e-3) else ()


def _not_origin(_k: int, x: Any, y: Any) -> Any:
    if np.any(x * x + y * y < 1e-2):
        return None
    # arctan2 jumps where it looks to the left.
    return None if np.any((np.abs(y) < MARGIN) | (np.abs(x) < MARGIN)) else ()


def _reshapes(k: int, x: Any) -> Any:
    size = np.size(x)
    if size == 0:
        return ((0, 5),)
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    rows = divisors[k % len(divisors)]
    return ((rows, size // rows),)


def _orders(k: int, x: Any) -> Any:
    orders = list(itertools.permutations(range(np.ndim(x))))
    return (orders[k % len(orders)],)


def _joins(k: int, x: Any, y: Any) -> Any:
    if np.ndim(x) == 0 or np.ndim(x) != np.ndim(y):
        return None
    axis = k % np.ndim(x)
    rest = [s[:axis] + s[axis + 1 :] for s in (np.shape(x), np.shape(y))]
    return (axis,) if rest[0] == rest[1] else None


def _stacks(k: int, x: Any, y: Any) -> Any:
    if np.shape(x) != np.shape(y) or np.ndim(x) > 2:
        return None
    return (k % (np.ndim(x) + 1),)


def _expands(k: int, x: Any) -> Any:
    return (k % (np.ndim(x) + 1),) if np.ndim(x) < 3 else None


def _rolls(k: int, x: Any) -> Any:
    return (k % 7 - 3, k % np.ndim(x)) if np.ndim(x) else None


def _matrix(k: int, x: Any) -> Any:
    return (k % 5 - 2,) if np.ndim(x) == 2 and 0 not in np.shape(x) else None


def _matrix_or_more(k: int, x: Any) -> Any:
    return (k % 3 - 1,) if np.ndim(x) >= 2 else None


def _picks(k: int, x: Any) -> Any:
    """An index of some kind along the first axis."""
    if np.ndim(x) == 0 or np.shape(x)[0] < 2:
        return None
    n = np.shape(x)[0]
    kinds = [
        k % n,
        -1 - k % n,
        slice(None, None, 2),
        slice(1, None),
        slice(k % n, n),
        None,
        [k % n, 0, k % n],
        [True, False] + [bool(k & (2 << i)) for i in range(n - 2)],
    ]
    return (kinds[(k // 7) % len(kinds)],)


def _pads(k: int, x: Any) -> Any:
    return (k % 3, k // 3 % 3) if 1 <= np.ndim(x) <= 3 else None


def _chooses(k: int, x: Any, y: Any) -> Any:
    return _broadcasts()(k, x, y)


def _moderate(_k: int, x: Any) -> Any:
    return () if np.all(np.abs(x) < 5) else None


def _one_d(_k: int, x: Any, y: Any) -> Any:
    return () if np.ndim(x) == np.ndim(y) == 1 else None


def _matrices(_k: int, x: Any, y: Any) -> Any:
    fine = np.ndim(x) == np.ndim(y) == 2 and np.size(x) * np.size(y) <= 144
    return () if fine else None


def _same_last(_k: int, x: Any, y: Any) -> Any:
    if np.ndim(x) == 0 or np.ndim(y) == 0 or np.ndim(x) + np.ndim(y) > 5:
        return None
    return () if np.shape(x)[-1] == np.shape(y)[-1] else None


# --- the words -----------------------------------------------------------------------


def words() -> dict[str, Word]:
    """Return every word that both libraries know."""
    import torch

    nn = torch.nn.functional
    found: dict[str, Word] = {}

    def word(name: str, arity: int, ours: Any, theirs: Any, fits: Any) -> None:
        found[name] = Word(arity, ours, theirs, fits)

    def unary(name: str, fits: Any = _anywhere, theirs: Any = None) -> None:
        ours = getattr(tg, name)
        word(name, 1, ours, theirs or getattr(torch, name), fits)

    for name in ("sin", "cos", "tanh", "arctan", "arcsinh", "square", "negative"):
        unary(name)
    for name in ("sigmoid", "log_sigmoid", "softplus", "silu", "mish", "softsign"):
        unary(name, theirs=getattr(torch, name, None) or getattr(nn, {"log_sigmoid": "logsigmoid"}.get(name, name)))  # fmt: skip
    for name in ("exp", "expm1", "sinh", "cosh", "exp2"):
        unary(name, _moderate)
    for name in ("log", "log2", "log10", "sqrt"):
        unary(name, _inside(0.1, np.inf))
    unary("log1p", _inside(-0.9, np.inf))
    unary(
        "reciprocal", _off_zero := lambda _k, x: None if np.any(np.abs(x) < 0.1) else ()
    )
    unary("cbrt", _inside(0.1, np.inf), lambda x: x ** (1 / 3))
    unary("tan", _inside(-1.4, 1.4))
    for name in ("arcsin", "arccos", "arctanh"):
        unary(name, _inside(-0.95, 0.95))
    unary("arccosh", _inside(1.05, np.inf))
    unary("sinc", _off_zero)
    unary("abs", _off(0.0))
    unary("relu", _off(0.0))
    unary("leaky_relu", _off(0.0), nn.leaky_relu)
    unary("elu", _off(0.0), nn.elu)
    unary("selu", _off(0.0), nn.selu)
    unary("relu6", _off(0.0, 6.0), nn.relu6)
    unary("hardtanh", _off(-1.0, 1.0), nn.hardtanh)
    unary("hardswish", _off(-3.0, 3.0), nn.hardswish)
    unary("softshrink", _off(-0.5, 0.5), nn.softshrink)
    unary("gelu", theirs=lambda x: nn.gelu(x, approximate="tanh"))
    unary(
        "floor", lambda _k, x: () if np.all(np.abs(x - np.rint(x)) > MARGIN) else None
    )
    word("clip", 1, lambda x: tg.clip(x, -0.7, 0.9), lambda x: torch.clip(x, -0.7, 0.9), _off(-0.7, 0.9))  # fmt: skip

    plain = _broadcasts()
    word("add", 2, tg.add, torch.add, plain)
    word("subtract", 2, tg.subtract, torch.subtract, plain)
    word("multiply", 2, tg.multiply, torch.multiply, plain)
    word("divide", 2, tg.divide, torch.divide, _broadcasts(_divisor))
    word("power", 2, tg.power, torch.pow, _base)
    word("maximum", 2, tg.maximum, torch.maximum, _broadcasts(_apart))
    word("minimum", 2, tg.minimum, torch.minimum, _broadcasts(_apart))
    word("fmax", 2, tg.fmax, torch.fmax, _broadcasts(_apart))
    word("arctan2", 2, tg.arctan2, torch.arctan2, _broadcasts(_not_origin))
    word("hypot", 2, tg.hypot, torch.hypot, _broadcasts(_not_origin))
    word("logaddexp", 2, tg.logaddexp, torch.logaddexp, plain)
    word("logaddexp2", 2, tg.logaddexp2, torch.logaddexp2, plain)
    word("fmod", 2, tg.fmod, torch.fmod, _broadcasts(_no_jump))
    word("remainder", 2, tg.remainder, torch.remainder, _broadcasts(_no_jump))
    word("copysign", 2, tg.copysign, torch.copysign, _broadcasts(_not_origin))
    word("where", 2, lambda x, y: tg.where(x > y, x, tg.sin(y)), lambda x, y: torch.where(x > y, x, torch.sin(y)), _broadcasts(_apart))  # fmt: skip

    def over(function: Any) -> Any:
        """Call torch's reduction over an axis, or over all of them."""

        def call(x: Any, axis: Any) -> Any:
            axes = tuple(range(x.ndim)) if axis is None else (axis,)
            return function(x, axes) if axes else x.clone()

        return call

    def one_by_one(function: Any) -> Any:
        def call(x: Any, axis: Any) -> Any:
            return function(x.reshape(-1), 0) if axis is None else function(x, axis)

        return call

    word("sum", 1, tg.sum, over(lambda x, d: x.sum(d)), _axis())
    word("mean", 1, tg.mean, over(lambda x, d: x.mean(d)), _axis(1))
    word("prod", 1, tg.prod, one_by_one(lambda x, d: x.prod(d)), _axis())
    word("max", 1, tg.max, over(torch.amax), _distinct(1))
    word("min", 1, tg.min, over(torch.amin), _distinct(1))
    word("ptp", 1, tg.ptp, over(lambda x, d: torch.amax(x, d) - torch.amin(x, d)), _distinct(2))  # fmt: skip
    word("var", 1, tg.var, over(lambda x, d: x.var(d, correction=0)), _spread_out)
    word("std", 1, tg.std, over(lambda x, d: x.std(d, correction=0)), _spread_out)
    word("norm", 1, lambda x, axis: tg.norm(x, axis=axis), lambda x, d: torch.linalg.vector_norm(x, dim=d), _long)  # fmt: skip
    word("logsumexp", 1, tg.logsumexp, over(torch.logsumexp), _axis(1))
    word("median", 1, tg.median, one_by_one(lambda x, d: torch.quantile(x, 0.5, dim=d)), _distinct(1))  # fmt: skip
    word("quantile", 1, lambda x, axis: tg.quantile(x, 0.3, axis), one_by_one(lambda x, d: torch.quantile(x, 0.3, dim=d)), _distinct(1))  # fmt: skip
    for name in ("softmax", "log_softmax"):
        word(name, 1, getattr(tg, name), getattr(torch, name), _one_axis(1))
    word("cumsum", 1, tg.cumsum, torch.cumsum, _one_axis(0))
    word("cumprod", 1, tg.cumprod, torch.cumprod, _one_axis(0))
    word("logcumsumexp", 1, tg.logcumsumexp, torch.logcumsumexp, _one_axis(1))
    word("cummax", 1, tg.cummax, lambda x, d: torch.cummax(x, d).values, _one_axis(1, True))  # fmt: skip
    word(
        "sort", 1, tg.sort, lambda x, d: torch.sort(x, dim=d).values, _one_axis(1, True)
    )
    word("diff", 1, lambda x, axis: tg.diff(x, axis=axis), lambda x, d: torch.diff(x, dim=d), _one_axis(2))  # fmt: skip
    word("trapezoid", 1, lambda x, axis: tg.trapezoid(x, axis=axis), lambda x, d: torch.trapezoid(x, dim=d), _one_axis(2))  # fmt: skip

    word("reshape", 1, tg.reshape, torch.reshape, _reshapes)
    word("transpose", 1, tg.transpose, torch.permute, _orders)
    word("ravel", 1, tg.ravel, torch.ravel, _anywhere)
    word("expand_dims", 1, tg.expand_dims, torch.unsqueeze, _expands)
    word("squeeze", 1, tg.squeeze, torch.squeeze, _anywhere)
    word("flip", 1, tg.flip, lambda x, d: torch.flip(x, (d,)), _one_axis(0))  # fmt: skip
    word("roll", 1, tg.roll, torch.roll, _rolls)
    word("rot90", 1, tg.rot90, torch.rot90, _matrix)
    word("tile", 1, lambda x: tg.tile(x, 2), lambda x: torch.tile(x, (2,)), lambda _k, x: () if np.ndim(x) and np.size(x) < 20 else None)  # fmt: skip
    word("repeat", 1, lambda x, axis: tg.repeat(x, 2, axis), lambda x, d: torch.repeat_interleave(x, 2, dim=d), lambda k, x: _one_axis(0)(k, x) if np.size(x) < 20 else None)  # fmt: skip
    word("tril", 1, tg.tril, torch.tril, _matrix_or_more)
    word("triu", 1, tg.triu, torch.triu, _matrix_or_more)
    word("diagonal", 1, tg.diagonal, torch.diagonal, _matrix)
    word(
        "trace", 1, tg.trace, torch.trace, lambda _k, x: () if np.ndim(x) == 2 else None
    )
    word("pad", 1, lambda x, a, b: tg.pad(x, [(0, 0)] * (x.ndim - 1) + [(a, b)]), lambda x, a, b: nn.pad(x, (a, b)), _pads)  # fmt: skip
    word("getitem", 1, lambda x, i: x[np.array(i) if isinstance(i, list) else i], lambda x, i: x[torch.tensor(i) if isinstance(i, list) else i], _picks)  # fmt: skip
    word("concatenate", 2, lambda x, y, axis: tg.concatenate([x, y], axis), lambda x, y, d: torch.cat([x, y], d), _joins)  # fmt: skip
    word("stack", 2, lambda x, y, axis: tg.stack([x, y], axis), lambda x, y, d: torch.stack([x, y], d), _stacks)  # fmt: skip

    word("matmul", 2, tg.matmul, torch.matmul, _products)
    word("dot", 2, lambda x, y: x @ y, torch.matmul, _products)
    word("inner", 2, tg.inner, torch.inner, _same_last)
    word("outer", 2, tg.outer, torch.outer, _one_d)
    word("kron", 2, tg.kron, lambda x, y: torch.kron(x.contiguous(), y.contiguous()), _matrices)  # fmt: skip
    word("tensordot", 2, lambda x, y: tg.tensordot(x, y, 1), lambda x, y: torch.tensordot(x, y, 1), lambda _k, x, y: () if np.ndim(x) and np.ndim(y) and np.ndim(x) + np.ndim(y) <= 5 and np.shape(x)[-1] == np.shape(y)[0] else None)  # fmt: skip
    word("einsum", 2, lambda x, y: tg.einsum("...i,...i->...", x, y), lambda x, y: torch.einsum("...i,...i->...", x, y), _same_last_shape := lambda _k, x, y: () if np.ndim(x) and np.shape(x) == np.shape(y) else None)  # fmt: skip
    word("einsum_diagonal", 1, lambda x: tg.einsum("...ii->...i", x), lambda x: torch.einsum("...ii->...i", x), _square)  # fmt: skip
    word("vecdot", 2, tg.linalg.vecdot, torch.linalg.vecdot, _same_last_shape)  # fmt: skip
    word("inv", 1, tg.linalg.inv, torch.linalg.inv, _regular)
    word("det", 1, tg.linalg.det, torch.linalg.det, _square)
    word("logdet", 1, lambda x: tg.linalg.slogdet(x)[1], lambda x: torch.linalg.slogdet(x)[1], _regular)  # fmt: skip
    word("solve", 2, tg.linalg.solve, torch.linalg.solve, lambda k, x, y: _regular(k, x) if np.ndim(x) == np.ndim(y) == 2 and np.shape(x)[-1] == np.shape(y)[0] and np.shape(y)[1] > 0 else None)  # fmt: skip
    word("cholesky", 1, lambda x: tg.linalg.cholesky(x @ tg.swapaxes(x, -1, -2) + np.eye(x.shape[-1])), lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(x.shape[-1])), _regular)  # fmt: skip
    word("eigvalsh", 1, lambda x: tg.linalg.eigvalsh(x + tg.swapaxes(x, -1, -2)), lambda x: torch.linalg.eigvalsh(x + x.mT), lambda k, x: None if _square(k, x) is None or np.any(np.diff(np.linalg.eigvalsh(x + np.swapaxes(x, -1, -2))) < 1e-2) else ())  # fmt: skip
    word("svdvals", 1, tg.linalg.svdvals, torch.linalg.svdvals, lambda k, x: None if _square(k, x) is None or np.any(-np.diff(np.linalg.svd(x, compute_uv=False)) < 1e-2) or np.any(np.linalg.svd(x, compute_uv=False) < 1e-2) else ())  # fmt: skip
    return found


# --- drawing programs ----------------------------------------------------------------

WORDS: dict[str, Word] = {}
NAMES: list[str] = []


def _load() -> None:
    if not WORDS:
        WORDS.update(words())
        NAMES.extend(sorted(WORDS))


_LEAF = st.tuples(
    st.integers(0, len(SHAPES) - 1), st.integers(0, 9), st.integers(0, 2**31)
)
_STEP = st.tuples(
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6),
    st.integers(0, 10**6),
)  # fmt: skip


def _leaf(shape: int, kind: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = SHAPES[shape]
    if kind == 0:
        return np.asarray(rng.integers(-3, 4, size))
    if kind == 1:
        return np.asarray(rng.random(size) < 0.5)
    low, high = [(-2.0, 2.0), (0.2, 2.0), (-0.9, 0.9), (0.5, 3.0)][kind % 4]
    values = rng.uniform(low, high, size)
    return np.asarray(values, np.float32 if kind in (2, 3) else np.float64)


def written(leaves: Sequence[Any], steps: Sequence[Any]) -> Program:
    """Turn random integers into a program: steps that do not fit are left out."""
    _load()
    (shape, kind, seed), *rest = leaves
    first = _leaf(shape, 4 + kind % 6, seed)  # one leaf at least has a gradient
    given_leaves = (first, *[_leaf(*leaf) for leaf in rest])
    # Decided in float64, the dtype in which numbers are compared.
    values: list[Any] = [
        x.astype(np.float64) if x.dtype.kind == "f" else x for x in given_leaves
    ]
    instructions = []
    for which, left, right, k in steps:
        if len(instructions) == LONGEST:
            break
        name = NAMES[which % len(NAMES)]
        word = WORDS[name]
        # Late values are taken more often: graphs grow deep as well as wide.
        places = [
            len(values) - 1 - min(p % len(values), (p // 7) % len(values))
            for p in (left, right)
        ]
        chosen = tuple(places[: word.arity])
        operands = [values[i] for i in chosen]
        kinds = {np.asarray(x).dtype.kind for x in operands}
        if kinds <= {"i", "b"} or (kinds != {"f"} and name not in _MIXED):
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            options = word.fits(k, *operands)
            if options is None:
                continue
            value = word.ours(*operands, *options)
        if np.size(value) > 64 or not np.all(np.isfinite(value)):
            continue
        if np.max(np.abs(value), initial=0.0) > LARGEST:
            continue
        values.append(np.asarray(value))
        instructions.append(Instruction(name, chosen, options))
    return Program(given_leaves, tuple(instructions))


_MIXED = frozenset({"add", "multiply", "maximum", "minimum", "where"})
PROGRAMS = st.builds(
    written,
    st.lists(_LEAF, min_size=1, max_size=5),
    # As many as a number says, for lists by themselves are short.
    st.integers(1, 120).flatmap(lambda n: st.lists(_STEP, min_size=n, max_size=n)),
)


# --- running them --------------------------------------------------------------------


class Found(NamedTuple):
    """A loss, its gradients, and the gradients of a directional derivative."""

    loss: float
    first: list[np.ndarray]
    second: list[np.ndarray]


def _ends(program: Program) -> list[int]:
    """Values that nothing else reads; all of them are in the loss."""
    read = {i for step in program.instructions for i in step.operands}
    total = len(program.leaves) + len(program.instructions)
    return [i for i in range(len(program.leaves), total) if i not in read]


def _weights(program: Program, shapes: Sequence[Any]) -> list[np.ndarray]:
    rng = np.random.default_rng(len(program.instructions))
    return [np.asarray(rng.uniform(0.5, 1.5, shape)) for shape in shapes]


def loss_of(program: Program, leaves: Sequence[Any]) -> Any:
    """Compute the loss with our functions, on Tensors or on arrays."""
    values = list(leaves)
    for name, operands, options in program.instructions:
        values.append(WORDS[name].ours(*[values[i] for i in operands], *options))
    ends = [values[i] for i in _ends(program)]
    total: Any = 0.0
    for weight, end in zip(
        _weights(program, [np.shape(e) for e in ends]), ends, strict=True
    ):
        total = total + tg.sum(end * weight)
    return total


def ours(program: Program, *, dtype: Any = None, second: bool = False) -> Found:
    """Differentiate a program here."""
    leaves = [
        tg.Tensor(
            x if dtype is None or x.dtype.kind != "f" else x.astype(dtype),
            requires_grad=x.dtype.kind == "f",
        )
        for x in program.leaves
    ]
    wanted = [x for x in leaves if x.requires_grad]
    loss = loss_of(program, leaves)
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        first = tg.gradients(loss, wanted, unused="zero")
        twice: list[Any] = []
        if second:
            along = [np.random.default_rng(i).standard_normal(x.shape) for i, x in enumerate(wanted)]  # fmt: skip
            total: Any = tg.Tensor(0.0)
            for g, v in zip(first, along, strict=True):
                total = total + tg.sum(g * v)
            twice = tg.gradients(total, wanted, unused="zero")
    for x, g in zip(wanted, first, strict=True):
        assert g.shape == x.shape, f"a gradient of shape {g.shape} for {x.shape}"
        assert g.dtype == x.dtype, f"a gradient of {g.dtype} for {x.dtype}"
    return Found(loss.item(), [g.numpy() for g in first], [g.numpy() for g in twice])


def theirs(program: Program, *, second: bool = False) -> Found:
    """Differentiate a program with torch, in float64."""
    import torch

    torch.set_default_dtype(torch.float64)
    leaves = []
    for x in program.leaves:
        tensor = torch.tensor(x.astype(np.float64) if x.dtype.kind == "f" else x)
        leaves.append(tensor.requires_grad_(x.dtype.kind == "f"))
    wanted = [x for x in leaves if x.requires_grad]
    values: list[Any] = list(leaves)
    for name, operands, options in program.instructions:
        values.append(WORDS[name].theirs(*[values[i] for i in operands], *options))
    ends = [values[i] for i in _ends(program)]
    weights = _weights(program, [tuple(e.shape) for e in ends])
    total: Any = torch.zeros(())
    for weight, end in zip(weights, ends, strict=True):
        total = total + (end * torch.tensor(weight)).sum()
    if not wanted or not total.requires_grad:
        zeros = [np.zeros(tuple(x.shape)) for x in wanted]
        return Found(total.item(), zeros, zeros if second else [])

    def pulled(value: Any, graph: bool) -> list[Any]:
        if not value.requires_grad:
            return [torch.zeros_like(x) for x in wanted]
        found = torch.autograd.grad(
            value, wanted, create_graph=graph, allow_unused=True
        )
        pairs = zip(found, wanted, strict=True)
        return [torch.zeros_like(x) if g is None else g for g, x in pairs]

    first = pulled(total, second)
    twice: list[Any] = []
    if second:
        along = torch.zeros(())
        for i, (g, x) in enumerate(zip(first, wanted, strict=True)):
            v = np.random.default_rng(i).standard_normal(tuple(x.shape))
            along = along + (g * torch.tensor(v)).sum()
        twice = pulled(along, graph=False)
    numpy = [[g.detach().numpy(force=True) for g in found] for found in (first, twice)]
    return Found(total.item(), *numpy)


def apart(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Return the largest difference, relative to the largest number (or to 1)."""
    worst = 0.0
    for g, w in zip(got, wanted, strict=True):
        if g.shape != w.shape:
            return np.inf
        size = max(np.max(np.abs(w), initial=0.0), 1.0)
        off = np.max(np.abs(g - w), initial=0.0) / size
        worst = max(worst, off if np.isfinite(off) else np.inf)
    return float(worst)


TOLERANCE = 1e-9
SECOND_TOLERANCE = 1e-7
DIGITS = 9  # that a judged gradient has
COUNTS: collections.Counter[str] = collections.Counter()


def _judge(program: Program) -> bool:
    """Whether our first gradients are right, at forty digits."""
    leaves = [
        x.astype(np.float64) if x.dtype.kind == "f" else x for x in program.leaves
    ]
    places = [i for i, x in enumerate(leaves) if x.dtype.kind == "f"]

    def function(*arrays: Any) -> Any:
        operands = list(leaves)
        for i, x in zip(places, arrays, strict=True):
            operands[i] = x
        return loss_of(program, operands)

    report = tg.check.multiprecision(function, *[leaves[i] for i in places])
    if report.verdict == "wrong":
        return False
    # Constants such as 1 / 3 are floats in a body: then sixteen digits are confirmed.
    found = report.parameters.values()
    return all(min(p.digits, p.float64) >= DIGITS for p in found)


def _slopes(program: Program, value: Callable[[Program], float]) -> list[np.ndarray]:
    """Differentiate a number that is made of a program, by extrapolated differences."""
    leaves = [
        x.astype(np.float64) if x.dtype.kind == "f" else x for x in program.leaves
    ]
    wanted = []
    for i in (i for i, x in enumerate(leaves) if x.dtype.kind == "f"):
        slope = np.zeros(leaves[i].shape)
        for place in np.ndindex(slope.shape):
            by_step = []
            for step in (1e-4, 5e-5):
                moved = [x.copy() for x in leaves]
                moved[i][place] += step
                above = value(program._replace(leaves=tuple(moved)))
                moved[i][place] -= 2 * step
                below = value(program._replace(leaves=tuple(moved)))
                by_step.append((above - below) / (2 * step))
            slope[place] = (4 * by_step[1] - by_step[0]) / 3
        wanted.append(slope)
    return wanted


def _along(program: Program) -> float:
    """Return the first gradients times the directions of the second ones."""
    first = ours(program).first
    ways = [np.random.default_rng(i).standard_normal(g.shape) for i, g in enumerate(first)]  # fmt: skip
    return float(sum(np.sum(g * v) for g, v in zip(first, ways, strict=True)))


def _judge_second(program: Program, found: Found) -> bool:
    """Whether our second gradients are the differences of our first, which are held."""
    return apart(found.second, _slopes(program, _along)) < 1e-5


def hold(program: Program, *, second: bool | None = None) -> None:
    """Hold one program to torch, and what differs to forty digits."""
    if not program.instructions:
        COUNTS["without ops"] += 1
        return
    if second is None:
        second = len(program.instructions) % 4 == 0
    COUNTS["graphs"] += 1
    COUNTS["ops"] += len(program.instructions)
    COUNTS.update(f"word {step.word}" for step in program.instructions)
    mine = ours(program, dtype=np.float64, second=second)
    try:
        other = theirs(program, second=second)
    except RuntimeError:  # its own trouble with layouts, or with numbers near a limit
        COUNTS["torch fails"] += 1
        plain = _slopes(program, lambda p: float(loss_of(p, p.leaves)))
        assert apart(mine.first, plain) < 1e-5, "wrong, where torch fails"
        return
    mine_all = [np.asarray(mine.loss), *mine.first]
    off = apart(mine_all, [np.asarray(other.loss), *other.first])
    if off > TOLERANCE:
        COUNTS["judged"] += 1
        assert _judge(program), f"{off:.1e} from torch, and wrong"
        COUNTS["torch less exact"] += 1
    if second:
        COUNTS["second order"] += 1
        off = apart(mine.second, other.second)
        if off > SECOND_TOLERANCE:
            COUNTS["second orders judged"] += 1
            assert _judge_second(program, mine), f"second order, {off:.1e} from torch"
    if any(x.dtype == np.float32 for x in program.leaves):
        COUNTS["float32"] += 1
        for g in ours(program).first:
            assert np.all(np.isfinite(g)), "float32: not finite"


def fails(program: Program, *, second: bool | None = None) -> str | None:
    """Return what is wrong with a program, or None."""
    try:
        hold(program, second=second)
    except Exception as error:  # noqa: BLE001 (a crash is a finding like any other)
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def without(program: Program, gone: int) -> Program | None:
    """Return the program without one instruction, and without what reads it."""
    first = len(program.leaves)
    lost = {first + gone}
    kept: dict[int, int] = {i: i for i in range(first)}
    steps = []
    for place, step in enumerate(program.instructions, first):
        if place in lost or lost & set(step.operands):
            lost.add(place)
            continue
        kept[place] = first + len(steps)
        steps.append(step._replace(operands=tuple(kept[i] for i in step.operands)))
    return Program(program.leaves, tuple(steps)) if steps else None


def _kind(failure: str | None) -> str:
    """Return what failed, without its numbers."""
    return re.sub(r"[\d.e+-]+", "", failure or "")[:60]


def smaller(program: Program) -> Program:
    """Drop instructions as long as the program still fails in the same way."""
    kind = _kind(fails(program))
    second = "second" in kind
    i = len(program.instructions) - 1
    while i >= 0:
        candidate = without(program, i)
        if candidate and _kind(fails(candidate, second=second)) == kind:
            program = candidate
            i = len(program.instructions)
        i -= 1
    return program


def fuzz(count: int, seed: int) -> list[Program]:
    """Draw so many programs, hold each, and return those that fail."""
    quiet = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ]
    found: list[Program] = []

    @seeded(seed)
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=quiet,
        phases=(Phase.generate,),
    )  # fmt: skip
    @given(PROGRAMS)
    def run(program: Program) -> None:
        if len(found) < MOST_FAILURES and fails(program):
            found.append(program)

    run()
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    failing = fuzz(options.count, options.seed)
    counts = dict(COUNTS)
    for program in failing:
        small = smaller(program)
        print(f"--- {fails(small, second=True)}\n{small}\n")
    lengths = counts["ops"] / max(counts["graphs"], 1)
    print(f"{counts['graphs']} graphs, {lengths:.1f} ops each: {len(failing)} fail")
    for name in (
        "second order",
        "float32",
        "judged",
        "torch less exact",
        "torch fails",
        "second orders judged",
    ):
        print(f"  {name}: {counts.get(name, 0)}")
    met = {k: v for k, v in counts.items() if k.startswith("word ")}
    print(f"  words met: {len(met)} of {len(WORDS)}")
    print(f"  the rarest: {sorted(met.items(), key=lambda kv: kv[1])[:8]}")
    print(f"  {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
