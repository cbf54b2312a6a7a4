"""What losses make of targets: their shape, their dtype, and a look at labels.

In a compiled step what a user gave is read anew at each call, and looked at anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph, ops, recording
from tinygrad_nn.algebra import form_of
from tinygrad_nn.errors import (
    DataError,
    DtypeError,
    LikelyMistake,
    OpError,
    ShapeError,
)
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.shapes import Shape

__all__ = [
    "computed",
    "expect_logits",
    "inspect",
    "like",
    "live",
    "place",
    "refuse_unsigned",
    "value",
]

_NAMES = ("prediction", "target")


def value(prediction: Any, where: str, name: str = "prediction") -> Any:
    """Return the array of a prediction.

    Raises
    ------
    OpError
        For what is none: often the two operands were exchanged.
    """
    if isinstance(prediction, (Node, np.ndarray, np.generic)):
        return data_of(prediction)
    advice = " The order is (prediction, target)" if name == "prediction" else ""
    raise OpError(
        f"{where}: the {name} is a Tensor or an array; got "
        f"{type(prediction).__name__}.{advice}"
    )


def expect_logits(prediction: Any, where: str, squashed_by: str, instead: str) -> None:
    """Warn where probabilities stand in the place of logits: they train, but badly."""
    if not isinstance(prediction, Node):
        return
    found = form_of(prediction)
    op, _, _ = graph.source(prediction)
    names = (op and op.name, found and found.kind)
    if squashed_by in names:
        recording.warn(
            f"{where}: expects logits, and got what came out of {squashed_by}, which "
            f"would be applied twice. Give it the values before {squashed_by}, or use "
            f"{instead}",
            LikelyMistake,
        )


def like(
    prediction: Any, target: Any, where: str, names: Sequence[str] = _NAMES
) -> Any:
    """Return the target in the dtype of the prediction, if it has its shape.

    Raises
    ------
    ShapeError
        For another shape.
    DtypeError
        For a target that holds no real numbers.
    """
    like_this = value(prediction, where, names[0])
    if not isinstance(target, Node):
        target = live(np.asarray(target))
    labels = data_of(target)
    if labels.shape != like_this.shape:
        raise _misfit(like_this.shape, labels.shape, where, names)
    if labels.dtype != like_this.dtype:
        if labels.dtype.kind not in "fiub":
            raise DtypeError(
                f"{where}: the {names[1]} holds real numbers; got dtype {labels.dtype}"
            )
        if like_this.dtype.kind == "f":
            node = isinstance(target, Node)
            dtype = like_this.dtype
            return ops.astype(target, dtype) if node else labels.astype(dtype)
    return target


def _misfit(have: Shape, wanted: Shape, where: str, names: Sequence[str]) -> ShapeError:
    """Say which axis is to blame, and how to make the shapes one."""
    first, second = names
    got = f"got {first}{have}, {second}{wanted}"
    longer, shorter = sorted((have, wanted), key=len, reverse=True)
    if longer[:-1] == shorter and longer[-1:] == (1,):
        axis = len(shorter)
        new = "[:, None]" if axis == 1 else "[..., None]"
        has, lacks = names
        if longer is wanted:
            has, lacks = lacks, has
        advice = (
            f"The {has} has an axis {axis} of size 1 that the {lacks} lacks, and NumPy "
            f"would combine all pairs: pass {lacks}{new}, or {has}.reshape({shorter})"
        )
    elif len(have) == len(wanted):
        pairs = zip(have, wanted, strict=True)
        axis = next(i for i, (m, n) in enumerate(pairs) if m != n)
        advice = f"They differ at axis {axis}: {have[axis]} and {wanted[axis]}"
    else:
        advice = f"They have {len(have)} and {len(wanted)} axes; use .reshape"
    return ShapeError(
        f"{where}: expected {first} and {second} of one shape; {got}. {advice}"
    )


# --- labels -----------------------------------------------------------------------


def inspect(values: Any, check: Callable[[np.ndarray], None]) -> None:
    """Check values that are given: now, and in a compiled step at each call."""
    trace = recording.current().trace
    if trace is None:
        check(np.asarray(data_of(values)))
    elif isinstance(values, Node):
        trace.guard(values, check)
    else:
        trace.guard(trace.held(values), check)


def computed(target: Any) -> bool:
    """Whether a target is computed from parameters, and so no label of the user's."""
    return isinstance(target, Node) and target.requires_grad


def place(strange: np.ndarray) -> tuple[tuple[int, ...], int]:
    """Return where the first of some elements is, and its row."""
    at = tuple(int(i) for i in np.argwhere(strange)[0])
    return at, at[0] if at else 0


def refuse_unsigned(where: str) -> Callable[[np.ndarray], None]:
    """Return a check that refuses labels other than -1 and 1, naming the first."""

    def check(labels: np.ndarray) -> None:
        strange = np.abs(labels) != 1
        if strange.any():
            at, row = place(strange)
            raise DataError(
                f"{where}: labels are -1 and 1; got {labels[at]:g} at row {row}. "
                "For labels 0 and 1 pass 2 * target - 1"
            )

    return check


def live(x: Any) -> Any:
    """Return data as an array; in a compiled step, as what is read anew each time."""
    trace = recording.current().trace
    if trace is None:
        return x if x.__class__ is np.ndarray else np.asarray(data_of(x))
    return x if isinstance(x, Node) else trace.held(np.asarray(x))
