"""`check_formula`: hand-written gradients along the chain, to the first that is wrong.

What comes after a wrong line is wrong because of it. So a backward pass is judged in
the order in which it runs, from the loss to the first layer, and no further than the
first mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import autodiff, graph, recording
from tinygrad_nn.check.causes import Evidence, name_cause
from tinygrad_nn.check.gradients import check_gradients
from tinygrad_nn.check.report import Worst
from tinygrad_nn.check.slips import Slips, recomputed
from tinygrad_nn.check.subject import shape_advice
from tinygrad_nn.check.verdict import NOT_A_MISTAKE
from tinygrad_nn.errors import GradientError, OpError, ShapeError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.tensor import Tensor

__all__ = ["FormulaReport", "StepReport", "check_formula"]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class StepReport:
    """One gradient of the chain.

    Attributes
    ----------
    name, shape
        As it was given, and of the array.
    verdict
        ``"ok"``, ``"kink"``, ``"weak"``, ``"wrong"``, or ``"not judged"``: it comes
        after a wrong one.
    factor
        What it is a multiple of the gradient by: textbooks write ``dZ2 = A2 - Y`` for
        m times the gradient of a mean, and divide by m in ``dW2`` and ``db2``.
    worst
        The element that is most wrong.
    """

    name: str
    shape: tuple[int, ...]
    verdict: str
    factor: float = 1.0
    wrong: int = 0
    worst: Worst | None = None

    def __str__(self) -> str:
        """One line of the table."""
        size = int(np.prod(self.shape))
        verdict = self.verdict
        if verdict == "wrong":
            verdict = f"{self.wrong}/{size} wrong"
        note = ""
        if self.factor != 1 and self.verdict != "wrong":
            note = f"  {self.factor:g} times the gradient: divided by it further down"
        return f"  {self.name:<12} {self.shape!s:>12}  {verdict:<14}{note}".rstrip()


@dataclass(frozen=True)
class FormulaReport:
    """The verdict on a chain of hand-written gradients; true where all are right.

    Attributes
    ----------
    steps
        A `StepReport` for each gradient, in the order of the backward pass.
    cause
        The mistake in words, with op, layer and line, where it is a simple one.
    blame
        Who is wrong: ``("formula",)``, or ``("autograd",)`` where numbers refute the
        recorded rules.
    notes
        Sentences that a reader should know.
    """

    steps: tuple[StepReport, ...]
    cause: str | None = None
    blame: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> str | None:
        """Name of the first wrong gradient, or None."""
        return next((s.name for s in self.steps if s.verdict == "wrong"), None)

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"kink"``, ``"weak"`` or ``"wrong"``: the worst of all."""
        if self.blame:
            return "wrong"
        order = ("ok", "kink", "weak", "wrong")
        judged = [s.verdict for s in self.steps if s.verdict in order]
        return max(judged, key=order.index, default="ok")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict != "wrong"

    def __bool__(self) -> bool:
        """Whether the gradients may be trusted."""
        return self.ok

    def __str__(self) -> str:
        """Write the table, and what is wrong."""
        first = self.first
        if first is None:
            count = len(self.steps)
            head = f"{self.verdict}: {count} gradient{'s' if count != 1 else ''}"
        else:
            place = next(i for i, s in enumerate(self.steps, 1) if s.name == first)
            head = f"wrong at {first}, step {place} of {len(self.steps)} backwards"
        lines = [head, f"  {'gradient':<12} {'shape':>12}  verdict"]
        lines += [str(step) for step in self.steps]
        worst = next((s.worst for s in self.steps if s.verdict == "wrong"), None)
        if first is not None and worst is not None:
            index = ", ".join(map(str, worst.index))
            title = f"{first}[{index}]" if worst.index else first
            lines += [
                f"  {title}  by hand  {worst.analytic: .10g}",
                f"  {' ' * len(title)}  right    {worst.numeric: .10g}",
            ]
        if self.cause is not None:
            lines.append(f"  cause: {self.cause}")
        if self.blame == ("autograd",):
            lines.append("  who: autograd is wrong; check.locate tells which op's rule")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def check_formula(loss: Tensor, gradients: Mapping[Any, Any]) -> FormulaReport:
    """Judge gradients computed by hand, from the loss backwards, to the first mistake.

    Parameters
    ----------
    loss
        A recorded number.
    gradients
        What was computed by hand, as arrays. A key is a Tensor of the graph, or a name
        like ``"dZ2"`` or ``"Z2"``: of a Tensor's ``name=``, of a variable of the
        caller, or of the statement that recorded it, ``Z2 = W2 @ A1 + b2``.

    Returns
    -------
    FormulaReport
        ``.ok``, ``.verdict``, ``.first`` (the name of the first wrong gradient),
        ``.cause``, ``.steps``; and a table as its text. True where all are right.

    Raises
    ------
    OpError
        For a name that is no Tensor of the graph, or of several.
    ShapeError
        For a gradient of another shape than its Tensor.
    GradientError
        Where ``loss`` is not one number that a gradient leads from.

    Notes
    -----
    An intermediate may be a multiple of the gradient by the length of an axis, as in
    ``dZ2 = A2 - Y`` beside a cost that is a mean, if a parameter's gradient that is
    computed from it is right: then it is divided out later, as textbooks do.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> X, Y = np.ones((3, 4)), np.zeros((2, 4))
    >>> W = tg.Parameter(np.array([[1.0, 0.5, 2.0], [0.0, 1.0, 1.0]]), name="W")
    >>> Z = W @ X
    >>> A = np.tanh(Z)
    >>> cost = ((A - Y) ** 2).mean()
    >>> dA = 2 * (A.data - Y) / 8
    >>> dZ = dA * (1 - Z.data**2)
    >>> report = check_formula(cost, {"dA": dA, "dZ": dZ, "dW": dZ @ X.T})
    >>> report.first, [step.verdict for step in report.steps]
    ('dZ', ['ok', 'wrong', 'not judged'])
    >>> report.cause[:70]
    'the derivative of tanh is taken of its operand, not of its result; at '
    """
    _refuse_no_loss(loss)
    frame = recording.user_frame(sys._getframe(1))  # noqa: SLF001 (the documented way)
    order = graph.ancestors([loss], graph.written)
    chain = _chain(gradients, order, graph.known_in(frame))
    nodes = [link.node for link in chain]
    with recording.no_grad():
        found = autodiff.gradients(loss, nodes, unused="zero")
    right = [np.asarray(data_of(g), np.float64) for g in found]
    factors = _factors(chain, right, order)
    steps: list[StepReport] = []
    notes: list[str] = []
    custom = 1.0
    for i, link in enumerate(chain):
        step, blamed = _judged(loss, link, right[i], factors[i], custom)
        custom = max(custom, factors[i])
        steps.append(step)
        if blamed:
            notes.append(f"autograd's gradient of {link.title} is refuted by numbers")
        if step.verdict == "wrong":
            rest = chain[i + 1 :]
            steps += [StepReport(x.title, x.claim.shape, "not judged") for x in rest]
            blame = ("autograd", "formula") if blamed else ("formula",)
            cause = _cause(loss, chain[: i + 1], right, factors)
            return FormulaReport(tuple(steps), cause, blame, tuple(notes))
    return FormulaReport(
        tuple(steps), None, ("autograd",) if notes else (), tuple(notes)
    )


class _Link(NamedTuple):
    """A gradient by hand, and what it is the gradient of."""

    title: str
    node: Tensor
    claim: np.ndarray


def _refuse_no_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise OpError(
            f"check_formula: expected a recorded Tensor; got {type(loss).__name__}. "
            "Compute the loss from Tensors, and pass it"
        )
    if loss.size != 1 or not loss.requires_grad:
        raise GradientError(
            "check_formula: expected one number that a gradient leads from; got shape "
            f"{loss.shape}, requires_grad={loss.requires_grad}. Reduce it, and make "
            "the parameters with requires_grad=True"
        )


# --- whose gradients they are --------------------------------------------------------


def _chain(
    gradients: Mapping[Any, Any],
    order: Sequence[Node],
    known: Mapping[int, tuple[Any, str]],
) -> list[_Link]:
    """Pair the gradients with their nodes, in the order of the backward pass."""
    if not isinstance(gradients, Mapping) or not gradients:
        raise OpError(
            "check_formula: expected a dictionary of gradients; got "
            f"{type(gradients).__name__}. Write {{'dZ2': dZ2, 'dW2': dW2}}"
        )
    called = _called(order, known)
    places = _places(order)
    chain = []
    for key, value in gradients.items():
        node = key if isinstance(key, Tensor) else _looked_up(key, called)
        if node not in places:
            raise OpError(
                f"check_formula: {_title(key, called)} is no part of the loss's graph; "
                "it was not used, or another Tensor was. Pass one that the loss was "
                "computed from"
            )
        claim = np.asarray(data_of(value), np.float64)
        shape = np.shape(data_of(node))
        title = _title(key, called)
        if claim.shape != shape:
            raise ShapeError(
                f"check_formula: expected {title} in the shape {shape} of what it is "
                f"the gradient of; got {claim.shape}{shape_advice(claim.shape, shape)}"
            )
        chain.append(_Link(title, node, claim))
    chain.sort(key=lambda link: places[link.node], reverse=True)
    return chain


def _title(key: Any, called: Sequence[Mapping[Node, str]]) -> str:
    if isinstance(key, str):
        return key
    names = (names[key] for names in called if key in names)
    return f"d{next(names, 'Tensor')}"


def _called(
    order: Sequence[Node], known: Mapping[int, tuple[Any, str]]
) -> list[dict[Node, str]]:
    """Names of nodes: their own, then the caller's, then those of the statements."""
    own = {node: name for node in order if (name := graph.name(node)) is not None}
    local: dict[Node, str] = {}
    for node in order:
        for value in (node, data_of(node)):
            if id(value) in known and known[id(value)][0] is value:
                local.setdefault(node, known[id(value)][1])
    return [own, local, graph.assigned(order)]


def _looked_up(key: Any, called: Sequence[Mapping[Node, str]]) -> Any:
    for wanted in dict.fromkeys((key, str(key).removeprefix("d"))):
        for names in called:
            found = [node for node, name in names.items() if name == wanted]
            if len(found) == 1:
                return found[0]
            if found:
                lines = ", ".join(str(graph.line(node)) for node in found[:4])
                raise OpError(
                    f"check_formula: {key!r} may be the gradient of {len(found)} "
                    f"Tensors, at {lines}. Give one of them a name, or use the Tensor "
                    "itself as the key"
                )
    every = sorted({name for some in called for name in some.values()})
    raise OpError(
        f"check_formula: no Tensor of the graph is known by {key!r}; got names "
        f"{', '.join(every) or '(none)'}. Set its .name, or use the Tensor as the key"
    )


def _places(order: Sequence[Node]) -> dict[Node, int]:
    """Positions in time; a leaf stands just before the first op that reads it."""
    places: dict[Node, int] = {}
    inner = [node for node in order if graph.written(node)[0] is not None]
    for i, node in enumerate(inner):
        places[node] = 2 * i
        for x in graph.written(node)[1]:
            if isinstance(x, Node) and graph.written(x)[0] is None:
                places.setdefault(x, 2 * i - 1)
    return places


# --- judging -------------------------------------------------------------------------


def _close(claim: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where a claim equals the truth, but for what is no mistake."""
    mean = float(np.sqrt(np.mean(truth * truth))) if truth.size else 0.0
    close: np.ndarray = (
        np.abs(claim - truth) <= NOT_A_MISTAKE * np.abs(truth) + _ROUNDING * mean
    )
    return close


def _factors(
    chain: Sequence[_Link], right: Sequence[np.ndarray], order: Sequence[Node]
) -> list[float]:
    """For each link the length that it is a multiple by, where that is a custom.

    It is no custom but a forgotten division where all the parameters' gradients below
    are the same multiple.
    """
    lengths = sorted({n for node in order for n in np.shape(data_of(node)) if n > 1})
    leaves = [i for i, link in enumerate(chain) if link.node.op is None]
    factors = []
    for i, link in enumerate(chain):
        factor = 1.0
        if i not in leaves and not _close(link.claim, right[i]).all():
            fitting = [n for n in lengths if _close(link.claim, right[i] * n).all()]
            inside = set(graph.ancestors([link.node], graph.written))
            if fitting and any(
                chain[j].node in inside
                and not _close(chain[j].claim, right[j] * fitting[0]).all()
                for j in leaves
            ):
                factor = float(fitting[0])
        factors.append(factor)
    return factors


def _judged(
    loss: Tensor, link: _Link, right: np.ndarray, factor: float, custom: float
) -> tuple[StepReport, bool]:
    """Judge one gradient; and whether numbers refute autograd's.

    Autograd is asked first: it tells each element, to rounding. Numbers decide where
    they differ: at a kink there is a choice, and autograd may be wrong itself.
    ``custom`` is the multiple that came before: a wrong intermediate is compared so.
    """
    shape = link.claim.shape
    if _close(link.claim, right * factor).all():
        return StepReport(link.title, shape, "ok", factor), False
    numbers = _by_numbers(loss, link, link.claim)
    blamed = _by_numbers(loss, link, right) == "wrong"
    if numbers == "kink" or (blamed and numbers != "wrong"):
        return StepReport(link.title, shape, numbers), blamed
    truth = right if link.node.op is None else right * custom
    distance = np.abs(link.claim - truth)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    place = np.unravel_index(int(np.argmax(distance)), shape) if shape else ()
    worst = Worst(
        tuple(int(k) for k in place),
        float(link.claim[place]),
        float(truth[place]),
        float(NOT_A_MISTAKE * abs(truth[place])),
    )
    count = int((~_close(link.claim, truth)).sum())
    return StepReport(link.title, shape, "wrong", wrong=count, worst=worst), blamed


def _by_numbers(loss: Tensor, link: _Link, claim: np.ndarray) -> str:
    """Return the verdict of numbers alone: the loss as a function of the one array."""
    how = graph.source
    if link.node in graph.bypassed(graph.ancestors([loss])):
        how = graph.written  # what is recorded does not pass here
    try:
        return check_gradients(
            lambda x: recomputed(loss, {link.node: x}, how)[loss],
            data_of(link.node),
            formula=lambda _: claim,
            names=[link.title],
            points=1,
        ).verdict
    except GradientError:  # not finite there: the numbers say nothing
        return "weak"


def _cause(
    loss: Tensor,
    chain: Sequence[_Link],
    right: Sequence[np.ndarray],
    factors: Sequence[float],
) -> str | None:
    """Name the mistake: made after what was right, it changes none of that."""
    link, truth = chain[-1], right[len(chain) - 1]
    slips = Slips(loss, np.ones(loss.shape), [x.node for x in chain])
    earlier = list(right[: len(chain) - 1])
    sizes = tuple(sorted({n for x in chain for n in x.claim.shape if n > 1}))
    customs = list(dict.fromkeys([1.0, *factors[: len(chain)]]))
    if link.node.op is not None:
        customs = list(dict.fromkeys([*customs, *map(float, sizes)]))
    for factor in customs:
        slip = slips.explaining([*earlier, link.claim / factor])
        if slip is not None:
            return str(slip)
    known = np.ones(truth.shape, bool)
    for factor in customs:
        wanted = truth * factor
        wrong = ~_close(link.claim, wanted)
        cause = name_cause(
            Evidence(
                link.claim,
                wanted,
                1e-12 * np.abs(wanted),
                known,
                wrong,
                np.asarray(data_of(link.node), np.float64),
                sizes,
            )
        )
        if cause is not None:
            return cause
    return None
