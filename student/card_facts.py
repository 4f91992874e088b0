"""What a model card is written from."""

from dataclasses import dataclass

from huggingface_hub import EvalResult


@dataclass(frozen=True, slots=True)
class CardHead:
    """A head as the card lists it.

    Attributes:
        name: The head's name.
        dim: Numbers in its vectors.
        directory: Its directory in the export.
        nested_in: The head whose first numbers it is; empty if it has weights of its own.
    """

    name: str
    dim: int
    directory: str
    nested_in: str = ""


@dataclass(frozen=True, slots=True)
class CardStage:
    """A stage as the card lists it.

    Attributes:
        name: The stage's name.
        trained: What trained, such as ``heads.fc1, text.layers[-3:]``.
        losses: Which losses on which heads.
        steps: Optimizer steps.
        batch_size: Texts in a step.
        learning_rate: Peak rate.
    """

    name: str
    trained: str
    losses: str
    steps: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class CardSource:
    """A source of the corpus.

    Attributes:
        name: The source's name.
        texts: Spans taken from it.
        license: Its licence, None if nobody stated it.
    """

    name: str
    texts: int
    license: str | None


@dataclass(frozen=True, slots=True)
class CardTeacher:
    """A teacher.

    Attributes:
        name: The teacher's name.
        model: Where it comes from, without a directory of this machine.
        dim: Numbers in its vectors, None if nobody can tell.
        weight: Its share in the target's similarities, relative to the others.
        license: Its licence, None if nobody stated it.
    """

    name: str
    model: str
    dim: int | None
    weight: float
    license: str | None


@dataclass(frozen=True, slots=True)
class CardVision:
    """The vision encoder of an export that takes images.

    Attributes:
        start: What it started from, in words or as a hub name.
        license: Licence of that; None for a tower that began with random weights.
        parameters: Its parameters.
        tokens: How many tokens an image becomes.
        sources: The image-caption pairs it was trained on.
    """

    start: str
    license: str | None
    parameters: int
    tokens: int
    sources: tuple[CardSource, ...]


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that the card says.

    Attributes:
        name: The model's name, the card's title.
        base_model: What the student started from, in words or as a hub name.
        hub_base: Hub name of the model behind ``base_model``, which the hub links; None if it is
            no model of the hub.
        base_license: Licence of what the student started from, None if nobody stated it.
        parameters: Parameters of the backbone and the default head.
        max_tokens: Longer texts are cut off.
        question_prompt: In front of questions; empty if none.
        passage_prompt: In front of passages; empty if none.
        default_head: Name of the head that the export uses.
        heads: All heads.
        stages: The stages that trained it, in order.
        sources: The corpus.
        teachers: The teachers.
        results: The evaluation as a plain text table; empty if there is none.
        made_with: The tool and its version.
        vision: The vision encoder; None for an export of texts alone.
        picture: Name of a picture beside the card that shows what some captions found; empty if
            there is none.
        languages: ISO 639-1 codes of the corpus.
        datasets: Hub names of the data sets in the corpus.
        evaluations: Results of MTEB's tasks.
        needs_transformers_5: Whether earlier releases would load the export and give other vectors.
    """

    name: str
    base_model: str
    hub_base: str | None
    base_license: str | None
    parameters: int
    max_tokens: int
    question_prompt: str
    passage_prompt: str
    default_head: str
    heads: tuple[CardHead, ...]
    stages: tuple[CardStage, ...]
    sources: tuple[CardSource, ...]
    teachers: tuple[CardTeacher, ...]
    results: str
    made_with: str
    vision: CardVision | None = None
    picture: str = ""
    languages: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    evaluations: tuple[EvalResult, ...] = ()
    needs_transformers_5: bool = False
