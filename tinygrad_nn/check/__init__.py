"""Verdicts on gradients: right or not, and if not, where and why."""

from tinygrad_nn.check.gradients import assert_gradients, check_gradients
from tinygrad_nn.check.replay import replay
from tinygrad_nn.check.report import GradientReport, ParameterReport, Worst

__all__ = [
    "GradientReport",
    "ParameterReport",
    "Worst",
    "assert_gradients",
    "check_gradients",
    "replay",
]
