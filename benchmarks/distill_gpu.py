"""What does a GPU make of a student of Stella's shape, stage by stage?

Random weights at full size, trained by this project's trainer with the stages, heads and losses of
the recipe ``jasper``: batches of 128 texts of up to 512 tokens, as long as the paper's mixture has
them. Every stage with and without recomputing, stage 2 also with every batch padded as one, and
stage 3 with a batch of 1,024.
"""

import gc
import statistics
import sys
import tempfile
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import Qwen2Config, Qwen2Model, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from benchmarks.distill_gpu_data import TINY, RandomBatches, Shape
from benchmarks.distill_peers import AtStepEnd
from benchmarks.harness import alternate, finish, options, show
from benchmarks.teach_gpu import matmul_peak, mixture_lengths, wait
from pipelines.quiet import quiet_libraries
from pipelines.recipe import Recipe, load_recipe
from student.attention import use_attention
from student.config import Recompute, TrainingConfig
from student.losses import distillation_loss
from student.model import Student
from student.parts import train_only
from student.ranks import ALONE
from student.recompute import checkpoint_layers
from student.settle import settle
from student.stage_config import StageConfig
from student.trainer import DistillTrainer
from teacher_cache.config import Prompts

_RECOMPUTE: tuple[Recompute, ...] = ("none", "groups", "layers")
_LARGE = 1024
_WARM = 2  # steps


class Bench:
    """Trains a few steps of a stage and says what they took.

    Attributes:
        shape: The backbone.
        recipe: Stages, heads and losses.
        widths: Of the heads.
        device: Where it trains.
        peak: FLOP/s of a square matrix product in bfloat16.
    """

    def __init__(self, shape: Shape, recipe: Recipe, target_width: int, device: str) -> None:
        self.shape = shape
        self.recipe = recipe
        self.widths = {
            head: target_width if width == "target" else min(width, target_width // 2)
            for head, width in recipe.student.heads.items()
        }
        self.target_width = target_width
        self.device = device
        self.peak = matmul_peak(device, torch.bfloat16, 256 if device == "cpu" else 8192)

    def student(self, stage: StageConfig, recompute: Recompute) -> Student:
        """A student with random weights, ready to train."""
        shape = self.shape
        config = Qwen2Config(
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            intermediate_size=shape.feed,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_heads,
            vocab_size=shape.vocab,
            use_cache=False,
        )
        config.is_causal = False
        torch.manual_seed(0)
        with torch.device(self.device):
            backbone = Qwen2Model(config)
        tokenizer = SimpleNamespace(padding_side="right")  # the tokens are there already
        student = Student(
            backbone,
            cast(Any, tokenizer),
            max_tokens=512,
            prompts=Prompts(),
            default_head=self.recipe.student.default_head,
        )
        student.add_heads({head: self.widths[head] for head in stage.heads}, seed=0)
        student.to(self.device)
        train_only(student, stage.trainable, stage.heads)
        use_attention(student.text, settle(TrainingConfig(), ALONE).attention)
        if recompute == "layers":
            checkpoint_layers(student.text)
        student.autocast = torch.bfloat16
        student.recompute = recompute == "groups"
        return student.train()

    def measure(
        self, number: int, recompute: Recompute, batches: RandomBatches
    ) -> dict[str, float] | None:
        """Train some steps.

        Args:
            number: The stage in the recipe, from 1.
            recompute: As in a recipe.
            batches: The steps; the first two are not counted.

        Returns:
            Figures by name; None where the memory does not suffice.
        """
        stage = self.recipe.stages[number - 1]
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            return self._train(stage, self.student(stage, recompute), batches)
        except torch.OutOfMemoryError:
            return None
        finally:
            gc.collect()
            if self.device == "cuda":
                torch.cuda.empty_cache()

    def _train(
        self, stage: StageConfig, student: Student, batches: RandomBatches
    ) -> dict[str, float]:
        steps, ends = len(batches.steps), list[float]()
        lines: list[dict[str, float]] = []
        with tempfile.TemporaryDirectory() as directory:
            arguments = TrainingArguments(
                output_dir=directory,
                max_steps=steps,
                learning_rate=stage.learning_rate,
                weight_decay=stage.weight_decay,
                max_grad_norm=stage.max_grad_norm,
                logging_steps=_WARM,
                save_strategy="no",
                use_cpu=self.device == "cpu",
                remove_unused_columns=False,
                disable_tqdm=True,
                report_to="none",
            )
            arguments._n_gpu = min(arguments.n_gpu, 1)
            trainer = DistillTrainer(
                student, arguments, batches=batches, readers=0, stage=stage,
                losses=self.recipe.losses, ranks=ALONE,
            )  # fmt: skip
            trainer.remove_callback(PrinterCallback)
            trainer.remove_callback(ProgressCallback)
            log = trainer.log

            def listen(logs: dict[str, float], start_time: float | None = None) -> None:
                log(logs, start_time)
                if "time/loss" in logs:
                    lines.append(logs)

            def end() -> None:
                wait(self.device)
                ends.append(time.perf_counter())

            trainer.log = listen  # type: ignore[method-assign]
            trainer.add_callback(AtStepEnd(end))
            trainer.train()
        seconds = (ends[-1] - ends[_WARM - 1]) / (steps - _WARM)
        counted = [batches.lengths[step % len(batches.lengths)] for step in range(_WARM, steps)]
        flop = float(np.mean([self.flop(stage, lengths, student) for lengths in counted]))
        return {
            "steps_per_s": 1 / seconds,
            "tokens_per_s": float(np.mean([lengths.sum() for lengths in counted])) / seconds,
            "matmul_share": flop / seconds / self.peak,
            "peak_gb": self._peak_gigabytes(),
            "loss_share": statistics.mean(line["time/loss"] for line in lines[1:]),
            "data_share": statistics.mean(line["time/data"] for line in lines[1:]),
        }

    def flop(self, stage: StageConfig, lengths: npt.NDArray[np.int64], student: Student) -> float:
        """What a step needs: forward, and backward of what trains; nothing computed twice.

        Args:
            stage: Which heads there are.
            lengths: Tokens of the batch's texts.
            student: Which of its layers train.
        """
        layers = [
            any(parameter.requires_grad for parameter in layer.parameters())
            for layer in cast(nn.ModuleList, student.text.layers)
        ]
        first = layers.index(True) if any(layers) else len(layers)
        behind = len(layers) - first  # the gradient goes through these, and to their weights
        heads = sum(2 * self.shape.width * self.widths[head] for head in stage.heads)
        # No gradient goes to a pooled state that nothing below it trains on.
        backward = 2 if behind else 1
        return self.shape.layer_flop(lengths) * (len(layers) + 2 * behind) + len(
            lengths
        ) * heads * (1 + backward)

    def loss_seconds(self, stage: StageConfig, batch: int) -> float:
        """All losses of a stage with their gradient, by themselves."""
        vectors = {
            head: torch.randn(batch, self.widths[head], device=self.device, requires_grad=True)
            for head in stage.heads
        }
        target_BT = torch.randn(batch, self.target_width, device=self.device)

        def run() -> None:
            loss = distillation_loss(vectors, target_BT, stage, self.recipe.losses)
            loss.total.backward()
            wait(self.device)

        return alternate({"": run}, 5)[""]

    def _peak_gigabytes(self) -> float:
        return torch.cuda.max_memory_allocated() / 1e9 if self.device == "cuda" else 0.0


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, tiny="A tiny model on the CPU; its figures mean nothing.")
    if not chosen.tiny and not torch.cuda.is_available():
        sys.exit(
            "found no GPU that torch can use, expected one for a student of 1.5 billion "
            "parameters; run this on a machine with a GPU of 80 GB, or try it with --tiny."
        )
    quiet_libraries()
    device = "cpu" if chosen.tiny else "cuda"
    recipe = load_recipe("jasper")
    shape, target, budget = (TINY, 96, 512) if chosen.tiny else (Shape(), 12288, 0)
    budget = budget or recipe.training.group_tokens
    size, large = (8, 16) if chosen.tiny else (recipe.stages[0].batch_size, _LARGE)
    steps = _WARM + (2 if chosen.tiny or chosen.quick else 10)
    bench = Bench(shape, recipe, target, device)

    def batches(of: int, budget: int, steps: int) -> RandomBatches:
        lengths = mixture_lengths(steps * of).reshape(steps, of)
        if chosen.tiny:
            lengths = lengths.clip(4, 32)
        return RandomBatches(lengths, shape.vocab, target, budget, steps)

    usual = batches(size, budget, steps)
    found = {
        f"stage{number}_{recompute}": bench.measure(number, recompute, usual)
        for number in (1, 2, 3)
        for recompute in _RECOMPUTE[: 1 if number == 1 else None]
    }
    found["stage2_padded"] = bench.measure(2, "none", batches(size, 1 << 40, steps))
    few = batches(large, budget, _WARM + 2)
    found["stage3_large_batch"] = bench.measure(3, "groups", few)
    names = ["steps_per_s", "tokens_per_s", "matmul_share", "peak_gb", "loss_share", "data_share"]
    show(
        ["", *names],
        [
            [name, *([each[key] for key in names] if each else ["out of memory"] * len(names))]
            for name, each in found.items()
        ],
    )
    grouped, padded, last = (
        found["stage2_none"],
        found["stage2_padded"],
        found["stage3_large_batch"],
    )
    figures: dict[str, Any] = {
        f"{name}_{key}": float(f"{each[key]:.4g}") if each else None
        for name, each in found.items()
        for key in names
    }
    figures |= {
        "stage2_vs_padded": round(grouped["steps_per_s"] / padded["steps_per_s"], 2)
        if grouped and padded
        else None,
        f"loss_share_{large}": round(last["loss_share"], 4) if last else None,
        f"loss_ms_{size}": round(1e3 * bench.loss_seconds(recipe.stages[2], size), 2),
        f"loss_ms_{large}": round(1e3 * bench.loss_seconds(recipe.stages[2], large), 2),
        "matmul_tflops": round(bench.peak / 1e12, 1),
        "tokens_per_text": round(float(usual.lengths.mean()), 1),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "tiny": chosen.tiny,
    }
    finish(figures, chosen.json)


if __name__ == "__main__":
    main()
