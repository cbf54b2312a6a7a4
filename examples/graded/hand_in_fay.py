"""Handed in by Fay: the sign of what goes back through W2."""

import numpy as np

decay = 0.1


def backward_propagation(parameters, cache, X, Y):
    """Return the gradients of the cost, by hand."""
    m = X.shape[1]
    W1, W2 = parameters["W1"], parameters["W2"]
    A1, A2 = cache["A1"], cache["A2"]
    dZ2 = A2 - Y
    dW2 = dZ2 @ A1.T / m + decay / m * W2
    db2 = np.sum(dZ2, axis=1, keepdims=True) / m
    dA1 = -W2.T @ dZ2
    dZ1 = dA1 * (1 - A1**2)
    dW1 = dZ1 @ X.T / m + decay / m * W1
    db1 = np.sum(dZ1, axis=1, keepdims=True) / m
    return {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}
