"""The mteb library: loaded where it is used, without leaving anything behind."""

import logging
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch

from data_prep.errors import PipeError

_CACHE = "MTEB_CACHE"


def check_mteb() -> None:
    """Look whether mteb is there, without the seconds that importing it takes.

    Raises:
        PipeError: It is not installed.
    """
    if "mteb" not in sys.modules and find_spec("mteb") is None:
        raise PipeError(
            "found no mteb, which scores evaluation sets; run `pip install 'jasper-distill[mteb]'`."
        )


def require_mteb() -> None:
    """Import mteb, which makes no directory in the user's home; the random generators stay.

    Raises:
        PipeError: It is not installed.
    """
    if "mteb" in sys.modules:
        return
    check_mteb()
    with tempfile.TemporaryDirectory() as scratch, kept_randomness():
        # Importing it makes its cache's directory.
        own = os.environ.get(_CACHE)
        os.environ.setdefault(_CACHE, scratch)
        try:
            import mteb  # noqa: F401, PLC0415
        finally:
            if own is None:
                del os.environ[_CACHE]


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Put the random generators of Python, numpy and torch back as they were; mteb seeds them."""
    cuda = torch.cuda.is_initialized()
    python, numpy_state, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if cuda else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def quietly() -> Iterator[None]:
    """Run mteb without its bars and its advice; the random generators stay as they are."""
    import datasets  # noqa: PLC0415  takes half a second

    bars = datasets.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in ("mteb", "datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), kept_randomness():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


_PROBE_SECONDS = 5


def reach_hub() -> bool:
    """Ask once whether the hub can be reached; if not, data sets come from the cache at once.

    Without this every data set would be asked for again and again, for half a minute each.

    Returns:
        Whether it can be reached; False, too, where ``HF_HUB_OFFLINE`` is set.
    """
    import datasets  # noqa: PLC0415
    from huggingface_hub import constants, get_session  # noqa: PLC0415

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except Exception:  # the client raises errors of many libraries
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        return False
    return True
