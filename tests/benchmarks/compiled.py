"""One training step, compiled and otherwise, against the hand-written NumPy step.

    python tests/benchmarks/compiled.py [--rounds 40] [--only flower,images]
        [--contenders "jax.jit,ours numpy"] [--memory] [--compile-time]
        [--write docs/performance.md]

One process, one core, contenders in turn; every figure is the median over rounds of
hand / x, the time of the hand-written step by that of contender x in the same round:
2.00 is twice as fast as NumPy by hand. Before any timing, contenders must agree. The
script unsets every OPENBLAS_* variable, sets one thread, and starts itself again.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import math
import os
import platform
import statistics
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}

WANTED = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
WANTED |= ONE_THREAD

if __name__ == "__main__" and dict(os.environ) != WANTED:
    # Thread pools take their size from the affinity, which the new process inherits.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.execve(sys.executable, [sys.executable, *sys.argv], WANTED)

import models  # noqa: E402 (after the new start)
import numpy as np  # noqa: E402 (after the new start)

import tinygrad_nn as tg  # noqa: E402 (after the new start)

HAND = "hand"
LIMIT = "np.dot alone"
BLOCK_SECONDS = 0.004
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-4}
COMMAND = "python tests/benchmarks/compiled.py --write docs/performance.md"
BACKENDS = ("numpy", "c", "jax")


class Result(NamedTuple):
    """What was measured on one model: seconds by hand, hand / x, products' share."""

    model: models.Model
    seconds: float
    ratios: dict[str, float]
    of_limit: dict[str, float]
    differences: dict[str, float]


class Figure(NamedTuple):
    """One further figure: what, how much, in words."""

    what: str
    value: str


# --- who takes part, and whether they agree ----------------------------------------


def make(model, names):
    """Return the contenders that can be made, and why others cannot."""
    made, skipped = {}, {}
    for name in names:
        if name.startswith("ours ") and name != "ours eager" and not has_compile():
            skipped[name] = "tg.compile does not exist yet"
            continue
        try:
            contender = models.CONTENDERS[name](model)
            contender.step  # noqa: B018 (made, not yet run: `disagreement` runs it)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is printed)
            skipped[name] = reason(error)
        else:
            made[name] = contender
    return made, skipped


def has_compile():
    return hasattr(tg, "compile")


def reason(error):
    """Return an error as one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {textwrap.shorten(lines[0], 160)}"


def outcomes(contender, steps=3):
    """Return what each of the first steps arrived at, as float64 copies."""
    return [
        [np.array(value, np.float64) for value in contender.outcome(contender.step())]
        for _ in range(steps)
    ]


def difference(theirs, ours):
    """Return the largest relative difference, max|a - b| / max|b| of an array."""
    worst = 0.0
    for step_a, step_b in zip(theirs, ours, strict=True):
        for a, b in zip(step_a, step_b, strict=True):
            if a.shape != b.shape:
                return math.inf
            scale = np.max(np.abs(b)) or 1.0
            apart = float(np.max(np.abs(a - b)) / scale)
            worst = max(worst, math.inf if math.isnan(apart) else apart)
    return worst


def agreed(model, made):
    """Keep the contenders whose first steps equal those by hand; say why not."""
    truth = outcomes(made[HAND])
    kept, refused, differences = {}, {}, {}
    for name, contender in made.items():
        if name == HAND:
            kept[name] = contender
            continue
        try:
            apart = difference(outcomes(contender), truth)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is printed)
            refused[name] = reason(error)
            continue
        differences[name] = apart
        if apart <= TOLERANCE[model.dtype]:
            kept[name] = contender
        else:
            refused[name] = f"DISAGREES with the hand-written step by {apart:.1e}"
    return kept, refused, differences


# --- measuring ---------------------------------------------------------------------


def times_in_turn(steps, rounds):
    """Return seconds a call, {name: one for each round}, contenders in turn.

    Each gets a block of calls of a few milliseconds, after one call that is not timed
    and brings its arrays back into the cache; every round starts with another one.
    Seconds are those of the processor, for all threads of this process: the same as
    by the clock on the wall, unless another program wants the core as well.
    """
    clock = time.process_time
    names = list(steps)
    counts = {}
    for name, step in steps.items():
        step()
        begin = clock()
        step()
        counts[name] = max(1, int(BLOCK_SECONDS / (clock() - begin)))
    times = {name: [] for name in names}
    # What is alive now (graphs of torch and JAX above all) is nobody's garbage.
    gc.collect()
    gc.freeze()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            step, count = steps[name], range(counts[name])
            step()
            begin = clock()
            for _ in count:
                step()
            times[name].append((clock() - begin) / len(count))
    gc.unfreeze()
    return times


def raise_thresholds():
    """Free one large array, as every program does that has read data.

    glibc gives memory back to the system, and takes it again page by page, until it
    has seen a large block freed; before that, a step whose arrays have 100 kB takes up
    to four times as long, or not, by chance.
    """
    np.ones(31 << 17)


def ratio(times, over, under):
    """Return the median of per-round ratios of two contenders."""
    pairs = zip(times[over], times[under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def measured(model, names, rounds, problems):
    """Return the `Result` of one model; problems, by contender, are noted."""
    raise_thresholds()
    made, skipped = make(model, names)
    kept, refused, differences = agreed(model, made)
    for name, why in (skipped | refused).items():
        problems.setdefault(name, {})[model.title] = why
    steps = {name: contender.step for name, contender in kept.items()}
    if model.sizes:
        steps[LIMIT] = models.products(model)
    times = times_in_turn(steps, rounds)
    final = np.array(kept[HAND].outcome(kept[HAND].step())[0])
    if not np.isfinite(final):
        problems.setdefault(HAND, {})[model.title] = "the loss became nan or inf"
    return Result(
        model,
        statistics.median(times[HAND]),
        {name: ratio(times, HAND, name) for name in kept},
        {name: ratio(times, LIMIT, name) for name in kept} if model.sizes else {},
        differences,
    )


def calibration():
    """Microseconds of one np.tanh of 400 numbers: a yardstick for absolute times."""
    x = np.linspace(-1, 1, 400)
    times = times_in_turn({"tanh": lambda: np.tanh(x)}, 20)["tanh"]
    return statistics.median(times) * 1e6


# --- memory ------------------------------------------------------------------------


def allocated(step):
    """Return all bytes that a step allocates, and its largest single allocation.

    Between two of the interpreter's operations the traced memory can rise to a peak;
    what the peaks add up to is what was allocated, freed again or not.
    """
    total = largest = before = 0

    def watch(frame, event, argument):
        nonlocal total, largest, before
        frame.f_trace_opcodes = True
        now, peak = tracemalloc.get_traced_memory()
        rise = peak - before
        # Python's own objects (a float, a frame) are no arrays.
        if rise > 512:
            total += rise
            largest = max(largest, rise)
        tracemalloc.reset_peak()
        before = now
        return watch

    step()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sys.settrace(watch)
    try:
        step()
    finally:
        sys.settrace(None)
        tracemalloc.stop()
    return total, largest


def peak_of(step, calls=20):
    """Return the most bytes alive above the start in a steady step, and its growth."""
    for _ in range(3):
        step()
    gc.collect()
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(calls):
            step()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before, after - before


def memory_figures():
    """Return bytes planned against bytes allocated, on 784-256-128-10 with Adam."""
    model = next(m for m in models.MODELS if m.update == "adam")
    title = model.title
    hand = models.hand(model).step
    eager = models.ours_eager(model).step
    eager_total, _ = allocated(eager)
    eager_peak, _ = peak_of(eager)
    figures = [
        Figure(f"{title}: a step by hand allocates", size(allocated(hand)[0])),
        Figure(f"{title}: an eager step allocates", size(eager_total)),
        Figure(f"{title}: of these alive at once, at most", size(eager_peak)),
    ]
    if not has_compile():
        return [*figures, Figure("a compiled step", "skipped: tg.compile is missing")]
    for backend in BACKENDS[:2]:
        step, arguments, _ = models.our_step(model)
        try:
            compiled = tg.compile(step, backend=backend)
            compiled(*arguments)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is printed)
            figures.append(Figure(f"backend {backend}", f"skipped: {reason(error)}"))
            continue
        call = lambda: compiled(*arguments)  # noqa: B023 (called in this turn only)
        figures += planned_figures(compiled, backend, eager_total)
        peak, growth = peak_of(call)
        total, largest = allocated(call)
        figures += [
            Figure(
                f"{backend}: a steady step allocates, results included",
                f"{total:,} bytes in pieces of at most {largest:,}; "
                f"{peak:,} alive at once; {growth:,} more after 20 steps",
            ),
        ]
    return figures


def planned_figures(compiled, backend, eager_total):
    """Return what `step.memory` says."""
    memory = getattr(compiled, "memory", None)
    planned = getattr(memory, "planned", None)
    if planned is None:
        return [Figure(f"{backend}: step.memory", f"{memory}")]
    return [
        Figure(
            f"{backend}: bytes planned, by bytes an eager step allocates",
            f"{size(planned)}: {planned / eager_total:.3f}",
        ),
        Figure(f"{backend}: step.memory", f"{memory}"),
    ]


def size(count):
    """Return bytes for people."""
    return f"{count / 1e6:,.2f} MB"


# --- time to compile ---------------------------------------------------------------


def deep_network(layers=10, width=32):
    """Return a step of a network of dense layers, and its arguments."""
    rng = np.random.default_rng(0)
    weights = [
        tg.Parameter(rng.normal(size=(width, width)) / math.sqrt(width), name=f"W{k}")
        for k in range(1, layers + 1)
    ]
    biases = [
        tg.Parameter(np.zeros((width, 1)), name=f"b{k}") for k in range(1, layers + 1)
    ]
    optimizer = tg.optim.SGD([*weights, *biases], lr=0.01)

    def step(X, Y):
        A = X
        for W, b in zip(weights, biases, strict=True):
            A = np.tanh(np.dot(W, A) + b)
        loss = np.mean((A - Y) ** 2)
        optimizer.minimize(loss)
        return loss

    X = rng.normal(size=(width, 64))
    return step, (X, np.tanh(X))


def long_graph(nodes):
    """Return a function that records that many nodes, and its argument."""

    def f(x):
        y = x
        for _ in range(nodes // 2):
            y = np.sin(y) + x
        return y

    return f, (np.linspace(-1.0, 1.0, 8),)


def compile_seconds(function, arguments, backend, repeats=3):
    """Return the shortest time of compiling and the first call."""
    best = math.inf
    for _ in range(repeats):
        begin = time.perf_counter()
        tg.compile(function, backend=backend)(*arguments)
        best = min(best, time.perf_counter() - begin)
    return best


def compile_time_figures():
    """Return seconds to compile: a network of 10 layers, graphs of many nodes."""
    if not has_compile():
        return [Figure("time to compile", "skipped: tg.compile is missing")]
    figures = []
    for backend in BACKENDS:
        try:
            step, arguments = deep_network()
            # The first call of all pays for imports, which are not compiling.
            tg.compile(lambda x: np.sin(x) + 1, backend=backend)(np.zeros(3))
            seconds = compile_seconds(step, arguments, backend)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is printed)
            figures.append(Figure(f"backend {backend}", f"skipped: {reason(error)}"))
            continue
        figures.append(
            Figure(f"{backend}: a step of a 10-layer network", f"{seconds:.3f} s")
        )
        if backend != "numpy":
            continue
        few = compile_seconds(*long_graph(1_000), backend)
        many = compile_seconds(*long_graph(10_000), backend, repeats=1)
        law = 10 * math.log(10_000) / math.log(1_000)
        figures += [
            Figure(f"{backend}: a graph of 1,000 nodes", f"{few:.3f} s"),
            Figure(
                f"{backend}: a graph of 10,000 nodes",
                f"{many:.3f} s, {many / few:.1f} times as long (n log n: {law:.1f})",
            ),
        ]
    return figures


# --- saying it ---------------------------------------------------------------------


def machine():
    """Return what ran: versions, processor, BLAS and its kernel, threads."""
    from threadpoolctl import threadpool_info

    pools = [
        f"{pool['internal_api']} {pool['version']}, kernel {pool['architecture']}, "
        f"{pool['num_threads']} thread"
        for pool in threadpool_info()
        if pool["user_api"] == "blas" and "numpy" in pool["filepath"]
    ]
    found = {d.name.lower(): d.version for d in metadata.distributions()}
    versions = [f"Python {platform.python_version()}"] + [
        f"{package} {found.get(package, 'missing')}"
        for package in ("numpy", "torch", "jax", "autograd", "mygrad")
    ]
    return [
        Figure("versions", ", ".join(versions)),
        Figure("NumPy's BLAS", "; ".join(pools) or "unknown to threadpoolctl"),
        Figure("processor", f"{processor()}, pinned to one core"),
        Figure("calibration", f"np.tanh of 400 numbers takes {calibration():.2f} us"),
    ]


def processor():
    """Return the processor's name, and its widest vectors."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(
        [part.strip() for part in line.split(":", 1)]
        for line in text.split("\n\n")[0].splitlines()
        if ":" in line
    )
    flags = fields.get("flags", "").split()
    wide = next((f for f in ("avx512f", "avx2", "avx") if f in flags), "no avx")
    return f"{fields.get('model name', platform.machine())} ({wide})"


def summary(results, name):
    """Return the geometric mean and minimum of hand / x, or None off the table."""
    ratios = [r.ratios[name] for r in results if name in r.ratios]
    if len(ratios) < len(results):
        return None
    return statistics.geometric_mean(ratios), min(ratios)


def columns_of(results, names):
    """Return the contenders of a table, in order: those that ran somewhere."""
    return [name for name in names if any(name in r.ratios for r in results)]


def cell(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def ratio_rows(results, names):
    """Return the table of hand / x, its heading first, as text."""
    names = columns_of(results, names)
    rows = [["hand / x", "hand, us", *names[1:]]]
    rows += [
        [
            result.model.title,
            f"{result.seconds * 1e6:,.1f}",
            *(cell(result.ratios.get(name)) for name in names[1:]),
        ]
        for result in results
    ]
    if len(results) > 1:
        sums = [summary(results, name) for name in names[1:]]
        for place, title in enumerate(["geometric mean", "minimum"]):
            rows.append([title, "", *(cell(s and s[place]) for s in sums)])
    return rows


def limit_rows(results, names):
    """Return the table of products / x: what share of a step BLAS must take."""
    names = columns_of(results, names)
    return [["np.dot alone / x", *names]] + [
        [
            result.model.title,
            *(cell(result.of_limit.get(name)) for name in names),
        ]
        for result in results
        if result.of_limit
    ]


def plain(rows):
    """Return a table for the terminal."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (f"{text:>{w}}" for text, w in zip(row, widths, strict=True))
        lines.append("  ".join([row[0].ljust(len(first)), *rest]))
    return "\n".join(lines)


def markdown(rows):
    """Return a table for a page."""
    head, *body = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *body])


def promise_rows(results):
    """Return what was promised of a compiled step, beside what was measured."""
    if len(results) < len(models.MODELS):
        return []
    rows = [["promise", "measured", ""]]

    def add(words, measured, kept):
        rows.append([words, measured, "kept" if kept else "MISSED"])

    for name, mean, least in (("ours numpy", 1.7, 1.0), ("ours c", 3.0, 1.1)):
        if got := summary(results, name):
            words = f"{name}: hand / x, geometric mean ≥ {mean} and minimum ≥ {least}"
            kept = got[0] >= mean and got[1] >= least
            add(words, f"{got[0]:.2f} and {got[1]:.2f}", kept)
    peers = ["torch", "torch.compile", "autograd", "mygrad"]
    against = {
        "ours numpy": peers,
        "ours c": [*peers, "jax.jit", "ours numpy", "ours jax"],
    }
    for name, peers in against.items():
        margins = {
            f"{peer}, {r.model.title}": r.ratios[name] / r.ratios[peer]
            for r in results
            for peer in peers
            if peer in r.ratios and name in r.ratios
        }
        if margins:
            closest = min(margins, key=margins.get)
            words = f"{name}: ahead of {', '.join(peers)} on every model"
            margin = margins[closest]
            add(words, f"closest: {margin:.2f} ({closest})", margin > 1)
    jax, ours_jax = summary(results, "jax.jit"), summary(results, "ours jax")
    ours_numpy = summary(results, "ours numpy")
    if jax and ours_numpy:
        words = "ours numpy: ahead of jax.jit in the geometric mean"
        add(words, f"{ours_numpy[0] / jax[0]:.2f}", ours_numpy[0] > jax[0])
    if jax and ours_jax:
        worst = max(r.ratios["jax.jit"] / r.ratios["ours jax"] for r in results)
        words = "ours jax: time within 1.1 of jax.jit by hand, on every model"
        add(words, f"worst {worst:.2f}", worst <= 1.1)
    bound = [r for r in results if r.of_limit.get(HAND, 0) > 0.5]
    shares = [r.of_limit["ours c"] for r in bound if "ours c" in r.of_limit]
    if shares:
        words = "ours c: ≥ 0.9 of the BLAS limit where products are most of the step"
        text = ", ".join(f"{share:.2f}" for share in shares)
        add(words, text, min(shares) >= 0.9)
    return rows if len(rows) > 1 else []


def hand_source():
    """Return the source of the hand-written steps."""
    functions: list[Callable[..., Any]] = [
        models.hand_flower,
        models.hand_weather,
        models.hand_images,
        models.hand_digits,
        models.hand_sgd,
        models.hand_adam,
        models.hand_expression,
    ]
    return "\n\n".join(inspect.getsource(function).rstrip() for function in functions)


def problem_lines(problems, count):
    """Return who did not take part where, and why, of `count` models."""
    lines = []
    for name, by_model in problems.items():
        shared = {}
        for title, why in by_model.items():
            shared.setdefault(why, []).append(title)
        for why, titles in shared.items():
            where = "" if len(titles) == count else f", {'; '.join(titles)}"
            lines.append(f"{name}{where}: {why}")
    return lines


PAGE = """\
# Performance

Written by `tests/benchmarks/compiled.py`; every figure was measured in one run on one
machine. Run it again, on yours:

```console
pip install '.[benchmark]'
{command}
```

## How to read it

A row is a training step: forward, backward and update. **hand / x** is the time of the
step as a competent person writes it in NumPy, by the time of contender x: 2.00 is twice
as fast as by hand, 0.50 half as fast. The hand-written step has no `out=`, computes
nothing twice, and changes parameters in place; its lines, and those of every contender,
are in [`tests/benchmarks/models.py`](../tests/benchmarks/models.py).

- One process, one core, one thread, no `OPENBLAS_*` setting. Contenders run in turn, in
  blocks of a few milliseconds after one call that is not timed; each figure is the
  median over {rounds} rounds of the ratio within the round, so that a machine whose
  speed drifts does not favour anybody. Seconds are the processor's, for all threads of
  the process, so that other programs do not count. Compare ratios; microseconds are
  those of a machine that needs {calibration} for `np.tanh` of 400 numbers.
- Before the timing every contender makes three steps from the same start, and its loss
  and parameters after each must equal those of the hand-written step: to 1e-9 where
  numbers are float64 and 1e-4 where they are float32 (max|a-b| / max|b| of an array).
  The largest differences met: {differences}. A contender that differs by more is not
  timed.
- Every peer is written as its users would who want it fast: `torch` with fused losses
  and fused Adam, `torch.compile` and `jax.jit` of the whole step (what it changes is
  donated; dispatch is synchronous, which is faster on one core), their data converted
  to their own arrays beforehand. `autograd` and `mygrad` share the hand-written update.
  Ours is given NumPy arrays at every call.
- Before each model one large array is freed, as in every program that has read data:
  until then glibc returns memory to the system, and takes it again page by page, at
  every step of some contenders and not of others.
- *ours eager* records a graph at every step; *ours numpy*, *c* and *jax* are the same
  function given to `tg.compile`, by backend.

## The table

{ratios}

{problems}{promises}## How near to the limit

The same products by `np.dot` and nothing else, by the time of the whole step: 1.00
would be a step whose every other operation is free. Above 1.00, small products are
computed faster than by NumPy's BLAS.

{limits}

## Memory

{memory}

Allocations are counted between any two operations of the interpreter (`tracemalloc`).

## Time to compile

{compile_time}

Tracing, all passes and the first call, after one smaller compilation.

## The machine

{machine}
"""


def page(results, names, problems, environment, rounds):
    """Return the text of the page; everything on it is measured now."""
    worst = {}
    for result in results:
        key = np.dtype(result.model.dtype).name
        kept = [result.differences[n] for n in result.ratios if n != HAND]
        worst[key] = max([worst.get(key, 0.0), *kept])
    bullets = lambda figures: "\n".join(f"- {f.what}: {f.value}" for f in figures)
    absent = problem_lines(problems, len(results))
    rows = promise_rows(results)
    return PAGE.format(
        command=COMMAND,
        rounds=rounds,
        calibration=environment[-1].value.split(" takes ")[1],
        differences=", ".join(f"{v:.1e} in {k}" for k, v in worst.items()),
        ratios=markdown(ratio_rows(results, names)),
        problems="Not on the table:\n\n"
        + "\n".join(f"- {line}" for line in absent)
        + "\n\n"
        if absent
        else "",
        promises=f"{markdown(rows)}\n\n" if rows else "",
        limits=markdown(limit_rows(results, names)),
        memory=bullets(memory_figures()),
        compile_time=bullets(compile_time_figures()),
        machine=bullets(environment),
    )


def chosen(options, parser):
    """Return the models and the names of contenders that were asked for."""
    parts = options.only.split(",") if options.only else [""]
    wanted = [m for m in models.MODELS if any(part in m.title for part in parts)]
    names = list(models.CONTENDERS)
    if options.contenders:
        asked = [name.strip() for name in options.contenders.split(",")]
        if unknown := set(asked) - set(names):
            parser.error(f"no contender {sorted(unknown)}: choose from {names}")
        names = [HAND, *(n for n in names if n in asked and n != HAND)]
    if not wanted:
        parser.error(f"no model {options.only!r}: {[m.title for m in models.MODELS]}")
    if options.write and (options.only or options.contenders):
        parser.error("--write needs all models and contenders")
    return wanted, names


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", help="parts of models' names, with commas between")
    parser.add_argument("--contenders", help="names, with commas between")
    parser.add_argument("--memory", action="store_true", help="bytes only")
    parser.add_argument("--compile-time", action="store_true", help="seconds only")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page too")
    options = parser.parse_args()
    wanted, names = chosen(options, parser)

    environment = machine()
    for figure in environment:
        print(f"{figure.what}: {figure.value}")
    if options.memory or options.compile_time:
        figures = memory_figures() if options.memory else []
        figures += compile_time_figures() if options.compile_time else []
        for figure in figures:
            print(f"{figure.what}: {figure.value}")
        return 0

    print(f"\n{hand_source()}\n")
    results, problems = [], {}
    for model in wanted:
        result = measured(model, names, options.rounds, problems)
        results.append(result)
        print(f"{model.title}: by hand {result.seconds * 1e6:,.1f} us; differences")
        for name, apart in result.differences.items():
            print(f"    {name:14} {apart:.1e}")
    for line in problem_lines(problems, len(results)):
        print(f"skipped {line}")
    for rows in (
        ratio_rows(results, names),
        limit_rows(results, names),
        promise_rows(results),
    ):
        if len(rows) > 1:
            print(f"\n{plain(rows)}")
    if options.write:
        text = page(results, names, problems, environment, options.rounds)
        options.write.write_text(text, "utf-8")
    wrong = any("DISAGREES" in why for by in problems.values() for why in by.values())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
