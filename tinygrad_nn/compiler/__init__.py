"""From a recorded step to source, and from source to a function."""
