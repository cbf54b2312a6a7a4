"""Functions of other frameworks are judged as our own are."""

import sys

import numpy as np
import pytest

from tinygrad_nn.check import check_gradients, from_jax, from_torch
from tinygrad_nn.errors import DtypeError, MissingExtraError, OpError, ShapeError

X = np.random.default_rng(0).standard_normal((4, 3))
W = np.random.default_rng(1).standard_normal((3, 2))
LABELS = np.array([0, 1, 1, 0])


def torch_cases():
    torch = pytest.importorskip("torch")

    class Slipped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.tanh(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (1 - x * x)

    return torch, Slipped


def test_a_function_of_torch_is_judged():
    """Right gradients pass, of one array or several, of a number or an array."""
    torch, _ = torch_cases()
    loss = from_torch(
        lambda X, W, t: torch.nn.functional.cross_entropy(torch.tanh(X @ W), t)
    )
    assert check_gradients(loss.f, X, W, LABELS, vjp=loss.vjp).verdict == "ok"
    softmax = from_torch(lambda x: torch.softmax(x, 1))
    assert check_gradients(softmax.f, X, vjp=softmax.vjp).verdict == "ok"
    unused = from_torch(lambda X, W: (X * X).sum())
    assert check_gradients(unused.f, X, W, vjp=unused.vjp).verdict == "ok"
    assert np.allclose(softmax(X), np.exp(X) / np.exp(X).sum(1, keepdims=True))


def test_a_wrong_backward_of_torch_is_refuted():
    """An autograd.Function with a slip is wrong."""
    _, Slipped = torch_cases()
    slipped = from_torch(Slipped.apply)
    report = check_gradients(slipped.f, X, vjp=slipped.vjp)
    assert report.verdict == "wrong"
    assert report.blame == ("formula",)


def test_what_an_adapter_made_brings_its_gradient():
    """It is judged by its own vjp, under the names of its parameters, without a note."""
    torch, Slipped = torch_cases()
    right = check_gradients(from_torch(lambda z: torch.tanh(2 * z)), X)
    assert right.verdict == "ok"
    assert right.judged == ("formula",)
    assert list(right.parameters) == ["z"]
    assert right.notes == ()
    assert check_gradients(from_torch(Slipped.apply), X).blame == ("formula",)
    mine = check_gradients(from_torch(torch.tanh), X, vjp=lambda g, x: g * x)
    assert mine.blame == ("formula",)


def test_tensors_and_modules_of_torch_are_told_what_to_become():
    """Tensors for arrays, and parameters in float32, are refused with their remedy."""
    torch, _ = torch_cases()
    with pytest.raises(OpError, match=r"got a torch\.Tensor.*from_torch\(f\)"):
        check_gradients(torch.tanh, torch.ones(3))
    net = torch.nn.Linear(3, 2)
    with pytest.raises(DtypeError, match=r"module\.double\(\)"):
        check_gradients(from_torch(net), X)
    assert check_gradients(from_torch(net.double()), X).verdict == "ok"


def test_a_function_of_jax_is_judged_in_float64():
    """Right passes at float64's sharpness; a wrong custom_vjp is refuted."""
    jax = pytest.importorskip("jax")
    loss = from_jax(lambda X, W: jax.numpy.tanh(X @ W).sum())
    report = check_gradients(loss.f, X, W, vjp=loss.vjp)
    assert report.verdict == "ok"
    assert report.resolution < 1e-7
    picked = from_jax(lambda X, t: X[jax.numpy.arange(4), t])
    assert check_gradients(picked.f, X, LABELS, vjp=picked.vjp).verdict == "ok"

    @jax.custom_vjp
    def slipped(x):
        return jax.numpy.tanh(x)

    slipped.defvjp(lambda x: (jax.numpy.tanh(x), x), lambda x, g: (g * (1 - x * x),))
    wrong = from_jax(slipped)
    assert check_gradients(wrong.f, X, vjp=wrong.vjp).verdict == "wrong"


@pytest.mark.parametrize(
    ("adapt", "library"), [(from_torch, "torch"), (from_jax, "jax")]
)
def test_a_missing_framework_is_named(adapt, library, monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"pip install {library}"):
        adapt(np.tanh)


def test_what_torch_refuses_is_told_in_our_words():
    """Several tensors, and a backward of another shape; what is detached gives zeros."""
    torch, _ = torch_cases()

    class Turned(torch.autograd.Function):
        @staticmethod
        def forward(ctx, W):
            return W * W

        @staticmethod
        def backward(ctx, g):
            return g.T

    W = np.arange(6.0).reshape(2, 3) + 1
    with pytest.raises(OpError, match="returns one tensor; got tuple"):
        check_gradients(from_torch(lambda x: (x, x)), W)
    with pytest.raises(ShapeError, match=r"from_torch: .*invalid gradient.*\[3, 2\]"):
        check_gradients(from_torch(Turned.apply), W)
    detached = check_gradients(from_torch(lambda x: (x.detach() ** 2).sum()), W)
    assert "all zeros" in detached.parameters["x"].cause
