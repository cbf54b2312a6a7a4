"""What a generated source calls to look at values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.errors import DataError, DivergedError
from tinygrad_nn.op import Node

__all__ = ["Blamed", "Finite", "NotFiniteError", "refuse_nan", "refuse_not_finite"]


def refuse_nan(value: Any) -> None:
    """Take the careful way where the backward chose among values with a nan."""
    total = np.add.reduce(value, axis=None)
    if total != total:  # noqa: PLR0124 (only a nan differs from itself)
        raise FloatingPointError


class Blamed:
    """A check that names the line which asked for it; exported, the check alone.

    Raises
    ------
    DataError
        As the check does, with the line.
    """

    def __init__(self, check: Callable[[Any], None], line: Any) -> None:
        self.check = check
        self.line = line

    def __call__(self, value: Any) -> None:
        """Look at a value."""
        try:
            self.check(value)
        except DataError as error:
            raise DataError(f"{error} (recorded at {self.line})") from None


class Finite:
    """Raises where a value is not finite, and says whose it is.

    Raises
    ------
    DivergedError
        Names op, layer and line.
    """

    def __init__(self, node: Node) -> None:
        self.node = node

    def __call__(self, value: Any) -> None:
        """Look at a value."""
        if np.isfinite(value).all():
            return
        node = self.node
        assert node._op is not None  # noqa: S101 (leaves are not computed)
        scope = graph.scope(node)
        place = f" in {scope}" if scope else ""
        raise NotFiniteError(
            f"{node._op.name}{place}: expected finite numbers; got nan or inf at "
            f"{graph.line(node)}. Look at its operands, or lower the learning rate"
        )


class NotFiniteError(DivergedError):
    """A value on the way is not finite; what the step gives may be, all the same."""


def refuse_not_finite(value: Any) -> None:
    """Refuse what a step gives where it is not finite.

    Raises
    ------
    DivergedError
    """
    if not np.isfinite(value).all():
        raise DivergedError("compile: expected finite results; got nan or inf")
