"""What a check found, for reading and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["GradientReport", "ParameterReport", "Worst", "worst_verdict"]

_ORDER = ("ok", "kink", "weak", "wrong")


def worst_verdict(*verdicts: str) -> str:
    """Return the verdict that counts where there are several.

    >>> worst_verdict("ok", "weak", "kink")
    'weak'
    """
    return max(verdicts, key=_ORDER.index, default="ok")


@dataclass(frozen=True)
class Worst:
    """One element: what was claimed, what the numbers say, and how far off they may be.

    Attributes
    ----------
    index
        Place in the parameter.
    analytic
        The claimed gradient.
    numeric, bound
        The gradient by numbers, and the bound of its error.
    """

    index: tuple[int, ...]
    analytic: float
    numeric: float
    bound: float


@dataclass(frozen=True)
class ParameterReport:
    """The verdict on one parameter.

    Attributes
    ----------
    verdict
        ``"ok"``, ``"wrong"``, ``"weak"`` (agrees, but the numbers are no sharper than
        `resolution`) or ``"kink"`` (agrees with the one-sided slopes).
    wrong, kinks, checked
        How many elements are wrong, lie on a kink, and were looked at one by one. None
        are looked at where random directions already agree.
    resolution
        The relative error that would have been seen.
    worst
        The element that is most wrong; None if none is.
    cause
        The mistake in words, where it is a simple one.
    """

    name: str
    shape: tuple[int, ...]
    verdict: str
    wrong: int = 0
    kinks: int = 0
    checked: int = 0
    resolution: float = 0.0
    worst: Worst | None = None
    cause: str | None = None

    def words(self) -> str:
        """Return the verdict, and of how many elements where it is ``"wrong"``."""
        if self.verdict != "wrong" or not self.wrong:
            return self.verdict
        size = math.prod(self.shape)
        if self.checked == size:
            return f"{self.wrong}/{size} wrong"
        return f"{self.wrong} wrong of {self.checked} looked at"

    def __str__(self) -> str:
        """One line of the table."""
        shape = str(self.shape)
        return (
            f"  {self.name:<12} {shape:>12}  {self.words():<14} {self.kinks:>5}"
            f"  {self.resolution:.1e}"
        )

    def details(self) -> str:
        """Index, both numbers and the cause, of a wrong parameter; else nothing."""
        if self.verdict != "wrong":
            return ""
        lines = []
        if self.worst is not None:
            place = ", ".join(map(str, self.worst.index))
            title = f"{self.name}[{place}]" if self.worst.index else self.name
            gap = " " * len(title)
            off = f"{self.worst.bound:.1e}"
            lines.append(f"  {title}  analytic {self.worst.analytic: .10g}")
            if math.isfinite(self.worst.analytic):  # else there was nothing to ask
                lines.append(f"  {gap}  numeric  {self.worst.numeric: .10g}  ± {off}")
        if self.cause is not None:
            lines.append(f"  cause: {self.cause}")
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The verdict on a gradient; true where it may be trusted.

    Attributes
    ----------
    parameters
        A `ParameterReport` by name.
    blame
        Who is wrong: ``("formula",)``, ``("autograd",)``, both, or nobody.
    judged
        Whose gradients were compared with the numbers.
    evaluations
        How often ``f`` was called for its value.
    seed, strict
        As given.
    forbid
        Whether a kink fails.
    notes
        Sentences that a reader should know.
    cause
        The one mistake that explains all that is wrong, with the line of ``f`` whose
        derivative it is; None where there is no such.

    Examples
    --------
    >>> report = GradientReport({"W": ParameterReport("W", (2,), "weak")})
    >>> report.verdict, report.ok
    ('weak', True)
    """

    parameters: Mapping[str, ParameterReport]
    blame: tuple[str, ...] = ()
    judged: tuple[str, ...] = ("autograd",)
    evaluations: int = 0
    seed: int = 0
    strict: bool = False
    notes: tuple[str, ...] = ()
    cause: str | None = None
    forbid: bool = False

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"wrong"``, ``"weak"`` or ``"kink"``: the worst of all."""
        if self.blame:
            return "wrong"
        return worst_verdict(*(p.verdict for p in self.parameters.values()))

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; nor weak with ``strict``, nor a kink if forbidden.

        >>> GradientReport({"W": ParameterReport("W", (2,), "kink")}, forbid=True).ok
        False
        """
        return self.verdict != "wrong" and not self._refused()

    def _refused(self) -> list[str]:
        """Say what is not wrong, and fails by ``strict`` or ``forbid``."""
        every = self.parameters.values()
        found = []
        if self.forbid and any(p.kinks or p.verdict == "kink" for p in every):
            found.append(
                "fails for kinks='forbid': there is a kink. Move the point away from "
                "it, or let the gradient lie between the slopes: kinks='bracket'"
            )
        if self.strict and any(p.verdict == "weak" for p in every):
            found.append(
                "fails for strict=True: the numbers are no sharper than the resolution"
            )
        return found

    @property
    def resolution(self) -> float:
        """The relative error that would have been seen in every parameter."""
        return max((p.resolution for p in self.parameters.values()), default=0.0)

    def __bool__(self) -> bool:
        """Whether the gradient may be trusted."""
        return self.ok

    def __repr__(self) -> str:
        """One short line: pytest shows it where ``assert report`` fails.

        >>> GradientReport({"W": ParameterReport("W", (2,), "wrong", 1, checked=2)})
        <GradientReport wrong: W 1/2 wrong>
        """
        verdicts = [f"{p.name} {p.words()}" for p in self.parameters.values()]
        accused = [_ACCUSED[self.blame].partition(":")[0]] if self.blame else []
        told = "; ".join([", ".join(verdicts), *accused])
        return f"<GradientReport {self.verdict}: {told}>"

    def __str__(self) -> str:
        """Write the table, and what is wrong."""
        bad = [p for p in self.parameters.values() if p.verdict == "wrong"]
        count = len(self.parameters)
        if bad:
            head = f"{len(bad)} of {count} parameter{'s' if count != 1 else ''} wrong"
        else:
            head = f"{self.verdict}: {count} parameter{'s' if count != 1 else ''}"
        against = f"{' and '.join(self.judged)} against numbers"
        lines = [
            f"{head} ({against}; {self.evaluations} evaluations, seed {self.seed})",
            f"  {'parameter':<12} {'shape':>12}  {'verdict':<14} kinks  resolution",
        ]
        lines += [str(p) for p in self.parameters.values()]
        lines += [text for p in self.parameters.values() if (text := p.details())]
        if self.blame:
            lines.append(f"  who: {_ACCUSED[self.blame]}")
        if self.cause is not None and self.cause not in {p.cause for p in bad}:
            lines.append(f"  one cause: {self.cause}")
        lines += [f"  {text}" for text in self._refused()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


_ACCUSED = {
    ("formula",): "the formula is wrong",
    ("autograd",): (
        "autograd is wrong: the gradient rule of an op that f uses; "
        "tg.check.locate(f(...)) tells which (if it is not your own, please report it)"
    ),
    ("autograd", "formula"): "autograd and the formula are both wrong",
}
