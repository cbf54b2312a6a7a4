"""Reports about models: what never trains, what is not reproduced, what cannot be saved."""

from __future__ import annotations

import copy
import hashlib
import io
import pickle
import re
import zipfile

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import LikelyMistake, NoPathError, SaveError
from tinygrad_nn.nn import Dense, Dropout, Module, Sequential

X = np.linspace(-1, 1, 32).reshape(8, 4)


def moved(model):
    """Return the names of the parameters that a step of training changes."""
    before = model.state()
    optimizer = tg.optim.SGD(model, lr=0.1)
    optimizer.minimize(np.sum(np.square(model(X))))
    return {name for name, was in before.items() if (model.state()[name] != was).any()}


# --- 19. Parameters that never train ---


class InAList(Module):
    def __init__(self):
        self.layers = [Dense(4, 4, rng=i) for i in range(2)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class InListsOfLists(Module):
    def __init__(self):
        self.hids = []
        for i in range(2):
            self.hids.append([Dense(4, 4, rng=i), tg.tanh])
        self.classifier = Dense(4, 3, rng=2)

    def forward(self, x):
        for layer, activation in self.hids:
            x = activation(layer(x))
        return self.classifier(x)


class InDictsOfDicts(Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.waggrs, self.list_relations = {}, {}
        for rel in range(3):
            self.waggrs[rel] = {
                "w": tg.Parameter(1.0 + rng.normal(size=(1, 2))),
                "b": tg.Parameter(np.zeros((1, 4))),
            }
            self.list_relations[rel] = Dense(4, 4, rng=rel)

    def forward(self, x):
        for rel, layer in self.list_relations.items():
            held = self.waggrs[rel]
            x = layer(x) * np.sum(held["w"]) + held["b"]
        return x


def test_pytorch_59925_layers_in_a_list():
    """Layers in a plain list were not found, and silently not trained; here they are, under the names of their places.

    Also pytorch #666, pytorch #1053, pytorch #38639, pytorch #72580, torchfix #31.
    """
    net = InAList()
    names = [name for name, _ in net.named_parameters()]
    assert names == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    ]
    assert moved(net) == set(names)


def test_pytorch_715_layers_in_lists_of_lists():
    """Of layers in lists within a list only the one outside was found; here all are."""
    net = InListsOfLists()
    assert [p.shape for p in net.parameters()] == [
        (4, 4),
        (4,),
        (4, 4),
        (4,),
        (3, 4),
        (3,),
    ]
    assert len(moved(net)) == 6


def test_pytorch_632_parameters_in_dicts_of_dicts():
    """Parameters in dicts within a dict were not found; here they are, also those and the layers that are added later."""
    net = InDictsOfDicts()
    assert {"waggrs.0.w", "waggrs.2.b", "list_relations.1.weight"} <= moved(net)
    assert len(net.parameters()) == 3 * 4
    net.later = {"scale": [tg.Parameter(1.0)]}
    assert net.named_parameters()[-1][0] == "later.scale.0"


def test_mmf_580_parameters_that_the_optimizer_missed():
    """A list of parameters kept by hand missed a submodule, and nobody noticed; here an optimiser takes the model, and all of it."""
    net = Sequential(Dense(4, 4, rng=0), tg.relu, Sequential(Dense(4, 2, rng=1)))
    assert {id(p) for p in tg.optim.Adam(net, lr=0.1).parameters} == {
        id(p) for p in net.parameters()
    }
    assert len(net.parameters()) == 4


def test_mmcv_1547_parameters_that_the_loss_misses():
    """A parameter that the loss does not depend on went unnoticed; here its gradient is refused by its name."""

    class TwoHeads(Module):
        def __init__(self):
            self.used, self.unused = Dense(4, 1, rng=0), Dense(4, 1, rng=1)

        def forward(self, x):
            return self.used(x)

    net = TwoHeads()
    with pytest.raises(NoPathError, match=r"'unused\.weight'"):
        tg.gradients(np.sum(net(X)), net.parameters())
    assert {"unused.weight", "unused.bias"}.isdisjoint(moved(net))


# --- 20. Training and evaluation mode ---


def noisy():
    return Sequential(Dense(4, 16, rng=0), Dropout(0.5, rng=0), Dense(16, 1, rng=1))


def test_pytorch_76383_measured_without_dropout():
    """That the model must be told it is evaluated is forgotten, and dropout spoils the numbers; here `fit` and `evaluate` tell it, and measure twice the same."""
    net, y = noisy(), np.ones((8, 1))
    history = tg.fit(
        net,
        tg.losses.mse,
        tg.optim.SGD(net, lr=0.01),
        (X, y),
        epochs=3,
        validation_data=(X, y),
        rng=0,
    )
    measured = [
        tg.training.evaluate(net, tg.losses.mse, (X, y))["loss"] for _ in range(2)
    ]
    assert measured[0] == measured[1] == history.rows[-1]["validation_loss"]
    assert measured[0] == np.mean((net.eval()(X).numpy() - y) ** 2)


def test_pytorch_76383_forgotten_eval():
    """A prediction under `no_grad`, with `eval()` forgotten, is noise, silently; here a warning says so, until it is told what is meant."""
    net = noisy()
    with tg.no_grad(), pytest.warns(LikelyMistake, match=r"eval\(\)"):
        net(X)
    tg.fit(
        net,
        tg.losses.mse,
        tg.optim.SGD(net, lr=0.01),
        (X, np.ones((8, 1))),
        epochs=1,
        rng=0,
    )
    with tg.no_grad(), pytest.warns(LikelyMistake, match=r"eval\(\)"):
        net(X)
    with tg.no_grad():  # warnings are errors here: there is none
        net.train()(X)
        np.testing.assert_array_equal(net.eval()(X).numpy(), net(X).numpy())


def test_mmd_14_mode_after_an_evaluation():
    """After a first evaluation the model stayed in evaluation mode, and trained without dropout; here it is as it was, layer by layer.

    Also foolbox #78, pytorch-3dunet #53.
    """
    net, y = noisy(), np.ones((8, 1))
    frozen = net.layers[0].eval()
    tg.training.evaluate(net, tg.losses.mse, (X, y))
    assert net.training
    assert net.layers[1].training
    assert not frozen.training
    with pytest.raises(ValueError, match="no more"):
        tg.training.evaluate(net, lambda prediction, target: fail(), (X, y))
    assert net.layers[1].training


def fail():
    raise ValueError("no more")


def test_pick_77_dropout_in_a_list():
    """A dropout that is no attribute of its module was not switched off; here it is found in lists and dicts, like parameters."""

    class Encoder(Module):
        def __init__(self):
            self.steps = {"last": [Dropout(0.5, rng=0)]}

        def forward(self, x):
            return self.steps["last"][0](x)

    net = Encoder().eval()
    np.testing.assert_array_equal(net(X), X)
    assert (net.train()(X) == 0).any()


# --- 21. Reproducibility ---


def test_keras_15586_seeds_mean_what_they_say():
    """Initialisers of one seed gave other numbers, as a hidden count went up; here a seed gives its numbers, and another seed gives others."""
    init = tg.nn.init
    w0, w1, w2 = (
        init.he_normal((2, 2), np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(w0, w1)
    assert (w0 != w2).all()


def test_tensorflow_31149_one_seed_for_a_model():
    """One seed, given to every layer, made layers of equal weights; here one generator, from which they draw in turn, makes them differ, and the model the same again."""

    def weights():
        rng = np.random.default_rng(1)
        return [Dense(8, 8, rng=rng).weight.data for _ in range(3)]

    first, again = weights(), weights()
    np.testing.assert_array_equal(first, again)
    assert not (first[0] == first[1]).any()
    assert not (first[1] == first[2]).any()


def test_tensorflow_38974_adding_a_layer():
    """Weights could be seeded for all layers only, so one more layer changed every later one; here a layer has a seed of its own, and the others stay.

    Also tf-keras #432.
    """
    small = Sequential(Dense(4, 4, rng=10), Dense(4, 1, rng=30))
    large = Sequential(Dense(4, 4, rng=10), Dense(4, 4, rng=20), Dense(4, 1, rng=30))
    np.testing.assert_array_equal(small[0].weight.data, large[0].weight.data)
    np.testing.assert_array_equal(small[1].weight.data, large[2].weight.data)


@pytest.mark.parametrize("compiles", [False, True])
def test_keras_439_same_results_twice(compiles):
    """The same program gave other results on every run, seeds or not; here two runs are the same bit for bit, and no global generator is touched.

    Also keras #6161, keras #3908, keras3 #42.
    """

    def run():
        net = Sequential(
            Dense(4, 16, activation="relu", rng=0),
            Dropout(0.3, rng=1),
            Dense(16, 1, rng=2),
        )
        tg.fit(
            net,
            tg.losses.mse,
            tg.optim.Adam(net, lr=0.01),
            (X, np.ones((8, 1))),
            epochs=5,
            batch_size=3,
            rng=3,
            compile=compiles,
        )
        return net.state()

    known = np.random.get_state()  # noqa: NPY002 (the global one, to see it rest)
    first = run()
    assert str(np.random.get_state()) == str(known)  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002 (what others do has no effect)
    second = run()
    np.random.set_state(known)  # noqa: NPY002
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


# --- 22. Saving, copying, pickling ---


class Trap:
    """Runs code when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return _spring, ()


def _spring():
    Trap.sprung = True


def sealed_with_a_trap(good):
    """Put a pickle in the place of a saved weight, and seal the file anew, as its author could."""
    seal = re.search(rb"tinygrad_nn \d\d [0-9a-f]{64}\Z", good)[0]
    array, packed = io.BytesIO(), io.BytesIO()
    np.save(array, np.array([[Trap(), 1.0]], object), allow_pickle=True)
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            new.writestr(name, array.getvalue() if "weight" in name else old.read(name))
        new.comment = bytes(len(seal))
    body = packed.getvalue()[: -len(seal)]
    return body + seal[:-64] + hashlib.sha256(body).hexdigest().encode()


def test_pytorch_86812_a_file_that_runs_code(tmp_path):
    """Loading a saved model ran whatever code its file held; here a file with a pickle in it is refused, and not run, also where its checksum fits.

    Also pytorch #87443, so-vits-svc-fork #193, gemma_pytorch #1.
    """
    net, path, pickled = (
        Dense(2, 1, rng=0),
        tmp_path / "model.npz",
        pickle.dumps(Trap()),
    )
    tg.save(path, net)
    before = net.state()
    for content, why in (
        (pickled, "another kind"),
        (sealed_with_a_trap(path.read_bytes()), "plain arrays"),
    ):
        path.write_bytes(content)
        with pytest.raises(SaveError, match=why):
            tg.load(path, net)
    assert not Trap.sprung
    assert all((before[name] == value).all() for name, value in net.state().items())
    pickle.loads(pickled)
    assert Trap.sprung  # the trap does work


def test_e3nn_519_files_need_no_trust(tmp_path):
    """What was saved could no longer be loaded once pickles were distrusted; here plain NumPy reads the file, pickles forbidden."""
    net, path = Dense(2, 1, rng=0), tmp_path / "model.npz"
    tg.save(path, net)
    with np.load(path, allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["model/weight"], net.weight.data)
        for name in saved.files:
            saved[name]
    other = Dense(2, 1, rng=1)
    tg.load(path, other)
    np.testing.assert_array_equal(other.weight.data, net.weight.data)


class KeepsItsOutput(Module):
    def __init__(self):
        self.first, self.second = Dense(4, 2, rng=0), Dense(2, 1, rng=1)

    def forward(self, x):
        self.exp = None
        self.exp = self.second(self.first(x))
        return self.exp


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_pytorch_54580_copy_of_a_model(copied):
    """A model that kept an output as an attribute could not be copied: "only graph leaves support the deepcopy protocol"; here it is, with the value and without its graph.

    Also pytorch #1678, byol-pytorch #95, MONAI #1178, sktime #10928.
    """
    model = KeepsItsOutput()
    output = model(X)
    other = copied(model)
    np.testing.assert_array_equal(other.exp.numpy(), output.numpy())
    assert other.exp.is_leaf
    np.testing.assert_array_equal(other(X).numpy(), output.numpy())
    tg.optim.SGD(other, lr=0.1).minimize(np.sum(np.square(other(X))))
    np.testing.assert_array_equal(model(X).numpy(), output.numpy())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_monai_1178_copy_of_a_dict_of_results(copied):
    """A dict that held results could not be copied, nor pickled for the weak references in a graph; here values, names and the need of a gradient travel, and graphs stay."""
    x = tg.Parameter([1.0, 2.0], name="x")
    results = {"image": x, "label": np.square(x), "score": np.square(x).detach()}
    for key, value in copied(results).items():
        known = results[key]
        assert value.numpy().tolist() == known.numpy().tolist()
        assert (value.name, value.requires_grad) == (known.name, known.requires_grad)
        assert value.is_leaf
