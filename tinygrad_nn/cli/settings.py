"""The settings of a run: what a user may choose, and what holds otherwise."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, final, get_args

from tinygrad_nn.errors import DataError

__all__ = [
    "BACKENDS",
    "DEFAULTS",
    "MAKERS",
    "ONES",
    "TASKS",
    "Settings",
    "Task",
    "learning_rate",
    "settle",
]

Task = Literal["auto", "classes", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)
"""What a target column may be taken for; ``auto`` looks at it."""

BACKENDS = ("numpy", "c", "jax", "eager")
"""What makes the steps: a backend of the compiler, or plain Python."""

ONES = (
    *("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish"),
    *("tanh", "softsign", "sigmoid", "softplus", "identity"),
)
"""Activations of hidden layers."""


@final
@dataclass(frozen=True)
class Maker:
    """How to make an optimiser: its class in `optim`, its settings, a usual rate."""

    name: str
    lr: float
    settings: Mapping[str, Any]

    def __call__(self, parameters: Any, lr: float) -> Any:
        """Make it."""
        from tinygrad_nn import optim  # noqa: PLC0415 (only a run needs it)

        make: Callable[..., Any] = getattr(optim, self.name)
        return make(parameters, lr=lr, **self.settings)


MAKERS: dict[str, Maker] = {
    "adam": Maker("Adam", 0.001, {}),
    "adamw": Maker("AdamW", 0.001, {}),
    "rmsprop": Maker("RMSProp", 0.001, {}),
    "sgd": Maker("SGD", 0.1, {}),
    "momentum": Maker("SGD", 0.01, {"momentum": 0.9}),
    "nesterov": Maker("SGD", 0.01, {"momentum": 0.9, "nesterov": True}),
}


@final
@dataclass(frozen=True)
class Settings:
    """All that decides a run, but for the numbers of the data."""

    target: str | None
    task: Task
    layers: tuple[int, ...]
    activation: str
    optimizer: str
    lr: float
    epochs: int
    batch_size: int
    l2: float
    dropout: float
    seed: int
    test_size: float
    backend: str

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Return what `to_json` was called on."""
        # Runs of earlier versions have no task, and no compiled steps.
        values = {"task": "auto", "backend": "eager", **values}
        return cls(**{**values, "layers": tuple(values["layers"])})


DEFAULTS: dict[str, Any] = {
    "task": "auto",
    "layers": (64, 32),
    "activation": "relu",
    "optimizer": "adam",
    "epochs": 100,
    "batch_size": 32,
    "l2": 0.0001,
    "dropout": 0.0,
    "seed": 0,
    "test_size": 0.2,
    "backend": "numpy",
}


def learning_rate(optimizer: str) -> float:
    """Return the learning rate of an optimiser, unless the user names one.

    >>> learning_rate("adam")
    0.001
    """
    return MAKERS[optimizer].lr


def settle(
    options: Namespace, earlier: Settings | None = None, planned: int | None = None
) -> Settings:
    """Complete what the user said by the defaults, or by the run to go on with.

    An interrupted run goes on to the epochs that were planned, unless told otherwise.

    Raises
    ------
    DataError
        When a run is to go on with another setting than it began with, or not
        beyond the epochs that it had.
    """
    said = {
        field.name: getattr(options, field.name)
        for field in fields(Settings)
        if getattr(options, field.name) is not None
    }
    if earlier is None:
        lr = learning_rate(said.get("optimizer", DEFAULTS["optimizer"]))
        return Settings(**{"target": None, "lr": lr, **DEFAULTS, **said})
    if planned is not None:
        said = {"epochs": planned, **said}
    kept = asdict(earlier)
    for name, value in said.items():
        if name != "epochs" and value != kept[name]:
            raise DataError(
                f"--resume: expected the settings of the run in {options.out}; got "
                f"--{name.replace('_', '-')} {_text(value)} where it has "
                f"{_text(kept[name])}. Leave the option out, or train anew elsewhere"
            )
    if said.get("epochs", 0) <= earlier.epochs:
        got = f"--epochs {said['epochs']}" if "epochs" in said else "no --epochs"
        raise DataError(
            f"--resume: expected more than the {earlier.epochs} epochs done in "
            f"{options.out}; got {got}. Say --epochs {2 * earlier.epochs}, for example"
        )
    return Settings(**{**kept, **said})


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)
