"""The prose of Python files: sentences are kept, code and lists are not, modules are not run."""

from itertools import islice
from pathlib import Path
from textwrap import dedent

import pytest

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.prose import MIN_WORDS, prose_of
from data_prep.readers.python_prose import installation_roots
from data_prep.sources import read_documents

MODULE = '''
"""This module says what it is for, and it does so in a sentence."""
raise SystemExit("a reader must never run this")

class Outer:
    """An outer class that holds the inner one and nothing else."""

    def method(self):
        """Return the thing that was asked for.

        It is made anew at every call, so that it can be changed
        without an effect on the others.

        Args:
            self: The thing.
        """

    class Inner:
        """An inner class, so that there is a longer name to be found."""

def short():
    """Too short to keep."""

async def wait():
    """Wait until the other side has answered or the time is up."""
'''
PLAIN = "This is a sentence that is long enough to be kept."


def read(path: Path) -> list[tuple[str, str]]:
    config = SourceConfig(name="p", path=str(path), format="python-prose")
    return [(document.doc_id, document.text) for document in read_documents(config)]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {
        "pkg/__init__.py": f'"""{PLAIN} One."""',
        "pkg/sub/module.py": MODULE,
        "pkg/sub/broken.py": f'"""{PLAIN} Two."""\nprint "python 2"',
        "pkg/sub/test_module.py": f'"""{PLAIN} Three."""',
        "pkg/tests/helper.py": f'"""{PLAIN} Four."""',
        "pkg/_vendor/copy.py": f'"""{PLAIN} Five."""',
        "pkg/code.py": f'"""{PLAIN} Six."""\n' + "value = 1\n" * 200,
        "pkg/latin.py": f'# coding: latin-1\n"""{PLAIN} S\xe9ven."""',
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1"))
    return tmp_path


def test_names_and_texts(package: Path) -> None:
    found = dict(read(package))
    assert set(found) == {
        "pkg",
        "pkg.latin",
        "pkg.sub.module",
        "pkg.sub.module:Outer",
        "pkg.sub.module:Outer.method",
        "pkg.sub.module:Outer.Inner",
        "pkg.sub.module:wait",
    }
    assert found["pkg"] == f"{PLAIN} One."
    assert found["pkg.latin"] == f"{PLAIN} S\xe9ven."
    assert found["pkg.sub.module:Outer.method"] == (
        "Return the thing that was asked for.\n\nIt is made anew at every call, so that it can be "
        "changed without an effect on the others."
    )
    assert read(package) == list(found.items())


@pytest.mark.parametrize(
    "rest",
    [
        "Parameters\n----------\nx : int\n    The number that is to be squared by it.",
        "Args:\n    x: The number that is to be squared by this function.",
        ":param x: the number that is to be squared by this function",
        ">>> the_function_of_the_module(1)\nthe result is not in the prose",
        "    the indented = code of it\n    and the rest of the code",
        "- the first of the items in a list\n- the second of the items in it",
        "* the only item in the list that is here",
        ".. note:: the directive that is in the way",
        "=====  =====\nthe    table\n=====  =====",
        "Title of it\n===========",
        "x = f(y) + g[z] * 2 ** {a: b} / c if d else e",
    ],
)
def test_what_is_not_prose_is_left_out(rest: str) -> None:
    assert prose_of(f"{PLAIN}\n\n{rest}") == PLAIN


def test_marks_are_taken_off() -> None:
    marked = "See :class:`~a.b.Thing` and ``code``, or `the page <http://x.y>`_, or [this](z) one."
    assert prose_of(marked) == "See a.b.Thing and code, or the page, or this one."


def test_lines_are_joined_and_paragraphs_stay_apart() -> None:
    text = dedent(
        """\
        The first paragraph of this text
        goes over two of its lines.

        The second is on one of them."""
    )
    assert prose_of(text) == (
        "The first paragraph of this text goes over two of its lines.\n\n"
        "The second is on one of them."
    )


@pytest.mark.parametrize(
    "text", ["", "Too short.", "alpha beta gamma delta " * 5, "1 2 3 + 4 " * 9]
)
def test_what_does_not_read_like_english(text: str) -> None:
    assert prose_of(text) is None


def test_the_running_installation_has_prose() -> None:
    config = SourceConfig(name="prose", format="python-prose", max_documents=1000)
    documents = list(read_documents(config))
    assert len(documents) == 1000
    assert all(len(document.text.split()) >= MIN_WORDS for document in documents)
    ids = [document.doc_id for document in documents]
    assert len(set(ids)) > 990
    roots = [str(root) for root in installation_roots()]
    assert not any(part in doc_id for doc_id in ids for part in ("/", *roots))
    assert sum(doc_id.startswith("pydoc_data.topics:") for doc_id in ids) > 50
    assert any(":" in doc_id and "pydoc" not in doc_id for doc_id in ids)


def test_it_is_read_lazily() -> None:
    config = SourceConfig(name="prose", format="python-prose")
    assert len(list(islice(read_documents(config), 3))) == 3


def test_a_path_that_is_no_directory(package: Path) -> None:
    with pytest.raises(PipeError, match="is not a directory"):
        read(package / "pkg" / "code.py")
