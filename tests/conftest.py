"""A random generator of its own for each test, and a count of the laws that ran."""

from __future__ import annotations

import os
import re
import signal
import zlib

# The threads of OpenBLAS wait by spinning: beside other work on a small machine a
# product of two matrices can take a hundred times as long with two as with one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

# The same examples in every run, and no file left behind.
hypothesis.settings.register_profile(
    "the same", derandomize=True, database=None, deadline=None
)
hypothesis.settings.load_profile("the same")

# A run in the background, or under nohup, starts with these signals ignored, and so
# would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def torch():
    """Return PyTorch, an independent witness; the test is skipped where it is not."""
    return pytest.importorskip("torch")


@pytest.fixture
def rng(request):
    """Return a generator seeded by the test's id: alone or together, the same numbers."""
    _, _, name = request.node.nodeid.rpartition("/")
    return np.random.default_rng(zlib.crc32(name.encode()))


def pytest_terminal_summary(terminalreporter):
    """Say how many laws ran on how many ops, and how many mutants they killed."""
    laws: dict[str, set[str]] = {}
    runs = 0
    mutants = {"killed": 0, "equivalent": 0}
    for report in terminalreporter.stats.get("passed", ()):
        found = re.search(r"test_ops\.py::test_(\w+)\[(\w+)", report.nodeid)
        if found:
            laws.setdefault(found[1], set()).add(found[2])
            runs += 1
        for name, value in report.user_properties:
            if name in mutants:
                mutants[name] += value
    if laws:
        members = set.union(*laws.values())
        pairs = sum(map(len, laws.values()))
        terminalreporter.write_line(
            f"{len(laws)} laws, {len(members)} ops and compositions: "
            f"{pairs} laws x members in {runs} runs"
        )
    if mutants["killed"]:
        terminalreporter.write_line(
            f"mutants: {mutants['killed']} killed, "
            f"{mutants['equivalent']} equivalent to the original"
        )
