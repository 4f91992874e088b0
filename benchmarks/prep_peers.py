"""What one would use instead of ``pipe prep``: datatrove, which reads, cuts and writes the texts.

It has no exact duplicates, mixture, held-out documents or global shuffle here: it does less.
"""

import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.config import CorpusConfig


def datatrove_prep(config: CorpusConfig, directory: Path) -> Callable[[], int] | None:
    """Make a datatrove pipeline that reads the same files and cuts as many documents.

    Args:
        config: The corpus that ``pipe prep`` makes.
        directory: Where the pipeline writes.

    Returns:
        Runs it in this process, and gives the number of texts; None without datatrove.
    """
    if importlib.util.find_spec("datatrove") is None:
        return None
    from datatrove.data import Document  # noqa: PLC0415
    from datatrove.executor import LocalPipelineExecutor  # noqa: PLC0415
    from datatrove.pipeline.readers import ParquetReader  # noqa: PLC0415
    from datatrove.pipeline.writers import ParquetWriter  # noqa: PLC0415
    from loguru import logger  # noqa: PLC0415
    from sentencex import segment  # noqa: PLC0415

    logger.remove()
    written = 0

    def cut(data: Iterator[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        nonlocal written
        chance = random.Random(config.seed)  # noqa: S311
        for document in data:
            parts = segment("en", document.text)
            passage = document.metadata["role"] == "passage"
            lengths = [len(parts)]
            if passage and chance.random() < config.cut_fraction:
                lengths = []
                while sum(lengths) < len(parts):
                    lengths.append(chance.randint(config.min_sentences, config.max_sentences))
            first = 0
            for length in lengths:
                text = "".join(parts[first : first + length]).strip()
                facts = {"role": document.metadata["role"], "first": first, "sentences": length}
                first += length
                written += 1
                yield Document(text, document.id, metadata=facts)

    def run() -> int:
        nonlocal written
        written = 0
        for source in config.sources:
            steps = [
                ParquetReader(
                    source.path, default_metadata={"role": source.role}, glob_pattern="*.parquet"
                ),
                cut,
                ParquetWriter(
                    str(directory), f"{source.name}-${{rank}}.parquet", compression="zstd"
                ),
            ]
            logs = str(directory / "logs")
            LocalPipelineExecutor(
                steps, tasks=1, workers=1, skip_completed=False, logging_dir=logs
            ).run()
        return written

    return run
