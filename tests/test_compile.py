"""`tg.compile`: a compiled step is the eager step, with less around it."""

from __future__ import annotations

import compile_laws
import numpy as np
import pytest
from compile_members import STEPS, WHOLE
from test_ops import MEMBERS

import tinygrad_nn as tg


def _title(member):
    return f"{member.name}-{'_'.join(str(member.sample).split())}"


every_step = pytest.mark.parametrize("name", STEPS)
every_whole = pytest.mark.parametrize("name", WHOLE)
both_ways = pytest.mark.parametrize("exact", [True, False], ids=["exact", "optimised"])


# --- equal results -------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("member", MEMBERS, ids=_title)
def test_ops_and_compositions_equal_eager(member, rng, exact):
    """Every op at every sample: value and gradients, bit for bit or to 12 digits."""
    compile_laws.op_equals_eager(member, rng, exact=exact)


@both_ways
@every_step
def test_steps_equal_eager(name, exact):
    """Five steps from one state leave what five eager steps leave."""
    compile_laws.equals_eager(STEPS[name], exact=exact)


@both_ways
@every_step
def test_steps_may_be_interleaved(name, exact):
    """Compiled and eager steps in turn on one model do what eager steps do."""
    compile_laws.equals_eager(STEPS[name], exact=exact, interleaved=True, steps=4)


@both_ways
@every_whole
def test_examples_equal_eager(name, exact):
    """Every example and tutorial network, five steps."""
    compile_laws.equals_eager(WHOLE[name], exact=exact)


@pytest.mark.slow
@pytest.mark.parametrize("interleaved", [False, True])
@both_ways
@pytest.mark.parametrize("name", [*WHOLE, *STEPS])
def test_two_hundred_steps_equal_eager(name, exact, interleaved):
    """Two hundred steps from one state, bit for bit or to 12 digits."""
    make = WHOLE.get(name) or STEPS[name]
    compile_laws.equals_eager(make, exact=exact, interleaved=interleaved, steps=200)


# --- what a step leaves alone ----------------------------------------------------------

SOME = [
    name
    for name in STEPS
    if " of " not in name or name.endswith(("an argument, mean", "an argument, none"))
]
some_steps = pytest.mark.parametrize("name", SOME)


@some_steps
def test_arguments_stay(name):
    """Arguments may be read-only, and are what they were afterwards."""
    compile_laws.arguments_stay(STEPS[name])


@some_steps
def test_results_stay(name):
    """A result shares memory with nothing, may be written to, and no step changes it."""
    compile_laws.results_stay(STEPS[name])


@some_steps
def test_gradients_stay(name):
    """A gradient once handed out is an array of its own that no later step changes."""
    compile_laws.gradients_stay(STEPS[name])


SIGNATURES = {
    "arguments_of_every_kind": 2,  # two sets of static arguments
    "gradient_of_the_step_before": 2,  # with and without one
    "gradients_from_earlier_calls": 3,  # nothing waits, something does, and a step
    "two_optimisers": 2,  # the second cost leaves gradients of the first's parameters
    "modes_between_steps": 2,
    "cotangent_as_argument": 2,  # gradients wait, or not
    "cotangent_held_outside": 2,
    "clipped_by_value": 2,
}


@some_steps
def test_calls_of_one_signature_are_traced_once(name):
    """However often a step is called, each of its signatures is traced once."""
    compile_laws.traces_once(STEPS[name], SIGNATURES.get(name, 1))
