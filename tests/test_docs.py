"""What the documents say exists and runs."""

import re
import subprocess
import sys

import click
import pytest

from pipelines.cli import _COMMANDS, cli
from tests.doc_pages import PAGES, ROOT, commands

TEXT = "\n".join(page.read_text() for page in PAGES)
COMMANDS = list(commands(cli))


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=str)
def test_every_command_and_option_has_help_and_stands_in_the_docs(path, command):
    assert command.help
    for option in command.params:
        if isinstance(option, click.Argument):
            assert option.human_readable_name in command.help
        else:
            assert getattr(option, "help", None), option
    if not isinstance(command, click.Group):
        assert " ".join(path) in TEXT
        assert f"{' '.join(path)}" in command.help


def test_the_table_of_commands_says_what_the_commands_say():
    context = click.Context(cli)
    for name, (_, told) in _COMMANDS.items():
        assert cli.get_command(context, name).get_short_help_str(limit=200) == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_pipe_command_in_the_docs_exists(page):
    known = {" ".join(path) for path, _ in COMMANDS}
    for found in re.findall(
        r"pipe (store )?([a-z]+)", re.sub(r"\bpipe[sd]\b", "", page.read_text())
    ):
        assert f"pipe {found[0]}{found[1]}" in known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_plain_reader_in_the_docs_runs(finished, tmp_path):
    directory, _ = finished
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "store-format.md").read_text(), re.S
    )
    script = tmp_path / "reader.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), str(directory / "store")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dummy 0 (64, 24) float16" in done.stdout
    assert len(done.stdout.splitlines()) == 10
