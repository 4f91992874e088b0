"""The training step: ``transformers.Trainer`` with this project's batches and losses."""

from collections import defaultdict
from typing import Any

import torch
from transformers import Trainer

from data_prep.errors import PipeError
from student.batches import BatchLoader, BatchStream, DistillBatch
from student.config import LossConfig, StageConfig
from student.losses import distillation_loss


class DistillTrainer(Trainer):
    """Trains a student on batches that come from the store.

    Checkpoints, resuming, mixed precision, clipping, schedules and logging are the library's.
    """

    def __init__(
        self, *args: Any, batches: BatchStream, readers: int, stage: StageConfig,
        losses: LossConfig, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Prepare a stage.

        Args:
            *args: As for ``transformers.Trainer``.
            batches: The stage's batches from the first step that is to run.
            readers: Processes that read ahead.
            stage: Which heads have which losses.
            losses: Weights of the losses.
            **kwargs: As for ``transformers.Trainer``.
        """
        super().__init__(*args, **kwargs)
        self.batches = batches
        self.readers = readers
        self.stage = stage
        self.losses = losses
        self._sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(()))
        self._steps = 0

    def get_train_dataloader(self) -> BatchLoader:
        """The stage's own stream, which already begins at the right step."""
        return self.batches.loader(self.readers)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: DistillBatch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Texts through the student, its vectors against the target.

        Args:
            model: The student, possibly wrapped.
            inputs: The batch.
            return_outputs: Not used.
            num_items_in_batch: Not used; a step is one batch.

        Returns:
            The scalar to differentiate.

        Raises:
            PipeError: The loss is not a finite number; the rows are named.
        """
        vectors = model(inputs["groups"], tuple(self.stage.heads), pooled=inputs["pooled"])
        loss = distillation_loss(vectors, inputs["target"], self.stage, self.losses)
        if not torch.isfinite(loss.total):
            rows = sorted(inputs["rows"].tolist())
            shown = ", ".join(map(str, rows[:8]))
            raise PipeError(
                f"the loss of step {self.state.global_step + 1} is {loss.total.item()}; its batch "
                f"holds the rows {shown}{' ...' if len(rows) > 8 else ''}. Look at them with "
                "`pipe store verify`, or lower the stage's learning_rate."
            )
        for name, term in loss.terms.items():
            self._sums[name] = self._sums[name].to(term.device) + term
        self._steps += 1
        return loss.total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add each head's terms, averaged since the last line, to what the library logs.

        Args:
            logs: The library's values.
            start_time: When training started.
        """
        if self._steps:
            logs |= {name: (total / self._steps).item() for name, total in self._sums.items()}
            self._sums.clear()
            self._steps = 0
        super().log(logs, start_time)
