"""Records of several texts: pairs, triplets, queries with their passages, sets.

These are the shapes of the files of ``sentence-transformers/embedding-training-data``, and of the
data sets on the hub that have a column for each text.
"""

from collections.abc import Mapping
from typing import Any

from data_prep.config import Role, SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.fields import id_of, kind, missing_field

QUERY_FIELDS = ("query", "anchor", "question")
PASSAGE_FIELDS = ("pos", "positive", "passage", "answer", "neg", "negative")
SET_FIELDS = ("set", "texts")
"""Fields whose texts are alike, so that none of them is the query."""


def fields_of(config: SourceConfig) -> tuple[str, ...]:
    """Name every field that may hold texts to take.

    Args:
        config: Its ``text_field`` names the query where it is none of ``QUERY_FIELDS``.

    Returns:
        The names, in the order in which texts are taken.
    """
    names = (config.text_field, *QUERY_FIELDS, *PASSAGE_FIELDS, *SET_FIELDS)
    return tuple(dict.fromkeys(names))


def texts_of_record(
    record: Any, config: SourceConfig, where: str, default_id: str
) -> list[tuple[str, str, Role]]:
    """Take the texts out of a record as the source's ``take`` says.

    Args:
        record: A text; a list of texts, the query first; or an object with a query, passages
            (a text or a list of texts each) or a set of texts.
        config: ``take``, and the names of fields.
        where: The record's place, for messages.
        default_id: The id if the source has no ``id_field``.

    Returns:
        Id, text and role of each. The texts of a record are numbered from 0, the query, and every
        other has ``/number`` behind its id. Those of a set, and a text alone, have the source's
        role.

    Raises:
        PipeError: The record has another shape, or a value is no text.
    """
    doc_id = default_id
    if config.id_field is not None and isinstance(record, Mapping):
        doc_id = id_of(record, config, where)
    texts = _all_texts(record, config, where)
    first, stop = {"query": (0, 1), "passages": (1, None), "all": (0, None)}[config.take or "all"]
    return [
        (f"{doc_id}/{number}" if number else doc_id, text, role)
        for number, (text, role) in enumerate(texts)
    ][first:stop]


def _all_texts(record: Any, config: SourceConfig, where: str) -> list[tuple[str, Role]]:
    if isinstance(record, str):
        return [(record, config.role)]
    if isinstance(record, list):
        return _query_first(_texts(record, config, where, "the list"))
    if not isinstance(record, Mapping):
        raise PipeError(
            f"{where}: found {kind(record)}; expected a text, a list of texts, or an object with "
            f"a query and passages or a set of texts. Correct the format of source "
            f"{config.name!r}, or mend or remove the record."
        )
    values = {name: record[name] for name in fields_of(config) if record.get(name) is not None}
    if not values:
        raise missing_field(config.text_field, list(record), where, "text_field")
    together = [name for name in SET_FIELDS if name in values]
    texts = [
        text
        for name in together or values
        for text in _texts(values[name], config, where, f"field {name!r}")
    ]
    queries = {config.text_field, *QUERY_FIELDS}
    if together or (len(values) == 1 and config.text_field in values):
        return [(text, config.role) for text in texts]
    if not queries & values.keys():
        return [("", "question"), *((text, "passage") for text in texts)]
    return _query_first(texts)


def _query_first(texts: list[str]) -> list[tuple[str, Role]]:
    return [(text, "passage" if number else "question") for number, text in enumerate(texts)]


def _texts(value: Any, config: SourceConfig, where: str, what: str) -> list[str]:
    texts = [
        "" if text is None else text for text in (value if isinstance(value, list) else [value])
    ]
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise PipeError(
            f"{where}: {what} holds {kind(wrong[0])}; expected a text or a list of texts. Set "
            f"text_field of source {config.name!r} to the field of the query, or mend or remove "
            "the record."
        )
    return texts
