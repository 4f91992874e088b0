"""Keeping libraries from talking into a command's own lines."""

import logging

from transformers.utils import logging as transformers_logging


def quiet_libraries() -> None:
    """Silence what says nothing to the user: bars for reading local weights, and advice."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
