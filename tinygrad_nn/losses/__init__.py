"""Losses: how far predictions are from targets, as one number to be made small.

Every loss is a function ``(prediction, target, *, reduction="mean", …)``. The
prediction is a Tensor or an array, rows are examples; the target has the same shape
(in losses of many classes it may also be a class for each row) and takes its dtype.
Losses of pairs and triplets of vectors take these first.

``reduction``
    ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.
``sample_weight``
    A number for each example, of shape ``(n,)``.
``class_weight``
    A number for each class: an array, a dict by class (a class left out has 1), or a
    pair for two classes. An example gets the weight of its class; both multiply.
``ignore_index``
    A class, or a number that is none, whose examples count as if they were not there.

With weights the mean is the weighted mean, ``sum(w * loss) / sum(w)``, the sum is
``sum(w * loss)``, and ``"none"`` gives ``w * loss``.

Raises, all of them: `ShapeError` for shapes that differ, ``(n, 1)`` against ``(n,)``
above all, which NumPy would broadcast to ``(n, n)``; `OpError` for an unknown
reduction or a prediction that is no array; `DataError` for weights that sum to zero.
Values are not inspected, except for labels: a label that is none would make a loss
that training drives to minus infinity, and a class is used as a position. In a
compiled step the labels of every call are.
"""

from tinygrad_nn.losses.distances import huber, log_cosh, mae, mse, smooth_l1
from tinygrad_nn.losses.distributions import gaussian_nll, kl_divergence, poisson_nll
from tinygrad_nn.losses.many_classes import (
    cross_entropy,
    focal,
    multiclass_hinge,
    nll,
)
from tinygrad_nn.losses.pairs import cosine_embedding, margin_ranking, triplet_margin
from tinygrad_nn.losses.penalties import l1, l2
from tinygrad_nn.losses.two_classes import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    binary_focal_with_logits,
    hinge,
    squared_hinge,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal_with_logits",
    "cosine_embedding",
    "cross_entropy",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "kl_divergence",
    "l1",
    "l2",
    "log_cosh",
    "mae",
    "margin_ranking",
    "mse",
    "multiclass_hinge",
    "nll",
    "poisson_nll",
    "smooth_l1",
    "squared_hinge",
    "triplet_margin",
]


def __dir__() -> list[str]:
    """List the losses alone, for those who look around with tab."""
    return __all__
