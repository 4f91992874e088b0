"""A model that no recipe describes is used as its own files say."""

import json
import shutil

import pytest

from data_prep.errors import PipeError
from pipelines.mteb_models import model_entrant
from teacher_cache.encoders.described import described_model


@pytest.fixture
def model(finished, tmp_path):
    return shutil.copytree(finished[0] / "export", tmp_path / "Some Model")


def test_width_length_prompts_and_weights_come_from_the_files(model):
    path = model / "config_sentence_transformers.json"
    plain = described_model(str(model))
    assert (plain.dim, plain.max_tokens) == (32, 32)
    assert plain.name.endswith("some-model")
    assert (plain.prompts.question, plain.prompts.passage) == ("", "")
    settings = json.loads(path.read_text()) | {
        "prompts": {"query": "Instruct: Find.\nQuery: ", "other": "as usual: "},
        "default_prompt_name": "other",
    }
    path.write_text(json.dumps(settings))
    prompted = described_model(str(model))
    assert prompted.prompts.question == "Instruct: Find.\nQuery: "
    assert prompted.prompts.passage == "as usual: "


def test_a_copy_has_the_same_revision_and_other_weights_have_another(finished, model):
    first = model_entrant(str(finished[0] / "export"))
    assert model_entrant(str(model)).revision == first.revision
    head = min(model.glob("*/model.safetensors"))
    head.write_bytes(head.read_bytes()[:-4] + b"1234")
    assert model_entrant(str(model)).revision != first.revision


def test_a_model_that_cannot_be_loaded_is_told(model):
    (model / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PipeError, match="cannot be loaded"):
        described_model(str(model))
