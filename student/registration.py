"""The exported model is known to transformers as soon as this package and transformers are loaded.

Registering needs transformers and torch, which take seconds to load, and most commands need
neither. So where transformers is not loaded yet, registering waits until it is.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_TRANSFORMERS = "transformers"


def register_with_transformers() -> None:
    """Register the exported model with transformers' Auto classes, now or when they are loaded."""
    if _TRANSFORMERS in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    from student.registered import register  # noqa: PLC0415 - loads transformers and torch

    register()


class _Finder(MetaPathFinder):
    """Finds transformers where the other finders do, with a loader that registers behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TRANSFORMERS:
            return None
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        # It may be asked for without being loaded, so this finder stays.
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader, self)
        return spec


class _RegisteringLoader(Loader):
    """Loads as another loader does, and then registers."""

    def __init__(self, loader: Loader, finder: MetaPathFinder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with suppress(ValueError):
            sys.meta_path.remove(self._finder)
        # Whoever asks the module for its loader later gets its own.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
