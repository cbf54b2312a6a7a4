"""The corpus is what it says: its bugs are wrong, its right gradients are right.

The witnesses are HIPS autograd, and JAX in the slow tests, which differentiate the same
functions by rules of their own. On a kink they are asked on both sides of it.
"""

from __future__ import annotations

import re

import corpus
import numpy as np
import pytest

from tinygrad_nn.check import check_gradients
from tinygrad_nn.errors import TinygradError

SEEDS = pytest.mark.parametrize(
    "seeds", [range(1), pytest.param(range(1, 20), marks=pytest.mark.slow)], ids=repr
)
WITNESSES = pytest.mark.parametrize(
    "who", ["autograd", pytest.param("by_jax", marks=pytest.mark.slow)]
)
RESOLUTION = 1e-6
MODULES = [corpus.awkward, corpus.networks, corpus.operations]


class Either:
    """`np` for a corpus that others differentiate: their function for their arrays.

    Single precision is left out: what a gradient should be is told without its noise.
    """

    float32 = np.float64

    def __init__(self, theirs, kind):
        self._theirs, self._kind = theirs, kind

    def __getattr__(self, name):
        plain = getattr(np, name)
        if not callable(plain) or isinstance(plain, type):
            return plain

        def call(*arguments, **settings):
            first = arguments[0] if isinstance(arguments[0], list) else arguments
            if any(isinstance(x, self._kind) for x in first):
                return getattr(self._theirs, name)(*arguments, **settings)
            return plain(*arguments, **settings)

        if isinstance(plain, np.ufunc):
            call.at = plain.at
        return call


@pytest.fixture
def autograd(monkeypatch):
    """Make gradients of g · f by HIPS autograd: `autograd(problem, g)(arrays)`."""
    library = pytest.importorskip("autograd")
    either = Either(library.numpy, library.tracer.Box)
    for module in MODULES:
        monkeypatch.setattr(module, "np", either)

    def witness(problem, g):
        def gradients(arrays):
            point = tuple(np.asarray(x, np.float64) for x in arrays)
            pull, value = library.make_vjp(lambda xs: problem.f(*xs))(point)
            return pull(np.reshape(g, np.shape(value)))

        return gradients

    return witness


@pytest.fixture
def jax(monkeypatch):
    """JAX in double precision, which the corpus runs on as on NumPy."""
    library = pytest.importorskip("jax")
    with library.enable_x64(True):
        for module in MODULES:
            monkeypatch.setattr(module, "np", Either(library.numpy, library.Array))
        yield library


@pytest.fixture
def by_jax(jax):
    """Make gradients of g · f by JAX: `by_jax(problem, g)(arrays)`."""

    def witness(problem, g):
        places = tuple(range(len(problem.arrays)))
        function = jax.grad(lambda *xs: jax.numpy.sum(problem.f(*xs) * g), places)
        if problem.beside:
            function = jax.jit(function)  # it is asked often
        return lambda arrays: [
            np.asarray(x)
            for x in function(*(np.asarray(x, np.float64) for x in arrays))
        ]

    return witness


def witness_of(name, who, request):
    """The fixture that is asked for, unless its own rule fails for this case."""
    if who == "autograd" and name.startswith("product with a zero"):
        pytest.skip("autograd's rule of prod divides by the zero")
    return request.getfixturevalue(who)


def cotangent(problem, seed):
    """A random gradient of the output; 1 for a number."""
    value = np.asarray(problem.f(*problem.arrays))
    if problem.formula is not None:
        assert value.shape == ()
        return np.ones(())
    return np.random.default_rng([seed, 7]).standard_normal(value.shape)


def sizes(x):
    """What a relative change of an element is measured by."""
    mean = np.sqrt(np.mean(np.square(x, dtype=float))) if x.size else 0.0
    return np.where(x == 0, mean or 1.0, np.abs(x))


# Here the true gradient is zero, and what is computed is its rounding.
VANISHING = {"at the optimum", "bias before batch norm", "sum of softmax"}
# And here the witnesses' rules, 1 - tanh² and the like, keep no digit: mpmath does.
FLAT = ["tanh at 12", "tanh of 200, flat"]


def are_wrong(claims, trues, arrays):
    """Whether an element is off by more than the resolution, and not for rounding."""
    assert all(np.isfinite(true).all() for true in trues)
    shares = [np.abs(true) * sizes(x) for true, x in zip(trues, arrays, strict=True)]
    rounding = 1e-13 * max(np.max(share, initial=0.0) for share in shares)
    for claimed, true, x, share in zip(claims, trues, arrays, shares, strict=True):
        if np.shape(claimed) != np.shape(true):
            return True
        off = np.abs(claimed - true)
        least = rounding + 1e-9 * np.max(share, initial=0.0)
        if np.any((off > RESOLUTION * np.abs(true)) & (off * sizes(x) > least)):
            return True
    return False


def beside(arrays, step):
    """All arrays that have one element moved up or down, with its place."""
    for place, x in enumerate(arrays):
        for index in np.ndindex(x.shape):
            for sign in (-1, 1):
                moved = np.array(x, float)
                moved[index] += sign * (step * abs(moved[index]) or 1e-150)
                yield place, index, [*arrays[:place], moved, *arrays[place + 1 :]]


def all_beside(arrays, step):
    """All arrays moved down together, and up; and each of them alone."""
    for places in (range(len(arrays)), *([k] for k in range(len(arrays)))):
        for sign in (-1, 1):
            yield [
                x + sign * np.maximum(step * np.abs(x), 1e-150) * (k in places)
                for k, x in enumerate(arrays)
            ]


@SEEDS
@pytest.mark.parametrize("name", FLAT)
def test_a_flat_gradient_is_right(name, seeds):
    """The claim is the slope that mpmath finds with a hundred digits."""
    mpmath = pytest.importorskip("mpmath")
    for seed in seeds:
        problem = corpus.RIGHT[name].at(seed)
        (x,), (weights,) = problem.arrays, problem.gradients([np.zeros(9)])
        with mpmath.workdps(400):
            true = [float(mpmath.diff(mpmath.tanh, mpmath.mpf(k))) for k in x]
        np.testing.assert_allclose(problem.gradients([x])[0], true * weights, 1e-9)


@WITNESSES
@SEEDS
@pytest.mark.parametrize("name", [n for n in corpus.RIGHT if n not in FLAT])
def test_a_right_gradient_is_right(name, seeds, who, request):
    """The claim is the witness's; on a kink, one beside it, or between both sides'."""
    witness = witness_of(name, who, request)
    for seed in seeds:
        problem = corpus.RIGHT[name].at(seed)
        g = cotangent(problem, seed)
        claimed = problem.gradients(problem.arrays, g)
        on_kink = problem.beside > 0
        gradient = witness(problem, g)
        if not on_kink:
            true = gradient(problem.arrays)
            if name in VANISHING:
                # Of several gradients, those that vanish are told from the others.
                pairs = list(zip(claimed, true, strict=True))
                assert all(np.max(np.abs(a - b)) < 1e-12 for a, b in pairs)
                continue
            assert not are_wrong(claimed, true, problem.arrays), (seed, claimed, true)
            continue
        if any(
            not are_wrong(claimed, gradient(near), problem.arrays)
            for near in all_beside(problem.arrays, problem.beside)
        ):
            continue
        sides = {}
        for place, index, arrays in beside(problem.arrays, problem.beside):
            slope = gradient(arrays)[place][index]
            sides.setdefault((place, index), []).append(slope)
        for (place, index), slopes in sides.items():
            size = 1e-6 * np.max(np.abs(slopes)) + 1e-9 * np.abs(claimed[place]).max()
            low, high = min(slopes) - size, max(slopes) + size
            assert low <= claimed[place][index] <= high, (seed, place, index, slopes)


@WITNESSES
@SEEDS
@pytest.mark.parametrize("name", corpus.BUGS)
def test_a_bug_is_wrong(name, seeds, who, request):
    """The claim differs from the witness's by more than the resolution somewhere."""
    witness = witness_of(name, who, request)
    for seed in seeds:
        problem = corpus.BUGS[name].at(seed)
        arrays = problem.visible or problem.arrays
        g = cotangent(problem, seed)
        if problem.beside:
            # One number along (1, 1, …, 1): the sum of a subgradient is that slope.
            claimed = sum(x.sum() for x in problem.gradients(arrays, abs(g)))
            step = 1e-3
            moved = [x + step for x in arrays]
            slope = np.sum((problem.f(*moved) - problem.f(*arrays)) * abs(g)) / step
            assert abs(claimed - slope) > 1e-4 * abs(slope)
            continue
        gradient = witness(problem, g)
        assert are_wrong(problem.gradients(arrays, g), gradient(arrays), arrays), seed


CHAINS = [name for name, case in corpus.BUGS.items() if case.first]


@SEEDS
@pytest.mark.parametrize("name", CHAINS)
def test_the_first_wrong_intermediate_is_the_one_named(name, seeds):
    """The claims of a chain bug are those of the right chain down to the one named.

    The right chain's claims are the formula's that another test holds to a witness.
    """
    case = corpus.BUGS[name]
    for seed in seeds:
        problem = case.at(seed)
        right = corpus.networks.deep(
            np.random.default_rng([seed, corpus.case.crc32(name.encode())])
        )
        wrong = [
            key
            for key, claim in problem.chain.claims(*problem.arrays).items()
            if are_wrong(
                [claim], [right.chain.claims(*right.arrays)[key]], [np.ones(1)]
            )
        ]
        assert wrong[0] == case.first, (seed, wrong)


def verdict_on(problem, seed):
    """What the checker says; an error of its own is a refusal."""
    settings = {"formula": problem.formula, "vjp": problem.vjp, "seed": seed}
    try:
        report = check_gradients(problem.f, *problem.arrays, **settings)
    except TinygradError:
        return "wrong"
    # Who blames autograd alone has not seen what is wrong with the formula.
    wrong = report.verdict == "wrong"
    return "wrong" if wrong and "formula" in report.blame else report.verdict


@pytest.mark.parametrize("name", corpus.BUGS)
def test_a_bug_is_caught(name):
    """The checker refuses a planted bug; the benchmark tries more seeds."""
    assert verdict_on(corpus.BUGS[name].at(0), 0) == "wrong"


@pytest.mark.parametrize("name", corpus.RIGHT)
def test_a_right_gradient_is_not_refused(name):
    """The checker does not call a right gradient wrong; the benchmark tries more seeds."""
    assert verdict_on(corpus.RIGHT[name].at(0), 0) in {"ok", "kink", "weak"}


def test_a_case_is_the_same_each_time():
    """A seed and a name fix every number of a case."""
    for case in (*corpus.BUGS.values(), *corpus.RIGHT.values()):
        for x, y in zip(case.at(5).arrays, case.at(5).arrays, strict=True):
            np.testing.assert_array_equal(x, y)


def test_the_corpus_is_large_enough():
    """At least 60 bugs and 60 right gradients, and each kind of bug occurs."""
    assert min(len(corpus.BUGS), len(corpus.RIGHT)) >= 60
    kinds = {case.kind for case in corpus.BUGS.values()}
    assert kinds == {"mechanical", "chain", "structural"}
    for case in corpus.BUGS.values():
        assert re.compile(case.cause or "") is not None


@pytest.mark.parametrize("number", range(10**6, 10**6 + 20))
def test_a_generated_case_is_what_it_says(number, jax):
    """JAX gives the gradient that autograd gives, and a bug differs from it.

    These numbers are beyond those that the benchmark runs.
    """
    pytest.importorskip("autograd")
    from corpus import generator

    for wrong in (True, False):
        drawn, g, problem = generator.found(number, wrong=wrong)
        if drawn.on_kinks:
            continue  # the generator has looked at both sides

        def weighted(arrays, drawn=drawn, g=g):
            value = drawn.forward(jax.numpy, generator.keep, *arrays)
            return jax.numpy.sum(value * g)

        true = jax.jit(jax.grad(weighted))(generator.cast(drawn, drawn.arrays))
        claims = problem.gradients(drawn.arrays, g)
        assert are_wrong(claims, list(map(np.asarray, true)), drawn.arrays) is wrong


def test_a_generated_case_is_the_same_each_time():
    """A number fixes the arrays and the claim."""
    pytest.importorskip("autograd")
    from corpus import generator

    for wrong in (True, False):
        pairs = [generator.found(10**6, wrong=wrong) for _ in range(2)]
        for x, y in zip(*(problem.arrays for _, _, problem in pairs), strict=True):
            np.testing.assert_array_equal(x, y)
        for x, y in zip(*(p.gradients(p.arrays, g) for _, g, p in pairs), strict=True):
            np.testing.assert_array_equal(x, y)
