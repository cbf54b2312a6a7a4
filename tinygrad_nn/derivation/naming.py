"""What to call nodes: the user's own names, and a textbook's where there are none."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.op import Node, inputs_of

__all__ = [
    "Naming",
    "identifier",
    "is_layer",
    "is_mask",
    "letters_of_layers",
    "named_nodes",
]

_MOST_PRIMES = 3
_LONGEST_LINE = 40
_WORTH_A_NAME = 4
_ACTIVATIONS = frozenset(
    [
        "tanh",
        "sigmoid",
        "relu",
        "softmax",
        "softplus",
        "maximum",
        "exp",
        "sin",
        "cos",
        "log_softmax",
        *("elu", "gelu_tanh", "mish", "prelu", "silu", "softsign", "tanhshrink"),
    ]
)


class Naming:
    """Names that are given out once each.

    Parameters
    ----------
    taken
        Names that are not to be given out.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self._used: dict[str, int] = {}

    def free(self, name: str) -> str:
        """Return a name, with a prime or a number where it is taken, and take it."""
        free = name
        count = self._used.get(name, 0)
        while free in self.taken:
            count += 1
            free = name + ("'" * count if count <= _MOST_PRIMES else f"_{count}")
        self._used[name] = count
        self.taken.add(free)
        return free


def identifier(name: str, taken: set[str]) -> str:
    """Return a name that Python takes, unlike all in ``taken``, and add it there.

    >>> taken = set()
    >>> identifier("A1'", taken), identifier("hidden.weight", taken)
    ('A1_', 'hidden_weight')
    >>> identifier("A1_", taken), identifier("lambda", taken), identifier("", taken)
    ('A1__', 'lambda_', '_')
    """
    made = "".join(
        c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name
    )
    if name.isidentifier() and not name.isascii():
        made = unicodedata.normalize("NFKC", name)  # as Python reads it
    made = made[:60]
    if not made or made[0].isdigit():
        made = "_" + made
    while made in taken or keyword.iskeyword(made) or made == "np":
        made += "_"
    taken.add(made)
    return made


def named_nodes(
    found: list[Any],
    output: Node,
    chosen: Mapping[str, Any],
    known: Mapping[int, tuple[Any, str]],
) -> dict[Any, str]:
    """Names of the nodes that have one: of the user's, or of a textbook's.

    A name that several nodes have, because a loop made them, is numbered by what they
    are computed from: Z of W1 is Z1, A of Z1 is A1.

    Parameters
    ----------
    found
        The nodes in tape order, leaves first.
    output
        The loss, which always has a name.
    chosen
        Nodes and numbers by name, as given to ``derive``.
    known
        What `graph.known_in` found.
    """
    bases = _given(found, chosen, known)
    named = set(bases)
    _add_layers(found, output, bases)
    bases.setdefault(output, "L")
    _name_after_activations(found, bases, named)
    _forget_overwritten(bases)
    _cut_long_lines(found, bases)
    return _numbered(found, bases, named)


def _given(
    found: list[Any],
    chosen: Mapping[str, Any],
    known: Mapping[int, tuple[Any, str]],
) -> dict[Any, str]:
    """Names that the user gave, in the order in which they count."""
    own = {id(value): name for name, value in chosen.items()}
    statements = graph.assigned(found)
    letters = letters_of_layers(found)
    bases: dict[Any, str] = {}
    for node in found:
        name = own.get(id(node)) or letters.get(node) or graph.name(node)
        if name is None and id(node) in known:
            name = known[id(node)][1]
        if name is None and node._op is not None:
            name = statements.get(node)
        if name is not None:
            bases[node] = name
    # What one instruction made again and again has one name: a loop on one line.
    places = {(graph.place(x), x._op): bases[x] for x in bases if x._op is not None}
    for node in found:
        name = places.get((graph.place(node), node._op))
        several = np.size(node._value) != 1  # of a sum of numbers no part is named
        if name is not None and several and graph.place(node)[0] is not None:
            bases.setdefault(node, name)
    return bases


def _numbered(
    found: list[Any], bases: Mapping[Any, str], named: set[Any]
) -> dict[Any, str]:
    """Give each name once: what has the name of others gets a number."""
    counts = Counter(bases.values())
    final: dict[Any, str] = {}
    naming = Naming()
    for node in found:
        if node in named and counts[bases.get(node, "")] == 1:
            final[node] = naming.free(bases[node])
    made: list[str] = []
    for node in found:
        base = bases.get(node)
        if base is None or node in final:
            continue
        number = _number_below(node, final)
        if (number is None or base == "T") and counts[base] > 1:
            number = 1 + made.count(base)
        made.append(base)
        if number is not None and (counts[base] > 1 or base == "A"):
            base = re.sub(r"\d+$", "", base) + str(number)
        final[node] = naming.free(base)
    return final


def _cut_long_lines(found: list[Any], bases: dict[Any, str]) -> None:
    """Name a part of a line that is too long to read, or is told too often."""
    sizes: dict[Any, int] = {}
    readers = Counter(
        x for node in found for x in {y for y in inputs_of(node) if isinstance(y, Node)}
    )
    for node in found:
        if node._op is None:
            continue
        size = 1 + max(
            sum(sizes.get(x, 0) for x in inputs if isinstance(x, Node))
            for inputs in (inputs_of(node), graph.written(node)[1])
        )
        again = readers[node] > 1 and size >= _WORTH_A_NAME
        if (size > _LONGEST_LINE or again) and node not in bases:
            bases[node] = "T"
        sizes[node] = 0 if node in bases else size


def letters_of_layers(found: list[Any]) -> dict[Any, str]:
    """Call the parameters of layers W1, b1, ...: what has a path has no short name."""
    made: dict[Any, str] = {}
    layers: dict[str, int] = {}
    # In the order in which they are used: leaves have the times of their last change.
    for node in (x for user in found for x in inputs_of(user) if isinstance(x, Node)):
        path, dot, kind = (graph.name(node) or "").rpartition(".")
        if node._op is None and dot and kind in ("weight", "bias"):
            number = layers.setdefault(path, len(layers) + 1)
            made[node] = ("W" if kind == "weight" else "b") + str(number)
    return made


def _name_after_activations(
    found: list[Any], bases: dict[Any, str], named: set[Any]
) -> None:
    """Let the Z of which f is the activation be Z_f, where the user named f."""
    for node in found:
        name = bases.get(node, "")
        if node not in named or node._op is None or node._op.name not in _ACTIVATIONS:
            continue
        for x in inputs_of(node):
            own = isinstance(x, Node) and x in bases and x not in named
            if own and name.isidentifier() and not re.fullmatch(r"A_?\d*", name):
                bases[x] = f"Z_{name}"


def _forget_overwritten(bases: dict[Any, str]) -> None:
    """Let ``cost = cost + penalty`` be one line: a number's last name is its name."""
    last: dict[str, Any] = {}
    for node, name in reversed(list(bases.items())):
        newer = last.setdefault(name, node)
        if newer is node or np.size(node._value) != 1 or node._op is None:
            continue
        if graph.place(newer) != graph.place(node) and np.size(newer._value) == 1:
            del bases[node]


def _add_layers(found: list[Any], output: Node, bases: dict[Any, str]) -> None:
    """Call what layers compute Z and A, where the user has no names for it.

    Z is a matrix product of a parameter, with its bias; A an activation of such a Z.
    """
    layers: set[Any] = {
        node
        for node, name in bases.items()
        if node._op is not None and re.fullmatch(r"Z\d*", name)
    }
    uses = Counter(x for node in found for x in inputs_of(node) if isinstance(x, Node))
    for node in found:
        if node in bases or node is output or node._op is None:
            continue
        op = node._op.name
        inputs = [x for x in inputs_of(node) if isinstance(x, Node)]
        if op == "add" and any(is_layer(x) for x in inputs):
            bases[node] = "Z"
            layers.add(node)
        elif op in _ACTIVATIONS and any(x in layers for x in inputs):
            if node._op.name != "log_softmax":
                bases[node] = "A"
        elif _is_product(node) and uses[node] == 1:
            consumer = next(
                (n for n in found if any(x is node for x in inputs_of(n))), None
            )
            read = consumer is not None and consumer._op.name in _ACTIVATIONS
            if read and is_layer(node):
                bases[node] = "Z"
                layers.add(node)


def _is_product(x: Any) -> bool:
    return x._op is not None and x._op.name == "matmul" and x._value.ndim > 1


def is_layer(x: Any) -> bool:
    """Whether a node is a product with a parameter: the number of a layer's output."""
    return _is_product(x) and any(
        isinstance(y, Node) and _is_parameter(y) for y in inputs_of(x)
    )


def _is_parameter(x: Any) -> bool:
    while x._op is not None and x._op.name == "transpose":
        x = inputs_of(x)[0]
    return x._op is None and x.requires_grad


def _number_below(node: Any, final: Mapping[Any, str]) -> int | None:
    """Return the largest number in the names of what a node is computed from."""
    numbers = []
    stack = [x for x in inputs_of(node) if isinstance(x, Node)]
    seen = set(stack)
    while stack:
        x = stack.pop()
        name = final.get(x)
        if name is not None:
            found = re.search(r"(\d+)'*$", name)
            if found is not None:
                # In the next turn of a loop it has the next number.
                next_turn = graph.place(x) == graph.place(node)
                numbers.append(int(found[1]) + (next_turn and x._op is node._op))
            continue
        for y in inputs_of(x):
            if isinstance(y, Node) and y not in seen:
                seen.add(y)
                stack.append(y)
    return max(numbers, default=None)


def is_mask(array: np.ndarray) -> bool:
    """Whether an array says of each element whether it stays."""
    if array.dtype.kind == "b":
        return True
    return array.ndim > 0 and array.size > 1 and bool(np.isin(array, (0, 1)).all())
