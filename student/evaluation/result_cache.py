"""mteb's cache of results, which tells of a result before it keeps it; imported where mteb is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mteb import ResultCache

Before = Callable[[Any, Path], None]
"""Takes mteb's ``TaskResult`` and the file that it is about to be kept in."""


class TellingCache(ResultCache):
    """mteb's cache; what belongs to a result can be kept before the result says it is there."""

    _before: Before | None = None

    @contextmanager
    def telling(self, before: Before) -> Iterator["TellingCache"]:
        """Tell of every result that is kept while the block runs.

        Args:
            before: Hears of it.

        Yields:
            This cache.
        """
        self._before = before
        try:
            yield self
        finally:
            self._before = None

    def save_to_cache(
        self, task_result: Any, model_name: Any, *arguments: Any, **options: Any
    ) -> None:
        """Keep a result, as mteb does.

        Args:
            task_result: The result.
            model_name: mteb's ``ModelMeta``.
            arguments: As mteb has them.
            options: As mteb has them.
        """
        if self._before is not None:
            path = self.get_task_result_path(task_result.task_name, model_name)
            self._before(task_result, path)
        super().save_to_cache(task_result, model_name, *arguments, **options)
