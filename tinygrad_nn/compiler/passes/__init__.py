"""Passes: each takes a program and returns one that does the same with less."""

__all__: list[str] = []
