"""`Buffer`: numbers that a module remembers, and that are not learnt."""

from __future__ import annotations

from tinygrad_nn.tensor import Tensor

__all__ = ["Buffer"]


class Buffer(Tensor):
    """A Tensor without a gradient that belongs to the state of a module.

    As an attribute of a `Module` it is saved, loaded and resumed with the parameters;
    optimisers leave it alone. The module changes it by assigning to ``.data``, in a
    compiled step too: a running mean, a counter, a table of constants.

    >>> Buffer([0.0, 1.0], name="running_mean")
    Buffer([0., 1.], name='running_mean')
    """

    __slots__ = ()
