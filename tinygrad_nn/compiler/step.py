"""`compile`, and the compiled step: a program for each signature it is called with."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, final
from weakref import WeakKeyDictionary, ref

import numpy as np

from tinygrad_nn import graph, recording
from tinygrad_nn.compiler.backends import backend_named
from tinygrad_nn.compiler.blame import explained
from tinygrad_nn.compiler.checks import NotFiniteError, refuse_not_finite
from tinygrad_nn.compiler.optimise import optimised
from tinygrad_nn.compiler.same import (
    failed_again,
    refuse_difference,
    refuse_other_structure,
)
from tinygrad_nn.compiler.sharing import arrays_of, read_late, refuse_shared, shared
from tinygrad_nn.compiler.structure import flattened, mapped
from tinygrad_nn.compiler.trace import Trace
from tinygrad_nn.errors import CompileError, DivergedError, TinygradError
from tinygrad_nn.op import Node, constant, data_of
from tinygrad_nn.rewriting.program import Program, Value, let_go
from tinygrad_nn.scalars import Scalar
from tinygrad_nn.tensor import Lent, Tensor

__all__ = ["CompiledStep", "compile"]


class _Array(NamedTuple):
    """The part of a signature that an array is."""

    shape: tuple[int, ...]
    dtype: Any
    is_tensor: bool


class _Quick(NamedTuple):
    """What runs while nobody has looked at a parameter since the last call."""

    step: _Specialised
    run: Callable[..., Any]
    resident: Any  # a Resident, or the like of it
    alike: Callable[[Any], bool]
    results: Any


class _Specialised:
    """The program of one signature, ready to run."""

    def __init__(self, trace: Trace, program: Program, results: Any) -> None:
        self.selects = trace.selects
        self.program = program
        self.results = mapped(_without_past, results)
        self.modules = list(trace.modules.items())
        self.held_by = trace.held_by
        self.hyperparameters = list(trace.hyperparameters.items())
        self.pending = list(trace.pending.items())
        self.shown = list(trace.shown.items())
        self.switched = list(trace.switched.items())
        for leaf, _ in self.pending:
            if not hasattr(leaf, "_spent"):  # a result of no_grad that was made a leaf
                leaf._spent = False
            if not hasattr(leaf, "_grad"):
                leaf._grad = None
        self.draws = trace.draws
        self.outside = [
            (place.tensor, place.tensor.requires_grad)
            for place in program.places.values()
            if isinstance(place, Value)
        ]
        self.written = [
            place.tensor for place, _ in program.writes if isinstance(place, Value)
        ]
        self.late, late_arrays = read_late(program)
        refuse_shared(late_arrays, self.written, "array outside of the step")
        self.arrays = arrays_of(program)
        self.careful: _Specialised | None = None
        self.lenient: _Specialised | None = None  # looks only at what it gives
        self.runner: Any = None
        self.resident: Any = None  # where parameters are, if they may be elsewhere
        self._run: Any = None  # while the resident is here
        self.may_stay = True  # as far as it is known

    def failed(self, *, interrupted: bool) -> None:
        """Leave nothing that a call which did not end would make wrong.

        A gradient that still lay in its buffer is lost with it. Where the call was
        interrupted parameters may have changed: graphs recorded on them are stale.
        """
        for leaf, _ in self.program.gradients:
            if isinstance(leaf._grad, Lent):
                leaf._grad = None
        if interrupted:
            for place, _ in self.program.writes:
                if isinstance(place, Value):
                    place.tensor._order = recording.changed()

    def as_made(self) -> bool:
        """Return whether modules and optimisers are set as when they were traced."""
        for module, training in self.modules:
            if module.training is not training:
                return False
        for own, name, value in self.held_by:
            if own.get(name) != value:
                return False
        for optimizer, given in self.hyperparameters:
            if optimizer.hyperparameters != given:
                return False
        return True

    def fits(self) -> bool:
        """Return whether settings and waiting gradients are as when traced."""
        if not self.as_made():
            return False
        for leaf, waits in self.pending:
            if (leaf._spent or leaf._grad is None) is waits:
                return False
        for leaf, there in self.shown:
            if (leaf._grad is None) is there:
                return False
        for leaf, needs in self.outside:  # noqa: SIM110 (half the time of all())
            if leaf.requires_grad is not needs:
                return False
        return True

    def quick(self, alike: Any, lock: Any) -> _Quick | None:
        """Let parameters stay with the step after a call, if that is possible."""
        if self.resident is None:
            self.may_stay = self._find_resident(lock)
        resident = self.resident
        if resident is None or not self.fits() or not resident.settle():
            return None
        return _Quick(self, self._run, resident, alike, self.results)

    def _find_resident(self, lock: Any) -> bool:
        find = getattr(self.runner, "resident", None)
        found = None if find is None or self.switched or self.draws else find()
        if found is None:
            return False
        watched = [*self.pending, *self.shown, *self.outside]
        if any(id(leaf) not in found[1].tensors for leaf, _ in watched):
            return False
        self._run, self.resident = found
        found[1].share(lock)
        return True


@final
class CompiledStep:
    """A function that was traced, and runs as flat source; see `compile`.

    Attributes
    ----------
    source : str
        The program that ran last, as text.
    memory : Memory
        Bytes of buffers planned, and what they would be without reuse.
    traces : int
        How many signatures were traced.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        backend: str = "numpy",
        *,
        exact: bool = False,
        check_finite: bool = False,
        twice: bool = False,
    ) -> None:
        _refuse_other_kinds(function)
        functools.update_wrapper(self, function, updated=())
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._named_backend = backend
        self._backend = backend_named(backend)
        # Whether an array of another library goes to the backend as it is.
        self._takes = getattr(self._backend, "takes", lambda _x: False)
        self._exact = exact
        self._check_finite = check_finite
        self._twice = twice
        self._known: dict[Any, list[_Specialised]] = {}
        self._last: _Specialised | None = None
        self._alike: Callable[[Any], bool] | None = None
        self._quick: _Quick | None = None
        self._lock = threading.RLock()
        self._bound: WeakKeyDictionary[Any, CompiledStep] = WeakKeyDictionary()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the step of an object: a method is compiled for each of them."""
        if instance is None:
            return self
        bound = self._bound.get(instance)
        if bound is None:
            # The object is held weakly here and by its own method's step.
            bound = self._bound[instance] = self._like(
                _Method(self._function, instance)
            )
        return bound

    def __repr__(self) -> str:
        """Name the function, the backend and how many programs there are."""
        count = self.traces
        programs = f"{count} program" + ("" if count == 1 else "s")
        return f"<compiled step {self.__name__!r}, {self._named_backend}, {programs}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the function and the settings; programs are made anew."""
        return _again, (
            self._function,
            self._named_backend,
            self._exact,
            self._check_finite,
            self._twice,
        )

    def _like(self, function: Callable[..., Any]) -> CompiledStep:
        return _again(
            function,
            self._named_backend,
            self._exact,
            self._check_finite,
            self._twice,
        )

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Run the step on these arguments."""
        mode = recording.current()
        if mode.trace is not None:
            return self._function(*args, **keywords)  # a part of another step
        with self._lock:
            quick = self._quick
            if quick is None or keywords or not mode.records:
                return self._call(args, keywords, sys._getframe(1), mode.records)
            step, run, resident, alike, results = quick
            if not (resident.here and alike(args) and step.as_made()):
                return self._call(args, keywords, sys._getframe(1), mode.records)
            try:
                values = run(*args)
            except BaseException as error:  # noqa: BLE001 (it is raised again)
                self._quick = None
                values, runner = self._mended(step, args, args, {}, [], error)
                frame = sys._getframe(1)
                runner.after(frame.f_code, frame.f_lasti, recording.changed())
            else:
                frame = sys._getframe(1)
                resident.mark = frame.f_code, frame.f_lasti, recording.changed()
                if not resident.here:
                    resident.write_home()
        if results.__class__ is Tensor:
            return constant(values[0], recording.tick())
        return _wrapped(results, values)

    def _call(self, args: Any, keywords: Any, frame: Any, records: Any) -> Any:
        """Run a step whose parameters are where everybody looks for them."""
        plain = records and not keywords
        step = self._same(args) if plain else None
        arrays: Any = args
        if step is None:
            arrays, key = self._read(args, keywords)
            self._come_home()
            step = self._specialised(key, args, keywords)
            self._note(step, args if plain else ())
        values, runner = self._run(step, arrays, args, keywords)
        runner.after(frame.f_code, frame.f_lasti, recording.changed())
        if step.may_stay and self._alike is not None and runner is step.runner:
            self._quick = step.quick(self._alike, self._lock)
            if self._quick is not None:
                self._quick.resident.mark = (
                    frame.f_code,
                    frame.f_lasti,
                    recording.latest_change,
                )
        if step.results.__class__ is Tensor:
            return constant(values[0], recording.tick())
        return _wrapped(step.results, values)

    def repeat(self, n: int, *args: Any, **keywords: Any) -> Any:
        """Run the step ``n`` times on the same arguments; return the last results.

        Backends do it in one call: a loop in C, a ``lax.scan``.
        """
        if not isinstance(n, int) or n < 1:
            got = repr(n) if isinstance(n, (int, float, str)) else type(n).__name__
            raise CompileError(
                "repeat: n, a number of steps, comes first and is at least 1; got "
                f"{got}. Write step.repeat(100, X, Y)"
            )
        if recording.current().trace is not None:
            for _ in range(n):  # a part of another step
                results = self._function(*args, **keywords)
            return results
        with self._lock:
            arrays, key = self._read(args, keywords)
            self._come_home()
            step = self._specialised(key, args, keywords)
            self._note(step, ())
            frame = sys._getframe(1)
            refuse_shared([arrays[i] for i in step.late], step.written)
            repeat = getattr(step.runner, "repeat", None)
            # What a step changes in an array of another name, the next one reads.
            seen = [*arrays, *step.arrays]
            one_by_one = self._check_finite or shared(seen, step.written) is not None
            if repeat is not None and not one_by_one:
                try:
                    values = repeat(n, *arrays)
                except FloatingPointError as error:
                    if isinstance(error, TinygradError):
                        raise
                    # The next of them may have to go the careful way.
                    n -= getattr(error, "done", 0)
                else:
                    order = recording.changed()
                    step.runner.after(frame.f_code, frame.f_lasti, order)
                    return _wrapped(step.results, values)
            for _ in range(n):
                step = self._specialised(key, args, keywords)
                values, runner = self._run(step, arrays, args, keywords)
                runner.after(frame.f_code, frame.f_lasti, recording.changed())
        return _wrapped(step.results, values)

    def trace(self, *args: Any, **keywords: Any) -> CompiledStep:
        """Trace the step for these arguments without running it; return the step."""
        if recording.current().trace is not None:
            raise CompileError(
                "trace: a step is traced on its own; got a call inside of another one. "
                "Call it, and it becomes a part of that one"
            )
        with self._lock:
            _, key = self._read(args, keywords)
            self._come_home()
            self._note(self._specialised(key, args, keywords), ())
        return self

    # --- signatures ---

    def _note(self, step: _Specialised, args: Any) -> None:
        """Remember what ran last, and on what, if it was arrays alone."""
        self._last = step
        plain = bool(args) and all(
            x.__class__ is np.ndarray or self._takes(x) for x in args
        )
        if plain and self._exact:
            plain = all(_order_of_axes(x) is None for x in args)
        self._alike = _alike(args, exact=self._exact) if plain else None

    def _same(self, args: Any) -> _Specialised | None:
        """Return what ran last, if these arguments ask for it: the quick way."""
        if self._alike is None or not self._alike(args):
            return None
        step = self._last
        return step if step is not None and step.fits() else None

    def _read(self, args: Any, keywords: Any) -> tuple[list[Any], Any]:
        """Return the arrays among the arguments, and the signature."""
        arrays: list[Any] = []
        key: list[Any] = [] if recording.current().records else ["no_grad"]
        for x in args:
            if x.__class__ is np.ndarray:
                arrays.append(x)
                key.append((x.shape, x.dtype))
            else:
                key.append(self._part(x, arrays))
        key += [(name, self._part(keywords[name], arrays)) for name in sorted(keywords)]
        if self._exact:
            key.append(tuple(map(_order_of_axes, arrays)))
        return arrays, tuple(key)

    def _part(self, x: Any, arrays: list[Any]) -> Any:
        """Return the part of the key that an argument is; note its arrays."""
        kind = type(x)
        if isinstance(x, Node):
            if x.requires_grad:
                raise _refused_gradient(graph.name(x))
            arrays.append(x._value)
            return _Array(x._value.shape, x._value.dtype, True)
        if _is_data(x):  # a subclass, a floating number, or another library's
            if isinstance(x, np.matrix) or hasattr(x, "mask"):  # np.ma imports slowly
                raise CompileError(
                    f"compile: an argument is an array; got a {kind.__name__}, whose "
                    "operators mean something else. Pass np.asarray(x), or .filled()"
                )
            array = x if self._takes(x) else np.asarray(x)
            arrays.append(array)
            return (array.shape, array.dtype)
        if kind is dict:
            return ("dict", *((k, self._part(v, arrays)) for k, v in x.items()))
        if kind is list or isinstance(x, tuple):
            return (kind, *(self._part(v, arrays) for v in x))
        try:
            hash(x)
        except TypeError:
            raise CompileError(
                f"compile: an argument is an array, a Tensor, dicts and lists of them, "
                f"or a value that can be compared; got {kind.__name__}"
            ) from None
        return (kind, repr(x) if kind is float else x)  # -0.0 is not 0.0

    def _specialised(self, key: Any, args: Any, keywords: Any) -> _Specialised:
        for step in self._known.get(key, ()):
            if step.fits():
                return step
        careful = getattr(self._backend, "careful", False)
        step = self._traced(args, keywords, careful=careful)
        self._known.setdefault(key, []).append(step)
        return step

    def _traced(
        self, args: Any, keywords: Any, *, careful: bool, lenient: bool = False
    ) -> _Specialised:
        trace, program, results = self._recorded(
            args, keywords, careful=careful, lenient=lenient
        )
        late = trace.selects and program.first_update is None
        if late and not careful and not getattr(self._backend, "traps", False):
            # An update comes before a backward: what was updated would be seen twice.
            return self._traced(args, keywords, careful=True)
        if self._twice or not self._known:
            self._refuse_change(program, results, args, keywords, careful=careful)
        fuses = getattr(self._backend, "fuses", False)
        program = optimised(program, exact=self._exact, fuses=fuses)
        step = _Specialised(trace, program, results)
        step.runner = self._backend(
            program,
            trace,
            self.__name__,
            check_finite=self._check_finite and not lenient,
        )
        trace.let_go()
        let_go(program.nodes)
        let_go(x for x, place in program.places.items() if not isinstance(place, Value))
        return step

    def _refuse_change(
        self, program: Program, results: Any, args: Any, keywords: Any, *, careful: bool
    ) -> None:
        """Run the function again; refuse one that does something else."""
        try:
            _, again, others = self._recorded(args, keywords, careful=careful)
        except Exception as error:
            raise failed_again(error) from error
        refuse_difference(program, again)
        refuse_other_structure(results, others)

    def _recorded(
        self, args: Any, keywords: Any, *, careful: bool, lenient: bool = False
    ) -> Any:
        """Run the function once; return what it did."""
        trace = Trace(careful=careful)
        names = iter(_names(self._function, args, keywords))
        count = iter(range(1 << 30))

        def stand_in(x: Any) -> Any:
            name = next(names)
            if not _is_data(x):
                return x
            value = x._value if isinstance(x, Node) else np.asarray(x)
            return trace.argument(value, next(count), name)

        given = mapped(stand_in, args)
        named = mapped(stand_in, dict(sorted(keywords.items())))
        try:
            with recording.traced(trace):
                results = self._function(*given, **named)
            if lenient:
                trace.check_given(flattened(results), refuse_not_finite)
            program = trace.program(_checked_results(flattened(results)))
        finally:
            trace.restore()
        return trace, program, results

    # --- running ---

    def _run(self, step: _Specialised, arrays: Any, args: Any, keys: Any) -> Any:
        if step.late:
            refuse_shared([arrays[i] for i in step.late], step.written)
        if not (step.switched or step.draws):
            runner = step.runner
            try:
                return runner(*arrays), runner
            except BaseException as error:  # noqa: BLE001 (it is raised again)
                return self._mended(step, arrays, args, keys, [], error)
        for module, training in step.switched:
            module.training = training
        states = [rng.bit_generator.state for rng in step.draws]
        try:
            return step.runner(*arrays), step.runner
        except BaseException as error:  # noqa: BLE001 (it is raised again)
            return self._mended(step, arrays, args, keys, states, error)

    def _mended(
        self,
        step: _Specialised,
        arrays: Any,
        args: Any,
        keys: Any,
        states: Any,
        error: BaseException,
    ) -> Any:
        """Go the careful way after an error, if it is one of those; else raise it."""
        try:
            return self._careful_run(step, arrays, args, keys, states, error)
        except BaseException as last:
            _put_back(step.draws, states)
            step.failed(interrupted=not isinstance(last, Exception))
            raise

    def _careful_run(
        self,
        step: _Specialised,
        arrays: Any,
        args: Any,
        keys: Any,
        states: Any,
        error: BaseException,
    ) -> Any:
        if isinstance(error, NotFiniteError):
            return self._second_look(step, arrays, args, keys, states, error)
        if isinstance(error, TinygradError) or not isinstance(error, Exception):
            raise error
        if not isinstance(error, FloatingPointError):
            raise _blamed(error, step.runner) from error
        if not step.selects:
            raise error
        # As in eager: some 0 met an infinity, or a nan hides where nobody looked.
        _put_back(step.draws, states)
        if step.careful is None:
            step.careful = self._traced(args, keys, careful=True)
        try:
            return step.careful.runner(*arrays), step.careful.runner
        except NotFiniteError as found:
            return self._second_look(step, arrays, args, keys, states, found)

    def _second_look(
        self,
        step: _Specialised,
        arrays: Any,
        args: Any,
        keys: Any,
        states: Any,
        error: Exception,
    ) -> Any:
        """Let a value on the way be what it is, if all that the step gives is finite.

        A logarithm of 0 that `where` does not choose is none of our business.
        """
        _put_back(step.draws, states)
        if step.lenient is None:
            with np.errstate(all="ignore"):  # NumPy has warned, when it was traced
                step.lenient = self._traced(args, keys, careful=True, lenient=True)
        try:
            return step.lenient.runner(*arrays), step.lenient.runner
        except DivergedError:
            raise self._with_arguments(error, args, keys) from None

    def _with_arguments(self, error: Exception, args: Any, keys: Any) -> Exception:
        """Say which arguments were not finite to begin with."""
        leaves = [*flattened(args), *flattened(dict(sorted(keys.items())))]
        names = _names(self._function, args, keys)
        wrong = [
            repr(name)
            for name, x in zip(names, leaves, strict=True)
            if _is_data(x) and not np.isfinite(data_of(x)).all()
        ]
        if not wrong:
            return DivergedError(str(error))
        return DivergedError(f"{error}. Not finite to begin with: {', '.join(wrong)}")

    def _come_home(self) -> None:
        """Bring home what programs of this step keep, before others are asked.

        So no two steps, each with values of the other, wait for each other.
        """
        self._quick = None
        for steps in self._known.values():
            for step in steps:
                if step.resident is not None:
                    step.resident.come_home()

    @property
    def source(self) -> str:
        """Return the program of the last call as text."""
        source: str = self._ran().runner.source
        return source

    @property
    def memory(self) -> Any:
        """Return bytes planned against bytes without reuse, for the last call."""
        return self._ran().runner.memory

    @property
    def traces(self) -> int:
        """Return how many signatures were traced."""
        return sum(map(len, self._known.values()))

    def _ran(self) -> _Specialised:
        if self._last is None:
            raise CompileError(
                "compile: there is a program once the step was called; it was not. "
                "Call it once, or .trace(…) it"
            )
        return self._last


def _refuse_other_kinds(function: Any) -> None:
    """Only a function that runs from its first line to its return can be traced."""
    if not callable(function):
        raise CompileError(
            f"compile: expected a function; got {type(function).__name__}. Write "
            "@tg.compile above a def, or tg.compile(function)"
        )
    if inspect.isclass(function):
        raise CompileError(
            f"compile: expected a function; got the class {function.__name__}. Make an "
            "object of it first"
        )
    in_pieces = (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )
    if in_pieces:
        raise CompileError(
            f"compile: {function.__name__} runs in pieces, as generators and "
            "coroutines do. Compile the step that it makes in each of them"
        )


class _Method:
    """A function and the object it is a method of, held weakly."""

    def __init__(self, function: Callable[..., Any], instance: Any) -> None:
        functools.update_wrapper(self, function, updated=())
        self._method = function
        self._instance = ref(instance)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._method(self._instance(), *args, **keywords)


def _again(
    function: Any, backend: str, exact: bool, check_finite: bool, twice: bool
) -> CompiledStep:
    return CompiledStep(
        function, backend, exact=exact, check_finite=check_finite, twice=twice
    )


def _is_data(x: Any) -> bool:
    """Whether an argument is an array, which may differ in each call."""
    if isinstance(x, (np.integer, np.bool_)):
        return False
    return isinstance(x, Node) or hasattr(x, "__array__")


def _refused_gradient(name: str | None) -> CompileError:
    what = "a Tensor" if name is None else repr(name)
    return CompileError(
        f"compile: an argument is data, and requires no gradient; got {what} that "
        "does. Let the function close over parameters, or differentiate inside of it "
        "with tg.value_and_grad"
    )


_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)


def _checked_results(results: list[Any]) -> list[Any]:
    """Refuse results that would be those of the first call for ever."""
    for x in results:
        if not isinstance(x, (Node, Scalar, Enum, *_PLAIN)):
            raise CompileError(
                "compile: a step returns Tensors, arrays and numbers, in tuples, lists "
                f"and dicts; got {type(x).__name__}. Build it outside of the step"
            )
    return results


def _order_of_axes(x: Any) -> tuple[int, ...] | None:
    """Return in which order sums go through an array; None for NumPy's own."""
    if x.__class__ is not np.ndarray or x.flags.c_contiguous:
        return None
    return tuple(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis])))


def _alike(like: Any, *, exact: bool) -> Callable[[Any], bool]:
    """Return what tells whether arguments are of the kinds of these arrays."""
    kinds = [(x.__class__, x.shape, x.dtype) for x in like]

    def alike(args: Any) -> bool:
        if len(kinds) != len(args):
            return False
        for x, (kind, shape, dtype) in zip(args, kinds):  # noqa: B905 (quicker)
            if x.__class__ is not kind or x.dtype is not dtype or x.shape != shape:
                return False
            if exact and _order_of_axes(x) is not None:
                return False
        return True

    if not any(isinstance(x, np.ndarray) for x in like):
        return _the_same(like, alike)
    if len(kinds) != 2 or exact:
        return alike
    (kind, shape, dtype), (other, size, sort) = kinds

    def both(args: Any) -> bool:
        """Do the same for examples and labels, in half the time."""
        if len(args) != 2:
            return False
        x, y = args
        return (
            x.__class__ is kind
            and y.__class__ is other
            and x.dtype is dtype
            and y.dtype is sort
            and x.shape == shape
            and y.shape == size
        )

    return both


def _the_same(like: Any, alike: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return what tells the arrays of a library in which they never change."""
    known = [ref(x) for x in like]

    def the_same(args: Any) -> bool:
        if len(args) != len(known):
            return False
        for x, seen in zip(args, known):  # noqa: B905 (quicker)
            if x is not seen():
                return alike(args)
        return True

    return the_same


def _put_back(generators: list[Any], states: list[Any]) -> None:
    """Let generators stand where they stood: a step that fails changes nothing."""
    for rng, state in zip(generators, states, strict=True):
        rng.bit_generator.state = state


def _without_past(x: Any) -> Any:
    """Return what stands for a result; a node would keep all that it came from."""
    return constant(np.zeros(()), 0) if isinstance(x, Node) else x


def _wrapped(results: Any, values: Any) -> Any:
    """Return values in the structure of what the function returned."""
    found = iter(values)

    def result(x: Any) -> Any:
        value = next(found)
        if isinstance(x, Node):
            return constant(value, recording.tick())
        return float(value) if isinstance(x, Scalar) else x

    return mapped(result, results)


def _blamed(error: Exception, runner: Any) -> Exception:
    """Say whose line computes what went wrong."""
    lines = getattr(runner, "lines", {})
    where = error.__traceback__
    while where is not None:
        if where.tb_frame.f_code.co_filename == getattr(runner, "filename", None):
            node = lines.get(where.tb_lineno)
            if node is not None and node._op is not None:
                return explained(error, node)
        where = where.tb_next
    return error


def _names(function: Any, args: Any, keywords: Any) -> list[str]:
    """Return a name for each leaf of the arguments."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    found = []
    for i, value in enumerate(args):
        name = parameters[i] if i < len(parameters) else f"x{i}"
        leaves = flattened(value)
        found += (
            [name] if len(leaves) == 1 else [f"{name}_{j}" for j in range(len(leaves))]
        )
    for name, value in sorted(keywords.items()):
        found += [name] * len(flattened(value))
    return found


def compile(
    function: Callable[..., Any] | None = None,
    *,
    backend: str = "numpy",
    exact: bool = False,
    check_finite: bool = False,
) -> Any:
    """Compile a step: what it computes, differentiates and updates, as flat source.

    >>> import tinygrad_nn as tg
    >>> w = tg.Parameter([1.0, 2.0], name="w")
    >>> optimizer = tg.optim.SGD([w], lr=0.1)
    >>> @tg.compile
    ... def step(x):
    ...     loss = ((w - x) ** 2).sum()
    ...     optimizer.minimize(loss)
    ...     return loss
    >>> step(np.array([0.0, 0.0])).item(), w.data
    (5.0, array([0.8, 1.6]))
    """
    if function is None:
        return functools.partial(
            compile, backend=backend, exact=exact, check_finite=check_finite
        )
    return CompiledStep(function, backend, exact=exact, check_finite=check_finite)
