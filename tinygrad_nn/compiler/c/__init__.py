"""Backend ``c``: a step as one C function, compiled once by the system's compiler."""

from tinygrad_nn.compiler.c.runner import CRunner

__all__ = ["CRunner"]
