"""Compiled layers compute the same under the same names."""

from pathlib import Path

import pytest
import torch

from data_prep.errors import PipeError
from student.backbone import load_backbone
from student.compiled import compile_layers
from student.recompute import checkpoint_layers
from tests.student.families import save_family


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recompute"), [("bert", False), ("bert", True), ("qwen3", False)])
def test_compiled_layers_give_the_same_states_and_gradients(
    name: str, recompute: bool, tmp_path: Path
) -> None:
    start = save_family(tmp_path, name)
    plain, compiled = load_backbone(start).train(), load_backbone(start).train()
    compile_layers(compiled)
    if recompute:
        checkpoint_layers(compiled)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch._dynamo.utils.counters.clear()
    for length, padding in ((20, 3), (33, 5), (40, 0), (9, 2)):
        ids_BL = torch.arange(5, 5 + 2 * length).reshape(2, length)
        mask_BL = (torch.arange(length) < length - padding).long().repeat(2, 1)
        states = []
        for model in (plain, compiled):
            model.zero_grad()
            states.append(model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state)
            states[-1].square().mean().backward()
        torch.testing.assert_close(*states, rtol=1e-4, atol=1e-4)
        for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
            assert (ours.grad is None) == (theirs.grad is None)
            if ours.grad is not None:
                torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)
    # One translation serves the four layers, whatever the length.
    assert 0 < torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 4


def test_a_machine_without_a_compiler_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", broken)
    model = load_backbone(save_family(tmp_path, "bert"))
    with pytest.raises(PipeError, match=r"No working C\+\+ compiler found\); install a C\+\+"):
        compile_layers(model)
