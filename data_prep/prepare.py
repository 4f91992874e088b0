"""Making a corpus: from sources to shards and a manifest, the same bytes however often it stops.

Four stages, each of tasks that leave a record when they are done: read units of the sources into
sorted runs; drop duplicates; decide which span is which row; write the shards. No stage holds the
corpus in memory, and a run that was killed goes on behind the records that it finds.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.config import CorpusConfig
from data_prep.errors import PipeError
from data_prep.executors import Executor
from data_prep.executors.in_process import InProcess
from data_prep.files import exclusive, replace_durably, write_json
from data_prep.fingerprint import explain_change
from data_prep.making import Making
from data_prep.manifest import MANIFEST, CorpusManifest
from data_prep.scratch import Scratch
from data_prep.shards import shard_name
from data_prep.stages import Stages
from data_prep.standing import find_standing
from data_prep.writing import told_disk_errors

_SHARD = re.compile(r"spans-\d{5,}\.parquet")
_LEFT_BEHIND = re.compile(r"\.(?:spans-\d{5,}\.parquet|manifest\.json|\w+\.jsonl)\..*\.tmp")


def prepare(
    config: CorpusConfig,
    directory: Path,
    report: Callable[[str], None],
    executor: Executor | None = None,
) -> CorpusManifest:
    """Make a corpus, or go on with one that was interrupted, or see that it stands.

    Everything is written whole, and the manifest last. Every byte follows from the configuration
    and the documents, not from the number of workers or from where a run was interrupted. A
    finished corpus is read again from its sources only if one of its shards has gone.

    Args:
        config: The corpus wanted.
        directory: Where it belongs; made if need be.
        report: Gets lines of progress.
        executor: Who does the work; this process by default.

    Returns:
        The manifest.

    Raises:
        PipeError: A corpus of another configuration stands there, a source cannot be read or has
            too few spans, another process is at work there, or the disk refuses a file.
    """
    with exclusive(directory, "is preparing"):
        scratch = Scratch(directory)
        standing = standing_corpus(config, directory)
        gone = None
        if standing is not None:
            gone = _missing_shards(standing, directory)
            if not gone:
                scratch.remove()
                report(f"the corpus stands: {standing.summary()}")
                return standing
            report(f"{len(gone)} shards of the corpus are missing and are made again")
        with told_disk_errors(directory):
            scratch.sweep()
            stages = Stages(scratch, executor or InProcess(), report)
            making = Making(config, directory, stages, gone)
            manifest = making.manifest()
            if standing is None:
                _tidy(directory, len(manifest.text_digests))
                making.list_left_out()
                write_json(directory / MANIFEST, manifest.model_dump(mode="json"))
            elif manifest.model_copy(update={"config": standing.config}) == standing:
                for shard in gone or ():
                    name = shard_name(shard)
                    replace_durably(scratch.remade(name), directory / name)
            else:
                scratch.remove()
                raise _changed(standing, manifest, directory)
            scratch.remove()
    report(f"wrote the corpus: {manifest.summary()}")
    return manifest


def standing_corpus(config: CorpusConfig, directory: Path) -> CorpusManifest | None:
    """Find a finished corpus and check that it is the one asked for.

    Args:
        config: What is asked for.
        directory: Where it would be.

    Returns:
        Its manifest; None if no corpus is finished there.

    Raises:
        PipeError: It is of another configuration, or its manifest is damaged.
    """
    return find_standing(config, directory, _identity, "a corpus")


def _identity(config: CorpusConfig) -> dict[str, Any]:
    """All settings but for ``on_error``: a corpus that stands, stands."""
    settings = config.model_dump(mode="json")
    for source in settings["sources"]:
        source.pop("on_error")
    return settings


def _missing_shards(manifest: CorpusManifest, directory: Path) -> list[int]:
    shards = range(len(manifest.text_digests))
    return [shard for shard in shards if not (directory / shard_name(shard)).is_file()]


def _changed(was: CorpusManifest, now: CorpusManifest, directory: Path) -> PipeError:
    told = {"rows", "sources", "dropped", "counts"}
    changes = explain_change(was.model_dump(include=told), now.model_dump(include=told))
    return PipeError(
        f"the sources of {directory} have changed since the corpus was made "
        f"({changes or 'other texts'}); bring the former documents back, or use another --run."
    )


def _tidy(directory: Path, shards: int) -> None:
    """Remove what interrupted runs left, of this or of another size."""
    names = {shard_name(shard) for shard in range(shards)}
    for path in sorted(directory.iterdir()):
        stale_shard = _SHARD.fullmatch(path.name) and path.name not in names
        if stale_shard or _LEFT_BEHIND.fullmatch(path.name):
            path.unlink()
