"""A stage that reads its pooled states trains as one that computes them."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from data_prep.corpus import Corpus
from pipelines.cli import cli
from pipelines.recipe import load_recipe
from student.encode import StudentEncoder
from student.places import Places
from student.start import load_start
from teacher_cache.encoders import load_encoder
from teacher_cache.linear_head import LinearHead
from teacher_cache.store import TeacherStore

CACHED = "stages.0.cache_pooled=true"


def heads(places):
    return load_file(places.final(1) / "heads.safetensors")


@pytest.mark.parametrize("init", ["random", "least_squares"])
def test_it_ends_with_the_same_weights(distill, init):
    init = f"stages.0.init={init}"
    assert distill(init)[0] == 0
    computed = heads(distill.places)
    shutil.rmtree(distill.places.stage(1))
    code, output = distill(init, CACHED)
    assert code == 0, output
    assert "pooled states of" in output
    for name, weights in heads(distill.places).items():
        np.testing.assert_allclose(weights, computed[name], atol=1e-5)
    assert not distill.places.pooled(1).exists()


def test_a_reader_process_gives_the_same_training(distill):
    assert distill(CACHED)[0] == 0
    in_line = heads(distill.places)
    shutil.rmtree(distill.places.stage(1))
    assert distill(CACHED, "training.readers=1")[0] == 0
    for name, weights in heads(distill.places).items():
        np.testing.assert_array_equal(weights, in_line[name])


def test_killed_while_computing_and_resumed(distill, monkeypatch):
    assert distill(CACHED)[0] == 0
    whole = heads(distill.places)
    shutil.rmtree(distill.places.stage(1))
    encode, calls = StudentEncoder.encode, []

    def killed(self, texts, roles):
        calls.append(len(texts))
        if len(calls) == 3:
            raise SystemExit(9)
        return encode(self, texts, roles)

    monkeypatch.setattr(StudentEncoder, "encode", killed)
    assert distill(CACHED)[0] == 9
    assert len(list(distill.places.pooled(1).glob("*/*.npy"))) == 2
    code, output = distill(CACHED)
    assert code == 0, output
    assert len(calls) - 3 == _shards_to_compute(output) > 0
    for name, weights in heads(distill.places).items():
        np.testing.assert_array_equal(weights, whole[name])


def _shards_to_compute(output):
    (line,) = [line for line in output.splitlines() if "shards to compute" in line]
    return int(line.split("; ")[1].split()[0])


@pytest.mark.parametrize(
    ("sets", "found"),
    [
        ((CACHED, 'stages.0.trainable=["heads.fc1", "text.layers[-1:]"]'), "nothing under text"),
        ((CACHED, "student.dropout=0.1"), "student.dropout"),
        (("stages.0.pooled_from=dummy",), "factored"),
        (("stages.0.pooled_from=absent",), "dummy, second"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused_and_may_be_mended(distill, sets, found):
    code, output = distill(*sets)
    assert code == 1
    assert found in output
    assert distill()[0] == 0


def test_the_plan_says_what_it_takes(distill):
    def plan(*sets):
        options = ["--run", str(distill.places.root.parent), "--recipe", distill.recipe, "--json"]
        done = CliRunner().invoke(cli, ["plan", *options, *(f"--set={one}" for one in sets)])
        stages = json.loads(done.stdout)["stages"]
        return [(stage["pooled_rows"], stage["pooled_bytes"]) for stage in stages]

    assert plan(CACHED, "stages.0.steps=3") == [(96, None), (0, None), (0, None)]
    assert distill()[0] == 0
    assert plan(CACHED, "stages.0.steps=3") == [(96, 96 * 32 * 4), (0, 0), (0, 0)]
    rows = Corpus.open(distill.places.root.parent / "corpus").rows
    assert plan(CACHED)[0] == (rows, rows * 32 * 4)


def test_both_are_refused(distill):
    code, output = distill(CACHED, "stages.0.pooled_from=dummy")
    assert code == 2
    assert "expected one of them" in output


def test_the_stage_before_cannot_be_anothers(distill):
    assert distill()[0] == 0
    changed = 'stages.1.trainable=["heads.fc1"]'
    code, output = distill(changed, "stages.1.pooled_from=dummy", stage=2)
    assert code == 1
    assert "stage 1 alone" in output
    assert distill(changed, "stages.1.cache_pooled=true", stage=2)[0] == 0
    assert json.loads(distill.places.identity(2).read_text())["stages"][1]["cache_pooled"]


@pytest.fixture
def factored(taught, tmp_path):
    """A run whose first teacher is the student's start under a layer, stored as its states."""
    recipe, run = taught
    own = tmp_path / "factored.toml"
    extra = 'kind = "dummy-factored"\nmodel = "start"\nmax_tokens = 64\nstorage = "factored"\n'
    text = recipe.read_text().replace('name = "dummy"\n', f'name = "dummy"\n{extra}', 1)
    own.write_text(text)
    directory = tmp_path / "factored"
    directory.mkdir()
    (directory / "corpus").symlink_to(run / "corpus")
    corpus = Corpus.open(directory / "corpus")
    store = TeacherStore.create(directory / "store", corpus)
    recipe_read = load_recipe(str(own))
    dummy, second = recipe_read.teachers
    start = StudentEncoder(load_start(recipe_read.student), normalize=False)
    rng = np.random.default_rng(0)
    layer = LinearHead(rng.standard_normal((dummy.dim, start.dim), np.float32))
    store.add_teacher(dummy, layer)
    store.add_teacher(second)
    other = load_encoder(second)
    for shard in range(corpus.num_shards):
        texts, digest = corpus.texts(shard), corpus.text_digest(shard)
        store.write_shard("dummy", shard, start.encode(*texts), digest)
        store.write_shard("second", shard, other.encode(*texts), digest)

    def call(*sets):
        arguments = ["distill", "--run", str(directory), "--recipe", str(own), "--stage", "1"]
        done = CliRunner().invoke(cli, [*arguments, *(f"--set={one}" for one in sets)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    call.places = Places(directory / "student")
    return call


@pytest.mark.parametrize("init", ["random", "least_squares"])
def test_a_teachers_stored_states_are_the_students(factored, init):
    init = f"stages.0.init={init}"
    assert factored(init)[0] == 0
    computed = heads(factored.places)
    shutil.rmtree(factored.places.stage(1))
    code, output = factored(init, "stages.0.pooled_from=dummy")
    assert code == 0, output
    for name, weights in heads(factored.places).items():
        # The store rounds to float16.
        np.testing.assert_allclose(weights, computed[name], atol=2e-2)


def test_another_teachers_states_are_not(factored):
    code, output = factored("stages.0.pooled_from=dummy", "student.max_tokens=4")
    assert code == 1
    assert re.search(r"a cosine of 0\.\d+ to the stored states of teacher dummy", output), output
    assert factored("stages.0.pooled_from=dummy")[0] == 0


def test_a_teacher_that_keeps_vectors_has_no_states(factored):
    code, output = factored("stages.0.pooled_from=second")
    assert code == 1
    assert "the storage 'float16' of teacher second" in output
