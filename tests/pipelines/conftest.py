"""A run that was taught, and copies of it to train."""

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from student.places import Places
from tests.pipelines.tiny_run import write_inputs


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run with corpus and store, of which each test trains a copy."""
    root = tmp_path_factory.mktemp("taught")
    recipe = write_inputs(root / "inputs")
    for command in ("prep", "teach"):
        done = CliRunner().invoke(
            cli, [command, "--run", str(root / "run"), "--recipe", str(recipe)]
        )
        assert done.exit_code == 0, done.output
    return recipe, root / "run"


@pytest.fixture
def distill(taught, tmp_path):
    recipe, run = taught
    directory = tmp_path / "run"
    directory.mkdir()
    for part in ("corpus", "store"):
        (directory / part).symlink_to(run / part)

    def call(*sets, stage=1):
        arguments = ["distill", "--run", str(directory), "--recipe", str(recipe)]
        arguments += ["--stage", str(stage)]
        for one in sets:
            arguments += ["--set", one]
        done = CliRunner().invoke(cli, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    call.places = Places(directory / "student")
    call.recipe = str(recipe)
    return call
