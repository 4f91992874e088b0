"""Every source gives the same pairs, skips what is of no use with a reason, and follows nothing."""

import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_prep.errors import PipeError
from data_prep.pairs.config import PairSourceConfig
from data_prep.pairs.images import decode_rgb
from data_prep.pairs.records import Pair
from data_prep.pairs.scan import Scan, Spool, scan
from data_prep.pairs.sources import resolve_format
from tests.data_prep.pairs.helpers import (
    config,
    encoded,
    folder,
    picture,
    png,
    source,
    write_jsonl,
    write_parquet,
    write_tar,
)

CONVERSATION = [
    {"from": "human", "value": "<image>\nDescribe the picture."},
    {"from": "gpt", "value": "A field of noise."},
    {"from": "human", "value": "And the colour?"},
    {"from": "gpt", "value": "Many."},
]


@pytest.fixture
def spool(tmp_path: Path):
    kept = Spool(tmp_path / "spool")
    yield kept
    kept.remove()


def scanned(one: PairSourceConfig, spool: Spool, **changes: Any) -> Scan:
    lines: list[str] = []
    found = scan(one, config(one, **changes), spool, lines.append)
    assert set(found.examples) == set(found.skipped)
    for reason, number in found.skipped.items():
        assert any(f"{number} skipped as {reason}" in line for line in lines)
    return found


def told(pairs: list[Pair]) -> list[tuple[bytes, str, str | None, bool | None, str | None]]:
    return [
        (pair.place.read(), pair.caption, pair.label, pair.held_out, pair.group) for pair in pairs
    ]


def test_every_format_gives_the_same_pairs(tmp_path: Path, spool: Spool) -> None:
    rows = [
        {"caption": f"Noise {i}.", "label": i % 3, "split": "test" if i < 2 else "train", "b": "x"}
        for i in range(6)
    ]
    images = [png(i) for i in range(6)]
    fields = {"label_field": "label", "split_field": "split", "group_field": "b"}
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    for i, image in enumerate(images):
        (tmp_path / "folder" / "deep" / f"{i}.png").write_bytes(image)
    write_jsonl(
        tmp_path / "folder", ({"image": f"deep/{i}.png"} | row for i, row in enumerate(rows))
    )
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
    write_parquet(tmp_path / "bytes" / "a.parquet", {"image": images} | columns)
    structs = [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]
    write_parquet(tmp_path / "structs" / "a.parquet", {"image": structs} | columns)
    members = []
    for i, row in enumerate(rows):
        members += [(f"a/{i}.json", json.dumps(row).encode()), (f"a/{i}.png", images[i])]
    write_tar(tmp_path / "tars" / "0.tar", members[:6])
    write_tar(tmp_path / "tars" / "1.tar", members[6:])
    found = {
        name: scanned(source(tmp_path / name, **fields), spool)
        for name in ("folder", "bytes", "structs", "tars")
    }
    expected = [
        (image, row["caption"], str(row["label"]), row["split"] == "test", "x")
        for image, row in zip(images, rows, strict=True)
    ]
    for one in found.values():
        assert told(one.pairs) == expected
        assert not one.skipped
        assert len({pair.doc_id for pair in one.pairs}) == 6


@pytest.mark.parametrize("form", ["jsonl", "parquet", "tar"])
def test_a_conversation_as_infinity_mm_has_it(form: str, tmp_path: Path, spool: Spool) -> None:
    record = {"id": "10", "conversations": CONVERSATION, "image": "/path/of/the/image"}
    if form == "jsonl":
        (tmp_path / "a.png").write_bytes(png(1))
        path = write_jsonl(tmp_path, [record | {"image": "a.png"}])
    elif form == "parquet":
        columns = {"image": [png(1)], "conversations": [CONVERSATION], "id": ["10"]}
        path = write_parquet(tmp_path / "a.parquet", columns)
    else:
        members = [("000/10.json", json.dumps(record).encode()), ("000/10.png", png(1))]
        path = write_tar(tmp_path / "a.tar", members)
    one = source(path, caption_field="conversations", id_field="id")
    (pair,) = scanned(one, spool).pairs
    assert (pair.caption, pair.doc_id, pair.place.read()) == ("A field of noise.", "10", png(1))


def test_several_captions_of_one_image_and_a_text_beside_it(tmp_path: Path, spool: Spool) -> None:
    columns = {"image": [png(1), png(2)], "caption": [["One.", " ", "Two."], ["Three."]]}
    found = scanned(source(write_parquet(tmp_path / "a.parquet", columns)), spool)
    assert [pair.caption for pair in found.pairs] == ["One.", "Two.", "Three."]
    assert found.pairs[0].place == found.pairs[1].place
    members = [("k.txt", "Ça va.\n".encode()), ("k.JPG", encoded(picture(1), "JPEG"))]
    (pair,) = scanned(source(write_tar(tmp_path / "a.tar", members)), spool).pairs
    assert pair.caption == "Ça va."


def test_what_is_held_out_by_its_name(tmp_path: Path, spool: Spool) -> None:
    one = source(folder(tmp_path), held_out_pattern="00[0-3]*")
    assert Counter(pair.held_out for pair in scanned(one, spool).pairs) == {True: 4, False: 16}
    assert source(held_out_split="dev").held_out_split == ("dev",)


BAD: dict[str, tuple[bytes | None, str]] = {
    "cut-off.jpg": (encoded(picture(1, 64), "JPEG")[:900], "damaged"),
    "page.png": (b"<!doctype html><html></html>", "not_an_image"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
    "empty.png": (b"", "empty_file"),
    "dot.png": (encoded(Image.new("RGB", (1, 1))), "too_small"),
    "huge.png": (encoded(Image.new("1", (9000, 9000))), "too_many_pixels"),
    "missing.png": (None, "missing_image"),
    "../outside.png": (None, "outside"),
    "link.png": (None, "outside"),
    "pipe.png": (None, "unreadable_image"),
    "nul\0.png": (None, "unreadable_image"),
}


@pytest.fixture
def bad_folder(tmp_path: Path) -> Path:
    """Seven good images, one with a caption of blanks, and every bad one."""
    directory = tmp_path / "data"
    directory.mkdir()
    for i in range(8):
        (directory / f"{i}.png").write_bytes(png(i))
    for name, (content, _) in BAD.items():
        if content is not None:
            (directory / name).write_bytes(content)
    (tmp_path / "outside.png").write_bytes(png(99))
    (directory / "link.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(directory / "pipe.png")
    names = [*(f"{i}.png" for i in range(8)), *BAD]
    records = [{"image": name, "caption": f"It is {name}."} for name in names]
    records[7]["caption"] = " \n"
    write_jsonl(directory, records)
    return directory


def test_bad_images_and_captions_are_skipped_and_counted(
    bad_folder: Path, spool: Spool, capfd: pytest.CaptureFixture[str]
) -> None:
    found = scanned(source(bad_folder), spool)
    assert [pair.name for pair in found.pairs] == [f"{i}.png" for i in range(7)]
    assert found.skipped == Counter(["empty_caption", *(reason for _, reason in BAD.values())])
    assert found.records == 8 + len(BAD)
    assert capfd.readouterr() == ("", "")
    for reason, example in found.examples.items():
        assert str(bad_folder / "captions.jsonl, line ") in example, reason


def test_a_speaker_of_any_kind_is_not_the_answer(tmp_path: Path, spool: Spool) -> None:
    odd = [{"from": ["gpt"], "value": "No."}, {"from": {}, "value": "No."}, {"value": "No."}]
    path = folder(tmp_path, 2, caption=odd + CONVERSATION)
    assert [pair.caption for pair in scanned(source(path), spool).pairs] == [
        "A field of noise."
    ] * 2
    path = folder(tmp_path, 2, caption=odd)
    with pytest.raises(PipeError, match="no usable pair"):
        scanned(source(path), spool)


def test_a_name_that_is_no_utf8_is_told_in_utf8(tmp_path: Path, spool: Spool) -> None:
    names = (b"\xff.txt", b"\xfe.png", b"\xfe.txt", b"0.png", b"0.txt")
    contents = (b"No image.", b"damaged", b"A picture.", png(0), b"A picture.")
    path = write_tar(
        tmp_path / "a.tar",
        [(n.decode("utf-8", "surrogateescape"), c) for n, c in zip(names, contents, strict=True)],
    )
    lines: list[str] = []
    found = scan(source(path), config(source(path)), spool, lines.append)
    assert found.skipped == {"missing_image": 1, "not_an_image": 1}
    assert all("a.tar, \ufffd: " in sentence for sentence in found.examples.values())
    assert "\n".join(lines).encode().count("\ufffd".encode()) == 2
    with pytest.raises(PipeError, match=r"a\.tar, \ufffd: .*would be left out"):
        scan(source(path), config(source(path), on_error="stop"), spool, lines.append)
    members = [("\udcff.png", png(0)), ("\udcff.json", b'{"text": 1}')]
    bad = write_tar(tmp_path / "b.tar", members)
    with pytest.raises(PipeError, match=r"b\.tar, \ufffd: "):
        scan(source(bad), config(source(bad)), spool, lines.append)


@pytest.mark.parametrize("name", BAD)
def test_bad_images_stop_if_asked(name: str, bad_folder: Path, spool: Spool) -> None:
    path = write_jsonl(bad_folder, [{"image": name, "caption": "Something."}])
    with pytest.raises(PipeError, match=r"captions.jsonl, line 1.*") as caught:
        scan(source(path), config(source(path), on_error="stop"), spool, lambda _: None)
    assert name.replace("\0", "\\x00") in str(caught.value)


def test_unusual_images_are_kept_as_they_are(tmp_path: Path, spool: Spool) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    unusual = [
        encoded(Image.new("CMYK", (16, 16), (9, 8, 7, 6)), "JPEG"),
        encoded(Image.fromarray(grey)),
        encoded(picture(1).convert("P")),
        encoded(picture(1).convert("RGBA")),
        encoded(picture(1), "GIF", save_all=True, append_images=[picture(2)]),
    ]
    columns = {"image": unusual, "caption": [f"Number {i}." for i in range(5)]}
    found = scanned(source(write_parquet(tmp_path / "a.parquet", columns)), spool)
    assert [pair.place.read() for pair in found.pairs] == unusual
    assert all(decode_rgb(data, max_pixels=256).size == (16, 16) for data in unusual)


def test_tar_members_that_are_no_files_are_never_followed(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("0.png")
            link.type, link.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(link)
        for name, content in (
            ("0.txt", b"A secret."),
            ("../../1.txt", b"Outside."),
            ("../../1.png", png(1)),
            ("2.txt", b""),
            ("2.png", png(2)),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    found = scanned(source(path), spool)
    # A name that leads outside is a name and no more: its bytes lie in the archive.
    assert [(pair.caption, pair.place.read()) for pair in found.pairs] == [("Outside.", png(1))]
    assert found.skipped == {"missing_image": 1, "empty_caption": 1}
    assert not (tmp_path.parents[1] / "1.png").exists()


def test_a_path_in_parquet_is_not_followed(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    images = [{"bytes": None, "path": str(tmp_path / "a.png")}, {"bytes": png(2), "path": None}]
    path = write_parquet(tmp_path / "a.parquet", {"image": images, "caption": ["No.", "Yes."]})
    found = scanned(source(path), spool)
    assert [pair.caption for pair in found.pairs] == ["Yes."]
    assert found.skipped == {"missing_image": 1}


def broken_tar(path: Path, how: str) -> Path:
    members = [(f"{i}{end}", content) for i in range(4) for end, content in
               ((".txt", b"Noise."), (".png", encoded(picture(i, 64))))]  # fmt: skip
    whole = write_tar(path, members).read_bytes()
    middle = whole.index(b"2.txt")
    path.write_bytes(
        {
            "cut short": whole[: middle + 100],
            "cut within an image": whole[: middle - 700],
            "damaged": whole[:middle] + b"?" * 512 + whole[middle + 512 :],
            "no tar": b"not a tar file" * 100,
            "empty": b"",
        }[how]
    )
    return path


@pytest.mark.parametrize("how", ["cut short", "cut within an image", "damaged", "no tar", "empty"])
def test_a_broken_tar_stops(how: str, tmp_path: Path, spool: Spool) -> None:
    path = broken_tar(tmp_path / "a.tar", how)
    with pytest.raises(PipeError, match=r"a\.tar cannot be read as tar .*expected a whole"):
        scanned(source(path), spool)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 1: not a JSON object in UTF-8"),
        ("[]", "line 1: not a JSON object in UTF-8"),
        ('{"caption": "c"}', "field 'image' is missing; found 'caption'. Set image_field"),
        ('{"image": "a.png"}', "field 'caption' is missing; found 'image'. Set caption_field"),
        ('{"image": "a.png", "caption": 3}', "holds a value of type int; expected a string"),
    ],
)
def test_a_wrong_line_is_named(line: str, sentence: str, tmp_path: Path, spool: Spool) -> None:
    path = write_jsonl(tmp_path, [])
    path.write_text(line + "\n")
    with pytest.raises(PipeError, match=r"captions\.jsonl, line 1") as caught:
        scanned(source(path), spool)
    assert sentence in str(caught.value)


def test_missing_fields_and_sources_are_named(tmp_path: Path, spool: Spool) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"jpg": [png(1)], "caption": ["c"]})
    with pytest.raises(PipeError, match=r"'image' is missing; found 'jpg', 'caption'\. Set ima"):
        scanned(source(path), spool)
    for changes in ({"label_field": "kind"}, {"split_field": "kind"}, {"id_field": "kind"}):
        with pytest.raises(PipeError, match=f"'kind' is missing.*Set {next(iter(changes))}"):
            scanned(source(path, image_field="jpg", **changes), spool)
        with pytest.raises(PipeError, match=f"'kind' is missing.*Set {next(iter(changes))}"):
            scanned(source(folder(tmp_path / "folder"), **changes), spool)
    with pytest.raises(PipeError, match="expected bytes, or a struct of bytes and path"):
        scanned(source(path, image_field="caption"), spool)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(PipeError, match=r"b\.parquet cannot be read as parquet"):
        scanned(source(tmp_path / "b.parquet"), spool)
    with pytest.raises(PipeError, match="is missing; expected a file"):
        scanned(source(tmp_path / "nowhere"), spool)
    with pytest.raises(PipeError, match="expected files of this machine"):
        scanned(source("s3://bucket/a.parquet"), spool)
    with pytest.raises(PipeError, match="has no usable pair among its 1 records"):
        scanned(source(write_jsonl(tmp_path, [{"image": "x.png", "caption": "c"}])), spool)


def test_the_format_goes_by_the_suffix(tmp_path: Path) -> None:
    folder(tmp_path / "a")
    assert resolve_format(source(tmp_path / "a")) == "jsonl"
    assert resolve_format(source(format="shapes")) == "shapes"
    write_tar(tmp_path / "a" / "b.tar", [])
    with pytest.raises(PipeError, match="of format jsonl and webdataset; set its format"):
        resolve_format(source(tmp_path / "a"))
    with pytest.raises(PipeError, match="has format 'zip'; expected auto or one of shapes"):
        resolve_format(source(tmp_path / "a", format="zip"))


def test_max_pairs_reads_no_more(tmp_path: Path, spool: Spool) -> None:
    one = source(folder(tmp_path), max_pairs=5)
    assert [pair.name for pair in scanned(one, spool).pairs] == [f"00{i}.png" for i in range(5)]
