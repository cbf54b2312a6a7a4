"""`draw` and `Drawing`: a picture of the graph that was recorded."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import graphviz
import numpy as np

from tinygrad_nn import graph, recording
from tinygrad_nn.drawing.dot import dot_of
from tinygrad_nn.drawing.scene import Scene, scene_of
from tinygrad_nn.drawing.tree import tree_of
from tinygrad_nn.errors import DataError, MissingExtraError, OpError, SaveError
from tinygrad_nn.tensor import Tensor

__all__ = ["Drawing", "draw"]

_DIRECTIONS = ("LR", "TB")
_SUFFIXES = (".dot", ".svg", ".png", ".pdf")


class Drawing:
    """A picture of a graph: shows itself in a notebook, prints as a tree, saves itself.

    It is a snapshot: later changes of values do not change it.
    """

    def __init__(self, scene: Scene, direction: str) -> None:
        self._scene = scene
        self._direction = direction

    @cached_property
    def dot(self) -> str:
        """The graph in DOT, Graphviz's language: the same text on every run."""
        return dot_of(self._scene, self._direction)

    def svg(self) -> str:
        """Return the picture as SVG text.

        Raises
        ------
        MissingExtraError
            If Graphviz's program ``dot`` is not installed.
        """
        return self._rendered("svg").decode("utf-8")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save as ``.dot``, ``.svg``, ``.png`` or ``.pdf``; whole or not at all.

        Raises
        ------
        DataError
            For another suffix.
        SaveError
            If the folder is missing, or the file cannot be written.
        MissingExtraError
            If Graphviz's program ``dot`` is not installed; ``.dot`` needs none.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in _SUFFIXES:
            raise DataError(
                f"Drawing.save: expected a name that ends in {', '.join(_SUFFIXES)}; "
                f"got {target.name!r}"
            )
        plain = suffix == ".dot"
        content = self.dot.encode() if plain else self._rendered(suffix[1:])
        try:
            _write(target, content)
        except OSError as error:
            if not target.parent.is_dir():
                raise SaveError(
                    f"Drawing.save: expected a folder that exists; got "
                    f"{str(target)!r}, and there is no folder {str(target.parent)!r}. "
                    "Make it first"
                ) from None
            # The error of the system names the temporary file, which nobody knows.
            raise SaveError(
                f"Drawing.save: cannot write {str(target)!r}: {error.strerror or error}"
            ) from error
        return target

    def _rendered(self, form: str) -> bytes:
        try:
            dot = self.dot
            if form == "png":
                dot = dot_of(self._scene, self._direction, dpi="144")
            content: bytes = graphviz.Source(dot).pipe(format=form)
        except graphviz.ExecutableNotFound:
            raise MissingExtraError(
                f"Drawing: {form} needs Graphviz's program 'dot', which was not found. "
                "Install Graphviz (apt install graphviz, brew install graphviz, "
                "winget install graphviz), or save as .dot"
            ) from None
        return content

    def __str__(self) -> str:
        """Print as a text tree."""
        return tree_of(self._scene)

    def __repr__(self) -> str:
        """Count what is in it."""
        cards = [card for card in self._scene.cards if card.kind != "constant"]
        return f"Drawing({len(cards)} nodes, {len(self._scene.arrows)} edges)"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, str]:
        """Show the picture in a notebook; the tree where there is no ``dot``."""
        del include, exclude
        bundle = {"text/plain": str(self)}
        with suppress(MissingExtraError):
            bundle["image/svg+xml"] = self.svg()
        return bundle


def _write(target: Path, content: bytes) -> None:
    """Write a file that appears whole, or not at all."""
    handle, temporary = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=".part"
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _outputs(given: Any) -> list[Tensor]:
    """Return the Tensors to draw, or say what was given instead."""
    if isinstance(given, Tensor):
        return [given]
    if callable(given):  # a layer, a model, a function
        what = getattr(given, "__name__", type(given).__name__)
        raise OpError(
            f"draw: expected Tensors; got {what}, which has no graph until it is "
            "called. Draw the output: tg.draw(net(x))"
        )
    several = isinstance(given, Iterable) and not isinstance(given, np.ndarray)
    outputs = list(given) if several else [given]
    for output in outputs:
        if not isinstance(output, Tensor):
            raise OpError(
                f"draw: expected Tensors; got {type(output).__name__}. Compute with "
                "Tensors: tg.Tensor(x, requires_grad=True)"
            )
    if not outputs:
        raise OpError("draw: expected at least one Tensor; got none")
    return outputs


def draw(
    tensors: Tensor | Sequence[Tensor],
    *,
    title: str | None = None,
    direction: str = "LR",
    names: Mapping[str, Any] | None = None,
) -> Drawing:
    """Draw the graph from which a Tensor, or several, were computed.

    Every node shows its name, formula, shape, value and gradient. Gradients are those
    that ``backward`` left; where it has not run they are computed for the picture, and
    no ``.grad`` is touched. A node without a gradient says so.

    Parameters
    ----------
    tensors
        One Tensor, or a sequence of them.
    title
        Shown above the picture.
    direction
        ``"LR"``, left to right, or ``"TB"``, top to bottom.
    names
        Tensors or arrays by name, where the names that are found are not wanted: a
        node's own ``.name``, else the caller's variable, else op and number.

    Returns
    -------
    Drawing
        With ``.dot``, ``.svg()`` and ``.save(path)``.

    Raises
    ------
    OpError
        If what is given is no Tensor, or the direction is unknown.

    Examples
    --------
    >>> x = Tensor(2.0, requires_grad=True)
    >>> y = Tensor(3.0, requires_grad=True)
    >>> print(draw(x * y + x))
    add = multiply + x: 8 | grad 1
    ├─ multiply = x · y: 6 | grad 1
    │  ├─ x: 2 | grad 4
    │  └─ y: 3 | grad 2
    └─ x: 2 | grad 4
    """
    outputs = _outputs(tensors)
    if direction not in _DIRECTIONS:
        raise OpError(f"draw: direction is 'LR' or 'TB'; got {direction!r}")
    frame = recording.user_frame(sys._getframe(1))  # noqa: SLF001 (the documented way)
    known = graph.known_in(frame)
    scene = scene_of(outputs, title=title, chosen=names or {}, known=known)
    return Drawing(scene, direction)
