"""Random training steps, eager and compiled: whatever a step does, both do the same.

A `Case` is text: what is made before the step, the lines of the step, what it returns,
its arguments, and what happens from call to call. It is written line by line, each line
tried eagerly first, so that most lines mean something. `differs` runs it twice, eagerly
and with `tg.compile`, and says where they part; `smaller` drops what does not matter to
that. From the root of the repository:

    python tests/fuzz_compiled.py --seed 0 --count 1000 --backend numpy
"""

# ruff: noqa: C901, PLR0911, PLR0912, PLR0915 (many choices make a random step)

from __future__ import annotations

import argparse
import contextlib
import itertools
import linecache
import math
import re
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.errors import CompileError

BATCH = 4  # the size of an axis that may be another one in a later call
LARGEST = 400
# What an eager step may do and a compiled one says that it does not.
REFUSALS = ("that share memory", "t[mask] at")

Action = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """A step as text, and what happens to it.

    Attributes
    ----------
    setup
        Lines that make parameters, constants, optimisers, generators.
    arguments
        Name to the expression of its value, in terms of ``n`` (examples) and ``rng``.
    body
        Lines of the step.
    results
        Expressions that it returns, in a list.
    actions
        ``("call" | "eager", i, n)``, ``("repeat", i, n, k)``, ``("do", line)``,
        ``("keep", expression)``, ``("look",)``.
    exact
        Whether it is compiled so. On ``numpy`` bits are compared then, else digits:
        C and XLA round every operation in their own way.
    """

    seed: int
    setup: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    body: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    exact: bool = True
    backend: str = "numpy"

    @property
    def to_the_bit(self) -> bool:
        """Whether eager and compiled must agree in every bit."""
        return self.exact and self.backend == "numpy"

    @property
    def source(self) -> str:
        """The module's text: it defines ``make``."""
        names = [name for name, _ in self.arguments]
        moved = {line.split()[0] for line in self.body if _updates_by_hand(line)}
        moved |= {
            line.split(":")[1].split()[0]
            for line in self.body
            if line.startswith("with") and _updates_by_hand(line.split(":")[1].strip())
        }
        lines = ["def make():"]
        lines += [f"    {line}" for line in self.setup]
        lines.append(f"    def step({', '.join(names)}):")
        if moved:
            lines.append(f"        nonlocal {', '.join(sorted(moved))}")
        lines += [f"        {line}" for line in self.body]
        lines.append(f"        return [{', '.join(self.results)}]")
        lines.append("    def feed(i, n):")
        lines.append(f"        rng = np.random.default_rng([{self.seed}, i])")
        values = [f"rng, {text}" for _, text in self.arguments]
        lines.append(f"        return [{', '.join(f'({v})[1]' for v in values)}]")
        lines.append("    return step, feed, locals()")
        return "\n".join(lines) + "\n"

    def report(self) -> str:
        """All of it, to be pasted."""
        what = f"exact={self.exact} backend={self.backend} seed={self.seed}"
        actions = "\n".join(f"# {action}" for action in self.actions)
        return f"# {what}\n{self.source}{actions}\n"


def _updates_by_hand(line: str) -> bool:
    parts = line.split()
    return len(parts) > 2 and parts[1] in ("-=", "+=", "*=")


def put(leaf: Any, value: Any) -> None:
    """Assign a result to a leaf, as eager code must write it, and as a step may."""
    if tg.recording.current().trace is not None:
        leaf.data = value
    else:
        # In the layout of what was there, which a step goes on using.
        turned = tuple(slice(None, None, -1 if s < 0 else 1) for s in leaf.data.strides)
        new = np.asarray(np.empty_like(leaf.data[turned])[turned])
        new[...] = value.numpy()
        leaf.data = new


GLOBALS = {"np": np, "tg": tg, "put": put}


# --- running ---------------------------------------------------------------------------


class Twin:
    """One life of a case: the step, its surroundings, and what was kept on the way."""

    def __init__(self, case: Case, **compiled: Any) -> None:
        name = f"<case {case.seed}>"
        text = case.source
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        space: dict[str, Any] = dict(GLOBALS)
        exec(compile(text, name, "exec"), space)
        self.step, self.feed, found = space["make"]()
        self.found: dict[str, Any] = found
        self.space = {**GLOBALS, **found}
        self.watched = {
            name: x
            for name, x in found.items()
            if isinstance(x, (tg.Tensor, tg.optim.Optimizer, np.random.Generator))
        }
        for name, x in found.items():
            if isinstance(x, tg.nn.Module):
                self.watched |= {f"{name}.{k}": w for k, w in x.named_parameters()}
        self.compiled = tg.compile(self.step, **compiled) if compiled else None
        self.kept: list[tuple[Any, Any]] = []

    def do(self, action: Action) -> Any:
        """Carry out one action; return what it gives."""
        what, *rest = action
        if what == "do":
            exec(rest[0], self.space)
            return None
        if what == "keep":
            x = eval(rest[0], self.space)
            if x is not None:
                self.kept.append((x, np.array(x)))
            return None
        if what == "look":
            return None
        i, n, *times = rest
        feed = self.feed(i, n)
        if what == "quiet":
            with tg.no_grad():
                return (self.compiled or self.step)(
                    *(feed if self.compiled else _tensors(feed))
                )
        if self.compiled is None or what == "eager":
            for _ in range(times[0] if times else 1):
                out = self.step(*_tensors(feed))
            return out
        if what == "repeat":
            return self.compiled.repeat(times[0], *feed)
        return self.compiled(*feed)

    def look(self, *, gradients: bool = True) -> list[tuple[str, Any]]:
        """Return copies of all that a step may change."""
        found: list[tuple[str, Any]] = []
        for name, x in self.watched.items():
            if isinstance(x, tg.Tensor):
                found.append((f"{name}.data", np.array(x.data)))
                if gradients:
                    grad = x.grad
                    found.append(
                        (f"{name}.grad", None if grad is None else np.array(grad))
                    )
            elif isinstance(x, np.random.Generator):
                found.append((f"{name}.state", repr(x.bit_generator.state)))
            else:
                found += [(f"{name}.{key}", value) for key, value in x.state().items()]
        return found

    def kept_still(self) -> None:
        """Hold what was handed out to what it was then."""
        for x, copy in self.kept:
            assert x.tobytes() == copy.tobytes(), f"kept: changed to {x} from {copy}"


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_tensors(item) for item in value)
    return tg.Tensor(value) if isinstance(value, np.ndarray) else value


def _flat(value: Any, path: str = "result") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        parts = [(f"{path}[{key!r}]", x) for key, x in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{i}]", x) for i, x in enumerate(value)]
    elif isinstance(value, tg.Tensor):
        return [(path, np.array(value.data))]
    elif isinstance(value, np.ndarray):
        return [(path, value.copy())]
    else:
        return [(path, value)]
    kind = (f"{path} is", type(value).__name__)
    return [kind, *(leaf for name, x in parts for leaf in _flat(x, name))]


def _apart(got: Any, wanted: Any) -> str | None:
    """Return what is wrong with a value that should have the same bits, or None."""
    if isinstance(wanted, (np.ndarray, np.generic)) and isinstance(
        got, (np.ndarray, np.generic)
    ):
        got, wanted = np.asarray(got), np.asarray(wanted)
        if got.shape != wanted.shape:
            return f"shape {got.shape} is not {wanted.shape}"
        if got.dtype != wanted.dtype:
            return f"dtype {got.dtype} is not {wanted.dtype}"
        if got.dtype.kind == "f":
            nan = np.isnan(got) & np.isnan(wanted)
            got, wanted = np.where(nan, 0, got), np.where(nan, 0, wanted)
        return None if got.tobytes() == wanted.tobytes() else "bits"
    if isinstance(wanted, (float, np.ndarray)) and isinstance(got, (float, np.ndarray)):
        # A norm or a gradient is a number or an array in eager, a Tensor in a step.
        return _apart(np.asarray(got), np.asarray(wanted))
    if wanted is None or got is None:
        return None if wanted is got else f"{got} is not {wanted}"
    if isinstance(wanted, float) or isinstance(got, float):
        same = isinstance(wanted, (int, float)) and isinstance(got, (int, float))
        if not same:
            return f"{type(got)} is not {type(wanted)}"
        return (
            None
            if got == wanted or (math.isnan(got) and math.isnan(wanted))
            else "bits"
        )
    return (
        None
        if type(got) is type(wanted) and got == wanted
        else f"{got} is not {wanted}"
    )


def _far(got: Any, wanted: Any, loose: float) -> float:
    """Return how many tolerances two values of one shape are apart."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    fine = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(got), fine):
        return math.inf
    size = max(1e-3, np.max(np.abs(wanted[fine]), initial=0.0))
    return float(np.max(np.abs(got - wanted)[fine], initial=0.0) / size / loose)


class Difference(AssertionError):  # noqa: N818 (it is one, and no mistake)
    """Eager and compiled parted: a kind, and words."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(f"{kind}: {words}")
        self.kind = kind


def _attempt(twin: Twin, action: Action) -> tuple[Any, BaseException | None]:
    try:
        return twin.do(action), None
    except Exception as error:  # noqa: BLE001 (which one it is, is compared)
        return None, error


def run(case: Case) -> str:
    """Run a case both ways; raise `Difference` where they part; say how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _run(case)


def _run(case: Case) -> str:
    eager = Twin(case)
    mixed = Twin(case, exact=case.exact, backend=case.backend)
    history: list[list[tuple[str, Any]]] = []
    loose = 1e-5 if "float32" in case.source else 1e-12
    last = len(case.actions) - 1
    for at, action in enumerate(case.actions):
        before = mixed.look() if at == 0 or action[0] == "look" else None
        wanted, error = _attempt(eager, action)
        if error is not None and before is None:
            before = mixed.look()
        got, other = _attempt(mixed, action)
        where = f"{at}: {action}"
        if error is not None or other is not None:
            compiled = action[0] in ("call", "quiet")  # some of several may have run
            return _both_refuse(
                mixed, before if compiled else None, error, other, where
            )
        with_gradients = action[0] == "look" or at == last
        pairs = [*_flat(wanted), *eager.look(gradients=with_gradients)]
        others = [*_flat(got), *mixed.look(gradients=with_gradients)]
        history.append(pairs)
        if [name for name, _ in pairs] != [name for name, _ in others]:
            raise Difference("structure", f"{where}: {others} is not {pairs}")
        if not case.to_the_bit and not _tame(pairs):
            return "wild"
        if any(_has_nan(x) for _, x in pairs):
            # A nan may make eager or compiled gradients take the careful way alone.
            return "wild"
        _compare(case, at, others, pairs, loose, where)
        if got is not None:
            for name, x in zip(others, _results(got), strict=False):
                mixed.kept.append((x, x.copy()))
                del name
    mixed.kept_still()
    return "same"


def _results(value: Any) -> list[np.ndarray]:
    if isinstance(value, dict):
        return [x for item in value.values() for x in _results(item)]
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _results(item)]
    # What an eager step hands out may be a parameter itself, which changes.
    return []


def _has_nan(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f" and bool(np.isnan(x).any())


def _tame(pairs: list[tuple[str, Any]]) -> bool:
    floats = [
        x
        for _, x in pairs
        if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size
    ]
    return all(np.isfinite(x).all() and np.abs(x).max() < 1e8 for x in floats)


def _both_refuse(mixed: Twin, before: Any, error: Any, other: Any, where: str) -> str:
    words = f"{where}: eager {error!r}; compiled {other!r}"
    if error is None:
        if isinstance(other, CompileError):
            if any(refusal in str(other) for refusal in REFUSALS):
                return "refused"
            raise Difference("CompileError", words) from other
        what = re.sub(r"[^\s]*\d[^\s]*|'[^']*'", "#", str(other).partition("got")[0])
        raise Difference(
            f"raises {type(other).__name__} {what[-50:]}", words
        ) from other
    if other is None:
        if "out of bounds" in str(error):
            return "error"  # what nobody needs is not computed
        raise Difference(f"accepts {type(error).__name__}", words) from error
    if isinstance(other, CompileError) and any(x in str(other) for x in REFUSALS):
        return "refused"
    if type(error) is not type(other):
        raise Difference("class", words) from other
    if before is not None:
        after = mixed.look()
        for (name, x), (_, y) in zip(after, before, strict=True):
            wrong = _apart(x, y)
            if wrong:
                raise Difference("state after error", f"{words}; {name} {wrong}")
    return "error"


def _compare(
    case: Case, at: int, got: Any, wanted: Any, loose: float, where: str
) -> None:
    shaken: list[Any] = []
    for (name, x), (_, y) in zip(got, wanted, strict=True):
        wrong = _apart(x, y)
        if wrong is None:
            continue
        words = f"{where} {name}: {wrong}: {x!r} is not {y!r}"
        if wrong != "bits" or case.to_the_bit:
            raise Difference(
                f"{name.partition('[')[0].partition('.')[2]} {wrong[:5]}", words
            )
        whole = isinstance(y, np.ndarray) and y.dtype.kind != "f"
        far = math.inf if whole else _far(x, y, loose)
        if far <= 1:
            continue
        if not shaken:
            shaken = [_shaken(case, at, s, 30 if loose > 1e-9 else 1) for s in range(4)]
        noise = 0.0
        for other in shaken:
            z = None if other is None else dict(other).get(name)
            if z is None or np.shape(z) != np.shape(y):
                noise = math.inf
            elif whole:
                noise = max(noise, 0.0 if _apart(z, y) is None else math.inf)
            else:
                noise = max(noise, _far(z, y, loose))
        if far > 30 * noise:
            raise Difference(
                "digits", f"{far:.3g} tolerances, noise {noise:.3g}; {words}"
            )


def _shaken(case: Case, at: int, seed: int, factor: float) -> Any:
    """Return what eager gives from a start that is moved by a few roundings."""
    rng = np.random.default_rng(seed)

    def shake(x: np.ndarray) -> np.ndarray:
        if x.dtype.kind != "f":
            return x
        eps = np.finfo(x.dtype).eps
        new = x * (1 + 3 * eps * rng.choice([-1.0, 1.0], x.shape))
        return np.asarray(new + eps * rng.choice([-1.0, 1.0], x.shape), x.dtype)

    del factor
    twin = Twin(case)
    for name, x in twin.found.items():
        if isinstance(x, tg.Tensor):
            x._value[...] = shake(x._value)
        elif isinstance(x, np.ndarray) and name.startswith("C"):
            x[...] = shake(x)
    feed = twin.feed

    def shaken(i: int, n: int) -> Any:
        return _mapped(shake, feed(i, n))

    twin.feed = shaken
    out = None
    for action in case.actions[: at + 1]:
        out, error = _attempt(twin, action)
        if error is not None:
            return None
    return [*_flat(out), *twin.look()]


def _mapped(f: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(f, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(f, item) for item in value)
    if isinstance(value, tg.Tensor):
        return tg.Tensor(f(value.data))
    return f(value) if isinstance(value, np.ndarray) else value


def differs(case: Case) -> Difference | None:
    """Return how eager and compiled part, or None."""
    try:
        run(case)
    except Difference as found:
        return found
    return None


# --- making ----------------------------------------------------------------------------


@dataclass
class Maker:
    """Writes a case, and runs it eagerly while it does."""

    seed: int
    exact: bool = True
    backend: str = "numpy"
    large: float = 0.01
    rng: Any = None
    setup: list[str] = field(default_factory=list)
    arguments: list[tuple[str, str]] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.space = dict(GLOBALS)
        self.count = itertools.count()
        self.dtypes = self.choose(["float64"] * 7 + ["float32"] * 2 + ["mixed"])
        self.sizes = [1, 2, 3, 5] if self.chance(0.85) else [0, 1, 2, 3]
        self.wild = self.exact and self.chance(0.1)
        self.batch = 20_000 if self.chance(self.large) else BATCH
        self.largest = 200_000 if self.batch > BATCH else LARGEST
        self.extra: list[str] = []
        self.optimizers: list[str] = []
        self.losses: list[str] = []

    # --- choices ---

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def choose(self, things: Any) -> Any:
        return things[int(self.rng.integers(len(things)))]

    def number(self) -> str:
        return str(self.choose([0.5, 2, -1.0, 0.1, 3, 1.5, -0.25, 1, 0]))

    def fresh(self, letter: str) -> str:
        return f"{letter}{next(self.count)}"

    def value(self, name: str) -> Any:
        x = self.space[name]
        return x._value if isinstance(x, tg.Tensor) else x

    def shape(self, name: str) -> Any:
        return np.shape(self.value(name))

    def is_float(self, name: str) -> bool:
        return bool(np.asarray(self.value(name)).dtype.kind == "f")

    def dtype(self) -> str:
        return (
            self.choose(["float64", "float32"])
            if self.dtypes == "mixed"
            else self.dtypes
        )

    # --- what is there before ---

    def prepare(self, line: str, name: str) -> str:
        exec(line, self.space)
        self.setup.append(line)
        self.names.append(name)
        return name

    def array(self, shape: Any, dtype: str) -> str:
        """Text of an array of random numbers, rounded now and then, in any layout."""
        seed = int(self.rng.integers(1 << 16))
        draw = f"np.random.default_rng({seed})"
        shape = tuple(int(n) for n in shape)
        text = f"{draw}.normal(size={shape})"
        kind = self.rng.random()
        if kind < 0.1 and len(shape) > 1:
            text = f"{draw}.normal(size={shape[::-1]}).T"
        elif kind < 0.18 and shape:
            doubled = (*shape[:-1], 2 * shape[-1])
            text = f"{draw}.normal(size={doubled})[..., ::{self.choose([2, -2])}]"
        elif kind < 0.22 and shape:
            text = f"{draw}.normal(size={shape})[::-1]"
        if self.chance(0.15):
            text = f"np.round({text})"
        # astype keeps the order of axes, but no gaps.
        return (
            f"np.asarray({text})"
            if dtype == "float64"
            else f"np.asarray({text}).astype('{dtype}')"
        )

    def some_shape(self) -> tuple[int, ...]:
        rank = self.choose([0, 1, 1, 2, 2, 2, 3])
        return tuple(int(self.choose(self.sizes)) for _ in range(rank))

    def constant(self, shape: Any) -> str:
        name = self.fresh("C")
        kind = self.rng.random()
        shape = tuple(1 if n == self.batch else n for n in shape)
        if kind < 0.7:
            text = self.array(shape, self.dtype())
        elif kind < 0.85:
            text = f"np.random.default_rng({self.seed}).integers(-2, 3, {shape})"
        else:
            text = f"np.random.default_rng({self.seed}).random({shape}) < 0.5"
        text = f"np.asarray({text})"
        if self.chance(0.25):
            text = f"tg.Tensor({text})"
        return self.prepare(f"{name} = {text}", name)

    def parameter(self, shape: Any) -> str:
        name = self.fresh("W")
        shape = tuple(1 if n == self.batch else n for n in shape)
        title = f", name={name!r}" if self.chance(0.7) else ""
        return self.prepare(
            f"{name} = tg.Parameter({self.array(shape, self.dtype())}{title})", name
        )

    def siblings(self) -> None:
        """Two parameters in one array."""
        base = self.fresh("base")
        first, second = self.fresh("W"), self.fresh("W")
        self.setup.append(f"{base} = {self.array((6, 3), 'float64')}.copy()")
        exec(self.setup[-1], self.space)
        parts = self.choose(
            [
                ("[:2]", "[2:5]"),
                ("[::2]", "[1::2]"),
                ("[:, 0]", "[:, 1:]"),
                ("[:3].T", "[3:]"),
            ]
        )
        for name, part in zip((first, second), parts, strict=True):
            self.prepare(f"{name} = tg.Parameter({base}{part}, name={name!r})", name)

    def argument(self) -> None:
        name = self.fresh("x")
        rest = self.some_shape()[:2]
        shape = ", ".join(["n", *map(str, rest)])
        turned = ", ".join([*map(str, rest[::-1]), "n"])
        dtype = self.dtype()
        kind = self.rng.random()
        cast = "" if dtype == "float64" else f".astype('{dtype}')"
        if kind < 0.5:
            text = f"rng.normal(size=({shape},)){cast}"
        elif kind < 0.6:
            text = f"rng.normal(size=({turned},)).T{cast}"
        elif kind < 0.65:
            text = f"rng.normal(size=({shape},))[::-1]{cast}"
        elif kind < 0.7:
            text = f"np.round(rng.normal(size=({shape},))){cast}"
        elif kind < 0.75:
            text = f"np.broadcast_to(rng.normal(size=(n,) + (1,) * {len(rest)}), ({shape},)){cast}"
        elif kind < 0.85:
            text = f"rng.integers(0, 2, ({shape},))"
        elif kind < 0.9:
            text = f"rng.random(({shape},)) < 0.5"
        elif kind < 0.95:
            text = f"np.asarray(rng.normal()){cast}"
        else:
            text = f"rng.integers(0, 2, {self.choose([2, 3])})"
        if self.chance(0.04):
            text = f"({text} if i % 2 else np.asfortranarray({text}))"
        if self.chance(0.2):
            text = f"tg.Tensor({text})"
        self.bring(name, text)

    def bring(self, name: str, text: str) -> None:
        self.arguments.append((name, text))
        self.names.append(name)
        rng = np.random.default_rng([self.seed, 0])
        found = eval(text, {**GLOBALS, "rng": rng, "n": self.batch, "i": 0})
        self.space[name] = _tensors(found)

    def index(self) -> str:
        """An argument or a constant to index axes of two or more elements with."""
        known = [
            name
            for name in self.names
            if not self.is_float(name)
            and np.asarray(self.value(name)).dtype.kind == "i"
            and np.ndim(self.value(name)) in (0, 1, 2)
            and np.all(
                (np.asarray(self.value(name)) >= 0) & (np.asarray(self.value(name)) < 2)
            )
        ]
        if known and self.chance(0.7):
            return self.choose(known)
        if self.chance(0.5):
            return self.choose(
                ["0", "-1", "[0, 1, 1]", "np.array([1, 0])", "np.array([[0], [1]])"]
            )
        name = self.fresh("i")
        size = self.choose(["2", "3", "()", "(2, 1)"])
        self.bring(name, f"np.asarray(rng.integers(0, 2, {size}))")
        return name

    # --- lines ---

    def attempt(self, line: str, name: str | None = None) -> bool:
        """Add a line to the step if it works."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                exec(compile(line, "<fuzz>", "exec"), self.space)
        except Exception:  # noqa: BLE001 (a line that eager refuses)
            if self.chance(0.002):
                self.body.append(line)  # and so must a compiled step
                self.dead = True
                return True
            return False
        if name is not None:
            x = self.space[name]
            if not isinstance(x, tg.Tensor) or x.size > self.largest:
                return False
            value = np.asarray(x._value)
            bad = (
                value.dtype.kind == "f"
                and value.size
                and not (np.abs(value) < 1e3).all()
            )
            if bad and not (self.wild and self.chance(0.5)):
                return False
            self.names.append(name)
        self.body.append(line)
        return True

    dead = False

    def pick(self, want: Callable[[str], bool] | None = None) -> str:
        """A name, rather a late one."""
        names = [n for n in self.names if want is None or want(n)]
        if not names:
            return self.parameter(self.some_shape())
        if self.chance(0.5):
            return self.choose(names[-6:])
        return self.choose(names)

    def real(self) -> str:
        return self.pick(self.is_float)

    def partner(self, shape: Any) -> str:
        """A name whose shape broadcasts with another."""

        def fits(name: str) -> bool:
            try:
                np.broadcast_shapes(self.shape(name), shape)
            except ValueError:
                return False
            return True

        if self.chance(0.25):
            kept = [n if self.chance(0.7) else 1 for n in shape]
            kept = kept[
                int(self.rng.integers(len(kept) + 1)) if self.chance(0.3) else 0 :
            ]
            return self.parameter(kept) if self.chance(0.5) else self.constant(kept)
        return self.pick(fits)

    def axes(self, rank: int, *, many: bool = True) -> str:
        if rank == 0 or self.chance(0.3):
            return "None" if many else "0"
        if many and self.chance(0.3):
            count = int(self.rng.integers(0, rank + 1))
            return str(tuple(int(i) for i in self.rng.permutation(rank)[:count]))
        return str(int(self.rng.integers(-rank, rank)))

    def expression(self) -> str:
        """A random expression of one or two ops."""
        family = self.choose(
            ["unary"] * 5 + ["binary"] * 6 + ["movement"] * 3 + ["index"] * 2
            + ["reduction"] * 3 + ["product"] * 3 + ["join", "cast", "mask", "mask", "spelled"]
        )  # fmt: skip
        return getattr(self, f"_{family}")()  # type: ignore[no-any-return]

    def _unary(self) -> str:
        v = self.real()
        rank = len(self.shape(v))
        axis = self.axes(rank)
        forms = [
            "tg.tanh({v})", "tg.sigmoid({v})", "tg.relu({v})", "tg.exp({v} * 0.3)",
            "np.exp(-{v} * {v})", "tg.log({v} * {v} + 1)", "np.log(tg.abs({v}) + 0.5)",
            "tg.sqrt({v} * {v} + 0.1)", "tg.sqrt(tg.abs({v}))", "tg.sin({v})", "np.cos({v})",
            "tg.abs({v})", "np.square({v})", "-{v}", "tg.softplus({v})", "tg.log_sigmoid({v})",
            f"tg.softmax({{v}}, {axis})", f"tg.log_softmax({{v}}, {axis})",
            f"tg.logsumexp({{v}}, {axis})", "tg.expm1({v} * 0.2)", "np.log1p({v} * {v})",
            "tg.sign({v})", "{v} ** 2", "{v} ** 3", "({v} * {v} + 0.5) ** -0.5",
            "{v}.copy()", "{v}.detach()", "np.clip({v}, -0.5, 0.5)", "1 / ({v} * {v} + 1)",
            "abs({v}) ** 1.5", "+{v}", "{v} * 1", "{v} + 0", "{v} / 2", "0 * {v}",
            "tg.log(tg.sigmoid({v}))", "2.0 ** (0.3 * {v})", "np.sqrt(np.maximum({v}, 0))",
        ]  # fmt: skip
        if self.wild:
            forms += [
                "tg.log({v})",
                "tg.sqrt({v})",
                "1 / {v}",
                "{v} ** 0.5",
                "np.exp({v} * 99)",
            ]
        return self.choose(forms).format(v=v)

    def _binary(self) -> str:
        v = self.pick()
        if self.chance(0.3):
            w = self.number()
            if self.chance(0.15):
                w = f"np.float{self.choose([32, 64])}({w})"
        else:
            w = self.partner(self.shape(v))
        if self.chance(0.5):
            v, w = w, v
        forms = ["{v} + {w}", "{v} - {w}", "{v} * {w}"] * 3 + [
            "{v} / ({w} * {w} + 1)", "tg.maximum({v}, {w})", "np.minimum({v}, {w})",
            "tg.where({v} > {w}, {v}, {w})", "{v} - {w} * {v}", "({v} - {w}) ** 2",
            "tg.where({v} == {w}, 0.5, {w})", "np.add({v}, {w})", "{v} * {v} + {w} * {w}",
            "({v} * {v} + 0.5) ** ({w} * 0.1)", "np.multiply({w}, {v}) + {v}", "{v} - {v} + {w}",
            "tg.sqrt({v} * {v} + {w} * {w})",
        ]  # fmt: skip
        if self.wild:
            forms += ["{v} / {w}", "tg.where({v} > 0, tg.log({v}), {w})"]
        return self.choose(forms).format(v=v, w=w)

    def _mask(self) -> str:
        v = self.pick()
        w = self.number() if self.chance(0.4) else self.partner(self.shape(v))
        sign = self.choose([">", "<", ">=", "<=", "==", "!="])
        forms = [
            f"{v} * ({v} {sign} {w})", f"tg.where({v} {sign} {w}, {v}, 0.0)", f"({v} {sign} {w})",
            f"({v} {sign} {w}) & ({v} > 0)", f"~({v} {sign} {w})", f"tg.where({v} {sign} {w}, 1, {v} * 2)",
            f"np.where({v} > 0, {v}, 0.1 * {v})", f"np.maximum(0, {v})", f"({v} {sign} {w}).sum()",
            f"tg.where(~({v} {sign} {w}), tg.tanh({v}), {self.number()})",
            f"({v} {sign} {w}) * 1.0", f"({v} {sign} {w}).astype({v}.dtype)", f"tg.relu(tg.relu({v}) - 0.1)",
        ]  # fmt: skip
        if self.wild:
            forms += [
                f"tg.where({v} > 0, tg.sqrt({v}), 0.0)",
                f"tg.where({v} > 0, tg.log({v}), 0.0) * {v}",
            ]
        return self.choose(forms)

    def _movement(self) -> str:
        v = self.pick()
        shape = self.shape(v)
        rank = len(shape)
        order = tuple(int(i) for i in self.rng.permutation(rank))
        first, second = self.axes(rank, many=False), self.axes(rank, many=False)
        size = math.prod(shape)
        factors = [d for d in range(1, min(size, 12) + 1) if size % d == 0] or [1]
        factor = self.choose(factors)
        wide = "(" + "".join(f"{n}, " for n in (self.choose([2, 3]), *shape)) + ")"
        forms = [
            f"{v}.T", f"{v}.reshape(-1)", f"np.ravel({v})", f"{v}.reshape({factor}, -1)", f"{v}[None]",
            f"{v}.transpose({order})", f"np.swapaxes({v}, {first}, {second})", f"{v}[..., None]",
            f"np.expand_dims({v}, {int(self.rng.integers(-rank - 1, rank + 1))})",
            f"np.squeeze({v})", f"tg.flip({v}, {self.axes(rank)})", f"np.broadcast_to({v}, {wide})",
            f"tg.moveaxis({v}, {first}, {second})", f"{v}.reshape({shape[::-1]})", f"{v}.reshape({v}.shape)",
            f"{v}.T.T", f"{v}.reshape(({size // factor if factor else 0}, {factor})).T",
        ]  # fmt: skip
        return self.choose(forms)

    def _index(self) -> str:
        v = self.pick(lambda n: len(self.shape(n)) > 0)
        i = self.index()
        j = self.index()
        forms = [
            f"{v}[{i}]", f"{v}[1:]", f"{v}[::-1]", f"{v}[..., ::2]", f"{v}[:, {i}]", f"{v}[-1]", f"{v}[0]",
            f"{v}[{i}, {j}]", f"{v}[..., {i}]", f"{v}[:, None, 0]", f"{v}[np.arange(len({v})) % 2 == 0]",
            f"{v}[1:, ::-2]", f"{v}[{i}, 1:]", f"{v}[:1]", f"{v}[0:0]", f"{v}[..., -1:]", f"{v}[[0, 0]]",
            f"{v}[1 - {i}]", f"{v}[{i}][::-1]", f"{v}[None, {i}, ..., None]", f"{v}[:, {i}, {j}]", f"{v}[{i}, :, {j}]",
            f"{v}[np.array([True] + [False] * (len({v}) - 1))]", f"{v}[::-1][1:]",
        ]  # fmt: skip
        return self.choose(forms)

    def _reduction(self) -> str:
        v = self.pick()
        if self.chance(0.7):
            v = self.real()
        rank = len(self.shape(v))
        axis = self.axes(rank)
        keep = self.choose(["", ", keepdims=True"])
        forms = [
            f"{v}.sum({axis}{keep})", f"np.mean({v}, axis={axis}{keep})", f"tg.max({v}, {axis}{keep})",
            f"{v}.min({axis}{keep})", f"np.sum({v}, axis={axis}{keep})", f"tg.var({v}, {axis}{keep})",
            f"tg.std({v}, {axis}{keep})", f"tg.norm({v}, axis={self.axes(rank, many=False)}{keep})",
            f"tg.cumsum({v}, {self.axes(rank, many=False)})", f"tg.prod({v}, {axis}{keep})",
            f"({v} * {v}).sum({axis}{keep})", f"({v} - {v}.mean({axis}, keepdims=True))",
            f"np.mean({v})", f"{v}.sum()", f"tg.cumsum({v})", f"{v} / (1 + tg.abs({v}).sum({axis}, keepdims=True))",
        ]  # fmt: skip
        return self.choose(forms)

    def _product(self) -> str:
        v = self.real()
        shape = self.shape(v)
        if not shape:
            return f"np.dot({v}, {self.real()})"
        if self.chance(0.5):
            inner = shape[-1]
            make = self.parameter if self.chance(0.7) else self.constant
            turned = inner == self.batch
            other = [inner] if self.chance(0.2) else [inner, self.choose([1, 2, 3])]
            if turned:
                w = self.pick(
                    lambda n: self.is_float(n) and self.batch in self.shape(n)[-2:]
                )
            else:
                w = make(other)
        else:
            w = self.real()
        rank, last = len(shape), len(self.shape(w))
        forms = [f"{v} @ {w}"] * 3 + [
            f"np.dot({v}, {w})", f"{v} @ {w}.T", f"{v}.T @ {w}", f"{v}.T @ {v}", f"{v} @ {v}.T",
            f"tg.matmul({w}.T, {v}.T)", f"(2 * {v}) @ (-{w})", f"-({v}.T @ {w}.T)",
        ]  # fmt: skip
        patterns = [
            "...i,...i->...", "...i,...i", "i...,i...->...", "...,...->...",
        ]  # fmt: skip
        if rank == 2 and last == 2:
            patterns += [
                "ij,jk->ik",
                "ij,kj->ki",
                "ij,ik->jk",
                "ij,ij->",
                "ij,ij->j",
                "ij,jk",
                "ij,jk->",
            ]
        if rank == 2 and last == 1:
            patterns += ["ij,j->i", "ij,i->j", "ij,i->ij"]
        if rank == 1 and last == 1:
            patterns += ["i,j->ji", "i,i", "i,j->"]
        forms += [f"np.einsum('{p}', {v}, {w})" for p in patterns]
        if rank == 2:
            forms += [f"tg.einsum('{p}', {v})" for p in ("ij->ji", "ij->j", "ij->")]
        if rank == 2 and shape[0] == shape[1]:
            forms += [f"tg.einsum('{p}', {v})" for p in ("ii", "ii->i")]
        return self.choose(forms)

    def _join(self) -> str:
        v = self.pick()
        rank = len(self.shape(v))
        w = self.pick(lambda n: len(self.shape(n)) == rank)
        axis = self.axes(rank, many=False)
        forms = [
            f"tg.concatenate([{v}, {w}], axis={axis})", f"np.concatenate([{v}, {v} * 2, {w}], axis={axis})",
            f"tg.stack([{v}, {v}], axis={axis})", f"np.stack([{v}, {w}, {v}], axis=-1)",
            f"tg.concatenate([{v}, {w}], axis=None)", f"tg.stack([{v}, tg.tanh({v})])",
        ]  # fmt: skip
        return self.choose(forms)

    def _cast(self) -> str:
        v = self.pick()
        return self.choose(
            [f"{v}.astype(np.float64)", f"{v}.astype(np.float32)", f"{v}.astype(int)", f"{v}.astype(bool)",
             f"{v}.astype(np.float64) * 0.5", f"tg.astype({v})", f"{v}.astype(np.int32) / 2"]
        )  # fmt: skip

    def _spelled(self) -> str:
        v = self.real()
        axis = self.axes(len(self.shape(v)), many=False)
        w = self.partner(self.shape(v))
        return self.choose(
            [f"1 / (1 + np.exp(-{v}))", f"np.log(1 + np.exp({v}))", f"np.log(1 / (1 + np.exp(-{v})))",
             f"(np.exp({v}) - np.exp(-{v})) / (np.exp({v}) + np.exp(-{v}))", f"np.log(1 - tg.sigmoid({v}))",
             f"np.exp({v}) / np.sum(np.exp({v}), axis={axis}, keepdims=True)",
             f"np.log(np.sum(np.exp({v}), axis={axis}))", f"np.log(tg.softmax({v}))",
             f"-(({v} > 0) * np.log(tg.sigmoid({v})) + (1 - ({v} > 0)) * np.log(1 - tg.sigmoid({v})))",
             f"-({w} * np.log(tg.sigmoid({v})) + (1 - {w}) * np.log(1 - tg.sigmoid({v}))).mean()",
             f"{v} * tg.sigmoid({v})", f"tg.tanh({v}) * (1 - tg.tanh({v}) ** 2)"]
        )  # fmt: skip

    def dropout(self) -> None:
        gens = [n for n in self.space if n.startswith("gen")]
        if not gens or self.chance(0.3):
            name = self.fresh("gen")
            line = f"{name} = np.random.default_rng({self.seed})"
            exec(line, self.space)
            self.setup.append(line)
            gens.append(name)
        name = self.fresh("drop")
        line = f"{name} = tg.nn.Dropout({self.choose([0.3, 0.5, 0.0])}, rng={self.choose(gens)})"
        exec(line, self.space)
        self.setup.append(line)
        v = self.fresh("v")
        self.attempt(f"{v} = {name}({self.real()})", v)

    def model(self) -> None:
        """A line that runs layers."""
        models = [n for n in self.space if n.startswith("model")]
        v = self.real()
        if models and self.chance(0.5):
            name = self.choose(models)
        else:
            name = self.fresh("model")
            width = self.shape(v)[-1] if self.shape(v) else 1
            middle = self.choose(
                ["tg.nn.Tanh()", "tg.nn.ReLU()", "tg.nn.Sigmoid()", "tg.nn.Softplus()"]
            )
            line = (
                f"{name} = tg.nn.Sequential(tg.nn.Dense({width}, 3, rng=0), {middle}, "
                f"tg.nn.Dense(3, {self.choose([1, 2, 3])}, bias={self.chance(0.7)}, rng=1)"
                f"{self.choose(['', ', tg.nn.Softmax()', ', tg.nn.LogSoftmax()', ', tg.nn.Dropout(0.4, rng=2)'])})"
            )
            if width in (0, self.batch):
                return
            exec(line, self.space)
            self.setup.append(line)
        out = self.fresh("v")
        self.attempt(f"{out} = {name}({v})", out)

    def node(self) -> None:
        """One line that computes something."""
        if self.chance(0.02):
            self.model()
            return
        for _ in range(8):
            if self.chance(0.03):
                self.dropout()
                return
            name = self.fresh("v")
            line = f"{name} = {self.expression()}"
            if self.chance(0.03):
                if self.attempt(f"with tg.no_grad(): {line}", name):
                    return
            elif self.attempt(line, name) or self.dead:
                return

    def loss(self) -> str | None:
        """A line with a number that requires a gradient."""
        name = self.fresh("loss")
        for _ in range(12):
            v = self.pick(
                lambda n: (
                    self.is_float(n) and getattr(self.space[n], "requires_grad", False)
                )
            )
            shape = self.shape(v)
            s = str(tuple(1 if n == self.batch else n for n in shape))
            how = self.choose(["mean", "sum", "none"])
            end = ".mean()" if how == "none" else ""
            target = f"np.random.default_rng({self.seed}).normal(size={v}.shape).astype({v}.dtype)"
            truth = f"(np.arange({v}.size).reshape({v}.shape) % 3 == 0)"
            weight = ""
            if shape and self.chance(0.3):
                weight = f", sample_weight=np.arange(1.0, 1 + len({v}))"
            scale = self.choose(["", "", "0.1 * ", "-"])
            forms = [
                f"({v} ** 2).mean()", f"({v} * {v}).sum()", f"tg.tanh({v}).sum()", f"{v}.mean()", f"{v}.sum()",
                f"tg.losses.mse({v}, {target}, reduction={how!r}{weight}){end}",
                f"tg.losses.mae({v}, {target}, reduction={how!r}{weight}){end}",
                f"tg.losses.huber({v}, {target}, delta=0.7, reduction={how!r}{weight}){end}",
                f"tg.losses.binary_cross_entropy_with_logits({v}, {truth}, reduction={how!r}{weight}){end}",
                f"tg.losses.binary_cross_entropy(tg.sigmoid({v}), {truth}.astype(float), reduction={how!r}){end}",
                f"tg.losses.hinge({v}, 2 * {truth} - 1, reduction={how!r}{weight}){end}",
                f"-np.mean({truth} * np.log(tg.sigmoid({v})) + (1 - {truth}) * np.log(1 - tg.sigmoid({v})))",
                f"({v} - {v}.mean()).std() + ({v} * {s}[-1:].__len__()).sum()" if shape else f"{v} * {v}",
                f"tg.norm({v})", f"tg.logsumexp({v})", f"({v} * {self.partner(shape)}).mean()",
            ]  # fmt: skip
            if len(shape) == 2:
                labels = f"np.arange(len({v})) % {max(shape[1], 1)}"
                extra = self.choose(["", ", label_smoothing=0.1", weight])
                forms += [
                    f"tg.losses.cross_entropy({v}, {labels}, reduction={how!r}{extra}){end}"
                ] * 3
                forms += [
                    f"tg.losses.cross_entropy({v}, tg.softmax({self.partner(shape)} + 0 * {v}).detach())"
                ]
            if self.losses and self.chance(0.3):
                forms = [f"{self.choose(self.losses)} + {form}" for form in forms]
            params = [n for n in self.names if n.startswith("W")]
            if params and self.chance(0.15):
                forms = [
                    f"{form} + tg.losses.{self.choose(['l1', 'l2'])}([{self.choose(params)}], 0.1)"
                    for form in forms
                ]
            if self.attempt(f"{name} = {scale}{self.choose(forms)}", name):
                if self.dead:
                    return None
                x = self.space[name]
                if x.size == 1 and x.requires_grad:
                    self.losses.append(name)
                    return name
        return None

    def optimizer(self) -> str:
        name = self.fresh("opt")
        params = [
            n
            for n in self.names
            if n.startswith("W") and isinstance(self.space[n], tg.Parameter)
        ]
        models = [n for n in self.space if n.startswith("model")]
        if self.chance(0.3) and len(params) > 1:
            params = [
                params[int(i)]
                for i in self.rng.permutation(len(params))[: -(-len(params) // 2)]
            ]
        rate = self.choose(["0.05", "0.01", "0.1", "tg.optim.schedules.cosine(0.05, 5)",
                            "tg.optim.schedules.one_cycle(0.05, 4)", "0.0"])  # fmt: skip
        made = self.choose([
            "SGD({p}, {lr})", "SGD({p}, {lr}, momentum=0.9)", "SGD({p}, {lr}, momentum=0.5, nesterov=True)",
            "SGD({p}, {lr}, momentum=0.9, weight_decay=0.1, dampening=0.3)", "SGD({p}, {lr}, weight_decay=0.01)",
            "Adam({p}, {lr})", "Adam({p}, {lr}, beta1=0.5, weight_decay=0.1)", "AdamW({p}, {lr})",
            "RMSProp({p}, {lr})", "RMSProp({p}, {lr}, decay=0.5)", "AdaGrad({p}, {lr})", "AdaGrad({p}, {lr}, weight_decay=0.1)",
        ])  # fmt: skip
        more = [f"*{m}.parameters()" for m in models if self.chance(0.7)]
        text = made.format(p=f"[{', '.join([*params, *more])}]", lr=rate)
        line = f"{name} = tg.optim.{text}"
        exec(line, self.space)
        self.setup.append(line)
        self.optimizers.append(name)
        return name

    def train(self) -> None:
        """Lines that differentiate and update."""
        loss = self.loss()
        if loss is None or self.dead:
            return
        leaves = [n for n in self.names if n.startswith("W")]
        if not leaves:
            return
        if not self.optimizers or self.chance(0.25):
            self.optimizer()
        opt = self.choose(self.optimizers)
        kind = self.rng.random()
        if self.chance(0.15):
            self.attempt(f"{opt}.zero_grad()")
        w = self.choose(leaves)
        if kind < 0.4:
            self.attempt(f"{opt}.minimize({loss})")
        elif kind < 0.75:
            self.attempt(f"{loss}.backward()")
            if self.chance(0.25):
                self.attempt(f"{self.choose(self.losses)}.backward()")
            if self.chance(0.2):
                self.attempt(f"{self.choose(leaves)}.zero_grad()")
            if self.chance(0.4):
                clipped = (
                    f"[{', '.join(leaves)}]"
                    if self.chance(0.5)
                    else f"{opt}.parameters"
                )
                how = self.choose(["clip_by_norm", "clip_by_value"])
                line = f"tg.optim.{how}({clipped}, {self.choose([0.1, 0.5, 10.0])})"
                if how == "clip_by_norm" and self.chance(0.5):
                    line = f"{(norm := self.fresh('norm'))} = {line}"
                    if self.attempt(line):
                        self.extra.append(norm)
                else:
                    self.attempt(line)
            if self.chance(0.2):
                v = self.fresh("v")
                self.attempt(f"{v} = {w} * {self.choose(leaves)}.grad", v)
            if self.chance(0.1):
                self.attempt(f"{w}.grad = {w}.grad * 0.5")
            if self.chance(0.1):
                v = self.fresh("v")
                self.attempt(f"{v} = {loss} * {opt}.lr", v)
            if self.chance(0.8):
                self.attempt(f"{opt}.step()")
        elif kind < 0.9:
            g = self.fresh("g")
            others = [
                w,
                self.pick(
                    lambda n: isinstance(self.space[n], tg.Tensor) and self.is_float(n)
                ),
            ]
            self.attempt(
                f"{g} = tg.gradients({loss}, [{', '.join(others)}], unused='zero')"
            )
            if g in self.space and self.body and self.body[-1].startswith(g):
                for i in range(2):
                    v = self.fresh("v")
                    self.attempt(f"{v} = {g}[{i}]", v)
                if self.chance(0.5):
                    more = self.fresh("loss")
                    if self.attempt(
                        f"{more} = {loss} + 0.1 * ({g}[0] ** 2).sum()", more
                    ):
                        self.losses.append(more)
                        self.attempt(f"{opt}.minimize({more})")
                elif self.chance(0.5):
                    self.attempt(f"with tg.no_grad(): put({w}, {w} - 0.1 * {g}[0])")
                else:
                    self.attempt(f"with tg.no_grad(): {w} -= 0.1 * {g}[0]")
        else:
            v = self.real()
            f = self.choose(
                [
                    "lambda y: (tg.tanh(y) ** 2).sum()",
                    "lambda y: tg.logsumexp(y)",
                    "lambda y: (y * y * y).mean()",
                ]
            )
            name = self.fresh("v")
            if self.chance(0.2):
                k = self.choose(
                    [
                        "jacobian(lambda y: tg.tanh(y).sum(0))",
                        "hessian(lambda y: (y ** 3).sum())",
                    ]
                )
                self.attempt(f"{name} = tg.{k}({v}.detach())", name)
            elif self.chance(0.2):
                k = f"lambda y, z: (tg.tanh(y) * z).sum() + ({loss} * y).sum()"
                self.attempt(
                    f"{name} = tg.grad({k}, argnums=(0, 1))({v}, {self.partner(self.shape(v))})[0]",
                    name,
                )
            elif self.chance(0.2):
                self.attempt(
                    f"{name} = tg.jvp(lambda y: y * tg.exp(y * 0.1), [{v}.detach()], [{v}.detach() * 2])[1]",
                    name,
                )
            elif self.chance(0.5):
                self.attempt(f"{name} = tg.value_and_grad({f})({v}.detach())[1]", name)
            elif self.chance(0.5):
                self.attempt(
                    f"{name} = tg.hvp({f}, {v}.detach(), tg.tanh({v}).detach())", name
                )
            else:
                self.attempt(f"{name} = tg.grad({f})({v}.detach() * 2)", name)
        if self.chance(0.15):
            self.attempt(f"{self.choose(leaves)}.zero_grad()")

    def statistic(self) -> None:
        """A running average that the step assigns."""
        v = self.real()
        name = self.fresh("R")
        shape = tuple(1 if n == self.batch else n for n in self.shape(v))
        line = f"{name} = tg.Tensor(np.zeros({shape}, '{np.asarray(self.value(v)).dtype}'))"
        self.prepare(line, name)
        axes = tuple(i for i, n in enumerate(self.shape(v)) if n == self.batch)
        new = f"{v}.mean({axes}, keepdims=True)" if axes else v
        self.attempt(f"with tg.no_grad(): put({name}, 0.9 * {name} + 0.1 * {new})")

    # --- the whole ---

    def case(self) -> Case:
        for _ in range(int(self.rng.integers(1, 4))):
            self.argument()
        for _ in range(int(self.rng.integers(1, 4))):
            self.parameter(self.some_shape())
        if self.chance(0.05):
            self.siblings()
        if self.chance(0.4):
            self.constant(self.some_shape())
        static = self.chance(0.1)
        if static:
            self.bring("k", "2 + i % 2")
            self.names.remove("k")
            self.attempt(f"{(v := self.fresh('v'))} = {self.real()} * k", v)
        if self.chance(0.1):
            self.bring(
                "nest",
                "{'a': rng.normal(size=(n, 3)), 'b': [rng.integers(0, 2, 3), (None, 'word')]}",
            )
            self.names.remove("nest")
            self.attempt(f"{(v := self.fresh('v'))} = nest['a'] * nest['b'][0]", v)
        count = int(self.choose([2, 4, 6, 10, 15, 25, 40]))
        for i in range(count):
            if self.dead:
                break
            self.node()
            if self.chance(0.02):
                self.statistic()
            if i == count // 2 and self.chance(0.3):
                self.train()
            if self.chance(0.01):
                self.train()
        if not self.dead and self.chance(0.85):
            self.train()
        for _ in range(int(self.choose([0, 0, 0, 1, 3]))):
            if not self.dead:
                self.node()
        if not self.dead and self.chance(0.15):
            self.train()
        return Case(
            seed=self.seed,
            setup=tuple(self.setup),
            arguments=tuple(self.arguments),
            body=tuple(self.body) or ("pass",),
            results=tuple(self.results()),
            actions=tuple(self.actions()),
            exact=self.exact,
            backend=self.backend,
        )

    def results(self) -> list[str]:
        tensors = [n for n in self.names if isinstance(self.space.get(n), tg.Tensor)]
        found: list[str] = list(self.losses[-2:])
        for _ in range(int(self.rng.integers(0, 5))):
            v = self.choose(tensors[-8:] if self.chance(0.6) else tensors)
            found.append(
                self.choose(
                    [
                        v,
                        v,
                        v,
                        f"{v}.T",
                        f"({v}, {v})",
                        f"{{'a': {v}, 'b': [{v}.reshape(-1)]}}",
                        "None",
                        "3",
                        "{'x': (1.5, 'two', True)}",
                        f"{v}[None]",
                        f"tg.flip({v})",
                        "()",
                        f"{v} * 1",
                    ]
                )
            )
        if self.extra and self.chance(0.6):
            found.append(self.choose(self.extra))
        leaves = [n for n in self.names if n.startswith("W")]
        if leaves and self.chance(0.15):
            found.append(f"{self.choose(leaves)}.grad")
        if self.optimizers and self.chance(0.1):
            found.append(f"{self.choose(self.optimizers)}.lr")
        return found

    def actions(self) -> list[Action]:
        leaves = [n for n in self.names if n.startswith("W")]
        found: list[Action] = []
        calls = 0
        n = self.batch
        while calls < int(self.rng.integers(3, 7)):
            kind = self.rng.random()
            if kind < 0.5:
                found.append(("call", calls, n))
                calls += 1
            elif kind < 0.62:
                found.append(("eager", calls, n))
                calls += 1
            elif kind < 0.68:
                found.append(("repeat", calls, n, int(self.rng.integers(1, 4))))
                calls += 1
            elif kind < 0.69:
                found.append(("quiet", calls, n))
                calls += 1
            elif kind < 0.73 and self.batch == BATCH:
                n = self.choose([1, 2, 4, 4, 7])
            elif kind < 0.8 and leaves:
                found.append(("keep", f"{self.choose(leaves)}.grad"))
            elif kind < 0.84:
                found.append(("look",))
            elif kind < 0.88 and leaves:
                w = self.choose(leaves)
                found.append(("do", f"{w}.data = {w}.data * 0.5"))
            elif kind < 0.9 and leaves:
                found.append(("do", f"{self.choose(leaves)}.zero_grad()"))
            elif kind < 0.92 and leaves:
                w = self.choose(leaves)
                found.append(("do", f"({w} * {w}).sum().backward()"))
            elif kind < 0.95 and self.optimizers:
                found.append(("do", f"{self.choose(self.optimizers)}.lr = 0.03"))
            elif kind < 0.96 and self.optimizers:
                opt = self.choose(self.optimizers)
                found.append(("do", f"{opt}.load_state({opt}.state())"))
            elif kind < 0.98:
                arrays = [
                    c
                    for c in self.names
                    if c.startswith("C") and isinstance(self.space[c], np.ndarray)
                ]
                c = self.choose(arrays) if arrays else ""
                # What no Tensor meets is computed while the step is traced.
                alone = rf"-{c}\b|\(\S*{c}\b|\b{c}[.\[)]|\b{c} \S+ [\d(C]|[\d)] \S+ {c}\b|\bC\d+ \S+ {c}\b"
                if arrays and not re.search(alone, "\n".join(self.body)):
                    found.append(("do", f"{c}[...] = {c}[...] * 0"))
            else:
                drops = [d for d in self.space if d.startswith(("drop", "model"))]
                if drops:
                    found.append(
                        ("do", f"{(d := self.choose(drops))}.train(not {d}.training)")
                    )
        return found


def made(
    seed: int, *, exact: bool = True, backend: str = "numpy", large: float = 0.01
) -> Case:
    """Make the case of a seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Maker(seed, exact=exact, backend=backend, large=large).case()


# --- making smaller ----------------------------------------------------------------------


def smaller(case: Case, kind: str, seconds: float = 60.0) -> Case:
    """Drop whatever the difference does not need."""
    end = time.monotonic() + seconds

    def still(other: Case) -> bool:
        try:
            with contextlib.redirect_stdout(None):
                found = differs(other)
        except Exception:  # noqa: BLE001 (a case that does not even start)
            return False
        return found is not None and found.kind == kind

    changed = True
    while changed and time.monotonic() < end:
        changed = False
        for part in ("actions", "results", "body", "setup", "arguments"):
            size = max(1, len(getattr(case, part)) // 2)
            while size:
                at = 0
                while at < len(getattr(case, part)) and time.monotonic() < end:
                    items = getattr(case, part)
                    other = replace(case, **{part: items[:at] + items[at + size :]})
                    if (part != "body" or other.body) and still(other):
                        case, changed = other, True
                        continue
                    at += size
                size //= 2
    return case


def main() -> None:
    """Run many seeds; print what falls out, made smaller."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--ways", default="exact,near")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--large", type=float, default=0.01)
    parser.add_argument("--show", action="store_true")
    settings = parser.parse_args()
    end = time.monotonic() + settings.seconds
    ended: dict[str, int] = {}
    failures: dict[str, int] = {}
    for seed in range(settings.seed, settings.seed + settings.count):
        if time.monotonic() > end:
            break
        for way in settings.ways.split(","):
            try:
                case = made(
                    seed,
                    exact=way == "exact",
                    backend=settings.backend,
                    large=settings.large,
                )
            except Exception:  # noqa: BLE001 (a fault of the generator)
                ended["no case"] = ended.get("no case", 0) + 1
                if settings.show:
                    traceback.print_exc()
                continue
            if settings.show:
                print(case.report())
            try:
                how = run(case)
            except Difference as found:
                how = f"DIFFERENT {found.kind}"
                failures[found.kind] = failures.get(found.kind, 0) + 1
                if failures[found.kind] <= 6:
                    small = smaller(case, found.kind, 20)
                    print("=" * 90)
                    print(str(differs(small) or found)[:1500])
                    print(small.report(), flush=True)
            except Exception:  # noqa: BLE001 (a fault of the generator)
                how = "broken case"
                traceback.print_exc()
            ended[how] = ended.get(how, 0) + 1
    print(seed, ended, flush=True)


if __name__ == "__main__":
    main()
