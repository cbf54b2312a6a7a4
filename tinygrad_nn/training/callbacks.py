"""What can be done after each epoch."""

from __future__ import annotations

import math
import os
from typing import Any, final

import numpy as np

from tinygrad_nn.errors import DataError
from tinygrad_nn.training.loop import State
from tinygrad_nn.training.saving import save

__all__ = ["Checkpoint", "EarlyStopping"]


@final
class EarlyStopping:
    """End training when a measure has stopped improving (Prechelt 1998).

    Parameters
    ----------
    patience : int
        Epochs without an improvement that are waited for.
    min_delta : float
        What counts as an improvement on the best so far: more than this.
    restore_best : bool
        Give the model the state of its best epoch at the end of training.
    monitor : str, optional
        The measure: ``validation_loss`` where there is one, else ``loss``. A smaller
        one is better, unless ``larger`` says otherwise.
    larger : bool, optional
        Whether larger is better: by default only for names that end in ``accuracy``
        or ``r2``.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int
        Its epoch; 0 before the first.

    Examples
    --------
    >>> import tinygrad_nn as tg
    >>> model = tg.nn.Dense(1, 1, rng=0)
    >>> stopping = EarlyStopping(patience=3)
    >>> history = tg.fit(
    ...     model,
    ...     tg.losses.mse,
    ...     tg.optim.SGD(model.parameters(), lr=0.0),
    ...     ([[1.0]], [[2.0]]),
    ...     epochs=100,
    ...     callbacks=[stopping],
    ... )
    >>> len(history), stopping.best_epoch
    (4, 1)
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        *,
        restore_best: bool = True,
        monitor: str | None = None,
        larger: bool | None = None,
    ) -> None:
        if patience < 1 or not min_delta >= 0:
            raise DataError(
                "EarlyStopping: expected a patience of at least 1 and a min_delta "
                f"of at least 0; got patience={patience}, min_delta={min_delta}"
            )
        self.best = math.nan
        self.best_epoch = 0
        self._patience, self._min_delta = patience, min_delta
        self._restore_best, self._monitor, self._larger = restore_best, monitor, larger
        self._best_state: dict[str, Any] | None = None

    def __call__(self, state: State) -> None:
        """Compare this epoch with the best."""
        if state.epoch <= self.best_epoch:  # another training: begin anew
            self.best_epoch = 0
        name = self._monitor
        if name is None:
            name = "validation_loss" if "validation_loss" in state.row else "loss"
        if name not in state.row:
            raise DataError(
                f"EarlyStopping: expected a measure to monitor; got {name!r}. "
                f"There are {', '.join(map(repr, state.row))}"
            )
        if self._is_better(name, state.row[name]):
            self.best, self.best_epoch = state.row[name], state.epoch
            if self._restore_best:
                self._best_state = state.model.state()
        elif state.epoch - self.best_epoch >= self._patience:
            state.stop(
                f"{name} has not improved on {self.best:.6g} of epoch "
                f"{self.best_epoch} for {self._patience} epochs"
            )

    def finish(self, state: State) -> None:
        """Bring the best epoch back."""
        if self._best_state is not None and self.best_epoch < state.epoch:
            # Of the best epoch's state the parameters come back, not the generators:
            # the random numbers of later epochs were drawn.
            now = state.model.state()
            best = {
                name: value if np.asarray(value).dtype.kind == "f" else now[name]
                for name, value in self._best_state.items()
            }
            state.model.load_state(best)
        self._best_state = None

    def _is_better(self, name: str, value: float) -> bool:
        if not self.best_epoch:
            return True
        larger = self._larger
        if larger is None:
            larger = name.endswith(("accuracy", "r2"))
        gain = value - self.best if larger else self.best - value
        return gain > self._min_delta


@final
class Checkpoint:
    """Save the model, the optimiser, the shuffle and the history after epochs.

    Going on from a file of it gives, bit for bit, what an uninterrupted training
    gives::

        saved = tg.load(path, model, optimizer, rng)
        history = tg.training.History(saved.extra["history"])
        tg.fit(model, …, rng=rng, history=history, epochs=…)

    Parameters
    ----------
    path : str or path
        The file, replaced each time; ``{epoch}`` in it becomes the epoch's number.
    every : int
        Epochs between two saves.

    Examples
    --------
    >>> Checkpoint("model.npz", every=5)
    Checkpoint('model.npz', every=5)
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        if every < 1:
            raise DataError(
                f"Checkpoint: expected every to be at least 1; got {every}. "
                "1 saves after each epoch"
            )
        self._path, self._every = os.fspath(path), every

    def __call__(self, state: State) -> None:
        """Save, if it is time."""
        if state.epoch % self._every == 0:
            save(
                self._path.replace("{epoch}", str(state.epoch)),
                state.model,
                state.optimizer,
                state.rng,
                step=state.epoch,
                extra={"history": state.history.rows},
            )

    def __repr__(self) -> str:
        return f"Checkpoint({self._path!r}, every={self._every})"
