"""Settings that are left to the machine."""

from typing import Any

import torch

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
    sharding = training.sharding
    if sharding == "auto":
        sharding = "zero2" if ranks.count > 1 else "none"
    return training.model_copy(
        update={"precision": precision, "attention": attention, "sharding": sharding}
    )
