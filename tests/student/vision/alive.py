"""Counting the images that are in memory together."""

import weakref
from collections.abc import Callable

from PIL import Image


class Alive:
    """Wraps what makes images and notes how many of the earlier ones are held at each call."""

    def __init__(self, make: Callable[..., Image.Image]) -> None:
        self._make = make
        self._images: list[weakref.ref[Image.Image]] = []
        self.held: list[int] = []

    def __call__(self, *given: object, **options: object) -> Image.Image:
        self.held.append(sum(image() is not None for image in self._images))
        image = self._make(*given, **options)
        self._images.append(weakref.ref(image))
        return image
