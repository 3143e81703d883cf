"""Frames in a row: codes that do not jitter, and how much a clip flickers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from .. import reganie_core as rc
from . import _inputs, _models, _pictures
from ._sockets import LATENT, check_wire

CATEGORY = "ReGANIE/6 Photos"


class SmoothLatents:
    CATEGORY = CATEGORY
    FUNCTION = "smooth"
    DESCRIPTION = (
        "Smooth the latent codes of a clip over its frames, so that an edit does not jitter. For frames of one person, "
        "in their order; Align Face smooths the squares."
    )
    SEARCH_ALIASES = ["temporal smoothing", "video", "jitter", "flicker", "clip", "stabilise", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE")
    RETURN_NAMES = ("latent", "inversion")
    OUTPUT_TOOLTIPS = (
        "The smoothed codes, one for each frame.",
        "The generator's pictures of them: the inversion that Compute Delta and Rectify go on with.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "generator": _inputs.generator(),
                "latent": (LATENT, {"tooltip": "The codes of the frames, in order, from an invert node."}),
                "smooth": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 30.0,
                        "step": 0.5,
                        "tooltip": "How many frames the average reaches to either side (the Gaussian's standard "
                        "deviation, in frames). 0 changes nothing; too much delays what really moves.",
                    },
                ),
            }
        }

    def smooth(self, generator: _models.Model, latent: Any, smooth: float = 1.0) -> tuple[Any, Tensor]:
        generator = check_wire(generator, "generator")
        latent.check(generator.value)
        steady = replace(latent, ws=rc.faces.smooth(latent.ws, float(smooth))) if smooth > 0 else latent
        return steady, _pictures.synthesize(generator, steady)


class MeasureFlicker:
    CATEGORY = CATEGORY
    FUNCTION = "measure"
    DESCRIPTION = (
        "How much a clip flickers: the mean size of what a frame has beyond the middle of its neighbours, in levels of "
        "255. Steady motion gives little, jitter much."
    )
    SEARCH_ALIASES = ["video quality", "temporal consistency", "jitter", "stability", "compare clips", "reganie"]
    RETURN_TYPES = ("STRING", "FLOAT")
    RETURN_NAMES = ("report", "flicker")
    OUTPUT_TOOLTIPS = (
        "One line of text, for example for the title of Picture Sheet.",
        "The clip's flicker in levels of 255.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"frames": ("IMAGE", {"tooltip": "The frames of the clip, three or more."})},
            "optional": {
                "before": ("IMAGE", {"tooltip": "The same clip before the edit, to compare with. Any size."}),
            },
        }

    def measure(self, frames: Tensor, before: Tensor | None = None) -> tuple[str, float]:
        value = _flicker(frames, "frame")
        if before is None:
            return f"Flicker {value:.2f} levels of 255", value
        if len(before) != len(frames):
            raise rc.errors.MismatchError(
                f"There are {len(before)} frames before and {len(frames)} after; give the same clip."
            )
        return f"Flicker: {_flicker(before, 'frame before'):.2f} before, {value:.2f} after (levels of 255)", value


def _flicker(frames: Tensor, what: str) -> float:
    return float(rc.faces.flicker(rc.images.from_comfy(frames, what))) * 127.5
