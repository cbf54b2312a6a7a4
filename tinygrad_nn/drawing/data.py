"""A scene as data: JSON with every card, arrow and group, for other programs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from tinygrad_nn.drawing.scene import Scene
from tinygrad_nn.drawing.values import Numbers

__all__ = ["json_of"]


def json_of(scene: Scene) -> str:
    """Write a whole scene as JSON text, the same for the same scene.

    Fields are those of `Scene`, `Card`, `Arrow`, `Group` and `Numbers`. What is not
    finite is a text: ``"nan"``, ``"inf"``, ``"-inf"``.
    """
    told = {"format": "tinygrad_nn scene 1", **_plain(scene)}
    return json.dumps(told, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _plain(value: Any) -> Any:  # noqa: PLR0911 (a return a kind)
    """Turn named tuples into dictionaries. They nest a few deep, and hold no graph."""
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Numbers):
        fields = {name: _plain(x) for name, x in value._asdict().items()}
        return {name: x for name, x in fields.items() if x not in (None, [])}
    if hasattr(value, "_asdict"):
        return {name: _plain(x) for name, x in value._asdict().items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(x) for x in value]
    return value
