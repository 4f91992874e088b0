"""Keeping libraries from talking into a command's own lines."""

import logging
import os
import warnings

import torch
from transformers.utils import logging as transformers_logging


def quiet_libraries() -> None:
    """Silence what says nothing to the user: bars for reading local weights, and advice."""
    if not torch.cuda.is_available():
        # Where it is installed, DeepSpeed is imported by others and warns of finding no GPU.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # DeepSpeed calls what newer releases of torch have renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
