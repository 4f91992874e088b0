"""Measuring a student on held-out image-caption pairs, while it trains and afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from student.config import CAPTIONS_TEACHER
from student.encode import head_vectors
from student.encode_images import image_states
from student.evaluating import Measure
from student.evaluation.recall import CUTOFFS, recall
from student.model import Student
from student.stage_config import StageConfig
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class PairMaterial:
    """Held-out pairs; N pairs, H pooled state.

    Attributes:
        images: Encoded image files.
        captions_NH: The captions' pooled states, float32.
    """

    images: Sequence[bytes]
    captions_NH: npt.NDArray[np.float32]

    def measuring(self, student: Student, heads: Sequence[str]) -> Measure:
        """As ``student.evaluating.Material``."""
        return lambda: self._measure(student, heads)

    def metrics(self, widths: Mapping[str, int]) -> list[str]:
        """As ``student.evaluating.Material``."""
        measures = ["cosine", *(f"recall@{k}" for k in CUTOFFS)]
        return [f"eval/{head}/{measure}" for head in widths for measure in measures]

    def _measure(self, student: Student, heads: Sequence[str]) -> dict[str, float]:
        """``eval/HEAD/cosine`` with the own caption, and ``eval/HEAD/recall@K`` of the images."""
        states_NH = image_states(student, self.images)
        measured: dict[str, float] = {}
        for head in heads:
            images_ND = head_vectors(student, states_NH, head)
            captions_ND = head_vectors(student, self.captions_NH, head)
            cosines_N = np.einsum("nd,nd->n", images_ND, captions_ND, dtype=np.float64)
            measured[f"eval/{head}/cosine"] = float(cosines_N.mean())
            found = recall(images_ND, captions_ND)
            measured |= {f"eval/{head}/recall@{k}": found.images[k] for k in CUTOFFS}
        return measured


def read_pair_material(stage: StageConfig, pairs: PairCorpus, store: TeacherStore) -> PairMaterial:
    """Read what a stage on images is measured on.

    Args:
        stage: The stage; ``evaluate_spans`` says how many pairs at most.
        pairs: The image-caption pairs.
        store: The captions' store.

    Returns:
        Held-out pairs.

    Raises:
        PipeError: Fewer than two pairs are held out.
    """
    count = min(pairs.held_out_rows, stage.evaluate_spans)
    if count < 2:
        raise PipeError(
            f"stage {stage.name} has evaluate_every = {stage.evaluate_every}, and "
            f"{pairs.held_out_rows} image-caption pairs are held out, expected at least 2; raise "
            "pairs.held_out, or set evaluate_every to 0."
        )
    rows = np.arange(count)
    return PairMaterial(pairs.images(rows), store.read_states(CAPTIONS_TEACHER, rows))
