"""The function under test: called on arrays and on Tensors, counted, held to promises.

What is broken before any gradient can be judged has an error of its own: a function
that gives another value the second time, that writes into its inputs, that is not
finite, or a gradient of the wrong shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn.errors import (
    DetachedError,
    DtypeError,
    GradientError,
    MutationError,
    OpError,
    ShapeError,
)
from tinygrad_nn.op import data_of
from tinygrad_nn.tensor import Tensor

__all__ = [
    "Claim",
    "Point",
    "Subject",
    "argument_names",
    "autograd",
    "by_hand",
    "given_by_hand",
    "ordered",
    "shape_advice",
]

Point = list[np.ndarray]
"""Values of the arrays that are checked."""

Claim = Callable[[Point], Point]
"""Gradients that someone claims, of ``cotangent · f`` at a point."""


class Subject:
    """A function and the arrays at which its gradient is judged.

    Parameters
    ----------
    f
        Takes the arrays, returns a number or an array, or a Tensor.
    arguments
        Arrays, Tensors or numbers. Floating ones are checked, in float64; arrays of
        integers and booleans are passed on as they are.
    names
        Of the arrays; by default the parameter names of ``f``, else of ``other``.
    other
        The hand-written gradient, if there is one.
    check
        Who asks, as errors say it: ``"power"``, ``"adjoint_test"``, …
    """

    def __init__(
        self,
        f: Callable[..., Any],
        arguments: Sequence[Any],
        names: Sequence[str] | str | None,
        other: Callable[..., Any] | None,
        check: str = "check_gradients",
    ) -> None:
        if not callable(f):
            raise OpError(
                f"{check}: expected a function of the arrays; got "
                f"{type(f).__name__}. Write {check}(lambda W: …, W)"
            )
        self.f = f
        self.check = check
        self.evaluations = 0
        self.on_tensors = False
        self.on_tensors_because = "on arrays its value is another, less stable one"
        self._arguments = [_array(x, check) for x in arguments]
        self.places = [i for i, x in enumerate(self._arguments) if x.dtype.kind == "f"]
        if not self.places:
            raise OpError(
                f"{check}: expected at least one array of floating numbers; "
                f"got {[str(x.dtype) for x in self._arguments]}. Integers are taken "
                "for indices or labels: pass 1.0, or array.astype(float)"
            )
        for i in self.places:
            self._arguments[i] = self._arguments[i].astype(np.float64)
        every = argument_names(names, len(arguments), f, other, check)
        self.names = [every[i] for i in self.places]
        self.shape: tuple[int, ...] = ()

    @property
    def point(self) -> Point:
        """The values at which the gradient is judged; fresh copies."""
        return [self._arguments[i].copy() for i in self.places]

    def arguments(self, point: Sequence[Any]) -> list[Any]:
        """Return all arguments, with those that are checked at a point."""
        full: list[Any] = list(self._arguments)
        for i, x in zip(self.places, point, strict=True):
            full[i] = x
        return full

    def variables(self, point: Sequence[Any]) -> list[Tensor]:
        """Return Tensors of a copy of the point, that lead to gradients."""
        return [
            Tensor(np.array(x), requires_grad=True, name=name)
            for name, x in zip(self.names, point, strict=True)
        ]

    def recorded(self, variables: Sequence[Any], otherwise: str = "") -> Tensor:
        """Return what f records of Tensors.

        Raises
        ------
        OpError
            Where f runs on arrays only; it says what to do ``otherwise``.
        """
        try:
            with np.errstate(all="ignore"):
                output = self.f(*self.arguments(variables))
        except DetachedError as error:
            reason: str | None = str(error)
            cause: Exception | None = error
        else:
            if isinstance(output, Tensor):
                return output
            reason, cause = type(output).__name__, None
        advice = f", {otherwise}" if otherwise else ""
        raise OpError(
            f"{self.check}: expected f to return a Tensor when it is given Tensors; "
            f"got {reason}. Write f with tg's or NumPy's functions{advice}"
        ) from cause

    def graph(self, variables: Sequence[Any]) -> Tensor | None:
        """Return what f records of Tensors; None where it is plain code for arrays."""
        try:
            return self.recorded(variables)
        except Exception:  # noqa: BLE001 (plain NumPy code may fail in any way)
            return None

    def outputs(self, point: Point) -> np.ndarray:
        """Value at a point as float64, in the shape that ``f`` returns."""
        self.evaluations += 1
        inputs: Sequence[Any] = point
        if self.on_tensors:
            inputs = [Tensor(x) for x in point]
        with np.errstate(all="ignore"):
            value = data_of(self.f(*self.arguments(inputs)))
        if isinstance(value, (tuple, list, dict)) or value is None:
            raise OpError(
                f"{self.check}: expected f to return one number or array; "
                f"got {type(value).__name__}"
            )
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise DtypeError(
                f"{self.check}: expected f to return real numbers; "
                f"got dtype {array.dtype}"
            )
        return array.astype(np.float64)

    def at(self, point: Point) -> np.ndarray | None:
        """Flat outputs at a point; None outside of the domain of ``f``."""
        try:
            value = self.outputs(point).ravel()
        except (ArithmeticError, ValueError, IndexError):
            return None
        return value if np.isfinite(value).all() else None

    def start(self) -> np.ndarray:
        """Test the function's promises; return its outputs at the given arrays.

        Raises
        ------
        GradientError
            Where ``f`` is not deterministic or not finite, or an array is not finite.
        MutationError
            Where it writes into its inputs.
        """
        for name, x in zip(self.names, self.point, strict=True):
            if not np.isfinite(x).all():
                raise GradientError(
                    f"{self.check}: expected finite arrays; got {name} with nan or "
                    "infinity. Choose another point"
                )
        first = self._outputs_checked()
        if not self.on_tensors:
            first = self._stable(first)
        second = self.outputs(self.point)
        if first.shape != second.shape or not np.array_equal(first, second):
            raise GradientError(
                f"{self.check}: f is not deterministic; got "
                f"{_example(first, second)} for the same arrays. Fix what is random "
                "in it: give dropout a mask, or a generator that is seeded inside f"
            )
        self.shape = first.shape
        return first.ravel()

    def _outputs_checked(self) -> np.ndarray:
        point = self.point
        constants = [x.copy() for x in self._arguments]
        try:
            value = self.outputs(point)
        except Exception:
            # Some code needs what only a Tensor has.
            self.on_tensors = True
            try:
                value = self.outputs(point)
            except Exception:  # noqa: BLE001 (the first error is the user's own)
                self.on_tensors = False
            else:
                self.on_tensors_because = "on arrays it fails"
                return value
            raise
        for name, x, old in zip(self.names, point, self.point, strict=True):
            _refuse_written(self.check, name, x, old, "f")
        for i, old in enumerate(constants):
            _refuse_written(self.check, f"argument {i}", self._arguments[i], old, "f")
        return value

    def _stable(self, value: np.ndarray) -> np.ndarray:
        """Value on Tensors where it is another: what is recorded may be a stabler form.

        log(sigmoid(z)) is -inf at z = -1000 on arrays and goes in stairs before that.
        """
        self.on_tensors = True
        try:
            stable = self.outputs(self.point)
        except Exception:  # noqa: BLE001 (plain NumPy code may fail in any way)
            stable = value
        finite = np.isfinite(value).all()
        if stable.shape == value.shape and np.isfinite(stable).all():
            size = float(np.abs(stable).max(initial=0.0))
            if finite and np.abs(stable - value).max(initial=0.0) <= 1e-12 * size:
                self.on_tensors = False
                return value
            return stable
        self.on_tensors = False
        if finite:
            return value
        bad = tuple(np.argwhere(~np.isfinite(value))[0].tolist())
        raise GradientError(
            f"{self.check}: f is not finite at the given arrays; got "
            f"{value[bad]}{f' at output {bad}' if bad else ''}. Choose another point"
        )


def autograd(
    subject: Subject,
    cotangent: np.ndarray,
    otherwise: str = "or give its gradient: formula=… or vjp=…",
) -> Claim:
    """Make the claim of the recorded graph: one backward at a point.

    Where f runs on arrays only, the error says what to do ``otherwise``.

    Raises
    ------
    OpError
        When it is called, if ``f`` does not return a Tensor when it is given Tensors.
    """

    def claim(point: Point) -> Point:
        variables = subject.variables(point)
        output = subject.recorded(variables, otherwise)
        if output.requires_grad:
            output.backward(cotangent.reshape(output.shape))
        for name, variable, x in zip(subject.names, variables, point, strict=True):
            _refuse_written(subject.check, name, variable.data, x, "f")
        return [
            np.zeros(x.shape) if v.grad is None else v.grad
            for v, x in zip(variables, point, strict=True)
        ]

    return claim


def given_by_hand(
    subject: Subject,
    formula: Callable[..., Any] | None,
    vjp: Callable[..., Any] | None,
    cotangent: np.ndarray,
) -> Claim | None:
    """Make the claim of the formula or vjp that was given; None where neither was.

    Raises
    ------
    OpError
        Where both were.
    GradientError
        Where a formula was, and f has more than one output.
    """
    if formula is not None and vjp is not None:
        raise OpError(f"{subject.check}: expected formula or vjp; got both")
    if vjp is not None:
        return by_hand(subject, vjp, cotangent.reshape(subject.shape))
    if formula is None:
        return None
    if cotangent.size != 1:
        raise GradientError(
            "formula: gives the gradient of one number; got an f with output shape "
            f"{subject.shape}. Give vjp=lambda g, *arrays: …, or reduce f to a number"
        )
    return by_hand(subject, formula, None)


def by_hand(
    subject: Subject, function: Callable[..., Any], seed: np.ndarray | None
) -> Claim:
    """Make the claim of a hand-written gradient.

    Parameters
    ----------
    function
        ``formula(*arrays)``, or ``vjp(g, *arrays)`` where there is a ``seed``. Returns
        a tuple, a dictionary by name (``"W"`` or ``"dW"``), or one array.
    seed
        The cotangent, in the shape of the output of ``f``.

    Raises
    ------
    ShapeError, OpError, MutationError
        When it is called: gradients that are missing, of another shape, or that were
        written over the inputs.
    """
    title = "formula" if seed is None else "vjp"

    def claim(point: Point) -> Point:
        copies = [x.copy() for x in point]
        before = () if seed is None else (seed.copy(),)
        with np.errstate(all="ignore"):
            given = function(*before, *subject.arguments(copies))
        for name, x, old in zip(subject.names, copies, point, strict=True):
            _refuse_written(subject.check, name, x, old, title)
        found = ordered(given, subject, title)
        return [
            _fitting(g, x, name, title)
            for g, x, name in zip(found, point, subject.names, strict=True)
        ]

    return claim


def ordered(given: Any, subject: Subject, title: str) -> list[Any]:
    """Return the gradients that someone gave, in the order of the names.

    Parameters
    ----------
    given
        A tuple or list, a dictionary by name (``"W"`` or ``"dW"``), or one array.
    title
        Who gave them, as errors say it.

    Raises
    ------
    OpError
        Where one is missing.
    """
    names = subject.names
    if isinstance(given, Mapping):
        found = []
        for name in names:
            key = name if name in given else f"d{name}"
            if key not in given:
                raise OpError(
                    f"{title}: expected a gradient named {name!r} or {'d' + name!r}; "
                    f"got {list(given)}"
                )
            found.append(given[key])
        return found
    if not isinstance(given, (tuple, list)):
        given = (given,)
    if len(given) == len(names):
        return list(given)
    if len(given) == len(subject.arguments(subject.point)):
        return [given[i] for i in subject.places]
    raise OpError(
        f"{title}: expected {len(names)} gradients, of {', '.join(names)}; "
        f"got {len(given)}"
    )


def _fitting(gradient: Any, x: np.ndarray, name: str, title: str) -> np.ndarray:
    value = data_of(gradient)
    if value is None:
        raise OpError(
            f"{title}: expected the gradient of {name}; got None. "
            "Return zeros where the function does not depend on it"
        )
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise OpError(
            f"{title}: expected the gradient of {name} as an array of real numbers; "
            f"got {type(value).__name__} of dtype {array.dtype}"
        )
    if array.shape != x.shape:
        raise ShapeError(
            f"{title}: expected the gradient of {name} in its shape {x.shape}; got "
            f"shape {array.shape}{shape_advice(array.shape, x.shape)}"
        )
    return array.astype(np.float64)


def shape_advice(have: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Say how a gradient of one shape becomes one of another, where it can."""
    if have == wanted[::-1]:
        return ". Transpose it"
    if have[len(have) - len(wanted) :] == wanted:
        axes = tuple(range(len(have) - len(wanted)))
        return f". Sum over the broadcast axis: .sum(axis={axes[0]})"
    if len(have) == len(wanted):
        axes = tuple(i for i, n in enumerate(wanted) if n == 1 != have[i])
        same = all(have[i] == n for i, n in enumerate(wanted) if i not in axes)
        if axes and same:
            return f". Sum over the broadcast axis: .sum(axis={axes[0]}, keepdims=True)"
    if int(np.prod(have)) == int(np.prod(wanted)):
        return f". Give it the shape: .reshape{wanted}"
    return ""


def _array(x: Any, check: str) -> np.ndarray:
    value = data_of(x)
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    else:
        if type(value).__module__.partition(".")[0] == "torch":
            raise OpError(
                f"{check}: expected NumPy arrays; got a torch.{type(value).__name__}. "
                "Adapt the function: from_torch(f), and give x.detach().numpy()"
            )
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise OpError(
                f"{check}: expected arrays of numbers after f; got "
                f"{type(value).__name__}. What is no array belongs into f: lambda W: …"
            ) from None
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{check}: expected arrays of real numbers; got {array.dtype}")
    return array


def argument_names(
    names: Sequence[str] | str | None,
    count: int,
    f: Callable[..., Any],
    other: Callable[..., Any] | None,
    check: str,
) -> list[str]:
    """Return what the arrays are called: as said, or as the functions call them."""
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    if names is not None:
        if len(names) != count or len(set(names)) != count:
            raise OpError(
                f"{check}: expected {count} different names; got {list(names)}"
            )
        return list(names)
    for function in (f, other):
        found = _parameters(function)
        if len(found) >= count:
            return found[:count]
    return [f"x{i}" for i in range(count)]


def _parameters(function: Callable[..., Any] | None) -> list[str]:
    if function is None:
        return []
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in signature.parameters.values() if p.kind in kinds]


def _refuse_written(
    check: str, name: str, x: np.ndarray, old: np.ndarray, title: str
) -> None:
    if not np.array_equal(x, old, equal_nan=x.dtype.kind == "f"):
        raise MutationError(
            f"{check}: {title} writes into its input {name}. Copy it first, or "
            "write x = x + 1 for x += 1"
        )


def _example(first: np.ndarray, second: np.ndarray) -> str:
    if first.shape != second.shape:
        return f"shapes {first.shape} and {second.shape}"
    place = tuple(np.argwhere(first != second)[0].tolist())
    where = f" at output {place}" if place else ""
    return f"{first[place]:.17g} and {second[place]:.17g}{where}"
