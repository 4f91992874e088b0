"""How far the captions of image-caption pairs are encoded."""

from dataclasses import dataclass

from data_prep.pairs.corpus import PairCorpus
from pipelines.run import Run
from student.config import CAPTIONS_TEACHER
from teacher_cache.layout import ShardLayout
from teacher_cache.progress import TeacherProgress, teacher_progress
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class CaptionsPlan:
    """The share of the work of the student that encodes the captions.

    Attributes:
        name: What it is called as a teacher.
        shards_done: Committed shards that are not damaged.
        shards_left: Shards still to encode; None while the pairs are not made.
    """

    name: str
    shards_done: int
    shards_left: int | None

    def as_line(self) -> str:
        """The line for people."""
        if self.shards_left is None:
            done = ""
        elif not self.shards_left:
            done = ", done"
        else:
            shards = self.shards_done + self.shards_left
            done = f", {self.shards_done:,} of {shards:,} shards done"
        return f"teacher  {self.name}: encodes the captions when the stages on texts are done{done}"


def captions_progress(run: Run) -> TeacherProgress | None:
    """Look at the captions' store; nothing is loaded or changed.

    Args:
        run: The run.

    Returns:
        How far it is; None while the pairs are not made.

    Raises:
        PipeError: The pairs or the store are there but broken.
    """
    if not (run.pairs / "manifest.json").exists():
        return None
    captions = PairCorpus.open(run.pairs).captions
    if (run.pairs_store / "manifest.json").exists():
        store = TeacherStore.open(run.pairs_store, check_commits=False)
        if CAPTIONS_TEACHER in store.teachers:
            return teacher_progress(store, CAPTIONS_TEACHER)
    return TeacherProgress.untouched(
        CAPTIONS_TEACHER, ShardLayout(captions.rows, captions.rows_per_shard)
    )


def captions_plan(run: Run) -> CaptionsPlan | None:
    """Say what encoding the captions takes; None where no stage is on images.

    Args:
        run: The run.

    Raises:
        PipeError: As ``captions_progress``.
    """
    if all(stage.inputs == "texts" for stage in run.recipe.stages):
        return None
    found = captions_progress(run)
    if found is None:
        return CaptionsPlan(CAPTIONS_TEACHER, 0, None)
    return CaptionsPlan(CAPTIONS_TEACHER, found.done, found.shards - found.done)
