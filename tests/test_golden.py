"""Golden graphs notice what changed, and show no more than that.

The graphs of the tutorials are held to their text in `test_verdicts`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.check import assert_same_graph, graph_text
from tinygrad_nn.errors import GraphMismatch
from tinygrad_nn.op import REGISTRY

ROOT = Path(__file__).resolve().parents[1]


def network(first=np.tanh, *, swapped=False, twice=False):
    """Record a network of two layers, or one that differs from it in one place."""
    rng = np.random.default_rng(0)
    W1 = tg.Parameter(rng.standard_normal((3, 4)), name="W1")
    W2 = tg.Parameter(rng.standard_normal((4, 1)), name="W2")
    X = np.ones((5, 3))
    Z = X @ W1
    if twice:
        Z = Z * 2.0
    A = first(Z)
    return ((W2.T @ A.T).T if swapped else A @ W2).sum()


def changed(tmp_path, other):
    """Return the lines of the difference between the network and another."""
    path = tmp_path / "network.txt"
    assert_same_graph(network(), path=path, update=True)
    with pytest.raises(GraphMismatch) as found:
        assert_same_graph(other, path=path, update=False)
    lines = str(found.value).splitlines()
    return [x for x in lines if re.match(r"[-+]%", x)]


def test_another_op_is_the_one_line_that_differs(tmp_path):
    """Where one op is another, that node is shown as it was and as it is."""
    was, now = changed(tmp_path, network(np.sin))
    assert was.startswith("-%3 = tanh(%2)")
    assert now.startswith("+%3 = sin(%2)")


def test_one_node_more_moves_no_other_line(tmp_path):
    """A node that came in between is shown, with its reader, and no number after it."""
    lines = changed(tmp_path, network(twice=True))
    assert any(re.match(r"\+%\d+ = multiply\(%2, 2", x) for x in lines), lines
    assert len([x for x in lines if x.startswith("+")]) == 2
    assert not any("sum" in x for x in lines)


def test_operands_in_another_order_are_noticed(tmp_path):
    """A product that is written the other way round is another graph."""
    assert any("transpose" in x for x in changed(tmp_path, network(swapped=True)))
    x, y = (tg.Parameter(np.ones(2), name=name) for name in "xy")
    path = tmp_path / "order.txt"
    assert_same_graph(x - y, path=path, update=True)
    with pytest.raises(GraphMismatch):
        assert_same_graph(y - x, path=path, update=False)


def test_an_op_by_another_name_is_noticed(monkeypatch, tmp_path):
    """An op that is renamed leaves no golden graph as it was."""
    path = tmp_path / "network.txt"
    assert_same_graph(network(), path=path, update=True)
    monkeypatch.setattr(REGISTRY["tanh"], "name", "th")
    with pytest.raises(GraphMismatch, match=r"\+%3 = th\(%2\)"):
        assert_same_graph(network(), path=path, update=False)


def test_numbers_of_numpy_are_written_as_pythons():
    """A setting's text does not depend on whether a number came from NumPy."""
    x = tg.Parameter(np.ones((2, 3)), name="x")
    assert graph_text(x.sum(axis=np.int64(1))) == graph_text(x.sum(axis=1))


def test_the_text_is_the_same_in_every_process():
    """Neither the hash seed nor the place of an object in memory is in the text."""
    code = (
        "import numpy as np, tinygrad_nn as tg\n"
        "from tinygrad_nn.check import graph_text\n"
        "net = tg.nn.Sequential(tg.nn.Dense(3, 2, rng=0), tg.nn.Dropout(0.5, rng=1))\n"
        "print(graph_text(net(tg.Tensor(np.ones((4, 3)), requires_grad=True)).sum()))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(texts) == 1
    assert " at 0x" not in texts.pop()
