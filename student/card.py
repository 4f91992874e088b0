"""The model card: what a stranger, the hub and sentence-transformers need to know of a student."""

from student.card_facts import CardFacts
from student.card_front import front_matter
from student.card_table import markdown_table
from student.card_terms import license_section, shown

_NEEDS_FIVE = (
    "\n- Needs transformers 5: earlier releases load it and give other vectors, since they would "
    "look at each text in one direction only, or through other windows"
)


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
        _results(facts),
        _evaluations(facts),
        license_section(facts),
    ]
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{front_matter(facts)}\n---\n\n{body}\n"


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
        "- Similarity: cosine\n"
        f"{sees}"
        f"- Made with: {facts.made_with}"
        f"{_NEEDS_FIVE if facts.needs_transformers_5 else ''}"
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
        "import student.registered  # of jasper-distill: makes the model known",
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
    text = f"## Heads\n\n{markdown_table(header, rows)}"
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
    return f"## Recipe\n\n{markdown_table(header, rows)}"


def _corpus(facts: CardFacts) -> str:
    if not facts.sources:
        return "## Corpus\n\nThe corpus that it was trained on is no longer known."
    pairs = facts.vision.sources if facts.vision else ()
    rows = [(s.name, f"{s.texts:,}", shown(s.license)) for s in (*facts.sources, *pairs)]
    return f"## Corpus\n\n{markdown_table(('source', 'texts', 'licence'), rows)}"


def _teachers(facts: CardFacts) -> str:
    rows = [
        (t.name, t.model, t.dim or "", f"{t.weight:g}", shown(t.license)) for t in facts.teachers
    ]
    header = ("teacher", "model", "dimensions", "weight", "licence")
    return f"## Teachers\n\n{markdown_table(header, rows)}"


def _results(facts: CardFacts) -> str:
    if not facts.results:
        return ""
    text = f"## Results\n\n```\n{facts.results}\n```"
    if facts.picture:
        text += f"\n\n![What some captions found]({facts.picture})"
    return text


def _evaluations(facts: CardFacts) -> str:
    if not facts.evaluations:
        return ""
    rows = [
        (found.dataset_name, found.dataset_split, found.metric_name, f"{found.metric_value:.4f}")
        for found in facts.evaluations
    ]
    return f"## MTEB\n\n{markdown_table(('data set', 'split', 'metric', 'score'), rows)}"
