"""`per_example_grad`: the gradient of each example's loss, instead of their mean's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph, ops, recording
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.op import Node, data_of
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.transforms.batching import batched
from tinygrad_nn.transforms.calling import Called, Wanted, call, select, signed
from tinygrad_nn.transforms.reverse import grad, one_number
from tinygrad_nn.transforms.structure import AS_GIVEN, opened

__all__ = ["per_example_grad"]

Function = Callable[..., Any]


def per_example_grad(
    f: Function,
    argnums: int | Sequence[int] | None = None,
    *,
    argnames: str | Sequence[str] | None = None,
) -> Function:
    """Make the function that returns the gradient of each example's loss, stacked.

    Parameters
    ----------
    f
        A loss, one number: that of a training step, such as ``loss(model, X, Y)``.
        It is meant for each example alone, as a batch of one.
    argnums, argnames
        What to differentiate, as in `grad`; it is the same for all examples. Every
        other positional argument has examples along its first axis, in all arrays of
        it; keyword arguments are passed on whole.

    Returns
    -------
    callable
        Its result has the structure of `grad`'s; a gradient of shape ``s`` becomes
        ``(n, *s)``. The mean over the examples is the gradient of the mean loss.

    Raises
    ------
    ShapeError
        For arrays of different numbers of examples.

    Notes
    -----
    The loss is recorded once, of one example, and its gradient is read for all
    together: one call an op, as a network of `Dense` layers needs no loop (and what
    has no such way, a loop over that op). Where ``f`` looks at numbers, draws some,
    does what a Tensor cannot, or is traced by `compile`, it is called example by
    example instead, from the first.

    Examples
    --------
    >>> import numpy as np
    >>> loss = lambda w, x, y: ((x @ w - y) ** 2).mean()
    >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
    >>> per_example_grad(loss)(np.zeros(2), x, y)
    array([[-2., -0.],
           [-0., -4.]])
    """

    @signed("per_example_grad", f)
    def transformed(*args: Any, **options: Any) -> Any:
        title = "per_example_grad"
        wanted = select(title, f, args, options, argnums, argnames)
        rest = [i for i in range(len(args)) if i not in wanted.keys]
        examples = opened({i: args[i] for i in rest}, _is_array)
        leaves: list[Any] = [
            x if isinstance(x, Node) else np.asarray(x) for x in examples.leaves
        ]
        moving = [
            i
            for i, x in enumerate(leaves)
            if np.ndim(data_of(x)) and not examples.in_model[i]
        ]
        count = _count(title, [leaves[i] for i in moving])

        def at(values: Sequence[Any]) -> list[Any]:
            """Return the arguments with these values for the arrays of examples."""
            new = list(examples.leaves)
            for i, value in zip(moving, values, strict=True):
                new[i] = value
            full = list(args)
            for i, x in examples.closed(new, AS_GIVEN).items():
                full[i] = x
            return full

        many = [leaves[i] for i in moving]
        if count and recording.current().trace is None:
            tensors = any(
                isinstance(x, Node) for x in opened([*args, *options.values()]).leaves
            )
            found = _together(f, at, options, wanted, many, tensors=tensors)
            if found is not None:
                return found
        one = grad(f, argnums, argnames=argnames)
        each = [one(*at([x[i : i + 1] for x in many]), **options) for i in range(count)]
        return _stacked(each, args, options, wanted)

    return transformed


def _is_array(x: Any) -> bool:
    return isinstance(x, (Node, np.ndarray, list, tuple))


def _count(title: str, arrays: Sequence[Any]) -> int:
    counts = sorted({len(x) for x in arrays})
    if not counts:
        raise OpError(
            f"{title}: expected arrays of examples beside what is differentiated; got "
            "none. Pass them by position"
        )
    if len(counts) > 1:
        raise ShapeError(
            f"{title}: expected as many examples in every array; got "
            f"{' and '.join(map(str, counts))} along the first axes. Pass by keyword "
            "what has no examples"
        )
    return counts[0]


class _VariesError(BaseException):
    """What the function does may differ from example to example.

    Not an `Exception`: a function that catches those must not go on from here.
    """


class _Watch:
    """A trace that ends where a function does more than to compute."""

    def __init__(self, examples: Sequence[Node]) -> None:
        self.examples = set(examples)
        self.checks: list[tuple[Node, Callable[[Any], None]]] = []
        self.indices: dict[int, tuple[Any, Node]] = {}

    def recorded(self, node: Node, *, gradients: bool) -> None:  # noqa: ARG002 (as the compiler's)
        """Give up for random numbers: each example has its own."""
        op = graph.source(node)[0]
        if op is not None and op.kind == "random":
            raise _VariesError

    def refuse_reading(self, node: Node, _how: str) -> None:
        """Give up where a number is read that is another for another example."""
        if not self.examples.isdisjoint(graph.ancestors([node])):
            raise _VariesError

    def stands_for(self, array: np.ndarray, node: Node) -> None:
        """Note that an index is the value of a node, of one size for all examples."""
        if array.dtype == np.bool_ and array.ndim:
            raise _VariesError
        self.indices[id(array)] = (array, node)

    def enter(self, module: Any) -> None:
        """Take a module as it is."""

    def held(self, value: Any) -> Tensor:
        """Return a leaf for an array."""
        return Tensor(value)

    def guard(self, node: Node, check: Callable[[Any], None]) -> None:
        """Note a check of a value, to be made for each example."""
        self.checks.append((node, check))

    check = guard

    def __getattr__(self, name: str) -> Any:
        """Give up for anything else: assignments, optimisers, backward."""
        raise _VariesError(name)


def _together(
    f: Function,
    at: Callable[[Sequence[Any]], list[Any]],
    options: Mapping[str, Any],
    wanted: Wanted,
    many: Sequence[Any],
    *,
    tensors: bool,
) -> Any:
    """Record the loss of the first example, and read its gradient for all; or None."""
    if any(np.isnan(data_of(x)).any() for x in many if data_of(x).dtype.kind == "f"):
        return None  # what was not chosen may hold one: the engine looks, in each
    firsts: list[Any] = [Tensor(np.array(data_of(x)[:1])) for x in many]
    watch = _Watch(firsts)

    def watched(*full: Any, **named: Any) -> Any:
        with recording.traced(watch):
            return f(*full, **named)

    n = len(many[0])
    try:
        with recording.recorded():
            called = call("grad", watched, at(firsts), options, wanted)
            one_number("grad", called.value)
            slopes = called.pull([None], again=True)
            called = called._replace(gives_tensors=tensors)
            live = called.in_graph(slopes)
        given = {
            first: ops.reshape(x if live else data_of(x), (n, *first.shape))
            for first, x in zip(firsts, many, strict=True)
        }
        live = live and recording.current().records
        checked = batched([x for x, _ in watch.checks], given, recorded=False)
        for (_, check), values in zip(watch.checks, checked, strict=True):
            for value in values:
                check(np.asarray(value))
        with np.errstate(all="ignore", invalid="raise"):
            found = batched(slopes, given, recorded=live, indices=watch.indices)
    except (_VariesError, Exception):  # noqa: BLE001 (one by one it happens again)
        return None
    return called.structured(_given(called, found, live=live))


def _given(called: Called, found: Sequence[Any], *, live: bool) -> list[Any]:
    if live:
        return list(found)
    arrays = [np.array(data_of(x)) for x in found]
    return [Tensor(x) for x in arrays] if called.gives_tensors else arrays


def _stacked(
    each: Sequence[Any],
    args: Sequence[Any],
    options: Mapping[str, Any],
    wanted: Wanted,
) -> Any:
    """Put the gradients of single examples together, one axis in front."""
    if each:
        parts = [opened(x) for x in each]
        whole = [
            ops.stack(*column)
            for column in zip(*[p.leaves for p in parts], strict=True)
        ]
        return parts[0].closed(whole, AS_GIVEN)
    empty = []
    for key in wanted.keys:
        found = opened(args[key] if isinstance(key, int) else options[key])
        arrays = [
            data_of(x if isinstance(x, Node) else np.asarray(x)) for x in found.leaves
        ]
        kinds = [x.dtype if x.dtype.kind == "f" else np.float64 for x in arrays]
        empty.append(
            found.closed(
                [np.zeros((0, *x.shape), k) for x, k in zip(arrays, kinds, strict=True)]
            )
        )
    return wanted.given(empty)
