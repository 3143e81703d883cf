"""Image -> latent, behind one protocol."""

from __future__ import annotations

from .e4e import check_pair, encode, invert
from .protocol import Inversion, Inverter

__all__ = ["Inversion", "Inverter", "check_pair", "encode", "invert"]
