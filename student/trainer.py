"""The training step: ``transformers.Trainer`` with this project's batches and losses.

Shape legend: B texts of the whole batch, b of this process, D a head's width, T the target's.
"""

import math
from collections import defaultdict
from typing import Any

import torch
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from data_prep.draws import draw
from data_prep.errors import PipeError
from student.batches import BatchLoader, BatchStream, DistillBatch
from student.config import LossConfig
from student.losses import LossTerms, caption_loss, distillation_loss
from student.model import Student
from student.randomness import seed_step
from student.ranks import Ranks
from student.stage_config import StageConfig
from student.timing import StepClock

_REMEDY = (
    "to train with a lower learning_rate, set it in the recipe and remove the stage's directory, "
    "which begins it anew"
)


class DistillTrainer(Trainer):
    """Trains a student on batches that come from the store.

    The optimizer, clipping, schedules, several processes and logging are the library's.
    """

    def __init__(
        self, student: Student, *args: Any, batches: BatchStream, readers: int, stage: StageConfig,
        losses: LossConfig, ranks: Ranks, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Prepare a stage.

        Args:
            student: The student itself, which something may wrap.
            *args: As for ``transformers.Trainer``, behind the model.
            batches: The stage's batches from the first step that is to run.
            readers: Processes that read ahead.
            stage: Which heads have which losses.
            losses: Weights of the losses.
            ranks: The processes that train.
            **kwargs: As for ``transformers.Trainer``.
        """
        super().__init__(student, *args, **kwargs)
        self.student = student
        self.batches = batches
        self.readers = readers
        self.stage = stage
        self.losses = losses
        self.ranks = ranks
        self._sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(()))
        self._steps = 0
        self.clock = StepClock(self.args.device)
        self.add_callback(_EndOfStep(self.clock))

    def get_train_dataloader(self) -> BatchLoader:
        """The stage's own stream, which already begins at the right step."""
        return self.batches.loader(self.readers, self.clock)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Forward and backward pass; with ZeRO the optimizer's step as well.

        Args:
            *args: As for ``transformers.Trainer``.
            **kwargs: As for ``transformers.Trainer``.
        """
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self.clock.stop("backward")
        self.clock.start("optimizer")
        return loss

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
            inputs: The batch, or this process's part of it.
            return_outputs: Not used.
            num_items_in_batch: Not used; a step is one batch.

        Returns:
            The scalar to differentiate. The library averages gradients over the processes.

        Raises:
            PipeError: The loss is not a finite number; the rows are named.
        """
        # Dropout's random numbers are a function of the step, so there is no state to keep.
        step = self.state.global_step
        seed_step(draw(self.args.seed, "step", step, self.ranks.number), self.args.device)
        with self.clock.part("forward"):
            vectors = model(inputs["groups"], tuple(self.stage.heads), pooled=inputs["pooled"])
        with self.clock.part("loss"):
            target, factor = inputs["target"], 1
            if self.losses.scope == "global":
                vectors, target = self._whole_batch(vectors, target)
                factor = self.ranks.count
            loss = self._loss(vectors, target)
            if not torch.isfinite(loss.total):
                raise self._not_finite(loss, vectors, target, inputs["rows"])
        self._count({"loss": loss.total.detach(), **loss.terms})
        self.clock.start("backward")
        return loss.total * factor

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add each head's terms, averaged since the last line, to what the library logs.

        Args:
            logs: The library's values.
            start_time: When training started.
        """
        if not self._steps:  # a line of its own, such as an evaluation's
            super().log(logs, start_time)
            return
        if not math.isfinite(logs.get("grad_norm", 0.0)):
            raise PipeError(
                f"the gradient of step {self.state.global_step} is {logs['grad_norm']}, though its "
                f"loss is a number; {_REMEDY}."
            )
        sums = torch.stack(list(self._sums.values()))
        if self.losses.scope == "rank":
            sums = self.ranks.add_up(sums) / self.ranks.count
        # The library's own loss is scaled for several processes.
        logs |= dict(zip(self._sums, (sums / self._steps).tolist(), strict=True))
        logs |= self.clock.take()
        self._sums.clear()
        self._steps = 0
        with self.clock.outside():  # callbacks evaluate the student, or write a checkpoint
            super().log(logs, start_time)
            self.ranks.wait()

    def release(self) -> None:
        """Let go of what DeepSpeed would keep: the engine, and through it the student."""
        engine = getattr(self.accelerator, "deepspeed_engine_wrapped", None)
        if engine is not None:
            engine.engine.destroy()
            self.accelerator.free_memory()

    def _loss(self, vectors: dict[str, torch.Tensor], target: torch.Tensor) -> LossTerms:
        if self.stage.inputs == "texts":
            return distillation_loss(vectors, target, self.stage, self.losses)
        with torch.no_grad():  # for every head, what that head makes of the caption
            captions = {head: self.student.project(target, head) for head in self.stage.heads}
        return caption_loss(vectors, captions, self.stage, self.losses)

    def _whole_batch(
        self, vectors: dict[str, torch.Tensor], target_bT: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The vectors and targets of all processes' texts, in one exchange."""
        if self.ranks.count == 1:
            return vectors, target_bT
        columns = [*vectors.values(), target_bT]
        rows_BC = self.ranks.gather(torch.cat(columns, dim=1), self.batches.order.batch_size)
        *heads, target_BT = rows_BC.split([column.shape[1] for column in columns], dim=1)
        return dict(zip(vectors, heads, strict=True)), target_BT

    def _count(self, terms: dict[str, torch.Tensor]) -> None:
        for name, term in terms.items():
            self._sums[name] = self._sums[name].to(term.device) + term
        self._steps += 1

    def _not_finite(
        self,
        loss: LossTerms,
        vectors: dict[str, torch.Tensor],
        target: torch.Tensor,
        rows_b: torch.Tensor,
    ) -> PipeError:
        """What to say of a step; all processes come here together, or each compares alone."""
        if self.losses.scope == "global":
            whole = self.ranks.gather(rows_b[:, None], self.batches.order.batch_size)
            rows_b = whole[:, 0]
        sound = torch.isfinite(torch.cat([*vectors.values(), target], dim=1)).all(dim=1)
        step = f"the loss of step {self.state.global_step + 1} is {loss.total.item()}"
        if not sound.any():
            return PipeError(
                f"{step}, and no row of its batch gives numbers, so the weights have left all "
                f"bounds or were damaged on disk; {_REMEDY}."
            )
        found = "its batch holds the rows" if sound.all() else "no numbers come from the rows"
        named = sorted((rows_b if sound.all() else rows_b[~sound]).tolist())
        return PipeError(
            f"{step}; {found} {', '.join(map(str, named))}. Look at them with "
            f"`pipe store verify`, or {_REMEDY}."
        )


def require_finite_weights(student: torch.nn.Module, title: str) -> None:
    """Check the weights that a stage ends with: nobody has seen a loss of theirs.

    Args:
        student: The student.
        title: The stage, for people.

    Raises:
        PipeError: A weight that was trained is not a finite number.
    """
    for name, parameter in student.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise PipeError(f"{title} ends with weights that are no numbers ({name}); {_REMEDY}.")


class _EndOfStep(TrainerCallback):
    """Tells the clock that the optimizer is done."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.clock.stop("optimizer")
