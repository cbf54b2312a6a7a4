"""How members are written down: rows of shapes and settings."""

from __future__ import annotations

import laws
import numpy as np

from tinygrad_nn.ops.samples import cases

READS_VALUES = {
    *("nanmedian", "nanpercentile", "nanquantile", "polydiv", "polymul", "trim_zeros"),
    "unique",
}
"""Functions that look at numbers to know what to do: a compiled step refuses them."""


def composition(name, call, rows, limits=((-2.0, 2.0),), *, body=None, diagonal=0.0):
    """Return a composition as members: one for each row of shapes and settings.

    Where it has ops that know floats alone, ``body`` defines it for other numbers. What
    ``diagonal`` adds to the first operand, `cases` says.
    """
    samples = cases(*rows, limits=limits, diagonal=diagonal)
    return [laws.Member(name, call, _defined(call, body), x) for x in samples]


def _defined(call, body):
    if body is None:
        return call

    def either(*arrays, **settings):
        floats = np.asarray(arrays[0]).dtype.kind == "f"
        return (call if floats else body)(*arrays, **settings)

    return either


def of_list(function):
    """Return a function of one list as a function of its arrays."""
    return lambda *arrays, **settings: function(arrays, **settings)
