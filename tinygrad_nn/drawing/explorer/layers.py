"""Boxes that fold: layers, runs of identical layers, and pieces of long chains."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Box", "boxes_of"]

_DEEPEST = 12
_LONGEST_PATTERN = 6
_REPEATS = 4
_WIDE = 48


class Box(NamedTuple):
    """A box that folds.

    Attributes
    ----------
    parent
        Number of the box around it, or -1.
    kind
        ``"layer"``, ``"run"`` (of identical layers or ops) or ``"part"`` (of a chain
        too long to read).
    times
        How often a run repeats.
    of
        Class of the layer, or of the layers of a run, where it is known.
    """

    name: str
    parent: int
    kind: str
    times: int = 1
    of: str = ""


class _Item(NamedTuple):
    """An op, or a layer: what may repeat."""

    name: str
    signature: int
    ops: tuple[int, ...]
    box: int


def boxes_of(
    paths: Sequence[tuple[str, ...]],
    looks: Sequence[Hashable],
    classes: Mapping[str, str] | None = None,
) -> tuple[list[Box], list[int]]:
    """Arrange ops in boxes.

    Parameters
    ----------
    paths
        The layer of each op, from the outside in, in tape order. A layer that is used
        again, later on, is another box.
    looks
        What an op looks like: ops and layers that look alike are folded into runs.
    classes
        Names of layers' classes by path, where they are known.

    Returns
    -------
    boxes, homes
        Boxes, parents before children, and the box of each op (-1: none).

    Examples
    --------
    >>> paths = [("net", f"Dense {i // 2}") for i in range(100)]
    >>> boxes, homes = boxes_of(paths, ["matmul", "tanh"] * 50)
    >>> boxes[0]
    Box(name='Dense 0 … Dense 49', parent=-1, kind='run', times=50, of='')
    >>> len(boxes), boxes[homes[0]]
    (51, Box(name='Dense 0', parent=0, kind='layer', times=1, of=''))
    """
    boxes, homes = _in_order(*_plain(*_layers(paths, classes or {})))
    if len(paths) <= _WIDE:
        return boxes, homes
    boxes, homes = _with_runs(boxes, homes, looks)
    return _in_order(boxes, homes)


def _layers(
    paths: Sequence[tuple[str, ...]], classes: Mapping[str, str]
) -> tuple[list[Box], list[int]]:
    boxes: list[Box] = []
    homes: list[int] = []
    visits: dict[tuple[int, str], int] = {}
    open_path: list[tuple[str, int]] = []
    for path in paths:
        shared = 0
        steps = path[:_DEEPEST]
        while (
            shared < min(len(steps), len(open_path))
            and open_path[shared][0] == steps[shared]
        ):
            shared += 1
        del open_path[shared:]
        for name in steps[shared:]:
            parent = open_path[-1][1] if open_path else -1
            visit = visits.get((parent, name), 0) + 1
            visits[parent, name] = visit
            title = name if visit == 1 else f"{name} ({visit})"
            open_path.append((name, len(boxes)))
            where = ".".join(step for step, _ in open_path)
            boxes.append(Box(title, parent, "layer", of=classes.get(where, "")))
        homes.append(open_path[-1][1] if open_path else -1)
    return boxes, homes


def _plain(boxes: list[Box], homes: list[int]) -> tuple[list[Box], list[int]]:
    """Take away boxes that say nothing: around one op, and around all that there is."""
    direct = [0] * len(boxes)
    inner = [0] * len(boxes)
    for home in homes:
        if home >= 0:
            direct[home] += 1
    for box in boxes:
        if box.parent >= 0:
            inner[box.parent] += 1
    gone = {i for i in range(len(boxes)) if direct[i] == 1 and not inner[i]}
    roots = [i for i, box in enumerate(boxes) if box.parent < 0]
    if len(roots) == 1 and not direct[roots[0]]:
        gone.add(roots[0])
    kept: list[Box] = []
    for box in boxes:
        name = box.name
        if name[:1].isdigit() and box.parent >= 0:
            # A number says whose number it is.
            name = f"{boxes[box.parent].name}.{name}"
        kept.append(box._replace(name=name))

    def outer(i: int) -> int:
        while i in gone:
            i = boxes[i].parent
        return i

    kept = [
        box._replace(parent=-2 if i in gone else outer(box.parent))
        for i, box in enumerate(kept)
    ]
    return kept, [outer(home) for home in homes]


def _with_runs(
    boxes: list[Box], homes: list[int], looks: Sequence[Hashable]
) -> tuple[list[Box], list[int]]:
    """Put boxes around what repeats, and around parts of what is too long."""
    inside: dict[int, list[_Item]] = {-1: [], **{i: [] for i in range(len(boxes))}}
    signatures: dict[Any, int] = {}

    def number(look: Any) -> int:
        return signatures.setdefault(look, len(signatures))

    # Inner boxes have greater numbers: from the last to the first, insides are known.
    members: dict[int, list[int]] = {}
    for op, home in enumerate(homes):
        members.setdefault(home, []).append(op)
    for box in [*reversed(range(len(boxes))), -1]:
        ops = [
            _Item(str(looks[op]), number(("op", looks[op])), (op,), -1)
            for op in members.get(box, [])
        ]
        items = sorted([*ops, *inside[box]], key=lambda item: item.ops[0])
        items = _folded(items, box, boxes, homes, number)
        items = _parted(items, box, boxes, homes)
        inside[box] = items
        if box >= 0:
            together = tuple(item.signature for item in items)
            whole = tuple(op for item in items for op in item.ops)
            around = boxes[box].parent
            look = number(("layer", together))
            inside[around].append(_Item(boxes[box].name, look, whole, box))
    return boxes, homes


def _folded(
    items: list[_Item], box: int, boxes: list[Box], homes: list[int], number: Any
) -> list[_Item]:
    found: list[_Item] = []
    place = 0
    looks = [item.signature for item in items]
    while place < len(items):
        length, times = _repeated(items, looks, place)
        run = items[place : place + length * times]
        if not run:
            found.append(items[place])
            place += 1
            continue
        pattern = run[:length]
        names = [item for item in pattern if item.box >= 0] or pattern
        first, last = names[0].name, run[-length + pattern.index(names[-1])].name
        title = first
        if names[0].box >= 0:
            title = f"{first} … {_ending(first, last)}"
        elif length > 1:
            title = " → ".join(_word(item.name) for item in pattern)
        else:
            title = _word(first)
        made = len(boxes)
        named = [boxes[item.box].of for item in pattern if item.box >= 0]
        of = ", ".join(filter(None, named))
        boxes.append(Box(title, box, "run", times, of))
        _move(run, made, boxes, homes)
        _parted(run, made, boxes, homes, length)
        ops = tuple(op for item in run for op in item.ops)
        look = number(("run", tuple(item.signature for item in pattern), times))
        found.append(_Item(title, look, ops, made))
        place += length * times
    return found


def _ending(first: str, last: str) -> str:
    """Return what of the last name the first one has not said: layers.0 … 9.

    >>> _ending("layers.0", "layers.9"), _ending("Dense 0", "Dense 9")
    ('9', 'Dense 9')
    """
    start, dot, _ = first.rpartition(".")
    return last.removeprefix(start + dot) if dot else last


def _word(look: str) -> str:
    return look.split("|", 1)[0]


def _repeated(items: list[_Item], looks: list[int], place: int) -> tuple[int, int]:
    """Return the pattern's length and how often it stands here; (0, 0) for none."""
    best = (0, 0)
    for length in range(1, _LONGEST_PATTERN + 1):
        pattern = looks[place : place + length]
        if len(pattern) < length:
            break
        times = 1
        start = place + length
        while looks[start : start + length] == pattern:
            times += 1
            start += length
        layered = any(item.box >= 0 for item in items[place : place + length])
        enough = _REPEATS if layered else 3 * _REPEATS
        many = times >= _REPEATS and length * times >= enough
        if many and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _parted(
    items: list[_Item], box: int, boxes: list[Box], homes: list[int], whole: int = 1
) -> list[_Item]:
    """Cut what is too long to read into parts of like size, and these again.

    A pattern of ``whole`` items is not cut.
    """
    while 2 * len(items) > 3 * _WIDE:
        parts = []
        count = -(-len(items) // _WIDE)
        size = -(-len(items) // count)
        size = -(-size // whole) * whole
        for start in range(0, len(items), size):
            members = items[start : start + size]
            made = len(boxes)
            ops = tuple(op for item in members for op in item.ops)
            title = f"ops {ops[0] + 1} … {ops[-1] + 1}"
            inner = [boxes[item.box] for item in members if item.box >= 0]
            layers = [box.name for box in inner if box.kind == "layer"]
            if len(layers) > 1:
                title = f"{layers[0]} … {_ending(layers[0], layers[-1])}"
            boxes.append(Box(title, box, "part"))
            _move(members, made, boxes, homes)
            parts.append(_Item(title, -1 - made, ops, made))
        items, whole = parts, 1
    return items


def _move(
    items: Sequence[_Item], made: int, boxes: list[Box], homes: list[int]
) -> None:
    for item in items:
        if item.box >= 0:
            boxes[item.box] = boxes[item.box]._replace(parent=made)
        else:
            homes[item.ops[0]] = made


def _in_order(boxes: list[Box], homes: list[int]) -> tuple[list[Box], list[int]]:
    """Number parents before children, without recursion; a parent of -2 is gone."""
    children: dict[int, list[int]] = {}
    for i, box in enumerate(boxes):
        children.setdefault(box.parent, []).append(i)
    order: list[int] = []
    stack = list(reversed(children.get(-1, [])))
    while stack:
        i = stack.pop()
        order.append(i)
        stack.extend(reversed(children.get(i, [])))
    place = {old: new for new, old in enumerate(order)}
    place[-1] = -1
    moved = [boxes[i]._replace(parent=place[boxes[i].parent]) for i in order]
    return moved, [place[home] for home in homes]
