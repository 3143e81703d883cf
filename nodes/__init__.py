"""The ComfyUI nodes: thin wrappers around reganie_core, no maths. One file per group; ``_host`` alone knows ComfyUI."""

from __future__ import annotations

from . import _guard, _host, _names, _routes
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

# The ids of the design card, under which people's graphs know them whatever other packs are installed.
CARD: dict[str, type] = {
    "LoadStyleGAN": LoadStyleGAN,
    "E4EInvert": E4EInvert,
    "DyStyleEdit": DyStyleEdit,
    "StyleCLIPEdit": StyleCLIPEdit,
    "ComputeDelta": ComputeDelta,
    "Rectify": Rectify,
}
# All others carry the pack's name; without it other packs use some of these ids, and so does ComfyUI.
PREFIXED: dict[str, type] = {
    "LoadE4E": LoadE4E,
    "LoadDyStyle": LoadDyStyle,
    "LoadStyleCLIP": LoadStyleCLIP,
    "LoadDirections": LoadDirections,
    "LoadRectifier": LoadRectifier,
    "PortraitExample": PortraitExample,
    "PhotoExample": PhotoExample,
    "InvertImage": InvertImage,
    "DirectionEdit": DirectionEdit,
    "EditSweep": EditSweep,
    "PictureSheet": PictureSheet,
    "BeforeAfter": BeforeAfter,
    "SampleLatent": SampleLatent,
    "Synthesize": Synthesize,
    "BlendLatents": BlendLatents,
    "AlignFace": AlignFace,
    "PasteFace": PasteFace,
    "SmoothLatents": SmoothLatents,
    "MeasureFlicker": MeasureFlicker,
    "SaveLatent": SaveLatent,
    "LoadLatent": LoadLatent,
}
NODE_CLASS_MAPPINGS: dict[str, type] = {
    **CARD, "LoadReGANIE": LoadReGANIE, **{_names.PREFIX + name: node for name, node in PREFIXED.items()}
}

for _node in NODE_CLASS_MAPPINGS.values():
    _guard.guard(_node)

NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "LoadReGANIE": "Load ReGANIE (all of a domain)",
    "LoadStyleGAN": "Load StyleGAN (ReGANIE)",
    "E4EInvert": "E4E Invert (ReGANIE)",
    "DyStyleEdit": "DyStyle Edit (ReGANIE)",
    "StyleCLIPEdit": "StyleCLIP Edit (ReGANIE)",
    "ComputeDelta": "Compute Delta (ReGANIE)",
    "Rectify": "Rectify (ReGANIE)",
    "ReGANIE_LoadE4E": "Load e4e Encoder (ReGANIE)",
    "ReGANIE_LoadDyStyle": "Load DyStyle (ReGANIE)",
    "ReGANIE_LoadStyleCLIP": "Load StyleCLIP (ReGANIE)",
    "ReGANIE_LoadDirections": "Load Directions (ReGANIE)",
    "ReGANIE_LoadRectifier": "Load Rectifier (ReGANIE)",
    "ReGANIE_PortraitExample": "Portrait Example (ReGANIE)",
    "ReGANIE_PhotoExample": "Photo Example (ReGANIE)",
    "ReGANIE_InvertImage": "Invert Image (ReGANIE)",
    "ReGANIE_DirectionEdit": "Direction Edit (ReGANIE)",
    "ReGANIE_EditSweep": "Edit Sweep (ReGANIE)",
    "ReGANIE_PictureSheet": "Picture Sheet (ReGANIE)",
    "ReGANIE_BeforeAfter": "Before and After (ReGANIE)",
    "ReGANIE_SampleLatent": "Sample Latent (ReGANIE)",
    "ReGANIE_Synthesize": "Synthesize (ReGANIE)",
    "ReGANIE_BlendLatents": "Blend Latents (ReGANIE)",
    "ReGANIE_AlignFace": "Align Face (ReGANIE)",
    "ReGANIE_PasteFace": "Paste Face (ReGANIE)",
    "ReGANIE_SmoothLatents": "Smooth Latents (ReGANIE)",
    "ReGANIE_MeasureFlicker": "Measure Flicker (ReGANIE)",
    "ReGANIE_SaveLatent": "Save Latent (ReGANIE)",
    "ReGANIE_LoadLatent": "Load Latent (ReGANIE)",
}

# Graphs saved before the prefix find their nodes where nobody else has taken the id.
_registered = _host.registered_nodes()
FORMER = _names.former(PREFIXED, _registered)
NODE_CLASS_MAPPINGS |= FORMER
NODE_DISPLAY_NAME_MAPPINGS |= {name: NODE_DISPLAY_NAME_MAPPINGS[_names.PREFIX + name] for name in FORMER}
IDS = _names.Ids(NODE_CLASS_MAPPINGS, _registered)
_routes.register(IDS)

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
