"""What vLLM finds through the entry point ``vllm.general_plugins``, in each of its processes."""

from collections.abc import Mapping

STELLA_TOWER = "JasperStellaTower"
NV_EMBED_TOWER = "JasperNvEmbedTower"

ARCHITECTURES: Mapping[str, str] = {
    STELLA_TOWER: "teacher_cache.encoders.vllm.towers:StellaTower",
    NV_EMBED_TOWER: "teacher_cache.encoders.vllm.towers:NvEmbedTower",
}
"""Architectures of this project by name, as ``module:Class``."""


def register() -> None:
    """Tell vLLM of the architectures; it may call this any number of times."""
    from vllm import ModelRegistry  # noqa: PLC0415  only vLLM's own environment has it

    for name, place in ARCHITECTURES.items():
        ModelRegistry.register_model(name, place)
