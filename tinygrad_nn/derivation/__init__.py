"""The explicit formulas of forward and backward, as a textbook would print them."""

from tinygrad_nn.derivation.derivation import Derivation, Step, derive

__all__ = ["Derivation", "Step", "derive"]
