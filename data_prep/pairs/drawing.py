"""Drawing a picture of a few equal shapes."""

from dataclasses import dataclass
from io import BytesIO
from math import cos, pi, sin

from PIL import Image, ImageDraw

from data_prep.draws import BITS, draw

# Edges are smoothed by drawing at twice the size.
_FINER = 2

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 40),
    "orange": (245, 140, 20),
    "yellow": (240, 220, 40),
    "green": (40, 165, 70),
    "blue": (45, 85, 215),
    "purple": (130, 45, 170),
    "pink": (245, 130, 190),
    "brown": (125, 75, 35),
}
SIZES = {"small": 0.12, "medium": 0.18, "large": 0.25}
"""Width of one shape, as a share of the picture's side."""

PLACES = {
    "top-left": (0.29, 0.29),
    "top-right": (0.71, 0.29),
    "bottom-left": (0.29, 0.71),
    "bottom-right": (0.71, 0.71),
    "centre": (0.5, 0.5),
}
"""Centre of the shapes together, as shares of the side, from the left and from the top."""


def _star(points: int, inner: float) -> list[tuple[float, float]]:
    """Corners of a star about the origin, with an outer radius of 1."""
    corners = []
    for corner in range(2 * points):
        radius = inner if corner % 2 else 1.0
        angle = pi * corner / points - pi / 2
        corners.append((radius * cos(angle), radius * sin(angle)))
    return corners


_ARM = 0.34
# Corners about the origin, where a shape reaches from -1 to 1; None is round.
KINDS: dict[str, list[tuple[float, float]] | None] = {
    "circle": None,
    "ring": None,
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0.0, -1.0), (1.0, 0.85), (-1.0, 0.85)],
    "star": _star(5, 0.42),
    "cross": [
        *[(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)],
        *[(_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)],
    ],
}

# Where the shapes stand about their common centre, in widths of a shape: every arrangement of
# one, two, three and four.
_LAYOUTS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    1: (((0, 0),),),
    2: (((-0.5, 0), (0.5, 0)), ((0, -0.5), (0, 0.5)), ((-0.5, -0.5), (0.5, 0.5))),
    3: (((0, -0.5), (-0.5, 0.5), (0.5, 0.5)), ((0, 0.5), (-0.5, -0.5), (0.5, -0.5))),
    4: (((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)),),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows.

    Attributes:
        number: How many shapes, from 1 to 4.
        size: A key of ``SIZES``.
        colour: A key of ``COLOURS``.
        kind: A key of ``KINDS``.
        place: A key of ``PLACES``.
    """

    number: int
    size: str
    colour: str
    kind: str
    place: str


class _Dice:
    """Draws about one picture, one after another."""

    def __init__(self, seed: int, doc_id: str) -> None:
        self._identity = (seed, doc_id)
        self._drawn = 0

    def between(self, low: float, high: float) -> float:
        seed, doc_id = self._identity
        self._drawn += 1
        return low + (high - low) * (
            draw(seed, "shapes-drawing", doc_id, self._drawn) / float(1 << BITS)
        )

    def choose(self, count: int) -> int:
        return min(count - 1, int(self.between(0, count)))

    def shade(self, colour: tuple[int, int, int], most: float) -> tuple[int, int, int]:
        red, green, blue = (
            max(0, min(255, round(value + self.between(-most, most)))) for value in colour
        )
        return red, green, blue


def draw_png(scene: Scene, side: int, seed: int, doc_id: str) -> bytes:
    """Draw a picture.

    Args:
        scene: What it shows.
        side: Its width and height, in pixels.
        seed: Decides, with the name, what a scene leaves open.
        doc_id: The picture's name.

    Returns:
        A PNG file in RGB.
    """
    dice = _Dice(seed, doc_id)
    canvas = side * _FINER
    ground = ((228, 228, 228), 24.0) if dice.choose(4) else ((36, 36, 36), 22.0)
    image = Image.new("RGB", (canvas, canvas), dice.shade(*ground))
    pen = ImageDraw.Draw(image)
    width = SIZES[scene.size] * canvas * dice.between(0.94, 1.06)
    step = width * dice.between(1.08, 1.16)
    across, down = (
        share * canvas + canvas * dice.between(-0.03, 0.03) for share in PLACES[scene.place]
    )
    colour = dice.shade(COLOURS[scene.colour], 18)
    layouts = _LAYOUTS[scene.number]
    for right, below in layouts[dice.choose(len(layouts))]:
        centre = (across + step * right, down + step * below)
        _draw_shape(pen, scene.kind, centre, width / 2, dice.between(-0.16, 0.16), colour)
    buffer = BytesIO()
    image.reduce(_FINER).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _draw_shape(
    pen: ImageDraw.ImageDraw,
    kind: str,
    centre: tuple[float, float],
    radius: float,
    tilt: float,
    colour: tuple[int, int, int],
) -> None:
    across, down = centre
    corners = KINDS[kind]
    if corners is None:
        box = (across - radius, down - radius, across + radius, down + radius)
        if kind == "ring":
            pen.ellipse(box, outline=colour, width=max(2, round(radius * 0.42)))
        else:
            pen.ellipse(box, fill=colour)
        return
    turn, lean = cos(tilt), sin(tilt)
    pen.polygon(
        [
            (across + radius * (x * turn - y * lean), down + radius * (x * lean + y * turn))
            for x, y in corners
        ],
        fill=colour,
    )
