"""Measured data sets that scikit-learn ships: no download, one line each.

They need the extra ``train``; scikit-learn is imported when one is asked for.
"""

from __future__ import annotations

import numpy as np

from tinygrad_nn.data.dataset import Dataset
from tinygrad_nn.errors import MissingExtraError

__all__ = ["breast_cancer", "diabetes", "digits", "iris", "wine"]


def breast_cancer() -> Dataset:
    """Load cell measurements of 569 tumours; malignant or benign (binary).

    Street, Wolberg and Mangasarian 1993, Wisconsin diagnostic breast cancer.

    >>> breast_cancer()
    Dataset('breast-cancer': X(569, 30), y(569,), 2 classes: 'malignant', 'benign')
    """
    return _load("breast_cancer", "breast-cancer")


def diabetes() -> Dataset:
    """Load ten measurements of 442 patients; progression after a year (regression).

    Efron, Hastie, Johnstone and Tibshirani 2004, Least angle regression.

    >>> diabetes()
    Dataset('diabetes': X(442, 10), y(442,), regression)
    """
    return _load("diabetes", "diabetes")


def digits() -> Dataset:
    """Load handwritten digits, 1,797 images of 8 x 8 pixels from 0 to 16 (ten classes).

    Alpaydin and Kaynak 1998, optical recognition of handwritten digits.

    >>> X, y = digits()
    >>> X.shape, int(X.max()), int(y[0])
    ((1797, 64), 16, 0)
    """
    return _load("digits", "digits")


def iris() -> Dataset:
    """Load lengths and widths of the petals and sepals of 150 irises (three classes).

    Fisher 1936, The use of multiple measurements in taxonomic problems.

    >>> iris().target_names
    ('setosa', 'versicolor', 'virginica')
    """
    return _load("iris", "iris")


def wine() -> Dataset:
    """Load chemical analyses of 178 wines of three growers (three classes).

    Forina et al. 1988, PARVUS.

    >>> wine()
    Dataset('wine': X(178, 13), y(178,), 3 classes: 'class_0', 'class_1', 'class_2')
    """
    return _load("wine", "wine")


def _load(loader: str, name: str) -> Dataset:
    """Ask scikit-learn for ``load_<loader>`` and keep what a Dataset holds."""
    try:
        from sklearn import datasets  # noqa: PLC0415 (optional: the extra 'train')
    except ImportError as error:
        raise MissingExtraError(
            f"the {name} data needs scikit-learn: pip install 'tinygrad_nn[train]'"
        ) from error
    bunch = getattr(datasets, f"load_{loader}")()
    # Only a classification carries the names of its classes.
    target_names = tuple(str(item) for item in bunch.get("target_names", ()))
    return Dataset(
        X=np.asarray(bunch.data, dtype=np.float64),
        y=np.asarray(bunch.target, dtype=np.int64 if target_names else np.float64),
        feature_names=tuple(str(item) for item in bunch.feature_names),
        target_names=target_names,
        name=name,
    )
