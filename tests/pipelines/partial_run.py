"""A run whose store holds some shards, as it does while teachers are still encoding."""

import json
from pathlib import Path

from click.testing import CliRunner

from data_prep.corpus import Corpus
from pipelines.cli import cli
from pipelines.recipe import load_recipe
from student.places import Places
from teacher_cache.encoders import load_encoder
from teacher_cache.store import TeacherStore
from tests.pipelines.tiny_run import write_inputs

SIZE = 64
"""Rows of a shard."""


def prepare(root: Path) -> tuple[Path, Path]:
    """Write a recipe with more shards and fewer steps than the tiny one, and make its corpus.

    Returns the paths of the recipe and of the corpus.
    """
    recipe = write_inputs(root, documents=250)
    text = recipe.read_text()
    for key, old, new in (
        ("batch_size", 32, 16),
        ("steps", 20, 4),
        ("log_every", 5, 2),
        ("save_every", 5, 2),
    ):
        assert f"{key} = {old}\n" in text
        text = text.replace(f"{key} = {old}\n", f"{key} = {new}\n")
    recipe.write_text(text)
    done = CliRunner().invoke(cli, ["prep", "--run", str(root / "run"), "--recipe", str(recipe)])
    assert done.exit_code == 0, done.output
    return recipe, root / "run" / "corpus"


class Partial:
    """A run whose store holds some shards."""

    def __init__(self, directory: Path, recipe: Path, corpus: Path) -> None:
        self.options = ["--run", str(directory), "--recipe", str(recipe)]
        self.directory = directory
        self.places = Places(directory / "student")
        self.teachers = load_recipe(str(recipe)).teachers
        directory.mkdir(parents=True)
        (directory / "corpus").symlink_to(corpus)
        self.corpus = Corpus.open(corpus)
        assert 0 < self.corpus.held_out_rows < SIZE
        assert self.corpus.num_shards > 6
        self.store = TeacherStore.create(directory / "store", self.corpus)
        for teacher in self.teachers:
            self.store.add_teacher(teacher)

    def come(self, shards: dict[str, list[int]] | None = None) -> "Partial":
        """Encode some shards; all of them if None."""
        for teacher in self.teachers:
            encoder = load_encoder(teacher)
            wanted = range(self.corpus.num_shards) if shards is None else shards[teacher.name]
            for shard in wanted:
                vectors = encoder.encode(*self.corpus.texts(shard))
                digest = self.corpus.text_digest(shard)
                self.store.write_shard(teacher.name, shard, vectors, digest)
        return self

    def pipe(self, command: str, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, [command, *self.options, *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    def distill(self, *arguments: str) -> str:
        code, output = self.pipe("distill", *arguments)
        assert code == 0, output
        return output

    def record(self, number: int) -> dict:
        return json.loads(self.places.identity(number).read_text())

    def final(self, number: int) -> dict[str, bytes]:
        final = self.places.final(number)
        return {path.name: path.read_bytes() for path in final.rglob("*.safetensors")}
