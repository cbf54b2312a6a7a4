"""A recorded graph as cards and arrows: all that any picture of it needs, as text.

The scene is a snapshot: it holds no Tensor, so a later change of a value does not
change a picture. Cards are numbered in tape order, so the same program gives the same
scene, whatever the addresses of its objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.drawing.formulas import readable
from tinygrad_nn.drawing.names import Names, leaf_kind
from tinygrad_nn.drawing.values import index_text, number, shortened, summary
from tinygrad_nn.errors import MutationError, TinygradError
from tinygrad_nn.tensor import Parameter, Tensor, gradients

__all__ = ["READABLE", "Arrow", "Card", "Scene", "scene_of"]

READABLE = 120
"""Ops that one picture shows; of more, the first and the last of them."""

_ENDS = 10
_DEEPEST = 12  # boxes in boxes


class Card(NamedTuple):
    """One node.

    Attributes
    ----------
    kind
        ``"parameter"``, ``"input"`` (another leaf with a gradient), ``"data"``,
        ``"constant"``, ``"op"``, ``"output"`` or ``"more"``.
    value, grad
        Lines of text; an empty ``grad`` means that there is none.
    scope
        The layer it belongs to, from the outside in.
    """

    key: str
    kind: str
    name: str
    op: str = ""
    formula: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    value: tuple[str, ...] = ()
    grad: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether there is a nan or an infinity in it."""
        words = " ".join((*self.value, *self.grad)).split()
        return any(word.strip("[],-") in ("nan", "inf") for word in words)


class Arrow(NamedTuple):
    """From an operand to the op that takes it.

    A leaf stands beside its op, and so does a leaf that was only turned: ``W.T``.
    """

    start: str
    end: str
    beside: bool


class Scene(NamedTuple):
    """What is drawn."""

    cards: tuple[Card, ...]
    arrows: tuple[Arrow, ...]
    title: str | None
    note: str | None
    scalar: bool


def scene_of(
    outputs: Sequence[Tensor],
    *,
    title: str | None,
    chosen: Mapping[str, Any],
    known: Mapping[int, tuple[Any, str]],
) -> Scene:
    """Turn the graph behind the outputs into cards and arrows.

    Parameters
    ----------
    outputs
        Tensors.
    title
        Shown above.
    chosen, known
        Where names come from, see `Names`.
    """
    nodes = [x for x in graph.nodes(*outputs) if isinstance(x, Tensor)]
    hidden = _folded(nodes, outputs)
    shown = [node for node in nodes if node not in hidden]
    grads, note = _gradients(outputs, shown)
    names = Names(nodes, chosen, known)
    keys = {node: f"n{i}" for i, node in enumerate(nodes)}
    cards = []
    arrows = []
    constants: dict[Any, str] = {}
    homes = _homes(nodes)
    aside = _aside(nodes)
    for node in shown:
        if names.is_number(node):
            cards.append(_plain(node, keys[node], homes[node]))
            continue
        kind = _kind(node, outputs)
        operands = []
        inputs = node.inputs
        first = all(not isinstance(x, Tensor) or x in aside for x in inputs)
        for position, x in enumerate(inputs):
            beside = not isinstance(x, Tensor) or x in aside
            if first and _is_data(x, names):
                beside = False  # the way of the data begins here
            if isinstance(x, Tensor):
                key = "more" if x in hidden else keys[x]
                operands.append(_called(names.of(x)))
            else:
                # One array is one card, however often it is used; numbers are many.
                same = id(x) if isinstance(x, np.ndarray) else (node, position)
                if same not in constants:
                    constants[same] = f"{keys[node]}c{position}"
                    cards.append(_constant(constants[same], x, names, homes[node]))
                key = constants[same]
                operands.append(_constant_called(x, names))
            arrows.append(Arrow(key, keys[node], beside))
        cards.append(
            _card(node, keys[node], kind, names, operands, grads.get(node), homes[node])
        )
    if hidden:
        cards.append(Card("more", "more", f"… {len(hidden):,} more"))
        arrows += _into_hidden(nodes, hidden, keys)
    scalar = all(node.ndim == 0 for node in nodes)
    return Scene(tuple(cards), tuple(arrows), title, note, scalar)


def _plain(node: Tensor, key: str, scope: tuple[str, ...]) -> Card:
    """Draw a number that was made a Tensor, as a seed of gradients is, as a number."""
    return Card(
        key,
        "constant",
        "",
        value=tuple(summary(node.data)),
        grad=("constant",),
        scope=scope,
    )


def _kind(node: Tensor, outputs: Sequence[Tensor]) -> str:
    if any(node is x for x in outputs) and node.op is not None:
        return "output"
    if node.op is not None:
        return "op"
    return leaf_kind(node)


def _card(
    node: Tensor,
    key: str,
    kind: str,
    names: Names,
    operands: Sequence[str],
    grad: np.ndarray | None,
    scope: tuple[str, ...],
) -> Card:
    value = node.data
    lines: tuple[str, ...] = ()
    if grad is not None:
        lines = tuple(summary(grad))
    elif not node.requires_grad:
        lines = ("constant",)
    return Card(
        key,
        kind,
        shortened(names.of(node)),
        "" if node.op is None else node.op.name,
        _formula(node, operands),
        value.shape,
        "" if value.dtype == np.float64 else str(value.dtype),
        tuple(summary(value)),
        lines,
        scope,
    )


def _constant(key: str, x: Any, names: Names, scope: tuple[str, ...]) -> Card:
    value = np.asarray(x)
    own = names.given(x)
    name = names.of_constant(x) or ""
    plain = value.dtype in (np.float64, np.int64, np.bool_)
    return Card(
        key,
        "data" if own and value.ndim else "constant",
        shortened(name),
        shape=value.shape,
        dtype="" if plain else str(value.dtype),
        value=tuple(summary(value)),
        grad=("constant",),
        # A named array is the user's data, and no part of the layer it enters.
        scope=() if own else scope,
    )


def _is_data(x: Any, names: Names) -> bool:
    if isinstance(x, Tensor):
        return x.op is None and not isinstance(x, Parameter) and x.ndim > 0
    return np.ndim(x) > 0 and names.given(x) is not None


def _called(name: str) -> str:
    return shortened(name, 24)


def _constant_called(x: Any, names: Names) -> str:
    name = names.of_constant(x)
    if name is not None:
        return _called(name)
    value = np.asarray(x)
    return number(value[()]) if value.ndim == 0 else "c"


def _formula(node: Tensor, operands: Sequence[str]) -> str:
    """Write the op's formula with its operands' names, and unusual settings."""
    op = node.op
    if op is None:
        return ""
    settings = node.settings
    filled = {name: shortened(str(setting), 24) for name, setting in settings.items()}
    if "index" in settings:
        filled["index"] = shortened(index_text(settings["index"]))
    if op.variadic:
        filled[op.operands[0]] = shortened(", ".join(operands), 60)
    else:
        filled.update(zip(op.operands, operands, strict=True))
    text = readable(op.formula, filled)
    if node.ndim == 0:
        text = text.replace("⊙", "·")
    if "index" in settings and "$x[" not in op.formula.template:
        filled["index"] = f"[{filled['index']}]"
    extra = [
        f"{name}={filled[name]}"
        for name, setting in settings.items()
        if f"${name}" not in op.formula.template.replace(f"_{{${name}}}", "")
        and setting is not None
        and setting is not False
        and name != "tie"
    ]
    return f"{text}  ({', '.join(extra)})" if extra else text


def _gradients(
    outputs: Sequence[Tensor], shown: Sequence[Tensor]
) -> tuple[dict[Tensor, np.ndarray], str | None]:
    """Gradients to show: what ``backward`` left, else computed for the picture alone.

    Nothing is written to any ``.grad``. A node that no gradient reaches has none.
    """
    found = {
        node: node.grad
        for node in shown
        if node.requires_grad and node.grad is not None
    }
    missing = [x for x in shown if x.requires_grad and x not in found]
    if not missing:
        return found, None
    (output, *others) = outputs
    if others:
        return found, "gradients: draw one output to see them"
    if not output.requires_grad or output.dtype.kind != "f":
        return found, None
    if output.size != 1:
        return found, "gradients: the output is not one number"
    try:
        slopes = gradients(output, missing, unused="zero")
    except TinygradError as error:
        why = shortened(str(error), 120)
        if isinstance(error, MutationError):
            # Its text names files, whose places differ from one machine to the next.
            why = "a value changed after the graph had used it"
        return found, f"gradients: {why}"
    for node, slope in zip(missing, slopes, strict=True):
        reached = slope.op is not None or bool(slope.data.any())
        if reached:
            found[node] = slope.data
    return found, None


def _aside(nodes: Sequence[Tensor]) -> set[Tensor]:
    """Leaves, and leaves that were only moved into another shape."""
    found: set[Tensor] = set()
    for node in nodes:
        inputs = node.inputs
        turned = node.op is not None and node.op.kind == "movement"
        leaves = all(x in found for x in inputs if isinstance(x, Tensor))
        if node.op is None or (turned and leaves):
            found.add(node)
    return found


# --- layers, and graphs too long to read ------------------------------------------


def _homes(nodes: Sequence[Tensor]) -> dict[Tensor, tuple[str, ...]]:
    """Layers of the nodes; a parameter lives where all its consumers live."""
    homes: dict[Tensor, tuple[str, ...]] = {}
    consumers: dict[Tensor, list[tuple[str, ...]]] = {}
    for node in nodes:
        path = graph.scope(node)
        homes[node] = () if path is None else tuple(path.split(".", _DEEPEST))
        for x in node.inputs:
            if isinstance(x, Tensor) and x.op is None and x.requires_grad:
                consumers.setdefault(x, []).append(homes[node])
    for leaf, places in consumers.items():
        common = places[0]
        for place in places[1:]:
            same = 0
            while same < min(len(common), len(place)) and common[same] == place[same]:
                same += 1
            common = common[:same]
        homes[leaf] = common
    return homes


def _folded(nodes: Sequence[Tensor], outputs: Sequence[Tensor]) -> set[Tensor]:
    """Nodes left out of a long graph: the middle of the tape, and leaves met there."""
    ops = [node for node in nodes if node.op is not None]
    if len(ops) <= READABLE:
        return set()
    kept = {*ops[:_ENDS], *ops[-_ENDS:], *outputs}
    entering = [x for node in ops if node in kept for x in node.inputs]
    kept.update(x for x in entering if isinstance(x, Tensor) and x.op is None)
    return {node for node in nodes if node not in kept}


def _into_hidden(
    nodes: Sequence[Tensor], hidden: set[Tensor], keys: Mapping[Tensor, str]
) -> list[Arrow]:
    """One arrow from each shown node that something left out takes."""
    starts = {
        x: None
        for node in nodes
        if node in hidden
        for x in node.inputs
        if isinstance(x, Tensor) and x not in hidden
    }
    return [Arrow(keys[x], "more", x.op is None) for x in starts]
