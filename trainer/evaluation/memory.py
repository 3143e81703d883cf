"""How much memory a piece of work takes on top of what is there before it."""

from __future__ import annotations

import ctypes
import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["Growth", "growth"]

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Growth:
    """``mib``: peak during the work minus the level before it, in MiB; NaN where the system does not tell."""

    mib = math.nan


def _resident(key: str) -> float:
    """VmRSS or VmHWM (its peak) of this process in MiB; NaN outside of Linux."""
    try:
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**10
    except (OSError, StopIteration):
        return math.nan


def _give_back() -> None:
    """Return freed memory to the system, so that using it again counts (glibc; elsewhere nothing happens)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass


@contextmanager
def growth(device: str) -> Iterator[Growth]:
    """``with growth(device) as g: work()``: afterwards ``g.mib`` is what the work took at its peak.

    On a GPU the allocator's tensors count, elsewhere the resident memory of the process. Networks that were loaded
    before do not count.
    """
    found = Growth()
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found.mib = (torch.cuda.max_memory_allocated(device) - before) / 2**20
        return
    _give_back()
    try:
        PEAK.write_text("5")                # the peak starts anew
    except OSError:
        yield found
        return
    level = _resident("VmRSS")
    yield found
    found.mib = max(_resident("VmHWM") - level, 0.0)
