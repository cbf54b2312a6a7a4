"""What a probe found, and how a probe that fails is no failure of the report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

__all__ = ["Deadline", "Finding", "Section", "absent", "answer", "look", "surroundings"]


@final
@dataclass(frozen=True)
class Finding:
    """One line of the report: its name, what a person reads, what a program reads.

    ``value`` is what JSON can hold; None where nothing was found.
    """

    name: str
    text: str
    value: Any = None


class Section(NamedTuple):
    """Findings that belong together, and what to say when there are none."""

    title: str
    findings: list[Finding]
    otherwise: str = "none"


@final
class Deadline:
    """A time by which everything has to be done: no probe may wait longer."""

    def __init__(
        self, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self, most: float = float("inf")) -> float:
        """Return the seconds that are left, ``most`` at most, never below 0."""
        return min(most, max(0.0, self._end - self._clock()))


def look(name: str, probe: Callable[[], Finding]) -> Finding:
    """Return what a probe finds; one that fails, for whatever reason, found nothing.

    >>> look("compiler", lambda: Finding("compiler", "gcc", "gcc")).text
    'gcc'
    >>> look("threads", lambda: Finding("threads", {}["num_threads"])).text
    "not found (KeyError: 'num_threads')"
    """
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 (machines fail in ways of their own)
        said = " ".join(str(error).split())
        return absent(name, f"({type(error).__name__}: {said})")


def absent(name: str, advice: str = "") -> Finding:
    """Return the finding that there is no such thing, and what to do for it.

    >>> absent("dot", "(install Graphviz)").text
    'not found (install Graphviz)'
    """
    return Finding(name, f"not found {advice}".rstrip())


def answer(
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return what a program says on standard output or, failing that, standard error.

    Raises
    ------
    RuntimeError
        With the last line that the program said, when it failed.
    subprocess.TimeoutExpired, OSError
        When it took longer than ``seconds``, or cannot be started.
    """
    done = subprocess.run(  # noqa: S603 (programs that the user has installed)
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=seconds,
        env=None if environment is None else dict(environment),
    )
    said = (done.stdout or done.stderr).decode(errors="replace").strip()
    if done.returncode:
        wrong = done.stderr.decode(errors="replace").strip() or said
        last = wrong.splitlines()[-1] if wrong else f"exit code {done.returncode}"
        raise RuntimeError(last)
    return said


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a Python process that finds the same packages."""
    places = [place or os.getcwd() for place in sys.path]  # noqa: PTH109 (a string)
    return {**environment, "PYTHONPATH": os.pathsep.join(places)}
