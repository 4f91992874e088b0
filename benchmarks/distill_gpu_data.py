"""The shape of a large student, and batches of random tokens for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from student.batches import BatchStream, DistillBatch
from student.token_group import TokenGroup
from teacher_cache.batching import token_batches


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model; the defaults are stella_en_1.5B_v5's."""

    width: int = 1536
    layers: int = 28
    feed: int = 8960
    heads: int = 12
    key_heads: int = 2
    vocab: int = 151646

    def layer_flop(self, lengths: npt.NDArray[np.int64]) -> float:
        """Of some texts' way through one layer."""
        keys = self.width * self.key_heads // self.heads
        linear = 2 * self.width * self.width + 2 * self.width * keys + 3 * self.width * self.feed
        return float(2 * linear * lengths.sum() + 4 * self.width * (lengths**2).sum())


TINY = Shape(width=64, layers=4, feed=96, heads=4, key_heads=2, vocab=99)


class RandomBatches(BatchStream):
    """Batches of random tokens and random targets, made before the first step.

    Attributes:
        lengths: Tokens of every text of the batches that are repeated, (batches, B).
    """

    def __init__(
        self, lengths: npt.NDArray[np.int64], vocab: int, width: int, budget: int, steps: int
    ) -> None:
        self.lengths = lengths
        self.steps = range(steps)
        rng = np.random.default_rng(2)
        self._made = [self._make(rng, of_batch, vocab, width, budget) for of_batch in lengths]

    @staticmethod
    def _make(
        rng: np.random.Generator,
        lengths: npt.NDArray[np.int64],
        vocab: int,
        width: int,
        budget: int,
    ) -> DistillBatch:
        groups = []
        for places in token_batches(lengths, budget):
            longest = int(lengths[places].max())
            mask = np.arange(longest) < lengths[places, None]
            ids = rng.integers(1, vocab, mask.shape) * mask
            groups.append(
                TokenGroup(
                    input_ids=torch.from_numpy(ids),
                    attention_mask=torch.from_numpy(mask.astype(np.int64)),
                )
            )
        target_BT = torch.from_numpy(rng.standard_normal((len(lengths), width), np.float32))
        return DistillBatch(
            groups=groups,
            pooled=None,
            target=nn.functional.normalize(target_BT, dim=1),
            rows=torch.arange(len(lengths)),
        )

    def _read(self) -> Iterator[DistillBatch]:
        for step in self.steps:
            yield self._made[step % len(self._made)]
