"""One finished tiny run, shared by the tests that only read it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from tests.pipelines.tiny_run import write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of the tiny run."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run's directory and what it printed."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    done = CliRunner().invoke(cli, ["run", "--recipe", str(inputs), "--run", str(directory)])
    assert done.exit_code == 0, done.output
    return directory, done.output
