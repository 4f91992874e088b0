"""What a machine is, and which versions of which packages work on it."""

import os
import platform
import socket
from importlib import metadata
from pathlib import Path
from typing import Final

import torch
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
        gpus: Name of each GPU that torch sees.
        packages: Version of each package of ``PACKAGES`` that is installed.
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
    def here(cls) -> "Environment":
        """Describe this machine, as this process sees it."""
        return cls(
            host=socket.gethostname(),
            python=platform.python_version(),
            platform=platform.platform(),
            processor=_processor(),
            cores=_cores(),
            gpus=tuple(
                torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())
            ),
            packages=dict(_versions()),
        )


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


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
