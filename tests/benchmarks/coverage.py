"""Which differentiable functions of NumPy differentiate: here, in autograd, in MyGrad.

    python tests/benchmarks/coverage.py [--write docs/coverage.md] [--verbose]

The list: every public callable of ``numpy`` and ``numpy.linalg`` stands in exactly one
of the tables below, which the script checks against the NumPy that is installed. One is
differentiable where central differences find a slope (checked), constant where they find
none, and left out where it does not compute with real arrays, for the reason that heads
its group. Every library is called by the same recipes, and its gradient under a random
cotangent is compared with the differences: to 1e-6, far above their error. What raises
is *refused*; another number, nan, another shape or a result without a gradient is
*silently wrong*. A second list holds edges: points where a formula of a textbook gives
nan, a wrong shape or another dtype, with the values that are right there.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RNG = np.random.default_rng(20261121)


class Case(NamedTuple):
    """One way to call a function: its operands, and how."""

    name: str
    operands: tuple[np.ndarray, ...]
    call: Callable[..., Any]


def _spread(low: float, high: float, *shape: int) -> np.ndarray:
    """Distinct numbers of a range: no ties, no kinks met by chance."""
    count = int(np.prod(shape))
    cells = (RNG.permutation(count) + RNG.uniform(0.2, 0.8, count)) / max(count, 1)
    return (low + (high - low) * cells).reshape(shape)


A = _spread(-2, 2, 3, 4)
B = _spread(-2, 2, 3, 4)
POSITIVE = _spread(0.3, 2, 3, 4)
UNIT = _spread(-0.8, 0.8, 3, 4)
ABOVE = _spread(1.2, 3, 3, 4)
V = _spread(-2, 2, 5)
W = _spread(-2, 2, 5)
SQUARE = _spread(-1, 1, 3, 3) + 2 * np.eye(3)
SYMMETRIC = SQUARE @ SQUARE.T
STACK = np.stack([SQUARE, SQUARE.T + 1])
TRIPLE = _spread(-2, 2, 4, 3)
TRIPLE_2 = _spread(-2, 2, 4, 3)
WEIGHTS = np.array([0.2, 0.5, 0.1, 0.7, 0.4])
CONDITION = np.array([[True, False, True, False]] * 3)

CASES: list[Case] = []
GROUPS: dict[str, str] = {}


def _case(
    name: str, *operands: np.ndarray, call: Callable[..., Any] | None = None
) -> None:
    CASES.append(Case(name, operands, call or (lambda f, *xs: f(*xs))))


# --- ufuncs --------------------------------------------------------------------------

for _name in (
    *("abs", "absolute", "arctan", "arcsinh", "asinh", "atan", "cbrt", "cos", "cosh"),
    *("deg2rad", "degrees", "exp", "exp2", "expm1", "fabs", "negative", "positive"),
    *(
        "rad2deg",
        "radians",
        "sin",
        "sinh",
        "square",
        "tan",
        "tanh",
        "conj",
        "conjugate",
    ),
    *("sinc", "i0", "nan_to_num", "real", "real_if_close"),
):
    _case(_name, A)
for _name in ("log", "log10", "log2", "sqrt", "reciprocal"):
    _case(_name, POSITIVE)
for _name in ("arcsin", "arccos", "arctanh", "asin", "acos", "atanh", "log1p"):
    _case(_name, UNIT)
for _name in ("arccosh", "acosh"):
    _case(_name, ABOVE)
for _name in (
    *("add", "arctan2", "atan2", "copysign", "divide", "fmax", "fmin", "hypot"),
    *("logaddexp", "logaddexp2", "maximum", "minimum", "multiply", "subtract"),
    "true_divide",
):
    _case(_name, A, B)
    _case(_name, A, B[0])
for _name in ("fmod", "mod", "remainder"):
    _case(_name, A, ABOVE)
    _case(_name, A, -ABOVE[0])
for _name in ("power", "pow", "float_power"):
    _case(_name, POSITIVE, B)
    _case(_name, A, call=lambda f, x: f(x, 3))
_case("divmod", A, ABOVE)
_case("modf", A)
_case("frexp", A)
_case("ldexp", A, call=lambda f, x: f(x, np.array([1, 2, 0, 3])))
_case("matmul", A, A.T.copy())
_case("matmul", STACK, SQUARE)
_case("matmul", V, W)
_case("matmul", SQUARE, SQUARE[0])
_case("vecdot", A, B)
_case("matvec", STACK, SQUARE[0])
_case("vecmat", SQUARE[0], STACK)

# --- reductions and accumulations ----------------------------------------------------

for _name in (
    *(
        "sum",
        "mean",
        "prod",
        "max",
        "min",
        "amax",
        "amin",
        "var",
        "std",
        "ptp",
        "median",
    ),
    *("nansum", "nanmean", "nanprod", "nanmax", "nanmin", "nanvar", "nanstd"),
    *("nanmedian", "average"),
):
    _case(_name, A)
    _case(_name, A, call=lambda f, x: f(x, axis=1))
for _name in ("cumsum", "cumprod", "nancumsum", "nancumprod"):
    _case(_name, A)
    _case(_name, A, call=lambda f, x: f(x, axis=0))
for _name in ("cumulative_sum", "cumulative_prod"):
    _case(_name, A, call=lambda f, x: f(x, axis=1))
for _name, _q in (
    *(("quantile", 0.3), ("nanquantile", 0.3), ("percentile", 30.0)),
    ("nanpercentile", 30.0),
):
    _case(_name, A, call=lambda f, x, _q=_q: f(x, _q, axis=0))
    _case(_name, V, call=lambda f, x, _q=_q: f(x, _q))
_case("average", A, WEIGHTS[:4], call=lambda f, x, w: f(x, axis=1, weights=w))
_case("sum", A, call=lambda f, x: f(x, where=CONDITION, keepdims=True))
_case("linalg.norm", A)
_case("linalg.norm", A, call=lambda f, x: f(x, axis=1))
_case("linalg.norm", V, call=lambda f, x: f(x, 3))
_case("linalg.norm", A, call=lambda f, x: f(x, "nuc"))
_case("linalg.norm", A, call=lambda f, x: f(x, 2))
_case("linalg.matrix_norm", A)
_case("linalg.vector_norm", A)

# --- movement ------------------------------------------------------------------------

for _name in (
    *("ravel", "squeeze", "transpose", "permute_dims", "flip", "fliplr", "flipud"),
    *("rot90", "atleast_1d", "atleast_2d", "atleast_3d", "tril", "triu", "diag"),
    *("diagonal", "diagflat", "trace", "copy", "matrix_transpose", "unstack"),
):
    _case(_name, A)
_case("diag", V)
_case("diag", A, call=lambda f, x: f(x, 1))
_case("linalg.diagonal", A)
_case("linalg.matrix_transpose", A)
_case("linalg.trace", A)
_case("reshape", A, call=lambda f, x: f(x, (2, 6)))
_case("expand_dims", A, call=lambda f, x: f(x, 1))
_case("swapaxes", A, call=lambda f, x: f(x, 0, 1))
_case("moveaxis", A, call=lambda f, x: f(x, 0, 1))
_case("rollaxis", A, call=lambda f, x: f(x, 1))
_case("roll", A, call=lambda f, x: f(x, 2, axis=1))
_case("roll", A, call=lambda f, x: f(x, 5))
_case("tile", A, call=lambda f, x: f(x, (2, 1, 3)))
_case("repeat", A, call=lambda f, x: f(x, 2, axis=1))
_case("repeat", A, call=lambda f, x: f(x, [1, 0, 3], axis=0))
for _mode in (
    "constant",
    "edge",
    "reflect",
    "symmetric",
    "wrap",
    "linear_ramp",
    "mean",
):
    _case("pad", A, call=lambda f, x, _mode=_mode: f(x, ((1, 2), (2, 1)), mode=_mode))
_case("broadcast_to", V, call=lambda f, x: f(x, (2, 5)))
_case("broadcast_arrays", A, A[0])
_case("resize", A, call=lambda f, x: f(x, (4, 5)))
for _name in ("concatenate", "concat", "vstack", "hstack", "dstack", "stack"):
    _case(_name, A, B, call=lambda f, x, y: f([x, y]))
_case("column_stack", V, W, call=lambda f, x, y: f([x, y]))
_case("row_stack", V, W, call=lambda f, x, y: f([x, y]))
_case("block", A, B, call=lambda f, x, y: f([[x, y], [y, x]]))
_case("append", A, B, call=lambda f, x, y: f(x, y, axis=0))
_case("insert", A, B[0], call=lambda f, x, y: f(x, 1, y, axis=0))
_case("delete", A, call=lambda f, x: f(x, 1, axis=0))
for _name in ("split", "array_split", "hsplit"):
    _case(_name, A, call=lambda f, x: f(x, [1, 2]))
_case("vsplit", A, call=lambda f, x: f(x, 3))
_case("dsplit", STACK, call=lambda f, x: f(x, 3))
_case("meshgrid", V, W)
_case("trim_zeros", V)
_case("astype", A, call=lambda f, x: f(x, np.float64))
_case("linspace", V, W, call=lambda f, x, y: f(x, y, 4))
_case("logspace", UNIT[0], UNIT[1], call=lambda f, x, y: f(x, y, 4))
_case("geomspace", POSITIVE[0], POSITIVE[1], call=lambda f, x, y: f(x, y, 4))
_case("full", V[0], call=lambda f, x: f((2, 3), x))
_case("full_like", V[0], call=lambda f, x: f(np.zeros((2, 3)), x))

# --- choosing ------------------------------------------------------------------------

_case("where", A, B, call=lambda f, x, y: f(CONDITION, x, y))
_case("clip", A, call=lambda f, x: f(x, -1.0, 1.0))
_case("select", A, B, call=lambda f, x, y: f([CONDITION, ~CONDITION], [x, y]))
_case("choose", A, B, call=lambda f, x, y: f(CONDITION.astype(int), [x, y]))
_case(
    "piecewise", A, call=lambda f, x: f(x, [CONDITION], [lambda v: v * v, lambda v: -v])
)
_case("take", A, call=lambda f, x: f(x, [0, 2, 2], axis=1))
_case(
    "take_along_axis",
    A,
    call=lambda f, x: f(x, np.array([[0, 3], [1, 1], [2, 0]]), axis=1),
)
_case("compress", A, call=lambda f, x: f([True, False, True], x, axis=0))
_case("extract", A, call=lambda f, x: f(CONDITION, x))
for _name in ("sort", "partition"):
    _case(_name, A, call=lambda f, x, _n=_name: f(x, *(() if _n == "sort" else (2,))))
    _case(_name, V, call=lambda f, x, _n=_name: f(x, *(() if _n == "sort" else (2,))))
_case("unique", V)
_case("unique_values", V)
_case("bincount", V, call=lambda f, w: f(np.array([0, 2, 2, 1, 0]), w))

# --- calculus and statistics ---------------------------------------------------------

_case("diff", A)
_case("diff", A, call=lambda f, x: f(x, 2, axis=0))
_case("ediff1d", A)
_case("gradient", A)
_case("gradient", V, call=lambda f, x: f(x, np.array([0.0, 1.0, 3.0, 4.0, 7.0])))
for _name in ("convolve", "correlate"):
    for _mode in ("full", "same", "valid"):
        _case(_name, V, W[:3], call=lambda f, x, y, _mode=_mode: f(x, y, _mode))
_case(
    "interp",
    np.array([0.3, 1.7, 2.2]),
    np.array([0.0, 1.0, 2.0, 3.0]),
    np.array([1.0, 3.0, -1.0, 0.5]),
)
_case("trapezoid", A)
_case("trapezoid", V, np.sort(W))
_case("polyval", W[:3], V)
for _name in ("polyadd", "polysub", "polymul"):
    _case(_name, W[:3], V)
_case("polyder", V)
_case("polyint", V)
_case("polydiv", V, W[:3])
_case("polyfit", V, W, call=lambda f, x, y: f(x, y, 2))
_case("poly", V)
_case("vander", V)
_case("cov", A)
_case("corrcoef", A)
_case("unwrap", 3 * V)
_case("apply_along_axis", A, call=lambda f, x: f(lambda r: (r * r).sum(), 0, x))
_case("apply_over_axes", A, call=lambda f, x: f(lambda y, k: (y * y).sum(k), x, [0]))

# --- contraction and linear algebra --------------------------------------------------

_case("dot", A, A.T.copy())
_case("dot", V, W)
_case("dot", STACK, SQUARE[0])
_case("inner", A, B)
_case("outer", V, W)
_case("vdot", A, B)
_case("tensordot", A, B, call=lambda f, x, y: f(x, y, axes=([0], [0])))
_case("kron", A, W[:2].reshape(1, 2))
_case("cross", TRIPLE, TRIPLE_2)
_case("einsum", A, B, call=lambda f, x, y: f("ij,kj->ik", x, y))
_case("einsum", SQUARE, call=lambda f, x: f("ii->i", x))
_case("einsum", SQUARE, call=lambda f, x: f("ii", x))
_case("einsum", STACK, SQUARE, call=lambda f, x, y: f("...ij,jk->...ik", x, y))
_case("einsum", A, V, call=lambda f, x, y: f("ij,k->i", x, y))
_case("linalg.matmul", A, A.T.copy())
_case("linalg.outer", V, W)
_case("linalg.cross", TRIPLE, TRIPLE_2)
_case("linalg.vecdot", A, B)
_case("linalg.tensordot", A, B, call=lambda f, x, y: f(x, y, axes=([1], [1])))
_case("linalg.multi_dot", A, A.T.copy(), B, call=lambda f, *xs: f(list(xs)))
_case("linalg.matrix_power", SQUARE, call=lambda f, x: f(x, 3))
_case("linalg.matrix_power", SQUARE, call=lambda f, x: f(x, -2))
for _name in ("inv", "det", "pinv", "cond", "svdvals"):
    _case(f"linalg.{_name}", SQUARE)
for _name in ("inv", "det", "pinv"):
    _case(f"linalg.{_name}", STACK)
_case("linalg.pinv", A)
_case("linalg.slogdet", STACK)
_case("linalg.solve", SQUARE, TRIPLE[:3])
_case("linalg.solve", SQUARE, TRIPLE[0])
_case("linalg.lstsq", TRIPLE, A[0], call=lambda f, a, b: f(a, b, rcond=None)[0])
_case("linalg.cholesky", SYMMETRIC, call=lambda f, x: f((x @ x + (x @ x).T) / 2))
_case("linalg.qr", TRIPLE)
_case("linalg.eigh", SYMMETRIC, call=lambda f, x: f((x + x.T) / 2)[0])
_case("linalg.eigh", SYMMETRIC, call=lambda f, x: f((x + x.T) / 2)[1] ** 2)
_case("linalg.eigvalsh", SYMMETRIC, call=lambda f, x: f((x + x.T) / 2))
_case("linalg.svd", TRIPLE, call=lambda f, x: f(x, full_matrices=False)[1])
_case("linalg.svd", TRIPLE, call=lambda f, x: f(x, full_matrices=False)[0][:, 0] ** 2)
_case("linalg.svd", TRIPLE, call=lambda f, x: f(x, compute_uv=False))
_case("linalg.tensorinv", SQUARE, call=lambda f, x: f(x, ind=1))
_case("linalg.tensorsolve", SQUARE, V[:3])

# --- the rest of NumPy, by reason ----------------------------------------------------


def _group(reason: str, names: str) -> None:
    for name in names.split():
        GROUPS[name] = reason


_group(
    "constant: flat wherever it is smooth, or integers, booleans, places",
    "all allclose any argmax argmin argpartition argsort argwhere around array_equal "
    "array_equiv ceil count_nonzero digitize equal fix flatnonzero floor floor_divide "
    "greater greater_equal heaviside isclose isfinite isin isinf isnan isneginf isposinf "
    "isreal iscomplex less less_equal lexsort logical_and logical_not logical_or "
    "logical_xor nanargmax nanargmin nonzero not_equal rint round searchsorted sign "
    "signbit spacing trunc unique_all unique_counts unique_inverse linalg.matrix_rank "
    "histogram histogram2d histogram_bin_edges histogramdd imag nextafter",
)
_group(
    "complex results",
    "angle roots sort_complex linalg.eig linalg.eigvals iscomplexobj isrealobj",
)
_group(
    "of integers, bits or dates alone",
    "bitwise_and bitwise_count bitwise_invert bitwise_left_shift bitwise_not bitwise_or "
    "bitwise_right_shift bitwise_xor gcd lcm invert left_shift right_shift packbits "
    "unpackbits busday_count busday_offset is_busday isnat datetime_as_string "
    "datetime_data base_repr binary_repr ravel_multi_index unravel_index",
)
_group(
    "sets: what is in them is decided by equality",
    "intersect1d setdiff1d setxor1d union1d",
)
_group(
    "writes into an array",
    "copyto fill_diagonal place put put_along_axis putmask",
)
_group(
    "makes arrays from shapes, numbers or sources",
    "arange array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray "
    "asmatrix bartlett blackman bmat diag_indices diag_indices_from empty empty_like eye "
    "from_dlpack frombuffer fromfile fromfunction fromiter fromregex fromstring "
    "genfromtxt hamming hanning identity indices ix_ kaiser load loadtxt mask_indices "
    "nested_iters ones ones_like require tri tril_indices tril_indices_from triu_indices "
    "triu_indices_from zeros zeros_like",
)
_group(
    "about arrays and types, text, files and settings",
    "array2string array_repr array_str broadcast_shapes can_cast common_type einsum_path "
    "format_float_positional format_float_scientific frompyfunc get_include "
    "get_printoptions getbufsize geterr geterrcall info isdtype isfortran isscalar "
    "issubdtype iterable may_share_memory min_scalar_type mintypecode ndim printoptions "
    "promote_types result_type save savetxt savez savez_compressed set_printoptions "
    "setbufsize seterr seterrcall shape shares_memory show_config show_runtime size test "
    "typename linalg.test linalg.LinAlgError",
)


def check_the_list() -> None:
    """Hold the tables to the NumPy that is installed: each callable stands in one."""
    public = {
        name
        for name in dir(np)
        if not name.startswith("_")
        and callable(getattr(np, name))
        and not isinstance(getattr(np, name), type)
    }
    public |= {
        f"linalg.{name}"
        for name in dir(np.linalg)
        if not name.startswith("_") and callable(getattr(np.linalg, name))
    }
    told = {case.name for case in CASES} | set(GROUPS)
    missing = sorted(public - told)
    twice = sorted({case.name for case in CASES} & set(GROUPS))
    if missing or twice:
        sys.exit(f"the list misses {missing}, and has in two tables {twice}")


# --- what a library says -------------------------------------------------------------


class Answer(NamedTuple):
    """Values and gradients, as arrays; None for a gradient that is not connected."""

    values: list[np.ndarray]
    gradients: list[Any]


def _parts(found: Any) -> list[Any]:
    """Return the floating results of a function, in order."""
    if isinstance(found, (tuple, list)) or type(found).__name__ == "SequenceBox":
        return [part for one in found for part in _parts(one)]
    return [found]


def _floating(x: Any) -> bool:
    """Whether a result counts: real numbers, or objects that may stand for such."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and np.dtype(dtype).kind in "fO"


def _cotangents(values: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal(np.shape(v)) for v in values]


def _lookup(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def numpys(case: Case, operands: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Compute the values by NumPy."""
    found = case.call(_lookup(np, case.name), *operands)
    return [np.asarray(v) for v in _parts(found) if _floating(np.asarray(v))]


def differences(case: Case) -> list[np.ndarray]:
    """Return gradients by central differences, with Richardson's extrapolation."""
    weights = _cotangents(numpys(case, case.operands))

    def total(*operands: np.ndarray) -> float:
        return sum(
            float(np.sum(w * v))
            for w, v in zip(weights, numpys(case, operands), strict=True)
        )

    slopes = []
    for i, x in enumerate(case.operands):
        slope = np.zeros(np.shape(x))
        for place in np.ndindex(np.shape(x)):
            found = []
            for step in (1e-3, 5e-4):
                moved = [np.array(o, float) for o in case.operands]
                moved[i][place] += step
                above = total(*moved)
                moved[i][place] -= 2 * step
                found.append((above - total(*moved)) / (2 * step))
            slope[place] = (4 * found[1] - found[0]) / 3
        slopes.append(slope)
    return slopes


def ours(case: Case, operands: tuple[np.ndarray, ...]) -> Answer:
    """Ask tinygrad_nn, by NumPy's own spelling."""
    import tinygrad_nn as tg

    tensors = [tg.Tensor(x, requires_grad=True) for x in operands]
    parts = _parts(case.call(_lookup(np, case.name), *tensors))
    parts = [p for p in parts if _floating(p)]
    if not any(isinstance(p, tg.Tensor) for p in parts):
        return Answer([np.asarray(p) for p in parts], [None] * len(tensors))
    total: Any = 0.0
    for w, p in zip(_cotangents(parts), parts, strict=True):
        total = total + (p * w).sum()
    slopes = tg.gradients(total, tensors, unused="zero")
    return Answer(
        [p.numpy() if isinstance(p, tg.Tensor) else p for p in parts],
        [s.numpy() for s in slopes],
    )


def autograds(case: Case, operands: tuple[np.ndarray, ...]) -> Answer:
    """Ask HIPS/autograd, by the function of its own NumPy, and else by NumPy's."""
    import autograd
    import autograd.numpy as anp

    values: list[Any] = []
    try:
        function = _lookup(anp, case.name)
    except AttributeError:
        function = _lookup(np, case.name)

    def total(packed: Any) -> Any:
        parts = [p for p in _parts(case.call(function, *packed)) if _floating(p)]
        values[:] = [getattr(p, "_value", p) for p in parts]
        summed: Any = 0.0
        for w, p in zip(_cotangents(values), parts, strict=True):
            summed = summed + anp.sum(p * w)
        return summed

    slopes = autograd.grad(total)(tuple(np.array(x, float) for x in operands))
    return Answer([_unboxed(v) for v in values], list(slopes))


def _unboxed(value: Any) -> np.ndarray:
    """Return the numbers of an array of autograd's boxes."""
    array = np.asarray(value)
    if array.dtype != object:
        return array
    numbers = [getattr(x, "_value", x) for x in array.ravel()]
    return np.array(numbers, float).reshape(array.shape)


def mygrads(case: Case, operands: tuple[np.ndarray, ...]) -> Answer:
    """Ask MyGrad, by its own function, and else by NumPy's."""
    import mygrad

    tensors = [mygrad.tensor(np.array(x, float)) for x in operands]
    try:
        function = _lookup(mygrad, case.name)
    except AttributeError:
        function = _lookup(np, case.name)
    parts = _parts(case.call(function, *tensors))
    parts = [p for p in parts if _floating(p)]
    if not any(isinstance(p, mygrad.Tensor) for p in parts):
        return Answer([np.asarray(p) for p in parts], [None] * len(tensors))
    total: Any = 0.0
    for w, p in zip(_cotangents(parts), parts, strict=True):
        total = total + (p * w).sum()
    total.backward()
    slopes = [np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]
    return Answer([np.asarray(p) for p in parts], slopes)


LIBRARIES: dict[str, Callable[..., Answer]] = {
    "tinygrad_nn": ours,
    "autograd": autograds,
    "mygrad": mygrads,
}


def _near(got: Any, wanted: np.ndarray, tolerance: float) -> bool:
    if got is None or np.shape(got) != np.shape(wanted):
        return False
    got = np.asarray(got, float)
    scale = max(np.max(np.abs(wanted), initial=0.0), 1e-2)
    return bool(np.all(np.abs(got - wanted) <= tolerance * scale))


def judged(answer: Callable[..., Answer], case: Case, slopes: list[np.ndarray]) -> str:
    """Return the verdict on one case, with what was wrong."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = answer(case, case.operands)
    except Exception as error:  # noqa: BLE001 (whatever it raises, it is no number)
        return f"refused: {type(error).__name__}: {str(error).splitlines()[:1]}"
    values = numpys(case, case.operands)
    if len(values) != len(found.values) or not all(
        _near(g, w, 1e-12) for g, w in zip(found.values, values, strict=True)
    ):
        return "wrong: the value"
    for i, (got, want) in enumerate(zip(found.gradients, slopes, strict=True)):
        if not _near(got, want, 1e-6):
            what = "no gradient" if got is None else f"{np.asarray(got).ravel()[:4]}"
            return f"wrong: operand {i}: {what} for {want.ravel()[:4]}"
    return "right"


# --- edges ---------------------------------------------------------------------------


class Edge(NamedTuple):
    """A function of one array, where it is hard; the least and greatest right slopes."""

    name: str
    call: Callable[..., Any]
    at: Any
    least: Any
    most: Any
    dtype: Any = np.float64


EDGES: list[Edge] = []


def _edge(
    name: str, call: Callable[..., Any], at: Any, least: Any, most: Any = None,
    dtype: Any = np.float64,
) -> None:  # fmt: skip
    EDGES.append(Edge(name, call, at, least, least if most is None else most, dtype))


_INF = np.inf
_TEN = 10.0  # a convention: any finite number does, for the slope has no limit

_edge("where(x > 0, log(x), 0) at 0", lambda n, x: n.sum(n.where(x > 0, n.log(x), 0.0)), [0.0, 2.0], [0.0, 0.5])  # fmt: skip
_edge("where(x > 0, sqrt(x), 0) at 0", lambda n, x: n.sum(n.where(x > 0, n.sqrt(x), 0.0)), [0.0, 4.0], [0.0, 0.25])  # fmt: skip
_edge("linalg.norm(x) at 0", lambda n, x: n.linalg.norm(x), [0.0, 0.0], [-1.0, -1.0], [1.0, 1.0])  # fmt: skip
_edge("linalg.norm(x, 3) at 0", lambda n, x: n.linalg.norm(x, 3), [0.0, 0.0], [-1.0, -1.0], [1.0, 1.0])  # fmt: skip
_edge("hypot(x, 0) at 0", lambda n, x: n.sum(n.hypot(x, 0.0 * x)), [0.0], [-1.0], [1.0])
_edge("std of equal numbers", lambda n, x: n.std(x), [2.0, 2.0, 2.0], [-1.0] * 3, [1.0] * 3)  # fmt: skip
_edge(
    "sqrt at 0", lambda n, x: n.sum(n.sqrt(x)), [0.0, 4.0], [-_TEN, 0.25], [_TEN, 0.25]
)
_edge("sqrt of the number 0.0", lambda n, x: n.sqrt(x), 0.0, -_TEN, _TEN)
_edge("x ** 2 at 0", lambda n, x: n.sum(x**2), [0.0, 3.0], [0.0, 6.0])
_edge("x ** y, x = 0", lambda n, x: n.sum(n.power(x, np.array([2.0, 1.0, 0.0]))), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0])  # fmt: skip
_edge("(x - t) ** 2 with an array of exponents, x = t", lambda n, x: n.sum((x - 3.0) ** np.array([2.0])), [3.0], [0.0])  # fmt: skip
_edge("2 ** x and 0 ** x", lambda n, x: n.sum(n.power(np.array([0.0, 2.0]), x)), [2.0, 1.0], [0.0, 2 * np.log(2)])  # fmt: skip
_edge(
    "sinc at 0", lambda n, x: n.sum(n.sinc(x)), [0.0, 1e-9], [0.0, -1e-6], [0.0, 1e-6]
)
_edge("prod with one zero", lambda n, x: n.prod(x), [0.0, 2.0, 3.0], [6.0, 0.0, 0.0])
_edge("prod with two zeros", lambda n, x: n.prod(x), [0.0, 0.0, 3.0], [0.0, 0.0, 0.0])
_edge("cumprod with a zero", lambda n, x: n.sum(n.cumprod(x)), [2.0, 0.0, 3.0], [1.0, 8.0, 0.0])  # fmt: skip
_edge("abs at 0", lambda n, x: n.sum(n.abs(x)), [0.0], [0.0], [0.0])
_edge("maximum(x, 0) at 0", lambda n, x: n.sum(n.maximum(x, 0.0)), [0.0], [0.0], [1.0])
_edge("max of ties", lambda n, x: n.max(x), [1.0, 1.0], [0.5, 0.5])
_edge("logaddexp(-inf, -inf)", lambda n, x: n.logaddexp(x[0], x[1]), [-_INF, -_INF], [0.5, 0.5])  # fmt: skip
_edge("logaddexp(1000, 0)", lambda n, x: n.logaddexp(x[0], x[1]), [1000.0, 0.0], [1.0, 0.0])  # fmt: skip
_edge("log(1 / (1 + exp(-x))) at -800", lambda n, x: n.sum(n.log(1 / (1 + n.exp(-x)))), [-800.0], [1.0])  # fmt: skip
_edge("log(exp(x) / sum(exp(x))) at ±500", lambda n, x: n.log(n.exp(x) / n.sum(n.exp(x)))[1], [500.0, -500.0], [-1.0, 1.0])  # fmt: skip
_edge("tanh at 800", lambda n, x: n.sum(n.tanh(x)), [800.0, -800.0], [0.0, 0.0])
_edge("diag of a (2, 3)", lambda n, x: n.sum(n.diag(x)), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0, 0, 0], [0, 1.0, 0]])  # fmt: skip
_edge("sort of a (2, 2)", lambda n, x: n.sum(n.sort(x) * np.array([[1.0, 2.0], [3.0, 4.0]])), [[2.0, 1.0], [0.0, 5.0]], [[2.0, 1.0], [3.0, 4.0]])  # fmt: skip
_edge("broadcast_to with new leading axes", lambda n, x: n.sum(n.broadcast_to(x, (4, 3))), [1.0, 2.0, 3.0], [4.0, 4.0, 4.0])  # fmt: skip
_edge(
    "x[[0, 0, 1]]", lambda n, x: n.sum(x[np.array([0, 0, 1])]), [1.0, 2.0], [2.0, 1.0]
)
_edge("repeat with counts", lambda n, x: n.sum(n.repeat(x, np.array([3, 1]))), [1.0, 2.0], [3.0, 1.0])  # fmt: skip
_edge("pad by reflection", lambda n, x: n.sum(n.pad(x, 1, mode="reflect")), [1.0, 2.0, 3.0], [1.0, 3.0, 1.0])  # fmt: skip
_edge("sum of nothing", lambda n, x: n.sum(x), [], [])
_edge(
    "mean in float32", lambda n, x: n.mean(x), [1.0, 2.0], [0.5, 0.5], None, np.float32
)
_edge("max(axis) in float32", lambda n, x: n.sum(n.max(x, axis=0)), [[1.0, 2.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, 1.0]], None, np.float32)  # fmt: skip
_edge(
    "std in float32", lambda n, x: n.std(x), [1.0, 3.0], [-0.5, 0.5], None, np.float32
)
_edge("det of a singular matrix", lambda n, x: n.linalg.det(x), [[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]])  # fmt: skip
_edge("eigvalsh of the identity, summed", lambda n, x: n.sum(n.linalg.eigvalsh(x)), [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])  # fmt: skip
_edge("matrix @ vector", lambda n, x: n.sum(np.array([[1.0, 2.0], [3.0, 4.0]]) @ x), [1.0, 1.0], [4.0, 6.0])  # fmt: skip
_edge(
    "nanmean with a nan", lambda n, x: n.nanmean(x), [1.0, np.nan, 3.0], [0.5, 0.0, 0.5]
)
_edge("median of four", lambda n, x: n.median(x), [4.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.5, 0.5])  # fmt: skip


def judged_at(library: str, edge: Edge) -> str:
    """Return the verdict on one edge."""
    x = np.array(edge.at, edge.dtype)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            slope = _slope(library, edge, x)
    except Exception as error:  # noqa: BLE001 (whatever it raises, it is no number)
        return f"refused: {type(error).__name__}: {str(error)[:60]}"
    del told
    if slope is None:
        return "wrong: no gradient"
    slope = np.asarray(slope)
    if slope.shape != x.shape:
        return f"wrong: shape {slope.shape} for {x.shape}"
    if slope.dtype != edge.dtype:
        return f"wrong: {slope.dtype} for {np.dtype(edge.dtype)}"
    slack = 1e-6
    inside = (slope >= np.asarray(edge.least) - slack) & (
        slope <= np.asarray(edge.most) + slack
    )
    return "right" if inside.all() else f"wrong: {slope.tolist()}"


def _slope(library: str, edge: Edge, x: np.ndarray) -> Any:
    if library == "tinygrad_nn":
        import tinygrad_nn as tg

        tensor = tg.Tensor(x, requires_grad=True)
        edge.call(np, tensor).backward()
        return tensor.grad
    if library == "autograd":
        import autograd
        import autograd.numpy as anp

        return autograd.grad(lambda y: edge.call(anp, y))(x if x.ndim else x.item())
    import mygrad

    tensor = mygrad.tensor(x)
    edge.call(_EitherNamespace(mygrad), tensor).backward()
    return tensor.grad


class _EitherNamespace:
    """A function of MyGrad where it has one, and else NumPy's."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name, None) or getattr(np, name)


# --- the report ----------------------------------------------------------------------


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page to write")
    parser.add_argument("--verbose", action="store_true", help="tell every shortfall")
    options = parser.parse_args()
    check_the_list()
    slopes = [differences(case) for case in CASES]
    for case, found in zip(CASES, slopes, strict=True):
        if not any(np.any(np.abs(s) > 1e-9) for s in found):
            sys.exit(f"{case.name}: the list calls it differentiable; it has no slope")
    names = sorted({case.name for case in CASES})
    verdicts = {
        library: [judged(answer, *pair) for pair in zip(CASES, slopes, strict=True)]
        for library, answer in LIBRARIES.items()
    }
    edges = {lib: [judged_at(lib, edge) for edge in EDGES] for lib in LIBRARIES}
    text = page(names, verdicts, edges)
    if options.write:
        options.write.write_text(text, "utf-8")
    print(text)
    if options.verbose:
        for library, found in verdicts.items():
            for case, verdict in zip(CASES, found, strict=True):
                if verdict != "right":
                    print(f"{library:12} {case.name:24} {verdict}")


def _by_function(names: list[str], found: list[str]) -> dict[str, int]:
    """Count functions: a function is wrong if one of its cases is, and so on."""
    counts = {"right": 0, "refused": 0, "wrong": 0}
    for name in names:
        kinds = {
            verdict.partition(":")[0]
            for case, verdict in zip(CASES, found, strict=True)
            if case.name == name
        }
        worst = next(k for k in ("wrong", "right", "refused") if k in kinds)
        counts[worst] += 1
    return counts


def _row(title: str, counts: dict[str, int]) -> str:
    return f"| {title} | {counts['right']} | {counts['refused']} | {counts['wrong']} |"


def page(
    names: list[str], verdicts: dict[str, list[str]], edges: dict[str, list[str]]
) -> str:
    """Return the tables as text."""
    groups: dict[str, list[str]] = {}
    for name, reason in GROUPS.items():
        groups.setdefault(reason, []).append(name)
    lines = [
        "# What differentiates",
        "",
        "Written by `tests/benchmarks/coverage.py`, which says how the list was drawn up",
        (
            "and how a gradient is judged. Of the "
            f"{len(names) + len(GROUPS)} public callables of `numpy` and `numpy.linalg`"
        ),
        (
            f"(NumPy {np.__version__}), {len(names)} are differentiable; they are called in "
            f"{len(CASES)} ways."
        ),
        "",
        "## Functions",
        "",
        "A function counts as wrong if one way to call it is, as refused if every way is.",
        "",
        "| | right | refused | silently wrong |",
        "|---|---|---|---|",
    ]
    lines += [_row(lib, _by_function(names, found)) for lib, found in verdicts.items()]
    lines += ["", "## Ways to call them", "", "| | right | refused | silently wrong |"]
    lines.append("|---|---|---|---|")
    for library, found in verdicts.items():
        kinds = [verdict.partition(":")[0] for verdict in found]
        lines.append(_row(library, {k: kinds.count(k) for k in ("right", "refused", "wrong")}))  # fmt: skip
    lines += ["", "## Edges", "", "| | " + " | ".join(LIBRARIES) + " |"]
    lines.append("|---|" + "---|" * len(LIBRARIES))
    for i, edge in enumerate(EDGES):
        cells = [edges[lib][i].replace("|", "¦") for lib in LIBRARIES]
        lines.append(f"| {edge.name} | " + " | ".join(cells) + " |")
    totals = [
        f"{sum(v == 'right' for v in edges[lib])} of {len(EDGES)}" for lib in LIBRARIES
    ]
    lines.append("| **right** | " + " | ".join(totals) + " |")
    lines += ["", "## What is refused here", ""]
    refused = [
        f"- `np.{case.name}`: {verdict}"
        for case, verdict in zip(CASES, verdicts["tinygrad_nn"], strict=True)
        if verdict.startswith("refused")
    ]
    lines += refused or ["Nothing of the list."]
    lines += ["", "## What is not differentiable, and why", ""]
    lines += [
        f"- {reason}: " + ", ".join(f"`{n}`" for n in sorted(found))
        for reason, found in groups.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
