"""The command line: ``tinygrad-nn train`` and ``tinygrad-nn predict``."""

from tinygrad_nn.cli.command import main

__all__ = ["main"]
