"""The whole examination, in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from statistics import median

from tinygrad_nn.cli.doctor import advice, machine, programs, rates
from tinygrad_nn.cli.doctor.findings import Deadline, Finding, Section
from tinygrad_nn.cli.doctor.forced import findings as settings
from tinygrad_nn.cli.doctor.forced import forced
from tinygrad_nn.cli.doctor.page import as_json, as_text
from tinygrad_nn.cli.doctor.trials import AS_IT_IS, Machine, Race, Trial, race, trials

__all__ = ["doctor", "examine", "speeds"]

SECONDS = 18.0
"""The longest that all of it may take."""

BUSY = 0.5
"""Waiting processes for each core, beforehand, of what is called a busy machine."""


def doctor(*, quick: bool = False, json: bool = False) -> None:
    """Print what this machine has, how fast it is, and what to change.

    Parameters
    ----------
    quick : bool
        Measure nothing, and so advise nothing.
    json : bool
        Print one JSON object: sections, findings, values (null: not found).
    """
    # A copy, because some of the packages that are looked at add to the original.
    sections = examine(dict(os.environ), quick=quick)
    sys.stdout.write((as_json if json else as_text)(sections) + "\n")


def examine(environment: Mapping[str, str], *, quick: bool) -> list[Section]:
    """Look at everything, within `SECONDS`; what is not there is said to be missing."""
    deadline, load = Deadline(SECONDS), machine.load()
    items = forced(environment)
    named, *others = machine.blas()
    compilers = programs.compilers(deadline, environment)
    sections = [
        Section("Python and NumPy", machine.python_and_numpy(deadline)),
        Section("BLAS", [named, *others]),
        Section(
            "Forced settings",
            settings(items, named.value),
            "none: nothing in the environment changes how NumPy works",
        ),
        Section("C compilers", compilers),
        Section("Backends of tg.compile", programs.backends(compilers, deadline)),
        Section("Drawing", programs.drawing(deadline)),
        Section("Extras", programs.extras()),
    ]
    if quick:
        return sections
    threads = next((item.value for item in others if item.name == "threads"), None)
    here = Machine(
        named.value, threads, machine.cores(), machine.quota(), machine.glibc()
    )
    tried = trials(items, here)
    try:
        run = race(tried, environment, deadline)
    except OSError as error:
        run = Race(failed={AS_IT_IS: str(error)})
    return [*sections, *_measured(run, tried, _busy(load, here.cores))]


def _measured(
    run: Race, tried: Sequence[Trial], remarks: Sequence[Finding]
) -> list[Section]:
    judged = advice.verdicts(tried, run)
    found, change = speeds(run, tried), advice.findings(judged, run)
    if found:
        found = [*remarks, *found]
    if change and remarks:
        change.append(Finding("note", "ask again when no other program is at work"))
    nothing = f"nothing that was tried made any work {advice.MARGIN - 1:.0%} faster"
    return [
        Section("Rates", found, f"none: {run.failed.get(AS_IT_IS, 'no time')}"),
        Section("Tried", advice.outcomes(tried, judged, run), "nothing to try here"),
        Section("Advice", change, nothing if judged else "none: nothing was compared"),
    ]


def speeds(run: Race, tried: Sequence[Trial] = ()) -> list[Finding]:
    """Say how fast every task is, by the median of the rounds, as it is and alone."""
    alone = next((trial.name for trial in tried if "1" in trial.change.values()), "")
    found, seconds = [], {}
    for task in (task for tasks in rates.GROUPS.values() for task in tasks):
        now = run.seconds.get(AS_IT_IS, {}).get(task.name)
        if not now:
            continue
        seconds[task.name] = median(now)
        rate = task.rate(seconds[task.name])
        text = f"{rate:.3g} {task.unit}"
        value: dict[str, str | float] = {"unit": task.unit, AS_IT_IS: rate}
        if task.name in run.seconds.get(alone, {}):
            single = task.rate(median(run.seconds[alone][task.name]))
            text += f"; {single:.3g} on one thread"
            value["on one thread"] = single
        found.append(Finding(task.name, text, value))
    return found + _pages(seconds)


def _pages(seconds: Mapping[str, float]) -> list[Finding]:
    """Say what the pages of new memory cost: a new array takes longer to fill."""
    new, again = (task.name for task in rates.GROUPS["pages"])
    if new not in seconds:
        return []
    share = max(0.0, 1 - seconds[again] / seconds[new])
    text = f"{share:.0%} of the time to fill a new array"
    return [Finding("page faults", text, share)]


def _busy(load: float, cores: int) -> list[Finding]:
    if load < BUSY * cores:
        return []
    text = f"load {load:.1f} on {cores} cores: on a quiet machine all is faster"
    return [Finding("other programs", text, load)]
