"""Functions of arrays to functions of arrays: gradients, Jacobians, Hessians.

The function is called once on Tensors; what it returns is differentiated. Given
Tensors, a transform gives Tensors; given arrays, arrays of their own. Transforms nest:
inside of another one, what depends on its variables stays a Tensor, whatever came in.
Arguments may be structures, and come back as such (see `transforms.structure`).
"""

from tinygrad_nn.transforms.forward import jvp
from tinygrad_nn.transforms.matrices import hessian, hvp, jacobian
from tinygrad_nn.transforms.per_example import per_example_grad
from tinygrad_nn.transforms.recompute import checkpoint
from tinygrad_nn.transforms.reverse import grad, value_and_grad, vjp
from tinygrad_nn.transforms.structure import flatten

__all__ = [
    "checkpoint",
    "flatten",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "per_example_grad",
    "value_and_grad",
    "vjp",
]
