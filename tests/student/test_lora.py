"""Low-rank adapters: nothing at first, alone in training, gone when the stage ends."""

import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from data_prep.errors import PipeError
from student.config import StudentConfig
from student.encode import parameters_in_use
from student.lora import add_adapters, merge_adapters
from student.model import Student
from student.parts import adapter_parameters, match_parts, part_names, train_only
from student.stage_config import LoraConfig, StageConfig
from student.start import load_start
from tests.student.families import save_family

FAMILIES = ("bert", "mpnet", "modernbert", "qwen3", "gemma3", "gpt2")
CONFIG = LoraConfig(targets=("text.layers[-2:]",), rank=3, alpha=6)
IDS_BL = torch.arange(5, 45).reshape(2, 20)
GROUPS = [{"input_ids": IDS_BL, "attention_mask": torch.ones_like(IDS_BL)}]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("starts")
    return {name: save_family(root / name, name) for name in FAMILIES}


def student_of(start: Path) -> Student:
    student = load_start(
        StudentConfig(start=str(start), max_tokens=60, heads={"fc1": 12}, default_head="fc1")
    )
    student.add_heads({"fc1": 12}, seed=0)
    return student.eval()


def vectors(student: Student) -> torch.Tensor:
    with torch.no_grad():
        return student(GROUPS, ["fc1"])["fc1"]


def train_a_little(student: Student) -> None:
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        student(GROUPS, ["fc1"])["fc1"].square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stage_with_adapters_from_its_beginning_to_its_end(
    name: str, starts, tmp_path: Path
) -> None:
    student = student_of(starts[name])
    plain, parts = vectors(student), part_names(student)
    before = {name: value.clone() for name, value in student.state_dict().items()}

    added = add_adapters(student, CONFIG, seed=0)
    assert torch.equal(vectors(student), plain)
    assert part_names(student) == parts
    assert parameters_in_use(student) == parameters_in_use(student_of(starts[name]))

    count = train_only(student, ["heads.fc1"], ["fc1"])
    adapters = adapter_parameters(student)
    trained = [p for p in student.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in adapters} | {
        id(p) for p in student.heads.parameters()
    }
    assert len(adapters) == 2 * len(added)
    assert count == sum(p.numel() for p in trained)

    train_a_little(student)
    assert all(p.grad is not None for p in trained)
    assert not torch.equal(vectors(student), plain)
    unmerged = vectors(student)
    merge_adapters(student)
    torch.testing.assert_close(vectors(student), unmerged, rtol=1e-5, atol=1e-5)
    assert student.state_dict().keys() == before.keys()
    moved = {
        key for key, value in student.state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved == {f"text.{layer}.weight" for layer in added} | {
        "heads.fc1.weight",
        "heads.fc1.bias",
    }

    student.save(tmp_path / "saved")
    assert not any(
        "lora" in key for key in load_file(tmp_path / "saved/backbone/model.safetensors")
    )
    assert torch.equal(vectors(Student.load(tmp_path / "saved")), vectors(student))


def test_the_next_stage_may_add_its_own(starts) -> None:
    student = student_of(starts["bert"])
    for seed in (1, 2):
        before = vectors(student)
        add_adapters(student, CONFIG, seed)
        assert torch.equal(vectors(student), before)
        train_only(student, [], ["fc1"])
        train_a_little(student)
        after = vectors(student)
        merge_adapters(student)
        torch.testing.assert_close(vectors(student), after, rtol=1e-5, atol=1e-5)
    merge_adapters(student)  # nothing is left to merge


def test_adapters_depend_on_the_seed_and_their_layers_name_alone(starts) -> None:
    def drawn(targets: tuple[str, ...], seed: int) -> dict[str, torch.Tensor]:
        student = student_of(starts["bert"])
        torch.rand(torch.randint(1, 9, ()).item())
        state = torch.get_rng_state()
        add_adapters(student, CONFIG.model_copy(update={"targets": targets}), seed)
        assert torch.equal(torch.get_rng_state(), state)
        return {name: v for name, v in student.state_dict().items() if ".lora_A." in name}

    some, all_of_them = drawn(("text.layers[-1]",), 0), drawn(("text.layers[:]",), 0)
    assert 0 < len(some) < len(all_of_them)
    assert all(torch.equal(value, all_of_them[name]) for name, value in some.items())
    other = drawn(("text.layers[-1]",), 1)
    assert not any(torch.equal(value, some[name]) for name, value in other.items())


def test_a_wrapped_student_takes_the_weights_of_another(starts) -> None:
    """What a checkpoint inside a stage needs: the same names after the same steps."""
    first = student_of(starts["qwen3"])
    add_adapters(first, CONFIG, seed=0)
    train_only(first, ["heads.*"], ["fc1"])
    train_a_little(first)
    second = student_of(starts["qwen3"])
    add_adapters(second, CONFIG, seed=0)
    second.load_state_dict(first.state_dict())
    assert torch.equal(vectors(first), vectors(second))


def test_dropout_of_adapters_acts_while_training(starts) -> None:
    student = student_of(starts["bert"])
    add_adapters(student, CONFIG.model_copy(update={"dropout": 0.5}), seed=0)
    train_only(student, [], ["fc1"])
    train_a_little(student)
    assert torch.equal(vectors(student), vectors(student))
    student.train()
    assert not torch.equal(vectors(student), vectors(student))


def test_patterns_reach_single_layers_and_keep_working(starts) -> None:
    student = student_of(starts["bert"])
    config = CONFIG.model_copy(update={"targets": ("text.layers[0].attention.self.query",)})
    assert add_adapters(student, config, seed=0) == ["encoder.layer.0.attention.self.query"]
    chosen = match_parts(student, ["text.layers[0].attention.self.query"])
    assert chosen == {f"text.layers.0.attention.self.query.{kind}" for kind in ("weight", "bias")}
    train_only(student, ["text.layers[1:]"], ["fc1"])  # other layers may train in full


@pytest.mark.parametrize("trainable", ["text.layers[-1]", "text.*"])
def test_a_weight_with_an_adapter_does_not_train_in_full(trainable: str, starts) -> None:
    student = student_of(starts["bert"])
    add_adapters(student, CONFIG, seed=0)
    with pytest.raises(PipeError, match=r"text\.layers\..*\.weight would train in full and"):
        train_only(student, ["heads.fc1", trainable], ["fc1"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"targets": ("heads.fc1",)}, "'heads.fc1', which chooses no linear layer"),
        ({"targets": ("text.embeddings",)}, "'text.embeddings', which chooses no linear layer"),
        ({"targets": ("text.layers[9]",)}, r"'text.layers\[9\]' matches no parameter"),
        ({"rank": 32}, "rank is 32, and encoder.layer.2.* is 32 x 32; choose a rank below 32"),
    ],
    ids=str,
)
def test_wrong_settings_are_sentences(change: dict, sentence: str, starts) -> None:
    student = student_of(starts["bert"])
    with pytest.raises(PipeError, match=sentence):
        add_adapters(student, CONFIG.model_copy(update=change), seed=0)
    assert not adapter_parameters(student)


def test_without_peft_the_extra_is_named(starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PipeError, match=r"jasper-distill\[lora\]"):
        add_adapters(student_of(starts["bert"]), CONFIG, seed=0)


def stage(**settings: object) -> StageConfig:
    return StageConfig.model_validate(
        {
            "name": "s", "heads": {"fc1": ["cosine"]}, "batch_size": 2, "learning_rate": 1,
            "steps": 1, **settings,
        }
    )  # fmt: skip


def test_a_stage_trains_something() -> None:
    assert stage(trainable=[], lora={"targets": ["text.*"]}).lora == LoraConfig(targets=("text.*",))
    assert stage(trainable=["heads.*"]).lora is None
    with pytest.raises(ValidationError, match="trainable is empty"):
        stage(trainable=[])
    for wrong in ({"targets": []}, {"targets": ["x"], "rank": 0}, {"targets": ["x"], "r": 1}):
        with pytest.raises(ValidationError):
            stage(trainable=[], lora=wrong)
