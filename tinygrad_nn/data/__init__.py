"""Data: generated, measured, or a user's own, and its way into a model."""

from tinygrad_nn.data.batching import Batches, batches
from tinygrad_nn.data.dataset import Dataset
from tinygrad_nn.data.generated import flower, moons, spirals, weather, xor
from tinygrad_nn.data.prepare import (
    Standardizer,
    class_weights,
    flatten_images,
    one_hot,
    standardize,
    train_test_split,
)
from tinygrad_nn.data.real import breast_cancer, diabetes, digits, iris, wine
from tinygrad_nn.data.table import Table, features_and_target, read_csv, read_features
from tinygrad_nn.data.targets import target_kind

__all__ = [
    "Batches",
    "Dataset",
    "Standardizer",
    "Table",
    "batches",
    "breast_cancer",
    "class_weights",
    "diabetes",
    "digits",
    "features_and_target",
    "flatten_images",
    "flower",
    "iris",
    "moons",
    "one_hot",
    "read_csv",
    "read_features",
    "spirals",
    "standardize",
    "target_kind",
    "train_test_split",
    "weather",
    "wine",
    "xor",
]
