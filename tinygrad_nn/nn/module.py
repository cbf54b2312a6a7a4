"""`Module`: something with parameters that can be called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.errors import LikelyMistake, ModelError
from tinygrad_nn.nn import generators
from tinygrad_nn.nn.buffer import Buffer
from tinygrad_nn.nn.summary import Row, Summary
from tinygrad_nn.op import data_of
from tinygrad_nn.shapes import Shape
from tinygrad_nn.tensor import Parameter, Tensor

__all__ = ["Found", "Module", "modes_kept", "note_shape", "told", "walk"]

M = TypeVar("M", bound="Module")

_noted: ContextVar[dict[str, Shape] | None] = ContextVar(
    "tinygrad_nn_noted", default=None
)


class Found(NamedTuple):
    """Something met on a walk through a model.

    Attributes
    ----------
    path
        Dotted: attribute names, list positions and dict keys; ``""`` for the root.
    depth
        How many modules are around it.
    value
        A module, a parameter, a buffer, a random generator, or a function in a list.
    first
        False where it was met before, under another path.
    """

    path: str
    depth: int
    value: Any
    first: bool


class Module(ABC):
    """A part of a model: holds parameters and other modules, and can be called.

    Write ``__init__`` to set attributes and `forward` to compute. Everything is found
    from the attributes, whenever it is asked for: parameters (`Parameter`, or any
    leaf Tensor that requires a gradient), what else it remembers (`Buffer`) and
    modules, also in lists, tuples and dicts, also those set later.
    ``super().__init__()`` is not needed.

    A parameter or layer takes its name from its place, like ``layers.0.weight``, the
    first time a name is needed. What is used twice is shared: it is found once.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope = tg.Parameter(2.0)
    ...         self.offset = tg.Parameter(1.0)
    ...
    ...     def forward(self, x):
    ...         return self.slope * x + self.offset
    >>> line = Line()
    >>> line(np.array([0.0, 1.0])).tolist()
    [1.0, 3.0]
    >>> [name for name, _ in line.named_parameters()]
    ['slope', 'offset']
    """

    training: bool = True
    """Whether layers such as `Dropout` behave as in training; see `train`, `eval`."""

    name: str | None = None
    """Given by the user; shown in errors."""

    reads: ClassVar[Any] = None
    """Dtype of inputs, where it is not that of the parameters: integers, to look up."""

    _path: str | None = None

    @abstractmethod
    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """Compute the output; call the module itself, not this."""

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """Compute the output; what is recorded meanwhile belongs to this layer."""
        path = self._path
        if path is None:
            path = self._settle()
        trace = recording.current().trace
        if trace is not None:
            trace.enter(self)
        label = _below(recording.current().scope, path) if path else ""
        if label:
            with recording.scope(label):
                output = self.forward(*inputs, **settings)
        else:
            output = self.forward(*inputs, **settings)
        note_shape(path, output)
        return output

    # --- what it holds ---

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """Return every parameter with its dotted name, each once, in order.

        Raises
        ------
        ModelError
            If two get the same name, or a set holds some: it has no order.
        """
        self._settle()
        return [
            (path, held)
            for path, held in self._held()
            if isinstance(held, Tensor) and not isinstance(held, Buffer)
        ]

    def parameters(self) -> list[Tensor]:
        """Return every parameter once, in the order of the attributes."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_modules(self) -> list[tuple[str, Module]]:
        """Return this module, named ``""``, and all modules in it, each once."""
        return [
            (found.path, found.value)
            for found in walk(self)
            if found.first and isinstance(found.value, Module)
        ]

    def _held(self) -> list[tuple[str, Any]]:
        """Return what a state consists of: parameters, buffers, random generators."""
        held: dict[str, Any] = {}
        for found in walk(self):
            kept = isinstance(found.value, (Tensor, np.random.Generator))
            if not kept or not found.first:
                continue
            if found.path in held:
                raise ModelError(
                    f"{self._title()}: names must differ; got two things named "
                    f"{found.path!r}. Rename an attribute or a dict key"
                )
            held[found.path] = found.value
        return list(held.items())

    def _settle(self) -> str:
        """Give modules and nameless parameters their names, seen from here."""
        own = (self.name or "") if self._path is None else self._path
        # A part of a model names what is new in it; only from the root is all in view.
        is_part = own not in ("", self.name)
        for found in walk(self):
            if not found.first or not found.path:
                continue
            path = f"{own}.{found.path}" if own else found.path
            if isinstance(found.value, Module):
                known = found.value._path  # noqa: SLF001 (its own class)
                if not is_part or known is None:
                    found.value._path = path  # noqa: SLF001 (its own class)
            elif isinstance(found.value, Tensor):
                name = found.value.name
                # What was named from a place further in gets the longer path.
                if name is None or path.endswith("." + name):
                    found.value.name = path
        self._path = own
        return own

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters; never needed, does no harm."""
        for parameter in self.parameters():
            parameter.zero_grad()

    # --- training and evaluation ---

    def train(self: M, mode: bool = True) -> M:  # noqa: PYI019 (Self: Python 3.11)
        """Behave as in training, everywhere below; return the module."""
        trace = recording.current().trace
        for _, module in self.named_modules():
            if trace is not None:
                trace.switch(module, mode)
            module.training = mode
        return self

    def eval(self: M) -> M:  # noqa: PYI019 (Self: Python 3.11)
        """Behave as in use: no dropout; return the module."""
        return self.train(mode=False)

    def in_training(self) -> bool:
        """Return whether to behave as in training, for layers that ask.

        Nothing is learned under `no_grad`: who predicts there and never said `eval` has
        forgotten it, and is warned. ``train()`` says that it is meant.
        """
        untold = "training" not in vars(self)
        if self.training and untold and not recording.current().records:
            recording.warn(
                f"{type(self).__name__}: behaves as in training, but nothing is "
                "recorded: two predictions differ. Call model.eval() to predict, or "
                "model.train() if this is meant",
                LikelyMistake,
            )
        return self.training

    # --- state ---

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of all that changes in training, by dotted name.

        Parameters, buffers such as the running averages of `BatchNorm`, and the random
        generators of layers such as `Dropout` as bytes, so that a resumed run draws
        what an uninterrupted one would have drawn.

        >>> import tinygrad_nn as tg
        >>> {name: value.shape for name, value in tg.nn.Dense(3, 2).state().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        state = {}
        for path, held in self._held():
            tensor = isinstance(held, Tensor)
            state[path] = held.data.copy() if tensor else generators.packed(held)
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Set everything to what `state` had returned: all of it, or nothing.

        Raises
        ------
        ModelError
            If names are missing or unknown, or shapes differ; names them all.
        """
        held = dict(self._held())
        faults = [f"{name!r} is missing" for name in held if name not in state]
        faults += [f"{name!r} is unknown" for name in state if name not in held]
        ready = {}
        for name in held.keys() & state.keys():
            fault, ready[name] = _fitted(held[name], np.asarray(data_of(state[name])))
            if fault:
                faults.append(f"{name!r} {fault}")
        if faults:
            raise ModelError(
                f"{self._title()}: the state must fit the model; got a state where "
                f"{'; '.join(sorted(faults))}. Build the model as it was when saved"
            )
        for name, value in ready.items():
            target = held[name]
            if isinstance(target, Tensor):
                target.data = value
                target.zero_grad()
            else:
                target.bit_generator.state = value

    # --- how it looks ---

    def _title(self) -> str:
        """Kind of layer and name, as errors begin."""
        name = self.name or self._path
        return f"{type(self).__name__} {name!r}" if name else type(self).__name__

    def describe(self) -> str:
        """Return one line for `repr` and `summary`: override it to show settings."""
        return type(self).__name__

    def summary(self, input_shape: Any = None) -> Summary:
        """Return a table of layers with parameter counts, and shapes if asked.

        Parameters
        ----------
        input_shape
            Full shape of an input, examples first, such as ``(32, 784)``, or an input
            itself, an array or a Tensor; the model is then run on zeros of that shape,
            or on that input, in evaluation mode, and every output's shape shown.

        Examples
        --------
        >>> import tinygrad_nn as tg
        >>> net = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.tanh, tg.nn.Dense(4, 1))
        >>> net.summary((400, 2))
        layer       kind           output    parameters
        (whole)     Sequential     (400, 1)          17
          layers.0  Dense(2 -> 4)  (400, 4)          12
          layers.1  tanh           (400, 4)           0
          layers.2  Dense(4 -> 1)  (400, 1)           5
        total                                        17
        """
        shapes: dict[str, Shape] = {}
        if input_shape is not None:
            shapes = self._output_shapes(input_shape)
        self._settle()
        own = self._path or ""
        rows = []
        for found in walk(self):
            value = found.value
            if isinstance(value, (Tensor, np.random.Generator)):
                continue
            path = f"{own}.{found.path}" if own and found.path else own or found.path
            size = 0
            if isinstance(value, Module) and found.first:
                size = sum(parameter.size for parameter in value.parameters())
            kind = told(value) if found.first else f"{told(value)} (shared)"
            rows.append(Row(found.path, found.depth, kind, shapes.get(path), size))
        return Summary(rows, rows[0].parameters)

    def _output_shapes(self, given: Any) -> dict[str, Shape]:
        """Run on an input, or on zeros of a shape, without recording.

        Modes are put back whatever happens.
        """
        if not isinstance(given, (np.ndarray, Tensor)):
            given = np.zeros(given, self._reads())
        with (
            modes_kept([module for _, module in self.named_modules()]),
            _shapes_noted() as shapes,
            recording.no_grad(),
        ):
            self.eval()
            self(given)
        return shapes

    def _reads(self) -> Any:
        """Dtype of inputs: of the first layer that says so, or of the parameters."""
        for _, module in self.named_modules():
            if module.reads is not None:
                return module.reads
            # A layer computes with what it holds; a model of layers may do so later.
            is_layer = len(module.named_modules()) == 1
            if is_layer and any(isinstance(x, Tensor) for x in vars(module).values()):
                break
        return next((p.dtype for p in self.parameters()), np.dtype(np.float64))

    def __repr__(self) -> str:
        """Show the tree of layers, one a line."""
        lines = [self.describe()]
        first_path = {id(self): ""}
        outer = {0: ""}
        for found in walk(self):
            if isinstance(found.value, (Tensor, np.random.Generator)) or not found.path:
                continue
            what = told(found.value)
            if isinstance(found.value, Module):
                if not found.first:
                    what += f" (shared: {first_path[id(found.value)] or 'the whole'})"
                else:
                    first_path[id(found.value)] = found.path
                    outer[found.depth] = found.path
            around = outer.get(found.depth - 1, "")
            label = found.path[len(around) + 1 :] if around else found.path
            lines.append(f"{'  ' * found.depth}{label}: {what}")
        return "\n".join(lines)


def _fitted(target: Any, value: np.ndarray) -> tuple[str, Any]:
    """Return what keeps a value from being a state, and the value made fit."""
    if not isinstance(target, Tensor):
        state = generators.unpacked(value, target)
        kind = generators.kind(target)
        return ("" if state else f"is no state of a {kind} generator"), state
    if value.shape != target.shape:
        return f"has shape {value.shape}, expected {target.shape}", None
    if value.dtype.kind not in "fiub":
        return f"has dtype {value.dtype}, expected {target.dtype}", None
    return "", np.array(value, target.dtype)


def told(value: Any) -> str:
    """One line about a module or a function in a list."""
    if isinstance(value, Module):
        return value.describe()
    return getattr(value, "__name__", None) or type(value).__name__


# --- walking ---------------------------------------------------------------------


def walk(root: Module) -> Iterator[Found]:
    """Walk a model, outermost first and in the order of attributes; no recursion.

    Raises
    ------
    ModelError
        For a set that holds modules or parameters: it has no order.
    """
    seen: set[int] = set()
    stack: list[tuple[str, int, Any, bool]] = [("", 0, root, False)]
    while stack:
        path, depth, value, in_list = stack.pop()
        first = id(value) not in seen
        if _counts(value, in_list):
            yield Found(path, depth, value, first)
        if not first or not isinstance(value, _REMEMBERED):
            continue
        seen.add(id(value))
        is_module = isinstance(value, Module)
        for key, item in reversed(_inside(path, value)):
            label = f"{path}.{key}" if path else str(key)
            stack.append((label, depth + is_module, item, not is_module))


def _counts(value: Any, in_list: bool) -> bool:
    """Whether a walk stops here: a function counts only as a layer in a list."""
    if isinstance(value, Tensor):
        kept = isinstance(value, (Parameter, Buffer))
        return kept or (value.is_leaf and value.requires_grad)
    if isinstance(value, (Module, np.random.Generator)):
        return True
    return in_list and callable(value)


_REMEMBERED = (Module, Tensor, np.random.Generator, list, tuple, dict, set, frozenset)


def _inside(path: str, value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Module):
        return list(vars(value).items())
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if isinstance(value, (set, frozenset)) and any(
        isinstance(item, (Module, Tensor)) for item in value
    ):
        raise ModelError(
            f"{path}: modules and parameters are kept in order; got a "
            f"{type(value).__name__}. Use a list, a tuple or a dict"
        )
    return []


@lru_cache(maxsize=4096)
def _below(scope: str | None, path: str) -> str:
    """Return what of ``path`` is new below a scope: a part may have been entered.

    >>> _below("encoder.block", "block.hidden"), _below("encoder", "block.hidden")
    ('hidden', 'block.hidden')
    """
    if scope is None:
        return path
    parts = path.split(".")
    for entered in range(len(parts), 0, -1):
        head = ".".join(parts[:entered])
        if scope == head or scope.endswith("." + head):
            return ".".join(parts[entered:])
    return path


# --- shapes met on the way, for `summary` -----------------------------------------


def note_shape(path: str, output: Any) -> None:
    """Note an output's shape, of several the first, where someone wants to know."""
    shapes = _noted.get()
    if shapes is not None:
        while isinstance(output, tuple) and output:
            output = output[0]
        shapes[path] = np.shape(data_of(output))


@contextmanager
def modes_kept(modules: Sequence[Module]) -> Iterator[None]:
    """Put back whether modules train or not, also where nobody had said it."""
    modes = [(module, vars(module).get("training")) for module in modules]
    try:
        yield
    finally:
        for module, told in modes:
            if told is None:
                vars(module).pop("training", None)
            else:
                module.training = told


@contextmanager
def _shapes_noted() -> Iterator[dict[str, Shape]]:
    """Note the shape of every module's output while inside."""
    shapes: dict[str, Shape] = {}
    token = _noted.set(shapes)
    try:
        yield shapes
    finally:
        _noted.reset(token)
