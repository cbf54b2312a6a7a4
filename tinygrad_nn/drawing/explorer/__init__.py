"""What the explorer page is told of a graph: numbers, formulas, layers, the play."""

from tinygrad_nn.drawing.explorer.story import story_of

__all__ = ["story_of"]
