"""Things looked up by the name a user typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tinygrad_nn.errors import ModelError

__all__ = ["lookup"]

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return the entry of a name, or raise with the closest name there is.

    Raises
    ------
    ModelError
        For a name that is not in the table.

    Examples
    --------
    >>> lookup("colour", "gren", {"red": 1, "green": 2})
    Traceback (most recent call last):
    ...
    tinygrad_nn.errors.ModelError: colour: no such name; got 'gren'. Did you mean \
'green'? It is one of green, red
    """
    if name in table:
        return table[name]
    from difflib import get_close_matches  # noqa: PLC0415 (only on an error)

    close = get_close_matches(name.lower(), list(table), 1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ModelError(
        f"{kind}: no such name; got {name!r}. {hint}It is one of "
        f"{', '.join(sorted(table))}"
    )
