"""Members of sorting, choosing and counting."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
