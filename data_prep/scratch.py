"""What an unfinished corpus keeps on disk, and the records by which a killed run goes on."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from data_prep.errors import PipeError
from data_prep.files import (
    UNFINISHED,
    name_instead,
    read_json,
    replace_durably,
    temporary_for,
    write_json,
)

DIRECTORY = ".prep"


class Scratch:
    """The scratch directory of a corpus: cheap to make, safe to hand to a worker process.

    Whatever is written here is whole once its record is there, and the record is written last.

    Args:
        corpus: The directory of the corpus.
    """

    def __init__(self, corpus: Path) -> None:
        self.directory = corpus / DIRECTORY

    def run(self, unit: int, run: int) -> Path:
        """Say where the spans of a sorted run are."""
        return self.directory / "runs" / f"{unit:06d}-{run:04d}.arrow"

    def keys(self, unit: int, run: int) -> Path:
        """Say where the keys of a sorted run are, in the order of their texts' digests."""
        return self.directory / "runs" / f"{unit:06d}-{run:04d}.keys"

    def left_out(self, unit: int) -> Path:
        """Say where the list of what a unit's texts were left out for is."""
        return self.directory / "runs" / f"{unit:06d}.left-out.jsonl"

    def offers(self, part: int) -> Path:
        """Say where the spans of a part without duplicates are."""
        return self.directory / "offers" / f"{part:05d}.keys"

    def order(self, name: str) -> Path:
        """Say where rows in their order are."""
        return self.directory / "order" / name

    def remade(self, name: str) -> Path:
        """Say where a shard of a corpus that stands waits until all is known to be as it was."""
        return self.directory / "remade" / name

    def record(self, stage: str, number: int) -> dict[str, Any] | None:
        """Read what a finished task has left.

        Args:
            stage: The stage of the work.
            number: The task's number in it.

        Returns:
            What ``finish`` was given; None if the task is not finished.
        """
        path = self._record(stage, number)
        if not path.is_file():
            return None
        try:
            content = read_json(path)
        except PipeError:
            return None
        return content if isinstance(content, dict) else None

    def finish(self, stage: str, number: int, record: dict[str, Any]) -> None:
        """Record that a task is finished and what came out of it.

        Args:
            stage: The stage of the work.
            number: The task's number in it.
            record: Anything that JSON can hold.
        """
        write_json(self._record(stage, number), record)

    def forget(self, stage: str, number: int) -> None:
        """Let a task be done again.

        Args:
            stage: The stage of the work.
            number: The task's number in it.
        """
        self._record(stage, number).unlink(missing_ok=True)

    def begin(self, stage: str, digest: str, *later: str) -> None:
        """Keep what a stage has done only if it was done for the same thing.

        Args:
            stage: The stage.
            digest: Of everything that decides its results.
            later: The stages that follow from it; what they did goes with it.
        """
        record = self.record(stage, -1)
        if record is not None and record.get("digest") == digest:
            return
        for name in (stage, *later):
            shutil.rmtree(self.directory / name, ignore_errors=True)
            shutil.rmtree(self._records(name), ignore_errors=True)
        self.finish(stage, -1, {"digest": digest})

    def sweep(self) -> None:
        """Remove what a killed run was writing; no other may be at work here."""
        for path in list(self.directory.rglob(UNFINISHED)):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _records(self, stage: str) -> Path:
        return self.directory / "records" / stage

    def _record(self, stage: str, number: int) -> Path:
        return self._records(stage) / ("begun.json" if number < 0 else f"{number:06d}.json")


class Written:
    """Files that are written and not yet in place, since waiting for the disk needs no processor.

    As a context manager it removes them if the block raises.
    """

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path]] = []

    def instead_of(self, path: Path) -> Path:
        """Say where to write a file.

        Args:
            path: Where it belongs.

        Returns:
            Where it is until ``put_in_place``.
        """
        temporary = temporary_for(path)
        self._files.append((temporary, path))
        return temporary

    def put_in_place(self) -> None:
        """Make the files durable and put them where they belong; none is left if that fails.

        Raises:
            OSError: The disk refuses one; the error names where it belongs.
        """
        with self:
            for temporary, path in self._files:
                replace_durably(temporary, path)

    def remove(self) -> None:
        """Remove what is not in place, as far as the disk lets it."""
        for temporary, _ in self._files:
            with suppress(OSError):  # in place, not begun, or its place is gone
                temporary.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Remove what is not in place if there was an error, which names where it belongs."""
        if isinstance(error, OSError):
            for temporary, path in self._files:
                name_instead(error, temporary, path)
        if error is not None:
            self.remove()
