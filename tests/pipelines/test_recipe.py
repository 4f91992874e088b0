"""Recipes: validation, overrides, and what a wrong one is told."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from data_prep.errors import PipeError, UsageError
from data_prep.settings_errors import PATTERNS
from pipelines.recipe import Recipe, built_in_recipes, load_recipe, save_recipe


@pytest.mark.parametrize("name", built_in_recipes())
def test_built_in_recipes_load_and_survive_a_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    save_recipe(recipe, tmp_path / "recipe.toml")
    assert load_recipe(str(tmp_path / "recipe.toml")) == recipe


def test_jasper_holds_the_papers_numbers():
    recipe = load_recipe("jasper")
    assert recipe.target_width == 12288
    assert (recipe.losses.cosine, recipe.losses.similarity) == (10, 200)
    assert (recipe.losses.relative_similarity, recipe.losses.margin) == (20, 0.015)
    assert [stage.steps for stage in recipe.stages] == [4000, 7000, 2200, 3500]
    assert [stage.learning_rate for stage in recipe.stages] == [1e-4, 8e-5, 7e-5, 1e-4]
    assert [stage.batch_size for stage in recipe.stages] == [128, 128, 128, 90]
    assert recipe.stages[3].trainable == ("vision.*",)
    assert recipe.student.vision.start == "google/siglip-so400m-patch14-384"
    assert (recipe.student.vision.pooler, recipe.student.vision.tokens) == ("adaptive", 300)
    assert recipe.corpus.texts == 8_000_000
    assert (recipe.corpus.cut_fraction, recipe.corpus.word_shuffle_fraction) == (0.3, 0.0008)
    assert (recipe.corpus.min_sentences, recipe.corpus.max_sentences) == (1, 10)
    assert [source.weight for source in recipe.corpus.sources] == [0.8, 0.2]


def test_overrides_change_values_of_every_type():
    recipe = load_recipe(
        "laptop",
        [
            "stages.0.steps=7",
            "corpus.cut_fraction=0.25",
            "student.heads.fc2=32",
            "training.precision=fp32",
            "student.layers=[0, 1]",
            'stages.1.trainable=["heads.fc1"]',
        ],
    )
    assert recipe.stages[0].steps == 7
    assert recipe.corpus.cut_fraction == 0.25
    assert recipe.student.heads["fc2"] == 32
    assert recipe.training.precision == "fp32"
    assert recipe.student.layers == (0, 1)
    assert recipe.stages[1].trainable == ("heads.fc1",)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.0.stepz=7", ["stages.0.stepz", "'steps'"]),
        ("corpus.sourcs=1", ["corpus.sourcs", "'sources'"]),
        ("corpus.sources.0.rol=question", ["corpus.sources.0.rol", "'role'"]),
        ("studnet.start=x", ["studnet", "'student'"]),
        ("stages.9.steps=1", ["'9'", "0 to 3"]),
        ("stages.0.steps", ["no '='"]),
        ("stages.0.steps=-1", ["stages.0.steps: found -1, expected more than 0"]),
        ("stages.0.steps=x", ["stages.0.steps: found 'x', expected a whole number"]),
        ("stages.0.name=-a", ["stages.0.name: found '-a', expected a name of letters, digits"]),
        ("stages.0.select=bst", ["expected 'last', 'best', or a step such as 'step:100'"]),
        ("stages=[]", ["stages: found 0 entries, expected 1 at least"]),
        ("stages.0=1", ["stages.0: found 1, expected a table"]),
        ('stages.0.heads.fc1=["cosin"]', ["stages.0.heads.fc1.0: found 'cosin'", "'cosine'?"]),
        ("student.heads.fc1=1.5", ["heads.fc1: found 1.5, expected a whole number or 'target'."]),
        ("student.heads.int=1.5", ["heads.int: found 1.5, expected a whole number or 'target'."]),
        ("stages.0.heads.int=5", ["stages.0.heads.int: found 5, expected a list."]),
        ("student.heads.fc1=targt", ["expected a whole number or 'target' (did you mean"]),
        ("training.precision=fp31", ["found 'fp31', expected 'auto', 'bf16' or 'fp32' (did you"]),
        ("corpus.rows_per_shard=65", ["found 65, expected a multiple of 64"]),
        ("corpus.cut_fraction=nan", ["found nan, expected a finite number"]),
        ("logging.zzz=1", ["unknown key logging.zzz (known are ", "group"]),
        (
            "teachers.0.dimm=1",
            ["teacher 'all-minilm-l6-v2': unknown key dimm (did you mean 'dim'?)"],
        ),
        ("teachers.0.dim=x", ["dim: found 'x', expected a whole number"]),
        (
            'teachers.0={name = "A b", kind = "x"}',
            ["teachers.0.name: found 'A b'", "small letters"],
        ),
        ("stages.0.save_every=7", ["save_every", "multiple"]),
        ("student.default_head=fc7", ["fc7", "fc1"]),
        ('teachers.0.name="nv-embed-v3"', ["nv-embed-v3", "nv-embed-v2"]),
        ("name.x=1", ["name"]),
    ],
)
def test_a_wrong_override_is_a_sentence(override, words):
    with pytest.raises(PipeError) as caught:
        load_recipe("laptop", [override])
    assert caught.value.exit_code in (1, 2)
    for word in words:
        assert word in str(caught.value)


def test_every_pattern_of_a_recipe_has_its_words():
    text = json.dumps(Recipe.model_json_schema())
    found = set(re.findall(r'"pattern": ("(?:[^"\\\\]|\\\\.)*")', text))
    assert {json.loads(one) for one in found} == set(PATTERNS)


def test_a_value_that_is_long_is_cut_off():
    with pytest.raises(UsageError) as caught:
        load_recipe("laptop", [f"stages.0.steps={'x' * 500}"])
    assert len(str(caught.value)) < 200


def test_a_recipe_that_is_not_there_names_the_nearest():
    with pytest.raises(UsageError, match=r"no recipe 'laptob'.*'laptop'"):
        load_recipe("laptob")


@pytest.mark.parametrize(
    ("content", "word"), [(b"name = ", "not valid TOML"), (b"\xff\xfe", "UTF-8")]
)
def test_a_file_that_is_no_recipe_is_a_sentence(tmp_path, content, word):
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=word):
        load_recipe(str(path))


def test_every_number_of_jasper_is_cited():
    """A comment stands on the line, or above it at the head of the table or group."""
    text = (Path(__file__).parents[2] / "pipelines" / "recipes" / "jasper.toml").read_text()
    assert tomllib.loads(text)
    for section in ("3.2", "2.3", "2.4", "2.5", "3.1"):
        assert section in text


def test_recipes_are_frozen():
    recipe = load_recipe("laptop")
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"
    assert isinstance(recipe, Recipe)
