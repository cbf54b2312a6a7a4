"""Settings that are forced on NumPy and its libraries by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

from tinygrad_nn.cli.doctor.findings import Finding

__all__ = ["Forced", "findings", "forced", "matters"]

Kind = Literal["kernels", "threads", "elementwise", "memory", "other"]

THREADS = "the number of threads of a product"
KERNELS = "the CPU whose kernels are used: those of an older one are slower"
ALLOCATOR = "how the C library keeps freed memory (glibc)"
PINNED = "the cores that threads may run on"

MEANINGS: dict[str, tuple[Kind, str]] = {
    "OPENBLAS_CORETYPE": ("kernels", KERNELS),
    "OPENBLAS_L2_SIZE": ("kernels", "the L2 cache, in KiB, that blocks are cut for"),
    "OPENBLAS_NUM_THREADS": ("threads", THREADS),
    "OPENBLAS_DEFAULT_NUM_THREADS": ("threads", THREADS),
    "OPENBLAS_THREAD_TIMEOUT": ("threads", "how long idle threads spin, as 2^value"),
    "OPENBLAS_BLOCK_FACTOR": ("kernels", "the size of the blocks of a product"),
    "OPENBLAS_VERBOSE": ("other", "how much OpenBLAS says of itself"),
    "GOTO_NUM_THREADS": ("threads", THREADS),
    "OMP_NUM_THREADS": ("threads", f"{THREADS}, and of every OpenMP loop"),
    "OMP_DYNAMIC": ("threads", "whether OpenMP may take fewer threads"),
    "OMP_WAIT_POLICY": ("threads", "whether idle threads spin (active) or sleep"),
    "OMP_PROC_BIND": ("threads", PINNED),
    "OMP_PLACES": ("threads", PINNED),
    "GOMP_CPU_AFFINITY": ("threads", PINNED),
    "KMP_AFFINITY": ("threads", PINNED),
    "KMP_BLOCKTIME": ("threads", "how long idle threads spin, in milliseconds"),
    "MKL_NUM_THREADS": ("threads", THREADS),
    "MKL_DYNAMIC": ("threads", "whether MKL may take fewer threads"),
    "MKL_THREADING_LAYER": ("threads", "the threads that MKL runs on"),
    "MKL_DEBUG_CPU_TYPE": ("kernels", KERNELS),
    "MKL_ENABLE_INSTRUCTIONS": ("kernels", KERNELS),
    "MKL_CBWR": ("kernels", "the same bits on every CPU, by slower kernels"),
    "BLIS_NUM_THREADS": ("threads", THREADS),
    "BLIS_ARCH_TYPE": ("kernels", KERNELS),
    "VECLIB_MAXIMUM_THREADS": ("threads", THREADS),
    "NVPL_BLAS_DEBUG_CPU_TYPE": ("kernels", KERNELS),
    "NPY_DISABLE_CPU_FEATURES": ("elementwise", "instructions NumPy must do without"),
    "NPY_ENABLE_CPU_FEATURES": ("elementwise", "the only instructions NumPy may use"),
    "NUMPY_MADVISE_HUGEPAGE": ("memory", "whether large arrays ask for large pages"),
    "MALLOC_TRIM_THRESHOLD_": ("memory", ALLOCATOR),
    "MALLOC_MMAP_THRESHOLD_": ("memory", ALLOCATOR),
    "MALLOC_MMAP_MAX_": ("memory", ALLOCATOR),
    "MALLOC_TOP_PAD_": ("memory", ALLOCATOR),
    "MALLOC_ARENA_MAX": ("memory", "the number of heaps (glibc)"),
    "MALLOC_PERTURB_": ("memory", "fills memory at every malloc and free (glibc)"),
    "MALLOC_CHECK_": ("memory", "checks memory at every malloc and free (glibc)"),
    "GLIBC_TUNABLES": ("memory", "settings of the C library"),
    "LD_PRELOAD": ("other", "loads a library before all others"),
    "DYLD_INSERT_LIBRARIES": ("other", "loads a library before all others"),
    "XLA_FLAGS": ("other", "settings of JAX's compiler"),
    "JAX_PLATFORMS": ("other", "the devices that JAX may use"),
    "CUDA_VISIBLE_DEVICES": ("other", "the GPUs that may be used"),
}
"""What each does, and the work that it may slow down."""

FAMILIES: dict[str, tuple[Kind, str, str]] = {
    "OPENBLAS_": ("kernels", "a setting of OpenBLAS", "openblas"),
    "GOTO_": ("kernels", "a setting of OpenBLAS", "openblas"),
    "MKL_": ("kernels", "a setting of MKL", "mkl"),
    "BLIS_": ("kernels", "a setting of BLIS", "blis"),
    "VECLIB_": ("kernels", "a setting of Accelerate", "accelerate"),
    "NVPL_BLAS_": ("kernels", "a setting of NVIDIA's BLAS for Arm", "nvpl"),
    "OMP_": ("threads", "a setting of OpenMP", ""),
    "GOMP_": ("threads", "a setting of GNU OpenMP", ""),
    "KMP_": ("threads", "a setting of LLVM's and Intel's OpenMP", ""),
    "NPY_": ("elementwise", "a setting of NumPy", ""),
    "NUMPY_": ("elementwise", "a setting of NumPy", ""),
    "MALLOC_": ("memory", ALLOCATOR, ""),
}
"""Settings without a line of their own, by how they begin; whose they are."""


@final
@dataclass(frozen=True)
class Forced:
    """A variable of the environment, what it does, and to whom (empty: to all)."""

    name: str
    value: str
    kind: Kind
    meaning: str
    owner: str


def forced(environment: Mapping[str, str]) -> list[Forced]:
    """Return the settings in an environment, in the order of their names.

    >>> [(item.name, item.owner) for item in forced({"MKL_CBWR": "AVX", "HOME": "/"})]
    [('MKL_CBWR', 'mkl')]
    """
    found = []
    for name in sorted(environment):
        families = [f for start, f in FAMILIES.items() if name.startswith(start)]
        if name not in MEANINGS and not families:
            continue
        kind, meaning = MEANINGS.get(name) or families[0][:2]
        owner = families[0][2] if families else ""
        found.append(Forced(name, environment[name], kind, meaning, owner))
    return found


def matters(item: Forced, blas: str | None) -> bool:
    """Whether a setting can make a difference to the BLAS that is in use.

    >>> mkl, = forced({"MKL_CBWR": "AVX"})
    >>> matters(mkl, "openblas"), matters(mkl, "mkl"), matters(mkl, None)
    (False, True, True)
    """
    return not item.owner or blas is None or item.owner == blas


def findings(items: list[Forced], blas: str | None) -> list[Finding]:
    """Say what is forced, and what each setting does."""
    return [
        Finding(
            item.name,
            f"{item.value or 'empty'}: {item.meaning}"
            f"{'' if matters(item, blas) else ' (of another BLAS than is used here)'}",
            {"value": item.value, "meaning": item.meaning},
        )
        for item in items
    ]
