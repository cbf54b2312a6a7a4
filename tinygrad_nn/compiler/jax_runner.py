"""Backend ``jax``, the running: one jitted program, and state that stays on its device.

Values of Tensors and of optimisers are taken to the device once, are donated from call
to call, and come home when somebody reads them (see `away`); a Tensor whose array
someone else can see is brought up to date after every call. Small arrays of one dtype
travel together, in one vector: each array that a call takes or gives costs a
microsecond, whatever its size.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, final

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.away import (
    Holder,
    States,
    array_of,
    is_away,
    is_unseen,
    send_away,
)
from tinygrad_nn.compiler.backends import Memory
from tinygrad_nn.compiler.execute import run
from tinygrad_nn.compiler.jax_source import Draw, Elsewhere, JaxSource, Mask, lower
from tinygrad_nn.compiler.program import Argument, Gradient, Program, Slot, Value
from tinygrad_nn.compiler.trace import Rate, Trace
from tinygrad_nn.errors import CompileError, DivergedError, MissingExtraError
from tinygrad_nn.op import Node
from tinygrad_nn.tensor import Lent

__all__ = ["JaxRunner", "jax_runner"]

SMALL = 4096
"""Elements up to which an array travels in the vector."""
TABLE = 1 << 28
"""Bytes of random numbers drawn beforehand, at most, for a repeated step."""


def _jax() -> Any:
    """Return JAX, the optional package.

    Raises
    ------
    MissingExtraError
    """
    try:
        return importlib.import_module("jax")
    except ImportError:
        raise MissingExtraError(
            "compile: backend 'jax' needs JAX: pip install 'tinygrad_nn[jax]'"
        ) from None


def jax_runner() -> type[JaxRunner]:
    """Return what runs a program through JAX, if it is installed.

    Raises
    ------
    MissingExtraError
    """
    _jax()
    return JaxRunner


class _Part(NamedTuple):
    """A stretch of the vector that small arrays travel in."""

    start: int
    stop: int
    shape: tuple[int, ...]

    def of(self, vector: Any) -> Any:
        return vector[self.start : self.stop].reshape(self.shape)


class _Returned(NamedTuple):
    """What a call of the jitted function gives."""

    vector: Any
    state: Any
    results: Any
    gradients: Any
    checked: Any


@final
class JaxRunner(Holder):
    """Runs a program through `jax.jit`.

    Parameters
    ----------
    program, trace, title, check_finite
        As for every backend.

    Attributes
    ----------
    source : str
        The program over `jax.numpy`.
    memory : Memory
    compilations : int
        How many programs XLA compiled: one, and one for each ``n`` of `repeat`.

    Raises
    ------
    MissingExtraError
        Without JAX.
    """

    careful = True
    """XLA raises no flag where 0 meets infinity: missing paths are traced as such."""

    def __init__(
        self, program: Program, trace: Trace, title: str, *, check_finite: bool
    ) -> None:
        self._jax = _jax()
        self._numpy = importlib.import_module("jax.numpy")
        self.lock = threading.RLock()
        lowered = lower(program, trace, check_finite=check_finite)
        self.source, self.lines = lowered.source, lowered.lines
        self._lowered = lowered
        for call in lowered.elsewhere:
            self._say_how(call)
        names, self.filename = run(lowered.source, lowered.namespace, title)
        self._step = names["step"]
        self._texts = names["numbers"], names["counts"]
        self._may_refuse = bool(lowered.checked)
        self._naive = sum(node._value.nbytes for node in program.nodes)
        self._place(lowered)
        self._effects(program, trace)
        donated = () if self._may_refuse else (0, 1)
        self._call = self._jax.jit(self._whole, donate_argnums=donated)
        self._many = self._jax.jit(self._scanned, donate_argnums=donated)
        self._program = _emptied(program)

    # --- the plan ---

    def _place(self, lowered: JaxSource) -> None:
        """Say which arrays travel in the vector, and where."""
        self._state = lowered.state
        self._kept = lowered.kept
        self._dtype = lowered.number_dtype
        self._shapes = [_shape_and_dtype(place) for place in self._state]
        at = 0

        def part(shape: tuple[int, ...], dtype: Any) -> _Part | None:
            nonlocal at
            size = int(np.prod(shape))
            if dtype != self._dtype or size > SMALL:
                return None
            at += size
            return _Part(at - size, at, shape)

        self._parts = [part(*facts) for facts in self._shapes]
        self._gradient_parts = [part(*_facts(g)) for _, g in lowered.gradients]
        self._result_parts = [part(*_facts(x)) for x in lowered.results]
        self._length = at
        self._packs_state = any(part is not None for part in self._parts)
        # What is here: indices of `_state` whose values are the host's.
        self._home = set(range(len(self._state)))
        self._vector: Any = ()
        self._arrays: Any = [()] * sum(part is None for part in self._parts)
        self._at = _counted(self._parts)
        self._gradient_at = _counted(self._gradient_parts)
        self._result_at = _counted(self._result_parts)
        self._gradients: Any = ()
        self._kept_home = set(range(len(self._kept)))
        self._kept_arrays: list[Any] = [None] * len(self._kept)
        owners = [
            *(p.optimizer for p in [*self._state, *self._kept] if isinstance(p, Slot)),
            *(s.optimizer for s in [*lowered.scalars, *lowered.new_counts]),
        ]
        self._optimizers = list({id(o): o for o in owners}.values())
        self._states: list[States | None] = [None] * len(self._optimizers)
        self._slots: list[list[tuple[int, int, int]]] = [
            [
                (k, place.parameter, place.index)
                for k, place in enumerate(self._state)
                if isinstance(place, Slot) and place.optimizer is optimizer
            ]
            for optimizer in self._optimizers
        ]
        self._numbers_before: tuple[float, ...] | None = None
        self._numbers_there: Any = ()

    def _effects(self, program: Program, trace: Trace) -> None:
        """Note what an eager step leaves behind besides numbers."""
        self._steps = list(trace.steps.items())
        self._changed = [
            place.tensor for place, _ in program.writes if isinstance(place, Value)
        ]
        self._spent: list[tuple[Any, bool, Any]] = []
        self._own: list[tuple[int, Any]] = []
        nodes = {leaf: k for k, (leaf, _) in enumerate(program.gradients)}
        for leaf, spent in trace.spent.items():
            k = nodes.get(leaf)
            if k is None:
                gone = spent and trace._gradients.get(leaf) is None
                self._spent.append((leaf, spent, None if gone else _AS_IT_IS))
            elif spent:
                self._spent.append((leaf, spent, Lent(_Gradient(self, k))))  # type: ignore[arg-type]
            else:
                # More may be added to it: it is an array of its own.
                self._spent.append((leaf, spent, _AS_IT_IS))
                self._own.append((k, leaf))
        seen = set(trace.spent)
        self._own += [(k, leaf) for leaf, k in nodes.items() if leaf not in seen]

    # --- what is jitted ---

    def _whole(
        self, vector: Any, arrays: Any, kept: Any, numbers: Any, inputs: Any
    ) -> _Returned:
        """Run the step on what the vector and the other arrays hold."""
        found = iter(arrays)
        state = [
            next(found) if part is None else part.of(vector) for part in self._parts
        ]
        each = [numbers[i] for i in range(len(self._lowered.numbers))]
        results, new, gradients, checked = self._step(*state, *kept, *each, *inputs)
        packed: list[Any] = []

        def rest(values: Any, parts: Sequence[_Part | None]) -> list[Any]:
            left = []
            for value, part in zip(values, parts, strict=True):
                if part is None:
                    left.append(value)
                else:
                    packed.append(self._numpy.reshape(value, -1))
            return left

        return _Returned(
            state=rest(new, self._parts),
            gradients=rest(gradients, self._gradient_parts),
            results=rest(results, self._result_parts),
            checked=list(checked),
            vector=self._numpy.concatenate(packed) if packed else (),
        )

    def _scanned(
        self, vector: Any, arrays: Any, kept: Any, table: Any, inputs: Any, draws: Any
    ) -> _Returned:
        """Run a step for every row of a table of numbers."""

        def body(carry: _Returned, row: Any) -> tuple[_Returned, None]:
            numbers, drawn = row
            given = self._with_draws(inputs, drawn)
            start = carry.vector if self._packs_state else ()
            return self._whole(start, carry.state, kept, numbers, given), None

        numbers, drawn = self._jax.tree_util.tree_map(lambda x: x[0], (table, draws))
        like = self._jax.eval_shape(
            self._whole, vector, arrays, kept, numbers, self._with_draws(inputs, drawn)
        )
        zeros = self._jax.tree_util.tree_map(
            lambda x: self._numpy.zeros(x.shape, x.dtype), like
        )
        first = zeros._replace(state=[self._numpy.asarray(x) for x in arrays])
        if self._packs_state:
            first = first._replace(vector=self._numpy.asarray(vector))
        last, _ = self._jax.lax.scan(body, first, (table, draws))
        return last

    def _with_draws(self, inputs: Any, drawn: Any) -> list[Any]:
        found = iter(drawn)
        return [
            next(found) if isinstance(place, Draw) else x
            for place, x in zip(self._lowered.inputs, inputs, strict=True)
        ]

    # --- running ---

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Run the step; return its results, as arrays of their own."""
        for place, check in self._lowered.beforehand:
            check(np.asarray(arrays[place.index]))
        with self.lock, self._jax.enable_x64(True), self._precision():
            scalars = self._scalars()
            returned = self._call(
                *self._gathered(),
                self._numbers(self._texts[0](*scalars)),
                [self._input(place, arrays) for place in self._lowered.inputs],
            )
            if self._may_refuse:
                self._refuse(returned.checked)
            self._keep(returned, self._texts[1](*scalars), 1)
            return self._results(returned)

    def repeat(self, n: int, *arrays: Any) -> tuple[Any, ...]:
        """Run ``n`` steps in one call; return the results of the last.

        The numbers of each step, learning rates and counts, are computed beforehand,
        and random numbers are drawn. A program is compiled for each ``n``.
        """
        for place, check in self._lowered.beforehand:
            check(np.asarray(arrays[place.index]))
        if self._may_refuse:
            for _ in range(n - 1):
                self(*arrays)
            return self(*arrays)
        draws = [x for x in self._lowered.inputs if isinstance(x, Draw)]
        size = sum(8 * int(np.prod(draw.shape)) for draw in draws)
        most = max(1, TABLE // size) if size else n
        while n > most:
            self._repeated(most, arrays, draws)
            n -= most
        return self._repeated(n, arrays, draws)

    def _repeated(
        self, n: int, arrays: tuple[Any, ...], draws: list[Draw]
    ) -> tuple[Any, ...]:
        with self.lock, self._jax.enable_x64(True), self._precision():
            rows = []
            scalars = self._scalars()
            for k in range(n):
                rows.append(self._texts[0](*scalars))
                counts = self._texts[1](*scalars)
                scalars = self._scalars(k + 1, counts)
            table = np.array(rows, self._dtype).reshape(n, -1)
            # Drawn step by step, as single steps would.
            drawn = [[draw.rng.random(draw.shape) for draw in draws] for _ in range(n)]
            columns = [np.stack(column) for column in zip(*drawn, strict=True)]
            inputs = [
                () if isinstance(place, Draw) else self._input(place, arrays)
                for place in self._lowered.inputs
            ]
            returned = self._many(*self._gathered(), table, inputs, columns)
            self._keep(returned, counts, n)
            return self._results(returned)

    def _precision(self) -> Any:
        # On a GPU the default would round float32 products to ten bits.
        return self._jax.default_matmul_precision("highest")

    def _input(self, place: Any, arrays: tuple[Any, ...]) -> Any:
        if isinstance(place, Argument):
            return arrays[place.index]
        if isinstance(place, Gradient):
            return place.tensor.grad
        if isinstance(place, Draw):
            return place.rng.random(place.shape)
        if isinstance(place, Mask):
            return _picked(place)
        return place

    # --- numbers ---

    def _scalars(
        self, later: int = 0, counts: Sequence[Any] | None = None
    ) -> list[Any]:
        """Return live rates and counts; those of a step that is ``later`` more."""
        known = (
            {}
            if counts is None
            else dict(zip(self._lowered.new_counts, counts, strict=True))
        )
        ahead = {id(o): count * later for o, count in self._steps} if later else {}
        values = []
        for source in self._lowered.scalars:
            optimizer = source.optimizer
            if isinstance(source, Rate):
                more = source.later + ahead.get(id(optimizer), 0)
                values.append(optimizer.rate(optimizer.steps + more))
            elif source in known:
                values.append(known[source])
            else:
                states = optimizer._states
                state = (
                    states.now(source.parameter)
                    if isinstance(states, States)
                    else states[source.parameter]
                )
                values.append(state[source.index])
        return values

    def _numbers(self, values: tuple[float, ...]) -> Any:
        """Return the numbers of a step on the device; usually they are there."""
        if values != self._numbers_before:
            self._numbers_before = values
            self._numbers_there = self._numpy.asarray(np.array(values, self._dtype))
        return self._numbers_there

    # --- state: to the device ---

    def _gathered(self) -> tuple[Any, Any, Any]:
        """Return the vector, the other arrays that change, and those that do not."""
        for k, optimizer in enumerate(self._optimizers):
            if optimizer._states is not self._states[k]:
                self._take_over(k, optimizer)
        if self._home:
            self._upload()
        if self._kept:
            self._upload_kept()
        return (
            self._vector if self._packs_state else (),
            self._arrays,
            self._kept_arrays,
        )

    def _take_over(self, k: int, optimizer: Any) -> None:
        """Note that an optimiser was given other states, as by `load_state`."""
        states = optimizer._states
        if not isinstance(states, States):
            states = States(states)
            states.holder = None
            optimizer._states = states
        self._states[k] = states
        self._home |= {j for j, _, _ in self._slots[k]}

    def _upload(self) -> None:
        """Take to the device what is home."""
        packed = [k for k in self._home if self._parts[k] is not None]
        if packed:
            vector = np.zeros(self._length, self._dtype)
            if len(self._vector):
                vector[:] = self._vector
            for k in packed:
                part = self._parts[k]
                assert part is not None  # noqa: S101 (see above)
                vector[part.start : part.stop] = self._value(self._state[k]).ravel()
            self._vector = self._numpy.asarray(vector)
        arrays = list(self._arrays)
        for k in self._home.difference(packed):
            arrays[self._at[k]] = self._numpy.array(self._value(self._state[k]))
        self._arrays = arrays

    def _upload_kept(self) -> None:
        """Take to the device what is only read, unless it is there."""
        for k in list(self._kept_home):
            place = self._kept[k]
            self._kept_arrays[k] = self._numpy.array(self._value(place))
            if isinstance(place, Value) and is_unseen(array_of(place.tensor)):
                send_away(place.tensor, self, ~k)
                self._kept_home.discard(k)

    @staticmethod
    def _value(place: Any) -> np.ndarray:
        if isinstance(place, Slot):
            return np.asarray(place.optimizer._states[place.parameter][place.index])
        return np.asarray(place.tensor._value)

    # --- state: what comes back ---

    def _keep(self, returned: _Returned, counts: Sequence[Any], steps: int) -> None:
        """Take over what a call gave: state, gradients, counts."""
        self._vector, self._arrays = returned.vector, returned.state
        self._gradients = returned.gradients
        rows: dict[tuple[int, int], list[Any]] = {}
        for source, value in zip(self._lowered.new_counts, counts, strict=True):
            key = (id(source.optimizer), source.parameter)
            if key not in rows:
                rows[key] = list(source.optimizer._states.now(source.parameter))
            rows[key][source.index] = value
        for source in self._lowered.new_counts:
            key = (id(source.optimizer), source.parameter)
            source.optimizer._states.put(source.parameter, tuple(rows[key]))
        for optimizer, count in self._steps:
            optimizer.steps += count * steps
        if self._home:
            self._settle()
        for k, leaf in self._own:
            leaf._grad = self.gradient(k)

    def _settle(self) -> None:
        """Leave on the device what nobody else can see; write the rest home."""
        home = set()
        for k in self._home:
            place: Any = self._state[k]
            if isinstance(place, Slot):
                continue
            tensor = place.tensor
            if is_unseen(array_of(tensor)):
                if not is_away(tensor, self):
                    send_away(tensor, self, k)
            else:
                home.add(k)
                np.copyto(array_of(tensor), self._on_host(k))
        for states, slots in zip(self._states, self._slots, strict=True):
            if slots and states is not None and states.holder is not self:
                states.go_away(self)
        self._home = home

    def _on_host(self, k: int) -> Any:
        part = self._parts[k]
        if part is None:
            return np.asarray(self._arrays[self._at[k]])
        return part.of(np.asarray(self._vector))

    def bring_home(self, key: Any, array: np.ndarray) -> None:
        """Write a Tensor's value into its array."""
        if key < 0:  # it is only read, so the array is as it was
            self._kept_home.add(~key)
            return
        np.copyto(array, self._on_host(key))
        self._home.add(key)

    def let_go(self, key: Any) -> None:
        """Forget a Tensor's value: it was given another."""
        (self._kept_home if key < 0 else self._home).add(~key if key < 0 else key)

    def states_home(self, states: States) -> None:
        """Put an optimiser's arrays into its states."""
        for known, slots in zip(self._states, self._slots, strict=True):
            if known is not states:
                continue
            for k, i, j in slots:
                state = list(states.now(i))
                state[j] = np.array(self._on_host(k))
                states.put(i, tuple(state))
                self._home.add(k)

    def gradient(self, k: int) -> np.ndarray:
        """Return a gradient of the last call as an array of its own."""
        with self.lock:
            part = self._gradient_parts[k]
            if part is None:
                return np.array(self._gradients[self._gradient_at[k]])
            return np.array(part.of(np.asarray(self._vector)))

    def _results(self, returned: _Returned) -> tuple[Any, ...]:
        found: list[Any] = []
        for part, at in zip(self._result_parts, self._result_at, strict=True):
            if part is None:
                value = np.array(returned.results[at])
            else:
                value = np.array(part.of(np.asarray(returned.vector)))
            found.append(value if value.ndim else value[()])
        return tuple(found)

    def _refuse(self, checked: list[Any]) -> None:
        """Make the checks that belong to the step, before anything is changed."""
        for (node, check), value in zip(self._lowered.checked, checked, strict=True):
            if check is not None:
                check(np.asarray(value))
            elif not value:
                raise _diverged(node)

    def after(self, code: Any, instruction: int, order: int) -> None:
        """Leave the marks that an eager step leaves on Tensors."""
        for tensor in self._changed:
            tensor._order = order
            tensor._code = code
            tensor._lasti = instruction
            tensor._form = None
        for leaf, spent, grad in self._spent:
            leaf._spent = spent
            if grad is not _AS_IT_IS:
                leaf._grad = grad

    @property
    def compilations(self) -> int:
        """Return how many programs XLA compiled."""
        return int(self._call._cache_size() + self._many._cache_size())

    @property
    def memory(self) -> Memory:
        """Return bytes of intermediates, as XLA plans them."""
        with self.lock, self._jax.enable_x64(True), self._precision():
            analysis = self._call.lower(*self._like()).compile().memory_analysis()
        return Memory(int(analysis.temp_size_in_bytes), self._naive)

    def _like(self) -> tuple[Any, ...]:
        """Return shapes and dtypes of what the jitted function takes."""
        like = self._jax.ShapeDtypeStruct
        lowered = self._lowered
        alone = [
            like(*facts)
            for facts, part in zip(self._shapes, self._parts, strict=True)
            if part is None
        ]
        vector = like((self._length,), self._dtype) if self._packs_state else ()
        kept = [like(*_shape_and_dtype(place)) for place in lowered.kept]
        numbers = like((len(lowered.numbers),), self._dtype)
        return vector, alone, kept, numbers, [like(*x) for x in lowered.input_facts]

    # --- ops that JAX has no name for ---

    def _say_how(self, call: Elsewhere) -> None:
        """Let a body run over `jax.numpy`, or else on the host, in a callback."""
        node = call.node
        op = node._op
        assert op is not None  # noqa: S101 (what a program is made of)
        body = _over(op.function, self._numpy, {})
        like = self._jax.ShapeDtypeStruct(node._value.shape, node._value.dtype)
        settings = call.settings

        def on_device(*operands: Any) -> Any:
            return body(*operands, **settings)

        def on_host(*operands: Any) -> Any:
            def compute(*arrays: Any) -> Any:
                value = op.body(*map(np.asarray, arrays), **settings)
                return np.asarray(value, like.dtype)

            return self._jax.pure_callback(
                compute, like, *operands, vmap_method="sequential"
            )

        def either(*operands: Any) -> Any:
            try:
                value = on_device(*operands)
                fits = value.shape == like.shape and value.dtype == like.dtype
            except Exception:  # noqa: BLE001 (a body may do anything NumPy can)
                fits = False
            return value if fits else on_host(*operands)

        call.call = either


_AS_IT_IS: Any = object()


class _Gradient:
    """A gradient on the device: what `Lent` copies when ``.grad`` is read."""

    __slots__ = ("k", "runner")

    def __init__(self, runner: JaxRunner, k: int) -> None:
        self.runner = runner
        self.k = k

    def copy(self) -> np.ndarray:
        """Return it as an array."""
        return self.runner.gradient(self.k)


def _over(function: Any, namespace: Any, known: dict[int, Any]) -> Any:
    """Return a function whose ``np``, and that of those it calls, is another.

    The bodies of ops are plain NumPy, which another array library reads as well.
    """
    if id(function) in known:
        return known[id(function)]
    if function.__closure__:
        return function
    names: dict[str, Any] = {}
    made = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    known[id(function)] = made
    names.update(function.__globals__)
    for name in function.__code__.co_names:
        value = names.get(name)
        if value is np:
            names[name] = namespace
        elif isinstance(getattr(value, "__wrapped__", None), FunctionType):
            names[name] = _over(value.__wrapped__, namespace, known)
        elif isinstance(value, FunctionType) and not isinstance(value, ModuleType):
            names[name] = _over(value, namespace, known)
    return made


def _emptied(program: Program) -> Program:
    """Let go of the values of a trace: views among them lead to users' arrays."""
    for node in program.nodes:
        value = node._value
        if np.ndim(value):
            node._value = np.broadcast_to(np.zeros((), value.dtype), value.shape)
    return program


def _picked(mask: Mask) -> np.ndarray:
    found = np.nonzero(mask.array)[mask.axis]
    if found.size != mask.count:
        raise CompileError(
            "compile: backend 'jax' needs shapes that do not depend on values; got a "
            f"boolean index that picked {mask.count} when the step was traced and now "
            f"picks {found.size}. Choose with tg.where, or use backend='numpy'"
        )
    return found


def _counted(parts: Sequence[_Part | None]) -> list[int]:
    """Return the place of each array among those that travel alone."""
    places, count = [], 0
    for part in parts:
        places.append(count)
        count += part is None
    return places


def _facts(x: Any) -> tuple[tuple[int, ...], Any]:
    value = x._value if isinstance(x, Node) else np.asarray(x)
    return tuple(np.shape(value)), value.dtype


def _shape_and_dtype(place: Any) -> tuple[tuple[int, ...], Any]:
    if isinstance(place, Slot):
        value = place.optimizer._states[place.parameter][place.index]
        return value.shape, value.dtype
    return place.tensor.shape, place.tensor.dtype


def _diverged(node: Any) -> Exception:
    scope = graph.scope(node)
    place = f" in {scope}" if scope else ""
    return DivergedError(
        f"{node._op.name}{place}: expected finite numbers; got nan or inf at "
        f"{graph.line(node)}. Look at its operands, or lower the learning rate"
    )
