"""How an expression of nodes is written: as plain text, as LaTeX, as NumPy."""

from tinygrad_nn.notation.names import latex_name
from tinygrad_nn.notation.pulling import pulled
from tinygrad_nn.notation.writing import written

__all__ = ["latex_name", "pulled", "written"]
