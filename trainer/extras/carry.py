"""dX is carried along the optical flow from X^ to Y^ before it is painted: hats turn with the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..loop.config import option
from .base import Extra


@dataclass
class Carry(Extra):
    channels: tuple[int, ...] = option((64, 96, 128), "widths of the small network that corrects the flow")

    def network(self) -> dict[str, Any]:
        """See `networks.carrying`."""
        return {"carry_channels": self.channels, "output": "residual"}
