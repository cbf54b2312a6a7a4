"""Laws of saved files: complete or absent, exact or refused, all or nothing."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinygrad_nn import nn, optim
from tinygrad_nn.errors import SaveError
from tinygrad_nn.losses import mse
from tinygrad_nn.tensor import Parameter
from tinygrad_nn.training import complete_file, load, save
from tinygrad_nn.training import saving as saving_module

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "RMSProp": lambda p: optim.RMSProp(p, lr=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}


def network(seed=0, width=3):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Dense(2, width, activation="tanh", rng=rng),
        nn.Dropout(0.3, rng=rng),
        nn.Dense(width, 1, rng=rng),
    )


def steps(model, optimizer, rng, n=3):
    for _ in range(n):
        X = rng.normal(size=(5, 2))
        optimizer.minimize(mse(model(X), X[:, :1] * 2))


def same(a, b):
    return a.keys() == b.keys() and all(
        np.asarray(a[name]).dtype == np.asarray(b[name]).dtype
        and np.array_equal(a[name], b[name])
        for name in a
    )


def trained(path, make=OPTIMIZERS["Adam"]):
    model, rng = network(), np.random.default_rng(7)
    optimizer = make(model.parameters())
    steps(model, optimizer, rng)
    save(path, model, optimizer, rng, step=3, extra={"note": "ü", "list": [1, 0.1]})
    return model, optimizer, rng


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Box:
    """Anything with a state."""

    def __init__(self, state):
        self.kept = state

    def state(self):
        return dict(self.kept)

    def load_state(self, state):
        self.kept = dict(state)


# --- what comes back ---


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, name):
    """Steps after a load are those that would have followed without it."""
    path = tmp_path / "model.npz"
    model, optimizer, rng = trained(path, OPTIMIZERS[name])
    steps(model, optimizer, rng, 4)

    other, other_rng = network(seed=1), np.random.default_rng(99)
    other_optimizer = OPTIMIZERS[name](other.parameters())
    load(path, other, other_optimizer, other_rng)
    steps(other, other_optimizer, other_rng, 4)

    assert same(model.state(), other.state())
    assert same(optimizer.state(), other_optimizer.state())
    assert rng.bit_generator.state == other_rng.bit_generator.state


def test_a_schedule_goes_on_where_it_stood(tmp_path):
    """The step counter comes back, so a schedule gives the next step's rate."""

    def make(model):
        return optim.SGD(model.parameters(), lr=lambda step: 0.1 / (1 + step))

    model, rng = network(), np.random.default_rng(0)
    optimizer = make(model)
    steps(model, optimizer, rng)
    save(tmp_path / "m.npz", model, optimizer, rng)
    other = network(seed=5)
    other_optimizer = make(other)
    load(tmp_path / "m.npz", other, other_optimizer)
    assert other_optimizer.lr == optimizer.lr == 0.1 / 4


def test_everything_comes_back_without_anything_to_fill(tmp_path):
    """A file tells all that it holds, with types and JSON's values."""
    model, optimizer, _ = trained(tmp_path / "m.npz")
    saved = load(tmp_path / "m.npz")
    assert same(saved.model, model.state())
    assert same(saved.optimizer, dict(optimizer.state()))
    assert (saved.step, saved.extra) == (3, {"note": "ü", "list": [1, 0.1]})
    assert saved.path == str(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(1.5),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.array([np.nan, np.inf, -0.0, 5e-324]),
        np.arange(3, dtype=">i4"),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays_come_back_to_the_bit(tmp_path, array):
    """Values, dtype, shape and byte order of any array are kept."""
    save(tmp_path / "m.npz", Box({"a": array}))
    back = load(tmp_path / "m.npz").model["a"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "name", ["file", "self", "arr_0", "tinygrad_nn", "model", "a/b", "a.b", "ü", ""]
)
def test_any_parameter_name_is_kept(tmp_path, name):
    """No name of a parameter clashes with one of NumPy's or of the format."""
    box = Box({name: np.arange(3.0), "x": np.zeros(1)})
    save(tmp_path / "m.npz", box, box)
    saved = load(tmp_path / "m.npz")
    assert same(saved.model, box.kept)
    assert same(saved.optimizer, box.kept)


def test_numbers_keep_their_types(tmp_path):
    """Ints of any size, floats to the bit, booleans, texts and None come back."""
    state = {"i": 10**30, "f": 0.1 + 0.2, "inf": np.inf, "b": True, "s": "a", "n": None}
    save(tmp_path / "m.npz", None, Box(state))
    back = load(tmp_path / "m.npz").optimizer
    assert back == state
    assert [type(item) for item in back.values()] == list(map(type, state.values()))


def test_an_empty_model_is_a_model(tmp_path):
    """No parameters is something else than no model."""
    save(tmp_path / "m.npz", Box({}))
    assert load(tmp_path / "m.npz").model == {}
    load(tmp_path / "m.npz", nn.Sequential())
    save(tmp_path / "m.npz", None)
    with pytest.raises(SaveError, match="without it"):
        load(tmp_path / "m.npz", nn.Sequential())


@pytest.mark.parametrize(
    "kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64", "RandomState"]
)
def test_every_generator_goes_on_where_it_stood(tmp_path, kind):
    """The next numbers after a load are those that followed the save."""

    def make(seed):
        if kind == "RandomState":
            return np.random.RandomState(seed)
        return np.random.Generator(getattr(np.random, kind)(seed))

    rng = make(3)
    rng.normal(size=3)  # an odd number: some keep half of a pair for the next draw
    save(tmp_path / "m.npz", None, rng={"shuffle": rng, "other": make(4)})
    expected = rng.normal(size=5)
    other = make(8)
    load(tmp_path / "m.npz", rng={"shuffle": other})
    assert np.array_equal(other.normal(size=5), expected)


def test_equal_contents_are_equal_files(tmp_path):
    """Nothing of the moment, a time for instance, is in a file."""
    trained(tmp_path / "a.npz")
    trained(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    times = {info.date_time for info in zipfile.ZipFile(tmp_path / "a.npz").infolist()}
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_numpy_opens_it_without_pickle(tmp_path):
    """The file is a plain archive of arrays to everybody else."""
    model, _, _ = trained(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        for name, value in model.state().items():
            assert np.array_equal(arrays[f"model/{name}"], value)
    assert zipfile.ZipFile(tmp_path / "m.npz").testzip() is None


# --- damage ---


def small(path):
    save(path, Box({"w": np.arange(2.0)}), step=1)
    return path.read_bytes()


def test_a_file_cut_at_any_byte_is_refused(tmp_path):
    """No beginning of a file passes for the file."""
    content = small(tmp_path / "m.npz")
    cut = tmp_path / "cut.npz"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(SaveError, match=r"cut\.npz"):
            load(cut)


def test_a_change_of_any_byte_is_refused(tmp_path):
    """Whichever byte changes, header and directory of the archive included."""
    content = bytearray(small(tmp_path / "m.npz"))
    path = tmp_path / "flipped.npz"
    for position in range(len(content)):
        content[position] ^= 1 << (position % 8)
        path.write_bytes(content)
        with pytest.raises(SaveError, match=r"flipped\.npz"):
            load(path)
        content[position] ^= 1 << (position % 8)
    path.write_bytes(content)
    load(path)


def test_more_behind_the_end_is_refused(tmp_path):
    """A file with something appended is not what was written."""
    content = small(tmp_path / "m.npz")
    (tmp_path / "m.npz").write_bytes(content + b"\0")
    with pytest.raises(SaveError, match="without its end"):
        load(tmp_path / "m.npz")


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


def sealed(members):
    """Write what an attacker, or another version, might write under a right seal."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in members.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=True)
        archive.comment = bytes(saving_module.SEAL_LENGTH)
    return saving_module._seal(buffer)


def header(**changes):
    values = {"format": 1, "step": None, "extra": None, "rng": {}, "model": None}
    values |= {"optimizer": None} | changes
    return np.frombuffer(json.dumps(values).encode(), np.uint8)


def foreign_files():
    plain, objects = io.BytesIO(), io.BytesIO()
    np.savez(plain, weight=np.zeros(3))
    np.savez(objects, weight=np.array([Bomb()], dtype=object))
    described = {"class": "Box", "names": ["w"], "numbers": {}}
    return {
        "an .npz or zip": plain.getvalue(),
        "of another kind": objects.getvalue(),
        "a file of another kind": b"PNG and so on",
        "an empty file": b"",
        "file of another kind": pickle.dumps({"w": 1}),
        "plain arrays": sealed(
            {
                "tinygrad_nn": header(model=described),
                "model/w": np.array([Bomb()], dtype=object),
            }
        ),
        "not": sealed({"tinygrad_nn": np.arange(3, dtype=np.uint8)}),
    }


def test_what_is_no_saved_model_is_refused_and_never_run(tmp_path, monkeypatch):
    """Archives of others, pickles and noise are one clear error; no code runs."""
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    for words, content in foreign_files().items():
        (tmp_path / "m.npz").write_bytes(content)
        with pytest.raises(SaveError) as caught:
            load(tmp_path / "m.npz")
        if words != "not":
            assert words in str(caught.value)
        assert str(tmp_path / "m.npz") in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_later_format_is_refused_by_its_number(tmp_path, monkeypatch):
    """A file of a later version asks for that version and not for a new file."""
    monkeypatch.setattr(saving_module, "VERSION", 2)
    small(tmp_path / "m.npz")
    monkeypatch.undo()
    with pytest.raises(SaveError, match="format 2, of a later"):
        load(tmp_path / "m.npz")


def test_what_is_no_file_is_refused(tmp_path):
    """A missing file and a directory are told apart."""
    with pytest.raises(SaveError, match=r"none\.npz: .*no such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(SaveError, match="got a directory"):
        load(tmp_path)


# --- all or nothing ---


def misfits():
    """What does not fit a file of `trained`: (model, optimizer, rng, words)."""

    def full(model, make=OPTIMIZERS["Adam"], rng=None):
        rng = np.random.default_rng(1) if rng is None else rng
        return model, make(model.parameters()), rng

    wide = network()
    return {
        "names": (*full(nn.Dense(2, 1, rng=0)), "unknown to the model"),
        "shapes": (*full(network(width=4)), r"layers.0.weight\(4, 2\)"),
        "class": (*full(network(), OPTIMIZERS["SGD"]), "expected the state of SGD"),
        "moments": (
            wide,
            optim.Adam(wide.parameters()[:2], lr=0.01),
            np.random.default_rng(1),
            "fits the optimizer",
        ),
        "generator": (
            *full(network(), rng=np.random.Generator(np.random.MT19937(0))),
            "MT19937",
        ),
        "generators": (*full(network(), rng={"a": np.random.default_rng(0)}), "'a'"),
    }


@pytest.mark.parametrize("case", misfits())
def test_a_failed_load_changes_nothing(tmp_path, case):
    """Whatever does not fit, model, optimiser and generators are as before."""
    trained(tmp_path / "m.npz")
    model, optimizer, rng, words = misfits()[case]
    generator = rng["a"] if isinstance(rng, dict) else rng

    def picture():
        states = [model.state(), {} if optimizer is None else dict(optimizer.state())]
        return pickle.dumps(
            (states, generator is not None and generator.bit_generator.state)
        )

    before = picture()
    with pytest.raises(SaveError, match=words) as caught:
        load(tmp_path / "m.npz", model, optimizer, rng)
    assert "m.npz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert picture() == before


def test_a_model_that_refuses_leaves_the_optimizer_as_it_was(tmp_path):
    """What was filled before the failure is what it was before the load."""

    class Stubborn(Box):
        def load_state(self, state):
            raise ValueError("no")

    save(tmp_path / "m.npz", Box({"w": np.zeros(1)}), Box({"v": 2}))
    optimizer = Box({"v": 1})
    with pytest.raises(SaveError, match="fits the model"):
        load(tmp_path / "m.npz", Stubborn({"w": np.ones(1)}), optimizer)
    assert optimizer.kept == {"v": 1}


def test_another_float_type_is_refused(tmp_path):
    """A float64 file does not lose half its digits in a float32 model unasked."""
    save(tmp_path / "m.npz", nn.Dense(2, 1, rng=0))
    with pytest.raises(SaveError, match="float32"):
        load(tmp_path / "m.npz", nn.Dense(2, 1, rng=0, dtype=np.float32))


def test_a_file_without_optimizer_or_rng_cannot_fill_them(tmp_path):
    """What was not saved is asked for by name."""
    model = network()
    save(tmp_path / "m.npz", model)
    with pytest.raises(SaveError, match="optimizer= to"):
        load(tmp_path / "m.npz", model, OPTIMIZERS["Adam"](model.parameters()))
    with pytest.raises(SaveError, match="'rng'; got none"):
        load(tmp_path / "m.npz", model, rng=np.random.default_rng(0))


# --- writing ---


def fails_with(monkeypatch, name):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if name == "write":
        monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    else:
        monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("moment", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("present", [True, False])
def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch, moment, present):
    """A full disk at any moment leaves the old file and no other."""
    path = tmp_path / "m.npz"
    before = small(path) if present else None
    if not present:
        path.unlink(missing_ok=True)
    with monkeypatch.context() as patch:
        fails_with(patch, moment)
        with pytest.raises(SaveError, match="No space left"):
            save(path, network())
    assert (path.read_bytes() if path.exists() else None) == before
    assert names(tmp_path) == ["m.npz"] * present


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    """Ctrl-C in the middle of writing is no half file either."""
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def write():
        with complete_file(path) as part:
            part.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["notes.txt"]


def test_what_was_loaded_shows_itself_in_a_line(tmp_path):
    """The record names its parts and counts its arrays, but prints none of them."""
    path = tmp_path / "m.npz"
    save(path, nn.Dense(500, 1, rng=0))
    assert repr(load(path)) == f"Saved({str(path)!r}, 2 arrays, step=None)"
    trained(path)
    saved = load(path)
    n = sum(
        np.ndim(item) > 0 for item in (*saved.model.values(), *saved.optimizer.values())
    )
    assert (
        str(saved) == f"Saved({str(path)!r}, {n} arrays, optimizer, rng, extra, step=3)"
    )


def test_an_error_names_the_path_that_was_asked_for(tmp_path):
    """The file that is filled first has a name that no user knows."""
    for path in (tmp_path / "none" / "p.csv", "/proc/p.csv"):
        with pytest.raises(OSError, match="No such file") as caught:  # noqa: SIM117
            with complete_file(path):
                pass
        assert caught.value.filename == str(path)
        assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("name", ["m", "m.npz", "m.backup", ".hidden", "a b.npz"])
def test_the_path_is_the_path(tmp_path, name):
    """No suffix is added, and no other file appears."""
    save(tmp_path / name, network())
    assert names(tmp_path) == [name]
    load(str(tmp_path / name), network())


def test_permissions_are_the_users(tmp_path):
    """A new file follows the umask; a replaced one keeps its permissions."""
    path = tmp_path / "m.npz"
    umask = os.umask(0o027)
    try:
        save(path, network())
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o444)
    save(path, network())
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_a_link_stays_a_link(tmp_path):
    """Through a symbolic link, the file it names is written."""
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    save(tmp_path / "link.npz", network())
    assert (tmp_path / "link.npz").is_symlink()
    load(tmp_path / "real.npz", network())


def test_what_cannot_be_written_is_one_error(tmp_path):
    """A missing directory, a directory as file, a device: each by its name."""
    for path in (tmp_path / "no" / "m.npz", tmp_path, "/dev/null"):
        with pytest.raises(SaveError, match=str(path)) as caught:
            save(path, network())
        assert "\n" not in str(caught.value)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(
    "extra",
    [{1, 2}, object(), np.zeros(2), {"a": 1j}, b"bytes"],
    ids=["set", "object", "array", "complex", "bytes"],
)
def test_what_cannot_be_kept_is_refused(tmp_path, extra):
    """Only JSON's values are accepted as extra; nothing is written otherwise."""
    with pytest.raises(SaveError, match="JSON"):
        save(tmp_path / "m.npz", network(), extra=extra)
    with pytest.raises(SaveError, match="no objects"):
        save(tmp_path / "m.npz", Box({"o": object()}))
    assert names(tmp_path) == []


def test_a_generator_is_asked_for_by_name(tmp_path):
    """A seed is no generator: its state could not be kept."""
    with pytest.raises(SaveError, match="Generator"):
        save(tmp_path / "m.npz", None, rng=7)


def test_the_seal_covers_every_byte_before_it(tmp_path):
    """The documented digest can be checked by anyone."""
    content = small(tmp_path / "m.npz")
    comment = zipfile.ZipFile(tmp_path / "m.npz").comment
    digest = hashlib.sha256(content[: -len(comment)]).hexdigest()
    assert comment == f"tinygrad_nn 01 {digest}".encode()


def test_parameters_found_in_lists_and_dicts_are_saved(tmp_path):
    """Names of nested places survive the way to the disk and back."""

    class Nested(nn.Module):
        def __init__(self, value):
            self.parts = [{"w": Parameter(np.full(2, value))}, Parameter(value)]

        def forward(self, x):
            return x

    save(tmp_path / "m.npz", Nested(1.5))
    other = Nested(0.0)
    load(tmp_path / "m.npz", other)
    assert same(other.state(), Nested(1.5).state())
