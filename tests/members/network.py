"""Members of layers as functions: convolutions, pooling, normalisation, attention, recurrence."""

from __future__ import annotations

COMPOSITIONS = []
BY_NUMPY = {}
