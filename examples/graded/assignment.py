"""What is given: data, a forward pass, and the cost whose gradients are asked for.

def backward_propagation(parameters, cache, X, Y):
    ...
    return {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}
"""

import numpy as np

m = 12
decay = 0.1
rng = np.random.default_rng(1)
X = rng.normal(size=(2, m))
Y = (rng.random((1, m)) < 0.5) * 1.0
parameters = {
    "W1": rng.normal(size=(4, 2)),
    "b1": rng.normal(size=(4, 1)),
    "W2": rng.normal(size=(1, 4)),
    "b2": rng.normal(size=(1, 1)),
}


def forward_propagation(X, parameters):
    """Return the probability of class 1, (1, m), and what the backward pass needs."""
    Z1 = parameters["W1"] @ X + parameters["b1"]
    A1 = np.tanh(Z1)
    Z2 = parameters["W2"] @ A1 + parameters["b2"]
    A2 = 1 / (1 + np.exp(-Z2))
    return A2, {"Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2}


def compute_cost(A2, Y, parameters):
    """Cross-entropy, the mean over the examples, and a decay of the weights."""
    cost = -np.mean(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))
    squares = np.sum(parameters["W1"] ** 2) + np.sum(parameters["W2"] ** 2)
    return cost + decay / (2 * m) * squares
