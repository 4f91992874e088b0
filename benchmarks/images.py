"""What a stage on images learns, and what steadies it; on a run whose stages on texts are done.

Every arm trains the ``laptop`` recipe's vision encoder from random weights on that run's student:
``shapes`` on the generated world, ``figures`` on the image-caption pairs of
``$JASPER_SHARED/data/images``, and those of ``steady`` on shapes with one thing changed.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.harness import finish, option_parser, show
from benchmarks.teach import mixed_texts
from data_prep.pairs.prepare import prepare_pairs
from data_prep.prepare import prepare
from pipelines.distill import distill
from pipelines.evaluate_images import evaluate_images
from pipelines.report import say
from pipelines.run import Run
from pipelines.teach import teach

_STAGE = "stages.3"


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: For the table.
        overrides: What differs from the run's recipe.
        log_every: Steps between two losses.
    """

    name: str
    overrides: tuple[str, ...]
    log_every: int = 10


_STEADY: Mapping[str, tuple[str, ...]] = {
    "laptop": (),
    "no warm-up": ("warmup_fraction=0.0",),
    "no clipping": ("max_grad_norm=0.0",),
    "neither": ("warmup_fraction=0.0", "max_grad_norm=0.0"),
    "rate x 3": ("learning_rate=3e-3",),
    "rate x 3, neither": ("learning_rate=3e-3", "warmup_fraction=0.0", "max_grad_norm=0.0"),
}


def figures(images: Path, held_out: int) -> tuple[str, ...]:
    """Settings for pairs of real figures and their captions.

    Args:
        images: The directory with ``captions.jsonl``.
        held_out: How many pairs are held out, by chapter.
    """
    source = {
        "name": "figures",
        "path": str(images / "captions.jsonl"),
        "image_field": "file",
        "label_field": "book",
        "group_field": "module",
    }
    toml = ", ".join(f"{key} = {json.dumps(value)}" for key, value in source.items())
    return (
        f"pairs={{ held_out = {held_out}, rows_per_shard = 1024, sources = [{{ {toml} }}] }}",
        "evaluation.class_captions=['a figure from a textbook on {}']",
        f"{_STAGE}.evaluate_spans={held_out}",
        f"{_STAGE}.least_crop=0.7",
    )


def arms(what: str, steps: int, every: int) -> list[Arm]:
    """The arms of a question.

    Args:
        what: ``shapes``, ``figures`` or ``steady``.
        steps: Steps of a stage.
        every: Steps between two evaluations.
    """
    length = (f"{_STAGE}.steps={steps}", f"{_STAGE}.evaluate_every={every}")
    if what == "steady":
        return [
            Arm(name, (*length, *(f"{_STAGE}.{change}" for change in changes)), log_every=1)
            for name, changes in _STEADY.items()
        ]
    if what == "figures":
        shared = Path(os.environ.get("JASPER_SHARED", "../shared")) / "data" / "images"
        return [Arm("figures", (*length, *figures(shared, 1000)))]
    return [Arm("shapes", length)]


def train(base: Path, work: Path, arm: Arm, more: Sequence[str]) -> dict[str, Any]:
    """Train one arm.

    Args:
        base: A run whose stages on texts are done; it stays as it is.
        work: Gets a run of the arm.
        arm: The arm.
        more: Further changes of the recipe.

    Returns:
        Losses, evaluations and seconds of the stage.
    """
    directory = work / arm.name.replace(" ", "-").replace(",", "")
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "student").mkdir(parents=True)
    for part in ("corpus", "store", "student/start", *(f"student/stage-{n}" for n in (1, 2, 3))):
        (directory / part).symlink_to((base / part).resolve())
    shutil.copy(base / "student" / "start.json", directory / "student")
    logging = (f"{_STAGE}.log_every={arm.log_every}", f"{_STAGE}.save_every=1000")
    recipe = str(base / "recipe.toml")
    run = Run.open(directory, recipe, (*arm.overrides, *logging, *more))
    assert run.recipe.pairs is not None
    prepare_pairs(run.recipe.pairs, run.pairs, say)
    began = time.monotonic()
    distill(run, len(run.recipe.stages))
    seconds = time.monotonic() - began
    lines = run.students.metrics(len(run.recipe.stages)).read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    results = evaluate_images(run, len(run.recipe.stages))
    return {
        "seconds": round(seconds),
        "losses": [line["loss"] for line in metrics if "loss" in line],
        "curve": {
            line["step"]: {k: line[f"eval/fc1/recall@{k}"] for k in (1, 5, 10)}
            for line in metrics
            if "eval/fc1/recall@1" in line
        },
        "held_out": results.as_dict() if results is not None else None,
    }


def unrest(losses: Sequence[float]) -> float:
    """How much the loss jumps from step to step: the median jump over the median loss.

    Args:
        losses: Of consecutive steps; the second half counts.
    """
    late = losses[len(losses) // 2 :]
    jumps = [abs(after - before) for before, after in pairwise(late)]
    return statistics.median(jumps) / statistics.median(late) if jumps else 0.0


def _quick(work: Path) -> Path:
    """A run of seconds whose stages on texts are done."""
    source = work / "texts.jsonl"
    texts = mixed_texts(400, None)
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    changes = [
        f'corpus.sources=[{{name="texts", path="{source}"}}]',
        "corpus.texts=300",
        'teachers=[{name="dummy", dim=96, max_tokens=24}]',
        "student.layers=[0]",
        "student.max_tokens=24",
        *(f"stages.{stage}.{key}" for stage in range(3) for key in ("steps=1", "batch_size=16")),
        *(f"student.heads.{head}={width}" for head, width in (("fc2", 32), ("fc3", 16))),
        "pairs.pairs=200",
        "pairs.held_out=20",
        f"{_STAGE}.batch_size=16",
    ]
    run = Run.open(work / "base", "laptop", changes)
    run.begin()
    prepare(run.recipe.corpus, run.corpus, say)
    teach(run, run.recipe.teachers)
    for number in (1, 2, 3):
        distill(run, number)
    return run.directory


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--run", type=Path, help="A run whose stages on texts are done.")
    parser.add_argument("--work", type=Path, help="Keeps the arms' runs; else a temporary one.")
    parser.add_argument("--what", choices=["shapes", "figures", "steady"], default="shapes")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], help="As of `pipe`, for every arm.")
    chosen = parser.parse_args()
    if chosen.run is None and not chosen.quick:
        parser.error("--run is missing; give a run such as the demo's, run/demo")
    return chosen


def main() -> None:
    """Train the arms and print what they reach."""
    chosen = _options()
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        base = _quick(work) if chosen.quick else chosen.run
        steps, every = (4, 0) if chosen.quick else (chosen.steps, chosen.evaluate_every)
        planned = arms(chosen.what, steps, 0 if chosen.what == "steady" else every)
        found = {arm.name: train(base, work, arm, chosen.set) for arm in planned}
    rows, fields = [], {}
    for name, arm in found.items():
        recall, losses = arm["held_out"]["heads"][0]["recall"]["images"], arm.pop("losses")
        arm |= {"last_loss": losses[-1], "unrest": unrest(losses)}
        rows.append([name, losses[-1], arm["unrest"], recall[1], recall[10], arm["seconds"]])
        fields[name] = arm
        fields[f"{name}_vs_chance"] = recall[1] / arm["held_out"]["chance"][1]
    show(["arm", "last loss", "unrest", "recall@1", "recall@10", "seconds"], rows)
    finish(fields, chosen.json)


if __name__ == "__main__":
    main()
