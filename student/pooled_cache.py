"""Pooled states of a frozen backbone, computed once for every row that a stage draws.

On disk, below ``stage-N/pooled/FINGERPRINT/``: ``manifest.json`` says what decides the states,
``00007.npy`` holds those of the drawn rows of shard 7, and ``00007.json``, which is written after
it, its digest. A file whose digest is not there or another is computed anew.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import atomic_write, read_json, sha256_file, write_json
from data_prep.fingerprint import digest
from data_prep.quantities import duration, size
from student.encode import StudentEncoder
from student.model import Student
from student.pooled_source import PooledFiles
from student.row_set import Rows
from teacher_cache.layout import ShardLayout

_REPORT_SECONDS: Final = 10.0


class PooledCache:
    """The pooled states of some rows; those that are not there yet are computed by ``fill``.

    Attributes:
        root: The stage's ``pooled`` directory.
        settings: Everything that decides the states, JSON-like.
        files: The rows, and where their states lie or belong.
    """

    def __init__(
        self, root: Path, corpus: Corpus, rows: Rows, hidden: int, decided: Mapping[str, Any]
    ) -> None:
        """Describe the states; nothing is read or written yet.

        Args:
            root: The stage's ``pooled`` directory.
            corpus: The corpus.
            rows: The rows, ascending, without repetition.
            hidden: H.
            decided: What decides the states beside the corpus and the rows, JSON-like.
        """
        self.root = root
        self._corpus = corpus
        self.settings = {
            **decided,
            "corpus": corpus.fingerprint,
            "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest(),
            "hidden": hidden,
        }
        layout = ShardLayout(corpus.rows, corpus.rows_per_shard)
        # Its own directory for each fingerprint: no rank reads what another one removes.
        directory = root / digest(self.settings)[:16]
        self.files = PooledFiles(directory, rows, layout, hidden)

    def fill(
        self,
        student: Student,
        precision: str,
        report: Callable[[str], None],
        rank: int = 0,
        ranks: int = 1,
    ) -> int:
        """Compute this rank's part of the states that are not there.

        The ranks share the shards, not what is missing of them: none needs to know what another
        one finds or has done. All states are there when every rank has returned.

        Args:
            student: The student, on the device to compute on.
            precision: ``bf16`` for autocast as in training, or ``fp32``.
            report: Takes each line for the user.
            rank: This process.
            ranks: How many processes take part.

        Returns:
            How many shards were computed here.

        Raises:
            PipeError: A text is not the corpus's.
        """
        files = self.files
        if rank == 0:
            self._remove_others()
        write_json(files.directory / "manifest.json", self.settings)
        missing = [shard for shard in files.shards[rank::ranks] if not self.is_whole(shard)]
        if rank == 0:
            report(
                f"pooled states of {len(files.rows):,} rows in {len(files.shards):,} shards, "
                f"{files.hidden} numbers each, {size(files.bytes)}"
                + (f"; {len(missing):,} shards to compute" if missing else "; all are there")
                + (" on each rank" if missing and ranks > 1 else "")
            )
        left = sum(len(files.rows_of(shard)) for shard in missing)
        encoder = StudentEncoder(student, head=None, normalize=False)
        done, began = 0, time.monotonic()
        said = began
        for shard in missing:
            rows = files.rows_of(shard)
            self._write(shard, self._states(encoder, rows, precision))
            done += len(rows)
            now = time.monotonic()
            if rank == 0 and now - said > _REPORT_SECONDS and done < left:
                said, rate = now, done / (now - began)
                report(
                    f"pooled states  {done:,} of {left:,} rows  {rate:,.0f} rows/s  "
                    f"{duration((left - done) / rate)} left"
                )
        return len(missing)

    def is_whole(self, shard: int) -> bool:
        """Whether a shard's states are there and are what was written; reads all of them.

        Args:
            shard: Its number.
        """
        try:
            self.files.open(shard)
            recorded = read_json(self._record(shard))
            return bool(recorded["sha256"] == sha256_file(self.files.path(shard)))
        except (PipeError, OSError, KeyError, TypeError):
            return False

    def _states(self, encoder: StudentEncoder, rows: Rows, precision: str) -> np.ndarray:
        device = next(encoder.student.parameters()).device
        texts, roles = self._corpus.take(rows)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return encoder.encode(texts, roles)

    def _write(self, shard: int, states: np.ndarray) -> None:
        path, record = self.files.path(shard), self._record(shard)
        # First, so that it never stands beside another file than it describes.
        record.unlink(missing_ok=True)
        with atomic_write(path) as temporary:
            with temporary.open("wb") as file:
                np.save(file, states, allow_pickle=False)
            checksum = sha256_file(temporary)
        write_json(record, {"rows": len(states), "sha256": checksum})

    def _record(self, shard: int) -> Path:
        return self.files.path(shard).with_suffix(".json")

    def _remove_others(self) -> None:
        """Remove the states that were computed under other settings."""
        for other in self.root.glob("*"):
            if other != self.files.directory:
                shutil.rmtree(other, ignore_errors=True)
