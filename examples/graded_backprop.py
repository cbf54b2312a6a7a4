"""A teacher's assignment, five hand-ins, and their grades.

The assignment: derive by hand the gradients of a 2-4-1 network, tanh then sigmoid, with
a cross-entropy cost and a weight decay.  What is given, data, forward pass and cost, is
in ``examples/graded/assignment.py``; each file beside it is what a student handed in: a
function ``backward_propagation``, with one of the mistakes that people make.  This
grades them, as one command does:

    tinygrad-nn check examples/graded/hand_in_*.py --data examples/graded/assignment.py

    python examples/graded_backprop.py
"""

from __future__ import annotations

from pathlib import Path

from tinygrad_nn.cli import main as tinygrad_nn

HERE = Path(__file__).parent / "graded"


def main():
    """Grade every hand-in; return the command's exit code: 1, for some are wrong."""
    files = [str(path) for path in sorted(HERE.glob("hand_in_*.py"))]
    return tinygrad_nn(["check", *files, "--data", str(HERE / "assignment.py")])


if __name__ == "__main__":
    main()
