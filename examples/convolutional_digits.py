"""A small convolutional network reads handwritten digits, 8 x 8 pixels each.

Convolution, batch normalisation, pooling, twice; then the mean of every channel and
one dense layer.  Trained by Adam on shuffled batches, compiled; the running averages
of the normalisation are part of the model, and so of the file that is saved.  The
images come with scikit-learn, which is in the extra `train`.

    python examples/convolutional_digits.py --out runs/convolutional_digits
    python examples/convolutional_digits.py --backend c    # needs a C compiler
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tinygrad_nn as tg


def make_model(rng):
    """Return the network: (n, 1, 8, 8) -> (n, 10)."""
    return tg.nn.Sequential(
        tg.nn.Conv2d(1, 16, 3, padding="same", bias=False, rng=rng),
        tg.nn.BatchNorm(16),
        tg.nn.ReLU(),
        tg.nn.MaxPool2d(2),
        tg.nn.Conv2d(16, 32, 3, padding="same", bias=False, rng=rng),
        tg.nn.BatchNorm(32),
        tg.nn.ReLU(),
        tg.nn.GlobalAvgPool(),
        tg.nn.Dense(32, 10, rng=rng),
    )


def load(rng):
    """Return images (n, 1, 8, 8) from 0 to 1 and digits, for training and for tests."""
    X, y = tg.data.digits()
    order = rng.permutation(len(X))
    images = X[order].reshape(-1, 1, 8, 8) / 16
    return (images[:1400], y[order][:1400]), (images[1400:], y[order][1400:])


def train(model, images, digits, *, epochs, backend, rng):
    """Train on batches of 70; return the mean cost of every epoch."""
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)

    @tg.compile(backend=backend)
    def step(x, y):
        cost = tg.losses.cross_entropy(model(x), y)
        optimizer.minimize(cost)
        return cost

    model.train()
    costs = []
    for epoch in range(epochs):
        batches = tg.data.batches(images, digits, 70, rng)
        costs.append(np.mean([step(x, y).item() for x, y in batches]))
        print(f"Epoch {epoch}: cost {costs[-1]:.4f}")
    return costs


def accuracy(model, images, digits):
    """Share of images that are read right, with the running averages."""
    with tg.no_grad():
        scores = model.eval()(images).numpy()
    return float(np.mean(scores.argmax(axis=1) == digits))


def main(argv=None):
    """Train, test, save, and test what was saved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--backend", default="numpy", help="numpy, c or jax")
    parser.add_argument("--out", type=Path, default=Path("runs/convolutional_digits"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(1)
    seen, unseen = load(rng)
    model = make_model(rng)
    print(model.summary((70, 1, 8, 8)))
    costs = train(
        model, *seen, epochs=arguments.epochs, backend=arguments.backend, rng=rng
    )
    found = accuracy(model, *unseen)
    print(f"Accuracy: {accuracy(model, *seen):.4f} seen, {found:.4f} unseen")

    path = arguments.out / "model.npz"
    tg.save(path, model)
    again = make_model(np.random.default_rng(2))
    tg.load(path, again)
    same = accuracy(again, *unseen) == found
    print(f"Saved as {path}; loaded, it reads the same: {same}")
    return costs, found, same


if __name__ == "__main__":
    main()
