"""The matrix products that NumPy itself uses, as addresses that C code can call.

NumPy comes with a BLAS, mostly OpenBLAS, and has loaded it already. Generated C calls
the same functions through pointers: nothing is linked, no second pool of threads is
started, and both sides of a comparison multiply with the same kernels.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Blas", "find_blas"]

# NumPy's module that multiplies. Asked for a symbol, the loader also looks through the
# libraries that it depends on, under whatever names they lie.
NUMPY_MODULES = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
# How a function is spelt, and how wide its integers are: OpenBLAS of NumPy's wheels,
# the same with another build, Accelerate of macOS 13.3, and every other CBLAS.
SPELLINGS = (
    ("scipy_cblas_{}64_", 64),
    ("cblas_{}64_", 64),
    ("cblas_{}$NEWLAPACK$ILP64", 64),
    ("scipy_cblas_{}", 32),
    ("cblas_{}", 32),
)
SYSTEM_LIBRARIES = ("openblas", "cblas", "blas", "Accelerate")
# From <cblas.h>.
ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112


@dataclass(frozen=True)
class Blas:
    """Where the matrix products of a BLAS are, in this process.

    All are called as ``<cblas.h>`` declares them, with integers of `integer_bits`.

    Attributes
    ----------
    name : str
        What the library says of itself, with the kernels that it chose, or where it
        was found.
    integer_bits : int
        64 or 32: the width of every size and stride (not of the first, enumerated
        arguments, which are C ints).
    sgemm, dgemm : int
        Addresses of the product of two matrices, float32 and float64.
    sgemv, dgemv : int
        Addresses of the product of a matrix and a vector.
    counter : int
        Address of the function that says how many threads it uses, or 0.
    """

    name: str
    integer_bits: int
    sgemm: int
    dgemm: int
    sgemv: int
    dgemv: int
    counter: int = 0

    @property
    def threads(self) -> int | None:
        """On how many threads it multiplies now; None where it does not say."""
        if not self.counter:
            return None
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(self.counter)())


@functools.cache
def find_blas() -> Blas | None:
    """Return NumPy's own BLAS, else one of the system, else None.

    Examples
    --------
    >>> blas = find_blas()
    >>> blas is None or blas.integer_bits in (32, 64)
    True
    """
    for place, library in _libraries():
        for spelling, bits in SPELLINGS:
            blas = _read(library, place, spelling, bits)
            if blas is not None and _multiplies(blas):
                return blas
    return None


def _libraries() -> Iterator[tuple[str, ctypes.CDLL]]:
    """Yield the libraries that may hold a BLAS, NumPy's first, with their places."""
    for path in _paths():
        with suppress(OSError):
            yield path, ctypes.CDLL(path)


def _paths() -> Iterator[str]:
    """Yield the paths of these libraries; the system's are looked up only at need."""
    for name in NUMPY_MODULES:
        with suppress(ImportError):
            module = importlib.util.find_spec(name)
            if module is not None and module.origin is not None:
                yield module.origin
                # Where the loader does not look through dependencies (Windows).
                site = Path(module.origin).parents[2]
                yield from map(str, sorted(site.glob("numpy.libs/*openblas*")))
    for name in SYSTEM_LIBRARIES:
        found = ctypes.util.find_library(name)
        if found is not None:
            yield found


def _read(library: ctypes.CDLL, place: str, spelling: str, bits: int) -> Blas | None:
    """Look the functions up under one spelling; None unless all are there."""
    addresses = {}
    for name in ("sgemm", "dgemm", "sgemv", "dgemv"):
        address = _address(library, spelling.format(name))
        if address is None:
            return None
        addresses[name] = address
    said = _says(library, spelling, "get_config")
    if "USE64BITINT" in said:  # a library of 64 bits without a suffix
        bits = 64
    core = _says(library, spelling, "get_corename")
    # The configuration ends with the core and threads that the library was built for,
    # not those that it chose: only name and version are taken from it.
    name = " ".join([*said.split()[:2], core]).strip()
    counter = spelling.replace("cblas_{}", "openblas_get_num_threads")
    addresses["counter"] = _address(library, counter) or 0
    return Blas(name or place, bits, **addresses)


def _address(library: ctypes.CDLL, symbol: str) -> int | None:
    """Return the address of a function, or None."""
    function = getattr(library, symbol, None)
    return ctypes.cast(function, ctypes.c_void_p).value if function else None


def _says(library: ctypes.CDLL, spelling: str, question: str) -> str:
    """Return the answer of OpenBLAS to a question about itself, or nothing."""
    symbol = spelling.replace("cblas_{}", f"openblas_{question}")
    function = getattr(library, symbol, None)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    answer: bytes | None = function()
    return (answer or b"").decode(errors="replace")


def _multiplies(blas: Blas) -> bool:
    """Multiply a small matrix: the arguments must be what they are taken for.

    A library that reads them otherwise leaves the result as it was, or wrong.
    """
    integer = ctypes.c_int64 if blas.integer_bits == 64 else ctypes.c_int32
    kinds = ((blas.sgemm, ctypes.c_float), (blas.dgemm, ctypes.c_double))
    for address, kind in kinds:
        pointer = ctypes.POINTER(kind)
        sizes, sides = (integer, integer, integer), (pointer, integer)
        arguments = (*(ctypes.c_int,) * 3, *sizes, kind, *sides, *sides, kind, *sides)
        gemm = ctypes.CFUNCTYPE(None, *arguments)(address)
        A, C = (kind * 4)(1, 2, 3, 4), (kind * 4)()
        gemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, 2, 2, 2, 1, A, 2, A, 2, 0, C, 2)
        if list(C) != [5, 11, 11, 25]:
            return False
    return True
