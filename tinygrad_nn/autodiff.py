"""The only backward engine: pulls gradients back through a recorded graph.

A rule knows one op and nothing else; here is all the rest. Shares of several
consumers are added; broadcasting is undone; dtypes are kept; a zero that means
"no path" is told from a zero that is a number; a value that changed since it was
saved is noticed.

There are two loops over one set of rules. `_pull_arrays` is the quick one: plain
arrays, plain first order, and a trap set for 0 * inf. `pull` works on Tensors, so
what it computes is a graph again, and it can keep track of missing paths; it
serves higher orders, any node, and every backward that fell into the trap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_nn import graph, recording
from tinygrad_nn.errors import (
    DtypeError,
    GradientError,
    MutationError,
    NoPathError,
    ShapeError,
)
from tinygrad_nn.op import (
    MANY,
    Array,
    Node,
    Op,
    checksums,
    constant,
    data_of,
    inputs_of,
)
from tinygrad_nn.ops import (
    add,
    astype,
    broadcast_to,
    getitem,
    logical_and,
    logical_or,
    not_equal,
    reshape,
    spread,
    sum,
    where,
)
from tinygrad_nn.shapes import Shape

__all__ = ["accumulate", "gradients", "pull"]

_by_order = attrgetter("_order")


class _PoisonedError(FloatingPointError):
    """What was not chosen may hold a nan, which raises no flag by itself."""


def _refuse_nan(values: Iterable[Array]) -> None:
    """Go the careful way where a nan may be among what was not chosen."""
    for value in values:
        if np.not_equal(value, value).any():
            raise _PoisonedError


# --- the quick loop --------------------------------------------------------------


def accumulate(root: Node, grad_output: Array | None, *, retain: bool) -> None:
    """Add the gradients of ``root`` to the ``.grad`` of the leaves that require one."""
    seed = _seed(root, grad_output)
    nodes = _tape(root)
    _refuse_changed(nodes)
    trace = recording.current().trace
    if trace is not None:
        if grad_output is not None:
            seed = _live_seed(trace, grad_output, root)
        trace.backward(root, seed, retain=retain)
        return
    try:
        # One errstate for the whole walk: 0 * inf traps here and nowhere else, and
        # a backward of ours warns of nothing.
        with np.errstate(all="ignore", invalid="raise"):
            leaves, inner = _pull_arrays(root, seed, nodes, retain)
    except (FloatingPointError, np.linalg.LinAlgError):
        # Of a matrix without an inverse, too: there an error names the op.
        leaves, inner = _pull_with_care(root, seed, nodes, retain)
    if retain:
        inner.update(_hidden_gradients(root, seed, nodes))
        for node, g in inner.items():
            _deposit(node, np.array(g), getattr(node, "_grad", None))
    for leaf, g in leaves.items():
        try:
            old = None if leaf._spent else leaf._grad
        except AttributeError:  # a result of no_grad that was made a leaf
            old = None
        _deposit(leaf, g, old)
        leaf._spent = False


def _deposit(node: Node, g: Array, old: Array | None) -> None:
    value = node._value
    if value.dtype.kind != "f":
        raise GradientError(
            f"backward: only real floating values have a gradient; got {value.dtype}"
            f"{_title(node)}. Make it with requires_grad=True, which copies to float64"
        )
    if g.shape != value.shape:
        g = np.full(value.shape, g)
    if g.dtype != value.dtype or old is not None:
        with np.errstate(all="ignore"):
            g = g.astype(value.dtype, copy=False)
            g = g if old is None else old + g
    # 0-d arithmetic gives NumPy scalars; a gradient is always an array.
    node._grad = g if g.__class__ is np.ndarray else np.asarray(g)


def _tape(root: Node, until: Iterable[Any] = ()) -> list[Node]:
    """Op nodes that a gradient may pass, newest first, as far as ``until``."""
    if root._op is None:
        return []
    found = []
    stack = [root]
    seen = {root, *(x for x in until if isinstance(x, Node))}
    while stack:
        node = stack.pop()
        found.append(node)
        leads = node._leads
        x = node._x
        if x.__class__ is tuple:
            for y in x:
                if (
                    isinstance(y, Node)
                    and y.requires_grad
                    and y._op is not None
                    and y not in seen
                ):
                    seen.add(y)
                    stack.append(y)
            continue
        if leads & 1 and x._op is not None and x not in seen:
            seen.add(x)
            stack.append(x)
        if leads & 2:
            y = node._y
            if y._op is not None and y not in seen:
                seen.add(y)
                stack.append(y)
    found.sort(key=_by_order, reverse=True)
    return found


def _pull_arrays(
    root: Node,
    seed: Array,
    nodes: Sequence[Node],
    retain: bool,
    grads: dict[Node, Array] | None = None,
) -> tuple[dict[Node, Array], dict[Node, Array]]:
    """Pull ``seed`` back on plain arrays; gradients of leaves, and of inner nodes.

    A NumPy scalar may stand for an array filled with it, until an op that is not
    elementwise needs the array: the mean of a loss costs no array of 1/m. Into
    ``grads`` goes what a part of a graph adds to the gradients of the whole.
    """
    grads = {} if grads is None else grads
    grads[root] = seed
    inner: dict[Node, Array] = {}
    for node in nodes:
        g = grads.pop(node, None)
        if g is None:
            continue
        op: Op = node._op  # type: ignore[assignment]
        out = node._value
        if retain:
            inner[node] = g
        if not op.pointwise and g.shape != out.shape and op.kind != "checkpoint":
            g = np.broadcast_to(g, out.shape)
        arity = op.arity
        if arity == 1:
            if not node._leads:
                continue  # made a variable later on: its operand asked for nothing
            x = node._x
            a = x._value
            if op.defaults:
                if op.chooses:
                    _refuse_nan((a,))
                share = op.rules[0](g, out, a, **node._settings)
                if share.shape != a.shape or share.dtype is not a.dtype:
                    share = _fit(share, a, out, op)
            else:
                share = op.rules[0](g, out, a)
                if share.shape != a.shape or share.dtype is not a.dtype:
                    share = _fit(share, a, out, op)
            if x in grads:
                grads[x] = grads[x] + share
            elif x._op is None and (share is g or share.base is not None):
                grads[x] = share.copy()
            else:
                grads[x] = share
        elif arity == 2:
            x = node._x
            y = node._y
            leads = node._leads
            a = x._value if leads & 1 or isinstance(x, Node) else x
            b = y._value if leads & 2 or isinstance(y, Node) else y
            if (
                g.__class__ is not out.__class__
                and g.shape != out.shape
                and not _fills(a, b, leads, out.shape)
            ):
                g = np.broadcast_to(g, out.shape)
            if op.chooses:
                _refuse_nan((a, b))
            if leads & 1:
                rule = op.rules[0]
                share = (
                    rule(g, out, a, b, **node._settings)
                    if op.defaults
                    else rule(g, out, a, b)
                )
                if share is not None and (
                    share.shape != a.shape or share.dtype is not a.dtype
                ):
                    share = _fit(share, a, out, op)
                if share is None:
                    pass
                elif x in grads:
                    grads[x] = grads[x] + share
                elif x._op is None and (share is g or share.base is not None):
                    grads[x] = share.copy()
                else:
                    grads[x] = share
            if leads & 2:
                rule = op.rules[1]
                share = (
                    rule(g, out, a, b, **node._settings)
                    if op.defaults
                    else rule(g, out, a, b)
                )
                if share is None:  # an order, or a condition: constant
                    continue
                if share.shape != b.shape or share.dtype is not b.dtype:
                    share = _fit(share, b, out, op)
                if y in grads:
                    grads[y] = grads[y] + share
                elif y._op is None and (share is g or share.base is not None):
                    grads[y] = share.copy()
                else:
                    grads[y] = share
        else:
            _pull_many(node, op, g, grads)
    return grads, inner


def _fills(a: Array, b: Array, leads: int, shape: Shape) -> bool:
    """Whether one number may go on standing for a cotangent of this shape.

    It may where both operands have the shape, or are numbers that need no gradient:
    otherwise a share has to be repeated, or summed, before it fits its operand.
    """
    left = a.shape if a.__class__ is np.ndarray else np.shape(a)
    right = b.shape if b.__class__ is np.ndarray else np.shape(b)
    return (left == shape or (not left and not leads & 1)) and (
        right == shape or (not right and not leads & 2)
    )


def _pull_many(node: Node, op: Op, g: Array, grads: dict[Node, Array]) -> None:
    """Pull through an op of three operands or more."""
    inputs = node._x
    out = node._value
    if op.kind == "checkpoint":
        # What was not kept is computed anew, and let go when this call ends.
        again = node._settings["segment"].again(inputs)
        _pull_arrays(again, g, _tape(again, inputs), False, grads)
        return
    values = [data_of(x) for x in inputs]
    if op.chooses:
        _refuse_nan(values)
    settings = node._settings
    if op.variadic:
        shares = op.rules(g, out, *values, **settings)
    for i, x in enumerate(inputs):
        if not isinstance(x, Node) or not x.requires_grad:
            continue
        share = shares[i] if op.variadic else op.rules[i](g, out, *values, **settings)
        if share is None:
            continue
        share = _fit(share, values[i], out, op)
        if x in grads:
            grads[x] = grads[x] + share
        elif x._op is None:
            grads[x] = np.array(share)
        else:
            grads[x] = share


def _fit(share: Array, value: Array, out: Array, op: Op) -> Array:
    """Undo the broadcasting of an operand, and give its gradient its dtype."""
    if share.__class__ is value.dtype.type and (
        out.shape == value.shape if op.pointwise else _summed_up(op, out)
    ):
        return share  # one number for all
    if not hasattr(share, "dtype"):
        share = np.asarray(share)
    shape = value.shape
    if op.pointwise and share.shape != out.shape and (share.ndim or shape != out.shape):
        # Where g is a number that stands for an array, the share may have the shape of
        # one operand only: it stands for an array of the result's shape too.
        share = _repeated(share, shape, out.shape, op)
    if share.shape != shape and not (
        share.ndim == 0 and (op.pointwise or _summed_up(op, out))
    ):
        share = _unbroadcast(share, shape, op)
    if share.dtype != value.dtype:
        share = share.astype(value.dtype)
    return share if share.ndim else share[()]  # a number is no array, here as above


def _summed_up(op: Op, out: Array) -> bool:
    """Whether everything was reduced to one number, so that its g fits them all."""
    return op.kind == "reduction" and out.ndim == 0


@lru_cache(4096)
def _folded_axes(have: Shape, wanted: Shape, op: Op) -> tuple[int, ...]:
    """Axes along which a share of shape ``have`` was repeated from ``wanted``.

    Raises
    ------
    ShapeError
        Where ``have`` is no broadcast of ``wanted``: the rule is wrong.
    """
    extra = len(have) - len(wanted)
    axes = [*range(extra)]
    fits = extra >= 0
    for i, n in enumerate(wanted):
        if fits and have[extra + i] != n:
            fits = n == 1
            axes.append(extra + i)
    if not fits:
        raise _misshapen(have, wanted, op)
    return tuple(axes)


def _repeated(share: Array, wanted: Shape, size: Shape, op: Op) -> Array:
    try:
        return np.broadcast_to(share, size)
    except ValueError:
        raise _misshapen(share.shape, wanted, op) from None


def _misshapen(have: Shape, wanted: Shape, op: Op) -> ShapeError:
    return ShapeError(
        f"{op.name}: its gradient rule returned shape {have} for an operand of "
        f"shape {wanted}. Return one number for each element of the operand"
    )


def _unbroadcast(share: Array, shape: Shape, op: Op) -> Array:
    axes = _folded_axes(share.shape, shape, op)
    folded = np.add.reduce(share, axes, None, None, True)
    return folded if folded.shape == shape else folded.reshape(shape)


def _pull_with_care(
    root: Node, seed: Array, nodes: Sequence[Node], retain: bool
) -> tuple[dict[Node, Array], dict[Node, Array]]:
    """Do it again with paths tracked: some 0 met an infinity in the quick loop."""
    leaves = {
        x: None
        for node in nodes
        for x in inputs_of(node)
        if isinstance(x, Node) and x._op is None and x.requires_grad
    }
    wanted = [*leaves, *(nodes if retain else [])]
    with recording.no_grad(), np.errstate(all="ignore"):
        found = _values(
            pull(root, constant(seed, recording.tick()), wanted, careful=True)
        )
    return (
        {x: np.array(found[x]) for x in leaves if x in found},
        {x: found[x] for x in nodes if x in found} if retain else {},
    )


def _hidden_gradients(
    root: Node, seed: Array, nodes: Sequence[Node]
) -> dict[Node, Array]:
    hidden = graph.bypassed(nodes)
    if not hidden:
        return {}
    with recording.no_grad(), np.errstate(all="ignore"):
        seed = constant(seed, recording.tick())
        return _values(pull(root, seed, hidden, careful=True, how=graph.written))


def _values(found: Mapping[Node, Any]) -> dict[Node, Any]:
    return {node: data_of(g) for node, g in found.items()}


# --- the general loop ------------------------------------------------------------


def pull(
    root: Node | Sequence[Node],
    seed: Any,
    wanted: Collection[Node],
    *,
    careful: bool = False,
    quick: bool = False,
    how: graph.Source = graph.source,
) -> dict[Node, Any]:
    """Pull ``seed`` back on Tensors; gradients of the ``wanted`` nodes it reaches.

    Parameters
    ----------
    root, seed
        Output, and its cotangent: a Tensor of the same shape. Or outputs, and a
        cotangent for each: the gradients add.
    wanted
        Nodes whose gradient is asked for; only paths that lead to them are walked.
    careful
        Track which elements have a path to the output, and record a select where
        an element has none. Costs a mask a node, so it is the second try.
    quick
        Lay out in memory as the quick loop does, where a number may stand for an
        array: sums that follow then round alike.
    how
        `graph.source`, or `graph.written` for the plain rules of what was written.
    """
    trace = recording.current().trace
    if trace is not None:
        how = trace.through(how)
    grads: dict[Node, Any] = {}
    pairs = [(root, seed)] if isinstance(root, Node) else zip(root, seed, strict=True)
    for node, g in pairs:
        grads[node] = add(grads[node], g) if node in grads else g
    order = graph.ancestors(grads, how)
    checks = not careful and trace is None  # a compiled step has checks of its own
    wanted = set(wanted)
    leads = set(wanted)
    _lead(order, leads, how)
    alive: dict[Node, Any] = {}
    # Nodes whose gradient is a number in the quick loop.
    single: set[Node] = set(grads) if quick and not careful else set()
    found = {}
    inner = [node for node in order if node._op is not None]
    stack = [node for node in reversed(order) if node._op is None]
    stack += inner  # what is newest comes first; leaves in the end
    while stack:
        node = stack.pop()
        leads.discard(node)  # asked for operands only, which are older
        g = grads.pop(node, None)
        if g is None:
            continue
        if node in wanted:
            found[node] = _in_rows(g) if node in single and node._op is None else g
        if trace is not None:
            trace.cotangents[g] = node
        op, inputs, settings = how(node)
        if op is None or not op.differentiable:
            continue
        live = alive.pop(node, None)
        if op.kind == "checkpoint":
            # What was not kept is computed anew; the walk goes on through that.
            again = settings["segment"].again(inputs)
            part = _between(again, inputs, how)
            _lead(part, leads, how)
            if recording.current().records:  # and so it is kept from now on
                settings["segment"].open(node, again)
                part[-1] = node
            grads[part[-1]], alive[part[-1]] = g, live
            stack += part
            del part, again  # to be let go when the walk is through with it
            continue
        one = node in single and _stays_one(node, op, inputs)
        start = recording.tick() if one else 0
        if op.chooses:
            if checks:
                _refuse_nan([data_of(x) for x in inputs])
            elif trace is not None:
                trace.chosen_from(inputs)
        elif trace is not None and op.paths is not None:
            trace.chosen_from(())
        shares: Any = None
        if op.variadic:
            shares = op.rules(g, node, *inputs, **settings)
        for i, x in enumerate(inputs):
            if not isinstance(x, Node) or x not in leads:
                continue
            if op.variadic:
                share = shares[i]
            else:
                share = op.rules[i](g, node, *inputs, **settings)
            if share is None:
                continue
            mask = None
            if careful:
                mask = _path(node, op, inputs, settings, i, live)
                if mask is not None:
                    share = where(mask, share, 0.0)
            share, mask = _fit_recorded(share, mask, x, node, op)
            same = op.pointwise and x._value.shape == node._value.shape
            if not (one and (same or _summed_up(op, node._value))) or not (
                _filled(share, (g,), start)
            ):
                single.discard(x)
            elif x not in grads:
                single.add(x)
            if quick and x._op is None and x not in single and x not in grads:
                share = _copied(share, g, op)
            if x in grads:
                total = add(grads[x], share)
                if x in single:
                    _filled(total, (grads[x], share), total._order)
                grads[x] = total
                other = alive.get(x)
                alive[x] = (
                    None if mask is None or other is None else logical_or(mask, other)
                )
            else:
                grads[x] = share
                alive[x] = mask
    return found


def _lead(order: Iterable[Node], leads: set[Node], how: graph.Source) -> None:
    """Add to ``leads`` the nodes that a gradient passes on its way to one of them."""
    for node in order:
        if (
            node not in leads
            and node._value.dtype.kind == "f"  # integers are flat: no gradient passes
            and any(isinstance(x, Node) and x in leads for x in how(node)[1])
        ):
            leads.add(node)


def _between(root: Node, ends: Iterable[Any], how: graph.Source) -> list[Node]:
    """Op nodes from which ``root`` was computed, oldest first, after ``ends``."""
    known = {x for x in ends if isinstance(x, Node)}
    found = graph.ancestors([root], lambda x: (None, (), {}) if x in known else how(x))
    return [x for x in found if x._op is not None and x not in known]


def _stays_one(node: Node, op: Op, inputs: tuple[Any, ...]) -> bool:
    """Whether the quick loop hands a number that stands for g on to the rule."""
    out = node._value
    if not op.pointwise or out.ndim == 0:
        return not np.ndim(out)
    if op.arity != 2:
        return True
    a, b = map(data_of, inputs)
    return _fills(a, b, node._leads, out.shape)


def _copied(share: Any, g: Any, op: Op) -> Any:
    """Return a share of a leaf as the quick loop keeps it: with memory of its own."""
    value = data_of(share)
    view = share is g or value.base is not None
    turned = view and op.arity != MANY and not value.flags.c_contiguous
    return _in_rows(share) if turned else share


def _in_rows(g: Any) -> Any:
    """Return a copy of a gradient in NumPy's own order of axes."""
    made = astype(g)
    made._value = np.array(made._value, order="C")
    return made


def _filled(share: Any, numbers: tuple[Any, ...], start: int) -> bool:
    """Whether what was recorded since ``start`` is computed of numbers alone.

    Its values are then one number each, shown as an array, as that of a `spread` is.
    """
    made = []
    stack = [share]
    while stack:
        node = stack.pop()
        if not np.ndim(data_of(node)) or any(node is x for x in numbers):
            continue
        if not isinstance(node, Node) or node._op is None or node._order < start:
            return False
        if not (node._op.pointwise or node._op.name == "spread"):
            return False
        made.append(node)
        stack += inputs_of(node)
    for node in made:
        value = node._value
        if value.size:
            node._value = np.broadcast_to(value.reshape(-1)[0], value.shape)
    return True


def _path(
    node: Node,
    op: Op,
    inputs: tuple[Any, ...],
    settings: Mapping[str, Any],
    i: int,
    live: Any,
) -> Any:
    """Which elements of operand ``i`` reach the output; None: all of them do.

    Elementwise ops, movement, indexing and reductions pass the mask on; a
    contraction mixes all elements, so there a missing path becomes the number 0.
    """
    size = np.shape(data_of(node))
    if op.pointwise:
        here = op.paths[i] if op.paths is not None else None
        if here is None:
            return live
        reached = here(*inputs, **settings)
        if np.shape(data_of(reached)) != size:
            reached = broadcast_to(reached, size)
        return reached if live is None else logical_and(live, reached)
    if op.kind in ("movement", "indexing", "accumulation"):
        # Each share is a sum of some of g's elements: g = mask tells which arrive.
        if live is None and op.kind != "indexing" and not op.variadic:
            return None
        ones: Any = np.ones(size)
        if recording.current().trace is not None:
            # Recorded: an index that is data of a compiled step is another next time.
            ones = constant(ones, recording.tick())
        moved = where(live, ones, 0.0) if live is not None else ones
        # Of the nodes: an order that a rule reads off the values is another of others.
        back = (
            op.rules(moved, node, *inputs, **settings)[i]
            if op.variadic
            else op.rules[i](moved, node, *inputs, **settings)
        )
        return not_equal(back, 0)
    if op.kind == "reduction" and "keepdims" in settings:
        reached = None if op.paths is None else op.paths[i]
        here = None if reached is None else reached(*inputs, **settings)
        if live is None:
            return here
        shape = np.shape(data_of(inputs[i]))
        axis = settings.get("axis")
        spread_out = spread(live, shape, axis, settings["keepdims"])
        return spread_out if here is None else logical_and(spread_out, here)
    if op.kind == "reduction" and live is not None and "axis" in settings:
        # As in a softmax: every element of a row reaches all of its row, and no other.
        row = sum(live, settings["axis"], True)
        return broadcast_to(not_equal(row, 0), size)
    return None


def _fit_recorded(
    share: Any, mask: Any, x: Node, node: Node, op: Op
) -> tuple[Any, Any]:
    """Undo broadcasting and keep the dtype, as recorded ops."""
    value = x._value
    shape = np.shape(value)
    have = np.shape(data_of(share))
    if have != shape:
        if len(have) < len(shape):
            if have and not op.pointwise:
                raise _misshapen(have, shape, op)
            have = np.shape(node._value)
            share = add(share, np.zeros(have, np.asarray(value).dtype))
        axes = _folded_axes(have, shape, op)
        share = reshape(sum(share, axes), shape)
        if mask is not None:
            folded = sum(getitem(mask, ()), axes)
            mask = not_equal(reshape(folded, shape), 0)
    if share.dtype != value.dtype:
        share = astype(share, value.dtype)
    return share, mask


def gradients(
    output: Node | Sequence[Node],
    inputs: Sequence[Node],
    grad_output: Any = None,
    unused: str = "raise",
) -> list[Any]:
    """Gradients of ``output`` with respect to any nodes, as nodes of the graph.

    Of several outputs, with a cotangent each, the sum. See `tinygrad_nn.gradients`.
    """
    trace = recording.current().trace
    outputs = [output] if isinstance(output, Node) else list(output)
    given = [grad_output] if isinstance(output, Node) else list(grad_output)
    seeds = [_recorded_seed(x, g) for x, g in zip(outputs, given, strict=True)]
    for x in inputs:
        if x._value.dtype.kind != "f":
            raise GradientError(
                f"gradients: only real floating inputs have a gradient; "
                f"got {x._value.dtype}{_title(x)}"
            )
    order = graph.ancestors(
        dict.fromkeys(outputs),
        graph.source if trace is None else trace.through(graph.source),
    )
    quiet = () if trace is None else trace.quiet  # of which eager has no graph
    _refuse_changed([x for x in order if x._op is not None and x not in quiet])
    hidden = graph.bypassed(order)
    plain = [x for x in inputs if x in hidden]
    stable = [x for x in inputs if x not in hidden]
    try:
        with np.errstate(all="ignore", invalid="raise" if trace is None else "ignore"):
            careful = trace is not None and trace.careful
            found = pull(outputs, seeds, stable, careful=careful)
    except FloatingPointError:
        with np.errstate(all="ignore"):
            found = pull(outputs, seeds, stable, careful=True)
    if plain:
        with np.errstate(all="ignore"):
            found.update(pull(outputs, seeds, plain, careful=True, how=graph.written))
    results = []
    for position, x in enumerate(inputs):
        if x in found:
            results.append(found[x])
        elif unused == "zero":
            results.append(
                constant(np.zeros(np.shape(x._value), x._value.dtype), recording.tick())
            )
        else:
            raise NoPathError(
                f"gradients: the output does not depend on input {position}"
                f"{_title(x)}. Pass unused='zero' to get zeros"
            )
    return results


def _recorded_seed(output: Node, seed: Any) -> Any:
    """Return the cotangent to start from as a node of the output's shape and dtype."""
    if not isinstance(seed, Node):
        live = recording.current().trace if seed is not None else None
        value = _seed(output, seed)
        if live is not None:
            return _live_seed(live, seed, output)
        seed = constant(value, recording.tick())
    elif seed._value.shape != output._value.shape:
        raise ShapeError(
            f"gradients: expected grad_output of the output's shape "
            f"{output._value.shape}; got {seed._value.shape}"
        )
    if seed._value.dtype != output._value.dtype:
        seed = astype(seed, output._value.dtype)
    return seed


# --- checks ----------------------------------------------------------------------


def _seed(root: Node, grad_output: Array | None) -> Array:
    """Cotangent to start from: given, or 1 for an output of one element."""
    value = root._value
    if value.dtype.kind != "f":
        raise GradientError(
            f"backward: only real floating outputs have a gradient; got {value.dtype}"
        )
    if grad_output is None:
        if value.size != 1:
            raise GradientError(
                f"backward: starts from a single number; got shape {value.shape}. "
                "Reduce it first, for example with .sum(), or pass grad_output"
            )
        one = value.dtype.type(1)
        return np.full(value.shape, one) if value.ndim else one
    try:
        seed = np.array(data_of(grad_output), value.dtype)
    except (TypeError, ValueError):
        raise DtypeError(
            "backward: expected grad_output of real numbers; got "
            f"{type(grad_output).__name__}"
        ) from None
    if seed.shape != value.shape:
        raise ShapeError(
            f"backward: expected grad_output of the output's shape {value.shape}; "
            f"got {seed.shape}"
        )
    return seed[()]


def _live_seed(trace: Any, grad_output: Any, root: Node) -> Node:
    """Cotangent that a compiled step reads anew each time."""
    seed = grad_output
    if not isinstance(seed, Node):
        seed = trace.held(np.asarray(grad_output))
    if seed._value.dtype != root._value.dtype:
        seed = astype(seed, root._value.dtype)
    return seed  # type: ignore[no-any-return]


def _refuse_changed(nodes: Sequence[Node]) -> None:
    """Raise where a saved value changed after the op had used it."""
    if not nodes:
        return
    if recording.latest_change > min(nodes[0]._order, nodes[-1]._order):
        for node in nodes:
            op: Op = node._op  # type: ignore[assignment]
            for i, operand in enumerate(inputs_of(node)):
                if i not in op.saved or not isinstance(operand, Node):
                    continue
                x = graph.owner(operand)
                if x._order > node._order:
                    raise MutationError(
                        f"backward: {op.name} at {graph.line(node)} had saved the "
                        f"value of its operand{_title(x)}, which was changed at "
                        f"{graph.line(x)}. Run backward before the change, or compute "
                        "the output again after it"
                    )
    if recording.checks_sums:
        for node in nodes:
            op = node._op  # type: ignore[assignment]
            sums = getattr(node, "_sums", None)
            if sums is not None and sums != checksums(op, inputs_of(node), node._value):
                raise MutationError(
                    f"backward: {op.name} at {graph.line(node)} had saved a "
                    "value that was since written to in place. Copy the array before "
                    "changing it"
                )


def _title(node: Node) -> str:
    name = graph.name(node)
    return "" if name is None else f" {name!r}"
