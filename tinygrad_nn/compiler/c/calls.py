"""Ops that have no C form: Python computes them on views of the same memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygrad_nn.compiler.c.layout import Access

__all__ = ["Call"]


class Call(NamedTuple):
    """A node that Python computes, and where its value goes."""

    node: Any
    out: Access
