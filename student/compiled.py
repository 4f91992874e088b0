"""The backbone's layers, translated by torch.compile."""

import torch
from transformers import PreTrainedModel

from data_prep.errors import PipeError, first_line
from student.layers import layers_of


def compile_layers(backbone: PreTrainedModel) -> None:
    """Let torch translate the layers when they first run, once for texts of any length.

    The layers are compiled in place and one by one: parameters keep their names, and layers that
    are alike share one translation.

    Args:
        backbone: The model, changed in place.

    Raises:
        PipeError: The machine has no compiler that works.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.compile(_trial)(torch.ones(8, device=device))
    # Whatever a missing or broken compiler raises: it comes wrapped, and by many names.
    except Exception as error:
        raise PipeError(
            f"training.compile is true, and torch.compile does not work on this machine "
            f"({first_line(error)}); install a C++ compiler, or set it to false."
        ) from None
    for layer in layers_of(backbone):
        layer.compile(dynamic=True)


def _trial(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1
