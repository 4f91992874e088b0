"""Where the time of a step goes: shares of named parts, texts and tokens per second."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

PARTS = ("data", "forward", "loss", "backward", "optimizer")
"""What a training step is made of."""


class _Span(Protocol):
    """A piece of time that has begun."""

    def end(self) -> None:
        """Say that it is over."""

    def seconds(self) -> float:
        """How long it was, once ``StepClock`` has waited for the device."""


class _HostSpan:
    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._ended = self._began

    def end(self) -> None:
        self._ended = time.perf_counter()

    def seconds(self) -> float:
        return self._ended - self._began


class _CudaSpan:
    def __init__(self) -> None:
        self._began = torch.cuda.Event(enable_timing=True)
        self._ended = torch.cuda.Event(enable_timing=True)
        self._began.record()

    def end(self) -> None:
        self._ended.record()

    def seconds(self) -> float:
        return float(self._began.elapsed_time(self._ended)) / 1000


class StepClock:
    """Adds up the seconds of a step's parts until they are taken.

    On a GPU the parts are measured by events in its own stream, which nobody waits for before
    ``take``. So ``data`` there is how long the GPU stood idle for want of a batch, not how long
    the host waited while the GPU was busy.

    >>> clock = StepClock(torch.device("cpu"))
    >>> with clock.part("forward"):
    ...     clock.count(texts=128, tokens=2048)
    >>> sorted(clock.take())
    ['steps_per_second', 'texts_per_second', 'time/forward', 'tokens_per_second']
    >>> clock.take()
    {}
    """

    def __init__(self, device: torch.device) -> None:
        """Start the clock.

        Args:
            device: Where the step runs.
        """
        self._device = device
        self._span: type[_HostSpan] | type[_CudaSpan]
        self._span = _CudaSpan if device.type == "cuda" else _HostSpan
        self._reset()

    def _reset(self) -> None:
        self._began = time.perf_counter()
        self._outside = 0.0
        self._open: dict[str, _Span] = {}
        self._spans: dict[str, list[_Span]] = defaultdict(list)
        self._steps = self._texts = self._tokens = 0

    def start(self, name: str) -> None:
        """Begin a part; what began under the same name and did not end is forgotten.

        Args:
            name: One of ``PARTS``.
        """
        self._open[name] = self._span()

    def stop(self, name: str) -> None:
        """End a part; nothing happens if it has not begun.

        Args:
            name: As in ``start``.
        """
        span = self._open.pop(name, None)
        if span is not None:
            span.end()
            self._spans[name].append(span)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure a block.

        Args:
            name: One of ``PARTS``.
        """
        self.start(name)
        yield
        self.stop(name)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Leave a block out of all figures: an evaluation, or a checkpoint that is written."""
        self._wait()
        began = time.perf_counter()
        yield
        self._wait()
        self._outside += time.perf_counter() - began

    def count(self, texts: int, tokens: int) -> None:
        """Count what a step of this process has gone through.

        Args:
            texts: Texts.
            tokens: Tokens, without padding.
        """
        self._steps += 1
        self._texts += texts
        self._tokens += tokens

    def take(self) -> dict[str, float]:
        """Give the figures since the last time, and begin anew.

        Returns:
            ``time/PART`` as a share of the time that has passed, 0 to 1, for every part that was
            measured; ``steps_per_second``, and ``texts_per_second`` and ``tokens_per_second`` of
            this process. Empty if nothing was measured.
        """
        if not self._spans:
            self._reset()
            return {}
        self._wait()
        passed = max(time.perf_counter() - self._began - self._outside, 1e-9)
        figures = {
            f"time/{name}": sum(span.seconds() for span in spans) / passed
            for name, spans in self._spans.items()
        }
        figures["steps_per_second"] = self._steps / passed
        figures["texts_per_second"] = self._texts / passed
        figures["tokens_per_second"] = self._tokens / passed
        self._reset()
        return figures

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
