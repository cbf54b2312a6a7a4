"""What a step changes stays on the device; here it is taken there, and comes home.

Values of Tensors and arrays of optimisers are taken to the device once, are donated
from call to call, and come home when somebody reads them (see `away`). A Tensor whose
array someone else can see is brought up to date after every call, and read before it.
Small arrays of one dtype travel together, in one vector: each array that a call takes
or gives costs a microsecond, whatever its size.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from tinygrad_nn.compiler.away import (
    Holder,
    States,
    array_of,
    is_away,
    is_unseen,
    send_away,
)
from tinygrad_nn.compiler.jax.source import JaxSource
from tinygrad_nn.op import Node
from tinygrad_nn.rewriting.program import Slot, Value

__all__ = ["Layout", "Part", "Residence"]

SMALL = 4096
"""Elements up to which an array travels in the vector."""


class Part(NamedTuple):
    """A stretch of the vector that small arrays travel in."""

    start: int
    stop: int
    shape: tuple[int, ...]

    def of(self, vector: Any) -> Any:
        """Return the array that is in the stretch: a view, if it is NumPy's vector."""
        return vector[self.start : self.stop].reshape(self.shape)


class Layout:
    """Which arrays of a step travel in the vector, and where; None travels alone.

    Attributes
    ----------
    dtype
        Of the vector.
    shapes
        Shape and dtype of each array of the state.
    state, gradients, results : list of Part or None
    length
        Of the vector; what comes after the state is put there by a call.
    """

    def __init__(self, lowered: JaxSource) -> None:
        self.dtype = lowered.number_dtype
        self.length = 0
        self.shapes = [facts(place) for place in lowered.state]
        self.state = [self._part(*shape) for shape in self.shapes]
        self.gradients = [self._part(*facts(g)) for _, g in lowered.gradients]
        self.results = [self._part(*facts(x)) for x in lowered.results]
        self.takes_vector = any(part is not None for part in self.state)

    def _part(self, shape: tuple[int, ...], dtype: Any) -> Part | None:
        size = math.prod(shape)
        if dtype != self.dtype or size > SMALL:
            return None
        self.length += size
        return Part(self.length - size, self.length, shape)


@final
class Residence(Holder):
    """Where the state of one step is.

    Parameters
    ----------
    lowered
        Says what the state is.
    layout
        Says how it travels.
    put
        Takes an array to the device: `jax.device_put`.

    Attributes
    ----------
    counts : sequence or None
        New counts of optimisers, while their states are away; they come home together.
    tensors : frozenset
        Whose values may be here, by identity.
    here : bool
        Whether all of these are, and nobody looked at a Tensor since the last call.
    mark : tuple
        Who made that call, where, and when.
    """

    def __init__(
        self, lowered: JaxSource, layout: Layout, put: Any, after: Any
    ) -> None:
        self.lock = threading.RLock()
        self.here = False
        self.mark: tuple[Any, int, int] = (None, 0, 0)
        self._after = after
        places = [*lowered.state, *lowered.kept]
        self._tensors = [x.tensor for x in places if isinstance(x, Value)]
        self.tensors = frozenset(map(id, self._tensors))
        self._put = put
        self._layout = layout
        self._places = lowered.state
        self._kept_places = lowered.kept
        self._vector: Any = ()
        self._arrays: list[Any] = [()] * layout.state.count(None)
        self._gradients: Any = ()
        self._kept: list[Any] = [()] * len(lowered.kept)
        self._at = _counted(layout.state)
        self._gradient_at = _counted(layout.gradients)
        # What is the host's, to be taken to the device before the next call.
        self._home = set(range(len(self._places)))
        self._kept_home = set(range(len(self._kept_places)))
        owners = [_Owner(o, lowered) for o in _optimizers(lowered)]
        self._owners = [owner for owner in owners if owner.slots or owner.counts]
        self.counts: Sequence[Any] | None = None

    # --- marks on Tensors ---

    def share(self, lock: Any) -> None:
        """Keep a lock of its own: who looks at a value waits for the device alone."""

    def settle(self) -> bool:
        """Keep the marks of later calls, if all values are here."""
        self.here = all(is_away(tensor, self) for tensor in self._tensors)
        return self.here

    def come_home(self) -> None:
        """Leave the marks of the last call on the Tensors."""
        with self.lock:
            if self.here:
                self.here = False
                self._after(*self.mark)

    def write_home(self) -> None:
        """Leave the marks of a call during which somebody looked."""
        self._after(*self.mark)

    # --- to the device ---

    def gathered(self) -> tuple[Any, Any, Any]:
        """Return the vector, the other arrays that change, and those that do not."""
        for owner in self._owners:
            if owner.optimizer._states is not owner.states:
                self._home |= owner.take_over()
        if self._home:
            self._upload()
        if self._kept_home:
            self._upload_kept()
        return (
            self._vector if self._layout.takes_vector else (),
            self._arrays,
            self._kept,
        )

    def _upload(self) -> None:
        parts = self._layout.state
        packed = [k for k in self._home if parts[k] is not None]
        if packed:
            vector = np.zeros(self._layout.length, self._layout.dtype)
            if len(self._vector):
                vector[:] = self._vector
            for k in packed:
                part: Any = parts[k]
                np.copyto(part.of(vector), _value(self._places[k]))
            self._vector = self._put(vector)
        arrays = list(self._arrays)
        for k in self._home.difference(packed):
            arrays[self._at[k]] = self._there(self._places[k])
        self._arrays = arrays

    def _upload_kept(self) -> None:
        for k in list(self._kept_home):
            place = self._kept_places[k]
            self._kept[k] = self._there(place)
            if isinstance(place, Value) and is_unseen(array_of(place.tensor)):
                send_away(place.tensor, self, ~k)
                self._kept_home.discard(k)

    def _there(self, place: Any) -> Any:
        """Return the array of a place on the device; in memory of its own on a CPU."""
        return self._put(_value(place).copy())

    # --- and back ---

    def keep(
        self, vector: Any, arrays: Any, gradients: Any, counts: Sequence[Any]
    ) -> None:
        """Take over what a call gave."""
        self._vector, self._arrays, self._gradients = vector, arrays, gradients
        if self._home or self.counts is None:
            self._settle()
        self.counts = counts

    def _settle(self) -> None:
        """Leave on the device what nobody else can see; write the rest home."""
        seen = set()
        for k in self._home:
            place = self._places[k]
            if not isinstance(place, Value):
                continue
            tensor = place.tensor
            if not is_unseen(array_of(tensor)):
                seen.add(k)
                np.copyto(array_of(tensor), self._on_host(k))
            elif not is_away(tensor, self):
                send_away(tensor, self, k)
        for owner in self._owners:
            owner.send_away(self)
        self._home = seen

    def _on_host(self, k: int) -> np.ndarray:
        part = self._layout.state[k]
        if part is None:
            return np.asarray(self._arrays[self._at[k]])
        return part.of(np.asarray(self._vector))  # type: ignore[no-any-return]

    def bring_home(self, key: Any, array: np.ndarray) -> None:
        """Write a Tensor's value into its array."""
        self.come_home()
        if key < 0:  # it is only read, so the array is as it was
            self._kept_home.add(~key)
        else:
            np.copyto(array, self._on_host(key))
            self._home.add(key)

    def let_go(self, key: Any) -> None:
        """Forget a Tensor's value: it was given another."""
        self.come_home()
        if key < 0:
            self._kept_home.add(~key)
        else:
            self._home.add(key)

    def states_home(self, states: States) -> None:
        """Put arrays and counts into the states of all optimisers."""
        del states  # one of them
        counts = self.counts
        self.counts = None
        for owner in self._owners:
            if (
                counts is None
                or owner.states is None
                or owner.states.holder is not self
            ):
                continue
            rows: dict[int, list[Any]] = {}
            for k, i, j in owner.slots:
                row = rows.setdefault(i, list(owner.states.now(i)))
                row[j] = np.array(self._on_host(k))
                self._home.add(k)
            for k, i, j in owner.counts:
                rows.setdefault(i, list(owner.states.now(i)))[j] = counts[k]
            for i, row in rows.items():
                owner.states.put(i, tuple(row))
            owner.states.be_home()

    def gradient(self, k: int) -> np.ndarray:
        """Return a gradient of the last call as an array of its own."""
        with self.lock:
            part = self._layout.gradients[k]
            if part is None:
                return np.array(self._gradients[self._gradient_at[k]])
            return np.array(part.of(np.asarray(self._vector)))


class _Owner:
    """An optimiser: what it remembered when we looked, and where ours is among it."""

    def __init__(self, optimizer: Any, lowered: JaxSource) -> None:
        self.optimizer = optimizer
        self.states: States | None = None
        self.slots = [
            (k, place.parameter, place.index)
            for k, place in enumerate(lowered.state)
            if isinstance(place, Slot) and place.optimizer is optimizer
        ]
        self.counts = [
            (k, i, j)
            for k, (other, i, j) in enumerate(lowered.new_counts)
            if other is optimizer
        ]

    def send_away(self, holder: Holder) -> None:
        """Let a holder have what the optimiser remembers, until it is read."""
        states = self.states
        if states is None or states.holder is holder:
            return
        for _, i, j in self.slots:
            row = list(states.now(i))
            row[j] = None  # the memory is not needed for now
            states.put(i, tuple(row))
        states.go_away(holder)

    def take_over(self) -> set[int]:
        """Look at other states, as `load_state` leaves; return what is the host's."""
        states = self.optimizer._states
        if not isinstance(states, States):
            states = self.optimizer._states = States(states)
            states.holder = None
        self.states = states
        return {k for k, _, _ in self.slots}


def facts(x: Any) -> tuple[tuple[int, ...], Any]:
    """Return shape and dtype of a place or a value."""
    if isinstance(x, Slot):
        x = x.optimizer._states[x.parameter][x.index]
    elif isinstance(x, Value):
        x = x.tensor._value
    elif isinstance(x, Node):
        x = x._value
    x = np.asarray(x)
    return tuple(x.shape), x.dtype


def _value(place: Any) -> np.ndarray:
    if isinstance(place, Slot):
        return np.asarray(place.optimizer._states[place.parameter][place.index])
    return np.asarray(place.tensor._value)


def _optimizers(lowered: JaxSource) -> list[Any]:
    """Return the optimisers whose states a step reads or writes, once each."""
    found = [*lowered.state, *lowered.kept, *lowered.scalars, *lowered.new_counts]
    owners = [getattr(x, "optimizer", None) for x in found]
    return list({id(o): o for o in owners if o is not None}.values())


def _counted(parts: Sequence[Part | None]) -> list[int]:
    """Return the place of each array among those that travel alone."""
    places, count = [], 0
    for part in parts:
        places.append(count)
        count += part is None
    return places
