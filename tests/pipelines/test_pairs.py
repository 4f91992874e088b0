"""``pipe prep`` makes the pairs of a recipe that has some."""

from pathlib import Path

from click.testing import CliRunner

from data_prep.pairs.corpus import PairCorpus
from pipelines.cli import cli
from pipelines.run import Run

PAIRS = """
[pairs]
pairs = 120
held_out = 20
rows_per_shard = 64

[[pairs.sources]]
name = "shapes"
format = "shapes"
image_size = 32
"""


def prep(recipe: Path, directory: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        cli, ["prep", "--recipe", str(recipe), "--run", str(directory), *options]
    )
    return done.exit_code, done.output


def test_prep_makes_the_pairs(inputs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(inputs.read_text() + PAIRS)
    code, output = prep(recipe, tmp_path / "run")
    assert code == 0, output
    run = Run.open(tmp_path / "run", None, ())
    corpus = PairCorpus.open(run.pairs)
    assert (corpus.rows, corpus.held_out_rows) == (120, 20)
    assert run.recipe.pairs is not None
    code, output = prep(recipe, tmp_path / "run")
    assert code == 0
    assert "the pairs stand" in output
    code, output = prep(recipe, tmp_path / "run", "--set", "pairs.held_out=10")
    assert code == 1
    assert "held_out changed from 20 to 10" in output
    # The run keeps the recipe that its pairs were made with.
    assert Run.open(tmp_path / "run", None, ()).recipe.pairs == run.recipe.pairs


def test_a_recipe_without_pairs_has_none(inputs: Path, tmp_path: Path) -> None:
    code, output = prep(inputs, tmp_path / "run")
    assert code == 0, output
    assert not (tmp_path / "run" / "pairs").exists()


def test_a_wrong_key_is_told(inputs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(inputs.read_text() + PAIRS.replace("image_size", "image_side"))
    code, output = prep(recipe, tmp_path / "run")
    assert code == 2
    assert "unknown key pairs.sources.0.image_side (did you mean 'image_size'?)" in output
