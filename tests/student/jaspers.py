"""Tiny checkpoints in the format of the released Jasper: its names, scaled-down shapes."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Qwen2Config, Qwen2Model, SiglipImageProcessorPil, SiglipVisionConfig
from transformers import SiglipVisionModel as Tower

from student.image_tokens import IMAGE_END, IMAGE_START, IMAGE_TOKEN
from tests.student.tiny_students import byte_tokenizer

HIDDEN, WIDTHS, IMAGE_TOKENS = 32, (48, 16, 8, 4), 5
PROMPT = "Instruct: find it\nQuery: "
_TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rope_theta": 1000000.0,
    "vocab_size": 300,
}
_VISION = {
    "hidden_size": 24,
    "image_size": 32,
    "intermediate_size": 40,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "patch_size": 8,
}


def save_jasper(
    directory: Path, tower: str = "vision_model.vision_model.", shards: int = 1
) -> Path:
    """Write one; ``tower`` stands in front of the names of the vision tower's weights."""
    directory.mkdir(parents=True)
    tokenizer = byte_tokenizer()
    markers = [IMAGE_START, IMAGE_TOKEN, IMAGE_END]
    tokenizer.add_special_tokens({"additional_special_tokens": markers})
    tokenizer.save_pretrained(directory)
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", None]}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    start, token, end = tokenizer.convert_tokens_to_ids(markers)
    config = {
        "architectures": ["JasperVL"],
        "auto_map": {
            "AutoModel": "modeling_jasper_vl.JasperVL",
            "AutoConfig": "configuration_jasper_vl.JasperVLConfig",
        },
        "img_start_token": IMAGE_START,
        "img_start_token_id": start,
        "img_token": IMAGE_TOKEN,
        "img_token_id": token,
        "img_end_token": IMAGE_END,
        "img_end_token_id": end,
        "is_text_encoder": True,
        "model_type": "jasper_vl",
        "num_img_tokens": IMAGE_TOKENS,
        "text_config": _TEXT
        | {
            "_attn_implementation_autoset": True,
            "architectures": ["JasperVL"],
            "model_type": "qwen2",
            "torch_dtype": "float32",
        },
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.1",
        "vector_dim": 16,
        "vector_dropout_p": 0.2,
        "vision_config": _VISION
        | {"_attn_implementation_autoset": True, "model_type": "siglip_vision_model"},
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"s2p_query": PROMPT}, "default_prompt_name": None})
    )
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(directory)
    torch.manual_seed(0)
    weights = {f"model.{k}": v for k, v in Qwen2Model(Qwen2Config(**_TEXT)).state_dict().items()}
    vision = Tower(SiglipVisionConfig(**_VISION)).state_dict()
    weights |= {f"{tower}{k.removeprefix('vision_model.')}": v for k, v in vision.items()}
    for width in WIDTHS:
        head = nn.Linear(HIDDEN, width).state_dict()
        weights |= {f"vector_linear_{width}.{kind}": value for kind, value in head.items()}
    write_weights(directory, weights, shards)
    return directory


def write_weights(directory: Path, weights: dict[str, torch.Tensor], shards: int = 1) -> None:
    """Write weights as the released model's, in bfloat16."""
    half = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    if shards == 1:
        save_file(half, directory / "model.safetensors", {"format": "pt"})
        return
    names = sorted(half)
    index = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: half[name] for name in names[number::shards]}
        save_file(part, directory / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    (directory / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 0}, "weight_map": index})
    )
