"""What is measured, and the process that measures it.

The text of this file is run by a fresh interpreter whose environment is the one to be
tried (see `trials`), so it imports nothing but NumPy and the standard library. The
process gets ready, says which BLAS it has, and then measures once for every line that
it reads.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple, final

import numpy as np

__all__ = ["GROUPS", "Task", "blas_in_use", "main", "seconds"]

LEAST = 0.005
"""Seconds that one measurement takes at the least: shorter work is repeated."""

PAUSE = 0.03
"""Seconds of rest after measuring, until the threads of a product stop spinning and
the next process has the cores for itself."""

SIDE = 512
SMALL, MIDDLE, LARGE = 10**4, 10**5, 10**6
HUGE = 5 * 10**6
"""40 MB in float64: more than the C library ever keeps for reuse by itself."""

Work = Callable[[], Any]


@final
class Task(NamedTuple):
    """Some work, how much it is, and in what unit its rate is told."""

    name: str
    amount: float
    unit: str
    make: Callable[[], Work]

    def rate(self, seconds: float) -> float:
        """Return work per time where that is the unit, else time per work.

        >>> Task("nothing", 6.0, "GB/s", lambda: None).rate(2.0)
        3.0
        >>> Task("nothing", 6.0, "ns a number", lambda: None).rate(2.0)
        0.3333333333333333
        """
        return self.amount / seconds if "/s" in self.unit else seconds / self.amount


def _product(n: int, k: int, m: int, dtype: str) -> Task:
    def make() -> Work:
        rng = np.random.default_rng(0)
        A = rng.normal(size=(n, k)).astype(dtype)
        B = rng.normal(size=(k, m)).astype(dtype)
        out = np.empty((n, m), dtype)
        return lambda: np.dot(A, B, out)

    name = f"product ({n}, {k}) x ({k}, {m}) {dtype}"
    return Task(name, 2e-9 * n * k * m, "GFLOP/s", make)


def _numbers(n: int) -> np.ndarray[Any, np.dtype[Any]]:
    return np.linspace(-4.0, 4.0, n)


def _exp(n: int) -> Task:
    def make() -> Work:
        Z, out = _numbers(n), np.empty(n)
        return lambda: np.exp(Z, out)

    return Task(f"exp of {n:,} numbers", 1e-9 * n, "ns a number", make)


def _add(n: int) -> Task:
    def make() -> Work:
        Z, other, out = _numbers(n), _numbers(n), np.empty(n)
        return lambda: np.add(Z, other, out)

    # Two arrays are read and one is written.
    return Task(f"add of {n:,} numbers", 24e-9 * n, "GB/s", make)


def _fresh(n: int) -> Task:
    """Make the task of what eager code does: every result is a new array."""

    def make() -> Work:
        Z = _numbers(n)

        def work() -> Any:
            A = 1 / (1 + np.exp(-Z))
            return A * (1 - A)

        return work

    return Task(
        f"sigmoid and slope, new arrays of {n:,}", 1e-9 * n, "ns a number", make
    )


def _fill(*, fresh: bool) -> Task:
    def make() -> Work:
        kept = np.empty(HUGE)
        if fresh:
            return lambda: np.empty(HUGE).fill(1.0)
        return lambda: kept.fill(1.0)

    name = f"filling {'a new array' if fresh else 'it again'} of {HUGE // 125_000} MB"
    return Task(name, 8e-12 * HUGE, "ms a GB", make)


GROUPS: dict[str, tuple[Task, ...]] = {
    "products": (
        _product(SIDE, SIDE, SIDE, "float32"),
        _product(SIDE, SIDE, SIDE, "float64"),
        _product(128, 784, 256, "float32"),
    ),
    "elementwise": (_exp(SMALL), _exp(LARGE), _add(SMALL), _add(LARGE)),
    # Apart, because the C library learns from the largest array that was freed.
    "memory, middling": (_fresh(MIDDLE),),
    "memory, large": (_fresh(LARGE),),
    "pages": (_fill(fresh=True), _fill(fresh=False)),
}
"""The tasks of a process, by the name that it is started with."""


def seconds(
    work: Work, clock: Callable[[], float] = time.perf_counter, least: float = LEAST
) -> float:
    """Return the least time that some work took, repeated for ``least`` seconds.

    >>> ticks = iter([0.0, 0.5, 1.0, 1.25, 1.25, 9.0, 9.0])
    >>> seconds(lambda: None, lambda: next(ticks), least=2.0)
    0.25
    """
    best, begin = float("inf"), clock()
    start = begin
    while True:
        work()
        end = clock()
        best = min(best, end - start)
        if end - begin >= least:
            return best
        start = clock()


def blas_in_use() -> dict[str, Any] | None:
    """Return what threadpoolctl says of the BLAS that NumPy loaded, if it can."""
    # Some libraries are loaded by their first use.
    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    try:
        pools = import_module("threadpoolctl").threadpool_info()
    except Exception:  # noqa: BLE001 (it asks libraries that it may not know)
        return None
    return next((dict(pool) for pool in pools if pool.get("user_api") == "blas"), None)


def main(group: str, asked: Iterator[str]) -> None:
    """Get ready, then answer each line with the seconds of every task, as JSON."""
    tasks = {task.name: task.make() for task in GROUPS[group]}
    for work in tasks.values():
        work()
    _say(blas_in_use())
    for _ in asked:
        _say({name: seconds(work) for name, work in tasks.items()})


def _say(answer: Any) -> None:
    # The rest comes first: whoever reads the answer starts the next process at once.
    time.sleep(PAUSE)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], iter(sys.stdin.readline, ""))
