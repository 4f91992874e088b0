"""The recipe's keys as a reference page: types, defaults, bounds and meanings from the types."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.recipe import Recipe, built_in_recipes

_PLAIN: Final[Mapping[type, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "`true` or `false`",
}
_BOUNDS: Final[Mapping[str, str]] = {
    "gt": "above {:,}",
    "ge": "at least {:,}",
    "lt": "below {:,}",
    "le": "at most {:,}",
    "multiple_of": "a multiple of {}",
    "min_length": "{} or more of them",
    "pattern": "of the form `{}`",
}


@dataclass(frozen=True)
class Key:
    """One key of the recipe.

    Attributes:
        path: Its name in full, as ``--set`` takes it but for numbers: ``stages.steps``.
        kind: What a value is, and its bounds; Markdown.
        default: What stands there unless the recipe says otherwise; Markdown.
        meaning: What it does; Markdown.
        examples: The first value of each shipped recipe that sets it, as TOML, by recipe.
    """

    path: str
    kind: str
    default: str
    meaning: str
    examples: Mapping[str, str]

    @property
    def name(self) -> str:
        """The key's own name."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Section:
    """One table of the recipe.

    Attributes:
        path: Its name in full; empty for the keys in front of all tables.
        repeated: Whether it may stand more than once, as ``[[path]]``.
        summary: What it is; Markdown.
        keys: Its keys, in the order of the type.
    """

    path: str
    repeated: bool
    summary: str
    keys: tuple[Key, ...]

    @property
    def title(self) -> str:
        """The section's heading as it stands in a recipe."""
        if not self.path:
            return "In front of all tables"
        return f"`[[{self.path}]]`" if self.repeated else f"`[{self.path}]`"


def sections() -> list[Section]:
    """Read the recipe's types.

    Returns:
        Every table that a recipe may have, in the order of the types, outer ones first.
    """
    files = resources.files("pipelines") / "recipes"
    recipes = {
        name: tomllib.loads((files / f"{name}.toml").read_text("utf-8"))
        for name in built_in_recipes()
    }
    return list(_sections(Recipe, "", repeated=False, recipes=recipes))


def markdown() -> str:
    """Write the reference.

    Returns:
        A heading and a table of keys for each section; every key is an anchor of its own name.
    """
    return "\n".join(_as_markdown(section) for section in sections())


def _sections(
    model: type[BaseModel], path: str, *, repeated: bool, recipes: Mapping[str, Any]
) -> Iterator[Section]:
    summary, meanings = _docstring(model)
    inner = []
    keys = []
    for name, field in model.model_fields.items():
        place = f"{path}.{name}".lstrip(".")
        found = _model_in(field.annotation)
        if found is not None:
            inner.append((found, place, _is_list(field.annotation)))
        keys.append(
            Key(
                path=place,
                kind=_kind(field, place),
                default=_default(field),
                meaning=meanings.get(name, ""),
                examples={} if found else _examples(place, recipes),
            )
        )
    yield Section(path, repeated, summary, tuple(keys))
    for found, place, several in inner:
        yield from _sections(found, place, repeated=several, recipes=recipes)


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """The first sentence of a type's docstring, and what it says of each attribute."""
    import griffe  # noqa: PLC0415 - of the extra docs

    parts = griffe.Docstring(model.__doc__ or "", lineno=1).parse("google", warnings=False)
    summary = ""
    meanings = {}
    for part in parts:
        if part.kind is griffe.DocstringSectionKind.text and not summary:
            summary = _plain(part.value)
        elif part.kind is griffe.DocstringSectionKind.attributes:
            meanings = {item.name: _plain(item.description) for item in part.value}
    return summary, meanings


def _plain(text: str) -> str:
    """One line of Markdown from a docstring's reStructuredText."""
    return " ".join(text.split()).replace("``", "`").replace("|", r"\|")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _is_list(annotation: Any) -> bool:
    return any(get_origin(part) is tuple for part in (annotation, *get_args(annotation)))


def _kind(field: FieldInfo, place: str) -> str:
    if _model_in(field.annotation) is not None:
        several = "tables" if _is_list(field.annotation) else "table"
        return f"[{several}](#{place})"
    bounds = [text for part in field.metadata if (text := _bound(part))]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in arguments if part is not NoneType)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin is tuple:
        return f"list of {_several(arguments[0])}"
    if origin is dict:
        return f"table of {_several(arguments[1])}"
    return _PLAIN[annotation]


def _several(annotation: Any) -> str:
    if annotation in (str, int, float):
        return f"{_PLAIN[annotation]}s"
    inner = _type(annotation)
    return inner.replace("list of", "lists of") if inner.startswith("list") else inner


def _bound(part: Any) -> str:
    """A bound in words; what pydantic keeps of it has one attribute, called as in ``Field``."""
    for attribute, words in _BOUNDS.items():
        value = getattr(part, attribute, None)
        if value is not None:
            return words.format(value).replace("|", r"\|")
    return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    return f"`{_toml(value)}`"


def _examples(place: str, recipes: Mapping[str, Any]) -> dict[str, str]:
    found = {name: list(_values(data, place.split("."))) for name, data in recipes.items()}
    return {name: _toml(values[0]) for name, values in found.items() if values}


def _values(data: Any, steps: Sequence[str]) -> Iterator[Any]:
    if isinstance(data, list):
        for item in data:
            yield from _values(item, steps)
    elif not steps:
        yield data
    elif isinstance(data, dict) and steps[0] in data:
        # A list at the end is the value itself, not a place to look into.
        inner = data[steps[0]]
        yield from [inner] if len(steps) == 1 else _values(inner, steps[1:])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return str(value) if isinstance(value, float) else json.dumps(value)


def _as_markdown(section: Section) -> str:
    lines = [
        f"## {section.title} {{ #{section.path or 'recipe'} }}",
        "",
        section.summary,
        "",
        "| key | value | default | meaning | in the shipped recipes |",
        "|---|---|---|---|---|",
    ]
    for key in section.keys:
        shown = "<br>".join(f"{name}: `{value}`" for name, value in key.examples.items())
        # The section that a key opens has its name as an anchor already.
        opens = key.kind.startswith("[table")
        name = f"`{key.name}`" if opens else f'<span id="{key.path}">`{key.name}`</span>'
        lines.append(f"| {name} | {key.kind} | {key.default} | {key.meaning} | {shown} |")
    return "\n".join([*lines, ""])
