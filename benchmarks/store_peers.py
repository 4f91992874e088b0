"""What one would use instead of the store: rows of a table, each in its documented fast use.

A peer gets the finished float16 targets, both teachers' numbers in one row, and may keep them as
suits it best. It gives what training needs: (n, 12288) float32, times sqrt(1/2).
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.store_data import DIM, TEACHERS

Rows = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]
Targets = npt.NDArray[np.float32]
Read = Callable[[Rows], Targets]

_SCALE = np.float32(math.sqrt(1 / len(TEACHERS)))
_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Peer:
    """One way to keep and read targets.

    Attributes:
        package: What must be installed, as it is imported.
        note: How it is used here.
        open: Opens a directory for reading.
        write: Writes all rows to a directory; None where ``open`` reads the store's own files.
    """

    package: str
    note: str
    open: Callable[[Path], Read]
    write: Callable[[Halves, Path], None] | None


def bare_halves(path: Path) -> Halves:
    """Map the bare file.

    Args:
        path: The file.

    Returns:
        (rows, DIM), read-only.
    """
    return np.memmap(path, np.float16, mode="r").reshape(-1, DIM)


def open_bare(path: Path) -> Read:
    """Read the bare file as one would by hand: take rows, convert, scale in place."""
    mapped = bare_halves(path)
    return lambda rows: _scaled(mapped[rows])


def _scaled(halves: Halves) -> Targets:
    targets = halves.astype(np.float32)
    targets *= _SCALE
    return targets


def _stacked(samples: list[Halves]) -> Targets:
    targets = np.empty((len(samples), DIM), np.float32)
    for place, sample in enumerate(samples):
        targets[place] = sample
    targets *= _SCALE
    return targets


def _blocks(halves: Halves) -> Iterator[Halves]:
    for first in range(0, len(halves), _ROWS_AT_A_TIME):
        yield np.asarray(halves[first : first + _ROWS_AT_A_TIME])


def _open_zarr(directory: Path, pipeline: str, take: Callable[[Any, Rows], Halves]) -> Read:
    import zarr  # noqa: PLC0415

    with zarr.config.set({"codec_pipeline.path": pipeline}):
        group = zarr.open_group(directory / "vectors.zarr", mode="r")
        arrays = [group[name] for name in TEACHERS]

    def read(rows: Rows) -> Targets:
        # The pipeline of a shard's inner chunks is made when they are read.
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            return _scaled(np.concatenate([take(array, rows) for array in arrays], axis=1))

    return read


def _take_indices(array: Any, rows: Rows) -> Halves:
    ascending, places = np.unique(rows, return_inverse=True)  # much faster than as they come
    halves: Halves = array.oindex[ascending]
    return halves[places]


def _take_slices(array: Any, rows: Rows) -> Halves:
    return np.concatenate([array[row : row + 1] for row in rows.tolist()])


def _write_mds(halves: Halves, directory: Path) -> None:
    from streaming import MDSWriter  # noqa: PLC0415

    with MDSWriter(out=str(directory), columns={"target": f"ndarray:float16:{DIM}"}) as writer:
        for block in _blocks(halves):
            for row in block:
                writer.write({"target": row})


def _open_mds(directory: Path) -> Read:
    from streaming import LocalDataset  # noqa: PLC0415

    samples = LocalDataset(str(directory))
    return lambda rows: _stacked([sample["target"] for sample in samples[rows]])


def _samples_of_block(path: Path, first: int) -> Iterator[Halves]:
    yield from np.array(bare_halves(path)[first : first + _ROWS_AT_A_TIME])


def _write_litdata(halves: Halves, directory: Path) -> None:
    import litdata  # noqa: PLC0415

    litdata.optimize(
        fn=partial(_samples_of_block, Path(halves.base.filename)),  # type: ignore[union-attr]
        inputs=list(range(0, len(halves), _ROWS_AT_A_TIME)),
        output_dir=str(directory),
        chunk_bytes="64MB",
        num_workers=1,
        reorder_files=False,
        verbose=False,
    )


def _open_litdata(directory: Path) -> Read:
    import litdata  # noqa: PLC0415

    # By default it decodes 256 samples to give one, which helps only who reads them in order.
    samples = litdata.StreamingDataset(str(directory), batch_decode=0)
    return lambda rows: _stacked([samples[row] for row in rows.tolist()])


def _arrow_schema() -> Any:
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([("target", pa.list_(pa.float16(), DIM))])


def _arrow_batches(halves: Halves) -> Iterator[Any]:
    import pyarrow as pa  # noqa: PLC0415

    for block in _blocks(halves):
        column = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), DIM)
        yield pa.record_batch([column], schema=_arrow_schema())


def _from_arrow(table: Any) -> Targets:
    column = table.column("target").combine_chunks()
    return _scaled(column.flatten().to_numpy(zero_copy_only=False).reshape(-1, DIM))


def _write_lance(halves: Halves, directory: Path) -> None:
    import lance  # noqa: PLC0415

    lance.write_dataset(_arrow_batches(halves), str(directory), schema=_arrow_schema())


def _open_lance(directory: Path) -> Read:
    import lance  # noqa: PLC0415

    dataset = lance.dataset(str(directory))
    return lambda rows: _from_arrow(dataset.take(rows))


def _write_parquet(halves: Halves, directory: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415

    directory.mkdir()
    with pq.ParquetWriter(directory / "targets.parquet", _arrow_schema()) as writer:
        for batch in _arrow_batches(halves):
            writer.write_batch(batch)


def _open_parquet(directory: Path) -> Read:
    import datasets  # noqa: PLC0415

    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(directory / "targets.parquet"),
        cache_dir=str(directory / "arrow"),
        split="train",
    )
    return _read_datasets(loaded)


def _write_arrow(halves: Halves, directory: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415

    directory.mkdir()
    with pa.ipc.new_stream(directory / "targets.arrow", _arrow_schema()) as writer:
        for batch in _arrow_batches(halves):
            writer.write_batch(batch)


def _open_arrow(directory: Path) -> Read:
    import datasets  # noqa: PLC0415

    return _read_datasets(datasets.Dataset.from_file(str(directory / "targets.arrow")))


def _read_datasets(dataset: Any) -> Read:
    tables = dataset.with_format("arrow")
    return lambda rows: _from_arrow(tables[rows])


_PYTHON_PIPELINE = "zarr.core.codec_pipeline.BatchedCodecPipeline"

PEERS = {
    "zarr": Peer(
        "zarr",
        "zarr-python's default pipeline on the store's own arrays: `oindex` of sorted rows",
        partial(_open_zarr, pipeline=_PYTHON_PIPELINE, take=_take_indices),
        None,
    ),
    "zarrs": Peer(
        "zarrs",
        "the zarrs pipeline on the same: row by row, since it leaves `oindex` to zarr-python",
        partial(_open_zarr, pipeline="zarrs.ZarrsCodecPipeline", take=_take_slices),
        None,
    ),
    "mds": Peer(
        "streaming",
        "MosaicML streaming, MDS: `LocalDataset[rows]`, one ndarray column",
        _open_mds,
        _write_mds,
    ),
    "litdata": Peer(
        "litdata",
        "`StreamingDataset(..., batch_decode=0)[row]` of a local directory, chunks of 64 MB",
        _open_litdata,
        _write_litdata,
    ),
    "lance": Peer(
        "lance",
        "`dataset.take(rows)`, one column of fixed-size lists",
        _open_lance,
        _write_lance,
    ),
    "parquet": Peer(
        "datasets",
        '`load_dataset("parquet")`, which makes Arrow of it, then as arrow',
        _open_parquet,
        _write_parquet,
    ),
    "arrow": Peer(
        "datasets",
        '`Dataset.from_file(...).with_format("arrow")[rows]`, mapped',
        _open_arrow,
        _write_arrow,
    ),
}
"""By the name that the figures carry."""


def quieten() -> None:
    """Keep the peers' progress bars out of the output."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
