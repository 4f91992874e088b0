"""Changes to a recipe from the command line: ``--set stages.0.steps=100``."""

import tomllib
from typing import Any

from data_prep.errors import UsageError


def apply_override(data: dict[str, Any], override: str) -> None:
    """Change one value in a raw recipe.

    Args:
        data: The recipe as TOML gives it; it is changed in place.
        override: Such as ``stages.0.steps=100``: keys, and places in a list, then a TOML value or a
            bare word, which is a string.

    Raises:
        UsageError: It has no ``=``, or there is no such place.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise UsageError(f"--set {override!r} has no '='; write it as --set stages.0.steps=100.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # A bare word is a string.
    *parents, last = key.strip().split(".")
    place: Any = data
    for step in parents:
        place = _step(place, step, override)
    if isinstance(place, list):
        place[_index(place, last, override)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise UsageError(f"--set {override!r}: {'.'.join(parents)} is a value, not a table.")


def _step(place: Any, step: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, step, override)]
    if isinstance(place, dict):
        return place.setdefault(step, {})
    raise UsageError(f"--set {override!r}: {step!r} lies under a value, not under a table.")


def _index(place: list[Any], step: str, override: str) -> int:
    if not (step.isascii() and step.isdigit()) or int(step) >= len(place):
        raise UsageError(
            f"--set {override!r}: {step!r} is no place in a list of {len(place)}; "
            f"expected 0 to {len(place) - 1}."
        )
    return int(step)
