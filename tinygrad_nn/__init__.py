"""A NumPy library in which a model is an expression.

>>> import tinygrad_nn as tg
>>> x = tg.Tensor(2.0, requires_grad=True)
>>> y = tg.Tensor(3.0, requires_grad=True)
>>> z = x * y + x
>>> z.backward()
>>> z.item(), x.grad.item(), y.grad.item()
(8.0, 4.0, 2.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_nn import errors
from tinygrad_nn.functional import (
    abs,
    absolute,
    add,
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    astype,
    broadcast_to,
    clip,
    concatenate,
    copy,
    cos,
    cumsum,
    divide,
    dot,
    einsum,
    equal,
    exp,
    expand_dims,
    expm1,
    fabs,
    flip,
    greater,
    greater_equal,
    isnan,
    less,
    less_equal,
    linalg,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    moveaxis,
    multiply,
    negative,
    norm,
    not_equal,
    positive,
    power,
    prod,
    ravel,
    reciprocal,
    reshape,
    sign,
    sin,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    subtract,
    sum,
    swapaxes,
    tanh,
    transpose,
    true_divide,
    var,
    where,
)
from tinygrad_nn.op import elementwise, primitive
from tinygrad_nn.ops import (
    getitem,
    log_sigmoid,
    log_softmax,
    logsumexp,
    relu,
    scatter_add,
    sigmoid,
    softmax,
    softplus,
)
from tinygrad_nn.recording import debug, no_grad, scope
from tinygrad_nn.tensor import Parameter, Tensor, gradients
from tinygrad_nn.transforms import (
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)

if TYPE_CHECKING:
    from tinygrad_nn import check, data, losses, nn, optim, training
    from tinygrad_nn.compiler import compile, export_numpy
    from tinygrad_nn.derivation import Derivation, derive
    from tinygrad_nn.drawing import Drawing, draw
    from tinygrad_nn.training import (
        Checkpoint,
        EarlyStopping,
        History,
        fit,
        load,
        save,
    )

__version__ = "0.1.0"

# Rooms upstairs and the wings open when they are first asked for (PEP 562), so that
# `import tinygrad_nn` costs little more than `import numpy`.
_ROOMS = {
    "Checkpoint": "tinygrad_nn.training",
    "Derivation": "tinygrad_nn.derivation",
    "Drawing": "tinygrad_nn.drawing",
    "EarlyStopping": "tinygrad_nn.training",
    "History": "tinygrad_nn.training",
    "check": "tinygrad_nn.check",
    "compile": "tinygrad_nn.compiler",
    "data": "tinygrad_nn.data",
    "derive": "tinygrad_nn.derivation",
    "draw": "tinygrad_nn.drawing",
    "export_numpy": "tinygrad_nn.compiler",
    "fit": "tinygrad_nn.training",
    "load": "tinygrad_nn.training",
    "losses": "tinygrad_nn.losses",
    "nn": "tinygrad_nn.nn",
    "optim": "tinygrad_nn.optim",
    "save": "tinygrad_nn.training",
    "training": "tinygrad_nn.training",
}


def __getattr__(name: str) -> Any:
    """Open a room on first use."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'tinygrad_nn' has no attribute {name!r}")
    room = import_module(_ROOMS[name])
    value = room if room.__name__.endswith(f".{name}") else getattr(room, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, opened or not."""
    return __all__


__all__ = [
    "Checkpoint",
    "Derivation",
    "Drawing",
    "EarlyStopping",
    "History",
    "Parameter",
    "Tensor",
    "abs",
    "absolute",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "astype",
    "broadcast_to",
    "check",
    "clip",
    "compile",
    "concatenate",
    "copy",
    "cos",
    "cumsum",
    "data",
    "debug",
    "derive",
    "divide",
    "dot",
    "draw",
    "einsum",
    "elementwise",
    "equal",
    "errors",
    "exp",
    "expand_dims",
    "expm1",
    "export_numpy",
    "fabs",
    "fit",
    "flip",
    "getitem",
    "grad",
    "gradients",
    "greater",
    "greater_equal",
    "hessian",
    "hvp",
    "isnan",
    "jacobian",
    "jvp",
    "less",
    "less_equal",
    "linalg",
    "load",
    "log",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "losses",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "nn",
    "no_grad",
    "norm",
    "not_equal",
    "optim",
    "positive",
    "power",
    "primitive",
    "prod",
    "ravel",
    "reciprocal",
    "relu",
    "reshape",
    "save",
    "scatter_add",
    "scope",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "tanh",
    "training",
    "transpose",
    "true_divide",
    "value_and_grad",
    "var",
    "vjp",
    "where",
]
