"""Draw the pictures of the pages from the pages' own code, and the gallery.

    python docs/make_images.py

Each picture is kept twice: as SVG, which the page shows, and as DOT, which the
tests compare with what `tg.draw` says now. Those of the gallery, `docs/drawing.md`, are
drawn for light and for dark screens.
"""

from __future__ import annotations

import doctest
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"

PICTURES = {
    # image: the page whose code makes it, and the variable that is drawn
    "expression": (DOCS.parent / "README.md", "z"),
    "neuron": (DOCS / "tutorial.md", "cost"),
}


def names_of(page: Path, until: str) -> dict[str, Any]:
    """Run a page's Python until a variable exists; return all its variables."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parser = doctest.DocTestParser()
    for block in re.findall(
        r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        for example in parser.get_examples(block):
            if example.exc_msg is None:  # else an error that the page shows
                with redirect_stdout(StringIO()):
                    exec(example.source, names)  # noqa: S102 (the page's own code)
        if until in names:
            return names
    raise LookupError(f"{page}: no block of Python assigns {until}")


# --- the gallery --------------------------------------------------------------------


def circuit(theme: str) -> tg.drawing.Drawing:
    """One neuron of two inputs, as every introduction draws it."""
    x1, x2 = tg.Tensor(2.0, name="x1"), tg.Tensor(0.0, name="x2")
    w1, w2 = tg.Parameter(-3.0, name="w1"), tg.Parameter(1.0, name="w2")
    b = tg.Parameter(6.88, name="b")
    n = x1 * w1 + x2 * w2 + b
    o = tg.tanh(n)
    return tg.draw(o, title="A neuron", theme=theme)


def logistic(theme: str) -> tg.drawing.Drawing:
    """Logistic regression with its cross-entropy written out."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2, 30))
    Y = (X[:1] + X[1:] > 0).astype(float)
    W, b = tg.Parameter(np.array([[0.6, -0.4]])), tg.Parameter(np.zeros((1, 1)))
    Z = W @ X + b
    A = 1 / (1 + np.exp(-Z))
    cost = -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).mean()
    return tg.draw(cost, title="Logistic regression", theme=theme)


def flower(theme: str) -> tg.drawing.Drawing:
    """The 2-4-1 network of the tutorials on the flower."""
    points = tg.data.flower()
    X, Y = points.X.T[:, ::4], points.y[None, ::4].astype(float)
    rng = np.random.default_rng(3)
    W1, b1 = tg.Parameter(rng.standard_normal((4, 2))), tg.Parameter(np.zeros((4, 1)))
    W2, b2 = tg.Parameter(rng.standard_normal((1, 4))), tg.Parameter(np.zeros((1, 1)))
    with tg.scope("hidden"):
        A1 = np.tanh(W1 @ X + b1)
    with tg.scope("output"):
        A2 = tg.sigmoid(W2 @ A1 + b2)
    cost = tg.losses.binary_cross_entropy(A2, Y)
    return tg.draw(cost, title="The flower network, 2-4-1", theme=theme, direction="TB")


class Block(tg.nn.Module):
    """A residual block: two layers, and the way around them."""

    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self.first = tg.nn.Dense(width, width, activation="relu", rng=rng)
        self.second = tg.nn.Dense(width, width, rng=rng)

    def forward(self, x: Any) -> Any:
        """Add what two layers make of x to it."""
        return x + 0.1 * self.second(self.first(x))


def residual(theme: str) -> tg.drawing.Drawing:
    """A hundred layers: fifty blocks, and two layers around them."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 16)), rng.integers(10, size=64)
    net = tg.nn.Sequential(
        tg.nn.Dense(16, 32, rng=rng),
        *(Block(32, rng) for _ in range(49)),
        tg.nn.Dense(32, 10, rng=rng),
    )
    loss = tg.losses.cross_entropy(net(X), y)
    return tg.draw(
        loss, title="A residual network of 100 layers", theme=theme, direction="TB"
    )


def attention(theme: str) -> tg.drawing.Drawing:
    """One head of self-attention over six words."""
    rng = np.random.default_rng(1)
    X = tg.Tensor(rng.standard_normal((6, 8)), requires_grad=True, name="X")
    WQ, WK, WV = (
        tg.Parameter(rng.standard_normal((8, 8)) / 2, name=name)
        for name in ("WQ", "WK", "WV")
    )
    Q, K, V = X @ WQ, X @ WK, X @ WV
    with tg.scope("attention"):
        scores = Q @ K.T / 8**0.5
        weights = tg.softmax(scores)
        H = weights @ V
    loss = (H * H).mean()
    return tg.draw(loss, title="Self-attention, one head", theme=theme, direction="TB")


GALLERY = (circuit, logistic, flower, residual, attention)


def pictures() -> dict[str, tg.drawing.Drawing]:
    """Return the drawings by the names of their files."""
    drawings = {}
    for image, (page, variable) in PICTURES.items():
        names = names_of(page, variable)
        tensors = {k: v for k, v in names.items() if isinstance(v, tg.Tensor)}
        drawings[image] = tg.draw(names[variable], names=tensors)
    for make in GALLERY:
        for theme in ("light", "dark"):
            drawings[f"{make.__name__}-{theme}"] = make(theme)
    return drawings


def main() -> None:
    """Write every picture."""
    for image, drawing in pictures().items():
        for suffix in (".dot", ".svg"):
            print(drawing.save(IMAGES / f"{image}{suffix}"))


if __name__ == "__main__":
    main()
