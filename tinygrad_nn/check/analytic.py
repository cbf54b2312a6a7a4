"""Functions of complex arrays, for the complex step: f(x + i h v) = f(x) + i h J v.

With h = 1e-200 nothing is subtracted, so nothing is lost: the slope comes out exact but
for rounding (W. Squire and G. Trapp, SIAM Review 40, 1998). It holds for what is
analytic only. An absolute value, a maximum, a comparison, a cast to real numbers would
make it silently wrong, so they are refused by name, in graphs and in plain code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.errors import UnsupportedError
from tinygrad_nn.op import Node, Op, data_of
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.tensor import Tensor

__all__ = ["STEP", "Analytic", "of_code", "of_graph"]

STEP = 1e-200
"""So small that its square is 0: a complex number is a value and a slope."""

_ADVICE = (
    "Use tg.check.multiprecision or check_gradients, which need no complex numbers"
)


# --- graphs --------------------------------------------------------------------------


def of_graph(output: Tensor, values: Mapping[Node, np.ndarray]) -> np.ndarray:
    """Evaluate a recorded graph with complex arrays in place of some leaves.

    Parameters
    ----------
    output
        What to evaluate.
    values
        By leaf: its complex values. All else keeps what was recorded.

    Raises
    ------
    UnsupportedError
        At an op that is not analytic, naming it and its line.

    Examples
    --------
    >>> x = Tensor([0.0, 1.0], requires_grad=True)
    >>> of_graph(np.tanh(x), {x: x.data + 1j * STEP}).imag / STEP
    array([1.        , 0.41997434])
    """
    known: dict[Node, Any] = dict(values)
    for node in graph.nodes(output):
        op, inputs, settings = graph.source(node)
        if op is None or node in values:
            continue
        if not any(isinstance(x, Node) and x in known for x in inputs):
            continue
        operands = [
            known.get(x, data_of(x)) if isinstance(x, Node) else data_of(x)
            for x in inputs
        ]
        try:
            with np.errstate(all="ignore"):
                known[node] = _body(op)(*operands, **settings)
        except UnsupportedError as refused:
            raise UnsupportedError(
                f"{refused}. Recorded at {graph.line(node)}"
            ) from None
    return np.asarray(known.get(output, data_of(output)))


def _body(op: Op) -> Callable[..., Any]:
    """Return what computes an op on complex arrays."""
    if op.name in _FORMS:
        return _FORMS[op.name]
    if not op.function.__module__.startswith("tinygrad_nn.ops."):
        return _guarded(op.function)
    # Decompositions take conjugates; an order is one of real numbers, kinked at ties.
    if op.kind == "decomposition" or op.name in _BY_ORDER:
        raise _refusal(op.name)
    if op.kind in ("movement", "indexing", "contraction") or op.name in _AS_THEY_STAND:
        return op.function
    ufunc = ufunc_of(op)
    if ufunc in _UFUNCS:
        return _UFUNCS[ufunc]
    if op.exact is not None and op.name not in _BY_ELEMENTS:
        return _guarded(op.exact)
    raise _refusal(op.name)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run the body of somebody's own op on arrays that refuse what is not analytic."""

    def body(*operands: Any, **settings: Any) -> Any:
        return _plain(function(*[_guard(x) for x in operands], **settings))

    return body


_BY_ELEMENTS = frozenset(
    {
        *("betaln", "erf", "erfc", "erfcx", "erfinv", "exprel", "fraction", "gamma"),
        *(
            "gammaln",
            "hazard",
            "iv",
            "ive",
            "jv",
            "log_ndtr",
            "ndtri",
            "polygamma",
            "sinc",
        ),
    }
)
"""Ops that are defined by cases, or by methods of exact numbers."""

_BY_ORDER = frozenset({"cummax", "cummin", "nanmax", "nanmin", "partition", "sort"})
"""Ops that pick elements by their order."""

_AS_THEY_STAND = frozenset(
    {
        "one_minus_square",
        *("add", "cumsum", "divide", "mean", "multiply", "negative", "others", "prod"),
        *("cumprod", "reciprocal", "recurrence", "square", "subtract", "sum"),
        *("sorted_like", "unsorted_like"),
        # Their shift by the largest element cancels, whichever complex number it is.
        *("log_softmax", "logcumsumexp", "logsumexp", "softmax"),
    }
)


def _log1p(z: Any) -> Any:
    """Give log(1 + z) with all digits of the real part, where NumPy's has few."""
    z = np.asarray(z)
    return np.log1p(z.real) + 1j * np.angle(1.0 + z)


def _tail(z: Any) -> tuple[Any, Any]:
    """Whether the real part is positive, and log(1 + exp(-z)) or, if not, of exp(z)."""
    positive = z.real > 0
    return positive, _log1p(np.exp(np.where(positive, -z, z)))


def _sigmoid(x: Any) -> Any:
    positive = x.real > 0
    weight = np.exp(np.where(positive, -x, x))
    return np.where(positive, 1.0, weight) / (1.0 + weight)


def _softplus(x: Any) -> Any:
    positive, tail = _tail(x)
    return np.where(positive, x, 0.0) + tail


def _log_sigmoid(x: Any) -> Any:
    return -_softplus(-x)


def _log1m_sigmoid(x: Any) -> Any:
    return -_softplus(x)


def _logistic_loss(x: Any, y: Any) -> Any:
    return _softplus(np.asarray(x)) - x * y


def _logistic_residual(x: Any, y: Any) -> Any:
    """Give (1 - y) sigmoid(x) - y sigmoid(-x), accurate in both tails."""
    x = np.asarray(x)
    return (1.0 - y) * _sigmoid(x) - y * _sigmoid(-x)


def _logaddexp(x: Any, y: Any) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    return y + _softplus(x - y)


def _logaddexp2(x: Any, y: Any) -> Any:
    two = np.log(2)
    return _logaddexp(np.asarray(x) * two, np.asarray(y) * two) / two


def _arctan2(y: Any, x: Any) -> Any:
    """Turn the angle between the axis that is closer and the vector, into its own."""
    y, x = np.asarray(y), np.asarray(x)
    if np.any((np.real(x) == 0) & (np.real(y) == 0)):
        raise _refusal("arctan2 at the origin")
    flat = np.abs(x.real) > np.abs(y.real)
    above, below = np.where(flat, y, -x), np.where(flat, x, y)
    half = np.where(y.real < 0, -np.pi, np.pi)
    return np.arctan(above / below) + np.where(
        flat, np.where(x.real < 0, half, 0.0), half / 2
    )


def _cbrt(x: Any) -> Any:
    minus = np.real(x) < 0
    root = np.where(minus, -x, x) ** (1 / 3)
    return np.where(minus, -root, root)


def _where(condition: Any, x: Any, y: Any) -> Any:
    if np.iscomplexobj(condition):
        raise _refusal("where")
    return np.where(condition, x, y)


def _away_from_zero(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse 0, where a root, a logarithm or a power has no derivative."""

    def at(x: Any, *exponents: Any) -> Any:
        if np.any(np.real(x) == 0) and not all(map(_whole, exponents or (0.5,))):
            raise _refusal(f"{function.__name__.strip('_')} at 0")
        return function(x, *exponents)

    return at


def _whole(exponent: Any) -> bool:
    """Whether a power is a polynomial."""
    y = np.asarray(exponent)
    return y.dtype.kind != "c" and bool(np.all((y >= 0) & (y == np.floor(y))))


def _power(x: Any, y: Any) -> Any:
    return np.asarray(x) ** y


def _astype(x: Any, dtype: Any = None) -> Any:
    if dtype is not None and np.dtype(dtype) != np.float64:
        raise _refusal(f"a cast to {np.dtype(dtype)}")
    return np.array(x)


def _unwrap(x: Any, discont: Any, axis: int, period: float) -> Any:
    """Add what is added to the real part: it is constant."""
    real = np.real(x)
    return x + (np.unwrap(real, discont, axis, period=period) - real)


_FORMS: dict[str, Callable[..., Any]] = {
    "arctan2": _arctan2,
    "astype": _astype,
    "cbrt": _away_from_zero(_cbrt),
    "log": _away_from_zero(np.log),
    "log1m_sigmoid": _log1m_sigmoid,
    "log1p": _log1p,
    "log_sigmoid": _log_sigmoid,
    "logistic_loss": _logistic_loss,
    "logistic_residual": _logistic_residual,
    "power": _away_from_zero(_power),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "sqrt": _away_from_zero(np.sqrt),
    "unwrap": _unwrap,
    "where": _where,
}


def _refusal(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"complex_step: expected a function that is analytic; got {what}. {_ADVICE}"
    )


# --- plain code ----------------------------------------------------------------------


def of_code(function: Callable[..., Any], arguments: Sequence[Any]) -> np.ndarray:
    """Call plain NumPy code with complex arrays among its arguments.

    Raises
    ------
    UnsupportedError
        Where it is not analytic, naming the function; and where it drops the imaginary
        parts.

    Examples
    --------
    >>> x = np.array([0.0, 1.0])
    >>> of_code(np.tanh, [x + 1j * STEP]).imag / STEP
    array([1.        , 0.41997434])
    >>> try:
    ...     of_code(np.abs, [x + 1j * STEP])
    ... except UnsupportedError as error:
    ...     print(str(error).partition(". ")[0])
    complex_step: expected a function that is analytic; got numpy.absolute
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            value = _plain(function(*[_guard(x) for x in arguments]))
        except np.exceptions.ComplexWarning:
            raise _refusal("a cast to real numbers") from None
        except TypeError as error:
            if "complex128" not in str(error):
                raise
            raise _refusal("a cast to real numbers") from None
    return np.asarray(value)


class Analytic(np.ndarray):
    """A complex array that lets itself be computed with, but not be made real.

    >>> z = np.array([1.0 + 1j]).view(Analytic)
    >>> np.exp(z)[0] * 2
    Analytic(2.93738788+4.57471057j)
    >>> try:
    ...     np.exp(z).imag
    ... except UnsupportedError as error:
    ...     print(str(error).partition(". ")[0])
    complex_step: expected a function that is analytic; got .imag
    """

    __slots__ = ()

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        """Compute what is analytic; refuse the rest by name."""
        function = _UFUNCS.get(ufunc)
        if function is None:
            raise _refusal(f"numpy.{ufunc.__name__}")
        operands = [_plain(x) for x in inputs]
        if method != "__call__":
            function = getattr(ufunc, method)
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(_plain(x) for x in out)
            function = getattr(ufunc, method)
        result = function(*operands, **options)
        if out is not None and method != "at":
            return out[0]
        return _guard(result)

    def __array_function__(
        self, func: Callable[..., Any], *call: Any, **options: Any
    ) -> Any:
        """Let arrays be moved, joined and summed; refuse the rest by name."""
        if func.__name__ not in _FUNCTIONS:
            raise _refusal(f"numpy.{func.__name__}")
        return _guard(super().__array_function__(func, *call, **options))

    def __getitem__(self, index: Any) -> Any:
        """Keep single elements arrays, which still refuse."""
        return _guard(super().__getitem__(index))

    def astype(self, dtype: Any, *_order: Any, **_options: Any) -> Any:
        """Refuse a cast to whole or coarser numbers; to float64 it is a copy."""
        kind = np.dtype(dtype)
        if kind not in (np.float64, np.complex128):
            raise _refusal(f"a cast to {kind}")
        return self.copy()


def _refused_attribute(name: str) -> Any:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise _refusal(name)

    refuse.__doc__ = f"Refuse {name}."
    return refuse


for _name in ("argmax", "argmin", "argsort", "conj", "conjugate", "round", "sort"):
    setattr(Analytic, _name, _refused_attribute(f".{_name}"))
for _name in ("real", "imag"):
    setattr(Analytic, _name, property(_refused_attribute(f".{_name}")))
for _name in ("__float__", "__int__", "__bool__", "__index__"):
    setattr(Analytic, _name, _refused_attribute(f"{_name.strip('_')} of it"))


def _guard(value: Any) -> Any:
    complex_one = (
        isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "c"
    )
    return np.asarray(value).view(Analytic) if complex_one else value


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Analytic) else value


_UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    ufunc: ufunc
    for ufunc in (
        *(np.add, np.arccos, np.arccosh, np.arcsin, np.arcsinh, np.arctan, np.arctanh),
        *(np.cos, np.cosh, np.divide, np.exp, np.exp2, np.expm1, np.matmul),
        *(np.multiply, np.negative, np.positive, np.reciprocal, np.sin, np.sinh),
        *(np.square, np.subtract, np.tan, np.tanh),
    )
} | {
    np.log: _away_from_zero(np.log),
    np.log10: _away_from_zero(np.log10),
    np.log1p: _log1p,
    np.log2: _away_from_zero(np.log2),
    np.arctan2: _arctan2,
    np.cbrt: _away_from_zero(_cbrt),
    np.logaddexp: _logaddexp,
    np.logaddexp2: _logaddexp2,
    np.power: _away_from_zero(_power),
    np.sqrt: _away_from_zero(np.sqrt),
}

_FUNCTIONS = frozenset(
    {
        *("append", "array_split", "atleast_1d", "atleast_2d", "average"),
        *(
            "broadcast_arrays",
            "broadcast_to",
            "concatenate",
            "convolve",
            "copy",
            "copyto",
        ),
        *("cumprod", "cumsum", "diag", "diagonal", "diff", "dot", "dstack", "einsum"),
        *("empty_like", "expand_dims", "flip", "full_like", "hstack", "inner", "kron"),
        *("mean", "moveaxis", "ndim", "ones_like", "outer", "pad", "prod", "ravel"),
        *("repeat", "reshape", "roll", "rollaxis", "rot90", "shape", "size", "split"),
        *("squeeze", "stack", "sum", "swapaxes", "take", "take_along_axis"),
        *("tensordot", "tile", "trace", "transpose", "tril", "triu", "vstack", "where"),
        *("zeros_like", "column_stack", "iscomplexobj", "delete", "insert"),
    }
)
