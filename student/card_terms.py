"""Licences: what a student inherits from everything that its weights come from."""

import re
from collections.abc import Iterable

from student.card_facts import CardFacts
from student.card_table import markdown_table

_NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non-?\s?commercial|research[ -]only")
_UNKNOWN = "unknown"
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


def license_section(facts: CardFacts) -> str:
    """The card's section on licences.

    Args:
        facts: What the card says.

    Returns:
        Markdown: every origin of the weights with its licence, and what follows from them.
    """
    origins = origins_of(facts)
    license_name = hub_license(origins.values())
    verdict = {
        "other": "The weights come under several terms, all of which apply:",
        _UNKNOWN: "Nobody has stated all the terms that the weights come under:",
    }.get(license_name, f"The most restrictive of the licences behind the weights: {license_name}.")
    rows = [(name, shown(license_name)) for name, license_name in origins.items()]
    text = f"## Licence\n\n{verdict}\n\n{markdown_table(('origin', 'licence'), rows)}"
    restricted = restrictions(facts)
    if restricted:
        text += (
            f"\n\n**Warning: {restricted}.** This model learned from it. Do not use the model "
            "commercially unless you have settled that those terms allow it."
        )
    unknown = [name for name, license_name in origins.items() if _stated(license_name) is None]
    if unknown:
        text += f"\n\nNot stated, to be checked before use: the terms of {', '.join(unknown)}."
    return text


def restrictions(facts: CardFacts) -> str:
    """Say which origins of the weights forbid commercial use.

    Args:
        facts: What the card says.

    Returns:
        Half a sentence, such as ``the teacher big (CC-BY-NC-4.0) may not be used commercially``;
        empty if none is known to.
    """
    restricted = [
        f"{origin} ({license_name})"
        for origin, license_name in origins_of(facts).items()
        if license_name is not None and non_commercial(license_name)
    ]
    return f"{' and '.join(restricted)} may not be used commercially" if restricted else ""


def origins_of(facts: CardFacts) -> dict[str, str | None]:
    """The licence of everything that the weights come from.

    Args:
        facts: What the card says.

    Returns:
        By origin, in words; None for a licence that nobody stated.
    """
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


def shown(license_name: str | None) -> str:
    """A licence for a table.

    Args:
        license_name: Its name, None if nobody stated one.
    """
    return _stated(license_name) or "not stated"
