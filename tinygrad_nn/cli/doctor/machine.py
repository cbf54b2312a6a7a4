"""Probes of Python, NumPy, the processor, and the library that multiplies matrices."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_nn.cli.doctor.findings import Deadline, Finding, absent, answer, look
from tinygrad_nn.cli.doctor.rates import blas_in_use

__all__ = ["blas", "cores", "glibc", "load", "python_and_numpy", "quota"]

MISSING = "(it needs threadpoolctl: pip install 'tinygrad_nn[train]')"
UNKNOWN = "(threadpoolctl does not know this BLAS)"

CONTROL_GROUPS = Path("/sys/fs/cgroup")

BLAS_NAMES = ("openblas", "mkl", "blis", "accelerate", "nvpl")


def python_and_numpy(deadline: Deadline) -> list[Finding]:
    """Find out what runs here, and on what."""
    return [
        look("Python", _python),
        look("system", _system),
        look("NumPy", lambda: Finding("NumPy", np.__version__, np.__version__)),
        look("processor", lambda: _processor(deadline)),
        look("cores", _cores),
        look("instructions", _instructions),
    ]


def _python() -> Finding:
    kind, version = platform.python_implementation(), platform.python_version()
    return Finding("Python", f"{kind} {version}, {sys.executable}", version)


def _system() -> Finding:
    library = _c_library()
    name = f"{platform.system()} {platform.release()} {platform.machine()}"
    text = f"{name}, {library}" if library else name
    return Finding("system", text, text)


def _c_library() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None


def glibc() -> bool:
    """Whether the C library is glibc, whose allocator listens to the environment."""
    return (_c_library() or "").startswith("glibc")


def _processor(deadline: Deadline) -> Finding:
    name = ""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = answer(command, deadline.left(1.0))
    elif Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
        models = [line for line in lines if line.lower().startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else ""
    name = name or platform.processor() or platform.machine()
    return Finding("processor", name, name) if name else absent("processor")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(groups: Path = CONTROL_GROUPS) -> float | None:
    """Return the cores' worth of time that a container may use, None if unlimited."""
    try:
        limit, period = (groups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (groups / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (groups / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        share = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def load() -> float:
    """Return how many processes wanted a core in the last minute; 0 if unknown."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def _cores() -> Finding:
    usable, whole, share = cores(), os.cpu_count(), quota()
    text = f"{usable}" if usable == whole else f"{usable} of {whole}"
    if share is not None:
        text += f", of which a control group grants the time of {share:g}"
    return Finding("cores", text, {"usable": usable, "all": whole, "quota": share})


def _instructions() -> Finding:
    """Return the instruction sets that NumPy was built for and finds here."""
    configuration: Any = np.show_config(mode="dicts")
    sets: dict[str, list[str]] = configuration["SIMD Extensions"]
    parts = [
        f"{words} {' '.join(sets[key])}"
        for words, key in (
            ("always", "baseline"),
            ("used here", "found"),
            ("not in this processor", "not found"),
        )
        if sets.get(key)
    ]
    return Finding("instructions", "; ".join(parts), sets)


# --- the library that multiplies matrices ---


def blas(pool: dict[str, Any] | None = None) -> list[Finding]:
    """Find out which BLAS NumPy uses, with which kernels, on how many threads.

    ``pool`` is what threadpoolctl says, unless it is asked now. The value of the
    first finding is the name, one of `BLAS_NAMES` where it can be recognised.
    """
    pool = blas_in_use() if pool is None else pool
    if pool is None:
        why = UNKNOWN if _is_importable("threadpoolctl") else MISSING
        return [
            look("name", _blas_built_for),
            absent("kernel", why),
            absent("threads", why),
        ]
    named = look("name", lambda: _blas_loaded(pool))
    threads = pool.get("num_threads")
    layer = f" ({pool['threading_layer']})" if pool.get("threading_layer") else ""
    kernel = pool.get("architecture")
    return [
        named,
        Finding("kernel", kernel, kernel) if kernel else absent("kernel"),
        Finding("threads", f"{threads}{layer}", threads),
        Finding("file", str(pool.get("filepath")), pool.get("filepath")),
    ]


def _is_importable(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def _blas_loaded(pool: dict[str, Any]) -> Finding:
    name = str(pool["internal_api"])
    text = f"{name} {pool.get('version') or 'of unknown version'}"
    return Finding("name", text, _recognised(name))


def _blas_built_for() -> Finding:
    configuration: Any = np.show_config(mode="dicts")
    built = configuration["Build Dependencies"]["blas"]
    text = f"{built['name']} {built['version']}, as NumPy was built"
    return Finding("name", text, _recognised(built["name"]))


def _recognised(name: str, names: Sequence[str] = BLAS_NAMES) -> str:
    """Return the name that settings go by.

    >>> _recognised("scipy-openblas"), _recognised("flexiblas")
    ('openblas', 'flexiblas')
    """
    return next((known for known in names if known in name.lower()), name)
