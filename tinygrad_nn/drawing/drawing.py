"""`draw` and `Drawing`: a picture of the graph that was recorded."""

from __future__ import annotations

import html
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, final

import numpy as np

from tinygrad_nn import graph, recording
from tinygrad_nn.drawing.data import json_of
from tinygrad_nn.drawing.dot import SHOWN, dot_of
from tinygrad_nn.drawing.engines import rendered
from tinygrad_nn.drawing.mermaid import mermaid_of
from tinygrad_nn.drawing.scene import Scene, folded
from tinygrad_nn.drawing.slopes import times_of
from tinygrad_nn.drawing.telling import scene_of
from tinygrad_nn.drawing.tree import tree_of
from tinygrad_nn.errors import (
    DataError,
    MissingExtraError,
    MutationError,
    OpError,
    SaveError,
)
from tinygrad_nn.tensor import Tensor

__all__ = ["Drawing", "draw"]

_DIRECTIONS = ("LR", "TB")
_THEMES = ("auto", "light", "dark")
_RENDERED = (".svg", ".png", ".pdf")
_SUFFIXES = (".svg", ".png", ".pdf", ".dot", ".html", ".json", ".mmd")


@final
class Drawing:
    """A picture of a graph: shows itself in a notebook, prints as a tree, saves itself.

    It is a snapshot: later changes of values do not change it.
    """

    def __init__(
        self,
        scene: Scene,
        direction: str = "LR",
        *,
        theme: str = "auto",
        show: Collection[str] = SHOWN,
        page: Callable[[], str] | None = None,
    ) -> None:
        self._whole = scene
        self._scene = folded(scene)
        self._direction = direction
        self._theme = "light" if theme == "auto" else theme  # paper has no preference
        self._show = tuple(show)
        self._page = page

    @cached_property
    def dot(self) -> str:
        """The picture in DOT, Graphviz's language: the same text on every run."""
        return dot_of(self._scene, self._direction, self._theme, self._show)

    @cached_property
    def mermaid(self) -> str:
        """The picture in Mermaid, which GitHub draws: the same text on every run."""
        return mermaid_of(self._scene, self._direction, self._theme, self._show)

    @cached_property
    def json(self) -> str:
        """Every card, arrow and group of the graph, unfolded, as JSON text."""
        return json_of(self._whole)

    @cached_property
    def html(self) -> str:
        """A page, whole and offline, that plays the graph forwards and backwards.

        Raises
        ------
        MutationError
            If a value changed since the graph was drawn.
        """
        if self._page is None:
            raise OpError("Drawing.html: expected a drawing made by tg.draw")
        return self._page()

    def svg(self) -> str:
        """Return the picture as SVG text.

        Raises
        ------
        MissingExtraError
            If neither Graphviz's program ``dot`` nor pygraphviz is installed.
        """
        return self._rendered("svg").decode("utf-8")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save in the format that the suffix names; whole or not at all.

        ``.svg``, ``.png`` and ``.pdf`` are pictures; ``.html`` is a page that plays
        the graph; ``.dot`` and ``.mmd`` are the picture as text, in the languages of
        Graphviz and Mermaid; ``.json`` is all that is told of the graph, for programs.

        Raises
        ------
        DataError
            For another suffix.
        SaveError
            If the folder is missing, or the file cannot be written.
        MissingExtraError
            If a picture is asked for, and neither Graphviz's program ``dot`` nor
            pygraphviz is installed; the other formats need neither.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in _SUFFIXES:
            raise DataError(
                f"Drawing.save: expected a name that ends in {', '.join(_SUFFIXES)}; "
                f"got {target.name!r}"
            )
        content = self._content(suffix)
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

    def _content(self, suffix: str) -> bytes:
        if suffix in _RENDERED:
            return self._rendered(suffix[1:])
        if suffix == ".html":
            return self.html.encode()
        if suffix == ".json":
            return self.json.encode()
        return (self.mermaid if suffix == ".mmd" else self.dot).encode()

    def _rendered(self, form: str) -> bytes:
        if form != "png":
            return rendered(self.dot, form)
        sharp = dot_of(self._scene, self._direction, self._theme, self._show, dpi="144")
        return rendered(sharp, form)

    def __str__(self) -> str:
        """Print as a text tree."""
        return tree_of(self._scene)

    def __repr__(self) -> str:
        """Count what is in it."""
        cards = [card for card in self._whole.cards if card.kind != "constant"]
        return f"Drawing({len(cards)} nodes, {len(self._whole.arrows)} edges)"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, str]:
        """Show a page and a picture in a notebook; the tree where nothing else can be.

        GitHub shows the picture, for it runs no scripts.
        """
        del include, exclude
        bundle = {"text/plain": str(self)}
        with suppress(MissingExtraError):
            bundle["image/svg+xml"] = self.svg()
        with suppress(MissingExtraError, MutationError):
            bundle["text/html"] = (
                f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts '
                'allow-downloads" style="width:100%;height:34em;border:0" '
                'title="computation graph"></iframe>'
            )
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


# --- what is drawn -----------------------------------------------------------------


def _computed(function: Callable[..., Any], arrays: Sequence[Any]) -> Any:
    """Call a function with Tensors for its arrays.

    A model has its parameters, and arrays are its data. Of a function without a class,
    floating arrays are the inputs that it is differentiated by.
    """
    model = hasattr(function, "parameters")
    inputs = [
        _variable(name, x, differentiated=not model)
        for name, x in zip(_parameter_names(function, len(arrays)), arrays, strict=True)
    ]
    return function(*inputs)


def _variable(name: str | None, x: Any, *, differentiated: bool) -> Any:
    if isinstance(x, Mapping):  # params["W1"] is called W1
        return {
            key: _variable(str(key), item, differentiated=differentiated)
            for key, item in x.items()
        }
    if type(x) in (list, tuple):
        return type(x)(
            _variable(f"{name or 'x'}[{i}]", item, differentiated=differentiated)
            for i, item in enumerate(x)
        )
    if isinstance(x, Tensor) or not isinstance(x, (np.ndarray, np.floating, float)):
        return x
    array = np.asarray(x)
    floating = array.dtype.kind == "f"
    return Tensor(array, requires_grad=floating and differentiated, name=name)


def _parameter_names(function: Callable[..., Any], count: int) -> list[str | None]:
    called = getattr(function, "forward", function)
    try:
        known = list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):
        known = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names: list[str | None] = [p.name for p in known if p.kind in plain]
    return [*names, *[None] * count][:count]


def _outputs(given: Any, what: str = "") -> list[Tensor]:
    """Return the Tensors to draw, or say what was given instead."""
    if isinstance(given, Tensor):
        return [given]
    if callable(given) and not what:  # a layer, a model, a function
        title = getattr(given, "__name__", type(given).__name__)
        raise OpError(
            f"draw: expected Tensors, or what {title} takes; got {title} alone, which "
            "has no graph until it is called. Draw it on an input: "
            f"tg.draw({title}, x), or draw the output: tg.draw(net(x))"
        )
    if isinstance(given, Mapping):
        given = list(given.values())
    several = isinstance(given, Iterable) and not isinstance(given, (np.ndarray, str))
    outputs = list(given) if several else [given]
    for output in outputs:
        if not isinstance(output, Tensor):
            got = f"{type(output).__name__}{what and ' from ' + what}"
            raise OpError(
                f"draw: expected Tensors; got {got}. Compute with Tensors: "
                "tg.Tensor(x, requires_grad=True)"
            )
    if not outputs:
        raise OpError("draw: expected at least one Tensor; got none")
    return outputs


def _classes(given: Any, frame: FrameType) -> dict[str, str]:
    """Say of which class the layers at hand are, by path; a wing knows no layers.

    A path of which two models differ has no class.
    """
    found: dict[str, set[str]] = {}
    for model in [given, *frame.f_locals.values()]:
        listed = getattr(type(model), "named_modules", None)
        if listed is None:
            continue
        root = getattr(model, "name", None)
        for path, module in listed(model):
            full = ".".join(filter(None, (root, path)))
            found.setdefault(full, set()).add(type(module).__name__)
    return {path: min(names) for path, names in found.items() if len(names) == 1}


def _checked(word: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        known = " or ".join(map(repr, allowed))
        raise OpError(f"draw: {word} is {known}; got {value!r}")


def draw(
    given: Any,
    *arrays: Any,
    title: str | None = None,
    direction: str = "LR",
    theme: str = "auto",
    show: Collection[str] = SHOWN,
    fold: bool | None = None,
    depth: int | None = None,
    names: Mapping[str, Any] | None = None,
    times: bool = False,
) -> Drawing:
    """Draw the graph from which a Tensor, or several, were computed.

    Every node shows its name, formula, shape, value and gradient. Gradients are those
    that ``backward`` left; where it has not run they are computed for the picture, and
    no ``.grad`` is touched. A node without a gradient says so.

    Parameters
    ----------
    given
        One Tensor, a sequence of them, or a function or model that computes them.
    arrays
        What the function or model is called with. Floating arrays, those in
        dictionaries and lists too, become inputs with a gradient, called as the
        function's parameters are; of a model they are data.
    title
        Shown above the picture.
    direction
        ``"LR"``, left to right, or ``"TB"``, top to bottom.
    theme
        ``"light"``, ``"dark"``, or ``"auto"``: a page follows the reader's system, and
        a picture is light.
    show
        Some of ``"formulas"``, ``"gradients"``, ``"pictures"`` (heat maps),
        ``"shapes"`` and ``"values"``.
    fold
        Whether layers, or ops, that are alike and follow each other, four or more, are
        shown as one, twelve ``Dense`` for instance. Unless said, that is done in a
        graph of more than 40 ops; where more than 120 are left, as much is folded as
        has to be, layers too.
    depth
        How many layers deep to look: 0 folds every layer.
    names
        Tensors or arrays by name, where the names that are found are not wanted: a
        node's own ``.name``, else the caller's variable, else that of the statement
        which computed it, else op and number.
    times
        Whether the page tells how long each op takes, forward and backward. Ops are
        run three times more for that, and no two pages are the same then.

    Returns
    -------
    Drawing
        With ``.dot``, ``.svg()`` and ``.save(path)``.

    Raises
    ------
    OpError
        If what is given is no Tensor and computes none, or a setting is unknown.

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
    >>> print(draw(lambda a, b: (a * b).sum(), np.array([1.0, 2.0]), np.ones(2)))
    sum = Σ multiply: 3 | grad 1
    └─ multiply = a ⊙ b (2,): [1, 2] | grad [1, 1]
       ├─ a (2,): [1, 2] | grad [1, 1]
       └─ b (2,): [1, 1] | grad [1, 2]
    """
    _checked("direction", direction, _DIRECTIONS)
    _checked("theme", theme, _THEMES)
    for word in show:
        _checked("each of show", word, SHOWN)
    frame = recording.user_frame(sys._getframe(1))  # noqa: SLF001 (the documented way)
    if arrays:
        if not callable(given):
            raise OpError(
                "draw: expected a function or a model before arrays; got "
                f"{type(given).__name__}. Draw several Tensors as a list"
            )
        what = getattr(given, "__name__", type(given).__name__)
        outputs = _outputs(_computed(given, arrays), what)
    else:
        outputs = _outputs(given)
    chosen = dict(names or {})
    # pytest keeps parts of an assertion in variables that no one could write.
    known = {
        key: (value, name)
        for key, (value, name) in graph.known_in(frame).items()
        if not name.startswith("@")
    }
    classes = _classes(given, frame)
    scene, recorded = scene_of(
        outputs,
        title=title,
        chosen=chosen,
        known=known,
        caller=frame.f_code,
        classes=classes,
        fold=fold,
        depth=depth,
    )
    moment = recording.tick()

    def page() -> str:
        if recording.latest_change > moment and any(
            time > moment for time in _times(outputs)
        ):
            raise MutationError(
                "Drawing.html: expected the values that were drawn; got a graph of "
                "which a value changed since. Draw it again, or save the page before"
            )
        # Half the cost of importing this room, and a picture needs none of it.
        from tinygrad_nn.drawing.page import page_of  # noqa: PLC0415

        return page_of(
            outputs,
            title=title,
            chosen=chosen,
            known={**recorded.names.assigned, **known},
            direction=direction,
            theme=theme,
            times=times_of(recorded.nodes.values()) if times else None,
            classes=classes,
            fold=fold,
            depth=depth,
        )

    return Drawing(scene, direction, theme=theme, show=show, page=page)


def _times(outputs: Sequence[Tensor]) -> Iterable[int]:
    """When the leaves of a graph last changed."""
    every = graph.nodes(*outputs)
    return (x._order for x in every if x._op is None)  # noqa: SLF001 (Node's slots)
