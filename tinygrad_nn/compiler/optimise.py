"""The passes, in order."""

from __future__ import annotations

from dataclasses import replace

from tinygrad_nn.compiler.passes.contractions import contracted
from tinygrad_nn.compiler.passes.expand import expand
from tinygrad_nn.compiler.passes.exponentials import exponentials
from tinygrad_nn.compiler.passes.gathering import gathered
from tinygrad_nn.compiler.passes.masks import masks
from tinygrad_nn.compiler.passes.unbroadcast import unbroadcast
from tinygrad_nn.rewriting.common import common
from tinygrad_nn.rewriting.fold import fold
from tinygrad_nn.rewriting.program import Program, watched
from tinygrad_nn.rewriting.scaling import scaled

__all__ = ["optimised"]


def optimised(program: Program, *, exact: bool, fuses: bool = False) -> Program:
    """Return a program that does the same with less; bit for bit where ``exact``.

    Where the backend ``fuses`` elementwise ops, and computes them again in each place,
    a short formula is worth more than a shared one.
    """
    program = common(fold(replace(program, exact=exact)))
    if not exact:
        program = exponentials(scaled(program), logistic=not fuses)
    program = masks(unbroadcast(expand(program)))
    program = common(fold(program))
    if exact:
        return watched(program)
    program = common(gathered(program))
    return watched(program if fuses else common(contracted(program)))
