"""Backbones, the student, its parts, and saving it."""

import pytest
import torch

from data_prep.errors import PipeError
from student.attention import require_bidirectional
from student.backbone import load_backbone
from student.config import StudentConfig
from student.model import Student
from student.parts import match_parts, part_names, train_only
from student.start import load_start
from tests.student.models import KINDS, save_backbone

TEXTS = ["the cat and the dog", "read a line", "moon star sea sun night day"]


def tiny(tmp_path, kind="bert", layers=None):
    start = save_backbone(tmp_path / kind, kind)
    config = StudentConfig(
        start=str(start),
        layers=layers,
        max_tokens=16,
        heads={"fc1": 12, "fc2": 6},
        default_head="fc1",
    )
    student = load_start(config)
    student.add_heads({"fc1": 12, "fc2": 6}, seed=0)
    return student.eval()


def encode(student, texts, head="fc1"):
    tokens = student.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return student.project(student.pooled(tokens["input_ids"], tokens["attention_mask"]), head)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_backbone_attends_in_both_directions(tmp_path, kind):
    student = tiny(tmp_path, kind)
    require_bidirectional(student.text)
    ids_BL = torch.tensor([[2, 6, 7, 8, 9, 3], [2, 6, 7, 8, 10, 3]])
    with torch.inference_mode():
        states = student.text(
            input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL)
        ).last_hidden_state
    assert not torch.equal(states[0, 0], states[1, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_company_do_not_move_a_vector(tmp_path, kind):
    student = tiny(tmp_path, kind)
    assert len(set(student.tokenizer(TEXTS[0])["input_ids"])) >= 6
    together = encode(student, TEXTS)
    alone = torch.cat([encode(student, [text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_causal_backbone_is_refused(tmp_path):
    model = load_backbone(save_backbone(tmp_path / "q", "qwen2"))
    model.config.is_causal = True
    with pytest.raises(PipeError, match="left only"):
        require_bidirectional(model)


def test_kept_layers_are_the_starts_layers_in_that_order(tmp_path):
    start = save_backbone(tmp_path / "b")
    deep, shallow = load_backbone(start), load_backbone(start, layers=(2, 0))
    assert shallow.config.num_hidden_layers == 2
    for new, old in enumerate((2, 0)):
        for ours, theirs in zip(
            shallow.encoder.layer[new].parameters(),
            deep.encoder.layer[old].parameters(),
            strict=True,
        ):
            assert torch.equal(ours, theirs)


def test_keeping_all_layers_changes_nothing(tmp_path):
    start = save_backbone(tmp_path / "b")
    ids_BL = torch.tensor([[2, 6, 7, 3]])
    with torch.inference_mode():
        states = [
            load_backbone(start, layers=layers)(input_ids=ids_BL).last_hidden_state
            for layers in (None, (0, 1, 2))
        ]
    assert torch.equal(*states)


def test_a_layer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PipeError, match=r"layer 3.*layers 0 to 2"):
        load_backbone(save_backbone(tmp_path / "b"), layers=(0, 3))


def test_a_directory_without_a_model_is_a_sentence(tmp_path):
    with pytest.raises(PipeError, match="holds no model"):
        load_backbone(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_gives_the_same_vectors(tmp_path, kind):
    student = tiny(tmp_path, kind, layers=(0, 2))
    student.save(tmp_path / "saved")
    loaded = Student.load(tmp_path / "saved")
    assert torch.equal(encode(student, TEXTS, "fc2"), encode(loaded, TEXTS, "fc2"))


def test_groups_give_the_same_vectors_as_one_batch(tmp_path):
    student = tiny(tmp_path)
    groups = [
        dict(student.tokenizer(part, padding=True, return_tensors="pt"))
        for part in (TEXTS[:2], TEXTS[2:])
    ]
    groups = [{key: group[key] for key in ("input_ids", "attention_mask")} for group in groups]
    with torch.inference_mode():
        grouped = student(groups, ["fc1"])["fc1"]
    torch.testing.assert_close(grouped, encode(student, TEXTS), rtol=1e-4, atol=1e-5)


def test_new_heads_depend_on_the_seed_and_their_name_alone(tmp_path):
    first, second = tiny(tmp_path / "1"), tiny(tmp_path / "2")
    assert torch.equal(first.heads["fc2"].weight, second.heads["fc2"].weight)
    late = load_start(StudentConfig(
        start=str(tmp_path / "1" / "bert"), max_tokens=16,
        heads={"fc1": 12, "fc2": 6}, default_head="fc1",
    ))  # fmt: skip
    late.add_heads({"fc1": 12}, seed=0)
    assert late.add_heads({"fc2": 6, "fc1": 12}, seed=0) == ["fc2"]
    assert torch.equal(late.heads["fc2"].weight, first.heads["fc2"].weight)
    with pytest.raises(PipeError, match=r"12 wide.*13"):
        late.add_heads({"fc1": 13}, seed=0)


def test_patterns_choose_parts(tmp_path):
    student = tiny(tmp_path)
    names = set(part_names(student))
    assert match_parts(student, ["heads.fc1"]) == {"heads.fc1.weight", "heads.fc1.bias"}
    assert match_parts(student, ["heads.*", "text.*"]) == names
    last = match_parts(student, ["text.layers[-2:]"])
    assert last == match_parts(student, ["text.layers[1]", "text.layers[2]"])
    assert {name.split(".")[2] for name in last} == {"1", "2"}
    assert match_parts(student, ["text.layers[-1].attention"]) < last


@pytest.mark.parametrize(
    "pattern", ["heads.fc9", "text.layers[3]", "text.layers[5:]", "vision.*", "fc1"]
)
def test_a_pattern_that_matches_nothing_is_quoted(tmp_path, pattern):
    with pytest.raises(PipeError) as caught:
        match_parts(tiny(tmp_path), ["heads.fc1", pattern])
    assert repr(pattern) in str(caught.value)
    assert "heads.fc1" in str(caught.value)


def test_only_the_chosen_parts_train(tmp_path):
    student = tiny(tmp_path)
    count = train_only(student, ["heads.fc1"], ["fc1"])
    assert count == 32 * 12 + 12
    assert {n for n, p in student.named_parameters() if p.requires_grad} == {
        "heads.fc1.weight",
        "heads.fc1.bias",
    }


@pytest.mark.parametrize(
    "broken", ["student.json", "heads.safetensors", "backbone/model.safetensors"]
)
def test_a_broken_file_is_a_sentence(tmp_path, broken):
    tiny(tmp_path).save(tmp_path / "saved")
    (tmp_path / "saved" / broken).write_bytes(b"\x00broken")
    with pytest.raises(PipeError, match=broken.split("/")[0]):
        Student.load(tmp_path / "saved")
