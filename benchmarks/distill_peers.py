"""The same training, written by others: a plain loop, and ``SentenceTransformerTrainer``."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset, Features, List, Value
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import EmbedDistillLoss
from sentence_transformers.models import Dense, Pooling, Transformer
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoTokenizer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

from benchmarks.distill_data import InMemory
from benchmarks.loss import naive_loss
from benchmarks.turns import Pause
from student.begin import BegunStage
from student.config import LossConfig
from student.losses import distillation_loss
from student.stage_config import StageConfig

Vectors = dict[str, torch.Tensor]
Loss = Callable[[Vectors, torch.Tensor, StageConfig, LossConfig], torch.Tensor]
_LOG_EVERY = 10


def authors_loss(
    vectors: Vectors, target_BT: torch.Tensor, stage: StageConfig, losses: LossConfig
) -> torch.Tensor:
    """The three losses as the paper writes them, the third with a P x P matrix for each head."""
    teacher_BB = target_BT @ target_BT.T
    total = torch.zeros(())
    for head, names in stage.heads.items():
        unit_BD = F.normalize(vectors[head].float(), dim=-1)
        scores_BB = unit_BD @ unit_BD.T
        if "cosine" in names:
            total = total + losses.cosine * (1 - (unit_BD * target_BT).sum(-1)).sum()
        if "similarity" in names:
            total = total + losses.similarity * F.mse_loss(scores_BB, teacher_BB)
        if "relative_similarity" in names:
            relative = naive_loss(scores_BB, teacher_BB, losses.margin)
            total = total + losses.relative_similarity * relative
    return total


def exact_loss(
    vectors: Vectors, target_BT: torch.Tensor, stage: StageConfig, losses: LossConfig
) -> torch.Tensor:
    """This project's loss."""
    return distillation_loss(vectors, target_BT, stage, losses).total


class PlainStudent(nn.Module):
    """The student of a plain script: a backbone as transformers gives it, a mean, and heads."""

    def __init__(self, stage: BegunStage) -> None:
        """Take the stage's start, and train what the stage trains."""
        super().__init__()
        directory = stage.run.places.final(0) / "backbone"
        self.text = AutoModel.from_pretrained(directory)
        self.heads = nn.ModuleDict(
            {head: nn.Linear(stage.student.hidden, stage.run.head_widths[head])
             for head in stage.settings.heads}
        )  # fmt: skip
        trains = {name: p.requires_grad for name, p in stage.student.named_parameters()}
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(trains[name])

    def forward(self, features: dict[str, torch.Tensor]) -> Vectors:
        """Vectors of every head."""
        states_BLH = self.text(**features).last_hidden_state
        mask_BL1 = features["attention_mask"].unsqueeze(-1)
        pooled_BH = (states_BLH * mask_BL1).sum(1) / mask_BL1.sum(1)
        return {name: head(pooled_BH) for name, head in self.heads.items()}


def plain_loop(stage: BegunStage, data: InMemory, loss: Loss) -> Callable[[Pause], None]:
    """A training loop as one writes it: pad a batch to its longest, one forward pass, AdamW.

    It has everything in memory, so it reads nothing.

    Args:
        stage: What trains, on which losses, with which settings.
        data: The batches.
        loss: Of the vectors.

    Returns:
        The training.
    """
    settings, losses = stage.settings, stage.run.losses
    bf16 = stage.training.precision == "bf16"
    torch.manual_seed(0)
    model = PlainStudent(stage).train()
    tokenizer = AutoTokenizer.from_pretrained(stage.run.places.final(0) / "backbone")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    warmup = round(settings.steps * settings.warmup_fraction)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, settings.steps)

    def train(pause: Pause) -> None:
        for step, (texts, target_BT) in enumerate(_batches(data)):
            features = tokenizer(
                texts,
                padding=True,
                truncation=True,
                max_length=stage.student.max_tokens,
                return_tensors="pt",
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                vectors = model(dict(features))
            value = loss(vectors, target_BT, settings, losses)
            value.backward()
            nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % _LOG_EVERY == 0:
                value.item()
            pause()

    return train


def _batches(data: InMemory) -> Iterator[tuple[list[str], torch.Tensor]]:
    steps = len(data.texts) // data.size
    for step in count():
        part = slice(step % steps * data.size, (step % steps + 1) * data.size)
        yield data.texts[part], torch.from_numpy(data.target_NT[part])


def sentence_transformers_training(
    stage: BegunStage, data: InMemory, work: Path
) -> Callable[[Pause], None]:
    """``SentenceTransformerTrainer`` with ``EmbedDistillLoss``, one loss on one head.

    Args:
        stage: What trains, with which settings.
        data: The batches; they come in the same order.
        work: For what the library writes.

    Returns:
        The training.
    """
    settings = stage.settings
    backbone = Transformer(
        str(stage.run.places.final(0) / "backbone"), max_seq_length=stage.student.max_tokens
    )
    hidden, width = stage.student.hidden, stage.run.target_width
    head = Dense(hidden, width, activation_function=nn.Identity())
    model = SentenceTransformer(modules=[backbone, Pooling(hidden, "mean"), head], device="cpu")
    trains = {name: p.requires_grad for name, p in stage.student.text.named_parameters()}
    for name, parameter in cast(Any, backbone).auto_model.named_parameters():
        parameter.requires_grad_(trains[name])
    features = Features({"text": Value("string"), "label": List(Value("float32"), length=width)})
    rows = Dataset.from_dict({"text": data.texts, "label": data.target_NT}, features=features)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=data.size,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.steps * settings.warmup_fraction),
        weight_decay=settings.weight_decay,
        bf16=stage.training.precision == "bf16",
        use_cpu=True,
        logging_steps=_LOG_EVERY,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        train_sampling_strategy="sequential",
        batch_sampler=_in_order,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        loss=EmbedDistillLoss(model, distance_metric="cosine"),
    )

    def train(pause: Pause) -> None:
        trainer.add_callback(AtStepEnd(pause))
        trainer.train()

    return train


def _in_order(dataset: Dataset, batch_size: int, drop_last: bool, **_: Any) -> Any:
    sampler = torch.utils.data.SequentialSampler(cast(Any, dataset))
    return torch.utils.data.BatchSampler(sampler, batch_size, drop_last)


class AtStepEnd(TrainerCallback):
    """Calls something behind every step of a ``transformers.Trainer``."""

    def __init__(self, call: Callable[[], None]) -> None:
        """Say what."""
        self.call = call

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Call it."""
        self.call()
