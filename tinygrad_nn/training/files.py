"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["complete_file"]


@contextmanager
def complete_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that nobody ever sees a part of it.

    What the body writes goes to another file in the same directory, which takes the
    place of ``path`` in one move once the body has ended and the disk holds it all.
    When the body or the move fails, ``path`` is what it was and nothing is left over.

    Parameters
    ----------
    path : str or path
        The file to write. A file that is there is replaced and its permissions kept;
        through a symbolic link, the file that the link names is replaced.

    Yields
    ------
    Path
        An empty file with the suffix of ``path``, for the body to fill.

    Raises
    ------
    OSError
        When the directory is missing or cannot be written, the disk is full, or
        ``path`` is there and is no regular file.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "notes.txt")
    >>> with complete_file(path) as part:
    ...     _ = part.write_text("all of it")
    ...     path.exists()
    False
    >>> path.read_text(), os.listdir(folder.name)
    ('all of it', ['notes.txt'])
    >>> folder.cleanup()
    """
    target = Path(os.path.realpath(path))
    permissions = _permissions(target)
    part = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    # Made by hand and not by `tempfile`, whose files only their owner can read: the
    # permissions are those that the user's umask gives to any new file.
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield part
        _to_disk(part, os.O_RDWR)
        if permissions is not None:
            part.chmod(permissions)
        os.replace(part, target)  # noqa: PTH105 (as its documentation says: atomic)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.filename == os.fspath(part):
            # Nobody has heard of the other file: name the one that was asked for.
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    # The file is complete by now; some systems cannot open or wait for a directory.
    with suppress(OSError):
        _to_disk(target.parent, os.O_RDONLY)


def _permissions(target: Path) -> int | None:
    """Permission bits of the file to replace, None when there is none."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{target} is a directory")
    if not stat.S_ISREG(mode):
        raise OSError(f"{target} is no regular file")
    return stat.S_IMODE(mode)


def _to_disk(path: Path, flags: int) -> None:
    """Wait until the disk holds what was written."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
