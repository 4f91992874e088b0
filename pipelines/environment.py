"""What a machine is, and which versions of which packages work on it."""

import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

PACKAGES: Final = (
    "jasper-distill",
    "torch",
    "transformers",
    "sentence-transformers",
    "accelerate",
    "deepspeed",
    "peft",
    "vllm",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "scikit-learn",
    "datasets",
    "pyarrow",
    "zarr",
    "sentencex",
    "ray",
    "mteb",
)
"""Packages that take part in a run's numbers or in its time."""


class Environment(BaseModel):
    """A machine and its packages.

    Attributes:
        host: The machine's name.
        python: Version of Python.
        platform: Operating system and architecture.
        processor: Name of the CPU.
        cores: CPU cores that this process may use.
        gpus: Name of each GPU that torch sees; empty where it cannot tell, and where the process
            has not loaded torch.
        packages: Version of each package of ``PACKAGES`` that is installed and says its version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    python: str
    platform: str
    processor: str
    cores: int
    gpus: tuple[str, ...]
    packages: dict[str, str]

    @classmethod
    def here(cls, *, aside: bool = False) -> "Environment":
        """Describe this machine, as this process sees it.

        Args:
            aside: Whether GPUs are named only if torch has them at work, so that nothing is begun
                beside the process's own work.
        """
        return cls(
            host=socket.gethostname(),
            python=platform.python_version(),
            platform=platform.platform(),
            processor=_processor(),
            cores=_cores(),
            gpus=gpus(aside=aside),
            packages=dict(_versions()),
        )


def gpus(*, aside: bool = False) -> tuple[str, ...]:
    """Name each GPU that torch sees; torch is not loaded for it.

    Args:
        aside: As in ``Environment.here``.

    Returns:
        Names; none where it cannot tell.
    """
    # A driver that is broken or taken raises errors of many kinds, and stops no work by itself.
    with suppress(Exception):
        torch = sys.modules.get("torch")
        if torch is None or (aside and not torch.cuda.is_initialized()):
            return ()
        return tuple(
            torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())
        )
    return ()


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        found: str | None = None
        # Beside packages that are not there, there are records that are broken.
        with suppress(metadata.PackageNotFoundError, KeyError, ValueError, OSError):
            found = metadata.version(name)
        if found is not None:
            yield name, found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
