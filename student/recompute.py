"""Memory for time: layers that are computed again in the backward pass."""

from typing import Any

from transformers import PreTrainedModel

from data_prep.errors import PipeError


def checkpoint_layers(backbone: PreTrainedModel) -> None:
    """Keep each layer's input alone while training, and compute the layer again when going back.

    Gradients are the same, dropout included. It also works where the lower layers are frozen.

    Args:
        backbone: The model, changed in place; it computes again in training mode only.

    Raises:
        PipeError: The backbone's layers cannot be computed again.
    """
    if not backbone.supports_gradient_checkpointing:
        raise PipeError(
            f'training.recompute is "layers", which {type(backbone).__name__} does not know; set '
            'it to "groups" or "none".'
        )
    arguments: dict[str, Any] = {"use_reentrant": False}
    # transformers renamed it in 5.23.
    if hasattr(backbone, "activation_checkpointing_enable"):
        backbone.activation_checkpointing_enable(arguments)
    else:
        backbone.gradient_checkpointing_enable(arguments)
