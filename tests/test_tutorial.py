"""The tutorial, followed literally: its commands in order, in a directory with the documents."""

import re
import shutil
import subprocess

import pytest

from pipelines.recipe import load_recipe
from tests.doc_pages import ROOT, activated, blocks

PAGE = ROOT / "docs" / "tutorial.md"


def test_setting_up_is_the_first_block_and_a_target():
    first, *others = blocks(PAGE, "sh")
    assert "make setup\n" in re.sub(r" *#.*", "", first.code)
    assert not any("make " in block.code for block in others)


def test_its_files_are_a_recipe_and_a_program(tmp_path):
    code = "\n".join(block.code for block in blocks(PAGE, "sh"))
    files = dict(re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END$", code, re.S | re.M))
    assert sorted(files) == ["mine.toml", "search.py"]
    (tmp_path / "mine.toml").write_text(files["mine.toml"])
    assert load_recipe(str(tmp_path / "mine.toml")).target_width == 640
    compile(files["search.py"], "search.py", "exec")


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
