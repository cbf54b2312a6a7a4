"""The pytest plugin: fixture `gradcheck`, its marker, its options and its summary.

Loaded by pytest in every project where the library is installed, so it imports nothing
of it before a test asks.
"""

from __future__ import annotations

import os
import shlex
import zlib
from collections.abc import Callable, Iterator
from typing import Any, final

import pytest

__all__ = [
    "GradCheck",
    "gradcheck",
    "pytest_addoption",
    "pytest_configure",
    "pytest_terminal_summary",
    "pytest_unconfigure",
]

_MODES = ("auto", "full", "off")
_SETTINGS = ("mode", "kinks", "strict", "points")
_KEY = "gradcheck"
_UPDATE = "TINYGRAD_NN_UPDATE_GRAPHS"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--gradcheck`` and ``--update-graphs``."""
    group = parser.getgroup("gradcheck", "gradient checks of tinygrad_nn")
    group.addoption(
        "--gradcheck",
        choices=_MODES,
        default="auto",
        help="auto: random directions first; full: every element; off: skip the tests "
        "that use the fixture gradcheck",
    )
    group.addoption(
        "--update-graphs",
        action="store_true",
        help="write the files of assert_same_graph anew instead of comparing",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker and the option known."""
    config.addinivalue_line(
        "markers",
        "gradcheck(mode='auto', kinks='bracket', strict=False, points=2): settings of "
        "the fixture gradcheck in this test",
    )
    if config.getoption("--update-graphs"):
        os.environ[_UPDATE] = "1"  # other processes of the run inherit it


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    if config.getoption("--update-graphs"):
        os.environ.pop(_UPDATE, None)


@final
class GradCheck:
    """What the fixture gives: `assert_gradients`, seeded and set by the test.

    Calling it is calling ``tg.check.assert_gradients``; `formula` is
    ``tg.check.check_formula``, asserted. The seed comes from the test's id, so that a
    test finds tomorrow what it finds today.
    """

    def __init__(self, node: Any, settings: dict[str, Any]) -> None:
        self.seed = zlib.crc32(node.nodeid.encode())
        self.settings = settings
        self.reports: list[Any] = []
        self._node = node

    def __call__(self, f: Callable[..., Any], *arrays: Any, **settings: Any) -> Any:
        """Raise where a gradient is wrong; return the report otherwise."""
        __tracebackhide__ = True
        from tinygrad_nn.check.gradients import check_gradients  # noqa: PLC0415
        from tinygrad_nn.check.pasted import as_code  # noqa: PLC0415

        chosen = {"seed": self.seed, **self.settings, **settings}
        report = self._run(check_gradients, f, *arrays, **chosen)
        if not report:
            again = f"again: pytest {shlex.quote(self._node.nodeid)}\nby hand:\n"
            code = as_code(f, arrays, chosen)
            self._node.add_report_section("call", "gradcheck", again + code)
        return self._judged(report)

    def formula(self, loss: Any, gradients: Any) -> Any:
        """Raise at the first wrong gradient of a chain; return the report otherwise."""
        __tracebackhide__ = True
        from tinygrad_nn.check.chain import check_formula  # noqa: PLC0415

        return self._judged(self._run(check_formula, loss, gradients))

    @staticmethod
    def _run(check: Callable[..., Any], *given: Any, **settings: Any) -> Any:
        """Run a check; what it refuses is shown at the user's line, not at its own."""
        __tracebackhide__ = True
        from tinygrad_nn.check.pasted import outside  # noqa: PLC0415
        from tinygrad_nn.errors import TinygradError  # noqa: PLC0415

        try:
            return check(*given, **settings)
        except TinygradError as error:
            if error.__cause__ is not None:
                cause = error.__cause__
                error.__cause__ = cause.with_traceback(outside(cause.__traceback__))
            error.__traceback__ = outside(error.__traceback__)
            raise

    def _judged(self, report: Any) -> Any:
        __tracebackhide__ = True
        from tinygrad_nn.errors import GradientMismatch  # noqa: PLC0415

        self.reports.append(report)
        if not report:
            error = GradientMismatch(f"gradients: {report}")
            error.report = report  # type: ignore[attr-defined]
            raise error
        return report

    def counts(self) -> dict[str, Any]:
        """What the summary line is made of."""
        single = [r for r in self.reports if hasattr(r, "evaluations")]
        parameters = [p for r in single for p in r.parameters.values()]
        return {
            "checks": len(self.reports),
            "evaluations": sum(r.evaluations for r in single),
            "resolution": max(
                (p.resolution for p in parameters if p.verdict in ("ok", "weak")),
                default=0.0,
            ),
            "kinks": sum(p.verdict == "kink" or p.kinks > 0 for p in parameters),
            "weak": sum(r.verdict == "weak" for r in self.reports),
            "failed": sum(not r for r in self.reports),
        }


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Iterator[GradCheck]:
    """``gradcheck(f, *arrays, formula=…)``: fail where a gradient is wrong.

    The settings of the marker ``@pytest.mark.gradcheck(mode=, kinks=, strict=,
    points=)`` hold for the calls in the test, those of a call itself for it.
    """
    chosen = request.config.getoption("--gradcheck")
    if chosen == "off":
        pytest.skip("--gradcheck=off")
    settings = {} if chosen == "auto" else {"mode": chosen}
    for marker in reversed(list(request.node.iter_markers(_KEY))):
        unknown = set(marker.kwargs) - set(_SETTINGS)
        if unknown or marker.args:
            pytest.fail(
                f"marker gradcheck: takes {', '.join(_SETTINGS)} by name; got "
                f"{', '.join([*map(repr, marker.args), *sorted(unknown)])}",
                pytrace=False,
            )
        settings |= marker.kwargs
    check = GradCheck(request.node, settings)
    yield check
    if check.reports:
        # Properties of a test travel with its report, from other processes too.
        request.node.user_properties.append((_KEY, check.counts()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write one line: how many checks, how sharp, what was weak."""
    found = [
        (report.nodeid, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown" or hasattr(report, "nodeid")
        for name, value in getattr(report, "user_properties", ())
        if name == _KEY
    ]
    tests = dict(found)  # a failed test has a report for its call and its teardown
    if not tests:
        return
    total = {
        key: sum(counts[key] for counts in tests.values())
        for key in ("checks", "evaluations", "kinks", "weak", "failed")
    }
    worst = max(counts["resolution"] for counts in tests.values())
    line = (
        f"gradcheck: {total['checks']} check{'s' * (total['checks'] != 1)}, "
        f"{total['evaluations']:,} evaluations, worst resolution {worst:.0e}, "
        f"{total['kinks']} kink{'s' * (total['kinks'] != 1)}, {total['weak']} weak"
    )
    weak = [
        node.rpartition("::")[2] for node, counts in tests.items() if counts["weak"]
    ]
    if weak:
        line += f" ({', '.join(weak[:5])}{', …' if len(weak) > 5 else ''})"
    if total["failed"]:
        line += f", {total['failed']} failed"
    terminalreporter.write_line(line)
