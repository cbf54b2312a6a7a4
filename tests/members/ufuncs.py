"""Members of functions that work element by element."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
