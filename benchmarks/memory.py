"""Peak memory of one pass, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import torch

from .cases import make_case

PROC = Path("/proc/self")


def status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    line = next(line for line in (PROC / "status").read_text().splitlines() if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


def child(name: str, path: str, device: str, dtype: torch.dtype, threads: int, queue: Any) -> None:
    """Puts the MiB that one pass needs on top of the loaded network into ``queue``."""
    torch.set_num_threads(threads)
    case = make_case(name, device, dtype)
    with torch.inference_mode():
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            getattr(case, path)()
            peak = torch.cuda.max_memory_allocated()
        else:
            (PROC / "clear_refs").write_text("5")  # the high-water mark starts again from here
            before = status("VmRSS")
            getattr(case, path)()
            peak = status("VmHWM")
    queue.put((peak - before) / 2**20)


def peak_mib(name: str, path: str, device: str, dtype: torch.dtype, threads: int) -> float | None:
    """MiB of one pass, None where the system does not tell (the CPU figure needs Linux)."""
    if device == "cpu" and not (PROC / "clear_refs").exists():
        return None
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(name, path, device, dtype, threads, queue))
    process.start()
    process.join()
    return queue.get() if process.exitcode == 0 else None
