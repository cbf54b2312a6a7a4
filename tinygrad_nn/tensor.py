"""`Tensor`: an array that remembers how it was computed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_nn import algebra, autodiff, functional, graph, ops, recording
from tinygrad_nn.errors import (
    DetachedError,
    DtypeError,
    GradientError,
    MutationError,
    OpError,
    ShapeError,
    TinygradError,
    UnsupportedError,
)
from tinygrad_nn.functional import elementwise, special, ufunc_methods
from tinygrad_nn.functional.assigning import At, plain_index
from tinygrad_nn.functional.facts import PLAIN
from tinygrad_nn.functional.refusals import ATTRIBUTES, INSTEAD, NotOffered
from tinygrad_nn.op import Node, Op, data_of, inputs_of, results_are, settings_of
from tinygrad_nn.shapes import Axes, Shape

__all__ = ["Lent", "Parameter", "Tensor", "gradients"]

del algebra  # imported for what it registers

_current = recording.current


class Lent:
    """A gradient that lives in a buffer of a compiled step until someone reads it."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: np.ndarray | None = None) -> None:
        self._buffer: Any = buffer

    def lend(self, buffer: np.ndarray) -> None:
        """Say where the gradient lies."""
        self._buffer = buffer

    def copied(self) -> np.ndarray:
        """Return the gradient as an array that no later step changes."""
        copy: np.ndarray = self._buffer.copy()
        return copy


def _read(data: Any, dtype: Any, *, requires_grad: bool) -> np.ndarray:
    """Return data as a real array, sharing memory where NumPy can."""
    if isinstance(data, Node):
        data = data._value
    if hasattr(data, "mask"):  # np.ma itself would be a slow import
        raise DtypeError(
            "Tensor: expected an array of numbers; got a masked array. Fill the gaps "
            "first, for example with .filled(0), and keep the mask for tg.where"
        )
    array = np.asarray(data, dtype)
    kind = array.dtype.kind
    if kind == "c":
        raise DtypeError(
            f"Tensor: complex numbers are not supported; got dtype {array.dtype}. "
            "Keep real and imaginary part in two Tensors"
        )
    if kind not in "fiub":
        raise DtypeError(
            f"Tensor: expected real numbers; got dtype {array.dtype} "
            f"from {type(data).__name__}"
        )
    if requires_grad and kind != "f":
        if dtype is not None:
            raise DtypeError(
                f"Tensor: a gradient needs a floating dtype; got dtype={array.dtype}"
            )
        array = array.astype(np.float64)
    return array


class Tensor(Node):
    """An array whose operations are recorded, so that it can be differentiated.

    Parameters
    ----------
    data
        Anything that NumPy turns into an array of real numbers. An array is
        shared, not copied.
    requires_grad
        Whether `backward` fills `grad`. Integers then become float64.
    name
        Shown in errors, drawings and derivations.
    dtype
        As in ``np.asarray``.

    Raises
    ------
    DtypeError
        For complex numbers, text, objects.
    DetachedError
        For a Tensor that requires a gradient: use ``detach()``.

    Examples
    --------
    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> y = x * x + x
    >>> y.backward()
    >>> y.item(), x.grad.item()
    (12.0, 7.0)
    """

    __slots__ = ()

    __hash__ = object.__hash__  # a node is itself; == compares elements

    def __init__(
        self,
        data: Any,
        *,
        requires_grad: bool = False,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(data, Tensor):
            data._refuse_leaving(type(self).__name__, ".detach()")
        self._value = _read(data, dtype, requires_grad=requires_grad)
        self.requires_grad = requires_grad
        self._op = None
        self._form = None
        self._grad = None
        self._spent = False
        self._order = recording.tick()
        frame = recording.user_frame(sys._getframe(1))
        self._code = frame.f_code
        self._lasti = frame.f_lasti
        self._name = name

    # --- what it holds ---

    @property
    def data(self) -> np.ndarray:
        """The value, an ndarray; assign to it to change a leaf."""
        self._refuse_reading(".data")
        value = self._value
        if value.__class__ is not np.ndarray:
            value = self._value = np.asarray(value)
        return value  # type: ignore[no-any-return]

    @data.setter
    def data(self, value: Any) -> None:
        if self._op is not None:
            raise MutationError(
                f"{self._op.name}: the value of a result is computed, not assigned "
                f"(recorded at {graph.line(self)}). Assign to a leaf and compute again"
            )
        new = _read(value, None, requires_grad=self.requires_grad)
        if new.shape != self._value.shape:
            raise ShapeError(
                f"data: expected shape {self._value.shape}{self._title()}; "
                f"got {new.shape}. Make a new Tensor for another shape"
            )
        trace = recording.current().trace
        if trace is not None:
            live = isinstance(value, (Node, np.ndarray))
            trace.assign(self, value if live else new, in_place=False)
            return
        if new.dtype != self._value.dtype:
            new = new.astype(self._value.dtype)
        self._value = new
        self._form = None
        self._mark_changed()

    def _mark_changed(self) -> None:
        self._code, self._lasti = recording.caller()
        self._order = recording.changed()

    @property
    def grad(self) -> np.ndarray | None:
        """Gradient that `backward` left: an ndarray like `data`, or None."""
        grad = getattr(self, "_grad", None)
        if grad.__class__ is not np.ndarray or _current().trace is not None:
            grad = self._read_grad(grad)
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        trace = _current().trace
        if trace is not None:
            self._write_grad(trace, value)
            return
        if value is not None:
            value = np.array(value, self._value.dtype)
            if value.shape != self._value.shape:
                raise ShapeError(
                    f"grad: expected shape {self._value.shape}{self._title()}; "
                    f"got {value.shape}"
                )
        self._grad = value
        self._spent = False

    def _write_grad(self, trace: Any, value: Any) -> None:
        """Set the gradient in a step that is compiled."""
        if value is None:
            trace.forget_gradient(self)
            return
        value = value if isinstance(value, (Node, np.ndarray)) else np.asarray(value)
        if value.shape != self._value.shape:
            raise ShapeError(
                f"grad: expected shape {self._value.shape}{self._title()}; "
                f"got {value.shape}"
            )
        trace.replace_gradient(self, value)

    def _read_grad(self, grad: Any) -> Any:
        """Read what is more than an array: in a compiled step, or lent by one."""
        trace = _current().trace
        if trace is not None:
            return trace.gradient(self)
        if isinstance(grad, Lent):
            grad = self._grad = grad.copied()
        return grad

    @property
    def name(self) -> str | None:
        """The name given by the user, or None."""
        return graph.name(self)

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value

    @property
    def op(self) -> Op | None:
        """The op that made it; None for a leaf."""
        return self._op

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Operands of the op that made it: Tensors and constants."""
        return inputs_of(self)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the op that made it, for example ``{"axis": 0, …}``."""
        return settings_of(self)

    @property
    def is_leaf(self) -> bool:
        """Whether it was given, not computed."""
        return self._op is None

    @property
    def shape(self) -> Shape:
        """Sizes of the axes."""
        shape: Shape = self._value.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        dtype: np.dtype[Any] = self._value.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        ndim: int = self._value.ndim
        return ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        size: int = self._value.size
        return size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        itemsize: int = self._value.itemsize
        return itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        nbytes: int = self._value.nbytes
        return nbytes

    @property
    def device(self) -> str:
        """Where the value lies: values are NumPy's."""
        return "cpu"

    @property
    def T(self) -> Tensor:
        """Axes reversed."""
        return ops.transpose(self)  # type: ignore[no-any-return]

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return functional.matrix_transpose(self)  # type: ignore[no-any-return]

    @property
    def real(self) -> Tensor:
        """The Tensor itself, for it is real."""
        return self

    @property
    def imag(self) -> Tensor:
        """Zeros, for it is real."""
        return functional.imag(self)  # type: ignore[no-any-return]

    # --- gradients ---

    def backward(self, grad_output: Any = None, *, retain_grads: bool = False) -> None:
        """Add the gradients of this Tensor to ``.grad`` of the leaves that need one.

        Parameters
        ----------
        grad_output
            Cotangent, of this Tensor's shape. May be left out for one element.
        retain_grads
            Also fill ``.grad`` of the inner nodes.

        Raises
        ------
        GradientError
            If nothing here requires a gradient, or the output is not one number.
        MutationError
            If a value that an op had saved was changed since.

        Notes
        -----
        Gradients accumulate until an optimiser's ``step()`` has consumed them; the
        backward after that replaces them, so ``zero_grad`` cannot be forgotten.
        """
        if not self.requires_grad:
            if self._value.dtype.kind != "f":
                raise GradientError(
                    "backward: only what is floating requires a gradient; got "
                    f"{self._value.dtype}{self._title()}"
                )
            raise GradientError(
                f"backward: nothing here requires a gradient{self._title()}. "
                "Make the parameters with requires_grad=True (tg.Parameter), and "
                "compute outside no_grad"
            )
        autodiff.accumulate(self, grad_output, retain=retain_grads)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        trace = _current().trace
        if trace is not None:
            trace.forget_gradient(self)
            return
        self._grad = None

    def detach(self) -> Tensor:
        """Return a copy of the value as a leaf without a gradient.

        A copy, because an optimiser changes parameters in place: what was computed
        from the detached value keeps it.
        """
        if _current().trace is not None:
            with recording.no_grad():
                return self.copy()
        return Tensor(self.data.copy("K"), name=graph.name(self))

    # --- leaving the graph ---

    def numpy(self) -> np.ndarray:
        """Return the value as an ndarray, outside of the graph; memory is shared."""
        return self.data

    def item(self, *args: Any) -> Any:
        """Return a single element, or the one at a place, as a number."""
        self._refuse_reading(".item()")
        return self._value.item(*args)

    def tolist(self) -> Any:
        """Return the value as nested lists of Python numbers."""
        self._refuse_reading(".tolist()")
        return self._value.tolist()

    def copy(self, order: str = "C") -> Tensor:
        """Return a copy of the value, recorded."""
        return functional.copy(self, order)  # type: ignore[no-any-return]

    def _refuse_reading(self, how: str) -> None:
        """Refuse to make a number of one run a part of a step that is compiled."""
        trace = _current().trace
        if trace is not None:
            trace.refuse_reading(self, how)

    def _refuse_leaving(self, how: str, instead: str) -> None:
        self._refuse_reading(how)
        if self.requires_grad:
            raise DetachedError(
                f"{how}: a Tensor that requires a gradient would lose it"
                f"{self._title()}. Use {instead} to leave the graph on purpose"
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Refuse to drop a gradient silently."""
        self._refuse_leaving(
            "np.asarray", "tg.stack to join a list of Tensors, or .numpy()"
        )
        array = np.asarray(self.data, dtype)
        return array.copy() if copy else array

    def __float__(self) -> float:
        """Refuse to drop a gradient silently."""
        self._refuse_leaving("float", ".item()")
        return float(self._value)

    def __int__(self) -> int:
        """Refuse to drop a gradient silently."""
        self._refuse_leaving("int", ".item()")
        return int(self._value)

    def __index__(self) -> int:
        """Return an integer that is a constant."""
        self._refuse_leaving("index", ".item()")
        return self._value.__index__()  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        """Return the truth of a single element; control flow is not recorded."""
        self._refuse_reading("bool")
        return bool(self._value)

    def __len__(self) -> int:
        """Return the size of the first axis."""
        return len(self._value)

    def __iter__(self) -> Iterator[Tensor]:
        """Walk along the first axis, recording each pick."""
        if self._value.ndim == 0:
            raise UnsupportedError(
                "iteration: expected at least one axis; got shape ()"
            )
        return (self[i] for i in range(len(self._value)))

    def __contains__(self, value: Any) -> bool:
        """Return whether any element equals a value."""
        self._refuse_reading("in")
        return bool(np.any(np.equal(self._value, data_of(value))))

    # --- how it looks ---

    def _title(self) -> str:
        name = graph.name(self)
        return "" if name is None else f" (Tensor {name!r})"

    def __repr__(self) -> str:
        """Show value, name and origin."""
        text = np.array2string(
            np.asarray(self._value), prefix=f"{type(self).__name__}(", separator=", "
        )
        parts = [text]
        if self._value.dtype not in (np.float64, np.int64, np.bool_):
            parts.append(f"dtype={self._value.dtype}")
        name = graph.name(self)
        if name is not None:
            parts.append(f"name={name!r}")
        if self._op is not None:
            parts.append(f"op={self._op.name}")
        elif self.requires_grad and type(self) is Tensor:
            parts.append("requires_grad=True")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __format__(self, spec: str) -> str:
        """Format a single element as a number."""
        return format(self._value.item(), spec) if spec else repr(self)

    # --- operators ---

    __add__ = ops.add
    __sub__ = ops.subtract
    __mul__ = ops.multiply
    __truediv__ = ops.divide
    __pow__ = ops.power
    __matmul__ = ops.matmul
    __neg__ = ops.negative
    __abs__ = ops.abs

    __lt__ = ops.less
    __le__ = ops.less_equal
    __gt__ = ops.greater
    __ge__ = ops.greater_equal
    __eq__ = ops.equal
    __ne__ = ops.not_equal
    __and__ = __rand__ = elementwise.and_
    __or__ = __ror__ = elementwise.or_
    __xor__ = __rxor__ = elementwise.xor
    __invert__ = elementwise.not_
    __mod__ = ops.remainder
    __floordiv__ = ops.floor_divide
    __divmod__ = elementwise.divmod
    __floor__ = ops.floor
    __ceil__ = ops.ceil
    __trunc__ = ops.trunc

    def __round__(self, ndigits: int | None = None) -> Tensor:
        """Round to the nearest number of so many decimals; constant."""
        return ops.round(self, decimals=ndigits or 0)  # type: ignore[no-any-return]

    def __pos__(self) -> Tensor:
        """Return the Tensor itself."""
        return self

    def __radd__(self, other: Any) -> Any:
        """Add to a constant."""
        return ops.add(other, self)

    def __rsub__(self, other: Any) -> Any:
        """Subtract from a constant."""
        return ops.subtract(other, self)

    def __rmul__(self, other: Any) -> Any:
        """Multiply a constant."""
        return ops.multiply(other, self)

    def __rtruediv__(self, other: Any) -> Any:
        """Divide a constant."""
        return ops.divide(other, self)

    def __rmod__(self, other: Any) -> Any:
        """Divide a constant; the rest."""
        return ops.remainder(other, self)

    def __rfloordiv__(self, other: Any) -> Any:
        """Divide a constant; the whole quotient."""
        return ops.floor_divide(other, self)

    def __rdivmod__(self, other: Any) -> Any:
        """Divide a constant; the whole quotient, and the rest."""
        return elementwise.divmod(other, self)

    def __rpow__(self, other: Any) -> Any:
        """Raise a constant to a power."""
        return ops.power(other, self)

    def __rmatmul__(self, other: Any) -> Any:
        """Multiply a constant matrix."""
        return ops.matmul(np.asarray(other), self)

    def _in_place(self, op: Callable[..., Any], other: Any, sign: str) -> Any:
        """Update a leaf under no_grad; on anything else, rebind as Python does."""
        if self._op is not None or not self.requires_grad:
            return op(self, other)
        if recording.current().records:
            raise MutationError(
                f"{sign}: a leaf that requires a gradient changes only outside of the "
                f"graph{self._title()}. Use `with tg.no_grad(): …`, an optimiser, "
                "or make a new leaf: w = tg.Parameter(w.numpy() - step)"
            )
        trace = _current().trace
        if trace is not None:
            trace.assign(self, op(self, other), in_place=True)
            return self
        value = data_of(other)
        array = self.data
        if not array.flags.writeable:
            raise MutationError(
                f"{sign}: the array behind this leaf is read-only{self._title()}. "
                "Copy it first: tg.Parameter(array.copy())"
            )
        try:
            _ASSIGN[sign](array, value, out=array, casting="same_kind")
        except TypeError:
            raise DtypeError(
                f"{sign}: expected real numbers that {array.dtype} can hold"
                f"{self._title()}; got {getattr(value, 'dtype', type(value).__name__)}"
            ) from None
        except ValueError as error:
            raise ShapeError(
                f"{sign}: {error}; got {self._value.shape}{self._title()} and "
                f"{np.shape(value)}"
            ) from None
        self._mark_changed()
        return self

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.add, other, "+=")

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.subtract, other, "-=")

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.multiply, other, "*=")

    def __itruediv__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.divide, other, "/=")

    def __ipow__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.power, other, "**=")

    def __imod__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.remainder, other, "%=")

    def __ifloordiv__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.floor_divide, other, "//=")

    def __imatmul__(self, other: Any) -> Any:  # type: ignore[misc]
        """Update a leaf under `no_grad`."""
        return self._in_place(ops.matmul, other, "@=")

    # --- indexing ---

    def __getitem__(self, index: Any) -> Tensor:
        """Elements at an index, as NumPy has it; integer Tensors may index."""
        return ops.getitem(self, plain_index(index))  # type: ignore[no-any-return]

    def __setitem__(self, index: Any, value: Any) -> None:
        """Refuse: a recorded value does not change."""
        raise MutationError(
            f"t[i] = v: a recorded value does not change{self._title()}. Write "
            "t = t.at[i].set(v), or choose with tg.where(mask, v, t) (NumPy's "
            "put_along_axis writes in place too); to set a leaf's numbers, assign to "
            ".data"
        )

    @property
    def at(self) -> At:
        """Elements to set in a new Tensor: ``t.at[i].set(v)``, ``t.at[i].add(v)``."""
        return At(self)

    # --- NumPy's methods ---

    def sum(
        self,
        axis: Axes = None,
        dtype: Any = None,
        out: None = None,
        *,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Tensor:
        """Sum along ``axis``."""
        return functional.sum(self, axis, dtype, out, keepdims, initial, where)  # type: ignore[no-any-return]

    def mean(
        self,
        axis: Axes = None,
        dtype: Any = None,
        out: None = None,
        *,
        keepdims: bool = False,
        where: Any = True,
    ) -> Tensor:
        """Mean along ``axis``."""
        return functional.mean(self, axis, dtype, out, keepdims, where=where)  # type: ignore[no-any-return]

    def max(
        self,
        axis: Axes = None,
        out: None = None,
        *,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Tensor:
        """Largest element along ``axis``; ties share the gradient."""
        return functional.max(self, axis, out, keepdims, initial, where)  # type: ignore[no-any-return]

    def min(
        self,
        axis: Axes = None,
        out: None = None,
        *,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Tensor:
        """Smallest element along ``axis``; ties share the gradient."""
        return functional.min(self, axis, out, keepdims, initial, where)  # type: ignore[no-any-return]

    def prod(
        self,
        axis: Axes = None,
        dtype: Any = None,
        out: None = None,
        *,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Tensor:
        """Product along ``axis``."""
        return functional.prod(self, axis, dtype, out, keepdims, initial, where)  # type: ignore[no-any-return]

    def cumsum(
        self, axis: int | None = None, dtype: Any = None, out: None = None
    ) -> Tensor:
        """Running sum along ``axis``."""
        return functional.cumsum(self, axis, dtype, out)  # type: ignore[no-any-return]

    def cumprod(
        self, /, axis: int | None = None, dtype: Any = None, out: None = None
    ) -> Tensor:
        """Running product along ``axis``."""
        return functional.cumprod(self, axis, dtype, out)  # type: ignore[no-any-return]

    def take(
        self,
        indices: Any,
        /,
        axis: int | None = None,
        out: None = None,
        mode: str = "raise",
    ) -> Tensor:
        """Return the elements at places along ``axis``."""
        return functional.take(self, indices, axis, out, mode)  # type: ignore[no-any-return]

    def compress(
        self, condition: Any, /, axis: int | None = None, out: None = None
    ) -> Tensor:
        """Return slices along ``axis`` where a condition is true."""
        return functional.compress(condition, self, axis, out)  # type: ignore[no-any-return]

    def choose(self, choices: Any, /, out: None = None, mode: str = "raise") -> Tensor:
        """Return elements of several arrays, of that whose number stands here."""
        return functional.choose(self, choices, out, mode)  # type: ignore[no-any-return]

    def var(
        self,
        axis: Axes = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
        where: Any = True,
        mean: Any = None,
    ) -> Tensor:
        """Variance along ``axis``."""
        return functional.var(  # type: ignore[no-any-return]
            self, axis, dtype, out, ddof, keepdims, where=where, mean=mean
        )

    def std(
        self,
        axis: Axes = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
        where: Any = True,
        mean: Any = None,
    ) -> Tensor:
        """Standard deviation along ``axis``."""
        return functional.std(  # type: ignore[no-any-return]
            self, axis, dtype, out, ddof, keepdims, where=where, mean=mean
        )

    def reshape(
        self, *shape: Any, order: str = "C", copy: bool | None = None
    ) -> Tensor:
        """Return the elements in another shape: ``reshape(2, 3)`` or a tuple."""
        wanted = shape[0] if len(shape) == 1 else shape
        return functional.reshape(self, wanted, order, copy=copy)  # type: ignore[no-any-return]

    def transpose(self, *axes: Any) -> Tensor:
        """Axes in another order: ``transpose(1, 0)``, a tuple, or none: reversed."""
        order = axes[0] if len(axes) == 1 else axes or None
        return functional.transpose(self, order)  # type: ignore[no-any-return]

    def swapaxes(self, axis1: int, axis2: int, /) -> Tensor:
        """Exchange two axes."""
        return functional.swapaxes(self, axis1, axis2)  # type: ignore[no-any-return]

    def repeat(self, repeats: Any, /, axis: int | None = None) -> Tensor:
        """Every element several times in a row."""
        return functional.repeat(self, repeats, axis)  # type: ignore[no-any-return]

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """Diagonals of the matrices that two axes span."""
        return functional.diagonal(self, offset, axis1, axis2)  # type: ignore[no-any-return]

    def trace(
        self,
        offset: int = 0,
        axis1: int = 0,
        axis2: int = 1,
        dtype: Any = None,
        out: None = None,
    ) -> Tensor:
        """Sum of a diagonal."""
        return functional.trace(self, offset, axis1, axis2, dtype, out)  # type: ignore[no-any-return]

    def squeeze(self, axis: Axes = None) -> Tensor:
        """Drop axes of size one."""
        return functional.squeeze(self, axis)  # type: ignore[no-any-return]

    def ravel(self, order: str = "C") -> Tensor:
        """All elements in one axis."""
        return functional.ravel(self, order)  # type: ignore[no-any-return]

    def flatten(self, order: str = "C") -> Tensor:
        """All elements in one axis."""
        return functional.ravel(self, order)  # type: ignore[no-any-return]

    def clip(
        self, min: Any = None, max: Any = None, out: None = None, **kwargs: Any
    ) -> Tensor:
        """Return the elements limited to ``[min, max]``."""
        return functional.clip(self, min, max, out, **kwargs)  # type: ignore[no-any-return]

    def round(self, /, decimals: int = 0, out: None = None) -> Tensor:
        """Return the nearest numbers of so many decimals; constant."""
        return functional.round(self, decimals, out)  # type: ignore[no-any-return]

    def conj(self) -> Tensor:
        """Return the Tensor itself, for it is real."""
        return self

    def conjugate(self) -> Tensor:
        """Return the Tensor itself, for it is real."""
        return self

    def dot(self, other: Any, /, out: None = None) -> Tensor:
        """Return NumPy's ``dot``."""
        return functional.dot(self, other, out)  # type: ignore[no-any-return]

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: str = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> Tensor:
        """Return the values in another real dtype."""
        del (
            order,
            subok,
            copy,
        )  # a recorded value has no layout, and nobody writes to it
        if not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
            raise DtypeError(
                f"astype: expected a dtype that {self.dtype} casts to by the rule "
                f"{casting!r}; got {np.dtype(dtype)}"
            )
        return ops.astype(self, np.dtype(dtype))  # type: ignore[no-any-return]

    def argmax(
        self, axis: int | None = None, out: None = None, *, keepdims: bool = False
    ) -> Any:
        """Place of the largest element: a plain array, for it has no gradient.

        In a step that is compiled it is a Tensor, computed anew in each call.
        """
        return _constant(functional.argmax, self, axis, out, keepdims=keepdims)

    def argmin(
        self, axis: int | None = None, out: None = None, *, keepdims: bool = False
    ) -> Any:
        """Place of the smallest element: a plain array, for it has no gradient.

        In a step that is compiled it is a Tensor, computed anew in each call.
        """
        return _constant(functional.argmin, self, axis, out, keepdims=keepdims)

    def argsort(
        self,
        /,
        axis: int | None = -1,
        kind: str | None = None,
        order: None = None,
        *,
        stable: bool | None = None,
    ) -> Any:
        """Places of the elements in ascending order: plain, as those of `argmax`."""
        return _constant(functional.argsort, self, axis, kind, order, stable=stable)

    def argpartition(
        self,
        kth: Any,
        /,
        axis: int | None = -1,
        kind: str = "introselect",
        order: None = None,
    ) -> Any:
        """Places, those below the ``kth`` smallest first: plain, as of `argmax`."""
        return _constant(functional.argpartition, self, kth, axis, kind, order)

    def searchsorted(self, v: Any, /, side: str = "left", sorter: Any = None) -> Any:
        """Places before which values keep it sorted: plain, as those of `argmax`."""
        return _constant(functional.searchsorted, self, v, side, sorter)

    def nonzero(self) -> tuple[np.ndarray, ...]:
        """Places of the elements that are not zero: plain arrays, one an axis."""
        return functional.nonzero(self)

    def any(
        self,
        axis: Axes = None,
        out: None = None,
        *,
        keepdims: bool = False,
        where: Any = True,
    ) -> Any:
        """Whether any element is true: plain, for it has no gradient.

        In a step that is compiled it is a Tensor, computed anew in each call.
        """
        return _constant(functional.any, self, axis, out, keepdims, where=where)

    def all(
        self,
        axis: Axes = None,
        out: None = None,
        *,
        keepdims: bool = False,
        where: Any = True,
    ) -> Any:
        """Whether all elements are true: plain, for it has no gradient.

        In a step that is compiled it is a Tensor, computed anew in each call.
        """
        return _constant(functional.all, self, axis, out, keepdims, where=where)

    # --- NumPy's functions ---

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **options: Any
    ) -> Any:
        """Record ``np.exp(t)``, ``array * t`` and the like; refuse the rest by name."""
        if method != "__call__":
            return ufunc_methods.call_method(ufunc, method, inputs, options)
        handler = _UFUNCS.get(ufunc) or functional.ufuncs.handler_of(ufunc)
        if handler is None:
            raise _refusal(ufunc, options)
        if options or len(inputs) > ufunc.nin:
            return functional.ufuncs.with_options(handler, ufunc, inputs, options)
        return handler(*inputs)

    def __array_function__(
        self,
        function: Any,
        types: Any,
        args: Sequence[Any],
        options: Mapping[str, Any],
    ) -> Any:
        """Record ``np.sum(t, axis=1)`` and the like; refuse the rest by name."""
        handler = _FUNCTIONS.get(function)
        if handler is None:
            if function in INSTEAD:
                raise UnsupportedError(
                    f"{_numpys_name(function)}: not on a Tensor, for "
                    f"{INSTEAD[function]}"
                )
            raise UnsupportedError(
                f"{_numpys_name(function)}: no gradient rule for it on a Tensor. Write "
                "it with ops that have one, declare it with tg.primitive, or "
                f"{_way_out()}"
            )
        try:
            return handler(*args, **options)
        except TypeError as error:
            if isinstance(error, TinygradError) and (
                not isinstance(error, OpError) or str(error).startswith("np.")
            ):
                raise
            what = str(error).rpartition("() ")[-1]
            raise UnsupportedError(f"{_numpys_name(function)}: {what}") from None

    # --- copying and pickling: data, not graph ---

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle value, name and need of a gradient; the graph stays behind."""
        leaf = type(self) if self._op is None else Tensor
        return _restore, (leaf, self.data, self.requires_grad, graph.name(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Copy value, name and need of a gradient; the graph stays behind."""
        build, (leaf, data, requires_grad, name) = self.__reduce__()
        copy: Tensor = build(leaf, data.copy(), requires_grad, name)
        memo[id(self)] = copy
        return copy


class Parameter(Tensor):
    """A Tensor that requires a gradient: what a model learns.

    >>> Parameter([1.0, 2.0], name="w")
    Parameter([1., 2.], name='w')
    """

    __slots__ = ()

    def __init__(
        self, data: Any, name: str | None = None, *, dtype: Any = None
    ) -> None:
        super().__init__(data, requires_grad=True, name=name, dtype=dtype)


results_are(Tensor)

for _name, _advice in ATTRIBUTES.items():
    setattr(Tensor, _name, NotOffered(_name, _advice))


def _restore(
    leaf: type[Tensor], data: Any, requires_grad: bool, name: str | None
) -> Tensor:
    if issubclass(leaf, Parameter):
        return leaf(data, name)
    return leaf(data, requires_grad=requires_grad, name=name)


def _refusal(ufunc: Any, options: Mapping[str, Any]) -> Exception:
    title = functional.ufuncs.title_of(ufunc)
    if "out" in options:
        return UnsupportedError(
            f"{title}: a Tensor cannot be written into an ndarray (out=, an in-place "
            "operator such as Z += t), which would lose its gradient. Write Z = Z + t"
        )
    return UnsupportedError(
        f"{title}: no gradient rule for it on a Tensor. Write it with ops that have "
        f"one, declare it with tg.elementwise, or {_way_out()}"
    )


def _way_out() -> str:
    """Say how to do without a gradient; while a step is traced there is no value."""
    if _current().trace is None:
        return "leave the graph with .numpy()"
    return (
        "do it outside of the compiled step, whose array arguments are Tensors inside"
    )


def _numpys_name(function: Any) -> str:
    """Name a function of NumPy as users write it: ``np.linalg.norm``."""
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)


def _constant(compute: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Compute what has no gradient: plain, but in a step that is compiled a Tensor."""
    if _current().trace is not None:
        return compute(*args, **options)
    with recording.no_grad():
        found = compute(*args, **options)
    return data_of(found)


_ASSIGN: dict[str, Callable[..., Any]] = {
    "+=": np.add,
    "-=": np.subtract,
    "*=": np.multiply,
    "/=": np.divide,
    "**=": np.power,
    "%=": np.remainder,
    "//=": np.floor_divide,
    "@=": np.matmul,
}

_UFUNCS: dict[Any, Callable[..., Any]] = functional.ufuncs.BARE


def _shape_of(x: Any) -> Shape:
    return tuple(np.shape(data_of(x)))


def _like(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *args, **options: make(data_of(a), *args, **options)


def _named_alike(numpys: Any, ours: Any, names: Sequence[str]) -> dict[Any, Any]:
    """Find NumPy's functions by the names of ours; ufuncs have a table of their own."""
    found = {getattr(numpys, name, None): getattr(ours, name) for name in names}
    return {f: call for f, call in found.items() if callable(f) and f not in INSTEAD}


_PLACES: Mapping[str, Callable[..., Any]] = {
    name: getattr(functional, name)
    for name in (
        *("argpartition", "argsort", "count_nonzero", "digitize", "nanargmax"),
        *("nanargmin", "searchsorted"),
    )
}
"""Places and counts, which have no gradient."""

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **_named_alike(np, functional, functional.__all__),
    **_named_alike(np.linalg, functional.linalg, functional.linalg.__all__),
    **PLAIN,
    np.lib.stride_tricks.sliding_window_view: functional.sliding_window_view,
    # What has no gradient leaves the graph: the methods say how.
    np.all: Tensor.all,
    np.any: Tensor.any,
    np.argmax: Tensor.argmax,
    np.argmin: Tensor.argmin,
    **{getattr(np, name): partial(_constant, call) for name, call in _PLACES.items()},
    np.empty_like: _like(np.empty_like),
    np.i0: special.i0,
    np.ndim: lambda a: a.ndim,
    np.ones_like: _like(np.ones_like),
    np.shape: _shape_of,
    np.size: lambda a, axis=None: np.size(data_of(a), axis),
    np.zeros_like: _like(np.zeros_like),
}


def gradients(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    grad_output: Any = None,
    unused: str = "raise",
) -> list[Tensor]:
    """Gradients of ``output`` with respect to any nodes, as Tensors of the graph.

    What comes back was recorded, so it can be drawn, compiled and differentiated
    again: this is how higher orders are computed.

    Parameters
    ----------
    output
        A Tensor; of one element, unless ``grad_output`` is given.
    inputs
        Tensors, leaves or inner nodes, whether or not they require a gradient.
    grad_output
        Cotangent of the shape of ``output``; may itself be a Tensor.
    unused
        ``"raise"`` where there is no path from an input, or ``"zero"``.

    Returns
    -------
    list of Tensor
        One for each input, of its shape and dtype.

    Raises
    ------
    NoPathError, GradientError, MutationError

    Examples
    --------
    >>> x = Tensor(2.0, requires_grad=True)
    >>> (slope,) = gradients(x * x * x, [x])
    >>> (curvature,) = gradients(slope, [x])
    >>> slope.item(), curvature.item()
    (12.0, 12.0)
    """
    nodes = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for node in (output, *nodes):
        if not isinstance(node, Tensor):
            raise OpError(
                f"gradients: expected Tensors; got {type(node).__name__}. "
                "Use tg.grad for functions of arrays"
            )
    if unused not in ("raise", "zero"):
        raise OpError(f"gradients: unused is 'raise' or 'zero'; got {unused!r}")
    return autodiff.gradients(output, nodes, grad_output, unused)
