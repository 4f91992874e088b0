"""Every kind of image comes out as 8-bit RGB, right side up; what is none is refused."""

import io
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.errors import PipeError
from data_prep.pairs.images import BadImageError, decode_rgb
from tests.data_prep.pairs.helpers import encoded, picture

MOST = 1_000_000


def decoded(data: bytes, **options: int) -> np.ndarray:
    image = decode_rgb(data, max_pixels=MOST, **options)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def refusal(data: bytes, **options: int) -> str:
    with pytest.raises(BadImageError, match=r"found .*(expected|scale it down)") as caught:
        decode_rgb(data, **({"max_pixels": MOST} | options))
    assert isinstance(caught.value, PipeError)
    return caught.value.reason


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Write a PNG by hand, without Pillow."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    image = picture(1)
    assert (decoded(encoded(image, kind)) == np.asarray(image)).all()


def test_16_bit_grey_is_scaled_and_not_cut_off() -> None:
    values = np.array([[0, 128, 255, 256], [1000, 32768, 65279, 65535]], dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    expected = np.round(values / 257).astype(int)  # 65535 = 257 * 255
    found = decoded(png_of(4, 2, 16, 0, rows))
    assert (found == expected[..., None]).all()
    ppm = b"P5 4 2 65535\n" + values.astype(">u2").tobytes()
    assert (decoded(ppm) == expected[..., None]).all()


def test_16_bit_colour_is_scaled_to_a_level() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 6, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    assert np.abs(decoded(png_of(6, 5, 16, 2, rows)) - values / 257).max() <= 1


def test_cmyk_is_converted() -> None:
    # Blocks of one colour, of which JPEG loses next to nothing.
    inks = np.random.default_rng(0).integers(0, 256, (6, 6, 4), dtype=np.uint8)
    image = Image.fromarray(inks.repeat(16, 0).repeat(16, 1), "CMYK")
    found = decoded(encoded(image, "JPEG", quality=100, subsampling=0))[8::16, 8::16]
    cmy, black = inks[..., :3].astype(int), inks[..., 3:].astype(int)
    assert np.abs(found - (255 - cmy) * (255 - black) / 255).max() <= 3
    # Plain red: no cyan, all magenta and yellow.
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(decoded(encoded(red, "JPEG", quality=95)) - [255, 0, 0]).max() <= 6


def test_what_is_transparent_stands_on_white() -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = [0, 85, 170, 255]
    share = pixels[..., 3:] / 255
    expected = pixels[..., :3] * share + 255 * (1 - share)
    image = Image.fromarray(pixels)
    assert np.abs(decoded(encoded(image)) - expected).max() <= 1
    grey = Image.merge("LA", (image.getchannel(0), image.getchannel(3)))
    assert np.abs(decoded(encoded(grey)) - expected[..., :1]).max() <= 1


def test_a_palette_with_and_without_a_transparent_colour() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    assert decoded(encoded(palette)).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    seen = decoded(encoded(palette, transparency=0))
    assert seen.tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_black_and_white(mode: str) -> None:
    image = picture(2).convert(mode)
    assert (decoded(encoded(image)) == np.asarray(image.convert("L"))[..., None]).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.n_frames == 2
    assert (decoded(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_orientation_is_applied_once(orientation: int, kind: str) -> None:
    upright = np.asarray(picture(3))[:, :10]
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    assert (decoded(encoded(image, kind, exif=exif, lossless=True)) == upright).all()


def test_a_jpeg_is_decoded_smaller_but_never_too_small() -> None:
    data = encoded(picture(4, side=400).resize((400, 300)), "JPEG")
    assert decode_rgb(data, max_pixels=MOST).size == (400, 300)
    assert decode_rgb(data, max_pixels=MOST, at_least=64).size == (100, 75)
    assert decode_rgb(data, max_pixels=MOST, at_least=80).size == (200, 150)
    assert decode_rgb(data, max_pixels=MOST, at_least=1000).size == (400, 300)


def test_a_far_too_large_image_is_averaged_to_twice_the_side_wanted() -> None:
    image = picture(4, side=400).resize((400, 300))
    data = encoded(image)
    for at_least in (None, 76, 100, 1000):
        found = decode_rgb(data, max_pixels=MOST, at_least=at_least)
        assert (np.asarray(found) == np.asarray(image)).all()
    assert decode_rgb(data, max_pixels=MOST, at_least=75).size == (200, 150)
    found = decode_rgb(data, max_pixels=MOST, at_least=50)
    squares = np.asarray(image).reshape(100, 3, 400, 3)[:, :, :399].astype(float)
    squares = squares.reshape(100, 3, 133, 3, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(found)[:, :133] - squares).max() < 1
    assert found.size == (134, 100)
    long = encoded(Image.new("RGB", (5000, 60)))
    assert decode_rgb(long, max_pixels=MOST, at_least=20).size == (5000, 60)


def in_one_go(image: Image.Image) -> Image.Image:
    """What is transparent on white, and 16 bits scaled, with the whole image in every step."""
    if image.mode.startswith("I"):
        scaled = ((np.asarray(image).astype(int) * 255 + 32767) // 65535).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    seen = image.convert("RGBA")
    white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, seen).convert("RGB")


def every_transparency() -> Image.Image:
    """Every value with every opacity."""
    values, alphas = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    return Image.fromarray(np.dstack([values, 255 - values, values, alphas]))


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "tRNS", "grey tRNS", "I;16", "I"])
@pytest.mark.parametrize("band", [1, 1000, 1 << 20])
def test_bands_give_what_the_whole_image_does(
    kind: str, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = every_transparency()
    wide = np.random.default_rng(0).integers(0, 65536, (90, 70), dtype=np.uint16)
    data = {
        "RGBA": lambda: encoded(seen),
        "LA": lambda: encoded(seen.convert("LA")),
        "P": lambda: encoded(picture(1, 80).quantize(9), transparency=bytes(range(0, 250, 30))),
        "tRNS": lambda: encoded(seen.convert("RGB"), transparency=(9, 246, 9)),
        "grey tRNS": lambda: encoded(seen.getchannel(0), transparency=9),
        "I;16": lambda: encoded(Image.fromarray(wide)),
        "I": lambda: b"P5 70 90 65535\n" + wide.astype(">u2").tobytes(),
    }[kind]()
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode.startswith("I") == kind.startswith("I")
        expected = np.asarray(in_one_go(opened))
    monkeypatch.setattr("data_prep.pairs.images._BAND_PIXELS", band)
    assert (decoded(data) == expected).all()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
@pytest.mark.parametrize(
    ("depth", "colour", "sample", "bytes_a_pixel"), [(8, 2, 3, 6), (8, 6, 4, 10), (16, 0, 2, 9)]
)
def test_decoding_needs_little_more_than_the_image(
    depth: int, colour: int, sample: int, bytes_a_pixel: int
) -> None:
    side = 4000
    code = rf"""
import re, sys
from pathlib import Path
from data_prep.pairs.images import decode_rgb
data = sys.stdin.buffer.read()
def peak():
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
decode_rgb(data, max_pixels={side * side})
print((peak() - before) / {side * side})
"""
    data = png_of(side, side, depth, colour, bytes((side * sample + 1) * side))
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert 2 < float(done.stdout) < bytes_a_pixel


def test_a_picture_outlives_its_file() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM"):
        image = decode_rgb(encoded(picture(5, side=64), kind), max_pixels=MOST)
        assert image.crop((0, 0, 32, 32)).resize((8, 8), Image.Resampling.BICUBIC).size == (8, 8)
        assert np.asarray(image).shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM"])
def test_half_a_file_is_damaged(kind: str) -> None:
    data = encoded(picture(5, side=64), kind)
    assert refusal(data[: len(data) // 2]) in {"damaged", "not_an_image"}


def test_what_is_no_image() -> None:
    assert refusal(b"") == "empty_file"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    for data in (svg, b"<html><img></html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"no image", b"\0" * 64):
        assert refusal(data) == "not_an_image"
    assert refusal(encoded(picture(1), "TIFF")) == "not_an_image"
    assert refusal(b"Pf\n9 9\n-1.0\n" + bytes(9 * 9 * 4)) == "unknown_range"


def test_a_huge_image_is_refused_before_it_is_decoded() -> None:
    huge = png_of(20_000, 20_000, 8, 2, b"\0" * 1000)
    large = png_of(10_000, 9_500, 8, 2, b"\0" * 1000)  # beyond where Pillow begins to warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        assert refusal(huge) == refusal(large) == "too_many_pixels"
        assert refusal(encoded(picture(0)), max_pixels=255) == "too_many_pixels"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


def test_a_tiny_image_is_refused_if_asked() -> None:
    dot = encoded(Image.new("RGB", (1, 1)))
    assert decode_rgb(dot, max_pixels=1).size == (1, 1)
    assert refusal(dot, min_side=2) == "too_small"
    assert refusal(encoded(Image.new("RGB", (100, 7))), min_side=8) == "too_small"


def test_nothing_is_printed_and_nothing_but_a_sentence_is_raised(
    capfd: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(0)
    whole = [encoded(picture(6, 48), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM")]
    refused = 0
    for turn in range(1200):
        data = bytearray(whole[turn % len(whole)])
        for place in random.integers(0, len(data), 1 + turn % 5) // (1 + turn % 9):
            data[place] = random.integers(256)
        try:
            assert decode_rgb(bytes(data), max_pixels=MOST).mode == "RGB"
        except PipeError:
            refused += 1
    assert 100 < refused < 1200
    assert capfd.readouterr() == ("", "")
