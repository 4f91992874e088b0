"""The tutorial, followed literally: its commands in order, in a directory with the documents."""

import re
import shutil
import subprocess

import pytest

from tests.doc_pages import ROOT, activated, blocks

PAGE = ROOT / "docs" / "tutorial.md"


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
        env=activated(tmp_path / "bin"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "mine" / "export" / "modules.json").exists()
    found = re.findall(r"^(0\.\d+)  .+", done.stdout, re.M)
    assert len(found) == 3
    assert float(found[0]) > 0.3
