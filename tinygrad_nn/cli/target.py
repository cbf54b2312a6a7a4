"""What a picture or a derivation is made of: a saved run, or ``file.py:function``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from inspect import Parameter
from pathlib import Path
from sys import stderr
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.cli.check.loading import Home, loaded, trouble_of
from tinygrad_nn.cli.check.pairs import parameters
from tinygrad_nn.cli.check.values import (
    TARGET,
    UnclearError,
    call,
    floating,
    values_for,
)
from tinygrad_nn.cli.network import Network, read_run
from tinygrad_nn.cli.sources import examples
from tinygrad_nn.errors import DataError
from tinygrad_nn.tensor import Tensor

__all__ = ["Target", "opened"]

ROWS = 8
"""Examples whose loss is computed where a run is looked at."""


class Target(NamedTuple):
    """Tensors that were computed, and what their parts are called.

    Attributes
    ----------
    results
        What the function returned, or the loss of a run: at least one Tensor.
    names
        Tensors and arrays by name, entries of dictionaries too.
    title
        ``backprop.py:cost``, or the directory of the run.
    """

    results: list[Tensor]
    names: dict[str, Any]
    title: str

    @property
    def loss(self) -> Tensor:
        """The first result that is one number, where there is one, else the first."""
        return next((x for x in self.results if x.size == 1), self.results[0])


@contextmanager
def opened(text: str, data: str | None = None) -> Iterator[Target]:
    """Compute what ``text`` names; a file's module is there until the end.

    Parameters
    ----------
    text
        The directory of a run of ``tinygrad-nn train``, or ``file.py:function``. A
        function is called with the variables of the file that have the names of its
        parameters, or with those in ``example = {"X": …}``; of these, floating arrays
        become inputs with a gradient, but for targets such as ``y``. In place of a
        function a variable may be named that holds a Tensor.
    data
        For a run: the data set, or CSV file, that the examples come from; random
        ones of the features' mean and spread without.

    Raises
    ------
    DataError, SaveError
        One line that says what is missing.
    """
    place, colon, name = text.rpartition(":")
    if colon and not Path(text).exists():
        if data is not None:
            raise DataError(
                f"--data: expected none with {text!r}, which computes with the values "
                "of its file. Leave it out"
            )
        with loaded(Path(place)) as home:
            yield _called(home, name, text)
        return
    if text.endswith(".py"):
        with loaded(Path(text)) as home:
            raise DataError(
                f"{text}: expected a function of it, {text}:{_first(home)}; got the "
                f"file alone. It has {', '.join(home.defined) or 'none'}"
            )
    yield _of_run(text, data)


def _first(home: Home) -> str:
    return next(iter(home.defined), "cost")


# --- a function of a file ---------------------------------------------------------


def _called(home: Home, name: str, text: str) -> Target:
    if name not in home.names:
        known = [x for x in home.names if not x.startswith("_")]
        close = get_close_matches(name, known, 1)
        hint = f". Did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"{text}: expected a function that {home.path} has; got {name!r}. It has "
            f"{', '.join(home.defined) or 'none'}{hint}"
        )
    given = home.names[name]
    if isinstance(given, Tensor):
        return Target([given], _flat(home.values), text)
    if not callable(given):
        raise DataError(
            f"{text}: expected a function or a Tensor; got {type(given).__name__}. "
            "Name what computes the loss"
        )
    values, names = _inputs(given, home)
    takes = parameters(given) or ()
    try:
        with redirect_stdout(stderr):
            result = call(given, takes, values)
    except UnclearError as error:
        raise DataError(
            f"{text}: expected a value for each parameter; got {error}. Give it in the "
            f"file: {_lacking(takes, values)} = …, or example = {{…}}"
        ) from None
    except Exception as error:
        raise DataError(
            f"{text}: expected a function that runs; got {trouble_of(error, home.path)}"
        ) from error
    results = _tensors(result)
    if not results:
        raise DataError(
            f"{text}: expected a function that returns a Tensor; got "
            f"{type(result).__name__}. Let it compute with its parameters, and return "
            "the loss"
        )
    return Target(results, {**_flat(home.values), **names}, text)


def _lacking(takes: Sequence[Parameter], values: Mapping[str, Any]) -> str:
    return next(p.name for p in takes if p.name not in values and p.default is p.empty)


def _inputs(
    function: Callable[..., Any], home: Home
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values by the names of parameters, with Tensors for floats; names of these."""
    takes = {p.name for p in parameters(function) or ()}
    values = dict(values_for(function, home, None))
    names: dict[str, Any] = {}
    for holder in takes & set(values):
        value = values[holder]
        if isinstance(value, Mapping):
            values[holder] = {
                key: _variable(str(key), x, names) for key, x in value.items()
            }
        else:
            values[holder] = _variable(holder, value, names)
    return values, names


def _variable(name: str, value: Any, names: dict[str, Any]) -> Any:
    if floating(value) and not TARGET.fullmatch(name):
        value = Tensor(np.array(value), requires_grad=True, name=name)
    if isinstance(value, (Tensor, np.ndarray)):
        names[name] = value
    return value


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays and Tensors of a file by name, one level of entries too."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        entries = value if isinstance(value, Mapping) else {name: value}
        for key, x in entries.items():
            if isinstance(x, (Tensor, np.ndarray)) and isinstance(key, str):
                found.setdefault(key, x)
    return found


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [x for x in result if isinstance(x, Tensor)]
    return []


# --- a run -------------------------------------------------------------------------


def _of_run(directory: str, data: str | None) -> Target:
    """Compute the loss of a few examples with the network of a run."""
    run = read_run(directory, np.random.default_rng(0))
    network = run.network
    if data is None:
        X, y = _made(network)
    else:
        dataset = examples(data, run.settings.target, run.settings.task)
        if dataset.feature_names != network.feature_names:
            raise DataError(
                f"--data: expected the features trained on, "
                f"{', '.join(network.feature_names)}; got "
                f"{', '.join(dataset.feature_names)}"
            )
        X, y = dataset.X[:ROWS], dataset.y[:ROWS]
    network.model.eval()
    inputs = Tensor(network.inputs.transform(X), name="X")
    target = network.targets(y)
    loss = network.loss(network.model(inputs), target)
    return Target([loss], {"X": inputs, "Y": target, "loss": loss}, directory)


def _made(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Make examples where a run's data are not at hand, always the same."""
    rng = np.random.default_rng(0)
    standard = rng.standard_normal((ROWS, len(network.feature_names)))
    X = network.inputs.inverse_transform(standard)
    if network.outputs is not None:
        return X, network.outputs.inverse_transform(rng.standard_normal((ROWS, 1)))
    return X, rng.integers(max(len(network.class_names), 2), size=ROWS)
