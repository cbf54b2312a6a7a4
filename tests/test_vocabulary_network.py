"""Layers as functions: PyTorch's values and gradients, edges, and what is refused.

That each is what its definition in loops says, to fifty digits and to second order, is
a law of `test_ops`; the definitions are in `members.network`.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from members import network

import tinygrad_nn as tg
from tinygrad_nn.errors import OpError, ShapeError

RNG = np.random.default_rng(5)
START = RNG.bit_generator.state
normal = RNG.standard_normal


@pytest.fixture(autouse=True)
def _each_test_draws_from_the_start():
    RNG.bit_generator.state = START


def same(ours, theirs, *arrays, tolerance=1e-12):
    """Values and gradients of both, under one random upstream, are equal."""
    torch = pytest.importorskip("torch")
    leaves = [tg.Tensor(a, requires_grad=True) for a in arrays]
    twins = [torch.tensor(a, requires_grad=True) for a in arrays]
    found, wanted = ours(*leaves), theirs(torch, *twins)
    if not isinstance(found, tuple):
        found, wanted = (found,), (wanted,)
    loss, twin_loss = 0.0, 0.0
    for y, z in zip(found, wanted, strict=True):
        np.testing.assert_allclose(
            y.numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance
        )
        g = np.random.default_rng(1).standard_normal(y.shape)
        loss, twin_loss = loss + tg.sum(y * g), twin_loss + (z * torch.tensor(g)).sum()
    loss.backward()
    twin_loss.backward()
    for x, t in zip(leaves, twins, strict=True):
        np.testing.assert_allclose(
            x.grad, t.grad.numpy(), rtol=tolerance, atol=tolerance
        )


# --- convolutions ----------------------------------------------------------------

SETTINGS = list(itertools.product((1, 2), (0, 1, 2), (1, 2), (1, 2, 4)))


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), SETTINGS)
@pytest.mark.parametrize("rank", [1, 2])
def test_a_convolution_is_pytorchs(rank, stride, padding, dilation, groups):
    """Value and gradients of input, weight and bias, over every mix of settings."""
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    settings["groups"] = groups
    name = f"conv{rank}d"
    same(
        lambda *given: getattr(tg, name)(*given, **settings),
        lambda torch, *given: getattr(torch.nn.functional, name)(*given, **settings),
        normal((2, 4, 7, 6)[: rank + 2]),
        normal((8, 4 // groups, 3, 2)[: rank + 2]),
        normal(8),
    )


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), SETTINGS)
@pytest.mark.parametrize("rank", [1, 2])
def test_a_transposed_convolution_is_pytorchs(rank, stride, padding, dilation, groups):
    """Value and gradients of input, weight and bias, over every mix of settings."""
    settings = {"stride": stride, "dilation": dilation, "groups": groups}
    settings["padding"] = min(padding, dilation)  # the kernel has a width of 2
    settings["output_padding"] = stride - 1
    name = f"conv_transpose{rank}d"
    same(
        lambda *given: getattr(tg, name)(*given, **settings),
        lambda torch, *given: getattr(torch.nn.functional, name)(*given, **settings),
        normal((2, 4, 5, 4)[: rank + 2]),
        normal((4, 8 // groups, 3, 2)[: rank + 2]),
        normal(8),
    )


def test_settings_differ_by_axis():
    """Stride, padding and dilation may be another number for each axis."""
    settings = {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 3)}
    same(
        lambda *given: tg.conv2d(*given, **settings),
        lambda torch, *given: torch.nn.functional.conv2d(*given, **settings),
        *(normal((2, 3, 7, 8)), normal((4, 3, 3, 2))),
    )


def test_settings_of_a_transposed_convolution_differ_by_axis():
    """One axis is cut and the other not, one stretched and the other not."""
    settings = {"stride": (3, 1), "padding": (1, 0), "output_padding": (2, 0)}
    settings["dilation"] = (1, 2)
    same(
        lambda *given: tg.conv_transpose2d(*given, **settings),
        lambda torch, *given: torch.nn.functional.conv_transpose2d(*given, **settings),
        *(normal((2, 3, 4, 5)), normal((3, 4, 3, 2))),
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_at_stride_one_is_pytorchs(dilation):
    """With an even kernel too: of an odd number of zeros one more comes after."""
    settings = {"padding": "same", "dilation": dilation}
    same(
        lambda *given: tg.conv2d(*given, **settings),
        lambda torch, *given: torch.nn.functional.conv2d(*given, **settings),
        *(normal((2, 3, 6, 5)), normal((4, 3, 2, 3))),
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 4, 5, 6])
def test_same_padding_gives_a_window_for_every_stride(n, stride):
    """A length n becomes ceil(n / stride), as ONNX's SAME_UPPER has it."""
    y = tg.conv1d(np.ones((1, 1, n)), np.ones((1, 1, 3)), padding="same", stride=stride)
    assert y.shape == (1, 1, -(-n // stride))


def test_valid_padding_is_none_and_pairs_are_before_and_after():
    """Padding by word and by pairs: the zeros are where they are said to be."""
    x, w = normal((1, 1, 4, 5)), normal((1, 1, 2, 3))
    assert np.array_equal(tg.conv2d(x, w, padding="valid"), tg.conv2d(x, w))
    padded = np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 3)))
    found = tg.conv2d(x, w, padding=((2, 1), (0, 3)))
    assert np.array_equal(found, tg.conv2d(padded, w))


def test_a_transposed_convolution_is_the_adjoint():
    """<conv(x), y> = <x, conv_transpose(y)>, with one weight and no torch."""
    x, w = normal((2, 4, 7, 6)), normal((6, 2, 3, 2))
    settings = {"stride": 2, "padding": 1, "groups": 2}
    image = tg.conv2d(x, w, **settings)
    y = normal(image.shape)
    back = tg.conv_transpose2d(y, w, output_padding=(0, 0), **settings)
    whole = np.zeros(x.shape)
    whole[:, :, : back.shape[2], : back.shape[3]] = back
    assert np.isclose(np.sum(image * y), np.sum(x * whole), rtol=1e-12)


def test_convolutions_of_integers_are_integers():
    """As every product and sum of NumPy's integers."""
    x, w = np.arange(12).reshape(1, 1, 3, 4), np.ones((1, 1, 2, 2), int)
    found = tg.conv2d(x, w)
    assert found.dtype == np.int64
    assert np.array_equal(found, network.conv(x, w))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: tg.conv2d(np.ones((2, 8, 8)), np.ones((4, 1, 3, 3))),
            "x\\[:, None\\]",
        ),
        (lambda: tg.conv2d(np.ones((2, 8, 8, 3)), np.ones((4, 3, 3, 3))), "transpose"),
        (
            lambda: tg.conv2d(np.ones((2, 3, 8, 8)), np.ones((4, 2, 3, 3))),
            "weight\\(4, 2",
        ),
        (
            lambda: tg.conv2d(np.ones((2, 3, 8, 8)), np.ones((4, 1, 3, 3)), groups=2),
            "2 groups divide",
        ),
        (
            lambda: tg.conv2d(np.ones((2, 3, 8, 8)), np.ones((4, 3, 3, 3)), np.ones(3)),
            "bias\\(c_out\\) with c_out = 4; got bias\\(3,\\)",
        ),
        (lambda: tg.conv2d(np.ones((1, 1, 2, 5)), np.ones((1, 1, 3, 3))), "windows of"),
        (lambda: tg.conv1d(np.ones((4, 9)), np.ones((1, 4, 3))), "x\\[None\\]"),
        (
            lambda: tg.conv_transpose2d(
                np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)), output_padding=1
            ),
            "output_padding less than stride",
        ),
        (
            lambda: tg.conv_transpose1d(np.ones((1, 2, 2)), np.ones((1, 1, 3))),
            "x\\(n, c_in, l\\)",
        ),
    ],
)
def test_shapes_of_a_convolution_are_refused_by_name(call, words):
    """What does not fit is a ShapeError that names the function, shapes, and a way."""
    with pytest.raises(ShapeError, match=words) as refused:
        call()
    assert str(refused.value).startswith("conv")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stride": 0}, "stride is an integer of at least 1"),
        ({"stride": (1, 2, 3)}, "or 2 of them; got \\(1, 2, 3\\)"),
        ({"padding": "full"}, "'same', 'valid' or numbers; got 'full'"),
        ({"padding": -1}, "padding is an integer of at least 0"),
        ({"padding": ((1, 1),)}, "a pair for each axis"),
        ({"dilation": 1.5}, "dilation is an integer"),
        ({"groups": True}, "groups is an integer"),
    ],
)
def test_settings_of_a_convolution_are_refused_by_name(settings, words):
    """What is no such number is an OpError that names the setting."""
    with pytest.raises(OpError, match=f"conv2d: {words}|conv2d: .*{words}"):
        tg.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), **settings)


def test_windows_run_on_jaxs_arrays():
    """The bodies of both ops are JAX's as they stand: nothing is called back."""
    jax = pytest.importorskip("jax")
    from tinygrad_nn import ops
    from tinygrad_nn.compiler.jax.elsewhere import over
    from tinygrad_nn.op import op_of

    x = normal((2, 3, 4)).astype(np.float32)
    settings = {"size": (2, 2), "stride": (1, 2), "dilation": (1, 1)}
    cut, add = (
        over(op_of(op).function, jax.numpy, {}) for op in (ops.windows, ops.overlap_add)
    )
    seen = jax.jit(lambda x: cut(x, **settings))(x)
    assert np.array_equal(seen, ops.windows(x, **settings))
    whole = jax.jit(lambda seen: add(seen, **settings, shape=x.shape))(seen)
    wanted = ops.overlap_add(np.asarray(seen), **settings, shape=x.shape)
    np.testing.assert_allclose(whole, wanted, rtol=1e-6)


# --- pooling ---------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [None, 1, 2])
@pytest.mark.parametrize("size", [2, 3])
def test_pools_are_pytorchs(size, stride, padding):
    """Value and gradient of both pools, in one axis and in two."""
    for rank, name in itertools.product((1, 2), ("max", "avg")):
        title = f"{name}_pool{rank}d"
        same(
            lambda x, title=title: getattr(tg, title)(x, size, stride, padding),
            lambda torch, x, title=title: getattr(torch.nn.functional, title)(
                x, size, stride, padding
            ),
            normal((2, 3, 7, 6)[: rank + 2]),
        )
    same(
        lambda x: tg.avg_pool2d(x, size, stride, padding, count_include_pad=False),
        lambda torch, x: torch.nn.functional.avg_pool2d(
            x, size, stride, padding, count_include_pad=False
        ),
        normal((2, 3, 7, 6)),
    )


@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 9])
def test_adaptive_pools_are_pytorchs(wanted):
    """Parts of equal length or not, and more of them than elements."""
    same(
        lambda x: tg.adaptive_avg_pool2d(x, (wanted, 2)),
        lambda torch, x: torch.nn.functional.adaptive_avg_pool2d(x, (wanted, 2)),
        normal((2, 3, 7, 6)),
    )


def test_padding_is_never_the_largest_and_has_no_gradient():
    """Of negative numbers the largest is one of them, not a zero from the padding."""
    x = tg.Tensor(-np.ones((1, 1, 2, 2)), requires_grad=True)
    y = tg.max_pool2d(x, 3, stride=2, padding=1)
    assert np.array_equal(y.numpy(), -np.ones((1, 1, 1, 1)))
    y.sum().backward()
    assert np.array_equal(x.grad, np.full((1, 1, 2, 2), 0.25))  # a tie of four


def test_ties_in_a_window_share_equally():
    """The subgradient of least norm, as everywhere: relu, max and maximum."""
    x = tg.Tensor([[[3.0, 3.0, 1.0, 3.0]]], requires_grad=True)
    tg.max_pool1d(x, 2).backward(np.array([[[1.0, 1.0]]]))
    assert x.grad.tolist() == [[[0.5, 0.5, 0.0, 1.0]]]


def test_infinities_and_nan_go_through_a_pool():
    """-inf is an element like others, also beside padding; nan is the largest."""
    x = np.array([[[-np.inf, -np.inf, np.nan, 1.0]]])
    assert np.array_equal(
        tg.max_pool1d(x, 2, padding="same"), [[[-np.inf, np.nan]]], equal_nan=True
    )
    found = tg.max_pool1d(x[..., :2], 3, stride=2, padding=1)
    assert np.array_equal(found, [[[-np.inf]]])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tg.max_pool2d(np.ones((2, 8, 8)), 2), "max_pool2d: .*x\\[:, None\\]"),
        (lambda: tg.avg_pool1d(np.ones((1, 1, 2)), 3), "avg_pool1d: .*windows of"),
        (
            lambda: tg.max_pool1d(np.ones((1, 1, 4)), 2, padding=2),
            "an element of x in each",
        ),
        (lambda: tg.global_avg_pool(np.ones((2, 3))), "global_avg_pool: expected"),
        (lambda: tg.adaptive_avg_pool1d(np.ones((2, 3)), 2), "adaptive_avg_pool1d"),
    ],
)
def test_shapes_of_a_pool_are_refused_by_name(call, words):
    """What does not fit is a ShapeError that names the function."""
    with pytest.raises(ShapeError, match=words):
        call()


# --- normalisation ---------------------------------------------------------------


def test_normalisations_are_pytorchs():
    """Values and gradients of every operand, statistics of the batch and given ones."""
    x, w, b = normal((3, 4, 5, 2)), normal(4), normal(4)
    mean, var = normal(4), RNG.random(4) + 0.5

    def functional(name):
        return lambda torch, *given, **more: getattr(torch.nn.functional, name)(
            *given, **more
        )

    same(
        tg.batch_norm,
        lambda torch, x, w, b: torch.nn.functional.batch_norm(
            x, None, None, w, b, training=True
        ),
        *(x, w, b),
    )
    same(
        lambda x, w, b: tg.batch_norm(x, w, b, mean, var),
        lambda torch, x, w, b: torch.nn.functional.batch_norm(
            x, torch.tensor(mean), torch.tensor(var), w, b
        ),
        *(x, w, b),
    )
    same(
        lambda x, w, b: tg.group_norm(x, 2, w, b),
        lambda torch, x, w, b: functional("group_norm")(torch, x, 2, w, b),
        *(x, w, b),
    )
    same(
        tg.instance_norm,
        lambda torch, x, w, b: functional("instance_norm")(torch, x, weight=w, bias=b),
        *(x, w, b),
    )
    w, b = normal((5, 2)), normal((5, 2))
    same(
        lambda x, w, b: tg.layer_norm(x, w, b, axis=(-1, -2)),
        lambda torch, x, w, b: functional("layer_norm")(torch, x, (5, 2), w, b),
        *(x, w, b),
    )
    same(
        tg.rms_norm,
        lambda torch, x, w: functional("rms_norm")(torch, x, (2,), w, eps=1e-6),
        *(x, normal(2)),
    )


@pytest.mark.parametrize(
    "norm",
    [tg.batch_norm, tg.layer_norm, tg.instance_norm, lambda x: tg.group_norm(x, 1)],
)
def test_constant_numbers_become_zero(norm):
    """Variance 0 gives 0 and finite gradients: epsilon stands under the root."""
    x = tg.Tensor(np.full((2, 1, 3), 7.0), requires_grad=True)
    y = norm(x)
    assert not np.any(y.numpy())
    y.backward(normal(y.shape))
    assert np.all(np.isfinite(x.grad))


def test_large_numbers_near_each_other_lose_no_digit():
    """The mean is taken away before squares: 1e9 + (1, 2, 3) is (1, 2, 3)."""
    x = np.array([1.0, 2.0, 3.0])
    near = tg.layer_norm(x)
    np.testing.assert_allclose(tg.layer_norm(1e9 + x), near, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tg.batch_norm(np.ones(3)), "batch_norm: expected x\\(n, c, …\\)"),
        (
            lambda: tg.batch_norm(np.ones((2, 3)), np.ones(2)),
            "weight\\(c\\) with c = 3",
        ),
        (
            lambda: tg.batch_norm(np.ones((2, 8, 8, 3)), np.ones(3)),
            "Channels come second",
        ),
        (lambda: tg.batch_norm(np.ones((0, 3))), "elements to normalise; got x\\(0, 3"),
        (lambda: tg.layer_norm(np.ones((2, 3)), np.ones(2)), "expected weight\\(3,\\)"),
        (lambda: tg.layer_norm(np.ones((2, 3)), axis=2), "layer_norm: axis 2"),
        (lambda: tg.group_norm(np.ones((2, 3)), 2), "2 groups divide"),
        (lambda: tg.instance_norm(np.ones((2, 3))), "instance_norm: expected"),
        (lambda: tg.rms_norm(np.ones((2, 0))), "rms_norm: expected elements"),
    ],
)
def test_shapes_of_a_normalisation_are_refused_by_name(call, words):
    """What does not fit is a ShapeError that names the function."""
    with pytest.raises(ShapeError, match=words):
        call()


def test_a_mean_without_a_variance_is_refused():
    """Both or neither."""
    with pytest.raises(OpError, match="both, or neither"):
        tg.batch_norm(np.ones((2, 3)), mean=np.zeros(3))


# --- attention -------------------------------------------------------------------

QKV = normal((2, 3, 5, 4)), normal((2, 3, 6, 4)), normal((2, 3, 6, 7))


@pytest.mark.parametrize("settings", [{}, {"is_causal": True}, {"scale": 0.3}])
def test_attention_is_pytorchs(settings):
    """Values and gradients of queries, keys and values."""
    same(
        lambda *given: tg.scaled_dot_product_attention(*given, **settings),
        lambda torch, *given: torch.nn.functional.scaled_dot_product_attention(
            *given, **settings
        ),
        *QKV,
    )


def test_masked_attention_is_pytorchs():
    """Masks of booleans, and of numbers, which have a gradient."""
    seen = RNG.random((2, 1, 5, 6)) < 0.5
    seen[..., 0] = True
    same(
        lambda *given: tg.scaled_dot_product_attention(*given, mask=seen),
        lambda torch, *given: torch.nn.functional.scaled_dot_product_attention(
            *given, attn_mask=torch.tensor(seen)
        ),
        *QKV,
    )
    added = normal((5, 6))
    added[0, 1] = -np.inf
    same(
        tg.scaled_dot_product_attention,
        lambda torch, *given: torch.nn.functional.scaled_dot_product_attention(
            *given[:3], attn_mask=given[3]
        ),
        *(*QKV, added),
    )


@pytest.mark.parametrize("kind", ["booleans", "numbers"])
def test_a_query_that_may_look_nowhere_gives_zero(kind):
    """A row that is masked as a whole: value 0, gradients 0, to second order."""
    seen = np.array([[True, False, True], [False, False, False]])
    mask = seen if kind == "booleans" else np.where(seen, 0.5, -np.inf)
    q, k, v = (tg.Tensor(normal((n, 2)), requires_grad=True) for n in (2, 3, 3))
    y = tg.scaled_dot_product_attention(q, k, v, mask=mask)
    assert not np.any(y.numpy()[1])
    first = tg.gradients(y, [q, k, v], normal(y.shape))
    assert not np.any(first[0].numpy()[1])
    assert not np.any(first[1].numpy()[1])  # a key that nobody may look at
    second = tg.gradients(tg.sum(sum(tg.sum(g * g) for g in first)), [q, k, v])
    for g in (*first, *second):
        assert np.all(np.isfinite(g.numpy()))


def test_causal_attention_does_not_see_what_comes_later():
    """Changing a later key changes no earlier row."""
    x = normal((4, 3))
    before = tg.scaled_dot_product_attention(x, x, x, is_causal=True)
    other = x.copy()
    other[3] = 100.0
    after = tg.scaled_dot_product_attention(other, other, other, is_causal=True)
    assert np.array_equal(before[:3], after[:3])


def test_attention_with_scores_of_a_thousand_is_stable():
    """The softmax subtracts the largest score first."""
    q = np.array([[1000.0], [-1000.0]])
    y = tg.scaled_dot_product_attention(q, q, q)
    assert np.array_equal(y, q)


@pytest.mark.parametrize(
    ("q", "k", "v", "mask"),
    [
        ((2, 3), (4, 2), (4, 2), None),
        ((2, 3), (4, 3), (5, 2), None),
        ((3,), (4, 3), (4, 2), None),
        ((2, 3), (0, 3), (0, 2), None),
        ((2, 2, 3), (3, 4, 3), (3, 4, 2), None),
        ((2, 3), (4, 3), (4, 2), (3, 4)),
    ],
)
def test_shapes_of_attention_are_refused_by_name(q, k, v, mask):
    """Queries, keys, values and mask are named with their shapes."""
    mask = None if mask is None else np.ones(mask, bool)
    with pytest.raises(ShapeError, match=r"scaled_dot_product_attention: .*k\("):
        tg.scaled_dot_product_attention(np.ones(q), np.ones(k), np.ones(v), mask)


def test_a_mask_of_integers_is_refused():
    """0 and 1 could mean either."""
    x = np.ones((2, 2))
    with pytest.raises(OpError, match="booleans, true where"):
        tg.scaled_dot_product_attention(x, x, x, np.ones((2, 2), int))


# --- embedding -------------------------------------------------------------------


def test_a_row_looked_up_twice_gets_both_gradients():
    """Duplicate indices accumulate; rows not looked up get zero."""
    weight = tg.Tensor(np.zeros((3, 2)), requires_grad=True)
    y = tg.embedding([2, 0, 2], weight)
    y.backward(np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]))
    assert weight.grad.tolist() == [[10.0, 20.0], [0.0, 0.0], [101.0, 202.0]]


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([3], "from 0 to 2.*got 3 to 3"),
        ([0, -1], "from 0 to 2.*got -1 to 0"),
        ([0.0], "integers; got dtype float64"),
        ([True], "integers; got dtype bool"),
    ],
)
def test_indices_that_are_none_are_refused(indices, words):
    """Neither wrapped around nor rounded: named with what there is."""
    with pytest.raises(OpError, match=f"embedding: .*{words}"):
        tg.embedding(indices, tg.Tensor(np.zeros((3, 2)), requires_grad=True))


def test_indices_may_be_tensors_and_empty():
    """Tensors index a plain table too; of no index there is no row."""
    table = np.arange(6.0).reshape(3, 2)
    found = tg.embedding(tg.Tensor([1, 1]), table)
    assert np.array_equal(found.numpy(), table[[1, 1]])
    assert tg.embedding([], table).shape == (0, 2)
    with pytest.raises(ShapeError, match="weight\\(n, d\\)"):
        tg.embedding([0], np.ones(3))


def test_a_compiled_step_checks_its_indices_anew():
    """A call with an index out of range is refused, and nothing is changed."""
    weight = tg.Parameter(np.ones((3, 2)))
    optimizer = tg.optim.SGD([weight], lr=0.1)

    @tg.compile
    def step(indices):
        optimizer.minimize(tg.sum(tg.square(tg.embedding(indices, weight))))

    step(np.array([0, 1]))
    before = weight.data.copy()
    with pytest.raises(OpError, match="from 0 to 2"):
        step(np.array([0, 3]))
    assert np.array_equal(weight.data, before)


# --- recurrent cells -------------------------------------------------------------


def test_cells_are_pytorchs():
    """Values and gradients of every operand."""
    x, h, c = normal((3, 2)), normal((3, 4)), normal((3, 4))
    zeros = np.zeros(16)
    same(
        tg.lstm_cell,
        lambda torch, x, h, c, a, b, bias: torch.lstm_cell(
            x, (h, c), a, b, bias, torch.tensor(zeros)
        ),
        *(x, h, c, normal((16, 2)), normal((16, 4)), normal(16)),
    )
    same(
        tg.gru_cell,
        lambda torch, *given: torch.gru_cell(*given),
        *(x, h, normal((12, 2)), normal((12, 4)), normal(12), normal(12)),
    )
    same(
        tg.rnn_cell,
        lambda torch, *given: torch.rnn_tanh_cell(*given, torch.tensor(zeros[:4])),
        *(x, h, normal((4, 2)), normal((4, 4)), normal(4)),
    )


@pytest.mark.parametrize("cell", [tg.rnn_cell, tg.gru_cell])
def test_shapes_of_a_cell_are_refused_by_name(cell):
    """All operands are named with their shapes."""
    with pytest.raises(ShapeError, match=rf"{cell.__name__}: .*weight_x\(4, 3\)"):
        cell(np.ones((2, 3)), np.ones((2, 2)), np.ones((4, 3)), np.ones((4, 2)))


def test_memory_and_output_have_one_shape():
    """An LSTM's h and c are named where they differ."""
    with pytest.raises(ShapeError, match=r"h\(2, 1\), c\(2, 2\)"):
        tg.lstm_cell(
            *(np.ones((2, 3)), np.ones((2, 1)), np.ones((2, 2))),
            *(np.ones((4, 3)), np.ones((4, 1))),
        )


# --- every function --------------------------------------------------------------


def test_a_definition_that_errs_is_refuted():
    """The laws compare with the definitions: a slip in one of them is seen."""
    x, w = normal((1, 1, 4, 4)), normal((1, 1, 2, 2))
    turned = network.conv(x, w[:, :, ::-1, ::-1])
    assert not np.allclose(tg.conv2d(x, w), turned)
    assert not np.allclose(
        tg.avg_pool2d(x, 3, padding=1), network.avg_pool(x, 3, 3, 1, False)
    )
