"""Small images and sources of pairs."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from data_prep.pairs.config import PairsConfig, PairSourceConfig


def picture(number: int, side: int = 16) -> Image.Image:
    """An image of its own for every number."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(number: int) -> bytes:
    return encoded(picture(number))


def source(path: Path | str = "", **changes: Any) -> PairSourceConfig:
    return PairSourceConfig(**({"name": "pairs", "path": str(path)} | changes))


def shapes(**changes: Any) -> PairsConfig:
    """A corpus of shapes, 48 of 200 held out."""
    settings = {"pairs": 200, "held_out": 48, "rows_per_shard": 64}
    return PairsConfig(sources=(source(format="shapes"),), **(settings | changes))


def config(one: PairSourceConfig, **changes: Any) -> PairsConfig:
    return PairsConfig(sources=(one,), **({"rows_per_shard": 64} | changes))


def write_jsonl(directory: Path, records: Iterable[dict[str, Any]]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "captions.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def folder(directory: Path, number: int = 20, **fields: Any) -> Path:
    """A JSONL file beside its images."""
    directory.mkdir(parents=True, exist_ok=True)
    records = []
    for index in range(number):
        (directory / f"{index:03d}.png").write_bytes(png(index))
        records.append(
            {"image": f"{index:03d}.png", "caption": f"Picture {index}. Noise."} | fields
        )
    return write_jsonl(directory, records)


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path
