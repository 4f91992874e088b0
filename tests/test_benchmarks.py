"""Every benchmark makes a smoke run and ends with one JSON object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = sorted(
    path.stem
    for path in (Path(__file__).parents[1] / "benchmarks").glob("*.py")
    if "def main" in path.read_text()
)

# What a smoke run needs on a machine without a GPU.
FLAGS = {"teach_gpu": ["--tiny"]}


@pytest.mark.parametrize("name", MODULES)
def test_quick_run(name):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", *FLAGS.get(name, [])],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["machine"]["torch"]
    assert any("vs_" in name for name in figures)
