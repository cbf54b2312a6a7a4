"""Models on disk: one sealed `.npz` without pickle that resumes bit for bit.

The file is a plain ``.npz`` (`numpy.load` opens it) whose first member
``tinygrad_nn.npy`` describes it in JSON, followed by the arrays
``model/<parameter>.npy`` and ``optimizer/<name>.npy``. The archive's comment seals it:
the format and the SHA-256 of all bytes before it. A file whose seal does not fit is
never read any further, so no damage, of whatever kind, reaches a model.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tinygrad_nn.errors import SaveError, TinygradError
from tinygrad_nn.training.files import complete_file

__all__ = ["Saved", "load", "save"]

Array = npt.NDArray[Any]
State = dict[str, Any]
Rng = np.random.Generator | np.random.RandomState
Rngs = Rng | Mapping[str, Rng]

VERSION = 1
HEADER = "tinygrad_nn"
SEAL = re.compile(rb"tinygrad_nn (\d{2}) ([0-9a-f]{64})\Z")
SEAL_LENGTH = len(HEADER) + len(" 01 ") + 64
# The first member's name stands at a fixed place of every zip archive.
OUR_START = f"{HEADER}.npy".encode()
NAME_AT = 30
# A fixed time makes equal contents equal files.
EPOCH = (1980, 1, 1, 0, 0, 0)


class Stateful(Protocol):
    """What is saved: a `Module`, an optimiser, or anything that speaks like them."""

    def state(self) -> Mapping[str, Any]:
        """Return all that must be kept, by name."""

    def load_state(self, state: dict[str, Any], /) -> None:
        """Take all of it back, or raise and change nothing."""


class Saved(NamedTuple):
    """What a file held, whether or not it was asked for.

    Attributes
    ----------
    path : str
        The file.
    model : dict of ndarray, or None
        State of the model.
    optimizer : dict, or None
        State of the optimiser: arrays and numbers.
    rng : dict of dict
        State of each generator, by the name it was saved under.
    step : int or None
        Whatever the writer counts: epochs, usually.
    extra : object
        What was passed as ``extra``, as JSON gives it back.
    """

    path: str
    model: dict[str, Array] | None
    optimizer: State | None
    rng: dict[str, Any]
    step: int | None
    extra: Any

    def __repr__(self) -> str:
        """Count the arrays instead of printing them."""
        n = sum(
            isinstance(item, np.ndarray)
            for state in (self.model, self.optimizer)
            for item in (state or {}).values()
        )
        held = [f"{n} array{'' if n == 1 else 's'}"]
        held += [name for name in ("optimizer", "rng", "extra") if getattr(self, name)]
        return f"Saved({self.path!r}, {', '.join(held)}, step={self.step})"


def save(
    path: str | os.PathLike[str],
    model: Stateful | None,
    optimizer: Stateful | None = None,
    rng: Rngs | None = None,
    *,
    step: int | None = None,
    extra: Any = None,
) -> None:
    """Write a model, and what is needed to go on training it, as one file.

    The file appears complete or not at all: when anything fails, an earlier file of
    that name is what it was. No suffix is added to ``path``. Equal contents make
    equal files, byte for byte.

    Parameters
    ----------
    path : str or path
        The file, by custom ``.npz``.
    model : Module or None
        Its ``state()`` is kept.
    optimizer : Optimizer, optional
        Its ``state()`` is kept: moments, step counter, learning rate.
    rng : numpy.random.Generator or RandomState, or a dict of them, optional
        The generators of shuffling and dropout, whose states are kept.
    step : int, optional
        How far training is.
    extra : optional
        Anything that JSON can hold; tuples come back as lists.

    Raises
    ------
    SaveError
        When the file cannot be written, or something cannot be kept in it.

    See Also
    --------
    load : the way back.

    Examples
    --------
    >>> import tempfile
    >>> import tinygrad_nn as tg
    >>> folder = tempfile.TemporaryDirectory()
    >>> model, path = tg.nn.Dense(2, 1, rng=0), Path(folder.name, "model.npz")
    >>> save(path, model, step=3, extra={"classes": ["no", "yes"]})
    >>> saved = load(path, tg.nn.Dense(2, 1, rng=1))
    >>> saved.step, saved.extra, sorted(saved.model)
    (3, {'classes': ['no', 'yes']}, ['bias', 'weight'])
    >>> folder.cleanup()
    """
    place = os.fspath(path)
    content = _seal(
        _packed(
            place,
            {"model": model, "optimizer": optimizer},
            {name: _rng_state(item) for name, item in _named(rng).items()},
            {"step": step, "extra": extra},
        )
    )
    try:
        with complete_file(place) as part:
            part.write_bytes(content)
    except OSError as error:
        raise SaveError(
            f"{place}: expected a file that can be written; got "
            f"{error.strerror or error}. Check the directory, its permissions and the "
            "space on the disk"
        ) from error


def load(
    path: str | os.PathLike[str],
    model: Stateful | None = None,
    optimizer: Stateful | None = None,
    rng: Rngs | None = None,
) -> Saved:
    """Read a file of `save` back into a model, its optimiser and its generators.

    All or nothing: when anything does not fit, nothing has changed.

    Parameters
    ----------
    path : str or path
    model : Module, optional
        Of the same layers as the saved one; takes its state.
    optimizer : Optimizer, optional
        Of the same class, over the parameters of ``model``; takes its state.
    rng : Generator or RandomState, or a dict of them, optional
        As they were passed to `save`; take their states.

    Returns
    -------
    Saved
        All that the file holds.

    Raises
    ------
    SaveError
        One line that names the file: it is missing, damaged, not a file of `save`,
        of a later format, or does not fit what is to be filled from it.
    """
    place = os.fspath(path)
    header, arrays = _opened(place)
    saved = Saved(
        path=str(place),
        model=_state(header["model"], arrays, "model"),
        optimizer=_state(header["optimizer"], arrays, "optimizer"),
        rng=header["rng"],
        step=header["step"],
        extra=header["extra"],
    )
    restored = _checked_rngs(place, saved.rng, _named(rng))
    if model is not None:
        _check_model(place, _present(place, "model", saved.model), model)
    if optimizer is not None:
        _check_optimizer(place, header["optimizer"], optimizer)
        before = dict(optimizer.state())
        _fill(place, "optimizer", optimizer, saved.optimizer)
    try:
        if model is not None:
            _fill(place, "model", model, saved.model)
    except BaseException:
        if optimizer is not None:
            optimizer.load_state(before)
        raise
    for generator, rng_state in restored:
        _set_rng_state(generator, rng_state)
    return saved


# --- writing ---


def _packed(
    place: str,
    parts: Mapping[str, Stateful | None],
    rng: Mapping[str, Any],
    header: dict[str, Any],
) -> io.BytesIO:
    """Build the archive, with room for the seal as its comment."""
    arrays: dict[str, Array] = {}
    header = {"format": VERSION, **header, "rng": rng}
    for part, source in parts.items():
        if source is None:
            header[part] = None
            continue
        state = dict(source.state())
        plain = {name: item for name, item in state.items() if _is_plain(item)}
        header[part] = {
            "class": type(source).__name__,
            "names": list(state),
            "numbers": plain,
        }
        arrays.update(
            (f"{part}/{name}", _array(place, part, name, item))
            for name, item in state.items()
            if name not in plain
        )
    try:
        text = json.dumps(header)
    except (TypeError, ValueError, RecursionError) as error:
        raise SaveError(
            f"{place}: expected extra, step and states that JSON can hold; got "
            f"{error}. Pass dicts, lists, texts and numbers"
        ) from None
    members = {HEADER: np.frombuffer(text.encode(), np.uint8), **arrays}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            with archive.open(
                zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True
            ) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = bytes(SEAL_LENGTH)
    return buffer


def _is_plain(item: Any) -> bool:
    return item is None or type(item) in (bool, int, float, str)


def _array(place: str, part: str, name: str, item: Any) -> Array:
    array = np.asarray(item)
    if array.dtype.hasobject:
        raise SaveError(
            f"{place}: expected arrays and numbers in the state of the {part}; got "
            f"{type(item).__name__} as {name!r}. Only numbers are kept, no objects"
        )
    if "\0" in name:
        raise SaveError(
            f"{place}: expected names of text in the state of the {part}; got "
            f"{name!r}. Rename the parameter"
        )
    return array


def _seal(buffer: io.BytesIO) -> bytes:
    """Write the digest of all that stands before the comment into the comment."""
    view = buffer.getbuffer()
    digest = hashlib.sha256(view[:-SEAL_LENGTH]).hexdigest()
    view[-SEAL_LENGTH:] = f"{HEADER} {VERSION:02d} {digest}".encode()
    view.release()
    return buffer.getvalue()


# --- reading ---


def _opened(place: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read header and arrays of a file, once its seal is known to fit."""
    try:
        content = Path(place).read_bytes()
    except FileNotFoundError:
        raise SaveError(
            f"{place}: expected a saved model; got no such file. Check the path"
        ) from None
    except IsADirectoryError:
        raise SaveError(
            f"{place}: expected a saved model; got a directory. Name the file inside it"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SaveError(
            f"{place}: expected a file that can be read; got {reason}. "
            "Check the path and its permissions"
        ) from None
    _check_seal(place, content)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop(HEADER).tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SaveError(
            f"{place}: expected plain arrays; got {error}. "
            "Do not load files from people you do not trust"
        ) from None
    return header, arrays


def _check_seal(place: str, content: bytes) -> None:
    if content[NAME_AT : NAME_AT + len(OUR_START)] != OUR_START:
        got = (
            "an empty file"
            if not content
            else "an .npz or zip archive of another kind"
            if content.startswith(b"PK\x03\x04")
            else "a file of another kind"
        )
        raise SaveError(
            f"{place}: expected a file written by tg.save; got {got}. Check the path"
        )
    seal = SEAL.fullmatch(content[-SEAL_LENGTH:])
    if seal is None:
        raise SaveError(
            f"{place}: expected a complete file of tg.save; got {len(content)} bytes "
            "without its end, cut off or changed. Save again or take a copy"
        )
    if int(seal[1]) > VERSION:
        raise SaveError(
            f"{place}: expected format {VERSION}; got format {int(seal[1])}, of a "
            "later tinygrad_nn. Update tinygrad_nn"
        )
    view = memoryview(content)[:-SEAL_LENGTH]
    if hashlib.sha256(view).hexdigest().encode() != seal[2]:
        raise SaveError(
            f"{place}: expected the bytes that tg.save wrote; got damaged ones (their "
            "checksum does not fit). Save again or take a copy"
        )


def _state(
    described: Mapping[str, Any] | None, arrays: Mapping[str, Array], part: str
) -> State | None:
    """State of one part, in the order in which it was given."""
    if described is None:
        return None
    numbers = described["numbers"]
    return {
        name: numbers[name] if name in numbers else arrays[f"{part}/{name}"]
        for name in described["names"]
    }


# --- fitting what was read to what is there ---


def _present(place: str, part: str, kept: Any) -> Any:
    if kept is None:
        raise SaveError(
            f"{place}: expected the state of the {part}; got a file saved without it. "
            f"Pass {part}= to tg.save"
        )
    return kept


def _check_optimizer(place: str, described: Any, optimizer: Stateful) -> None:
    theirs = _present(place, "optimizer", described)["class"]
    mine = type(optimizer).__name__
    if mine != theirs:
        raise SaveError(
            f"{place}: expected the state of {mine}; got that of {theirs}. "
            f"Load it into {theirs}"
        )


def _check_model(place: str, theirs: State, model: Stateful) -> None:
    """Refuse another model's state before anything changes."""
    mine = model.state()
    lacks, adds = _listed(mine.keys() - theirs), _listed(theirs.keys() - mine.keys())
    if lacks or adds:
        faults = [f"lacks {lacks}"] * bool(lacks)
        faults += [f"holds {adds}, unknown to the model"] * bool(adds)
        raise SaveError(
            f"{place}: expected the parameters of the model; got a file that "
            f"{' and '.join(faults)}. Build the model that was saved"
        )
    for name, array in mine.items():
        here, there = np.asarray(array), np.asarray(theirs[name])
        # What is not of floats may vary in length, as states of generators do.
        if here.dtype.kind == "f" and here.shape != there.shape:
            raise SaveError(
                f"{place}: expected {name}{here.shape} as in the model; got "
                f"{name}{there.shape}. Build the model that was saved"
            )
        if here.dtype.kind == "f" and here.dtype != there.dtype:
            raise SaveError(
                f"{place}: expected {name} of {here.dtype} as in the model; got "
                f"{there.dtype}. model.load_state(tg.load(path).model) converts it"
            )


def _fill(place: str, part: str, target: Stateful, state: State | None) -> None:
    try:
        target.load_state(dict(state or {}))
    except (TinygradError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SaveError(
            f"{place}: expected a state that fits the {part}; got: {reason}"
        ) from error


def _listed(names: Iterable[str], limit: int = 5) -> str:
    """Name a few in quotes."""
    ordered = sorted(names)
    more = f", … ({len(ordered)} in all)" if len(ordered) > limit else ""
    return ", ".join(map(repr, ordered[:limit])) + more


# --- generators ---


def _named(rng: Rngs | None) -> dict[str, Rng]:
    """Give a single generator the name ``rng``."""
    if rng is None:
        return {}
    return dict(rng) if isinstance(rng, Mapping) else {"rng": rng}


def _rng_state(generator: Rng) -> Any:
    """State of a generator as JSON can hold it."""
    return _jsonable(_bits(generator).state)


def _bits(generator: Rng) -> Any:
    if not isinstance(generator, np.random.Generator | np.random.RandomState):
        raise SaveError(
            "rng: expected a numpy.random.Generator or a dict of them; got "
            f"{type(generator).__name__}. Pass np.random.default_rng(seed)"
        )
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator
    return _Legacy(generator)


class _Legacy:
    """A RandomState in the words of a bit generator."""

    def __init__(self, generator: np.random.RandomState) -> None:
        self._generator = generator

    @property
    def state(self) -> Any:
        return self._generator.get_state(legacy=False)

    @state.setter
    def state(self, value: Any) -> None:
        self._generator.set_state(value)


def _jsonable(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {name: _jsonable(value) for name, value in item.items()}
    if isinstance(item, np.ndarray):
        return {"dtype": item.dtype.str, "values": item.tolist()}
    return item.item() if isinstance(item, np.generic) else item


def _from_json(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    if item.keys() == {"dtype", "values"}:
        return np.array(item["values"], item["dtype"])
    return {name: _from_json(value) for name, value in item.items()}


def _checked_rngs(
    place: str, saved: Mapping[str, Any], wanted: Mapping[str, Rng]
) -> list[tuple[Rng, Any]]:
    """Pair every generator with a state that it is known to take."""
    pairs = []
    for name, generator in wanted.items():
        if name not in saved:
            held = _listed(saved) or "none"
            raise SaveError(
                f"{place}: expected the state of the generator {name!r}; got {held}. "
                "Pass rng= as it was passed to tg.save"
            )
        state = _from_json(saved[name])
        mine = _bits(generator).state["bit_generator"]
        theirs = state["bit_generator"]
        if mine != theirs:
            raise SaveError(
                f"{place}: expected the state of a {mine} generator as {name!r}; got "
                f"that of {theirs}. Pass a generator of that kind"
            )
        pairs.append((generator, state))
    return pairs


def _set_rng_state(generator: Rng, state: Any) -> None:
    _bits(generator).state = state
