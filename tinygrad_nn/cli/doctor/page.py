"""The report, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import wrap

from tinygrad_nn.cli.doctor.findings import Finding, Section

__all__ = ["as_json", "as_text"]

WIDTH = 88
LEAST = 30
NAMES = 44
"""The widest name that has its text beside it, not below."""


def as_text(sections: Sequence[Section]) -> str:
    """Lay the sections out, names beside what was found.

    >>> print(as_text([Section("BLAS", [Finding("kernel", "Zen"), Finding("x", "0")])]))
    BLAS
      kernel  Zen
      x       0
    """
    return "\n\n".join("\n".join(_lines(section)) for section in sections)


def _lines(section: Section) -> list[str]:
    beside = [item for item in section.findings if _is_beside(item)]
    width = max((len(item.name) for item in beside), default=0)
    lines = [section.title]
    if not section.findings:
        lines += _wrapped(section.otherwise, "  ")
    for item in section.findings:
        if _is_beside(item):
            first, *rest = _wrapped(item.text, " " * (width + 4))
            lines += [f"  {item.name:{width}}  {first.lstrip()}", *rest]
        else:
            lines += [f"  {item.name}", *_wrapped(item.text, " " * 6)]
    return lines


def _is_beside(item: Finding) -> bool:
    return len(item.name) <= NAMES and "\n" not in item.text


def _wrapped(text: str, indent: str) -> list[str]:
    """Break at spaces only: paths and options stay whole, however long."""
    lines = []
    for line in text.splitlines() or [""]:
        lines += wrap(
            line,
            max(WIDTH, len(indent) + LEAST),
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [indent]
    return lines


def as_json(sections: Sequence[Section]) -> str:
    """Write the same as one JSON object: section, finding, value.

    >>> as_json([Section("C compilers", [Finding("cc", "not found")])])
    '{"c compilers": {"cc": null}}'
    """
    return json.dumps(
        {
            section.title.lower(): {item.name: item.value for item in section.findings}
            for section in sections
        }
    )
