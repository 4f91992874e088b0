"""Scores on evaluation sets, times 100, computed by mteb's own tasks."""

import math
from dataclasses import dataclass

from data_prep.errors import PipeError
from student.evaluation.embed import Embed
from student.evaluation.items import Items
from student.evaluation.mteb_library import quietly, require_mteb
from student.evaluation.mteb_model import BATCH_SIZE, MtebModel, Prompted
from student.evaluation.sets import EvaluationSet
from teacher_cache.config import Prompts


class NoScoreError(PipeError):
    """A score that is no number."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model got on an evaluation set.

    Attributes:
        score: The set's main score x 100. STS: Spearman. Retrieval: nDCG@10. Classification:
            accuracy.
        items: The figures of its pairs, queries or test texts.
    """

    score: float
    items: Items | None


class LocalTask:
    """An evaluation set as one of mteb's tasks, made once and run on any number of models.

    Nothing is fetched or written; the random generators stay as they are.
    """

    def __init__(self, data: EvaluationSet) -> None:
        """Make the task.

        Args:
            data: The set.

        Raises:
            PipeError: mteb is not installed.
        """
        require_mteb()
        with quietly():
            from student.evaluation.local_tasks import make_task  # noqa: PLC0415  an extra

            self.task = make_task(data)

    @property
    def kind(self) -> str:
        """The type of task, as MTEB names it."""
        return str(self.task.metadata.type)

    def measure(self, model: MtebModel) -> Measured:
        """Score a model.

        Args:
            model: The model, of which mteb asks its vectors.

        Returns:
            Its score and the figures of the items.

        Raises:
            NoScoreError: The score is no number.
        """
        from student.evaluation.recorded import recorded  # noqa: PLC0415  an extra

        with quietly(), recorded(self.task) as found:
            scores = self.task.evaluate(
                model, "test", encode_kwargs={"batch_size": BATCH_SIZE, "show_progress_bar": False}
            )["default"]
            main = float(scores["main_score"])
            if not math.isfinite(main):
                raise NoScoreError(
                    f"the score on {self.task.metadata.name} is no number, as when a model gives "
                    "all texts one vector; leave the set out, or look at the model."
                )
            return Measured(100 * main, found.items(main))


def score(
    embed: Embed,
    data: EvaluationSet,
    prompts: Prompts | None = None,
    prompted: Prompted | None = None,
) -> float:
    """Score a model on an evaluation set.

    Args:
        embed: The model.
        data: A set of any kind; its instruction is read by a model that takes instructions.
        prompts: The model's own prompts.
        prompted: The model under other prompts.

    Returns:
        STS: Spearman x 100. Retrieval: nDCG@10 x 100. Classification: accuracy x 100.

    Raises:
        PipeError: mteb is not installed.
        NoScoreError: The score is no number.
    """
    model = MtebModel(embed, "local", prompts=prompts, prompted=prompted, remember=True)
    return LocalTask(data).measure(model).score
