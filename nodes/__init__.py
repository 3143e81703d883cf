"""The ComfyUI nodes: thin wrappers around reganie_core, no maths. One file per group; ``_host`` alone knows ComfyUI."""

from __future__ import annotations

from . import _guard, _host, _routes
from .clips import MeasureFlicker, SmoothLatents
from .compare import BeforeAfter
from .edit import DirectionEdit, DyStyleEdit
from .examples import PhotoExample, PortraitExample
from .faces import AlignFace, PasteFace
from .invert import E4EInvert
from .latent_files import BlendLatents, LoadLatent, SaveLatent
from .loaders import (
    LoadDirections,
    LoadDyStyle,
    LoadE4E,
    LoadRectifier,
    LoadReGANIE,
    LoadStyleCLIP,
    LoadStyleGAN,
)
from .methods import InvertImage
from .rectify import ComputeDelta, Rectify
from .sweep import EditSweep, PictureSheet
from .synthesis import SampleLatent, Synthesize
from .text_edit import StyleCLIPEdit

_host.register_folders()
_routes.register()

NODE_CLASS_MAPPINGS: dict[str, type] = {
    "LoadReGANIE": LoadReGANIE,
    "LoadStyleGAN": LoadStyleGAN,
    "LoadE4E": LoadE4E,
    "LoadDyStyle": LoadDyStyle,
    "LoadStyleCLIP": LoadStyleCLIP,
    "LoadDirections": LoadDirections,
    "LoadRectifier": LoadRectifier,
    "PortraitExample": PortraitExample,
    "PhotoExample": PhotoExample,
    "E4EInvert": E4EInvert,
    "InvertImage": InvertImage,
    "DyStyleEdit": DyStyleEdit,
    "StyleCLIPEdit": StyleCLIPEdit,
    "DirectionEdit": DirectionEdit,
    "EditSweep": EditSweep,
    "PictureSheet": PictureSheet,
    "ComputeDelta": ComputeDelta,
    "Rectify": Rectify,
    "BeforeAfter": BeforeAfter,
    "SampleLatent": SampleLatent,
    "Synthesize": Synthesize,
    "BlendLatents": BlendLatents,
    "AlignFace": AlignFace,
    "PasteFace": PasteFace,
    "SmoothLatents": SmoothLatents,
    "MeasureFlicker": MeasureFlicker,
    "ReGANIE_SaveLatent": SaveLatent,
    "ReGANIE_LoadLatent": LoadLatent,
    # ComfyUI keeps nodes of its own under these two names and passes ours over, hence the names above.
    "SaveLatent": SaveLatent,
    "LoadLatent": LoadLatent,
}

for _node in NODE_CLASS_MAPPINGS.values():
    _guard.guard(_node)

# No names for SaveLatent and LoadLatent: they would rename ComfyUI's own nodes.
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "LoadReGANIE": "Load ReGANIE (all of a domain)",
    "LoadStyleGAN": "Load StyleGAN (ReGANIE)",
    "LoadE4E": "Load e4e Encoder (ReGANIE)",
    "LoadDyStyle": "Load DyStyle (ReGANIE)",
    "LoadStyleCLIP": "Load StyleCLIP (ReGANIE)",
    "LoadDirections": "Load Directions (ReGANIE)",
    "LoadRectifier": "Load Rectifier (ReGANIE)",
    "PortraitExample": "Portrait Example (ReGANIE)",
    "PhotoExample": "Photo Example (ReGANIE)",
    "E4EInvert": "E4E Invert (ReGANIE)",
    "InvertImage": "Invert Image (ReGANIE)",
    "DyStyleEdit": "DyStyle Edit (ReGANIE)",
    "StyleCLIPEdit": "StyleCLIP Edit (ReGANIE)",
    "DirectionEdit": "Direction Edit (ReGANIE)",
    "EditSweep": "Edit Sweep (ReGANIE)",
    "PictureSheet": "Picture Sheet (ReGANIE)",
    "ComputeDelta": "Compute Delta (ReGANIE)",
    "Rectify": "Rectify (ReGANIE)",
    "BeforeAfter": "Before and After (ReGANIE)",
    "SampleLatent": "Sample Latent (ReGANIE)",
    "Synthesize": "Synthesize (ReGANIE)",
    "BlendLatents": "Blend Latents (ReGANIE)",
    "AlignFace": "Align Face (ReGANIE)",
    "PasteFace": "Paste Face (ReGANIE)",
    "SmoothLatents": "Smooth Latents (ReGANIE)",
    "MeasureFlicker": "Measure Flicker (ReGANIE)",
    "ReGANIE_SaveLatent": "Save Latent (ReGANIE)",
    "ReGANIE_LoadLatent": "Load Latent (ReGANIE)",
}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
