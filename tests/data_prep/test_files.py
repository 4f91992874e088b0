"""Files that are whole or absent, and errors that name what the user knows."""

import pytest

from data_prep.files import atomic_directory, atomic_write

LONG = "n" * 250
"""A name that fits, with what stands around it while the file is unfinished not any more."""


def test_an_error_names_the_file_and_not_what_is_written_first(tmp_path):
    path = tmp_path / LONG
    with pytest.raises(OSError, match="too long") as caught, atomic_write(path) as temporary:
        temporary.write_text("x")
    assert caught.value.filename == str(path)


def test_the_words_of_a_library_are_put_right_too(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(OSError, match="open") as caught, atomic_write(path) as temporary:
        raise OSError(f"Failed to open local file '{temporary}'")
    assert str(caught.value) == f"Failed to open local file '{path}'"


def test_an_error_of_another_file_stays(tmp_path):
    other = tmp_path / "other"
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "a"):
        other.read_text()
    assert caught.value.filename == str(other)


def test_an_error_names_the_directory_and_what_lies_in_it(tmp_path):
    path = tmp_path / "export"
    with pytest.raises(FileNotFoundError) as caught, atomic_directory(path) as unfinished:
        (unfinished / "no" / "file").write_text("x")
    assert caught.value.filename == str(path / "no" / "file")
    with pytest.raises(OSError, match="too long") as caught, atomic_directory(tmp_path / LONG):
        pass
    assert caught.value.filename == str(tmp_path / LONG)
