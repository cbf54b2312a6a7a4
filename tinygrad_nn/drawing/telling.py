"""`scene_of`: from recorded nodes to the cards, arrows and groups of a scene."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.drawing.layers import Plan, closed_in, plan_of
from tinygrad_nn.drawing.marks import marks_of
from tinygrad_nn.drawing.names import Names, leaf_kind
from tinygrad_nn.drawing.scene import Arrow, Card, Scene
from tinygrad_nn.drawing.slopes import gradients_of, share_of
from tinygrad_nn.drawing.values import index_text, number, numbers_of, shortened
from tinygrad_nn.notation import written
from tinygrad_nn.op import inputs_of, settings_of
from tinygrad_nn.tensor import Parameter, Tensor

__all__ = ["DETAILED", "Recorded", "scene_of"]

DETAILED = 2000
"""Nodes of which each is told in full; of more, those that are shown folded."""

_PRODUCTS = {"multiply": "⊙", "matmul": "@"}
_WORD = re.compile(r"[^\W\d_]{3}|\.")  # a name that is no letter with an index


class Recorded(NamedTuple):
    """The nodes behind a scene by the keys of their cards, and what they are called."""

    nodes: Mapping[str, Tensor]
    names: Names


def scene_of(
    outputs: Sequence[Tensor],
    *,
    title: str | None,
    chosen: Mapping[str, Any],
    known: Mapping[int, tuple[Any, str]],
    caller: CodeType | None = None,
    classes: Mapping[str, str] | None = None,
    fold: bool | None = None,
    depth: int | None = None,
) -> tuple[Scene, Recorded]:
    """Tell the graph behind the outputs as cards, arrows and groups.

    Parameters
    ----------
    outputs
        Tensors.
    title
        Shown above.
    chosen, known, caller
        Where names come from, see `Names`.
    classes
        Names of layers' classes by path.
    fold, depth
        Which groups a still picture closes, see `closed_in`.
    """
    nodes = [x for x in graph.nodes(*outputs) if isinstance(x, Tensor)]
    plan, closed = closed_in(
        plan_of(nodes, classes or {}), outputs, fold=fold, depth=depth
    )
    names = Names(nodes, chosen, known, caller)
    recorded = Recorded({f"n{i}": node for i, node in enumerate(nodes)}, names)
    told = _told(nodes, plan, closed, outputs)
    grads, note = gradients_of(outputs, [x for x in nodes if x in told])
    teller = _Teller(recorded, plan, outputs, grads, told)
    for node in nodes:
        teller.tell(node)
    scene = Scene(
        tuple(teller.cards),
        tuple(teller.arrows),
        None if title is None else shortened(title, 120),
        note,
        teller.scalar,
        plan.groups,
        closed,
    )
    return scene, recorded


def _told(
    nodes: Sequence[Tensor],
    plan: Plan,
    closed: Collection[str],
    outputs: Sequence[Tensor],
) -> set[Tensor]:
    """Choose the nodes that are told in full: of a long graph those that show."""
    if len(nodes) <= DETAILED:
        return set(nodes)
    around = plan.around(closed)
    outer = {node: around[plan.homes[node]] for node in nodes}
    told = {node for node in nodes if outer[node] is None} | set(outputs)
    for node in nodes:  # and what leaves a folded group
        for x in inputs_of(node):
            if isinstance(x, Tensor) and outer[x] != outer[node]:
                told.add(x)
    return told


class _Teller:
    """Writes the cards and arrows of one graph."""

    def __init__(
        self,
        recorded: Recorded,
        plan: Plan,
        outputs: Sequence[Tensor],
        grads: Mapping[Tensor, np.ndarray],
        told: Collection[Tensor],
    ) -> None:
        self.names = recorded.names
        self.keys = {node: key for key, node in recorded.nodes.items()}
        self.homes = plan.homes
        self.outputs = set(outputs)
        self.grads = grads
        self.told = told
        self.aside = _aside(recorded.nodes.values())
        self.scalar = all(node.ndim == 0 for node in recorded.nodes.values())
        self.cards: list[Card] = []
        self.arrows: list[Arrow] = []
        self.constants: dict[Any, str] = {}

    def tell(self, node: Tensor) -> None:
        """Add the card of a node, of arrays that only it takes, and its arrows."""
        key = self.keys[node]
        if self.names.is_number(node):
            self.cards.append(self.plain(node))
            return
        inputs = inputs_of(node)
        operands = []
        first = all(not isinstance(x, Tensor) or x in self.aside for x in inputs)
        shares = self.shares(node) if node in self.told else {}
        for position, x in enumerate(inputs):
            beside = not isinstance(x, Tensor) or x in self.aside
            if first and _is_data(x):
                beside = False  # the way of the data begins here
            if isinstance(x, Tensor):
                start = self.keys[x]
            else:
                # One array is one card, however often it is used; numbers are many.
                same = id(x) if isinstance(x, np.ndarray) else (node, position)
                if same not in self.constants:
                    self.constants[same] = f"{key}c{position}"
                    self.cards.append(
                        self.array(self.constants[same], x, node, outside=not beside)
                    )
                start = self.constants[same]
            if node in self.told:
                operands.append(self.called(x))
            arrow = Arrow(start, key, beside, position)
            self.arrows.append(arrow._replace(**shares.get(position, {})))
        self.cards.append(self.card(node, operands))

    def called(self, x: Any) -> str:
        """Name an operand in a formula."""
        if isinstance(x, Tensor):
            return _short(self.names.of(x))
        name = self.names.of_constant(x)
        if name is not None:
            return _short(name)
        value = np.asarray(x)
        return number(value[()]) if value.ndim == 0 else "c"

    def card(self, node: Tensor, operands: Sequence[str]) -> Card:
        """Tell one node."""
        op = node.op
        kind = leaf_kind(node) if op is None else "op"
        if op is not None and node in self.outputs:
            kind = "output"
        value = node.data
        card = Card(
            self.keys[node],
            kind,
            "",
            "" if op is None else op.name,
            shape=value.shape,
            dtype="" if value.dtype == np.float64 else str(value.dtype),
            constant=not node.requires_grad,
            scope=_scope(node),
            group=self.homes[node],
            told=False,
            turned=op is not None and node in self.aside,
        )
        if node not in self.told:
            return card
        grad = self.grads.get(node)
        where = graph.line(node) if op is not None else None
        held = numbers_of(value)
        slope = None if grad is None else numbers_of(grad)
        return card._replace(
            name=shortened(self.names.of(node)),
            formula=_formula(node, operands),
            value=held,
            grad=slope,
            marks=marks_of(node, held, grad, slope),
            line="" if where is None else f"{_file(where.file)}:{where.number}",
            told=True,
        )

    def plain(self, node: Tensor) -> Card:
        """Draw a number that was made a Tensor, as a seed of gradients is, as one."""
        return Card(
            self.keys[node],
            "constant",
            "",
            value=numbers_of(node.data),
            constant=True,
            group=self.homes[node],
        )

    def array(self, key: str, x: Any, node: Tensor, *, outside: bool) -> Card:
        """Tell an operand that is no node."""
        value = np.asarray(x)
        own = self.names.given(x)
        name = self.names.of_constant(x) or ""
        plain = value.dtype in (np.float64, np.int64, np.bool_)
        told = node in self.told
        return Card(
            key,
            "data" if own and value.ndim else "constant",
            shortened(name),
            shape=value.shape,
            dtype="" if plain else str(value.dtype),
            value=numbers_of(value) if told else None,
            constant=True,
            # A named array is the user's data, and no part of the layer it enters.
            scope=() if own or outside else _scope(node),
            group=None if (own or outside) and told else self.homes[node],
            told=told,
        )

    # --- what flows back along an arrow ---

    def shares(self, node: Tensor) -> dict[int, dict[str, Any]]:
        """Run the rules of one op on its numbers, for every operand by itself."""
        op = node.op
        g = self.grads.get(node)
        if op is None or g is None or not op.differentiable:
            return {}
        found: dict[int, dict[str, Any]] = {}
        inputs = inputs_of(node)
        with np.errstate(all="ignore"):
            for i, x in enumerate(inputs):
                if not isinstance(x, Tensor) or not x.requires_grad:
                    continue
                share = share_of(node, i, g)
                if share is None:
                    continue
                total = self.grads.get(x)
                if total is not None and np.shape(total) == share.shape:
                    # 0 · inf where no path is: the engine has no share there.
                    astray = ~np.isfinite(share) & np.isfinite(total)
                    share = np.where(astray, 0.0, share)
                facts: dict[str, Any] = {"share": numbers_of(share)}
                if self.scalar:
                    facts["upstream"] = float(g)
                    slope = share_of(node, i, np.ones_like(g))
                    facts["local"] = None if slope is None else float(slope)
                found[i] = facts
        return found


def _scope(node: Tensor) -> tuple[str, ...]:
    path = graph.scope(node)
    return () if path is None else tuple(map(shortened, path.split(".")))


def _file(path: str) -> str:
    """Name a file without its folder; cells of a notebook have made-up names."""
    name = os.path.basename(path)  # noqa: PTH119 (no path: <stdin>)
    return "cell" if "ipykernel" in path else shortened(name)


def _is_data(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x.op is None and not isinstance(x, Parameter) and x.ndim > 0
    return np.ndim(x) > 0


def _short(name: str) -> str:
    return shortened(name, 24)


def _formula(node: Tensor, operands: Sequence[str]) -> str:
    """Write the op's formula with its operands' names, and unusual settings."""
    op = node.op
    if op is None:
        return ""
    settings = settings_of(node)
    filled = {name: shortened(str(setting), 24) for name, setting in settings.items()}
    if "index" in settings:
        filled["index"] = f"[{shortened(index_text(settings['index']))}]"
    text = _written(node, operands, filled)
    extra = [
        f"{name}={filled[name]}"
        for name, setting in settings.items()
        if f"${name}" not in op.formula.template.replace(f"_{{${name}}}", "")
        and setting is not None
        and setting is not False
        and name != "tie"
    ]
    return f"{text}  ({', '.join(extra)})" if extra else text


def _written(node: Tensor, operands: Sequence[str], settings: Mapping[str, str]) -> str:
    op = node.op
    if op is None:
        return ""
    if "$x[" in op.formula.template and "index" in settings:
        return f"{operands[0]}{settings['index']}"
    sign = _PRODUCTS.get(op.name)
    number_times_number = op.name == "multiply" and node.ndim == 0
    if sign and (number_times_number or any(map(_WORD.search, operands))):
        # Letters side by side are a product; words side by side are not.
        return f" {'·' if number_times_number else sign} ".join(operands)
    if op.variadic:
        return f"{op.name}({shortened(', '.join(operands), 60)})"
    inputs = inputs_of(node)
    named = {id(x): name for x, name in zip(inputs, operands, strict=True)}
    return written(node, lambda x: named.get(id(x)))


def _aside(nodes: Collection[Tensor]) -> set[Tensor]:
    """Leaves, and leaves that were only moved into another shape."""
    found: set[Tensor] = set()
    for node in nodes:
        op = node.op
        turned = op is not None and op.kind == "movement"
        if op is None or (
            turned and all(x in found for x in inputs_of(node) if isinstance(x, Tensor))
        ):
            found.add(node)
    return found
