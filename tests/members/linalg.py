"""Members of linear algebra."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
