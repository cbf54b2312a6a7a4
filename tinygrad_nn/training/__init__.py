"""Training: the loop, what it measures, and models on disk."""

from tinygrad_nn.training.callbacks import Checkpoint, EarlyStopping
from tinygrad_nn.training.files import complete_file
from tinygrad_nn.training.history import History
from tinygrad_nn.training.loop import State, evaluate, fit
from tinygrad_nn.training.metrics import (
    accuracy,
    confusion_matrix,
    predicted_classes,
    r2,
)
from tinygrad_nn.training.saving import Saved, load, save

__all__ = [
    "Checkpoint",
    "EarlyStopping",
    "History",
    "Saved",
    "State",
    "accuracy",
    "complete_file",
    "confusion_matrix",
    "evaluate",
    "fit",
    "load",
    "predicted_classes",
    "r2",
    "save",
]
