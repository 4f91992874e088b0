"""WebDataset: tar files in which ``KEY.jpg`` stands beside ``KEY.txt`` or ``KEY.json``."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.errors import PipeError, first_line
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.images import SUFFIXES as IMAGE_SUFFIXES
from data_prep.pairs.readers.fields import captions_in, field, is_held_out, text_field
from data_prep.pairs.readers.files import files_of
from data_prep.pairs.readers.jsonl import MOST_BYTES
from data_prep.pairs.records import Found, Place, Skipped
from data_prep.sources import clean

SUFFIXES = (".tar",)


def read_webdataset(source: PairSourceConfig, config: PairsConfig) -> Iterator[Found | Skipped]:
    """Read tar files member by member; nothing is unpacked and no name or link is followed.

    Args:
        source: Path and fields. The caption is ``KEY.txt`` if there is one, or else the field
            ``caption_field`` of ``KEY.json``, which has the other fields as well. For
            Infinity-MM, ``caption_field`` is ``conversations``.
        config: The pairs' settings.

    Yields:
        The samples in order. One without an image is skipped.

    Raises:
        PipeError: A file is not tar, is compressed, damaged or cut short, a sample's JSON is
            damaged or lacks a field.
    """
    for name, path in files_of(source, SUFFIXES):
        try:
            with tarfile.open(path, "r:") as archive:
                for key, members in _samples(archive):
                    yield _read_sample(archive, key, members, source, name, path)
                _require_end(archive, path)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise PipeError(
                f"{path} cannot be read as tar ({first_line(error)}); expected a whole, "
                "uncompressed file. Restore it from a copy."
            ) from None


def _samples(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Group neighbouring regular files by what comes before the first dot of their names."""
    current: str | None = None
    members: dict[str, tarfile.TarInfo] = {}
    while (member := archive.next()) is not None:
        vars(archive)["members"] = []  # Otherwise it remembers every member it has seen.
        if not member.isreg() or member.issparse():
            continue
        path = PurePosixPath(member.name)
        stem, _, extension = path.name.partition(".")
        key = str(path.with_name(stem)) if stem else str(path)
        if current is not None and key != current:
            yield current, members
            members = {}
        current = key
        members.setdefault(f".{extension.lower()}", member)
    if current is not None:
        yield current, members


def _require_end(archive: tarfile.TarFile, path: Path) -> None:
    """Tell a damaged header, at which ``tarfile`` stops in silence, from the end."""
    assert archive.fileobj is not None  # noqa: S101
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {archive.offset:,}")


def _read_sample(
    archive: tarfile.TarFile,
    key: str,
    members: dict[str, tarfile.TarInfo],
    source: PairSourceConfig,
    name: str,
    path: Path,
) -> Found | Skipped:
    where = clean(f"{path}, {key}")
    image = next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), None)
    if image is None:
        return Skipped(
            "missing_image",
            f"{where}: there is no image beside {', '.join(members)}; expected one of "
            f"{', '.join(IMAGE_SUFFIXES)}.",
        )
    if image.size > MOST_BYTES:
        return Skipped(
            "unreadable_image",
            f"{where}: the image has {image.size:,} bytes, expected at most {MOST_BYTES:,}.",
        )
    record: dict[str, Any] = {}
    if ".json" in members:
        record = _json_object(_content(archive, members[".json"]), where)
    if ".txt" in members:
        text = _content(archive, members[".txt"]).decode("utf-8-sig", errors="replace")
        captions: tuple[str, ...] = (text,)
    elif record:
        captions = captions_in(field(record, "caption_field", source, where), source, where)
    else:
        captions = ()
    data = _content(archive, image)
    return Found(
        doc_id=text_field(record, "id_field", source, where) or f"{name}:{key}",
        name=image.name,
        where=where,
        captions=captions,
        data=data,
        place=Place(path, image.offset_data, len(data)),
        label=text_field(record, "label_field", source, where),
        held_out=is_held_out(record, image.name, source, where),
        group=text_field(record, "group_field", source, where),
    )


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MOST_BYTES:
        raise tarfile.ReadError(f"{member.name} has {member.size:,} bytes")
    file = archive.extractfile(member)
    assert file is not None  # noqa: S101 - it is a regular file
    return file.read()


def _json_object(content: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(content.decode("utf-8-sig"))
        if not isinstance(record, dict):
            raise ValueError(f"a JSON {type(record).__name__}")
    except (ValueError, RecursionError) as error:
        raise PipeError(
            f"{where}.json is not a JSON object in UTF-8 ({error}); mend or remove the sample."
        ) from None
    return record
