"""From the words of a command to its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from tinygrad_nn.cli.arguments import parser
from tinygrad_nn.cli.signals import exit_code, heard
from tinygrad_nn.errors import DivergedError, TinygradError

__all__ = ["main"]

PROGRAM = "tinygrad-nn"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; whatever goes wrong is one line on standard error.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; those of the process unless given.

    Returns
    -------
    int
        The exit code: 0; 1 when training diverged, a checked gradient is wrong, or
        nobody read the output; 2 for bad input; 130 after Ctrl-C, 143 after SIGTERM.

    Examples
    --------
    >>> main(["train", "flower", "--quiet", "--epochs", "0"])
    Traceback (most recent call last):
    ...
    SystemExit: 2
    """
    with _any_letter(), heard():
        return _run(arguments)


@contextmanager
def _any_letter() -> Iterator[None]:
    """Let names of files with letters that the terminal lacks be no error."""
    out = sys.stdout
    if not isinstance(out, TextIOWrapper):
        yield
        return
    errors = out.errors
    out.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        out.reconfigure(errors=errors)


def _run(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        code: int = options.command(options) or 0
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        _say(str(stop) or "interrupted")
        return exit_code(stop)
    except DivergedError as error:
        _say(f"error: {error}")
        return 1
    except BrokenPipeError:
        # As Python's documentation advises: or the shutdown would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except TinygradError as error:
        _say(f"error: {error}")
        return 2
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        _say(f"error: {place}{error.strerror or error}")
        return 2
    return code


def _say(text: str) -> None:
    """One line, whatever was in the names of files and columns."""
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
