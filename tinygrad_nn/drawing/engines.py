"""DOT into pictures: by the program ``dot``, else by the Graphviz inside pygraphviz."""

from __future__ import annotations

import graphviz

from tinygrad_nn.errors import MissingExtraError

__all__ = ["rendered"]


def rendered(dot: str, form: str) -> bytes:
    """Lay out a graph and return the picture.

    Parameters
    ----------
    dot
        Text in Graphviz's language.
    form
        ``"svg"``, ``"png"`` or ``"pdf"``.

    Raises
    ------
    MissingExtraError
        Where neither is installed.
    """
    try:
        content: bytes = graphviz.Source(dot).pipe(format=form)
    except graphviz.ExecutableNotFound:
        return _without_program(dot, form)
    return content


def _without_program(dot: str, form: str) -> bytes:
    try:
        from pygraphviz import AGraph  # noqa: PLC0415 (optional: extra draw)
    except ImportError:
        raise MissingExtraError(
            f"Drawing: {form} needs Graphviz, and neither its program 'dot' nor "
            "pygraphviz was found: pip install 'tinygrad_nn[draw]', or Graphviz itself "
            "(apt install graphviz, brew install graphviz, winget install graphviz). "
            "Or save as .dot, .mmd or .html, which need neither"
        ) from None
    content: bytes = AGraph(string=dot).draw(format=form, prog="dot")
    return content
