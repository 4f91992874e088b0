"""Weights on their way to a file."""

from collections.abc import Mapping

import torch


def own_storage(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors for a safetensors file, which refuses the parts of ZeRO's flat buffers.

    Args:
        state: Tensors by name.

    Returns:
        The same numbers on the CPU, each tensor in memory of its own.
    """
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
