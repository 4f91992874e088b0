"""``torch.compile`` for parts of a teacher."""

import functools
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from data_prep.errors import PipeError


def compile_forward(module: nn.Module) -> None:
    """Compile a module in place, once for batches of all shapes; the first batches take longer.

    Args:
        module: A loaded module. A batch raises PipeError if it cannot be compiled here.
    """
    plain = module.forward
    compiled = torch.compile(plain, dynamic=True)

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason")
            raise PipeError(
                f"{type(module).__name__} cannot be compiled on this machine ({reason}), expected "
                "a C++ compiler such as g++, and Triton for a GPU; install it, or leave "
                "`--compile` out."
            ) from error

    module.forward = forward
