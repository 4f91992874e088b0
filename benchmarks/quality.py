"""Which losses and which start give the better student?

The ``laptop`` recipe, whose corpus and teachers' vectors are made once, trained with the paper's
three losses, with the cosine loss alone and with plain MSE, each from random heads and from the
least-squares start; and the paper's losses with nested heads, with self-distillation of the small
heads, and with equal weights of the teachers. Every head is scored on the STS and retrieval sets of
``$JASPER_SHARED/data`` and on held-out texts.

What is done is kept in ``--work``; the same command continues. ``--tables`` prints what there is,
as Markdown, and trains nothing.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import finish, option_parser
from benchmarks.quality_arms import Arm, arms
from benchmarks.teach import mixed_texts
from data_prep.files import read_json, write_json
from data_prep.prepare import prepare
from pipelines.captions import last_text_stage
from pipelines.distill import distill
from pipelines.evaluate import PooledOnce
from pipelines.held_out import read_held_out
from pipelines.report import say
from pipelines.run import Run
from pipelines.teach import teach
from student.encode import StudentEncoder
from student.evaluation.embed import Embed
from student.evaluation.heldout import held_out_agreement
from student.evaluation.sets import RetrievalSet, StsSet, find_sets, read_set
from student.evaluation.tasks import score
from student.model import Student
from student.start import load_start

_STS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark")
_RETRIEVAL = ("cranfield", "med")
_MEASURES = {"sts": "STS", "retrieval": "nDCG@10", "spearman": "held-out rho"}
_START = "start"
Data = Sequence[StsSet | RetrievalSet]
Scores = dict[str, dict[str, float]]


class Study:
    """A work directory: the shared corpus and store, and a file of scores for each arm and seed.

    Attributes:
        work: The directory.
        recipe: The recipe's name or file.
        overrides: What differs from it in every arm.
    """

    def __init__(self, work: Path, recipe: str, overrides: Sequence[str]) -> None:
        self.work = work
        self.recipe = recipe
        self.overrides = tuple(overrides)

    def results(self, name: str) -> Path:
        """Where the scores of an arm and seed are kept."""
        return self.work / "results" / f"{name}.json"

    def run(self, name: str, overrides: Iterable[str] = ()) -> Run:
        """A run directory below the work directory, with the shared corpus and store."""
        run = Run.open(self.work / name, self.recipe, [*self.overrides, *overrides])
        run.directory.mkdir(parents=True, exist_ok=True)
        if name != "shared":
            for part in ("corpus", "store"):
                if not (run.directory / part).exists():
                    (run.directory / part).symlink_to(self.work.resolve() / "shared" / part)
        return run

    def share(self) -> None:
        """Make the corpus and the teachers' vectors, or what is missing of them."""
        run = self.run("shared")
        run.begin()
        prepare(run.recipe.corpus, run.corpus, say)
        teach(run, run.recipe.teachers)

    def train(self, arm: Arm, seed: int, data: Data) -> None:
        """Train and score one arm with one seed, unless that is done.

        Args:
            arm: The arm.
            seed: The seed of heads, order and dropout.
            data: What to score on.
        """
        name = f"{arm.name}-{seed}"
        if self.results(name).exists():
            return
        say(f"--- {name}")
        run = self.run(name, [*arm.overrides, f"training.seed={seed}"])
        run.begin()
        agreement, begin = [], time.monotonic()
        for stage in range(1, last_text_stage(run) + 1):
            student = Student.load(distill(run, stage))
            agreement.append(_agreement(run, student))
        seconds = time.monotonic() - begin
        scores = self._scores(student, agreement[-1], data)
        record = {"heads": scores, "stages": agreement, "seconds": round(seconds)}
        write_json(self.results(name), record)
        say(f"{name}: {json.dumps(scores)}")
        shutil.rmtree(run.directory)  # a student and its checkpoints take half a gigabyte

    def start(self, data: Data) -> None:
        """Score the student's start, with which every arm begins."""
        if not self.results(_START).exists():
            student = load_start(self.run("shared").recipe.student)
            write_json(
                self.results(_START),
                {"heads": {_START: _on_sets(StudentEncoder(student), data)}},
            )

    def _scores(self, student: Student, agreement: Scores, data: Data) -> Scores:
        pooled = PooledOnce(student)
        found: Scores = {head: dict(values) for head, values in agreement.items()}
        for part in data:
            for head, values in found.items():
                values.update(_on_sets(pooled.head(head), [part]))
            pooled.forget()
        for values in found.values():
            values.update(_means(values))
        return found


def _agreement(run: Run, student: Student) -> Scores:
    """Each head's agreement with the target on held-out rows."""
    rows = read_held_out(run)
    assert rows is not None, "the recipe holds rows out"
    pooled = PooledOnce(student)
    heads = {name: pooled.head(name)(rows.texts, rows.roles) for name, _ in student.named_heads()}
    return {
        each.head: {"spearman": 100 * each.spearman}
        | ({"cosine": 100 * each.cosine} if each.cosine is not None else {})
        for each in held_out_agreement(rows.target_NT, heads).heads
    }


def _on_sets(embed: Embed, data: Data) -> dict[str, float]:
    values = {part.name: score(embed, part) for part in data}
    return values | (_means(values) if len(data) > 1 else {})


def _means(values: dict[str, float]) -> dict[str, float]:
    found = {}
    for measure, names in (("sts", _STS), ("retrieval", _RETRIEVAL)):
        there = [values[name] for name in names if name in values]
        if there:
            found[measure] = statistics.mean(there)
    return found


def read_data(directory: str | None, names: Sequence[str]) -> Data:
    """The sets to score on.

    Args:
        directory: Holds ``data/sts`` and ``data/retrieval``; None scores on none.
        names: Which sets.

    Returns:
        Those that are there.
    """
    if not directory:
        say("JASPER_SHARED is not set, so there are no sets; held-out agreement alone is measured")
        return []
    found = [
        read_set(files) for files in find_sets(Path(directory) / "data") if files.name in names
    ]
    return [data for data in found if isinstance(data, StsSet | RetrievalSet)]


def summary(study: Study, planned: Sequence[Arm]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What has been measured: arm, head, measure, and a value for each seed that is done."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for arm in planned:
        for seed in arm.seeds:
            path = study.results(f"{arm.name}-{seed}")
            if path.exists():
                for head, values in read_json(path)["heads"].items():
                    measures = found.setdefault(arm.name, {}).setdefault(head, {})
                    for measure, value in values.items():
                        measures.setdefault(measure, []).append(value)
    return found


def tables(study: Study, planned: Sequence[Arm]) -> Iterator[str]:
    """The tables as lines of Markdown: a measure each, an arm a row, a head a column."""
    found = summary(study, planned)
    heads = list(dict.fromkeys(head for arm in found.values() for head in arm))
    for measure, title in _MEASURES.items():
        yield f"| {title} | seeds | {' | '.join(heads)} |"
        yield "|---" * (len(heads) + 2) + "|"
        for name, arm in found.items():
            cells = [_cell(arm.get(head, {}).get(measure, [])) for head in heads]
            seeds = max(len(values.get(measure, [])) for values in arm.values())
            yield f"| {name} | {seeds} | {' | '.join(cells)} |"
        yield ""
    if study.results(_START).exists():
        yield f"start: {read_json(study.results(_START))['heads'][_START]}"


def _cell(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def figures(study: Study, planned: Sequence[Arm]) -> dict[str, Any]:
    """For programs: every mean, and by how much each arm is ahead of the paper's."""
    found = summary(study, planned)
    means = {
        (arm, head, measure): statistics.mean(values)
        for arm, heads in found.items()
        for head, measures in heads.items()
        for measure, values in measures.items()
        if measure in _MEASURES
    }
    result: dict[str, Any] = {"arms": found}
    for (arm, head, measure), value in means.items():
        paper = means.get(("three-random", head, measure))
        if paper is not None and arm != "three-random":
            result[f"{measure}_{head}_{arm}_vs_three-random"] = round(value - paper, 2)
    return result


def _quick(work: Path) -> list[str]:
    """A recipe of seconds: generated texts, teachers without weights, two steps a stage."""
    source = work / "texts.jsonl"
    if not source.exists():
        texts = mixed_texts(400, None)
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [
        f'corpus.sources=[{{name="texts", path="{source}"}}]',
        "corpus.texts=300",
        'teachers=[{name="dummy", dim=96, max_tokens=16, weight=3.0}, '
        '{name="second", kind="dummy", model="second", dim=32, max_tokens=16}]',
        "student.layers=[0]",
        "student.max_tokens=16",
        *(f"stages.{stage}.steps=2" for stage in range(3)),
        *(f"stages.{stage}.batch_size=16" for stage in range(3)),
        *(f"student.heads.{head}={width}" for head, width in (("fc2", 32), ("fc3", 16))),
        "evaluation.held_out_spans=5",
    ]


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--work", type=Path, help="Keeps what is done; by default a temporary one.")
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--set", action="append", default=[], help="As of `pipe`, for every arm.")
    parser.add_argument("--seeds", type=int, default=3, help="Of every arm.")
    parser.add_argument("--sets", default=",".join(_STS + _RETRIEVAL), help="To score on.")
    parser.add_argument("--tables", action="store_true", help="Print what is done; train nothing.")
    return parser.parse_args()


def main() -> None:
    """Train, score and print."""
    chosen = _options()
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        overrides = [*(_quick(work) if chosen.quick else []), *chosen.set]
        study = Study(work, chosen.recipe, overrides)
        planned = arms(range(1 if chosen.quick else chosen.seeds))
        if chosen.quick:
            planned = planned[:2]
        if not chosen.tables:
            study.share()
            shared = None if chosen.quick else os.environ.get("JASPER_SHARED")
            data = read_data(shared, chosen.sets.split(","))
            study.start(data)
            # Seed by seed, so that every arm has a value early.
            for seed in sorted({seed for arm in planned for seed in arm.seeds}):
                for arm in planned:
                    if seed in arm.seeds:
                        study.train(arm, seed, data)
        print("\n".join(tables(study, planned)))
        finish(figures(study, planned), chosen.json)


if __name__ == "__main__":
    main()
