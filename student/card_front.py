"""The front matter of a model card: what the hub, mteb and sentence-transformers read."""

import re
from pathlib import Path, PurePath

from huggingface_hub import ModelCardData

from student.card_facts import CardFacts
from student.card_terms import hub_license, origins_of

_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_TAGS = ("sentence-transformers", "sentence-similarity", "feature-extraction", "distillation")


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


def front_matter(facts: CardFacts) -> str:
    """Write the front matter.

    Args:
        facts: What the card says.

    Returns:
        YAML, without the lines around it. Results of MTEB become its ``model-index``.
    """
    license_name = hub_license(origins_of(facts).values())
    other = license_name == "other"
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=[*_TAGS, *(["mteb"] if facts.evaluations else [])],
        license=license_name,
        license_name="see-model-card" if other else None,
        license_link="README.md#licence" if other else None,
        language=list(facts.languages) or None,
        datasets=list(facts.datasets) or None,
        base_model=facts.hub_base,
        model_name=facts.name,
        eval_results=list(facts.evaluations) or None,
    )
    return str(data.to_yaml()).strip()
