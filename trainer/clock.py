"""Where the time of a step goes, without making the device wait."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds per named part. On CUDA, events are put between the kernels and read when somebody asks, at a moment
    when the loop waits for the device anyway; elsewhere the clock on the wall is read. Parts may be nested; the time
    of the inner one is then counted in both."""

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == "cuda"
        self._seconds: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        if self.cuda:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            yield
            last.record()
            self._events.append((part, first, last))
        else:
            start = time.perf_counter()
            yield
            self._seconds[part] += time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """{part: seconds since the last call}; on CUDA this waits for the device."""
        if self._events:
            torch.cuda.synchronize()
            for part, first, last in self._events:
                self._seconds[part] += first.elapsed_time(last) / 1000
            self._events.clear()
        out = dict(self._seconds)
        self._seconds.clear()
        return out
