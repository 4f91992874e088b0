"""Processes of their own that have imported everything already: forked from a warm server.

A fresh interpreter takes seconds to import torch and transformers; these begin to work at once, and
can be waited for and killed as those of ``subprocess`` can.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.warmed"])


class WarmProcess:
    """``python -m MODULE ARGUMENTS`` in a process of its own, with the ways of ``Popen``.

    Args:
        module: What is run as the main module.
        arguments: Its arguments.
        env: Variables to set, besides those of this process.
    """

    def __init__(self, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._files = tuple(Path(self._directory.name) / name for name in ("out", "err"))
        for file in self._files:
            file.touch()
        environ = {**os.environ, **(env or {})}
        self._process = context.Process(
            target=_run, args=(module, arguments, environ, self._files), daemon=False
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, or the negative signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        """What it has written so far."""
        return self._files[1].read_text()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and give its exit status."""
        self._process.join(timeout)
        status = self.returncode
        if status is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and give what it has written."""
        self.wait(timeout)
        return self.stdout, self.stderr


def run(module: str, *arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m MODULE ARGUMENTS`` to its end, as ``subprocess.run`` does."""
    process = WarmProcess(module, *arguments, **options)  # type: ignore[arg-type]
    try:
        status = process.wait(timeout=240)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess([module, *arguments], status, process.stdout, process.stderr)


def _run(
    module: str,
    arguments: tuple[str, ...],
    environ: Mapping[str, str],
    files: tuple[Path, Path],
) -> None:
    for number, file in enumerate(files, start=1):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
