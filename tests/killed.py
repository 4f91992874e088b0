"""A command that dies by SIGKILL at a point of its work, wherever the clock stands.

``python -m tests.killed PATTERN N MODULE ARGUMENTS``: the module as the main one, until N files
whose paths fit the pattern have been put in their places.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from typing import Any

from tests import warm


def killed(pattern: str, module: str, *arguments: str, behind: int = 1) -> bool:
    """Run a module in a process of its own until files are put in their places.

    Args:
        pattern: The files' paths, with the wildcards of ``fnmatch``.
        module: What is run as the main module.
        arguments: Its arguments.
        behind: How many files.

    Returns:
        Whether it came so far; else it ended before, or a process of its own placed the files.
    """
    done = warm.run("tests.killed", pattern, str(behind), module, *arguments)
    return done.returncode == -signal.SIGKILL


def _dying(place: Callable[..., Any], pattern: str, turns: Iterator[object]) -> Callable[..., Any]:
    """What puts a file in its place, and dies behind one that fits when the turns are over."""

    def dying(source: Any, target: Any, **options: Any) -> Any:
        done = place(source, target, **options)
        if fnmatch(os.fspath(target), pattern) and next(turns, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return dying


if __name__ == "__main__":
    _, wanted, number, main, *rest = sys.argv
    before = iter(range(1, int(number)))
    for name in ("link", "rename", "replace"):
        setattr(os, name, _dying(getattr(os, name), wanted, before))
    sys.argv = [main, *rest]
    runpy.run_module(main, run_name="__main__", alter_sys=True)
