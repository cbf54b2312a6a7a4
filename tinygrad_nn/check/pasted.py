"""A failed check as code to paste, and its traceback without the library's frames."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tinygrad_nn.op import data_of

__all__ = ["as_code", "outside"]

_LIBRARY = Path(__file__).resolve().parents[1]
_FEW = 64


def outside(trace: TracebackType | None) -> TracebackType | None:
    """Return the frames of a traceback that are the user's: they say what to change."""
    frames = []
    while trace is not None:
        if not Path(trace.tb_frame.f_code.co_filename).is_relative_to(_LIBRARY):
            frames.append(trace)
        trace = trace.tb_next
    found: TracebackType | None = None
    for frame in reversed(frames):
        found = TracebackType(found, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return found


def as_code(f: Any, arrays: Sequence[Any], settings: Mapping[str, Any]) -> str:
    """Write a call of `check_gradients` as code to paste.

    Small arrays are written in full. A function without a module to import it from,
    and a large array, are left open, with a remark.

    Examples
    --------
    >>> import numpy as np
    >>> print(as_code(np.tanh, [np.array([0.1, -2.0])], {"seed": 7}))
    import numpy as np
    import tinygrad_nn as tg
    x0 = np.array([0.1, -2.0], dtype="float64")
    print(tg.check.check_gradients(np.tanh, x0, seed=7))
    """
    lines = ["import numpy as np", "import tinygrad_nn as tg"]
    given = [_function(f, "f", lines)]
    for i, x in enumerate(arrays):
        given.append(_array(data_of(x), f"x{i}", lines))
    for name, value in settings.items():
        text = _function(value, name, lines) if callable(value) else repr(value)
        given.append(f"{name}={text}")
    return "\n".join([*lines, f"print(tg.check.check_gradients({', '.join(given)}))"])


def _array(value: Any, name: str, lines: list[str]) -> str:
    if not hasattr(value, "dtype"):
        return repr(value)
    if value.size > _FEW:
        lines.append(f"{name} = ...  # {value.dtype}, shape {value.shape}")
    else:
        lines.append(f'{name} = np.array({value.tolist()}, dtype="{value.dtype}")')
    return name


def _function(value: Any, role: str, lines: list[str]) -> str:
    """Return an expression for a function; define the role it has where none is."""
    name = getattr(value, "__name__", "-")
    if getattr(sys.modules["numpy"], name, None) is value:
        return f"np.{name}"
    module = getattr(value, "__module__", None) or "-"
    if getattr(sys.modules.get(module), name, None) is value:
        lines.insert(2, f"from {module} import {name}")
        return str(name)
    lines.append(f"{role} = ...  # {getattr(value, '__qualname__', type(value))}")
    return role
