"""Image -> latent, behind one protocol.

``invert`` is one pass of an encoder; ``invert_with`` runs any of ``METHODS``, ``load_inverter`` makes one of a file.
"""

from __future__ import annotations

from .e4e import EncoderInverter, check_pair, encode, invert
from .hfgi import HfgiInverter
from .hyperstyle import HyperStyleInverter
from .optimise import OptimisationInverter, ProjectionSettings
from .protocol import Inversion, InversionCancelledError, Inverter, MethodInverter
from .pti import PtiInverter, PtiSettings
from .registry import METHODS, NEEDS_FILE, invert_with, load_inverter, make_inverter
from .restyle import RestyleInverter
from .usual import UsualError, inversion_error

__all__ = [
    "METHODS",
    "NEEDS_FILE",
    "EncoderInverter",
    "HfgiInverter",
    "HyperStyleInverter",
    "Inversion",
    "InversionCancelledError",
    "Inverter",
    "MethodInverter",
    "OptimisationInverter",
    "ProjectionSettings",
    "PtiInverter",
    "PtiSettings",
    "RestyleInverter",
    "UsualError",
    "check_pair",
    "encode",
    "invert",
    "inversion_error",
    "invert_with",
    "load_inverter",
    "make_inverter",
]
