"""The ComfyUI nodes: thin wrappers around reganie_core, no maths. One file per group; ``_host`` alone knows ComfyUI."""

from __future__ import annotations

from . import _host
from .edit import DirectionEdit
from .examples import PortraitExample
from .invert import E4EInvert
from .loaders import LoadDirections, LoadE4E, LoadRectifier, LoadReGANIE, LoadStyleGAN
from .rectify import ComputeDelta, Rectify
from .synthesis import SampleLatent, Synthesize

_host.register_folders()

NODE_CLASS_MAPPINGS: dict[str, type] = {
    "LoadReGANIE": LoadReGANIE,
    "LoadStyleGAN": LoadStyleGAN,
    "LoadE4E": LoadE4E,
    "LoadDirections": LoadDirections,
    "LoadRectifier": LoadRectifier,
    "PortraitExample": PortraitExample,
    "E4EInvert": E4EInvert,
    "DirectionEdit": DirectionEdit,
    "ComputeDelta": ComputeDelta,
    "Rectify": Rectify,
    "SampleLatent": SampleLatent,
    "Synthesize": Synthesize,
}

NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "LoadReGANIE": "Load ReGANIE (all of a domain)",
    "LoadStyleGAN": "Load StyleGAN (ReGANIE)",
    "LoadE4E": "Load e4e Encoder (ReGANIE)",
    "LoadDirections": "Load Directions (ReGANIE)",
    "LoadRectifier": "Load Rectifier (ReGANIE)",
    "PortraitExample": "Portrait Example (ReGANIE)",
    "E4EInvert": "E4E Invert (ReGANIE)",
    "DirectionEdit": "Direction Edit (ReGANIE)",
    "ComputeDelta": "Compute Delta (ReGANIE)",
    "Rectify": "Rectify (ReGANIE)",
    "SampleLatent": "Sample Latent (ReGANIE)",
    "Synthesize": "Synthesize (ReGANIE)",
}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
