"""Members of products that sum."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
