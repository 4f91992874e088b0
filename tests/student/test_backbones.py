"""Every family of backbones: loaded, in both directions, shallower, saved and exported."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from data_prep.errors import PipeError
from student.attention import reaches, require_bidirectional, use_attention
from student.backbone import load_backbone, require_positions
from student.config import StudentConfig
from student.encode import StudentEncoder
from student.export import export
from student.export_record import ExportRecord
from student.layers import layers_of, layers_path
from student.model import Student
from student.parts import match_parts
from student.start import load_start
from tests.student.families import CAUSAL, FAMILIES, save_family, save_model

SHORT, LONG = 6, 40
TEXTS = [
    "word7",
    "word1 word2 word3",
    " ".join(f"word{n}" for n in range(20, 29)),
    "word9 word4 word9 word11 word12",
]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One checkpoint of each family."""
    root = tmp_path_factory.mktemp("starts")
    return {name: save_family(root / name, name) for name in FAMILIES}


def student_of(start: Path, **settings: object) -> Student:
    config = StudentConfig(
        start=str(start), max_tokens=60, heads={"fc1": 12}, default_head="fc1", **settings
    )
    student = load_start(config)
    student.add_heads({"fc1": 12}, seed=0)
    return student.eval()


def token_ids(length: int) -> torch.Tensor:
    return torch.arange(5, 5 + length)[None]


def states(model: nn.Module, ids_BL: torch.Tensor, padding: int = 0) -> torch.Tensor:
    filler = torch.full((len(ids_BL), padding), model.config.pad_token_id or 0)
    mask_BL = torch.cat([torch.ones_like(ids_BL), torch.zeros_like(filler)], 1)
    with torch.no_grad():
        return model(
            input_ids=torch.cat([ids_BL, filler], 1), attention_mask=mask_BL
        ).last_hidden_state


def influence(model: nn.Module, of: int, length: int, padding: int) -> torch.Tensor:
    """The gradient of one token's state by each token's embedding, by autograd: norms, (L,)."""
    embeddings = model.get_input_embeddings()
    kept = []

    def keep(_module: nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = embeddings.register_forward_hook(keep)
    ids_BL = torch.cat([token_ids(length), torch.zeros(1, padding, dtype=torch.long)], 1)
    mask_BL = (torch.arange(length + padding) < length).long()[None]
    state_H = model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state[0, of]
    hook.remove()
    (gradient,) = torch.autograd.grad((state_H**3).sum(), kept)
    return gradient[0].norm(dim=-1)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_loads_in_float32_and_says_so_when_saved(name: str, starts, tmp_path: Path) -> None:
    model = load_backbone(starts[name])
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }
    model.save_pretrained(tmp_path)
    assert load_backbone(tmp_path).config.dtype == torch.float32


@pytest.mark.parametrize("padding", [0, 3], ids=["plain", "padded"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_token_sees_as_far_behind_it_as_before_it(
    name: str, attention: str, padding: int, starts
) -> None:
    model = use_attention(load_backbone(starts[name]), attention, or_plain=True)
    for length in (SHORT, LONG):
        first_L = influence(model, 0, length, padding) > 0
        last_L = influence(model, length - 1, length, padding) > 0
        assert first_L[:2].all()
        assert torch.equal(first_L[:length], last_L[:length].flip(0))
        assert not first_L[length:].any()


@pytest.mark.parametrize("name", CAUSAL)
def test_the_test_above_can_tell(name: str, starts) -> None:
    """Loaded as it is published, a decoder's first token sees nothing behind it."""
    model = AutoModel.from_pretrained(starts[name], dtype=torch.float32).eval()
    assert not (influence(model, 0, SHORT, 0) > 0)[1:].any()
    with pytest.raises(PipeError, match="left only in its layer 0"):
        require_bidirectional(model)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in CAUSAL])
def test_an_encoder_stays_what_it_was(name: str, starts) -> None:
    published = AutoModel.from_pretrained(starts[name], dtype=torch.float32).eval()
    ours = load_backbone(starts[name])
    for padding in (0, 3):
        assert torch.equal(
            states(published, token_ids(LONG), padding), states(ours, token_ids(LONG), padding)
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_does_not_move_a_vector(name: str, starts) -> None:
    model = load_backbone(starts[name])
    for length in (SHORT, LONG):
        plain = states(model, token_ids(length))
        padded = states(model, token_ids(length), 3)[:, :length]
        torch.testing.assert_close(plain, padded, rtol=1e-3, atol=1e-4)


def skipping(model: nn.Module, kept: tuple[int, ...]) -> nn.Module:
    """A model whose other layers hand on what they are given."""

    def hand_on(args: tuple, kwargs: dict, output: object) -> object:
        given = args[0] if args else kwargs["hidden_states"]
        return given if isinstance(output, torch.Tensor) else (given, *output[1:])

    for number, layer in enumerate(layers_of(model)):
        if number not in kept:
            layer.register_forward_hook(
                lambda _, args, kwargs, output: hand_on(args, kwargs, output), with_kwargs=True
            )
    return model


@pytest.mark.parametrize("kept", [(0, 1), (0, 2, 3)], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_shallower_model_computes_what_the_kept_layers_compute(
    name: str, kept: tuple[int, ...], starts, tmp_path: Path
) -> None:
    shallow = load_backbone(starts[name], layers=kept)
    assert shallow.config.num_hidden_layers == len(layers_of(shallow)) == len(kept)
    expected = states(skipping(load_backbone(starts[name]), kept), token_ids(LONG))
    assert torch.equal(states(shallow, token_ids(LONG)), expected)
    shallow.save_pretrained(tmp_path)
    assert torch.equal(states(load_backbone(tmp_path), token_ids(LONG)), expected)


@pytest.mark.parametrize("layer", [4, -1])
@pytest.mark.parametrize("name", ["bert", "distilbert", "modernbert", "qwen3", "gemma3", "gpt2"])
def test_a_layer_that_is_not_there_is_named(name: str, layer: int, starts) -> None:
    with pytest.raises(PipeError, match=rf"layer {layer}, but .* layers 0 to 3"):
        load_backbone(starts[name], layers=(0, layer))


@pytest.mark.parametrize("layers", [(1, 2), (2, 0)], ids=str)
def test_a_layer_that_differs_keeps_its_place(layers: tuple[int, ...], starts) -> None:
    with pytest.raises(PipeError, match=r"layer \d of ModernBertModel cannot .*attn_norm"):
        load_backbone(starts["modernbert"], layers=layers)


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_is_the_recipes_everywhere(name: str, starts) -> None:
    def drawn(dropout: float) -> list[torch.Tensor]:
        model = load_backbone(starts[name], dropout=dropout).train()
        modules = [m for m in model.modules() if re.search("Dropout", type(m).__name__)]
        assert {getattr(m, "p", getattr(m, "drop_prob", None)) for m in modules} <= {dropout}
        return [states(model, token_ids(SHORT)) for _ in range(2)]

    assert torch.equal(*drawn(0.0))
    assert not torch.equal(*drawn(0.25))


@pytest.mark.parametrize("name", FAMILIES)
def test_patterns_choose_the_last_layers(name: str, starts) -> None:
    student = student_of(starts[name])
    parameters = dict(student.named_parameters())
    path = f"text.{layers_path(student.text)}"
    chosen = match_parts(student, ["text.layers[-3:]"])
    assert len(chosen) == sum(name.startswith(f"{path}.") for name in parameters) - sum(
        name.startswith(f"{path}.0.") for name in parameters
    )
    assert {name.split(".")[2] for name in chosen} == {"1", "2", "3"}


@pytest.mark.parametrize("name", FAMILIES)
def test_saved_and_exported_it_gives_the_same_vectors(name: str, starts, tmp_path: Path) -> None:
    student = student_of(starts[name], layers=(0, 2, 3))
    expected = StudentEncoder(student, "fc1").encode(TEXTS, ["passage"] * len(TEXTS))
    student.save(tmp_path / "saved")
    loaded = Student.load(tmp_path / "saved")
    found = StudentEncoder(loaded, "fc1").encode(TEXTS, ["passage"] * len(TEXTS))
    np.testing.assert_array_equal(found, expected)

    record = ExportRecord("0", "tiny", 1, "0" * 64, "fc1")
    directory = export(loaded, tmp_path / "export", "# card", record)
    exported = SentenceTransformer(str(directory), device="cpu", trust_remote_code=False)
    np.testing.assert_allclose(exported.encode(TEXTS), expected, atol=1e-5)
    alone = np.concatenate([exported.encode([text]) for text in TEXTS])  # without any padding
    np.testing.assert_allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "auto"), [("qwen3", AutoModelForCausalLM), ("bert", AutoModelForMaskedLM)]
)
def test_a_checkpoint_with_a_tasks_head_will_do(
    name: str, auto: type, starts, tmp_path: Path
) -> None:
    auto.from_pretrained(starts[name]).save_pretrained(tmp_path)
    assert torch.equal(
        states(load_backbone(tmp_path), token_ids(SHORT)),
        states(load_backbone(starts[name]), token_ids(SHORT)),
    )


@pytest.mark.parametrize(
    ("name", "positions"),
    [("bert", 64), ("roberta", 63), ("xlm-roberta", 62), ("mpnet", 62), ("qwen3", 64)],
)
def test_texts_no_longer_than_the_positions(name: str, positions: int, starts) -> None:
    model = load_backbone(starts[name])
    require_positions(model, positions)
    states(model, token_ids(positions))
    with pytest.raises(PipeError, match=f"the start has {positions} positions"):
        require_positions(model, positions + 1)


TINY = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
ENCODER_DECODER = {"vocab_size": 300, "d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 48}


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("t5", ENCODER_DECODER | {"d_kv": 8}, "an encoder and a decoder"),
        ("bart", {"vocab_size": 300, "d_model": 32}, "an encoder and a decoder"),
        ("vit", {"hidden_size": 32, "num_hidden_layers": 1}, "no plain text model"),
        ("albert", TINY | {"embedding_size": 16}, "no list of 3 layers"),
        ("fnet", TINY, "padding changes the vectors of FNetModel"),
        # Recurrent layers, in all places or in some.
        ("mamba", TINY | {"state_size": 4}, "left only in its layer 0"),
        (
            "lfm2",
            TINY | {"num_key_value_heads": 2, "pad_token_id": 0}
            | {"layer_types": ["full_attention", "conv", "full_attention"]},
            "left only in its layer 1",
        ),
        # Its fused kernel is causal wherever there is no padding to make a mask for.
        (
            "stablelm", TINY | {"num_key_value_heads": 2},
            r"left only in its layer 0, .*\(attention sdpa, text without padding\)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalnum() else "",
)  # fmt: skip
def test_what_cannot_be_a_student_is_refused(
    kind: str, settings: dict, sentence: str, tmp_path: Path
) -> None:
    if kind == "bart":
        settings = settings | dict.fromkeys(
            ("encoder_ffn_dim", "decoder_ffn_dim", "encoder_attention_heads"), 16
        )
    save_model(tmp_path, kind, **settings)
    with pytest.raises(PipeError, match=sentence):
        load_backbone(tmp_path)


def causal(states_BLH: torch.Tensor, ahead: int = 0) -> torch.Tensor:
    length = states_BLH.shape[1]
    return torch.full((length, length), -1e9).triu(1 + ahead)[None, None]


@pytest.mark.parametrize("layer", [0, 3])
def test_one_causal_layer_is_found(layer: int, starts) -> None:
    model = use_attention(load_backbone(starts["qwen3"]), "eager")
    layers_of(model)[layer].register_forward_pre_hook(
        lambda _, args, kwargs: (args, kwargs | {"attention_mask": causal(args[0])}),
        with_kwargs=True,
    )
    with pytest.raises(PipeError, match=f"left only in its layer {layer}"):
        require_bidirectional(model)


def test_a_window_to_the_left_is_found_though_it_is_wider_than_what_is_tried(
    starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask of a causal window, which does not show before a text is longer than it."""
    from transformers import masking_utils

    to_the_left = masking_utils.sliding_window_overlay
    monkeypatch.setattr(
        masking_utils, "sliding_window_bidirectional_mask_function", lambda window: (
            lambda b, h, q, k: to_the_left(window)(b, h, q, k) & ((k <= q) | (k - q <= -window))
        ),
    )  # fmt: skip
    model = AutoModel.from_pretrained(starts["qwen2-windows"], dtype=torch.float32).eval()
    model.config.is_causal = False
    model.config.sliding_window = 1000
    with pytest.raises(PipeError, match="left only in its layer 0"):
        require_bidirectional(model)


def test_looking_one_token_ahead_is_not_both_directions(starts) -> None:
    model = use_attention(load_backbone(starts["llama"]), "eager")
    layers_of(model)[2].register_forward_pre_hook(
        lambda _, args, kwargs: (args, kwargs | {"attention_mask": causal(args[0], ahead=1)}),
        with_kwargs=True,
    )
    assert (reaches(model)[2].earlier, reaches(model)[2].later) == (7, 1)
    with pytest.raises(PipeError, match="7 tokens before it and 1 behind it"):
        require_bidirectional(model)


def test_attending_to_padding_is_found(starts) -> None:
    model = use_attention(load_backbone(starts["bert"]), "eager")
    layers_of(model)[1].register_forward_pre_hook(
        lambda _, args, kwargs: ((args[0], None, *args[2:]), kwargs),
        with_kwargs=True,
    )
    with pytest.raises(PipeError, match="padding changes the vectors of BertModel"):
        require_bidirectional(model)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_check_leaves_the_model_as_it_was(name: str, starts) -> None:
    model = load_backbone(starts[name], dropout=0.5).train()
    before = model.config.to_dict(), [dict(vars(module)) for module in model.modules()]
    require_bidirectional(model)
    assert before[0] == model.config.to_dict()
    for ours, module in zip(before[1], model.modules(), strict=True):
        assert module.training
        assert ours.get("sliding_window") == vars(module).get("sliding_window")
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("name", ["mpnet", "gemma2"])
def test_a_kernel_that_a_backbone_lacks(name: str, starts) -> None:
    model = load_backbone(starts[name])
    with pytest.raises(PipeError, match=r"'sdpa', and \w+ has eager"):
        use_attention(model, "sdpa")
    use_attention(model, "sdpa", or_plain=True)
    assert model.config._attn_implementation == "eager"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["bert", "mpnet", "qwen3"])
def test_flash_attention_without_a_gpu_is_a_sentence(name: str, starts) -> None:
    with pytest.raises(PipeError, match=r"flash_attention_2.* lacks a GPU"):
        use_attention(load_backbone(starts[name]), "flash_attention_2")
