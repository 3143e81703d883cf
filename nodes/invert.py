"""Image -> latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _choices, _host, _models, _origins
from ._sockets import ENCODER, GENERATOR, LATENT, check_wire

CATEGORY = "ReGANIE/2 Invert"
OUTPUT_TOOLTIPS = (
    "The latent code of each picture, for the edit nodes.",
    "The generator's picture of that code.",
    "The prepared square picture, at its own resolution. Compute Delta needs this one, not the photo.",
)


class E4EInvert:
    CATEGORY = CATEGORY
    FUNCTION = "invert"
    DESCRIPTION = (
        "Find the latent code of a portrait with an encoder, and show what the generator makes of it. What the "
        "generator cannot express (a hat, a hand, the background) is missing from the inversion; Compute Delta has it."
    )
    SEARCH_ALIASES = ["inversion", "e4e", "psp", "gan inversion", "encode image", "image to latent", "reganie"]
    RETURN_TYPES = (LATENT, "IMAGE", "IMAGE")
    RETURN_NAMES = ("latent", "inversion", "image")
    OUTPUT_TOOLTIPS = OUTPUT_TOOLTIPS

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        encoders = _choices.files("encoder")
        return {
            "required": {
                "generator": (GENERATOR, {"tooltip": "The generator to invert into."}),
                "image": (
                    "IMAGE",
                    {
                        "tooltip": "One portrait or a batch, cropped to the face as the generator's training "
                        "pictures were. Any size; grey works, alpha is ignored."
                    },
                ),
            },
            "optional": {
                "encoder": (
                    ENCODER,
                    {"tooltip": "An encoder from Load e4e Encoder. When connected, encoder_name is not used."},
                ),
                "encoder_name": (
                    "COMBO",
                    {
                        "options": encoders,
                        "default": encoders[0],
                        "tooltip": "The encoder to use when none is connected.",
                    },
                ),
                "fit": (
                    "COMBO",
                    {
                        "options": list(rc.images.FIT_MODES),
                        "default": "error",
                        "tooltip": "What happens to a picture that is not square: error refuses it, crop keeps "
                        "the centre, pad repeats the border.",
                    },
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, encoder_name: str = _choices.PACKAGED) -> bool | str:
        return _choices.name_problem("encoder", encoder_name)

    @classmethod
    def IS_CHANGED(cls, encoder_name: str = _choices.PACKAGED, **_: Any) -> str:
        return _choices.state("encoder", encoder_name)

    def invert(
        self,
        generator: _models.Model,
        image: Tensor,
        encoder: _models.Model | None = None,
        encoder_name: str = _choices.PACKAGED,
        fit: rc.images.Fit = "error",
    ) -> tuple[Any, Tensor, Tensor]:
        generator = check_wire(generator, "generator")
        encoder = _choices.connected_or_named(self, "encoder", encoder, encoder_name)
        size = generator.value.resolution
        pictures = rc.images.from_comfy(image)
        latents: list[Any] = []
        errors: list[Tensor] = []

        def work(part: slice, chunk: int) -> tuple[Tensor, Tensor]:
            network, e = _models.on_device(_host.activation_bytes(max(size, 256), chunk), generator, encoder)
            found = rc.inversion.invert(network, e, pictures[part].to(_host.device()), fit=fit, chunk=chunk)
            errors.append(rc.inversion.inversion_error(found.image, found.inversion).cpu())
            pictures_out = rc.images.to_comfy(found.inversion), rc.images.to_comfy(found.image)
            latents.append(found.latent.to(_host.results_device()))  # last: what fails before is tried again
            return pictures_out

        inversion, prepared = _host.in_chunks(len(pictures), _host.chunk_size(max(size, 256)), work)
        _origins.record(inversion, prepared, generator.value, encoder.value)
        usual = None if encoder.path is None else rc.domains.usual_error_beside(encoder.path)
        if usual is not None and (unlike := usual.notice(torch.cat(errors))):
            _host.notice("E4E Invert", unlike)
        return rc.latents.concatenate(latents), inversion, prepared
