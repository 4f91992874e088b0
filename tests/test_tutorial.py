"""The tutorial, followed literally: its commands in order, in a directory with the documents."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_pages import ROOT, blocks

PAGE = ROOT / "docs" / "tutorial.md"


def environment(bin_directory: Path) -> dict[str, str]:
    """What `make setup` and activating give: `pipe` and `python` of this project."""
    bin_directory.mkdir()
    for name, call in (("pipe", "-m pipelines "), ("python", "")):
        script = bin_directory / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {call}"$@"\n')
        script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def test_setting_up_is_the_first_block_and_a_target():
    first, *others = blocks(PAGE, "sh")
    assert "make setup\n" in re.sub(r" *#.*", "", first.code)
    assert not any("make " in block.code for block in others)


@pytest.mark.slow
def test_the_tutorial_can_be_followed(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    script = "\n".join(block.code for block in blocks(PAGE, "sh")[1:])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path / "bin"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "mine" / "export" / "modules.json").exists()
    found = re.findall(r"^(0\.\d+)  .+", done.stdout, re.M)
    assert len(found) == 3
    assert float(found[0]) > 0.3
