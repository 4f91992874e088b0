"""Files that are written and not yet in place: errors name their places, and none is left."""

import errno
from pathlib import Path

import pytest

from data_prep.scratch import Written


@pytest.fixture
def places(tmp_path):
    return [tmp_path / "runs" / name for name in ("a.arrow", "b.arrow", "c.arrow")]


def written(places):
    files = Written()
    for path in places:
        files.instead_of(path).write_text(path.name)
    return files


def test_files_are_put_in_place(places):
    written(places).put_in_place()
    assert sorted(places[0].parent.iterdir()) == places


def test_one_that_cannot_be_put_in_place_is_named_and_the_rest_goes(places):
    places[1].mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        written(places).put_in_place()
    assert caught.value.filename == str(places[1])
    assert ".tmp" not in str(caught.value)
    assert sorted(places[0].parent.iterdir()) == places[:2]


def test_an_error_while_one_is_written_names_its_place(places):
    files = written(places[:2])
    with pytest.raises(OSError, match="No space") as caught, files:
        raise OSError(f"No space left for '{files.instead_of(places[2])}'")
    assert str(caught.value) == f"No space left for '{places[2]}'"
    assert not list(places[0].parent.iterdir())


def test_a_place_that_is_gone_does_not_hide_the_first_error(places, monkeypatch):
    asked = []

    def unlink(path, **_):
        asked.append(path)
        raise OSError(errno.EIO, "Input/output error", str(path))

    files = written(places)
    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(ValueError, match="first"), files:
        raise ValueError("first")
    assert len(asked) == len(places)
