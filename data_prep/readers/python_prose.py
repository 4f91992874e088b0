"""The English prose that every Python installation carries: a corpus that needs no download.

Docstrings of the standard library and of the installed packages, and the chapters of the language
reference that ``help()`` shows. Files are parsed, never imported. What is found depends on the
packages installed: the same environment gives the same documents, another one may not.
"""

import ast
import gc
import os
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import cleandoc
from pathlib import Path

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.pieces import Piece
from data_prep.readers.found import Finds, Found
from data_prep.readers.prose import prose_of

TOPICS = "pydoc_data.topics"
_SKIPPED = {"__pycache__", "site-packages", "test", "tests", "testing", "idlelib", "lib2to3"}
_COPIES = {"_vendor", "vendor", "vendored"}
# Parsing is the cost of this reader; a file with little in quotes is not worth it.
_MIN_QUOTED_SHARE = 0.15
_Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def pieces(config: SourceConfig) -> list[Piece]:
    """Divide Python files into pieces: the language reference, and one per top-level package.

    Args:
        config: ``path`` is a directory of Python files; left empty, the running installation:
            the language reference, then the standard library, then the installed packages.

    Returns:
        The pieces, in that order; modules that are in no package come before the packages.

    Raises:
        PipeError: ``path`` is given and is not a directory.
    """
    if config.path and not Path(config.path).expanduser().is_dir():
        raise PipeError(
            f"{config.path} (source {config.name!r}) is not a directory; expected a directory of "
            "Python files, or no path for the running installation."
        )
    roots = [Path(config.path).expanduser()] if config.path else installation_roots()
    found = [] if config.path else [Piece(TOPICS, str(roots[0]))]
    for root in roots:
        _, directories, _ = next(os.walk(root), ("", [], []))
        packages = [name for name in _packages(directories) if not (root / name).is_symlink()]
        found += [Piece(name, str(root)) for name in ("", *packages)]
    return found


def read(_config: SourceConfig, piece: Piece) -> Finds:
    """Read the prose of Python source files.

    Args:
        piece: The language reference, the modules of a root, or one of its packages.

    Yields:
        Document id (``module:qualified.name``, for example ``json.decoder:JSONDecoder``) and
        text, module by module in a fixed order; without tests, parameter lists, examples and
        code, and only where running English prose is left.
    """
    root = Path(piece.path)
    if piece.name == TOPICS:
        yield from _topics(root)
        return
    for path in _python_files(root, piece.name):
        yield from _file_prose(path, _module_name(path.relative_to(root)))


def installation_roots() -> list[Path]:
    """Find where the running Python keeps its modules.

    Returns:
        The directory of the standard library, then those of installed packages, each once.
    """
    paths = sysconfig.get_paths()
    return [
        Path(root) for root in dict.fromkeys(paths[k] for k in ("stdlib", "purelib", "platlib"))
    ]


def _python_files(root: Path, package: str) -> Iterator[Path]:
    """Walk the modules of a package, or those of the root that are in none; always in one order."""
    for directory, subdirectories, files in os.walk(root / package):
        subdirectories[:] = _packages(subdirectories) if package else []
        for name in sorted(files):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122, many thousand names
            if suffix == ".py" and stem.isidentifier() and not _is_test(stem):
                yield Path(directory, name)


def _packages(names: list[str]) -> list[str]:
    return sorted(
        name
        for name in names
        if name.isidentifier() and name not in _SKIPPED and name not in _COPIES
    )


def _is_test(stem: str) -> bool:
    return stem.startswith("test_") or stem.endswith("_test") or stem == "conftest"


def _module_name(relative: Path) -> str:
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _file_prose(path: Path, module: str) -> Iterator[Found]:
    try:
        source = path.read_bytes()
    except OSError:
        return
    quoted = sum(map(len, source.split(b'"""')[1::2]))
    if quoted < _MIN_QUOTED_SHARE * len(source):
        return
    tree = _parse(source)
    if tree is None:
        return
    for name, docstring in _docstrings(tree):
        prose = prose_of(cleandoc(docstring))
        if prose is not None:
            yield Found(f"{module}:{name}" if name else module, prose)


def _parse(source: bytes) -> ast.Module | None:
    """Parse a file; None if it is not Python of this version (templates, test data)."""
    with warnings.catch_warnings(), _collection_paused():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Pause the cycle collector: a syntax tree is many objects and none of them garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield qualified names and raw docstrings; the module's own has the empty name."""
    if text := ast.get_docstring(tree, clean=False):
        yield "", text
    waiting = [("", tree.body)]
    while waiting:
        prefix, body = waiting.pop()
        for node in body:
            if isinstance(node, _Documented):
                name = prefix + node.name
                if text := ast.get_docstring(node, clean=False):
                    yield name, text
                if isinstance(node, ast.ClassDef):
                    waiting.append((f"{name}.", node.body))


def _topics(stdlib: Path) -> Iterator[Found]:
    """Yield the chapters of the language reference: one dict of strings in a module."""
    path = stdlib / "pydoc_data" / "topics.py"
    tree = _parse(path.read_bytes()) if path.is_file() else None
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(node.value)
            for name in sorted(topics):
                prose = prose_of(cleandoc(topics[name]))
                if prose is not None:
                    yield Found(f"{TOPICS}:{name}", prose)
