"""Ctrl-C between steps, never within one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, final

__all__ = ["WholeSteps"]


@final
class WholeSteps:
    """While it is open, Ctrl-C waits until the step under way is whole.

    An optimiser changes one parameter after the other; a `KeyboardInterrupt` between
    two of them would leave a model that belongs to no step. Between ``begin()`` and
    ``end()`` the signal is kept and raised by ``end()``; at any other time it is
    raised at once, and so is a second Ctrl-C, always. Outside the main thread, which
    gets no signals, and where the program handles Ctrl-C itself, it does nothing.

    Examples
    --------
    >>> with WholeSteps() as steps:
    ...     steps.begin()
    ...     # several arrays change here
    ...     steps.end()
    """

    def __init__(self) -> None:
        self._inside = False
        self._waiting = False
        self._installed = False

    def __enter__(self) -> WholeSteps:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def begin(self) -> None:
        """Start a step."""
        self._inside = True

    def end(self) -> None:
        """End a step, and raise the `KeyboardInterrupt` that came within it."""
        self._inside = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> Any:
        if self._inside and not self._waiting:
            self._waiting = True
            return None
        return signal.default_int_handler(number, frame)
