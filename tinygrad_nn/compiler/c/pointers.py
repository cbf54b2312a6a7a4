"""What a step in C points to: its own memory, arrays from outside, copies of them.

Nothing here knows the functions that are generated for a step: they hold this, and so a
step that goes out of use is freed at once, with all of its memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn.compiler.c.layout import is_view
from tinygrad_nn.compiler.c.tables import Lowered
from tinygrad_nn.op import Node, inputs_of, settings_of

__all__ = ["Pointers", "address_of"]


def _address_of(array: np.ndarray) -> int:
    """Return where the data of an array is: the first field of the object."""
    found = ctypes.c_void_p.from_address(id(array) + _HEADER).value
    return found or 0


_HEADER = object.__basicsize__


def _plain_address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def _address_function() -> Callable[[np.ndarray], int]:
    """Return the quick way to an address where it is right."""
    try:
        probes = [np.zeros(3), np.zeros((4, 4))[1:]]
        right = all(_address_of(a) == _plain_address(a) for a in probes)
    except (ValueError, AttributeError):
        return _plain_address
    return _address_of if right else _plain_address


address_of = _address_function()


class Pointers:
    """The table of pointers that a step in C takes, and what they point to.

    Attributes
    ----------
    arena
        The step's own memory.
    scalars
        Numbers that Python computes for each call.
    table, reference
        The pointers, and how C is given them.
    bound
        Arrays from outside, each where its pointer is.
    copies
        Number of a pointer to an array that C reads instead, and whether it writes it.
    """

    def __init__(self, lowered: Lowered) -> None:
        self._lowered = lowered
        self.arena = _aligned(lowered.arena)
        self.scalars = np.zeros(max(len(lowered.scalars), 1))
        self.table = (ctypes.c_void_p * len(lowered.outside))()
        self.reference = ctypes.byref(self.table)
        self.bound: list[Any] = [None] * len(lowered.outside)
        self.copies: dict[int, tuple[np.ndarray, bool]] = {}
        known = {"arena": address_of(self.arena), "scalars": address_of(self.scalars)}
        for i, entry in enumerate(lowered.outside):
            if entry.kind in known:
                self.table[i] = known[entry.kind]
            elif entry.kind == "function":
                self.table[i] = entry.what
            elif entry.kind == "constant":
                self.bind(i, entry.what)

    def bind(self, i: int, array: Any) -> None:
        """Let an entry point to an array, or to a copy that C can read."""
        entry = self._lowered.outside[i]
        self.bound[i] = array
        self.copies.pop(i, None)
        shared = entry.written or self._meets_what_is_written(i, array)
        is_array = type(array) is np.ndarray
        plain = is_array and array.flags.c_contiguous and array.flags.aligned
        if plain and (not shared or (entry.written and array.flags.writeable)):
            self.table[i] = address_of(array)
        else:
            copy = np.array(array, entry.dtype, order="C")
            self.copies[i] = (copy, entry.written)
            self.table[i] = address_of(copy)
        if entry.written:
            self._separate(i, array)

    def _separate(self, i: int, array: Any) -> None:
        """Let what is only read be copied where it shows an array that is written."""
        for j, entry in enumerate(self._lowered.outside):
            other = self.bound[j]
            read = entry.kind in ("place", "constant") and not entry.written
            apart = j == i or j in self.copies or other is None
            if read and not apart and np.may_share_memory(array, other):
                self.bind(j, other)

    def _meets_what_is_written(self, i: int, array: Any) -> bool:
        """Return whether an array shares memory with what the step changes."""
        if not isinstance(array, np.ndarray):
            return False
        return any(
            entry.written
            and j != i
            and isinstance(other, np.ndarray)
            and np.may_share_memory(array, other)
            for j, (entry, other) in enumerate(
                zip(self._lowered.outside, self.bound, strict=True)
            )
        )

    def copy_in(self) -> None:
        """Bring copies up to date, before C reads them."""
        for i, (copy, _) in self.copies.items():
            np.copyto(copy, self.bound[i])

    def copy_out(self) -> None:
        """Write what C wrote to copies to the arrays themselves."""
        for i, (copy, written) in self.copies.items():
            if written:
                np.copyto(self.bound[i], copy)

    def view(self, node: Any) -> np.ndarray:
        """Return what C computes a node into, as an array."""
        offset, access = self._lowered.views[node]
        size = access.dtype.itemsize
        found: np.ndarray = np.ndarray(
            access.shape,
            access.dtype,
            self.arena,
            offset + access.offset * size,
            tuple(size * stride for stride in access.strides),
        )
        return found

    def value(self, x: Any) -> Callable[[], Any]:
        """Return a function that gives an operand as NumPy sees it."""
        if not isinstance(x, Node):
            if hasattr(x, "text"):
                scalars, place = self.scalars, self._lowered.scalars.index(x.text)
                return lambda: float(scalars[place])
            return lambda: x
        where = self._lowered.elsewhere.get(x)
        if where is not None:
            bound, copies = self.bound, self.copies
            return lambda: copies[where][0] if where in copies else bound[where]
        if x in self._lowered.views:
            view = self.view(x)
            return lambda: view
        if x._op is None:
            return lambda: x._value
        assert is_view(x)  # noqa: S101 (all else that is read is stored)
        function, settings = x._op.function, settings_of(x)
        inner = self.value(inputs_of(x)[0])
        return lambda: function(inner(), **settings)


def _aligned(size: int) -> np.ndarray:
    """Return memory that begins at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + max(size, 1)]
