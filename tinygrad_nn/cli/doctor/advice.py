"""From measured seconds to what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple, final

from tinygrad_nn.cli.doctor.findings import Finding
from tinygrad_nn.cli.doctor.trials import AS_IT_IS, Race, Trial

__all__ = [
    "LEAST_ROUNDS",
    "MARGIN",
    "Verdict",
    "findings",
    "gain",
    "outcomes",
    "verdicts",
]

MARGIN = 1.10
"""How many times faster something must be to be called faster."""

LEAST_ROUNDS = 4
"""Fewer rounds than these prove nothing."""


@final
class Verdict(NamedTuple):
    """What a trial came to: the median ratios as it is / tried, by task."""

    trial: Trial
    kind: Literal["advised", "mixed", "covered", "no gain"]
    ratios: dict[str, float]
    faster: list[str]
    slower: list[str]


def gain(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return the median ratio of seconds, and the one that can be relied on.

    That one is the lesser of the medians of the odd and the even rounds: one of them
    finds the gain, the other confirms it.

    >>> gain([2.0, 2.0, 2.0, 2.0], [1.0, 2.0, 1.0, 2.0])
    (1.5, 1.0)
    """
    ratios = [b / a for b, a in zip(before, after, strict=True)]
    return median(ratios), min(median(ratios[::2]), median(ratios[1::2]))


def verdicts(tried: Sequence[Trial], race: Race) -> list[Verdict]:
    """Judge every trial that was measured often enough, by its own ratios.

    A change is advised when some work was faster in both halves of the rounds and none
    was slower. What combines others is advised only where it is faster than each.
    """
    judged = {
        trial.name: _verdict(
            trial, race.seconds[trial.against], race.seconds[trial.name]
        )
        for trial in tried
        if race.rounds >= LEAST_ROUNDS
        and {trial.name, trial.against} <= race.seconds.keys()
    }
    return [_alone(verdict, judged, race) for verdict in judged.values()]


def _verdict(
    trial: Trial, now: dict[str, list[float]], then: dict[str, list[float]]
) -> Verdict:
    gains = {task: gain(now[task], seconds) for task, seconds in then.items()}
    faster = [task for task, (_, sure) in gains.items() if sure > MARGIN]
    slower = [task for task, (ratio, _) in gains.items() if ratio < 1 / MARGIN]
    kind: Literal["advised", "mixed", "no gain"] = "no gain"
    if faster:
        kind = "mixed" if slower else "advised"
    ratios = {task: ratio for task, (ratio, _) in gains.items()}
    return Verdict(trial, kind, ratios, faster, slower)


def _alone(verdict: Verdict, judged: dict[str, Verdict], race: Race) -> Verdict:
    """Take back the advice to combine what is as fast by a part of it."""
    then = race.seconds[verdict.trial.name]
    for name in verdict.trial.covers:
        if name in judged and judged[name].kind == "advised":
            part = race.seconds[name]
            if not any(gain(part[task], then[task])[1] > MARGIN for task in part):
                return verdict._replace(kind="covered")
    return verdict


def findings(judged: Sequence[Verdict], race: Race) -> list[Finding]:
    """Say what to change; what is good for some work only is left to the user."""
    found = []
    for kind in ("advised", "mixed"):
        for verdict in judged:
            if verdict.kind != kind:
                continue
            lines = [_times(task, verdict, "faster") for task in verdict.faster]
            lines += [_times(task, verdict, "slower") for task in verdict.slower]
            if kind == "mixed":
                lines.append("so it depends on your work: try it")
            if verdict.trial.against != AS_IT_IS:
                lines.append("measured on one thread")
            lines += _kernels(verdict.trial, race)
            if verdict.trial.price:
                lines.append(f"its price: {verdict.trial.price}")
            value = {"kind": kind, "ratios": verdict.ratios}
            found.append(Finding(verdict.trial.name, "\n".join(lines), value))
    return found


def outcomes(
    tried: Sequence[Trial], judged: Sequence[Verdict], race: Race
) -> list[Finding]:
    """Say of every trial what came of it, advice or not."""
    by_name = {verdict.trial.name: verdict for verdict in judged}
    found = []
    for trial in tried:
        verdict = by_name.get(trial.name)
        if verdict is not None:
            ratios = verdict.ratios.values()
            text = f"{min(ratios):.2f} to {max(ratios):.2f} x the speed"
            found.append(Finding(trial.name, text, verdict.ratios))
        elif trial.name in race.failed:
            text = f"cannot be done: its process ended with {race.failed[trial.name]}"
            found.append(Finding(trial.name, text))
        else:
            text = f"not compared: {race.rounds} rounds in the time"
            if trial.against in race.failed:
                text = f"not compared: {trial.against} cannot be done"
            found.append(Finding(trial.name, text))
    return found


def _kernels(trial: Trial, race: Race) -> list[str]:
    """Say whether other kernels did it."""
    before, after = (race.kernels.get(name) for name in (trial.against, trial.name))
    return [f"kernels: {after} instead of {before}"] if before != after else []


def _times(task: str, verdict: Verdict, word: str) -> str:
    ratio = verdict.ratios[task]
    return f"{ratio if word == 'faster' else 1 / ratio:.2f} x {word}: {task}"
