"""Images as an embedding function of the student: encoded files in, pooled states out.

Shape legend: N images, H pooled state, D a head's width.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from student.encode import ACCELERATOR_TOKENS, CPU_TOKENS, evaluating
from student.model import Student
from student.pair_rows import decoded, image_groups


@torch.no_grad()
def image_states(student: Student, files: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """Encode images up to the pooled state.

    Args:
        student: The model, on whatever device it is; its training mode is as it was afterwards.
        files: N encoded images.

    Returns:
        states_NH, float32, not normalised.

    Raises:
        PipeError: The student has no vision encoder, or an image cannot be decoded.
    """
    device = next(student.parameters()).device
    tokens, vision = student.image_ids(), student.seeing()
    size = vision.images_within(CPU_TOKENS if device.type == "cpu" else ACCELERATOR_TOKENS)
    states = [np.empty((0, student.hidden), np.float32)]
    with evaluating(student):
        images = (decoded(data, vision.processor) for data in files)
        for group in image_groups(images, tokens, vision.processor, size):
            states_BH = student.pooled(
                group["input_ids"].to(device),
                group["attention_mask"].to(device),
                group["pixel_values"].to(device),
            )
            states.append(states_BH.cpu().numpy())
    return np.concatenate(states)
