"""``tinygrad-nn doctor``: what this machine has, how fast it is, what to change."""

from tinygrad_nn.cli.doctor.examination import doctor

__all__ = ["doctor"]
