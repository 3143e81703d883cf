"""How far are two pictures, or two sets of pictures, apart?

Names load on first use: the networks behind some of them are not needed for the others.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "changed_region": "pixels", "l2": "pixels", "masked_l2": "pixels", "psnr": "pixels",
    "ms_ssim": "similarity", "scales_for": "similarity", "ssim": "similarity",
    "frechet_distance": "sets", "kernel_distance": "sets", "precision_recall": "sets",
    "equal_error_rate": "verification",
    "load_arcface": "files", "load_curricularface": "files", "load_dex": "files", "load_hopenet": "files",
    "load_lpips": "files",
}

__all__ = sorted(_NAMES)  # noqa: PLE0605 - literal names, held in one table


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
