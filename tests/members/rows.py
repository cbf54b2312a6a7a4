"""How members are written down: rows of shapes and settings."""

from __future__ import annotations

import laws

from tinygrad_nn.ops.samples import cases


def composition(name, call, rows, limits=((-2.0, 2.0),)):
    """Return a composition as members: one for each row of shapes and settings."""
    return [
        laws.Member(name, call, call, sample) for sample in cases(*rows, limits=limits)
    ]


def of_list(function):
    """Return a function of one list as a function of its arrays."""
    return lambda *arrays, **settings: function(arrays, **settings)
