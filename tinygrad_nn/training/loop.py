"""`fit`: the loop over epochs and mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tinygrad_nn import losses, optim
from tinygrad_nn.data import Dataset, batches
from tinygrad_nn.data.batching import Batches
from tinygrad_nn.errors import DataError, ModelError
from tinygrad_nn.nn.module import modes_kept
from tinygrad_nn.recording import no_grad
from tinygrad_nn.tensor import Tensor
from tinygrad_nn.training.engine import Engine, Loss, Steps, outcome
from tinygrad_nn.training.history import History
from tinygrad_nn.training.interrupt import WholeSteps
from tinygrad_nn.training.progress import Progress

__all__ = ["State", "evaluate", "fit"]

Metric = Callable[[Any, Any], float]
Metrics = Mapping[str, Metric] | Sequence[Metric] | Metric
LEAST_EVALUATED = 1024


@final
@dataclass
class State:
    """What a callback is given after each epoch.

    Attributes
    ----------
    model, optimizer
        As they were passed to `fit`.
    rng : numpy.random.Generator
        The generator of the shuffle.
    history : History
        The epochs so far, this one included.
    """

    model: Any
    optimizer: Any
    rng: np.random.Generator
    history: History
    reason: str | None = field(default=None, init=False)

    @property
    def epoch(self) -> int:
        """Number of epochs done, 1 after the first."""
        return len(self.history)

    @property
    def row(self) -> dict[str, float]:
        """The measures of this epoch."""
        return self.history.rows[-1]

    def stop(self, reason: str) -> None:
        """End training after this epoch."""
        self.reason = reason


def fit(
    model: Any,
    loss: Loss,
    optimizer: Steps,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = None,
    validation_data: Any = None,
    callbacks: Iterable[Callable[[State], object]] = (),
    progress: bool = True,
    rng: int | np.random.Generator | None = None,
    metrics: Metrics = (),
    max_norm: float | None = None,
    history: History | None = None,
    compile: bool | str = True,
) -> History:
    """Train a model: forward, backward and a step for each batch of each epoch.

    Parameters
    ----------
    model : Module, or any function of the inputs
        In training mode for the batches, in evaluation mode for the validation;
        afterwards every module is in the mode in which it was.
    loss : function (prediction, target) -> Tensor
        Of one number, the mean over the batch.
    optimizer : Optimizer
        Over the parameters of the model. A learning-rate schedule lives there.
    data : tuple (X, y), Dataset, or iterable of batches (X, y)
        An iterable is walked anew each epoch, so a generator object will not do. A
        tuple of inputs is passed to the model as several arguments.
    epochs : int
        The number of the last epoch: those in ``history`` are done already.
    batch_size : int, optional
        Examples in a batch, in a new random order each epoch; the last may be
        smaller. Left out: all of them at once, in their order.
    validation_data : like data, optional
        Measured after each epoch, without dropout, as ``validation_...``.
    callbacks : functions of a `State`, optional
        Called after each epoch; what has a method ``finish(state)`` is told the end.
    progress : bool
        Show a bar, where there is someone to see it: only on a terminal or in a
        notebook, and with tqdm installed.
    rng : int, numpy.random.Generator or None
        Seed or generator of the shuffle.
    metrics : function (prediction, target) -> float, a list or a dict of them, optional
        Measured each epoch on the arrays of all its predictions; those of the training
        part are made while it learns, with dropout.
    max_norm : float, optional
        Gradients are scaled down to this common norm (`optim.clip_by_norm`).
    history : History, optional
        Of an earlier run, to go on from; it grows.
    compile : bool or str
        True makes the same numbers in less time: steps are compiled (`tg.compile`)
        where that pays and the model, the loss and the optimiser allow it, with
        results that equal those of False to the bit. The name of a backend,
        ``"numpy"``, ``"c"`` or ``"jax"``, compiles every step with all that the
        compiler knows: quicker still, and equal but for rounding. What cannot be
        compiled is trained eagerly; ``history.engine`` and ``history.reason`` tell.

    Returns
    -------
    History
        Columns ``epoch``, ``lr`` (at the epoch's first step, if the optimiser tells),
        ``loss`` (the mean over the examples), the metrics, the same as
        ``validation_...``.

    Raises
    ------
    DivergedError
        When a loss is not finite: the model is then as before that batch.
    DataError
        When the data has no batch.
    ShapeError
        When the loss is not one number.
    ModelError
        When model, loss, optimizer, a metric or a callback is something else, before
        anything runs.

    Notes
    -----
    A compiled step does not run the Python of model and loss again. Where this Python
    counts, collects, draws random numbers of its own or reads values, training is
    eager; where a callback changes attributes that it reads, steps are compiled anew.
    What it prints, or reads from files, is not noticed: pass ``compile=False`` there.

    Ctrl-C ends training between two steps, never within one: model and optimiser
    are left as after a whole step.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> X, y = tg.data.moons(200)
    >>> model = tg.nn.Sequential(
    ...     tg.nn.Dense(2, 8, rng=0), tg.tanh, tg.nn.Dense(8, 1, rng=1)
    ... )
    >>> history = fit(
    ...     model,
    ...     tg.losses.binary_cross_entropy_with_logits,
    ...     tg.optim.Adam(model.parameters(), lr=0.05),
    ...     (X, y[:, None]),
    ...     epochs=20,
    ...     batch_size=50,
    ...     rng=0,
    ... )
    >>> len(history), bool(history["loss"][-1] < 0.3)
    (20, True)
    """
    _check_function("fit", "model", model)
    _check_loss("fit", loss)
    _check_optimizer(optimizer)
    listeners = list(callbacks)
    for listener in listeners:
        _check_function("fit", "callbacks", listener)
    generator = np.random.default_rng(rng)
    train = _epochs_of(data, batch_size, generator, "data")
    held_out = _validation(validation_data, batch_size)
    measures = _named("fit", metrics)
    state = State(
        model, optimizer, generator, History() if history is None else history
    )
    modules, count = _modules(model), _count(train)
    # Code of others runs between epochs, and may change what steps were made of.
    others = bool(listeners) or not isinstance(train, Batches)
    with (
        modes_kept(_modules(model)),
        Progress(epochs, state.epoch, count, shown=progress) as bar,
        WholeSteps() as steps,
    ):
        engine = Engine(
            model,
            loss,
            optimizer,
            steps,
            compile=compile,
            max_norm=max_norm,
            keeps=bool(measures),
            ahead=(epochs - state.epoch) * (count or 0),
        )
        while state.epoch < epochs and state.reason is None:
            epoch = state.epoch + 1
            if others:
                engine.look_around()
            for module in modules:
                module.training = True
            row: dict[str, float] = {"epoch": epoch}
            with suppress(AttributeError, TypeError):
                row["lr"] = float(optimizer.lr)  # type: ignore[attr-defined]
            row |= _train_epoch(engine, epoch, train, _Tally(measures), bar)
            if held_out is not None:
                values = evaluate(model, loss, held_out, metrics=measures)
                row |= {f"validation_{name}": value for name, value in values.items()}
            state.history.append(row)
            state.history.engine, state.history.reason = engine.name, engine.reason
            bar.tell(epoch, row)
            for listener in listeners:
                listener(state)
        for listener in listeners:
            getattr(listener, "finish", _nothing)(state)
    return state.history


def evaluate(
    model: Any,
    loss: Loss,
    data: Any,
    *,
    batch_size: int | None = None,
    metrics: Metrics = (),
) -> dict[str, float]:
    """Measure a model in evaluation mode, recording nothing and changing nothing.

    Parameters
    ----------
    model, loss, data, metrics
        As for `fit`.
    batch_size : int, optional
        Examples at a time, at least 1024; all at once unless given.

    Returns
    -------
    dict of float
        ``loss``, averaged over the examples, and each metric.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> evaluate(lambda x: 2 * x, tg.losses.mse, ([[1.0], [2.0]], [[2.0], [5.0]]))
    {'loss': 0.5}
    """
    _check_function("evaluate", "model", model)
    _check_loss("evaluate", loss)
    parts = _validation(data, batch_size)
    tally = _Tally(_named("evaluate", metrics))
    with no_grad(), modes_kept(_modules(model)):
        for module in _modules(model):
            module.training = False
        for X, y in parts:
            prediction = outcome(model, X)
            tally.add(loss(prediction, y).item(), prediction, y)
    return tally.result("validation data")


def _train_epoch(
    engine: Engine, epoch: int, parts: Iterable[Any], tally: _Tally, bar: Progress
) -> dict[str, float]:
    for number, (X, y) in enumerate(parts, start=1):
        value, prediction = engine(X, y, epoch, number)
        tally.add(value, prediction, y)
        bar.advance()
    return tally.result(f"data in epoch {epoch}")


@final
class _Tally:
    """Sums over an epoch: of the loss by example, and what the metrics need."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics
        self._total = 0.0
        self._n = 0
        self._kept: list[tuple[Any, Any]] = []

    def add(self, value: float, prediction: Any, y: Any) -> None:
        n = len(y)
        self._total += value * n
        self._n += n
        if self._metrics:
            self._kept.append((_array(prediction), _array(y)))

    def result(self, what: str) -> dict[str, float]:
        if not self._n:
            raise DataError(
                f"fit: expected batches in the {what}; got none. An iterable of "
                "batches must start anew each time: pass a list or tg.data.batches, "
                "not a generator"
            )
        values = {"loss": self._total / self._n}
        if self._metrics:
            prediction, y = map(np.concatenate, zip(*self._kept, strict=True))
            for name, metric in self._metrics.items():
                values[name] = float(metric(prediction, y))
        return values


def _epochs_of(
    data: Any, batch_size: int | None, rng: np.random.Generator, what: str
) -> Iterable[Any]:
    """Whatever the data is, as something that gives an epoch's batches."""
    if isinstance(data, Dataset) or (isinstance(data, tuple) and len(data) == 2):
        X, y = data
        n = len(y)
        return batches(
            X, y, batch_size or max(n, 1), rng, shuffle=batch_size is not None
        )
    if batch_size is not None:
        raise DataError(
            f"fit: expected no batch_size for {what} that comes in batches; got "
            f"{batch_size}. Leave it out, or pass the pair (X, y)"
        )
    if not isinstance(data, Iterable):
        raise DataError(
            f"fit: expected {what} as a pair (X, y) or an iterable of batches; got "
            f"{type(data).__name__}"
        )
    return data


def _validation(data: Any, batch_size: int | None) -> Any:
    """As `_epochs_of`, in order, and in large parts: nothing is recorded for them."""
    if data is None:
        return None
    if isinstance(data, Dataset) or (isinstance(data, tuple) and len(data) == 2):
        X, y = data
        size = len(y) if batch_size is None else max(batch_size, LEAST_EVALUATED)
        return batches(X, y, max(size, 1), shuffle=False)
    return _epochs_of(data, None, np.random.default_rng(0), "validation_data")


def _named(where: str, metrics: Metrics) -> dict[str, Metric]:
    # A text is a sequence, too: of letters.
    items = [metrics] if callable(metrics) or isinstance(metrics, str) else metrics
    for item in items.values() if isinstance(items, Mapping) else items:
        _check_function(where, "metrics", item)
    if isinstance(items, Mapping):
        return dict(items)
    return {getattr(item, "__name__", type(item).__name__): item for item in items}


def _check_function(where: str, name: str, given: Any) -> None:
    """Refuse what cannot be called, or is a class where an object is needed."""
    kind = "functions in" if name in ("metrics", "callbacks") else "a function as"
    if not callable(given):
        advice = _advice(name, given)
    elif isinstance(given, type):
        advice = f"Make one of that class: {given.__name__}(…)"
    else:
        return
    raise ModelError(f"{where}: expected {kind} {name}; got {_told(given)}. {advice}")


def _check_loss(where: str, loss: Any) -> None:
    if _is_optimizer(loss) and not callable(loss):
        raise ModelError(
            f"{where}: expected a function (prediction, target) as loss; got the "
            f"optimiser {type(loss).__name__}. The order is fit(model, loss, "
            "optimizer, data)"
        )
    _check_function(where, "loss", loss)


def _check_optimizer(optimizer: Any) -> None:
    if _is_optimizer(optimizer):
        return
    if isinstance(optimizer, type):
        advice = f"Make one: {optimizer.__name__}(model.parameters(), lr=…)"
    elif callable(optimizer):
        advice = "The order is fit(model, loss, optimizer, data)"
    else:
        advice = _advice("optimizer", optimizer)
    raise ModelError(
        "fit: expected an optimiser, something with step(), as optimizer; got "
        f"{_told(optimizer)}. {advice}"
    )


def _is_optimizer(given: Any) -> bool:
    return not isinstance(given, type) and callable(getattr(given, "step", None))


def _advice(name: str, given: Any) -> str:
    """Say what to pass; of what is known by the name that was given, how it is had."""
    if isinstance(given, str):
        if name == "loss" and given in losses.__all__:
            return f"Pass tg.losses.{given}"
        if name == "optimizer":
            known = {item.lower(): item for item in optim.__all__ if item[0].isupper()}
            item = known.get(given.lower(), "Adam")
            return f"Pass tg.optim.{item}(model.parameters(), lr=…)"
    return {
        "model": "Pass a Module, or a function of the inputs",
        "loss": "Pass one of tg.losses, such as tg.losses.mse",
        "optimizer": "Pass tg.optim.Adam(model.parameters(), lr=…)",
        "metrics": "Pass functions (prediction, target), such as tg.training.accuracy",
        "callbacks": "Pass functions of a State, such as tg.training.EarlyStopping()",
    }[name]


def _told(given: Any) -> str:
    """What was given, in a message's words."""
    if isinstance(given, str):
        return repr(given)
    if isinstance(given, type):
        return f"the class {given.__name__}"
    name = getattr(given, "__name__", None)
    return f"the function {name}" if name else f"an object of {type(given).__name__}"


def _count(parts: Any) -> int | None:
    """Return the number of batches in an epoch, where it is known."""
    try:
        return len(parts)
    except TypeError:
        return None


def _array(values: Any) -> npt.NDArray[Any]:
    return np.asarray(values.numpy() if isinstance(values, Tensor) else values)


def _modules(model: Any) -> list[Any]:
    """Every module of a model; a plain function has none."""
    named = getattr(model, "named_modules", None)
    return [] if named is None else [module for _, module in named()]


def _nothing(_: State) -> None:
    """Hear of the end without a reaction."""
