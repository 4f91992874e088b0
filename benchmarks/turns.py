"""Trainings that take turns: each runs a few steps and then waits, as often as it is asked to."""

import threading
import time
from collections.abc import Callable
from typing import Self

import torch

Pause = Callable[[], None]
"""What a training calls behind every step."""


class _Stop(BaseException):
    """Ends a training from within; no ``except Exception`` of a library stops it."""


class Turns:
    """A training in a thread of its own, which goes on only while somebody waits for it.

    So libraries that know nothing but "train to the end" can be timed in turn, A B A B, each as it
    is. Only one of them runs at a time.

    >>> def train(pause):
    ...     while True:
    ...         pause()
    >>> with Turns(train) as turns:
    ...     turns.run(3) > 0
    True
    """

    def __init__(self, train: Callable[[Pause], None], threads: int | None = None) -> None:
        """Nothing runs yet.

        Args:
            train: Trains for as long as it is let, and calls what it is given behind every step.
            threads: Of torch; by default as many as in the calling thread.
        """
        self._train = train
        self._threads = threads or torch.get_num_threads()
        self._go, self._halted = threading.Semaphore(0), threading.Semaphore(0)
        self._left = 0
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def run(self, steps: int) -> float:
        """Let it run.

        Args:
            steps: How many steps.

        Returns:
            Seconds. The first time what comes before the first step is among them.
        """
        self._left = steps
        begin = time.perf_counter()
        self._go.release()
        self._halted.acquire()
        if self._error is not None:
            raise self._error
        return time.perf_counter() - begin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the training, wherever it stands."""
        self._stopping = True
        self._go.release()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # each thread has a number of its own
        self._go.acquire()
        try:
            if not self._stopping:
                self._train(self._pause)
                raise RuntimeError("the training ended before it was stopped")
        except _Stop:
            pass
        except BaseException as error:
            self._error = error
        self._halted.release()

    def _pause(self) -> None:
        self._left -= 1
        if self._left > 0:
            return
        self._halted.release()
        self._go.acquire()
        if self._stopping:
            raise _Stop
