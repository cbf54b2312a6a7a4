"""Verdicts on gradients: right or not, and if not, where and why."""

from tinygrad_nn.check.adjoint import AdjointReport, Pairing, adjoint_test
from tinygrad_nn.check.certificates import ComplexStepReport, complex_step
from tinygrad_nn.check.chain import FormulaReport, StepReport, check_formula
from tinygrad_nn.check.edges import Edge, domain, edges
from tinygrad_nn.check.equivalent import Equivalence, Witness, equivalent
from tinygrad_nn.check.frameworks import Adapted, from_jax, from_torch
from tinygrad_nn.check.golden import assert_same_graph, graph_text
from tinygrad_nn.check.gradients import assert_gradients, check_gradients
from tinygrad_nn.check.locate import Location, WrongRule, locate
from tinygrad_nn.check.multiprecision import (
    PreciseParameter,
    PrecisionReport,
    multiprecision,
)
from tinygrad_nn.check.power import Mutant, PowerReport, power
from tinygrad_nn.check.replay import replay
from tinygrad_nn.check.report import GradientReport, ParameterReport, Worst

__all__ = [
    "Adapted",
    "AdjointReport",
    "ComplexStepReport",
    "Edge",
    "Equivalence",
    "FormulaReport",
    "GradientReport",
    "Location",
    "Mutant",
    "Pairing",
    "ParameterReport",
    "PowerReport",
    "PreciseParameter",
    "PrecisionReport",
    "StepReport",
    "Witness",
    "Worst",
    "WrongRule",
    "adjoint_test",
    "assert_gradients",
    "assert_same_graph",
    "check_formula",
    "check_gradients",
    "complex_step",
    "domain",
    "edges",
    "equivalent",
    "from_jax",
    "from_torch",
    "graph_text",
    "locate",
    "multiprecision",
    "power",
    "replay",
]
