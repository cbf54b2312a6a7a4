"""Functions of other frameworks, as functions of NumPy arrays with a gradient.

`check_gradients` judges any function of arrays; these give it PyTorch's and JAX's,
values and gradients both, in float64.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.errors import DtypeError, MissingExtraError, OpError, ShapeError

__all__ = ["Adapted", "from_jax", "from_torch"]


class Adapted(NamedTuple):
    """A function of NumPy arrays, and its gradient by the framework it came from.

    Attributes
    ----------
    f
        ``f(*arrays)``: the value, as an array.
    vjp
        ``vjp(g, *arrays)``: gradients of ``(g * f(*arrays)).sum()``, a tuple; zeros for
        arrays that f does not depend on, and for arrays of integers.
    """

    f: Callable[..., Any]
    vjp: Callable[..., tuple[np.ndarray, ...]]

    def __call__(self, *arrays: Any) -> Any:
        """Compute the value."""
        return self.f(*arrays)


def from_torch(function: Callable[..., Any]) -> Adapted:
    """Adapt a function of PyTorch tensors: a loss, an ``autograd.Function``, a module.

    Parameters
    ----------
    function
        Takes tensors, returns one tensor. It is given float64 on the CPU; parameters
        of a module that it closes over should be float64 too (``module.double()``).

    Returns
    -------
    Adapted
        For ``check_gradients(adapted, *arrays)``.

    Raises
    ------
    MissingExtraError
        Without ``torch``.
    DtypeError, OpError, ShapeError
        When it is called: where parameters are float32, where more than one tensor is
        returned, where a backward returns a gradient of another shape.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> import tinygrad_nn as tg
    >>> softplus = tg.check.from_torch(torch.nn.functional.softplus)  # doctest: +SKIP
    >>> x = np.array([0.5, -1.0])
    >>> tg.check.check_gradients(softplus, x).verdict  # doctest: +SKIP
    'ok'
    """
    torch = _imported("torch", "from_torch")

    def tensor(x: Any) -> Any:
        array = np.array(x)  # a copy: what the function writes stays its own
        return torch.from_numpy(array if array.ndim else array.reshape(()))

    def called(*inputs: Any) -> Any:
        output = function(*inputs)
        if not isinstance(output, torch.Tensor):
            raise OpError(
                "from_torch: expected a function that returns one tensor; got "
                f"{type(output).__name__}. Choose one: lambda *x: f(*x)[0]"
            )
        return output

    def f(*arrays: Any) -> np.ndarray:
        try:
            with torch.no_grad():
                return np.asarray(called(*map(tensor, arrays)).detach().numpy())
        except RuntimeError as error:
            if "Float" not in str(error):  # PyTorch's name of float32
                raise
            raise DtypeError(
                f"from_torch: expected parameters in float64; got {error}. Make them "
                "so: module.double()"
            ) from None

    vars(f)["__wrapped__"] = function  # the names of its parameters

    def vjp(g: Any, *arrays: Any) -> tuple[np.ndarray, ...]:
        inputs = [tensor(x) for x in arrays]
        active = [x for x in inputs if x.is_floating_point()]
        for x in active:
            x.requires_grad_(True)
        output = called(*inputs)
        if not output.requires_grad:  # detached on the way: nothing arrives
            return tuple(np.zeros(x.shape) for x in inputs)
        seed = tensor(g).to(output.dtype).reshape(output.shape)
        found = iter(_pulled(torch, output, active, seed))
        return tuple(
            np.zeros(x.shape)
            if not x.is_floating_point() or (share := next(found)) is None
            else share.detach().numpy()
            for x in inputs
        )

    return Adapted(f, vjp)


def _pulled(torch: Any, output: Any, active: Any, seed: Any) -> Any:
    """Return PyTorch's gradients; None for what the output does not depend on."""
    try:
        return torch.autograd.grad(output, active, grad_outputs=seed, allow_unused=True)
    except RuntimeError as error:
        if "invalid gradient" not in str(error):
            raise
        raise ShapeError(f"from_torch: {error}. Mend its backward") from None


def from_jax(function: Callable[..., Any]) -> Adapted:
    """Adapt a function of JAX arrays.

    Parameters
    ----------
    function
        Takes arrays, returns one array. It is run in float64, whatever
        ``jax_enable_x64`` says.

    Returns
    -------
    Adapted
        For ``check_gradients(adapted, *arrays)``.

    Raises
    ------
    MissingExtraError
        Without ``jax``.

    Examples
    --------
    >>> import jax  # doctest: +SKIP
    >>> import tinygrad_nn as tg
    >>> gelu = tg.check.from_jax(jax.nn.gelu)  # doctest: +SKIP
    >>> x = np.array([0.5, -1.0])
    >>> tg.check.check_gradients(gelu, x).verdict  # doctest: +SKIP
    'ok'
    """
    jax = _imported("jax", "from_jax")
    wide = jax.enable_x64 if hasattr(jax, "enable_x64") else _wide()

    def f(*arrays: Any) -> np.ndarray:
        with wide(True):
            return np.asarray(function(*map(jax.numpy.asarray, arrays)))

    vars(f)["__wrapped__"] = function  # the names of its parameters

    def vjp(g: Any, *arrays: Any) -> tuple[np.ndarray, ...]:
        with wide(True):
            inputs = [jax.numpy.asarray(x) for x in arrays]
            output, pull = jax.vjp(function, *inputs)
            seed = jax.numpy.asarray(g, output.dtype).reshape(output.shape)
            shares = pull(seed)
        return tuple(
            np.asarray(share)
            if np.asarray(x).dtype.kind == "f"
            else np.zeros(np.shape(x))
            for share, x in zip(shares, arrays, strict=True)
        )

    return Adapted(f, vjp)


def _wide() -> Any:
    """Return the older name of the switch to float64."""
    return importlib.import_module("jax.experimental").enable_x64


def _imported(library: str, where: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise MissingExtraError(
            f"{where}: needs {library}, which is not installed; got a function of "
            f"{library}'s arrays. Install it: pip install {library}"
        ) from None
