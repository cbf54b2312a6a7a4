"""Laws of the C toolchain: numbers keep their meaning, files are complete or absent."""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import mpmath
import numpy as np
import pytest

from tinygrad_nn.compiler import toolchain
from tinygrad_nn.compiler.blas import find_blas
from tinygrad_nn.compiler.toolchain import build, cache_directory, find_compiler
from tinygrad_nn.errors import CompileError, MissingExtraError

FUNCTIONS = ("exp", "log", "tanh", "log1p", "expm1", "sin", "cos", "sqrt")
# Every function over arrays of both kinds, in loops that the compiler vectorises.
LOOPS = "#include <math.h>\n" + "\n".join(
    f"void {kind}_{name}(long n, const {kind} *restrict x, {kind} *restrict y)\n"
    f"{{ for (long i = 0; i < n; i++) y[i] = {name}{'f' * (kind == 'float')}(x[i]); }}"
    for name in FUNCTIONS
    for kind in ("float", "double")
)
MEANING = """
#include <math.h>
int is_nan(double x) { return isnan(x) != 0; }
int is_inf(double x) { return isinf(x) != 0; }
int differs_from_itself(double x) { return x != x; }
void relu(long n, const double *restrict x, double *restrict y)
{ for (long i = 0; i < n; i++) y[i] = x[i] <= 0 ? 0 : x[i]; }
void literal(long n, const double *restrict x, double *restrict y)
{ for (long i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0; }
void add_zero(long n, const double *restrict x, double *restrict y)
{ for (long i = 0; i < n; i++) y[i] = x[i] + 0.0; }
void times_zero(long n, const double *restrict x, double *restrict y)
{ for (long i = 0; i < n; i++) y[i] = x[i] * 0.0; }
double in_order(long n, const double *restrict x)
{ double total = 0; for (long i = 0; i < n; i++) total += x[i]; return total; }
double in_lanes(long n, const double *restrict x)
{
    double total = 0;
    #pragma omp simd reduction(+: total)
    for (long i = 0; i < n; i++) total += x[i];
    return total;
}
"""
KINDS = {"float": np.float32, "double": np.float64}
ANSWER = "int answer(void) { return 42; }"

needs_compiler = pytest.mark.skipif(
    all(shutil.which(name) is None for name in toolchain.CANDIDATES),
    reason="no C compiler on this machine",
)
needs_shell = pytest.mark.skipif(os.name != "posix", reason="the compiler is a script")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what a test builds in a directory of its own, by the usual compilers."""
    monkeypatch.setenv("TINYGRAD_NN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    """Build the loops over functions once for all laws about them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TINYGRAD_NN_CACHE", str(tmp_path_factory.mktemp("loops")))
        monkeypatch.delenv("CC", raising=False)
        return build(LOOPS)


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Make a compiler that notes its calls and may refuse some, and be its first user."""

    def make(refuses="no-such-argument"):
        script, log = tmp_path / "compiler", tmp_path / "calls"
        real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        script.write_text(
            f"#!/bin/sh\necho \"$@\" >> '{log}'\n"
            f"case \" $* \" in *' {refuses} '*) echo refused >&2; exit 1;; esac\n"
            f'exec {real} "$@"\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
        return lambda: sum("-shared" in line for line in log.read_text().splitlines())

    return make


def mapped(function, x):
    """Return what a loop of C makes of an array."""
    x = np.ascontiguousarray(x)
    y = np.empty_like(x)
    function(ctypes.c_long(x.size), *(ctypes.c_void_p(a.ctypes.data) for a in (x, y)))
    return y


def same(a, b):
    """Say whether arrays hold the same numbers, nan and the signs of zeros included."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(
        np.signbit(a)[~np.isnan(a)], np.signbit(b)[~np.isnan(b)]
    )


def libraries(folder):
    return sorted(folder.glob("*.so"))


def run(text, **environment):
    """Start a Python of its own on a text that knows the toolchain."""
    return subprocess.Popen(
        [sys.executable, "-c", "from tinygrad_nn.compiler.toolchain import *\n" + text],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_vector_functions_are_within_four_ulp(name, kind, loops, rng):
    """A vectorised function is at most 4 units in the last place from the truth."""
    x = np.concatenate([rng.normal(size=300) * 3, rng.normal(size=100) * 1e-3])
    x = np.abs(x) if name in {"log", "sqrt", "log1p"} else x
    x = x.astype(KINDS[kind])
    found = mapped(loops[f"{kind}_{name}"], x)
    with mpmath.workprec(200):
        truth = [getattr(mpmath, name)(mpmath.mpf(float(value))) for value in x]
        spacing = np.spacing(np.abs(np.array(truth, dtype=x.dtype))).astype(float)
        errors = [
            abs(mpmath.mpf(float(a)) - b) / c
            for a, b, c in zip(found, truth, spacing, strict=True)
        ]
    assert max(errors) <= 4


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_vector_functions_keep_nan_inf_zeros_and_denormals(name, kind, loops):
    """At nan, infinities, zeros, denormals and outside of its domain, C is NumPy."""
    dtype = KINDS[kind]
    tiny = np.finfo(dtype).smallest_subnormal
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -1, tiny, -tiny] * 4, dtype)
    found = mapped(loops[f"{kind}_{name}"], special)
    with np.errstate(all="ignore"):
        truth = getattr(np, name)(special)
    finite = np.isfinite(truth) & (truth != 0) & (np.abs(truth) > 1e-30)
    np.testing.assert_allclose(found[finite], truth[finite], rtol=1e-6)
    assert same(found[~finite], truth[~finite])


@needs_compiler
@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="vector functions come with glibc on x86-64",
)
def test_loops_call_the_vector_functions(cache):
    """A loop over exp, log or sin calls a function of many numbers, not of one."""
    build(LOOPS)
    (library,) = libraries(cache)
    content = library.read_bytes()
    for name in ("exp", "log", "sin"):
        assert any(f"v_{name}{end}\0".encode() in content for end in ("", "f")), name


@needs_compiler
def test_comparisons_mean_what_they_say():
    """Comparisons with nan are false, isnan sees it, x <= 0 ? 0 : x lets it through."""
    library = build(MEANING)
    asked = (library.is_nan, library.is_inf, library.differs_from_itself)
    numbers = [ctypes.c_double(x) for x in (np.nan, np.inf, 1.0)]
    answers = [tuple(function(x) for function in asked) for x in numbers]
    assert answers == [(1, 0, 1), (0, 1, 0), (0, 0, 0)]
    x = np.array([np.nan, -1.0, 2.0, -np.inf, np.inf] * 5)
    relu = np.array([np.nan, 0.0, 2.0, 0.0, np.inf] * 5)
    assert same(mapped(library["relu"], x), relu)
    literal = np.array([0.0, 0.0, 2.0, 0.0, np.inf] * 5)
    assert same(mapped(library["literal"], x), literal)


@needs_compiler
def test_zeros_keep_their_signs_and_poison():
    """-0 + 0 is 0, -1 * 0 is -0 and nan * 0 is nan: nothing is folded as in algebra."""
    library = build(MEANING)
    x = np.array([-0.0, 0.0, -1.0, np.nan, np.inf] * 5)
    with np.errstate(invalid="ignore"):
        assert same(mapped(library["add_zero"], x), x + 0.0)
        assert same(mapped(library["times_zero"], x), x * 0.0)


@needs_compiler
def test_sums_are_reordered_only_where_the_loop_says_so(rng):
    """A plain sum is taken from left to right; a reduction is close and differs."""
    library = build(MEANING)
    x = rng.normal(size=10_001)
    totals = []
    for total in (library.in_order, library.in_lanes):
        total.restype = ctypes.c_double
        totals.append(total(ctypes.c_long(x.size), ctypes.c_void_p(x.ctypes.data)))
    assert totals[0] == np.add.accumulate(x)[-1]
    assert totals[1] == pytest.approx(totals[0], rel=1e-10)
    assert totals[1] != totals[0]


@needs_compiler
def test_denormals_survive_a_library_being_loaded():
    """No thread flushes denormal numbers to zero once a library is loaded."""
    text = (
        "import threading, numpy as np\n"
        "build('double half(double x) { return x / 2; }')\n"
        "halves = []\n"
        "halve = lambda: halves.append(float((np.full(9, 1e-310) * 0.5)[3]))\n"
        "halve()\n"
        "thread = threading.Thread(target=halve)\n"
        "thread.start(); thread.join()\n"
        "print(halves)"
    )
    output, errors = run(text).communicate()
    assert output.split() == ["[5e-311,", "5e-311]"], errors


@needs_compiler
@needs_shell
def test_a_source_is_compiled_once(scripted):
    """The second build of a source calls no compiler, that of another source does."""
    compilations = scripted()
    assert build(ANSWER).answer() == 42
    assert build(ANSWER).answer() == 42
    assert compilations() == 1
    assert build(ANSWER.replace("42", "43")).answer() == 43
    assert compilations() == 2


@needs_compiler
@needs_shell
def test_another_compiler_has_libraries_of_its_own(scripted, cache):
    """A library that one compiler built is not taken for that of another."""
    build(ANSWER)
    compilations = scripted()
    build(ANSWER)
    assert compilations() == 1
    assert len(libraries(cache)) == 2


@needs_compiler
@needs_shell
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"junk" * 1000,
        lambda content: content[:5000] + b"\1" + content[5001:],
    ],
    ids=["empty", "half", "last byte", "junk", "one byte"],
)
def test_a_damaged_library_is_built_again(damage, scripted, cache):
    """A file that is not what was built is neither loaded nor kept."""
    compilations = scripted()
    build(ANSWER)
    (library,) = libraries(cache)
    content = library.read_bytes()
    library.unlink()  # what is loaded keeps the old file; a new one takes its name
    library.write_bytes(damage(content))
    assert build(ANSWER).answer() == 42
    assert compilations() == 2
    (library,) = libraries(cache)
    assert library.read_bytes() != damage(content)
    build(ANSWER)
    assert compilations() == 2


@needs_compiler
def test_processes_that_build_the_same_do_not_disturb_each_other(cache):
    """Five processes on an empty cache all get the library and leave only finished files."""
    text = f"print(build({ANSWER!r}).answer())"
    processes = [run(text) for _ in range(5)]
    for process in processes:
        output, errors = process.communicate()
        assert (output.strip(), process.returncode) == ("42", 0), errors
    assert {path.suffix for path in cache.iterdir()} == {".so", ".c"}
    assert all(path.is_file() for path in cache.iterdir())


@needs_compiler
def test_threads_that_build_the_same_do_not_disturb_each_other():
    """Threads of one process get a library each time."""
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(build(ANSWER).answer()))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 5


@needs_compiler
def test_the_cache_is_private(cache):
    """The directory is made for its owner alone: programs are loaded from it."""
    build(ANSWER)
    assert os.name != "posix" or cache.stat().st_mode & 0o077 == 0


@needs_compiler
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    """Where the directory cannot be, a temporary one serves, which goes with its process."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_NN_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    text = f"print(build({ANSWER!r}).answer())"
    output, errors = run(text).communicate()
    assert output.strip() == "42", errors
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@needs_compiler
def test_a_directory_that_refuses_programs_is_done_without(cache, monkeypatch):
    """Where the loader refuses the cache (mounted noexec), another directory serves."""
    loader = ctypes.CDLL

    def refuse(path):
        if Path(path).is_relative_to(cache):
            raise OSError("failed to map segment from shared object")
        return loader(path)

    monkeypatch.setattr(toolchain.ctypes, "CDLL", refuse)
    assert build(ANSWER).answer() == 42


@needs_compiler
def test_what_never_loads_is_said():
    """A library that misses a function is refused in one of our errors."""
    source = "int nowhere(void); int (*keep)(void) = nowhere;"
    with pytest.raises(CompileError, match="nowhere"):
        build(source)


def test_the_cache_follows_its_variables(tmp_path, monkeypatch):
    """TINYGRAD_NN_CACHE comes before XDG_CACHE_HOME, and that before the home."""
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("TINYGRAD_NN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "tinygrad_nn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "tinygrad_nn"


def test_no_compiler_is_said_with_what_to_install(tmp_path, monkeypatch):
    """Without a compiler the error names what was tried, and what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"cc, gcc, clang.*Install"):
        build(ANSWER)
    monkeypatch.setenv("CC", "/no/such/compiler -O2")
    with pytest.raises(MissingExtraError, match="CC=/no/such/compiler -O2"):
        build(ANSWER)


@needs_compiler
def test_a_compiler_may_be_named_with_arguments(monkeypatch):
    """CC may hold arguments, and they are used."""
    monkeypatch.setenv("CC", f"{shutil.which('cc')} -DVALUE=7")
    assert build("int answer(void) { return VALUE; }").answer() == 7


@needs_compiler
def test_a_refused_source_is_kept_with_the_words_of_the_compiler(cache):
    """The error quotes the compiler and names a file that holds the source."""
    source = "int answer(void) { return missing_name; }"
    with pytest.raises(CompileError, match="missing_name") as caught:
        build(source)
    (kept,) = cache.iterdir()
    assert str(kept) in str(caught.value)
    assert kept.read_text() == source
    assert kept.suffix == ".c"


@needs_compiler
def test_a_refused_source_outlives_a_temporary_directory(tmp_path, monkeypatch):
    """The file that the error names is there after the process, whatever the cache."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_NN_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, errors = run("build('int answer(void) { return missing_name; }')").communicate()
    (kept,) = tmp_path.glob("tinygrad_nn-*/refused-*.c")
    assert str(kept) in errors


@needs_compiler
@needs_shell
@pytest.mark.parametrize(
    "flag", ["-fopenmp-simd", "-march=native", "-mprefer-vector-width=512", "-fPIC"]
)
def test_an_unknown_flag_is_done_without(flag, scripted):
    """A compiler that refuses one flag is called with the others."""
    scripted(refuses=flag)
    flags = find_compiler().flags
    wanted = {*toolchain.REQUIRED_FLAGS, *toolchain.WANTED_FLAGS}
    assert wanted - {flag} <= set(flags)
    assert flag not in flags
    if flag != "-fPIC":
        assert build(ANSWER).answer() == 42


def test_no_flag_gives_up_the_meaning_of_numbers():
    """No flag allows the compiler to assume that there is no nan, inf or signed zero."""
    flags = {*toolchain.REQUIRED_FLAGS, *toolchain.WANTED_FLAGS, *toolchain.CLANG_FLAGS}
    assert not flags & {
        "-Ofast",
        "-ffast-math",
        "-ffinite-math-only",
        "-funsafe-math-optimizations",
        "-fassociative-math",
        "-fno-signed-zeros",
        "-freciprocal-math",
    }


blas = find_blas()
needs_blas = pytest.mark.skipif(blas is None, reason="no BLAS on this machine")


def integer():
    return ctypes.c_int64 if blas.integer_bits == 64 else ctypes.c_int32


@needs_blas
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("left", "right"), list(itertools.product([111, 112], repeat=2))
)
def test_gemm_is_the_product(left, right, dtype, rng):
    """The address of gemm multiplies as np.dot does, with every pair of transposes."""
    A, B = rng.normal(size=(5, 7)).astype(dtype), rng.normal(size=(7, 3)).astype(dtype)
    C = np.ones((5, 3), dtype)
    a = np.ascontiguousarray(A if left == 111 else A.T)
    b = np.ascontiguousarray(B if right == 111 else B.T)
    number, n = ctypes.c_float if dtype == np.float32 else ctypes.c_double, integer()
    side = (ctypes.c_void_p, n)
    gemm = ctypes.CFUNCTYPE(
        None, *(ctypes.c_int,) * 3, n, n, n, number, *side, *side, number, *side
    )(blas.sgemm if dtype == np.float32 else blas.dgemm)
    sides = (a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1], 2, C.ctypes.data, 3)
    gemm(101, left, right, 5, 3, 7, 0.5, *sides)
    np.testing.assert_allclose(
        C, 0.5 * np.dot(A, B) + 2, rtol=10 * np.finfo(dtype).eps, atol=1e-6
    )


@needs_blas
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose", [111, 112])
def test_gemv_is_the_product(transpose, dtype, rng):
    """The address of gemv multiplies a matrix and a vector as np.dot does."""
    A = rng.normal(size=(5, 7)).astype(dtype)
    product = A if transpose == 111 else A.T
    x, y = rng.normal(size=product.shape[1]).astype(dtype), np.zeros(9, dtype)
    number, n = ctypes.c_float if dtype == np.float32 else ctypes.c_double, integer()
    side = (ctypes.c_void_p, n)
    gemv = ctypes.CFUNCTYPE(
        None, ctypes.c_int, ctypes.c_int, n, n, number, *side, *side, number, *side
    )(blas.sgemv if dtype == np.float32 else blas.dgemv)
    sides = (A.ctypes.data, 7, x.ctypes.data, 1, 0, y.ctypes.data, 1)
    gemv(101, transpose, 5, 7, 1, *sides)
    rows = product.shape[0]
    np.testing.assert_allclose(y[:rows], product @ x, rtol=1e-5, atol=1e-6)
    assert not y[rows:].any()


@needs_blas
def test_the_blas_is_that_of_numpy():
    """The functions lie in a library that NumPy has loaded, not in a second one."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not say where libraries lie")
    text = "import numpy, pathlib; print(pathlib.Path('/proc/self/maps').read_text())"
    numpy_alone = subprocess.check_output([sys.executable, "-c", text], text=True)
    for address in (blas.sgemm, blas.dgemm, blas.sgemv, blas.dgemv):
        for line in maps.read_text().splitlines():
            low, high = (int(end, 16) for end in line.split()[0].split("-"))
            if low <= address < high:
                assert line.split()[-1] in numpy_alone
                break
        else:
            pytest.fail("the address lies nowhere")
