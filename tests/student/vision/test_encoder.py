"""The vision encoder: its starts, its poolers, and saving it."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import SiglipModel, SiglipVisionModel

from data_prep.errors import PipeError
from student.attention import use_attention
from student.vision import POOLERS, ImagePixels, VisionEncoder
from student.vision_config import VisionConfig
from tests.student.vision.towers import PATCH, SIZE, new_vision, pictures, save_siglip

HIDDEN = 32
SIDE = SIZE // PATCH


def encoder(pooler="adaptive", tokens=4, seed=3):
    return VisionEncoder.from_start(new_vision(pooler, tokens), HIDDEN, seed)


def tokens_of(vision, images=None):
    with torch.inference_mode():
        return vision(vision.pixels(images or pictures()))


@pytest.mark.parametrize("tokens", [1, 6, 16, 30])
def test_adaptive_is_the_average_of_the_released_model(tokens):
    vision = encoder("adaptive", tokens)
    assert not list(vision.pooler.parameters())
    pixels = vision.pixels(pictures())
    with torch.inference_mode():
        states_IPV = vision.tower(pixels).last_hidden_state
        expected_INH = torch.stack(
            [nn.AdaptiveAvgPool2d((tokens, HIDDEN))(states_PV[None])[0] for states_PV in states_IPV]
        )
        assert states_IPV.shape == (2, SIDE**2, 16)
        torch.testing.assert_close(vision(pixels), expected_INH, rtol=0, atol=0)


def test_projection_averages_neighbouring_patches():
    pooler = POOLERS["projection"](2, 2, 4, 4)
    pooler.norm = nn.Identity()
    nn.init.eye_(pooler.linear.weight)
    nn.init.zeros_(pooler.linear.bias)
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    states_IPV = torch.stack([row.flatten(), column.flatten()], dim=-1)[None]
    expected = torch.tensor([[[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2.5, 2.5]]])
    torch.testing.assert_close(pooler(states_IPV), expected)


@pytest.mark.parametrize("tokens", [5, 25])
def test_projection_wants_a_square_that_fits(tokens):
    with pytest.raises(PipeError, match="a square number up to 16"):
        POOLERS["projection"](8, 8, tokens, 4)
    with pytest.raises(ValueError, match="a square number up to 16"):  # with the recipe already
        new_vision("projection", tokens)


@pytest.mark.parametrize("pooler", POOLERS)
def test_an_encoder_is_the_same_after_saving(tmp_path, pooler):
    vision = encoder(pooler)
    vision.save(tmp_path / "vision")
    loaded = VisionEncoder.load(tmp_path / "vision")
    assert (loaded.kind, loaded.tokens, loaded.image_size) == (pooler, 4, SIZE)
    state, again = vision.state_dict(), loaded.state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert torch.equal(tokens_of(vision), tokens_of(loaded))
    assert tokens_of(vision).shape == (2, 4, HIDDEN)


@pytest.mark.parametrize("whole", [True, False])
def test_a_siglip_checkpoint_is_a_start(tmp_path, whole):
    start = save_siglip(tmp_path / "siglip", whole=whole)
    vision = VisionEncoder.from_start(VisionConfig(start=str(start), tokens=4), HIDDEN, 0)
    model = SiglipModel if whole else SiglipVisionModel
    with torch.inference_mode():
        theirs = model.from_pretrained(start).eval()
        theirs = theirs.vision_model if whole else theirs
        pixels = vision.pixels(pictures())
        expected = theirs(pixel_values=pixels).last_hidden_state
        torch.testing.assert_close(vision.tower(pixels).last_hidden_state, expected)
    assert not [name for name, _ in vision.named_parameters() if "head" in name.split(".")]


def test_the_seed_decides_a_new_encoder_and_moves_no_other_numbers():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = encoder("projection").state_dict(), encoder("projection").state_dict()
    assert torch.equal(before, torch.get_rng_state())
    other = encoder("projection", seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = [name for name in first if first[name].dim() > 1]
    assert weights
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_a_new_tower_tells_pictures_apart_at_a_sensible_scale():
    tokens_INH = tokens_of(encoder("adaptive", SIDE**2))
    assert 0.2 < float(tokens_INH.std()) < 2
    assert not torch.allclose(tokens_INH[0], tokens_INH[1], atol=1e-2)


def test_pixels_can_be_made_in_another_process():
    vision = encoder()
    processor = pickle.loads(pickle.dumps(vision.processor))
    images = [pictures()[0].convert("L"), pictures()[1].convert("RGBA")]
    pixels = processor(images)
    assert pixels.shape == (2, 3, SIZE, SIZE)
    assert pixels.dtype == torch.float32
    assert float(pixels.abs().max()) <= 1
    assert torch.equal(pixels, vision.pixels(images))
    assert vision.pixels([]).shape == (0, 3, SIZE, SIZE)


def test_every_kernel_of_attention_gives_the_same_tokens():
    vision = encoder()
    use_attention(vision.tower, "sdpa")
    fused = tokens_of(vision)
    use_attention(vision.tower, "eager")
    assert vision.tower.config._attn_implementation == "eager"
    torch.testing.assert_close(tokens_of(vision), fused, rtol=1e-4, atol=1e-5)


def _change_config(directory, **settings):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | settings))


def _drop_a_weight(directory):
    weights = load_file(directory / "model.safetensors")
    del weights["vision_model.post_layernorm.bias"]
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json is missing"),
        (lambda d: _change_config(d, model_type="bert"), "of the type 'bert'"),
        (lambda d: _change_config(d, model_type="siglip2"), "of fixed resolution"),
        (lambda d: _change_config(d, vision_config=None), "describes no vision tower"),
        (lambda d: (d / "model.safetensors").unlink(), "expected config.json and model"),
        (lambda d: (d / "model.safetensors").write_bytes(b"no"), "expected config.json and model"),
        (_drop_a_weight, "lacks 1 of the vision tower's weights, the first is .*post_layernorm"),
        (lambda d: (d / "preprocessor_config.json").unlink(), "expected preprocessor_config.json"),
        (lambda d: ImagePixels.new(24).save(d), "files of one checkpoint"),
    ],
)
def test_a_wrong_start_is_a_sentence(tmp_path, spoil, sentence):
    start = save_siglip(tmp_path / "siglip")
    spoil(start)
    with pytest.raises(PipeError, match=sentence):
        VisionEncoder.from_start(VisionConfig(start=str(start)), HIDDEN, 0)


@pytest.mark.parametrize("file", ["vision.json", "pooler.safetensors", "config.json"])
def test_a_broken_save_is_a_sentence(tmp_path, file):
    encoder("projection").save(tmp_path / "vision")
    (tmp_path / "vision" / file).write_text("{}")
    with pytest.raises(PipeError, match=r"vision.json|pooler.safetensors|of the type None"):
        VisionEncoder.load(tmp_path / "vision")
