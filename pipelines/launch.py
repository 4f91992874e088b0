"""Starting a command again as several processes that work together on this machine."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from data_prep.errors import UsageError
from data_prep.executors.processes import available_cores
from student.zero import require_deepspeed

Launcher = Literal["torchrun", "deepspeed"]
_MODULE = "pipelines"
_LAUNCH = "pipe-"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def process_count(wanted: int | None) -> int:
    """How many processes to start.

    Args:
        wanted: What the user says; None for one on each GPU.

    Returns:
        The number.

    Raises:
        UsageError: Nobody says, and there is no GPU; or there are fewer GPUs, or without any fewer
            cores, than processes.
    """
    gpus = torch.cuda.device_count()
    if wanted and 0 < gpus < wanted:
        raise UsageError(f"found {gpus} GPUs for {wanted} processes; give --nproc {gpus} at most.")
    cores = available_cores()
    if wanted and not gpus and wanted > max(cores, 2):
        raise UsageError(
            f"found {cores} cores for {wanted} processes and no GPU; give --nproc {cores} at most."
        )
    count = wanted or gpus
    if not count:
        raise UsageError("found no GPU to start a process for; say how many with --nproc N.")
    return count


def end_with_launcher(environ: Mapping[str, str] = os.environ) -> None:
    """Let a process end when the command that launched it is killed; on Linux.

    It would go on training alone otherwise, and keep others out of the run.

    Args:
        environ: Where the launcher left the name of the launch.
    """
    ours = environ.get("TORCHELASTIC_RUN_ID", "").startswith(_LAUNCH)
    if ours and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if f"{_LAUNCH}{os.getppid()}" != environ["TORCHELASTIC_RUN_ID"]:
            sys.exit(1)  # it was killed before this process asked to hear of it


def launch(launcher: Launcher, count: int, arguments: Sequence[str]) -> int:
    """Run ``pipe`` with some arguments in several processes, and wait for them.

    Args:
        launcher: Who starts them.
        count: How many.
        arguments: Of the command line, without the launcher's.

    Returns:
        The exit status: 0, or that of the first process that failed, which has said why.

    Raises:
        UsageError: DeepSpeed is not installed.
        KeyboardInterrupt: The user ended it.
    """
    # Every process would otherwise take all cores for itself.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // count)))
    if launcher == "deepspeed":
        return _launch_with_deepspeed(count, arguments)
    # Its lines say in its own words what the process that failed has said.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"{_LAUNCH}{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-u", "-m", _MODULE, *arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return max(failure.exitcode, 1)
    except SignalException:
        raise KeyboardInterrupt from None
    return 0


def _launch_with_deepspeed(count: int, arguments: Sequence[str]) -> int:
    require_deepspeed()
    command = [sys.executable, "-m", "deepspeed.launcher.runner"]
    command += ["--num_accelerators", str(count), "--no_local_rank", "--module", _MODULE]
    # A group of its own, all of which is told to end: the launcher does not pass a signal on.
    started = subprocess.Popen([*command, *arguments], start_new_session=True)  # noqa: S603
    try:
        return started.wait()
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        started.wait()
        raise
