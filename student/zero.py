"""DeepSpeed ZeRO-2: gradients and the optimizer's state spread over the processes."""

from typing import Any

import torch
from torch import nn

from data_prep.errors import UsageError


def require_deepspeed() -> None:
    """Check that DeepSpeed is there, and keep it from compiling what is not needed.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import deepspeed.ops  # noqa: PLC0415 - heavy, and only for several processes
    except ImportError:
        raise UsageError(
            "training in several processes with ZeRO-2 needs DeepSpeed; install the extra with "
            "`pip install 'jasper-distill[deepspeed]'`, or set training.sharding=none."
        ) from None
    if not torch.cuda.is_available():
        # Its collective for processes of one machine would be compiled for minutes; gloo serves.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def zero2_config() -> dict[str, Any]:
    """What ``TrainingArguments`` takes as ``deepspeed``; batch size and clipping are filled in."""
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": 1,
        "gradient_clipping": "auto",
        # Weights stay in float32 and the forward pass runs under autocast, as in one process.
        "communication_data_type": "fp32",
        "zero_optimization": {"stage": 2, "overlap_comm": torch.cuda.is_available()},
    }


def is_sharded(parameter: nn.Parameter) -> bool:
    """Whether ZeRO keeps a parameter's optimizer state in parts.

    Args:
        parameter: A parameter of the model.
    """
    return hasattr(parameter, "_hp_mapping")


def sharded_optimizer(optimizer: Any) -> torch.optim.Optimizer | None:
    """The optimizer inside ZeRO's, whose parameters are this process's flat parts.

    Args:
        optimizer: The trainer's optimizer.

    Returns:
        None where ZeRO is not at work.
    """
    zero = _zero(optimizer)
    inner: torch.optim.Optimizer | None = zero.optimizer if zero is not None else None
    return inner


def link_moments(optimizer: Any) -> None:
    """Let every parameter find its part of the moments.

    ZeRO does so after its first step, for the first group of parameters alone.

    Args:
        optimizer: The trainer's optimizer.
    """
    from deepspeed.utils import lazy_init_hp_params_optimizer_state  # noqa: PLC0415

    zero = _zero(optimizer)
    for parameters, flat in zip(
        zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True
    ):
        lazy_init_hp_params_optimizer_state(parameters, flat, zero.optimizer.state)


def moment_of(parameter: nn.Parameter, kind: str) -> torch.Tensor:
    """A parameter's whole moment; every process must ask for it.

    Args:
        parameter: A parameter of the model.
        kind: ``exp_avg`` or ``exp_avg_sq``.

    Returns:
        float32, of the parameter's shape.
    """
    from deepspeed.utils import safe_get_full_optimizer_state  # noqa: PLC0415

    moment: torch.Tensor = safe_get_full_optimizer_state(parameter, kind)
    return moment


def set_moment(parameter: nn.Parameter, kind: str, moment: torch.Tensor) -> None:
    """Set this process's part of a parameter's moment.

    Args:
        parameter: A parameter of the model.
        kind: ``exp_avg`` or ``exp_avg_sq``.
        moment: The whole of it.
    """
    from deepspeed.utils import safe_set_full_optimizer_state  # noqa: PLC0415

    safe_set_full_optimizer_state(parameter, moment, kind)


def _zero(optimizer: Any) -> Any:
    """DeepSpeed's optimizer inside accelerate's wrapper; None for any other."""
    inner = getattr(optimizer, "optimizer", None)
    return inner if hasattr(inner, "single_partition_of_fp32_groups") else None
