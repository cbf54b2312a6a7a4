"""A derivation as plain text, LaTeX, Markdown and MathML."""

from __future__ import annotations

import html
import re
from itertools import pairwise
from typing import Any

from tinygrad_nn import graph
from tinygrad_nn.derivation.steps import Step, Steps
from tinygrad_nn.errors import MissingExtraError
from tinygrad_nn.notation import latex_name, written
from tinygrad_nn.notation.names import text_number
from tinygrad_nn.op import Node

__all__ = ["latex_of", "markdown_of", "mathml_of", "text_of"]


def _own(x: Any) -> str | None:
    return graph.name(x) if isinstance(x, Node) else None


def _right(expression: Any, style: str) -> str:
    """Write a right-hand side: a lone name is a name, not what is behind it."""
    leaf = isinstance(expression, Node) and expression._op is None
    return written(expression, _own, style, whole=not leaf)


def _heading(steps: Steps) -> str:
    """Say what m is, and what is m times the gradient."""
    told = [_of_examples(steps)] if steps.examples is not None else []
    told += steps.told
    return "; ".join(told)


def _of_examples(steps: Steps) -> str:
    letter = steps.examples._name
    told = f"{letter} = {text_number(steps.examples._value)}"
    results = list(steps.results.values())
    inner = [x.name for x in steps.backward if x.name not in results]
    if steps.scaled and inner:
        asked = [x.name for x in steps.backward if x.name in results]
        verb = "is" if len(inner) == 1 else "are"
        told += (
            f": {_listed(inner)} {verb} {letter} times the gradient, the 1 / {letter} "
            f"comes in at {_listed(asked)}"
        )
    return told


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _renamed(steps: Steps) -> str:
    return ", ".join(f"{letter}: {name}" for letter, name in steps.renamed.items())


def text_of(steps: Steps) -> str:
    """Return the lines as plain text, with shapes."""
    known = _renamed(steps)
    sections = [(f"Forward ({known})" if known else "Forward", _rows(steps.forward))]
    rows = _rows(steps.backward)
    heading = _heading(steps)
    sections.append((f"Backward ({heading})" if heading else "Backward", rows))
    widest = max(
        (len(row[0]) for _, rows in sections for row in rows if len(row[0]) <= 60),
        default=0,
    )
    made = []
    for title, rows in sections:
        made.append(title)
        made += [f"  {left:<{widest}}  {right}".rstrip() for left, right in rows]
    return "\n".join(map(_printable, made))


def _printable(line: str) -> str:
    """Return a line that stays one, whatever characters a name has."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _rows(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    rows = []
    for step in steps:
        if step.chain:
            rows.append((f"{_product(step.chain)}", ""))
        if step.unsimplified is not None:
            plain = _right(step.unsimplified, "text")
            rows.append(
                (f"{step.name} = {plain}", "") if len(plain) < 500 else ("", "")
            )
        line = f"{step.name} = {_right(step.expression, 'text')}"
        rows.append((line, str(step.shape)))
    return [row for row in rows if any(row)]


def _product(chain: tuple[str, ...]) -> str:
    slopes = [f"d{x}/d{y}" for x, y in pairwise(chain)]
    return f"d{chain[0]}/d{chain[-1]} = {' · '.join(slopes)}"


def _latex_product(chain: tuple[str, ...]) -> str:
    names = [latex_name(x) for x in chain]
    left, *slopes = [
        rf"\frac{{\partial {x}}}{{\partial {y}}}"
        for x, y in [(names[0], names[-1]), *pairwise(names)]
    ]
    return f"{left} &= " + r" \cdot ".join(slopes)


def _latex_lines(steps: tuple[Step, ...]) -> list[str]:
    lines = []
    for step in steps:
        if step.chain:
            lines.append(_latex_product(step.chain))
        left = latex_name(step.name)
        if step.unsimplified is not None:
            lines.append(f"{left} &= {_right(step.unsimplified, 'latex')}")
        lines.append(f"{left} &= {_right(step.expression, 'latex')}")
    return lines


def _block(lines: list[str]) -> str:
    return r"\begin{aligned}" + "\n" + " \\\\\n".join(lines) + "\n" + r"\end{aligned}"


def latex_of(steps: Steps) -> str:
    """Return the lines as LaTeX: forward, then backward."""
    forward, backward = _latex_lines(steps.forward), _latex_lines(steps.backward)
    return f"{_block(forward)}\n\n{_block(backward)}"


def _plain(text: str) -> str:
    """Return text in which Markdown and HTML find no sign of theirs."""
    return re.sub(r"([\\`*_#\[\]$])", r"\\\1", html.escape(" ".join(text.split())))


def markdown_of(steps: Steps) -> str:
    """Return the lines as Markdown."""
    heading = _heading(steps)
    told = f"\n{_plain(heading)}.\n" if heading else ""
    known = _renamed(steps)
    names = f"\n{_plain(known)}.\n" if known else ""
    forward = _block(_latex_lines(steps.forward))
    backward = _block(_latex_lines(steps.backward))
    parts = [f"**Forward**\n{names}", forward, f"**Backward**\n{told}", backward]
    return "{}\n$$\n{}\n$$\n\n{}\n$$\n{}\n$$\n".format(*parts)


def _large(mathml: str) -> str:
    """Let fractions be as large as on a line of their own, and stand at the left."""
    return mathml.replace('display="inline"', 'display="inline" displaystyle="true"', 1)


def mathml_of(steps: Steps) -> str:
    """Return the lines as HTML with MathML."""
    try:
        from latex2mathml import converter  # noqa: PLC0415 (an extra)
    except ImportError:
        raise MissingExtraError(
            "Derivation: MathML needs latex2mathml: pip install 'tinygrad_nn[draw]'"
        ) from None
    blocks = []
    for title, told, lines in (
        ("Forward", _renamed(steps), _latex_lines(steps.forward)),
        ("Backward", _heading(steps), _latex_lines(steps.backward)),
    ):
        formulas = [converter.convert(line.replace("&=", "=")) for line in lines]
        body = "".join(
            f'<div style="margin: 5px 0">{_large(formula)}</div>'
            for formula in formulas
        )
        note = f" ({html.escape(told)})" if told else ""
        blocks.append(f"<p><b>{title}</b>{note}</p>{body}")
    return "".join(blocks)
