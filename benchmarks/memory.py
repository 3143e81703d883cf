"""Peak memory, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PROC = Path("/proc/self")


def status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    line = next(line for line in (PROC / "status").read_text().splitlines() if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


def peak_of(run: Callable[[], Any]) -> tuple[float, Any]:
    """MiB that ``run`` needed at most on top of what was there before, and what it returned."""
    (PROC / "clear_refs").write_text("5")  # the high-water mark starts again from here
    before = status("VmRSS")
    result = run()
    return (status("VmHWM") - before) / 2**20, result


def route_peak(name: str, route: str) -> float:
    """MiB of one pass of a row's route beyond the loaded network, its inputs and its output."""
    from .cases import make_case

    peak, result = peak_of(make_case(name).routes[route].run)
    own = result.numel() * result.element_size() / 2**20 if isinstance(result, Tensor) else 0.0
    return max(0.0, peak - own)


def child(function: Callable[..., Any], args: tuple[Any, ...], threads: int, queue: Any) -> None:
    """Entry of the process."""
    torch.set_num_threads(threads)
    queue.put(function(*args))


def apart(function: Callable[..., Any], *args: Any, threads: int) -> Any:
    """``function(*args)`` in a fresh process; None where the system does not tell (it needs Linux) or it failed."""
    if not (PROC / "clear_refs").exists():
        return None
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(function, args, threads, queue))
    process.start()
    process.join()
    return queue.get() if process.exitcode == 0 else None
