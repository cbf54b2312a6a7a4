"""The explorer: a graph as one HTML file that plays its forward and its backward.

Nothing is asked of any server: program, layout engine and data are inside, compressed.
What a user named never becomes markup: it travels as JSON, inside base64, and the
page's program writes it as text. A Content-Security-Policy is the second wall: no
script runs whose digest is not written above it, and no address is ever asked.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from tinygrad_nn.drawing.explorer import story_of
from tinygrad_nn.drawing.values import shortened
from tinygrad_nn.tensor import Tensor

__all__ = ["page_of", "page_of_story"]

# Five of these characters are four bytes: denser than base64, and none of them means
# anything in HTML, in a quoted attribute, or in a script.
_DIGITS = "".join(
    character for character in map(chr, range(33, 127)) if character not in "\"&'<>\\`"
)[:85]

# Takes program and data out of their boxes, and starts the one on the other. The layout
# engine goes first: it starts on a thread of its own.
_LOADER = """
(async () => {
  const unpack = (id) => {
    const box = document.getElementById(id);
    const text = box.textContent;
    const digits = new Uint8Array(128);
    for (let i = 0; i < 85; i += 1) digits["DIGITS".charCodeAt(i)] = i;
    const bytes = new Uint8Array((text.length / 5) * 4);
    for (let i = 0, k = 0; i < text.length; i += 5, k += 4) {
      let word = 0;
      for (let j = 0; j < 5; j += 1) word = word * 85 + digits[text.charCodeAt(i + j)];
      bytes[k] = word >>> 24;
      bytes[k + 1] = word >>> 16;
      bytes[k + 2] = word >>> 8;
      bytes[k + 3] = word;
    }
    const packed = new Blob([bytes.subarray(0, Number(box.dataset.bytes))]);
    const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream);
  };
  const blob = await unpack("engine").blob();
  const text = new Blob([blob], { type: "text/javascript" });
  const engine = { text, worker: null };
  try {
    engine.worker = new Worker(URL.createObjectURL(text));
    // Where workers are forbidden, the page lays out by itself.
    engine.worker.onerror = () => { engine.worker = null; };
  } catch { engine.worker = null; }
  window.explorerEngine = engine;
  if (document.readyState === "loading")
    await new Promise((ready) => addEventListener("DOMContentLoaded", ready));
  window.story = JSON.parse(await unpack("story").text());
  const program = await unpack("program").text();
  const script = document.createElement("script");
  script.textContent = program;
  document.body.append(script);
})().catch((error) => {
  const words = document.createElement("p");
  words.textContent = "This page needs a browser of 2023 or later. " + error;
  document.body.append(words);
});
""".strip().replace("DIGITS", _DIGITS)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="tinygrad_nn">
<title>{title}</title>
</head>
<body{theme}>
<noscript>This page plays a computation graph, and needs JavaScript.</noscript>
<script type="text/plain" id="engine" {engine}</script>
<script>{loader}</script>
<script type="text/plain" id="program" {program}</script>
<script type="text/plain" id="story" {story}</script>
</body>
</html>
"""


def page_of(
    outputs: Sequence[Tensor],
    *,
    title: str | None = None,
    chosen: Mapping[str, Any] | None = None,
    known: Mapping[int, tuple[Any, str]] | None = None,
    direction: str = "LR",
    theme: str = "auto",
    times: Mapping[Tensor, tuple[float, float]] | None = None,
    classes: Mapping[str, str] | None = None,
    fold: bool | None = None,
    depth: int | None = None,
) -> str:
    """Return the page of the graph behind the outputs, as HTML text.

    Parameters
    ----------
    outputs, title, chosen, known, direction, times, classes, fold, depth
        As `story_of` takes them.
    theme
        ``"light"``, ``"dark"``, or ``"auto"``, as the reader's system has it.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> page = page_of([(x * x).sum()], title="</title><script>")
    >>> page.count("<script"), "http://" in page
    (4, False)
    """
    story = story_of(
        outputs,
        title=title,
        chosen=chosen,
        known=known,
        direction=direction,
        times=times,
        classes=classes,
        fold=fold,
        depth=depth,
    )
    return page_of_story(story, theme=theme)


def page_of_story(story: Mapping[str, Any], *, theme: str = "auto") -> str:
    """Return the page of a story that was told before, when the values were as it says.

    The same story gives the same text, byte for byte.
    """
    program, digest = _asset("explorer.js")
    engine, engine_digest = _asset("elk-worker.min.js")
    text = json.dumps(story, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    digests = (_digest(_LOADER), digest, engine_digest)
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src {scripts}; worker-src blob:; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    title = story.get("title") or "computation graph"
    chosen = theme if theme in ("light", "dark") else ""
    return _PAGE.format(
        policy=policy,
        title=html.escape(shortened(title, 120)),
        theme=f' data-theme="{chosen}"' if chosen else "",
        engine=engine,
        program=program,
        story=_packed(text),
        loader=_LOADER,
    )


@cache
def _asset(name: str) -> tuple[str, str]:
    """Return a program that the page holds in its packed form, and its digest."""
    asset = files("tinygrad_nn.drawing.explorer") / name
    program = asset.read_bytes().decode("utf-8")
    return _packed(program), _digest(program)


def _packed(text: str) -> str:
    """Compress a text, and write it as an attribute and content of an element."""
    # Without a time of its own, the same text gives the same bytes.
    packed = gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)
    words = np.frombuffer(packed + bytes(-len(packed) % 4), ">u4").astype(np.uint32)
    places = words[:, None] // np.array([85**4, 85**3, 85**2, 85, 1], np.uint32) % 85
    digits = np.frombuffer(_DIGITS.encode("ascii"), np.uint8)
    return f'data-bytes="{len(packed)}">{digits[places].tobytes().decode("ascii")}'


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return base64.b64encode(digest).decode("ascii")
