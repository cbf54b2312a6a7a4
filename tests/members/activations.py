"""Members of activations."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
