"""What a reader finds: texts, and records that it could not make one of."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from data_prep.config import Role, SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.fields import id_and_text
from data_prep.readers.shapes import texts_of_record


class Found(NamedTuple):
    """A document as a reader finds it.

    Attributes:
        doc_id: Names it within its source.
        text: Its text.
        role: Its role; None for that of its source.
        plain: Whether it is known to be plain; see ``data_prep.characters``.
    """

    doc_id: str
    text: str
    role: Role | None = None
    plain: bool = False


Finds = Iterator[Found | PipeError]
"""Documents; and, for a record that is not as it should be, the error that says so. A reader that
cannot go on raises its error instead."""


def found_in(record: Any, config: SourceConfig, where: str, default_id: str) -> Finds:
    """Take the documents out of a record.

    Args:
        record: Its fields; with ``config.take`` also a list of texts or a text.
        config: Names the fields, and says what to take.
        where: The record's place, for messages; for example file and line.
        default_id: The id if the source has no ``id_field``.

    Yields:
        Its documents, or one error.
    """
    try:
        if config.take is not None:
            texts = texts_of_record(record, config, where, default_id)
            found = [Found(*text) for text in texts]
        else:
            if not isinstance(record, dict):
                raise PipeError(
                    f"{where}: found a JSON {type(record).__name__}; expected an object with named "
                    "fields. For pairs, triplets and sets of texts, set take of source "
                    f"{config.name!r} to query, passages or all."
                )
            found = [Found(*id_and_text(record, config, where, default_id))]
    except PipeError as error:
        yield error
    else:
        yield from found
