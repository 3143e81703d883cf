"""In which dtype activations are computed when nobody says: bfloat16 where the processor multiplies it natively.

Only for inference on a CPU with AVX512-BF16 or AMX and for networks of 256 px and more, where convolutions dominate and
bfloat16 takes half the time; gradients, small networks and every other device keep float32. One switch turns it off:
the environment variable ``REGANIE_PRECISION=float32``, or :func:`use`. ``bfloat16`` asks for it on any CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch

from ..errors import InputError

__all__ = ["CHOICES", "activation_dtype", "choice", "native_bfloat16", "use"]

CHOICES = ("auto", "float32", "bfloat16")
VARIABLE = "REGANIE_PRECISION"
SMALLEST = 256
_CHOSEN: ContextVar[str | None] = ContextVar("precision", default=None)


def choice() -> str:
    """What is asked for: by :func:`use`, else by the environment, else "auto". Raises :class:`InputError`."""
    return _CHOSEN.get() or _checked(os.environ.get(VARIABLE, "auto").strip().lower() or "auto")


def _checked(name: str) -> str:
    if name not in CHOICES:
        raise InputError(f"{VARIABLE} is {name[:40]!r}; it may be {', '.join(CHOICES)}.")
    return name


@contextmanager
def use(name: str) -> Iterator[None]:
    """Compute in "float32", "bfloat16" or "auto" inside. Raises :class:`InputError` for another name."""
    token = _CHOSEN.set(_checked(name))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


@lru_cache(1)
def native_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 products (AVX512-BF16 or AMX)."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if any(known.get(name) for name in ("avx512_bf16", "amx_bf16")):
        return True
    tests = (getattr(torch.cpu, "_is_avx512_bf16_supported", None), getattr(torch.cpu, "_is_amx_tile_supported", None))
    return any(bool(test()) for test in tests if test is not None)


def activation_dtype(device: torch.device, resolution: int) -> torch.dtype:
    """The dtype of a network's activations at ``resolution`` px, where it was not set by hand."""
    if device.type != "cpu" or resolution < SMALLEST or torch.is_grad_enabled():
        return torch.float32
    wanted = choice()
    return torch.bfloat16 if wanted == "bfloat16" or (wanted == "auto" and native_bfloat16()) else torch.float32
