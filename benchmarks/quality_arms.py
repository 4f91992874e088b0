"""The arms of the quality study: what each changes in the recipe, and how often it is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMALL_HEADS = ("fc2", "fc3", "fc4")
"""Heads of other widths than the target's: no loss compares them with it number by number."""

MSE_WEIGHT = 640.0
"""Of unit vectors this is the recipe's cosine loss: 10 x sum(1 - cos) = 640 x mean |s - t|^2 at a
batch of 128. Every arm's gradient is clipped to the same norm, so that scale matters little."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train.

    Attributes:
        losses: What the heads learn by.
        start: How new heads begin.
        overrides: What differs from the recipe.
        seeds: The seeds that it is run with.
    """

    losses: str
    start: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Losses and start together."""
        return f"{self.losses}-{self.start}"


def _alone(loss: str) -> tuple[str, ...]:
    """One loss for the head as wide as the target; similarity alone for the small ones."""
    wide = tuple(f'stages.{stage}.heads.fc1=["{loss}"]' for stage in range(3))
    return (*wide, *(f'stages.2.heads.{head}=["similarity"]' for head in SMALL_HEADS))


LOSSES: Mapping[str, tuple[str, ...]] = {
    "three": (),
    "cosine": _alone("cosine"),
    "mse": (*_alone("mse"), f"losses.mse={MSE_WEIGHT}"),
}

STARTS: Mapping[str, tuple[str, ...]] = {
    name: tuple(f'stages.{stage}.init="{init}"' for stage in (0, 2))
    for name, init in (("random", "random"), ("least-squares", "least_squares"))
}

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "nested": tuple(f"student.nested.{head}=fc1" for head in SMALL_HEADS),
    "self": ("stages.2.target=fc1",),
    "equal-weights": ("teachers.0.weight=1.0",),
}
"""The paper's three losses from the closed form, as `laptop` begins, with one thing changed."""


def arms(seeds: Sequence[int]) -> list[Arm]:
    """All arms, the most telling first.

    Args:
        seeds: Seeds of every arm.
    """
    main = [
        Arm(losses, start, (*changes, *head_starts), tuple(seeds))
        for start, head_starts in STARTS.items()
        for losses, changes in LOSSES.items()
    ]
    return main + [
        Arm(name, "least-squares", (*changes, *STARTS["least-squares"]), tuple(seeds))
        for name, changes in VARIANTS.items()
    ]
