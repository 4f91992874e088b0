"""What a record says beside its image: captions, label, split and group."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from data_prep.errors import PipeError
from data_prep.pairs.config import PairSourceConfig
from data_prep.readers.fields import missing_field

_SPEAKERS = (("from", "value"), ("role", "content"))
_ANSWERS = {"gpt", "assistant", "model"}


def field(record: Mapping[str, Any], setting: str, source: PairSourceConfig, where: str) -> Any:
    """Take a field that must be there.

    Args:
        record: Its fields.
        setting: The setting that names the field, for example ``"caption_field"``.
        source: The source's settings.
        where: The record's place, for messages.

    Returns:
        The value; None if the source names no such field.

    Raises:
        PipeError: The record lacks the field.
    """
    name = getattr(source, setting)
    if name is None:
        return None
    if name not in record:
        raise missing_field(name, list(record), where, f"{setting} of source {source.name!r}")
    return record[name]


def captions_in(value: Any, source: PairSourceConfig, where: str) -> tuple[str, ...]:
    """Read captions: a string, several strings, or a conversation about the image.

    Args:
        value: What the caption field holds. A conversation is a list of objects with ``from`` and
            ``value`` (as in Infinity-MM and LLaVA) or ``role`` and ``content``.
        source: The source, for messages.
        where: The record's place, for messages.

    Returns:
        The captions; of a conversation, the first answer. Empty where there is none.

    Raises:
        PipeError: The field holds something else.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        for speaker, content in _SPEAKERS:
            for turn in value:
                # Whoever speaks may be any value of JSON, and a list is in no set.
                who, said = turn.get(speaker), turn.get(content)
                if isinstance(who, str) and who in _ANSWERS and isinstance(said, str):
                    return (said,)
        return ()
    raise PipeError(
        f"{where}: field {source.caption_field!r} holds a value of type {type(value).__name__}; "
        "expected a string, a list of strings or a conversation. Set caption_field of source "
        f"{source.name!r} to the field that holds the caption."
    )


def is_held_out(
    record: Mapping[str, Any], name: str, source: PairSourceConfig, where: str
) -> bool | None:
    """Say whether a source sets a pair aside.

    Args:
        record: Its fields.
        name: The image's name.
        source: Its ``split_field`` and ``held_out_pattern``.
        where: The record's place, for messages.

    Returns:
        Whether one of the two says so; None if the source has neither.

    Raises:
        PipeError: The record lacks the split field.
    """
    if not source.has_split:
        return None
    split = field(record, "split_field", source, where)
    pattern = source.held_out_pattern
    names = (name, PurePosixPath(name).name)
    return (split is not None and str(split) in source.held_out_split) or (
        pattern is not None and any(fnmatchcase(one, pattern) for one in names)
    )


def text_field(
    record: Mapping[str, Any], setting: str, source: PairSourceConfig, where: str
) -> str | None:
    """Take a label, a group or an id.

    Args:
        record: Its fields.
        setting: The setting that names the field.
        source: The source's settings.
        where: The record's place, for messages.

    Returns:
        The value as text; None where the field holds null or the source names none.

    Raises:
        PipeError: The record lacks the field, or it is no string, integer or truth value.
    """
    value = field(record, setting, source, where)
    if value is None:
        return None
    if not isinstance(value, str | int):
        raise PipeError(
            f"{where}: field {getattr(source, setting)!r} holds a value of type "
            f"{type(value).__name__}; expected a string or an integer. Set {setting} of source "
            f"{source.name!r} to such a field, or leave it out."
        )
    return str(value)
