"""One finished tiny run, shared by the tests that only read it, and one S3 server."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from tests.pipelines.tiny_run import write_inputs
from tests.teacher_cache.s3_server import S3Server

LONG = (
    "tests/test_benchmarks.py",
    "pipelines/test_several_processes.py",
    "pipelines/test_kill.py",
    "teacher_cache/test_ray.py",
    "pipelines/test_images_stage.py",
    "pipelines/test_report.py",
    "pipelines/test_bad_input.py",
    "teacher_cache/test_tower_options.py",
    "student/test_isolation.py",
    "pipelines/test_torchrun.py",
    "tests/test_site.py",
    "data_prep/test_ray.py",
)
"""Files of many seconds and few tests. They begin first, so that none is left alone at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """Let files keep their order; pytest-xdist would begin those of the fewest tests last."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(LONG)))


def pytest_collection_finish() -> None:
    """Leave what was imported out of later collections of garbage: every training asks for one."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server of this machine, with the variables that lead every client to it."""
    with S3Server().running() as server:
        yield server
