"""The state of a random generator as an array, so that it is saved like the rest."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["kind", "packed", "unpacked"]


def kind(generator: np.random.Generator) -> str:
    """Return the name of the algorithm.

    >>> kind(np.random.default_rng(0))
    'PCG64'
    """
    return str(generator.bit_generator.state["bit_generator"])


def _plain(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, (np.ndarray, np.generic)) else state


def packed(generator: np.random.Generator) -> np.ndarray:
    """Return the state as the bytes of a Python literal: it has integers of 128 bits.

    >>> packed(np.random.default_rng(0)).dtype
    dtype('uint8')
    """
    text = repr(_plain(generator.bit_generator.state))
    return np.array(bytearray(text.encode()), np.uint8)


def unpacked(value: np.ndarray, generator: np.random.Generator) -> Any:
    """Return a state for ``generator``; None where the bytes hold none of its kind.

    >>> rng = np.random.default_rng(0)
    >>> unpacked(packed(rng), rng) == rng.bit_generator.state
    True
    >>> unpacked(np.zeros(3, np.uint8), rng) is None
    True
    """
    if value.dtype != np.uint8 or value.ndim != 1:
        return None
    try:
        state = ast.literal_eval(value.tobytes().decode())
        # The generator's own check, made on a spare one: it may refuse half way.
        type(generator.bit_generator)().state = state
    except (ValueError, SyntaxError, TypeError, LookupError, OverflowError):
        return None
    return state
