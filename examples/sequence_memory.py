"""An LSTM learns to write, one letter after another, and how well it can is known.

Sentences like "cat saw owl." are drawn from three lists of four words.  Within a word
all but the first letter is certain, so no model can be surer of a letter than
3 log(4) / 12 on average, and no model needs to be less sure: the cost goes there and no
further.  In the end the network writes sentences of its own.

    python examples/sequence_memory.py
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import tinygrad_nn as tg

FIRST = THIRD = ("cat", "dog", "fox", "owl")
SECOND = ("bit", "hid", "met", "saw")
LETTERS = sorted({*"".join(FIRST + SECOND), " ", "."})
LENGTH = len("cat saw owl.")
LIMIT = 3 * math.log(4) / LENGTH
"""Cost of a letter, in nats, that no model can go below."""


class Writer(tg.nn.Module):
    """What follows each letter of a text: (n, length) -> (n, length, letters)."""

    def __init__(self, n_hidden, rng):
        self.letters = tg.nn.Embedding(len(LETTERS), 8, rng=rng)
        self.memory = tg.nn.LSTM(8, n_hidden, rng=rng)
        self.next_letter = tg.nn.Dense(n_hidden, len(LETTERS), rng=rng)

    def forward(self, text, state=None):
        """Return scores of the next letters, and what is remembered."""
        outputs, state = self.memory(self.letters(text), state)
        return self.next_letter(outputs), state


def sentences(n, rng):
    """Return n sentences as numbers of letters: (n, LENGTH)."""
    drawn = [
        " ".join(str(rng.choice(words)) for words in (FIRST, SECOND, THIRD)) + "."
        for _ in range(n)
    ]
    return np.array([[LETTERS.index(letter) for letter in text] for text in drawn])


def train(model, *, steps, rng, backend="numpy"):
    """Train on 32 new sentences a step; return the cost of a letter at every step."""
    optimizer = tg.optim.Adam(model.parameters(), lr=0.02)

    @tg.compile(backend=backend)
    def step(before, after):
        scores, _ = model(before)
        rows = tg.reshape(scores, (-1, len(LETTERS)))
        cost = tg.losses.cross_entropy(rows, tg.reshape(after, -1))
        optimizer.minimize(cost)
        return cost

    costs = []
    for i in range(steps):
        text = sentences(32, rng)
        # A sentence follows a full stop, and its letters follow one another.
        stops = np.full((len(text), 1), LETTERS.index("."))
        before = np.concatenate([stops, text[:, :-1]], axis=1)
        costs.append(step(before, text).item())
        if i % 50 == 0:
            print(f"Step {i}: cost {costs[-1]:.4f} a letter")
    return costs


def write(model, n, rng):
    """Let the model write n letters after a full stop, each drawn by its scores."""
    text, state = ".", None
    with tg.no_grad():
        for _ in range(n):
            letter = np.array([[LETTERS.index(text[-1])]])
            scores, state = model(letter, state)
            shares = tg.softmax(scores).numpy()[0, 0]
            text += LETTERS[rng.choice(len(LETTERS), p=shares)]
            if text[-1] == ".":
                state = None  # the next sentence knows nothing of this one
    return text[1:]


def main(argv=None):
    """Train, compare with the limit, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--backend", default="numpy", help="numpy, c or jax")
    arguments = parser.parse_args(argv)

    rng = np.random.default_rng(1)
    model = Writer(24, rng)
    costs = train(model, steps=arguments.steps, rng=rng, backend=arguments.backend)
    reached = float(np.mean(costs[-20:]))
    print(f"Cost of a letter: {costs[0]:.4f} at first, {reached:.4f} at last")
    print(f"No model can go below {LIMIT:.4f}")
    text = write(model, 5 * LENGTH, rng)
    print(text.replace(".", ".\n"))
    return costs, reached, text


if __name__ == "__main__":
    main()
