"""How fast does a stage train, against the same training written by others?

The ``laptop`` recipe's student, batch and settings on two threads. Beside this project's trainer,
on the same texts and vectors: a plain loop with the paper's P x P loss, the same loop with this
project's loss, and ``SentenceTransformerTrainer`` with ``EmbedDistillLoss``. Then the first stage
with and without pooled states that were computed before.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.distill_data import InMemory, begin, prepare_run
from benchmarks.distill_peers import (
    AtStepEnd,
    authors_loss,
    exact_loss,
    plain_loop,
    sentence_transformers_training,
)
from benchmarks.harness import alternate, finish, option_parser, show
from benchmarks.turns import Pause, Turns
from pipelines.report import say
from pipelines.run import Run
from student.begin import BegunStage
from student.losses import distillation_loss
from student.stage_config import StageConfig
from student.stages import prepare_trainer
from student.timing import PARTS
from student.tokenization import Tokenization
from student.trainer import DistillTrainer

_FOREVER = 100_000  # steps: a training is stopped, never done
_TINY = (
    "student.layers=[0]",
    "student.max_tokens=16",
    *(f"stages.{stage}.{key}" for stage in range(3) for key in ("batch_size=16", "log_every=1")),
)


class Ours:
    """A stage in this project's trainer, and what its clock says.

    Attributes:
        stage: The stage.
        trainer: Its trainer, complete.
    """

    def __init__(self, stage: BegunStage) -> None:
        self.stage = stage
        self.trainer: DistillTrainer = prepare_trainer(stage, say)
        self._lines: list[dict[str, float]] = []
        log = self.trainer.log

        def listen(logs: dict[str, float], start_time: float | None = None) -> None:
            log(logs, start_time)
            self._lines.append(logs)

        self.trainer.log = listen  # type: ignore[method-assign]

    def train(self, pause: Pause) -> None:
        """Train, and leave the pauses out of the clock."""

        def outside() -> None:
            with self.trainer.clock.outside():
                pause()

        self.trainer.add_callback(AtStepEnd(outside))
        self.trainer.train()

    def shares(self) -> dict[str, float]:
        """Shares of a step by part; the line of metrics of the first turn is left out."""
        lines = self._lines[1:]
        parts = {
            part: statistics.mean(line.get(f"time/{part}", 0.0) for line in lines) for part in PARTS
        }
        return {**parts, "rest": 1 - sum(parts.values())}


def in_turn(
    candidates: Mapping[str, Callable[[Pause], None]], rounds: int, turn: Mapping[str, int]
) -> dict[str, float]:
    """Let trainings run in turn, A B A B, after a first turn that is not counted.

    Args:
        candidates: The trainings, by name.
        rounds: How often each has its turn.
        turn: How many steps that is.

    Returns:
        Median seconds of a step by name.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        trainings = {name: stack.enter_context(Turns(train)) for name, train in candidates.items()}
        for round_ in range(rounds + 1):
            for name, training in trainings.items():
                each = training.run(turn[name]) / turn[name]
                if round_:
                    seconds[name].append(each)
    return {name: statistics.median(times) for name, times in seconds.items()}


def _loss_seconds(stage: BegunStage, data: InMemory) -> float:
    """Seconds of all losses of a batch with their gradient, by themselves."""
    settings, losses, widths = stage.settings, stage.run.losses, stage.run.head_widths
    target_BT = torch.from_numpy(data.target_NT[: data.size])
    generator = torch.Generator().manual_seed(0)
    vectors = {
        head: torch.randn(data.size, widths[head], generator=generator).requires_grad_()
        for head in settings.heads
    }

    def run() -> None:
        distillation_loss(vectors, target_BT, settings, losses).total.backward()

    return alternate({"": run}, 20)[""]


def _padding(stage: BegunStage, data: InMemory) -> dict[str, float]:
    """Tokens of a text, and the share of padding in groups and in batches padded as one."""
    student, budget = stage.student, stage.training.group_tokens
    found = dict.fromkeys(("tokens", "grouped", "padded"), 0)
    for place in range(0, len(data.texts), data.size):
        texts = data.texts[place : place + data.size]
        for name, most in (("grouped", budget), ("padded", 1 << 40)):
            groups = Tokenization(student.tokenizer, student.prompts, student.max_tokens, most)
            for _, group in groups.groups(texts, ["passage"] * len(texts)):
                found[name] += group["input_ids"].numel()
                found["tokens"] += int(group["attention_mask"].sum()) if most == budget else 0
    return {
        "tokens_per_text": round(found["tokens"] / len(data.texts), 1),
        "padding_share": round(1 - found["tokens"] / found["grouped"], 3),
        "padded_padding_share": round(1 - found["tokens"] / found["padded"], 3),
    }


def _without_end(stage: StageConfig, turn: int, **changes: Any) -> StageConfig:
    """A stage that never ends, with at least one line of metrics a turn and no checkpoint."""
    lines = min(stage.log_every, turn)
    changes |= {"steps": _FOREVER, "log_every": lines, "save_every": lines * _FOREVER}
    return stage.model_copy(update=changes)


def compare(run: Run, work: Path, number: int, rounds: int, steps: int) -> dict[str, Any]:
    """A stage that computes its backbone, against the others.

    Args:
        run: Corpus, store and recipe.
        work: For what is written.
        number: The stage in the recipe, from 1.
        rounds: How often everybody has a turn.
        steps: Steps of a turn.

    Returns:
        Figures by field name.
    """
    settings = _without_end(run.recipe.stages[number - 1], steps)
    stage = begin(run, work, f"stage-{number}", settings)
    ours = Ours(stage)
    data = InMemory.read(stage, (rounds + 1) * steps)
    candidates = {
        "this project": ours.train,
        "plain, our loss": plain_loop(stage, data, exact_loss),
        "plain, the paper's P x P loss": plain_loop(stage, data, authors_loss),
        "sentence-transformers, cosine": sentence_transformers_training(stage, data, work / "st"),
    }
    turn = {name: 1 if "P x P" in name else steps for name in candidates}
    seconds = in_turn(candidates, rounds, turn)
    mine, padded, plain, st = (seconds[name] for name in candidates)
    show(
        [f"stage {number}", "ms/step", "texts/s", "times ours"],
        [[name, 1e3 * each, data.size / each, each / mine] for name, each in seconds.items()],
    )
    shares = ours.shares()
    show(["", *shares], [["share of a step", *shares.values()]])
    return {
        "steps_per_s": round(1 / mine, 3),
        "vs_plain": round(plain / mine, 2),
        "vs_padded": round(padded / mine, 2),
        "vs_sentence_transformers": round(st / mine, 2),
        "loss_share": round(shares["loss"], 4),
        "data_share": round(shares["data"], 4),
        "time": {part: round(share, 4) for part, share in shares.items()},
        "loss_and_gradient_share": round(_loss_seconds(stage, data) / mine, 4),
        **_padding(stage, data),
        "stage": number,
        "batch_size": data.size,
        "precision": stage.training.precision,
        "heads": len(settings.heads),
    }


def compare_cached(run: Run, work: Path, rounds: int, steps: int, many: int) -> dict[str, Any]:
    """The first stage with pooled states that were computed before, against one without.

    Args:
        run: Corpus, store and recipe.
        work: For what is written.
        rounds: How often everybody has a turn.
        steps: Steps of a turn.
        many: Steps of a turn with known states, which take milliseconds.

    Returns:
        Figures by field name.
    """
    settings = _without_end(run.recipe.stages[0], steps)
    cached_settings = _without_end(run.recipe.stages[0], many, cache_pooled=True)
    stage = begin(run, work, "stage-1", settings)
    cached = Ours(begin(run, work, "stage-1-cached", cached_settings))
    data = InMemory.read(stage, (rounds + 1) * steps)
    candidates = {
        "pooled states known": cached.train,
        "computed by step": Ours(stage).train,
        "plain, the paper's P x P loss": plain_loop(stage, data, authors_loss),
    }
    turn = dict(zip(candidates, (many, steps, 1), strict=True))
    seconds = in_turn(candidates, rounds, turn)
    known, computed, plain = (seconds[name] for name in candidates)
    show(
        ["stage 1", "ms/step", "texts/s", "times the first"],
        [[name, 1e3 * each, data.size / each, each / known] for name, each in seconds.items()],
    )
    shares = cached.shares()
    show(["", *shares], [["share of a step", *shares.values()]])
    return {
        "cached_stage1_speedup": round(computed / known, 1),
        "cached_stage1_vs_plain": round(plain / known, 1),
        "cached_stage1_ms": round(1e3 * known, 2),
        "cached_stage1_time": {part: round(share, 4) for part, share in shares.items()},
        "stage1_ms": round(1e3 * computed, 2),
    }


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--stage", type=int, choices=(2, 3), default=2, help="Of the recipe.")
    parser.add_argument("--set", action="append", default=[], help="As of `pipe`.")
    parser.add_argument("--rounds", type=int, help="How often each has a turn; 2 or more.")
    chosen = parser.parse_args()
    if chosen.rounds is not None and chosen.rounds < 2:
        parser.error(f"found --rounds {chosen.rounds}, expected at least 2")
    return chosen


def main() -> None:
    """Measure and print."""
    chosen = _options()
    torch.set_num_threads(2)
    rounds = chosen.rounds or (2 if chosen.quick else 9)
    texts, steps, many = (300, 1, 2) if chosen.quick else (6_000, 4, 100)
    overrides = [*(_TINY if chosen.quick else ()), *chosen.set]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        run = prepare_run(work, texts, overrides, generated=chosen.quick)
        figures = compare(run, work, chosen.stage, rounds, steps)
        figures |= compare_cached(run, work, rounds, steps, many)
    finish(figures, chosen.json)


if __name__ == "__main__":
    main()
