"""From a graph to an equal graph: numbers gathered, identities found, repeats shared.

The compiler takes what is cheaper from here, a derivation what is easier to read.
"""

__all__: list[str] = []
