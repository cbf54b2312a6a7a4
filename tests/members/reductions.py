"""Members of reductions and running totals."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
