"""Backend ``jax``: a program through `jax.jit`, on whatever device JAX chooses."""

from __future__ import annotations

__all__: list[str] = []
