"""How far are two pictures apart?"""

from __future__ import annotations

from .pixels import changed_region, l2, masked_l2, psnr

__all__ = ["changed_region", "l2", "masked_l2", "psnr"]
