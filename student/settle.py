"""Settings that are left to the machine."""

from typing import Any

import torch

from data_prep.errors import PipeError
from student.config import TrainingConfig
from student.ranks import Ranks


def settle(
    training: TrainingConfig, ranks: Ranks, recorded: TrainingConfig | None = None
) -> TrainingConfig:
    """Replace every ``auto``: by what the stage was begun with, or by what is fastest here.

    Args:
        training: What the recipe says.
        ranks: The processes that train.
        recorded: What the stage was begun with, if it was.

    Returns:
        Settings without ``auto``.

    Raises:
        PipeError: They contradict each other.
    """
    precision, attention = training.precision, training.attention
    if recorded is not None:
        precision = recorded.precision if precision == "auto" else precision
        attention = recorded.attention if attention == "auto" else attention
    on_gpu = torch.cuda.is_available()
    if precision == "auto":
        if on_gpu:
            fast = torch.cuda.is_bf16_supported()
        else:
            # Older releases of torch cannot tell; float32 is right everywhere.
            capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
            fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
        precision = "bf16" if fast else "fp32"
    if attention == "auto":
        # On a CPU the backward pass of the fused kernel takes more than twice the plain one's.
        attention = "sdpa" if on_gpu else "eager"
    if attention == "flash_attention_2" and precision == "fp32":
        raise PipeError(
            "training.attention is flash_attention_2 and training.precision fp32, and the kernel "
            "takes bf16 alone; set one of them otherwise."
        )
    sharding = training.sharding
    if ranks.count == 1:
        sharding = "none"  # there is nobody to share with
    elif sharding == "auto":
        sharding = "zero2"
    return training.model_copy(
        update={"precision": precision, "attention": attention, "sharding": sharding}
    )
