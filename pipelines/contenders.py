"""The models that an evaluation compares: teachers, the start, and the student's heads."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch

from data_prep.errors import PipeError
from pipelines.model_names import START, head_name, teacher_name
from pipelines.report import say
from student.encode import StudentEncoder, parameters_in_use
from student.evaluation.embed import Embed
from student.evaluation.mteb_model import Instruction, MtebModel, Prompted
from student.model import Student
from student.pooled_once import PooledOnce
from teacher_cache.config import Prompts, TeacherConfig
from teacher_cache.encoders import load_encoder, under_prompts


@dataclass(frozen=True)
class Contender:
    """A model, or one head of it, that is measured.

    Attributes:
        name: What the table calls it.
        dim: Numbers in a vector.
        parameters: Parameters that take part in a vector; None if nobody can tell.
        embed: Texts and roles to unit rows; None where the model cannot be loaded.
        timed: Whether its speed is measured; the heads of one student share theirs.
        prompts: Its own text in front of each text, by role.
        prompted: The same under other prompts, for a task's instruction.
    """

    name: str
    dim: int
    parameters: int | None
    embed: Embed | None
    timed: bool = True
    prompts: Prompts | None = None
    prompted: Prompted | None = None

    def as_mteb(
        self,
        revision: str | None = None,
        *,
        instructions: Mapping[str, Instruction] | None = None,
        remember: bool = False,
    ) -> MtebModel:
        """Give the model as mteb sees one.

        Args:
            revision: What tells these weights from others of that name.
            instructions: By task name; before the one that the task has.
            remember: Whether it keeps its vectors, as ``MtebModel`` says.

        Raises:
            ValueError: The model is not loaded.
        """
        if self.embed is None:
            raise ValueError(f"{self.name} is not loaded")
        return MtebModel(
            self.embed,
            self.name,
            revision,
            prompts=self.prompts,
            prompted=self.prompted,
            instructions=instructions,
            remember=remember,
        )


def as_loaded(config: TeacherConfig) -> TeacherConfig:
    """A teacher's settings as they are here: without a GPU it computes in float32.

    Args:
        config: Its settings.
    """
    if torch.cuda.is_available():
        return config
    return config.model_copy(update={"dtype": "float32"})


def load_teacher(config: TeacherConfig) -> Contender:
    """Load a teacher.

    Args:
        config: Its settings; without a GPU it computes in float32, as the start and the student do:
            speeds compare like with like.

    Returns:
        The teacher; one called ``start`` is told apart from the start.

    Raises:
        PipeError: It cannot be loaded.
    """
    config = as_loaded(config)
    encoder = load_encoder(config)
    return Contender(
        teacher_name(config),
        config.dim,
        encoder.parameters,
        encoder.encode,
        prompts=config.prompts,
        prompted=lambda prompts: under_prompts(encoder, config, prompts).encode,
    )


def teacher_contender(config: TeacherConfig) -> Contender:
    """Load a teacher; where that cannot be, as on a trainer's machine, its vectors still count.

    Args:
        config: Its settings.

    Returns:
        The teacher, without ``embed`` where it cannot be loaded; a line says why.
    """
    try:
        return load_teacher(config)
    except PipeError as error:
        say(f"teacher {config.name} is compared through the store alone: {error}")
        return Contender(teacher_name(config), config.dim, None, None)


def start_contender(student: Student) -> Contender:
    """The model that the student started from.

    Args:
        student: The start.
    """
    encoder = StudentEncoder(student)
    return Contender(
        START,
        student.hidden,
        parameters_in_use(student),
        encoder,
        prompts=student.prompts,
        prompted=encoder.under,
    )


def student_contenders(pooled: PooledOnce) -> list[Contender]:
    """Every head of a student, the default first.

    Args:
        pooled: The student.
    """
    student = pooled.encoder.student
    heads = sorted(student.named_heads(), key=lambda head: head[0] != student.default_head)
    return [
        Contender(
            head_name(name),
            layer.out_features,
            parameters_in_use(student, name),
            pooled.head(name),
            timed=place == 0,
            prompts=student.prompts,
            prompted=partial(pooled.head, name),
        )
        for place, (name, layer) in enumerate(heads)
    ]
