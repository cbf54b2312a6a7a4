"""The five tutorials: expressions against explicit formulas, slips refuted, files run.

``reference.explicit`` is the witness: the same networks in plain NumPy with gradients
by formula.  Each tutorial's own functions build the expression.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from reference import explicit

import tinygrad_nn as tg
from tinygrad_nn import check, nn

EXAMPLES = Path(__file__).parent.parent / "examples"


@functools.cache
def example(name):
    """Import one file of examples/, which is no package."""
    specification = importlib.util.spec_from_file_location(
        name, EXAMPLES / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# --- the cases --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """One network of a tutorial, with what both implementations need to run it.

    ``train(iterations)`` runs the example and returns parameters and costs;
    ``cost(parameters, rng)`` is its expression, given a dictionary of Parameters W1, b1,
    ...; ``rng()`` is the random state from which it draws its start, by ``rule`` and
    ``options`` the witness trains alike; ``stages`` are the iterations to compare at.
    """

    X: np.ndarray
    Y: np.ndarray
    sizes: list
    hidden: list
    rng: object
    start: str
    train: object
    cost: object
    rule: object
    stages: tuple
    options: dict = field(default_factory=dict)


def with_state(load, seed):
    """Return a tutorial's data, and a source of its random state after drawing them."""
    rng = np.random.RandomState(seed)
    X, Y = load(rng)
    return X, Y, functools.partial(copy.deepcopy, rng)


def flower_case():
    module = example("planar_flower")

    X, Y, rng = with_state(module.load_planar_dataset, 1)
    return Case(
        X=X,
        Y=Y,
        sizes=[2, 4, 1],
        hidden=["tanh"],
        rng=rng,
        start="small",
        train=lambda n: module.train(X, Y, n, rng=rng()),
        cost=lambda p, rng: module.compute_cost(module.forward_propagation(X, p), Y),
        rule=explicit.gradient_descent(0.01),
        stages=(0, 1, 10, 100, 10_000),
    )


def one_hidden_layer_case():
    module = example("one_hidden_layer")
    X, Y, rng = with_state(functools.partial(module.load_dataset, 400), 5)
    return Case(
        X=X,
        Y=Y,
        sizes=[2, 4, 1],
        hidden=["tanh"],
        rng=rng,
        start="small",
        train=lambda n: module.nn_model(X, Y, num_iterations=n, rng=rng()),
        cost=lambda p, rng: module.compute_cost(module.forward_propagation(X, p)[0], Y),
        rule=explicit.gradient_descent(1.2),
        stages=(0, 1, 10, 100, 5000),
    )


def sigmoid_network_case():
    module = example("sigmoid_network")
    X, Y, rng = with_state(functools.partial(module.load_data, 500), 2)
    return Case(
        X=X,
        Y=Y,
        sizes=[2, 5, 3, 1],
        hidden=["sigmoid", "sigmoid"],
        rng=rng,
        start="xavier",
        train=lambda n: module.train(X, Y, module.LAYER_DIMS, n, rng=rng()),
        cost=lambda p, rng: module.cost_function(module.forward_prop(X, p), Y),
        rule=explicit.gradient_descent(0.7),
        stages=(0, 1, 10, 100, 5000),
    )


@functools.cache
def cats():
    module = example("image_classifier")
    images, Y = module.load_images(209, np.random.RandomState(1))
    return module.flatten(images), Y


def logistic_case():
    module = example("image_classifier")
    X, Y = cats()

    def train(n):
        own = module.initialize_logistic(len(X))
        costs = module.train(
            module.logistic_regression, own, X, Y, iterations=n, learning_rate=0.005
        )
        return {"W1": own["w"].T, "b1": own["b"].reshape(1, 1)}, costs

    def cost(p, rng):
        own = {"w": p["W1"].T, "b": p["b1"].reshape(())}
        return module.compute_cost(module.logistic_regression(X, own), Y)

    return Case(
        X=X,
        Y=Y,
        sizes=[12288, 1],
        hidden=[],
        rng=functools.partial(np.random.RandomState, 1),
        start="zeros",
        train=train,
        cost=cost,
        rule=explicit.gradient_descent(0.005),
        stages=(0, 1, 10, 100),
    )


def images_case(model, sizes):
    module = example("image_classifier")
    X, Y = cats()
    forward = getattr(module, model)
    rng = functools.partial(np.random.RandomState, 1)

    def train(n):
        parameters = module.initialize_layers(sizes, rng())
        costs = module.train(
            forward, parameters, X, Y, iterations=n, learning_rate=0.0075
        )
        return parameters, costs

    return Case(
        X=X,
        Y=Y,
        sizes=sizes,
        hidden=["relu"] * (len(sizes) - 2),
        rng=rng,
        start="xavier",
        train=train,
        cost=lambda p, rng: module.compute_cost(forward(X, p), Y),
        rule=explicit.gradient_descent(0.0075),
        stages=(0, 1, 10, 100),
    )


def weather_case(title):
    module = example("weather_network")
    settings = module.IMPROVEMENTS[title]
    X, Y = module.load_weather(1000, np.random.RandomState(1))
    X, _ = module.standardize(X[:, :800], X[:, 800:])
    Y = Y[:, :800]
    rng = functools.partial(np.random.RandomState, 3)
    keep, l2 = settings.get("keep", 1.0), settings.get("l2", 0.0)
    rule = {
        "gradient descent": explicit.gradient_descent,
        "momentum": explicit.momentum,
        "rmsprop": explicit.rmsprop,
        "adam": explicit.adam,
    }[settings.get("optimizer", "gradient descent")]
    stages = (0, 1, 10, 100) if "batch_size" in settings else (0, 1, 10, 100, 1000)
    return Case(
        X=X,
        Y=Y,
        sizes=[4, 5, 4, 3, 1],
        hidden=["relu"] * 3,
        rng=rng,
        start=settings.get("start", "he"),
        train=lambda n: module.train(X, Y, iterations=n, **settings, rng=rng()),
        cost=lambda p, rng: module.compute_cost(
            module.L_model_forward(X, p, keep=keep, rng=rng), Y, p, l2
        ),
        rule=rule(settings.get("learning_rate", 0.1)),
        stages=stages,
        options={"l2": l2, "keep": keep, "batch_size": settings.get("batch_size")},
    )


CASES = {
    "planar flower": flower_case,
    "one hidden layer": one_hidden_layer_case,
    "sigmoid network": sigmoid_network_case,
    "images, logistic": logistic_case,
    "images, one hidden layer": functools.partial(
        images_case, "one_hidden_layer", [12288, 7, 1]
    ),
    "images, deep": functools.partial(
        images_case, "deep_network", [12288, 5, 5, 5, 3, 1]
    ),
} | {
    f"weather, {title}": functools.partial(weather_case, title)
    for title in (
        "plain",
        "L2",
        "dropout",
        "mini-batches",
        "momentum",
        "RMSProp",
        "Adam",
        "Xavier start",
        "small random start",
        "zero start",
    )
}


@functools.cache
def case(name):
    return CASES[name]()


@functools.cache
def trained(name, iterations):
    """Run the example so far: its parameters as arrays, and its costs."""
    parameters, costs = case(name).train(iterations)
    return {name: np.array(p.data) for name, p in parameters.items()}, np.array(costs)


every_case = pytest.mark.parametrize("name", CASES)


# --- the witness itself -----------------------------------------------------------


def test_the_explicit_formulas_equal_finite_differences():
    """The witness's gradients are the slopes of the witness's cost."""
    rng = np.random.RandomState(0)
    X, Y = rng.randn(4, 7), (rng.rand(1, 7) < 0.5).astype(float)
    hidden = ["relu", "tanh", "sigmoid"]
    parameters = explicit.initialise([4, 5, 4, 3, 1], rng)
    masks = explicit.draw_masks(parameters, 7, 0.7, rng)
    options = {"masks": masks, "keep": 0.7, "l2": 0.3}
    _, gradients = explicit.cost_and_gradients(parameters, X, Y, hidden, **options)
    for name, W in parameters.items():
        slopes = np.zeros_like(W)
        for index in np.ndindex(W.shape):
            nudge = np.zeros_like(W)
            nudge[index] = 1e-6
            up, down = (
                explicit.cost_and_gradients(
                    parameters | {name: moved}, X, Y, hidden, **options
                )[0]
                for moved in (W + nudge, W - nudge)
            )
            slopes[index] = (up - down) / 2e-6
        np.testing.assert_allclose(slopes, gradients[name], atol=1e-8)


def test_the_witness_reaches_the_flower_of_the_tutorial():
    """10,000 steps at rate 0.01 on mean gradients end at 0.4191 and 0.8525."""
    X, Y, _, parameters, costs = explicit.flower_experiment()
    assert round(costs[-2], 4) == round(costs[-1], 4) == 0.4191
    assert explicit.accuracy(parameters, X, Y, ["tanh"]) == 0.8525


def test_both_implementations_draw_the_same_data():
    """The flower and the images of the examples are the witness's, number by number."""
    flower = example("planar_flower").load_planar_dataset(np.random.RandomState(1))
    images = example("image_classifier").load_images(20, np.random.RandomState(1))
    for ours, theirs in [
        (flower, explicit.flower(np.random.RandomState(1))),
        (images, explicit.images(20, np.random.RandomState(1))),
    ]:
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a, b)


# --- gradients and cost curves ----------------------------------------------------


def differences(name, iterations):
    """Relative difference, per parameter, of the expression's gradient and formula.

    A weight's is max|a - b| / max|b|.  A bias gradient is a mean over examples that
    may all but cancel (the flower begins at 2e-6 from terms of 0.5, where the formula
    itself lies 1.5e-11 from its 80-bit value and the expression 6e-12); it is measured
    against the terms' mean size.
    """
    this = case(name)
    arrays, _ = trained(name, iterations)
    keep, l2 = this.options.get("keep", 1.0), this.options.get("l2", 0.0)
    masks = explicit.draw_masks(arrays, this.X.shape[1], keep, np.random.RandomState(7))
    options = {"masks": masks, "keep": keep}

    cache = explicit.forward(arrays, this.X, this.hidden, **options)
    formula = explicit.backward(arrays, cache, this.Y, this.hidden, **options, l2=l2)
    terms = explicit.deltas(arrays, cache, this.Y, this.hidden, **options)

    parameters = {key: tg.Parameter(W, name=key) for key, W in arrays.items()}
    this.cost(parameters, np.random.RandomState(7)).backward()
    found = {}
    for key, W in parameters.items():
        size = np.max(np.abs(formula[key]))
        if key[0] == "b":
            size = max(size, np.mean(np.abs(terms["Z" + key[1:]])))
        error = np.max(np.abs(W.grad - formula[key]))
        found[key] = error / size if size else error
    return found


@every_case
def test_gradients_equal_the_explicit_formulas_along_training(name):
    """backward() gives the hand-derived gradients, at the start and ever after."""
    for iterations in case(name).stages:
        for key, difference in differences(name, iterations).items():
            assert difference <= 1e-12, (iterations, key)


@every_case
def test_cost_curve_equals_the_plain_implementation(name):
    """The expression and the formulas, from one start, keep step to 1e-9."""
    this = case(name)
    iterations = this.stages[-1]
    arrays, costs = trained(name, iterations)
    rng = this.rng()
    start = explicit.initialise(this.sizes, rng, this.start)
    parameters, expected = explicit.train(
        start,
        this.X,
        this.Y,
        this.hidden,
        this.rule,
        iterations=iterations,
        rng=rng,
        **this.options,
    )
    assert len(costs) == len(expected)
    assert np.max(np.abs(costs - expected) / expected) <= 1e-9
    for key, W in parameters.items():
        np.testing.assert_allclose(arrays[key], W, rtol=1e-7, atol=1e-9)


@every_case
def test_cost_equals_the_written_out_cost_where_that_is_exact(name):
    """Where |Z| <= 15 the tutorials' spelling on plain arrays gives the same number."""
    this = case(name)
    if this.options.get("keep", 1.0) < 1:
        pytest.skip("dropout: the curve above compares it")
    compared = 0
    for iterations in this.stages:
        arrays, _ = trained(name, iterations)
        cache = explicit.forward(arrays, this.X, this.hidden)
        last = explicit.n_layers(arrays)
        if np.max(np.abs(cache[f"Z{last}"])) > 15:
            continue
        written = explicit.written_cost(cache[f"A{last}"], this.Y)
        written += explicit.penalty(
            arrays, this.Y.shape[1], this.options.get("l2", 0.0)
        )
        parameters = {key: tg.Parameter(W) for key, W in arrays.items()}
        cost = this.cost(parameters, None).item()
        assert abs(cost - written) <= 1e-9 * written
        compared += 1
    assert compared


def test_the_flower_ends_where_the_tutorial_says():
    """The expression ends at cost 0.4191 and accuracy 0.8525 after 10,000 steps."""
    this = case("planar flower")
    arrays, costs = trained("planar flower", 10_000)
    assert round(costs[-1], 4) == 0.4191
    assert explicit.accuracy(arrays, this.X, this.Y, this.hidden) == 0.8525


def test_layers_over_rows_equal_the_tutorials_columns():
    """nn.Dense on X (m, 2) has the cost and gradients of W @ X + b on X (2, m)."""
    this = case("planar flower")
    arrays, _ = trained("planar flower", 100)
    value, expected = explicit.cost_and_gradients(arrays, this.X, this.Y, this.hidden)

    network = nn.Sequential(
        nn.Dense(2, 4, activation="tanh", rng=0), nn.Dense(4, 1, rng=1)
    )
    found = dict(zip(["W1", "b1", "W2", "b2"], network.parameters(), strict=True))
    for name, parameter in found.items():
        parameter.data = arrays[name].reshape(parameter.shape)
    A = 1 / (1 + np.exp(-network(this.X.T)))
    cost = -np.mean(this.Y.T * np.log(A) + (1 - this.Y.T) * np.log(1 - A))
    cost.backward()

    assert abs(cost.item() - value) <= 1e-14
    for name, parameter in found.items():
        difference = np.abs(parameter.grad - expected[name].reshape(parameter.shape))
        assert np.max(difference) <= 1e-15, name


# --- the tutorials' slips ---------------------------------------------------------

SIZES = {
    "weather": ([4, 5, 4, 3, 1], ["relu"] * 3),
    "sigmoids": ([3, 4, 4, 1], ["sigmoid"] * 2),
    "tanh": ([2, 4, 1], ["tanh"]),
    "deep": ([6, 5, 5, 5, 3, 1], ["relu"] * 4),
}


SPELLINGS = {
    "relu": lambda Z: np.maximum(0, Z),
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "tanh": np.tanh,
}


class Lesson:
    """A small network, its cost over a list of arrays, and gradients to be judged."""

    def __init__(self, network):
        rng = np.random.RandomState(5)
        self.sizes, self.hidden = SIZES[network]
        self.X = rng.randn(self.sizes[0], 12)
        self.Y = (rng.rand(1, 12) < 0.4).astype(float)
        self.m = 12
        self.parameters = explicit.initialise(self.sizes, rng)
        for name, W in self.parameters.items():
            if name[0] == "b":
                self.parameters[name] = 0.3 + 0.1 * rng.rand(*W.shape)
        self.L = explicit.n_layers(self.parameters)

    def named(self, arrays):
        return dict(zip(self.parameters, arrays, strict=True))

    def output(self, *arrays):
        """Return A of the last layer, by lines that run on arrays and on Tensors."""
        A = self.X
        for layer, (W, b) in enumerate(zip(arrays[0::2], arrays[1::2], strict=True)):
            Z = np.dot(W, A) + b
            activation = (*self.hidden, "sigmoid")[layer]
            A = SPELLINGS[activation](Z)
        return A

    def cost(self, *arrays):
        A = self.output(*arrays)
        return -np.mean(self.Y * np.log(A) + (1 - self.Y) * np.log(1 - A))

    def caches(self, arrays):
        parameters = self.named(arrays)
        cache = explicit.forward(parameters, self.X, self.hidden)
        return (
            parameters,
            cache,
            explicit.deltas(parameters, cache, self.Y, self.hidden),
        )

    def gradients(self, *arrays):
        """Return the right gradients, in the order of the arrays."""
        _, gradients = explicit.cost_and_gradients(
            self.named(arrays), self.X, self.Y, self.hidden
        )
        return tuple(gradients[name] for name in self.parameters)

    def wrong(self, *, cost=None, formula=None):
        """Return the names of the parameters whose gradients by hand are refuted."""
        report = check.check_gradients(
            cost or self.cost,
            *self.parameters.values(),
            formula=formula or self.gradients,
            names=list(self.parameters),
        )
        assert set(report.judged) == {"autograd", "formula"}
        assert report.ok == (report.blame == ())
        assert report.blame in ((), ("formula",)), "the expression's gradient is right"
        return {name for name, of in report.parameters.items() if of.verdict == "wrong"}


@pytest.mark.parametrize("network", SIZES)
def test_check_accepts_the_right_gradients(network):
    """The explicit formulas pass, so what follows fails for its slip alone."""
    assert Lesson(network).wrong() == set()


def test_an_update_loop_one_layer_too_far_is_refuted():
    """Named gradients end at dWL; in lists, index -1 moves the last layer twice."""
    lesson = Lesson("weather")
    gradients = lesson.named(lesson.gradients(*lesson.parameters.values()))
    with pytest.raises(KeyError, match="W5"):
        [gradients[f"W{layer}"] for layer in range(1, lesson.L + 2)]

    def what_the_loop_applies(*arrays):
        right = lesson.gradients(*arrays)
        weights, biases = right[0::2], right[1::2]
        applied = [np.zeros_like(W) for W in arrays]
        for layer in range(lesson.L + 1):  # should be range(1, L + 1)
            applied[0::2][layer - 1][...] += weights[layer - 1]
            applied[1::2][layer - 1][...] += biases[layer - 1]
        return tuple(applied)

    assert lesson.wrong(formula=what_the_loop_applies) == {"W4", "b4"}


def test_gradients_filed_under_the_layer_below_are_refuted():
    """What is filed under L-1 is overwritten, and nothing is left for layer L."""
    lesson = Lesson("sigmoids")

    def filed(*arrays):
        right = lesson.named(lesson.gradients(*arrays))
        filed = {f"W{lesson.L - 1}": right[f"W{lesson.L}"]}
        filed[f"b{lesson.L - 1}"] = right[f"b{lesson.L}"]
        for layer in range(lesson.L - 1, 0, -1):
            filed[f"W{layer}"] = right[f"W{layer}"]
            filed[f"b{layer}"] = right[f"b{layer}"]
        nothing = {name: np.zeros_like(W) for name, W in lesson.parameters.items()}
        return tuple((nothing | filed)[name] for name in lesson.parameters)

    assert lesson.wrong(formula=filed) == {"W3", "b3"}


def test_a_sigmoid_that_returns_a_pair_is_refuted():
    """Multiplying by the pair (A, Z) for A gives a gradient of another slope."""
    lesson = Lesson("tanh")
    with pytest.raises(TypeError):
        _ = 1 - (lesson.X, lesson.X)  # dA * sigmoid(Z) * (1 - sigmoid(Z)), as printed

    def multiplies_the_pair(*arrays):
        parameters, cache, _ = lesson.caches(arrays)
        A, Z = cache["A2"], cache["Z2"]
        dA = -(lesson.Y / A - (1 - lesson.Y) / (1 - A)) / lesson.m
        pair = np.array((A, Z))
        dZ2 = np.sum(dA * pair * (1 - pair), axis=0)
        dZ1 = parameters["W2"].T @ dZ2 * (1 - cache["A1"] ** 2)
        return (
            dZ1 @ lesson.X.T,
            dZ1.sum(axis=1, keepdims=True),
            dZ2 @ cache["A1"].T,
            dZ2.sum(axis=1, keepdims=True),
        )

    assert lesson.wrong(formula=multiplies_the_pair) == set(lesson.parameters)


def test_the_cost_of_the_sigmoid_network_is_a_number():
    """Squeezed, the (1, 1) product of the tutorial is one number of equal value."""
    this = case("sigmoid network")
    module = example("sigmoid_network")
    params = module.init_params([2, 5, 3, 1], np.random.RandomState(2))
    A = module.forward_prop(this.X, params)
    cost = module.cost_function(A, this.Y)
    m = this.Y.shape[1]
    printed = -(np.dot(np.log(A), this.Y.T) + np.dot(np.log(1 - A), 1 - this.Y.T)) / m
    assert (cost.shape, printed.shape) == ((), (1, 1))
    assert abs(cost.item() - printed.item()) <= 1e-15


def test_a_cost_without_its_minus_is_refuted():
    """dZ2 = A2 - Y is the gradient of the cost with the minus, not of its negative."""
    lesson = Lesson("tanh")
    wrong = lesson.wrong(cost=lambda *arrays: -lesson.cost(*arrays))
    assert wrong == set(lesson.parameters)


def test_tanh_spelled_by_exponentials_is_refuted_where_it_overflows():
    """The printed ratio is nan from z = 710 on, so is the gradient made of it."""

    def printed(z):
        return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))

    z = np.array([0.5, 800.0])
    with np.errstate(over="ignore", invalid="ignore"):
        report = check.check_gradients(
            lambda z: np.sum(np.tanh(z)), z, formula=lambda z: (1 - printed(z) ** 2,)
        )
        assert not report.ok
        recorded = printed(tg.Tensor(z))  # the same text on a Tensor is tanh
    assert np.array_equal(recorded.numpy(), np.tanh(z))
    small = np.array([0.5, -2.0])
    assert check.check_gradients(
        lambda z: np.sum(np.tanh(z)), small, formula=lambda z: (1 - printed(z) ** 2,)
    ).ok


def test_a_cost_with_its_cases_exchanged_is_refuted():
    """-mean((1 - Y) log A + Y log(1 - A)) has the gradient A - (1 - Y)."""
    lesson = Lesson("deep")

    def exchanged(*arrays):
        A = lesson.output(*arrays)
        return -np.mean((1 - lesson.Y) * np.log(A) + lesson.Y * np.log(1 - A))

    assert lesson.wrong(cost=exchanged) == set(lesson.parameters)


def test_slope_one_of_relu_at_zero_is_a_kink_and_no_error():
    """At Z = 0 every slope from 0 to 1 serves: Z >= 0 is not refuted there."""

    def cost(Z):
        return np.sum(np.maximum(0, Z))

    at_the_kink = np.array([-1.0, 0.0, 2.0])
    for slope in (lambda Z: (Z >= 0).astype(float), lambda Z: (Z > 0).astype(float)):
        report = check.check_gradients(
            cost, at_the_kink, formula=lambda Z, slope=slope: (slope(Z),)
        )
        assert (report.ok, report.verdict) == (True, "kink")
    assert not check.check_gradients(
        cost, at_the_kink, formula=lambda Z: (np.ones_like(Z),)
    ).ok


def wrong_layers(lesson, *, slope, paired):
    """Gradients of the deep network with relu's slope or the pairing left wrong."""

    def formula(*arrays):
        parameters, cache, dZ = lesson.caches(arrays)
        if not slope:
            for layer in range(lesson.L - 1, 0, -1):
                above = f"{layer + 1}"
                dZ[f"Z{layer}"] = parameters["W" + above].T @ dZ["Z" + above]
        result = []
        for layer in range(1, lesson.L + 1):
            below = 1 if paired and layer == 3 else layer - 1  # A1 for A2: both (5, m)
            A = cache[f"out{below}"]
            result.append(dZ[f"Z{layer}"] @ A.T / lesson.m)
            result.append(dZ[f"Z{layer}"].sum(axis=1, keepdims=True) / lesson.m)
        return tuple(result)

    return formula


def test_a_deep_network_without_relu_slopes_is_refuted():
    """dZ[l] = W[l + 1].T @ dZ[l + 1] lacks the factor (Z[l] > 0)."""
    lesson = Lesson("deep")
    right = wrong_layers(lesson, slope=True, paired=False)
    assert lesson.wrong(formula=right) == set()
    slopeless = wrong_layers(lesson, slope=False, paired=False)
    last = {"W5", "b5"}  # no slope of relu lies above the last layer
    assert lesson.wrong(formula=slopeless) == set(lesson.parameters) - last


def test_the_output_of_another_layer_is_refuted():
    """dW3 = dZ3 @ A1.T has the shape of dZ3 @ A2.T and is wrong."""
    lesson = Lesson("deep")
    mispaired = wrong_layers(lesson, slope=True, paired=True)
    assert lesson.wrong(formula=mispaired) == {"W3"}


def test_a_cost_without_minus_and_mean_is_refuted():
    """The printed sum is -m times the cost whose gradient the formulas are."""
    lesson = Lesson("tanh")

    def printed(*arrays):
        A = lesson.output(*arrays)
        return np.sum(lesson.Y * np.log(A) + (1 - lesson.Y) * np.log(1 - A))

    assert lesson.wrong(cost=printed) == set(lesson.parameters)


# --- the files --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("weather_network", {"cost.png"}),
        ("sigmoid_network", {"cost.png", "boundary.png"}),
        ("one_hidden_layer", {"cost.png", "boundary.png"}),
        ("image_classifier", {"cost.png", "predictions.png"}),
        ("planar_flower", {"cost.png", "boundary.png"}),
    ],
)
def test_example_runs_and_leaves_its_pictures(name, pictures, tmp_path, capsys):
    """A short run prints cost and accuracy and leaves exactly its PNG files."""
    out = tmp_path / "new" / name
    example(name).main(["--iterations", "20", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "Cost after iteration 0:" in printed or "Epoch 0: cost" in printed
    assert "ccuracy" in printed
    assert {path.name for path in out.iterdir()} == pictures
    for path in out.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
