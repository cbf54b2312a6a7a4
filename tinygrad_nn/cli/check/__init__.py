"""``tinygrad-nn check``: grades the gradients that a file of Python writes by hand."""

from tinygrad_nn.cli.check.command import check

__all__ = ["check"]
