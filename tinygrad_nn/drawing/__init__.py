"""Pictures of recorded graphs."""

from tinygrad_nn.drawing.drawing import Drawing, draw

__all__ = ["Drawing", "draw"]
