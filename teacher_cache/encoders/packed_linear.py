"""Linear layers for a CPU, their weights in the order in which oneDNN reads them.

What ``torch.compile`` does when it freezes a model, without compiling: no weight is reordered at
every call, and float32 does not depend on how well MKL knows the processor.
"""

from typing import Any

import torch
from torch import nn

# Batches of a teacher on a CPU have about as many tokens; others run as well.
_TOKENS = 1024


class PackedLinear(nn.Module):
    """A linear layer that is only ever applied.

    Attributes:
        weight: Opaque, of the original's shape and dtype.
        bias: The original's.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Reorder the weight.

        Args:
            linear: On a CPU; it is not needed afterwards.
        """
        super().__init__()
        self.weight = _onednn()._reorder_linear_weight(linear.weight.detach(), _TOKENS)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Apply the layer.

        Args:
            states: (..., width of the input).

        Returns:
            (..., width of the output).
        """
        applied: torch.Tensor = _onednn()._linear_pointwise(
            states, self.weight, self.bias, "none", [], ""
        )
        return applied


def pack_linears(model: nn.Module) -> None:
    """Pack a model's linear layers in place, where this torch and this processor can.

    Args:
        model: A loaded model that will not be trained or saved.
    """
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and _can_pack(layer.weight):
                setattr(parent, name, PackedLinear(layer))


def _can_pack(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or not hasattr(_onednn(), "_linear_pointwise"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(_onednn()._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def _onednn() -> Any:
    return torch.ops.mkldnn
