"""Names of nodes: the user's own, wherever they can be found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.drawing.values import number
from tinygrad_nn.tensor import Parameter, Tensor

__all__ = ["Names", "leaf_kind"]

_LOOKED_UP = 5000  # nodes, beyond which no file is read for names
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Names:
    """What to call each node.

    A name comes from ``names``, else the node's own ``.name``, else the caller's
    variable, else the statement that computed it, ``Z1 = W1 @ X``, if it is the only
    one to give that name, else its op and a number in tape order. That a node has no
    name of its own is told by `given`.

    Parameters
    ----------
    nodes
        The graph in tape order.
    chosen
        Tensors or arrays by name, as given to ``draw``.
    known
        What `graph.known_in` found.
    caller
        Code of the function whose variables are known; without it no statement is
        looked at.
    """

    def __init__(
        self,
        nodes: Iterable[Tensor],
        chosen: Mapping[str, Any],
        known: Mapping[int, tuple[Any, str]],
        caller: CodeType | None = None,
    ) -> None:
        # The objects are kept beside their identities, so no identity is used twice.
        self._known = dict(known)
        self._chosen = {id(value): (value, name) for name, value in chosen.items()}
        self._numbered: dict[Tensor, str] = {}
        self._arrays: dict[int, tuple[np.ndarray, str]] = {}
        self._assigned: dict[int, tuple[Any, str]] = {}
        everything = list(nodes)
        if caller is not None and len(everything) <= _LOOKED_UP:
            self._assign(everything, caller)
        self._number(everything)

    def _assign(self, nodes: Sequence[Tensor], caller: CodeType) -> None:
        """Note names of statements that name one node, and nothing else here.

        The caller's own variables say what they hold now: its statements are left out.
        """
        taken = Counter(
            name for node in nodes if (name := self.given(node)) is not None
        )
        others = [x for x in nodes if graph.place(x)[0] is not caller]
        try:
            assigned = graph.assigned(others)
        except (IndexError, OSError):
            return  # the lines of a doctest that is over, or of a file that has changed
        found = {
            node: name
            for node, name in assigned.items()
            if isinstance(node, Tensor) and self.given(node) is None
        }
        taken.update(found.values())
        self._assigned = {
            id(node): (node, name) for node, name in found.items() if taken[name] == 1
        }

    def _number(self, nodes: Iterable[Tensor]) -> None:
        unnamed: dict[str, list[Tensor]] = {}
        for node in nodes:
            named = self.given(node) is not None or self._turned(node) is not None
            if not named and not self.is_number(node):
                unnamed.setdefault(_kind(node), []).append(node)
        for kind, members in unnamed.items():
            for i, node in enumerate(members, 1):
                place = "" if len(members) == 1 else str(i).translate(_LOWERED)
                self._numbered[node] = kind + place

    @property
    def assigned(self) -> Mapping[int, tuple[Any, str]]:
        """Names that statements gave, by identity: more of ``known``."""
        return self._assigned

    def given(self, value: Any) -> str | None:
        """Return the name that the user gave a node or array, or None."""
        if id(value) in self._chosen:
            return self._chosen[id(value)][1]
        own = graph.name(value) if isinstance(value, Tensor) else None
        if own:
            return own
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._assigned:
            return self._assigned[id(value)][1]
        base = getattr(value, "base", None)
        if isinstance(base, np.ndarray) and base.ndim >= 2:
            turned = value.shape == base.shape[::-1]
            if turned and value.strides == base.strides[::-1]:
                name = self.given(base)
                return None if name is None else f"{name}ᵀ"
        return None

    def of(self, node: Tensor) -> str:
        """Return the name of a node, a made one where there is none."""
        if self.is_number(node):
            return number(node.data[()])
        return self.given(node) or self._turned(node) or self._numbered[node]

    def is_number(self, node: Tensor) -> bool:
        """Whether a node says nothing but its number: a leaf that no one named.

        Such is the 1 with which a gradient begins, in the graph of a slope.
        """
        return (
            node.op is None
            and node.ndim == 0
            and not node.requires_grad
            and not isinstance(node, Parameter)
            and self.given(node) is None
        )

    def _turned(self, node: Tensor) -> str | None:
        """Name what is only the transpose of something named: Wᵀ."""
        if node.op is None or node.op.name != "transpose":
            return None
        name = self.given(node.inputs[0])
        return None if name is None else f"{name}ᵀ"

    def of_constant(self, x: Any) -> str | None:
        """Return the name of an array that is no node; None for a number."""
        given = self.given(x)
        if given is not None or not isinstance(x, np.ndarray) or x.ndim == 0:
            return given
        place = str(len(self._arrays) + 1).translate(_LOWERED)
        return self._arrays.setdefault(id(x), (x, f"c{place}"))[1]


def leaf_kind(node: Tensor) -> str:
    """Say what a leaf is to the user."""
    if isinstance(node, Parameter):
        return "parameter"
    return "input" if node.requires_grad else "data"


def _kind(node: Tensor) -> str:
    return leaf_kind(node) if node.op is None else node.op.name
