"""Being told to stop: Ctrl-C, and what ends a program from outside."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

__all__ = ["Terminated", "exit_code", "heard", "undisturbed"]

ENDING = ("SIGTERM", "SIGHUP")
"""Signals that end a program, for which Python raises nothing (names: not every
system has them all)."""


@final
class Terminated(KeyboardInterrupt):
    """Another signal than Ctrl-C asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return what a shell reports of a program that such a signal ended.

    >>> exit_code(KeyboardInterrupt()), exit_code(Terminated(15))
    (130, 143)
    """
    return 128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def heard() -> Iterator[None]:
    """Raise `Terminated` for the signals that would end the program without a word.

    Those that the program was told to ignore, as by ``nohup``, stay ignored.
    """
    with _handled(ENDING, _raise, instead_of=signal.SIG_DFL):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no further Ctrl-C, of an impatient user, reach what is short and must be."""
    with _handled(("SIGINT", *ENDING), signal.SIG_IGN):
        yield


@contextmanager
def _handled(
    names: Sequence[str], handler: Any, instead_of: Any = None
) -> Iterator[None]:
    """Handle signals otherwise for a while; only the main thread may."""
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for name in names:
                number = getattr(signal, name, None)
                if number is None:
                    continue
                held = signal.getsignal(number)
                # None: set by a program that is not Python, and not ours to replace.
                if held is not None and instead_of in (None, held):
                    before[number] = held
                    signal.signal(number, handler)
        yield
    finally:
        for number, held in before.items():
            signal.signal(number, held)


def _raise(number: int, _: FrameType | None) -> None:
    raise Terminated(number)
