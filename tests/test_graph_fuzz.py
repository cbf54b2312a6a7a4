"""Random graphs have torch's gradients; `fuzz_graphs` says how, and runs for longer."""

from __future__ import annotations

import fuzz_graphs
import pytest

from tinygrad_nn.op import REGISTRY

pytest.importorskip("torch")


@pytest.mark.parametrize("seed", range(4))
def test_some_random_graphs_have_torchs_gradients(seed):
    """Of 40 random graphs each gradient is torch's, or right to forty digits."""
    failing = fuzz_graphs.fuzz(40, seed)
    assert not failing, fuzz_graphs.fails(failing[0]) + f"\n{failing[0]}"


@pytest.mark.slow
def test_many_random_graphs_have_torchs_gradients():
    """Of 20,000 random graphs likewise."""
    failing = fuzz_graphs.fuzz(20_000, 0)
    assert not failing, f"{failing[0]}"


@pytest.mark.parametrize("name", ["tanh", "multiply", "sum", "transpose"])
def test_a_wrong_rule_is_found(name, monkeypatch):
    """A rule off by a part in a million is found, and told by a small program."""
    op = REGISTRY[name]
    scaled = [
        lambda g, *rest, _rule=rule, **options: _rule(g * 1.000001, *rest, **options)
        for rule in op.rules
    ]
    monkeypatch.setattr(op, "rules", tuple(scaled))
    failing = fuzz_graphs.fuzz(40, 0)
    assert failing
    small = fuzz_graphs.smaller(failing[0])
    assert len(small.instructions) <= len(failing[0].instructions)
    assert any(REGISTRY.get(step.word) is op for step in small.instructions) or (
        name in ("sum", "multiply")  # the loss itself is a weighted sum
    )
