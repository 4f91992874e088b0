"""What is wrong with somebody's settings, in sentences of ours."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

PATTERNS: Final[Mapping[str, str]] = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": (
        "a name of letters, digits, '.', '_' and '-' that begins with a letter or a digit"
    ),
    r"^[a-z0-9][a-z0-9._-]*$": (
        "a name of small letters, digits, '.', '_' and '-' that begins with a letter or a digit"
    ),
    r"^[a-z]{2,3}$": "a language's code of two or three small letters, such as 'en'",
    r"^(last|best|step:[1-9][0-9]*)$": "'last', 'best', or a step such as 'step:100'",
}
"""What a text must be that has to match a pattern; a test holds it complete."""

_KINDS: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text in quotes",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
    "mapping": "a table",
}
"""By the beginning of pydantic's name for an error, what should have stood there."""

_BOUNDS: Final[Mapping[str, str]] = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "too_short": "{min_length} at least",
}

_ALTERNATIVE: Final = re.compile(r"int|float|str|bool|literal\[.*\]")
"""What pydantic puts behind a place where one of several kinds of values may stand."""

_MOST_SHOWN = 80


def setting_sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Say what was found, what was expected and, for an unknown name, what is nearest.

    Args:
        error: What ``model`` raised.
        model: The settings.

    Returns:
        A sentence without its end for each mistake, which begins with the place of it, such as
        ``stages.0.steps``.
    """
    return list(dict.fromkeys(_sentences(error.errors(include_url=False), model)))


def nearest(name: str, known: Collection[str]) -> str:
    """Name what somebody may have meant.

    Args:
        name: What was found.
        known: What is there.

    Returns:
        `` (did you mean 'X'?)``; empty where nothing is near.
    """
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _sentences(problems: Sequence[ErrorDetails], model: type[BaseModel]) -> Iterator[str]:
    for problem in problems:
        kind, location = problem["type"], problem["loc"]
        # A list whose elements are wrong is reported once more as too short.
        inner = [other for other in problems if other["loc"][: len(location)] == location]
        if kind == "too_short" and len(inner) > 1:
            continue
        alternatives = _alternatives(problem, problems, model)
        if alternatives:
            location = location[:-1]
        where = ".".join(str(part) for part in location)
        if kind == "extra_forbidden":
            known = _keys_at(model, location[:-1])
            others = f" (known are {', '.join(known)})" if known else ""
            yield f"unknown key {where}{nearest(str(location[-1]), known) or others}"
        elif kind == "missing":
            yield f"{where} is missing"
        elif kind == "value_error":
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}" if where else message
        else:
            all_said = alternatives or [problem]
            wanted = " or ".join(dict.fromkeys(map(_expected, all_said)))
            near = "".join(dict.fromkeys(map(_near_choice, all_said)))
            yield f"{where}: found {_found(problem)}, expected {wanted}{near}"


def _alternatives(
    problem: ErrorDetails, problems: Sequence[ErrorDetails], model: type[BaseModel]
) -> list[ErrorDetails]:
    """All that is said of a value that could have been of several kinds; nothing of another."""
    *place, last = problem["loc"] or ("",)
    if not (place and isinstance(last, str) and _ALTERNATIVE.fullmatch(last)):
        return []
    if len(_kinds_at(model, place)) < 2:  # a key that is called so
        return []
    return [
        other
        for other in problems
        if list(other["loc"][:-1]) == place and _ALTERNATIVE.fullmatch(str(other["loc"][-1]))
    ]


def _expected(problem: ErrorDetails) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"text like {context['pattern']}")
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    return _KINDS.get(kind.partition("_")[0], problem["msg"])


def _found(problem: ErrorDetails) -> str:
    if problem["type"] == "too_short":
        return f"{problem['ctx']['actual_length']} entries"
    shown = repr(problem["input"])
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 3]}..."


def _near_choice(problem: ErrorDetails) -> str:
    choices = re.findall(r"'([^']*)'", str(problem.get("ctx", {}).get("expected", "")))
    return nearest(problem["input"], choices) if isinstance(problem["input"], str) else ""


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that the settings know at a place."""
    models = [kind for kind in _kinds_at(model, location) if _is_model(kind)]
    return list(models[0].model_fields) if models else []


def _kinds_at(model: type[BaseModel], location: Sequence[int | str]) -> list[Any]:
    """The kinds of values, other than none, that may stand at a place; empty for no place."""
    kinds: list[Any] = [model]
    for step in location:
        kinds = [inner for kind in kinds for inner in _beneath(kind, step)]
    return kinds


def _beneath(kind: Any, step: int | str) -> list[Any]:
    """The kinds of values that may stand under a key, or at a place in a list, of a value."""
    if _is_model(kind):
        field = kind.model_fields.get(step)
        return _members(field.annotation) if field else []
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict and isinstance(step, str):
        return _members(arguments[1])
    if origin in (tuple, list) and isinstance(step, int):
        same = origin is list or arguments[-1] is ...
        return _members(arguments[0] if same else arguments[min(step, len(arguments) - 1)])
    return []


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for one in get_args(annotation) for kind in _members(one)]
    return [] if annotation is NoneType else [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
