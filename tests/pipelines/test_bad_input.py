"""What a user can get wrong ends in a sentence and an exit code, and nothing is lost."""

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

from pipelines.cli import cli
from tests.pipelines.tiny_run import write_inputs


@pytest.fixture
def inputs(tmp_path):
    return write_inputs(tmp_path / "inputs")


@pytest.fixture
def pipe(inputs, tmp_path):
    """Run a command on one run; give exit code and output, which holds no traceback."""

    def run(command, *sets, options=(), recipe=True):
        arguments = [*command.split(), "--run", str(tmp_path / "run"), *options]
        if recipe:
            arguments += ["--recipe", str(inputs)]
        for one in sets:
            arguments += ["--set", one]
        done = CliRunner().invoke(cli, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def refused(outcome, *words, code=1):
    assert outcome[0] == code, outcome[1]
    for word in words:
        assert word in outcome[1]
    assert "error: " in outcome[1]


def test_a_missing_source(pipe):
    refused(pipe("prep", "corpus.sources.0.path=nowhere.jsonl"), "nowhere.jsonl")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{not json\n", ["documents.jsonl", "3", "JSON"]),
        (b'{"body": "x"}\n', ["'text'", "body"]),
        (b'{"text": "\xff\xfe"}\n', ["documents.jsonl", "UTF-8"]),
        (b'{"text": 7}\n', ["documents.jsonl", "3"]),
    ],
)
def test_a_bad_line(pipe, inputs, line, words):
    path = inputs.parent / "documents.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))
    refused(pipe("prep"), *words)


def test_an_empty_corpus(pipe, inputs):
    for name in ("documents", "questions"):
        (inputs.parent / f"{name}.jsonl").write_text('{"text": "  "}\n')
    refused(pipe("prep"))


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_teacher_that_gives_nan_or_zero(pipe, inputs, tmp_path, value):
    transformer = Transformer(str(inputs.parent / "start"))
    model = SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension())], device="cpu"
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.fill_(value)
    model.save(str(tmp_path / "bad"))
    teacher = [
        'teachers.1.kind="sentence-transformers"',
        f'teachers.1.model="{tmp_path / "bad"}"',
        "teachers.1.dim=32",
    ]
    assert pipe("prep", *teacher)[0] == 0
    refused(pipe("teach", *teacher), "second", "row")
    committed = list((tmp_path / "run" / "store" / "commits").glob("*/*.json"))
    assert {path.parent.name for path in committed} == {"dummy"}


def test_a_store_made_from_another_corpus(pipe, tmp_path):
    assert pipe("prep")[0] == 0
    assert pipe("teach", options=["--teacher", "dummy"])[0] == 0
    commits = sorted((tmp_path / "run" / "store" / "commits").rglob("*.json"))
    shutil.rmtree(tmp_path / "run" / "corpus")
    other = "corpus.seed=4"
    assert pipe("prep", other)[0] == 0
    refused(pipe("teach", other), "another corpus")
    refused(pipe("distill", other), "another corpus")
    assert sorted((tmp_path / "run" / "store" / "commits").rglob("*.json")) == commits


def test_a_corpus_asked_for_otherwise(pipe):
    assert pipe("prep")[0] == 0
    refused(pipe("prep", "corpus.seed=4"), "seed", "3", "4", "--run")


def test_a_teacher_whose_prompt_changed(pipe):
    assert pipe("prep")[0] == 0
    assert pipe("teach")[0] == 0
    changed = pipe("teach", 'teachers.1.prompts.question="seek: "')
    refused(changed, "prompts.question", "find: ", "seek: ")
    assert pipe("teach")[0] == 0


def test_stages_out_of_order_and_changed(pipe):
    refused(pipe("distill"), "corpus")
    assert pipe("prep")[0] == 0
    refused(pipe("distill"), "store")
    assert pipe("teach", options=["--teacher", "dummy"])[0] == 0
    refused(pipe("distill"), "second")
    assert pipe("teach")[0] == 0
    refused(pipe("distill", options=["--stage", "2"]), "stage 1", "pipe distill --stage 1")
    refused(pipe("distill", options=["--stage", "7"]), "stage 7", "1 to 3")
    refused(pipe("eval"), "pipe distill --stage 1")
    refused(pipe("export"), "pipe distill --stage 1")
    assert pipe("distill", options=["--stage", "1"])[0] == 0
    changed = pipe("distill", "stages.0.learning_rate=0.5", options=["--stage", "1"])
    refused(changed, "learning_rate", "0.01", "0.5")
    # A change of a later stage does not touch an earlier one.
    later = pipe("distill", "stages.2.learning_rate=0.5", options=["--stage", "1"])
    assert later[0] == 0


def test_a_misspelt_key_is_usage(pipe):
    refused(pipe("prep", "corpus.sed=1"), "corpus.sed", "'seed'", code=2)
    refused(pipe("prep", recipe=False), "--recipe", code=2)
    assert pipe("prep", options=["--nonsense"])[0] == 2
    refused(pipe("teach", options=["--teacher", "dumy"]), "'dumy'", "'dummy'", code=2)


def test_a_pattern_or_a_head_that_is_not_there(pipe):
    for command in ("prep", "teach"):
        assert pipe(command)[0] == 0
    refused(pipe("distill", 'stages.0.trainable=["heads.fc9"]'), "'heads.fc9'")


def test_a_head_that_cannot_have_a_cosine(pipe):
    for command in ("prep", "teach"):
        assert pipe(command)[0] == 0
    refused(pipe("distill", "student.heads.fc1=5"), "fc1", "5 wide", "32 wide")


def test_a_batch_larger_than_the_corpus(pipe):
    for command in ("prep", "teach"):
        assert pipe(command)[0] == 0
    refused(pipe("distill", "stages.0.batch_size=100000"), "100000", "batch_size")


def test_an_evaluation_set_that_is_not_there(pipe, tmp_path):
    assert pipe("prep")[0] == 0
    assert pipe("teach")[0] == 0
    assert pipe("distill")[0] == 0
    refused(pipe("eval", options=["--sets", str(tmp_path / "nowhere")]), "nowhere")


@contextmanager
def full_disk(bytes_per_file: int):
    """No file may grow further, as a full disk refuses."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize(("command", "limit"), [("prep", 512), ("teach", 2048), ("distill", 4096)])
def test_a_full_disk(pipe, command, limit):
    before = {"prep": [], "teach": ["prep"], "distill": ["prep", "teach"]}[command]
    for earlier in before:
        assert pipe(earlier)[0] == 0
    with full_disk(limit):
        done = pipe(command)
    refused(done, "File too large")
    # With room again the same command continues.
    assert pipe(command)[0] == 0


def test_a_broken_manifest_is_a_sentence(pipe, tmp_path):
    assert pipe("prep")[0] == 0
    manifest = Path(tmp_path / "run" / "corpus" / "manifest.json")
    manifest.write_text(json.dumps({"rows": "many"}))
    refused(pipe("teach"), "manifest.json")
