"""Values that live elsewhere, on a device, until somebody reads them.

A compiled step keeps parameters on its device between calls. The arrays of the user
are brought up to date when somebody reads a Tensor's value, and not before. That must
not be noticed, so a value may stay away only while no one else can see its array: while
the Tensor holds the one reference to it. And it must cost nothing where no device is:
a Tensor whose value is away changes its class, to one that looks for it, and changes
back when the value is home.

So do the marks that a step leaves on Tensors: gradients, and who changed the value, and
when.
"""

from __future__ import annotations

import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any, final

import numpy as np

from tinygrad_nn.op import Node

__all__ = [
    "MARKS",
    "Holder",
    "States",
    "array_of",
    "is_away",
    "is_unseen",
    "looked_at",
    "send_away",
]

MARKS = ("_grad", "_spent", "_order", "_code", "_lasti", "_form")
"""What a step leaves on a Tensor besides its value."""

_slot = Node.__dict__["_value"]


class Holder(ABC):
    """Holds values of Tensors and optimisers that are away.

    Attributes
    ----------
    here : bool
        Whether it has marks as well, which are to be left on the Tensors.
    """

    lock: threading.RLock
    here: bool

    @abstractmethod
    def bring_home(self, key: Any, array: np.ndarray) -> None:
        """Write a value into the array of its Tensor; the Tensor has it from now on."""

    @abstractmethod
    def let_go(self, key: Any) -> None:
        """Forget a value: its Tensor was given another."""

    @abstractmethod
    def come_home(self) -> None:
        """Leave the marks of the last step on the Tensors, if that is still to do."""

    @abstractmethod
    def states_home(self, states: States) -> None:
        """Put all that is away into an optimiser's states, and say that it is home."""


def is_away(tensor: Any, holder: Holder) -> bool:
    """Return whether the value of a Tensor is with a holder."""
    return hasattr(type(tensor), "_home") and tensor._x[0] is holder


def is_unseen(array: np.ndarray) -> bool:
    """Return whether one reference is all that leads to an array's memory.

    >>> from tinygrad_nn import Tensor
    >>> a = np.zeros(3)
    >>> shared, alone = Tensor(a), Tensor([0.0, 0.0])
    >>> is_unseen(shared._value), is_unseen(alone._value)
    (False, True)
    """
    if sys.getrefcount(array) != _ALONE or weakref.getweakrefcount(array):
        return False
    base = array.base
    if base is None:
        return bool(array.flags.owndata)
    # A view that reshape made, say, of an array that nobody else knows.
    return (
        type(base) is np.ndarray
        and base.base is None
        and sys.getrefcount(base) == _BASE
        and not weakref.getweakrefcount(base)
        and bool(base.flags.owndata)
    )


def array_of(tensor: Any) -> np.ndarray:
    """Return the array of a Tensor, up to date or not."""
    array: np.ndarray = _slot.__get__(tensor)
    return array


def send_away(tensor: Any, holder: Holder, key: Any) -> None:
    """Let a holder have the value of a leaf, until it is read or replaced."""
    tensor._x = (holder, key)  # a leaf has no operand
    kind: Any = type(tensor)
    tensor.__class__ = _away(kind)


def _back(tensor: Any) -> tuple[Any, Any]:
    """Change the class back; return who has the value, under which key."""
    holder, key = tensor._x
    del tensor._x
    tensor.__class__ = type(tensor)._home
    return holder, key


def _read(tensor: Any) -> np.ndarray:
    where = getattr(tensor, "_x", None)
    if where is not None:
        with where[0].lock:
            if hasattr(type(tensor), "_home"):  # no other thread was quicker
                where[0].bring_home(where[1], array_of(tensor))
                _back(tensor)
    return array_of(tensor)


def _write(tensor: Any, value: Any) -> None:
    holder, key = _back(tensor)
    holder.let_go(key)
    tensor._value = value


def _reduced(tensor: Any) -> Any:
    _read(tensor)
    return tensor.__reduce__()


def looked_at(
    name: str, come_home: Callable[[Any], None], *, known: bool = False
) -> property:
    """Return an attribute that is at home before it is read or written.

    One that is ``known`` is the same at home, and may be read at once.
    """
    slot = Node.__dict__[name]

    def read(tensor: Any) -> Any:
        come_home(tensor)
        return slot.__get__(tensor)

    def write(tensor: Any, value: Any) -> None:
        come_home(tensor)
        slot.__set__(tensor, value)

    return property(slot.__get__ if known else read, write)


def _marks_home(tensor: Any) -> None:
    where = getattr(tensor, "_x", None)
    if where is not None and where[0].here:
        where[0].come_home()


@lru_cache(maxsize=256)
def _away(cls: Any) -> type:
    """Return the class of a leaf of ``cls`` while its value is away."""
    return type(
        cls.__name__,
        (cls,),
        {
            "__slots__": (),
            "__module__": cls.__module__,
            "__doc__": cls.__doc__,
            "__reduce__": _reduced,
            "_home": cls,
            "_value": property(_read, _write),
            "requires_grad": looked_at("requires_grad", _marks_home, known=True),
            **{name: looked_at(name, _marks_home) for name in MARKS},
        },
    )


class States(list[Any]):
    """What an optimiser remembers of each parameter, where all of it is home."""

    __slots__ = ("holder",)

    holder: Holder | None

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Copy and pickle as a plain list."""
        return list, (list(self),)

    def go_away(self, holder: Holder) -> None:
        """Let a holder have the arrays until somebody reads them."""
        self.holder = holder
        self.__class__ = _AwayStates

    def be_home(self) -> None:
        """Say that everything is there again."""
        self.holder = None
        self.__class__ = States

    def now(self, i: int) -> Any:
        """Return a state as it is here: counts are right, arrays may be away."""
        return list.__getitem__(self, i)

    def put(self, i: int, state: tuple[Any, ...]) -> None:
        """Replace a state, without bringing others home."""
        list.__setitem__(self, i, state)


@final
class _AwayStates(States):
    """What an optimiser remembers, while its arrays are away."""

    __slots__ = ()

    def _come_home(self) -> None:
        holder = self.holder
        if holder is not None:
            with holder.lock:
                if self.holder is holder:  # no other thread was quicker
                    holder.states_home(self)

    def __getitem__(self, i: Any) -> Any:
        self._come_home()
        return list.__getitem__(self, i)

    def __setitem__(self, i: Any, state: Any) -> None:
        self._come_home()
        list.__setitem__(self, i, state)

    def __iter__(self) -> Any:
        self._come_home()
        return list.__iter__(self)


class _Bare:
    """Something with one slot, to count references with."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _references() -> tuple[int, int]:
    """Count references to an array in a slot, when it is passed on, and to its base."""
    bare = _Bare(np.zeros((2, 2)).T)
    return _seen(bare.value)


def _seen(array: np.ndarray) -> tuple[int, int]:
    count = sys.getrefcount(array)
    base = array.base
    return count, sys.getrefcount(base)


_ALONE, _BASE = _references()
