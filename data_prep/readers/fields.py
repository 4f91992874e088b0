"""The fields of a record, with a sentence for everything that can be wrong with one."""

from collections.abc import Mapping
from typing import Any

from data_prep.config import SourceConfig
from data_prep.errors import PipeError


def id_and_text(
    record: Mapping[str, Any], config: SourceConfig, where: str, default_id: str
) -> tuple[str, str]:
    """Take the id and the text out of a record.

    Args:
        record: Its fields.
        config: Names the fields.
        where: The record's place, for messages; for example file and line.
        default_id: The id if the source has no ``id_field``.

    Returns:
        The document's id and text. A text of null is the empty text.

    Raises:
        PipeError: A field is missing or is of the wrong type.
    """
    text = _field(record, config.text_field, where, "text_field")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise PipeError(
            f"{where}: field {config.text_field!r} holds {kind(text)}; expected a string. Set "
            f"text_field of source {config.name!r} to the field that holds the text."
        )
    return (default_id if config.id_field is None else id_of(record, config, where)), text


def id_of(record: Mapping[str, Any], config: SourceConfig, where: str) -> str:
    """Take the id out of a record of a source that has an ``id_field``.

    Args:
        record: Its fields.
        config: Names the field.
        where: The record's place, for messages.

    Returns:
        The document's id.

    Raises:
        PipeError: The field is missing or names nothing.
    """
    assert config.id_field is not None  # noqa: S101, for the type checker
    doc_id = _field(record, config.id_field, where, "id_field")
    if isinstance(doc_id, bool) or not isinstance(doc_id, str | int):
        raise PipeError(
            f"{where}: field {config.id_field!r} holds {kind(doc_id)}; expected a string or an "
            f"integer. Set id_field of source {config.name!r} to a field that names documents, or "
            "leave it out."
        )
    return str(doc_id)


def missing_field(name: str, there: list[str], where: str, setting: str) -> PipeError:
    """Make the error for a field that is not there.

    Args:
        name: The field that is wanted.
        there: The fields that are there.
        where: The record's place.
        setting: The setting that names the field.

    Returns:
        The error, to be raised.
    """
    fields = ", ".join(map(repr, there)) or "no fields"
    return PipeError(
        f"{where}: field {name!r} is missing; found {fields}. Set {setting} to one of them."
    )


def _field(record: Mapping[str, Any], name: str, where: str, setting: str) -> Any:
    try:
        return record[name]
    except KeyError:
        raise missing_field(name, list(record), where, setting) from None


def kind(value: Any) -> str:
    """Name the type of a value as its author would.

    Args:
        value: Out of JSON, Parquet or CSV.
    """
    names = {"NoneType": "null", "dict": "an object", "list": "a list", "bool": "a truth value"}
    name = type(value).__name__
    return names.get(name, f"a value of type {name}")
