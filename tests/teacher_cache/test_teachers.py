"""The table of teachers and where their models are."""

import hashlib
import sys
from pathlib import Path

import pytest

from data_prep.errors import PipeError, UsageError
from teacher_cache.encoders import KINDS, load_encoder, prompted
from teacher_cache.models import model_directory, weights_digest
from teacher_cache.teachers import TEACHERS, resolve_teacher
from tests.teacher_cache.small import dummy


def test_the_papers_two_teachers_make_12288_numbers() -> None:
    assert TEACHERS["nv-embed-v2"].dim + TEACHERS["stella-en-1.5b-v5"].dim == 12288
    assert TEACHERS["nv-embed-v2"].license == "CC-BY-NC-4.0"


def test_prompts_end_where_the_text_begins() -> None:
    for teacher in TEACHERS.values():
        assert teacher.prompts.passage == ""
        assert not teacher.prompts.question or teacher.prompts.question.endswith("\nQuery: ")


def test_a_kind_without_an_adapter_says_so() -> None:
    with pytest.raises(PipeError, match=r"expected one that has an adapter in this version \(sent"):
        load_encoder(dummy(kind="gte-qwen2"))


def test_every_teacher_in_the_table_has_an_adapter() -> None:
    assert {teacher.kind for teacher in TEACHERS.values()} == KINDS.keys()


def test_every_adapter_in_the_table_is_there() -> None:
    import importlib

    for place in KINDS.values():
        module, _, name = place.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), type)


def test_overrides_change_only_what_they_name() -> None:
    changed = resolve_teacher("stella-en-1.5b-v5", {"prompts": {"passage": "p: "}, "weight": 2})
    row = TEACHERS["stella-en-1.5b-v5"]
    assert changed.prompts.passage == "p: "
    assert changed.prompts.question == row.prompts.question
    assert changed.weight == 2
    assert changed.model_copy(update={"prompts": row.prompts, "weight": row.weight}) == row


def test_a_teacher_of_ones_own() -> None:
    settings = {"kind": "sentence-transformers", "model": "a/b", "dim": 8, "max_tokens": 16}
    assert resolve_teacher("mine", settings).name == "mine"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest is 'all-minilm-l6-v2'"):
        resolve_teacher("all-minilm-l6")


@pytest.mark.parametrize("overrides", [{"dim": "many"}, {"dtype": "int8"}, {"batch_size": 8}])
def test_a_wrong_setting_is_a_sentence(overrides: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"teacher 'dummy': .*{next(iter(overrides))}"):
        resolve_teacher("dummy", overrides)


def test_a_model_in_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_weights"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert model_directory("package:some_weights/model") == package / "model"
    assert "some_weights" not in sys.modules
    with pytest.raises(PipeError, match="no directory 'other'"):
        model_directory("package:some_weights/other")


def test_a_package_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(PipeError, match=r"jasper-distill\[demo\]"):
        model_directory("package:not_there_at_all/model")


def test_weights_are_checked(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert model_directory(str(tmp_path), sha256=right) == tmp_path
    with pytest.raises(PipeError, match=f"found weights with SHA-256 {right}"):
        model_directory(str(tmp_path), sha256="0" * 64)


def test_weights_in_several_files_have_one_digest(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(bytes([number]))
    one = weights_digest(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"3")
    assert weights_digest(tmp_path) != one
    with pytest.raises(PipeError, match=r"no model\.safetensors"):
        weights_digest(tmp_path / "..")


@pytest.mark.parametrize("ref", ["/not/there", "./not-there", "~/not-there", "not-there", "a/b/c"])
def test_a_directory_that_is_not_there_is_never_looked_up_on_the_hub(
    ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teacher_cache.models.snapshot_download", None)
    with pytest.raises(PipeError, match=r"found no directory .* check the teacher's `model`"):
        model_directory(ref)
    with pytest.raises(PipeError, match=r"check student\.vision\.start"):
        model_directory(ref, setting="student.vision.start")


def test_the_hub_is_asked_for_weights_and_never_for_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import filter_repo_objects

    asked: dict[str, object] = {}

    def download(name: str, **settings: object) -> str:
        asked.update(settings, name=name)
        return str(tmp_path)

    monkeypatch.setattr("teacher_cache.models.snapshot_download", download)
    assert model_directory("owner/model", "abc123") == tmp_path
    assert (asked["name"], asked["revision"]) == ("owner/model", "abc123")
    files = ["model.safetensors", "1_Pooling/config.json", "vocab.txt"]
    never = ["modeling_x.py", "pytorch_model.bin", "model.onnx", "x.pkl", "x.pt"]
    wanted = filter_repo_objects(files + never, allow_patterns=asked["allow_patterns"])
    assert list(wanted) == files


def test_a_hub_that_cannot_be_reached_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise ConnectionError("no route\nmore")

    monkeypatch.setattr("teacher_cache.models.snapshot_download", download)
    with pytest.raises(PipeError, match=r"could not be fetched from the hub \(no route\)"):
        model_directory("owner/model")


def test_prompts_go_by_role() -> None:
    teacher = dummy(prompts={"question": "q: "})
    assert prompted(teacher, ["a", "b"], ["passage", "question"]) == ["a", "q: b"]
    with pytest.raises(PipeError, match="'title'"):
        prompted(teacher, ["a"], ["title"])


def test_an_adapter_of_another_dimension_is_refused() -> None:
    encoder = load_encoder(dummy(dim=24))
    assert encoder.dim == 24
    with pytest.raises(PipeError, match=r"found 384 numbers in a vector .* expected 383"):
        load_encoder(TEACHERS["all-minilm-l6-v2"].model_copy(update={"dim": 383}), "cpu")
