"""Who sees planted bugs, and who cries wolf: checkers of gradients side by side.

    python tests/benchmarks/verdicts.py [--seeds 20] [--cases "relu|chain"]
        [--contenders "ours,torch"] [--failures list.txt] [--write docs/verdicts.md]
    python tests/benchmarks/verdicts.py --generated 2000 [--first 0]
    python tests/benchmarks/verdicts.py --cost        (of larger and larger networks)
    python tests/benchmarks/verdicts.py --refuted     (by `equivalent`, of the corpus)

Every contender is given the same plain NumPy function, the same point and the same
claimed gradient, of every case of `tests/corpus`, at every seed. It runs with the
settings that it has when nobody chooses any. An exception is a refusal: on a bug it
counts as caught, on a right gradient as a false alarm.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # one core, before NumPy is loaded
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import corpus  # noqa: E402 (after the settings)
import numpy as np  # noqa: E402 (after the settings)

import tinygrad_nn as tg  # noqa: E402 (after the settings)
from tinygrad_nn import check  # noqa: E402 (after the settings)

COMMAND = "python tests/benchmarks/verdicts.py --write docs/verdicts.md"
PASSED, FAILED, WEAK = "passed", "failed", "weak"


class Verdict(NamedTuple):
    """What a contender says of a problem: the word, and its reasons in words."""

    word: str
    text: str = ""


class Outcome(NamedTuple):
    """One verdict on one case at one seed."""

    contender: str
    case: corpus.Case
    seed: int
    verdict: Verdict
    evaluations: int
    seconds: float
    first: str | None = None
    chain_text: str = ""

    @property
    def caught(self):
        return self.verdict.word == FAILED

    @property
    def good(self):
        return self.caught if self.case.kind != "right" else not self.caught


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *arrays):
        self.calls += 1
        return self.function(*arrays)


# --- the contenders ----------------------------------------------------------------


def judged(problem, f, seed):
    """Ask ours; an error that it raises is its verdict."""
    settings = {"formula": problem.formula, "vjp": problem.vjp}
    try:
        report = check.check_gradients(f, *problem.arrays, **settings, seed=seed)
    except tg.errors.TinygradError as error:
        return Verdict(FAILED, f"{type(error).__name__}: {error}")
    if report.verdict == "wrong":
        # Who blames autograd, and not the formula, has not seen the bug.
        word = FAILED if "formula" in report.blame else PASSED
        return Verdict(word, str(report))
    return Verdict(WEAK if report.verdict == "weak" else PASSED, str(report))


def ours(problem, f, seed):
    return judged(problem, f, seed)


def ours_without_autograd(problem, f, seed):
    """Ours where the function cannot run on Tensors: the numbers alone judge."""

    def blind(*arrays):
        if any(isinstance(x, tg.Tensor) for x in arrays):
            raise TypeError("for arrays alone")
        return f(*arrays)

    return judged(problem, blind, seed)


def cotangent_of(problem, seed):
    """A random gradient of the output, and the output's shape."""
    shape = np.shape(problem.f(*problem.arrays))
    if problem.formula is not None:
        return np.ones(())
    return np.random.default_rng([seed, 7]).standard_normal(shape)


def gradients(problem, g, arrays):
    """Claimed gradients of g · f, for checkers that hand a g to numbers too."""
    found = problem.gradients(arrays, np.asarray(g))
    if problem.formula is not None:
        found = [np.asarray(g) * x for x in found]
    return [np.asarray(x) for x in found]


def torch_with(**settings):
    """Make a contender of torch.autograd.gradcheck."""

    def contender(problem, f, seed):
        import torch

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                ctx.save_for_backward(*tensors)
                return torch.as_tensor(
                    np.array(f(*(x.detach().numpy() for x in tensors)))
                )

            @staticmethod
            def backward(ctx, g):
                arrays = [x.detach().numpy() for x in ctx.saved_tensors]
                found = gradients(problem, g.numpy(), arrays)
                return tuple(torch.as_tensor(np.array(x)) for x in found)

        torch.manual_seed(seed)
        inputs = [torch.tensor(x, requires_grad=True) for x in problem.arrays]
        torch.autograd.gradcheck(Function.apply, inputs, **settings)
        return Verdict(PASSED)

    return contender


def jax_check(problem, f, seed):
    """Ask jax.test_util.check_grads, in double precision."""
    import jax
    from jax.test_util import check_grads

    def call(*arrays):
        return np.asarray(f(*(np.asarray(x) for x in arrays)))

    first = call(*problem.arrays)
    shape = jax.ShapeDtypeStruct(first.shape, first.dtype)

    @jax.custom_vjp
    def function(*arrays):
        return jax.pure_callback(call, shape, *arrays)

    def backward(arrays, g):
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]

        def claimed(g, *arrays):
            arrays = [np.asarray(x) for x in arrays]
            return [
                x.astype(y.dtype)
                for x, y in zip(
                    gradients(problem, np.asarray(g), arrays), arrays, strict=True
                )
            ]

        return tuple(jax.pure_callback(claimed, shapes, g, *arrays))

    function.defvjp(lambda *arrays: (function(*arrays), arrays), backward)
    with jax.enable_x64(True):
        inputs = tuple(jax.numpy.asarray(x) for x in problem.arrays)
        check_grads(function, inputs, order=1, modes=["rev"])
    return Verdict(PASSED)


def autograd_check(problem, f, seed):
    """Ask HIPS autograd's check_grads, of all arguments."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    function = primitive(lambda *arrays: np.asarray(f(*arrays)))
    places = tuple(range(len(problem.arrays)))

    def rule(place):
        return lambda out, *arrays: lambda g: gradients(problem, g, arrays)[place]

    defvjp(function, *(rule(place) for place in places), argnums=places)
    np.random.seed(seed)  # noqa: NPY002 (autograd draws from it)
    check_grads(function, places, modes=["rev"], order=1)(*problem.arrays)
    return Verdict(PASSED)


def flat(problem, f, seed):
    """The function and the claim as those of one vector, for tools that want that."""
    g = cotangent_of(problem, seed)
    shapes = [x.shape for x in problem.arrays]
    ends = np.cumsum([x.size for x in problem.arrays])[:-1]

    def arrays_of(x):
        parts = np.split(x, ends)
        return [part.reshape(s) for part, s in zip(parts, shapes, strict=True)]

    def value(x):
        return float(np.sum(f(*arrays_of(x)) * g))

    def claimed(x):
        arrays = arrays_of(x)
        found = gradients(problem, g, arrays)
        if problem.formula is not None:
            found = problem.formula(*arrays)
        for part, shape in zip(found, shapes, strict=True):
            if np.shape(part) != shape:
                raise ValueError(f"expected shape {shape}; got {np.shape(part)}")
        return np.concatenate([np.ravel(part) for part in found])

    start = np.concatenate([np.ravel(x).astype(float) for x in problem.arrays])
    return value, claimed, start


def scipy_check(problem, f, seed):
    """Ask scipy.optimize.check_grad; its number should be below 1e-6."""
    from scipy.optimize import check_grad

    value, claimed, start = flat(problem, f, seed)
    error = check_grad(value, claimed, start)
    return Verdict(PASSED if error < 1e-6 else FAILED, f"{error:.3g}")


def naive(problem, f, seed):
    """Central differences with step 1e-6, np.allclose with both tolerances 1e-5."""
    value, claimed, start = flat(problem, f, seed)
    numeric = np.empty(start.size)
    for k in range(start.size):
        step = np.zeros(start.size)
        step[k] = 1e-6
        numeric[k] = (value(start + step) - value(start - step)) / 2e-6
    close = np.allclose(claimed(start), numeric, rtol=1e-5, atol=1e-5)
    return Verdict(PASSED if close else FAILED)


CONTENDERS = {
    "ours": ours,
    "ours, numbers alone": ours_without_autograd,
    "torch gradcheck": torch_with(),
    "torch gradcheck, fast": torch_with(fast_mode=True),
    "jax check_grads": jax_check,
    "autograd check_grads": autograd_check,
    "scipy check_grad < 1e-6": scipy_check,
    "differences, 1e-6 and 1e-5": naive,
}


# --- the run -----------------------------------------------------------------------


def walked(problem):
    """Ask check_formula for the first wrong intermediate: its name, and the words."""
    if not hasattr(check, "check_formula"):
        return None, "there is no check_formula yet"
    names = problem.f.__code__.co_varnames[: problem.f.__code__.co_argcount]
    inputs = [
        tg.Tensor(x, requires_grad=True, name=name)
        for name, x in zip(names, problem.arrays, strict=True)
    ]
    nodes = problem.chain.trace(*inputs)
    for name, node in nodes.items():
        node.name = name
    claims = problem.chain.claims(*problem.arrays)
    # The order in which a person happens to write them down must not matter.
    shuffled = dict(sorted(claims.items(), key=lambda item: item[0][::-1]))
    try:
        report = check.check_formula(nodes["loss"], shuffled)
    except tg.errors.TinygradError as error:
        found = re.search(r"\bd[A-Z]\w*", str(error))
        return found and found[0], f"{type(error).__name__}: {error}"
    return report.first, str(report)


def run(name, contender, case, seed, problem=None):
    """Let one contender judge one case at one seed."""
    problem = problem or case.at(seed)
    f = Counted(problem.f)
    start = time.process_time()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            verdict = contender(problem, f, seed)
    except Exception as error:  # noqa: BLE001 (a refusal, in the contender's own way)
        text = str(error).strip().splitlines() or [""]
        verdict = Verdict(FAILED, f"{type(error).__name__}: {text[0][:200]}")
    seconds = time.process_time() - start
    first, text = None, ""
    if name == "ours" and case.first:
        with contextlib.suppress(AttributeError):
            first, text = walked(problem)
    return Outcome(name, case, seed, verdict, f.calls, seconds, first, text)


def causes_of(text):
    """The lines of a report that say why; all of an error."""
    if re.match(r"\w+Error: ", text):
        return text
    return "\n".join(line for line in text.splitlines() if "cause:" in line)


def named(outcome):
    """Whether the cause of a bug was told."""
    text = causes_of(outcome.chain_text or outcome.verdict.text)
    return re.search(outcome.case.cause, text) is not None


def share(part, whole):
    """A count of a count, and in per cent: two digits only where 100 would lie."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    text = f"{percent:.0f}" if part in {0, whole} else f"{percent:.1f}"
    return f"{part:,}/{whole:,} = {text} %"


def rows(outcomes):
    """The table: a line for each contender."""
    header = (
        "checker",
        "caught",
        "false alarms",
        "weak",
        "median evaluations",
        "95 %",
        "median ms",
    )
    table = [header]
    for name in dict.fromkeys(o.contender for o in outcomes):
        mine = [o for o in outcomes if o.contender == name]
        bugs = [o for o in mine if o.case.kind != "right"]
        right = [o for o in mine if o.case.kind == "right"]
        calls = [o.evaluations for o in right] or [0]
        table.append(
            (
                name,
                share(sum(o.caught for o in bugs), len(bugs)),
                share(sum(o.caught for o in right), len(right)),
                share(sum(o.verdict.word == WEAK for o in right), len(right)),
                f"{np.median(calls):.0f}",
                f"{np.quantile(calls, 0.95):.0f}",
                f"{1e3 * np.median([o.seconds for o in right] or [0]):.1f}",
            )
        )
    return table


def remarks(outcomes):
    """What ours says beyond right and wrong."""
    mine = [o for o in outcomes if o.contender == "ours"]
    mechanical = [o for o in mine if o.case.kind == "mechanical"]
    chains = [o for o in mine if o.case.first]
    caused = [o for o in chains if o.case.cause]
    smooth = [o.evaluations for o in mine if o.case.name in SMOOTH]
    lines = []
    if mechanical:
        count = sum(map(named, mechanical))
        lines.append(
            f"Cause named: {share(count, len(mechanical))} of the mechanical bugs."
        )
    if chains:
        count = sum(o.first in {o.case.first, o.case.first[1:]} for o in chains)
        lines.append(f"First wrong intermediate named: {share(count, len(chains))}.")
    if caused:
        count = sum(map(named, caused))
        lines.append(
            f"Cause of the first wrong intermediate named: {share(count, len(caused))}."
        )
    if smooth:
        lines.append(
            f"Evaluations for a smooth right gradient: median {np.median(smooth):.0f}."
        )
    return lines


# Right gradients of ordinary smooth functions, in double precision.
SMOOTH = {
    "network, dropout and decay",
    "network of 22,210 weights",
    "regression: a mean over both axes",
    "matmul",
    "broadcast",
    "divide",
    "power",
    "softmax",
    "log softmax",
    "mean",
    "variance",
    "embedding",
    "cumsum",
    "einsum",
    "convolution",
    "batch norm",
    "layer norm",
    "gelu",
    "softplus",
    "swish",
    "tanh",
    "sigmoid",
    "norm",
    "logsumexp with beta",
    "inverse",
    "attention",
    "lstm",
    "recurrent",
    "cosine similarity",
    "gaussian likelihood",
    "focal loss",
    "cross-entropy with padding",
    "smoothed labels",
    "residual layer",
    "weight norm",
}


def digits(n, h, c, m):
    """Make a tanh network n-h-c with a softmax of m examples, and its backward by hand."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n, m)), np.eye(c)[:, rng.integers(c, size=m)]

    def forward(W1, b1, W2, b2):
        A = np.tanh(W1 @ X + b1)
        Z = W2 @ A + b2
        E = np.exp(Z - Z.max(axis=0, keepdims=True))
        return A, E / E.sum(axis=0, keepdims=True)

    def cost(*parameters):
        return -np.sum(Y * np.log(forward(*parameters)[1])) / m

    def by_hand(W1, b1, W2, b2):
        A, P = forward(W1, b1, W2, b2)
        dZ2 = (P - Y) / m
        dZ1 = W2.T @ dZ2 * (1 - A * A)
        sums = [dZ.sum(axis=1, keepdims=True) for dZ in (dZ1, dZ2)]
        return dZ1 @ X.T, sums[0], dZ2 @ A.T, sums[1]

    W1, W2 = rng.normal(size=(h, n)) / n**0.5, rng.normal(size=(c, h)) / h**0.5
    return cost, by_hand, (W1, np.zeros((h, 1)), W2, np.zeros((c, 1)))


def costs():
    """What a check of a right gradient costs, by the number of parameters."""
    yield "| network, examples | parameters | evaluations | ms |"
    for sizes in (
        (2, 4, 2, 50),
        (100, 200, 10, 16),
        (784, 128, 10, 64),
        (784, 1024, 10, 64),
    ):
        cost, by_hand, point = digits(*sizes)
        seconds = []
        for _ in range(5):
            start = time.process_time()
            report = check.check_gradients(cost, *point, formula=by_hand)
            seconds.append(time.process_time() - start)
        assert report.verdict == "ok", str(report)
        count = sum(x.size for x in point)
        name = "-".join(map(str, sizes[:-1]))
        yield (
            f"| {name}, {sizes[-1]} | {count:,} | {report.evaluations} "
            f"| {1e3 * np.median(seconds):.1f} |"
        )


def refutations():
    """What `equivalent` says of the wrong gradients of the corpus."""
    answers, slowest = {}, 0.0
    for name, case in sorted(corpus.BUGS.items()):
        problem = case.at(0)
        floating = [i for i, x in enumerate(problem.arrays) if x.dtype.kind == "f"]

        def ours(*arrays, problem=problem, floating=floating):
            *arrays, g = arrays
            seed = None if problem.formula is not None else g
            inputs = [arrays[i] for i in floating]
            out = problem.f(*arrays)
            return tuple(tg.gradients(out, inputs, seed, unused="zero"))

        def claimed(*arrays, problem=problem):
            *arrays, g = arrays
            return tuple(problem.gradients(arrays, g))

        g = np.random.default_rng(0).standard_normal(
            np.shape(problem.f(*problem.arrays))
        )
        start = time.process_time()
        try:
            word = check.equivalent(ours, claimed, *problem.arrays, g).verdict
        except tg.errors.OpError:
            word = "cannot run on Tensors"
        slowest = max(slowest, time.process_time() - start)
        answers.setdefault(word, []).append(name)
    for word, names in answers.items():
        few = f": {', '.join(names)}" if len(names) <= 8 else ""
        yield f"{word}: {len(names)} of {len(corpus.BUGS)}{few}"
    yield f"slowest: {slowest:.2f} s of processor time"


def failures(outcomes):
    """What went wrong, a line each, of ours."""
    for o in outcomes:
        if not o.contender.startswith("ours"):
            continue
        title = f"{o.contender} | {o.case.name} | seed {o.seed}"
        text = " / ".join(line.strip() for line in o.verdict.text.splitlines())
        if not o.good:
            yield f"{'MISSED' if o.case.kind != 'right' else 'FALSE ALARM'} | {title} | {text}"
        elif o.verdict.word == WEAK:
            yield f"weak | {title} | {text}"
        if o.contender != "ours":
            continue
        if o.case.first and o.first not in {o.case.first, o.case.first[1:]}:
            yield f"FIRST {o.first} for {o.case.first} | {title} | {o.chain_text!r}"
        if o.case.cause and not named(o):
            text = causes_of(o.chain_text or o.verdict.text).replace("\n", " / ")
            yield f"CAUSE not {o.case.cause!r} | {title} | {text}"


def markdown(table):
    lines = [" | ".join(row) for row in table]
    lines.insert(1, " | ".join(["---", *["---:"] * (len(table[0]) - 1)]))
    return "\n".join(f"| {line} |" for line in lines)


def planted(options):
    """All cases of the corpus, and seeds, that are asked for."""
    for case in (*corpus.BUGS.values(), *corpus.RIGHT.values()):
        if options.cases is None or re.search(options.cases, case.name):
            for seed in range(options.first, options.first + options.seeds):
                yield case, seed


def generated(options):
    """Generated cases, as many bugs as right ones."""
    from corpus import generator

    for number in range(options.first, options.first + options.generated):
        for wrong in (True, False):
            yield generator.case(number, wrong=wrong), number


def judge_all(cases, contenders):
    """Let all contenders judge all cases; tell at once where ours is wrong."""
    outcomes = []
    for case, seed in cases:
        problem = case.at(seed)
        for name, contender in contenders.items():
            outcomes.append(run(name, contender, case, seed, problem))
            if not outcomes[-1].good and name.startswith("ours"):
                print(next(failures(outcomes[-1:]))[:200], flush=True)
    return outcomes


PAGE = """# Verdicts, side by side

Written by `tests/benchmarks/verdicts.py`. Run it again:

```console
pip install '.[benchmark]'
{command}
```

{bugs} planted bugs in hand-written backprop and in rules of ops, and {right} right
gradients that are awkward: on kinks and beside them, ties, single precision, scales
from 1e-8 to 1e8, saturated, vanishing, large sums, stiff and oscillating ones. Each is
made with {seeds} seeds; sizes of mistakes are log-uniform from 1e-4 to 1. They are in
[`tests/corpus`](../tests/corpus), were written before the checker was tuned on them, and
none was taken away since. [JAX's gradients](../tests/test_corpus.py) say which claims are
right.

Every checker is given the same NumPy function, point and claim, and runs with its own
defaults: torch by a `torch.autograd.Function`, JAX by a `custom_vjp`, autograd by a
`primitive`. **caught**: bugs that are refused. **false alarms**: right gradients that are
refused. **weak**: right gradients that pass with the remark that the numbers are not
sharp there. Evaluations and milliseconds of processor time are those of a right gradient.

{table}

"ours, numbers alone" is `check_gradients` for a function that only NumPy can run; in
"ours" autograd votes too, where the function runs on Tensors.

{remarks}

## Generated cases

{count} bugs and {count} right gradients of random networks and expressions, by
[`tests/corpus/generator.py`](../tests/corpus/generator.py). The right gradient is HIPS
autograd's, and JAX's agrees. The numbers of these cases were not looked at while the
checker was tuned.

{generated}

Measured with {versions}.
"""


def versions():
    libraries = ("numpy", "torch", "jax", "autograd", "scipy")
    words = [f"{name} {metadata.version(name)}" for name in libraries]
    return ", ".join([f"Python {platform.python_version()}", *words])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed or number")
    parser.add_argument("--cases", metavar="PATTERN", help="of the cases' names")
    parser.add_argument("--contenders", metavar="WORDS", help="beginnings of names")
    parser.add_argument(
        "--generated", type=int, metavar="N", help="N of each, generated"
    )
    parser.add_argument("--failures", type=Path, metavar="FILE", help="list them")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page too")
    parser.add_argument("--cost", action="store_true", help="by parameters")
    parser.add_argument("--refuted", action="store_true", help="by `equivalent`")
    options = parser.parse_args(arguments)
    if options.cost or options.refuted:
        with np.errstate(all="ignore"):
            for lines in (costs,) * options.cost + (refutations,) * options.refuted:
                print(*lines(), sep="\n")
        return
    if options.write and (options.cases or options.contenders):
        parser.error("--write needs all cases and contenders")
    words = (options.contenders or "").split(",")
    contenders = {
        name: contender
        for name, contender in CONTENDERS.items()
        if any(name.startswith(word.strip()) for word in words)
    }
    if not contenders:
        parser.error(f"--contenders: none of {', '.join(CONTENDERS)}")
    sections = []
    if options.write or not options.generated:
        sections.append(judge_all(planted(options), contenders))
    if options.write or options.generated:
        options.generated = options.generated or 2000
        sections.append(judge_all(generated(options), contenders))
    for outcomes in sections:
        print(markdown(rows(outcomes)), *remarks(outcomes), sep="\n")
    if options.failures:
        lines = [line for outcomes in sections for line in failures(outcomes)]
        options.failures.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    if options.write:
        text = PAGE.format(
            command=COMMAND,
            bugs=len(corpus.BUGS),
            right=len(corpus.RIGHT),
            seeds=options.seeds,
            table=markdown(rows(sections[0])),
            remarks="\n".join(f"- {line}" for line in remarks(sections[0])),
            count=f"{options.generated:,}",
            generated=markdown(rows(sections[1])),
            versions=versions(),
        )
        options.write.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
