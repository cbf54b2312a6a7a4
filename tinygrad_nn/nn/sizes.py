"""How many numbers layers take and give: what cannot follow is refused at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from tinygrad_nn.errors import ModelError
from tinygrad_nn.nn.activations import ACTIVATIONS, KEEP_SIZE
from tinygrad_nn.nn.attention import MultiHeadAttention
from tinygrad_nn.nn.convolution import Convolution
from tinygrad_nn.nn.dense import Dense
from tinygrad_nn.nn.dropout import Dropout
from tinygrad_nn.nn.embedding import Embedding
from tinygrad_nn.nn.module import Module, told
from tinygrad_nn.nn.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from tinygrad_nn.nn.pooling import GlobalAvgPool, Pooling
from tinygrad_nn.nn.recurrent import Recurrent

__all__ = ["check_sizes"]


class _Ends(NamedTuple):
    """What a layer takes and gives: numbers along the last axis, or along the second.

    None: anything.
    """

    what: str
    taken: int | None
    given: int


class _Before(NamedTuple):
    """The layer that decides what comes out so far."""

    path: str
    layer: Any
    what: str
    given: int


def _ends(layer: Any) -> _Ends | None:
    found: tuple[Any, ...] = ()
    if isinstance(layer, (Dense, Recurrent)):
        found = ("features", layer.n_in, layer.n_out)
    elif isinstance(layer, Convolution):
        found = ("channels", layer.n_in, layer.n_out)
    elif isinstance(layer, Embedding):
        found = ("features", None, layer.n_out)
    elif isinstance(layer, (LayerNorm, RMSNorm)):
        found = ("features", layer.lengths[-1], layer.lengths[-1])
    elif isinstance(layer, MultiHeadAttention):
        found = ("features", layer.n, layer.n)
    elif isinstance(layer, (BatchNorm, GroupNorm)):
        found = ("channels", layer.n, layer.n)
    return _Ends(*found) if found else None


def _keeps_size(layer: Any, before: _Before) -> bool:
    if isinstance(layer, Pooling):
        return before.what == "channels"
    if isinstance(layer, Module):
        return isinstance(layer, (Dropout, *KEEP_SIZE))
    op = getattr(layer, "op", None)
    return layer in ACTIVATIONS.values() or (op is not None and bool(op.pointwise))


def check_sizes(layers: Iterable[tuple[str, Any]]) -> None:
    """Refuse a layer that cannot take what the one before it gives.

    Parameters
    ----------
    layers
        Path and layer, in the order in which they are applied.

    Raises
    ------
    ModelError
        Names both layers.

    Examples
    --------
    >>> check_sizes([("0", Dense(2, 3)), ("1", Dense(3, 1))])
    """
    before: _Before | None = None
    for path, layer in layers:
        if before is not None and before.what == "outputs and state":
            raise ModelError(
                f"Sequential: a layer takes one array; got layer {before.path}: "
                f"{told(before.layer)}, which gives outputs and a state, before layer "
                f"{path}: {told(layer)}. Make it with returns='last' or 'outputs'"
            )
        ends = _ends(layer)
        if ends is not None:
            if before is not None and before.what == ends.what:
                _check_pair(before, path, layer, ends)
            before = _Before(path, layer, ends.what, ends.given)
            if isinstance(layer, Recurrent) and layer.returns == "both":
                before = before._replace(what="outputs and state")
        elif isinstance(layer, GlobalAvgPool):
            after_channels = before is not None and before.what == "channels"
            before = (
                before._replace(what="features") if before and after_channels else None
            )
        elif before is not None and not _keeps_size(layer, before):
            before = None


def _check_pair(before: _Before, path: str, layer: Any, ends: _Ends) -> None:
    if ends.taken is None or ends.taken == before.given:
        return
    pair = (
        f"layer {before.path}: {told(before.layer)} before layer {path}: {told(layer)}"
    )
    if isinstance(layer, Dense) and isinstance(before.layer, Dense):
        raise ModelError(
            f"Sequential: each Dense takes what the one before it gives; got {pair}. "
            f"Make the second Dense({before.given}, {layer.n_out}), or the first "
            f"Dense({before.layer.n_in}, {layer.n_in})"
        )
    raise ModelError(
        f"Sequential: each layer takes as many {before.what} as the one before it "
        f"gives; got {pair}, which takes {ends.taken}. Make it take {before.given}"
    )
