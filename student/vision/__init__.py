"""Images to tokens of the text encoder: pixels, a SigLIP tower, and a pooler behind it."""

from student.vision.encoder import VisionEncoder
from student.vision.pixels import ImagePixels
from student.vision.poolers import POOLERS
from student.vision.tokens import VisionTokens

__all__ = ["POOLERS", "ImagePixels", "VisionEncoder", "VisionTokens"]
