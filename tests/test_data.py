"""Laws of the data: what is drawn, loaded, prepared, cut into batches and read."""

from __future__ import annotations

import copy
import dataclasses
import os
import sys

import numpy as np
import pytest

from tinygrad_nn import data
from tinygrad_nn.errors import DataError, MissingExtraError

SEEDS = range(8)
GENERATED = [data.flower, data.moons, data.spirals, data.weather, data.xor]
SEEDED = [data.moons, data.spirals, data.weather, data.xor]
REAL = {
    "breast_cancer": ((569, 30), 2),
    "diabetes": ((442, 10), 0),
    "digits": ((1797, 64), 10),
    "iris": ((150, 4), 3),
    "wine": ((178, 13), 3),
}


def by_name(function):
    return function.__name__


# Generated sets


def course_notebook_flower():
    """The planar flower written point by point, columns as the notebook has them."""
    generator = np.random.RandomState(1)
    X, Y = np.zeros((400, 2)), np.zeros((400, 1), dtype="uint8")
    for j in range(2):
        ix = range(200 * j, 200 * (j + 1))
        t = np.linspace(j * 3.12, (j + 1) * 3.12, 200) + generator.randn(200) * 0.2
        r = 4 * np.sin(t * 4) + generator.randn(200) * 0.2
        X[ix] = np.c_[r * np.sin(t), r * np.cos(t)]
        Y[ix] = j
    return X, Y[:, 0], generator


def test_flower_is_the_notebooks_bit_for_bit():
    """The default flower has the very numbers of the course notebook's recipe."""
    X, y, _ = course_notebook_flower()
    flower = data.flower()
    assert flower.X.shape == (400, 2)
    assert np.array_equal(flower.X, X)
    assert np.array_equal(flower.y, y)
    assert flower.y.dtype == np.int64


def test_flower_starts_at_the_published_point():
    """The first point is the one that course notebooks print, to five digits."""
    np.testing.assert_allclose(data.flower().X[0], [1.20444, 3.57611], atol=5e-6)


def test_flower_leaves_the_generator_right_after_the_data():
    """Weights drawn from the flower's own generator are those of the tutorial."""
    _, _, expected = course_notebook_flower()
    generator = np.random.RandomState(1)
    data.flower(random_state=generator)
    assert np.array_equal(generator.randn(4, 2), expected.randn(4, 2))


def test_flower_follows_its_seed_whatever_was_drawn_before():
    """A seed gives the same flower each time, and another seed another."""
    first = data.flower(random_state=2).X
    data.flower()
    assert np.array_equal(data.flower(random_state=2).X, first)
    assert not np.array_equal(data.flower(random_state=3).X, first)


def test_flower_scales_with_its_size():
    """n_per_class points of each class come back, class 0 first."""
    flower = data.flower(7, random_state=3)
    assert flower.X.shape == (14, 2)
    assert flower.y.tolist() == [0] * 7 + [1] * 7


@pytest.mark.parametrize("draw", SEEDED, ids=by_name)
def test_generated_sets_follow_their_seed(draw):
    """One seed gives one data set, another seed another; an equal generator the same."""
    first = draw(rng=5)
    for again in (draw(rng=5), draw(rng=np.random.default_rng(5))):
        assert np.array_equal(first.X, again.X)
        assert np.array_equal(first.y, again.y)
    assert not np.array_equal(first.X, draw(rng=6).X)


@pytest.mark.parametrize("draw", SEEDED, ids=by_name)
def test_generated_sets_move_a_given_generator(draw):
    """Two draws from one generator differ: its state advances."""
    rng = np.random.default_rng(5)
    assert not np.array_equal(draw(rng=rng).X, draw(rng=rng).X)


@pytest.mark.parametrize("draw", GENERATED, ids=by_name)
def test_generated_sets_are_whole_datasets(draw):
    """Every class that is named occurs, and all numbers are finite."""
    drawn = draw()
    assert drawn.X.dtype == np.float64
    assert np.isfinite(drawn.X).all()
    assert drawn.y.dtype == np.int64
    assert len(drawn.feature_names) == drawn.X.shape[1]
    assert sorted(set(drawn.y.tolist())) == list(range(len(drawn.target_names)))
    assert drawn.name == draw.__name__


@pytest.mark.parametrize("n", [2, 3, 401])
def test_moons_without_noise_lie_on_their_half_circles(n):
    """Without noise each moon is half of a unit circle, and the classes balance."""
    X, y = data.moons(n, noise=0)
    upper, lower = X[y == 0], X[y == 1] - np.array([1, 0.5])
    np.testing.assert_allclose(np.hypot(*upper.T), 1, rtol=1e-12)
    np.testing.assert_allclose(np.hypot(*lower.T), 1, rtol=1e-12)
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 1e-12
    assert len(upper) + len(lower) == n
    assert 0 <= len(upper) - len(lower) <= 1


def test_noise_is_the_standard_deviation_of_the_moons():
    """The noise added to the moons has the deviation that was asked for."""
    noisy, clean = data.moons(20_000, noise=0.3), data.moons(20_000, noise=0)
    assert np.array_equal(noisy.y, clean.y)
    assert np.std(noisy.X - clean.X) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_spirals_without_noise_lie_on_their_arms(n_classes):
    """A point of arm j at radius r stands at angle 4 r + 2 pi j / k."""
    X, y = data.spirals(100, n_classes, noise=0)
    radius = np.hypot(*X.T)
    angle = 4 * radius + 2 * np.pi * y / n_classes
    np.testing.assert_allclose(X[:, 0], radius * np.cos(angle), atol=1e-12)
    np.testing.assert_allclose(X[:, 1], radius * np.sin(angle), atol=1e-12)
    assert np.ptp(np.bincount(y)) <= 1
    assert radius.max() == pytest.approx(1)


@pytest.mark.parametrize("draw", [data.moons, data.spirals], ids=by_name)
def test_points_come_in_random_order(draw):
    """A slice of the moons or spirals holds every class."""
    drawn = draw()
    assert set(drawn.y[:40].tolist()) == set(drawn.y.tolist())


def test_xor_is_not_linear():
    """The sign of the product decides the class; neither coordinate alone tells it."""
    X, y = data.xor(10_000, noise=0)
    assert np.array_equal(y, (X[:, 0] * X[:, 1] < 0).astype(int))
    for column in X.T:
        assert abs(np.corrcoef(column, y)[0, 1]) < 0.05


def test_weather_has_natural_units():
    """The measurements lie where weather lies, so they must be standardised."""
    X, _ = data.weather(5000)
    low, high = X.min(axis=0), X.max(axis=0)
    assert np.all(low >= [-25, 5, 960, 0])
    assert np.all(high <= [55, 100, 1060, 90])
    assert X[:, 2].mean() > 1000
    assert X[:, 2].std() < 20


def test_weather_rule_is_noisy_and_not_linear():
    """A quadratic fit tells rain better than a linear one, and none tells it fully."""
    X, y = data.weather(20_000)
    Z = data.standardize(X)
    products = [Z[:, i] * Z[:, j] for i in range(4) for j in range(i, 4)]

    def accuracy(columns):
        A = np.column_stack([np.ones(len(y)), *columns])
        answer = A @ np.linalg.lstsq(A, y, rcond=None)[0] > 0.5
        return np.mean(answer == y)

    linear, quadratic = accuracy(Z.T), accuracy([*Z.T, *products])
    assert max(np.mean(y), 1 - np.mean(y)) < 0.7
    assert linear > 0.7
    assert linear + 0.03 < quadratic < 0.95


@pytest.mark.parametrize(
    "call",
    [
        lambda: data.flower(0),
        lambda: data.moons(1),
        lambda: data.moons(noise=-1),
        lambda: data.moons(noise=float("nan")),
        lambda: data.spirals(2, n_classes=3),
        lambda: data.spirals(n_classes=1),
        lambda: data.spirals(noise=-1),
        lambda: data.xor(0),
        lambda: data.xor(noise=-1),
        lambda: data.weather(0),
    ],
)
def test_generated_sets_refuse_sizes_without_meaning(call):
    """Too few points and negative noise are refused, naming the least value."""
    with pytest.raises(DataError, match="of at least"):
        call()


# Datasets and the measured sets


@pytest.mark.parametrize("name", REAL)
def test_real_sets_are_what_their_papers_describe(name):
    """Shapes, number of classes, names and kinds agree with the publication."""
    loaded = getattr(data, name)()
    shape, classes = REAL[name]
    assert loaded.X.shape == shape
    assert loaded.X.dtype == np.float64
    assert len(loaded.feature_names) == shape[1]
    assert len(loaded.target_names) == classes
    assert loaded.name == name.replace("_", "-")
    if classes:
        assert loaded.y.dtype == np.int64
        assert np.array_equal(np.unique(loaded.y), np.arange(classes))
    else:
        assert loaded.y.dtype == np.float64
        assert loaded.kind == "regression"


def test_real_sets_have_scikit_learns_numbers():
    """Examples and targets are scikit-learn's own, in its order."""
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    digits = data.digits()
    assert np.array_equal(digits.X, X)
    assert np.array_equal(digits.y, y)


@pytest.mark.parametrize("name", REAL)
def test_real_sets_without_scikit_learn_name_the_extra(name, monkeypatch):
    """Without scikit-learn the error says what to install."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tinygrad_nn\[train\]'"):
        getattr(data, name)()


def test_dataset_unpacks_like_a_pair():
    """Exactly X and y come out, the very arrays."""
    X, y = np.zeros((3, 2)), np.array([0, 1, 1])
    pair = tuple(data.Dataset(X, y))
    assert len(pair) == 2
    assert pair[0] is X
    assert pair[1] is y


def test_dataset_is_frozen():
    """A part of a data set cannot be exchanged by accident."""
    flower = data.flower()
    with pytest.raises(dataclasses.FrozenInstanceError):
        flower.X = flower.X * 2


def test_dataset_kind_follows_its_classes():
    """No class names mean regression, two binary, more multi-class."""
    X, y = np.zeros((3, 2)), np.array([0, 1, 1])
    assert data.Dataset(X, y).kind == "regression"
    assert data.Dataset(X, y, target_names=("a", "b")).kind == "binary"
    assert data.Dataset(X, y, target_names=("a", "b", "c")).kind == "multiclass"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"X": np.zeros((3, 2)), "y": np.zeros(4)}, r"X\(3, 2\), y\(4,\)"),
        ({"X": np.zeros(()), "y": np.zeros(())}, "as many targets"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(3), "feature_names": ("a",)}, "1 names"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(3), "target_names": ("a",)}, "'a' only"),
    ],
)
def test_dataset_refuses_parts_that_do_not_fit(arguments, words):
    """Lengths, feature names and class names must fit together."""
    with pytest.raises(DataError, match=words):
        data.Dataset(**arguments)


# Standardising


@pytest.mark.parametrize("seed", SEEDS)
def test_standardised_training_part_has_mean_0_and_deviation_1(seed):
    """Every feature that varies comes out with mean 0 and standard deviation 1."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(50, 6)) * 10.0 ** rng.integers(-6, 6, 6) + rng.normal(size=6)
    Z = data.Standardizer().fit_transform(X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_standardizer_learns_from_the_training_part_only(seed):
    """A test part is moved by the training part's mean and scale, not its own."""
    rng = np.random.default_rng(seed)
    train, test = rng.normal(size=(30, 3)), rng.normal(5, 3, size=(10, 3))
    standardizer = data.Standardizer().fit(train)
    kept = standardizer.mean.copy(), standardizer.scale.copy()
    expected = (test - train.mean(axis=0)) / train.std(axis=0)
    np.testing.assert_allclose(standardizer.transform(test), expected, rtol=1e-12)
    assert np.array_equal(standardizer.mean, kept[0])
    assert np.array_equal(standardizer.scale, kept[1])


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -3.3e-7, 1e300])
def test_constant_features_become_exactly_zero(value):
    """A constant column has scale 1 and becomes 0, whatever its mean rounds to."""
    X = np.full((37, 1), value)
    standardizer = data.Standardizer().fit(X)
    assert standardizer.scale.tolist() == [1]
    assert np.array_equal(standardizer.transform(X), np.zeros((37, 1)))


def test_deviation_that_underflows_does_not_divide_by_zero():
    """Numbers whose squares are below the smallest float stay finite."""
    X = np.array([[1e-200], [3e-200]])
    assert np.isfinite(data.standardize(X)).all()


@pytest.mark.parametrize("shape", [(40, 3), (40,)])
def test_inverse_transform_undoes_transform(shape):
    """Standardised values return to their own units, for features and for targets."""
    X = np.random.default_rng(0).normal(3, 7, shape)
    standardizer = data.Standardizer().fit(X)
    there = standardizer.transform(X)
    np.testing.assert_allclose(standardizer.inverse_transform(there), X, rtol=1e-12)


def test_standardizer_is_rebuilt_from_its_attributes():
    """mean and scale are the whole state."""
    X = np.random.default_rng(0).normal(3, 7, (20, 3))
    fitted = data.Standardizer().fit(X)
    rebuilt = data.Standardizer(fitted.mean, fitted.scale)
    assert np.array_equal(rebuilt.transform(X), fitted.transform(X))


def test_a_second_fit_replaces_the_first():
    """A Standardizer that is fitted again holds the later data's mean and scale."""
    standardizer = data.Standardizer().fit([[1.0], [3.0]]).fit([[10.0], [30.0]])
    assert standardizer.mean.tolist() == [20]
    assert standardizer.scale.tolist() == [10]


def test_standardizer_keeps_float32_and_makes_float64_of_the_rest():
    """float32 in, float32 out; integers become float64."""
    X = np.array([[1, 2], [3, 5]])
    assert data.standardize(X).dtype == np.float64
    assert data.standardize(X.astype(np.float32)).dtype == np.float32
    single = data.Standardizer().fit(X).transform(X.astype(np.float32))
    assert single.dtype == np.float32


def test_standardizer_leaves_its_input_alone():
    """Read-only examples can be standardised, and are not changed."""
    X = np.array([[1.0, 2.0], [3.0, 5.0]])
    X.flags.writeable = False
    assert data.standardize(X) is not X
    assert X.tolist() == [[1, 2], [3, 5]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: data.Standardizer().transform([[1.0]]), "fit before its use"),
        (lambda s: data.Standardizer().mean, "fit before its use"),
        (lambda s: s.transform([[1.0, 2.0]]), r"X\(n, 3\); got X\(1, 2\)"),
        (lambda s: s.inverse_transform([1.0]), r"X\(n, 3\); got X\(1,\)"),
        (lambda s: s.transform([[1.0, np.nan, 2.0]]), r"nan at \[0, 1\]"),
        (lambda s: s.fit([[1.0], [np.inf]]), r"inf at \[1, 0\]"),
        (lambda s: s.fit(np.zeros((0, 3))), "at least one row"),
        (lambda s: s.fit(3.0), "at least one row"),
        (lambda s: s.fit([["a"]]), "expected numbers"),
        (lambda s: s.fit([[1e200], [-1e200]]), r"up to 1e\+200"),
        (lambda s: data.Standardizer([0.0], [0.0]), "positive scale"),
        (lambda s: data.Standardizer([0.0], [1.0, 2.0]), "positive scale"),
        (lambda s: data.Standardizer([0.0]), "finite"),
    ],
)
def test_standardizer_refuses_what_it_cannot_scale(call, words):
    """Unfitted use, other columns, and what is not a finite number are refused."""
    with pytest.raises(DataError, match=words):
        call(data.Standardizer().fit(np.eye(3)))


# Labels


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(9,), (4, 3), ()])
def test_one_hot_is_undone_by_argmax(seed, shape):
    """Each row holds one 1, and its place is the label."""
    labels = np.random.default_rng(seed).integers(0, 5, shape)
    coded = data.one_hot(labels, 5)
    assert coded.shape == (*shape, 5)
    assert np.array_equal(coded.argmax(axis=-1), labels)
    assert np.all(coded.sum(axis=-1) == 1)
    assert np.all((coded == 0) | (coded == 1))


def test_one_hot_accepts_whole_floats_booleans_and_no_labels():
    """Labels of other dtypes count, and none give no rows."""
    assert data.one_hot([1.0, 0.0]).tolist() == [[0, 1], [1, 0]]
    assert data.one_hot([True, False]).tolist() == [[0, 1], [1, 0]]
    assert data.one_hot([], 3).shape == (0, 3)
    assert data.one_hot([0, 1], dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "n_classes", "words"),
    [
        ([0, 3], 3, r"from 0 to 2; got 3 at \[1\]"),
        ([0, -1], None, r"got -1 at \[1\]"),
        ([0.5], None, r"got 0.5 at \[0\]"),
        ([np.nan], None, r"got nan at \[0\]"),
        ([np.inf], None, r"got inf at \[0\]"),
        ([[0], [2**40]], None, r"at \[1, 0\]"),
        (["cat"], None, "class numbers"),
        ([], None, "at least one label"),
    ],
)
@pytest.mark.parametrize("function", [data.one_hot, data.class_weights], ids=by_name)
def test_labels_that_are_no_class_numbers_are_refused(
    function, labels, n_classes, words
):
    """A label outside the classes is refused with its place."""
    with pytest.raises(DataError, match=words):
        function(labels, n_classes)


@pytest.mark.parametrize("seed", SEEDS)
def test_class_weights_balance_the_classes(seed):
    """Every class has the same total weight, and all examples together weigh n."""
    y = np.random.default_rng(seed).integers(0, 4, 60) ** 2 // 3  # unequal counts
    weights = data.class_weights(y)
    totals = np.bincount(y) * weights
    present = np.bincount(y) > 0
    np.testing.assert_allclose(totals[present], len(y) / present.sum())
    assert np.all(weights[~present] == 0)
    assert weights[y].sum() == pytest.approx(len(y))


def test_class_weights_count_absent_classes_when_asked():
    """n_classes sets the length; an absent class weighs nothing."""
    assert data.class_weights([0, 1], 3).tolist() == [1, 1, 0]


def test_flattened_images_keep_every_pixel_in_order():
    """Row i is image i, read in C order; no image gives no row of the right width."""
    images = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    rows = data.flatten_images(images)
    assert rows.shape == (2, 36)
    for row, image in zip(rows, images, strict=True):
        assert row.tolist() == image.ravel().tolist()
    assert data.flatten_images(np.zeros((0, 8, 8))).shape == (0, 64)
    with pytest.raises(DataError, match=r"images\(3,\)"):
        data.flatten_images(np.zeros(3))


# Splitting


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stratified", [False, True])
def test_split_puts_every_example_into_one_part(seed, stratified):
    """The parts together are the data, each X still beside its y."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 80))
    X, y = np.arange(n)[:, None], rng.integers(0, 3, n)
    y[:2] = 0  # one class with two members at least
    X_train, X_test, y_train, y_test = data.train_test_split(
        X, y, 0.3, rng=seed, stratify=y if stratified else None
    )
    both = np.concatenate([X_train, X_test])[:, 0]
    assert sorted(both.tolist()) == list(range(n))
    assert np.array_equal(y[both], np.concatenate([y_train, y_test]))
    assert len(X_train) == len(y_train) >= 1
    assert len(X_test) == len(y_test) >= 1


@pytest.mark.parametrize("stratified", [False, True])
def test_split_follows_its_seed(stratified):
    """One seed gives one split, another seed another."""
    X, y = np.arange(60.0)[:, None], np.arange(60) % 3
    stratify = y if stratified else None
    first = data.train_test_split(X, y, rng=4, stratify=stratify)
    again = data.train_test_split(X, y, rng=np.random.default_rng(4), stratify=stratify)
    other = data.train_test_split(X, y, rng=5, stratify=stratify)
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("n", "test_size", "expected"),
    [(10, 0.2, 2), (10, 3, 3), (3, 0.01, 1), (3, 0.99, 2), (1000, 0.25, 250)],
)
def test_split_has_the_size_asked_for(n, test_size, expected):
    """A share is rounded, a number is taken, and neither part is empty."""
    X, y = np.zeros((n, 1)), np.zeros(n)
    parts = data.train_test_split(X, y, test_size)
    assert [len(part) for part in parts] == [n - expected, expected] * 2


@pytest.mark.parametrize("seed", range(40))
def test_stratified_split_keeps_each_class_in_both_parts(seed):
    """Classes of two or more are in both parts, in proportion; a single one trains."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 30, rng.integers(2, 7))
    counts[0] += 1
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    test_size = rng.uniform(0.1, 0.9)
    parts = data.train_test_split(y, y, test_size, rng=seed, stratify=y)
    in_train = np.bincount(parts[2], minlength=len(counts))
    in_test = np.bincount(parts[3], minlength=len(counts))
    several = counts >= 2
    assert np.all(in_train[several] >= 1)
    assert np.all(in_test[several] >= 1)
    assert np.all(in_test[~several] == 0)
    asked = min(max(round(len(y) * test_size), 1), len(y) - 1)
    assert in_test.sum() == np.clip(asked, several.sum(), (counts - 1)[several].sum())
    # Within one of the exact share, but where a bound or a single member shifts it.
    share = counts * test_size
    roomy = (share >= 2) & (counts - share >= 2)
    slack = 1 + (~several).sum() + (~roomy).sum()
    assert np.all(np.abs(in_test - share)[roomy] <= slack)


def test_stratified_split_keeps_the_proportions_and_the_size():
    """A 90 to 10 mix stays one, and the test part has the size asked for."""
    y = np.repeat([0, 1], [900, 100])
    *_, y_train, y_test = data.train_test_split(y, y, 0.2, stratify=y)
    assert np.bincount(y_test).tolist() == [180, 20]
    assert np.bincount(y_train).tolist() == [720, 80]
    thirds = np.repeat(np.arange(3), 11)
    *_, y_test = data.train_test_split(thirds, thirds, 0.2, stratify=thirds)
    assert sorted(np.bincount(y_test).tolist()) == [2, 2, 3]


def test_stratified_split_of_rare_classes_takes_from_the_frequent():
    """Rare classes are tested at the cost of the frequent ones, each in its turn."""
    y = np.repeat(np.arange(5), [50, 2, 2, 2, 2])
    *_, y_test = data.train_test_split(y, y, 6, stratify=y)
    assert np.bincount(y_test).tolist() == [2, 1, 1, 1, 1]
    y = np.repeat(np.arange(7), [50, 30, 2, 2, 2, 2, 2])
    *_, y_test = data.train_test_split(y, y, 12, stratify=y)
    assert np.bincount(y_test).tolist() == [5, 2, 1, 1, 1, 1, 1]


def test_stratified_split_takes_text_classes():
    """Class names stratify as class numbers do."""
    y = np.array(["no", "yes"] * 10)
    *_, y_test = data.train_test_split(np.arange(20), y, 0.3, stratify=y)
    assert sorted(y_test.tolist()) == ["no"] * 3 + ["yes"] * 3


def test_stratified_parts_are_in_random_order():
    """Neither part of a stratified split is sorted by class."""
    y = np.repeat([0, 1], 50)
    *_, y_train, y_test = data.train_test_split(y, y, 0.4, stratify=y)
    assert np.count_nonzero(np.diff(y_train)) > 10
    assert np.count_nonzero(np.diff(y_test)) > 5


@pytest.mark.parametrize("stratified", [False, True])
def test_split_draws_one_permutation(stratified):
    """The generator afterwards stands where one permutation leaves it."""
    y = np.arange(30) % 2
    used, expected = np.random.default_rng(9), np.random.default_rng(9)
    data.train_test_split(y, y, rng=used, stratify=y if stratified else None)
    expected.permutation(30)
    assert used.bit_generator.state == expected.bit_generator.state


def test_every_example_may_be_tested():
    """Over many seeds each example is in the test part about as often as any other."""
    X = np.arange(10)
    times = np.zeros(10)
    for seed in range(500):
        times[data.train_test_split(X, X, 0.3, rng=seed)[1]] += 1
    assert times.sum() == 1500
    assert np.all(np.abs(times - 150) < 45)  # over four standard deviations


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, 2, 3], [1, 2]), r"X\(3,\), y\(2,\)"),
        ((1, 2), r"X\(\), y\(\)"),
        (([1], [1]), "at least two examples; got 1"),
        (([1, 2], [1, 2], 0), "test_size between 0 and 1.*got 0"),
        (([1, 2], [1, 2], 2), "from 1 to 1; got 2"),
        (([1, 2], [1, 2], 1.0), "got 1.0"),
        (([1, 2], [1, 2], -0.1), "got -0.1"),
        (([1, 2], [1, 2], float("nan")), "got nan"),
        (([1, 2], [1, 2], True), "got True"),
        (([1, 2], [1, 2], 0.5, 0, [1, 2]), "one example each"),
        (([1, 2], [1, 2], 0.5, 0, [1]), r"stratify\(1,\)"),
        (([1, 2], [1, 2], 0.5, 0, [[1], [1]]), r"stratify\(2, 1\)"),
    ],
)
def test_split_refuses_what_leaves_a_part_empty(arguments, words):
    """Unequal lengths, sizes out of range and classes of one are refused."""
    with pytest.raises(DataError, match=words):
        data.train_test_split(*arguments)


# Batches


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 3, 4, 12, 50])
def test_each_example_occurs_exactly_once_an_epoch(size, shuffle):
    """Every epoch holds every example once, each X beside its y."""
    X, y = np.arange(24).reshape(12, 2), np.arange(12) * 2
    epochs = data.batches(X, y, size, rng=0, shuffle=shuffle)
    for _ in range(3):
        parts = list(epochs)
        assert len(parts) == len(epochs) == -(-12 // size)
        assert all(len(X_batch) == len(y_batch) for X_batch, y_batch in parts)
        assert {len(y_batch) for _, y_batch in parts[:-1]} <= {size}
        seen = np.concatenate([y_batch for _, y_batch in parts])
        assert sorted(seen.tolist()) == y.tolist()
        assert np.concatenate([X_batch for X_batch, _ in parts])[:, 0].tolist() == (
            seen.tolist()
        )


def test_batches_without_shuffle_keep_the_order():
    """shuffle=False cuts the data as it lies and draws nothing."""
    rng = np.random.default_rng(0)
    before = copy.deepcopy(rng.bit_generator.state)
    parts = list(data.batches(np.arange(5), np.arange(5), 2, rng, shuffle=False))
    assert [part[1].tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert rng.bit_generator.state == before


def test_shuffled_batches_differ_from_epoch_to_epoch():
    """The order of an epoch is neither that of the data nor of the epoch before."""
    n = np.arange(50)
    epochs = data.batches(n, n, 50, rng=0)
    first, second = (next(iter(epochs))[1].tolist() for _ in range(2))
    assert first != second
    assert n.tolist() not in (first, second)


def test_drop_last_leaves_out_only_the_smaller_batch():
    """With drop_last every batch is whole, and none is lost when all are."""
    n = np.arange(10)
    parts = list(data.batches(n, n, 4, rng=0, drop_last=True))
    assert [len(y) for _, y in parts] == [4, 4]
    assert len(data.batches(n, n, 4, rng=0, drop_last=True)) == 2
    assert len(data.batches(n, n, 5, rng=0, drop_last=True)) == 2


def test_batches_follow_their_seed():
    """One seed gives the same batches, another seed others."""
    n = np.arange(20)

    def order(rng):
        epochs = data.batches(n, n, 6, rng)
        return [y.tolist() for _ in range(2) for _, y in epochs]

    assert order(3) == order(3) == order(np.random.default_rng(3))
    assert order(3) != order(4)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_an_epoch_draws_one_permutation_however_much_of_it_is_used(taken):
    """After k started epochs the generator stands where k permutations leave it."""
    n = np.arange(20)
    epochs = data.batches(n, n, 6, rng=7)
    expected = np.random.default_rng(7)
    for _ in range(3):
        started = iter(epochs)
        for _ in range(taken):
            next(started)
        expected.permutation(20)
        assert epochs.rng.bit_generator.state == expected.bit_generator.state


def test_batches_resume_exactly_from_the_generators_state():
    """Restoring the generator's state before an epoch repeats that epoch."""
    n = np.arange(30)
    epochs = data.batches(n, n, 8, rng=1)
    list(epochs)
    state = epochs.rng.bit_generator.state
    expected = [y.tolist() for _, y in epochs]
    rng = np.random.default_rng(99)
    rng.bit_generator.state = state
    assert [y.tolist() for _, y in data.batches(n, n, 8, rng)] == expected


def test_batches_without_a_seed_are_shuffled_all_the_same():
    """rng=None shuffles from fresh entropy: two objects do not agree."""
    n = np.arange(200)
    first, second = (next(iter(data.batches(n, n, 200)))[1] for _ in range(2))
    assert not np.array_equal(first, second)


def test_batches_of_several_inputs_stay_together():
    """A tuple of inputs gives tuples whose rows belong together."""
    left, right, y = np.arange(10), np.arange(20).reshape(10, 2), np.arange(10)
    for (left_batch, right_batch), y_batch in data.batches((left, right), y, 3, rng=0):
        assert np.array_equal(left_batch, y_batch)
        assert np.array_equal(right_batch, right[y_batch])


def test_shuffled_batches_are_copies():
    """Changing a shuffled batch does not change the data."""
    X = np.zeros((4, 1))
    for X_batch, _ in data.batches(X, np.arange(4), 2, rng=0):
        X_batch[...] = 1
    assert not X.any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, 2, 3], [1, 2], 1), r"X\(3,\), y\(2,\)"),
        ((([1, 2], [1]), [1, 2], 1), r"X\[0\]\(2,\), X\[1\]\(1,\), y\(2,\)"),
        (((), [1, 2], 1), r"y\(2,\)"),
        ((1.0, 2.0, 1), r"X\(\), y\(\)"),
        (([], [], 1), r"at least one; got X\(0,\)"),
        (([1], [1], 0), "size of at least 1; got 0"),
        (([1], [1], 1.5), "got 1.5"),
        (([1], [1], "4"), "got '4'"),
    ],
)
def test_batches_refuse_data_that_does_not_fit(arguments, words):
    """Unequal lengths, no examples, and sizes that are no whole number are refused."""
    with pytest.raises(DataError, match=words):
        data.batches(*arguments)


def test_batches_refuse_to_drop_everything():
    """drop_last with a size above the data would train on nothing."""
    with pytest.raises(DataError, match="size 5 for 4 examples"):
        data.batches(np.arange(4), np.arange(4), 5, drop_last=True)


# CSV files


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path as text."""

    def to_file(content, name="file.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return to_file


def test_table_separates_numbers_from_text(write):
    """Numeric columns come as an array, the others as text, each in file order."""
    table = data.read_csv(write("a,kind,b\n1,oak,-2.5e3\n .5 , elm ,+4\n"))
    assert table.columns == ("a", "kind", "b")
    assert table.numeric == ("a", "b")
    assert table.values.dtype == np.float64
    assert table.values.tolist() == [[1, -2500], [0.5, 4]]
    assert table.text == {"kind": ["oak", "elm"]}
    assert table.lines == (2, 3)
    assert len(table) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_survive_a_round_trip_through_a_file(write, seed):
    """Every float64 written with repr comes back bit for bit."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 3)) * 10.0 ** rng.integers(-300, 300, (20, 3))
    rows = [",".join(map(repr, row)) for row in X.tolist()]
    assert np.array_equal(data.read_csv(write("\n".join(["a,b,c", *rows]))).values, X)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_dialects_read_alike(write, delimiter, end, start):
    """Separator, line ends and byte order mark make no difference."""
    rows = [["größe", "b", "kind"], ["1", "2", "x"], ["3", "4", "y"]]
    text = "".join(delimiter.join(row) + end for row in rows)
    table = data.read_csv(write(start + text.encode()))
    assert table.columns == ("größe", "b", "kind")
    assert table.values.tolist() == [[1, 2], [3, 4]]
    assert table.text == {"kind": ["x", "y"]}
    assert table.lines == (2, 3)


def test_the_last_line_needs_no_end(write):
    """A file without a final line end has all its rows."""
    assert data.read_csv(write("a,b\n1,2\n3,4")).values.tolist() == [[1, 2], [3, 4]]


def test_other_separators_in_quotes_do_not_decide(write):
    """The separator is found although quoted names hold others."""
    table = data.read_csv(write('"a;b;c;d",e\n1,2\n'))
    assert table.columns == ("a;b;c;d", "e")
    table = data.read_csv(write('"a,1";"b,2"\n1;2\n'))
    assert table.columns == ("a,1", "b,2")


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(write):
    """A quoted cell is one cell, and later rows still know their line."""
    table = data.read_csv(write('n,t\n1,"a,b"\n2,"say ""hi"""\n3,"two\nlines"\n4,x\n'))
    assert table.text["t"] == ["a,b", 'say "hi"', "two\nlines", "x"]
    assert table.lines == (2, 3, 4, 6)


def test_blanks_before_a_quote_do_not_matter(write):
    """A cell may be quoted after the blank that follows its separator."""
    table = data.read_csv(write('n, "a, b"\n1, "x, y"\n'))
    assert table.columns == ("n", "a, b")
    assert table.text["a, b"] == ["x, y"]


def test_blank_lines_are_skipped_and_counted(write):
    """Blank lines hold no row, and the lines of the others stay true."""
    table = data.read_csv(write("\n\na,b\n\n1,2\n   \n3,4\n\n\n"))
    assert table.values.tolist() == [[1, 2], [3, 4]]
    assert table.lines == (5, 7)


def test_a_blank_line_in_a_single_column_is_an_empty_cell(write):
    """No row of a one-column file is lost silently: its blank line is refused."""
    assert data.read_features(write("a\n1\n2\n\n"), ["a"]).tolist() == [[1], [2]]
    with pytest.raises(DataError, match=r"row 3, column 'a': .* an empty cell"):
        data.read_features(write("a\n1\n\n2\n"), ["a"])
    table = data.read_csv(write("a\nx\n\ny\nz\n"))
    assert table.text["a"] == ["x", "", "y", "z"]
    assert table.lines == (2, 3, 4, 5)


def test_columns_that_are_counted_are_a_header(write):
    """Pixels named 0, 1, 2 or 1, 2, 3 are names; other numbers are data."""
    assert data.read_csv(write("0,1,2\n5,6,7\n")).columns == ("0", "1", "2")
    assert data.read_csv(write("1,2,3\n5,6,7\n")).columns == ("1", "2", "3")
    assert data.read_csv(write("city,2020\n5,6\n")).columns == ("city", "2020")
    with pytest.raises(DataError, match=r"row 1: expected a header.* numbers 2, 3, 4"):
        data.read_csv(write("2,3,4\n5,6,7\n"))


def test_features_and_target_of_text_classes(write):
    """Text classes are numbered in sorted order and keep their names."""
    path = write("a,kind,b\n1,oak,2\n3,elm,4\n5,oak,6\n", name="trees.csv")
    trees = data.features_and_target(path, "kind")
    assert trees.X.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert trees.y.tolist() == [1, 0, 1]
    assert trees.y.dtype == np.int64
    assert trees.feature_names == ("a", "b")
    assert trees.target_names == ("elm", "oak")
    assert trees.name == "trees.csv"
    again = data.read_csv(path, target="kind")
    assert np.array_equal(again.X, trees.X)
    assert again.target_names == trees.target_names


@pytest.mark.parametrize(
    ("cells", "names", "y"),
    [
        ("3 5 3 5", ("3", "5"), [0, 1, 0, 1]),
        ("-1 1 1 1", ("-1", "1"), [0, 1, 1, 1]),
        ("2.0 1.0 10 2", ("1", "2", "10"), [1, 0, 2, 1]),
        ("True False True True", ("False", "True"), [1, 0, 1, 1]),
        ("+ - - +", ("+", "-"), [0, 1, 1, 0]),
        ("none some none some", ("none", "some"), [0, 1, 0, 1]),
    ],
)
def test_labels_of_any_spelling_become_class_numbers(write, cells, names, y):
    """Classes are numbered from 0 in sorted order, numbers by value."""
    rows = "\n".join(f"{i},{cell}" for i, cell in enumerate(cells.split()))
    read = data.features_and_target(write("a,y\n" + rows), "y", kind="classes")
    assert read.target_names == names
    assert read.y.tolist() == y


def test_numbers_are_a_regression_target(write):
    """A numeric target that is no label stays as it is, float64, without names."""
    read = data.features_and_target(write("y,a\n0.5,1\n2,2\n7,3\n"), "y")
    assert read.kind == "regression"
    assert read.y.dtype == np.float64
    assert read.y.tolist() == [0.5, 2, 7]
    assert read.target_names == ()


def test_the_kind_of_a_target_can_be_overruled(write):
    """kind= decides where the rule guesses otherwise."""
    path = write("a,y\n1,3\n2,5\n3,5\n")
    assert data.features_and_target(path, "y").kind == "binary"
    read = data.features_and_target(path, "y", kind="regression")
    assert read.kind == "regression"
    assert read.y.tolist() == [3, 5, 5]
    path = write("a,y\n1,0.5\n2,1.25\n3,0.5\n")
    read = data.features_and_target(path, "y", kind="classes")
    assert read.target_names == ("0.5", "1.25")
    with pytest.raises(DataError, match="row 2, column 'y': expected a number"):
        data.features_and_target(write("a,y\n1,x\n2,z\n"), "y", kind="regression")


def test_read_features_selects_by_name(write):
    """Columns come in the order of the names; others are ignored, even broken ones."""
    path = write("note,b,a\n,2,1\nnan,4,3\n")
    assert data.read_features(path, ["a", "b"]).tolist() == [[1, 2], [3, 4]]
    assert data.read_features(path, ["b", "a"]).tolist() == [[2, 1], [4, 3]]
    assert data.read_features(path, ["b"]).tolist() == [[2], [4]]
    assert data.read_features(path, ["a", "b"]).dtype == np.float64


def test_read_features_names_every_missing_column(write):
    """All missing columns are named at once, beside those that the file has."""
    with pytest.raises(DataError) as raised:
        data.read_features(write("Height,b\n1,2\n"), ["height", "b", "width"])
    message = str(raised.value)
    assert "expected the columns 'height', 'width'; got 'Height', 'b'" in message
    assert "Did you mean 'Height'?" in message
    with pytest.raises(DataError, match=r"Did you mean 'Height'\?"):
        data.read_features(write("Height,b\n1,2\n"), ["HEIGHT"])


BAD_FILES = {
    "empty file": (b"", "an empty file"),
    "blank lines only": (b"\n \n\n", "an empty file"),
    "byte order mark only": (b"\xef\xbb\xbf", "an empty file"),
    "header only": (b"a,b,y\n", "row 2: .* below the header; got none"),
    "column twice": (b"a,b,y,a\n1,2,3,4\n", "row 1: .*'a' as columns 1 and 4"),
    "column without name": (b"a,,y\n1,2,0\n", "row 1, column 2: .* an empty cell"),
    "no header": (b"1.5,2,0\n4,5,1\n", "row 1: .* the numbers 1.5, 2, 0"),
    "row too short": (b"a,b,y\n1,2,0\n1,2\n", "row 3, column 'y': .*3 cells.*got 2"),
    "row too long": (b"a,b,y\n1,2,0\n1,2,0,4\n", "row 3, column 4: .*3 cells.*got 4"),
    "text": (b"a,b,y\n1,2,0\n1,x,1\n", "row 3, column 'b': .* number; got 'x'"),
    "empty cell": (b"a,b,y\n1,2,0\n,2,1\n", "row 3, column 'a': .* an empty cell"),
    "blank cell": (b"a,b,y\n1,2,0\n ,2,1\n", "row 3, column 'a': .* an empty cell"),
    "nan": (b"a,b,y\n1,nan,0\n1,2,1\n", "row 2, column 'b': .*'nan', a missing value"),
    "NA": (b"a,b,y\n1,NA,0\n1,2,1\n", "row 2, column 'b': .*'NA', a missing value"),
    "infinity": (b"a,b,y\n1,2,0\n-inf,2,1\n", "row 3, column 'a': .*'-inf'.*infinite"),
    "too large": (b"a,b,y\n1,2,0\n1,1e999,1\n", "row 3, column 'b': .*'1e999'.*infin"),
    "underscore": (b"a,b,y\n1,1_0,0\n1,2,1\n", "row 2, column 'b': .*'1_0'"),
    "decimal comma": (b"a;b;y\n1;2,5;0\n1;2;1\n", "row 2, column 'b': .* a point"),
    "after a long cell": (
        b'a,b,y\n"1\n2",2,0\n1,x,1\n',
        r"row 2, column 'a': .*'1\\n2'",
    ),
    "bad text below a long cell": (
        b'a,b,y\n1,2,"c\nd"\n1,x,e\n',
        "row 4, column 'b': .* got 'x'",
    ),
    "empty class": (b"a,b,y\n1,2,c\n1,3,\n", "row 3, column 'y': .* an empty cell"),
    "missing class": (
        b"a,b,y\n1,2,c\n1,3,?\n",
        "row 3, column 'y': .*'\\?', a missing",
    ),
    "slip in numbers": (
        b"a,y\n1,1\n1,x\n1,2\n",
        "row 3, column 'y': .*number; got 'x'",
    ),
    "nan in target": (
        b"a,y\n1,1\n1,2\n1,NaN\n",
        "row 4, column 'y': .*'NaN', a missing",
    ),
    "infinite target": (b"a,y\n1,1\n1,2\n1,inf\n", "row 4, column 'y': .*infinite"),
    "one class": (b"a,y\n1,yes\n2,yes\n", "column 'y': .*'yes' in all 2 rows"),
    "one number": (b"a,y\n1,3.5\n2,3.5\n", "column 'y': .*3.5 in all 2 rows"),
    "target only": (b"y\n1\n2\n", "predict 'y' from; got that column only"),
    "unknown target": (b"a,b,Y\n1,2,0\n", "column 'y'; got 'a', 'b', 'Y'.*mean 'Y'"),
    "Latin-1 cell": (b"a,b,y\n1,2,0\n1,\xe9,1\n", "row 3, column 'b': .*UTF-8.*0xe9"),
    "Latin-1 header": (b"a,b\xe9,y\n1,2,0\n", "row 1, column 2: .*UTF-8.*byte 0xe9"),
    "NUL": (b"a,b,y\n1,2,0\n1,2\x00,1\n", "row 3, column 'b': .*UTF-8.*byte 0x00"),
    "UTF-16": ("a,y\n1,2\n".encode("utf-16"), "row 1, column 1: .*UTF-8"),
    "UTF-16 without mark": (
        "a,y\n1,2\n".encode("utf-16-le"),
        "row 1, column 1: .*0x00",
    ),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "row 1, column 1: .*byte 0x89"),
    "open quote": (b'a,b,y\n1,2,0\n1,"2,1\n4,5,6\n', "row 3: .*matching double quotes"),
    "text after a quote": (b'a,b,y\n1,"2"x,1\n', "row 2: .*matching double quotes"),
    "texts that never recur": (
        b"a,y\n" + b"".join(b"%d,name %d\n" % (i, i) for i in range(30)),
        "column 'y': .*30 different texts in 30 rows",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_in_one_line_with_row_and_column(write, case):
    """Each refusal is one line that names the file, the row and the column."""
    content, words = BAD_FILES[case]
    path = write(content)
    with pytest.raises(DataError, match=words) as raised:
        data.features_and_target(path, "y")
    message = str(raised.value)
    assert message.startswith(path)
    assert message.isprintable()
    assert len(message) < 300 + len(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    """What is no file is refused by name, and so is what the system cannot open."""
    for path, words in [
        (tmp_path / "none.csv", "none.csv: .*no such file"),
        (tmp_path, "got a directory"),
        (tmp_path / ("x" * 300), "a readable CSV file"),
    ]:
        with pytest.raises(DataError, match=words):
            data.read_csv(path)
        with pytest.raises(DataError, match=words):
            data.read_features(os.fspath(path), ["a"])


def test_long_cells_and_many_columns_do_not_fill_the_screen(write):
    """A message shows the start of a long cell and some of many columns."""
    path = write("a,y\n" + "x" * 10_000 + ",1\n1,2\n")
    with pytest.raises(DataError, match="x…'") as raised:
        data.features_and_target(path, "y")
    assert len(str(raised.value)) < 300 + len(path)
    names = [f"pixel {i}" for i in range(784)]
    path = write(",".join(names) + "\n" + ",".join("1" for _ in names))
    with pytest.raises(DataError, match=r"\(784 in all\)") as raised:
        data.features_and_target(path, "label")
    assert len(str(raised.value)) < 400 + len(path)


PIECES = [b"", b",", b'"', b"\n", b"\r", b"\0", b";", b"nan", b"\xff", b"_", b" "]


def read_or_refusal(path):
    """Either the data set or the message that refuses it."""
    try:
        return data.features_and_target(path, "y"), None
    except DataError as error:
        return None, str(error)


@pytest.mark.parametrize("seed", range(200))
def test_damaged_files_are_read_or_refused_never_worse(write, seed):
    """Random damage to a file gives finite numbers or a DataError, nothing else."""
    rng = np.random.default_rng(seed)
    content = bytearray(b'a,b,y\n1,2.5,no\n"3",4,yes\n5,6,no\n-7,8e2,yes\n')
    for _ in range(rng.integers(1, 6)):
        position = int(rng.integers(len(content)))
        content[position : position + 1] = PIECES[rng.integers(len(PIECES))]
    read, refusal = read_or_refusal(write(bytes(content)))
    if read is None:
        assert refusal.isprintable()
    else:
        assert np.isfinite(read.X).all()
        assert read.X.shape == (len(read.y), len(read.feature_names))
        assert "" not in read.target_names


# The kind of a target


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (["a", "b", "a"], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([True, False], "binary"),
        ([0, 1, 1], "binary"),
        ([-1.0, 1.0], "binary"),
        ([100, 900], "binary"),
        ([0, 1, 2], "multiclass"),
        (np.arange(20), "multiclass"),
        (np.arange(21), "regression"),
        (np.tile(np.arange(21), 50), "regression"),
        ([10, 20, 30] * 2, "multiclass"),
        ([10, 20, 30], "regression"),
        ([0.5, 1.5], "regression"),
        ([0.0, 1.0, 1.5], "regression"),
        (np.array(["x", "y"], dtype=object), "binary"),
    ],
)
def test_target_kind_follows_its_rule(y, kind):
    """Text and label-like whole numbers are classes, all else is regression."""
    assert data.target_kind(y) == kind


@pytest.mark.parametrize("name", REAL)
def test_target_kind_agrees_with_the_measured_sets(name):
    """The rule finds the kind of every real set from its targets alone."""
    loaded = getattr(data, name)()
    assert data.target_kind(loaded.y) == loaded.kind


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1, 1, 1], "at least two different values; got 1 in all 3"),
        (["a"], "got 'a' in all 1"),
        ([], r"y\(0,\)"),
        ([[0], [1]], r"y\(2, 1\)"),
        ([0.0, np.nan], r"nan at \[1\]"),
        ([np.inf, 0.0], r"inf at \[0\]"),
        ([1j, 0], "complex128"),
    ],
)
def test_target_kind_refuses_what_cannot_be_learned(y, words):
    """One value only, other shapes, and what is not finite are refused."""
    with pytest.raises(DataError, match=words):
        data.target_kind(y)


def test_names_are_sorted_and_present():
    """The list of names is sorted, and each name is there."""
    assert list(data.__all__) == sorted(data.__all__)
    assert all(hasattr(data, name) for name in data.__all__)
