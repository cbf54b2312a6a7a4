"""Changes of the environment, tried: processes that measure the same work in turn."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple, Protocol, TypeVar, final

from tinygrad_nn.cli.doctor import rates
from tinygrad_nn.cli.doctor.findings import Deadline, surroundings
from tinygrad_nn.cli.doctor.forced import Forced, matters

__all__ = [
    "AS_IT_IS",
    "MALLOC",
    "Contender",
    "Machine",
    "Process",
    "Race",
    "Trial",
    "race",
    "trials",
]

ROUNDS = 10
"""Rounds of a race, time permitting."""

SINGLY = 5
"""Forced settings that are tried one by one; more of them are tried together."""

A = TypeVar("A")
Change = Mapping[str, "str | None"]

AS_IT_IS = "as it is"

MEMORY = ("memory, middling", "memory, large")
TOUCHED = {
    "kernels": ("products",),
    "threads": ("products",),
    "elementwise": ("elementwise",),
    "memory": MEMORY,
}
"""The groups of tasks that a kind of setting may speed up."""

MALLOC = {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "33554432"}
"""Keep freed memory: glibc takes no more than 32 MiB for the second."""

THREADS = {
    "openblas": "OPENBLAS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "blis": "BLIS_NUM_THREADS",
    "accelerate": "VECLIB_MAXIMUM_THREADS",
}
"""The variable with the number of threads, by the name of the BLAS."""


@final
@dataclass(frozen=True)
class Trial:
    """A change of the environment: values to set, None to unset.

    ``groups`` are the tasks it may speed up, ``against`` is the name of what it is
    compared with and ``besides`` what holds for both, ``covers`` are the trials that
    it combines, and ``price`` is what it costs.
    """

    change: Change
    groups: tuple[str, ...]
    against: str = AS_IT_IS
    besides: Change = field(default_factory=dict)
    covers: tuple[str, ...] = ()
    price: str = ""

    @property
    def name(self) -> str:
        """What to say to the shell.

        >>> Trial({"OMP_NUM_THREADS": None}, ("products",)).name
        'unset OMP_NUM_THREADS'
        """
        unset = [name for name, value in self.change.items() if value is None]
        put = [f"{name}={value}" for name, value in self.change.items() if value]
        words = {"unset": unset, "export": put}
        return "; ".join(" ".join([do, *what]) for do, what in words.items() if what)


class Machine(NamedTuple):
    """What decides what is worth trying; None where it is not known."""

    blas: str | None
    threads: int | None
    cores: int
    quota: float | None
    glibc: bool


def trials(items: Sequence[Forced], machine: Machine) -> list[Trial]:
    """Return what may be worth changing: forced settings, threads, kept memory.

    Kernels are compared on one thread: with more, on a busy machine, the time of a
    product is the time that its threads wait for one another.

    >>> machine = Machine("openblas", threads=2, cores=2, quota=None, glibc=False)
    >>> [trial.name for trial in trials([], machine)]
    ['export OPENBLAS_NUM_THREADS=1']
    """
    threads = _threads(machine)
    useful = [item for item in items if matters(item, machine.blas)]
    unset = []
    for kind, groups in TOUCHED.items():
        names = [item.name for item in useful if item.kind == kind]
        pattern = Trial({}, groups)
        if kind == "kernels" and threads:
            alone = threads[0]
            pattern = replace(pattern, against=alone.name, besides=alone.change)
        unset += _unset(names, pattern)
    return [*unset, *threads, *_memory(items, machine)]


def _unset(names: Sequence[str], pattern: Trial) -> list[Trial]:
    single = [replace(pattern, change={name: None}) for name in names]
    if len(single) < 2:
        return single
    together = replace(
        pattern,
        change=dict.fromkeys(names),
        covers=tuple(trial.name for trial in single),
    )
    return [*(single if len(single) <= SINGLY else ()), together]


def _threads(machine: Machine) -> list[Trial]:
    """Return trials of fewer threads than there are, one thread first."""
    running = machine.cores if machine.threads is None else machine.threads
    counts = {1}
    if machine.quota is not None:
        counts.add(max(1, math.ceil(machine.quota)))
    variable = THREADS.get(machine.blas or "", "OMP_NUM_THREADS")
    return [
        Trial({variable: str(count)}, ("products",))
        for count in sorted(counts)
        if count < running
    ]


def _memory(items: Iterable[Forced], machine: Machine) -> list[Trial]:
    now = {item.name: item.value for item in items}
    # The second threshold is far lower where addresses have 32 bits.
    if not machine.glibc or sys.maxsize < 2**32 or now.items() >= MALLOC.items():
        return []
    price = "a process keeps up to 1 GiB that it freed"
    return [Trial(dict(MALLOC), MEMORY, price=price)]


class Contender(Protocol):
    """What takes part in a race."""

    def ready(self) -> str | None:
        """Return its kernel when it can begin; raises EOFError when it cannot."""

    def measure(self) -> dict[str, float]:
        """Return the seconds of every task; raises EOFError when it cannot."""

    def close(self) -> None:
        """End it."""


@final
class Process:
    """A process of `rates` in some environment; it starts in the background."""

    def __init__(
        self, environment: Mapping[str, str], group: str, deadline: Deadline
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (this interpreter, our text)
            [sys.executable, "-c", Path(rates.__file__).read_text("utf-8"), group],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=surroundings(environment),
            text=True,
        )
        # Reading has no time limit of its own on every system.
        self._timer = Timer(deadline.left(), self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def ready(self) -> str | None:
        """Return the kernel of its BLAS, if known, when it has done its work once.

        Raises
        ------
        EOFError
            When the process has ended: says how.
        """
        blas = self._read() or {}
        return blas.get("architecture")

    def measure(self) -> dict[str, float]:
        """Return the seconds of every task.

        Raises
        ------
        EOFError
            When the process has ended: says how.
        """
        stdin: Any = self._process.stdin
        try:
            stdin.write("\n")
            stdin.flush()
        except OSError as error:
            raise EOFError(self._end()) from error
        seconds: dict[str, float] = self._read()
        return seconds

    def close(self) -> None:
        """End the process, and let go of what belongs to it."""
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()

    def _read(self) -> Any:
        stdout: Any = self._process.stdout
        line = stdout.readline()
        if not line:
            raise EOFError(self._end())
        return json.loads(line)

    def _end(self) -> str:
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@final
@dataclass
class Race:
    """The seconds of every task by round, of every trial, and who fell out, why.

    ``seconds[AS_IT_IS]`` holds the tasks of the environment as it is; ``kernels`` says
    what the products ran on.
    """

    rounds: int = 0
    kernels: dict[str, str | None] = field(default_factory=dict)
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


Start = Callable[[Mapping[str, str], str, Deadline], Contender]


def race(
    tried: Iterable[Trial],
    environment: Mapping[str, str],
    deadline: Deadline,
    *,
    start: Start = Process,
    rounds: int = ROUNDS,
) -> Race:
    """Let every trial and the environment as it is work in turn, round by round.

    A round that the deadline cuts short does not count, and a contender that ends by
    itself is out of the race, so every list in the result has the same length.
    """
    result = Race()
    with ExitStack() as stack:
        running: dict[str, list[Contender]] = {}
        for trial in (Trial({}, tuple(rates.GROUPS)), *tried):
            changed = _changed(environment, {**trial.besides, **trial.change})
            running[trial.name or AS_IT_IS] = contenders = []
            for group in trial.groups:
                contenders.append(start(changed, group, deadline))
                stack.callback(contenders[-1].close)
        # All are ready before the first measures: a start takes a core.
        kernels = _each(running, lambda one: one.ready(), deadline, result.failed)
        result.kernels = {name: first for name, (first, *_) in kernels.items()}
        while AS_IT_IS in running and result.rounds < rounds:
            found = _each(running, lambda one: one.measure(), deadline, result.failed)
            if AS_IT_IS not in found or not deadline.left():
                break
            result.rounds += 1
            for name, answers in found.items():
                for task, seconds in ChainMap(*answers).items():
                    tasks = result.seconds.setdefault(name, {})
                    tasks.setdefault(task, []).append(seconds)
    for name in result.failed:
        result.seconds.pop(name, None)
    return result


def _changed(environment: Mapping[str, str], change: Change) -> dict[str, str]:
    changed = {**environment, **change}
    return {name: value for name, value in changed.items() if value is not None}


def _each(
    running: dict[str, list[Contender]],
    act: Callable[[Contender], A],
    deadline: Deadline,
    failed: dict[str, str],
) -> dict[str, list[A]]:
    """Let everyone act in turn; who cannot, with time left, is out of the running."""
    found = {}
    for name in list(running):
        said = _answers(running[name], act)
        if not isinstance(said, str):
            found[name] = said
        elif deadline.left():
            failed[name] = said
            del running[name]
    return found


def _answers(
    group: Iterable[Contender], act: Callable[[Contender], A]
) -> list[A] | str:
    """Return what each of a group says or, where one has ended, how it did."""
    try:
        return [act(contender) for contender in group]
    except (EOFError, ValueError) as error:
        return str(error)
