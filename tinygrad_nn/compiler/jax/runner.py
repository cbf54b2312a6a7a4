"""Backend ``jax``, the running: one jitted program, whose state stays on its device."""

from __future__ import annotations

import importlib
import linecache
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final
from weakref import finalize

import numpy as np

from tinygrad_nn.compiler.backends import Memory
from tinygrad_nn.compiler.checks import Finite
from tinygrad_nn.compiler.execute import run
from tinygrad_nn.compiler.jax.source import Draw, JaxSource, Live, Mask, lower
from tinygrad_nn.compiler.jax.state import Layout, Part, Residence, facts
from tinygrad_nn.compiler.passes.selects import selects
from tinygrad_nn.compiler.trace import Rate, Trace
from tinygrad_nn.errors import CompileError, MissingExtraError
from tinygrad_nn.rewriting.program import Argument, Gradient, Program, Value, let_go
from tinygrad_nn.tensor import Lent

__all__ = ["JaxRunner", "jax_runner"]

TABLE = 1 << 28
"""Bytes of random numbers drawn beforehand, at most, for a repeated step."""
FEW = 1 << 16
"""Bytes of an argument up to which comparing it costs less than taking it there."""
LARGE = 1 << 16
"""Bytes from which a result is handed over, not copied."""


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


def _wide(jax: Any) -> Any:
    """Return the context in which float64 is float64; older versions keep it apart."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64
    return importlib.import_module("jax.experimental").enable_x64


def jax_runner() -> type[JaxRunner]:
    """Return what runs a program through JAX, if it is installed.

    Raises
    ------
    MissingExtraError
    """
    _jax()
    return JaxRunner


@final
class JaxRunner:
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
    residence : Residence
        Where the state is.
    repeat : callable
        ``(n, *arrays)``: ``n`` steps in one call; missing where one step's gradients
        wait for the next.

    Raises
    ------
    MissingExtraError
        Without JAX.
    """

    careful = True
    """XLA raises no flag where 0 meets infinity: missing paths are traced as such."""
    fuses = True
    """XLA computes elementwise ops wherever they are read."""

    def __init__(
        self, program: Program, trace: Trace, title: str, *, check_finite: bool
    ) -> None:
        self._jax = _jax()
        self._wide, self._config = _wide(self._jax), self._jax.config
        program = selects(program)
        self._lowered = lowered = lower(program, trace, check_finite=check_finite)
        for call in lowered.elsewhere:
            call.bind(self._jax)
        self.source, self.lines = lowered.source, lowered.lines
        names, self.filename = run(lowered.source, lowered.namespace, title)
        finalize(self, linecache.cache.pop, self.filename, None)
        self._step = names["step"]
        self._numbers_of, self._counts_of = names["numbers"], names["counts"]
        self._layout = Layout(lowered)
        put = self._jax.device_put
        self.residence = Residence(lowered, self._layout, put, self.after)
        self._refuses = bool(lowered.checked or lowered.finite)
        # What may yet be refused, by a check or by a body on the host, stays.
        self._calls_back = bool(lowered.elsewhere)
        donated = () if self._refuses or self._calls_back else (0, 1)
        self._compilations = 0
        self._call = self._jax.jit(self._once, donate_argnums=donated)
        self._many = self._jax.jit(self._scanned, donate_argnums=donated)
        self._numbers: Any = None
        self._numbers_there: Any = ()
        self._shares = _shared_results(program, lowered.results)
        self._one_number: int | None = None
        if len(self._layout.results) == 1 and not lowered.others:
            (part,) = self._layout.results
            if part is not None and part.shape == ():
                self._one_number = part.start
        self._on_cpu = self._jax.default_backend() == "cpu"
        self._plan_inputs(lowered)
        self._plan_effects(program, trace)
        # Nothing but numbers, and the state, may change from one step to the next.
        alike = all(trace.spent.values()) and not trace.switched
        if alike and not any(isinstance(x, Gradient) for x in lowered.inputs):
            self.repeat = self._repeat
        self._naive = sum(node._value.nbytes for node in program.nodes)
        let_go(program.nodes)

    @staticmethod
    def takes(x: Any) -> bool:
        """Return whether an argument is an array of JAX's, which stays where it is."""
        return isinstance(x, _jax().Array)

    def _plan_inputs(self, lowered: JaxSource) -> None:
        """Find the short way to what a call is given."""
        places = lowered.inputs
        plain = all(isinstance(place, Argument) for place in places)
        order = [place.index for place in places] if plain else None
        # The first so many arguments, as they come; or -1.
        self._as_given = len(places) if order == list(range(len(places))) else -1
        self._small = [
            _Small(k, self._jax.device_put)
            for k, (place, (shape, dtype)) in enumerate(
                zip(places, lowered.input_facts, strict=True)
            )
            if isinstance(place, Argument) and math.prod(shape) * dtype.itemsize <= FEW
        ]
        self._draws = [place for place in places if isinstance(place, Draw)]
        self._rates = [
            (k, source.optimizer, source.later)
            for k, source in enumerate(lowered.scalars)
            if isinstance(source, Rate)
        ]
        self._only_rates = len(self._rates) == len(lowered.scalars)
        self._counts = [
            (k, source.optimizer, source.parameter, source.index)
            for k, source in enumerate(lowered.scalars)
            if not isinstance(source, Rate)
        ]
        # Of each count of a state, which of the new ones replaces it.
        new = {tuple(source): k for k, source in enumerate(lowered.new_counts)}
        self._successors = [(k, new[tuple(source)]) for k, *source in self._counts]

    def _plan_effects(self, program: Program, trace: Trace) -> None:
        """Note what an eager step leaves behind besides numbers."""
        self._steps = list(trace.steps.items())
        self._changed = [
            place.tensor for place, _ in program.writes if isinstance(place, Value)
        ]
        self._gradients: list[tuple[Any, bool, Any]] = []
        # What more may be added to is an array of its own after each call.
        self._own: list[tuple[Any, int]] = []
        there = {leaf: k for k, (leaf, _) in enumerate(program.gradients)}
        for leaf, spent in trace.spent.items():
            grad: Any = _AS_IT_IS
            if leaf in there and spent:
                grad = Lent(_Gradient(self.residence, there[leaf]))  # type: ignore[arg-type]
            elif leaf in there:
                self._own.append((leaf, there[leaf]))
            elif spent and trace._gradients.get(leaf) is None:
                grad = None
            self._gradients.append((leaf, spent, grad))

    # --- what is jitted ---

    def _once(self, *given: Any) -> tuple[Any, ...]:
        self._compilations += 1  # it runs when it is compiled, and not again
        return self._whole(*given)

    def _whole(
        self, vector: Any, arrays: Any, kept: Any, numbers: Any, inputs: Any
    ) -> tuple[Any, ...]:
        """Run the step on what the vector and the other arrays hold."""
        numpy, layout = self._jax.numpy, self._layout
        found = iter(arrays)
        state = [
            next(found) if part is None else part.of(vector) for part in layout.state
        ]
        each = [numbers[i] for i in range(len(self._lowered.numbers))]
        # On a GPU the default would round float32 products to ten bits.
        with self._jax.default_matmul_precision("highest"):
            results, new, gradients, checked = self._step(*state, *kept, *each, *inputs)
        packed: list[Any] = []

        def rest(values: Any, parts: Sequence[Part | None]) -> list[Any]:
            alone = []
            for value, part in zip(values, parts, strict=True):
                if part is None:
                    alone.append(numpy.asarray(value))
                else:
                    packed.append(numpy.reshape(value, -1))
            return alone

        state = rest(new, layout.state)
        gradients = rest(gradients, layout.gradients)
        results = rest(results, layout.results)
        vector = numpy.concatenate(packed) if packed else ()
        return vector, state, gradients, results, list(checked)

    def _scanned(
        self, vector: Any, arrays: Any, kept: Any, table: Any, inputs: Any, draws: Any
    ) -> tuple[Any, ...]:
        """Run a step for every row of a table of numbers."""
        jax = self._jax
        self._compilations += 1

        def body(carry: Any, row: Any) -> tuple[Any, None]:
            numbers, drawn = row
            start = carry[0] if self._layout.takes_vector else ()
            given = self._with_draws(inputs, drawn)
            return self._whole(start, carry[1], kept, numbers, given), None

        first, drawn = jax.tree_util.tree_map(lambda x: x[0], (table, draws))
        given = self._with_draws(inputs, drawn)
        like = jax.eval_shape(self._whole, vector, arrays, kept, first, given)
        start, _, *rest = jax.tree_util.tree_map(
            lambda x: jax.numpy.zeros(x.shape, x.dtype), like
        )
        start = vector if self._layout.takes_vector else start
        last, _ = jax.lax.scan(body, (start, arrays, *rest), (table, draws))
        return last  # type: ignore[no-any-return]

    def _with_draws(self, inputs: Any, drawn: Any) -> list[Any]:
        found = iter(drawn)
        return [
            next(found) if isinstance(place, Draw) else x
            for place, x in zip(self._lowered.inputs, inputs, strict=True)
        ]

    # --- running ---

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Run the step; return its results, as arrays of their own."""
        if self._lowered.beforehand:
            self._check_arguments(arrays)
        with self.residence.lock:
            if self._config.jax_enable_x64:
                return self._ran(arrays)
            with self._wide(True):
                return self._ran(arrays)

    def _quickly(self, *arrays: Any) -> tuple[Any, ...]:
        """Do the same for a step that takes its arguments, and returns one number."""
        residence = self.residence
        with residence.lock:
            if not self._config.jax_enable_x64:
                with self._wide(True):
                    return self._ran(arrays)
            numbers = self._numbers_of(
                *[o.rate(o.steps + k) for _, o, k in self._rates]
            )
            there = self._numbers_there
            if numbers != self._numbers or there.__class__ is np.ndarray:
                return self._ran(arrays)
            for known in self._small:
                if arrays[known.k].__class__ is np.ndarray:
                    return self._ran(arrays)
            vector, state, kept = residence.gathered()
            vector, state, gradients, _, _ = self._call(
                vector, state, kept, there, list(arrays[: self._as_given])
            )
            residence.keep(vector, state, gradients, ())
            for optimizer, count in self._steps:
                optimizer.steps += count
            return (np.asarray(vector)[self._one_number],)

    def _ran(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        residence = self.residence
        scalars = self._scalars()
        numbers = self._numbers_of(*scalars)
        if numbers != self._numbers:
            self._numbers = numbers
            self._numbers_there = np.array(numbers, self._layout.dtype)
        elif self._numbers_there.__class__ is np.ndarray:  # the same again
            self._numbers_there = self._jax.device_put(self._numbers_there)
        given = self._as_given
        inputs = list(arrays[:given]) if given >= 0 else self._inputs(arrays)
        for known in self._small:
            if inputs[known.k].__class__ is np.ndarray:
                known.put(inputs)
        vector, arrays_there, kept = residence.gathered()
        vector, state, gradients, results, checked = self._finished(
            self._call, vector, arrays_there, kept, self._numbers_there, inputs
        )
        if checked:
            self._refuse(checked)
        residence.keep(vector, state, gradients, self._counts_of(*scalars))
        for optimizer, count in self._steps:
            optimizer.steps += count
        if self._one_number is not None:
            return (np.asarray(vector)[self._one_number],)
        return self._returned(vector, results, inputs, numbers)

    def _finished(self, call: Any, *given: Any) -> Any:
        """Call the step; where it calls back, wait for it, and for its errors."""
        if not self._calls_back:
            return call(*given)
        try:
            found = self._jax.block_until_ready(call(*given))
        finally:
            refused = [body.refused() for body in self._lowered.elsewhere]
        for error in filter(None, refused):
            raise error
        return found

    def resident(self) -> tuple[Any, Residence] | None:
        """Return what runs while nobody looks at Tensors, and where they then are."""
        if self._own:
            return None
        simple = (
            self._as_given >= 0
            and self._only_rates
            and self._one_number is not None
            and not (self._lowered.beforehand or self._refuses or self._calls_back)
        )
        return self._quickly if simple else self, self.residence

    def _repeat(self, n: int, *arrays: Any) -> tuple[Any, ...]:
        """Run ``n`` steps in one call; return the results of the last.

        The numbers of each step, learning rates and counts, are computed beforehand,
        and random numbers are drawn. A program is compiled for each ``n``. A step that
        may be refused, by ``check_finite`` or a check of its own, runs one by one.
        """
        if self._refuses:
            for _ in range(n - 1):
                self(*arrays)
            return self(*arrays)
        if self._lowered.beforehand:
            self._check_arguments(arrays)
        size = sum(8 * int(np.prod(draw.shape)) for draw in self._draws)
        most = max(1, TABLE // size) if size else n
        while n > most:
            self._repeated(most, arrays)
            n -= most
        return self._repeated(n, arrays)

    def _repeated(self, n: int, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        residence = self.residence
        with residence.lock, self._wide(True):
            rows, counts = [], ()
            scalars = self._scalars()
            for k in range(1, n + 1):
                rows.append(self._numbers_of(*scalars))
                counts = self._counts_of(*scalars)
                scalars = self._scalars(k, counts)
            table = np.array(rows, self._layout.dtype).reshape(n, -1)
            # Drawn step by step, as single steps would.
            drawn = [[d.rng.random(d.shape) for d in self._draws] for _ in range(n)]
            columns = [np.stack(column) for column in zip(*drawn, strict=True)]
            inputs = self._inputs(arrays, draws=False)
            vector, state, gradients, results, _ = self._finished(
                self._many, *residence.gathered(), table, inputs, columns
            )
            residence.keep(vector, state, gradients, counts)
            for optimizer, count in self._steps:
                optimizer.steps += n * count
            return self._returned(vector, results, inputs, rows[-1])

    def after(self, code: Any, instruction: int, order: int) -> None:
        """Leave the marks that an eager step leaves on Tensors."""
        for tensor in self._changed:
            tensor._order = order
            tensor._code = code
            tensor._lasti = instruction
            tensor._form = None
        for leaf, spent, grad in self._gradients:
            leaf._spent = spent
            if grad is not _AS_IT_IS:
                leaf._grad = grad
        for leaf, k in self._own:
            leaf._grad = self.residence.gradient(k)

    # --- what a call is given ---

    def _scalars(self, later: int = 0, counts: Sequence[Any] = ()) -> list[Any]:
        """Return live rates and counts; those of a step that is ``later`` more."""
        if self._only_rates and not later:
            return [o.rate(o.steps + more) for _, o, more in self._rates]
        values: list[Any] = [None] * len(self._lowered.scalars)
        for k, optimizer, more in self._rates:
            ahead = later * dict(self._steps).get(optimizer, 0) if later else 0
            values[k] = optimizer.rate(optimizer.steps + more + ahead)
        known = counts if later else self.residence.counts
        if known is None:
            for k, optimizer, i, j in self._counts:
                values[k] = optimizer._states[i][j]
        else:
            for k, successor in self._successors:
                values[k] = known[successor]
        return values

    def _inputs(self, arrays: tuple[Any, ...], *, draws: bool = True) -> list[Any]:
        found: list[Any] = []
        for place in self._lowered.inputs:
            if isinstance(place, Argument):
                found.append(arrays[place.index])
            elif isinstance(place, Gradient):
                found.append(place.tensor.grad)
            elif isinstance(place, Draw):
                found.append(place.rng.random(place.shape) if draws else ())
            else:
                found.append(_picked(place) if isinstance(place, Mask) else place)
        return found

    def _check_arguments(self, arrays: tuple[Any, ...]) -> None:
        for read, check in self._lowered.beforehand:
            check(read(arrays))

    # --- what it gives ---

    def _refuse(self, checked: list[Any]) -> None:
        """Make the checks that belong to the step, before anything is changed."""
        for (_, check), value in zip(self._lowered.checked, checked, strict=False):
            check(np.asarray(value))
        if self._lowered.finite:
            finite = np.asarray(checked[-1])
            if not finite.all():
                Finite(self._lowered.finite[int(finite.argmin())])(np.nan)

    def _returned(
        self, vector: Any, alone: Any, inputs: Any, numbers: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Return results as arrays, and numbers, of their own."""
        found: list[Any] = []
        rest = iter(alone)
        for part, shares in zip(self._layout.results, self._shares, strict=True):
            if part is None:
                value = self._owned(next(rest), inputs, shares=shares)
                found.append(value if value.ndim else value[()])
            elif part.shape:
                found.append(np.array(part.of(np.asarray(vector))))
            else:
                found.append(np.asarray(vector)[part.start])
        for i, x in self._lowered.others.items():  # by place, the first one first
            found.insert(i, numbers[x.place] if isinstance(x, Live) else x)
        return tuple(found)

    def _owned(self, array: Any, inputs: Any, *, shares: bool) -> np.ndarray:
        """Return an array that may be written to; a large one in XLA's own memory."""
        value = np.asarray(array)
        if value.nbytes < LARGE or shares or not self._on_cpu:
            return np.array(value)
        for x in inputs:
            if isinstance(x, np.ndarray) and np.may_share_memory(x, value):
                return np.array(value)
        return np.asarray(_Handed(array, value))

    # --- figures ---

    @property
    def compilations(self) -> int:
        """Return how many programs were given to XLA."""
        return self._compilations

    @property
    def memory(self) -> Memory:
        """Return bytes of intermediates, as XLA plans them."""
        with self.residence.lock, self._wide(True):
            analysis = self._call.lower(*self._like()).compile().memory_analysis()
        return Memory(int(analysis.temp_size_in_bytes), self._naive)

    def _like(self) -> tuple[Any, ...]:
        """Return shapes and dtypes of what the jitted function takes."""
        like, layout = self._jax.ShapeDtypeStruct, self._layout
        pairs = zip(layout.shapes, layout.state, strict=True)
        arrays = [like(*shape) for shape, part in pairs if part is None]
        vector = like((layout.length,), layout.dtype) if layout.takes_vector else ()
        kept = [like(*facts(place)) for place in self._lowered.kept]
        numbers = like((len(self._lowered.numbers),), layout.dtype)
        inputs = [like(*shape) for shape in self._lowered.input_facts]
        return vector, arrays, kept, numbers, inputs


_AS_IT_IS: Any = object()


class _Small:
    """An argument that is often the same: then it is on the device already.

    Attributes
    ----------
    k : int
        Which of the inputs it is.
    """

    __slots__ = ("_before", "_put", "_there", "k")

    def __init__(self, k: int, put: Any) -> None:
        self.k = k
        self._put = put
        self._before = b""
        self._there: Any = None

    def put(self, inputs: list[Any]) -> None:
        """Put what is on the device in the place of an equal array of NumPy's."""
        x = inputs[self.k]
        data = x.tobytes()
        if data != self._before:
            self._before, self._there = data, None
            return
        if self._there is None:
            self._there = self._put(x.copy())
        inputs[self.k] = self._there


class _Gradient(NamedTuple):
    """A gradient on the device: what `Lent` copies when ``.grad`` is read."""

    residence: Residence
    k: int

    def copy(self) -> np.ndarray:
        """Return it as an array."""
        return self.residence.gradient(self.k)


class _Handed:
    """Memory of a result that nobody but its array has a use for."""

    def __init__(self, owner: Any, value: np.ndarray) -> None:
        self._owner = owner
        address, _ = value.__array_interface__["data"]
        self.__array_interface__ = {
            **value.__array_interface__,
            "data": (address, False),
        }


def _shared_results(program: Program, results: list[Any]) -> list[bool]:
    """Return which results may be the memory of something else that is returned."""
    others = [node for _, node in [*program.writes, *program.gradients]]
    counts: dict[int, int] = {}
    for x in [*others, *results]:
        counts[id(x)] = counts.get(id(x), 0) + 1
    return [counts[id(x)] > 1 or x in program.places for x in results]


def _picked(mask: Mask) -> np.ndarray:
    found: np.ndarray = np.nonzero(mask.array)[mask.axis]
    if found.size != mask.size:
        raise CompileError(
            "compile: backend 'jax' needs shapes that do not depend on values; got a "
            f"boolean index that picked {mask.size} when the step was traced and now "
            f"picks {found.size}. Choose with tg.where, or use backend='numpy'"
        )
    return found
