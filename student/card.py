"""The model card: what a stranger, the hub and sentence-transformers need to know of a student."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import ModelCardData

_NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non-?\s?commercial|research[ -]only")
_UNKNOWN = frozenset({"", "unknown"})


@dataclass(frozen=True, slots=True)
class CardHead:
    """A head as the card lists it.

    Attributes:
        name: The head's name.
        dim: Numbers in its vectors.
        directory: Its directory in the export.
    """

    name: str
    dim: int
    directory: str


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
        model: Where it comes from.
        dim: Numbers in its vectors.
        weight: Its share in the target's similarities, relative to the others.
        license: Its licence.
    """

    name: str
    model: str
    dim: int
    weight: float
    license: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that the card says.

    Attributes:
        name: The model's name, the card's title.
        base_model: What the student started from, in words or as a hub name.
        base_model_on_hub: Whether ``base_model`` is a hub name, so that the hub may link it.
        license: Licence of the weights, as a hub identifier such as ``apache-2.0``.
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
    """

    name: str
    base_model: str
    base_model_on_hub: bool
    license: str
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


def non_commercial(license_name: str) -> bool:
    """Tell whether a licence's name forbids commercial use.

    Args:
        license_name: For example ``CC-BY-NC-4.0``.

    Returns:
        True for names with NC, "non-commercial" or "research only" in them.

    >>> non_commercial("CC-BY-NC-4.0"), non_commercial("Apache-2.0")
    (True, False)
    """
    return _NON_COMMERCIAL.search(license_name.lower()) is not None


def model_card(facts: CardFacts) -> str:
    """Write the card.

    Args:
        facts: What to say.

    Returns:
        Markdown with YAML front matter. If a teacher or a source is non-commercial, the front
        matter's licence is ``other`` and points to the card's licence section.
    """
    sections = [
        f"# {facts.name}",
        _introduction(facts),
        _usage(facts),
        _heads(facts),
        _recipe(facts),
        _corpus(facts),
        _teachers(facts),
        f"## Results\n\n```\n{facts.results}\n```" if facts.results else "",
        _license(facts),
    ]
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{_front_matter(facts)}\n---\n\n{body}\n"


def _front_matter(facts: CardFacts) -> str:
    restricted = bool(_restricted(facts))
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "distillation"],
        license="other" if restricted else facts.license,
        license_name="see-model-card" if restricted else None,
        license_link="README.md#licence" if restricted else None,
        base_model=facts.base_model if facts.base_model_on_hub else None,
    )
    return str(data.to_yaml()).strip()


def _introduction(facts: CardFacts) -> str:
    teachers = " and ".join(teacher.name for teacher in facts.teachers)
    dim = next(head.dim for head in facts.heads if head.name == facts.default_head)
    return (
        "A sentence-transformers model: it maps texts to unit vectors whose dot product is their "
        f"similarity. It was distilled from {teachers}, after the method of "
        "[Jasper and Stella](https://arxiv.org/abs/2412.19048), "
        f"starting from {facts.base_model}.\n\n"
        f"- Parameters: {facts.parameters:,}\n"
        f"- Dimensions: {dim}\n"
        f"- Longest text: {facts.max_tokens} tokens\n"
        "- Pooling: mean over all tokens\n"
        f"- Made with: {facts.made_with}"
    )


def _usage(facts: CardFacts) -> str:
    lines = [
        "## Usage",
        "",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("{facts.name}")',
        'documents = model.encode_document(["The mitochondrion makes ATP.", "Rome fell in 476."])',
        'queries = model.encode_query(["When did Rome fall?"])',
        "print(model.similarity(queries, documents))",
        "```",
    ]
    prompts = {"Questions": facts.question_prompt, "Passages": facts.passage_prompt}
    for role, prompt in prompts.items():
        if prompt:
            lines += ["", f"{role} are prompted with {prompt!r}."]
    return "\n".join(lines)


def _heads(facts: CardFacts) -> str:
    rows = [
        (head.name, head.dim, f"`{head.directory}`", "in use" * (head.name == facts.default_head))
        for head in facts.heads
    ]
    text = f"## Heads\n\n{_markdown(('head', 'dimensions', 'directory', ''), rows)}"
    if len(rows) > 1:
        text += (
            "\n\nThe heads are independent layers on the pooled state. To use another one, change "
            "the path of the Dense module in `modules.json` to its directory. A prefix of a "
            "longer vector (`truncate_dim`) is not a shorter head's vector."
        )
    return text


def _recipe(facts: CardFacts) -> str:
    header = ("stage", "trained", "losses", "steps", "batch", "learning rate")
    rows = [
        (s.name, f"`{s.trained}`", s.losses, s.steps, s.batch_size, f"{s.learning_rate:g}")
        for s in facts.stages
    ]
    return f"## Recipe\n\n{_markdown(header, rows)}"


def _corpus(facts: CardFacts) -> str:
    rows = [(s.name, f"{s.texts:,}", s.license or "not stated") for s in facts.sources]
    return f"## Corpus\n\n{_markdown(('source', 'texts', 'licence'), rows)}"


def _teachers(facts: CardFacts) -> str:
    rows = [(t.name, t.model, t.dim, f"{t.weight:g}", t.license) for t in facts.teachers]
    header = ("teacher", "model", "dimensions", "weight", "licence")
    return f"## Teachers\n\n{_markdown(header, rows)}"


def _license(facts: CardFacts) -> str:
    restricted = _restricted(facts)
    text = f"## Licence\n\nWeights: {facts.license}."
    if restricted:
        text += (
            f"\n\n**Warning: {' and '.join(restricted)} may not be used commercially.** This model "
            "learned from it. Do not use the model commercially unless you have settled that "
            "those terms allow it."
        )
    unknown = [t.name for t in facts.teachers if t.license.lower() in _UNKNOWN]
    unknown += [s.name for s in facts.sources if (s.license or "").lower() in _UNKNOWN]
    if unknown:
        text += f"\n\nNot stated, to be checked before use: the terms of {', '.join(unknown)}."
    return text


def _restricted(facts: CardFacts) -> list[str]:
    teachers = [f"the teacher {t.name} ({t.license})" for t in facts.teachers]
    sources = [f"the source {s.name} ({s.license})" for s in facts.sources]
    licenses = [*(t.license for t in facts.teachers), *(s.license or "" for s in facts.sources)]
    named = zip([*teachers, *sources], licenses, strict=True)
    return [name for name, license_name in named if non_commercial(license_name)]


def _markdown(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    # A bar inside a cell would end it.
    table = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in table
    )
