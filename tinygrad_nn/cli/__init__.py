"""The command line: ``tinygrad-nn train``, ``predict``, ``check`` and ``doctor``."""

from tinygrad_nn.cli.command import main

__all__ = ["main"]
