"""What can be said on the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import NoReturn, TypeVar

from tinygrad_nn.cli.settings import (
    BACKENDS,
    DEFAULTS,
    MAKERS,
    ONES,
    TASKS,
    learning_rate,
)
from tinygrad_nn.cli.sources import NAMED

__all__ = ["parser"]

T = TypeVar("T", int, float)

TRAIN = """\
Trains a network on DATA and leaves in a directory: the model (model.npz), the
history (history.csv), and pictures of the cost (cost.png), of the computation graph
(graph.dot, graph.svg) and of the result: the decision boundary (boundary.png) of two
features, else the confusion matrix (confusion.png), or predictions against targets
(predictions.png) where numbers are predicted: the loss is then that of targets with
mean 0 and standard deviation 1, and the error printed is in their own units. A part
of DATA is kept for testing; it is the "validation" of the history and has no
influence on the model."""

TRAIN_EXAMPLES = """\
examples:
  tinygrad-nn train digits
  tinygrad-nn train flower --layers 16,16 --activation tanh --out flower
  tinygrad-nn train houses.csv --target price --epochs 300 --out houses
  tinygrad-nn train houses.csv --resume --epochs 600 --out houses"""

PREDICT_EXAMPLES = """\
examples:
  tinygrad-nn predict houses new-houses.csv
  tinygrad-nn predict houses new-houses.csv --output prices.csv"""

DOCTOR = """\
Says what of NumPy, its BLAS, compilers, backends, drawing programs and optional
packages is found here, and which settings the environment forces on them; measures how
fast products and elementwise work are; and tries what may make them faster, each change
in processes of its own, in turn with the environment as it is. It advises only what was
faster. Nothing is changed, and it takes less than 20 seconds."""

DOCTOR_EXAMPLES = """\
examples:
  tinygrad-nn doctor
  tinygrad-nn doctor --quick
  tinygrad-nn doctor --json > machine.json"""


CHECK = """\
Grades the gradients that FILE writes by hand: finds functions and their gradients, by
name (forward and backward, cost and gradients, f and f_grad, df, f_backward, f_vjp) or
as declared (f.gradient = …, CHECK = [(f, gradient, arrays…)]), and classes with forward
and backward; compares them with numbers and with autograd; and prints a verdict on
each, with the mistake in words. A function is called with the variables of the file
that have the names of its parameters, or with those in example = {"X": …}. FILE is run
for that: what trains or plots belongs below if __name__ == "__main__". The exit code is
0 where all is right, 1 where something is wrong, 2 where something cannot be judged."""

CHECK_EXAMPLES = """\
examples:
  tinygrad-nn check backprop.py
  tinygrad-nn check handed-in/*.py --data assignment.py
  tinygrad-nn check layers.py --function Dense --mode full --json grades.json"""

DRAW = """\
Draws the computation graph of a run's loss, or of what a function of a file computes,
with values and gradients. TARGET is the directory of a run of "tinygrad-nn train", or
FILE.py:FUNCTION. A function is called with the variables of its file that have the
names of its parameters, or with those in example = {"X": …}; floating arrays become
inputs with a gradient. FILE is run for that: what trains or plots belongs below
if __name__ == "__main__"."""

DRAW_EXAMPLES = """\
examples:
  tinygrad-nn draw backprop.py:cost
  tinygrad-nn draw backprop.py:cost --out cost.svg
  tinygrad-nn draw runs/flower --data flower --out flower.html"""

DERIVE = """\
Writes out the formulas of forward and backward of a run's loss, or of what a function
of a file computes, in the user's own names. TARGET is the directory of a run of
"tinygrad-nn train", or FILE.py:FUNCTION. A function is called with the variables of its
file that have the names of its parameters, or with those in example = {"X": …};
floating arrays become inputs with a gradient. FILE is run for that: what trains or
plots belongs below if __name__ == "__main__"."""

DERIVE_EXAMPLES = """\
examples:
  tinygrad-nn derive backprop.py:cost
  tinygrad-nn derive backprop.py:cost --chain --letter keep=0.8
  tinygrad-nn derive backprop.py:cost --out gradients.py
  tinygrad-nn derive runs/flower --data flower --out flower.md"""


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, like everything else here."""

    def error(self, message: str) -> NoReturn:
        text = " ".join(message.split())
        self.exit(2, f"tinygrad-nn: error: {text} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser; what it returns has the ``command`` to call.

    >>> parser().parse_args(["train", "digits", "--layers", "8,4"]).layers
    (8, 4)
    """
    # Late, because the package's own __init__ may be what is being imported.
    from tinygrad_nn import __version__  # noqa: PLC0415

    whole = _Parser(
        prog="tinygrad-nn",
        description="Train networks on your data, predict with them, and check "
        "gradients.",
        epilog="tinygrad-nn COMMAND --help says more of each.",
        allow_abbrev=False,
    )
    whole.add_argument(
        "--version", action="version", version=f"tinygrad-nn {__version__}"
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    _add_train(
        commands.add_parser(
            "train",
            help="train a network on a data set or a CSV file",
            description=TRAIN,
            epilog=TRAIN_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_predict(
        commands.add_parser(
            "predict",
            help="predict the rows of a CSV file with a trained network",
            description="Writes one row of predictions for each row of FILE.",
            epilog=PREDICT_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_check(
        commands.add_parser(
            "check",
            help="grade the gradients that a file of Python writes by hand",
            description=CHECK,
            epilog=CHECK_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_draw(
        commands.add_parser(
            "draw",
            help="draw the graph of a run, or of a function of a file of Python",
            description=DRAW,
            epilog=DRAW_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_derive(
        commands.add_parser(
            "derive",
            help="write out the gradients of a run, or of a function of a file",
            description=DERIVE,
            epilog=DERIVE_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_doctor(
        commands.add_parser(
            "doctor",
            help="say what this machine has, how fast it is, and what to change",
            description=DOCTOR,
            epilog=DOCTOR_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    return whole


def _add_train(train: argparse.ArgumentParser) -> None:
    add = train.add_argument
    add("data", metavar="DATA", help=f"{', '.join(NAMED)}, or a CSV file with a header")
    add("--target", metavar="COLUMN", help="what to predict from the other columns")
    add(
        "--task",
        metavar="NAME",
        type=_one_of("task", TASKS),
        help="classes or regression: what the target is; auto takes text, and whole "
        f"numbers with few values, for classes ({_shown('task')})",
    )
    add(
        "--layers",
        metavar="N,N,…",
        type=_layers,
        help=f"units of the hidden layers, or none ({_shown('layers')})",
    )
    add(
        "--activation",
        metavar="NAME",
        type=_one_of("activation", ONES),
        help=f"of the hidden layers: {', '.join(ONES)} ({_shown('activation')})",
    )
    add(
        "--optimizer",
        metavar="NAME",
        type=_one_of("optimizer", tuple(MAKERS)),
        help=f"{', '.join(MAKERS)} ({_shown('optimizer')})",
    )
    rates = ", ".join(f"{name} {learning_rate(name):g}" for name in MAKERS)
    add(
        "--lr",
        metavar="RATE",
        type=_number(float, above=0),
        help=f"learning rate ({rates})",
    )
    add(
        "--epochs",
        metavar="N",
        type=_number(int, least=1),
        help=f"passes over the training part ({_shown('epochs')})",
    )
    add(
        "--batch-size",
        metavar="N",
        type=_number(int, least=1),
        help=f"examples in a step ({_shown('batch_size')})",
    )
    add(
        "--l2",
        metavar="STRENGTH",
        type=_number(float, least=0),
        help="adds STRENGTH/2 times the sum of the squared weights to the cost "
        f"({_shown('l2')})",
    )
    add(
        "--dropout",
        metavar="SHARE",
        type=_number(float, least=0, below=1),
        help=f"of hidden units, dropped in training ({_shown('dropout')})",
    )
    add(
        "--seed",
        metavar="N",
        type=_number(int, least=0),
        help=f"of everything random: split, start, order, dropout ({_shown('seed')})",
    )
    add(
        "--test-size",
        metavar="SHARE",
        type=_number(float, above=0, below=1),
        help=f"of the data, kept for testing ({_shown('test_size')})",
    )
    add(
        "--backend",
        metavar="NAME",
        type=_one_of("backend", BACKENDS),
        help="what makes the steps: numpy, c or jax run them compiled, eager does not; "
        f"results differ by rounding alone ({_shown('backend')})",
    )
    add("--out", metavar="DIR", help="where results go (a new directory in runs/)")
    add(
        "--resume",
        action="store_true",
        help="go on with the run in --out, up to a larger --epochs; its settings stay. "
        "An interrupted run has its last whole epoch to go on from, and goes up to "
        "the --epochs it was to have",
    )
    add("--quiet", action="store_true", help="print nothing but errors")
    train.set_defaults(command=_train)


def _add_predict(predict: argparse.ArgumentParser) -> None:
    add = predict.add_argument
    add("run", metavar="DIR", help="the directory that training left its results in")
    add("file", metavar="FILE", help="a CSV file with the columns that were trained on")
    add("--output", metavar="FILE", help="where to write (standard output)")
    predict.set_defaults(command=_predict)


def _add_check(check: argparse.ArgumentParser) -> None:
    add = check.add_argument
    add("files", metavar="FILE", nargs="+", help="a file of Python; it is run")
    add(
        "--data",
        metavar="FILE",
        help="a file of Python with what the others lack: values (these go first), and "
        "functions, a forward pass and a cost for instance",
    )
    add(
        "--function",
        metavar="NAME",
        help="judge this one alone: a function, its gradient, or a class",
    )
    add(
        "--seed",
        metavar="N",
        type=_number(int, least=0),
        default=0,
        help="of the random directions (0)",
    )
    add(
        "--mode",
        metavar="NAME",
        type=_one_of("mode", ("auto", "full")),
        default="auto",
        help="auto: random directions first, single elements where these disagree; "
        "full: every element (auto)",
    )
    add("--strict", action="store_true", help="a weak verdict counts as wrong")
    add("--json", metavar="PATH", help="write the grades there too, for programs")
    check.set_defaults(command=_check)


def _add_draw(draw: argparse.ArgumentParser) -> None:
    add = draw.add_argument
    add("target", metavar="TARGET", help="the directory of a run, or FILE.py:FUNCTION")
    add(
        "--out",
        metavar="FILE",
        help="what to write: x.svg, x.png, x.pdf; x.html, a page that plays the graph; "
        "x.dot, x.mmd, x.json (the graph is printed as a tree)",
    )
    add(
        "--data",
        metavar="DATA",
        help="for a run: the data set or CSV file that the examples come from (random "
        "ones)",
    )
    add(
        "--direction",
        metavar="NAME",
        type=_one_of("direction", ("LR", "TB")),
        default="LR",
        help="LR, left to right, or TB, top to bottom (LR)",
    )
    add(
        "--theme",
        metavar="NAME",
        type=_one_of("theme", ("auto", "light", "dark")),
        default="auto",
        help="light, dark, or auto: a page as the reader's system has it, a picture "
        "light (auto)",
    )
    add(
        "--depth",
        metavar="N",
        type=_number(int, least=0),
        help="how many layers deep to look; 0 folds every layer",
    )
    add(
        "--fold",
        action=argparse.BooleanOptionalAction,
        help="show layers and ops that are alike as one; what a large graph needs is "
        "folded unless --no-fold",
    )
    draw.set_defaults(command=_draw)


def _add_derive(derive: argparse.ArgumentParser) -> None:
    add = derive.add_argument
    add("target", metavar="TARGET", help="the directory of a run, or FILE.py:FUNCTION")
    add(
        "--out",
        metavar="FILE",
        help="what to write: x.txt, x.tex, x.md, x.html (MathML), x.py, a function of "
        "NumPy (the lines are printed)",
    )
    add(
        "--data",
        metavar="DATA",
        help="for a run: the data set or CSV file that the examples come from (random "
        "ones)",
    )
    add(
        "--wrt",
        metavar="NAMES",
        type=_words,
        default=(),
        help="whose gradients are asked for: W1,b1 (all inputs but X)",
    )
    add(
        "--letter",
        metavar="NAME=NUMBER",
        type=_letter,
        action="append",
        default=[],
        help="a letter for a number of the formulas: keep=0.8; may be given again",
    )
    add("--chain", action="store_true", help="show the chain rule before each line")
    add(
        "--true",
        action="store_true",
        help="every line is the gradient itself, its 1/m included, not as textbooks "
        "print it",
    )
    derive.set_defaults(command=_derive)


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    add = doctor.add_argument
    add("--quick", action="store_true", help="measure nothing")
    add("--json", action="store_true", help="print one JSON object, for programs")
    doctor.set_defaults(command=_doctor)


# What a command needs is loaded when it runs: --help and --version need none of it.


def _train(options: argparse.Namespace) -> None:
    from tinygrad_nn.cli.run import train  # noqa: PLC0415

    train(options)


def _predict(options: argparse.Namespace) -> None:
    from tinygrad_nn.cli.predict import predict  # noqa: PLC0415

    predict(options.run, options.file, options.output)


def _check(options: argparse.Namespace) -> int:
    from tinygrad_nn.cli.check import check  # noqa: PLC0415

    return check(
        options.files,
        data=options.data,
        function=options.function,
        seed=options.seed,
        mode=options.mode,
        strict=options.strict,
        json_file=options.json,
    )


def _draw(options: argparse.Namespace) -> None:
    from tinygrad_nn.cli.draw import draw  # noqa: PLC0415

    draw(
        options.target,
        output=options.out,
        data=options.data,
        direction=options.direction,
        theme=options.theme,
        fold=options.fold,
        depth=options.depth,
    )


def _derive(options: argparse.Namespace) -> None:
    from tinygrad_nn.cli.derive import derive  # noqa: PLC0415

    derive(
        options.target,
        output=options.out,
        data=options.data,
        wrt=options.wrt,
        letters=dict(options.letter),
        chain=options.chain,
        textbook=not options.true,
    )


def _doctor(options: argparse.Namespace) -> None:
    from tinygrad_nn.cli.doctor import doctor  # noqa: PLC0415

    doctor(quick=options.quick, json=options.json)


# --- kinds of values ---


def _shown(name: str) -> str:
    value = DEFAULTS[name]
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _letter(text: str) -> tuple[str, float]:
    name, sign, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (sign and name.strip() and math.isfinite(value)):
        raise argparse.ArgumentTypeError(
            f"expected a name and a number, keep=0.8; got {text!r}"
        )
    return name.strip(), value


def _layers(text: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    try:
        layers = tuple(int(part) for part in text.split(","))
    except ValueError:
        layers = (0,)
    if min(layers) < 1:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers of units, at least 1, between commas; got "
            f"{text!r}. Write 64,32, or none for no hidden layer"
        )
    return layers


def _one_of(kind: str, names: tuple[str, ...]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text in names:
            return text
        close = get_close_matches(text.lower(), names, 1)
        hint = f"did you mean {close[0]!r}? It is" if close else "it is"
        raise argparse.ArgumentTypeError(
            f"unknown {kind} {text!r}; {hint} one of {', '.join(names)}"
        )

    return convert


def _number(
    kind: type[T],
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Callable[[str], T]:
    """Make a reader of numbers: finite, ``least <= number``, ``above < … < below``."""
    bounds = [
        text
        for bound, text in (
            (least, f"at least {least:g}"),
            (above, f"above {above:g}"),
            (below, f"below {below:g}"),
        )
        if math.isfinite(bound)
    ]
    noun = "a whole number" if kind is int else "a number"
    wanted = f"{noun} {' and '.join(bounds)}"

    def convert(text: str) -> T:
        number: T | None
        try:
            number = kind(text)
        except ValueError:
            number = None
        # Written so that nan and infinity are refused, too.
        if number is None or not (number >= least and above < number < below):
            raise argparse.ArgumentTypeError(f"expected {wanted}; got {text!r}")
        return number

    return convert
