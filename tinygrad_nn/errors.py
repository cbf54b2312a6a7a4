"""Everything the library raises.

::

    TinygradError
    ├── ShapeError           (ValueError)         shapes do not fit
    │   └── PlaceError       (IndexError)         an index does not fit an array
    ├── DtypeError           (TypeError)          a kind of number that is not accepted
    ├── OpError              (TypeError)          an op declared or called wrongly
    ├── UnsupportedError     (TypeError)          NumPy has it, a Tensor refuses it
    │   └── NotOfferedError  (AttributeError)     an ndarray has it, a Tensor has not
    ├── GradientError        (RuntimeError)       a gradient that cannot be computed
    │   ├── DetachedError    (TypeError)          a gradient would be dropped silently
    │   ├── NoPathError      (ValueError)         the output does not depend on an input
    │   └── MutationError                         a value changed before its backward
    ├── CompileError         (TypeError)          a step that cannot be compiled
    ├── LinAlgError          (LinAlgError)        a matrix that has no inverse, root, …
    ├── ModelError           (ValueError)         a model put together wrongly
    ├── DataError            (ValueError)         data that cannot be used
    ├── SaveError            (ValueError)         a file that cannot be loaded
    ├── DivergedError        (FloatingPointError) training left the finite numbers
    ├── MissingExtraError    (ImportError)        an optional package is not installed
    ├── GradientMismatch     (AssertionError)     a checked gradient is wrong
    └── GraphMismatch        (AssertionError)     a graph is not the one in its file

Each error is also the built-in error that it resembles. A message reads
``<op or layer>: <law broken>; got <operands>. <what to do>``. What is allowed and yet
almost never meant is told by a warning, `LikelyMistake`.
"""

import numpy as np

__all__ = [
    "CompileError",
    "DataError",
    "DetachedError",
    "DivergedError",
    "DtypeError",
    "GradientError",
    "GradientMismatch",
    "GraphMismatch",
    "LikelyMistake",
    "LinAlgError",
    "MissingExtraError",
    "ModelError",
    "MutationError",
    "NoPathError",
    "NotOfferedError",
    "OpError",
    "PlaceError",
    "SaveError",
    "ShapeError",
    "TinygradError",
    "UnsupportedError",
]


class TinygradError(Exception):
    """The root of the tree: catches everything that the library raises."""


class ShapeError(TinygradError, ValueError):
    """Shapes do not fit together."""


class PlaceError(ShapeError, IndexError):
    """An index does not fit an array: out of bounds, of a wrong kind, too many."""


class DtypeError(TinygradError, TypeError):
    """A kind of number that is not accepted, for example complex."""


class OpError(TinygradError, TypeError):
    """An op is declared or called wrongly."""


class UnsupportedError(TinygradError, TypeError):
    """NumPy offers it, but a Tensor cannot record it."""


class NotOfferedError(UnsupportedError, AttributeError):
    """An attribute that arrays have, and Tensors have not."""


class GradientError(TinygradError, RuntimeError):
    """A gradient cannot be computed."""


class DetachedError(GradientError, TypeError):
    """A conversion would drop a gradient silently."""


class NoPathError(GradientError, ValueError):
    """The output does not depend on an input."""


class MutationError(GradientError):
    """A value was changed between the forward that saved it and its backward."""


class CompileError(TinygradError, TypeError):
    """A step cannot be compiled: names the line that stands in the way."""


class LinAlgError(TinygradError, np.linalg.LinAlgError):
    """A matrix does not allow what is asked of it: it is singular, for example."""


class ModelError(TinygradError, ValueError):
    """A model is put together wrongly."""


class DataError(TinygradError, ValueError):
    """Data cannot be used: says which row, column or value."""


class SaveError(TinygradError, ValueError):
    """A saved file is missing, damaged, or belongs to something else."""


class DivergedError(TinygradError, FloatingPointError):
    """Training left the finite numbers: names epoch and batch."""


class MissingExtraError(TinygradError, ImportError):
    """An optional package is not installed: names the extra to install."""


class GradientMismatch(TinygradError, AssertionError):  # noqa: N818 (an assertion)
    """A checked gradient is wrong."""


class GraphMismatch(TinygradError, AssertionError):  # noqa: N818 (an assertion)
    """A recorded graph is not the one in its file."""


class LikelyMistake(UserWarning):
    """What is computed as written, and almost never meant: silence it if it is."""
