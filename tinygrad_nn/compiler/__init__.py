"""Graph -> source -> function: a recorded step as flat NumPy, C, or XLA."""

from tinygrad_nn.compiler.export import export_numpy
from tinygrad_nn.compiler.step import CompiledStep, compile

__all__ = ["CompiledStep", "compile", "export_numpy"]
