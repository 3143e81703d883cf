"""Latents from nothing, and pictures from latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from . import _models, _pictures
from ._sockets import GENERATOR, LATENT, check_wire

CATEGORY = "ReGANIE/5 Latents"


class SampleLatent:
    CATEGORY = CATEGORY
    FUNCTION = "sample"
    DESCRIPTION = (
        "Draw random latent codes: people that do not exist. The same seed gives the same people on every machine."
    )
    SEARCH_ALIASES = ["random face", "generate", "z", "truncation", "seed", "stylegan sample", "reganie"]
    RETURN_TYPES = (LATENT,)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("The latent codes, for Synthesize and the edit nodes.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "generator": (GENERATOR, {"tooltip": "The generator whose latent space is sampled."}),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": True,
                        "tooltip": "Chooses the people.",
                    },
                ),
                "count": ("INT", {"default": 1, "min": 1, "max": 256, "tooltip": "How many codes to draw."}),
                "truncation_psi": (
                    "FLOAT",
                    {
                        "default": 0.7,
                        "min": -1.0,
                        "max": 2.0,
                        "step": 0.05,
                        "tooltip": "Pulls codes towards the average person: 0 is the average itself, 1 "
                        "the full variety, 0.7 a usual compromise.",
                    },
                ),
                "truncation_cutoff": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 64,
                        "tooltip": "Truncate only this many style vectors, from the coarsest; 0 means all.",
                    },
                ),
            },
            "optional": {
                "class_index": (
                    "INT",
                    {
                        "default": -1,
                        "min": -1,
                        "max": 4095,
                        "tooltip": "Of a class-conditional generator: which class to draw, from 0; -1 is the mean "
                        "over all classes. Other generators have no classes: leave it at -1.",
                    },
                ),
            },
        }

    def sample(
        self,
        generator: _models.Model,
        seed: int,
        count: int = 1,
        truncation_psi: float = 0.7,
        truncation_cutoff: int = 0,
        class_index: int | None = -1,
    ) -> tuple[Any]:
        generator = check_wire(generator, "generator")
        chosen = None if class_index is None or class_index < 0 else class_index
        return (_pictures.sample(generator, count, seed, truncation_psi, truncation_cutoff or None, chosen),)


class Synthesize:
    CATEGORY = CATEGORY
    FUNCTION = "synthesize"
    DESCRIPTION = "Paint the picture of a latent code with the generator."
    SEARCH_ALIASES = ["decode latent", "latent to image", "stylegan generate", "render", "reganie"]
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("One picture for each code.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "generator": (GENERATOR, {"tooltip": "The generator the latent belongs to."}),
                "latent": (LATENT, {"tooltip": "A latent code from Sample Latent, E4E Invert or an edit node."}),
                "noise": (
                    "COMBO",
                    {
                        "options": ["const", "none"],
                        "default": "const",
                        "tooltip": "const: the generator's own fixed noise, always the same picture. none: without "
                        "noise, smoother.",
                    },
                ),
            }
        }

    def synthesize(self, generator: _models.Model, latent: Any, noise: str = "const") -> tuple[Tensor]:
        return (_pictures.synthesize(check_wire(generator, "generator"), latent, noise),)
