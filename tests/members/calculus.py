"""Members of differences, integrals, interpolation and statistics."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
