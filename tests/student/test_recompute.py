"""Layers that are computed again give the same gradients."""

from pathlib import Path

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from data_prep.errors import PipeError
from student.backbone import load_backbone
from student.layers import layers_of
from student.recompute import checkpoint_layers
from tests.student.families import FAMILIES, save_family

IDS_BL = torch.arange(5, 65).reshape(3, 20)
MASK_BL = torch.ones_like(IDS_BL)
MASK_BL[1, 15:] = 0
WITHOUT = {"mpnet"}


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("starts")
    return {name: save_family(root / name, name) for name in FAMILIES}


def gradients(start: Path, frozen: int, *, again: bool) -> tuple[dict[str, torch.Tensor], list]:
    """The gradients, and how often an inner module of each layer ran."""
    model = load_backbone(start, dropout=0.2).train()
    model.requires_grad_(frozen == 0)
    for layer in layers_of(model)[frozen:]:
        layer.requires_grad_(True)
    if again:
        checkpoint_layers(model)
    runs = [0] * len(layers_of(model))
    for number, layer in enumerate(layers_of(model)):
        inner = next(m for m in layer.modules() if isinstance(m, torch.nn.Linear | Conv1D))

        def count(*_: object, number: int = number) -> None:
            runs[number] += 1

        inner.register_forward_hook(count)
    torch.manual_seed(0)
    states = model(input_ids=IDS_BL, attention_mask=MASK_BL).last_hidden_state
    (states**2).mean().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, runs


@pytest.mark.parametrize("frozen", [0, 2])
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in WITHOUT])
def test_gradients_are_the_same_and_layers_ran_twice(name: str, frozen: int, starts) -> None:
    plain, once = gradients(starts[name], frozen, again=False)
    saved, twice = gradients(starts[name], frozen, again=True)
    assert plain.keys() == saved.keys()
    assert all(torch.equal(plain[key], saved[key]) for key in plain)
    assert once[frozen:] == [1] * (4 - frozen)
    assert twice[frozen:] == [2] * (4 - frozen)


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_a_backbone_that_cannot_is_a_sentence(name: str, starts) -> None:
    with pytest.raises(PipeError, match=r'recompute is "layers", which \w+ does not know'):
        checkpoint_layers(load_backbone(starts[name]))
