"""What a machine knows of what stages on texts are trained on, for a stage on images."""

from dataclasses import dataclass
from pathlib import Path

from data_prep.corpus import Corpus
from student.distillation import StageData
from student.identity import TeacherShare


@dataclass(frozen=True)
class TextsKnown:
    """What a machine knows of what stages on texts are trained on; it may lack corpus and store.

    Attributes:
        teachers: The recipe's teachers in the target, in order.
        store: Whether the store is within reach, so that the teachers' settings count.
        corpus: The corpus's fingerprint; None where there is no corpus.
    """

    teachers: tuple[TeacherShare, ...]
    store: bool
    corpus: str | None

    def beside(self, recorded: tuple[TeacherShare, ...]) -> tuple[TeacherShare, ...]:
        """The recipe's teachers, to compare with recorded ones.

        Args:
            recorded: A stage's. Without the store, a teacher of the same name has the same
                settings: where its model lies may differ between machines.
        """
        if self.store:
            return self.teachers
        fingerprints = {teacher.name: teacher.fingerprint for teacher in recorded}
        return tuple(
            teacher.model_copy(
                update={"fingerprint": fingerprints.get(teacher.name, teacher.fingerprint)}
            )
            for teacher in self.teachers
        )


def texts_known(texts: StageData) -> TextsKnown:
    """Look at what this machine has of corpus and store, which a stage on images does not read.

    Args:
        texts: What stages on texts read.

    Raises:
        PipeError: The corpus's manifest is damaged.
    """
    stands = (texts.corpus / "manifest.json").is_file()
    store = texts.store
    return TextsKnown(
        teachers=tuple(
            TeacherShare(name=t.name, weight=t.weight, fingerprint=t.fingerprint)
            for t in texts.teachers
        ),
        store=not isinstance(store, Path) or (store / "manifest.json").is_file(),
        corpus=Corpus.open(texts.corpus).fingerprint if stands else None,
    )
