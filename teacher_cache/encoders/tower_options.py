"""How a teacher's transformer is computed: it moves vectors within the canary's tolerance only."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from data_prep.errors import PipeError, UsageError
from teacher_cache.config import TeacherConfig

KERNELS: Mapping[str, str | None] = {
    "sdpa": None,
    "eager": None,
    "flash_attention_2": "flash_attn",
}
"""Attention kernels by transformers' names, with the package that each needs besides torch."""

_KINDS = ("sentence-transformers", "nv-embed", "stella")


@dataclass(frozen=True, slots=True)
class TowerOptions:
    """Ways to compute a transformer; like an engine, no part of a teacher's fingerprint.

    Attributes:
        kernel: A row of ``KERNELS``.
        compiled: Whether ``torch.compile`` compiles it, for batches of any shape.
    """

    kernel: str = "sdpa"
    compiled: bool = False

    def check(self, teacher: TeacherConfig) -> None:
        """Check that a teacher can be computed so, without loading it.

        Args:
            teacher: The teacher's settings.

        Raises:
            UsageError: There is no such kernel, the teacher has no transformer, or the kernel does
                not compute in its dtype.
            PipeError: The kernel's package is not installed.
        """
        if self == AS_USUAL:
            return
        if self.kernel not in KERNELS:
            raise UsageError(
                f"found the attention kernel {self.kernel!r}, expected one of "
                f"{', '.join(KERNELS)}; mend `--kernel`."
            )
        if teacher.kind not in _KINDS:
            raise UsageError(
                f"found {self} for teacher {teacher.name} of kind {teacher.kind}, expected a "
                f"transformer's kind ({', '.join(_KINDS)}); name the other teachers with "
                "`--teacher`, and run this one without."
            )
        package = KERNELS[self.kernel]
        if package is None:
            return
        if importlib.util.find_spec(package) is None:
            raise PipeError(
                f"the package {package!r} is not installed, expected it for `--kernel "
                f"{self.kernel}`; install it with `pip install flash-attn` on a machine with its "
                "GPU and compiler, or leave the option out: sdpa needs nothing."
            )
        if teacher.dtype == "float32":
            raise UsageError(
                f"found the dtype float32 for teacher {teacher.name}, expected bfloat16 or float16 "
                f"with `--kernel {self.kernel}`; another dtype is another teacher, so use sdpa."
            )

    def __str__(self) -> str:
        """As on the command line."""
        given = [f"--kernel {self.kernel}"] * (self.kernel != "sdpa")
        return " ".join([*given, *["--compile"] * self.compiled])


AS_USUAL = TowerOptions()
"""Torch's own attention, not compiled."""
