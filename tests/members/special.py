"""Members of special functions."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
