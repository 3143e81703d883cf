"""Where the time of a step goes, without making the device wait."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds per named part. On CUDA, events are put between the kernels and read when somebody asks, at a moment
    when the loop waits for the device anyway; elsewhere the clock on the wall is read. The time of a part inside
    another one counts for the inner one only."""

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == "cuda"
        self._seconds: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, str, torch.cuda.Event, torch.cuda.Event]] = []
        self._inside: list[str] = [""]

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        around = self._inside[-1]
        self._inside.append(part)
        try:
            if self.cuda:
                first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                first.record()
                yield
                last.record()
                self._events.append((part, around, first, last))
            else:
                start = time.perf_counter()
                yield
                self._add(part, around, time.perf_counter() - start)
        finally:
            self._inside.pop()

    def _add(self, part: str, around: str, seconds: float) -> None:
        self._seconds[part] += seconds
        if around:
            self._seconds[around] -= seconds

    def read(self) -> dict[str, float]:
        """{part: seconds since the last call}; on CUDA this waits for the device."""
        if self._events:
            torch.cuda.synchronize()
            for part, around, first, last in self._events:
                self._add(part, around, first.elapsed_time(last) / 1000)
            self._events.clear()
        out = dict(self._seconds)
        self._seconds.clear()
        return out
