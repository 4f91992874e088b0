"""Loading a part of a checkpoint that holds more than the part."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def without_report() -> Iterator[None]:
    """Keep transformers from printing a table of the tensors that are not the part's.

    What is missing is to be looked for in the loading info instead.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
