"""`check_gradients` and `assert_gradients`: whether a gradient is right.

No step and no tolerance to choose. How it works, and what it was measured against, is
told in the files below: `noise` (how much values jitter), `line` (slopes with a bound
of their error), `verdict` (one claim on one line), `site` (all claims at a point),
`causes` (the mistake in words).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.check.causes import Evidence, name_cause
from tinygrad_nn.check.frameworks import Adapted
from tinygrad_nn.check.report import (
    GradientReport,
    ParameterReport,
    Worst,
    worst_verdict,
)
from tinygrad_nn.check.site import Finding, Site, sizes_of
from tinygrad_nn.check.slips import Slips
from tinygrad_nn.check.subject import (
    Claim,
    Point,
    Subject,
    autograd,
    by_hand,
    given_by_hand,
)
from tinygrad_nn.check.verdict import NOT_A_MISTAKE
from tinygrad_nn.errors import GradientError, GradientMismatch, OpError
from tinygrad_nn.tensor import Tensor

__all__ = ["assert_gradients", "check_gradients"]

_ROUNDING = 1e-10


def check_gradients(
    f: Callable[..., Any],
    *arrays: Any,
    formula: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    names: Sequence[str] | str | None = None,
    seed: int = 0,
    strict: bool = False,
    mode: str = "auto",
    points: int = 2,
    kinks: str = "bracket",
) -> GradientReport:
    """Judge gradients by numbers: autograd's, and a hand-written one beside it.

    Parameters
    ----------
    f
        A function of the arrays, for the numbers; it returns a number or an array. It
        is also given Tensors, to judge autograd. With ``formula`` or ``vjp`` it may be
        plain NumPy code that no Tensor can run: then only those are judged. What
        `from_torch` or `from_jax` made brings its ``vjp`` along.
    arrays
        The point: floating arrays (or Tensors, numbers) are checked, in float64;
        arrays of integers and booleans are passed on as they are.
    formula
        ``formula(*arrays)``: gradients of a function with one number as its value, as
        a tuple, or a dictionary with keys like ``"W"`` or ``"dW"``.
    vjp
        ``vjp(g, *arrays)``: the same for a function with any output; ``g`` is the
        gradient with respect to the output, of its shape.
    names
        Of the arrays, as a list or in one string; by default the parameters of ``f``.
    seed
        Of the random directions. The same seed gives the same report.
    strict
        Let ``weak`` fail: where noise keeps the numbers from being sharp.
    mode
        ``"auto"``: random directions first, single elements where these disagree;
        ``"full"``: every element, for a report on each.
    points
        At how many points: the arrays as given, and beside them. A mistake can be
        invisible at one point, as a forgotten regulariser is at W = 0.
    kinks
        Where slopes differ on the two sides: ``"bracket"`` accepts what lies between
        them, ``"forbid"`` fails, ``"skip"`` judges nothing there.

    Returns
    -------
    GradientReport
        ``.ok``, ``.verdict`` (``"ok"``, ``"wrong"``, ``"weak"`` or ``"kink"``),
        ``.parameters[name].worst.index``, ``.analytic``, ``.numeric``, ``.bound``, and
        a table as its text.

    Raises
    ------
    GradientError
        If ``f`` is not deterministic, not finite, or ``vjp`` is not linear in ``g``.
    MutationError
        If ``f`` or the hand-written gradient writes into its inputs.
    ShapeError
        If a hand-written gradient has another shape than its array.
    OpError
        If a gradient is missing, or ``f`` does not return Tensors and none is given.

    Examples
    --------
    >>> W = np.array([[0.5, -1.0], [2.0, 0.1]])
    >>> def cost(W):
    ...     return np.sum(np.tanh(W) ** 2)
    >>> check_gradients(cost, W).verdict
    'ok'
    >>> report = check_gradients(cost, W, formula=lambda W: 2 * (1 - np.tanh(W) ** 2))
    >>> report.verdict, report.blame
    ('wrong', ('formula',))
    >>> report = check_gradients(
    ...     cost, W, formula=lambda W: {"dW": np.tanh(W) * (1 - np.tanh(W) ** 2)}
    ... )
    >>> print(report.parameters["W"].cause)
    a factor 1/2: the 2 of a square's derivative is missing
    """
    _refuse_unknown("mode", mode, ("auto", "full"))
    _refuse_unknown("kinks", kinks, ("bracket", "forbid", "skip"))
    if points.__class__ is not int or points < 1:
        raise OpError(f"check_gradients: points is a number of points; got {points!r}")
    way = _Way(mode == "full", points, skip=kinks == "skip")
    foreign = isinstance(f, Adapted)
    f, vjp = _unpacked(f, formula, vjp)
    subject = Subject(f, arrays, names, formula)
    value = subject.start()
    cotangent = np.ones(1)
    if value.size != 1:
        # Never all ones: sums hide mistakes, as in any normalising function.
        cotangent = np.random.default_rng([seed, 1]).standard_normal(value.shape)
    claims: dict[str, Claim] = {}
    hand = _by_hand(subject, formula, vjp, cotangent)
    if hand is not None:
        claims["formula"] = hand
    recorded = autograd(subject, cotangent)
    trouble = None if hand is None else _trouble(recorded, subject)
    if trouble is None:
        claims["autograd"] = recorded
    alone = f"judged by the numbers alone: f does not run on Tensors: {trouble}"
    notes = [] if trouble is None or foreign else [alone]
    sizes = _sizes(subject)
    judged = list(claims)
    results: dict[str, dict[str, ParameterReport]] = {}
    sites: dict[str, Site] = {}
    bound = np.inf
    for who, claim in claims.items():
        # What agrees here may differ at the second point: where the formula is wrong
        # autograd is asked too.
        settled = who == "autograd" and results and not _wrong(results["formula"])
        if settled and _same(claims, subject):
            break
        results[who], sites[who], bound = _parameters(
            subject, claim, cotangent, seed, sizes, way
        )
        if cotangent.size > 1 and _kinked(results[who]):
            results[who] |= _exceeding(subject, who, vjp, cotangent, seed, sizes, way)
    if len(results) == 2 and not _wrong(results["formula"] | results["autograd"]):
        # Autograd is the sharper witness: it tells every element, not only a sum.
        results["formula"] |= _refuted_by(sites, bound, subject.names, sizes)
    blame = [who for who in sorted(results) if _wrong(results[who])]
    # What is shown is the one who is wrong, the formula first.
    shown = next(
        (results[w] for w in results if w in blame), next(iter(results.values()))
    )
    if not blame and len(results) == 2:
        notes += _differences(results, sites, subject.names)
    notes += _remarks(subject, claims)
    return GradientReport(
        parameters=shown,
        cause=_one_cause(subject, claims, cotangent, shown) if blame else None,
        blame=tuple(blame),
        judged=tuple(judged),
        evaluations=subject.evaluations,
        seed=seed,
        strict=strict,
        forbid=kinks == "forbid",
        notes=tuple(notes),
    )


def assert_gradients(
    f: Callable[..., Any],
    *arrays: Any,
    formula: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    names: Sequence[str] | str | None = None,
    seed: int = 0,
    strict: bool = False,
    mode: str = "auto",
    points: int = 2,
    kinks: str = "bracket",
) -> GradientReport:
    """Raise where `check_gradients` finds a mistake; return its report otherwise.

    Raises
    ------
    GradientMismatch
        With the report as its text, and as its attribute ``report``.

    Examples
    --------
    >>> assert_gradients(lambda x: x * x, 3.0, formula=lambda x: 2 * x).verdict
    'ok'
    """
    __tracebackhide__ = True
    report = check_gradients(
        f,
        *arrays,
        formula=formula,
        vjp=vjp,
        names=names,
        seed=seed,
        strict=strict,
        mode=mode,
        points=points,
        kinks=kinks,
    )
    if not report.ok:
        error = GradientMismatch(f"gradients: {report}")
        error.report = report  # type: ignore[attr-defined]
        raise error
    return report


class _Way(NamedTuple):
    """How thoroughly to judge: every element, at how many points, kinks or not."""

    full: bool
    points: int
    skip: bool


def _refuse_unknown(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise OpError(
            f"check_gradients: {setting} is {' or '.join(map(repr, known))}; "
            f"got {value!r}"
        )


def _remarks(subject: Subject, claims: dict[str, Claim]) -> list[str]:
    found = []
    if not any(np.any(g) for claim in claims.values() for g in claim(subject.point)):
        found.append(
            "the gradient is zero here: its scale can only be judged at a point beside"
        )
    if subject.on_tensors:
        found.append(f"f was evaluated on Tensors: {subject.on_tensors_because}")
    return found


def _unpacked(
    f: Any, formula: Callable[..., Any] | None, vjp: Callable[..., Any] | None
) -> tuple[Any, Callable[..., Any] | None]:
    """Take the function, and the gradient it brings where no other is given."""
    if not isinstance(f, Adapted):
        return f, vjp
    return f.f, f.vjp if formula is None and vjp is None else vjp


def _by_hand(
    subject: Subject,
    formula: Callable[..., Any] | None,
    vjp: Callable[..., Any] | None,
    cotangent: np.ndarray,
) -> Claim | None:
    claim = given_by_hand(subject, formula, vjp, cotangent)
    if claim is not None and vjp is not None:
        doubled = by_hand(subject, vjp, 2 * cotangent.reshape(subject.shape))
        _refuse_nonlinear(claim, doubled, subject)
    return claim


def _refuse_nonlinear(claim: Claim, doubled: Claim, subject: Subject) -> None:
    """Refuse a vjp that ignores the gradient it is given, or bends it."""
    for name, once, twice in zip(
        subject.names, claim(subject.point), doubled(subject.point), strict=True
    ):
        if not np.isfinite(once).all() or not np.isfinite(twice).all():
            continue
        size = np.abs(once).max(initial=0.0)
        if np.any(np.abs(twice - 2 * once) > 1e-9 * size):
            raise GradientError(
                f"vjp: expected the gradient of {name} to double with g; got "
                f"{np.abs(twice).max():.6g} for {size:.6g}. Multiply by g, once"
            )


def _one_cause(
    subject: Subject,
    claims: dict[str, Claim],
    cotangent: np.ndarray,
    shown: dict[str, ParameterReport],
) -> str | None:
    """Name the one mistake that explains all that is wrong in a formula, or None."""
    causes = {p.cause for p in shown.values() if p.verdict == "wrong"}
    single = causes.pop() if len(causes) == 1 else None
    if "formula" in claims and "autograd" in claims:
        rng = np.random.default_rng(0)
        point = subject.point
        for _ in range(2):
            slips = _slips(subject, cotangent, point)
            claimed = claims["formula"](point)
            if slips is not None and slips.wrong(claimed):
                slip = slips.explaining(claimed)
                return single if slip is None else str(slip)
            # What cannot be seen at this point may be seen beside it.
            point = [
                np.asarray(x + 0.02 * sizes_of(x) * rng.standard_normal(x.shape))
                for x in point
            ]
    return single


def _slips(subject: Subject, cotangent: np.ndarray, point: Point) -> Slips | None:
    variables = subject.variables(point)
    output = subject.recorded(variables)
    if not output.requires_grad:
        return None
    return Slips(output, cotangent.reshape(output.shape), variables)


def _trouble(claim: Claim, subject: Subject) -> str | None:
    """Say what stops autograd from running f; None if nothing does."""
    try:
        claim(subject.point)
    except Exception as error:  # noqa: BLE001 (plain NumPy code may fail in any way)
        reason = error.__cause__ or error
        return f"{type(reason).__name__}: {str(reason).splitlines()[0]}"
    return None


def _refuted_by(
    sites: dict[str, Site], bound: float, names: Sequence[str], sizes: tuple[int, ...]
) -> dict[str, ParameterReport]:
    """Parameters that differ from autograd's where the numbers confirm autograd.

    ``bound`` is how sharply they do, in a step of the elements' sizes, infinite where
    they do not. Slopes that have a choice differ in a kink, and the bound is no smaller
    than half of the kink: a choice is never refuted here.
    """
    formula, recorded = sites["formula"], sites["autograd"]
    found: dict[str, ParameterReport] = {}
    for p, name in enumerate(names):
        x, y = formula.gradients[p], recorded.gradients[p]
        if not x.size or p not in formula.open or p not in recorded.open:
            continue
        scale = sizes_of(recorded.point[p])
        mean = recorded.shares[p] / np.sqrt(x.size)
        unsure = 10 * bound + 5 * (formula.rounding[p] + recorded.rounding[p])
        allowed = NOT_A_MISTAKE * np.abs(y) * scale + 1e-9 * mean
        off = np.abs(x - y) * scale
        mask = off > allowed + unsure
        if not mask.any():
            continue
        known = np.ones(x.shape, bool)
        evidence = Evidence(x, y, unsure / scale, known, mask, recorded.point[p], sizes)
        found[name] = ParameterReport(
            name,
            x.shape,
            "wrong",
            wrong=int(mask.sum()),
            checked=x.size,
            resolution=float(bound / recorded.shares[p]) if recorded.shares[p] else 0.0,
            worst=_worst(int(np.where(mask, off, 0.0).argmax()), evidence),
            cause=name_cause(evidence),
        )
    return found


def _differences(
    results: dict[str, dict[str, ParameterReport]],
    sites: dict[str, Site],
    names: Sequence[str],
) -> list[str]:
    """Say how far formula and autograd differ where neither is called wrong."""
    notes: list[str] = []
    kink = "formula and autograd differ where slopes have a choice: at kinks"
    most, place = 0.0, ""
    for p, name in enumerate(names):
        x, y = (sites[who].gradients[p] for who in ("formula", "autograd"))
        if not x.size or np.array_equal(x, y):
            continue
        if any(found[name].kinks for found in results.values()):
            notes = [kink]
            continue
        size = np.maximum(np.abs(x), np.abs(y))
        relative = np.divide(np.abs(x - y), size, np.zeros(x.shape), where=size > 0)
        if relative.max() > most:
            most = float(relative.max())
            index = np.unravel_index(int(relative.argmax()), x.shape) if x.ndim else ()
            text = ", ".join(str(int(k)) for k in index)
            place = f"{name}[{text}]" if text else name
    if most > _ROUNDING:
        notes.append(f"formula and autograd differ by {most:.1e} relative, at {place}")
    return notes


def _same(claims: dict[str, Claim], subject: Subject) -> bool:
    """Whether formula and autograd agree to rounding, element by element."""
    formula, recorded = (claims[who](subject.point) for who in ("formula", "autograd"))
    for x, y, point in zip(formula, recorded, subject.point, strict=True):
        if not np.isfinite(x).all() or not np.isfinite(y).all():
            return False
        size = np.abs(y * sizes_of(point)).max(initial=0.0)
        off = np.abs(x - y) * sizes_of(point)
        if np.any(off > _ROUNDING * np.abs(y * sizes_of(point)) + 1e-13 * size):
            return False
    return True


def _sizes(subject: Subject) -> tuple[int, ...]:
    """Lengths of axes that occur in the computation: factors come from them."""
    found = {n for x in subject.point for n in x.shape}
    try:
        with np.errstate(all="ignore"):
            inputs = [Tensor(x, requires_grad=True) for x in subject.point]
            output = subject.f(*subject.arguments(inputs))
        if isinstance(output, Tensor):
            for node in graph.nodes(output)[:1000]:
                found.update(getattr(node, "shape", ()))
    except Exception:  # noqa: BLE001, S110 (only a help for words)
        pass
    return tuple(sorted(found))


def _exceeding(
    subject: Subject,
    who: str,
    vjp: Callable[..., Any] | None,
    cotangent: np.ndarray,
    seed: int,
    sizes: tuple[int, ...],
    way: _Way,
) -> dict[str, ParameterReport]:
    """Judge once more with positive weights; return what is wrong then.

    Weighed by both signs, kinks of both kinds meet, and nearly everything lies between
    the slopes. Where every weight is positive the kinks of a maximum are of one kind.
    """
    weights = np.abs(cotangent)
    again = (
        autograd(subject, weights)
        if who == "autograd"
        else _by_hand(subject, None, vjp, weights)
    )
    if again is None or way.skip:
        return {}
    once = way._replace(points=1)
    found, _, _ = _parameters(subject, again, weights, seed, sizes, once)
    return {name: p for name, p in found.items() if p.verdict == "wrong"}


def _kinked(parameters: dict[str, ParameterReport]) -> bool:
    return any(p.kinks or p.verdict == "kink" for p in parameters.values())


def _wrong(parameters: dict[str, ParameterReport]) -> bool:
    return any(p.verdict == "wrong" for p in parameters.values())


def _parameters(
    subject: Subject,
    claim: Claim,
    cotangent: np.ndarray,
    seed: int,
    sizes: tuple[int, ...],
    way: _Way,
) -> tuple[dict[str, ParameterReport], Site, float]:
    """Judge one claim: at the given point, then at another nearby.

    Returns the reports, the given point, and the bound to which all parameters agree
    there at once: infinite where they were judged one by one.
    """
    rng = np.random.default_rng(seed)
    site = Site(subject, claim, cotangent, subject.point, rng, skip=way.skip)
    findings, settled, bound = _findings(site, full=way.full)
    places = dict.fromkeys(findings, site)
    if all(finding.verdict != "wrong" for finding in findings.values()):
        # A mistake can be invisible at one point: a forgotten regulariser at W = 0.
        beside_it = way.points - 1
        for _ in range(beside_it if settled else 3 * beside_it):
            beside = _beside(subject, claim, cotangent, rng, skip=way.skip)
            if beside is None:
                break
            wrong = _refuted(beside)
            findings.update(wrong)
            places.update(dict.fromkeys(wrong, beside))
            if wrong:
                break
    reports = {
        subject.names[p]: _described(subject.names[p], places[p], p, finding, sizes)
        for p, finding in sorted(findings.items())
    }
    return reports, site, bound


def _findings(site: Site, *, full: bool) -> tuple[dict[int, Finding], bool, float]:
    """Judge every parameter; whether without doubt, and the bound of all at once."""
    findings = {
        p: Finding("ok", 0.0, {}) if np.isfinite(g).all() else Finding("wrong", 0.0, {})
        for p, g in enumerate(site.gradients)
    }
    if not site.open:
        return findings, True, np.inf
    together = site.agrees(2)
    if full:
        findings.update({p: site.every(p) for p in site.open})
        if together.kind == "pass":
            return findings, True, together.bound
        return findings, _settled(findings), np.inf
    if together.kind == "pass":
        resolution = together.resolution
        findings.update({p: Finding("ok", resolution, {}) for p in site.open})
        return findings, True, together.bound
    suspect = together.kind == "reject"
    findings.update({p: site.examine(p, suspect=suspect) for p in site.open})
    verdict = worst_verdict(*(finding.verdict for finding in findings.values()))
    if together.beyond and verdict in ("ok", "weak"):
        # All together were off by more than a mistake: the bluntest test let it pass.
        blunt = max(site.open, key=lambda p: findings[p].resolution * site.shares[p])
        findings[blunt] = site.convict(blunt)
        verdict = "wrong"
    return findings, verdict == "ok", np.inf


def _settled(findings: dict[int, Finding]) -> bool:
    return all(finding.verdict == "ok" for finding in findings.values())


def _refuted(site: Site) -> dict[int, Finding]:
    """Parameters that are wrong without doubt at a second point."""
    together = site.agrees(1)
    if together.kind in ("pass", "limited"):
        return {}
    suspect = together.kind == "reject"
    found = {p: site.examine(p, thorough=False, suspect=suspect) for p in site.open}
    return {p: f for p, f in found.items() if f.verdict == "wrong"}


def _beside(
    subject: Subject,
    claim: Claim,
    cotangent: np.ndarray,
    rng: np.random.Generator,
    *,
    skip: bool,
) -> Site | None:
    """Find a point nearby where the function is finite; None if there is none."""
    start = subject.point
    shifts = [sizes_of(x) * rng.standard_normal(x.shape) for x in start]
    for width in (0.02, 0.002):
        point: Point = [
            np.asarray(x + width * d) for x, d in zip(start, shifts, strict=True)
        ]
        value = subject.at(point)
        if value is not None and value.size == cotangent.size:
            site = Site(subject, claim, cotangent, point, rng, skip=skip)
            return site if len(site.open) == len(start) else None
    return None


def _described(
    name: str, site: Site, parameter: int, finding: Finding, sizes: tuple[int, ...]
) -> ParameterReport:
    gradient = site.gradients[parameter]
    elements = finding.elements
    wrong = [i for i, e in elements.items() if e.verdict == "wrong"]
    report = ParameterReport(
        name,
        gradient.shape,
        finding.verdict,
        wrong=len(wrong),
        kinks=sum(e.verdict == "kink" for e in elements.values()),
        checked=len(elements),
        resolution=finding.resolution,
        cause=finding.cause,
    )
    if finding.verdict != "wrong":
        return report
    evidence = _evidence(site, parameter, finding, wrong, sizes)
    bad = ~np.isfinite(gradient)
    if bad.any():
        worst = _worst(int(np.flatnonzero(bad)[0]), evidence)
    else:
        off = {i: abs(gradient.flat[i] - e.numeric) for i, e in elements.items()}
        worst = _worst(max(wrong or off, key=off.__getitem__), evidence)
    return ParameterReport(
        **{
            **report.__dict__,
            "wrong": len(wrong) or int(bad.sum()),
            "checked": bad.size if bad.any() else report.checked,
            "worst": worst,
            "cause": finding.cause or name_cause(evidence),
        }
    )


def _evidence(
    site: Site,
    parameter: int,
    finding: Finding,
    wrong: Sequence[int],
    sizes: tuple[int, ...],
) -> Evidence:
    shape = site.gradients[parameter].shape
    numeric = np.full(shape, np.nan)
    bound = np.full(shape, np.inf)
    mask = np.zeros(shape, bool)
    known = np.zeros(shape, bool)
    for i, element in finding.elements.items():
        numeric.flat[i] = element.numeric
        bound.flat[i] = element.bound
        known.flat[i] = np.isfinite(element.numeric) and element.verdict != "kink"
    mask.flat[list(wrong)] = True
    return Evidence(
        site.gradients[parameter],
        numeric,
        bound,
        known,
        mask,
        site.point[parameter],
        sizes,
    )


def _worst(i: int, evidence: Evidence) -> Worst:
    index = np.unravel_index(i, evidence.claimed.shape) if evidence.claimed.ndim else ()
    return Worst(
        tuple(int(k) for k in index),
        float(evidence.claimed.flat[i]),
        float(evidence.numeric.flat[i]),
        float(evidence.bound.flat[i]),
    )
