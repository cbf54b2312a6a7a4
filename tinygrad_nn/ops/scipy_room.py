"""SciPy, imported when a special function is first computed: an optional extra."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from tinygrad_nn.errors import MissingExtraError

__all__ = ["scipy"]


class _Later(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python asks every module for
            raise AttributeError(name)
        try:
            found = import_module(f"{self.__name__}.{name}")
        except ImportError:
            raise MissingExtraError(
                "special functions need SciPy: pip install 'tinygrad_nn[special]'"
            ) from None
        setattr(self, name, found)
        return found


scipy: Any = _Later("scipy")
