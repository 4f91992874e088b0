"""A stage is trained on the corpus's texts and the recipe's teachers, or not at all."""

import json
import shutil

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from teacher_cache.store import TeacherStore
from tests.pipelines.partial_run import Partial, prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def run(prepared, tmp_path):
    """A run with a corpus of its own and every vector."""
    recipe, corpus = prepared
    own = shutil.copytree(corpus, tmp_path / "corpus")
    return Partial(tmp_path / "run", recipe, own).come()


def refused(run, command, *arguments):
    code, output = run.pipe(command, *arguments)
    assert code == 1, output
    return output


@pytest.mark.parametrize("readers", [0, 1])
def test_texts_of_another_shard_are_refused(run, readers):
    one, two = (run.corpus.shard_path(shard) for shard in (1, 2))
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    output = refused(run, "distill", "--stage", "1", f"--set=training.readers={readers}")
    assert "does not hold the texts that the manifest records" in output
    assert not run.places.finished(1)


def test_evaluating_refuses_changed_texts(run):
    run.distill("--stage", "1", "--set=stages.0.steps=1")
    run.corpus.shard_path(0).write_bytes(run.corpus.shard_path(1).read_bytes())
    output = refused(run, "eval", "--set=stages.0.steps=1")
    assert "spans-00000.parquet does not hold the texts" in output


@pytest.mark.parametrize("readers", [0, 1])
def test_what_reads_compares_the_store_with_the_corpus(run, readers, monkeypatch):
    # The store of the stage is opened before this; a reader opens its own.
    opened = []
    plain = TeacherStore._check_commits

    def others(store, entry, corpus):
        opened.append(corpus)
        if len(opened) > len(run.teachers) and corpus is not None:
            digests = ("0" * 64,) * corpus.num_shards
            manifest = corpus.manifest.model_copy(update={"text_digests": digests})
            corpus = type(corpus)(corpus.directory, manifest)
        plain(store, entry, corpus)

    monkeypatch.setattr(TeacherStore, "_check_commits", others)
    output = refused(run, "distill", "--stage", "1", f"--set=training.readers={readers}")
    assert "were made from texts with digest" in output


CHANGES = {
    "prompts": ('teachers.1.prompts.question="seek: "', '"find: " to "seek: "'),
    "max_tokens": ("teachers.1.max_tokens=32", "max_tokens changed from 64 to 32"),
    "storage": ("teachers.1.storage=int8", 'storage changed from (absent) to "int8"'),
}


@pytest.mark.parametrize("name", CHANGES)
def test_vectors_of_a_teacher_with_other_settings_are_refused(run, name):
    change, sentence = CHANGES[name]
    run.options += ["--set=stages.0.steps=1"]
    kept = run.directory / "recipe.toml"

    output = refused(run, "distill", "--stage", "1", f"--set={change}")
    assert "the vectors of teacher second in the store" in output
    assert sentence in output
    assert "put the old settings back" in output
    assert not run.places.identity(1).exists()

    run.distill("--stage", "1")
    recorded = kept.read_text()
    assert sentence in refused(run, "distill", "--stage", "1", f"--set={change}")
    assert sentence in refused(run, "eval", f"--set={change}")
    assert kept.read_text() == recorded


def test_a_store_elsewhere_of_other_teachers_is_refused(run, prepared, tmp_path):
    recipe, _ = prepared
    other = tmp_path / "other.toml"
    other.write_text(recipe.read_text().replace('"find: "', '"seek: "'))
    elsewhere = Partial(tmp_path / "elsewhere", other, run.corpus.directory).come()
    arguments = ("--stage", "1", "--store", str(elsewhere.directory))
    assert '"seek: " to "find: "' in refused(run, "distill", *arguments)


def test_settings_that_touch_no_vector_may_change(run):
    run.distill("--stage", "1", "--set=stages.0.steps=1")
    run.distill("--stage", "1", "--set=stages.0.steps=1", "--set=teachers.1.license=other")


def test_used_are_the_teachers_in_the_target(run):
    arguments = ["store", "verify", *run.options, "--used", "--json", "--set=teachers.1.weight=0"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["checked"]["teachers"] == ["dummy"]
