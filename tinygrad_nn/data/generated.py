"""Data sets drawn from a formula: small, quick, and the same on every machine."""

from __future__ import annotations

import numpy as np

from tinygrad_nn.data.dataset import Array, Dataset
from tinygrad_nn.errors import DataError

__all__ = ["flower", "moons", "spirals", "weather", "xor"]

Rng = int | np.random.Generator
PLANE = ("x", "y")


def flower(
    n_per_class: int = 200,
    random_state: int | np.random.RandomState = 1,
) -> Dataset:
    """Draw the planar flower of the course notebooks: petals of two colours in turn.

    Class j fills ``angle = linspace(3.12 j, 3.12 (j + 1)) + 0.2 noise`` and
    ``radius = 4 sin(4 angle) + 0.2 noise``; a point is ``(radius sin(angle),
    radius cos(angle))``. The defaults are the tutorial's 400 points, bit for bit,
    which is why the numbers come from NumPy's legacy generator.

    Parameters
    ----------
    n_per_class : int
        Points of each of the two classes.
    random_state : int or numpy.random.RandomState
        A seed; or a generator to draw from, which stands right after the data
        afterwards: the tutorial draws its weights from there.

    Returns
    -------
    Dataset
        ``X`` of shape (2 n_per_class, 2), ``y`` of shape (2 n_per_class,): class 0,
        then class 1.

    Examples
    --------
    >>> X, y = flower()
    >>> X.shape, np.bincount(y).tolist()
    ((400, 2), [200, 200])
    >>> generator = np.random.RandomState(1)
    >>> X, y = flower(random_state=generator)
    >>> W1 = generator.randn(4, 2) * 0.01
    """
    _at_least("flower", "n_per_class", n_per_class, 1)
    draw = (
        random_state
        if isinstance(random_state, np.random.RandomState)
        else np.random.RandomState(random_state)
    )
    petals = []
    for j in range(2):
        angle = np.linspace(3.12 * j, 3.12 * (j + 1), n_per_class)
        angle = angle + draw.randn(n_per_class) * 0.2
        radius = 4 * np.sin(4 * angle) + draw.randn(n_per_class) * 0.2
        petals.append(np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]))
    y = np.repeat(np.arange(2, dtype=np.int64), n_per_class)
    return Dataset(np.concatenate(petals), y, PLANE, ("red", "blue"), "flower")


def moons(n: int = 400, noise: float = 0.2, rng: Rng = 0) -> Dataset:
    """Draw two half circles that reach into each other, in random order.

    Parameters
    ----------
    n : int
        Number of points; the classes differ by one at most.
    noise : float
        Standard deviation of the normal noise on both coordinates.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw from.

    Examples
    --------
    >>> moons(100)
    Dataset('moons': X(100, 2), y(100,), 2 classes: 'upper', 'lower')
    """
    _at_least("moons", "n", n, 2)
    _at_least("moons", "noise", noise, 0)
    rng = np.random.default_rng(rng)
    upper = np.linspace(0, np.pi, n - n // 2)
    lower = np.linspace(0, np.pi, n // 2)
    X = np.concatenate(
        [
            np.column_stack([np.cos(upper), np.sin(upper)]),
            np.column_stack([1 - np.cos(lower), 0.5 - np.sin(lower)]),
        ]
    )
    y = np.repeat(np.arange(2, dtype=np.int64), [upper.size, lower.size])
    X = X + noise * rng.standard_normal(X.shape)
    return _shuffled(X, y, ("upper", "lower"), "moons", rng)


def spirals(
    n: int = 300,
    n_classes: int = 3,
    noise: float = 0.15,
    rng: Rng = 0,
) -> Dataset:
    """Draw the arms of a spiral, one a class, in random order.

    Arm j of k turns by 4 radians on its way from the centre to radius 1, from a
    start at 2 π j / k.

    Parameters
    ----------
    n : int
        Number of points; the classes differ by one at most.
    n_classes : int
        Number of arms.
    noise : float
        Standard deviation of the normal noise on the angle.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw from.

    Examples
    --------
    >>> spirals(90)
    Dataset('spirals': X(90, 2), y(90,), 3 classes: '0', '1', '2')
    """
    _at_least("spirals", "n_classes", n_classes, 2)
    _at_least("spirals", "n", n, n_classes)
    _at_least("spirals", "noise", noise, 0)
    rng = np.random.default_rng(rng)
    y = np.sort(np.arange(n, dtype=np.int64) % n_classes)
    radius = np.concatenate(
        [np.linspace(0, 1, count) for count in np.bincount(y, minlength=n_classes)]
    )
    angle = 4 * radius + 2 * np.pi * y / n_classes + noise * rng.standard_normal(n)
    X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    names = tuple(str(label) for label in range(n_classes))
    return _shuffled(X, y, names, "spirals", rng)


def xor(n: int = 400, noise: float = 0.1, rng: Rng = 0) -> Dataset:
    """Draw four squares around the origin; opposite ones share a class.

    Parameters
    ----------
    n : int
        Number of points, uniform on [-1, 1] x [-1, 1] before the noise.
    noise : float
        Standard deviation of the normal noise that is added after labelling.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw from.

    Examples
    --------
    >>> X, y = xor(noise=0)
    >>> bool(np.all(y == (X[:, 0] * X[:, 1] < 0)))
    True
    """
    _at_least("xor", "n", n, 1)
    _at_least("xor", "noise", noise, 0)
    rng = np.random.default_rng(rng)
    X = rng.uniform(-1, 1, (n, 2))
    y = ((X[:, 0] < 0) != (X[:, 1] < 0)).astype(np.int64)
    X = X + noise * rng.standard_normal(X.shape)
    return Dataset(X, y, PLANE, ("same", "different"), "xor")


def weather(n: int = 1000, rng: Rng = 0) -> Dataset:
    """Draw four measurements a day in natural units, and whether rain followed.

    The chance of rain grows with humidity, with falling pressure, with both
    together, and with wind away from a light breeze; so the rule is neither linear
    nor free of noise. Nothing is standardised: pressure is near 1013, wind near 12.

    Parameters
    ----------
    n : int
        Number of days.
    rng : int or numpy.random.Generator
        A seed, or a generator to draw from.

    Returns
    -------
    Dataset
        ``X`` of shape (n, 4): temperature in °C, humidity in %, pressure in hPa, wind
        in km/h. ``y`` of shape (n,): 1 where it rained.

    Examples
    --------
    >>> weather()
    Dataset('weather': X(1000, 4), y(1000,), 2 classes: 'dry', 'rain')
    >>> weather().X.mean(axis=0).round().astype(int).tolist()
    [15, 70, 1013, 12]
    """
    _at_least("weather", "n", n, 1)
    rng = np.random.default_rng(rng)
    temperature = rng.normal(15, 8, n)
    # Warm air holds more water, so the same water makes it relatively drier.
    humidity = np.clip(rng.normal(70 - 0.8 * (temperature - 15), 14), 5, 100)
    pressure = rng.normal(1013, 9, n)
    wind = rng.gamma(2.5, 4.8, n)
    moist, low, breeze = (humidity - 70) / 15, (1013 - pressure) / 9, (wind - 12) / 8
    leaning = 2 * moist + 2 * low + 1.5 * moist * low + breeze**2 - 1.5
    y = (rng.random(n) < 1 / (1 + np.exp(-leaning))).astype(np.int64)
    return Dataset(
        np.column_stack([temperature, humidity, pressure, wind]),
        y,
        ("temperature °C", "humidity %", "pressure hPa", "wind km/h"),
        ("dry", "rain"),
        "weather",
    )


def _shuffled(
    X: Array,
    y: Array,
    target_names: tuple[str, ...],
    name: str,
    rng: np.random.Generator,
) -> Dataset:
    """Put points of the plane in random order, so that any slice is a sample."""
    order = rng.permutation(len(y))
    return Dataset(X[order], y[order], PLANE, target_names, name)


def _at_least(where: str, argument: str, value: float, least: int) -> None:
    # ``not`` so that nan is refused as well.
    if not value >= least:
        raise DataError(
            f"{where}: expected {argument} of at least {least}; got {value!r}. "
            "Choose a larger number"
        )
