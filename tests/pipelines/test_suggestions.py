"""A command that a sentence names works where the user works."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.commands.options import run_option
from pipelines.report_page.gather import gather
from pipelines.run import Run
from pipelines.status import status
from pipelines.suggestions import in_run, with_run


@click.command()
@run_option
@click.argument("text")
def _say(directory: Path, text: str) -> None:
    click.echo(with_run(text), nl=False)


def said(text: str, *options: str, **environment: str) -> str:
    done = CliRunner().invoke(_say, [*options, text], env=environment, catch_exceptions=False)
    return done.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run `pipe teach --teacher a`.", "run `pipe teach --teacher a --run r`."),
        (
            "`pipe store repair` and `pipe teach`",
            "`pipe store repair --run r` and `pipe teach --run r`",
        ),
        ("`pipe prep --run other`", "`pipe prep --run other`"),
        ("`pipe store push` there", "`pipe store push` there"),
        ("`pipe teachers`, `pipelines`, `pip`", "`pipe teachers`, `pipelines`, `pip`"),
        ("pipe teach", "pipe teach"),
    ],
)
def test_commands_carry_the_run_that_was_given(text, expected):
    assert said(text, "--run", "r") == expected
    assert said(text) == said(text, PIPE_RUN="r") == text


def test_a_directory_is_quoted():
    assert said("`pipe eval`", "--run", "my run") == "`pipe eval --run 'my run'`"
    assert in_run("pipe eval", Path("my run")) == "pipe eval --run 'my run'"
    assert in_run("pipe eval", Path("run/demo")) == "pipe eval --run run/demo"


def test_what_status_names_next_is_quoted(inputs, tmp_path):
    run = tmp_path / "my run"
    opened = Run.open(run, str(inputs), ())
    lines = [line for line in status(opened) if line.open]
    assert lines
    assert all(f" --run '{run}'" in line.command for line in lines)
    notes = [note for note in gather(opened).notes if " --run " in note]
    assert notes
    assert all(f" --run '{run}'" in note for note in notes)


def test_without_a_command_nothing_changes():
    assert with_run("`pipe eval`") == "`pipe eval`"


def test_errors_of_the_rooms_below_carry_it(inputs, tmp_path):
    options = ["--recipe", str(inputs), "--run", str(tmp_path / "r")]
    for command, named in (
        (["teach"], "`pipe prep --run"),
        (["eval"], "`pipe distill --stage 1 --run"),
        (["export"], "`pipe distill --stage 1 --run"),
        (["store", "info"], "--run"),
    ):
        done = CliRunner().invoke(cli, [*command, *options])
        assert done.exit_code != 0
        assert named in done.output
        assert str(tmp_path / "r") in done.output
