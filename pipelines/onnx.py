"""ONNX beside an exported student, through sentence-transformers' own backend, and checked.

The library that writes it (optimum-onnx) keeps to releases of transformers that are older than the
ones this project needs, so a Python of another environment may do it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import sync, write_json
from pipelines.export import Exported
from pipelines.report import say
from pipelines.run import Run
from student.encode import StudentEncoder, head_vectors
from student.export import dense_directory
from student.model import Student

CHECKED_TEXTS = 64
LARGEST_DIFFERENCE = 1e-4
"""Of any number of a unit vector, between the student in torch and its ONNX."""

_SCRIPT = Path(__file__).with_name("onnx_convert.py")
_LOOK = "import importlib.util as u, sys; sys.exit(not (u.find_spec('optimum') and "
_LOOK += "u.find_spec('optimum.onnxruntime')))"
_REMEDY = (
    "make an environment of its own with `python3 -m venv .venv-onnx` and "
    "`.venv-onnx/bin/pip install 'sentence-transformers[onnx]'`, and name it with "
    "--onnx-python .venv-onnx/bin/python"
)


@dataclass(frozen=True)
class CheckedOnnx:
    """An ONNX file that gives the student's vectors.

    Attributes:
        file: Where it is.
        texts: How many texts were compared.
        difference: By head, the largest difference between two numbers of a unit vector.
    """

    file: Path
    texts: int
    difference: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {"file": str(self.file), "texts": self.texts, "difference": self.difference}

    def as_text(self) -> str:
        """The same for people."""
        most = max(self.difference.values())
        return (
            f"{self.file}: {most:.1e} at most from torch, on {self.texts} texts and "
            f"{len(self.difference)} heads"
        )


def add_onnx(run: Run, exported: Exported, python: Path) -> CheckedOnnx:
    """Write ``onnx/model.onnx`` into an export, if it gives the student's vectors.

    Args:
        run: The run; texts of its corpus are compared.
        exported: The export of the text side.
        python: The Python of an environment with ``sentence-transformers[onnx]``.

    Returns:
        Where it is, and how far its vectors are from torch's.

    Raises:
        PipeError: That environment lacks the library, the backbone cannot be converted, or its
            vectors are others. The export is then as it was before.
    """
    if subprocess.run([python, "-I", "-c", _LOOK], check=False).returncode:  # noqa: S603
        raise PipeError(
            f"{exported.directory} is whole, and found no optimum-onnx beside {python}, expected "
            f"it to write ONNX; {_REMEDY}."
        )
    student = Student.load(run.students.final(exported.stage))
    corpus = Corpus.open(run.corpus)
    texts, roles = corpus.take(np.arange(min(corpus.rows, CHECKED_TEXTS)))
    heads = {name: dense_directory(student, name) for name, _ in student.named_heads()}
    say("converting the student to ONNX")
    place = exported.directory
    with _emptied(place.with_name(f".{place.name}.onnx")) as work:
        found = other_vectors(exported.directory, work, python, "onnx", texts, roles, heads)
        difference = largest_differences(student, texts, roles, found)
        most = max(difference.values())
        if not most <= LARGEST_DIFFERENCE:
            raise PipeError(
                f"{exported.directory} is whole, and its ONNX gives vectors that are {most:.1e} "
                f"from the student's, expected {LARGEST_DIFFERENCE:.0e} at most; it was not kept, "
                "so use the student through torch."
            )
        made = work / "converted" / "onnx"
        for path in (*made.iterdir(), made):
            sync(path)
        made.rename(exported.directory / "onnx")
    return CheckedOnnx(exported.directory / "onnx" / "model.onnx", len(texts), difference)


def other_vectors(
    directory: Path,
    work: Path,
    python: Path,
    backend: str,
    texts: list[str],
    roles: list[str],
    heads: dict[str, str],
) -> dict[str, np.ndarray]:
    """Encode with an export in another environment.

    Args:
        directory: The export.
        work: An empty directory; ``converted/onnx`` in it then holds what was converted.
        python: The environment's Python.
        backend: ``onnx``, which converts, or ``torch``.
        texts: n texts.
        roles: "passage" or "question" for each.
        heads: Directories of the heads in the export, by name.

    Returns:
        By head (n, D) float32 unit rows.

    Raises:
        PipeError: It does not load or cannot be converted there.
    """
    write_json(work / "texts.json", {"texts": texts, "roles": roles, "heads": heads})
    done = subprocess.run(  # noqa: S603
        [python, "-I", _SCRIPT, directory.absolute(), work.absolute(), backend],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
        raise PipeError(
            f"{directory} is whole, and sentence-transformers beside {python} cannot use it with "
            f"the backend {backend} ({said[-1].strip()}); decoders such as Qwen2 are known for "
            "it, use those through torch."
        )
    return {head: np.load(work / f"{head}.npy", allow_pickle=False) for head in heads}


def largest_differences(
    student: Student, texts: list[str], roles: list[str], found: dict[str, np.ndarray]
) -> dict[str, float]:
    """Compare vectors with the student's own.

    Args:
        student: The student.
        texts: n texts.
        roles: "passage" or "question" for each.
        found: By head (n, D) unit rows.

    Returns:
        By head the largest difference between two numbers.
    """
    states_NH = StudentEncoder(student, head=None, normalize=False).encode(texts, roles)
    return {
        head: float(np.abs(head_vectors(student, states_NH, head) - vectors_ND).max())
        for head, vectors_ND in found.items()
    }


@contextmanager
def _emptied(path: Path) -> Iterator[Path]:
    """Make a directory for as long as the block runs; what a killed process left goes first."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
