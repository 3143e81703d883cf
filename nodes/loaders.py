"""Loader nodes: one socket of its kind each, and one that gives everything a domain has."""

from __future__ import annotations

from typing import Any

from .. import reganie_core as rc
from . import _choices, _domains, _models
from ._sockets import DIRECTIONS, DYSTYLE, ENCODER, GENERATOR, RECTIFIER, STYLECLIP

CATEGORY = "ReGANIE/1 Load"


class _LoadFile:
    """What the loaders of one file share; subclasses say which kind it is."""

    KIND = ""
    FILE_TOOLTIP = ""
    CATEGORY = CATEGORY
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        options = _choices.files(cls.KIND)
        return {
            "required": {"file": ("COMBO", {"options": options, "default": options[0], "tooltip": cls.FILE_TOOLTIP})}
        }

    @classmethod
    def VALIDATE_INPUTS(cls, file: str) -> bool | str:
        return _choices.problem(cls.KIND, file)

    @classmethod
    def IS_CHANGED(cls, file: str, **_: Any) -> str:
        return _choices.state(cls.KIND, file)

    def load(self, file: str) -> tuple[_models.Model]:
        return (_choices.load(self.KIND, file),)


AUTO = "as the file says"


class LoadStyleGAN(_LoadFile):
    KIND = "generator"
    FILE_TOOLTIP = (
        "A StyleGAN2 generator from models/stylegan or models/reganie: NVIDIA .pkl, rosinality or e4e / pSp .pt (which "
        "hold their generator), or this project's .safetensors. The first entry is the packaged portraits generator. "
        "No code in a file is ever run."
    )
    DESCRIPTION = "Load a StyleGAN2 generator, the network that paints a picture from a latent code."
    SEARCH_ALIASES = ["stylegan2", "gan loader", "generator", "pkl", "ffhq", "reganie"]
    RETURN_TYPES = (GENERATOR,)
    RETURN_NAMES = ("generator",)
    OUTPUT_TOOLTIPS = ("The generator, for E4E Invert, the edit nodes, Sample Latent and Synthesize.",)


class LoadE4E(_LoadFile):
    KIND = "encoder"
    FILE_TOOLTIP = (
        "An e4e or pSp encoder from models/reganie or models/stylegan (.pt as published, or .safetensors). It must "
        "have been trained for the generator you use. The first entry is the packaged portraits encoder."
    )
    DESCRIPTION = "Load an encoder (e4e, pSp), the network that finds the latent code of a picture."
    SEARCH_ALIASES = ["e4e", "psp", "encoder4editing", "inversion", "gan encoder", "reganie"]
    RETURN_TYPES = (ENCODER,)
    RETURN_NAMES = ("encoder",)
    OUTPUT_TOOLTIPS = ("The encoder, for E4E Invert.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        tooltip = (
            "What the encoder is, for files of others that do not say: e4e and pSp encoders have the same tensors and "
            "compute different codes."
        )
        options = {"options": [AUTO, *rc.checkpoints.ENCODER_TYPES], "default": AUTO, "tooltip": tooltip}
        return {**super().INPUT_TYPES(), "optional": {"encoder_type": ("COMBO", options)}}

    def load(self, file: str, encoder_type: str = AUTO) -> tuple[_models.Model]:
        given = {} if encoder_type == AUTO else {"encoder_type": encoder_type}
        return (_choices.load(self.KIND, file, **given),)


class LoadDirections(_LoadFile):
    KIND = "directions"
    FILE_TOOLTIP = (
        "Edit directions from models/reganie (.safetensors of this project, or public .pt / .npy ones that were made "
        "for StyleGAN2). "
        "The first entry holds the packaged portraits directions."
    )
    DESCRIPTION = "Load linear edit directions, such as yaw, smile, age and glasses, for Direction Edit."
    SEARCH_ALIASES = ["interfacegan", "sefa", "ganspace", "boundary", "latent directions", "reganie"]
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("editor",)
    OUTPUT_TOOLTIPS = ("The directions, for Direction Edit's editor input.",)


class LoadDyStyle(_LoadFile):
    KIND = "dystyle"
    FILE_TOOLTIP = (
        "A DyStyle editor from models/reganie (.safetensors written by trainer/train.py editor). It must have been "
        "trained for the generator you use. The first entry is the packaged portraits editor."
    )
    DESCRIPTION = "Load a DyStyle editor, the network that changes several attributes at once, for DyStyle Edit."
    SEARCH_ALIASES = ["dystyle", "multi attribute", "attribute editor", "sliders", "reganie"]
    RETURN_TYPES = (DYSTYLE,)
    RETURN_NAMES = ("editor",)
    OUTPUT_TOOLTIPS = ("The editor, for DyStyle Edit's and Edit Sweep's editor input.",)


class LoadStyleCLIP(_LoadFile):
    KIND = "styleclip"
    FILE_TOOLTIP = (
        "A StyleCLIP editor from models/reganie: an official mapper (.pt), or one of this project (.safetensors). The "
        "first entry is the packaged portraits editor."
    )
    DESCRIPTION = "Load a StyleCLIP editor, which changes a picture by a text, for StyleCLIP Edit."
    SEARCH_ALIASES = ["styleclip", "text edit", "clip", "mapper", "global direction", "prompt", "reganie"]
    RETURN_TYPES = (STYLECLIP,)
    RETURN_NAMES = ("editor",)
    OUTPUT_TOOLTIPS = ("The editor, for StyleCLIP Edit's editor input.",)


class LoadRectifier(_LoadFile):
    KIND = "rectifier"
    FILE_TOOLTIP = (
        "A rectifier from models/reganie (.safetensors written by trainer/train.py). It should have been trained with "
        "the generator and encoder you use. The first entry is the packaged portraits rectifier."
    )
    DESCRIPTION = "Load a rectifying network, which paints back what the inversion lost."
    SEARCH_ALIASES = ["reganie", "rectifying network", "phase 2", "out of domain", "detail restore"]
    RETURN_TYPES = (RECTIFIER,)
    RETURN_NAMES = ("rectifier",)
    OUTPUT_TOOLTIPS = ("The rectifier, for Rectify.",)


class LoadReGANIE:
    CATEGORY = CATEGORY
    FUNCTION = "load"
    DESCRIPTION = (
        "Load everything a domain has: generator, encoder, editors and rectifier that were trained for each other."
    )
    SEARCH_ALIASES = ["reganie", "load all", "domain", "portraits", "unified loader"]
    RETURN_TYPES = (GENERATOR, ENCODER, DYSTYLE, STYLECLIP, DIRECTIONS, RECTIFIER)
    RETURN_NAMES = ("generator", "encoder", "dystyle", "styleclip", "directions", "rectifier")
    OUTPUT_TOOLTIPS = (
        "The domain's StyleGAN2 generator.",
        "The domain's encoder, for E4E Invert.",
        "The domain's DyStyle editor. A domain without one gives an empty wire; only a node that uses it complains.",
        "The domain's StyleCLIP editor. A domain without one gives an empty wire; only a node that uses it complains.",
        "The domain's linear directions, for Direction Edit. May be empty in a domain of your own.",
        "The domain's rectifier, for Rectify. May be empty in a domain of your own.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        options = _choices.domains()
        tooltip = "The packaged portraits domain, or a folder below models/reganie that holds a domain.json."
        return {"required": {"domain": ("COMBO", {"options": options, "default": options[0], "tooltip": tooltip})}}

    @classmethod
    def VALIDATE_INPUTS(cls, domain: str) -> bool | str:
        return _choices.domain_problem(domain)

    @classmethod
    def IS_CHANGED(cls, domain: str) -> str:
        return _domains.state(domain)

    def load(self, domain: str) -> tuple[Any, ...]:
        return tuple(_domains.parts(domain))
