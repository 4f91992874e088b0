"""Beginning a stage, or going on with it: everything that can be refused is refused here."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.corpus import Corpus
from data_prep.draws import draw
from data_prep.errors import PipeError
from data_prep.files import write_json
from data_prep.pairs.corpus import PairCorpus
from student.batches import BatchStream, RowSource
from student.cache_room import require_room
from student.checkpoint import load_weights
from student.config import LossConfig, TrainingConfig
from student.crops import Crops
from student.distillation import Distillation, Report, StageData
from student.identity import (
    AvailableShards,
    StageIdentity,
    TeacherShare,
    earlier_records,
    earlier_shards,
    recorded_identity,
    require_same,
)
from student.losses import require_matching_widths, require_nested_widths
from student.model import Student
from student.order import TrainingOrder
from student.pair_rows import PairRows
from student.places import require_unchanged
from student.pooled_cache import PooledCache
from student.pooled_source import PooledSource, TeacherStates
from student.pooled_states import cached_states, teacher_states
from student.quality import StageQuality
from student.ranks import Ranks
from student.settle import settle
from student.stage_config import StageConfig
from student.stage_rows import choose_rows, stage_order, with_ranks
from student.stage_student import stage_student
from student.text_rows import TextRows
from student.texts_known import texts_known
from student.tokenization import Tokenization
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.store import TeacherStore
from teacher_cache.taught import require_taught


@dataclass(frozen=True)
class BegunStage:
    """A stage that is ready to train.

    Attributes:
        run: The distillation.
        number: The stage's number, from 1.
        training: How training runs, with every ``auto`` settled.
        order: Which rows a step sees.
        student: With the weights of ``step``, and alone the stage's parts trainable.
        new_heads: The heads that the stage adds.
        step: The step to go on from; 0 for a stage that begins.
        pooled: Gives the pooled states, or is to be filled with them; None where every step
            computes its own.
        quality: Measures the stage, in the first process; None in the others.
    """

    run: Distillation
    number: int
    training: TrainingConfig
    order: TrainingOrder
    student: Student
    new_heads: Sequence[str]
    step: int
    pooled: PooledCache | TeacherStates | None
    quality: StageQuality | None

    @property
    def settings(self) -> StageConfig:
        """The stage's row of the recipe."""
        return self.run.stages[self.number - 1]

    @property
    def title(self) -> str:
        """The stage, for people."""
        return self.run.title(self.number)

    def titled(self, report: Report) -> Report:
        """A report whose lines say which stage they are of.

        Args:
            report: Takes each line for the user.
        """
        return lambda line: report(f"{self.title}: {line}")

    def stream(self, steps: range, ranks: Ranks, pooled: PooledSource | None = None) -> BatchStream:
        """The batches of some steps, or this process's part of them.

        Args:
            steps: Consecutive steps, from 0.
            ranks: The processes that train.
            pooled: Gives the pooled states; None reads the texts.
        """
        return BatchStream(self._rows(pooled), self.order, steps, ranks)

    def _rows(self, pooled: PooledSource | None) -> RowSource:
        student, data = self.student, self.run.data(self.number)
        most = self.training.group_tokens
        if self.settings.inputs == "images":
            vision = student.seeing()
            return PairRows(
                pairs=data.corpus,
                store=data.store,
                tokens=student.image_ids(),
                pixels=vision.processor,
                group_images=vision.images_within(most),
                crops=Crops(self.settings.least_crop, draw(self.training.seed, "crops")),
            )
        tokenization = Tokenization(student.tokenizer, student.prompts, student.max_tokens, most)
        return TextRows(data.corpus, data.store, data.weights, tokenization, pooled)


def begin_stage(
    run: Distillation, number: int, report: Report, ranks: Ranks, step: int | None = None
) -> BegunStage | None:
    """Check what a stage needs, record what it is trained under, and load its student.

    Where several processes train, the first one does so before the others, which then go by its
    record.

    Args:
        run: The distillation.
        number: The stage, from 1.
        report: Takes each line for the user.
        ranks: The processes that train.
        step: The checkpoint to go on from, or 0; None takes the last one that is whole.

    Returns:
        The stage; None if it is done.

    Raises:
        PipeError: The stage does not exist, the one before is not finished, the store lacks rows
            or was made by other teachers, or a setting changed since the stage began.
    """
    if not 1 <= number <= len(run.stages):
        raise PipeError(
            f"stage {number} is not in the recipe; it has stages 1 to {len(run.stages)}."
        )
    data, images = run.data(number), run.stages[number - 1].inputs == "images"
    corpus = Corpus.open(data.corpus)
    rows = PairCorpus.open(data.corpus).fingerprint if images else corpus.fingerprint
    store = open_store(data.store, corpus)
    require_taught(store, data.teachers)
    if isinstance(data.store, RemoteStore):
        blocks = run.training.order_block_rows, run.training.order_window_blocks
        require_room(store, list(data.weights), *blocks, data.store.limit)
    require_matching_widths(run.stages, run.head_widths, run.target_width)
    require_nested_widths(run.student.nested, run.head_widths)

    places, stage = run.places, run.stages[number - 1]
    recorded = recorded_identity(places, number)
    if recorded is None and not ranks.first:
        raise PipeError(
            f"{places.identity(number)}, which the first process has just written, is not to be "
            "seen here; every process needs the same run directory."
        )
    training = settle(run.training, ranks, recorded.training if recorded else None)
    earlier = earlier_records(places, number)
    before = earlier_shards(earlier, number, recorded)

    def identity(shards: AvailableShards | None) -> StageIdentity:
        return _identity(run, number, training, data, store, rows, shards, before, ranks)

    known = texts_known(run.texts)
    for record in earlier.values():
        # What the weights before were trained under belongs to this stage's record as well.
        require_same(record, identity(None).as_of(record, known), places)
    if recorded is not None:
        require_same(recorded, identity(recorded.shards), places)
    if places.finished(number):
        places.clear_scratch(number)
        return None

    chosen = choose_rows(store, corpus, data.weights, run.rows, recorded)
    ranked = _batch_of_all(stage, training, run.losses, ranks)
    order = stage_order(ranked, training, number, chosen.rows)
    begun = recorded.student if recorded is not None else None
    student, new = stage_student(run, number, training, report, begun)
    if step is None:
        places.remove_unfinished_checkpoints(number)
        step = places.last_checkpoint(number)
    if step:
        _go_on_from(step, student, run, number, ranks)
    if chosen.note:
        report(f"{run.title(number)}: {chosen.note}")
    together = f" in {ranks.count} processes ({training.sharding})" if ranks.count > 1 else ""
    sizes = [(p.numel(), p.requires_grad) for p in student.parameters()]
    report(
        f"{run.title(number)}: {sum(size for size, trains in sizes if trains):,} of "
        f"{sum(size for size, _ in sizes):,} parameters train{together}, "
        f"from {f'step {step}' if step else places.final(number - 1)}"
        f"{', new heads ' + ', '.join(new) if new else ''}"
    )
    pooled = _pooled(run, number, training, student, order, corpus, store)
    quality = None
    if ranks.first:
        quality = StageQuality.prepare(
            stage, number, places, student, corpus, store, data.weights, run.sets, step
        )
        # Written last: what could be refused has been, so a mended recipe finds no wrong record.
        write_json(places.identity(number), identity(chosen.shards).model_dump(mode="json"))
    return BegunStage(run, number, training, order, student, new, step, pooled, quality)


def _go_on_from(step: int, student: Student, run: Distillation, number: int, ranks: Ranks) -> None:
    """Give the student the weights of a checkpoint.

    Raises:
        PipeError: It is of a step that the stage does not have, of another student, or damaged.
    """
    checkpoint, steps = run.places.checkpoint(number, step), run.stages[number - 1].steps
    if step > steps:
        raise PipeError(
            f"found {checkpoint} in a stage of {steps} steps; remove what was put there."
        )
    if ranks.first:
        require_unchanged(checkpoint)
    load_weights(student, checkpoint)


def _pooled(
    run: Distillation,
    number: int,
    training: TrainingConfig,
    student: Student,
    order: TrainingOrder,
    corpus: Corpus,
    store: TeacherStore,
) -> PooledCache | TeacherStates | None:
    """Where a stage's pooled states come from; None where every step computes its own."""
    stage, places = run.stages[number - 1], run.places
    if stage.cache_pooled:
        before, root = places.final(number - 1), places.pooled(number)
        return cached_states(student, stage, training, order, corpus, before, root)
    if stage.pooled_from is not None:
        weights = run.texts.weights
        if stage.pooled_from not in weights:
            raise PipeError(
                f"{run.title(number)} has pooled_from = {stage.pooled_from!r}, expected "
                f"a teacher in the target; those are {', '.join(weights)}."
            )
        return teacher_states(student, stage.pooled_from, store, order, corpus, run.texts.store)
    return None


def _batch_of_all(
    stage: StageConfig, training: TrainingConfig, losses: LossConfig, ranks: Ranks
) -> StageConfig:
    """The stage with the size of the whole batch.

    Raises:
        PipeError: A process would have no row, or the losses of a rank nothing to compare.
    """
    stage = with_ranks(stage, training, ranks.count)
    least = 2 if losses.scope == "rank" else 1
    if stage.batch_size < least * ranks.count:
        raise PipeError(
            f"stage {stage.name} has a batch of {stage.batch_size} {stage.inputs} for "
            f"{ranks.count} processes, expected at least {least} for each; raise batch_size or "
            "start fewer."
        )
    return stage


def _identity(
    run: Distillation,
    number: int,
    training: TrainingConfig,
    data: StageData,
    store: TeacherStore,
    rows: str,
    shards: AvailableShards | None,
    before: tuple[AvailableShards | None, ...] | None,
    ranks: Ranks,
) -> StageIdentity:
    by_rank = "rank" in {training.batch_scope, run.losses.scope}
    return StageIdentity(
        student=run.student,
        losses=run.losses,
        stages=tuple(run.stages[:number]),
        training=training,
        teachers=tuple(
            TeacherShare(name=name, weight=weight, fingerprint=store.teachers[name].fingerprint)
            for name, weight in data.weights.items()
        ),
        corpus=rows,
        shards=shards,
        earlier_shards=before,
        ranks=ranks.count if by_rank else None,
    )
