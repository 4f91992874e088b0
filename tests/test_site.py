"""The documentation as a site: it builds, it is complete, and it needs no network."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from docs.recipe_reference import sections
from pipelines.cli import cli
from tests.doc_pages import ROOT, commands


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a link or an anchor that leads nowhere stops it."""
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory


def test_every_key_of_the_recipe_is_explained():
    for section in sections():
        assert section.summary, section.path
        for key in section.keys:
            assert len(key.meaning) > 10, key.path
            assert key.kind
            assert key.default


def test_every_key_of_the_recipe_stands_on_its_page(site):
    page = (site / "reference" / "recipe.html").read_text()
    for section in sections():
        for key in section.keys:
            assert f'id="{key.path}"' in page, key.path


def test_the_keys_show_what_the_shipped_recipes_set():
    keys = {key.path: key for section in sections() for key in section.keys}
    assert keys["stages.steps"].examples == {"jasper": "4_000", "laptop": "100"}
    assert keys["corpus.sources.role"].examples == {"jasper": '"question"'}
    assert keys["stages.warmup_fraction"].default == "`0.05`"
    assert keys["teachers.dim"].default == "**required**"
    assert "a multiple of 64" in keys["corpus.rows_per_shard"].kind


def test_every_command_and_option_stands_on_its_page(site):
    page = html.unescape((site / "reference" / "commands.html").read_text())
    for path, command in commands(cli):
        assert f'id="{"-".join(path)}"' in page
        if isinstance(command, click.Group):
            continue
        text = re.search(rf'id="{"-".join(path)}".*?(?=<h[1-6]|</article)', page, re.S).group()
        for option in command.params:
            names = option.opts if isinstance(option, click.Option) else [option.make_metavar(None)]
            assert any(name in text for name in names), (path, option.name)


def test_the_examples_of_a_command_keep_their_lines(site):
    page = html.unescape((site / "reference" / "commands.html").read_text())
    assert re.search(r"<pre><code>pipe plan --recipe jasper\npipe plan --run r[^<]*</code>", page)


def test_the_site_loads_nothing_from_elsewhere(site):
    loading = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        assert not loading.findall(page.read_text()), page.name
