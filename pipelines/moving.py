"""Push, pull and merge: copying a run's corpus and store between places."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ByteSize, TypeAdapter

from data_prep.errors import PipeError, UsageError
from pipelines.report import duration, say, size
from teacher_cache.corpus_copy import copy_corpus, copy_recipe
from teacher_cache.mirror import has_store
from teacher_cache.moving import Moved, Selection, copy_stores
from teacher_cache.open_store import RemoteStore
from teacher_cache.place import Place
from teacher_cache.remote_store import default_cache
from teacher_cache.shard_list import parse_shards


def copy(
    sources: Sequence[str | Path], target: str | Path, selection: Selection, jobs: int
) -> tuple[str, dict[str, Any]]:
    """Copy what a place lacks of others: recipe, corpus, and the store shard by shard.

    Args:
        sources: What users call places; a path is a run directory, whatever its name. The first
            named counts where two differ.
        target: The place that is copied to; what it has stays.
        selection: Which part of the stores.
        jobs: Files at a time.

    Returns:
        What was done, for people and for programs.

    Raises:
        PipeError: The places do not belong together, something is damaged, or a server does not
            answer.
    """
    places, goal = [_place(source) for source in sources], _place(target)
    texts = 0

    def copy_the_rest() -> None:
        nonlocal texts
        for place in places:
            texts += copy_corpus(place, goal, jobs)
            copy_recipe(place, goal)

    # The stores say first whether they belong together.
    moved = copy_stores(places, goal, selection, jobs, say, copy_the_rest)
    data = {"from": [str(place) for place in places], "into": str(goal), **asdict(moved)}
    return _line(goal, moved, texts), {**data, "corpus_shards_copied": texts}


def bring_run(place: str, directory: Path, jobs: int, *, recipe: bool) -> None:
    """Bring what training from a remote store needs on this machine: the corpus and the recipe.

    Args:
        place: Where the run lies.
        directory: The run directory here; what it has stays.
        jobs: Files at a time.
        recipe: Whether the recipe is wanted.

    Raises:
        PipeError: There is no store, another corpus stands here, or a server does not answer.
    """
    source, goal = Place.of(place), Place(str(directory))
    if not has_store(source.store):
        raise UsageError(
            f"found no store in {source}, expected store/manifest.json there; check --store."
        )
    if recipe and copy_recipe(source, goal):
        say(f"the recipe is that of {source}")
    if not (directory / "corpus" / "manifest.json").exists():
        copied = copy_corpus(source, goal, jobs)
        say(f"{copied} shards of the corpus copied from {source}")


def reading_from(place: str, cache: Path | None, cache_size: str) -> Path | RemoteStore:
    """Say where training reads the vectors.

    Args:
        place: Where a run lies; a directory's store is read as it lies there.
        cache: The cache's directory; None takes the default.
        cache_size: What the cache may take, with its unit.

    Returns:
        The store's directory, or where it lies and the cache for it.

    Raises:
        UsageError: The size is none.
    """
    try:
        # pydantic reads the number in front and lets the rest be.
        if not re.fullmatch(r"\s*\d+(\.\d+)?\s*[A-Za-z]*\s*", cache_size):
            raise ValueError
        limit = TypeAdapter(ByteSize).validate_python(cache_size)
    except ValueError:
        raise UsageError(
            f"found the cache size {cache_size!r}, expected a number with a unit, such as 200GB."
        ) from None
    where = Place.of(place)
    if "://" not in place:
        return Path(where.location) / "store"
    return RemoteStore(where, cache or default_cache(), int(limit))


def shard_numbers(text: str) -> frozenset[int]:
    """Read a list of shards.

    Args:
        text: Numbers and ranges, both ends included.

    Returns:
        The numbers.

    Raises:
        UsageError: It is not such a list.

    >>> sorted(shard_numbers("0-2,7"))
    [0, 1, 2, 7]
    """
    try:
        return frozenset(parse_shards(text))
    except PipeError as error:
        raise UsageError(f"--shards: {error}") from None


def _place(named: str | Path) -> Place:
    return Place(str(named)) if isinstance(named, Path) else Place.of(named)


def _line(goal: Place, moved: Moved, texts: int) -> str:
    differ = f", {len(moved.differences)} with different vectors" if moved.differences else ""
    return (
        f"{goal}: {moved.copied} shards copied ({size(moved.bytes)}), {moved.standing} were there"
        f"{differ}; {texts} shards of the corpus copied; {duration(moved.seconds)}"
    )
