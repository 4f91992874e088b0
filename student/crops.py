"""Random crops of the images that a stage trains on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Crops:
    """Cuts a part out of every image, another one each time it is drawn.

    Where it is cut follows from the seed, the step and the row alone, so a resumed stage sees the
    same crops.

    Attributes:
        least: The least share of each side that is kept, 0 to 1; 1 keeps the whole image.
        seed: Of the stage.
    """

    least: float
    seed: int

    def __call__(self, image: "Image", step: int, row: int) -> "Image":
        """Crop an image, with its proportions.

        Args:
            image: Any image.
            step: The step it is drawn in.
            row: Its row.

        Returns:
            A part of the image.
        """
        if self.least >= 1:
            return image
        share, left, top = np.random.default_rng((self.seed, step, row)).random(3)
        scale = self.least + (1 - self.least) * share
        width, height = (max(1, round(side * scale)) for side in image.size)
        x, y = round(left * (image.width - width)), round(top * (image.height - height))
        return image.crop((x, y, x + width, y + height))
