"""What is this file, and how is it read safely?

No code of a file is ever imported or executed here: neither ``torch.load`` nor ``pickle.load`` sees a user's file.
Containers (``zip_container``, ``legacy_container``, ``npy_container``, ``safetensors_file``) become inert records
(``unpickler``, ``allowlist``, ``records``); dialects (``rosinality``, ``nvidia``, ``pti``, ``psp``, ``directions``)
find networks in them, wherever they lie (``tables``); ``loading`` and ``building`` make them ready to use.
"""

from __future__ import annotations

from . import psp
from .conversion import convert
from .inspection import inspect
from .loading import (
    load_directions,
    load_discriminator,
    load_encoder,
    load_face_detector,
    load_generator,
    load_rectifier,
    load_text_image,
)
from .ours import Checkpoint, fingerprint, read_checkpoint, save_checkpoint

ENCODER_TYPES = tuple(psp.SHORT)
"""What ``load_encoder`` and ``convert`` take as ``encoder_type``."""

__all__ = [
    "ENCODER_TYPES",
    "Checkpoint",
    "convert",
    "fingerprint",
    "inspect",
    "load_directions",
    "load_discriminator",
    "load_encoder",
    "load_generator",
    "load_rectifier",
    "load_face_detector",
    "load_text_image",
    "read_checkpoint",
    "save_checkpoint",
]
