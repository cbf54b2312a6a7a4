"""Arguments and results in structures, found by position or name, and in one vector."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import DtypeError, GradientError, OpError, ShapeError


class Pair(NamedTuple):
    left: object
    right: object


a0, b0 = np.array([0.5, -1.5]), np.array([[2.0], [3.0]])


def same(found, wanted):
    """Hold two structures to equal kinds, keys and numbers."""
    assert type(found) is type(wanted), (found, wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for x, y in zip(found, wanted, strict=True):
            same(x, y)
    elif wanted is not None:
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype


def total(x):
    """Sum the squares of all that is floating in a structure, each with a weight."""
    found, stack, weight = 0.0, [x], 1.0
    while stack:
        item = stack.pop(0)
        if isinstance(item, dict):
            stack = [*item.values(), *stack]
        elif isinstance(item, (list, tuple)):
            stack = [*item, *stack]
        elif isinstance(item, tg.Tensor):
            found = found + weight * (item * item).sum()
            weight += 1.0
    return found


STRUCTURES = {
    "a dict": ({"a": a0, "b": b0}, {"a": 2 * a0, "b": 4 * b0}),
    "in the order of the dict": ({"b": b0, "a": a0}, {"b": 2 * b0, "a": 4 * a0}),
    "a list": ([a0, b0], [2 * a0, 4 * b0]),
    "a tuple": ((a0, b0), (2 * a0, 4 * b0)),
    "a tuple of one": ((a0,), (2 * a0,)),
    "a named tuple": (Pair(a0, 1.5), Pair(2 * a0, np.array(6.0))),
    "a named tuple of numbers": (Pair(1.0, 2.0), Pair(np.array(2.0), np.array(8.0))),
    "an ordered dict": (OrderedDict(a=a0), OrderedDict(a=2 * a0)),
    "a number in a dict": ({"a": 3.0}, {"a": np.array(6.0)}),
    "NumPy's number": ({"a": np.float32(3)}, {"a": np.array(6, np.float32)}),
    "numbers in a list": ({"a": [1.0, 2.0]}, {"a": np.array([2.0, 4.0])}),
    "nested": (
        {"layers": [{"W": b0, "b": a0}, {"W": a0}], "scale": (2.0, [b0])},
        {
            "layers": [{"W": 2 * b0, "b": 4 * a0}, {"W": 6 * a0}],
            "scale": (np.array(16.0), [10 * b0]),
        },
    ),
    "others": (
        {"a": a0, "n": 3, "s": "text", "none": None, "f": len, "on": True,
         "whole": np.arange(3), "shape": (2, 3), "empty": [], "no": {}},
        {"a": 2 * a0, "n": None, "s": None, "none": None, "f": None, "on": None,
         "whole": None, "shape": None, "empty": None, "no": {}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_gradient_has_the_structure_of_its_argument(name):
    """Dicts, lists, tuples, nested: as they came in, None for what has no slope."""
    x, wanted = STRUCTURES[name]
    same(tg.grad(total)(x), wanted)
    value, again = tg.value_and_grad(total)(x)
    same(again, wanted)
    assert type(value) is np.ndarray
    _, pull = tg.vjp(total, x)
    same(pull(1.0), (wanted,))


def test_a_defaultdict_keeps_its_default():
    """A dict of another kind comes back as one."""
    x = defaultdict(lambda: "none", a=a0)
    found = tg.grad(lambda d: (d["a"] ** 2).sum())(x)
    assert type(found) is defaultdict
    assert found["b"] == "none"
    assert list(x) == ["a"]


def test_what_is_passed_on_is_the_object_itself():
    """Text, whole numbers and functions reach the function as they are."""
    seen = []
    thing = object()
    labels = np.arange(2)

    def f(p):
        seen.append(p)
        return p["x"].sum()

    tg.grad(f)({"x": a0, "thing": thing, "n": 3, "labels": labels})
    (given,) = seen
    assert isinstance(given["x"], tg.Tensor)
    assert given["thing"] is thing
    assert given["labels"] is labels
    assert type(given["n"]) is int


def test_the_argument_is_left_as_it_was():
    """A structure that is differentiated is not written to."""
    x = {"a": a0, "l": [b0, 2.0]}
    tg.grad(total)(x)
    assert x["a"] is a0
    assert x["l"][0] is b0
    assert x["l"][1] == 2.0


def test_complex_numbers_in_a_structure_are_refused():
    """What could have a slope, and is not supported, is not passed on in silence."""
    for wrong in (1j, np.array([1j]), [1j, 2.0]):
        with pytest.raises(DtypeError, match="complex"):
            tg.grad(total)({"a": a0, "z": wrong})


def test_an_unused_leaf_gets_zeros():
    """A leaf that the function does not look at has the gradient 0, in its shape."""
    found = tg.grad(lambda p: p["a"].sum())({"a": a0, "b": np.float32(b0)})
    same(found, {"a": np.ones(2), "b": np.zeros((2, 1), np.float32)})


# --- which arguments -------------------------------------------------------------


def weighted(x, y, *, scale=1.0):
    return (scale * x**2 * y).sum()


def test_hips_336_grad_of_a_keyword_argument():
    """grad(f)(x=…) is the gradient by x, where autograd raised an IndexError."""
    f = lambda x: (x**2).sum()
    np.testing.assert_array_equal(tg.grad(f)(x=a0), 2 * a0)
    np.testing.assert_array_equal(tg.jacobian(f)(x=a0), 2 * a0)
    np.testing.assert_array_equal(tg.hessian(f)(x=a0), 2 * np.eye(2))
    np.testing.assert_array_equal(tg.grad(weighted)(y=a0, x=a0), 2 * a0**2)
    np.testing.assert_array_equal(tg.grad(weighted, 1)(a0, y=a0), a0**2)


def test_arguments_by_name():
    """A name is one gradient, names are a dict, however the arguments are passed."""
    dx, dy, ds = 2 * a0 * 3.0, a0**2, np.array((a0**2 * 3.0).sum())
    y = np.full(2, 3.0)
    for call in (
        lambda f: f(a0, y, scale=1.0),
        lambda f: f(a0, y=y, scale=1.0),
        lambda f: f(x=a0, y=y, scale=1.0),
        lambda f: f(scale=1.0, y=y, x=a0),
    ):
        same(call(tg.grad(weighted, argnames="y")), dy)
        same(call(tg.grad(weighted, argnames="scale")), ds)
        same(call(tg.grad(weighted, argnames=["scale", "x"])), {"scale": ds, "x": dx})
        _, found = call(tg.value_and_grad(weighted, argnames=("y",)))
        same(found, {"y": dy})
    block = tg.jacobian(lambda x, *, y: x * y, argnames="y")(a0, y=a0)
    np.testing.assert_array_equal(block, np.diag(a0))
    blocks = tg.hessian(weighted, argnames=["x", "y"])(a0, y=y)
    assert {k: list(v) for k, v in blocks.items()} == {"x": ["x", "y"], "y": ["x", "y"]}
    np.testing.assert_array_equal(blocks["x"]["y"], np.diag(2 * a0))


def test_names_of_a_function_that_takes_any():
    """Keywords that gather in ** have names too; * has positions."""
    f = lambda *xs, **named: (xs[-1] * named["w"] * named["v"]).sum()
    same(tg.grad(f, argnames="w")(a0, a0, w=2.0, v=a0), np.array((a0 * a0).sum()))
    same(tg.grad(f, -1)(None, a0, w=2.0, v=a0), 2 * a0)


@pytest.mark.parametrize(
    ("settings", "args", "named", "words"),
    [
        ({}, (), {"y": 1.0}, "argnums=0 .*0 positional arguments and the keywords y"),
        ({}, (), {}, "argnums=0 .*0 positional"),
        ({"argnums": 2}, (1.0,), {"y": 1.0}, "argnums=2"),
        ({"argnums": -2}, (1.0,), {"y": 1.0}, "argnums=-2"),
        ({"argnums": (0, "y")}, (1.0,), {"y": 1.0}, "integer"),
        ({"argnames": "z"}, (1.0, 2.0), {}, "argnames='z'"),
        ({"argnames": ()}, (1.0, 2.0), {}, "different names"),
        ({"argnames": ["x", "x"]}, (1.0, 2.0), {}, "different names"),
        ({"argnums": 0, "argnames": "x"}, (1.0, 2.0), {}, "not both"),
        ({"argnames": "scale"}, (1.0, 2.0), {}, "argnames='scale'"),
    ],
)
def test_arguments_that_were_not_passed_are_refused(settings, args, named, words):
    """A position or a name that is not there is told beside what was passed."""
    with pytest.raises(TypeError, match=words):
        tg.grad(weighted, **settings)(*args, **named)


def test_several_arguments_are_structures_each():
    """argnums over structures gives a tuple of structures."""
    f = lambda p, n, q: (p["w"] * q[0]).sum() * n
    found = tg.grad(f, (2, 0))({"w": a0}, 3, [a0])
    same(found, ([3 * a0], {"w": 3 * a0}))


# --- what comes besides ----------------------------------------------------------


def test_what_a_function_returns_besides():
    """has_aux hands on a second result: Tensors in it as arrays, the rest as it is."""

    def f(x):
        y = x * x
        return y.sum(), {"y": y, "n": 3, "note": "text", "plain": a0}

    besides = {"y": a0 * a0, "n": 3, "note": "text", "plain": a0}

    def told(aux):
        assert list(aux) == list(besides)
        np.testing.assert_array_equal(aux["y"], besides["y"])
        assert type(aux["y"]) is np.ndarray
        assert (aux["n"], aux["note"]) == (3, "text")

    (value, aux), g = tg.value_and_grad(f, has_aux=True)(a0)
    same((value, g), (np.array((a0 * a0).sum()), 2 * a0))
    told(aux)
    g, aux = tg.grad(f, has_aux=True)(a0)
    same(g, 2 * a0)
    told(aux)
    _, pull, aux = tg.vjp(f, a0, has_aux=True)
    same(pull(1.0), (2 * a0,))
    told(aux)
    _, slope, aux = tg.jvp(f, [a0], [a0], has_aux=True)
    same(slope, np.array((2 * a0 * a0).sum()))
    told(aux)
    block, aux = tg.jacobian(f, has_aux=True)(a0)
    same(block, 2 * a0)
    told(aux)
    block, aux = tg.hessian(f, has_aux=True)(a0)
    same(block, 2 * np.eye(2))
    told(aux)


def test_what_comes_besides_may_be_anything():
    """None, a number, a Tensor alone: nothing is taken for a gradient."""
    for aux in (None, 3, "text", a0):
        _, found = tg.grad(lambda x, aux=aux: (x.sum(), aux), has_aux=True)(a0)
        assert found is aux
    _, found = tg.grad(lambda x: (x.sum(), [x > 0]), has_aux=True)(a0)
    assert type(found[0]) is np.ndarray
    np.testing.assert_array_equal(found[0], a0 > 0)
    value, _ = tg.vjp(lambda x: {"y": x * 2, "positive": x > 0}, a0)
    assert type(value["positive"]) is np.ndarray
    _, kept = tg.grad(lambda x: (x.sum(), x * 2), has_aux=True)(tg.Tensor(a0))
    assert isinstance(kept, tg.Tensor)


def test_a_pair_without_has_aux_says_so():
    """Returning a pair by mistake, or no pair where one is announced, is told."""
    with pytest.raises(GradientError, match=r"got tuple.*has_aux=True"):
        tg.grad(lambda x: (x.sum(), 1))(a0)
    with pytest.raises(GradientError, match=r"returns? a pair.*got Tensor"):
        tg.grad(lambda x: x.sum(), has_aux=True)(a0)


# --- functions that return structures --------------------------------------------


def outputs(x):
    return {"twice": x * 2, "rest": (x.sum(), None, [x * x])}


def test_results_in_structures():
    """vjp, jvp and jacobian take functions that return dicts, lists and tuples."""
    value, pull = tg.vjp(outputs, a0)
    same(value, {"twice": 2 * a0, "rest": (np.array(a0.sum()), None, [a0 * a0])})
    u = {"twice": np.ones(2), "rest": (3.0, None, [a0])}
    same(pull(u), (2 + 3 + 2 * a0 * a0,))
    value, slope = tg.jvp(outputs, [a0], [np.array([1.0, 10.0])])
    v = np.array([1.0, 10.0])
    same(slope, {"twice": 2 * v, "rest": (np.array(11.0), None, [2 * a0 * v])})
    found = tg.jacobian(outputs)(a0)
    wanted = {"twice": 2 * np.eye(2), "rest": (np.ones(2), None, [np.diag(2 * a0)])}
    same(found, wanted)


def test_jacobians_of_structures_by_structures():
    """In the place of each result stands the structure of the arguments."""
    f = lambda p, q: {"prod": p["a"] * q, "b": p["b"] * 2}
    found = tg.jacobian(f, (0, 1))({"a": a0, "b": b0, "n": 1}, 3.0)
    zero = np.zeros
    same(
        found,
        {
            "prod": (
                {"a": 3 * np.eye(2), "b": zero((2, 2, 1)), "n": None},
                a0,
            ),
            "b": (
                {
                    "a": zero((2, 1, 2)),
                    "b": 2 * np.eye(2).reshape(2, 1, 2, 1),
                    "n": None,
                },
                zero((2, 1)),
            ),
        },
    )


def test_hessians_of_structures():
    """A Hessian has a block for each pair of leaves; hvp is its product."""
    f = lambda p: (p["a"] ** 2).sum() * p["b"] + (p["a"] ** 3).sum()
    at = {"a": a0, "b": 2.0}
    found = tg.hessian(f)(at)
    wanted = {
        "a": {"a": np.diag(4.0 + 6 * a0), "b": 2 * a0},
        "b": {"a": 2 * a0, "b": np.array(0.0)},
    }
    same(found, wanted)
    v = {"a": np.array([1.0, -2.0]), "b": 3.0}
    product = tg.hvp(f, at, v)
    same(
        product,
        {
            "a": wanted["a"]["a"] @ v["a"] + wanted["a"]["b"] * 3.0,
            "b": np.array(wanted["b"]["a"] @ v["a"]),
        },
    )


def test_hvp_passes_on_the_other_arguments():
    """Positional and keyword arguments after the vector reach the function."""
    f = lambda x, y, *, scale: scale * (x**3 * y).sum()
    same(tg.hvp(f, a0, np.ones(2), 2.0, scale=0.5), 6 * a0)
    _, pull = tg.vjp(f, a0, 2.0, scale=0.5)
    same(pull(1.0)[0], 3 * a0**2)
    _, slope = tg.jvp(f, [a0, 2.0], [np.ones(2), 0.0], scale=0.5)
    same(slope, np.array((3 * a0**2).sum()))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tg.hvp(total, {"a": a0}, {"b": a0}), r"hvp: .*keys \['a'\].*\['b'\]"),
        (lambda: tg.hvp(total, {"a": a0}, a0), r"hvp: .*keys \['a'\].*ndarray"),
        (lambda: tg.hvp(total, [a0, b0], [a0]), r"hvp: .*2 parts.*got 1"),
        (lambda: tg.hvp(total, [a0, b0], a0), r"hvp: .*2 parts.*ndarray"),
        (lambda: tg.vjp(outputs, a0)[1](a0), r"vjp: .*keys"),
        (lambda: tg.jvp(total, [{"a": a0}], [{"c": 1}]), r"jvp: .*keys \['a'\]"),
    ],
)
def test_other_structures_are_refused(call, words):
    """A vector, tangent or cotangent of another structure is told, with where."""
    with pytest.raises(OpError, match=words):
        call()


def test_other_shapes_in_a_structure_are_refused_with_their_place():
    """A leaf that would have to be broadcast is named."""
    x = {"p": [a0, {"q": b0}]}
    for wrong in (a0, np.ones((1, 1)), 1.0):
        with pytest.raises(ShapeError, match=r"at \['p'\]\[1\]\['q'\].*\(2, 1\)"):
            tg.hvp(total, x, {"p": [a0, {"q": wrong}]})


def test_a_result_that_dropped_its_gradient_is_refused_with_its_place():
    """An array or a number among results is told; only None may stand there."""
    for wrong in (a0, 2.0, [1.0, 2.0]):
        f = lambda x, wrong=wrong: {"y": x * 2, "z": [x, {"w": wrong}]}
        with pytest.raises(GradientError, match=r"at \['z'\]\[1\]\['w'\]"):
            tg.vjp(f, a0)
    with pytest.raises(GradientError, match="holds none"):
        tg.jacobian(lambda x: (None, 3))(a0)


# --- models ----------------------------------------------------------------------


def network(rng=0):
    rng = np.random.default_rng(rng)
    return nn.Sequential(
        nn.Dense(3, 4, activation="tanh", rng=rng), nn.Dense(4, 2, rng=rng)
    )


X = np.random.default_rng(1).normal(size=(5, 3))


def loss(model, x=X):
    return (model(x) ** 2).mean()


def test_the_gradient_of_a_model_is_a_dict_by_name():
    """grad(loss)(model) is what backward leaves in .grad, which it does not touch."""
    model = network()
    found = tg.grad(loss)(model)
    assert list(found) == [name for name, _ in model.named_parameters()]
    assert all(p.grad is None for p in model.parameters())
    loss(model).backward()
    for name, p in model.named_parameters():
        assert isinstance(found[name], tg.Tensor)
        np.testing.assert_allclose(found[name].numpy(), p.grad, rtol=1e-14)


def test_a_model_may_stand_in_a_structure_and_beside_others():
    """A model among arguments is a structure among structures."""
    model = network()
    f = lambda p, x: loss(p["model"], x) * p["scale"]
    found, slope = tg.grad(f, (0, 1))({"model": model, "scale": 2.0, "n": 1}, X)
    want = tg.grad(loss)(model)
    for name, g in found["model"].items():
        np.testing.assert_allclose(g.numpy(), 2 * want[name].numpy(), rtol=1e-14)
    assert found["n"] is None
    np.testing.assert_allclose(slope.numpy(), 2 * tg.grad(loss, 1)(model, X).numpy())


def test_parameters_that_are_frozen_or_shared():
    """What requires no gradient is left out; what is used twice is there once."""
    model = network()
    model.layers[0].weight.requires_grad = False
    assert "layers.0.weight" not in tg.grad(loss)(model)
    vector, unflatten = tg.flatten(model)
    assert vector.size == 4 + 8 + 2
    frozen = unflatten(np.zeros(14)).layers[0].weight
    assert frozen is model.layers[0].weight
    layer = nn.Dense(3, 3, rng=0)
    twice = nn.Sequential(layer, layer)
    assert list(tg.grad(loss)(twice)) == ["layers.0.weight", "layers.0.bias"]
    again = tg.flatten(twice)[1](np.arange(12.0))
    assert again.layers[0] is again.layers[1]


def test_second_derivatives_of_a_model():
    """The Hessian over a flattened model is that over its parameters, block by block."""
    model = network()
    vector, unflatten = tg.flatten(model)
    H = tg.hessian(lambda v: loss(unflatten(v)))(vector.numpy())
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    blocks = tg.hessian(loss)(model)
    names = list(blocks)
    sizes = {n: p.size for n, p in model.named_parameters()}
    whole = np.block(
        [
            [blocks[m][n].numpy().reshape(sizes[m], sizes[n]) for n in names]
            for m in names
        ]
    )
    np.testing.assert_allclose(whole, H, rtol=1e-10, atol=1e-14)
    p = np.random.default_rng(0).normal(size=vector.size)
    ways = {n: q.numpy() for n, q in unflatten(p).named_parameters()}
    for direction in (ways, unflatten(p)):
        product, _ = tg.flatten(tg.hvp(loss, model, direction))
        np.testing.assert_allclose(product.numpy(), H @ p, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(
        tg.hvp(lambda v: loss(unflatten(v)), vector.numpy(), p), H @ p,
        rtol=1e-10, atol=1e-14,
    )  # fmt: skip
    _, slope = tg.jvp(loss, [model], [ways])
    wanted = tg.grad(lambda v: loss(unflatten(v)))(vector.numpy()) @ p
    np.testing.assert_allclose(slope.numpy(), wanted, rtol=1e-12)


def test_a_penalty_on_the_slopes_of_a_model_trains_it():
    """What grad gives of a model is a part of the graph: backward goes through it."""
    model = network()
    slope = tg.grad(lambda x, m: m(x).sum())(X, model)
    assert isinstance(slope, tg.Tensor)
    (slope**2).sum().backward()
    found = model.layers[0].weight.grad
    V = [tg.Tensor(p.numpy()) for p in model.parameters()]

    def penalty(W):
        hidden = tg.tanh(X @ W.T + V[1])
        inner = ((1 - hidden**2) * V[2].sum(0)) @ W
        return (inner**2).sum()

    np.testing.assert_allclose(found, tg.grad(penalty)(V[0]).numpy(), rtol=1e-12)


# --- one vector ------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_there_and_back(name):
    """unflatten(flatten(x)) is x again, with its shapes, dtypes and other things."""
    x, _ = STRUCTURES[name]
    vector, unflatten = tg.flatten(x)
    assert vector.ndim == 1
    back, again = tg.flatten(unflatten(vector))
    np.testing.assert_array_equal(vector, back)
    assert vector.dtype == back.dtype
    np.testing.assert_array_equal(tg.flatten(again(back))[0], vector)


def test_the_order_of_the_vector():
    """Leaves follow each other in the order of the structure, each in rows."""
    vector, unflatten = tg.flatten({"b": [b0, 7.0], "a": a0})
    np.testing.assert_array_equal(vector, [2.0, 3.0, 7.0, 0.5, -1.5])
    back = unflatten(np.arange(5.0))
    np.testing.assert_array_equal(back["b"][0], [[0.0], [1.0]])
    assert back["b"][1] == 2.0
    np.testing.assert_array_equal(back["a"], [3.0, 4.0])


def test_dtypes_of_the_vector():
    """Leaves keep their dtypes; the vector has one for all."""
    x = {"a": np.float32(a0), "b": b0}
    vector, unflatten = tg.flatten(x)
    assert vector.dtype == np.float64
    back = unflatten(vector)
    assert (back["a"].dtype, back["b"].dtype) == (np.float32, np.float64)
    assert tg.flatten({"a": np.float32(a0)})[0].dtype == np.float32
    g = tg.grad(lambda v: total(unflatten(v)))(vector)
    assert g.dtype == np.float64
    np.testing.assert_allclose(g, [1.0, -3.0, 8.0, 12.0])


def test_the_vector_shares_nothing():
    """Writing to the vector, or to what came back, changes nothing else."""
    x = {"a": a0.copy()}
    vector, unflatten = tg.flatten(x)
    back = unflatten(vector)
    vector[:] = 9.0
    np.testing.assert_array_equal(x["a"], a0)
    np.testing.assert_array_equal(back["a"], a0)
    model = network()
    before = [p.numpy().copy() for p in model.parameters()]
    vector, unflatten = tg.flatten(model)
    twin = unflatten(vector.numpy() + 1)
    for p, q, old in zip(model.parameters(), twin.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), old)
        np.testing.assert_array_equal(q.numpy(), old + 1)


def test_a_vector_of_another_length_is_refused():
    """unflatten says how many numbers it wants, and what it got."""
    _, unflatten = tg.flatten({"a": a0})
    for wrong in (np.ones(3), np.ones((1, 2)), 1.0):
        with pytest.raises(ShapeError, match="vector of 2 numbers"):
            unflatten(wrong)


def test_a_model_made_of_a_vector_has_its_parameters():
    """A penalty over model.parameters() is differentiated too, by the vector."""
    model = network()
    vector, unflatten = tg.flatten(model)
    penalty = lambda v: sum((p * p).sum() for p in unflatten(v).parameters())
    g = tg.grad(penalty)(vector.numpy())
    np.testing.assert_allclose(g, 2 * vector.numpy(), rtol=1e-15)
    names = [n for n, _ in unflatten(vector).named_parameters()]
    assert names == [n for n, _ in model.named_parameters()]


def test_a_model_made_of_a_vector_shares_the_rest():
    """Dropout draws from the same generator, and modes are those of the model."""
    drop = nn.Dropout(0.5, rng=0)
    model = nn.Sequential(nn.Dense(3, 3, rng=0), drop).eval()
    twin = tg.flatten(model)[1](np.ones(12))
    assert twin.layers[1].rng is drop.rng
    assert twin is not model
    assert not twin.training
    assert type(twin) is type(model)
    assert twin.layers is not model.layers


def test_flattening_inside_of_a_function_keeps_the_slope():
    """A norm over flatten(p)[0] is differentiated by p, for models as well."""
    f = lambda p: tg.norm(tg.flatten(p)[0])
    x = {"a": a0, "b": b0}
    n = np.sqrt((a0**2).sum() + (b0**2).sum())
    same(tg.grad(f)(x), {"a": a0 / n, "b": b0 / n})
    model = network()
    found = tg.grad(f)(model)
    n = np.sqrt(sum((p.numpy() ** 2).sum() for p in model.parameters()))
    for name, p in model.named_parameters():
        np.testing.assert_allclose(found[name].numpy(), p.numpy() / n, rtol=1e-13)


@pytest.mark.parametrize("wrong", [None, "text", 1j, [1j], np.array([None])])
def test_what_is_no_number_makes_no_vector(wrong):
    """Text and complex numbers are refused where they would have to be numbers."""
    with pytest.raises((DtypeError, ValueError)):
        tg.flatten(wrong)


@pytest.mark.parametrize(
    "make",
    [
        tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian, tg.per_example_grad,
        tg.checkpoint, lambda f: tg.vjp(f, a0), lambda f: tg.jvp(f, [a0], [a0]),
        lambda f: tg.hvp(f, a0, a0),
    ],
)  # fmt: skip
def test_a_loss_instead_of_a_function_is_told(make):
    """Whoever passes a computed loss, as PyTorch wants it, is shown tg.gradients."""
    with pytest.raises(OpError, match=r"expected a function.*Tensor.*tg\.gradients"):
        make(tg.Parameter(a0).sum())
    with pytest.raises(OpError, match=r"expected a function.*got str"):
        make("text")


def test_nothing_makes_an_empty_vector():
    """A structure without floating numbers has a vector of none."""
    vector, unflatten = tg.flatten({"n": 1, "s": "x"})
    assert vector.shape == (0,)
    assert unflatten(vector) == {"n": 1, "s": "x"}


def test_scipy_minimises_what_is_flattened():
    """The example's optimisers arrive, the second-order one at a vanishing slope."""
    pytest.importorskip("scipy")
    import runpy
    from pathlib import Path

    example = Path(__file__).parent.parent / "examples" / "scipy_optimize.py"
    line, fenced, first, last, right = runpy.run_path(str(example))["main"]()
    assert line.success
    assert fenced.success
    assert line.fun <= fenced.fun
    assert (fenced.x[:2] >= 0).all()
    assert last.success
    assert last.fun <= first.fun
    assert np.abs(last.jac).max() < 1e-8
    assert right > 0.95
