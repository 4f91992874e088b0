"""``pipe prep`` ends with a table, ``pipe corpus show`` shows rows, and ``--on-error`` decides."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from data_prep.corpus import Corpus
from pipelines.cli import cli
from tests.pipelines.tiny_run import write_inputs


def call(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("prepared")
    recipe = write_inputs(root / "inputs")
    code, out, err = call("prep", "--run", root / "run", "--recipe", recipe, "--workers", 1)
    assert code == 0, err
    return root / "run", out


def test_the_table(prepared: tuple[Path, str]) -> None:
    run, out = prepared
    corpus = Corpus.open(run / "corpus")
    lines = out.splitlines()
    assert lines[0].split() == [
        "source", "role", "texts", "sentences", "characters", "tokens", "over", "512"
    ]  # fmt: skip
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    for source in corpus.manifest.sources:
        assert rows[source.name][2] == f"{source.spans:,}"
    assert any(line.startswith("left out: ") for line in lines)
    code, out, _ = call("prep", "--run", run, "--workers", 1, "--json")
    data = json.loads(out)
    assert code == 0
    assert sum(part["texts"] for part in data["parts"]) == data["rows"] == corpus.rows
    assert data["dropped"] == corpus.manifest.dropped


def shown(run: Path, *arguments: object) -> list[dict[str, object]]:
    code, out, err = call("corpus", "show", "--run", run, "--json", *arguments)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_rows_for_programs(prepared: tuple[Path, str]) -> None:
    run, _ = prepared
    corpus = Corpus.open(run / "corpus")
    assert [row["row"] for row in shown(run)] == list(range(10))
    rows = shown(run, "--rows", "5,0-1")
    assert [row["row"] for row in rows] == [5, 0, 1]
    assert [row["text"] for row in rows] == corpus.take([5, 0, 1])[0]
    name = corpus.manifest.sources[-1].name
    some = shown(run, "--source", name)
    assert len(some) == 10
    assert {row["source"] for row in some} == {name}
    numbers = [row["row"] for row in some]
    among = shown(run, "--source", name, "--rows", f"0-{numbers[3]}")
    assert [row["row"] for row in among] == numbers[:4]
    drawn = shown(run, "--source", name, "--random", 3, "--seed", 1)
    assert drawn == shown(run, "--source", name, "--random", 3, "--seed", 1)
    assert [row["source"] for row in drawn] == [name] * 3


def test_rows_for_people(prepared: tuple[Path, str]) -> None:
    run, _ = prepared
    code, out, _ = call("corpus", "show", "--run", run, "--rows", "0")
    (row,) = shown(run, "--rows", "0")
    assert code == 0
    first, text = out.splitlines()[:2]
    assert first.startswith(f"row 0  {row['source']}  {row['role']}  sentence")
    assert "held out" in first
    assert text == f"    {str(row['text']).splitlines()[0]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "x"], "expected numbers and ranges"),
        (["--rows", "999999"], "found row 999999, and the corpus has rows 0 to"),
        (["--source", "x"], "found source 'x', expected one of"),
        (["--rows", "1", "--random", "1"], "found --rows and --random"),
        (["--random", "0"], "0 is not in the range"),
    ],
)
def test_mistakes(prepared: tuple[Path, str], arguments: list[str], message: str) -> None:
    code, _, err = call("corpus", "show", "--run", prepared[0], *arguments)
    assert code == 2
    assert message in err


def test_on_error(tmp_path: Path) -> None:
    recipe = write_inputs(tmp_path / "inputs")
    lines = "".join(f'{{"text": "Text {number} of the source."}}\n' for number in range(300))
    (tmp_path / "dirty.jsonl").write_text(f"no JSON\n{lines}")
    options = ["--run", tmp_path / "run", "--recipe", recipe, "--workers", 1]
    options += ["--set", f"corpus.sources.0.path={tmp_path / 'dirty.jsonl'}"]
    options += ["--set", "corpus.sources.0.format=jsonl", "--set", "corpus.texts=200"]
    code, _, err = call("prep", *options)
    assert code == 1
    assert "dirty.jsonl, line 1: not JSON" in err
    code, out, err = call("prep", *options, "--on-error", "skip")
    assert code == 0, err
    assert "1 unreadable" in out
    assert f"listed in {tmp_path / 'run' / 'corpus' / 'unreadable.jsonl'}" in out
    (problem,) = (tmp_path / "run" / "corpus" / "unreadable.jsonl").read_text().splitlines()
    assert "line 1" in json.loads(problem)["problem"]
    assert call("prep", *options)[0] == 0
