"""Members of functions that put elements elsewhere."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
