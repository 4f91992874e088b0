"""The processes that train one student together: who they are, and what they tell each other.

Shape legend: B texts of the whole batch, b of this process, C columns.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F

from data_prep.errors import UsageError
from student.row_set import Rows
from teacher_cache.workers import number_in

_PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: one of them may be evaluating, or computing pooled
states. A process that has ended is noticed at once, by whoever launched it."""

_WAY_OUT = "start the processes with torchrun or deepspeed, or unset RANK and WORLD_SIZE"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among those that train together.

    Attributes:
        number: Its rank, from 0.
        count: How many there are.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Check that the rank is one of them.

        Raises:
            UsageError: It is not.
        """
        if not 0 <= self.number < self.count:
            raise UsageError(
                f"found RANK={self.number} and WORLD_SIZE={self.count}, expected a rank below the "
                "number of processes; start them with torchrun, or unset both."
            )

    @property
    def first(self) -> bool:
        """Whether this process writes what the others only read."""
        return self.number == 0

    def share(self, rows: Rows) -> Rows:
        """This process's rows of a batch.

        Args:
            rows: Of the whole batch, (B,).

        Returns:
            Every ``count``-th, (b,).
        """
        return rows[self.number :: self.count]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def tell(self, value: _T) -> _T:
        """Give every process the first one's value.

        Args:
            value: Small, and of plain types; only the first process's counts.

        Returns:
            The first process's value.
        """
        if self.count == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        told: _T = box[0]
        return told

    def add_up(self, numbers: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over the processes, in place.

        Args:
            numbers: Of the same shape everywhere.

        Returns:
            The same tensor.
        """
        if self.count > 1:
            dist.all_reduce(numbers)
        return numbers

    def gather(self, own_bC: torch.Tensor, total: int) -> torch.Tensor:
        """Put the rows of all processes together; the gradient flows into this one's alone.

        Summed over the processes, the gradients of a loss of the result are those of the loss of
        the whole batch. Where they are averaged, multiply the loss by ``count``.

        Args:
            own_bC: This process's rows: those at ``number``, ``number + count``, ... of the batch.
            total: B.

        Returns:
            rows_BC, the first process's first, the same numbers everywhere.
        """
        if self.count == 1:
            return own_bC
        shares = [len(range(rank, total, self.count)) for rank in range(self.count)]
        padded = F.pad(own_bC.detach(), (0, 0, 0, shares[0] - len(own_bC))).contiguous()
        parts = [torch.empty_like(padded) for _ in shares]
        dist.all_gather(parts, padded)
        rows = [part[:share] for part, share in zip(parts, shares, strict=True)]
        rows[self.number] = own_bC
        return torch.cat(rows)

    def only_first(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """A report that says each line once, not once a process.

        Args:
            report: Takes a line for the user.
        """
        return report if self.first else lambda line: None


ALONE = Ranks()
"""The only process."""


def join_ranks(environ: Mapping[str, str] = os.environ) -> Ranks:
    """Join the other processes of a launch by torchrun or deepspeed, if this is one of several.

    Args:
        environ: Where the launcher left ``RANK`` and ``WORLD_SIZE``.

    Returns:
        This process's place; the only one where no launcher has left a trace.

    Raises:
        UsageError: A variable is broken.
    """
    ranks = Ranks(_number(environ, "RANK", 0), _number(environ, "WORLD_SIZE", 1))
    if ranks.count > 1 and not dist.is_initialized():
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(_gpu(environ))
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        try:
            dist.init_process_group(backend, timeout=_PATIENCE)
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"found a launch of {ranks.count} processes that do not find each other ({error}); "
                f"{_WAY_OUT}."
            ) from None
    return ranks


def _gpu(environ: Mapping[str, str]) -> int:
    gpus = torch.cuda.device_count()
    if gpus > 1 and "LOCAL_RANK" not in environ:
        raise UsageError(
            f"found {gpus} GPUs and no LOCAL_RANK in the environment, expected this process's "
            "number on its machine; start the processes with torchrun or deepspeed."
        )
    number = _number(environ, "LOCAL_RANK", 0)
    if number >= gpus:
        raise UsageError(
            f"found process {number} of a machine with {gpus} GPUs, expected one process a GPU; "
            "start fewer."
        )
    return number


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    return number_in(environ, name, _WAY_OUT) if name in environ else default
