"""What C calls back for, and what it says went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn.compiler.blame import explained
from tinygrad_nn.compiler.c.pointers import Pointers
from tinygrad_nn.compiler.c.tables import Call
from tinygrad_nn.compiler.checks import Finite
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.op import Node, data_of, inputs_of, settings_of

__all__ = ["Faults", "called_back"]


class Faults:
    """What a status other than 0 stands for.

    Parameters
    ----------
    nodes
        Of the program: a status is the number of one that is not finite, from 1.
    """

    def __init__(self, nodes: list[Any]) -> None:
        self._nodes = nodes
        self._error: BaseException | None = None

    def keep(self, error: BaseException, node: Any) -> None:
        """Keep an error of Python's until C has returned."""
        ours = isinstance(error, (FloatingPointError, TinygradError))
        if isinstance(error, Exception) and not ours:
            error = explained(error, node)
        self._error = error

    def failed(self, status: int) -> None:
        """Raise what the status stands for."""
        if status == -1:
            raise FloatingPointError
        if status == -2:
            error, self._error = self._error, None
            assert error is not None  # noqa: S101 (the callback left it)
            raise error
        Finite(self._nodes[status - 1])(np.nan)


def called_back(
    call: Call, pointers: Pointers, faults: Faults, *, looks: bool, traps: bool
) -> Callable[[], int]:
    """Return the function that computes a node in Python; it gives a status.

    Parameters
    ----------
    call, pointers, faults
        What is computed, from where to where, and who keeps errors.
    looks
        Whether the result must be finite.
    traps
        Whether an invalid operation is an error.
    """
    node = call.node
    inputs = [pointers.value(x) for x in inputs_of(node)]
    settings = dict(settings_of(node))
    index: Any = settings.get("index")
    many = isinstance(index, tuple)
    live = many or isinstance(index, Node)
    get = [pointers.value(x) for x in (index if many else [index])] if live else []
    target = pointers.value(node)
    body = node._op.body
    looks = looks and node._value.dtype.kind == "f"
    raises: Any = "raise" if traps and not call.update else "ignore"

    def run() -> int:
        try:
            if live:
                parts = [g() for g in get]
                settings["index"] = tuple(parts) if many else parts[0]
            with np.errstate(all="ignore", invalid=raises):
                found = body(*[data_of(x()) for x in inputs], **settings)
            if looks and not np.isfinite(found).all():
                Finite(node)(found)
            np.copyto(target(), found, casting="unsafe")
        except BaseException as error:  # noqa: BLE001 (goes on above the C frame)
            faults.keep(error, node)
            return 1
        return 0

    return run
