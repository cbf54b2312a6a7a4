"""Groups of nodes that a picture can show as one: layers, runs of alike, and the rest.

Layers come from the scopes that nodes were recorded in. A run is what repeats: four
or more layers, or sequences of ops, that look alike and follow each other. Both are
groups, and groups nest. To fold is to close some of them. Recursion is over names of
layers, which nest a few deep, and never over the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tinygrad_nn import graph
from tinygrad_nn.drawing.values import shortened
from tinygrad_nn.op import inputs_of, settings_of
from tinygrad_nn.tensor import Parameter, Tensor

__all__ = ["READABLE", "Group", "Plan", "closed_in", "plan_of"]

READABLE = 120
"""Ops and folded layers that one picture shows unless told otherwise."""

_WHOLE = 40  # so many ops are shown one by one, also where they repeat
_DEEPEST = 12  # boxes in boxes
_ALIKE = 4  # so many in a row are a run
_LONGEST = 24  # units of which one repetition may consist
_ENDS = 10  # of a graph that nothing else makes readable


class Group(NamedTuple):
    """Nodes that can be shown as one.

    Attributes
    ----------
    kind
        ``"layer"``, ``"run"``, or ``"more"`` for the middle of what is too long.
    name
        ``Dense``, ``encoder``; of a run what repeats: ``Dense``, ``matmul, tanh``.
    path
        Where the layer is: ``encoder.layers.0``; of a run ``layers.1 … layers.97``.
    parent
        Key of the group around it, or None.
    times
        How many repetitions a run has; 1 for a layer.
    depth
        How many layers are around it.
    ops, parameters
        How many ops, and how many learnt numbers, are in it.
    """

    key: str
    kind: str
    name: str
    path: str
    parent: str | None
    times: int
    depth: int
    ops: int
    parameters: int

    @property
    def title(self) -> str:
        """What to call it in a picture."""
        if self.kind == "more":
            return f"… {self.ops:,} more"
        return f"{self.name} ×{self.times:,}" if self.times > 1 else self.name  # noqa: RUF001 (a times sign)


class Plan(NamedTuple):
    """Groups from the outside in, and the innermost group of every node."""

    groups: tuple[Group, ...]
    homes: dict[Tensor, str | None]

    def around(self, closed: Iterable[str]) -> dict[str | None, str | None]:
        """Say for each group which closed one hides it: the outermost; None if none."""
        shut = set(closed)
        found: dict[str | None, str | None] = {None: None}
        for group in self.groups:
            outer = found[group.parent]
            if outer is None and group.key in shut:
                outer = group.key
            found[group.key] = outer
        return found


class _Draft:
    """A group in the making."""

    def __init__(
        self, key: str, kind: str, name: str, path: str, parent: _Draft | None
    ) -> None:
        self.key, self.kind, self.name, self.path = key, kind, name, path
        self.parent = parent
        self.times, self.ops, self.parameters = 1, 0, 0
        self.depth: int = 0
        if parent is not None:
            self.depth = parent.depth + (parent.kind == "layer")

    def done(self) -> Group:
        return Group(
            self.key,
            self.kind,
            self.name,
            self.path,
            None if self.parent is None else self.parent.key,
            self.times,
            self.depth,
            self.ops,
            self.parameters,
        )


class _Unit(NamedTuple):
    """A layer, or a single op, among its siblings."""

    name: str | None
    nodes: list[Tensor]


class _Planner:
    """Builds groups level by level; a level is the inside of a layer."""

    def __init__(self, classes: Mapping[str, str]) -> None:
        self.classes = classes
        self.drafts: list[_Draft] = []
        self.homes: dict[Tensor, _Draft | None] = {}
        self.signatures: dict[Any, int] = {}

    def level(
        self,
        nodes: Sequence[Tensor],
        paths: Mapping[Tensor, tuple[str, ...]],
        path: tuple[str, ...],
        home: _Draft | None,
    ) -> None:
        """Group the nodes of one layer. The recursion is over names of layers."""
        units: list[_Unit] = []
        layers: dict[str, _Unit] = {}
        for node in nodes:
            inner = paths[node]
            if len(inner) == len(path):
                units.append(_Unit(None, [node]))
                continue
            name = inner[len(path)]
            if name not in layers:
                layers[name] = _Unit(name, [])
                units.append(layers[name])
            layers[name].nodes.append(node)
        start = 0
        for begin, each, times in _runs([self.signature(u, paths) for u in units]):
            for unit in units[start:begin]:
                self.unit(unit, paths, path, home)
            run = self.run(units[begin : begin + each], times, path, home)
            last = units[begin + (times - 1) * each]
            if last.name is not None and units[begin].name is not None:
                ends = (units[begin].name, last.name)
                paths_of_ends = (".".join((*path, str(end))) for end in ends)
                run.path = " … ".join(shortened(each) for each in paths_of_ends)
            start = begin + each * times
            for unit in units[begin:start]:
                self.unit(unit, paths, path, run)
        for unit in units[start:]:
            self.unit(unit, paths, path, home)

    def unit(
        self,
        unit: _Unit,
        paths: Mapping[Tensor, tuple[str, ...]],
        path: tuple[str, ...],
        home: _Draft | None,
    ) -> None:
        """Place an op, or open a layer."""
        if unit.name is None:
            self.homes[unit.nodes[0]] = home
            return
        inner = (*path, unit.name)
        draft = self.draft("layer", self.title(inner), ".".join(inner), home)
        self.level(unit.nodes, paths, inner, draft)

    def run(
        self,
        units: Sequence[_Unit],
        times: int,
        path: tuple[str, ...],
        home: _Draft | None,
    ) -> _Draft:
        """Open a run, called by what one repetition holds."""
        names: dict[str, None] = {}
        for unit in units:
            op = unit.nodes[0].op
            if unit.name is not None:
                names[self.title((*path, unit.name), short=True)] = None
            elif op is not None:
                names[op.name] = None
        listed = list(names)
        if len(listed) > 4:
            listed = [*listed[:3], "…", listed[-1]]
        run = self.draft("run", ", ".join(listed), "", home)
        run.times = times
        return run

    def title(self, path: tuple[str, ...], *, short: bool = False) -> str:
        """Call a layer by its class where that is known, else by its path."""
        known = self.classes.get(".".join(path))
        if known is not None:
            return known
        name = path[-1]
        if name.isdigit() and len(path) > 1:
            return path[-2] if short else f"{path[-2]}.{name}"
        return name

    def draft(self, kind: str, name: str, path: str, home: _Draft | None) -> _Draft:
        made = _Draft(
            f"g{len(self.drafts)}", kind, shortened(name), shortened(path, 80), home
        )
        self.drafts.append(made)
        return made

    def signature(self, unit: _Unit, paths: Mapping[Tensor, tuple[str, ...]]) -> int:
        """Number a unit so that what looks alike has the same number."""
        look: Any
        if unit.name is None:
            look = _look(unit.nodes[0])
        else:
            places = {node: i for i, node in enumerate(unit.nodes)}
            depth = len(paths[unit.nodes[0]])
            look = tuple(
                (
                    _look(node),
                    paths[node][depth:],
                    tuple(
                        places.get(x) for x in inputs_of(node) if isinstance(x, Tensor)
                    ),
                )
                for node in unit.nodes
            )
        return self.signatures.setdefault(look, len(self.signatures))


def _look(node: Tensor) -> Any:
    """Return what two ops share that a reader would call the same."""
    # A weight is a part of it, with its shape; what else comes in may be anything.
    kinds = tuple(
        x.shape if _is_learnt(x) else isinstance(x, Tensor) for x in inputs_of(node)
    )
    settings = [
        (name, str(setting))
        for name, setting in settings_of(node).items()
        if name != "index"  # x[0], x[1], … are steps of one loop
    ]
    return node.op, node.shape, node.dtype.char, kinds, tuple(settings)


def _runs(looks: Sequence[int]) -> list[tuple[int, int, int]]:
    """Find what repeats: (begin, units in a repetition, repetitions), left to right.

    >>> _runs([7, 1, 1, 1, 1, 1, 8])
    [(1, 1, 5)]
    >>> _runs([1, 2, 1, 2, 1, 2, 1, 2, 1])
    [(0, 2, 4)]
    >>> _runs([1, 1, 1])
    []
    """
    found = []
    begin, n = 0, len(looks)
    while begin < n:
        for each in range(1, min(_LONGEST, (n - begin) // _ALIKE) + 1):
            end = begin + each
            while end < n and looks[end] == looks[end - each]:
                end += 1
            times = (end - begin) // each
            if times >= _ALIKE:
                found.append((begin, each, times))
                begin += each * times
                break
        else:
            begin += 1
    return found


def plan_of(nodes: Sequence[Tensor], classes: Mapping[str, str]) -> Plan:
    """Group the nodes of a graph.

    Parameters
    ----------
    nodes
        In tape order.
    classes
        Names of layers' classes by path, where they are known.
    """
    planner = _Planner(classes)
    ops = [node for node in nodes if node.op is not None]
    planner.level(ops, _paths(ops), (), None)
    homes = planner.homes
    for node in ops:
        draft = homes[node]
        while draft is not None:
            draft.ops += 1
            draft = draft.parent
    for leaf, home in _leaves(nodes, homes).items():
        homes[leaf] = home
        draft = home if leaf.requires_grad else None
        while draft is not None:
            draft.parameters += leaf.size
            draft = draft.parent
    return Plan(
        tuple(draft.done() for draft in planner.drafts),
        {node: None if draft is None else draft.key for node, draft in homes.items()},
    )


def _paths(nodes: Iterable[Tensor]) -> dict[Tensor, tuple[str, ...]]:
    split: dict[str | None, tuple[str, ...]] = {None: ()}
    paths = {}
    for node in nodes:
        scope = graph.scope(node)
        if scope not in split:
            split[scope] = tuple(str(scope).split(".", _DEEPEST))
        paths[node] = split[scope]
    return paths


def _leaves(
    nodes: Iterable[Tensor], homes: Mapping[Tensor, _Draft | None]
) -> dict[Tensor, _Draft | None]:
    """Place a leaf that is learnt inside what all its consumers have in common.

    One that is no parameter enters a layer, and is no part of it; it is part of a run
    where other repetitions have such a leaf in its place.
    """
    found: dict[Tensor, _Draft | None] = {}
    places: dict[Tensor, list[Any]] = {}
    shared: Counter[Any] = Counter()
    for node in nodes:
        for i, x in enumerate(inputs_of(node) if node.op is not None else ()):
            if not isinstance(x, Tensor) or x.op is not None or not x.requires_grad:
                continue
            home = homes[node]
            found[x] = _common(found[x], home) if x in found else home
            place = (home, node.op, node.shape, i)
            if place not in places.setdefault(x, []):
                places[x].append(place)
                shared[place] += 1
    for x in nodes:
        if x not in found or _is_learnt(x):
            continue
        alone = all(shared[place] < 2 for place in places[x])
        outer = found[x]
        while outer is not None and (alone or outer.kind == "layer"):
            outer = outer.parent
        found[x] = outer
    return {x: found.get(x) for x in nodes if x.op is None}


def _is_learnt(x: Any) -> bool:
    return isinstance(x, Parameter)


def _common(one: _Draft | None, other: _Draft | None) -> _Draft | None:
    around = set()
    while one is not None:
        around.add(one)
        one = one.parent
    while other is not None and other not in around:
        other = other.parent
    return other


# --- which groups to close ---------------------------------------------------------


def closed_in(
    plan: Plan, outputs: Sequence[Tensor], *, fold: bool | None, depth: int | None
) -> tuple[Plan, frozenset[str]]:
    """Choose the groups that are shown as one; a plan may get one group more.

    Parameters
    ----------
    fold
        True: every run is closed. False: none is. None: runs, in a graph of more than
        forty ops; then what has to be, that at most `READABLE` ops and groups are
        left: layers from the inside out, then the middle of what is still too long.
    depth
        How many layers deep to look; what is deeper is closed. None: as deep as
        ``fold`` lets.
    """
    ops = [node for node in plan.homes if node.op is not None]
    deep = {
        group.key
        for group in plan.groups
        if depth is not None and group.kind == "layer" and group.depth >= depth
    }
    runs = {group.key for group in plan.groups if group.kind == "run"}
    if fold is False or (fold is None and _count(plan, ops, deep) <= _WHOLE):
        return plan, frozenset(deep)
    closed = deep | runs
    deepest = max((g.depth for g in plan.groups if g.kind == "layer"), default=-1)
    while fold is None and deepest >= 0 and _count(plan, ops, closed) > READABLE:
        closed |= {
            group.key
            for group in plan.groups
            if group.kind == "layer" and group.depth >= deepest
        }
        deepest -= 1
    if fold is None and _count(plan, ops, closed) > READABLE:
        plan = _without_middle(plan, ops, outputs)
        closed |= {"more"}
    return plan, frozenset(closed)


def _count(plan: Plan, ops: Iterable[Tensor], closed: Iterable[str]) -> int:
    around = plan.around(closed)
    seen = set()
    loose = 0
    for node in ops:
        outer = around[plan.homes[node]]
        if outer is None:
            loose += 1
        else:
            seen.add(outer)
    return loose + len(seen)


def _without_middle(
    plan: Plan, ops: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Plan:
    """Gather the middle of the outermost level in one group."""
    parents = {group.key: group.parent for group in plan.groups}
    tops: dict[Any, None] = {}  # ops and groups of the outermost level, in order
    top_of: dict[Tensor, Any] = {}
    for node in ops:
        top: Any = node
        key = plan.homes[node]
        while key is not None:
            top, key = key, parents[key]
        tops[top] = None
        top_of[node] = top
    order = list(tops)
    kept = {*order[:_ENDS], *order[-_ENDS:]}
    kept |= {top_of[x] for x in outputs if x in top_of}
    homes = {
        node: "more"
        if home is None and node.op is not None and node not in kept
        else home
        for node, home in plan.homes.items()
    }
    inside = [node for node in ops if top_of[node] not in kept]
    # What only the middle uses goes with it; what the ends use as well stays.
    used: dict[Tensor, bool] = {}
    for node in ops:
        for x in inputs_of(node):
            if isinstance(x, Tensor) and x.op is None and homes[x] is None:
                used[x] = used.get(x, True) and top_of[node] not in kept
    homes |= {x: "more" for x, hidden in used.items() if hidden}
    learnt = [x for x, home in homes.items() if home == "more" and x.op is None]
    size = sum(x.size for x in learnt if x.requires_grad)
    size += sum(
        group.parameters
        for group in plan.groups
        if group.parent is None and group.key not in kept
    )
    more = Group("more", "more", "more", "", None, 1, 0, len(inside), size)
    groups = [
        group._replace(parent="more")
        if group.parent is None and group.key not in kept
        else group
        for group in plan.groups
    ]
    return Plan((more, *groups), homes)
