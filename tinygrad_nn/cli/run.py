"""``tinygrad-nn train``."""

from __future__ import annotations

import hashlib
import math
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, final

import numpy as np

from tinygrad_nn import losses
from tinygrad_nn.cli.network import MODEL, Network, Run, read_run
from tinygrad_nn.cli.report import FILES, HISTORY, Report, Split, lower
from tinygrad_nn.cli.settings import MAKERS, Settings, settle
from tinygrad_nn.cli.signals import undisturbed
from tinygrad_nn.cli.sources import examples
from tinygrad_nn.data import Dataset, Standardizer, train_test_split
from tinygrad_nn.data.dataset import Array
from tinygrad_nn.errors import DataError, DivergedError, SaveError
from tinygrad_nn.training import History, State, accuracy, fit, load, r2, save

__all__ = ["split_of", "train"]


def train(options: Namespace) -> None:
    """Train a network on a data set and leave the results in a directory.

    Parameters
    ----------
    options : Namespace
        Of `cli.arguments`.

    Raises
    ------
    DataError, SaveError
        On bad input, before anything is trained or written.
    DivergedError
        When the loss is no longer finite; nothing is written.
    KeyboardInterrupt
        On Ctrl-C and the like, once the last whole epoch is kept: its text says so.
    """
    directory = _directory(options)
    earlier = None
    if options.resume:
        earlier = read_run(directory, np.random.default_rng(0))
    settings = settle(
        options, earlier and earlier.settings, earlier and earlier.planned
    )
    dataset = examples(options.data, settings.target, settings.task)
    fingerprint = _fingerprint(dataset)
    if earlier is not None and fingerprint != earlier.fingerprint:
        raise DataError(
            f"--resume: expected the data of the run in {directory}; got other numbers "
            f"from {options.data}. Train anew elsewhere"
        )
    _check_sizes(dataset, settings)
    split = split_of(dataset, settings)
    if earlier is None:
        rng = _generators(settings.seed)[1]
        network = _network(dataset, split, settings, rng)
        run = Run(network, settings, History(), fingerprint, rng)
    else:
        run = replace(earlier, settings=settings, planned=None)
    before = Path(directory, MODEL) if options.resume else None
    report = Report(directory, quiet=options.quiet)
    with _made(directory):
        report.begin(dataset, split, run)
        optimizer = _optimizer(run, before)
        whole = _WholeEpoch()
        try:
            _train(run, split, optimizer, whole, progress=not options.quiet)
            report.measure(run, split)
            _keep(directory, run, optimizer)
            report.end(run, split)
        except KeyboardInterrupt as stop:
            _rescue(directory, run, optimizer, whole, stop)
            raise


def _directory(options: Namespace) -> Path:
    """Choose where results go, and refuse what could not take them."""
    if options.out is None:
        if options.resume:
            raise DataError(
                "--resume: expected --out with the directory of a run; got none"
            )
        stem = Path(options.data).stem
        return next(
            path
            for path in (Path("runs", f"{stem}-{i}") for i in count(1))
            if not path.exists()
        )
    directory = Path(options.out)
    if not options.resume:
        found = [name for name in FILES if Path(directory, name).exists()]
        if found:
            raise SaveError(
                f"--out: expected a directory without results; got {directory}, which "
                f"holds {', '.join(found)}. Go on with that run by --resume, or name "
                "another directory"
            )
    return directory


@contextmanager
def _made(directory: Path) -> Iterator[None]:
    """Make the directory, and take it back if the run leaves nothing in it."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=directory):  # it has no name: nothing to clean up
                pass
        except OSError as error:
            raise SaveError(
                f"--out: expected a directory that can be written; got {directory}: "
                f"{error.strerror or error}. Name another"
            ) from error
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def _fingerprint(dataset: Dataset) -> str:
    """Digest of the data: a resumed run must see what the first part saw."""
    names = repr((dataset.feature_names, dataset.target_names, dataset.X.shape))
    digest = hashlib.sha256(names.encode())
    for array in dataset:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Make one generator for the split, one for start, order and dropout."""
    split, training = np.random.SeedSequence(seed).spawn(2)
    return np.random.default_rng(split), np.random.default_rng(training)


def split_of(dataset: Dataset, settings: Settings) -> Split[Array]:
    """Split as a run with these settings does: classes in equal proportion.

    Raises
    ------
    DataError
        When there are too few examples, or `--test-size` leaves too few.
    """
    regression = dataset.kind == "regression"
    n = len(dataset.y)
    if n < 3:
        raise DataError(
            f"{dataset.name}: expected at least three rows, two to train on and one to "
            f"test on; got {n}. Add examples"
        )
    counts = np.unique(dataset.y, return_counts=True)[1]
    if not regression and counts.max() == 1:
        raise DataError(
            f"{_place(dataset, settings)}: expected a class with two or more examples, "
            f"to train and to test on; got {len(counts)} classes of one example each. "
            "Add examples, or choose another --target"
        )
    rng = _generators(settings.seed)[0]
    classes = None if regression else dataset.y
    parts = train_test_split(dataset.X, dataset.y, settings.test_size, rng, classes)
    split = Split(*parts)
    if len(split.y_train) < 2:
        raise DataError(
            "--test-size: expected at least two examples to train on; got "
            f"{settings.test_size:g}, which leaves {len(split.y_train)} of {n}. Lower "
            "it"
        )
    return split


def _place(dataset: Dataset, settings: Settings) -> str:
    """Name the column of targets in a message."""
    if settings.target is None:
        return dataset.name
    return f"{dataset.name}, column {settings.target!r}"


def _check_sizes(dataset: Dataset, settings: Settings) -> None:
    """Refuse numbers too large for a standard deviation, by file and column."""
    columns = {
        f"{dataset.name}, column {name!r}": dataset.X[:, i]
        for i, name in enumerate(dataset.feature_names)
    }
    if dataset.kind == "regression":
        columns[_place(dataset, settings)] = dataset.y
    for place, column in columns.items():
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = column.std()
        if not np.isfinite(deviation):
            raise DataError(
                f"{place}: expected numbers whose squares can be summed; got numbers "
                f"up to {np.abs(column).max():g}. Give the column in a larger unit"
            )


def _network(
    dataset: Dataset, split: Split[Array], settings: Settings, rng: np.random.Generator
) -> Network:
    regression = dataset.kind == "regression"
    return Network.build(
        settings,
        rng,
        kind=dataset.kind,
        feature_names=dataset.feature_names,
        class_names=dataset.target_names,
        inputs=Standardizer().fit(split.X_train),
        outputs=Standardizer().fit(split.y_train[:, None]) if regression else None,
    )


def _optimizer(run: Run, earlier: Path | None) -> Any:
    """Make the optimiser, in the state in which an earlier file has it."""
    settings, parameters = run.settings, run.network.model.parameters()
    optimizer = MAKERS[settings.optimizer](parameters, settings.lr)
    if earlier is not None:
        load(earlier, optimizer=optimizer)
    return optimizer


@final
class _WholeEpoch:
    """Remembers the last whole epoch, to come back to: a callback of `fit`."""

    def __init__(self) -> None:
        self._state: tuple[int, Any, Any, Any] | None = None

    def __call__(self, state: State) -> None:
        if all(map(math.isfinite, state.row.values())):
            # One assignment, before which or after which a signal may come.
            self._state = (
                state.epoch,
                state.model.state(),
                state.optimizer.state(),
                deepcopy(state.rng.bit_generator.state),
            )

    def restored(self, run: Run, optimizer: Any) -> Run | None:
        """Return the run as it was after that epoch, None when there was none."""
        if self._state is None:
            return None
        epochs, model, steps, generator = self._state
        run.network.model.load_state(model)
        optimizer.load_state(steps)
        run.rng.bit_generator.state = generator
        return replace(
            run,
            settings=replace(run.settings, epochs=epochs),
            history=History(run.history.rows[:epochs]),
            planned=run.settings.epochs,
        )


def _rescue(
    directory: Path,
    run: Run,
    optimizer: Any,
    whole: _WholeEpoch,
    stop: KeyboardInterrupt,
) -> None:
    """Keep the last whole epoch of an interrupted run, and say so in ``stop``."""
    with undisturbed():
        kept = whole.restored(run, optimizer)
        if kept is None:
            return
        _keep(directory, kept, optimizer)
        kept.history.to_csv(directory / HISTORY)
    epochs = kept.settings.epochs
    rest = (
        f"go on with --resume --out {directory}"
        if epochs < run.settings.epochs
        else f"the model is in {directory}, not every picture"
    )
    stop.args = (f"interrupted after epoch {epochs}; {rest}",)


def _train(
    run: Run,
    split: Split[Array],
    optimizer: Any,
    whole: _WholeEpoch,
    *,
    progress: bool,
) -> None:
    """Train up to the epochs of the settings."""
    network, settings = run.network, run.settings
    X_train, X_test = map(network.inputs.transform, (split.X_train, split.X_test))
    y_train, y_test = map(network.targets, (split.y_train, split.y_test))
    # A loss that overflows is told in a line of ours, not in a warning of NumPy's.
    with np.errstate(all="ignore"), _advised(settings):
        fit(
            network.model,
            _cost(network, settings.l2),
            optimizer,
            (X_train, y_train),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            validation_data=(X_test, y_test),
            progress=progress,
            rng=run.rng,
            metrics={"r2": r2}
            if network.kind == "regression"
            else {"accuracy": _right},
            history=run.history,
            callbacks=[whole],
            compile=False if settings.backend == "eager" else settings.backend,
        )


@contextmanager
def _advised(settings: Settings) -> Iterator[None]:
    """Advise an option of the command, not an argument of a function."""
    try:
        yield
    except DivergedError as error:
        law = str(error).partition(". ")[0].removeprefix("fit: ")
        raise DivergedError(f"train: {law}. {lower(settings)}") from error


def _right(prediction: Any, target: Any) -> float:
    return accuracy(prediction, target, threshold=0.0)


def _cost(network: Network, strength: float) -> Callable[[Any, Any], Any]:
    if not strength:
        return network.loss
    return lambda prediction, target: (
        network.loss(prediction, target) + losses.l2(network.model, strength)
    )


def _keep(directory: Path, run: Run, optimizer: Any) -> None:
    """Write the model, from which everything else can be had again."""
    epochs = run.settings.epochs
    interrupted = run.planned is not None and run.planned > epochs
    save(
        directory / MODEL,
        run.network.model,
        optimizer,
        run.rng,
        step=epochs,
        extra={
            "program": "tinygrad-nn train",
            "settings": run.settings.to_json(),
            "history": run.history.rows,
            "fingerprint": run.fingerprint,
            **run.network.to_json(),
            **({"planned": run.planned} if interrupted else {}),
        },
    )
