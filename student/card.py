"""The model card: what a stranger, the hub and sentence-transformers need to know of a student."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from huggingface_hub import ModelCardData

from student.card_facts import CardFacts

_NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non-?\s?commercial|research[ -]only")
_UNKNOWN = "unknown"
_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
# Hub identifiers from the freest to the most demanding.
_RANKED = (
    "cc0-1.0",
    "unlicense",
    "mit",
    "isc",
    "bsd-2-clause",
    "bsd-3-clause",
    "apache-2.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "odc-by",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "mpl-2.0",
    "lgpl-2.1",
    "lgpl-3.0",
    "gpl-2.0",
    "gpl-3.0",
    "agpl-3.0",
)


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


def public_name(model: str) -> tuple[str, bool]:
    """Name a model without saying where it lies on this machine.

    Args:
        model: A directory, ``package:NAME/sub/directory``, or a hub name.

    Returns:
        The name, and whether it is a hub name: ``owner/name``, and no path that exists here. Of a
        directory only the last part stays.

    >>> public_name("nvidia/NV-Embed-v2"), public_name("/home/me/secret/minilm")
    (('nvidia/NV-Embed-v2', True), ('minilm', False))
    """
    if model.startswith("package:"):
        return model, False
    if _HUB_NAME.fullmatch(model) and not Path(model).exists():
        return model, True
    return PurePath(model).name or "a local directory", False


def hub_license(licenses: Iterable[str | None]) -> str:
    """The most restrictive of the licences that a model inherits from.

    Args:
        licenses: Of the start, the teachers and the sources; None or "unknown" if nobody stated it.

    Returns:
        A hub identifier: ``other`` if one is non-commercial or its rank is not known, ``unknown``
        if one is not stated, else the most demanding of them.

    >>> hub_license(["MIT", "Apache-2.0"]), hub_license(["MIT", None])
    ('apache-2.0', 'unknown')
    """
    stated = [_stated(name) for name in licenses]
    if any(name is not None and non_commercial(name) for name in stated):
        return "other"
    if None in stated or not stated:
        return _UNKNOWN
    plain = {(name or "").strip().lower().replace(" ", "-") for name in stated}
    return max(plain, key=_RANKED.index) if plain <= set(_RANKED) else "other"


def model_card(facts: CardFacts) -> str:
    """Write the card.

    Args:
        facts: What to say.

    Returns:
        Markdown with YAML front matter. Its licence is ``hub_license`` of the start, the teachers
        and the sources; where that is ``other`` it points to the card's licence section.
    """
    sections = [
        f"# {facts.name}",
        _introduction(facts),
        _usage_of_images(facts) if facts.vision else _usage(facts),
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
    license_name = hub_license(_origins(facts).values())
    other = license_name == "other"
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "distillation"],
        license=license_name,
        license_name="see-model-card" if other else None,
        license_link="README.md#licence" if other else None,
        base_model=facts.base_model if facts.base_model_on_hub else None,
    )
    return str(data.to_yaml()).strip()


def _introduction(facts: CardFacts) -> str:
    teachers = " and ".join(teacher.name for teacher in facts.teachers)
    inputs = "texts and images" if facts.vision else "texts"
    sees = ""
    if facts.vision:
        sees = (
            f"- Vision: {facts.vision.start}, {facts.vision.parameters:,} parameters more, "
            f"{facts.vision.tokens} tokens an image\n"
        )
    dim = next(head.dim for head in facts.heads if head.name == facts.default_head)
    return (
        f"A sentence-transformers model: it maps {inputs} to unit vectors whose dot product is "
        f"their similarity. It was distilled from {teachers}, after the method of "
        "[Jasper and Stella](https://arxiv.org/abs/2412.19048), "
        f"starting from {facts.base_model}.\n\n"
        f"- Parameters: {facts.parameters:,}\n"
        f"- Dimensions: {dim}\n"
        f"- Longest text: {facts.max_tokens} tokens\n"
        "- Pooling: mean over all tokens\n"
        f"{sees}"
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


def _usage_of_images(facts: CardFacts) -> str:
    lines = [
        "## Usage",
        "",
        "```python",
        "import student  # of jasper-distill: makes the model known, no code comes from here",
        "from PIL import Image",
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("{facts.name}")',
        'images = model.encode([Image.open("a.jpg"), Image.open("b.jpg")])',
        'captions = model.encode(["two small red stars at the top left"])',
        "print(model.similarity(captions, images))",
        "```",
        "",
        "An input is a text, an image, or a dictionary of both: "
        '`{"text": "...", "image": Image.open("a.jpg")}`.',
    ]
    return "\n".join(lines)


def _heads(facts: CardFacts) -> str:
    rows: list[tuple[object, ...]] = [
        (head.name, head.dim, f"`{head.directory}`", "in use" * (head.name == facts.default_head))
        for head in facts.heads
    ]
    header: tuple[str, ...] = ("head", "dimensions", "directory", "")
    another = "change the path of the Dense module in `modules.json` to its directory"
    if facts.vision:
        rows, header = [(name, dim, use) for name, dim, _, use in rows], ("head", "dimensions", "")
        another = f'name it: `encode(inputs, task="{facts.heads[-1].name}")`'
    nested = [head for head in facts.heads if head.nested_in]
    text = f"## Heads\n\n{_markdown(header, rows)}"
    if len(rows) > 1:
        text += (
            "\n\nThe heads are independent layers on the pooled state. To use another one, "
            f"{another}. A prefix of a "
            "longer vector (`truncate_dim`) is not a shorter head's vector"
        )
        text += ", but for these: " if nested else "."
        text += ", ".join(
            f"{head.name} is the first {head.dim} numbers of {head.nested_in}" for head in nested
        )
        text += "." * bool(nested)
    return text


def _recipe(facts: CardFacts) -> str:
    header = ("stage", "trained", "losses", "steps", "batch", "learning rate")
    rows = [
        (s.name, f"`{s.trained}`", s.losses, s.steps, s.batch_size, f"{s.learning_rate:g}")
        for s in facts.stages
    ]
    return f"## Recipe\n\n{_markdown(header, rows)}"


def _corpus(facts: CardFacts) -> str:
    if not facts.sources:
        return "## Corpus\n\nThe corpus that it was trained on is no longer known."
    pairs = facts.vision.sources if facts.vision else ()
    rows = [(s.name, f"{s.texts:,}", _shown(s.license)) for s in (*facts.sources, *pairs)]
    return f"## Corpus\n\n{_markdown(('source', 'texts', 'licence'), rows)}"


def _teachers(facts: CardFacts) -> str:
    rows = [
        (t.name, t.model, t.dim or "", f"{t.weight:g}", _shown(t.license)) for t in facts.teachers
    ]
    header = ("teacher", "model", "dimensions", "weight", "licence")
    return f"## Teachers\n\n{_markdown(header, rows)}"


def _license(facts: CardFacts) -> str:
    origins = _origins(facts)
    license_name = hub_license(origins.values())
    verdict = {
        "other": "The weights come under several terms, all of which apply:",
        _UNKNOWN: "Nobody has stated all the terms that the weights come under:",
    }.get(license_name, f"The most restrictive of the licences behind the weights: {license_name}.")
    rows = [(name, _shown(license_name)) for name, license_name in origins.items()]
    text = f"## Licence\n\n{verdict}\n\n{_markdown(('origin', 'licence'), rows)}"
    restricted = [
        f"{n} ({li})" for n, li in origins.items() if li is not None and non_commercial(li)
    ]
    if restricted:
        text += (
            f"\n\n**Warning: {' and '.join(restricted)} may not be used commercially.** This model "
            "learned from it. Do not use the model commercially unless you have settled that "
            "those terms allow it."
        )
    unknown = [name for name, license_name in origins.items() if _stated(license_name) is None]
    if unknown:
        text += f"\n\nNot stated, to be checked before use: the terms of {', '.join(unknown)}."
    return text


def _origins(facts: CardFacts) -> dict[str, str | None]:
    """The licence of everything that the weights come from."""
    sources = {f"the source {s.name}": s.license for s in facts.sources}
    return (
        {f"the start ({facts.base_model})": facts.base_license}
        | {f"the teacher {t.name}": t.license for t in facts.teachers}
        | (sources or {"the corpus": None})
        | _origins_of_images(facts)
    )


def _origins_of_images(facts: CardFacts) -> dict[str, str | None]:
    vision = facts.vision
    if vision is None:
        return {}
    tower = {f"the vision encoder ({vision.start})": vision.license} if vision.license else {}
    return tower | {f"the images of {s.name}": s.license for s in vision.sources}


def _stated(license_name: str | None) -> str | None:
    """A licence's name, or None if nobody stated one."""
    known = license_name is not None and license_name.strip().lower() not in ("", _UNKNOWN)
    return license_name if known else None


def _shown(license_name: str | None) -> str:
    return _stated(license_name) or "not stated"


def _markdown(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    # A bar inside a cell would end it.
    table = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in table
    )
