"""Heads without weights of their own: the first numbers of another head."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer

from data_prep.errors import PipeError
from student.config import StudentConfig
from student.encode import StudentEncoder, parameters_in_use
from student.export import export
from student.export_record import ExportRecord
from student.least_squares import Moments, fit_heads
from student.losses import require_nested_widths
from student.model import Student
from student.parts import train_only
from tests.student.tiny_students import HIDDEN, TEXTS, student

PASSAGES = ["passage"] * len(TEXTS)


def nested_student() -> Student:
    model = student("bert", heads={"fc1": 48, "other": 12})
    model.add_heads({"fc1": 48, "other": 12, "fc2": 8}, seed=0, nested={"fc2": "fc1"})
    return model


def vectors(model: Student, head: str) -> np.ndarray:
    return StudentEncoder(model, head, normalize=False).encode(TEXTS, PASSAGES)


def test_its_vectors_are_the_first_numbers_of_the_other_heads():
    model = nested_student()
    np.testing.assert_allclose(vectors(model, "fc2"), vectors(model, "fc1")[:, :8], atol=1e-5)
    assert [name for name, _ in model.named_heads()] == ["fc1", "other", "fc2"]
    assert {name for name, _ in model.named_parameters() if "heads." in name} == {
        f"heads.{head}.{part}" for head in ("fc1", "other") for part in ("weight", "bias")
    }
    own = parameters_in_use(model)
    assert parameters_in_use(model, "fc2") == own + 8 * (HIDDEN + 1)
    assert model.add_heads({"fc1": 48, "fc2": 8}, seed=1, nested={"fc2": "fc1"}) == []


def test_its_loss_moves_the_rows_that_it_uses():
    model = nested_student()
    train_only(model, ["heads.fc1"], heads=["fc2"])
    model.project(torch.randn(4, HIDDEN), "fc2").square().sum().backward()
    gradient_DH = model.heads["fc1"].weight.grad
    assert gradient_DH[:8].abs().min() > 0
    assert gradient_DH[8:].abs().max() == 0
    with pytest.raises(PipeError, match="nothing would move"):
        train_only(model, ["heads.other"], heads=["fc2"])


def test_it_is_kept_and_loaded(tmp_path: Path):
    model = nested_student()
    model.save(tmp_path / "student")
    loaded = Student.load(tmp_path / "student")
    assert loaded.nested == {"fc2": ("fc1", 8)}
    assert np.array_equal(vectors(loaded, "fc2"), vectors(model, "fc2"))
    torch.nn.init.zeros_(loaded.heads["fc1"].weight)
    assert not np.array_equal(vectors(loaded, "fc2"), vectors(model, "fc2"))


def test_it_is_exported_as_a_layer(tmp_path: Path):
    model = nested_student()
    record = ExportRecord("0", "tiny", 1, "0" * 64, "fc2")
    directory = export(model, tmp_path / "export", "# card", record)
    loaded = SentenceTransformer(str(directory), device="cpu", trust_remote_code=False)
    expected = StudentEncoder(model, "fc2").encode(TEXTS, PASSAGES)
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(("aligned", "turned"), [((), True), (("fc1",), False)])
def test_the_head_around_it_is_turned_to_principal_directions_unless_it_is_aligned(aligned, turned):
    torch.manual_seed(0)
    model = nested_student()
    pooled_BH, target_BT = torch.randn(200, HIDDEN), torch.randn(200, 48)
    moments = Moments(HIDDEN, 48)
    moments.add(pooled_BH, target_BT)
    fit_heads(model, ["fc1"], moments, aligned)
    regression_TI = moments.regression()
    plain_BT = F.pad(pooled_BH.double(), (0, 1), value=1.0) @ regression_TI.mT
    with torch.inference_mode():
        whole_BD = model.project(pooled_BH, "fc1").double()
        prefix_BD = model.project(pooled_BH, "fc2").double()
    torch.testing.assert_close(whole_BD @ whole_BD.mT, plain_BT @ plain_BT.mT, atol=1e-3, rtol=1e-3)
    left, values, _ = torch.linalg.svd(plain_BT, full_matrices=False)
    best_BB = (left[:, :8] * values[:8] ** 2) @ left[:, :8].mT
    is_best = torch.allclose(prefix_BD @ prefix_BD.mT, best_BB, atol=1e-3, rtol=1e-3)
    assert is_best == turned
    assert torch.allclose(whole_BD, plain_BT, atol=1e-3, rtol=1e-3) != turned


def config(**settings) -> StudentConfig:
    return StudentConfig(start="x", max_tokens=8, default_head="fc1", **settings)


@pytest.mark.parametrize("nested", [{"fc9": "fc1"}, {"fc2": "fc9"}, {"fc2": "fc3", "fc3": "fc1"}])
def test_a_head_nested_in_none_with_weights_is_refused(nested):
    with pytest.raises(ValidationError, match="with weights of its own"):
        config(heads={"fc1": "target", "fc2": 8, "fc3": 6}, nested=nested)


def test_a_nested_head_is_narrower():
    require_nested_widths({"fc2": "fc1"}, {"fc1": 8, "fc2": 7})
    with pytest.raises(PipeError, match="8 wide and nested in fc1"):
        require_nested_widths({"fc2": "fc1"}, {"fc1": 8, "fc2": 8})


def test_a_nested_head_uses_the_head_around_it():
    heads = {"fc1": "target", "fc2": 8, "fc3": 6}
    assert config(heads=heads, nested={"fc2": "fc1"}).with_wholes(["fc2"]) == {"fc1", "fc2"}
