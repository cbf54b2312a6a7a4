"""The bar that shows how far training is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

__all__ = ["Progress"]


@final
class Progress:
    """A bar of tqdm, where there is someone to see it; otherwise nothing.

    Parameters
    ----------
    epochs, done : int
        The number of the last epoch, and of those done before.
    steps : int, optional
        Batches in an epoch; when unknown, the bar counts epochs.
    shown : bool
        False never shows it; True still shows it only on a terminal or in a notebook,
        and only where tqdm is installed.
    """

    def __init__(
        self, epochs: int, done: int, steps: int | None, *, shown: bool
    ) -> None:
        self._epochs, self._steps = epochs, steps
        self._bar = _bar(epochs, done, steps) if shown else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        """Count a step."""
        if self._bar is not None and self._steps is not None:
            self._bar.update()

    def tell(self, epoch: int, row: Mapping[str, float]) -> None:
        """Show an epoch's measures."""
        if self._bar is None:
            return
        self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)
        shown = {
            name.replace("validation_", "val "): f"{value:.4g}"
            for name, value in row.items()
            if name not in ("epoch", "lr")
        }
        self._bar.set_postfix(shown, refresh=False)
        if self._steps is None:
            self._bar.update()


def _bar(epochs: int, done: int, steps: int | None) -> Any:
    """Open a bar; None without tqdm or without a terminal."""
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 (optional: the extra 'train')
    except ImportError:
        return None
    scale = steps or 1
    bar = tqdm(
        total=max(epochs, done) * scale,
        initial=done * scale,
        unit="step" if steps else "epoch",
        disable=None,  # that is: unless stderr is a terminal
        leave=False,
        dynamic_ncols=True,
    )
    return None if bar.disable else bar
