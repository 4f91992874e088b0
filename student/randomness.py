"""The random numbers of a training step."""

import torch


def seed_step(seed: int, device: torch.device) -> None:
    """Seed what a step draws from, with the same effect there as ``torch.manual_seed``.

    That one also prepares every kind of accelerator that a machine might have, and formats the
    stack for each: a tenth of a step that computes no backbone.

    Args:
        seed: From 0 to 2**64 - 1.
        device: Where the step runs.

    >>> seed_step(3, torch.device("cpu"))
    >>> one = torch.rand(2)
    >>> _ = torch.manual_seed(3)
    >>> bool((one == torch.rand(2)).all())
    True
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
